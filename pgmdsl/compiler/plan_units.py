"""Kernels of a unit type: which sampler its support allows, and its scalar formulas in terms of the statistic."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import partial, reduce

from pgmdsl.compiler.differentiate import differentiate, either, minus, plus, times
from pgmdsl.compiler.rewrite import rewrite, walk
from pgmdsl.compiler.units import Counts, Finite, Naturals, OneHot, Piece, Real, Unit, Whole
from pgmdsl.compiler.values import evaluate
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.parse import parse_expression
from pgmdsl.grammar.syntax import Binary, Call, Compare, Expression, Name, Negate, Number


@dataclass(frozen=True, slots=True)
class TwoPoint:
    """The statistic takes `low` or `high`; the log odds of `high` are slope * f - offset."""

    low: float
    high: float
    slope: float
    offset: float


@dataclass(frozen=True, slots=True)
class Table:
    """The state takes one of these values, x with weight exp(f s(x) - base(x)); all sums are over the values."""

    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Categorical:
    """The statistic of a site is one of the unit vectors, state k with weight exp(f[k])."""


@dataclass(frozen=True, slots=True)
class Multinomial:
    """The statistic of a site counts how often each state occurs among its draws, state k with weight exp(f[k])."""


@dataclass(frozen=True, slots=True)
class Countable:
    """The state is a whole number from 0 on, to `trials` where bounded: x has the log probability f s - base - A.

    `plain`: the mean's formula keeps its digits in the model's numbers. `spread` is the variance of the statistic,
    `step` what the statistic grows by from a state to the next.
    """

    bounded: bool
    plain: bool
    spread: Expression
    step: Expression


@dataclass(frozen=True, slots=True)
class Normal:
    """The statistic is normal with mean f and variance 1."""


@dataclass(frozen=True, slots=True)
class Quadratic:
    """On lower < s < upper the base is curvature s^2/2 + slope s + constant, in terms of the unit's parameters."""

    lower: float
    upper: float
    curvature: Expression
    slope: Expression
    constant: Expression


@dataclass(frozen=True, slots=True)
class Pieces:
    """The statistic is real, its base a quadratic on each of some intervals: a mixture of normals cut off."""

    pieces: tuple[Quadratic, ...]


Sampler = TwoPoint | Table | Categorical | Multinomial | Countable | Normal | Pieces


@dataclass(frozen=True, slots=True)
class Lookup:
    """States by their statistics, these in increasing order."""

    statistics: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Slope:
    """Derivatives by one of the unit type's own parameters T.

    `at_state` is -d energy/dT at the state x and the coupling field f. Averaged over the conditional at the total field
    f this is dA/dT + own_field E[s] + constant, where `own_field` is d own_field/dT and `constant` -d constant/dT.
    dA/dT is `log_partition` where A is a formula; in tables the mean of `within`, in x and f; for quadratic pieces
    minus the mean of the pieces' own derivatives, `pieces`.
    """

    parameter: str
    at_state: Expression
    own_field: Expression
    constant: Expression
    log_partition: Expression
    within: Expression
    pieces: tuple[Quadratic, ...]


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """The formulas that a unit type's kernels compute.

    In them `f` is the total field, `m` a mean of the statistic, `s` the statistic, `x` the state; every other name, the
    bias `b`, the unit type's own parameters, `trials`, is an array with one number per unit. `statistic` is a formula
    in x, `state` its inverse, a formula in s or a table; `energy`, base and constant, and `base` are in x; `own_factor`
    is what the bias is multiplied by in the field. `field_of_mean` is None where it is solved for. `curvature` is the
    least curvature of the base in the statistic far out, None unless the unit is real.
    """

    name: str
    sampler: Sampler
    statistic: Expression
    state: Expression | Lookup
    base: Expression
    energy: Expression
    own_factor: Expression
    log_partition: Expression
    mean: Expression
    field_of_mean: Expression | None
    slopes: tuple[Slope, ...] = ()
    curvature: Expression | None = None


_ZERO = Number("0")
_VARIABLES = ("f", "m", "s", "x", "pi")
# Functions in which a formula of the field can be computed for large fields as it stands.
_SAFE = frozenset({"sigmoid", "softplus", "tanh"})


