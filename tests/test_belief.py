"""Models with directed edges against enumeration of their declared terms, written apart from the compiler."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, log_expit, logsumexp, softmax
from test_resume import ctrl_c, interrupt_before

import pgmdsl
from pgmdsl.runtime.belief import BeliefNet
from pgmdsl.runtime.belief_learner import BeliefLearner
from pgmdsl.runtime.estimators.evidence import gather
from pgmdsl.runtime.estimators.recognition import exact_sums, log_weights
from pgmdsl.runtime.learner import Learner
from pgmdsl.runtime.optimise import Rates
from pgmdsl.runtime.recipe import Negative, Positive, recipe_of

Array = NDArray[Any]
Arrays = dict[str, Array]

DBN = """
model DBN(D = 3, F1 = 3, F2 = 2, F3 = 2, K = 3)
visible v  : binary[D]   bias b
hidden  h1 : binary[F1]  bias a1
hidden  h2 : binary[F2]  bias a2
visible y  : softmax[K]  bias c
hidden  h3 : binary[F3]  bias a3
h1 -> v  : W1
h2 -> h1 : W2
h2 -- h3 : W3
y  -- h3 : U
v  ~> h1 : R1
h1 ~> h2 : R2
train {
  greedy { epochs = 1 }
  wake_sleep { epochs = 1, negative = cd(1) }
}
"""

# Two paths to one child, a child with a sibling, spins, labels and a layer that jumps over another; no recognition.
MIXED = """
model Mixed(D = 2, F = 2, G = 2)
visible v : binary[D]       bias b
visible x : softmax[D, 3]   bias e
hidden  h : spin[F]         bias a
hidden  g : softmax[3]      bias c
h -> v : W
g -> v : V
h -> x : M
g -> h : U
train { fit { epochs = 1, positive = gibbs(2) } }
"""


def compiled(text: str, **sizes: int) -> pgmdsl.Model:
    return pgmdsl.compile_text(text, dtype="float64", **sizes)


def random_parameters(model: pgmdsl.Model, seed: int = 1, scale: float = 1.0) -> Arrays:
    rng = np.random.default_rng(seed)
    return {n: scale * rng.normal(size=p.shape) for n, p in model.artifact.parameters.items()}


def states_of(model: pgmdsl.Model, layer: str) -> Iterator[Array]:
    found = model.artifact.layers[layer]
    if found.support == "one_hot":
        sites = itertools.product(np.eye(found.states), repeat=found.size // found.states)
        return (np.array(site).reshape(found.dims) for site in sites)
    return (np.array(x, float).reshape(found.dims) for x in itertools.product(found.values, repeat=found.size))


def all_states(model: pgmdsl.Model) -> Arrays:
    rows = list(itertools.product(*(states_of(model, n) for n in model.layers)))
    return {n: np.stack([row[k] for row in rows]) for k, n in enumerate(model.layers)}


def log_joint_dbn(p: Mapping[str, Array], s: Mapping[str, Array]) -> Array:
    """Salakhutdinov (2015), eqs. 20-22, with every bias and the label layer, up to log Z."""

    def bernoulli(x: Array, field: Array) -> Array:
        return (x * log_expit(field) + (1 - x) * log_expit(-field)).sum(axis=1)

    core = s["h2"] @ p["a2"] + s["y"] @ p["c"] + s["h3"] @ p["a3"]
    core = (
        core + np.einsum("ci,ij,cj->c", s["h2"], p["W3"], s["h3"]) + np.einsum("ci,ij,cj->c", s["y"], p["U"], s["h3"])
    )
    lower = bernoulli(s["v"], p["b"] + s["h1"] @ p["W1"].T) + bernoulli(s["h1"], p["a1"] + s["h2"] @ p["W2"].T)
    return np.asarray(core + lower)


def log_joint_mixed(p: Mapping[str, Array], s: Mapping[str, Array]) -> Array:
    field = p["b"] + s["h"] @ p["W"].T + s["g"] @ p["V"].T
    out = (s["v"] * log_expit(field) + (1 - s["v"]) * log_expit(-field)).sum(axis=1)
    logits = p["e"] + np.einsum("ikj,cj->cik", p["M"], s["h"])
    out = out + (s["x"] * np.log(softmax(logits, axis=2))).sum(axis=(1, 2))
    out = out + log_expit(2 * s["h"] * (p["a"] + s["g"] @ p["U"].T)).sum(axis=1)
    return np.asarray(out + s["g"] @ p["c"])


MODELS = {"dbn": (DBN, log_joint_dbn), "mixed": (MIXED, log_joint_mixed)}


@pytest.mark.parametrize("name", MODELS)
def test_the_joint_is_that_of_the_declared_terms(name: str) -> None:
    text, oracle = MODELS[name]
    model = compiled(text)
    parameters, states = random_parameters(model), all_states(model)
    assert np.allclose(model.log_joint(parameters, states), oracle(parameters, states), atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_the_joint_sums_to_the_partition_function_of_the_core(name: str) -> None:
    text, oracle = MODELS[name]
    model = compiled(text)
    parameters, states = random_parameters(model), all_states(model)
    z = pgmdsl.log_partition(model, parameters).value
    assert abs(logsumexp(oracle(parameters, states)) - z) < 1e-10


@pytest.mark.parametrize(("name", "clamp"), [("dbn", ("v", "y")), ("dbn", ("v",)), ("dbn", ("y",)), ("dbn", ()),
                                             ("mixed", ("v", "x")), ("mixed", ("x",)), ("mixed", ())])  # fmt: skip
def test_gibbs_sampling_leaves_the_joint_as_it_is(name: str, clamp: tuple[str, ...]) -> None:
    text, oracle = MODELS[name]
    model = compiled(text)
    parameters, states = random_parameters(model), all_states(model)
    p = np.exp(oracle(parameters, states) - logsumexp(oracle(parameters, states)))
    cases = 30_000
    start = np.random.default_rng(0).choice(len(p), size=cases, p=p)
    after = model.gibbs(parameters, {n: x[start] for n, x in states.items()}, steps=2, seed=5, clamp=clamp)

    def coded(s: Mapping[str, Array]) -> Array:
        flat = np.concatenate([s[n].reshape(len(s[n]), -1) for n in model.layers], axis=1) > 0
        return np.asarray(flat @ (1 << np.arange(flat.shape[1])))

    order = np.argsort(coded(states))
    seen = np.bincount(order[np.searchsorted(coded(states)[order], coded(after))], minlength=len(p))
    likely = p * cases > 5
    excess = ((seen - p * cases)[likely] ** 2 / (p * cases)[likely]).sum() - likely.sum()
    assert abs(excess) < 4 * np.sqrt(2 * likely.sum())


def net_of(model: pgmdsl.Model, parameters: Arrays) -> BeliefNet:
    net = model._arrays.machine(parameters)
    assert isinstance(net, BeliefNet)
    return net


def same_as(states: Mapping[str, Array], known: Mapping[str, Array]) -> NDArray[np.bool_]:
    """Which states have these values."""
    equal = [(states[n] == x).reshape(len(states[n]), -1).all(axis=1) for n, x in known.items()]
    return np.asarray(np.all(equal, axis=0))


@pytest.mark.parametrize("name", MODELS)
def test_what_is_hidden_is_summed_out_exactly(name: str) -> None:
    text, oracle = MODELS[name]
    model = compiled(text)
    parameters, states = random_parameters(model), all_states(model)
    visible = [n for n in model.layers if model.artifact.layers[n].role == "visible"]
    observed = {n: states[n][::7] for n in visible}
    every = oracle(parameters, states)
    wanted = []
    for row in range(len(observed[visible[0]])):
        same = np.all(
            [np.all(states[n] == observed[n][row], axis=tuple(range(1, states[n].ndim))) for n in visible], axis=0
        )
        wanted.append(logsumexp(every[same]))
    net = net_of(model, parameters)
    evidence = gather(net, {n: x.reshape(len(x), -1) for n, x in observed.items()})
    assert np.allclose(exact_sums(evidence), wanted, atol=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_missing_entries_are_summed_out(name: str) -> None:
    text, oracle = MODELS[name]
    model = compiled(text)
    parameters, states = random_parameters(model), all_states(model)
    visible = [n for n in model.layers if model.artifact.layers[n].role == "visible"]
    net = net_of(model, parameters)
    observed = {n: states[n][:1] for n in visible}
    mask = np.ones((1, net.artifact.layers["v"].size), bool)
    mask[0, 0] = False
    every = oracle(parameters, states)
    same = np.all(
        [np.all(states[n] == observed[n][0], axis=tuple(range(1, states[n].ndim))) for n in visible[1:]], axis=0
    )
    same &= np.all(states["v"][:, 1:] == observed["v"][0, 1:], axis=1)
    evidence = gather(net, {n: x.reshape(1, -1) for n, x in observed.items()}, {"v": mask})
    assert np.allclose(exact_sums(evidence), logsumexp(every[same]), atol=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_draws_of_recognition_are_weighted_without_bias(name: str) -> None:
    """E_q[p(v, h) / q(h | v)] = p(v), within 4 standard errors; and the mean of the logs is below its log."""
    text, _ = MODELS[name]
    model = compiled(text)
    parameters = random_parameters(model, scale=0.5)
    net = net_of(model, parameters)
    states = all_states(model)
    visible = [n for n in model.layers if model.artifact.layers[n].role == "visible"]
    observed = {n: states[n][5:6].reshape(1, -1) for n in visible}
    exact = exact_sums(gather(net, observed))[0]
    weights = log_weights(gather(net, observed), samples=4000)[:, 0]
    ratio = np.exp(weights - exact)
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(len(ratio))
    assert weights.mean() < exact


RATES = Rates(rate=1.0, momentum=0.0, decay=0.0)


def learner_of(model: pgmdsl.Model, parameters: Arrays, observed: tuple[str, ...], phase: int = -1) -> BeliefLearner:
    recipe = replace(recipe_of(model.artifact.phases[phase], model.sizes), centering="off", batch=64)
    trained = list(model.artifact.parameters)
    sleeps = model.artifact.phases[phase].kind == "wake_sleep"
    return BeliefLearner(net_of(model, parameters), observed, recipe, trained, 0, sleeps=sleeps)


@pytest.mark.parametrize("name", MODELS)
def test_a_step_follows_the_gradient_of_the_log_likelihood(name: str) -> None:
    """With every layer observed and an exact negative phase, against finite differences of the mean log p."""
    text, oracle = MODELS[name]
    model = compiled(text.replace("cd(1)", "exact").replace("wake_sleep {", "wake_sleep { batch = 64, "))
    parameters, states = random_parameters(model), all_states(model)
    rows = np.random.default_rng(2).choice(len(states["v"]), 64)
    batch = {n: x[rows] for n, x in states.items()}

    def mean_log_p(p: Arrays) -> float:
        return float(oracle(p, batch).mean() - logsumexp(oracle(p, states)))

    learner = learner_of(model, {n: x.copy() for n, x in parameters.items()}, tuple(model.layers))
    learner.sleeps = False
    for layer, x in batch.items():
        learner.states[layer][:] = x.reshape(len(x), -1)
    for part in learner.parts.values():
        part.start({n: learner.states[n].mean(axis=0) for n in part.observed}, ())
    before = {n: x.copy() for n, x in learner.machine.parameters.items()}
    for part, inner in learner._waking():
        for layer in inner.observed:
            inner.states[layer][:] = learner.states[layer]
        inner.step(64, None, 1.0, RATES, (0, False), (part,))
    generative = [n for n in parameters if not n.startswith(("R", "r_"))]
    for n in generative:
        step = learner.machine.parameters[n] - before[n]
        flat = before[n].reshape(-1)
        for k in range(0, flat.size, max(1, flat.size // 4)):
            wanted = 0.0
            for sign in (1, -1):
                moved = {m: x.copy() for m, x in before.items()}
                moved[n].reshape(-1)[k] += sign * 1e-5
                wanted += sign * mean_log_p(moved) / 2e-5
            assert abs(step.reshape(-1)[k] - wanted) < 1e-7, (n, k)
    for n in set(parameters) - set(generative):
        assert np.array_equal(learner.machine.parameters[n], before[n])


def test_wake_touches_the_model_and_sleep_its_recognition() -> None:
    model = compiled(DBN)
    parameters, states = random_parameters(model), all_states(model)
    learner = learner_of(model, parameters, ("v", "y"))
    for layer in ("v", "y"):
        learner.states[layer][:] = states[layer][:64].reshape(64, -1)
    for part in learner.parts.values():
        part.start({n: np.full(learner.states[n].shape[1], 0.5) for n in part.observed}, ())
    touched = {part: set(inner.trained) for part, inner in learner.parts.items()}
    assert touched == {
        "v": {"W1", "b"},
        "h1": {"W2", "a1"},
        "core": {"W3", "U", "a2", "c", "a3"},
        "q h1": {"R1", "r_h1"},
        "q h2": {"R2", "r_h2"},
    }
    before = {n: x.copy() for n, x in learner.machine.parameters.items()}
    learner.step(64, None, 1.0, RATES, (0, False), (0,))
    assert all(not np.array_equal(x, before[n]) for n, x in learner.machine.parameters.items())


def test_sleep_follows_the_delta_rule_of_recognition() -> None:
    """Its step is the mean of s(source) (s(target) - q)' over states of the model."""
    model = compiled(DBN)
    net = net_of(model, random_parameters(model))
    part = net.recognition["h1"]
    recipe = replace(recipe_of(model.artifact.phases[-1], model.sizes), centering="off", batch=50)
    recipe = replace(recipe, positive=Positive("exact"), negative=Negative("conditional"))
    learner = Learner(part, part.layers, recipe, ["R1", "r_h1"], 0)
    rng = np.random.default_rng(0)
    v, h = (rng.random((50, 3)) < 0.5).astype(float), (rng.random((50, 3)) < 0.5).astype(float)
    learner.start({"v": v.mean(axis=0), "h1": h.mean(axis=0)}, ())
    learner.states["v"][:], learner.states["h1"][:] = v, h
    weight, bias = net.parameters["R1"].copy(), net.parameters["r_h1"].copy()
    learner.step(50, None, 1.0, RATES, (0, False), ())
    left = h - 1 / (1 + np.exp(-(v @ weight + bias)))
    assert np.allclose(net.parameters["R1"] - weight, v.T @ left / 50, atol=1e-12)
    assert np.allclose(net.parameters["r_h1"] - bias, left.mean(axis=0), atol=1e-12)


