"""Whether a model with unbounded layers normalises at its present weights.

The compiler says what must hold (`Artifact.watched`); here it is measured. Of real layers, with tail curvatures D and
couplings C in the space of statistics, exp(-energy) is integrable where s'(D - C)s > 0 for every direction s that the
supports allow: where D - C is positive definite after couplings below 0 between two units on half lines are left out.
It is not integrable where the energy falls without bound along some direction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Watched
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.machine import Machine

Array = NDArray[Any]
Doubles = NDArray[np.float64]
Status = Literal["normalises", "unknown", "diverges"]

ROUNDING = 1e-6  # of a direction's curvature: what is nearer to 0 proves nothing
FAR = 2.0**12  # where the tail of each unit's energy has begun
DENSE = 600  # units up to which all eigenvalues are computed
PAIRS = 20  # of the strongest couplings that are tried as directions


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Whether the sum over all states is finite: `status`, and in words `message`, empty where it normalises.

    `margin`: how far the weights are from the condition's edge, from 1 (no coupling) down to 0: 1 less the largest
    eigenvalue of D^-1/2 C D^-1/2. Infinite where no such thing need hold, as where no weight may be above 0, which
    training sees to. `unknown` means that neither was shown, as the condition is sufficient only.
    """

    status: Status
    margin: float
    message: str


def normalisation(machine: Machine, clamped: frozenset[str] = frozenset()) -> Normalisation:
    """Whether the sum over all layers that are not clamped is finite at the machine's present parameters."""
    worst = Normalisation("normalises", float("inf"), "")
    order: tuple[Status, ...] = ("normalises", "unknown", "diverges")
    for watched in machine.artifact.watched:
        latent = tuple(n for n in watched.layers if n in machine.layers and n not in clamped)
        if not any(set(e.layers) <= set(latent) for e in watched.edges):
            continue
        check = _definite if watched.condition == "definite" else _nonpositive
        found = check(machine, watched, latent)
        if (order.index(found.status), -found.margin) > (order.index(worst.status), -worst.margin):
            worst = found
    return worst


def require_normalised(machine: Machine, clamped: frozenset[str] = frozenset()) -> None:
    """Raise `Error`, with the condition, unless the sum over all layers that are not clamped is shown to be finite."""
    found = normalisation(machine, clamped)
    if found.status != "normalises":
        raise Error(found.message)


def couplings(machine: Machine, first: str, second: str) -> Doubles:
    """What multiplies s(first)[i] s(second)[j] in -energy, the pair edges between them together, (size, size)."""
    every = np.eye(machine.artifact.layers[first].size, dtype=machine.dtype)
    return machine.coupling(second, {first: every}, len(every)).astype(np.float64)


def _weights(watched: Watched, latent: tuple[str, ...]) -> str:
    return ", ".join(dict.fromkeys(e.weight for e in watched.edges if set(e.layers) <= set(latent)))


def _nonpositive(machine: Machine, watched: Watched, latent: tuple[str, ...]) -> Normalisation:
    first, second = latent[0], latent[-1]
    largest = float(couplings(machine, first, second).max())
    if largest <= 0:
        return Normalisation("normalises", math.inf, "")
    units = " and ".join(f"{n} ({machine.artifact.layers[n].unit})" for n in dict.fromkeys((first, second)))
    joined = "share the edge" if first != second else "has the lateral edge"
    message = (
        f"{machine.artifact.name}: Z is infinite: {units} {joined} {_weights(watched, latent)}, of which no weight may "
        f"be above 0, but the largest is {largest:.3g}; give it no such weights, or use units of bounded support"
    )
    return Normalisation("diverges", -largest, message)


def _definite(machine: Machine, watched: Watched, latent: tuple[str, ...]) -> Normalisation:
    layers = [machine.artifact.layers[n] for n in latent]
    curvature = np.concatenate([np.asarray(machine.kernels.curvature[n](machine.p), np.float64) for n in latent])
    half_line = np.concatenate([np.full(x.size, x.lower is not None) for x in layers])
    coupling = np.block([[couplings(machine, a, b) for b in latent] for a in latent])
    root = np.sqrt(curvature)
    scaled = (coupling + coupling.T) / (2 * np.outer(root, root))
    bound = np.where(np.outer(half_line, half_line), np.maximum(scaled, 0), scaled)
    if not np.isfinite(bound).all():
        message = f"{machine.artifact.name}: {_weights(watched, latent)} or own parameters are not finite numbers"
        return Normalisation("unknown", float("nan"), message)
    largest, direction = largest_eigenpair(bound)
    margin = 1 - largest
    if margin > 0 and _is_definite(np.eye(len(bound)) - bound):
        return Normalisation("normalises", margin, "")
    falls = all(x.quadratic for x in layers) and margin < -ROUNDING
    falls = falls or _falls(machine, latent, (coupling + coupling.T) / 2, direction)
    message = _not_definite(machine, watched, latent, margin, falls)
    return Normalisation("diverges" if falls else "unknown", margin, message)


