"""Pictures of a run: samples, filters, training curves; each one file, in the format of its path's suffix."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]

DPI = 150
_INK = "#1b2733"
_PAPER = "#ffffff"
_SHADE = "#eef2f6"
# Okabe and Ito (2008): apart for every kind of colour vision.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_STYLES = ("-", "--", "-.", ":")
_SHEET_WIDTH = 900  # of the images of a sheet, in pixels at most (one pixel a value at least)
_FILTERS = 100
_LOG_RANGE = 100.0  # a positive family that spans more is drawn on a logarithmic axis
_TITLES = {
    "reconstruction": "reconstruction error (mean square)",
    "active": "mean activity",
    "saturated": "share of saturated units",
    "singular": "largest singular value",
    "rate": "learning rate",
    "free_energy_gap": "free-energy gap, validation − training",
}


def sample_sheet(samples: Array, dims: tuple[int, ...], path: Path, title: str) -> None:
    """A sheet of grey images: values in [0, 1] or [-1, 1] on that scale, others on that of the smallest and largest.

    Args:
        samples: (n, *dims), or (n, product of dims).
        dims: height and width; one number for flat images, which must be square.
        path: the file to write.
        title: the caption.
    """
    images = np.asarray(samples, dtype=np.float64).reshape(len(samples), *_image_dims(dims))
    low, high = _grey_range(images)
    figure, axes, _ = _sheet(images, title, bar=0)
    axes.imshow(_mosaic(images), cmap="gray", vmin=low, vmax=high, interpolation="nearest", aspect="auto")
    figure.savefig(path, dpi=DPI)


def filter_sheet(weight: Array, dims: tuple[int, ...], path: Path, title: str) -> None:
    """The columns of a weight as images, largest norm first, at most 100; blue below 0, red above, white at 0.

    Args:
        weight: (product of dims, n).
        dims: height and width; one number for flat images, which must be square.
        path: the file to write.
        title: the caption.
    """
    w = np.asarray(weight, dtype=np.float64)
    order = np.argsort(-np.linalg.norm(w, axis=0), kind="stable")[:_FILTERS]
    images = w[:, order].T.reshape(-1, *_image_dims(dims))
    limit = float(np.quantile(np.abs(images), 0.998)) or 1.0
    shown = f"{title}, the {len(order)} largest of {w.shape[1]}" if len(order) < w.shape[1] else title
    figure, axes, bar = _sheet(images, shown, bar=86)
    picture = axes.imshow(
        _mosaic(images), cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest", aspect="auto"
    )
    colours = figure.colorbar(picture, cax=bar, extend="both")
    colours.outline.set_visible(False)
    colours.ax.tick_params(labelsize=9, colors=_INK, length=2)
    figure.savefig(path, dpi=DPI)


def curves(metrics: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Training curves: a panel for each family of figures, over the epochs of all phases, which are shaded in turn.

    A family is a field, its `valid_` twin, and the entries of a field that is a mapping (one figure a layer or weight).

    Args:
        metrics: records with `phase`, `epoch` (from the phase's start) and numeric fields; others are left out.
        path: the file to write.
    """
    families, phases = _families(metrics)
    columns = 2 if len(families) > 1 else 1
    rows = max(1, math.ceil(len(families) / columns))
    figure = _figure(3.9 * columns + 0.3, 2.35 * rows + 0.45)
    for k, (name, family) in enumerate(families.items()):
        axes = figure.add_subplot(rows, columns, k + 1)
        _draw_family(axes, family)
        _shade(axes, phases)
        named = k < columns and len(phases) > 1
        if named:
            _name_phases(axes, phases)
        title = _TITLES.get(name, name.replace("_", " "))
        axes.set_title(title, fontsize=10, color=_INK, loc="left", pad=28 if named else 7)
        if k >= len(families) - columns:
            axes.set_xlabel("epoch", fontsize=9, color=_INK)
    figure.tight_layout(h_pad=1.4, w_pad=1.6)
    figure.savefig(path, dpi=DPI)


# --- sheets -----------------------------------------------------------------------------------------------


def _image_dims(dims: tuple[int, ...]) -> tuple[int, int]:
    if len(dims) == 1:
        side = math.isqrt(dims[0])
        return side, dims[0] // side
    return dims[0], math.prod(dims[1:])


def _grey_range(images: Array) -> tuple[float, float]:
    low, high = float(images.min()), float(images.max())
    if low >= -1 and high <= 1:
        return (0.0 if low >= 0 else -1.0), 1.0
    return low, high


