"""Estimators of likelihoods against enumeration on random models, and the statistics they are built from."""

from __future__ import annotations

import math

import numpy as np
import pytest
from annealed import ais, anneal_one, reverse_ais
from compiled import compile_machine, plain_python, random_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from random_models import RandomModel, every_unit, random_models
from wide_models import given_states, wide_models

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.estimators.ais import Annealing
from pgmdsl.runtime.estimators.annealing import Path, base_fields, log_partition_of_base
from pgmdsl.runtime.estimators.bound import bound_of
from pgmdsl.runtime.estimators.chains import Chains, anneal
from pgmdsl.runtime.estimators.conservative import conservative_weights
from pgmdsl.runtime.estimators.evidence import gather
from pgmdsl.runtime.estimators.exact import exact_statistics, log_sums, sums_of
from pgmdsl.runtime.estimators.importance import importance_weights, layers_to_draw, log_mean_exp
from pgmdsl.runtime.estimators.limits import MARKOV, bridge, log_inverse_mean, log_mean
from pgmdsl.runtime.estimators.reverse import raise_weights
from pgmdsl.runtime.estimators.schedules import respaced, schedule, steps_needed, stretches
from pgmdsl.runtime.estimators.starts import exact_states, model_states
from pgmdsl.runtime.machine import Machine

Array = NDArray[np.float64]

