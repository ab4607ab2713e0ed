"""`data(...)` and `model(...)` at a point: averages over every state of a small model, by quadrature for real units."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import product
from math import ceil, exp, log10

from pgmdsl.compiler.arithmetic import Floats, Value
from pgmdsl.compiler.derive import derive_free_energy
from pgmdsl.compiler.energy import Fields
from pgmdsl.compiler.model import Layer, Model
from pgmdsl.compiler.nodes import MOST_NODES, Loose, is_loose
from pgmdsl.compiler.numeric import Average, Function, Indices, Point, States, compiled, difference_depth
from pgmdsl.compiler.refute import MOST_COST, Entries, Trial, array_shapes, fits, small_sizes
from pgmdsl.compiler.states import number_of_states, point_of, states_of_layer
from pgmdsl.compiler.units import Counts
from pgmdsl.grammar.syntax import Binary, Call, Expression, Index, Negate, Number
from pgmdsl.grammar.walk import children

POINTS = 4
MOST_STATES = 2_000
CASES = 6  # of the data
MOST_WORDS = 2  # of a document

Case = tuple[float, Point]  # a weight, and a point with all states


def are_coupled(model: Model) -> bool:
    """Whether two units that have states without end depend on each other, so that averages are not taken."""
    loose = {name for name, layer in model.layers.items() if is_loose(layer) and layer.role != "given"}
    if any(edge.tail in loose for edge in model.directed):
        return True
    return any(sum(name in loose for name in edge.layers) > 1 for edge in (*model.edges, *model.directed))


def average_trials(fields: Fields, sides: Sequence[Expression], log_q: Expression | None = None) -> Iterator[Trial]:
    """Random points at which averages can be taken, the model being small enough; none if it cannot be made so.

    `log_q` is given where `data(...)` averages hidden layers by that distribution, not by their conditional.

    `sides` are the formulas to be evaluated: how they hold states of Gaussian units decides on the quadrature.
    """
    model = fields.symbols.model
    loose = [Loose(fields, layer) for layer in model.layers.values() if is_loose(layer) and layer.role != "given"]
    gaussian = frozenset(unit.layer.name for unit in loose if unit.deviation is not None)
    arithmetic = Floats(max(map(difference_depth, sides)), 1e-6)
    degrees = [degree(side, gaussian) for side in sides]
    rules = [_exact_nodes(degrees)] * POINTS if None not in degrees else [(20, 30)] * POINTS + [(60, 90)]
    for number, rule in enumerate(rules):
        most = max(rule) if len(gaussian) == len(loose) else MOST_NODES
        sizes = _sizes(model, number, most)
        if sizes is None:
            continue
        shapes = array_shapes(model, sizes)
        base = point_of(model, sizes, shapes, Entries(model, sizes, shapes, number, (), float, spread=0.6))
        points = [replace(base, average=Averages(fields, loose, base, number, n, arithmetic, log_q)) for n in rule]
        yield Trial(points[0], arithmetic, MOST_COST // MOST_STATES * 10, points[1] if len(points) == 2 else None)


def degree(node: Expression, real: frozenset[str]) -> int | None:
    """A bound on the degree of a formula in the states of these units; None where it is no polynomial in them."""
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
    """The number of joint states, with this many nodes for each unit that has states without end."""
    total = CASES if _is_by_case(model) else 1
    shapes = array_shapes(model, sizes)
    for layer in model.layers.values():
        if layer.role != "given":
            total *= number_of_states(layer, shapes[layer.name], sizes, MOST_WORDS, nodes)
    return total


def _is_by_case(model: Model) -> bool:
    """Whether the model's averages are per case: it has given layers, or documents, whose lengths are not modelled."""
    return any(layer.role == "given" or isinstance(layer.unit.support, Counts) for layer in model.layers.values())


