"""Keys, permutations and normals by counter: fixed values, and distributions with stated error."""

from __future__ import annotations

import numpy as np
import pytest

from pgmdsl.runtime.random import normals, permutation, stream_key, uniforms


def test_streams_never_change():
    """Runs are resumed and repeated by these numbers: a change here breaks every run in existence."""
    assert stream_key(0) == 7165777869350885009
    assert stream_key(1, "bits", "v", 3) == 6221861827136480641
    assert permutation(stream_key(0), 8).tolist() == [5, 0, 4, 1, 6, 7, 2, 3]
    assert uniforms(stream_key(0), 2).tolist() == [0.2571068127624784, 0.34754820687671895]


def test_words_of_all_kinds_give_keys_of_their_own():
    words = [
        (), (0,), (0, 0), (1,), (-1,), (2**64,), (2**64 - 1,), (2**128,), (-(2**64),), ("",), ("0",), ("v",), ("v", 1),
        (1, "v"), ("v1",), ("v", "1"),
    ]  # fmt: skip
    keys = {stream_key(seed, *w) for seed in (0, 1, -1, 2**64, 2**70) for w in words}
    assert len(keys) == 5 * len(words)


def test_a_key_is_an_unsigned_word():
    assert isinstance(stream_key(5, "v"), np.uint64)


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_permutations(count):
    order = permutation(stream_key(1, "order"), count)
    assert sorted(order) == list(range(count))
    if count == 1000:
        assert not np.array_equal(order, permutation(stream_key(2, "order"), count))
        assert abs(np.corrcoef(order, np.arange(count))[0, 1]) < 5 / np.sqrt(count)


def test_uniforms_and_normals_have_their_distributions():
    from scipy.stats import kstest

    u = uniforms(stream_key(1, "u"), 100_000)
    assert 0 < u.min() < u.max() < 1
    assert kstest(u, "uniform").pvalue > 1e-4
    z = normals(stream_key(1, "z"), (100, 500))
    assert z.shape == (100, 500)
    assert kstest(z.ravel(), "norm").pvalue > 1e-4
    assert np.abs(np.corrcoef(z)[np.triu_indices(100, 1)]).max() < 6 / np.sqrt(500)


def test_streams_of_neighbouring_words_are_unrelated():
    draws = np.stack([uniforms(stream_key(0, "v", step), 4000) for step in range(20)])
    off = np.corrcoef(draws)[np.triu_indices(20, 1)]
    assert np.abs(off).max() < 5 / np.sqrt(4000)
