"""Data: every format read, every mistake named, bits and splits as functions of seed and row."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from builders import RBM, artifact_of, kernels_of

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.compiler.model import DataSpec
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.data import Data, open_data, peek_shape
from pgmdsl.runtime.readers import read_array, split_file

SHARED = Path(__file__).parents[2] / "shared" / "data"

LAYERS = """
model Units(K = 3)
visible v : binary[2, 3]
visible s : spin[2]
visible y : softmax[K]
visible z : softmax[2, K]
visible x : gaussian[2]
hidden  h : binary[1]
v -- h
s -- h
y -- h
z -- h
x -- h
"""


def units() -> Artifact:
    return artifact_of(LAYERS)


def good(cases: int = 4) -> dict[str, Any]:
    return {
        "v": np.zeros((cases, 2, 3), np.uint8),
        "s": np.ones((cases, 2)),
        "y": np.arange(cases) % 3,
        "z": np.ones((cases, 2), int),
        "x": np.full((cases, 2), 0.5),
    }


def idx(array: Any, kind: int = 0x08) -> bytes:
    header = struct.pack(">HBB", 0, kind, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def states(data: Data, layer: str, seed: int = 0, words: Any = None, cases: Any = None) -> Any:
    artifact_layer = data.columns[layer].layer
    cases = np.arange(data.cases) if cases is None else np.asarray(cases)
    out = np.full((len(cases), artifact_layer.size), np.nan)
    data.states(layer, cases, out, BITS, seed, words)
    return out


BITS = SimpleNamespace(draw_bits=kernels_of(artifact_of(RBM)).draw_bits)


# --- formats ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.npy", "x.npz:k", "x.idx", "x.gz", "x.csv", "head.csv"])
def test_every_format_gives_the_same_array(name: str, tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.uint8).reshape(4, 3)
    np.save(tmp_path / "x.npy", array)
    np.savez(tmp_path / "x.npz", k=array, other=array + 1)
    (tmp_path / "x.idx").write_bytes(idx(array))
    (tmp_path / "x.gz").write_bytes(gzip.compress(idx(array)))
    np.savetxt(tmp_path / "x.csv", array, delimiter=",")
    (tmp_path / "head.csv").write_bytes(b"\xef\xbb\xbfa,b,c\r\n" + b"".join(b"%d,%d,%d\r\n" % tuple(r) for r in array))
    found = read_array(name, tmp_path, "data for layer v")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, array)


def test_an_empty_cell_is_missing(tmp_path: Path) -> None:
    (tmp_path / "gap.csv").write_text("a,b\n1,2\n3,\n ,nan\n")
    found = read_array("gap.csv", tmp_path, "x")
    np.testing.assert_array_equal(found, [[1, 2], [3, np.nan], [np.nan, np.nan]])


def test_npy_stays_on_disk_and_others_in_their_type(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 2), np.int16))
    assert isinstance(read_array("x.npy", tmp_path, "x"), np.memmap)
    values = np.array([[-1.5, 2.0]], np.float64)
    (tmp_path / "f.idx").write_bytes(idx(values, 0x0E))
    found = read_array("f.idx", tmp_path, "x")
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, values)


def test_split_file() -> None:
    assert split_file("a/b.npz:k") == ("a/b.npz", "k")
    assert split_file("C:/a.npy") == ("C:/a.npy", None)
    assert split_file("a.npz") == ("a.npz", None)


def files(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.uint8).reshape(4, 3)
    np.savez(tmp_path / "two.npz", images=array, labels=array)
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", k=np.array([{}], object))
    np.save(tmp_path / "whole.npy", np.arange(1000.0))
    (tmp_path / "short.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:-100])
    (tmp_path / "header.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:20])
    (tmp_path / "short.npz").write_bytes((tmp_path / "two.npz").read_bytes()[:-50])
    (tmp_path / "short.idx").write_bytes(idx(array)[:-5])
    (tmp_path / "short.gz").write_bytes(
        gzip.compress(idx(np.random.default_rng(0).integers(0, 256, 5000).astype(np.uint8)))[:-200]
    )
    (tmp_path / "other.gz").write_bytes(gzip.compress(b"hello, world"))
    (tmp_path / "huge.idx").write_bytes(struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**31, 9))
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "none.csv").write_text("a,b\n")
    (tmp_path / "word.csv").write_text("1,2\n3,four\n")
    (tmp_path / "gap.csv").write_text("1,2\n3,\n")
    (tmp_path / "ragged.csv").write_text("1,2\n3\n")
    (tmp_path / "latin.csv").write_bytes(b"\xff\xfe1,2\n")
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "folder").mkdir()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.npy", "there is no such file"),
        ("short.np", "did you mean short."),
        ("two.npz", "several arrays: images, labels; name one, as in two.npz:images"),
        ("two.npz:image", "no array 'image' in it, but images, labels; did you mean images"),
        ("objects.npy", "a pickle"),
        ("objects.npz:k", "a pickle"),
        ("short.npy", "cut short"),
        ("header.npy", "cut short"),
        ("short.npz:images", "cut short"),
        ("short.idx", "promises 12 bytes of values and it holds 7"),
        ("short.gz", "cut short"),
        ("other.gz", "no idx file"),
        ("huge.idx", "the header asks for"),
        ("empty.npy", "the file is empty"),
        ("none.csv", "no rows"),
        ("word.csv", "line 2, column 2 is 'four', not a number"),
        ("ragged.csv", "line 2 has 1 values, the lines above 2"),
        ("latin.csv", "not text in UTF-8"),
        ("text.txt", "none of the formats that can be read"),
        ("folder", "this is a folder"),
    ],
)
def test_files_that_cannot_be_read(name: str, message: str, tmp_path: Path) -> None:
    files(tmp_path)
    with pytest.raises(Error) as caught:
        read_array(name, tmp_path, "data for layer v")
    assert message in str(caught.value)
    assert "data for layer v" in str(caught.value)
    assert "\n" not in str(caught.value)


# --- values -----------------------------------------------------------------------------------------------


def test_shapes_that_fit(tmp_path: Path) -> None:
    data = open_data(units(), good(), base=tmp_path).train
    assert states(data, "v").shape == (4, 6)
    np.testing.assert_array_equal(states(data, "y"), np.eye(3)[[0, 1, 2, 0]])
    np.testing.assert_array_equal(states(data, "z"), np.tile([0, 1, 0], (4, 2)))
    other = {
        "v": np.zeros((4, 6), bool),
        "s": -np.ones((4, 2), np.int8),
        "y": np.eye(3)[[0, 1, 2, 0]],
        "z": np.tile([0.0, 1, 0], (4, 2)),
        "x": np.zeros((4, 2), int),
    }
    for name, array in other.items():
        open_data(units(), good() | {name: array}, base=tmp_path)
    labels = open_data(units(), good() | {"y": np.array([[0.0], [1], [2], [0]])}, base=tmp_path).train
    np.testing.assert_array_equal(states(labels, "y"), np.eye(3)[[0, 1, 2, 0]])


@pytest.mark.parametrize(
    ("layer", "change", "message"),
    [
        ("v", lambda a: a[:, :1], r"shape (4, 1, 3), but layer v takes (cases, 2, 3) or (cases, 6)"),
        ("v", lambda a: a[:, :, 0], "shape (4, 2)"),
        ("v", lambda a: a[:0], "there are no rows"),
        ("v", lambda a: np.float64(3), "holds one number"),
        ("v", lambda a: a.astype(object), "type object, not numbers"),
        ("v", lambda a: a.astype(str), "not numbers"),
        ("v", lambda a: np.where(np.arange(24).reshape(4, 2, 3) == 16, 0.5, a), "row 2 (from 0), unit [1, 1], is 0.5"),
        ("v", lambda a: a + 0.25, "write `bits = resample`"),
        ("v", lambda a: a + 200, "write `scale = 1/255` and `bits = resample`"),
        ("v", lambda a: a - 1.0, "states 0, 1; convert"),
        ("s", lambda a: a * 0, "and s is spin, with states -1, 1"),
        ("y", lambda a: a + 1, "row 2 (from 0) has the label 3, and y has states 0 to 2"),
        ("y", lambda a: a - 1, "has the label -1"),
        ("y", lambda a: a + 0.5, "a label is a whole number"),
        ("y", lambda a: np.ones((4, 3)), "not one-hot"),
        ("y", lambda a: np.full((4, 3), 1 / 3), "not one-hot"),
        ("y", lambda a: np.zeros((4, 5)), "takes (cases, 3) or (cases,) with labels"),
        ("z", lambda a: a + np.eye(4, 2, dtype=int) * 2, "row 0 (from 0), unit [0], has the label 3"),
        ("x", lambda a: a / 0.0, "is inf; mend it"),
    ],
)
def test_values_that_do_not_fit(layer: str, change: Any, message: str, tmp_path: Path) -> None:
    given = good()
    with np.errstate(divide="ignore"):
        given[layer] = change(given[layer])
    with pytest.raises(Error) as caught:
        open_data(units(), given, base=tmp_path)
    assert message in str(caught.value)
    assert f"layer {layer}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_layers_that_do_not_belong_together(tmp_path: Path) -> None:
    with pytest.raises(Error, match="has 3 rows, but"):
        open_data(units(), good() | {"s": np.ones((3, 2))}, base=tmp_path)
    with pytest.raises(Error, match="no data for the visible layer x"):
        open_data(units(), {n: a for n, a in good().items() if n != "x"}, base=tmp_path)
    with pytest.raises(Error, match=r"no visible layer.*hidden"):
        open_data(units(), good() | {"h": np.ones((4, 1))}, base=tmp_path)
    with pytest.raises(Error, match="did you mean"):
        open_data(artifact_of(RBM.replace("v", "image")), {"imag": np.ones((4, 4))}, base=tmp_path)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 1, -1, 1], "row 2 .from 0. is -1.0"),
        ([1, np.nan, 1, 1], "row 1 .from 0. is nan"),
        ([0, 0, 0, 0], "every weight is 0"),
        ([1, 1, 1], r"shape \(3,\), but there are 4 cases"),
        (["a", "b", "c", "d"], "not numbers"),
    ],
)
def test_weights_that_cannot_be_used(weights: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(Error, match=message):
        open_data(units(), good(), weights=np.array(weights), base=tmp_path)


# --- bits -------------------------------------------------------------------------------------------------


def spec(bits: str | None, file: str = "x.npy") -> DataSpec:
    return DataSpec("v", file, 0.25, bits)  # type: ignore[arg-type]


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 5, (2000, 4)).astype(np.uint8))
    return tmp_path


def open_grey(grey: Path, bits: str | None) -> Data:
    return open_data(artifact_of(RBM), {"v": spec(bits)}, base=grey).train


def test_levels_without_bits_are_refused(grey: Path) -> None:
    with pytest.raises(Error, match="write `bits = resample`"):
        open_grey(grey, None)
    with pytest.raises(Error, match=r"must lie in \[0, 1\]; write `scale = 1/16`"):
        open_data(artifact_of(RBM), {"v": DataSpec("v", "x.npy", 1.0, "resample")}, base=grey)


def test_resampled_bits_are_drawn_anew_and_have_their_means(grey: Path) -> None:
    data = open_grey(grey, "resample")
    one, again, other = states(data, "v", 1, (0, 1)), states(data, "v", 1, (0, 1)), states(data, "v", 1, (0, 2))
    assert set(np.unique(one)) == {0, 1}
    np.testing.assert_array_equal(one, again)
    assert 0.1 < np.mean(one != other) < 0.6
    levels = np.load(grey / "x.npy") / 4
    assert np.array_equal(one[levels == 0], levels[levels == 0])
    assert np.array_equal(one[levels == 1], levels[levels == 1])
    for level in (0.25, 0.5, 0.75):
        drawn = one[levels == level]
        assert abs(drawn.mean() - level) < 5 * 0.5 / len(drawn) ** 0.5


@pytest.mark.parametrize("bits", ["sample", "resample"])
def test_bits_drawn_once_depend_on_seed_and_row_alone(bits: str, grey: Path) -> None:
    data = open_grey(grey, bits)
    words = (3, 4) if bits == "sample" else None
    everything = states(data, "v", 7, words)
    np.testing.assert_array_equal(states(data, "v", 7, words, [5, 3, 1999]), everything[[5, 3, 1999]])
    assert not np.array_equal(states(data, "v", 8, words), everything)
    part = open_data(artifact_of(RBM), {"v": spec(bits)}, valid=0.3, base=grey)
    assert part.valid is not None
    np.testing.assert_array_equal(states(part.valid, "v", 7, words), everything[part.valid.rows])


def test_thresholds_and_means(grey: Path) -> None:
    levels = np.load(grey / "x.npy") / 4
    np.testing.assert_array_equal(states(open_grey(grey, "threshold"), "v"), levels >= 0.5)
    np.testing.assert_array_equal(states(open_grey(grey, "mean"), "v"), levels)


def test_moments_are_weighted_means_of_expected_states(grey: Path) -> None:
    levels = np.load(grey / "x.npy") / 4
    weights = np.random.default_rng(1).random(2000)
    data = open_data(artifact_of(RBM), {"v": spec("resample")}, weights=weights, base=grey).train
    mean, variance = data.moments("v")
    np.testing.assert_allclose(mean, np.average(levels, axis=0, weights=weights), rtol=1e-12)
    np.testing.assert_allclose(variance, np.average((levels - mean) ** 2, axis=0, weights=weights), rtol=1e-12)


def test_arrays_are_states_and_take_no_scale(tmp_path: Path) -> None:
    data = open_data(
        artifact_of(f"{RBM}\ndata v {{ scale = 1/4, bits = resample }}"), {"v": np.full((3, 4), 1.0)}, base=tmp_path
    ).train
    np.testing.assert_array_equal(states(data, "v"), 1)


# --- splits -----------------------------------------------------------------------------------------------


def test_shares_are_disjoint_and_the_same_for_all(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 2, (50, 4))
    first = open_data(artifact_of(RBM), {"v": array}, valid=0.1, test=0.2, base=tmp_path)
    again = open_data(artifact_of(RBM), {"v": array}, valid=0.1, test=0.2, base=tmp_path)
    assert first.valid is not None
    assert first.test is not None
    parts = [first.train.rows, first.valid.rows, first.test.rows]
    assert [len(p) for p in parts] == [35, 5, 10]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(50))
    np.testing.assert_array_equal(again.train.rows, first.train.rows)
    assert first.digest == again.digest
    other = open_data(artifact_of(RBM), {"v": 1 - array}, valid=0.1, test=0.2, base=tmp_path)
    assert other.digest.keys() == first.digest.keys()
    assert other.digest != first.digest


def test_rows_of_weight_zero_are_not_trained_on(tmp_path: Path) -> None:
    data = open_data(artifact_of(RBM), {"v": np.zeros((4, 4))}, weights=[1, 0, 2, 1], base=tmp_path).train
    assert data.rows.tolist() == [0, 2, 3]
    assert data.weights is not None
    assert data.weights.tolist() == [1, 2, 1]


def test_the_files_weights_go_with_its_own_rows(tmp_path: Path) -> None:
    """Rows given otherwise weigh 1, be they as many or not; rows of one layer from the file bring its weights."""
    text = """
    model Two(D = 4, K = 3)
    visible v : binary[D]
    visible y : softmax[K]
    hidden  h : binary[2]
    v -- h
    y -- h
    data v { file = "v.npy" }
    data y { file = "y.npy" }
    data weights { file = "w.npy" }
    """.replace("\n    ", "\n")
    np.save(tmp_path / "v.npy", np.zeros((3, 4)))
    np.save(tmp_path / "y.npy", np.arange(3))
    np.save(tmp_path / "w.npy", np.array([1.0, 2, 5]))
    artifact = artifact_of(text)

    def weights(given: dict[str, Any], passed: Any = None) -> Any:
        found = open_data(artifact, given, weights=passed, base=tmp_path).train.weights
        return None if found is None else found.tolist()

    assert weights({}) == [1, 2, 5]
    assert weights({"y": np.zeros(3)}) == [1, 2, 5]
    for cases in (3, 5):
        assert weights({"v": np.ones((cases, 4)), "y": np.zeros(cases)}) is None
    assert weights({"v": tmp_path / "v.npy", "y": tmp_path / "y.npy"}) is None
    assert weights({"v": np.ones((2, 4)), "y": np.zeros(2)}, [3, 4]) == [3, 4]


def test_validation_files(grey: Path) -> None:
    np.save(grey / "y.npy", np.full((3, 4), 4, np.uint8))
    stated = artifact_of(f'{RBM}\ndata v {{ file = "x.npy", scale = 1/4, bits = resample, valid = "y.npy" }}')
    splits = open_data(stated, base=grey)
    assert splits.valid is not None
    np.testing.assert_array_equal(states(splits.valid, "v"), 1)
    given = open_data(artifact_of(RBM), {"v": np.zeros((5, 4))}, valid={"v": np.ones((2, 4))}, base=grey)
    assert given.valid is not None
    assert (given.train.cases, given.valid.cases) == (5, 2)


@pytest.mark.parametrize(
    ("valid", "message"),
    [(1.5, "no share of the rows"), (-0.1, "no share"), ({}, "lacks the visible layer v"), (0.999, "nothing is left")],
)
def test_shares_that_cannot_be(valid: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(Error, match=message):
        open_data(artifact_of(RBM), {"v": np.zeros((5, 4))}, valid=valid, base=tmp_path)


def test_a_single_row_cannot_be_shared(tmp_path: Path) -> None:
    with pytest.raises(Error, match=r"of 1 row nothing is left to train on after valid = 0\.5; give more"):
        open_data(artifact_of(RBM), {"v": np.zeros((1, 4))}, valid=0.5, base=tmp_path)
    (row,) = open_data(artifact_of(RBM), {"v": np.zeros((2, 4))}, valid=0.5, base=tmp_path).train.rows
    with pytest.raises(Error, match=r"of 2 rows .* after valid = 0\.5 and weights of 0;"):
        open_data(artifact_of(RBM), {"v": np.zeros((2, 4))}, valid=0.5, weights=1.0 - np.eye(2)[row], base=tmp_path)


def test_peek_shape(grey: Path) -> None:
    assert peek_shape(spec("resample"), grey) == (4,)
    with pytest.raises(Error, match="no file is named"):
        peek_shape(DataSpec("v", None), grey)


@pytest.mark.skipif(not SHARED.exists(), reason="the folder of shared data sets is not here")
def test_mnist_as_it_is_distributed() -> None:
    images = read_array("mnist/t10k-images-idx3-ubyte.gz", SHARED, "x")
    labels = read_array("mnist/t10k-labels-idx1-ubyte.gz", SHARED, "y")
    assert (images.shape, images.dtype, labels.shape) == ((10000, 28, 28), np.uint8, (10000,))
    assert int(labels[0]) == 7
