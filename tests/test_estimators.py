"""Estimators: enumeration chosen by the graph, annealing within its own error bars, figures and their errors."""

from __future__ import annotations

import math

import numpy as np
import oracle
import pytest
from annealed import ais, reverse_ais
from compiled import compile_machine, random_machine
from numpy.typing import NDArray
from random_models import RandomModel, every_unit

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.estimators.ais import Annealing, Sources, annealed_log_partitions
from pgmdsl.runtime.estimators.annealing import base_fields, summed_layers
from pgmdsl.runtime.estimators.bound import mean_field_bound
from pgmdsl.runtime.estimators.evidence import gather
from pgmdsl.runtime.estimators.exact import (
    exact_log_partition,
    exact_statistics,
    log_sums,
)
from pgmdsl.runtime.estimators.plan import plan_enumeration
from pgmdsl.runtime.estimators.result import LogPartition, LogPartitions
from pgmdsl.runtime.estimators.schedules import schedule
from pgmdsl.runtime.estimators.scores import Scores, evaluate, score_cases
from pgmdsl.runtime.estimators.starts import model_states
from pgmdsl.runtime.estimators.summaries import Sample, summarise
from pgmdsl.runtime.estimators.sums import in_seconds
from pgmdsl.runtime.evaluation import conditions_of, estimate_log_partition, log_partition_of_cases
from pgmdsl.runtime.machine import Machine

Array = NDArray[np.floating]

STANDARD_ERRORS = 4.0  # an estimate may be off by; seeds are fixed

CHAIN = """
model Chain(D = 4, F = 3, G = 9)
visible v  : binary[D]
hidden  h1 : spin[F]
hidden  h2 : softmax[2, 3]
hidden  h3 : binary[G]
v  -- h1 : W1
h1 -- h2 : W2
h2 -- h3 : W3
"""

DEEP = """
model Deep(D = 60, F = 12, G = 30)
visible v  : binary[D] bias b
hidden  h1 : binary[F] bias a1
hidden  h2 : binary[G] bias a2
v  -- h1 : W1
h1 -- h2 : W2
"""


