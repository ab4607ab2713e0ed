"""The kernels of unit types whose units are set in turn, since a lateral edge joins them.

Two loops for drawing and two for setting to means, over sites (a unit, or the entries of a one-hot one): `U_draw_sites`
calls the unit type's own loop for some sites of every case, `U_draw_in_turn` calls that for one site after another.
"""

from __future__ import annotations

from string import Template
from typing import Literal

from pgmdsl.compiler.emit_source import own_arguments, parameters
from pgmdsl.compiler.plan_units import Categorical, UnitPlan

_SOURCE = Template('''
@njit(**KERNEL)
def ${unit}_${verb}_sites(field, own, scale, ${states}${arrays}${key}order, start, held, work, out, change):
    """${what} of the sites with the entries order[start], order[start + 1], ..., as many as `work` has columns.

    Arrays with a number per unit are in that order. `change` is what is added to `out`; held entries stay.${counters}
    """
    entries, fields, owns, found = order[start : start + work.shape[1]], work[0:1], work[1:2], work[2:3]
    for i in range(out.shape[0]):
        levels = own[min(i, own.shape[0] - 1)]
        for e in range(entries.size):
            fields[0, e] = field[i, entries[e]]
            owns[0, e] = levels[entries[e]]
        ${unit}_${verb}(fields, owns, scale, ${states}${slices}${counter}found)
        for e in range(entries.size):
            j = entries[e]
            change[i, e] = Real(0.0)
            if held.size == 0 or not held[i, j]:
                change[i, e] = found[0, e] - out[i, j]
                out[i, j] = found[0, e]


@njit(**KERNEL)
def ${unit}_${verb}_in_turn(field, own, scale, ${states}${arrays}${key}couplings, held, out):
    """${what} of one site after another, each given the newest states of all others.

    `field` follows: a row of the couplings (size, size) is added for every entry that changes.
    """
    order, work = np.arange(out.shape[1]), np.empty((3, ${width}), out.dtype)
    change = np.empty((1, ${width}), out.dtype)
    for i in range(out.shape[0]):
        one = min(i, own.shape[0] - 1)
        fields, levels, mine = field[i : i + 1], own[one : one + 1], out[i : i + 1]
        known = held[i : i + 1] if held.size > 0 else held${case_key}
        for start in range(0, order.size, ${width}):
            ${unit}_${verb}_sites(
                fields, levels, scale, ${states}${arrays}${first}order, start, known, work, mine, change
            )
            for e in range(${width}):
                step, row = change[0, e], couplings[start + e]
                if step != Real(0.0):
                    for j in range(row.size):
                        fields[0, j] += step * row[j]
''')

_COUNTERS = "\n\n    Site n of case i uses the counter key + i * sites + n, n being its place in that order."


def emit_lateral(unit: UnitPlan) -> str:
    """The source of the loops that draw units in turn, and that set them to their means in turn."""
    return _loops(unit, "draw") + "\n" + _loops(unit, "means")


def _loops(unit: UnitPlan, verb: Literal["draw", "means"]) -> str:
    one_hot, draws = isinstance(unit.sampler, Categorical), verb == "draw"
    names = () if one_hot else own_arguments(unit, verb)
    sites, site = ("out.shape[1] // states", "start // states") if one_hot else ("out.shape[1]", "start")
    before = f"np.uint64(i) * np.uint64({sites})"
    return _SOURCE.substitute(
        unit=unit.name,
        verb=verb,
        what="Draws" if draws else "Means",
        states="states, " if one_hot else "",
        width="states" if one_hot else "1",
        arrays=parameters(names),
        slices="".join(f"p_{name}[start : start + entries.size], " for name in names),
        key="key, " if draws else "",
        counter=f"np.uint64(key + {before} + np.uint64({site})), " if draws else "",
        counters=_COUNTERS if draws else "",
        case_key=f"\n        first = np.uint64(key + {before})" if draws else "",
        first="first, " if draws else "",
    )
