"""Sums over the states of one site of a layer: a unit, a one-hot site or a document, given its field.

Discrete sites are enumerated. A real unit is integrated by Gauss's rule on many small intervals that reach as far as
its density does; the conditions in its energy, such as `x > 0`, are ends of intervals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from pgmdsl.checking.declared import Array, DeclaredLayer, evaluate
from pgmdsl.compiler.units import Counts, Finite, Naturals, OneHot, Real, Whole
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.parse import parse_expression
from pgmdsl.grammar.syntax import Compare, Name
from pgmdsl.grammar.walk import walk

PANELS = 600  # intervals of a real unit's quadrature
NODES = 6  # of Gauss's rule on each
DROP = 60.0  # how far below its peak a log density is left out
MOST = 20_000  # largest count of a natural unit that is enumerated


@dataclass(frozen=True)
class Site:
    """The states of one site and their weights given the cases' fields.

    `nodes` (N, entries) are its states, `statistics` theirs, `log_weight` (cases, N) the log of each one's weight, not
    normalised. Of that `log_rule` (N,) is no part of the energy: a quadrature's weights, or the number of orders of a
    document's words. For a real unit nodes are those of a quadrature, `ends` of its intervals, NODES to each.
    """

    nodes: Array
    statistics: Array
    log_rule: Array
    log_weight: Array
    ends: Array | None = None

    @property
    def probability(self) -> Array:
        """Of each node, (cases, N)."""
        weight = np.exp(self.log_weight - self.log_weight.max(1, keepdims=True))
        return np.asarray(weight / weight.sum(1, keepdims=True))

    @property
    def log_sum(self) -> Array:
        """The log of the sum of the weights, (cases,)."""
        return np.asarray(np.logaddexp.reduce(self.log_weight, 1))

    @property
    def mean(self) -> Array:
        """The mean statistic, (cases, entries)."""
        return self.probability @ self.statistics


def sites(layer: DeclaredLayer) -> list[NDArray[np.intp]]:
    """The entries of each site of a layer: one unit, the states of a one-hot site, or a document."""
    return [np.arange(i, i + layer.states) for i in range(0, layer.size, layer.states)]


def site(
    layer: DeclaredLayer,
    entries: NDArray[np.intp],
    field: Array,
    bias: Array,
    length: int = 0,
    known: Mapping[int, float] | None = None,
    panels: int = PANELS,
) -> Site:
    """A site at a coupling field: weights exp(-energy + field * statistic).

    Args:
        layer: its layer.
        entries: of the layer's state, that are the site's.
        field: (cases, entries).
        bias: (cases or 1, entries), already multiplied by lengths.
        length: of the document, for count layers.
        known: counts of a document that are held, by their place in the site.
        panels: of the quadrature of a real unit.
    """
    own = {name: values[entries] for name, values in layer.own.items()}
    if isinstance(layer.unit.support, Real):
        ends = _ends(layer, own, field, bias, panels)
        nodes, log_rule = _gauss(ends)
    elif isinstance(layer.unit.support, Naturals):
        nodes, log_rule, ends = _naturals(layer, own, field, bias), np.zeros(1), None
    else:
        (nodes, log_rule), ends = _discrete(layer, length, known or {}), None
    with np.errstate(over="ignore"):
        statistics = layer.statistic(nodes, own)
        energy = layer.energy(nodes[None], np.broadcast_to(bias[:, None], (len(bias), len(nodes), len(entries))), own)
    return Site(nodes, statistics, log_rule, log_rule - energy.sum(2) + field @ statistics.T, ends)


def _discrete(layer: DeclaredLayer, length: int, known: Mapping[int, float]) -> tuple[Array, Array]:
    """The states of a site and the log of how often each counts: a document, once for every order of its free words."""
    match layer.unit.support:
        case Finite(values):
            nodes = np.array([[float(value)] for value in values])
        case Whole():
            nodes = np.arange(layer.trials + 1.0)[:, None]
        case OneHot():
            nodes = np.eye(layer.states)
        case Counts():
            free = [k for k in range(layer.states) if k not in known]
            left = length - int(sum(known.values()))
            counts = np.array(list(_compositions(left, len(free))))
            nodes = np.zeros((len(counts), layer.states))
            nodes[:, free] = counts
            nodes[:, list(known)] = list(known.values())
            return nodes, gammaln(left + 1) - gammaln(counts + 1.0).sum(1)
        case _:
            raise AssertionError("a unit of infinitely many states")
    return nodes, np.zeros(len(nodes))


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    if parts == 1:
        yield (total,)
    for first in range(total + 1) if parts > 1 else ():
        yield from ((first, *rest) for rest in _compositions(total - first, parts - 1))


def _log_density(layer: DeclaredLayer, own: Mapping[str, Array], field: Array, bias: Array, x: Array) -> Array:
    """Of one scalar unit at states (N,), for the largest and the smallest field with either bias, (4, N)."""
    rows = [
        f * layer.statistic(x[:, None], own)[:, 0] - layer.energy(x[:, None], np.full((1, 1), b), own)[:, 0]
        for f, b in product((field.min(), field.max()), (bias.min(), bias.max()))
    ]
    return np.array(rows)


def _reaches(values: Array) -> NDArray[np.bool_]:
    """Where some row of log densities is not far below its peak."""
    return np.asarray((values > values.max(1, keepdims=True) - DROP).any(0))


def _naturals(layer: DeclaredLayer, own: Mapping[str, Array], field: Array, bias: Array) -> Array:
    x = np.arange(float(MOST))
    reached = np.flatnonzero(_reaches(_log_density(layer, own, field, bias, x)))
    if reached[-1] >= MOST - 1:
        raise Error(
            f"at random parameters {layer.name} has counts above {MOST}, too many to enumerate: the kernels cannot be "
            "compared with so many neighbours; take a smaller model with the same unit types"
        )
    return x[: reached[-1] + 2, None]


def _ends(layer: DeclaredLayer, own: Mapping[str, Array], field: Array, bias: Array, panels: int) -> Array:
    """The ends of the intervals of a real unit's quadrature."""
    support = layer.unit.support
    assert isinstance(support, Real)
    steps = np.concatenate([[0.0], np.geomspace(1e-3, 1e4, 400)])
    inner = _breaks(layer)
    x = np.unique(np.concatenate([-steps, steps, *([steps + b for b in inner]), *([b - steps for b in inner])]))
    if support.lower is not None:
        x = np.unique(np.maximum(x, float(support.lower)))
    reached = np.flatnonzero(_reaches(_log_density(layer, own, field, bias, x)))
    low, high = x[max(reached[0] - 1, 0)], x[min(reached[-1] + 1, len(x) - 1)]
    return np.unique([*np.linspace(low, high, panels + 1), *(b for b in inner if low < b < high)])


def _breaks(layer: DeclaredLayer) -> list[float]:
    """The numbers that the energy compares the state with."""
    nodes = [node for node, _ in walk(parse_expression(layer.unit.energy))]
    sides = [side for node in nodes if isinstance(node, Compare) for side in (node.left, node.right)]
    numbers = [side for side in sides if not any(isinstance(inner, Name) for inner, _ in walk(side))]
    return sorted({float(evaluate(number, {})) for number in numbers})


def _gauss(ends: Array) -> tuple[Array, Array]:
    """The nodes (N, 1) of Gauss's rule on these intervals, and the logs of their weights (N,)."""
    x, w = np.polynomial.legendre.leggauss(NODES)
    pairs = np.array(list(pairwise(ends)))
    middle, half = pairs.mean(1)[:, None], (np.diff(pairs, axis=1) / 2)
    return (middle + half * x).reshape(-1, 1), np.log(half * w).reshape(-1)
