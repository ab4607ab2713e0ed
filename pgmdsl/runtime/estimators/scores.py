"""Log-probabilities of cases, exact where the sum is affordable and else bounded, and the figures made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.runtime.belief import BeliefNet
from pgmdsl.runtime.estimators.bound import bound_of
from pgmdsl.runtime.estimators.evidence import Evidence, gather, unique_rows
from pgmdsl.runtime.estimators.exact import LIMIT, cost_of_sums, sums_of
from pgmdsl.runtime.estimators.recognition import exact_sums, is_small, log_weights, parents_lacking
from pgmdsl.runtime.estimators.result import Figure, LogPartition, LogPartitions, Side, doubt_figure
from pgmdsl.runtime.machine import NOTHING, Held, Machine

Array = NDArray[Any]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scores:
    """log p of each case, (cases,), or a lower bound on it: `side` and `method` say which and how.

    Of real units it is a density; of documents it is the probability of the words in their order.
    """

    values: Doubles
    side: Side
    method: str


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


def _scores(evidence: Evidence, log_partition: LogPartition | LogPartitions, limit: int) -> Scores:
    log_z = "" if log_partition.side == "exact" else f", log Z by {log_partition.method.replace('_', ' ').upper()}"
    less = log_partition.of_cases(evidence.cases)
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
    weights: Doubles | None = None,
    bits: str | None = None,
    limit: int = LIMIT,
    held: Held = NOTHING,
) -> list[Figure]:
    """The mean log-probability of a set of cases, with both its error bars.

    Where latent layers interact but the exact sum was affordable, the variational bound follows as a second figure.
    With documents, the figure is of the words in their order; those of the vectors of counts, and the perplexity per
    word where nothing but documents is observed, follow.

    Args:
        machine: The model with its parameters.
        clamped: Statistics (cases, size) of the observed layers, and of given ones.
        log_partition: log Z of the model, or of each case.
        name: What the cases are, for the figures' names.
        weights: Case weights (cases,); equal when None.
        bits: How the cases' bits were drawn, in words.
        limit: The most unit evaluations to spend on an exact sum.
        held: By layer with missing entries, where its entries are observed, (cases, size).
    """
    evidence = gather(machine, clamped, held)
    scores = _scores(evidence, log_partition, limit)
    documents, orders = observed_documents(evidence), log_orders(evidence)
    of_words = " of ordered documents" if documents else ""
    figures = [summarise(f"{name} {_kind(scores, of_words)}", scores, log_partition, weights, bits)]
    net = isinstance(machine, BeliefNet)
    if scores.method.startswith("enumeration") and not (net and parents_lacking(evidence)):
        by, values = _bound(evidence)
        bound = values - log_partition.of_cases(evidence.cases)
        lower = Scores(bound, "lower bound", scores.method.replace("enumeration", by))
        figures.append(summarise(f"{name} {_kind(lower, of_words)}", lower, log_partition, weights, bits))
    units = sum(s.shape[1] for n, s in clamped.items() if n not in machine.given)
    doubt = doubt_total(evidence, scores.values + orders, log_partition)
    figures = [replace(f, warning=doubt_figure(f.name, f.value, units) or doubt) for f in figures]
    if documents:
        counts = Scores(scores.values + orders, scores.side, scores.method)
        more = [summarise(f"{name} {_kind(scores, ' of count vectors')}", counts, log_partition, weights, bits)]
        modelled = [n for n in evidence.known if n not in machine.given]
        if modelled == documents and not evidence.missing:
            words = np.asarray(sum(evidence.lengths[n] for n in documents), np.float64)
            more.append(perplexity(f"{name} perplexity per word", scores, words, log_partition, weights))
        figures += [replace(f, warning=figures[0].warning) for f in more]
    return figures


def _bound(evidence: Evidence) -> tuple[str, Doubles]:
    """How the variational bound is had, and its part that depends on the case."""
    if isinstance(evidence.machine, BeliefNet):
        return "recognition", log_weights(evidence).mean(axis=0)
    return "mean field", bound_of(evidence).log_weight


def _kind(scores: Scores, of: str) -> str:
    return f"log-probability bound{of}" if scores.side == "lower bound" else f"log-probability{of}"


def _shares(cases: int, weights: Doubles | None) -> Doubles:
    share = np.ones(cases) if weights is None else np.asarray(weights, np.float64)
    return np.asarray(share / share.sum())


def _spread(share: Doubles, deviations: Doubles) -> float:
    """The standard error of a weighted mean of independent cases, from their deviations from it."""
    effective = 1 / float((share**2).sum())
    spread = float(share**2 @ deviations**2) ** 0.5
    return spread * (effective / (effective - 1)) ** 0.5 if effective > 1 else float("nan")


def summarise(
    name: str,
    scores: Scores,
    log_partition: LogPartition | LogPartitions,
    weights: Doubles | None = None,
    bits: str | None = None,
) -> Figure:
    """The weighted mean of scores as a figure; its error over cases takes the cases for independent draws."""
    share = _shares(len(scores.values), weights)
    mean = float(share @ scores.values)
    return Figure(
        name=name,
        value=mean,
        case_error=_spread(share, scores.values - mean),
        log_partition_error=log_partition.error_of_mean(share),
        method=scores.method,
        side=scores.side,
        cases=len(scores.values),
        bits=bits,
    )


def perplexity(
    name: str,
    scores: Scores,
    words: Doubles,
    log_partition: LogPartition | LogPartitions,
    weights: Doubles | None = None,
) -> Figure:
    """exp(-sum log p / sum M) over documents with M words each, p of the words in their order; errors to first order.

    A lower bound on log p gives an upper bound.
    """
    share = _shares(len(words), weights)
    length = float(share @ words)
    each = -float(share @ scores.values) / length  # nats a word
    value = float(np.exp(each))
    return Figure(
        name=name,
        value=value,
        case_error=value * _spread(share, -scores.values - each * words) / length,
        log_partition_error=value * log_partition.error_of_mean(share) / length,
        method=scores.method,
        side="upper bound" if scores.side == "lower bound" else scores.side,
        cases=len(words),
        unit="words",
    )


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
