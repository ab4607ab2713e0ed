"""The generated functions against plain NumPy formulas taken from supports and energies, not from the lemmas."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from kernel_models import MIXED, RBM, loaded, random_case

from pgmdsl.runtime.random import stream_key

CASES = 3
TOLERANCE = {"float32": 2e-5, "float64": 1e-9}
# Neighbours of each layer of MIXED, and how the weight is applied to them: einsum of (cases, neighbour) and the weight.
FIELDS = {
    "v": (("h", "W", "cj,ij->ci"), ("z", "W", "cj,ij->ci")),
    "y": (("h", "U", "ci,ij->cj"), ("z", "U", "ci,ij->cj")),
    "h": (("v", "W", "ci,ij->cj"), ("y", "U", "cj,ij->ci"), ("z", "J", "cj,ij->ci")),
    "z": (("v", "W", "ci,ij->cj"), ("y", "U", "cj,ij->ci"), ("h", "J", "ci,ij->cj")),
}


def load(dtype, tmp_path_factory, jit):
    import numba

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGMDSL_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(numba.config, "DISABLE_JIT", not jit)
        return loaded(MIXED, dtype)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The fixed sample that runs with the JIT on: float32."""
    return load("float32", tmp_path_factory, jit=True)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    return load("float32", tmp_path_factory, jit=False)


@pytest.fixture(scope="module")
def double(tmp_path_factory):
    return load("float64", tmp_path_factory, jit=False)


@pytest.fixture(params=["single", "double"])
def interpreted(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["single", "double", "compiled"])
def kernels(request):
    """Interpreted in both types, compiled in one."""
    return request.getfixturevalue(request.param)


def tolerance(kernels):
    return TOLERANCE[kernels.header["dtype"]]


def fields_and_own(kernels, layer, cases=CASES, seed=1, spread=2.0):
    rng = np.random.default_rng(seed)
    real = kernels.header["dtype"]
    size = kernels.layers[layer]["size"]
    return (
        rng.normal(0, spread, size=(cases, size)).astype(real),
        rng.normal(size=size).astype(real),
        rng.normal(size=size).astype(real),
    )


def site_log_weights(kernels, layer, f, sigma):
    """Log weights (cases, sites, states) and statistics (states, entries of a site) of every state of every site.

    A Gaussian unit's states are a fine grid, with the grid's step in the weights: exp(f s - base) dx.
    """
    match kernels.layers[layer]["unit"]:
        case "binary":
            x = np.array([0.0, 1.0])
            return f[:, :, None] * x, x[:, None]
        case "spin":
            x = np.array([-1.0, 1.0])
            return f[:, :, None] * x, x[:, None]
        case "softmax":
            states = kernels.layers[layer]["states"]
            return f.reshape(len(f), -1, states), np.eye(states)
        case _:
            s = np.linspace(-25, 25, 5001)
            step = sigma * (s[1] - s[0])
            return f[:, :, None] * s - s**2 / 2 + np.log(step)[None, :, None], s[:, None]


def oracle(kernels, layer, f, sigma):
    """Log normaliser (cases,) and mean statistics (cases, size) by summing over states."""
    logs, statistics = site_log_weights(kernels, layer, f.astype(np.float64), sigma)
    peak = logs.max(axis=2, keepdims=True)
    weights = np.exp(logs - peak)
    total = weights.sum(axis=2, keepdims=True)
    mean = np.einsum("csk,ke->cse", weights / total, statistics).reshape(f.shape)
    return (np.log(total) + peak).sum(axis=(1, 2)), mean


def sigma_of(kernels, p, layer):
    name = kernels.layers[layer]["parameters"].get("sigma")
    return p[name].astype(np.float64) if name else np.ones(kernels.layers[layer]["size"])


# --- fields and statistics of weights ----------------------------------------------------------------------


def test_fields_add_what_the_present_neighbours_send(kernels):
    p, s = random_case(kernels, CASES)
    for layer, terms in FIELDS.items():
        neighbours = [n for n, _, _ in terms]
        for present in ([], neighbours[:1], neighbours[-1:], neighbours):
            out = np.full((CASES, kernels.layers[layer]["size"]), 7, kernels.header["dtype"])
            kernels.field[layer](p, {n: s[n] for n in present}, out)
            wanted = sum((np.einsum(e, s[n], p[w]) for n, w, e in terms if n in present), start=np.zeros(out.shape))
            np.testing.assert_allclose(out, wanted, atol=tolerance(kernels))


