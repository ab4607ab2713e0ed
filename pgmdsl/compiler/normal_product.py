"""Products and sums of normal forms, with the laws of states: x^2 = x and its kin, one-hot vectors, equal indices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import TypeGuard

from pgmdsl.compiler.model import Size
from pgmdsl.compiler.normal_labels import closed, renamed_factors
from pgmdsl.compiler.normal_laws import Laws, power_on
from pgmdsl.compiler.normal_terms import Atom, Delta, Exp, Function, Monomial, NoProofError, Poly, Ref

Powers = dict[Atom, Fraction]

MOST_WORK = 20_000
"""Products of monomials in one proof, each counted with its factors."""

INDICATORS = ("positive", "nonnegative")
"""Functions that are 1 where their argument is greater than 0 (or at least 0), else 0."""

ONE = closed((), ())
UNIT = Fraction(1)
ZERO = Fraction(0)


def number(value: int | Fraction) -> Poly:
    """A constant."""
    return {ONE: Fraction(value)} if value else {}


def add(*polys: Poly) -> Poly:
    """The sum."""
    total: dict[Monomial, Fraction] = {}
    for poly in polys:
        for monomial, coefficient in poly.items():
            total[monomial] = total.get(monomial, ZERO) + coefficient
    return {m: c for m, c in total.items() if c}


def scale(poly: Poly, factor: int | Fraction) -> Poly:
    """The product with a number."""
    return {m: c * factor for m, c in poly.items()} if factor else {}


def subtract(left: Poly, right: Poly) -> Poly:
    """The difference."""
    return add(left, scale(right, -1))


def size_poly(size: Size) -> Poly:
    """A size as a polynomial in the model's sizes."""
    return {
        closed((), tuple((Ref(name, ()), Fraction(power)) for name, power in powers)): coefficient
        for powers, coefficient in size.terms
    }


def bare_logarithm(monomial: Monomial) -> Function | None:
    """The logarithm that the monomial consists of, or None."""
    match monomial.factors:
        case ((Function("log") as logarithm, power),) if power == 1 and not monomial.bound:
            return logarithm
    return None


