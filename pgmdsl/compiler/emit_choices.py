"""Scalar functions of units that are drawn by more than one step: tables, counting units, quadratic pieces.

For a unit type U: `U_choice(f, ..., counter)`, a statistic drawn at the field f; for tables and pieces also `U_mean`
and `U_log_partition`, which are sums over the values or pieces, of terms relative to the largest. All in float64.
"""

from __future__ import annotations

from pgmdsl.compiler.differentiate import minus, times
from pgmdsl.compiler.emit_formula import Style, needs_double, number
from pgmdsl.compiler.emit_source import (
    choice_arguments,
    log_partition_arguments,
    mean_arguments,
    mean_style,
    parameters,
    scalar_source,
)
from pgmdsl.compiler.plan_units import Countable, Lookup, Pieces, Quadratic, Table, UnitPlan, per_unit
from pgmdsl.compiler.typeset import unicode_text
from pgmdsl.grammar.syntax import Expression, Name


def emit_table(unit: UnitPlan, table: Table) -> str:
    """The scalar functions of a unit with finitely many states: sums over them."""
    name, given = unit.name, parameters(choice_arguments(unit), after=",")
    statistic = scalar_source(unit.statistic, "double", x="x")
    log_weight = scalar_source(_log_weight(unit), "double", x="x", f="f")
    return f'''
{name}_values = np.array({table.values!r})


@njit(**SCALAR)
def {name}_log_weight(x, f{given}):
    """f s(x) - base(x), s = {unicode_text(unit.statistic)}, base = {unicode_text(unit.base)}."""
    return {log_weight}


@njit(**SCALAR)
def {name}_log_partition(f{given}):
    """A(f), the log of the sum over x of exp(f s(x) - base(x))."""
    peak, total = -np.inf, 0.0
    for x in {name}_values:
        peak = max(peak, {name}_log_weight(x, f{given}))
    for x in {name}_values:
        total += exp64({name}_log_weight(x, f{given}) - peak)
    return peak + math.log(total)


@njit(**SCALAR)
def {name}_mean(f{given}):
    """E[s], the sum over x of s(x) exp(f s(x) - base(x) - A(f))."""
    whole, total = {name}_log_partition(f{given}), 0.0
    for x in {name}_values:
        total += ({statistic}) * exp64({name}_log_weight(x, f{given}) - whole)
    return total


@njit(**SCALAR)
def {name}_choice(f{given}, counter):
    """The s of the first x at which the cumulative probability passes u, from counter."""
    whole, passed, u = {name}_log_partition(f{given}), 0.0, uniform64(counter)
    for x in {name}_values:
        passed += exp64({name}_log_weight(x, f{given}) - whole)
        if u < passed:
            break
    return {statistic}
'''


def emit_countable(unit: UnitPlan, sampler: Countable) -> str:
    """The scalar functions that draw a unit with states 0, 1, 2, ...: outward from the floor of the mean."""
    name, names = unit.name, choice_arguments(unit)
    given = parameters(names, after=",")
    last = "p_trials" if sampler.bounded else "np.inf"
    if isinstance(unit.state, Lookup):
        raise AssertionError("the states of counting units are formulas of their statistics")
    style: Style = "double" if mean_style(unit) == "double" or needs_double(sampler.spread) else "kernel"

    def near(formula_names: tuple[str, ...]) -> str:
        return "".join(f", Real(p_{n})" if style == "kernel" else f", p_{n}" for n in formula_names)

    spread_names = {n: f"Real(p_{n})" for n in per_unit(sampler.spread)} if style == "kernel" else {}
    spread = scalar_source(sampler.spread, style, f="near", **spread_names)
    state = scalar_source(unit.state, "double", s="centre")
    statistic = scalar_source(unit.statistic, "double", x="x")
    log_weight = scalar_source(_log_weight(unit), "double", x="x", f="f")
    return f'''
@njit(**SCALAR)
def {name}_probability(x, f, whole{given}):
    """exp(f s(x) - base(x) - A(f)), s = {unicode_text(unit.statistic)}, base = {unicode_text(unit.base)}."""
    return exp64({log_weight} - whole)


@njit(**SCALAR)
def {name}_choice(f{given}, counter):
    """The s of the x at which the cumulative probability passes u, from counter, counted outward from the mean.

    It takes about as many steps as the standard deviation of x. Beyond WIDEST of those, the normal distribution of this
    mean and variance, rounded.
    """
    near, last = {"Real(f)" if style == "kernel" else "f"}, {last}
    centre = np.float64({name}_mean(near{near(mean_arguments(unit))}))
    deviation = math.sqrt(np.float64({spread})) / abs({scalar_source(sampler.step, "double")})
    x = {state}
    if not deviation <= WIDEST:
        x = min(max(np.floor(x + deviation * further_normal(counter, 0) + 0.5), 0.0), last)
        return {statistic}
    x = min(np.floor(x), last)
    up, down, left = x, x - 1.0, uniform64(counter)
    whole = {name}_log_partition(f{parameters(log_partition_arguments(unit), after=",")})
    for _ in range(int(40.0 * deviation) + 200):
        x = up
        up += 1.0
        left -= {name}_probability(x, f, whole{given}) if x <= last else 0.0
        if left < 0.0:
            break
        x = down
        down -= 1.0
        left -= {name}_probability(x, f, whole{given}) if x >= 0.0 else 0.0
        if left < 0.0:
            break
    x = min(max(x, 0.0), last)
    return {statistic}
'''


