"""CSL: log-probabilities from samples of the hidden layers, conservative and without log Z.

Of S states h of the hidden layers, drawn from the model,

    log p(v) = log E p(v | h) >= E log(1/S sum_s p(v | h_s)):

on average too low, the less so the more samples there are, and far too low in models of many hidden units: few samples
lie near what a given v calls for. That the samples come from the model is taken for granted; how they start is told.

Source: Bengio, Yao and Cho (2013), "Bounding the test log-likelihood of generative models", eq. 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.estimators.evidence import Evidence, distinct, gather
from pgmdsl.runtime.estimators.starts import Start, default_start, model_states
from pgmdsl.runtime.machine import Machine, State

Array = NDArray[Any]
Doubles = NDArray[np.float64]

SAMPLES = 2000  # of the hidden layers
CASES = 500  # at a time


def conservative_weights(
    machine: Machine,
    clamped: Mapping[str, Array],
    samples: int = SAMPLES,
    seed: int = 0,
    start: Start | None = None,
    data: Mapping[str, Array] | None = None,
    means: Mapping[str, Array] | None = None,
) -> tuple[Doubles, Start]:
    """Log p(v | h) of each sample and case, (samples, cases), and how the samples started.

    Args:
        machine: The model with its parameters.
        clamped: Statistics (cases, size) of all visible layers, complete, and of given ones.
        samples: How many for each value that the given layers and the documents' lengths take.
        seed: Of all draws.
        start: See `starts.model_states`.
        data: Statistics of training cases that samples may start from.
        means: Mean statistics (size,) of layers.

    Raises:
        Error: visible units share an edge, so that p(v | h) does not factorise, or some visible layer is left out.
    """
    visible = [n for n in machine.layers if machine.artifact.layers[n].role == "visible"]
    if absent := [n for n in visible if n not in clamped]:
        raise Error(
            f"{machine.artifact.name}: method = csl needs values of all visible layers; give {', '.join(absent)}"
        )
    if not machine.independent(visible):
        raise Error(
            f"{machine.artifact.name}: units of {', '.join(visible)} share an edge, so that p of them given the hidden "
            "layers does not factorise: use method = ais"
        )
    evidence = gather(machine, clamped)
    given = {n: x for n, x in clamped.items() if n in machine.given}
    condition = gather(machine, given or None, lengths=evidence.lengths)
    different, which = distinct(condition)
    out = np.empty((samples, evidence.cases))
    start = start or default_start(different.take(slice(0, 1)), data)
    for number in range(different.cases):
        one = different.take(slice(number, number + 1))
        s = model_states(one, samples, start, seed, ("csl", number), data, means)
        cases = np.flatnonzero(which == number) if condition.cases > 1 else np.arange(evidence.cases)
        hidden = {n: x for n, x in s.items() if n not in visible}
        for first in range(0, len(cases), CASES):
            rows = cases[first : first + CASES]
            out[:, rows] = _log_conditional(evidence.take(rows), visible, hidden)
    return out, start


def _log_conditional(evidence: Evidence, visible: list[str], hidden: State) -> Doubles:
    """Log p(v | h) of all pairs of a hidden state and a case, (samples, cases): s.f - base - A(f) for each layer."""
    machine, samples = evidence.machine, len(next(iter(hidden.values())))
    out = np.zeros((samples, evidence.cases))
    for name in visible:
        x = evidence.known[name]
        trials = (np.full(samples, evidence.lengths[name][0]),) if name in evidence.lengths else ()
        own = evidence.own(name)
        own = np.ascontiguousarray(own if own.ndim == 1 else own[0])
        field, base, partition = machine.coupling(name, hidden, samples), np.zeros(len(x)), np.zeros(samples)
        machine.kernels.base_energy[name](machine.p, x, base)
        machine.kernels.log_partition[name](machine.p, field, own, 1.0, partition, *trials)
        out += (field + own).astype(np.float64) @ x.T.astype(np.float64)
        out -= partition[:, None] + (base - machine.constant(name))
    return out
