"""What the steps of each parameter are divided by, so that one rate suits all units and all scales of data.

Gradient ascent is stable while rate times the curvature is below 2, and the curvature of the log-likelihood in a hidden
unit's weights is its variance times that of the data along their strongest direction, the largest eigenvalue of the
covariance of a layer's statistic. For binary data it is rarely above 10 (5 for MNIST), and rates are what they are
elsewhere; steps of layers of unbounded units, documents and many trials, where it may be anything, are divided by a
tenth of it. So are steps of biases by a tenth of the mean square of the lengths that multiply them; and by the square
of what scales their field (1/sigma), and own parameters by their Fisher information. In standardised coordinates,
(s - mu) / tau, steps are divided by the variance of each unit instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.runtime.centring import Coordinates
from pgmdsl.runtime.machine import Held, Machine, State
from pgmdsl.runtime.random import stream_key, uniforms
from pgmdsl.runtime.statistics import Statistics

Array = NDArray[Any]
LARGE = 10.0  # the largest eigenvalue of a covariance at which a layer's steps are what the rate says
ITERATIONS = 30
LEAST_VARIANCE = 0.01  # of a unit in standardised coordinates, relative to its layer's mean


class Pace:
    """The divisors of a machine's steps.

    Attributes:
        standardise: whether coordinates are standardised.
        variance: by layer, of each unit's statistic, (size,): its share of the variance along the strongest direction,
            where that can be large, else 0; or all of its variance in standardised coordinates.
        exposure: by layer, (1,): the mean square of the lengths its bias is multiplied by, over `LARGE`, at least 1.
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
        self._known: dict[str, Array] = {}

    def arrays(self) -> dict[str, Array]:
        """All that is carried from step to step."""
        parts = {"variance": self.variance, "exposure": self.exposure, "information": self.information}
        return {f"{what}/{n}": x for what, values in parts.items() for n, x in values.items()}

    def forget(self) -> None:
        """Work out divisors anew when they are next asked for, as what they are made of has changed."""
        self._known.clear()

    # --- measured -----------------------------------------------------------------------------------------

    def is_measured(self, name: str) -> bool:
        """Whether the variance of an observed layer has to be measured: its units can have large statistics."""
        layer = self.machine.artifact.layers[name]
        bounded = layer.support == "one_hot" or (layer.support == "finite" and np.ptp(layer.levels) <= 2)
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
            square = principal(np.sqrt(weight) * (x - centre))
            if self.standardise:
                square = (weight * np.square(x - centre)).sum(axis=0) / mass
            self.variance[name][:] = square
        for name in self.machine.layers:
            counted = [s[n].sum(axis=1) for n in self.machine.artifact.layers[name].counted if n in s]
            if counted:
                self.exposure[name][:] = max(1.0, float(share @ np.square(np.asarray(sum(counted)))) / LARGE)
        self.forget()

    def follow(self, name: str, variance: Array, rate: float) -> None:
        """Let the variance of a layer's units go so far towards this one, (size,)."""
        self.variance[name] += (variance - self.variance[name]) * rate
        self.forget()

    def rescale(self, moved: Mapping[str, Array]) -> None:
        """The variances of statistics that have been multiplied by these factors, with what scales their fields."""
        for name, factor in moved.items():
            self.variance[name] *= np.square(factor)
        if moved:
            self.forget()

    # --- divisors -----------------------------------------------------------------------------------------

    def of_layer(self, name: str) -> Array:
        """The divisor of a layer's steps, (1,); or of each unit's, (size,)."""
        variance = self.variance.get(name)
        if variance is None:
            return np.ones(1)  # a tied weight may name layers of another machine
        if self.standardise:
            return np.asarray(np.maximum(variance, max(LEAST_VARIANCE * variance.mean(), np.finfo(np.float32).tiny)))
        return np.array([max(1.0, variance.sum() / LARGE)])

    def of_weight(self, weight: str) -> Array:
        """Of the weight's shape, or broadcast to it."""
        if weight not in self._known:
            layers, out = self.machine.artifact.parameters[weight].layers, np.ones(())
            for i, name in enumerate(layers):
                out = out * self.of_layer(name).reshape([-1 if j == i else 1 for j in range(len(layers))])
            self._known[weight] = out
        return self._known[weight]

    def of_bias(self, bias: str) -> Array:
        """(size,): also over the squares of what scales its field, the mean over the layers that share it."""
        if bias not in self._known:
            factor, layers = self.coordinates.factor, self.coordinates.biases[bias]
            total = sum(np.square(factor[n]) * self.exposure[n] * self.of_layer(n) for n in layers)
            self._known[bias] = np.asarray(total / len(layers))
        return self._known[bias]


def principal(x: Array) -> Array:
    """The largest eigenvalue of x'x, from below, times the squares of its eigenvector's entries, (columns,).

    By power iteration; the sum is the eigenvalue, the square of the largest singular value of x.
    """
    direction = uniforms(stream_key(0, "power iteration"), x.shape[1]).astype(x.dtype)
    for _ in range(ITERATIONS):
        length = np.linalg.norm(direction)
        if length == 0:
            break
        direction = x.T @ (x @ (direction / length))
    largest = max(float(np.linalg.norm(direction)), float(np.finfo(np.float64).tiny))
    return np.asarray(np.square(direction, dtype=np.float64) / largest)
