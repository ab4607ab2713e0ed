"""Source embedded in generated files: what a product costs on a machine, by tables of partial sums and by BLAS.

A product of one kind with R x C weights and some cases takes call + R C (weight + case cases) seconds, where a table
counts the weights of the blocks that it fills up. The three numbers are measured by whoever loads the file.

    field               out = alpha a b + beta out       a (cases, R) holds the states
    field_transposed    out = alpha a b' + beta out      a (cases, R) holds the states
    outer               out = alpha a' b + beta out      a (cases, R) holds the states
    outer_transposed    out = alpha b' a + beta out      a (cases, R) holds the states
"""

from __future__ import annotations

from typing import Literal, NamedTuple

# Of BLAS's time that a table may take to be chosen: products are measured one after another, with what they need in
# cache, and a table loses more than BLAS where it is not.
MARGIN = 0.85

Kind = Literal["field", "field_transposed", "outer", "outer_transposed"]


class Cost(NamedTuple):
    """Seconds: of a call, more of each weight, and more of each weight and case; and from how many cases that is so."""

    call: float
    weight: float
    case: float
    least: float = 0.0


# By kind of product, its costs by table and by BLAS.
Costs = dict[str, tuple[Cost, Cost]]


def product_seconds(kind: Kind, costs: Costs, cases: int, rows: int, columns: int) -> tuple[float, float]:
    """The time of a product by table, which fills up its rows to 5 (of outer products, cases), its columns to 16."""
    table, blas = costs[kind]
    filled = (rows if kind.startswith("outer") else -(-rows // 5) * 5) * (-(-columns // 16) * 16)
    by_table = table.call + filled * (table.weight + table.case * cases)
    return by_table, blas.call + rows * columns * (blas.weight + blas.case * cases)


def worth_a_table(kind: Kind, costs: Costs, cases: int, rows: int, columns: int) -> bool:
    """Whether a table makes this product faster by a clear margin; never where its costs are not known."""
    if kind not in costs:
        return False
    by_table, by_blas = product_seconds(kind, costs, cases, rows, columns)
    return cases >= costs[kind][0].least and by_table < MARGIN * by_blas
