"""Samples, inferences and reconstructions as users get them: arrays of states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from compiled import compile_machine, random_machine
from numpy.typing import NDArray
from random_models import RandomModel, every_unit

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime import sampling
from pgmdsl.runtime.estimators.exact import exact_statistics
from pgmdsl.runtime.known import Known, known_of, open_any
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.sampling import to_states

Array = NDArray[Any]


def known(machine: Machine, given: dict[str, Any], **lengths: Any) -> Known:
    return known_of(machine, open_any(machine.artifact, given, Path()), lengths)


def draw_samples(machine: Machine, *, clamp: dict[str, Any] | None = None, **options: Any) -> dict[str, Array]:
    return sampling.draw_samples(known(machine, clamp or {}), **options)


def infer(machine: Machine, given: dict[str, Any], sweeps: int = 50) -> dict[str, Array]:
    return sampling.infer(known(machine, given), sweeps)


def reconstruct(machine: Machine, given: dict[str, Any], seed: int) -> sampling.Reconstruction:
    return sampling.reconstruct(known(machine, given), seed=seed)


def to_statistics(machine: Machine, given: dict[str, Any]) -> dict[str, Array]:
    return known(machine, given).s


@pytest.fixture(scope="module")
def compiled() -> tuple[RandomModel, Machine]:
    model = every_unit()
    return model, random_machine(model, "float32", jit=True)


def test_samples_have_the_models_means(compiled: tuple[RandomModel, Machine]) -> None:
    model, machine = compiled
    samples = draw_samples(machine, chains=4000, draws=3, burn=100, thin=20, seed=1)
    wanted = oracle.expectations(model.oracle).state
    for name, layer in model.oracle.layers.items():
        assert samples[name].shape == (4000, 3, *layer.dims)
        each = samples[name].mean(1)  # draws of one chain are dependent, chains are not
        error = each.std(0) / np.sqrt(4000)
        assert (np.abs(each.mean(0) - wanted[name]) < 4.5 * error).all(), name
    again = draw_samples(machine, chains=4000, draws=3, burn=100, thin=20, seed=1)
    assert all((samples[n] == again[n]).all() for n in samples)
    other = draw_samples(machine, chains=4000, draws=3, burn=100, thin=20, seed=2)
    assert any((samples[n] != other[n]).any() for n in samples)


def test_clamped_samples_follow_the_posterior(compiled: tuple[RandomModel, Machine]) -> None:
    model, machine = compiled
    labels = np.array([[1, 2]])
    samples = draw_samples(machine, chains=4000, draws=1, burn=100, clamp={"y": labels}, seed=3)
    one_hot = np.eye(3)[labels]
    assert (samples["y"][:, 0] == one_hot).all()
    wanted = oracle.expectations(model.oracle, {"y": one_hot}).state
    for name, layer in model.oracle.layers.items():
        if name != "y":
            error = samples[name][:, 0].std(0) / np.sqrt(4000)
            assert (np.abs(samples[name][:, 0].mean(0) - wanted[name]) < 4.5 * error).all(), name
            assert samples[name].shape == (4000, 1, *layer.dims)


def test_inference_is_exact_where_it_can_be(compiled: tuple[RandomModel, Machine]) -> None:
    model, machine = compiled
    rng = np.random.default_rng(0)
    y = np.eye(3)[rng.integers(0, 3, (5, 2))]
    g = rng.choice([-1.0, 1.0], (5, 3))
    found = infer(machine, {"y": y, "g": g, "v": rng.normal(0, 1, (5, 2))})
    assert set(found) == {"h", "z"}  # they share no edge
    assert found["h"].shape == (5, 3)
    s = to_statistics(machine, {"y": y, "g": g})
    both = exact_statistics(machine, s)
    for i in range(5):
        wanted = oracle.expectations(model.oracle, {"y": y[i : i + 1], "g": g[i : i + 1]})
        np.testing.assert_allclose(both.means["h"][i], wanted.mean["h"], atol=1e-5)
    with_field = infer(machine, {"y": y, "v": np.zeros((5, 2))})
    assert set(with_field) == {"h", "g", "z"}


def test_reconstructions(compiled: tuple[RandomModel, Machine]) -> None:
    model, machine = compiled
    rng = np.random.default_rng(0)
    observed = {"y": np.eye(3)[rng.integers(0, 3, (5000, 2))], "v": rng.normal(0, 1, (5000, 2))}
    found = reconstruct(machine, observed, seed=4)
    np.testing.assert_allclose(found.means["y"].sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found.samples["y"].sum(-1), 1)
    hidden = infer(machine, observed)
    states = {**{n: x.astype(float) for n, x in hidden.items()}, **observed}
    for name in observed:
        np.testing.assert_allclose(
            found.means[name], oracle.conditional_mean(model.oracle, name, states), rtol=1e-3, atol=1e-3
        )
    assert (reconstruct(machine, observed, seed=4).samples["y"] == found.samples["y"]).all()
    assert (reconstruct(machine, observed, seed=5).samples["y"] != found.samples["y"]).any()


def test_states_and_statistics_are_inverse(compiled: tuple[RandomModel, Machine]) -> None:
    model, machine = compiled
    v = np.array([[0.5, -3.0]])
    s = to_statistics(machine, {"v": v})
    np.testing.assert_allclose(s["v"], v / model.oracle.parameters["sigma_v"], rtol=1e-6)
    np.testing.assert_allclose(to_states(machine, s)["v"], v, rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"w": np.zeros((1, 2))}, "no layer w"),
        ({"v": np.zeros((1, 3))}, "v"),
        ({"v": np.full((1, 2), np.inf)}, "v"),
        ({"g": np.zeros((1, 3))}, "g"),
        ({"y": np.array([[0, 3]])}, "y"),
        ({"v": np.zeros((2, 2)), "g": np.ones((3, 3))}, "same number of cases: v has 2, g has 3"),
        ({}, "nothing is observed"),
    ],
)
def test_states_that_do_not_fit_are_named(
    compiled: tuple[RandomModel, Machine], given: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(Error, match=message):
        infer(compiled[1], given)


def test_clamping_needs_one_case_or_one_a_chain(compiled: tuple[RandomModel, Machine]) -> None:
    with pytest.raises(Error, match="give 1 or 5"):
        draw_samples(compiled[1], chains=5, clamp={"v": np.zeros((2, 2))})
    with pytest.raises(Error, match="draws of 1 or more"):
        draw_samples(compiled[1], chains=5, draws=0)


STUCK = """model Magnet(N = 12)
visible v : spin[N] bias b
v -- v : L
"""


def test_chains_start_from_independent_units() -> None:
    """Of two states that no chain goes between, half of the chains find each; not all of them the same."""
    couplings = (1 - np.eye(12)).astype(np.float32)
    machine = compile_machine(STUCK, {"L": couplings, "b": np.zeros(12, np.float32)}, "float32", jit=False)
    samples = draw_samples(machine, chains=400, burn=5)["v"][:, 0]
    assert set(np.unique(samples.sum(axis=1))) == {-12, 12}
    assert abs(samples.mean()) < 0.2  # four standard errors
