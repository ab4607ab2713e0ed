"""A statistical battery on the numbers that kernels draw: counters key + case size + unit, keys by seed and words.

Each statistic is compared with its distribution under independence, corrected for how many are looked at, so that a
sound generator fails one test in 10,000. The seed is fixed, 20260731, chosen before anything was looked at, so that the
outcome never changes.
"""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from scipy import stats

from pgmdsl.compiler.primitives_base import squares32
from pgmdsl.compiler.primitives_float32 import uniform
from pgmdsl.runtime.random import stream_key

SEED = 20260731
CASES, UNITS, STEPS = 250, 96, 40
ERROR = 1e-4  # the chance of a false alarm, of a test


@njit
def fill(key, out):
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = uniform(np.uint64(key + np.uint64(i * out.shape[1] + j)))


@njit
def fill_words(key, out):
    for i in range(out.size):
        out[i] = squares32(np.uint64(key + np.uint64(i)))


@pytest.fixture(scope="module")
def draws():
    """(layers, steps, cases, units): what two layers of a training run would draw."""
    out = np.empty((2, STEPS, CASES, UNITS), np.float32)
    for layer, name in enumerate(("v", "h")):
        for step in range(STEPS):
            fill(stream_key(SEED, 0, step, "negative", 0, name), out[layer, step])
    return out.astype(np.float64)


def assert_normal(z):
    """All of these standard normal numbers are of a size that so many may have."""
    limit = stats.norm.isf(ERROR / 2 / z.size)
    assert np.abs(z).max() < limit


def assert_uncorrelated(a, b):
    """Pairs of uniforms, by rows: sqrt(n) times the correlation of a row is standard normal."""
    product = (a - 0.5) * (b - 0.5) * 12
    assert_normal(product.mean(axis=1) * np.sqrt(product.shape[1]))


def test_means_and_variances(draws):
    """Of each unit, each case and each step."""
    centred = (draws - 0.5) * np.sqrt(12)
    for axes in ((1, 2), (1, 3), (2, 3)):
        count = np.prod([draws.shape[axis] for axis in axes])
        assert_normal(centred.mean(axis=axes) * np.sqrt(count))
        spread = (centred**2 - 1).mean(axis=axes) * np.sqrt(count / 0.8)  # the variance of 12 (u - 1/2)^2 is 0.8
        assert_normal(spread)


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 8, 16, 32, 64])
def test_lanes_are_unrelated(draws, lag):
    """Units that are drawn in one vector, or in the next."""
    a, b = draws[..., :-lag], draws[..., lag:]
    assert_uncorrelated(*(np.moveaxis(x, -1, 0).reshape(x.shape[-1], -1) for x in (a, b)))


def test_cases_are_unrelated(draws):
    a, b = draws[:, :, :-1], draws[:, :, 1:]
    assert_uncorrelated(*(np.moveaxis(x, 2, 0).reshape(x.shape[2], -1) for x in (a, b)))


@pytest.mark.parametrize("lag", [1, 2, 10])
def test_steps_are_unrelated(draws, lag):
    a, b = draws[:, :-lag], draws[:, lag:]
    assert_uncorrelated(*(np.moveaxis(x, 1, 0).reshape(x.shape[1], -1) for x in (a, b)))


def test_streams_of_layers_and_of_seeds_are_unrelated(draws):
    assert_uncorrelated(*(x.reshape(STEPS, -1) for x in draws))
    other = np.empty((STEPS, CASES, UNITS), np.float32)
    for step in range(STEPS):
        fill(stream_key(SEED + 1, 0, step, "negative", 0, "v"), other[step])
    assert_uncorrelated(draws[0].reshape(STEPS, -1), other.reshape(STEPS, -1).astype(np.float64))


def test_every_pair_of_units(draws):
    """All correlations between units at once."""
    flat = (draws[0].reshape(-1, UNITS) - 0.5) * np.sqrt(12)
    correlation = flat.T @ flat / np.sqrt(len(flat))
    assert_normal(correlation[np.triu_indices(UNITS, 1)])


def test_uniform_by_kolmogorov_and_smirnov(draws):
    """All together, and the distribution of the p-values of single steps."""
    assert stats.kstest(draws.ravel(), "uniform").pvalue > ERROR
    each = [stats.kstest(draws[layer, step].ravel(), "uniform").pvalue for layer in range(2) for step in range(STEPS)]
    assert stats.kstest(each, "uniform").pvalue > ERROR


def test_pairs_fill_the_square(draws):
    """Chi-square of neighbouring units on a grid of 32 x 32."""
    a, b = draws[..., 0::2].ravel(), draws[..., 1::2].ravel()
    counts = np.histogram2d(a, b, bins=32, range=[[0, 1], [0, 1]])[0]
    assert stats.chisquare(counts.ravel()).pvalue > ERROR


def test_bits_are_balanced_and_unrelated():
    """Of the 32 bits of a word, each and in pairs, within a word and with those of the next."""
    words = np.empty(2**16, np.uint32)
    fill_words(stream_key(SEED, "bits"), words)
    bits = ((words[:, None] >> np.arange(32, dtype=np.uint32)) & 1).astype(np.float32) * 2 - 1
    assert_normal(bits.mean(axis=0) * np.sqrt(len(bits)))
    within = bits.T @ bits / np.sqrt(len(bits))
    assert_normal(within[np.triu_indices(32, 1)])
    following = bits[1:].T @ bits[:-1] / np.sqrt(len(bits) - 1)
    assert_normal(following)


def test_runs_of_one_unit_along_the_steps(draws):
    """The number of changes of side of 1/2 along the steps of a chain is binomial."""
    above = draws[0] > 0.5
    changes = (above[1:] != above[:-1]).sum(axis=0).ravel()
    n = STEPS - 1
    assert_normal((changes.mean(keepdims=True) - n / 2) / np.sqrt(n / 4 / changes.size))
    assert abs(changes.var() / (n / 4) - 1) < stats.norm.isf(ERROR / 2) * np.sqrt(2 / changes.size)
