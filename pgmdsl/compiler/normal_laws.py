"""What normal forms know of a model's names: how powers of states reduce, what sums to what, what is positive."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache

from pgmdsl.compiler.model import Size
from pgmdsl.compiler.normal_terms import NoProofError


@dataclass(frozen=True)
class Laws:
    """The laws of a model's names.

    `states` are all states, over which `data` and `model` average; a `discrete` one has no density. `values` are those
    of states that take few, on which powers reduce; the entries of a `one_hot` state along its last index are 0 but for
    one. `totals` says what entries sum to over their last index: 1 (None), or a scalar. `symmetric` weights have a zero
    diagonal; the number is that of the indices of a half that tell the diagonal. `positive` names are greater than 0,
    `signless` ones at least 0; `most` is the greatest value of an entry.
    """

    states: frozenset[str] = frozenset()
    discrete: frozenset[str] = frozenset()
    values: Mapping[str, tuple[Fraction, ...]] = field(default_factory=dict)
    one_hot: frozenset[str] = frozenset()
    totals: Mapping[str, str | None] = field(default_factory=dict)
    symmetric: Mapping[str, int] = field(default_factory=dict)
    positive: frozenset[str] = frozenset()
    signless: frozenset[str] = frozenset()
    most: Mapping[str, Size] = field(default_factory=dict)

    def is_reduced(self, name: str) -> bool:
        """Whether entries take few values."""
        return name in self.one_hot or name in self.values

    def may_vanish(self, name: str) -> bool:
        """Whether entries are 0 for some state (other than at isolated points), or for some indices."""
        if name in self.values:
            return 0 in self.values[name]
        return name in self.discrete or name in self.symmetric

    def is_signless(self, name: str) -> bool:
        """Whether entries are never negative."""
        return name in self.one_hot or name in self.signless or min(self.values.get(name, (-1,))) >= 0


@cache
def power_on(values: tuple[Fraction, ...], power: Fraction) -> tuple[Fraction, ...]:
    """The polynomial that equals x^power on these values: its coefficients, from the constant up.

    Raises `NoProofError` for a root, and for a negative power where 0 is a value.
    """
    if power.denominator != 1 or (power < 0 and 0 in values):
        raise NoProofError("a root of a state, or division by one that may be 0")
    if 0 <= power < len(values):
        return tuple(Fraction(int(k == power)) for k in range(len(values)))
    return _through([(value, value ** int(power)) for value in values])


@cache
def basis(values: tuple[Fraction, ...]) -> tuple[tuple[Fraction, ...], ...]:
    """For each of these values the polynomial that is 1 there and 0 on the others."""
    return tuple(_through([(x, Fraction(int(x == value))) for x in values]) for value in values)


def _through(points: list[tuple[Fraction, Fraction]]) -> tuple[Fraction, ...]:
    """The polynomial of least degree through these points (Newton's divided differences)."""
    total, basis = [Fraction(0)] * len(points), [Fraction(1)]
    for at, value in points:
        step = (value - _value(total, at)) / _value(basis, at)
        total = [c + step * b for c, b in zip(total, basis + [Fraction(0)] * (len(points) - len(basis)), strict=True)]
        basis = [low - at * high for low, high in zip([Fraction(0), *basis], [*basis, Fraction(0)], strict=True)]
    return tuple(total)


def _value(coefficients: list[Fraction], at: Fraction) -> Fraction:
    return sum((c * at**k for k, c in enumerate(coefficients)), Fraction(0))


def length_of(layer: str) -> str:
    """The name, in normal forms, of the length of a count layer's document."""
    return f"length({layer})"


def over_states(layers: Collection[str]) -> str:
    """The name, in normal forms, of the sum over all states of these layers."""
    return f"over {' '.join(sorted(layers))}"


def states_of(function: str) -> tuple[str, ...]:
    """The layers whose states this function of normal forms sums over; empty for others."""
    first, *layers = function.split(" ")
    return tuple(layers) if first == "over" else ()


def expected_over(layers: Collection[str]) -> str:
    """The name, in normal forms, of the expectation under q, a distribution of these layers."""
    return f"expect {' '.join(sorted(layers))}"


def is_expectation(function: str) -> bool:
    """Whether this function of normal forms is the expectation under q."""
    return function.startswith("expect ")


def bound_by(function: str) -> tuple[str, ...]:
    """The layers whose states have no meaning outside of this function of normal forms."""
    return tuple(function.split(" ")[1:]) if is_expectation(function) else states_of(function)
