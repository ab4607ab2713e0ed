"""Whole runs with units, edges and data of every kind: at the defaults, with missing values, interrupted, greedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import artifact_of, oracle_of, random_data, resume, train, with_train
from compiled import plain_python
from oracle import log_probability
from test_resume import ctrl_c, interrupt_before

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime import train as training
from pgmdsl.runtime.checkpoint import load_checkpoint

GAUSSIAN = """
model Faces
visible v : gaussian[4](sigma = learned) bias b
hidden  h : binary[3] bias a
v -- h : W
"""

EVERYTHING = """
model Everything
given   x : binary[2]
visible v : gaussian[3](sigma = learned) bias b
visible n : replicated_softmax[3] bias c
visible u : binomial[2](trials = 2) bias e
hidden  h : binary[3] bias a
hidden  k : softmax[2] bias f
v -- v : L
x -- h : C
v -- h : W
n -- h : U
u -- k : V
h -- k : J
v * u * k : T(l1 = 0.001)
"""


def mean_log_likelihood(artifact: Any, parameters: Any, data: dict[str, Any], held: Any = None) -> float:
    model, cases = oracle_of(artifact, parameters), len(next(iter(data.values())))
    total = 0.0
    for i in range(cases):
        masks = {n: m[i] for n, m in (held or {}).items() if not m[i].all()}
        total += log_probability(model, {n: x[i : i + 1] for n, x in data.items()}, masks)
    return total / cases


def test_learned_sigma_at_the_defaults_does_not_depend_on_the_scale_of_data(tmp_path: Path) -> None:
    """Data far from 0, in thousands or in thousandths: training is stable at all defaults, and its result the same."""
    rng = np.random.default_rng(0)
    h = rng.integers(0, 2, (300, 2)).astype(float)
    v = 3 + h @ rng.normal(0, 1.5, (2, 4)) + rng.normal(0, [0.3, 0.5, 0.7, 1.0], (300, 4))
    artifact, found = with_train(GAUSSIAN, "fit { epochs = 12, batch = 30 }"), []
    for scale in (1.0, 1e-3, 5e3):
        run = train(artifact, {"v": scale * v}, out=tmp_path / str(scale), seed=2)
        found.append(run.parameters["sigma_v"] / scale)
        assert all(np.isfinite(p).all() for p in run.parameters.values())
    np.testing.assert_allclose(found[0], v.std(axis=0), rtol=0.1)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-6)


def test_learned_sigma_finds_the_noise_that_was_planted(tmp_path: Path) -> None:
    """Two clusters of data in the hundreds, with noise of 20 and 50 about their centres."""
    text = "model Noise\nvisible v : gaussian[2](sigma = learned)\nhidden h : binary[1]\nv -- h : W\n"
    rng = np.random.default_rng(1)
    v = 400 + 200 * rng.integers(0, 2, (300, 1)) + rng.normal(0, [20, 50], (300, 2))
    settings = "updates = 700, batch = 300, rate = 0.2, momentum = 0.9, negative = exact"
    run = train(with_train(text, f"fit {{ {settings} }}"), {"v": v}, out=tmp_path / "run")
    np.testing.assert_allclose(run.parameters["sigma_v"], [20, 50], rtol=0.1)


def test_integer_weights_are_repeated_rows_for_every_kind_of_layer(tmp_path: Path) -> None:
    settings = "updates = 4, batch = 100, rate = 0.02, negative = exact, positive = exact, optimiser = {}"
    text = EVERYTHING.replace("v * u * k : T(l1 = 0.001)\n", "").replace("J\n", "J\n")
    data = random_data(artifact_of(text), 5)
    weights = np.array([1, 3, 0, 2, 1])
    for optimiser in ("sgd", "adam"):
        artifact = with_train(text, f"fit {{ {settings.format(optimiser)} }}")
        weighted = train(artifact, data, weights=weights, out=tmp_path / f"a{optimiser}")
        repeated = {n: np.repeat(x, weights, axis=0) for n, x in data.items()}
        other = train(artifact, repeated, out=tmp_path / f"b{optimiser}")
        for name, value in other.parameters.items():
            np.testing.assert_allclose(weighted.parameters[name], value, rtol=1e-6, atol=1e-8, err_msg=name)


# --- missing values ---------------------------------------------------------------------------------------

PLANTED = """
model Planted
visible v : binary[5] bias b
hidden  h : binary[2] bias a
v -- h : W
"""


def test_training_with_missing_values_beats_dropping_rows(tmp_path: Path) -> None:
    """Data of a planted model with a third of the entries missing: hardly a row is complete."""
    rng = np.random.default_rng(4)
    artifact = artifact_of(PLANTED)
    truth = {"W": rng.normal(0, 2, (5, 2)), "b": rng.normal(0, 0.5, 5), "a": rng.normal(0, 0.5, 2)}
    states = np.array(list(np.ndindex(2, 2, 2, 2, 2)), float)
    p = np.exp([log_probability(oracle_of(artifact, truth), {"v": v[None]}) for v in states])
    whole = states[rng.choice(32, 300, p=p / p.sum())]
    v = np.where(rng.random(whole.shape) < 0.35, np.nan, whole)
    complete = v[~np.isnan(v).any(axis=1)]
    assert 20 < len(complete) < 60
    scores = {}
    for name, rows in (("all", v), ("complete", complete), ("without holes", whole)):
        settings = "updates = 100, batch = 300, rate = 0.6 * (1 - progress), negative = exact, positive = gibbs(2)"
        run = train(with_train(PLANTED, f"fit {{ {settings} }}"), {"v": rows}, out=tmp_path / name)
        model = oracle_of(artifact, run.parameters)
        scores[name] = float(p @ [log_probability(model, {"v": x[None]}) for x in states])
    entropy = float(p @ np.log(p))
    assert scores["all"] > scores["complete"] + 0.02
    assert entropy - scores["all"] < 3 * (entropy - scores["without holes"])


def test_exact_says_once_that_it_draws_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    v = random_data(artifact_of(PLANTED), 12)["v"]
    v[3, 1] = np.nan
    with plain_python():
        training.train(with_train(PLANTED, "fit { epochs = 3, batch = 6 }"), {"v": v}, out=tmp_path / "run")
    said = capsys.readouterr().err
    assert said.count("positive = gibbs(10) in place of exact") == 1
    with plain_python():
        settings = "fit { epochs = 3, batch = 6, positive = mean_field(3) }"
        training.train(with_train(PLANTED, settings), {"v": v}, out=tmp_path / "other")
    assert "in place of exact" not in capsys.readouterr().err


def test_values_that_are_all_there_by_mask_train_as_without_one(tmp_path: Path) -> None:
    artifact = with_train(PLANTED, "fit { epochs = 2, batch = 4, negative = cd(1) }")
    v = random_data(artifact, 12)["v"]
    plain = train(artifact, {"v": v}, out=tmp_path / "a")
    masked = train(artifact, {"v": np.ma.masked_array(v, np.zeros(v.shape, bool))}, out=tmp_path / "b")
    for name, value in plain.parameters.items():
        np.testing.assert_array_equal(masked.parameters[name], value)


# --- every combination runs, and is resumed to the bit ------------------------------------------------------


def holed(data: dict[str, Any]) -> dict[str, Any]:
    """With a few values missing in two layers."""
    data = {n: x.copy() for n, x in data.items()}
    data["v"][1, 2] = data["v"][4] = np.nan
    data["u"][2, 0] = np.nan
    return data


PHASES = [
    "positive = mean_field(3), negative = cd(1), optimiser = adam",
    "positive = gibbs(2), negative = gibbs(2), centering = standardise, momentum = 0.5",
    "positive = gibbs(2), negative = cd(2), optimiser = rmsprop, sparsity = 0.2, clip = 1, max_norm = 2",
    "positive = exact, negative = exact, average = 0.9",
]


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("phase", PHASES)
def test_a_model_of_everything_is_resumed_to_the_bit(
    phase: str, missing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = with_train(EVERYTHING, f"fit {{ epochs = 3, batch = 4, rate = 0.01, {phase} }}")
    data = random_data(artifact, 9, seed=1)
    data = holed(data) if missing else data
    whole = train(artifact, data, out=tmp_path / "whole", seed=3)
    assert all(np.isfinite(p).all() for p in whole.parameters.values())
    with monkeypatch.context() as patch:
        interrupt_before(patch, 5, ctrl_c)
        with pytest.raises(training.Interrupted):
            train(artifact, data, out=tmp_path / "cut", seed=3)
    resume(tmp_path / "cut", artifact, data)
    for name in ("parameters.safetensors", "metrics.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes(), name


def test_tempered_chains_are_resumed_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "model D\nvisible n : replicated_softmax[3] bias b\nhidden h : spin[2] bias a\nn -- h : W\n"
    artifact = with_train(
        text, "fit { epochs = 3, batch = 4, negative = tempering(2, chains = 3, temperatures = 4), sparsity = 0 }"
    )
    data = random_data(artifact, 8)
    whole = train(artifact, data, out=tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupt_before(patch, 4, ctrl_c)
        with pytest.raises(training.Interrupted):
            train(artifact, data, out=tmp_path / "cut")
    resume(tmp_path / "cut", artifact, data)
    assert (tmp_path / "whole/metrics.jsonl").read_bytes() == (tmp_path / "cut/metrics.jsonl").read_bytes()
    for rate in whole.metrics[-1]["exchange"]:
        assert 0 <= rate <= 1
    assert len(whole.metrics[-1]["exchange"]) == 3
    one, other = (load_checkpoint(tmp_path / n, artifact)[1] for n in ("whole", "cut"))
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value, err_msg=name)


# --- greedy -----------------------------------------------------------------------------------------------

BIMODAL = """
model Bimodal
visible image : gaussian[4](sigma = learned) bias b
hidden  i1    : binary[3] bias a1
visible words : replicated_softmax[4] bias c
hidden  t1    : binary[3] bias a2
hidden  joint : binary[2] bias e
image -- i1    : Wi
words -- t1    : Wt
i1    -- joint : Ji
t1    -- joint : Jt
i1    -- i1    : L
"""


def test_pathways_are_pretrained_one_by_one_and_then_jointly(tmp_path: Path) -> None:
    artifact = with_train(
        BIMODAL, "greedy { epochs = 2, batch = 5, rate = 0.05 } \n fit { epochs = 2, batch = 5, negative = cd(1) }"
    )
    run = train(artifact, random_data(artifact, 20), out=tmp_path / "run")
    phases = [m["phase"] for m in run.metrics]
    assert phases == [p for p in ("greedy i1", "greedy t1", "greedy joint", "fit") for _ in range(2)]
    assert all(np.isfinite(p).all() for p in run.parameters.values())
    assert run.metrics[-1]["own"]["sigma_image"][0] > 0


def test_stages_share_what_belongs_to_one_layer_by_averaging(tmp_path: Path) -> None:
    artifact = with_train(BIMODAL, "greedy { epochs = 2, batch = 5, rate = 0.05 }")
    data = random_data(artifact, 20)
    run = train(artifact, data, out=tmp_path / "run")
    _, arrays = load_checkpoint(run.directory, artifact)
    for name in ("L", "a1"):
        copies = [arrays[f"stage/{stage}/{name}"] for stage in ("i1", "joint")]
        assert not np.array_equal(*copies)
        np.testing.assert_allclose(run.parameters[name], np.mean(copies, axis=0), rtol=1e-15)
    length = data["words"].sum(axis=1).mean()  # by which the whole model multiplies a2, and the stage of joint does not
    whole = (arrays["stage/t1/a2"] + arrays["stage/joint/a2"] / length) / 2
    np.testing.assert_allclose(run.parameters["a2"], whole, rtol=1e-12)
    np.testing.assert_array_equal(run.parameters["L"], run.parameters["L"].T)
    np.testing.assert_array_equal(run.parameters["sigma_image"], arrays["stage/i1/sigma_image"])
    assert "stage/joint/sigma_image" not in arrays


# --- what does not normalise ------------------------------------------------------------------------------


def test_training_stops_where_the_model_no_longer_normalises(tmp_path: Path) -> None:
    text = """
