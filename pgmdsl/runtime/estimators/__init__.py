"""Estimators: log Z, log-probabilities and their bounds, exactly or with error bars."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.estimators.ais import Progress, ais, reverse_ais
from pgmdsl.runtime.estimators.bound import Scores, evaluate, score_cases
from pgmdsl.runtime.estimators.exact import LIMIT, exact_log_partition, exact_statistics, plan_enumeration
from pgmdsl.runtime.estimators.result import Figure, LogPartition
from pgmdsl.runtime.machine import Machine

__all__ = [
    "Figure",
    "LogPartition",
    "Scores",
    "ais",
    "evaluate",
    "exact_log_partition",
    "exact_statistics",
    "log_partition",
    "reverse_ais",
    "score_cases",
]

METHODS = ("auto", "exact", "ais", "reverse_ais")


def log_partition(
    machine: Machine,
    method: Literal["auto", "exact", "ais", "reverse_ais"] = "auto",
    *,
    temperatures: int = 14500,
    chains: int = 100,
    seed: int = 0,
    data_means: Mapping[str, Any] | None = None,
    starts: Mapping[str, Any] | None = None,
    limit: int = LIMIT,
    progress: Progress | None = None,
) -> LogPartition:
    """Log Z of a model, by a method or by the best affordable one.

    Args:
        machine: The model with its parameters.
        method: `exact` enumerates, `ais` and `reverse_ais` anneal; `auto` is exact within the limit, else AIS.
        temperatures: Of the annealing path.
        chains: Of the annealing.
        seed: Of all draws.
        data_means: Mean statistics (size,) of layers, which set the annealing's base.
        starts: Of `reverse_ais`: statistics (chains, size) of every layer, drawn from the model.
        limit: The most unit evaluations of an exact sum.
        progress: Called with (steps done, steps) while annealing.

    Raises:
        Error: An unknown method, or an exact sum beyond the limit.
    """
    if method not in METHODS:
        raise Error(f"there is no method {method!r} for log Z: the methods are {', '.join(METHODS)}")
    if method == "auto":
        method = "exact" if plan_enumeration(machine.artifact).cost(1) <= limit else "ais"
    if method == "exact":
        start = time.perf_counter()
        value = exact_log_partition(machine, limit)
        return LogPartition(value, 0.0, value, value, "exact", time.perf_counter() - start)
    if method == "ais":
        return ais(
            machine, temperatures=temperatures, chains=chains, seed=seed, data_means=data_means, progress=progress
        )
    return reverse_ais(
        machine,
        starts,
        temperatures=temperatures,
        chains=chains,
        seed=seed,
        data_means=data_means,
        progress=progress,
    )
