"""Training against exact gradients and plain NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import (
    DBM,
    MIXED,
    RBM,
    TIED,
    artifact_of,
    kernels_of,
    oracle_of,
    random_data,
    random_parameters,
    train,
    with_train,
)
from compiled import plain_python
from oracle import gradient, log_probability

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime import train as training
from pgmdsl.runtime.data import open_data
from pgmdsl.runtime.learner import Learner
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.optimise import Rates
from pgmdsl.runtime.parameters import initial_parameters
from pgmdsl.runtime.recipe import recipe_of

MODELS = {"rbm": RBM, "dbm": DBM, "mixed": MIXED, "tied": TIED}
EXACT = "positive = exact, negative = exact"


def mean_gradient(
    artifact: Any, parameters: dict[str, Any], data: dict[str, Any], weights: Any = None
) -> dict[str, Any]:
    """The exact gradient of the mean log-likelihood, by enumeration."""
    model = oracle_of(artifact, parameters)
    cases = len(next(iter(data.values())))
    share = np.full(cases, 1 / cases) if weights is None else np.asarray(weights) / np.sum(weights)
    total: dict[str, Any] = {n: 0.0 for n, p in artifact.parameters.items() if p.kind != "unit"}
    for i in range(cases):
        for name, g in gradient(model, {n: x[i : i + 1] for n, x in data.items()}).items():
            if name in total:
                total[name] = total[name] + share[i] * g
    return total


def mean_log_likelihood(artifact: Any, parameters: dict[str, Any], data: dict[str, Any]) -> float:
    model = oracle_of(artifact, parameters)
    cases = len(next(iter(data.values())))
    return float(np.mean([log_probability(model, {n: x[i : i + 1] for n, x in data.items()}) for i in range(cases)]))


def own_factor(artifact: Any, bias: str, parameters: dict[str, Any]) -> Any:
    layer = next(x for x in artifact.layers.values() if x.bias == bias)
    return 1 / parameters[layer.sigma] if layer.sigma else np.ones(layer.dims)


def one_step(text: str, settings: str, data: dict[str, Any], tmp_path: Path, **kwargs: Any) -> tuple[Any, Any, Any]:
    """Artifact, parameters before and after one step on all of the data."""
    artifact = with_train(text, f"fit {{ updates = 1, batch = 1000, {settings} }}")
    before = random_parameters(artifact)
    run = train(artifact, data, init=before, out=tmp_path / f"run{len(list(tmp_path.iterdir()))}", **kwargs)
    return artifact, before, run.parameters


@pytest.mark.parametrize("model", MODELS)
def test_exact_step_without_centring_is_the_gradient(model: str, tmp_path: Path) -> None:
    data = random_data(artifact_of(MODELS[model]), 7)
    artifact, before, after = one_step(MODELS[model], f"rate = 0.1, centering = off, {EXACT}", data, tmp_path)
    for name, g in mean_gradient(artifact, before, data).items():
        scale = 1.0
        if artifact.parameters[name].kind == "bias":  # biases move in units of their own field
            scale = 1 / own_factor(artifact, name, before) ** 2
        np.testing.assert_allclose(after[name] - before[name], 0.1 * scale * g, rtol=1e-9, atol=1e-12, err_msg=name)


def centred_direction(artifact: Any, before: dict[str, Any], data: dict[str, Any], offsets: dict[str, Any]) -> Any:
    """J J' g, where J maps (W, centred own fields of biases) to the model's parameters; built column by column."""
    names = [n for n, p in artifact.parameters.items() if p.kind != "unit"]

    def plain(centred: dict[str, Any]) -> Any:
        out = {n: centred[n].copy() for n in names}
        for name in names:
            layers = [x for x in artifact.layers.values() if x.bias == name]
            if not layers:
                continue
            factors = [1 / before[x.sigma] if x.sigma else 1.0 for x in layers]
            out[name] = centred[name] / np.sqrt(np.mean([np.square(f) for f in factors], axis=0))
            for layer, factor in zip(layers, factors, strict=True):
                for edge in artifact.edges:
                    for here, other, w in (
                        (edge.layers[0], edge.layers[1], centred[edge.weight]),
                        (edge.layers[1], edge.layers[0], centred[edge.weight].T),
                    ):
                        if here == layer.name:
                            out[name] = out[name] - (w @ offsets[other]) / factor / len(layers)
        return np.concatenate([out[n].ravel() for n in names])

    zero = {n: np.zeros(artifact.parameters[n].shape) for n in names}
    columns = []
    for name in names:
        for i in np.ndindex(*artifact.parameters[name].shape):
            zero[name][i] = 1
            columns.append(plain(zero))
            zero[name][i] = 0
    jacobian = np.array(columns).T
    g = mean_gradient(artifact, before, data)
    step = jacobian @ (jacobian.T @ np.concatenate([g[n].ravel() for n in names]))
    sizes = np.cumsum([zero[n].size for n in names])[:-1]
    return {n: x.reshape(zero[n].shape) for n, x in zip(names, np.split(step, sizes), strict=True)}


@pytest.mark.parametrize("model", MODELS)
def test_centred_step_is_the_gradient_in_centred_coordinates(model: str, tmp_path: Path) -> None:
    data = random_data(artifact_of(MODELS[model]), 7)
    artifact, before, after = one_step(MODELS[model], f"rate = 0.1, {EXACT}", data, tmp_path)
    kernels = kernels_of(artifact)
    machine = Machine(artifact, kernels, before)
    from pgmdsl.runtime.estimators.exact import exact_statistics

    clamped = {n: kernels.statistic[n](machine.p, x.reshape(len(x), -1)) for n, x in data.items()}
    exact = exact_statistics(machine, clamped)
    offsets = {n: s.mean(axis=0) for n, s in {**clamped, **exact.means}.items()}
    expected = centred_direction(artifact, before, data, offsets)
    for name, direction in expected.items():
        np.testing.assert_allclose(after[name] - before[name], 0.1 * direction, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("centering", ["on", "off"])
@pytest.mark.parametrize("model", ["rbm", "dbm", "mixed"])
def test_exact_training_raises_the_likelihood_at_every_epoch(model: str, centering: str, tmp_path: Path) -> None:
    data = random_data(artifact_of(MODELS[model]), 12, seed=3)
    values = []
    for updates in (1, 10, 30):
        artifact = with_train(
            MODELS[model], f"fit {{ updates = {updates}, batch = 50, rate = 0.1, centering = {centering}, {EXACT} }}"
        )
        run = train(artifact, data, init=random_parameters(artifact), out=tmp_path / str(updates))
        values.append(mean_log_likelihood(artifact, run.parameters, data))
    start = mean_log_likelihood(artifact, random_parameters(artifact), data)
    assert [start, *values] == sorted([start, *values])
    assert values[-1] > start + 0.1


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def test_cd_is_the_textbook_formula_averaged_over_draws(tmp_path: Path) -> None:
    """E over v' of CD-1's negative term, by enumerating h and v', against many cases of one pattern."""
    artifact = with_train(RBM, "fit { updates = 1, batch = 6000, rate = 1, centering = off, negative = cd(1) }")
    before = random_parameters(artifact)
    v = np.tile([[1.0, 0.0, 1.0, 1.0]], (6000, 1))
    run = train(artifact, {"v": v}, init=before, out=tmp_path / "run")
    W, b, a = before["W"], before["b"], before["a"]
    p0 = sigmoid(v[0] @ W + a)
    hs = np.array(list(np.ndindex(2, 2, 2)), float)
    vs = np.array(list(np.ndindex(2, 2, 2, 2)), float)
    ph = np.prod(np.where(hs == 1, p0, 1 - p0), axis=1)
    pv = np.array([np.prod(np.where(vs == 1, sigmoid(W @ h + b), 1 - sigmoid(W @ h + b)), axis=1) for h in hs])
    weight = ph @ pv
    h1 = sigmoid(vs @ W + a)
    negative = np.einsum("n,ni,nj->ij", weight, vs, h1)
    second = np.einsum("n,ni,nj->ij", weight, vs**2, h1**2)
    error = 5 * np.sqrt((second - negative**2) / 6000)
    assert np.all(np.abs((run.parameters["W"] - W) - (np.outer(v[0], p0) - negative)) < error)
    assert np.all(np.abs((run.parameters["b"] - b) - (v[0] - weight @ vs)) < 5 * 0.5 / 6000**0.5)


