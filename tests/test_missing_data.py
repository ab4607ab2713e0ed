"""Missing values: NaN, masks and masked arrays in every support; documents and their lengths; what is said of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from builders import DBM, RBM, artifact_of, kernels_of, random_data, random_parameters
from hypothesis import given, settings
from hypothesis import strategies as st

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.compiler.model import DataSpec
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.columns import check_column
from pgmdsl.runtime.data import Data, Observed, open_cases, open_data, peek_shape
from pgmdsl.runtime.feed import Feed
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.missing import describe_missing, spread_words
from pgmdsl.runtime.readers import read_array
from pgmdsl.runtime.sparse import SparseRows, sparse_rows

UNITS = """
unit level {
  support x in {-1, 0, 2}
  energy 0.3 * x^2
  statistic x
}
model Units
given   u : gaussian[2]
visible v : binary[2, 2]
visible s : spin[2]
visible y : softmax[2, 3]
visible g : gaussian[3]
visible n : binomial[2](trials = 12)
visible z : poisson[2]
visible r : relu[2]
visible w : replicated_softmax[5]
visible t : level[2]
hidden  h : binary[2]
u -- h
v -- h
s -- h
y -- h
g -- h
n -- h
z -- h
r -- h
w -- h
t -- h
"""
BITS = SimpleNamespace(draw_bits=kernels_of(artifact_of(RBM)).draw_bits)
HERE = Path()


def units() -> Artifact:
    return artifact_of(UNITS)


def good(cases: int = 6) -> dict[str, Any]:
    return random_data(units(), cases)


def opened(**changes: Any) -> Data:
    return open_data(units(), good() | changes, base=HERE).train


def states(data: Data, layer: str, seed: int = 0, words: Any = None) -> Any:
    out = np.full((data.cases, data.columns[layer].layer.size), np.nan)
    data.states(layer, np.arange(data.cases), out, BITS, seed, words)
    return out


def with_gaps(name: str, x: Any, share: float = 0.4, seed: int = 0) -> Any:
    """NaN in place of some values; of whole sites, and of whole documents, where units come together."""
    rng = np.random.default_rng(seed)
    x = np.array(x, float)
    if name == "y":
        x[rng.random(x.shape[:-1]) < share] = np.nan
    elif name == "w":
        x[rng.random(len(x)) < share] = np.nan
    else:
        x[rng.random(x.shape) < share] = np.nan
    return x


# --- values of every support ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "change", "message"),
    [
        ("n", lambda a: np.where(a == a.max(), 15, a), "with states 0, 1, ..., 12; the largest value is 15: let"),
        ("n", lambda a: a + 0.5, "with states 0, 1, ..., 12; convert the values"),
        ("t", lambda a: a + 1, "level, with states -1, 0, 2"),
        ("z", lambda a: a + 0.5, "takes whole numbers from 0 on; give the counts themselves, not rates"),
        ("z", lambda a: a - 100, "a count is not negative"),
        ("r", lambda a: a - 100, "which takes values from 0 on; shift the data"),
        ("w", lambda a: a / 7, "how often each of 5 words occurs; counts are whole numbers: give those"),
        ("w", lambda a: a - 1, "a count is not negative: mend the data; a missing count is NaN, or 0 in a mask"),
        ("w", lambda a: a * 0, "row 0 (from 0) is one of 6 documents without any words, of 6 in all"),
        ("w", lambda a: a * (np.arange(6) != 3)[:, None], "row 3 (from 0) is a document without any words"),
        ("w", lambda a: a[:, :4], "shape (6, 4), but layer w takes (cases, 5)"),
        ("y", lambda a: np.argmax(a, -1) - 1.0, "a missing label is NaN, or 0 in a mask"),
        ("u", lambda a: np.where(a == a[2, 0], np.nan, a), "row 2 (from 0), unit [0], is nan, and u is given"),
        ("g", lambda a: np.where(a == a[1, 1], np.inf, a), "row 1 (from 0), unit [1], is inf; mend it"),
        ("g", lambda a: a * np.nan, "every value of g is missing in the 6 cases to train on"),
        ("u", lambda a: np.ones((6, 3)), "layer u takes (cases, 2)"),
    ],
)
def test_values_that_do_not_fit(layer: str, change: Any, message: str) -> None:
    with pytest.raises(Error) as caught:
        opened(**{layer: change(good()[layer])})
    assert message in str(caught.value)
    assert f"layer {layer}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_given_layers_are_data_of_any_value() -> None:
    data = opened(u=np.array([[1e6, -3.5]] * 6))
    np.testing.assert_array_equal(states(data, "u")[0], [1e6, -3.5])
    without = {n: x for n, x in good().items() if n != "u"}
    with pytest.raises(Error, match="no data for the given layer u"):
        open_data(units(), without, base=HERE)
    with pytest.raises(Error, match=r"no values for the given layer u, on which everything else is conditional"):
        open_cases(units(), {"v": good()["v"]}, HERE)
    with pytest.raises(Error, match="valid data lacks the given layer u"):
        open_data(units(), good(), valid=without, base=HERE)


@pytest.mark.parametrize("name", ["v", "s", "y", "g", "n", "z", "r", "t", "w"])
def test_gaps_of_every_support_are_filled_with_states_and_left_out_of_moments(name: str) -> None:
    whole = random_data(units(), 60)[name]
    gaps = with_gaps(name, whole)
    data = open_cases(units(), {name: gaps, "u": np.zeros((60, 2))}, HERE)
    flat, known = gaps.reshape(60, -1), ~np.isnan(gaps).reshape(60, -1)
    got, held = states(data, name), data.held(name, np.arange(60))
    np.testing.assert_array_equal(held, known)
    np.testing.assert_array_equal(got[known], flat[known])
    check_column(data.columns[name].layer, got, "filled")  # what stands in is a state
    mean, variance = data.moments(name)
    np.testing.assert_allclose(mean, np.nanmean(flat, axis=0), rtol=1e-12)
    np.testing.assert_allclose(variance, np.nanvar(flat, axis=0), rtol=1e-10, atol=1e-12)
    assert data.missing
    assert data.held(name, np.flatnonzero(known.all(axis=1))[:1]) is None
    assert not open_cases(units(), {name: whole, "u": np.zeros((60, 2))}, HERE).missing


@pytest.mark.parametrize("name", ["v", "y", "g", "z", "t"])
def test_whole_weights_are_repeated_rows(name: str) -> None:
    gaps, times = with_gaps(name, random_data(units(), 40)[name]), np.random.default_rng(1).integers(1, 5, 40)
    once = replace(open_cases(units(), {name: gaps, "u": np.zeros((40, 2))}, HERE), weights=times.astype(float))
    again = open_cases(units(), {name: np.repeat(gaps, times, axis=0), "u": np.zeros((times.sum(), 2))}, HERE)
    for one, other in zip(once.moments(name), again.moments(name), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


# --- masks ------------------------------------------------------------------------------------------------


def test_a_mask_does_what_nan_does(tmp_path: Path) -> None:
    """From a file, from an array, of NumPy's masked arrays; the masked values may be anything."""
    rng = np.random.default_rng(0)
    x, mask = rng.integers(0, 2, (9, 4)), (rng.random((9, 4)) < 0.6).astype(np.uint8)
    spoiled = np.where(mask, x, -999)
    np.save(tmp_path / "x.npy", spoiled)
    np.save(tmp_path / "m.npy", mask)
    wanted = np.where(mask, x, np.nan)
    artifact = artifact_of(RBM)
    for layer in (
        wanted,
        np.ma.masked_array(spoiled, mask == 0),
        Observed(spoiled, mask),
        Observed(tmp_path / "x.npy", str(tmp_path / "m.npy")),
        DataSpec("v", "x.npy", mask="m.npy"),
    ):
        data = open_data(artifact, {"v": layer}, base=tmp_path).train
        np.testing.assert_array_equal(data.held("v", np.arange(9)), mask == 1)
        np.testing.assert_array_equal(states(data, "v")[mask == 1], x[mask == 1])
        np.testing.assert_allclose(data.moments("v")[0], np.nanmean(wanted, axis=0))