QUIET = settings(
    max_examples=8, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
MODELS = st.one_of(random_models(limit=64), wide_models(limit=2000, given=False))


def open_evidence(model: RandomModel, machine: Machine):
    return gather(machine, None, lengths={n: float(x) for n, x in model.oracle.lengths.items()})


# --- exact draws ------------------------------------------------------------------------------------------


@QUIET
@given(MODELS)
def test_exact_draws_have_the_models_means(model: RandomModel) -> None:
    machine, count = random_machine(model, "float64"), 2000
    evidence = open_evidence(model, machine)
    with plain_python():
        s = exact_states(evidence, count, 3, ("test",))
        exact = exact_statistics(machine, None, lengths=evidence.lengths)
    for name, mean in exact.means.items():
        error = np.maximum(s[name].std(axis=0), 0.02) / math.sqrt(count)
        assert (np.abs(s[name].mean(axis=0) - mean[0]) < 5 * error).all(), name


def test_exact_draws_over_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = random_machine(every_unit(), "float64")
    evidence = gather(machine)
    with plain_python():
        whole = exact_states(evidence, 50, 1, ("a",))
        monkeypatch.setattr("pgmdsl.runtime.estimators.sums.ROW_BYTES", 16 * 20 * 3)
        parts = exact_states(evidence, 50, 1, ("a",))
    for name in whole:
        np.testing.assert_allclose(whole[name], parts[name], atol=1e-9)


# --- both directions --------------------------------------------------------------------------------------


@QUIET
@given(MODELS, st.integers(0, 1000))
def test_weights_of_both_directions_average_to_the_ratio(model: RandomModel, seed: int) -> None:
    """E[w] = Z / Z_base forwards, E[1/w] = Z_base / Z backwards from exact draws, and Bennett's estimate is right."""
    machine = random_machine(model, "float64")
    evidence = open_evidence(model, machine)
    with plain_python():
        exact = float(sums_of(evidence)[0])
        base = base_fields(machine, None, evidence)
        chains, betas = Chains(150, 50, 1, seed), schedule(12)
        log_base = float(log_partition_of_base(evidence, base)[0])
        forward = anneal(evidence, base, betas, chains, ("ais",)).log_weight[0] + log_base
        starts = exact_states(evidence, 150, seed, ("start",))
        backward = log_base - anneal(evidence, base, betas, chains, ("back",), starts=starts).log_weight[0]
    for weight in (np.exp(forward - exact), np.exp(exact - backward)):
        error = weight.std(ddof=1) / math.sqrt(150)
        assert abs(weight.mean() - 1) < 4.5 * error + 1e-6
    both = bridge(forward, backward)
    assert abs(both.value - exact) < 4.5 * both.standard_error + 1e-6


def test_backward_steps_are_forward_steps_reversed() -> None:
    """In a layer with lateral edges: p(x) T(x, y) = p(y) T'(y, x), T' the backward step, counted over many chains."""
    text = "model L\nvisible v : binary[3] bias b\nhidden h : binary[1] bias a\nv -- v : L\nv -- h : W\n"
    lateral = np.array([[0.0, 1.5, -1.0], [1.5, 0.0, 2.0], [-1.0, 2.0, 0.0]])
    parameters = {
        "L": lateral,
        "W": np.array([[1.0], [-2.0], [0.5]]),
        "b": np.array([0.2, -0.5, 0.1]),
        "a": np.zeros(1),
    }
    machine = compile_machine(text, parameters, "float64", jit=False)
    evidence, count = gather(machine), 20_000
    base = base_fields(machine)
    with plain_python():
        starts = exact_states(evidence, count, 0, ("x",))
        tables = []
        for backwards in (False, True):
            path = Path(evidence, base, np.array([1.0, 1.0]), count, 1, ("step",), backwards=backwards)
            for name in path.s:
                path.s[name][:] = starts[name]
            before = starts["v"].copy()
            for name in path.summed:
                path.send(name, path.s)
            path.sweep(1)
            first, second = (x @ [1, 2, 4] for x in (before, path.s["v"]))
            table = np.zeros((8, 8))
            np.add.at(table, (first.astype(int), second.astype(int)), 1.0)
            tables.append(table)
    forward, back = tables
    error = np.sqrt(np.maximum(forward + back.T, 1))
    assert (np.abs(forward - back.T) < 5 * error).all()
    assert (np.abs(forward - forward.T) > 5 * np.sqrt(np.maximum(forward + forward.T, 1))).any()  # order does matter


def test_a_schedule_that_fits_is_spread_by_the_weights() -> None:
    betas = schedule(100)
    counts = np.diff(stretches(100))
    variance = np.zeros(len(counts))
    variance[3] = 4.0
    found = respaced(betas, variance, 400)
    assert (np.diff(found) >= 0).all()
    assert (found[0], found[-1], len(found)) == (0.0, 1.0, 401)
    low, high = betas[stretches(100)[3]], betas[stretches(100)[4]]
    assert ((found >= low) & (found <= high)).mean() > 0.75
    assert steps_needed(betas, variance, 1.0) == pytest.approx(4.0 * counts[3])


def test_annealing_until_the_error_is_small_enough() -> None:
    machine = random_machine(every_unit(spread=1.2), "float64", jit=True)
    exact = float(log_sums(machine)[0])
    for error in (0.1, 0.02):
        found = ais(machine, error=error, seed=2)
        assert found.standard_error < 1.3 * error
        assert abs(found.value - exact) < 4 * found.standard_error
    with pytest.raises(Error, match="above 0"):
        ais(machine, error=0.0)


def test_threads_change_nothing_and_batches_are_their_own() -> None:
    machine = random_machine(every_unit(), "float64", jit=True)
    how = {"temperatures": 40, "chains": 30, "batch": 7}
    one, four = (anneal_one(machine, "bridge", threads=threads, **how) for threads in (1, 4))
    assert (one.value, one.lower, one.standard_error) == (four.value, four.lower, four.standard_error)
    assert ais(machine, temperatures=40, chains=30, batch=30).value != one.forward


def test_what_starts_say() -> None:
    machine = random_machine(every_unit(), "float64", jit=True)
    data = {n: exact_states(gather(machine), 40, 0, ("data",))[n] for n in ("v", "y")}
    for starts in ("exact", "data", "tempering"):
        found = reverse_ais(machine, temperatures=30, starts=starts, data=data, chains=20)
        assert found.start == starts
        assert found.bounds.startswith("above") == (starts == "exact")
    with pytest.raises(Error, match="starts = tempering"):
        model_states(gather(machine), 10, "data", 0, ("x",), {"v": data["v"]})


# --- limits -----------------------------------------------------------------------------------------------


def test_limits_of_a_mean() -> None:
    rng = np.random.default_rng(0)
    even = log_mean(rng.normal(0, 0.1, 200))
    assert even.upper - even.value == pytest.approx(1.97 * even.standard_error, rel=0.15)
    assert even.value - even.lower == pytest.approx(1.97 * even.standard_error, rel=0.15)
    skewed = log_mean(rng.normal(0, 0.9, 200))
    assert skewed.upper - skewed.value > skewed.value - skewed.lower
    poor = log_mean(rng.normal(0, 3.0, 200))
    assert poor.effective < 40
    assert (poor.lower, poor.upper) == (poor.value - MARKOV, math.inf)
    back = log_inverse_mean(rng.normal(0, 3.0, 200))
    assert (back.lower, back.upper) == (-math.inf, back.value + MARKOV)
    constant = log_mean(np.full(10, 2.0))
    assert (constant.lower, constant.value, constant.upper) == (2.0, 2.0, 2.0)


def test_limits_hold_the_mean_of_skewed_weights() -> None:
    """Of log-normal weights with an effective sample size near half: 95%, and not far less, of 600 intervals."""
    rng = np.random.default_rng(1)
    found = [log_mean(rng.normal(-0.32, 0.8, 100)) for _ in range(600)]
    held = np.mean([f.lower <= 0 <= f.upper for f in found])
    assert 0.93 <= held <= 0.98
    both = []
    for _ in range(400):
        forward, backward = rng.normal(-0.5, 1.0, 60), rng.normal(0.5, 1.0, 90)  # exp(l) p(l) of the one is the other
        both.append(bridge(forward, backward))
    assert 0.92 <= np.mean([f.lower <= 0 <= f.upper for f in both]) <= 0.98
    errors = [f.value / f.standard_error for f in both]
    assert np.std(errors) == pytest.approx(1, abs=0.12)


# --- likelihoods of cases ---------------------------------------------------------------------------------


def cases_of(model: RandomModel, machine: Machine, count: int) -> dict[str, Array]:
    """Statistics of the visible and given layers, drawn from the model where it has no given ones."""
    if model.oracle.names("given"):
        inputs = given_states(model.oracle, count)
        kernels = machine.kernels
        known = {n: kernels.statistic[n](machine.p, x.reshape(count, -1)) for n, x in inputs.items()}
    else:
        known = {}
    out = []
    for number in range(count):
        one = {n: x[number : number + 1] for n, x in known.items()}
        evidence = gather(machine, one or None, lengths={n: float(x) for n, x in model.oracle.lengths.items()})
        s = exact_states(evidence, 1, number, ("case",))
        out.append({n: s[n] for n in (*model.oracle.names("visible"), *model.oracle.names("given"))})
    return {n: np.concatenate([x[n] for x in out]) for n in out[0]}


@QUIET
@given(st.one_of(random_models(limit=64), wide_models(limit=2000)))
def test_importance_weights_tighten_the_bound(model: RandomModel) -> None:
    machine = random_machine(model, "float64")
    with plain_python():
        evidence = gather(machine, cases_of(model, machine, 3))
        exact, bound = sums_of(evidence), bound_of(evidence).log_weight
        weights = importance_weights(evidence, 200, seed=1)
    if not layers_to_draw(evidence):
        np.testing.assert_allclose(weights, np.broadcast_to(exact, weights.shape), atol=1e-8)
        return
    ratio = np.exp(weights - exact)
    error = ratio.std(axis=0, ddof=1) / math.sqrt(200)
    assert (np.abs(ratio.mean(axis=0) - 1) < 5 * error + 1e-6).all()
    assert (log_mean_exp(weights) > bound - 0.2).all()


def test_raise_is_the_annealed_models_probability() -> None:
    """E[w] is p_ann(v) exactly: the base, then the steps' transition matrices, summed over the chains' states."""
    rng = np.random.default_rng(3)
    parameters = {"W": rng.normal(0, 1.5, (5, 2)), "b": rng.normal(size=5), "a": rng.normal(size=2)}
    text = "model R\nvisible v : binary[5] bias b\nhidden h : binary[2] bias a\nv -- h : W\n"
    machine = compile_machine(text, parameters, "float64", jit=False)
    betas, weight, b, a = schedule(3), parameters["W"], parameters["b"], parameters["a"]
    hidden = np.array(list(np.ndindex(2, 2)), float)
    every = np.array(list(np.ndindex(*[2] * 5)), float)

    def given_hidden(beta: float) -> Array:  # p(v | h), (hidden, visible): the base has the model's own fields
        fields = b + beta * hidden @ weight.T
        return np.exp(fields @ every.T - np.logaddexp(0, fields).sum(1)[:, None])

    def given_visible(beta: float) -> Array:
        fields = a + beta * every @ weight
        return np.exp(fields @ hidden.T - np.logaddexp(0, fields).sum(1)[:, None])

    at = np.exp(hidden @ a - np.logaddexp(0, a).sum())
    for beta in betas[1:-1]:
        at = at @ given_hidden(beta) @ given_visible(beta)
    annealed = at @ given_hidden(1.0)
    assert annealed.sum() == pytest.approx(1)
    model = log_sums(machine, {"v": every}) - log_sums(machine)
    assert np.abs(np.log(annealed) - model).max() > 0.1  # not the model's
    chosen = every[[0, 5, 13, 31]]
    with plain_python():
        weights = raise_weights(machine, {"v": chosen}, Annealing(chains=2000, temperatures=3, batch=2000))
    ratio = np.exp(weights) / annealed[[0, 5, 13, 31]]
    error = ratio.std(axis=0, ddof=1) / math.sqrt(2000)
    assert (np.abs(ratio.mean(axis=0) - 1) < 4 * error).all()
    assert (weights.mean(axis=0) < np.log(annealed[[0, 5, 13, 31]])).all()


@QUIET
@given(st.one_of(random_models(limit=64), wide_models(limit=2000)))
def test_raise_of_any_model_tends_to_its_probability(model: RandomModel) -> None:
    machine = random_machine(model, "float64")
    with plain_python():
        known = cases_of(model, machine, 2)
        given_layers = {n: x for n, x in known.items() if n in machine.given}
        lengths = gather(machine, known).lengths
        log_z = sums_of(gather(machine, given_layers or None, lengths=lengths))
        exact = sums_of(gather(machine, known)) - log_z
        weights = raise_weights(machine, known, Annealing(chains=60, temperatures=40, batch=60))
    error = np.exp(weights - log_mean_exp(weights)).std(axis=0, ddof=1) / math.sqrt(60)
    assert (np.abs(log_mean_exp(weights) - exact) < 5 * error + 0.1).all()


@QUIET
@given(st.one_of(random_models(limit=64), wide_models(limit=2000)))
def test_csl_averages_to_the_probability(model: RandomModel) -> None:
    machine = random_machine(model, "float64")
    with plain_python():
        known = cases_of(model, machine, 2)
        if not machine.independent(model.oracle.names("visible")):
            with pytest.raises(Error, match="share an edge"):
                conservative_weights(machine, known, 600, start="exact")
            return
        weights, start = conservative_weights(machine, known, 600, start="exact")
        given_layers = {n: x for n, x in known.items() if n in machine.given}
        log_z = sums_of(gather(machine, given_layers or None, lengths=gather(machine, known).lengths))
        exact = sums_of(gather(machine, known)) - log_z
    assert start == "exact"
    ratio = np.exp(weights - exact)
    error = ratio.std(axis=0, ddof=1) / math.sqrt(600)
    assert (np.abs(ratio.mean(axis=0) - 1) < 5 * error + 1e-6).all()
