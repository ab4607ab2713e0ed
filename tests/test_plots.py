"""Pictures of a run: what they hold, and that they hold it for every shape of data."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from compiled import plain_python
from matplotlib.axes import Axes
from matplotlib.image import imread
from numpy.typing import NDArray

import pgmdsl
from pgmdsl import pictures
from pgmdsl.compiler.artifact import ArtifactLayer
from pgmdsl.runtime import plots, sheets

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
@pytest.mark.parametrize("stated", [False, True])
def test_sample_sheet_shows_every_value_of_every_image(tmp_path: Path, low: float, high: float, stated: bool) -> None:
    samples = np.random.default_rng(0).uniform(low, high, size=(6, 4, 5))
    if stated:
        low, high = low - 1, high + 2
    else:
        samples[0, 0, 0], samples[0, 0, 1] = low, high
    sheets.sample_sheet(samples, (4, 5), tmp_path / "s.png", "six", (low, high) if stated else None)
    # One pixel from the middle of each value's square: images with a gap around each.
    mosaic = sheets._mosaic(samples, sheets._grid(6, 4, 5))
    scale = 900 // max(mosaic.shape)
    picture = pixels(tmp_path / "s.png")
    sheet = picture[52:, 18:][: mosaic.shape[0] * scale, : mosaic.shape[1] * scale]
    shown = sheet[scale // 2 :: scale, scale // 2 :: scale, 0]
    expected = np.where(np.isnan(mosaic), 1.0, (mosaic - low) / (high - low))
    assert np.abs(shown - expected).max() < 0.01


def test_flat_samples_are_images(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).uniform(size=(7, 16))
    sheets.sample_sheet(samples, (4, 4), tmp_path / "flat.png", "seven")
    sheets.sample_sheet(samples.reshape(7, 4, 4), (4, 4), tmp_path / "square.png", "seven")
    assert np.array_equal(pixels(tmp_path / "flat.png"), pixels(tmp_path / "square.png"))


@pytest.mark.parametrize(("height", "width"), [(28, 28), (12, 10), (28, 40), (16, 8), (8, 16)])
def test_a_hundred_images_are_ten_by_ten(height: int, width: int) -> None:
    assert sheets._grid(100, height, width) == (10, 10)


@pytest.mark.parametrize("count", range(1, 101))
@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (1, 30), (30, 1)])
def test_no_row_of_a_sheet_is_empty(count: int, shape: tuple[int, int]) -> None:
    rows, columns = sheets._grid(count, *shape)
    assert (rows - 1) * columns < count <= rows * columns
    assert rows == 1 or shape[0] != shape[1] or count % columns != 1 or count < 6  # an image alone in the last row


def layer(support: str, *dims: int, values: tuple[float, ...] = ()) -> ArtifactLayer:
    size, states = math.prod(dims), dims[-1] if support == "one_hot" else 1
    return ArtifactLayer("v", "visible", "unit", support, values, dims, size, states, None, None)  # type: ignore[arg-type]


def test_images_are_layers_with_two_axes_and_flat_squares() -> None:
    assert sheets.image_dims(layer("finite", 2, 3)) == (2, 3)
    assert sheets.image_dims(layer("one_hot", 20, 5)) == (20, 5)
    assert sheets.image_dims(layer("real", 64)) == (8, 8)
    for other in (layer("finite", 49), layer("finite", 65), layer("one_hot", 64), layer("finite", 4, 4, 4)):
        assert sheets.image_dims(other) is None


def test_black_and_white_are_the_ends_of_the_support() -> None:
    assert sheets.grey_limits(layer("finite", 64, values=(-1.0, 1.0))) == (-1, 1)
    assert sheets.grey_limits(layer("finite", 64, values=(0.0, 1.0))) == (0, 1)
    assert sheets.grey_limits(layer("one_hot", 8, 8)) == (0, 1)
    assert sheets.grey_limits(layer("real", 64)) is None


def test_mosaic_holds_images_in_order() -> None:
    images = np.arange(5)[:, None, None] * np.ones((1, 2, 3))
    mosaic = sheets._mosaic(images, (2, 3))
    values = mosaic[~np.isnan(mosaic)]
    assert sorted(set(values)) == [0, 1, 2, 3, 4]
    assert len(values) == 5 * 6
    first_row = mosaic[1][~np.isnan(mosaic[1])]
    assert np.array_equal(first_row, np.repeat(np.arange(len(first_row) // 3), 3))


def test_filters_are_the_largest_columns_on_a_symmetric_scale(tmp_path: Path) -> None:
    w = np.random.default_rng(2).normal(size=(9, 130)) * 0.01
    w[:, 77] = np.linspace(-1, 1, 9)
    sheets.filter_sheet(w, (3, 3), tmp_path / "f.png", "filters")
    picture = pixels(tmp_path / "f.png")
    scale = 900 // max(sheets._mosaic(np.zeros((100, 3, 3)), (10, 10)).shape)
    square = [
        picture[52 + scale * (1 + r) + scale // 2, 18 + scale * (1 + c) + scale // 2] for r, c in ((0, 0), (2, 2))
    ]
    blue, red = square
    assert blue[2] > blue[0] + 0.2
    assert red[0] > red[2] + 0.2


def test_filters_stand_in_the_rows_and_columns_of_their_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[sheets.Array, tuple[int, int]]] = []
    mosaic = sheets._mosaic

    def noted(images: sheets.Array, grid: tuple[int, int]) -> sheets.Array:
        shown.append((images, grid))
        return mosaic(images, grid)

    monkeypatch.setattr(sheets, "_mosaic", noted)
    w = np.random.default_rng(3).normal(size=(20, 2, 3))
    sheets.filter_sheet(w.reshape(20, 6), (4, 5), tmp_path / "f.png", "filters", (2, 3))
    images, grid = shown[-1]
    assert grid == (2, 3)
    for row, column in np.ndindex(grid):
        assert np.array_equal(images[row * 3 + column], w[:, row, column].reshape(4, 5))


def test_a_weight_of_zeros_has_a_sheet(tmp_path: Path) -> None:
    sheets.filter_sheet(np.zeros((4, 3)), (2, 2), tmp_path / "zero.png", "nothing learned")
    assert (tmp_path / "zero.png").stat().st_size > 1000


def test_missing_values_are_blue_before_and_filled_after(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    means, sample = rng.random((4, 6)), rng.integers(0, 2, (4, 6)).astype(float)
    missing = rng.random((4, 6)) < 0.5
    sample[~missing] = means[~missing]
    path = tmp_path / "i.png"
    sheets.imputation_sheet(means, means, sample, missing, (2, 3), path, "M: v", (0.0, 1.0))
    scale = 900 // max(sheets._mosaic(np.zeros((4, 8, 3)), sheets._grid(4, 8, 3)).shape)
    first = pixels(path)[52:, 18:][scale + scale // 2 :: scale, scale + scale // 2 :: scale][:8, :3]
    grey, hidden = means[0].reshape(2, 3), missing[0].reshape(2, 3)
    np.testing.assert_allclose(first[:2][hidden], np.broadcast_to(sheets._ABSENT, (hidden.sum(), 3)), atol=0.01)
    np.testing.assert_allclose(first[:2][~hidden], np.repeat(grey[~hidden][:, None], 3, 1), atol=0.01)
    np.testing.assert_allclose(first[3:5, :, 0], grey, atol=0.01)
    np.testing.assert_allclose(first[6:8, :, 0], sample[0].reshape(2, 3), atol=0.01)
    assert (first[[2, 5]] == 1).all()


@pytest.mark.parametrize("least", [-1.0, 0.0])
def test_a_matrix_is_white_at_zero(tmp_path: Path, least: float) -> None:
    values = np.array([[0.0, 1.0], [least, 0.5]])
    sheets.value_sheet(values, tmp_path / "m.png", "couplings")
    scale = 900 // 4
    picture = pixels(tmp_path / "m.png")[52:, 18:]
    at = ((1, 1), (1, 2), (2, 1))
    zero, top, low = (picture[r * scale + scale // 2, c * scale + scale // 2] for r, c in at)
    assert zero.min() > 0.93
    assert top[0] > top[2] + 0.2
    assert low[2] > low[0] + 0.2 if least else low.min() > 0.93


def test_lists_are_spelled_out() -> None:
    record = {"phase": "fit", "epoch": 1, "own": {"sigma_v": [0.5, 1.0, 2.0]}, "exchange": [0.3, 0.6]}
    families, _ = plots._families([record])
    assert set(families["own"]) == {"least sigma_v", "median sigma_v", "largest sigma_v"}
    assert families["exchange"]["2 and 3"].values[0] == 0.6


def test_families_join_validation_and_mappings() -> None:
    families, phases = plots._families(METRICS)
    assert set(families) == {"rate", "score", "active"}
    assert set(families["score"]) == {"training", "validation"}
    assert set(families["active"]) == {"h1", "h2"}
    assert phases == [("greedy h1", 0.0, 3.0), ("greedy h2", 3.0, 5.0), ("fit", 5.0, 11.0)]
    epochs = np.array(families["rate"]["training"].epochs)
    assert np.array_equal(epochs[~np.isnan(epochs)], np.arange(1, 12))
    assert np.isnan(epochs[[3, 6]]).all()  # a gap after each phase


def test_lines_to_skip_have_no_panel() -> None:
    families, _ = plots._families(METRICS, {("active", "h1"), ("rate", "training")})
    assert {name: set(family) for name, family in families.items()} == {
        "score": {"training", "validation"},
        "active": {"h2"},
    }


def test_a_phase_may_follow_one_of_its_name() -> None:
    records = [{"phase": "fit", "epoch": epoch, "rate": 1.0} for epoch in (1, 2, 3, 1, 2)]
    families, phases = plots._families(records)
    assert phases == [("fit", 0.0, 3.0), ("fit", 3.0, 5.0)]
    epochs = np.array(families["rate"]["training"].epochs)
    assert np.array_equal(epochs[~np.isnan(epochs)], [1, 2, 3, 4, 5])


def test_a_weight_that_is_frozen_for_a_phase_is_drawn_in_the_others() -> None:
    parts = ((6, {"W": 2.0, "U": 1.0}), (5, {"U": 1.0}), (1, {"W": 2.0, "U": 1.0}))
    records = [
        {"phase": f"fit {k}", "epoch": epoch, "singular": values}
        for k, (epochs, values) in enumerate(parts)
        for epoch in range(1, epochs + 1)
    ]
    families, _ = plots._families(records)
    axes = drawn(families["singular"])
    lines = {str(line.get_label()): line for line in axes.get_lines()}
    assert set(lines) == {"W", "U"}
    x, y = np.asarray(lines["W"].get_xdata()), np.asarray(lines["W"].get_ydata())
    assert np.array_equal(x[~np.isnan(y)], [1, 2, 3, 4, 5, 6, 12])
    u = lines["U"]
    assert [np.asarray(u.get_xdata())[k] for k in np.atleast_1d(np.asarray(u.get_markevery()))] == [12]  # alone


def drawn(family: dict[str, plots._Series]) -> Axes:
    axes = sheets.figure_of(3, 2).add_subplot()
    plots._draw_family(axes, family)
    return axes


def test_a_legend_stands_beside_the_lines() -> None:
    families, _ = plots._families(METRICS)
    axes = drawn(families["active"])
    legend = axes.get_legend()
    assert legend is not None
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    assert legend.get_window_extent().x0 >= axes.get_window_extent().x1
    assert drawn(families["rate"]).get_legend() is None


@pytest.mark.parametrize(("value", "top"), [(0.0, 1.0), (0.4, 0.5)])
def test_a_constant_has_an_axis_from_zero(value: float, top: float) -> None:
    assert drawn({"training": plots._Series([1, 2], [value, value])}).get_ylim() == pytest.approx((0, top))


def test_values_that_hardly_differ_are_written_out() -> None:
    axes = drawn({"h": plots._Series([1, 2, 3], [0.5001, 0.5002, 0.5003])})
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    assert axes.yaxis.get_offset_text().get_text() == ""
    assert all(label.get_text().startswith("0.500") for label in axes.get_yticklabels())


def test_names_of_short_phases_do_not_run_into_each_other() -> None:
    phases = [("greedy h1", 0.0, 1.0), ("greedy h2", 1.0, 2.0), ("fit", 2.0, 60.0), ("fit", 50.0, 60.0)]
    assert plots._name_rows(phases) == [0, 1, 2, 0]


def test_only_a_wide_positive_family_has_a_logarithmic_axis() -> None:
    families, _ = plots._families(METRICS)
    axes = {name: sheets.figure_of(3, 2).add_subplot() for name in families}
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
    code = "import sys, pgmdsl.runtime.plots, pgmdsl.runtime.sheets; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- of runs ----------------------------------------------------------------------------------------------

SOURCE = """
model Two
visible x : spin[3, 4]
visible v : binary[64]
visible y : softmax[3]
visible u : binary[9]
hidden  h : binary[2, 3]
hidden  t : softmax[5]
x -- h : A
y -- h : U
u -- h : B
v -- t : C
h -- t : D
train { fit { epochs = 2, batch = 4 } }
"""


def titles_of(run: pgmdsl.Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The titles of the sheets of a run, by file, and the pictures drawn into the folder."""
    titles: dict[str, str] = {}
    sheet = sheets._sheet

    def noted(images: sheets.Array, grid: tuple[int, int], title: str, bar: int) -> object:
        titles[f"{len(titles)}"] = title
        return sheet(images, grid, title, bar)

    monkeypatch.setattr(sheets, "_sheet", noted)
    paths = run.draw_pictures(folder)
    drawn = [path.name for path in paths.values() if path.name != "curves.png"]
    assert all(path.exists() for path in paths.values())
    return dict(zip(drawn, titles.values(), strict=True))


