"""What the steps of each parameter are divided by, so that one rate suits all units and all scales of data.

A step of gradient ascent is stable while rate times the curvature is below 2, and the curvature of the log-likelihood
is the variance of what the parameter multiplies. Binary, spin and softmax sites and standardised Gaussian units vary by
at most 1; the steps of a layer whose sites vary more are divided by their variance. Biases are further divided by what
scales their field (1/sigma, lengths), own parameters by their Fisher information. In standardised coordinates,
(s - mu) / tau, steps are divided by the variance of each unit instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.runtime.centring import Coordinates
from pgmdsl.runtime.machine import Held, Machine, State
from pgmdsl.runtime.statistics import Statistics

Array = NDArray[Any]
LEAST_VARIANCE = 0.01  # of a unit in standardised coordinates, relative to its layer's mean


class Pace:
    """The divisors of a machine's steps.

    Attributes:
        standardise: whether coordinates are standardised.
        variance: by layer, of each unit's statistic, (size,): measured where it can be more than 1, else 0.
        exposure: by layer, the mean square of what its bias is multiplied by, (1,).
        information: by own parameter, its Fisher information in the coordinate it moves in (see `Statistics.measure`).
    """

    def __init__(
        self, machine: Machine, coordinates: Coordinates, statistics: Statistics, *, standardise: bool
    ) -> None:
        """Nothing is measured yet."""
        self.machine, self.coordinates, self.standardise = machine, coordinates, standardise
        layers = machine.artifact.layers
        self.variance = {n: np.zeros(layers[n].size) for n in machine.layers}
        self.exposure = {n: np.ones(1) for n in machine.layers}
        self.information = {p: x.copy() for p, x in statistics.information.items()}

    def arrays(self) -> dict[str, Array]:
        """All that is carried from step to step."""
        parts = {"variance": self.variance, "exposure": self.exposure, "information": self.information}
        return {f"{what}/{n}": x for what, values in parts.items() for n, x in values.items()}

    # --- measured -----------------------------------------------------------------------------------------

    def is_measured(self, name: str) -> bool:
        """Whether the variance of an observed layer has to be measured, as its sites may vary by more than 1."""
        layer = self.machine.artifact.layers[name]
        bounded = layer.support == "one_hot" or (layer.support == "finite" and np.ptp(layer.values) <= 2)
        return self.standardise or not bounded

    def measure(self, s: State, share: Array, held: Held) -> None:
        """Take variances and mean squares of lengths from some cases, (cases, size) by layer.

        Documents are taken about the mean frequencies at each length, as lengths are not modelled.
        """
        for name, x in s.items():
            weight = share[:, None] * np.broadcast_to(held.get(name, np.ones((), bool)), x.shape)
            mass = np.maximum(weight.sum(axis=0), np.finfo(np.float64).tiny)
            centre = (weight * x).sum(axis=0) / mass
            if self.machine.artifact.layers[name].support == "counts":
                centre = x.sum(axis=1, keepdims=True) * (centre / max(centre.sum(), 1.0))
            self.variance[name][:] = (weight * np.square(x - centre)).sum(axis=0) / mass
        for name in self.machine.layers:
            counted = [s[n].sum(axis=1) for n in self.machine.artifact.layers[name].counted if n in s]
            if counted:
                self.exposure[name][:] = float(share @ np.square(np.asarray(sum(counted))))

    def rescale(self, moved: Mapping[str, Array]) -> None:
        """The variances of statistics that have been multiplied by these factors."""
        for name, factor in moved.items():
            self.variance[name] *= np.square(factor)

    # --- divisors -----------------------------------------------------------------------------------------

    def of_layer(self, name: str) -> Array:
        """(1,): the variance of a site, summed over its states and averaged over sites, at least 1; or of each unit."""
        variance = self.variance.get(name)
        if variance is None:
            return np.ones(1)  # a tied weight may name layers of another machine
        if self.standardise:
            return np.asarray(np.maximum(variance, max(LEAST_VARIANCE * variance.mean(), np.finfo(np.float32).tiny)))
        layer = self.machine.artifact.layers[name]
        return np.array([max(1.0, variance.sum() / (layer.size // layer.states))])

    def of_weight(self, weight: str) -> Array:
        """Of the weight's shape, or broadcast to it."""
        layers, out = self.machine.artifact.parameters[weight].layers, np.ones(())
        for i, name in enumerate(layers):
            out = out * self.of_layer(name).reshape([-1 if j == i else 1 for j in range(len(layers))])
        return out

    def of_bias(self, bias: str) -> Array:
        """(size,): also over the squares of what scales its field, the mean over the layers that share it."""
        factor, layers = self.coordinates.factor, self.coordinates.biases[bias]
        return np.asarray(np.mean([np.square(factor[n]) * self.exposure[n] * self.of_layer(n) for n in layers], axis=0))
