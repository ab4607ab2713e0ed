"""Training holds what is predicted of it, whatever the number of cases."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import pgmdsl
from pgmdsl.cli.main import pgmc
from pgmdsl.runtime.memory import peak_bytes, predicted_bytes, stored_bytes

HEAD = "model M\nvisible v : binary[300] bias b\nhidden h : binary[400] bias a\nhidden g : binary[200] bias c\n"
PHASES = {
    "pcd": "fit { updates = 30, batch = 300, negative = pcd(1, chains = 500) }",
    "adam": "fit { updates = 30, batch = 300, optimiser = adam, average = 0.9 }",
    "tempering": "fit { updates = 6, batch = 50, negative = tempering(1, chains = 200, temperatures = 5) }",
}


def text(phase: str) -> str:
    return f'{HEAD}v -- h : W\nh -- g : U\ndata v {{ file = "data.npy" }}\ntrain {{ {phase} }}\n'


def peak_of(folder: Path, phase: str, cases: int, name: str) -> tuple[int, pgmdsl.Run]:
    """The most that Python's and NumPy's allocations came to in training, kernels being compiled."""
    np.save(folder / "data.npy", np.random.default_rng(0).integers(0, 2, (cases, 300)).astype(np.uint8))
    (folder / "m.ebm").write_text(text(phase))
    model = pgmdsl.compile(folder / "m.ebm")
    pgmdsl.train(model, out=folder / f"warm_{name}")
    tracemalloc.start()
    run = pgmdsl.train(model, out=folder / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, run


@pytest.mark.parametrize("name", PHASES)
def test_the_peak_is_as_predicted(name, tmp_path):
    peak, run = peak_of(tmp_path, PHASES[name], 1000, name)
    (parts,) = predicted_bytes(run.model.artifact).values()
    assert 0.6 * sum(parts.values()) < peak < 1.1 * sum(parts.values()) + 2e6


def test_data_in_a_mapped_file_takes_no_memory(tmp_path):
    few, run = peak_of(tmp_path, PHASES["pcd"], 2_000, "few")
    many, _ = peak_of(tmp_path, PHASES["pcd"], 50_000, "many")
    assert stored_bytes(run.splits) == 0
    assert many - few < 0.2 * 48_000 * 300  # of what is stored; the rows' numbers are held


def test_what_is_not_mapped_is_counted(tmp_path):
    np.savez_compressed(tmp_path / "data.npz", x=np.zeros((70, 300), np.uint8))
    (tmp_path / "m.ebm").write_text(text(PHASES["pcd"]).replace("data.npy", "data.npz:x"))
    run = pgmdsl.train(pgmdsl.compile(tmp_path / "m.ebm"), out=tmp_path / "run")
    assert stored_bytes(run.splits) == 70 * 300


def test_check_predicts_and_train_reports(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("data.npy", np.zeros((50, 300), np.uint8))
    Path("m.ebm").write_text(text(PHASES["adam"]).replace("updates = 30", "updates = 1"))
    said = CliRunner().invoke(pgmc, ["check", "--info", "m.ebm"])
    assert said.exit_code == 0
    assert "fit will hold" in said.output
    answer = json.loads(CliRunner().invoke(pgmc, ["check", "--info", "--json", "m.ebm"]).stdout)
    weights = 4 * (300 * 400 + 400 * 200)
    assert answer["memory"]["fit"]["gradient"] == weights
    assert answer["memory"]["fit"]["optimiser"] == 2 * (weights + 4 * 900)
    said = CliRunner().invoke(pgmc, ["train", "m.ebm", "--verbose", "--no-eval", "-o", "run"])
    assert said.exit_code == 0, said.output
    assert "at its peak" in said.output
    assert (peak_bytes() or 2**30) > 30e6


def test_sizes_that_are_not_known_are_told(tmp_path):
    (tmp_path / "m.ebm").write_text(text(PHASES["pcd"]).replace("model M", "model M(D)").replace("[300]", "[D]"))
    said = CliRunner().invoke(pgmc, ["check", "--info", str(tmp_path / "m.ebm")])
    assert said.exit_code == 0
    assert "depends on sizes that are not known" in said.output
    assert "there is no such file" in said.output
