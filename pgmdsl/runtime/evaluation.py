"""The figures that a run ends with: which estimator for which model, and what is printed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.data import Data
from pgmdsl.runtime.estimators.ais import Annealing, Sources, annealed_log_partitions
from pgmdsl.runtime.estimators.chains import Progress
from pgmdsl.runtime.estimators.evidence import Evidence, distinct, gather
from pgmdsl.runtime.estimators.exact import cost_of_sums, sums_of
from pgmdsl.runtime.estimators.normalise import require_normalised
from pgmdsl.runtime.estimators.result import Figure, LogPartition, LogPartitions, doubt_log_partition
from pgmdsl.runtime.estimators.scores import evaluate
from pgmdsl.runtime.estimators.summaries import Sample
from pgmdsl.runtime.kernels import one_blas_thread
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.random import permutation, stream_key

Array = NDArray[Any]
LogMethod = Literal["auto", "exact", "ais", "reverse_ais", "bridge"]
CaseMethod = Literal["raise", "csl", "pseudolikelihood"]  # which need no log Z
Method = Literal[LogMethod, CaseMethod]
STARTS = 5000  # cases among which those are drawn that chains start from
CHEAP = 2**31  # unit evaluations of an exact log Z that "auto" prefers to annealing: some seconds


def estimate_log_partition(
    machine: Machine,
    method: LogMethod,
    sources: Sources | None = None,
    *,
    how: Annealing = Annealing(),
    progress: Progress | None = None,
) -> LogPartition:
    """Log Z of a model without given layers, its documents of the machine's lengths; see `log_partition_of_cases`."""
    found = log_partition_of_cases(machine, method, sources, how=how, progress=progress)
    return found if isinstance(found, LogPartition) else found.runs[0]


def log_partition_of_cases(
    machine: Machine,
    method: LogMethod,
    sources: Sources | None = None,
    clamped: Mapping[str, Array] | None = None,
    lengths: Mapping[str, float | Array] | None = None,
    *,
    how: Annealing = Annealing(),
    check: bool = True,
    progress: Progress | None = None,
) -> LogPartition | LogPartitions:
    """Log Z, for each case where it differs between them.

    Args:
        machine: The model with its parameters.
        method: "exact" enumerates; "ais" anneals from the base to the model, "reverse_ais" from the model to the base,
            "bridge" both, which it combines. "auto" enumerates where that takes seconds, and else anneals, in both
            directions where there is one log Z, of which the forward one is the value and the other a check.
        sources: What is known of the data.
        clamped: Statistics (cases, size) of the given layers.
        lengths: Of each case's documents, (cases,) or one number; else the machine's.
        how: Of annealing.
        check: Whether "auto" anneals in both directions.
        progress: Called with (steps done, steps).

    Raises:
        Error: the model is not shown to normalise, or the method cannot be used for it.
    """
    if method not in get_args(LogMethod):
        raise Error(f"there is no method {method!r} for log Z: the methods are {', '.join(get_args(LogMethod))}")
    machine, clamped, lengths = _undirected(machine, clamped, lengths)
    evidence = gather(machine, clamped, lengths=lengths)
    with one_blas_thread():
        require_normalised(machine, frozenset(evidence.known))
        different, which = distinct(evidence)
        if method == "exact" or (method == "auto" and _is_cheap(different)):
            runs = _exact(different)
        else:
            annealed = annealed_log_partitions(
                machine,
                ("both" if check else "ais") if method == "auto" else method,
                how,
                sources=sources or Sources(),
                clamped=clamped,
                lengths=lengths,
                progress=progress,
            )
            runs, which = annealed.runs, annealed.which
    resolution = float(np.finfo(machine.dtype).eps)
    runs = tuple(replace(run, warning=run.warning or doubt_log_partition(run.value, resolution)) for run in runs)
    return runs[0] if len(runs) == 1 else LogPartitions(runs, which)


def _undirected(
    machine: Machine, clamped: Mapping[str, Array] | None, lengths: Mapping[str, Any] | None
) -> tuple[Machine, dict[str, Array], dict[str, Any]]:
    """The undirected part of a model, which has its log Z, and what is known of its layers."""
    part = machine.undirected
    given, documents = ({n: x for n, x in (known or {}).items() if n in part.layers} for known in (clamped, lengths))
    return part, given, documents


def _exact(evidence: Evidence) -> tuple[LogPartition, ...]:
    start = time.perf_counter()
    values = [float(value) for value in sums_of(evidence)]
    seconds = (time.perf_counter() - start) / len(values)
    return tuple(LogPartition(value, 0.0, value, value, "exact", seconds) for value in values)


