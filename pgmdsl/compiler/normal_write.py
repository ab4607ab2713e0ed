"""Normal forms to formulas, with index names as a person would choose them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import assert_never

from pgmdsl.compiler.expressions import ONE, ZERO, Term, call, constant, entry, fresh_index, product, sum_over, total
from pgmdsl.compiler.normal import Algebra
from pgmdsl.compiler.normal_labels import renamed_factors
from pgmdsl.compiler.normal_laws import bound_by, is_expectation
from pgmdsl.compiler.normal_terms import Atom, Delta, Exp, Function, Monomial, Poly, Ref, freeze
from pgmdsl.grammar.syntax import Binary, Call, Compare, Conditional, Expression, Name, Number

Factor = tuple[Atom, Fraction]


@dataclass(frozen=True)
class Writer:
    """Writes normal forms.

    `letters` gives the usual index of each axis of a name, `order` the place of names in a product, `taken` the names
    that no index may have, and `scalars` how scalars are written that are more than a name.
    """

    letters: Mapping[str, tuple[str, ...]]
    order: Mapping[str, int]
    taken: frozenset[str]
    scalars: Mapping[str, Expression] = field(default_factory=dict)

    def write(self, poly: Poly, used: Iterable[str] = ()) -> Expression:
        """The formula of a polynomial; `used` are index names in force around it."""
        return total(self.terms(poly, used))

    def terms(self, poly: Poly, used: Iterable[str] = ()) -> list[Term]:
        """The terms of a polynomial: those without sums first."""
        in_force = set(used).union(*(m.free for m in poly))
        ranked = sorted(freeze(poly), key=lambda t: (len(t[0].bound), t[1] < 0, self._rank(t[0]), t[0].key))
        return [self._term(monomial, coefficient, in_force) for monomial, coefficient in ranked]

    def write_factored(self, algebra: Algebra, poly: Poly) -> Expression:
        """The formula with what all its terms share written once: `(v[i] - b[i])/sigma_v[i]^2`."""
        if len(poly) < 2:
            return self.write(poly)
        coefficient, powers, rest = algebra.content(poly)
        used = set().union(*(m.free for m in poly))
        above, below = self._powers(powers.items(), used)
        if coefficient < 0:
            coefficient, rest = -coefficient, {m: -c for m, c in rest.items()}
        above.append(self.write(rest, used))
        return product([*_number(coefficient.numerator), *above], [*_number(coefficient.denominator), *below])

    def _rank(self, monomial: Monomial) -> list[int]:
        return sorted(self._place(atom) for atom, _ in monomial.factors)

    def _place(self, atom: Atom) -> int:
        return self.order.get(atom.name, -1) if isinstance(atom, Ref) else len(self.order)

    def _term(self, monomial: Monomial, coefficient: Fraction, used: set[str]) -> Term:
        names: dict[str, str] = {}
        for index, _ in monomial.bound:
            names[index] = self._choose(index, monomial.factors, used | set(names.values()))
        inside = set(names.values())
        factors = renamed_factors(monomial.factors, names)
        summed = [(a, p) for a, p in factors if not a.free.isdisjoint(inside)]
        outside = [(a, p) for a, p in factors if a.free.isdisjoint(inside)]
        above, below = self._powers(outside, used | inside)
        if names:
            body = product(*self._powers(summed, used | inside))
            above.append(sum_over(body, sorted(inside)))
        sign = 1 if coefficient > 0 else -1
        size = abs(coefficient)
        return sign, product([*_number(size.numerator), *above], [*_number(size.denominator), *below])

    def _choose(self, index: str, factors: Iterable[Factor], used: set[str]) -> str:
        """A name for a bound index: the letter of an axis where it is used, unless that is in force."""
        for letter in self._hints(index, factors):
            if letter not in used:
                return letter
        return fresh_index(used | self.taken | {letter for letters in self.letters.values() for letter in letters})

    def _hints(self, index: str, factors: Iterable[Factor]) -> Iterable[str]:
        for atom, _ in factors:
            match atom:
                case Ref(name, indices) if name in self.letters:
                    yield from (self.letters[name][k] for k, i in enumerate(indices) if i == index)
                case Exp(exponent):
                    yield from self._hints(index, exponent.factors)
                case Function(_, argument):
                    for monomial, _ in argument:
                        yield from self._hints(index, monomial.factors)
                case _:
                    pass

    def _powers(self, factors: Iterable[Factor], used: set[str]) -> tuple[list[Expression], list[Expression]]:
        """The factors above and below the line; exponentials are written as one."""
        above: list[Expression] = []
        below: list[Expression] = []
        exponent: dict[Monomial, Fraction] = {}
        for atom, power in sorted(factors, key=lambda f: (self._place(f[0]), f[0].key)):
            if isinstance(atom, Exp):
                exponent[atom.exponent] = power
                continue
            base = self._atom(atom, used)
            upside = (power > 0) != (isinstance(atom, Function) and atom.name == "inverse")
            size = abs(power)
            (above if upside else below).append(base if size == 1 else Binary("^", base, constant(size)))
        if exponent:
            above.append(call("exp", self.write(exponent, used)))
        return above, below

    def _atom(self, atom: Atom, used: set[str]) -> Expression:
        """The atom to the power 1; an inverse is written as what it is the inverse of."""
        match atom:
            case Ref(name, ()) if name in self.scalars:
                return self.scalars[name]
            case Ref(name, ()):
                return Number(name) if name.isdigit() else Name(name)
            case Ref(name, indices):
                return entry(name, indices)
            case Delta(left, right):
                return Conditional(ONE, Compare("==", Name(left), Name(right)), ZERO)
            case Function("inverse", argument):
                return self.write(dict(argument), used)
            case Function("positive" | "nonnegative" as name, argument):
                sign = ">" if name == "positive" else ">="
                return Conditional(ONE, Compare(sign, self.write(dict(argument), used), ZERO), ZERO)
            case Function("log", argument):
                return _logarithm(self.write(dict(argument), used))
            case Function(name, argument) if bound_by(name):
                body = (self.write(dict(argument), used),)
                return (
                    Call("expect", body, under="q") if is_expectation(name) else Call("sum", body, over=bound_by(name))
                )
            case Function(name, argument):
                return call(name, self.write(dict(argument), used))
            case Exp(exponent):
                return call("exp", self.write({exponent: Fraction(1)}, used))
            case _:
                assert_never(atom)


def _logarithm(argument: Expression) -> Expression:
    """The logarithm; that of 1 + exp(x) is softplus(x)."""
    match argument:
        case Binary("+", Number("1"), Call("exp", (exponent,))):
            return call("softplus", exponent)
        case _:
            return call("log", argument)


def _number(value: int) -> list[Expression]:
    return [] if value == 1 else [Number(str(value))]
