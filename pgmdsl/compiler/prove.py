"""Checks decided: proved for all sizes, refuted with numbers and differing terms, or agreeing at random points."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pgmdsl.compiler.claim import Claim, claim_of
from pgmdsl.compiler.derivation import Derivation
from pgmdsl.compiler.differ import differing_terms
from pgmdsl.compiler.energy import Fields
from pgmdsl.compiler.left import Sides
from pgmdsl.compiler.mend import mend_of
from pgmdsl.compiler.model import Model
from pgmdsl.compiler.refute import Comparison, Counterexample, Hindrance
from pgmdsl.compiler.scope import examine_check
from pgmdsl.compiler.steps import Proof, proofs_of
from pgmdsl.compiler.symbols import Symbols
from pgmdsl.grammar.diagnostics import Diagnostics
from pgmdsl.grammar.source import NOWHERE, Span
from pgmdsl.grammar.syntax import CheckDeclaration

Status = Literal["proved", "refuted", "agrees"]

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
    `differences` the terms in which the sides differ, in words, and `mend` the one change with which it is proved, if
    there is one; `expected_refuted` where the file marks it `refuted`.
    """

    title: str
    status: Status
    detail: str
    points: int = 0
    counterexample: Counterexample | None = None
    differences: tuple[str, ...] = ()
    mend: str = ""
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


def verify_checks(model: Model, derivation: Derivation, *, mending: bool = True) -> tuple[Verdict, ...]:
    """The verdict on every check of a model whose checks are without mistakes. The same file has the same verdicts."""
    fields = Fields(Symbols.of(model), derivation.contributions)
    return tuple(verify_check(fields, check, mending=mending) for check in model.checks)


def verify_check(fields: Fields, check: CheckDeclaration, *, mending: bool = True) -> Verdict:
    """The verdict on one check; with `mending`, the one change with which a refuted one holds is looked for."""
    verdict = _decided(fields, check)
    if mending and verdict.status == "refuted":
        return replace(verdict, mend=mend_of(fields, check))
    return verdict


def _decided(fields: Fields, check: CheckDeclaration) -> Verdict:
    model = fields.symbols.model
    examined = examine_check(model, check, Diagnostics(model.source))
    assert examined is not None, "the checks of a checked model have no mistakes"
    if examined.clash is not None:
        return _verdict(check, "refuted", f"by shape: {examined.clash}")
    claim = claim_of(fields, examined)
    comparisons: list[Comparison] = []
    for sides in claim.sides:
        if claim.proof(sides) is not None:
            continue
        comparison = claim.compared(claim.numbers(sides.lefts[0]), claim.numbers(sides.right))
        if comparison.counterexample is not None:
            return _refuted(claim, check, sides, comparison)
        comparisons.append(comparison)
    if not comparisons:
        return _verdict(check, "proved", "for all sizes")
    least = min(comparisons, key=lambda comparison: comparison.points)
    if not least.points:
        return _verdict(check, "agrees", f"no proof found, and {HINDRANCES[least.hindrance]}")
    return _verdict(check, "agrees", f"at {least.points} random points; no proof found", points=least.points)


def check_proofs(model: Model, derivation: Derivation, check: CheckDeclaration) -> tuple[Proof, ...]:
    """The steps of the proof of each part of a check that is proved."""
    examined = examine_check(model, check, Diagnostics(model.source))
    assert examined is not None, "what is proved has no mistakes"
    return proofs_of(claim_of(Fields(Symbols.of(model), derivation.contributions), examined))


def _refuted(claim: Claim, check: CheckDeclaration, sides: Sides, comparison: Comparison) -> Verdict:
    at = comparison.counterexample
    assert at is not None, "a refutation has a point"
    writer = claim.fields.symbols.lettered((claim.check.left, claim.check.right)).writer()
    differences = differing_terms(claim.model, claim.reader(), writer, sides.lefts[0], sides.right)
    shown = [f"{name} = {value}" for name, value in (*at.sizes.items(), *at.indices.items())]
    place = f" at {', '.join(shown)}" if shown else ""
    detail = f"{sides.part}{comparison.told}{place}"
    told = tuple(sides.part + d for d in differences)
    return _verdict(check, "refuted", detail, counterexample=at, differences=told)


def _verdict(check: CheckDeclaration, status: Status, detail: str, **more: Any) -> Verdict:
    return Verdict(check.title.value, status, detail, expected_refuted=check.refuted, span=check.span, **more)
