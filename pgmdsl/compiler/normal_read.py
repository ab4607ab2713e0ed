"""Formulas to normal forms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from pgmdsl.compiler.model import Size
from pgmdsl.compiler.normal import Algebra
from pgmdsl.compiler.normal_expect import LayerMean
from pgmdsl.compiler.normal_laws import length_of
from pgmdsl.compiler.normal_product import INDICATORS, add, number, scale, subtract
from pgmdsl.compiler.normal_terms import NoProofError, Poly
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

HALF = Fraction(1, 2)


@dataclass(frozen=True, slots=True)
class Reading:
    """A call inside of a formula and its normal form; `bound` maps indices in force around it to their fresh names."""

    node: Call
    poly: Poly
    bound: Mapping[str, str]


class Reader:
    """Reads formulas whose names have these shapes.

    `readings` are the calls that were read, inner ones first. `ranges` is filled as it reads: the range of an index is
    that of the axis where it is used. Indices that are bound are given fresh names before anything else, so that none
    is captured.
    """

    def __init__(
        self, algebra: Algebra, shapes: Mapping[str, tuple[Size, ...]], fixed: Mapping[str, Fraction] | None = None
    ) -> None:
        """Start with no index known; every entry of a parameter in `fixed` is that number."""
        self.algebra = algebra
        self.fixed = fixed or {}
        self.shapes = shapes
        self.ranges: dict[str, Size] = {}
        self.readings: list[Reading] = []

    def read(self, node: Expression, bound: Mapping[str, str] | None = None) -> Poly:
        """The normal form of a formula; `bound` maps the indices in force that are bound to their fresh names.

        Raises `NoProofError` for what has no normal form.
        """
        poly = self._read(node, bound or {})
        if isinstance(node, Call):
            self.readings.append(Reading(node, poly, dict(bound or {})))
        return poly

    def _read(self, node: Expression, bound: Mapping[str, str]) -> Poly:
        match node:
            case Number():
                return number(node.value)
            case Name(name) if name in bound or name in self.ranges:
                raise NoProofError("the value of an index has no normal form")
            case Name(name):
                return self.algebra.ref(name)
            case Index(name, indices):
                names = self._indices(name, indices, bound)
                return number(self.fixed[name]) if name in self.fixed else self.algebra.ref(name, names)
            case Negate(operand):
                return scale(self.read(operand, bound), -1)
            case Binary(op, left, right):
                return self._binary(op, self.read(left, bound), self.read(right, bound))
            case Conditional(value, condition, otherwise):
                yes, no = self.read(value, bound), self.read(otherwise, bound)
                chosen = self._condition(condition, bound)  # read last: by now the ranges are known
                return add(no, self.algebra.multiply(chosen, subtract(yes, no)))
            case Call("expect", (body,), under=str()):
                return self.algebra.expected(self.read(body, bound))
            case Call("sum", (body,), over=layers) if layers:
                return self.algebra.summed(layers, self.read(body, bound))
            case Call(function, arguments, generator=None):
                return self._function(function, arguments, bound)
            case Call(function, (body,), generator=Generator() as generator):
                return self._generated(function, body, generator, bound)
            case _:
                raise NoProofError("a form without a normal form")

    def assume_posterior(self, means: Iterable[tuple[str, tuple[str, ...], Expression]]) -> None:
        """Say what `expect` is: the layers that q draws, the last one first, each with letters and its unit's mean."""
        found: list[LayerMean] = []
        for name, letters, mean in means:
            fresh = {letter: self.algebra.fresh() for letter in letters}
            found.append(LayerMean(name, tuple(fresh.values()), self.read(mean, fresh)))
        self.algebra.posterior = found

    def _indices(self, name: str, indices: tuple[Expression, ...], bound: Mapping[str, str]) -> tuple[str, ...]:
        names = []
        for index, size in zip(indices, self.shapes[name], strict=True):
            assert isinstance(index, Name), "indices are names: the check of scope sees to it"
            inner = bound.get(index.name, index.name)
            if self.ranges.setdefault(inner, size) != size:
                raise NoProofError("an index runs over two sizes")
            names.append(inner)
        return tuple(names)

    def _binary(self, op: str, left: Poly, right: Poly) -> Poly:
        match op:
            case "+":
                return add(left, right)
            case "-":
                return subtract(left, right)
            case "*":
                return self.algebra.multiply(left, right)
            case "/":
                return self.algebra.multiply(left, self.algebra.inverse(right))
            case _:
                return self.algebra.raised(left, right)

    def _condition(self, node: Expression, bound: Mapping[str, str]) -> Poly:
        """1 where the condition holds, else 0: of two indices (equal or not), or of two formulas."""
        algebra = self.algebra
        match node:
            case Compare("==" | "!=" as op, Name(left), Name(right)) if self._is_index(left, right, bound):
                first, second = bound.get(left, left), bound.get(right, right)
                if self.ranges[second] != self.ranges[first]:
                    raise NoProofError("two indices over two sizes are compared")
                same = algebra.delta(first, second)
                return same if op == "==" else subtract(number(1), same)
            case Compare(op, left, right):
                difference = subtract(self.read(left, bound), self.read(right, bound))
                above, from_ = (algebra.indicator(name, difference) for name in INDICATORS)
                match op:
                    case ">":
                        return above
                    case ">=":
                        return from_
                    case "<":
                        return subtract(number(1), from_)
                    case "<=":
                        return subtract(number(1), above)
                    case "==":
                        return subtract(from_, above)
                    case "!=":
                        return subtract(number(1), subtract(from_, above))
        raise NoProofError("a condition without a normal form")

    def _is_index(self, left: str, right: str, bound: Mapping[str, str]) -> bool:
        return all(bound.get(name, name) in self.ranges for name in (left, right))

    def _function(self, function: str, arguments: tuple[Expression, ...], bound: Mapping[str, str]) -> Poly:
        algebra = self.algebra
        match function, arguments:
            case "log", (argument,):
                return self._log(argument, bound)
            case "length", (Name(layer),):
                return algebra.ref(length_of(layer))
            case "d", (body, Index(name, indices)):
                return algebra.derivative(self.read(body, bound), name, self._indices(name, indices, bound))
            case _, (argument,):
                inner = self.read(argument, bound)
            case _:
                raise NoProofError("a function without a normal form")
        match function:
            case "exp":
                return algebra.exp(inner)
            case "sqrt":
                return algebra.power(inner, HALF)
            case "sigmoid":
                return logistic(algebra, inner)
            case "softplus":
                return algebra.log(add(number(1), algebra.exp(inner)))
            case "tanh":
                return add(scale(logistic(algebra, scale(inner, 2)), 2), number(-1))
            case "abs" | "factorial" | "log_normal_cdf":
                return algebra.function(function, inner)
            case "data" | "model":
                return algebra.average(function, inner)
            case _:
                raise NoProofError("a function without a normal form")

    def _generated(self, function: str, body: Expression, generator: Generator, bound: Mapping[str, str]) -> Poly:
        """`sum(...)`, `prod(...)` and `softmax(... for q at k)`."""
        algebra = self.algebra
        if function == "prod":
            return algebra.exp(self._log(Call(function, (body,), generator=generator), bound))
        fresh = {name: algebra.fresh() for name in generator.names}
        inside = {**bound, **fresh}
        poly = self.read(body, inside)
        match function, generator.at:
            case "softmax", Name(chosen):
                (index,) = fresh.values()
                entry = bound.get(chosen, chosen)
                if self.ranges.setdefault(entry, self.ranges[index]) != self.ranges[index]:
                    raise NoProofError("an index runs over two sizes")
                whole = algebra.bind(algebra.exp(poly), index, self.ranges[index])
                above = algebra.exp(algebra.substitute(poly, {index: entry}))
                return algebra.multiply(above, algebra.inverse(whole))
            case "sum", None:
                return self._bound(poly, generator, fresh, inside)
            case _:
                raise NoProofError("a form without a normal form")

    def _bound(self, poly: Poly, generator: Generator, fresh: Mapping[str, str], inside: Mapping[str, str]) -> Poly:
        """The sum over a generator's indices, where its condition holds."""
        match generator.condition:
            case None:
                pass
            case Compare("<" | "<=" | ">" | ">=" as op, Name(first), Name(second)) if {first, second} <= fresh.keys():
                poly = self._of_pairs(poly, fresh[first], fresh[second], "=" in op)
            case condition:
                poly = self.algebra.multiply(poly, self._condition(condition, inside))
        for index in fresh.values():
            poly = self.algebra.bind(poly, index, self.ranges[index])
        return poly

    def _of_pairs(self, poly: Poly, first: str, second: str, diagonal: bool) -> Poly:
        """What a sum over pairs of indices, each pair once, is over all pairs, where their order does not matter.

        sum over i < k of f(i, k) = 1/2 sum over i != k of f(i, k), if f(i, k) = f(k, i). Raises `NoProofError` if not.
        """
        algebra = self.algebra
        turned = algebra.substitute(poly, {first: second, second: first})
        if self.ranges[first] != self.ranges[second] or not algebra.is_zero(subtract(poly, turned)):
            raise NoProofError("a sum over ordered pairs of what depends on their order")
        same = algebra.delta(first, second)
        apart = scale(algebra.multiply(poly, subtract(number(1), same)), HALF)
        self.algebra.used.setdefault("a sum over i < k is half of that over i != k, where the order does not matter")
        return add(apart, algebra.multiply(poly, same)) if diagonal else apart

    def _log(self, node: Expression, bound: Mapping[str, str]) -> Poly:
        """The logarithm of a formula, by the factors it is written in where each is shown to be positive."""
        match node:
            case Binary("*" | "/" as op, left, right):
                first, second = self._log(left, bound), self._log(right, bound)
                return add(first, second) if op == "*" else subtract(first, second)
            case Binary("^", base, exponent):
                return self.algebra.multiply(self.read(exponent, bound), self._log(base, bound))
            case Call("exp", (argument,), generator=None):
                return self.read(argument, bound)
            case Call("prod", (body,), generator=Generator() as generator):
                fresh = {name: self.algebra.fresh() for name in generator.names}
                inside = {**bound, **fresh}
                return self._bound(self._log(body, inside), generator, fresh, inside)
            case _:
                return self.algebra.log(self.read(node, bound))


def logistic(algebra: Algebra, field: Poly) -> Poly:
    """1 / (1 + exp(-field))."""
    odds = algebra.exp(field)
    return algebra.multiply(odds, algebra.inverse(add(number(1), odds)))
