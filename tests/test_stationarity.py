"""Block Gibbs leaves the model's distribution as it is: by transition matrices, by quadrature, and by draws.

Matrices are built from the emitted conditionals, in the emitted block order; draws come from the emitted samplers.
"""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from compiled import random_machine
from hypothesis import HealthCheck, Phase, given, settings
from numpy.typing import NDArray
from random_models import Edge, Layer, RandomModel, every_unit, make_model, random_models
from scipy import stats
from wide_models import Wide, make_wide

from pgmdsl.runtime.machine import Machine

Array = NDArray[np.float64]
SMALLEST_P = 1e-4  # of a chi-square test with a fixed seed: 1 in 10,000 correct samplers would fail


def transition(machine: Machine, model: oracle.OracleModel, states: dict[str, Array], name: str) -> Array:
    """P(state after | state before) of drawing one discrete layer from its emitted conditional, (N, N)."""
    flat = {n: np.ascontiguousarray(x.reshape(len(x), -1), machine.dtype) for n, x in states.items()}
    count = len(flat[name])
    mean = np.empty_like(flat[name])
    machine.mean(name, machine.coupling(name, flat, count), mean)
    after = flat[name]
    match model.layers[name].unit:
        case "binary":
            factors = np.where(after[None] == 1, mean[:, None], 1 - mean[:, None])
        case "spin":
            factors = (1 + after[None] * mean[:, None]) / 2
        case _:
            factors = np.where(after[None] == 1, mean[:, None], 1.0)
    same = np.ones((count, count), bool)
    for other in flat:
        if other != name:
            same &= (flat[other][:, None] == flat[other][None]).all(-1)
    return factors.prod(-1) * same


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(random_models(units=("binary", "spin", "softmax", "binary"), limit=128))
def test_sweep_leaves_the_exact_distribution(model: RandomModel) -> None:
    machine = random_machine(model, "float64")
    table = oracle.table(model.oracle)
    if len(table.log_weight) > 256:  # sizes that cannot shrink further
        return
    after = table.probability
    order = [n for block in machine.kernels.blocks for n in block]
    assert sorted(order) == sorted(model.oracle.layers)
    for block in machine.kernels.blocks:
        assert machine.independent(block)
    for name in order:
        step = transition(machine, model.oracle, table.state, name)
        np.testing.assert_allclose(step.sum(1), 1, atol=1e-12)
        after = after @ step
    np.testing.assert_allclose(after, table.probability, rtol=0, atol=1e-12)


