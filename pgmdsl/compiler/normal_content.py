"""What is known of normal forms: which are 0, which positive, and what their terms share."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from fractions import Fraction

from pgmdsl.compiler.model import Size
from pgmdsl.compiler.normal_atoms import common, denominators, mentions
from pgmdsl.compiler.normal_labels import closed, renamed_factors
from pgmdsl.compiler.normal_laws import Laws, states_of
from pgmdsl.compiler.normal_product import (
    MOST_WORK,
    UNIT,
    ZERO,
    Powers,
    Products,
    add,
    number,
    scale,
    size_poly,
    subtract,
)
from pgmdsl.compiler.normal_terms import Atom, Delta, Exp, Function, Monomial, NoProofError, Poly, Ref, freeze


class Contents(Products, ABC):
    """Products of polynomials, and what is known of their values."""

    def __init__(self, laws: Laws, work: int = MOST_WORK) -> None:
        """Start with no work done."""
        super().__init__(laws, work)
        self.positive = laws.positive | {"pi"}

    def is_zero(self, poly: Poly) -> bool:
        """Whether the formula is shown to be 0 wherever it has a value."""
        cleared = self._cleared(poly)[0]
        return not cleared or not self.divided(cleared)

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

    def positive_content(self, poly: Poly) -> tuple[Fraction, Powers, Poly]:
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
        coefficient = common(tuple(rest.values()))
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

    def divided(self, poly: Poly) -> Poly:
        """The formula with what can be divided by its denominator divided: e/(1 + e) is 1 - 1/(1 + e).

        So that it has one form as a sum of terms, of which functions that are linear take each by itself.
        """
        terms: list[Poly] = []
        for monomial, coefficient in poly.items():
            quotient = self._divided(monomial, coefficient)
            terms.append({monomial: coefficient} if quotient is None else quotient)
        return add(*terms)

    def _divided(self, monomial: Monomial, coefficient: Fraction) -> Poly | None:
        """A term with its numerator divided by the greatest term of a denominator; None where it cannot be."""
        bound, factors = self.opened(monomial)
        powers = dict(factors)
        for atom, power in factors:
            if not isinstance(atom, Function) or atom.name != "inverse" or power < 1:
                continue
            whole = self._summed_up(atom, coefficient, bound, powers)
            if whole is not None:
                return self.divided(whole)
            lead, share = max(atom.argument, key=lambda term: (len(term[0].factors), term[0].key))
            if lead.bound or not lead.factors or any(powers.get(a, ZERO) < p for a, p in lead.factors):
                continue
            self.used.setdefault("x/(1 + x) = 1 - 1/(1 + x)")
            left = dict(powers)
            for a, p in (*lead.factors, (atom, UNIT)):
                left[a] -= p
            others = {m: c for m, c in atom.argument if m != lead}
            inner = subtract(number(1), self.multiply(others, self.product(UNIT, {}, {atom: UNIT})))
            result = self.multiply(self.product(coefficient / share, {}, {a: p for a, p in left.items() if p}), inner)
            for index, size in bound.items():
                result = self.bind(result, index, size)
            return self.divided(result)
        return None

    def _summed_up(
        self, atom: Function, coefficient: Fraction, bound: Mapping[str, Size], powers: Powers
    ) -> Poly | None:
        """A term in which the shares of a sum are summed up, which is 1: sum over k of e_k/(sum over q of e_q)."""
        if len(atom.argument) != 1 or len(atom.argument[0][0].bound) != 1:
            return None
        ((total, share),) = atom.argument
        ((index, size),) = total.bound
        for own in (name for name, length in bound.items() if length == size):
            part = dict(renamed_factors(total.factors, {index: own}))
            if {a: p for a, p in powers.items() if own in a.free} == part:
                left = {a: p for a, p in powers.items() if a not in part} | {atom: powers[atom] - 1}
                others = {name: length for name, length in bound.items() if name != own}
                return self.product(coefficient / share, others, {a: p for a, p in left.items() if p})
        return None

    def _cleared(self, poly: Poly) -> tuple[Poly, Powers]:
        """A polynomial without denominators outside of sums, and the powers of the denominators taken out."""
        powers: Powers = {}
        while (found := next(denominators(poly), None)) is not None:
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

    def risks_zero(self, atom: Atom) -> bool:
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
                case Function(name, argument) if states_of(name) and self.is_positive(dict(argument)):
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
