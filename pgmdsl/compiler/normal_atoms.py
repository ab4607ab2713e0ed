"""Small questions about atoms and numbers, which arithmetic on normal forms asks."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from fractions import Fraction
from math import gcd, lcm
from typing import assert_never

from pgmdsl.compiler.normal_labels import closed
from pgmdsl.compiler.normal_laws import bound_by, is_expectation
from pgmdsl.compiler.normal_product import UNIT, ZERO
from pgmdsl.compiler.normal_terms import Atom, Delta, Exp, Frozen, Function, Poly, Ref


def mentions(atom: Atom, names: Collection[str]) -> bool:
    """Whether the atom holds an entry of one of these names (that it does not sum or average over itself)."""
    match atom:
        case Ref(name):
            return name in names
        case Delta():
            return False
        case Exp(exponent):
            return any(mentions(a, names) for a, _ in exponent.factors)
        case Function(function, argument):
            bound = bound_by(function)
            if is_expectation(function):  # q may depend on any other name, whether its argument does or not
                return any(name not in bound for name in names)
            left = [name for name in names if name not in bound] if bound else names
            return any(mentions(a, left) for monomial, _ in argument for a, _ in monomial.factors)
        case _:
            assert_never(atom)


def primes(value: Fraction) -> dict[int, int]:
    """The prime powers of a positive rational number; a large factor without small divisors counts as a prime."""
    powers: dict[int, int] = {}
    for whole, sign in ((value.numerator, 1), (value.denominator, -1)):
        divisor = 2
        while whole > 1:
            if divisor * divisor > whole or divisor > 1000:
                divisor = whole
            while whole % divisor == 0:
                whole //= divisor
                powers[divisor] = powers.get(divisor, 0) + sign
            divisor += 1
    return powers


def log_atom(atom: Atom, power: Fraction) -> Poly:
    """The logarithm of a power of an atom."""
    inner = Function("log", ((closed((), ((atom, UNIT),)), UNIT),))
    return {closed((), ((inner, UNIT),)): power}


def common(coefficients: tuple[Fraction, ...]) -> Fraction:
    """The rational number that leaves coprime whole coefficients, most of them positive."""
    divisor = Fraction(gcd(*(c.numerator for c in coefficients)), lcm(*(c.denominator for c in coefficients)))
    majority = sum(1 if c > 0 else -1 for c in coefficients)
    signs = Fraction(majority) if majority else sum(coefficients, ZERO)
    return -divisor if signs < 0 else divisor


def denominators(poly: Poly) -> Iterator[tuple[Function, Frozen]]:
    """The inverses that stand outside of sums, or in one without depending on its indices."""
    for monomial in poly:
        bound = {name for name, _ in monomial.bound}
        for atom, power in monomial.factors:
            if isinstance(atom, Function) and atom.name == "inverse" and power >= 1 and atom.free.isdisjoint(bound):
                yield atom, atom.argument
