"""Networks grown from models begin as the models' own inference: mean field, or the stack's deterministic pass."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from builders import artifact_of
from network_models import (
    AUTOENCODE,
    BELIEF,
    BROAD,
    CHAIN,
    CLASSIFY,
    DOCUMENTS,
    LABELS_ABOVE,
    PATHWAYS,
    STACK,
    every,
    grown_from,
)
from scipy import stats

from pgmdsl.runtime.examples import Examples, mean_field_means
from pgmdsl.runtime.network import grown, masks_of, shapes_of, start_at_random, start_from_model

torch = pytest.importorskip("torch", reason="networks need PyTorch: pip install 'pgmdsl[torch]'")
from pgmdsl.runtime.torch_export import module_of_data  # noqa: E402
from pgmdsl.runtime.torch_network import NetworkModule, network_outputs, tensors  # noqa: E402
from pgmdsl.runtime.torch_units import Units  # noqa: E402


def module_of(text: str) -> tuple[NetworkModule, Examples]:
    network, machine, data = grown_from(text)
    module = NetworkModule(network, machine.artifact, start_from_model(network, machine, machine.lengths))
    return module, Examples(network, machine, data, 0)


def values_of(module: NetworkModule, examples: Examples) -> dict[str, Any]:
    with torch.no_grad():
        _, values = module.fields(*tensors(examples.inputs(every(examples.data)), examples.machine.dtype))
    return {n: x.numpy() for n, x in values.items()}


def observed_in(examples: Examples) -> dict[str, Any]:
    data = examples.data
    return {n: x.expected(data.rows) for n, x in data.columns.items() if n != examples.network.target}


# --- classifiers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [CHAIN, LABELS_ABOVE, PATHWAYS, BROAD], ids=["chain", "labels", "pathways", "broad"])
def test_a_classifier_begins_at_the_mean_field_means(text: str) -> None:
    module, examples = module_of(text + CLASSIFY)
    values = values_of(module, examples)
    means = mean_field_means(examples.machine, observed_in(examples), "y")
    nodes = [node.name for node in module.network.nodes if node.name != "y"]
    assert len(nodes) >= 3
    for name in nodes:
        np.testing.assert_allclose(values[name], means[name], atol=1e-9)
        assert np.ptp(means[name], axis=0).max() > 1e-3


@pytest.mark.parametrize("text", [CHAIN, PATHWAYS], ids=["chain", "pathways"])
def test_without_the_means_it_would_not(text: str) -> None:
    module, examples = module_of(text + CLASSIFY)
    inputs = tensors(examples.inputs(every(examples.data)), examples.machine.dtype)
    data = len(module.network.inputs)
    with torch.no_grad():
        _, values = module.fields(*inputs[:data], *(0 * x for x in inputs[data:]))
    means = mean_field_means(examples.machine, observed_in(examples), "y")
    first = module.network.nodes[0].name
    assert np.abs(values[first].numpy() - means[first]).max() > 1e-3


def test_labels_start_from_the_model_s_own_edges() -> None:
    module, examples = module_of(LABELS_ABOVE + CLASSIFY)
    values, p = values_of(module, examples), examples.machine.p
    field = p["by"] + values["h3"] @ p["U"]
    shares = np.exp(field) / np.exp(field).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(values["y"], shares, rtol=1e-12)


def test_labels_without_edges_hear_the_topmost_layer_and_start_at_their_bias() -> None:
    module, examples = module_of(CHAIN + CLASSIFY)
    (link,) = module.network.node("y").links
    assert link.source == "h3"
    shares = np.exp(examples.machine.p["by"])
    np.testing.assert_allclose(values_of(module, examples)["y"], np.tile(shares / shares.sum(), (7, 1)))


def test_the_labels_are_not_looked_at() -> None:
    module, examples = module_of(LABELS_ABOVE + CLASSIFY)
    before = values_of(module, examples)["y"]
    columns = dict(examples.data.columns)
    columns["y"].values[:] = columns["y"].values[::-1].copy()
    fresh = Examples(examples.network, examples.machine, examples.data, 0)
    np.testing.assert_array_equal(values_of(module, fresh)["y"], before)


def test_a_random_twin_has_the_same_layers_and_hears_nothing_of_the_model() -> None:
    artifact = artifact_of(CHAIN + CLASSIFY.replace("epochs = 1", "start = random"))
    twin, network = grown(artifact, 0), grown(artifact_of(CHAIN + CLASSIFY), 0)
    assert [node.name for node in twin.nodes] == [node.name for node in network.nodes]
    assert twin.inputs == network.inputs == ("v",)
    assert twin.means == ()
    assert network.means == ("h2", "h3")
    _, machine, _ = grown_from(CHAIN + CLASSIFY)
    numbers = start_at_random(twin, machine, seed=3)
    assert not numbers["bias/h1"].any()
    drawn = np.concatenate([start_at_random(twin, machine, seed)["weight/h1/v"].ravel() for seed in range(200)])
    assert drawn.std() == pytest.approx(np.sqrt(2 / (5 + 4)), rel=0.05)


def test_masks_are_kept() -> None:
    artifact = artifact_of(STACK.replace(": W1", ": W1(mask = local(radius = 1))") + AUTOENCODE)
    network = grown(artifact, 0)
    mask = np.eye(5, 4, dtype=bool)
    found = masks_of(network, artifact, {"W1": mask})
    assert found.keys() == {"weight/h1/v", "weight/down/v/down/h1"}
    np.testing.assert_array_equal(found["weight/h1/v"], mask)
    np.testing.assert_array_equal(found["weight/down/v/down/h1"], mask.T)


# --- autoencoders -----------------------------------------------------------------------------------------


def test_an_autoencoder_begins_as_the_stack_s_pass_up_and_down() -> None:
    """Layers with neighbours on both sides hear twice what they do hear, as each did in its restricted machine."""
    module, examples = module_of(STACK + AUTOENCODE)
    p, v = examples.machine.p, observed_in(examples)["v"]
    h1 = expit(p["a1"] + 2 * v @ p["W1"])
    h2 = expit(p["a2"] + 2 * h1 @ p["W2"])
    h3 = p["a3"] + h2 @ p["W3"]
    back = expit(p["a1"] + 2 * expit(p["a2"] + 2 * h3 @ p["W3"].T) @ p["W2"].T)
    code, given_back = network_outputs(module, examples)
    np.testing.assert_allclose(code, h3, rtol=1e-12)
    np.testing.assert_allclose(given_back, expit(p["b"] + back @ p["W1"].T), rtol=1e-12)


def test_the_way_up_is_the_machine_s_own() -> None:
    module, examples = module_of(PATHWAYS + AUTOENCODE)
    machine = examples.machine
    s, fields = machine.new_state(7), machine.new_state(7)
    for name, x in observed_in(examples).items():
        s[name][:] = machine.kernels.statistic[name](machine.p, x)
    machine.bottom_up(s, fields, tuple(examples.data.columns))
    values = values_of(module, examples)
    for name in ("i1", "t1", "joint"):
        np.testing.assert_allclose(values[name], s[name], rtol=1e-12)
    assert module.network.codes == ("joint",)
    assert module.network.outputs == ("down/image", "down/words", "down/y")


def test_a_belief_net_goes_up_by_recognition_and_down_by_its_parents() -> None:
    """Directed layers expect nothing from their other side, so that nothing is heard twice."""
    module, examples = module_of(BELIEF + AUTOENCODE)
    p, data = examples.machine.p, observed_in(examples)
    h1 = expit(p["r_h1"] + data["v"] @ p["R1"])
    h2 = expit(p["r_h2"] + h1 @ p["R2"])
    h3 = expit(p["a3"] + h2 @ p["W3"] + data["y"] @ p["U"])
    down = expit(p["a1"] + expit(p["a2"] + h3 @ p["W3"].T) @ p["W2"].T)
    code, image, label = network_outputs(module, examples)
    np.testing.assert_allclose(code, h3, rtol=1e-12)
    np.testing.assert_allclose(image, expit(p["b"] + down @ p["W1"].T), rtol=1e-12)
    field = np.exp(p["by"] + h3 @ p["U"].T)
    np.testing.assert_allclose(label, field / field.sum(axis=1, keepdims=True), rtol=1e-12)


def test_a_belief_net_s_classifier_is_its_way_up() -> None:
    module, examples = module_of(BELIEF + CLASSIFY)
    p, v = examples.machine.p, observed_in(examples)["v"]
    h2 = expit(p["r_h2"] + expit(p["r_h1"] + v @ p["R1"]) @ p["R2"])
    h3 = expit(p["a3"] + h2 @ p["W3"])
    field = np.exp(p["by"] + h3 @ p["U"].T)
    assert module.network.means == ()
    np.testing.assert_allclose(values_of(module, examples)["y"], field / field.sum(axis=1, keepdims=True), rtol=1e-12)


def test_without_recognition_generative_weights_are_reversed() -> None:
    text = "".join(line for line in BELIEF.splitlines(keepends=True) if "~>" not in line)
    module, examples = module_of(text + CLASSIFY)
    p, v = examples.machine.p, observed_in(examples)["v"]
    h1 = expit(p["a1"] + v @ p["W1"])
    np.testing.assert_allclose(values_of(module, examples)["h2"], expit(p["a2"] + h1 @ p["W2"]), rtol=1e-12)


def test_documents_go_up_with_their_lengths_and_come_back_as_probabilities() -> None:
    module, examples = module_of(DOCUMENTS + AUTOENCODE)
    p, words, mean_length = examples.machine.p, observed_in(examples)["words"], examples.machine.lengths["words"]
    length = words.sum(axis=1, keepdims=True)
    h1 = expit(length * p["a1"] + 2 * words @ p["W1"])
    h2 = expit(p["a2"] + h1 @ p["W2"])
    field = p["b"] + expit(mean_length * p["a1"] + 2 * h2 @ p["W2"].T) @ p["W1"].T
    code, back = network_outputs(module, examples)
    np.testing.assert_allclose(code, h2, rtol=1e-12)
    np.testing.assert_allclose(back, np.exp(field) / np.exp(field).sum(axis=1, keepdims=True), rtol=1e-12)
    assert len(np.unique(length)) > 2


@pytest.mark.parametrize(("code", "answer"), [("linear", lambda f: f), ("logistic", lambda f: expit(f))])
def test_the_code_answers_as_it_is_told(code: str, answer: Any) -> None:
    module, examples = module_of(DOCUMENTS + AUTOENCODE.replace("epochs = 1", f"code = {code}"))
    values = values_of(module, examples)
    field = examples.machine.p["a2"] + values["h1"] @ examples.machine.p["W2"]
    np.testing.assert_allclose(values["h2"], answer(field), rtol=1e-12)


def test_numbers_are_copies_and_untied() -> None:
    network, machine, _ = grown_from(STACK + AUTOENCODE)
    numbers = start_from_model(network, machine, {})
    assert {n: x.shape for n, x in numbers.items()} == shapes_of(network, machine.artifact)
    up, down = numbers["weight/h3/h2"], numbers["weight/down/h2/h3"]
    np.testing.assert_array_equal(2 * up, down.T)
    down[:] = 0
    assert up.all()
    assert machine.p["W3"].all()


def expit(x: Any) -> Any:
    return 1 / (1 + np.exp(-np.asarray(x)))


# --- unit types -------------------------------------------------------------------------------------------

TRIT = "unit trit {\n  param g > 0, t\n  support x in {-1, 0, 2}\n  energy g * x^2 + t * x\n  statistic x\n}\n"
DRELU = (
    "unit drelu {\n  param gp > 0, gm > 0, tp, tm\n  support x in real\n"
    "  energy gp*x^2/2 + tp*x if x > 0 else gm*x^2/2 + tm*x\n  statistic x\n}\n"
)
UNITS = {
    "binary": ("", "binary[3]"),
    "spin": ("", "spin[3]"),
    "trit": (TRIT, "trit[3]"),
    "binomial": ("", "binomial[3](trials = 4)"),
    "softmax": ("", "softmax[2, 3]"),
    "gaussian": ("", "gaussian[1](sigma = 0.7)"),
    "poisson": ("", "poisson[1]"),
    "relu": ("", "relu[1]"),
    "drelu": (DRELU, "drelu[1]"),
}


def layer_of(name: str, scale: float) -> tuple[Units, Any, Any]:
    """The units of a layer in PyTorch, the machine with its kernels, and fields of a size, (50, size)."""
    declared, unit = UNITS[name]
    other = "binary[2]"
    text = f"model X\n{declared}visible v : {unit}\nhidden h : {other}\nv -- h : W\n"
    _, machine, _ = grown_from(text + AUTOENCODE)
    layer = machine.artifact.layers["v"]
    own = {n: torch.from_numpy(machine.p[p]) for n, p in layer.parameters.items()}
    field = scale * np.random.default_rng(0).normal(size=(50, layer.size))
    return Units(layer, own), machine, np.minimum(field, 3.0) if name == "poisson" else field


@pytest.mark.parametrize("scale", [1.0, 300.0])
@pytest.mark.parametrize("name", UNITS)
def test_means_are_those_of_the_kernels(name: str, scale: float) -> None:
    units, machine, field = layer_of(name, scale)
    out = np.empty_like(field)
    machine.kernels.mean["v"](machine.p, field, np.zeros(field.shape[1]), 1.0, out)
    np.testing.assert_allclose(units.mean(torch.from_numpy(field)).numpy(), out, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", UNITS)
def test_the_loss_is_minus_a_log_probability(name: str) -> None:
    """Exp of minus it sums, or integrates, to 1 over all states."""
    units, _, field = layer_of(name, 1.0)
    layer, mass = units.layer, np.ones(1)
    match layer.support:
        case "finite":
            states = np.array([*product(layer.values, repeat=layer.size)], float)
        case "one_hot":
            states = np.array([np.eye(3)[list(which)].ravel() for which in product(range(3), repeat=2)])
        case "naturals":
            states = np.arange(100.0)[:, None]
        case _:
            states = np.linspace(0 if layer.lower == 0 else -15, 15, 30_001)[:, None]
            mass = np.full(len(states), states[1, 0] - states[0, 0])
            mass[[0, -1]] /= 2
    for f in field[:5]:
        loss = units.loss(torch.from_numpy(f).expand(len(states), -1), torch.from_numpy(states)).numpy()
        assert np.sum(mass * np.exp(-loss)) == pytest.approx(1.0, rel=1e-6 if layer.support == "real" else 1e-9)


def test_the_loss_of_gaussian_units_is_in_units_of_sigma() -> None:
    units, _, field = layer_of("gaussian", 1.0)
    x = np.random.default_rng(1).normal(size=field.shape)
    expected = -stats.norm.logpdf(x, 0.7 * field, 0.7).sum(axis=1)
    np.testing.assert_allclose(units.loss(torch.from_numpy(field), torch.from_numpy(x)).numpy(), expected)


# --- modules of their own ---------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [CHAIN + CLASSIFY, PATHWAYS + CLASSIFY, STACK + AUTOENCODE])
def test_a_module_takes_data_alone(text: str) -> None:
    module, examples = module_of(text)
    numbers = start_from_model(module.network, examples.machine, examples.machine.lengths)
    whole = module_of_data(module.network, examples.machine, numbers)
    names = module.network.inputs if isinstance(whole, NetworkModule) else whole.inputs
    data = observed_in(examples)
    with torch.no_grad():
        found = whole(*(torch.from_numpy(data[n]) for n in names))
    found = found if isinstance(found, tuple) else (found,)
    for one, other in zip(found, network_outputs(module, examples), strict=True):
        np.testing.assert_allclose(one.numpy(), other, atol=1e-9)


def test_a_module_shares_nothing_with_the_run() -> None:
    module, examples = module_of(STACK + AUTOENCODE)
    numbers = start_from_model(module.network, examples.machine, {})
    whole = module_of_data(module.network, examples.machine, numbers)
    with torch.no_grad():
        whole.get_parameter("bias/h1").zero_()
    assert numbers["bias/h1"].all()
