"""A run being trained: its walk through the phases, what its checkpoints hold, and how Ctrl-C ends it."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Artifact, GreedyStage
from pgmdsl.compiler.model import PhaseSpec
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.belief import BeliefNet, machine_of
from pgmdsl.runtime.belief_learner import BeliefLearner
from pgmdsl.runtime.checkpoint import save_checkpoint, split_arrays
from pgmdsl.runtime.data import Splits
from pgmdsl.runtime.estimators.normalise import normalisation
from pgmdsl.runtime.feed import Feed
from pgmdsl.runtime.fit import Job, incomplete_layers, run_job
from pgmdsl.runtime.greedy import (
    StageOwn,
    compose,
    own_parameters,
    passes_below,
    stage_machine,
    stages_of,
    start_stage,
    trained_in_stage,
    transpose_below,
)
from pgmdsl.runtime.kernels import Kernels, one_blas_thread
from pgmdsl.runtime.learner import Learner
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.masks import prepared
from pgmdsl.runtime.metrics import Metrics, append_metrics
from pgmdsl.runtime.monitor import (
    STOP_TEMPERATURES,
    Sign,
    is_watched,
    needs_annealing,
    signs_of_collapse,
    stop_metric,
    stop_value,
    watch,
)
from pgmdsl.runtime.positive import LATENT_SWEEPS
from pgmdsl.runtime.progress import Display
from pgmdsl.runtime.recipe import Recipe, recipe_of
from pgmdsl.runtime.rundir import RunInfo
from pgmdsl.runtime.threads import Threads

if TYPE_CHECKING:
    from pgmdsl.runtime.finetune import NetworkJob

Array = NDArray[Any]
Callback = Callable[[dict[str, Any]], Any]
EVERY = 10.0  # seconds at least between the checkpoints of epochs
MUCH_WORSE = 1.5  # times as bad as when it was said: a warning is said again


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, after the checkpoint was saved; `directory` is the run to resume."""

    def __init__(self, directory: Path) -> None:
        """Name the run."""
        self.directory = directory
        super().__init__(f"interrupted; the checkpoint is saved: go on with pgmc resume {directory}")


@dataclass(frozen=True)
class TrainedRun:
    """A finished run: its directory, its parameters (arrays of the declared shapes), metrics by epoch, and its data.

    `networks` has the numbers of its networks by kind.
    """

    directory: Path
    parameters: dict[str, Array]
    networks: dict[str, dict[str, Array]]
    metrics: list[Metrics]
    splits: Splits


