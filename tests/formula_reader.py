"""Reads typeset formulas back as numbers, by the precedence a mathematician reads with, to test their parentheses.

A sum sign takes the product after it; juxtaposition binds tighter than + and -; a slash takes one power on its right,
and a factor after that is refused as ambiguous. Both notations are read: Unicode, and LaTeX with its fractions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

_TOKENS = re.compile(
    r"(?P<sum>Σ[ᵢⱼₖₗ]+|\\sum_\{[ijkl]+\})|(?P<frac>\\frac)|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<entry>[a-z]\[[ijkl]\]|[a-z]_\{[ijkl]\})|(?P<name>[a-z])|(?P<high>[⁰¹²³⁴-⁹⁻]+)|(?P<up>\^\{)"
    r"|(?P<open>\\left\(|\()|(?P<close>\\right\)|\))|(?P<brace>[{}])|(?P<dot> · | \\cdot )|(?P<thin> \\, )|(?P<half>½)"
    r"|(?P<minus> ?[−-] ?)|(?P<plus> \+ )|(?P<slash>/)|(?P<space> )"
)
_PLAIN = str.maketrans("ᵢⱼₖₗ⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "ijkl0123456789-")

Values = Mapping[str, list[Fraction]]


class AmbiguousError(Exception):
    """The text can be read in two ways, or not at all."""


class Reader:
    """One text, read from left to right."""

    def __init__(self, text: str, values: Values, size: int) -> None:
        self.tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(text):
            match = _TOKENS.match(text, at)
            if match is None or match.lastgroup is None:
                raise AmbiguousError(f"unreadable at {text[at:]!r}")
            self.tokens.append((match.lastgroup, match.group()))
            at = match.end()
        self.at, self.values, self.size = 0, values, size

    def value(self) -> Fraction:
        out = self.sum({})
        if self.at != len(self.tokens):
            raise AmbiguousError(f"left over: {self.tokens[self.at :]}")
        return out

    def peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self, kind: str) -> str:
        if self.peek() != kind:
            raise AmbiguousError(f"expected {kind}: {self.tokens[self.at :]}")
        self.at += 1
        return self.tokens[self.at - 1][1]

    def sum(self, index: dict[str, int]) -> Fraction:
        sign = -1 if self.peek() == "minus" and self.take("minus") else 1
        total = sign * self.term(index)
        while self.peek() in ("plus", "minus"):
            sign = 1 if self.peek() == "plus" else -1
            self.at += 1
            total += sign * self.term(index)
        return total

    def term(self, index: dict[str, int]) -> Fraction:
        """Factors side by side, at most one quotient at their end."""
        value = self.factor(index)
        while self.peek() in ("space", "dot", "thin"):
            kind = self.peek()
            self.at += 1
            if self.peek() == "number" and kind != "dot":
                raise AmbiguousError("a number after a space")
            value *= self.factor(index)
        if self.peek() == "slash":
            self.take("slash")
            value /= self.power(index)
            if self.peek() in ("space", "dot", "thin", "slash"):
                raise AmbiguousError("a factor after a slash")
        return value

    def factor(self, index: dict[str, int]) -> Fraction:
        if self.peek() != "sum":
            return self.power(index)
        sign = self.take("sum").translate(_PLAIN)
        (name,) = re.findall(r"[ijkl]", sign.removeprefix(r"\sum"))
        self.take("space")
        start, total = self.at, Fraction(0)
        for k in range(self.size):
            self.at = start
            total += self.term(index | {name: k})
        return total

    def power(self, index: dict[str, int]) -> Fraction:
        base = self.atom(index)
        if self.peek() == "high":
            return base ** int(self.take("high").translate(_PLAIN))
        if self.peek() == "up":
            self.take("up")
            exponent = self.sum(index)
            self.take("brace")
            return base ** int(exponent)
        return base

    def atom(self, index: dict[str, int]) -> Fraction:
        kind = self.peek()
        match kind:
            case "number":
                return Fraction(self.take(kind))
            case "half":
                self.take(kind)
                return Fraction(1, 2)
            case "name":
                return self.values[self.take(kind)][0]
            case "entry":
                name, *_, at = re.findall(r"[a-z]", self.take(kind))
                return self.values[name][index[at]]
            case "open":
                self.take(kind)
                value = self.sum(index)
                self.take("close")
                return value
            case "frac":
                self.take(kind)
                return self.braced(index) / self.braced(index)
            case _:
                raise AmbiguousError(f"no value: {self.tokens[self.at :]}")

    def braced(self, index: dict[str, int]) -> Fraction:
        self.take("brace")
        value = self.sum(index)
        self.take("brace")
        return value
