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
from pgmdsl.runtime.estimators.ais import Progress, log_partitions, reverse_ais
from pgmdsl.runtime.estimators.evidence import Evidence, distinct, gather
from pgmdsl.runtime.estimators.exact import cost_of_sums, sums_of
from pgmdsl.runtime.estimators.normalise import require_normalised
from pgmdsl.runtime.estimators.result import Figure, LogPartition, LogPartitions, doubt_log_partition
from pgmdsl.runtime.estimators.scores import evaluate
from pgmdsl.runtime.kernels import one_blas_thread
from pgmdsl.runtime.machine import Machine

Array = NDArray[Any]
Method = Literal["auto", "exact", "ais", "reverse_ais"]
CHEAP = 2**31  # unit evaluations of an exact log Z that "auto" prefers to annealing: some seconds


def estimate_log_partition(
    machine: Machine,
    method: Method,
    data_means: Mapping[str, Array] | None,
    *,
    chains: int = 100,
    temperatures: int = 10_000,
    seed: int = 0,
    progress: Progress | None = None,
) -> LogPartition:
    """Log Z of a model without given layers, its documents of the machine's lengths; see `log_partition_of_cases`."""
    found = log_partition_of_cases(
        machine,
        method,
        data_means,
        chains=chains,
        temperatures=temperatures,
        seed=seed,
        progress=progress,
    )
    return found if isinstance(found, LogPartition) else found.runs[0]


def log_partition_of_cases(
    machine: Machine,
    method: Method,
    data_means: Mapping[str, Array] | None,
    clamped: Mapping[str, Array] | None = None,
    lengths: Mapping[str, float | Array] | None = None,
    *,
    chains: int = 100,
    temperatures: int = 10_000,
    seed: int = 0,
    progress: Progress | None = None,
) -> LogPartition | LogPartitions:
    """Log Z, for each case where it differs between them; "auto" enumerates where that is cheap and else anneals.

    Args:
        machine: The model with its parameters.
        method: "auto", "exact", "ais", or "reverse_ais" (from the last states of a forward run; of one log Z only).
        data_means: Mean statistics (size,) of the visible layers, which set the base distribution of annealing.
        clamped: Statistics (cases, size) of the given layers.
        lengths: Of each case's documents, (cases,) or one number; else the machine's.
        chains: Of annealing.
        temperatures: Of annealing.
        seed: Of annealing.
        progress: Called with (steps done, steps).

    Raises:
        Error: the model is not shown to normalise, or the method cannot be used for it.
    """
    if method not in get_args(Method):
        raise Error(f"there is no method {method!r} for log Z: the methods are {', '.join(get_args(Method))}")
    annealing: dict[str, Any] = {
        "temperatures": temperatures,
        "chains": chains,
        "seed": seed,
        "data_means": data_means,
        "progress": progress,
    }
    machine, clamped, lengths = _undirected(machine, clamped, lengths)
    evidence = gather(machine, clamped, lengths=lengths)
    with one_blas_thread():
        require_normalised(machine, frozenset(evidence.known))
        different, which = distinct(evidence)
        if method == "exact" or (method == "auto" and _is_cheap(different)):
            runs = _exact(different)
        elif method == "reverse_ais":
            runs = (reverse_ais(machine, clamped=clamped, lengths=lengths, **annealing),)
        else:
            annealed = log_partitions(machine, clamped, lengths, **annealing)
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


def data_means(machine: Machine, data: Data) -> dict[str, Array]:
    """Mean statistics (size,) of the visible layers over a data set."""
    part = machine.undirected
    visible = [n for n in data.columns if n in part.layers and n not in part.given]
    return {n: data.mean_statistic(n, partial(_statistic, machine, n)) for n in visible}


def _statistic(machine: Machine, layer: str, x: Array) -> Array:
    return np.asarray(machine.kernels.statistic[layer](machine.p, np.ascontiguousarray(x, machine.dtype)))


def conditions_of(machine: Machine, s: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """What log Z depends on of some cases: the given layers' statistics, and the lengths of observed documents."""
    layers = machine.artifact.layers
    given = {n: x for n, x in s.items() if n in machine.given}
    lengths = {n: x.sum(axis=1, dtype=np.float64) for n, x in s.items() if layers[n].support == "counts"}
    return given, {n: x for n, x in lengths.items() if n not in given}


def evaluate_data(
    machine: Machine, data: Data, log_partition: LogPartition | LogPartitions, seed: int, name: str = "test"
) -> list[Figure]:
    """The mean log-probability of a data set, or its bound, with both error bars.

    Args:
        machine: The model with its parameters.
        data: The cases; what is missing in them is summed out.
        log_partition: log Z, of each case where it differs: `log_partition_of_cases` with `conditions_of` them.
        seed: Of drawn bits.
        name: What the cases are, for the figures' names.
    """
    bits = {column.bits for column in data.columns.values()}
    how = f"bits drawn once, seed {seed}" if bits & {"resample", "sample", "mean"} else None
    if "mean" in bits:
        how = f"{how}, though trained on their means"
    with one_blas_thread():
        return evaluate(
            machine,
            statistics_of(machine, data, seed),
            log_partition,
            name=name,
            weights=data.weights,
            bits=how,
            held=held_in(data),
        )
