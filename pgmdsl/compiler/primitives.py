# mypy: disable-error-code="misc,untyped-decorator,no-any-return,call-arg,arg-type,no-untyped-call"
"""Source embedded in every generated file: matrix products, bits, and the fused optimiser steps.

Written against float32 here; a generated float64 file has the same text after the float64 functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from pgmdsl.compiler.primitives_base import KERNEL
from pgmdsl.compiler.primitives_float32 import Real, sqrt, uniform

Array = NDArray[Any]


def vectorised(plain: Callable[..., Any], typed: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    """A function in plain Python, for which compiled code calls what `typed` makes of the arguments' types."""
    overload(plain, jit_options=options, strict=False)(typed)
    return plain


@intrinsic
def call_gemm(typing, turns, alpha, a, b, beta, out):  # type: ignore[no-untyped-def]
    """`gemm` by the BLAS of SciPy, through the function that Numba's own np.dot calls: other threads run meanwhile.

    BLAS has matrices by columns, so that it sees the transposes: out' = alpha b' a' + beta out'.
    """

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        char, pointer, index = ir.IntType(8), ir.IntType(8).as_pointer(), ir.IntType(64)
        kinds = [char] * 3 + [index] * 3 + [pointer, pointer, index, pointer, index, pointer, pointer, index]
        kind = ir.FunctionType(ir.IntType(32), kinds)
        function = cgutils.get_or_insert_function(builder.module, kind, "numba_xxgemm")
        turn_a, turn_b = cgutils.unpack_tuple(builder, arguments[0])
        turned_a, turned_b = (builder.select(turn, char(ord("T")), char(ord("N"))) for turn in (turn_a, turn_b))
        arrays = [context.make_array(signature.args[n])(context, builder, arguments[n]) for n in (2, 3, 5)]
        places = [builder.bitcast(array.data, pointer) for array in arrays]
        (height_a, width_a), (_, width_b), (rows, columns) = (cgutils.unpack_tuple(builder, x.shape) for x in arrays)
        terms = builder.select(turn_a, height_a, width_a)
        by, old = (builder.bitcast(cgutils.alloca_once_value(builder, arguments[n]), pointer) for n in (1, 4))
        letter = char(ord("s" if out.dtype == types.float32 else "d"))
        b_side, a_side = (places[1], width_b), (places[0], width_a)
        shape = (columns, rows, terms)
        return builder.call(
            function, (letter, turned_b, turned_a, *shape, by, *b_side, *a_side, old, places[2], columns)
        )

    number = out.dtype
    return types.int32(turns, number, a, b, number, out), generate


def plain_gemm(turns: tuple[bool, bool], alpha: Real, a: Array, b: Array, beta: Real, out: Array) -> int:
    """Set out = alpha a b + beta out, where a' stands for a if the first of `turns`, b' for b if the second.

    The answer is 0, if there is a BLAS.
    """
    product = (a.T if turns[0] else a) @ (b.T if turns[1] else b)
    np.copyto(out, alpha * product + beta * out if beta else alpha * product)
    return 0


def typed_gemm(turns: Any, alpha: Any, a: Any, b: Any, beta: Any, out: Any) -> Any:
    """The compiled `gemm`."""
    return lambda turns, alpha, a, b, beta, out: call_gemm(turns, alpha, a, b, beta, out)


gemm = vectorised(plain_gemm, typed_gemm, KERNEL)


@njit(**KERNEL)
def multiply_any(turn_a: bool, turn_b: bool, a: Array, b: Array, out: Array, alpha: float, beta: float) -> int:
    """`gemm`, compiled."""
    return gemm((turn_a, turn_b), Real(alpha), a, b, Real(beta), out)


def product(turn_a: bool, turn_b: bool, a: Array, b: Array, out: Array, alpha: float, beta: float) -> None:
    """Set out = alpha a b + beta out, a' for a or b' for b where so much is turned; any `out` if beta is 0."""
    a, b = np.ascontiguousarray(a, Real), np.ascontiguousarray(b, Real)
    rows, terms = a.shape[::-1] if turn_a else a.shape
    others, columns = b.shape[::-1] if turn_b else b.shape
    assert others == terms, "the matrices do not fit each other"
    assert out.shape == (rows, columns), "out must have the product's shape"
    assert out.flags.c_contiguous, "out must be C-contiguous"
    assert out.dtype == Real, "out must be of the model's dtype"
    if out.size and multiply_any(turn_a, turn_b, a, b, out, alpha, beta) != 0:
        raise RuntimeError("no matrix products: Numba does not find SciPy's BLAS")


def multiply(a: Array, b: Array, out: Array, alpha: float, beta: float) -> None:
    """Set out = alpha a b + beta out."""
    product(False, False, a, b, out, alpha, beta)


def multiply_transposed(a: Array, b: Array, out: Array, alpha: float, beta: float) -> None:
    """Set out = alpha a b' + beta out."""
    product(False, True, a, b, out, alpha, beta)


def multiply_outer(a: Array, b: Array, out: Array, alpha: float, beta: float) -> None:
    """Set out = alpha a' b + beta out."""
    product(True, False, a, b, out, alpha, beta)


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
