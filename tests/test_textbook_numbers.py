"""What the textbook's checks cannot say, or not prove, in numbers: each item is listed in pgmdsl/textbook/README.md."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import oracle
import pytest
from numpy.typing import NDArray
from oracle import OracleModel
from plain import differs, oracle_model
from prover_models import MODELS, SIZES
from scipy.special import expit, logsumexp

from pgmdsl.compiler.driver import checked_model
from pgmdsl.compiler.model import Model
from pgmdsl.compiler.values import evaluate
from pgmdsl.grammar.parse import parse_expression
from pgmdsl.grammar.source import Source

Array = NDArray[np.float64]
INPUT = "a[j] + sum(W[k,j]*v[k] for k)"

# True formulas of which the prover finds no proof, by chapter. Move one into its chapter when it does.
UNPROVED = {
    "the gradient by slopes of the free energy": (
        "04_rbm",
        "gradient(W[i,j]) == data(-d(free_energy(v), W[i,j])) - model(-d(free_energy(v), W[i,j]))",
    ),
    "the gradient, hidden states by their means in both phases": (
        "04_rbm",
        f"gradient(W[i,j]) == data(v[i]*sigmoid({INPUT})) - model(v[i]*sigmoid({INPUT}))",
    ),
    "the gradient of log Z, hidden states by their means": (
        "04_rbm",
        f"d(log(sum(exp(-energy) over v, h)), W[i,j]) == sum(v[i]*sigmoid({INPUT})*exp(-free_energy(v)) over v)"
        "/sum(exp(-free_energy(v)) over v)",
    ),
    "drawing the hidden layer anew, the old states summed one by one": (
        "04_rbm",
        "p(v, h) == sum(exp(-energy) over h)/Z*prod(sigmoid((2*h[j] - 1)*(a[j] + sum(W[i,j]*v[i] for i))) for j)",
    ),
    "what the second machine is trained for": (
        "10_deep_belief_net",
        "d(expect(-free_energy(h1) under q) - log(sum(exp(-free_energy(h1)) over h1)), W2[j,k])"
        " == expect(h1[j]*h2[k] under q) - sum(h1[j]*h2[k]*exp(-free_energy(h1, h2)) over h1, h2)"
        "/sum(exp(-free_energy(h1, h2)) over h1, h2)",
    ),
    "the marginal of the upper layers, both pathways below summed out": (
        "19_multimodal",
        "p(h2m, h2t, h3) == exp(sum(W3m[l,q]*h2m[l]*h3[q] for l, q) + sum(W3t[s,q]*h2t[s]*h3[q] for s, q)"
        " + sum(a2m[l]*h2m[l] for l) + sum(a2t[s]*h2t[s] for s) + sum(a3[q]*h3[q] for q))"
        "*sum(prod(sqrt(2*pi)*sigma_vm[i] for i)*exp(sum(bm[i]*sum(W1m[i,j]*h1m[j] for j)/sigma_vm[i]"
        " + sum(W1m[i,j]*h1m[j] for j)^2/2 for i) + sum((a1m[j] + sum(W2m[j,l]*h2m[l] for l))*h1m[j] for j)) over h1m)"
        "*sum(exp(sum((length(c)*a1t[r] + sum(W2t[r,s]*h2t[s] for s))*h1t[r] for r))"
        "*sum(exp(bt[k] + sum(W1t[k,r]*h1t[r] for r)) for k)^length(c) over h1t)/Z",
    ),
}


def model_of(chapter: str, choice: int = 0, check: str = "") -> Model:
    text = MODELS[chapter].split("\ncheck ")[0] + (f'\ncheck "t": {check}\n' if check else "\n")
    model, _ = checked_model(Source(f"{chapter}.ebm", text), SIZES[chapter][choice])
    return model


def bits(n: int) -> Array:
    return np.array([*itertools.product((0.0, 1.0), repeat=n)])


@pytest.mark.parametrize("name", UNPROVED)
def test_formulas_without_a_proof_hold_by_enumeration(name: str) -> None:
    chapter, formula = UNPROVED[name]
    for choice in (0, 1):
        model = model_of(chapter, choice, formula)
        assert not differs(model, model.checks[0], seed=choice)


def test_documents_with_shared_weights_are_known_by_their_counts() -> None:
    """With weights that all places share, and M a for a, the energy of a one-hot document is that of its counts."""
    documents = oracle_model(model_of("07_replicated_softmax"), np.random.default_rng(6))
    places = oracle_model(model_of("06_unshared_documents"), np.random.default_rng(7))
    M, K, F = places.parameters["W"].shape
    shared = {n: documents.parameters[n] for n in ("W", "b", "a")}
    places = places.with_parameter("W", np.tile(shared["W"], (M, 1, 1)))
    places = places.with_parameter("b", np.tile(shared["b"], (M, 1))).with_parameter("a", M * shared["a"])
    words = np.array([[np.eye(K)[k] for k in chosen] for chosen in itertools.product(range(K), repeat=M)])
    V, h = np.repeat(words, 2**F, axis=0), np.tile(bits(F), (len(words), 1))
    ordered = oracle.energy(places, {"V": V, "h": h})
    np.testing.assert_allclose(oracle.energy(documents, {"c": V.sum(axis=1), "h": h}), ordered, atol=1e-12)


# --- mean field ---------------------------------------------------------------------------------------------


def coupled_units() -> tuple[OracleModel, dict[str, Array]]:
    """Two hidden units that exclude each other: J_12 = -8, a = (4, 4), nothing from below."""
    model = oracle_model(model_of("02_boltzmann_machine"), np.random.default_rng(0))
    for name, value in {"W": 0.0, "a": 4.0, "b": 0.0, "L": 0.0}.items():
        model = model.with_parameter(name, np.full_like(model.parameters[name], value))
    return model.with_parameter("J", np.array([[0.0, -8.0], [-8.0, 0.0]])), {"v": np.zeros((1, 3))}


def test_parallel_mean_field_of_coupled_units_can_lower_the_bound() -> None:
    model, data = coupled_units()
    means, bounds = {"h": np.full((1, 2), 0.9)}, []
    for _ in range(3):
        bounds.append(oracle.bound(model, data, means))
        means = {"h": oracle.conditional_mean(model, "h", data | means)}
    np.testing.assert_allclose(bounds, [1.37, 0.63, 0.42], atol=0.005)


def test_mean_field_unit_by_unit_never_lowers_the_bound_and_ends_where_it_is_stationary() -> None:
    rng = np.random.default_rng(1)
    model = oracle_model(model_of("02_boltzmann_machine"), rng)
    data, means = {"v": np.array([[1.0, 0.0, 1.0]])}, rng.uniform(size=(1, 2))
    bounds = [oracle.bound(model, data, {"h": means})]
    for _ in range(30):
        for j in range(2):
            means[0, j] = oracle.conditional_mean(model, "h", {**data, "h": means})[0, j]
            bounds.append(oracle.bound(model, data, {"h": means}))
    assert (np.diff(bounds) > -1e-12).all()
    assert bounds[-1] - oracle.log_partition(model) < oracle.log_probability(model, data)

    def slope(sign: float, j: int) -> float:
        """The derivative by one mean, of the bound with its entropy multiplied by a sign."""

        def value(step: float) -> float:
            moved = means.copy()
            moved[0, j] += step
            entropy = -float((moved * np.log(moved) + (1 - moved) * np.log(1 - moved)).sum())
            return oracle.bound(model, data, {"h": moved}) + (sign - 1) * entropy

        return (value(1e-5) - value(-1e-5)) / 2e-5

    for j in range(2):
        field = np.log(means[0, j] / (1 - means[0, j]))
        assert slope(1.0, j) == pytest.approx(0, abs=1e-7)
        assert slope(-1.0, j) == pytest.approx(2 * field, rel=1e-5)  # with the entropy subtracted: not stationary


def test_mean_field_layer_by_layer_never_lowers_the_bound_of_a_deep_machine() -> None:
    rng = np.random.default_rng(2)
    model = oracle_model(model_of("17_deep_boltzmann_machine_three"), rng)
    data = {"v": np.array([[1.0, 0.0, 1.0]])}
    means = {n: rng.uniform(size=(1, *model.layers[n].dims)) for n in ("h1", "h2", "h3")}
    bounds = [oracle.bound(model, data, means)]
    for _ in range(12):
        for name in means:
            means[name] = oracle.conditional_mean(model, name, data | means)
            bounds.append(oracle.bound(model, data, means))
    assert (np.diff(bounds) > -1e-12).all()
    assert bounds[1] > bounds[0] + 1e-6
    assert bounds[-1] - oracle.log_partition(model) < oracle.log_probability(model, data)


# --- Markov chains ------------------------------------------------------------------------------------------


def draws(field: Array, states: Array) -> Array:
    """The probability of each state (columns) of independent units in each row's fields."""
    return expit((2 * states - 1)[None] * field[:, None]).prod(axis=-1)


