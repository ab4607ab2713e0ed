"""The joint states of discrete layers, numbered from 0: how many there are, and those with some numbers.

Of a layer with missing entries only the missing ones vary, and the others are 0. A document's states are vectors of
counts; the number of orders of its words is their weight, so that sums are over ordered documents.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Artifact, ArtifactLayer

Array = NDArray[Any]
Mask = NDArray[np.bool_]
Doubles = NDArray[np.float64]

LARGEST_TABLE = 2**20  # vectors of counts that are listed


@dataclass(frozen=True)
class Free:
    """What varies: by layer with missing entries the mask (size,) of these, and by count layer the words to place.

    A layer that is not in `missing` varies as a whole. `words` is the length less the counts that are held.
    """

    missing: Mapping[str, Mask] = field(default_factory=dict)
    words: Mapping[str, int] = field(default_factory=dict)

    def units(self, layer: ArtifactLayer) -> int:
        """How many units of a layer vary."""
        return int(self.missing[layer.name].sum()) if layer.name in self.missing else layer.size


def count_states(layer: ArtifactLayer, free: Free | None = None) -> int | None:
    """The number of joint states of a layer's units that vary; None where they cannot be enumerated."""
    free = free or Free()
    units = free.units(layer)
    match layer.support:
        case "one_hot":
            return math.prod([layer.states] * (units // layer.states))
        case "finite":
            return math.prod([len(layer.values)] * units)
        case "counts" if layer.name in free.words:
            count = math.comb(free.words[layer.name] + units - 1, units - 1) if units else 1
            return count if count <= LARGEST_TABLE else None
        case _:
            return None


class States:
    """The joint states of some discrete layers, `count` of them."""

    def __init__(self, artifact: Artifact, names: tuple[str, ...], free: Free | None = None) -> None:
        """The layers' states together, the first layer's varying fastest."""
        self.free = free or Free()
        self.dtype = np.dtype(artifact.dtype)
        self.layers = [artifact.layers[n] for n in names]
        self.counts = [count_states(layer, self.free) or 1 for layer in self.layers]
        self.count = math.prod(self.counts)
        self._documents = {x.name: self._list_documents(x) for x in self.layers if x.support == "counts"}

    def _list_documents(self, layer: ArtifactLayer) -> tuple[Array, Doubles]:
        """Every vector of counts, (states, units that vary), and the log of the number of its words' orders."""
        units, words = self.free.units(layer), self.free.words[layer.name]
        rows = np.zeros((count_states(layer, self.free) or 1, units))
        for row, chosen in zip(rows, itertools.combinations_with_replacement(range(units), words), strict=False):
            np.add.at(row, list(chosen), 1)
        factorial = np.array([math.lgamma(n + 1) for n in range(words + 1)])
        return rows.astype(self.dtype), factorial[words] - factorial[rows.astype(np.int64)].sum(axis=1)

    def take(self, start: int, stop: int) -> tuple[dict[str, Array], Doubles]:
        """The states with these numbers: statistics (stop - start, size) by layer, and their log weights."""
        number = np.arange(start, stop, dtype=np.int64)
        weight = np.zeros(len(number))
        out: dict[str, Array] = {}
        for layer, count in zip(self.layers, self.counts, strict=True):
            chosen, number = number % count, number // count
            if layer.name in self._documents:
                rows, orders = self._documents[layer.name]
                s, weight = rows[chosen], weight + orders[chosen]
            else:
                s = self._units(layer, chosen)
            missing = self.free.missing.get(layer.name)
            if missing is not None:
                whole = np.zeros((len(s), layer.size), self.dtype)
                whole[:, missing] = s
                s = whole
            out[layer.name] = np.ascontiguousarray(s)
        return out, weight

    def _units(self, layer: ArtifactLayer, number: NDArray[np.int64]) -> Array:
        """The units that vary in the layer's states with these numbers, (states, units)."""
        units, rows = self.free.units(layer), np.arange(len(number))
        if layer.support == "one_hot":
            hot = np.zeros((len(number), units // layer.states, layer.states), self.dtype)
            for site in range(hot.shape[1]):
                hot[rows, site, number % layer.states] = 1
                number = number // layer.states
            return hot.reshape(len(hot), units)
        values = np.array(layer.levels, self.dtype)
        s = np.empty((len(number), units), self.dtype)
        for unit in range(units):
            s[:, unit] = values[number % len(values)]
            number = number // len(values)
        return s
