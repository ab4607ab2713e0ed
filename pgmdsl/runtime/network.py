"""Networks grown from models: nodes that answer to weighted inputs, as plain data, and the numbers they start with.

A node has the units of one of the model's layers: a field f = bias + sum over links of (source W), and as its value the
mean of the units' statistic at that field. Inputs are data; `mean/h2` is the model's mean-field mean of h2, a fixed
input. Of an autoencoder `down/h1` is the node that gives h1 back.

- Upwards, each hidden layer hears its lower neighbours: through recognition weights and its recognition bias where it
  has them, else through the weights of the edges. Data is below everything, and a layer that is to be predicted absent.
- In a classifier, hidden layers on the other side enter by their means, so that each node begins at its layer's own
  mean-field mean (Salakhutdinov 2015, section 4.2, for any number of layers and pathways).
- In an autoencoder they are absent; a layer that has neighbours on both sides then hears what it does hear twice, as in
  greedy pretraining, of which the unrolled stack of restricted machines is the network (Hinton and Salakhutdinov 2006).
- Directed layers expect nothing from their other side.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Artifact, ArtifactEdge
from pgmdsl.compiler.model import PhaseSpec
from pgmdsl.grammar.syntax import Name
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.random import normals, stream_key

Array = NDArray[Any]
Answer = Literal["mean", "linear", "logistic"]


@dataclass(frozen=True, slots=True)
class Link:
    """What a node hears from one source: `factor` times the model's weights in `parts`, transposed where said."""

    source: str
    parts: tuple[tuple[str, bool], ...]
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Node:
    """A layer of the network.

    Attributes:
        name: its own.
        layer: the model's layer whose units it has.
        links: what it hears.
        bias: the model's bias it starts with.
        counted: the inputs by whose lengths the bias is multiplied.
        typical: the count layers by whose mean lengths the bias is multiplied once, at the start.
        answer: its value: the mean of the units' statistic, the field itself, or the field's logistic function.
    """

    name: str
    layer: str
    links: tuple[Link, ...]
    bias: str | None
    counted: tuple[str, ...] = ()
    typical: tuple[str, ...] = ()
    answer: Answer = "mean"


@dataclass(frozen=True)
class Network:
    """A network as plain data; `means` are the hidden layers whose means are inputs, `codes` an autoencoder's."""

    kind: Literal["classify", "autoencode"]
    target: str | None
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    codes: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """The layers of data that it takes, in the order in which nodes first hear them, or give them back."""
        heard = [n for node in self.nodes for n in (*(link.source for link in node.links), *node.counted)]
        heard += [name.removeprefix("down/") for name in self.outputs if name.startswith("down/")]
        return tuple(dict.fromkeys(n for n in heard if n not in self._names and "/" not in n))

    @property
    def means(self) -> tuple[str, ...]:
        """The hidden layers whose mean-field means it takes."""
        heard = (link.source for node in self.nodes for link in node.links)
        return tuple(dict.fromkeys(n.removeprefix("mean/") for n in heard if n.startswith("mean/")))

    @property
    def _names(self) -> set[str]:
        return {node.name for node in self.nodes}

    def node(self, name: str) -> Node:
        """The node of this name."""
        return next(node for node in self.nodes if node.name == name)


def grown(artifact: Artifact, number: int) -> Network:
    """The network that the phase of this number trains: that of the phase of its kind which grew it."""
    kind = artifact.phases[number].kind
    same = [phase for phase in artifact.phases[: number + 1] if phase.kind == kind]
    origin = next((phase for phase in reversed(same) if "start" in phase.settings), same[0])
    if kind == "autoencode":
        return _autoencoder(_Graph(artifact, None), _code(origin))
    assert origin.target is not None, "the checker has seen to the target of a classifier"
    return _classifier(_Graph(artifact, origin.target), origin.target, with_means=not starts_random(origin))


def starts_random(phase: PhaseSpec) -> bool:
    """Whether a phase begins with random weights."""
    return phase.settings.get("start") == Name("random")


