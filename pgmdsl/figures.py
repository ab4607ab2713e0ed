"""The figures of a run: log Z, of each case where it differs between them, and log-probabilities with error bars."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.case_figures import evaluate_baselines, evaluate_cases
from pgmdsl.runtime.data import Data
from pgmdsl.runtime.estimators.ais import Annealing, Sources
from pgmdsl.runtime.estimators.result import Figure, LogPartition, LogPartitions
from pgmdsl.runtime.estimators.scores import score_cases
from pgmdsl.runtime.estimators.summaries import Sample, difference
from pgmdsl.runtime.evaluation import (
    CaseMethod,
    LogMethod,
    Method,
    anneals_each,
    conditions_of,
    cost_of_log_partition,
    evaluate_data,
    log_partition_of_cases,
    sample_of,
    sources_of,
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


@dataclass(frozen=True)
class Request:
    """What figures are asked for.

    `method` is that of log Z, or one that needs none; `how` of annealing; `most` cases at most, drawn by seed; `quick`
    where log Z is annealed for each case; `block` neighbouring cases belong together; `components` of the mixtures that
    the model is compared with, none of them for no baselines.
    """

    method: Method = "auto"
    how: Annealing = Annealing()
    most: int | None = None
    quick: bool = False
    block: int = 1
    components: tuple[int, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """log Z and the figures of one data set.

    `log_partition` is None where the method needs none. `bits` says how the cases' bits were drawn, or is None;
    `subset` of which of the cases the figures are, or is None. `baselines` are figures of simpler models fitted to the
    training cases, `differences` those between this run and another, by case.
    """

    log_partition: LogPartition | LogPartitions | None
    figures: tuple[Figure, ...]
    bits: str | None
    subset: str | None = None
    baselines: tuple[Figure, ...] = ()
    differences: tuple[Figure, ...] = ()
    sample: Sample = Sample()

    def as_json(self) -> dict[str, Any]:
        """As JSON values; where log Z differs between cases its mean, and in `by_case` the value of each."""
        z, shown = self.log_partition, None
        if isinstance(z, LogPartition):
            shown = asdict(z) | {"bounds": z.bounds, "gap": z.gap}
        elif z is not None:
            values = z.of_cases(len(z.which))
            shown = asdict(z.mean()) | {"different": len(z.runs), "by_case": [float(x) for x in values]}
        out: dict[str, Any] = {"log_partition": shown, "figures": [f.as_json() for f in self.figures]}
        for name, figures in (("baselines", self.baselines), ("differences", self.differences)):
            if figures:
                out[name] = [f.as_json() for f in figures]
        return out | {"subset": self.subset}


def log_partition_of(
    run: Run,
    given: Mapping[str, Array],
    lengths: Mapping[str, Array],
    method: LogMethod = "auto",
    how: Annealing = Annealing(),
    progress: bool = False,
) -> LogPartition | LogPartitions:
    """Log Z of cases with these statistics (cases, size) of given layers, and documents of these lengths (cases,)."""
    cost = cost_of_log_partition(run.machine, method, given, lengths)
    if cost is not None and progress:
        print(f"log Z: {cost}", file=sys.stderr, flush=True)
    with progress_bar("annealed importance sampling", progress) as tick:
        return log_partition_of_cases(
            run.machine, method, _sources(run), given or None, lengths or None, how=how, progress=tick
        )


def _sources(run: Run) -> Sources:
    """What annealing may know of the training data; nothing where they cannot be opened again."""
    try:
        return sources_of(run.machine, run.splits.train, run.seed)
    except Error:
        return Sources()


def score_known(run: Run, known: Known, log_partition: LogPartition | LogPartitions | None) -> Array:
    """Log p of what is known of each case, (cases,), or its bound; log Z is estimated anew when None."""
    given, lengths = _conditions(known)
    z = log_partition or log_partition_of(run, given, lengths)
    with one_blas_thread():
        return score_cases(run.machine, known.s, z, held=known.held, lengths=lengths).values


def evaluate_run(
    run: Run,
    name: str,
    data: Data,
    lengths: Lengths | None,
    request: Request,
    seed: int,
    progress: bool,
) -> Evaluation:
    """The figures of some data, whose bits and subset are drawn by seed; see `Run.evaluation`."""
    known, subset, how, most = known_of(run.machine, data, lengths, seed=seed), None, request.how, request.most
    given, every = _conditions(known)
    if request.quick and request.method == "auto" and anneals_each(run.machine, given, every):
        most, how = min(most or QUICK_CASES, QUICK_CASES), replace(how, temperatures=QUICK_TEMPERATURES)
    if most is not None and known.cases > most:
        rows = np.sort(permutation(stream_key(seed, "figures"), known.cases)[:most])
        subset = f"{most} of the {known.cases} {name} cases, drawn by seed {seed}"
        data = replace(data, rows=data.rows[rows], weights=None if data.weights is None else data.weights[rows])
        known = known.take(rows)
        given, every = _conditions(known)
    for layer, values in known.lengths.items():
        if len(set(values.tolist())) > 1:
            raise Error(f"figures need one length for the documents of {layer}, which are summed out: give one number")
    machine = run.machine.with_lengths({n: float(x[0]) for n, x in known.lengths.items()})
    z: LogPartition | LogPartitions | None = None
    if request.method in get_args(CaseMethod):
        with progress_bar(request.method, progress) as tick:
            figures = evaluate_cases(
                machine,
                data,
                cast(CaseMethod, request.method),
                seed,
                how=how,
                sources=_sources(run),
                name=name,
                block=request.block,
                progress=tick,
            )
    else:
        z = log_partition_of(run, given, every, cast(LogMethod, request.method), how, progress)
        figures = evaluate_data(machine, data, z, seed, name, request.block)
    baselines = _baselines(run, name, data, request, seed, progress) if request.components else ()
    sample = sample_of(data, seed, request.block)
    return Evaluation(z, tuple(figures), sample.bits, subset, baselines, sample=sample)


def _baselines(run: Run, name: str, data: Data, request: Request, seed: int, progress: bool) -> tuple[Figure, ...]:
    """The same cases under independent units and mixtures, fitted to the run's training cases."""
    with progress_bar("baselines", progress) as tick:
        found = evaluate_baselines(
            run.machine,
            run.splits.train,
            data,
            seed,
            components=request.components,
            name=name,
            block=request.block,
            progress=tick,
        )
    return tuple(found)


def compare(first: Evaluation, second: Evaluation) -> Evaluation:
    """The first figures with how much higher the best of them is than the best of the second, case by case."""
    apart = difference(_best(first), _best(second), first.sample)
    return replace(first, differences=(apart,))


def _best(evaluation: Evaluation) -> Figure:
    """The figure that says most of the cases: one that is no bound, else the highest bound."""
    means = [f for f in evaluation.figures if f.each is not None]
    return max(means, key=lambda f: (f.side != "lower bound", f.value if f.side == "lower bound" else 0.0))


def _conditions(known: Known) -> tuple[dict[str, Array], dict[str, Array]]:
    """What log Z depends on: statistics of given layers, and lengths of all documents."""
    given, lengths = conditions_of(known.machine, known.s)
    return given, {**lengths, **known.lengths}
