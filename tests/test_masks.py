"""Masks of weights, from files and on grids; colours of sites that may be drawn together; what is wrong with either."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import RBM, artifact_of
from hypothesis import given, settings
from hypothesis import strategies as st

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.data import open_data
from pgmdsl.runtime.masks import colours, prepared


def masks_of(text: str, base: Path = Path()) -> dict[str, Any]:
    return prepared(artifact_of(f"model M\n{text}\n"), base)[0]


def near(i: Any, j: Any, grid: Any, other: Any, radius: float) -> bool:
    """Whether two units are within a radius in every axis, the smaller grid stretched to the larger."""
    for a, b, n, m in zip(i, j, grid, other, strict=True):
        top = max(n, m)
        if abs((a + 0.5) * top / n - (b + 0.5) * top / m) > radius + 1e-9:
            return False
    return True


@pytest.mark.parametrize(
    ("grid", "other", "radius"),
    [((4, 5), (4, 5), 1), ((6, 6), (3, 2), 1.5), ((2, 3), (4, 6), 0.5), ((7,), (7,), 2), ((9,), (3,), 1)],
)
def test_local_masks_join_near_units(grid: Any, other: Any, radius: float) -> None:
    dims, others = (", ".join(map(str, x)) for x in (grid, other))
    text = f"visible v : binary[{dims}]\nhidden h : binary[{others}]\nv -- h : W(mask = local(radius = {radius}))"
    mask = masks_of(text)["W"]
    assert mask.shape == grid + other
    for i in product(*map(range, grid)):
        for j in product(*map(range, other)):
            assert mask[i + j] == near(i, j, grid, other, radius)
    assert mask.any()
    assert not mask.all()


def test_states_of_a_site_are_at_one_place() -> None:
    text = "visible x : softmax[5, 3]\nhidden h : binary[5]\nx -- h : W(mask = local(radius = 1))"
    mask = masks_of(text)["W"]
    assert mask.shape == (5, 3, 5)
    for i, j in product(range(5), range(5)):
        assert mask[i, :, j].tolist() == [abs(i - j) <= 1] * 3


def test_lateral_weights_have_no_diagonal_and_no_blocks() -> None:
    found = masks_of(
        "visible v : binary[2, 2]\nvisible x : softmax[2, 3]\nhidden h : binary[2]\nv -- v : L\nx -- x : J\nv -- h : W"
    )
    assert found.keys() == {"L", "J"}
    np.testing.assert_array_equal(found["L"].reshape(4, 4), ~np.eye(4, dtype=bool))
    np.testing.assert_array_equal(found["J"].reshape(6, 6), np.kron(~np.eye(2, dtype=bool), np.ones((3, 3), bool)))


LATERAL = "visible v : {unit}\nhidden h : binary[2]\nv -- h : W\nv -- v : L({mask})"


def test_masks_from_files(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((3, 2, 2)) < 0.5
    text = 'visible v : binary[3, 2]\nhidden h : binary[2]\nv -- h : W(mask = "m.npy")'
    for saved in (mask, mask.astype(np.uint8), mask.astype(np.float64).reshape(6, 2)):
        np.save(tmp_path / "m.npy", saved)
        np.testing.assert_array_equal(masks_of(text, tmp_path)["W"], mask)


@pytest.mark.parametrize(
    ("edge", "values", "message"),
    [
        ("W", np.ones((2, 6)), "has shape (2, 6), but W has (3, 2, 2), the axes of v and h; give the mask that shape"),
        ("W", np.full((3, 2, 2), 0.5), "other values than 0 (no entry) and 1; make it of them, for example"),
        ("W", np.full((3, 2, 2), np.nan), "other values than 0"),
        ("W", np.zeros((3, 2, 2)), "the mask of W, m.npy, leaves no entry: no units of v and h are joined; widen it"),
        ("L", np.triu(np.ones((6, 6))), "the mask has only one of the entries (0, 1) and (1, 0)"),
        ("L", np.eye(6), "leaves no entry: no units of v and v are joined"),
    ],
)
def test_mask_files_that_do_not_fit(edge: str, values: Any, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", values)
    edges = {"W": "v -- h : W", "L": "v -- v : L"}
    edges[edge] += '(mask = "m.npy")'
    text = "visible v : binary[3, 2]\nhidden h : binary[2]\n" + "\n".join(edges.values())
    with pytest.raises(Error) as caught:
        masks_of(text, tmp_path)
    assert message in str(caught.value)
    assert "m.npy" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_masks_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(Error, match=r"mask of W.: there is no such file"):
        masks_of('visible v : binary[3]\nhidden h : binary[2]\nv -- h : W(mask = "m.npy")', tmp_path)


def test_a_mask_file_is_data(tmp_path: Path) -> None:
    """A resumed run sees whether it is still the same."""
    artifact = artifact_of(RBM.replace("v -- h : W", 'v -- h : W(mask = "m.npy")'))
    digests = []
    for value in (np.ones((4, 3)), np.eye(4, 3)):
        np.save(tmp_path / "m.npy", value)
        digests.append(open_data(artifact, {"v": np.eye(4)}, base=tmp_path).digest["m.npy (mask of W)"])
    assert digests[0] != digests[1]


# --- colours ----------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 30), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_no_two_joined_sites_have_one_colour(sites: int, share: float, seed: int) -> None:
    joined = np.triu(np.random.default_rng(seed).random((sites, sites)) < share, 1)
    joined |= joined.T
    found = colours(joined)
    assert found.dtype == np.int32
    assert not (joined & (found[:, None] == found)).any()
    assert set(found) == set(range(found.max() + 1))
    assert found.max() <= joined.sum(axis=1).max()


def test_sites_are_coloured_where_a_mask_makes_it_worth_it() -> None:
    def found(text: str) -> Any:
        return prepared(artifact_of(f"model M\n{text}\n"), Path())[1]

    local = "mask = local(radius = 1)"
    assert found(LATERAL.format(unit="binary[6]", mask=local))["v"].max() == 1 + 0  # neighbours on a line: two colours
    assert len(found(LATERAL.format(unit="softmax[6, 3]", mask=local))["v"]) == 6
    assert found(LATERAL.format(unit="binary[5, 5]", mask=local))["v"].max() + 1 < 9
    assert found(LATERAL.format(unit="binary[6]", mask="init = 0")) == {}
    assert found(LATERAL.format(unit="binary[6]", mask="mask = local(radius = 9)")) == {}
    assert found(LATERAL.format(unit="binary[6]", mask=local) + "\nv -- v : K") == {}  # K joins all
    both = found(LATERAL.format(unit="binary[6]", mask=local) + "\nv -- v : K(mask = local(radius = 2))")
    assert both["v"].max() == 2