def plan_unit(unit: Unit) -> UnitPlan:
    """The kernels of a unit type, from its row of the table. Raises `Error` where no sampler is known."""
    statistic = parse_expression(unit.statistic)
    mean, log_partition = parse_expression(unit.mean), parse_expression(unit.log_partition)
    sampler = _sampler(unit, mean)
    return UnitPlan(
        name=unit.name,
        sampler=sampler,
        statistic=statistic,
        state=_state(unit, statistic),
        base=parse_expression(unit.base),
        energy=plus(parse_expression(unit.base), parse_expression(unit.constant)),
        own_factor=substitute(parse_expression(unit.own_field), "b", Number("1")),
        log_partition=log_partition,
        mean=mean,
        field_of_mean=None if unit.field_of_mean is None else parse_expression(unit.field_of_mean),
        slopes=tuple(_slope(unit, sampler, log_partition, parameter.name) for parameter in unit.parameters),
        curvature=_curvature(sampler),
    )


def log_odds(sampler: TwoPoint) -> str:
    """The log odds of the higher value as text: `2 f`, `f - 0.3`."""
    text = "f" if sampler.slope == 1 else f"{sampler.slope:g} f"
    return text if sampler.offset == 0 else f"{text} - {sampler.offset:g}"


def sampler_text(sampler: Sampler) -> str:
    """How a unit is drawn, in a line."""
    match sampler:
        case TwoPoint(low, high):
            return f"{high:g} with log odds {log_odds(sampler)}, else {low:g}"
        case Table(values):
            return f"x of {', '.join(f'{v:g}' for v in values)} with weight exp(f s - base)"
        case Categorical():
            return "state k with weight exp(f[k])"
        case Multinomial():
            return "a document's words, word k with weight exp(f[k])"
        case Countable(bounded):
            return f"x of 0, 1, ...{' trials' if bounded else ''} with probability exp(f s - base - A)"
        case Normal():
            return "normal, mean f, variance 1"
        case Pieces(pieces):
            return "; ".join(f"normal cut off at {p.lower:g} and {p.upper:g}" for p in pieces)


def per_unit(*formulas: Expression) -> tuple[str, ...]:
    """The names in formulas that stand for arrays with one number per unit, in the order in which they occur."""
    names = (node.name for formula in formulas for node in walk(formula) if isinstance(node, Name))
    return tuple(dict.fromkeys(name for name in names if name not in _VARIABLES))


def substitute(formula: Expression, name: str, value: Expression) -> Expression:
    """The formula with a name replaced."""
    return rewrite(formula, lambda node: value if node == Name(name) else None)


def names_in(formula: Expression) -> frozenset[str]:
    """The names that a formula uses."""
    return frozenset(node.name for node in walk(formula) if isinstance(node, Name))


def _is_plain(mean: Expression) -> bool:
    """Whether a mean is one exponential or none: sums and quotients of them lose digits in float32."""
    return sum(isinstance(node, Call) and node.function == "exp" for node in walk(mean)) < 2


def _sampler(unit: Unit, mean: Expression) -> Sampler:
    """How a unit with this support is drawn given its field."""
    match unit.support:
        case Finite(values):
            formulas = (unit.statistic, unit.base)
            plain = all(names_in(parse_expression(text)) <= {"x"} for text in formulas)
            if len(values) == 2 and plain and _is_safe(unit):
                return _two_point(unit, *values)
            return Table(tuple(float(value) for value in values))
        case OneHot() if (unit.statistic, unit.base) == ("x", "0"):
            return Categorical()
        case Counts() if (unit.statistic, unit.base) == ("x", "0"):
            return Multinomial()
        case Whole() | Naturals():
            spread = differentiate(mean, "f")
            step = differentiate(parse_expression(unit.statistic), "x")
            if "x" not in names_in(step) and step != _ZERO:
                return Countable(isinstance(unit.support, Whole), _is_plain(mean), spread, step)
        case Real(None) if mean == Name("f"):  # the variance is the mean's derivative by f
            return Normal()
        case Real() if unit.pieces and unit.statistic == "x":
            return Pieces(tuple(_quadratic(piece) for piece in unit.pieces))
    raise Error(f"unit {unit.name}: no sampler is known for its support, energy and statistic {unit.statistic}")


def _is_safe(unit: Unit) -> bool:
    """Whether the mean and the log-partition function are written in functions that do not overflow."""
    nodes = [n for text in (unit.mean, unit.log_partition) for n in walk(parse_expression(text))]
    return all(node.function in _SAFE for node in nodes if isinstance(node, Call))


