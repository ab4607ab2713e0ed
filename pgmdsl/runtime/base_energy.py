"""Base energies of layers in which entries may be missing, and states that there are whatever the unit type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import ArtifactLayer

if TYPE_CHECKING:
    from pgmdsl.runtime.machine import Machine

Array = NDArray[Any]


def any_state(layer: ArtifactLayer) -> Array:
    """The statistics of some state of a layer's units, (size,), from which units that share an edge can be drawn."""
    s = np.full(layer.size, layer.levels[0] if layer.support == "finite" else layer.lower or 0.0)
    if layer.support == "one_hot":
        s[:: layer.states] = 1
    return s


def add_base_energy(machine: Machine, layer: str, x: Array, missing: NDArray[np.bool_] | None, out: Array) -> None:
    """Add the base energies and constants of a layer's units to `out` (cases,); of missing ones the constants.

    What stands in a missing entry of `x` (cases, size), 0, need not be the statistic of any state, and its energy need
    not be 0.
    """
    if missing is not None and machine.artifact.layers[layer].sigma is None:
        rest = any_state(machine.artifact.layers[layer])
        x = np.where(missing, rest, x).astype(machine.dtype)
        out -= missing @ _resting_energies(machine, layer, rest)
    machine.kernels.base_energy[layer](machine.p, np.ascontiguousarray(x), out)


def _resting_energies(machine: Machine, layer: str, rest: Array) -> NDArray[np.float64]:
    """The base energy of each unit at its entry of `rest`, (size,), of a layer whose units have no constants."""
    own = machine.artifact.layers[layer].parameters.values()
    each = np.zeros((len(rest), 1))
    for unit in range(len(rest)):
        p = {**machine.p, **{n: machine.p[n][unit : unit + 1] for n in own}}
        machine.kernels.base_energy[layer](p, rest[None, unit : unit + 1].astype(machine.dtype), each[unit])
    return each[:, 0]