def _not_definite(machine: Machine, watched: Watched, latent: tuple[str, ...], margin: float, diverges: bool) -> str:
    units = " and ".join(f"{n} ({machine.artifact.layers[n].unit})" for n in latent)
    verdict = "Z is infinite" if diverges else "it is not known whether Z is finite"
    return (
        f"{machine.artifact.name}: {verdict}: the couplings {_weights(watched, latent)} among {units} must be weaker "
        f"than these units' own curvature, but their largest eigenvalue, in units of it, is {1 - margin:.3g} and not "
        "below 1; train with a lower rate or with decay on these weights, or use units of bounded support on one side"
    )


def largest_eigenpair(matrix: Doubles) -> tuple[float, Doubles]:
    """The algebraically largest eigenvalue of a symmetric matrix, and its eigenvector."""
    if len(matrix) <= DENSE:
        values, vectors = np.linalg.eigh(matrix)
    else:
        from scipy.sparse.linalg import eigsh

        values, vectors = eigsh(matrix, k=1, which="LA", v0=np.ones(len(matrix)))
    return float(values[-1]), np.asarray(vectors[:, -1], np.float64)


def _is_definite(matrix: Doubles) -> bool:
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True


def _falls(machine: Machine, latent: tuple[str, ...], coupling: Doubles, principal: Doubles) -> bool:
    """Whether the energy of these layers falls without bound along one of some directions, like -square.

    Args:
        machine: The model with its parameters.
        latent: The layers.
        coupling: C, of all their units.
        principal: A direction in which couplings are strong.
    """
    layers = [machine.artifact.layers[n] for n in latent]
    half_line = np.concatenate([np.full(x.size, x.lower is not None) for x in layers])
    upper, lower = (np.concatenate([_tail(machine, n, side) for n in latent]) for side in (1, -1))
    for signs in _signs(coupling, principal, half_line, upper):
        curvature = np.where(signs < 0, lower, upper)
        root = np.sqrt(curvature)
        among = np.flatnonzero(signs)
        if not len(among):
            continue
        folded = signs[among] / root[among]  # in these coordinates the direction must have no entry below 0
        _, v = largest_eigenpair(coupling[np.ix_(among, among)] * np.outer(folded, folded))
        u = np.zeros(len(signs))
        u[among] = folded * np.maximum(v if v.sum() > 0 else -v, 0)
        square = float(curvature @ u**2)
        if square - float(u @ coupling @ u) < -ROUNDING * square:
            return True
    return False


def _tail(machine: Machine, layer: str, side: int) -> Doubles:
    """The curvature of each unit's energy far out on one side, (size,)."""
    size = machine.artifact.layers[layer].size
    if machine.artifact.layers[layer].lower is not None:
        return np.asarray(machine.kernels.curvature[layer](machine.p), np.float64)
    at = []
    for distance in (0.0, FAR, 2 * FAR):
        states, energy = np.ascontiguousarray(np.eye(size) * side * distance, machine.dtype), np.zeros(size)
        machine.kernels.base_energy[layer](machine.p, states, energy)
        at.append(energy)
    return np.asarray((at[2] - 2 * at[1] + at[0]) / FAR**2)


def _signs(
    coupling: Doubles, principal: Doubles, half_line: NDArray[np.bool_], curvature: Doubles
) -> Iterator[Doubles]:
    """Patterns of signs, 0 for units that stay: of the principal direction, and of the pairs coupled most strongly."""
    for u in (principal, -principal, np.abs(principal)):
        yield np.where(half_line, np.sign(np.maximum(u, 0)), np.sign(u))
    strength = coupling / np.sqrt(np.outer(curvature, curvature))
    strength = np.triu(np.where(np.outer(half_line, half_line), strength, np.abs(strength)), 1)
    for place in np.argsort(-strength, axis=None)[:PAIRS]:
        i, j = divmod(int(place), len(coupling))
        for sign in (1,) if half_line[i] else (1, -1):
            signs = np.zeros(len(coupling))
            signs[i], signs[j] = sign, sign * np.sign(coupling[i, j])
            if not (half_line[j] and signs[j] < 0):
                yield signs
