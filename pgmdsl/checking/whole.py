"""Comparisons of kernels put together as the runtime does: energies, free energies, conditionals, mean-field sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

import numpy as np

from pgmdsl.checking.comparison import Answer, Comparison, exact
from pgmdsl.checking.conditionals import in_turn
from pgmdsl.checking.declared import Array
from pgmdsl.checking.setting import CASES, Setting
from pgmdsl.checking.sites import sites
from pgmdsl.compiler.artifact import Artifact
from pgmdsl.compiler.units import Counts, Naturals, Real
from pgmdsl.runtime.kernels import Kernels
from pgmdsl.runtime.machine import Machine

Settings = Sequence[Setting]
JOINT = 5000  # joint states of a layer that are enumerated; of more, and of unbounded units, each site's apart


def machine_comparisons(settings: Settings, artifact: Artifact, said: str = "") -> list[Comparison]:
    """The energy, each layer's conditional and the free energy of all other layers, by `Machine`.

    `said` is what the machine is called where it is a part of the model.
    """
    declared = settings[0].declared
    free = [n for n, layer in declared.layers.items() if not layer.given]
    out = [_energy(settings, artifact, said)]
    for name in free:
        out.append(_conditional(settings, artifact, name, said))
        if not declared.lateral(name) and not isinstance(declared.layers[name].unit.support, Counts):
            out.append(_free_energy(settings, artifact, name, said))
    return out


def _machine(k: Kernels, artifact: Artifact, t: Setting) -> Machine:
    shaped = {name: t.declared.parameters[name].reshape(p.shape) for name, p in artifact.parameters.items()}
    return Machine(artifact, k, shaped)


def _energy(settings: Settings, artifact: Artifact, said: str) -> Comparison:
    def call(k: Kernels) -> Answer:
        return [-_machine(k, artifact, t).score(t.s, CASES) for t in settings]

    return exact((f"energy{said}",), "the declared energy", call, lambda: [t.declared.energy(t.x) for t in settings])


def _conditional(settings: Settings, artifact: Artifact, name: str, said: str) -> Comparison:
    others = ", ".join(n for n in settings[0].declared.layers if n != name)
    mean = f"mean({name} | {others})" if others else f"mean({name}), each unit given all others"

    def call(k: Kernels) -> Answer:
        out = []
        for t in settings:
            machine, filled = _machine(k, artifact, t), np.full(t.s[name].shape, 7.0)
            machine.mean(name, machine.coupling(name, t.s, CASES), filled, s=t.s)
            out.append(filled)
        return out

    def wanted() -> list[Array]:
        return [_by_energies(t, name) for t in settings]

    against = f"{mean}, by the declared energy of every state of each site"
    return exact((f"conditional {name}{said}",), against, call, wanted)


def _by_energies(t: Setting, name: str) -> Array:
    """Mean statistics of a layer's sites, weighing each site's states by the whole declared energy."""
    out = np.zeros(t.s[name].shape)
    for entries, rows in t.sites(name, t.declared.coupling(name, t.s), t.declared.bias(name, t.x)):
        means = []
        for i, row in enumerate(rows):
            cases, count = slice(None) if len(rows) == 1 else slice(i, i + 1), len(row.nodes)
            every = {n: np.repeat(x[cases], count, 0) for n, x in t.x.items()}
            every[name][:, entries] = np.tile(row.nodes, (len(t.x[name][cases]), 1))
            log_weight = row.log_rule - t.declared.energy(every).reshape(-1, count)
            weight = np.exp(log_weight - log_weight.max(1, keepdims=True))
            means.append(weight / weight.sum(1, keepdims=True) @ row.statistics)
        out[:, entries] = np.concatenate(means)
    return out


def _free_energy(settings: Settings, artifact: Artifact, name: str, said: str) -> Comparison:
    rest = [n for n in settings[0].declared.layers if n != name]

    def call(k: Kernels) -> Answer:
        return [_machine(k, artifact, t).free_energy({n: t.s[n] for n in rest}) for t in settings]

    def wanted() -> list[Array]:
        return [-_summed_out(t, name) for t in settings]

    against = f"-log of the sum of exp(-energy) over the states of {name}"
    return exact((f"free energy({', '.join(rest)}){said}",), against, call, wanted)


def _summed_out(t: Setting, name: str) -> Array:
    """The log of the sum over all states of a layer of exp(-energy), (cases,)."""
    layer = t.layer(name)
    field, bias = t.declared.coupling(name, t.s), t.declared.bias(name, t.x)
    each = t.sites(name, field, bias)
    count = prod(len(rows[0].nodes) for _, rows in each)
    if isinstance(layer.unit.support, Real | Naturals) or count > JOINT:
        none = {n: x for n, x in t.x.items() if n != name}
        return -t.declared.energy(none) + t.log_sums(name, field, bias)
    states = np.zeros((count, layer.size))
    for number, choice in enumerate(product(*(range(len(rows[0].nodes)) for _, rows in each))):
        for (entries, rows), node in zip(each, choice, strict=True):
            states[number, entries] = rows[0].nodes[node]
    every = {n: np.repeat(x, count, 0) for n, x in t.x.items()}
    every[name] = np.tile(states, (CASES, 1))
    return np.asarray(np.logaddexp.reduce(-t.declared.energy(every).reshape(CASES, count), 1))


def mean_field_comparison(settings: Settings, blocks: Sequence[Sequence[str]]) -> Comparison:
    """`mean_field_sweep` from means of all layers: each at its mean given the others', block by block."""
    order = [name for block in blocks for name in block]
    variants = [frozenset[str](), frozenset(order[-1:]) if len(order) > 1 else frozenset[str]()]

    def call(k: Kernels) -> Answer:
        out = []
        for t in settings:
            for clamped in variants:
                s, fields = {n: x.copy() for n, x in t.s.items()}, {n: np.zeros(x.shape) for n, x in t.s.items()}
                own = {n: t.layer(n).bias * k.own_factor[n](t.p) for n in order}
                k.mean_field_sweep(t.p, s, own, dict.fromkeys(order, 1.0), fields, clamped)
                out += [s[n] for n in t.s]
        return out

    def wanted() -> list[Array]:
        out = []
        for t in settings:
            for clamped in variants:
                now = dict(t.s)
                for name in order:
                    if name in clamped:
                        continue
                    if t.declared.lateral(name):
                        count = len(sites(t.layer(name)))
                        now[name] = in_turn(t, name, now, 1.0, None, range(count))
                    else:
                        now[name] = t.means(name, t.declared.coupling(name, now), t.declared.bias(name, now))
                out += [now[n] for n in t.s]
        return out

    return exact(("mean_field_sweep",), "mean field by sums over each site's states, block by block", call, wanted)
