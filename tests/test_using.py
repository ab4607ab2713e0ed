"""The verbs on trained models of every kind: documents, conditional models, lateral and multiplicative edges."""

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
from pgmdsl.runtime.tensors import read_tensors

DOCUMENTS = """
model Documents
visible words : replicated_softmax[4]  bias b
hidden  h     : binary[2]              bias a
words -- h : W
data words { file = "words.npy" }
train { fit { epochs = 2, batch = 10, rate = 0.05 } }
"""
CONDITIONAL = """
model Conditional
given   c : binary[2]
visible v : binary[3]
visible y : softmax[3]
hidden  h : binary[2]
v -- h : W
v * y * h : T
c -- h : U
data c { file = "c.npy" }
data v { file = "v.npy" }
data y { file = "y.npy" }
train { fit { epochs = 2, batch = 10, rate = 0.05, negative = gibbs(2) } }
"""
PAIRWISE = """
model Pairwise
visible x : softmax[3, 3]
x -- x : J
data x { file = "x.npy" }
train { fit { epochs = 2, batch = 10, rate = 0.05 } }
"""
WORDS = np.array([[2, 1, 0, 0], [0, 0, 1, 3], [1, 1, 1, 0], [0, 2, 1, 3]] * 5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three trained runs, as `pgmc train FILE` leaves them, in a folder with their data."""
    folder = tmp_path_factory.mktemp("using")
    rng = np.random.default_rng(0)
    data = {"words": WORDS, "c": rng.integers(0, 2, (20, 2)), "v": rng.integers(0, 2, (20, 3))}
    data |= {"y": rng.integers(0, 3, 20), "x": rng.integers(0, 3, (20, 3))}
    for name, values in data.items():
        np.save(folder / f"{name}.npy", values)
    with plain_python():
        for text in (DOCUMENTS, CONDITIONAL, PAIRWISE):
            name = text.split()[1].lower()
            (folder / f"{name}.ebm").write_text(text)
            pgmdsl.train(pgmdsl.compile(folder / f"{name}.ebm"), out=folder / name)
    return folder


@pytest.fixture(autouse=True)
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(folder)
    with plain_python():
        yield


Capture = pytest.CaptureFixture[str]


def answer_of(capsys: Capture, *arguments: str) -> Any:
    code, out, err = run_pgmc(capsys, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


# --- training ends with figures and pictures --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("documents", ["of ordered documents", "of count vectors", "perplexity per word"]),
        ("conditional", ["training log-probability "]),
        ("pairwise", ["training log-probability "]),
    ],
)
def test_training_ends_well(
    name: str, figures: list[str], capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgmdsl.pictures.CHAINS", 3)
    out = tmp_path / "run"
    code, text, err = run_pgmc(capsys, "train", f"{name}.ebm", "-o", str(out))
    assert code == 0, err
    assert all(words in text for words in figures)
    assert "curves" in text
    assert (out / "curves.png").exists()
    assert (out / "couplings_J.png").exists() == (name == "pairwise")


def test_figures_that_come_by_themselves_are_of_few_documents(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgmdsl.runtime.evaluation.CHEAP", 0)
    monkeypatch.setattr("pgmdsl.figures.QUICK_CASES", 6)
    monkeypatch.setattr("pgmdsl.figures.QUICK_TEMPERATURES", 7)
    code, text, err = run_pgmc(capsys, "train", "documents.ebm", "-o", str(tmp_path / "run"))
    assert code == 0, err
    assert "7 temperatures" in text
    assert "over 6 cases" in text
    assert "These are of 6 of the 20 training cases, drawn by seed 0." in text
    assert "takes all cases, and more temperatures" in text
    whole = answer_of(capsys, "eval", "documents", "--temperatures", "9", "--chains", "4")
    assert whole["figures"][0]["cases"] == 20
    assert whole["log_partition"]["temperatures"] == 9
    assert whole["subset"] is None


def test_what_has_no_figures_ends_well_too(capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise pgmdsl.Error("Z is infinite")

    monkeypatch.setattr("pgmdsl.run.Run.evaluation", refuse)
    code, text, err = run_pgmc(capsys, "train", "documents.ebm", "-o", str(tmp_path / "run"))
    assert code == 0
    assert "run " in text
    assert "warning: there are no figures: Z is infinite" in err


# --- documents --------------------------------------------------------------------------------------------


def test_the_length_of_samples_is_stated_or_said(capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    common = ("sample", "documents", "-n", "3", "--burn", "4", "-o", str(path))
    code, _, err = run_pgmc(capsys, *common)
    assert code == 0
    assert "documents of words are given the rounded mean length of those trained on, 4 words" in err
    assert (np.load(path)["words"].sum(-1) == 4).all()
    code, _, err = run_pgmc(capsys, *common, "--length", "words=9")
    assert (code, err) == (0, "")
    assert (np.load(path)["words"].sum(-1) == 9).all()
    np.save("lengths.npy", [1, 2, 3])
    assert run_pgmc(capsys, *common, "--length", "words=lengths.npy")[0] == 0
    np.testing.assert_array_equal(np.load(path)["words"].sum(-1)[:, 0], [1, 2, 3])


def test_the_words_that_a_reconstruction_makes_probable(capsys: Capture, tmp_path: Path) -> None:
    Path("vocabulary.txt").write_text("space\nshuttle\ngod\nfaith\n")
    common = (
        "reconstruct",
        "documents",
        "--names",
        "words=vocabulary.txt",
        "--top",
        "2",
        "-o",
        str(tmp_path / "r.npz"),
    )
    code, out, err = run_pgmc(capsys, *common)
    assert code == 0, err
    table = answer_of(capsys, *common)["top"]["words"]
    run = pgmdsl.load("documents")
    p = run.parameters
    hidden = 1 / (1 + np.exp(-(WORDS.sum(1, keepdims=True) * p["a"] + WORDS @ p["W"])))
    words = np.exp(p["b"] + hidden @ p["W"].T)
    shares = words / words.sum(1, keepdims=True)
    names = np.array(["space", "shuttle", "god", "faith"])
    for case, ranked in enumerate(table):
        best = np.argsort(-shares[case])[:2]
        assert [word for word, _ in ranked] == list(names[best])
        np.testing.assert_allclose([share for _, share in ranked], shares[case][best], rtol=1e-5)
    assert out.startswith(f"words 0      {table[0][0][0]} {table[0][0][1]:.3f}, {table[0][1][0]}")
    assert run.reconstruct({"words": WORDS}).top("words", list(names), 1)[3][0][0] == table[3][0][0]


def test_documents_that_lack_counts(capsys: Capture, tmp_path: Path) -> None:
    words = WORDS[:3].astype(float)
    words[0, 1] = words[2] = np.nan
    np.save("lacking.npy", words)
    given = ("--data", "words=lacking.npy", "-o", str(tmp_path / "x.npz"))
    code, _, err = run_pgmc(capsys, "infer", "documents", *given)
    assert code == 2
    assert "row 0 (from 0) lacks counts" in err
    assert "--length words=100" in err
    code, out, _ = run_pgmc(capsys, "infer", "documents", *given, "--length", "words=6")
    assert code == 0
    assert "mean field, 50 sweeps" in out
    np.testing.assert_allclose(np.load(tmp_path / "x.npz")["words"].sum(1), [6, 4, 6], rtol=1e-5)
    answer = answer_of(capsys, "impute", "documents", *given, "--length", "words=6", "--burn", "2", "--sweeps", "2")
    assert answer["filled"]["words"] == {"values": 5, "sites": 12, "cases": 2, "wholly": 1}
    assert answer["nothing_observed"] == 1


# --- given layers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "mend"),
    [
        (("sample", "conditional"), "--clamp c=PATH"),
        (("infer", "conditional", "--data", "v=v.npy"), "--data c=PATH"),
        (("reconstruct", "conditional", "--data", "v=v.npy"), "--data c=PATH"),
        (("impute", "conditional", "--data", "v=v.npy"), "--data c=PATH"),
        (("eval", "conditional", "--data", "v=v.npy"), "--data c=PATH"),
    ],
)
def test_given_layers_have_to_be_given(arguments: tuple[str, ...], mend: str, capsys: Capture) -> None:
    code, out, err = run_pgmc(capsys, *arguments)
    assert code == 2
    assert "no values for the given layer c" in err
    assert mend in err
    assert "Traceback" not in out + err


def test_any_layers_may_be_clamped(capsys: Capture, tmp_path: Path) -> None:
    np.save("one.npy", [[1, 0]])
    v = np.load("v.npy")[:5].astype(float)
    v[:, 1] = np.nan
    np.save("part.npy", v)
    path = tmp_path / "s.npz"
    clamp = ("--clamp", "c=one.npy", "--clamp", "v=part.npy", "--clamp", "y=2")
    code, _, err = run_pgmc(capsys, "sample", "conditional", "-n", "5", "--burn", "3", *clamp, "-o", str(path))
    assert code == 0, err
    drawn = np.load(path)
    np.testing.assert_array_equal(drawn["c"][:, 0], [[1, 0]] * 5)
    np.testing.assert_array_equal(drawn["v"][:, 0, [0, 2]], v[:, [0, 2]])
    assert np.isin(drawn["v"], [0, 1]).all()
    np.testing.assert_array_equal(drawn["y"][:, 0], [[0, 0, 1]] * 5)


def test_log_z_of_each_case(capsys: Capture) -> None:
    answer = answer_of(capsys, "eval", "conditional")
    assert len(answer["log_partition"]["by_case"]) == 20
    assert answer["log_partition"]["different"] == len(np.unique(np.load("c.npy"), axis=0))
    text = run_pgmc(capsys, "eval", "conditional")[1]
    assert "4 values, as it differs between cases; exact" in text
    assert answer_of(capsys, "eval", "conditional", "--cases", "7")["figures"][0]["cases"] == 7


def test_missing_values_are_summed_out_of_scores() -> None:
    run = pgmdsl.load("conditional")
    c, v = np.load("c.npy")[:4], np.load("v.npy")[:4].astype(float)
    y = np.load("y.npy")[:4]
    lacking = v.copy()
    lacking[:, 1] = np.nan
    both = []
    for bit in (0, 1):
        whole = v.copy()
        whole[:, 1] = bit
        both.append(run.score({"c": c, "v": whole, "y": y}))
    np.testing.assert_allclose(run.score({"c": c, "v": lacking, "y": y}), np.logaddexp(*both), atol=1e-5)
    mask = np.ones((4, 3))
    mask[:, 1] = 0
    np.testing.assert_allclose(run.score({"c": c, "v": v, "y": y}, masks={"v": mask}), np.logaddexp(*both), atol=1e-5)


# --- models without hidden layers, and gauges -------------------------------------------------------------


def test_without_other_layers_each_unit_is_given_the_rest(capsys: Capture, tmp_path: Path) -> None:
    code, out, err = run_pgmc(capsys, "reconstruct", "pairwise", "-o", str(tmp_path / "r.npz"))
    assert code == 0, err
    assert "mean squared error" in out
    run = pgmdsl.load("pairwise")
    x = np.eye(3)[np.load("x.npy")]
    field = run.parameters["b_x"] + np.einsum("iakc,nkc->nia", run.parameters["J"], x)
    wanted = np.exp(field) / np.exp(field).sum(-1, keepdims=True)
    np.testing.assert_allclose(np.load(tmp_path / "r.npz")["x"], wanted, rtol=1e-4)
    code, _, err = run_pgmc(capsys, "infer", "pairwise")
    assert code == 2
    assert "every layer of Pairwise is observed" in err


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_parameters_in_zero_sum_gauge(suffix: str, capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / f"p.{suffix}"
    code, out, err = run_pgmc(capsys, "export", "pairwise", "--gauge", "zero_sum", "-o", str(path))
    assert (code, err) == (0, "")
    assert "J (3, 3, 3, 3)" in out
    found = read_tensors(path, "parameters")[0] if suffix == "safetensors" else dict(np.load(path))
    np.testing.assert_allclose(found["J"].sum(-1), 0, atol=1e-5)
    np.testing.assert_allclose(found["b_x"].sum(-1), 0, atol=1e-5)
    run = pgmdsl.load("pairwise")
    x = {"x": np.eye(3)[np.load("x.npy")]}
    before, after = run.model.energy_of(run.parameters, x), run.model.energy_of(found, x)
    np.testing.assert_allclose(after - before, (after - before)[0], atol=1e-4)
    plain = answer_of(capsys, "export", "pairwise", "-o", str(path))
    assert plain["left"] == []
    again = read_tensors(path, "parameters")[0] if suffix == "safetensors" else dict(np.load(path))
    np.testing.assert_array_equal(again["J"], run.parameters["J"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("export", "pairwise", "-o", "p.txt"), "written as .safetensors or .npz"),
        (("export", "nowhere", "-o", "p.npz"), "no run directory"),
        (("sample", "documents", "--length", "words=0"), "given as 0: give a whole number"),
        (("sample", "documents", "--length", "words=many"), "--length words=many: give a whole number"),
        (("sample", "documents", "--length", "h=3"), "h, which is no layer of documents of Documents"),
        (("sample", "conditional", "--clamp", "y=7"), "the states of y are 0 to 2"),
        (("sample", "conditional", "--clamp", "z=7"), "no layer 'z'"),
        (("impute", "pairwise", "--mask", "x=x.npy"), "a mask is given for x, but no values"),
        (("impute", "pairwise", "-o", "no/such/out.npz"), "there is no such folder"),
        (("reconstruct", "documents", "--names", "words=documents.ebm"), "words has 4 states, and"),
        (("reconstruct", "documents", "--names", "words=none.txt"), "one name a line"),
        (("reconstruct", "pairwise", "--names", "x=documents.ebm"), "x is no observed layer with one set of states"),
        (("reconstruct", "conditional", "--names", "v=documents.ebm"), "v is no observed layer with one set of states"),
    ],
)
def test_mistakes_are_sentences(arguments: tuple[str, ...], words: str, capsys: Capture) -> None:
    code, out, err = run_pgmc(capsys, *arguments)
    assert code == 2
    assert words in err
    assert "Traceback" not in out + err
