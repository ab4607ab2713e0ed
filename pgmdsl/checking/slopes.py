"""Comparisons of derivatives by own parameters, and of curvatures, with differences of the declared energy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pgmdsl.checking.comparison import Answer, Comparison, exact
from pgmdsl.checking.declared import Array
from pgmdsl.checking.setting import FILLED, SCALES, Setting, own_factor
from pgmdsl.checking.sites import site, sites
from pgmdsl.compiler.units import Real
from pgmdsl.runtime.kernels import Kernels

Settings = Sequence[Setting]
STEP = 1e-3  # of differences of fourth order in a unit type's own parameters
DIFFERENCE = ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12))


def _by_parameter(function: Callable[[Mapping[str, Any]], Array], own: Mapping[str, Any], name: str) -> Array:
    """The derivative of a function of own parameters by one of them, by differences of fourth order."""
    return np.asarray(sum(c * function({**own, name: own[name] + n * STEP}) for n, c in DIFFERENCE) / STEP)


def slope_comparison(settings: Settings, name: str, own: str) -> Comparison:
    """`slope_L_T` at complete states, the coupling field being that of the other layers."""

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


def expected_slope_comparison(settings: Settings, name: str, own: str) -> Comparison:
    """`expected_slope_L_T`, by the mean of that slope over each unit's states."""

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


def curvature_comparison(settings: Settings, name: str) -> Comparison:
    """`curvature_L`, by second differences of the energy far out."""

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
