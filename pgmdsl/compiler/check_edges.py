"""Edges: which layers they join, by which weight, and which of them there can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgmdsl.compiler.check_names import MistakeError, Scope
from pgmdsl.compiler.check_options import Traits, weight_traits
from pgmdsl.compiler.check_parameters import Parameters, Use
from pgmdsl.compiler.model import Edge, EdgeKind, Layer
from pgmdsl.compiler.normalise import is_unbounded
from pgmdsl.compiler.units import Counts
from pgmdsl.grammar.source import Span
from pgmdsl.grammar.syntax import EdgeDeclaration, Identifier


def check_edges(
    declarations: Sequence[EdgeDeclaration],
    names: Sequence[str],
    layers: Mapping[str, Layer],
    scope: Scope,
    parameters: Parameters,
) -> tuple[Edge, ...]:
    """The edges of all kinds that are in order, in file order; their weights are noted in `parameters`.

    `names` are all declared layers, `layers` those that are in order: an edge of another one is left out in silence,
    as the layer's mistake is reported already.
    """
    edges: list[Edge] = []
    for declaration in declarations:
        weight = weight_name(declaration)
        parameters.mentioned.add(weight.name)
        with scope.recorded():
            _verify_layers(declaration, names, scope)
            _verify_different(declaration)
            if all(layer.name in layers for layer in declaration.layers):
                edges.append(_check_edge(declaration, weight, layers, parameters))
    _warn_repeated(edges, scope)
    return tuple(edges)


_KINDS: Mapping[str, EdgeKind] = {"->": "directed", "<-": "directed", "~>": "recognition"}


def weight_name(declaration: EdgeDeclaration) -> Identifier:
    """The weight's name; where the edge names none `W_v_h` for `v -- h` and `v <- h`, `R_v_h` for `v ~> h`."""
    if declaration.weight is not None:
        return declaration.weight.name
    first = "R" if declaration.operator == "~>" else "W"
    return Identifier("_".join((first, *(layer.name for layer in axes_of(declaration)))), span=declaration.span)


def axes_of(declaration: EdgeDeclaration) -> tuple[Identifier, ...]:
    """The layers in the order of the weight's axes: of a directed edge the child first."""
    return declaration.layers[::-1] if declaration.operator == "->" else declaration.layers


def _place(declaration: EdgeDeclaration) -> Span:
    """From the first layer's name to the last one's."""
    return declaration.layers[0].span.to(declaration.layers[-1].span)


def _verify_layers(declaration: EdgeDeclaration, names: Sequence[str], scope: Scope) -> None:
    """Report every name of the edge that is no layer; raise for the last."""
    mistakes = [
        MistakeError.unknown(layer.name, layer.span, "is not a layer", names)
        for layer in declaration.layers
        if layer.name not in names
    ]
    for mistake in mistakes[:-1]:
        scope.record(mistake)
    if mistakes:
        raise mistakes[-1]


def _verify_different(declaration: EdgeDeclaration) -> None:
    """Raise `MistakeError` for a layer twice in a multiplicative edge, or in one with a direction."""
    seen: set[str] = set()
    for layer in declaration.layers:
        if layer.name in seen and declaration.operator in _KINDS:
            message = f"this edge goes from {layer.name} to {layer.name} itself, and no unit depends on its own state"
            help = f"an edge within a layer has no direction: {layer.name} -- {layer.name}"
            raise MistakeError("E111", layer.span, message, help)
        if layer.name in seen and declaration.operator == "*":
            message = f"{layer.name} stands twice in this multiplicative edge, which joins different layers"
            help = f"an edge within a layer joins its units in pairs: {layer.name} -- {layer.name}"
            raise MistakeError("E085", layer.span, message, help)
        seen.add(layer.name)


def _check_edge(
    declaration: EdgeDeclaration, weight: Identifier, layers: Mapping[str, Layer], parameters: Parameters
) -> Edge:
    kind = _KINDS.get(declaration.operator, "undirected")
    members = tuple(layers[layer.name] for layer in axes_of(declaration))
    names = tuple(layer.name for layer in members)
    clause = declaration.weight
    transposed = clause is not None and clause.transposed
    pair = len(members) == 2 and members[0] is not members[1]
    if transposed and pair:
        members, names = members[::-1], names[::-1]
    options = clause.options if clause else ()
    traits = weight_traits(options, parameters.scope)
    parameters.add(Use("weight", weight, members, traits, options, transposed and pair))
    if transposed and not pair:
        raise _meaningless_prime(weight, members)
    if kind == "undirected":
        _verify_modelled(declaration, members)
        _verify_counts(declaration, members)
        _verify_sites(declaration, members)
    _verify_mask(weight, members, traits)
    return Edge(names, weight.name, declaration.span, kind, turned=transposed and pair and kind != "undirected")