TIED = """
model Tied(D = 3, F = 2)
visible v  : binary[D]  bias b
hidden  h1 : binary[F]  bias a
{layers}
{edges}
"""


def marginal(model: pgmdsl.Model, parameters: Arrays) -> Array:
    """log P(v, h1) of every state of these."""
    states = all_states(model)
    every = model.log_joint(parameters, states)
    every = every - logsumexp(every)
    pair = np.concatenate([states["v"], states["h1"]], axis=1)
    number = pair @ (1 << np.arange(pair.shape[1]))
    return np.array([logsumexp(every[number == k]) for k in range(2 ** pair.shape[1])])


def test_an_rbm_is_a_net_of_any_depth_with_tied_weights() -> None:
    """Textbook 9.3: unrolling 1, 2, 3 tied layers leaves P(v, h1) as it is, biases included."""
    more = ["hidden h2 : binary[D] bias b", "hidden h3 : binary[F] bias a", "hidden h4 : binary[D] bias b"]
    down = ["h1 -> v : W", "h2 -> h1 : W'", "h3 -> h2 : W"]
    top = ["v -- h1 : W", "h2 -- h1 : W", "h2 -- h3 : W", "h4 -- h3 : W"]
    found = []
    for depth in range(4):
        text = TIED.format(layers="\n".join(more[:depth]), edges="\n".join([*down[:depth], top[depth]]))
        model = compiled(text)
        found.append(marginal(model, random_parameters(model, seed=3)))
    for other in found[1:]:
        assert np.allclose(other, found[0], atol=1e-12)


