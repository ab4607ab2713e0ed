"""What is known of some cases: layers that are clamped, entries of them that are missing, lengths of documents.

Everything latent is summed over: the layers that are left out, and the missing entries. Where a layer has missing
entries its statistics are 0 there, so that they send nothing and have no energy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.estimators.states import Free
from pgmdsl.runtime.machine import NOTHING, Held, Machine

Array = NDArray[Any]
Mask = NDArray[np.bool_]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """What is known of `cases` cases.

    `known`: by layer of which anything is observed, statistics (cases, size), 0 where missing. `missing`: by layer
    with missing entries, where these are, (cases, size). `lengths`: by count layer of the machine (cases,).
    """

    machine: Machine
    cases: int
    known: Mapping[str, Array]
    missing: Mapping[str, Mask]
    lengths: Mapping[str, Doubles]

    def take(self, rows: Any) -> Evidence:
        """The evidence of some of the cases."""
        parts = ({n: x[rows] for n, x in held.items()} for held in (self.known, self.missing, self.lengths))
        return Evidence(self.machine, len(np.arange(self.cases)[rows]), *parts)

    def exposure(self, layer: str) -> Doubles | None:
        """What a layer's bias is multiplied by, (cases,): the lengths of its count neighbours; None for 1."""
        counted = [n for n in self.machine.artifact.layers[layer].counted if n in self.lengths]
        return np.asarray(sum(self.lengths[n] for n in counted), np.float64) if counted else None

    def own(self, layer: str) -> Array:
        """A layer's own fields: (size,), or (cases, size) where they depend on lengths."""
        exposure, own = self.exposure(layer), self.machine.own[layer]
        return own if exposure is None else (exposure[:, None] * own).astype(self.machine.dtype)

    def words(self, layer: str) -> Doubles:
        """How many words of each document of a count layer are latent, (cases,)."""
        held = self.known[layer].sum(axis=1, dtype=np.float64) if layer in self.known else 0.0
        return np.asarray(self.lengths[layer] - held, np.float64)

    def score(self) -> Doubles:
        """-energy of what is known alone, (cases,)."""
        return score(self, self.known)


def score(evidence: Evidence, s: Mapping[str, Array]) -> Doubles:
    """-energy of the layers in a state of the evidence's cases, their documents having its lengths, (cases,)."""
    out = evidence.machine.score(s, evidence.cases, biased=False, missing=evidence.missing)
    for name, x in s.items():
        if name not in evidence.machine.given:
            own = x @ evidence.machine.own[name].astype(np.float64)
            exposure = evidence.exposure(name)
            out += own if exposure is None else exposure * own
    return out


def gather(
    machine: Machine,
    clamped: Mapping[str, Array] | None = None,
    held: Held = NOTHING,
    lengths: Mapping[str, float | Array] | None = None,
) -> Evidence:
    """What is known, in one form.

    Args:
        machine: The model with its parameters.
        clamped: Statistics (cases, size) of the observed layers and of the given ones. Of a document with missing
            counts the row's sum is its length, whatever stands in the missing places.
        held: By layer with missing entries, where its entries are observed, (cases, size).
        lengths: Of documents that are not observed, (cases,) or one number; else the machine's own.

    Raises:
        Error: a given layer, or the length of a document, is not known.
    """
    clamped, lengths = clamped or {}, lengths or {}
    absent = [n for n in machine.given if n not in clamped]
    if absent:
        raise Error(
            f"{machine.artifact.name}: probabilities are for each state of the given layer{'s'[: len(absent) > 1]} "
            f"{', '.join(absent)}: give these states, one a case"
        )
    documents = [n for n in machine.layers if machine.artifact.layers[n].support == "counts"]
    stated = {n: np.atleast_1d(np.asarray(lengths[n], np.float64)) for n in documents if n in lengths}
    cases = max((len(x) for x in (*clamped.values(), *stated.values())), default=1)
    known = {n: clamped[n] for n in machine.layers if n in clamped}
    every = {n: stated[n] if n in stated and n not in known else machine.length(n, known) for n in documents}
    missing: dict[str, Mask] = {}
    for name, mask in held.items():
        layer = machine.artifact.layers[name]
        if name not in known or mask.all():
            continue
        absent_entries = ~mask.reshape(cases, -1, layer.states if layer.support == "one_hot" else 1)
        absent_entries[:] = absent_entries.any(axis=2, keepdims=True)
        missing[name] = absent_entries.reshape(cases, layer.size)
        known[name] = np.ascontiguousarray(np.where(missing[name], 0, known[name]), machine.dtype)
    return Evidence(machine, cases, known, missing, {n: np.full(cases, x) for n, x in every.items()})


@dataclass(frozen=True)
class Group:
    """Cases of which the same entries are missing, and as many words to place in each count layer that is not known.

    `rows` are their places among all cases. `free` says what varies of the layers that are not wholly known; of a
    layer of which nothing is known in this group `known` has no entry.
    """

    rows: NDArray[np.int64]
    evidence: Evidence
    free: Free

    @property
    def clamped(self) -> frozenset[str]:
        """The layers that are known as a whole."""
        return frozenset(self.evidence.known.keys() - self.free.missing.keys())


def groups(evidence: Evidence) -> Iterator[Group]:
    """The cases by what varies, in order of their first cases."""
    machine = evidence.machine
    keys: list[Array] = [np.packbits(mask, axis=1) for mask in evidence.missing.values()]
    open_documents = [n for n in evidence.lengths if n not in evidence.known or n in evidence.missing]
    keys += [evidence.words(n)[:, None] for n in open_documents]
    first, number = unique_rows(keys, evidence.cases)
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange(len(first) + 1))
    for which in np.argsort(first):
        rows = order[bounds[which] : bounds[which + 1]]
        part = evidence.take(rows) if len(first) > 1 else evidence
        masks = {n: mask[0] for n, mask in part.missing.items() if mask[0].any()}
        known = {n: x for n, x in part.known.items() if n not in masks or not masks[n].all()}
        words = {n: round(float(part.words(n)[0])) for n in open_documents if n not in known or n in masks}
        free = Free({n: mask for n, mask in masks.items() if n in known}, words)
        yield Group(rows, Evidence(machine, len(rows), known, part.missing, part.lengths), free)


def distinct(evidence: Evidence) -> tuple[Evidence, NDArray[np.int64]]:
    """The different cases of some evidence without missing entries, and which of them each case is."""
    parts: list[Array] = [*evidence.known.values(), *(np.asarray(x)[:, None] for x in evidence.lengths.values())]
    first, number = unique_rows(parts, evidence.cases)
    return evidence.take(first), number


def unique_rows(parts: Sequence[Array], rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each different row of some arrays (rows, ...) side by side first is, and which of them each row is."""
    if not parts:
        return np.zeros(1, np.int64), np.zeros(rows, np.int64)
    texts = [np.ascontiguousarray(x + 0.0 if x.dtype.kind == "f" else x).view(np.uint8) for x in parts]  # -0.0 is 0
    table = np.ascontiguousarray(np.concatenate([x.reshape(rows, -1) for x in texts], axis=1))
    whole = table.view(np.dtype((np.void, table.shape[1]))).reshape(rows)
    _, first, number = np.unique(whole, return_index=True, return_inverse=True)
    return first, number.reshape(-1)
