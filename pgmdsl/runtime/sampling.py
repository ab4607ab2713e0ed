"""Samples, inferences and reconstructions as arrays of states: what users get, (cases, *dims) by layer.

What they give is a `Known`: states of any layers, with values missing or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.kernels import one_blas_thread
from pgmdsl.runtime.known import Known, require_something
from pgmdsl.runtime.machine import Machine, State
from pgmdsl.runtime.random import stream_key

Array = NDArray[Any]
Progress = Callable[[int, int], None]

CASES = 1024  # inferred at a time
SWEEPS = 20  # of sampling, from one word of progress to the next


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """Observed layers after one pass through all that is latent, (cases, *dims) by layer.

    `means`: the mean of each unit given all others, latent ones at their posterior means; of documents these are
    expected counts. `samples`: drawn given states of the latent units drawn from their posterior. `errors`: the mean
    squared difference of the means from what was observed. `ranked`: the layers of one categorical site or document.
    """

    means: Mapping[str, Array]
    samples: Mapping[str, Array]
    errors: Mapping[str, float]
    ranked: tuple[str, ...]

    def top(self, layer: str, names: list[str] | None = None, count: int = 10) -> list[list[tuple[str, float]]]:
        """The most probable states of each case's sites: of a document the words (Salakhutdinov 2015, Table 1).

        Args:
            layer: A count layer, or a softmax layer of one site.
            names: Of its states, such as a vocabulary; their numbers when None.
            count: How many.

        Returns:
            By case, (name, probability), the most probable first.

        Raises:
            Error: another layer, or as many names as it has states are not given.
        """
        if layer not in self.ranked:
            raise Error(f"{layer} is no observed layer with one set of states: its reconstruction has no ranking")
        means = np.asarray(self.means[layer], np.float64)
        states = means.shape[1]
        if names is not None and len(names) != states:
            raise Error(f"{layer} has {states} states, and {len(names)} names are given: give one a state, in order")
        total = means.sum(axis=1, keepdims=True)
        shares = np.divide(means, total, out=np.zeros_like(means), where=total > 0)
        order = np.argsort(-shares, axis=1, kind="stable")[:, :count]
        words = names or [str(k) for k in range(states)]
        return [[(words[k], float(row[k])) for k in best] for row, best in zip(shares, order, strict=True)]


def to_states(machine: Machine, s: Mapping[str, Array]) -> dict[str, Array]:
    """Statistics (cases, size) as states (cases, *dims), in new arrays."""
    return {
        name: np.array(machine.kernels.state[name](machine.p, x)).reshape(len(x), *machine.artifact.layers[name].dims)
        for name, x in s.items()
    }


def draw_samples(
    known: Known,
    *,
    chains: int = 100,
    draws: int = 1,
    burn: int = 1000,
    thin: int = 10,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Array]:
    """States of all layers from chains of block Gibbs sweeps, which leave alone what is known.

    Args:
        known: One case, for all chains, or one for each chain.
        chains: Independent chains.
        draws: States kept of each chain.
        burn: Sweeps before the first one kept.
        thin: Sweeps from one to the next.
        seed: Of all draws.
        progress: Called with (sweeps done, sweeps) now and then.

    Returns:
        (chains, draws, *dims) by layer.

    Raises:
        Error: no chains or draws, or another number of cases than of chains.
    """
    for what, number, least in (("chains", chains, 1), ("draws", draws, 1), ("burn", burn, 0), ("thin", thin, 1)):
        if number < least:
            raise Error(f"sampling needs {what} of {least} or more, not {number}")
    known, machine = known.spread(chains), known.machine
    layers = machine.artifact.layers
    out = {n: np.empty((chains, draws, *layers[n].dims), machine.dtype) for n in machine.layers}
    with one_blas_thread():
        s, fields = known.start(seed), machine.new_state(chains)
        done, sweeps = 0, burn + (draws - 1) * thin
        for draw in range(draws):
            target = burn + draw * thin
            while done < target:
                some = min(SWEEPS, target - done)
                machine.gibbs(s, fields, some, seed, ("sample", done), known.clamped, held=known.held)
                done += some
                if progress is not None:
                    progress(done, sweeps)
            for name, x in to_states(machine, s).items():
                out[name][:, draw] = x
    return out


def infer(known: Known, sweeps: int = 50, progress: Progress | None = None) -> dict[str, Array]:
    """Posterior means of the layers of which something is latent: exact where it is independent, else by mean field.

    Args:
        known: What is observed.
        sweeps: Of mean field.
        progress: Called with (cases done, cases) now and then.

    Returns:
        Means of the states, (cases, *dims) by layer; observed values are as they were.
    """
    require_something(known, known.s)
    if not known.latent:
        raise Error(f"every layer of {known.machine.artifact.name} is observed: there is nothing to infer")
    parts = []
    with one_blas_thread():
        for part in chunks(known):
            s, _ = _inferred(part, sweeps)
            parts.append(to_states(known.machine, {n: s[n] for n in known.latent}))
            if progress is not None:
                progress(min(len(parts) * CASES, known.cases), known.cases)
    return joined(parts)


def reconstruct(known: Known, sweeps: int = 50, seed: int = 0, progress: Progress | None = None) -> Reconstruction:
    """The observed layers after one pass to all that is latent and back.

    Each unit is given all others: those of observed layers, its own among them where it has lateral edges, as they were
    observed, or filled in where they are missing.

    Args:
        known: What is observed.
        sweeps: Of mean field, and of Gibbs sampling, where what is latent is not independent.
        seed: Of the draws.
        progress: Called with (cases done, cases) now and then.
    """
    require_something(known, known.s)
    machine = known.machine
    seen = [n for n in known.s if n not in machine.given]
    means, samples = [], []
    with one_blas_thread():
        for number, part in enumerate(chunks(known)):
            s, _ = _inferred(part, sweeps)
            drawn = _drawn(part, s, sweeps, seed, number)
            mean, sample = {}, {}
            for name in seen:
                mean[name], sample[name] = np.empty_like(s[name]), drawn[name].copy()
                machine.mean(name, machine.coupling(name, s, part.cases), mean[name], s=s)
                key = stream_key(seed, "reconstruct", number, name)
                machine.sample(name, machine.coupling(name, drawn, part.cases), key, sample[name], s=drawn)
            means.append(to_states(machine, mean))
            samples.append(to_states(machine, sample))
            if progress is not None:
                progress(min(len(means) * CASES, known.cases), known.cases)
    mean = joined(means)
    observed = to_states(machine, {n: known.s[n] for n in seen})
    errors = {n: _error(mean[n], observed[n], known.held.get(n)) for n in seen}
    layers = machine.artifact.layers
    ranked = tuple(n for n in seen if layers[n].support in ("one_hot", "counts") and len(layers[n].dims) == 1)
    return Reconstruction(mean, joined(samples), errors, ranked)


def _error(means: Array, observed: Array, held: Array | None) -> float:
    """Mean squared difference of what is observed; NaN if nothing is."""
    square = np.square(means.astype(np.float64) - observed).reshape(len(means), -1)
    seen = square.reshape(-1) if held is None else square[held]
    return float(seen.mean()) if seen.size else float("nan")


def chunks(known: Known, size: int = CASES) -> Iterator[Known]:
    """The cases, so many at a time."""
    for start in range(0, known.cases, size):
        yield known.take(slice(start, start + size))


def joined(parts: list[dict[str, Array]]) -> dict[str, Array]:
    """Arrays of some cases after one another, by layer."""
    return {n: np.concatenate([part[n] for part in parts]) for n in parts[0]}


def _inferred(known: Known, sweeps: int) -> tuple[State, State]:
    """Statistics of all layers, latent ones by their means, and the coupling fields of those means."""
    s, fields = known.empty(), known.machine.new_state(known.cases)
    known.machine.infer(s, fields, known.clamped, sweeps, held=known.held)
    return s, fields


def _drawn(known: Known, means: State, sweeps: int, seed: int, number: int) -> State:
    """A state of all layers with what is latent drawn from its posterior: at once, or by Gibbs sweeps."""
    machine, words = known.machine, ("reconstruct", number)
    s = {n: x.copy() for n, x in means.items()}
    if not known.exact:
        s = known.start(seed, *words)
        machine.gibbs(s, machine.new_state(known.cases), sweeps, seed, words, known.clamped, held=known.held)
        return s
    for name in known.latent:
        key = stream_key(seed, *words, name)
        machine.sample(
            name, machine.coupling(name, means, known.cases), key, s[name], s=means, held=known.held.get(name)
        )
    return s
