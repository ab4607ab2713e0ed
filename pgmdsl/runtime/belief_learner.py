"""One step of learning for a model with directed edges: every part learns from states of all layers.

Given states of all layers, log p(state) is a sum of the parts' log-probabilities, and each part is learned by itself:
a child given its parents by the delta rule (what is observed less its conditional mean, times the parents' statistics),
the core by its two phases. Hidden states follow from data in one of two ways:

- wake-sleep: the recognition edges draw them bottom-up (wake); then the core's own states, drawn down to the data by
  the model, teach the recognition edges by the same rule, which touches nothing else (sleep).
- stochastic EM: Gibbs sampling with the data clamped.

Source: Hinton, Dayan, Frey and Neal (1995), "The wake-sleep algorithm for unsupervised neural networks"; Hinton,
Osindero and Teh (2006), appendix B (up-down: the core is trained by contrastive divergence, from the states of the wake
phase).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.runtime.belief import BeliefNet
from pgmdsl.runtime.learner import MEASURED, Learner
from pgmdsl.runtime.machine import NOTHING, Held, Machine, State, Words
from pgmdsl.runtime.optimise import Rates
from pgmdsl.runtime.recipe import Negative, Positive, Recipe
from pgmdsl.runtime.threads import Threads

if TYPE_CHECKING:
    from pgmdsl.runtime.feed import Feed
    from pgmdsl.runtime.tempering import Tempering

Array = NDArray[Any]
FILLING = 5  # passes up and down by which the wake phase fills in missing values
DREAM = 10  # sweeps of the core, from the states of the wake phase, where its negative phase has no states
MEAN_FIELD = 10  # sweeps for hidden layers of the core that share edges


class BeliefLearner:
    """Everything that one phase of training carries from step to step: a learner for each part.

    Attributes:
        machine: the model.
        states: statistics of all layers: where the caller puts a batch.
        parts: the learners, by the part's name: `core`, children by name, and `q h1` for the recognition of h1.
    """

    approximates_missing = False

    def __init__(
        self,
        machine: BeliefNet,
        observed: Collection[str],
        recipe: Recipe,
        trained: Collection[str],
        seed: int,
        *,
        sleeps: bool,
        masks: Mapping[str, Array] | None = None,
        threads: Threads | None = None,
    ) -> None:
        """Allocate all buffers. Raises `Error` for settings that a part cannot follow.

        Args:
            machine: the model.
            observed: its layers that hold data.
            recipe: the phase's settings.
            trained: the names of the parameters that are trained.
            seed: of all random numbers.
            sleeps: whether recognition edges say what is hidden, and learn in their turn.
            masks: by weight, where it has entries, for those that do not have all.
            threads: what a step's parts run on; by default on one.
        """
        self.machine, self.recipe, self.seed, self.sleeps = machine, recipe, seed, sleeps
        self.threads = threads or Threads()
        self.observed = tuple(n for n in machine.layers if n in observed)
        self._hidden = [n for n in machine.layers if n not in observed]
        self.states = machine.new_state(recipe.batch)
        self._fields = machine.new_state(recipe.batch)
        layers = machine.artifact.layers
        found = frozenset(trained)
        exact = replace(recipe, positive=Positive("exact"), negative=Negative("conditional"), sparsity=None)

        def learner(part: Machine, settings: Recipe, known: Collection[str], names: Collection[str]) -> Learner:
            own = {w: m for w, m in (masks or {}).items() if w in part.parameters}
            drifting = [n for n in known if n in self._hidden]
            here = names & part.parameters.keys()
            return Learner(part, known, settings, here, seed, drifting=drifting, masks=own, threads=self.threads)

        self.parts: dict[str, Learner] = {}
        for name, child in machine.children.items():
            self.parts[name] = learner(child, exact, child.layers, found)
        core = machine.core
        self._sampled = [n for n in core.layers if n in observed or machine.below(n)]
        self.parts["core"] = learner(core, self._core_recipe(exact), self._sampled, found)
        self.parts["core"].negative.keeps = True  # recognition learns from its states
        dreams = replace(exact, batch=max(recipe.batch, recipe.negative.chains))
        for name, target in machine.recognition.items() if sleeps else ():
            units = set(layers[name].parameters.values())
            self.parts[f"q {name}"] = learner(target, dreams, target.layers, found - units)

    def _core_recipe(self, exact: Recipe) -> Recipe:
        """The core's settings: its two phases cost nothing where its units are independent."""
        core = self.machine.core
        if core.independent([n for n in core.layers if n not in core.given]):
            return exact
        latent = [n for n in core.layers if n not in self._sampled]
        positive = Positive("exact") if core.independent(latent) else Positive("mean_field", MEAN_FIELD)
        return replace(self.recipe, positive=positive)

    # --- as of other learners -----------------------------------------------------------------------------

    @property
    def trained(self) -> tuple[str, ...]:
        """The names of the parameters that are trained."""
        return tuple(dict.fromkeys(name for learner in self.parts.values() for name in learner.trained))

    @property
    def averages(self) -> Mapping[str, Array]:
        """The averaged parameters, as the kernels take them; none where there is no average."""
        return {n: x for learner in self.parts.values() for n, x in learner.averages.items()}

    @property
    def tempering(self) -> Tempering | None:
        """The exchange between temperatures, if there is one."""
        return self.parts["core"].tempering

    def arrays(self) -> dict[str, Array]:
        """All arrays carried from step to step, by name."""
        return {f"{part}: {n}": x for part, learner in self.parts.items() for n, x in learner.arrays().items()}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Take the arrays of a checkpoint. Raises `Error` if one is missing or of another shape."""
        for part, learner in self.parts.items():
            start = f"{part}: "
            learner.restore({n.removeprefix(start): x for n, x in arrays.items() if n.startswith(start)})

    # --- steps --------------------------------------------------------------------------------------------

    def begin(self, feed: Feed, words: Words) -> None:
        """Take what a phase begins with from states that go with some of the data: offsets, chains, divisors."""
        chains = self.parts["core"].negative.start_states
        rows = len(next(iter(chains.values()), ()))
        cases = np.concatenate([feed.first_cases(words, rows), feed.sample_cases(MEASURED)])
        s = self.machine.new_state(len(cases))
        feed.fill(cases, {n: s[n] for n in feed.layers}, (*words, "begin"))
        held = {n: mask for n, mask in feed.held(cases).items() if not mask.all()}
        self._fill(s, self.machine.new_state(len(cases)), (*words, "begin"), held)
        for name, x in chains.items():
            x[:] = s[name][:rows]
        share = feed.data.weight(cases[rows:]) / feed.data.weight(cases[rows:]).sum()
        measured = {n: x[rows:] for n, x in s.items()}
        means = {n: (share @ x).astype(self.machine.dtype) for n, x in measured.items()}
        for part, learner in self.parts.items():
            learner.start({n: means[n] for n in learner.observed}, (*words, part))
            wanted = [n for n in learner.observed if learner.optimiser.pace.is_measured(n)]
            if wanted:
                learner.optimiser.pace.measure({n: measured[n] for n in wanted}, share, {})

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
        """One step from the data in the first rows of `states`; arguments as for `Learner.step`."""
        s, fields = ({n: x[:cases] for n, x in y.items()} for y in (self.states, self._fields))
        missing = {n: mask for n, mask in held.items() if n in self.observed and not mask.all()}
        self._fill(s, fields, words, missing)
        waking: dict[Words, Learner] = {(part,): learner for part, learner in self._waking()}
        self._learn(waking, s, cases, weights, mass, rates, clock, words)
        self.machine.refresh()
        if self.sleeps:
            self._sleep(s, (weights, mass), rates, clock, words)

    def _waking(self) -> Iterator[tuple[str, Learner]]:
        """The learners of the model itself."""
        return ((part, learner) for part, learner in self.parts.items() if not part.startswith("q "))

    def _learn(
        self,
        learners: Mapping[Words, Learner],
        s: State,
        cases: int,
        weights: Array | None,
        mass: float,
        rates: Rates,
        clock: tuple[int, bool],
        words: Words,
    ) -> None:
        """A step of each of these from states of all layers; beside each other, unless one has what another trains."""

        def step(name: Words, learner: Learner) -> None:
            _show(learner, s)
            learner.step(cases, weights, mass, rates, clock, (*words, *name))

        tasks = [partial(step, name, learner) for name, learner in learners.items()]
        each = list(learners.values())
        if any(one is not other and other.machine.p.keys() & set(one.trained) for one in each for other in each):
            for task in tasks:
                task()
        else:
            self.threads.run(tasks)

    def _fill(self, s: State, fields: State, words: Words, held: Held) -> None:
        """States of what is hidden or missing, given the data, in place."""
        net, known = self.machine, [n for n in self.observed if n not in held]
        for name in held:
            net.pass_down(s, self.seed, (*words, "missing"), [n for n in net.children if n != name], held)
        passes = FILLING if held and self.sleeps else 1
        for number in range(passes):
            net.draw_up(s, fields, self.seed, (*words, "wake", number), known, held)
            if held and self.sleeps:
                net.pass_down(s, self.seed, (*words, "wake", number), [n for n in net.children if n not in held], held)
        if not self.sleeps:
            net.gibbs(s, fields, self.recipe.positive.sweeps, self.seed, (*words, "positive"), known, held=held)

    def _sleep(
        self,
        s: State,
        weighed: tuple[Array | None, float],
        rates: Rates,
        clock: tuple[int, bool],
        words: Words,
    ) -> None:
        """States of the model, and what they teach the recognition edges.

        Those that belong to cases of the batch, of whose given layers they are, have `weighed`: their weights and mass.
        """
        net, cases = self.machine, len(next(iter(s.values())))
        core, paired = self.parts["core"].negative.states(cases), self.parts["core"].negative.paired
        weights, mass = weighed if paired or not core else (None, 1.0)
        rows = len(next(iter(core.values()), ())) or cases
        dream = {n: (core[n] if n in core else np.resize(x, (rows, x.shape[1]))).copy() for n, x in s.items()}
        if not core:
            inner = {n: dream[n] for n in net.core.layers}
            net.core.gibbs(inner, net.core.new_state(rows), DREAM, self.seed, (*words, "dream"))
        net.pass_down(dream, self.seed, (*words, "sleep"), net.given)
        dreamers: dict[Words, Learner] = {("q", name): self.parts[f"q {name}"] for name in net.recognition}
        self._learn(dreamers, dream, rows, weights, mass, rates, clock, words)
        net.refresh()


def _show(learner: Learner, s: State) -> None:
    """States of all layers into a learner's buffers."""
    for name in learner.observed:
        learner.states[name][: len(s[name])] = s[name]
