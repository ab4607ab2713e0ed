"""Products of states by tables of partial sums: against float64, on every width of vectors, and against BLAS."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_models import loaded, planned

from pgmdsl.compiler.emit import emit_kernels
from pgmdsl.compiler.primitives import multiply, multiply_outer, multiply_transposed
from pgmdsl.compiler.primitives_costs import Cost, Costs, Kind, product_seconds, worth_a_table
from pgmdsl.compiler.primitives_states import COSTS, multiply_by_blas, multiply_by_table, multiply_states, try_table
from pgmdsl.compiler.primitives_tables import LANES, NEAR
from pgmdsl.runtime import costs as measuring
from pgmdsl.runtime.costs import ALWAYS, costs_from
from pgmdsl.runtime.random import stream_key

SIZES = (1, 3, 5, 15, 16, 17, 59, 60, 61, 63, 64, 65, 1000)
LEVELS = ((0.0, 1.0), (-1.0, 1.0), (0.5, 2.0))


def test_products_by_blas():
    """Odd shapes, no cases, parts of wider matrices, and an `out` of NaN, which 0 times is not read."""
    rng = np.random.default_rng(1)
    for rows, terms, columns in ((1, 1, 1), (3, 17, 5), (100, 65, 33), (7, 0, 4)):
        a, b = (rng.normal(size=shape).astype(np.float32) for shape in ((rows, terms), (terms, columns)))
        wide = rng.normal(size=(rows, terms + 9)).astype(np.float32)
        ways = [(multiply_outer, np.ascontiguousarray(a.T), b, a)]
        if terms:
            ways += [(multiply, a, b, a), (multiply_transposed, a, np.ascontiguousarray(b.T), a)]
            ways += [(multiply, wide[:, 4 : 4 + terms], b, wide[:, 4 : 4 + terms])]
        for make, left, right, matrix in ways:
            wanted = matrix.astype(float) @ b
            out = np.full((rows, columns), np.nan, np.float32)
            make(left, right, out, 0.5, 0.0)
            np.testing.assert_allclose(out, 0.5 * wanted, atol=1e-5)
            make(left, right, out, 2.0, 3.0)
            np.testing.assert_allclose(out, 3.5 * wanted, atol=1e-4)
    with pytest.raises(AssertionError, match="product's shape"):
        multiply(np.ones((2, 3), np.float32), np.ones((3, 4), np.float32), np.ones((2, 5), np.float32), 1.0, 0.0)


def product(kind: Kind, cases: int, rows: int, columns: int, levels, seed=0):
    """States, the other factor, and their product in float64."""
    rng = np.random.default_rng(seed)
    states = np.where(rng.random((cases, rows)) < 0.4, levels[1], levels[0]).astype(np.float32)
    if kind.startswith("outer"):
        other = rng.normal(size=(cases, columns)).astype(np.float32)
        wanted = states.T.astype(float) @ other
        return states, other, wanted.T if kind == "outer_transposed" else wanted
    weights = rng.normal(size=(rows, columns)).astype(np.float32)
    wanted = states.astype(float) @ weights
    return states, np.ascontiguousarray(weights.T) if kind == "field_transposed" else weights, wanted


def check_product(kind: Kind, cases: int, rows: int, columns: int, levels, alpha: float, beta: float) -> None:
    """Within float32's rounding of the sum of the terms' magnitudes; nothing beyond the array is read or written."""
    states, other, wanted = product(kind, cases, rows, columns, levels)
    terms = cases if kind.startswith("outer") else rows
    around = np.full(wanted.size + 128, np.nan, np.float32)  # BLAS leaves what is there alone too
    out = around[64 : 64 + wanted.size].reshape(wanted.shape)
    if beta:
        out[:] = 1.5
    assert multiply_by_table(kind, states, other, out, alpha, beta, levels)
    scale = abs(alpha) * terms * max(map(abs, levels)) * 4 + 2
    np.testing.assert_allclose(out, alpha * wanted + beta * 1.5, rtol=0, atol=1e-6 * scale)
    assert np.isnan(around[:64]).all()
    assert np.isnan(around[-64:]).all()


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("levels", LEVELS)
def test_awkward_shapes(kind, levels):
    for n, rows in enumerate(SIZES):
        columns = SIZES[-1 - n]
        for cases in (1, 2, 15, 16, 17, 60, 61, 64, 65, 257):
            check_product(kind, cases, rows, columns, levels, 1.0, 0.0)
            check_product(kind, cases, columns, rows, levels, -0.5, 1.0)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    kind=st.sampled_from(get_args(Kind)),
    cases=st.integers(1, 257),
    rows=st.integers(1, 200),
    columns=st.integers(1, 200),
    levels=st.sampled_from(LEVELS),
    alpha=st.sampled_from([1.0, -0.25, 3.0]),
    beta=st.sampled_from([0.0, 1.0, 0.5]),
)
def test_any_shape(kind, cases, rows, columns, levels, alpha, beta):
    check_product(kind, cases, rows, columns, levels, alpha, beta)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_where_a_matrix_begins_changes_no_bit(kind):
    """Rows of a large matrix are read in place where they begin with lines of the cache, and else copied first."""
    rows, columns, cases = (10, 1040, 1100) if kind.startswith("outer") else (1100, 1040, 10)
    states, other, wanted = product(kind, cases, rows, columns, LEVELS[0])
    assert other.size > NEAR
    found = []
    for begin in (0, 4):
        room = np.zeros(other.size + 2 * LANES, np.float32)
        start = -(room.ctypes.data // 4) % LANES + begin
        moved = room[start : start + other.size].reshape(other.shape)
        moved[:] = other
        out = np.empty(wanted.shape, np.float32)
        assert multiply_by_table(kind, states, moved, out, 1.0, 0.0, LEVELS[0])
        np.testing.assert_allclose(out, wanted, rtol=0, atol=1e-3)
        found.append(out)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_what_is_not_a_state_is_seen_wherever_it_is(kind):
    """At every place of arrays that end within a word, a vector and a code, and before their ends."""
    for cases, size in ((3, 133), (133, 3)):
        states, other, wanted = product(kind, cases, size, 2, LEVELS[0])
        out = np.empty_like(wanted, np.float32)
        for place in np.ndindex(states.shape):
            before = states[place]
            states[place] = 0.5
            assert not multiply_by_table(kind, states, other, out, 1.0, 0.0, LEVELS[0])
            states[place] = before
        assert multiply_by_table(kind, states, other, out, 1.0, 0.0, LEVELS[0])


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("strange", [0.5, np.nan, np.inf, -1.0])
def test_what_is_not_a_state_is_left_to_blas(kind, strange, monkeypatch):
    """One mean among many states: the table does nothing, and the product is BLAS's to the last bit."""
    states, other, wanted = product(kind, 70, 40, 35, LEVELS[0])
    states[69, 39] = strange
    out = np.full(wanted.shape, 7, np.float32)
    assert not multiply_by_table(kind, states, other, out, 1.0, 0.0, LEVELS[0])
    assert np.all(out == 7)
    monkeypatch.setitem(COSTS, kind, ALWAYS[kind])
    multiply_states(kind, states, other, out, 1.0, 0.0, LEVELS[0])
    plain = np.empty_like(out)
    multiply_by_blas(kind, states, other, plain, 1.0, 0.0)
    np.testing.assert_array_equal(out, plain)


