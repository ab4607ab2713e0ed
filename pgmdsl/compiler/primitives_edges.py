# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
"""Source embedded in generated files: products over edges of any kind, and the groups in which lateral layers are set.

An edge of three or more layers multiplies the statistics of all but one of them case by case: the row-wise Khatri-Rao
product, whose entry (i, j, ...) of a case is a[i] b[j] ...; what is left is one matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pgmdsl.compiler.primitives import Array, multiply, multiply_outer, multiply_transposed
from pgmdsl.compiler.primitives_base import KERNEL
from pgmdsl.compiler.primitives_sparse import multiply_outer_sparse, multiply_sparse
from pgmdsl.compiler.primitives_states import multiply_outer_states

# Numbers in the largest Khatri-Rao product made at once (but never fewer cases than FEWEST), so that it stays in cache.
LARGEST = 2**18
FEWEST = 32

# Entries of a lateral layer that are set before their changes are sent to the rest of the layer by a matrix product:
# more make better products, fewer send less one by one.
GROUP = 32

NO_HELD = np.zeros((0, 0), np.bool_)


@njit(**KERNEL)
def fill_row_products(a: Array, b: Array, out: Array) -> None:
    """Set out[c, i K + k] = a[c, i] b[c, k], b of shape (cases, K)."""
    width = b.shape[1]
    for c in range(a.shape[0]):
        right = b[c]
        for i in range(a.shape[1]):
            left, products = a[c, i], out[c, i * width : (i + 1) * width]
            for k in range(width):
                products[k] = left * right[k]


def row_products(parts: tuple[Array, ...], rows: slice) -> Array:
    """The row-wise Khatri-Rao product of these rows of the parts, (rows, product of the parts' sizes)."""
    out = parts[0][rows]
    for part in parts[1:]:
        wider = np.empty((len(out), out.shape[1] * part.shape[1]), out.dtype)
        fill_row_products(out, part[rows], wider)
        out = wider
    return out


def chunks(*sides: tuple[Array, ...]) -> Iterator[slice]:
    """The cases, in runs for which the Khatri-Rao product of no side has many more than LARGEST numbers."""
    width = max(math.prod(part.shape[1] for part in parts) for parts in sides)
    rows = max(FEWEST, LARGEST // width)
    for start in range(0, len(sides[0][0]), rows):
        yield slice(start, start + rows)


def multiply_others(parts: tuple[Array, ...], w: Array, axis: int, out: Array, alpha: float, beta: float) -> None:
    """Set out[c, j] = alpha sum over i, ..., k of w[i, .., j, .., k] a[c, i] .. b[c, k] + beta out[c, j].

    j is the index at `axis`; `parts` a, ..., b are the statistics of the layers of the other axes, in their order.
    """
    matrix = w.reshape(len(w), -1) if axis == 0 else np.moveaxis(w, axis, -1).reshape(-1, w.shape[axis])
    product = multiply_transposed if axis == 0 else multiply
    for rows in chunks(parts):
        product(row_products(parts, rows), matrix, out[rows], alpha, beta)


def multiply_all(first: tuple[Array, ...], second: tuple[Array, ...], out: Array, alpha: float, beta: float) -> None:
    """Set out[i, j, ..., k] = alpha sum over cases of the product of all parts' entries + beta out[i, j, ..., k].

    The axes are those of `first`, then those of `second`: as a matrix, out is the product of their Khatri-Rao products.
    """
    assert out.flags.c_contiguous, "out must be C-contiguous and of the model's dtype"
    for rows in chunks(first, second):
        a, b = row_products(first, rows), row_products(second, rows)
        multiply_outer(a, b, out.reshape(a.shape[1], b.shape[1]), alpha, beta)
        beta = 1.0


@njit(**KERNEL)
def add_mirrored(product: Array, states: int, beta: float, out: Array) -> None:
    """Add the lower triangle of `product`, without its diagonal blocks of `states`, to beta out on both sides."""
    for i in range(product.shape[0]):
        block = i // states * states
        for j in range(i + 1):
            value = product[i, j] if j < block else product[i, j] * 0
            out[i, j] = value + out[i, j] if beta else value
            if j < i:
                out[j, i] = value + out[j, i] if beta else value


def multiply_lateral(
    s: Array, states: int, levels: tuple[float, float] | None, out: Array, alpha: float, beta: float
) -> None:
    """Set out = alpha s's + beta out, beta 0 or 1; the product exactly symmetric, 0 in diagonal blocks of `states`.

    `levels` are those of states that are not mostly 0, or None.
    """
    product = np.empty_like(out)
    if levels is None:
        multiply_outer_sparse(s, s, product, alpha, 0.0)
    else:
        multiply_outer_states(s, s, product, alpha, 0.0, levels, None)
    add_mirrored(product, states, beta, out)


def rows(own: Array) -> Array:
    """An own field (size,) or (cases, size) as kernels take it: (1 or cases, size)."""
    return own.reshape(-1, own.shape[-1])


def mask(held: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Held entries as kernels take them: (cases, size), or (0, 0) where none is held."""
    return NO_HELD if held is None else held


def before(out: Array, held: NDArray[np.bool_] | None) -> Array | None:
    """What `put_back` needs of an array that is about to be overwritten."""
    return None if held is None else out.copy()


def put_back(out: Array, earlier: Array | None, held: NDArray[np.bool_] | None) -> None:
    """Give the held entries of an array their earlier values."""
    if held is not None and earlier is not None:
        np.copyto(out, earlier, where=held)


class Sites(NamedTuple):
    """The sites of a layer with lateral edges.

    `couplings` (size, size) is what its statistics are multiplied by in its own field, `states` the entries of a site,
    `colours` (sites,) classes without couplings within, None where each site is one; held entries stay as they are.
    """

    couplings: Array
    states: int
    colours: NDArray[np.int32] | None
    held: NDArray[np.bool_] | None


def site_groups(sites: Sites) -> Iterator[NDArray[np.intp]]:
    """The entries of the sites, by colours; as many colours at once as it takes for GROUP entries."""
    count = len(sites.couplings) // sites.states
    colours = np.arange(count) if sites.colours is None else sites.colours
    order = (np.argsort(colours, kind="stable")[:, None] * sites.states + np.arange(sites.states)).reshape(-1)
    start = 0
    for end in (np.cumsum(np.bincount(colours)) * sites.states).tolist():
        if end - start >= GROUP or end == len(order):
            yield order[start:end]
            start = end


def visit(
    loop: Callable[..., None], field: Array, own: Array, arguments: tuple[Any, ...], sites: Sites, out: Array
) -> None:
    """Set the sites of a layer, each given the newest states of all others.

    `field` is the coupling field of `out`, and is again on return. The loop sets the sites of one group, with regard to
    what these send to each other; what they send to the rest of the layer is one matrix product a group.
    """
    for entries in site_groups(sites):
        rows_here, change = sites.couplings[entries], np.empty((len(out), len(entries)), out.dtype)
        loop(field, rows(own), *arguments, entries, rows_here, mask(sites.held), out, change)
        multiply_sparse(change, rows_here, field, 1.0, 1.0)
