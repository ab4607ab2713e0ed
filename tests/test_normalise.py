"""Whether a model normalises at its weights: shown, refuted, or left open, and what estimators then answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from annealed import ais, reverse_ais
from compiled import compile_machine
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.estimators.exact import exact_log_partition, exact_statistics, log_sums
from pgmdsl.runtime.estimators.normalise import largest_eigenpair, normalisation
from pgmdsl.runtime.evaluation import estimate_log_partition
from pgmdsl.runtime.machine import Machine

Array = NDArray[np.floating]

DRELU = """unit drelu {
  param     gp > 0, gm > 0, tp, tm
  support   x in real
  energy    gp*x^2/2 + tp*x if x > 0 else gm*x^2/2 + tm*x
  statistic x
}
"""


def machine_of(first: str, second: str, weight: Array, more: str = "", **parameters: Array) -> Machine:
    """Two layers that share an edge W, or with `second` empty one layer with a lateral edge W."""
    lines = [more, "model Pair", f"visible v : {first} bias none"]
    lines += [f"hidden h : {second} bias none", "v -- h : W"] if second else ["v -- v : W"]
    return compile_machine("\n".join(lines) + "\n", {"W": weight, **parameters}, "float64", jit=False)


def refuses(machine: Machine, words: str) -> None:
    for estimate in (
        lambda: ais(machine, temperatures=10, chains=10),
        lambda: reverse_ais(machine, temperatures=10, chains=10),
        lambda: estimate_log_partition(machine, "auto", None),
        lambda: estimate_log_partition(machine, "ais", None),
    ):
        with pytest.raises(Error, match=words):
            estimate()


def test_bounded_units_always_normalise() -> None:
    machine = machine_of("binary[2]", "gaussian[2](sigma = learned)", np.full((2, 2), 50.0), sigma_h=np.ones(2))
    assert normalisation(machine).status == "normalises"
    assert math.isinf(normalisation(machine).margin)


@pytest.mark.parametrize("scale", [0.5, 0.999, 1.001, 3.0])
def test_gaussian_pairs(scale: float) -> None:
    """The precision in the space of statistics is 1 - C, whatever sigma; with it, log Z is a determinant."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(3, 2))
    weight *= scale / np.linalg.svd(weight)[1][0]
    sigma = {"sigma_v": rng.uniform(0.5, 2, 3), "sigma_h": rng.uniform(0.5, 2, 2)}
    machine = machine_of("gaussian[3](sigma = learned)", "gaussian[2](sigma = learned)", weight, **sigma)
    found = normalisation(machine)
    assert found.margin == pytest.approx(1 - scale)
    if scale < 1:
        assert (found.status, found.message) == ("normalises", "")
        sd = np.concatenate(list(sigma.values()))
        coupling = np.block([[np.zeros((3, 3)), weight], [weight.T, np.zeros((2, 2))]])
        precision = (np.eye(5) - coupling) / np.outer(sd, sd)
        log_z = 2.5 * math.log(2 * math.pi) - 0.5 * np.linalg.slogdet(precision)[1]
        assert exact_log_partition(machine) == pytest.approx(log_z, abs=1e-9)
        return
    assert found.status == "diverges"
    for word in ("Pair", "W", "v (gaussian)", "h (gaussian)", "Z is infinite"):
        assert word in found.message
    refuses(machine, "Z is infinite")
    with pytest.raises(Error, match="Z is infinite"):
        exact_log_partition(machine)
    with pytest.raises(Error, match="Z is infinite"):
        exact_statistics(machine)
    observed = rng.normal(size=(2, 3))
    assert normalisation(machine, frozenset({"v"})).status == "normalises"  # given v the hidden layer is proper
    assert np.isfinite(log_sums(machine, {"v": observed})).all()


def test_lateral_gaussian_with_an_observed_unit() -> None:
    """Where a unit is observed the precision of the others alone must be positive definite."""
    weight = np.array([[0, 1.2, 0.1], [1.2, 0, 0.2], [0.1, 0.2, 0]])
    machine = machine_of("gaussian[3](sigma = learned)", "", weight, sigma_v=np.array([1.0, 0.5, 2.0]))
    assert normalisation(machine).status == "diverges"
    seen = np.array([[0.7, 0.0, 0.0]])
    given_one = log_sums(machine, {"v": seen}, held={"v": np.array([[True, False, False]])})
    precision = (np.eye(3) - weight)[1:, 1:]
    field = weight[1:, 0] * 0.7
    by_hand = -0.5 * 0.7**2 + 0.5 * field @ np.linalg.solve(precision, field) - 0.5 * np.linalg.slogdet(precision)[1]
    by_hand += math.log(2 * math.pi) + math.log(0.5 * 2.0)
    assert given_one[0] == pytest.approx(by_hand, abs=1e-9)
    with pytest.raises(Error, match=r"v \(gaussian\)"):
        log_sums(machine, {"v": seen}, held={"v": np.array([[False, False, True]])})


