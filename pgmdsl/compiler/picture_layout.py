"""Where the layers of a model stand in its picture: what is observed at the bottom, parents above their children."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from math import floor, hypot
from typing import Literal

from pgmdsl.compiler.model import Edge, EdgeKind, Layer, Model
from pgmdsl.compiler.typeset import unicode_name

BOX_HEIGHT = 50.0
_GAP = 44.0  # between boxes side by side
_RISE = 112.0  # from a level to the next
_MARGIN = 20.0
_SWEEPS = 4
_CLEAR = 14.0  # between a label and another line
_LOOP = 64.0  # how far the control point of a loop stands from the corner of its box
_LOOP_ROOM = 36.0  # what a loop and its label take up beside the box, and above it
_ASIDE = 44.0  # between the ends of two curves at one side of a box
_CORNER = 14.0  # between such an end and the corner of the box
_PASSING = 14.0  # between a box and a curve that passes by
_APART = 56.0  # between a multiplicative edge's node and the next, or a loop

Point = tuple[float, float]
Curve = tuple[Point, Point, Point]  # start, control point, end
Key = tuple[tuple[str, ...], EdgeKind]  # the ends of a curve, and what edges it is of


@dataclass(frozen=True, slots=True)
class Box:
    """A layer: the centre and width of its box in pixels, y downward; `lines` are its name and its units."""

    layer: str
    role: Literal["visible", "hidden", "given"]
    lines: tuple[str, str]
    x: float
    y: float
    width: float


@dataclass(frozen=True, slots=True)
class Link:
    """A quadratic curve: all edges of a kind between two layers, or within one, or from a product's node to a layer.

    `label` are the names of its weights, and `place` is where they stand; a multiplicative edge has them at its node.
    A curve with a direction ends at the child, or at the layer that is recognised.
    """

    start: Point
    control: Point
    end: Point
    layers: tuple[str, ...]
    label: str
    place: Point
    kind: EdgeKind = "undirected"


@dataclass(frozen=True, slots=True)
class Node:
    """Where the lines of a multiplicative edge meet, the name of its weight, and where that stands."""

    x: float
    y: float
    layers: tuple[str, ...]
    label: str
    place: Point


@dataclass(frozen=True, slots=True)
class Layout:
    """A whole picture, `width` by `height` pixels."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    links: tuple[Link, ...]
    nodes: tuple[Node, ...]


def units_text(model: Model, layer: Layer) -> str:
    """`binary[500]`; a size without a value by its name."""
    known = {name: value for name, value in model.sizes.items() if value is not None}
    dims = (str(d.evaluate(known)) if d.names() <= known.keys() else str(d) for d in layer.dims)
    return f"{layer.unit.name}[{', '.join(dims)}]"


def layer_levels(model: Model) -> dict[str, int]:
    """Each layer's level: parents above their children, other hidden layers by distance from what is observed.

    Visible and given layers stand on level 0. Where they are joined to what stands above children, as labels are to the
    top layer of a belief net, they stand one level below it. Layers that nothing reaches stand on level 1.
    """
    level: dict[str, int] = {}
    for child in reversed(model.children):
        level.setdefault(child, 0)
        for parent in model.parents(child):
            level[parent] = max(level.get(parent, 0), level[child] + 1)
    upper = _connected(model, level)
    level.update({n: 0 for n, x in model.layers.items() if x.role != "hidden" and n not in upper})
    if not level:
        level = dict.fromkeys(list(model.layers)[:1], 0)
    while joined := {
        name: near
        for name in model.layers
        if name not in level and (near := [level[n] for n in model.neighbours(name) if n in level])
    }:
        hidden = {n: min(near) + 1 for n, near in joined.items() if model.layers[n].role == "hidden"}
        first, above = next(iter(joined.items()))
        level.update({n: k for n, k in hidden.items() if k == min(hidden.values())} or {first: max(0, max(above) - 1)})
    return {name: level.get(name, 1) for name in model.layers}


def _connected(model: Model, names: Iterable[str]) -> set[str]:
    """The layers that undirected edges reach from these, and these."""
    found, new = set(names), set(names)
    while new:
        new = {other for name in new for other in model.neighbours(name)} - found
        found |= new
    return found


def _near(model: Model, name: str) -> tuple[str, ...]:
    """The other layers with an edge to or from this one, in file order, each once."""
    near = {o for e in model.all_edges if name in e.layers for o in e.layers if o != name}
    return tuple(n for n in model.layers if n in near)


