"""What a machine is trained on: observed layers' statistics, and, for greedy stages, hidden layers' drawn from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pgmdsl.runtime.data import Data
from pgmdsl.runtime.kernels import Kernels
from pgmdsl.runtime.machine import Machine, State, Words
from pgmdsl.runtime.parameters import data_statistics
from pgmdsl.runtime.random import permutation, stream_key

Array = NDArray[Any]
Passing = Literal["sample", "factorised", "mean"]
MOST_CASES = 10_000  # from which the means of layers that are not data are measured
SWEEPS = 10  # of Gibbs in an upward pass from layers with missing values


class Feed:
    """Statistics of the lower layers of a machine, for any cases.

    `passes` are trained restricted machines with their upper layer, bottom up: each upper layer is drawn given the
    lower ones (Hinton, Osindero and Teh 2006), and may serve the next. Without passes the feed is the data itself.
    Missing values are filled in for the kernels' sake; `held` says which entries are observed.
    """

    def __init__(
        self,
        data: Data,
        machine: Machine,
        seed: int,
        passes: Sequence[tuple[Machine, str]] = (),
        passing: Passing = "sample",
    ) -> None:
        """Feed `machine`; what it holds of the layers that are data or drawn is filled in.

        `passing` says what passes give: `sample` states drawn layer by layer, `mean` the means given means below,
        `factorised` states drawn at these means (Salakhutdinov 2015, Algorithms 1 and 2).
        """
        self.data, self.machine, self.seed, self.passes = data, machine, seed, tuple(passes)
        self.passing = passing
        drawn = {upper for _, upper in self.passes}
        self.layers = tuple(n for n in machine.layers if n in data.columns or n in drawn)
        self._scratch: State = {}

    def watched(self) -> Feed:
        """The feed for figures: of states of the model, see `Data.drawn`."""
        data = self.data.drawn()
        return self if data is self.data else Feed(data, self.machine, self.seed, self.passes, self.passing)

    @property
    def kernels(self) -> Kernels:
        """The machine's kernels."""
        return self.machine.kernels

    def fill(self, cases: Array, s: State, words: Words | None) -> None:
        """The statistics of some cases into the arrays of `s`; with `words` None always the same for a case's data."""
        present: State = {}
        for name in self.data.columns:
            if name in s or self.passes:
                present[name] = self._target(name, s, len(cases))
                self.data.states(name, cases, present[name], self.kernels, self.seed, words)
                statistic = self.kernels.statistic[name](self.machine.p, present[name])
                if statistic is not present[name]:
                    present[name][:] = statistic
        held = self._held(cases, present) if self.passes else {}
        for machine, upper in self.passes:
            present[upper] = self._target(upper, s, len(cases))
            words_here = ("pass", upper, *(("fixed",) if words is None else words))
            here = {n: x for n, x in present.items() if n in machine.layers}
            drawn = self.passing == "sample" or (self.passing == "factorised" and self._is_last(upper))
            self._draw_upper(machine, upper, here, held, words_here, drawn=drawn)

    def _is_last(self, upper: str) -> bool:
        """Whether no later pass begins at this layer."""
        return not any(upper in machine.layers for machine, other in self.passes if other != upper)

    def held(self, cases: Array) -> dict[str, NDArray[np.bool_]]:
        """Which entries are observed in some cases, (cases, size), of the layers that lack some in them."""
        return self._held(cases, self.machine.layers)

    def _held(self, cases: Array, layers: Iterable[str]) -> dict[str, NDArray[np.bool_]]:
        found = {n: self.data.held(n, cases) for n in layers if n in self.data.columns}
        return {name: mask for name, mask in found.items() if mask is not None}

    def _draw_upper(
        self,
        machine: Machine,
        upper: str,
        s: State,
        held: Mapping[str, NDArray[np.bool_]],
        words: Words,
        *,
        drawn: bool,
    ) -> None:
        """The upper layer of a pass given the lower ones, in place: at once where its units are then independent.

        With missing values, or a lateral edge, by Gibbs sweeps. Without `drawn` its means.
        """
        here = {n: mask for n, mask in held.items() if n in s}
        clamped = {n for n in s if n != upper and n not in here}
        fields = {n: self._target(n, {}, len(x), "field") for n, x in s.items() if n not in clamped}
        if not drawn:
            machine.infer(s, fields, clamped, SWEEPS, here)
            return
        machine.bottom_up(s, fields, clamped, self.seed, words, here)
        if here or upper in machine.lateral:
            machine.gibbs(s, fields, SWEEPS, self.seed, words, clamped, held=here)

    def _target(self, name: str, s: State, cases: int, use: str = "state") -> Array:
        """Where a layer's statistics go: the caller's array, or a buffer of our own."""
        if name in s:
            return s[name]
        place = f"{use}/{name}"
        if place not in self._scratch or len(self._scratch[place]) < cases:
            size = self.machine.artifact.layers[name].size
            self._scratch[place] = np.zeros((cases, size), self.machine.dtype)
        return self._scratch[place][:cases]

    def means(self) -> dict[str, Array]:
        """The mean statistic (size,) of each layer it fills in: exact for data, from up to 10,000 cases otherwise."""
        means = {n: x.astype(self.machine.dtype) for n, x in data_statistics(self.machine, self.data).items()}
        drawn = [n for n in self.layers if n not in means]
        if drawn:
            means |= self._drawn_means(drawn)
        return means

    def _drawn_means(self, drawn: list[str]) -> dict[str, Array]:
        cases = self.sample_cases(MOST_CASES)
        total = {n: np.zeros(self.machine.artifact.layers[n].size) for n in drawn}
        for part in np.array_split(cases, max(1, len(cases) // 1000)):
            s = self.machine.new_state(len(part), drawn)
            self.fill(part, s, None)
            weight = self.data.weight(part)
            for name in drawn:
                total[name] += weight @ s[name]
        mass = self.data.weight(cases).sum()
        return {n: (t / mass).astype(self.machine.dtype) for n, t in total.items()}

    def first_cases(self, words: Words, count: int) -> Array:
        """So many case numbers for chains to start from, every case as often as others, in an order of their own."""
        order = permutation(stream_key(self.seed, *words, "chains"), self.data.cases)
        return order[np.arange(count) % self.data.cases]

    def sample_cases(self, most: int) -> Array:
        """At most so many case numbers, the same at every call."""
        return np.sort(permutation(stream_key(self.seed, "watched"), self.data.cases)[:most])
