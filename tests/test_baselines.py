"""Mixtures and independent units, error bars of figures, and the mixing of chains."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from compiled import compile_machine, plain_python
from numpy.typing import NDArray

import pgmdsl
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.estimators.baselines import fit_mixture
from pgmdsl.runtime.estimators.diagnostics import bulk_ess, mixing, r_hat
from pgmdsl.runtime.estimators.result import Figure
from pgmdsl.runtime.estimators.scores import Scores
from pgmdsl.runtime.estimators.summaries import Sample, difference, perplexities, spread, summarise
from pgmdsl.runtime.machine import Machine
from pgmdsl.samples import Samples

Array = NDArray[np.float64]

EVERY = """
model Every
visible v : binary[6] bias b
visible y : softmax[2, 3] bias c
visible g : gaussian[2](sigma = learned) bias f
visible n : poisson[2] bias k
hidden  h : binary[2] bias a
v -- h : V
y -- h : Y
g -- h : G
n -- h : N
"""


@pytest.fixture(scope="module")
def every() -> Machine:
    shapes = {"V": (6, 2), "Y": (6, 2), "G": (2, 2), "N": (2, 2), "b": 6, "c": 6, "f": 2, "k": 2, "a": 2}
    zero = {n: np.zeros(s) for n, s in shapes.items()}
    return compile_machine(EVERY, zero | {"sigma_g": np.array([0.5, 2.0])}, "float64", jit=False)


def two_kinds(cases: int) -> dict[str, Array]:
    """Statistics of two clusters of cases of all layers of `EVERY`."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, cases)
    y = np.eye(3)[np.where(kind[:, None] == 0, 0, rng.integers(1, 3, (cases, 2)))].reshape(cases, 6)
    return {
        "v": (rng.random((cases, 6)) < np.where(kind[:, None] == 0, 0.1, 0.9)).astype(float),
        "y": y,
        "g": rng.normal(np.where(kind[:, None] == 0, -2.0, 3.0), 1, (cases, 2)),
        "n": rng.poisson(np.where(kind[:, None] == 0, 1.0, 6.0), (cases, 2)).astype(float),
    }


def test_em_never_falls_and_finds_what_there_is(every: Machine) -> None:
    s = two_kinds(300)
    with plain_python():
        alone, two = (fit_mixture(every, s, k, iterations=25) for k in (1, 2))
        many = fit_mixture(every, s, 12, iterations=25, weights=np.arange(300) + 1.0)
        scores = alone.log_probability(s), two.log_probability(s)
    for found in (two, many):
        assert len(found.history) == 25
        assert (np.diff(found.history) > -1e-9).all()
    assert scores[1].mean() - scores[0].mean() > 5
    assert np.sort(np.exp(two.log_share)) == pytest.approx([0.48, 0.52], abs=0.06)


def test_a_mixture_is_a_distribution() -> None:
    text = (
        "model M\nvisible v : binary[4] bias b\nvisible y : softmax[3] bias c\nhidden h : binary[1]\nv -- h\ny -- h\n"
    )
    names = {"b": 4, "c": 3, "b_h": 1, "W_v_h": (4, 1), "W_y_h": (3, 1)}
    machine = compile_machine(text, {n: np.zeros(x) for n, x in names.items()}, "float64", jit=False)
    rng = np.random.default_rng(1)
    data = {"v": rng.integers(0, 2, (40, 4)).astype(float), "y": np.eye(3)[rng.integers(0, 3, 40)]}
    v, y = (np.array(list(x)) for x in zip(*itertools.product(np.ndindex(*[2] * 4), np.eye(3)), strict=True))
    with plain_python():
        for components in (1, 3):
            found = fit_mixture(machine, data, components, iterations=5)
            assert np.exp(found.log_probability({"v": v.astype(float), "y": y})).sum() == pytest.approx(1, abs=1e-9)
        alone = fit_mixture(machine, data, 1)
        mean = data["v"].mean(axis=0)
        wanted = data["v"] @ np.log(mean) + (1 - data["v"]) @ np.log(1 - mean) + data["y"] @ np.log(data["y"].mean(0))
        np.testing.assert_allclose(alone.log_probability(data), wanted, atol=1e-4)


def test_mixtures_of_documents_are_of_words_in_their_order() -> None:
    text = "model D\nvisible w : replicated_softmax[5] bias b\nhidden h : binary[1] bias a\nw -- h : W\n"
    machine = compile_machine(text, {"b": np.zeros(5), "a": np.zeros(1), "W": np.zeros((5, 1))}, "float64", jit=False)
    rng = np.random.default_rng(2)
    kinds = np.array([[0.5, 0.3, 0.1, 0.05, 0.05], [0.05, 0.05, 0.1, 0.3, 0.5]])
    words = np.array([rng.multinomial(rng.integers(5, 30), kinds[k]) for k in rng.integers(0, 2, 200)]).astype(float)
    with plain_python():
        alone, two = (fit_mixture(machine, {"w": words}, k, iterations=30) for k in (1, 2))
        frequency = words.sum(0) / words.sum()
        np.testing.assert_allclose(alone.log_probability({"w": words}), words @ np.log(frequency), rtol=1e-5)
        assert two.log_probability({"w": words}).mean() > alone.log_probability({"w": words}).mean() + 1
    assert (np.diff(two.history) > -1e-9).all()


# --- error bars -------------------------------------------------------------------------------------------