def lay_out(model: Model) -> Layout:
    """Places for all layers and edges."""
    levels = layer_levels(model)
    width = max(_text_width(n, units_text(model, layer)) for n, layer in model.layers.items())
    rows = _ordered_rows(model, levels)
    x = _columns(model, rows, width + _GAP)
    top = max(levels.values())
    pairs = [edge.layers for edge in model.all_edges if len(set(edge.layers)) == 2]
    arcs = [_reach(row, layers) for row in rows for layers in pairs if set(layers) <= set(row)]
    loops = {edge.layers[0] for edge in model.edges if edge.lateral}
    heights = [_half_level(edge.layers, levels) for edge in model.edges if len(edge.layers) > 2]
    over = max(34.0 * max((a - 1 for a in arcs), default=0), _LOOP_ROOM if loops & set(rows[top]) else 0.0)
    head = _MARGIN + max(over, _RISE / 2 if top + 0.5 in heights else 0.0)
    left = min(x.values()) - width / 2 - _MARGIN
    boxes = {
        name: Box(
            name,
            layer.role,
            (unicode_name(name), units_text(model, layer)),
            x[name] - left,
            head + BOX_HEIGHT / 2 + (top - levels[name]) * _RISE,
            width,
        )
        for name, layer in model.layers.items()
    }
    ends = [b.x + (_LOOP_ROOM if n in loops else 0.0) for n, b in boxes.items()]
    ground = head + BOX_HEIGHT / 2 + top * _RISE
    nodes = _nodes(model, boxes, levels, ground)
    links = _links(model, boxes, rows)
    sides = [_along((k.start, k.control, k.end), 0.5)[0] for k in links if len(set(k.layers)) == 2]
    right = max([max(ends) + width / 2, *(node.x + _APART / 2 for node in nodes), *(x + _APART / 2 for x in sides)])
    layout = Layout(
        right + _MARGIN,
        ground + BOX_HEIGHT / 2 + _MARGIN,
        tuple(boxes.values()),
        (*links, *_spokes(nodes, boxes)),
        nodes,
    )
    return _moved(layout, max(0.0, _APART / 2 + _MARGIN - min(sides, default=_APART + _MARGIN)))


def _moved(layout: Layout, right: float) -> Layout:
    """The picture with room at its left for a curve that passes by boxes."""

    def at(point: Point) -> Point:
        return point[0] + right, point[1]

    return Layout(
        layout.width + right,
        layout.height,
        tuple(replace(box, x=box.x + right) for box in layout.boxes),
        tuple(
            replace(k, start=at(k.start), control=at(k.control), end=at(k.end), place=at(k.place)) for k in layout.links
        ),
        tuple(replace(node, x=node.x + right, place=at(node.place)) for node in layout.nodes),
    )


def _text_width(name: str, units: str) -> float:
    return max(96.0, 8.0 * len(units) + 26.0, 10.0 * len(name) + 26.0)


def _ordered_rows(model: Model, levels: dict[str, int]) -> list[list[str]]:
    """The layers of each level, ordered so that few edges cross: repeated sorting by the neighbours' mean place."""
    rows = [[n for n in model.layers if levels[n] == k] for k in range(max(levels.values()) + 1)]
    for sweep in range(2 * _SWEEPS):
        order = range(1, len(rows)) if sweep % 2 == 0 else range(len(rows) - 2, -1, -1)
        for k in order:
            other = rows[k - 1] if sweep % 2 == 0 else rows[k + 1]
            rows[k] = sorted(rows[k], key=lambda n: _mean_place(model, n, other, rows[k].index(n)))
    return rows


def _mean_place(model: Model, name: str, row: list[str], otherwise: float) -> float:
    """The mean of the neighbours' relative places in a row, or the layer's own place where it has none there."""
    near = [row.index(n) for n in _near(model, name) if n in row]
    return sum(near) / len(near) if near else otherwise


def _columns(model: Model, rows: list[list[str]], pitch: float) -> dict[str, float]:
    """The x of each layer's centre: near the mean of its neighbours one level down, at least `pitch` from the next."""
    x: dict[str, float] = {}
    for k, row in enumerate(rows):
        wished = []
        for i, name in enumerate(row):
            below = [x[n] for n in _near(model, name) if k and n in rows[k - 1]]
            wished.append(sum(below) / len(below) if below else i * pitch)
        x.update(zip(row, _kept_apart(wished, pitch), strict=True))
    return x


