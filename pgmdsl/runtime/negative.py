"""The negative phase: states of the model itself, by Gibbs sweeps from where the recipe says.

`cd` starts at the data, `gibbs` at independent units with the means of the data phase, `pcd` where it left off,
`tempering` likewise with replicas at higher temperatures; `conditional` takes the exact means of units that are
independent given the given layers. Documents keep the lengths they start with, and given layers
are those of the batch, as neither is modelled.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.machine import Held, Machine, State, Words
from pgmdsl.runtime.positive import Batch, PositivePhase, start_independent
from pgmdsl.runtime.recipe import Negative
from pgmdsl.runtime.statistics import Shown
from pgmdsl.runtime.tempering import Tempering
from pgmdsl.runtime.threads import Task

Array = NDArray[Any]
TOGETHER = 500  # states, about, that move together: enough for good products, and few enough for several threads


def parts_of(rows: int) -> list[slice]:
    """The rows in parts of about TOGETHER."""
    count = max(1, round(rows / TOGETHER))
    return [slice(rows * i // count, rows * (i + 1) // count) for i in range(count)]


class NegativePhase:
    """The model's own states, in buffers of its own.

    Attributes:
        chains: the persistent states: of `pcd` and, replicas together, of `tempering`; else empty.
        tempering: the exchange between temperatures, or None.
        paired: whether each state belongs to a case of the batch, and has its weight.
        residual: whether the phases differ in one layer of each edge only, and by its mean: then one product, of the
            others' statistics with what is left of its states, is the difference of the phases' two.
        keeps: whether its states are used after a step, for which layers that are shown by their means are drawn too.
        apart: whether the next states follow from the last and the parameters alone, whatever the data phase does.
    """

    def __init__(self, machine: Machine, positive: PositivePhase, recipe: Negative, rows: int, seed: int) -> None:
        """Allocate. Raises `Error` for a recipe that this machine cannot follow."""
        self.machine, self.positive, self.recipe, self.seed = machine, positive, recipe, seed
        _verify_possible(machine, recipe)
        documents = [n for n in machine.layers if machine.artifact.layers[n].support == "counts"]
        self.paired = recipe.kind in ("cd", "conditional") or (
            recipe.kind == "gibbs" and bool(documents or machine.given)
        )
        free = [sum(name not in machine.given for name in edge.layers) for edge in machine.edges]
        self.residual = recipe.kind == "conditional" and all(count == 1 for count in free)
        self.apart = self.keeps = recipe.kind in ("pcd", "tempering")
        # A sweep begins at the data, so that it starts from what the hidden layers know of them (cd) or were left at
        # (pcd), and ends with hidden layers, whose means then serve both the statistics and their draws.
        blocks = tuple(b for block in machine.blocks if (b := tuple(n for n in block if n not in machine.given)))
        self.order = tuple(sorted(blocks, key=lambda block: not set(block) & set(positive.observed)))
        self._rows = recipe.states(rows)
        self.tempering = Tempering(machine, recipe, self.order, seed) if recipe.kind == "tempering" else None
        self._s = self.tempering.cold if self.tempering else machine.new_state(self._rows)
        self._fields = machine.new_state(self._rows)
        shown = self.order if recipe.kind == "conditional" else self.order[-1:]
        self._means = machine.new_state(self._rows, [n for block in shown for n in block])
        self.chains = self.tempering.chains if self.tempering else self._s if recipe.kind == "pcd" else {}

    @property
    def start_states(self) -> State:
        """Where data is to be put before persistent chains start; else empty."""
        return self._s if self.chains else {}

    def start(self, words: Words, held: Held) -> None:
        """Begin persistent chains: their observed layers are set but for what is not held; the rest is drawn."""
        if not self.chains:
            return
        machine, words = self.machine, (*words, "start")
        missing = {n: mask for n, mask in held.items() if n in self._s and not mask.all()}
        for name, mask in missing.items():
            mean = self.positive.running[name]
            start_independent(machine, name, mean, self._s, self.seed, (*words, "missing"), mask)
        clamped = [n for n in self.positive.observed if n not in missing]
        machine.bottom_up(self._s, self._fields, clamped, self.seed, words, missing)
        if self.tempering:
            self.tempering.start(self.positive.running)

    def states(self, cases: int) -> State:
        """The states last sampled, if it `keeps` them: as many as there are chains, or cases in the batch."""
        if self.recipe.kind in ("exact", "conditional"):
            return {}
        return {n: x[: cases if self.paired else self._rows] for n, x in self._s.items()}

    def _conditional_means(self, batch: Batch) -> Shown:
        """The data's given layers, and the exact means of the others given these."""
        data, _ = self.positive.views(batch)
        given = {n: data[n] for n in self.machine.given}
        fields, means = ({n: x[n][: batch.cases] for n in self._means} for x in (self._fields, self._means))
        for name, mean in means.items():
            self.machine.kernels.field[name](self.machine.p, given, fields[name])
            self.machine.mean(name, fields[name], mean, s={**given, name: data[name]})
        return Shown({**given, **means}, batch.share, batch.weighted, fields)

    def moves(self, batch: Batch) -> list[Task]:
        """What makes the next states, in parts that may run beside each other; states that start anew are put there."""
        if self.recipe.kind == "conditional":
            return []
        state, fields = self._views(batch)
        words = (*batch.words, "negative")
        if self.tempering:
            return [partial(self.tempering.advance, fields, self.recipe.sweeps, words)]
        if self.recipe.kind == "cd":
            self.positive.draw(batch, state, fields)
        elif self.recipe.kind == "gibbs":
            self._start_at_random(batch, state)
        return [partial(self._sweep, state, fields, rows, words) for rows in parts_of(len(next(iter(state.values()))))]

    def _sweep(self, state: State, fields: State, rows: slice, words: Words) -> None:
        part, scratch = ({n: x[rows] for n, x in each.items()} for each in (state, fields))
        words = (*words, rows.start) if rows.start else words
        machine, last, sweeps = self.machine, self.order[-1], self.recipe.sweeps
        if self.keeps or any(name in machine.lateral for name in last):
            machine.gibbs(part, scratch, sweeps, self.seed, words, order=self.order)
            return
        machine.gibbs(part, scratch, sweeps - 1, self.seed, words, order=self.order)
        machine.gibbs(part, scratch, 1, self.seed, (*words, "last"), last, self.order)
        for name in last:
            machine.kernels.field[name](machine.p, part, scratch[name])

    def shown(self, batch: Batch) -> Shown:
        """The states that `moves` has made, the layers drawn last by their conditional means."""
        if self.recipe.kind == "conditional":
            return self._conditional_means(batch)
        state, fields = self._views(batch)
        rows = len(next(iter(state.values())))
        last = [n for n in self.order[-1] if n not in self.machine.lateral]
        means = {n: self._means[n][:rows] for n in last}
        for name, mean in means.items():
            self.machine.mean(name, fields[name], mean, s=state)
        share, weighted = batch.share, batch.weighted
        if not self.paired:
            share, weighted = np.full(rows, 1 / rows, self.machine.dtype), False
        return Shown({**state, **means}, share, weighted, {n: fields[n] for n in last})

    def _views(self, batch: Batch) -> tuple[State, State]:
        """The states that move with a batch, and their fields."""
        rows = batch.cases if self.paired else self._rows
        return {n: a[:rows] for n, a in self._s.items()}, {n: a[:rows] for n, a in self._fields.items()}

    def _start_at_random(self, batch: Batch, state: State) -> None:
        """Independent units with the means that the data phase has had; lengths and given layers are the batch's."""
        if self.paired:
            data, _ = self.positive.views(batch)
            for name in self.machine.layers:
                if name in self.machine.given or self.machine.artifact.layers[name].support == "counts":
                    state[name][:] = data[name]
        for name in self.machine.layers:
            if name not in self.machine.given:
                words = (*batch.words, "random")
                start_independent(self.machine, name, self.positive.running[name], state, self.seed, words)


def _verify_possible(machine: Machine, recipe: Negative) -> None:
    name = recipe.kind
    if name in ("pcd", "tempering") and machine.given:
        raise Error(
            f"negative = {name} keeps states from one batch to the next, but {machine.given[0]} is given anew in each; "
            "write negative = cd(1) or gibbs(10)"
        )
    if name in ("exact", "tempering") and (
        machine.layers != tuple(machine.artifact.layers) or any(scale != 1 for scale in machine.scale.values())
    ):
        why = "sums over" if name == "exact" else "anneals"
        raise Error(f"negative = {name} {why} the whole model, so greedy cannot use it; write negative = cd(1) there")
