"""Directed and recognition edges: which mixtures of edges there can be.

The joint distribution is p(layers without parents) * product over directed children of p(child | parents). A child that
also had undirected edges would have a normaliser that depends on its parents' states (a chain graph), which no block of
conditionals serves; so it has none. Recognition edges say how to sample every hidden parent of a child bottom-up.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from pgmdsl.compiler.check_names import MistakeError, Scope
from pgmdsl.compiler.check_options import Traits
from pgmdsl.compiler.check_parameters import Parameters, Use
from pgmdsl.compiler.model import Edge, EdgeKind, Initial, Layer, Parameter
from pgmdsl.grammar.syntax import EdgeDeclaration, Identifier

RECOGNITION_BIAS = "r_"


def check_directed(
    edges: Sequence[Edge], declarations: Sequence[EdgeDeclaration], layers: Mapping[str, Layer], scope: Scope
) -> bool:
    """Report every mixture of edges that has no meaning here; whether there is none.

    What is said to be missing may stand in a statement that is not in order: nothing is said of the layers in those.
    """
    before = len(scope.diagnostics.errors)
    unsure = set(scope.broken) | _in_mistakes(declarations, scope)
    directed, recognition = of_kind(edges, "directed"), of_kind(edges, "recognition")
    for edge in directed:
        with scope.recorded():
            _verify_child(edge, edges, layers)
    for group in (directed, recognition):
        with scope.recorded():
            _verify_acyclic(group, layers)
    parents = _hidden_parents(directed, layers)
    targets = {edge.head for edge in recognition}
    for edge in recognition:
        if unsure.isdisjoint(edge.layers):
            with scope.recorded():
                _verify_recognition(edge, edges, layers, parents, targets)
    unsure |= _in_mistakes(declarations, scope)
    for child in _unseen(directed, layers):
        if child not in unsure:
            scope.record(_no_data(next(edge for edge in directed if edge.head == child), edges, layers))
    missed = [name for name in parents if name not in targets | unsure]
    if recognition and missed:
        scope.record(_unrecognised(missed[0], directed, layers))
    return len(scope.diagnostics.errors) == before


def check_parents(
    edges: Sequence[Edge], layers: Mapping[str, Layer], parameters: Mapping[str, Parameter], scope: Scope
) -> None:
    """Report parents whose statistic has a parameter that is learned: sigma in x / sigma.

    Its gradient would have a share from each child's normaliser, which is not built; a fixed one loses nothing, as the
    weights to the children can take any scale.
    """
    for parent, edge in {e.tail: e for e in of_kind(edges, "directed")}.items():
        layer = layers[parent]
        for own, name in layer.parameters.items():
            learned = name in parameters and not parameters[name].fixed
            if learned and re.search(rf"\b{own}\b", layer.unit.statistic):
                message = (
                    f"{name} is learned, and {parent} is a parent: {edge.head} depends on {name} too, as edges "
                    f"send {layer.unit.statistic} (x: a unit of {parent}), and this is not built"
                )
                help = f"fix it, for example {own} = 1: {edge.weight} can have any scale"
                scope.record(MistakeError("E117", layer.span, message, help))


def of_kind(edges: Sequence[Edge], kind: EdgeKind) -> tuple[Edge, ...]:
    """The edges of one kind."""
    return tuple(edge for edge in edges if edge.kind == kind)


def with_recognition(layers: Mapping[str, Layer], edges: Sequence[Edge], parameters: Parameters) -> dict[str, Layer]:
    """The layers with the biases of their recognition, whose uses are noted in `parameters`."""
    out, scope = dict(layers), parameters.scope
    for edge in of_kind(edges, "recognition"):
        target = edge.head
        name = RECOGNITION_BIAS + target
        if out[target].recognition is not None:
            continue
        if name in scope.declared or name in parameters.uses:
            what = scope.declared[name][0] if name in scope.declared else parameters.uses[name][0].kind
            message = f"{name} is the name of a {what}, and that of the bias of q({target} | ...)"
            scope.record(MistakeError("E012", edge.span, message, f"give the {what} another name"))
            continue
        out[target] = replace(layers[target], recognition=name)
        place = Identifier(name, span=layers[target].span)
        parameters.add(Use("bias", place, (layers[target],), Traits(Initial("constant", 0.0))))
    return out


def _hidden_parents(directed: Sequence[Edge], layers: Mapping[str, Layer]) -> list[str]:
    """The hidden layers that are parents, in file order."""
    parents = {edge.tail for edge in directed}
    return [name for name, layer in layers.items() if name in parents and layer.role == "hidden"]


def _in_mistakes(declarations: Sequence[EdgeDeclaration], scope: Scope) -> set[str]:
    """The layers of edges in which a mistake is reported."""
    wrong = [error.span for error in scope.diagnostics.errors]
    return {
        layer.name
        for declaration in declarations
        if any(declaration.span.start <= span.start < declaration.span.end for span in wrong)
        for layer in declaration.layers
    }


def _unseen(directed: Sequence[Edge], layers: Mapping[str, Layer]) -> list[str]:
    """The hidden children on which no observed layer depends, in file order: each sums out, to 1."""
    seen = {name for name, layer in layers.items() if layer.role != "hidden"}
    while more := {edge.tail for edge in directed if edge.head in seen} - seen:
        seen |= more
    return [name for name in layers if name not in seen and any(edge.head == name for edge in directed)]


def _no_data(edge: Edge, edges: Sequence[Edge], layers: Mapping[str, Layer]) -> MistakeError:
    child, parent = edge.head, edge.tail
    message = (
        f"{child} is hidden, and no observed layer depends on it: summed out it leaves nothing, so that data say "
        f"nothing of {edge.weight}"
    )
    help = f"turn the edge round: {child} -> {parent}"
    if layers[parent].role == "visible":
        help += f"; a recognition edge, {parent} ~> {child}, says how {child} follows from data"
    return MistakeError("E116", edge.span, message, help)


def _unrecognised(parent: str, directed: Sequence[Edge], layers: Mapping[str, Layer]) -> MistakeError:
    child = next(edge.head for edge in directed if edge.tail == parent)
    message = f"no recognition edge goes into {parent}, so nothing says how it follows from data"
    return MistakeError("E114", layers[parent].span, message, f"add one, for example {child} ~> {parent}")


def _verify_child(edge: Edge, edges: Sequence[Edge], layers: Mapping[str, Layer]) -> None:
    """Raise `MistakeError` for a directed edge into a given layer, or into one that has undirected edges too."""
    child, parent = edge.head, edge.tail
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
        raise MistakeError("E110", edge.span, message, _one_kind(edge, other, shown, layers))


def _one_kind(edge: Edge, other: Edge, shown: str, layers: Mapping[str, Layer]) -> str:
    """How a child's directed and undirected edges become edges of one kind."""
    child, parent = edge.head, edge.tail
    if other.lateral or len(other.layers) > 2:
        return f"leave {shown} out, or write {child} -- {parent} in place of {parent} -> {child}"
    lower, upper = sorted(other.layers, key=list(layers).index)
    if {lower, upper} == {child, parent}:
        return f"keep one of the two: {parent} -> {child}, or {shown}"
    return f"make both directed, with {upper} -> {lower}, or both undirected, with {child} -- {parent}"


