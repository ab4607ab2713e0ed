"""Two formulas compared at random points: small sizes, all different, with random parameters and states."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import prod
from typing import Literal

from pgmdsl.compiler.arithmetic import Arithmetic, Digits, Floats, UnsettledError, Value
from pgmdsl.compiler.model import Model, Size
from pgmdsl.compiler.numeric import NoStatesError, NoValueError, Point, cost, difference_depth, evaluate
from pgmdsl.compiler.states import point_of, random_mean, random_state, twin_of
from pgmdsl.compiler.symbols import fixed_numbers
from pgmdsl.compiler.units import OneHot
from pgmdsl.grammar.syntax import Expression

POINTS = 6
STABLE = 0.01  # how much of a difference may change with the nodes
CHOICES = 3  # of the free indices at each point
EVERY = 64  # choices of the free indices at each point for formulas that are quickly evaluated
MOST_COST = 200_000
"""Formulas that take more operations are evaluated at smaller sizes, or in floats, or not at all."""


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A point where two formulas differ: sizes, indices (from 0), and both values (None: none that a float holds)."""

    sizes: Mapping[str, int]
    indices: Mapping[str, int]
    left: float | None
    right: float | None


Hindrance = Literal["model", "formula", "rounding", "value", "states", "coupled"]
"""Why nothing was compared.

The model or a value is too large, rounding errors are as large as the difference, there is no value; or sums are over
states without end, or averages over units with such states that depend on each other.
"""


@dataclass(frozen=True, slots=True)
class Comparison:
    """At how many points two formulas were compared, the first where they differ, and what hindered at other points.

    `told` has the values there in words.
    """

    points: int
    counterexample: Counterexample | None
    hindrance: Hindrance = "model"
    told: str = ""


@dataclass(frozen=True)
class Trial:
    """A random point in some arithmetic.

    Formulas that take more than `most_cost` operations are not evaluated there. Where averages are taken by quadrature,
    `finer` is the point with more nodes: formulas differ where they do so by as much at both.
    """

    point: Point
    arithmetic: Arithmetic
    most_cost: int
    finer: Point | None = None


def compare(
    trials: Iterator[Trial],
    indices: Mapping[str, Size],
    left: Expression,
    right: Expression,
    most_points: int = POINTS,
    apart: Sequence[tuple[tuple[str, ...], tuple[str, ...]]] = (),
) -> Comparison:
    """Both formulas at random points until they differ.

    `indices` are the free indices with their ranges; those in a pair of `apart` are not all equal.
    """
    points = 0
    hindrance: Hindrance = "model"
    for number, trial in enumerate(trials):
        work = max(cost(side, trial.point.shapes) for side in (left, right))
        if work > trial.most_cost:
            continue
        compared = False
        choices = min(CHOICES, most_points)
        if most_points > 1 and work * EVERY <= trial.most_cost:
            choices = EVERY
        for chosen in _index_values(trial.point.sizes, indices, number, choices, apart):
            try:
                first, second, differ = _compared(left, right, trial, chosen)
            except UnsettledError:
                hindrance = "rounding"
                continue
            except OverflowError:
                hindrance = "formula" if hindrance == "model" else hindrance
                continue
            except NoStatesError:
                return Comparison(0, None, "states")
            if differ:
                at = Counterexample(trial.point.sizes, chosen, _as_float(first), _as_float(second))
                return Comparison(points + 1, at, told=_told(first, second))
            if first is None:
                hindrance = "value"
            compared = compared or first is not None
        points += compared
        if points == most_points:
            break
    return Comparison(points, None, hindrance)


