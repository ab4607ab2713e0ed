"""Formulas walked, and rewritten: the same tree with some of its nodes replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import assert_never

from pgmdsl.grammar import walk as trees
from pgmdsl.grammar.syntax import (
    Binary,
    Call,
    Compare,
    Conditional,
    Expression,
    Generator,
    Index,
    Name,
    Negate,
    Number,
    Set,
    Text,
    Transpose,
)


def walk(node: Expression) -> Iterator[Expression]:
    """Every expression inside this one, itself first."""
    return (inner for inner, _ in trees.walk(node))


def rewrite(node: Expression, change: Callable[[Expression], Expression | None]) -> Expression:
    """The tree with every node for which `change` gives another replaced, outermost first.

    What `change` returns is not walked again. Bound names are not renamed: the caller avoids capture.
    """
    changed = change(node)
    if changed is not None:
        return changed

    def inner(child: Expression) -> Expression:
        return rewrite(child, change)

    match node:
        case Number() | Name() | Text():
            return node
        case Index(_, indices):
            return replace(node, indices=tuple(map(inner, indices)))
        case Set(members):
            return replace(node, members=tuple(map(inner, members)))
        case Negate(operand) | Transpose(operand):
            return replace(node, operand=inner(operand))
        case Binary(_, left, right) | Compare(_, left, right):
            return replace(node, left=inner(left), right=inner(right))
        case Conditional(value, condition, otherwise):
            return replace(node, value=inner(value), condition=inner(condition), otherwise=inner(otherwise))
        case Call(_, arguments, given, generator):
            return replace(
                node,
                arguments=tuple(map(inner, arguments)),
                given=None if given is None else tuple(map(inner, given)),
                generator=None if generator is None else _generator(generator, inner),
            )
        case _:
            assert_never(node)


def _generator(generator: Generator, inner: Callable[[Expression], Expression]) -> Generator:
    return replace(
        generator,
        condition=None if generator.condition is None else inner(generator.condition),
        at=None if generator.at is None else inner(generator.at),
    )