def test_block_gibbs_sampling_of_a_deep_machine_leads_to_its_distribution() -> None:
    model = oracle_model(model_of("16_deep_boltzmann_machine_two"), np.random.default_rng(3))
    p = model.parameters
    (d, f1), f2 = p["W1"].shape, p["W2"].shape[1]
    v, h1, h2 = bits(d), bits(f1), bits(f2)
    outer = np.array([[*x, *y] for x in v for y in h2])  # the even layers
    up = outer @ np.vstack([p["W1"], p["W2"].T]) + p["a1"]
    down = h1 @ np.hstack([p["W1"].T, p["W2"]]) + np.concatenate([p["b"], p["a2"]])
    step = draws(up, h1) @ draws(down, outer)
    states = [np.repeat(outer, len(h1), 0), np.tile(h1, (len(outer), 1))]
    energies = oracle.energy(model, {"v": states[0][:, :d], "h1": states[1], "h2": states[0][:, d:]})
    log_p = logsumexp(-energies.reshape(len(outer), len(h1)), axis=1)
    probability = np.exp(log_p - logsumexp(log_p))
    np.testing.assert_allclose(probability @ step, probability, atol=1e-12)
    start = np.eye(len(outer))[0]
    assert np.abs(start @ step - probability).sum() > 0.01
    np.testing.assert_allclose(start @ np.linalg.matrix_power(step, 500), probability, atol=1e-9)


