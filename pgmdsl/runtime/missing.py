"""Missing values: where they are, what stands in for them, and what is said about them.

A missing value is NaN, or 0 in a mask. It is a latent variable of its case, on the assumption that values are missing
at random: that one is missing may depend on what was observed of its case, not on the value itself (Rubin 1976).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import ArtifactLayer
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.sparse import chunks_of
from pgmdsl.runtime.supports import middle, rounded, unit_at

if TYPE_CHECKING:
    from pgmdsl.runtime.columns import Column
    from pgmdsl.runtime.data import Data

Array = NDArray[Any]
Known = NDArray[np.bool_]


def shaped_mask(
    layer: ArtifactLayer, mask: Array, shape: tuple[int, ...], stored: tuple[int, ...], place: str
) -> Known:
    """A mask as (rows, columns) of the stored values, or (rows, 1) where it has one entry a case.

    Args:
        layer: the layer whose values it masks.
        mask: 0 where a value is missing, else 1; of the values' own shape, one a case, or one a one-hot site.
        shape: of the values as they were given.
        stored: of the values as they are stored, (rows, columns).
        place: of the values, for messages.

    Raises:
        Error: another shape, or other values.
    """
    rows = stored[0]
    if mask.dtype.kind not in "biuf" or not ((mask == 0) | (mask == 1)).all():
        raise Error(
            f"{place}: the mask holds other values than 0 (missing) and 1 (observed); make it of them, for example "
            "~numpy.isnan(values)"
        )
    known = np.asarray(mask != 0)
    if mask.shape in (shape, stored):
        return known.reshape(stored)
    if mask.shape in ((rows,), (rows, 1)):
        return known.reshape(rows, 1)
    sites = layer.dims[:-1]
    if layer.support == "one_hot" and mask.shape in ((rows, *sites), (rows, layer.size // layer.states)):
        return np.repeat(known.reshape(rows, -1), layer.states, axis=1)
    site = f", one a site {(rows, *sites)}," if layer.support == "one_hot" and sites else ""
    raise Error(
        f"{place}: the mask has shape {mask.shape}, but the values of {layer.name} have {shape}; give the mask that "
        f"shape{site} or one entry a case, ({rows},)"
    )


# --- what stands in ---------------------------------------------------------------------------------------


def filling(column: Column) -> NDArray[np.float64]:
    """What stands in for missing values (see `Column.fill`), from all rows alike.

    Args:
        column: the column, with any `fill`.
    """
    total, count = np.zeros(column.layer.size), np.zeros(column.layer.size)
    for part, _ in chunks_of(column.values):
        rows = np.arange(part.start, part.stop)
        observed = column.observed(rows)
        states = column.expected(rows)
        total += states.sum(axis=0) if observed is None else np.where(observed, states, 0).sum(axis=0)
        count += len(rows) if observed is None else observed.sum(axis=0)
    mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    mean[count == 0] = middle(column.layer, mean[count > 0])
    return rounded(column.layer, mean)


def spread_words(out: Array, observed: Known, lengths: NDArray[np.float64], mean: NDArray[np.float64]) -> None:
    """Whole numbers into the missing counts of documents, in proportion to the mean counts, to make up their lengths.

    Args:
        out: (rows, K) counts; those that are missing are overwritten.
        observed: (rows, K).
        lengths: (rows,), of whole documents.
        mean: (K,) mean counts.
    """
    rest = lengths - np.where(observed, out, 0).sum(axis=1, dtype=np.float64)
    weight = np.where(observed, 0.0, mean)
    weight += (~observed) * np.where(weight.sum(axis=1) > 0, 0.0, 1.0)[:, None]  # words that are nowhere observed
    mass = weight.sum(axis=1)
    share = weight * np.divide(rest, mass, out=np.zeros_like(rest), where=mass > 0)[:, None]
    counts = np.floor(share)
    left = rest - counts.sum(axis=1)  # fewer than there are words: one more where least was rounded off
    order = np.argsort(np.argsort(np.where(observed, 1.0, counts - share), axis=1, kind="stable"), axis=1)
    counts += (order < left[:, None]) & ~observed
    np.copyto(out, counts, where=~observed, casting="unsafe")


# --- documents --------------------------------------------------------------------------------------------


class Lengths:
    """What is observed of the lengths of documents.

    Attributes:
        words: (rows,) the observed words of each.
        complete: (rows,) whether no count is missing.
        nothing: (rows,) whether all are.
    """

    def __init__(self, rows: int) -> None:
        """Of so many documents."""
        self.words, self.complete, self.nothing = np.zeros(rows), np.ones(rows, bool), np.zeros(rows, bool)

    def note(self, rows: slice, counts: Array, known: Known) -> None:
        """Take up some documents, (rows, K), their missing counts 0."""
        self.words[rows] = counts.sum(axis=1, dtype=np.float64)
        self.complete[rows] = known.all(axis=1)
        self.nothing[rows] = ~known.any(axis=1)

    def verify_words(self, place: str) -> None:
        """Raise `Error` if a document has no words."""
        empty = np.flatnonzero(self.complete & (self.words == 0))
        if len(empty):
            count = f"is one of {len(empty)} documents" if len(empty) > 1 else "is a document"
            these = "these rows" if len(empty) > 1 else "this row"
            raise Error(
                f"{place}: row {empty[0]} (from 0) {count} without any words, of {len(self.words)} in all; a document "
                f"has one word at least: drop {these} here and in the other layers, for example "
                "counts[counts.sum(axis=1) > 0]"
            )


def document_lengths(
    seen: Lengths, stated: float | Array | None, name: str, place: str
) -> tuple[NDArray[np.float64], int | None]:
    """The length of each document, (rows,), and what was taken for those without any count, if none was stated.

    A document of which no count is missing has the length of its counts, whatever is stated; one without any count has
    the rounded mean of those, if nothing is stated.

    Raises:
        Error: a length that is needed is not stated, or is no whole number, or less than the words observed.
    """
    lacking = ~seen.complete
    if stated is None:
        partly = lacking & ~seen.nothing
        none = not seen.complete.any()
        if partly.any() or none:
            row = int(np.argmax(partly)) if partly.any() else 0
            how = "is not known" if partly.any() else "cannot be taken from other documents, as none is complete"
            raise Error(
                f"{place}: row {row} (from 0) lacks counts, and the length of its document {how}; state it in the data "
                f"block of {name}, length = 100 for all such documents, or length = a file with one number a case; for "
                f"a trained model by --length {name}=100, or lengths={{'{name}': 100}}"
            )
        assumed = max(1, round(float(seen.words[seen.complete].mean())))
        return np.where(lacking, float(assumed), seen.words), assumed
    given = np.asarray(stated)
    if given.dtype.kind not in "biuf" or given.shape not in ((), seen.words.shape, (*seen.words.shape, 1)):
        raise Error(
            f"{place}: the lengths of the documents of {name} have shape {given.shape}, and there are "
            f"{len(seen.words)} cases; give one number, or one number a case"
        )
    lengths = np.broadcast_to(given.reshape(-1).astype(np.float64), seen.words.shape)
    bad = lacking & ~((lengths >= np.maximum(seen.words, 1)) & (lengths == np.floor(lengths)))
    if bad.any():
        row = int(np.argmax(bad))
        raise Error(
            f"{place}: the length of row {row} (from 0) is stated as {lengths[row]:g}, and {int(seen.words[row])} of "
            "its words are observed; a length is a whole number, 1 at least, and no less than the words observed"
        )
    return np.where(lacking, lengths, seen.words), None


# --- what is said about it --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gaps:
    """What some cases lack of one layer.

    Attributes:
        sites: how many values there are in all; a one-hot site is one.
        missing: how many of them are missing.
        partly: (cases,) whether some value is missing.
        wholly: (cases,) whether all are.
        observed: (size,) how many cases have each entry.
    """

    sites: int
    missing: int
    partly: Known
    wholly: Known
    observed: NDArray[np.int64]


def gaps(data: Data, layer: str) -> Gaps | None:
    """What the cases lack of a layer; None where its column lacks nothing."""
    column = data.columns[layer]
    if not column.missing:
        return None
    each = column.layer.states if column.layer.support == "one_hot" else 1
    partly, wholly = np.zeros(data.cases, bool), np.zeros(data.cases, bool)
    counts, missing = np.zeros(column.layer.size, np.int64), 0
    for cases in data.chunks():
        observed = column.observed(data.rows[cases])
        assert observed is not None, "the column lacks something"
        partly[cases], wholly[cases] = ~observed.all(axis=1), ~observed.any(axis=1)
        counts += observed.sum(axis=0)
        missing += int((~observed).sum()) // each
    return Gaps(data.cases * column.layer.size // each, missing, partly, wholly, counts)


def verify_observed(data: Data) -> None:
    """Raise `Error` if a layer has no value at all in any case."""
    for name, column in data.columns.items():
        found = gaps(data, name)
        if found is not None and found.wholly.all():
            raise Error(
                f"{column.place}: every value of {name} is missing in the {data.cases} cases to train on; name other "
                f"data, mend the mask (1 is observed), or declare {name} hidden"
            )


def describe_missing(data: Data) -> list[str]:
    """What is missing, a sentence each: values by layer, cases without any, units that are never observed."""
    found = {name: g for name in data.columns if (g := gaps(data, name)) is not None and g.missing}
    out = []
    for name, g in found.items():
        share = g.missing / g.sites
        percent = f"{share:.1%}" if share >= 0.001 else f"{g.missing}"
        out.append(
            f"{percent} of the values of {name} are missing, in {int(g.partly.sum())} of {data.cases} cases: they are "
            "latent variables, taken to be missing at random"
        )
        out += _never_observed(data.columns[name], g)
        assumed = data.columns[name].assumed
        if assumed is not None and g.wholly.any():
            out.append(
                f"{int(g.wholly.sum())} documents of {name} without any count are given the rounded mean length of the "
                f"others, {assumed} words; state another with length = ... in the data block of {name}"
            )
    modelled = [n for n, column in data.columns.items() if column.layer.role != "given"]
    if found and all(n in found for n in modelled):
        empty = int(np.logical_and.reduce([found[n].wholly for n in modelled]).sum())
        if empty:
            cases = "case has" if empty == 1 else "cases have"
            out.append(f"{empty} {cases} no observed value in any layer: kept, but without any information")
    return out


def _never_observed(column: Column, found: Gaps) -> list[str]:
    never = np.flatnonzero(found.observed == 0)
    if not len(never):
        return []
    each = column.layer.states if column.layer.support == "one_hot" else 1
    sites = len(never) // each
    dims = column.layer.dims[:-1] if each > 1 else column.layer.dims
    first = unit_at(dims, int(never[0]) // each).strip(", ") or "its only site"
    kind = "sites" if each > 1 else "units"
    return [
        f"{sites} of the {column.layer.size // each} {kind} of {column.layer.name} are never observed, the first is "
        f"{first}: nothing in the data says what they are"
    ]
