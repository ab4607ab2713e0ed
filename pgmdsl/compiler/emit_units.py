"""The kernels of one unit type: scalar formulas, then loops over the units of a layer.

A loop's function is named after the unit type and what it does: `binary_draw`, `binary_means`,
`binary_add_log_partitions`, `binary_add_changes`, `binary_add_energies`. All take fields of shape (cases, size).
"""

from __future__ import annotations

from typing import assert_never

from pgmdsl.compiler.emit_formula import number, print_formula
from pgmdsl.compiler.emit_sites import emit_categorical
from pgmdsl.compiler.plan_units import Categorical, Normal, TwoPoint, UnitPlan, log_odds, names_in
from pgmdsl.compiler.typeset import unicode_text
from pgmdsl.grammar.syntax import Expression, Number

# The arguments of a formula besides the field and the state, each an array with one number per unit.
_PER_UNIT = ("b", "sigma")


def emit_unit(unit: UnitPlan) -> str:
    """The source of a unit type's kernels."""
    match unit.sampler:
        case Categorical():
            return emit_categorical(unit.name)
        case TwoPoint() | Normal():
            pieces = (_mean, _log_partition, _draw, _means, _log_partitions, _changes, _energies)
        case _:
            assert_never(unit.sampler)
    return "\n".join(text for piece in pieces if (text := piece(unit)))


def per_unit(formula: Expression) -> tuple[str, ...]:
    """Which of the per-unit arguments a formula uses, in order."""
    return tuple(name for name in _PER_UNIT if name in names_in(formula))


def state_parameters(unit: UnitPlan) -> tuple[str, ...]:
    """Which of the per-unit arguments the energy as a function of the statistic needs, in order."""
    both = {*per_unit(unit.energy), *per_unit(unit.state)}
    return tuple(name for name in _PER_UNIT if name in both)


def has_energy(unit: UnitPlan) -> bool:
    """Whether a unit has energy besides its field's."""
    return unit.energy != Number("0")


def _scalar(name: str, equation: str, formula: Expression) -> str:
    arguments = ("f", *per_unit(formula))
    body = print_formula(formula, {a: a for a in arguments}, "kernel")
    return f'''
@njit(**SCALAR)
def {name}({", ".join(arguments)}):
    """{equation} = {unicode_text(formula)}."""
    return {body}
'''


def _mean(unit: UnitPlan) -> str:
    return _scalar(f"{unit.name}_mean", "E[s]", unit.mean)


def _log_partition(unit: UnitPlan) -> str:
    return _scalar(f"{unit.name}_log_partition", "A(f)", unit.log_partition)


def _draw(unit: UnitPlan) -> str:
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
        case Categorical():
            raise AssertionError("one-hot units are drawn by site")
        case _:
            assert_never(unit.sampler)
    return f'''
@njit(**KERNEL)
def {unit.name}_draw(field, own, scale, key, out):
    """{what}

    f = own + scale * field; unit j of case i uses counter key + i * size + j.
    """
    scale = Real(scale)
    for i in range(out.shape[0]):
        fields, drawn = field[i], out[i]
        counter = np.uint64(key + np.uint64(i) * np.uint64(out.shape[1]))
        for j in range(out.shape[1]):
            f = own[j] + scale * fields[j]
            {body}
'''


def _means(unit: UnitPlan) -> str:
    return f'''
@njit(**KERNEL)
def {unit.name}_means(field, own, scale, out):
    """out = E[s] at f = own + scale * field."""
    scale = Real(scale)
    for i in range(out.shape[0]):
        fields, means = field[i], out[i]
        for j in range(out.shape[1]):
            means[j] = {unit.name}_mean(own[j] + scale * fields[j])
'''


def _log_partitions(unit: UnitPlan) -> str:
    extra = per_unit(unit.log_partition)
    return f'''
@njit(**KERNEL)
def {unit.name}_add_log_partitions(field, own, scale, {_arguments(extra)}out):
    """out += sum over units of A(f), f = own + scale * field."""
    scale = Real(scale)
    for i in range(field.shape[0]):
        fields, total = field[i], 0.0
        for j in range(field.shape[1]):
            total += {unit.name}_log_partition(own[j] + scale * fields[j]{_entries(extra)})
        out[i] += total
'''


def _changes(unit: UnitPlan) -> str:
    extra = per_unit(unit.log_partition)
    last = f"{_entries(extra)})"
    return f'''
@njit(**KERNEL)
def {unit.name}_add_changes(field, own0, scale0, own1, scale1, {_arguments(extra)}out):
    """out += sum over units of A(f1) - A(f0), f = own + scale * field.

    A' is the mean, so the change is the integral of the mean from f0 to f1, by Gauss's rule with two points (error
    of fifth order in f1 - f0). Where f moves by more than STEP the two values are subtracted instead.
    """
    start, end, slope = Real(scale0), Real(scale1), Real(scale1 - scale0)
    for i in range(field.shape[0]):
        fields, total, far = field[i], 0.0, 0
        for j in range(field.shape[1]):
            change = (own1[j] - own0[j]) + slope * fields[j]
            middle = own0[j] + start * fields[j] + Real(0.5) * change
            aside = Real(GAUSS) * change
            total += Real(0.5) * change * ({unit.name}_mean(middle - aside) + {unit.name}_mean(middle + aside))
            far += 1 if abs(change) > Real(STEP) else 0
        if far > 0:
            total = 0.0
            for j in range(field.shape[1]):
                total += {unit.name}_log_partition(own1[j] + end * fields[j]{last}
                total -= {unit.name}_log_partition(own0[j] + start * fields[j]{last}
        out[i] += total
'''


def _energies(unit: UnitPlan) -> str:
    if not has_energy(unit):
        return ""
    extra = state_parameters(unit)
    entries = {name: f"{name}[j]" for name in extra}
    return f'''
@njit(**KERNEL)
def {unit.name}_add_energies(s, {_arguments(extra)}out):
    """out += sum over units of base(x) + constant = {unicode_text(unit.energy)}, x = {unicode_text(unit.state)}."""
    for i in range(s.shape[0]):
        states, total = s[i], 0.0
        for j in range(s.shape[1]):
            x = {print_formula(unit.state, {"s": "states[j]"} | entries, "kernel")}
            total += {print_formula(unit.energy, {"x": "x"} | entries, "kernel")}
        out[i] += total
'''


def _arguments(names: tuple[str, ...]) -> str:
    return "".join(f"{name}, " for name in names)


def _entries(names: tuple[str, ...]) -> str:
    return "".join(f", {name}[j]" for name in names)