def _compared(
    left: Expression, right: Expression, trial: Trial, indices: Mapping[str, int]
) -> tuple[Value | None, Value | None, bool]:
    """Both values, and whether they differ. Raises `UnsettledError` where the quadrature does not tell."""
    first, second = _settled(left, right, trial.arithmetic, trial.point, indices)
    differ = _differ(first, second, trial.arithmetic.tolerance)
    if trial.finer is None:
        return first, second, differ
    third, fourth = _settled(left, right, trial.arithmetic, trial.finer, indices)
    if differ != _differ(third, fourth, trial.arithmetic.tolerance):
        raise UnsettledError
    if differ and first is not None and second is not None and third is not None and fourth is not None:
        gap = third - fourth
        if abs(first - second - gap) > STABLE * abs(gap):
            raise UnsettledError
    return third, fourth, differ


def _settled(
    left: Expression, right: Expression, arithmetic: Arithmetic, point: Point, indices: Mapping[str, int]
) -> tuple[Value | None, Value | None]:
    """Both values, with as many digits as their extent asks for. Raises `UnsettledError`, `OverflowError`."""
    arithmetic.start()
    while True:
        first, second = (_value(side, arithmetic, point, indices) for side in (left, right))
        if arithmetic.extent <= arithmetic.room:
            return first, second
        arithmetic.widen()


def _index_values(
    sizes: Mapping[str, int],
    indices: Mapping[str, Size],
    number: int,
    choices: int,
    apart: Sequence[tuple[tuple[str, ...], tuple[str, ...]]],
) -> list[dict[str, int]]:
    """Every choice of values for the free indices in random order, or some, without repetition."""
    ranges = {name: range(int(size.evaluate(sizes))) for name, size in indices.items()}
    rng = random.Random(number)
    if prod(map(len, ranges.values())) <= choices:
        every = [dict(zip(ranges, values, strict=True)) for values in product(*ranges.values())]
        rng.shuffle(every)
    else:
        every = [{name: rng.choice(values) for name, values in ranges.items()} for _ in range(4 * choices)]

    def is_apart(choice: Mapping[str, int]) -> bool:
        return all(any(choice[i] != choice[j] for i, j in zip(*pair, strict=True)) for pair in apart)

    return [choice for k, choice in enumerate(every) if choice not in every[:k] and is_apart(choice)][:choices]


def _value(side: Expression, arithmetic: Arithmetic, point: Point, indices: Mapping[str, int]) -> Value | None:
    try:
        return evaluate(side, arithmetic, point, indices)
    except NoValueError:
        return None


def _differ(first: Value | None, second: Value | None, tolerance: Value) -> bool:
    if first is None or second is None:
        return first is not second
    return bool(abs(first - second) > tolerance * (1 + abs(first) + abs(second)))


def _as_float(value: Value | None) -> float | None:
    number = None if value is None else float(value)
    return number if number is not None and math.isfinite(number) else None


def _told(first: Value | None, second: Value | None) -> str:
    """Both values, with as many digits as show that they differ."""
    for digits in (6, 17, 40):
        left, right = _shown(first, digits), _shown(second, digits)
        if left != right:
            return f"the left side is {left} and the right side {right}"
    return f"both sides are about {_shown(first, 6)}, and differ after {digits} digits"


def _shown(value: Value | None, digits: int) -> str:
    if value is None:
        return "no value"
    if isinstance(value, float | int) or (digits <= 17 and _as_float(value) is not None):
        return f"{float(value):.{digits}g}"
    return str(value.context.nstr(value, digits))


def state_trials(model: Model, means: Sequence[str], sides: Sequence[Expression]) -> Iterator[Trial]:
    """Random points with one random state of every layer; the layers in `means` have random means instead.

    After POINTS of them come cheaper ones, for formulas that are too long for these: equal sizes, and floats.
    `sides` are the formulas to be evaluated.
    """
    depth = max(map(difference_depth, sides))
    every = [*((small_sizes(model, number), False) for number in range(POINTS))]
    every += [(dict.fromkeys(model.sizes, value), coarse) for coarse in (False, True) for value in (2, 1)]
    for number, (sizes, coarse) in enumerate(every):
        if sizes is None or not fits(model, sizes):
            continue
        shapes = array_shapes(model, sizes)
        arithmetic: Arithmetic = Floats(depth) if coarse else Digits(depth)
        point = point_of(model, sizes, shapes, Entries(model, sizes, shapes, number, means, arithmetic.exact))
        yield Trial(point, arithmetic, 10 * MOST_COST if coarse else MOST_COST)


