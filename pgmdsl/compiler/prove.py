"""Checks decided: proved for all sizes, refuted with numbers and differing terms, or agreeing at random points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pgmdsl.compiler.arithmetic import Digits
from pgmdsl.compiler.averages import are_coupled, average_trials, sampled_average
from pgmdsl.compiler.derivation import Derivation
from pgmdsl.compiler.differ import differing_terms
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
from pgmdsl.compiler.normal_product import number, subtract
from pgmdsl.compiler.normal_read import Reader
from pgmdsl.compiler.normal_terms import NoProofError
from pgmdsl.compiler.posterior import Posterior, scaled
from pgmdsl.compiler.refute import Comparison, Counterexample, Hindrance, Trial, compare, state_trials
from pgmdsl.compiler.rewrite import walk
from pgmdsl.compiler.scope import examine_check
from pgmdsl.compiler.symbols import Symbols, diagonal, fixed_numbers
from pgmdsl.grammar.diagnostics import Diagnostics
from pgmdsl.grammar.source import NOWHERE, Span
from pgmdsl.grammar.syntax import Call, CheckDeclaration, Expression, Index, Name

Status = Literal["proved", "refuted", "agrees"]

GUARD_COST = 20_000  # operations that the look at a proof may take
HINDRANCES: dict[Hindrance, str] = {
    "model": "the model is too large to evaluate: give its sizes names, as in binary[D]",
    "formula": "a value in the formula is too large to evaluate",
    "rounding": "it could not be decided with numbers: rounding errors are as large as what the sides differ by",
    "coupled": "averages over units without bound that depend on each other are not evaluated",
    "states": "sums over states without end are not evaluated",
    "value": "neither side has a value where it was evaluated",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one check ends.

    `status` is proved, refuted or agrees (at `points` random points); `counterexample` has numbers that refute it,
    `differences` the terms in which the sides differ, in words; `expected_refuted` where the file marks it `refuted`.
    """

    title: str
    status: Status
    detail: str
    points: int = 0
    counterexample: Counterexample | None = None
    differences: tuple[str, ...] = ()
    expected_refuted: bool = False
    span: Span = field(default=NOWHERE, compare=False)

    @property
    def outcome(self) -> str:
        """The status as it is shown: agreement at no point at all is undecided."""
        return "undecided" if self.status == "agrees" and not self.points else self.status

    @property
    def passed(self) -> bool:
        """Whether the check ends as the file says it does."""
        if self.expected_refuted:
            return self.status == "refuted"
        return self.status == "proved" or (self.status == "agrees" and self.points > 0)


def verify_checks(model: Model, derivation: Derivation) -> tuple[Verdict, ...]:
    """The verdict on every check of a model whose checks are without mistakes. The same file has the same verdicts."""
    fields = Fields(Symbols.of(model), derivation.contributions)
    return tuple(verify_check(fields, check) for check in model.checks)


def verify_check(fields: Fields, check: CheckDeclaration) -> Verdict:
    """The verdict on one check."""
    model = fields.symbols.model
    examined = examine_check(model, check, Diagnostics(model.source))
    assert examined is not None, "the checks of a checked model have no mistakes"
    if examined.clash is not None:
        return _verdict(check, "refuted", f"by shape: {examined.clash}")
    if examined.model is not model:
        fields = scaled(derive_fields(Symbols.of(examined.model)), examined.scale)
    form, q = examined.form, examined.posterior
    expander = Expander(fields, examined.check.right, q, examined.means)
    comparisons: list[Comparison] = []
    for sides in sides_of(expander, form, examined.check.right, examined.of_q):
        proved = next((left for left in sides.lefts if is_proved(fields, form, left, sides.right, q)), None)
        if proved is not None and stands(fields, form, enumerated(proved, q), enumerated(sides.right, q)):
            continue
        comparison = _compared(fields, form, enumerated(sides.lefts[0], q), enumerated(sides.right, q), q)
        if comparison.counterexample is not None:
            return _refuted(fields, form, examined.check, sides, comparison, q)
        comparisons.append(comparison)
    if not comparisons:
        return _verdict(check, "proved", "for all sizes")
    least = min(comparisons, key=lambda comparison: comparison.points)
    if not least.points:
        return _verdict(check, "agrees", f"no proof found, and {HINDRANCES[least.hindrance]}")
    return _verdict(check, "agrees", f"at {least.points} random points; no proof found", points=least.points)


