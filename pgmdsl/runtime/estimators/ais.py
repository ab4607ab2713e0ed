"""Annealed importance sampling of log Z, for any undirected model.

The path joins a base of independent units, own fields `base`, to the model. At inverse temperature t each unit's
field is t (own + coupling) + (1 - t) base. Some layers that share no edge are summed out analytically, so that a
chain holds the others, x, with the unnormalised log-probability

    log f_t(x) = sum over its layers (t own + (1 - t) base) s - base_energy + t (edges among them)
                 + sum over summed layers A(t own + (1 - t) base + t coupling(x)).

A chain's log weight is the sum over steps of log f_t(k) - log f_t(k-1), at its state before the step; each step then
draws the summed layers given x, and x given those, block by block, which leaves f_t(k) unchanged. The average weight
estimates Z / Z_base without bias, whatever the chains' mixing; but where a mode holds much of Z and hardly any chain
reaches it, nearly every run lies too low, with weights as even, and error bars as small, as if it were not there.

Source: Neal (2001); Salakhutdinov and Murray (2008), "On the quantitative analysis of deep belief networks".
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.estimators.exact import layer_constant
from pgmdsl.runtime.estimators.result import LogPartition
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.parameters import inside
from pgmdsl.runtime.random import stream_key

Array = NDArray[np.floating]
Doubles = NDArray[np.float64]
Progress = Callable[[int, int], None]
Words = tuple[int, str]  # the seed, and a name for the stream of draws

SEGMENTS = ((0.5, 500), (0.9, 3500), (1.0, 10500))  # shares of the temperatures up to each inverse temperature
BASE_MARGIN = 0.02  # share of the support's range that the base's means are kept from its ends
# Effective sample sizes below which a result carries a warning: a share of the chains, and a number. Measured by how
# often the 95% limits held the exact log Z, in two models of 30 and 38 units, with weights of sd 0.5 to 2, over 10 to
# 1000 temperatures, 50 seeds each. Of 2000 runs of 100 chains: 0.63 below a share of 0.2, 0.88 from there to 0.5, 0.93
# above. With 25 chains 0.88 from 15 on and about 0.7 below; with 10 chains about 0.84. Nearly all limits that fail are
# too low.
LEAST_SHARE, LEAST_SIZE = 0.2, 15


def schedule(temperatures: int) -> Doubles:
    """Inverse temperatures from 0 to 1, (temperatures + 1,): dense near 1, where weights vary most."""
    if temperatures < len(SEGMENTS):
        raise Error(f"annealed importance sampling needs {len(SEGMENTS)} temperatures or more, not {temperatures}")
    whole = sum(share for _, share in SEGMENTS)
    parts, start, left = [np.zeros(1)], 0.0, temperatures
    for i, (end, share) in enumerate(SEGMENTS):
        last = i == len(SEGMENTS) - 1
        count = left if last else max(1, round(temperatures * share / whole))
        parts.append(np.linspace(start, end, count + 1)[1:])
        start, left = end, left - count
    return np.concatenate(parts)


def base_fields(machine: Machine, data_means: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """The base's own fields: a layer's mean statistic in the data sets its field, else the model's own field does.

    Args:
        machine: The model with its parameters.
        data_means: Mean statistics (size,) of some layers; means at the edge of the support are moved inside.
    """
    out = {}
    for name in machine.artifact.layers:
        if data_means and name in data_means:
            wanted = np.asarray(data_means[name], np.float64)
            mean = inside(machine.artifact.layers[name], wanted, BASE_MARGIN).astype(machine.artifact.dtype)
            out[name] = np.ascontiguousarray(machine.kernels.field_of_mean[name](machine.p, mean))
        else:
            out[name] = machine.own[name].copy()
    return out


def summed_layers(machine: Machine) -> tuple[str, ...]:
    """The layers to sum out: of all sets of layers that share no edge, one with the most units."""
    layers, edges = machine.artifact.layers, machine.artifact.edges
    near: dict[str, set[str]] = {n: set() for n in layers}
    for edge in edges:
        near[edge.layers[0]].add(edge.layers[1])
        near[edge.layers[1]].add(edge.layers[0])
    best: tuple[int, tuple[str, ...]] = (-1, ())

    def extend(chosen: tuple[str, ...], left: tuple[str, ...]) -> None:
        nonlocal best
        size = sum(layers[n].size for n in chosen)
        if size + sum(layers[n].size for n in left) <= best[0]:
            return
        if not left:
            best = (size, chosen)
            return
        first, rest = left[0], left[1:]
        extend((*chosen, first), tuple(n for n in rest if n not in near[first]))
        extend(chosen, rest)

    extend((), tuple(layers))
    return best[1]


class _Path:
    """The family of distributions from the base to the model, and steps that leave one of them unchanged.

    Fields at a temperature are rounded to the model's dtype once and used so both in weights and in draws: the path
    then is one of distributions that are exactly those sampled, and only its two ends must be right.
    """

    def __init__(self, machine: Machine, base: Mapping[str, Array], betas: Doubles, chains: int, words: Words) -> None:
        """Chains of zeros at the first of the inverse temperatures `betas`."""
        self.machine, self.words = machine, words
        self.base = base
        self.betas = betas.astype(machine.artifact.dtype).astype(np.float64)
        self.summed = summed_layers(machine)
        self.held = [n for block in machine.artifact.blocks for n in block if n not in self.summed]
        self.own = self.own_at(0)
        self.s, self.fields = machine.new_state(chains), machine.new_state(chains)
        self.log_weight = np.zeros(chains)

    def own_at(self, k: int) -> dict[str, Array]:
        """Own fields at the k-th inverse temperature."""
        beta, own = self.betas[k], self.machine.own
        mixed = {n: beta * own[n].astype(np.float64) + (1 - beta) * self.base[n] for n in own}
        return {n: np.ascontiguousarray(f, dtype=self.machine.artifact.dtype) for n, f in mixed.items()}

    def draw(self, name: str, k: int) -> None:
        """Draw a layer from its conditional at the k-th inverse temperature, given its coupling field."""
        key = stream_key(self.words[0], *self.words[1:], k, name)
        sample = self.machine.kernels.sample[name]
        sample(self.machine.p, self.fields[name], self.own[name], self.betas[k], key, self.s[name])

    def send(self, name: str, senders: Mapping[str, Array]) -> None:
        """Set a layer's coupling field to what these layers send it."""
        self.machine.kernels.field[name](self.machine.p, senders, self.fields[name])

    def advance(self, k: int) -> None:
        """Go from temperature k - 1 to k: weigh the chains as they are, then move them by one Gibbs sweep."""
        p, kernels = self.machine.p, self.machine.kernels
        before, self.own = self.own, self.own_at(k)
        scale0, scale1 = self.betas[k - 1], self.betas[k]
        held: dict[str, Array] = {}
        for name in self.held:
            change = self.own[name].astype(np.float64) - before[name]
            self.log_weight += self.s[name] @ change
            if held:
                self.send(name, held)
                self.log_weight += (scale1 - scale0) * np.einsum(
                    "ci,ci->c", self.s[name], self.fields[name], dtype=np.float64
                )
            held[name] = self.s[name]
        for name in self.summed:
            self.send(name, held)
            changed = kernels.log_partition_change[name]
            changed(p, self.fields[name], before[name], scale0, self.own[name], scale1, self.log_weight)
        self.sweep(k)

    def sweep(self, k: int) -> None:
        """One Gibbs sweep at the k-th temperature; the fields of summed layers are those of the present state."""
        for name in self.summed:
            self.draw(name, k)
        for name in self.held:
            self.send(name, self.s)
            self.draw(name, k)