def test_every_layer_that_is_an_image_has_its_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    data = {
        "x": rng.choice([-1, 1], (8, 3, 4)),
        "v": rng.integers(0, 2, (8, 64)),
        "y": rng.integers(0, 3, 8),
        "u": rng.integers(0, 2, (8, 9)),
    }
    with plain_python():
        run = pgmdsl.train(pgmdsl.compile_text(SOURCE), data, out=tmp_path / "run")
        few = run.sample(5, 2, burn=1)
        monkeypatch.setattr(run, "sample", lambda *_, **__: few)
        assert titles_of(run, tmp_path, monkeypatch) == {
            "samples_x.png": "Two: means of x given sampled h, 5 images; black −1, white 1",
            "samples_v.png": "Two: means of v given sampled t, 5 images; black 0, white 1",
            "filters_A.png": "Two: filters of A, one a unit of h, in its rows and columns",
            "filters_C.png": "Two: filters of C, one a unit of t, largest first",
        }
        files = run.draw_samples_sheet(few, tmp_path / "s.png")
    assert [file.name for file in files] == ["s_x.png", "s_v.png"]
    assert plots._families(run.metrics)[0]["active"].keys() == {"h", "t"}


GRID = """
model Grid
visible v : gaussian[3, 4](sigma = data)
visible y : softmax[2, 3]
hidden  h : binary[2]
hidden  k : binary[3]
v -- v : L(mask = local(radius = 1))
y -- y : J
v -- h : W
v * h * k : T
train { fit { epochs = 2, batch = 4, rate = 0.001, negative = cd(1) } }
"""


