"""Log-probabilities of cases in models with directed edges: bounded by recognition, or summed exactly where small.

With q(h | v) the pass up, which draws the hidden parents, and all else hidden summed out of the core,

    log p(v) >= E_q[ log p(v, h) - log q(h | v) ],     log p(v, h) = log p*(core) - log Z + sum log p(child | parents).

The expectation is the mean over drawn h, an unbiased estimate of the bound. Missing entries of layers without children
are summed out, as given the parents they are independent; those of visible parents only state by state.

Source: Hinton, Osindero and Teh (2006), eq. 8; Salakhutdinov (2015), eq. 24.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.belief import BeliefNet
from pgmdsl.runtime.estimators.bound import bound_of
from pgmdsl.runtime.estimators.evidence import Evidence, gather
from pgmdsl.runtime.estimators.exact import LIMIT, cost_of_sums, sums_of
from pgmdsl.runtime.estimators.states import States, count_states
from pgmdsl.runtime.machine import State

Array = NDArray[Any]
Doubles = NDArray[np.float64]
SAMPLES = 20  # of the pass up, for each case
MOST_STATES = 2**16  # of the hidden parents, that are summed over
CASES = 500  # at a time


def log_weights(evidence: Evidence, samples: int = SAMPLES, seed: int = 0) -> Doubles:
    """Log p*(v, h) - log q(h | v) at draws of the pass up, (samples, cases), to which -log Z is to be added."""
    net = _net(evidence)
    parts = []
    for start in range(0, evidence.cases, CASES):
        part = evidence.take(slice(start, start + CASES))
        known = [n for n in net.recognition if n in part.known]
        rows = []
        for number in range(samples):
            s = _completed(part)
            net.pass_up(s, seed, ("recognise", start, number), known)
            rows.append(log_joint(part, s) - net.log_recognition(s, known))
        parts.append(np.stack(rows))
    return np.concatenate(parts, axis=1)


def is_small(evidence: Evidence) -> bool:
    """Whether the latent parents have few enough states to be summed over, and what is left of the core closes."""
    net = _net(evidence)
    counts = [count_states(net.artifact.layers[n]) for n in _latent_parents(evidence)]
    few = all(c is not None for c in counts) and math.prod(c or 1 for c in counts) <= MOST_STATES
    whole = _with_parents(evidence, _completed(evidence))
    return few and _is_cheap(_core(whole, whole.known))


def exact_sums(evidence: Evidence) -> Doubles:
    """The log of the sum over all that is latent of p*, (cases,): over the states of the latent parents one by one."""
    net, out = _net(evidence), np.full(evidence.cases, -np.inf)
    states = States(net.artifact, _latent_parents(evidence))
    s = _completed(evidence)
    whole = _with_parents(evidence, s)
    for number in range(states.count):
        possible = np.ones(evidence.cases, bool)
        for name, x in states.take(number, number + 1)[0].items():
            s[name][:] = x
            if name in evidence.missing:
                possible &= (evidence.missing[name] | (s[name] == evidence.known[name])).all(axis=1)
        out = np.where(possible, np.logaddexp(out, log_joint(whole, s)), out)
    return out


def log_joint(evidence: Evidence, s: State) -> Doubles:
    """Log p* of a state of the hidden parents with what is known, all else summed out, (cases,)."""
    net = _net(evidence)
    if lacking := parents_lacking(evidence):
        name = lacking[0]
        raise Error(
            f"values of {name} are missing, on which {net.below(name)[0]} depends, and there are too many states to "
            f"sum over: give all values of {name}"
        )
    core = _core(evidence, s)
    out = sums_of(core) if _is_cheap(core) else bound_of(core).log_weight
    for name, machine in net.children.items():
        if name in evidence.missing:
            here = {n: s[n] for n in machine.layers}
            part = gather(machine, here, {name: ~evidence.missing[name]})
            whole = np.zeros(evidence.cases)
            field = machine.coupling(name, {n: s[n] for n in machine.given}, evidence.cases)
            machine.add_log_partition(name, field, here, whole)
            out = out + sums_of(part) - (whole - machine.constant(name))
        elif name in evidence.known or name in net.recognition:
            out = out + net.log_conditional(machine, name, s)
    return np.asarray(out)


def parents_lacking(evidence: Evidence) -> tuple[str, ...]:
    """The latent parents that no pass up draws: visible ones that lack values."""
    drawn = [n for n in _net(evidence).recognition if n not in evidence.known]
    return tuple(n for n in _latent_parents(evidence) if n not in drawn)


def _core(evidence: Evidence, s: Mapping[str, Array]) -> Evidence:
    """What is known of the core, the latent parents being in this state."""
    core, parents = _net(evidence).core, _latent_parents(evidence)
    known = {n: s[n] for n in core.layers if n in evidence.known or n in parents}
    held = {n: ~mask for n, mask in evidence.missing.items() if n in core.layers}
    return gather(core, known, held, {n: x for n, x in evidence.lengths.items() if n in core.layers})


def _is_cheap(core: Evidence) -> bool:
    cost = cost_of_sums(core)
    return cost is not None and cost.evaluations <= LIMIT // 10


def _net(evidence: Evidence) -> BeliefNet:
    net = evidence.machine
    assert isinstance(net, BeliefNet), "of models with directed edges only"
    return net


def _latent_parents(evidence: Evidence) -> tuple[str, ...]:
    """The layers with children of which something is latent: hidden ones, and visible ones that lack values."""
    net = _net(evidence)
    return tuple(n for n in net.layers if net.below(n) and (n not in evidence.known or n in evidence.missing))


def _with_parents(evidence: Evidence, s: State) -> Evidence:
    """The same evidence with the latent parents known: as they stand in `s`, which may change."""
    parents = _latent_parents(evidence)
    known = {**evidence.known, **{n: s[n] for n in parents}}
    return replace(evidence, known=known, missing={n: m for n, m in evidence.missing.items() if n not in parents})


def _completed(evidence: Evidence) -> State:
    """Statistics of all layers: what is known, missing entries at what units without parents would be."""
    net = _net(evidence)
    s = net.new_state(evidence.cases)
    for name, x in evidence.known.items():
        s[name][:] = x
    net.fill_missing(s, {n: ~mask for n, mask in evidence.missing.items()})
    return s
