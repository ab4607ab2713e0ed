"""No wrong formula is called proved: small mutants of true checks, judged by an evaluator that shares nothing.

The test takes a sample with a fixed seed; `python tests/test_mutants.py` takes all mutants (some minutes).
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from mutants import mutated_checks
from plain import differs
from prover_models import CHAPTERS, MODELS, SIZES

from pgmdsl.compiler.derive import derive_model
from pgmdsl.compiler.driver import checked_model
from pgmdsl.compiler.energy import Fields
from pgmdsl.compiler.model import Model
from pgmdsl.compiler.prove import verify_check
from pgmdsl.compiler.scope import examine_check
from pgmdsl.compiler.symbols import Symbols
from pgmdsl.grammar.diagnostics import Diagnostics
from pgmdsl.grammar.format import format_expression
from pgmdsl.grammar.source import Source
from pgmdsl.grammar.syntax import CheckDeclaration

FOLDER = Path(__file__).parent.parent / "examples"


@cache
def model_of(name: str, choice: int) -> Model:
    """A test model or example at one of its two choices of sizes."""
    text = MODELS[name] if name in MODELS else (FOLDER / f"{name}.ebm").read_text(encoding="utf-8")
    model, _ = checked_model(Source(f"{name}.ebm", text), SIZES[name][choice])
    return model


@cache
def fields_of(name: str) -> tuple[Model, Fields]:
    """A model and its fields."""
    model = model_of(name, 0)
    return model, Fields(Symbols.of(model), derive_model(model).contributions)


def well_formed_mutants(name: str) -> Iterator[CheckDeclaration]:
    """The mutants that have no diagnostic."""
    model, _ = fields_of(name)
    for check in model.checks:
        if not check.refuted:
            for mutant in mutated_checks(model, check):
                if examine_check(model, mutant, Diagnostics(model.source)) is not None:
                    yield mutant


def judge(name: str, mutant: CheckDeclaration) -> str:
    """How the mutant ends, after comparing the verdict with what the plain evaluation says."""
    _, fields = fields_of(name)
    verdict = verify_check(fields, mutant, mending=False)
    shown = f"{name}: {format_expression(mutant.left)} == {format_expression(mutant.right)}: {verdict.detail}"
    different = any(differs(model_of(name, choice), mutant, seed=choice) for choice in (0, 1))
    by_shape = verdict.detail.startswith("by shape")
    assert verdict.status != "proved" or not different, f"called proved, and it is wrong: {shown}"
    assert verdict.status != "refuted" or different or by_shape, f"called refuted, and it holds: {shown}"
    assert verdict.outcome != "agrees" or not different, f"called agreeing, and it differs: {shown}"
    return verdict.outcome


@pytest.mark.parametrize("name", [name for name in SIZES if name not in CHAPTERS])
def test_the_checks_are_proved_and_hold(name: str) -> None:
    model, fields = fields_of(name)
    for check in model.checks:
        verdict = verify_check(fields, check, mending=False)
        assert verdict.status == ("refuted" if check.refuted else "proved"), (check.title.value, verdict.detail)
        different = [differs(model_of(name, choice), check, seed=3) for choice in (0, 1)]
        assert any(different) == check.refuted, check.title.value


@pytest.mark.parametrize("name", SIZES)
def test_no_mutant_that_differs_is_proved(name: str) -> None:
    mutants = list(well_formed_mutants(name))
    assert len(mutants) > 100
    sample = random.Random(20).sample(mutants, 15)
    statuses = Counter(judge(name, mutant) for mutant in sample)
    assert statuses["refuted"] > 9


def main() -> None:
    """Judge every mutant."""
    total: Counter[str] = Counter()
    for name in sys.argv[1:] or SIZES:
        statuses = Counter(judge(name, mutant) for mutant in well_formed_mutants(name))
        print(name, dict(statuses), flush=True)
        total += statuses
    print("all", dict(total))


if __name__ == "__main__":
    main()
