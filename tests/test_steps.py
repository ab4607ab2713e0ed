"""The steps of proofs: each is an equation that holds, and their ends are one normal form."""

from __future__ import annotations

import pytest
from prover_models import MODELS

from pgmdsl.compiler.claim import Claim, claim_of
from pgmdsl.compiler.derive import derive_model
from pgmdsl.compiler.driver import checked_model
from pgmdsl.compiler.energy import Fields
from pgmdsl.compiler.forms import Gradient
from pgmdsl.compiler.refute import compare, state_trials
from pgmdsl.compiler.scope import examine_check
from pgmdsl.compiler.steps import proofs_of
from pgmdsl.compiler.symbols import Symbols
from pgmdsl.grammar.diagnostics import Diagnostics
from pgmdsl.grammar.format import format_expression
from pgmdsl.grammar.source import Source


def claims(name: str) -> list[Claim]:
    """The claims of a model's proved checks."""
    model, _ = checked_model(Source(f"{name}.ebm", MODELS[name]), {})
    fields = Fields(Symbols.of(model), derive_model(model).contributions)
    found = [examine_check(model, c, Diagnostics(model.source)) for c in model.checks if not c.refuted]
    return [claim_of(fields, examined) for examined in found if examined is not None]


@pytest.mark.parametrize("name", MODELS)
def test_every_step_holds_at_random_points(name: str) -> None:
    compared = 0
    for claim in claims(name)[::2]:  # every other check: they share their steps
        if isinstance(claim.form, Gradient):
            continue  # averages have no value at a state
        for proof in proofs_of(claim):
            for step in (*proof.left, *proof.right):
                if step.left in (claim.check.left, claim.check.right):
                    continue  # what the check itself says: proved or refuted as a whole
                left, right = claim.numbers(step.left), claim.numbers(step.right)
                trials = state_trials(claim.model, claim.means, (left, right))
                found = compare(trials, {**claim.free, **step.ranges}, left, right, most_points=1, apart=claim.apart)
                shown = f"{format_expression(step.left)} = {format_expression(step.right)}"
                assert found.counterexample is None, shown
                compared += found.points
    assert compared
