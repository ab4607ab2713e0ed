"""The Python API on lateral edges, documents, given layers and missing values, against formulas written here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import random_parameters
from compiled import plain_python
from numpy.typing import NDArray

import pgmdsl

Array = NDArray[np.float64]
SOURCE = """
model Wide
given   c : gaussian[2]
visible v : binary[4]              bias b
visible w : replicated_softmax[3]  bias e
hidden  h : binary[2]              bias a
v -- v : L
v -- h : W
w -- h : U
c -- v : C
c * v * h : T
"""
LENGTH = np.array([4.0, 2, 7, 1, 3])


@pytest.fixture(scope="module")
def model() -> pgmdsl.Model:
    with plain_python():
        compiled = pgmdsl.compile_text(SOURCE, dtype="float64")
        compiled.init()  # loads the kernels
        return compiled


@pytest.fixture(scope="module")
def p(model: pgmdsl.Model) -> dict[str, Array]:
    return random_parameters(model.artifact, seed=2)


@pytest.fixture(scope="module")
def state() -> dict[str, Array]:
    rng = np.random.default_rng(1)
    return {
        "c": rng.normal(size=(5, 2)),
        "v": rng.integers(0, 2, (5, 4)).astype(float),
        "w": np.array([rng.multinomial(int(n), [0.5, 0.3, 0.2]) for n in LENGTH], float),
        "h": rng.integers(0, 2, (5, 2)).astype(float),
    }


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def field_of_v(p: dict[str, Array], s: dict[str, Array]) -> Array:
    three = np.einsum("ca,aij,cj->ci", s["c"], p["T"], s["h"])
    return np.asarray(p["b"] + s["v"] @ p["L"] + s["h"] @ p["W"].T + s["c"] @ p["C"] + three)


def test_the_energy(model: pgmdsl.Model, p: dict[str, Array], state: dict[str, Array]) -> None:
    s = state
    energy = -0.5 * np.einsum("ci,ik,ck->c", s["v"], p["L"], s["v"]) - np.einsum("ci,ij,cj->c", s["v"], p["W"], s["h"])
    energy -= np.einsum("ck,kj,cj->c", s["w"], p["U"], s["h"]) + np.einsum("ca,ai,ci->c", s["c"], p["C"], s["v"])
    energy -= np.einsum("ca,ci,cj,aij->c", s["c"], s["v"], s["h"], p["T"])
    energy -= s["v"] @ p["b"] + s["w"] @ p["e"] + LENGTH * (s["h"] @ p["a"])
    np.testing.assert_allclose(model.energy_of(p, s), energy, atol=1e-12)
    np.testing.assert_allclose(model.log_joint(p, s), -energy, atol=1e-12)


def test_a_mean_is_given_all_other_units(model: pgmdsl.Model, p: dict[str, Array], state: dict[str, Array]) -> None:
    np.testing.assert_allclose(model.mean("v", p, state), sigmoid(field_of_v(p, state)), atol=1e-12)
    words = np.exp(p["e"] + state["h"] @ p["U"].T)
    shares = words / words.sum(1, keepdims=True)
    np.testing.assert_allclose(model.mean("w", p, state), LENGTH[:, None] * shares, atol=1e-12)
    rest = {n: x for n, x in state.items() if n != "w"}
    np.testing.assert_allclose(model.mean("w", p, rest, lengths={"w": 10}), 10 * shares, atol=1e-12)


def test_a_sample_is_one_sequential_sweep(model: pgmdsl.Model, p: dict[str, Array], state: dict[str, Array]) -> None:
    """From the exact distribution of v given all else, one sweep leaves it as it is."""
    chains = 4000
    grid = np.array(list(np.ndindex(2, 2, 2, 2)), float)
    one = {n: np.repeat(x[:1], len(grid), axis=0) for n, x in state.items()}
    weight = np.exp(model.log_joint(p, one | {"v": grid}))
    share = weight / weight.sum()
    rng = np.random.default_rng(0)
    start = {n: np.repeat(x[:1], chains, axis=0) for n, x in state.items()}
    start["v"] = grid[rng.choice(len(grid), chains, p=share)]
    drawn = model.sample("v", p, start, seed=3)
    found = np.bincount((drawn @ [8, 4, 2, 1]).astype(int), minlength=16) / chains
    assert (np.abs(found - share) < 4.5 * np.sqrt(share / chains)).all()
    words = model.sample("w", p, {n: x for n, x in start.items() if n != "w"}, seed=1, lengths={"w": 6})
    np.testing.assert_array_equal(words.sum(1), 6)


def test_the_gradient_is_the_energys(model: pgmdsl.Model, p: dict[str, Array], state: dict[str, Array]) -> None:
    other = {n: x[::-1].copy() for n, x in state.items()} | {"c": state["c"]}
    found = model.gradient(p, state, other)
    for name, at in (("a", (1,)), ("b", (2,)), ("T", (0, 1, 1)), ("L", (0, 2))):
        both = [at, at[::-1]] if name == "L" else [at]
        ends = []
        for step in (1e-5, -1e-5):
            q = {n: x.copy() for n, x in p.items()}
            for place in both:
                q[name][place] += step
            ends.append(-model.energy_of(q, state).mean() + model.energy_of(q, other).mean())
        assert found[name][at] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-7), name


def test_missing_values_are_filled_in(model: pgmdsl.Model, p: dict[str, Array], state: dict[str, Array]) -> None:
    v, w = state["v"].copy(), state["w"].copy()
    v[0, 1] = v[3] = w[2, :2] = np.nan
    s = {"c": state["c"], "v": v, "w": w}
    lengths = {"w": LENGTH}
    drawn = model.gibbs(p, s, steps=3, seed=1, clamp=("v", "w"), lengths=lengths)
    for name, x in (("v", v), ("w", w)):
        np.testing.assert_array_equal(drawn[name][~np.isnan(x)], x[~np.isnan(x)])
    np.testing.assert_array_equal(drawn["w"].sum(1), LENGTH)
    assert np.isin(drawn["v"], [0, 1]).all()
    means = model.mean_field(p, s, iterations=300, lengths=lengths)
    assert set(means) == {"v", "w", "h"}
    np.testing.assert_array_equal(means["v"][~np.isnan(v)], v[~np.isnan(v)])
    np.testing.assert_allclose(means["w"].sum(1), LENGTH)
    fixed = sigmoid(field_of_v(p, {**s, **means}))
    np.testing.assert_allclose(means["v"][np.isnan(v)], fixed[np.isnan(v)], atol=1e-9)
    free = model.gibbs(p, s, steps=1, seed=1, lengths=lengths)  # nothing is clamped but the given layer
    np.testing.assert_array_equal(free["c"], state["c"])
    assert (free["v"] != drawn["v"]).any()


def test_log_z_of_each_case(model: pgmdsl.Model, p: dict[str, Array], state: dict[str, Array]) -> None:
    v = np.array(list(np.ndindex(2, 2, 2, 2)), float)
    h = np.array(list(np.ndindex(2, 2)), float)
    z = pgmdsl.log_partition(model, p, given={"c": state["c"]}, lengths={"w": [2, 2, 2, 2, 2]})
    words = [np.eye(3)[i] + np.eye(3)[k] for i in range(3) for k in range(3)]  # ordered documents
    total = [
        np.logaddexp.reduce(
            model.log_joint(
                p,
                {
                    "c": np.repeat(state["c"][case : case + 1], len(v) * len(h) * 9, axis=0),
                    "v": np.repeat(v, len(h) * 9, axis=0),
                    "h": np.tile(np.repeat(h, 9, axis=0), (len(v), 1)),
                    "w": np.tile(np.array(words), (len(v) * len(h), 1)),
                },
            )
        )
        for case in range(2)
    ]
    np.testing.assert_allclose(z.of_cases(5)[:2], total, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m, p, s: m.mean("c", p, s), ["c is given", "conditional on it"]),
        (lambda m, p, s: m.mean("v", p, {n: s[n] for n in "cwh"}), ["v has lateral edges", "state of v too"]),
        (lambda m, p, s: m.mean("w", p, {n: s[n] for n in "cvh"}), ["length of the documents of w", '{"w": 100}']),
        (lambda m, p, s: m.gibbs(p, {"v": s["v"]}), ["given layer c", "'c': array"]),
        (lambda m, p, s: m.gibbs(p, {"v": s["v"], "c": s["c"]}), ["length of the documents of w"]),
        (lambda m, p, s: m.gibbs(p, s, lengths={"words": 3}), ["no layer 'words'"]),
        (lambda m, p, s: m.gibbs(p, {"c": s["c"]}, lengths={"w": 0.5}), ["given as 0.5", "whole number"]),
        (lambda m, p, s: m.mean_field(p, {"c": s["c"] * np.nan, "v": s["v"]}, lengths={"w": 1}), ["given layer c"]),
        (lambda m, p, s: m.free_energy(p, {"c": s["c"], "h": s["h"]}, lengths={"w": 1}), ["units of v share edges"]),
        (lambda m, p, s: m.free_energy(p, {n: s[n] for n in "cw"}), ["does not close", "give the state of"]),
        (lambda m, p, s: pgmdsl.log_partition(m, p, lengths={"w": 2}), ["given layer c"]),
        (lambda m, p, s: pgmdsl.log_partition(m, p, given={"c": s["c"]}), ["length of the documents of w"]),
    ],
)
def test_mistakes_are_sentences(
    model: pgmdsl.Model, p: dict[str, Array], state: dict[str, Array], call: Any, words: list[str]
) -> None:
    with pytest.raises(pgmdsl.Error) as raised:
        call(model, p, state)
    for word in words:
        assert word in str(raised.value)


def test_own_parameters_start_as_the_data_say(tmp_path: Path) -> None:
    text = "model M\nvisible v : gaussian[3](sigma = learned)\nhidden h : binary[2]\nv -- h : W\n"
    with plain_python():
        model = pgmdsl.compile_text(text, dtype="float64")
        v = np.random.default_rng(0).normal([1, 5, -2], [0.5, 2, 7], (500, 3))
        v[7, 1] = np.nan
        params = model.init(data={"v": v})
    np.testing.assert_allclose(params["sigma_v"], np.nanstd(v, axis=0), rtol=1e-9)
    np.testing.assert_allclose(params["b_v"], np.nanmean(v, axis=0), atol=0.2)
