"""Pictures of a run: samples, filters, training curves; each one file, in the format of its path's suffix."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import ArtifactLayer

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
_TILES = 100  # images of a sheet at most
_SMALLEST = 8  # side of a flat layer that is shown as a square
_WIDEST = 2.2  # of a sheet's width to its height, or its height to its width
_CHARACTER = 9.6  # width of one of a sheet's title, in pixels
_FEW = 9  # points of a line that are marked one by one, if there are fewer
_LINE = 11.0  # height of a row of phases' names, in points
_NAME = 0.024  # width of a character of these, of a panel's
_LOG_RANGE = 100.0  # a positive family that spans more is drawn on a logarithmic axis
_TITLES = {
    "likelihood": "log-likelihood of a case, in nats",
    "bound": "bound on the log-likelihood of a case, in nats",
    "pseudolikelihood": "log-pseudolikelihood of a case, in nats",
    "reconstruction": "reconstruction error (mean square)",
    "active": "mean activity",
    "saturated": "share of saturated units",
    "singular": "largest singular value",
    "rate": "learning rate",
    "free_energy_gap": "free-energy gap, validation − training",
}


def image_dims(layer: ArtifactLayer) -> tuple[int, int] | None:
    """The height and width at which a case of this layer is an image: its two axes, or a flat square of units.

    None for any other layer, and for a flat one with a side of less than 8.
    """
    if len(layer.dims) == 2:
        return layer.dims[0], layer.dims[1]
    side = math.isqrt(layer.size)
    flat = len(layer.dims) == 1 and layer.support != "one_hot"
    return (side, side) if flat and side * side == layer.size and side >= _SMALLEST else None


def grey_limits(layer: ArtifactLayer) -> tuple[float, float] | None:
    """The ends of a layer's values, which black and white stand for; None for a real one."""
    if layer.support == "real":
        return None
    return (min(layer.values), max(layer.values)) if layer.values else (0.0, 1.0)


def sample_sheet(
    samples: Array, dims: tuple[int, int], path: Path, title: str, limits: tuple[float, float] | None = None
) -> None:
    """A sheet of grey images, the first 100.

    Args:
        samples: (n, *dims), or (n, product of dims).
        dims: height and width.
        path: the file to write.
        title: what is shown; the number of images and the scale of greys are added to it.
        limits: the values that are black and white; the smallest and the largest shown when None.
    """
    images = np.asarray(samples[:_TILES], dtype=np.float64).reshape(-1, *dims)
    low, high = limits or (float(images.min()), float(images.max()))
    count = f"{len(images)} of {len(samples)} images" if len(images) < len(samples) else f"{len(images)} images"
    grid = _grid(len(images), *dims)
    figure, axes, _ = _sheet(images, grid, f"{title}, {count}; black {_number(low)}, white {_number(high)}", bar=0)
    axes.imshow(_mosaic(images, grid), cmap="gray", vmin=low, vmax=high, interpolation="nearest", aspect="auto")
    figure.savefig(path, dpi=DPI)


def filter_sheet(
    weight: Array, dims: tuple[int, int], path: Path, title: str, units: tuple[int, int] | None = None
) -> None:
    """The columns of a weight as images, at most 100; blue below 0, red above, white at 0.

    Args:
        weight: (product of dims, n).
        dims: height and width.
        path: the file to write.
        title: what is shown; the order of the images is added.
        units: rows and columns of the layer whose units the weight's columns belong to: up to 100 images stand as
            these do. Without them, those of the largest norm come first.
    """
    w = np.asarray(weight, dtype=np.float64)
    order, grid, how = np.arange(w.shape[1]), units, "in its rows and columns"
    if units is None or w.shape[1] > _TILES:
        order = np.argsort(-np.linalg.norm(w, axis=0), kind="stable")[:_TILES]
        grid, how = None, f"the {_TILES} largest of {w.shape[1]}" if w.shape[1] > _TILES else "largest first"
    grid = grid or _grid(len(order), *dims)
    images = w[:, order].T.reshape(-1, *dims)
    limit = float(np.quantile(np.abs(images), 0.998)) or 1.0
    figure, axes, bar = _sheet(images, grid, f"{title}, {how}", bar=86)
    picture = axes.imshow(
        _mosaic(images, grid), cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest", aspect="auto"
    )
    colours = figure.colorbar(picture, cax=bar, extend="both")
    colours.outline.set_visible(False)
    colours.ax.tick_params(labelsize=9, colors=_INK, length=2)
    figure.savefig(path, dpi=DPI)


def curves(metrics: Sequence[Mapping[str, Any]], path: Path, skip: Collection[tuple[str, str]] = ()) -> None:
    """Training curves: a panel for each family of figures, over the epochs of all phases, which are shaded in turn.

    A family is a field, its `valid_` twin, and the entries of a field that is a mapping (one figure a layer or weight).

    Args:
        metrics: records with `phase`, `epoch` (from the phase's start) and numeric fields; others are left out.
        path: the file to write.
        skip: lines that say nothing, such as ("active", "y"), by family and label.
    """
    families, phases = _families(metrics, skip)
    columns = 2 if len(families) > 1 else 1
    rows = max(1, math.ceil(len(families) / columns))
    figure = _figure(4.6 * columns + 0.3, 2.35 * rows + 0.45)
    for k, (name, family) in enumerate(families.items()):
        axes = figure.add_subplot(rows, columns, k + 1)
        _draw_family(axes, family)
        _shade(axes, phases)
        named = k < columns and len(phases) > 1
        pad = 10 + _LINE * (1 + max(_name_rows(phases))) if named else 7
        if named:
            _name_phases(axes, phases)
        title = _TITLES.get(name, name.replace("_", " "))
        axes.set_title(title, fontsize=10, color=_INK, loc="left", pad=pad)
        if k >= len(families) - columns:
            axes.set_xlabel("epoch", fontsize=9, color=_INK)
    figure.tight_layout(h_pad=1.4, w_pad=1.6)
    figure.savefig(path, dpi=DPI)


