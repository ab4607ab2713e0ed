"""Formulas as SymPy expressions, built node by node from the tree, never from text.

Indices count from 0, so that a formula evaluates on arrays as it stands: `sum(v[i] for i)` is
`Sum(v[i], (i, 0, D - 1))`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, assert_never

import sympy

from pgmdsl.compiler.model import Model, Size
from pgmdsl.compiler.rewrite import rewrite, walk
from pgmdsl.grammar.diagnostics import Error
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

_FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {
    "sigmoid": lambda x: 1 / (1 + sympy.exp(-x)),
    "softplus": lambda x: sympy.log(1 + sympy.exp(x)),
    "exp": sympy.exp,
    "log": sympy.log,
    "tanh": sympy.tanh,
    "sqrt": sympy.sqrt,
    "abs": sympy.Abs,
    "factorial": sympy.factorial,
    "log_normal_cdf": lambda x: sympy.log(sympy.erfc(-x / sympy.sqrt(2)) / 2),
}
_RELATIONS = {
    "=": sympy.Eq,
    "==": sympy.Eq,
    "!=": sympy.Ne,
    "<": sympy.Lt,
    "<=": sympy.Le,
    ">": sympy.Gt,
    ">=": sympy.Ge,
}


def shapes_of(model: Model) -> dict[str, tuple[Size, ...]]:
    """The shape of every layer's state and of every parameter."""
    layers = {layer.name: layer.dims for layer in model.layers.values()}
    return layers | {parameter.name: parameter.shape for parameter in model.parameters.values()}


def to_sympy(expression: Expression, sizes: Mapping[str, tuple[Size, ...]] | None = None) -> Any:
    """The formula in SymPy: entries are `Indexed`, sums `Sum`, products `Product`, activations their definitions.

    What has no counterpart in SymPy, such as `p(...)` or `data(...)`, is an undefined function of that name.

    Args:
        expression: any formula of the language.
        sizes: the shape of each layer and parameter (`shapes_of`), which gives an index its range. An index i that
            gets none so runs from 0 to `N_i - 1`, a symbol.

    Raises:
        Error: for text, a quoted string, or a sum over all states of a layer, which SymPy cannot hold.
    """
    return _Builder(sizes or {}, frozenset(_counting(expression))).build(expression)


def _counting(expression: Expression) -> Iterator[str]:
    """The names that stand for indices: those in brackets, and those that a call binds, filters by or chooses."""
    for node in walk(expression):
        places: tuple[Expression, ...] = ()
        if isinstance(node, Index):
            places = node.indices
        elif isinstance(node, Call) and node.generator is not None:
            yield from node.generator.names
            tail = (node.generator.at, node.generator.condition)
            places = tuple(inner for part in tail if part is not None for inner in walk(part))
        yield from (place.name for place in places if isinstance(place, Name))


def size_symbol(size: Size) -> Any:
    """A size as a polynomial in positive whole symbols."""
    terms = (
        sympy.Rational(c.numerator, c.denominator)
        * sympy.prod([sympy.Symbol(n, integer=True, positive=True) ** p for n, p in powers])
        for powers, c in size.terms
    )
    return sympy.Add(*terms)


@dataclass(frozen=True, slots=True)
class _Builder:
    """SymPy nodes for the nodes of one formula; `indices` are the names that count."""

    sizes: Mapping[str, tuple[Size, ...]]
    indices: frozenset[str]

    def build(self, node: Expression) -> Any:
        match node:
            case Number():
                return sympy.Rational(node.value.numerator, node.value.denominator)
            case Name("pi"):
                return sympy.pi
            case Name(name):
                return self._symbol(name)
            case Text():
                raise Error(f'the text "{node.value}" has no SymPy form: only formulas have')
            case Index(name, indices):
                return sympy.IndexedBase(name, real=True)[tuple(self.build(i) for i in indices)]
            case Negate(operand):
                return -self.build(operand)
            case Binary(op, left, right):
                return _arithmetic(op, self.build(left), self.build(right))
            case Compare(op, left, right):
                return _RELATIONS[op](self.build(left), self.build(right), evaluate=False)
            case Conditional(value, condition, otherwise):
                return sympy.Piecewise(
                    (self.build(value), self._condition(condition)), (self.build(otherwise), sympy.true)
                )
            case Transpose(operand):
                return sympy.Function("transpose")(self.build(operand))
            case Set(members):
                return sympy.FiniteSet(*map(self.build, members))
            case Call():
                return self._call(node)
            case _:
                assert_never(node)

    def _condition(self, node: Expression) -> Any:
        """A condition, settled where SymPy sees whether it holds: 0 > 0 has no place in a Piecewise."""
        match node:
            case Compare(op, left, right):
                return _RELATIONS[op](self.build(left), self.build(right))
            case _:
                return self.build(node)

    def _symbol(self, name: str) -> Any:
        if any(name in size.names() for shape in self.sizes.values() for size in shape):
            return sympy.Symbol(name, integer=True, positive=True)
        if name in self.indices:
            return sympy.Symbol(name, integer=True)
        return sympy.Symbol(name, real=True)

    def _call(self, call: Call) -> Any:
        match call.function, call.arguments:
            case "sum" | "prod", (body,):
                return self._big(call, body)
            case "softmax", (body,) if call.generator is not None:
                return self._softmax(call.generator, body)
            case "d", (body, variable):
                return sympy.Derivative(self.build(body), self.build(variable), evaluate=False)
            case name, (body,) if name in _FUNCTIONS:
                return _FUNCTIONS[name](self.build(body))
            case name, arguments:
                under = [sympy.Symbol(call.under)] if call.under else []
                shown = [self.build(e) for e in (*arguments, *(call.given or ()))]
                return sympy.Function(name.replace(" ", "_"))(*shown, *under)

    def _big(self, call: Call, body: Expression) -> Any:
        generator = call.generator
        if generator is None:
            raise Error(f"a sum over all states of {', '.join(call.over)} has no SymPy form: write the sum out")
        term = self.build(body)
        empty = sympy.Integer(0 if call.function == "sum" else 1)
        if generator.condition is not None:
            term = sympy.Piecewise((term, self._condition(generator.condition)), (empty, sympy.true))
        limits = [self._range(name, body) for name in generator.names]
        return (sympy.Sum if call.function == "sum" else sympy.Product)(term, *limits)

    def _softmax(self, generator: Generator, body: Expression) -> Any:
        (name,) = generator.names
        if generator.at is None:
            raise Error(f"softmax(... for {name}) has no SymPy form without `at`: say which entry is meant")
        at, total = generator.at, sympy.Sum(sympy.exp(self.build(body)), self._range(name, body))
        chosen = rewrite(body, lambda n: at if n == Name(name) else None)
        return sympy.exp(self.build(chosen)) / total

    def _range(self, name: str, body: Expression) -> tuple[Any, Any, Any]:
        """The limits of a bound index: those of the axis where the body uses it."""
        last = sympy.Symbol(f"N_{name}", integer=True, positive=True) - 1
        for entry in walk(body):
            if isinstance(entry, Index) and Name(name) in entry.indices and entry.name in self.sizes:
                last = size_symbol(self.sizes[entry.name][entry.indices.index(Name(name))]) - 1
                break
        return self._symbol(name), sympy.Integer(0), last


def _arithmetic(op: str, left: Any, right: Any) -> Any:
    match op:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return left / right
        case _:
            return left**right