def test_gaussian_sweep_by_quadrature() -> None:
    """One Gaussian unit on a grid, between two discrete layers: the same, to the grid's accuracy."""
    v = Layer("v", "visible", "gaussian", ("1",), "b", " bias b", '"sd.npy"')
    h = Layer("h", "hidden", "binary", ("2",), "a", " bias a")
    y = Layer("y", "hidden", "softmax", ("3",), "c", " bias c")
    model = make_model([v, h, y], [Edge(v, h, "W"), Edge(v, y, "U"), Edge(h, y, "R")], {}, seed=3)
    machine = random_machine(model, "float64")
    sd = float(model.oracle.parameters["sigma_v"][0])
    grid = np.arange(-12 * sd, 12 * sd, sd / 4)
    discrete = oracle.all_states(model.oracle, ("h", "y"))
    states = {n: np.repeat(x, len(grid), 0) for n, x in discrete.items()}
    states["v"] = np.tile(grid, len(discrete["h"]))[:, None]
    start = np.exp(-oracle.energy(model.oracle, states))
    start /= start.sum()
    after = start
    for name in (n for block in machine.kernels.blocks for n in block):
        if name == "v":
            mean = np.empty_like(states["v"])
            s = {n: np.ascontiguousarray(x) for n, x in states.items()}
            machine.mean("v", machine.coupling("v", s, len(mean)), mean)
            centre = machine.kernels.state["v"](machine.p, mean).reshape(-1, len(grid))[:, 0]
            density = np.exp(-((grid[None] - centre[:, None]) ** 2) / (2 * sd**2))
            density /= density.sum(1, keepdims=True)
            after = (after.reshape(-1, len(grid)).sum(1)[:, None] * density).ravel()
        else:
            scaled = {**states, "v": states["v"] / sd}
            after = after @ transition(machine, model.oracle, scaled, name)
    np.testing.assert_allclose(after, start, rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def compiled() -> tuple[RandomModel, Machine]:
    model = every_unit()
    return model, random_machine(model, "float32", jit=True)


def test_draws_agree_with_their_conditionals(compiled: tuple[RandomModel, Machine]) -> None:
    """Each sampler at random fields: chi-square over units for discrete ones, Kolmogorov-Smirnov for real ones."""
    model, machine = compiled
    rng = np.random.default_rng(0)
    cases = 20000
    for number, (name, layer) in enumerate(model.oracle.layers.items()):
        size = machine.artifact.layers[name].size
        field = np.ascontiguousarray(np.broadcast_to(rng.normal(0, 1.5, size), (cases, size)), np.float32)
        s, mean = np.empty_like(field), np.empty_like(field[:1])
        machine.sample(name, field, np.uint64(1000 + 10**9 * number), s)
        machine.mean(name, field[:1], mean)
        if layer.unit == "gaussian":
            assert stats.kstest((s - mean).ravel(), "norm").pvalue > SMALLEST_P
            correlation = np.corrcoef(s.T)[np.triu_indices(size, 1)]
            assert np.abs(correlation).max() < 4.5 / np.sqrt(cases)
            continue
        if layer.unit == "softmax":
            counts, p = s.sum(0).reshape(-1, layer.dims[-1]), mean[0].reshape(-1, layer.dims[-1]).astype(float)
            np.testing.assert_array_equal(s.reshape(cases, -1, layer.dims[-1]).sum(-1), 1)
        else:
            up, top = (s == 1).sum(0), mean[0].astype(float)
            top = top if layer.unit == "binary" else (1 + top) / 2
            counts, p = np.stack([up, cases - up], 1), np.stack([top, 1 - top], 1)
        chi = ((counts - cases * p) ** 2 / (cases * p)).sum()
        assert stats.chi2.sf(chi, counts.size - len(counts)) > SMALLEST_P, name


def test_chains_started_from_the_model_stay_there(compiled: tuple[RandomModel, Machine]) -> None:
    """Exact draws, then sweeps of the emitted sampler: the discrete layers' joint counts still fit (chi-square)."""
    model, machine = compiled
    table = oracle.table(model.oracle)
    rng = np.random.default_rng(1)
    cases = 40000
    picked = rng.choice(len(table.log_weight), cases, p=table.probability)
    s = machine.new_state(cases)
    for name, x in table.state.items():
        s[name][:] = oracle.statistic(model.oracle, name, x)[picked].reshape(cases, -1)
        if model.oracle.layers[name].unit == "gaussian":
            s[name] += rng.normal(0, 1, s[name].shape)
    machine.gibbs(s, machine.new_state(cases), 3, 11, ("test",))
    discrete = [n for n, layer in model.oracle.layers.items() if layer.unit != "gaussian"]
    key = np.concatenate([s[n] for n in discrete], 1).astype(np.int8)
    every = np.concatenate([table.state[n].reshape(len(table.log_weight), -1) for n in discrete], 1).astype(np.int8)
    number = {row.tobytes(): i for i, row in enumerate(every)}
    counts = np.bincount([number[row.tobytes()] for row in key], minlength=len(every))
    rare = cases * table.probability < 5
    expected = np.append(cases * table.probability[~rare], cases * table.probability[rare].sum())
    seen = np.append(counts[~rare], counts[rare].sum())
    assert stats.chi2.sf(((seen - expected) ** 2 / expected).sum(), len(seen) - 1) > SMALLEST_P
    for name, layer in model.oracle.layers.items():
        if layer.unit == "gaussian":
            wanted = oracle.expectations(model.oracle).mean[name].ravel()
            error = s[name].std(0) / np.sqrt(cases)
            assert (np.abs(s[name].mean(0) - wanted) < 4.5 * error).all()


def hidden(*counted: str) -> Wide:
    return Wide("h", "hidden", "binary", (2,), "bh", counted=counted)


def visible(unit: str, *dims: int, trials: int = 0, length: int = 0) -> Wide:
    return Wide(f"v_{unit}", "visible", unit, dims, f"b_{unit}", trials=trials, length=length)


@pytest.mark.parametrize(
    "layers",
    [
        (visible("poisson", 1), visible("relu", 1), hidden()),
        (visible("drelu", 1), visible("binomial", 1, trials=3), visible("trit", 1), hidden()),
        (visible("replicated_softmax", 3, length=4), visible("tilted", 1), hidden("v_replicated_softmax")),
        (visible("gaussian", 2), visible("spin", 1), visible("softmax", 3), hidden()),
    ],
    ids=lambda layers: "-".join(x.unit for x in layers[:-1]),
)
@pytest.mark.parametrize("lateral", [False, True])
def test_no_unit_type_drifts(layers: tuple[Wide, ...], lateral: bool) -> None:
    """Exact draws (of a quadrature rule's nodes, for real units), then sweeps: means, squares and products stay.

    Within 4 standard errors each; one in 100 correct samplers would fail the whole test, whose seeds are fixed.
    """
    edges = [((x.name, "h"), f"W_{x.name}", False) for x in layers[:-1]]
    model = make_wide(list(layers), edges + [(("h", "h"), "L", False)] * lateral, seed=5)
    machine = random_machine(model, "float64")
    table, cases, rng = oracle.table(model.oracle), 6000, np.random.default_rng(2)
    picked = rng.choice(len(table.log_weight), cases, p=table.probability)
    s, exact = machine.new_state(cases), {}
    for name, x in table.state.items():
        exact[name] = oracle.statistic(model.oracle, name, x).reshape(len(x), -1)
        s[name][:] = exact[name][picked]
        if model.oracle.layers[name].unit == "gaussian":
            s[name] += rng.normal(0, 1, s[name].shape)
    machine.gibbs(s, machine.new_state(cases), 3, 17, ("test",))
    for name, x in s.items():
        noise = 1.0 if model.oracle.layers[name].unit == "gaussian" else 0.0  # the table has its conditional means
        for found, wanted in (
            (x, exact[name]),
            (x**2, exact[name] ** 2 + noise),
            (x * s["h"][:, :1], exact[name] * exact["h"][:, :1]),
        ):
            mean = table.probability @ wanted
            error = found.std(0) / np.sqrt(cases)
            assert (np.abs(found.mean(0) - mean) <= 4 * error + 1e-9).all(), name


def test_draws_are_a_function_of_the_seed(compiled: tuple[RandomModel, Machine]) -> None:
    _, machine = compiled
    runs = []
    for seed in (1, 1, 2):
        s = machine.new_state(50)
        machine.gibbs(s, machine.new_state(50), 2, seed, ("test",))
        runs.append(np.concatenate([x.ravel() for x in s.values()]))
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()
