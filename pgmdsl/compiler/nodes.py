"""Quadrature for one unit that has states without end, given all others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from math import ceil, exp

from pgmdsl.compiler.arithmetic import Floats
from pgmdsl.compiler.derive import derive_conditional
from pgmdsl.compiler.energy import Fields
from pgmdsl.compiler.model import Layer
from pgmdsl.compiler.numeric import Point, compiled
from pgmdsl.compiler.units import Naturals, Real
from pgmdsl.grammar.syntax import Binary

MOST_NODES = 48  # of a unit that is not Gaussian
PER_PIECE = 24
TAIL = 34.0  # what is less likely than the most likely state by this factor, as a logarithm, is left out
FARTHEST = 2.0**20
GRID = 64


def is_loose(layer: Layer) -> bool:
    """Whether a unit of the layer has states without end."""
    return isinstance(layer.unit.support, Naturals | Real)


class Loose:
    """The units of such a layer, each a distribution given all other layers.

    Gaussian units have Gauss-Hermite nodes; other real ones Gauss-Legendre nodes on each piece of their range, counts
    all values that matter.
    """

    def __init__(self, fields: Fields, layer: Layer) -> None:
        """Compile the conditional."""
        symbols = fields.symbols
        found = derive_conditional(fields, layer.name, symbols.model.neighbours(layer.name))
        base = symbols.filled(layer.unit.base, layer, found.indices)
        statistic = symbols.filled(layer.unit.statistic, layer, found.indices)
        self.layer = layer
        self.indices = found.indices
        self.mean = compiled(found.mean, Floats())
        self.deviation = None if found.deviation is None else compiled(found.deviation, Floats())
        self.log_weight = compiled(Binary("-", Binary("*", found.field, statistic), base), Floats())

    def nodes(self, at: Point, place: tuple[int, ...], count: int) -> list[tuple[float, float]]:
        """Values of one unit with their weights, which sum to 1; `count` of them for a Gaussian unit.

        Raises `OverflowError` where the distribution is too wide.
        """
        indices = dict(zip(self.indices, place, strict=True))
        if self.deviation is not None:
            mean, deviation = self.mean(at, indices), self.deviation(at, indices)
            return [(mean + deviation * x, w) for x, w in _hermite(count)]

        def height(x: float) -> float:
            return float(self.log_weight(at.at({(self.layer.name, place): x}), indices))

        match self.layer.unit.support:
            case Real(lower):
                bounds = {0.0} if lower is None else {float(lower)}
                bounds |= {
                    float(x) for piece in self.layer.unit.pieces for x in (piece.lower, piece.upper) if x is not None
                }
                rule = list(_pieces(height, sorted(bounds), lower is None))
            case _:
                rule = [(float(k), 1.0) for k in range(int(_reach(height, 0.0, 1.0)) + 1)]
        top = max(height(x) for x, _ in rule)
        weights = [w * exp(height(x) - top) for x, w in rule]
        total = sum(weights)
        return [(x, weight / total) for (x, _), weight in zip(rule, weights, strict=True)]


def _pieces(height: Callable[[float], float], bounds: list[float], both: bool) -> Iterator[tuple[float, float]]:
    """Gauss-Legendre nodes between neighbouring bounds, and beyond them as far as it matters."""
    ends = [*([_reach(height, bounds[0], -1.0)] if both else []), *bounds, _reach(height, bounds[-1], 1.0)]
    for left, right in pairwise(ends):
        half = (right - left) / 2
        yield from ((left + half * (1 + x), half * w) for x, w in _legendre())


def _reach(height: Callable[[float], float], start: float, sign: float) -> float:
    """How far from the start in a direction states matter."""
    step, best = 1.0, height(start)
    while True:
        here = height(start + sign * step)
        best = max(best, here)
        if here < best - TAIL:
            break
        step *= 2
        if step > FARTHEST:
            raise OverflowError
    steps = [step * k / GRID for k in range(GRID + 1)]
    heights = [height(start + sign * x) for x in steps]
    last = max(k for k, value in enumerate(heights) if value >= max(heights) - TAIL)
    return start + sign * ceil(steps[min(last + 1, GRID)])


@cache
def _hermite(count: int) -> list[tuple[float, float]]:
    """The nodes of Gauss-Hermite quadrature for a standard normal, with weights that sum to 1."""
    from numpy.polynomial.hermite_e import hermegauss

    nodes, weights = hermegauss(count)
    return [(float(x), float(w / weights.sum())) for x, w in zip(nodes, weights, strict=True)]


@cache
def _legendre() -> list[tuple[float, float]]:
    """The nodes of Gauss-Legendre quadrature between -1 and 1."""
    from numpy.polynomial.legendre import leggauss

    nodes, weights = leggauss(PER_PIECE)
    return [(float(x), float(w)) for x, w in zip(nodes, weights, strict=True)]