def is_proved(
    fields: Fields, form: Form, left: Expression, right: Expression, posterior: Posterior | None = None
) -> bool:
    """Whether both sides have one normal form, wherever the indices name what there is."""
    reader = _reader(fields, form, posterior)
    algebra = reader.algebra
    try:
        difference = subtract(reader.read(left), reader.read(right))
        for first, second in apart(fields.symbols.model, form):
            difference = algebra.multiply(difference, subtract(number(1), algebra.same(first, second)))
        return algebra.is_zero(difference)
    except NoProofError:
        return False


def stands(fields: Fields, form: Form, left: Expression, right: Expression) -> bool:
    """Whether a proof holds at one point: both sides have a value there, and the same.

    True where no point is small enough to be evaluated: a proof holds for all sizes, however large.
    """
    model = fields.symbols.model

    def trials() -> Iterator[Trial]:
        for turn, trial in enumerate(state_trials(model, _means(model, form), (left, right))):
            if isinstance(trial.arithmetic, Digits):
                average = sampled_average(model, trial.point, turn, trial.arithmetic.exact)
                point = replace(trial.point, average=average if isinstance(form, Gradient) else None)
                yield Trial(point, trial.arithmetic, GUARD_COST)

    found = compare(trials(), free_indices(model, form), left, right, most_points=1, apart=apart(model, form))
    return found.counterexample is None and (found.points > 0 or found.hindrance in ("model", "formula", "states"))


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


def apart(model: Model, form: Form) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The indices on the left that differ: those of the two units (sites) that an entry of a lateral weight joins."""
    match form:
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
        if (told := diagonal(model, name)) is not None
    ]


def _means(model: Model, form: Form) -> tuple[str, ...]:
    """The layers whose names stand for means."""
    if not isinstance(form, MeanField):
        return ()
    return tuple(layer.name for layer in model.layers.values() if layer.role == "hidden")


def _reader(fields: Fields, form: Form, posterior: Posterior | None) -> Reader:
    model = fields.symbols.model
    reader = fields.symbols.reader(_means(model, form), fixed_numbers(model))
    if posterior is not None:
        reader.assume_posterior(posterior.means())
    reader.ranges.update(free_indices(model, form))
    return reader


def _compared(
    fields: Fields, form: Form, left: Expression, right: Expression, posterior: Posterior | None
) -> Comparison:
    model = fields.symbols.model
    trials: Iterator[Trial]
    if isinstance(form, Gradient) and are_coupled(model):
        return Comparison(0, None, "coupled")
    if isinstance(form, Gradient):
        q = posterior if form.phase == "wake" else None
        trials = average_trials(fields, (left, right), None if q is None else q.log)
    else:
        trials = state_trials(model, _means(model, form), (left, right))
    return compare(trials, free_indices(model, form), left, right, apart=apart(model, form))


def _refuted(
    fields: Fields,
    form: Form,
    check: CheckDeclaration,
    sides: Sides,
    comparison: Comparison,
    posterior: Posterior | None,
) -> Verdict:
    at = comparison.counterexample
    assert at is not None, "a refutation has a point"
    writer = fields.symbols.lettered((check.left, check.right)).writer()
    differences = differing_terms(_reader(fields, form, posterior), writer, sides.lefts[0], sides.right)
    shown = [f"{name} = {value}" for name, value in (*at.sizes.items(), *at.indices.items())]
    place = f" at {', '.join(shown)}" if shown else ""
    detail = f"{sides.part}{comparison.told}{place}"
    return _verdict(check, "refuted", detail, counterexample=at, differences=tuple(sides.part + d for d in differences))


def _verdict(check: CheckDeclaration, status: Status, detail: str, **more: Any) -> Verdict:
    return Verdict(check.title.value, status, detail, expected_refuted=check.refuted, span=check.span, **more)