class Products(ABC):
    """Products of polynomials in which states reduce by the laws of their names.

    One instance serves one proof: it counts the work done and makes fresh names. `used` are the laws that were used, in
    words, in the order of their first use.
    """

    def __init__(self, laws: Laws, work: int) -> None:
        """Start with no work done."""
        self.laws = laws
        self.used: dict[str, None] = {}
        self._work = work
        self._names = 0

    @abstractmethod
    def substitute(self, poly: Poly, names: Mapping[str, str]) -> Poly:
        """The formula with free indices replaced by others, two by the same if need be."""

    def fresh(self) -> str:
        """A new name for a bound index."""
        self._names += 1
        return f"${self._names}"

    def multiply(self, *polys: Poly) -> Poly:
        """The product. Raises `NoProofError` when the work allowed is used up."""
        result = number(1)
        for poly in polys:
            result = add(*(self._times(m, n, c * d) for m, c in result.items() for n, d in poly.items()))
        return result

    def bind(self, poly: Poly, index: str, size: Size) -> Poly:
        """The sum over all values of a free index."""
        terms = []
        for monomial, coefficient in poly.items():
            bound, factors = self.opened(monomial)
            terms.append(self.product(coefficient, {**bound, index: size}, dict(factors)))
        return add(*terms)

    def opened(self, monomial: Monomial) -> tuple[dict[str, Size], tuple[tuple[Atom, Fraction], ...]]:
        """The monomial's bound indices under fresh names, with their ranges, and its factors."""
        if not monomial.bound:
            return {}, monomial.factors
        names = {name: self.fresh() for name, _ in monomial.bound}
        return {names[n]: size for n, size in monomial.bound}, renamed_factors(monomial.factors, names)

    def product(self, coefficient: Fraction, bound: Mapping[str, Size], powers: Powers) -> Poly:
        """`coefficient * sum over bound of the product of atom^power`, reduced."""
        self._work -= 1 + sum(1 + len(atom.key) // 64 for atom in powers)
        if self._work < 0:
            raise NoProofError("the formulas are too long")
        coefficient, powers, whole = self._reduced_powers(coefficient, powers)
        if not coefficient:
            return {}
        if whole:
            return self._bound_product(coefficient, bound, powers, whole)
        delta = next((a for a in powers if isinstance(a, Delta) and _usable(a, bound, powers)), None)
        if delta is not None:
            return self._used_delta(delta, coefficient, bound, powers)
        pair = self._same_site(powers)
        if pair is not None:
            kept, dropped = pair
            self.used.setdefault(f"of the entries of a site of {kept.name} one is 1, the others are 0")
            del powers[dropped]
            powers[Delta(kept.indices[-1], dropped.indices[-1])] = UNIT
            return self.product(coefficient, bound, powers)
        unused, powers = self._unused(bound, powers)
        used = tuple((index, size) for index, size in bound.items() if index not in unused)
        result: Poly = {closed(used, powers.items()): coefficient}
        for index in unused:
            result = self.multiply(result, size_poly(bound[index])) if unused[index] else result
        return result

    def _times(self, left: Monomial, right: Monomial, coefficient: Fraction) -> Poly:
        bound, factors = self.opened(left)
        more, others = self.opened(right)
        powers = dict(factors)
        for atom, power in others:
            powers[atom] = powers.get(atom, ZERO) + power
        return self.product(coefficient, {**bound, **more}, powers)

    def _reduced_powers(self, coefficient: Fraction, powers: Powers) -> tuple[Fraction, Powers, list[tuple[Poly, int]]]:
        """The powers by the laws of each atom, and the polynomials that some powers turn into."""
        kept: Powers = {}
        whole: list[tuple[Poly, int]] = []
        for atom, power in powers.items():
            match atom:
                case Ref(name, ()) if name.isdigit():
                    coefficient *= Fraction(int(name)) ** (power // 1)
                    power %= 1
                case Ref(name) if name in self.laws.one_hot:
                    power = _indicator_power(power)
                case Ref(name) if name in self.laws.values:
                    if power >= len(self.laws.values[name]):
                        self.used.setdefault(power_law(name, self.laws.values[name]))
                    terms = [(k, c) for k, c in enumerate(power_on(self.laws.values[name], power)) if c]
                    if not terms:
                        return ZERO, {}, []
                    if len(terms) > 1:
                        whole.append(({closed((), ((atom, Fraction(k)),) if k else ()): c for k, c in terms}, 1))
                        continue
                    coefficient *= terms[0][1]
                    power = Fraction(terms[0][0])
                case Ref(symmetric=True) if self._on_diagonal(atom):
                    if power < 0:
                        raise NoProofError("division by 0")
                    self.used.setdefault(f"the diagonal of {atom.name} is 0")
                    return ZERO, {}, []
                case Function(name) if name in INDICATORS:
                    power = _indicator_power(power)
                case Delta(left, right):
                    power = _indicator_power(power) if left != right else ZERO
                case Function("inverse", argument) if power < 0 and power.denominator == 1:
                    whole.append((dict(argument), -int(power)))
                    continue
                case Exp(exponent) if abs(power) >= 1 and (inner := bare_logarithm(exponent)) is not None and power > 0:
                    whole.append((dict(inner.argument), int(power)))
                    power %= 1
                case _:
                    pass
            if power:
                kept[atom] = power
        return coefficient, kept, whole

    def _bound_product(
        self, coefficient: Fraction, bound: Mapping[str, Size], powers: Powers, polys: Iterable[tuple[Poly, int]]
    ) -> Poly:
        """The product with polynomials that hold bound indices by name, summed."""
        result = self.product(coefficient, {}, powers)
        for poly, times in polys:
            result = self.multiply(result, *[poly] * times)
        for index, size in bound.items():
            result = self.bind(result, index, size)
        return result

    def _used_delta(self, delta: Delta, coefficient: Fraction, bound: Mapping[str, Size], powers: Powers) -> Poly:
        """The product with one of two equal indices replaced by the other; a bound one disappears."""
        self.used.setdefault("where two indices are equal, one stands for both")
        gone, kept = (delta.left, delta.right) if delta.left in bound else (delta.right, delta.left)
        others = {atom: power for atom, power in powers.items() if atom != delta}
        result = self.substitute(self.product(coefficient, {}, others), {gone: kept})
        if gone not in bound:
            result = self.multiply(result, {closed((), ((delta, UNIT),)): UNIT})
        for index, size in bound.items():
            if index != gone:
                result = self.bind(result, index, size)
        return result

    def _same_site(self, powers: Powers) -> tuple[Ref, Ref] | None:
        """Two entries of one one-hot vector."""
        seen: dict[tuple[str, tuple[str, ...]], Ref] = {}
        for atom in powers:
            if isinstance(atom, Ref) and atom.name in self.laws.one_hot:
                first = seen.setdefault((atom.name, atom.indices[:-1]), atom)
                if first != atom:
                    return first, atom
        return None

    def _on_diagonal(self, atom: Ref) -> bool:
        """Whether a symmetric weight's entry is one of its diagonal, or within one site's block."""
        first, second = atom.halves
        told = self.laws.symmetric[atom.name]
        return first[:told] == second[:told]

    def _unused(self, bound: Mapping[str, Size], powers: Powers) -> tuple[dict[str, bool], Powers]:
        """Bound indices that no factor holds, each with whether its range counts; entries summed to their total."""
        kept = dict(powers)
        unused: dict[str, bool] = {}
        for index in bound:
            holders = [atom for atom in kept if index in atom.free]
            if len(holders) == 1 and kept[holders[0]] == 1 and self._is_last_index(holders[0], index):
                unused[index] = False
                del kept[holders[0]]
                total = self.laws.totals[holders[0].name]
                self.used.setdefault(f"the entries of {holders[0].name} sum to {total or 1}")
                if total is not None:
                    kept[Ref(total, ())] = kept.get(Ref(total, ()), ZERO) + 1
        for index in bound:
            if index not in unused and not any(index in atom.free for atom in kept):
                unused[index] = True
        return unused, {atom: power for atom, power in kept.items() if power}

    def _is_last_index(self, atom: Atom, index: str) -> TypeGuard[Ref]:
        """Whether the atom is an entry whose sum over its last index is known, and has this index there alone."""
        if not isinstance(atom, Ref) or atom.indices.count(index) != 1 or atom.indices[-1] != index:
            return False
        return atom.name in self.laws.totals


def power_law(name: str, values: tuple[Fraction, ...]) -> str:
    """How powers of a state with few values reduce, in words."""
    if values == (ZERO, UNIT):
        return f"the square of a unit of {name} is the unit, which is 0 or 1"
    if values == (-UNIT, UNIT):
        return f"the square of a unit of {name} is 1, for it is -1 or 1"
    return f"a power of a unit of {name}, which is one of {', '.join(map(str, values))}, is a polynomial in it"


def _indicator_power(power: Fraction) -> Fraction:
    """The power of what is 0 or 1."""
    if power < 0 or power.denominator != 1:
        raise NoProofError("a root of a state, or division by what may be 0")
    return min(power, UNIT)


def _usable(delta: Delta, bound: Mapping[str, Size], powers: Powers) -> bool:
    """Whether an index of the delta can be replaced in the product: a bound one, or the greater of two free ones."""
    if delta.left in bound or delta.right in bound:
        return True
    return any(delta.right in atom.free for atom in powers if atom != delta)
