"""One layer's values as they are stored, checked once, and turned into states a batch at a time."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import ArtifactLayer
from pgmdsl.grammar.diagnostics import Error

Array = NDArray[Any]
Bits = Literal["resample", "sample", "threshold", "mean"]
DrawBits = Callable[[Array, Any, Array], Any]
CHUNK = 4096  # rows looked at together when all are read
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
        digest: SHA-256 of the stored values, by which a resumed run knows its data again.
    """

    layer: ArtifactLayer
    values: Array
    labels: bool
    scale: float
    bits: Bits | None
    threshold: float
    place: str
    digest: str = field(default="", compare=False)

    @property
    def rows(self) -> int:
        """How many cases there are."""
        return int(self.values.shape[0])

    def states(self, rows: Array, out: Array, draw_bits: DrawBits, key: int, *, fixed: bool = False) -> None:
        """The states of some rows into `out` (rows, size); levels become bits as `bits` says.

        Args:
            rows: their numbers.
            out: (len(rows), size), C-contiguous, in the model's type.
            draw_bits: the kernel of that name.
            key: the counter base of the bits. With `fixed` or `bits = sample` a row's bits depend on the key and the
                row's number alone, otherwise on the key and the row's position in `rows`.
            fixed: evaluation: `resample` counts as `sample`.
        """
        if self.labels:
            _one_hot(self.values[rows], self.layer.states, out)
            return
        np.multiply(self.values[rows], out.dtype.type(self.scale), out=out, casting="unsafe")
        match self.bits:
            case None:
                return
            case "threshold":
                np.greater_equal(out, out.dtype.type(self.threshold), out=out, casting="unsafe")
            case "mean":
                np.clip(out, 0, 1, out=out)
            case "resample" if not fixed:
                draw_bits(out.copy(), np.uint64(key), out)
            case "resample" | "sample":
                levels = out.copy()
                for i, row in enumerate(rows):
                    at = (key + int(row) * self.layer.size) & _MASK
                    draw_bits(levels[i : i + 1], np.uint64(at), out[i : i + 1])
        if self.layer.values == (-1.0, 1.0):
            out *= 2
            out -= 1

    def expected(self, rows: Array) -> NDArray[np.float64]:
        """The mean states of some rows (rows, size): of bits that are drawn, their probability."""
        out = np.empty((len(rows), self.layer.size))
        levels = self if self.bits in (None, "threshold") else replace(self, bits="mean")
        levels.states(rows, out, _no_bits, 0)
        return out


def _no_bits(levels: Array, key: int, out: Array) -> None:
    raise AssertionError("expected values draw no bits")


def _one_hot(labels: Array, states: int, out: Array) -> None:
    out[:] = 0
    sites = out.reshape(*labels.shape, states)
    np.put_along_axis(sites, labels.astype(np.int64)[..., None], 1, axis=-1)


def check_column(
    layer: ArtifactLayer,
    values: Array,
    place: str,
    *,
    scale: float = 1.0,
    bits: Bits | None = None,
    threshold: float = 0.5,
) -> Column:
    """The values of a layer, of a fitting shape and inside its support.

    Raises:
        Error: a wrong shape, no rows, values that are no numbers, missing or infinite, grey levels in a layer of bits
            without `bits`, a label out of range, or any value outside the layer's support; it names the first one.
    """
    if values.dtype.kind not in "biuf":
        raise Error(f"{place}: the values are of type {values.dtype}, not numbers; save them as integers or floats")
    shaped, labels = _reshaped(layer, values, place)
    if bits is not None and layer.support != "finite":
        raise Error(
            f"{place}: `bits` makes states of units that have two, and {layer.name} is {layer.unit}; leave it out"
        )
    column = Column(layer, shaped, labels, scale, bits, threshold, place)
    digest = hashlib.sha256(f"{shaped.dtype.str}{shaped.shape}".encode())
    for start, chunk in _chunks(shaped):
        digest.update(np.ascontiguousarray(chunk).data)
        _check_chunk(column, chunk, start)
    return replace(column, digest=digest.hexdigest())


def _chunks(values: Array) -> Iterator[tuple[int, Array]]:
    for start in range(0, values.shape[0], CHUNK):
        yield start, values[start : start + CHUNK]


def _reshaped(layer: ArtifactLayer, values: Array, place: str) -> tuple[Array, bool]:
    sites = layer.dims[:-1] if layer.support == "one_hot" else layer.dims
    if values.ndim == 0:
        raise Error(f"{place}: the file holds one number, not rows of values for {layer.name}")
    rows, rest = values.shape[0], values.shape[1:]
    if rows == 0:
        raise Error(f"{place}: there are no rows; name data with at least one case")
    flat = len(layer.dims) == 1 and math.prod(rest) == layer.size  # images for a layer without axes
    if rest in (layer.dims, (layer.size,)) or flat:
        return values.reshape(rows, layer.size), False
    if layer.support == "one_hot" and (rest in (sites, (math.prod(sites),)) or (sites == () and rest == (1,))):
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


