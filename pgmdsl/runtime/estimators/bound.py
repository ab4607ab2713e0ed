"""The variational lower bound on log-probabilities, by mean field.

For q that factorises over the latent units, each unit of the model's own family with field f and mean m = A'(f),

    log p(v) >= E_q[-energy] + H(q) - log Z
              = score(known, m) + sum over latent units of (A(f) - f m + own m) + edges(m) - constants - log Z,

since the entropy of one unit less its base energy is A(f) - f m, and the edges are linear in each unit. Equality holds
where the posterior factorises. Missing entries are latent units like others; the latent words of a document are one
multinomial draw.

Source: Salakhutdinov and Hinton (2009), eq. 7; Salakhutdinov (2015), eqs. 36-41.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.runtime.estimators.evidence import Evidence, gather
from pgmdsl.runtime.estimators.latent import Latent
from pgmdsl.runtime.machine import NOTHING, Held, Machine

Array = NDArray[Any]
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


def mean_field_bound(
    machine: Machine,
    clamped: Mapping[str, Array],
    sweeps: int = SWEEPS,
    tolerance: float = TOLERANCE,
    *,
    held: Held = NOTHING,
    lengths: Mapping[str, float | Array] | None = None,
) -> Bound:
    """The variational bound's part that depends on the case, by mean-field sweeps over all that is latent.

    Args:
        machine: The model with its parameters.
        clamped: Statistics (cases, size) of the clamped layers, one at least.
        sweeps: The most sweeps.
        tolerance: The change of the means at which the sweeps end.
        held: By layer with missing entries, where its entries are observed, (cases, size); the others are latent.
        lengths: Of documents that are not clamped, (cases,) or one number.
    """
    return bound_of(gather(machine, clamped, held, lengths), sweeps, tolerance)


def bound_of(evidence: Evidence, sweeps: int = SWEEPS, tolerance: float = TOLERANCE) -> Bound:
    """As `mean_field_bound`."""
    chunks = (evidence.take(slice(i, i + CASES)) for i in range(0, evidence.cases, CASES))
    parts = [_bound_of_chunk(chunk, sweeps, tolerance) for chunk in chunks]
    return Bound(
        np.concatenate([part.log_weight for part in parts]),
        {n: np.concatenate([part.means[n] for part in parts]) for n in parts[0].means},
        max(part.change for part in parts),
    )


def _bound_of_chunk(evidence: Evidence, sweeps: int, tolerance: float) -> Bound:
    machine = evidence.machine
    latent = [n for n in machine.layers if n not in evidence.known or n in evidence.missing]
    s, fields = (
        {**evidence.known, **machine.new_state(evidence.cases, latent)},
        machine.new_state(evidence.cases, latent),
    )
    clamped, held = frozenset(evidence.known.keys() - set(latent)), {n: ~mask for n, mask in evidence.missing.items()}
    for name in latent:
        s[name][:] = _start(evidence, name)
    machine.bottom_up(s, fields, clamped, held=held)
    change = 0.0
    for _ in range(max(1, sweeps)):
        before = {n: s[n].copy() for n in latent}
        machine.kernels.mean_field_sweep(
            machine.p, s, machine.own, machine.scale, fields, clamped | set(machine.given), held
        )
        change = max((float(np.abs(s[n] - before[n]).max()) for n in latent), default=0.0)
        if change < tolerance:
            break
    means = {n: s[n] for n in latent}
    return Bound(value_of(evidence, means, fields), means, change)


def _start(evidence: Evidence, layer: str) -> Array | float:
    """What the sweeps find in a layer: what is known of it, a document's other words spread evenly."""
    known, missing = evidence.known.get(layer), evidence.missing.get(layer)
    if evidence.machine.artifact.layers[layer].support != "counts":
        return 0.0 if known is None else known
    open_words = np.ones((1, evidence.machine.artifact.layers[layer].size)) if missing is None else missing
    spread: Array = open_words * (evidence.words(layer) / np.maximum(open_words.sum(axis=1), 1))[:, None]
    return spread if known is None else known + spread


def mean_field_value(
    machine: Machine, clamped: Mapping[str, Array], means: Mapping[str, Array], fields: Mapping[str, Array]
) -> Doubles:
    """As `value_of`, where all clamped layers are known as a whole."""
    documents = {n: x.sum(axis=1) for n, x in means.items() if machine.artifact.layers[n].support == "counts"}
    return value_of(gather(machine, clamped, lengths=documents), means, fields)


def value_of(evidence: Evidence, means: Mapping[str, Array], fields: Mapping[str, Array]) -> Doubles:
    """E_q[-energy] + H(q) of each case, (cases,), for q at these coupling fields.

    The fields need not be those that the present means send, so that the value is right before convergence too. Where
    units share an edge within a layer, whose means were set in turn, q is taken at the fields as they are now.

    Args:
        evidence: What is known of the cases.
        means: By latent layer (cases, size), A'(own + field) for its entry of `fields`; held entries as they are.
        fields: By latent layer (cases, size).
    """
    machine = evidence.machine
    out = evidence.score()
    present: dict[str, Array] = dict(evidence.known)
    for name, mean in means.items():
        own, missing, known = evidence.own(name), evidence.missing.get(name), evidence.known.get(name)
        words = evidence.words(name) if name in evidence.lengths else None
        latent = Latent(machine, name, missing, words)
        if name in machine.lateral:
            mean = latent.means(fields[name], own, known)
        latent.add_log_partition(fields[name], own, out)
        # Own fields cancel: A(own + field) - (own + field) m + own m + (what is set before sends) m. What is known of
        # the layer itself has been counted.
        free = mean if missing is None else np.where(missing, mean, 0)
        sent = machine.coupling(name, present, evidence.cases)
        out += np.einsum("ci,ci->c", free, sent - fields[name], dtype=np.float64)
        if name in machine.lateral:
            out += 0.5 * np.einsum("ci,ci->c", free, machine.coupling(name, {name: free}, evidence.cases))
        if known is None:
            out -= machine.constant(name)
        present[name] = np.ascontiguousarray(mean, machine.dtype)
    return out
