"""Random model files, and the same models as data for the oracle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracle import OracleEdge, OracleLayer, OracleModel

LIMIT = 1024  # joint states of the discrete layers
LEAST = {"K": 2}  # states of a softmax site; other sizes may be 1


@dataclass(frozen=True)
class RandomModel:
    """A model file, and what it means."""

    text: str
    oracle: OracleModel


@dataclass(frozen=True)
class Layer:
    """A layer as written in the file."""

    name: str
    role: str
    unit: str
    dims: tuple[str, ...]  # as written
    bias: str | None
    written_bias: str  # the clause
    sigma: str = ""  # the option's value as written, or `default`; empty but for Gaussian units


def _value(dim: str, sizes: dict[str, int]) -> int:
    """A dim as written: `3`, `A` or `A + 1`."""
    name, _, more = dim.partition(" + ")
    return (int(name) if name.isdigit() else sizes[name]) + int(more or 0)


@st.composite
def _layers(draw: st.DrawFn, units: tuple[str, ...]) -> list[Layer]:
    count = draw(st.integers(2, 5))
    out: list[Layer] = []
    for i in range(count):
        name = f"l{i}"
        role = "visible" if i == 0 else "hidden" if i == count - 1 else draw(st.sampled_from(["visible", "hidden"]))
        unit = draw(st.sampled_from(units))
        if unit == "gaussian" and all(other.unit == "gaussian" for other in out) and i:
            unit = "binary"  # it needs a neighbour that is not Gaussian
        dim = st.sampled_from(["A", "A", "B", "B", "C", "2", "1", "A + 1"])
        dims = tuple(draw(st.lists(dim, min_size=1, max_size=2 if draw(st.integers(0, 4)) == 0 else 1)))
        if unit == "softmax":
            dims = (*(dims if draw(st.booleans()) else ()), draw(st.sampled_from(["K", "K", "2"])))
        same = [o.bias for o in out if o.bias and (o.unit, o.dims, o.sigma) == (unit, dims, "")]
        bias: str | None
        match draw(st.integers(0, 5)):
            case 0:
                bias, clause = None, " bias none"
            case 1:
                bias, clause = f"b_{name}", ""
            case 2 if same:
                bias, clause = same[0], f" bias {same[0]}"
            case _:
                bias, clause = f"b{i}", f" bias b{i}"
        sigma = ""
        if unit == "gaussian":
            sigma = draw(st.sampled_from(["default", "0.7", "2", '"sd.npy"', '"sd.npy"']))
        out.append(Layer(name, role, unit, dims, bias, clause, sigma))
    return out


@dataclass(frozen=True)
class Edge:
    """An edge as written: its weight's name, whether with a prime, whether written at all."""

    first: Layer
    second: Layer
    weight: str
    transposed: bool = False
    named: bool = True


@st.composite
def _edges(draw: st.DrawFn, layers: list[Layer]) -> list[Edge]:
    """A spanning tree and some more edges; some use a weight again."""
    pairs = []
    for i, layer in enumerate(layers):
        may = [o for o in layers[:i] if not o.unit == layer.unit == "gaussian"]
        if may:
            tie = draw(st.sampled_from(may))
            pairs.append((tie, layer))
            pairs += [(o, layer) for o in may if o is not tie and draw(st.integers(0, 4)) == 0]
    out: list[Edge] = []
    shapes: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for a, b in pairs:
        first, second = (a, b) if draw(st.booleans()) else (b, a)
        again = [w for w, s in shapes.items() if s == (first.dims, second.dims)]
        reverse = [w for w, s in shapes.items() if s == (second.dims, first.dims)]
        kind = draw(st.integers(0, 3))
        if kind == 0 and again:
            out.append(Edge(first, second, again[0]))
        elif kind <= 1 and reverse:
            out.append(Edge(first, second, reverse[0], transposed=True))
        else:
            named = kind != 2
            weight = f"W{len(out)}" if named else f"W_{first.name}_{second.name}"
            shapes[weight] = (first.dims, second.dims)
            out.append(Edge(first, second, weight, named=named))
    return out


