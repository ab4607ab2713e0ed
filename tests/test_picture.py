"""Pictures of models: what they show, where it stands, and that every format is written."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread

from pgmdsl.compiler.check import check_model
from pgmdsl.compiler.model import Model
from pgmdsl.compiler.picture import model_dot, model_svg, save_picture
from pgmdsl.compiler.picture_layout import BOX_HEIGHT, Layout, lay_out, layer_levels
from pgmdsl.grammar.diagnostics import Diagnostics, Error, ModelError
from pgmdsl.grammar.parse import parse_file
from pgmdsl.grammar.source import Source

BIMODAL = """model Bimodal(D = 3857, K = 2000, F = 1024, J)
visible image : gaussian[D]
hidden  i1    : binary[F]
hidden  i2    : binary[F]
visible words : softmax[K]
hidden  t1    : binary[F]
hidden  t2    : binary[F]
hidden  joint : binary[J]
image -- i1    : Wi1
i1    -- i2    : Wi2
words -- t1    : Wt1
t1    -- t2    : Wt2
i2    -- joint : Wij
t2    -- joint : Wtj
"""
WIDE = """model Wide(D = 8)
visible v : gaussian[D]
given   x : binary[3]
visible w : replicated_softmax[20]
hidden  h : binary[4]
hidden  g : spin[4]
hidden  t : binary[5]
h -- h : J
w -- h : U
v * h * g : T
x * h * g : S
h -- g : Q
g -- t
h * g * t : R
g -- g
"""
LOOP = """model Loop(D = 28)
visible v  : binary[D, D]
hidden  h1 : binary[100]
hidden  h2 : spin[50]
hidden  h3 : softmax[3, 20]
v  -- h1 : W1
v  -- h2
v  -- h3 : W3
h1 -- h2 : J
h1 -- h3 : L
h2 -- h3 : M
"""
DBN = """model DBN(D = 784, F1 = 500, F2 = 500, F3 = 2000, K = 10)
visible v  : binary[D]
hidden  h1 : binary[F1]
hidden  h2 : binary[F2]
visible y  : softmax[K]
hidden  h3 : binary[F3]
h1 -> v  : W1
h2 -> h1 : W2
h2 -- h3 : W3
y  -- h3 : U
v  ~> h1 : R1
h1 ~> h2 : R2
"""
MIXED = """model Mixed(D = 784, F = 500)
given   x : binary[10]
visible v : binary[D]
hidden h1 : binary[F]
hidden h2 : binary[F]
hidden h3 : binary[F]
visible y : softmax[10]
h1 -> v
x -> v : C
h1 -- h2
h2 -- h3
h1 -- h1 : L
y -- h3 : U
h3 * y * h2 : T
v ~> h1
"""


def checked(text: str) -> Model:
    source = Source("test.ebm", text)
    diagnostics = Diagnostics(source)
    model = check_model(source, parse_file(source, diagnostics), diagnostics, {})
    diagnostics.raise_errors()
    assert model is not None
    return model


def test_levels_are_distances_from_the_visible_layers() -> None:
    levels = layer_levels(checked(BIMODAL))
    assert levels == {"image": 0, "i1": 1, "i2": 2, "words": 0, "t1": 1, "t2": 2, "joint": 3}


def test_a_tree_stands_symmetric() -> None:
    at = {box.layer: box for box in lay_out(checked(BIMODAL)).boxes}
    assert at["image"].x == at["i1"].x == at["i2"].x
    assert at["words"].x == at["t1"].x == at["t2"].x
    assert at["joint"].x == pytest.approx((at["i2"].x + at["t2"].x) / 2)
    assert at["image"].y > at["i1"].y > at["i2"].y > at["joint"].y


def test_boxes_name_layer_unit_and_sizes() -> None:
    lines = {box.layer: box.lines for box in lay_out(checked(BIMODAL)).boxes}
    assert lines["i1"] == ("i₁", "binary[1024]")
    assert lines["joint"] == ("joint", "binary[J]")  # J has no value yet
    assert {b.layer: b.lines for b in lay_out(checked(LOOP)).boxes}["h3"] == ("h₃", "softmax[3, 20]")


def test_lateral_edges_are_loops_at_their_box() -> None:
    layout = lay_out(checked(WIDE))
    loops = {link.label: link for link in layout.links if len(set(link.layers)) == 1 and link.label}
    assert set(loops) == {"J", "W_g_g"}
    boxes = {box.layer: box for box in layout.boxes}
    for link in loops.values():
        box = boxes[link.layers[0]]
        assert link.start[1] == box.y - BOX_HEIGHT / 2  # at its upper side
        assert link.end[0] == box.x + box.width / 2  # at its right side
        assert link.place[0] > box.x + box.width / 2
        assert link.place[1] < box.y - BOX_HEIGHT / 2


def test_multiplicative_edges_are_nodes_with_a_line_to_each_layer() -> None:
    layout = lay_out(checked(WIDE))
    assert {(node.label, node.layers) for node in layout.nodes} == {
        ("T", ("v", "h", "g")),
        ("S", ("x", "h", "g")),
        ("R", ("h", "g", "t")),
    }
    for node in layout.nodes:
        spokes = [link for link in layout.links if link.start == (node.x, node.y)]
        assert [link.layers for link in spokes] == [(name,) for name in node.layers]
        assert all(abs(node.y - box.y) > BOX_HEIGHT / 2 + 10 for box in layout.boxes)
    for one, other in combinations(layout.nodes, 2):
        assert (abs(one.x - other.x), abs(one.y - other.y)) > (20, 0)


def test_svg_shows_every_layer_and_every_weight() -> None:
    root = ET.fromstring(model_svg(checked(LOOP)))
    space = {"s": "http://www.w3.org/2000/svg"}
    assert {g.get("id") for g in root.findall("s:g[@id]", space)} == {"v", "h1", "h2", "h3"}
    texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"W₁", "W_v_h₂", "W₃", "J", "L", "M"} <= set(texts)
    fills = {g.get("id"): g.find("s:rect", space) for g in root.findall("s:g[@id]", space)}
    shades = {name: rect.get("fill") for name, rect in fills.items() if rect is not None}
    assert shades["v"] != shades["h1"] == shades["h2"] == "#ffffff"


PICTURES = {"bimodal": BIMODAL, "loop": LOOP, "wide": WIDE, "dbn": DBN, "mixed": MIXED}


@pytest.mark.parametrize(("name", "text"), PICTURES.items())
def test_pictures_as_text(golden: Callable[[str, str], None], name: str, text: str) -> None:
    golden(f"picture/{name}.svg", model_svg(checked(text)))
    golden(f"picture/{name}.dot", model_dot(checked(text)))


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf", ".dot", ".PNG"])
def test_every_format_is_written_and_written_the_same_again(tmp_path: Path, suffix: str) -> None:
    model = checked(LOOP)
    for name in ("one", "two"):
        save_picture(model, tmp_path / f"{name}{suffix}")
    one, two = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("one", "two"))
    assert one == two
    beginning = {".svg": b"<svg", ".png": b"\x89PNG", ".pdf": b"%PDF", ".dot": b'graph "Loop" {'}[suffix.lower()]
    assert one.startswith(beginning)


def test_png_has_a_shaded_box_where_the_layout_says(tmp_path: Path) -> None:
    model = checked(LOOP)
    save_picture(model, tmp_path / "loop.png")
    picture = imread(tmp_path / "loop.png")
    for box in lay_out(model).boxes:
        corner = picture[round((box.y - BOX_HEIGHT / 2 + 5) * 2), round(box.x * 2)]  # just inside the upper border
        assert (min(corner[:3]) < 0.95) == (box.role == "visible"), box.layer


@pytest.mark.parametrize("name", ["model.jpg", "model"])
def test_other_formats_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Error, match=r"\.svg, \.png, \.pdf or \.dot"):
        save_picture(checked(LOOP), tmp_path / name)
    assert not list(tmp_path.iterdir())


@st.composite
def graphs(draw: st.DrawFn) -> str:
    """Model files over random layer graphs, connected or not."""
    count = draw(st.integers(1, 8))
    names = [draw(st.sampled_from(["h", "layer", "x"])) + str(k) for k in range(count)]
    hidden = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    hidden[0] = False
    pairs = [p for p in combinations(range(count), 2) if draw(st.integers(0, 2)) == 0]
    loops = [k for k in range(count) if draw(st.integers(0, 3)) == 0]
    threes = [t for t in combinations(range(count), 3) if draw(st.integers(0, 9)) == 0][:4]
    lines = [
        f"{'hidden' if h else 'visible'} {n} : binary[{10 ** (k % 4)}]"
        for k, (n, h) in enumerate(zip(names, hidden, strict=True))
    ]
    edges = [f"{names[a]} -- {names[b]}" for a, b in pairs + [(k, k) for k in loops]]
    edges += [" * ".join(names[k] for k in three) for three in threes]
    return "\n".join(["model M", *lines, *edges, ""])


@settings(max_examples=80, deadline=None)
@given(graphs())
def test_no_box_lies_on_another_or_outside(text: str) -> None:
    model = checked(text)
    layout = lay_out(model)
    assert len(layout.boxes) == len(model.layers)
    assert len(layout.nodes) == sum(len(edge.layers) > 2 for edge in model.edges)
    assert sum(bool(link.label) for link in layout.links) == len(model.edges) - len(layout.nodes)
    for a, b in combinations(layout.boxes, 2):
        assert abs(a.y - b.y) > BOX_HEIGHT + 20 or abs(a.x - b.x) > a.width + 20
    for x, y in outline(layout):
        assert 0 <= x <= layout.width
        assert 0 <= y <= layout.height
    assert all(box.role == "hidden" or box.y == max(b.y for b in layout.boxes) for box in layout.boxes)
    ET.fromstring(model_svg(model))


@st.composite
def belief_nets(draw: st.DrawFn) -> str:
    """Model files over random layers with directed edges, most with recognition and undirected edges at the top."""
    count = draw(st.integers(2, 7))
    roles = [
        "visible",
        *draw(st.lists(st.sampled_from(["hidden", "hidden", "visible"]), min_size=count - 1, max_size=count - 1)),
    ]
    edges = [(0, 1)] + [p for p in combinations(range(count), 2) if p != (0, 1) and draw(st.integers(0, 2)) == 0]
    children = {a for a, _ in edges}
    top = [k for k in range(count) if k not in children]
    lines = [f"n{b} -> n{a}" for a, b in edges]
    lines += [f"n{a} -- n{b}" for a, b in combinations(top, 2) if draw(st.booleans())]
    lines += [f"n{a} ~> n{b}" for a, b in edges if roles[b] == "hidden"] if draw(st.booleans()) else []
    return "\n".join(
        ["model M", *(f"{role} n{k} : binary[{10 ** (k % 4)}]" for k, role in enumerate(roles)), *lines, ""]
    )


@settings(max_examples=60, deadline=None)
@given(belief_nets())
def test_arrows_point_down_and_pass_by_boxes(text: str) -> None:
    try:
        model = checked(text)
    except ModelError:  # a hidden layer that nothing observed depends on
        return
    layout = lay_out(model)
    boxes = {box.layer: box for box in layout.boxes}
    for child, parent in (edge.layers for edge in model.directed):
        assert boxes[child].y > boxes[parent].y
    for a, b in combinations(layout.boxes, 2):
        assert abs(a.y - b.y) > BOX_HEIGHT + 20 or abs(a.x - b.x) > a.width + 20
    for x, y in outline(layout):
        assert 0 <= x <= layout.width
        assert 0 <= y <= layout.height
    for link in layout.links:
        if link.kind == "undirected":
            continue
        assert abs(link.end[1] - boxes[link.layers[1]].y) == BOX_HEIGHT / 2
        for t in range(1, 20):
            u = t / 20
            x, y = (
                (1 - u) ** 2 * s + 2 * u * (1 - u) * c + u**2 * e
                for s, c, e in zip(link.start, link.control, link.end, strict=True)
            )
            assert 0 <= x <= layout.width
            assert all(abs(x - b.x) > b.width / 2 or abs(y - b.y) > BOX_HEIGHT / 2 for b in layout.boxes), link
    ET.fromstring(model_svg(model))


def test_labels_beside_the_layer_below_the_top() -> None:
    assert layer_levels(checked(DBN)) == {"v": 0, "h1": 1, "h2": 2, "y": 2, "h3": 3}


def test_arrows_in_every_form(tmp_path: Path) -> None:
    svg, dot = model_svg(checked(DBN)), model_dot(checked(DBN))
    assert svg.count("stroke-dasharray") == 2
    assert svg.count(' Z"') == 4
    assert dot.startswith("digraph")
    assert '"v" -> "h1" [label = " W1", dir = back]' in dot
    assert '"v" -> "h1" [label = " R1", dir = forward, style = dashed]' in dot
    assert '"h2" -> "h3" [label = " W3", dir = none]' in dot
    save_picture(checked(DBN), tmp_path / "dbn.png")
    assert imread(tmp_path / "dbn.png").size


def outline(layout: Layout) -> list[tuple[float, float]]:
    corners = [
        (b.x + s * b.width / 2, b.y + t * BOX_HEIGHT / 2) for b in layout.boxes for s in (-1, 1) for t in (-1, 1)
    ]
    return corners + [x.place for x in (*layout.links, *layout.nodes)] + [(node.x, node.y) for node in layout.nodes]


def test_labels_of_crossing_edges_stand_apart() -> None:
    lines = [
        "model M",
        "visible x : binary[9]",
        "visible y : binary[9]",
        "hidden g : binary[9]",
        "hidden h : binary[9]",
    ]
    edges = ["x -- g : A", "x -- h : B", "y -- g : C", "y -- h : D"]
    places = sorted(link.place for link in lay_out(checked("\n".join([*lines, *edges, ""]))).links)
    for (x, y), (u, v) in combinations(places, 2):
        assert abs(x - u) > 14 or abs(y - v) > 14
    assert len(places) == 4


def test_an_arc_over_other_boxes_clears_them() -> None:
    layout = lay_out(checked(LOOP))
    box = next(b for b in layout.boxes if b.layer == "h2")
    arc = next(link for link in layout.links if set(link.layers) == {"h1", "h3"})
    assert arc.place[1] < box.y - BOX_HEIGHT / 2 - 10


def test_dot_ranks_read_from_the_bottom() -> None:
    ranks = re.findall(r"rank = same; (.*?) \}", model_dot(checked(BIMODAL)))
    levels = layer_levels(checked(BIMODAL))
    found = [{name.strip('"') for name in rank.split("; ")} for rank in ranks]
    assert all(max(levels[n] for n in a) < min(levels[n] for n in b) for a, b in pairwise(found))


def test_svg_and_dot_load_no_matplotlib() -> None:
    code = "import sys, pgmdsl.compiler.picture; sys.exit('matplotlib' in sys.modules or 'sympy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
