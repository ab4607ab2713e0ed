"""Likelihoods to watch while a model trains, by the estimators of its figures, within a small share of the work.

A model that can be enumerated for that has its exact likelihood; another an annealed one, as far as the share allows
and the chains say that it is worth something. The pseudo-likelihood costs next to nothing and is there wherever the
model has one: it falls when training goes wrong, and says little about how good the model is. All are functions of the
parameters and the seed alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.estimators.ais import Annealing, Sources
from pgmdsl.runtime.estimators.evidence import gather
from pgmdsl.runtime.estimators.exact import cost_of_sums
from pgmdsl.runtime.estimators.pseudolikelihood import allows_pseudolikelihood, pseudolikelihoods
from pgmdsl.runtime.estimators.result import LEAST_SHARE, LogPartition
from pgmdsl.runtime.estimators.scores import score_cases
from pgmdsl.runtime.evaluation import conditions_of, log_partition_of_cases
from pgmdsl.runtime.fit import Job
from pgmdsl.runtime.machine import Machine, State
from pgmdsl.runtime.metrics import Metrics

if TYPE_CHECKING:
    from pgmdsl.runtime.monitor import Taken

SHARE = 0.03  # of the unit evaluations since the last figures that these may take
PASSES = 3  # unit evaluations of each unit of a case in a step, at least: data, model, statistics
CHAINS, TEMPERATURES = 20, 200  # of annealing; fewer temperatures than these are not worth it


def likelihoods(job: Job, machine: Machine, sets: Mapping[str, Taken], epochs: int) -> Metrics:
    """`pseudolikelihood` and `likelihood`, or `bound`, the mean over some cases in nats, as far as they can be had.

    `annealed`: of an annealed likelihood, the effective sample size as a share of the chains.

    Args:
        job: What trains.
        machine: With the parameters that are watched.
        sets: By prefix of the names, the cases; complete ones are used.
        epochs: How many have passed since the last figures, and pay for these.
    """
    complete = {prefix: taken for prefix, taken in sets.items() if not taken.held}
    if machine.undirected is not machine or any(scale != 1 for scale in machine.scale.values()) or not complete:
        return {}
    observed = {prefix: {n: taken.s[n] for n in job.feed.layers} for prefix, taken in complete.items()}
    out: Metrics = {}

    def note(name: str, values: Mapping[str, np.ndarray]) -> None:
        for prefix, value in values.items():
            mean = float(np.average(value, weights=complete[prefix].weight))
            if np.isfinite(mean):
                out[prefix + name] = float(f"{mean:.6g}")

    if allows_pseudolikelihood(machine, set(job.feed.layers)):
        note("pseudolikelihood", {prefix: pseudolikelihoods(machine, s)[0] for prefix, s in observed.items()})
    units = sum(machine.artifact.layers[n].size for n in machine.layers)
    budget = SHARE * epochs * job.cases * PASSES * units
    try:
        log_z = _log_partition(job, machine, next(iter(observed.values())), budget, units)
        if log_z is not None:
            limit = int(budget) + units * max(
                len(taken.weight) for taken in complete.values()
            )  # sums that close are free
            scores = {prefix: score_cases(machine, s, log_z, limit=limit) for prefix, s in observed.items()}
            bounded = any(score.side == "lower bound" for score in scores.values())
            note("bound" if bounded else "likelihood", {prefix: score.values for prefix, score in scores.items()})
            if log_z.effective_sample_size is not None:
                out["annealed"] = float(f"{log_z.effective_sample_size / CHAINS:.3g}")
    except Error:  # the model is not shown to normalise, which other figures tell of
        return out
    return out


def _log_partition(job: Job, machine: Machine, s: State, budget: float, units: int) -> LogPartition | None:
    """One log Z of all cases, within the budget; None where there is none, or nothing worth its cost."""
    given, lengths = conditions_of(machine, s)
    if given or lengths:
        return None
    cost = cost_of_sums(gather(machine))
    temperatures = int(budget / (CHAINS * units))
    if cost is not None and cost.evaluations <= budget:
        found = log_partition_of_cases(machine, "exact")
    elif temperatures >= TEMPERATURES:
        how = Annealing(chains=CHAINS, temperatures=temperatures, seed=job.seed)
        found = log_partition_of_cases(machine, "ais", Sources(job.feed.means()), how=how)
    else:
        return None
    assert isinstance(found, LogPartition), "nothing that log Z depends on differs between cases"
    size = found.effective_sample_size
    return None if size is not None and size < LEAST_SHARE * CHAINS else found