def test_weight_statistics_add_up_over_tied_uses(kernels):
    _, s = random_case(kernels, CASES)
    uses = {"W": [("v", "h"), ("v", "z")], "U": [("h", "y"), ("z", "y")], "J": [("h", "z")]}
    for weight, pairs in uses.items():
        for present in (set("vyhz"), set("vyh"), {"v"}):
            for add in (False, True):
                out = np.full(kernels.weights[weight]["shape"], 7, kernels.header["dtype"])
                kernels.weight_statistics[weight]({n: s[n] for n in present}, 0.5, add, out)
                wanted = np.full(out.shape, 7.0 * add)
                for a, b in pairs:
                    wanted += 0.5 * s[a].T @ s[b] if {a, b} <= present else 0.0
                np.testing.assert_allclose(out, wanted, atol=tolerance(kernels))


def test_an_array_that_cannot_be_written_in_place_is_refused(interpreted):
    p, s = random_case(interpreted, CASES)
    out = np.zeros((4, CASES), interpreted.header["dtype"]).T
    with pytest.raises(AssertionError, match="C-contiguous"):
        interpreted.field["h"](p, s, out)


# --- one layer's conditional ----------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", list("vyhz"))
def test_means_and_log_partitions(kernels, layer):
    p, _ = random_case(kernels, CASES)
    field, own, _ = fields_and_own(kernels, layer)
    log_partition, mean = oracle(kernels, layer, own + 0.6 * field, sigma_of(kernels, p, layer))
    out, total = np.empty_like(field), np.full(CASES, 2.0)
    kernels.mean[layer](p, field, own, 0.6, out)
    kernels.log_partition[layer](p, field, own, 0.6, total)
    np.testing.assert_allclose(out, mean, atol=tolerance(kernels))
    np.testing.assert_allclose(total, 2.0 + log_partition, atol=10 * tolerance(kernels))


@pytest.mark.parametrize("layer", list("vyhz"))
@pytest.mark.parametrize(("scale", "blend"), [(0.61, 0.01), (0.65, 0.0), (0.0, 1.0)])
def test_changes_of_log_partition(kernels, layer, scale, blend):
    p, _ = random_case(kernels, CASES)
    field, own0, other = fields_and_own(kernels, layer)
    own1 = ((1 - blend) * own0 + blend * other).astype(own0.dtype)
    out = np.full(CASES, 2.0)
    kernels.log_partition_change[layer](p, field, own0, 0.6, own1, scale, out)
    before, _ = oracle(kernels, layer, own0 + 0.6 * field.astype(np.float64), sigma_of(kernels, p, layer))
    after, _ = oracle(kernels, layer, own1 + scale * field.astype(np.float64), sigma_of(kernels, p, layer))
    # Two nodes of Gauss's rule err by at most t^5/4320 times the fifth derivative of A, which is below 20 here.
    np.testing.assert_allclose(out, 2.0 + after - before, atol=3e-6 if max(abs(scale - 0.6), blend) < 0.1 else 1e-4)


@pytest.mark.parametrize("layer", list("vyhz"))
def test_the_field_of_a_mean_gives_it_back(kernels, layer):
    p, _ = random_case(kernels, CASES)
    field, own, _ = fields_and_own(kernels, layer, spread=0.5)
    mean, again = np.empty_like(field), np.empty_like(field)
    kernels.mean[layer](p, field, own, 1.0, mean)
    inverse = kernels.field_of_mean[layer](p, mean[0])
    assert inverse.dtype == field.dtype
    kernels.mean[layer](p, field, np.ascontiguousarray(inverse), 0.0, again)
    np.testing.assert_allclose(again[1], mean[0], atol=10 * tolerance(kernels))


