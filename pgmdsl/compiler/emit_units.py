"""The kernels of one unit type: scalar formulas, then loops over the units of a layer.

A loop's function is named after the unit type and what it does. All take fields of shape (cases, size), own fields of
shape (1 or cases, size), and arrays with one number per unit for names in their formulas (`own_arguments`):

    U_draw(field, own, scale, [states,] <arrays>, key, [trials, held,] out)
    U_means(field, own, scale, [states,] <arrays>, [trials, held,] out)
    U_add_log_partitions(field, own, scale, [states,] <arrays>, [trials,] out)
    U_add_changes(field, own0, scale0, own1, scale1, [states,] <arrays>, [trials,] out)
    U_add_energies(s, <arrays>, out)
    U_fields_of_means(mean, <arrays>), all (size,), where the field of a mean has no formula
    U_slopes_T(s, field, <arrays>, out), U_expected_slopes_T(field, own, scale, <arrays>, out) for each parameter T

`states` is there for one-hot and count layers; `trials`, (1 or cases,) float64, and `held`, (cases, size) or (0, 0)
bools, for count layers only. A binomial unit's `trials` is one of its arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from pgmdsl.compiler.emit_choices import emit_countable, emit_pieces, emit_table
from pgmdsl.compiler.emit_formula import Style, needs_double, number, print_formula
from pgmdsl.compiler.emit_sites import emit_categorical, emit_multinomial
from pgmdsl.compiler.emit_slopes import emit_slopes
from pgmdsl.compiler.emit_source import (
    entries,
    field_of,
    has_energy,
    log_partition_arguments,
    log_partition_style,
    loop_source,
    mean_arguments,
    mean_style,
    own_arguments,
    parameters,
    scalar_source,
    state_source,
)
from pgmdsl.compiler.plan_units import (
    Categorical,
    Countable,
    Lookup,
    Multinomial,
    Normal,
    Pieces,
    Table,
    TwoPoint,
    UnitPlan,
    log_odds,
    per_unit,
)
from pgmdsl.compiler.typeset import unicode_text
from pgmdsl.grammar.syntax import Expression


def emit_unit(unit: UnitPlan) -> str:
    """The source of a unit type's kernels."""
    match unit.sampler:
        case Categorical():
            return emit_categorical(unit.name)
        case Multinomial():
            return emit_multinomial(unit.name)
        case Table():
            scalars = emit_table(unit, unit.sampler)
        case Pieces():
            scalars = emit_pieces(unit, unit.sampler)
        case Countable():
            scalars = _mean(unit) + "\n" + _log_partition(unit) + "\n" + emit_countable(unit, unit.sampler)
        case TwoPoint() | Normal():
            scalars = _mean(unit) + "\n" + _log_partition(unit)
        case _:
            assert_never(unit.sampler)
    loops = (_lookup, _draw, _means, _log_partitions, _changes, _energies, _fields_of_means, emit_slopes)
    return "\n".join(text for text in (scalars, *(loop(unit) for loop in loops)) if text)


def statistic_array(unit: UnitPlan, names: Mapping[str, str], states: str) -> str:
    """Source of the statistics of an array of states; `names` gives that of the arrays with one number per unit."""
    return print_formula(unit.statistic, {**names, "x": states}, "array")


def state_array(unit: UnitPlan, names: Mapping[str, str], statistics: str) -> str:
    """Source of the states of an array of statistics; between two statistics of a table on the line that joins them."""
    match unit.state:
        case Lookup():
            return f"np.interp({statistics}, {unit.name}_statistics, {unit.name}_states).astype(Real)"
        case formula:
            return print_formula(formula, {**names, "s": statistics}, "array")


def field_of_mean_array(unit: UnitPlan, names: Mapping[str, str], means: str) -> str:
    """Source of the fields at which units have these mean statistics."""
    if unit.field_of_mean is not None:
        return print_formula(unit.field_of_mean, {**names, "m": means}, "array")
    given = "".join(f", {names[name]}" for name in own_arguments(unit, "fields_of_means"))
    return f"{unit.name}_fields_of_means({means}{given})"


def _scalar(name: str, equation: str, formula: Expression, style: Style) -> str:
    return f'''
@njit(**SCALAR)
def {name}(f{parameters(per_unit(formula), after=",")}):
    """{equation} = {unicode_text(formula)}."""
    return {scalar_source(formula, style, f="f")}
'''


def _mean(unit: UnitPlan) -> str:
    return _scalar(f"{unit.name}_mean", "E[s]", unit.mean, mean_style(unit))


def _log_partition(unit: UnitPlan) -> str:
    return _scalar(f"{unit.name}_log_partition", "A(f)", unit.log_partition, log_partition_style(unit))


