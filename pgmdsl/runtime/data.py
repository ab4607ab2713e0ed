"""Cases for training and evaluation: found, checked, split, and turned into statistics a batch at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Artifact, ArtifactLayer
from pgmdsl.compiler.model import DataSpec
from pgmdsl.grammar.diagnostics import Error, suggest
from pgmdsl.runtime.columns import CHUNK, Column, check_column
from pgmdsl.runtime.random import permutation, stream_key
from pgmdsl.runtime.readers import read_array, split_file

Array = NDArray[Any]
Given = Any  # an array of states, a path (with :key), or a DataSpec
Moments = tuple[NDArray[np.float64], NDArray[np.float64]]
_SPLIT = 20090416  # seed of the order by which fractions are split off: the same for every run


class BitSource(Protocol):
    """What is needed of the kernels to draw bits."""

    @property
    def draw_bits(self) -> Any:
        """The kernel of that name."""


@dataclass(frozen=True)
class Data:
    """Some cases of all observed layers.

    Attributes:
        columns: by layer, the stored values of all cases, of which these are a part.
        rows: the cases' row numbers in the columns, in order.
        weights: (cases,) float64 case weights, or None when all are 1.
    """

    columns: Mapping[str, Column]
    rows: NDArray[np.int64]
    weights: NDArray[np.float64] | None
    _moments: dict[str, Moments] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def cases(self) -> int:
        """How many cases there are."""
        return len(self.rows)

    def states(
        self, layer: str, cases: Array, out: Array, kernels: BitSource, seed: int, words: tuple[int | str, ...] | None
    ) -> None:
        """The states of some cases (numbered from 0 here) into `out` (len(cases), size).

        Bits that are drawn anew are a function of the seed, the layer, `words` and the position in `cases`; with
        `words` None (evaluation), and for `bits = sample`, of the seed, the layer and the row alone.
        """
        column = self.columns[layer]
        fixed = words is None or column.bits == "sample"
        key = stream_key(seed, "bits", layer, *(() if fixed or words is None else words))
        column.states(self.rows[cases], out, kernels.draw_bits, int(key), fixed=fixed)

    def drawn(self) -> Data:
        """The same cases, with levels that are trained on as they are (`bits = mean`) drawn once by seed instead.

        Figures are of these: at levels between two states a model has no probability.
        """
        if all(column.bits != "mean" for column in self.columns.values()):
            return self
        columns = {n: replace(c, bits="sample") if c.bits == "mean" else c for n, c in self.columns.items()}
        return replace(self, columns=columns)

    def chunks(self) -> Iterator[Array]:
        """The case numbers, a few thousand at a time."""
        for start in range(0, self.cases, CHUNK):
            yield np.arange(start, min(start + CHUNK, self.cases))

    def weight(self, cases: Array) -> NDArray[np.float64]:
        """The weights of some cases: ones when there are none."""
        return np.ones(len(cases)) if self.weights is None else self.weights[cases]

    def moments(self, layer: str) -> Moments:
        """Weighted mean and variance of a layer's expected states, each (size,), in float64; computed once."""
        if layer not in self._moments:
            self._moments[layer] = self._measure(layer)
        return self._moments[layer]

    def _measure(self, layer: str) -> Moments:
        column = self.columns[layer]
        total, mean = 0.0, np.zeros(column.layer.size)
        square = np.zeros(column.layer.size)
        for cases in self.chunks():  # Chan, Golub and LeVeque (1983), eq. 2.1: merged without cancellation
            states, weight = column.expected(self.rows[cases]), self.weight(cases)
            mass = float(weight.sum())
            if mass == 0:
                continue
            here = weight @ states / mass
            square += weight @ (states - here) ** 2 + (here - mean) ** 2 * (total * mass / (total + mass))
            mean += (here - mean) * (mass / (total + mass))
            total += mass
        return mean, square / total


