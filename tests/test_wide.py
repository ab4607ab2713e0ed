"""Random models of every unit and edge through the compiler against the oracle, missing entries included.

Tolerances are relative to the sum of the terms' magnitudes; float64 is 1e-8 rather than rounding, as the oracle
integrates and truncates.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import oracle
import pytest
from compiled import random_machine
from hypothesis import HealthCheck, Phase, given, settings
from numpy.typing import NDArray
from random_models import RandomModel
from wide_models import Wide, given_states, make_wide, wide_models

from pgmdsl.runtime.estimators.bound import mean_field_bound
from pgmdsl.runtime.estimators.exact import exact_statistics, log_sums

Array = NDArray[np.floating]
TOLERANCE = {"float64": 1e-8, "float32": 2e-5}
CASES = 2
STATES = 2_000  # of the latent layers, up to which expectations are compared
RANDOM = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class Pair:
    """A model compiled, and known to the oracle, with some states of all layers, and some entries taken out."""

    def __init__(self, model: RandomModel, dtype: str, jit: bool) -> None:
        parameters = {n: v.astype(dtype).astype(np.float64) for n, v in model.oracle.parameters.items()}
        self.oracle = replace(model.oracle, parameters=parameters)
        self.machine = random_machine(RandomModel(model.text, self.oracle), dtype, jit)
        self.machine.lengths = {n: float(m) for n, m in self.oracle.lengths.items()}
        rng = np.random.default_rng(7)
        self.states = given_states(self.oracle, CASES)
        for i in range(CASES):
            side = {n: x[i : i + 1] for n, x in self.states.items() if n in self.oracle.names("given")}
            table = oracle.table(self.oracle, side)
            pick = rng.choice(len(table.log_weight), p=table.probability)
            for name, x in table.state.items():
                self.states.setdefault(name, np.zeros((CASES, *x.shape[1:])))
                self.states[name][i] = x[pick]
        for name, layer in self.oracle.layers.items():
            if layer.unit == "gaussian":
                self.states[name] = (self.states[name] + rng.normal(0, 0.5, self.states[name].shape)).astype(dtype)
            self.states[name] = self.states[name].astype(dtype).astype(np.float64)
        self.states = {n: self.states[n] for n in self.oracle.layers}
        self.s = {n: self.statistic(n, x) for n, x in self.states.items()}
        self.visible, self.hidden = self.oracle.names("visible"), self.oracle.names("hidden")
        self.given = self.oracle.names("given")
        self.magnitude = float(oracle.magnitude(self.oracle, self.states).max())
        self.tolerance = TOLERANCE[dtype]
        self.held = {n: self._hold(n, rng) for n in self.visible}

    def _hold(self, name: str, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Which entries of a visible layer are observed, (cases, *dims): whole sites where units are one-hot."""
        dims = self.oracle.layers[name].dims
        if self.oracle.layers[name].unit == "softmax":
            return np.broadcast_to(rng.random((CASES, *dims[:-1], 1)) < 0.5, (CASES, *dims)).copy()
        return rng.random((CASES, *dims)) < 0.5

    def statistic(self, name: str, x: Array) -> Array:
        flat = np.ascontiguousarray(x.reshape(len(x), -1), self.machine.dtype)
        return np.ascontiguousarray(self.machine.kernels.statistic[name](self.machine.p, flat), self.machine.dtype)

    def state(self, name: str, s: Array) -> Array:
        flat = np.ascontiguousarray(s, self.machine.dtype)
        x = np.asarray(self.machine.kernels.state[name](self.machine.p, flat), np.float64)
        return x.reshape(len(s), *self.oracle.layers[name].dims)

    def flat_held(self) -> dict[str, NDArray[np.bool_]]:
        return {n: mask.reshape(CASES, -1) for n, mask in self.held.items()}

    def case(self, i: int, names: tuple[str, ...]) -> dict[str, Array]:
        return {n: self.states[n][i : i + 1] for n in names}

    def close(self, got: object, wanted: object, scale: float) -> None:
        np.testing.assert_allclose(got, wanted, rtol=0, atol=self.tolerance * scale)


def check_energy(pair: Pair) -> None:
    pair.close(-pair.machine.score(pair.s, CASES), oracle.energy(pair.oracle, pair.states), 1 + pair.magnitude)
    for name, x in pair.states.items():
        pair.close(pair.state(name, pair.s[name]), x, 1 + np.abs(x).max())


def check_conditionals(pair: Pair) -> None:
    machine = pair.machine
    for name in (*pair.visible, *pair.hidden):
        field = machine.coupling(name, pair.s, CASES)
        mean = np.zeros_like(pair.s[name])
        machine.mean(name, field, mean, s=pair.s)
        scale = 1 + float(np.abs(pair.states[name]).max()) + pair.magnitude
        pair.close(pair.state(name, mean), oracle.conditional_mean(pair.oracle, name, pair.states), scale)


