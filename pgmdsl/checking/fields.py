"""Comparisons of fields, energies and weights' statistics with the declared energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from pgmdsl.checking.comparison import Answer, Comparison, exact
from pgmdsl.checking.declared import Array
from pgmdsl.checking.setting import ADDED, CASES, FILLED, Setting, own_factor
from pgmdsl.runtime.kernels import Kernels

Settings = Sequence[Setting]


def weight_comparison(settings: Settings, weight: str) -> Comparison:
    """The statistics of a weight against -dE/dW, which is exact as the energy is linear in it."""
    uses = [names for names, used in settings[0].declared.edges if used == weight]
    lateral = any(len(set(names)) < len(names) for names in uses)
    every = frozenset(name for names in uses for name in names)
    presents = [every, *(every - {name} for name in sorted(every))]

    def states() -> list[tuple[Setting, dict[str, Array]]]:
        every = [(t, {n: t.s[n] for n in t.s if n in present}) for t in settings for present in presents]
        return [*every, *((t, _thinned(s)) for t, s in every)]

    def call(k: Kernels) -> Answer:
        out = []
        for t, s in states():
            for add in (False, True):
                filled = np.full(t.declared.parameters[weight].shape, FILLED)
                k.weight_statistics[weight](s, 0.5, add, filled)
                out.append(filled)
        return out

    def wanted() -> list[Array]:
        return [FILLED * add - 0.5 * _weight_slope(t, s, weight, lateral) for t, s in states() for add in (False, True)]

    return exact((f"weight_statistics_{weight}",), f"the gradient -dE/d{weight}, summed over cases", call, wanted)


def _weight_slope(t: Setting, s: Mapping[str, Array], weight: str, lateral: bool) -> Array:
    """dE/dW summed over cases; mirrored entries of a lateral weight move together, those within a site not at all."""
    value = t.declared.parameters[weight]
    out = np.zeros(value.shape)
    edges = [names for names, used in t.declared.edges if used == weight and set(names) <= s.keys()]
    if not edges:
        return out
    states = t.layer(edges[0][0]).states
    for at in np.ndindex(*value.shape):
        step = np.zeros(value.shape)
        step[at] = 1.0
        if lateral:
            if at[0] // states == at[1] // states:
                continue
            step[at[::-1]] = 1.0
        up, down = (
            t.declared.edge_energy(s, {**t.declared.parameters, weight: value + sign * step}) for sign in (0.5, -0.5)
        )
        out[at] = (up - down).sum()
    return out


def conversions_comparison(settings: Settings, name: str) -> Comparison:
    """`statistic_L` and `state_L` of complete states."""

    def call(k: Kernels) -> Answer:
        return [f for t in settings for f in (k.statistic[name](t.p, t.x[name]), k.state[name](t.p, t.s[name].copy()))]

    def wanted() -> list[Array]:
        return [f for t in settings for f in (t.s[name], t.x[name])]

    return exact((f"statistic_{name}", f"state_{name}"), "the declared statistic of states, and back", call, wanted)


def _thinned(s: Mapping[str, Array]) -> dict[str, Array]:
    """Statistics of which few are not 0, as products with such matrices are taken entry by entry."""
    return {n: np.where(np.arange(x.size).reshape(x.shape) % 11 == 3, x, 0.0) for n, x in s.items()}


def field_comparison(settings: Settings, name: str) -> Comparison:
    """With every choice of neighbours present, or several, and with statistics that are mostly 0."""
    near = [*settings[0].declared.neighbours(name), *([name] if settings[0].declared.lateral(name) else [])]
    presents = [c for n in range(len(near) + 1) for c in combinations(near, n)]
    if len(presents) > 16:
        presents = [(), tuple(near), *((n,) for n in near), *(tuple(o for o in near if o != n) for n in near)]

    def call(k: Kernels) -> Answer:
        out = []
        for t in settings:
            for present in presents:
                filled = np.full((CASES, t.layer(name).size), FILLED)
                k.field[name](t.p, {n: t.s[n] for n in present}, filled)
                out.append(filled)
            filled = np.full((CASES, t.layer(name).size), FILLED)
            k.field[name](t.p, _thinned({n: t.s[n] for n in near}), filled)
            out.append(filled)
        return out

    def wanted() -> list[Array]:
        out = []
        for t in settings:
            every = [{n: t.s[n] for n in present} for present in presents]
            every.append(_thinned({n: t.s[n] for n in near}))
            out += [t.declared.coupling(name, s) for s in every]
        return out

    against = f"what the energy of the edges falls by with each statistic of {name}"
    return exact((f"field_{name}",), against, call, wanted)


def factor_comparison(settings: Settings, name: str) -> Comparison:
    """`own_factor_L`, by what the declared energy of a unit falls by."""
    return exact(
        (f"own_factor_{name}",),
        "what a unit's energy falls by with its bias and statistic",
        lambda k: [k.own_factor[name](t.p) for t in settings],
        lambda: [own_factor(t.layer(name)) for t in settings],
    )


def base_energy_comparison(settings: Settings, name: str) -> Comparison:
    """`base_energy_L`, which adds what is left of the units' energies without their own fields."""

    def call(k: Kernels) -> Answer:
        out = []
        for t in settings:
            added = np.full(CASES, ADDED)
            k.base_energy[name](t.p, t.s[name], added)
            out.append(added)
        return out

    def wanted() -> list[Array]:
        out = []
        for t in settings:
            layer = t.layer(name)
            own = layer.bias * own_factor(layer) * t.s[name]
            out.append(ADDED + (layer.energy(t.x[name], layer.bias[None]) + own).sum(1))
        return out

    return exact(
        (f"base_energy_{name}",), "the units' energies, less what bias and statistic account for", call, wanted
    )
