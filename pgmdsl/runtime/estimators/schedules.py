"""Inverse temperatures of annealing: a schedule that serves without knowing the model, and one fitted to it.

Over a stretch j of a schedule, n_j steps, the logarithms of the chains' weights change by amounts with variance V_j. As
long as steps are small, V_j is inversely proportional to n_j, whatever the chains' autocorrelation; with N steps in all
the variance sum_j V_j n_j / m_j is least for

    m_j proportional to sqrt(V_j n_j),        and is then (sum_j sqrt(V_j n_j))^2 / N,

which is the thermodynamic length's square over N. A short run measures V_j; stretches are then given their steps.

Source: Neal (2001), section 4 (variance inversely proportional to the number of steps); Crooks (2007), "Measuring
thermodynamic length" (constant speed is best); Grosse, Maddison and Salakhutdinov (2013), section 4.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error

Doubles = NDArray[np.float64]

SEGMENTS = ((0.5, 500), (0.9, 3500), (1.0, 10500))  # shares of the temperatures up to each inverse temperature
STRETCHES = 25  # in which variances are measured
EVEN = 0.2  # share of the steps that are spread as in the schedule measured, lest a stretch be left with none


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


def stretches(steps: int) -> NDArray[np.int64]:
    """The ends of the stretches of so many steps: step numbers from 0 to `steps`."""
    return np.unique(np.linspace(0, steps, min(STRETCHES, steps) + 1).round().astype(np.int64))


def steps_needed(betas: Doubles, variance: Doubles, target: float) -> float:
    """How many steps give the logarithms of the weights this variance, if they are spread best.

    Args:
        betas: The schedule measured, (steps + 1,).
        variance: V_j of each of its stretches.
        target: The variance wanted.
    """
    counts = np.diff(stretches(len(betas) - 1))
    return float(np.sqrt(variance * counts).sum() ** 2 / target)


def respaced(betas: Doubles, variance: Doubles, steps: int) -> Doubles:
    """A schedule of so many steps, spread so that every step adds as much variance; arguments as `steps_needed`."""
    ends = stretches(len(betas) - 1)
    counts = np.diff(ends)
    weight = np.sqrt(variance * counts)
    share = EVEN * counts / counts.sum() + (1 - EVEN) * weight / max(float(weight.sum()), 1e-300)
    reached = np.concatenate([[0.0], np.cumsum(share / share.sum())])  # the share of steps at each end
    at = np.interp(np.linspace(0, 1, steps + 1), reached, ends.astype(np.float64))
    out = np.interp(at, np.arange(len(betas), dtype=np.float64), betas)
    out[0], out[-1] = 0.0, 1.0
    return np.asarray(out)