def test_blocks_widen_the_error_of_a_time_series() -> None:
    """Of an autoregression with coefficient 0.8 the variance of a mean is (1 + 0.8)/(1 - 0.8) times that of noise."""
    rng, held = np.random.default_rng(0), []
    for _ in range(200):
        x = np.empty(600)
        x[0] = rng.normal() / 0.6
        for t in range(1, 600):
            x[t] = 0.8 * x[t - 1] + rng.normal()
        share = np.full(600, 1 / 600)
        mean = float(share @ x)
        held.append([abs(mean) < 1.96 * spread(share, x - mean, block) for block in (1, 40)])
    alone, blocks = np.mean(held, axis=0)
    assert alone < 0.65
    assert 0.88 <= blocks <= 0.97


def test_error_of_blocks_is_that_of_the_bootstrap() -> None:
    rng = np.random.default_rng(1)
    x, weights = rng.normal(size=24).cumsum(), rng.uniform(0.5, 2, 24)
    share = weights / weights.sum()
    terms = share * (x - share @ x)
    starts = rng.integers(0, 24, (40_000, 6))  # six blocks of four, going round
    drawn = terms[(starts[:, :, None] + np.arange(4)) % 24].sum(axis=(1, 2))
    effective = 1 / (share**2).sum()
    wanted = drawn.std() * math.sqrt(effective / (effective - 4))
    assert spread(share, x - share @ x, 4) == pytest.approx(wanted, rel=0.02)
    with pytest.raises(Error, match="at most half of the 24 cases"):
        Sample(block=13).shares(24)


def test_paired_differences_have_their_own_errors() -> None:
    rng = np.random.default_rng(2)
    common, apart = rng.normal(0, 10, 400), rng.normal(0.5, 0.1, 400)
    first, second = (
        summarise("test log-probability", Scores(x, "exact", "free energy"), None) for x in (common + apart, common)
    )
    found = difference(first, second)
    assert found.value == pytest.approx(0.5, abs=0.03)
    assert found.case_error < 0.01 < first.case_error
    assert found.side == "exact"
    shorter = summarise("test log-probability", Scores(common[:9], "exact", "free energy"), None)
    with pytest.raises(Error, match="different cases"):
        difference(first, shorter)


def test_perplexity_by_length() -> None:
    rng = np.random.default_rng(3)
    words = rng.integers(10, 200, 400).astype(float)
    scores = Scores(-words * np.log(50), "exact", "free energy")
    exact = pgmdsl.runtime.estimators.result.LogPartition(0.0, 0.0, 0.0, 0.0, "exact", 0.0)
    every, *parts = perplexities("test perplexity per word", scores, words, exact)
    assert every.value == pytest.approx(50)
    assert len(parts) == 4
    assert sum(f.cases for f in parts) == 400
    assert all(f.value == pytest.approx(50) for f in parts)
    assert parts[0].name.startswith("test perplexity per word, of 10 to ")
    assert len(perplexities("p", Scores(scores.values[:30], "exact", ""), words[:30], exact)) == 1


def test_few_effective_draws_are_told() -> None:
    scores = Scores(np.zeros(5), "lower bound", "importance weighting", 2.0, 50)
    figure = summarise("test bound", scores, None)
    assert "50 draws are worth 2.0" in str(figure.warning)
    assert isinstance(figure, Figure)
    assert "each" not in figure.as_json()


# --- mixing -----------------------------------------------------------------------------------------------


def chains(kind: int) -> Array:
    rng = np.random.default_rng(kind)
    x = rng.normal(size=(4, 201 if kind == 2 else 200))
    if kind == 1:
        for t in range(1, x.shape[1]):
            x[:, t] += 0.9 * x[:, t - 1]
    if kind == 2:
        x += np.array([0.0, 0, 0, 1.0])[:, None]
    if kind == 3:
        x = np.round(np.abs(x))
    if kind == 4:
        x = x[:2, ::2] * [[-1, 1] * 50]
    return x


# R-hat (method rank) and bulk effective sample size as ArviZ 0.23.4 gives them
ARVIZ = [
    (0.9987659602507241, 831.5985794730396),
    (1.1344195601671327, 26.962652406162654),
    (1.1060126085888982, 26.907343976026237),
    (1.0011315981701105, 895.824647798171),
    (1.0003523579891307, 213.8446671032548),
]


@pytest.mark.parametrize("kind", range(5))
def test_mixing_is_arvizs(kind: int) -> None:
    found, (wanted_r_hat, wanted_size) = chains(kind), ARVIZ[kind]
    assert r_hat(found) == pytest.approx(wanted_r_hat, rel=1e-9)
    assert bulk_ess(found) == pytest.approx(wanted_size, rel=1e-9)


def test_chains_that_have_not_mixed_say_so() -> None:
    assert "have not mixed" in str(mixing(chains(2)).warning)
    assert mixing(chains(0)).warning is None
    assert not mixing(np.zeros((2, 3))).known
    assert not mixing(np.zeros((2, 10))).known


def test_samples_for_arviz() -> None:
    arviz = pytest.importorskip("arviz")
    samples = Samples({"v": np.random.default_rng(0).normal(size=(4, 50, 2, 3)), "h": np.zeros((4, 50, 2))})
    found = samples.to_arviz()
    assert dict(found["posterior"]["v"].sizes) == {"chain": 4, "draw": 50, "v_0": 2, "v_1": 3}
    theirs = arviz.rhat(found["posterior"])["v"].values
    np.testing.assert_allclose(theirs[1, 2], r_hat(samples["v"][:, :, 1, 2]), rtol=1e-9)
    assert set(samples.mixing()) == {"v", "h"}
