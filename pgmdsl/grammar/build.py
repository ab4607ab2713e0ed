"""The parser's reductions as nodes of the syntax tree: one method a rule of ebm.lark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

from pgmdsl.grammar.source import Span
from pgmdsl.grammar.syntax import (
    BiasClause,
    Binary,
    Call,
    CheckDeclaration,
    Compare,
    Conditional,
    EdgeDeclaration,
    Expression,
    Generator,
    Identifier,
    Index,
    LayerDeclaration,
    ModelDeclaration,
    Name,
    Negate,
    Number,
    Option,
    Phase,
    Set,
    SizeDeclaration,
    Text,
    Transpose,
    UnitParameter,
    Version,
    WeightClause,
)

if TYPE_CHECKING:
    from lark import Token

Role = Literal["visible", "hidden", "given"]


class Builder:
    """Makes nodes of reductions. Each method is given the children of its rule; absent optional parts are None."""

    # --- expressions

    def number(self, token: Token) -> Number:
        """A number, as written."""
        return Number(token.value, span=_at(token))

    def name(self, token: Token) -> Name:
        """A bare name."""
        return Name(token.value, span=_at(token))

    def text(self, token: Token) -> Text:
        """A quoted text, without its quotes."""
        return Text(token.value[1:-1], span=_at(token))

    def group(self, opening: Token, inner: Expression, closing: Token) -> Expression:
        """An expression in parentheses: the same node, its place that of the parentheses."""
        return replace(inner, span=_at(opening).to(_at(closing)))

    def index(self, name: Token, *rest: Any) -> Index:
        """`name[i, j]`."""
        return Index(name.value, rest[:-1], span=_at(name).to(_at(rest[-1])))

    def binary(self, left: Expression, op: Token, right: Expression) -> Binary:
        """`left op right`."""
        return Binary(op.value, left, right, span=left.span.to(right.span))

    def negate(self, minus: Token, operand: Expression) -> Negate:
        """`-operand`."""
        return Negate(operand, span=_at(minus).to(operand.span))

    def compare(self, left: Expression, op: Token, right: Expression) -> Compare:
        """`left op right`, a comparison."""
        return Compare(op.value, left, right, span=left.span.to(right.span))

    def event(self, left: Expression, right: Expression) -> Compare:
        """`left = right` among arguments."""
        return Compare("=", left, right, span=left.span.to(right.span))

    def conditional(self, value: Expression, condition: Expression, otherwise: Expression) -> Conditional:
        """`value if condition else otherwise`."""
        return Conditional(value, condition, otherwise, span=value.span.to(otherwise.span))

    def transpose(self, operand: Expression, prime: Token) -> Transpose:
        """`operand'`."""
        return Transpose(operand, span=operand.span.to(_at(prime)))

    def arguments(self, *items: Expression) -> tuple[Expression, ...]:
        """What stands between commas."""
        return items

    def given(self, items: tuple[Expression, ...]) -> dict[str, Any]:
        """`| v, h`, the tail of a call."""
        return {"given": items}

    def over(self, *names: Token) -> dict[str, Any]:
        """`over h`, the tail of a call."""
        return {"over": tuple(n.value for n in names)}

    def under(self, name: Token) -> dict[str, Any]:
        """`under q`, the tail of a call."""
        return {"under": name.value}

    def generator(self, *parts: Any) -> dict[str, Any]:
        """`for i, j if i != j at k`, the tail of a call."""
        *names, condition, at = parts
        last = at or condition
        span = _at(names[0]).to(last.span if last else _at(names[-1]))
        return {"generator": Generator(tuple(n.value for n in names), condition, at, span=span)}

    def call(self, name: Token, *rest: Any) -> Call:
        """`function(arguments tail)`."""
        arguments = rest[0] if len(rest) > 1 else ()
        tail = (rest[1] if len(rest) > 1 else None) or {}
        return Call(name.value, arguments, **tail, span=_at(name).to(_at(rest[-1])))

    def counts(self, counts: Token, name: Token, *rest: Any) -> Call:
        """`counts p(words)`."""
        call = self.call(name, *rest)
        return replace(call, function=f"counts {call.function}", span=_at(counts).to(call.span))

    # --- statements

    def version(self, number: Token) -> Version:
        """`ebm 1`."""
        return Version(self.number(number))

    def model(self, name: Token, *sizes: SizeDeclaration | None) -> ModelDeclaration:
        """`model NAME(sizes)`."""
        return ModelDeclaration(_identifier(name), tuple(s for s in sizes if s))

    def size(self, name: Token, default: Expression | None) -> SizeDeclaration:
        """`D = 784`."""
        return SizeDeclaration(_identifier(name), default, span=_span(name, default))

    def layer(self, role: Token, name: Token, unit: Token, *rest: Any) -> LayerDeclaration:
        """`visible v : binary[D](options) bias b`."""
        *dims, options, bias = rest
        of = cast(Role, role.value)
        return LayerDeclaration(of, _identifier(name), _identifier(unit), tuple(dims), options or (), bias)

    def bias(self, name: Token, options: tuple[Option, ...] | None) -> BiasClause:
        """`bias b(options)`; `bias none` has no name."""
        return BiasClause(None if name.value == "none" else _identifier(name), options or (), span=_at(name))

    def options(self, *items: Option) -> tuple[Option, ...]:
        """Options in parentheses."""
        return items

    def option(self, key: Token, value: Expression) -> Option:
        """`key = value`."""
        return Option(_identifier(key), value, span=_at(key).to(value.span))

    def edge(self, first: Token, *rest: Any) -> EdgeDeclaration:
        """`v -- h : W`; that the operators fit together is checked in parse.py."""
        *pairs, weight = rest
        layers = (first, *pairs[1::2])
        return EdgeDeclaration(pairs[0].value, tuple(_identifier(n) for n in layers), weight)

    def weight(self, name: Token, prime: Token | None, options: tuple[Option, ...] | None) -> WeightClause:
        """`W1'(options)`."""
        return WeightClause(_identifier(name), prime is not None, options or (), span=_span(name, prime))

    def check(self, title: Token, refuted: Token | None, greedy: Token | None, *rest: Any) -> CheckDeclaration:
        """`check "title" refuted in greedy h : left == right where J = 0`."""
        left, right, *where = rest
        layer = _identifier(greedy) if greedy else None
        options = tuple(w for w in where if w)
        return CheckDeclaration(self.text(title), left, right, refuted is not None, layer, options)

    # --- blocks

    def unit(self, name: Token) -> Identifier:
        """`unit NAME`, the header of a block."""
        return _identifier(name)

    def data(self, name: Token) -> Identifier:
        """`data LAYER`, the header of a block."""
        return _identifier(name)

    def train(self) -> None:
        """`train`, the header of a block."""

    def phase(self, kind: Token, target: Expression | None) -> Phase:
        """`greedy h2`, the header of a phase; its entries come later."""
        return Phase(_identifier(kind), target, ())

    def entry(self, key: Token, *values: Expression) -> Option:
        """`key = value`, or `freeze = W1, b`: several values are a set."""
        span = values[0].span.to(values[-1].span)
        value = values[0] if len(values) == 1 else Set(values, span=span)
        return Option(_identifier(key), value, span=_at(key).to(span))

    def param(self, *items: UnitParameter) -> tuple[UnitParameter, ...]:
        """`param gp > 0, tp`."""
        return items

    def unit_parameter(self, name: Token, bound: Token | None) -> UnitParameter:
        """`gp > 0`; that the bound is 0 is checked in parse.py."""
        return UnitParameter(_identifier(name), bound is not None, span=_span(name, bound))

    def set(self, *members: Any) -> tuple[Expression, Expression | None]:
        """`{-1, 0, 1}` as a support."""
        values = members[:-1]
        return Set(values, span=values[0].span.to(_at(members[-1]))), None

    def kind(self, name: Token, lower: Expression | None = None) -> tuple[Expression, Expression | None]:
        """`real >= 0` as a support."""
        return self.name(name), lower

    def support(
        self, variable: Token, domain: tuple[Expression, Expression | None]
    ) -> tuple[Identifier, Expression, Expression | None]:
        """`support x in DOMAIN`."""
        return _identifier(variable), *domain

    def unit_energy(self, energy: Expression) -> Expression:
        """`energy E`."""
        return energy

    def statistic(self, statistic: Expression) -> Expression:
        """`statistic S`."""
        return statistic


def reductions() -> Mapping[str, Callable[..., Any]]:
    """The methods by rule."""
    builder = Builder()
    return {name: getattr(builder, name) for name in dir(builder) if not name.startswith("_")}


def _identifier(token: Token) -> Identifier:
    return Identifier(token.value, span=_at(token))


def _at(token: Token) -> Span:
    """A token's place."""
    assert token.start_pos is not None
    assert token.end_pos is not None
    return Span(token.start_pos, token.end_pos)


def _span(token: Token, last: Token | Expression | None) -> Span:
    """From a token to another or to an expression, if there is one."""
    if last is None:
        return _at(token)
    return _at(token).to(_at(last) if isinstance(last, str) else last.span)
