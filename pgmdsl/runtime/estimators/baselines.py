"""What a model is worth: the same cases under independent units, and under mixtures of such, fitted to the data.

Units have the exponential families of the model's visible layers, with field f, statistic s and log-partition A:

    log p(v) = log sum_k pi_k exp(sum_i (f_ki s_i - base(s_i) - A(f_ki))).

EM alternates r_ck, the posterior of component k given case c, with f_k, the fields at which the mean statistic is

    m_k = (sum_c r_ck s_c + a m) / (sum_c r_ck + a),    pi_k = (sum_c r_ck + a) / (cases + a K),

m the mean over all cases: a cases of pseudo-data a component (conjugate priors), so that no mean reaches the edge of
its support. Each step raises the penalised log-likelihood, sum_c log p(v_c) + a sum_k (log pi_k + f_k m - A(f_k)). A
Gaussian unit keeps the model's standard deviation; a document's words are independent given its component.

Source: Dempster, Laird and Rubin (1977); Salakhutdinov and Murray (2008), section 6 (mixtures of Bernoullis).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.parameters import inside
from pgmdsl.runtime.random import permutation, stream_key

Array = NDArray[Any]
Doubles = NDArray[np.float64]
Progress = Callable[[int, int], None]

COMPONENTS = (10, 100, 500)
MOST_COMPONENTS = 2000
ITERATIONS = 60
PSEUDO = 0.1  # a: cases a component
MARGIN = 1e-6  # share of the support's range that means are kept from its ends
CASES = 4000  # at a time


@dataclass(frozen=True)
class Mixture:
    """Components of independent units.

    `log_share`: log pi, (components,). `fields`: by layer (components, size). `log_partition`: sum of A over each
    component's units, (components,), and by count layer, of one word. `history`: the penalised mean log-likelihood of
    the training cases after each iteration.
    """

    machine: Machine
    log_share: Doubles
    fields: Mapping[str, Array]
    log_partition: Mapping[str, Doubles]
    history: tuple[float, ...] = ()

    @property
    def components(self) -> int:
        """How many components there are."""
        return len(self.log_share)

    def joint(self, s: Mapping[str, Array]) -> Array:
        """Log p(case, component), (cases, components), without the base energies, which all components share."""
        cases = len(next(iter(s.values())))
        out = np.tile(self.log_share, (cases, 1)).astype(self.machine.dtype)
        for name, field in self.fields.items():
            out += s[name] @ field.T
            words = s[name].sum(axis=1)[:, None] if _is_counts(self.machine, name) else 1.0
            out -= (words * self.log_partition[name]).astype(self.machine.dtype)
        return out

    def log_probability(self, s: Mapping[str, Array]) -> Doubles:
        """Log p of each case, (cases,); of documents that of the words in their order."""
        cases = len(next(iter(s.values())))
        out = np.empty(cases)
        for rows in _chunks(cases):
            part = {n: np.ascontiguousarray(x[rows]) for n, x in s.items()}
            out[rows] = _log_sum(self.joint(part)) - _base(self.machine, part)
        return out


def fit_mixture(
    machine: Machine,
    s: Mapping[str, Array],
    components: int,
    *,
    weights: Doubles | None = None,
    iterations: int = ITERATIONS,
    pseudo: float = PSEUDO,
    seed: int = 0,
    progress: Progress | None = None,
) -> Mixture:
    """A mixture fitted by EM from randomly chosen cases; of one component, independent units, at once.

    Args:
        machine: The model, for its unit types.
        s: Statistics (cases, size) of the visible layers, complete.
        components: How many.
        weights: Case weights (cases,), any scale; equal when None.
        iterations: Of EM.
        pseudo: a: cases of pseudo-data a component.
        seed: Of the cases that components start near.
        progress: Called with (iterations done, iterations).
    """
    cases = len(next(iter(s.values())))
    weight = np.ones(cases) if weights is None else np.asarray(weights, np.float64) * cases / np.sum(weights)
    overall = {n: weight @ x / cases for n, x in s.items()}
    if components == 1:
        return _mixture(
            machine, np.full(1, float(cases)), {n: m[None] * cases for n, m in overall.items()}, overall, 0.0
        )
    first = permutation(stream_key(seed, "mixture", components), cases)[:components]
    near = {n: 0.25 * x[first].astype(np.float64) + 0.75 * overall[n] for n, x in s.items()}
    found = _mixture(machine, np.ones(len(first)), near, overall, 0.0)
    history: list[float] = []
    for iteration in range(iterations):
        mass, sums, total = np.zeros(found.components), {n: np.zeros(f.shape) for n, f in found.fields.items()}, 0.0
        for rows in _chunks(cases):
            part = {n: np.ascontiguousarray(x[rows]) for n, x in s.items()}
            joint = found.joint(part)
            log_p = _log_sum(joint)
            total += float(weight[rows] @ (log_p - _base(machine, part)))
            share = np.exp(joint - log_p[:, None].astype(joint.dtype)) * weight[rows, None].astype(joint.dtype)
            mass += share.sum(axis=0, dtype=np.float64)
            for name, x in part.items():
                sums[name] += share.T @ x
        history.append((total + pseudo * _log_prior(found, overall)) / cases)
        found = _mixture(machine, mass, sums, overall, pseudo)
        if progress is not None:
            progress(iteration + 1, iterations)
    return Mixture(machine, found.log_share, found.fields, found.log_partition, tuple(history))


def _mixture(
    machine: Machine, mass: Doubles, sums: Mapping[str, Doubles], overall: Mapping[str, Doubles], pseudo: float
) -> Mixture:
    """The components with these summed statistics, and their masses."""
    whole = mass + pseudo
    fields, partitions = {}, {}
    for name, total in sums.items():
        layer = machine.artifact.layers[name]
        mean = (total + pseudo * overall[name]) / whole[:, None]
        if _is_counts(machine, name):
            mean = mean / mean.sum(axis=1, keepdims=True)
        rows = [inside(layer, m, MARGIN).astype(machine.dtype) for m in mean]
        field = np.stack([machine.kernels.field_of_mean[name](machine.p, row) for row in rows])
        fields[name] = np.ascontiguousarray(field, machine.dtype)
        out, zero = np.zeros(len(mean)), np.zeros_like(fields[name])
        trials = (np.ones(len(mean)),) if _is_counts(machine, name) else ()
        machine.kernels.log_partition[name](machine.p, zero, fields[name], 1.0, out, *trials)
        partitions[name] = out
    return Mixture(machine, np.log(whole / whole.sum()), fields, partitions)


def _log_prior(found: Mixture, overall: Mapping[str, Doubles]) -> float:
    """sum_k (log pi_k + f_k m - A(f_k)): what one case of pseudo-data a component adds."""
    out = found.log_share.copy()
    for name, mean in overall.items():
        words = float(mean.sum()) if _is_counts(found.machine, name) else 1.0
        out += found.fields[name].astype(np.float64) @ mean - words * found.log_partition[name]
    return float(out.sum())


def _base(machine: Machine, s: Mapping[str, Array]) -> Doubles:
    out = np.zeros(len(next(iter(s.values()))))
    for name, x in s.items():
        machine.kernels.base_energy[name](machine.p, x, out)
        out -= machine.constant(name)
    return out


def _is_counts(machine: Machine, layer: str) -> bool:
    return machine.artifact.layers[layer].support == "counts"


def _log_sum(x: Array) -> Doubles:
    top = x.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.exp(x - top).sum(axis=1, dtype=np.float64)) + top[:, 0])


def _chunks(cases: int) -> Iterator[slice]:
    for start in range(0, cases, CASES):
        yield slice(start, min(start + CASES, cases))