class Session:
    """A run being trained: what its checkpoints hold, and the walk through its phases."""

    def __init__(
        self,
        artifact: Artifact,
        kernels: Kernels,
        splits: Splits,
        directory: Path,
        info: RunInfo,
        parameters: dict[str, Array],
        callback: Callback | None,
        display: bool,
        threads: int,
    ) -> None:
        """Nothing is trained yet; `restore` takes up a checkpoint."""
        self.artifact, self.kernels, self.splits = artifact, kernels, splits
        self.directory, self.info, self.parameters = directory, info, parameters
        self.callback, self.display, self.threads = callback, Display(display), Threads(threads)
        self.own: StageOwn = {}
        self.networks: dict[str, dict[str, Array]] = {}  # by kind, the numbers of those that have been trained
        self._earlier: NetworkJob | None = None  # the one before, if the model is as it was then
        self.masks, self.colours = prepared(artifact, Path(info.base))
        documents = [n for n, layer in artifact.layers.items() if layer.support == "counts"]
        self._lengths = {n: float(splits.train.moments(n)[0].sum()) for n in documents}
        self.metrics: list[Metrics] = []
        self._said: dict[str, float] = {}  # what the present job has been warned of, and how bad it was
        self._restored: dict[str, Array] | None = None
        self._sound: tuple[dict[str, Array], int, float | None, int] | None = None  # the job where it last normalised
        self._stop = False
        self._saved = time.monotonic()

    # --- the walk -----------------------------------------------------------------------------------------

    def run(self) -> TrainedRun:
        """All that is left to do."""
        with one_blas_thread(), self._interrupts():
            try:
                while self.info.phase < len(self.artifact.phases):
                    self._run_phase(self.artifact.phases[self.info.phase])
                    self._advance(phase=self.info.phase + 1, stage=0)
                if not self.info.finished:
                    self.info = replace(self.info, finished=True)
                    self.save(None)
            finally:
                self.threads.close()
                self.display.close()
        return TrainedRun(self.directory, self.parameters, self.networks, self.metrics, self.splits)

    def _run_phase(self, phase: PhaseSpec) -> None:
        if phase.kind in ("classify", "autoencode"):
            self._run_network(phase)
            return
        if phase.kind != "greedy":
            self._run_job(self._fit_job(phase))
            return
        stages = stages_of(self.artifact, phase.target)
        while self.info.stage < len(stages):
            self._run_job(self._stage_job(phase, stages[self.info.stage]))
            self._advance(phase=self.info.phase, stage=self.info.stage + 1)
        compose(self.artifact, self.parameters, self.own, self._lengths)

    def _advance(self, phase: int, stage: int) -> None:
        """Go to the next stage or phase, which begins at step 0."""
        self.info = replace(self.info, phase=phase, stage=stage, step=0, epoch=0, started=False)
        self.info = replace(self.info, best_value=None, since_best=0)

    def _run_job(self, job: Job) -> None:
        self._earlier = None
        if job.recipe.stop is not None:
            stop_metric(job)
        if self.info.started and self._restored is not None:
            job.restore(self._restored, self.info.step, self.info.best_value, self.info.since_best)
            self._restored = None
        else:
            job.start()
        self._said = {}
        self._keep_sound(job)
        if job.learner.approximates_missing:
            self.display.note(
                f"{job.name}: values are missing, and given the others they and the hidden units are not independent: "
                f"in such cases positive = gibbs({LATENT_SWEEPS}) in place of exact"
            )
        self.display.begin()
        run_job(job, self._before_step, self._after_epoch)
        job.finish()
        self.display.end(job)

    def _run_network(self, phase: PhaseSpec) -> None:
        from pgmdsl.runtime.finetune import network_job

        machine = machine_of(self.artifact, self.kernels, self.parameters, colours=self.colours, lengths=self._lengths)
        earlier = self._earlier
        job = network_job(self.info.phase, machine, self.splits, self.networks, self.masks, self.info.seed, earlier)
        if self.info.started and self._restored is not None:
            job.restore(self._restored, self.info.step, self.info.best_value, self.info.since_best)
            self._restored = None
        self._said = {}
        self.display.begin()
        run_job(job, self._before_step, self._after_network_epoch)
        job.finish()
        self.networks[phase.kind], self._earlier = job.numbers, job
        self.display.end(job)

    def _trained(self, frozen: Collection[str]) -> frozenset[str]:
        return frozenset(
            p.name
            for p in self.artifact.parameters.values()
            if not p.fixed and p.name not in frozen and p.name not in self.info.freeze
        )

    def _fit_job(self, phase: PhaseSpec) -> Job:
        recipe = recipe_of(phase, self.artifact.sizes)
        machine = machine_of(self.artifact, self.kernels, self.parameters, colours=self.colours)
        return self._job(phase.kind, recipe, machine, [], self._trained(recipe.freeze))

    def _stage_job(self, phase: PhaseSpec, stage: GreedyStage) -> Job:
        fresh, recipe = not self.info.started, recipe_of(phase, self.artifact.sizes)
        if fresh and stage.upper not in self.own:
            self.own[stage.upper] = own_parameters(self.artifact, self.parameters, stage, self.own, self._lengths)
            if recipe.transpose:
                transpose_below(self.artifact, self.parameters, stage, self.own)
        own, trained = self.own[stage.upper], trained_in_stage(self.artifact, stage, self._trained(recipe.freeze))
        machine = stage_machine(self.artifact, self.kernels, self.parameters, stage, own, self.colours)
        passes = passes_below(self.artifact, self.kernels, self.parameters, stage, self.own)
        job = self._job(f"greedy {stage.upper}", recipe, machine, passes, trained)
        if fresh and not self.info.warm and not recipe.transpose:
            start_stage(machine, job.feed, trained)
        return job

    def _job(
        self,
        name: str,
        recipe: Recipe,
        machine: Machine,
        passes: list[tuple[Machine, str]],
        trained: frozenset[str],
    ) -> Job:
        seed = self.info.seed
        feed = Feed(self.splits.train, machine, seed, passes, recipe.passing)
        valid = Feed(self.splits.valid, machine, seed, passes, recipe.passing) if self.splits.valid else None
        incomplete = incomplete_layers(feed)
        shared: dict[str, Any] = {"masks": self.masks, "threads": self.threads}
        learner: Learner | BeliefLearner
        if isinstance(machine, BeliefNet):
            sleeps = name == "wake_sleep"
            learner = BeliefLearner(machine, feed.layers, recipe, trained, seed, sleeps=sleeps, **shared)
        else:
            learner = Learner(machine, feed.layers, recipe, trained, seed, incomplete=incomplete, **shared)
        return Job(name, (self.info.phase, self.info.stage), machine, feed, valid, recipe, learner)

    # --- between steps and epochs -------------------------------------------------------------------------

    def _before_step(self, job: Job | NetworkJob) -> None:
        if self._stop:
            self.save(job)
            raise Interrupted(self.directory)
        self.display.update(job)

    def _after_epoch(self, job: Job) -> None:
        margin = self._verify_normalised(job)
        if is_watched(job):
            metrics = {"phase": job.name, "epoch": job.epochs_begun, "step": job.step, **watch(job), **margin}
            if job.recipe.stop is not None:
                metrics |= self._score(job)
            self._record(metrics)
            self.display.update(job, metrics)
        self._keep_sound(job)
        if time.monotonic() - self._saved >= EVERY:
            self.save(job)

    def _after_network_epoch(self, job: NetworkJob) -> None:
        if is_watched(job):
            metrics = {"phase": job.name, "epoch": job.epochs_begun, "step": job.step, **job.watch()}
            if job.patience is not None:
                job.keep_best(metrics)
            self._record(metrics)
            self.display.update(job, metrics)
        if time.monotonic() - self._saved >= EVERY:
            self.save(job)

    def _verify_normalised(self, job: Job) -> Metrics:
        """Whether the model normalises, where that depends on its weights. Raises `Error` once it diverges."""
        if not self.artifact.watched:
            return {}
        found = normalisation(job.machine)
        place = f"{job.name}, epoch {job.epochs_begun}"
        if found.status == "diverges":
            self._go_back(job)
            kept = f"the parameters of epoch {job.epoch}" if job.step else "the parameters it began this phase with"
            raise Error(f"{place}: {found.message}; the run keeps {kept}")
        if found.status == "unknown":
            self._say(Sign("normalisation", 1.0, found.message), place)
        return {"margin": found.margin} if math.isfinite(found.margin) else {}

    def _keep_sound(self, job: Job) -> None:
        """Remember a job's state where the model may come not to normalise."""
        if self.artifact.watched:
            arrays = {n: a.copy() for n, a in self._arrays(job).items()}
            self._sound = arrays, job.step, job.best_value, job.since_best

    def _go_back(self, job: Job) -> None:
        """Save the last state of a job in which the model was not seen to diverge."""
        if self._sound is None:
            return
        arrays, step, best_value, since_best = self._sound
        for name, array in self._arrays(None).items():
            array[...] = arrays[name]
        job.restore(arrays, step, best_value, since_best)
        self.save(job)

    def _score(self, job: Job) -> Metrics:
        """The epoch's value by the metric of `stop`, noted by the job."""
        metric, start = stop_metric(job), time.monotonic()
        value = stop_value(job, metric)
        if needs_annealing(job, metric):
            cost = (
                f"stop by {metric} anneals log Z at {STOP_TEMPERATURES:,} temperatures after each epoch, which took "
                f"{time.monotonic() - start:.1f} s; patience(n, reconstruction) costs next to nothing"
            )
            self._say(Sign("annealing", 1.0, cost), job.name)
        job.keep_best(value)
        return {} if metric == "reconstruction" else {f"valid_{metric}": value}  # that one is always there

    def _say(self, sign: Sign, place: str) -> None:
        """Show a warning the first time in a job, and again when it has got much worse."""
        if sign.severity >= MUCH_WORSE * self._said.get(sign.about, 0.0):
            self._said[sign.about] = sign.severity
            self.display.note(f"{place}: {sign.words}")

    def _record(self, metrics: Metrics) -> None:
        for sign in signs_of_collapse(metrics):
            self._say(sign, f"{metrics['phase']}, epoch {metrics['epoch']}")
        length = append_metrics(self.directory, metrics, self.info.metrics_bytes)
        self.info = replace(self.info, metrics_bytes=length)
        self.metrics.append(metrics)
        if self.callback is not None:
            self.callback(metrics)

    @contextmanager
    def _interrupts(self) -> Iterator[None]:
        """Ctrl-C ends training at the next whole step; a second one at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT) or signal.SIG_DFL

        def stop(number: int, frame: FrameType | None) -> None:
            self._stop = True
            signal.signal(signal.SIGINT, before)

        signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    # --- checkpoints --------------------------------------------------------------------------------------

    def save(self, job: Job | NetworkJob | None) -> None:
        """Replace the checkpoint by the present state, within a job or between two."""
        arrays = self._arrays(job)
        shown = {n: a.copy() for n, a in self.parameters.items()}
        if job is None:
            self.info = replace(self.info, started=False, step=0, epoch=0)
        else:
            self.info = replace(
                self.info,
                started=True,
                step=job.step,
                epoch=job.epoch,
                best_value=job.best_value,
                since_best=job.since_best,
            )
            if isinstance(job, Job) and job.machine.layers == tuple(self.artifact.layers):
                shown = dict(job.averaged().parameters)
            elif isinstance(job, Job):
                compose(self.artifact, shown, self.own, self._lengths)
        for kind, numbers in self.networks.items():
            shown |= {f"{kind}/{n}": a for n, a in numbers.items()}
        save_checkpoint(self.directory, self.artifact, self.info, arrays, shown)
        self._saved = time.monotonic()

    def _arrays(self, job: Job | NetworkJob | None) -> dict[str, Array]:
        """All arrays of the present state, within a job or between two, by their names in a checkpoint."""
        arrays = {f"parameter/{n}": a for n, a in self.parameters.items()}
        arrays |= {f"stage/{upper}/{n}": a for upper, own in self.own.items() for n, a in own.items()}
        arrays |= {f"network/{kind}/{n}": a for kind, numbers in self.networks.items() for n, a in numbers.items()}
        return arrays | (job.arrays() if job else {})

    def restore(self, arrays: Mapping[str, Array], metrics: list[Metrics]) -> None:
        """Take what stages have for themselves and the metrics so far; the rest is for the job that was interrupted."""
        self.metrics = metrics
        for name, array in split_arrays(arrays, "stage").items():
            upper, _, parameter = name.partition("/")
            self.own.setdefault(upper, {})[parameter] = array
        for name, array in split_arrays(arrays, "network").items():
            kind, _, number = name.partition("/")
            self.networks.setdefault(kind, {})[number] = array
        self._restored = dict(arrays)
