"""Where generated files are kept, and what happens where they cannot be."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import traceback

import numpy as np
import pytest
from kernel_models import RBM, loaded, planned

from pgmdsl.compiler.emit import emit_kernels
from pgmdsl.runtime.kernels import one_blas_thread


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
    import numba

    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)


def test_the_file_is_in_a_directory_of_the_users_own(tmp_path, monkeypatch):
    monkeypatch.setenv("PGMDSL_CACHE_DIR", str(tmp_path / "a" / "b"))
    path = loaded(RBM).path
    assert path.parent == tmp_path / "a" / "b" / "kernels"
    assert path.read_text() == emit_kernels(planned(RBM))
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.glob(".new-*")] == []


def test_another_text_gets_another_file(tmp_path, monkeypatch):
    monkeypatch.setenv("PGMDSL_CACHE_DIR", str(tmp_path))
    assert loaded(RBM).path != loaded(RBM, "float64").path


def test_a_file_that_was_changed_is_written_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("PGMDSL_CACHE_DIR", str(tmp_path))
    path = loaded(RBM).path
    path.write_text("raise SystemExit('executed what was put here')")
    assert loaded(RBM).path == path
    assert path.read_text() == emit_kernels(planned(RBM))


def test_a_link_in_place_of_the_file_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setenv("PGMDSL_CACHE_DIR", str(tmp_path))
    path = loaded(RBM).path
    target = tmp_path / "elsewhere.py"
    target.write_text(path.read_text())
    path.unlink()
    path.symlink_to(target)
    assert not loaded(RBM).path.is_symlink()


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_directory_that_others_can_write_is_not_used(tmp_path, monkeypatch, mode):
    monkeypatch.setenv("PGMDSL_CACHE_DIR", str(tmp_path))
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels").chmod(mode)
    kernels = loaded(RBM)
    assert kernels.path is None
    assert list((tmp_path / "kernels").iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners on this platform")
def test_a_directory_of_another_user_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("PGMDSL_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: 12345 + tmp_path.stat().st_uid)
    assert loaded(RBM).path is None


def test_a_link_in_place_of_the_directory_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("PGMDSL_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "kernels").symlink_to(tmp_path / "elsewhere")
    assert loaded(RBM).path is None


def test_without_a_directory_the_text_runs_in_memory(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PGMDSL_CACHE_DIR", str(tmp_path / "file"))
    kernels = loaded(RBM)
    assert kernels.path is None
    out = np.zeros((2, 3), np.float32)
    kernels.field["h"]({"W": np.ones((5, 3), np.float32)}, {"v": np.ones((2, 5), np.float32)}, out)
    assert np.all(out == 5)
    with pytest.raises(KeyError) as caught:
        kernels.field["h"]({}, {"v": out}, out)
    text = "".join(traceback.format_exception(caught.value))
    assert 'multiply_states("field", s["v"], p["W"], out, 1.0, beta, (0.0, 1.0))' in text


def test_kernels_in_memory_compile():
    """With the JIT on, where nothing can be cached; in a process of its own, since the JIT is off in this one."""
    code = (
        "import numpy as np\nfrom kernel_models import RBM, loaded\nk = loaded(RBM)\nassert k.path is None\n"
        "out = np.zeros((1, 3), np.float32)\nk.mean['h']({}, out, np.zeros(3, np.float32), 1.0, out)\n"
        "assert (out == 0.5).all()\n"
    )
    environment = os.environ | {"PGMDSL_CACHE_DIR": os.devnull, "PYTHONPATH": os.path.dirname(__file__)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)


def test_one_blas_thread_and_then_as_many_as_before():
    import scipy.linalg.blas  # noqa: F401
    from threadpoolctl import threadpool_info

    def threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before = threads()
    with one_blas_thread():
        assert threads() == [1] * len(before)
    assert threads() == before
