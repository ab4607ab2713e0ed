"""The states of layers at small sizes: every one in turn, or one at random."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from math import prod

from pgmdsl.compiler.model import Layer, Model
from pgmdsl.compiler.numeric import Entry, NoStatesError, Point, States
from pgmdsl.compiler.symbols import diagonal
from pgmdsl.compiler.units import Counts, Finite, Naturals, OneHot, Real, Whole

MOST_COUNT = 3  # of a random state without bound


def point_of(model: Model, sizes: Mapping[str, int], shapes: Mapping[str, tuple[int, ...]], entry: Entry) -> Point:
    """A point of a model."""
    return Point(sizes, shapes, entry, partial(twin_of, model), partial(_states, model))


def twin_of(model: Model, name: str, at: tuple[int, ...]) -> tuple[int, ...] | None:
    """The place of an entry's twin in a lateral weight, None on its diagonal; its own place for other names."""
    told = diagonal(model, name)
    if told is None:
        return at
    first, second = at[: len(at) // 2], at[len(at) // 2 :]
    return None if first[:told] == second[:told] else second + first


def _states(model: Model, point: Point, name: str) -> Iterator[States]:
    layer = model.layers[name]
    length = 0
    if isinstance(layer.unit.support, Counts):
        length = int(sum(point.entry(name, (k,)) for k in range(point.shapes[name][-1])))
    yield from states_of_layer(layer, point.shapes[name], point.sizes, length)


def states_of_layer(layer: Layer, shape: Sequence[int], sizes: Mapping[str, int], length: int) -> Iterator[States]:
    """Every joint state of a layer; of a document, which has `length` words, once for every order of them.

    Raises `NoStatesError` for a layer that has states without end.
    """
    units = list(product(*map(range, shape)))
    match layer.unit.support:
        case Finite(values):
            yield from _each(layer.name, units, [float(value) for value in values])
        case Whole():
            yield from _each(layer.name, units, [float(k) for k in range(trials_of(layer, sizes) + 1)])
        case OneHot():
            sites = list(product(*map(range, shape[:-1])))
            for chosen in product(range(shape[-1]), repeat=len(sites)):
                states = dict(zip(sites, chosen, strict=True))
                yield {(layer.name, at): float(states[at[:-1]] == at[-1]) for at in units}
        case Counts():
            for words in product(range(shape[-1]), repeat=length):
                yield {(layer.name, (k,)): float(words.count(k)) for k in range(shape[-1])}
        case Naturals() | Real():
            raise NoStatesError


def _each(name: str, units: list[tuple[int, ...]], values: list[float]) -> Iterator[States]:
    for state in product(values, repeat=len(units)):
        yield {(name, at): x for at, x in zip(units, state, strict=True)}


def number_of_states(layer: Layer, shape: Sequence[int], sizes: Mapping[str, int], length: int, nodes: int) -> int:
    """How many joint states a layer has, with this many nodes for each unit that has states without end."""
    each, factors = nodes, prod(shape)
    match layer.unit.support:
        case Finite(values):
            each = len(values)
        case Whole():
            each = trials_of(layer, sizes) + 1
        case OneHot():
            each, factors = shape[-1], prod(shape[:-1])
        case Counts():
            each, factors = shape[-1], length
        case _:
            pass
    return int(each**factors)


def trials_of(layer: Layer, sizes: Mapping[str, int]) -> int:
    """The number of trials of a binomial layer's units."""
    assert layer.trials is not None, "binomial layers have trials"
    return int(layer.trials.evaluate(sizes))


def random_state(
    layer: Layer,
    at: tuple[int, ...],
    shape: Sequence[int],
    sizes: Mapping[str, int],
    uniform: Callable[[tuple[int, ...]], float],
) -> float:
    """One entry of a random state of a layer; `uniform` gives a number in [0, 1) for each place."""
    here = uniform(at)
    match layer.unit.support:
        case Finite(values):
            return float(values[int(here * len(values))])
        case Whole():
            return float(int(here * (trials_of(layer, sizes) + 1)))
        case OneHot():
            return float(int(uniform(at[:-1]) * shape[-1]) == at[-1])
        case Counts() | Naturals():
            return float(int(here * (MOST_COUNT + 1)))
        case Real(lower):
            return 4 * here - 2 if lower is None else float(lower) + 0.1 + 2 * here


def random_mean(
    layer: Layer, at: tuple[int, ...], sizes: Mapping[str, int], uniform: Callable[[tuple[int, ...]], float]
) -> float:
    """One random mean of a layer's units (of a one-hot layer: before its site is made to sum to 1)."""
    here = uniform(at)
    match layer.unit.support:
        case Finite(values):
            return float(values[0]) + here * float(values[-1] - values[0])
        case OneHot():
            return here
        case Whole():
            return here * trials_of(layer, sizes)
        case Counts() | Naturals():
            return here * MOST_COUNT
        case Real(lower):
            return 4 * here - 2 if lower is None else float(lower) + 0.1 + 2 * here