def _lookup(unit: UnitPlan) -> str:
    match unit.state:
        case Lookup(statistics, values):
            return f'''
{unit.name}_statistics = np.array({statistics!r})
{unit.name}_states = np.array({values!r})


@njit(**SCALAR)
def {unit.name}_state(s):
    """The state whose statistic is next to s."""
    nearest = 0
    for k in range(1, {len(values)}):
        if abs({unit.name}_statistics[k] - s) < abs({unit.name}_statistics[nearest] - s):
            nearest = k
    return {unit.name}_states[nearest]
'''
        case _:
            return ""


def _draw(unit: UnitPlan) -> str:
    names = own_arguments(unit, "draw")
    style: Style = "kernel"
    match unit.sampler:
        case TwoPoint(low, high, slope, offset):
            odds = "f" if slope == 1 else f"{number(slope, 'kernel')} * f"
            odds = odds if offset == 0 else f"({odds} - {number(offset, 'kernel')})"
            shown = log_odds(unit.sampler)
            what = f"s = {high:g} where u + u exp(-({shown})) < 1, else {low:g}; the log odds are {shown}."
            body = f"""u = uniform(np.uint64(counter + np.uint64(j)))
        drawn[j] = {number(high, "kernel")} if u + u * exp(-{odds}) < Real(1.0) else {number(low, "kernel")}"""
        case Normal():
            what = "s normal with mean E[s] = f and variance 1."
            body = f"drawn[j] = {unit.name}_mean(f) + normal(np.uint64(counter + np.uint64(j)))"
        case _:
            what, style = f"s with density exp(f s - base - A(f)), by {unit.name}_choice.", "double"
            body = f"drawn[j] = {unit.name}_choice(f{entries(names, style)}, np.uint64(counter + np.uint64(j)))"
    numbers = "" if style == "kernel" else " + t STRIDE"
    return f'''
@njit(**KERNEL)
def {unit.name}_draw_row(fields, levels, scale, {parameters(names)}counter, drawn):
    """{what}"""
    for j in range(drawn.size):
        f = {field_of(style)}
        {body}


@njit(**KERNEL)
def {unit.name}_draw(field, own, scale, {parameters(names)}key, out):
    """out = s drawn at f = own + scale * field; unit j of case i uses counter key + i * size + j{numbers}."""
    for i in range(out.shape[0]):
        counter, levels = np.uint64(key + np.uint64(i) * np.uint64(out.shape[1])), own[min(i, own.shape[0] - 1)]
        {unit.name}_draw_row(field[i], levels, {_scale(style)}, {parameters(names)}counter, out[i])
'''


def _means(unit: UnitPlan) -> str:
    names, style = own_arguments(unit, "means"), mean_style(unit)
    return f'''
@njit(**KERNEL)
def {unit.name}_mean_row(fields, levels, scale, {parameters(names)}means):
    """means = E[s] at f = levels + scale * fields."""
    for j in range(means.size):
        f = {field_of(style)}
        means[j] = {unit.name}_mean(f{entries(names, style)})


@njit(**KERNEL)
def {unit.name}_means(field, own, scale, {parameters(names)}out):
    """out = E[s] at f = own + scale * field."""
    for i in range(out.shape[0]):
        {unit.name}_mean_row(field[i], own[min(i, own.shape[0] - 1)], {_scale(style)}, {parameters(names)}out[i])
'''


def _log_partitions(unit: UnitPlan) -> str:
    names, style = own_arguments(unit, "add_log_partitions"), log_partition_style(unit)
    return f'''
@njit(**KERNEL)
def {unit.name}_add_log_partitions(field, own, scale, {parameters(names)}out):
    """out += sum over units of A(f), f = own + scale * field."""
    for i in range(field.shape[0]):
        fields, levels, total = field[i], own[min(i, own.shape[0] - 1)], 0.0
        for j in range(field.shape[1]):
            f = {field_of(style, scale=_scale(style))}
            total += {unit.name}_log_partition(f{entries(names, style)})
        out[i] += total
'''


def _changes(unit: UnitPlan) -> str:
    """By Gauss's rule where a mean costs less than a log-partition function and is smooth on the scale of STEP."""
    match unit.sampler:
        case TwoPoint() | Normal() | Countable(True) if mean_style(unit) == "kernel":
            return _changes_by_means(unit)
        case _:
            return _changes_by_difference(unit)


