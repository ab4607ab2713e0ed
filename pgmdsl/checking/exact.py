"""Comparisons of the functions of layers and weights with sums over states of the declared energy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.checking.comparison import Answer, Comparison, exact
from pgmdsl.checking.declared import Array
from pgmdsl.checking.setting import CASES, Setting, own_factor
from pgmdsl.checking.sites import site, sites
from pgmdsl.compiler.units import Counts, Real
from pgmdsl.runtime.kernels import Kernels

Settings = Sequence[Setting]
SCALES = (1.0, 0.7)
FILLED = 7.0  # what arrays hold that a function is to overwrite
ADDED = 2.0  # what arrays hold that a function is to add to
STEP = 1e-3  # of differences of fourth order in a unit type's own parameters
DIFFERENCE = ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12))


def layer_comparisons(settings: Settings, name: str) -> list[Comparison]:
    """All that the kernels of a layer compute without drawing."""
    layer = settings[0].layer(name)
    out = [_conversions(settings, name)]
    if layer.given:
        return out
    out += [_field(settings, name), _own_factor(settings, name), _base_energy(settings, name)]
    out += [_mean(settings, name), _log_partition(settings, name), _change(settings, name)]
    out.append(_field_of_mean(settings, name))
    if settings[0].declared.lateral(name):
        out.append(_relax(settings, name))
    for own in layer.own:
        out += [_slope(settings, name, own), _expected_slope(settings, name, own)]
    if isinstance(layer.unit.support, Real):
        out.append(_curvature(settings, name))
    return out


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
        return [
            FILLED * add - 0.5 * _weight_slope(t, s, weight, lateral) for t, s in states() for add in (False, True)
        ]

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


def _conversions(settings: Settings, name: str) -> Comparison:
    def call(k: Kernels) -> Answer:
        return [
            f for t in settings for f in (k.statistic[name](t.p, t.x[name]), k.state[name](t.p, t.s[name].copy()))
        ]

    def wanted() -> list[Array]:
        return [f for t in settings for f in (t.s[name], t.x[name])]

    return exact((f"statistic_{name}", f"state_{name}"), "the declared statistic of states, and back", call, wanted)


def _thinned(s: Mapping[str, Array]) -> dict[str, Array]:
    """Statistics of which few are not 0, as products with such matrices are taken entry by entry."""
    return {n: np.where(np.arange(x.size).reshape(x.shape) % 11 == 3, x, 0.0) for n, x in s.items()}


def _field(settings: Settings, name: str) -> Comparison:
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


def _own_factor(settings: Settings, name: str) -> Comparison:
    return exact(
        (f"own_factor_{name}",),
        "what a unit's energy falls by with its bias and statistic",
        lambda k: [k.own_factor[name](t.p) for t in settings],
        lambda: [own_factor(t.layer(name)) for t in settings],
    )


def _base_energy(settings: Settings, name: str) -> Comparison:
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

    return exact((f"base_energy_{name}",), "the units' energies, less what bias and statistic account for", call, wanted)


def _own_forms(t: Setting, name: str) -> list[Array]:
    """The own field as kernels take it: one for all cases, and one a case."""
    own = t.own(name)
    every = np.ascontiguousarray(np.broadcast_to(own, (CASES, own.shape[1])))
    return [own[0].copy(), every] if len(own) == 1 else [every]


def _held(t: Setting, name: str) -> NDArray[np.bool_]:
    """Some entries held: whole sites, or words of documents."""
    layer = t.layer(name)
    if isinstance(layer.unit.support, Counts):
        return np.broadcast_to(np.arange(layer.size) % 3 == 1, (CASES, layer.size)).copy()
    chosen = (np.arange(CASES)[:, None] + np.arange(layer.size // layer.states)) % 2 == 0
    return np.repeat(chosen, layer.states, 1)


def _mean(settings: Settings, name: str) -> Comparison:
    def call(k: Kernels) -> Answer:
        out = []
        for t in settings:
            field = t.declared.coupling(name, t.s)
            for scale in SCALES:
                for own in _own_forms(t, name):
                    for held in (None, _held(t, name)):
                        filled = np.full(field.shape, FILLED) if held is None else t.s[name].copy()
                        k.mean[name](t.p, field, own, scale, filled, t.lengths(name), held)
                        out.append(filled)
        return out

    def wanted() -> list[Array]:
        out = []
        for t in settings:
            field, bias = t.declared.coupling(name, t.s), t.declared.bias(name, t.x)
            for scale in SCALES:
                for _ in _own_forms(t, name):
                    for held in (None, _held(t, name)):
                        mean = t.means(name, scale * field, bias, held)
                        out.append(mean if held is None else np.where(held, t.s[name], mean))
        return out

    functions = (f"mean_{name}",) if settings[0].declared.lateral(name) else (f"mean_{name}", f"relax_{name}")
    return exact(functions, f"the mean of {name} given all others, by summing over each site's states", call, wanted)


def in_turn(
    t: Setting, name: str, s: Mapping[str, Array], scale: float, held: NDArray[np.bool_] | None, order: Sequence[int]
) -> Array:
    """One sequential mean-field pass over a layer's sites: its statistics afterwards."""
    now = s[name].copy()
    every = sites(t.layer(name))
    bias = t.declared.bias(name, s)
    for number in order:
        entries = every[number]
        field = scale * t.declared.coupling(name, {**s, name: now}, entries.tolist())
        mean = site(t.layer(name), entries, field[:, entries], bias[:, entries]).mean
        now[:, entries] = mean if held is None else np.where(held[:, entries], now[:, entries], mean)
    return now


