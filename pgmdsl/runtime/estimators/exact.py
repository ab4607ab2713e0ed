"""Exact sums over states: log Z, log-probabilities and expectations of models small enough to enumerate.

Some discrete layers are enumerated, chosen so that the rest are independent of each other given them; the rest are
summed (or integrated) analytically by their log-partition functions:

    sum over x of exp(-energy(x)) = sum over e of exp(score(e) + sum over closed layers R of A_R(field_R(e)) - c_R)

Layers that are clamped, one row a case, only add to scores and fields, so that the same sum gives log p of each case
times Z, posterior expectations, log Z, and the model's expectations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Artifact, ArtifactLayer
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.machine import Machine

Array = NDArray[np.floating]
Doubles = NDArray[np.float64]

LIMIT = 2**35  # unit evaluations: cases * states * units; about a minute
ROW_BYTES = 2**25  # of one table of rows with its fields


@dataclass(frozen=True, slots=True)
class EnumerationPlan:
    """Which free layers are enumerated (`states` joint states), and which close given those; `units` in all of them."""

    enumerated: tuple[str, ...]
    closed: tuple[str, ...]
    states: int
    units: int

    def cost(self, cases: int) -> int:
        """Unit evaluations that the sum takes for so many cases."""
        return cases * self.states * self.units


@dataclass(frozen=True, slots=True)
class ExactStatistics:
    """Exact expectations given what is clamped.

    `log_sum` (cases,): log of the sum over the free layers of exp(-energy). `means`: for each free layer the means of
    its statistic, (cases, size). `products`: for each weight the mean over cases, by case weight, of the sum over its
    uses of E[s(a) s(b)'], float64. Without clamped layers there is one case, the model itself.
    """

    log_sum: Doubles
    means: Mapping[str, Doubles]
    products: Mapping[str, Doubles]


@dataclass(frozen=True, slots=True)
class _Block:
    """Joint states as a table of `rows` combined with one more: log weights (rows,) of each, and what they need."""

    rows: Mapping[str, Array]
    one: Mapping[str, Array]
    own: Mapping[str, Array]
    fields: Mapping[str, Array]
    log_weight: Doubles
    cases: slice  # of the clamped cases; one case when the rows are states


def count_states(layer: ArtifactLayer) -> int:
    """The number of joint states of a discrete layer's units."""
    if layer.support == "one_hot":
        return math.prod([layer.states] * (layer.size // layer.states))
    return math.prod([len(layer.values)] * layer.size)


def plan_enumeration(artifact: Artifact, clamped: frozenset[str] = frozenset()) -> EnumerationPlan:
    """The cheapest discrete layers to enumerate so that the other free layers share no edge.

    A minimum-weight vertex cover of the graph of free layers, weights being logarithms of numbers of states; found
    by branching on an uncovered edge, which is exact, and fast for the few layers that a model has.

    Raises:
        Error: Two real layers share an edge, so that no enumeration closes the sum.
    """
    layers = artifact.layers
    free = [n for n in layers if n not in clamped]
    edges = [e.layers for e in artifact.edges if not clamped & set(e.layers)]
    cost = {n: math.log(count_states(layers[n])) for n in free if layers[n].support != "real"}
    best: list[tuple[float, frozenset[str]]] = []

    def branch(chosen: frozenset[str], spent: float) -> None:
        if best and spent >= best[-1][0]:
            return
        uncovered = next((e for e in edges if not chosen & set(e)), None)
        if uncovered is None:
            best.append((spent, chosen))
            return
        for name in sorted(set(uncovered) & set(cost), key=lambda n: cost[n]):
            branch(chosen | {name}, spent + cost[name])

    branch(frozenset(), 0.0)
    if not best:
        raise Error(f"{artifact.name}: real layers that share an edge cannot be summed exactly: use method = ais")
    chosen = tuple(n for n in free if n in best[-1][1])
    states = math.prod(count_states(layers[n]) for n in chosen)
    rest = tuple(n for n in free if n not in chosen)
    return EnumerationPlan(chosen, rest, states, sum(layers[n].size for n in free))


def enumerate_states(artifact: Artifact, names: tuple[str, ...], start: int, stop: int) -> dict[str, Array]:
    """The joint states with these numbers, as statistics (stop - start, size) for each discrete layer."""
    number = np.arange(start, stop, dtype=np.int64)
    out: dict[str, Array] = {}
    for name in names:
        layer = artifact.layers[name]
        if layer.support == "one_hot":
            s = np.zeros((len(number), layer.size // layer.states, layer.states), artifact.dtype)
            for site in range(s.shape[1]):
                s[np.arange(len(number)), site, number % layer.states] = 1
                number = number // layer.states
            out[name] = s.reshape(len(s), layer.size)
        else:
            values = np.array(layer.values, artifact.dtype)
            s = np.empty((len(number), layer.size), artifact.dtype)
            for unit in range(layer.size):
                s[:, unit] = values[number % len(values)]
                number = number // len(values)
            out[name] = s
    return out


def log_sums(machine: Machine, clamped: Mapping[str, Array] | None = None, limit: int = LIMIT) -> Doubles:
    """Log of the sum over the free layers of exp(-energy), for each clamped case.

    Args:
        machine: The model with its parameters.
        clamped: Statistics (cases, size) of the clamped layers; nothing clamped gives log Z, (1,).
        limit: The most unit evaluations to spend.

    Returns:
        (cases,) float64.

    Raises:
        Error: The sum costs more than the limit, or does not close.
    """
    clamped = clamped or {}
    plan = _affordable_plan(machine, clamped, limit)
    return _log_sums(_blocks(machine, plan, clamped), _count(clamped))


def _log_sums(blocks: Iterable[_Block], cases: int) -> Doubles:
    total = np.full(cases, -np.inf)
    for block in blocks:
        if block.cases.stop - block.cases.start == len(block.log_weight):
            total[block.cases] = np.logaddexp(total[block.cases], block.log_weight)
        else:
            total[block.cases] = np.logaddexp(total[block.cases], _log_sum_exp(block.log_weight))
    return total


def exact_log_partition(machine: Machine, limit: int = LIMIT) -> float:
    """Log Z by enumeration. Raises `Error` where it costs more than the limit, with the cost."""
    return float(log_sums(machine, None, limit)[0])


def exact_statistics(
    machine: Machine,
    clamped: Mapping[str, Array] | None = None,
    weights: Doubles | None = None,
    limit: int = LIMIT,
) -> ExactStatistics:
    """Exact expectations of every statistic and product, given the clamped layers or of the model itself.

    Args:
        machine: The model with its parameters.
        clamped: Statistics (cases, size) of the clamped layers.
        weights: Case weights (cases,), any scale; equal when None.
        limit: The most unit evaluations to spend on one of two passes.

    Raises:
        Error: The sum costs more than the limit, or does not close.
    """
    clamped = clamped or {}
    kernels, artifact = machine.kernels, machine.artifact
    plan = _affordable_plan(machine, clamped, limit)
    blocks: Iterable[_Block] | None = None
    if _block_count(machine, plan, _count(clamped)) == 1:  # small enough to keep for the second pass
        blocks = list(_blocks(machine, plan, clamped))
    log_sum = _log_sums(blocks or _blocks(machine, plan, clamped), _count(clamped))
    share = np.ones(len(log_sum)) if weights is None else np.asarray(weights, np.float64)
    share = share / share.sum()
    means = {n: np.zeros((len(log_sum), artifact.layers[n].size)) for n in plan.enumerated + plan.closed}
    products = {n: np.zeros(p.shape) for n, p in machine.p.items() if artifact.parameters[n].kind == "weight"}
    for block in blocks or _blocks(machine, plan, clamped):
        weight = np.exp(block.log_weight - log_sum[block.cases])
        every = {**block.rows, **block.one}
        for name in plan.closed:
            every[name] = np.empty_like(block.fields[name])
            kernels.mean[name](machine.p, block.fields[name], block.own[name], 1.0, every[name])
        for name in means:
            rows = np.broadcast_to(every[name], (len(weight), every[name].shape[1])).astype(np.float64)
            single = block.cases.stop - block.cases.start == 1
            means[name][block.cases] += weight @ rows if single else weight[:, None] * rows
        root = np.sqrt(weight * share[block.cases])[:, None]
        scaled = {n: np.ascontiguousarray(s * root, dtype=artifact.dtype) for n, s in every.items()}
        for name, total in products.items():
            part = np.empty(total.shape, artifact.dtype)
            kernels.weight_statistics[name](scaled, 1.0, False, part)
            total += part
    return ExactStatistics(log_sum, means, products)


def _count(clamped: Mapping[str, Array]) -> int:
    return len(next(iter(clamped.values()))) if clamped else 1


def _affordable_plan(machine: Machine, clamped: Mapping[str, Array], limit: int) -> EnumerationPlan:
    artifact = machine.artifact
    if any(scale != 1 for scale in machine.scale.values()):
        raise Error(
            f"{artifact.name}: a machine with doubled inputs has no joint distribution: nothing of it is exact; "
            f"train it with negative = cd(1) or pcd(1)"
        )
    plan = plan_enumeration(artifact, frozenset(clamped) | (artifact.layers.keys() - set(machine.layers)))
    cases = _count(clamped)
    if plan.cost(cases) > limit:
        power = f"2^{math.log2(plan.states):.0f}"
        each = f" for each of {cases} cases" if cases > 1 else ""
        raise Error(
            f"{artifact.name}: an exact sum needs all {power} states of {', '.join(plan.enumerated)}{each}, about "
            f"{_seconds(plan.cost(cases))}; the limit is about {_seconds(limit)}: use annealed importance sampling "
            f"(method = ais) or smaller layers"
        )
    return plan


def _seconds(cost: int) -> str:
    """A duration in words, at a nanosecond or two a unit evaluation."""
    log_seconds = math.log10(cost) - 8.7
    for name, log_length in (("year", 7.5), ("day", 4.94), ("hour", 3.56), ("minute", 1.78)):
        if log_seconds >= log_length:
            amount = log_seconds - log_length
            number = f"{10**amount:.0f}" if amount < 4 else f"10^{amount:.0f}"
            return f"{number} {name}" + ("" if number == "1" else "s")
    return f"{max(1, round(10**log_seconds))} s"


def _chunk(machine: Machine) -> int:
    """Rows of a table."""
    return max(1, ROW_BYTES // (16 * sum(layer.size for layer in machine.artifact.layers.values())))


def _block_count(machine: Machine, plan: EnumerationPlan, cases: int) -> int:
    """How many blocks there are in all."""
    more, fewer = max(cases, plan.states), min(cases, plan.states)
    return fewer * math.ceil(more / _chunk(machine))


def _blocks(machine: Machine, plan: EnumerationPlan, clamped: Mapping[str, Array]) -> Iterator[_Block]:
    """Every case with every enumerated state, once: a table of the more numerous combined with each of the others."""
    artifact, cases, chunk = machine.artifact, _count(clamped), _chunk(machine)
    rows_are_cases = bool(clamped) and cases >= plan.states
    rows = cases if rows_are_cases else plan.states
    for start in range(0, rows, chunk):
        stop = min(start + chunk, rows)
        if rows_are_cases:
            table = _Rows(machine, plan, {n: s[start:stop] for n, s in clamped.items()}, stop - start)
            for number in range(plan.states):
                one = enumerate_states(artifact, plan.enumerated, number, number + 1)
                yield table.block(one, slice(start, stop))
        else:
            table = _Rows(machine, plan, enumerate_states(artifact, plan.enumerated, start, stop), stop - start)
            for case in range(cases):
                yield table.block({n: s[case : case + 1] for n, s in clamped.items()}, slice(case, case + 1))


class _Rows:
    """A table of joint states of some layers, with their scores and the fields that they send to closed layers."""

    def __init__(self, machine: Machine, plan: EnumerationPlan, rows: dict[str, Array], count: int) -> None:
        """`count` rows; a table may have no layers and one row."""
        self.machine, self.plan, self.rows = machine, plan, rows
        self.score = state_score(machine, rows, count)
        self.fields = {n: machine.coupling(n, rows, count) for n in plan.closed}

    def block(self, one: dict[str, Array], cases: slice) -> _Block:
        """The rows combined with one joint state of the other layers."""
        machine, dtype = self.machine, self.machine.artifact.dtype
        log_weight = self.score + state_score(machine, one, 1)[0]
        if one:
            for name, s in self.rows.items():
                log_weight += s @ machine.coupling(name, one, 1)[0].astype(np.float64)
        own = {}
        for name in self.plan.closed:
            sent = machine.coupling(name, one, 1)[0] if one else 0
            own[name] = np.ascontiguousarray(machine.own[name] + sent, dtype=dtype)
            summed = machine.kernels.log_partition[name]
            summed(machine.p, self.fields[name], own[name], 1.0, log_weight)
            log_weight -= layer_constant(machine, name)
        return _Block(self.rows, one, own, self.fields, log_weight, cases)


def state_score(machine: Machine, s: Mapping[str, Array], count: int) -> Doubles:
    """-energy of these layers alone, (count,): own fields, base energies, and the edges among them."""
    out = np.zeros(count)
    done: dict[str, Array] = {}
    for name in s:
        out += s[name] @ machine.own[name].astype(np.float64)
        if done:
            out += np.einsum("ci,ci->c", s[name], machine.coupling(name, done, count), dtype=np.float64)
        base = np.zeros(count)
        machine.kernels.base_energy[name](machine.p, s[name], base)
        out -= base
        done[name] = s[name]
    return out


def layer_constant(machine: Machine, name: str) -> float:
    """What a layer's energy has besides its base energy and its fields: b^2 / (2 sigma^2) summed, for Gaussian units.

    The kernel of the base energy adds it; every unit type's base energy is 0 where its statistic is 0.
    """
    out = np.zeros(1)
    zero = np.zeros((1, machine.artifact.layers[name].size), machine.artifact.dtype)
    machine.kernels.base_energy[name](machine.p, zero, out)
    return float(out[0])


def _log_sum_exp(x: Doubles) -> float:
    top = x.max()
    return float(top + np.log(np.exp(x - top).sum()))
