"""Random model files of every unit type and edge, and the same models as data for the oracle."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracle import REAL, OracleEdge, OracleLayer, OracleModel, joint_nodes, unit_nodes
from random_models import RandomModel

LIMIT = 30_000  # joint nodes of all layers
UNBOUNDED = (*REAL, "poisson")
FINITE = ("binary", "spin", "softmax", "binomial", "trit", "tilted")
OWN = {"gaussian": ("sigma",), "tilted": ("u", "t"), "drelu": ("gp", "gm", "tp", "tm")}
DECLARED = {
    "trit": "unit trit {\n  support x in {-1, 0, 1}\n  energy 0.3 * x^2\n  statistic x\n}",
    "tilted": "unit tilted {\n  param u > 0, t\n  support x in {-1, 0.5, 2}\n  energy u*x^2 + t*x\n  statistic x\n}",
    "drelu": "unit drelu {\n  param gp > 0, gm > 0, tp, tm\n  support x in real\n"
    "  energy gp*x^2/2 + tp*x if x > 0 else gm*x^2/2 + tm*x\n  statistic x\n}",
}


@dataclass
class Wide:
    """A layer as it will be written; `length` is that of its documents."""

    name: str
    role: str
    unit: str
    dims: tuple[int, ...]
    bias: str | None
    trials: int = 0
    length: int = 0
    counted: tuple[str, ...] = ()
    exposed: bool = True  # by the lengths of count neighbours; else `scale = 1`
    options: list[str] = field(default_factory=list)

    @property
    def unbounded(self) -> bool:
        return self.unit in UNBOUNDED


@st.composite
def _layer(draw: st.DrawFn, name: str, role: str, real: bool) -> Wide:
    units = [*FINITE, "binary"]
    if role == "visible":
        units += ["replicated_softmax"] * 2
    if real:
        units += ["gaussian", "gaussian", "poisson", "relu", "drelu"]
    unit = draw(st.sampled_from(units))
    size = 1 if unit in ("poisson", "relu", "drelu") else draw(st.integers(1, 2))
    dims: tuple[int, ...] = (size,)
    if unit == "softmax":
        dims = draw(st.sampled_from([(2,), (3,), (2, 2)]))
    elif unit == "replicated_softmax":
        dims = (draw(st.integers(2, 3)),)
    elif unit in ("binary", "spin") and draw(st.integers(0, 3)) == 0:
        dims = (1, 2)
    bias = None if role == "given" else draw(st.sampled_from([f"b_{name}", f"a{name}", f"a{name}", None]))
    out = Wide(name, role, unit, dims, bias)
    out.trials = draw(st.integers(2, 3)) if unit == "binomial" else 0
    out.length = draw(st.integers(1, 4)) if unit == "replicated_softmax" else 0
    return out


def _may_join(*layers: Wide) -> bool:
    """Whether an edge may join these layers: at most one unbounded, and no unbounded neighbour of a count layer."""
    counts = any(x.unit == "replicated_softmax" for x in layers)
    unbounded = sum(x.unbounded for x in layers)
    both_normal = len(layers) == 2 and all(x.unit == "gaussian" for x in layers)
    return (unbounded <= 1 or both_normal) and not (counts and unbounded) and any(x.role != "given" for x in layers)


@st.composite
def wide_models(draw: st.DrawFn, limit: int = LIMIT, given: bool = True) -> RandomModel:
    """A random model: 2 to 4 layers of a few units, pairs, lateral and multiplicative edges, tied weights."""
    count = draw(st.integers(2, 4))
    layers: list[Wide] = []
    for i in range(count):
        middle = st.sampled_from(["visible", "hidden", "given"] if given else ["visible", "hidden"])
        role = "visible" if i == 0 else "hidden" if i == count - 1 else draw(middle)
        layer = draw(_layer(f"l{i}", role, real=sum(x.unbounded for x in layers) < 2))
        if layers and not any(_may_join(x, layer) for x in layers):
            layer = Wide(layer.name, role, "binary", (2,), None if role == "given" else f"a{layer.name}")
        if layers and not any(_may_join(x, layer) for x in layers):  # all before are given
            layer.role, layer.bias = "hidden", f"a{layer.name}"
        layers.append(layer)
    edges = draw(_wide_edges(layers))
    while _nodes(layers, edges) > limit:
        largest = max(layers, key=lambda x: _node_count(x, layers, edges))
        least = (2,) if largest.unit in ("softmax", "replicated_softmax") else (1,)
        if largest.dims == least:
            largest.unit, largest.trials, largest.length = "binary", 0, 0
        largest.dims = least
    for layer in layers:
        near = {x.name for names, _, _ in edges for x in layers if layer.name in names and x.name in names}
        counts = tuple(x.name for x in layers if x.unit == "replicated_softmax" and x.name in near and x is not layer)
        if layer.bias and layer.unit != "replicated_softmax" and counts:
            layer.exposed = draw(st.integers(0, 3)) > 0
            layer.counted = counts if layer.exposed else ()
    shapes = {x.name: x.dims for x in layers}
    edges = [e for e in edges if not e[2] or [shapes[n] for n in e[0]] == _shape_of(e[1], edges, shapes)]
    single = {x.name for x in layers if x.unit == "softmax" and math.prod(x.dims[:-1]) == 1}  # no pair to join
    edges = [e for e in edges if e[0][0] != e[0][1] or e[0][0] not in single]
    return make_wide(layers, edges, draw(st.integers(0, 2**32 - 1)))


Joined = tuple[tuple[str, ...], str, bool]  # layers in the weight's order, the weight, whether it is used again


def _shape_of(weight: str, edges: list[Joined], shapes: dict[str, tuple[int, ...]]) -> list[tuple[int, ...]]:
    first = next(names for names, w, again in edges if w == weight and not again)
    return [shapes[name] for name in first]


@st.composite
def _wide_edges(draw: st.DrawFn, layers: list[Wide]) -> list[Joined]:
    out: list[Joined] = []
    for i, layer in enumerate(layers):
        may = [x for x in layers[:i] if _may_join(x, layer)]
        if may:
            out.append(((draw(st.sampled_from(may)).name, layer.name), f"W{len(out)}", False))
    one, other = draw(st.permutations(layers))[:2]
    if _may_join(one, other) and draw(st.booleans()):
        again = [e for e in out if _dims(layers, e[0]) == [one.dims, other.dims]]
        out.append(((one.name, other.name), again[0][1] if again else f"W{len(out)}", bool(again)))
    for layer in layers:
        if layer.unit in (*FINITE, "gaussian") and layer.role != "given" and draw(st.integers(0, 2)) == 0:
            out.append(((layer.name, layer.name), f"L{len(out)}", False))
    if len(layers) > 2 and draw(st.booleans()):
        three = draw(st.permutations(layers))[:3]
        if _may_join(*three):
            out.append((tuple(x.name for x in three), f"T{len(out)}", False))
    return out


def _dims(layers: list[Wide], names: tuple[str, ...]) -> list[tuple[int, ...]]:
    by_name = {x.name: x.dims for x in layers}
    return [by_name[name] for name in names]


def _node_count(layer: Wide, layers: list[Wide], edges: list[Joined]) -> int:
    size = math.prod(layer.dims)
    if layer.role == "given":
        return 1
    if layer.unit == "replicated_softmax":
        return math.comb(layer.length + size - 1, size - 1)
    if layer.unit == "softmax":
        return int(layer.dims[-1] ** (size // layer.dims[-1]))
    real = {x.name for x in layers if x.unit in REAL}
    if layer.unit == "gaussian" and not any(
        layer.name in names and sum(n in real for n in names) > 1 for names, _, _ in edges
    ):
        return 1  # it closes
    trial = OracleLayer("x", "hidden", layer.unit, (1,), None, trials=layer.trials)
    return int(len(unit_nodes(trial)[0]) ** size)


def _nodes(layers: list[Wide], edges: list[Joined]) -> int:
    return math.prod(_node_count(x, layers, edges) for x in layers)


def make_wide(layers: list[Wide], edges: list[Joined], seed: int, spread: float = 0.5) -> RandomModel:
    """The file of these layers and edges, with random parameters."""
    rng = np.random.default_rng(seed)
    parameters: dict[str, NDArray[np.float64]] = {}
    oracle_layers = {}
    by_name = {x.name: x for x in layers}
    for x in layers:
        if x.bias:
            centre = -0.4 if x.unbounded else 0.0
            parameters[x.bias] = rng.normal(centre, 0.5, x.dims)
        own = {} if x.role == "given" else {name: f"{name}_{x.name}" for name in OWN.get(x.unit, ())}
        for name, full in own.items():
            positive = name in ("sigma", "gp", "gm", "u")
            parameters[full] = rng.uniform(0.6, 1.6, x.dims) if positive else rng.normal(0, 0.4, x.dims)
        oracle_layers[x.name] = OracleLayer(
            x.name, x.role, x.unit, x.dims, x.bias, own.get("sigma"), own, x.trials, x.counted
        )
    oracle_edges = []
    for names, weight, _ in edges:
        oracle_edges.append(OracleEdge(names[0], names[1], weight, names[2:]))
        if weight in parameters:
            continue
        shape = tuple(d for name in names for d in by_name[name].dims)
        scale = 0.15 if sum(by_name[n].unit == "gaussian" for n in names) > 1 else spread
        scale = 0.25 if any(by_name[n].unbounded and by_name[n].unit != "gaussian" for n in names) else scale
        parameters[weight] = rng.normal(0, scale, shape)
        if names[0] == names[1]:
            parameters[weight] = _symmetric(parameters[weight], by_name[names[0]])
    model = OracleModel(oracle_layers, tuple(oracle_edges), parameters, {x.name: x.length for x in layers if x.length})
    return RandomModel(_write(layers, edges), model)


def _symmetric(w: NDArray[np.float64], layer: Wide) -> NDArray[np.float64]:
    size = math.prod(layer.dims)
    block = layer.dims[-1] if layer.unit == "softmax" else 1
    flat = w.reshape(size, size)
    flat = (flat + flat.T) * (1 - np.kron(np.eye(size // block), np.ones((block, block))))
    return flat.reshape(w.shape)


def _write(layers: list[Wide], edges: list[Joined]) -> str:
    used = [x.unit for x in layers]
    lines = ["ebm 1", "model Wide", *(text for name, text in DECLARED.items() if name in used)]
    for x in layers:
        options = [f"trials = {x.trials}"] if x.trials else []
        options += ["sigma = learned"] if x.unit == "gaussian" and x.role != "given" else []
        clause = f"({', '.join(options)})" if options else ""
        bias = "" if x.role == "given" else f" bias {x.bias or 'none'}"
        scale = "(scale = 1)" if x.bias and not x.exposed else ""
        lines.append(f"{x.role} {x.name} : {x.unit}[{', '.join(map(str, x.dims))}]{clause}{bias}{scale}")
    for names, weight, _ in edges:
        lines.append(f"{' * '.join(names) if len(names) > 2 else ' -- '.join(names)} : {weight}")
    return "\n".join(lines) + "\n"


def given_states(model: OracleModel, cases: int, seed: int = 3) -> dict[str, NDArray[np.float64]]:
    """Random states of the given layers, (cases, *dims)."""
    rng, out = np.random.default_rng(seed), {}
    for name in model.names("given"):
        layer = model.layers[name]
        if layer.unit == "gaussian":
            out[name] = rng.normal(0, 1, (cases, *layer.dims))
        else:
            states, _ = joint_nodes(model, (name,))
            states[name] = states[name][np.abs(states[name]).reshape(len(states[name]), -1).max(1) < 6]
            out[name] = states[name][rng.integers(0, len(states[name]), cases)]
    return out
