# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
"""Source embedded in every generated file: matrix products, bits, and the fused optimiser steps.

Written against float32 here; a generated float64 file has the same text after the float64 functions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pgmdsl.compiler.primitives_base import KERNEL
from pgmdsl.compiler.primitives_float32 import Real, gemm, sqrt, uniform

Array = NDArray[Any]


def multiply(a: Array, b: Array, out: Array, alpha: float, beta: float) -> None:
    """Set out = alpha a b + beta out for C-contiguous matrices; BLAS sees the transposes, out' = alpha b' a'."""
    target = out.T
    done = gemm(alpha, b.T, a.T, beta, target, overwrite_c=1)
    assert done is target, "out must be C-contiguous and of the model's dtype"


def multiply_transposed(a: Array, b: Array, out: Array, alpha: float, beta: float) -> None:
    """Set out = alpha a b' + beta out."""
    target = out.T
    done = gemm(alpha, b.T, a.T, beta, target, trans_a=1, overwrite_c=1)
    assert done is target, "out must be C-contiguous and of the model's dtype"


def multiply_outer(a: Array, b: Array, out: Array, alpha: float, beta: float) -> None:
    """Set out = alpha a' b + beta out."""
    target = out.T
    done = gemm(alpha, b.T, a.T, beta, target, trans_b=1, overwrite_c=1)
    assert done is target, "out must be C-contiguous and of the model's dtype"


@njit(**KERNEL)
def fill_bits(levels: Array, key: np.uint64, out: Array) -> None:
    """Set out[i, j] = 1 where a uniform number is below levels[i, j], else 0."""
    for i in range(out.shape[0]):
        probabilities, bits = levels[i], out[i]
        counter = np.uint64(key + np.uint64(i) * np.uint64(out.shape[1]))
        for j in range(out.shape[1]):
            u = uniform(np.uint64(counter + np.uint64(j)))
            bits[j] = Real(1.0) if u < probabilities[j] else Real(0.0)


def draw_bits(levels: Array, key: int, out: Array) -> None:
    """Bits with these probabilities: `levels` and `out` (cases, size), `key` a uint64 counter base."""
    with np.errstate(over="ignore"):
        fill_bits(levels, np.uint64(key), out)


def flat(array: Array) -> Array:
    """A C-contiguous array as a vector, without a copy."""
    assert array.flags.c_contiguous, "arrays that are changed in place must be C-contiguous"
    return array.reshape(-1)


@njit(**KERNEL)
def step_flat(w: Array, velocity: Array, gradient: Array, rate: Real, momentum: Real, decay: Real) -> None:
    """One pass of `momentum_step` over vectors."""
    for i in range(w.size):
        t = momentum * velocity[i] + rate * (gradient[i] - decay * w[i])
        velocity[i] = t
        w[i] += t


def momentum_step(w: Array, velocity: Array, gradient: Array, rate: float, momentum: float, decay: float) -> None:
    """Set velocity = momentum velocity + rate (gradient - decay w); w = w + velocity. Arrays of one shape."""
    step_flat(flat(w), flat(velocity), flat(gradient), Real(rate), Real(momentum), Real(decay))


@njit(**KERNEL)
def step_centred(
    w: Array,
    velocity: Array,
    gradient: Array,
    mean_a: Array,
    mean_b: Array,
    delta_a: Array,
    delta_b: Array,
    rate: Real,
    momentum: Real,
    decay: Real,
    row_shift: Array,
    column_shift: Array,
) -> None:
    """One pass of `centred_step`."""
    for i in range(w.shape[0]):
        row, speeds, slopes = w[i], velocity[i], gradient[i]
        mean, delta, total = mean_a[i], delta_a[i], Real(0.0)
        for j in range(w.shape[1]):
            slope = slopes[j] - mean * delta_b[j] - delta * mean_b[j] - decay * row[j]
            t = momentum * speeds[j] + rate * slope
            speeds[j] = t
            row[j] += t
            total += t * mean_b[j]
            column_shift[j] += t * mean
        row_shift[i] += total


