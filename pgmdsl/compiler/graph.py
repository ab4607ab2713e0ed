"""The layer graph and what follows from it: Gibbs blocks, free energies that close, greedy stages, legal phases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

from pgmdsl.compiler.artifact import GreedyStage
from pgmdsl.compiler.model import Model

# Orders in which networkx colours greedily. All are deterministic on nodes that are whole numbers.
_STRATEGIES = ("DSATUR", "smallest_last", "largest_first", "connected_sequential_bfs")


def gibbs_blocks(model: Model) -> tuple[tuple[str, ...], ...]:
    """The layers in blocks whose members share no edge, so that a block is sampled at once given the others.

    Given layers are in none. Two blocks if the graph has no odd cycle, else as few as the best of several greedy
    colourings has. The block that holds the lowest visible layer comes last, so that a sweep from data first samples
    what touches the data (odd layers of a chain before even ones). The same model always has the same blocks.
    """
    import networkx

    names = [layer.name for layer in model.layers.values() if layer.role != "given"]
    number = {name: i for i, name in enumerate(names)}
    graph = networkx.Graph()
    graph.add_nodes_from(range(len(names)))
    joined = (sorted({number[name] for name in edge.layers if name in number}) for edge in model.edges)
    graph.add_edges_from(sorted(pair for members in joined for pair in combinations(members, 2)))
    visible = [number[layer.name] for layer in model.layers.values() if layer.role == "visible"]
    if networkx.is_bipartite(graph):
        colour = _two_colours(graph, visible)
    else:
        tries = [networkx.greedy_color(graph, strategy=strategy) for strategy in _STRATEGIES]
        colour = min(tries, key=lambda found: max(found.values()))
    blocks: dict[int, list[int]] = {}
    for node in range(len(names)):
        blocks.setdefault(colour[node], []).append(node)
    lowest = visible[0] if visible else None
    ordered = sorted(blocks.values(), key=lambda block: (lowest in block, block[0]))
    return tuple(tuple(names[node] for node in block) for block in ordered)


def _two_colours(graph: Any, visible: Iterable[int]) -> dict[int, int]:
    """Two colours for a bipartite graph: in each connected part the lowest visible layer has colour 1.

    A part without a visible layer has colour 0 at its lowest layer.
    """
    import networkx

    seen = set(visible)
    colour: dict[int, int] = {}
    for part in networkx.connected_components(graph):
        anchor = min(part & seen, default=min(part))
        for node, distance in networkx.single_source_shortest_path_length(graph, anchor).items():
            colour[node] = (distance + (anchor in seen)) % 2
    return colour


def closed_visible(model: Model) -> tuple[str, ...]:
    """The visible layers if no two hidden units share an edge, so that all hidden units sum out at once; else ()."""
    hidden = {layer.name for layer in model.layers.values() if layer.role == "hidden"}
    if any(sum(name in hidden for name in edge.layers) > 1 for edge in model.edges):
        return ()
    return tuple(layer.name for layer in model.layers.values() if layer.role == "visible")


def greedy_stages(model: Model) -> tuple[GreedyStage, ...]:
    """The restricted machines of greedy pretraining, bottom up: each hidden layer with its lower neighbours.

    Lower is earlier in the file, and every given layer is lower. A layer is fed if a pass from the data reaches it:
    visible and given ones, and hidden ones that have a stage. A stage holds the edges of its hidden layer whose other
    layers are lower and fed (of a multiplicative edge all of them), and those among these layers, lateral ones
    included; without an edge to a layer that is not given, there is no stage. The input of a layer is doubled within
    its stage where it will also have input from its other side once composed: the upper layer if it has neighbours
    above, a hidden lower layer since it has neighbours below.

    Directed edges count as undirected ones, but for doubling: a layer that hears its other side along a directed edge
    does not hear both sides at once.

    Source: Salakhutdinov and Hinton (2009), section 3.1, eqs. 15-16; with both layers of an intermediate stage
    doubled, which is an ordinary machine whose weights are halved on composing. Without doubling: Hinton, Osindero and
    Teh (2006), section 4.
    """
    every = (*model.edges, *model.directed)
    order = {name: -1 if layer.role == "given" else i for i, (name, layer) in enumerate(model.layers.items())}
    fed = {layer.name for layer in model.layers.values() if layer.role != "hidden"}
    stages = []
    for upper, layer in model.layers.items():
        if layer.role != "hidden":
            continue
        lower = {name for name in fed if order[name] < order[upper]}
        others = [set(edge.layers) - {upper} for edge in every if upper in edge.layers and not edge.lateral]
        reached = {name for names in others if names <= lower for name in names}
        if all(model.layers[name].role == "given" for name in reached):
            continue
        fed.add(upper)
        near = model.neighbours(upper)
        above = any(order[name] > order[upper] for name in near) and any(name in near for name in reached)
        below = tuple(name for name in model.layers if name in reached)
        scale = {name: 2.0 if _hears_below(model, order, name) and name in near else 1.0 for name in below}
        stages.append(GreedyStage(upper, below, {**scale, upper: 2.0 if above else 1.0}))
    return tuple(stages)


def _hears_below(model: Model, order: Mapping[str, int], name: str) -> bool:
    """Whether a hidden layer has undirected edges to layers below it."""
    return model.layers[name].role == "hidden" and any(order[n] < order[name] for n in model.neighbours(name))


def untrained_by_greedy(model: Model) -> tuple[str, ...]:
    """The weights that no greedy stage trains: those of edges of which no stage holds all layers."""
    stages = [{stage.upper, *stage.lower} for stage in greedy_stages(model)]
    every = (*model.edges, *model.directed)
    reached = {e.weight for e in every if any(set(e.layers) <= stage for stage in stages)}
    return tuple(dict.fromkeys(edge.weight for edge in every if edge.weight not in reached))


def legal_phases(model: Model) -> Mapping[str, str | None]:
    """The phases of training, each with None if the model allows it, else with the reason why not."""
    hidden = any(layer.role == "hidden" for layer in model.layers.values())
    reason, upward = None, None
    if not hidden:
        reason = "the model has no hidden layer"
    elif not greedy_stages(model):
        reason = "no edge joins a hidden layer to visible layers that are declared before it"
    if not model.directed:
        upward = "the model has no directed edges"
    elif not model.recognition:
        upward = "the model has no recognition edges"
    return {"greedy": reason, "fit": None, "wake_sleep": upward}
