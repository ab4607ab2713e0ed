"""The parts of a model with directed edges, each an undirected model (or a conditional one) that all stages serve.

p(child | parents) is the distribution of the child in the undirected model of the same edges whose parents are given:
its energy is base(x) - field s(x), and its normaliser, the log-partition function at that field, is per case. So every
directed child with its parents is such a conditional model, and so is every layer with recognition edges, its sources
being given. The layers without parents are an undirected model, the core; and the whole with all edges undirected, the
stack, is what greedy pretraining trains restricted machines of (Hinton, Osindero and Teh 2006).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from pgmdsl.compiler.artifact import GreedyStage, PartsOf
from pgmdsl.compiler.model import Edge, Layer, Model, Parameter
from pgmdsl.compiler.units import Counts


def parts_of(model: Model) -> PartsOf[Model] | None:
    """The parts of a model; None where all edges are undirected, so that the model is its own core."""
    if not model.directed:
        return None
    return PartsOf(
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
    edges = tuple(_undirected(e) for e in model.directed if e.head == child)
    layers = {child: replace(model.layers[child], counted=())} | _given(model, model.parents(child))
    return _part(model, f"{model.name}_p_{child}", layers, edges)


def recogniser_of(model: Model, target: str) -> Model:
    """The conditional model q(target | sources), with a bias of its own.

    In a model without recognition edges, the layer given its children as if their edges were undirected: the posterior
    of the restricted machine of the two, which is what greedy pretraining leaves (Salakhutdinov 2015, eq. 24).
    """
    if not model.recognition:
        back = tuple(_undirected(e) for e in model.directed if e.tail == target)
        below = [e.head for e in model.directed if e.tail == target]
        near = {target: replace(model.layers[target], counted=_documents(model, below))} | _given(model, below)
        return _part(model, f"{model.name}_q_{target}", near, back)
    edges = tuple(_undirected(e) for e in model.recognition if e.head == target)
    sources = [name for name in model.layers if any(name in e.layers for e in edges) and name != target]
    layer = model.layers[target]
    own = replace(layer, bias=layer.recognition, counted=_documents(model, sources))
    layers = {target: own} | _given(model, sources)
    return _part(model, f"{model.name}_q_{target}", layers, edges)


def stack_of(model: Model) -> Model:
    """The model with all its edges undirected."""
    edges = (*model.edges, *map(_undirected, model.directed))
    layers = {}
    for name, layer in model.layers.items():
        near = [o for e in edges if name in e.layers for o in e.layers if o != name]
        layers[name] = layer if is_document(layer) else replace(layer, counted=_documents(model, near))
    return _part(model, f"{model.name}_stack", layers, edges)


def upward_of(model: Model) -> Model:
    """The layers that are recognised and their sources, the edges between them being undirected."""
    parts = [recogniser_of(model, name) for name in recognised(model)]
    layers = {name: model.layers[name] for part in parts for name in part.layers}
    targets = {name: part.layers[name] for name, part in zip(recognised(model), parts, strict=True)}
    return _part(model, f"{model.name}_upward", {**layers, **targets}, tuple(e for part in parts for e in part.edges))


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
    """The layers that are recognised, each after its sources: in the order of an up-pass.

    Those that recognition edges go into; without such edges, the hidden layers with children.
    """
    if not model.recognition:
        hidden = {e.tail for e in model.directed if model.layers[e.tail].role == "hidden"}
        parents = [name for name in model.layers if name in hidden and name not in model.children]
        return (*(name for name in reversed(model.children) if name in hidden), *parents)
    left = {e.head: {o.tail for o in model.recognition if o.head == e.head} for e in model.recognition}
    order: list[str] = []
    while left:
        order += [name for name in model.layers if name in left and not left[name] & left.keys()]
        left = {name: sources for name, sources in left.items() if name not in order}
    return tuple(order)


def _undirected(edge: Edge) -> Edge:
    return replace(edge, kind="undirected", head="")


def _documents(model: Model, names: Collection[str]) -> tuple[str, ...]:
    """The count layers among these, in file order."""
    return tuple(n for n in model.layers if n in names and is_document(model.layers[n]))


def is_document(layer: Layer) -> bool:
    """Whether the layer holds counts."""
    return isinstance(layer.unit.support, Counts)


def _given(model: Model, names: Sequence[str]) -> dict[str, Layer]:
    """These layers as given ones."""
    return {n: replace(model.layers[n], role="given", bias=None, parameters={}, counted=()) for n in names}


def _placed(parameter: Parameter, layers: Mapping[str, Layer], edges: Sequence[Edge]) -> Parameter:
    """A parameter whose axes are those of a part's own layers, where it stands for several."""
    if set(parameter.layers) <= layers.keys():
        return parameter
    if parameter.kind == "weight":
        return replace(parameter, layers=next(e.layers for e in edges if e.weight == parameter.name))
    having = (n for n, x in layers.items() if parameter.name in (x.bias, *x.parameters.values()))
    return replace(parameter, layers=(next(having),))


def _part(model: Model, name: str, layers: Mapping[str, Layer], edges: tuple[Edge, ...]) -> Model:
    """A model of these layers and edges alone, with the parameters that they have."""
    ordered = {n: layers[n] for n in model.layers if n in layers}
    used: Collection[str | None] = {
        *(e.weight for e in edges),
        *(layer.bias for layer in ordered.values()),
        *(own for n in ordered for own in model.layers[n].parameters.values()),  # which kernels read of given ones too
    }
    return replace(
        model,
        name=name,
        layers=ordered,
        edges=edges,
        parameters={n: _placed(p, ordered, edges) for n, p in model.parameters.items() if n in used},
        checks=(),
        data=tuple(d for d in model.data if d.layer in layers or d.layer == "weights"),
        phases=(),
        directed=(),
        recognition=(),
    )