def test_pcd_goes_on_from_its_chains() -> None:
    """Each step takes the statistics of its chains with hidden means; visible states follow the hidden ones before."""
    artifact = with_train(
        RBM, "fit { updates = 5, batch = 6, rate = 0.1, centering = off, negative = pcd(1, chains = 8) }"
    )
    parameters = random_parameters(artifact)
    parameters["W"] = np.array([[40.0, 0, 0], [0, 40, 0], [0, 0, 40], [40, 0, 0]])  # v copies h
    parameters["b"] = np.full(4, -20.0)
    parameters["a"] = np.array([-20.0, -40.0, -60.0]) + 20
    machine = Machine(artifact, kernels_of(artifact), parameters)
    learner = Learner(machine, ("v",), recipe_of(artifact.phases[0], artifact.sizes), ("W", "a", "b"), seed=3)
    data = random_data(artifact, 6)["v"]
    learner.positive.s["v"][:] = data
    chains = learner.negative.chains
    chains["v"][:] = random_data(artifact, 8, seed=1)["v"]
    learner.start({"v": data.mean(axis=0)}, (0,))
    for step in range(4):
        hidden = chains["h"].copy()
        before = {n: p.copy() for n, p in parameters.items()}
        learner.step(6, None, 1.0, Rates(1e-3, 0.0, 0.0), (step, False), (0, step))
        v = chains["v"]
        np.testing.assert_array_equal(v, hidden[:, [0, 1, 2, 0]])
        up = sigmoid(v @ before["W"] + before["a"])
        change = data.T @ sigmoid(data @ before["W"] + before["a"]) / 6 - v.T @ up / 8
        np.testing.assert_allclose(parameters["W"] - before["W"], 1e-3 * change, rtol=1e-9, atol=1e-14)
        np.testing.assert_allclose(parameters["b"] - before["b"], 1e-3 * (data.mean(0) - v.mean(0)), atol=1e-14)


