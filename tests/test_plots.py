"""Pictures of a run: what they hold, and that they hold it for every shape of data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from numpy.typing import NDArray

from pgmdsl.runtime import plots

METRICS = [
    {
        "phase": phase,
        "epoch": epoch,
        "step": 10 * epoch,
        "rate": 0.1 / epoch,
        "score": 10.0 ** (epoch - 3),
        "valid_score": 10.0 ** (epoch - 4),
        "active": {"h1": 0.3, "h2": 0.1 * epoch},
        "warnings": ["a word"],
        "done": True,
    }
    for phase, epochs in (("greedy h1", 3), ("greedy h2", 2), ("fit", 6))
    for epoch in range(1, epochs + 1)
]


def pixels(path: Path) -> NDArray[np.float64]:
    return np.asarray(imread(path))[..., :3]


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (-3.0, 5.0)])
def test_sample_sheet_shows_every_value_of_every_image(tmp_path: Path, low: float, high: float) -> None:
    samples = np.random.default_rng(0).uniform(low, high, size=(6, 4, 5))
    samples[0, 0, 0], samples[0, 0, 1] = low, high
    plots.sample_sheet(samples, (4, 5), tmp_path / "s.png", "six images")
    # One pixel from the middle of each value's square: the sheet is 2 rows of 3 images with a gap around each.
    mosaic = plots._mosaic(samples)
    scale = 900 // max(mosaic.shape)
    picture = pixels(tmp_path / "s.png")
    sheet = picture[52:, 18:][: mosaic.shape[0] * scale, : mosaic.shape[1] * scale]
    shown = sheet[scale // 2 :: scale, scale // 2 :: scale, 0]
    expected = np.where(np.isnan(mosaic), 1.0, (mosaic - low) / (high - low))
    assert np.abs(shown - expected).max() < 0.01


def test_flat_square_samples_are_images(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).uniform(size=(7, 16))
    plots.sample_sheet(samples, (16,), tmp_path / "flat.png", "seven")
    plots.sample_sheet(samples.reshape(7, 4, 4), (4, 4), tmp_path / "square.png", "seven")
    assert np.array_equal(pixels(tmp_path / "flat.png"), pixels(tmp_path / "square.png"))


def test_mosaic_holds_images_in_order() -> None:
    images = np.arange(5)[:, None, None] * np.ones((1, 2, 3))
    mosaic = plots._mosaic(images)
    values = mosaic[~np.isnan(mosaic)]
    assert sorted(set(values)) == [0, 1, 2, 3, 4]
    assert len(values) == 5 * 6
    first_row = mosaic[1][~np.isnan(mosaic[1])]
    assert np.array_equal(first_row, np.repeat(np.arange(len(first_row) // 3), 3))


def test_filters_are_the_largest_columns_on_a_symmetric_scale(tmp_path: Path) -> None:
    w = np.random.default_rng(2).normal(size=(9, 130)) * 0.01
    w[:, 77] = np.linspace(-1, 1, 9)
    plots.filter_sheet(w, (3, 3), tmp_path / "f.png", "filters")
    picture = pixels(tmp_path / "f.png")
    mosaic_width = plots._mosaic(np.zeros((100, 3, 3))).shape[1]
    scale = 900 // max(mosaic_width, plots._mosaic(np.zeros((100, 3, 3))).shape[0])
    square = [
        picture[52 + scale * (1 + r) + scale // 2, 18 + scale * (1 + c) + scale // 2] for r, c in ((0, 0), (2, 2))
    ]
    blue, red = square
    assert blue[2] > blue[0] + 0.2
    assert red[0] > red[2] + 0.2


def test_a_weight_of_zeros_has_a_sheet(tmp_path: Path) -> None:
    plots.filter_sheet(np.zeros((4, 3)), (2, 2), tmp_path / "zero.png", "nothing learned")
    assert (tmp_path / "zero.png").stat().st_size > 1000


def test_families_join_validation_and_mappings() -> None:
    families, phases = plots._families(METRICS)
    assert set(families) == {"rate", "score", "active"}
    assert set(families["score"]) == {"training", "validation"}
    assert set(families["active"]) == {"h1", "h2"}
    assert phases == [("greedy h1", 0.0, 3.0), ("greedy h2", 3.0, 5.0), ("fit", 5.0, 11.0)]
    epochs = np.array(families["rate"]["training"].epochs)
    assert np.array_equal(epochs[~np.isnan(epochs)], np.arange(1, 12))
    assert np.isnan(epochs[[3, 6]]).all()  # a gap after each phase


def test_only_a_wide_positive_family_has_a_logarithmic_axis() -> None:
    families, _ = plots._families(METRICS)
    axes = {name: plots._figure(3, 2).add_subplot() for name in families}
    for name, family in families.items():
        plots._draw_family(axes[name], family)
    assert {name: a.get_yscale() for name, a in axes.items()} == {"rate": "linear", "score": "log", "active": "linear"}


@pytest.mark.parametrize("count", [0, 1, len(METRICS)])
@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_curves_of_any_length(tmp_path: Path, count: int, suffix: str) -> None:
    path = tmp_path / f"c.{suffix}"
    plots.curves(METRICS[:count], path)
    assert path.stat().st_size > 500


def test_importing_the_module_loads_no_matplotlib() -> None:
    code = "import sys, pgmdsl.runtime.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
