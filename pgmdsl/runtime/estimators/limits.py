"""From the weights of annealed chains to log Z: value, standard error, 95% limits, effective sample size.

Weights w of chains from the base have E[w] = Z / Z_base, so that the logarithm of their mean lies below log Z on
average (Jensen's inequality), and above log Z + b with probability exp(-b) at most (Markov's). Of chains that go back
from exact draws of the model E[1/w] = Z_base / Z, and the same holds the other way round.

The standard error of the log of a mean is that of the mean over the mean. Weights are skewed, however, and the usual
interval then lies too low; Hall's takes the skewness out before it goes out on both sides:

    T = sqrt(n) (m - mean) / s,     g(T) = T + k T^2 / 3 + k^2 T^3 / 27 + k / 6,     k = skewness / sqrt(n)

is normal to second order. T = g^-1(+-z) bounds the mean, with z the quantile of Student's t with as many degrees of
freedom as the effective sample size has. Where few chains carry most of the weight no such interval can be trusted:
then the limit on one side is Markov's, and there is none on the other. Backward weights have the heavier tails, as a
state that is rare in the model may be the one that counts, and are trusted less.

Bennett's ratio uses forward and backward chains at once: with l the forward log weight of a path, by either direction,
d = log Z - log Z_base solves

    sum over forward paths of sigmoid(l - d + c) = sum over backward paths of sigmoid(d - l - c),    c = log(n_b / n_f),

and its variance is 1 / sum over all paths of p (1 - p) - 1/n_f - 1/n_b, p = sigmoid(l - d + c).

Source: Hall (1992), "On the removal of skewness by transformation", eq. 4; Grosse, Ghahramani and Adams (2015),
"Sandwiching the marginal likelihood using bidirectional Monte Carlo", section 3; Bennett (1976); Meng and Wong (1996);
Shirts, Bair, Hooker and Pande (2003), eqs. 8 and 10.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

NORMAL = 1.959963985  # 95% of a normal distribution lie within so many standard deviations
MARKOV = math.log(40)  # 2.5%: a positive number exceeds its mean 40 times with that probability at most
# The least effective sample size at which intervals are trusted: as a share of the chains, of forward and of backward
# ones, and as a number. Chosen on other random models than those that benchmarks/intervals.py measures coverage with.
TRUSTED_FORWARD, TRUSTED_BACKWARD, TRUSTED_SIZE = 0.2, 0.5, 10.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """The logarithm of a ratio of normalisers, with its standard error and 95% limits.

    `effective`: the effective sample size, (sum w)^2 / sum w^2.
    """

    value: float
    standard_error: float
    lower: float
    upper: float
    effective: float


def log_mean(log_weight: Doubles, trusted: float = TRUSTED_FORWARD) -> Estimate:
    """The logarithm of the mean of weights whose mean is the ratio wanted.

    Args:
        log_weight: Of the chains, (chains,).
        trusted: The share of the chains that the effective sample size must have for an interval.
    """
    from scipy.special import stdtrit

    count, top = len(log_weight), float(log_weight.max())
    weight = np.exp(log_weight - top)
    mean, deviation = float(weight.mean()), float(weight.std(ddof=1))
    value, error = top + math.log(mean), deviation / mean / math.sqrt(count)
    effective = effective_size(log_weight)
    if effective < max(trusted * count, min(TRUSTED_SIZE, count / 2)):
        return Estimate(value, error, value - MARKOV, math.inf, effective)
    skewness = float(((weight - mean) ** 3).mean()) / deviation**3 if deviation > 0 else 0.0
    k, z = skewness / math.sqrt(count), float(stdtrit(max(effective - 1, 1.0), 0.975))
    below, above = (1 - error * _inverse(k, side * z) for side in (1, -1))
    lower = top + math.log(mean * below) if below > 0 else -math.inf
    return Estimate(value, error, max(lower, value - MARKOV), top + math.log(mean * above), effective)


def log_inverse_mean(log_weight: Doubles) -> Estimate:
    """The logarithm of one over the mean of weights whose mean is one over the ratio wanted."""
    found = log_mean(log_weight, TRUSTED_BACKWARD)
    return Estimate(-found.value, found.standard_error, -found.upper, -found.lower, found.effective)


def _inverse(k: float, z: float) -> float:
    """T with T + k T^2 / 3 + k^2 T^3 / 27 + k / 6 = z."""
    if abs(k) < 1e-9:
        return z
    return float(np.cbrt(1 + k * (z - k / 6)) - 1) * 3 / k


def effective_size(log_weight: Doubles) -> float:
    """(sum w)^2 / sum w^2."""
    weight = np.exp(log_weight - log_weight.max())
    return float(weight.sum() ** 2 / (weight**2).sum())


def bridge(forward: Doubles, backward: Doubles) -> Estimate:
    """Bennett's estimate from the forward log weights of paths that ran forwards, and of paths that ran backwards."""
    from scipy.optimize import brentq
    from scipy.special import expit

    n, m = len(forward), len(backward)
    shift = math.log(m / n)

    def excess(d: float) -> float:
        return float(expit(forward - d + shift).sum() - expit(d - backward - shift).sum())

    low, high = (f(f(forward), f(backward)) for f in (min, max))
    margin = 1.0 + abs(shift)
    while excess(low - margin) < 0 or excess(high + margin) > 0:
        margin *= 2
    value = float(brentq(excess, low - margin, high + margin, xtol=1e-12))
    p = expit(np.concatenate([forward, backward]) - value + shift)
    information = float((p * (1 - p)).sum())
    variance = 1 / information - 1 / n - 1 / m if information > 0 else math.inf
    error = math.sqrt(max(variance, 0.0))
    effective = min(effective_size(forward) / n, effective_size(-backward) / m) * (n + m)
    return Estimate(value, error, value - NORMAL * error, value + NORMAL * error, effective)
