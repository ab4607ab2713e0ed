"""States of the model to start from: exact draws where all can be enumerated, else the ends of chains.

Only exact draws make what is estimated from them a bound. Chains that start from data have been everywhere that data
are, and chains of parallel tempering come from a distribution that mixes: neither proves anything, but both may find a
mode that annealing has missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.estimators.annealing import Words
from pgmdsl.runtime.estimators.evidence import Evidence, groups
from pgmdsl.runtime.estimators.exact import LIMIT, cost_of_sums
from pgmdsl.runtime.estimators.sums import Block, GroupSum, combined
from pgmdsl.runtime.machine import State
from pgmdsl.runtime.random import normals, stream_key, uniforms
from pgmdsl.runtime.recipe import Negative
from pgmdsl.runtime.tempering import Tempering

Array = NDArray[Any]
Doubles = NDArray[np.float64]
Start = Literal["exact", "data", "tempering"]

CLAMPED_SWEEPS = 50  # of the hidden layers given data
SWEEPS = 200  # of all layers, from there
TEMPERATURES, TEMPERED_SWEEPS = 20, 500  # of parallel tempering


def default_start(evidence: Evidence, data: Mapping[str, Array] | None) -> Start:
    """Exact draws where they are cheap, else chains from data where there are complete ones, else tempering."""
    cost = cost_of_sums(evidence)
    if cost is not None and cost.evaluations <= LIMIT // 16:
        return "exact"
    return "data" if _fits(evidence, data) else "tempering"


def model_states(
    evidence: Evidence,
    count: int,
    start: Start,
    seed: int,
    words: Words,
    data: Mapping[str, Array] | None = None,
    means: Mapping[str, Array] | None = None,
) -> State:
    """States of all layers, (count, size), given what is known of one case.

    Args:
        evidence: Of one case, whose known layers are known as a whole.
        count: How many states, of as many chains.
        start: How they come about.
        seed: Of all draws.
        words: By which the draws differ from others.
        data: Statistics (cases, size) of the visible layers, without missing values, for `data`.
        means: Mean statistics (size,) of layers, which the highest temperature of `tempering` has.

    Raises:
        Error: the model cannot be enumerated, or there are no data for all visible layers.
    """
    assert evidence.cases == 1, "each case has a distribution of its own"
    if start == "exact":
        return exact_states(evidence, count, seed, words)
    if start == "tempering":
        return _tempered(evidence, count, seed, words, means or {})
    if data is None or not _fits(evidence, data):
        raise Error(
            f"{evidence.machine.artifact.name}: chains start from data only where all visible layers have complete "
            "values and nothing is given, no document's length either: use starts = tempering"
        )
    return _from_data(evidence, count, seed, words, data)


def _from_data(evidence: Evidence, count: int, seed: int, words: Words, data: Mapping[str, Array]) -> State:
    """Ends of chains from cases drawn by seed: the hidden layers first, given these, and then all layers."""
    machine = evidence.machine
    rows = (uniforms(stream_key(seed, *words, "rows"), count) * len(next(iter(data.values())))).astype(np.int64)
    s = _independent(evidence, count, seed, words)
    for name, x in data.items():
        s[name][:] = x[rows]
    machine.gibbs(s, machine.new_state(count), CLAMPED_SWEEPS, seed, (*words, "given data"), tuple(data))
    machine.gibbs(s, machine.new_state(count), SWEEPS, seed, (*words, "free"))
    return s


def _tempered(evidence: Evidence, count: int, seed: int, words: Words, means: Mapping[str, Array]) -> State:
    """Ends of chains of parallel tempering."""
    machine = evidence.machine
    if set(evidence.known) - set(machine.given):
        raise Error(f"{machine.artifact.name}: chains of parallel tempering have no layer clamped but given ones")
    recipe = Negative("tempering", sweeps=1, chains=count, temperatures=TEMPERATURES)
    tempering = Tempering(machine, recipe, machine.blocks, seed)
    for name, x in _independent(evidence, count, seed, words).items():
        tempering.cold[name][:] = x
    tempering.start(means)
    tempering.advance(machine.new_state(count), TEMPERED_SWEEPS, (*words, "tempering"))
    return {n: x.copy() for n, x in tempering.cold.items()}


def _independent(evidence: Evidence, count: int, seed: int, words: Words) -> State:
    """What is known, and draws from the layers' own fields for the rest, (count, size)."""
    machine = evidence.machine
    s = machine.new_state(count)
    for name, x in s.items():
        if name in evidence.known:
            x[:] = evidence.known[name]
            continue
        own = np.ascontiguousarray(np.broadcast_to(evidence.own(name), x.shape))
        trials = (np.full(count, evidence.lengths[name][0]),) if name in evidence.lengths else ()
        key = stream_key(seed, *words, "first", name)
        machine.kernels.sample[name](machine.p, np.zeros_like(x), own, 0.0, key, x, *trials)
    return s


