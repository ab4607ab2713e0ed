"""One step of learning for every kind of parameter, against finite differences of the declared terms' likelihood."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import artifact_of, kernels_of, oracle_of, random_data, random_parameters, with_train
from compiled import plain_python
from oracle import finite_gradient, log_probability

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.runtime.learner import Learner
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.masks import prepared
from pgmdsl.runtime.optimise import Rates
from pgmdsl.runtime.recipe import recipe_of

MODELS = {
    "sigma": """
model Sigma
visible v : gaussian[2](sigma = learned) bias b
hidden  h : binary[2]                    bias a
v -- h : W
""",
    "coupled sigma": """
model Coupled
visible v : gaussian[2](sigma = learned) bias b
hidden  g : gaussian[1](sigma = learned) bias c
hidden  h : spin[2]                      bias a
v -- h : W
h -- g : U
""",
    "documents": """
model Documents
visible words : replicated_softmax[3] bias b
visible v     : binary[2]             bias c
hidden  h     : binary[2]             bias a
hidden  k     : binary[1]             bias e
words -- h : W
v     -- k : V
h     -- k : U
""",
    "unscaled documents": """
model Unscaled
visible words : replicated_softmax[3] bias b
visible more  : replicated_softmax[2] bias c
hidden  h     : binary[2]             bias a
hidden  k     : spin[2]               bias e(scale = 1)
words -- h : W
more  -- h : V
words -- k : U
""",
    "lateral": """
model Lateral
visible v : binary[3]     bias b
hidden  h : softmax[2, 2] bias a
v -- v : L
h -- h : J
v -- h : W
""",
    "gaussian lateral": """
model Field
visible v : gaussian[2](sigma = learned) bias b
hidden  h : binary[1]                    bias a
v -- v : L
v -- h : W
""",
    "multiplicative": """
model Gated
visible v : binary[2]  bias b
visible x : softmax[3] bias c
hidden  h : spin[2]    bias a
v * x * h : T
v -- h : W
""",
    "given": """
model Given
given   x : gaussian[2]
visible v : binary[3] bias b
hidden  h : binary[2] bias a
x -- v : B
x -- h : C
v -- h : W
""",
    "tied": """
model Tied
visible v : binary[2] bias b
visible w : binary[2] bias b
hidden  h : binary[2] bias a
v -- h : W
w -- h : W
v -- w : U
""",
    "units of a file": """
model Own
unit tilted {
  param     u > 0, t
  support   x in {-1, 0.5, 2}
  energy    u*x^2 + t*x
  statistic x
}
unit drelu {
  param     gp > 0, gm > 0, tp, tm
  support   x in real
  energy    gp*x^2/2 + tp*x if x > 0 else gm*x^2/2 + tm*x
  statistic x
}
visible v : tilted[2] bias b
hidden  h : drelu[1]  bias a
hidden  k : binary[2] bias c
v -- h : W
v -- k : V
""",
    "counting": """
model Counting
visible v : poisson[1]              bias b
visible u : binomial[1](trials = 3) bias c
hidden  h : binary[1]               bias a
v -- h : W
u -- h : V
""",
    "rectified": """
model Rectified
visible v : relu[1]   bias b
visible u : binary[1] bias c
hidden  h : binary[1] bias a
v -- h : W
u -- h : V
""",
}
EXACT = "positive = exact, negative = exact"


def learner_of(text: str, settings: str, parameters: Any = None, artifact: Any = None, **kwargs: Any) -> Learner:
    artifact = artifact or with_train(text, f"fit {{ updates = 1, batch = 40, {settings} }}")
    values = parameters or random_parameters(artifact, sd=0.4)
    machine = Machine(artifact, kernels_of(artifact), {n: np.array(v, artifact.dtype) for n, v in values.items()})
    observed = [n for n, x in artifact.layers.items() if x.role != "hidden"]
    trained = [n for n, p in artifact.parameters.items() if not p.fixed]
    masks = prepared(artifact, Path())[0]
    for name, mask in masks.items():
        machine.parameters[name][...] *= mask
    return Learner(machine, observed, recipe_of(artifact.phases[0], artifact.sizes), trained, 3, masks=masks, **kwargs)


def put(learner: Learner, data: dict[str, Any]) -> dict[str, Any]:
    """The data as statistics in the learner's buffers, and their means as its offsets."""
    machine, out = learner.machine, {}
    for name, x in data.items():
        out[name] = machine.kernels.statistic[name](machine.p, np.ascontiguousarray(x.reshape(len(x), -1))).copy()
        learner.positive.s[name][: len(x)] = out[name]
    return out


