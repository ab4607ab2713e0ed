"""Training of networks: what a step does, what it leaves alone, and that an interrupted run ends as any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import artifact_of, resume, train
from network_models import AUTOENCODE, CHAIN, CLASSIFY, STACK, grown_from
from test_resume import ctrl_c, interrupt_before

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime import train as training
from pgmdsl.runtime.checkpoint import load_checkpoint
from pgmdsl.runtime.data import Splits
from pgmdsl.runtime.examples import Examples, labelled
from pgmdsl.runtime.parameters import load_networks, load_parameters
from pgmdsl.runtime.rundir import read_info
from pgmdsl.runtime.tensors import read_tensors

torch = pytest.importorskip("torch", reason="networks need PyTorch: pip install 'pgmdsl[torch]'")
from pgmdsl.runtime.finetune import NetworkJob, _Batch, network_job  # noqa: E402

CASES = 20
BOTH = """
train {
  batch = 6
  greedy { epochs = 1 }
  finetune classify(y) { epochs = 3, rate = 0.05 * (1 - progress), decay = 0.001, stop = patience(5, loss) }
  finetune autoencode { epochs = 2, optimiser = cg(2), batch = 8 }
  finetune classify(y) { epochs = 1, optimiser = sgd, momentum = 0.5, freeze = h1 }
}
"""
STEPS = 3 * 3 + 3 * 3 + 2 * 2 + 3  # of 16 training cases: three stages, then the networks


def both(dtype: str = "float64") -> Any:
    return artifact_of(f"{CHAIN}\ndata v {{ bits = resample, valid = 0.2 }}\n{BOTH}", dtype)


def cases() -> dict[str, Any]:
    """Levels whose sum tells the class."""
    v = np.random.default_rng(0).random((CASES, 5))
    return {"v": v, "y": np.digitize(v.sum(axis=1), [2.2, 2.8])}


def job_of(text: str, settings: str, parts: dict[str, Any] | None = None) -> NetworkJob:
    """The job of a model's first phase, which grows a network, with these settings."""
    _, machine, data = grown_from(text.replace("epochs = 1", settings), cases=12)
    return network_job(0, machine, Splits(data, data, None, {}), {}, parts or {}, seed=0)


def interrupt_network(monkeypatch: pytest.MonkeyPatch, number: int, action: Any) -> None:
    """Do something before the step with this number, counted over all phases; once."""
    count = [0]
    interrupt_before(monkeypatch, -1, action)  # of other jobs, whose steps are counted below
    for kind in (training.Session.__init__.__globals__["Job"], NetworkJob):
        step = kind.take_step

        def counted(self: Any, order: Any, step: Any = step) -> None:
            count[0] += 1
            if count[0] == number:
                action()
            step(self, order)

        monkeypatch.setattr(kind, "take_step", counted)


# --- steps ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [CHAIN + CLASSIFY, STACK + AUTOENCODE], ids=["classify", "autoencode"])
def test_gradients_are_those_of_the_loss_and_its_decay(text: str) -> None:
    job = job_of(text, "decay = 0.3")
    batch = _Batch(job, np.arange(7))
    _, gradients = batch.descend(0.3)
    for name, gradient in gradients.items():
        numbers, values = job.numbers[name], []
        place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        for shift in (1e-6, -2e-6):
            numbers[place] += shift
            values.append(batch.descend(0.3)[0])
        numbers[place] += 1e-6
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(gradient[place], rel=1e-5, abs=1e-8), name


def test_case_weights_reach_the_gradient() -> None:
    job = job_of(CHAIN + CLASSIFY, "epochs = 1")
    twice = [0, 0, 1]
    object.__setattr__(job.examples.data, "weights", np.array([2.0, 1.0] + [1e-12] * 10))
    plain = _Batch(job_of(CHAIN + CLASSIFY, "epochs = 1"), np.array(twice)).descend(0.0)[1]
    weighted = _Batch(job, np.array([0, 1])).descend(0.0)[1]
    for name, gradient in plain.items():
        scale = 3 / 2 / job.examples.data.weights.mean()
        np.testing.assert_allclose(weighted[name], scale * gradient, atol=1e-12)


@pytest.mark.parametrize(
    "optimiser", ["adam", "adam(beta1 = 0.5)", "rmsprop", "sgd, rate = 0.1, momentum = 0.9", "cg(3)", "lbfgs(3)"]
)
@pytest.mark.parametrize("text", [CHAIN + CLASSIFY, STACK + AUTOENCODE], ids=["classify", "autoencode"])
def test_every_optimiser_lowers_the_loss(text: str, optimiser: str) -> None:
    rate = "" if "(3)" in optimiser or "rate" in optimiser else ", rate = 0.01"
    job = job_of(text, f"epochs = 20, batch = 6, optimiser = {optimiser}{rate}")
    first = _Batch(job, np.arange(12)).descend(0.0)[0]
    while job.step < job.steps:
        job.take_step(np.arange(12))
    assert job.step == 40
    assert _Batch(job, np.arange(12)).descend(0.0)[0] < 0.97 * first


