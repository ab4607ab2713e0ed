"""The positive phase: what is latent given the data, hidden layers and missing entries alike.

Missing entries are latent variables: where a layer has some, its other entries are held and these are inferred or drawn
with the hidden layers, from the same conditionals (values are assumed to be missing at random).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pgmdsl.runtime.machine import Held, Machine, State, Words
from pgmdsl.runtime.parameters import inside
from pgmdsl.runtime.random import stream_key
from pgmdsl.runtime.recipe import Positive
from pgmdsl.runtime.statistics import Shown

Array = NDArray[Any]
CLAMPED_SWEEPS = 5  # that draw coupled latent layers given data, where cd starts and the positive phase has no samples
LATENT_SWEEPS = 10  # of gibbs in place of exact, where the posterior does not close and is not enumerated


@dataclass(frozen=True)
class Batch:
    """The cases of one step.

    Attributes:
        cases: how many there are: the first rows of the buffers.
        share: (cases,) of each in means; they sum to 1.
        weighted: whether the shares differ.
        mass: the total weight relative to an average batch's, a factor of the gradient.
        held: by layer with missing values among these cases, which entries are observed, (cases, size).
        words: what makes this step's random numbers its own.
    """

    cases: int
    share: Array
    weighted: bool
    mass: float
    held: Held
    words: Words


class PositivePhase:
    """Latent states given data, in buffers of its own.

    Attributes:
        s: statistics of all layers, (rows, size); the caller fills in the observed ones.
        running: by layer, mean statistics: where missing entries begin.
    """

    def __init__(
        self,
        machine: Machine,
        observed: Collection[str],
        recipe: Positive,
        rows: int,
        seed: int,
        running: State,
        *,
        enumerable: bool,
    ) -> None:
        """Allocate for batches of so many cases; `enumerable` says that the model is enumerated anyway."""
        self.machine, self.recipe, self.seed, self.running = machine, recipe, seed, running
        whole = machine.layers == tuple(machine.artifact.layers) and all(x == 1 for x in machine.scale.values())
        self._whole, self._enumerable = whole, enumerable
        self.observed = tuple(n for n in machine.layers if n in observed)
        self.latent = tuple(n for n in machine.layers if n not in observed)
        self.s = machine.new_state(rows)
        self._fields = machine.new_state(rows)
        self._means: State = {}

    def kind(self, held: Held) -> Literal["exact", "enumerate", "mean_field", "gibbs"]:
        """How the latent units of a batch follow from it.

        Where `exact` is stated and they are not independent, they are enumerated if the whole model is anyway, or if
        that is so for cases in which nothing is missing; else, and in restricted machines, they are drawn.
        """
        if self.recipe.kind != "exact":
            return self.recipe.kind
        if self.machine.independent((*self.latent, *held)):
            return "exact"
        meant = self._enumerable or not self.machine.independent(self.latent)
        return "enumerate" if meant and self._whole else "gibbs"

    def views(self, batch: Batch) -> tuple[State, State]:
        """The rows of a batch, and their fields."""
        return {n: a[: batch.cases] for n, a in self.s.items()}, {n: a[: batch.cases] for n, a in self._fields.items()}

    def fill(self, batch: Batch) -> Shown | None:
        """Fill in what is latent; the states to take statistics of, or None where expectations are enumerated."""
        s, fields = self.views(batch)
        clamped = self._clamped(batch)
        shown: State = {n: fields[n] for n in (*self.latent, *batch.held)}
        match self.kind(batch.held):
            case "exact":
                self.machine.posterior(s, fields, clamped, batch.held)
            case "enumerate":
                return None
            case "mean_field":
                self._start(s, batch)
                self.machine.mean_field(s, fields, self.recipe.sweeps, clamped, batch.held)
            case "gibbs":
                last = self._draw(s, fields, self.recipe.sweeps or LATENT_SWEEPS, batch, "positive")
                shown = {n: fields[n] for n in last}
                s = {**s, **self._conditional_means(last, s, fields, batch.held)}
        return Shown(s, batch.share, batch.weighted, shown, batch.held)

    def draw(self, batch: Batch, state: State, scratch: State) -> None:
        """States of all layers that go with the batch, into `state`: what cd starts from, after `fill`."""
        s, fields = self.views(batch)
        for name in self.observed:
            state[name][:] = s[name]
        kind, words = self.kind(batch.held), (*batch.words, "cd")
        latent = (*self.latent, *batch.held)
        if kind == "gibbs":
            for name in latent:
                state[name][:] = s[name]
        elif kind == "enumerate" or any(n in self.machine.lateral for n in latent):
            self._draw(state, scratch, CLAMPED_SWEEPS, batch, "cd")
        else:
            for name in latent:
                key = stream_key(self.seed, *words, name)
                self.machine.sample(name, fields[name], key, state[name], s=state, held=batch.held.get(name))

    def _clamped(self, batch: Batch) -> tuple[str, ...]:
        return tuple(n for n in self.observed if n not in batch.held)

    def _draw(self, s: State, fields: State, sweeps: int, batch: Batch, purpose: str) -> tuple[str, ...]:
        clamped = self._clamped(batch)
        self._start(s, batch, (*batch.words, purpose, "missing"))
        self.machine.bottom_up(s, fields, clamped, self.seed, (*batch.words, purpose, "up"), batch.held)
        return self.machine.gibbs(s, fields, sweeps, self.seed, (*batch.words, purpose), clamped, held=batch.held)

    def _start(self, s: State, batch: Batch, words: Words | None = None) -> None:
        """Put the means of independent units into missing entries, or with `words` draws of these."""
        for name, held in batch.held.items():
            start_independent(self.machine, name, self.running[name], s, self.seed, words, held)

    def _conditional_means(self, layers: tuple[str, ...], s: State, fields: State, held: Held) -> State:
        """The conditional means of the layers drawn last, in buffers; what is held stays."""
        out: State = {}
        for name in layers:
            if name not in self._means:
                self._means[name] = np.zeros_like(self.s[name])
            out[name] = self._means[name][: len(s[name])]
            if name in held:
                out[name][:] = s[name]
            self.machine.mean(name, fields[name], out[name], s=s, held=held.get(name))
        return out


def start_independent(
    machine: Machine,
    name: str,
    mean: Array,
    s: Mapping[str, Array],
    seed: int,
    words: Words | None,
    held: NDArray[np.bool_] | None = None,
) -> None:
    """Independent units of these means (size,) into a layer of `s`, drawn with `words`; else the means themselves.

    Documents keep their lengths, and what is held stays. Units that share a lateral edge hear those drawn before.
    """
    x = s[name]
    if name in machine.lateral:  # its units are drawn in turn, from a state that must not depend on the past
        x[...] = 0 if held is None else np.where(held, x, 0)
    inner = inside(machine.artifact.layers[name], mean.astype(np.float64)).astype(machine.dtype)
    own = machine.kernels.field_of_mean[name](machine.p, inner)
    field = np.zeros_like(x)
    trials = machine.trials(name, s)
    if words is None:
        machine.kernels.mean[name](machine.p, field, own, 1.0, x, trials, held)
    else:
        key = stream_key(seed, *words, name)
        machine.kernels.sample[name](machine.p, field, own, 1.0, key, x, trials, held)
