"""How well chains have mixed: R-hat and effective sample size, as ArviZ defines them.

Of draws (chains, draws) of one quantity, each chain split in two, ranks among all are made normal,
z = Phi^-1((rank - 3/8) / (count + 1/4)); of z

    R-hat = sqrt(((n - 1)/n W + B/n) / W),    W, B the variances within and between chains,

the larger of that of z and of that of |draw - median|, made normal likewise. The bulk effective sample size is that of
z, count / (1 + 2 sum of autocorrelations), by Geyer's initial monotone sequence.

Source: Vehtari, Gelman, Simpson, Carpenter and Buerkner (2021), "Rank-normalization, folding, and localization: an
improved R-hat", eqs. 1-14; Geyer (1992).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

MOST_R_HAT = 1.01  # without a warning (Vehtari et al. 2021, section 4.3)
LEAST_DRAWS = 4  # of a chain, below which nothing can be said


@dataclass(frozen=True, slots=True)
class Mixing:
    """R-hat and bulk effective sample size of one quantity over `draws` draws in all."""

    r_hat: float
    effective_sample_size: float
    draws: int

    @property
    def known(self) -> bool:
        """Whether there are draws enough, and not all alike."""
        return not math.isnan(self.r_hat)

    @property
    def warning(self) -> str | None:
        """What is wrong, in words, or None."""
        if not self.known or self.r_hat <= MOST_R_HAT:
            return None
        return (
            f"the chains have not mixed: R-hat is {self.r_hat:.3f}, and the {self.draws} draws are worth "
            f"{self.effective_sample_size:.0f} independent ones; take a longer burn and thin more"
        )


def mixing(draws: Doubles) -> Mixing:
    """R-hat and bulk effective sample size of draws (chains, draws); NaN where they are few or constant."""
    return Mixing(r_hat(draws), bulk_ess(draws), draws.size)


def r_hat(draws: Doubles) -> float:
    """The rank-normalised split R-hat, (chains, draws)."""
    if draws.shape[1] < LEAST_DRAWS or not np.isfinite(draws).all():
        return math.nan
    halves = _split(draws)
    folded = np.abs(halves - np.median(halves))
    return max(_r_hat(_normal_ranks(halves)), _r_hat(_normal_ranks(folded)))


def bulk_ess(draws: Doubles) -> float:
    """The bulk effective sample size, (chains, draws)."""
    if draws.shape[1] < LEAST_DRAWS or not np.isfinite(draws).all():
        return math.nan
    return _ess(_normal_ranks(_split(draws)))


def _split(draws: Doubles) -> Doubles:
    """Each chain as two, the middle draw of an odd number left out."""
    half = draws.shape[1] // 2
    return np.asarray(np.concatenate([draws[:, :half], draws[:, -half:]]), np.float64)


def _normal_ranks(x: Doubles) -> Doubles:
    from scipy.special import ndtri
    from scipy.stats import rankdata

    rank = rankdata(x, method="average").reshape(x.shape)
    return np.asarray(ndtri((rank - 0.375) / (x.size + 0.25)))


def _r_hat(z: Doubles) -> float:
    n = z.shape[1]
    within = float(z.var(axis=1, ddof=1).mean())
    if within == 0:
        return math.nan
    between = float(z.mean(axis=1).var(ddof=1))
    return math.sqrt((n - 1) / n + between / within)


def _ess(z: Doubles) -> float:
    chains, n = z.shape
    if np.ptp(z) < 1e-10:
        return float(z.size)
    covariance = _autocovariances(z)
    within = float(covariance[:, 0].mean()) * n / (n - 1)
    plus = within * (n - 1) / n + (float(z.mean(axis=1).var(ddof=1)) if chains > 1 else 0.0)
    rho = 1 - (within - covariance.mean(axis=0)) / plus
    even, odd, lag = 1.0, float(rho[1]), 1
    pairs = [even + odd]  # sums of neighbouring autocorrelations, as long as they are positive
    while lag < n - 3 and even + odd > 0:
        even, odd = float(rho[lag + 1]), float(rho[lag + 2])
        pairs.append(even + odd)
        lag += 2
    kept = np.minimum.accumulate(pairs[: (lag - 1) // 2] or [0.0])  # and made to fall
    tail = even if even > 0 or even + odd >= 0 else 0.0
    tau = max(-1 + 2 * float(kept.sum()) + tail, 1 / math.log10(z.size))
    return z.size / tau


def _autocovariances(z: Doubles) -> Doubles:
    """Of each chain, at every lag, (chains, draws), by the fast Fourier transform."""
    from scipy.fft import irfft, next_fast_len, rfft

    n = z.shape[1]
    size = next_fast_len(2 * n)
    power = np.abs(rfft(z - z.mean(axis=1, keepdims=True), size, axis=1)) ** 2
    return np.asarray(irfft(power, size, axis=1)[:, :n] / n)