def test_adam_takes_the_step_of_its_source() -> None:
    """The first step is rate times the sign of the gradient (Kingma and Ba 2015, section 2.1)."""
    job = job_of(CHAIN + CLASSIFY, "rate = 0.01, batch = 12")
    before = {n: x.copy() for n, x in job.numbers.items()}
    _, gradients = _Batch(job, np.arange(12)).descend(0.0)
    job.take_step(np.arange(12))
    for name in job.trained:
        large = np.abs(gradients[name]) > 1e-4
        change = (job.numbers[name] - before[name])[large]
        np.testing.assert_allclose(change, -0.01 * np.sign(gradients[name][large]), rtol=1e-3)


def test_frozen_layers_and_absent_entries_stay() -> None:
    mask = np.ones((5, 4), bool)
    mask[0, 0] = mask[3, 2] = False
    job = job_of(STACK + AUTOENCODE, "freeze = h2, rate = 0.1", {"W1": mask})
    before = {n: x.copy() for n, x in job.numbers.items()}
    job.take_step(np.arange(12))
    changed = {n for n, x in job.numbers.items() if not np.array_equal(x, before[n])}
    assert not {n for n in changed if n.startswith(("weight/h2/", "bias/h2", "weight/down/h2/", "bias/down/h2"))}
    assert {"weight/h1/v", "bias/down/v", "weight/down/v/down/h1"} <= changed
    assert not job.numbers["weight/h1/v"][~mask].any()
    assert not job.numbers["weight/down/v/down/h1"].T[~mask].any()
    assert "sigma_h3" not in changed


# --- labels -----------------------------------------------------------------------------------------------


def test_few_labels_are_of_all_classes_alike() -> None:
    labels = np.array([0] * 30 + [1] * 50 + [2] * 3 + [-1] * 17)
    chosen = labelled(labels, 12, seed=0)
    assert np.bincount(labels[chosen]).tolist() in ([5, 4, 3], [4, 5, 3])
    assert np.bincount(labels[labelled(labels, 6, seed=0)]).tolist() == [2, 2, 2]
    assert len(labelled(labels, 0.5, seed=0)) == 42
    assert len(labelled(labels, None, seed=0)) == 83
    assert not np.array_equal(chosen, labelled(labels, 12, seed=1))
    with pytest.raises(Error, match=r"labels = 90 cases, but 83 of those for training have labels"):
        labelled(labels, 90, seed=0)


def test_only_labelled_cases_are_trained_on(tmp_path: Path) -> None:
    given = cases()
    given["y"] = np.where(np.arange(CASES) % 2, given["y"], np.nan)
    text = CHAIN + "train { finetune classify(y) { epochs = 2, batch = 4 } }"
    run = train(artifact_of(text), {**given, "v": given["v"].round()}, out=tmp_path / "run")
    assert run.metrics[-1]["step"] == 2 * 3  # of 10 cases
    assert np.isfinite(run.metrics[-1]["loss"])


# --- runs -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    train(both(), cases(), out=out, seed=3)
    return out


