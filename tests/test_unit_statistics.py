"""Unit types whose statistic is not their state, and whose energy is not 0 at state 0: every figure of the model."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from compiled import plain_python
from numpy.typing import NDArray

import pgmdsl
from pgmdsl.runtime.estimators.bound import mean_field_bound
from pgmdsl.runtime.objectives import log_pseudolikelihood

Doubles = NDArray[np.float64]
UNITS = """
unit trit {
  support   x in {-1, 0, 2}
  param     t
  energy    t*x^2 + 0.4 if x > 0 else 0.7 - t
  statistic x/2 + 1/4
}

unit level {
  support   x in {1, 2, 4}
  energy    log(x)
  statistic 3 - x
}
"""
MODEL = f"""
model Shifted
{UNITS}
visible v : trit[3]  bias b
hidden  h : level[2] bias a

v -- h : W
v -- v : J

train {{ fit {{ updates = 1, rate = 0.001, negative = exact, positive = exact, centering = off }} }}
"""
TRIT, LEVEL = (-1.0, 0.0, 2.0), (1.0, 2.0, 4.0)


def log_weight(p: dict[str, Doubles], v: Doubles, h: Doubles) -> float:
    """-energy of one joint state, from the formulas of the file alone."""
    energy = np.where(v > 0, p["t_v"] * v**2 + 0.4, 0.7 - p["t_v"]).sum() + np.log(h).sum()
    s, r = v / 2 + 0.25, 3 - h
    return float(p["b"] @ s + p["a"] @ r + s @ p["W"] @ r + s @ p["J"] @ s / 2 - energy)


def log_sum(p: dict[str, Doubles], known: Doubles) -> float:
    """Log of the sum of exp(-energy) over h and the entries of v that are NaN."""
    rows = itertools.product(*(TRIT if np.isnan(x) else (x,) for x in known))
    terms = [log_weight(p, np.array(v), np.array(h)) for v in rows for h in itertools.product(LEVEL, repeat=2)]
    return float(np.logaddexp.reduce(terms))


@pytest.fixture(scope="module", autouse=True)
def plain() -> Iterator[None]:
    with plain_python():
        yield


@pytest.fixture(scope="module")
def parameters() -> dict[str, Doubles]:
    r = np.random.default_rng(5)
    j = r.normal(size=(3, 3))
    j = (j + j.T) * (1 - np.eye(3)) / 2
    return {"b": r.normal(size=3), "a": r.normal(size=2), "W": r.normal(size=(3, 2)), "J": j, "t_v": r.normal(size=3)}


@pytest.fixture(scope="module")
def cases() -> Doubles:
    nan = np.nan
    return np.array([[-1, 0, 2], [2, nan, 0], [nan, nan, -1], [0, 0, nan], [-1, 2, 2]])


@pytest.fixture(scope="module")
def run(parameters: dict[str, Doubles], cases: Doubles, tmp_path_factory: pytest.TempPathFactory) -> pgmdsl.Run:
    model = pgmdsl.compile_text(MODEL, dtype="float64")
    return pgmdsl.train(model, {"v": cases}, init=parameters, out=tmp_path_factory.mktemp("shifted") / "run")


def test_log_probabilities_with_missing_values(run: pgmdsl.Run, cases: Doubles) -> None:
    p = {n: np.asarray(x, np.float64) for n, x in run.parameters.items()}
    log_z = log_sum(p, np.full(3, np.nan))
    assert run.log_partition("exact").value == pytest.approx(log_z, abs=1e-9)
    expected = [log_sum(p, row) - log_z for row in cases]
    np.testing.assert_allclose(run.score({"v": cases}), expected, atol=1e-9)


def test_free_energy(run: pgmdsl.Run, parameters: dict[str, Doubles], cases: Doubles) -> None:
    whole = cases[~np.isnan(cases).any(axis=1)]
    expected = [-log_sum(parameters, row) for row in whole]
    np.testing.assert_allclose(run.model.free_energy(parameters, {"v": whole}), expected, atol=1e-9)


def test_a_step_follows_the_gradient(run: pgmdsl.Run, parameters: dict[str, Doubles], cases: Doubles) -> None:
    def mean_log_likelihood(p: dict[str, Doubles]) -> float:
        return float(np.mean([log_sum(p, row) for row in cases])) - log_sum(p, np.full(3, np.nan))

    for name, place in (("b", (1,)), ("a", (0,)), ("W", (2, 1)), ("t_v", (0,))):
        moved = []
        for step in (1e-5, -1e-5):
            p = {n: x.copy() for n, x in parameters.items()}
            p[name][place] += step
            moved.append(mean_log_likelihood(p))
        slope = (moved[0] - moved[1]) / 2e-5
        change = run.parameters[name][place] - parameters[name][place]
        if name != "t_v":  # steps of own parameters are divided by their information
            assert change == pytest.approx(0.001 * slope, rel=1e-4)
        assert np.sign(change) == np.sign(slope)


def test_annealing_agrees(run: pgmdsl.Run) -> None:
    exact, annealed = run.log_partition("exact"), run.log_partition("ais", chains=50, temperatures=200)
    assert annealed.value == pytest.approx(exact.value, abs=5 * annealed.standard_error + 1e-9)


def test_the_bound_is_below_and_near(run: pgmdsl.Run, cases: Doubles) -> None:
    v = np.where(np.isnan(cases), 0, cases)
    s = np.ascontiguousarray(v / 2 + 0.25)
    machine = run.machine
    bound = mean_field_bound(machine, {"v": s}, held={"v": ~np.isnan(cases)}).log_weight
    p = {n: np.asarray(x, np.float64) for n, x in run.parameters.items()}
    gap = [log_sum(p, row) for row in cases] - bound
    assert (gap > -1e-9).all()
    assert (gap < 1.5).all()
    whole = ~np.isnan(cases).any(axis=1)
    np.testing.assert_allclose(gap[whole], 0, atol=1e-5)


def test_pseudolikelihood(parameters: dict[str, Doubles]) -> None:
    text = f"model Alone\n{UNITS}\nvisible v : trit[3] bias b\nv -- v : J\n"
    p = {n: parameters[n] for n in ("b", "J", "t_v")}
    silent = {**p, "a": np.zeros(2), "W": np.zeros((3, 2))}
    h = np.array([3.0, 3.0])
    machine = pgmdsl.compile_text(text, dtype="float64")._arrays.machine(p)
    v = np.array([-1.0, 2.0, 0.0])
    found = log_pseudolikelihood(machine, {"v": v[None] / 2 + 0.25})[0]
    expected = 0.0
    for i in range(3):
        terms = [log_weight(silent, np.where(np.arange(3) == i, x, v), h) for x in TRIT]
        expected += log_weight(silent, v, h) - np.logaddexp.reduce(terms)
    assert found == pytest.approx(expected, abs=1e-9)
