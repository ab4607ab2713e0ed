"""Edges: which layers they join, by which weight, and which kinds are not built yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgmdsl.compiler.check_names import MistakeError, Scope
from pgmdsl.compiler.check_parameters import WEIGHT_START, Parameters, Use, initial_of
from pgmdsl.compiler.model import Edge, Layer
from pgmdsl.compiler.units import Real
from pgmdsl.grammar.syntax import EdgeDeclaration, Identifier


def check_edges(
    declarations: Sequence[EdgeDeclaration],
    names: Sequence[str],
    layers: Mapping[str, Layer],
    scope: Scope,
    parameters: Parameters,
) -> tuple[Edge, ...]:
    """The edges that are in order, in file order; their weights are noted in `parameters`.

    `names` are all declared layers, `layers` those that are in order: an edge of another one is left out in silence,
    as the layer's mistake is reported already.
    """
    edges: list[Edge] = []
    for declaration in declarations:
        weight = weight_name(declaration)
        parameters.mentioned.add(weight.name)
        with scope.recorded():
            _verify_layers(declaration, names, scope)
            _verify_built(declaration)
            if all(layer.name in layers for layer in declaration.layers):
                edges.append(_check_edge(declaration, weight, layers, parameters))
    _warn_repeated(edges, scope)
    return tuple(edges)


def weight_name(declaration: EdgeDeclaration) -> Identifier:
    """The weight's name; `W_v_h` where the edge `v -- h` names none."""
    if declaration.weight is not None:
        return declaration.weight.name
    return Identifier("_".join(("W", *(layer.name for layer in declaration.layers))), span=declaration.span)


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


def _verify_built(declaration: EdgeDeclaration) -> None:
    """Raise `MistakeError` for a kind of edge that is not built yet."""
    names = [layer.name for layer in declaration.layers]
    place = declaration.layers[0].span.to(declaration.layers[-1].span)
    undirected = f"an undirected edge is written {names[0]} -- {names[-1]}"
    match declaration.operator:
        case "->" | "<-":
            raise MistakeError("E900", place, "directed edges are not built yet", undirected)
        case "~>":
            help = "leave it out: the hidden layers of an undirected model need no recognition weights"
            raise MistakeError("E901", place, "recognition edges are not built yet", help)
        case "*":
            raise MistakeError(
                "E903", place, "multiplicative edges are not built yet", "join the layers in pairs with --"
            )
    if len(set(names)) < len(names):
        message = f"lateral edges, inside the layer {names[0]}, are not built yet"
        raise MistakeError("E904", place, message, "join two different layers")


def _check_edge(
    declaration: EdgeDeclaration, weight: Identifier, layers: Mapping[str, Layer], parameters: Parameters
) -> Edge:
    lower, upper = (layers[layer.name] for layer in declaration.layers)
    clause = declaration.weight
    transposed = clause is not None and clause.transposed
    if transposed:
        lower, upper = upper, lower
    options = clause.options if clause else ()
    initial, fixed = initial_of("weight", options, WEIGHT_START, False, parameters.scope)
    parameters.add(Use("weight", weight, (lower, upper), initial, fixed, options, transposed))
    if isinstance(lower.unit.support, Real) and isinstance(upper.unit.support, Real):
        first, second = declaration.layers
        raise MistakeError(
            "E908",
            first.span.to(second.span),
            f"{first.name} and {second.name} are both gaussian: an edge between them is not built yet, because the "
            "model may not normalise (the joint precision must be positive definite, which weights can break)",
            f"make one of them binary, spin or softmax: {second.name} : binary[...]",
        )
    return Edge((lower.name, upper.name), weight.name, declaration.span)


def _warn_repeated(edges: Sequence[Edge], scope: Scope) -> None:
    seen: set[tuple[str, str, str]] = set()
    for edge in edges:
        first, second = edge.layers
        if (first, second, edge.weight) in seen:
            scope.diagnostics.warn(
                "W002",
                edge.span,
                f"this edge with {edge.weight} stands twice, so its energy counts twice",
                "leave one out, or give it a weight of its own",
            )
        seen.add((first, second, edge.weight))
