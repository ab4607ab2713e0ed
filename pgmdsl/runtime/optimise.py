"""Gradient ascent in centred coordinates for all parameters: weights, biases, and what unit types have of their own.

A step along the gradient in (weights, centred biases, logarithms of positive own parameters) is an ascent direction of
the same likelihood, for any offsets. With G, d and g the gradient of weights, own fields and own parameters,

    velocity(W) = momentum velocity(W) + rate (G - mu_a d_b' - d_a mu_b' - decay W),     W += velocity(W)
    velocity(o) = momentum velocity(o) + rate d_a,          o_a += velocity(o) - scale_a sum_b velocity(W) mu_b
    velocity(t) = momentum velocity(t) + rate T g / I,      T *= exp(velocity(t))      for a positive T, such as sigma

Each parameter moves in units in which one rate suits all: see `pace`. Own parameters move by at most `LARGEST_STEP`.

Source: Melchior, Fischer and Wiskott (2016), "How to center deep Boltzmann machines"; Montavon and Müller (2012).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pgmdsl.runtime.centring import Coordinates
from pgmdsl.runtime.kernels import Kernels
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.pace import Pace
from pgmdsl.runtime.penalties import incoming_axis, limit_norms, shrink
from pgmdsl.runtime.recipe import Ascent
from pgmdsl.runtime.statistics import Statistics

Array = NDArray[Any]
AVERAGE_EVERY = 10  # steps between updates of the average, which are weighted to make up for it
LARGEST_STEP = 0.1  # of the logarithm of a positive own parameter, and of any other own parameter


@dataclass(frozen=True)
class Rates:
    """The values of a step's schedules; `max_norm` and `clip` are infinite where there is no limit."""

    rate: float
    momentum: float
    decay: float
    l1: float = 0.0
    max_norm: float = np.inf
    clip: float = np.inf


# What is remembered of each parameter.
KEPT = {"sgd": ("velocity",), "adam": ("first", "second"), "rmsprop": ("second",)}


class Rule:
    """How a gradient becomes a step: gradient ascent with momentum, Adam, or RMSProp. `state` is all it remembers."""

    def __init__(self, ascent: Ascent, kernels: Kernels, like: Mapping[str, Array]) -> None:
        """At rest, for parameters of these shapes."""
        self.ascent, self.kernels = ascent, kernels
        kept = KEPT[ascent.kind]
        self.state = {f"{what}/{n}": np.zeros_like(x) for what in kept for n, x in like.items()}
        self._of = {n: {what: _matrix(self.state[f"{what}/{n}"]) for what in kept} for n in like}

    def step(self, name: str, gradient: Array, rate: float, momentum: float, steps: int) -> Array:
        """The step of one parameter, in a new array; `steps` counts from 1."""
        out = np.zeros_like(gradient)
        to, by = _matrix(out), _matrix(gradient)
        ascent, state = self.ascent, self._of[name]
        match ascent.kind:
            case "sgd":
                self.kernels.momentum_step(to, state["velocity"], by, rate, momentum, 0.0)
            case "adam":
                keep = ascent.keep_first, ascent.keep_second
                self.kernels.adam_step(to, state["first"], state["second"], by, rate, *keep, ascent.tiny, steps)
            case "rmsprop":
                self.kernels.rmsprop_step(to, state["second"], by, rate, ascent.keep_second, ascent.tiny)
        return out


def _matrix(x: Array) -> Array:
    """A view with at most two axes, which is what the kernels take."""
    return x.reshape(len(x), -1) if x.ndim > 2 else x


