"""Expressions to text, with as few parentheses as their meaning needs."""

from __future__ import annotations

from typing import assert_never

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

# How tightly a node binds; a place in a formula names the least that may stand there without parentheses.
_CONDITIONAL, _COMPARE, _SUM, _PRODUCT, _UNARY, _POWER, _POSTFIX, _ATOM = range(8)
_BINDING = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "^": _POWER}


def format_expression(expression: Expression) -> str:
    """The expression as a model file would write it: `parse_expression` of the text gives it back.

    Products are written tight (`2*x`), sums and comparisons with spaces, entries tight (`W[i,j]`).
    """
    return _text(expression, _CONDITIONAL)


def _binding(node: Expression) -> int:
    """How tightly a node's outermost operator binds."""
    match node:
        case Conditional():
            return _CONDITIONAL
        case Compare():
            return _COMPARE
        case Binary(op=op):
            return _BINDING[op]
        case Negate():
            return _UNARY
        case Transpose():
            return _POSTFIX
        case Number() | Name() | Text() | Index() | Call() | Set():
            return _ATOM
        case _:
            assert_never(node)


def _text(node: Expression, least: int) -> str:
    """The node's text, in parentheses if it binds less tightly than its place needs."""
    match node:
        case Number(text) | Name(text):
            out = text
        case Text(value):
            out = f'"{value}"'
        case Index(name, indices):
            out = f"{name}[{','.join([_text(i, _CONDITIONAL) for i in indices])}]"
        case Negate(operand):
            # -(-x), for --x looks like an edge
            out = "-" + _text(operand, _POWER if isinstance(operand, Negate) else _UNARY)
        case Binary("^", left, right):
            out = f"{_text(left, _POSTFIX)}^{_text(right, _UNARY)}"
        case Binary(op, left, right):
            sign = f" {op} " if op in "+-" else op
            out = f"{_text(left, _BINDING[op])}{sign}{_text(right, _BINDING[op] + 1)}"
        case Compare(op, left, right):
            out = f"{_text(left, _SUM)} {op} {_text(right, _SUM if op != '=' else _value(right))}"
        case Conditional(value, condition, otherwise):
            then = _text(otherwise, _value(otherwise))
            out = f"{_text(value, _SUM)} if {_text(condition, _COMPARE)} else {then}"
        case Transpose(operand):
            out = _text(operand, _ATOM if isinstance(operand, Text) else _POSTFIX) + "'"
        case Set(members):
            out = "{" + ", ".join([_text(m, _CONDITIONAL) for m in members]) + "}"
        case Call():
            out = _call(node)
        case _:
            assert_never(node)
    return f"({out})" if _binding(node) < least else out


def _value(node: Expression) -> int:
    """What may stand after `else` and after an event's `=`: anything but a comparison."""
    return _SUM if isinstance(node, Compare) else _CONDITIONAL


def _call(call: Call) -> str:
    """A call with its tail."""
    inner = ", ".join([_text(a, _CONDITIONAL) for a in call.arguments])
    if call.given is not None:
        inner += " | " + ", ".join([_text(g, _CONDITIONAL) for g in call.given])
    if call.generator is not None:
        inner += _generator(call.generator)
    if call.over:
        inner += f" over {', '.join(call.over)}"
    if call.under is not None:
        inner += f" under {call.under}"
    return f"{call.function}({inner})"


def _generator(generator: Generator) -> str:
    """` for i, j if i != j at k`."""
    out = f" for {', '.join(generator.names)}"
    if generator.condition is not None:
        out += f" if {_text(generator.condition, _COMPARE)}"
    if generator.at is not None:
        out += f" at {_text(generator.at, _SUM)}"
    return out
