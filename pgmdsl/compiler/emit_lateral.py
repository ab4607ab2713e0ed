"""The loops of unit types whose units are set in turn, since a lateral edge joins them.

`U_draw_in_turn` and `U_means_in_turn` visit the sites of one group (a site is a unit, or the entries of a one-hot one)
and call the unit type's own loop for one site of all cases at a time, as if the cases were the units of one layer.
"""

from __future__ import annotations

from string import Template
from typing import Literal

from pgmdsl.compiler.emit_source import own_arguments, parameters
from pgmdsl.compiler.plan_units import Categorical, UnitPlan

_SOURCE = Template('''
@njit(**KERNEL)
def ${unit}_${verb}_in_turn(field, own, scale, ${states}${arrays}${key}entries, rows, held, out, change):
    """${what} of the sites with these entries of `out`, one after another, each given the newest of all others.

    `field` is the coupling field of `out` as it comes, `rows` the entries' rows of the couplings, (entries, size). What
    is added to `out` goes to `change` (cases, entries): the field is then field + change @ rows.${counters}
    """
    cases${states_name} = out.shape[0]${states_value}
    waiting = np.empty((entries.size, cases), out.dtype)
    for i in range(cases):
        for e in range(entries.size):
            waiting[e, i] = field[i, entries[e]]
    fields, step = np.empty((1, cases * states), out.dtype), np.empty((states, cases), out.dtype)
    owns, found = np.empty_like(fields), np.empty_like(fields)${empty}
    for first in range(0, entries.size, states):
        for k in range(states):
            j = entries[first + k]
            for i in range(cases):
                fields[0, i * states + k] = waiting[first + k, i]
                owns[0, i * states + k] = own[min(i, own.shape[0] - 1), j]${fill}${counter}
        ${unit}_${verb}(fields, owns, scale, ${states}${here}${counter_argument}found)
        for k in range(states):
            j = entries[first + k]
            for i in range(cases):
                new = out[i, j] if held.size > 0 and held[i, j] else found[0, i * states + k]
                step[k, i] = new - out[i, j]
                change[i, first + k] = step[k, i]
                out[i, j] = new
        for e in range(first + states, entries.size):
            for k in range(states):
                coupling = rows[first + k, entries[e]]
                if coupling != Real(0.0):
                    for i in range(cases):
                        waiting[e, i] += coupling * step[k, i]
''')

_COUNTERS = "\n\n    Site n of case i uses the counter key + n 2^32 + i."
_COUNTER = "\n        counter = np.uint64(key + (np.uint64(entries[first] // states) << np.uint64(32)))"


def emit_lateral(unit: UnitPlan) -> str:
    """The source of the loops that draw units in turn, and that set them to their means in turn."""
    return _loop(unit, "draw") + "\n" + _loop(unit, "means")


def _loop(unit: UnitPlan, verb: Literal["draw", "means"]) -> str:
    one_hot, draws = isinstance(unit.sampler, Categorical), verb == "draw"
    names = () if one_hot else own_arguments(unit, verb)
    return _SOURCE.substitute(
        unit=unit.name,
        verb=verb,
        what="Draws" if draws else "Means",
        states="states, " if one_hot else "",
        states_name="" if one_hot else ", states",
        states_value="" if one_hot else ", 1",
        arrays=parameters(names),
        empty="".join(f"\n    here_{name} = np.empty(cases, p_{name}.dtype)" for name in names),
        fill="".join(f"\n                here_{name}[i] = p_{name}[j]" for name in names),
        here="".join(f"here_{name}, " for name in names),
        key="key, " if draws else "",
        counter=_COUNTER if draws else "",
        counter_argument="counter, " if draws else "",
        counters=_COUNTERS if draws else "",
    )
