# mypy: disable-error-code="misc,untyped-decorator,no-any-return,return-value"
"""Source embedded in generated float64 files: elementary functions in double precision."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from scipy.linalg.blas import dgemm as gemm

from pgmdsl.compiler.primitives_base import SCALAR, squares64

Real = np.float64
__all__ = ["Real", "exp", "gemm", "log", "normal", "sigmoid", "softplus", "sqrt", "tanh", "uniform"]

log = math.log
sqrt = math.sqrt
tanh = math.tanh


@njit(**SCALAR)
def exp(x: Real) -> Real:
    """e^x, x clipped to [-708, 709]."""
    return math.exp(min(max(x, -708.0), 709.0))


@njit(**SCALAR)
def sigmoid(x: Real) -> Real:
    """1/(1 + e^-x)."""
    return 1.0 / (1.0 + exp(-x))


@njit(**SCALAR)
def softplus(x: Real) -> Real:
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)."""
    return max(x, 0.0) + math.log1p(exp(-abs(x)))


@njit(**SCALAR)
def uniform(counter: np.uint64) -> Real:
    """A uniform number in (0, 1): (r + 1/2) / 2^52 for 52 random bits r, so never 0 or 1."""
    return (float(squares64(counter) >> np.uint64(12)) + 0.5) * 2.0**-52


@njit(**SCALAR)
def normal(counter: np.uint64) -> Real:
    """A standard normal number: sqrt(-2 log u) sin(a), u in (0, 1), a uniform in (-pi/2, pi/2) (Box and Muller)."""
    twice = np.uint64(counter * np.uint64(2))
    a = math.pi * (uniform(np.uint64(twice + np.uint64(1))) - 0.5)
    return math.sqrt(-2.0 * math.log(uniform(twice))) * math.sin(a)
