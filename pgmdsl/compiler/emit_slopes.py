"""The kernels of derivatives by a unit type's own parameters: at a state, and averaged over the conditional."""

from __future__ import annotations

from pgmdsl.compiler.differentiate import over, plus, times
from pgmdsl.compiler.emit_source import (
    choice_arguments,
    entries,
    expected_slope_arguments,
    field_of,
    parameters,
    scalar_source,
    slope_arguments,
    state_source,
)
from pgmdsl.compiler.plan_units import Pieces, Quadratic, Slope, Table, UnitPlan, per_unit
from pgmdsl.compiler.typeset import unicode_text
from pgmdsl.grammar.syntax import Expression, Name, Number


def emit_slopes(unit: UnitPlan) -> str:
    """The source of `U_slopes_T` and `U_expected_slopes_T` for each of the unit type's own parameters T."""
    return "\n".join(_at_state(unit, slope) + "\n" + _expected(unit, slope) for slope in unit.slopes)


def _at_state(unit: UnitPlan, slope: Slope) -> str:
    names, formula = per_unit(slope.at_state), scalar_source(slope.at_state, "double", f="f", x="x")
    return f'''
@njit(**SCALAR)
def {unit.name}_slope_{slope.parameter}(x, f{parameters(names, after=",")}):
    """-d energy / d {slope.parameter} = {unicode_text(slope.at_state)} at the state x, f the coupling field."""
    return {formula}


@njit(**KERNEL)
def {unit.name}_slopes_{slope.parameter}(s, field, {parameters(slope_arguments(unit, slope))}out):
    """out = -d energy / d {slope.parameter} of each unit at its state and coupling field."""
    for i in range(s.shape[0]):
        fields, states, slopes = field[i], s[i], out[i]
        for j in range(s.shape[1]):
            x = {state_source(unit, "double", "np.float64(states[j])")}
            slopes[j] = {unit.name}_slope_{slope.parameter}(x, np.float64(fields[j]){entries(names, "double")})
'''


def _expected(unit: UnitPlan, slope: Slope) -> str:
    names = expected_slope_arguments(unit, slope)
    return f'''
@njit(**SCALAR)
def {unit.name}_expected_slope_{slope.parameter}(f{parameters(names, after=",")}):
    """E[-d energy / d {slope.parameter}] at the total field f."""
{_scalar_body(unit, slope)}


@njit(**KERNEL)
def {unit.name}_expected_slopes_{slope.parameter}(field, own, scale, {parameters(names)}out):
    """out = E[-d energy / d {slope.parameter}] at f = own + scale * field."""
    for i in range(out.shape[0]):
        fields, levels, slopes = field[i], own[min(i, own.shape[0] - 1)], out[i]
        for j in range(out.shape[1]):
            f = {field_of("double")}
            slopes[j] = {unit.name}_expected_slope_{slope.parameter}(f{entries(names, "double")})
'''


def _scalar_body(unit: UnitPlan, slope: Slope) -> str:
    """dA/dT + d own_field/dT E[s] - d constant/dT."""
    given = parameters(choice_arguments(unit), after=",")
    match unit.sampler:
        case Table():
            sums = f"""    whole, total = {unit.name}_log_partition(f{given}), 0.0
    for x in {unit.name}_values:
        weight = exp64({unit.name}_log_weight(x, f{given}) - whole)
        total += weight * ({scalar_source(slope.within, "double", f="f", x="x")})"""
        case Pieces():
            sums = _sum_over_pieces(unit, slope, given)
        case _:
            whole = plus(plus(slope.log_partition, times(slope.own_field, unit.mean)), slope.constant)
            return f"    return {scalar_source(whole, 'double', f='f')}"
    terms = ["total"]
    if slope.own_field != Number("0"):
        terms.append(f"({scalar_source(slope.own_field, 'double')}) * {unit.name}_mean(f{given})")
    if slope.constant != Number("0"):
        terms.append(f"({scalar_source(slope.constant, 'double')})")
    return f"{sums}\n    return {' + '.join(terms)}"


def _sum_over_pieces(unit: UnitPlan, slope: Slope, given: str) -> str:
    """Minus the mean of the base's derivative, by the moments of each piece on which it is not 0."""
    lines = [f"    whole, total = {unit.name}_log_partition(f{given}), 0.0"]
    for k, piece in enumerate(slope.pieces):
        change = _derivative(piece)
        if change == Number("0"):
            continue
        lines += [
            f"    lower, upper, curvature, slope, constant = {unit.name}_piece({k}{given})",
            "    level, first, second = piece_moments(f, lower, upper, curvature, slope, constant)",
            f"    total -= exp64(level - whole) * ({scalar_source(change, 'double', s='first', m='second')})",
        ]
    return "\n".join(lines)


def _derivative(piece: Quadratic) -> Expression:
    """Of a piece's base, from the derivatives of its parts: s stands for the mean of s, m for that of s^2."""
    squared = times(piece.curvature, over(Name("m"), Number("2")))
    return plus(plus(squared, times(piece.slope, Name("s"))), piece.constant)