def test_couplings_standard_deviations_and_choices_of_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    data = {"v": rng.normal(0, [1, 2, 3, 4], (8, 3, 4)), "y": rng.integers(0, 3, (8, 2))}
    with plain_python():
        run = pgmdsl.train(pgmdsl.compile_text(GRID), data, out=tmp_path / "run")
        few = run.sample(2, 1, burn=1)
        monkeypatch.setattr(run, "sample", lambda *_, **__: few)
        titles = titles_of(run, tmp_path, monkeypatch)
    assert {name: title.partition("; ")[0] for name, title in titles.items()} == {
        "samples_v.png": "Grid: means of v given sampled h and k and other units, 2 images",
        "samples_y.png": "Grid: means of y given sampled other units, 2 images",
        "couplings_L.png": "Grid: L, couplings of v",
        "couplings_J.png": "Grid: J, couplings of y, norm of each block in zero-sum gauge",
        "filters_W.png": "Grid: filters of W, one a unit of h, largest first",
        "filters_T.png": "Grid: filters of T, one a choice of units of h and k, largest first",
        "map_sigma_v.png": "Grid: sigma_v of each unit of v",
    }


def test_one_layer_has_one_sheet_of_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "model M\nvisible v : gaussian[8, 2]\nhidden h : binary[3]\nv -- h : W\ntrain { fit { epochs = 1 } }\n"
    titles = []
    monkeypatch.setattr(pictures, "sample_sheet", lambda *given: titles.append(given[3:]))
    with plain_python():
        run = pgmdsl.train(pgmdsl.compile_text(text), {"v": np.zeros((8, 8, 2))}, out=tmp_path / "run")
        files = run.draw_samples_sheet(run.sample(5, 2, burn=1), tmp_path / "s.png")
    assert files == [tmp_path / "s.png"]
    assert titles == [("M: states of v", None)]
