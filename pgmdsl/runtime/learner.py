"""One step of learning for any machine: two phases, or the pseudo-likelihood's residuals, then the optimiser.

The positive phase fills in what is latent given the data; the negative phase moves states of the model. The difference
of their statistics is the gradient of the mean log-likelihood, or with contrastive divergence an approximation to it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.machine import NOTHING, Held, Machine, State, Words
from pgmdsl.runtime.negative import NegativePhase
from pgmdsl.runtime.objectives import add_pseudolikelihood
from pgmdsl.runtime.optimise import Average, Optimiser, Rates
from pgmdsl.runtime.penalties import add_sparsity
from pgmdsl.runtime.positive import Batch, PositivePhase
from pgmdsl.runtime.random import stream_key
from pgmdsl.runtime.recipe import Negative, Recipe
from pgmdsl.runtime.statistics import Shown
from pgmdsl.runtime.threads import Started, Threads

if TYPE_CHECKING:
    from pgmdsl.runtime.estimators.exact import ExactStatistics
    from pgmdsl.runtime.feed import Feed
    from pgmdsl.runtime.tempering import Tempering

Array = NDArray[Any]
MEASURED = 2000  # cases at most on which the variance of layers is measured
OFFSET_RATE = 0.01  # of the running means that centre hidden layers
UNITS_DRAWN = 1000  # of each unit without input, whose variance hidden layers begin with in standardised coordinates


class Learner:
    """Everything that one phase of training carries from step to step, with its buffers.

    Attributes:
        machine: what is trained.
        observed: its layers that hold data, given ones among them.
        positive, negative: the two phases; `positive.s` is where the caller puts a batch.
        running: by layer, the data's mean statistic if observed, else the running mean of the positive phase.
        optimiser: the step, with its velocities and offsets.
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
        incomplete: Collection[str] = (),
        drifting: Collection[str] = (),
        masks: Mapping[str, Array] | None = None,
        threads: Threads | None = None,
    ) -> None:
        """Allocate all buffers. Raises `Error` for settings that this machine cannot follow.

        Args:
            machine: what is trained.
            observed: its layers that hold data.
            recipe: the phase's settings.
            trained: the names of the parameters that are trained.
            seed: of all random numbers.
            incomplete: those of the observed layers that have missing values.
            drifting: those of the observed layers whose means change while the model learns.
            masks: by weight, where it has entries, for those that do not have all.
            threads: what a step's parts run on; by default on one.
        """
        self.machine, self.recipe, self.seed = machine, recipe, seed
        self.threads = threads or Threads()
        self.observed = tuple(n for n in machine.layers if n in observed)
        self.latent = tuple(n for n in machine.layers if n not in observed)
        self.moving = tuple(n for n in machine.layers if n in {*self.latent, *incomplete, *drifting})
        _verify_objective(self, incomplete)
        layers = machine.artifact.layers
        self.running = {n: np.zeros(layers[n].size, machine.dtype) for n in machine.layers}
        enumerable = recipe.negative.kind == "exact"
        self.positive = PositivePhase(
            machine, observed, recipe.positive, recipe.batch, seed, self.running, enumerable=enumerable
        )
        negative = Negative("exact") if recipe.objective == "pseudolikelihood" else recipe.negative  # needs no states
        self.negative = NegativePhase(machine, self.positive, negative, recipe.batch, seed)
        standardise = recipe.centering == "standardise"
        self.optimiser = Optimiser(machine, trained, recipe.ascent, standardise=standardise, masks=masks)
        self.statistics = self.optimiser.statistics
        self.average = Average(machine, self.optimiser.trained, recipe.average) if recipe.average else None

    @property
    def states(self) -> State:
        """Where the caller puts a batch: statistics of the observed layers."""
        return self.positive.s

    @property
    def trained(self) -> tuple[str, ...]:
        """The names of the parameters that are trained."""
        return self.optimiser.trained

    @property
    def averages(self) -> Mapping[str, Array]:
        """The averaged parameters, as the kernels take them; none where there is no average."""
        return self.average.values if self.average else {}

    @property
    def tempering(self) -> Tempering | None:
        """The exchange between temperatures, if there is one."""
        return self.negative.tempering

    @property
    def approximates_missing(self) -> bool:
        """Whether `positive = exact` has to draw what is missing, as the posterior does not close."""
        incomplete = {n: np.zeros((0, 0), bool) for n in self.moving if n in self.observed}
        return bool(incomplete) and self.recipe.positive.kind == "exact" and self.positive.kind(incomplete) == "gibbs"

    # --- what a checkpoint holds --------------------------------------------------------------------------

    def arrays(self) -> dict[str, Array]:
        """All arrays carried from step to step, by name."""
        optimiser, tempering = self.optimiser, self.negative.tempering
        out = optimiser.rule.state | optimiser.pace.arrays()
        for what, vectors in (
            ("running", self.running),
            ("chain", self.negative.chains),
            ("average", self.average.values if self.average else {}),
        ):
            out |= {f"{what}/{n}": v for n, v in vectors.items()}
        return out | (tempering.arrays() if tempering else {})

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Take the arrays of a checkpoint. Raises `Error` if one is missing or of another shape."""
        for name, array in self.arrays().items():
            if name not in arrays or arrays[name].shape != array.shape:
                raise Error(f"the checkpoint's {name} does not fit this model and its settings; it is of another run")
            array[...] = arrays[name]
        self.optimiser.pace.forget()

    # --- steps --------------------------------------------------------------------------------------------

    def begin(self, feed: Feed, words: Words) -> None:
        """Take what a phase begins with from its data: offsets, chains, and what steps are divided by."""
        chains, held = self.negative.start_states, {}
        if chains:
            rows = len(next(iter(chains.values())))
            cases = feed.first_cases(words, rows)
            feed.fill(cases, {n: x for n, x in chains.items() if n in feed.layers}, (*words, "chains"))
            held = feed.held(cases)
        self.start(feed.means(), words, held)
        wanted = [n for n in feed.layers if self.optimiser.pace.is_measured(n)]
        if wanted:
            cases = feed.sample_cases(MEASURED)
            s = self.machine.new_state(len(cases), wanted)
            feed.fill(cases, s, None)
            weight = feed.data.weight(cases)
            self.optimiser.pace.measure(s, weight / weight.sum(), feed.held(cases))

    def start(self, means: Mapping[str, Array], words: Words, held: Held = NOTHING) -> None:
        """Take the means of the observed layers, and begin the chains.

        Args:
            means: mean statistics (size,) of the observed layers.
            words: what makes the chains' random numbers their own.
            held: by layer with missing values among the cases that chains start from, which entries are observed.
        """
        for name in self.observed:
            self.running[name][:] = means[name]
        for name in self.latent:
            zero = np.zeros((1, self.running[name].size), self.machine.dtype)
            self.machine.kernels.mean[name](self.machine.p, zero, zero[0], 1.0, self.running[name][None])
            if self.optimiser.pace.standardise:
                x = np.zeros((UNITS_DRAWN, zero.size), self.machine.dtype)
                key = stream_key(self.seed, *words, "variance", name)
                self.machine.kernels.sample[name](self.machine.p, np.zeros_like(x), zero[0], 1.0, key, x)
                self.optimiser.pace.follow(name, x.var(axis=0, dtype=np.float64), 1.0)
        self.negative.start(words, held)

    def step(
        self,
        cases: int,
        weights: Array | None,
        mass: float,
        rates: Rates,
        clock: tuple[int, bool],
        words: Words,
        held: Held = NOTHING,
    ) -> None:
        """One step from the data in the first rows of `positive.s`.

        Args:
            cases: how many rows there are.
            weights: (cases,) their weights, or None.
            mass: the batch's total weight relative to an average batch's, a factor of the gradient.
            rates: the values of the schedules.
            clock: the number of steps taken before in this phase, and whether this is the last one.
            words: what makes this step's random numbers its own.
            held: by layer with missing values among these cases, which entries are observed, (cases, size).
        """
        share = np.full(cases, 1 / cases) if weights is None else weights / weights.sum()
        share = share.astype(self.machine.dtype)
        incomplete = {n: mask for n, mask in held.items() if n in self.observed and not mask.all()}
        batch = Batch(cases, share, weights is not None, mass, incomplete, words)
        if self.recipe.objective == "pseudolikelihood":
            means = add_pseudolikelihood(self.machine, self.positive.views(batch)[0], batch, self.statistics)
            self._follow(means, clock[0], batch)
        else:
            moving = self.threads.start(self.negative.moves(batch)) if self.negative.apart else None
            shown, means = self._positive_phase(batch)
            self._follow(means, clock[0], batch)
            self._negative_phase(batch, shown, moving)
        if self.recipe.sparsity is not None:
            add_sparsity(self.machine, self.recipe.sparsity, self.latent, means, self.statistics, mass)
        for name, change in self.optimiser.step(rates, clock[0] + 1).items():
            self.running[name] *= change
        if self.average:
            self.average.note(clock[0] + 1, clock[1])

    def _follow(self, means: Mapping[str, Array], step: int, batch: Batch) -> None:
        """Let running means and what steps are divided by follow the positive phase, and centre on the means."""
        for name in self.moving:
            rate = OFFSET_RATE if step or name in self.observed else 1.0
            self.running[name] += (means[name] - self.running[name]) * rate
        for name, information in self.optimiser.pace.information.items():
            information += (self.statistics.information[name] - information) * (OFFSET_RATE if step else 1.0)
        if self.optimiser.pace.standardise and self.latent:
            self._follow_variance(batch)
        if self.recipe.centering != "off":
            self.optimiser.coordinates.centre(self.running)

    def _follow_variance(self, batch: Batch) -> None:
        """Let the variances of hidden layers follow those of states that are drawn given the data."""
        s, scratch = self.machine.new_state(batch.cases), self.machine.new_state(batch.cases)
        self.positive.draw(batch, s, scratch)
        for name in self.latent:
            variance = batch.share @ np.square(s[name] - batch.share @ s[name], dtype=np.float64)
            self.optimiser.pace.follow(name, variance, OFFSET_RATE)

    # --- phases -------------------------------------------------------------------------------------------

    def _positive_phase(self, batch: Batch) -> tuple[Shown | None, dict[str, Array]]:
        """Begin the statistics; returns the states that they are of, where there are some, and the layers' means."""
        shown = self.positive.fill(batch)
        if shown is not None:
            return shown, self.statistics.add(shown, batch.mass, first=True, products=not self.negative.residual)
        s, _ = self.positive.views(batch)
        clamped = {n: s[n] for n in self.observed}
        exact = _exact_statistics(self.machine, clamped, batch, batch.held, {})
        complete = {n: x for n, x in clamped.items() if n not in batch.held}
        return None, self.statistics.add_exact(complete, exact, batch.share, batch.mass, first=True)

    def _negative_phase(self, batch: Batch, data: Shown | None, moving: Started | None) -> None:
        """Take the model's statistics off those of the data; its states may be `moving` already."""
        if self.recipe.negative.kind != "exact":
            self.threads.finish(self.threads.start(self.negative.moves(batch)) if moving is None else moving)
            model, residual = self.negative.shown(batch), self.negative.residual
            self.statistics.add(model, -batch.mass, first=False, products=not residual)
            if residual:
                assert data is not None, "what is independent given the rest is not enumerated"
                left = {n: x if n in self.machine.given else data.s[n] - x for n, x in model.s.items()}
                self.statistics.add_products(left, batch.share, batch.weighted, batch.mass, first=True)
            if not self.negative.paired and self.statistics.documents:
                self.statistics.settle_lengths(self.running)
            return
        s, _ = self.positive.views(batch)
        lengths = {
            n: s[n].sum(axis=1, dtype=np.float64) for n in self.statistics.documents if n not in self.machine.given
        }
        given = {n: s[n] for n in self.machine.given}
        exact = _exact_statistics(self.machine, given, batch, {}, lengths)
        share = batch.share if given or lengths else np.ones(1, self.machine.dtype)
        self.statistics.add_exact(given, exact, share, -batch.mass, first=False)


def _exact_statistics(
    machine: Machine, clamped: State, batch: Batch, held: Held, lengths: Mapping[str, Array]
) -> ExactStatistics:
    from pgmdsl.runtime.estimators.exact import exact_statistics

    weights = batch.share.astype(np.float64) if clamped or lengths else None
    return exact_statistics(machine, clamped, weights, held=held, lengths=lengths)


def _verify_objective(learner: Learner, incomplete: Collection[str]) -> None:
    if learner.recipe.objective != "pseudolikelihood":
        return
    if learner.latent:
        raise Error(
            f"objective = pseudolikelihood needs every layer observed, and {learner.latent[0]} is hidden: leave the "
            "setting out"
        )
    if incomplete:
        raise Error(
            f"objective = pseudolikelihood needs complete rows, and values of {next(iter(incomplete))} are missing: "
            "leave the setting out, so that missing values are latent variables, or fill them in with pgmc impute"
        )
