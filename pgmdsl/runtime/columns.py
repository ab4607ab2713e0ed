"""One layer's values as they are stored, checked once, and turned into states a batch at a time."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import ArtifactLayer
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.missing import Lengths, document_lengths, filling, shaped_mask, spread_words
from pgmdsl.runtime.sparse import SparseRows, chunks_of, from_scipy, is_scipy_sparse
from pgmdsl.runtime.supports import first_bad, verify_values

Array = NDArray[Any]
Known = NDArray[np.bool_]
Bits = Literal["resample", "sample", "threshold", "mean"]
DrawBits = Callable[[Array, Any, Array], Any]
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Column:
    """One layer's values.

    Attributes:
        layer: the layer they belong to.
        values: (rows, size) as stored; for labels (rows, sites), each a state's number 0..K-1.
        labels: whether `values` are labels of one-hot sites.
        scale: the factor that makes them states, or levels in [0, 1] where `bits` is set.
        bits: how levels become states, or None where the values are states.
        threshold: the level from which `bits = threshold` gives 1.
        place: the file and the layer, for messages.
        digest: SHA-256 of the stored values, mask and lengths, by which a resumed run knows its data again.
        mask: where a value is missing besides those that are NaN, or None: False there, of the values' shape, or
            (rows, 1) where whole cases are missing.
        missing: whether any value is missing.
        fill: what stands in for missing values, (size,): the mean state of all rows, rounded into the support; for a
            count layer the mean counts, in proportion to which the rest of a document's length is spread.
        lengths: of the documents of a count layer, (rows,), where counts are missing.
        assumed: the length that was taken for documents without any count, or None.
    """

    layer: ArtifactLayer
    values: Array | SparseRows
    labels: bool
    scale: float
    bits: Bits | None
    threshold: float
    place: str
    digest: str = field(default="", compare=False)
    mask: Known | None = None
    missing: bool = False
    fill: NDArray[np.float64] | None = None
    lengths: NDArray[np.float64] | None = None
    assumed: int | None = None

    @property
    def rows(self) -> int:
        """How many cases there are."""
        return int(self.values.shape[0])

    def states(self, rows: Array, out: Array, draw_bits: DrawBits, key: int, *, fixed: bool = False) -> None:
        """The states of some rows into `out` (rows, size); levels become bits as `bits` says.

        What is missing is filled in with a state that the unit can have (see `fill`): it says nothing about the case.

        Args:
            rows: their numbers.
            out: (len(rows), size), C-contiguous, in the model's type.
            draw_bits: the kernel of that name.
            key: the counter base of the bits. With `fixed` or `bits = sample` a row's bits depend on the key and the
                row's number alone, otherwise on the key and the row's position in `rows`.
            fixed: evaluation: `resample` counts as `sample`.
        """
        values = self.values[rows]
        known = self.known(rows, values) if self.missing else None
        if known is not None:
            values = np.where(known, values, values.dtype.type(0))
        if self.labels:
            _one_hot(values, self.layer.states, out)
        elif self.bits is None:
            np.multiply(values, np.float64(self.scale), out=out, casting="unsafe")
        else:
            np.multiply(values, out.dtype.type(self.scale), out=out, casting="unsafe")
            self._make_bits(rows, out, draw_bits, key, fixed)
        if known is not None and not known.all():
            self._fill_in(rows, self._by_entry(known), out)

    def _make_bits(self, rows: Array, out: Array, draw_bits: DrawBits, key: int, fixed: bool) -> None:
        match self.bits:
            case "threshold":
                np.greater_equal(out, out.dtype.type(self.threshold), out=out, casting="unsafe")
            case "resample" if not fixed:
                draw_bits(out.copy(), np.uint64(key), out)
            case "resample" | "sample":
                levels = out.copy()
                for i, row in enumerate(rows):
                    at = (key + int(row) * self.layer.size) & _MASK
                    draw_bits(levels[i : i + 1], np.uint64(at), out[i : i + 1])
            case _:
                np.clip(out, 0, 1, out=out)
        low, high = self.layer.values
        if (low, high) != (0.0, 1.0):
            out *= high - low
            out += low

    def _fill_in(self, rows: Array, observed: Known, out: Array) -> None:
        assert self.fill is not None, "columns with missing values have one"
        if self.lengths is None:
            np.copyto(out, self.fill, where=~observed, casting="unsafe")
        else:
            spread_words(out, observed, self.lengths[rows], self.fill)

    def expected(self, rows: Array) -> NDArray[np.float64]:
        """The mean states of some rows (rows, size): of bits that are drawn, their probability."""
        out = np.empty((len(rows), self.layer.size))
        levels = self if self.bits in (None, "threshold") else replace(self, bits="mean")
        levels.states(rows, out, _no_bits, 0)
        return out

    # --- missing values -----------------------------------------------------------------------------------

    def observed(self, rows: Array) -> Known | None:
        """Which entries of some rows are observed, (rows, size), or None where the column lacks none at all.

        The K entries of a one-hot site are observed together.
        """
        return self._by_entry(self.known(rows, self.values[rows])) if self.missing else None

    def known(self, rows: Any, values: Array) -> Known:
        """Which stored values are there, given those of some rows, of their shape."""
        known = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
        if self.mask is not None:
            known &= self.mask[rows]
        if self.layer.support == "one_hot" and not self.labels:
            sites = known.reshape(len(known), -1, self.layer.states).all(axis=-1)
            known = np.repeat(sites, self.layer.states, axis=1)
        return known

    def _by_entry(self, known: Known) -> Known:
        return np.repeat(known, self.layer.states, axis=1) if self.labels else known


def _no_bits(levels: Array, key: int, out: Array) -> None:
    raise AssertionError("expected values draw no bits")


def _one_hot(labels: Array, states: int, out: Array) -> None:
    out[:] = 0
    sites = out.reshape(*labels.shape, states)
    np.put_along_axis(sites, labels.astype(np.int64)[..., None], 1, axis=-1)


def check_column(
    layer: ArtifactLayer,
    values: Any,
    place: str,
    *,
    scale: float = 1.0,
    bits: Bits | None = None,
    threshold: float = 0.5,
    mask: Any = None,
    length: float | Array | None = None,
    missing: bool = False,
) -> Column:
    """The values of a layer, of a fitting shape and inside its support.

    Args:
        layer: the layer.
        values: an array, a masked array of NumPy's (True where a value is missing), or a sparse array.
        place: where they are from, for messages.
        scale: the factor that makes states of them.
        bits: how levels become states.
        threshold: of `bits = threshold`.
        mask: 0 where a value is missing: of the values' shape, one a case, or one a site. NaN is missing too.
        length: of documents of which some counts are missing: a number, or one a case.
        missing: whether values may be missing at all.

    Raises:
        Error: a wrong shape, no rows, values that are no numbers, missing (where they may not be) or infinite, grey
            levels in a layer of bits without `bits`, a label out of range, counts that are not whole, an empty
            document, any value outside the layer's support (it names the first one); a mask of another shape; a length
            that is not stated where it is needed, or too small.
    """
    masks = [] if mask is None else [np.asarray(mask)]
    if isinstance(values, np.ma.MaskedArray):
        masks, values = [*masks, ~np.ma.getmaskarray(values)], values.data
    values = from_scipy(values, place) if is_scipy_sparse(values) else values
    values = values if isinstance(values, SparseRows) else np.asarray(values)
    if values.dtype.kind not in "biuf":
        raise Error(f"{place}: the values are of type {values.dtype}, not numbers; save them as integers or floats")
    shaped, labels = _reshaped(layer, values, place)
    if bits is not None and len(layer.values) != 2:
        raise Error(
            f"{place}: `bits` makes states of units that have two, and {layer.name} is {layer.unit}; leave it out"
        )
    column = Column(layer, shaped, labels, scale, bits, threshold, place)
    for stated in masks:
        whole = shaped_mask(layer, stated, tuple(values.shape), shaped.shape, place)
        column = replace(column, mask=whole if column.mask is None else column.mask & whole)
    return _looked_through(column, length, missing)


def _looked_through(column: Column, length: float | Array | None, missing: bool) -> Column:
    """The column with all that is known once every value has been looked at."""
    digest = hashlib.sha256(f"{column.values.dtype.str}{column.values.shape}".encode())
    lengths = Lengths(column.rows) if column.layer.support == "counts" else None
    lacks = False
    for rows, chunk in chunks_of(column.values):
        digest.update(np.ascontiguousarray(chunk).data)
        known = column.known(rows, chunk)
        if known.all():
            verify_values(column, chunk, rows.start, None)
        else:
            lacks = True
            _verify_may_lack(column, chunk, rows.start, known, missing)
            verify_values(column, chunk, rows.start, known)
        if lengths is not None:
            lengths.note(rows, np.where(known, chunk, 0) * column.scale, known)
    for extra in (column.mask, length):
        if extra is not None:
            digest.update(np.ascontiguousarray(extra).data)
    column = replace(column, digest=digest.hexdigest(), missing=lacks)
    if lengths is not None:
        lengths.verify_words(column.place)
    if not lacks:
        return column
    if lengths is not None:
        known_lengths, assumed = document_lengths(lengths, length, column.layer.name, column.place)
        column = replace(column, lengths=known_lengths, assumed=assumed)
    return replace(column, fill=filling(replace(column, fill=np.zeros(column.layer.size))))


def _verify_may_lack(column: Column, chunk: Array, start: int, known: Known, missing: bool) -> None:
    if missing and column.layer.role != "given":
        return
    where, value = first_bad(column, ~known, chunk, start)
    what = f"is {value}" if np.isnan(value) else "is missing"
    if column.layer.role == "given":
        why = f"{column.layer.name} is given: what a model is conditional on has no distribution to fill it in from"
        raise Error(f"{column.place}: {where} {what}, and {why}; fill in such values, or leave out these cases")
    raise Error(
        f"{column.place}: {where} {what}; missing values are not taken here: leave out such cases, or fill them in "
        "with `pgmc impute`"
    )


def _reshaped(layer: ArtifactLayer, values: Array | SparseRows, place: str) -> tuple[Array | SparseRows, bool]:
    """The values as (rows, size), or as (rows, sites) of labels; and whether they are labels."""
    sites = layer.dims[:-1] if layer.support == "one_hot" else layer.dims
    if values.ndim == 0:
        raise Error(f"{place}: the file holds one number, not rows of values for {layer.name}")
    rows, rest = values.shape[0], values.shape[1:]
    if rows == 0:
        raise Error(f"{place}: there are no rows; name data with at least one case")
    flat = len(layer.dims) == 1 and math.prod(rest) == layer.size  # images for a layer without axes
    if rest in (layer.dims, (layer.size,)) or flat:
        return (values if isinstance(values, SparseRows) else values.reshape(rows, layer.size)), False
    one_site = sites == () and rest == (1,)
    if (
        not isinstance(values, SparseRows)
        and layer.support == "one_hot"
        and (rest in (sites, (math.prod(sites),)) or one_site)
    ):
        return values.reshape(rows, math.prod(sites)), True
    wanted = ["(" + ", ".join(map(str, ("cases", *layer.dims))) + ")"]
    if len(layer.dims) > 1:
        wanted.append(f"(cases, {layer.size})")
    if layer.support == "one_hot":
        wanted.append("(" + ", ".join(map(str, ("cases", *sites))) + ("," if not sites else "") + ") with labels")
    mend = "give the layer the size of the data, or name other data"
    if values.ndim == 2 and rows == layer.size:
        mend = "this looks transposed: cases are rows, so save its transpose"
    raise Error(
        f"{place}: the values have shape {values.shape}, but layer {layer.name} takes {' or '.join(wanted)}; {mend}"
    )
