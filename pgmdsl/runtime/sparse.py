"""Rows of numbers, some thousands at a time; those of which most are 0 kept compressed until they are taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error

Array = NDArray[Any]
CHUNK = 4096  # rows looked at together when all are read, fewer where rows are long
ENTRIES = 1 << 18  # of such a chunk at most


@dataclass(frozen=True)
class SparseRows:
    """A matrix in compressed sparse rows: row i has `data[j]` in column `indices[j]`, indptr[i] <= j < indptr[i + 1].

    Columns increase strictly within a row. What is taken of it, `rows[numbers]` or `rows[start:end]`, is a dense array.
    """

    data: Array
    indices: Array
    indptr: Array
    columns: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.indptr) - 1, self.columns

    @property
    def ndim(self) -> int:
        """Two axes."""
        return 2

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of what is stored."""
        return self.data.dtype

    def __getitem__(self, rows: Any) -> Array:
        """These rows, dense, (rows, columns)."""
        numbers = np.arange(*rows.indices(self.shape[0])) if isinstance(rows, slice) else np.asarray(rows)
        first = self.indptr[numbers].astype(np.int64)
        counts = self.indptr[numbers + 1] - first
        before = np.cumsum(counts) - counts  # how many entries the rows above have
        where = np.repeat(first - before, counts) + np.arange(counts.sum())
        out = np.zeros((len(numbers), self.columns), self.dtype)
        out[np.repeat(np.arange(len(numbers)), counts), self.indices[where]] = self.data[where]
        return out


def chunks_of(values: Array | SparseRows) -> Iterator[tuple[slice, Array]]:
    """All rows, some thousands at a time, with their numbers."""
    rows = rows_together(values.shape[1])
    for start in range(0, values.shape[0], rows):
        part = slice(start, min(start + rows, values.shape[0]))
        yield part, values[part]


def rows_together(size: int) -> int:
    """How many rows of this size are looked at together."""
    return max(1, min(CHUNK, ENTRIES // max(1, size)))


def is_scipy_sparse(given: Any) -> bool:
    """Whether this is one of SciPy's sparse arrays or matrices, known without importing SciPy."""
    return hasattr(given, "tocsr") and hasattr(given, "nnz")


def from_scipy(given: Any, place: str) -> SparseRows:
    """A SciPy sparse array or matrix of any format.

    Raises:
        Error: it has not two axes, or its parts do not fit together.
    """
    if len(given.shape) != 2:
        raise Error(f"{place}: the sparse array has shape {given.shape}; give rows of values, (cases, size)")
    matrix = given.tocsr()
    return sparse_rows(matrix.data, matrix.indices, matrix.indptr, matrix.shape, place)


def sparse_rows(data: Array, indices: Array, indptr: Array, shape: Any, place: str) -> SparseRows:
    """A matrix from the arrays of its compressed rows, entries that are stored twice added.

    Raises:
        Error: the arrays do not fit together.
    """
    numbers = np.asarray(shape)
    whole = numbers.dtype.kind in "iu" and indices.dtype.kind in "iu" and indptr.dtype.kind in "iu"
    flat = numbers.shape == (2,) and data.ndim == indices.ndim == indptr.ndim == 1
    if not (whole and flat and len(data) == len(indices) and len(indptr) == int(numbers[0]) + 1):
        raise _damaged(place)
    columns = int(numbers[1])
    ordered = indptr[0] == 0 and indptr[-1] == len(data) and (indptr[1:] >= indptr[:-1]).all()
    if not ordered or (len(indices) and (indices.min() < 0 or indices.max() >= columns)):
        raise _damaged(place)
    falls = indices[1:] <= indices[:-1]
    starts = indptr[1:-1][(indptr[1:-1] > 0) & (indptr[1:-1] < len(data))]
    falls[starts - 1] = False
    if falls.any():
        from scipy.sparse import csr_matrix

        matrix = csr_matrix((data, indices, indptr), shape=(len(indptr) - 1, columns), copy=True)
        matrix.sum_duplicates()
        data, indices, indptr = matrix.data, matrix.indices, matrix.indptr
    return SparseRows(data, indices, indptr, columns)


def _damaged(place: str) -> Error:
    return Error(
        f"{place}: the parts of this sparse matrix (data, indices, indptr, shape) do not fit together; write it again "
        "with scipy.sparse.save_npz(name, matrix.tocsr())"
    )
