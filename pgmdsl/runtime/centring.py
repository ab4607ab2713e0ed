"""Centred coordinates: what each bias absorbs of what its layer hears from neighbours at their offsets.

With offsets mu, one vector a layer, a pair of layers has the energy -(s_a - mu_a)' W (s_b - mu_b) in centred
coordinates, and a lateral edge -1/2 (s - mu)' L (s - mu). Expanded, they are the model's own with the biases

    bias_a = centred bias_a - scale_a (sum over pairs W mu_b + L mu_a) / factor_a,         own field = bias * factor

which the likelihood's gradient follows by the chain rule, and which is converted exactly after each step. Where the
bias of a layer is multiplied by the length M of a neighbouring document, the words' offset is M pi, pi being their mean
frequencies: then the factor M cancels, and the bias absorbs W' pi. A bias that is absent, frozen or multiplied by
something else than the offset is cannot take its share, and drops out: every set of shares is a change of coordinates
of the same model. Multiplicative edges are not centred: their expansion has pairs that the model lacks.

Source: Melchior, Fischer and Wiskott (2016), "How to center deep Boltzmann machines"; lengths are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.runtime.machine import Machine

Array = NDArray[Any]
Vectors = Mapping[str, Array]


class Coordinates:
    """Offsets, and who absorbs them.

    Attributes:
        machine: the machine.
        biases: by trained bias, its layers in this machine.
        factor: by layer, its own field over its bias.
        uses: by weight with two axes, its edges in this machine.
    """

    def __init__(self, machine: Machine, biases: Mapping[str, list[str]]) -> None:
        """With offsets of 0, in which centred coordinates are the model's own."""
        self.machine, self.biases = machine, biases
        layers = machine.artifact.layers
        self.factor = {n: machine.kernels.own_factor[n](machine.p).copy() for n in machine.layers}
        self.uses: dict[str, list[tuple[str, str]]] = {}
        for edge in machine.edges:
            if len(edge.layers) == 2:
                self.uses.setdefault(edge.weight, []).append((edge.layers[0], edge.layers[1]))
        self._mean = {n: np.zeros(layers[n].size, machine.dtype) for n in machine.layers}
        self._frequency = {n: np.zeros_like(m) for n, m in self._mean.items() if layers[n].support == "counts"}
        self._nothing = {n: np.zeros_like(m) for n, m in self._mean.items()}
        able = {n for names in biases.values() for n in names}
        self._offset: dict[tuple[str, str], Array] = {}
        for here in machine.layers:
            counted = [n for n in layers[here].counted if n in machine.layers]
            for there in machine.layers:
                offset = self._mean[there] if not counted else self._frequency.get(there)
                takes = here in able and offset is not None and counted in ([], [there])
                self._offset[here, there] = offset if takes and offset is not None else self._nothing[there]

    def centre(self, means: Vectors) -> None:
        """Take the layers' mean statistics as offsets."""
        for name, mean in self._mean.items():
            mean[:] = means[name]
        for name, frequency in self._frequency.items():
            frequency[:] = means[name] / max(float(means[name].sum()), 1.0)

    def seen(self, here: str, there: str) -> Array:
        """The offset (size,) of `there` in what the bias of `here` absorbs; zeros where it absorbs nothing."""
        return self._offset[here, there]

    def take_off(self, weight: str, gradient: Array, absorbed: Vectors) -> None:
        """Turn the gradient of a weight into that in centred coordinates, in place.

        G - mu_a d_b' - d_a mu_b', d being what the biases account for of the gradient of the layers' own fields.
        """
        for a, b in self.uses.get(weight, ()):
            gradient -= np.outer(self.seen(b, a), absorbed[b])
            gradient -= np.outer(absorbed[a], self.seen(a, b))

    def add_shift(self, weight: str, change: Array, shift: Vectors) -> None:
        """Add to `shift`, by layer, what neighbours at their offsets send more through a weight that has changed."""
        for a, b in self.uses.get(weight, ()):
            shift[a][:] += change @ self.seen(a, b)
            if a != b:
                shift[b][:] += self.seen(b, a) @ change

    def shares(self) -> dict[str, Array]:
        """By trained bias, what it has absorbed: with it the centred bias is bias + share."""
        shift = {n: np.zeros_like(m) for n, m in self._mean.items()}
        for weight in self.uses:
            self.add_shift(weight, self.machine.p[weight], shift)
        return {bias: self.share_of(bias, shift) for bias in self.biases}

    def share_of(self, bias: str, shift: Vectors) -> Array:
        """A bias's share of what its layers hear: scale * shift / factor, the mean over these."""
        scale, layers = self.machine.scale, self.biases[bias]
        return np.asarray(sum(scale[n] * shift[n] / self.factor[n] for n in layers) / len(layers))

    def slope_through_offsets(self, layer: str, absorbed: Vectors) -> Array:
        """What the gradient of log sigma (size,) of a Gaussian layer gains in centred coordinates.

        The statistic is x / sigma, so that offsets of states that stay move as 1 / sigma: neighbours' biases follow as
        W' mu, and the layer's own, which absorbs sigma W mu_b.
        """
        back, here = np.zeros_like(self._mean[layer]), np.zeros_like(self._mean[layer])
        for weight, pairs in self.uses.items():
            w = self.machine.p[weight]
            for a, b in pairs:
                for one, other, sent in ((a, b, w), (b, a, w.T))[: 1 if a == b else 2]:
                    if one == layer:
                        here += sent @ self.seen(one, other)
                        if self.seen(other, one) is self._mean[one]:
                            back += sent @ absorbed[other]
        return np.asarray(self._mean[layer] * back - absorbed[layer] * here)

    def rescale(self) -> dict[str, Array]:
        """After own parameters have moved: the offsets of the same states; by layer, what they were multiplied by."""
        out = {}
        for name, before in self.factor.items():
            now = self.machine.kernels.own_factor[name](self.machine.p)
            if not np.array_equal(now, before):
                out[name] = now / before
                self._mean[name] *= out[name]
                before[:] = now
        return out
