"""Random model files, and the same models as data for the oracle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from oracle import OracleEdge, OracleLayer, OracleModel

LIMIT = 1024  # joint states of the discrete layers


@dataclass(frozen=True)
class RandomModel:
    """A model file, and what it means."""

    text: str
    oracle: OracleModel

    def parameters(self, dtype: str) -> dict[str, NDArray[np.floating]]:
        """As the kernels take them: weights as matrices, the rest flat."""
        out = {}
        sizes = {n: math.prod(layer.dims) for n, layer in self.oracle.layers.items()}
        shapes = {e.weight: (sizes[e.first], sizes[e.second]) for e in self.oracle.edges}
        for name, value in self.oracle.parameters.items():
            out[name] = np.ascontiguousarray(value.reshape(shapes.get(name, -1)), dtype=dtype)
        return out


@dataclass(frozen=True)
class _Layer:
    name: str
    role: str
    unit: str
    dims: tuple[str, ...]  # as written
    bias: str | None
    written_bias: str  # the clause
    sigma: str  # the option's value as written, or ""


def _value(dim: str, sizes: dict[str, int]) -> int:
    """A dim as written: `3`, `A` or `A + 1`."""
    name, _, more = dim.partition(" + ")
    return (int(name) if name.isdigit() else sizes[name]) + int(more or 0)


@st.composite
def _layers(draw: st.DrawFn, units: tuple[str, ...]) -> list[_Layer]:
    count = draw(st.integers(2, 5))
    out: list[_Layer] = []
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
        out.append(_Layer(name, role, unit, dims, bias, clause, sigma))
    return out


@st.composite
def _edges(draw: st.DrawFn, layers: list[_Layer]) -> list[tuple[_Layer, _Layer, str, bool, bool]]:
    """(first, second, weight, transposed, named) as written: a spanning tree and some more edges."""
    pairs = []
    for i, layer in enumerate(layers):
        may = [o for o in layers[:i] if not o.unit == layer.unit == "gaussian"]
        if may:
            tie = draw(st.sampled_from(may))
            pairs.append((tie, layer))
            pairs += [(o, layer) for o in may if o is not tie and draw(st.integers(0, 4)) == 0]
    out: list[tuple[_Layer, _Layer, str, bool, bool]] = []
    shapes: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for a, b in pairs:
        first, second = (a, b) if draw(st.booleans()) else (b, a)
        again = [w for w, s in shapes.items() if s == (first.dims, second.dims)]
        reverse = [w for w, s in shapes.items() if s == (second.dims, first.dims)]
        kind = draw(st.integers(0, 3))
        if kind == 0 and again:
            out.append((first, second, again[0], False, True))
        elif kind <= 1 and reverse:
            out.append((first, second, reverse[0], True, True))
        else:
            named = kind != 2
            weight = f"W{len(out)}" if named else f"W_{first.name}_{second.name}"
            shapes[weight] = (first.dims, second.dims)
            out.append((first, second, weight, False, named))
    return out


@st.composite
def random_models(
    draw: st.DrawFn, units: tuple[str, ...] = ("binary", "spin", "softmax", "gaussian", "binary"), limit: int = LIMIT
) -> RandomModel:
    """A random connected model: 2 to 5 layers of 1 to 4 units a layer's axis, with random parameters."""
    layers = draw(_layers(units))
    edges = draw(_edges(layers))
    sizes = {n: draw(st.integers(1, 4)) for n in ("A", "B", "C")} | {"K": draw(st.integers(2, 4))}

    def dims(layer: _Layer) -> tuple[int, ...]:
        return tuple(_value(d, sizes) for d in layer.dims)

    def states() -> float:
        total = 0.0
        for layer in layers:
            shape = dims(layer)
            if layer.unit == "softmax":
                total += math.prod(shape[:-1]) * math.log2(shape[-1])
            elif layer.unit != "gaussian":
                total += math.prod(shape)
        return total

    while states() > math.log2(limit) and max(sizes.values()) > 1:
        least = {"K": 2}
        name = max(sizes, key=lambda n: sizes[n] - least.get(n, 1))
        if sizes[name] <= least.get(name, 1):
            break
        sizes[name] -= 1

    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parameters: dict[str, NDArray[np.float64]] = {}
    for layer in layers:
        if layer.bias:
            parameters[layer.bias] = rng.normal(0, 0.8, dims(layer))
        if layer.sigma:
            fixed = {"default": 1.0, "0.7": 0.7, "2": 2.0}.get(layer.sigma)
            varied = rng.uniform(0.5, 2.0, dims(layer))
            parameters[f"sigma_{layer.name}"] = np.full(dims(layer), fixed) if fixed else varied
    oracle_edges = []
    for first, second, weight, transposed, _ in edges:
        if transposed:
            first, second = second, first
        if weight not in parameters:
            parameters[weight] = rng.normal(0, 0.6, dims(first) + dims(second))
        oracle_edges.append(OracleEdge(first.name, second.name, weight))
    oracle = OracleModel(
        {
            x.name: OracleLayer(x.name, x.role, x.unit, dims(x), x.bias, f"sigma_{x.name}" if x.sigma else None)
            for x in layers
        },
        tuple(oracle_edges),
        parameters,
    )
    return RandomModel(_write(layers, edges, sizes), oracle)


def _write(layers: list[_Layer], edges: list[tuple[_Layer, _Layer, str, bool, bool]], sizes: dict[str, int]) -> str:
    used = {d.partition(" + ")[0] for layer in layers for d in layer.dims}
    model = ", ".join(f"{n} = {v}" for n, v in sizes.items() if n in used)
    lines = ["ebm 1", f"model Random({model})" if model else "model Random"]
    for x in layers:
        options = f"(sigma = {x.sigma})" if x.sigma and x.sigma != "default" else ""
        lines.append(f"{x.role} {x.name} : {x.unit}[{', '.join(x.dims)}]{options}{x.written_bias}")
    for first, second, weight, transposed, named in edges:
        clause = f" : {weight}{chr(39) * transposed}" if named else ""
        lines.append(f"{first.name} -- {second.name}{clause}")
    return "\n".join(lines) + "\n"
