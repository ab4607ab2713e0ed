"""The layer graph: Gibbs blocks, closed free energies, greedy stages."""

from __future__ import annotations

from itertools import combinations, pairwise, product

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgmdsl.compiler.check import check_model
from pgmdsl.compiler.graph import (
    closed_visible,
    gibbs_blocks,
    greedy_stages,
    legal_phases,
    untrained_by_greedy,
)
from pgmdsl.compiler.model import Model
from pgmdsl.grammar.diagnostics import Diagnostics
from pgmdsl.grammar.parse import parse_file
from pgmdsl.grammar.source import Source


def model_of(layers: str, edges: str) -> Model:
    """`layers`: names, a visible one begins with v or y, a given one with x; `edges`: such as v-h, v-v, v-h-g."""
    roles = {"v": "visible", "y": "visible", "x": "given"}
    lines = [f"{roles.get(name[0], 'hidden')} {name} : binary[2]" for name in layers.split()]
    lines += [(" -- " if edge.count("-") == 1 else " * ").join(edge.split("-")) for edge in edges.split()]
    source = Source("model.ebm", "model X\n" + "\n".join(lines) + "\n")
    diagnostics = Diagnostics(source)
    model = check_model(source, parse_file(source, diagnostics), diagnostics, {})
    assert model is not None
    return model


@st.composite
def models(draw: st.DrawFn, wide: bool = False) -> Model:
    """Random layer graphs; if `wide` with given layers, lateral edges and edges of three layers."""
    hidden = draw(st.lists(st.sampled_from("hhvx" if wide else "hv"), max_size=7))
    names = ["v0", *(f"{kind}{i + 1}" for i, kind in enumerate(hidden))]
    found = [pair for pair in combinations(names, 2) if {n[0] for n in pair} != {"x"}]
    if wide:
        found += [(name, name) for name in names if name[0] != "x"]
        found += [three for three in combinations(names, 3) if {n[0] for n in three} != {"x"}]
    edges = draw(st.lists(st.sampled_from(found), unique=True)) if found else []
    order = draw(st.permutations(names))
    return model_of(" ".join(order), " ".join("-".join(edge) for edge in edges))


@given(models(wide=True))
def test_blocks_partition_the_layers_and_cut_every_edge(model: Model) -> None:
    blocks = gibbs_blocks(model)
    assert sorted(name for block in blocks for name in block) == sorted(n for n in model.layers if n[0] != "x")
    block_of = {name: i for i, block in enumerate(blocks) for name in block}
    for edge in model.edges:
        found = [block_of[name] for name in set(edge.layers) & block_of.keys()]
        assert len(set(found)) == len(found)
    order = list(model.layers)
    assert all(list(block) == sorted(block, key=order.index) for block in blocks)
    lowest = next(name for name in order if name.startswith("v"))
    assert lowest in blocks[-1]
    assert blocks == gibbs_blocks(model)


@given(models())
def test_blocks_are_few(model: Model) -> None:
    graph = networkx.Graph([pair for e in model.edges for pair in combinations(set(e.layers), 2)])
    blocks = gibbs_blocks(model)
    if networkx.is_bipartite(graph):
        assert len(blocks) == (2 if graph.number_of_edges() else len(blocks))
        assert len(blocks) <= 2
    else:
        assert 3 <= len(blocks) <= 1 + max(degree for _, degree in graph.degree())


@pytest.mark.parametrize(
    ("layers", "edges", "blocks"),
    [
        ("v h", "v-h", (("h",), ("v",))),
        ("v h1 h2", "v-h1 h1-h2", (("h1",), ("v", "h2"))),
        ("v h1 h2 h3", "v-h1 h1-h2 h2-h3", (("h1", "h3"), ("v", "h2"))),
        ("h v", "v-h", (("h",), ("v",))),
        ("v y h", "v-h y-h", (("h",), ("v", "y"))),
        ("v h1 h2", "v-h1 h1-h2 v-h2", (("h1",), ("h2",), ("v",))),
        ("v h", "", (("h",), ("v",))),
        ("v", "", (("v",),)),
        ("v h", "v-h v-v h-h", (("h",), ("v",))),
        ("v x h", "v-h x-h x-v", (("h",), ("v",))),
        ("v h1 h2", "v-h1-h2", (("h1",), ("h2",), ("v",))),
        ("x v h", "x-v-h", (("h",), ("v",))),
    ],
)
def test_blocks_of_known_models(layers: str, edges: str, blocks: tuple[tuple[str, ...], ...]) -> None:
    assert gibbs_blocks(model_of(layers, edges)) == blocks


@pytest.mark.parametrize(
    ("layers", "edges", "closed"),
    [
        ("v h", "v-h", ("v",)),
        ("v y h g", "v-h y-h v-g v-y", ("v", "y")),
        ("v h1 h2", "v-h1 h1-h2", ()),
        ("v", "", ("v",)),
        ("v h", "v-h v-v", ("v",)),
        ("v h", "v-h h-h", ()),
        ("v h g", "v-h-g", ()),
        ("v y h", "v-y-h", ("v", "y")),
        ("v x h", "v-x-h x-h", ("v",)),
    ],
)
def test_closed_visible(layers: str, edges: str, closed: tuple[str, ...]) -> None:
    assert closed_visible(model_of(layers, edges)) == closed


