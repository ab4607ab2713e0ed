"""The Python API on a small deep machine: names, shapes, errors, and the numbers against formulas written here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pgmdsl

SOURCE = """
model DBM(D = 5, F1 = 4, F2 = 3)
visible v  : binary[D]   bias b
hidden  h1 : binary[F1]  bias a1
hidden  h2 : binary[F2]  bias a2
v  -- h1 : W1
h1 -- h2 : W2
check "eq": p(h2[k] = 1 | h1) == sigmoid(a2[k] + sum(W2[j,k]*h1[j] for j))
train {
  greedy { epochs = 3, rate = 0.1 }
  fit { epochs = 5, rate = 0.05, negative = pcd(1, chains = 20) }
}
"""


@pytest.fixture(scope="module")
def model() -> pgmdsl.Model:
    return pgmdsl.compile_text(SOURCE, dtype="float64")


@pytest.fixture(scope="module")
def params(model: pgmdsl.Model) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=value.shape) for name, value in model.init(0).items()}


@pytest.fixture(scope="module")
def state() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {n: (rng.random((6, k)) < 0.5).astype(float) for n, k in (("v", 5), ("h1", 4), ("h2", 3))}


@pytest.fixture(scope="module")
def cases() -> np.ndarray:
    return (np.random.default_rng(2).random((60, 5)) < [0.9, 0.8, 0.5, 0.2, 0.1]).astype(np.uint8)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_formulas(model: pgmdsl.Model) -> None:
    conditional = model.conditionals["h1"]
    assert (conditional.family, conditional.indices, set(conditional.given)) == ("binary", ("j",), {"v", "h2"})
    assert "σ(a₁[j] + Σᵢ W₁[i,j] v[i] + Σₖ W₂[j,k] h₂[k])" in str(conditional)
    assert conditional.formula.ebm == "sigmoid(a1[j] + sum(W1[i,j]*v[i] for i) + sum(W2[j,k]*h2[k] for k))"
    assert {str(s) for s in model.energy.sympy.free_symbols} >= {"v", "h1", "h2", "W1", "W2", "b", "a1", "a2"}
    assert model.energy._repr_latex_().startswith("$")
    assert model._repr_svg_().lstrip().startswith("<")
    assert [v.status for v in model.checks()] == ["proved"]


def test_initial_parameters_have_the_declared_shapes(model: pgmdsl.Model) -> None:
    shapes = {name: value.shape for name, value in model.init(seed=0).items()}
    assert shapes == {"W1": (5, 4), "W2": (4, 3), "b": (5,), "a1": (4,), "a2": (3,)}


def test_numbers(model: pgmdsl.Model, params: dict[str, np.ndarray], state: dict[str, np.ndarray]) -> None:
    v, h1, h2 = state["v"], state["h1"], state["h2"]
    p = params
    energy = -np.einsum("ci,ij,cj->c", v, p["W1"], h1) - np.einsum("cj,jk,ck->c", h1, p["W2"], h2)
    energy -= v @ p["b"] + h1 @ p["a1"] + h2 @ p["a2"]
    np.testing.assert_allclose(model.energy_of(p, state), energy, atol=1e-12)
    np.testing.assert_allclose(model.log_joint(p, state), -energy, atol=1e-12)
    mean = sigmoid(p["a1"] + v @ p["W1"] + h2 @ p["W2"].T)
    np.testing.assert_allclose(model.mean("h1", p, state), mean, atol=1e-12)
    closed = model.free_energy(p, {"v": v, "h2": h2})
    field = p["a1"] + v @ p["W1"] + h2 @ p["W2"].T
    np.testing.assert_allclose(closed, -v @ p["b"] - h2 @ p["a2"] - np.logaddexp(0, field).sum(1), atol=1e-12)
    gradient = model.gradient(p, state, {n: x[:3] for n, x in state.items()})
    np.testing.assert_allclose(gradient["W2"], h1.T @ h2 / 6 - h1[:3].T @ h2[:3] / 3, atol=1e-12)
    np.testing.assert_allclose(gradient["b"], v.mean(0) - v[:3].mean(0), atol=1e-12)


def test_mean_field_solves_its_equations(
    model: pgmdsl.Model, params: dict[str, np.ndarray], state: dict[str, np.ndarray]
) -> None:
    means = model.mean_field(params, {"v": state["v"]}, iterations=500)
    fixed = sigmoid(params["a1"] + state["v"] @ params["W1"] + means["h2"] @ params["W2"].T)
    np.testing.assert_allclose(means["h1"], fixed, atol=1e-9)


def test_gibbs_holds_what_is_clamped(
    model: pgmdsl.Model, params: dict[str, np.ndarray], state: dict[str, np.ndarray]
) -> None:
    one = model.gibbs(params, {"v": state["v"]}, steps=3, seed=1, clamp=("v",))
    np.testing.assert_array_equal(one["v"], state["v"])
    assert {n: x.shape for n, x in one.items()} == {"v": (6, 5), "h1": (6, 4), "h2": (6, 3)}
    again = model.gibbs(params, {"v": state["v"]}, steps=3, seed=1, clamp=("v",))
    np.testing.assert_array_equal(one["h1"], again["h1"])
    assert any((model.gibbs(params, state, steps=1, seed=s)["h1"] != one["h1"]).any() for s in range(3))


def test_log_partition(model: pgmdsl.Model, params: dict[str, np.ndarray]) -> None:
    grid = np.array(np.meshgrid(*[[0.0, 1.0]] * 12)).reshape(12, -1).T
    joint = {"v": grid[:, :5], "h1": grid[:, 5:9], "h2": grid[:, 9:]}
    exact = np.logaddexp.reduce(model.log_joint(params, joint))
    z = pgmdsl.log_partition(model, params)
    assert z.value == pytest.approx(exact, abs=1e-9)
    assert z.lower == z.value == z.upper
    ais = pgmdsl.log_partition(model, params, method="ais", chains=200, temperatures=1000)
    assert abs(ais.value - exact) < 4 * ais.standard_error
    assert ais.lower < ais.value < ais.upper


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m, p, s: m.mean("h3", p, s), ["no layer 'h3'", "the layers are v, h1, h2"]),
        (lambda m, p, s: m.energy_of(p, {"v": s["v"]}), ["layer h1 is missing"]),
        (lambda m, p, s: m.energy_of(p, {**s, "v": s["v"][:, :4]}), ["(6, 4)", "(cases, 5)"]),
        (lambda m, p, s: m.energy_of(p, {**s, "v": s["v"][:2]}), ["different numbers of cases", "v has 2"]),
        (lambda m, p, s: m.energy_of(p, {**s, "v": s["v"] * np.nan}), ["NaN"]),
        (lambda m, p, s: m.energy_of({**p, "W3": p["W1"]}, s), ["no parameter 'W3'"]),
        (lambda m, p, s: m.energy_of({**p, "W1": p["W1"].T}, s), ["W1 has shape (4, 5)", "(5, 4)"]),
        (lambda m, p, s: m.free_energy(p, {"v": s["v"]}), ["does not close", "h1 and h2"]),
        (lambda m, p, s: pgmdsl.compile_text("model M\n"), ["error["]),
        (lambda m, p, s: pgmdsl.load("no/such/run"), ["no/such/run"]),
        (lambda m, p, s: pgmdsl.compile_text(SOURCE, dtype="float16"), ["float16", "float32 or float64"]),
        (lambda m, p, s: pgmdsl.train(m, s["v"]), ["by layer"]),
        (lambda m, p, s: m.free_energy(None, s), ["by name"]),
        (lambda m, p, s: m.free_energy(p, {}), ["the state is empty"]),
        (lambda m, p, s: m.conditionals["zz"], ["no layer 'zz'", "v, h1, h2"]),
        (lambda m, p, s: m.mean_field(p, {"v": s["v"]}, iterations=-1), ["iterations is -1"]),
        (lambda m, p, s: m.gibbs(p, s, steps=-4), ["steps is -4"]),
    ],
)  # fmt: skip
def test_mistakes_are_sentences(model: pgmdsl.Model, params: dict, state: dict, call: object, words: list[str]) -> None:
    with pytest.raises(pgmdsl.Error) as raised:
        call(model, params, state)  # type: ignore[operator]
    for word in words:
        assert word in str(raised.value)


def test_train_load_and_use(model: pgmdsl.Model, cases: np.ndarray, tmp_path: Path) -> None:
    seen: list[dict] = []
    run = pgmdsl.train(model, {"v": cases}, valid=0.2, test=0.2, out=tmp_path / "run", seed=3, callback=seen.append)
    assert seen
    assert run.metrics == seen
    loaded = pgmdsl.load(tmp_path / "run")
    for name, value in run.parameters.items():
        np.testing.assert_array_equal(loaded.parameters[name], value)
    samples = loaded.sample(7, 3, burn=5, thin=2)
    assert {n: x.shape for n, x in samples.items()} == {"v": (7, 3, 5), "h1": (7, 3, 4), "h2": (7, 3, 3)}
    xarray = pytest.importorskip("xarray")
    table = samples.to_xarray()
    assert isinstance(table, xarray.Dataset)
    assert table["v"].dims == ("chain", "draw", "v_0")
    score = loaded.score({"v": cases})
    assert score.shape == (60,)
    every = np.array(np.meshgrid(*[[0, 1]] * 5)).reshape(5, -1).T
    z = pgmdsl.log_partition(loaded.model, loaded.parameters)
    total = np.exp(loaded.score({"v": every}, z)).sum()
    assert total == pytest.approx(1, abs=1e-9)  # exact scores of all states
    figures = run.evaluate({"v": cases})
    assert figures[0].value == pytest.approx(score.mean(), abs=1e-9)
    with pytest.raises(pgmdsl.Error, match="exists"):
        pgmdsl.train(model, {"v": cases}, out=tmp_path / "run")
    warm = pgmdsl.train(model, {"v": cases}, init=loaded, freeze=("W1",), out=tmp_path / "warm")
    np.testing.assert_array_equal(warm.parameters["W1"], loaded.parameters["W1"])
    assert (warm.parameters["W2"] != loaded.parameters["W2"]).any()


def test_layers_that_are_left_out_are_summed_out(tmp_path: Path) -> None:
    text = "model Two(D = 3)\nvisible v : binary[D]\nvisible y : softmax[2]\nhidden h : binary[2]\n"
    text += "v -- h : W\ny -- h : U\ntrain { fit { epochs = 2, rate = 0.5 } }\n"
    model = pgmdsl.compile_text(text, dtype="float64")
    v = (np.random.default_rng(0).random((20, 3)) < 0.5).astype(float)
    run = pgmdsl.train(model, {"v": v, "y": np.arange(20) % 2}, out=tmp_path / "run")
    loaded = pgmdsl.load(tmp_path / "run")  # its data was in memory, and is not needed
    both = [loaded.score({"v": v, "y": np.full(20, k)}) for k in (0, 1)]
    np.testing.assert_allclose(np.logaddexp(*both), loaded.score({"v": v}), atol=1e-9)
    assert set(loaded.infer({"v": v})) == {"y", "h"}
    assert set(run.cases({"v": v})) == {"v"}


def test_resume_on_arrays_in_memory(model: pgmdsl.Model, cases: np.ndarray, tmp_path: Path) -> None:
    """Arrays are given again, as the message says; the end is that of the run that was not interrupted."""
    whole = pgmdsl.train(model, {"v": cases}, weights=np.arange(60) + 1.0, out=tmp_path / "whole")

    def stop(metrics: dict[str, Any]) -> None:
        if metrics["phase"] == "fit":
            raise RuntimeError("the machine fails")

    with pytest.raises(RuntimeError):
        pgmdsl.train(model, {"v": cases}, weights=np.arange(60) + 1.0, out=tmp_path / "cut", callback=stop)
    with pytest.raises(pgmdsl.Error, match="arrays in memory"):
        pgmdsl.resume(tmp_path / "cut")
    resumed = pgmdsl.resume(tmp_path / "cut", {"v": cases}, weights=np.arange(60) + 1.0)
    for name, value in whole.parameters.items():
        np.testing.assert_array_equal(resumed.parameters[name], value)


def test_recognition_as_formulas(tmp_path: Path) -> None:
    file = tmp_path / "sbn.ebm"
    file.write_text(
        "model SBN(D = 4, F = 3, G = 2)\nvisible v : binary[D]\nhidden h1 : binary[F]\nhidden h2 : binary[G]\n"
        "h1 -> v : W1\nh2 -- h1 : W2\nv ~> h1 : R1\n"
    )
    model = pgmdsl.compile(file)
    assert list(model.recognition) == ["h1"]
    q = model.recognition["h1"]
    assert str(q) == "q(h₁[j] = 1 | v) = σ(r_h₁[j] + Σᵢ R₁[i,j] v[i])"
    assert (q.given, q.indices) == (("v",), ("j",))
    assert model.conditionals["v"].given == ("h1",)
    assert repr(model).endswith("; h2 -- h1 : W2, h1 -> v : W1, v ~> h1 : R1>")
    with pytest.raises(pgmdsl.Error, match="the layers are h1"):
        model.recognition["h2"]