@dataclass(frozen=True)
class Splits:
    """Cases to train on, to watch during training, and for the figures at the end."""

    train: Data
    valid: Data | None
    test: Data | None
    digest: Mapping[str, str]  # SHA-256 by file or array: by them a resumed run knows its data again


def open_data(
    artifact: Artifact,
    given: Mapping[str, Given] | None = None,
    *,
    valid: Mapping[str, Given] | float | str | Path | None = None,
    test: Mapping[str, Given] | float | str | Path | None = None,
    weights: Given | None = None,
    base: Path,
) -> Splits:
    """Every visible layer's cases, as the model file says where nothing else is given.

    Args:
        artifact: the model.
        given: by layer, in place of the data block's file: an array (cases, *dims) of states, or of levels in [0, 1]
            where the block states `bits` (`scale` does not apply to it); a path, to which the block's `scale` and
            `bits` apply; or a whole `DataSpec`.
        valid: in place of the block's `valid`: a share of the rows, a file, or arrays and files by layer.
        test: the same for `test`.
        weights: case weights (cases,) of the training rows, before shares are split off. Without it those of the
            file, where at least one layer's rows are the file's own; other cases weigh 1.
        base: the folder of the model file, to which its paths are relative.

    Raises:
        Error: data that is missing, unreadable, of the wrong shape or outside a layer's support, layers with different
            numbers of rows, unusable weights, or a share that leaves nothing.
    """
    layers = _visible(artifact, given or {})
    specs = {spec.layer: spec for spec in artifact.data}
    given = dict(given or {})
    columns = {name: _column(layer, given.get(name), specs.get(name), base) for name, layer in layers.items()}
    rows = _same_rows(columns)
    own = specs.get("weights") if given.keys() < layers.keys() else None  # the file's weights go with the file's rows
    weight, digests = _weights(weights, own, rows, base)
    apart = {
        "valid": _share("valid", valid, specs, layers, base),
        "test": _share("test", test, specs, layers, base),
    }
    parts = _split(rows, weight, {k: v for k, v in apart.items() if isinstance(v, float)})
    data = {k: Data(columns, part, None if weight is None else weight[part]) for k, part in parts.items()}
    digests |= {column.place: column.digest for column in columns.values()}
    for name, share in apart.items():
        if isinstance(share, dict):
            data[name] = Data(share, np.arange(_same_rows(share)), None)
            digests |= {f"{column.place}, for {name}": column.digest for column in share.values()}
    return Splits(data["train"], data.get("valid"), data.get("test"), digests)


def open_cases(artifact: Artifact, given: Mapping[str, Given], base: Path) -> Data:
    """Cases of the visible layers that are given, each of weight 1; the file's own data is left alone.

    Args:
        artifact: the model.
        given: by layer, as for `open_data`; one layer at least.
        base: the folder of the model file.

    Raises:
        Error: as `open_data`.
    """
    layers = _visible(artifact, given)
    specs = {spec.layer: spec for spec in artifact.data}
    columns = {n: _column(layer, given[n], specs.get(n), base) for n, layer in layers.items() if n in given}
    return Data(columns, np.arange(_same_rows(columns)), None)


def _visible(artifact: Artifact, given: Mapping[str, Given]) -> dict[str, ArtifactLayer]:
    """The visible layers. Raises `Error` where data is given for another."""
    layers = {name: layer for name, layer in artifact.layers.items() if layer.role == "visible"}
    for name in given:
        if name not in layers:
            hidden = " (it is hidden)" if name in artifact.layers else ""
            hint = suggest(name, list(layers)) or f"the visible layers are {', '.join(layers)}"
            raise Error(f"data is given for {name}, which is no visible layer{hidden}; {hint}")
    return layers


def peek_shape(spec: DataSpec, base: Path) -> tuple[int, ...]:
    """The shape of one case of a layer's data, by which a size without a default is found.

    Raises:
        Error: the file is missing or unreadable.
    """
    if spec.file is None:
        raise Error(f"no file is named for the data of {spec.layer}; write data {spec.layer} {{ file = ... }}")
    return tuple(int(n) for n in read_array(spec.file, base, f"data for layer {spec.layer}").shape[1:])