def _code(phase: PhaseSpec) -> Answer:
    match phase.settings.get("code"):
        case Name("linear"):
            return "linear"
        case Name("logistic"):
            return "logistic"
        case _:
            return "mean"


# --- structure --------------------------------------------------------------------------------------------


class _Graph:
    """A model's layers as a network sees them: data below, hidden layers bottom up; no layer `absent`."""

    def __init__(self, artifact: Artifact, absent: str | None) -> None:
        self.artifact, self.layers = artifact, artifact.layers
        self.data = [n for n, x in artifact.layers.items() if x.role != "hidden" and n != absent]
        hidden = _bottom_up(artifact)
        self.order = dict.fromkeys(self.data, -1) | {n: i for i, n in enumerate(hidden)}
        self.directed = bool(artifact.directed)
        self.reached: list[str] = []  # the hidden layers that hear data, not only given layers
        modelled = {n for n in self.data if artifact.layers[n].role == "visible"}
        for name in hidden:
            if {link.source for link in self.upward(name)} & {*modelled, *self.reached}:
                self.reached.append(name)

    def edges(self, name: str, kinds: Iterable[str]) -> Iterator[tuple[ArtifactEdge, str]]:
        """The edges of these kinds that join a layer to another one, or to itself, with that other one."""
        for edge in (*self.artifact.edges, *self.artifact.directed, *self.artifact.recognition):
            if name in edge.layers and edge.kind in kinds:
                other = edge.layers[edge.layers.index(name) - 1]
                if other in self.order:
                    yield edge, other

    def upward(self, name: str) -> list[Link]:
        """What a hidden layer hears from below: by recognition where that is given, else by the edges."""
        known = [(e, o) for e, o in self.edges(name, ("recognition",)) if e.head == name]
        joined = [(e, o) for e, o in self.edges(name, ("undirected",)) if self.order[o] < self.order[name]]
        parents = [(e, o) for e, o in self.edges(name, ("directed",)) if e.tail == name]
        return _links(name, known or [*joined, *parents])

    def recognised(self, name: str) -> bool:
        """Whether a hidden layer has recognition weights."""
        return any(e.head == name for e, _ in self.edges(name, ("recognition",)))

    def above(self, name: str) -> list[tuple[ArtifactEdge, str]]:
        """The undirected edges to hidden layers that are not below: those above, and the layer itself."""
        joined = self.edges(name, ("undirected",))
        return [(e, o) for e, o in joined if self.layers[o].role == "hidden" and self.order[o] >= self.order[name]]

    def expects(self, name: str) -> float:
        """2 where a layer is to hear twice what comes from below, as nothing comes from above it; else 1."""
        missing = any(other != name for _, other in self.above(name))
        generates = any(edge.tail == name for edge, _ in self.edges(name, ("directed",)))
        return 2.0 if missing and not generates and not self.recognised(name) else 1.0

    def tops(self) -> list[str]:
        """The reached hidden layers without a hidden layer above."""
        every = ("undirected", "directed", "recognition")
        return [
            n
            for n in self.reached
            if not any(self.order[o] > self.order[n] and o in self.reached for _, o in self.edges(n, every))
        ]

    def node(self, name: str, links: Iterable[Link], answer: Answer = "mean") -> Node:
        """The node of a hidden layer on the way up."""
        layer, links = self.layers[name], tuple(links)
        own = self.recognised(name)
        bias = layer.recognition if own else layer.bias
        documents = tuple(link.source for link in links if self.layers[_layer_of(link.source)].support == "counts")
        return Node(name, name, links, bias, documents if own else layer.counted, answer=answer)


def _bottom_up(artifact: Artifact) -> list[str]:
    """The hidden layers in file order, but parents after their children."""
    left = [n for n, layer in artifact.layers.items() if layer.role == "hidden"]
    out: list[str] = []
    while left:
        waiting = {edge.tail for edge in artifact.directed if edge.head in left}
        out.append(next(n for n in left if n not in waiting))
        left.remove(out[-1])
    return out


