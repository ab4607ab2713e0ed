"""A check as a claim that two sides are equal, and its proof: one normal form for all sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pgmdsl.compiler.arithmetic import Digits
from pgmdsl.compiler.averages import are_coupled, average_trials, sampled_average
from pgmdsl.compiler.energy import Fields, derive_fields
from pgmdsl.compiler.expand import Expander, enumerated
from pgmdsl.compiler.forms import (
    Form,
    Formula,
    Gradient,
    Joint,
    Mean,
    MeanField,
    Partition,
    Probability,
    Up,
    variable_indices,
)
from pgmdsl.compiler.left import Sides, sides_of
from pgmdsl.compiler.model import Model, Size
from pgmdsl.compiler.normal import Algebra
from pgmdsl.compiler.normal_product import number, subtract
from pgmdsl.compiler.normal_read import Reader
from pgmdsl.compiler.normal_terms import NoProofError
from pgmdsl.compiler.posterior import Posterior, scaled
from pgmdsl.compiler.refute import Comparison, Trial, compare, state_trials
from pgmdsl.compiler.rewrite import walk
from pgmdsl.compiler.scope import Examined
from pgmdsl.compiler.symbols import Symbols, diagonal, fixed_numbers
from pgmdsl.grammar.syntax import Call, CheckDeclaration, Expression, Index, Name

GUARD_COST = 20_000  # operations that the look at a proof may take


@dataclass(frozen=True)
class Claim:
    """What a check says, in formulas: each of `sides` is to be equal.

    `fields` and `check` are those of the model that the check speaks of, with its assumptions; `posterior` is q.
    """

    fields: Fields
    check: CheckDeclaration
    form: Form
    posterior: Posterior | None
    sides: tuple[Sides, ...]

    @property
    def model(self) -> Model:
        """The model that the check speaks of."""
        return self.fields.symbols.model

    @property
    def means(self) -> tuple[str, ...]:
        """The layers whose names stand for means."""
        if not isinstance(self.form, MeanField):
            return ()
        return tuple(layer.name for layer in self.model.layers.values() if layer.role == "hidden")

    @property
    def free(self) -> dict[str, Size]:
        """The indices on the left, with their ranges."""
        return free_indices(self.model, self.form)

    @property
    def apart(self) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        """The indices on the left that differ: those of the two units (sites) that a lateral weight's entry joins."""
        match self.form:
            case Gradient(name, indices):
                entries = [(name, indices)]
            case Formula(expression):
                entries = [
                    (node.arguments[1].name, tuple(i.name for i in node.arguments[1].indices if isinstance(i, Name)))
                    for node in walk(expression)
                    if isinstance(node, Call) and node.function == "d" and isinstance(node.arguments[1], Index)
                ]
            case _:
                entries = []
        return [
            (indices[:told], indices[len(indices) // 2 :][:told])
            for name, indices in entries
            if (told := diagonal(self.model, name)) is not None
        ]

    def reader(self, algebra: Algebra | None = None) -> Reader:
        """A reader of the two sides; `algebra` is one of this model that has work left."""
        reader = self.fields.symbols.reader(self.means, fixed_numbers(self.model), algebra)
        if self.posterior is not None:
            reader.assume_posterior(self.posterior.means())
        reader.ranges.update(self.free)
        return reader

    def numbers(self, side: Expression) -> Expression:
        """A side in the form in which it is evaluated: expectations under q as sums over states."""
        return enumerated(side, self.posterior)

    def proof(self, sides: Sides, algebra: Algebra | None = None) -> Expression | None:
        """The way to write the left side that has the right side's normal form, and stands at a point; or None."""
        left = next((left for left in sides.lefts if self._is_one_form(left, sides.right, algebra)), None)
        return left if left is not None and self._stands(self.numbers(left), self.numbers(sides.right)) else None

    def _is_one_form(self, left: Expression, right: Expression, algebra: Algebra | None) -> bool:
        """Whether both sides have one normal form, wherever the indices name what there is."""
        try:
            reader = self.reader(algebra)
            algebra = reader.algebra
            difference = subtract(reader.read(left), reader.read(right))
            for first, second in self.apart:
                difference = algebra.multiply(difference, subtract(number(1), algebra.same(first, second)))
            return algebra.is_zero(difference)
        except NoProofError:
            return False

    def _stands(self, left: Expression, right: Expression) -> bool:
        """Whether a proof holds at one point: both sides have a value there, and the same.

        True where no point is small enough to be evaluated: a proof holds for all sizes, however large.
        """

        def trials() -> Iterator[Trial]:
            for turn, trial in enumerate(state_trials(self.model, self.means, (left, right))):
                if isinstance(trial.arithmetic, Digits):
                    average = sampled_average(self.model, trial.point, turn, trial.arithmetic.exact)
                    point = replace(trial.point, average=average if isinstance(self.form, Gradient) else None)
                    yield Trial(point, trial.arithmetic, GUARD_COST)

        found = compare(trials(), self.free, left, right, most_points=1, apart=self.apart)
        return found.counterexample is None and (found.points > 0 or found.hindrance in ("model", "formula", "states"))

    def compared(self, left: Expression, right: Expression) -> Comparison:
        """Both sides, as they are evaluated, at random points."""
        trials: Iterator[Trial]
        if isinstance(self.form, Gradient) and are_coupled(self.model):
            return Comparison(0, None, "coupled")
        if isinstance(self.form, Gradient):
            q = self.posterior if self.form.phase == "wake" else None
            trials = average_trials(self.fields, (left, right), None if q is None else q.log)
        else:
            trials = state_trials(self.model, self.means, (left, right))
        return compare(trials, self.free, left, right, apart=self.apart)


def claim_of(fields: Fields, examined: Examined, like: Claim | None = None) -> Claim:
    """The claim of a check without mistakes, in which no index runs over two sizes.

    `like` is a claim under the same assumptions, whose fields it then has.
    """
    if examined.model is not fields.symbols.model:
        fields = like.fields if like is not None else scaled(derive_fields(Symbols.of(examined.model)), examined.scale)
    expander = Expander(fields, examined.check.right, examined.posterior, examined.means)
    sides = sides_of(expander, examined.form, examined.check.right, examined.of_q)
    return Claim(fields, examined.check, examined.form, examined.posterior, sides)


def free_indices(model: Model, form: Form) -> dict[str, Size]:
    """The indices on the left, with their ranges."""
    match form:
        case Probability(name, indices) | Mean(name, indices) | MeanField(name, indices) | Up(name, indices):
            return dict(zip(indices, model.layers[name].dims[-len(indices) :], strict=True))
        case Gradient(name, indices):
            return dict(zip(indices, model.parameters[name].shape, strict=True))
        case Formula(expression):
            return variable_indices(model, expression)
        case Joint() | Partition():
            return {}
