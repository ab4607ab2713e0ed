"""What is known of some cases when a model is used: states of any layers, single values of them, lengths of documents.

All else is latent. Missing values are taken to be missing at random, as in training (see `runtime.missing`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Artifact, ArtifactLayer
from pgmdsl.grammar.diagnostics import Error, suggest
from pgmdsl.runtime.columns import Column
from pgmdsl.runtime.data import Data
from pgmdsl.runtime.evaluation import held_in, statistics_of
from pgmdsl.runtime.machine import Machine, State
from pgmdsl.runtime.random import stream_key
from pgmdsl.runtime.sources import Observed, absolute, column_of

Array = NDArray[Any]
Mask = NDArray[np.bool_]
Doubles = NDArray[np.float64]
Lengths = Mapping[str, Any]  # by count layer: a whole number, or an array (cases,) of them


@dataclass(frozen=True)
class Known:
    """What is known of `cases` cases.

    Attributes:
        machine: the model with its parameters.
        cases: how many.
        s: statistics (cases, size) of the layers of which a value is known in some case; anything where it is missing,
            but the counts of a document sum to its length.
        held: by layer of `s` that lacks values, which are known, (cases, size).
        lengths: of the documents of count layers that are not in `s`, (cases,).
    """

    machine: Machine
    cases: int
    s: State
    held: Mapping[str, Mask]
    lengths: Mapping[str, Doubles]

    @property
    def clamped(self) -> frozenset[str]:
        """The layers that are known as a whole."""
        return frozenset(n for n in self.s if n not in self.held)

    @property
    def latent(self) -> tuple[str, ...]:
        """The layers of which something is latent, in file order."""
        return tuple(n for n in self.machine.layers if n not in self.clamped)

    @property
    def exact(self) -> bool:
        """Whether all that is latent is independent given what is known."""
        return self.machine.independent(self.latent)

    def take(self, rows: Any) -> Known:
        """Some of the cases, any number of times each."""
        s = {n: np.ascontiguousarray(x[rows]) for n, x in self.s.items()}
        held = {n: np.ascontiguousarray(x[rows]) for n, x in self.held.items()}
        lengths = {n: x[rows] for n, x in self.lengths.items()}
        return Known(self.machine, len(np.arange(self.cases)[rows]), s, held, lengths)

    def spread(self, cases: int) -> Known:
        """One case so many times; as many cases as they are. Raises Error for another number."""
        if self.cases == cases:
            return self
        if self.cases != 1:
            names = " and ".join([*self.s, *self.lengths])
            raise Error(f"{self.cases} cases of {names} are given, and there are {cases} chains: give 1 or {cases}")
        return self.take(np.zeros(cases, np.int64))

    def empty(self) -> State:
        """Statistics of all layers: what is known, 0 elsewhere; documents have their lengths."""
        s = self.machine.new_state(self.cases)
        for name, x in s.items():
            if name in self.s:
                x[:] = self.s[name]
            elif name in self.lengths:
                x[:] = self.lengths[name][:, None] / x.shape[1]
        return s

    def start(self, seed: int, *words: int | str) -> State:
        """Statistics of all layers: what is known, and draws from the layers' own fields for the rest.

        No unit hears another, not even of its own layer: units drawn in turn from a state that all chains share would
        leave them near that state, perhaps for longer than they are run.
        """
        machine, s = self.machine, self.empty()
        for name in self.latent:
            key = stream_key(seed, "start", name, *words)
            machine.sample(name, np.zeros_like(s[name]), key, s[name], factor=0.0, s=s, held=self.held.get(name))
        return s


# --- from what users give ---------------------------------------------------------------------------------


def wrapped(
    artifact: Artifact, given: Mapping[str, Any], masks: Mapping[str, Any] | None, lengths: Lengths | None
) -> dict[str, Any]:
    """Values by layer, each with its mask and its documents' lengths where such are given.

    Raises:
        Error: a mask of a layer without values, or a length of a layer that has no documents.
    """
    masks, lengths = masks or {}, lengths or {}
    for name in masks:
        if name not in given:
            raise Error(f"a mask is given for {name}, but no values: give --data {name}=PATH, or {{'{name}': array}}")
    for name in lengths:
        layer = artifact.layers.get(name)
        if layer is None or layer.support != "counts":
            known = [n for n, x in artifact.layers.items() if x.support == "counts"]
            has = f"those of documents are {', '.join(known)}" if known else "it has no layer of documents"
            raise Error(f"a length is given for {name}, which is no layer of documents of {artifact.name}: {has}")
    specs = {spec.layer: spec for spec in artifact.data}
    out: dict[str, Any] = {}
    for name, values in given.items():
        mask, length = masks.get(name), lengths.get(name)
        if mask is None and length is None:
            out[name] = values
            continue
        block = specs[name].length if name in specs else None
        own = Observed(_placed(values), None, None if isinstance(block, str) else block)
        own = values if isinstance(values, Observed) else own
        out[name] = replace(
            own, mask=own.mask if mask is None else _placed(mask), length=own.length if length is None else length
        )
    return out


def _placed(values: Any) -> Any:
    return absolute(values) if isinstance(values, str | Path) else values


def open_any(artifact: Artifact, given: Mapping[str, Any], base: Path, cases: int | None = None) -> Data:
    """The values of any layers, checked; `given` as for `open_data`, but hidden layers may be among them.

    With `cases`, one case of a layer stands for so many.

    Raises:
        Error: a layer that the model does not have, values that do not fit, or layers of different numbers of cases.
    """
    specs = {spec.layer: spec for spec in artifact.data}
    for name in given:
        if name not in artifact.layers:
            hint = suggest(name, list(artifact.layers)) or f"the layers are {', '.join(artifact.layers)}"
            raise Error(f"{artifact.name} has no layer {name}: {hint}")
    columns = {n: column_of(x, given[n], specs.get(n), base) for n, x in artifact.layers.items() if n in given}
    if cases is not None and cases > 0:
        columns = {n: _repeated(c, cases) if c.rows == 1 else c for n, c in columns.items()}
    _verify_same({n: column.rows for n, column in columns.items()})
    return Data(columns, np.arange(next((column.rows for column in columns.values()), 1)), None)


def _repeated(column: Column, cases: int) -> Column:
    first = np.zeros(cases, np.int64)
    mask = None if column.mask is None else column.mask[first]
    lengths = None if column.lengths is None else column.lengths[first]
    return replace(column, values=column.values[first], mask=mask, lengths=lengths)


def known_of(
    machine: Machine,
    data: Data,
    lengths: Lengths | None = None,
    *,
    seed: int = 0,
    option: str = "data",
) -> Known:
    """What some data say, and what is said of the lengths of documents that are not in them.

    Args:
        machine: The model with its parameters; its own lengths serve where none is given.
        data: Columns of any layers; none of any says nothing of one case.
        lengths: Of documents of layers without a column: a whole number, or one a case.
        seed: Of bits that are drawn, once.
        option: Of the command line, by which values are given, for messages.

    Raises:
        Error: a given layer without values, a length that is not known, or different numbers of cases.
    """
    require_given(machine, data.columns, option)
    stated = latent_lengths(machine, data.columns, lengths)
    counts = dict.fromkeys(data.columns, data.cases) | {n: len(x) for n, x in stated.items() if len(x) > 1}
    _verify_same(counts)
    cases = next(iter(counts.values()), 1)
    held = {n: mask for n, mask in held_in(data).items() if not mask.all()}
    lengths = {n: np.broadcast_to(x, cases) for n, x in stated.items()}
    return Known(machine, cases, statistics_of(machine, data, seed), held, lengths)


def _verify_same(counts: Mapping[str, int]) -> None:
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{n} has {c}" for n, c in counts.items())
        raise Error(f"the layers must have the same number of cases: {shown}")


def require_given(machine: Machine, known: Collection[str], option: str = "data") -> None:
    """Raise Error for a given layer without values; `option` of the command line is how these are given."""
    for name in machine.given:
        if name not in known:
            raise Error(
                f"there are no values for the given layer {name}, on which everything else is conditional: give "
                f"--{option} {name}=PATH, or {{'{name}': array}}"
            )


def latent_lengths(machine: Machine, known: Collection[str], lengths: Lengths | None) -> dict[str, Doubles]:
    """The lengths, (1,) or (cases,), of the documents of count layers that are not known.

    Raises:
        Error: a length that nothing says, or that is no whole number above 0.
    """
    layers = [machine.artifact.layers[n] for n in machine.layers if n not in known]
    return {x.name: _lengths(x, (lengths or {}).get(x.name), machine) for x in layers if x.support == "counts"}


def _lengths(layer: ArtifactLayer, given: Any, machine: Machine) -> Doubles:
    """Lengths of documents, (1,) or (cases,)."""
    if given is None:
        return machine.length(layer.name, {})
    values = np.asarray(given)
    if values.dtype.kind not in "biuf" or values.ndim > 1 + (values.shape[-1:] == (1,)) or values.size == 0:
        raise Error(f"the lengths of documents of {layer.name} have shape {values.shape}: give a number, or one a case")
    flat = values.reshape(-1).astype(np.float64)
    if not ((flat >= 1) & (flat == np.floor(flat))).all():
        bad = flat[~((flat >= 1) & (flat == np.floor(flat)))][0]
        raise Error(f"the length of a document of {layer.name} is given as {bad:g}: give a whole number, 1 at least")
    return flat


def require_something(known: Known, names: Iterable[str]) -> None:
    """Raise Error unless a value of some layer that is modelled is known."""
    modelled = [n for n in names if n not in known.machine.given]
    if not modelled:
        raise Error(f"nothing is observed: give states of a layer of {known.machine.artifact.name}")
