"""The stored lemmas of every unit type, against those SymPy derives from support, energy and statistic."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import product

import pytest
import sympy
from scipy.integrate import quad

from pgmdsl.compiler.lemmas import (
    FIELDS,
    LENGTH,
    MEANS,
    SIGMA,
    STATES,
    TRIALS,
    B,
    F,
    K,
    M,
    X,
    derive_lemmas,
    unit_formula,
)
from pgmdsl.compiler.units import UNITS, Finite, Naturals, Real, Unit, Whole
from pgmdsl.grammar.diagnostics import Error

SITES = [name for name, unit in UNITS.items() if unit.states_axis]
SCALARS = [name for name, unit in UNITS.items() if not unit.states_axis]
FORMULAS = ("base", "own_field", "constant", "log_partition", "mean", "field_of_mean")
POINTS = [(-1.7, 0.6), (-0.2, 1.3), (0.9, 0.45), (2.4, 2.0)]  # field (or bias), sigma


derived_lemmas = cache(derive_lemmas)


def zero(difference: sympy.Expr) -> bool:
    """Whether a real expression is 0 by simplification, of itself or of its exponential."""
    simple = sympy.simplify(difference), sympy.simplify(sympy.exp(difference).rewrite(sympy.exp)) - 1
    return 0 in simple


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("formula", FORMULAS)
def test_stored_formula_is_the_derived_one(name: str, formula: str) -> None:
    stored, derived = getattr(UNITS[name], formula), getattr(derived_lemmas(UNITS[name]), formula)
    if stored is None:
        assert name == "relu"  # the inverse of its mean has no closed form
        assert derived is None
        return
    stored = unit_formula(stored)
    if name in SITES:
        stored, derived = (unify(e) for e in (stored, derived))
    if formula == "field_of_mean":  # both are the field at an allowed mean: 0 < u, m = (lo + hi u)/(1 + u)
        u = sympy.Symbol("u", positive=True)
        low, high = {"spin": (-1, 1), "binomial": (0, TRIALS)}.get(name, (0, 1))
        mean = u if name == "poisson" else (low + high * u) / (1 + u)
        stored, derived = (e.subs(M, mean) for e in (stored, derived))
    assert zero(stored - derived)


def unify(expression: sympy.Expr) -> sympy.Expr:
    """Sums over states with one name for the state summed over."""
    r = sympy.Symbol("r", integer=True)
    return expression.replace(
        lambda e: isinstance(e, sympy.Sum),
        lambda e: sympy.Sum(e.function.subs(e.variables[0], r), (r, *e.limits[0][1:])),
    )


@pytest.mark.parametrize("name", UNITS)
def test_energy_splits_into_base_field_and_constant(name: str) -> None:
    unit = UNITS[name]
    energy, base, own, statistic, constant = (
        unit_formula(getattr(unit, part)) for part in ("energy", "base", "own_field", "statistic", "constant")
    )
    assert sympy.simplify(energy - (base - own * statistic + constant)) == 0
    assert not own.has(X)
    assert not constant.has(X)


@pytest.mark.parametrize("name", SCALARS)
@pytest.mark.parametrize(("field", "sigma"), POINTS)
def test_stored_lemmas_are_the_sums_over_states(name: str, field: float, sigma: float) -> None:
    unit, trials = UNITS[name], 4
    statistic, base = unit_formula(unit.statistic), unit_formula(unit.base)

    def weigh(x: float, power: int) -> float:
        at = {X: x, SIGMA: sigma, TRIALS: trials}
        s = statistic.subs(at)
        return float(s**power * sympy.exp(field * s - base.subs(at)))

    match unit.support:
        case Finite(values):
            normaliser, first = (sum(weigh(float(v), p) for v in values) for p in (0, 1))
        case Whole() | Naturals():
            last = trials if isinstance(unit.support, Whole) else 80
            normaliser, first = (sum(weigh(n, p) for n in range(last + 1)) for p in (0, 1))
        case Real(lower):
            low = field * sigma - 12 * sigma if lower is None else float(lower)
            high = field * sigma + 12 * sigma if lower is None else 14.0
            normaliser, first = (quad(weigh, low, high, args=(p,), limit=80)[0] for p in (0, 1))
        case _:
            raise AssertionError(unit.support)
    at = {F: field, SIGMA: sigma, TRIALS: trials}
    assert float(unit_formula(unit.log_partition).subs(at)) == pytest.approx(float(sympy.log(normaliser)), abs=1e-9)
    mean = first / normaliser
    assert float(unit_formula(unit.mean).subs(at)) == pytest.approx(mean, abs=1e-9)
    if unit.field_of_mean is not None:
        assert float(unit_formula(unit.field_of_mean).subs(at).subs(M, mean)) == pytest.approx(field, abs=1e-9)


@pytest.mark.parametrize(("name", "length"), [("softmax", 1), ("replicated_softmax", 1), ("replicated_softmax", 4)])
def test_stored_lemmas_of_a_site_are_the_sums_over_its_states(name: str, length: int) -> None:
    """A document is summed over all its orders: probabilities are of ordered words."""
    fields = [-1.2, 0.4, 2.0]
    orders = list(product(range(3), repeat=length))
    weights = [sympy.exp(sum(fields[k] for k in order)) for order in orders]
    unit = UNITS[name]
    at = {FIELDS[k]: f for k, f in enumerate(fields)}
    log_partition = unit_formula(unit.log_partition).subs({STATES: 3, LENGTH: length}).doit().subs(at)
    assert float(log_partition) == pytest.approx(float(sympy.log(sum(weights))), abs=1e-12)
    shift = float(sympy.log(sum(sympy.exp(f) for f in fields))) - float(sympy.log(length))
    for k in range(3):
        share = float(sum(w * order.count(k) for w, order in zip(weights, orders, strict=True)) / sum(weights))
        mean = unit_formula(unit.mean).subs({STATES: 3, LENGTH: length, K: k}).doit().subs(at)
        assert float(mean) == pytest.approx(share, abs=1e-12)
        back = unit_formula(unit.field_of_mean or "").subs(K, k).subs(MEANS[k], share)
        assert float(back - fields[k]) == pytest.approx(-shift, abs=1e-12)


@pytest.mark.parametrize("name", UNITS)
def test_mean_is_the_derivative_of_the_log_partition(name: str) -> None:
    """Of the stored ones; `log_normal_cdf` has the derivative that the table's relu relies on."""
    log_partition, mean = unit_formula(UNITS[name].log_partition), unit_formula(UNITS[name].mean)
    if name in SITES:
        log_partition, mean = (e.subs({STATES: 3, K: 1}).doit() for e in (log_partition, mean))
        assert zero(sympy.diff(log_partition, FIELDS[1]) - mean)
    else:
        assert zero(sympy.diff(log_partition, F) - mean)


TRIT = replace(
    UNITS["binary"],
    name="trit",
    support=Finite((Fraction(-1), Fraction(0), Fraction(1))),
    energy="0.3*x^2 - b*x",
)


def test_a_unit_type_that_is_not_in_the_table() -> None:
    lemmas = derive_lemmas(TRIT)
    assert lemmas.own_field == B
    wanted = sympy.log(1 + 2 * sympy.exp(sympy.Rational(-3, 10)) * sympy.cosh(F))
    assert zero(lemmas.log_partition - wanted)
    inverse = lemmas.field_of_mean.subs(M, lemmas.mean)
    assert float(inverse.subs(F, 0.7)) == pytest.approx(0.7, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energy": "0.3*x^2 - b*x^2"}, "bias does not act through its statistic"),
        ({"support": Real(), "energy": "-x^2 - b*x"}, "does not close"),
    ],
)
def test_what_has_no_closed_form_is_refused(change: dict[str, object], message: str) -> None:
    unit: Unit = replace(TRIT, **change)  # type: ignore[arg-type]
    with pytest.raises(Error, match=message):
        derive_lemmas(unit)
