"""A model at sizes where the states of every layer can be enumerated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pgmdsl.compiler.model import Model, Size
from pgmdsl.compiler.plan import SPARSE_STATES

STATES = 3  # of a one-hot site or words of a document; SPARSE_STATES where there are as many, as products differ there
SITES = 3  # along an axis of a layer with a lateral edge, so that two of them need not be joined
SMALL = (3, 2)  # along other axes, in turn: weights are not square
TRIALS = 3


def shrunk(model: Model) -> Model:
    """The model with small sizes: kernels emitted for it differ from its own in their numbers of units only.

    Axes of one symbolic size stay of one size, whatever it is; none becomes larger than it was.
    """
    chosen: dict[Size, int] = {}
    lateral = {edge.layers[0] for edge in model.all_edges if edge.lateral}
    for dim in (layer.dims[-1] for layer in model.layers.values() if layer.unit.states_axis):
        value = _value(dim, model.sizes)
        few = STATES if value is not None and value < SPARSE_STATES else SPARSE_STATES
        chosen.setdefault(dim, _at_most(few, value))
    for layer in model.layers.values():
        for dim in layer.dims:
            most = SITES if layer.name in lateral else SMALL[len(chosen) % len(SMALL)]
            chosen.setdefault(dim, _at_most(most, _value(dim, model.sizes)))
    sizes = {name: chosen.get(Size.name(name), SMALL[0]) for name in model.sizes}

    def small(dim: Size) -> Size:
        return dim if dim == Size.name(str(dim)) else Size.number(chosen[dim])

    return replace(
        model,
        sizes=sizes,
        layers={
            name: replace(
                layer,
                dims=tuple(map(small, layer.dims)),
                trials=None
                if layer.trials is None
                else Size.number(_at_most(TRIALS, _value(layer.trials, model.sizes))),
            )
            for name, layer in model.layers.items()
        },
        parameters={
            name: replace(parameter, shape=tuple(map(small, parameter.shape)))
            for name, parameter in model.parameters.items()
        },
    )


def _value(size: Size, sizes: Mapping[str, int | None]) -> int | None:
    known = {name: value for name, value in sizes.items() if value is not None}
    return int(size.evaluate(known)) if size.names() <= known.keys() else None


def _at_most(small: int, value: int | None) -> int:
    return small if value is None else min(small, value)
