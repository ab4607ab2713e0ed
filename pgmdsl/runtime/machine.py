"""A model with its parameters, or a part of it: conditionals, sampling and mean field over the generated kernels.

States are dicts by layer of statistics (cases, size), C-contiguous, in the model's dtype. A layer that is absent from
a state sends nothing; a machine of some of the layers, with factors for their inputs, is a restricted machine of
greedy pretraining. Of a layer in `clamped` no unit changes; of a layer in `held`, a dict of bool arrays (cases, size),
the units change where the array is False: they are latent, and the others observed. Given layers are always clamped.
Nothing here draws random numbers but from keys that the caller's words make.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.base_energy import add_base_energy
from pgmdsl.runtime.kernels import Kernels
from pgmdsl.runtime.random import stream_key

Array = NDArray[Any]
State = dict[str, Array]
Held = Mapping[str, NDArray[np.bool_]]
Words = tuple[int | str, ...]
Blocks = tuple[tuple[str, ...], ...]
NOTHING: Held = {}


class Machine:
    """Layers with parameters.

    Attributes:
        artifact: the compiled model.
        kernels: its loaded kernels.
        layers: the layers that take part, in file order.
        given: those of them that are given: always clamped, without energy.
        lateral: those with a lateral edge, whose units are updated in turn.
        scale: by layer, the factor of its whole coupling field (2 where greedy pretraining doubles an input).
        lengths: by count layer, the length of its documents where a state does not hold them.
        parameters: by name, arrays of the declared shapes.
        p: the same memory as the kernels take it: weights with one axis a layer, the rest flat; and the colours of
            lateral layers' sites, `colours v`.
        own: by layer, the own field (size,); `refresh` brings it up to date with the biases. In a layer with count
            neighbours it is that at length 1: see `own_in`.
    """

    def __init__(
        self,
        artifact: Artifact,
        kernels: Kernels,
        parameters: Mapping[str, Array],
        layers: Collection[str] | None = None,
        scale: Mapping[str, float] | None = None,
        *,
        colours: Mapping[str, Array] | None = None,
        lengths: Mapping[str, float] | None = None,
    ) -> None:
        """Wrap the parameters without copying them; they must be C-contiguous and of the model's dtype."""
        self.artifact, self.kernels, self.parameters = artifact, kernels, parameters
        self.layers = tuple(n for n in artifact.layers if layers is None or n in layers)
        self.given = tuple(n for n in self.layers if artifact.layers[n].role == "given")
        self.scale = {n: float((scale or {}).get(n, 1.0)) for n in self.layers}
        self.lengths = dict(lengths or {})
        self.blocks = tuple(b for block in artifact.blocks if (b := tuple(n for n in block if n in self.layers)))
        self.edges = tuple(e for e in artifact.edges if set(e.layers) <= set(self.layers))
        self.lateral = tuple(dict.fromkeys(e.layers[0] for e in self.edges if e.lateral))
        self.dtype = np.dtype(artifact.dtype)
        self.p = {name: self._flat(name, array) for name, array in parameters.items()}
        self.colours = dict(colours or {})
        self.p |= {f"colours {name}": array for name, array in self.colours.items()}
        self._buffers: State = {}
        self.own = {n: np.zeros(artifact.layers[n].size, self.dtype) for n in self.layers}
        self.refresh()

    def _flat(self, name: str, array: Array) -> Array:
        parameter = self.artifact.parameters[name]
        if parameter.kind != "weight":
            return array.reshape(-1)
        return array.reshape([self.artifact.layers[n].size for n in parameter.layers])

    def with_parameters(self, parameters: Mapping[str, Array]) -> Machine:
        """The same machine with other parameters."""
        return Machine(
            self.artifact, self.kernels, parameters, self.layers, self.scale, colours=self.colours, lengths=self.lengths
        )

    def with_lengths(self, lengths: Mapping[str, float]) -> Machine:
        """The same machine with these lengths of documents, where a state does not hold them."""
        every = {**self.lengths, **lengths}
        return Machine(
            self.artifact, self.kernels, self.parameters, self.layers, self.scale, colours=self.colours, lengths=every
        )

    def refresh(self) -> None:
        """Compute the own fields from the biases again, after these or own parameters have changed."""
        for name in self.layers:
            bias = self.artifact.layers[name].bias
            if bias is not None:
                np.multiply(self.p[bias], self.kernels.own_factor[name](self.p), out=self.own[name])

    def new_state(self, cases: int, layers: Collection[str] | None = None) -> State:
        """Zeroed statistics (cases, size) of these layers, or of all."""
        names = [n for n in self.layers if layers is None or n in layers]
        return {n: np.zeros((cases, self.artifact.layers[n].size), self.dtype) for n in names}

    @property
    def inference(self) -> str:
        """How `infer` finds means of what is not independent, in words."""
        return "mean field"

    @property
    def undirected(self) -> Machine:
        """The machine of the undirected part, which has the log Z of the whole: itself."""
        return self

    @property
    def weights(self) -> tuple[str, ...]:
        """The weights of its edges, each once."""
        return tuple(dict.fromkeys(edge.weight for edge in self.edges))

    def neighbours(self, layer: str) -> set[str]:
        """The other layers that share an edge of this machine with a layer."""
        return {n for e in self.edges if layer in e.layers for n in e.layers if n != layer}

    def independent(self, layers: Collection[str]) -> bool:
        """Whether no two units of these layers share an edge: given all others they are independent."""
        held = set(layers)
        return not any(sum(name in held for name in e.layers) > 1 for e in self.edges)

    # --- lengths ------------------------------------------------------------------------------------------

    def length(self, layer: str, s: Mapping[str, Array]) -> NDArray[np.float64]:
        """The length of each document of a count layer: (cases,) if its state is at hand, else (1,).

        Raises:
            Error: neither the state nor `lengths` has it.
        """
        if layer in s:
            return np.asarray(s[layer].sum(axis=1, dtype=np.float64))
        if layer not in self.lengths:
            raise Error(
                f"the length of the documents of {layer} is not known, as {layer} is not observed: state it, for "
                f'example lengths={{"{layer}": 100}}, or --length {layer}=100'
            )
        return np.array([self.lengths[layer]], np.float64)

    def trials(self, layer: str, s: Mapping[str, Array]) -> NDArray[np.float64] | None:
        """What kernels of a count layer take as `trials`: its documents' lengths; None for other layers."""
        return self.length(layer, s) if self.artifact.layers[layer].support == "counts" else None

    def exposure(self, layer: str, s: Mapping[str, Array]) -> NDArray[np.float64] | None:
        """What the layer's bias is multiplied by, (cases,) or (1,): the lengths of its count neighbours; None for 1.

        In a machine without any of these neighbours the bias counts once.
        """
        counted = [n for n in self.artifact.layers[layer].counted if n in self.layers]
        if not counted:
            return None
        return np.asarray(sum(self.length(n, s) for n in counted), np.float64)

    def own_in(self, layer: str, s: Mapping[str, Array]) -> Array:
        """The own field of a layer whose neighbours are in this state: (size,), or (cases or 1, size)."""
        exposure = self.exposure(layer, s)
        return self.own[layer] if exposure is None else (exposure[:, None] * self.own[layer]).astype(self.dtype)

    # --- one layer ----------------------------------------------------------------------------------------

    def coupling(self, layer: str, s: Mapping[str, Array], cases: int) -> Array:
        """What the layers in `s` send to a layer (itself included, if it has a lateral edge), in a new array."""
        out = np.zeros((cases, self.artifact.layers[layer].size), self.dtype)
        self.kernels.field[layer](self.p, s, out)
        return out

    def mean(
        self,
        layer: str,
        field: Array,
        out: Array,
        factor: float = 1.0,
        s: Mapping[str, Array] = NOTHING,
        held: NDArray[np.bool_] | None = None,
    ) -> None:
        """The conditional mean of a layer's statistic, each unit given all others, into `out` (cases, size).

        Args:
            layer: its name.
            field: its coupling field.
            out: overwritten where `held` is not True.
            factor: of the field, besides the machine's own scale.
            s: the state it belongs to, where lengths matter.
            held: (cases, size) the entries to leave as they are.
        """
        self.kernels.mean[layer](
            self.p, field, self.own_in(layer, s), self.scale[layer] * factor, out, self.trials(layer, s), held
        )

    def relax(
        self,
        layer: str,
        field: Array,
        out: Array,
        s: Mapping[str, Array] = NOTHING,
        held: NDArray[np.bool_] | None = None,
    ) -> None:
        """As `mean`, but units that share a lateral edge are set in turn, and `field` follows them."""
        self.kernels.relax[layer](
            self.p, field, self.own_in(layer, s), self.scale[layer], out, self.trials(layer, s), held
        )

    def sample(
        self,
        layer: str,
        field: Array,
        key: Any,
        out: Array,
        factor: float = 1.0,
        s: Mapping[str, Array] = NOTHING,
        held: NDArray[np.bool_] | None = None,
    ) -> None:
        """Statistics of a layer drawn given its coupling field, into `out`; arguments as for `mean`.

        Units that share a lateral edge are drawn in turn from the state in `out`, and `field` follows them.
        """
        self.kernels.sample[layer](
            self.p, field, self.own_in(layer, s), self.scale[layer] * factor, key, out, self.trials(layer, s), held
        )

    def add_log_partition(self, layer: str, field: Array, s: Mapping[str, Array], out: NDArray[np.float64]) -> None:
        """Add the log-partition function of a layer's units, given their coupling field, to `out` (cases,)."""
        self.kernels.log_partition[layer](
            self.p, field, self.own_in(layer, s), self.scale[layer], out, self.trials(layer, s)
        )

    def constant(self, layer: str) -> float:
        """What a layer's energy has besides its base energy and its fields: b^2 / (2 sigma^2), for Gaussian units.

        The kernel of the base energy adds it. No other unit type has any, and a Gaussian's base energy is 0 at 0.
        """
        if layer in self.given or self.artifact.layers[layer].sigma is None:
            return 0.0
        out = np.zeros(1)
        zero = np.zeros((1, self.artifact.layers[layer].size), self.dtype)
        self.kernels.base_energy[layer](self.p, zero, out)
        return float(out[0])

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
        held: Held = NOTHING,
    ) -> tuple[str, ...]:
        """Block Gibbs sweeps over the layers that are not clamped, in place; blocks in the model's order or another.

        Returns the layers updated last; for them `fields` holds the coupling fields they were drawn with, so that
        their conditional means given the rest cost no more products. Layers with a lateral edge are not among them:
        their units are not independent.
        """
        fixed = {*clamped, *self.given}
        free = [b for block in order or self.blocks if (b := tuple(n for n in block if n not in fixed))]
        drawn = [name for block in free for name in block]
        for sweep in range(sweeps):
            keys = {name: stream_key(seed, *words, sweep, name) for name in drawn}
            self.kernels.gibbs_sweep(self.p, s, self.own, self.scale, keys, fields, fixed, free, held)
        return tuple(n for n in free[-1] if n not in self.lateral) if sweeps and free else ()

    def bottom_up(
        self,
        s: State,
        fields: State,
        clamped: Collection[str],
        seed: int | None = None,
        words: Words = (),
        held: Held = NOTHING,
        sent: Mapping[str, Array] = NOTHING,
    ) -> None:
        """Latent layers from those below: means, or draws where a seed is given.

        Each layer in file order hears the layers set before it; its input is doubled where it has neighbours that are
        not set yet, as in greedy pretraining (Salakhutdinov and Hinton 2009, eqs. 15-16). Layers with missing entries
        count as set: the caller has put something into these. Units that share a lateral edge do not hear each other.
        What clamped and given layers send may be known: `sent`.
        """
        present: State = {n: s[n] for n in self.layers if n in clamped or n in held or n in self.given}
        for name in self.layers:
            if name in present:
                continue
            if name in sent and self.neighbours(name) & present.keys() <= {*clamped, *self.given}:
                fields[name][:] = sent[name]
            else:
                self.kernels.field[name](self.p, present, fields[name])
            factor = 2.0 if self.neighbours(name) - present.keys() else 1.0
            known = {**present, **{n: s[n] for n in self._documents() if n in s}}
            if seed is None or name in self.lateral:
                self.mean(name, fields[name], s[name], factor, known)
            if seed is not None:
                self.sample(name, fields[name], stream_key(seed, *words, name), s[name], factor, known)
            present[name] = s[name]

    def _documents(self) -> list[str]:
        """The count layers, whose states hold their lengths from the start."""
        return [n for n in self.layers if self.artifact.layers[n].support == "counts"]

    def posterior(self, s: State, fields: State, clamped: Collection[str], held: Held = NOTHING) -> None:
        """Exact posterior means of latent layers and missing entries of which no two share an edge, in place."""
        observed = {n: s[n] for n in self.layers if n in clamped or n in self.given}
        for name in self.layers:
            if name not in observed:
                self.kernels.field[name](self.p, observed, fields[name])
                self.mean(name, fields[name], s[name], s=s, held=held.get(name))

    def mean_field(self, s: State, fields: State, sweeps: int, clamped: Collection[str], held: Held = NOTHING) -> None:
        """Mean-field sweeps of the latent layers and missing entries in place, from the doubled bottom-up pass.

        Each block's update is exact given the others, and units that share a lateral edge are set in turn, so that the
        bound never falls. Afterwards `fields` holds the coupling field of each latent layer's mean.
        """
        observed = {n: s[n] for n in self.layers if n in clamped or n in self.given}
        latent = {n: s[n] for n in self.layers if n not in observed}
        sent = self._sent(observed, latent) if all(len(e.layers) == 2 for e in self.edges) else {}
        self.bottom_up(s, fields, clamped, held=held, sent=sent)
        for name in (n for _ in range(sweeps) for block in self.blocks for n in block if n in latent):
            self.kernels.field[name](self.p, latent if sent else s, fields[name])
            if name in sent:
                fields[name] += sent[name]
            self.relax(name, fields[name], s[name], s, held.get(name))

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

    def infer(self, s: State, fields: State, clamped: Collection[str], sweeps: int = 10, held: Held = NOTHING) -> None:
        """Posterior means of the latent layers: exact where these are independent, else by mean field."""
        latent = [n for n in self.layers if n not in clamped and n not in self.given]
        if self.independent(latent):
            self.posterior(s, fields, clamped, held)
        else:
            self.mean_field(s, fields, sweeps, clamped, held)

    # --- energies -----------------------------------------------------------------------------------------

    def score(
        self, s: Mapping[str, Array], cases: int, *, biased: bool = True, missing: Held = NOTHING
    ) -> NDArray[np.float64]:
        """-energy of the layers in this state alone, (cases,) float64: their own fields, bases, and edges among them.

        Each edge is counted when the last of its layers is added: own s - base(s) + s field(layers before) for each
        layer, and half of s field(s) for its lateral edges; given layers come first, as nothing sends them a field.
        Without `biased` the own fields are left out, and with them the lengths that multiply these. Entries in
        `missing`, by layer (size,) or (cases, size), are 0 in `s`, and add their constants only.
        """
        out = np.zeros(cases)
        done = {name: x for name, x in s.items() if name in self.given}
        for name, x in s.items():
            if name in self.given:
                continue
            if biased:
                own = self.own_in(name, s).astype(np.float64)
                out += x @ own if own.ndim == 1 else np.einsum("ci,ci->c", x, np.broadcast_to(own, x.shape))
            base = np.zeros(len(x))
            add_base_energy(self, name, x, missing.get(name), base)
            out -= base
            if done:
                out += np.einsum("ci,ci->c", x, self.coupling(name, done, len(x)), dtype=np.float64)
            if name in self.lateral:
                out += 0.5 * np.einsum("ci,ci->c", x, self.coupling(name, {name: x}, len(x)), dtype=np.float64)
            done[name] = x
        return out

    def free_energy(self, s: Mapping[str, Array]) -> NDArray[np.float64]:
        """-log of the sum over all absent layers of exp(-energy), (cases,) float64; no two of their units share edges.

        F(s) = -score(s) - sum over absent layers of A(own + field(s)) + their constants
        """
        cases = len(next(iter(s.values())))
        total = self.score(s, cases)
        for name in self.layers:
            if name not in s:
                self.add_log_partition(name, self.coupling(name, s, cases), s, total)
                total -= self.constant(name)
        return -total