def ais(
    machine: Machine,
    *,
    temperatures: int = 14500,
    chains: int = 100,
    seed: int = 0,
    data_means: Mapping[str, Array] | None = None,
    progress: Progress | None = None,
) -> LogPartition:
    """Log Z by annealed importance sampling from the base to the model.

    The limits are of the sampling error only, and assume that the chains reach every mode that holds much of Z. The
    effective sample size and the warning come from the same chains, and cannot tell of a mode that all of them missed.

    Args:
        machine: The model with its parameters.
        temperatures: Steps of the path; 10,000 or more for models of some hundred units.
        chains: Independent chains, run as a batch.
        seed: Of all draws.
        data_means: Mean statistics (size,) of layers, usually the visible ones, that set the base.
        progress: Called with (steps done, steps) about a hundred times.
    """
    start = time.perf_counter()
    path = _forward(machine, temperatures, chains, (seed, "ais"), base_fields(machine, data_means), progress)
    log_z = path.log_weight + _log_partition_of_base(machine, path.base)
    return _result(log_z, 1, "ais", time.perf_counter() - start, temperatures)


def _forward(
    machine: Machine,
    temperatures: int,
    chains: int,
    words: Words,
    base: Mapping[str, Array],
    progress: Progress | None = None,
) -> _Path:
    """A path run from draws of the base to the model."""
    if chains < 2:
        raise Error(f"annealed importance sampling needs 2 chains or more for its error bars, not {chains}")
    path = _Path(machine, base, schedule(temperatures), chains, words)
    for name in path.held:
        path.draw(name, 0)
    _run(path, progress)
    return path