@pytest.mark.parametrize(
    ("weight", "status"),
    [(-40.0, "normalises"), (0.9, "normalises"), (1.1, "diverges")],
)
def test_rectified_pairs(weight: float, status: str) -> None:
    machine = machine_of("relu[1]", "relu[1]", np.full((1, 1), weight))
    assert normalisation(machine).status == status
    if status == "diverges":
        refuses(machine, "Z is infinite")


def test_couplings_below_0_between_rectified_units_do_no_harm() -> None:
    weight = np.array([[0, -9, 0.5], [-9, 0, -3], [0.5, -3, 0]])
    found = normalisation(machine_of("relu[3]", "", weight))
    assert found.status == "normalises"
    assert found.margin == pytest.approx(0.5)


def test_what_is_neither_shown_nor_refuted_is_unknown() -> None:
    """Strictly copositive, as its minors show, but not positive definite without the entry below 0."""
    weight = np.array([[0, 0.9, 0.9], [0.9, 0, -5], [0.9, -5, 0]])
    form = np.eye(3) - weight
    rays = np.random.default_rng(0).uniform(size=(20_000, 3)) ** 3
    assert (np.einsum("ri,ij,rj->r", rays, form, rays) > 0).all()
    machine = machine_of("relu[3]", "", weight)
    found = normalisation(machine)
    assert found.status == "unknown"
    assert found.margin < 0
    assert "not known whether Z is finite" in found.message
    refuses(machine, "not known")


def test_rectified_with_gaussian() -> None:
    """A Gaussian unit has both signs, so that neither sign of a weight helps."""
    weight, sigma = np.array([[0.8], [0.5]]), np.array([0.3, 2.0])
    for scale, status in ((1, "normalises"), (-1, "normalises"), (2, "diverges"), (-2, "diverges")):
        machine = machine_of("gaussian[2]", "relu[1]", scale * weight, sigma_v=sigma)
        assert normalisation(machine).status == status


@pytest.mark.parametrize(
    ("weight", "status"),
    [(0.5, "normalises"), (1.5, "unknown"), (2.5, "diverges")],
)
def test_units_with_two_tails(weight: float, status: str) -> None:
    """Tails of curvature 4 (above 0) and 1 (below): against a rectified unit a weight above 0 meets only the first."""
    own = {"gp_v": np.full(1, 4.0), "gm_v": np.ones(1), "tp_v": np.full(1, 0.3), "tm_v": np.full(1, -0.2)}
    machine = machine_of("drelu[1]", "relu[1]", np.full((1, 1), weight), DRELU, **own)
    assert normalisation(machine).status == status
    against = normalisation(machine_of("drelu[1]", "relu[1]", np.full((1, 1), -1.5), DRELU, **own))
    assert against.status == "diverges"


@pytest.mark.parametrize("unit", ["poisson[2]", "relu[2]"])
def test_natural_units_need_weights_not_above_0(unit: str) -> None:
    weight = -np.array([[3.0, 0.0], [1.0, 0.2]])
    assert normalisation(machine_of("poisson[2]", unit, weight)).status == "normalises"
    weight[0, 1] = 1e-3
    machine = machine_of("poisson[2]", unit, weight)
    found = normalisation(machine)
    assert found.status == "diverges"
    assert "poisson" in found.message
    assert "0.001" in found.message
    refuses(machine, "Z is infinite")


def test_natural_units_that_repel_are_annealed() -> None:
    """Two Poisson units with a weight below 0: the double sum converges, no enumeration closes it, annealing does."""
    weight, n = -0.4, np.arange(60.0)
    factorial = np.array([math.lgamma(x + 1) for x in n])
    terms = 0.5 * n[:, None] + 0.8 * n + weight * np.outer(n, n) - factorial[:, None] - factorial
    log_z = float(np.log(np.exp(terms - terms.max()).sum()) + terms.max())
    text = "model P\nvisible v : poisson[1] bias b\nhidden h : poisson[1] bias a\nv -- h : W\n"
    parameters = {"b": np.full(1, 0.5), "a": np.full(1, 0.8), "W": np.full((1, 1), weight)}
    machine = compile_machine(text, parameters, "float64", jit=False)
    with pytest.raises(Error, match="method = ais"):
        exact_log_partition(machine)
    found = ais(machine, temperatures=50, chains=100, seed=1)
    assert 0 < found.standard_error < 0.05
    assert abs(found.value - log_z) < 4 * found.standard_error


def test_largest_eigenvalue_of_large_matrices() -> None:
    weight = np.random.default_rng(0).normal(size=(700, 700))
    weight += weight.T
    value, vector = largest_eigenpair(weight)
    np.testing.assert_allclose(weight @ vector, value * vector, atol=1e-6)
    assert value == pytest.approx(float(np.linalg.eigvalsh(weight)[-1]))
