"""What values a layer's units may have: stored values checked against it, means rounded into it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import ArtifactLayer
from pgmdsl.grammar.diagnostics import Error

if TYPE_CHECKING:
    from pgmdsl.runtime.columns import Column

Array = NDArray[Any]
Known = NDArray[np.bool_]
FEW = 8  # values of a unit that are compared one by one
SHOWN = 6  # of them that a message lists


def verify_values(column: Column, chunk: Array, start: int, known: Known | None) -> None:
    """Raise `Error` where a stored value does not fit the layer.

    Args:
        column: the values' layer, scale, bits and place.
        chunk: some rows as stored, (rows, size), or (rows, sites) of labels.
        start: the number of the first one.
        known: of the chunk's shape, False where a value is missing, or None.
    """
    if chunk.dtype.kind == "f":
        infinite = _among(~np.isfinite(chunk), known)
        if infinite.any():
            where, value = first_bad(column, infinite, chunk, start)
            raise Error(f"{column.place}: {where} is {value}; mend it")
    if column.labels:
        _verify_labels(column, chunk, start, known)
    elif column.bits is not None:
        _verify_levels(column, chunk, start, known)
    else:
        match column.layer.support:
            case "one_hot":
                _verify_one_hot(column, chunk, start, known)
            case "finite":
                _verify_finite(column, chunk, start, known)
            case "counts" | "naturals":
                _verify_whole(column, chunk, start, known)
            case "real":
                _verify_above(column, chunk, start, known)


def first_bad(column: Column, bad: Known, chunk: Array, start: int) -> tuple[str, float]:
    """Where the first bad value of a chunk stands, in words, and what it is."""
    row, unit = np.unravel_index(int(np.argmax(bad)), bad.shape)
    dims = column.layer.dims[:-1] if column.labels else column.layer.dims
    return f"row {start + int(row)} (from 0)" + unit_at(dims, int(unit)), float(chunk[row, unit])


def unit_at(dims: tuple[int, ...], unit: int) -> str:
    """A unit's place in its layer: `, unit [1, 2],`; nothing where the layer has one unit without axes."""
    at = ", ".join(str(int(i)) for i in np.unravel_index(unit, dims)) if dims else ""
    return f", unit [{at}]," if at else ""


def middle(layer: ArtifactLayer, others: NDArray[np.float64]) -> float:
    """The mean state of a unit that was never observed: the middle of its support, or the mean of the other units'.

    Args:
        layer: its layer.
        others: the mean states of the units that were observed, which serve where the support has no middle.
    """
    match layer.support:
        case "finite":
            return sum(layer.values) / len(layer.values)
        case "one_hot":
            return 1 / layer.states
        case "counts" | "naturals":
            return float(others.mean()) if len(others) else 1.0
        case "real":
            return float(others.mean()) if len(others) else (0.0 if layer.lower is None else layer.lower + 1)


