"""Random numbers as pure functions of (seed, names, counter), so that a run depends on its inputs alone.

A *key* is a 64-bit base of counters. The generated kernels hash key + index with Squares; what is drawn once per run
(initial weights, permutations, splits) is hashed here with the same generator in whole NumPy arrays.

Sources: Steele, Lea and Flood (2014), "Fast splittable pseudorandom number generators" (the mixing of words);
Widynski (2020), arXiv:2004.06278 (Squares).
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_SQUARES_KEY = np.uint64(0x548C9DECBCE65297)
_HALF = np.uint64(32)


def stream_key(seed: int, *words: int | str) -> np.uint64:
    """The key of the stream with this seed and these words: `stream_key(seed, "bits", "v", epoch, step)`.

    Distinct words give unrelated keys. Words are names and whole numbers of any size and sign.
    """
    state = _mix(_reduce(seed))
    for word in words:
        number = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little") if isinstance(word, str) else word
        state = _mix((state + _GOLDEN) & _MASK ^ _mix(_reduce(number)))
    return np.uint64(state)


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


def _reduce(number: int) -> int:
    """A whole number as 64 bits; larger ones are folded, so that no two in use coincide by their low bits."""
    out, rest = number & _MASK, number >> 64
    while rest not in (0, -1):
        out = _mix(out) ^ (rest & _MASK)
        rest >>= 64
    return out


def _mix(x: int) -> int:
    """The finaliser of splitmix64: a bijection of 64-bit words that scatters every bit."""
    x = (x + _GOLDEN) & _MASK
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & _MASK
    return x ^ (x >> 31)


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
