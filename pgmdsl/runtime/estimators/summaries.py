"""Figures made of the scores of cases: weighted means with their error bars, perplexities, paired differences.

The standard error of a weighted mean of cases in blocks of b neighbours, which stand for a time series, is that of the
block bootstrap, whose replicates are means of cases / b blocks drawn from all, blocks going round the end; for a mean
it needs no drawing:

    variance = cases / b  mean over blocks of (sum in the block of share_c (x_c - mean))^2.

With b = 1 it is that of independent cases.

Source: Politis and Romano (1992), "A circular block-resampling procedure for stationary data".
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.estimators.result import Figure, LogPartition, LogPartitions, Side

if TYPE_CHECKING:
    from pgmdsl.runtime.estimators.scores import Scores

Doubles = NDArray[np.float64]

LEAST_SHARE = 0.1  # of the draws, of an effective sample size without a warning
GROUPS = 4  # of lengths of documents, of which perplexities are told
LEAST_DOCUMENTS = 20  # of a group


@dataclass(frozen=True)
class Sample:
    """What a set of cases is to the error bars.

    `weights`: of the cases, (cases,), any scale; equal when None. `block`: how many neighbours belong together, of a
    time series; 1 for independent cases. `bits`: how the cases' bits were drawn, in words.
    """

    weights: Doubles | None = None
    block: int = 1
    bits: str | None = None

    def shares(self, cases: int) -> Doubles:
        """Each case's share of the mean, (cases,). Raises `Error` for a block that does not fit."""
        if not 1 <= self.block <= max(1, cases // 2):
            raise Error(f"blocks of {self.block} cases: give 1, or at most half of the {cases} cases")
        share = np.ones(cases) if self.weights is None else np.asarray(self.weights, np.float64)
        return np.asarray(share / share.sum())


def spread(share: Doubles, deviations: Doubles, block: int = 1) -> float:
    """The standard error of a weighted mean, from the cases' deviations from it."""
    terms, cases = share * deviations, len(share)
    effective = 1 / float((share**2).sum())
    if not effective > block:
        return float("nan")
    reached = np.cumsum(np.concatenate([[0.0], terms, terms[: block - 1]]))
    sums = reached[block:] - reached[:-block]
    variance = cases / block * float((sums**2).mean()) if block > 1 else float((terms**2).sum())
    return float(np.sqrt(variance * effective / (effective - block)))


def summarise(
    name: str, scores: Scores, log_partition: LogPartition | LogPartitions | None, sample: Sample = Sample()
) -> Figure:
    """The weighted mean of scores as a figure."""
    share = sample.shares(len(scores.values))
    mean = float(share @ scores.values)
    size, draws = scores.effective_sample_size, scores.draws
    warning = None
    if size is not None and draws is not None and size < LEAST_SHARE * draws:
        warning = (
            f"{name}: for half of the cases the {draws} draws are worth {size:.1f} or fewer, so that the figure is low"
        )
    return Figure(
        name=name,
        value=mean,
        case_error=spread(share, scores.values - mean, sample.block),
        log_partition_error=0.0 if log_partition is None else log_partition.error_of_mean(share),
        method=scores.method,
        side=scores.side,
        cases=len(scores.values),
        bits=sample.bits,
        warning=warning,
        effective_sample_size=size,
        seconds=scores.seconds,
        each=scores.values,
    )


def perplexities(
    name: str, scores: Scores, words: Doubles, log_partition: LogPartition | LogPartitions, sample: Sample = Sample()
) -> list[Figure]:
    """The perplexity per word of all documents, and of those of some ranges of lengths where there are enough."""
    out = [perplexity(name, scores, words, log_partition, sample)]
    if len(words) < GROUPS * LEAST_DOCUMENTS or len(np.unique(words)) < GROUPS:
        return out
    edges = np.unique(np.quantile(words, np.linspace(0, 1, GROUPS + 1)))
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = (words > low if number else words >= low) & (words <= high)
        if inside.sum() >= LEAST_DOCUMENTS:
            mine = words[inside]
            title = f"{name}, of {mine.min():.0f} to {mine.max():.0f} words"
            out.append(perplexity(title, scores, words, log_partition, sample, inside))
    return out


def perplexity(
    name: str,
    scores: Scores,
    words: Doubles,
    log_partition: LogPartition | LogPartitions,
    sample: Sample = Sample(),
    among: NDArray[np.bool_] | None = None,
) -> Figure:
    """exp(-sum log p / sum M) over documents with M words each, p of the words in their order; errors to first order.

    A lower bound on log p gives an upper bound.
    """
    share = sample.shares(len(words))
    if among is not None:
        share = np.where(among, share, 0.0) / share[among].sum()
    length = float(share @ words)
    each = -float(share @ scores.values) / length  # nats a word
    value = float(np.exp(each))
    return Figure(
        name=name,
        value=value,
        case_error=value * spread(share, -scores.values - each * words, sample.block) / length,
        log_partition_error=value * log_partition.error_of_mean(share) / length,
        method=scores.method,
        side="upper bound" if scores.side == "lower bound" else scores.side,
        cases=len(words) if among is None else int(among.sum()),
        bits=sample.bits,
        unit="words",
    )


def difference(first: Figure, second: Figure, sample: Sample = Sample()) -> Figure:
    """How much higher the first figure is, case by case: the error over cases is that of the differences.

    Less a lower bound it is an upper bound on the difference, and the other way round; of two bounds it bounds nothing.

    Raises:
        Error: they are of different cases, or not means over cases.
    """
    if first.each is None or second.each is None or len(first.each) != len(second.each):
        raise Error(f"{first.name} and {second.name} are of different cases: compare figures of the same ones")
    share = sample.shares(len(first.each))
    apart = first.each - second.each
    mean = float(share @ apart)
    bounds = (first.side == "lower bound", second.side == "lower bound")
    sides: dict[tuple[bool, bool], Side] = {(True, False): "lower bound", (False, True): "upper bound"}
    alike: Side = "exact" if first.side == second.side == "exact" else "estimate"
    return replace(
        first,
        name=f"{first.name}, difference",
        value=mean,
        case_error=spread(share, apart - mean, sample.block),
        log_partition_error=float(np.hypot(first.log_partition_error, second.log_partition_error)),
        method=first.method if first.method == second.method else f"{first.method}; less {second.method}",
        side=sides.get(bounds, alike),
        warning=first.warning or second.warning,
        effective_sample_size=None,
        seconds=first.seconds + second.seconds,
        each=apart,
    )
