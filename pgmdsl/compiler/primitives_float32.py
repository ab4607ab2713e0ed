# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
"""Source embedded in generated float32 files: elementary functions as straight-line code that vectorises.

Each is accurate to a few units in the last place of float32 over the range where its result is finite.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pgmdsl.compiler.primitives_base import SCALAR, squares32, squares64

Real = np.float32
__all__ = ["Real", "exp", "log", "normal", "sigmoid", "softplus", "sqrt", "tanh", "uniform"]

sqrt = np.sqrt


@njit(**SCALAR)
def exp(x: Real) -> Real:
    """e^x, x clipped to [-87, 88]: 2^k e^r with |r| <= log(2)/2, r by a polynomial (Moshier's Cephes, expf)."""
    x = min(max(x, Real(-87.0)), Real(88.0))
    magic = x * Real(1.44269504088896341) + Real(12582912.0)  # rounds to the nearest integer in its low bits
    k = magic - Real(12582912.0)
    r = x - k * Real(0.693359375) + k * Real(2.12194440e-4)
    p = Real(1.9875691500e-4)
    p = p * r + Real(1.3981999507e-3)
    p = p * r + Real(8.3334519073e-3)
    p = p * r + Real(4.1665795894e-2)
    p = p * r + Real(1.6666665459e-1)
    p = p * r + Real(5.0000001201e-1)
    p = p * r * r + r + Real(1.0)
    power = np.int32((np.float32(magic).view(np.int32) - np.int32(0x4B400000 - 127)) << np.int32(23))
    return p * np.int32(power).view(np.float32)


@njit(**SCALAR)
def log(x: Real) -> Real:
    """The logarithm of a positive normal number: k log 2 + 2 atanh((m - 1)/(m + 1)), x = 2^k m, m in [0.7, 1.5)."""
    bits = np.int32(np.float32(x).view(np.int32) - np.int32(0x3F330000))
    k = Real(bits >> np.int32(23))
    m = np.int32((bits & np.int32(0x7FFFFF)) + np.int32(0x3F330000)).view(np.float32)
    z = (m - Real(1.0)) / (m + Real(1.0))
    y = z * z
    p = Real(2 / 9)
    p = p * y + Real(2 / 7)
    p = p * y + Real(2 / 5)
    p = p * y + Real(2 / 3)
    return k * Real(0.693359375) + (z * Real(2.0) + (z * y * p - k * Real(2.12194440e-4)))


@njit(**SCALAR)
def log1p(x: Real) -> Real:
    """log(1 + x) for x in [0, 1]: 2 atanh(z), z = x/(2 + x) <= 1/3, by its series."""
    z = x / (x + Real(2.0))
    y = z * z
    p = Real(2 / 15)
    p = p * y + Real(2 / 13)
    p = p * y + Real(2 / 11)
    p = p * y + Real(2 / 9)
    p = p * y + Real(2 / 7)
    p = p * y + Real(2 / 5)
    p = p * y + Real(2 / 3)
    return z * y * p + z * Real(2.0)


@njit(**SCALAR)
def sigmoid(x: Real) -> Real:
    """1/(1 + e^-x)."""
    return Real(1.0) / (Real(1.0) + exp(-x))


@njit(**SCALAR)
def softplus(x: Real) -> Real:
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)."""
    return max(x, Real(0.0)) + log1p(exp(-abs(x)))


@njit(**SCALAR)
def tanh(x: Real) -> Real:
    """(e^x - e^-x)/(e^x + e^-x) = 2 sigmoid(2x) - 1."""
    return Real(2.0) / (Real(1.0) + exp(Real(-2.0) * x)) - Real(1.0)


@njit(**SCALAR)
def uniform(counter: np.uint64) -> Real:
    """A uniform number in (0, 1): (r + 1/2) / 2^23 for 23 random bits r, so never 0 or 1."""
    return (Real(np.int32(squares32(counter) >> np.uint32(9))) + Real(0.5)) * Real(2.0**-23)


@njit(**SCALAR)
def normal(counter: np.uint64) -> Real:
    """A standard normal number: sqrt(-2 log u) sin(a), u in (0, 1], a uniform in (-pi/2, pi/2) (Box and Muller)."""
    bits = squares64(counter)
    u = (Real(np.int32(bits >> np.uint64(33))) + Real(0.5)) * Real(2.0**-31)
    turn = Real(np.int32((bits & np.uint64(0xFFFFFFFF)) >> np.uint64(9))) + Real(0.5 - 2.0**22)
    a = turn * Real(np.pi * 2.0**-23)
    y = a * a
    p = Real(-1 / 39916800)
    p = p * y + Real(1 / 362880)
    p = p * y - Real(1 / 5040)
    p = p * y + Real(1 / 120)
    p = p * y - Real(1 / 6)
    return sqrt(max(Real(-2.0) * log(u), Real(0.0))) * (a + a * y * p)
