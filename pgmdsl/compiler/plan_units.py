"""Kernels of a unit type: which sampler its support allows, and its scalar formulas in terms of the statistic."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from pgmdsl.compiler.rewrite import rewrite, walk
from pgmdsl.compiler.units import Finite, OneHot, Real, Unit
from pgmdsl.compiler.values import evaluate
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.parse import parse_expression
from pgmdsl.grammar.syntax import Binary, Expression, Name, Number


@dataclass(frozen=True, slots=True)
class TwoPoint:
    """The statistic takes `low` or `high`; the log odds of `high` are slope * f - offset."""

    low: float
    high: float
    slope: float
    offset: float


@dataclass(frozen=True, slots=True)
class Categorical:
    """The statistic of a site is one of the unit vectors, state k with weight exp(f[k])."""


@dataclass(frozen=True, slots=True)
class Normal:
    """The statistic is normal with mean f and variance 1."""


Sampler = TwoPoint | Categorical | Normal


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """The formulas that a unit type's kernels compute.

    In them `f` is the total field, `m` a mean of the statistic, `s` the statistic, `x` the state, `b` the bias and
    `sigma` the standard deviation. `statistic` is a formula in x, `state` its inverse in s; `energy`, base and
    constant, is in x; `own_factor` is what the bias is multiplied by in the field.
    """

    name: str
    sampler: Sampler
    statistic: Expression
    state: Expression
    energy: Expression
    own_factor: Expression
    log_partition: Expression
    mean: Expression
    field_of_mean: Expression


def plan_unit(unit: Unit) -> UnitPlan:
    """The kernels of a unit type, from its row of the table. Raises `Error` where no sampler is known."""
    statistic = parse_expression(unit.statistic)
    state = _inverse(statistic, Name("s"))
    if state is None:
        raise Error(f"unit {unit.name}: kernels need a statistic that is a multiple of x, not {unit.statistic}")
    return UnitPlan(
        name=unit.name,
        sampler=_sampler(unit),
        statistic=statistic,
        state=state,
        energy=simplify(Binary("+", parse_expression(unit.base), parse_expression(unit.constant))),
        own_factor=substitute(parse_expression(unit.own_field), "b", Number("1")),
        log_partition=parse_expression(unit.log_partition),
        mean=parse_expression(unit.mean),
        field_of_mean=parse_expression(unit.field_of_mean or "m"),
    )


def log_odds(sampler: TwoPoint) -> str:
    """The log odds of the higher value as text: `2 f`, `f - 0.3`."""
    text = "f" if sampler.slope == 1 else f"{sampler.slope:g} f"
    return text if sampler.offset == 0 else f"{text} - {sampler.offset:g}"


def substitute(formula: Expression, name: str, value: Expression) -> Expression:
    """The formula with a name replaced."""
    return rewrite(formula, lambda node: value if node == Name(name) else None)


def names_in(formula: Expression) -> frozenset[str]:
    """The names that a formula uses."""
    return frozenset(node.name for node in walk(formula) if isinstance(node, Name))


def simplify(formula: Expression) -> Expression:
    """The formula without `0 +` and `+ 0` at its top."""
    match formula:
        case Binary("+", Number("0"), other) | Binary("+", other, Number("0")):
            return simplify(other)
        case _:
            return formula


def _sampler(unit: Unit) -> Sampler:
    """How a unit with this support is drawn given its field."""
    match unit.support:
        case Finite((first, second)):
            return _two_point(unit, first, second)
        case OneHot() if (unit.statistic, unit.base) == ("x", "0"):
            return Categorical()
        case Real() if parse_expression(unit.mean) == Name("f"):  # the variance is the mean's derivative by the field
            return Normal()
        case _:
            raise Error(f"unit {unit.name}: no sampler is known for its support and energy")


def _two_point(unit: Unit, first: Fraction, second: Fraction) -> TwoPoint:
    """p(second)/p(first) = exp((s1 - s0) f - (base1 - base0)), from the density exp(f s - base - A)."""
    at = partial(_value, unit)
    s0, s1 = at(unit.statistic, first), at(unit.statistic, second)
    return TwoPoint(low=s0, high=s1, slope=s1 - s0, offset=at(unit.base, second) - at(unit.base, first))


def _value(unit: Unit, formula: str, x: Fraction) -> float:
    tree = parse_expression(formula)
    if not names_in(tree) <= {"x"}:
        raise Error(f"unit {unit.name}: {formula} must depend on x alone where the support is finite")
    return evaluate(tree, {"x": float(x)})


def _inverse(formula: Expression, value: Expression) -> Expression | None:
    """The x at which a formula in x has this value, where x is multiplied and divided only; else None."""
    match formula:
        case Name("x"):
            return value
        case Binary("/", inner, divisor) if "x" not in names_in(divisor):
            return _inverse(inner, Binary("*", value, divisor))
        case Binary("*", factor, inner) if "x" not in names_in(factor):
            return _inverse(inner, Binary("/", value, factor))
        case Binary("*", inner, factor) if "x" not in names_in(factor):
            return _inverse(inner, Binary("/", value, factor))
        case _:
            return None