def test_without_costs_or_levels_nothing_is_made_by_table():
    states, other, wanted = product("field", 70, 40, 35, LEVELS[0])
    out = np.zeros(wanted.shape, np.float32)
    assert not try_table("field", states, other, out, 1.0, 0.0, LEVELS[0])
    assert not try_table("field", states, other, out, 1.0, 0.0, None)


# --- costs ------------------------------------------------------------------------------------------------


def test_the_cheaper_way_is_taken():
    costs: Costs = {"field": (Cost(2e-6, 4e-10, 9e-12), Cost(1e-6, 3e-10, 2e-11))}
    for cases, rows, columns in ((1, 784, 500), (10, 784, 500), (1000, 784, 500), (1000, 2, 2), (100, 16, 32)):
        by_table, by_blas = product_seconds("field", costs, cases, rows, columns)
        assert worth_a_table("field", costs, cases, rows, columns) == (by_table < 0.85 * by_blas)
    assert not worth_a_table("field", costs, 1, 784, 500)
    cheap: Costs = {"field": (Cost(0, 0, 0, least=8), Cost(1e-6, 3e-10, 2e-11))}
    assert [worth_a_table("field", cheap, cases, 784, 500) for cases in (1, 7, 8)] == [False, False, True]
    assert worth_a_table("field", costs, 1000, 784, 500)
    assert not worth_a_table("outer", costs, 1000, 784, 500)
    narrow, wide = (product_seconds("field", costs, 100, 17, n)[0] for n in (33, 48))
    assert narrow == wide  # the blocks of a table are filled up


def test_costs_from_elsewhere_are_verified():
    good = {"field": [[1e-6, 1e-10, 1e-12], [1e-6, 1e-10, 1e-12]]}
    assert costs_from(good) == {"field": (Cost(1e-6, 1e-10, 1e-12), Cost(1e-6, 1e-10, 1e-12))}
    for bad in (
        {"field": [[1e-6, 1e-10, 1e-12]]},
        {"field": [[1e-6, 1e-10], [1, 1, 1]]},
        {"field": [[1e-6, 1e-10, 1, 1, 1], [1, 1, 1]]},
        {"field": [[1e-6, 1e-10, 1, float("inf")], [1, 1, 1]]},
        {"field": [[float("nan"), 0, 0], [0, 0, 0]]},
        {"field": [[-1, 0, 0], [0, 0, 0]]},
        {"elsewhere": good["field"]},
        {"field": "x"},
    ):
        with pytest.raises((ValueError, TypeError)):
            costs_from(bad)


MODEL = """model Wide(D = 200, F = 150)
visible v : binary[D] bias b
hidden  h : spin[F]   bias a
hidden  x : gaussian[F](sigma = 1)
v -- h : W
v -- x : U
"""