def test_the_bound_is_tight_at_the_tied_start_and_below_afterwards() -> None:
    layers, edges = "hidden h2 : binary[D] bias b2", "h1 -> v : W1\nh1 -- h2 : W2"
    model = compiled(TIED.format(layers=layers, edges=edges))
    parameters = random_parameters(model, seed=4)
    parameters["W2"], parameters["b2"] = parameters["W1"].T.copy(), parameters["b"].copy()
    observed = {"v": all_states(model)["v"][::4][:8]}
    net = net_of(model, parameters)
    evidence = gather(net, observed)
    weights = log_weights(evidence, samples=50)
    assert np.allclose(weights, exact_sums(evidence), atol=1e-12)  # every draw of the posterior has the same weight
    parameters["W2"] = parameters["W2"] + 0.5
    evidence = gather(net_of(model, parameters), observed)
    assert (exact_sums(evidence) - log_weights(evidence, samples=2000).mean(axis=0) > -1e-3).all()


def test_the_deterministic_pass_agrees_with_recognition_at_the_first_layer_only() -> None:
    model = compiled(DBN)
    net = net_of(model, random_parameters(model, scale=3.0))
    cases = 20_000
    data = {"v": np.tile([1.0, 0.0, 1.0], (cases, 1)), "y": np.tile([1.0, 0.0, 0.0], (cases, 1))}

    def passed(seed: int | None) -> Arrays:
        s = net.new_state(cases)
        for n, x in data.items():
            s[n][:] = x
        net.pass_up(s, seed, ())
        return {n: s[n].mean(axis=0) for n in ("h1", "h2")}

    means, drawn, again = passed(None), passed(1), passed(None)
    assert all(np.array_equal(means[n], again[n]) for n in means)
    error = 4 * 0.5 / np.sqrt(cases)
    assert np.abs(means["h1"] - drawn["h1"]).max() < error
    assert np.abs(means["h2"] - drawn["h2"]).max() > 3 * error


