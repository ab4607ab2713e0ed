"""The parts of a model with directed edges, each an undirected model (or a conditional one) that all stages serve.

p(child | parents) is the distribution of the child in the undirected model of the same edges whose parents are given:
its energy is base(x) - field s(x), and its normaliser, the log-partition function at that field, is per case. So every
directed child with its parents is such a conditional model, and so is every layer with recognition edges, its sources
being given. The layers without parents are an undirected model, the core; and the whole with all edges undirected, the
stack, is what greedy pretraining trains restricted machines of (Hinton, Osindero and Teh 2006).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from pgmdsl.compiler.artifact import GreedyStage
from pgmdsl.compiler.model import Edge, Layer, Model, Parameter
from pgmdsl.compiler.units import Counts


@dataclass(frozen=True)
class Parts:
    """What a model with directed edges consists of.

    `children` are in the order of sampling, parents before children; `recognition` by target, bottom-up.
    """

    core: Model
    children: Mapping[str, Model]
    recognition: Mapping[str, Model]
    stack: Model


def parts_of(model: Model) -> Parts | None:
    """The parts of a model; None where all edges are undirected, so that the model is its own core."""
    if not model.directed:
        return None
    return Parts(
        core=core_of(model),
        children={name: child_of(model, name) for name in model.children},
        recognition={name: recogniser_of(model, name) for name in recognised(model)},
        stack=stack_of(model),
    )


def core_of(model: Model) -> Model:
    """The undirected model of the layers without parents."""
    return _part(model, f"{model.name}_core", {n: model.layers[n] for n in model.core}, model.edges)


def child_of(model: Model, child: str) -> Model:
    """The conditional model p(child | parents)."""
    edges = tuple(replace(e, kind="undirected", turned=False) for e in model.directed if e.child == child)
    layers = {child: replace(model.layers[child], counted=())} | _given(model, model.parents(child))
    return _part(model, f"{model.name}_{child}", layers, edges)


def recogniser_of(model: Model, target: str) -> Model:
    """The conditional model q(target | sources), with a bias of its own."""
    edges = tuple(replace(e, kind="undirected", turned=False) for e in model.recognition if e.child == target)
    above = {e.parent for e in model.recognition if e.child == target}
    sources = [name for name in model.layers if name in above]
    layer, counted = model.layers[target], tuple(n for n in sources if is_document(model.layers[n]))
    layers = {target: replace(layer, bias=layer.recognition, counted=counted)} | _given(model, sources)
    return _part(model, f"{model.name}_q_{target}", layers, edges)


def stack_of(model: Model) -> Model:
    """The model with all its edges undirected."""
    edges = (*model.edges, *(replace(e, kind="undirected", turned=False) for e in model.directed))
    layers = {}
    for name, layer in model.layers.items():
        near = {o for e in edges if name in e.layers for o in e.layers if o != name and is_document(model.layers[o])}
        layers[name] = (
            layer if is_document(layer) else replace(layer, counted=tuple(n for n in model.layers if n in near))
        )
    return _part(model, f"{model.name}_stack", layers, edges)


def restricted(model: Model, stage: GreedyStage) -> Model:
    """The restricted machine that a stage of greedy pretraining trains, its lower layers in the place of data.

    Where the inputs of all its layers count twice, every edge stands twice; where those of some do, it is not a machine
    of one energy, and its fields have to be scaled.
    """
    names = {stage.upper, *stage.lower}
    whole = stack_of(model)
    edges = tuple(edge for edge in whole.edges if names >= set(edge.layers))
    layers = {
        n: replace(
            layer,
            role="visible" if layer.role == "hidden" and n != stage.upper else layer.role,
            counted=tuple(o for o in layer.counted if o in names),
            recognition=None,
        )
        for n, layer in whole.layers.items()
        if n in names
    }
    return _part(model, f"{model.name}_{stage.upper}", layers, edges)


def recognised(model: Model) -> tuple[str, ...]:
    """The layers that recognition edges go into, each after its sources: in the order of an up-pass."""
    left = {e.child: {o.parent for o in model.recognition if o.child == e.child} for e in model.recognition}
    order: list[str] = []
    while left:
        order += [name for name in model.layers if name in left and not left[name] & left.keys()]
        left = {name: sources for name, sources in left.items() if name not in order}
    return tuple(order)


def is_document(layer: Layer) -> bool:
    """Whether the layer holds counts."""
    return isinstance(layer.unit.support, Counts)


def _given(model: Model, names: Sequence[str]) -> dict[str, Layer]:
    """These layers as given ones."""
    return {n: replace(model.layers[n], role="given", bias=None, parameters={}, counted=()) for n in names}


def _anchored(parameter: Parameter, layers: Mapping[str, Layer], edges: Sequence[Edge]) -> Parameter:
    """A parameter with axes of layers that there are, where those of its first use are not among them."""
    if all(name in layers for name in parameter.layers):
        return parameter
    uses = [edge.layers for edge in edges if edge.weight == parameter.name]
    uses += [(n,) for n, layer in layers.items() if parameter.name in (layer.bias, *layer.parameters.values())]
    return replace(parameter, layers=uses[0])


def _part(model: Model, name: str, layers: Mapping[str, Layer], edges: tuple[Edge, ...]) -> Model:
    """A model of these layers and edges alone, with the parameters that they have."""
    ordered = {n: layers[n] for n in model.layers if n in layers}
    used: Collection[str | None] = {
        *(e.weight for e in edges),
        *(layer.bias for layer in ordered.values()),
        *(own for layer in ordered.values() for own in layer.parameters.values()),
    }
    return replace(
        model,
        name=name,
        layers=ordered,
        edges=edges,
        parameters={n: _anchored(p, ordered, edges) for n, p in model.parameters.items() if n in used},
        checks=(),
        data=tuple(d for d in model.data if d.layer in layers or d.layer == "weights"),
        phases=(),
        directed=(),
        recognition=(),
    )
