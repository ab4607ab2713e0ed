"""The pseudo-likelihood of models in which nothing is hidden: sum over sites of log p(x_i | all other sites).

With f_i the field of site i, r_i = s_i - E[s_i | rest] its residual, and A the log-partition function,

    log p(x_i | rest) = f_i s_i - base(x_i) - A(f_i)
    gradient of a weight:            the products of the layers with r in place of s in each of them in turn:
                                     r_a s_b' + s_a r_b', of a shared entry of a lateral one r_i s_k + s_i r_k
    gradient of an own field:        r
    gradient of an own parameter T:  slope(s, f + g) - expected slope(f), g the field that residuals send back:
                                     a statistic x / sigma enters its neighbours' fields as well

Products are polynomials in s, so that their derivatives along r are differences at s + n r and s - n r, exactly.

Source: Besag (1975), "Statistical analysis of non-lattice data".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.runtime.machine import Machine, State
from pgmdsl.runtime.positive import Batch
from pgmdsl.runtime.statistics import Statistics

Array = NDArray[Any]
# By degree, the weights of differences f(s + n r) - f(s - n r), n from 1: central differences of that order are exact.
DIFFERENCES = {2: (1 / 2,), 4: (2 / 3, -1 / 12), 6: (3 / 4, -3 / 20, 1 / 60), 8: (4 / 5, -1 / 5, 4 / 105, -1 / 280)}


def add_pseudolikelihood(machine: Machine, s: State, batch: Batch, statistics: Statistics) -> dict[str, Array]:
    """Begin the statistics with the gradient of the mean log pseudo-likelihood; returns the layers' means (size,)."""
    fields = {n: machine.coupling(n, s, batch.cases) for n in machine.layers}
    residual: State = {}
    for name, x in s.items():
        residual[name] = np.zeros_like(x)
        if name not in machine.given:
            machine.mean(name, fields[name], residual[name], s=s)
            np.subtract(x, residual[name], out=residual[name])
        exposure = machine.exposure(name, s)
        weight = batch.share if exposure is None else (batch.share * exposure).astype(batch.share.dtype)
        statistics.delta[name][:] = batch.mass * (weight @ residual[name])
    degree = max((len(e.layers) for e in machine.edges), default=2)
    for out in statistics.gradient.values():
        out[...] = 0
    for n, coefficient in enumerate(_differences(degree), 1):
        for sign in (1, -1):
            moved = {name: x + machine.dtype.type(sign * n) * residual[name] for name, x in s.items()}
            factor = batch.mass * sign * coefficient
            statistics.add_products(moved, batch.share, batch.weighted, factor, first=False)
    _add_slopes(machine, s, fields, residual, batch, statistics)
    statistics.measure(s, batch.share)
    return {name: batch.share @ x for name, x in s.items()}


def _differences(degree: int) -> tuple[float, ...]:
    return next(DIFFERENCES[order] for order in sorted(DIFFERENCES) if order >= degree)


def _add_slopes(
    machine: Machine, s: State, fields: State, residual: State, batch: Batch, statistics: Statistics
) -> None:
    for parameter, uses in statistics.own.items():
        total = np.zeros_like(statistics.slope[parameter])
        for name, key in uses:
            field = fields[name] + _sent_back(machine, name, s, residual)
            here, expected = np.empty_like(field), np.empty_like(field)
            machine.kernels.slope[name][key](machine.p, s[name], field, here)
            own = machine.own_in(name, s)
            machine.kernels.expected_slope[name][key](machine.p, fields[name], own, 1.0, expected)
            total += batch.share @ (here - expected)
        statistics.slope[parameter][:] = batch.mass * total


def _sent_back(machine: Machine, layer: str, s: State, residual: State) -> Array:
    """The derivative of a layer's coupling field along the residuals of the layers that send it."""
    cases = len(s[layer])
    out = np.zeros_like(s[layer])
    degree = max((len(e.layers) - 1 for e in machine.edges if layer in e.layers), default=1)
    for n, coefficient in enumerate(_differences(degree), 1):
        for sign in (1, -1):
            moved = {name: x + machine.dtype.type(sign * n) * residual[name] for name, x in s.items()}
            out += machine.dtype.type(sign * coefficient) * machine.coupling(layer, moved, cases)
    return out


def log_pseudolikelihood(machine: Machine, s: State) -> NDArray[np.float64]:
    """The log pseudo-likelihood of complete states, (cases,)."""
    cases = len(next(iter(s.values())))
    out = np.zeros(cases)
    for name, x in s.items():
        if name in machine.given:
            continue
        field, base, log_partition = machine.coupling(name, s, cases), np.zeros(cases), np.zeros(cases)
        total = field + machine.own_in(name, s)
        machine.kernels.base_energy[name](machine.p, x, base)
        machine.add_log_partition(name, field, s, log_partition)
        out += np.einsum("ci,ci->c", x, total, dtype=np.float64) - log_partition - (base - machine.constant(name))
    return out
