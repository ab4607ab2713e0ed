"""The path of annealed importance sampling: from a base of independent units to the model, at fixed evidence.

At inverse temperature t each unit's field is t (own + coupling) + (1 - t) base. Some layers that share no edge are
summed out analytically, so that a chain holds the others, x, with the unnormalised log-probability

    log f_t(x) = sum over its layers (t own + (1 - t) base) s - base_energy + t (edges among them)
                 + sum over summed layers A(t own + (1 - t) base + t coupling(x)).

What is known (given layers, clamped ones) sends t times its fields. A chain's log weight is the sum over steps of log
f_t(k) - log f_t(k-1), at its state before the step; each step then draws the summed layers given x, and x given those,
block by block, which leaves f_t(k) unchanged. A path that is run backwards takes blocks, and units drawn in turn, in
the opposite order: its steps are then the time reversals of the forward ones, as bridge sampling between the two needs
(Crooks 1999), and what `advance` adds to the log weight is minus what the forward path adds over the same states.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.runtime.base_energy import any_state
from pgmdsl.runtime.estimators.evidence import Evidence
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.parameters import inside
from pgmdsl.runtime.random import stream_key

Array = NDArray[Any]
Doubles = NDArray[np.float64]
Words = tuple[int | str, ...]  # names for a stream of draws

BASE_MARGIN = 0.02  # share of the support's range that the base's means are kept from its ends


def base_fields(
    machine: Machine, data_means: Mapping[str, Array] | None = None, evidence: Evidence | None = None
) -> dict[str, Array]:
    """The base's own fields: a layer's mean statistic in the data sets its field, else the model's own field does.

    Args:
        machine: The model with its parameters.
        data_means: Mean statistics (size,) of some layers; means at the edge of the support are moved inside.
        evidence: Whose lengths multiply own fields, which are then (cases, size).
    """
    out = {}
    for name in machine.layers:
        if evidence is not None and name in evidence.known:
            continue
        if data_means and name in data_means:
            wanted = np.asarray(data_means[name], np.float64)
            mean = inside(machine.artifact.layers[name], wanted, BASE_MARGIN).astype(machine.dtype)
            out[name] = np.ascontiguousarray(machine.kernels.field_of_mean[name](machine.p, mean), machine.dtype)
        else:
            out[name] = machine.own[name].copy() if evidence is None else evidence.own(name).copy()
    return out


def summed_layers(machine: Machine, known: Collection[str] = ()) -> tuple[str, ...]:
    """The layers to sum out: of all sets of layers of which no two units share an edge, one with the most units."""
    layers = machine.artifact.layers
    names = tuple(n for n in machine.layers if n not in known and n not in machine.lateral)
    near: dict[str, set[str]] = {n: machine.neighbours(n) for n in names}
    best: tuple[int, tuple[str, ...]] = (-1, ())

    def extend(chosen: tuple[str, ...], left: tuple[str, ...]) -> None:
        nonlocal best
        size = sum(layers[n].size for n in chosen)
        if size + sum(layers[n].size for n in left) <= best[0]:
            return
        if not left:
            best = (size, chosen)
            return
        first, rest = left[0], left[1:]
        extend((*chosen, first), tuple(n for n in rest if n not in near[first]))
        extend(chosen, rest)

    extend((), names)
    return best[1]


class Path:
    """The family of distributions from the base to the model, and steps that leave one of them unchanged.

    Each case of the evidence has as many rows as there are chains, one after the other. Fields at a temperature are
    rounded to the model's dtype once and used so both in weights and in draws: the path then is one of distributions
    that are exactly those sampled, and only its two ends must be right.
    """

    def __init__(
        self,
        evidence: Evidence,
        base: Mapping[str, Array],
        betas: Doubles,
        chains: int,
        seed: int,
        words: Words,
        *,
        backwards: bool = False,
    ) -> None:
        """Chains at the first of the inverse temperatures `betas`, not yet drawn."""
        rows = np.repeat(np.arange(evidence.cases), chains)
        self.evidence, self.machine, self.seed, self.words = evidence.take(rows), evidence.machine, seed, words
        machine = self.machine
        self.known = self.evidence.known
        self.betas = betas.astype(machine.dtype).astype(np.float64)
        self.summed = summed_layers(machine, self.known)
        self.held = [n for b in machine.blocks for n in b if n not in self.summed and n not in self.known]
        self.p: Mapping[str, Array] = machine.p
        if backwards:
            self.held.reverse()
            self.p = {**machine.p, **{f"colours {n}": _reversed_colours(machine, n) for n in machine.lateral}}
        free = [*self.summed, *self.held]
        self.base = {n: base[n] if base[n].ndim == 1 else base[n][rows] for n in free}
        self.model = {n: self.evidence.own(n).astype(np.float64) for n in free}
        self.trials = {n: (np.ascontiguousarray(x),) for n, x in self.evidence.lengths.items() if n in free}
        self.own = self.own_at(0)
        self.s, self.fields = machine.new_state(len(rows), free), machine.new_state(len(rows), free)
        for name in free:
            self.s[name][:] = any_state(machine.artifact.layers[name])
        pairs = all(len(e.layers) == 2 for e in machine.edges)
        near = [n for n in free if machine.neighbours(n) & self.known.keys()]
        self._sent = {n: machine.coupling(n, self.known, len(rows)) for n in near if pairs}
        self.log_weight = np.zeros(len(rows))

    def own_at(self, k: int) -> dict[str, Array]:
        """Own fields at the k-th inverse temperature."""
        beta, dtype = self.betas[k], self.machine.dtype
        mixed = {n: beta * own + (1 - beta) * self.base[n] for n, own in self.model.items()}
        return {n: np.ascontiguousarray(f, dtype=dtype) for n, f in mixed.items()}

    def draw(self, name: str, k: int) -> None:
        """Draw a layer from its conditional at the k-th inverse temperature, given its coupling field."""
        key = stream_key(self.seed, *self.words, k, name)
        sample = self.machine.kernels.sample[name]
        own, trials = self.own[name], self.trials.get(name, ())
        sample(self.p, self.fields[name], own, self.betas[k], key, self.s[name], *trials)

    def send(self, name: str, senders: Mapping[str, Array]) -> None:
        """Set a layer's coupling field to what these layers send it, with all that is known."""
        field = self.machine.kernels.field[name]
        if name in self._sent:
            field(self.machine.p, senders, self.fields[name])
            self.fields[name] += self._sent[name]
        else:
            field(self.machine.p, {**self.known, **senders}, self.fields[name])

    def advance(self, k: int) -> None:
        """Go from temperature k - 1 to k: weigh the chains as they are, then move them by one Gibbs sweep."""
        machine, kernels = self.machine, self.machine.kernels
        before, self.own = self.own, self.own_at(k)
        scale0, scale1 = self.betas[k - 1], self.betas[k]
        held: dict[str, Array] = {}
        for name in self.held:
            change = self.own[name].astype(np.float64) - before[name]
            self.log_weight += _dot(self.s[name], change)
            if held or self.known:
                self.send(name, held)
                self.log_weight += (scale1 - scale0) * _dot(self.s[name], self.fields[name])
            if name in machine.lateral:
                kernels.field[name](machine.p, {name: self.s[name]}, self.fields[name])
                self.log_weight += 0.5 * (scale1 - scale0) * _dot(self.s[name], self.fields[name])
            held[name] = self.s[name]
        for name in self.summed:
            self.send(name, held)
            own0, own1, trials = before[name], self.own[name], self.trials.get(name, ())
            changed = kernels.log_partition_change[name]
            changed(machine.p, self.fields[name], own0, scale0, own1, scale1, self.log_weight, *trials)
        self.sweep(k)

    def sweep(self, k: int) -> None:
        """One Gibbs sweep at the k-th temperature; the fields of summed layers are those of the present state."""
        for name in self.summed:
            self.draw(name, k)
        self.sweep_held(k)

    def sweep_held(self, k: int) -> None:
        """Draw the layers that are held, each given all others as they are."""
        for name in self.held:
            self.send(name, self.s)
            self.draw(name, k)


def _reversed_colours(machine: Machine, layer: str) -> Array:
    """The order in which a layer's sites are drawn, turned round."""
    sites = machine.artifact.layers[layer].size // machine.artifact.layers[layer].states
    colours = machine.colours.get(layer, np.arange(sites, dtype=np.int32))
    return np.ascontiguousarray(colours.max(initial=0) - colours, np.int32)


def _dot(s: Array, field: Array) -> Doubles:
    """The sums over units of the products, (rows,), in double precision."""
    if field.ndim == 1:
        return np.asarray(s @ field)
    return np.asarray(np.einsum("ci,ci->c", s, field, dtype=np.float64))


def log_partition_of_base(evidence: Evidence, base: Mapping[str, Array]) -> Doubles:
    """Log Z of the base for each case, less what the path leaves out: constants, and the score of what is known."""
    machine, total = evidence.machine, evidence.score()
    for name, own in base.items():
        zero = np.zeros((evidence.cases, own.shape[-1]), machine.dtype)
        trials = (np.ascontiguousarray(evidence.lengths[name]),) if name in evidence.lengths else ()
        machine.kernels.log_partition[name](machine.p, zero, own, 0.0, total, *trials)
        total -= machine.constant(name)
    return total
