"""Building formulas: sums and products without superfluous parts, texts with names filled in, indices renamed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

from pgmdsl.compiler.rewrite import rewrite
from pgmdsl.grammar.parse import parse_expression
from pgmdsl.grammar.syntax import Binary, Call, Expression, Generator, Index, Name, Negate, Number
from pgmdsl.grammar.walk import walk

ZERO = Number("0")
ONE = Number("1")

Term = tuple[int, Expression]  # +1 or -1, and what is added


def constant(value: Fraction) -> Expression:
    """A number that is not negative."""
    if value.denominator == 1:
        return Number(str(value.numerator))
    return Binary("/", Number(str(value.numerator)), Number(str(value.denominator)))


def signed_constant(value: Fraction) -> Expression:
    """A number, below 0 with its sign before it."""
    return constant(value) if value >= 0 else Negate(constant(-value))


def entry(name: str, indices: Iterable[str]) -> Index:
    """`name[i, j]`."""
    return Index(name, tuple(Name(i) for i in indices))


def signed(sign: int, expression: Expression) -> Term:
    """A term without its leading minus signs; `sign` counts along."""
    match expression:
        case Negate(operand):
            return signed(-sign, operand)
        case Binary("*" | "/", left, _):
            sign, left = signed(sign, left)
            return sign, replace(expression, left=left)
        case _:
            return sign, expression


def total(terms: Sequence[Term]) -> Expression:
    """The sum of signed terms; 0 for none."""
    result: Expression | None = None
    for sign, expression in terms:
        if result is None:
            result = expression if sign > 0 else Negate(expression)
        else:
            result = Binary("+" if sign > 0 else "-", result, expression)
    return result if result is not None else ZERO


def product(factors: Sequence[Expression], divisors: Sequence[Expression] = ()) -> Expression:
    """The product of the factors over the product of the divisors; a quotient among the factors joins in."""
    above: list[Expression] = []
    below: list[Expression] = list(divisors)
    for factor in factors:
        while isinstance(factor, Binary) and factor.op == "/":
            below.insert(0, factor.right)
            factor = factor.left
        if factor != ONE:
            above.append(factor)
    result: Expression = above[0] if above else ONE
    for factor in above[1:]:
        result = Binary("*", result, factor)
    for divisor in below:
        result = Binary("/", result, divisor)
    return result


def call(function: str, *arguments: Expression) -> Call:
    """`function(arguments)`."""
    return Call(function, arguments)


def sum_over(body: Expression, indices: Sequence[str]) -> Expression:
    """`sum(body for indices)`, or the body alone where there are none."""
    return Call("sum", (body,), generator=Generator(tuple(indices))) if indices else body


def summed(terms: Iterable[Term], indices: Sequence[str]) -> list[Term]:
    """Each term summed over the indices, signs outside."""
    return [(sign, sum_over(body, indices)) for sign, body in terms]


def tidied(node: Expression) -> Expression:
    """The formula without terms and factors that are 0, and factors that are 1 (powers are those of the unit table)."""
    match node:
        case Negate(operand):
            inner = tidied(operand)
            return inner if inner == ZERO else Negate(inner)
        case Binary("^", first, second):
            base, exponent = tidied(first), tidied(second)
            return base if base in (ZERO, ONE) and isinstance(exponent, Number) else Binary("^", base, exponent)
        case Binary(op, first, second):
            left, right = tidied(first), tidied(second)
            if op in "+-" and right == ZERO:
                return left
            if op in "+-" and left == ZERO:
                return right if op == "+" else Negate(right)
            if left == ZERO or (op == "*" and right == ZERO):
                return ZERO
            if op in "*/" and right == ONE:
                return left
            return right if op == "*" and left == ONE else Binary(op, left, right)
        case _:
            return node


def split_sum(expression: Expression, sign: int = 1) -> list[Term]:
    """The terms of a sum or difference at the top of a formula."""
    match expression:
        case Negate(operand):
            return split_sum(operand, -sign)
        case Binary("+" | "-" as op, left, right):
            return split_sum(left, sign) + split_sum(right, sign if op == "+" else -sign)
        case Number("0"):
            return []
        case _:
            return [(sign, expression)]


def filled(
    text: str,
    names: Mapping[str, Expression],
    entries: Mapping[str, Callable[[str], Expression]],
    indices: Mapping[str, str],
    avoid: Iterable[str],
) -> Expression:
    """A formula of the unit table with its names filled in.

    `x` becomes `names["x"]`, `f[k]` becomes `entries["f"](k)`, a free index k `indices["k"]`. Its bound indices get
    names not in `avoid`, which holds every index of what is filled in.
    """

    def change(node: Expression) -> Expression | None:
        match node:
            case Name(name) if name in names:
                return names[name]
            case Index(name, (Name(index),)) if name in entries:
                return entries[name](index)
            case _:
                return None

    return rewrite(renamed(_formula(text), indices, {*avoid, *names, *entries}), change)


@lru_cache(256)
def _formula(text: str) -> Expression:
    """A formula of the unit table, parsed once."""
    return parse_expression(text)


def bound_names(expression: Expression) -> set[str]:
    """Every index that a sum, product or softmax inside binds."""
    return {
        n for node, _ in walk(expression) if isinstance(node, Call) and node.generator for n in node.generator.names
    }


def renamed(expression: Expression, names: Mapping[str, str], avoid: Iterable[str]) -> Expression:
    """The formula with free indices renamed; bound indices that are a new name or in `avoid` get other names."""
    clash = set(avoid) | set(names.values())
    held = {node.name for node, _ in walk(expression) if isinstance(node, Name)}
    return _renamed(expression, dict(names), clash, clash | held | bound_names(expression))


def _renamed(expression: Expression, names: Mapping[str, str], clash: set[str], taken: set[str]) -> Expression:
    def change(node: Expression) -> Expression | None:
        match node:
            case Name(name) if name in names:
                return Name(names[name], span=node.span)
            case Call(generator=Generator() as generator):
                return _renamed_call(node, generator, names, clash, taken)
            case _:
                return None

    return rewrite(expression, change)


def _renamed_call(node: Call, generator: Generator, names: Mapping[str, str], clash: set[str], taken: set[str]) -> Call:
    inner = {old: new for old, new in names.items() if old not in generator.names}
    for index in generator.names:
        if index in clash:
            inner[index] = fresh_index(taken)
            taken.add(inner[index])
    condition, at = generator.condition, generator.at
    new = replace(
        generator,
        names=tuple(inner.get(n, n) for n in generator.names),
        condition=None if condition is None else _renamed(condition, inner, clash, taken),
        at=None if at is None else _renamed(at, names, clash, taken),
    )
    return replace(node, arguments=tuple(_renamed(a, inner, clash, taken) for a in node.arguments), generator=new)


LETTERS = "ijklmnopqrstuwyzacdeg"  # not those of the unit table's formulas (x, b, f), nor v and h


def fresh_index(taken: Iterable[str]) -> str:
    """An index name that is not taken: i, j, k, ..., then i1, j1, ...."""
    names = set(taken)
    round_ = 0
    while True:
        for letter in LETTERS:
            name = letter if round_ == 0 else f"{letter}{round_}"
            if name not in names:
                return name
        round_ += 1
