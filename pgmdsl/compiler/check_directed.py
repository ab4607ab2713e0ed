"""Directed and recognition edges: which mixtures of edges there can be.

The joint distribution is p(layers without parents) * product over directed children of p(child | parents). A child that
also had undirected edges would have a normaliser that depends on its parents' states (a chain graph), which no block of
conditionals serves; so it has none. Recognition edges say how to sample every hidden parent of a child bottom-up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pgmdsl.compiler.check_names import MistakeError, Scope
from pgmdsl.compiler.check_options import Traits
from pgmdsl.compiler.check_parameters import Parameters, Use
from pgmdsl.compiler.model import Edge, EdgeKind, Initial, Layer
from pgmdsl.grammar.syntax import Identifier

RECOGNITION_BIAS = "r_"


def check_directed(edges: Sequence[Edge], layers: Mapping[str, Layer], scope: Scope) -> bool:
    """Report every mixture of edges that has no meaning here; whether there is none."""
    before = len(scope.diagnostics.errors)
    directed = of_kind(edges, "directed")
    for edge in directed:
        with scope.recorded():
            _verify_child(edge, edges, layers)
    with scope.recorded():
        _verify_acyclic(directed, layers, "directed")
    recognition = of_kind(edges, "recognition")
    parents = _hidden_parents(directed, layers)
    targets = {edge.child for edge in recognition}
    for edge in recognition:
        with scope.recorded():
            _verify_recognition(edge, edges, layers, parents, targets)
    with scope.recorded():
        _verify_acyclic(recognition, layers, "recognition")
    missed = [name for name in parents if name not in targets]
    if recognition and missed:
        child = next(edge.child for edge in directed if edge.parent == missed[0])
        message = f"no recognition edge goes into {missed[0]}, so nothing says how it follows from data"
        help = f"add one, for example {child} ~> {missed[0]} : R_{missed[0]}"
        scope.record(MistakeError("E114", layers[missed[0]].span, message, help))
    return len(scope.diagnostics.errors) == before


def of_kind(edges: Sequence[Edge], kind: EdgeKind) -> tuple[Edge, ...]:
    """The edges of one kind."""
    return tuple(edge for edge in edges if edge.kind == kind)


def with_recognition(layers: Mapping[str, Layer], edges: Sequence[Edge], parameters: Parameters) -> dict[str, Layer]:
    """The layers with the biases of their recognition, whose uses are noted in `parameters`."""
    out = dict(layers)
    for target in dict.fromkeys(edge.child for edge in of_kind(edges, "recognition")):
        name = RECOGNITION_BIAS + target
        out[target] = replace(layers[target], recognition=name)
        place = Identifier(name, span=layers[target].span)
        parameters.add(Use("bias", place, (layers[target],), Traits(Initial("constant", 0.0))))
    return out


def _hidden_parents(directed: Sequence[Edge], layers: Mapping[str, Layer]) -> list[str]:
    """The hidden layers that are parents, in file order."""
    parents = {edge.parent for edge in directed}
    return [name for name, layer in layers.items() if name in parents and layer.role == "hidden"]


def _verify_child(edge: Edge, edges: Sequence[Edge], layers: Mapping[str, Layer]) -> None:
    """Raise `MistakeError` for a directed edge into a given layer, or into one that has undirected edges too."""
    child, parent = edge.child, edge.parent
    if layers[child].role == "given":
        message = f"{child} is given, and has no distribution that {parent} could determine"
        raise MistakeError("E111", edge.span, message, f"turn the edge round, {child} -> {parent}, or leave it out")
    other = next((e for e in edges if e.kind == "undirected" and child in e.layers), None)
    if other is not None:
        shown = (" -- " if len(other.layers) == 2 else " * ").join(other.layers)
        message = (
            f"{child} is a directed child ({parent} -> {child}) and has an undirected edge ({shown} : {other.weight}): "
            f"the normaliser of {child} would depend on the state of {parent}"
        )
        help = (
            "make both edges directed, or both undirected; undirected edges join the layers at the top, which nothing "
            "points to"
        )
        raise MistakeError("E110", edge.span, message, help)


def _verify_acyclic(edges: Sequence[Edge], layers: Mapping[str, Layer], what: str) -> None:
    """Raise `MistakeError` where edges of one kind lead back to where they begin."""
    left = list(edges)
    while left:
        targets = {edge.child for edge in left}
        kept = [edge for edge in left if edge.parent in targets]
        if len(kept) == len(left):
            names = [name for name in layers if any(name in edge.layers for edge in left)]
            arrow = "->" if what == "directed" else "~>"
            message = f"the {what} edges among {', '.join(names)} lead back to where they begin"
            help = f"{what} edges have a lowest and a highest layer: turn one round, or leave it out"
            last = left[-1]
            raise MistakeError("E112", last.span, message, f"{help} ({last.parent} {arrow} {last.child})")
        left = kept


def _verify_recognition(
    edge: Edge, edges: Sequence[Edge], layers: Mapping[str, Layer], parents: Sequence[str], targets: set[str]
) -> None:
    """Raise `MistakeError` for a recognition edge that says nothing, or whose weight is tied."""
    source, target = edge.parent, edge.child
    if target not in parents:
        if layers[target].role != "hidden":
            message = f"{target} is {layers[target].role}: it is observed, and nothing has to recognise it"
        else:
            message = f"{target} has no directed child, so its posterior given the layers below is exact already"
        raise MistakeError("E113", edge.span, message, "leave this recognition edge out")
    if layers[source].role == "hidden" and source not in targets:
        message = f"{source} is hidden, and no recognition edge says how it follows from data"
        raise MistakeError("E113", edge.span, message, "recognition goes bottom-up: begin at a visible layer")
    other = next((e for e in edges if e.weight == edge.weight and e.kind != "recognition"), None)
    if other is not None:
        message = (
            f"{edge.weight} is a recognition weight here and a weight of the model elsewhere: wake-sleep trains the "
            "two to different ends"
        )
        help = f"give this edge a weight of its own, for example R_{target}; greedy starts it at {edge.weight}"
        raise MistakeError("E115", edge.span, message, help)
