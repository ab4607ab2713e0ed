"""Walks over expressions without recursion: no depth of nesting can exhaust Python's stack here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from pgmdsl.grammar.syntax import (
    Binary,
    Call,
    CheckDeclaration,
    Compare,
    Conditional,
    DataBlock,
    EdgeDeclaration,
    Expression,
    Index,
    LayerDeclaration,
    ModelDeclaration,
    Name,
    Negate,
    Number,
    Option,
    Phase,
    Set,
    Statement,
    Text,
    TrainBlock,
    Transpose,
    UnitDeclaration,
    Version,
)


def children(node: Expression) -> tuple[Expression, ...]:
    """The expressions directly inside one, in the order written."""
    match node:
        case Number() | Name() | Text():
            return ()
        case Index(indices=inner) | Set(members=inner):
            return inner
        case Negate(operand=operand) | Transpose(operand=operand):
            return (operand,)
        case Binary(left=left, right=right) | Compare(left=left, right=right):
            return (left, right)
        case Conditional(value, condition, otherwise):
            return (value, condition, otherwise)
        case Call(arguments=arguments, given=given, generator=generator):
            tail = (generator.condition, generator.at) if generator else ()
            return (*arguments, *(given or ()), *(e for e in tail if e is not None))
        case _:
            assert_never(node)


def walk(node: Expression) -> Iterator[tuple[Expression, int]]:
    """An expression and all those inside it, each with its depth (0 for the whole), outer before inner."""
    stack = [(node, 0)]
    while stack:
        item, depth = stack.pop()
        yield item, depth
        stack.extend((child, depth + 1) for child in reversed(children(item)))


def expressions(statement: Statement | Option | Phase) -> Iterator[Expression]:
    """The outermost expressions of a statement, in the order written."""
    match statement:
        case Version():
            return
        case ModelDeclaration(sizes=sizes):
            yield from (s.default for s in sizes if s.default is not None)
        case LayerDeclaration(dims=dims, options=options, bias=bias):
            yield from dims
            yield from (o.value for o in (*options, *(bias.options if bias else ())))
        case EdgeDeclaration(weight=weight):
            yield from (o.value for o in (weight.options if weight else ()))
        case CheckDeclaration(left=left, right=right, where=where):
            yield from (left, right, *(o.value for o in where))
        case UnitDeclaration():
            parts = (statement.support, statement.lower, statement.energy, statement.statistic)
            yield from (e for e in parts if e is not None)
        case Option(value=value):
            yield value
        case Phase(target=target, entries=entries):
            yield from () if target is None else (target,)
            yield from (o.value for o in entries)
        case DataBlock(entries=entries):
            yield from (o.value for o in entries)
        case TrainBlock(items=items):
            for item in items:
                yield from expressions(item)
        case _:
            assert_never(statement)
