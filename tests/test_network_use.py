"""Runs with networks from Python and the command line: train, classify, infer, reconstruct, eval, export."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiled import plain_python
from test_cli import run_pgmc

import pgmdsl
from pgmdsl.cli.networks import BY
from pgmdsl.networks import Autoencoder, Classifier
from pgmdsl.runtime.classify import METHODS
from pgmdsl.runtime.tensors import read_tensors

torch = pytest.importorskip("torch", reason="networks need PyTorch: pip install 'pgmdsl[torch]'")

MODEL = """
model Both
visible v  : binary[6]
visible y  : softmax[2]
hidden  h1 : binary[4]
hidden  h2 : binary[3]
v -- h1
h1 -- h2
data v { file = "v.npy", test = 0.25 }
data y { file = "y.npy", test = 0.25 }
train {
  batch = 10
  greedy { epochs = 5 }
  finetune classify(y) { epochs = 60, rate = 0.05 }
  finetune autoencode { epochs = 10, optimiser = lbfgs(3) }
}
"""
WORDS = """
model Words
visible words : replicated_softmax[6]
hidden  h     : binary[3]
words -- h
data words { file = "words.npy", test = 0.3 }
train { fit { epochs = 3, batch = 10 } }
"""
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run, as `pgmc train FILE` leaves it, in a folder with its data: the class is the first pixel."""
    folder = tmp_path_factory.mktemp("networks")
    rng = np.random.default_rng(0)
    v = rng.integers(0, 2, (80, 6))
    data = {"v": v, "y": v[:, 0], "words": rng.poisson(1.5, (60, 6)) + 1, "topics": np.arange(18) % 3}
    for name, values in data.items():
        np.save(folder / f"{name}.npy", values)
    with plain_python():
        for name, text in (("both", MODEL), ("words", WORDS)):
            (folder / f"{name}.ebm").write_text(text)
            pgmdsl.train(pgmdsl.compile(folder / f"{name}.ebm"), out=folder / name)
    return folder


@pytest.fixture(autouse=True)
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(folder)
    with plain_python():
        yield


