"""Random numbers as pure functions of (seed, names, counter), so that a run depends on its inputs alone.

A *key* is a 64-bit base of counters. The generated kernels hash key + index with Squares; what is drawn once per run
(initial weights, permutations, splits) is hashed here with the same generator in whole NumPy arrays.

Source: Widynski (2020), "Squares: a fast counter-based RNG", arXiv:2004.06278.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_SQUARES_KEY = np.uint64(0x548C9DECBCE65297)
_HALF = np.uint64(32)


def stream_key(seed: int, *words: int | str) -> np.uint64:
    """The key of the stream with this seed and these words: `stream_key(seed, "bits", "v", epoch, step)`.

    Distinct words give unrelated keys. Words are names and whole numbers of any size and sign.
    """
    text = repr((int(seed), *(word if isinstance(word, str) else int(word) for word in words)))
    return np.uint64(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))


def uniforms(key: np.uint64, count: int) -> NDArray[np.float64]:
    """Uniform numbers in (0, 1), (count,)."""
    return ((_bits(key, count) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def normals(key: np.uint64, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Standard normal numbers of a shape (Box and Muller)."""
    count = int(np.prod(shape))
    u = uniforms(key, 2 * count)
    return (np.sqrt(-2.0 * np.log(u[:count])) * np.cos(2.0 * np.pi * u[count:])).reshape(shape)


def permutation(key: np.uint64, count: int) -> NDArray[np.intp]:
    """The numbers 0 to count - 1 in random order."""
    return np.argsort(_bits(key, count), kind="stable")


def _bits(key: np.uint64, count: int) -> NDArray[np.uint64]:
    """64 random bits for each of the counters key, key + 1, ...: five rounds of Squares."""
    counters = np.arange(count, dtype=np.uint64) + np.array([key], np.uint64)
    y = counters * _SQUARES_KEY
    z = y + _SQUARES_KEY
    x = y * y + y
    x = (x >> _HALF) | (x << _HALF)
    x = x * x + z
    x = (x >> _HALF) | (x << _HALF)
    x = x * x + y
    x = (x >> _HALF) | (x << _HALF)
    t = x * x + z
    x = (t >> _HALF) | (t << _HALF)
    bits: NDArray[np.uint64] = t ^ ((x * x + y) >> _HALF)
    return bits
