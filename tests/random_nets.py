"""Random model files with directed edges, and some with recognition edges."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from hypothesis import strategies as st

MOST_STATES = 256


@dataclass(frozen=True)
class NetLayer:
    """A layer as written; `dims` end with the number of states where units are one-hot."""

    name: str
    role: str
    unit: str
    dims: tuple[int, ...]

    @property
    def states(self) -> int:
        """How many joint states it has."""
        if self.unit == "softmax":
            return int(self.dims[-1] ** math.prod(self.dims[:-1]))
        return 1 if self.unit == "gaussian" else 2 ** math.prod(self.dims)


@dataclass(frozen=True)
class Net:
    """A file, its layers, those that are children, and the names of its weights and of those of recognition."""

    text: str
    layers: tuple[NetLayer, ...]
    children: tuple[str, ...]
    weights: tuple[str, ...]
    recognition: tuple[str, ...]


@st.composite
def random_nets(draw: st.DrawFn) -> Net:
    """2 to 4 layers: the lower ones children of any above them, the others joined or apart."""
    count = draw(st.integers(2, 4))
    layers = [_layer(draw, k, count) for k in range(count)]
    while math.prod(layer.states for layer in layers) > MOST_STATES:
        big = max(range(count), key=lambda k: layers[k].states)
        layers[big] = NetLayer(layers[big].name, layers[big].role, "binary", (draw(st.integers(1, 2)),))
    split = draw(st.integers(1, count - 1))
    lines: list[str] = []
    shapes: dict[str, tuple[tuple[int, ...], ...]] = {}

    def weight(first: NetLayer, second: NetLayer) -> str:
        turned = [w for w, shape in shapes.items() if shape == (second.dims, first.dims)]
        if turned and draw(st.integers(0, 2)) == 0:
            return f"{turned[0]}'"
        shapes[f"W{len(shapes)}"] = (first.dims, second.dims)
        return f"W{len(shapes) - 1}"

    parents: list[NetLayer] = []
    for k in range(split):
        if layers[k] not in parents:  # a hidden child on which nothing depends is refused
            layers[k] = replace(layers[k], role="visible")
        above = [layer for layer in layers[k + 1 :] if draw(st.booleans())] or [draw(st.sampled_from(layers[k + 1 :]))]
        parents += above
        for parent in above:
            arrow = draw(st.sampled_from([f"{parent.name} -> {layers[k].name}", f"{layers[k].name} <- {parent.name}"]))
            lines.append(f"{arrow} : {weight(layers[k], parent)}")
    for k in range(split, count):
        near = [other for other in layers[k + 1 :] if draw(st.integers(0, 2))]
        lines += [f"{layers[k].name} -- {other.name} : {weight(layers[k], other)}" for other in near]
    own = tuple(shapes)
    recognition = _recognition(draw, layers, parents) if draw(st.booleans()) else []
    text = "\n".join([*(f"{x.role} {x.name} : {_written(x)}" for x in layers), *lines, *recognition])
    names = tuple(line.split(" : ")[1] for line in recognition)
    return Net(f"model Net\n{text}\n", tuple(layers), tuple(x.name for x in layers[:split]), own, names)


def _layer(draw: st.DrawFn, k: int, count: int) -> NetLayer:
    role = (
        "visible" if k == 0 else "hidden" if k == count - 1 else draw(st.sampled_from(["hidden", "hidden", "visible"]))
    )
    unit = draw(st.sampled_from(["binary", "binary", "spin", "softmax", *(["gaussian"] if k == 0 else [])]))
    dims = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=1 if draw(st.integers(0, 3)) else 2)))
    if unit == "softmax":
        dims = (*dims[1:], draw(st.integers(2, 3)))
    return NetLayer(f"l{k}", role, unit, dims)


def _written(layer: NetLayer) -> str:
    options = "(sigma = learned)" if layer.unit == "gaussian" else ""
    return f"{layer.unit}[{', '.join(map(str, layer.dims))}]{options}"


def _recognition(draw: st.DrawFn, layers: list[NetLayer], parents: list[NetLayer]) -> list[str]:
    """Edges into every hidden parent, from visible layers and from those that are reached already."""
    reached = [x for x in layers if x.role == "visible"]
    lines: list[str] = []
    for layer in layers:
        if layer in parents and layer.role == "hidden":
            sources = [x for x in reached if draw(st.booleans())] or [reached[0]]
            lines += [f"{x.name} ~> {layer.name} : R{len(lines) + k}" for k, x in enumerate(sources)]
            reached.append(layer)
    return lines