def cost_of_log_partition(
    machine: Machine, method: Method, clamped: Mapping[str, Array], lengths: Mapping[str, Array]
) -> str | None:
    """What the exact sum for log Z takes, in words, where the method makes one; else None."""
    part, given, documents = _undirected(machine, clamped, lengths)
    different, _ = distinct(gather(part, given, lengths=documents))
    cost = cost_of_sums(different)
    exact = cost is not None and (method == "exact" or (method == "auto" and cost.evaluations <= CHEAP))
    return str(cost) if exact else None


def is_enumerable(machine: Machine) -> bool:
    """Whether log Z is cheap to compute exactly."""
    try:
        return _is_cheap(gather(machine.undirected))
    except Error:
        return False


def anneals_each(machine: Machine, clamped: Mapping[str, Array], lengths: Mapping[str, Array]) -> bool:
    """Whether log Z differs between cases (see `log_partition_of_cases`) and is not cheap to compute exactly."""
    part, given, documents = _undirected(machine, clamped, lengths)
    different, _ = distinct(gather(part, given, lengths=documents))
    return different.cases > 1 and not _is_cheap(different)


def _is_cheap(evidence: Evidence) -> bool:
    cost = cost_of_sums(evidence)
    return cost is not None and cost.evaluations <= CHEAP


def statistics_of(machine: Machine, data: Data, seed: int) -> dict[str, Array]:
    """The statistics of all cases of a data set, bits drawn once by seed, (cases, size) by layer with data."""
    data, out = data.drawn(), {}
    cases = np.arange(data.cases)
    for name in data.columns:
        x = np.zeros((data.cases, machine.artifact.layers[name].size), machine.dtype)
        data.states(name, cases, x, machine.kernels, seed, None)
        out[name] = np.ascontiguousarray(machine.kernels.statistic[name](machine.p, x), machine.dtype)
    return out


def held_in(data: Data) -> dict[str, NDArray[np.bool_]]:
    """By layer with missing values, which entries of all cases are observed, (cases, size)."""
    cases = np.arange(data.cases)
    return {n: mask for n in data.columns if (mask := data.held(n, cases)) is not None}


def _means(machine: Machine, data: Data) -> dict[str, Array]:
    """Mean statistics (size,) of the visible layers over a data set."""
    part = machine.undirected
    visible = [n for n in data.columns if n in part.layers and n not in part.given]
    return {n: data.mean_statistic(n, partial(_statistic, machine, n)) for n in visible}


def sources_of(machine: Machine, data: Data, seed: int) -> Sources:
    """What annealing may know of a data set: its means, and some complete cases that chains can start from."""
    part = machine.undirected
    visible = {n for n in part.layers if machine.artifact.layers[n].role == "visible"}
    if not visible or visible != data.columns.keys() or data.missing:
        return Sources(_means(machine, data))
    rows = np.sort(permutation(stream_key(seed, "starts"), data.cases)[:STARTS])
    some = replace(data, rows=data.rows[rows], weights=None)
    return Sources(_means(machine, data), statistics_of(machine, some, seed))


def _statistic(machine: Machine, layer: str, x: Array) -> Array:
    return np.asarray(machine.kernels.statistic[layer](machine.p, np.ascontiguousarray(x, machine.dtype)))


def conditions_of(machine: Machine, s: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """What log Z depends on of some cases: the given layers' statistics, and the lengths of observed documents."""
    layers = machine.artifact.layers
    given = {n: x for n, x in s.items() if n in machine.given}
    lengths = {n: x.sum(axis=1, dtype=np.float64) for n, x in s.items() if layers[n].support == "counts"}
    return given, {n: x for n, x in lengths.items() if n not in given}


def evaluate_data(
    machine: Machine,
    data: Data,
    log_partition: LogPartition | LogPartitions,
    seed: int,
    name: str = "test",
    block: int = 1,
) -> list[Figure]:
    """The mean log-probability of a data set, or its bound, with both error bars.

    Args:
        machine: The model with its parameters.
        data: The cases; what is missing in them is summed out.
        log_partition: log Z, of each case where it differs: `log_partition_of_cases` with `conditions_of` them.
        seed: Of drawn bits, and of importance weighting.
        name: What the cases are, for the figures' names.
        block: How many neighbouring cases belong together, of a time series.
    """
    with one_blas_thread():
        return evaluate(
            machine,
            statistics_of(machine, data, seed),
            log_partition,
            name=name,
            sample=sample_of(data, seed, block),
            held=held_in(data),
            seed=seed,
        )


def sample_of(data: Data, seed: int, block: int = 1) -> Sample:
    """What the cases of a data set are to error bars."""
    bits = {column.bits for column in data.columns.values()}
    how = f"bits drawn once, seed {seed}" if bits & {"resample", "sample", "mean"} else None
    if "mean" in bits:
        how = f"{how}, though trained on their means"
    return Sample(data.weights, block, how)
