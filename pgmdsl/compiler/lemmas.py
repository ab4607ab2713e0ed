"""The lemmas of a unit type, derived with SymPy from its support, energy and statistic alone.

With state x, statistic s(x), bias b and total field f:

    energy(x) = base(x) - own s(x) + constant,     A(f) = log sum_x exp(f s(x) - base(x)),     E[s] = A'(f),

where base, the bias's share `own` of the field, and the constant are read off the energy. A result is accepted only
if it is free of Piecewise and agrees with a numerical sum or integral at random points. A document's draws are
independent given its field, so its lemmas are `length` times those of one word, which is one-hot.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import sympy

from pgmdsl.compiler.symbolic import to_sympy
from pgmdsl.compiler.units import Counts, Finite, Naturals, OneHot, Real, Unit, Whole
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.parse import parse_expression

X, B, F, M = sympy.symbols("x b f m", real=True)
SIGMA = sympy.Symbol("sigma", positive=True)
STATES = sympy.Symbol("K", integer=True, positive=True)  # of one site
TRIALS, LENGTH = sympy.symbols("trials length", integer=True, positive=True)
K, Q = sympy.symbols("k q", integer=True)
FIELDS = sympy.IndexedBase("f", real=True)  # of a site's states
MEANS = sympy.IndexedBase("m", real=True)
_COUNT = sympy.Symbol("n", integer=True, nonnegative=True)
_Z = sympy.Symbol("z", positive=True)
_POINTS = 4
_MOST_TERMS = 120
_TOLERANCE = 1e-10


@dataclass(frozen=True, slots=True)
class Lemmas:
    """SymPy expressions in x, b, f, m, sigma, trials and length; of sites in f[k] and m[k], k the state meant.

    `field_of_mean` is None where the mean is no elementary function of the field.
    """

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
        case Counts():
            log_partition, mean, inverse = _one_hot(unit, base, statistic)
            found = LENGTH * log_partition, LENGTH * mean, inverse
        case _:
            found = _scalar(unit, base, statistic)
    lemmas = Lemmas(base, own, constant, *found)
    _confirm(unit, lemmas, statistic)
    return lemmas


def unit_formula(text: str) -> Any:
    """A formula of the table of units in SymPy, with sigma known to be positive, trials and length to be whole."""
    ranged = to_sympy(parse_expression(text))
    names = {sympy.Symbol(s.name, real=True): s for s in (SIGMA, TRIALS, LENGTH)}
    limits = {sympy.Symbol(f"N_{i}", integer=True, positive=True): STATES for i in "kq"}
    return ranged.subs(names | limits)


def _states(support: Finite) -> list[Any]:
    return [sympy.Rational(v.numerator, v.denominator) for v in support.values]


def _bias_share(unit: Unit, change: Any, statistic: Any) -> tuple[Any, Any]:
    """The own field and the constant: what the bias changes is `constant - own * statistic`, with neither holding x."""
    states = _states(unit.support) if isinstance(unit.support, Finite) else [sympy.Integer(0), sympy.Integer(1)]

    def slope(term: Any) -> Any:
        return term.subs(X, states[-1]) - term.subs(X, states[0])

    own = sympy.simplify(-slope(change) / slope(statistic))
    constant = sympy.simplify(change + own * statistic)
    if constant.has(X):
        raise Error(
            f"unit {unit.name}: its bias does not act through its statistic {unit.statistic}; the energy must "
            "be a part without the bias, minus the bias's share times the statistic, plus a constant"
        )
    return own, constant


def _normaliser(unit: Unit, base: Any, statistic: Any) -> Any:
    """The sum, or the integral, of exp(f s(x) - base(x)) over the support; over counts a power series in z = exp(f)."""
    weight = sympy.exp(F * statistic - base)
    match unit.support:
        case Finite() as finite:
            return sympy.Add(*(weight.subs(X, v) for v in _states(finite)))
        case Real(lower):
            start = -sympy.oo if lower is None else sympy.Rational(lower.numerator, lower.denominator)
            return sympy.integrate(weight, (X, start, sympy.oo))
        case Whole() | Naturals():
            last = TRIALS if isinstance(unit.support, Whole) else sympy.oo
            term = _Z ** statistic.subs(X, _COUNT) * sympy.combsimp(sympy.exp(-base.subs(X, _COUNT)))
            found = sympy.summation(term, (_COUNT, 0, last))
            if isinstance(found, sympy.Piecewise) and last == TRIALS:
                # a finite sum is a polynomial in z: what holds for z <= 1 holds for every z
                found = next(form for form, condition in found.args if condition.subs(_Z, 1) is sympy.true)
            return found.subs(_Z, sympy.exp(F))
        case _:
            raise AssertionError("the states of a site are summed on their own")


def _scalar(unit: Unit, base: Any, statistic: Any) -> tuple[Any, Any, Any]:
    normaliser = sympy.simplify(_normaliser(unit, base, statistic))
    log_partition = sympy.expand_log(sympy.log(normaliser), force=True)
    mean = sympy.simplify(sympy.diff(log_partition, F))
    _accept(unit, log_partition, mean)
    return sympy.simplify(log_partition), mean, _inverse(unit, mean, statistic)


def _inverse(unit: Unit, mean: Any, statistic: Any) -> Any:
    """The field at which the unit has mean m, or None for a mean that only special functions give.

    For statistics from lo to hi, by way of z = exp(f) > 0, in which the mean is rational, and of
    u = (m - lo)/(hi - m) > 0, so that SymPy knows all signs.
    """
    if mean.has(sympy.erf, sympy.erfc):
        return None
    if isinstance(unit.support, Finite | Whole):
        ends = _states(unit.support) if isinstance(unit.support, Finite) else [sympy.Integer(0), TRIALS]
        u = sympy.Symbol("u", positive=True)
        values = [statistic.subs(X, v) for v in ends]
        low, high = (values[0], values[-1]) if len(values) == 2 else (min(values), max(values))
        rational = sympy.simplify(mean.rewrite(sympy.exp).subs(F, sympy.log(_Z)))
        roots = sympy.solve(sympy.numer(sympy.together(rational - (low + high * u) / (1 + u))), _Z)
        positive = [r for r in roots if all(r.subs({u: t, TRIALS: 3}).evalf().is_positive for t in (0.2, 1, 5))]
        fields = [sympy.expand_log(sympy.log(root), force=True).subs(u, (M - low) / (high - M)) for root in positive]
    else:
        positive_mean = sympy.Symbol("m", positive=True)
        wanted = positive_mean if isinstance(unit.support, Naturals) else M
        fields = [root.subs(wanted, M) for root in sympy.solve(mean - wanted, F)]
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
    compare = _site_numbers if unit.states_axis else _unit_numbers
    for _ in range(_POINTS):
        for wanted, found in compare(unit, lemmas, statistic, source):
            if not abs(float(found) - float(wanted)) <= _TOLERANCE * (1 + abs(float(wanted))):
                raise Error(f"unit {unit.name}: a closed form gives {found}, its sum over states {wanted}")


def _unit_numbers(unit: Unit, lemmas: Lemmas, statistic: Any, source: random.Random) -> Iterator[tuple[Any, Any]]:
    """Log-partition, mean and field of a scalar unit: summed or integrated at a random point, and by the lemmas."""
    trials = source.randint(1, 6)
    numbers = {F: sympy.Float(source.uniform(-2, 2)), SIGMA: sympy.Float(source.uniform(0.4, 2)), TRIALS: trials}
    weight = sympy.exp(F * statistic - lemmas.base).subs(numbers)
    value = statistic.subs(numbers)

    def total(term: Any) -> Any:
        match unit.support:
            case Finite() as finite:
                return sum(term.subs(X, v) for v in _states(finite))
            case Real(lower):
                start = -sympy.oo if lower is None else sympy.Rational(lower.numerator, lower.denominator)
                return sympy.Integral(term, (X, start, sympy.oo)).evalf()
            case _:
                last = trials if isinstance(unit.support, Whole) else _MOST_TERMS
                return sum(term.subs(X, n).evalf() for n in range(last + 1))

    normaliser = total(weight)
    mean = total(value * weight) / normaliser
    yield sympy.log(normaliser).evalf(), lemmas.log_partition.subs(numbers).evalf()
    yield mean.evalf(), lemmas.mean.subs(numbers).evalf()
    if lemmas.field_of_mean is not None:
        yield numbers[F], lemmas.field_of_mean.subs(numbers).subs(M, mean).evalf()


def _site_numbers(unit: Unit, lemmas: Lemmas, statistic: Any, source: random.Random) -> Iterator[tuple[Any, Any]]:
    """The same for a site of a few states, or a document of a few words, whose every sequence is summed.

    The mean is compared state by state; fields are known up to a common constant, which cancels in the mean.
    """
    count, length = 3, source.randint(1, 3) if isinstance(unit.support, Counts) else 1
    fields = [sympy.Float(source.uniform(-2, 2)) for _ in range(count)]

    def averages(values: list[Any]) -> tuple[Any, list[Any]]:
        total, firsts = sympy.Float(0), [sympy.Float(0)] * count
        for words in product(range(count), repeat=length):
            entries = [words.count(k) for k in range(count)]
            parts = (f * statistic.subs(X, n) - lemmas.base.subs(X, n) for f, n in zip(values, entries, strict=True))
            weight = sympy.exp(sum(parts))
            total += weight
            firsts = [a + weight * statistic.subs(X, n) for a, n in zip(firsts, entries, strict=True)]
        return total, [a / total for a in firsts]

    def at(formula: Any, state: int) -> Any:
        numbers = {FIELDS[k]: f for k, f in enumerate(fields)}
        return formula.subs({K: state, STATES: count, LENGTH: length}).doit().subs(numbers)

    normaliser, means = averages(fields)
    yield sympy.log(normaliser), at(lemmas.log_partition, 0)
    again = averages([lemmas.field_of_mean.subs(MEANS[K], m) for m in means])[1]
    for state in range(count):
        yield means[state], at(lemmas.mean, state)
        yield means[state], again[state]