class Averages:
    """Averages over the states of a small model at a point.

    `data` averages over a few random visible states, hidden ones by exp(-energy). `model` averages over all states by
    exp(-energy), given each case's given layers and lengths of documents where there are any.
    """

    def __init__(
        self,
        fields: Fields,
        loose: Sequence[Loose],
        point: Point,
        number: int,
        nodes: int,
        arithmetic: Floats,
        log_q: Expression | None = None,
    ) -> None:
        """`point` has the parameters; `number` chooses the data; `nodes` are those of a Gaussian unit's quadrature.

        `log_q` is the logarithm of the distribution of hidden states in the data, where it is not their conditional.
        """
        self.log_q = log_q
        self.fields = fields
        self.model = fields.symbols.model
        self.loose = loose
        self.point = point
        self.number = number
        self.arithmetic = arithmetic
        self.nodes = nodes

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
        if not _is_by_case(self.model):
            return self._cases({}, {})
        given = [layer for layer in self.model.layers.values() if layer.role == "given"]
        cases: list[Case] = []
        for k in range(CASES):
            lengths = {n: self._length(k) for n, x in self.model.layers.items() if isinstance(x.unit.support, Counts)}
            cases += [(_share(k) * weight, case) for weight, case in self._cases(self._drawn(given, k), lengths)]
        return cases

    @cached_property
    def data_cases(self) -> list[Case]:
        """A few visible states, each with all hidden states; weights sum to 1."""
        seen = [layer for layer in self.model.layers.values() if layer.role != "hidden"]
        cases: list[Case] = []
        for k in range(CASES):
            found = self._cases(self._drawn(seen, k), {}, self.log_q)
            cases += [(_share(k) * weight, case) for weight, case in found]
        return cases

    def _length(self, k: int) -> int:
        """The length of the documents of case k of the data."""
        return 1 + k % MOST_WORDS

    def _drawn(self, layers: Sequence[Layer], k: int) -> States:
        """The states of these layers in case k of the data."""
        shapes = self.point.shapes
        draw = Entries(self.model, self.point.sizes, shapes, 1000 * (self.number + 1) + k, (), float)
        states: dict[tuple[str, tuple[int, ...]], float] = {}
        for layer in layers:
            if isinstance(layer.unit.support, Counts):
                rng = random.Random(f"{self.number} {k} {layer.name}")
                words = [rng.randrange(shapes[layer.name][-1]) for _ in range(self._length(k))]
                states |= {(layer.name, at): float(words.count(at[-1])) for at in self._units(layer)}
            else:
                states |= {(layer.name, at): draw(layer.name, at) for at in self._units(layer)}
        return states

    def _cases(self, fixed: States, lengths: Mapping[str, int], log_q: Expression | None = None) -> list[Case]:
        """All states of the layers that are not fixed, with their probabilities given those that are, or by q."""
        known = {name for name, _ in fixed}
        free = [layer for layer in self.model.layers.values() if layer.name not in known]
        loose = [unit for unit in self.loose if unit.layer.name not in known]
        ends = [layer for layer in free if not is_loose(layer)]
        listed = [name for name in self.model.layers if name in known or self.model.layers[name] in ends]
        minus_log = derive_free_energy(self.fields, listed) if log_q is None else Negate(log_q)
        energy = compiled(minus_log, Floats())
        sizes, shapes = self.point.sizes, self.point.shapes
        discrete = [list(states_of_layer(x, shapes[x.name], sizes, lengths.get(x.name, 0))) for x in ends]
        found: list[tuple[float, Point]] = []
        for parts in product(*discrete):
            states = dict(fixed)
            for part in parts:
                states.update(part)
            at = self.point.at(states)
            found.append((energy(at, {}), at))
        lowest = min(energy for energy, _ in found)
        weights = [exp(lowest - energy) for energy, _ in found]
        total = sum(weights)
        return [
            (weight / total * share, case)
            for weight, (_, at) in zip(weights, found, strict=True)
            for share, case in self._with_loose(loose, at)
        ]

    def _with_loose(self, loose: Sequence[Loose], at: Point) -> list[Case]:
        """The nodes of all units that have states without end, which are independent given the others."""
        units = [
            ((x.layer.name, place), x.nodes(at, place, self.nodes)) for x in loose for place in self._units(x.layer)
        ]
        cases = [(1.0, at)] if not units else []
        for nodes in product(*(own for _, own in units)) if units else ():
            share = 1.0
            for _, weight in nodes:
                share *= weight
            cases.append((share, at.at({unit: x for (unit, _), (x, _) in zip(units, nodes, strict=True)})))
        return cases

    def _units(self, layer: Layer) -> list[tuple[int, ...]]:
        return list(product(*(range(n) for n in self.point.shapes[layer.name])))


def _share(k: int) -> float:
    """The weight of case k of the data."""
    return 2 * (k + 1) / (CASES * (CASES + 1))


def sampled_average(model: Model, point: Point, number: int, exact: Callable[[float], Value]) -> Average:
    """Instead of averages, two random states with weights 1/3 and 2/3.

    A proof holds for these as well: it uses of averages that they are linear and keep constants, and nothing else.
    """
    first, shapes = 10_000 * (number + 1), point.shapes

    def average(kind: str, body: Function, point: Point, indices: Indices) -> Value:
        start = first if kind == "data" else first + 2
        draws = [Entries(model, point.sizes, shapes, start + k, (), exact) for k in (0, 1)]

        def entry(draw: Entries, name: str, place: tuple[int, ...]) -> Value:
            return draw(name, place) if name in model.layers else point.entry(name, place)

        one, two = (body(replace(point, entry=partial(entry, draw)), indices) for draw in draws)
        return (one + 2 * two) / 3

    return average
