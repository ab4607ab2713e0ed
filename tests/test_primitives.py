"""The elementary functions of the generated files against double precision, and the generator against its paper."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from pgmdsl.compiler import primitives_base, primitives_float32, primitives_float64


@njit
def each(function, x, out):
    for i in range(x.size):
        out[i] = function(x[i])


def relative_error(name, x, exact, floor=0.0):
    """The largest error of a float32 function over the points, relative to the exact value (at least `floor`)."""
    x = x.astype(np.float32)
    out = np.empty_like(x)
    each(getattr(primitives_float32, name), x, out)
    wanted = exact(x.astype(np.float64))
    return (np.abs(out - wanted) / np.maximum(np.abs(wanted), floor)).max()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("name", "points", "exact", "floor", "error"),
    [
        ("exp", np.linspace(-87, 88, 100_001), np.exp, 0.0, 2e-7),
        ("sigmoid", np.linspace(-80, 80, 100_001), sigmoid, 0.0, 3e-7),
        ("softplus", np.linspace(-80, 80, 100_001), lambda x: np.logaddexp(0, x), 0.0, 4e-7),
        ("tanh", np.linspace(-20, 20, 100_001), np.tanh, 1.0, 2e-7),
        ("log", np.exp(np.linspace(-80, 80, 100_001)), np.log, 1.0, 2e-7),
    ],
)
def test_functions_are_accurate_to_a_few_units_in_the_last_place(name, points, exact, floor, error):
    assert relative_error(name, points, exact, floor) < error


def test_nan_stays_nan():
    out = np.empty(1, np.float32)
    for name in ("exp", "sigmoid", "softplus", "tanh"):
        each(getattr(primitives_float32, name), np.array([np.nan], np.float32), out)
        assert np.isnan(out[0])


@pytest.mark.parametrize("module", [primitives_float32, primitives_float64])
def test_normal_numbers(module):
    from scipy.stats import kstest

    counters = np.arange(200_000, dtype=np.uint64) + np.uint64(2**63)
    out = np.empty(counters.size, module.Real)
    each(module.normal, counters, out)
    assert kstest(out.astype(np.float64), "norm").pvalue > 1e-4
    moments = [(out.astype(np.float64) ** k).mean() for k in (1, 2, 3, 4)]
    errors = np.sqrt(np.array([1, 2, 15, 96]) / counters.size)
    assert np.all(np.abs(np.array(moments) - [0, 1, 0, 3]) < 5 * errors)


@pytest.mark.parametrize("module", [primitives_float32, primitives_float64])
def test_uniform_numbers_are_never_0_or_1(module):
    from scipy.stats import kstest

    counters = np.arange(500_000, dtype=np.uint64)
    out = np.empty(counters.size, module.Real)
    each(module.uniform, counters, out)
    assert 0 < out.min() < out.max() < 1
    assert kstest(out[:100_000].astype(np.float64), "uniform").pvalue > 1e-4


def test_squares_against_whole_numbers():
    """The rounds as the paper writes them, in Python's integers."""
    mask, key = 2**64 - 1, int(primitives_base.SQUARES_KEY)

    def swap(x):
        return x >> 32 | x << 32 & mask

    for counter in (0, 1, 12345, 2**63 + 7, 2**64 - 1):
        x = y = counter * key & mask
        z = y + key & mask
        x = swap(x * x + y & mask)
        x = swap(x * x + z & mask)
        x = swap(x * x + y & mask)
        t = x * x + z & mask
        assert primitives_base.squares32(np.uint64(counter)) == t >> 32
        assert primitives_base.squares64(np.uint64(counter)) == t ^ ((swap(t) ** 2 + y & mask) >> 32)
