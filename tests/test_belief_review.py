"""Models with directed edges where labels, missing values and lateral edges meet them, against enumeration."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_expit, logsumexp, softmax
from test_belief import DBN, RATES, all_states, compiled, learner_of, net_of, random_parameters, same_as

import pgmdsl
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.classify import Question, classify
from pgmdsl.runtime.data import Data
from pgmdsl.runtime.estimators.evidence import gather
from pgmdsl.runtime.estimators.recognition import exact_sums, log_weights
from pgmdsl.runtime.known import known_of, open_any
from pgmdsl.runtime.sampling import infer

Array = NDArray[Any]

LABELLED = """
model Labelled
visible v : binary[3]
visible y : softmax[3]
hidden  h : binary[2]
"""
LABEL_EDGES = {"parent": "y -> v\nh -> v", "child": "h -> v\nh -> y", "top": "h -> v\ny -> h\nv ~> h"}


def cases(model: Any, values: dict[str, Array]) -> Data:
    return open_any(model.artifact, values, Path())


@pytest.mark.parametrize("edges", LABEL_EDGES)
def test_a_label_with_directed_edges_is_classified_by_the_joint(edges: str) -> None:
    model = compiled(LABELLED + LABEL_EDGES[edges])
    parameters, states = random_parameters(model), all_states(model)
    every = model.log_joint(parameters, states)
    v = np.array(list(itertools.product((0.0, 1.0), repeat=3)))
    wanted = softmax([[logsumexp(every[same_as(states, {"v": x, "y": y})]) for y in np.eye(3)] for x in v], axis=1)
    question = Question(net_of(model, parameters), "y", cases(model, {"v": v}), 0)
    answer = classify(question)
    assert answer.how == "exact posterior"
    assert np.allclose(answer.probabilities, wanted, atol=1e-12)
    for by in ("neutral", "passes"):
        with pytest.raises(Error, match="write --by posterior"):
            classify(question, by)


@pytest.mark.parametrize("edges", ["m -> v\nh -> m", "m -> v\nm -- h"])
@pytest.mark.parametrize("missing", [(0,), (0, 1)])
def test_missing_values_of_a_parent_are_summed_over(edges: str, missing: tuple[int, ...]) -> None:
    model = compiled(f"model Middle\nvisible v : binary[3]\nvisible m : binary[2]\nhidden h : binary[2]\n{edges}")
    parameters, states = random_parameters(model, scale=2.0), all_states(model)
    v, m, mask = np.array([[1.0, 0.0, 1.0]]), np.array([[1.0, 0.0]]), np.ones((1, 2), bool)
    mask[0, list(missing)] = False
    net, every = net_of(model, parameters), model.log_joint(parameters, states)
    same = same_as(states, {"v": v[0]}) & (states["m"][:, mask[0]] == m[:, mask[0]]).all(axis=1)
    evidence = gather(net, {"v": v, "m": m}, {"m": mask})
    assert np.allclose(exact_sums(evidence), logsumexp(every[same]), atol=1e-10)
    with pytest.raises(Error, match="give all values of m"):
        log_weights(evidence)


def test_parents_with_a_lateral_edge_are_recognised_without_it() -> None:
    model = compiled("model L\nvisible v : binary[3] bias b\nhidden z : spin[2] bias a\nz -> v : W\nz -- z : J")
    parameters, states = random_parameters(model), all_states(model)
    parameters["J"] = np.array([[0.0, 0.7], [0.7, 0.0]])
    net, v = net_of(model, parameters), states["v"][::5]
    s = {"v": v, "z": np.zeros((len(v), 2))}
    net.pass_up(s, None, ())
    assert np.allclose(s["z"], np.tanh(v @ parameters["W"] + parameters["a"]), atol=1e-12)
    net.pass_up(s, 1, ())
    wanted = log_expit(2 * s["z"] * (v @ parameters["W"] + parameters["a"])).sum(axis=1)
    assert np.allclose(net.log_recognition(s), wanted, atol=1e-12)


RECTIFIED = """
unit drelu {
  param     gp > 0, gm > 0, tp, tm
  support   x in real
  energy    gp*x^2/2 + tp*x if x > 0 else gm*x^2/2 + tm*x
  statistic x
}
model Rectified
visible v : binary[3]
hidden  h : drelu[2]
h -> v
train { fit { updates = 3, batch = 20, positive = gibbs(2) } }
"""


def test_units_of_hidden_parents_learn_their_own_parameters(tmp_path: Path) -> None:
    model = compiled(RECTIFIED)
    data = {"v": (np.random.default_rng(0).random((20, 3)) < 0.4).astype(np.uint8)}
    before, after = model.init(data=data), pgmdsl.train(model, data, out=tmp_path / "run").parameters
    for name in ("gp_h", "gm_h", "tp_h", "tm_h"):
        assert not np.array_equal(before[name], after[name]), name


@pytest.mark.parametrize("negative", ["cd(1)", "pcd(1)"])
def test_dreams_that_belong_to_cases_have_their_weights(negative: str) -> None:
    """A weight of 0 takes a case, and what is dreamt from it, out of the step."""
    model = compiled(DBN.replace("cd(1)", negative))
    parameters, states = random_parameters(model), all_states(model)
    steps = []
    for step in (1, 5):
        rows = np.concatenate([np.arange(20), 20 + step * np.arange(40)])
        learner = learner_of(model, {n: x.copy() for n, x in parameters.items()}, ("v", "y"))
        for layer in learner.states:
            learner.states[layer][:60] = states[layer][rows].reshape(60, -1)
        for part in learner.parts.values():
            part.start({n: np.full(learner.states[n].shape[1], 0.5) for n in part.observed}, ())
        learner.step(60, np.repeat([1.0, 0.0], [20, 40]), 1.0, RATES, (0, False), (0,))
        steps.append({n: learner.machine.parameters[n] - x for n, x in parameters.items()})
    assert np.abs(steps[0]["R1"]).max() > 1e-3
    assert all(np.allclose(steps[0][n], steps[1][n], atol=1e-12) for n in parameters)


def test_without_data_below_hidden_layers_follow_from_those_above() -> None:
    """Given the label alone the means are those of the core, and of a pass down: q is not asked."""
    edges = "h1 -> v : W\nh1 -- y : U\nv ~> h1 : R"
    model = compiled(
        f"model Down\nvisible v : binary[3]\nvisible y : softmax[3]\nhidden h1 : binary[2] bias a\n{edges}"
    )
    parameters = random_parameters(model, scale=2.0)
    net, y = net_of(model, parameters), np.eye(3)
    found = infer(known_of(net, cases(model, {"y": y})))
    wanted = 1 / (1 + np.exp(-(parameters["a"] + y @ parameters["U"].T)))
    assert np.allclose(found["h1"], wanted, atol=1e-12)
    down = 1 / (1 + np.exp(-(parameters["b_v"] + wanted @ parameters["W"].T)))
    assert np.allclose(found["v"], down, atol=1e-12)
