"""Draws from the mean-field posterior, weighed: a bound on log-probabilities that tightens with the number of draws.

Of the latent layers some, x, are drawn from q, the mean-field posterior, so that the others close given them:

    w = f(v, x) / q(x),    f(v, x) = the sum over all other latent layers of exp(-energy)
    log p(v) = log E_q[w] - log Z >= E log(1/K sum_k w_k) - log Z >= E_q[log w] - log Z,

where the middle rises with K and the last is the variational bound (or more, as only x is drawn). In belief nets x are
the hidden parents, and q the pass up. Where nothing has to be drawn the first equation is the free energy.

Source: Burda, Grosse and Salakhutdinov (2016), "Importance weighted autoencoders", theorem 1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.belief import BeliefNet
from pgmdsl.runtime.estimators.annealing import Words
from pgmdsl.runtime.estimators.bound import bound_of
from pgmdsl.runtime.estimators.evidence import Evidence
from pgmdsl.runtime.estimators.exact import sums_of
from pgmdsl.runtime.estimators.plan import plan_enumeration
from pgmdsl.runtime.estimators.recognition import log_weights
from pgmdsl.runtime.estimators.states import Free
from pgmdsl.runtime.machine import Machine, State
from pgmdsl.runtime.random import stream_key

Array = NDArray[Any]
Doubles = NDArray[np.float64]

SAMPLES = 50  # draws for each case
CASES = 500  # at a time


def importance_weights(evidence: Evidence, samples: int = SAMPLES, seed: int = 0) -> Doubles:
    """Log w of each draw, (samples, cases), to which -log Z is to be added.

    Raises:
        Error: a layer that lacks some of its values would have to be drawn.
    """
    if isinstance(evidence.machine, BeliefNet):
        return log_weights(evidence, samples, seed)
    parts = []
    for start in range(0, evidence.cases, CASES):
        part = evidence.take(slice(start, start + CASES))
        posterior = Posterior(part)
        parts.append(np.stack([posterior.draw(seed, ("importance", start, k))[1] for k in range(samples)]))
    return np.concatenate(parts, axis=1)


def layers_to_draw(evidence: Evidence) -> tuple[str, ...]:
    """The latent layers that are drawn: the cheapest to enumerate so that the others close, or all where none do."""
    machine = evidence.machine
    whole = frozenset(evidence.known.keys() - evidence.missing.keys())
    latent = [n for n in machine.layers if n not in whole]
    words = {n: 1 for n in evidence.lengths if n in latent}
    try:
        plan = plan_enumeration(machine.artifact, whole, Free({}, words), machine.layers)
    except Error:
        drawn = tuple(latent)
    else:
        drawn = plan.enumerated + plan.joint
    partly = [n for n in drawn if n in evidence.known]
    if partly:
        raise Error(f"values of {partly[0]} are missing that cannot be summed out together with the hidden layers")
    return drawn


class Posterior:
    """The mean-field posterior of the layers that are drawn, for some cases."""

    def __init__(self, evidence: Evidence) -> None:
        """Find it by mean field."""
        self.evidence, self.machine = evidence, evidence.machine
        self.drawn = layers_to_draw(evidence)
        self.fields: State = {}
        if self.drawn:
            means = dict(evidence.known) | dict(bound_of(evidence).means)
            ordered = {n: means[n] for n in self.machine.layers if n in means}
            for name in self.drawn:
                field = self.machine.coupling(name, ordered, evidence.cases) + evidence.own(name)
                self.fields[name] = np.ascontiguousarray(field, self.machine.dtype)

    def draw(self, seed: int, words: Words) -> tuple[State, Doubles]:
        """One state of the drawn layers for each case, (cases, size) by layer, and log w, (cases,)."""
        machine, evidence = self.machine, self.evidence
        log_q, s = np.zeros(evidence.cases), {}
        for name, own in self.fields.items():
            trials = (np.ascontiguousarray(evidence.lengths[name]),) if name in evidence.lengths else ()
            x, zero = np.zeros_like(own), np.zeros_like(own)
            machine.kernels.sample[name](machine.p, zero, own, 0.0, stream_key(seed, *words, name), x, *trials)
            log_q += log_probability(machine, name, x, own, trials)
            s[name] = x
        either = {n: evidence.known.get(n, s.get(n)) for n in machine.layers}
        known = {n: x for n, x in either.items() if x is not None}
        return s, sums_of(replace(evidence, known=known)) - log_q

    def complete(self, s: State, seed: int, words: Words) -> State:
        """The states of all layers: what is known, what was drawn, and the rest drawn given both."""
        machine, evidence = self.machine, self.evidence
        above = {n: evidence.known.get(n, s.get(n)) for n in machine.layers}
        present = {n: x for n, x in above.items() if x is not None}
        out = dict(present)
        for name in machine.layers:
            if name not in out:
                field = machine.coupling(name, present, evidence.cases)
                own = np.ascontiguousarray(np.broadcast_to(evidence.own(name), field.shape))
                trials = (np.ascontiguousarray(evidence.lengths[name]),) if name in evidence.lengths else ()
                key = stream_key(seed, *words, name)
                out[name] = np.zeros_like(field)
                machine.kernels.sample[name](machine.p, field, own, 1.0, key, out[name], *trials)
        return out


def log_probability(machine: Machine, layer: str, x: Array, field: Array, trials: tuple[Array, ...]) -> Doubles:
    """The log-probability of a layer's state if its units are independent and have these fields, (cases,).

    field s - base - A(field); of documents that of the words in their order.
    """
    out: Doubles = np.einsum("ci,ci->c", x, field, dtype=np.float64)
    base, partition = np.zeros(len(x)), np.zeros(len(x))
    machine.kernels.base_energy[layer](machine.p, x, base)
    machine.kernels.log_partition[layer](machine.p, np.zeros_like(field), field, 1.0, partition, *trials)
    return np.asarray(out - (base - machine.constant(layer)) - partition)


def log_mean_exp(x: Doubles) -> Doubles:
    """The logarithm of the mean of exponentials along the first axis."""
    top = x.max(axis=0)
    return np.asarray(top + np.log(np.exp(x - top).mean(axis=0)))


def effective_sizes(log_weight: Doubles) -> Doubles:
    """The effective sample size along the first axis, for each of the second."""
    weight = np.exp(log_weight - log_weight.max(axis=0))
    return np.asarray(weight.sum(axis=0) ** 2 / (weight**2).sum(axis=0))
