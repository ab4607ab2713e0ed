"""Random models through the compiler against the oracle: every derived quantity, in both precisions.

Tolerances are relative to the sum of the terms' magnitudes. Most models run with the kernels as plain Python; a fixed
few run compiled.
"""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from compiled import random_machine
from hypothesis import HealthCheck, Phase, given, settings
from numpy.typing import NDArray
from random_models import RandomModel, every_unit, random_models

from pgmdsl.compiler.primitives_costs import Costs
from pgmdsl.runtime.costs import ALWAYS
from pgmdsl.runtime.estimators.bound import mean_field_bound, mean_field_value
from pgmdsl.runtime.estimators.exact import exact_log_partition, exact_statistics, log_sums

Array = NDArray[np.floating]
TOLERANCE = {"float64": 1e-9, "float32": 1e-5}
CASES = 3
RANDOM = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    report_multiple_bugs=False,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class Pair:
    """A model compiled, and known to the oracle, with some states of all layers.

    The oracle takes the parameters and states after rounding to the model's dtype.
    """

    def __init__(self, model: RandomModel, dtype: str, jit: bool, costs: Costs | None) -> None:
        parameters = {n: v.astype(dtype).astype(np.float64) for n, v in model.oracle.parameters.items()}
        self.oracle = oracle.OracleModel(model.oracle.layers, model.oracle.edges, parameters)
        self.machine = random_machine(model, dtype, jit, costs)
        rng = np.random.default_rng(7)
        table = oracle.table(self.oracle)
        picked = rng.integers(0, len(table.log_weight), CASES)
        self.states = {n: x[picked].copy() for n, x in table.state.items()}
        for name, layer in model.oracle.layers.items():
            if layer.unit == "gaussian":
                self.states[name] += rng.normal(0, 1, self.states[name].shape)
                self.states[name] = self.states[name].astype(dtype).astype(np.float64)
        self.s = {n: self.statistic(n, x) for n, x in self.states.items()}
        self.magnitude = float(oracle.magnitude(self.oracle, self.states).max())
        largest = oracle.magnitude(self.oracle, table.state).max()
        self.total_magnitude = 1 + float(largest) + abs(table.log_sum)
        self.tolerance = TOLERANCE[dtype]
        self.visible = model.oracle.names("visible")
        self.hidden = model.oracle.names("hidden")

    def statistic(self, name: str, x: Array) -> Array:
        flat = x.reshape(len(x), -1).astype(self.machine.dtype)
        return np.ascontiguousarray(self.machine.kernels.statistic[name](self.machine.p, flat), self.machine.dtype)

    def state(self, name: str, s: Array) -> Array:
        x = np.asarray(self.machine.kernels.state[name](self.machine.p, s), np.float64)
        return x.reshape(len(s), *self.oracle.layers[name].dims)

    def case(self, i: int, names: tuple[str, ...]) -> dict[str, Array]:
        return {n: self.states[n][i : i + 1] for n in names}

    def close(self, got: object, wanted: object, scale: float) -> None:
        np.testing.assert_allclose(got, wanted, rtol=0, atol=self.tolerance * scale)


def check_all(model: RandomModel, dtype: str, jit: bool = False, costs: Costs | None = None) -> None:
    pair = Pair(model, dtype, jit, costs)
    check_energy(pair)
    check_conditionals(pair)
    check_log_partitions(pair)
    check_free_energy(pair)
    check_model_sums(pair)
    check_posterior(pair)
    check_mean_field(pair)


def check_energy(pair: Pair) -> None:
    energy = -pair.machine.score(pair.s, CASES)
    pair.close(energy, oracle.energy(pair.oracle, pair.states), 1 + pair.magnitude)
    for name, x in pair.states.items():
        pair.close(pair.state(name, pair.s[name]), x, 1 + np.abs(x).max())


def check_conditionals(pair: Pair) -> None:
    machine = pair.machine
    for name, x in pair.states.items():
        field = machine.coupling(name, pair.s, CASES)
        mean = np.empty_like(field)
        machine.mean(name, field, mean)
        wanted = oracle.conditional_mean(pair.oracle, name, pair.states)
        pair.close(pair.state(name, mean), wanted, 1 + np.abs(x).max() + pair.magnitude)
        again = np.asarray(machine.kernels.field_of_mean[name](machine.p, mean[0]))[None, :].astype(machine.dtype)
        back = np.empty_like(mean[:1])
        machine.kernels.mean[name](machine.p, np.zeros_like(back), again[0], 0.0, back)
        pair.close(back, mean[:1], 1 + np.abs(mean).max())


def check_log_partitions(pair: Pair) -> None:
    machine = pair.machine
    for name in pair.states:
        others = tuple(n for n in pair.states if n != name)
        sums = log_sums(machine, {n: pair.s[n] for n in others})
        for i in range(CASES):
            wanted = oracle.table(pair.oracle, pair.case(i, others)).log_sum
            pair.close(sums[i], wanted, 1 + pair.magnitude + abs(wanted))
        field = machine.coupling(name, pair.s, CASES)
        for step, slack in ((0.01, 0.0), (0.25, 1e-5)):  # by Gauss's rule: exact for small steps only
            low, high, change = np.zeros(CASES), np.zeros(CASES), np.zeros(CASES)
            own0, own1 = machine.own[name], (machine.own[name] + step).astype(machine.dtype)
            machine.kernels.log_partition[name](machine.p, field, own0, 0.5, low)
            machine.kernels.log_partition[name](machine.p, field, own1, 0.5 + step, high)
            machine.kernels.log_partition_change[name](machine.p, field, own0, 0.5, own1, 0.5 + step, change)
            pair.close(change, high - low, 1 + np.abs(low).max() + np.abs(high).max() + slack / pair.tolerance)


