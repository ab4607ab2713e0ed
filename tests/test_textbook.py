"""The textbook's formulas: each proved, and each of its known misprints refuted.

The sections are those of general Boltzmann machines, binary and Gaussian restricted ones, documents, labels, and the
two-pathway model of images and words.
"""

from __future__ import annotations

import pytest
from textbook import SECTIONS

from pgmdsl.compiler.derive import derive_model
from pgmdsl.compiler.driver import checked_model
from pgmdsl.compiler.prove import verify_checks
from pgmdsl.grammar.source import Source


@pytest.mark.parametrize("name", SECTIONS)
def test_every_formula_is_proved_and_every_misprint_refuted(name: str) -> None:
    model, _ = checked_model(Source(f"{name}.ebm", SECTIONS[name]), {})
    for check, verdict in zip(model.checks, verify_checks(model, derive_model(model)), strict=True):
        assert verdict.status == ("refuted" if check.refuted else "proved"), (check.title.value, verdict.detail)
