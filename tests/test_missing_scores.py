"""Sums over what is missing: exact scores, expectations and bounds of partly observed cases, by brute force."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import oracle
import pytest
from compiled import compile_machine, random_machine
from hypothesis import HealthCheck, Phase, given, settings
from numpy.typing import NDArray
from random_models import RandomModel
from wide_models import given_states, wide_models

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.estimators.bound import mean_field_bound
from pgmdsl.runtime.estimators.exact import exact_statistics, log_sums
from pgmdsl.runtime.estimators.scores import evaluate, score_cases
from pgmdsl.runtime.estimators.summaries import Sample
from pgmdsl.runtime.evaluation import conditions_of, estimate_log_partition, log_partition_of_cases
from pgmdsl.runtime.machine import Machine

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]
CASES = 3
RANDOM = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    report_multiple_bugs=False,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


# --- random models of every unit and edge, against the oracle ---------------------------------------------


class Partly:
    """A random model compiled, with cases drawn from it of which some entries are observed, others in each case."""

    def __init__(self, model: RandomModel) -> None:
        self.oracle, self.machine = model.oracle, random_machine(model, "float64")
        given = given_states(model.oracle, CASES)
        table = oracle.table(model.oracle, {n: x[:1] for n, x in given.items()})
        rng = np.random.default_rng(1)
        picked = rng.choice(len(table.log_weight), CASES, p=table.probability)
        visible = model.oracle.names("visible")
        self.states = {**{n: table.state[n][picked].copy() for n in visible}, **given}
        self.held = {n: self._mask(n, rng) for n in visible}
        self.s = {n: self._statistic(n, x) for n, x in self.states.items()}
        self.masks = {n: mask.reshape(CASES, -1) for n, mask in self.held.items()}
        self.lengths = {n: float(v) for n, v in model.oracle.lengths.items() if n not in self.states}

    def _mask(self, name: str, rng: np.random.Generator) -> Mask:
        layer = self.oracle.layers[name]
        mask = rng.integers(0, 2, (CASES, *layer.dims)) > 0
        if layer.unit == "softmax":
            mask[...] = mask[..., :1]
        if layer.unit == "replicated_softmax":
            mask[..., 0] = False  # where the missing words go
        return mask

    def _statistic(self, name: str, x: Array) -> Array:
        return np.ascontiguousarray(oracle.statistic(self.oracle, name, x).reshape(len(x), -1))

    def case(self, i: int) -> tuple[dict[str, Array], dict[str, Array]]:
        return {n: x[i : i + 1] for n, x in self.states.items()}, {n: mask[i] for n, mask in self.held.items()}

    def tables(self, model: oracle.OracleModel) -> list[float]:
        return [oracle.table(model, *self.case(i)).log_sum for i in range(CASES)]


@RANDOM
@given(wide_models(limit=2000))
def test_sums_and_expectations(model: RandomModel) -> None:
    partly = Partly(model)
    weights = np.array([1.0, 0.5, 2.0])
    found = exact_statistics(partly.machine, partly.s, weights, held=partly.masks, lengths=partly.lengths)
    np.testing.assert_allclose(found.log_sum, partly.tables(partly.oracle), atol=1e-7)
    products: dict[str, Array] = {}
    for i in range(CASES):
        every = oracle.expectations(partly.oracle, *partly.case(i))
        for name, mean in found.means.items():
            np.testing.assert_allclose(mean[i], every.mean[name].ravel(), atol=1e-7)
        for name, value in every.product.items():
            products[name] = products.get(name, 0.0) + weights[i] / weights.sum() * value
    for name, total in found.products.items():
        np.testing.assert_allclose(total.ravel(), products[name].ravel(), atol=1e-7)
    for name, slope in found.slopes.items():
        np.testing.assert_allclose(slope, finite_slope(partly, name, weights), atol=1e-5)


def finite_slope(partly: Partly, name: str, weights: Array, step: float = 1e-4) -> Array:
    """The mean over cases of the derivatives of log of the sum by a parameter, flat."""
    value = partly.oracle.parameters[name]
    out = np.zeros(value.size)
    for i in range(value.size):
        shift = (np.arange(value.size) == i).reshape(value.shape) * step
        up, down = (partly.tables(partly.oracle.with_parameter(name, value + d)) for d in (shift, -shift))
        out[i] = weights @ (np.array(up) - down) / (2 * step) / weights.sum()
    return out


@RANDOM
@given(wide_models(limit=2000))
def test_bounds(model: RandomModel) -> None:
    """Below the exact sum, and the value of the declared energy and entropies at the means that are returned."""
    partly = Partly(model)
    machine = partly.machine
    found = mean_field_bound(machine, partly.s, sweeps=60, held=partly.masks, lengths=partly.lengths)
    exact = log_sums(machine, partly.s, held=partly.masks, lengths=partly.lengths)
    assert (found.log_weight <= exact + 1e-7).all()
    if machine.independent([n for n in machine.layers if n not in machine.given]) and not machine.lateral:
        np.testing.assert_allclose(found.log_weight, exact, atol=1e-5)
    for i in range(CASES):
        states, held = partly.case(i)
        means = {
            n: machine.kernels.state[n](machine.p, x)[i : i + 1].reshape(1, *partly.oracle.layers[n].dims)
            for n, x in found.means.items()
        }
        known = {n: x for n, x in states.items() if n not in means}
        wanted = oracle.bound(with_lengths(partly.oracle, states), known, means, held)
        assert found.log_weight[i] == pytest.approx(wanted, abs=1e-4)


def with_lengths(model: oracle.OracleModel, states: Mapping[str, Array]) -> oracle.OracleModel:
    documents = {n: int(x.sum()) for n, x in states.items() if model.layers[n].unit == "replicated_softmax"}
    return replace(model, lengths={**model.lengths, **documents})


# --- by hand ----------------------------------------------------------------------------------------------


def rbm(seed: int = 0, visible: str = "binary[4]") -> Machine:
    rng = np.random.default_rng(seed)
    text = f"model M\nvisible v : {visible} bias b\nhidden h : binary[3] bias a\nv -- h : W\n"
    size = 4
    shapes = {"b": (size,), "a": (3,), "W": (size, 3)}
    parameters = {n: rng.normal(0, 0.8, shape) for n, shape in shapes.items()}
    if visible.startswith("gaussian"):
        parameters["sigma_v"] = rng.uniform(0.5, 2, size)
    return compile_machine(text, parameters, "float64", jit=False)


def test_binary_entries_that_are_missing_are_summed() -> None:
    """p(observed) is the sum of p over all ways to fill in; nothing observed has probability 1."""
    machine = rbm()
    v = np.array([[1.0, 0, 1, 1], [0, 0, 1, 0], [1, 1, 1, 1], [0, 1, 0, 1]])
    held = np.array([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]], bool)
    log_z = estimate_log_partition(machine, "exact", None)
    found = score_cases(machine, {"v": v}, log_z, held={"v": held})
    assert (found.side, found.method) == ("exact", "enumeration")
    b, a, weight = machine.p["b"], machine.p["a"], machine.p["W"]
    for i, row in enumerate(v):
        total = 0.0
        for full in itertools.product([0.0, 1.0], repeat=4):
            x = np.array(full)
            if (x == row)[held[i]].all():
                total += math.exp(b @ x + np.log1p(np.exp(a + x @ weight)).sum() - log_z.value)
        assert found.values[i] == pytest.approx(math.log(total), abs=1e-10)
    assert found.values[3] == pytest.approx(0, abs=1e-10)


def test_gaussian_entries_that_are_missing_are_integrated() -> None:
    """The marginal density of the observed entries, a mixture over hidden states."""
    machine = rbm(visible="gaussian[4](sigma = learned)")
    p = machine.p
    x = np.array([[0.3, -1.0, 2.0, 0.5], [1.0, 0.2, 0.0, -3.0]])
    held = np.array([[1, 1, 0, 1], [0, 0, 1, 0]], bool)
    s = machine.kernels.statistic["v"](p, x)
    log_z = estimate_log_partition(machine, "exact", None)
    found = score_cases(machine, {"v": s}, log_z, held={"v": held})
    sigma = p["sigma_v"]
    for i in range(2):
        weights, densities = [], []
        for h in itertools.product([0.0, 1.0], repeat=3):
            mean = p["b"] + sigma * (p["W"] @ np.array(h))
            weights.append(p["a"] @ np.array(h) + ((mean / sigma) ** 2 - (p["b"] / sigma) ** 2).sum() / 2)
            z = ((x[i] - mean) / sigma)[held[i]]
            densities.append(-0.5 * z @ z - np.log(sigma[held[i]]).sum() - 0.5 * held[i].sum() * math.log(2 * math.pi))
        weight = np.exp(np.array(weights) - max(weights))
        wanted = math.log(weight / weight.sum() @ np.exp(densities))
        assert found.values[i] == pytest.approx(wanted, abs=1e-10)


DOCUMENTS = """
model Documents
visible w : replicated_softmax[3] bias b
visible y : softmax[2] bias c
hidden  h : binary[2] bias a
w -- h : W
y -- h : U
"""


@pytest.fixture(scope="module")
def documents() -> Machine:
    rng = np.random.default_rng(5)
    shapes = {"b": (3,), "c": (2,), "a": (2,), "W": (3, 2), "U": (2, 2)}
    return compile_machine(DOCUMENTS, {n: rng.normal(0, 0.7, s) for n, s in shapes.items()}, "float64", jit=False)


def words_score(machine: Machine, words: tuple[int, ...], label: int, h: tuple[int, ...]) -> float:
    """-energy of ordered words, a label and a hidden state; the hidden bias counts once a word."""
    p, state = machine.p, np.array(h, float)
    fields = p["b"] + p["W"] @ state
    return float(sum(fields[k] for k in words) + len(words) * p["a"] @ state + p["c"][label] + p["U"][label] @ state)


def test_documents_of_any_length(documents: Machine) -> None:
    """Log Z of each length, and the probability of each document with its label, from sums over ordered words."""
    hidden = list(itertools.product([0, 1], repeat=2))
    for length in (1, 2, 4):
        every: dict[tuple[int, ...], float] = {}
        for words in itertools.product(range(3), repeat=length):
            for label in range(2):
                total = sum(math.exp(words_score(documents, words, label, h)) for h in hidden)
                counts = tuple(words.count(k) for k in range(3))
                every[(*words, label)] = total
                assert log_sums(documents, {"w": np.array([counts], float), "y": np.eye(2)[[label]]})[
                    0
                ] == pytest.approx(math.log(total), abs=1e-10)
        log_z = log_sums(documents, lengths={"w": float(length)})
        assert log_z[0] == pytest.approx(math.log(sum(every.values())), abs=1e-10)


def test_documents_with_missing_counts(documents: Machine) -> None:
    """Two of four words are of kind 0, and stand first; what the other two are is summed over, in their order."""
    hidden = list(itertools.product([0, 1], repeat=2))
    seen = np.array([[2.0, 1.0, 1.0]])  # the sum is the length, whatever stands where counts are missing
    held = {"w": np.array([[True, False, False]]), "y": np.array([[False, False]])}
    total = sum(
        math.exp(words_score(documents, (0, 0, *rest), label, h))
        for rest in itertools.product([1, 2], repeat=2)
        for label in range(2)
        for h in hidden
    )
    found = log_sums(documents, {"w": seen, "y": np.eye(2)[[0]]}, held=held)
    assert found[0] == pytest.approx(math.log(total), abs=1e-10)


def test_each_figure_of_documents_says_which_probability_it_is(documents: Machine) -> None:
    """The vectors of counts of one length have together probability 1; perplexity is per word over all documents."""
    vectors = [c for length in (1, 3) for c in itertools.product(range(length + 1), repeat=3) if sum(c) == length]
    cases = {"w": np.array(vectors, float)}
    given, lengths = conditions_of(documents, cases)
    log_z = log_partition_of_cases(documents, "auto", None, given, lengths)
    ordered = score_cases(documents, cases, log_z).values
    orders = np.array([math.factorial(int(sum(c))) / math.prod(map(math.factorial, c)) for c in vectors])
    for length in (1, 3):
        chosen = np.array([sum(c) == length for c in vectors])
        assert (orders * np.exp(ordered))[chosen].sum() == pytest.approx(1, abs=1e-10)
    weights = np.linspace(1, 2, len(vectors))
    figures = {f.name: f for f in evaluate(documents, cases, log_z, sample=Sample(weights))}
    share = weights / weights.sum()
    counts = np.array([sum(c) for c in vectors])
    wanted = {
        "test log-probability of ordered documents": share @ ordered,
        "test log-probability of count vectors": share @ (ordered + np.log(orders)),
        "test perplexity per word": math.exp(-(share @ ordered) / (share @ counts)),
    }
    for name, value in wanted.items():
        assert figures[name].value == pytest.approx(value, abs=1e-10)
        assert figures[name].warning is None  # all vectors of a length have together probability 1 and no more
    doubtful = replace(log_z, runs=tuple(replace(run, value=run.value - 0.1) for run in log_z.runs))
    assert all("more than 1" in str(f.warning) for f in evaluate(documents, cases, doubtful))


def test_masks_and_lengths_that_differ_by_case_agree_with_one_by_one(documents: Machine) -> None:
    rng = np.random.default_rng(0)
    cases = 30
    w = rng.integers(0, 3, (cases, 3)).astype(float)
    w[:, 0] += 1
    s = {"w": w, "y": np.eye(2)[rng.integers(0, 2, cases)]}
    held = {"w": rng.integers(0, 2, (cases, 3)) > 0, "y": np.repeat(rng.integers(0, 2, (cases, 1)) > 0, 2, axis=1)}
    held["w"][:, 1] = False
    weights = rng.uniform(0.5, 2, cases)
    whole = exact_statistics(documents, s, weights, held=held)
    bound = mean_field_bound(documents, s, held=held, sweeps=500)
    product = np.zeros((3, 2))
    for i in range(cases):
        row = slice(i, i + 1)
        one = exact_statistics(documents, {n: x[row] for n, x in s.items()}, held={n: m[row] for n, m in held.items()})
        assert one.log_sum[0] == pytest.approx(whole.log_sum[i], abs=1e-12)
        for name, mean in one.means.items():
            np.testing.assert_allclose(mean[0], whole.means[name][i], atol=1e-12)
        product += weights[i] / weights.sum() * one.products["W"]
        alone = mean_field_bound(
            documents, {n: x[row] for n, x in s.items()}, held={n: m[row] for n, m in held.items()}, sweeps=500
        )
        assert alone.log_weight[0] == pytest.approx(bound.log_weight[i], abs=1e-5)
    np.testing.assert_allclose(whole.products["W"], product, atol=1e-12)


def test_integer_weights_are_repeated_rows(documents: Machine) -> None:
    s = {"w": np.array([[1.0, 0, 2], [0, 1, 0], [2, 2, 1]]), "y": np.eye(2)[[0, 1, 1]]}
    times = np.array([1, 3, 2])
    repeated = {n: np.repeat(x, times, axis=0) for n, x in s.items()}
    weighted, whole = exact_statistics(documents, s, times.astype(float)), exact_statistics(documents, repeated)
    for name, total in weighted.products.items():
        np.testing.assert_allclose(total, whole.products[name], atol=1e-12)
    log_z, other = (
        log_partition_of_cases(documents, "auto", None, *conditions_of(documents, x)) for x in (s, repeated)
    )
    for one, many in zip(
        evaluate(documents, s, log_z, sample=Sample(times.astype(float))),
        evaluate(documents, repeated, other),
        strict=True,
    ):
        assert one.value == pytest.approx(many.value, abs=1e-12)


def test_what_is_not_known_is_asked_for(documents: Machine) -> None:
    with pytest.raises(Error, match=r"length of the documents of w.*lengths"):
        log_sums(documents)
    text = "model C\ngiven x : binary[2]\nvisible v : binary[2]\nx -- v : W\n"
    machine = compile_machine(text, {"W": np.eye(2), "b_v": np.zeros(2)}, "float64", jit=False)
    with pytest.raises(Error, match="given layer x: give these states"):
        estimate_log_partition(machine, "auto", None)