def test_the_blocks_mask_belongs_to_its_file(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((3, 4)))
    np.save(tmp_path / "m.npy", np.zeros((3, 4)))
    np.save(tmp_path / "y.npy", np.ones((5, 4)))
    artifact = artifact_of(f'{RBM}\ndata v {{ file = "x.npy", mask = "m.npy", valid = "y.npy" }}')
    with pytest.raises(Error, match="every value of v is missing"):
        open_data(artifact, base=tmp_path)
    splits = open_data(artifact, {"v": str(tmp_path / "y.npy")}, base=tmp_path)
    assert not splits.train.missing
    assert splits.valid is not None
    assert not splits.valid.missing


@pytest.mark.parametrize(
    ("layer", "shape"), [("v", (6,)), ("v", (6, 1)), ("v", (6, 2, 2)), ("v", (6, 4)), ("y", (6, 2)), ("y", (6, 2, 3))]
)
def test_masks_of_cases_sites_and_entries(layer: str, shape: tuple[int, ...]) -> None:
    mask = np.ones(shape, bool)
    mask[2] = False
    data = opened(**{layer: Observed(good()[layer], mask)})
    held = data.held(layer, np.arange(6))
    assert held is not None
    np.testing.assert_array_equal(held.all(axis=1), np.arange(6) != 2)
    np.testing.assert_array_equal(held.any(axis=1), np.arange(6) != 2)
    mask[2] = True
    assert not opened(**{layer: Observed(good()[layer], mask)}).missing


