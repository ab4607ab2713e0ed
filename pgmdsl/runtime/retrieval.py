"""Retrieval by codes: how many of the cases nearest to a case, by the cosine of their codes, are of its class.

Every case is a query over all others (Hinton and Salakhutdinov 2006, figure 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.kernels import one_blas_thread
from pgmdsl.runtime.plots import COLOURS
from pgmdsl.runtime.sheets import DPI, INK, figure_of

Array = NDArray[Any]
QUERIES = 500  # that are ranked at a time


@dataclass(frozen=True)
class Retrieval:
    """What codes of so many numbers retrieve.

    `precision` and `recall` are means over queries when `retrieved` cases are taken, `average_precision` the mean over
    queries of the precision at each case of the query's class.
    """

    size: int
    cases: int
    retrieved: list[int]
    precision: list[float]
    recall: list[float]
    average_precision: float

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def retrieval(codes: Array, labels: Array) -> Retrieval:
    """The curve of codes (cases, size) with the cases' classes (cases,).

    Raises:
        Error: different numbers of both, or no two cases of a class.
    """
    if len(codes) != len(labels):
        raise Error(f"there are {len(labels)} labels for {len(codes)} cases: give one a case, in their order")
    x = codes.astype(np.float64)
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    x = np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)
    counts = _counts(len(x) - 1)
    precision, recall, average, queries = np.zeros(len(counts)), np.zeros(len(counts)), 0.0, 0
    with one_blas_thread():
        for start in range(0, len(x), QUERIES):
            rows = np.arange(start, min(start + QUERIES, len(x)))
            hits = _ranked_hits(x, labels, rows)
            found = hits.cumsum(axis=1, dtype=np.int64)
            total = found[:, -1]
            asked = total > 0
            queries += int(asked.sum())
            at = np.array(counts) - 1
            precision += (found[asked][:, at] / np.array(counts)).sum(axis=0)
            recall += (found[asked][:, at] / total[asked, None]).sum(axis=0)
            ranks = np.arange(1, hits.shape[1] + 1)
            average += float(((found / ranks * hits).sum(axis=1)[asked] / total[asked]).sum())
    if not queries:
        raise Error("no two cases are of one class, so that there is nothing to retrieve")
    precision, recall = precision / queries, recall / queries
    return Retrieval(codes.shape[1], queries, counts, precision.tolist(), recall.tolist(), average / queries)


def _ranked_hits(x: Array, labels: Array, rows: Array) -> NDArray[np.bool_]:
    """For some queries, whether each of the other cases, the nearest first, is of their class: (queries, cases - 1)."""
    nearness = x[rows] @ x.T
    nearness[np.arange(len(rows)), rows] = -np.inf
    order = np.argsort(-nearness, axis=1, kind="stable")[:, :-1]
    return np.asarray(labels[order] == labels[rows, None])


def _counts(most: int) -> list[int]:
    """1, 3, 7, 15, ..., and all."""
    counts = [2**k - 1 for k in range(1, 64) if 2**k - 1 < most]
    return [*counts, most]


def lsa_codes(train: Array, cases: Array, size: int) -> Array:
    """Latent semantic analysis: counts c as log(1 + c), projected on the training data's largest singular vectors.

    Source: Deerwester and others (1990); the logarithm as in Hinton and Salakhutdinov (2006).
    """
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import svds

    x = csr_array(np.log1p(train))
    if not 0 < size < min(x.shape):
        raise Error(f"latent semantic analysis of {x.shape} counts has fewer than {min(x.shape)} numbers, not {size}")
    with one_blas_thread():
        _, _, directions = svds(x, k=size, v0=np.ones(min(x.shape)))
        return np.asarray(np.log1p(cases) @ directions.T)


def draw_retrieval(found: Mapping[str, Retrieval], path: Path, title: str) -> None:
    """Precision by the number retrieved, and by recall, a line for each kind of codes; a file of the path's suffix."""
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

    figure = figure_of(9.6, 3.6)
    for column, by in enumerate(("retrieved", "recall")):
        axes = figure.add_subplot(1, 2, column + 1)
        for colour, (name, curve) in zip(COLOURS, found.items(), strict=False):
            label = f"{name}, {curve.size} numbers: mean average precision {curve.average_precision:.3f}"
            style: dict[str, Any] = {"marker": "o", "markersize": 3.5, "linewidth": 1.5, "color": colour}
            axes.plot(getattr(curve, by), curve.precision, label=label, **style)
        axes.set_ylim(0, 1)
        axes.set_ylabel("precision", fontsize=9, color=INK)
        axes.set_xlabel({"retrieved": "cases retrieved", "recall": "recall"}[by], fontsize=9, color=INK)
        axes.tick_params(labelsize=8.5, colors=INK)
        axes.grid(color="#d5dce3", linewidth=0.6)
        if by == "retrieved":
            counts = next(iter(found.values())).retrieved
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_locator(FixedLocator(counts[::2]))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_title(title, fontsize=10, color=INK, loc="left")
        else:
            axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    figure.tight_layout()
    figure.savefig(path, dpi=DPI)
