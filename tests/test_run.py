"""Runs as they are used: what goes with which rows, what their figures say, and what a damaged one says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

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


def test_levels_are_no_states_that_figures_are_of(tmp_path: Path) -> None:
    """A model trained on means is measured on bits drawn once, as if it had been trained on resampled ones."""
    levels = np.random.default_rng(0).random((12, 4))
    runs = {}
    for bits in ("mean", "sample"):
        text = (
            SOURCE.partition("data v")[0]
            + f"""
data v {{ bits = {bits}, valid = 0.25 }}
train {{ fit {{ epochs = 1, batch = 4, rate = 0, stop = patience(1, likelihood) }} }}
"""
        )
        with plain_python():
            model = pgmdsl.compile_text(text, dtype="float64")
            runs[bits] = pgmdsl.train(model, {"v": levels}, out=tmp_path / bits)
            np.testing.assert_array_equal(np.unique(runs[bits].cases()["v"]), [0, 1])
    with plain_python():
        mean, sample = (run.evaluate()[0] for run in runs.values())
        assert runs["mean"].metrics[0]["valid_likelihood"] == pytest.approx(mean.value, abs=1e-12)
        assert set(runs["mean"].infer(runs["mean"].cases())) == {"h"}
    assert mean.value == sample.value
    assert sample.bits == "bits drawn once, seed 0"
    assert mean.bits == "bits drawn once, seed 0, though trained on their means"
    assert runs["mean"].metrics == runs["sample"].metrics


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: None,
        lambda text: b"",
        lambda text: text[: len(text) // 2],
        lambda text: b"\0\1" + text,
        lambda text: text.replace(b"F = 3", b"F = 2"),
        lambda text: text.replace(b"binary[D]", b"binary[E]"),
    ],
)
@pytest.mark.parametrize("use", [pgmdsl.load, pgmdsl.resume])
def test_a_model_file_that_is_not_the_runs(use: Any, damage: Any, run: pgmdsl.Run, tmp_path: Path) -> None:
    """It is called so before anything is said about what stands in it."""
    directory = tmp_path / "copy"
    shutil.copytree(run.directory, directory)
    path = directory / "model.ebm"
    changed = damage(path.read_bytes())
    path.unlink() if changed is None else path.write_bytes(changed)
    with pytest.raises(pgmdsl.Error, match=r"copy/model\.ebm is not the file this run was trained from") as caught:
        use(directory)
    assert "error[" not in str(caught.value)
