"""What is asked of parameters besides the likelihood: few and short weights, and sparse activity.

Sources: Hinton (2010), "A practical guide to training restricted Boltzmann machines", section 11; Lee, Ekanadham and
Ng (2008); Srebro and Shraibman (2005) for limits on norms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.recipe import Sparsity
from pgmdsl.runtime.statistics import Statistics

Array = NDArray[Any]


def shrink(w: Array, amount: Array) -> Array:
    """Each weight nearer to 0 by an amount, and 0 once it is there: the proximal step of amount * |w|."""
    return np.asarray(np.sign(w) * np.maximum(np.abs(w) - amount, 0), w.dtype)


def limit_norms(w: Array, axis: int, most: float, *, symmetric: bool) -> Array:
    """The weights with each unit's vector of them no longer than `most`.

    Args:
        w: the weight, one axis a layer.
        axis: that of the units whose incoming weights count: the layer that is later in the file.
        most: the largest Euclidean norm.
        symmetric: entry i, k belongs to both units, and is multiplied by the smaller of their factors.
    """
    others = tuple(i for i in range(w.ndim) if i != axis)
    norm = np.sqrt(np.square(w, dtype=np.float64).sum(axis=others, keepdims=True))
    factor = np.minimum(1, most / np.maximum(norm, np.finfo(np.float64).tiny))
    if symmetric:
        factor = np.minimum(factor, factor.T)
    return np.asarray(w * factor, w.dtype)


def incoming_axis(layers: tuple[str, ...], order: tuple[str, ...]) -> int:
    """Which axis of a weight is the layer that comes last in the file."""
    return max(range(len(layers)), key=lambda i: order.index(layers[i]))


def add_sparsity(
    machine: Machine,
    sparsity: Sparsity,
    sparse: tuple[str, ...],
    means: Mapping[str, Array],
    statistics: Statistics,
    mass: float,
) -> None:
    """Pull the field of each hidden unit by strength * (target - its mean statistic in the positive phase).

    For a binary unit that is the derivative, with respect to its field, of -strength times the cross-entropy of the
    target and its activity. It reaches the bias, and each weight of a pair by the mean statistic of the unit at the
    other end, as a change of the field itself would.

    Args:
        machine: what is trained.
        sparsity: target and strength.
        sparse: the hidden layers.
        means: mean statistics of this batch. They serve as they are: the pull is linear in them, so that their noise
            averages out, where running means would lag behind the units and make these swing.
        statistics: changed in place.
        mass: what the gradient of this batch is multiplied by.
    """
    for name in sparse:
        pull = (mass * sparsity.strength * (sparsity.target - means[name])).astype(machine.dtype)
        lengths = sum(float(means[n].sum()) for n in machine.artifact.layers[name].counted if n in means)
        statistics.delta[name] += pull * machine.dtype.type(lengths or 1.0)
        for edge in machine.edges:
            gradient = statistics.gradient.get(edge.weight)
            if gradient is None or len(edge.layers) != 2:
                continue
            first, second = edge.layers
            if second == name:
                gradient += np.outer(means[first], pull)
            if first == name:
                gradient += np.outer(pull, means[second])
