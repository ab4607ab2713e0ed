"""What is watched while a model trains: metrics, early stopping, warnings, and what is said on the way."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import (
    DBM,
    RBM,
    artifact_of,
    kernels_of,
    oracle_of,
    random_data,
    random_parameters,
    resume,
    train,
    with_train,
)
from compiled import plain_python
from oracle import log_probability

from pgmdsl.compiler.settings import METRICS
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime import evaluation, monitor, progress, session
from pgmdsl.runtime import train as training
from pgmdsl.runtime.estimators.pseudolikelihood import one_site
from pgmdsl.runtime.fit import Job
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.monitor import largest_singular_value
from pgmdsl.runtime.tensors import read_tensors

WATCHED = f"{RBM}\ndata v {{ valid = 0.5 }}"


def said(capsys: pytest.CaptureFixture[str], text: str, settings: str, out: Path, cases: int = 16) -> list[str]:
    """What a training shows on stderr, line by line."""
    artifact = with_train(text, settings)
    with plain_python():
        training.train(artifact, random_data(artifact, cases), out=out)
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("stop", ["", ", stop = patience(2, reconstruction)"])
def test_the_recorded_rate_is_that_of_the_last_step(stop: str, tmp_path: Path) -> None:
    artifact = with_train(
        f"{RBM}\ndata v {{ valid = 0.5 }}", f"fit {{ epochs = 3, batch = 4, rate = 0.1 * (1 - progress){stop} }}"
    )
    run = train(artifact, random_data(artifact, 16), out=tmp_path / "run")  # 8 cases to train on: 2 steps an epoch
    assert [m["rate"] for m in run.metrics] == pytest.approx([0.1 * (1 - step / 6) for step in (1, 3, 5)])
    artifact = with_train(RBM, "fit { epochs = 2, batch = 4, rate = 0.3 }")
    run = train(artifact, random_data(artifact, 8), out=tmp_path / "constant")
    assert [m["rate"] for m in run.metrics] == [0.3, 0.3]


@pytest.mark.parametrize(("updates", "epochs"), [(1, [1]), (2, [1]), (3, [1, 2])])
def test_an_epoch_that_has_begun_counts(updates: int, epochs: list[int], tmp_path: Path) -> None:
    artifact = with_train(RBM, f"fit {{ updates = {updates}, batch = 4 }}")
    run = train(artifact, random_data(artifact, 8), out=tmp_path / "run")
    assert [m["epoch"] for m in run.metrics] == epochs


def test_patience_keeps_the_best_epoch(tmp_path: Path) -> None:
    """With a rate that grows until it ruins the model, training stops early and ends at the best epoch's parameters."""
    text = f"{RBM}\ndata v {{ valid = 0.4 }}"
    artifact = with_train(
        text, "fit { epochs = 60, batch = 5, rate = 0.05*1.2^epoch, stop = patience(3, pseudolikelihood) }"
    )
    rng = np.random.default_rng(0)
    first = rng.integers(0, 2, (40, 1))
    run = train(artifact, {"v": np.tile(first, (1, 4)).astype(float)}, out=tmp_path / "run")
    values = [m["valid_pseudolikelihood"] for m in run.metrics]
    assert len(values) < 60
    assert int(np.argmax(values)) == len(values) - 4


def test_stop_without_validation_data_says_so(tmp_path: Path) -> None:
    artifact = with_train(RBM, "fit { epochs = 2, stop = patience(3) }")
    with pytest.raises(Error, match=r"valid = 0\.1"):
        train(artifact, random_data(artifact, 8), out=tmp_path / "run")


def test_pseudolikelihood_is_the_sum_of_conditionals_on_average() -> None:
    artifact = artifact_of(RBM)
    parameters = random_parameters(artifact)
    machine = Machine(artifact, kernels_of(artifact), parameters)
    v = np.tile([[1.0, 0.0, 1.0, 1.0]], (4000, 1))
    model = oracle_of(artifact, parameters)
    terms = []
    for i in range(4):
        other = v[:1].copy()
        other[0, i] = 1 - other[0, i]
        terms.append(-np.log1p(np.exp(log_probability(model, {"v": other}) - log_probability(model, {"v": v[:1]}))))
    estimate = one_site(machine, {"v": v})
    assert set(np.round(estimate, 9)) == set(np.round(np.multiply(4, terms), 9))
    assert abs(estimate.mean() - np.sum(terms)) < 5 * estimate.std() / 4000**0.5


