# mypy: disable-error-code="misc,untyped-decorator,no-any-return,return-value"
"""Source embedded in generated float64 files: the elementary functions are those in double precision."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from pgmdsl.compiler.primitives_base import SCALAR, exp64, sigmoid64, softplus64, uniform64

Real = np.float64
__all__ = ["Real", "exp", "log", "normal", "sigmoid", "softplus", "sqrt", "tanh", "uniform"]

exp = exp64
log = math.log
sigmoid = sigmoid64
softplus = softplus64
sqrt = math.sqrt
tanh = math.tanh
uniform = uniform64


@njit(**SCALAR)
def normal(counter: np.uint64) -> Real:
    """A standard normal number: sqrt(-2 log u) sin(a), u in (0, 1), a uniform in (-pi/2, pi/2) (Box and Muller)."""
    twice = np.uint64(counter * np.uint64(2))
    a = math.pi * (uniform(np.uint64(twice + np.uint64(1))) - 0.5)
    return math.sqrt(-2.0 * math.log(uniform(twice))) * math.sin(a)