def _layer_of(source: str) -> str:
    return source.rpartition("/")[2]


def _links(name: str, joined: Iterable[tuple[ArtifactEdge, str]], prefix: str = "", factor: float = 1.0) -> list[Link]:
    """One link a source: all edges that join it, their weights turned so that rows are the source's."""
    parts: dict[str, list[tuple[str, bool]]] = {}
    for edge, other in joined:
        parts.setdefault(other, []).append((edge.weight, edge.layers[0] == name and other != name))
    return [Link(prefix + other, tuple(found), factor) for other, found in parts.items()]


def _classifier(graph: _Graph, target: str, with_means: bool) -> Network:
    nodes = []
    for name in graph.reached:
        links = graph.upward(name)
        if not graph.directed and with_means:
            links += _links(name, graph.above(name), "mean/")
        elif graph.directed:
            links = [replace(link, factor=graph.expects(name)) for link in links]
        nodes.append(graph.node(name, links))
    graph.order[target] = len(graph.order)
    joined = [(e, o) for e, o in graph.edges(target, ("undirected", "directed")) if o in (*graph.data, *graph.reached)]
    links = _links(target, joined) or [Link(name, ()) for name in graph.tops()]
    layer = graph.layers[target]
    nodes.append(Node(target, target, tuple(links), layer.bias, layer.counted))
    return Network("classify", target, _needed(nodes, target), (target,))


def _needed(nodes: list[Node], output: str) -> tuple[Node, ...]:
    """The nodes that the output depends on."""
    needed = {output}
    for node in reversed(nodes):
        if node.name in needed:
            needed |= {link.source for link in node.links}
    return tuple(node for node in nodes if node.name in needed)


def _autoencoder(graph: _Graph, code: Answer) -> Network:
    tops = graph.tops()
    nodes = []
    for name in graph.reached:
        links = [replace(link, factor=graph.expects(name)) for link in graph.upward(name)]
        nodes.append(graph.node(name, links, code if name in tops else "mean"))
    outputs = []
    visible = [n for n in graph.data if graph.layers[n].role == "visible"]
    for name in (*reversed([n for n in graph.reached if n not in tops]), *visible):
        links = _downward(graph, name, tops)
        if not links:
            continue
        layer = graph.layers[name]
        seen = layer.role == "visible"
        counted, typical = (layer.counted, ()) if seen else ((), layer.counted)
        nodes.append(Node(f"down/{name}", name, tuple(links), layer.bias, counted, typical))
        outputs += [f"down/{name}"] if seen else []
    return Network("autoencode", None, tuple(nodes), tuple(outputs), tuple(tops))


def _downward(graph: _Graph, name: str, tops: list[str]) -> list[Link]:
    """What a layer hears from above on the way down, and from given layers; nothing if from these alone."""
    joined = list(graph.edges(name, ("undirected",)))
    higher = [(e, o) for e, o in joined if o in graph.reached and graph.order[o] > graph.order[name]]
    higher += [(e, o) for e, o in graph.edges(name, ("directed",)) if e.head == name and o in graph.reached]
    if not higher:
        return []
    given = [(e, o) for e, o in joined if graph.layers[o].role == "given"]
    lower = any(graph.order[o] < graph.order[name] and graph.layers[o].role != "given" for _, o in joined)
    factor = 2.0 if lower and graph.layers[name].role == "hidden" else 1.0
    coded = [(e, o) for e, o in higher if o in tops]
    inner = [(e, o) for e, o in higher if o not in tops]
    links = _links(name, [*coded, *given], factor=factor)
    return [*links, *_links(name, inner, "down/", factor)]


def mean_field_network(artifact: Artifact, absent: str | None) -> Network:
    """The mean-field equations of a model without directed and lateral edges as nodes: `mean/h1` hears all neighbours.

    Each node set in turn, again and again, is mean field; the last ones are outputs.
    """
    graph = _Graph(artifact, absent)
    nodes = []
    for name in (n for n in graph.order if n not in graph.data):
        joined = list(graph.edges(name, ("undirected",)))
        data = [(e, o) for e, o in joined if o in graph.data]
        hidden = [(e, o) for e, o in joined if o not in graph.data]
        node = graph.node(name, [*_links(name, data), *_links(name, hidden, "mean/")])
        nodes.append(replace(node, name=f"mean/{name}"))
    return Network("classify", absent, tuple(nodes), tuple(node.name for node in nodes))


