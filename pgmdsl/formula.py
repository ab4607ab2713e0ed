"""Formulas as users meet them: printable, LaTeX in a notebook, a SymPy expression on request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.format import format_expression

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgmdsl.compiler.derivation import Conditional
    from pgmdsl.compiler.model import Model
    from pgmdsl.grammar.syntax import Expression


@dataclass(frozen=True)
class Formula:
    """A derived expression. `str()` is readable Unicode; `ebm` is the same in the language of model files."""

    expression: Expression
    model: Model = field(repr=False)

    def __str__(self) -> str:
        """Readable Unicode."""
        from pgmdsl.compiler.typeset import unicode_text

        return unicode_text(self.expression)

    __repr__ = __str__

    @property
    def ebm(self) -> str:
        """The formula as a model file would write it, ready for a `check`."""
        return format_expression(self.expression)

    @property
    def latex(self) -> str:
        """The formula in LaTeX, without dollars."""
        from pgmdsl.compiler.typeset_latex import latex

        return latex(self.expression)

    @property
    def sympy(self) -> Any:
        """The formula as a SymPy expression, to take anywhere; indices count from 0 to D - 1."""
        from pgmdsl.compiler.symbolic import shapes_of, to_sympy

        return to_sympy(self.expression, shapes_of(self.model))

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex}$"


@dataclass(frozen=True)
class ConditionalFormulas:
    """The conditional of one layer given all others, its parents, or the layers it is recognised from, per unit.

    `family` names the unit type, `indices` the free indices of the formulas, `given` the layers it depends on;
    `field` is the total field, `mean` the mean of the state, `deviation` its standard deviation (real units only),
    `log_partition` the log normaliser; `formula` the whole equation's right side, `left` what it is the value of.
    """

    layer: str
    family: str
    indices: tuple[str, ...]
    given: tuple[str, ...]
    left: Formula
    formula: Formula
    field: Formula
    mean: Formula
    deviation: Formula | None
    log_partition: Formula

    def __str__(self) -> str:
        """`left = formula`."""
        return f"{self.left} = {self.formula}"

    __repr__ = __str__

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.left.latex} = {self.formula.latex}$"


def conditional_formulas(conditional: Conditional, model: Model) -> ConditionalFormulas:
    """A derived conditional, for users."""
    c = conditional
    return ConditionalFormulas(
        layer=c.layer,
        family=c.family,
        indices=c.indices,
        given=c.given,
        left=Formula(c.equation.left, model),
        formula=Formula(c.equation.right, model),
        field=Formula(c.field, model),
        mean=Formula(c.mean, model),
        deviation=None if c.deviation is None else Formula(c.deviation, model),
        log_partition=Formula(c.log_partition, model),
    )


class ByLayer(dict[str, ConditionalFormulas]):
    """A dict by layer that answers a wrong name with an Error."""

    def __missing__(self, name: str) -> ConditionalFormulas:
        if not self:
            raise Error(f"there is nothing for {name!r}: the model has no such layers")
        raise Error(f"there is no layer {name!r}: the layers are {', '.join(self)}")


def formulas_by_layer(conditionals: Mapping[str, Conditional], model: Model) -> ByLayer:
    """The conditionals of layers, for users."""
    return ByLayer({name: conditional_formulas(c, model) for name, c in conditionals.items()})
