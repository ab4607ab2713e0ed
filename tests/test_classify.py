"""Classes by the model's own posterior, how often classes are wrong, and retrieval: none of it needs PyTorch."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import artifact_of, kernels_of, random_parameters
from network_models import CHAIN, CLASSIFY
from scipy import stats

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.classify import Question, classify, error_rate, label_layer
from pgmdsl.runtime.known import open_any
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.retrieval import draw_retrieval, lsa_codes, retrieval

SHALLOW = """
model Shallow
visible v : gaussian[3](sigma = 0.8) bias b
visible w : spin[2]                  bias bw
visible y : softmax[3]               bias by
hidden  h : binary[4]                bias a
v -- h : W
w -- h : V
y -- h : U
"""


def question(text: str, data: dict[str, Any], **kwargs: Any) -> Question:
    artifact = artifact_of(text)
    machine = Machine(artifact, kernels_of(artifact), random_parameters(artifact, sd=1.0))
    return Question(machine, "y", open_any(artifact, data, Path()), 0, **kwargs)


def shallow_data(cases: int = 6) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {"v": rng.normal(size=(cases, 3)), "w": rng.choice([-1.0, 1.0], (cases, 2))}


def test_the_posterior_is_that_of_the_joint_distribution() -> None:
    """Against sums over all hidden states, written out."""
    data = shallow_data()
    asked = question(SHALLOW, data)
    answer, p = classify(asked), asked.machine.p
    weight = np.zeros((6, 3))
    for h in map(np.array, product((0.0, 1.0), repeat=4)):
        common = p["a"] @ h + (data["v"] / p["sigma_v"]) @ p["W"] @ h + data["w"] @ p["V"] @ h
        for k in range(3):
            weight[:, k] += np.exp(common + p["by"][k] + p["U"][k] @ h)
    np.testing.assert_allclose(answer.probabilities, weight / weight.sum(axis=1, keepdims=True), rtol=1e-10)
    assert answer.how == "exact posterior"


def test_given_labels_are_not_looked_at() -> None:
    data = shallow_data()
    without = classify(question(SHALLOW, data)).probabilities
    with_labels = classify(question(SHALLOW, {**data, "y": np.zeros(6, int)})).probabilities
    np.testing.assert_array_equal(with_labels, without)


def test_a_latent_layer_beside_sums_out_by_mean_field() -> None:
    """Where w is not given its units are joined to the hidden ones, and the sum does not close."""
    data = shallow_data()
    answer = classify(question(SHALLOW, {"v": data["v"]}))
    assert answer.how == "posterior by mean field, 50 sweeps"
    np.testing.assert_allclose(answer.probabilities.sum(axis=1), 1)
    holes = data["w"].copy()
    holes[0, 0] = np.nan
    assert "mean field" in classify(question(SHALLOW, {**data, "w": holes})).how


def test_joined_hidden_layers_are_summed_by_mean_field() -> None:
    answer = classify(question(CHAIN + "h3 -- y : U" + CLASSIFY, {"v": np.eye(5)}), "posterior")
    assert answer.how == "posterior by mean field, 50 sweeps"
    assert answer.probabilities.shape == (5, 3)


def test_what_cannot_be_asked() -> None:
    data = shallow_data()
    with pytest.raises(Error, match=r"the run has no network that predicts y: --by posterior asks the model itself"):
        classify(question(SHALLOW, data), "network")
    with pytest.raises(Error, match="there is no method 'posteriour': did you mean posterior"):
        classify(question(SHALLOW, data), "posteriour")
    with pytest.raises(Error, match="nothing is known of the cases to predict y from"):
        classify(question(SHALLOW, {"y": np.zeros(3, int)}))


def test_the_layer_of_labels() -> None:
    artifact = artifact_of(SHALLOW)
    assert label_layer(artifact, None, None) == label_layer(artifact, "y", None) == "y"
    with pytest.raises(Error, match=r"w is no layer of labels, which is a visible softmax\[K\]: those are y"):
        label_layer(artifact, "w", None)
    two = artifact_of(SHALLOW + "visible z : softmax[2]\nz -- h\n")
    assert label_layer(two, None, "z") == "z"
    with pytest.raises(Error, match="several layers of labels: y, z; name one"):
        label_layer(two, None, None)
    with pytest.raises(Error, match="Plain has no layer of labels"):
        label_layer(artifact_of("model Plain\nvisible v : binary[2]\nv -- v\n"), None, None)


# --- errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wrong", "cases"), [(0, 20), (3, 20), (20, 20), (95, 10_000)])
def test_the_interval_is_exact(wrong: int, cases: int) -> None:
    """At its ends so few, or so many, wrong classes have a probability of 2.5% (Clopper and Pearson 1934)."""
    labels = np.zeros(cases, int)
    found = error_rate(labels, (np.arange(cases) < wrong).astype(int), 2)
    assert found.rate == wrong / cases
    if wrong:
        assert stats.binom.sf(wrong - 1, cases, found.lower) == pytest.approx(0.025)
    else:
        assert found.lower == 0
    if wrong < cases:
        assert stats.binom.cdf(wrong, cases, found.upper) == pytest.approx(0.025)
    else:
        assert found.upper == 1


def test_confusion_counts_cases_with_labels() -> None:
    found = error_rate(np.array([0, 0, 1, 2, -1]), np.array([0, 1, 1, 0, 2]), 3)
    assert found.confusion.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert (found.wrong, found.cases) == (2, 4)


# --- retrieval --------------------------------------------------------------------------------------------


def test_retrieval_counts_the_nearest_of_the_same_class() -> None:
    """Against each query's ranking, written out."""
    rng = np.random.default_rng(0)
    codes, labels = rng.normal(size=(23, 4)), np.arange(23) % 4
    found = retrieval(codes, labels)
    assert found.retrieved == [1, 3, 7, 15, 22]
    unit = codes / np.linalg.norm(codes, axis=1, keepdims=True)
    precision, recall, average = np.zeros(5), np.zeros(5), 0.0
    for i in range(23):
        others = sorted((j for j in range(23) if j != i), key=lambda j: -unit[i] @ unit[j])
        hit = np.array([labels[j] == labels[i] for j in others])
        precision += [hit[:n].mean() for n in found.retrieved]
        recall += [hit[:n].sum() / hit.sum() for n in found.retrieved]
        average += np.mean([hit[: r + 1].mean() for r in np.flatnonzero(hit)])
    np.testing.assert_allclose(found.precision, precision / 23)
    np.testing.assert_allclose(found.recall, recall / 23)
    assert found.average_precision == pytest.approx(average / 23)


