"""`data(...)` and `model(...)` at a point: averages over every state of a small model, by quadrature for real units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import product
from math import ceil, exp, log10, prod

from pgmdsl.compiler.arithmetic import Floats, Value
from pgmdsl.compiler.derive import derive_conditional, derive_energy
from pgmdsl.compiler.energy import Fields
from pgmdsl.compiler.model import Layer, Model
from pgmdsl.compiler.numeric import Average, Function, Indices, Point, compiled, difference_depth
from pgmdsl.compiler.refute import MOST_COST, Entries, Trial, array_shapes, fits, small_sizes
from pgmdsl.compiler.units import Finite, OneHot, Real
from pgmdsl.grammar.syntax import Binary, Call, Expression, Index, Negate, Number
from pgmdsl.grammar.walk import children

POINTS = 4
MOST_STATES = 2_000
CASES = 6  # of the data

States = Mapping[tuple[str, tuple[int, ...]], float]
Case = tuple[float, Point]  # a weight, and a point with all states


def average_trials(fields: Fields, sides: Sequence[Expression]) -> Iterator[Trial]:
    """Random points at which averages can be taken, the model being small enough; none if it cannot be made so.

    `sides` are the formulas to be evaluated: how they hold real states decides on the quadrature.
    """
    model = fields.symbols.model
    real = frozenset(layer.name for layer in model.layers.values() if isinstance(layer.unit.support, Real))
    arithmetic = Floats(max(map(difference_depth, sides)), 1e-6)
    degrees = [degree(side, real) for side in sides]
    rules = [_exact_nodes(degrees)] * POINTS if None not in degrees else [(20, 30)] * POINTS + [(60, 90)]
    for number, rule in enumerate(rules):
        sizes = _sizes(model, number, max(rule))
        if sizes is None:
            continue
        shapes = array_shapes(model, sizes)
        entries = Entries(model, shapes, number, (), float, spread=0.6)
        base = Point(sizes, shapes, entries)
        points = [replace(base, average=Averages(fields, base, number, nodes, arithmetic)) for nodes in rule]
        yield Trial(points[0], arithmetic, MOST_COST // MOST_STATES * 10, points[1] if len(points) == 2 else None)


def degree(node: Expression, real: frozenset[str]) -> int | None:
    """A bound on the degree of a formula in the states of real units; None where it is no polynomial in them."""
    inner = [degree(child, real) for child in children(node)]
    degrees = [d for d in inner if d is not None]
    if len(degrees) < len(inner):
        return None
    match node:
        case Index(name):
            return int(name in real)
        case Binary("*"):
            return sum(degrees)
        case Binary("^", _, Number(text)) if text.isdigit() and int(text) <= 9:
            return degrees[0] * int(text)
        case Binary("+" | "-") | Negate() | Call("sum" | "d" | "data" | "model"):
            return max(degrees)
        case Binary("/") if degrees[1] == 0:
            return degrees[0]
        case _:
            return 0 if not any(degrees) else None


def _exact_nodes(degrees: Sequence[int | None]) -> tuple[int]:
    """How many nodes integrate these degrees exactly."""
    return (1 + max(d for d in degrees if d is not None) // 2,)


def _sizes(model: Model, number: int, nodes: int) -> dict[str, int] | None:
    """Sizes at which the model has few enough states: all different, or in turns all equal, if possible."""
    small: list[dict[str, int] | None] = [small_sizes(model, number, 1, 0), dict.fromkeys(model.sizes, 2)]
    if number % 2:
        small.reverse()
    for sizes in (small_sizes(model, number, 2, 0), *small, dict.fromkeys(model.sizes, 1)):
        if sizes is not None and fits(model, sizes) and states_of(model, sizes, nodes) <= MOST_STATES:
            return sizes
    return None


def states_of(model: Model, sizes: Mapping[str, int], nodes: int) -> int:
    """The number of joint states, with this many nodes for each real unit."""
    total = 1
    for layer in model.layers.values():
        shape = array_shapes(model, sizes)[layer.name]
        match layer.unit.support:
            case Finite(values):
                total *= len(values) ** prod(shape)
            case OneHot():
                total *= shape[-1] ** prod(shape[:-1])
            case Real():
                total *= nodes ** prod(shape)
    return total


class Averages:
    """Averages over the states of a small model at a point.

    `model` averages over all states by exp(-energy); `data` over a few random visible states, hidden ones by
    exp(-energy). Given the discrete layers, real units are independent and normal (no edge joins two of them).
    """

    def __init__(self, fields: Fields, point: Point, number: int, nodes: int, arithmetic: Floats) -> None:
        """`point` has the parameters; `number` chooses the data; `nodes` are those of each real unit's quadrature."""
        self.fields = fields
        self.model = fields.symbols.model
        self.point = point
        self.number = number
        self.arithmetic = arithmetic
        self.nodes = _quadrature(nodes)
        self.energy = compiled(derive_energy(fields.symbols), Floats())

    def __call__(self, kind: str, body: Function, point: Point, indices: Indices) -> float:
        """The average of the body. (The point is the one given at the start: no parameter is moved around averages.)"""
        cases = self.data_cases if kind == "data" else self.model_cases
        arithmetic = self.arithmetic
        extents = [arithmetic.extent]
        total = 0.0
        for weight, case in cases:
            arithmetic.extent = 0
            total += weight * body(case, indices)
            if weight:
                extents.append(arithmetic.extent + ceil(log10(weight)))  # what has little weight has little error
        arithmetic.extent = max(extents)
        return total

    @cached_property
    def model_cases(self) -> list[Case]:
        """All states, with their probabilities."""
        return self._cases({})

    @cached_property
    def data_cases(self) -> list[Case]:
        """A few visible states, each with all hidden states; weights sum to 1."""
        visible = [layer for layer in self.model.layers.values() if layer.role == "visible"]
        cases: list[Case] = []
        for k in range(CASES):
            draw = Entries(self.model, self.point.shapes, 1000 * (self.number + 1) + k, (), float)
            fixed = {(layer.name, at): draw(layer.name, at) for layer in visible for at in self._units(layer)}
            share = 2 * (k + 1) / (CASES * (CASES + 1))
            cases += [(share * weight, case) for weight, case in self._cases(fixed)]
        return cases

    def _cases(self, fixed: States) -> list[Case]:
        """All states of the layers that are not fixed, with their probabilities given those that are."""
        free = [layer for layer in self.model.layers.values() if (layer.name, self._units(layer)[0]) not in fixed]
        real = [layer for layer in free if isinstance(layer.unit.support, Real)]
        discrete = [list(self._states(layer)) for layer in free if layer not in real]
        found: list[tuple[float, Point]] = []
        for parts in product(*discrete):
            states = dict(fixed)
            for part in parts:
                states.update(part)
            found += self._with_real(real, states)
        lowest = min(energy for energy, _ in found)
        weights = [exp(lowest - energy) for energy, _ in found]
        total = sum(weights)
        return [(weight / total, case) for weight, (_, case) in zip(weights, found, strict=True)]

    def _with_real(self, real: list[Layer], states: States) -> list[tuple[float, Point]]:
        """Minus the log weight of each node of the quadrature of the real units, given all other states."""
        known = self._at(states)
        normals = [n for layer in real for n in self._normals(layer, known)]
        centre = self._at({**states, **{unit: mean for unit, mean, _ in normals}})
        energy = self.energy(centre, {})
        found = []
        for nodes in product(self.nodes, repeat=len(normals)):
            values = {unit: mean + sd * x for (unit, mean, sd), (x, _) in zip(normals, nodes, strict=True)}
            found.append((energy + sum(cost for _, cost in nodes), self._at({**states, **values})))
        return found

    def _normals(self, layer: Layer, known: Point) -> list[tuple[tuple[str, tuple[int, ...]], float, float]]:
        """Every unit of a real layer with its mean and standard deviation given the discrete layers."""
        found = derive_conditional(self.fields, layer.name, self.model.neighbours(layer.name))
        assert found.deviation is not None, "real units have a standard deviation"
        mean, deviation = compiled(found.mean, Floats()), compiled(found.deviation, Floats())
        out = []
        for at in self._units(layer):
            indices = dict(zip(found.indices, at, strict=True))
            out.append(((layer.name, at), mean(known, indices), deviation(known, indices)))
        return out

    def _at(self, states: States) -> Point:
        base = self.point.entry

        def entry(name: str, at: tuple[int, ...]) -> float:
            value = states.get((name, at))
            return float(base(name, at)) if value is None else value

        return replace(self.point, entry=entry)

    def _units(self, layer: Layer) -> list[tuple[int, ...]]:
        return list(product(*(range(n) for n in self.point.shapes[layer.name])))

    def _states(self, layer: Layer) -> Iterator[States]:
        """Every joint state of a discrete layer."""
        shape = self.point.shapes[layer.name]
        match layer.unit.support:
            case Finite(values):
                units = self._units(layer)
                for state in product(map(float, values), repeat=len(units)):
                    yield {(layer.name, at): x for at, x in zip(units, state, strict=True)}
            case OneHot():
                sites = list(product(*(range(n) for n in shape[:-1])))
                for chosen in product(range(shape[-1]), repeat=len(sites)):
                    yield {
                        (layer.name, (*site, k)): float(k == own)
                        for site, own in zip(sites, chosen, strict=True)
                        for k in range(shape[-1])
                    }
            case Real():
                raise AssertionError("real layers are integrated")


def _quadrature(count: int) -> list[tuple[float, float]]:
    """The nodes of Gauss-Hermite quadrature for a standard normal, each with minus the log of its weight."""
    from numpy import log
    from numpy.polynomial.hermite_e import hermegauss

    nodes, weights = hermegauss(count)
    return [(float(x), -float(log(w))) for x, w in zip(nodes, weights, strict=True)]


def sampled_average(model: Model, point: Point, number: int, exact: Callable[[float], Value]) -> Average:
    """Instead of averages, two random states with weights 1/3 and 2/3.

    A proof holds for these as well: it uses of averages that they are linear and keep constants, and nothing else.
    """
    first, shapes = 10_000 * (number + 1), point.shapes

    def average(kind: str, body: Function, point: Point, indices: Indices) -> Value:
        start = first if kind == "data" else first + 2
        draws = [Entries(model, shapes, start + k, (), exact) for k in (0, 1)]

        def entry(draw: Entries, name: str, place: tuple[int, ...]) -> Value:
            return draw(name, place) if name in model.layers else point.entry(name, place)

        one, two = (body(replace(point, entry=partial(entry, draw)), indices) for draw in draws)
        return (one + 2 * two) / 3

    return average