def centred_step(
    w: Array,
    velocity: Array,
    gradient: Array,
    mean_a: Array,
    mean_b: Array,
    delta_a: Array,
    delta_b: Array,
    rate: float,
    momentum: float,
    decay: float,
    row_shift: Array,
    column_shift: Array,
) -> None:
    """A step along the centred gradient of a weight (rows of layer a, columns of layer b).

    With the offsets mean_a (rows,), mean_b (columns,) and the differences of the two phases' means delta_a, delta_b,

        velocity = momentum velocity + rate (gradient - mean_a delta_b' - delta_a mean_b' - decay w);  w += velocity
        row_shift += velocity mean_b;  column_shift += velocity' mean_a

    The shifts are what the biases lose so that the centred biases stay. Source: Melchior, Fischer and Wiskott (2016),
    "How to center deep Boltzmann machines".
    """
    numbers = (Real(rate), Real(momentum), Real(decay))
    step_centred(w, velocity, gradient, mean_a, mean_b, delta_a, delta_b, *numbers, row_shift, column_shift)


@njit(**KERNEL)
def average_flat(average: Array, w: Array, weight: Real) -> None:
    """One pass of `average_step` over vectors."""
    for i in range(w.size):
        average[i] += weight * (w[i] - average[i])


def average_step(average: Array, w: Array, weight: float) -> None:
    """Set average = average + weight (w - average). Arrays of one shape."""
    average_flat(flat(average), flat(w), Real(weight))


@njit(**KERNEL)
def step_adam(
    w: Array, first: Array, second: Array, gradient: Array, rate: Real, keep1: Real, keep2: Real, tiny: Real, root: Real
) -> None:
    """One pass of `adam_step` over vectors; `rate` and `root` hold the corrections of the two averages."""
    for i in range(w.size):
        g = gradient[i]
        m = keep1 * first[i] + (Real(1.0) - keep1) * g
        v = keep2 * second[i] + (Real(1.0) - keep2) * g * g
        first[i] = m
        second[i] = v
        w[i] += rate * m / (root * sqrt(v) + tiny)


def adam_step(
    w: Array,
    first: Array,
    second: Array,
    gradient: Array,
    rate: float,
    keep1: float,
    keep2: float,
    tiny: float,
    steps: int,
) -> None:
    """A step uphill of Adam; arrays of one shape, `steps` counted from 1.

        first = keep1 first + (1 - keep1) gradient;  second = keep2 second + (1 - keep2) gradient^2
        w += rate (first / (1 - keep1^steps)) / (sqrt(second / (1 - keep2^steps)) + tiny)

    Source: Kingma and Ba (2015), "Adam: a method for stochastic optimization", algorithm 1.
    """
    corrected, root = rate / (1.0 - keep1**steps), (1.0 - keep2**steps) ** -0.5
    numbers = (Real(corrected), Real(keep1), Real(keep2), Real(tiny), Real(root))
    step_adam(flat(w), flat(first), flat(second), flat(gradient), *numbers)


@njit(**KERNEL)
def step_rmsprop(w: Array, second: Array, gradient: Array, rate: Real, keep: Real, tiny: Real) -> None:
    """One pass of `rmsprop_step` over vectors."""
    for i in range(w.size):
        g = gradient[i]
        v = keep * second[i] + (Real(1.0) - keep) * g * g
        second[i] = v
        w[i] += rate * g / (sqrt(v) + tiny)


def rmsprop_step(w: Array, second: Array, gradient: Array, rate: float, keep: float, tiny: float) -> None:
    """Set second = keep second + (1 - keep) gradient^2; w = w + rate gradient / (sqrt(second) + tiny). One shape.

    Source: Tieleman and Hinton (2012), "Neural networks for machine learning", lecture 6.5.
    """
    step_rmsprop(flat(w), flat(second), flat(gradient), Real(rate), Real(keep), Real(tiny))
