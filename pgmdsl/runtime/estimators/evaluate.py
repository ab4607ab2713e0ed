"""Scores of cases and the figures that sum them up: exact where the sum is affordable, else the variational bound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgmdsl.runtime.estimators.bound import mean_field_bound
from pgmdsl.runtime.estimators.exact import LIMIT, log_sums, plan_enumeration
from pgmdsl.runtime.estimators.result import Figure, LogPartition, Side
from pgmdsl.runtime.machine import Machine

Array = NDArray[np.floating]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scores:
    """log p of each case, (cases,), or a lower bound on it: `side` and `method` say which and how."""

    values: Doubles
    side: Side
    method: str


def score_cases(
    machine: Machine, clamped: Mapping[str, Array], log_partition: LogPartition, limit: int = LIMIT
) -> Scores:
    """Log p of each case's clamped layers, with the rest summed out: exactly where affordable, else its bound.

    Args:
        machine: The model with its parameters.
        clamped: Statistics (cases, size) of the observed layers.
        log_partition: log Z of the model; an estimated one makes the scores estimates.
        limit: The most unit evaluations to spend on an exact sum.
    """
    cases = len(next(iter(clamped.values())))
    plan = plan_enumeration(machine.artifact, frozenset(clamped))
    log_z = "" if log_partition.side == "exact" else f", log Z by {log_partition.method.replace('_', ' ').upper()}"
    if plan.cost(cases) <= limit:
        how = "enumeration" if plan.enumerated else "free energy"
        return Scores(log_sums(machine, clamped, limit) - log_partition.value, log_partition.side, how + log_z)
    bound = mean_field_bound(machine, clamped)
    return Scores(bound.log_weight - log_partition.value, "lower bound", "mean field" + log_z)


def evaluate(
    machine: Machine,
    clamped: Mapping[str, Array],
    log_partition: LogPartition,
    *,
    name: str = "test",
    weights: Doubles | None = None,
    bits: str | None = None,
    limit: int = LIMIT,
) -> list[Figure]:
    """The mean log-probability of a set of cases, with both its error bars.

    Where hidden layers interact but the exact sum was affordable, the variational bound follows as a second figure.

    Args:
        machine: The model with its parameters.
        clamped: Statistics (cases, size) of the observed layers.
        log_partition: log Z of the model.
        name: What the cases are, for the figures' names.
        weights: Case weights (cases,); equal when None.
        bits: How the cases' bits were drawn, in words.
        limit: The most unit evaluations to spend on an exact sum.
    """
    scores = score_cases(machine, clamped, log_partition, limit)
    kind = "log-probability bound" if scores.side == "lower bound" else "log-probability"
    figures = [summarise(f"{name} {kind}", scores, log_partition, weights, bits)]
    if scores.method.startswith("enumeration"):
        bound = mean_field_bound(machine, clamped).log_weight - log_partition.value
        lower = Scores(bound, "lower bound", scores.method.replace("enumeration", "mean field"))
        figures.append(summarise(f"{name} log-probability bound", lower, log_partition, weights, bits))
    return figures


def summarise(
    name: str, scores: Scores, log_partition: LogPartition, weights: Doubles | None = None, bits: str | None = None
) -> Figure:
    """The weighted mean of scores as a figure; its error over cases takes the cases for independent draws."""
    share = np.ones(len(scores.values)) if weights is None else np.asarray(weights, np.float64)
    share = share / share.sum()
    mean = float(share @ scores.values)
    effective = 1 / float((share**2).sum())
    spread = float(share**2 @ (scores.values - mean) ** 2) ** 0.5
    case_error = spread * (effective / (effective - 1)) ** 0.5 if effective > 1 else float("nan")
    return Figure(
        name=name,
        value=mean,
        case_error=case_error,
        log_partition_error=log_partition.standard_error,
        method=scores.method,
        side=scores.side,
        cases=len(scores.values),
        bits=bits,
    )
