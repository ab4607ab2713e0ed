"""A model with its parameters, or a part of it: conditionals, sampling and mean field over the generated kernels.

States are dicts by layer of statistics (cases, size), C-contiguous, in the model's dtype. A layer that is absent from
a state sends nothing; a machine of some of the layers, with factors for their inputs, is a restricted machine of
greedy pretraining. Nothing here draws random numbers but from keys that the caller's words make.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.runtime.kernels import Kernels
from pgmdsl.runtime.random import stream_key

Array = NDArray[Any]
State = dict[str, Array]
Words = tuple[int | str, ...]
Blocks = tuple[tuple[str, ...], ...]


class Machine:
    """Layers with parameters.

    Attributes:
        artifact: the compiled model.
        kernels: its loaded kernels.
        layers: the layers that take part, in file order.
        scale: by layer, the factor of its whole coupling field (2 where greedy pretraining doubles an input).
        parameters: by name, arrays of the declared shapes.
        p: the same memory as the kernels take it: weights as (size, size) matrices, the rest flat.
        own: by layer, the own field (size,); `refresh` brings it up to date with the biases.
    """

    def __init__(
        self,
        artifact: Artifact,
        kernels: Kernels,
        parameters: Mapping[str, Array],
        layers: Collection[str] | None = None,
        scale: Mapping[str, float] | None = None,
    ) -> None:
        """Wrap the parameters without copying them; they must be C-contiguous and of the model's dtype."""
        self.artifact, self.kernels, self.parameters = artifact, kernels, parameters
        self.layers = tuple(n for n in artifact.layers if layers is None or n in layers)
        self.scale = {n: float((scale or {}).get(n, 1.0)) for n in self.layers}
        self.blocks = tuple(b for block in artifact.blocks if (b := tuple(n for n in block if n in self.layers)))
        self.edges = tuple(e for e in artifact.edges if set(e.layers) <= set(self.layers))
        self.dtype = np.dtype(artifact.dtype)
        self.p = {name: self._flat(name, array) for name, array in parameters.items()}
        self._buffers: State = {}
        self.own = {n: np.zeros(artifact.layers[n].size, self.dtype) for n in self.layers}
        self.refresh()

    def _flat(self, name: str, array: Array) -> Array:
        parameter = self.artifact.parameters[name]
        if parameter.kind != "weight":
            return array.reshape(-1)
        return array.reshape([self.artifact.layers[n].size for n in parameter.layers])

    def refresh(self) -> None:
        """Compute the own fields from the biases again, after these have changed."""
        for name in self.layers:
            bias = self.artifact.layers[name].bias
            if bias is not None:
                np.multiply(self.p[bias], self.kernels.own_factor[name](self.p), out=self.own[name])

    def new_state(self, cases: int, layers: Collection[str] | None = None) -> State:
        """Zeroed statistics (cases, size) of these layers, or of all."""
        names = [n for n in self.layers if layers is None or n in layers]
        return {n: np.zeros((cases, self.artifact.layers[n].size), self.dtype) for n in names}

    def neighbours(self, layer: str) -> set[str]:
        """The layers that share an edge of this machine with a layer."""
        return {n for e in self.edges if layer in e.layers for n in e.layers if n != layer}

    def independent(self, layers: Collection[str]) -> bool:
        """Whether no two of these layers share an edge: given all others they are independent."""
        held = set(layers)
        return not any(sum(name in held for name in e.layers) > 1 for e in self.edges)

    # --- one layer ----------------------------------------------------------------------------------------

    def coupling(self, layer: str, s: Mapping[str, Array], cases: int) -> Array:
        """What the layers in `s` send to a layer, (cases, size), in a new array."""
        out = np.zeros((cases, self.artifact.layers[layer].size), self.dtype)
        self.kernels.field[layer](self.p, s, out)
        return out

    def mean(self, layer: str, field: Array, out: Array, factor: float = 1.0) -> None:
        """The conditional mean of a layer's statistic given its coupling field, into `out` (cases, size)."""
        self.kernels.mean[layer](self.p, field, self.own[layer], self.scale[layer] * factor, out)

    def sample(self, layer: str, field: Array, key: Any, out: Array, factor: float = 1.0) -> None:
        """Statistics of a layer drawn given its coupling field, into `out` (cases, size)."""
        self.kernels.sample[layer](self.p, field, self.own[layer], self.scale[layer] * factor, key, out)

    # --- all layers ---------------------------------------------------------------------------------------

    def gibbs(
        self,
        s: State,
        fields: State,
        sweeps: int,
        seed: int,
        words: Words,
        clamped: Collection[str] = (),
        order: Blocks | None = None,
    ) -> tuple[str, ...]:
        """Block Gibbs sweeps over the layers that are not clamped, in place; blocks in the model's order or another.

        Returns the layers updated last; for them `fields` holds the coupling fields they were drawn with, so that
        their conditional means given the rest cost no more products.
        """
        free = [b for block in order or self.blocks if (b := tuple(n for n in block if n not in clamped))]
        drawn = [name for block in free for name in block]
        for sweep in range(sweeps):
            keys = {name: stream_key(seed, *words, sweep, name) for name in drawn}
            self.kernels.gibbs_sweep(self.p, s, self.own, self.scale, keys, fields, clamped, free)
        return free[-1] if sweeps and free else ()

    def bottom_up(
        self, s: State, fields: State, clamped: Collection[str], seed: int | None = None, words: Words = ()
    ) -> None:
        """Latent layers from those below: means, or draws where a seed is given.

        Each layer in file order hears the layers set before it; its input is doubled where it has neighbours that are
        not set yet, as in greedy pretraining (Salakhutdinov and Hinton 2009, eqs. 15-16).
        """
        present: State = {n: s[n] for n in self.layers if n in clamped}
        for name in self.layers:
            if name in clamped:
                continue
            self.kernels.field[name](self.p, present, fields[name])
            factor = 2.0 if self.neighbours(name) - present.keys() else 1.0
            if seed is None:
                self.mean(name, fields[name], s[name], factor)
            else:
                self.sample(name, fields[name], stream_key(seed, *words, name), s[name], factor)
            present[name] = s[name]

    def posterior(self, s: State, fields: State, clamped: Collection[str]) -> None:
        """Exact posterior means of latent layers of which no two share an edge, in place."""
        observed = {n: s[n] for n in self.layers if n in clamped}
        for name in self.layers:
            if name not in clamped:
                self.kernels.field[name](self.p, observed, fields[name])
                self.mean(name, fields[name], s[name])

    def mean_field(self, s: State, fields: State, sweeps: int, clamped: Collection[str]) -> None:
        """Mean-field sweeps of the latent layers in place, from the doubled bottom-up pass.

        Each block's update is exact given the others, so that the bound never falls. Afterwards `fields` holds the
        coupling field of each latent layer's mean.
        """
        latent = {n: s[n] for n in self.layers if n not in clamped}
        self.bottom_up(s, fields, clamped)
        sent = self._sent({n: s[n] for n in self.layers if n in clamped}, latent)
        for name in (n for _ in range(sweeps) for block in self.blocks for n in block if n in latent):
            self.kernels.field[name](self.p, latent, fields[name])
            if name in sent:
                fields[name] += sent[name]
            self.mean(name, fields[name], s[name])

    def _sent(self, observed: State, latent: State) -> State:
        """What observed layers send to latent ones, which is the same in every sweep; in buffers of our own."""
        out = {}
        for name, x in latent.items():
            if self.neighbours(name) & observed.keys():
                if name not in self._buffers or len(self._buffers[name]) < len(x):
                    self._buffers[name] = np.zeros_like(x)
                out[name] = self._buffers[name][: len(x)]
                self.kernels.field[name](self.p, observed, out[name])
        return out

    def infer(self, s: State, fields: State, clamped: Collection[str], sweeps: int = 10) -> None:
        """Posterior means of the latent layers: exact where these are independent, else by mean field."""
        if self.independent([n for n in self.layers if n not in clamped]):
            self.posterior(s, fields, clamped)
        else:
            self.mean_field(s, fields, sweeps, clamped)

    def free_energy(self, s: Mapping[str, Array]) -> NDArray[np.float64]:
        """-log of the sum over all absent layers of exp(-energy), (cases,) float64; no two of them share an edge.

        F(s) = base(s) - sum own s - 1/2 sum s field(s) - sum over absent layers of A(own + field(s))
        """
        cases = len(next(iter(s.values())))
        total = np.zeros(cases)
        for name, x in s.items():
            total += x.astype(np.float64) @ self.own[name].astype(np.float64)
            total += 0.5 * np.einsum("ci,ci->c", x, self.coupling(name, s, cases), dtype=np.float64)
        for name in self.layers:
            if name not in s:
                field = self.coupling(name, s, cases)
                self.kernels.log_partition[name](self.p, field, self.own[name], self.scale[name], total)
        base = np.zeros(cases)
        constants = {n: np.zeros((cases, len(self.own[n])), self.dtype) for n in self.layers if n not in s}
        for name, x in {**constants, **s}.items():  # at statistic 0 there remains what own fields leave out
            self.kernels.base_energy[name](self.p, x, base)
        return base - total
