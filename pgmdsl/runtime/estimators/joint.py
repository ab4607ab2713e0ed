"""Gaussian layers that share edges, integrated together given all others.

In the space of statistics each unit alone has energy k s^2/2 - k m s + constant, so that with couplings C and fields g

    integral of exp(g's + 1/2 s'Cs - energies) = exp(1/2 f' P^-1 f - 1/2 log det P + constants),  f = g + k m, P = k - C

and s is normal with mean P^-1 f and covariance P^-1. The integral exists if and only if P is positive definite.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.estimators.latent import Latent
from pgmdsl.runtime.estimators.normalise import require_normalised
from pgmdsl.runtime.machine import Machine

Array = NDArray[Any]
Mask = NDArray[np.bool_]
Doubles = NDArray[np.float64]


class JointGaussian:
    """The joint distribution of the latent units of some Gaussian layers, up to their fields.

    Attributes:
        layers: Their names.
        places: By layer, which of its units are latent.
        covariance: Of all their latent units' statistics, in the layers' order.
        coupling: C, of the same shape.
    """

    def __init__(self, machine: Machine, layers: tuple[str, ...], missing: Mapping[str, Mask]) -> None:
        """Of the layers' units that are `missing`, or of all where a layer is not in it.

        Raises:
            Error: the precision is not positive definite.
        """
        self.machine, self.layers = machine, layers
        sizes = {n: machine.artifact.layers[n].size for n in layers}
        self.places = {n: np.flatnonzero(missing[n]) if n in missing else np.arange(sizes[n]) for n in layers}
        self._bounds = np.cumsum([0, *(len(x) for x in self.places.values())])
        stiffness, mean, self._constant = [], [], 0.0
        for name, places in self.places.items():
            zero = np.zeros((2, sizes[name]), machine.dtype)
            zero[1] = 1
            at = np.empty_like(zero)
            machine.kernels.mean[name](machine.p, zero, zero[0], 1.0, at)  # affine in the field: m + field / k
            low, high = at.astype(np.float64)[:, places]
            k, m = 1 / (high - low), low
            free = np.zeros(1)
            Latent(machine, name, missing.get(name), None).add_log_partition(zero[:1], zero[0], free)
            self._constant += float(free[0]) + 0.5 * float((np.log(k) - k * m**2).sum())
            stiffness.append(k)
            mean.append(m)
        self._shift = np.concatenate(stiffness) * np.concatenate(mean)
        self.coupling = self._couplings(sizes)
        precision = np.diag(np.concatenate(stiffness)) - self.coupling
        try:
            root = np.linalg.cholesky(precision)
        except np.linalg.LinAlgError:
            require_normalised(machine, frozenset(machine.layers) - frozenset(layers))
            raise Error(
                f"{machine.artifact.name}: the precision of {' and '.join(layers)} is singular to rounding: weaken "
                "their couplings, for example with decay"
            ) from None
        self._constant -= float(np.log(np.diag(root)).sum())
        inverse = np.linalg.inv(root)
        self.covariance: Doubles = inverse.T @ inverse

    def _couplings(self, sizes: Mapping[str, int]) -> Doubles:
        out = np.zeros((self._bounds[-1], self._bounds[-1]))
        for name, size in sizes.items():
            every = np.eye(size, dtype=self.machine.dtype)[self.places[name]]
            for other in self.layers:
                if len(every):
                    sent = self.machine.coupling(other, {name: every}, len(every))
                    out[self.part(name), self.part(other)] = sent[:, self.places[other]]
        return (out + out.T) / 2

    def part(self, layer: str) -> slice:
        """Where a layer's units are among all."""
        which = self.layers.index(layer)
        return slice(int(self._bounds[which]), int(self._bounds[which + 1]))

    def log_sum(self, fields: Mapping[str, Array]) -> Doubles:
        """Log of the integral, given each layer's total field from all that is known, (rows,)."""
        f = self._flat(fields)
        return np.asarray(0.5 * np.einsum("ci,ci->c", f @ self.covariance, f) + self._constant)

    def means(self, fields: Mapping[str, Array]) -> dict[str, Doubles]:
        """The mean statistics of the latent units, and 0 for the others, (rows, size) by layer."""
        mean = self._flat(fields) @ self.covariance
        out = {}
        for name in self.layers:
            out[name] = np.zeros((len(mean), self.machine.artifact.layers[name].size))
            out[name][:, self.places[name]] = mean[:, self.part(name)]
        return out

    def block(self, first: str, second: str) -> Doubles:
        """The covariance between two layers' units, with zeros where they are not latent."""
        layers = self.machine.artifact.layers
        out = np.zeros((layers[first].size, layers[second].size))
        out[np.ix_(self.places[first], self.places[second])] = self.covariance[self.part(first), self.part(second)]
        return out

    def field_deviation(self, layer: str) -> Doubles:
        """The standard deviation of what the others send to each of a layer's latent units, (latent units,)."""
        rows = self.coupling[self.part(layer)]
        return np.asarray(np.sqrt(np.einsum("ij,jk,ik->i", rows, self.covariance, rows)))

    def _flat(self, fields: Mapping[str, Array]) -> Doubles:
        parts = [fields[n][:, self.places[n]].astype(np.float64) for n in self.layers]
        return np.asarray(np.concatenate(parts, axis=1) + self._shift)
