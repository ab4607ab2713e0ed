"""One step of maximum likelihood, or of contrastive divergence, for any machine: two phases, then the optimiser.

    G = E_data[s_a s_b'] - E_model[s_a s_b'],        d = E_data[s] - E_model[s]

The positive phase fills in the hidden layers given the data; the negative phase moves states of the model by Gibbs
sweeps. In both, the layers updated last enter with their conditional means instead of samples, which leaves the
expectation as it is and lessens the noise (Rao and Blackwell).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.machine import Machine, State, Words
from pgmdsl.runtime.optimise import Average, Optimiser, Rates
from pgmdsl.runtime.parameters import inside
from pgmdsl.runtime.random import stream_key
from pgmdsl.runtime.recipe import Recipe

Array = NDArray[Any]
OFFSET_RATE = 0.01  # of the running means that centre hidden layers
CLAMPED_SWEEPS = 5  # that draw coupled hidden layers given data, where cd starts and the positive phase has no samples


class Learner:
    """Everything that one phase of training carries from step to step, with its buffers.

    Attributes:
        machine: what is trained.
        observed: its layers that hold data.
        positive: their statistics and those of the other layers, (batch, size); the caller fills in the observed.
        chains: the persistent states, for `negative = pcd`, else empty.
        running: by layer, the data's mean statistic if observed, else the running mean of the positive phase.
        optimiser: velocities and offsets.
        average: the average of the parameters, or None.
    """

    def __init__(
        self,
        machine: Machine,
        observed: Collection[str],
        recipe: Recipe,
        trained: Collection[str],
        seed: int,
        *,
        weighted: bool = False,
    ) -> None:
        """Allocate all buffers. Raises `Error` for settings that this machine cannot follow."""
        self.machine, self.recipe, self.seed = machine, recipe, seed
        self.observed = tuple(n for n in machine.layers if n in observed)
        self.latent = tuple(n for n in machine.layers if n not in observed)
        self.independent = machine.independent(self.latent)
        restricted = machine.layers != tuple(machine.artifact.layers)
        if restricted and recipe.negative.kind == "exact":
            raise Error(
                "negative = exact sums over the whole model, so greedy cannot use it; write negative = cd(1) there"
            )
        # A sweep begins at the data, so that it starts from what the hidden layers know of them (cd) or were left at
        # (pcd), and ends with hidden layers, whose means then serve both the statistics and their draws.
        self.order = tuple(sorted(machine.blocks, key=lambda block: not set(block) & set(self.observed)))
        self.positive = machine.new_state(recipe.batch)
        self._positive_fields = machine.new_state(recipe.batch, self.latent)
        self._positive_means = machine.new_state(recipe.batch, self.latent if recipe.positive.kind == "gibbs" else ())
        kind = recipe.negative.kind
        rows = {"exact": 0, "pcd": recipe.negative.chains}.get(kind, recipe.batch)
        self._negative = machine.new_state(rows)
        self._negative_fields = machine.new_state(rows)
        self._negative_means = machine.new_state(rows, self.order[-1])
        self.chains = self._negative if kind == "pcd" else {}
        self._scaled = machine.new_state(recipe.batch if weighted else 0)
        self.running = {n: np.zeros(machine.artifact.layers[n].size, machine.dtype) for n in machine.layers}
        self.optimiser = Optimiser(machine, trained)
        trained_here = (*self.optimiser.weights, *self.optimiser.biases)
        self.average = Average(machine, trained_here, recipe.average) if recipe.average else None

    # --- what a checkpoint holds --------------------------------------------------------------------------

    def arrays(self) -> dict[str, Array]:
        """All arrays carried from step to step, by name."""
        out = {f"velocity/{n}": v for n, v in self.optimiser.velocity.items()}
        out |= {f"running/{n}": v for n, v in self.running.items()}
        out |= {f"chain/{n}": v for n, v in self.chains.items()}
        return out | {f"average/{n}": v for n, v in (self.average.values if self.average else {}).items()}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Take the arrays of a checkpoint. Raises `Error` if one is missing or of another shape."""
        for name, array in self.arrays().items():
            if name not in arrays or arrays[name].shape != array.shape:
                raise Error(f"the checkpoint's {name} does not fit this model and its settings; it is of another run")
            array[...] = arrays[name]
        self._centre()

    # --- steps --------------------------------------------------------------------------------------------

    def start(self, means: Mapping[str, Array], words: Words) -> None:
        """Take the means of the observed layers, and draw the hidden layers of chains whose observed ones are set."""
        for name in self.observed:
            self.running[name][:] = means[name]
        self._centre()
        if self.chains:
            self.machine.bottom_up(self.chains, self._negative_fields, self.observed, self.seed, (*words, "start"))

    def step(
        self, cases: int, weights: Array | None, mass: float, rates: Rates, clock: tuple[int, bool], words: Words
    ) -> None:
        """One step from the data in the first rows of `positive`.

        Args:
            cases: how many rows there are.
            weights: (cases,) their weights, or None.
            mass: the batch's total weight relative to an average batch's, a factor of the gradient.
            rates: the values of the schedules.
            clock: the number of steps taken before in this phase, and whether this is the last one.
            words: what makes this step's random numbers its own.
        """
        share = np.full(cases, 1 / cases) if weights is None else weights / weights.sum()
        share = share.astype(self.machine.dtype)
        s = {n: a[:cases] for n, a in self.positive.items()}
        fields = {n: a[:cases] for n, a in self._positive_fields.items()}
        shown = self._positive_phase(s, fields, words)
        means = self._gather(shown, share, weights is not None, mass, first=True)
        for name in self.latent:
            self.running[name] += (means[name] - self.running[name]) * (OFFSET_RATE if clock[0] else 1.0)
        self._centre()
        self._negative_phase(s, fields, share, weights is not None, mass, words)
        self.optimiser.step(rates)
        if self.average:
            self.average.note(clock[0] + 1, clock[1])

    def _positive_phase(self, s: State, fields: State, words: Words) -> State:
        """Fill in the latent layers; returns the state to take statistics of."""
        kind, sweeps = self.recipe.positive.kind, self.recipe.positive.sweeps
        match kind:
            case "exact" if self.independent:
                self.machine.posterior(s, fields, self.observed)
            case "exact":
                pass  # `_gather` enumerates
            case "mean_field":
                self.machine.mean_field(s, fields, sweeps, self.observed)
            case "gibbs":
                last = self._draw_given_data(s, fields, sweeps, words)
                return {**s, **self._means(last, fields, self._positive_means)}
        return s

    def _draw_given_data(self, s: State, fields: State, sweeps: int, words: Words) -> tuple[str, ...]:
        self.machine.bottom_up(s, fields, self.observed, self.seed, (*words, "up"))
        return self.machine.gibbs(s, fields, sweeps, self.seed, (*words, "positive"), self.observed)

    def _means(self, layers: tuple[str, ...], fields: State, out: State) -> State:
        """The conditional means of the layers updated last, in buffers."""
        means = {n: out[n][: len(fields[n])] for n in layers}
        for name, mean in means.items():
            self.machine.mean(name, fields[name], mean)
        return means

    def _negative_phase(self, s: State, fields: State, share: Array, weighted: bool, mass: float, words: Words) -> None:
        negative = self.recipe.negative
        if negative.kind == "exact":
            self._gather_exact({}, None, -mass, first=False)
            return
        rows = len(share) if negative.kind == "cd" else len(next(iter(self._negative.values())))
        state = {n: a[:rows] for n, a in self._negative.items()}
        scratch = {n: a[:rows] for n, a in self._negative_fields.items()}
        if negative.kind == "cd":
            self._start_at_data(s, fields, state, scratch, words)
        elif negative.kind == "gibbs":
            self._start_at_random(state, scratch, words)
        last = self.machine.gibbs(state, scratch, negative.sweeps, self.seed, (*words, "negative"), order=self.order)
        shown = {**state, **self._means(last, scratch, self._negative_means)}
        if negative.kind != "cd":
            share, weighted = np.full(rows, 1 / rows, self.machine.dtype), False
        self._gather(shown, share, weighted, -mass, first=False)

    def _start_at_data(self, s: State, fields: State, state: State, scratch: State, words: Words) -> None:
        """Observed layers as in the data, the others drawn from what the positive phase knows of them."""
        for name in self.observed:
            state[name][:] = s[name]
        kind = self.recipe.positive.kind
        if kind == "gibbs":
            for name in self.latent:
                state[name][:] = s[name]
        elif kind == "exact" and not self.independent:
            self._draw_given_data(state, scratch, CLAMPED_SWEEPS, (*words, "cd"))
        else:
            for name in self.latent:
                self.machine.sample(name, fields[name], stream_key(self.seed, *words, "cd", name), state[name])

    def _start_at_random(self, state: State, scratch: State, words: Words) -> None:
        """Independent units with the means that the data phase has had."""
        for name, x in state.items():
            mean = inside(self.machine.artifact.layers[name], self.running[name]).astype(self.machine.dtype)
            own = self.machine.kernels.field_of_mean[name](self.machine.p, mean)
            scratch[name][:] = 0
            key = stream_key(self.seed, *words, "random", name)
            self.machine.kernels.sample[name](self.machine.p, scratch[name], own, 1.0, key, x)

    # --- statistics ---------------------------------------------------------------------------------------

    def _gather(self, s: State, share: Array, weighted: bool, factor: float, *, first: bool) -> State:
        """Add factor * the mean statistics of a state to `gradient` and `delta`; returns the layers' means.

        The mean over cases of s_a s_b' is taken of equal weights as a plain product, of others as that of statistics
        times the square roots of the cases' shares.
        """
        optimiser = self.optimiser
        if first and self.recipe.positive.kind == "exact" and not self.independent:
            return self._gather_exact({n: s[n] for n in self.observed}, share, factor, first=True)
        means = {n: share @ x for n, x in s.items()}
        for name, mean in means.items():
            self._add(optimiser.delta[name], factor * mean, first)
        scale = factor / len(share)
        if weighted:
            root = np.sqrt(share)[:, None]
            s, scale = {n: np.multiply(x, root, out=self._scaled[n][: len(share)]) for n, x in s.items()}, factor
        for weight, out in optimiser.gradient.items():
            self.machine.kernels.weight_statistics[weight](s, scale, not first, out)
        return means

    def _gather_exact(self, clamped: State, share: Array | None, factor: float, *, first: bool) -> State:
        """The same for exact expectations, by enumeration, given the clamped layers or of the model itself."""
        from pgmdsl.runtime.estimators.exact import exact_statistics

        exact = exact_statistics(self.machine, clamped, None if share is None else share.astype(np.float64))
        here = np.ones(1) if share is None else share
        means = {n: (here @ x).astype(self.machine.dtype) for n, x in {**clamped, **exact.means}.items()}
        for name, mean in means.items():
            self._add(self.optimiser.delta[name], factor * mean, first)
        for weight, out in self.optimiser.gradient.items():
            self._add(out, factor * exact.products[weight], first)
        return means

    @staticmethod
    def _add(out: Array, value: Array, first: bool) -> None:
        if first:
            out[...] = value
        else:
            out += value.astype(out.dtype, copy=False)

    def _centre(self) -> None:
        if self.recipe.centering:
            for name, offset in self.optimiser.offsets.items():
                offset[:] = self.running[name]
