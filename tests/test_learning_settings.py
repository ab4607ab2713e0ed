"""What the settings of a phase do to a step: optimisers, penalties, masks, objectives, chains."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from builders import artifact_of, oracle_of, random_data
from oracle import energy, expectations, table
from test_learning import EXACT, MODELS, learner_of, mean_gradient, put, statistics_of, take_step

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.learner import Learner
from pgmdsl.runtime.optimise import Rates
from pgmdsl.runtime.statistics import Shown

RBM = """
model Tiny
visible v : binary[4] bias b
hidden  h : binary[3] bias a
v -- h : W
"""


def run(learner: Learner, data: dict[str, Any], steps: int, **rates: Any) -> list[dict[str, Any]]:
    """The parameters before each of some steps and after the last."""
    values = {"rate": 0.05, "momentum": 0.0, "decay": 0.0} | rates
    cases = len(next(iter(data.values())))
    s = put(learner, data)
    learner.start({n: x.mean(0) for n, x in s.items()}, (0,))
    learner.optimiser.pace.measure(s, np.full(cases, 1 / cases), {})
    path = []
    for step in range(steps):
        path.append({n: p.copy() for n, p in learner.machine.parameters.items()})
        put(learner, data)
        learner.step(cases, None, 1.0, Rates(**values), (step, False), (0, step))
    return [*path, {n: p.copy() for n, p in learner.machine.parameters.items()}]


# --- optimisers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimiser", ["adam(beta1 = 0.8, beta2 = 0.9, epsilon = 1e-3)", "rmsprop(rho = 0.7)"])
def test_adam_and_rmsprop_are_the_published_steps(optimiser: str) -> None:
    learner = learner_of(RBM, f"centering = off, optimiser = {optimiser}, {EXACT}")
    data = random_data(artifact_of(RBM), 6)
    path = run(learner, data, 3, rate=0.01)
    artifact = learner.machine.artifact
    for name in "Wba":
        first, second = np.zeros_like(path[0][name]), np.zeros_like(path[0][name])
        for t, (before, after) in enumerate(itertools.pairwise(path), 1):
            g = mean_gradient(artifact, before, data)[name]
            if optimiser.startswith("adam"):
                first, second = 0.8 * first + 0.2 * g, 0.9 * second + 0.1 * g**2
                step = first / (1 - 0.8**t) / (np.sqrt(second / (1 - 0.9**t)) + 1e-3)
            else:
                second = 0.7 * second + 0.3 * g**2
                step = g / (np.sqrt(second) + 1e-8)
            np.testing.assert_allclose(after[name] - before[name], 0.01 * step, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "rmsprop"])
@pytest.mark.parametrize("model", ["multiplicative", "lateral", "sigma"])
def test_every_optimiser_climbs(optimiser: str, model: str) -> None:
    learner = learner_of(MODELS[model], f"optimiser = {optimiser}, {EXACT}")
    data = random_data(artifact_of(MODELS[model]), 6)
    path = run(learner, data, 12, rate=0.05 if optimiser == "sgd" else 0.01)
    norms = [
        sum(np.square(g).sum() for g in mean_gradient(learner.machine.artifact, p, data).values())
        for p in (path[0], path[-1])
    ]
    assert norms[1] < norms[0]


def test_momentum_and_decay_are_those_of_the_fused_step() -> None:
    """A mask of ones takes the step with all that may be asked of a weight; the other is the fused one."""
    data = random_data(artifact_of(RBM), 6)
    settings = f"momentum = 0.9, decay = 0.1, {EXACT}"
    fused = learner_of(RBM, settings)
    slow = learner_of(RBM, settings)
    slow.optimiser._masks["W"] = np.ones((4, 3), bool)
    ends = [run(x, data, 5, momentum=0.9, decay=0.1)[-1] for x in (fused, slow)]
    for name in "Wba":
        np.testing.assert_allclose(ends[0][name], ends[1][name], rtol=1e-12, err_msg=name)


def test_clip_shortens_the_whole_gradient() -> None:
    data = random_data(artifact_of(RBM), 6)
    free, clipped = (learner_of(RBM, f"centering = off, {EXACT}") for _ in range(2))
    whole = take_step(free, data, 0.1)
    short = take_step(clipped, data, 0.1, clip=0.05)
    assert np.sqrt(sum(np.square(x).sum() for x in short.values())) == pytest.approx(0.1 * 0.05)
    factor = short["W"][0, 0] / whole["W"][0, 0]
    for name in "Wba":
        np.testing.assert_allclose(short[name], factor * whole[name], rtol=1e-9)
    same = take_step(learner_of(RBM, f"centering = off, {EXACT}"), data, 0.1, clip=1e3)
    np.testing.assert_allclose(same["W"], whole["W"], rtol=1e-9)


# --- penalties --------------------------------------------------------------------------------------------


def test_max_norm_limits_what_reaches_each_unit_of_the_later_layer() -> None:
    learner = learner_of(RBM, EXACT)
    path = run(learner, random_data(artifact_of(RBM), 6), 3, max_norm=0.5)
    start, end = (np.linalg.norm(p["W"], axis=0) for p in (path[0], path[-1]))
    assert (start > 0.5).any()
    assert (end <= 0.5 + 1e-12).all()
    assert end.max() == pytest.approx(0.5)


def test_max_norm_of_a_lateral_weight_leaves_it_symmetric() -> None:
    learner = learner_of(MODELS["lateral"], EXACT)
    end = run(learner, random_data(artifact_of(MODELS["lateral"]), 6), 3, max_norm=0.3)[-1]
    assert np.array_equal(end["L"], end["L"].T)
    assert (np.linalg.norm(end["L"], axis=0) <= 0.3 + 1e-12).all()


def test_l1_sets_weights_to_zero_and_a_weights_own_penalties_hold() -> None:
    text = RBM + "\nhidden k : binary[2] bias c\nv -- k : V(l1 = 0, decay = 0)\n"
    data = random_data(artifact_of(text), 20)
    path = run(learner_of(text, EXACT), data, 200, l1=0.2)
    assert (path[-1]["W"] == 0).mean() > 0.5
    assert (path[-1]["V"] != 0).all()


def test_at_rest_l1_balances_the_gradient_with_momentum_too() -> None:
    learner = learner_of(RBM, f"centering = off, {EXACT}")
    first = np.random.default_rng(0).integers(0, 2, (20, 1)).astype(float)
    data = {"v": np.hstack([np.tile(first, (1, 3)), 1 - first])}
    end = run(learner, data, 2000, rate=0.3, momentum=0.5, l1=0.02)[-1]
    gradient = mean_gradient(learner.machine.artifact, end, data)["W"]
    kept = end["W"] != 0
    assert kept.any()
    np.testing.assert_allclose(gradient[kept], 0.02 * np.sign(end["W"][kept]), atol=2e-3)
    assert (np.abs(gradient[~kept]) <= 0.02 + 2e-3).all()


def test_sparsity_draws_hidden_units_to_the_target() -> None:
    data = random_data(artifact_of(RBM), 40)
    active = []
    for setting in ("", "sparsity = sparsity(0.1, 3), "):
        learner = learner_of(RBM, f"{setting}{EXACT}")
        run(learner, data, 300, rate=0.1)
        active.append(float(learner.running["h"].mean()))
    assert abs(active[1] - 0.1) < 0.03 < abs(active[0] - 0.1)


def test_sparsity_is_a_pull_on_the_field() -> None:
    """Its change of the gradient is that of biases and weights as the field's derivative gives it."""
    data = random_data(artifact_of(RBM), 6)
    found = []
    for setting in ("", "sparsity = sparsity(0.2, 0.5), "):
        learner = learner_of(RBM, f"{setting}centering = off, {EXACT}")
        take_step(learner, data, 0.0)
        found.append(statistics_of(learner))
        pull = 0.5 * (0.2 - learner.running["h"])
    np.testing.assert_allclose(found[1]["a"] - found[0]["a"], pull, atol=1e-12)
    np.testing.assert_allclose(found[1]["W"] - found[0]["W"], np.outer(data["v"].mean(0), pull), atol=1e-12)
    np.testing.assert_allclose(found[1]["b"], found[0]["b"], atol=1e-12)


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("centering", ["on", "standardise"])
def test_masked_and_symmetric_weights_stay_so_to_the_bit(optimiser: str, centering: str) -> None:
    text = """
model Grid
visible v : binary[3, 3] bias b
hidden  h : softmax[2, 3] bias a
v -- v : L(mask = local(radius = 1))
h -- h : J
v -- h : W
"""
    for dtype in ("float32", "float64"):
        settings = f"optimiser = {optimiser}, centering = {centering}, negative = cd(2), positive = gibbs(2)"
        artifact = artifact_of(f"{text}\ntrain {{ fit {{ batch = 40, {settings} }} }}", dtype)
        learner = learner_of(text, settings, artifact=artifact)
        end = run(learner, random_data(artifact, 30), 5, rate=0.02, momentum=0.5)[-1]
        flat, sites = end["L"].reshape(9, 9), np.arange(6) // 3
        assert np.array_equal(flat, flat.T)
        near = np.abs(np.subtract.outer(np.arange(9) // 3, np.arange(9) // 3)) <= 1
        near &= np.abs(np.subtract.outer(np.arange(9) % 3, np.arange(9) % 3)) <= 1
        assert np.array_equal(flat != 0, near & ~np.eye(9, dtype=bool))
        blocks = end["J"].reshape(6, 6)
        assert np.array_equal(blocks, blocks.T)
        assert np.array_equal(blocks != 0, sites[:, None] != sites)


# --- pseudo-likelihood ------------------------------------------------------------------------------------


def log_pseudolikelihood(artifact: Artifact, parameters: dict[str, Any], data: dict[str, Any]) -> float:
    """Mean over cases of the sum over sites of log p(site | all else), from the declared terms."""
    model = oracle_of(artifact, parameters)
    cases, total = len(next(iter(data.values()))), 0.0
    for i in range(cases):
        row = {n: x[i : i + 1] for n, x in data.items()}
        for name, layer in artifact.layers.items():
            if layer.role == "given":
                continue
            dims = {"one_hot": layer.dims[:-1], "counts": ()}.get(layer.support, layer.dims)
            for site in np.ndindex(*dims):
                held = np.ones(layer.dims, bool)
                held[site] = False
                total += float(-energy(model, row)[0]) - table(model, row, {name: held}).log_sum
    return total / cases


VISIBLE = {
    "lateral": """
model Lateral
visible v : spin[3] bias b
visible y : softmax[2, 2] bias c
v -- v : L
y -- y : J
v -- y : W
""",
    "sigma": """
model Sigma
given   x : binary[2]
visible v : gaussian[2](sigma = learned) bias b
visible u : binary[2] bias c
v -- v : L
v -- u : W
x -- v : B
""",
    "third order": """
model Third
visible v : binary[2] bias b
visible u : gaussian[1](sigma = learned) bias c
visible w : spin[2] bias e
v * u * w : T
v -- w : W
""",
    "documents": """
model Documents
visible n : replicated_softmax[3] bias b
visible v : binary[2] bias c
visible k : poisson[1] bias e
n -- v : W
k -- v : V
""",
}


@pytest.mark.parametrize("model", VISIBLE)
def test_the_gradient_of_the_pseudolikelihood_is_exact(model: str) -> None:
    learner = learner_of(VISIBLE[model], "centering = off, objective = pseudolikelihood")
    artifact, data = learner.machine.artifact, random_data(artifact_of(VISIBLE[model]), 3)
    take_step(learner, data, 0.0)
    parameters = {n: np.array(p) for n, p in learner.machine.parameters.items()}
    found = statistics_of(learner)
    for name in learner.optimiser.trained:
        for index in np.ndindex(*parameters[name].shape):
            step = np.zeros_like(parameters[name])
            step[index] = 1e-5
            if artifact.parameters[name].symmetric:
                half = len(index) // 2
                step[index[half:] + index[:half]] = 1e-5
                if not learner.optimiser._masks[name].reshape(step.shape)[index]:
                    assert found[name][index] == 0
                    continue
            up, down = (
                log_pseudolikelihood(artifact, {**parameters, name: parameters[name] + sign * step}, data)
                for sign in (1, -1)
            )
            assert found[name][index] == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-7), (name, index)


def test_the_pseudolikelihood_of_states_is_that_of_the_declared_terms() -> None:
    from pgmdsl.runtime.objectives import log_pseudolikelihood as found

    for text in VISIBLE.values():
        learner = learner_of(text, "objective = pseudolikelihood")
        data = random_data(learner.machine.artifact, 3)
        expected = log_pseudolikelihood(learner.machine.artifact, learner.machine.parameters, data)
        assert np.mean(found(learner.machine, put(learner, data))) == pytest.approx(expected, abs=1e-8)


# --- chains -----------------------------------------------------------------------------------------------


def test_tempered_chains_have_the_models_distribution() -> None:
    """Two deep modes between which Gibbs sweeps never move: tempered chains started in one know the other's share."""
    text = "model M\nvisible v : binary[3] bias b\nhidden h : binary[2] bias a\nv -- h : W\n"
    parameters = {"W": np.full((3, 2), 9.0), "b": np.full(3, -9.2), "a": np.full(2, -13.3)}
    exact = expectations(oracle_of(artifact_of(text), parameters)).mean["v"]
    assert 0.2 < exact.mean() < 0.8
    means = {}
    for negative in ("tempering(30, chains = 200, temperatures = 8)", "pcd(30, chains = 200)"):
        learner = learner_of(text, f"negative = {negative}", parameters)
        learner.negative.start_states["v"][:] = 1
        learner.start({"v": np.full(3, 0.5)}, (0,))
        learner.positive.s["v"][:2] = [[0, 0, 0], [1, 1, 1]]
        learner.step(2, None, 1.0, Rates(0.0, 0.0, 0.0), (0, False), (0, 0))
        means[negative[:3]] = learner.negative.start_states["v"].mean()
        tempering = learner.negative.tempering
    assert abs(means["tem"] - exact.mean()) < 5 * 0.5 / 200**0.5
    assert means["pcd"] > 0.95
    assert tempering is None
    learner = learner_of(text, "negative = tempering(3, chains = 10, temperatures = 4)", parameters)
    run(learner, {"v": np.eye(3)}, 2)
    assert learner.negative.tempering is not None
    rates = learner.negative.tempering.take_rates()
    assert len(rates) == 3
    assert all(0 < rate <= 1 for rate in rates)


def test_documents_of_chains_keep_their_lengths_and_cost_no_bias() -> None:
    """Chains with other lengths than the data's: independent units at the data's rates have nothing to learn."""
    text = "model D\nvisible n : replicated_softmax[3] bias b\nhidden h : binary[2] bias a\nn -- h : W\n"
    frequency = np.array([0.5, 0.3, 0.2])
    parameters = {"W": np.zeros((3, 2)), "b": np.log(frequency), "a": np.zeros(2)}
    learner = learner_of(text, "centering = off, negative = pcd(1, chains = 20)", parameters)
    learner.negative.start_states["n"][:] = [14, 3, 3]
    learner.start({"n": 10 * frequency}, (0,))
    learner.positive.s["n"][:10] = 10 * frequency
    learner.step(10, None, 1.0, Rates(0.0, 0.0, 0.0), (0, False), (0, 0))
    chain = learner.negative.chains["n"]
    np.testing.assert_array_equal(chain.sum(axis=1), 20)
    noise = chain.mean(axis=0) - 20 * frequency
    np.testing.assert_allclose(learner.statistics.delta["n"], -noise, atol=1e-9)
    np.testing.assert_allclose(learner.statistics.gradient["W"], -np.outer(noise, [0.5, 0.5]), atol=1e-9)
    np.testing.assert_allclose(learner.statistics.delta["h"], 0, atol=1e-9)


@pytest.mark.parametrize("negative", ["cd(1)", "gibbs(3)"])
def test_given_rows_and_lengths_go_with_their_cases(negative: str) -> None:
    text = """
model G
given   x : binary[2]
visible n : replicated_softmax[3] bias b
hidden  h : binary[2] bias a
x -- h : C
n -- h : W
"""
    learner = learner_of(text, f"negative = {negative}")
    data = random_data(learner.machine.artifact, 7)
    shown: list[Shown] = []
    add = learner.statistics.add

    def noted(state: Shown, factor: float, **settings: bool) -> Any:
        shown.append(state)
        return add(state, factor, **settings)

    learner.statistics.add = noted  # type: ignore[method-assign]
    take_step(learner, data, 0.01, weights=[1, 2, 1, 1, 3, 1, 1])
    data_side, model_side = shown
    np.testing.assert_array_equal(model_side.s["x"], data["x"])
    np.testing.assert_allclose(model_side.s["n"].sum(1), data["n"].sum(1))
    np.testing.assert_array_equal(model_side.share, data_side.share)


@pytest.mark.parametrize("negative", ["pcd(1)", "tempering(1)"])
def test_persistent_chains_are_refused_with_given_layers(negative: str) -> None:
    from dataclasses import replace

    from pgmdsl.runtime.recipe import Negative

    learner = learner_of(MODELS["given"], "negative = cd(1)")
    recipe = replace(learner.recipe, negative=Negative(negative[: negative.index("(")], 1, 10))  # type: ignore[arg-type]
    with pytest.raises(Error, match="given anew"):
        Learner(learner.machine, ("x", "v"), recipe, (), 0)


def test_what_the_pseudolikelihood_cannot_do() -> None:
    from dataclasses import replace

    learner = learner_of(RBM, "negative = cd(1)")
    recipe = replace(learner.recipe, objective="pseudolikelihood")
    with pytest.raises(Error, match="h is hidden"):
        Learner(learner.machine, ("v",), recipe, (), 0)
    with pytest.raises(Error, match="values of v are missing"):
        Learner(learner.machine, ("v", "h"), recipe, (), 0, incomplete=("v",))
