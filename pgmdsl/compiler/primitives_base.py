# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
"""Source embedded in every generated file: how kernels are compiled, random bits, elementary functions in float64.

Numbers are pure functions of a 64-bit counter, so that a result does not depend on threads or order. With Numba's
JIT off the same code runs on NumPy scalars, whose wrap-around the caller silences (`np.errstate(over="ignore")`).

Source: Widynski (2020), "Squares: a fast counter-based RNG", arXiv:2004.06278.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

# Numba caches compiled code beside the file; a module made in memory has none. Flags are LLVM's: without "nnan" and
# "ninf", so that NaN stays NaN; sums may be reordered in kernels, never within a scalar function (exp rounds by a
# constant that must not be simplified away).
CACHE = "__file__" in globals()
SCALAR: dict[str, Any] = {
    "cache": CACHE,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"nsz", "arcp", "contract", "afn"},
}
KERNEL: dict[str, Any] = SCALAR | {"fastmath": {"nsz", "arcp", "contract", "afn", "reassoc"}}

SQUARES_KEY = np.uint64(0x548C9DECBCE65297)
HALF = np.uint64(32)


@njit(**SCALAR)
def squares_round(x: np.uint64, add: np.uint64) -> np.uint64:
    """Square, add, swap the halves (arithmetic modulo 2^64)."""
    y = np.uint64(x * x + add)
    return np.uint64((y >> HALF) | (y << HALF))


@njit(**SCALAR)
def squares32(counter: np.uint64) -> np.uint32:
    """32 random bits of a counter: four rounds of Squares."""
    y = np.uint64(counter * SQUARES_KEY)
    z = np.uint64(y + SQUARES_KEY)
    x = squares_round(squares_round(squares_round(y, y), z), y)
    return np.uint32(np.uint64(x * x + z) >> HALF)


@njit(**SCALAR)
def squares64(counter: np.uint64) -> np.uint64:
    """64 random bits of a counter: five rounds of Squares."""
    y = np.uint64(counter * SQUARES_KEY)
    z = np.uint64(y + SQUARES_KEY)
    x = squares_round(squares_round(squares_round(y, y), z), y)
    t = np.uint64(x * x + z)
    x = np.uint64((t >> HALF) | (t << HALF))
    return np.uint64(t ^ (np.uint64(x * x + y) >> HALF))


@njit(**SCALAR)
def uniform64(counter: np.uint64) -> float:
    """A uniform number in (0, 1): (r + 1/2) / 2^52 for 52 random bits r, so never 0 or 1."""
    return (float(squares64(counter) >> np.uint64(12)) + 0.5) * 2.0**-52


@njit(**SCALAR)
def exp64(x: float) -> float:
    """e^x, x clipped to [-708, 709]."""
    return math.exp(min(max(x, -708.0), 709.0))


@njit(**SCALAR)
def sigmoid64(x: float) -> float:
    """1/(1 + e^-x)."""
    return 1.0 / (1.0 + exp64(-x))


@njit(**SCALAR)
def softplus64(x: float) -> float:
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)."""
    return max(x, 0.0) + math.log1p(exp64(-abs(x)))