@pytest.mark.parametrize("number", [9, 10, 11, 14, 18, 19, 20, 22, 23, 25, STEPS])
def test_ctrl_c_and_resume_give_the_uninterrupted_run(
    number: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt_network(patch, number, ctrl_c)
        if number < STEPS:
            with pytest.raises(training.Interrupted, match="pgmc resume"):
                train(both(), cases(), out=out, seed=3)
            assert not read_info(out).finished
            resume(out, both(), cases())
        else:  # the last step was under way: it ends, and with it the run
            train(both(), cases(), out=out, seed=3)
    assert read_info(out).finished
    for name in ("parameters.safetensors", "metrics.jsonl"):
        assert (whole / name).read_bytes() == (out / name).read_bytes(), name
    first, second = (load_checkpoint(d, both())[1] for d in (whole, out))
    assert first.keys() == second.keys()


def test_the_run_keeps_networks_beside_the_parameters(whole: Path) -> None:
    arrays, _ = read_tensors(whole / "parameters.safetensors", "parameters")
    assert {"W1", "classify/weight/h1/mean/h2", "autoencode/bias/down/v"} <= arrays.keys()
    assert load_parameters(whole / "parameters.safetensors", both()).keys() == both().parameters.keys()
    networks = load_networks(whole / "parameters.safetensors")
    assert networks.keys() == {"classify", "autoencode"}
    assert networks["classify"]["weight/y/h3"].shape == (2, 3)


def test_a_later_phase_goes_on_and_leaves_frozen_layers(whole: Path, tmp_path: Path) -> None:
    text = BOTH.rpartition("  finetune classify")[0] + "}"
    before = train(
        artifact_of(f"{CHAIN}\ndata v {{ bits = resample, valid = 0.2 }}\n{text}"), cases(), out=tmp_path / "r", seed=3
    ).networks["classify"]
    after = load_networks(whole / "parameters.safetensors")["classify"]
    np.testing.assert_array_equal(after["weight/h1/v"], before["weight/h1/v"])
    assert np.abs(after["weight/y/h3"] - before["weight/y/h3"]).max() > 1e-6


def test_figures_of_each_epoch_are_kept(whole: Path) -> None:
    from pgmdsl.runtime.metrics import read_metrics

    records = [m for m in read_metrics(whole) if m["phase"].startswith("finetune")]
    assert [m["phase"].split()[1] for m in records] == ["classify"] * 3 + ["autoencode"] * 2 + ["classify"]
    assert {"rate", "loss", "error", "valid_loss", "valid_error"} <= records[0].keys()
    assert {"loss", "squared_error", "valid_loss", "valid_squared_error"} <= records[3].keys()
    assert "rate" not in records[3]
    assert records[2]["loss"] < records[0]["loss"]


def test_stop_keeps_the_best_network(tmp_path: Path) -> None:
    rate = "10 if epoch > 1 else 0.01"
    text = f"{CHAIN}\ndata v {{ bits = mean, valid = 0.2 }}\n"
    text += f"train {{ finetune classify(y) {{ epochs = 30, stop = patience(2, loss), rate = {rate}, batch = 4 }} }}"
    run = train(artifact_of(text), cases(), out=tmp_path / "run")
    losses = [m["valid_loss"] for m in run.metrics]
    assert len(losses) == int(np.argmin(losses)) + 3 < 30
    _, machine, _ = grown_from(CHAIN + CLASSIFY)
    job = network_job(0, machine.with_parameters(run.parameters), run.splits, run.networks, {}, seed=0)
    assert job.watch()["valid_loss"] == pytest.approx(min(losses), rel=1e-5)


def test_diverging_training_says_so(tmp_path: Path) -> None:
    text = CHAIN + "train { finetune classify(y) { epochs = 400, rate = 1e250, optimiser = sgd } }"
    with pytest.raises(Error, match=r"finetune classify: .* is no longer finite after epoch .*Lower the rate"):
        train(artifact_of(text), {**cases(), "v": cases()["v"].round()}, out=tmp_path / "run")


# --- what is refused before hours of training -------------------------------------------------------------


def test_what_would_end_a_late_phase_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = CHAIN + "train { greedy { epochs = 1 }, finetune classify(y) { stop = patience(2) } }"
    given = {**cases(), "v": cases()["v"].round()}
    out = tmp_path / "run"
    with pytest.raises(Error, match=r"stop = patience.* watches validation data, and there is none"):
        train(artifact_of(text), given, out=out)
    text = text.replace("stop = patience(2)", "epochs = 1")
    with pytest.raises(Error, match="no case has a label"):
        train(artifact_of(text), given, valid={**given, "y": np.full(CASES, np.nan)}, out=out)
    holes = given["v"].copy()
    holes[3, 2] = np.nan
    with pytest.raises(Error, match="values are missing, and a network takes complete rows"):
        train(artifact_of(text), {**given, "v": holes}, out=out)
    monkeypatch.setattr("pgmdsl.runtime.examples.find_spec", lambda name: None)
    with pytest.raises(
        Error, match=r"finetune classify needs PyTorch, which is not installed: pip install 'pgmdsl\[torch\]'"
    ):
        train(artifact_of(text), given, out=out)
    assert not out.exists()


def test_means_of_an_earlier_phase_serve_again_until_the_model_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    original = Examples._means_of

    def counted(self: Examples, some: Any) -> Any:
        calls.append(len(some))
        return original(self, some)

    monkeypatch.setattr(Examples, "_means_of", counted)
    phases = "finetune classify(y) { epochs = 1 }\n" * 2
    text = f"{CHAIN}train {{ batch = 4\n{phases} fit {{ epochs = 1 }}\n{phases} }}"
    train(artifact_of(text), {**cases(), "v": cases()["v"].round()}, out=tmp_path / "run")
    assert calls == [CASES, CASES]


def test_means_are_computed_of_the_cases_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgmdsl.runtime.examples.CASES", 3)
    network, machine, data = grown_from(CHAIN + CLASSIFY, cases=7)
    whole = Examples(network, machine, data, 0)
    some = np.array([5, 1])
    for one, other in zip(whole.inputs(some), whole.take(some).inputs(np.arange(2)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)
