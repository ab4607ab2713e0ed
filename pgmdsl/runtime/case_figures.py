"""Figures of a data set that need no log Z: RAISE, CSL, pseudo-likelihoods, and what simpler models make of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.data import Data
from pgmdsl.runtime.estimators.ais import Annealing, Sources
from pgmdsl.runtime.estimators.baselines import COMPONENTS, MOST_COMPONENTS, fit_mixture
from pgmdsl.runtime.estimators.chains import Progress
from pgmdsl.runtime.estimators.conservative import SAMPLES, conservative_weights
from pgmdsl.runtime.estimators.importance import effective_sizes, log_mean_exp
from pgmdsl.runtime.estimators.pseudolikelihood import pseudolikelihoods
from pgmdsl.runtime.estimators.result import Figure, Side
from pgmdsl.runtime.estimators.reverse import TEMPERATURES, raise_weights
from pgmdsl.runtime.estimators.scores import Scores
from pgmdsl.runtime.estimators.summaries import summarise
from pgmdsl.runtime.evaluation import CHEAP, CaseMethod, sample_of, statistics_of
from pgmdsl.runtime.kernels import one_blas_thread
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.random import permutation, stream_key

FITTED = 2**28  # numbers of training cases that baselines are fitted to at most


def evaluate_cases(
    machine: Machine,
    data: Data,
    method: CaseMethod,
    seed: int,
    *,
    how: Annealing = Annealing(),
    sources: Sources | None = None,
    name: str = "test",
    block: int = 1,
    progress: Progress | None = None,
) -> list[Figure]:
    """The mean over a data set of what needs no log Z; arguments as for `evaluate_data` and `log_partition_of_cases`.

    Raises:
        Error: values are missing, the model has directed edges, or it does not allow the method.
    """
    if data.missing:
        raise Error(f"method = {method} needs complete cases: use method = ais, which sums out what is missing")
    if machine.undirected is not machine:
        raise Error(f"method = {method} is of undirected models, and {machine.artifact.name} has directed edges")
    s, sources, sample = statistics_of(machine, data, seed), sources or Sources(), sample_of(data, seed, block)
    begun = time.perf_counter()
    with one_blas_thread():
        match method:
            case "raise":
                weights = raise_weights(machine, s, how, sources=sources, progress=progress)
                side: Side = "lower bound"
                temperatures = how.temperatures or TEMPERATURES
                words = f"RAISE, {len(weights)} chains a case, {temperatures} temperatures"
                title = "log-probability bound of annealing, not of the model"
            case "csl":
                samples = how.chains or SAMPLES
                weights, start = conservative_weights(
                    machine, s, samples, how.seed, how.starts, sources.states, sources.means
                )
                side = "lower bound" if start == "exact" else "estimate"
                drawn = "exact draws" if start == "exact" else f"draws by chains from {start}"
                words, title = f"CSL, {samples} {drawn}", "log-probability, conservative"
            case _:
                values, which = pseudolikelihoods(machine, s, CHEAP)
                weights, side = values[None], "exact" if which == "all sites" else "estimate"
                words, title = f"pseudo-likelihood, {which}", "log pseudo-likelihood"
    sizes, draws = (None, None) if len(weights) == 1 else (float(np.median(effective_sizes(weights))), len(weights))
    scores = Scores(log_mean_exp(weights), side, words, sizes, draws, time.perf_counter() - begun)
    return [summarise(f"{name} {title}", scores, None, sample)]


def evaluate_baselines(
    machine: Machine,
    train: Data,
    data: Data,
    seed: int,
    *,
    components: Sequence[int] = COMPONENTS,
    name: str = "test",
    block: int = 1,
    progress: Progress | None = None,
) -> list[Figure]:
    """The same cases under independent units, and under mixtures of such, fitted to the training cases.

    Args:
        machine: The model, whose visible layers' unit types are those of the baselines.
        train: The cases to fit to.
        data: The cases to score.
        seed: Of drawn bits, and of the cases that components start near.
        components: Of the mixtures.
        name: What the cases are, for the figures' names.
        block: See `evaluate_data`.
        progress: Called with (iterations done, iterations), of all mixtures.

    Raises:
        Error: values are missing, or there are too many components, or fewer than 2.
    """
    visible = [n for n in data.columns if machine.artifact.layers[n].role == "visible"]
    if train.missing or data.missing:
        raise Error("baselines are fitted to complete cases, and values are missing here")
    for count in components:
        if not 2 <= count <= min(MOST_COMPONENTS, train.cases):
            raise Error(
                f"a mixture of {count} components: give 2 to {MOST_COMPONENTS}, and no more than the {train.cases} "
                "training cases"
            )
    numbers = sum(machine.artifact.layers[n].size for n in visible)
    most = max(1, FITTED // numbers)
    if train.cases > most:
        rows = np.sort(permutation(stream_key(seed, "baselines"), train.cases)[:most])
        weights = None if train.weights is None else train.weights[rows]
        train = replace(train, rows=train.rows[rows], weights=weights)
    own = {n: x for n, x in statistics_of(machine, train, seed).items() if n in visible}
    cases = {n: x for n, x in statistics_of(machine, data, seed).items() if n in visible}
    documents = any(machine.artifact.layers[n].support == "counts" for n in visible)
    out, of_words = [], " of ordered documents" if documents else ""
    with one_blas_thread():
        for number, count in enumerate((1, *components)):
            begun = time.perf_counter()
            title = "independent units" if count == 1 else f"mixture of {count}"

            def tick(done: int, total: int, before: int = number - 1) -> None:
                if progress is not None:
                    progress(before * total + done, len(components) * total)

            found = fit_mixture(machine, own, count, weights=train.weights, seed=seed, progress=tick)
            how = "fitted" if count == 1 else f"EM, {len(found.history)} iterations"
            values = found.log_probability(cases)
            scores = Scores(values, "exact", how, seconds=time.perf_counter() - begun)
            figure = summarise(f"{name} log-probability{of_words}, {title}", scores, None, sample_of(data, seed, block))
            out.append(figure)
    return out
