"""Zero-sum gauge: energies differ by what depends on lengths and given layers alone, and what cannot move is named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import artifact_of, kernels_of, oracle_of, random_data, random_parameters
from compiled import plain_python
from hypothesis import HealthCheck, Phase, given, settings
from oracle import energy, joint_nodes
from random_models import RandomModel
from wide_models import given_states, wide_models

from pgmdsl.compiler.driver import compile_source
from pgmdsl.grammar.source import Source
from pgmdsl.runtime.gauge import zero_sum
from pgmdsl.runtime.kernels import load_kernels
from pgmdsl.runtime.masks import prepared

CATEGORICAL = ("one_hot", "counts")


def gauged(text: str, parameters: Any = None, base: Any = ".") -> tuple[Any, Any, Any, list[str]]:

    artifact = artifact_of(text)
    parameters = parameters or random_parameters(artifact)
    masks, _ = prepared(artifact, Path(base))
    new, left = zero_sum(artifact, kernels_of(artifact), parameters, masks)
    return artifact, parameters, new, left


def change_of_energy(artifact: Any, old: Any, new: Any, state: Any) -> Any:
    return energy(oracle_of(artifact, new), state) - energy(oracle_of(artifact, old), state)


def largest_mean(artifact: Any, parameters: Any) -> dict[str, float]:
    """By parameter, the largest mean over the states of a categorical axis."""
    out = {}
    for edge in artifact.edges:
        w = parameters[edge.weight].reshape([artifact.layers[n].size for n in edge.layers])
        for axis, name in enumerate(edge.layers):
            layer = artifact.layers[name]
            if layer.support in CATEGORICAL:
                sites = np.moveaxis(w, axis, -1).reshape(-1, layer.states)
                out[edge.weight] = max(out.get(edge.weight, 0.0), float(np.abs(sites.mean(-1)).max()))
    for layer in artifact.layers.values():
        if layer.support in CATEGORICAL and layer.bias:
            out[layer.bias] = float(np.abs(parameters[layer.bias].reshape(-1, layer.states).mean(-1)).max())
    return out


@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(wide_models(limit=2000))
def test_energies_of_random_models_differ_by_a_constant(model: RandomModel) -> None:
    """At fixed lengths and given layers; and what is not in gauge afterwards is said."""
    artifact = compile_source(Source("random.ebm", model.text), {}, "float64").artifact
    with plain_python():
        kernels = load_kernels(artifact)
    old = {n: np.reshape(model.oracle.parameters[n], p.shape) for n, p in artifact.parameters.items()}
    new, left = zero_sum(artifact, kernels, old)
    free = tuple(n for n in artifact.layers if artifact.layers[n].role != "given")
    state, _ = joint_nodes(model.oracle, free)
    cases = len(next(iter(state.values())))
    for name, x in given_states(model.oracle, 1).items():
        state[name] = np.repeat(x, cases, axis=0)
    state = {n: state[n] for n in artifact.layers}
    change = change_of_energy(artifact, old, new, state)
    scale = 1 + np.abs(energy(model.oracle, state)).max()
    assert np.ptp(change) < 1e-10 * scale
    for name, mean in largest_mean(artifact, new).items():
        assert mean < 1e-12 or any(line.startswith(f"{name} is not in zero-sum gauge") for line in left), name


POTTS = """
model Potts
visible x : softmax[4, 3] bias b
x -- x : L
"""

DOCUMENTS = """
model Documents
visible w : replicated_softmax[4] bias b
visible y : softmax[3] bias c
hidden  h : spin[2] bias a
w -- h : W
y -- w : U
"""


def test_a_pairwise_model_is_put_in_gauge_wholly() -> None:
    artifact, old, new, left = gauged(POTTS)
    assert not left
    assert max(largest_mean(artifact, new).values()) < 1e-14
    assert max(largest_mean(artifact, old).values()) > 0.1
    flat = new["L"].reshape(12, 12)
    np.testing.assert_array_equal(flat, flat.T)
    assert not flat.reshape(4, 3, 4, 3)[np.arange(4), :, np.arange(4)].any()
    again, _ = zero_sum(artifact, kernels_of(artifact), new)
    for name, value in again.items():
        np.testing.assert_allclose(value, new[name], atol=1e-14)


def test_documents_change_by_a_function_of_their_length() -> None:
    """The shift of a word's weights goes into the bias that the length multiplies."""
    artifact, old, new, left = gauged(DOCUMENTS)
    state = random_data(artifact, 60)
    state["h"] = np.random.default_rng(1).choice([-1.0, 1.0], (60, 2))
    change, length = change_of_energy(artifact, old, new, state), state["w"].sum(axis=1)
    assert len(set(length)) == 4
    for n in set(length):
        assert np.ptp(change[length == n]) < 1e-12
    assert np.ptp(change) > 0.01
    assert not left
    assert max(largest_mean(artifact, new).values()) < 1e-14


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("visible y : softmax[3]\nhidden h : binary[2] bias none\ny -- h : W", "W .* of y: h has no bias"),
        ("visible y : softmax[3]\nhidden h : binary[2] bias a(fixed = 0)\ny -- h : W", "bias of h.* is fixed"),
        ('visible y : softmax[3]\nhidden h : binary[2]\ny -- h : W(fixed = "w.npy")', "W .*: it is fixed"),
        (
            "visible y : softmax[3]\nvisible z : softmax[3]\nhidden h : binary[2]\nhidden k : binary[2] bias none\n"
            "y -- h : W\nz -- k : W",
            "W .* of y and z: k has no bias",
        ),
        (
            "visible y : softmax[3]\nvisible z : binary[3]\nhidden h : binary[2]\ny -- h : W\nz -- h : W",
            "another use of the weight has units of another type",
        ),
        (
            "visible w : replicated_softmax[3]\nhidden h : binary[2] bias a(scale = 1)\nw -- h : W",
            "the bias of h is multiplied by another length than the shift, the length of w",
        ),
        (
            "visible w : replicated_softmax[3]\nvisible y : softmax[2]\nhidden h : binary[2]\nw -- h : W\ny -- h : U",
            "U .* of y: the bias of h is multiplied by another length than the shift, 1",
        ),
        (
            "visible y : softmax[3]\nvisible v : binary[2]\nhidden h : binary[2]\ny * v * h : T",
            "T .* of y: no weight of v and h alone",
        ),
        (
            "visible y : softmax[3]\nhidden h : binary[2] bias a\nhidden k : binary[2] bias a\ny -- h : W\ny -- k : U",
            "W .* of y: a, which would take up the shift, is also the bias of k",
        ),
        (
            "visible y : softmax[2] bias b\nhidden h : binary[2] bias b\ny -- h",
            "b is not in zero-sum gauge: layers of other units",
        ),
    ],
)
def test_what_cannot_be_put_in_gauge_is_said(text: str, words: str) -> None:
    artifact, old, new, left = gauged(f"model Left\n{text}\n")
    assert any(re.search(words, line) for line in left), left
    state = random_data(artifact, 30)
    for name, layer in artifact.layers.items():
        if layer.role == "hidden":
            state[name] = np.random.default_rng(2).choice(layer.values, (30, *layer.dims))
    length = state["w"].sum(axis=1) if "w" in state else np.zeros(30)
    change = change_of_energy(artifact, old, new, state)
    for n in set(length):
        assert np.ptp(change[length == n]) < 1e-12