def _check_chunk(column: Column, chunk: Array, start: int) -> None:
    if chunk.dtype.kind == "f" and not np.isfinite(chunk).all():
        where, value = _first(column, chunk, start, ~np.isfinite(chunk))
        kind = (
            "missing values are not built yet: leave out such cases, or fill them in" if value != value else "mend it"
        )
        raise Error(f"{column.place}: {where} is {value}; {kind}")
    if column.labels:
        _check_labels(column, chunk, start)
    elif column.layer.support == "one_hot":
        _check_one_hot(column, chunk, start)
    elif column.bits is not None:
        _check_levels(column, chunk, start)
    elif column.layer.support == "finite":
        _check_finite(column, chunk, start)


def _first(column: Column, chunk: Array, start: int, bad: Array) -> tuple[str, float]:
    row, unit = np.unravel_index(int(np.argmax(bad)), bad.shape)
    dims = column.layer.dims[:-1] if column.labels else column.layer.dims
    at = ", ".join(str(int(i)) for i in np.unravel_index(unit, dims)) if dims else ""
    return f"row {start + row} (from 0)" + (f", unit [{at}]," if at else ""), float(chunk[row, unit])


def _check_labels(column: Column, chunk: Array, start: int) -> None:
    states = column.layer.states
    bad = (chunk < 0) | (chunk >= states)
    if chunk.dtype.kind == "f":
        bad |= chunk != np.floor(chunk)
    if bad.any():
        where, value = _first(column, chunk, start, bad)
        raise Error(
            f"{column.place}: {where} has the label {value:g}, and {column.layer.name} has states 0 to {states - 1}; "
            "number the labels from 0, or give the layer more states"
        )


def _check_one_hot(column: Column, chunk: Array, start: int) -> None:
    ones = chunk * column.scale
    bad = (ones != 0) & (ones != 1)
    if not bad.any():
        counts = ones.reshape(len(chunk), -1, column.layer.states).sum(axis=-1)
        bad = np.repeat(counts != 1, column.layer.states, axis=1)
    if bad.any():
        where, _ = _first(column, chunk, start, bad)
        raise Error(
            f"{column.place}: at {where} the values are not one-hot; {column.layer.name} is softmax and takes rows "
            f"with a single 1 among {column.layer.states}, or labels 0 to {column.layer.states - 1}"
        )


def _check_levels(column: Column, chunk: Array, start: int) -> None:
    low, high = float(chunk.min()) * column.scale, float(chunk.max()) * column.scale
    if min(low, high) < -1e-6 or max(low, high) > 1 + 1e-6:
        levels = chunk * column.scale
        where, value = _first(column, chunk, start, (levels < -1e-6) | (levels > 1 + 1e-6))
        raise Error(
            f"{column.place}: {where} is {value:g}, times scale {value * column.scale:g}, and with `bits` the levels "
            f"must lie in [0, 1]; {_scale_hint(chunk)}"
        )


def _check_finite(column: Column, chunk: Array, start: int) -> None:
    states = chunk * column.scale if column.scale != 1 else chunk
    bad = np.ones(chunk.shape, bool)
    for value in column.layer.values:
        bad &= states != value
    if not bad.any():
        return
    where, value = _first(column, chunk, start, bad)
    allowed = ", ".join(f"{v:g}" for v in column.layer.values)
    low, high = float(states.min()), float(states.max())
    if column.layer.values == (0.0, 1.0) and low >= 0 and high <= 1:
        mend = "these look like grey levels: write `bits = resample` in its data block, to draw bits anew at each use"
    elif column.layer.values == (0.0, 1.0) and low >= 0:
        mend = f"if these are grey levels, {_scale_hint(chunk)} and `bits = resample` in its data block"
    elif column.layer.values == (-1.0, 1.0) and not np.any((states != 0) & (states != 1)):
        mend = "these look like bits: 2*x - 1 makes spins of them, or declare the layer binary"
    else:
        mend = "convert the values, or choose another unit type"
    raise Error(
        f"{column.place}: {where} is {value * column.scale:g}, and {column.layer.name} is {column.layer.unit}, with "
        f"states {allowed}; {mend}"
    )


def _scale_hint(chunk: Array) -> str:
    top = float(np.abs(chunk).max())
    for known in (16, 255, 65535):
        if top <= known and chunk.dtype.kind in "iub":
            return f"write `scale = 1/{known}`"
    return f"write `scale = 1/{max(1, math.ceil(top))}`"
