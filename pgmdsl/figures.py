"""The figures of a run: log Z, of each case where it differs between them, and log-probabilities with error bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.data import Data
from pgmdsl.runtime.estimators.result import Figure, LogPartition, LogPartitions
from pgmdsl.runtime.estimators.scores import score_cases
from pgmdsl.runtime.evaluation import (
    Method,
    anneals_each,
    conditions_of,
    data_means,
    evaluate_data,
    log_partition_of_cases,
)
from pgmdsl.runtime.kernels import one_blas_thread
from pgmdsl.runtime.known import Known, Lengths, known_of
from pgmdsl.runtime.progress import progress_bar
from pgmdsl.runtime.random import permutation, stream_key

if TYPE_CHECKING:
    from pgmdsl.run import Run

Array = NDArray[Any]
# Of figures that come by themselves, where log Z is annealed for each case (Salakhutdinov and Hinton 2009, "Replicated
# softmax", section 4.1, took 50 documents).
QUICK_CASES, QUICK_TEMPERATURES = 50, 1000


@dataclass(frozen=True, slots=True)
class Annealing:
    """How log Z is computed: the method, and of annealing the chains, the temperatures and the seed."""

    method: Method = "auto"
    chains: int = 100
    temperatures: int = 10_000
    seed: int = 0


@dataclass(frozen=True)
class Evaluation:
    """log Z and the figures of one data set.

    `bits` says how its bits were drawn, or is None; `subset` of which of the cases the figures are, or is None.
    """

    log_partition: LogPartition | LogPartitions
    figures: tuple[Figure, ...]
    bits: str | None
    subset: str | None = None

    def as_json(self) -> dict[str, Any]:
        """As JSON values; where log Z differs between cases its mean, and in `by_case` the value of each."""
        z = self.log_partition
        if isinstance(z, LogPartition):
            shown = asdict(z)
        else:
            values = z.of_cases(len(z.which))
            shown = asdict(z.mean()) | {"different": len(z.runs), "by_case": [float(x) for x in values]}
        figures = [asdict(f) for f in self.figures]
        return {"log_partition": shown, "figures": figures, "subset": self.subset}


def log_partition_of(
    run: Run,
    given: Mapping[str, Array],
    lengths: Mapping[str, Array],
    how: Annealing,
    progress: bool = False,
) -> LogPartition | LogPartitions:
    """Log Z of cases with these statistics (cases, size) of given layers, and documents of these lengths (cases,)."""
    try:
        means = data_means(run.machine, run.splits.train)
    except Error:
        means = None
    with progress_bar("annealed importance sampling", progress) as tick:
        return log_partition_of_cases(
            run.machine,
            how.method,
            means,
            given or None,
            lengths or None,
            chains=how.chains,
            temperatures=how.temperatures,
            seed=how.seed,
            progress=tick,
        )


def score_known(run: Run, known: Known, log_partition: LogPartition | LogPartitions | None) -> Array:
    """Log p of what is known of each case, (cases,), or its bound; log Z is estimated anew when None."""
    given, lengths = _conditions(known)
    z = log_partition or log_partition_of(run, given, lengths, Annealing())
    with one_blas_thread():
        return score_cases(run.machine, known.s, z, held=known.held, lengths=lengths).values


def evaluate_run(
    run: Run,
    name: str,
    data: Data,
    lengths: Lengths | None,
    how: Annealing,
    most: int | None,
    quick: bool,
    progress: bool,
) -> Evaluation:
    """The figures of some data; see `Run.evaluation`."""
    known, subset = known_of(run.machine, data, lengths, seed=run.seed), None
    given, every = _conditions(known)
    if quick and how.method == "auto" and anneals_each(run.machine, given, every):
        most, how = min(most or QUICK_CASES, QUICK_CASES), replace(how, temperatures=QUICK_TEMPERATURES)
    if most is not None and known.cases > most:
        rows = np.sort(permutation(stream_key(run.seed, "figures"), known.cases)[:most])
        subset = f"{most} of the {known.cases} {name} cases, drawn by seed {run.seed}"
        data = replace(data, rows=data.rows[rows], weights=None if data.weights is None else data.weights[rows])
        known = known.take(rows)
        given, every = _conditions(known)
    z = log_partition_of(run, given, every, how, progress)
    for layer, values in known.lengths.items():
        if len(set(values.tolist())) > 1:
            raise Error(f"figures need one length for the documents of {layer}, which are summed out: give one number")
    machine = run.machine.with_lengths({n: float(x[0]) for n, x in known.lengths.items()})
    figures = evaluate_data(machine, data, z, run.seed, name)
    return Evaluation(z, tuple(figures), figures[0].bits, subset)


def _conditions(known: Known) -> tuple[dict[str, Array], dict[str, Array]]:
    """What log Z depends on: statistics of given layers, and lengths of all documents."""
    given, lengths = conditions_of(known.machine, known.s)
    return given, {**lengths, **known.lengths}
