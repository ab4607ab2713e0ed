"""Numbers in which formulas are evaluated: floats, or as many digits as it takes; both note how far values spread.

The extent of an evaluation is the largest decimal exponent, up or down, of what it multiplied, divided by, raised or
took the logarithm of. Sums of such values lose that many digits at most; and a denominator that is 0 but for rounding
has an extent that grows with the digits, which tells it from one that is small.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Protocol

from pgmdsl.compiler.values import log_normal_cdf

Value = Any  # a float, or an mpmath number

DIGITS = 50
ROOM = 20
MOST_ROOM = 1000
MOST_EXPONENT = 1e6


class UnsettledError(Exception):
    """Rounding errors hide the value."""


class Arithmetic(Protocol):
    """Numbers and their elementary functions. Values are to be trusted where `extent` is not above `room`."""

    step: Value  # for differences
    tolerance: Value  # what is further apart, relative to 1 and to the values, differs
    room: int
    extent: int

    def start(self) -> None:
        """Begin an evaluation."""

    def widen(self) -> None:
        """Begin it again with more room. Raises `UnsettledError` or `OverflowError` where there is no more."""

    def note(self, x: Value) -> Value:
        """The value, counted into the extent."""

    def pi(self) -> Value:
        """The number pi."""

    def number(self, value: Fraction) -> Value:
        """A constant."""

    def exact(self, value: float) -> Value:
        """The number that a float is."""

    def exp(self, x: Value) -> Value:
        """The exponential."""

    def log(self, x: Value) -> Value:
        """The logarithm. Raises ValueError unless x is positive."""

    def logistic(self, x: Value) -> Value:
        """1/(1 + exp(-x))."""

    def softplus(self, x: Value) -> Value:
        """log(1 + exp(x))."""

    def log_normal_cdf(self, x: Value) -> Value:
        """The log of the standard normal distribution function."""

    def power(self, x: Value, y: Value) -> Value:
        """A power."""

    def factorial(self, x: Value) -> Value:
        """The factorial, also of what is not whole."""


class Floats:
    """Double precision; `depth` is that of derivatives taken by differences, one inside another."""

    step = 1e-6

    def __init__(self, depth: int = 0, tolerance: float = 1e-9) -> None:
        """Two differences, one inside the other, leave no digits: there is no room then."""
        self.tolerance = tolerance if depth == 0 else max(tolerance, 1e-6)
        self.room = (6, 4)[depth] if depth < 2 else -1
        self.extent = 0

    def start(self) -> None:
        """Begin an evaluation."""
        self.extent = 0

    def widen(self) -> None:
        """Raise `UnsettledError`: floats have no more digits."""
        raise UnsettledError

    def note(self, x: float) -> float:
        """The value, counted into the extent."""
        if x and math.isfinite(x):
            self.extent = max(self.extent, math.ceil(abs(math.log10(abs(x)))))
        return x

    def pi(self) -> float:
        """The number pi."""
        return math.pi

    def number(self, value: Fraction) -> float:
        """A constant."""
        return float(value)

    def exact(self, value: float) -> float:
        """The number that a float is."""
        return value

    def exp(self, x: float) -> float:
        """The exponential."""
        return self.note(math.exp(x))

    def log(self, x: float) -> float:
        """The logarithm. Raises ValueError unless x is positive."""
        return math.log(self.note(x))

    def logistic(self, x: float) -> float:
        """1/(1 + exp(-x))."""
        return 1 / (1 + math.exp(-x)) if x > 0 else 1 - 1 / (1 + math.exp(x))

    def softplus(self, x: float) -> float:
        """log(1 + exp(x))."""
        return max(x, 0) + math.log1p(math.exp(-abs(x)))

    def log_normal_cdf(self, x: float) -> float:
        """The log of the standard normal distribution function."""
        return self.note(log_normal_cdf(x))

    def power(self, x: float, y: float) -> Value:
        """A power."""
        return self.note(_real(self.note(x) ** y))

    def factorial(self, x: float) -> float:
        """The gamma function of x + 1."""
        return self.note(math.gamma(x + 1))


class Digits:
    """Decimal digits by mpmath, as many as the extent asks for.

    With `depth` differences of step h, one inside another, n digits leave an error of about h^2 + 10^-n/h^depth.
    """

    def __init__(self, depth: int = 0) -> None:
        """Make a context of its own: mpmath's global precision is left alone."""
        from mpmath import MPContext  # type: ignore[import-untyped]

        self.context = MPContext()
        self.depth = depth
        self._make_room(ROOM)

    def _make_room(self, room: int) -> None:
        self.room = room
        self.extent = 0
        self.context.dps = (DIGITS + room) * (self.depth + 2)
        self.step = self.context.mpf(10) ** -(DIGITS + room)
        self.tolerance = self.context.mpf(10) ** -(DIGITS - 10 + room)

    def start(self) -> None:
        """Begin an evaluation."""
        self._make_room(ROOM)

    def widen(self) -> None:
        """Begin again with the room found wanting; where that was done, what spreads so far is a rounding error."""
        if self.room > ROOM:
            raise UnsettledError
        if self.extent > MOST_ROOM:
            raise OverflowError
        self._make_room(self.extent + 2)

    def note(self, x: Value) -> Value:
        """The value, counted into the extent. Raises ValueError for what is not finite."""
        if x:
            magnitude = abs(self.context.mag(x))
            if magnitude > 3 * self.extent:
                if not self.context.isfinite(x):
                    raise ValueError
                self.extent = max(self.extent, math.ceil(0.30103 * magnitude))
        return x

    def pi(self) -> Value:
        """The number pi."""
        return +self.context.pi

    def number(self, value: Fraction) -> Value:
        """A constant."""
        return self.note(self.context.mpf(value.numerator) / value.denominator)

    def exact(self, value: float) -> Value:
        """The number that a float is."""
        return self.context.mpf(value)

    def exp(self, x: Value) -> Value:
        """The exponential."""
        return self.note(self.context.exp(self._moderate(x)))

    def log(self, x: Value) -> Value:
        """The logarithm. Raises ValueError unless x is positive."""
        if self.note(x) <= 0:
            raise ValueError
        return self.context.log(x)

    def logistic(self, x: Value) -> Value:
        """1/(1 + exp(-x))."""
        return 1 / (1 + self.exp(-x))

    def softplus(self, x: Value) -> Value:
        """log(1 + exp(x))."""
        return self.context.log(1 + self.exp(x))

    def log_normal_cdf(self, x: Value) -> Value:
        """The log of the standard normal distribution function, by way of the complementary error function."""
        self._moderate(x * x)
        tail = self.context.erfc(abs(x) / self.context.sqrt(2)) / 2
        return self.note(self.context.log(tail) if x < 0 else self.context.log1p(-tail))

    def power(self, x: Value, y: Value) -> Value:
        """A power."""
        if self.note(x) != 0:
            self._moderate(y * self.context.log(abs(x)))
        return self.note(_real(self.context.power(x, y)))

    def factorial(self, x: Value) -> Value:
        """The gamma function of x + 1."""
        return self.note(self.context.factorial(self._moderate(x)))

    def _moderate(self, x: Value) -> Value:
        """The value. Raises OverflowError for an exponent whose exponential would fill the memory."""
        if abs(x) > MOST_EXPONENT:
            raise OverflowError
        return x


def _real(value: Value) -> Value:
    """The value. Raises ValueError if it is complex."""
    if isinstance(value, complex) or type(value).__name__ == "mpc":
        raise ValueError("not real")
    return value