def test_largest_singular_value() -> None:
    w = np.random.default_rng(0).normal(size=(30, 20)) + 2
    assert largest_singular_value(w) == pytest.approx(np.linalg.svd(w)[1][0], rel=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_of_the_language_stops_training(metric: str, tmp_path: Path) -> None:
    """Each on its own scale; exact ones against enumeration of the declared terms."""
    artifact = with_train(WATCHED, f"fit {{ epochs = 1, batch = 4, rate = 0.2, stop = patience(1, {metric}) }}")
    data = random_data(artifact, 16)
    run = train(artifact, data, out=tmp_path / "run")
    value = run.metrics[0][f"valid_{metric}"]
    assert run.splits.valid is not None
    v = data["v"][run.splits.valid.rows]
    model = oracle_of(artifact, run.parameters)
    if metric in ("likelihood", "bound"):  # the bound is tight: the hidden units are independent given v
        assert value == pytest.approx(np.mean([log_probability(model, {"v": x[None]}) for x in v]), abs=1e-9)
    elif metric == "reconstruction":
        W, b, a = (run.parameters[n] for n in "Wba")
        sigmoid = [1 / (1 + np.exp(-x)) for x in (v @ W + a,)]
        mean = 1 / (1 + np.exp(-(sigmoid[0] @ W.T + b)))
        assert value == pytest.approx(np.mean((v - mean) ** 2), rel=1e-5)
    else:
        assert value < 0


# --- warnings ---------------------------------------------------------------------------------------------


def with_signs(monkeypatch: pytest.MonkeyPatch, severities: list[float]) -> None:
    """Let the figures of the epochs have these largest singular values."""
    left = iter(severities)
    monkeypatch.setattr(monitor, "largest_singular_value", lambda w: next(left))


def test_a_warning_is_said_once_a_phase_and_again_when_much_worse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_signs(monkeypatch, [50, 51, 60, 30, 74, 76, 77, 45])
    lines = said(capsys, RBM, "batch = 8 \n fit { epochs = 7 } \n fit { epochs = 1 }", tmp_path / "run")
    shown = [(line.partition(":")[0], line.partition(" of W is ")[2].partition(":")[0]) for line in lines]
    assert shown == [("fit, epoch 1", "50"), ("fit, epoch 6", "76"), ("fit, epoch 1", "45")]


def test_metrics_keep_every_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_signs(monkeypatch, [50, 51, 30])
    artifact = with_train(RBM, "fit { epochs = 3, batch = 8 }")
    run = train(artifact, random_data(artifact, 8), out=tmp_path / "run")
    assert [len(m["warnings"]) for m in run.metrics] == [1, 1, 0]
    assert "largest singular value of W is 51" in run.metrics[1]["warnings"][0]


def test_what_annealing_at_each_epoch_costs_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(monitor, "STOP_TEMPERATURES", 5)
    settings = "fit {{ epochs = 3, batch = 8, stop = patience(9, {}) }}"
    for metric, cheap, lines in (("bound", 0, 1), ("likelihood", 0, 1), ("reconstruction", 0, 0), ("bound", 2**31, 0)):
        monkeypatch.setattr(evaluation, "CHEAP", cheap)
        found = said(capsys, WATCHED, settings.format(metric), tmp_path / f"{metric}{cheap}")
        assert sum("anneals log Z at" in line for line in found) == lines
        assert len(found) == lines


# --- progress ---------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that goes on by so many seconds before each step of training."""
    now, step = [0.0], [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    take = Job.take_step

    def taken(self: Job, order: Any) -> None:
        now[0] += step[0]
        take(self, order)

    monkeypatch.setattr(Job, "take_step", taken)

    def set_step(seconds: float) -> None:
        step[0] = seconds

    return set_step


PHASES = "batch = 8 \n greedy { epochs = 2 } \n fit { epochs = 20 }"


def test_without_a_terminal_each_phase_has_its_first_and_last_line(
    tmp_path: Path, clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    clock(0.5)  # 2 steps an epoch; nothing is said in the first 2 s
    assert said(capsys, DBM, PHASES, tmp_path / "run") == [
        "greedy h1: 2 of 2 epochs, 2 s",
        "greedy h2: epoch 1 of 2, 0 s",
        "greedy h2: 2 of 2 epochs, 2 s",
        "fit: epoch 1 of 20, 0 s",
        "fit: epoch 10 of 20, 10 s",
        "fit: 20 of 20 epochs, 20 s",
    ]


def test_what_is_short_is_silent(
    tmp_path: Path, clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    clock(0.01)
    assert said(capsys, DBM, PHASES, tmp_path / "run") == []


def test_long_estimates_show_lines_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with progress.progress_bar("annealing") as tick:
        for done, now in enumerate((1.0, 11.0, 12.0, 22.0), 1):  # noqa: B007
            tick(done, 4)
    assert capsys.readouterr().err.splitlines() == ["annealing: 2 of 4, 11 s", "annealing: 4 of 4, 22 s"]


@pytest.mark.parametrize("terminal", [False, True])
def test_the_end_of_patience_is_announced(
    terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = iter([-3.0, -1.0, -2.0, -1.5, -9.0])
    monkeypatch.setattr(session, "stop_value", lambda job, metric: next(values))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    found = said(capsys, WATCHED, "fit { epochs = 60, batch = 8, stop = patience(3) }", tmp_path / "run")
    (line,) = found
    assert line.startswith("fit: stopped after 5 of 60 epochs, ")
    assert line.endswith(" s: 3 without a better value; the parameters are those of epoch 2, the best")


def test_a_run_that_was_out_of_patience_does_not_train_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash just after the checkpoint of the last epoch, before the phase could end."""
    artifact = with_train(WATCHED, "fit { epochs = 60, batch = 8, rate = 0.1, stop = patience(2) }")
    data, out = random_data(artifact, 16), tmp_path / "run"
    monkeypatch.setattr(session, "EVERY", 0.0)
    monkeypatch.setattr(session, "stop_value", lambda job, metric: -float(job.epochs_begun))
    whole = train(artifact, data, out=tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(Job, "finish", lambda job: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(artifact, data, out=out)
    run = resume(out, artifact, data)
    assert len(run.metrics) == len(whole.metrics) == 3
    for name, value in whole.parameters.items():
        np.testing.assert_array_equal(run.parameters[name], value)


# --- models that normalise only under a condition -----------------------------------------------------------


NATURALS = """
model Naturals
given   x : binary[1]
visible v : poisson[2] bias b
hidden  h : relu[2]    bias a
x -- v : B
v -- v : L
v -- h : W
"""


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_weights_that_may_not_be_positive_end_at_0_where_the_data_asks_for_more(optimiser: str, tmp_path: Path) -> None:
    """Counts that go together: with no weight above 0, likelihood is greatest where they are independent."""
    rng = np.random.default_rng(0)
    v = rng.poisson(rng.gamma(2, 1, (400, 1)) * [1, 1.5])
    text = "model Pair\nvisible v : poisson[2] bias b\nv -- v : L"
    artifact = with_train(text, f"fit {{ epochs = 60, batch = 50, rate = 0.02, optimiser = {optimiser} }}")
    run = train(artifact, {"v": v.astype(float)}, out=tmp_path / "run")
    assert (run.parameters["L"] == 0).all()
    assert np.exp(run.parameters["b"]) == pytest.approx(v.mean(axis=0), rel=0.15)


def test_such_weights_of_any_edge_end_at_0_or_below(tmp_path: Path) -> None:
    artifact = with_train(NATURALS, "fit { epochs = 30, batch = 20, rate = 0.1, negative = cd(1) }")
    data = {"v": np.random.default_rng(0).poisson(3, (60, 2)).astype(float), "x": np.ones((60, 1))}
    run = train(artifact, data, out=tmp_path / "run")
    assert artifact.nonpositive == {"L", "W"}
    assert (run.parameters["W"] <= 0).all()
    assert (run.parameters["L"] <= 0).all()


def test_a_run_that_diverges_keeps_its_last_sound_epoch(tmp_path: Path) -> None:
    """Given what goes on, a coupling of Gaussian units grows beyond 1; the epochs before are not lost."""
    artifact = with_train(
        "model Joined\nvisible v : gaussian[2] bias b\nhidden h : gaussian[1] bias a\nv -- h : W",
        "fit { epochs = 200, batch = 20, rate = 0.01 }",
    )
    v = np.random.default_rng(0).normal(size=(40, 1)) * [[6.0, 6.0]]
    with pytest.raises(Error, match="Z is infinite") as raised:
        train(artifact, {"v": v}, out=tmp_path / "run")
    said = re.search(r"epoch (\d+): .*the run keeps the parameters of epoch (\d+)$", str(raised.value))
    assert said
    assert int(said[1]) == int(said[2]) + 1 > 5
    kept = read_tensors(tmp_path / "run" / "parameters.safetensors", "parameters")[0]["W"]
    assert 0.3 < np.linalg.svd(kept)[1][0] < 1
    with pytest.raises(Error, match=re.escape(str(raised.value))):
        resume(tmp_path / "run", artifact, {"v": v})
