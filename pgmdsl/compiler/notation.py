"""What a notation for formulas must be able to write, and the pieces it is given to join."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

# How tightly a piece holds together, loosest first.
RELATION, SUM, NEGATIVE, PRODUCT, POWER, ATOM = range(6)


@dataclass(frozen=True, slots=True)
class Piece:
    """A formula's text, and what decides whether it needs parentheses inside another.

    `runs_on` where it ends in the body of a sum sign, which would swallow a factor written after it; `slashed` where
    it is a quotient written on one line.
    """

    text: str
    level: int = ATOM
    runs_on: bool = False
    slashed: bool = False


def name_parts(name: str) -> tuple[str, str]:
    """A name's stem and the digits that become its subscript: `h1` is h, 1; `b_y` and `h_1` have none."""
    stem = name.rstrip("0123456789")
    return (name, "") if stem.endswith("_") else (stem, name[len(stem) :])


class Notation(ABC):
    """A way to write formulas; each method joins texts that are already in this notation."""

    minus: ClassVar[str]
    relations: ClassVar[Mapping[str, str]]
    stacks_fractions: ClassVar[bool]
    log_likelihood: ClassVar[str]

    @abstractmethod
    def number(self, text: str) -> Piece:
        """A decimal number as the file writes it."""

    @abstractmethod
    def named(self, name: str) -> str:
        """A scalar, an index, or one of the language's own names (`energy`, `pi`)."""

    @abstractmethod
    def layer(self, name: str) -> str:
        """The state of a whole layer."""

    @abstractmethod
    def entry(self, name: str, indices: list[str]) -> str:
        """One entry of a parameter or of a layer's state."""

    @abstractmethod
    def quoted(self, value: str) -> str:
        """A quoted string."""

    @abstractmethod
    def parens(self, text: str) -> str:
        """The text in parentheses."""

    @abstractmethod
    def braces(self, text: str) -> str:
        """A finite set."""

    @abstractmethod
    def bars(self, text: str) -> str:
        """An absolute value."""

    @abstractmethod
    def root(self, text: str) -> str:
        """A square root."""

    @abstractmethod
    def transpose(self, text: str) -> str:
        """A transposed matrix."""

    @abstractmethod
    def times(self, left: str, right: str) -> str:
        """A product, by juxtaposition where that is clear."""

    @abstractmethod
    def quotient(self, left: str, right: str) -> Piece:
        """A quotient of two texts that are in parentheses where `stacks_fractions` is false and they need them."""

    @abstractmethod
    def power(self, base: str, exponent: Piece) -> str:
        """A power."""

    @abstractmethod
    def cases(self, value: str, condition: str, otherwise: str) -> Piece:
        """`value` where the condition holds, else `otherwise`."""

    @abstractmethod
    def apply(self, function: str, arguments: str) -> str:
        """A function of the language applied to its arguments."""

    @abstractmethod
    def normal(self, mean: str, variance: str) -> str:
        """A normal distribution, by its mean and variance."""

    @abstractmethod
    def probability(self, function: str, event: str, given: str | None) -> str:
        """`p(event | given)`."""

    @abstractmethod
    def average(self, text: str, *, label: str = "", given: str | None = None) -> str:
        """An expectation, with the distribution's name or what it is conditioned on."""

    @abstractmethod
    def derivative(self, text: str, variable: str) -> Piece:
        """A partial derivative."""

    @abstractmethod
    def divergence(self, left: str, right: str) -> str:
        """A Kullback-Leibler divergence."""

    @abstractmethod
    def softmax(self, index: str, body: str, at: str | None) -> str:
        """The softmax of `body` over `index`; its entry `at`, or the entry `index` itself when None."""

    @abstractmethod
    def indices_below(self, names: list[str], condition: str | None) -> str:
        """What stands below a sum sign: the indices, and the condition on them."""

    @abstractmethod
    def states_below(self, layers: list[str]) -> str:
        """What stands below a sum over all states of some layers."""

    @abstractmethod
    def big(self, kind: str, below: str, body: str) -> str:
        """`sum` or `prod` over what stands below."""