class Optimiser:
    """What a machine's trained parameters carry from step to step.

    Attributes:
        statistics: where the gradient is to be put before a step.
        coordinates: the offsets, in which steps are taken.
        rule: how a gradient becomes a step.
        pace: what steps are divided by.
        trained: the names of all parameters that are trained in this machine.
    """

    def __init__(
        self,
        machine: Machine,
        trained: Collection[str],
        ascent: Ascent,
        *,
        standardise: bool = False,
        masks: Mapping[str, Array] | None = None,
    ) -> None:
        """Start at rest, with offsets of 0."""
        self.machine = machine
        self.statistics = Statistics(machine, trained)
        self.biases: dict[str, list[str]] = {}
        for name in machine.layers:
            bias = machine.artifact.layers[name].bias
            if bias in trained and bias is not None:
                self.biases.setdefault(bias, []).append(name)
        self.weights, self.own = tuple(self.statistics.gradient), self.statistics.own
        self.trained = (*self.weights, *self.biases, *self.own)
        self.coordinates = Coordinates(machine, self.biases)
        self.rule = Rule(ascent, machine.kernels, {n: machine.p[n] for n in self.trained})
        self.pace = Pace(machine, self.coordinates, self.statistics, standardise=standardise)
        self._masks = {w: m.reshape(machine.p[w].shape) for w, m in (masks or {}).items() if w in self.weights}
        self._shift = {n: np.zeros_like(d) for n, d in self.statistics.delta.items()}
        self._nothing = {n: np.zeros_like(d) for n, d in self.statistics.delta.items()}

    # --- a step -------------------------------------------------------------------------------------------

    def step(self, rates: Rates, steps: int) -> dict[str, Array]:
        """One step along the statistics, the machine's own fields following; `steps` counts from 1.

        Returns by layer what its statistic's offsets are multiplied by as own parameters move, where they do.
        """
        for shift in self._shift.values():
            shift[:] = 0
        units = {bias: np.sqrt(self.pace.of_bias(bias)) for bias in self.biases}
        raw, absorbed = self._bias_gradients(units)
        own = self._own_gradients(absorbed)
        fused = [w for w in self.weights if self._fuses(w, rates)]
        direct = {w: self._weight_gradient(w, absorbed, rates) for w in self.weights if w not in fused}
        if np.isfinite(rates.clip):
            _clip([*direct.values(), *raw.values(), *own.values()], rates.clip)
        for weight in fused:
            self._step_fused(weight, absorbed, rates)
        for weight, gradient in direct.items():
            self._step_weight(weight, gradient, rates, steps)
        for bias, gradient in raw.items():
            step = self.rule.step(bias, gradient, rates.rate, rates.momentum, steps)
            self.machine.p[bias][:] += step / units[bias] - self.coordinates.share_of(bias, self._shift)
        moved = self._step_own(own, rates, steps)
        self.machine.refresh()
        return moved

    def _bias_gradients(self, units: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        """By bias, its gradient in the units it moves in; by layer, what of d its bias accounts for."""
        raw: dict[str, Array] = {}
        delta, factor = self.statistics.delta, self.coordinates.factor
        absorbed = dict(self._nothing)
        for bias, layers in self.biases.items():
            gradient = reduce(np.add, [factor[n] * delta[n] for n in layers])
            raw[bias] = (gradient / units[bias]).astype(self.machine.dtype)
            for name in layers:
                absorbed[name] = (gradient / (factor[name] * len(layers))).astype(self.machine.dtype, copy=False)
        return raw, absorbed

    def _own_gradients(self, absorbed: Mapping[str, Array]) -> dict[str, Array]:
        """By own parameter, its gradient in the units it moves in."""
        out = {}
        for name, gradient in self.statistics.slope.items():
            if self.machine.artifact.parameters[name].positive:
                gradient = gradient * self.machine.p[name]
            for layer, _ in self.own[name]:
                if self.machine.artifact.layers[layer].sigma == name:
                    gradient = gradient + self.coordinates.slope_through_offsets(layer, absorbed)
            out[name] = (gradient / np.sqrt(self.pace.information[name])).astype(self.machine.dtype)
        return out

    # --- weights ------------------------------------------------------------------------------------------

    def _fuses(self, weight: str, rates: Rates) -> bool:
        """Whether the fused kernel takes this weight's step: one pass over it instead of several."""
        plain = self.rule.ascent.kind == "sgd" and not self.pace.standardise and weight not in self._masks
        limits = weight in self.machine.artifact.nonpositive or self._limit("l1", weight, rates)
        limits = limits or min(self._limit("max_norm", weight, rates), rates.clip) < np.inf
        single = sum(e.weight == weight for e in self.machine.edges) == 1
        return plain and not limits and single and weight in self.coordinates.uses

    def _limit(self, what: Literal["decay", "l1", "max_norm"], weight: str, rates: Rates) -> float:
        """A penalty of a weight: its own where it states one, else the phase's."""
        own = getattr(self.machine.artifact.parameters[weight], what)
        return float(getattr(rates, what) if own is None else own)

    def _step_fused(self, weight: str, absorbed: Mapping[str, Array], rates: Rates) -> None:
        ((a, b),) = self.coordinates.uses[weight]
        self.machine.kernels.centred_step(
            self.machine.p[weight],
            self.rule.state[f"velocity/{weight}"],
            self.statistics.gradient[weight],
            self.coordinates.seen(b, a),
            self.coordinates.seen(a, b),
            absorbed[a],
            absorbed[b],
            float(rates.rate / self.pace.of_weight(weight).item()),
            rates.momentum,
            self._limit("decay", weight, rates),
            self._shift[a],
            self._shift[b],
        )

    def _weight_gradient(self, weight: str, absorbed: Mapping[str, Array], rates: Rates) -> Array:
        """The gradient of a weight in centred coordinates, less its decay, in the units that it moves in."""
        gradient = self.statistics.gradient[weight].copy()
        self.coordinates.take_off(weight, gradient, absorbed)
        gradient -= self.machine.dtype.type(self._limit("decay", weight, rates)) * self.machine.p[weight]
        gradient /= np.sqrt(self.pace.of_weight(weight)).astype(self.machine.dtype)
        return gradient

    def _step_weight(self, weight: str, gradient: Array, rates: Rates, steps: int) -> None:
        """A step with all that may be asked of a weight; what it shifts is that of its actual change."""
        parameter, w = self.machine.artifact.parameters[weight], self.machine.p[weight]
        if weight in self._masks:
            gradient *= self._masks[weight]
        pace = self.pace.of_weight(weight).astype(self.machine.dtype)
        new = w + self.rule.step(weight, gradient, rates.rate, rates.momentum, steps) / np.sqrt(pace)
        l1, most = self._limit("l1", weight, rates), self._limit("max_norm", weight, rates)
        if l1:  # momentum carries each gradient on to 1 / (1 - momentum) of itself, and l1 is to be its equal
            new = shrink(new, l1 * rates.rate / ((1 - rates.momentum) * pace))
        if np.isfinite(most):
            axis = incoming_axis(parameter.layers, tuple(self.machine.artifact.layers))
            new = limit_norms(new, axis, most, symmetric=parameter.symmetric)
        if weight in self.machine.artifact.nonpositive:
            new = np.minimum(new, 0)
        if parameter.symmetric:  # vectorised sums may differ in their last bits between an entry and its mirror image
            new = (new + new.T) / 2
        self.coordinates.add_shift(weight, new - w, self._shift)
        w[...] = new

    # --- own parameters -----------------------------------------------------------------------------------

    def _step_own(self, gradients: Mapping[str, Array], rates: Rates, steps: int) -> dict[str, Array]:
        """Move own parameters, and the biases so that centred ones stay; returns the change of offsets."""
        if not gradients:
            return {}
        before = self.coordinates.shares()
        for name, gradient in gradients.items():
            positive = self.machine.artifact.parameters[name].positive
            unit = np.sqrt(self.pace.information[name]).astype(self.machine.dtype)
            step = self.rule.step(name, gradient, rates.rate, rates.momentum, steps)
            np.clip(step, -LARGEST_STEP * unit, LARGEST_STEP * unit, out=step)
            if self.rule.ascent.kind == "sgd":  # so that it does not go on from a velocity that it did not have
                self.rule.state[f"velocity/{name}"][:] = step
            value = self.machine.p[name]
            value[:] = value * np.exp(step / unit) if positive else value + step / unit
        moved = self.coordinates.rescale()
        self.pace.rescale(moved)
        after = self.coordinates.shares() if moved else before
        for bias, share in before.items():
            self.machine.p[bias][:] += share - after[bias]
        return moved


def _clip(gradients: list[Array], most: float) -> None:
    """Shorten gradients, in place, so that they are no longer than this together."""
    norm = float(np.sqrt(sum(np.square(g, dtype=np.float64).sum() for g in gradients)))
    if norm > most:
        for gradient in gradients:
            gradient *= gradient.dtype.type(most / norm)


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
                new = self.machine.p[name]
                self.machine.kernels.average_step(_matrix(value), _matrix(new), float(weight))