def take_step(
    learner: Learner, data: dict[str, Any], rate: float, weights: Any = None, held: Any = None, **rates: Any
) -> dict[str, Any]:
    """The change of all parameters in one step."""
    cases = len(next(iter(data.values())))
    s = put(learner, data)
    share = np.full(cases, 1 / cases) if weights is None else np.asarray(weights) / np.sum(weights)
    learner.start({n: share @ x for n, x in s.items()}, (0,))
    learner.optimiser.pace.measure(s, share, held or {})
    before = {n: np.array(p) for n, p in learner.machine.parameters.items()}
    weights = None if weights is None else np.asarray(weights, float)
    with plain_python():
        learner.step(cases, weights, 1.0, Rates(rate, 0.0, 0.0, **rates), (0, True), (0, 0), held or {})
    return {n: p - before[n] for n, p in learner.machine.parameters.items()}


def mean_gradient(
    artifact: Artifact, parameters: Any, data: dict[str, Any], weights: Any = None, held: Any = None
) -> dict[str, Any]:
    """Of the mean log-likelihood of the cases, by central differences of the declared terms."""
    model = oracle_of(artifact, parameters)
    cases = len(next(iter(data.values())))
    share = np.full(cases, 1 / cases) if weights is None else np.asarray(weights) / np.sum(weights)
    out = {}
    for name, parameter in artifact.parameters.items():
        if parameter.fixed:
            continue
        total = np.zeros(parameter.shape)
        for i in np.flatnonzero(share):
            row = {n: x[i : i + 1] for n, x in data.items()}
            mask = {n: m[i] for n, m in (held or {}).items() if not m[i].all()}
            total += share[i] * finite_gradient(model, row, name, held=mask)
        out[name] = total
    return out


def statistics_of(learner: Learner) -> dict[str, Any]:
    """The gradient that the learner has gathered, in the model's own parameters."""
    machine, statistics = learner.machine, learner.statistics
    out = {w: g.reshape(machine.parameters[w].shape) for w, g in statistics.gradient.items()}
    for bias, layers in learner.optimiser.biases.items():
        total = sum(machine.kernels.own_factor[n](machine.p) * statistics.delta[n] for n in layers)
        out[bias] = np.reshape(total, machine.parameters[bias].shape)
    return out | {t: g.reshape(machine.parameters[t].shape) for t, g in statistics.slope.items()}


@pytest.mark.parametrize("model", MODELS)
def test_the_gradient_of_every_parameter_is_that_of_the_likelihood(model: str) -> None:
    """With weights of cases; a rate of 0, so that the statistics are those of the parameters at hand."""
    learner = learner_of(MODELS[model], f"centering = off, {EXACT}")
    artifact, data, weights = learner.machine.artifact, random_data(artifact_of(MODELS[model]), 4), [1, 2, 0, 1.5]
    take_step(learner, data, 0.0, weights)
    expected = mean_gradient(artifact, learner.machine.parameters, data, weights)
    found = statistics_of(learner)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("model", ["sigma", "documents", "lateral", "tied", "counting", "rectified", "units of a file"])