def test_the_shift_of_three_layers_goes_into_the_weight_of_two() -> None:
    text = "visible y : softmax[3]\nvisible v : binary[2]\nhidden h : binary[2]\ny * v * h : T\nh -- v : W"
    artifact, old, new, left = gauged(f"model Three\n{text}\n")
    assert not left
    np.testing.assert_allclose(new["W"] - old["W"], old["T"].mean(axis=0).T, atol=1e-14)
    state = random_data(artifact, 30)
    state["h"] = np.random.default_rng(2).choice([0.0, 1.0], (30, 2))
    assert np.ptp(change_of_energy(artifact, old, new, state)) < 1e-13


def test_masked_weights_keep_their_mask(tmp_path: Any) -> None:
    text = 'model M\nvisible y : softmax[2, 3]\nhidden h : binary[2]\ny -- h : W(mask = "m.npy")\n'
    whole = np.ones((2, 3, 2))
    whole[0, :, 1] = 0
    np.save(tmp_path / "m.npy", whole)
    parameters = random_parameters(artifact_of(text))
    parameters["W"] *= whole
    artifact, _, new, left = gauged(text, parameters, tmp_path)
    assert not left
    assert not new["W"][whole == 0].any()
    assert largest_mean(artifact, new)["W"] < 1e-14
    whole[1, 0, 0] = 0
    np.save(tmp_path / "m.npy", whole)
    parameters["W"] *= whole
    _, _, new, left = gauged(text, parameters, tmp_path)
    assert "its mask has some of the states of a site only" in left[0]
    np.testing.assert_array_equal(new["W"], parameters["W"])
    _, left = zero_sum(artifact, kernels_of(artifact), parameters)
    assert "its mask was not given" in left[0]
