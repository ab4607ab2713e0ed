"""Cases for training and evaluation: found, checked, split, and turned into statistics a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Artifact, ArtifactLayer
from pgmdsl.grammar.diagnostics import Error, suggest
from pgmdsl.runtime.columns import Column
from pgmdsl.runtime.masks import mask_digests
from pgmdsl.runtime.missing import verify_observed
from pgmdsl.runtime.random import stream_key
from pgmdsl.runtime.shares import case_weights, share_of, split_rows
from pgmdsl.runtime.sources import Given, Observed, column_of, peek_shape
from pgmdsl.runtime.sparse import rows_together
from pgmdsl.runtime.supports import middle

__all__ = ["Data", "Given", "Moments", "Observed", "Splits", "open_cases", "open_data", "peek_shape"]

Array = NDArray[Any]
Moments = tuple[NDArray[np.float64], NDArray[np.float64]]


class BitSource(Protocol):
    """What is needed of the kernels to draw bits."""

    @property
    def draw_bits(self) -> Any:
        """The kernel of that name."""


@dataclass(frozen=True)
class Data:
    """Some cases of all layers that take data: visible and given ones.

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

    @property
    def missing(self) -> bool:
        """Whether values are missing in any layer."""
        return any(column.missing for column in self.columns.values())

    def held(self, layer: str, cases: Array) -> NDArray[np.bool_] | None:
        """Which entries of a layer are observed in some cases, (len(cases), size); None where all of them are.

        The others are latent variables; the K entries of a one-hot site are observed together.
        """
        observed = self.columns[layer].observed(self.rows[cases])
        return None if observed is None or observed.all() else observed

    def states(
        self, layer: str, cases: Array, out: Array, kernels: BitSource, seed: int, words: tuple[int | str, ...] | None
    ) -> None:
        """The states of some cases (numbered from 0 here) into `out` (len(cases), size), missing ones filled in.

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
        together = rows_together(sum(column.layer.size for column in self.columns.values()))
        for start in range(0, self.cases, together):
            yield np.arange(start, min(start + together, self.cases))

    def weight(self, cases: Array) -> NDArray[np.float64]:
        """The weights of some cases: ones when there are none."""
        return np.ones(len(cases)) if self.weights is None else self.weights[cases]

    def moments(self, layer: str) -> Moments:
        """Weighted mean and variance of a layer's expected states, each (size,), in float64; computed once.

        Each unit's are of the cases in which it is observed. A unit that never is has the middle of its support as its
        mean (see `supports.middle`), and the mean variance of the others.
        """
        if layer not in self._moments:
            self._moments[layer] = self._measure(layer)
        return self._moments[layer]

    def _measure(self, layer: str) -> Moments:
        column = self.columns[layer]
        total, mean, square = (np.zeros(column.layer.size) for _ in range(3))
        for cases in self.chunks():  # Chan, Golub and LeVeque (1983), eq. 2.1: merged without cancellation
            states, weight = column.expected(self.rows[cases]), self.weight(cases)
            observed = column.observed(self.rows[cases])
            mass = np.full(len(mean), weight.sum()) if observed is None else weight @ observed
            if not mass.any():
                continue
            share = np.divide(mass, total + mass, out=np.zeros_like(mass), where=mass > 0)
            if observed is not None:
                states = np.where(observed, states, 0)
            here = np.divide(weight @ states, mass, out=mean.copy(), where=mass > 0)
            apart = states - here if observed is None else (states - here) * observed
            square += weight @ apart**2 + (here - mean) ** 2 * total * share
            mean += (here - mean) * share
            total += mass
        seen = total > 0
        variance = np.divide(square, total, out=np.zeros_like(square), where=seen)
        mean[~seen] = middle(column.layer, mean[seen])
        variance[~seen] = variance[seen].mean() if seen.any() else 1.0
        return mean, variance

    def mean_statistic(self, layer: str, statistic: Callable[[Array], Array]) -> NDArray[np.float64]:
        """The weighted mean of a layer's statistic, (size,), each unit's where it is observed.

        Args:
            layer: the layer.
            statistic: of states (rows, size); affine in the state, so that its mean follows from the mean state and
                from its values at two states.
        """
        mean, _ = self.moments(layer)
        values = self.columns[layer].layer.values
        low, high = (values[0], values[-1]) if values else (0.0, 1.0)
        first, last = np.asarray(statistic(np.outer((low, high), np.ones(len(mean)))), np.float64)
        return np.asarray(first + (mean - low) / (high - low) * (last - first))


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
    """The cases of every visible and given layer, as the model file says where nothing else is given.

    Args:
        artifact: the model.
        given: by layer, in place of the data block's file: an array (cases, *dims) of states, or of levels in [0, 1]
            where the block states `bits` (`scale` does not apply to it); a masked array of NumPy's or a sparse one of
            SciPy's; a path, to which the block's `scale` and `bits` apply; a whole `DataSpec`; or `Observed`, values
            with a mask or with the lengths of documents.
        valid: in place of the block's `valid`: a share of the rows, a file, or arrays and files by layer.
        test: the same for `test`.
        weights: case weights (cases,) of the training rows, before shares are split off. Without it those of the
            file, where at least one layer's rows are the file's own; other cases weigh 1.
        base: the folder of the model file, to which its paths are relative.

    Raises:
        Error: data that is missing, unreadable, of the wrong shape or outside a layer's support, layers with different
            numbers of rows, a layer of which nothing is observed, unusable weights, or a share that leaves nothing.
    """
    layers = _with_data(artifact, given or {})
    specs = {spec.layer: spec for spec in artifact.data}
    given = dict(given or {})
    columns = {name: column_of(layer, given.get(name), specs.get(name), base) for name, layer in layers.items()}
    rows = _same_rows(columns)
    own = specs.get("weights") if given.keys() < layers.keys() else None  # the file's weights go with the file's rows
    weight, digests = case_weights(weights, own, rows, base)
    apart = {
        "valid": share_of("valid", valid, specs, layers, base),
        "test": share_of("test", test, specs, layers, base),
    }
    parts = split_rows(rows, weight, {k: v for k, v in apart.items() if isinstance(v, float)})
    data = {k: Data(columns, part, None if weight is None else weight[part]) for k, part in parts.items()}
    verify_observed(data["train"])
    digests |= {column.place: column.digest for column in columns.values()} | mask_digests(artifact, base)
    for name, share in apart.items():
        if isinstance(share, dict):
            data[name] = Data(share, np.arange(_same_rows(share)), None)
            digests |= {f"{column.place}, for {name}": column.digest for column in share.values()}
    return Splits(data["train"], data.get("valid"), data.get("test"), digests)


def open_cases(artifact: Artifact, given: Mapping[str, Given], base: Path) -> Data:
    """Cases of the layers that are given, each of weight 1; the file's own data is left alone.

    Args:
        artifact: the model.
        given: by layer, as for `open_data`; one layer at least, and every given layer of the model.
        base: the folder of the model file.

    Raises:
        Error: as `open_data`; that nothing of a layer is observed is no mistake here.
    """
    layers = _with_data(artifact, given)
    for name, layer in layers.items():
        if layer.role == "given" and name not in given:
            raise Error(
                f"there are no values for the given layer {name}, on which everything else is conditional: give "
                f"--data {name}=PATH, or {{'{name}': array}}"
            )
    specs = {spec.layer: spec for spec in artifact.data}
    columns = {n: column_of(layer, given[n], specs.get(n), base) for n, layer in layers.items() if n in given}
    if not columns:
        raise Error(f"there are no cases: give values of one layer at least, of {', '.join(layers)}")
    return Data(columns, np.arange(_same_rows(columns)), None)


def _with_data(artifact: Artifact, given: Mapping[str, Given]) -> dict[str, ArtifactLayer]:
    """The layers that take data. Raises `Error` where data is given for another."""
    layers = {name: layer for name, layer in artifact.layers.items() if layer.role != "hidden"}
    for name in given:
        if name not in layers:
            hidden = " (it is hidden)" if name in artifact.layers else ""
            hint = suggest(name, list(layers)) or f"the layers that take data are {', '.join(layers)}"
            raise Error(f"data is given for {name}, which is no visible layer{hidden}; {hint}")
    return layers


def _same_rows(columns: Mapping[str, Column]) -> int:
    first = next(iter(columns.values()))
    for column in columns.values():
        if column.rows != first.rows:
            raise Error(
                f"{column.place} has {column.rows} rows, but {first.place} has {first.rows}; rows of several layers "
                "belong together by position, so their numbers must be equal"
            )
    return first.rows
