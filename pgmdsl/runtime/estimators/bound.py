"""Log-probabilities of cases: exact where the sum is affordable, else their variational bound by mean field.

For q that factorises over the hidden units, each unit of the model's own family with field f and mean m = A'(f),

    log p(v) >= E_q[-energy] + H(q) - log Z
              = score(v, m) + sum over hidden units of (A(f) - f m + own m) + edges(m) - constants - log Z,

since the entropy of one unit less its base energy is A(f) - f m. Equality holds where the posterior factorises.

Source: Salakhutdinov and Hinton (2009), eq. 7; Salakhutdinov (2015), eqs. 36-41.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pgmdsl.runtime.estimators.exact import LIMIT, layer_constant, log_sums, plan_enumeration, state_score
from pgmdsl.runtime.estimators.result import Figure, LogPartition, Side, doubt_figure
from pgmdsl.runtime.machine import Machine

Array = NDArray[np.floating]
Doubles = NDArray[np.float64]

SWEEPS = 100
TOLERANCE = 1e-6  # of a mean's change in a sweep, at which mean field has converged
CASES = 1000  # swept at a time


@dataclass(frozen=True, slots=True)
class Bound:
    """`log_weight` (cases,): E_q[-energy] + H(q), to which -log Z is to be added; `means`: q's, (cases, size).

    `change`: the largest change of a mean in the last sweep.
    """

    log_weight: Doubles
    means: Mapping[str, Array]
    change: float


@dataclass(frozen=True, slots=True)
class Scores:
    """log p of each case, (cases,), or a lower bound on it: `side` and `method` say which and how."""

    values: Doubles
    side: Side
    method: str


def mean_field_bound(
    machine: Machine, clamped: Mapping[str, Array], sweeps: int = SWEEPS, tolerance: float = TOLERANCE
) -> Bound:
    """The variational bound's part that depends on the case, by mean-field sweeps over the free layers.

    Args:
        machine: The model with its parameters.
        clamped: Statistics (cases, size) of the clamped layers, one at least.
        sweeps: The most sweeps.
        tolerance: The change of the means at which the sweeps end.
    """
    cases = len(next(iter(clamped.values())))
    parts = [
        _bound_of_chunk(machine, {n: s[i : i + CASES] for n, s in clamped.items()}, sweeps, tolerance)
        for i in range(0, cases, CASES)
    ]
    return Bound(
        np.concatenate([part.log_weight for part in parts]),
        {n: np.concatenate([part.means[n] for part in parts]) for n in parts[0].means},
        max(part.change for part in parts),
    )


def _bound_of_chunk(machine: Machine, clamped: Mapping[str, Array], sweeps: int, tolerance: float) -> Bound:
    count = len(next(iter(clamped.values())))
    free = [n for n in machine.layers if n not in clamped]
    fields = machine.new_state(count, free)
    s = {**clamped, **machine.new_state(count, free)}
    machine.bottom_up(s, fields, clamped)
    change = 0.0
    for _ in range(max(1, sweeps)):
        before = {n: s[n].copy() for n in free}
        machine.kernels.mean_field_sweep(machine.p, s, machine.own, machine.scale, fields, frozenset(clamped))
        change = max((float(np.abs(s[n] - before[n]).max()) for n in free), default=0.0)
        if change < tolerance:
            break
    means = {n: s[n] for n in free}
    return Bound(mean_field_value(machine, clamped, means, fields), means, change)


def mean_field_value(
    machine: Machine, clamped: Mapping[str, Array], means: Mapping[str, Array], fields: Mapping[str, Array]
) -> Doubles:
    """E_q[-energy] + H(q) of each case, (cases,), for means that are those at these coupling fields.

    Each layer's mean must be A'(own + field) for its entry of `fields`; the fields need not be those that the present
    means send, so that the value is right before convergence too.
    """
    count = len(next(iter(clamped.values())))
    out = state_score(machine, clamped, count)
    present: dict[str, Array] = dict(clamped)
    for name, mean in means.items():
        machine.kernels.log_partition[name](machine.p, fields[name], machine.own[name], 1.0, out)
        sent = machine.coupling(name, present, count)
        # own fields cancel: A(own + field) - (own + field) m + own m + (what the layers before send) m
        out += np.einsum("ci,ci->c", mean, sent - fields[name], dtype=np.float64)
        out -= layer_constant(machine, name)
        present[name] = mean
    return out


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
    units = sum(s.shape[1] for s in clamped.values())
    excess = doubt_total(machine, clamped, scores.values, log_partition)
    return [replace(f, warning=doubt_figure(f.name, f.value, units) or excess) for f in figures]


def doubt_total(
    machine: Machine, clamped: Mapping[str, Array], values: Doubles, log_partition: LogPartition
) -> str | None:
    """What is said where distinct cases have together more than probability 1, which no log Z allows.

    It catches annealing that has missed a mode where the cases lie: neither its error bar nor its effective sample
    size shows that. Cases with real values have densities, which may exceed 1.
    """
    if any(machine.artifact.layers[name].support == "real" for name in clamped):
        return None
    rows = np.concatenate([s.astype(np.int8) for s in clamped.values()], axis=1)
    _, first = np.unique(rows, axis=0, return_index=True)
    total = float(np.logaddexp.reduce(values[first]))
    if total <= max(1e-6 * rows.shape[1], 3 * log_partition.standard_error):
        return None
    return (
        f"{len(first)} distinct cases have together a probability of exp({total:.3g}), more than 1: log Z is at least "
        "that much too small, as where annealing has missed a mode; use more temperatures, or an exact sum"
    )


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
