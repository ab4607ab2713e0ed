"""Log pseudo-likelihoods: the sum over observed sites of log p(x_i | all other observed units), the hidden summed out.

No bound on the log-likelihood, and of another kind: it says how well each value is predicted by all others, and nothing
of how much of its probability the model spends elsewhere.

Source: Besag (1975), "Statistical analysis of non-lattice data".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.machine import Machine, State
from pgmdsl.runtime.objectives import log_pseudolikelihood
from pgmdsl.runtime.random import stream_key, uniforms

Doubles = NDArray[np.float64]


def allows_pseudolikelihood(machine: Machine, observed: set[str]) -> bool:
    """Whether sites' conditionals can be had: nothing is hidden, or few states are observed and the rest closes."""
    layers = machine.artifact.layers
    modelled = [n for n in observed if n not in machine.given]
    few = all(layers[n].support in ("finite", "one_hot") for n in modelled)
    rest = [n for n in machine.layers if n not in observed]
    return machine.undirected is machine and (not rest or (few and machine.independent(rest)))


def pseudolikelihoods(machine: Machine, s: State, limit: float = 0.0) -> tuple[Doubles, str]:
    """Each case's log pseudo-likelihood, (cases,), or an unbiased estimate of it; and which, in words.

    Args:
        machine: The model with its parameters.
        s: Statistics (cases, size) of the observed layers, complete.
        limit: Unit evaluations up to which all sites of each case are visited where layers are hidden; else one.

    Raises:
        Error: the model does not allow it.
    """
    if not allows_pseudolikelihood(machine, set(s)):
        raise Error(
            f"{machine.artifact.name}: a pseudo-likelihood needs either no hidden layers, or visible units with few "
            "states and hidden layers that share no edge; use method = ais"
        )
    if set(s) == set(machine.layers):
        return log_pseudolikelihood(machine, s), "all sites"
    cases, sites = len(next(iter(s.values()))), sum(_sites(machine, s))
    units = sum(machine.artifact.layers[n].size for n in machine.layers)
    if 3 * cases * sites * units <= limit:
        each = (log_conditional(machine, s, np.full(cases, site)) for site in range(sites))
        return np.sum(list(each), axis=0), "all sites"
    return one_site(machine, s), "one site of each case, drawn by seed"


def one_site(machine: Machine, s: State) -> Doubles:
    """An unbiased estimate of each case's log pseudo-likelihood, (cases,): one site's, times the number of sites."""
    cases, sites = len(next(iter(s.values()))), sum(_sites(machine, s))
    chosen = (uniforms(stream_key(0, "pseudolikelihood"), cases) * sites).astype(np.int64)
    return log_conditional(machine, s, chosen) * float(sites)


def _sites(machine: Machine, s: State) -> list[int]:
    """How many sites each observed layer that is not given has."""
    layers = [machine.artifact.layers[n] for n in s if n not in machine.given]
    return [layer.size // layer.states for layer in layers]


def log_conditional(machine: Machine, s: State, chosen: NDArray[np.int64]) -> Doubles:
    """Log p(x_i | all other observed units) of one site of each case, (cases,), from the free energies of its states.

    Args:
        machine: The model with its parameters.
        s: Statistics (cases, size) of the observed layers.
        chosen: The numbers of the sites among those of all layers, (cases,).
    """
    layers = [machine.artifact.layers[n] for n in s if n not in machine.given]
    sites = np.array(_sites(machine, s))
    base = machine.free_energy(s)
    out: Doubles = np.empty(len(base))
    for layer, first, count in zip(layers, np.cumsum(sites) - sites, sites, strict=True):
        rows = np.flatnonzero((chosen >= first) & (chosen < first + count))
        site = chosen[rows] - first
        states = layer.states if layer.support == "one_hot" else len(layer.values)
        total = np.full(len(rows), -np.inf)
        for state in range(states if len(rows) else 0):
            other = {n: x[rows] for n, x in s.items()}
            if layer.support == "one_hot":
                blocks = other[layer.name].reshape(len(rows), count, states)
                blocks[np.arange(len(rows)), site] = np.eye(states)[state]
            else:
                other[layer.name][np.arange(len(rows)), site] = layer.levels[state]
            total = np.logaddexp(total, -machine.free_energy(other))
        out[rows] = -base[rows] - total
    return out
