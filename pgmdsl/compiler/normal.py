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

from collections.abc import Callable, Collection, Mapping
from fractions import Fraction
from math import prod
from typing import assert_never

from pgmdsl.compiler.normal_atoms import common, log_atom, mentions, primes
from pgmdsl.compiler.normal_expect import Expectations
from pgmdsl.compiler.normal_labels import closed
from pgmdsl.compiler.normal_laws import basis, is_expectation, over_states, states_of
from pgmdsl.compiler.normal_product import (
    INDICATORS,
    ONE,
    UNIT,
    ZERO,
    Powers,
    add,
    bare_logarithm,
    number,
    scale,
    subtract,
)
from pgmdsl.compiler.normal_terms import Atom, Delta, Exp, Function, Monomial, NoProofError, Poly, Ref, freeze

MOST_POWER = 12
MOST_PARTS = 32
BITS = (ZERO, UNIT)


class Algebra(Expectations):
    """Arithmetic on normal forms, by the laws of their names."""

    # --- powers, exponentials, logarithms ---

    def power(self, poly: Poly, exponent: Fraction) -> Poly:
        """A rational power. Raises `NoProofError` for a root of what is not shown to be positive."""
        if exponent.denominator == 1:
            if abs(exponent) > MOST_POWER:
                raise NoProofError("the power is too large")
            base = poly if exponent >= 0 else self.inverse(poly)
            return self.multiply(*[base] * abs(int(exponent)))
        parts = self._by_state(lambda part: self.power(part, exponent), poly)
        if parts is not None:
            return parts
        coefficient, shared, rest = self.positive_content(poly)
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
        parts = self._by_state(self.inverse, poly)
        if parts is not None:
            return parts
        coefficient, shared, rest = self.content(poly)
        powers: Powers = {atom: -power for atom, power in shared.items()}
        if rest != number(1):
            risky = any(self.risks_zero(atom) for monomial in rest for atom, _ in monomial.factors)
            if risky and not self.is_positive(rest):
                raise NoProofError("the denominator may be 0 for some state or indices")
            powers[Function("inverse", freeze(rest))] = UNIT
        return self.product(1 / coefficient, {}, powers)

    def exp(self, poly: Poly) -> Poly:
        """The exponential: a product with one factor for every monomial."""
        parts = self._by_state(self.exp, poly)
        if parts is not None:
            return parts
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
        parts = self._by_state(self.log, poly)
        if parts is not None:
            return parts
        coefficient, shared, rest = self.positive_content(poly)
        terms: list[Poly] = [log_atom(Ref(str(prime), ()), Fraction(n)) for prime, n in primes(coefficient).items()]
        for atom, power in shared.items():
            match atom:
                case Exp(exponent):
                    terms.append({exponent: power})
                case Function("inverse", argument):
                    terms.append(scale(self.log(dict(argument)), -power))
                case _:
                    terms.append(log_atom(atom, power))
        if rest != number(1):
            terms.append(self.function("log", rest))
        return add(*terms)

    def _by_state(self, function: Callable[[Poly], Poly], poly: Poly) -> Poly | None:
        """A function of a formula as a polynomial in a state with few values that stands in it outside of sums.

        None where there is no such state, or so many that the polynomial would be long.
        """
        entries = {
            atom: self.laws.values.get(atom.name, BITS)
            for monomial in poly
            for atom, _ in monomial.factors
            if isinstance(atom, Ref) and self.laws.is_reduced(atom.name) and self._is_open(atom, monomial)
        }
        if not entries or prod(map(len, entries.values())) > MOST_PARTS:
            return None
        entry, values = min(entries.items(), key=lambda item: item[0].key)
        self.used.setdefault(f"a function of a unit of {entry.name} is told by its value in each state")
        terms: list[Poly] = []
        for k, value in enumerate(values):
            weight = {
                closed((), ((entry, Fraction(power)),) if power else ()): c
                for power, c in enumerate(basis(values)[k])
                if c
            }
            terms.append(self.multiply(weight, function(self._at_value(poly, entry, value))))
        return add(*terms)

    def _is_open(self, atom: Ref, monomial: Monomial) -> bool:
        """Whether none of the atom's indices is summed over."""
        return atom.free.isdisjoint(name for name, _ in monomial.bound)

    def _at_value(self, poly: Poly, entry: Ref, value: Fraction) -> Poly:
        """The formula with a number for an entry where that stands outside of functions."""
        terms: list[Poly] = []
        for monomial, coefficient in poly.items():
            powers = dict(monomial.factors)
            power = powers.pop(entry, None)
            if power is None or not self._is_open(entry, monomial):
                terms.append({monomial: coefficient})
            else:
                terms.append(
                    {closed(monomial.bound, powers.items()): coefficient * value ** int(power)} if value else {}
                )
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
        """A function left as it is; the absolute value of a number is a number."""
        if name == "abs" and set(poly) <= {ONE}:
            return number(abs(poly.get(ONE, ZERO)))
        parts = self._by_state(lambda part: self.function(name, part), poly)
        return self.product(UNIT, {}, {Function(name, freeze(poly)): UNIT}) if parts is None else parts

    def indicator(self, name: str, poly: Poly) -> Poly:
        """1 where the formula is `positive` (or `nonnegative`), else 0; of it and its opposite, one is kept."""
        if set(poly) <= {ONE}:
            value = poly.get(ONE, ZERO)
            return number(int(value > 0 or (value == 0 and name == "nonnegative")))
        parts = self._by_state(lambda part: self.indicator(name, part), poly)
        if parts is not None:
            return parts
        coefficient = common(tuple(poly.values()))
        kept = self.function(name, scale(poly, 1 / abs(coefficient)))
        if coefficient > 0:
            return kept
        other = INDICATORS[1 - INDICATORS.index(name)]
        return subtract(number(1), self.function(other, scale(poly, 1 / coefficient)))

    def average(self, kind: str, poly: Poly) -> Poly:
        """The average `data(...)` or `model(...)` over states, linear: what holds no state is taken out of it."""
        terms = []
        for monomial, coefficient in self.divided(poly).items():
            bound, factors = self.opened(monomial)
            inside = tuple((a, p) for a, p in factors if mentions(a, self.laws.states))
            powers: Powers = {a: p for a, p in factors if not mentions(a, self.laws.states)}
            if inside:
                powers[Function(kind, ((closed((), inside), UNIT),))] = UNIT
            terms.append(self.product(coefficient, bound, powers))
        return add(*terms)

    def summed(self, layers: Collection[str], poly: Poly) -> Poly:
        """The sum over all states of some layers, linear: what holds none of them is taken out of it.

        A sum over others inside of it becomes one with it.
        """
        terms = []
        for monomial, coefficient in poly.items():
            bound, factors = self.opened(monomial)
            inside = {a: p for a, p in factors if mentions(a, layers)}
            powers: Powers = {a: p for a, p in factors if a not in inside}
            inner = _inner_sum(inside)
            if inner is None:
                total = Function(over_states(layers), freeze({closed((), inside.items()): UNIT}))
                powers[total] = powers.get(total, ZERO) + UNIT
                terms.append(self.product(coefficient, bound, powers))
                continue
            del inside[inner]
            joined = self.multiply(self.product(UNIT, {}, inside), dict(inner.argument))
            term = self.multiply(
                self.product(coefficient, {}, powers), self.summed({*layers, *states_of(inner.name)}, joined)
            )
            for index, size in bound.items():
                term = self.bind(term, index, size)
            terms.append(term)
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
                    case _ if states_of(name):
                        return self.power(self.summed(states_of(name), inner), power)
                    case _ if is_expectation(name):
                        return self.power(self.expected(inner), power)
                    case _:
                        return self.power(self.function(name, inner), power)
            case _:
                assert_never(atom)

    def _atom_derivative(self, atom: Atom, name: str, indices: tuple[str, ...]) -> Poly:
        match atom:
            case Ref(_, _, True):  # off the diagonal the two orders exclude each other; on it there are no parameters
                first, second = atom.halves
                told, half = self.laws.symmetric[name], len(first)
                off = subtract(number(1), self.same(indices[:told], indices[half : half + told]))
                return self.multiply(off, add(self.same(first + second, indices), self.same(second + first, indices)))
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
            case Function(function, argument) if states_of(function):
                return self.summed(states_of(function), self.derivative(dict(argument), name, indices))
            case Function(function, argument) if is_expectation(function):
                return self.derivative_under(dict(argument), self.derivative(dict(argument), name, indices), name)
            case _:
                raise NoProofError("no rule for this derivative")


def _inner_sum(factors: Powers) -> Function | None:
    """The only sum over states among these factors, if the others hold none of the states that it sums over."""
    sums = [atom for atom in factors if isinstance(atom, Function) and states_of(atom.name)]
    if len(sums) != 1 or factors[sums[0]] != 1:
        return None
    held = any(mentions(atom, states_of(sums[0].name)) for atom in factors if atom != sums[0])
    return None if held else sums[0]
