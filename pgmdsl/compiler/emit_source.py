"""What the emitted functions of a unit type share: which arrays they take, and how fields and entries are written.

Scalar functions take the field `f` and, for each name of their formulas that has one number per unit, an argument with
`p_` before it: no name of a model file can then be one of the source's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pgmdsl.compiler.emit_formula import Style, needs_double, print_formula
from pgmdsl.compiler.plan_units import (
    Categorical,
    Countable,
    Lookup,
    Multinomial,
    Pieces,
    Quadratic,
    Slope,
    Table,
    UnitPlan,
    per_unit,
)
from pgmdsl.grammar.syntax import Expression, Number

Loop = Literal["draw", "means", "add_log_partitions", "add_changes", "add_energies", "fields_of_means"]


def own_arguments(unit: UnitPlan, loop: Loop) -> tuple[str, ...]:
    """The names whose arrays, with one number per unit, a loop of the unit type takes, in order."""
    if isinstance(unit.sampler, Categorical | Multinomial):
        return ()
    match loop:
        case "draw":
            return choice_arguments(unit)
        case "means" | "fields_of_means":
            return mean_arguments(unit)
        case "add_log_partitions":
            return log_partition_arguments(unit)
        case "add_changes":
            return union(mean_arguments(unit), log_partition_arguments(unit))
        case "add_energies":
            return per_unit(*_state_formulas(unit), unit.energy) if has_energy(unit) else ()


def slope_arguments(unit: UnitPlan, slope: Slope) -> tuple[str, ...]:
    """The names whose arrays `U_slopes_T` takes, in order."""
    return per_unit(*_state_formulas(unit), slope.at_state)


def expected_slope_arguments(unit: UnitPlan, slope: Slope) -> tuple[str, ...]:
    """The names whose arrays `U_expected_slopes_T` takes, in order."""
    alone = per_unit(slope.own_field, slope.constant, slope.log_partition, slope.within, *_parts(slope.pieces))
    return union(mean_arguments(unit), alone)


def has_energy(unit: UnitPlan) -> bool:
    """Whether a unit has energy besides its field's."""
    return unit.energy != Number("0")


def mean_arguments(unit: UnitPlan) -> tuple[str, ...]:
    """The names that the mean of a unit depends on."""
    sums = sum_arguments(unit)
    return per_unit(unit.mean) if sums is None else sums


def log_partition_arguments(unit: UnitPlan) -> tuple[str, ...]:
    """The names that the log-partition function of a unit depends on."""
    sums = sum_arguments(unit)
    return per_unit(unit.log_partition) if sums is None else sums


def choice_arguments(unit: UnitPlan) -> tuple[str, ...]:
    """The names that the probabilities of a unit's states depend on, apart from the field."""
    match unit.sampler:
        case Countable(bounded, _, spread, step):
            formulas = (unit.log_partition, unit.mean, unit.base, unit.statistic, *_state_formulas(unit), spread, step)
            return union(("trials",) if bounded else (), per_unit(*formulas))
        case _:
            return sum_arguments(unit) or ()


def sum_arguments(unit: UnitPlan) -> tuple[str, ...] | None:
    """The names of what is summed or integrated, where mean and log-partition function are not formulas; else None."""
    match unit.sampler:
        case Table():
            return per_unit(unit.statistic, unit.base)
        case Pieces(pieces):
            return per_unit(*_parts(pieces))
        case _:
            return None


def union(*names: Iterable[str]) -> tuple[str, ...]:
    """All names, each once, in order."""
    return tuple(dict.fromkeys(name for some in names for name in some))


def mean_style(unit: UnitPlan) -> Style:
    """In which numbers means are computed: the model's type where a formula allows it."""
    plain = unit.sampler.plain if isinstance(unit.sampler, Countable) else sum_arguments(unit) is None
    return "kernel" if plain and not needs_double(unit.mean) else "double"


def log_partition_style(unit: UnitPlan) -> Style:
    """In which numbers log-partition functions are; counts need all digits, for their probabilities."""
    by_formula = sum_arguments(unit) is None and not isinstance(unit.sampler, Countable)
    return "kernel" if by_formula and not needs_double(unit.log_partition) else "double"


def parameters(names: Iterable[str], after: str = "") -> str:
    """Parameters of a function, each followed by a comma: `p_b, p_sigma, `; or each after one."""
    return "".join(f", p_{name}" if after == "," else f"p_{name}, " for name in names)


def entries(names: Iterable[str], style: Style) -> str:
    """The arguments of a scalar function in a loop over units, each after a comma."""
    return "".join(f", {entry(name, style)}" for name in names)


def entry(name: str, style: Style) -> str:
    """Unit j's number."""
    return f"p_{name}[j]" if style == "kernel" else f"np.float64(p_{name}[j])"


def field_of(style: Style, levels: str = "levels", scale: str = "scale") -> str:
    """Unit j's field."""
    if style == "kernel":
        return f"{levels}[j] + {scale} * fields[j]"
    return f"np.float64({levels}[j]) + {scale} * np.float64(fields[j])"


def scalar_source(formula: Expression, style: Style, **given: str) -> str:
    """A formula inside a scalar function, whose arguments are named as `parameters` does."""
    return print_formula(formula, {name: f"p_{name}" for name in per_unit(formula)} | given, style)


def loop_source(formula: Expression, style: Style, **given: str) -> str:
    """A formula inside a loop over units."""
    return print_formula(formula, {name: entry(name, style) for name in per_unit(formula)} | given, style)


def state_source(unit: UnitPlan, style: Style, statistic: str) -> str:
    """The state of a unit in a loop over units."""
    match unit.state:
        case Lookup():
            return f"{unit.name}_state({statistic})"
        case formula:
            return loop_source(formula, style, s=statistic)


def _state_formulas(unit: UnitPlan) -> tuple[Expression, ...]:
    return () if isinstance(unit.state, Lookup) else (unit.state,)


def _parts(pieces: tuple[Quadratic, ...]) -> list[Expression]:
    return [part for piece in pieces for part in (piece.curvature, piece.slope, piece.constant)]