def check_free_energy(pair: Pair) -> None:
    closes = pair.machine.independent(pair.hidden)
    assert bool(pair.machine.artifact.closed) == closes
    if closes:
        free = pair.machine.free_energy({n: pair.s[n] for n in pair.visible})
        for i in range(CASES):
            wanted = oracle.free_energy(pair.oracle, pair.case(i, pair.visible))
            pair.close(free[i], wanted, 1 + pair.magnitude + abs(wanted))


def check_model_sums(pair: Pair) -> None:
    pair.close(exact_log_partition(pair.machine), oracle.log_partition(pair.oracle), pair.total_magnitude)
    found, wanted = exact_statistics(pair.machine), oracle.expectations(pair.oracle)
    for name, mean in found.means.items():
        pair.close(mean[0], wanted.mean[name].ravel(), pair.total_magnitude)
    for name, product in found.products.items():
        pair.close(product.ravel(), wanted.product[name].ravel(), pair.total_magnitude)


def check_posterior(pair: Pair) -> None:
    machine, weights = pair.machine, np.array([1.0, 0.5, 2.0])
    clamped = {n: pair.s[n] for n in pair.visible}
    found, model = exact_statistics(machine, clamped, weights), exact_statistics(machine)
    log_z = exact_log_partition(machine)
    gradient: dict[str, Array] = {}
    for i in range(CASES):
        case = pair.case(i, pair.visible)
        pair.close(found.log_sum[i] - log_z, oracle.log_probability(pair.oracle, case), pair.total_magnitude)
        every = oracle.expectations(pair.oracle, case)
        for name, mean in found.means.items():
            pair.close(mean[i], every.mean[name].ravel(), pair.total_magnitude)
        for name, value in oracle.gradient(pair.oracle, case).items():
            gradient[name] = gradient.get(name, 0.0) + weights[i] / weights.sum() * value
    for name in found.products:
        pair.close((found.products[name] - model.products[name]).ravel(), gradient[name].ravel(), pair.total_magnitude)
    biases: dict[str, Array] = {}
    for name, layer in pair.oracle.layers.items():
        if layer.bias:
            data = pair.s[name].astype(np.float64) if name in clamped else found.means[name]
            change = weights / weights.sum() @ data - model.means[name][0]
            change = change * machine.kernels.own_factor[name](machine.p)
            biases[layer.bias] = biases.get(layer.bias, 0.0) + change
    for name, value in biases.items():
        pair.close(value, gradient[name].ravel(), pair.total_magnitude)


def check_mean_field(pair: Pair) -> None:
    machine = pair.machine
    clamped = {n: pair.s[n] for n in pair.visible}
    s, fields = {**clamped, **machine.new_state(CASES, pair.hidden)}, machine.new_state(CASES, pair.hidden)
    machine.bottom_up(s, fields, frozenset(clamped))
    log_p = log_sums(machine, clamped)
    last = np.full(CASES, -np.inf)
    slack = pair.tolerance * pair.total_magnitude
    for sweep in range(30):
        machine.kernels.mean_field_sweep(machine.p, s, machine.own, machine.scale, fields, frozenset(clamped))
        value = mean_field_value(machine, clamped, {n: s[n] for n in pair.hidden}, fields)
        if sweep in (0, 29):
            for i in range(CASES):
                means = {n: pair.state(n, s[n][i : i + 1]) for n in pair.hidden}
                wanted = oracle.bound(pair.oracle, pair.case(i, pair.visible), means)
                pair.close(value[i], wanted, pair.total_magnitude + pair.magnitude)
        assert (value >= last - slack).all(), "the bound fell"
        assert (value <= log_p + slack).all(), "the bound passed log p"
        last = value
    if machine.independent(pair.hidden):
        pair.close(value, log_p, pair.total_magnitude)
    found = mean_field_bound(machine, clamped, sweeps=3000, tolerance=pair.tolerance / 10)
    for name in pair.hidden:
        present = {**clamped, **found.means}
        mean = np.empty_like(found.means[name])
        machine.mean(name, machine.coupling(name, present, CASES), mean)
        pair.close(mean, found.means[name], pair.total_magnitude)


@RANDOM
@given(random_models())
def test_float64(model: RandomModel) -> None:
    check_all(model, "float64")


@settings(RANDOM, max_examples=25)
@given(random_models())
def test_float32(model: RandomModel) -> None:
    check_all(model, "float32")


@settings(RANDOM, max_examples=10)
@given(random_models(limit=64))
def test_by_table(model: RandomModel) -> None:
    check_all(model, "float64", costs=ALWAYS)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_compiled(dtype: str) -> None:
    check_all(every_unit(), dtype, jit=True, costs=ALWAYS)


@settings(RANDOM, max_examples=15)
@given(random_models(limit=32))
def test_oracle_against_itself(model: RandomModel) -> None:
    """Completing the square against quadrature, and the gradient against finite differences."""
    real = sum(int(np.prod(layer.dims)) for layer in model.oracle.layers.values() if layer.unit == "gaussian")
    log_z = oracle.log_partition(model.oracle)
    if 1 <= real <= 2:
        assert oracle.log_partition_by_quadrature(model.oracle) == pytest.approx(log_z, abs=1e-9)
    state = {n: x[:1] for n, x in oracle.table(model.oracle).state.items()}
    clamp = {n: state[n] for n in model.oracle.names("visible")}
    for name, value in oracle.gradient(model.oracle, clamp).items():
        np.testing.assert_allclose(oracle.finite_gradient(model.oracle, clamp, name), value, atol=1e-7)
