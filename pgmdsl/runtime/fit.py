"""Epochs and steps of one machine: the loop that `fit` and every stage of `greedy` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.belief_learner import BeliefLearner
from pgmdsl.runtime.feed import Feed
from pgmdsl.runtime.learner import Learner
from pgmdsl.runtime.machine import Machine, Words
from pgmdsl.runtime.optimise import Rates
from pgmdsl.runtime.random import permutation, stream_key
from pgmdsl.runtime.recipe import Patience, Recipe
from pgmdsl.runtime.steps import Steps

Array = NDArray[Any]
J = TypeVar("J", bound=Steps)


@dataclass
class Job(Steps):
    """One machine to be trained on one feed; everything a step needs.

    Attributes:
        name: as shown: `fit`, `greedy h2`.
        words: what makes its random numbers its own: the numbers of its phase and stage.
        step: how many steps have been taken.
        best: the best parameters so far by validation, under `stop`, else empty.
        best_value: their value of the metric (greater is better).
        since_best: epochs since.
    """

    name: str
    words: Words
    machine: Machine
    feed: Feed
    valid: Feed | None
    recipe: Recipe
    learner: Learner | BeliefLearner
    step: int = 0
    best_value: float | None = None
    since_best: int = 0

    def __post_init__(self) -> None:
        """Derive the number of steps."""
        self.cases = self.feed.data.cases
        self.steps_per_epoch = -(-self.cases // self.recipe.batch)
        self.steps = self.recipe.total_steps(self.steps_per_epoch)
        self.best: dict[str, Array] = {}

    @property
    def patience(self) -> Patience | None:
        """The job's `stop`."""
        return self.recipe.stop

    @property
    def seed(self) -> int:
        """Of the order of cases, and of all else that is drawn."""
        return self.feed.seed

    def rates(self, step: int) -> Rates:
        """The values of the schedules at a step, from 0."""
        at = (step // self.steps_per_epoch, step, step / self.steps)
        recipe = self.recipe
        rates = Rates(
            recipe.rate.at(*at),
            recipe.momentum.at(*at),
            recipe.decay.at(*at),
            0.0 if recipe.l1 is None else recipe.l1.at(*at),
            np.inf if recipe.max_norm is None else recipe.max_norm.at(*at),
            np.inf if recipe.clip is None else recipe.clip.at(*at),
        )
        if rates.momentum >= 1:
            raise Error(
                f"momentum is {rates.momentum:g} at epoch {at[0]}, and has to be below 1; mend it in the train block"
            )
        return rates

    def start(self) -> None:
        """Offsets, chains and what steps are divided by, before the first step."""
        self.learner.begin(self.feed, self.words)

    def take_step(self, order: Array) -> None:
        """The next step, on the next cases of the epoch's order."""
        cases = self.batch(order)
        words = (*self.words, self.step)
        s = {name: x[: len(cases)] for name, x in self.learner.states.items() if name in self.feed.layers}
        self.feed.fill(cases, s, words)
        weights, mass = None, 1.0
        if self.feed.data.weights is not None:
            weights = self.feed.data.weights[cases]
            mass = float(weights.mean() / self.feed.data.weights.mean())
        clock = (self.step, self.step + 1 == self.steps)
        held = self.feed.held(cases)
        self.learner.step(len(cases), weights, mass, self.rates(self.step), clock, words, held)
        self.step += 1

    def averaged(self) -> Machine:
        """The machine with the averaged parameters, where the phase averages."""
        if not self.learner.averages:
            return self.machine
        parameters = dict(self.machine.parameters)
        for name, value in self.learner.averages.items():
            parameters[name] = value.reshape(parameters[name].shape)
        return self.machine.with_parameters(parameters)

    def keep_best(self, value: float) -> None:
        """Under `stop`, note an epoch's value, and its parameters if it is the best so far."""
        if self.best_value is None or value > self.best_value:
            self.best_value, self.since_best = value, 0
            machine = self.averaged()
            self.best = {n: machine.p[n].copy() for n in self.learner.trained}
        else:
            self.since_best += 1

    def finish(self) -> None:
        """Leave the machine with the best parameters, or with the average, or with the last."""
        for name, value in (self.best or self.learner.averages).items():
            self.machine.p[name][:] = value
        self.machine.refresh()

    def verify_finite(self) -> None:
        """Raise `Error` if training has diverged."""
        for name in self.learner.trained:
            if not np.isfinite(self.machine.p[name]).all():
                raise Error(
                    f"{self.name}: {name} is no longer finite after epoch {self.epochs_begun}: training has diverged. "
                    "Lower the rate, set clip or raise decay; the run keeps its last checkpoint"
                )

    # --- what a checkpoint holds --------------------------------------------------------------------------

    def arrays(self) -> dict[str, Array]:
        """All arrays carried from step to step."""
        return self.learner.arrays() | {f"best/{n}": v for n, v in self.best.items()}

    def restore(self, arrays: Mapping[str, Array], step: int, best_value: float | None, since_best: int) -> None:
        """Go back to a checkpoint."""
        self.learner.restore(arrays)
        self.step, self.best_value, self.since_best = step, best_value, since_best
        self.best = {n.removeprefix("best/"): a for n, a in arrays.items() if n.startswith("best/")}


def incomplete_layers(feed: Feed) -> tuple[str, ...]:
    """The layers of a feed that have missing values."""
    return tuple(n for n in feed.layers if n in feed.data.columns and feed.data.columns[n].missing)


def run_job(job: J, before_step: Callable[[J], None], after_epoch: Callable[[J], None]) -> None:
    """All steps of a job that are left.

    Args:
        job: the job, started or restored.
        before_step: called before each step; the state is then whole, and may be kept.
        after_epoch: called after each epoch.
    """
    while job.step < job.steps and not job.out_of_patience:
        order = permutation(stream_key(job.seed, *job.words, "order", job.epoch), job.cases)
        end = min((job.epoch + 1) * job.steps_per_epoch, job.steps)
        while job.step < end:
            before_step(job)
            job.take_step(order)
        job.verify_finite()
        after_epoch(job)
