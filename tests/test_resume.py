"""A run that was interrupted, at any step, ends bit for bit as one that was not."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import DBM, RBM, artifact_of, random_data, resume, train, with_train

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime import kernels, session
from pgmdsl.runtime import train as training
from pgmdsl.runtime.checkpoint import load_checkpoint
from pgmdsl.runtime.costs import ALWAYS
from pgmdsl.runtime.fit import Job
from pgmdsl.runtime.rundir import read_info

SETTINGS = """
  batch = 4
  decay = 0.01
  momentum = 0.5 if epoch < 1 else 0.8
  greedy { epochs = 2, rate = 0.1 }
  fit {
    epochs = 4
    rate = 0.1 * (1 - progress)
    average = 0.9
    negative = pcd(2, chains = 3)
    stop = patience(9, reconstruction)
  }
"""
FIT = "fit { epochs = 3, batch = 4, negative = cd(1) }"
STEPS = 3 * 2 * 2 + 3 * 4  # of 12 training cases


def deep() -> Artifact:
    return with_train(f"{DBM}\ndata v {{ bits = resample, valid = 0.2 }}", SETTINGS)


def levels() -> dict[str, Any]:
    return {"v": np.random.default_rng(0).random((15, 4))}


def interrupt_before(monkeypatch: pytest.MonkeyPatch, number: int, action: Any) -> None:
    """Do something before the step with this number, counted over all phases; once."""
    step, count = Job.take_step, [0]

    def counted(self: Job, order: Any) -> None:
        count[0] += 1
        if count[0] == number:
            action()
        step(self, order)

    monkeypatch.setattr(Job, "take_step", counted)


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def assert_same_runs(one: Path, other: Path) -> None:
    for name in ("parameters.safetensors", "metrics.jsonl"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    first, second = (load_checkpoint(d, deep())[1] for d in (one, other))
    assert first.keys() == second.keys()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    train(deep(), levels(), out=out, seed=3)
    return out


@pytest.mark.parametrize("number", [1, 2, 6, 7, 8, 12, 13, 14, 18, 23, STEPS])
def test_ctrl_c_and_resume_give_the_uninterrupted_run(
    number: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt_before(patch, number, ctrl_c)
        if number < STEPS:
            with pytest.raises(training.Interrupted, match="pgmc resume"):
                train(deep(), levels(), out=out, seed=3)
            assert not read_info(out).finished
            resume(out, deep(), levels())
        else:  # the last step was under way: it ends, and with it the run
            train(deep(), levels(), out=out, seed=3)
    assert read_info(out).finished
    assert_same_runs(whole, out)


@pytest.mark.parametrize("number", [5, 11, 17, 22])
def test_a_crash_goes_back_to_the_last_checkpoint(
    number: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between checkpoints loses the steps since, and the metrics lines since, and nothing else."""

    class CrashError(Exception):
        pass

    def crash() -> None:
        raise CrashError

    out = tmp_path / "run"
    monkeypatch.setattr(session, "EVERY", 0.0)
    with monkeypatch.context() as patch:
        interrupt_before(patch, number, crash)
        with pytest.raises(CrashError):
            train(deep(), levels(), out=out, seed=3)
    with (out / "metrics.jsonl").open("a") as stream:
        stream.write('{"half a li')
    resume(out, deep(), levels())
    assert_same_runs(whole, out)