def test_labels_may_be_masked_or_nan() -> None:
    labels = np.array([[0, 1], [2, 2], [-1, 0], [1, 1], [0, 0], [2, 1]])
    for given_labels in (Observed(labels, labels >= 0), np.where(labels < 0, np.nan, labels)):
        data = opened(y=given_labels)
        held = data.held("y", np.arange(6))
        assert held is not None
        np.testing.assert_array_equal(held[2], [False] * 3 + [True] * 3)
        assert held[[0, 1, 3, 4, 5]].all()
        np.testing.assert_array_equal(states(data, "y")[1], [0, 0, 1, 0, 0, 1])
        assert states(data, "y")[2].reshape(2, 3).sum(axis=1).tolist() == [1, 1]
    one_hot = np.eye(3)[labels]
    one_hot[2, 0] = [1, 0, np.nan]  # a state of the site is not known, so the site is not
    held = opened(y=one_hot).held("y", np.arange(6))
    assert held is not None
    np.testing.assert_array_equal(held[2], [False] * 3 + [True] * 3)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((6, 3)), "the mask has shape (6, 3), but the values of v have (6, 2, 2); give the mask that shape or"),
        (np.ones((5, 2, 2)), "one entry a case, (6,)"),
        (np.full((6, 2, 2), 0.5), "other values than 0 (missing) and 1 (observed)"),
        (np.full((6, 2, 2), np.nan), "other values than 0 (missing) and 1 (observed)"),
        (np.full((6, 2, 2), "yes"), "other values"),
        (np.zeros((6, 2, 2)), "every value of v is missing in the 6 cases to train on; name other data, mend the mask"),
    ],
)
def test_masks_that_do_not_fit(mask: Any, message: str) -> None:
    with pytest.raises(Error) as caught:
        opened(v=Observed(good()["v"], mask))
    assert message in str(caught.value)
    assert "layer v" in str(caught.value)


def test_a_mask_of_sites_says_so() -> None:
    with pytest.raises(Error, match=r"give the mask that shape, one a site \(6, 2\), or one entry a case, \(6,\)"):
        opened(y=Observed(good()["y"], np.ones((6, 4))))


def test_where_values_may_not_be_missing_they_are_named() -> None:
    layer = units().layers["g"]
    x = np.array([[1.0, 2, 3], [4, np.nan, 6]])
    with pytest.raises(Error, match=r"here: row 1 \(from 0\), unit \[1\], is nan; missing values are not taken here"):
        check_column(layer, x, "here")
    with pytest.raises(Error, match=r"unit \[1\], is missing; missing values are not taken here"):
        check_column(layer, np.ma.masked_array([[1.0, 2, 3]], [[False, True, False]]), "here")