def _kept_apart(wished: list[float], pitch: float) -> list[float]:
    """Places in the same order, at least `pitch` apart, whose mean distance from the wished ones is 0."""
    placed: list[float] = []
    for place in wished:
        placed.append(max(place, placed[-1] + pitch) if placed else place)
    shift = (sum(wished) - sum(placed)) / len(placed)
    return [place + shift for place in placed]


def _reach(row: list[str], layers: tuple[str, ...]) -> int:
    """How many places apart two layers of one level stand."""
    return abs(row.index(layers[0]) - row.index(layers[1]))


def _links(model: Model, boxes: dict[str, Box], rows: list[list[str]]) -> tuple[Link, ...]:
    """The curves of all edges of two layers or one; those of several kinds between two layers are several."""
    names: dict[Key, list[str]] = {}
    for edge in model.all_edges:
        if len(edge.layers) == 2:
            names.setdefault((_ends(edge, boxes), edge.kind), []).append(unicode_name(edge.weight))
    labels = {key: ", ".join(own) for key, own in names.items()}
    curves: dict[Key, Curve] = {}
    for key in labels:
        a, b = (boxes[name] for name in key[0])
        curves[key] = _curve(a, b, rows, boxes, (0.0, 0.0), ())
    shifts = _ports(labels, boxes, curves) if model.directed else {}
    before: list[Curve] = []
    for key, shift in shifts.items():
        curves[key] = _curve(boxes[key[0][0]], boxes[key[0][1]], rows, boxes, shift, before)
        before.append(curves[key])
    links: list[Link] = []
    for key, label in labels.items():
        others = [_along(o, k / 20) for other, o in curves.items() if other != key for k in range(1, 20)]
        texts = [
            (link.place[0] + side * _half_width(link.label), link.place[1]) for link in links for side in (-1, 0, 1)
        ]
        place = _free_place(curves[key], others + texts, _half_width(label))
        links.append(Link(*curves[key], key[0], label, place, key[1]))
    return tuple(links)


def _half_width(label: str) -> float:
    return 3.8 * len(label)


def _ports(labels: dict[Key, str], boxes: dict[str, Box], curves: dict[Key, Curve]) -> dict[Key, tuple[float, float]]:
    """How far from the middle of its boxes each curve begins and ends, so that those of a side do not meet or cross."""
    sides: dict[tuple[str, bool], list[tuple[float, int, Key, int]]] = {}
    for number, (key, curve) in enumerate(curves.items()):
        a, b = (boxes[name] for name in key[0])
        if a.y != b.y:
            for end, own, other in ((0, a, b), (1, b, a)):
                sides.setdefault((own.layer, other.y < own.y), []).append((curve[1][0], number, key, end))
    found: dict[Key, list[float]] = {key: [0.0, 0.0] for key in labels}
    for (name, _), ends in sides.items():
        halves = [_half_width(labels[key]) for _, _, key, _ in sorted(ends)]
        places = [0.0]
        for left, right in pairwise(halves):
            places.append(places[-1] + max(_ASIDE, left + right + 10))
        room = boxes[name].width - 2 * _CORNER
        narrow = min(1.0, room / places[-1]) if places[-1] else 1.0
        for place, (_, _, key, end) in zip(places, sorted(ends), strict=True):
            found[key][end] = narrow * (place - places[-1] / 2)
    return {key: (first, last) for key, (first, last) in found.items()}


def _ends(edge: Edge, boxes: dict[str, Box]) -> tuple[str, ...]:
    """The layers of an edge in the order of its curve: with its direction, or upwards."""
    if edge.kind == "undirected":
        return tuple(sorted(edge.layers, key=lambda n: (-boxes[n].y, boxes[n].x)))
    return (edge.tail, edge.head) if edge.head else edge.layers


def _curve(
    a: Box, b: Box, rows: list[list[str]], boxes: dict[str, Box], shifts: tuple[float, float], others: Iterable[Curve]
) -> Curve:
    """From the top of the lower box to the bottom of the upper; within a level straight, or over the boxes between.

    A loop goes around the upper right corner of its box. A curve over several levels goes around the boxes between.
    """
    if a is b:
        corner = (a.x + a.width / 2, a.y - BOX_HEIGHT / 2)
        return (corner[0] - 30, corner[1]), (corner[0] + _LOOP, corner[1] - _LOOP), (corner[0], corner[1] + 18)
    if a.y < b.y or (a.y == b.y and a.x > b.x):
        start, control, end = _curve(b, a, rows, boxes, shifts[::-1], others)
        return end, control, start
    if a.y != b.y:
        start, end = (a.x + shifts[0], a.y - BOX_HEIGHT / 2), (b.x + shifts[1], b.y + BOX_HEIGHT / 2)
        return start, _around(start, end, boxes.values(), others), end
    reach = next(_reach(row, (a.layer, b.layer)) for row in rows if a.layer in row)
    middle = (a.x + b.x) / 2
    if reach == 1:
        return (a.x + a.width / 2, a.y), (middle, a.y), (b.x - b.width / 2, b.y)
    top = a.y - BOX_HEIGHT / 2
    return (a.x, top), (middle, top - 68.0 * (reach - 1)), (b.x, top)


