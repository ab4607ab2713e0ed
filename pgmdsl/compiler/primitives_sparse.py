# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
"""Source embedded in generated files: products with matrices that are mostly 0, entry by entry.

States of one-hot sites and counts of words are such matrices, and so are the changes of a layer's units in a sweep.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pgmdsl.compiler.primitives import Array, multiply, multiply_outer
from pgmdsl.compiler.primitives_base import KERNEL
from pgmdsl.compiler.primitives_float32 import Real

# A matrix with more than one entry in so many other than 0 is multiplied as a dense one.
SPARSE = 8

# Numbers of the matrix whose rows are added that stay in cache, and the fewest columns of it that are taken at once.
CACHED = 2**17
COLUMNS = 128

Entries = tuple[NDArray[np.int64], NDArray[np.int32], Array]


@njit(**KERNEL)
def fill_entries(a: Array, starts: NDArray[np.int64], columns: NDArray[np.int32], values: Array) -> bool:
    """The entries of `a` other than 0: of row i those from starts[i] to starts[i + 1]. Whether there was room."""
    count = 0
    starts[0] = 0
    for i in range(a.shape[0]):
        row = a[i]
        for j in range(row.size):
            if row[j] != Real(0.0):
                if count == columns.size:
                    return False
                columns[count] = j
                values[count] = row[j]
                count += 1
        starts[i + 1] = count
    return True


def entries_of(a: Array) -> Entries | None:
    """The entries of `a` other than 0: where those of each row start, their columns, their values; None if many."""
    room = a.size // SPARSE
    found = np.empty(len(a) + 1, np.int64), np.empty(room, np.int32), np.empty(room, a.dtype)
    return found if fill_entries(a, *found) else None


@njit(**KERNEL)
def add_rows(
    starts: NDArray[np.int64], columns: NDArray[np.int32], values: Array, b: Array, alpha: Real, out: Array
) -> None:
    """Add alpha a b to out, `a` given by its entries."""
    width = max(COLUMNS, CACHED // b.shape[0])
    for first in range(0, b.shape[1], width):
        last = min(first + width, b.shape[1])
        for i in range(out.shape[0]):
            target, n, end = out[i, first:last], starts[i], starts[i + 1]
            while n + 1 < end:  # two at a time, for half of the passes over the target
                value, row = alpha * values[n], b[columns[n], first:last]
                other, next_row = alpha * values[n + 1], b[columns[n + 1], first:last]
                for j in range(target.size):
                    target[j] += value * row[j] + other * next_row[j]
                n += 2
            if n < end:
                value, row = alpha * values[n], b[columns[n], first:last]
                for j in range(target.size):
                    target[j] += value * row[j]


@njit(**KERNEL)
def add_outer_rows(
    starts: NDArray[np.int64], columns: NDArray[np.int32], values: Array, b: Array, alpha: Real, out: Array
) -> None:
    """Add alpha a' b to out, `a` given by its entries."""
    for i in range(b.shape[0]):
        row = b[i]
        for n in range(starts[i], starts[i + 1]):
            value, target = alpha * values[n], out[columns[n]]
            for j in range(row.size):
                target[j] += value * row[j]


@njit(**KERNEL)
def add_outer_entries(
    starts_a: NDArray[np.int64],
    columns_a: NDArray[np.int32],
    values_a: Array,
    starts_b: NDArray[np.int64],
    columns_b: NDArray[np.int32],
    values_b: Array,
    alpha: Real,
    out: Array,
) -> None:
    """Add alpha a' b to out, both given by their entries."""
    for i in range(starts_a.size - 1):
        for n in range(starts_a[i], starts_a[i + 1]):
            value, target = alpha * values_a[n], out[columns_a[n]]
            for m in range(starts_b[i], starts_b[i + 1]):
                target[columns_b[m]] += value * values_b[m]


def begin(out: Array, beta: float) -> None:
    """Set out = beta out; what is there may be anything if beta is 0."""
    if beta == 0:
        out[:] = 0
    elif beta != 1:
        out *= out.dtype.type(beta)


def multiply_sparse(a: Array, b: Array, out: Array, alpha: float, beta: float) -> None:
    """As `multiply`, fast where most of `a` is 0."""
    found = entries_of(a)
    if found is None:
        multiply(a, b, out, alpha, beta)
        return
    begin(out, beta)
    add_rows(*found, b, Real(alpha), out)


def multiply_outer_sparse(a: Array, b: Array, out: Array, alpha: float, beta: float) -> None:
    """As `multiply_outer`, fast where most of `a` is 0, and faster if most of `b` is too."""
    found = entries_of(a)
    if found is None:
        multiply_outer(a, b, out, alpha, beta)
        return
    begin(out, beta)
    others = found if b is a else entries_of(b)
    if others is None:
        add_outer_rows(*found, b, Real(alpha), out)
    else:
        add_outer_entries(*found, *others, Real(alpha), out)