def test_twice_interrupted(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    for number, run in (
        (3, lambda: train(deep(), levels(), out=out, seed=3)),
        (12, lambda: resume(out, deep(), levels())),
    ):
        with monkeypatch.context() as patch:
            interrupt_before(patch, number, ctrl_c)
            with pytest.raises(training.Interrupted):
                run()
    resume(out, deep(), levels())
    assert_same_runs(whole, out)


def test_a_finished_run_resumes_to_itself(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    run = resume(out, deep(), levels())
    assert_same_runs(whole, out)
    assert [m["epoch"] for m in run.metrics][-1] == 4


def test_the_signal_handler_is_put_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    artifact = with_train(RBM, "fit { epochs = 1, batch = 4 }")
    train(artifact, random_data(artifact, 8), out=tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is before


def test_data_files_are_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", random_data(artifact_of(RBM), 10)["v"].astype(np.uint8))
    artifact = with_train(f'{RBM}\ndata v {{ file = "x.npy" }}', "fit { epochs = 3, batch = 4 }")
    plain = train(artifact, base=tmp_path, out=tmp_path / "plain")
    with monkeypatch.context() as patch:
        interrupt_before(patch, 4, ctrl_c)
        with pytest.raises(training.Interrupted):
            train(artifact, base=tmp_path, out=tmp_path / "run")
    again = resume(tmp_path / "run", artifact)
    for name, value in plain.parameters.items():
        assert np.array_equal(again.parameters[name], value)


# --- checkpoints that cannot be used ----------------------------------------------------------------------


@pytest.fixture
def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt_before(patch, 14, ctrl_c)
        with pytest.raises(training.Interrupted):
            train(deep(), levels(), out=out, seed=3)
    return out


def test_arrays_must_be_given_again(interrupted: Path) -> None:
    with pytest.raises(Error, match=r"arrays in memory \(data of v\)"):
        resume(interrupted, deep())


def test_other_data_is_refused(interrupted: Path) -> None:
    changed = levels()
    changed["v"][3, 1] += 0.001
    with pytest.raises(Error, match=r"the array given for layer v is not what this run was trained on.*--init"):
        resume(interrupted, deep(), changed)


def test_the_file_that_has_changed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = with_train(
        f'{RBM}\ndata v {{ file = "x.npy", valid = "y.npy" }}\ndata weights {{ file = "w.npy" }}', FIT
    )
    files = {"x.npy": random_data(artifact, 9)["v"], "y.npy": random_data(artifact, 4)["v"], "w.npy": np.ones(9)}
    for name, array in files.items():
        np.save(tmp_path / name, array)
    with monkeypatch.context() as patch:
        interrupt_before(patch, 2, ctrl_c)
        with pytest.raises(training.Interrupted):
            train(artifact, base=tmp_path, out=tmp_path / "run")
    for name, array in files.items():
        np.save(tmp_path / name, 2 * array if name == "w.npy" else 1 - array)
        with pytest.raises(Error, match=rf"run: {name} .* is not what this run was trained on"):
            resume(tmp_path / "run", artifact)
        np.save(tmp_path / name, array)
    assert resume(tmp_path / "run", artifact).metrics


def test_another_model_is_refused(interrupted: Path) -> None:
    other = with_train(DBM, "fit { epochs = 7 }")
    with pytest.raises(Error, match="of another model"):
        resume(interrupted, other, levels())


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_checkpoint_cut_short_is_refused(interrupted: Path, share: float) -> None:
    path = interrupted / "chains.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(Error, match="cut short"):
        resume(interrupted, deep(), levels())


def test_a_foreign_safetensors_file_is_refused(interrupted: Path) -> None:
    (interrupted / "chains.safetensors").write_bytes((interrupted / "parameters.safetensors").read_bytes())
    with pytest.raises(Error, match="no checkpoint of pgmdsl"):
        resume(interrupted, deep(), levels())


def test_a_directory_without_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Error, match="no checkpoint to go on from"):
        resume(tmp_path, deep(), levels())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-1], "is cut short"),
        (lambda content: content[: len(content) // 3], "is cut short"),
        (lambda content: content.replace(b'"step"', b"\0\0\0\0\0\0", 1), "line 1 is damaged"),
        (lambda content: b"\0" * len(content), "line 1 is damaged"),
        (lambda content: content.replace(b"\n", b" ", 1), "line 1 is damaged"),
        (lambda content: b"[]\n" + content, "line 1 is damaged"),
        (lambda content: b"\xff" + content[1:], "line 1 is damaged"),
    ],
)
def test_damaged_metrics_are_refused_before_training(interrupted: Path, damage: Any, message: str) -> None:
    path = interrupted / "metrics.jsonl"
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    checkpoint = (interrupted / "chains.safetensors").read_bytes()
    with pytest.raises(Error, match=rf"metrics\.jsonl: .*{message}.*; put the whole file back, or remove it"):
        resume(interrupted, deep(), levels())
    assert path.read_bytes() == damaged
    assert (interrupted / "chains.safetensors").read_bytes() == checkpoint


def test_without_its_metrics_a_run_goes_on(interrupted: Path, whole: Path) -> None:
    (interrupted / "metrics.jsonl").unlink()
    run = resume(interrupted, deep(), levels())
    lines = (interrupted / "metrics.jsonl").read_text().splitlines()
    assert lines == (whole / "metrics.jsonl").read_text().splitlines()[-len(lines) :]
    assert [json.loads(line) for line in lines] == run.metrics
    assert len(lines) == 4  # the epochs of the phase that was interrupted
    assert (interrupted / "parameters.safetensors").read_bytes() == (whole / "parameters.safetensors").read_bytes()


def test_state_json_tells_the_position(interrupted: Path) -> None:
    info = read_info(interrupted)
    assert (info.phase, info.stage, info.epoch, info.step) == (1, 0, 0, 2)
    assert json.loads((interrupted / "state.json").read_text())["format"] == 1


def test_a_run_keeps_what_decides_between_tables_and_blas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the machine on which it is resumed would decide otherwise."""
    # sums over enough cases to have two orders
    artifact = with_train(RBM, "fit { epochs = 12, batch = 12, negative = cd(1) }")
    data = random_data(artifact, 12)
    with monkeypatch.context() as patch:
        patch.setattr(kernels, "measured_costs", lambda _: ALWAYS)
        train(artifact, data, out=tmp_path / "whole", seed=3)
        interrupt_before(patch, 5, ctrl_c)
        with pytest.raises(training.Interrupted):
            train(artifact, data, out=tmp_path / "run", seed=3)
    train(artifact, data, out=tmp_path / "blas", seed=3)
    assert read_info(tmp_path / "blas").costs == {}
    resume(tmp_path / "run", artifact, data)
    assert read_info(tmp_path / "run").costs == ALWAYS
    text = (tmp_path / "run" / "parameters.safetensors").read_bytes()
    assert text == (tmp_path / "whole" / "parameters.safetensors").read_bytes()
    assert text != (tmp_path / "blas" / "parameters.safetensors").read_bytes()
