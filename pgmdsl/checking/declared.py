"""The energy that a model file declares, walked term by term: layers, biases, edges, and the energy of each unit type.

Nothing derived is used: of a unit type only its support, energy and statistic as they are declared, of the model its
layers, edges and parameters. States and statistics are arrays (cases, size), a layer's axes flattened; parameters are
as kernels take them: weights with one axis a layer, the rest flat.

    E(x) = sum over layers of the units' energies, a bias with count neighbours being multiplied by their lengths
           - sum over edges of W[i, j, ...] s(first)[i] s(second)[j] ..., half of it for a lateral edge
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, gammaln, log_ndtr

from pgmdsl.compiler.model import Edge, Layer
from pgmdsl.compiler.units import Unit
from pgmdsl.grammar.parse import parse_expression
from pgmdsl.grammar.syntax import Binary, Call, Compare, Conditional, Expression, Name, Negate, Number

Array = NDArray[np.float64]
State = Mapping[str, Array]

_FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "tanh": np.tanh,
    "sigmoid": expit,
    "softplus": lambda x: np.logaddexp(0.0, x),
    "log_normal_cdf": log_ndtr,
    "factorial": lambda x: np.exp(gammaln(x + 1.0)),
}
_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": operator.pow,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def evaluate(node: Expression, names: Mapping[str, Any]) -> Any:
    """The value of a unit type's formula where its names have these values (numbers or arrays), entry by entry."""
    match node:
        case Number():
            return float(node.value)
        case Name("pi"):
            return np.pi
        case Name(name):
            return names[name]
        case Negate(operand):
            return -evaluate(operand, names)
        case Binary(op, left, right) | Compare(op, left, right):
            return _OPERATORS[op](evaluate(left, names), evaluate(right, names))
        case Conditional(value, condition, otherwise):
            return np.where(evaluate(condition, names), evaluate(value, names), evaluate(otherwise, names))
        case Call("log", (Call("factorial", (argument,)),)):
            return gammaln(evaluate(argument, names) + 1.0)
        case Call(function, (argument,)) if function in _FUNCTIONS:
            return _FUNCTIONS[function](evaluate(argument, names))
        case _:
            raise AssertionError(f"the formulas of unit types do not hold {node}")


@dataclass(frozen=True)
class DeclaredLayer:
    """A layer as declared, with its numbers.

    `own` are the values of its unit type's parameters, (size,) each, by their names in the unit's formulas. `bias` is
    (size,), zeros where the layer has none. `states` is K where the last axis counts states, else 1. The summed lengths
    of the `counted` layers multiply the bias. A layer without own parameters, being given, has those of a plain
    statistic: ones where they are positive.
    """

    name: str
    given: bool
    unit: Unit
    dims: tuple[int, ...]
    states: int
    bias: Array
    own: Mapping[str, Array]
    counted: tuple[str, ...]
    trials: int

    @property
    def size(self) -> int:
        """How many entries its state has."""
        return prod(self.dims)

    def statistic(self, x: Array, own: Mapping[str, Any] | None = None) -> Array:
        """What edges multiply, of states whose last axis is the layer's; `own` in place of the layer's parameters."""
        names = {**(self.own if own is None else own), "x": x, "trials": float(self.trials)}
        return np.asarray(evaluate(parse_expression(self.unit.statistic), names) + np.zeros_like(x))

    def energy(self, x: Array, bias: Array, own: Mapping[str, Any] | None = None) -> Array:
        """The energy of each unit at these states, without edges; `bias` is already multiplied by lengths."""
        names = {**(self.own if own is None else own), "x": x, "b": bias, "trials": float(self.trials)}
        return np.asarray(evaluate(parse_expression(self.unit.energy), names) + np.zeros_like(x))