def _around(start: Point, end: Point, boxes: Iterable[Box], others: Iterable[Curve]) -> Point:
    """The control point of a curve between two levels: the middle, or as far aside as to pass by all boxes between.

    It passes by the middles of the other curves too.
    """
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    inside = [b for b in boxes if end[1] < b.y - BOX_HEIGHT / 2 and b.y + BOX_HEIGHT / 2 < start[1]]
    if not inside:
        return middle
    apart = [(x, y) for x, y in (_along(other, 0.5) for other in others) if end[1] < y < start[1]]

    def is_free(control: Point) -> bool:
        points = [_along((start, control, end), k / 40) for k in range(1, 40)]
        return all(_clears(points, box) for box in inside) and all(
            hypot(x - u, y - v) > _PASSING for x, y in points for u, v in apart
        )

    tries = (sign * step for step in range(0, 10**5, 8) for sign in (1, -1))
    return next((x, middle[1]) for t in tries if is_free((x := middle[0] + t, middle[1])))


def _clears(points: Iterable[Point], box: Box) -> bool:
    """Whether a curve keeps away from a box."""
    return all(
        abs(x - box.x) > box.width / 2 + _PASSING or abs(y - box.y) > BOX_HEIGHT / 2 + _PASSING / 2 for x, y in points
    )


def _half_level(layers: tuple[str, ...], levels: dict[str, int]) -> float:
    """The height of a multiplicative edge's node: between two levels, where no box is."""
    return floor(sum(levels[n] for n in layers) / len(layers)) + 0.5


def _nodes(model: Model, boxes: dict[str, Box], levels: dict[str, int], ground: float) -> tuple[Node, ...]:
    """The nodes of multiplicative edges: each near the middle of its layers, clear of loops and other nodes."""
    taken: dict[float, list[float]] = {}  # places along each height
    for edge in model.edges:
        if edge.lateral:
            box = boxes[edge.layers[0]]
            taken.setdefault(levels[box.layer] + 0.5, []).append(box.x + box.width / 2 + _LOOP_ROOM / 2)
    found = []
    for edge in model.edges:
        if len(edge.layers) > 2:
            height = _half_level(edge.layers, levels)
            row = taken.setdefault(height, [])
            middle = sum(boxes[n].x for n in edge.layers) / len(edge.layers)
            tries = (middle + sign * step for step in range(0, 10**4, 4) for sign in (1, -1))
            x = next(t for t in tries if t >= _APART / 2 and all(abs(t - other) >= _APART for other in row))
            row.append(x)
            y = ground - height * _RISE
            found.append(Node(x, y, edge.layers, unicode_name(edge.weight), (x + 18, y - 12)))
    return tuple(found)


def _spokes(nodes: tuple[Node, ...], boxes: dict[str, Box]) -> list[Link]:
    """The lines from each node to its layers: to the top of those below, to the bottom of those above."""
    out = []
    for node in nodes:
        for name in node.layers:
            box = boxes[name]
            end = (box.x, box.y + (-BOX_HEIGHT if box.y > node.y else BOX_HEIGHT) / 2)
            middle = ((node.x + end[0]) / 2, (node.y + end[1]) / 2)
            out.append(Link((node.x, node.y), middle, end, (name,), "", middle))
    return out


def _free_place(curve: Curve, taken: list[Point], half: float) -> Point:
    """A point on the curve for its label: the middle where it is free, else the place farthest from what is taken."""
    places = [_along(curve, t) for t in (0.5, 0.38, 0.62, 0.3, 0.7, 0.22, 0.78)]
    room = [min((hypot(max(0.0, abs(x - u) - half), y - v) for u, v in taken), default=_CLEAR) for x, y in places]
    return next((place for place, r in zip(places, room, strict=True) if r >= _CLEAR), places[room.index(max(room))])


def _along(curve: Curve, t: float) -> Point:
    """The point at t in [0, 1] along the curve."""
    start, control, end = curve
    a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t**2
    return a * start[0] + b * control[0] + c * end[0], a * start[1] + b * control[1] + c * end[1]
