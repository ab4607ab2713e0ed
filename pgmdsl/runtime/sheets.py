"""Sheets of images: samples, filters, couplings, filled-in cases; each one file, in the format of its path's suffix."""

from __future__ import annotations

import math
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
INK = "#1b2733"
_PAPER = "#ffffff"
_ABSENT = (0.60, 0.76, 0.90)  # of values that are missing: a blue among greys
_SHEET_WIDTH = 900  # of the images of a sheet, in pixels at most (one pixel a value at least)
_TILES = 100  # images of a sheet at most
_CASES = 30  # cases of a sheet of filled-in images at most, three images each
_SMALLEST = 8  # side of a flat layer that is shown as a square
_WIDEST = 2.2  # of a sheet's width to its height, or its height to its width
_CHARACTER = 9.6  # width of one of a sheet's title, in pixels


def image_dims(layer: ArtifactLayer) -> tuple[int, int] | None:
    """The height and width at which a case of this layer is an image: its two axes, or a flat square of units.

    None for any other layer, and for a flat one with a side of less than 8.
    """
    if len(layer.dims) == 2:
        return layer.dims[0], layer.dims[1]
    side = math.isqrt(layer.size)
    flat = len(layer.dims) == 1 and layer.support not in ("one_hot", "counts")
    return (side, side) if flat and side * side == layer.size and side >= _SMALLEST else None


def grey_limits(layer: ArtifactLayer) -> tuple[float, float] | None:
    """The ends of a layer's values, which black and white stand for; None where they are unbounded."""
    if layer.support == "one_hot":
        return 0.0, 1.0
    return (min(layer.values), max(layer.values)) if layer.values else None


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
    _colour_bar(figure, picture, bar, "both")
    figure.savefig(path, dpi=DPI)


def value_sheet(values: Array, path: Path, title: str) -> None:
    """A matrix as one image with a colour bar: blue below 0, red above, white at 0; where none is below 0, reds alone.

    Args:
        values: (rows, columns).
        path: the file to write.
        title: what is shown.
    """
    w = np.asarray(values, dtype=np.float64)
    top = float(np.abs(w).max()) or 1.0
    figure, axes, bar = _sheet(w[None], (1, 1), title, bar=86)
    colours, least = ("RdBu_r", -top) if w.min() < 0 else ("Reds", 0.0)
    picture = axes.imshow(
        _mosaic(w[None], (1, 1)), cmap=colours, vmin=least, vmax=top, interpolation="nearest", aspect="auto"
    )
    _colour_bar(figure, picture, bar)
    figure.savefig(path, dpi=DPI)


def imputation_sheet(
    before: Array,
    means: Array,
    sample: Array,
    missing: Array,
    dims: tuple[int, int],
    path: Path,
    title: str,
    limits: tuple[float, float] | None = None,
) -> None:
    """Cases as three images under one another: as given (what is missing in blue), with means, with a sample filled in.

    Args:
        before: (n, product of dims), anything where values are missing; at most 30 cases are shown.
        means: of the same shape.
        sample: of the same shape.
        missing: of the same shape, True where values are missing.
        dims: height and width.
        path: the file to write.
        title: what is shown.
        limits: the values that are black and white; the smallest and the largest shown when None.
    """
    count = min(len(before), _CASES)
    height, width = dims
    each = [np.asarray(x[:count], np.float64).reshape(count, *dims) for x in (before, means, sample)]
    absent = np.asarray(missing[:count], bool).reshape(count, *dims)
    each[0] = np.where(absent, each[1], each[0])
    low, high = limits or (min(float(x.min()) for x in each), max(float(x.max()) for x in each))
    grey = [np.clip((x - low) / ((high - low) or 1.0), 0, 1) for x in each]
    channels = []
    for value in _ABSENT:
        stack = np.full((count, 3 * height + 2, width), 1.0)
        for k, images in enumerate((np.where(absent, value, grey[0]), *grey[1:])):
            stack[:, k * (height + 1) : k * (height + 1) + height] = images
        channels.append(stack)
    grid = _grid(count, 3 * height + 2, width)
    shown = f"{count} of {len(before)}" if count < len(before) else f"{count}"
    title = f"{title}: given (blue: missing), means, sample; {shown} cases; black {_number(low)}, white {_number(high)}"
    figure, axes, _ = _sheet(channels[0], grid, title, bar=0)
    picture = np.stack([_mosaic(x, grid) for x in channels], axis=-1)
    axes.imshow(np.where(np.isnan(picture), 1.0, picture), interpolation="nearest", aspect="auto")
    figure.savefig(path, dpi=DPI)


def _colour_bar(figure: Figure, picture: Any, bar: Axes | None, extend: str = "neither") -> None:
    colours = figure.colorbar(picture, cax=bar, extend=extend)
    colours.outline.set_visible(False)
    colours.ax.tick_params(labelsize=9, colors=INK, length=2)


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
    figure = figure_of(total_w / DPI, total_h / DPI)
    axes = figure.add_axes((edge / total_w, edge / total_h, inner_w / total_w, inner_h / total_h))
    axes.set_axis_off()
    figure.text(edge / total_w, 1 - 32 / total_h, title, fontsize=9, color=INK, ha="left", va="baseline")
    place = (edge + inner_w + 12) / total_w, edge / total_h, 14 / total_w, inner_h / total_h
    return figure, axes, figure.add_axes(place) if bar else None


def figure_of(width: float, height: float) -> Figure:
    """A figure of this many inches, drawn by Agg, known to no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor=_PAPER)
    FigureCanvasAgg(figure)
    return figure