def small_data() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {"v": (rng.random((200, 3)) < 0.4).astype(np.uint8), "y": np.eye(3)[rng.integers(0, 3, 200)]}


def test_greedy_from_the_transpose_begins_as_good_as_the_machine_below(tmp_path: Path) -> None:
    """Textbook 9.2: with W2 = W1' and the biases carried over, the net's P(v, h1) is the RBM's."""
    text = TIED.format(layers="hidden h2 : binary[D] bias b2", edges="h1 -> v : W1(init = normal(1))\nh1 -- h2 : W2")
    phases = "train { greedy h1 { epochs = 5, rate = 0.5 }\ngreedy h2 { start = transpose, updates = 1, rate = 0 } }"
    model = compiled(text + phases)
    p = pgmdsl.train(model, {"v": small_data()["v"]}, out=tmp_path / "run").parameters
    assert np.array_equal(p["W2"], p["W1"].T)
    assert np.array_equal(p["b2"], p["b"])
    assert np.abs(p["W1"]).max() > 0.1
    rbm = compiled(TIED.format(layers="", edges="v -- h1 : W1"))
    assert np.allclose(marginal(model, p), marginal(rbm, {n: p[n] for n in ("W1", "a", "b")}), atol=1e-12)


def test_greedy_leaves_recognition_as_its_stages_are(tmp_path: Path) -> None:
    text = DBN.replace("wake_sleep { epochs = 1, negative = cd(1) }", "")
    p = pgmdsl.train(compiled(text), small_data(), out=tmp_path / "run").parameters
    assert np.array_equal(p["R1"], p["W1"])
    assert np.array_equal(p["R2"], p["W2"])
    assert not np.array_equal(p["r_h1"], p["a1"])


