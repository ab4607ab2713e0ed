"""The model's picture: its layers as boxes, visible ones shaded, its edges as lines that carry their weights' names.

Directed edges are arrows to the child, recognition edges dashed arrows to the layer that is recognised.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import hypot
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from pgmdsl.compiler.model import Model
from pgmdsl.compiler.picture_layout import BOX_HEIGHT, Box, Layout, Link, Node, Point, lay_out, layer_levels, units_text
from pgmdsl.grammar.diagnostics import Error

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FILL = {"visible": "#cfdcea", "hidden": "#ffffff", "given": "#eeeeee"}
_INK, _LINE = "#1b2733", "#5b6b7b"
_FONT = "DejaVu Sans, Verdana, Helvetica, sans-serif"
_DOT = 4.5  # the radius of a multiplicative edge's node
_HEAD = 12.0  # the length of an arrow's head
_NAME_SIZE, _UNITS_SIZE, _LABEL_SIZE = 16, 12, 13  # in pixels


def model_dot(model: Model) -> str:
    """The layer graph in the DOT language of Graphviz, visible layers at the bottom."""
    levels = layer_levels(model)
    graph, line = ("digraph", "->") if model.directed else ("graph", "--")
    lines = [f"{graph} {_quoted(model.name)} {{", "  rankdir = BT", '  node [shape = box, style = "rounded,filled"]']
    for layer in model.layers.values():
        label = f"{layer.name} · {units_text(model, layer)}"
        lines.append(f'  {_quoted(layer.name)} [label = {_quoted(label)}, fillcolor = "{_FILL[layer.role]}"]')
    for level in sorted(set(levels.values())):
        same = "; ".join(_quoted(n) for n, k in levels.items() if k == level)
        lines.append(f"  {{ rank = same; {same} }}")
    for number, edge in enumerate(model.all_edges):
        if len(edge.layers) > 2:
            node = _quoted(f"* {number}")
            lines.append(f"  {node} [shape = point, width = 0.1, xlabel = {_quoted(edge.weight)}]")
            plain = " [dir = none]" if model.directed else ""
            lines += [f"  {node} {line} {_quoted(name)}{plain}" for name in edge.layers]
            continue
        lower, upper = sorted(edge.layers, key=lambda n: levels[n])
        style = [f"label = {_quoted(' ' + edge.weight)}"]
        if model.directed:
            target = edge.head
            style.append(f"dir = {'none' if edge.kind == 'undirected' else 'forward' if upper == target else 'back'}")
        style += ["style = dashed"] if edge.kind == "recognition" else []
        lines.append(f"  {_quoted(lower)} {line} {_quoted(upper)} [{', '.join(style)}]")
    return "\n".join([*lines, "}", ""])


def model_svg(model: Model) -> str:
    """The picture as an SVG document; each layer's group has its name as id and a title for the pointer."""
    layout = lay_out(model)
    width, height = f"{layout.width:g}", f"{layout.height:g}"
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="{_FONT}" text-anchor="middle" fill="{_INK}" role="img">',
        f"<title>{escape(model.name)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<g stroke="{_LINE}" stroke-width="1.6" fill="none">',
        *(_svg_line(link) for link in layout.links),
        "</g>",
        *(f'<path d="M{_svg_points(_head(link))} Z" fill="{_LINE}"/>' for link in layout.links if _is_arrow(link)),
        *(f'<circle cx="{n.x:g}" cy="{n.y:g}" r="{_DOT}" fill="{_INK}"/>' for n in layout.nodes),
        *(_svg_label(link) for link in layout.links if link.label),
        *(_svg_label(node) for node in layout.nodes),
        *(_svg_box(box) for box in layout.boxes),
        "</svg>",
        "",
    ]
    return "\n".join(out)


def save_picture(model: Model, path: Path) -> None:
    """Write the picture to `path`, in the format of its suffix: .svg, .png, .pdf or .dot.

    Raises:
        Error: for any other suffix.
        OSError: where the file cannot be written.
    """
    match path.suffix.lower():
        case ".svg":
            path.write_text(model_svg(model), encoding="utf-8", newline="\n")
        case ".dot":
            path.write_text(model_dot(model), encoding="utf-8", newline="\n")
        case ".png":
            _figure(lay_out(model)).savefig(path, format="png", dpi=192, metadata={"Software": None})
        case ".pdf":
            _figure(lay_out(model)).savefig(path, format="pdf", metadata={"CreationDate": None})
        case suffix:
            raise Error(
                f"a picture of a model cannot be written as {path.name}: {suffix or 'a name without suffix'} is no "
                "picture format here; end the name with .svg, .png, .pdf or .dot"
            )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _is_arrow(link: Link) -> bool:
    return link.kind != "undirected"


