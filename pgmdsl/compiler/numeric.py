"""Formulas evaluated at numbers.

A formula is turned into nested functions once, and these are called with a point (sizes, entries of arrays) and the
values of the indices in force, which count from 0.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from math import prod
from typing import Protocol

from pgmdsl.compiler.arithmetic import Arithmetic, Value
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
)
from pgmdsl.grammar.walk import children

Indices = dict[str, int]
Entry = Callable[[str, tuple[int, ...]], Value]
States = Mapping[tuple[str, tuple[int, ...]], Value]
Function = Callable[["Point", Indices], Value]


class NoValueError(Exception):
    """The formula has no real value at a point: a division by 0, a logarithm or root of a negative number."""


class NoStatesError(Exception):
    """A sum over states that have no end is not evaluated."""


class Average(Protocol):
    """What `data(...)` and `model(...)` are at a point."""

    def __call__(self, kind: str, body: Function, point: Point, indices: Indices) -> Value:
        """The average of the body over states."""


@dataclass(frozen=True)
class Point:
    """Where a formula is evaluated: the values of sizes, the shapes of arrays and their entries.

    `twin` gives the place of an entry that is the same parameter (its own where there is no other), None for an entry
    that is no parameter, the diagonal of a lateral weight; `states` the states of a layer, for sums over them.
    """

    sizes: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]
    entry: Entry
    twin: Callable[[str, tuple[int, ...]], tuple[int, ...] | None]
    states: Callable[[Point, str], Iterator[States]]
    average: Average | None = None

    def moved(self, name: str, indices: tuple[int, ...], step: Value) -> Point:
        """The point with one entry, and its twin, changed by a step."""
        twin = self.twin(name, indices)
        places = () if twin is None else (indices, twin)

        def entry(other: str, at: tuple[int, ...]) -> Value:
            value = self.entry(other, at)
            return value + step if other == name and at in places else value

        return replace(self, entry=entry)

    def at(self, states: States) -> Point:
        """The point with these states."""
        base = self.entry

        def entry(name: str, at: tuple[int, ...]) -> Value:
            value = states.get((name, at))
            return base(name, at) if value is None else value

        return replace(self, entry=entry)


_COMPARISONS: dict[str, Callable[[Value, Value], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_ARITHMETIC: dict[str, Callable[[Value, Value], Value]] = {
    "+": operator.add,
    "-": operator.sub,
}


def evaluate(expression: Expression, arithmetic: Arithmetic, point: Point, indices: Mapping[str, int]) -> Value:
    """The value of a formula at a point.

    Raises `NoValueError` where it has none, `OverflowError` where it is too large for the arithmetic.
    """
    try:
        value = compiled(expression, arithmetic)(point, dict(indices))
    except (ZeroDivisionError, ValueError):
        raise NoValueError from None
    if value - value != 0:  # infinite, or not a number
        raise OverflowError if isinstance(value, float) else NoValueError
    return value


def compiled(node: Expression, arithmetic: Arithmetic) -> Function:
    """The formula as a function of a point and of the values of its free indices."""
    match node:
        case Number():
            constant = arithmetic.number(node.value)
            return lambda point, indices: constant
        case Name("pi"):
            pi = arithmetic.pi()
            return lambda point, indices: pi
        case Name("Z"):
            return lambda point, indices: point.entry("Z", ())
        case Name(name):
            return lambda point, indices: indices[name] if name in indices else point.sizes[name]
        case Index(name, entries):
            names = tuple(e.name for e in entries if isinstance(e, Name))
            return lambda point, indices: point.entry(name, tuple([indices[n] for n in names]))
        case Negate(operand):
            inner = compiled(operand, arithmetic)
            return lambda point, indices: -inner(point, indices)
        case Binary("^", left, right):
            base, exponent = compiled(left, arithmetic), compiled(right, arithmetic)
            return lambda point, indices: arithmetic.power(base(point, indices), exponent(point, indices))
        case Binary("*" | "/" as op, left, right):
            return _product(op, compiled(left, arithmetic), compiled(right, arithmetic), arithmetic)
        case Binary(op, left, right):
            return _joined(_ARITHMETIC[op], compiled(left, arithmetic), compiled(right, arithmetic))
        case Compare(op, left, right):
            return _comparison(op, compiled(left, arithmetic), compiled(right, arithmetic), arithmetic)
        case Conditional(value, condition, otherwise):
            yes, test, no = (compiled(e, arithmetic) for e in (value, condition, otherwise))
            return lambda point, indices: yes(point, indices) if test(point, indices) else no(point, indices)
        case Call():
            return _compiled_call(node, arithmetic)
        case _:
            raise AssertionError("a form that the check of scope lets through has a value")


def _compiled_call(node: Call, arithmetic: Arithmetic) -> Function:
    match node:
        case Call(function, (body,), generator=Generator() as generator):
            return _generated(function, body, generator, arithmetic)
        case Call("d", (body, Index() as variable)):
            return _difference(compiled(body, arithmetic), variable, arithmetic)
        case Call("sum", (body,), over=layers) if layers:
            return _over(compiled(body, arithmetic), layers)
        case Call("length", (Name(layer),)):
            return lambda point, indices: sum(point.entry(layer, (k,)) for k in range(point.shapes[layer][-1]))
        case Call(function, (argument,)):
            return _called(function, compiled(argument, arithmetic), arithmetic)
        case _:
            raise AssertionError("a form that the check of scope lets through has a value")


def _joined(combine: Callable[[Value, Value], Value], left: Function, right: Function) -> Function:
    return lambda point, indices: combine(left(point, indices), right(point, indices))


def _product(op: str, left: Function, right: Function, arithmetic: Arithmetic) -> Function:
    note = arithmetic.note
    if op == "*":
        return lambda point, indices: note(left(point, indices) * right(point, indices))
    return lambda point, indices: note(left(point, indices) / note(right(point, indices)))


def _comparison(op: str, left: Function, right: Function, arithmetic: Arithmetic) -> Function:
    """A comparison; what two values differ by counts into the extent, for it may be but a rounding error."""
    compare = _COMPARISONS[op]

    def compared(point: Point, indices: Indices) -> bool:
        first, second = left(point, indices), right(point, indices)
        arithmetic.note(first - second)
        return compare(first, second)

    return compared


def _called(function: str, inner: Function, arithmetic: Arithmetic) -> Function:
    apply: Callable[[Value], Value]
    match function:
        case "exp":
            apply = arithmetic.exp
        case "log":
            apply = arithmetic.log
        case "sigmoid":
            apply = arithmetic.logistic
        case "softplus":
            apply = arithmetic.softplus
        case "tanh":
            apply = lambda x: 2 * arithmetic.logistic(2 * x) - 1  # noqa: E731
        case "sqrt":
            half = arithmetic.number(Fraction(1, 2))
            apply = lambda x: arithmetic.power(x, half)  # noqa: E731
        case "abs":
            apply = abs
        case "factorial":
            apply = arithmetic.factorial
        case "log_normal_cdf":
            apply = arithmetic.log_normal_cdf
        case _:
            return lambda point, indices: _average(function, inner, point, indices)
    return lambda point, indices: apply(inner(point, indices))


def _average(kind: str, body: Function, point: Point, indices: Indices) -> Value:
    assert point.average is not None, "averages stand in gradients only"
    return point.average(kind, body, point, indices)


def _generated(function: str, body: Expression, generator: Generator, arithmetic: Arithmetic) -> Function:
    """`sum`, `prod` and `softmax` over the ranges of their indices."""
    inner = compiled(body, arithmetic)
    test = compiled(generator.condition, arithmetic) if generator.condition is not None else None
    axes = [(name, *axis_of(body, name)) for name in generator.names]

    def values(point: Point, indices: Indices) -> list[Value]:
        ranges = [(name, point.shapes[array][axis]) for name, array, axis in axes]
        cases = [dict(indices)]
        for name, length in ranges:
            cases = [{**case, name: k} for case in cases for k in range(length)]
        return [inner(point, case) for case in cases if test is None or test(point, case)]

    if function == "sum":
        return lambda point, indices: sum(values(point, indices))
    if function == "prod":
        return lambda point, indices: reduce(lambda x, y: arithmetic.note(x * y), values(point, indices), 1)
    assert isinstance(generator.at, Name), "softmax has an entry"
    at = generator.at.name

    def softmax(point: Point, indices: Indices) -> Value:
        powers = [arithmetic.exp(x) for x in values(point, indices)]
        return powers[indices[at]] / sum(powers)

    return softmax


def _over(body: Function, layers: tuple[str, ...]) -> Function:
    """The sum over all states of some layers."""

    def total(point: Point, indices: Indices) -> Value:
        cases = [point]
        for layer in layers:
            cases = [case.at(states) for case in cases for states in point.states(case, layer)]
        return sum(body(case, indices) for case in cases)

    return total


def cost(node: Expression, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """About how many operations an evaluation takes."""
    inner = 1 + sum(cost(child, shapes) for child in children(node))
    if isinstance(node, Call) and node.generator is not None:
        for name in node.generator.names:
            array, axis = axis_of(node.arguments[0], name)
            inner *= shapes[array][axis]
    if isinstance(node, Call):
        for layer in node.over:
            inner *= 2 ** prod(shapes[layer])
    return inner


def axis_of(body: Expression, index: str) -> tuple[str, int]:
    """An array and its axis over which an index runs that is free in the body."""
    found = next(_axes(body, index), None)
    assert found is not None, "an index is used where it is bound"
    return found


def _axes(node: Expression, index: str) -> Iterator[tuple[str, int]]:
    """The axes at which an index stands free; the entry of a softmax is one of the index that it runs over."""
    match node:
        case Index(name, indices):
            yield from ((name, axis) for axis, entry in enumerate(indices) if entry == Name(index))
        case Call(_, arguments, generator=Generator() as generator):
            if generator.at == Name(index):
                yield axis_of(arguments[0], generator.names[0])
            if index not in generator.names:
                for argument in arguments:
                    yield from _axes(argument, index)
        case _:
            for child in children(node):
                yield from _axes(child, index)


def difference_depth(node: Expression) -> int:
    """How many derivatives stand inside one another."""
    inner = max(map(difference_depth, children(node)), default=0)
    return inner + (isinstance(node, Call) and node.function == "d")


def _difference(body: Function, variable: Index, arithmetic: Arithmetic) -> Function:
    """A derivative by an entry of a parameter, as a central difference."""
    names = tuple(e.name for e in variable.indices if isinstance(e, Name))
    step = arithmetic.step

    def derivative(point: Point, indices: Indices) -> Value:
        at = tuple(indices[name] for name in names)
        up = body(point.moved(variable.name, at, step), indices)
        down = body(point.moved(variable.name, at, -step), indices)
        return (up - down) / (2 * step)

    return derivative