def _verify_acyclic(edges: Sequence[Edge], layers: Mapping[str, Layer]) -> None:
    """Raise `MistakeError` where edges of one kind lead back to where they begin."""
    left = list(edges)
    while left:
        heads = {edge.head for edge in left}
        kept = [edge for edge in left if edge.tail in heads]
        if len(kept) == len(left):
            raise _cycle(left, list(layers))
        left = kept


def _cycle(edges: Sequence[Edge], names: Sequence[str]) -> MistakeError:
    kind, arrow = edges[0].kind, "->" if edges[0].kind == "directed" else "~>"
    members = [name for name in names if any(name in edge.layers for edge in edges)]
    pairs = {(edge.tail, edge.head) for edge in edges}
    back = [edge for edge in edges if (edge.head, edge.tail) in pairs]
    downward = [edge for edge in back if names.index(edge.tail) > names.index(edge.head)]
    astray = [edge for edge in back if (edge in downward) != (kind == "directed")]
    wrong = (astray or back or edges)[-1]
    source, target = wrong.tail, wrong.head
    message = f"the {kind} edges among {', '.join(members)} lead back to where they begin"
    help = f"turn one round, or leave it out, for example {source} {arrow} {target}"
    if kind == "directed" and astray:
        help = f"write {source} ~> {target} if this edge is to say how {target} follows from data; else leave it out"
    return MistakeError("E112", wrong.span, message, help)


def _verify_recognition(
    edge: Edge, edges: Sequence[Edge], layers: Mapping[str, Layer], parents: Sequence[str], targets: Collection[str]
) -> None:
    """Raise `MistakeError` for a recognition edge that says nothing, or whose weight is tied."""
    source, target = edge.tail, edge.head
    if target not in parents:
        help = "leave this recognition edge out"
        if layers[target].role != "hidden":
            message = f"{target} is {layers[target].role}: it is observed, and nothing has to recognise it"
            help += f", or turn it round: {target} ~> {source}" if source in parents else ""
        else:
            message = (
                f"{target} has no directed child, so its conditional given its neighbours follows from the model, and "
                "needs no recognition"
            )
        raise MistakeError("E113", edge.span, message, help)
    if layers[source].role == "hidden" and source not in targets:
        message = f"{source} is hidden, and no recognition edge says how it follows from data"
        below = next((e.head for e in edges if e.kind == "directed" and e.tail == source), None)
        help = "recognition goes bottom-up, from a visible layer on" + (f": add {below} ~> {source}" if below else "")
        raise MistakeError("E113", edge.span, message, help)
    other = next((e for e in edges if e.weight == edge.weight and e.kind != "recognition"), None)
    if other is not None:
        message = (
            f"{edge.weight} is a recognition weight here and a weight of the model elsewhere: wake-sleep trains the "
            "two to different ends"
        )
        help = f"give this edge a weight of its own, for example R_{source}_{target}"
        raise MistakeError("E115", edge.span, message, help)