def _two_point(unit: Unit, first: Fraction, second: Fraction) -> TwoPoint:
    """p(second)/p(first) = exp((s1 - s0) f - (base1 - base0)), from the density exp(f s - base - A)."""
    at = partial(_value, unit)
    s0, s1 = at(unit.statistic, first), at(unit.statistic, second)
    return TwoPoint(low=s0, high=s1, slope=s1 - s0, offset=at(unit.base, second) - at(unit.base, first))


def _value(unit: Unit, formula: str, x: Fraction) -> float:
    tree = parse_expression(formula)
    if not names_in(tree) <= {"x", "pi"}:
        raise Error(f"unit {unit.name}: {formula} must depend on x alone where the support is finite")
    return evaluate(tree, {"x": float(x)})


def _quadratic(piece: Piece) -> Quadratic:
    return Quadratic(
        -float("inf") if piece.lower is None else float(piece.lower),
        float("inf") if piece.upper is None else float(piece.upper),
        *(parse_expression(text) for text in (piece.curvature, piece.slope, piece.constant)),
    )


def _state(unit: Unit, statistic: Expression) -> Expression | Lookup:
    """The state as a function of the statistic."""
    state = _inverse(statistic, Name("s"))
    if state is not None:
        return state
    if not isinstance(unit.support, Finite):
        raise Error(f"unit {unit.name}: kernels need a statistic that is a multiple of x, not {unit.statistic}")
    pairs = sorted((_value(unit, unit.statistic, x), float(x)) for x in unit.support.values)
    statistics, values = (tuple(column) for column in zip(*pairs, strict=True))
    if len(set(statistics)) < len(statistics):
        raise Error(f"unit {unit.name}: its statistic {unit.statistic} takes one value at two of its states")
    return Lookup(statistics, values)


def _inverse(formula: Expression, value: Expression) -> Expression | None:
    """The x at which a formula in x has this value, where x occurs once and in plain arithmetic; else None."""
    match formula:
        case Name("x"):
            return value
        case Negate(inner):
            return _inverse(inner, minus(_ZERO, value))
        case Binary("/", inner, divisor) if "x" not in names_in(divisor):
            return _inverse(inner, times(value, divisor))
        case Binary("*", factor, inner) if "x" not in names_in(factor):
            return _inverse(inner, Binary("/", value, factor))
        case Binary("*", inner, factor) if "x" not in names_in(factor):
            return _inverse(inner, Binary("/", value, factor))
        case Binary("+", term, inner) if "x" not in names_in(term):
            return _inverse(inner, minus(value, term))
        case Binary("+", inner, term) if "x" not in names_in(term):
            return _inverse(inner, minus(value, term))
        case Binary("-", inner, term) if "x" not in names_in(term):
            return _inverse(inner, plus(value, term))
        case Binary("-", term, inner) if "x" not in names_in(term):
            return _inverse(inner, minus(term, value))
        case _:
            return None


def _slope(unit: Unit, sampler: Sampler, log_partition: Expression, name: str) -> Slope:
    """The derivatives by one of the own parameters. Raises `Error` where a formula has none in closed form."""
    energy, statistic, base = (parse_expression(text) for text in (unit.energy, unit.statistic, unit.base))
    own_field, constant = parse_expression(unit.own_field), parse_expression(unit.constant)
    in_tables, in_pieces = isinstance(sampler, Table), sampler.pieces if isinstance(sampler, Pieces) else ()
    through_statistic = times(Name("f"), differentiate(statistic, name))
    return Slope(
        parameter=name,
        at_state=minus(through_statistic, differentiate(energy, name)),
        own_field=differentiate(own_field, name),
        constant=minus(_ZERO, differentiate(constant, name)),
        log_partition=_ZERO if in_tables or in_pieces else differentiate(log_partition, name),
        within=minus(through_statistic, differentiate(base, name)) if in_tables else _ZERO,
        pieces=tuple(_piece_slope(piece, name) for piece in in_pieces),
    )


def _piece_slope(piece: Quadratic, name: str) -> Quadratic:
    parts = (differentiate(part, name) for part in (piece.curvature, piece.slope, piece.constant))
    return Quadratic(piece.lower, piece.upper, *parts)


def _curvature(sampler: Sampler) -> Expression | None:
    """The least curvature of the base among the pieces without a bound."""
    match sampler:
        case Normal():
            return Number("1")
        case Pieces(pieces):
            infinite = float("inf")
            return reduce(_smaller, (p.curvature for p in pieces if infinite in (-p.lower, p.upper)))
        case _:
            return None


def _smaller(a: Expression, b: Expression) -> Expression:
    return a if a == b else either(a, Compare("<", a, b), b)