def _column(layer: ArtifactLayer, given: Given | None, spec: DataSpec | None, base: Path) -> Column:
    if isinstance(given, str | Path):
        spec, given = replace(spec or DataSpec(layer.name, None), file=_absolute(given)), None
    if isinstance(given, DataSpec):
        spec, given = given, None
    spec = spec or DataSpec(layer.name, None)
    if given is not None:
        place = f"the array given for layer {layer.name}"
        return check_column(layer, np.asarray(given), place, bits=spec.bits, threshold=spec.threshold)
    if spec.file is None:
        raise Error(
            f'there is no data for the visible layer {layer.name}: write data {layer.name} {{ file = "..." }} in the '
            f"model file, or give it with --data {layer.name}=PATH"
        )
    return _from_file(layer, spec.file, spec, base)


def _from_file(layer: ArtifactLayer, file: str, spec: DataSpec, base: Path) -> Column:
    what = f"data for layer {layer.name}"
    values = read_array(file, base, what)
    place = f"{file} ({what})"
    return check_column(layer, values, place, scale=spec.scale, bits=spec.bits, threshold=spec.threshold)


def _absolute(path: str | Path) -> str:
    name, key = split_file(str(path))
    return str(Path(name).expanduser().absolute()) + (f":{key}" if key else "")


def _same_rows(columns: Mapping[str, Column]) -> int:
    first = next(iter(columns.values()))
    for column in columns.values():
        if column.rows != first.rows:
            raise Error(
                f"{column.place} has {column.rows} rows, but {first.place} has {first.rows}; rows of several layers "
                "belong together by position, so their numbers must be equal"
            )
    return first.rows


def _weights(
    given: Given | None, spec: DataSpec | None, rows: int, base: Path
) -> tuple[NDArray[np.float64] | None, dict[str, str]]:
    if isinstance(given, str | Path):
        values, place = read_array(_absolute(given), base, "case weights"), f"{given} (case weights)"
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


def _share(
    which: str,
    given: Mapping[str, Given] | float | str | Path | None,
    specs: Mapping[str, DataSpec],
    layers: Mapping[str, ArtifactLayer],
    base: Path,
) -> float | dict[str, Column] | None:
    """A share of the rows, or columns of their own, or None."""
    if isinstance(given, int | float):
        return _fraction(which, float(given))
    if isinstance(given, str | Path):
        if len(layers) > 1:
            raise Error(
                f"one file is given for {which}, but there are {len(layers)} visible layers; name one for each layer"
            )
        given = dict.fromkeys(layers, given)
    if given is not None:
        missing = [name for name in layers if name not in given]
        if missing:
            raise Error(f"{which} data lacks the visible layer {missing[0]}; give it for every visible layer")
        return {name: _column(layer, given[name], specs.get(name), base) for name, layer in layers.items()}
    stated = {n: value for n in layers if n in specs and (value := getattr(specs[n], which)) is not None}
    fractions = {float(v) for v in stated.values() if not isinstance(v, str)}
    files = {n: v for n, v in stated.items() if isinstance(v, str)}
    if not stated:
        return None
    if len(fractions) == 1 and not files:
        return _fraction(which, fractions.pop())
    if fractions or len(files) < len(layers):
        raise Error(
            f"the data blocks disagree about {which}: state one share of the rows, or a file for each visible layer "
            f"({', '.join(layers)})"
        )
    return {n: _from_file(layers[n], file, specs[n], base) for n, file in files.items()}


def _fraction(which: str, value: float) -> float | None:
    if not 0 <= value < 1:
        raise Error(f"{which} = {value:g} is no share of the rows; it lies between 0 and 1, or names a file")
    return value or None


def _split(rows: int, weights: NDArray[np.float64] | None, shares: Mapping[str, float]) -> dict[str, NDArray[np.int64]]:
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
