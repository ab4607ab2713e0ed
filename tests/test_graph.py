"""The layer graph: Gibbs blocks, closed free energies, greedy stages."""

from __future__ import annotations

from itertools import pairwise, product

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgmdsl.compiler.check import check_model
from pgmdsl.compiler.graph import (
    closed_visible,
    gibbs_blocks,
    greedy_stages,
    layer_graph,
    legal_phases,
    untrained_by_greedy,
)
from pgmdsl.compiler.model import Model
from pgmdsl.grammar.diagnostics import Diagnostics
from pgmdsl.grammar.parse import parse_file
from pgmdsl.grammar.source import Source


def model_of(layers: str, edges: str) -> Model:
    """`layers`: names, a visible one begins with v or y; `edges`: pairs such as v-h."""
    lines = [f"{'visible' if name[0] in 'vy' else 'hidden'} {name} : binary[2]" for name in layers.split()]
    lines += [" -- ".join(edge.split("-")) for edge in edges.split()]
    source = Source("model.ebm", "model X\n" + "\n".join(lines) + "\n")
    diagnostics = Diagnostics(source)
    model = check_model(source, parse_file(source, diagnostics), diagnostics, {})
    assert model is not None
    return model


@st.composite
def models(draw: st.DrawFn) -> Model:
    hidden = draw(st.lists(st.booleans(), max_size=7))
    names = ["v0", *(f"{'h' if is_hidden else 'v'}{i + 1}" for i, is_hidden in enumerate(hidden))]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    order = draw(st.permutations(names))
    return model_of(" ".join(order), " ".join(f"{a}-{b}" for a, b in edges))


@given(models())
def test_blocks_partition_the_layers_and_cut_every_edge(model: Model) -> None:
    blocks = gibbs_blocks(model)
    assert sorted(name for block in blocks for name in block) == sorted(model.layers)
    block_of = {name: i for i, block in enumerate(blocks) for name in block}
    assert all(block_of[a] != block_of[b] for a, b in (edge.layers for edge in model.edges))
    order = list(model.layers)
    assert all(list(block) == sorted(block, key=order.index) for block in blocks)
    lowest = next(name for name in order if name.startswith("v"))
    assert lowest in blocks[-1]
    assert blocks == gibbs_blocks(model)


@given(models())
def test_blocks_are_few(model: Model) -> None:
    graph = layer_graph(model)
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
    ],
)
def test_blocks_of_known_models(layers: str, edges: str, blocks: tuple[tuple[str, ...], ...]) -> None:
    assert gibbs_blocks(model_of(layers, edges)) == blocks


def test_layer_graph() -> None:
    source = Source(
        "m.ebm", "model M(D = 4)\nvisible v : softmax[2, D + 1]\nhidden h : spin[3]\nv -- h : W\nh -- v : U\n"
    )
    diagnostics = Diagnostics(source)
    model = check_model(source, parse_file(source, diagnostics), diagnostics, {})
    assert model is not None
    graph = layer_graph(model)
    assert dict(graph.nodes(data=True)) == {
        "v": {"role": "visible", "unit": "softmax", "dims": "2, D + 1"},
        "h": {"role": "hidden", "unit": "spin", "dims": "3"},
    }
    assert list(graph.edges(data="weight")) == [("v", "h", "W, U")]
    assert graph.name == "M"


@pytest.mark.parametrize(
    ("layers", "edges", "closed"),
    [
        ("v h", "v-h", ("v",)),
        ("v y h g", "v-h y-h v-g v-y", ("v", "y")),
        ("v h1 h2", "v-h1 h1-h2", ()),
        ("v", "", ("v",)),
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


@given(models())
def test_every_edge_is_trained_or_named(model: Model) -> None:
    stages = [{stage.upper, *stage.lower} for stage in greedy_stages(model)]
    for edge in model.edges:
        assert any(set(edge.layers) <= stage for stage in stages) != (edge.weight in untrained_by_greedy(model))


@given(models())
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