# --- bits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", ["resample", "sample", "threshold", "mean"])
def test_bits_are_made_of_what_is_there(bits: Any, tmp_path: Path) -> None:
    levels = np.random.default_rng(0).random((40, 4))
    known = np.random.default_rng(1).random((40, 4)) < 0.7
    np.save(tmp_path / "x.npy", levels)
    np.save(tmp_path / "gaps.npy", np.where(known, levels, np.nan))
    whole, gaps = (
        open_data(artifact_of(RBM), {"v": DataSpec("v", f, bits=bits)}, base=tmp_path).train
        for f in ("x.npy", "gaps.npy")
    )
    for words in (None, (0, 3)):
        there, here = states(whole, "v", 5, words), states(gaps, "v", 5, words)
        np.testing.assert_array_equal(here[known], there[known])
        assert np.isin(here[~known], (0, 1)).all()
    np.testing.assert_array_equal(gaps.held("v", np.arange(40)), known)


# --- documents --------------------------------------------------------------------------------------------


def documents(w: Any, length: Any = None) -> Data:
    return opened(w=Observed(w, length=length))


def counts() -> Any:
    return np.array(
        [[1, 2, 0, 0, 1], [3, 0, 0, 1, 0], [1, 0, 0, 0, 0], [2, 2, 2, 2, 2], [0, 1, 0, 0, 5], [1, 1, 0, 0, 1]]
    )


def test_a_document_without_counts_has_the_mean_length() -> None:
    w = counts().astype(float)
    w[3] = np.nan
    data = documents(w)
    assert states(data, "w")[3].sum() == round((4 + 4 + 1 + 6 + 3) / 5)
    assert any(
        "1 documents of w without any count are given the rounded mean length" in s for s in describe_missing(data)
    )
    assert states(documents(w, 11), "w")[3].sum() == 11
    lengths = np.array([np.nan, np.nan, np.nan, 7, np.nan, np.nan])
    assert states(documents(w, lengths), "w")[3].sum() == 7
    assert not any("rounded mean" in s for s in describe_missing(documents(w, 11)))


def test_the_rest_of_a_document_is_spread_over_its_missing_words(tmp_path: Path) -> None:
    w = counts().astype(float)
    w[3, :2], w[0, 4] = np.nan, np.nan
    np.save(tmp_path / "lengths.npy", np.array([4, 0, 0, 10, 0, 0]))
    data = documents(w, str(tmp_path / "lengths.npy"))
    got = states(data, "w")
    assert got[3].sum() == 10
    assert got[3, 2:].tolist() == [2, 2, 2]
    assert got[0].tolist() == [1, 2, 0, 0, 1]
    np.testing.assert_array_equal(got[[1, 2, 4, 5]], counts()[[1, 2, 4, 5]])
    np.testing.assert_array_equal(data.held("w", np.array([3])), [[False, False, True, True, True]])


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (None, "row 3 (from 0) lacks counts, and the length of its document is not known; state it in the data block"),
        (5, "the length of row 3 (from 0) is stated as 5, and 6 of its words are observed"),
        (7.5, "a length is a whole number"),
        (np.full(6, np.nan), "is stated as nan"),
        (np.ones(5), "shape (5,), and there are 6 cases; give one number, or one number a case"),
    ],
)
def test_lengths_that_do_not_fit(length: Any, message: str) -> None:
    w = counts().astype(float)
    w[3, :2] = np.nan
    with pytest.raises(Error) as caught:
        documents(w, length)
    assert message in str(caught.value)
    assert "layer w" in str(caught.value)


def test_no_document_at_all_has_a_length() -> None:
    with pytest.raises(Error, match="cannot be taken from other documents, as none is complete; state it"):
        open_cases(units(), {"w": np.full((3, 5), np.nan), "u": np.zeros((3, 2))}, HERE)
    data = open_cases(units(), {"w": Observed(np.full((3, 5), np.nan), length=4), "u": np.zeros((3, 2))}, HERE)
    assert states(data, "w").sum(axis=1).tolist() == [4, 4, 4]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5), st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_words_are_spread_in_whole_numbers(rows: int, words: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mean = rng.random(words) * (rng.random(words) < 0.7)
    observed = rng.random((rows, words)) < 0.5
    observed[:, rng.integers(words)] = False
    out = np.where(observed, rng.integers(0, 4, (rows, words)), 0).astype(np.float32)
    lengths = out.sum(axis=1) + rng.integers(0, 50, rows)
    before, rest = out.copy(), lengths - out.sum(axis=1)
    spread_words(out, observed, lengths, mean)
    np.testing.assert_array_equal(out[observed], before[observed])
    np.testing.assert_array_equal(out.sum(axis=1), lengths)
    np.testing.assert_array_equal(out, np.round(out))
    weight = np.where(observed, 0, mean)
    share = rest[:, None] * weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)
    proportional = weight.sum(axis=1) > 0
    assert (np.abs(out - share)[proportional][~observed[proportional]] <= 1).all()