def _relax(settings: Settings, name: str) -> Comparison:
    """With every site a class of its own, and with classes of sites that no weight joins, as masks leave them."""

    def variants() -> list[tuple[Setting, dict[str, Any], list[int]]]:
        out: list[tuple[Setting, dict[str, Any], list[int]]] = []
        for t in settings:
            count = t.layer(name).size // t.layer(name).states
            out.append((t, t.p, list(range(count))))
            if count > 2:
                apart = _without(t, name)
                colours = np.array([1, 0, 1, *range(2, count - 1)], np.int32)
                order = np.argsort(colours, kind="stable").tolist()
                out.append((apart, {**apart.p, f"colours {name}": colours}, order))
        return out

    def call(k: Kernels) -> Answer:
        out = []
        for t, p, _ in variants():
            for held in (None, _held(t, name)):
                field, s = t.declared.coupling(name, t.s), t.s[name].copy()
                k.relax[name](p, field, _own_forms(t, name)[-1], SCALES[0], s, t.lengths(name), held)
                out += [s, field]
        return out

    def wanted() -> list[Array]:
        out = []
        for t, _, order in variants():
            for held in (None, _held(t, name)):
                s = in_turn(t, name, t.s, SCALES[0], held, order)
                out += [s, t.declared.coupling(name, {**t.s, name: s})]
        return out

    return exact((f"relax_{name}",), f"each unit of {name} in turn at its mean given all others", call, wanted)


def _without(t: Setting, name: str) -> Setting:
    """The setting without weights between the first and the third site of a lateral layer."""
    states = t.layer(name).states
    changed = dict(t.declared.parameters)
    for names, weight in t.declared.edges:
        if set(names) == {name}:
            w = changed[weight].copy()
            w[:states, 2 * states : 3 * states] = w[2 * states : 3 * states, :states] = 0.0
            changed[weight] = w
    return replace(t, declared=replace(t.declared, parameters=changed))


def _log_partition(settings: Settings, name: str) -> Comparison:
    def call(k: Kernels) -> Answer:
        out = []
        for t in settings:
            for scale in SCALES:
                for own in _own_forms(t, name):
                    added = np.full(CASES, ADDED)
                    field = t.declared.coupling(name, t.s)
                    k.log_partition[name](t.p, field, own, scale, added, t.lengths(name))
                    out.append(added)
        return out

    def wanted() -> list[Array]:
        return [
            ADDED + _log_partitions(t, name, scale, 0.0)
            for t in settings
            for scale in SCALES
            for _ in _own_forms(t, name)
        ]

    return exact((f"log_partition_{name}",), f"the log of the sum over the states of {name}", call, wanted)


def _log_partitions(t: Setting, name: str, scale: float, more: float) -> Array:
    """Sums over units of A(own + more + scale field): the energy at no bias, so that no constant is part of it."""
    layer = t.layer(name)
    field = scale * t.declared.coupling(name, t.s) + t.own(name) + more
    return t.log_sums(name, field, np.zeros((1, layer.size)))


def _change(settings: Settings, name: str) -> Comparison:
    """Small steps, by a rule whose error is of their fifth power, and large ones, at which values are subtracted."""
    steps = [(0.7, 0.7002, 0.003), (0.7, 0.7, 0.6), (0.2, 0.9, 0.3)]

    def rows(t: Setting, start: float, end: float, more: float) -> NDArray[np.bool_]:
        moved = np.abs(more + (end - start) * t.declared.coupling(name, t.s))
        largest = np.stack([moved[:, entries].max(1) for entries in sites(t.layer(name))], 1)
        return np.asarray(((largest < 0.01) | (largest > 0.251)).all(1))

    def call(k: Kernels) -> Answer:
        out = []
        for t in settings:
            for start, end, more in steps:
                for own in _own_forms(t, name):
                    field, added = t.declared.coupling(name, t.s), np.full(CASES, ADDED)
                    k.log_partition_change[name](
                        t.p, field, own, start, own + more, end, added, t.lengths(name)
                    )
                    out.append(added[rows(t, start, end, more)])
        return out

    def wanted() -> list[Array]:
        out = []
        for t in settings:
            for start, end, more in steps:
                change = _log_partitions(t, name, end, more) - _log_partitions(t, name, start, 0.0)
                out += [ADDED + change[rows(t, start, end, more)] for _ in _own_forms(t, name)]
        return out

    against = "the change of that sum's log between two fields"
    return exact((f"log_partition_change_{name}",), against, call, wanted)


