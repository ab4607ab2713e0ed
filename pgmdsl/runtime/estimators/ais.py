"""Annealed importance sampling of log Z, forwards, backwards and both, for any undirected model, once for each case.

The average weight of the chains estimates Z / Z_base without bias, whatever the chains' mixing; but where a mode holds
much of Z and hardly any chain reaches it, nearly every run lies too low, with weights as even, and error bars as small,
as if it were not there. Chains that go back from states of the model show it, if one of these is in that mode.

Source: Neal (2001); Salakhutdinov and Murray (2008), "On the quantitative analysis of deep belief networks"; Burda,
Grosse and Salakhutdinov (2015), "Accurate and conservative estimates of MRF log-likelihood using reverse annealing".
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.estimators.annealing import Words, base_fields, log_partition_of_base
from pgmdsl.runtime.estimators.chains import Annealed, Chains, Progress, anneal
from pgmdsl.runtime.estimators.evidence import Evidence, distinct, gather
from pgmdsl.runtime.estimators.limits import Estimate, bridge, log_inverse_mean, log_mean
from pgmdsl.runtime.estimators.normalise import require_normalised
from pgmdsl.runtime.estimators.result import LogPartition, LogPartitions, doubt_annealing
from pgmdsl.runtime.estimators.schedules import respaced, schedule, steps_needed
from pgmdsl.runtime.estimators.starts import Start, default_start, model_states
from pgmdsl.runtime.machine import Machine, State

Array = NDArray[Any]
Doubles = NDArray[np.float64]
Lengths = Mapping[str, float | Array]
Direction = Literal["ais", "reverse_ais", "bridge", "both"]

CHAINS = 100  # where nothing is stated
PILOT = 500  # temperatures of the run in which the schedule is fitted
LEAST, MOST = 1000, 200_000  # temperatures of a fitted schedule
ROUNDS = 4  # of fitting, the first of which is the pilot
AMPLE = 1.2  # steps taken for each one that seems to be needed


@dataclass(frozen=True, slots=True)
class Annealing:
    """How log Z is annealed.

    `temperatures`: steps of the path; None fits their number and spacing to the model, so that the standard error of
    log Z is about `error`. `chains`: None for 100, or for 10 of each case. `batch`, `threads`, `seed`: see `Chains`.
    `starts`: where backward chains start from, "exact", "data" or "tempering"; None takes the first of these that can
    be had.
    """

    chains: int | None = None
    temperatures: int | None = None
    error: float = 0.1
    seed: int = 0
    starts: Start | None = None
    batch: int = 100
    threads: int = 1

    @property
    def rows(self) -> Chains:
        """The chains and how they are run."""
        return self.rows_of(CHAINS)

    def rows_of(self, count: int) -> Chains:
        """The chains, so many where nothing is stated, and how they are run."""
        return Chains(count if self.chains is None else self.chains, self.batch, self.threads, self.seed)


class AnnealingOptions(TypedDict, total=False):
    """The fields of `Annealing`, as keywords."""

    chains: int | None
    temperatures: int | None
    error: float
    seed: int
    starts: Start | None
    batch: int
    threads: int


@dataclass(frozen=True)
class Sources:
    """What is known of the data: mean statistics (size,) of layers, which set the base, and some cases to start from.

    `states`: statistics (cases, size) of every visible layer, without missing values.
    """

    means: Mapping[str, Array] | None = None
    states: Mapping[str, Array] | None = None


def annealed_log_partitions(
    machine: Machine,
    direction: Direction,
    how: Annealing = Annealing(),
    *,
    sources: Sources = Sources(),
    clamped: Mapping[str, Array] | None = None,
    lengths: Lengths | None = None,
    progress: Progress | None = None,
) -> LogPartitions:
    """Log Z of each case by annealing, once for each different one.

    Args:
        machine: The model with its parameters.
        direction: "ais" from the base to the model; "reverse_ais" from the model to the base; "bridge" Bennett's
            estimate from both; "both" the forward one, with the backward one beside it (`LogPartition.reverse`).
        how: Chains, temperatures, seed.
        sources: What is known of the data.
        clamped: Statistics (cases, size) of the given layers, and of others that are not to be summed over.
        lengths: Of the documents of count layers, where the machine has none.
        progress: Called with (steps done, steps) about a hundred times in each run.

    Raises:
        Error: the model is not shown to normalise, the numbers are too small, or backward chains are asked for where
            cases have different values of log Z.
    """
    _require_joint(machine)
    how.rows.verify()
    evidence = gather(machine, clamped, lengths=lengths)
    require_normalised(machine, frozenset(evidence.known))
    different, which = distinct(evidence)
    if direction == "both" and different.cases > 1:
        direction = "ais"
    if direction != "ais" and different.cases > 1:
        raise Error(
            f"{different.cases} cases have different values of log Z, and chains go back for one only: give one case, "
            "or one length, or use method = ais"
        )
    begun = time.perf_counter()
    base = base_fields(machine, sources.means, different)
    log_base = log_partition_of_base(different, base)[:, None]
    betas, forward = _forward(different, base, how, progress)
    ahead = forward.log_weight + log_base
    steps = len(betas) - 1

    def result(found: Estimate, method: Literal["ais", "reverse_ais", "bridge"], chains: int) -> LogPartition:
        return _result(found, method, (time.perf_counter() - begun) / different.cases, chains, steps)

    if direction == "ais":
        return LogPartitions(tuple(result(log_mean(row), "ais", how.rows.count) for row in ahead), which)
    start = how.starts or default_start(different, sources.states)
    back = log_base[0] - _backward(different, base, betas, how, start, sources, progress)
    reverse = replace(result(log_inverse_mean(-back), "reverse_ais", how.rows.count), start=start)
    if direction == "reverse_ais":
        return LogPartitions((reverse,), which)
    if direction == "both":
        found = result(log_mean(ahead[0]), "ais", how.rows.count)
    else:
        found = replace(result(bridge(ahead[0], back), "bridge", 2 * how.rows.count), start=start)
        found = replace(found, forward=log_mean(ahead[0]).value)
    found = replace(found, reverse=reverse)
    return LogPartitions((replace(found, warning=doubt_annealing(found)),), which)


def _require_joint(machine: Machine) -> None:
    """Raise `Error` for a machine of greedy pretraining that has no joint distribution."""
    if any(scale != 1 for scale in machine.scale.values()):
        raise Error(
            f"{machine.artifact.name}: a machine with doubled inputs has no joint distribution, and no log Z; train it "
            "with negative = cd(1) or pcd(1)"
        )


def _forward(
    evidence: Evidence, base: Mapping[str, Array], how: Annealing, progress: Progress | None
) -> tuple[Doubles, Annealed]:
    """The schedule, and chains run forwards along it; where it is fitted, those of the last of some runs."""
    if how.temperatures is not None:
        betas = schedule(how.temperatures)
        return betas, anneal(evidence, base, betas, how.rows, ("ais",), progress=progress)
    if not how.error > 0:
        raise Error(f"the standard error that log Z is to have must be above 0, not {how.error:g}")
    target = math.log1p(how.rows.count * how.error**2)  # error^2 = (e^t - 1) / chains, log weights having variance t
    betas = schedule(PILOT)
    found = anneal(evidence, base, betas, how.rows, ("pilot",), progress=progress)
    for number in range(1, ROUNDS):
        needed = steps_needed(betas, found.variance, target)
        if number > 1 and needed <= AMPLE * (len(betas) - 1):
            break
        if len(betas) - 1 >= MOST:
            break
        steps = int(min(max(AMPLE * needed, LEAST), MOST))
        betas = respaced(betas, found.variance, steps)
        words: Words = ("ais", number)
        found = anneal(evidence, base, betas, how.rows, words, progress=progress)
    return betas, found


def _backward(
    evidence: Evidence,
    base: Mapping[str, Array],
    betas: Doubles,
    how: Annealing,
    start: Start,
    sources: Sources,
    progress: Progress | None,
) -> Doubles:
    """The log weights of chains run backwards, (chains,): minus those of the same paths run forwards."""
    states: State = model_states(
        evidence, how.rows.count, start, how.seed, ("reverse start",), sources.states, sources.means
    )
    free = {n: x for n, x in states.items() if n not in evidence.known}
    found = anneal(evidence, base, betas, how.rows, ("reverse",), starts=free, progress=progress)
    return np.asarray(found.log_weight[0])


def _result(
    found: Estimate, method: Literal["ais", "reverse_ais", "bridge"], seconds: float, chains: int, temperatures: int
) -> LogPartition:
    out = LogPartition(
        found.value,
        found.standard_error,
        found.lower,
        found.upper,
        method,
        seconds,
        found.effective,
        chains,
        temperatures,
    )
    return replace(out, warning=doubt_annealing(out))