# --- sparse counts ----------------------------------------------------------------------------------------


def test_sparse_counts_stay_sparse_and_are_the_dense_ones(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    dense = rng.integers(0, 3, (30, 5)) * (rng.random((30, 5)) < 0.4)
    dense[:, 0] += dense.sum(axis=1) == 0
    scipy.sparse.save_npz(tmp_path / "matrix.npz", scipy.sparse.csr_matrix(dense))
    scipy.sparse.save_npz(tmp_path / "array.npz", scipy.sparse.csr_array(dense.astype(np.float32)), compressed=False)
    artifact = units()
    rest = random_data(artifact, 30)
    whole = open_data(artifact, rest | {"w": dense}, base=tmp_path).train
    for w in (
        scipy.sparse.csr_matrix(dense),
        scipy.sparse.csr_array(dense),
        scipy.sparse.coo_array(dense),
        str(tmp_path / "matrix.npz"),
        tmp_path / "array.npz",
        DataSpec("w", "matrix.npz"),
    ):
        data = open_data(artifact, rest | {"w": w}, base=tmp_path).train
        assert isinstance(data.columns["w"].values, SparseRows)
        np.testing.assert_array_equal(states(data, "w"), dense)
        for one, other in zip(data.moments("w"), whole.moments("w"), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12)
    assert peek_shape(DataSpec("w", "matrix.npz"), tmp_path) == (5,)


def test_sparse_rows_taken_in_any_order() -> None:
    rng = np.random.default_rng(0)
    dense = rng.integers(0, 3, (50, 7)) * (rng.random((50, 7)) < 0.3)
    dense[[0, 9, 49]] = 0
    rows = sparse_rows(*_parts(scipy.sparse.csr_matrix(dense)), "x")
    for take in (np.arange(50), np.array([49, 0, 3, 3]), slice(5, 9), slice(0, 0), np.array([], int)):
        np.testing.assert_array_equal(rows[take], dense[take])


def test_entries_stored_twice_are_added() -> None:
    rows = sparse_rows(np.array([1, 2, 4]), np.array([1, 1, 0]), np.array([0, 3]), (1, 2), "x")
    np.testing.assert_array_equal(rows[:1], [[4, 3]])


def _parts(m: Any) -> tuple[Any, ...]:
    return m.data, m.indices, m.indptr, m.shape


@pytest.mark.parametrize(
    "change",
    [
        {"indices": np.array([0, 9])},
        {"indices": np.array([0, -1])},
        {"indptr": np.array([0, 2, 1])},
        {"indptr": np.array([0, 2, 3])},
        {"indptr": np.array([0, 2])},
        {"shape": np.array([2.0, 3.0])},
        {"shape": np.array([2, 3, 1])},
        {"data": np.array([1.0])},
    ],
)
def test_sparse_parts_that_do_not_fit_together(change: dict[str, Any], tmp_path: Path) -> None:
    parts = {"data": np.ones(2), "indices": np.array([0, 2]), "indptr": np.array([0, 1, 2]), "shape": np.array([2, 3])}
    np.savez(tmp_path / "x.npz", **(parts | {"format": np.array(b"csr")} | change))
    with pytest.raises(Error, match="do not fit together; write it again with"):
        open_cases(artifact_of(SPARSE), {"w": str(tmp_path / "x.npz")}, tmp_path)


SPARSE = "model S\nvisible w : replicated_softmax[3]\nhidden h : binary[2]\nw -- h\n"


def test_sparse_files_that_cannot_be_read(tmp_path: Path) -> None:
    matrix = scipy.sparse.csc_matrix(np.eye(3))
    scipy.sparse.save_npz(tmp_path / "csc.npz", matrix)
    parts = {k: getattr(matrix.tocsr(), k) for k in ("data", "indices", "indptr")}
    np.savez(tmp_path / "pickled.npz", **parts, shape=np.array([3, 3], object), format=np.array(b"csr"))
    with pytest.raises(Error, match=r"in the format csc, and rows are read one by one: save it as"):
        open_cases(artifact_of(SPARSE), {"w": str(tmp_path / "csc.npz")}, tmp_path)
    with pytest.raises(Error, match="a pickle"):
        open_cases(artifact_of(SPARSE), {"w": str(tmp_path / "pickled.npz")}, tmp_path)
    scipy.sparse.save_npz(tmp_path / "x.npz", scipy.sparse.csr_matrix(np.eye(3)))
    with pytest.raises(Error, match="this is a sparse matrix, which only data may be"):
        read_array("x.npz", tmp_path, "case weights")
    with pytest.raises(Error, match=r"shape \(3, 3\), but layer w takes \(cases, 4\)"):
        open_cases(artifact_of(SPARSE.replace("[3]", "[4]")), {"w": matrix.tocsr()}, tmp_path)
    with pytest.raises(Error, match=r"the sparse array has shape \(3,\)"):
        open_cases(artifact_of(SPARSE), {"w": scipy.sparse.coo_array(np.eye(3)[0])}, tmp_path)
    with pytest.raises(Error, match=r"row 1 \(from 0\) is a document without any words, of 3 in all"):
        open_cases(artifact_of(SPARSE), {"w": scipy.sparse.csr_array(np.diag([1, 0, 2]))}, tmp_path)


def test_a_header_that_promises_too_much_is_not_believed(tmp_path: Path) -> None:
    """Of an array in an .npz no more memory is taken than its compressed bytes can hold."""
    import zipfile

    np.savez(tmp_path / "x.npz", v=np.zeros((2, 4)))
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:
        content = archive.read("v.npy")
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr("v.npy", content.replace(b"(2, 4), }          ", b"(2000000000, 4), } ").ljust(len(content)))
    with pytest.raises(Error, match="the header of v asks for 64 GB, more than the file can hold"):
        read_array("huge.npz", tmp_path, "data for layer v")


def test_words_of_sparse_documents_may_be_missing() -> None:
    matrix = scipy.sparse.csr_array(np.array([[1.0, 0, np.nan], [2, 2, 0]]))
    data = open_cases(artifact_of(SPARSE), {"w": Observed(matrix, length=5)}, HERE)
    np.testing.assert_array_equal(states(data, "w"), [[1, 0, 4], [2, 2, 0]])
    data = open_cases(artifact_of(SPARSE), {"w": Observed(np.nan_to_num(matrix.toarray()), np.array([1, 0]), 3)}, HERE)
    assert states(data, "w")[1].sum() == 3


# --- what is said -----------------------------------------------------------------------------------------


def test_what_is_missing_is_described() -> None:
    v = np.zeros((8, 2, 2))
    v[:3, 0, 0], v[:, 1, 0] = np.nan, np.nan
    changes = {n: x.astype(float) for n, x in (random_data(units(), 8) | {"v": v}).items()}
    data = open_data(units(), changes, base=HERE).train
    said = describe_missing(data)
    assert said == [
        "34.4% of the values of v are missing, in 8 of 8 cases: they are latent variables, taken to be missing at "
        "random",
        "1 of the 4 units of v are never observed, the first is unit [1, 0]: nothing in the data says what they are",
    ]
    np.testing.assert_allclose(data.moments("v")[0], [0, 0, 0.5, 0])
    for name, x in changes.items():
        if name != "u":
            x[5] = np.nan
    said = describe_missing(open_data(units(), changes, base=HERE).train)
    assert "1 case has no observed value in any layer: kept, but without any information" in said
    assert sum("missing at random" in line for line in said) == 9


def test_a_site_that_is_never_observed() -> None:
    labels = np.tile([[1.0, np.nan]], (6, 1))
    said = describe_missing(opened(y=labels))
    assert "1 of the 2 sites of y are never observed, the first is unit [1]" in said[1]
    np.testing.assert_allclose(opened(y=labels).moments("y")[0], [0, 1, 0, 1 / 3, 1 / 3, 1 / 3])


def test_a_real_unit_that_is_never_observed_is_like_the_others() -> None:
    g = np.random.default_rng(0).normal(100, 5, (50, 3))
    g[:, 1] = np.nan
    data = open_cases(units(), {"g": g, "u": np.zeros((50, 2))}, HERE)
    mean, variance = data.moments("g")
    assert mean[1] == pytest.approx(mean[[0, 2]].mean())
    assert variance[1] == pytest.approx(variance[[0, 2]].mean())


def test_complete_data_says_nothing() -> None:
    assert describe_missing(opened()) == []


def test_digests_hold_masks_and_lengths() -> None:
    def digest(v: Any) -> str:
        (value,) = open_data(artifact_of(RBM), {"v": v}, base=HERE).digest.values()
        return value

    x, mask = np.zeros((5, 4)), np.ones((5, 4), bool)
    mask[0, 0] = False
    assert digest(x) != digest(Observed(x, mask))
    assert digest(Observed(x, mask)) != digest(Observed(x, mask[:, ::-1]))
    assert digest(Observed(x, mask)) == digest(np.ma.masked_array(x, ~mask))

    def of_documents(length: Any) -> str:
        w = Observed(np.array([[1.0, 2, 3], [np.nan, 1, 0]]), length=length)
        return open_cases(artifact_of(SPARSE), {"w": w}, HERE).columns["w"].digest

    assert of_documents(4) != of_documents(5)


def test_shares_of_rows_keep_their_gaps(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (50, 4)).astype(float)
    x[rng.random((50, 4)) < 0.3] = np.nan
    splits = open_data(artifact_of(RBM), {"v": x}, valid=0.2, test=0.2, base=tmp_path)
    for part in (splits.train, splits.valid, splits.test):
        assert part is not None
        held = part.held("v", np.arange(part.cases))
        np.testing.assert_array_equal(held, ~np.isnan(x[part.rows]))


# --- the feed ---------------------------------------------------------------------------------------------


def test_the_feed_says_what_is_observed() -> None:
    x = np.zeros((6, 4))
    x[4, 1] = np.nan
    artifact = artifact_of(RBM)
    machine = Machine(artifact, kernels_of(artifact), random_parameters(artifact))
    feed = Feed(open_data(artifact, {"v": x}, base=HERE).train, machine, 0)
    assert feed.held(np.arange(4)) == {}
    assert feed.held(np.array([4, 2]))["v"].tolist() == [[True, False, True, True], [True] * 4]


def test_upward_passes_sum_over_what_is_missing() -> None:
    """The upper layer of a pass, drawn from the posterior given what is observed: against its enumeration."""
    artifact = artifact_of(DBM)
    kernels, p = kernels_of(artifact), random_parameters(artifact, sd=1.0)
    below = Machine(artifact, kernels, p, ("v", "h1"))
    machine = Machine(artifact, kernels, p, ("h1", "h2"))
    v = np.tile([[1.0, np.nan, 0.0, np.nan]], (1500, 1))
    feed = Feed(open_data(artifact, {"v": v}, base=HERE).train, machine, 0, [(below, "h1")])
    assert feed.held(np.arange(5)) == {}  # the machine's own layers lack nothing
    s = machine.new_state(1500, feed.layers)
    feed.fill(np.arange(1500), s, (0, 1))
    every = np.array([[1.0, a, 0.0, b] for a in (0, 1) for b in (0, 1)])
    fields = every @ p["W1"] + p["a1"]
    weight = np.exp(every @ p["b"] + np.logaddexp(0, fields).sum(axis=1))
    expected = (weight / weight.sum()) @ (1 / (1 + np.exp(-fields)))
    assert np.all(np.abs(s["h1"].mean(axis=0) - expected) < 5 * 0.5 / 1500**0.5)
    again = machine.new_state(1500, feed.layers)
    feed.fill(np.arange(1500), again, (0, 1))
    np.testing.assert_array_equal(again["h1"], s["h1"])