def test_importance_weights_of_annealing_average_to_the_ratio_of_partition_functions() -> None:
    """Every path of the chain is summed: E[w] = Z / Z_A exactly, and E[log w] is below its logarithm."""
    rng = np.random.default_rng(4)
    W, b, a, base = rng.normal(size=(2, 2)), rng.normal(size=2), rng.normal(size=2), rng.normal(size=2)
    v, h = bits(2), bits(2)

    def log_p(beta: float) -> Array:
        return (1 - beta) * v @ base + beta * v @ b + np.logaddexp(0, beta * (a + v @ W)).sum(axis=1)

    betas = (0.0, 0.2, 0.7, 1.0)
    start = np.exp(log_p(0.0) - logsumexp(log_p(0.0)))
    weight, log_weight = start, np.zeros(4)  # E[w; v], and E[log w; v] with P(v)
    probability = start
    for before, beta in itertools.pairwise(betas):
        change = log_p(beta) - log_p(before)
        weight, log_weight = weight * np.exp(change), log_weight + probability * change
        down = (1 - beta) * base + beta * (b + h @ W.T)
        step = draws(beta * (a + v @ W), h) @ draws(down, v)
        weight, log_weight, probability = weight @ step, log_weight @ step, probability @ step
    log_base = np.logaddexp(0, base).sum() + 2 * np.log(2)
    assert logsumexp(log_p(0.0)) == pytest.approx(log_base)
    assert np.log(weight.sum()) == pytest.approx(logsumexp(log_p(1.0)) - log_base, abs=1e-12)
    assert log_weight.sum() < np.log(weight.sum()) - 1e-3


def test_learning_rates_of_stochastic_approximation_can_be_written() -> None:
    """alpha_t = a/(b + t): sums without end, whose squares stay below a^2/(b - 1); 1/t has no value at t = 0."""
    rate = parse_expression("2/(10 + step)")
    values = np.array([evaluate(rate, {"step": t}) for t in range(1000)])
    np.testing.assert_allclose(values, 2 / (10 + np.arange(1000)))
    assert values.sum() > 2 * np.log(1010 / 10)
    assert (values**2).sum() < 4 / 9


# --- networks -----------------------------------------------------------------------------------------------


def test_backpropagation_through_a_hidden_layer() -> None:
    """J = y log q + (1 - y) log(1 - q): dJ/dq, and the derivatives by hidden weights and by the input."""
    rng = np.random.default_rng(5)
    A, r, B, b = rng.normal(size=(3, 4)), rng.normal(size=4), rng.normal(size=(2, 4)), rng.normal(size=2)
    x, y = rng.normal(size=3), np.array([1.0, 0.0])

    def of_output(q: Array) -> float:
        return float((y * np.log(q) + (1 - y) * np.log(1 - q)).sum())

    def likelihood(A: Array, x: Array) -> float:
        return of_output(expit(b + B @ expit(r + x @ A)))

    z = expit(r + x @ A)
    q = expit(b + B @ z)
    np.testing.assert_allclose(differences(of_output, q), y / q + (1 - y) / (q - 1), rtol=1e-6)
    hidden = (y - q) @ B * z * (1 - z)
    np.testing.assert_allclose(differences(lambda A: likelihood(A, x), A), np.outer(x, hidden), rtol=1e-6)
    np.testing.assert_allclose(differences(lambda x: likelihood(A, x), x), A @ hidden, rtol=1e-6)


def differences(function: Callable[[Array], float], at: Array) -> Array:
    """The gradient by central differences."""
    out = np.zeros_like(at)
    for place in np.ndindex(*at.shape):
        step = np.zeros_like(at)
        step[place] = 1e-6
        out[place] = (function(at + step) - function(at - step)) / 2e-6
    return out
