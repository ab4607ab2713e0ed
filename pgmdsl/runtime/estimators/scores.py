"""Log-probabilities of cases, exact where the sum is affordable and else bounded, and the figures made of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.belief import BeliefNet
from pgmdsl.runtime.estimators.bound import bound_of
from pgmdsl.runtime.estimators.evidence import Evidence, gather, unique_rows
from pgmdsl.runtime.estimators.exact import LIMIT, cost_of_sums, sums_of
from pgmdsl.runtime.estimators.importance import effective_sizes, importance_weights, log_mean_exp
from pgmdsl.runtime.estimators.recognition import exact_sums, is_small, log_weights, parents_lacking
from pgmdsl.runtime.estimators.result import Figure, LogPartition, LogPartitions, Side, doubt_figure
from pgmdsl.runtime.estimators.summaries import Sample, perplexities, summarise
from pgmdsl.runtime.machine import NOTHING, Held, Machine

Array = NDArray[Any]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scores:
    """log p of each case, (cases,), or a lower bound on it: `side` and `method` say which and how.

    Of real units it is a density; of documents it is the probability of the words in their order. Where each is the
    mean of so many `draws`, the median over the cases of their `effective_sample_size`.
    """

    values: Doubles
    side: Side
    method: str
    effective_sample_size: float | None = None
    draws: int | None = None
    seconds: float = 0.0


def score_cases(
    machine: Machine,
    clamped: Mapping[str, Array],
    log_partition: LogPartition | LogPartitions,
    limit: int = LIMIT,
    *,
    held: Held = NOTHING,
    lengths: Mapping[str, float | Array] | None = None,
) -> Scores:
    """Log p of what is observed of each case, with the rest summed out: exactly where affordable, else its bound.

    Args:
        machine: The model with its parameters.
        clamped: Statistics (cases, size) of the observed layers, and of given ones.
        log_partition: log Z of the model, or of each case; an estimated one makes the scores estimates.
        limit: The most unit evaluations to spend on an exact sum.
        held: By layer with missing entries, where its entries are observed, (cases, size); the others are summed out.
        lengths: Of documents that are not clamped, (cases,) or one number.
    """
    return _scores(gather(machine, clamped, held, lengths), log_partition, limit)


def _by(log_partition: LogPartition | LogPartitions) -> str:
    """How log Z came about, in words that follow others."""
    return "" if log_partition.side == "exact" else f", log Z by {log_partition.method.replace('_', ' ').upper()}"


def _scores(evidence: Evidence, log_partition: LogPartition | LogPartitions, limit: int) -> Scores:
    log_z, less = _by(log_partition), log_partition.of_cases(evidence.cases)
    if isinstance(evidence.machine, BeliefNet):
        if is_small(evidence):
            return Scores(exact_sums(evidence) - less, log_partition.side, "enumeration" + log_z)
        return Scores(log_weights(evidence).mean(axis=0) - less, "lower bound", "recognition" + log_z)
    cost = cost_of_sums(evidence)
    if cost is not None and cost.evaluations <= limit:
        how = "enumeration" if cost.enumerates else "free energy"
        return Scores(sums_of(evidence, limit) - less, log_partition.side, how + log_z)
    return Scores(bound_of(evidence).log_weight - less, "lower bound", "mean field" + log_z)


def log_orders(evidence: Evidence) -> Doubles:
    """How much more log-probability the observed counts have than the words in their order, (cases,).

    A document of M words has M! / prod n_k! orders; latent words count as one kind.
    """
    from scipy.special import gammaln

    out = np.zeros(evidence.cases)
    for name in observed_documents(evidence):
        counts, words = evidence.known[name].astype(np.float64), evidence.words(name)
        out += gammaln(evidence.lengths[name] + 1) - gammaln(counts + 1).sum(axis=1) - gammaln(words + 1)
    return out


def observed_documents(evidence: Evidence) -> list[str]:
    """The count layers of which anything is observed, and that are modelled."""
    return [n for n in evidence.lengths if n in evidence.known and n not in evidence.machine.given]


def evaluate(
    machine: Machine,
    clamped: Mapping[str, Array],
    log_partition: LogPartition | LogPartitions,
    *,
    name: str = "test",
    sample: Sample = Sample(),
    limit: int = LIMIT,
    held: Held = NOTHING,
    seed: int = 0,
) -> list[Figure]:
    """The mean log-probability of a set of cases, with both its error bars.

    Where latent layers interact but the exact sum was affordable, the variational bound follows as a second figure;
    where it was not, the bound is the first, and that by importance weighting the second. With documents, the figure is
    of the words in their order; those of the vectors of counts, and the perplexity per word where nothing but documents
    is observed, of all and by length, follow.

    Args:
        machine: The model with its parameters.
        clamped: Statistics (cases, size) of the observed layers, and of given ones.
        log_partition: log Z of the model, or of each case.
        name: What the cases are, for the figures' names.
        sample: What the cases are to the error bars.
        limit: The most unit evaluations to spend on an exact sum.
        held: By layer with missing entries, where its entries are observed, (cases, size).
        seed: Of importance weighting.
    """
    evidence = gather(machine, clamped, held)
    begun = time.perf_counter()
    scores = _scores(evidence, log_partition, limit)
    documents, orders = observed_documents(evidence), log_orders(evidence)
    of_words = " of ordered documents" if documents else ""
    every = [replace(scores, seconds=time.perf_counter() - begun)]
    net = isinstance(machine, BeliefNet)
    if scores.method.startswith("enumeration") and not (net and parents_lacking(evidence)):
        every.append(_bounded(evidence, log_partition))
    elif scores.side == "lower bound":
        every += _tightened(evidence, log_partition, seed)
    figures = [summarise(f"{name} {_kind(each, of_words)}", each, log_partition, sample) for each in every]
    units = sum(s.shape[1] for n, s in clamped.items() if n not in machine.given)
    doubt = doubt_total(evidence, scores.values + orders, log_partition)
    figures = [replace(f, warning=doubt_figure(f.name, f.value, units) or doubt or f.warning) for f in figures]
    if documents:
        counts = replace(every[0], values=scores.values + orders)
        more = [summarise(f"{name} {_kind(scores, ' of count vectors')}", counts, log_partition, sample)]
        modelled = [n for n in evidence.known if n not in machine.given]
        if modelled == documents and not evidence.missing:
            words = np.asarray(sum(evidence.lengths[n] for n in documents), np.float64)
            more += perplexities(f"{name} perplexity per word", scores, words, log_partition, sample)
        figures += [replace(f, warning=figures[0].warning) for f in more]
    return figures


def _bounded(evidence: Evidence, log_partition: LogPartition | LogPartitions) -> Scores:
    """The variational bound, beside an exact score."""
    begun, log_z = time.perf_counter(), _by(log_partition)
    by, values = _bound(evidence)
    less = log_partition.of_cases(evidence.cases)
    return Scores(values - less, "lower bound", by + log_z, seconds=time.perf_counter() - begun)


def _tightened(evidence: Evidence, log_partition: LogPartition | LogPartitions, seed: int) -> list[Scores]:
    """The bound by importance weighting; none where a layer that lacks values would have to be drawn."""
    begun = time.perf_counter()
    try:
        weights = importance_weights(evidence, seed=seed)
    except Error:
        return []
    values = log_mean_exp(weights) - log_partition.of_cases(evidence.cases)
    how = f"importance weighting, {len(weights)} draws{_by(log_partition)}"
    sizes = effective_sizes(weights)
    return [Scores(values, "lower bound", how, float(np.median(sizes)), len(weights), time.perf_counter() - begun)]


def _bound(evidence: Evidence) -> tuple[str, Doubles]:
    """How the variational bound is had, and its part that depends on the case."""
    if isinstance(evidence.machine, BeliefNet):
        return "recognition", log_weights(evidence).mean(axis=0)
    return "mean field", bound_of(evidence).log_weight


def _kind(scores: Scores, of: str) -> str:
    if scores.side != "lower bound":
        return f"log-probability{of}"
    return f"log-probability bound{of}{', importance-weighted' if scores.draws else ''}"


def doubt_total(evidence: Evidence, values: Doubles, log_partition: LogPartition | LogPartitions) -> str | None:
    """What is said where distinct cases have together more than probability 1, which no log Z allows.

    It catches annealing that has missed a mode where the cases lie: neither its error bar nor its effective sample
    size shows that. Cases with real values have densities, which may exceed 1. Cases are compared where the same
    entries are observed, of the same given states and documents of the same length.

    Args:
        evidence: What is observed.
        values: log p of each case, of documents that of the vector of counts.
        log_partition: log Z.
    """
    machine, cases = evidence.machine, evidence.cases
    modelled = [n for n in evidence.known if n not in machine.given]
    if any(machine.artifact.layers[n].support == "real" for n in modelled):
        return None
    same = [evidence.known[n] for n in machine.given] + list(evidence.missing.values())
    same += [np.asarray(x)[:, None] for x in evidence.lengths.values()]
    _, condition = unique_rows(same, cases)
    first, _ = unique_rows([condition[:, None], *(evidence.known[n] for n in modelled)], cases)
    total = np.full(condition.max() + 1, -np.inf)
    np.logaddexp.at(total, condition[first], values[first])
    error = np.zeros(len(total))
    error[condition] = log_partition.errors_of_cases(cases)
    excess = total - np.maximum(1e-6 * sum(evidence.known[n].shape[1] for n in modelled), 3 * error)
    worst = int(np.argmax(excess))
    if not excess[worst] > 0:
        return None
    count = int((condition[first] == worst).sum())
    return (
        f"{count} distinct cases have together a probability of exp({total[worst]:.3g}), more than 1: log Z is at "
        "least that much too small, as where annealing has missed a mode; use more temperatures, or an exact sum"
    )