def rounded(layer: ArtifactLayer, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """The state (size,) nearest to a mean state; of a count layer the mean itself, as its counts depend on a length."""
    match layer.support:
        case "finite":
            values = np.array(layer.values)
            return np.asarray(values[np.abs(mean[:, None] - values).argmin(axis=1)])
        case "one_hot":
            sites = mean.reshape(-1, layer.states)
            return np.asarray(np.eye(layer.states)[sites.argmax(axis=1)].reshape(-1))
        case "naturals":
            return np.rint(mean)
        case "counts" | "real":
            return mean


def _among(bad: Known, known: Known | None) -> Known:
    return bad if known is None else bad & known


def _verify_labels(column: Column, chunk: Array, start: int, known: Known | None) -> None:
    states = column.layer.states
    bad = (chunk < 0) | (chunk >= states)
    if chunk.dtype.kind == "f":
        bad |= chunk != np.floor(chunk)
    bad = _among(bad, known)
    if bad.any():
        where, value = first_bad(column, bad, chunk, start)
        if value != np.floor(value):
            raise Error(
                f"{column.place}: {where} is {value:g}, and {column.layer.name} has states 0 to {states - 1}: a label "
                "is a whole number; number the labels, or name a file of labels or of one-hot rows"
            )
        missing = "; a missing label is NaN, or 0 in a mask" if value < 0 else ""
        raise Error(
            f"{column.place}: {where} has the label {value:g}, and {column.layer.name} has states 0 to {states - 1}; "
            f"number the labels from 0, or give the layer more states{missing}"
        )


def _verify_one_hot(column: Column, chunk: Array, start: int, known: Known | None) -> None:
    ones = chunk * column.scale
    bad = _among((ones != 0) & (ones != 1), known)
    if not bad.any():
        counts = ones.reshape(len(chunk), -1, column.layer.states).sum(axis=-1)
        bad = _among(np.repeat(counts != 1, column.layer.states, axis=1), known)
    if bad.any():
        where, _ = first_bad(column, bad, chunk, start)
        raise Error(
            f"{column.place}: at {where} the values are not one-hot; {column.layer.name} is softmax and takes rows "
            f"with a single 1 among {column.layer.states}, or labels 0 to {column.layer.states - 1}"
        )


def _verify_levels(column: Column, chunk: Array, start: int, known: Known | None) -> None:
    levels = chunk * column.scale if known is None else np.where(known, chunk, 0) * column.scale
    if levels.min() >= -1e-6 and levels.max() <= 1 + 1e-6:
        return
    where, value = first_bad(column, (levels < -1e-6) | (levels > 1 + 1e-6), chunk, start)
    raise Error(
        f"{column.place}: {where} is {value:g}, times scale {value * column.scale:g}, and with `bits` the levels "
        f"must lie in [0, 1]; {_scale_hint(chunk, known)}"
    )


def _verify_finite(column: Column, chunk: Array, start: int, known: Known | None) -> None:
    states, values = chunk * column.scale if column.scale != 1 else chunk, column.layer.values
    if len(values) <= FEW:
        bad = np.ones(chunk.shape, bool)
        for value in values:
            bad &= states != value
    else:
        table = np.array(values, states.dtype if states.dtype.kind == "f" else np.float64)
        bad = table[np.searchsorted(table, states).clip(max=len(table) - 1)] != states
    bad = _among(bad, known)
    if not bad.any():
        return
    where, value = first_bad(column, bad, chunk, start)
    listed = [f"{v:g}" for v in values]
    allowed = ", ".join(listed if len(listed) <= SHOWN else [*listed[:2], "...", listed[-1]])
    raise Error(
        f"{column.place}: {where} is {value * column.scale:g}, and {column.layer.name} is {column.layer.unit}, with "
        f"states {allowed}; {_finite_mend(column, chunk, states, known)}"
    )


def _finite_mend(column: Column, chunk: Array, states: Array, known: Known | None) -> str:
    values, seen = column.layer.values, states if known is None else states[known]
    low, high = float(seen.min()), float(seen.max())
    if values == (0.0, 1.0) and low >= 0 and high <= 1:
        return "these look like grey levels: write `bits = resample` in its data block, to draw bits anew at each use"
    if values == (0.0, 1.0) and low >= 0:
        return f"if these are grey levels, {_scale_hint(chunk, known)} and `bits = resample` in its data block"
    if values == (-1.0, 1.0) and not np.any((seen != 0) & (seen != 1)):
        return "these look like bits: 2*x - 1 makes spins of them, or declare the layer binary"
    whole = low >= 0 and bool((seen == np.floor(seen)).all())
    if len(values) > 2 and values == tuple(range(len(values))) and whole:
        return f"the largest value is {high:g}: let the units' states go as far (trials = {high:g})"
    return "convert the values, or choose another unit type"


def _verify_whole(column: Column, chunk: Array, start: int, known: Known | None) -> None:
    states = chunk * column.scale if column.scale != 1 else chunk
    broken = states != np.floor(states) if states.dtype.kind == "f" else np.zeros(states.shape, bool)
    bad = _among(broken | (states < 0), known)
    if not bad.any():
        return
    where, value = first_bad(column, bad, states, start)
    layer = column.layer
    takes = f"how often each of {layer.states} words occurs" if layer.support == "counts" else "whole numbers from 0 on"
    if value < 0:
        mend = "a count is not negative: mend the data; a missing count is NaN, or 0 in a mask"
    elif layer.support == "counts":
        mend = "counts are whole numbers: give those of the documents, not frequencies or weights such as tf-idf"
    else:
        mend = "give the counts themselves, not rates or means of them, or choose a unit type of real states"
    raise Error(f"{column.place}: {where} is {value:g}, and {layer.name} is {layer.unit}, which takes {takes}; {mend}")


def _verify_above(column: Column, chunk: Array, start: int, known: Known | None) -> None:
    lower = column.layer.lower
    if lower is None:
        return
    states = chunk * column.scale if column.scale != 1 else chunk
    bad = _among(states < lower, known)
    if bad.any():
        where, value = first_bad(column, bad, states, start)
        raise Error(
            f"{column.place}: {where} is {value:g}, and {column.layer.name} is {column.layer.unit}, which takes values "
            f"from {lower:g} on; shift the data, or choose a unit type of all real states, such as gaussian"
        )


def _scale_hint(chunk: Array, known: Known | None) -> str:
    top = float(np.abs(chunk if known is None else chunk[known]).max())
    for step in (16, 255, 65535):
        if top <= step and chunk.dtype.kind in "iub":
            return f"write `scale = 1/{step}`"
    return f"write `scale = 1/{max(1, math.ceil(top))}`"