@st.composite
def random_models(
    draw: st.DrawFn, units: tuple[str, ...] = ("binary", "spin", "softmax", "gaussian", "binary"), limit: int = LIMIT
) -> RandomModel:
    """A random connected model: 2 to 5 layers of 1 to 4 units a layer's axis, with random parameters."""
    layers = draw(_layers(units))
    edges = draw(_edges(layers))
    sizes = {n: draw(st.integers(1, 4)) for n in ("A", "B", "C")} | {"K": draw(st.integers(2, 4))}

    while _log_states(layers, sizes) > math.log2(limit):
        name = max(sizes, key=lambda n: sizes[n] - LEAST.get(n, 1))
        if sizes[name] <= LEAST.get(name, 1):
            break
        sizes[name] -= 1
    return make_model(layers, edges, sizes, draw(st.integers(0, 2**32 - 1)))


def _dims(layer: Layer, sizes: dict[str, int]) -> tuple[int, ...]:
    return tuple(_value(d, sizes) for d in layer.dims)


def _log_states(layers: list[Layer], sizes: dict[str, int]) -> float:
    """log2 of the number of joint states of the discrete layers."""
    total = 0.0
    for layer in layers:
        shape = _dims(layer, sizes)
        if layer.unit == "softmax":
            total += math.prod(shape[:-1]) * math.log2(shape[-1])
        elif layer.unit != "gaussian":
            total += math.prod(shape)
    return total


def make_model(
    layers: list[Layer], edges: list[Edge], sizes: dict[str, int], seed: int, spread: float = 0.6
) -> RandomModel:
    """The file of these layers and edges, with random parameters; weights have standard deviation `spread`."""
    rng = np.random.default_rng(seed)
    shape = {layer.name: _dims(layer, sizes) for layer in layers}
    parameters: dict[str, NDArray[np.float64]] = {}
    for layer in layers:
        if layer.bias:
            parameters[layer.bias] = rng.normal(0, 0.8, shape[layer.name])
        if layer.sigma:
            fixed = {"default": 1.0, "0.7": 0.7, "2": 2.0}.get(layer.sigma)
            varied = rng.uniform(0.5, 2.0, shape[layer.name])
            parameters[f"sigma_{layer.name}"] = np.full(shape[layer.name], fixed) if fixed else varied
    oracle_edges = []
    for edge in edges:
        first, second = (edge.first.name, edge.second.name)[:: -1 if edge.transposed else 1]
        if edge.weight not in parameters:
            parameters[edge.weight] = rng.normal(0, spread, shape[first] + shape[second])
        oracle_edges.append(OracleEdge(first, second, edge.weight))
    oracle_layers = {
        x.name: OracleLayer(x.name, x.role, x.unit, shape[x.name], x.bias, f"sigma_{x.name}" if x.sigma else None)
        for x in layers
    }
    return RandomModel(_write(layers, edges, sizes), OracleModel(oracle_layers, tuple(oracle_edges), parameters))


def _write(layers: list[Layer], edges: list[Edge], sizes: dict[str, int]) -> str:
    used = {d.partition(" + ")[0] for layer in layers for d in layer.dims}
    model = ", ".join(f"{n} = {v}" for n, v in sizes.items() if n in used)
    lines = ["ebm 1", f"model Random({model})" if model else "model Random"]
    for x in layers:
        options = f"(sigma = {x.sigma})" if x.sigma and x.sigma != "default" else ""
        lines.append(f"{x.role} {x.name} : {x.unit}[{', '.join(x.dims)}]{options}{x.written_bias}")
    for edge in edges:
        clause = f" : {edge.weight}{chr(39) * edge.transposed}" if edge.named else ""
        lines.append(f"{edge.first.name} -- {edge.second.name}{clause}")
    return "\n".join(lines) + "\n"


def every_unit(seed: int = 5, spread: float = 0.6) -> RandomModel:
    """A fixed model with every unit type, a loop, a weight used twice, and several axes."""
    v = Layer("v", "visible", "gaussian", ("2",), "b", " bias b", '"sd.npy"')
    h = Layer("h", "hidden", "binary", ("A",), "a", " bias a")
    y = Layer("y", "visible", "softmax", ("2", "K"), "c", " bias c")
    g = Layer("g", "hidden", "spin", ("A",), None, " bias none")
    z = Layer("z", "hidden", "gaussian", ("A",), "e", " bias e", "0.7")
    edges = [Edge(v, h, "W"), Edge(h, y, "U"), Edge(h, g, "J"), Edge(z, g, "J", transposed=True), Edge(y, g, "R")]
    return make_model([v, h, y, g, z], edges, {"A": 3, "K": 3}, seed, spread)