def _head(link: Link) -> tuple[Point, Point, Point]:
    """The corners of an arrow's head, its tip first."""
    (x, y), (xc, yc) = link.end, link.control
    length = hypot(x - xc, y - yc)
    u, v = (x - xc) / length, (y - yc) / length
    back, half = _HEAD, _HEAD * 0.42
    base = (x - back * u, y - back * v)
    return link.end, (base[0] - half * v, base[1] + half * u), (base[0] + half * v, base[1] - half * u)


def _svg_points(points: Iterable[Point]) -> str:
    return " L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _svg_line(link: Link) -> str:
    (x0, y0), (xc, yc), (x1, y1) = link.start, link.control, link.end
    dashed = ' stroke-dasharray="6 4"' if link.kind == "recognition" else ""
    return f'<path d="M{x0:g} {y0:g} Q{xc:g} {yc:g} {x1:g} {y1:g}"{dashed}/>'


def _svg_label(link: Link | Node) -> str:
    """The weight's name on a white copy of itself with thick edges, so that the line does not run through it."""
    x, y = link.place
    text = f'x="{x:g}" y="{y + _LABEL_SIZE * 0.35:g}" font-size="{_LABEL_SIZE}" font-style="italic"'
    label = escape(link.label)
    return (
        f'<text {text} stroke="#ffffff" stroke-width="6" stroke-linejoin="round" aria-hidden="true">{label}</text>\n'
        f"<text {text}>{label}</text>"
    )


def _svg_box(box: Box) -> str:
    name, units = (escape(line) for line in box.lines)
    return "\n".join(
        [
            f'<g id="{escape(box.layer)}">',
            f"<title>{escape(f'{box.role} layer {box.layer}')}: {units}</title>",
            f'<rect x="{box.x - box.width / 2:g}" y="{box.y - BOX_HEIGHT / 2:g}" width="{box.width:g}" '
            f'height="{BOX_HEIGHT:g}" rx="10" fill="{_FILL[box.role]}" stroke="{_INK}" stroke-width="1.4"/>',
            f'<text x="{box.x:g}" y="{box.y - 4:g}" font-size="{_NAME_SIZE}" font-weight="bold">{name}</text>',
            f'<text x="{box.x:g}" y="{box.y + 15:g}" font-size="{_UNITS_SIZE}">{units}</text>',
            "</g>",
        ]
    )


def _figure(layout: Layout) -> Figure:
    """The same picture as a Matplotlib figure of the same size at 96 pixels an inch."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(layout.width / 96, layout.height / 96))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, layout.width)
    axes.set_ylim(layout.height, 0)
    axes.set_axis_off()
    for link in layout.links:
        _draw_link(axes, link)
        if link.label:
            _draw_label(axes, link)
    for node in layout.nodes:
        axes.plot([node.x], [node.y], "o", color=_INK, markersize=1.5 * _DOT, zorder=2)
        _draw_label(axes, node)
    for box in layout.boxes:
        _draw_box(axes, box)
    return figure


def _draw_link(axes: Any, link: Link) -> None:
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path as Curve

    curve = Curve([link.start, link.control, link.end], [Curve.MOVETO, Curve.CURVE3, Curve.CURVE3])
    style: Any = {"linestyle": (0, (5, 3.3))} if link.kind == "recognition" else {}
    axes.add_patch(PathPatch(curve, facecolor="none", edgecolor=_LINE, linewidth=1.2, zorder=1, **style))
    if _is_arrow(link):
        axes.add_patch(Polygon(_head(link), facecolor=_LINE, edgecolor="none", zorder=1))


def _draw_label(axes: Any, link: Link | Node) -> None:
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=4.5, foreground="#ffffff")]
    x, y = link.place
    style = {"fontsize": _LABEL_SIZE * 0.75, "style": "italic", "color": _INK, "path_effects": halo}
    axes.text(x, y, link.label, ha="center", va="center", zorder=2, **style)


def _draw_box(axes: Any, box: Box) -> None:
    from matplotlib.patches import FancyBboxPatch

    corner = (box.x - box.width / 2, box.y - BOX_HEIGHT / 2)
    style: Any = {"facecolor": _FILL[box.role], "edgecolor": _INK, "linewidth": 1.05, "zorder": 3}
    axes.add_patch(FancyBboxPatch(corner, box.width, BOX_HEIGHT, "round,pad=0,rounding_size=10", **style))
    name, units = box.lines
    words = {"ha": "center", "va": "baseline", "color": _INK, "zorder": 4}
    axes.text(box.x, box.y - 4, name, fontsize=_NAME_SIZE * 0.75, weight="bold", **words)
    axes.text(box.x, box.y + 15, units, fontsize=_UNITS_SIZE * 0.75, **words)
