"""RAISE: log-probabilities under annealing itself, bounded from below, without log Z.

Annealing from the base to the model ends in states whose distribution, p_ann, is nearly the model's. Of a state v of
the visible layers it is bounded by chains that go back from v to the base: with x_K the state of all layers, drawn
given v,

    log p_ann(v) >= E log w,    w = f(v) / Z_base  prod_k f_k-1(x_k) / f_k(x_k),

where f(v) is the sum over hidden layers, or importance weights of them (`importance`), and f_k is the k-th distribution
of the path, unnormalised. The mean of several chains' w is tighter. What is bounded is p_ann, which nobody trains: it
tends to p as temperatures grow, and for few of them may lie above p or below.

Source: Burda, Grosse and Salakhutdinov (2015), section 4, eq. 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.runtime.estimators.ais import Annealing, Sources
from pgmdsl.runtime.estimators.annealing import Words, base_fields, log_partition_of_base
from pgmdsl.runtime.estimators.chains import Chains, Progress, anneal
from pgmdsl.runtime.estimators.evidence import Evidence, gather
from pgmdsl.runtime.estimators.importance import Posterior
from pgmdsl.runtime.estimators.normalise import require_normalised
from pgmdsl.runtime.estimators.schedules import schedule
from pgmdsl.runtime.machine import Machine, State

Array = NDArray[Any]
Doubles = NDArray[np.float64]

CHAINS, TEMPERATURES = 10, 1000  # of each case, where nothing is stated
CASES = 500  # at a time


def raise_weights(
    machine: Machine,
    clamped: Mapping[str, Array],
    how: Annealing = Annealing(),
    *,
    sources: Sources = Sources(),
    progress: Progress | None = None,
) -> Doubles:
    """Log w of each case's chains, (chains, cases).

    Args:
        machine: The model with its parameters.
        clamped: Statistics (cases, size) of visible layers, complete, and of given ones.
        how: Chains of each case (10 where None), temperatures (1,000 where None), seed.
        sources: Whose means set the base.
        progress: Called with (steps done, steps) about a hundred times.
    """
    chains = how.rows_of(CHAINS)
    chains.verify()
    require_normalised(machine, frozenset(machine.given))
    evidence = gather(machine, clamped)
    given = {n: x for n, x in clamped.items() if n in machine.given}
    condition = gather(machine, given or None, lengths=evidence.lengths)
    if condition.cases != evidence.cases:
        condition = condition.take(np.zeros(evidence.cases, np.int64))
    betas, parts = schedule(how.temperatures or TEMPERATURES), []
    chunks = range(0, evidence.cases, CASES)
    for number, first in enumerate(chunks):
        rows = slice(first, first + CASES)
        part, words = condition.take(rows), ("raise", number)
        starts, weight = _starts(evidence.take(rows), chains, words)
        base = base_fields(machine, sources.means, part)

        def tick(done: int, total: int, before: int = number) -> None:
            if progress is not None:
                progress(before * total + done, len(chunks) * total)

        found = anneal(part, base, betas, chains, words, starts=starts, redrawn=True, progress=tick)
        parts.append(weight + found.log_weight.T - log_partition_of_base(part, base))
    return np.concatenate(parts, axis=1)


def _starts(evidence: Evidence, chains: Chains, words: Words) -> tuple[State, Doubles]:
    """States of all layers that are not given, (cases * chains, size), and log f(v) or its weights, (chains, cases)."""
    posterior = Posterior(evidence)
    states, weights = [], []
    for chain in range(chains.count):
        s, weight = posterior.draw(chains.seed, (*words, "hidden", chain))
        states.append(posterior.complete(s, chains.seed, (*words, "rest", chain)))
        weights.append(weight)
    machine = evidence.machine
    free = [n for n in machine.layers if n not in machine.given]
    starts = {n: np.stack([s[n] for s in states], axis=1).reshape(-1, states[0][n].shape[1]) for n in free}
    return starts, np.stack(weights)