def test_perfect_codes_retrieve_their_class_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgmdsl.runtime.retrieval.QUERIES", 2)
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2])
    found = retrieval(np.eye(3)[labels] * np.arange(1, 10)[:, None], labels)
    assert found.average_precision == pytest.approx(1)
    assert found.precision[:2] == pytest.approx([1, 1])
    assert found.recall[-1] == pytest.approx(1)
    assert found.cases == 8  # the last case has no other of its class
    with pytest.raises(Error, match="8 labels for 9 cases"):
        retrieval(np.eye(9), labels[:8])
    with pytest.raises(Error, match="no two cases are of one class"):
        retrieval(np.eye(3), np.arange(3))


def test_lsa_projects_on_the_largest_directions() -> None:
    train, cases = np.random.default_rng(0).poisson(1.0, (40, 12)), np.random.default_rng(1).poisson(1.0, (5, 12))
    codes = lsa_codes(train, cases, 3)
    _, _, v = np.linalg.svd(np.log1p(train))
    np.testing.assert_allclose(np.abs(codes[:, ::-1]), np.abs(np.log1p(cases) @ v[:3].T), atol=1e-9)
    np.testing.assert_array_equal(codes, lsa_codes(train, cases, 3))
    with pytest.raises(Error, match="fewer than 12 numbers, not 12"):
        lsa_codes(train, cases, 12)


def test_the_curve_is_drawn(tmp_path: Path) -> None:
    found = retrieval(np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 4)
    draw_retrieval({"autoencoder": found, "lsa": found}, tmp_path / "curve.png", "Curves")
    assert (tmp_path / "curve.png").stat().st_size > 5000