def random_parameters(seed: int, spread: float, shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {n: rng.normal(0, 1 if len(shape) == 1 else spread, shape) for n, shape in shapes.items()}


@pytest.fixture(scope="module")
def chain() -> Machine:
    shapes = {"b_v": (4,), "b_h1": (3,), "b_h2": (2, 3), "b_h3": (9,)}
    weights = {"W1": (4, 3), "W2": (3, 2, 3), "W3": (2, 3, 9)}
    return compile_machine(CHAIN, random_parameters(0, 0.7, {**shapes, **weights}), "float64", jit=False)


@pytest.fixture(scope="module")
def deep() -> Machine:
    shapes = {"b": (60,), "a1": (12,), "a2": (30,), "W1": (60, 12), "W2": (12, 30)}
    return compile_machine(DEEP, random_parameters(1, 0.6, shapes), "float32", jit=True)


@pytest.fixture(scope="module")
def mixed() -> tuple[RandomModel, Machine]:
    model = every_unit(seed=6, spread=0.9)
    return model, random_machine(model, "float64", jit=True)


# --- enumeration ------------------------------------------------------------------------------------------


def test_plan_takes_the_cheapest_cover(chain: Machine) -> None:
    plan = plan_enumeration(chain.artifact)
    assert plan.enumerated == ("h1", "h2")  # 2^3 * 9 states; v with h2 has 2^4 * 9
    assert plan.closed == ("v", "h3")
    assert plan.states == 8 * 9
    assert plan_enumeration(chain.artifact, frozenset({"v"})).enumerated == ("h2",)
    assert plan_enumeration(chain.artifact, frozenset({"v", "h2"})).enumerated == ()
    assert plan_enumeration(chain.artifact, frozenset({"v", "h2"})).states == 1


def test_refusal_names_the_cost_and_the_way_out(deep: Machine, chain: Machine) -> None:
    with pytest.raises(Error, match=r"all 2\^12 states of h1.*method = ais"):
        exact_log_partition(deep, limit=2**12)
    with pytest.raises(Error, match=r"for each of 3 cases"):
        log_sums(chain, {"v": np.zeros((3, 4))}, limit=10)


@pytest.mark.parametrize(
    ("cost", "words"),
    [(10, "1 s"), (2**35, "1 minute"), (2**36, "2 minutes"), (2**54, "1 year"), (2**99, "10^14 years")],
)
def test_costs_in_words(cost: int, words: str) -> None:
    assert in_seconds(cost) == words


@pytest.mark.parametrize("cases", [1, 5, 40])
def test_many_cases_agree_with_one_by_one(chain: Machine, cases: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of cases, rows of states, and several chunks of either give the same sums and statistics."""
    rng = np.random.default_rng(2)
    clamped = {"v": rng.integers(0, 2, (cases, 4)).astype(float)}
    weights = rng.uniform(0.5, 2, cases)
    whole = exact_statistics(chain, clamped, weights)
    monkeypatch.setattr("pgmdsl.runtime.estimators.sums.ROW_BYTES", 16 * 22 * 3)
    chunked = exact_statistics(chain, clamped, weights)
    np.testing.assert_allclose(chunked.log_sum, whole.log_sum, rtol=1e-12)
    total = 0.0
    for i in range(cases):
        one = exact_statistics(chain, {"v": clamped["v"][i : i + 1]})
        np.testing.assert_allclose(one.log_sum, whole.log_sum[i : i + 1], rtol=1e-12)
        for name, mean in one.means.items():
            np.testing.assert_allclose(mean[0], whole.means[name][i], atol=1e-12)
            np.testing.assert_allclose(mean[0], chunked.means[name][i], atol=1e-12)
        total = total + weights[i] / weights.sum() * one.products["W2"]
    np.testing.assert_allclose(whole.products["W2"], total, atol=1e-12)
    np.testing.assert_allclose(chunked.products["W2"], total, atol=1e-12)


def test_probabilities_of_all_visible_states_sum_to_one(chain: Machine) -> None:
    every = np.array(np.meshgrid(*[[0.0, 1.0]] * 4)).reshape(4, -1).T
    scores = score_cases(chain, {"v": np.ascontiguousarray(every)}, estimate_log_partition(chain, "exact", None))
    assert scores.side == "exact"
    assert scores.method == "enumeration"
    assert np.exp(scores.values).sum() == pytest.approx(1, abs=1e-12)


def test_a_part_of_the_model_and_doubled_inputs(chain: Machine) -> None:
    part = Machine(chain.artifact, chain.kernels, chain.parameters, layers=("v", "h1"))
    found = exact_statistics(part)
    assert set(found.means) == {"v", "h1"}
    weight, b, a = chain.p["W1"], chain.p["b_v"], chain.p["b_h1"]
    every = np.array(np.meshgrid(*[[0.0, 1.0]] * 4)).reshape(4, -1).T
    log_z = np.log(np.exp(every @ b + np.log(2 * np.cosh(every @ weight + a)).sum(1)).sum())
    assert found.log_sum[0] == pytest.approx(log_z, abs=1e-12)
    np.testing.assert_array_equal(found.products["W3"], 0)
    doubled = Machine(chain.artifact, chain.kernels, chain.parameters, layers=("v", "h1"), scale={"h1": 2.0})
    with pytest.raises(Error, match="doubled"):
        exact_log_partition(doubled)


# --- annealing --------------------------------------------------------------------------------------------


def test_schedule() -> None:
    betas = schedule(14500)
    assert len(betas) == 14501
    assert betas[0] == 0
    assert betas[-1] == 1
    assert (np.diff(betas) > 0).all()
    assert betas[500] == pytest.approx(0.5)
    assert betas[4000] == pytest.approx(0.9)
    assert len(schedule(3)) == 4
    with pytest.raises(Error, match="3 temperatures"):
        schedule(2)


def test_summed_layers_are_the_largest_independent_set(chain: Machine, deep: Machine) -> None:
    assert summed_layers(chain) == ("v", "h3")
    assert summed_layers(deep) == ("v", "h2")


def agree(found: LogPartition, exact: float, most: float) -> None:
    assert 0 < found.standard_error < most
    assert abs(found.value - exact) < STANDARD_ERRORS * found.standard_error
    assert found.lower < found.value < found.upper
    assert found.side == "estimate"


def test_annealing_agrees_with_enumeration(deep: Machine) -> None:
    exact = estimate_log_partition(deep, "auto", None)
    assert exact.method == "exact"
    assert exact.lower == exact.value == exact.upper
    means = {"v": np.linspace(0.001, 1, 60)}  # any base will do, and means of 0 and 1 are moved inside
    seen: list[tuple[int, int]] = []
    forward = ais(deep, temperatures=1000, chains=200, seed=1, progress=lambda k, n: seen.append((k, n)))
    agree(forward, exact.value, 0.05)
    agree(ais(deep, temperatures=2000, chains=200, seed=2, means=means), exact.value, 0.1)
    agree(reverse_ais(deep, temperatures=2000, chains=200, seed=3), exact.value, 0.1)
    assert seen[-1] == (2000, 2000)  # two batches of 100 chains
    assert forward.chains == 200
    assert forward.temperatures == 1000
    assert forward.warning is None
    again = ais(deep, temperatures=1000, chains=200, seed=1)
    assert again.value == forward.value


def test_annealing_any_units_and_a_loop(mixed: tuple[RandomModel, Machine]) -> None:
    model, machine = mixed
    exact = oracle.log_partition(model.oracle)
    assert exact_log_partition(machine) == pytest.approx(exact, abs=1e-9)
    assert summed_layers(machine) == ("v", "y", "z")
    means = {"y": np.array([0.5, 0.5, 0, 0.1, 0.2, 0.7]), "v": np.array([0.3, -1.0]), "h": np.full(3, 0.1)}
    agree(ais(machine, temperatures=1500, chains=300, seed=1), exact, 0.1)
    agree(ais(machine, temperatures=1500, chains=300, seed=2, means=means), exact, 0.1)
    agree(reverse_ais(machine, temperatures=1500, chains=300, seed=5), exact, 0.1)


def test_annealing_without_coupling_is_exact(deep: Machine) -> None:
    """Every weight is 1 where base and model are one; then also the base's own log Z shows."""
    zero = {n: np.zeros_like(v) if n.startswith("W") else v for n, v in deep.parameters.items()}
    still = Machine(deep.artifact, deep.kernels, zero)
    found = ais(still, temperatures=10, chains=20)
    assert found.standard_error < 1e-6
    assert found.value == pytest.approx(exact_log_partition(still), abs=1e-4)
    for name, own in base_fields(still).items():
        np.testing.assert_array_equal(own, still.own[name])


def test_too_few_temperatures_carry_a_warning(deep: Machine) -> None:
    strong = {n: 4 * v for n, v in deep.parameters.items()}
    found = ais(Machine(deep.artifact, deep.kernels, strong), temperatures=20, chains=100, seed=0)
    assert found.effective_sample_size is not None
    assert found.effective_sample_size < 10
    assert found.warning is not None
    assert "more than 20 temperatures" in found.warning
    with pytest.raises(Error, match="2 chains"):
        ais(deep, temperatures=20, chains=1)


WIDE = """
model Wide
given   x : binary[2]
visible w : replicated_softmax[3] bias b
visible v : gaussian[2](sigma = learned) bias c
hidden  h : binary[2] bias a
hidden  g : spin[2] bias none
x -- h : X
w -- h : W
v -- g : V
h -- h : L
v -- v : M
x * h * g : T
"""


@pytest.fixture(scope="module")
def wide() -> Machine:
    shapes = {"b": (3,), "c": (2,), "a": (2,), "X": (2, 2), "W": (3, 2), "V": (2, 2), "T": (2, 2, 2)}
    parameters = random_parameters(3, 0.6, shapes)
    symmetric = np.array([[0.0, 1.0], [1.0, 0.0]])
    parameters |= {"L": 0.9 * symmetric, "M": -0.4 * symmetric, "sigma_v": np.array([0.5, 1.5])}
    return compile_machine(WIDE, parameters, "float64", jit=False)


def test_annealing_each_case_once(wide: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given layers, documents of several lengths, lateral and multiplicative edges; in batches as in one."""
    assert summed_layers(wide, {"x"}) == ("w", "g")
    x = np.array([[0.0, 1], [1, 1], [0, 1], [0, 1]])
    lengths = {"w": np.array([2.0, 2, 5, 2])}
    exact = log_sums(wide, {"x": x}, lengths=lengths)
    seen: list[tuple[int, int]] = []
    means = {"w": np.array([0.5, 2.0, 0.0]), "v": np.array([0.3, -0.2])}
    for batch in (2**25, 1):
        monkeypatch.setattr("pgmdsl.runtime.estimators.chains.BATCH_BYTES", batch)
        found = annealed_log_partitions(
            wide,
            "ais",
            Annealing(temperatures=60, chains=60, batch=60),
            sources=Sources(means),
            clamped={"x": x},
            lengths=lengths,
            progress=lambda k, n: seen.append((k, n)),
        )
        assert len(found.runs) == 3
        assert found.which[0] == found.which[3]
        errors = found.errors_of_cases(4)
        assert ((errors > 0) & (errors < 0.2)).all()
        assert (np.abs(found.of_cases(4) - exact) < STANDARD_ERRORS * errors).all()
    assert seen[-1] == (180, 180)
    one = {"clamped": {"x": x[2:3]}, "lengths": {"w": 5.0}, "temperatures": 60, "chains": 60}
    agree(reverse_ais(wide, seed=2, **one), exact[2], 0.2)
    with pytest.raises(Error, match="3 cases have different values"):
        reverse_ais(wide, clamped={"x": x}, lengths=lengths, temperatures=3)


def test_tempering_keeps_what_is_given(wide: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgmdsl.runtime.estimators.starts.TEMPERED_SWEEPS", 3)
    evidence = gather(wide, {"x": np.array([[0.0, 1]])}, lengths={"w": 4.0})
    s = model_states(evidence, 5, "tempering", 0, ("test",), means={"w": np.array([0.5, 2.0, 0.5])})
    assert {n: x.shape for n, x in s.items()} == {"x": (5, 2), "w": (5, 3), "v": (5, 2), "h": (5, 2), "g": (5, 2)}
    assert (s["x"] == [0, 1]).all()
    assert (s["w"].sum(axis=1) == 4).all()
    assert (np.abs(s["g"]) == 1).all()
    with pytest.raises(Error, match="no layer clamped but given ones"):
        model_states(
            gather(wide, {"x": np.ones((1, 2)), "h": np.ones((1, 2))}, lengths={"w": 4.0}), 5, "tempering", 0, ()
        )


def test_annealing_around_clamped_layers(wide: Machine) -> None:
    """What is clamped adds its own score, and its share of every edge."""
    x, h = np.array([[1.0, 0]]), np.array([[1.0, 1]])
    exact = log_sums(wide, {"x": x, "h": h}, lengths={"w": 4.0})
    found = ais(wide, clamped={"x": x, "h": h}, lengths={"w": 4.0}, temperatures=60, chains=60)
    agree(found, exact[0], 0.2)


def test_log_z_of_each_case_or_one(wide: Machine, chain: Machine) -> None:
    s = {"x": np.array([[0.0, 1], [1, 1], [0, 1]]), "w": np.array([[1.0, 0, 1], [0, 2, 0], [1, 1, 0]])}
    found = log_partition_of_cases(wide, "auto", None, *conditions_of(wide, s))
    assert isinstance(found, LogPartitions)
    assert (found.side, found.method, found.warning) == ("exact", "exact", None)
    np.testing.assert_allclose(found.of_cases(3), log_sums(wide, {"x": s["x"]}, lengths={"w": 2.0}), atol=1e-12)
    assert found.mean().value == pytest.approx(found.of_cases(3).mean())
    one = log_partition_of_cases(chain, "auto", None, *conditions_of(chain, {"v": np.zeros((3, 4))}))
    assert isinstance(one, LogPartition)
    runs = tuple(LogPartition(v, e, v, v, "ais", 0.0) for v, e in ((1.0, 0.3), (3.0, 0.4)))
    several = LogPartitions(runs, np.array([0, 1, 1, 1]))
    assert several.error_of_mean(np.full(4, 0.25)) == pytest.approx(math.hypot(0.25 * 0.3, 0.75 * 0.4))
    assert several.mean().value == pytest.approx(2.5)


# --- figures ----------------------------------------------------------------------------------------------


def test_figures_of_a_deep_model(deep: Machine) -> None:
    rng = np.random.default_rng(3)
    cases = {"v": rng.integers(0, 2, (50, 60)).astype(np.float32)}
    log_z = estimate_log_partition(deep, "exact", None)
    exact, lower = evaluate(deep, cases, log_z, sample=Sample(bits="bits drawn once, seed 0"))
    assert (exact.side, lower.side) == ("exact", "lower bound")
    assert lower.value < exact.value
    assert exact.value - lower.value < 5
    assert "bits drawn once" in str(exact)
    plain, tighter = evaluate(deep, cases, log_z, limit=1)
    assert plain.side == tighter.side == "lower bound"
    assert plain.value == lower.value < tighter.value < exact.value
    assert plain.name == "test log-probability bound"
    assert tighter.name == "test log-probability bound, importance-weighted"
    bound = mean_field_bound(deep, cases)
    assert (bound.log_weight <= log_sums(deep, cases) + 1e-3).all()


def test_hidden_layers_that_do_not_interact_have_no_bound_to_show() -> None:
    text = "model Two(D = 3)\nvisible v : binary[D]\nhidden h : spin[2]\nhidden g : binary[2]\nv -- h : W\nv -- g : V\n"
    shapes = {"b_v": (3,), "b_h": (2,), "b_g": (2,), "W": (3, 2), "V": (3, 2)}
    machine = compile_machine(text, random_parameters(0, 1.0, shapes), "float64", jit=False)
    (only,) = evaluate(machine, {"v": np.eye(3)}, estimate_log_partition(machine, "exact", None))
    assert (only.side, only.method, only.warning) == ("exact", "free energy", None)


@pytest.mark.parametrize(
    ("sigma", "words"), [(1e-8, "is -5e+15 nats a unit: look for a standard deviation"), (1.0, None)]
)
def test_an_absurd_figure_says_so(sigma: float, words: str | None) -> None:
    text = "model G\nvisible v : gaussian[2](sigma = data)\nhidden h : binary[1]\nv -- h : W\n"
    parameters = {"sigma_v": np.full(2, sigma), "W": np.zeros((2, 1)), "b_v": np.zeros(2), "b_h": np.zeros(1)}
    machine = compile_machine(text, parameters, "float64", jit=False)
    log_z = estimate_log_partition(machine, "exact", None)
    assert log_z.warning is None
    (figure,) = evaluate(machine, {"v": np.ones((3, 2)) / sigma}, log_z)
    assert ("warning" in str(figure)) == (words is not None)
    assert figure.warning is None if words is None else words in str(figure.warning)


@pytest.mark.parametrize(
    ("bias", "dtype", "words"),
    [(1e9, "float32", "uncertain by"), (1e9, "float64", None), (np.inf, "float64", "log Z is")],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_absurd_log_partition_says_so(bias: float, dtype: str, words: str | None) -> None:
    text = "model M\nvisible v : binary[1]\nhidden h : binary[1]\nv -- h : W\n"
    parameters = {"W": np.zeros((1, 1)), "b_v": np.full(1, bias), "b_h": np.zeros(1)}
    machine = compile_machine(text, parameters, dtype, jit=False)
    found = estimate_log_partition(machine, "exact", None)
    assert found.warning is None if words is None else words in str(found.warning)


def test_weighted_cases_and_both_errors() -> None:
    scores = Scores(np.array([-1.0, -2.0, -4.0]), "estimate", "free energy")
    log_z = LogPartition(3.0, 0.25, 2.5, 3.5, "ais", 0.0)
    plain = summarise("test log-probability", scores, log_z)
    assert plain.value == pytest.approx(-7 / 3)
    assert plain.case_error == pytest.approx(np.std([-1, -2, -4], ddof=1) / math.sqrt(3))
    assert plain.log_partition_error == 0.25
    weighted = summarise("test log-probability", scores, log_z, Sample(np.array([1.0, 1.0, 0.0])))
    assert weighted.value == pytest.approx(-1.5)
    assert weighted.case_error == pytest.approx(np.std([-1, -2], ddof=1) / math.sqrt(2))
    single = summarise("test log-probability", Scores(np.array([-1.0]), "exact", "free energy"), log_z)
    assert math.isnan(single.case_error)
