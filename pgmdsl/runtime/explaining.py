"""Gibbs sampling of layers with children, unit by unit: children make their parents depend on each other.

The log-odds of a unit's states x are those of its own factor, f s(x) - base(x), plus what its children make of it:
with field g without this unit's share and w its weights,

    sum over children's units of  t (g + w s(x)) - A(g + w s(x)),       t the child's statistic.

Units of finitely many states are drawn from these probabilities; others by an independence Metropolis step whose
proposal is their own factor, accepted by the ratio of the children's probabilities.

Source: Neal (1992), "Connectionist learning of belief networks", eq. 6; Hastings (1970).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.machine import Machine, State
from pgmdsl.runtime.random import stream_key, uniforms

if TYPE_CHECKING:
    from pgmdsl.runtime.belief import BeliefNet

Array = NDArray[Any]
Doubles = NDArray[np.float64]


def draw_parents(
    net: BeliefNet, name: str, field: Array, s: State, key: np.uint64, held: NDArray[np.bool_] | None
) -> None:
    """The units of a layer in turn, in place, each given all others.

    Args:
        net: the model.
        name: the layer, which has children.
        field: (cases, size) its coupling field in its own factor, which follows as lateral edges ask.
        s: the state of all layers.
        key: of the random numbers.
        held: (cases, size) the entries to leave as they are.
    """
    layer, machine = net.artifact.layers[name], net.factor(name)
    children = [Child(net.children[child], child, name, s) for child in net.below(name)]
    lateral = _lateral(machine, name)
    candidates = _candidates(machine, name)
    cases, units = len(field), layer.size // layer.states
    numbers = uniforms(key, 2 * cases * units).reshape(2, units, cases)
    proposal = None
    if candidates is None:
        if lateral is not None:
            raise Error(
                f"{name} has units of unlimited range, lateral edges and children at once: it is not sampled here; "
                "make it binary, spin or softmax"
            )
        proposal = s[name].copy()
        machine.sample(name, field, stream_key(int(key), "proposal"), proposal, s=s)
    own = machine.own_in(name, s) * np.ones_like(field)
    for unit in range(units):
        at = slice(unit * layer.states, (unit + 1) * layer.states)
        before = s[name][:, at].copy()
        if candidates is None:
            assert proposal is not None
            new = _metropolis(children, before, proposal[:, at], at, numbers[:, unit])
        else:
            states, base = candidates
            f = own[:, at] + machine.dtype.type(machine.scale[name]) * field[:, at]
            new = _gibbs(children, before, states[:, :, at], f, base[:, unit], at, numbers[0, unit])
        if held is not None:
            new = np.where(held[:, at], before, new)
        s[name][:, at] = new
        change = new - before
        for child in children:
            child.follow(change, at)
        if lateral is not None:
            field += change @ lateral[at]


def _gibbs(
    children: list[Child], before: Array, states: Array, f: Array, base: Doubles, at: slice, u: Doubles
) -> Array:
    """One unit (site) of each case, drawn from the probabilities of its states."""
    odds = np.stack([f @ x.ravel() - b for x, b in zip(states, base, strict=True)], axis=1).astype(np.float64)
    for k, x in enumerate(states):
        change = x - before
        for child in children:
            odds[:, k] += child.log_probability(change, at)
    odds -= odds.max(axis=1, keepdims=True)
    levels = np.cumsum(np.exp(odds), axis=1)
    chosen = (u[:, None] * levels[:, -1:] >= levels).sum(axis=1)
    return np.asarray(states[np.minimum(chosen, len(states) - 1), 0])


def _metropolis(children: list[Child], before: Array, proposed: Array, at: slice, u: NDArray[np.float64]) -> Array:
    """One unit of each case: the proposal of its own factor where the children accept it."""
    change = proposed - before
    ratio = np.zeros(len(before))
    for child in children:
        ratio += child.log_probability(change, at) - child.log_probability(np.zeros_like(change), at)
    return np.where((np.log(u[0]) < ratio)[:, None], proposed, before)


class Child:
    """A child's probability as one unit of a parent changes: its field follows that unit."""

    def __init__(self, machine: Machine, name: str, parent: str, s: State) -> None:
        """The child's field at the state."""
        self.machine, self.name, self.s = machine, name, s
        given = {n: s[n] for n in machine.given}
        self.field = machine.coupling(name, given, len(s[name]))
        self.weight = np.zeros((s[name].shape[1], s[parent].shape[1]), machine.dtype)
        for edge in machine.edges:
            if parent in edge.layers:
                self.weight += machine.p[edge.weight] if edge.layers[0] == name else machine.p[edge.weight].T
        self.known = {name: s[name]}

    def log_probability(self, change: Array, at: slice) -> Doubles:
        """Log p(child | parents) but for what the parent does not change, (cases,)."""
        field = np.ascontiguousarray(self.field + change @ self.weight[:, at].T, self.machine.dtype)
        normaliser = np.zeros(len(field))
        self.machine.add_log_partition(self.name, field, self.known, normaliser)
        return np.asarray(np.einsum("ci,ci->c", self.s[self.name], field, dtype=np.float64) - normaliser)

    def follow(self, change: Array, at: slice) -> None:
        """Take in that the unit has changed."""
        self.field += change @ self.weight[:, at].T


def _lateral(machine: Machine, name: str) -> Array | None:
    """The sum of a layer's lateral weights, (size, size)."""
    found = [machine.p[e.weight] for e in machine.edges if e.lateral and e.layers[0] == name]
    return np.asarray(sum(found)) if found else None


def _candidates(machine: Machine, name: str) -> tuple[Array, Doubles] | None:
    """The states of a layer's units, (states, 1, size) as statistics, and base energies (states, units).

    Base energies are relative to the first state. None where there are infinitely many states.
    """
    layer = machine.artifact.layers[name]
    if layer.support == "one_hot":
        states = np.tile(np.eye(layer.states), layer.size // layer.states)[:, None]
        return states.astype(machine.dtype), np.zeros((layer.states, layer.size // layer.states))
    if not layer.values:
        return None
    x = np.ascontiguousarray(np.repeat(np.array(layer.values)[:, None], layer.size, axis=1), machine.dtype)
    statistics = np.ascontiguousarray(machine.kernels.statistic[name](machine.p, x), machine.dtype)
    base = np.empty((len(x), layer.size))
    for k, row in enumerate(statistics):
        each = np.repeat(
            statistics[:1], layer.size, axis=0
        )  # a case for each unit, the others being in the first state
        np.fill_diagonal(each, row)
        base[k] = 0
        machine.kernels.base_energy[name](machine.p, each, base[k])
    return statistics[:, None], base - base[0]