def reverse_ais(
    machine: Machine,
    starts: Mapping[str, Array] | None = None,
    *,
    temperatures: int = 14500,
    chains: int = 100,
    seed: int = 0,
    data_means: Mapping[str, Array] | None = None,
    progress: Progress | None = None,
) -> LogPartition:
    """Log Z by annealing from the model to the base: from exact draws of the model, an overestimate on average.

    Only from such draws does it bound what `ais` may have missed. From starts of its own (`starts` None) it is no
    independent check: they are the ends of a forward run, and a mode that run missed is missing here too, so that both
    agree on a value that is too low.

    Args:
        machine: The model with its parameters.
        starts: Statistics (chains, size) of every layer, drawn from the model as well as may be; None takes the last
            states of a forward run of `chains` chains, which are near such draws when its effective sample size is.
        temperatures: Steps of the path.
        chains: How many, when `starts` is None.
        seed: Of all draws.
        data_means: As for `ais`.
        progress: Called with (steps done, steps) about a hundred times.

    Source: Burda, Grosse and Salakhutdinov (2015), "Accurate and conservative estimates of MRF log-likelihood using
    reverse annealing".
    """
    start = time.perf_counter()
    base = base_fields(machine, data_means)
    if starts is None:
        starts = _forward(machine, temperatures, chains, (seed, "reverse start"), base).s
    chains = len(next(iter(starts.values())))
    path = _Path(machine, base, schedule(temperatures)[::-1].copy(), chains, (seed, "reverse"))
    for name in path.held:
        path.s[name][:] = starts[name]
    _run(path, progress)
    log_z = _log_partition_of_base(machine, path.base) - path.log_weight
    return _result(log_z, -1, "reverse_ais", time.perf_counter() - start, temperatures)


def _run(path: _Path, progress: Progress | None) -> None:
    steps = len(path.betas) - 1
    report = max(1, steps // 100)
    for k in range(1, steps + 1):
        path.advance(k)
        if progress and (k % report == 0 or k == steps):
            progress(k, steps)


def _log_partition_of_base(machine: Machine, base: Mapping[str, Array]) -> float:
    """Log Z of the base, less the constants of the model's energy, which the path leaves out."""
    total = np.zeros(1)
    for name, own in base.items():
        zero = np.zeros((1, len(own)), machine.artifact.dtype)
        machine.kernels.log_partition[name](machine.p, zero, own, 0.0, total)
        total -= layer_constant(machine, name)
    return float(total[0])


def _result(
    log_z: Doubles, sign: Literal[1, -1], method: Literal["ais", "reverse_ais"], seconds: float, temperatures: int
) -> LogPartition:
    """The estimate from each chain's: sign * log mean exp(sign * log_z), with its error by the delta method.

    The limits are those of the mean weight +- 1.96 standard errors; where that interval holds 0, there is no limit on
    that side. They are of the sampling error only, as `ais` says.
    """
    chains = len(log_z)
    if not np.all(np.isfinite(log_z)):
        raise Error("annealed importance sampling met a weight that is not finite: the parameters are too large")
    signed = sign * log_z
    top = float(signed.max())
    weight = np.exp(signed - top)
    mean = float(weight.mean())
    value = top + math.log(mean)
    relative = float(weight.std(ddof=1)) / mean / math.sqrt(chains)
    low = value + math.log(1 - 1.96 * relative) if 1.96 * relative < 1 else -math.inf
    high = value + math.log1p(1.96 * relative)
    effective = float(weight.sum() ** 2 / (weight**2).sum())
    lower, upper = (low, high) if sign == 1 else (-high, -low)
    warning = _doubt(effective, chains, temperatures)
    return LogPartition(sign * value, relative, lower, upper, method, seconds, effective, chains, temperatures, warning)


def _doubt(effective: float, chains: int, temperatures: int) -> str | None:
    """What is wrong with an estimate of this effective sample size, in words; None where nothing shows."""
    if effective >= max(LEAST_SHARE * chains, LEAST_SIZE):
        return None
    more = f"{temperatures} temperatures" if effective < LEAST_SHARE * chains else f"{chains} chains"
    return (
        f"the effective sample size is {effective:.1f} of {chains} chains, so that log Z and its limits are not to be "
        f"trusted: use more than {more}"
    )
