"""Energies with branches, `a if x > 0 else b` and `abs(x)`: where they change, and what they are in between."""

from __future__ import annotations

from fractions import Fraction

from pgmdsl.compiler.rewrite import rewrite, walk
from pgmdsl.compiler.unit_formula import compare, holds_state, numbers_only, value_at
from pgmdsl.grammar.syntax import Binary, Call, Compare, Conditional, Expression, Negate


class UnreadableBranchError(Exception):
    """A branch of an energy that does not change at a constant number; `node` is its condition, or an abs(...)."""

    def __init__(self, node: Expression) -> None:
        """Keep the condition."""
        super().__init__()
        self.node = node

    def reason(self, shown: str, state: str) -> str:
        """Why it is not read, for a condition that is shown so."""
        if isinstance(self.node, Compare):
            return f"{shown} does not compare {state} with a constant number"
        return f"{shown} is not the absolute value of a linear function of {state} with constant coefficients"


def thresholds(energy: Expression) -> list[Fraction]:
    """The values of x at which a branch of the energy changes, in order.

    Raises:
        UnreadableBranchError: for a condition that does not compare x, or what is linear in it, with a number.
    """
    found: set[Fraction] = set()
    for node in walk(energy):
        match node:
            case Conditional(_, condition, _):
                assert isinstance(condition, Compare), "the reading of the block sees to it"
                found |= _zero(Binary("-", condition.left, condition.right), condition)
            case Call("abs", (argument,)) if holds_state(argument):
                found |= _zero(argument, node)
    return sorted(found)


def between(energy: Expression, point: Fraction) -> Expression:
    """The energy without branches, as it is around this value of x, which is none of the thresholds."""

    def chosen(node: Expression) -> Expression | None:
        match node:
            case Conditional(value, Compare(op, left, right), otherwise):
                holds = compare(op, value_at(left, point), value_at(right, point))
                return between(value if holds else otherwise, point)
            case Call("abs", (argument,)) if holds_state(argument):
                return argument if value_at(argument, point) > 0 else Negate(argument)
            case _:
                return None

    return rewrite(energy, chosen)


def _zero(difference: Expression, place: Expression) -> set[Fraction]:
    """Where a difference that is linear in x with constant coefficients is 0."""
    found = numbers_only(difference)
    if found is None:
        raise UnreadableBranchError(place)
    slope, offset = found
    return {-offset / slope} if slope else set()
