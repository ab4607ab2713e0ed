"""Layers that are summed out, of which some entries may be observed ("held").

A held unit is put at the field 0, and what it then adds to the log-partition function is taken off again; a word with
held counts gets the field SHUT, so that the latent words of a document are spread over the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import ArtifactLayer
from pgmdsl.runtime.machine import Machine

Array = NDArray[Any]
Mask = NDArray[np.bool_]
Doubles = NDArray[np.float64]

SHUT = -1e30


class Latent:
    """A layer's latent units: their log-partition functions and means, given their coupling field."""

    def __init__(self, machine: Machine, layer: str, missing: Mask | None, words: Doubles | None) -> None:
        """Of one layer.

        Args:
            machine: The model with its parameters.
            layer: Its name.
            missing: Which units are latent, (size,) or (cases, size); None for all.
            words: The latent words of each document, (1,) or (cases,), of a count layer; else None.
        """
        self.machine, self.layer, self.missing = machine, machine.artifact.layers[layer], missing
        self.trials = () if words is None else (np.ascontiguousarray(words, np.float64),)
        self._taken_off: Doubles | float = 0.0
        if missing is not None and words is None:
            self._taken_off = _at_zero(machine, self.layer, ~missing)

    def fields(self, field: Array, own: Array) -> tuple[Array, Array]:
        """Coupling and own fields as the kernels are to have them."""
        if self.missing is None:
            return field, own
        shut = 0 if not self.trials else SHUT
        dtype = self.machine.dtype
        return (
            np.ascontiguousarray(np.where(self.missing, field, 0), dtype),
            np.ascontiguousarray(np.where(self.missing, own, shut), dtype),
        )

    def add_log_partition(self, field: Array, own: Array, out: Doubles) -> None:
        """Add A(own + field) of the latent units to `out` (cases,)."""
        kernel = self.machine.kernels.log_partition[self.layer.name]
        kernel(self.machine.p, *self.fields(field, own), 1.0, out, *self.trials)
        out -= self._taken_off

    def means(self, field: Array, own: Array, known: Array | None) -> Array:
        """The mean statistics of the latent units at own + field, and of held ones what is `known`, (cases, size)."""
        out = np.empty_like(field)
        kernel = self.machine.kernels.mean[self.layer.name]
        kernel(self.machine.p, *self.fields(field, own), 1.0, out, *self.trials)
        return out if self.missing is None or known is None else np.where(self.missing, out, 0) + known


def _at_zero(machine: Machine, layer: ArtifactLayer, units: Mask) -> Doubles | float:
    """The sum of A(0) over these units: one number for a mask (size,), else one a row."""
    if units.ndim == 1:
        return _sum_at_zero(machine, layer, units)
    sites = units[:, :: layer.states] if layer.support == "one_hot" else units
    width = layer.states if layer.support == "one_hot" else 1
    each = np.empty(sites.shape[1])
    for site in range(len(each)) if layer.parameters else range(1):
        chosen = np.zeros(layer.size, np.bool_)
        chosen[site * width : (site + 1) * width] = True
        each[site] = _sum_at_zero(machine, layer, chosen)
    if not layer.parameters:
        each[:] = each[0]
    return np.asarray(sites @ each)


def _sum_at_zero(machine: Machine, layer: ArtifactLayer, units: Mask) -> float:
    """The log-partition functions of some units without a field, as a layer of these units alone."""
    p: Mapping[str, Array] = machine.p | {n: machine.p[n][units] for n in layer.parameters.values()}
    out, zero = np.zeros(1), np.zeros((1, int(units.sum())), machine.dtype)
    machine.kernels.log_partition[layer.name](p, zero, zero[0], 1.0, out)
    return float(out[0])
