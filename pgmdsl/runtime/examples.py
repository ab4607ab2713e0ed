"""What networks are trained on and used for: data as it is, the model's means, labels.

Inputs are the data's own values: where a data block draws bits, the levels they are drawn with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.data import Data, Splits
from pgmdsl.runtime.kernels import one_blas_thread
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.network import Network, grown
from pgmdsl.runtime.random import permutation, stream_key

Array = NDArray[Any]
CASES = 2000  # that means are computed of at a time
START_SWEEPS, MOST_SWEEPS = 10, 500  # of mean field


@dataclass(frozen=True)
class Examples:
    """Cases for a network.

    Attributes:
        network: the network.
        machine: the model that its means are of.
        data: the cases.
        seed: of the run.
    """

    network: Network
    machine: Machine
    data: Data
    seed: int

    @property
    def cases(self) -> int:
        """How many cases there are."""
        return self.data.cases

    def inputs(self, cases: Array) -> list[Array]:
        """The network's inputs for some cases, arrays (len(cases), size)."""
        return [*self._states(cases), *(self._means[n][cases] for n in self.network.means)]

    def _states(self, cases: Array) -> list[Array]:
        rows = self.data.rows[cases]
        return [self.data.columns[n].expected(rows).astype(self.machine.dtype) for n in self.network.inputs]

    @cached_property
    def _means(self) -> dict[str, Array]:
        """The means of hidden layers, of all cases."""
        parts = [self._means_of(part) for part in _parts(np.arange(self.cases))] if self.network.means else []
        return {n: np.concatenate([part[n] for part in parts]) for n in self.network.means}

    def _means_of(self, cases: Array) -> dict[str, Array]:
        target = self.network.target
        observed = {n: x.expected(self.data.rows[cases]) for n, x in self.data.columns.items() if n != target}
        return mean_field_means(self.machine, {n: x.astype(self.machine.dtype) for n, x in observed.items()}, target)

    def labels(self, cases: Array) -> Array:
        """The class of some cases, (len(cases),), -1 where it is not known."""
        return np.asarray(self._labels[cases])

    @cached_property
    def _labels(self) -> Array:
        assert self.network.target is not None, "asked of classifiers only"
        return labels_of(self.data, self.network.target)

    def take(self, cases: Array) -> Examples:
        """Some of the cases."""
        data = self.data
        weights = None if data.weights is None else data.weights[cases]
        return replace(self, data=replace(data, rows=data.rows[cases], weights=weights))

    def weight(self, cases: Array) -> NDArray[np.float64]:
        """The case weights, of mean 1 over all cases."""
        weights = self.data.weights
        return np.ones(len(cases)) if weights is None else weights[cases] / weights.mean()


def mean_field_means(machine: Machine, observed: Mapping[str, Array], absent: str | None) -> dict[str, Array]:
    """The mean-field means of hidden layers at the fixed point, (cases, size), given states of data.

    Args:
        machine: the model.
        observed: states (cases, size) of all other layers of data.
        absent: a layer that is left out of the model, as nothing is known of it.
    """
    part = Machine(
        machine.artifact,
        machine.kernels,
        machine.parameters,
        [n for n in machine.layers if n != absent],
        colours=machine.colours,
        lengths=machine.lengths,
    )
    cases = len(next(iter(observed.values())))
    s, fields = part.new_state(cases), part.new_state(cases)
    for name, x in observed.items():
        s[name][:] = part.kernels.statistic[name](part.p, np.ascontiguousarray(x))
    hidden = [n for n in part.layers if n not in observed]
    tolerance = np.finfo(machine.dtype).eps ** (2 / 3)
    with one_blas_thread():
        part.mean_field(s, fields, START_SWEEPS, observed.keys())
        for _ in range(MOST_SWEEPS):
            before = {n: s[n].copy() for n in hidden}
            part.kernels.mean_field_sweep(part.p, s, part.own, part.scale, fields, set(observed))
            if all(np.abs(s[n] - before[n]).max(initial=0) <= tolerance for n in hidden):
                break
    return {n: s[n] for n in hidden}


def _parts(cases: Array) -> list[Array]:
    return [cases[start : start + CASES] for start in range(0, len(cases), CASES)]


# --- labels -----------------------------------------------------------------------------------------------


def labels_of(data: Data, layer: str) -> Array:
    """The class of all cases, (cases,), -1 where it is missing."""
    states = data.columns[layer].expected(data.rows)
    known = data.columns[layer].observed(data.rows)
    labels = states.argmax(axis=1)
    return labels if known is None else np.where(known.all(axis=1), labels, -1)


def labelled(labels: Array, wanted: float | None, seed: int) -> Array:
    """The labelled cases, or some of them: as many of each class as there can be, drawn by seed.

    Args:
        labels: of all cases, -1 where there is none.
        wanted: how many; a share of them where it is below 1; None for all.
        seed: of the choice.

    Raises:
        Error: fewer cases have labels.
    """
    there = np.flatnonzero(labels >= 0)
    if wanted is None:
        return there
    count = max(1, round(wanted * len(there))) if wanted < 1 else int(wanted)
    if count > len(there):
        raise Error(f"labels = {count} cases, but {len(there)} of those for training have labels; ask for fewer")
    drawn = there[permutation(stream_key(seed, "labels"), len(there))]
    turn = np.zeros(len(drawn), np.int64)  # of each case, how many of its class come before it
    for k in np.unique(labels[drawn]):
        of_class = labels[drawn] == k
        turn[of_class] = np.arange(of_class.sum())
    return np.sort(drawn[np.argsort(turn, kind="stable")[:count]])


def verify_networks(artifact: Artifact, splits: Splits) -> None:
    """Raise `Error` for what would end a `finetune` phase that comes after hours of others.

    That is PyTorch not installed, values that are missing, labels that are not there, or nothing to watch for `stop`.
    """
    for number, phase in enumerate(artifact.phases):
        if phase.kind not in ("classify", "autoencode"):
            continue
        require_torch(f"finetune {phase.kind}")
        network = grown(artifact, number)
        for data in (splits.train, splits.valid):
            if data is not None:
                verify_inputs(network, data)
                _verify_labels(network, data)
        if "stop" in phase.settings and splits.valid is None:
            raise Error(
                "stop = patience(...) watches validation data, and there is none; write valid = 0.1 in the data block"
            )


def require_torch(what: str) -> None:
    """Raise `Error` unless PyTorch is installed."""
    if find_spec("torch") is None:
        raise Error(f"{what} needs PyTorch, which is not installed: pip install 'pgmdsl[torch]'")


def verify_inputs(network: Network, data: Data) -> None:
    """Raise `Error` where a layer is absent, or a value missing, that the network takes."""
    for name in network.inputs:
        if name not in data.columns:
            raise Error(f"the network takes values of {name}, and none are given: give --data {name}=PATH")
    for name in network.inputs:
        observed = data.columns[name].observed(data.rows)
        if observed is not None and not observed.all():
            raise Error(
                f"{data.columns[name].place}: values are missing, and a network takes complete rows: leave such cases "
                "out, or fill them in with `pgmc impute`"
            )


def _verify_labels(network: Network, data: Data) -> None:
    if network.target is not None and (labels_of(data, network.target) < 0).all():
        raise Error(f"{data.columns[network.target].place}: no case has a label; give labels to some")