def check_sums(pair: Pair, held: bool) -> None:
    """Log sums over all that is latent, and the variational bound on them."""
    known = (*pair.given, *pair.visible)
    masks = pair.flat_held() if held else {}
    clamped = {n: pair.s[n] for n in known}
    got = log_sums(pair.machine, clamped, held=masks)
    bound = mean_field_bound(pair.machine, clamped, sweeps=500, tolerance=pair.tolerance / 100, held=masks)
    for i in range(CASES):
        holes = {n: mask[i] for n, mask in pair.held.items()} if held else None
        wanted = oracle.table(pair.oracle, pair.case(i, known), holes).log_sum
        scale = 1 + pair.magnitude + abs(wanted)
        pair.close(got[i], wanted, scale)
        means = {n: pair.state(n, mean[i : i + 1]) for n, mean in bound.means.items()}
        case = pair.case(i, tuple(n for n in known if n not in means))
        pair.close(bound.log_weight[i], oracle.bound(pair.oracle, case, means, holes), scale)
        assert bound.log_weight[i] <= wanted + pair.tolerance * scale, "the bound passed the sum"


def check_expectations(pair: Pair, held: bool) -> None:
    """Log-probabilities, and their gradients by every parameter, own ones included, against the oracle's."""
    known, machine = (*pair.given, *pair.visible), pair.machine
    clamped, masks = {n: pair.s[n] for n in known}, pair.flat_held() if held else {}
    weights = np.array([1.0, 0.4])
    share = weights / weights.sum()
    lengths = {n: pair.states[n].reshape(CASES, -1).sum(1) for n in pair.oracle.lengths if n in pair.visible}
    data = exact_statistics(machine, clamped, weights, held=masks)
    given = {n: pair.s[n] for n in pair.given}
    if not given and lengths:  # log Z of each case's lengths
        given = {}
    model = exact_statistics(machine, given, weights if given or lengths else None, lengths=lengths or None)
    wanted: dict[str, Array] = {}
    scale = 1 + pair.magnitude
    for i in range(CASES):
        holes = {n: mask[i] for n, mask in pair.held.items()} if held else None
        case = pair.case(i, known)
        log_p = oracle.log_probability(pair.oracle, case, holes)
        log_z = model.log_sum[i if len(model.log_sum) > 1 else 0]
        pair.close(data.log_sum[i] - log_z, log_p, scale + abs(log_p))
        for name, value in oracle.gradient(pair.oracle, case, holes).items():
            wanted[name] = wanted.get(name, 0.0) + share[i] * value
        for own in {n for layer in pair.oracle.layers.values() for n in layer.parameters.values()}:
            value = oracle.finite_gradient(pair.oracle, case, own, held=holes)
            wanted[own] = wanted.get(own, 0.0) + share[i] * value
    for name, product in data.products.items():
        difference = product - model.products[name]
        pair.close(difference.ravel(), wanted[name].ravel(), scale)
    for name, slope in data.slopes.items():
        scale_here = max(scale, 1e-6 / pair.tolerance)  # of the finite differences
        pair.close(slope - model.slopes[name], wanted[name].ravel(), scale_here)


def small(pair: Pair) -> bool:
    """Whether the oracle's expectations, by parameter and case, take little time."""
    side = {n: x[:1] for n, x in pair.states.items() if n in pair.given}
    return len(oracle.table(pair.oracle, side).log_weight) <= STATES


def check_all(model: RandomModel, dtype: str, jit: bool = False) -> None:
    pair = Pair(model, dtype, jit)
    check_energy(pair)
    check_conditionals(pair)
    check_sums(pair, held=False)
    check_sums(pair, held=True)
    if small(pair):
        check_expectations(pair, held=False)
        check_expectations(pair, held=True)


@RANDOM
@given(wide_models())
def test_float64(model: RandomModel) -> None:
    check_all(model, "float64")


@settings(RANDOM, max_examples=20)
@given(wide_models())
def test_float32(model: RandomModel) -> None:
    check_all(model, "float32")


def everything() -> RandomModel:
    """Lateral, multiplicative and tied edges, documents, a given layer, and units of every support."""
    layers = [
        Wide("x", "given", "gaussian", (2,), None),
        Wide("w", "visible", "replicated_softmax", (3,), "c", length=3),
        Wide("v", "visible", "gaussian", (1,), "b"),
        Wide("h", "hidden", "binary", (2,), "a", counted=("w",)),
        Wide("n", "visible", "poisson", (1,), "k"),
        Wide("t", "hidden", "tilted", (1,), "e"),
    ]
    edges = [
        (("w", "h"), "W", False),
        (("x", "h"), "X", False),
        (("v", "h"), "V", False),
        (("h", "h"), "J", False),
        (("v", "t", "h"), "T", False),
        (("n", "t"), "N", False),
    ]
    return make_wide(layers, edges, seed=4)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_compiled(dtype: str) -> None:
    check_all(everything(), dtype, jit=True)


@settings(RANDOM, max_examples=15)
@given(wide_models(limit=300))
def test_oracle_against_itself(model: RandomModel) -> None:
    """Gradients from expectations against finite differences of the enumerated log-probability."""
    pair = Pair(model, "float64", jit=False)
    case = pair.case(0, (*pair.given, *pair.visible))
    for holes in (None, {n: mask[0] for n, mask in pair.held.items()}):
        for name, value in oracle.gradient(pair.oracle, case, holes).items():
            np.testing.assert_allclose(oracle.finite_gradient(pair.oracle, case, name, held=holes), value, atol=1e-7)
