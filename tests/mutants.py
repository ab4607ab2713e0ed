"""Every small way to get a formula wrong, for tests of the prover."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pgmdsl.compiler.model import Model
from pgmdsl.grammar.syntax import (
    Binary,
    Call,
    CheckDeclaration,
    Compare,
    Conditional,
    Expression,
    Index,
    Name,
    Negate,
    Number,
)

SCALARS = ("sigmoid", "tanh", "exp", "softplus", "log", "log_normal_cdf")
SWAPS = {"sum": ("prod",), "prod": ("sum",), "data": ("model",), "model": ("data",)}


def mutated_checks(model: Model, check: CheckDeclaration) -> Iterator[CheckDeclaration]:
    """The check with one small change on its right side, or another state in the event on its left."""
    axes = {name: len(p.shape) for name, p in model.parameters.items()}
    axes |= {name: len(layer.dims) for name, layer in model.layers.items()}
    free = [
        i.name for node in _every(check.left) if isinstance(node, Index) for i in node.indices if isinstance(i, Name)
    ]
    free += [c.right.name for c in _every(check.left) if isinstance(c, Compare) and isinstance(c.right, Name)]
    seen = {check.right}
    for right in changes(check.right, axes, free):
        if right not in seen:
            seen.add(right)
            yield replace(check, right=right)
    match check.left:
        case Call("p", (Compare("=", unit, Number() | Negate()) as event,)) if isinstance(unit, Index):
            for value in (Number("0"), Number("1"), Negate(Number("1"))):
                if value != event.right:
                    yield replace(check, left=replace(check.left, arguments=(replace(event, right=value),)))


def _every(node: Expression) -> Iterator[Expression]:
    yield node
    for _, child in _children(node):
        yield from _every(child)


def _children(node: Expression) -> list[tuple[str, Any]]:
    """The expressions inside a node, each with where it is: a field, or arguments[k]."""
    match node:
        case Negate(operand):
            return [("operand", operand)]
        case Binary(_, left, right) | Compare(_, left, right):
            return [("left", left), ("right", right)]
        case Conditional(value, condition, otherwise):
            return [("value", value), ("condition", condition), ("otherwise", otherwise)]
        case Call(_, arguments):
            return [(str(k), argument) for k, argument in enumerate(arguments)]
        case _:
            return []


def _put(node: Any, place: str, child: Expression) -> Any:
    if place.isdigit():
        k = int(place)
        return replace(node, arguments=(*node.arguments[:k], child, *node.arguments[k + 1 :]))
    return replace(node, **{place: child})


def changes(node: Expression, axes: dict[str, int], scope: Sequence[str]) -> Iterator[Expression]:
    """The formula with one small change somewhere; `axes` are the names known, `scope` the indices in force."""
    yield from _here(node, axes, scope)
    inner = list(scope)
    if isinstance(node, Call) and node.generator is not None:
        inner += node.generator.names
    for place, child in _children(node):
        for changed in changes(child, axes, inner):
            yield _put(node, place, changed)


def _here(node: Expression, axes: dict[str, int], scope: Sequence[str]) -> Iterator[Expression]:
    """Changes of the node itself."""
    yield Negate(node)
    match node:
        case Negate(operand):
            yield operand
        case Binary(op, left, right):
            yield left
            yield right
            for other in {"+": "-*", "-": "+", "*": "/+", "/": "*", "^": "*"}[op]:
                yield Binary(other, left, right)
            if op in "-/^":
                yield Binary(op, right, left)
        case Number(text):
            for other in {str(int(text) + 1), "0", "1"} if text.isdigit() else ():
                yield Number(other)
        case Name() | Compare():
            yield from _sign_here(node)
        case Conditional(value, condition, otherwise):
            yield Conditional(otherwise, condition, value)
            yield value
        case Index(name, indices):
            yield Index(name, indices[::-1])
            for other, count in axes.items():
                if count == len(indices) and other != name:
                    yield Index(other, indices)
            for k in range(len(indices)):
                for index in scope:
                    yield Index(name, (*indices[:k], Name(index), *indices[k + 1 :]))
            yield Binary("*", Number("2"), node)
            yield Number("1")
            yield Number("0")
        case Call(function, arguments):
            yield from _call_here(node, function, arguments, scope)
        case _:
            pass


def _sign_here(node: Expression) -> Iterator[Expression]:
    """Another sign of comparison, another power of Z."""
    match node:
        case Name("Z"):
            yield Binary("^", node, Number("2"))
            yield Number("1")
        case Compare("!=", left, right):
            yield Compare("==", left, right)
        case Compare(">", left, right):
            yield Compare("<", left, right)
            yield Compare(">=", left, right)
        case _:
            pass


def _call_here(
    node: Call, function: str, arguments: tuple[Expression, ...], scope: Sequence[str]
) -> Iterator[Expression]:
    others = SCALARS if function in SCALARS else SWAPS.get(function, ()) if not node.over else ()
    for other in others:
        if other != function:
            yield replace(node, function=other)
    if function in SCALARS:
        yield arguments[0]
    if function in ("length", "factorial"):
        yield Number("1")
        yield Binary("*", Number("2"), node)
    for k in range(len(node.over)):
        rest = (*node.over[:k], *node.over[k + 1 :])
        yield replace(node, over=rest) if rest else arguments[0]
    if len(arguments) > 1:
        yield replace(node, arguments=arguments[::-1])
    generator = node.generator
    if generator is not None:
        if len(generator.names) > 1:
            yield replace(node, generator=replace(generator, names=generator.names[:1]))
        if generator.condition is not None:
            yield replace(node, generator=replace(generator, condition=None))
        if generator.at is not None:
            for index in scope:
                yield replace(node, generator=replace(generator, at=Name(index)))