# --- sheets -----------------------------------------------------------------------------------------------


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _grid(count: int, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of a sheet with as few places left empty as its shape allows: 100 images are 10 by 10."""

    def cost(columns: int) -> tuple[float, int, float, int]:
        rows = math.ceil(count / columns)
        shape = abs(math.log(columns * width / (rows * height)))
        empty = rows * columns - count
        return max(0.0, shape - math.log(_WIDEST)), empty, shape + abs(math.log(columns / rows)), -columns

    best = min(range(1, count + 1), key=cost)
    return math.ceil(count / best), best


def _mosaic(images: Array, grid: tuple[int, int]) -> Array:
    """The images in rows and columns, with a gap around each: NaN, which shows the paper."""
    _, height, width = images.shape
    rows, columns = grid
    out = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1), np.nan)
    for k, image in enumerate(images):
        top, left = (k // columns) * (height + 1) + 1, (k % columns) * (width + 1) + 1
        out[top : top + height, left : left + width] = image
    return out


def _sheet(images: Array, grid: tuple[int, int], title: str, bar: int) -> tuple[Figure, Axes, Axes | None]:
    """A figure in which every value of a mosaic takes a whole number of pixels; with room for a colour bar, or none."""
    height, width = _mosaic(images, grid).shape
    scale = max(1, _SHEET_WIDTH // max(width, height))
    inner_w, inner_h, edge, head = width * scale, height * scale, 18, 52
    total_w = max(inner_w + bar, math.ceil(_CHARACTER * len(title))) + 2 * edge
    total_h = inner_h + head + edge
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


def _families(
    metrics: Sequence[Mapping[str, Any]], skip: Collection[tuple[str, str]] = ()
) -> tuple[dict[str, _Family], list[_Phase]]:
    """All lines by family and label but those to skip, and the phases."""
    families: dict[str, _Family] = {}
    phases: list[_Phase] = []
    start = 0.0
    for name, records in _phases(metrics):
        for record in records:
            for family, label, value in _figures(record):
                if (family, label) in skip:
                    continue
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


def _phases(metrics: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """The records of each phase: another begins with another name, or where the epochs begin anew."""
    records: list[Mapping[str, Any]] = []
    for record in metrics:
        if records and (record["phase"] != records[-1]["phase"] or record["epoch"] <= records[-1]["epoch"]):
            yield str(records[-1]["phase"]), records
            records = []
        records.append(record)
    if records:
        yield str(records[-1]["phase"]), records


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
        marked = _marked(series.values)
        axes.plot(
            series.epochs,
            series.values,
            label=label,
            color=_COLOURS[k % len(_COLOURS)],
            linestyle=_STYLES[k // len(_COLOURS) % len(_STYLES)],
            linewidth=1.5,
            marker="o" if marked else None,
            markevery=marked,
            markersize=3.5,
            clip_on=False,
        )
    values = np.array([v for series in family.values() for v in series.values])
    finite = values[np.isfinite(values)]
    if finite.size and finite.min() > 0 and finite.max() > _LOG_RANGE * finite.min():
        axes.set_yscale("log")
    elif finite.size and finite.min() == finite.max() >= 0:
        axes.set_ylim(0, 1.25 * finite.max() or 1)
    axes.tick_params(labelsize=8.5, colors=_INK, length=3)
    axes.grid(axis="y", color="#d5dce3", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if set(family) != {"training"}:
        style: dict[str, Any] = {"fontsize": 8.5, "frameon": False, "labelcolor": _INK, "handlelength": 1.6}
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.04), ncols=math.ceil(len(family) / 10), **style)


def _marked(values: Sequence[float]) -> list[int]:
    """The points that get a mark: all of a short line, else those with no neighbour, which no stroke would show."""
    known = [False, *np.isfinite(values).tolist(), False]
    few = len(values) < _FEW
    return [k for k in range(len(values)) if known[k + 1] and (few or not (known[k] or known[k + 2]))]


def _shade(axes: Axes, phases: list[_Phase]) -> None:
    """Every other phase on a tinted ground."""
    from matplotlib.ticker import MaxNLocator

    for _, start, end in phases[::2] if len(phases) > 1 else ():
        axes.axvspan(start, end, color=_SHADE, zorder=-1, linewidth=0)
    axes.set_xlim(0, max(1.0, phases[-1][2] if phases else 0.0))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))


def _name_phases(axes: Axes, phases: list[_Phase]) -> None:
    """The phases' names above the panel, where each begins."""
    for (name, start, _), row in zip(phases, _name_rows(phases), strict=True):
        axes.annotate(
            name,
            xy=(start, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(1, 3 + _LINE * row),
            textcoords="offset points",
            fontsize=8,
            color="#5b6b7b",
        )


def _name_rows(phases: list[_Phase]) -> list[int]:
    """The row of each phase's name, from below: the first in which it does not run into another."""
    whole = max(1.0, phases[-1][2])
    ends: list[float] = []
    rows = []
    for name, start, _ in phases:
        row = next((k for k, end in enumerate(ends) if end <= start / whole), len(ends))
        ends[row : row + 1] = [start / whole + _NAME * (len(name) + 1)]
        rows.append(row)
    return rows
