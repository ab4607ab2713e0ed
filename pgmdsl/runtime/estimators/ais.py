"""Annealed importance sampling of log Z, for any undirected model, and for each case where log Z is per case.

The average weight of the chains estimates Z / Z_base without bias, whatever the chains' mixing; but where a mode holds
much of Z and hardly any chain reaches it, nearly every run lies too low, with weights as even, and error bars as small,
as if it were not there.

Source: Neal (2001); Salakhutdinov and Murray (2008), "On the quantitative analysis of deep belief networks".
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.estimators.annealing import Path, Words, base_fields, log_partition_of_base, schedule
from pgmdsl.runtime.estimators.evidence import Evidence, distinct, gather
from pgmdsl.runtime.estimators.normalise import require_normalised
from pgmdsl.runtime.estimators.result import LogPartition, LogPartitions
from pgmdsl.runtime.machine import Machine

Array = NDArray[Any]
Doubles = NDArray[np.float64]
Lengths = Mapping[str, float | Array]
Progress = Callable[[int, int], None]

BATCH_BYTES = 2**25  # of the rows that are annealed together
# Effective sample sizes below which a result carries a warning: a share of the chains, and a number. Measured by how
# often the 95% limits held the exact log Z, in two models of 30 and 38 units, with weights of sd 0.5 to 2, over 10 to
# 1000 temperatures, 50 seeds each. Of 2000 runs of 100 chains: 0.63 below a share of 0.2, 0.88 from there to 0.5, 0.93
# above. With 25 chains 0.88 from 15 on and about 0.7 below; with 10 chains about 0.84. Nearly all limits that fail are
# too low.
LEAST_SHARE, LEAST_SIZE = 0.2, 15


def ais(
    machine: Machine,
    *,
    temperatures: int = 14500,
    chains: int = 100,
    seed: int = 0,
    data_means: Mapping[str, Array] | None = None,
    clamped: Mapping[str, Array] | None = None,
    lengths: Lengths | None = None,
    progress: Progress | None = None,
) -> LogPartition:
    """Log Z by annealed importance sampling from the base to the model.

    The limits are of the sampling error only, and assume that the chains reach every mode that holds much of Z. The
    effective sample size and the warning come from the same chains, and cannot tell of a mode that all of them missed.

    Args:
        machine: The model with its parameters.
        temperatures: Steps of the path; 10,000 or more for models of some hundred units.
        chains: Independent chains, run as a batch.
        seed: Of all draws.
        data_means: Mean statistics (size,) of layers, usually the visible ones, that set the base.
        clamped: Statistics (1, size) of the given layers, and of others that are not to be summed over.
        lengths: Of the documents of count layers, where the machine has none.
        progress: Called with (steps done, steps) about a hundred times.

    Raises:
        Error: the model is not shown to normalise, or the numbers are too small.
    """
    _verify_one(distinct(_evidence(machine, clamped, lengths))[0].cases)
    runs = log_partitions(
        machine,
        clamped,
        lengths,
        temperatures=temperatures,
        chains=chains,
        seed=seed,
        data_means=data_means,
        progress=progress,
    )
    return runs.runs[0]


def log_partitions(
    machine: Machine,
    clamped: Mapping[str, Array] | None = None,
    lengths: Lengths | None = None,
    *,
    temperatures: int = 14500,
    chains: int = 100,
    seed: int = 0,
    data_means: Mapping[str, Array] | None = None,
    progress: Progress | None = None,
) -> LogPartitions:
    """Log Z of each case, by annealing once for each different one; arguments as for `ais`, with a row a case."""
    evidence = _evidence(machine, clamped, lengths)
    different, which = distinct(evidence)
    runs: list[LogPartition] = []
    steps = _Steps(different, chains, temperatures, progress)
    for number, part in enumerate(_batches(different, chains)):
        start = time.perf_counter()
        words: Words = ("ais", number) if number else ("ais",)
        base = base_fields(machine, data_means, part)
        path = _forward(part, base, schedule(temperatures), chains, seed, words, steps)
        log_z = path.log_weight.reshape(-1, chains) + log_partition_of_base(part, base)[:, None]
        seconds = (time.perf_counter() - start) / part.cases
        runs += [_result(row, 1, "ais", seconds, temperatures) for row in log_z]
    return LogPartitions(tuple(runs), which)


def reverse_ais(
    machine: Machine,
    starts: Mapping[str, Array] | None = None,
    *,
    temperatures: int = 14500,
    chains: int = 100,
    seed: int = 0,
    data_means: Mapping[str, Array] | None = None,
    clamped: Mapping[str, Array] | None = None,
    lengths: Lengths | None = None,
    progress: Progress | None = None,
) -> LogPartition:
    """Log Z by annealing from the model to the base: from exact draws of the model, an overestimate on average.

    Only from such draws does it bound what `ais` may have missed. From starts of its own (`starts` None) it is no
    independent check: they are the ends of a forward run, and a mode that run missed is missing here too, so that both
    agree on a value that is too low.

    Args:
        machine: The model with its parameters.
        starts: Statistics (chains, size) of every layer, drawn from the model as well as may be; None takes the last
            states of a forward run of `chains` chains, which are near such draws when its effective sample size is.
        temperatures: Steps of the path.
        chains: How many, when `starts` is None.
        seed: Of all draws.
        data_means: As for `ais`.
        clamped: As for `ais`, one case.
        lengths: As for `ais`.
        progress: Called with (steps done, steps) about a hundred times.

    Source: Burda, Grosse and Salakhutdinov (2015), "Accurate and conservative estimates of MRF log-likelihood using
    reverse annealing".
    """
    start = time.perf_counter()
    evidence, _ = distinct(_evidence(machine, clamped, lengths))
    _verify_one(evidence.cases)
    base = base_fields(machine, data_means, evidence)
    steps = _Steps(evidence, chains, temperatures * (2 if starts is None else 1), progress)
    if starts is None:
        starts = _forward(evidence, base, schedule(temperatures), chains, seed, ("reverse start",), steps).s
    chains = len(next(iter(starts.values())))
    path = Path(evidence, base, schedule(temperatures)[::-1].copy(), chains, seed, ("reverse",))
    for name in path.held:
        path.s[name][:] = starts[name]
    _run(path, steps)
    log_z = log_partition_of_base(evidence, base) - path.log_weight
    return _result(log_z, -1, "reverse_ais", time.perf_counter() - start, temperatures)


def _evidence(machine: Machine, clamped: Mapping[str, Array] | None, lengths: Lengths | None) -> Evidence:
    """What is known of the cases whose log Z is asked. Raises `Error` where the model is not shown to normalise."""
    if any(scale != 1 for scale in machine.scale.values()):
        raise Error(
            f"{machine.artifact.name}: a machine with doubled inputs has no joint distribution, and no log Z; train it "
            "with negative = cd(1) or pcd(1)"
        )
    evidence = gather(machine, clamped, lengths=lengths)
    require_normalised(machine, frozenset(evidence.known))
    return evidence


def _verify_one(cases: int) -> None:
    if cases > 1:
        raise Error(f"{cases} cases have different values of log Z, and one is asked for: give one case, or one length")


class _Steps:
    """Counts the steps of all batches for a progress report."""

    def __init__(self, evidence: Evidence, chains: int, temperatures: int, progress: Progress | None) -> None:
        self.total = temperatures * sum(1 for _ in _batches(evidence, chains))
        self.done, self.progress, self.every = 0, progress, max(1, self.total // 100)

    def one(self) -> None:
        self.done += 1
        if self.progress and (self.done % self.every == 0 or self.done == self.total):
            self.progress(self.done, self.total)


def _batches(evidence: Evidence, chains: int) -> Iterator[Evidence]:
    """The cases in batches whose chains fit into the memory set aside."""
    row = 16 * sum(evidence.machine.artifact.layers[n].size for n in evidence.machine.layers)
    count = max(1, BATCH_BYTES // (row * max(chains, 1)))
    for start in range(0, evidence.cases, count):
        yield evidence.take(slice(start, start + count))


def _forward(
    evidence: Evidence,
    base: Mapping[str, Array],
    betas: Doubles,
    chains: int,
    seed: int,
    words: Words,
    steps: _Steps,
) -> Path:
    """A path run from draws of the base to the model."""
    if chains < 2:
        raise Error(f"annealed importance sampling needs 2 chains or more for its error bars, not {chains}")
    path = Path(evidence, base, betas, chains, seed, words)
    for name in path.held:
        path.draw(name, 0)
    _run(path, steps)
    return path


def _run(path: Path, steps: _Steps) -> None:
    for k in range(1, len(path.betas)):
        path.advance(k)
        steps.one()


def _result(
    log_z: Doubles, sign: Literal[1, -1], method: Literal["ais", "reverse_ais"], seconds: float, temperatures: int
) -> LogPartition:
    """The estimate from each chain's: sign * log mean exp(sign * log_z), with its error by the delta method.

    The limits are those of the mean weight +- 1.96 standard errors; where that interval holds 0, there is no limit on
    that side. They are of the sampling error only, as `ais` says.
    """
    chains = len(log_z)
    if not np.all(np.isfinite(log_z)):
        raise Error("annealed importance sampling met a weight that is not finite: the parameters are too large")
    signed = sign * log_z
    top = float(signed.max())
    weight = np.exp(signed - top)
    mean = float(weight.mean())
    value = top + math.log(mean)
    relative = float(weight.std(ddof=1)) / mean / math.sqrt(chains)
    low = value + math.log(1 - 1.96 * relative) if 1.96 * relative < 1 else -math.inf
    high = value + math.log1p(1.96 * relative)
    effective = float(weight.sum() ** 2 / (weight**2).sum())
    lower, upper = (low, high) if sign == 1 else (-high, -low)
    warning = _doubt(effective, chains, temperatures)
    return LogPartition(sign * value, relative, lower, upper, method, seconds, effective, chains, temperatures, warning)


def _doubt(effective: float, chains: int, temperatures: int) -> str | None:
    """What is wrong with an estimate of this effective sample size, in words; None where nothing shows."""
    if effective >= max(LEAST_SHARE * chains, LEAST_SIZE):
        return None
    more = f"{temperatures} temperatures" if effective < LEAST_SHARE * chains else f"{chains} chains"
    return (
        f"the effective sample size is {effective:.1f} of {chains} chains, so that log Z and its limits are not to be "
        f"trusted: use more than {more}"
    )
