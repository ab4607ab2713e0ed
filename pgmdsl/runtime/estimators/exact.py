"""Exact sums over states: log Z, log-probabilities and expectations of models small enough to enumerate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.estimators.evidence import Evidence, gather, groups
from pgmdsl.runtime.estimators.plan import plan_enumeration
from pgmdsl.runtime.estimators.sums import Block, GroupSum, combined, in_seconds
from pgmdsl.runtime.machine import NOTHING, Held, Machine

Array = NDArray[Any]
Doubles = NDArray[np.float64]
Lengths = Mapping[str, float | Array]

LIMIT = 2**35  # unit evaluations: cases * states * units; about a minute


@dataclass(frozen=True, slots=True)
class Cost:
    """Unit evaluations that some exact sums take; the layers whose states are enumerated, and how many, at most."""

    evaluations: int
    enumerated: tuple[str, ...]
    states: int

    @property
    def enumerates(self) -> bool:
        """Whether any states are enumerated."""
        return bool(self.enumerated)

    def __str__(self) -> str:
        """In words: what is summed over, and how long it takes."""
        if not self.enumerated:
            return f"sums that close, about {in_seconds(self.evaluations)}"
        power = math.log2(self.states)
        count = str(self.states) if power < 10 else f"2^{power:.0f}"
        return f"all {count} states of {', '.join(self.enumerated)}, about {in_seconds(self.evaluations)}"


def cost_of_sums(evidence: Evidence) -> Cost | None:
    """What the exact sums over all that is latent take; None where they do not close."""
    machine, total, most = evidence.machine, 0, Cost(0, (), 1)
    try:
        for group in groups(evidence):
            plan = plan_enumeration(machine.artifact, group.clamped, group.free, machine.layers)
            total += plan.cost(group.evidence.cases)
            if plan.enumerated and plan.states > most.states:
                most = Cost(0, plan.enumerated, plan.states)
    except Error:
        return None
    return Cost(total, most.enumerated, most.states)


def sums_of(evidence: Evidence, limit: int = LIMIT) -> Doubles:
    """Log of the sum over all that is latent of exp(-energy), for each case; as `log_sums`."""
    out = np.empty(evidence.cases)
    for group in groups(evidence):
        whole = GroupSum(group, limit)
        out[group.rows] = whole.log_sums(whole.blocks())
    return out


def log_sums(
    machine: Machine,
    clamped: Mapping[str, Array] | None = None,
    limit: int = LIMIT,
    *,
    held: Held = NOTHING,
    lengths: Lengths | None = None,
) -> Doubles:
    """Log of the sum over all that is latent of exp(-energy), for each case.

    Args:
        machine: The model with its parameters.
        clamped: Statistics (cases, size) of the clamped layers; nothing clamped gives log Z, (1,).
        limit: The most unit evaluations to spend on one group of cases with the same missing entries.
        held: By layer with missing entries, where its entries are observed, (cases, size); the others are latent.
        lengths: Of documents that are not clamped, (cases,) or one number.

    Returns:
        (cases,) float64.

    Raises:
        Error: The sum costs more than the limit, does not close, or diverges.
    """
    return sums_of(gather(machine, clamped, held, lengths), limit)


def exact_log_partition(machine: Machine, limit: int = LIMIT) -> float:
    """Log Z by enumeration. Raises `Error` where it costs more than the limit, with the cost."""
    return float(log_sums(machine, None, limit)[0])


@dataclass(frozen=True, slots=True)
class ExactStatistics:
    """Exact expectations given what is known.

    `log_sum` (cases,): log of the sum over all that is latent of exp(-energy). `means`: for each layer with latent
    units the means of its statistic, (cases, size). `products`: for each weight the mean over cases, by case weight,
    of the sum over its uses of E[s(a) s(b)' ...], float64. `slopes`: for each of the unit types' own parameters the
    same mean of E[-d energy / d parameter], (size,). Without anything known there is one case, the model itself.
    """

    log_sum: Doubles
    means: Mapping[str, Doubles]
    products: Mapping[str, Doubles]
    slopes: Mapping[str, Doubles]


def exact_statistics(
    machine: Machine,
    clamped: Mapping[str, Array] | None = None,
    weights: Doubles | None = None,
    limit: int = LIMIT,
    *,
    held: Held = NOTHING,
    lengths: Lengths | None = None,
) -> ExactStatistics:
    """Exact expectations of every statistic, product and slope, given what is known, or of the model itself.

    Args:
        machine: The model with its parameters.
        clamped: Statistics (cases, size) of the clamped layers.
        weights: Case weights (cases,), any scale; equal when None.
        limit: The most unit evaluations to spend on one of two passes over a group.
        held: By layer with missing entries, where its entries are observed, (cases, size); the others are latent.
        lengths: Of documents that are not clamped, (cases,) or one number.

    Raises:
        Error: The sum costs more than the limit, does not close, or diverges.
    """
    evidence = gather(machine, clamped, held, lengths)
    share = np.ones(evidence.cases) if weights is None else np.asarray(weights, np.float64)
    share = share / share.sum()
    artifact = machine.artifact
    latent = [n for n in machine.layers if n not in evidence.known or n in evidence.missing]
    out = ExactStatistics(
        np.empty(evidence.cases),
        {n: np.zeros((evidence.cases, artifact.layers[n].size)) for n in latent},
        {n: np.zeros(p.shape) for n, p in machine.p.items() if n in machine.kernels.weight_statistics},
        _zero_slopes(machine),
    )
    for group in groups(evidence):
        whole = GroupSum(group, limit)
        blocks: Iterable[Block] | None = None
        if whole.block_count == 1:  # small enough to keep for the second pass
            blocks = list(whole.blocks())
        log_sum = whole.log_sums(blocks or whole.blocks())
        out.log_sum[group.rows] = log_sum
        for block in blocks or whole.blocks():
            weight = np.exp(block.log_weight - log_sum[block.cases])
            _add_block(out, whole, block, weight, share[group.rows][block.cases])
    return out


def _zero_slopes(machine: Machine) -> dict[str, Doubles]:
    kinds = [(n, kind) for n in machine.layers if n not in machine.given for kind in machine.kernels.slope[n]]
    names = [machine.artifact.layers[n].parameters[kind] for n, kind in kinds]
    return {n: np.zeros(machine.p[n].size) for n in names}


def _add_block(out: ExactStatistics, whole: GroupSum, block: Block, weight: Doubles, share: Doubles) -> None:
    """Add what a block's states contribute; `weight` (rows,) is their probability, `share` the cases'."""
    machine, rows = whole.machine, whole.group.rows[block.cases]
    every = _states(whole, block, len(weight))
    for name, mean in out.means.items():
        s = every[name].astype(np.float64)
        mean[rows] += weight @ s if block.single else weight[:, None] * s
    mass = weight * share
    scaled: dict[int, dict[str, Array]] = {}  # so that the product over a weight's layers has the mass once
    for name, total in out.products.items():
        if total.ndim not in scaled:
            root = (mass ** (1 / total.ndim))[:, None]
            scaled[total.ndim] = {n: np.ascontiguousarray(s * root, dtype=machine.dtype) for n, s in every.items()}
        part = np.empty(total.shape, machine.dtype)
        machine.kernels.weight_statistics[name](scaled[total.ndim], 1.0, False, part)
        total += part
    for edge in machine.edges if whole.joint else ():
        if whole.joint and set(edge.layers) <= set(whole.joint.layers):
            covariance = whole.joint.block(edge.layers[0], edge.layers[1])
            if edge.lateral:
                np.fill_diagonal(covariance, 0)
            out.products[edge.weight] += mass.sum() * covariance
    for name, kernels in machine.kernels.slope.items():
        if name in machine.layers and name not in machine.given:
            for kind in kernels:
                parameter = machine.artifact.layers[name].parameters[kind]
                out.slopes[parameter] += mass @ _slopes(whole, block, name, kind, every)


def _states(whole: GroupSum, block: Block, count: int) -> dict[str, Array]:
    """A block's states with the means of what is summed out, (rows, size) by layer."""
    out = combined(block.rows, block.one, count)
    for name, latent in whole.latent.items():
        out[name] = latent.means(block.fields[name], block.own[name], out.get(name))
    if whole.joint:
        for name, mean in whole.joint.means(block.joint).items():
            out[name] = np.ascontiguousarray(mean + out.get(name, 0), whole.machine.dtype)
    return out


def _slopes(whole: GroupSum, block: Block, name: str, kind: str, every: dict[str, Array]) -> Array:
    """E[-d energy / d parameter] of each unit of a layer, (rows, size).

    The slope is affine in the field, so that of the neighbours of a unit whose state is known only the means matter.
    A unit that is summed out averages it over its conditional; where its neighbours are summed out with it, its field
    is normal, and as the average is then quadratic in the field, two points integrate it.
    """
    machine = whole.machine
    count = len(every[name])
    field, out = machine.coupling(name, every, count), np.empty_like(every[name])
    if name in whole.plan.enumerated or name in whole.group.clamped:
        machine.kernels.slope[name][kind](machine.p, every[name], field, out)
        return out
    own = whole.evidence.own(name)
    own = own if own.ndim == 1 else np.ascontiguousarray(own[block.cases])
    aside = np.zeros(field.shape[1])
    if whole.joint and name in whole.joint.layers:
        aside[whole.joint.places[name]] = whole.joint.field_deviation(name)
    parts = []
    for sign in (-1, 1) if aside.any() else (0,):
        at = np.ascontiguousarray(field + sign * aside, machine.dtype)
        parts.append(np.empty_like(out))
        machine.kernels.expected_slope[name][kind](machine.p, at, own, 1.0, parts[-1])
    expected = np.asarray(np.mean(parts, axis=0))
    if name in whole.group.free.missing:
        held = np.empty_like(out)
        machine.kernels.slope[name][kind](machine.p, every[name], field, held)
        return np.where(whole.group.free.missing[name], expected, held)
    return expected