def _grid(count: int, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of a sheet a little wider than high, its last row as full as can be."""
    columns = min(count, max(1, round(math.sqrt(1.3 * count * height / width))))
    rows = math.ceil(count / columns)
    return rows, math.ceil(count / rows)


def _mosaic(images: Array) -> Array:
    """The images side by side in rows, with a gap around each: NaN, which shows the paper."""
    count, height, width = images.shape
    rows, columns = _grid(count, height, width)
    out = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1), np.nan)
    for k, image in enumerate(images):
        top, left = (k // columns) * (height + 1) + 1, (k % columns) * (width + 1) + 1
        out[top : top + height, left : left + width] = image
    return out


def _sheet(images: Array, title: str, bar: int) -> tuple[Figure, Axes, Axes | None]:
    """A figure in which every value of a mosaic takes a whole number of pixels; with room for a colour bar, or none."""
    height, width = _mosaic(images).shape
    scale = max(1, _SHEET_WIDTH // max(width, height))
    inner_w, inner_h, edge, head = width * scale, height * scale, 18, 52
    total_w, total_h = max(inner_w, 420) + 2 * edge + bar, inner_h + head + edge
    figure = _figure(total_w / DPI, total_h / DPI)
    axes = figure.add_axes((edge / total_w, edge / total_h, inner_w / total_w, inner_h / total_h))
    axes.set_axis_off()
    figure.text(edge / total_w, 1 - 32 / total_h, title, fontsize=9, color=_INK, ha="left", va="baseline")
    place = (edge + inner_w + 12) / total_w, edge / total_h, 14 / total_w, inner_h / total_h
    return figure, axes, figure.add_axes(place) if bar else None


def _figure(width: float, height: float) -> Figure:
    """A figure of this many inches, drawn by Agg, known to no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor=_PAPER)
    FigureCanvasAgg(figure)
    return figure


# --- curves -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Series:
    """One line: epochs since the run's start, and values."""

    epochs: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


_Family = dict[str, _Series]
_Phase = tuple[str, float, float]  # name, first and last epoch since the run's start


def _families(metrics: Sequence[Mapping[str, Any]]) -> tuple[dict[str, _Family], list[_Phase]]:
    """All lines by family and label, and the phases."""
    families: dict[str, _Family] = {}
    phases: list[_Phase] = []
    start = 0.0
    for name, group in groupby(metrics, key=lambda record: str(record["phase"])):
        records = list(group)
        for record in records:
            for family, label, value in _figures(record):
                series = families.setdefault(family, {}).setdefault(label, _Series())
                series.epochs.append(start + float(record["epoch"]))
                series.values.append(value)
        for lines in families.values():  # a gap in each line where a phase ends
            for series in lines.values():
                series.epochs.append(math.nan)
                series.values.append(math.nan)
        end = start + max(float(record["epoch"]) for record in records)
        phases.append((name, start, end))
        start = end
    return families, phases


def _figures(record: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """The numbers of one record: family, label, value."""
    for key, value in record.items():
        if key in ("phase", "epoch", "step"):
            continue
        family = key.removeprefix("valid_")
        label = "training" if family == key else "validation"
        for inner, number in value.items() if isinstance(value, Mapping) else ((label, value),):
            if isinstance(number, int | float) and not isinstance(number, bool):
                yield family, str(inner), float(number)


def _draw_family(axes: Axes, family: _Family) -> None:
    for k, (label, series) in enumerate(sorted(family.items())):
        axes.plot(
            series.epochs,
            series.values,
            label=label,
            color=_COLOURS[k % len(_COLOURS)],
            linestyle=_STYLES[k // len(_COLOURS) % len(_STYLES)],
            linewidth=1.5,
            marker="o" if len(series.values) < 9 else None,
            markersize=3.5,
            clip_on=False,
        )
    values = np.array([v for series in family.values() for v in series.values])
    finite = values[np.isfinite(values)]
    if finite.size and finite.min() > 0 and finite.max() > _LOG_RANGE * finite.min():
        axes.set_yscale("log")
    axes.tick_params(labelsize=8.5, colors=_INK, length=3)
    axes.grid(axis="y", color="#d5dce3", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if len(family) > 1 or "validation" in family:
        axes.legend(fontsize=8.5, frameon=False, labelcolor=_INK, handlelength=1.6, ncols=1 + len(family) // 5)


def _shade(axes: Axes, phases: list[_Phase]) -> None:
    """Every other phase on a tinted ground."""
    from matplotlib.ticker import MaxNLocator

    for _, start, end in phases[::2] if len(phases) > 1 else ():
        axes.axvspan(start, end, color=_SHADE, zorder=-1, linewidth=0)
    axes.set_xlim(0, max(1.0, phases[-1][2] if phases else 0.0))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))


def _name_phases(axes: Axes, phases: list[_Phase]) -> None:
    """The phases' names above the panel, where each begins, in two rows in turn, so that short phases have room."""
    for k, (name, start, _) in enumerate(phases):
        axes.annotate(
            name,
            xy=(start, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(1, 3 + 11 * (k % 2)),
            textcoords="offset points",
            fontsize=8,
            color="#5b6b7b",
        )
