"""The lemmas of a unit type, derived with SymPy from its support, energy and statistic alone.

With state x, statistic s(x), bias b and total field f:

    energy(x) = base(x) - own s(x) + constant,     A(f) = log sum_x exp(f s(x) - base(x)),     E[s] = A'(f),

where base, the bias's share `own` of the field, and the constant are read off the energy. A result is accepted only
if it is free of Piecewise and agrees with a numerical sum or integral at random points.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import sympy

from pgmdsl.compiler.symbolic import to_sympy
from pgmdsl.compiler.units import Finite, OneHot, Real, Unit
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.parse import parse_expression

X, B, F, M = sympy.symbols("x b f m", real=True)
SIGMA = sympy.Symbol("sigma", positive=True)
STATES = sympy.Symbol("K", integer=True, positive=True)  # of one site
K, Q = sympy.symbols("k q", integer=True)
FIELDS = sympy.IndexedBase("f", real=True)  # of a site's states
MEANS = sympy.IndexedBase("m", real=True)
_POINTS = 4
_TOLERANCE = 1e-10


@dataclass(frozen=True, slots=True)
class Lemmas:
    """SymPy expressions in x, b, f, m and sigma; for a one-hot support in f[k] and m[k], k the state meant."""

    base: Any
    own_field: Any
    constant: Any
    log_partition: Any
    mean: Any
    field_of_mean: Any


def derive_lemmas(unit: Unit) -> Lemmas:
    """Everything that follows from the unit's support, energy and statistic.

    Raises:
        Error: where the energy is not affine in the statistic as the bias varies, where a sum or an integral does not
            close, or where its closed form disagrees with its numerical value.
    """
    energy, statistic = unit_formula(unit.energy), unit_formula(unit.statistic)
    base = energy.subs(B, 0)
    own, constant = _bias_share(unit, energy - base, statistic)
    match unit.support:
        case OneHot():
            found = _one_hot(unit, base, statistic)
        case Finite(values):
            states = [sympy.Rational(v.numerator, v.denominator) for v in values]

            def total(term: Any) -> Any:
                return sympy.Add(*(term.subs(X, v) for v in states))

            found = _scalar(unit, base, statistic, total)
        case Real():
            found = _scalar(unit, base, statistic, lambda term: sympy.integrate(term, (X, -sympy.oo, sympy.oo)))
        case _:
            raise NotImplementedError(unit.name)
    lemmas = Lemmas(base, own, constant, *found)
    _confirm(unit, lemmas, statistic)
    return lemmas


def unit_formula(text: str) -> Any:
    """A formula of the table of units in SymPy, with sigma known to be positive."""
    ranged = to_sympy(parse_expression(text))
    names = {sympy.Symbol("sigma", real=True): SIGMA}
    limits = {sympy.Symbol(f"N_{i}", integer=True, positive=True): STATES for i in "kq"}
    return ranged.subs(names | limits)


def _bias_share(unit: Unit, change: Any, statistic: Any) -> tuple[Any, Any]:
    """The own field and the constant: what the bias changes is `constant - own * statistic`, with neither holding x."""
    if isinstance(unit.support, Finite):
        first, last = (
            sympy.Rational(v.numerator, v.denominator) for v in (unit.support.values[0], unit.support.values[-1])
        )
    else:
        first, last = sympy.Integer(0), sympy.Integer(1)

    def slope(term: Any) -> Any:
        return term.subs(X, last) - term.subs(X, first)

    own = sympy.simplify(-slope(change) / slope(statistic))
    constant = sympy.simplify(change + own * statistic)
    if constant.has(X):
        raise Error(
            f"unit {unit.name}: its bias does not act through its statistic {unit.statistic}; the energy must "
            "be a part without the bias, minus the bias's share times the statistic, plus a constant"
        )
    return own, constant


def _scalar(unit: Unit, base: Any, statistic: Any, total: Callable[[Any], Any]) -> tuple[Any, Any, Any]:
    weight = sympy.exp(F * statistic - base)
    normaliser = sympy.simplify(total(weight))
    mean = sympy.simplify(total(statistic * weight) / normaliser)
    log_partition = sympy.expand_log(sympy.log(normaliser), force=True)
    _accept(unit, log_partition, mean)
    return sympy.simplify(log_partition), mean, _inverse(unit, mean, statistic)


def _inverse(unit: Unit, mean: Any, statistic: Any) -> Any:
    """The field at which the unit has mean m.

    For a finite support with statistics from lo to hi, by way of z = exp(f) > 0, in which the mean is rational, and
    of u = (m - lo)/(hi - m) > 0, so that SymPy knows all signs.
    """
    if isinstance(unit.support, Finite):
        z, u = sympy.symbols("z u", positive=True)
        values = [statistic.subs(X, sympy.Rational(v.numerator, v.denominator)) for v in unit.support.values]
        low, high = min(values), max(values)
        rational = sympy.simplify(mean.rewrite(sympy.exp).subs(F, sympy.log(z)))
        roots = sympy.solve(sympy.numer(sympy.together(rational - (low + high * u) / (1 + u))), z)
        positive = [r for r in roots if all(r.subs(u, t).evalf().is_positive for t in (0.2, 1, 5))]
        fields = [sympy.expand_log(sympy.log(root), force=True).subs(u, (M - low) / (high - M)) for root in positive]
    else:
        fields = sympy.solve(mean - M, F)
    if len(fields) != 1 or fields[0].has(sympy.Piecewise):
        raise Error(f"unit {unit.name}: no closed form for the field at which it has a given mean was found")
    return fields[0]


def _one_hot(unit: Unit, base: Any, statistic: Any) -> tuple[Any, Any, Any]:
    """A site in one of K states: one sum over the states. The entries that are 0 must contribute nothing."""
    if base.subs(X, 0) != 0 or statistic.subs(X, 0) != 0:
        raise Error(f"unit {unit.name}: the entries of its state that are 0 must have energy 0 and statistic 0")
    one = statistic.subs(X, 1)

    def weight(state: Any) -> Any:
        return sympy.exp(FIELDS[state] * one - base.subs(X, 1))

    normaliser = sympy.Sum(weight(Q), (Q, 0, STATES - 1))
    inverse = (sympy.log(MEANS[K] / one) + base.subs(X, 1)) / one  # where the log-partition is 0
    return sympy.log(normaliser), one * weight(K) / normaliser, inverse


def _accept(unit: Unit, *formulas: Any) -> None:
    for formula in formulas:
        if formula.has(sympy.Piecewise, sympy.Integral, sympy.Sum, sympy.oo, sympy.zoo, sympy.nan):
            raise Error(f"unit {unit.name}: its sum over states does not close: {formula}")


def _confirm(unit: Unit, lemmas: Lemmas, statistic: Any) -> None:
    """Compare log-partition, mean and inverse with numerical sums or quadrature at random points."""
    source = random.Random(unit.name)
    compare = _site_numbers if isinstance(unit.support, OneHot) else _unit_numbers
    for _ in range(_POINTS):
        for wanted, found in compare(unit, lemmas, statistic, source):
            if not abs(float(found) - float(wanted)) <= _TOLERANCE * (1 + abs(float(wanted))):
                raise Error(f"unit {unit.name}: a closed form gives {found}, its sum over states {wanted}")


def _unit_numbers(unit: Unit, lemmas: Lemmas, statistic: Any, source: random.Random) -> Iterator[tuple[Any, Any]]:
    """Log-partition, mean and field of a scalar unit: summed or integrated at a random point, and by the lemmas."""
    numbers = {F: sympy.Float(source.uniform(-2, 2)), SIGMA: sympy.Float(source.uniform(0.4, 2))}
    weight = sympy.exp(F * statistic - lemmas.base).subs(numbers)
    value = statistic.subs(numbers)

    def total(term: Any) -> Any:
        if isinstance(unit.support, Finite):
            return sum(term.subs(X, sympy.Rational(v.numerator, v.denominator)) for v in unit.support.values)
        return sympy.Integral(term, (X, -sympy.oo, sympy.oo)).evalf()

    normaliser = total(weight)
    mean = total(value * weight) / normaliser
    yield sympy.log(normaliser).evalf(), lemmas.log_partition.subs(numbers).evalf()
    yield mean.evalf(), lemmas.mean.subs(numbers).evalf()
    yield numbers[F], lemmas.field_of_mean.subs(M, mean).evalf()


def _site_numbers(unit: Unit, lemmas: Lemmas, statistic: Any, source: random.Random) -> Iterator[tuple[Any, Any]]:
    """The same for a site of a few states, each state entry by entry; fields are known up to a common constant."""
    count = 4
    fields = [sympy.Float(source.uniform(-2, 2)) for _ in range(count)]

    def probabilities(values: list[Any]) -> tuple[Any, list[Any]]:
        exponents = []
        for state in range(count):
            entries = [1 if k == state else 0 for k in range(count)]
            parts = (f * statistic.subs(X, x) - lemmas.base.subs(X, x) for f, x in zip(values, entries, strict=True))
            exponents.append(sympy.exp(sum(parts)))
        return sum(exponents), [statistic.subs(X, 1) * e / sum(exponents) for e in exponents]

    def at(formula: Any, state: int) -> Any:
        return formula.subs({K: state, STATES: count}).doit().subs({FIELDS[k]: f for k, f in enumerate(fields)})

    normaliser, means = probabilities(fields)
    yield sympy.log(normaliser), at(lemmas.log_partition, 0)
    again = probabilities([lemmas.field_of_mean.subs(MEANS[K], m) for m in means])[1]
    for state in range(count):
        yield means[state], at(lemmas.mean, state)
        yield means[state], again[state]
