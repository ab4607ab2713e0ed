"""Parallel tempering: chains of the model, and replicas of them at higher temperatures that move more freely.

At inverse temperature t from 0 to 1 a replica's distribution is, up to its normaliser,

    p_t(s) = exp(-base(s) + ((1 - t) o0 + t o) s + t (sum over edges)),        o0 the own fields of independent units

with the means of the data: at t = 0 every sweep is a fresh draw, and at t = 1 it is the model. Replicas of a chain at
neighbouring temperatures exchange their states with probability min(1, exp((t' - t) (D(s) - D(s')))), where D(s) is
log p_1 - log p_0 up to constants: that leaves all the distributions as they are. Only the states at t = 1 are states of
the model. The replicas of one chain have documents of the same lengths.

Source: Desjardins, Courville, Bengio, Vincent and Delalleau (2010); Salakhutdinov (2010).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.runtime.estimators.annealing import base_fields
from pgmdsl.runtime.machine import Blocks, Machine, State, Words
from pgmdsl.runtime.random import stream_key, uniforms
from pgmdsl.runtime.recipe import Negative

Array = NDArray[Any]


class Tempering:
    """Replicas at all temperatures, and their exchange.

    Attributes:
        chains: by layer, the states of all replicas, (temperatures * chains, size), those at t = 1 first.
        cold: by layer, the states at t = 1, (chains, size), views of `chains`.
        exchanged: (2, temperatures - 1): for each pair of neighbouring temperatures, the exchanges tried and made.
        base: by layer, the own fields of independent units (size,).
    """

    def __init__(self, machine: Machine, recipe: Negative, order: Blocks, seed: int) -> None:
        """Allocate `recipe.chains` chains at `recipe.temperatures` temperatures."""
        self.machine, self.order, self.seed = machine, order, seed
        self.rows, self.temperatures = recipe.chains, np.linspace(1, 0, recipe.temperatures)
        self.chains = machine.new_state(self.rows * recipe.temperatures)
        self.replicas = [
            {n: a[i * self.rows : (i + 1) * self.rows] for n, a in self.chains.items()}
            for i in range(recipe.temperatures)
        ]
        self.cold = self.replicas[0]
        self.exchanged = np.zeros((2, recipe.temperatures - 1))
        self.base = {n: np.zeros(machine.artifact.layers[n].size, machine.dtype) for n in machine.layers}

    def arrays(self) -> dict[str, Array]:
        """All that is carried from step to step, besides the chains."""
        return {"tempering/exchanged": self.exchanged} | {f"tempering/base/{n}": b for n, b in self.base.items()}

    def start(self, means: Mapping[str, Array]) -> None:
        """Every replica at the state of its chain; the independent units with these mean statistics."""
        for replica in self.replicas[1:]:
            for name, x in replica.items():
                x[:] = self.cold[name]
        for name, field in base_fields(self.machine, means).items():
            exposure = self.machine.exposure(name, self.cold)
            self.base[name][:] = field if exposure is None else field / exposure.mean()

    def advance(self, fields: State, sweeps: int, words: Words) -> tuple[str, ...]:
        """So many times: exchanges, then a sweep of each replica.

        Returns the layers that the chains updated last, of which `fields` holds the coupling fields.
        """
        last: tuple[str, ...] = ()
        for sweep in range(sweeps):
            self._exchange((*words, sweep, "exchange"))
            for i in range(len(self.replicas) - 1, -1, -1):  # the chains themselves last: `fields` is then theirs
                last = self._sweep(i, fields, (*words, sweep, i))
        return last

    def _sweep(self, i: int, fields: State, words: Words) -> tuple[str, ...]:
        machine, t = self.machine, float(self.temperatures[i])
        scale = dict.fromkeys(machine.layers, t)
        keys = {n: stream_key(self.seed, *words, n) for block in self.order for n in block}
        machine.kernels.gibbs_sweep(
            machine.p, self.replicas[i], self._own(t), scale, keys, fields, set(machine.given), self.order, {}
        )
        return tuple(n for n in self.order[-1] if n not in machine.lateral)

    def _own(self, t: float) -> dict[str, Array]:
        """The own fields at an inverse temperature; at t = 1 the model's, to the bit."""
        dtype = self.machine.dtype.type
        return {n: o if t == 1 else dtype(t) * o + dtype(1 - t) * self.base[n] for n, o in self.machine.own.items()}

    def _exchange(self, words: Words) -> None:
        """Neighbouring replicas of each chain exchange their states, every second pair and then the others."""
        gain = [self._gain(replica) for replica in self.replicas]
        pairs = len(self.replicas) - 1
        for i in (*range(0, pairs, 2), *range(1, pairs, 2)):
            warmer, colder = self.temperatures[i + 1], self.temperatures[i]
            odds = (warmer - colder) * (gain[i] - gain[i + 1])
            chance = uniforms(stream_key(self.seed, *words, i), self.rows)
            swap = np.flatnonzero(np.log(np.maximum(chance, np.finfo(np.float64).tiny)) < odds)
            one, other = self.replicas[i], self.replicas[i + 1]
            for x, y in ((gain[i], gain[i + 1]), *((one[n], other[n]) for n in one)):
                x[swap], y[swap] = y[swap], x[swap]
            self.exchanged[:, i] += (self.rows, len(swap))

    def _gain(self, s: State) -> NDArray[np.float64]:
        """How much more probable the model makes each state than the independent units do: D, (chains,)."""
        machine, out = self.machine, np.zeros(self.rows)
        done: State = {}
        for name, x in s.items():
            exposure = machine.exposure(name, s)
            own = x @ (machine.own[name].astype(np.float64) - self.base[name])
            out += own if exposure is None else exposure * own
            if done:
                out += np.einsum("ci,ci->c", x, machine.coupling(name, done, len(x)), dtype=np.float64)
            if name in machine.lateral:
                lateral = machine.coupling(name, {name: x}, len(x))
                out += 0.5 * np.einsum("ci,ci->c", x, lateral, dtype=np.float64)
            done[name] = x
        return out

    def take_rates(self) -> list[float]:
        """The share of exchanges made for each pair of temperatures, the coldest first, since this was last asked."""
        tried, made = self.exchanged
        rates = [float(m / t) if t else 0.0 for t, m in zip(tried, made, strict=True)]
        self.exchanged[:] = 0
        return rates