def _fits(evidence: Evidence, data: Mapping[str, Array] | None) -> bool:
    """Whether chains can start from these data."""
    visible = {n for n in evidence.machine.layers if evidence.machine.artifact.layers[n].role == "visible"}
    return bool(data) and not evidence.known and not evidence.lengths and visible == set(data or {})


# --- exact draws ------------------------------------------------------------------------------------------


def exact_states(evidence: Evidence, count: int, seed: int, words: Words, limit: int = LIMIT) -> State:
    """Independent draws from the model given what is known of one case: states of all layers, (count, size).

    The enumerated layers' states are drawn by their probabilities, and the others given those.

    Raises:
        Error: the sum costs more than the limit, or does not close.
    """
    whole = GroupSum(next(groups(evidence)), limit)
    sums = np.array([np.logaddexp.reduce(block.log_weight) for block in whole.blocks()])
    bounds = np.concatenate([[0.0], np.cumsum(np.exp(sums - np.logaddexp.reduce(sums)))])
    u = uniforms(stream_key(seed, *words, "states"), count) * bounds[-1]
    block_of = np.clip(np.searchsorted(bounds, u, side="right") - 1, 0, len(sums) - 1)
    s = evidence.machine.new_state(count)
    for number, block in enumerate(whole.blocks()):
        here = np.flatnonzero(block_of == number)
        if len(here):
            share = (u[here] - bounds[number]) / (bounds[number + 1] - bounds[number])
            _place(block, share, s, here)
    _draw_rest(whole, s, count, seed, words)
    return s


def _place(block: Block, share: Doubles, s: State, rows: NDArray[np.int64]) -> None:
    """Set rows of the enumerated and known layers to states of a block: where these shares of its probability are."""
    reached = np.cumsum(np.exp(block.log_weight - np.logaddexp.reduce(block.log_weight)))
    chosen = np.clip(np.searchsorted(reached, share * reached[-1], side="right"), 0, len(reached) - 1)
    for name, x in combined(block.rows, block.one, len(reached)).items():
        s[name][rows] = x[chosen]


def _draw_rest(whole: GroupSum, s: State, count: int, seed: int, words: Words) -> None:
    """Draw the layers that are summed out, given the others."""
    machine, evidence = whole.machine, whole.evidence
    rest = whole.plan.closed + whole.plan.joint
    above = {n: x for n, x in s.items() if n not in rest}
    fields = {n: machine.coupling(n, above, count) for n in rest}
    for name in whole.plan.closed:
        trials = (np.full(count, evidence.lengths[name][0]),) if name in evidence.lengths else ()
        own = np.ascontiguousarray(np.broadcast_to(evidence.own(name), fields[name].shape))
        key = stream_key(seed, *words, "closed", name)
        machine.kernels.sample[name](machine.p, fields[name], own, 1.0, key, s[name], *trials)
    if whole.joint is not None:
        total = {n: fields[n].astype(np.float64) + evidence.own(n) for n in whole.joint.layers}
        means = whole.joint.means(total)
        root = np.linalg.cholesky(whole.joint.covariance)
        noise = normals(stream_key(seed, *words, "joint"), (count, len(root))) @ root.T
        for name, mean in means.items():
            s[name][:] = mean + noise[:, whole.joint.part(name)]