# --- numbers ----------------------------------------------------------------------------------------------


def weight_name(node: Node, link: Link) -> str:
    """The name of a link's array (size of the source, size of the node)."""
    return f"weight/{node.name}/{link.source}"


def bias_name(node: Node) -> str:
    """The name of a node's bias (size,), in units of its field."""
    return f"bias/{node.name}"


def constants_of(network: Network, artifact: Artifact) -> tuple[str, ...]:
    """The model's parameters that the network's units have of their own: it keeps copies, and trains none."""
    layers = dict.fromkeys((*network.inputs, *(node.layer for node in network.nodes)))
    return tuple(dict.fromkeys(p for n in layers for p in artifact.layers[n].parameters.values()))


def shapes_of(network: Network, artifact: Artifact) -> dict[str, tuple[int, ...]]:
    """The shapes of all arrays of a network."""
    size = {n: layer.size for n, layer in artifact.layers.items()}
    out: dict[str, tuple[int, ...]] = {}
    for node in network.nodes:
        for link in node.links:
            out[weight_name(node, link)] = size[_layer_of(link.source)], size[node.layer]
        out[bias_name(node)] = (size[node.layer],)
    return out | {name: artifact.parameters[name].shape for name in constants_of(network, artifact)}


def start_from_model(network: Network, machine: Machine, lengths: Mapping[str, float]) -> dict[str, Array]:
    """Copies of the model's parameters; `lengths` are the mean lengths of documents by count layer."""
    out = {n: np.zeros(shape, machine.dtype) for n, shape in shapes_of(network, machine.artifact).items()}
    for node in network.nodes:
        for link in node.links:
            for weight, transposed in link.parts:
                w = machine.p[weight]
                out[weight_name(node, link)] += machine.dtype.type(link.factor) * (w.T if transposed else w)
        if node.bias is not None:
            own = machine.p[node.bias] * machine.kernels.own_factor[node.layer](machine.p)
            out[bias_name(node)] += own * machine.dtype.type(sum(lengths[n] for n in node.typical) or 1.0)
    for name in constants_of(network, machine.artifact):
        out[name][...] = machine.parameters[name]
    return out


def start_at_random(network: Network, machine: Machine, seed: int) -> dict[str, Array]:
    """Weights N(0, 2 / (inputs + units)), biases 0 (Glorot and Bengio 2010, eq. 12)."""
    out = {n: np.zeros(shape, machine.dtype) for n, shape in shapes_of(network, machine.artifact).items()}
    for node in network.nodes:
        names = [weight_name(node, link) for link in node.links]
        sd = np.sqrt(2.0 / (sum(len(out[n]) for n in names) + machine.artifact.layers[node.layer].size))
        for name in names:
            out[name][...] = sd * normals(stream_key(seed, "network", name), out[name].shape)
    for name in constants_of(network, machine.artifact):
        out[name][...] = machine.parameters[name]
    return out


def masks_of(network: Network, artifact: Artifact, masks: Mapping[str, Array]) -> dict[str, Array]:
    """By array of weights, which entries there are, where the model's weights have masks."""
    out = {}
    for node in network.nodes:
        for link in node.links:
            if link.parts and all(weight in masks for weight, _ in link.parts):
                found = [(_flat(artifact, weight, masks[weight]), transposed) for weight, transposed in link.parts]
                out[weight_name(node, link)] = np.logical_or.reduce([m.T if t else m for m, t in found])
    return out


def _flat(artifact: Artifact, weight: str, mask: Array) -> Array:
    return np.asarray(mask).reshape([artifact.layers[n].size for n in artifact.parameters[weight].layers])
