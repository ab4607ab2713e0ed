"""The layer graph and what follows from it: Gibbs blocks, free energies that close, greedy stages, legal phases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pgmdsl.compiler.artifact import GreedyStage
from pgmdsl.compiler.model import Model

if TYPE_CHECKING:
    import networkx

# Orders in which networkx colours greedily. All are deterministic on nodes that are whole numbers.
_STRATEGIES = ("DSATUR", "smallest_last", "largest_first", "connected_sequential_bfs")


def layer_graph(model: Model) -> networkx.Graph:
    """The layers as nodes (`role`, `unit`, `dims` as text), in file order, and an edge where weights join two.

    An edge's `weight` names its weights, separated by commas.
    """
    import networkx

    graph = networkx.Graph(name=model.name)
    for layer in model.layers.values():
        graph.add_node(layer.name, role=layer.role, unit=layer.unit.name, dims=", ".join(str(d) for d in layer.dims))
    for edge in model.edges:
        first, second = edge.layers
        before = graph.get_edge_data(first, second, default={}).get("weight")
        graph.add_edge(first, second, weight=f"{before}, {edge.weight}" if before else edge.weight)
    return graph


def gibbs_blocks(model: Model) -> tuple[tuple[str, ...], ...]:
    """The layers in blocks whose members share no edge, so that a block is sampled at once given the others.

    Two blocks if the graph has no odd cycle, else as few as the best of several greedy colourings has. The block
    that holds the lowest visible layer comes last, so that a sweep from data first samples what touches the data
    (odd layers of a chain before even ones). The same model always has the same blocks.
    """
    import networkx

    names = list(model.layers)
    number = {name: i for i, name in enumerate(names)}
    graph = networkx.Graph()
    graph.add_nodes_from(range(len(names)))
    graph.add_edges_from(sorted((number[e.layers[0]], number[e.layers[1]]) for e in model.edges))
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
    """The visible layers if no two hidden layers share an edge, so that all hidden units sum out at once; else ()."""
    hidden = {layer.name for layer in model.layers.values() if layer.role == "hidden"}
    if any(set(edge.layers) <= hidden for edge in model.edges):
        return ()
    return tuple(layer.name for layer in model.layers.values() if layer.role == "visible")


def greedy_stages(model: Model) -> tuple[GreedyStage, ...]:
    """The restricted machines of greedy pretraining, bottom up: each hidden layer with its lower neighbours.

    Lower is earlier in the file; a hidden lower neighbour that has no stage of its own is left out, as no pass from
    the data reaches it, and a hidden layer that then has none has no stage. The input of a layer is doubled within its
    stage where it will also have input from its other side once composed: the upper layer if it has neighbours above,
    a hidden lower layer since it has neighbours below.

    Source: Salakhutdinov and Hinton (2009), section 3.1, eqs. 15-16; with both layers of an intermediate stage
    doubled, which is an ordinary machine whose weights are halved on composing.
    """
    order = {name: i for i, name in enumerate(model.layers)}
    fed = {layer.name for layer in model.layers.values() if layer.role == "visible"}
    stages = []
    for layer in model.layers.values():
        near = model.neighbours(layer.name)
        below = tuple(name for name in near if order[name] < order[layer.name] and name in fed)
        if layer.role != "hidden" or not below:
            continue
        fed.add(layer.name)
        above = any(order[name] > order[layer.name] for name in near)
        scale = {name: 2.0 if model.layers[name].role == "hidden" else 1.0 for name in below}
        stages.append(GreedyStage(layer.name, below, {**scale, layer.name: 2.0 if above else 1.0}))
    return tuple(stages)


def untrained_by_greedy(model: Model) -> tuple[str, ...]:
    """The weights that no greedy stage trains: those of edges with no stage that holds both layers."""
    stages = [{stage.upper, *stage.lower} for stage in greedy_stages(model)]
    reached = {e.weight for e in model.edges if any(set(e.layers) <= stage for stage in stages)}
    return tuple(dict.fromkeys(edge.weight for edge in model.edges if edge.weight not in reached))


def legal_phases(model: Model) -> Mapping[str, str | None]:
    """The phases of training, each with None if the model allows it, else with the reason why not."""
    hidden = any(layer.role == "hidden" for layer in model.layers.values())
    reason = None
    if not hidden:
        reason = "the model has no hidden layer"
    elif not greedy_stages(model):
        reason = "no hidden layer joins a visible layer that is declared before it"
    return {"greedy": reason, "fit": None}