@pytest.mark.parametrize("number", [1, 3, 7, 8, 9, 11])
def test_ctrl_c_and_resume_give_the_uninterrupted_run(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = "wake_sleep { updates = 6, momentum = 0.5, average = 0.9, negative = pcd(2, chains = 7) }"
    model = compiled(DBN[: DBN.index("train")] + "train {\nbatch = 30\ngreedy { updates = 2 }\n" + sleep + "\n}")
    data = small_data()
    whole = pgmdsl.train(model, data, out=tmp_path / "whole")
    interrupt_before(monkeypatch, number, ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        pgmdsl.train(model, data, out=tmp_path / "part")
    part = pgmdsl.resume(tmp_path / "part", data)
    assert all(np.array_equal(x, part.parameters[n]) for n, x in whole.parameters.items())
    assert (tmp_path / "whole/metrics.jsonl").read_bytes() == (tmp_path / "part/metrics.jsonl").read_bytes()


def test_labels_follow_from_the_top_given_a_pass_up(tmp_path: Path) -> None:
    """Hinton, Osindero and Teh (2006), section 7: p(y = k | x) = softmax(c_k + sum softplus(a + W'x + U_k)).

    The mean over passes is compared with that over all states of the pass, within 4 standard errors.
    """
    phases = "train { wake_sleep { updates = 1, rate = 0 } }"
    model, data = compiled(DBN[: DBN.index("train")] + phases), small_data()
    run = pgmdsl.train(model, data, init=random_parameters(model, seed=10, scale=1.5), out=tmp_path / "run")
    p, v = run.parameters, data["v"].astype(float)

    def labels(x: Array) -> Array:
        fields = (x @ p["W3"] + p["a3"])[:, None] + p["U"]
        return np.asarray(softmax(p["c"] + np.logaddexp(0, fields).sum(axis=2), axis=1))

    up1 = expit(v @ p["R1"] + p["r_h1"])
    found = run.classify(data, by="posterior").answer.probabilities
    assert np.allclose(found, labels(expit(up1 @ p["R2"] + p["r_h2"])), atol=1e-10)
    wanted = np.zeros_like(found)
    for h1, h2 in itertools.product(states_of(model, "h1"), states_of(model, "h2")):
        up2 = expit(h1 @ p["R2"] + p["r_h2"])
        q = np.where(h1, up1, 1 - up1).prod(axis=1) * np.where(h2, up2, 1 - up2).prod()
        wanted += q[:, None] * labels(h2[None])
    drawn = run.classify(data, by="passes").answer.probabilities - wanted
    assert np.abs(drawn.mean(axis=0)).max() < 4 * drawn.std(axis=0).max() / np.sqrt(len(drawn))
    assert drawn.std() > 0.01  # so that the comparison says something
    neutral = run.classify(data, by="neutral").answer.probabilities
    assert np.allclose(neutral.sum(axis=1), 1)
    with pytest.raises(pgmdsl.Error, match="no method 'pases': did you mean passes"):
        run.classify(data, by="pases")


def test_the_delta_rules_of_a_tied_net_telescope() -> None:
    """Textbook 9.3: v0 h0 - v1 h0 + v1 h0 - ... of all layers is the rule of the RBM, here with its top summed."""
    layers = "hidden h2 : binary[D] bias b\nhidden h3 : binary[F] bias a\nhidden h4 : binary[D] bias b"
    edges = "h1 -> v : W\nh2 -> h1 : W'\nh3 -> h2 : W\nh4 -- h3 : W"
    net, rbm = compiled(TIED.format(layers=layers, edges=edges)), compiled(TIED.format(layers="", edges="v -- h1 : W"))
    parameters = random_parameters(net, seed=6)
    one = np.array([[1.0, 0.0, 1.0]])
    ours, its = gradient_of_log(net, parameters, one), gradient_of_log(rbm, parameters, one)
    for n, value in its.items():
        assert np.allclose(ours[n], value, atol=1e-10)


def gradient_of_log(model: pgmdsl.Model, parameters: Arrays, v: Array) -> Arrays:
    """The gradient of log P(v) by enumeration: every state in its phases, weighted by its probability there."""
    states = all_states(model)
    joint = model.log_joint(parameters, states)
    seen = np.flatnonzero((states["v"] == v).all(axis=1))
    posterior, prior = np.exp(joint[seen] - logsumexp(joint[seen])), np.exp(joint - logsumexp(joint))

    def phase(rows: Array, share: Array, other: int) -> Arrays:
        """The mean over states of the gradient at each against the one with number `other`."""
        fixed = {n: x[other : other + 1] for n, x in states.items()}
        each = [model.gradient(parameters, {n: x[k : k + 1] for n, x in states.items()}, fixed) for k in rows]
        return {n: np.tensordot(share, np.stack([g[n] for g in each]), 1) for n in each[0]}

    negative = [
        model.gradient(parameters, {n: x[:1] for n, x in states.items()}, {n: x[k : k + 1] for n, x in states.items()})
        for k in range(len(joint))
    ]
    first = model.gradient(parameters, {n: x[:1] for n, x in states.items()}, {n: x[:1] for n, x in states.items()})
    out = phase(seen, posterior, 0)
    for n in out:
        out[n] = out[n] + np.tensordot(prior, np.stack([g[n] for g in negative]), 1) - first[n]
    return out


def test_contrastive_divergence_with_a_smoothed_reconstruction() -> None:
    """Textbook section 4, CD-1 of the Na slides: v_n g(W'v_n + a)' - v^ h^', with v^ and h^ probabilities."""
    model = compiled(TIED.format(layers="", edges="v -- h1 : W"))
    p = random_parameters(model, seed=7)
    v = np.array([[1.0, 0.0, 1.0]])
    start = model.sample("h1", p, {"v": v}, seed=1)
    back = expit(start @ p["W"].T + p["b"])
    again, first = expit(back @ p["W"] + p["a"]), expit(v @ p["W"] + p["a"])
    assert np.allclose(model.mean("v", p, {"h1": start}), back, atol=1e-12)
    step = model.gradient(p, {"v": v, "h1": first}, {"v": back, "h1": again})
    assert np.allclose(step["W"], v.T @ first - back.T @ again, atol=1e-12)
    assert np.allclose(step["a"], (first - again)[0], atol=1e-12)
    assert np.allclose(step["b"], (v - back)[0], atol=1e-12)


def test_missing_labels_are_drawn_given_what_is_recognised() -> None:
    """In wake-sleep, against the posterior of the top averaged over all states of the pass up."""
    model = compiled(DBN.replace("wake_sleep {", "wake_sleep { batch = 20000, "))
    p = random_parameters(model, seed=8)
    learner = BeliefLearner(
        net_of(model, p), ("v", "y"), recipe_of(model.artifact.phases[-1], model.sizes), list(p), 0, sleeps=True
    )
    v, s = np.array([1.0, 0.0, 1.0]), learner.states
    s["v"][:], s["y"][:] = v, [1, 0, 0]
    learner._fill(s, learner._fields, (0,), {"y": np.zeros(s["y"].shape, bool)})
    wanted = np.zeros(3)
    for h1, h2 in itertools.product(states_of(model, "h1"), states_of(model, "h2")):
        q1, q2 = expit(v @ p["R1"] + p["r_h1"]), expit(h1 @ p["R2"] + p["r_h2"])
        q = np.prod(np.where(h1, q1, 1 - q1)) * np.prod(np.where(h2, q2, 1 - q2))
        wanted += q * softmax(p["c"] + np.logaddexp(0, h2 @ p["W3"] + p["a3"] + p["U"]).sum(axis=1))
    error = 4 * np.sqrt(wanted * (1 - wanted) / len(s["y"]))
    assert (np.abs(s["y"].mean(axis=0) - wanted) < error).all()
