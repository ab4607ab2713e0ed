"""Gradient ascent in centred coordinates, with momentum, decay, and an average of the parameters.

With offsets mu, one vector a layer, the centred model has the couplings sum (s_a - mu_a)' W (s_b - mu_b); its own
fields are o_a + scale_a sum_b W mu_b, o being those of the model itself. A step along the gradient in (W, centred own
fields) is, in the model's own parameters, with G = E_data[s_a s_b'] - E_model[s_a s_b'], d = E_data[s] - E_model[s],

    velocity(W) = momentum velocity(W) + rate (G - mu_a d_b' - d_a mu_b' - decay W),     W += velocity(W)
    velocity(o) = momentum velocity(o) + rate d_a,          o_a += velocity(o) - scale_a sum_b velocity(W) mu_b

which for any offsets is an ascent direction of the same likelihood. A layer whose bias is absent or frozen cannot take
its share of the shift, and drops out of both corrections. Biases move in units of their own field (b / sigma for a
Gaussian unit), so that training does not depend on the units in which data are measured.

Source: Melchior, Fischer and Wiskott (2016), "How to center deep Boltzmann machines"; Montavon and Müller (2012).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.runtime.machine import Machine

Array = NDArray[Any]
AVERAGE_EVERY = 10  # steps between updates of the average, which are weighted to make up for it


@dataclass(frozen=True)
class Rates:
    """The values of a step's schedules."""

    rate: float
    momentum: float
    decay: float


class Optimiser:
    """Velocities and offsets of a machine's trained parameters.

    Attributes:
        weights: the weights that are trained, each with its edges (a, b) in this machine.
        biases: the biases that are trained, each with its layers in this machine.
        gradient: for each trained weight, where G is to be put before a step.
        delta: for each layer, where d is to be put before a step.
        offsets: for each layer, mu; zeros without centring.
        velocity: by parameter.
    """

    def __init__(self, machine: Machine, trained: Collection[str]) -> None:
        """Start at rest, with offsets of 0."""
        self.machine = machine
        self.weights: dict[str, list[tuple[str, str]]] = {}
        for edge in machine.edges:
            if edge.weight in trained:
                first, second = edge.layers
                self.weights.setdefault(edge.weight, []).append((first, second))
        self.biases: dict[str, list[str]] = {}
        for name in machine.layers:
            bias = machine.artifact.layers[name].bias
            if bias in trained and bias is not None:
                self.biases.setdefault(bias, []).append(name)
        sizes = {n: machine.artifact.layers[n].size for n in machine.layers}
        self.gradient = {w: np.zeros_like(machine.p[w]) for w in self.weights}
        self.delta = {n: np.zeros(size, machine.dtype) for n, size in sizes.items()}
        self.offsets = {n: np.zeros(size, machine.dtype) for n, size in sizes.items()}
        self.velocity = {n: np.zeros_like(machine.p[n]) for n in (*self.weights, *self.biases)}
        self._shift = {n: np.zeros(size, machine.dtype) for n, size in sizes.items()}
        self._factor = {n: machine.kernels.own_factor[n](machine.p) for n in machine.layers}

    def step(self, rates: Rates) -> None:
        """One step along `gradient` and `delta`; the machine's own fields follow."""
        for shift in self._shift.values():
            shift[:] = 0
        raw, absorbed = self._bias_gradients()
        for weight, uses in self.weights.items():
            if len(uses) == 1:
                self._step_single(weight, *uses[0], absorbed, rates)
            else:
                self._step_shared(weight, uses, absorbed, rates)
        for bias, layers in self.biases.items():
            b, velocity = self.machine.p[bias], self.velocity[bias]
            self.machine.kernels.momentum_step(b, velocity, raw[bias], rates.rate, rates.momentum, 0.0)
            for name in layers:
                b -= self.machine.scale[name] * self._shift[name] / (self._factor[name] * len(layers))
        self.machine.refresh()

    def _bias_gradients(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """By bias, its gradient in units of its own field; by layer, what of d its bias accounts for."""
        raw: dict[str, Array] = {}
        absorbed = {n: np.zeros_like(d) for n, d in self.delta.items()}
        for bias, layers in self.biases.items():
            gradient = sum(self._factor[n] * self.delta[n] for n in layers)
            raw[bias] = np.ascontiguousarray(gradient / np.mean([self._factor[n] ** 2 for n in layers], axis=0))
            raw[bias] = raw[bias].astype(self.machine.dtype, copy=False)
            for name in layers:
                absorbed[name][:] = gradient / (self._factor[name] * len(layers))
        return raw, absorbed

    def _step_single(self, weight: str, a: str, b: str, absorbed: Mapping[str, Array], rates: Rates) -> None:
        self.machine.kernels.centred_step(
            self.machine.p[weight],
            self.velocity[weight],
            self.gradient[weight],
            self.offsets[a],
            self.offsets[b],
            absorbed[a],
            absorbed[b],
            rates.rate,
            rates.momentum,
            rates.decay,
            self._shift[a],
            self._shift[b],
        )

    def _step_shared(
        self, weight: str, uses: list[tuple[str, str]], absorbed: Mapping[str, Array], rates: Rates
    ) -> None:
        gradient, velocity = self.gradient[weight], self.velocity[weight]
        for a, b in uses:
            gradient -= np.outer(self.offsets[a], absorbed[b]) + np.outer(absorbed[a], self.offsets[b])
        self.machine.kernels.momentum_step(
            self.machine.p[weight], velocity, gradient, rates.rate, rates.momentum, rates.decay
        )
        for a, b in uses:
            self._shift[a] += velocity @ self.offsets[b]
            self._shift[b] += self.offsets[a] @ velocity


class Average:
    """The exponential average of parameters, sum over steps t of a^(now - t) theta_t, normalised."""

    def __init__(self, machine: Machine, names: Collection[str], keep: float) -> None:
        """`keep` is a, the share carried over at each step."""
        self.machine, self.keep = machine, keep
        self.values = {n: machine.p[n].copy() for n in names}

    def note(self, steps: int, last: bool) -> None:
        """Take in the parameters after so many steps, if it is time to.

        With d steps since the last time, the weight is (1 - a^d) / (1 - a^steps), the second factor making up for
        the average's start at nothing (Kingma and Ba 2015, section 3).
        """
        since = steps % AVERAGE_EVERY or AVERAGE_EVERY
        if since == AVERAGE_EVERY or last:
            weight = -np.expm1(since * np.log(self.keep)) / -np.expm1(steps * np.log(self.keep))
            for name, value in self.values.items():
                self.machine.kernels.average_step(value, self.machine.p[name], float(weight))
