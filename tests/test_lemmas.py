"""The stored lemmas of every unit type, against those SymPy derives from support, energy and statistic."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache

import pytest
import sympy
from scipy.integrate import quad

from pgmdsl.compiler.lemmas import FIELDS, MEANS, SIGMA, STATES, B, F, K, M, X, derive_lemmas, unit_formula
from pgmdsl.compiler.units import UNITS, Finite, OneHot, Real, Unit
from pgmdsl.grammar.diagnostics import Error

BUILT = ("binary", "spin", "softmax", "gaussian")
FORMULAS = ("base", "own_field", "constant", "log_partition", "mean", "field_of_mean")
POINTS = [(-1.7, 0.6), (-0.2, 1.3), (0.9, 0.45), (2.4, 2.0)]  # field (or bias), sigma


derived_lemmas = cache(derive_lemmas)


def zero(difference: sympy.Expr) -> bool:
    """Whether a real expression is 0 by simplification, of itself or of its exponential."""
    simple = sympy.simplify(difference), sympy.simplify(sympy.exp(difference).rewrite(sympy.exp)) - 1
    return 0 in simple


@pytest.mark.parametrize("name", BUILT)
@pytest.mark.parametrize("formula", FORMULAS)
def test_stored_formula_is_the_derived_one(name: str, formula: str) -> None:
    stored = unit_formula(getattr(UNITS[name], formula))
    derived = getattr(derived_lemmas(UNITS[name]), formula)
    if isinstance(UNITS[name].support, OneHot):
        stored, derived = (unify(e) for e in (stored, derived))
    if formula == "field_of_mean":  # both are the field at an allowed mean: 0 < u, m = (lo + hi u)/(1 + u)
        u = sympy.Symbol("u", positive=True)
        low = -1 if name == "spin" else 0
        stored, derived = (e.subs(M, (low + u) / (1 + u)) for e in (stored, derived))
    assert zero(stored - derived)


def unify(expression: sympy.Expr) -> sympy.Expr:
    """Sums over states with one name for the state summed over."""
    r = sympy.Symbol("r", integer=True)
    return expression.replace(
        lambda e: isinstance(e, sympy.Sum),
        lambda e: sympy.Sum(e.function.subs(e.variables[0], r), (r, *e.limits[0][1:])),
    )


@pytest.mark.parametrize("name", BUILT)
def test_energy_splits_into_base_field_and_constant(name: str) -> None:
    unit = UNITS[name]
    energy, base, own, statistic, constant = (
        unit_formula(getattr(unit, part)) for part in ("energy", "base", "own_field", "statistic", "constant")
    )
    assert sympy.simplify(energy - (base - own * statistic + constant)) == 0
    assert not own.has(X)
    assert not constant.has(X)


@pytest.mark.parametrize("name", [n for n, u in UNITS.items() if n in BUILT and not isinstance(u.support, OneHot)])
@pytest.mark.parametrize(("field", "sigma"), POINTS)
def test_stored_lemmas_are_the_sums_over_states(name: str, field: float, sigma: float) -> None:
    unit = UNITS[name]
    statistic, base = unit_formula(unit.statistic), unit_formula(unit.base)

    def weigh(x: float, power: int) -> float:
        s = statistic.subs({X: x, SIGMA: sigma})
        return float(s**power * sympy.exp(field * s - base.subs({X: x, SIGMA: sigma})))

    if isinstance(unit.support, Finite):
        normaliser, first = (sum(weigh(float(v), p) for v in unit.support.values) for p in (0, 1))
    else:
        assert isinstance(unit.support, Real)
        centre, reach = field * sigma, 12 * sigma
        normaliser, first = (quad(weigh, centre - reach, centre + reach, args=(p,), limit=80)[0] for p in (0, 1))
    at = {F: field, SIGMA: sigma}
    assert float(unit_formula(unit.log_partition).subs(at)) == pytest.approx(float(sympy.log(normaliser)), abs=1e-9)
    mean = first / normaliser
    assert float(unit_formula(unit.mean).subs(at)) == pytest.approx(mean, abs=1e-9)
    assert float(unit_formula(unit.field_of_mean).subs(M, mean)) == pytest.approx(field, abs=1e-9)


def test_stored_lemmas_of_a_site_are_the_sums_over_its_states() -> None:
    fields = [-1.2, 0.4, 2.0]
    weights = [sympy.exp(f) for f in fields]
    unit = UNITS["softmax"]
    at = {FIELDS[k]: f for k, f in enumerate(fields)}
    log_partition = unit_formula(unit.log_partition).subs(STATES, 3).doit().subs(at)
    assert float(log_partition) == pytest.approx(float(sympy.log(sum(weights))), abs=1e-12)
    for k, weight in enumerate(weights):
        share = float(weight / sum(weights))
        mean = unit_formula(unit.mean).subs({STATES: 3, K: k}).doit().subs(at)
        assert float(mean) == pytest.approx(share, abs=1e-12)
        back = unit_formula(unit.field_of_mean).subs(K, k).subs(MEANS[k], share)
        assert float(back - fields[k]) == pytest.approx(float(-sympy.log(sum(weights))), abs=1e-12)


@pytest.mark.parametrize("name", BUILT)
def test_mean_is_the_derivative_of_the_log_partition(name: str) -> None:
    lemmas = derived_lemmas(UNITS[name])
    if isinstance(UNITS[name].support, OneHot):
        log_partition, mean = (e.subs({STATES: 3, K: 1}).doit() for e in (lemmas.log_partition, lemmas.mean))
        assert zero(sympy.diff(log_partition, FIELDS[1]) - mean)
    else:
        assert zero(sympy.diff(lemmas.log_partition, F) - lemmas.mean)


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
