"""Formulas as people write them: one walk over the tree for every notation.

The walk decides what stands where and which parentheses are needed; a notation (Unicode in `typeset`, LaTeX in
`typeset_latex`) decides how each thing is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from pgmdsl.compiler.notation import ATOM, NEGATIVE, POWER, PRODUCT, RELATION, SUM, Notation, Piece
from pgmdsl.compiler.rewrite import rewrite, walk
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


def typeset(expression: Expression, notation: Notation) -> str:
    """The formula in this notation."""
    return _Walk(notation).piece(expression).text


def typeset_terms(expression: Expression, notation: Notation) -> list[str]:
    """The terms of a sum, each with its sign: joined by spaces they are the whole. A line may break between them."""
    return _Walk(notation).terms(expression)


@dataclass(frozen=True, slots=True)
class _Walk:
    """A formula turned into pieces of one notation."""

    notation: Notation

    def piece(self, node: Expression) -> Piece:
        """The formula with what the outside must know to place parentheses."""
        notation = self.notation
        match node:
            case Number(text):
                return notation.number(text)
            case Name(name):
                return Piece(notation.named(name))
            case Text(value):
                return Piece(notation.quoted(value))
            case Index(name, indices):
                return Piece(notation.entry(name, [self.piece(i).text for i in indices]))
            case Negate(operand):
                return self._negated(self.piece(operand))
            case Binary(op, left, right):
                return self._binary(op, self.piece(left), self.piece(right))
            case Compare(op, left, right):
                sign = notation.relations[op]
                return Piece(f"{self._at(left, SUM)} {sign} {self._at(right, SUM)}", RELATION)
            case Conditional(value, condition, otherwise):
                return notation.cases(self.piece(value).text, self.piece(condition).text, self.piece(otherwise).text)
            case Transpose(operand):
                return Piece(notation.transpose(self._at(operand, ATOM)))
            case Set(members):
                return Piece(notation.braces(self._list(members)))
            case Call():
                return self._call(node)
            case _:
                assert_never(node)

    def terms(self, node: Expression) -> list[str]:
        """The terms of a sum, the sign of every one but the first set off by a space."""
        match node:
            case Binary("-", left, right):
                return [*self.terms(left), f"{self.notation.minus} {self._at(right, PRODUCT)}"]
            case Binary("+", left, right):
                first, *others = self.terms(right)
                minus = self.notation.minus
                signed = f"{minus} {first.removeprefix(minus)}" if first.startswith(minus) else f"+ {first}"
                return [*self.terms(left), signed, *others]
            case _:
                return [self._at(node, SUM)]

    def _at(self, node: Expression, level: int) -> str:
        """The formula's text, in parentheses if it binds less tightly than `level`."""
        return self._fit(self.piece(node), level)

    def _fit(self, piece: Piece, level: int) -> str:
        return piece.text if piece.level >= level else self.notation.parens(piece.text)

    def _list(self, nodes: tuple[Expression, ...]) -> str:
        return ", ".join(self.piece(n).text for n in nodes)

    def _negated(self, piece: Piece) -> Piece:
        minus = self.notation.minus
        tight = piece.level >= PRODUCT
        return Piece(minus + self._fit(piece, PRODUCT), NEGATIVE, piece.runs_on and tight, piece.slashed and tight)

    def _binary(self, op: str, left: Piece, right: Piece) -> Piece:
        match op:
            case "+" | "-":
                return self._sum(op, left, right)
            case "^":
                return self._power(left, right)
            case _ if left.level == NEGATIVE:  # (-a) b = -(a b)
                bare = Piece(left.text.removeprefix(self.notation.minus), PRODUCT, left.runs_on, left.slashed)
                return self._negated(self._binary(op, bare, right))
            case "*":
                first = self.notation.parens(left.text) if left.runs_on or left.slashed else self._fit(left, PRODUCT)
                product = self.notation.times(first, self._fit(right, PRODUCT))
                tight = right.level >= PRODUCT
                return Piece(product, PRODUCT, right.runs_on and tight, right.slashed and tight)
            case _:
                return self._quotient(left, right)

    def _sum(self, op: str, left: Piece, right: Piece) -> Piece:
        minus = self.notation.minus
        first = self._fit(left, SUM)
        if op == "+" and right.level >= SUM and right.text.startswith(minus):
            return Piece(f"{first} {minus} {right.text.removeprefix(minus)}", SUM)
        second = self._fit(right, SUM if op == "+" else PRODUCT)
        return Piece(f"{first} {op if op == '+' else minus} {second}", SUM)

    def _quotient(self, left: Piece, right: Piece) -> Piece:
        if self.notation.stacks_fractions:
            return self.notation.quotient(left.text, right.text)
        first = self.notation.parens(left.text) if left.runs_on or left.slashed else self._fit(left, PRODUCT)
        return self.notation.quotient(first, self._fit(right, POWER))

    def _power(self, base: Piece, exponent: Piece) -> Piece:
        return Piece(self.notation.power(self._fit(base, ATOM), exponent), POWER)

    def _call(self, call: Call) -> Piece:
        notation = self.notation
        arguments = call.arguments
        match call.function, arguments:
            case "sum" | "prod", (body,):
                return self._big(call, body)
            case "softmax", (body,) if call.generator is not None:
                return self._softmax(call.generator, body)
            case "p" | "q" | "counts p", _:
                return Piece(notation.probability(call.function, self._states(arguments), self._given(call)))
            case "free_energy", _:
                return Piece(notation.apply(call.function, self._states(arguments)))
            case "d", (body, variable):
                return notation.derivative(self._at(body, ATOM), self.piece(variable).text)
            case "kl", (left, right):
                return Piece(notation.divergence(self.piece(left).text, self.piece(right).text))
            case "normal", (mean, deviation):
                variance = Binary("^", deviation, Number("2"))
                return Piece(notation.normal(self.piece(mean).text, self.piece(variance).text))
            case _, (body,):
                special = self._special(call, body)
                if special is not None:
                    return special
            case _:
                pass
        return Piece(notation.apply(call.function, self._list(arguments)))

    def _special(self, call: Call, body: Expression) -> Piece | None:
        """A function of one argument that has signs of its own, else None."""
        notation = self.notation
        match call.function:
            case "sqrt":
                return Piece(notation.root(self.piece(body).text))
            case "abs":
                return Piece(notation.bars(self.piece(body).text))
            case "factorial":
                return Piece(self._at(body, ATOM) + "!", POWER)
            case "log_normal_cdf":  # two words: log Φ(x)
                return Piece(notation.apply(call.function, self.piece(body).text), POWER, runs_on=True)
            case "data" | "model":
                return Piece(notation.average(self.piece(body).text, label=call.function))
            case "mean":
                return Piece(notation.average(self.piece(body).text, given=self._given(call)))
            case "mean_field":
                return Piece(notation.average(self.piece(body).text))
            case "expect":
                return Piece(notation.average(self.piece(body).text, label=call.under or ""))
            case "gradient":
                return notation.derivative(notation.log_likelihood, self.piece(body).text)
            case _:
                return None

    def _states(self, nodes: tuple[Expression, ...]) -> str:
        """What stands inside p(...): bare names are whole layers."""
        return ", ".join(self.notation.layer(n.name) if isinstance(n, Name) else self.piece(n).text for n in nodes)

    def _given(self, call: Call) -> str | None:
        return None if call.given is None else self._states(call.given)

    def _big(self, call: Call, body: Expression) -> Piece:
        """`sum(body for i, j if condition)`, `sum(body over h)`, and products."""
        if call.generator is None:
            below = self.notation.states_below([self.notation.layer(n) for n in call.over])
        else:
            names = [self.notation.named(n) for n in call.generator.names]
            condition = call.generator.condition
            below = self.notation.indices_below(names, None if condition is None else self.piece(condition).text)
        inner = self.piece(body)
        scope = inner.text if inner.level >= PRODUCT else self.notation.parens(inner.text)
        return Piece(self.notation.big(call.function, below, scope), PRODUCT, runs_on=True)

    def _softmax(self, generator: Generator, body: Expression) -> Piece:
        """`softmax(e for q at k)`: written over k itself where that captures nothing."""
        (bound,), at = generator.names, generator.at
        if isinstance(at, Name) and _free_for(body, at, bound):
            body = rewrite(body, lambda n: at if n == Name(bound) else None)
            return Piece(self.notation.softmax(self.notation.named(at.name), self.piece(body).text, None))
        chosen = None if at is None else self.piece(at).text
        return Piece(self.notation.softmax(self.notation.named(bound), self.piece(body).text, chosen))


def _free_for(body: Expression, at: Name, bound: str) -> bool:
    """Whether `at` can stand for the bound index: the body neither uses nor binds it, nor binds the index again."""
    for node in walk(body):
        if node == at:
            return False
        if isinstance(node, Call) and node.generator is not None and {at.name, bound} & set(node.generator.names):
            return False
    return True