@pytest.mark.parametrize("settings", ["negative = exact", "positive = mean_field(5), negative = exact"])
@pytest.mark.parametrize("model", ["rbm", "dbm"])
def test_integer_weights_are_repeated_rows(model: str, settings: str, tmp_path: Path) -> None:
    artifact = with_train(MODELS[model], f"fit {{ updates = 5, batch = 100, rate = 0.2, momentum = 0.5, {settings} }}")
    data = random_data(artifact, 6)["v"]
    weights = np.array([1, 3, 0, 2, 1, 1])
    weighted = train(artifact, {"v": data}, weights=weights, out=tmp_path / "a")
    repeated = train(artifact, {"v": np.repeat(data, weights, axis=0)}, out=tmp_path / "b")
    for name, value in repeated.parameters.items():
        np.testing.assert_allclose(weighted.parameters[name], value, rtol=1e-9, atol=1e-11, err_msg=name)


def test_weights_reach_cd_and_batches(tmp_path: Path) -> None:
    """A weight of 0 is an absent row, bit for bit the same draws; and a batch counts as much as its cases weigh."""
    artifact = with_train(RBM, "fit { epochs = 3, batch = 2, rate = 0.1, negative = cd(1) }")
    data = random_data(artifact, 5)["v"]
    some = train(artifact, {"v": data}, weights=[1, 1, 0, 1, 1], out=tmp_path / "a")
    fewer = train(artifact, {"v": np.delete(data, 2, axis=0)}, out=tmp_path / "b")
    for name, value in fewer.parameters.items():
        np.testing.assert_allclose(some.parameters[name], value, rtol=1e-9, atol=1e-11, err_msg=name)