def _field_of_mean(settings: Settings, name: str) -> Comparison:
    layer = settings[0].layer(name)
    fields = [np.linspace(low, high, layer.size)[None] for low, high in ((-1.5, 1.0), (0.8, -0.4))]
    length = 3 if isinstance(layer.unit.support, Counts) else 0

    def mean_at(t: Setting, field: Array) -> Array:
        none = np.zeros((1, layer.size))
        found = [site(t.layer(name), e, field[:, e], none[:, e], length).mean for e in sites(layer)]
        return np.concatenate(found, 1)

    def call(k: Kernels) -> Answer:
        return [np.asarray(k.field_of_mean[name](t.p, mean_at(t, f)[0])) for t in settings for f in fields]

    def judge(answer: Answer) -> float:
        pairs = [(t, f) for t in settings for f in fields]
        worst = 0.0
        for (t, f), found in zip(pairs, answer, strict=True):
            if found.shape != (layer.size,) or not np.isfinite(found).all() or np.abs(found).max() > 50:
                return float("inf")
            worst = max(worst, float(np.abs(mean_at(t, found[None]) - mean_at(t, f)).max()))
        return worst

    return Comparison((f"field_of_mean_{name}",), "the field at which the sum over states has this mean", call, judge)


def _by_parameter(function: Callable[[Mapping[str, Any]], Array], own: Mapping[str, Any], name: str) -> Array:
    """The derivative of a function of own parameters by one of them, by differences of fourth order."""
    return np.asarray(sum(c * function({**own, name: own[name] + n * STEP}) for n, c in DIFFERENCE) / STEP)


def _slope(settings: Settings, name: str, own: str) -> Comparison:
    def call(k: Kernels) -> Answer:
        out = []
        for t in settings:
            filled = np.full(t.s[name].shape, FILLED)
            k.slope[name][own](t.p, t.s[name], t.declared.coupling(name, t.s), filled)
            out.append(filled)
        return out

    def wanted() -> list[Array]:
        out = []
        for t in settings:
            layer, field = t.layer(name), t.declared.coupling(name, t.s)

            def minus(o: Mapping[str, Any], t: Setting = t, field: Array = field) -> Array:
                x, layer = t.x[name], t.layer(name)
                return field * layer.statistic(x, o) - layer.energy(x, layer.bias[None], o)

            out.append(_by_parameter(minus, layer.own, own))
        return out

    return exact((f"slope_{name}_{own}",), f"the gradient -dE/d{own} of each unit, its state held", call, wanted)


def _expected_slope(settings: Settings, name: str, own: str) -> Comparison:
    def call(k: Kernels) -> Answer:
        out = []
        for t in settings:
            field, filled = t.declared.coupling(name, t.s), np.full(t.s[name].shape, FILLED)
            levels = t.layer(name).bias * own_factor(t.layer(name))
            k.expected_slope[name][own](t.p, field, levels, SCALES[1], filled)
            out.append(filled)
        return out

    def wanted() -> list[Array]:
        out = []
        for t in settings:
            layer, field = t.layer(name), SCALES[1] * t.declared.coupling(name, t.s)
            mean = np.zeros(field.shape)
            for entries in sites(layer):
                here = {n: v[entries] for n, v in layer.own.items()}
                bias = layer.bias[None, entries]
                found = site(layer, entries, field[:, entries], bias)
                energy = _by_parameter(lambda o, x=found.nodes, b=bias, a=layer: a.energy(x, b, o), here, own)  # type: ignore[misc]
                statistic = _by_parameter(lambda o, x=found.nodes, a=layer: a.statistic(x, o), here, own)  # type: ignore[misc]
                mean[:, entries] = field[:, entries] * (found.probability @ statistic) - found.probability @ energy
            out.append(mean)
        return out

    against = f"the mean of -dE/d{own} over each unit's states"
    return exact((f"expected_slope_{name}_{own}",), against, call, wanted)


def _curvature(settings: Settings, name: str) -> Comparison:
    def wanted() -> list[Array]:
        out = []
        for t in settings:
            layer = t.layer(name)
            support, none, found = layer.unit.support, np.zeros((1, layer.size)), []
            assert isinstance(support, Real)
            for far in (1e3,) if support.lower is not None else (1e3, -1e3):
                x = [np.full((1, layer.size), far + step) for step in (-100.0, 0.0, 100.0)]
                energy, s = [layer.energy(v, none) for v in x], [layer.statistic(v) for v in x]
                found.append(((energy[0] - 2 * energy[1] + energy[2]) / ((s[2] - s[0]) / 2) ** 2)[0])
            out.append(np.min(found, axis=0))
        return out

    call: Callable[[Kernels], Answer] = lambda k: [k.curvature[name](t.p) for t in settings]  # noqa: E731
    return exact((f"curvature_{name}",), "how a unit's energy bends where its statistic is large", call, wanted)
