"""Samples, inferences and reconstructions as arrays of states: what users give and get.

Arrays are of states, (cases, *dims) by layer; softmax layers one-hot, or on the way in labels too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error, suggest
from pgmdsl.runtime.columns import check_column
from pgmdsl.runtime.kernels import one_blas_thread
from pgmdsl.runtime.machine import Machine, State
from pgmdsl.runtime.random import stream_key

Array = NDArray[Any]

CASES = 4096  # inferred at a time
SWEEPS = 20  # of sampling, from one word of progress to the next


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """Visible layers after one pass through the hidden ones, (cases, *dims) by layer.

    `means`: the mean of each layer given the hidden layers' posterior means; `samples`: drawn given hidden states
    drawn from the posterior, or from its mean-field approximation.
    """

    means: Mapping[str, Array]
    samples: Mapping[str, Array]


def to_statistics(machine: Machine, states: Mapping[str, Any]) -> State:
    """States of some layers, checked, as statistics (cases, size).

    Args:
        machine: The model with its parameters.
        states: By layer (cases, *dims), or (cases, size); labels of softmax sites too.

    Raises:
        Error: A layer that the model does not have, a wrong shape, different numbers of cases, or a value outside
            the support.
    """
    out: State = {}
    for name, values in states.items():
        if name not in machine.artifact.layers:
            near = suggest(name, list(machine.artifact.layers))
            raise Error(f"{machine.artifact.name} has no layer {name}" + (f": {near}" if near else ""))
        column = check_column(machine.artifact.layers[name], np.asarray(values), f"the states given for {name}")
        x = np.empty((column.rows, column.layer.size), machine.dtype)
        column.states(np.arange(column.rows), x, machine.kernels.draw_bits, 0)
        out[name] = np.ascontiguousarray(machine.kernels.statistic[name](machine.p, x), dtype=machine.dtype)
    counts = {name: len(s) for name, s in out.items()}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{n} has {c}" for n, c in counts.items())
        raise Error(f"the layers' states must have the same number of cases: {shown}")
    return out


def to_states(machine: Machine, s: Mapping[str, Array]) -> dict[str, Array]:
    """Statistics (cases, size) as states (cases, *dims), in new arrays."""
    return {
        name: np.array(machine.kernels.state[name](machine.p, x)).reshape(len(x), *machine.artifact.layers[name].dims)
        for name, x in s.items()
    }


def draw_samples(
    machine: Machine,
    *,
    chains: int = 100,
    draws: int = 1,
    burn: int = 1000,
    thin: int = 10,
    clamp: Mapping[str, Any] | None = None,
    starts: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Array]:
    """States of all layers from chains of block Gibbs sweeps.

    Args:
        machine: The model with its parameters.
        chains: Independent chains.
        draws: States kept of each chain.
        burn: Sweeps before the first one kept.
        thin: Sweeps from one to the next.
        clamp: States of layers that stay as they are: one case, for all chains, or one for each chain.
        starts: Statistics (chains, size) that chains start from, of some layers; the others start from their own
            fields alone.
        seed: Of all draws.
        progress: Called with (sweeps done, sweeps) now and then.

    Returns:
        (chains, draws, *dims) by layer.

    Raises:
        Error: States that do not fit the model, or no chains or draws.
    """
    for what, number, least in (("chains", chains, 1), ("draws", draws, 1), ("burn", burn, 0), ("thin", thin, 1)):
        if number < least:
            raise Error(f"sampling needs {what} of {least} or more, not {number}")
    held = _clamped(machine, clamp or {}, chains)
    s, fields = machine.new_state(chains), machine.new_state(chains)
    layers = machine.artifact.layers
    out = {n: np.empty((chains, draws, *layers[n].dims), machine.dtype) for n in machine.layers}
    with one_blas_thread():
        for name in machine.layers:
            start = held.get(name, (starts or {}).get(name))
            if start is None:
                machine.sample(name, fields[name], stream_key(seed, "start", name), s[name])
            else:
                s[name][:] = start
        done, sweeps = 0, burn + (draws - 1) * thin
        for draw in range(draws):
            target = burn + draw * thin
            while done < target:
                some = min(SWEEPS, target - done)
                machine.gibbs(s, fields, some, seed, ("sample", done), held)
                done += some
                if progress is not None:
                    progress(done, sweeps)
            for name, x in to_states(machine, s).items():
                out[name][:, draw] = x
    return out


def _clamped(machine: Machine, clamp: Mapping[str, Any], chains: int) -> State:
    held = to_statistics(machine, clamp)
    for name, s in held.items():
        if len(s) not in (1, chains):
            raise Error(f"{name} is clamped to {len(s)} cases, and there are {chains} chains: give 1 or {chains}")
    return {n: np.ascontiguousarray(np.broadcast_to(s, (chains, s.shape[1]))) for n, s in held.items()}


def infer(machine: Machine, observed: Mapping[str, Any], sweeps: int = 50) -> dict[str, Array]:
    """Posterior means of the layers that are not observed: exact where these share no edge, else by mean field.

    Args:
        machine: The model with its parameters.
        observed: States (cases, *dims) by layer.
        sweeps: Of mean field.

    Returns:
        Means of the states, (cases, *dims) by layer.
    """
    given = _observed(machine, observed)
    parts = []
    with one_blas_thread():
        for chunk in _chunks(given):
            s, _ = _infer(machine, chunk, sweeps)
            parts.append(to_states(machine, {n: x for n, x in s.items() if n not in given}))
    return _joined(parts)


def reconstruct(machine: Machine, observed: Mapping[str, Any], sweeps: int = 50, seed: int = 0) -> Reconstruction:
    """The observed layers after one pass to the other layers and back.

    Where observed layers share an edge, each is given the others as they were observed.

    Args:
        machine: The model with its parameters.
        observed: States (cases, *dims) by layer.
        sweeps: Of mean field, where the other layers are not independent.
        seed: Of the draws.
    """
    given = _observed(machine, observed)
    means, samples = [], []
    with one_blas_thread():
        for number, chunk in enumerate(_chunks(given)):
            s, fields = _infer(machine, chunk, sweeps)
            mean, sample = {}, {}
            drawn = dict(s)
            for name in machine.layers:
                if name not in given:
                    drawn[name] = np.empty_like(s[name])
                    key = stream_key(seed, "reconstruct", number, name)
                    machine.sample(name, fields[name], key, drawn[name])
            for name in given:
                mean[name], sample[name] = np.empty_like(s[name]), np.empty_like(s[name])
                machine.mean(name, machine.coupling(name, s, len(s[name])), mean[name])
                key = stream_key(seed, "reconstruct", number, name)
                machine.sample(name, machine.coupling(name, drawn, len(s[name])), key, sample[name])
            means.append(to_states(machine, mean))
            samples.append(to_states(machine, sample))
    return Reconstruction(_joined(means), _joined(samples))


def _observed(machine: Machine, observed: Mapping[str, Any]) -> State:
    given = to_statistics(machine, observed)
    if not given:
        raise Error(f"nothing is observed: give states of a layer of {machine.artifact.name}")
    return given


def _chunks(given: State) -> list[State]:
    cases = len(next(iter(given.values())))
    return [{n: s[i : i + CASES] for n, s in given.items()} for i in range(0, cases, CASES)]


def _joined(parts: list[dict[str, Array]]) -> dict[str, Array]:
    return {n: np.concatenate([part[n] for part in parts]) for n in parts[0]}


def _infer(machine: Machine, given: State, sweeps: int) -> tuple[State, State]:
    """Statistics of all layers, the latent ones by their means, and the coupling fields of those means."""
    cases = len(next(iter(given.values())))
    s, fields = machine.new_state(cases), machine.new_state(cases)
    for name, x in given.items():
        s[name][:] = x
    machine.infer(s, fields, frozenset(given), sweeps)
    return s, fields