def _changes_by_means(unit: UnitPlan) -> str:
    names, style = own_arguments(unit, "add_changes"), log_partition_style(unit)
    mean_entries = entries(mean_arguments(unit), "kernel")
    last = f"{entries(log_partition_arguments(unit), style)})"
    end, begin = ("end", "start") if style == "kernel" else ("scale1", "scale0")
    scales = ["Real(scale0)", *(["Real(scale1)"] if style == "kernel" else []), "Real(scale1 - scale0)"]
    return f'''
@njit(**KERNEL)
def {unit.name}_add_changes(field, own0, scale0, own1, scale1, {parameters(names)}out):
    """out += sum over units of A(f1) - A(f0), f = own + scale * field.

    A' is the mean, so the change is the integral of the mean from f0 to f1, by Gauss's rule with two points (error
    of fifth order in f1 - f0). Where f moves by more than STEP the two values are subtracted instead.
    """
    {"start, end, slope" if style == "kernel" else "start, slope"} = {", ".join(scales)}
    for i in range(field.shape[0]):
        fields, total, far = field[i], 0.0, 0
        levels0, levels1 = own0[min(i, own0.shape[0] - 1)], own1[min(i, own1.shape[0] - 1)]
        for j in range(field.shape[1]):
            change = (levels1[j] - levels0[j]) + slope * fields[j]
            middle = levels0[j] + start * fields[j] + Real(0.5) * change
            aside = Real(GAUSS) * change
            below = {unit.name}_mean(middle - aside{mean_entries})
            total += Real(0.5) * change * (below + {unit.name}_mean(middle + aside{mean_entries}))
            far += 1 if abs(change) > Real(STEP) else 0
        if far > 0:
            total = 0.0
            for j in range(field.shape[1]):
                f0, f1 = {field_of(style, "levels0", begin)}, {field_of(style, "levels1", end)}
                total += {unit.name}_log_partition(f1{last} - {unit.name}_log_partition(f0{last}
        out[i] += total
'''


def _changes_by_difference(unit: UnitPlan) -> str:
    names = own_arguments(unit, "add_changes")
    last = f"{entries(log_partition_arguments(unit), 'double')})"
    return f'''
@njit(**KERNEL)
def {unit.name}_add_changes(field, own0, scale0, own1, scale1, {parameters(names)}out):
    """out += sum over units of A(f1) - A(f0), f = own + scale * field, in double precision."""
    for i in range(field.shape[0]):
        fields, total = field[i], 0.0
        levels0, levels1 = own0[min(i, own0.shape[0] - 1)], own1[min(i, own1.shape[0] - 1)]
        for j in range(field.shape[1]):
            f0, f1 = {field_of("double", "levels0", "scale0")}, {field_of("double", "levels1", "scale1")}
            total += {unit.name}_log_partition(f1{last} - {unit.name}_log_partition(f0{last}
        out[i] += total
'''


def _energies(unit: UnitPlan) -> str:
    if not has_energy(unit):
        return ""
    names = own_arguments(unit, "add_energies")
    style: Style = "double" if needs_double(unit.energy) else "kernel"
    statistic = "states[j]" if style == "kernel" else "np.float64(states[j])"
    shown = f", x = {unicode_text(unit.state)}" if not isinstance(unit.state, Lookup) else ""
    return f'''
@njit(**KERNEL)
def {unit.name}_add_energies(s, {parameters(names)}out):
    """out += sum over units of base(x) + constant = {unicode_text(unit.energy)}{shown}."""
    for i in range(s.shape[0]):
        states, total = s[i], 0.0
        for j in range(s.shape[1]):
            x = {state_source(unit, style, statistic)}
            total += {loop_source(unit.energy, style, x="x")}
        out[i] += total
'''


def _fields_of_means(unit: UnitPlan) -> str:
    """A mean is solved for in double precision, whatever the type of its formula elsewhere."""
    if unit.field_of_mean is not None:
        return ""
    names = own_arguments(unit, "fields_of_means")
    in_place = mean_style(unit) == "kernel"
    mean = loop_source(unit.mean, "double", f="f") if in_place else f"{unit.name}_mean(f{entries(names, 'double')})"
    return f'''
@njit(**SCALAR)
def {unit.name}_fields_of_means(mean{parameters(names, after=",")}):
    """The field at which E[s] is `mean`, by doubling it till it is passed, then halving; infinite if it never is."""
    out = np.empty_like(mean)
    for j in range(mean.size):
        wanted, low, high, f = np.float64(mean[j]), -np.inf, np.inf, 0.0
        for _ in range(SEARCH):
            if {mean} < wanted:
                low, f = f, 0.5 * (f + high) if high < np.inf else max(1.0, 2.0 * f)
            else:
                high, f = f, 0.5 * (low + f) if low > -np.inf else min(-1.0, 2.0 * f)
        out[j] = 0.5 * (low + high) + 0.0 * wanted
    return out
'''


def _scale(style: Style) -> str:
    return "Real(scale)" if style == "kernel" else "scale"
