"""Runs as they are used: what goes with which rows, what their figures say, and what a damaged one says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from compiled import plain_python

import pgmdsl

SOURCE = """
model Tiny(D = 4, F = 3)
visible v : binary[D]
hidden  h : binary[F]
v -- h : W
data v { file = "v.npy" }
data weights { file = "w.npy" }
train { fit { epochs = 2, batch = 4, negative = cd(1) } }
"""
CASES = np.array(list(np.ndindex(2, 2, 2, 2)), np.uint8)[:9]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pgmdsl.Run:
    folder = tmp_path_factory.mktemp("run")
    np.save(folder / "v.npy", CASES)
    np.save(folder / "w.npy", np.arange(1.0, 10))
    (folder / "tiny.ebm").write_text(SOURCE)
    with plain_python():
        return pgmdsl.train(pgmdsl.compile(folder / "tiny.ebm", dtype="float64"), out=folder / "run")


@pytest.mark.parametrize("rows", [9, 5])
def test_cases_given_weigh_the_same_each(run: pgmdsl.Run, rows: int, tmp_path: Path) -> None:
    """The weights in the file are of the file's rows; on those alone the figure is the weighted mean."""
    with plain_python():
        scores = run.score({"v": CASES})
        (own,) = run.evaluate()
        assert own.value == pytest.approx(np.average(scores, weights=np.arange(1, 10)), abs=1e-12)
        (given,) = run.evaluate({"v": CASES[:rows]})
        assert given.value == pytest.approx(scores[:rows].mean(), abs=1e-12)
        np.save(tmp_path / "other.npy", CASES[:rows])
        (again,) = run.evaluate({"v": tmp_path / "other.npy"})
        assert again.value == given.value
        assert len(run.cases({"v": CASES[:rows]})["v"]) == rows