@pytest.mark.parametrize(
    ("layers", "edges", "stages"),
    [
        ("v h", "v-h", [("h", ("v",), {"h": 1, "v": 1})]),
        ("v h1 h2", "v-h1 h1-h2", [("h1", ("v",), {"h1": 2, "v": 1}), ("h2", ("h1",), {"h2": 1, "h1": 2})]),
        (
            "v h1 h2 h3",
            "v-h1 h1-h2 h2-h3",
            [
                ("h1", ("v",), {"h1": 2, "v": 1}),
                ("h2", ("h1",), {"h2": 2, "h1": 2}),
                ("h3", ("h2",), {"h3": 1, "h2": 2}),
            ],
        ),
        # The label joins the top: it is a lower neighbour of h2, and its input is not doubled.
        (
            "v h1 y h2",
            "v-h1 h1-h2 y-h2",
            [("h1", ("v",), {"h1": 2, "v": 1}), ("h2", ("h1", "y"), {"h2": 1, "h1": 2, "y": 1})],
        ),
        # Two pathways that meet.
        (
            "v1 v2 h1 h2 g",
            "v1-h1 v2-h2 h1-g h2-g",
            [
                ("h1", ("v1",), {"h1": 2, "v1": 1}),
                ("h2", ("v2",), {"h2": 2, "v2": 1}),
                ("g", ("h1", "h2"), {"g": 1, "h1": 2, "h2": 2}),
            ],
        ),
        ("h v", "v-h", []),
        ("h1 h2 v", "h1-h2", []),
        # No data reaches h1 from below, so the stage of h2 does without it.
        ("h1 v h2 h3", "h1-h2 v-h2 h2-h3", [("h2", ("v",), {"h2": 2, "v": 1}), ("h3", ("h2",), {"h3": 1, "h2": 2})]),
        # Lateral edges belong to the stages that hold their layer.
        ("v h", "v-v v-h h-h", [("h", ("v",), {"h": 1, "v": 1})]),
        # A given layer is lower wherever it stands, and feeds no stage alone.
        ("v h x", "v-h x-h", [("h", ("v", "x"), {"h": 1, "v": 1, "x": 1})]),
        ("x v h g", "x-h v-g h-g", [("g", ("v",), {"g": 1, "v": 1})]),
        ("x v h", "x-v-h", [("h", ("x", "v"), {"h": 1, "x": 1, "v": 1})]),
        # A stage holds a multiplicative edge only with all its layers.
        ("v h g", "v-h-g", []),
        (
            "v h g",
            "v-h v-h-g",
            [("h", ("v",), {"h": 2, "v": 1}), ("g", ("v", "h"), {"g": 1, "v": 1, "h": 2})],
        ),
        ("v y h", "v-y-h", [("h", ("v", "y"), {"h": 1, "v": 1, "y": 1})]),
    ],
)
def test_greedy_stages(layers: str, edges: str, stages: list[tuple[str, tuple[str, ...], dict[str, float]]]) -> None:
    found = [(s.upper, s.lower, dict(s.scale)) for s in greedy_stages(model_of(layers, edges))]
    assert found == stages


@given(models())
def test_stages_follow_the_data(model: Model) -> None:
    """Lower layers of a stage are visible or have an earlier stage, and none that could be there is left out."""
    order = list(model.layers)
    fed = {name for name in order if name.startswith("v")}
    for stage in greedy_stages(model):
        assert set(stage.lower) == fed & set(model.neighbours(stage.upper)) & set(order[: order.index(stage.upper)])
        assert stage.scale.keys() == {stage.upper, *stage.lower}
        fed.add(stage.upper)
    for name in set(order) - fed:
        assert not fed & set(model.neighbours(name)) & set(order[: order.index(name)])


@given(models(wide=True))
def test_a_stage_is_fed_by_edges_that_it_holds(model: Model) -> None:
    """Every lower layer of a stage is visible, given or of an earlier stage, and joined to its upper layer within."""
    fed = {name for name in model.layers if name[0] != "h"}
    for stage in greedy_stages(model):
        members = {stage.upper, *stage.lower}
        held = [set(edge.layers) for edge in model.edges if set(edge.layers) <= members and stage.upper in edge.layers]
        assert set().union(*held) == members
        assert set(stage.lower) <= fed
        assert any(name[0] != "x" for name in stage.lower)
        fed.add(stage.upper)


@given(models(wide=True))
def test_every_edge_is_trained_or_named(model: Model) -> None:
    stages = [{stage.upper, *stage.lower} for stage in greedy_stages(model)]
    for edge in model.edges:
        assert any(set(edge.layers) <= stage for stage in stages) != (edge.weight in untrained_by_greedy(model))


@given(models(wide=True))
def test_greedy_is_legal_exactly_when_it_has_a_stage(model: Model) -> None:
    reasons = legal_phases(model)
    assert reasons["fit"] is None
    assert (reasons["greedy"] is None) == bool(greedy_stages(model))


def test_a_complete_graph_has_a_block_for_each_layer() -> None:
    names = ["v", *(f"h{i}" for i in range(5))]
    edges = " ".join(f"{a}-{b}" for a, b in product(names, names) if a < b)
    assert len(gibbs_blocks(model_of(" ".join(names), edges))) == 6


def test_an_odd_ring_has_three_blocks() -> None:
    names = ["v", *(f"h{i}" for i in range(6))]
    edges = " ".join(f"{a}-{b}" for a, b in pairwise([*names, "v"]))
    assert len(gibbs_blocks(model_of(" ".join(names), edges))) == 3