def emit_pieces(unit: UnitPlan, sampler: Pieces) -> str:
    """The scalar functions of a real unit whose base is quadratic on each of some intervals."""
    name, names, pieces = unit.name, choice_arguments(unit), sampler.pieces
    given, passed = parameters(names, after=","), parameters(names)
    return f'''
@njit(**SCALAR)
def {name}_piece(k{given}):
    """Bounds, curvature c, slope t and constant of piece k: on it base = c s^2/2 + t s + constant."""
{_branches([_piece_source(piece) for piece in pieces])}


@njit(**SCALAR)
def {name}_sums(f{given}):
    """A(f) and E[s]: sums over the pieces, relative to the largest."""
    peak, total, first = -np.inf, 0.0, 0.0
    for k in range({len(pieces)}):
        lower, upper, curvature, slope, constant = {name}_piece(k{given})
        level, mean, _ = piece_moments(f, lower, upper, curvature, slope, constant)
        if level > peak:
            shrink, peak = exp64(peak - level), level
            total, first = total * shrink + 1.0, first * shrink + mean
        else:
            weight = exp64(level - peak)
            total, first = total + weight, first + weight * mean
    return peak + math.log(total), first / total


@njit(**SCALAR)
def {name}_log_partition(f{given}):
    """A(f), the log of the integral of exp(f s - base)."""
    return {name}_sums(f{given})[0]


@njit(**SCALAR)
def {name}_mean(f{given}):
    """E[s], the integral of s exp(f s - base - A(f))."""
    return {name}_sums(f{given})[1]


@njit(**SCALAR)
def {name}_choice(f, {passed}counter):
    """s from a piece drawn by its probability, and within it from a normal distribution cut off at its bounds."""
{_choice(name, given, len(pieces))}
    lower, upper, curvature, slope, _ = {name}_piece(k{given})
    return draw_piece(f, lower, upper, curvature, slope, counter, {len(pieces)})
'''


def _choice(name: str, given: str, count: int) -> str:
    """The lines that draw the piece k: each takes the place of those before with its share of the sum so far."""
    if count == 1:
        return "    k = 0"
    return f"""    peak, total, k = -np.inf, 0.0, 0
    for n in range({count}):
        lower, upper, curvature, slope, constant = {name}_piece(n{given})
        level = piece_moments(f, lower, upper, curvature, slope, constant)[0]
        top = max(peak, level)
        weight = exp64(level - top)
        total, peak = total * exp64(peak - top) + weight, top
        k = n if further(counter, n) * total < weight else k"""


def _piece_source(piece: Quadratic) -> str:
    infinite = {float("-inf"): "-np.inf", float("inf"): "np.inf"}
    bounds = [infinite.get(bound, number(bound, "double")) for bound in (piece.lower, piece.upper)]
    parts = [scalar_source(part, "double") for part in (piece.curvature, piece.slope, piece.constant)]
    return ", ".join([*bounds, *parts])


def _branches(values: list[str]) -> str:
    """Lines of a function that return the value of number k."""
    first = [f"    if k == {k}:\n        return {value}" for k, value in enumerate(values[:-1])]
    return "\n".join([*first, f"    return {values[-1]}"])


def _log_weight(unit: UnitPlan) -> Expression:
    """The formula f s(x) - base(x)."""
    return minus(times(Name("f"), unit.statistic), unit.base)
