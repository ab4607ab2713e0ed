"""No result depends on the number of threads: of training, of going on with a run, and of the chains of estimators."""

from __future__ import annotations

import threading
from functools import partial

import numpy as np
import pytest

import pgmdsl
from pgmdsl.runtime.negative import TOGETHER, NegativePhase, parts_of
from pgmdsl.runtime.positive import PositivePhase
from pgmdsl.runtime.threads import Threads

HEAD = "model M\nvisible v : binary[12] bias b\nhidden h : binary[7] bias a\nhidden g : binary[5] bias c\n"
DBM = "v -- h : W\nh -- g : U\n"
NET = "g -> h : U\nh -> v : W\nv ~> h : R\nh ~> g : S\n"
RECIPES = {
    "many chains": DBM + "train { fit { epochs = 2, batch = 20, negative = pcd(2, chains = 1300), average = 0.9 } }",
    "tempering": DBM
    + "train { fit { epochs = 2, batch = 20, negative = tempering(1, chains = 9, temperatures = 3) } }",
    "large batches": DBM + "train { fit { epochs = 2, batch = 1100, negative = cd(2) } }",
    "wake and sleep": NET + "train {\n  greedy { epochs = 1, batch = 20 }\n  wake_sleep { epochs = 2, batch = 20 }\n}",
}


def data(cases: int = 1200) -> dict[str, np.ndarray]:
    return {"v": (np.random.default_rng(3).random((cases, 12)) < 0.3).astype(np.float32)}


@pytest.mark.parametrize("name", RECIPES)
def test_training_does_not_depend_on_threads(name, tmp_path):
    model = pgmdsl.compile_text(HEAD + RECIPES[name])
    runs = [pgmdsl.train(model, data(), out=tmp_path / str(n), threads=n) for n in (1, 2, 5)]
    for run in runs[1:]:
        for parameter, value in runs[0].parameters.items():
            assert run.parameters[parameter].tobytes() == value.tobytes(), parameter
    assert any(np.abs(x).max() > 0.01 for x in runs[0].parameters.values())


def test_a_run_goes_on_with_other_threads(tmp_path):
    model, count = pgmdsl.compile_text(HEAD + RECIPES["many chains"]), []
    whole = pgmdsl.train(model, data(), out=tmp_path / "whole")

    def stop(_metrics):
        count.append(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pgmdsl.train(model, data(), out=tmp_path / "parts", threads=3, callback=stop)
    run = pgmdsl.resume(tmp_path / "parts", data(), threads=2)
    assert count
    for parameter, value in whole.parameters.items():
        assert run.parameters[parameter].tobytes() == value.tobytes()


def test_estimates_do_not_depend_on_threads(tmp_path):
    run = pgmdsl.train(pgmdsl.compile_text(HEAD + RECIPES["many chains"]), data(), out=tmp_path / "run")
    first, second = (
        run.log_partition("ais", chains=40, temperatures=50, batch=7, threads=threads) for threads in (1, 3)
    )
    assert first.value == second.value
    assert first.upper == second.upper


def test_parts_cover_all_rows_in_order():
    for rows in (1, 2, TOGETHER, 3 * TOGETHER // 2, 2000, 12345):
        parts = parts_of(rows)
        assert [i for part in parts for i in range(rows)[part]] == list(range(rows))
        assert max(part.stop - part.start for part in parts) < 1.6 * TOGETHER


def test_parts_run_once_and_beside_each_other():
    threads, done, together = Threads(3), [], threading.Barrier(3, timeout=60)

    def part(n):
        together.wait()  # passes only once three are at it
        done.append(n)

    threads.run([partial(part, n) for n in range(3)])
    threads.close()
    assert sorted(done) == [0, 1, 2]


def test_chains_move_while_the_data_phase_runs(tmp_path, monkeypatch):
    """The data phase of each step waits until a chain has begun to move, which it can only do on another thread."""
    began, fill, sweep = threading.Event(), PositivePhase.fill, NegativePhase._sweep

    def filling(self, batch):
        assert began.wait(60)
        began.clear()
        return fill(self, batch)

    def sweeping(self, *arguments):
        began.set()
        sweep(self, *arguments)

    monkeypatch.setattr(PositivePhase, "fill", filling)
    monkeypatch.setattr(NegativePhase, "_sweep", sweeping)
    text = HEAD + DBM + "train { fit { updates = 3, batch = 20, negative = pcd(1, chains = 10) } }"
    pgmdsl.train(pgmdsl.compile_text(text), data(), out=tmp_path / "run", threads=2)


def test_what_a_part_raises_is_raised():
    def fail():
        raise ValueError("of a part")

    for count in (1, 2):
        with pytest.raises(ValueError, match="of a part"):
            Threads(count).run([fail, lambda: None])
