"""Log-probabilities of cases in models with directed edges: bounded by recognition, or summed exactly where small.

With q(h | v) the pass up, which draws the hidden parents, and all else hidden summed out of the core,

    log p(v) >= E_q[ log p(v, h) - log q(h | v) ],     log p(v, h) = log p*(core) - log Z + sum log p(child | parents).

The expectation is the mean over drawn h, an unbiased estimate of the bound. Missing entries of children are summed out,
as given their parents they are independent.

Source: Hinton, Osindero and Teh (2006), eq. 8; Salakhutdinov (2015), eq. 24.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.belief import BeliefNet
from pgmdsl.runtime.estimators.bound import bound_of
from pgmdsl.runtime.estimators.evidence import Evidence, gather
from pgmdsl.runtime.estimators.exact import LIMIT, cost_of_sums, sums_of
from pgmdsl.runtime.estimators.states import States, count_states
from pgmdsl.runtime.machine import State

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
    """Whether the hidden parents have few enough states to be summed over."""
    net = _net(evidence)
    counts = [count_states(net.artifact.layers[n]) for n in _hidden_parents(evidence)]
    return all(c is not None for c in counts) and math.prod(c or 1 for c in counts) <= MOST_STATES


def exact_sums(evidence: Evidence) -> Doubles:
    """The log of the sum over all that is hidden of p*, (cases,): over the states of the hidden parents one by one."""
    net, out = _net(evidence), np.full(evidence.cases, -np.inf)
    states = States(net.artifact, _hidden_parents(evidence))
    s = _completed(evidence)
    for number in range(states.count):
        for name, x in states.take(number, number + 1)[0].items():
            s[name][:] = x
        out = np.logaddexp(out, log_joint(evidence, s))
    return out


def log_joint(evidence: Evidence, s: State) -> Doubles:
    """Log p* of a state of the hidden parents with what is known, all else summed out, (cases,)."""
    net = _net(evidence)
    parents = _hidden_parents(evidence)
    known = {n: s[n] for n in net.core.layers if n in evidence.known or n in parents}
    held = {n: ~mask for n, mask in evidence.missing.items() if n in net.core.layers}
    core = gather(net.core, known, held, {n: x for n, x in evidence.lengths.items() if n in net.core.layers})
    cost = cost_of_sums(core)
    cheap = cost is not None and cost.evaluations <= LIMIT // 10
    out = sums_of(core) if cheap else bound_of(core).log_weight
    for name, machine in net.children.items():
        if name in evidence.missing:
            here = {n: s[n] for n in machine.layers}
            part = gather(machine, here, {name: ~evidence.missing[name]})
            whole = np.zeros(evidence.cases)
            field = machine.coupling(name, {n: s[n] for n in machine.given}, evidence.cases)
            machine.add_log_partition(name, field, here, whole)
            out = out + sums_of(part) - (whole - machine.constant(name))
        elif name in evidence.known or name in parents:
            out = out + net.log_conditional(machine, name, s)
        elif net.below(name):
            raise Error(
                f"{name} is not observed, and nothing says how it follows from what is below: give its values, or "
                "declare it hidden, with a recognition edge"
            )
    return np.asarray(out)


def _net(evidence: Evidence) -> BeliefNet:
    net = evidence.machine
    assert isinstance(net, BeliefNet), "of models with directed edges only"
    return net


def _hidden_parents(evidence: Evidence) -> tuple[str, ...]:
    """The layers that the pass up draws."""
    return tuple(n for n in _net(evidence).recognition if n not in evidence.known)


def _completed(evidence: Evidence) -> State:
    """Statistics of all layers: what is known, missing entries at what units without parents would be."""
    net = _net(evidence)
    s = net.new_state(evidence.cases)
    for name, x in evidence.known.items():
        s[name][:] = x
    net.fill_missing(s, {n: ~mask for n, mask in evidence.missing.items()})
    return s