def _meaningless_prime(weight: Identifier, members: Sequence[Layer]) -> MistakeError:
    name = weight.name
    if len(members) == 2:
        message = (
            f"{name} is the weight of an edge within {members[0].name}: it is symmetric, and a prime changes nothing"
        )
        return MistakeError("E081", weight.span, message, f"write {name}, without the prime")
    message = f"a prime reverses the two layers of a weight, and {name} has {len(members)}"
    help = f"write {name} without it, and the layers of this edge in the order of the axes of {name}"
    return MistakeError("E081", weight.span, message, help)


def _verify_modelled(declaration: EdgeDeclaration, members: Sequence[Layer]) -> None:
    """Raise `MistakeError` for an edge of given layers alone."""
    if any(layer.role != "given" for layer in members):
        return
    names = list(dict.fromkeys(layer.name for layer in members))
    given = f"{names[0]} is" if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} are"
    message = f"{given} given: this edge would add a constant to the energy, and nothing could be learned from it"
    help = "leave it out: given layers are joined to visible or hidden ones"
    raise MistakeError("E048", _place(declaration), message, help)


def _verify_counts(declaration: EdgeDeclaration, members: Sequence[Layer]) -> None:
    """Raise `MistakeError` for a lateral edge on a count layer, or one that joins it to unbounded units."""
    counts = next((layer for layer in members if isinstance(layer.unit.support, Counts)), None)
    if counts is None:
        return
    if len({layer.name for layer in members}) < len(members):
        message = (
            f"{counts.name} is a layer of counts, whose words are independent given the other layers: an edge within "
            "it would make every word depend on all others of its document"
        )
        help = "join it to a hidden layer, which makes words dependent"
        raise MistakeError("E088", _place(declaration), message, help)
    for layer in members:
        if is_unbounded(layer):
            message = (
                f"{counts.name} is a layer of counts, whose neighbours' biases are multiplied by the length of each "
                f"document; with unbounded units ({layer.name} is {layer.unit.name}) such a model is not defined here"
            )
            help = f"make {layer.name} binary, spin, softmax or binomial"
            raise MistakeError("E088", _place(declaration), message, help)


def _verify_sites(declaration: EdgeDeclaration, members: Sequence[Layer]) -> None:
    """Raise `MistakeError` for an edge within a layer of a single site, whose weight has no entry."""
    layer = members[0]
    if any(other is not layer for other in members) or not layer.unit.states_axis or len(layer.dims) > 1:
        return
    unit, states = layer.unit.name, layer.dims[-1]
    message = f"{layer.name} is a single site of {states} states, of which one at a time holds: it has no pairs to join"
    help = f"leave the edge out, its bias says all; {unit}[n, {states}] is a layer of n sites"
    raise MistakeError("E099", _place(declaration), message, help)


def _verify_mask(weight: Identifier, members: Sequence[Layer], traits: Traits) -> None:
    """Raise `MistakeError` for a local mask between layers that have no grids to compare."""
    if traits.mask is None or traits.mask.kind != "local":
        return
    place, help = weight.span, 'mask = "m.npy" names any entries'
    if len(members) > 2:
        message = f"a local mask is of two layers, and {weight.name} has {len(members)}"
        raise MistakeError("E098", place, message, help)
    grids = [layer.dims[:-1] if layer.unit.states_axis else layer.dims for layer in members]
    for layer, grid in zip(members, grids, strict=True):
        if not grid:
            message = f"{layer.name} is a single site of {layer.dims[-1]} states, so nothing in it is local"
            raise MistakeError("E098", place, message, help)
    if len(grids[0]) != len(grids[1]):
        first, second = (
            f"{layer.name} is a grid of {_axes(len(grid))}" for layer, grid in zip(members, grids, strict=True)
        )
        message = f"{first} and {second}: which of their units are near each other is not defined"
        help = "give both layers as many axes, for example binary[28, 28] and binary[14, 14]"
        raise MistakeError("E098", place, message, help)


def _axes(count: int) -> str:
    return "1 axis" if count == 1 else f"{count} axes"


def _warn_repeated(edges: Sequence[Edge], scope: Scope) -> None:
    seen: set[tuple[tuple[str, ...], str]] = set()
    for edge in edges:
        if (edge.layers, edge.weight) in seen:
            counts = "its energy counts" if edge.kind == "undirected" else "what it sends counts"
            scope.diagnostics.warn(
                "W002",
                edge.span,
                f"this edge with {edge.weight} stands twice, so {counts} twice",
                "leave one out, or give it a weight of its own",
            )
        seen.add((edge.layers, edge.weight))