def test_states_statistics_own_fields_and_energies(kernels):
    p, s = random_case(kernels, CASES)
    for layer in kernels.layers:
        sigma = sigma_of(kernels, p, layer)
        x = kernels.state[layer](p, s[layer])
        np.testing.assert_allclose(x, s[layer] * sigma, atol=tolerance(kernels))
        np.testing.assert_allclose(kernels.statistic[layer](p, x), s[layer], atol=tolerance(kernels))
        factor = kernels.own_factor[layer](p)
        assert factor.dtype == s[layer].dtype
        np.testing.assert_allclose(factor, 1 / sigma, atol=tolerance(kernels))
        out = np.full(CASES, 2.0)
        kernels.base_energy[layer](p, s[layer], out)
        wanted = np.zeros(CASES)
        if kernels.layers[layer]["unit"] == "gaussian":  # (x - b)^2 / (2 sigma^2) + own * s
            wanted = ((x - p["b"]) ** 2 / (2 * sigma**2) + p["b"] * factor * s[layer]).sum(axis=1)
        np.testing.assert_allclose(out, 2.0 + wanted, rtol=10 * tolerance(kernels))


# --- sampling -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", list("vyhz"))
def test_draws_have_the_conditional_distribution(compiled, layer):
    """Frequencies (for Gaussian units mean, variance and shape) within 5 standard errors, one fixed seed."""
    from scipy.stats import kstest

    p, _ = random_case(compiled, 1)
    count = 40_000
    field, own, _ = fields_and_own(compiled, layer, cases=1)
    field = np.repeat(field, count, axis=0)
    out = np.empty_like(field)
    compiled.sample[layer](p, field, own, 0.6, stream_key(5, layer), out)
    f = (own + 0.6 * field[:1]).astype(np.float64)
    _, mean = oracle(compiled, layer, f, sigma_of(compiled, p, layer))
    if compiled.layers[layer]["unit"] == "gaussian":
        deviation = np.ones(out.shape[1])
        for j in range(out.shape[1]):
            assert kstest(out[:, j].astype(np.float64), "norm", args=(mean[0, j], 1.0)).pvalue > 1e-4
        np.testing.assert_allclose(out.var(axis=0, dtype=np.float64), 1.0, atol=5 * np.sqrt(2 / count))
    else:
        low = -1.0 if compiled.layers[layer]["unit"] == "spin" else 0.0
        assert set(np.unique(out)) == {low, 1.0}
        deviation = np.sqrt((mean[0] - low) * (1 - mean[0]))
    error = 5 * deviation / np.sqrt(count)
    assert np.all(np.abs(out.mean(axis=0, dtype=np.float64) - mean[0]) < error)
    if compiled.layers[layer]["unit"] == "softmax":
        assert np.all(out.reshape(count, -1, 3).sum(axis=2) == 1)
    correlation = np.corrcoef(out, rowvar=False) if layer != "y" else np.corrcoef(out[:, [0, 3]], rowvar=False)
    assert np.abs(correlation - np.eye(len(correlation))).max() < 5 / np.sqrt(count)


@pytest.mark.parametrize("layer", list("vyhz"))
def test_interpreted_and_compiled_draw_the_same(compiled, single, layer):
    p, _ = random_case(compiled, 20)
    field, own, _ = fields_and_own(compiled, layer, cases=20)
    first, second = np.empty_like(field), np.empty_like(field)
    compiled.sample[layer](p, field, own, 1.0, stream_key(5, layer), first)
    single.sample[layer](p, field, own, 1.0, stream_key(5, layer), second)
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_a_case_is_drawn_alike_whatever_the_number_of_cases(interpreted):
    p, _ = random_case(interpreted, CASES)
    for layer in interpreted.layers:
        field, own, _ = fields_and_own(interpreted, layer)
        few, many, other = np.empty_like(field[:1]), np.empty_like(field), np.empty_like(field)
        interpreted.sample[layer](p, field[:1], own, 1.0, stream_key(1), few)
        interpreted.sample[layer](p, field, own, 1.0, stream_key(1), many)
        interpreted.sample[layer](p, field, own, 1.0, stream_key(2), other)
        assert np.array_equal(few, many[:1])
        assert not np.array_equal(other, many)