def test_costs_are_measured_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("PGMDSL_CACHE_DIR", str(tmp_path))
    costs = loaded(MODEL).costs
    assert set(costs) == set(get_args(Kind))
    assert [table.least for table, _ in costs.values()] == [8] * len(costs)
    text = (tmp_path / "kernels" / "costs.json").read_text()
    assert loaded(MODEL).costs == costs
    assert (tmp_path / "kernels" / "costs.json").read_text() == text
    (tmp_path / "kernels" / "costs.json").write_text("damaged")
    assert set(loaded(MODEL).costs) == set(get_args(Kind))
    assert (tmp_path / "kernels" / "costs.json").read_text().startswith("{")
    assert loaded(MODEL.replace("200", "20")).costs == {}
    monkeypatch.setattr(measuring, "module_text", lambda _: "other tables")
    loaded(MODEL)
    assert len(json.loads((tmp_path / "kernels" / "costs.json").read_text())) == 2


# --- the two paths ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both():
    """Kernels that make every product of states by table, and others by BLAS."""
    return loaded(MODEL, costs=ALWAYS), loaded(MODEL, costs={})


@pytest.mark.parametrize("cases", [3, 100])
def test_both_paths_take_the_same_sweep(both, cases):
    """Fields to rounding; bits equal but where the field is within rounding of the threshold: for equal random numbers
    a state rises with its field, so that it lies between those drawn a little below and a little above BLAS's field."""
    rng = np.random.default_rng(3)
    p = {"W": rng.normal(0, 0.3, (200, 150)), "U": rng.normal(0, 0.3, (200, 150))}
    p = {name: value.astype(np.float32) for name, value in p.items()}
    s = {"v": (rng.random((cases, 200)) < 0.5), "h": np.where(rng.random((cases, 150)) < 0.5, 1, -1)}
    s = {name: np.ascontiguousarray(value, np.float32) for name, value in s.items()}
    for layer, key in (("h", stream_key(1)), ("v", stream_key(2)), ("h", stream_key(3)), ("v", stream_key(4))):
        fields = [np.empty_like(s[layer]) for _ in both]
        for kernels, field in zip(both, fields, strict=True):
            kernels.field[layer](p, s, field)
        np.testing.assert_allclose(*fields, rtol=0, atol=2e-5)
        assert np.any(fields[0] != fields[1])  # the sums have another order
        own = np.zeros(s[layer].shape[1], np.float32)
        below, above, drawn = (np.empty_like(s[layer]) for _ in range(3))
        both[0].sample[layer](p, fields[0], own, 1.0, key, drawn)
        for shift, out in ((-3e-5, below), (3e-5, above)):
            both[1].sample[layer](p, fields[1] + np.float32(shift), own, 1.0, key, out)
        assert np.all((below <= drawn) & (drawn <= above))
        assert np.mean(below != above) < 1e-3
        s[layer] = drawn
    sums = [np.empty((200, 150), np.float32) for _ in both]
    for kernels, out in zip(both, sums, strict=True):
        kernels.weight_statistics["W"](s, 1 / cases, False, out)
    np.testing.assert_allclose(*sums, rtol=0, atol=1e-6)


def test_who_may_be_multiplied_by_table():
    text = emit_kernels(planned(MODEL))
    assert 'multiply_states("field", s["v"], p["W"], out, 1.0, beta, (0.0, 1.0))' in text
    assert 'multiply_states("field_transposed", s["h"], p["W"], out, 1.0, beta, (-1.0, 1.0))' in text
    assert 'multiply_transposed(s["x"], p["U"], out, 1.0, beta)' in text
    assert 'multiply_outer_states(s["v"], s["x"], out, scale, beta, (0.0, 1.0), None)' in text
    assert "table" not in emit_kernels(planned(MODEL, tables=False))


# --- widths of vectors ------------------------------------------------------------------------------------

DIGEST = """
import sys; sys.path.insert(0, {here!r})
import test_tables
print(test_tables.digest())
"""
WIDTHS = {"avx2": ("haswell", ""), "sse2": ("x86-64", "")}


def digest() -> str:
    """A hash of products of every kind, to the last bit."""
    found = hashlib.sha256()
    for kind in get_args(Kind):
        for levels in LEVELS[:2]:
            states, other, wanted = product(kind, 70, 133, 47, levels)
            out = np.empty(wanted.shape, np.float32)
            assert multiply_by_table(kind, states, other, out, 1.0, 0.0, levels)
            np.testing.assert_allclose(out, wanted, rtol=0, atol=1e-4)
            found.update(out.tobytes())
    return found.hexdigest()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the widths are those of x86")
def test_every_width_gives_the_same_bits():
    """The widths that this machine can run, by restricting the target, in processes of their own."""
    here = os.path.dirname(__file__)
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", DIGEST.format(here=here)],
            env=os.environ | {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features},
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, features in WIDTHS.values()
    ]
    found = [run.communicate()[0].strip() for run in runs]
    assert found == [digest()] * len(runs)