def small_sizes(model: Model, number: int, least: int = 2, spare: int = 2) -> dict[str, int] | None:
    """Small values for the model's sizes, all different, for which every axis has a whole positive length.

    As `number` counts up, each size takes `spare` more values than there are sizes, so that odd and even ones occur.
    """
    names = sorted(model.sizes)
    for more in range(spare, 40):
        values = list(range(least, least + len(names) + more))
        turn = number % max(1, len(values))
        sizes = dict(zip(names, values[turn:] + values[:turn], strict=False))
        if fits(model, sizes):
            return sizes
    return None


def fits(model: Model, sizes: Mapping[str, int]) -> bool:
    """Whether every axis has a whole positive length."""
    lengths = [size.evaluate(sizes) for layer in model.layers.values() for size in layer.dims]
    lengths += [layer.trials.evaluate(sizes) for layer in model.layers.values() if layer.trials is not None]
    return all(length >= 1 and length.denominator == 1 for length in lengths)


def array_shapes(model: Model, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter and layer."""
    axes = {p.name: p.shape for p in model.parameters.values()}
    axes |= {layer.name: layer.dims for layer in model.layers.values()}
    return {name: tuple(int(size.evaluate(sizes)) for size in dims) for name, dims in axes.items()}


class Entries:
    """Random entries of parameters and layers, each made when first asked for; the same for the same number."""

    def __init__(
        self,
        model: Model,
        sizes: Mapping[str, int],
        shapes: Mapping[str, tuple[int, ...]],
        number: int,
        means: Sequence[str],
        exact: Callable[[float], Value],
        spread: float = 1.5,
    ) -> None:
        """`exact` turns a float into a number of the arithmetic; parameters lie between -spread and spread."""
        self.model = model
        self.sizes = sizes
        self.shapes = shapes
        self.number = number
        self.means = frozenset(means)
        self.exact = exact
        self.spread = spread
        self.fixed = fixed_numbers(model)
        self.known: dict[tuple[str, tuple[int, ...]], Value] = {}

    def __call__(self, name: str, indices: tuple[int, ...]) -> Value:
        """One entry; `Z` is a positive number, unlike that of the model: where it stands its value does not matter."""
        if name in self.fixed:
            return self.exact(self.fixed[name].numerator) / self.exact(self.fixed[name].denominator)
        layer = self.model.layers.get(name)
        if name in self.means and layer is not None and isinstance(layer.unit.support, OneHot):
            every = [self.exact(self._uniform(name, (*indices[:-1], k))) for k in range(self.shapes[name][-1])]
            return every[indices[-1]] / sum(every)
        key = (name, indices)
        if key not in self.known:
            self.known[key] = self.exact(self._draw(name, indices))
        return self.known[key]

    def _draw(self, name: str, indices: tuple[int, ...]) -> float:
        layer = self.model.layers.get(name)
        uniform = partial(self._uniform, name)
        if layer is not None and name in self.means:
            return random_mean(layer, indices, self.sizes, uniform)
        if layer is not None:
            return random_state(layer, indices, self.shapes[name], self.sizes, uniform)
        if name == "Z" or self.model.parameters[name].positive:
            return 0.5 + 1.5 * uniform(indices)
        twin = twin_of(self.model, name, indices)
        return self.spread * (2 * uniform(min(indices, twin)) - 1) if twin is not None else 0.0

    def _uniform(self, name: str, indices: tuple[int, ...]) -> float:
        return random.Random(f"{self.number} {name} {indices}").random()
