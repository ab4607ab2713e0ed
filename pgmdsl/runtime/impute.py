"""Missing values filled in: by Gibbs sweeps with what is observed clamped, or by mean field.

Values are taken to be missing at random: that one is missing may depend on what was observed of its case, not on the
value itself (Rubin 1976). Means by Gibbs sampling are averages, over the sweeps after burn-in, of each missing value's
conditional mean given all else (Rao-Blackwellised: Gelfand and Smith 1990).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import ArtifactLayer
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.columns import Column
from pgmdsl.runtime.data import Data
from pgmdsl.runtime.kernels import one_blas_thread
from pgmdsl.runtime.known import Known
from pgmdsl.runtime.machine import Machine, State
from pgmdsl.runtime.random import stream_key
from pgmdsl.runtime.sampling import Progress, chunks, to_states

Array = NDArray[Any]
Mask = NDArray[np.bool_]
Method = Literal["gibbs", "mean_field"]
ROWS = 4096  # chains that run together


@dataclass(frozen=True)
class Filling:
    """What one layer lacked: `values` of `sites` (a one-hot site is one), in `cases`, `wholly` of which lacked all."""

    values: int
    sites: int
    cases: int
    wholly: int


@dataclass(frozen=True)
class Imputation:
    """Visible layers with their missing values filled in; what was observed is bit for bit as it was given.

    Values are in the units of the data: where a file has a `scale`, they are divided by it again. Softmax layers are
    one-hot, and their means probabilities.

    Attributes:
        means: By layer (cases, *dims): posterior means in place of missing values.
        samples: By layer (samples, cases, *dims): draws in place of missing values, of several layers jointly.
        missing: By layer (cases, *dims): what was filled in.
        fillings: By layer with missing values, how many.
        nothing: How many cases have no observed value in any layer that is modelled.
        cases: How many cases there are.
        bits: The layers whose values are levels, of which bits were drawn.
        method: How it was done.
    """

    means: dict[str, Array]
    samples: dict[str, Array]
    missing: dict[str, Mask]
    fillings: dict[str, Filling]
    nothing: int
    cases: int
    bits: tuple[str, ...]
    method: Method

    def lines(self) -> list[str]:
        """What was done, a sentence each."""
        out = []
        for name, x in self.fillings.items():
            whole = f", {x.wholly} of which lack all" if 0 < x.wholly < x.cases else ""
            whole = ", which lack all" if x.wholly == x.cases else whole
            out.append(f"{name}: {x.values} of {x.sites} values filled in, in {x.cases} of {self.cases} cases{whole}")
        if self.nothing:
            have = "case has" if self.nothing == 1 else "cases have"
            out.append(f"{self.nothing} {have} no observed value: filled in from the model alone")
        if self.bits:
            out.append(f"Conditioned on bits of {' and '.join(self.bits)} that were drawn once, by the run's seed.")
        if not self.fillings:
            return [f"nothing is missing in the {self.cases} cases"]
        return [
            *out,
            "Assumed: missing at random, so that whether a value is missing may depend on observed ones, not on "
            "itself.",
        ]


def impute(
    known: Known,
    data: Data,
    *,
    method: Method = "gibbs",
    burn: int = 100,
    sweeps: int = 100,
    samples: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> Imputation:
    """The visible layers with all that is missing filled in.

    Args:
        known: What is observed.
        data: The values it was made from.
        method: "gibbs", or "mean_field": fixed points of mean field, `sweeps` times, and draws from that distribution,
            in which all units are independent.
        burn: Gibbs sweeps before any that count.
        sweeps: Those that count.
        samples: Independent chains of each case; the last state of each is a sample, and the means are over all.
        seed: Of all draws.
        progress: Called with (sweeps of chains done, all of them).
    """
    least = {"burn": (burn, 0), "sweeps": (sweeps, 1), "samples": (samples, 1)}
    for what, (number, smallest) in least.items():
        if number < smallest:
            raise Error(f"imputation needs {what} of {smallest} or more, not {number}")
    if method not in get_args(Method):
        raise Error(f"there is no method {method!r} of imputation: the methods are {', '.join(get_args(Method))}")
    machine = known.machine
    visible = [n for n, x in machine.artifact.layers.items() if x.role == "visible"]
    missing = {n: _missing(known, n) for n in visible}
    rows = np.flatnonzero(np.logical_or.reduce([m.any(axis=1) for m in missing.values()]))
    names = [n for n in visible if missing[n].any()]
    means = {n: np.zeros(missing[n].shape) for n in names}
    draws = {n: np.zeros((samples, *missing[n].shape), machine.dtype) for n in names}
    if len(rows):
        size = max(1, ROWS // samples)
        steps = _Steps(len(rows), burn + sweeps if method == "gibbs" else 1, progress)
        with one_blas_thread():
            for number, part in enumerate(chunks(known.take(rows), size)):
                here = rows[number * size :][: part.cases]
                key = (seed, number)
                if method == "gibbs":
                    mean, drawn = _by_gibbs(part, names, burn, sweeps, samples, key, steps)
                else:
                    mean, drawn = _by_mean_field(part, names, sweeps, samples, key, steps)
                for name in names:
                    means[name][here] = mean[name]
                    draws[name][:, here] = drawn[name].reshape(samples, part.cases, -1)
    return _imputation(known, data, missing, means, draws, samples, method)


class _Steps:
    """Counts the sweeps over all cases for a progress report."""

    def __init__(self, cases: int, sweeps: int, progress: Progress | None) -> None:
        self.total, self.done, self.progress = cases * sweeps, 0, progress

    def one(self, cases: int) -> None:
        self.done += cases
        if self.progress is not None:
            self.progress(self.done, self.total)


def _missing(known: Known, name: str) -> Mask:
    size = known.machine.artifact.layers[name].size
    if name in known.held:
        return ~known.held[name]
    return np.full((known.cases, size), name not in known.s)


def _by_gibbs(
    part: Known, names: list[str], burn: int, sweeps: int, samples: int, key: tuple[int, int], steps: _Steps
) -> tuple[State, State]:
    """Average conditional means over the sweeps that count, (cases, size), and last states, (samples * cases, size)."""
    known = part.take(np.tile(np.arange(part.cases), samples))
    machine, (seed, number) = known.machine, key
    words = ("impute", number)
    s, fields = known.start(seed, *words), machine.new_state(known.cases)
    order = tuple(sorted(machine.blocks, key=lambda block: any(n in names for n in block)))  # their fields are kept
    total = {n: np.zeros(s[n].shape) for n in names}
    mean = {n: s[n].copy() for n in names}
    for sweep in range(burn + sweeps):
        last = machine.gibbs(s, fields, 1, seed, (*words, sweep), known.clamped, order, known.held)
        if sweep >= burn:
            for name in names:
                field = fields[name] if name in last else machine.coupling(name, s, known.cases)
                machine.mean(name, field, mean[name], s=s, held=known.held.get(name))
                total[name] += mean[name]
        steps.one(part.cases)
    over = {n: x.reshape(samples, part.cases, -1).mean(axis=0) / sweeps for n, x in total.items()}
    average = {n: np.ascontiguousarray(x, machine.dtype) for n, x in over.items()}
    return _flat_states(machine, average), _flat_states(machine, {n: s[n] for n in names})


def _by_mean_field(
    known: Known, names: list[str], sweeps: int, samples: int, key: tuple[int, int], steps: _Steps
) -> tuple[State, State]:
    """Means at a fixed point of mean field, and draws from its distribution, (samples * cases, size)."""
    machine, (seed, number) = known.machine, key
    s, fields = known.empty(), machine.new_state(known.cases)
    machine.mean_field(s, fields, sweeps, known.clamped, held=known.held)
    apart = _without_lateral_edges(machine)
    draws: dict[str, list[Array]] = {n: [] for n in names}
    for sample in range(samples):
        for name in names:
            out, stream = s[name].copy(), stream_key(seed, "impute", number, sample, name)
            apart.sample(name, fields[name].copy(), stream, out, s=s, held=known.held.get(name))
            draws[name].append(out)
    steps.one(known.cases)
    drawn = {n: np.concatenate(x) for n, x in draws.items()}
    return _flat_states(machine, {n: s[n] for n in names}), _flat_states(machine, drawn)


def _without_lateral_edges(machine: Machine) -> Machine:
    """The machine in which the units of a layer are drawn independently, each at its field."""
    lateral = {e.weight for e in machine.edges if e.lateral}
    return machine.with_parameters({n: np.zeros_like(x) if n in lateral else x for n, x in machine.parameters.items()})


def _flat_states(machine: Machine, s: Mapping[str, Array]) -> State:
    return {n: x.reshape(len(x), -1) for n, x in to_states(machine, s).items()}


# --- what the user gets -----------------------------------------------------------------------------------


def _imputation(
    known: Known,
    data: Data,
    missing: Mapping[str, Mask],
    means: Mapping[str, Array],
    draws: Mapping[str, Array],
    samples: int,
    method: Method,
) -> Imputation:
    layers = known.machine.artifact.layers
    given, fillings = {}, {}
    for name, absent in missing.items():
        given[name] = _as_given(data, layers[name], known)
        if absent.any():
            each = layers[name].states if layers[name].support == "one_hot" else 1
            values = int(absent.sum()) // each
            cases, wholly = int(absent.any(axis=1).sum()), int(absent.all(axis=1).sum())
            fillings[name] = Filling(values, absent.size // each, cases, wholly)

    def filled(name: str, states: Array) -> Array:
        out: Array = np.where(missing[name], _in_units(data.columns.get(name), states), given[name])
        return out.reshape(*out.shape[:-1], *layers[name].dims)

    nothing = int(np.logical_and.reduce([m.all(axis=1) for m in missing.values()]).sum())
    none = {n: np.zeros((1, layers[n].size), known.machine.dtype) for n in missing}
    return Imputation(
        means={n: filled(n, means.get(n, none[n]).astype(known.machine.dtype)) for n in missing},
        samples={n: filled(n, draws.get(n, np.broadcast_to(none[n], (samples, 1, layers[n].size)))) for n in missing},
        missing={n: m.reshape(known.cases, *layers[n].dims) for n, m in missing.items()},
        fillings=fillings,
        nothing=nothing,
        cases=known.cases,
        bits=tuple(n for n, column in data.columns.items() if column.bits not in (None, "threshold")),
        method=method,
    )


def _as_given(data: Data, layer: ArtifactLayer, known: Known) -> Array:
    """A layer's values as they were given, (cases, size) of a floating type; labels as one-hot vectors."""
    dtype, column = known.machine.dtype, data.columns.get(layer.name)
    if column is None:
        return np.zeros((known.cases, layer.size), dtype)
    if column.labels:
        return np.asarray(known.s[layer.name])
    values = np.asarray(column.values[data.rows])
    return values if values.dtype.kind == "f" else values.astype(np.result_type(values.dtype, dtype))


def _in_units(column: Column | None, states: Array) -> Array:
    """States in the units of a layer's stored values."""
    if column is None or column.labels:
        return states
    return states if column.scale == 1 else (states / column.scale).astype(states.dtype)