def test_average_is_the_normalised_exponential_average(tmp_path: Path) -> None:
    settings = f"batch = 50, rate = 0.3, {EXACT}"
    data = random_data(artifact_of(RBM), 9)
    path = []
    for updates in (10, 20):
        artifact = with_train(RBM, f"fit {{ updates = {updates}, {settings} }}")
        path.append(train(artifact, data, out=tmp_path / str(updates)).parameters["W"])
    artifact = with_train(RBM, f"fit {{ updates = 20, average = 0.9, {settings} }}")
    averaged = train(artifact, data, out=tmp_path / "average").parameters["W"]
    keep = 0.9**10
    np.testing.assert_allclose(averaged, (keep * path[0] + path[1]) / (1 + keep), rtol=1e-12)


def test_frozen_and_fixed_parameters_stay(tmp_path: Path) -> None:
    artifact = with_train(RBM, "fit { epochs = 3, batch = 3, rate = 0.5, freeze = W }")
    before = random_parameters(artifact)
    run = train(artifact, random_data(artifact, 9), init=before, freeze=("a",), out=tmp_path / "run")
    assert np.array_equal(run.parameters["W"], before["W"])
    assert np.array_equal(run.parameters["a"], before["a"])
    assert not np.array_equal(run.parameters["b"], before["b"])


def test_initial_parameters_put_the_model_at_the_data_means(tmp_path: Path) -> None:
    artifact = artifact_of(DBM)
    data = random_data(artifact, 40)
    splits = open_data(artifact, data, base=tmp_path)
    parameters = initial_parameters(artifact, kernels_of(artifact), 1, data=splits.train)
    mean = data["v"].mean(axis=0)
    at_offsets = parameters["b"] + parameters["W1"] @ np.full(3, 0.5)
    np.testing.assert_allclose(sigmoid(at_offsets), np.clip(mean, 0.002, 0.998), atol=1e-12)
    np.testing.assert_allclose(
        parameters["a1"] + mean @ parameters["W1"] + parameters["W2"] @ [0.5, 0.5], 0, atol=1e-12
    )
    assert 0 < np.abs(parameters["W1"]).max() < 0.05


CONSTANT = """
model G
visible v : gaussian[2, 2](sigma = data) bias b
hidden  h : binary[2]
v -- h : W
"""


