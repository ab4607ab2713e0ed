"""Source embedded in generated files: for each product with states of two values, whether tables or BLAS make it.

Which layers may hold states is known when the model is compiled; whether an array holds states, or means, is seen when
it is packed. Which way is faster is a matter of the machine.
"""

from __future__ import annotations

import numpy as np

from pgmdsl.compiler.primitives import Array, multiply, multiply_outer, multiply_transposed
from pgmdsl.compiler.primitives_costs import Costs, Kind, worth_a_table
from pgmdsl.compiler.primitives_float32 import Real
from pgmdsl.compiler.primitives_tables import WORD, pack_columns, pack_rows, sum_by_table

Levels = tuple[float, float]

# Filled in by whoever loads the file; without it every product is made by BLAS.
COSTS: Costs = {}


def multiply_by_blas(kind: Kind, a: Array, b: Array, out: Array, alpha: float, beta: float) -> None:
    """The product of a kind of any numbers."""
    match kind:
        case "field":
            multiply(a, b, out, alpha, beta)
        case "field_transposed":
            multiply_transposed(a, b, out, alpha, beta)
        case "outer":
            multiply_outer(a, b, out, alpha, beta)
        case "outer_transposed":
            multiply_outer(b, a, out, alpha, beta)


def multiply_by_table(kind: Kind, a: Array, b: Array, out: Array, alpha: float, beta: float, levels: Levels) -> bool:
    """The product of a kind, `a` holding states of these levels; False, and nothing done, if it has other numbers."""
    outer, (low, high) = kind.startswith("outer"), levels
    states, rows = a.shape if outer else a.shape[::-1]
    words = np.empty((-(-states // WORD), rows), np.uint64)
    pack = pack_columns if outer else pack_rows
    if not pack(np.ascontiguousarray(a), Real(low), Real(high), words):
        return False
    numbers = np.array([alpha * (high - low), low / (high - low), beta], Real)
    sum_by_table(words, states, b, kind == "field_transposed", out, kind == "outer_transposed", numbers)
    return True


def try_table(kind: Kind, a: Array, b: Array, out: Array, alpha: float, beta: float, levels: Levels | None) -> bool:
    """The product by table, if `a` holds states (of no levels, never) and that is faster; whether it was made."""
    columns = len(b) if kind == "field_transposed" else b.shape[1]
    if levels is None or not worth_a_table(kind, COSTS, len(a), a.shape[1], columns):
        return False
    return multiply_by_table(kind, a, b, out, alpha, beta, levels)


def multiply_states(kind: Kind, a: Array, b: Array, out: Array, alpha: float, beta: float, levels: Levels) -> None:
    """The product of a kind, where `a` may hold states of these levels."""
    if not try_table(kind, a, b, out, alpha, beta, levels):
        multiply_by_blas(kind, a, b, out, alpha, beta)


def multiply_outer_states(
    a: Array, b: Array, out: Array, alpha: float, beta: float, levels_a: Levels | None, levels_b: Levels | None
) -> None:
    """Set out = alpha a' b + beta out, where either may hold states of its levels."""
    made = try_table("outer", a, b, out, alpha, beta, levels_a)
    if not (made or try_table("outer_transposed", b, a, out, alpha, beta, levels_b)):
        multiply_outer(a, b, out, alpha, beta)
