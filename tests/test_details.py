"""Details of training and estimating that figures at the end would hardly show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annealed import ais, anneal_one, reverse_ais
from builders import DBM, RBM, artifact_of, kernels_of, random_data, random_parameters, train, with_train

from pgmdsl.runtime.data import open_data
from pgmdsl.runtime.estimators.bound import TOLERANCE, mean_field_bound
from pgmdsl.runtime.estimators.exact import exact_log_partition
from pgmdsl.runtime.estimators.result import LogPartition, doubt_annealing
from pgmdsl.runtime.estimators.scores import evaluate
from pgmdsl.runtime.feed import Feed
from pgmdsl.runtime.fit import Job
from pgmdsl.runtime.greedy import own_parameters, passes_below, stage_machine
from pgmdsl.runtime.learner import Learner
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.recipe import recipe_of

EXACT = "positive = exact, negative = exact, centering = off"
EVERY = np.array(list(np.ndindex(2, 2, 2, 2)), float)  # the states of the visible layer

COPIES = """
model Copies
visible v : binary[2] bias b
hidden  h : binary[1] bias a
v -- h : W
"""

TENS = """
model Tens
visible v : binary[10] bias b
hidden  h : binary[10] bias a
v -- h : W
"""


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


# --- what a run keeps and watches -------------------------------------------------------------------------


def test_the_best_epoch_is_kept_with_its_averaged_parameters(tmp_path: Path) -> None:
    """With an average, patience leaves what a run of just the best number of epochs would have ended with."""
    text = f"{RBM}\ndata v {{ valid = 0.5 }}"
    settings = "batch = 1, rate = 0.5, average = 0.9"
    data = random_data(artifact_of(RBM), 20)  # 10 to train on: an epoch ends where the average is updated
    stopped = with_train(text, f"fit {{ epochs = 6, {settings}, stop = patience(6, pseudolikelihood) }}")
    run = train(stopped, data, out=tmp_path / "stopped")
    best = 1 + int(np.argmax([m["valid_pseudolikelihood"] for m in run.metrics]))
    short = train(with_train(text, f"fit {{ epochs = {best}, {settings} }}"), data, out=tmp_path / "short")
    for name, value in short.parameters.items():
        np.testing.assert_array_equal(run.parameters[name], value, err_msg=name)


def test_validation_figures_are_of_the_validation_cases(tmp_path: Path) -> None:
    artifact = with_train(RBM, "fit { epochs = 2, batch = 4, rate = 0.3 }")
    v, valid = EVERY[[1, 2, 4, 8]], EVERY[[7, 14, 15]]
    run = train(artifact, {"v": v}, valid={"v": valid}, out=tmp_path / "run")
    W, b, a = run.parameters["W"], run.parameters["b"], run.parameters["a"]

    def reconstruction(x: Any) -> float:
        return float(np.mean((x - sigmoid(sigmoid(x @ W + a) @ W.T + b)) ** 2))

    def free_energy(x: Any) -> float:
        return float(np.mean(-x @ b - np.logaddexp(0, x @ W + a).sum(axis=1)))

    shown = run.metrics[-1]
    assert shown["reconstruction"] == pytest.approx(reconstruction(v), rel=1e-5)
    assert shown["valid_reconstruction"] == pytest.approx(reconstruction(valid), rel=1e-5)
    assert shown["free_energy_gap"] == pytest.approx(free_energy(valid) - free_energy(v), rel=1e-4)


# --- steps ------------------------------------------------------------------------------------------------


def test_a_batch_counts_as_much_as_its_cases_weigh(tmp_path: Path) -> None:
    """To first order in the rate, an epoch of 3 batches is one step of all cases at 3 times the rate."""
    data = random_data(artifact_of(RBM), 6)
    weights = [1, 2, 4, 8, 16, 32]
    before = random_parameters(artifact_of(RBM))
    batches = with_train(RBM, f"fit {{ epochs = 1, batch = 2, rate = 1e-7, {EXACT} }}")
    whole = with_train(RBM, f"fit {{ epochs = 1, batch = 6, rate = 3e-7, {EXACT} }}")
    one = train(batches, data, weights=weights, init=before, out=tmp_path / "batches").parameters
    other = train(whole, data, weights=weights, init=before, out=tmp_path / "whole").parameters
    for name, start in before.items():
        assert np.abs(other[name] - start).max() > 1e-9
        np.testing.assert_allclose(one[name] - start, other[name] - start, rtol=1e-4, atol=1e-13, err_msg=name)


def test_decay_draws_weights_to_zero_and_leaves_biases(tmp_path: Path) -> None:
    data = random_data(artifact_of(RBM), 6)
    before = random_parameters(artifact_of(RBM))
    after = []
    for decay in (0, 0.5):
        artifact = with_train(RBM, f"fit {{ updates = 1, batch = 6, rate = 0.1, decay = {decay}, {EXACT} }}")
        after.append(train(artifact, data, init=before, out=tmp_path / str(decay)).parameters)
    np.testing.assert_allclose(after[1]["W"] - after[0]["W"], -0.1 * 0.5 * before["W"], rtol=1e-9)
    np.testing.assert_array_equal(after[1]["b"], after[0]["b"])
    np.testing.assert_array_equal(after[1]["a"], after[0]["a"])


def test_cd_starts_from_drawn_hidden_units(tmp_path: Path) -> None:
    """Both visible units copy a hidden unit that is on half the time: equal if it is drawn, else each on its own."""
    artifact = with_train(COPIES, "fit { updates = 1, batch = 400, rate = 1, centering = off, negative = cd(1) }")
    before = {"W": np.full((2, 1), 80.0), "b": np.full(2, -40.0), "a": np.array([-80.0])}
    run = train(artifact, {"v": np.tile([[1.0, 0.0]], (400, 1))}, init=before, out=tmp_path / "run")
    on = np.array([1.0, 0.0]) - (run.parameters["b"] - before["b"])  # the share of cases, after the sweep
    assert on[0] == pytest.approx(on[1], abs=1e-9)
    assert abs(on[0] - 0.5) < 5 * 0.5 / 400**0.5


@pytest.mark.parametrize("times", [1, 3])
def test_persistent_chains_start_at_all_cases_alike(times: int, tmp_path: Path) -> None:
    artifact = with_train(RBM, f"fit {{ epochs = 1, batch = 4, negative = pcd(1, chains = {16 * times}) }}")
    machine = Machine(artifact, kernels_of(artifact), random_parameters(artifact))
    recipe = recipe_of(artifact.phases[0], artifact.sizes)
    feed = Feed(open_data(artifact, {"v": EVERY}, base=tmp_path).train, machine, 0)
    job = Job("fit", (0, 0), machine, feed, None, recipe, Learner(machine, ("v",), recipe, ("W",), 0))
    job.start()
    states, counts = np.unique(job.learner.negative.chains["v"], axis=0, return_counts=True)
    np.testing.assert_array_equal(states, EVERY)
    assert set(counts) == {times}


@pytest.mark.parametrize("words", [None, (0, 1, 7)])
def test_greedy_stages_are_fed_draws_of_the_layers_below(words: Any, tmp_path: Path) -> None:
    artifact = with_train(DBM, "greedy { epochs = 1 }")
    kernels, parameters = kernels_of(artifact), random_parameters(artifact)
    first, second = artifact.greedy
    biases = {s.upper: own_parameters(artifact, parameters, s, {}, {}) for s in (first, second)}
    machine = stage_machine(artifact, kernels, parameters, second, biases["h2"])
    v = np.tile([[1.0, 0.0, 1.0, 1.0]], (2000, 1))
    passes = passes_below(artifact, kernels, parameters, second, biases)
    feed = Feed(open_data(artifact, {"v": v}, base=tmp_path).train, machine, 0, passes)
    s = machine.new_state(2000, feed.layers)
    feed.fill(np.arange(2000), s, words)
    assert set(s) == {"h1"}
    assert set(np.unique(s["h1"])) == {0.0, 1.0}
    expected = sigmoid(2 * v[0] @ parameters["W1"] + parameters["a1"])  # doubled, as in the stage that trained it
    assert np.all(np.abs(s["h1"].mean(axis=0) - expected) < 5 * 0.5 / 2000**0.5)


# --- estimators -------------------------------------------------------------------------------------------


def test_the_bound_is_taken_where_mean_field_has_converged() -> None:
    artifact = artifact_of(DBM)
    p = random_parameters(artifact, sd=1.5)
    machine = Machine(artifact, kernels_of(artifact), p)
    found = mean_field_bound(machine, {"v": EVERY})
    h1, h2 = found.means["h1"], found.means["h2"]
    assert found.change < TOLERANCE
    np.testing.assert_allclose(h1, sigmoid(EVERY @ p["W1"] + h2 @ p["W2"].T + p["a1"]), atol=1e-5)
    np.testing.assert_allclose(h2, sigmoid(h1 @ p["W2"] + p["a2"]), atol=1e-5)
    once = mean_field_bound(machine, {"v": EVERY}, sweeps=1)
    assert once.change > 0.01
    assert (found.log_weight >= once.log_weight - 1e-12).all()
    assert (found.log_weight > once.log_weight + 1e-3).any()


@pytest.mark.parametrize(
    ("size", "chains", "words"),
    [(8.0, 100, "more than 50 temperatures"), (9.0, 20, "more than 20 chains"), (12.0, 100, None), (3.0, 5, None)],
)
def test_a_small_effective_sample_carries_a_warning(size: float, chains: int, words: str | None) -> None:
    found = doubt_annealing(LogPartition(1.0, 0.1, 0.8, 1.2, "ais", 0.0, size, chains, 50))
    assert found is None if words is None else words in str(found)


def test_limits_cannot_know_of_a_mode_that_no_chain_reached() -> None:
    """What the docstring of `LogPartition` admits: all units on hold nearly all of Z, but none turns on.

    Chains that go back from exact draws, or from data that have the mode, show it; from tempering they miss it as well.
    """
    artifact = artifact_of(TENS)
    p = {"W": np.full((10, 10), 1.2), "b": np.full(10, -5.0), "a": np.full(10, -5.0)}
    machine = Machine(artifact, kernels_of(artifact), p)
    exact = exact_log_partition(machine)
    assert exact > 20  # 120 of couplings less 100 of fields
    forward = ais(machine, temperatures=100, chains=40)
    assert forward.warning is None
    assert forward.upper < 1
    data = {"v": np.ones((3, 10))}
    for starts in ("exact", "data"):
        both = anneal_one(machine, "both", temperatures=100, chains=40, starts=starts, data=data)
        assert both.value == forward.value
        assert both.gap is not None
        assert both.gap > 20
        assert "went back put log Z" in str(both.warning)
        assert both.reverse is not None
        assert both.reverse.upper > exact
    exact_starts = reverse_ais(machine, temperatures=100, chains=40)
    assert (exact_starts.start, exact_starts.bounds) == ("exact", "above log Z on average")


def test_cases_of_more_than_probability_one_are_doubted() -> None:
    """A log Z that is too small for the cases themselves says so, whatever its own error bar."""
    artifact = artifact_of(RBM)
    machine = Machine(artifact, kernels_of(artifact), random_parameters(artifact))
    exact = exact_log_partition(machine)
    states = np.array(list(np.ndindex(*[2] * artifact.layers["v"].size)), float)
    twice = {"v": np.concatenate([states, states])}  # repeated cases count once

    def warned(value: float) -> str | None:
        return evaluate(machine, twice, LogPartition(value, 0.01, value, value, "ais", 0.0))[0].warning

    assert warned(exact) is None
    assert "more than 1" in (warned(exact - 0.1) or "")
    assert warned(exact + 0.1) is None