def test_data_without_any_spread_have_no_sigma(tmp_path: Path) -> None:
    artifact = with_train(CONSTANT, "fit { epochs = 1 }")
    message = r"layer v has sigma = data, but every .* \(unit \[0, 0\] is 0.1 throughout\): give sigma a number"
    with pytest.raises(Error, match=message):
        train(artifact, {"v": np.full((7, 2, 2), 0.1)}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_units_that_do_not_vary_are_counted_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact = with_train(CONSTANT, "fit { epochs = 3 }")
    v = np.random.default_rng(0).normal(0, 2, (50, 2, 2))
    v[:, 0] = 0.1
    with plain_python():
        run = training.train(artifact, {"v": v}, out=tmp_path / "run")
    said = capsys.readouterr().err
    assert said.count("2 of the 4 units of v hardly vary in the training data") == 1
    sigma = run.parameters["sigma_v"]
    np.testing.assert_allclose(sigma[1], v[:, 1].std(axis=0))
    np.testing.assert_allclose(sigma[0], 0.01 * sigma.max())


def test_greedy_composes_single_weights_and_averaged_biases(tmp_path: Path) -> None:
    """After greedy pretraining, stage one alone with doubled input has the stage's biases; the shared one is a mean."""
    artifact = with_train(DBM, "greedy { epochs = 4, batch = 10, rate = 0.2 }")
    from pgmdsl.runtime.checkpoint import load_checkpoint

    run = train(artifact, random_data(artifact, 30), out=tmp_path / "run")
    _, arrays = load_checkpoint(run.directory, artifact)
    shared = (arrays["stage/h1/a1"] + arrays["stage/h2/a1"]) / 2
    np.testing.assert_array_equal(run.parameters["a1"], shared)
    np.testing.assert_array_equal(run.parameters["b"], arrays["stage/h1/b"])
    np.testing.assert_array_equal(run.parameters["a2"], arrays["stage/h2/a2"])
    assert "stage/h2/b" not in arrays


def test_greedy_stage_is_cd_with_doubled_input(tmp_path: Path) -> None:
    """One uncentred step of the first stage on one pattern: the hidden layer hears 2 W'v, the visible one W h."""
    artifact = with_train(DBM, "greedy h1 { updates = 1, batch = 6000, rate = 1, centering = off }")
    before = random_parameters(artifact)
    v = np.tile([[1.0, 0.0, 1.0, 1.0]], (6000, 1))
    run = train(artifact, {"v": v}, init=before, out=tmp_path / "run")
    W, b, a = before["W1"], before["b"], before["a1"]
    p0 = sigmoid(2 * v[0] @ W + a)
    hs = np.array(list(np.ndindex(2, 2, 2)), float)
    ph = np.prod(np.where(hs == 1, p0, 1 - p0), axis=1)
    expected = v[0] - ph @ sigmoid(hs @ W.T + b)
    assert np.all(np.abs(run.parameters["b"] - b - expected) < 5 * 0.5 / 6000**0.5)
    assert np.array_equal(run.parameters["W2"], before["W2"])


def test_schedules_follow_epoch_and_progress(tmp_path: Path) -> None:
    """A rate that is 0 from the second epoch on leaves the parameters where the first epoch put them."""
    data = random_data(artifact_of(RBM), 8)
    settings = "batch = 4, negative = cd(1)"
    one = with_train(RBM, f"fit {{ epochs = 1, rate = 0.4, {settings} }}")
    two = with_train(RBM, f"fit {{ epochs = 2, rate = 0.4 if epoch < 1 else 0, {settings} }}")
    first, second = train(one, data, out=tmp_path / "1"), train(two, data, out=tmp_path / "2")
    for name, value in first.parameters.items():
        np.testing.assert_array_equal(second.parameters[name], value)


def test_a_negative_rate_in_mid_run_is_an_error(tmp_path: Path) -> None:
    artifact = with_train(RBM, "fit { epochs = 4, batch = 4, rate = 0.1 - 0.06*epoch }")
    with pytest.raises(Error, match=r"rate is -0.02 at epoch 2"):
        train(artifact, random_data(artifact, 8), out=tmp_path / "run")


def test_divergence_is_an_error(tmp_path: Path) -> None:
    text = "model G(F = 2) visible v : gaussian[2] bias b\nhidden h : binary[F] bias a\nv -- h : W"
    artifact = with_train(
        text.replace(") visible", ")\nvisible"), "fit { epochs = 400, batch = 4, rate = 1e12, momentum = 0.99 }"
    )
    with pytest.raises(Error, match="diverged"), np.errstate(all="ignore"):
        train(artifact, {"v": np.random.default_rng(0).normal(0, 100, (8, 2))}, out=tmp_path / "run")


def test_training_depends_on_the_seed_alone(tmp_path: Path) -> None:
    artifact = with_train(DBM, "greedy { epochs = 1, batch = 4 } \n fit { epochs = 2, batch = 4, average = 0.9 }")
    data = random_data(artifact, 10)
    runs = [train(artifact, data, seed=s, out=tmp_path / str(i)) for i, s in enumerate((5, 5, 6))]
    same = [all(np.array_equal(runs[0].parameters[n], r.parameters[n]) for n in r.parameters) for r in runs]
    assert same == [True, True, False]


@pytest.mark.parametrize("negative", ["cd(2)", "pcd(2, chains = 3)", "gibbs(2)", "exact"])
@pytest.mark.parametrize("positive", ["exact", "mean_field(3)", "gibbs(2)"])
def test_every_pair_of_phases_runs_on_a_mixed_loop(positive: str, negative: str, tmp_path: Path) -> None:
    artifact = with_train(
        MIXED, f"fit {{ epochs = 2, batch = 4, rate = 0.05, positive = {positive}, negative = {negative} }}"
    )
    run = train(artifact, random_data(artifact, 9), out=tmp_path / "run")
    assert all(np.isfinite(p).all() for p in run.parameters.values())
    assert run.metrics[-1]["epoch"] == 2