def test_the_gradient_with_missing_entries_sums_them_out(model: str) -> None:
    learner = learner_of(MODELS[model], f"centering = off, {EXACT}")
    artifact, data = learner.machine.artifact, random_data(artifact_of(MODELS[model]), 4, seed=2)
    rng = np.random.default_rng(5)
    held = {n: rng.random((4, *artifact.layers[n].dims)) < 0.6 for n in data}
    for name, mask in held.items():
        mask[0] = True
        if artifact.layers[name].support == "one_hot":
            mask[:] = mask[..., :1]
    flat = {n: m.reshape(4, -1) for n, m in held.items()}
    take_step(learner, data, 0.0, held=flat)
    expected = mean_gradient(artifact, learner.machine.parameters, data, held=held)
    for name, gradient in expected.items():
        np.testing.assert_allclose(statistics_of(learner)[name], gradient, rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("negative", ["cd(1)", "gibbs(1)", "pcd(1, chains = 6)", "tempering(1, chains = 6)"])
def test_an_enumerated_positive_phase_goes_with_drawn_states_of_documents(negative: str) -> None:
    """Lengths are not modelled, so that no gradient is left of them, however long the chains' documents are."""
    learner = learner_of(MODELS["documents"], f"centering = off, positive = exact, negative = {negative}")
    if learner.negative.start_states:
        learner.negative.start_states["words"][:] = [3, 2, 2]
    take_step(learner, random_data(learner.machine.artifact, 4), 0.0)
    assert abs(learner.statistics.delta["words"].sum()) < 1e-12


# --- centred coordinates ----------------------------------------------------------------------------------


def plain(artifact: Artifact, centred: dict[str, Any], offsets: dict[str, Any]) -> dict[str, Any]:
    """The model's own parameters at a point of the centred coordinates; `offsets` are of mean states.

    A weight and an own parameter, by its logarithm where it is positive, are coordinates; a bias is one with the
    statistics of neighbours less their offsets, of documents their frequencies where the length is a factor.
    """
    out = {}
    for name, value in centred.items():
        out[name] = np.exp(value) if artifact.parameters[name].positive else value.copy()
    factor = {n: 1 / out[x.sigma] if x.sigma in out else np.ones(x.dims) for n, x in artifact.layers.items()}
    shares: dict[str, list[Any]] = {}
    for here, layer in artifact.layers.items():
        if layer.bias is None:
            continue
        shift = np.zeros(layer.size)
        for edge in artifact.edges:
            if here not in edge.layers or len(edge.layers) > 2:
                continue
            there = edge.layers[1 - edge.layers.index(here)]
            if layer.counted not in ((), (there,)):
                continue
            w = out[edge.weight].reshape([artifact.layers[n].size for n in edge.layers])
            offset = (offsets[there] * factor[there]).ravel()
            offset = offset / offset.sum() if layer.counted else offset
            shift += (w if edge.layers[0] == here else w.T) @ offset
        shares.setdefault(layer.bias, []).append(shift.reshape(layer.dims) / factor[here])
    return {n: v - np.mean(shares[n], axis=0) if n in shares else v for n, v in out.items()}


def centred(artifact: Artifact, parameters: dict[str, Any], offsets: dict[str, Any]) -> dict[str, Any]:
    """The point at which the model has these parameters."""
    out = {n: np.log(v) if artifact.parameters[n].positive else np.array(v) for n, v in parameters.items()}
    shares = plain(artifact, out, offsets)
    return {n: v + (v - shares[n]) if artifact.parameters[n].kind == "bias" else v for n, v in out.items()}


def expected_step(learner: Learner, parameters: dict[str, Any], gradient: dict[str, Any], offsets: Any) -> Any:
    """J P J' g: the gradient in centred coordinates, over the squares of the units that these move in."""
    artifact, optimiser = learner.machine.artifact, learner.optimiser
    at = centred(artifact, parameters, offsets)
    columns, scales = [], []
    for name, value in at.items():
        for index in np.ndindex(*value.shape):
            step = 1e-5 * (np.arange(value.size).reshape(value.shape) == np.ravel_multi_index(index, value.shape))
            if artifact.parameters[name].symmetric:
                half = len(index) // 2
                mirror = index[half:] + index[:half]
                step[mirror] = 1e-5
                if learner.optimiser._masks[name].reshape(value.shape)[index] == 0:
                    continue
            sides = [plain(artifact, {**at, name: at[name] + sign * step}, offsets) for sign in (1, -1)]
            columns.append(np.concatenate([(sides[0][n] - sides[1][n]).ravel() / 2e-5 for n in at]))
            scales.append(scale_of(learner, name, index) / (2 if artifact.parameters[name].symmetric else 1))
    jacobian = np.array(columns).T
    flat = np.concatenate([shared(artifact, n, gradient[n]).ravel() for n in at])
    direction = jacobian @ (np.array(scales) * (jacobian.T @ flat))
    sizes = np.cumsum([v.size for v in at.values()])[:-1]
    assert optimiser.trained
    return {n: x.reshape(at[n].shape) for n, x in zip(at, np.split(direction, sizes), strict=True)}


def shared(artifact: Artifact, name: str, gradient: Any) -> Any:
    """The gradient of each entry on its own: of a symmetric weight's shared entry, half goes to each."""
    return gradient / 2 if artifact.parameters[name].symmetric else gradient


def scale_of(learner: Learner, name: str, index: tuple[int, ...]) -> float:
    """1 over the square of the unit that a parameter's entry moves in."""
    optimiser = learner.optimiser
    parameter = learner.machine.artifact.parameters[name]
    if parameter.kind == "weight":
        return float(1 / optimiser.pace.of_weight(name).item())
    if parameter.kind == "unit":
        return float(1 / optimiser.pace.information[name].reshape(parameter.shape)[index])
    return float(1 / optimiser.pace.of_bias(name).reshape(parameter.shape)[index])


@pytest.mark.parametrize("model", MODELS)
def test_a_centred_step_is_the_gradient_in_centred_coordinates(model: str) -> None:
    learner = learner_of(MODELS[model], EXACT)
    artifact, data, weights = learner.machine.artifact, random_data(artifact_of(MODELS[model]), 4), [1, 2, 0, 1.5]
    parameters = {n: np.array(p) for n, p in learner.machine.parameters.items()}
    change = take_step(learner, data, 1e-6, weights)
    offsets = {
        n: (mean / learner.machine.kernels.own_factor[n](learner.machine.p)).reshape(artifact.layers[n].dims)
        for n, mean in learner.running.items()
    }
    trained = {n: p for n, p in parameters.items() if not artifact.parameters[n].fixed}
    gradient = mean_gradient(artifact, parameters, data, weights)
    for name, direction in expected_step(learner, trained, gradient, offsets).items():
        np.testing.assert_allclose(change[name] / 1e-6, direction, rtol=2e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("centering", ["on", "off", "standardise"])
@pytest.mark.parametrize("model", MODELS)
def test_every_step_of_exact_learning_raises_the_likelihood(model: str, centering: str) -> None:
    learner = learner_of(MODELS[model], f"centering = {centering}, {EXACT}")
    artifact, data = learner.machine.artifact, random_data(artifact_of(MODELS[model]), 5, seed=3)
    s = put(learner, data)
    learner.start({n: x.mean(0) for n, x in s.items()}, (0,))
    learner.optimiser.pace.measure(s, np.full(5, 0.2), {})

    def likelihood() -> float:
        model = oracle_of(artifact, learner.machine.parameters)
        return float(np.mean([log_probability(model, {n: x[i : i + 1] for n, x in data.items()}) for i in range(5)]))

    values, rate = [likelihood()], 0.002 if centering == "standardise" else 0.02
    for step in range(4):
        put(learner, data)
        learner.step(5, None, 1.0, Rates(rate, 0.0, 0.0), (step, False), (0, step))
        values.append(likelihood())
    assert values == sorted(values), values
    assert values[-1] > values[0] + 1e-4