@dataclass(frozen=True)
class Declared:
    """A model as declared: layers in file order, the layers and the weight of each edge, and parameters by name."""

    layers: Mapping[str, DeclaredLayer]
    edges: tuple[tuple[tuple[str, ...], str], ...]
    parameters: Mapping[str, Array]

    def neighbours(self, layer: str) -> tuple[str, ...]:
        """The other layers with an edge to this one, in file order."""
        near = {n for names, _ in self.edges if layer in names for n in names}
        return tuple(n for n in self.layers if n in near and n != layer)

    def lateral(self, layer: str) -> bool:
        """Whether the layer has an edge to itself."""
        return any(set(names) == {layer} for names, _ in self.edges)

    def bias(self, layer: str, s: State) -> Array:
        """The layer's bias times the lengths of its documents that are present: (cases or 1, size)."""
        lengths = [s[n].sum(1)[:, None] for n in self.layers[layer].counted if n in s]
        return np.asarray(
            sum(lengths[1:], lengths[0]) * self.layers[layer].bias if lengths else self.layers[layer].bias[None]
        )

    def statistics(self, x: State) -> dict[str, Array]:
        """The statistics of states."""
        return {n: self.layers[n].statistic(value) for n, value in x.items()}

    def edge_energy(self, s: State, parameters: Mapping[str, Array] | None = None) -> Array:
        """The energy of the edges all of whose layers are present, at these statistics, (cases,)."""
        weights = self.parameters if parameters is None else parameters
        total = np.zeros(len(next(iter(s.values()))))
        for names, weight in self.edges:
            if set(names) <= s.keys():
                letters = "abdefgh"[: len(names)]
                terms = ",".join("c" + letter for letter in letters)
                share = 0.5 if len(set(names)) < len(names) else 1.0
                product = np.einsum(f"{letters},{terms}->c", weights[weight], *(s[n] for n in names), optimize=True)
                total -= share * product
        return total

    def energy(self, x: State) -> Array:
        """The energy of the layers that are present, (cases,)."""
        total = self.edge_energy(self.statistics(x))
        for name, layer in self.layers.items():
            if name in x and not layer.given:
                total += layer.energy(x[name], self.bias(name, x)).sum(1)
        return total

    def coupling(self, layer: str, s: State, entries: Collection[int] | None = None) -> Array:
        """The coupling field, (cases, size): what the edges' energy falls by as each statistic goes from 0 to 1.

        Of the layers present in `s`, and of the layer itself if it is; of all entries, or of these, 0 elsewhere. The
        energy of edges is affine in each statistic.
        """
        cases = len(next(iter(s.values()))) if s else 1
        size = self.layers[layer].size
        mine = s.get(layer, np.zeros((cases, size)))
        alone = {**s, layer: mine}
        if layer not in s:  # its lateral edges do not send
            edges = tuple(e for e in self.edges if set(e[0]) != {layer})
            return Declared(self.layers, edges, self.parameters).coupling(layer, alone, entries)
        out = np.zeros((cases, size))
        for j in range(size) if entries is None else entries:
            low, high = mine.copy(), mine.copy()
            low[:, j], high[:, j] = 0.0, 1.0
            out[:, j] = self.edge_energy({**s, layer: low}) - self.edge_energy({**s, layer: high})
        return out


def declared(
    layers: Mapping[str, Layer], edges: Sequence[Edge], parameters: Mapping[str, Array], sizes: Mapping[str, int]
) -> Declared:
    """Layers and edges of a checked model as terms of an energy.

    Args:
        layers: in file order.
        edges: undirected ones, or others read as if they were: p(child | parents) and q(target | sources) are the
            conditionals of such an energy.
        parameters: of the model, as kernels take them.
        sizes: the values of the model's sizes.
    """
    found = {name: _layer(layer, sizes, parameters) for name, layer in layers.items()}
    return Declared(found, tuple((edge.layers, edge.weight) for edge in edges), parameters)


def _layer(layer: Layer, sizes: Mapping[str, int], parameters: Mapping[str, Array]) -> DeclaredLayer:
    dims = tuple(int(dim.evaluate(sizes)) for dim in layer.dims)
    size = prod(dims)
    own = {
        o.name: parameters[layer.parameters[o.name]] if o.name in layer.parameters else np.full(size, float(o.positive))
        for o in layer.unit.parameters
    }
    return DeclaredLayer(
        name=layer.name,
        given=layer.role == "given",
        unit=layer.unit,
        dims=dims,
        states=dims[-1] if layer.unit.states_axis else 1,
        bias=np.zeros(size) if layer.bias is None else parameters[layer.bias],
        own=own,
        counted=layer.counted,
        trials=0 if layer.trials is None else int(layer.trials.evaluate(sizes)),
    )