def test_extreme_fields_give_certain_states(kernels):
    p, _ = random_case(kernels, CASES)
    for layer, low in (("h", 0.0), ("z", -1.0)):
        out = np.empty((CASES, 4), kernels.header["dtype"])
        field = np.repeat(np.array([[-1e4], [-200.0], [1e4]]), 4, axis=1).astype(out.dtype)
        kernels.sample[layer](p, field, np.zeros(4, out.dtype), 1.0, stream_key(3), out)
        assert out.tolist() == [[low] * 4, [low] * 4, [1.0] * 4]
        total = np.zeros(CASES)
        kernels.log_partition[layer](p, field, np.zeros(4, out.dtype), 1.0, total)
        wanted = np.abs(field) if layer == "z" else np.maximum(field, 0)
        np.testing.assert_allclose(total, wanted.sum(axis=1), atol=1e-30)


def test_bits_have_their_probabilities(compiled):
    levels = np.repeat(np.array([[0.0, 0.1, 0.5, 0.9, 1.0]], np.float32), 20_000, axis=0)
    bits = np.empty_like(levels)
    compiled.draw_bits(levels, stream_key(4, "bits"), bits)
    assert set(np.unique(bits)) == {0.0, 1.0}
    error = np.abs(bits.mean(axis=0, dtype=np.float64) - levels[0])
    assert np.all(error <= 5 * np.sqrt(levels[0] * (1 - levels[0]) / len(levels)))


# --- sweeps ------------------------------------------------------------------------------------------------------


def sweep_arguments(kernels, cases=CASES):
    p, s = random_case(kernels, cases)
    own = {n: fields_and_own(kernels, n)[1] for n in s}
    scale = {n: 0.1 * (i + 1) for i, n in enumerate(s)}
    return p, s, own, scale, {n: np.empty_like(x) for n, x in s.items()}


def test_a_gibbs_sweep_draws_layer_after_layer_from_the_newest_states(interpreted):
    p, s, own, scale, fields = sweep_arguments(interpreted)
    keys = {n: stream_key(1, n) for n in s}
    wanted = {n: x.copy() for n, x in s.items()}
    before = s["y"].copy()
    for layer in (layer for block in interpreted.blocks for layer in block):
        if layer != "y":
            interpreted.field[layer](p, wanted, fields[layer])
            interpreted.sample[layer](p, fields[layer], own[layer], scale[layer], keys[layer], wanted[layer])
    interpreted.gibbs_sweep(p, s, own, scale, keys, fields, {"y"})
    assert np.array_equal(s["y"], before)
    for layer in s:
        assert np.array_equal(s[layer], wanted[layer])


def test_a_restricted_machine_is_swept_without_its_absent_layers(interpreted):
    p, s, own, scale, fields = sweep_arguments(interpreted)
    part = {"v": s["v"].copy(), "h": s["h"].copy()}
    interpreted.gibbs_sweep(p, part, own, scale, {n: stream_key(1, n) for n in s}, fields, {"v"})
    wanted = np.empty_like(s["h"])
    interpreted.sample["h"](p, s["v"] @ p["W"], own["h"], scale["h"], stream_key(1, "h"), wanted)
    assert np.array_equal(part["h"], wanted)


def test_mean_field_sweeps_settle_at_a_fixed_point(kernels):
    p, s, own, scale, fields = sweep_arguments(kernels)
    for _ in range(60):
        kernels.mean_field_sweep(p, s, own, scale, fields, {"v", "y"})
    for layer in "hz":
        settled = np.empty_like(s[layer])
        kernels.field[layer](p, s, fields[layer])
        kernels.mean[layer](p, fields[layer], own[layer], scale[layer], settled)
        np.testing.assert_allclose(settled, s[layer], atol=tolerance(kernels))


# --- optimiser steps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 4), (5,)])
def test_momentum_and_average_steps(kernels, shape):
    rng = np.random.default_rng(0)
    w, velocity, gradient = (rng.normal(size=shape).astype(kernels.header["dtype"]) for _ in range(3))
    step = 0.9 * velocity + 0.1 * (gradient - 0.01 * w)
    moved = w + step
    average = np.zeros_like(w)
    kernels.momentum_step(w, velocity, gradient, 0.1, 0.9, 0.01)
    kernels.average_step(average, w, 0.25)
    np.testing.assert_allclose(velocity, step, atol=tolerance(kernels))
    np.testing.assert_allclose(w, moved, atol=tolerance(kernels))
    np.testing.assert_allclose(average, 0.25 * moved, atol=tolerance(kernels))


