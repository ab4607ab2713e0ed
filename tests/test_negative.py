"""Which layers the negative phase draws, how often, and by which means the last are shown; divisors that follow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import test_belief
from builders import DBM, RBM
from test_learning import MODELS, learner_of

from pgmdsl.runtime.learner import Learner
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.positive import Batch

CASES = 40


def batch_in(learner: Learner) -> Batch:
    """Random states of the observed layers, and what is latent given them."""
    rng = np.random.default_rng(5)
    for name in learner.observed:
        learner.states[name][:] = rng.random(learner.states[name].shape) < 0.5
    learner.start({n: learner.states[n].mean(axis=0) for n in learner.observed}, (0,))
    batch = Batch(CASES, np.full(CASES, 1 / CASES), False, 1.0, {}, (0, 1))
    learner.positive.fill(batch)
    return batch


def watched(machine: Machine) -> list[set[str]]:
    """The layers that each later sweep of this machine draws."""
    seen, sweep = [], machine.kernels.gibbs_sweep

    def watching(p: Any, s: Any, own: Any, scale: Any, keys: Any, fields: Any, clamped: Any, *more: Any) -> None:
        seen.append({n for block in more[0] for n in block} - set(clamped))
        sweep(p, s, own, scale, keys, fields, clamped, *more)

    machine.kernels = replace(machine.kernels, gibbs_sweep=watching)
    return seen


@pytest.mark.parametrize(
    ("text", "keeps", "last"),
    [
        (RBM, False, {"v"}),
        (RBM, True, {"v", "h"}),
        (DBM, False, {"v", "h2"}),
        (MODELS["lateral"], False, {"v", "h"}),
    ],
)
@pytest.mark.parametrize("sweeps", [1, 3])
def test_what_each_sweep_draws(text: str, keeps: bool, last: set[str], sweeps: int) -> None:
    """All layers, so many times; the last time without those that are shown by means, unless states are kept."""
    learner = learner_of(text, f"positive = gibbs(2), negative = cd({sweeps})")
    learner.negative.keeps = keeps
    batch = batch_in(learner)
    (move,) = learner.negative.moves(batch)
    seen = watched(learner.machine)
    move()
    assert seen == [set(learner.machine.layers)] * (sweeps - 1) + [last]


@pytest.mark.parametrize("text", [RBM, DBM])
@pytest.mark.parametrize("sweeps", [1, 3])
def test_layers_are_shown_by_their_means_given_the_new_states(text: str, sweeps: int) -> None:
    learner = learner_of(text, f"positive = gibbs(2), negative = cd({sweeps})")
    batch, machine = batch_in(learner), learner.machine
    for move in learner.negative.moves(batch):
        move()
    shown = learner.negative.shown(batch)
    assert shown.fields
    for name in shown.fields:
        mean = np.empty_like(shown.s[name])
        machine.mean(name, machine.coupling(name, shown.s, CASES), mean)
        np.testing.assert_allclose(shown.s[name], mean, rtol=0, atol=1e-12)
        assert mean.std() > 0.01


def test_recognition_learns_from_states_that_are_all_drawn() -> None:
    model = test_belief.compiled(test_belief.DBN)
    learner = test_belief.learner_of(model, test_belief.random_parameters(model), ("v", "y"))
    core = learner.parts["core"].machine
    assert learner.sleeps
    rng = np.random.default_rng(5)
    learner.states["v"][:] = rng.random(learner.states["v"].shape) < 0.5
    learner.states["y"][:] = np.eye(learner.states["y"].shape[1])[rng.integers(0, learner.states["y"].shape[1], 64)]
    seen = watched(core)
    learner.step(64, None, 1.0, test_belief.RATES, (0, False), (0, 0))
    assert seen[-1] == set(core.layers)


def test_divisors_follow_what_they_are_made_of() -> None:
    """When variances move, and when a checkpoint's come back."""
    learner = learner_of(RBM, "centering = standardise, negative = cd(1)")
    batch_in(learner)
    pace = learner.optimiser.pace

    def divisors() -> list[Any]:
        return [pace.of_weight("W").copy(), pace.of_bias("a").copy()]

    before, kept = divisors(), {n: x.copy() for n, x in learner.arrays().items()}
    pace.follow("h", pace.variance["h"] * 3, 1.0)
    after = divisors()
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(other, 3 * one)
    learner.restore(kept)
    for one, other in zip(before, divisors(), strict=True):
        np.testing.assert_array_equal(one, other)
