"""The figures that a run ends with: which estimator for which model, and what is printed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.data import Data
from pgmdsl.runtime.estimators.ais import Progress, ais, reverse_ais
from pgmdsl.runtime.estimators.bound import evaluate
from pgmdsl.runtime.estimators.exact import exact_log_partition, plan_enumeration
from pgmdsl.runtime.estimators.result import Figure, LogPartition, doubt_log_partition
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
    """Log Z; "auto" enumerates where that is cheap and anneals otherwise.

    Args:
        machine: The model with its parameters.
        method: "auto", "exact", "ais", or "reverse_ais" (from the last states of a forward run).
        data_means: Mean statistics (size,) of the visible layers, which set the base distribution of annealing.
        chains: Of annealing.
        temperatures: Of annealing.
        seed: Of annealing.
        progress: Called with (steps done, steps).
    """
    if method not in get_args(Method):
        raise Error(f"there is no method {method!r} for log Z: the methods are {', '.join(get_args(Method))}")
    resolution = float(np.finfo(machine.dtype).eps)
    with one_blas_thread():
        if method == "exact" or (method == "auto" and is_enumerable(machine)):
            start = time.perf_counter()
            value = exact_log_partition(machine)
            doubt = doubt_log_partition(value, resolution)
            return LogPartition(value, 0.0, value, value, "exact", time.perf_counter() - start, warning=doubt)
        anneal = reverse_ais if method == "reverse_ais" else ais
        found = anneal(
            machine, temperatures=temperatures, chains=chains, seed=seed, data_means=data_means, progress=progress
        )
        return replace(found, warning=found.warning or doubt_log_partition(found.value, resolution))


def is_enumerable(machine: Machine) -> bool:
    """Whether log Z is cheap to compute exactly."""
    try:
        return plan_enumeration(machine.artifact).cost(1) <= CHEAP
    except Error:
        return False


def statistics_of(machine: Machine, data: Data, seed: int) -> dict[str, Array]:
    """The statistics of all cases of a data set, bits drawn once by seed, (cases, size) by visible layer."""
    data, out = data.drawn(), {}
    cases = np.arange(data.cases)
    for name in data.columns:
        x = np.zeros((data.cases, machine.artifact.layers[name].size), machine.dtype)
        data.states(name, cases, x, machine.kernels, seed, None)
        out[name] = np.ascontiguousarray(machine.kernels.statistic[name](machine.p, x), machine.dtype)
    return out


def data_means(machine: Machine, data: Data) -> dict[str, Array]:
    """Mean statistics (size,) of the visible layers over a data set."""
    out = {}
    for name in data.columns:
        mean = data.moments(name)[0].astype(machine.dtype)[None, :]
        out[name] = machine.kernels.statistic[name](machine.p, mean)[0]
    return out


def evaluate_data(
    machine: Machine, data: Data, log_partition: LogPartition, seed: int, name: str = "test"
) -> list[Figure]:
    """The mean log-probability of a data set, or its bound, with both error bars."""
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
        )
