"""The algebra of normal forms: arithmetic, exponentials and logarithms of formulas in symbolic sizes.

Two formulas with one normal form are equal wherever both have a value. The converse is not promised: `NoProofError`
is raised for what the normal form cannot hold, and for more work than allowed. What it relies on:

- powers of a state with few values reduce to those below their number: a binary state has x^2 = x, a spin x^2 = 1;
- a one-hot vector has x_k x_l = [k = l] x_k and sum_k x_k = 1, its mean the last alone; counts sum to their length;
- a lateral weight has L[i,k] = L[k,i] and L[i,i] = 0;
- exp of a polynomial is a product of exponentials of monomials, and what all terms of a polynomial share is taken
  out before it is inverted or its logarithm taken, so that 1 + e^-x and 1 + e^x meet;
- a logarithm or a root is taken only of what is shown to be positive;
- a denominator that could vanish for some state is refused.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from fractions import Fraction
from math import gcd, lcm
from typing import assert_never

from pgmdsl.compiler.normal_labels import closed
from pgmdsl.compiler.normal_laws import Laws
from pgmdsl.compiler.normal_product import (
    INDICATORS,
    MOST_WORK,
    ONE,
    UNIT,
    ZERO,
    Powers,
    Products,
    add,
    bare_logarithm,
    number,
    scale,
    size_poly,
    subtract,
)
from pgmdsl.compiler.normal_terms import Atom, Delta, Exp, Frozen, Function, Monomial, NoProofError, Poly, Ref, freeze

MOST_POWER = 12


class Algebra(Products):
    """Arithmetic on normal forms, by the laws of their names."""

    def __init__(self, laws: Laws, work: int = MOST_WORK) -> None:
        """Start with no work done."""
        super().__init__(laws, work)
        self.positive = laws.positive | {"pi"}

    # --- powers, exponentials, logarithms ---

    def power(self, poly: Poly, exponent: Fraction) -> Poly:
        """A rational power. Raises `NoProofError` for a root of what is not shown to be positive."""
        if exponent.denominator == 1:
            if abs(exponent) > MOST_POWER:
                raise NoProofError("the power is too large")
            base = poly if exponent >= 0 else self.inverse(poly)
            return self.multiply(*[base] * abs(int(exponent)))
        coefficient, shared, rest = self._positive_content(poly)
        powers: Powers = {atom: power * exponent for atom, power in shared.items()}
        for prime, times in primes(coefficient).items():
            powers[Ref(str(prime), ())] = times * exponent
        if rest != number(1):
            powers[Exp(closed((), ((Function("log", freeze(rest)), UNIT),)))] = exponent
        return self.product(UNIT, {}, powers)

    def raised(self, base: Poly, exponent: Poly) -> Poly:
        """A power whose exponent is a formula: exp(exponent log base), so the base must be shown to be positive."""
        if set(exponent) <= {ONE}:
            return self.power(base, exponent.get(ONE, ZERO))
        return self.exp(self.multiply(exponent, self.log(base)))

    def inverse(self, poly: Poly) -> Poly:
        """One over. Raises `NoProofError` where the denominator could vanish for some state."""
        coefficient, shared, rest = self.content(poly)
        powers: Powers = {atom: -power for atom, power in shared.items()}
        if rest != number(1):
            risky = any(self._may_vanish(atom) for monomial in rest for atom, _ in monomial.factors)
            if risky and not self.is_positive(rest):
                raise NoProofError("the denominator may be 0 for some state or indices")
            powers[Function("inverse", freeze(rest))] = UNIT
        return self.product(1 / coefficient, {}, powers)

    def exp(self, poly: Poly) -> Poly:
        """The exponential: a product with one factor for every monomial."""
        powers: Powers = {}
        logarithms: list[Poly] = []
        for monomial, coefficient in poly.items():
            inner = bare_logarithm(monomial)
            if inner is None:
                powers[Exp(monomial)] = coefficient
            else:
                logarithms.append(self.power(dict(inner.argument), coefficient))
        return self.multiply(self.product(UNIT, {}, powers), *logarithms)

    def log(self, poly: Poly) -> Poly:
        """The logarithm. Raises `NoProofError` unless the argument is shown to be positive."""
        coefficient, shared, rest = self._positive_content(poly)
        terms: list[Poly] = [_log_atom(Ref(str(prime), ()), Fraction(n)) for prime, n in primes(coefficient).items()]
        for atom, power in shared.items():
            match atom:
                case Exp(exponent):
                    terms.append({exponent: power})
                case Function("inverse", argument):
                    terms.append(scale(self.log(dict(argument)), -power))
                case _:
                    terms.append(_log_atom(atom, power))
        if rest != number(1):
            terms.append(self.function("log", rest))
        return add(*terms)

    # --- functions, averages, substitution, derivatives ---

    def ref(self, name: str, indices: tuple[str, ...] = ()) -> Poly:
        """An entry of a parameter or state, or a scalar."""
        return self.product(UNIT, {}, {Ref(name, indices, name in self.laws.symmetric): UNIT})

    def delta(self, left: str, right: str) -> Poly:
        """1 where the indices are equal, else 0."""
        return self.product(UNIT, {}, {Delta(left, right): UNIT})

    def same(self, left: tuple[str, ...], right: tuple[str, ...]) -> Poly:
        """1 where all the indices are equal in turn, else 0."""
        return self.multiply(*(self.delta(i, j) for i, j in zip(left, right, strict=True)))

    def function(self, name: str, poly: Poly) -> Poly:
        """A function left as it is."""
        return self.product(UNIT, {}, {Function(name, freeze(poly)): UNIT})

    def indicator(self, name: str, poly: Poly) -> Poly:
        """1 where the formula is `positive` (or `nonnegative`), else 0; of it and its opposite, one is kept."""
        if set(poly) <= {ONE}:
            value = poly.get(ONE, ZERO)
            return number(int(value > 0 or (value == 0 and name == "nonnegative")))
        coefficient = _common(tuple(poly.values()))
        kept = self.function(name, scale(poly, 1 / abs(coefficient)))
        if coefficient > 0:
            return kept
        other = INDICATORS[1 - INDICATORS.index(name)]
        return subtract(number(1), self.function(other, scale(poly, 1 / coefficient)))

    def average(self, kind: str, poly: Poly) -> Poly:
        """The average `data(...)` or `model(...)` over states, linear: what holds no state is taken out of it."""
        terms = []
        for monomial, coefficient in poly.items():
            bound, factors = self.opened(monomial)
            inside = tuple((a, p) for a, p in factors if mentions(a, self.laws.states))
            powers: Powers = {a: p for a, p in factors if not mentions(a, self.laws.states)}
            if inside:
                powers[Function(kind, ((closed((), inside), UNIT),))] = UNIT
            terms.append(self.product(coefficient, bound, powers))
        return add(*terms)

    def substitute(self, poly: Poly, names: Mapping[str, str]) -> Poly:
        """The formula with free indices replaced by others, two by the same if need be."""
        terms: list[Poly] = []
        for monomial, coefficient in poly.items():
            if monomial.free.isdisjoint(names):
                terms.append({monomial: coefficient})
                continue
            bound, factors = self.opened(monomial)
            term = self.multiply(number(coefficient), *(self._substituted(a, p, names) for a, p in factors))
            for index, size in bound.items():
                term = self.bind(term, index, size)
            terms.append(term)
        return add(*terms)

    def derivative(self, poly: Poly, name: str, indices: tuple[str, ...]) -> Poly:
        """The derivative by one entry of a parameter. Raises `NoProofError` for a function that has no rule here."""
        terms: list[Poly] = []
        for monomial, coefficient in poly.items():
            bound, factors = self.opened(monomial)
            for atom, power in factors:
                if not mentions(atom, {name}):
                    continue
                term = self.product(coefficient * power, {}, dict(factors) | {atom: power - 1})
                term = self.multiply(term, self._atom_derivative(atom, name, indices))
                for index, size in bound.items():
                    term = self.bind(term, index, size)
                terms.append(term)
        return add(*terms)

    def _substituted(self, atom: Atom, power: Fraction, names: Mapping[str, str]) -> Poly:
        """The power of an atom with its free indices replaced."""
        match atom:
            case Ref(name, indices, symmetric):
                renamed = Ref(name, tuple(names.get(i, i) for i in indices), symmetric)
                return self.product(UNIT, {}, {renamed: power})
            case Delta(left, right):
                return self.product(UNIT, {}, {Delta(names.get(left, left), names.get(right, right)): power})
            case Exp(exponent):
                return self.exp(scale(self.substitute({exponent: UNIT}, names), power))
            case Function(name, argument):
                inner = self.substitute(dict(argument), names)
                match name:
                    case "inverse":
                        return self.power(self.inverse(inner), power)
                    case "log":
                        return self.power(self.log(inner), power)
                    case "data" | "model":
                        return self.power(self.average(name, inner), power)
                    case "positive" | "nonnegative":
                        return self.power(self.indicator(name, inner), power)
                    case _:
                        return self.power(self.function(name, inner), power)
            case _:
                assert_never(atom)

    def _atom_derivative(self, atom: Atom, name: str, indices: tuple[str, ...]) -> Poly:
        match atom:
            case Ref(_, _, True):  # the entries of a diagonal are no parameters: the two orders exclude each other
                first, second = atom.halves
                return add(self.same(first + second, indices), self.same(second + first, indices))
            case Ref(_, own):
                return self.same(own, indices)
            case Exp(exponent):
                inner = self.derivative({exponent: UNIT}, name, indices)
                return self.multiply(self.product(UNIT, {}, {atom: UNIT}), inner)
            case Function("inverse", argument):
                inner = self.derivative(dict(argument), name, indices)
                return scale(self.multiply(self.product(UNIT, {}, {atom: Fraction(2)}), inner), -1)
            case Function("log", argument):
                inner = self.derivative(dict(argument), name, indices)
                return self.multiply(self.inverse(dict(argument)), inner)
            case Function("log_normal_cdf", argument):  # exp(-x^2/2 - log_normal_cdf(x))/sqrt(2 pi)
                x = dict(argument)
                inner = self.derivative(x, name, indices)
                density = self.exp(
                    subtract(scale(self.power(x, Fraction(2)), Fraction(-1, 2)), self.function(atom.name, x))
                )
                return self.multiply(inner, density, self.power(scale(self.ref("pi"), 2), Fraction(-1, 2)))
            case _:
                raise NoProofError("no rule for this derivative")

    # --- what is known of a value ---

    def is_zero(self, poly: Poly) -> bool:
        """Whether the formula is shown to be 0 wherever it has a value."""
        return not poly or not self._cleared(poly)[0]

    def is_positive(self, poly: Poly) -> bool:
        """Whether no term is negative and one is positive, for all parameters and states."""
        signs = [self._sign(monomial) if coefficient > 0 else None for monomial, coefficient in poly.items()]
        return None not in signs and 1 in signs

    def content(self, poly: Poly) -> tuple[Fraction, Powers, Poly]:
        """What the terms share: a number and powers of atoms; and the rest, `poly = number * powers * rest`.

        The coefficients of the rest are whole numbers without a common divisor, most of them positive. Raises
        `NoProofError` for 0.
        """
        cleared, powers = self._cleared(poly)
        return self._factored(cleared, powers, self._shared(cleared))

    def _positive_content(self, poly: Poly) -> tuple[Fraction, Powers, Poly]:
        """The content by atoms that are positive alone. Raises `NoProofError` unless all of it is."""
        cleared, powers = self._cleared(poly)
        if not self.is_positive(cleared) or not all(self._is_positive_atom(atom) for atom in powers):
            raise NoProofError("not shown to be positive")
        shared = {atom: power for atom, power in self._shared(cleared).items() if self._is_positive_atom(atom)}
        return self._factored(cleared, powers, shared)

    def _factored(self, poly: Poly, powers: Powers, shared: Powers) -> tuple[Fraction, Powers, Poly]:
        """The content of `poly * powers`, where `shared` is to be taken out of `poly`."""
        if not poly:
            raise NoProofError("division by 0")
        rest = self.multiply(poly, self.product(UNIT, {}, {atom: -power for atom, power in shared.items()}))
        coefficient = _common(tuple(rest.values()))
        rest = scale(rest, 1 / coefficient)
        for atom, power in shared.items():
            powers[atom] = powers.get(atom, ZERO) + power
        own = Function("inverse", freeze(rest))
        if powers.get(own, ZERO) >= 1:
            powers[own] -= 1
            rest = number(1)
        return coefficient, {atom: power for atom, power in powers.items() if power}, rest

    def _shared(self, poly: Poly) -> Powers:
        """The least power of every atom over the terms; an atom that a term lacks has power 0 there."""
        each: list[Powers] = []
        for monomial in poly:
            bound = {name for name, _ in monomial.bound}
            each.append({a: p for a, p in monomial.factors if self._divides(a) and a.free.isdisjoint(bound)})
        atoms = {atom: None for powers in each for atom in powers}
        least = {atom: min(powers.get(atom, ZERO) for powers in each) for atom in atoms}
        return {atom: power for atom, power in least.items() if power}

    def _divides(self, atom: Atom) -> bool:
        """Whether a formula may be divided by this atom: it is not 0, save for isolated values of parameters."""
        match atom:
            case Ref(name):
                return not self.laws.may_vanish(name)
            case Exp():
                return True
            case Function("inverse"):
                return True
            case _:
                return False

    def _cleared(self, poly: Poly) -> tuple[Poly, Powers]:
        """A polynomial without denominators outside of sums, and the powers of the denominators taken out."""
        powers: Powers = {}
        while (found := next(_denominators(poly), None)) is not None:
            atom, argument = found
            highest = max(int(dict(monomial.factors).get(atom, ZERO)) for monomial in poly)
            terms: list[Poly] = []
            for monomial, coefficient in poly.items():
                own = dict(monomial.factors).get(atom, ZERO)
                factors = dict(monomial.factors) | {atom: own - int(own)}
                left = closed(monomial.bound, ((a, p) for a, p in factors.items() if p))
                terms.append(self.multiply({left: coefficient}, *[dict(argument)] * (highest - int(own))))
            poly = add(*terms)
            powers[atom] = powers.get(atom, ZERO) + highest
        return poly, powers

    def _is_positive_atom(self, atom: Atom) -> bool:
        return self._sign(closed((), ((atom, UNIT),))) == 1

    def _may_vanish(self, atom: Atom) -> bool:
        """Whether the atom holds what could be 0 for some state, or some indices."""
        return mentions(atom, self.laws.discrete) or mentions(atom, self.laws.symmetric)

    def _is_count(self, poly: Poly) -> bool:
        """Whether the formula is shown not to be negative, a state being at most what its layer allows."""
        least: list[Poly] = []
        for monomial, coefficient in poly.items():
            match monomial.factors:
                case ((Ref(name), power),) if (
                    coefficient < 0 and power == 1 and not monomial.bound and name in self.laws.most
                ):
                    least.append(scale(size_poly(self.laws.most[name]), coefficient))
                case _:
                    least.append({monomial: coefficient})
        return all(c > 0 and self._sign(monomial) is not None for monomial, c in add(*least).items())

    def _sign(self, monomial: Monomial) -> int | None:
        """1 where the product is always positive, 0 where it is never negative, None where nothing is known."""
        sign = 1
        for atom, power in monomial.factors:
            match atom:
                case Exp():
                    continue
                case Ref(name) if name in self.positive or name.isdigit():
                    continue
                case Function("inverse", argument) if self.is_positive(dict(argument)):
                    continue
                case Function("factorial", argument) if self._is_count(dict(argument)):
                    continue
                case Ref(name) if self.laws.is_signless(name):
                    sign = 0
                case Delta() | Function("abs" | "positive" | "nonnegative"):
                    sign = 0
                case _ if power % 2 == 0:
                    sign = 0
                case _:
                    return None
        return sign


def mentions(atom: Atom, names: Container[str]) -> bool:
    """Whether the atom holds an entry of one of these names."""
    match atom:
        case Ref(name):
            return name in names
        case Delta():
            return False
        case Exp(exponent):
            return any(mentions(a, names) for a, _ in exponent.factors)
        case Function(_, argument):
            return any(mentions(a, names) for monomial, _ in argument for a, _ in monomial.factors)
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


def _log_atom(atom: Atom, power: Fraction) -> Poly:
    inner = Function("log", ((closed((), ((atom, UNIT),)), UNIT),))
    return {closed((), ((inner, UNIT),)): power}


def _common(coefficients: tuple[Fraction, ...]) -> Fraction:
    """The rational number that leaves coprime whole coefficients, most of them positive."""
    divisor = Fraction(gcd(*(c.numerator for c in coefficients)), lcm(*(c.denominator for c in coefficients)))
    majority = sum(1 if c > 0 else -1 for c in coefficients)
    signs = Fraction(majority) if majority else sum(coefficients, ZERO)
    return -divisor if signs < 0 else divisor


def _denominators(poly: Poly) -> Iterator[tuple[Function, Frozen]]:
    """The inverses that stand outside of sums, or in one without depending on its indices."""
    for monomial in poly:
        bound = {name for name, _ in monomial.bound}
        for atom, power in monomial.factors:
            if isinstance(atom, Function) and atom.name == "inverse" and power >= 1 and atom.free.isdisjoint(bound):
                yield atom, atom.argument