model Field
visible v : gaussian[2] bias b
hidden  h : gaussian[2] bias a
v -- h : W(init = normal(0.01))
"""
    x = np.random.default_rng(0).normal(0, 3, (40, 1))
    artifact = with_train(text, "fit { epochs = 300, batch = 20, rate = 0.5, negative = cd(1) }")
    with pytest.raises(Error, match=r"keeps the parameters of epoch 1$"), np.errstate(all="ignore"):
        train(artifact, {"v": np.hstack([x, x])}, out=tmp_path / "run")
    assert (tmp_path / "run" / "chains.safetensors").exists()
    tame = with_train(text, "fit { epochs = 2, batch = 20, rate = 0.001, negative = cd(1) }")
    run = train(tame, {"v": np.hstack([x, x]) / 5}, out=tmp_path / "tame")
    assert 0 < run.metrics[-1]["margin"] <= 1


def test_pseudolikelihood_learns_a_pairwise_model(tmp_path: Path) -> None:
    """The planted couplings come back, and the log pseudo-likelihood is what early stopping takes by default."""
    text = "model Pairs\nvisible v : binary[3] bias b\nv -- v : L\ndata v { valid = 0.2 }\n"
    artifact = artifact_of(text)
    L = np.array([[0, 1.5, -1], [1.5, 0, 0.5], [-1, 0.5, 0]])
    truth = oracle_of(artifact, {"L": L, "b": np.array([0.2, -0.5, 0.3])})
    states = np.array(list(np.ndindex(2, 2, 2)), float)
    p = np.exp([log_probability(truth, {"v": v[None]}) for v in states])
    v = states[np.random.default_rng(1).choice(8, 4000, p=p / p.sum())]
    settings = "updates = 100, batch = 4000, rate = 1, momentum = 0.5, objective = pseudolikelihood"
    run = train(with_train(text, f"fit {{ {settings}, stop = patience(100) }}"), {"v": v}, out=tmp_path / "run")
    assert "valid_pseudolikelihood" in run.metrics[-1]
    np.testing.assert_allclose(run.parameters["L"], L, atol=0.35)
