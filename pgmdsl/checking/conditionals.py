"""Comparisons of means and log-partition functions with sums over each site's states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.checking.comparison import Answer, Comparison, exact
from pgmdsl.checking.declared import Array
from pgmdsl.checking.setting import ADDED, CASES, FILLED, SCALES, Setting
from pgmdsl.checking.sites import site, sites
from pgmdsl.compiler.units import Counts
from pgmdsl.runtime.kernels import Kernels

Settings = Sequence[Setting]


def _own_forms(t: Setting, name: str) -> list[Array]:
    """The own field as kernels take it: one for all cases, and one a case."""
    own = t.own(name)
    every = np.ascontiguousarray(np.broadcast_to(own, (CASES, own.shape[1])))
    return [own[0].copy(), every] if len(own) == 1 else [every]


def mean_comparison(settings: Settings, name: str) -> Comparison:
    """`mean_L` at two scales of the field, own fields for all cases or one a case, with and without held entries."""

    def call(k: Kernels) -> Answer:
        out = []
        for t in settings:
            field = t.declared.coupling(name, t.s)
            for scale in SCALES:
                for own in _own_forms(t, name):
                    for held in (None, t.held(name)):
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
                    for held in (None, t.held(name)):
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


def relax_comparison(settings: Settings, name: str) -> Comparison:
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
            for held in (None, t.held(name)):
                field, s = t.declared.coupling(name, t.s), t.s[name].copy()
                k.relax[name](p, field, _own_forms(t, name)[-1], SCALES[0], s, t.lengths(name), held)
                out += [s, field]
        return out

    def wanted() -> list[Array]:
        out = []
        for t, _, order in variants():
            for held in (None, t.held(name)):
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


def log_partition_comparison(settings: Settings, name: str) -> Comparison:
    """`log_partition_L`, which adds A(own + scale * field) of all units."""

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


def log_partition_change_comparison(settings: Settings, name: str) -> Comparison:
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
                    k.log_partition_change[name](t.p, field, own, start, own + more, end, added, t.lengths(name))
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


def field_of_mean_comparison(settings: Settings, name: str) -> Comparison:
    """`field_of_mean_L`: at the field it answers, the sums over states have the mean it was asked for."""
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
