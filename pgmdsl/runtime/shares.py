"""Which rows are trained on: case weights, and the shares of the rows that are held out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import ArtifactLayer
from pgmdsl.compiler.model import DataSpec
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.columns import Column
from pgmdsl.runtime.random import permutation, stream_key
from pgmdsl.runtime.readers import read_array
from pgmdsl.runtime.sources import Given, absolute, column_of, without_rows

_SPLIT = 20090416  # seed of the order by which fractions are split off: the same for every run


def case_weights(
    given: Given | None, spec: DataSpec | None, rows: int, base: Path
) -> tuple[NDArray[np.float64] | None, dict[str, str]]:
    """The weight of each row, and its digest by place; None where all weigh 1.

    Args:
        given: an array or a path, in place of the block's.
        spec: the file's `data weights` block, where its rows are used.
        rows: how many there are.
        base: the folder of the model file.

    Raises:
        Error: weights that are no numbers, as many as there are rows, finite and not negative, or that are all 0.
    """
    if isinstance(given, str | Path):
        values, place = read_array(absolute(given), base, "case weights"), f"{given} (case weights)"
    elif given is not None:
        values, place = np.asarray(given), "the case weights given"
    elif spec is not None and spec.file is not None:
        values, place = read_array(spec.file, base, "case weights"), f"{spec.file} (case weights)"
    else:
        return None, {}
    if values.dtype.kind not in "biuf":
        raise Error(f"{place}: the weights are of type {values.dtype}, not numbers; save them as floats")
    if values.shape not in ((rows,), (rows, 1)):
        raise Error(
            f"{place}: the weights have shape {values.shape}, but there are {rows} cases; give one weight a case"
        )
    weights = values.reshape(rows).astype(np.float64)
    bad = ~np.isfinite(weights) | (weights < 0)
    if bad.any():
        row = int(np.argmax(bad))
        raise Error(f"{place}: the weight of row {row} (from 0) is {weights[row]}; weights are finite and not negative")
    if not weights.any():
        raise Error(f"{place}: every weight is 0, so there is nothing to train on; give some case a positive weight")
    return weights, {place: hashlib.sha256(weights.tobytes()).hexdigest()}


def share_of(
    which: str,
    given: Mapping[str, Given] | float | str | Path | None,
    specs: Mapping[str, DataSpec],
    layers: Mapping[str, ArtifactLayer],
    base: Path,
) -> float | dict[str, Column] | None:
    """A share of the rows, or columns of their own, or None.

    Args:
        which: `valid` or `test`.
        given: in place of what the data blocks say.
        specs: the data blocks by layer.
        layers: all layers that take data.
        base: the folder of the model file.

    Raises:
        Error: no share, blocks that disagree, or data that is not there for every layer.
    """
    if isinstance(given, int | float):
        return _fraction(which, float(given))
    if isinstance(given, str | Path):
        if len(layers) > 1:
            raise Error(f"one file is given for {which}, but {len(layers)} layers take data; name one for each layer")
        given = dict.fromkeys(layers, given)
    if given is not None:
        missing = [name for name in layers if name not in given]
        if missing:
            raise Error(
                f"{which} data lacks the {layers[missing[0]].role} layer {missing[0]}; give it for every layer that "
                "takes data"
            )
        return {n: column_of(layer, given[n], without_rows(specs.get(n)), base) for n, layer in layers.items()}
    stated = {n: value for n in layers if n in specs and (value := getattr(specs[n], which)) is not None}
    fractions = {float(v) for v in stated.values() if not isinstance(v, str)}
    files = {n: v for n, v in stated.items() if isinstance(v, str)}
    if not stated:
        return None
    if len(fractions) == 1 and not files:
        return _fraction(which, fractions.pop())
    if fractions or len(files) < len(layers):
        raise Error(
            f"the data blocks disagree about {which}: state one share of the rows, or a file for each layer "
            f"({', '.join(layers)})"
        )
    own = {n: replace(specs[n], file=file) for n, file in files.items()}
    return {n: column_of(layers[n], None, without_rows(spec), base) for n, spec in own.items()}


def _fraction(which: str, value: float) -> float | None:
    if not 0 <= value < 1:
        raise Error(f"{which} = {value:g} is no share of the rows; it lies between 0 and 1, or names a file")
    return value or None


def split_rows(
    rows: int, weights: NDArray[np.float64] | None, shares: Mapping[str, float]
) -> dict[str, NDArray[np.int64]]:
    """Row numbers of each part: shares by a fixed random order, the rest to train on, without rows of weight 0."""
    order = permutation(stream_key(_SPLIT), rows)
    parts, start = {}, 0
    for name, share in shares.items():
        count = max(1, round(share * rows))
        parts[name] = np.sort(order[start : start + count])
        start += count
    rest = np.sort(order[start:])
    parts["train"] = rest if weights is None else rest[weights[rest] > 0]
    if len(parts["train"]) == 0:
        taken = [f"{name} = {share:g}" for name, share in shares.items()] + ["weights of 0"] * (weights is not None)
        raise Error(
            f"of {rows} row{'s' * (rows != 1)} nothing is left to train on after {' and '.join(taken)}; give more "
            "rows, or hold out less"
        )
    return parts
