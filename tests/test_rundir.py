"""Run directories: never overwritten, written whole or not at all."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import RBM, artifact_of, random_data, resume, train, with_train

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime import session, tensors
from pgmdsl.runtime.checkpoint import load_checkpoint
from pgmdsl.runtime.parameters import load_parameters
from pgmdsl.runtime.rundir import new_run_directory, parse_info, read_info


def fill_disk(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let so many files be written, and half of the next."""
    write, count = tensors._write, [0]

    def limited(stream: Any, content: bytes) -> None:
        count[0] += 1
        if count[0] > after:
            stream.write(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(stream, content)

    monkeypatch.setattr(tensors, "_write", limited)


def test_runs_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    artifact = artifact_of(RBM, name="rbm.ebm")
    made = [new_run_directory(artifact, None) for _ in range(3)]
    assert [str(p) for p in made] == ["runs/rbm", "runs/rbm-2", "runs/rbm-3"]


def test_a_run_directory_that_exists_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    assert new_run_directory(artifact_of(RBM), out) == out  # empty: nothing is lost
    (out / "precious").write_text("mine")
    artifact = with_train(RBM, "fit { epochs = 1 }")
    with pytest.raises(Error, match="never overwrites"):
        train(artifact, random_data(artifact, 5), out=out)
    assert [p.name for p in out.iterdir()] == ["precious"]
    with pytest.raises(Error, match="never overwrites"):
        new_run_directory(artifact, out / "precious")


def test_a_run_holds_what_it_should(tmp_path: Path) -> None:
    artifact = with_train(RBM, "fit { epochs = 2, batch = 4, negative = pcd(1) }")
    run = train(artifact, random_data(artifact, 9), out=tmp_path / "run", seed=11)
    names = {p.name for p in run.directory.iterdir()}
    assert names == {
        "model.ebm",
        "kernels.py",
        "parameters.safetensors",
        "chains.safetensors",
        "state.json",
        "metrics.jsonl",
    }
    assert (run.directory / "model.ebm").read_text() == artifact.source
    info = read_info(run.directory)
    assert (info.seed, info.hash, dict(info.sizes), info.finished) == (11, artifact.hash, {"D": 4, "F": 3}, True)
    loaded = load_parameters(run.directory / "parameters.safetensors", artifact)
    for name, value in run.parameters.items():
        assert np.array_equal(loaded[name], value)
    lines = (run.directory / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == run.metrics


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_full_disk_leaves_the_last_checkpoint(after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = with_train(RBM, "fit { epochs = 4, batch = 4 }")
    data, out = random_data(artifact, 8), tmp_path / "run"
    monkeypatch.setattr(session, "EVERY", 0.0)
    whole = train(artifact, data, out=tmp_path / "whole")
    with monkeypatch.context() as patch:
        fill_disk(patch, 2 + 3 + 3 + after)  # the model's files, the first checkpoint, the first epoch's
        with pytest.raises(Error, match=r"disk is full: \d kB could .* go on with `pgmc resume .*/run`"):
            train(artifact, data, out=out)
    assert not [p.name for p in out.iterdir() if p.name.endswith(".tmp")]
    assert load_checkpoint(out, artifact)[0].epoch == 1
    again = resume(out, artifact, data)
    for name, value in whole.parameters.items():
        assert np.array_equal(again.parameters[name], value)


@pytest.mark.parametrize("after", range(5))
@pytest.mark.parametrize("out", [None, "mine", "new"])
def test_a_full_disk_leaves_no_run_that_has_not_begun(
    after: int, out: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the model's files nor the first checkpoint; what the folder held is left alone."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "runs").mkdir()
    artifact = with_train(RBM, "fit { epochs = 1 }")
    fill_disk(monkeypatch, after)
    with pytest.raises(Error, match=r"disk is full: \d+ kB .* make room, or choose another place with --output"):
        train(artifact, random_data(artifact, 8), out=None if out is None else Path(out))
    assert {p.name for p in tmp_path.rglob("*")} <= {"mine", "runs"}


def test_a_disk_that_fills_up_between_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The metrics of the first epoch find no room."""
    artifact = with_train(RBM, "fit { epochs = 2, batch = 4 }")
    data, out = random_data(artifact, 8), tmp_path / "run"
    with monkeypatch.context() as patch:
        open_path = Path.open

        def full(self: Path, *args: Any, **kwargs: Any) -> Any:
            if self.name == "metrics.jsonl":
                raise OSError(errno.ENOSPC, "No space left on device")
            return open_path(self, *args, **kwargs)

        patch.setattr(Path, "open", full)
        with pytest.raises(Error, match="make room and go on with `pgmc resume"):
            train(artifact, data, out=out)
    assert [m["epoch"] for m in resume(out, artifact, data).metrics] == [1, 2]


@pytest.mark.parametrize(("size", "words"), [(1, "1 kB"), (2600, "3 kB"), (999_000, "999 kB"), (12_400_000, "12 MB")])
def test_what_could_not_be_written_in_words(size: int, words: str) -> None:
    problem = OSError(errno.EDQUOT, "Disk quota exceeded")
    assert f"the disk is full: {words} could" in str(tensors.disk_error(Path("x"), problem, size))


def test_a_place_that_may_not_be_written_to() -> None:
    problem = PermissionError(errno.EACCES, "Permission denied")
    assert "allow it, or choose another place with --output" in str(tensors.disk_error(Path("x"), problem))
    assert "allow it and go on with `pgmc resume x`" in str(tensors.disk_error(Path("x"), problem, resumable=True))


def test_a_full_disk_leaves_an_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    tensors.write_atomic(path, b"old")
    fill_disk(monkeypatch, 0)
    with pytest.raises(Error, match="disk is full"):
        tensors.write_atomic(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_parameters_of_another_shape_or_model_are_refused(tmp_path: Path) -> None:
    artifact = artifact_of(RBM)
    larger = artifact_of(RBM.replace("F = 3", "F = 5"))
    path = tmp_path / "p.safetensors"
    path.write_bytes(tensors.pack_tensors({n: np.zeros(p.shape) for n, p in artifact.parameters.items()}, {}))
    with pytest.raises(Error, match=r"W is float64 of shape \(4, 3\), but Tiny needs float64 of shape\s+\(4, 5\)"):
        load_parameters(path, larger)
    renamed = artifact_of(RBM.replace("v -- h : W", "v -- h : V"))
    with pytest.raises(Error, match="the parameter V of Tiny is not in it"):
        load_parameters(path, renamed)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(Error, match="cut short"):
        load_parameters(path, artifact)
    with pytest.raises(Error, match="no such file"):
        load_parameters(tmp_path / "none.safetensors", artifact)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 1, "freeze": [], "extra": 2}'])
def test_a_damaged_state_is_refused(text: str) -> None:
    with pytest.raises(Error, match="damaged or cut short"):
        parse_info(text, "runs/x/state.json")


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Error, match="no run directory"):
        read_info(tmp_path)
    with pytest.raises(Error, match="no such directory"):
        read_info(tmp_path / "none")
    with pytest.raises(Error, match="has format 99"):
        parse_info('{"format": 99}', "state.json")


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ({"Q": np.zeros(3)}, "no parameter Q"),
        ({"W": np.zeros((4, 2))}, r"W has shape \(4, 2\), but this model needs \(4, 3\)"),
        ({"W": np.full((4, 3), np.nan)}, "not finite"),
    ],
)
def test_parameters_to_start_from_must_fit(init: dict[str, Any], message: str, tmp_path: Path) -> None:
    artifact = with_train(RBM, "fit { epochs = 1 }")
    with pytest.raises(Error, match=message):
        train(artifact, random_data(artifact, 5), init=init, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_file_without_train_block_and_unknown_freeze_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Error, match="does not say how to train"):
        train(artifact_of(RBM), random_data(artifact_of(RBM), 5), out=tmp_path / "run")
    artifact = with_train(RBM, "fit { epochs = 1 }")
    with pytest.raises(Error, match="no parameter w"):
        train(artifact, random_data(artifact, 5), freeze=("w",), out=tmp_path / "run")
