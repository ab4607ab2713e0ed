"""Runs the chains of annealing: in batches, which bound the memory, over threads, which change nothing in the results.

A batch is a fixed part of the chains, and of the cases where there are many, with draws of its own; which thread runs
it, and when, does not matter.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.estimators.annealing import Path, Words
from pgmdsl.runtime.estimators.evidence import Evidence
from pgmdsl.runtime.estimators.schedules import stretches
from pgmdsl.runtime.machine import State

Array = NDArray[Any]
Doubles = NDArray[np.float64]
Progress = Callable[[int, int], None]

BATCH_BYTES = 2**25  # of the rows that are annealed together, where there are many cases


@dataclass(frozen=True, slots=True)
class Chains:
    """How many chains each case has, and how they are run.

    `batch` chains are run together, which bounds the memory: results depend on it, as every batch has its own draws.
    Batches go over `threads`, on which no result depends.
    """

    count: int = 100
    batch: int = 100
    threads: int = 1
    seed: int = 0

    def verify(self) -> None:
        """Raise `Error` unless there are chains enough for error bars."""
        if self.count < 2:
            raise Error(f"annealed importance sampling needs 2 chains or more for its error bars, not {self.count}")
        for name, number in (("batch", self.batch), ("threads", self.threads)):
            if number < 1:
                raise Error(f"annealed importance sampling needs a {name} of 1 or more, not {number}")


@dataclass(frozen=True)
class Annealed:
    """Chains that have gone along a path.

    `log_weight`: of each chain, (cases, chains). `variance`: of the changes of the log weights over each of the path's
    stretches, the mean over the cases.
    """

    log_weight: Doubles
    variance: Doubles


class Counter:
    """Counts the steps of all batches for a progress report; safe to call from threads."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        """Of so many steps. `progress` is called with (steps done, steps) about a hundred times."""
        self.total, self.progress = total, progress
        self.done, self.every = 0, max(1, total // 100)
        self._lock = threading.Lock()

    def one(self) -> None:
        """A step is done."""
        with self._lock:
            self.done += 1
            if self.progress and (self.done % self.every == 0 or self.done == self.total):
                self.progress(self.done, self.total)


def anneal(
    evidence: Evidence,
    base: Mapping[str, Array],
    betas: Doubles,
    chains: Chains,
    words: Words,
    *,
    starts: State | None = None,
    redrawn: bool = False,
    progress: Progress | None = None,
) -> Annealed:
    """Anneal all chains from draws of the base to the model, or from `starts` to the base.

    Args:
        evidence: What is known of each case.
        base: The base's own fields.
        betas: Inverse temperatures from 0 to 1.
        chains: Of each case.
        words: By which the draws differ from others.
        starts: By layer that is not known, states of the model to go back from, (cases * chains, size), the chains of
            a case side by side. The log weights are then minus those of the forward direction.
        redrawn: Whether the held layers of the starts are drawn anew, at the model, before the first step.
        progress: See `Counter`.
    """
    batches = list(_batches(evidence, chains))
    counter = Counter(len(batches) * (len(betas) - 1), progress)
    stop = threading.Event()
    order = betas if starts is None else betas[::-1].copy()
    ends = set(stretches(len(betas) - 1).tolist())

    def run(number: int) -> tuple[Doubles, Doubles]:
        rows, columns = batches[number]
        part, count = evidence.take(rows), columns.stop - columns.start
        fields = {n: f if f.ndim == 1 else f[rows] for n, f in base.items()}
        own_words: Words = (*words, rows.start, columns.start)
        path = Path(part, fields, order, count, chains.seed, own_words, backwards=starts is not None)
        if starts is None:
            for name in path.held:
                path.draw(name, 0)
        else:
            for name, x in path.s.items():
                x[:] = starts[name].reshape(evidence.cases, chains.count, -1)[rows, columns].reshape(x.shape)
            if redrawn:
                path.sweep_held(0)
        at = [path.log_weight.copy()]
        for k in range(1, len(order)):
            if stop.is_set():
                break
            path.advance(k)
            counter.one()
            if k in ends:
                at.append(path.log_weight.copy())
        return path.log_weight.reshape(part.cases, count), np.array(at).reshape(len(at), part.cases, count)

    parts = _over_threads(run, len(batches), chains.threads, stop)
    log_weight = np.empty((evidence.cases, chains.count))
    reached = np.empty((len(ends), *log_weight.shape))
    for (rows, columns), (weight, at) in zip(batches, parts, strict=True):
        log_weight[rows, columns], reached[:, rows, columns] = weight, at
    return _annealed(log_weight, reached if starts is None else reached[::-1])


def _annealed(log_weight: Doubles, reached: Doubles) -> Annealed:
    """The log weights (cases, chains), and the variance that each stretch adds to them, from those `reached` there."""
    if not np.all(np.isfinite(log_weight)):
        raise Error("annealed importance sampling met a weight that is not finite: the parameters are too large")
    stretched = np.diff(reached, axis=0)
    spread = stretched.var(axis=2, ddof=1) if log_weight.shape[1] > 1 else np.zeros((len(stretched), 1))
    return Annealed(log_weight, spread.mean(axis=1))


def _batches(evidence: Evidence, chains: Chains) -> Iterator[tuple[slice, slice]]:
    """Parts of the cases and of the chains whose rows fit into the memory set aside."""
    row = 16 * sum(evidence.machine.artifact.layers[n].size for n in evidence.machine.layers)
    count = min(chains.batch, chains.count)
    cases = max(1, BATCH_BYTES // (row * count))
    for first in range(0, evidence.cases, cases):
        for start in range(0, chains.count, count):
            yield slice(first, min(first + cases, evidence.cases)), slice(start, min(start + count, chains.count))


def _over_threads(run: Callable[[int], Any], count: int, threads: int, stop: threading.Event) -> list[Any]:
    """The results of `run` for each number, in order. What stops one, or Ctrl-C, stops all."""
    workers = min(count, threads)
    if workers <= 1:
        return [run(number) for number in range(count)]
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(run, number) for number in range(count)]
        try:
            return [future.result() for future in futures]
        except BaseException:
            stop.set()
            for future in futures:
                future.cancel()
            raise
