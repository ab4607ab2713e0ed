"""Two formulas compared at random points: small sizes, all different, with random parameters and states."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pgmdsl.compiler.model import Layer, Model, Size
from pgmdsl.compiler.numeric import Arithmetic, Digits, Floats, NoValueError, Point, Value, evaluate
from pgmdsl.compiler.units import Finite, OneHot
from pgmdsl.grammar.syntax import Expression

POINTS = 6
MOST_ENTRIES = 200_000
"""Arrays with more entries than this are not evaluated; those with more than FEW_ENTRIES in floats, at two points."""
FEW_ENTRIES = 5_000


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A point where two formulas differ: sizes, indices (from 0), and both values (None: there is no value)."""

    sizes: Mapping[str, int]
    indices: Mapping[str, int]
    left: float | None
    right: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """At how many points two formulas were compared, and the first where they differ."""

    points: int
    counterexample: Counterexample | None


@dataclass(frozen=True)
class Trial:
    """A random point in some arithmetic; values further apart than `tolerance` (relative) differ."""

    point: Point
    arithmetic: Arithmetic
    tolerance: float


def compare(trials: Iterator[Trial], indices: Mapping[str, Size], left: Expression, right: Expression) -> Comparison:
    """Both formulas at each trial, until they differ; `indices` are the free indices with their ranges."""
    points = 0
    for number, trial in enumerate(trials):
        ranges = {name: int(size.evaluate(trial.point.sizes)) for name, size in indices.items()}
        chosen = {name: random.Random(f"{number} {name}").randrange(n) for name, n in ranges.items()}
        first, second = (_value(side, trial, chosen) for side in (left, right))
        if first is None and second is None:
            continue
        points += 1
        if _differ(first, second, trial.tolerance):
            shown = [None if value is None else float(value) for value in (first, second)]
            return Comparison(points, Counterexample(trial.point.sizes, chosen, *shown))
    return Comparison(points, None)


def _value(side: Expression, trial: Trial, indices: Mapping[str, int]) -> Value | None:
    try:
        return evaluate(side, trial.arithmetic, trial.point, indices)
    except NoValueError:
        return None


def _differ(first: Value | None, second: Value | None, tolerance: float) -> bool:
    if first is None or second is None:
        return True
    return bool(abs(first - second) > tolerance * (1 + abs(first) + abs(second)))


def state_trials(model: Model, means: Sequence[str]) -> Iterator[Trial]:
    """Random points with one random state of every layer; the layers in `means` have random means instead."""
    for number in range(POINTS):
        sizes = small_sizes(model, number)
        if sizes is None:
            return
        shapes = array_shapes(model, sizes)
        largest = max(_volume(shape) for shape in shapes.values())
        if largest > MOST_ENTRIES or (largest > FEW_ENTRIES and number == 2):
            return
        few = largest <= FEW_ENTRIES
        arithmetic: Arithmetic = Digits() if few else Floats()
        entries = Entries(model, shapes, number, means, arithmetic.exact)
        yield Trial(Point(sizes, shapes, entries), arithmetic, 1e-25 if few else 1e-9)


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
    return all(length >= 1 and length.denominator == 1 for length in lengths)


def array_shapes(model: Model, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter and layer."""
    axes = {p.name: p.shape for p in model.parameters.values()}
    axes |= {layer.name: layer.dims for layer in model.layers.values()}
    return {name: tuple(int(size.evaluate(sizes)) for size in dims) for name, dims in axes.items()}


def _volume(shape: tuple[int, ...]) -> int:
    volume = 1
    for length in shape:
        volume *= length
    return volume


class Entries:
    """Random entries of parameters and layers, each made when first asked for; the same for the same number."""

    def __init__(
        self,
        model: Model,
        shapes: Mapping[str, tuple[int, ...]],
        number: int,
        means: Sequence[str],
        exact: Callable[[float], Value],
        spread: float = 1.5,
    ) -> None:
        """`exact` turns a float into a number of the arithmetic; parameters lie between -spread and spread."""
        self.model = model
        self.shapes = shapes
        self.number = number
        self.means = frozenset(means)
        self.exact = exact
        self.spread = spread
        self.known: dict[tuple[str, tuple[int, ...]], Value] = {}

    def __call__(self, name: str, indices: tuple[int, ...]) -> Value:
        """One entry."""
        key = (name, indices)
        if key not in self.known:
            self.known[key] = self.exact(self._draw(name, indices))
        return self.known[key]

    def _draw(self, name: str, indices: tuple[int, ...]) -> float:
        layer = self.model.layers.get(name)
        if layer is not None:
            return self._mean(layer, indices) if name in self.means else self._state(layer, indices)
        uniform = self._uniform(name, indices)
        if self.model.parameters[name].kind == "sigma":
            return 0.5 + 1.5 * uniform
        return self.spread * (2 * uniform - 1)

    def _uniform(self, name: str, indices: tuple[int, ...]) -> float:
        return random.Random(f"{self.number} {name} {indices}").random()

    def _state(self, layer: Layer, indices: tuple[int, ...]) -> float:
        uniform = self._uniform(layer.name, indices)
        match layer.unit.support:
            case Finite(values):
                return float(values[int(uniform * len(values))])
            case OneHot():
                states = self.shapes[layer.name][-1]
                return float(int(self._uniform(layer.name, indices[:-1]) * states) == indices[-1])
            case _:
                return 4 * uniform - 2

    def _mean(self, layer: Layer, indices: tuple[int, ...]) -> float:
        uniform = self._uniform(layer.name, indices)
        match layer.unit.support:
            case Finite(values):
                return float(values[0]) + uniform * float(values[-1] - values[0])
            case OneHot():
                states = range(self.shapes[layer.name][-1])
                return uniform / sum(self._uniform(layer.name, (*indices[:-1], k)) for k in states)
            case _:
                return 4 * uniform - 2