def test_adam_and_rmsprop_steps(kernels):
    """Two steps each from the papers' equations, the second with averages that are not zero."""
    rng = np.random.default_rng(0)
    start, *gradients = rng.normal(size=(3, 4, 5)).astype(kernels.header["dtype"])
    w, first, second = start.astype(float), np.zeros((4, 5)), np.zeros((4, 5))
    v, mean_square = start.astype(float), np.zeros((4, 5))
    adam, rmsprop = ([start.copy(), *(np.zeros_like(start) for _ in range(n))] for n in (2, 1))
    for t, gradient in enumerate(gradients, start=1):
        kernels.adam_step(*adam, gradient, 0.1, 0.9, 0.99, 1e-3, t)
        first, second = 0.9 * first + 0.1 * gradient, 0.99 * second + 0.01 * gradient**2
        w += 0.1 * (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.99**t)) + 1e-3)
        kernels.rmsprop_step(*rmsprop, gradient, 0.1, 0.9, 1e-3)
        mean_square = 0.9 * mean_square + 0.1 * gradient**2
        v += 0.1 * gradient / (np.sqrt(mean_square) + 1e-3)
    for found, wanted in zip((*adam, *rmsprop), (w, first, second, v, mean_square), strict=True):
        np.testing.assert_allclose(found, wanted, atol=tolerance(kernels))


def test_centred_steps(kernels):
    rng = np.random.default_rng(0)
    real = kernels.header["dtype"]
    w, velocity, gradient = (rng.normal(size=(3, 4)).astype(real) for _ in range(3))
    mean_a, delta_a, row_shift = (rng.normal(size=3).astype(real) for _ in range(3))
    mean_b, delta_b, column_shift = (rng.normal(size=4).astype(real) for _ in range(3))
    centred = gradient - np.outer(mean_a, delta_b) - np.outer(delta_a, mean_b)
    step = 0.9 * velocity + 0.1 * (centred - 0.01 * w)
    wanted = (w + step, step, row_shift + step @ mean_b, column_shift + mean_a @ step)
    numbers = (0.1, 0.9, 0.01)
    kernels.centred_step(w, velocity, gradient, mean_a, mean_b, delta_a, delta_b, *numbers, row_shift, column_shift)
    for found, expected in zip((w, velocity, row_shift, column_shift), wanted, strict=True):
        np.testing.assert_allclose(found, expected, atol=tolerance(kernels))


def test_a_momentum_step_refuses_what_it_cannot_change_in_place(interpreted):
    w = np.zeros((4, 3), interpreted.header["dtype"])
    with pytest.raises(AssertionError, match="contiguous"):
        interpreted.momentum_step(w.T, np.zeros_like(w.T), np.zeros_like(w.T), 0.1, 0.9, 0.0)


# --- annealing ------------------------------------------------------------------------------------------------


def test_changes_telescope_over_thirty_thousand_temperatures(tmp_path, monkeypatch):
    """500 binary units in float32: the sum of 30,000 changes is the whole change within 1e-5 nats of about 1,000."""
    monkeypatch.setenv("PGMDSL_CACHE_DIR", str(tmp_path))
    kernels = loaded(RBM.replace("F = 3", "F = 500"))
    rng = np.random.default_rng(0)
    field = rng.normal(0, 3, size=(4, 500)).astype(np.float32)
    own = rng.normal(size=500).astype(np.float32)
    betas = np.linspace(0, 1, 30_001)
    total = np.zeros(4)
    for before, after in pairwise(betas):
        kernels.log_partition_change["h"]({}, field, own, before, own, after, total)
    exact = np.logaddexp(0, own.astype(np.float64) + field.astype(np.float64)) - np.logaddexp(0, own.astype(np.float64))
    assert np.abs(total - exact.sum(axis=1)).max() < 1e-5