def answer_of(capsys: Capture, *arguments: str) -> Any:
    code, out, err = run_pgmc(capsys, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def refusal_of(capsys: Capture, *arguments: str) -> str:
    code, _, err = run_pgmc(capsys, *arguments)
    assert code == 2
    return err


# --- from Python ------------------------------------------------------------------------------------------


def test_a_run_has_its_networks() -> None:
    run = pgmdsl.load("both")
    classifier, autoencoder = run.networks.values()
    assert run.network is autoencoder
    assert isinstance(classifier, Classifier)
    assert isinstance(autoencoder, Autoencoder)
    v = np.load("v.npy")
    assert (classifier.predict({"v": v}) == np.load("y.npy")).mean() > 0.95
    np.testing.assert_allclose(classifier.probabilities({"v": v}).sum(axis=1), 1, rtol=1e-6)
    codes = autoencoder.encode({"v": v})
    back = autoencoder.reconstruct({"v": v})["v"]
    assert codes["h2"].shape == (80, 3)
    np.testing.assert_allclose(autoencoder.decode(codes)["v"], back, rtol=1e-6)
    value, error, cases = autoencoder.squared_error({"v": v})
    each = np.square(back - v).sum(axis=1)
    assert (value, error, cases) == pytest.approx((each.mean(), each.std(ddof=1) / np.sqrt(80), 80), rel=1e-5)
    with pytest.raises(pgmdsl.Error, match="codes of h2 are missing"):
        autoencoder.decode({})
    with pytest.raises(pgmdsl.Error, match="the network takes values of v, and none are given"):
        classifier.predict({"h1": np.zeros((2, 4))})


def test_a_run_without_networks_says_how_to_get_one(capsys: Capture) -> None:
    with pytest.raises(pgmdsl.Error, match=r"this run has no network; a phase finetune classify\(y\) or autoencode"):
        _ = pgmdsl.load("words").network
    assert "this run has no autoencoder" in refusal_of(capsys, "infer", "words", "--by", "network")


def test_a_run_goes_into_another_without_its_networks(tmp_path: Path) -> None:
    run = pgmdsl.load("both")
    again = pgmdsl.train(pgmdsl.compile("both.ebm"), init=run, out=tmp_path / "again")
    assert again.networks.keys() == run.networks.keys()


def test_to_torch_takes_data_and_loads_exported_weights(tmp_path: Path, capsys: Capture) -> None:
    classifier = pgmdsl.load("both").networks["classify"]
    module, v = classifier.to_torch(), torch.from_numpy(np.load("v.npy").astype("f4"))
    np.testing.assert_allclose(module(v).detach().numpy(), classifier.probabilities({"v": v.numpy()}), atol=1e-5)
    answer_of(capsys, "export", "both", "--torch", str(tmp_path / "net.safetensors"), "--network", "classify")
    arrays, about = read_tensors(tmp_path / "net.safetensors", "weights")
    assert about["kind"] == "classify"
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    module.load_state_dict({n: torch.from_numpy(a) for n, a in arrays.items()})
    np.testing.assert_allclose(module(v).detach().numpy(), classifier.probabilities({"v": v.numpy()}), atol=1e-5)


@pytest.mark.parametrize(("kind", "outputs"), [("classify", ["y"]), ("autoencode", ["h2", "down_v"])])
def test_onnx_gives_what_the_network_gives(kind: str, outputs: list[str], tmp_path: Path, capsys: Capture) -> None:
    onnxruntime = pytest.importorskip(
        "onnxruntime", reason="the ONNX file is run by onnxruntime: pip install onnxruntime"
    )
    path = tmp_path / "net.onnx"
    answer_of(capsys, "export", "both", "--onnx", str(path), "--network", kind)
    session = onnxruntime.InferenceSession(path)
    assert [x.name for x in session.get_inputs()] == ["v"]
    assert [x.name for x in session.get_outputs()] == outputs
    v = np.load("v.npy").astype("f4")
    found = session.run(None, {"v": v})
    network = pgmdsl.load("both").networks[kind]
    expected = [network.probabilities({"v": v})] if kind == "classify" else []
    if kind == "autoencode":
        expected = [network.encode({"v": v})["h2"], network.reconstruct({"v": v})["v"]]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


# --- the command line -------------------------------------------------------------------------------------


def test_training_ends_with_the_networks_figures(capsys: Capture, tmp_path: Path) -> None:
    code, text, err = run_pgmc(capsys, "train", "both.ebm", "-o", str(tmp_path / "run"), "--no-eval")
    assert code == 0, err
    assert "test error of y: " in text
    assert "wrong, " in text
    assert "of 20 cases  (95% interval " in text
    assert "test squared error of a case " in text
    assert (tmp_path / "run" / "curves.png").exists()
    answer = answer_of(capsys, "train", "both.ebm", "-o", str(tmp_path / "other"), "--no-eval")
    assert answer["networks"]["classify"]["cases"] == answer["networks"]["autoencode"]["cases"] == 20


def test_classify_prints_and_writes(capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    code, text, err = run_pgmc(capsys, "classify", "both", "-o", str(path))
    assert code == 0, err
    assert "Rows are the classes, columns what they are taken for:" in text
    held = np.load(path)
    assert held["classes"].shape == held["labels"].shape == (20,)
    np.testing.assert_array_equal(held["probabilities"].argmax(axis=1), held["classes"])
    everything = answer_of(capsys, "classify", "both", "--data", "v=v.npy", "--labels", "y=y.npy", "-o", str(path))
    assert everything["labelled"] == 80
    assert everything["method"] == "network"
    assert sum(map(sum, everything["confusion"])) == 80
    assert everything["interval"][0] <= everything["error"] <= everything["interval"][1]
    unknown = answer_of(capsys, "classify", "both", "--data", "v=v.npy", "-o", str(path))
    assert "error" not in unknown
    assert "labels" not in np.load(path)
    model = answer_of(capsys, "classify", "both", "--by", "posterior", "-o", str(path))
    assert model["method"] == "posterior by mean field, 50 sweeps"


def test_every_method_can_be_asked_for() -> None:
    assert tuple(METHODS) == BY


def test_classify_says_what_is_wrong(capsys: Capture) -> None:
    assert "Words has no layer of labels" in refusal_of(capsys, "classify", "words")
    assert "leave one out" in refusal_of(capsys, "classify", "both", "--labels", "y.npy")


def test_labels_and_cases_are_of_one_number(capsys: Capture, tmp_path: Path) -> None:
    np.save(tmp_path / "short.npy", np.zeros(60, int))
    said = refusal_of(capsys, "classify", "both", "--data", "v=v.npy", "--labels", str(tmp_path / "short.npy"))
    assert "60 labels of y are given for 80 cases: give one a case" in said


def test_infer_and_reconstruct_use_the_autoencoder(capsys: Capture, tmp_path: Path) -> None:
    codes = tmp_path / "codes.npy"
    answer = answer_of(capsys, "infer", "both", "--data", "v=v.npy", "-o", str(codes))
    assert answer["how"] == "autoencoder"
    network = pgmdsl.load("both").network
    np.testing.assert_array_equal(np.load(codes), network.encode({"v": "v.npy"})["h2"])
    back = tmp_path / "back.npz"
    assert answer_of(capsys, "reconstruct", "both", "-o", str(back))["shapes"] == {"v": [20, 6]}
    np.testing.assert_array_equal(np.load(back)["v"], network.reconstruct()["v"])
    means = answer_of(capsys, "infer", "both", "--by", "model", "-o", str(tmp_path / "m.npz"))
    assert means["how"] == "mean field, 50 sweeps"
    assert "mean_squared_error" in answer_of(capsys, "reconstruct", "both", "--by", "model", "-o", str(back))


def test_retrieval_by_codes(capsys: Capture) -> None:
    answer = answer_of(capsys, "eval", "both", "--retrieval", "y")
    assert answer["autoencoder"]["retrieved"] == [1, 3, 7, 15, 19]
    assert answer["autoencoder"]["size"] == 3
    assert json.loads(Path("both/retrieval.json").read_text())["autoencoder"] == answer["autoencoder"]
    assert Path("both/retrieval.png").exists()
    code, text, err = run_pgmc(capsys, "eval", "words", "--retrieval", "topics.npy", "--baseline", "lsa")
    assert code == 0, err
    assert "h: mean average precision" in text
    assert "lsa: mean average precision" in text
    assert "there is no layer of documents" in refusal_of(
        capsys, "eval", "both", "--retrieval", "y", "--baseline", "lsa"
    )
    assert "18 labels for 20 cases" in refusal_of(capsys, "eval", "both", "--retrieval", "topics.npy")


def test_export_says_what_is_wrong(capsys: Capture, tmp_path: Path) -> None:
    assert "say what is to be written" in refusal_of(capsys, "export", "both")
    assert "this is written as .onnx" in refusal_of(capsys, "export", "both", "--onnx", str(tmp_path / "a.pt"))
    assert "this is written as .safetensors" in refusal_of(capsys, "export", "both", "--torch", str(tmp_path / "a.pt2"))
    assert "this run has no network" in refusal_of(capsys, "export", "words", "--onnx", str(tmp_path / "a.onnx"))
