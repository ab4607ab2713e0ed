"""Products with matrices that are mostly 0: as the dense ones, whichever way they are made."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_models import loaded, planned

from pgmdsl.compiler import primitives_sparse
from pgmdsl.compiler.emit import emit_kernels
from pgmdsl.runtime.random import stream_key

SOFTMAX = """model Sequences(N = 12, K = 9, F = 5)
visible x : softmax[N, K] bias b
hidden h : binary[F] bias a
x -- x : J
x -- h : W
"""


def matrix(rows, columns, kept, seed):
    """Entries N(0, 1), each kept with this probability, float32; the first row is empty if any may be."""
    rng = np.random.default_rng(seed)
    out = rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < kept)
    out[0] *= kept == 1
    return out.astype(np.float32)


@pytest.mark.parametrize("kept", [0.0, 0.05, 1.0])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (-0.5, 1.0), (2.0, 0.25)])
@pytest.mark.parametrize("columns", [3, 300])
def test_rows_of_few_entries(kept, alpha, beta, columns):
    a, b, out = matrix(7, 50, kept, 1), matrix(50, columns, 1, 2), matrix(7, columns, 1, 3)
    wanted = alpha * a.astype(float) @ b + beta * out
    if beta == 0:
        out[:] = np.nan
    primitives_sparse.multiply_sparse(a, b, out, alpha, beta)
    np.testing.assert_allclose(out, wanted, atol=2e-5)


@pytest.mark.parametrize("kept", [0.05, 1.0])
@pytest.mark.parametrize("other", [0.05, 1.0])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (-0.5, 1.0)])
def test_outer_products_of_few_entries(kept, other, alpha, beta):
    a, b, out = matrix(40, 30, kept, 1), matrix(40, 20, other, 2), matrix(30, 20, 1, 3)
    wanted = alpha * a.T.astype(float) @ b + beta * out
    primitives_sparse.multiply_outer_sparse(a, b, out, alpha, beta)
    np.testing.assert_allclose(out, wanted, atol=2e-5)


def test_what_is_not_a_number_is_an_entry():
    a = np.zeros((2, 50), np.float32)
    a[1, 3] = np.nan
    out = np.zeros((2, 4), np.float32)
    primitives_sparse.multiply_sparse(a, np.ones((50, 4), np.float32), out, 1.0, 0.0)
    assert np.isnan(out[1]).all()
    assert not out[0].any()


def test_who_is_multiplied_entry_by_entry():
    """Layers of many states are, as the first of their edge; others are not."""
    text = emit_kernels(planned(SOFTMAX))
    assert 'multiply_sparse(s["x"], p["J"], out, 1.0, beta)' in text
    assert 'multiply_sparse(s["x"], p["W"], out, 1.0, beta)' in text
    assert 'multiply_outer_sparse(s["x"], s["h"], out, scale, beta)' in text
    assert 'multiply_states("field_transposed", s["h"], p["W"], out, 1.0, beta, (0.0, 1.0))' in text
    assert "_sparse" not in emit_kernels(planned(SOFTMAX.replace("x -- x : J\n", "").replace("K = 9", "K = 3")))


def test_the_field_of_one_hot_sites_follows_their_draws(tmp_path, monkeypatch):
    monkeypatch.setenv("PGMDSL_CACHE_DIR", str(tmp_path))
    kernels = loaded(SOFTMAX)
    rng, cases, size = np.random.default_rng(0), 30, 12 * 9
    couplings = rng.normal(size=(size, size)) * (1 - np.kron(np.eye(12), np.ones((9, 9))))
    p = {"J": np.ascontiguousarray(couplings + couplings.T, np.float32), "W": np.zeros((size, 5), np.float32)}
    x = np.eye(9, dtype=np.float32)[rng.integers(9, size=(cases, 12))].reshape(cases, size)
    field, before = np.empty_like(x), x.copy()
    kernels.field["x"](p, {"x": x}, field)
    np.testing.assert_allclose(field, x @ p["J"], atol=1e-4)
    kernels.sample["x"](p, field, np.zeros(size, np.float32), 1.0, stream_key(1), x)
    assert np.any(x != before)
    np.testing.assert_array_equal(x.reshape(cases, 12, 9).sum(axis=2), 1)
    np.testing.assert_allclose(field, x @ p["J"], atol=1e-4)
