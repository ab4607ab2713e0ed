"""The left side of a check as a formula: what the model's derivation says it is, in the check's own indices."""

from __future__ import annotations

from fractions import Fraction

from pgmdsl.compiler.derivation import Conditional
from pgmdsl.compiler.derive import (
    conditional_of,
    derive_conditional,
    derive_energy,
    derive_free_energy,
    gradient_of,
    marginal_terms,
)
from pgmdsl.compiler.energy import Fields
from pgmdsl.compiler.expressions import Term, bound_names, renamed, split_sum, total
from pgmdsl.compiler.forms import Form, Formula, Gradient, Mean, MeanField, Probability
from pgmdsl.compiler.rewrite import rewrite, walk
from pgmdsl.compiler.units import Finite
from pgmdsl.grammar.syntax import Call, Expression, Name, Negate


def left_sides(fields: Fields, form: Form) -> tuple[Expression, ...]:
    """The formulas that a check's left side stands for: one, or mean and standard deviation of a real unit."""
    symbols = fields.symbols
    match form:
        case Formula(expression):
            return (expanded(fields, expression),)
        case Gradient(name, indices):
            parameter = symbols.model.parameters[name]
            return (
                _in_indices(fields, gradient_of(symbols, parameter), symbols.parameter_letters(parameter), indices),
            )
        case MeanField(name, indices):
            found = derive_conditional(fields, name, symbols.model.neighbours(name))
            return (_in_indices(fields, found.mean, symbols.letters[name], indices),)
        case Mean(name, indices):
            found = derive_conditional(fields, name, symbols.model.neighbours(name))
            return (_in_indices(fields, found.mean, symbols.letters[name], indices),)
        case Probability(name, indices, value, given):
            support = symbols.model.layers[name].unit.support
            values = support.values if isinstance(support, Finite) else ()
            sides = _probability(_conditional(fields, name, given), values, value)
            return tuple(_in_indices(fields, side, symbols.letters[name], indices) for side in sides)


def expanded(fields: Fields, expression: Expression) -> Expression:
    """A formula with `energy` and `free_energy(...)` written out, in indices that it does not have itself."""
    used = fields.symbols.reserved | bound_names(expression)
    used |= {node.name for node in walk(expression) if isinstance(node, Name)}

    def change(node: Expression) -> Expression | None:
        match node:
            case Name("energy"):
                return renamed(derive_energy(fields.symbols), {}, used)
            case Call("free_energy", layers):
                names = [layer.name for layer in layers if isinstance(layer, Name)]
                return renamed(derive_free_energy(fields, names), {}, used)
            case _:
                return None

    return rewrite(expression, change)


def _conditional(fields: Fields, name: str, given: tuple[str, ...]) -> Conditional:
    """The conditional of a unit given these layers; the neighbours of one site that are not listed are summed out."""
    model = fields.symbols.model
    neighbours = model.neighbours(name)
    missing = [] if "rest" in given else [n for n in neighbours if n not in given]
    if not missing:
        return derive_conditional(fields, name, neighbours)

    def field_at(state: str) -> Expression:
        terms: list[Term] = split_sum(fields.field(name, (state,), present=given))
        for other in missing:
            terms += [(-sign, term) for sign, term in marginal_terms(fields, other, {name: state})]
        return total(terms)

    return conditional_of(fields.symbols, name, given, field_at)


def _probability(found: Conditional, values: tuple[Fraction, ...], value: Fraction | None) -> tuple[Expression, ...]:
    """The right side that a conditional has for a value of its unit."""
    match found.equation.right:
        case Call("normal", (mean, deviation)):
            return mean, deviation
        case Call("sigmoid", (argument,)) as upper:
            return (upper,) if value == values[-1] else (Call("sigmoid", (Negate(argument),)),)
        case right:
            return (right,)


def _in_indices(fields: Fields, formula: Expression, letters: tuple[str, ...], indices: tuple[str, ...]) -> Expression:
    """The formula with its free letters replaced by a check's indices."""
    return renamed(formula, dict(zip(letters, indices, strict=True)), fields.symbols.reserved)
