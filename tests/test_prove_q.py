"""Checks that speak of q: what its expectations are, and what they are not."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from plain import CASES, oracle_model, random_state
from plain_values import Here, value_of
from prover_models import MODELS

from pgmdsl.compiler.derive import derive_model
from pgmdsl.compiler.driver import checked_model
from pgmdsl.compiler.prove import verify_checks
from pgmdsl.grammar.source import Source
from pgmdsl.grammar.syntax import Name

BELIEF = """model DBN(D = 784, F1 = 500, F2 = 1000)
visible v  : binary[D]  bias b
hidden  h1 : binary[F1] bias a1
hidden  h2 : binary[F2] bias a2
h1 -> v  : W1
h1 -- h2 : W2
v  ~> h1 : R1
"""
FIELD = """model Field(N = 4, K = 3, P = 2)
visible v : binary[P] bias b
hidden  x : softmax[N, K] bias c
hidden  s : spin[P] bias a
v -- x : W
v -- s : U
x -- s : T
"""
MEAN = "sigmoid(r_h1[j] + sum(R1[i,j]*v[i] for i))"
SUM = "softplus(sum(h1[m] for m))"
STATUS = {
    f"expect(sum(h1[j] for j) under q) == sum({MEAN} for j)": "proved",
    f"expect(sum(h1[j]*h1[m] for j, m) under q) == sum({MEAN} for j)^2 + sum({MEAN} - {MEAN}^2 for j)": "proved",
    f"expect(sum(h1[j]*h1[m] for j, m) under q) == sum({MEAN} for j)^2": "refuted",
    f"expect({SUM} under q) == softplus(sum({MEAN} for j))": "refuted",
    f"expect(sum(v[i]*{SUM} for i) under q) == sum(v[i] for i)*expect({SUM} under q)": "proved",
    f"expect(sum(h1[j]*{SUM} for j) under q) == sum({MEAN} for j)*expect({SUM} under q)": "refuted",
    f"expect({SUM}^2 under q) == expect({SUM} under q)^2": "refuted",
    f"expect({SUM} under q) == sum(expect({SUM} under q)*exp(-sum(b[i] for i)) over v)": "refuted",
    "d(expect(softplus(sum(h1[m] for m)) under q), R1[i,j]) == 0": "refuted",
    "d(expect(softplus(sum(h1[m] for m)) under q), W1[i,j]) == 0": "proved",
    "expect(sum(h2[k] for k) under q)"
    " == expect(sum(sigmoid(a2[k] + sum(W2[j,k]*h1[j] for j)) for k) under q)": "proved",
    "expect(sum(h2[k] for k) under q) == sum(up(h2[k]) for k)": "refuted",
    "kl(q, p(h1, h2 | v)) == 0": "refuted",
    "kl(q, p(h1, h2 | v)) == -bound - log(Z) + log(sum(exp(-energy) over h1, h2))": "proved",
    "kl(q, p(h1, h2 | v)) == -bound - log(Z) + log(sum(exp(-free_energy(v, h1)) over h1))": "proved",
    "kl(q, p(h1, h2 | v)) == log(sum(exp(-energy) over h1, h2)) - log(Z) - bound": "proved",
    "bound == expect(-energy under q) - log(Z)": "refuted",
}
OF_MEANS = {
    "entropy(q) == -sum(x[n,k]*log(x[n,k]) for n, k) - sum((1 + s[i])/2*log((1 + s[i])/2)"
    " + (1 - s[i])/2*log((1 - s[i])/2) for i)": "proved",
    "expect(sum(c[n,k]*x[n,k]*c[m,l]*x[m,l] for n, k, m, l) under q) == sum(c[n,k]*x[n,k] for n, k)^2"
    " + sum(c[n,k]^2*x[n,k] for n, k) - sum(sum(c[n,k]*x[n,k] for k)^2 for n)": "proved",
    "expect(sum(c[n,k]*x[n,k]*c[m,l]*x[m,l] for n, k, m, l) under q) == sum(c[n,k]*x[n,k] for n, k)^2": "refuted",
    "expect(sum(s[i]*s[j] for i, j) under q) == sum(s[i] for i)^2 + sum(1 - s[i]^2 for i)": "proved",
    "bound == -energy - log(Z) + entropy(q)": "proved",
    "q(x[n] = k | v) == x[n,k]": "proved",
    "q(s[i] = -1 | v) == (1 - s[i])/2": "proved",
    "q(s[i] = -1 | v) == 1 - s[i]": "refuted",
    "q(x, s | v) == prod(prod(mean_field(x[n,k])^x[n,k] for k) for n)"
    "*prod((1 + s[i]*mean_field(s[i]))/2 for i)": "proved",
}


def status(model: str, check: str) -> str:
    model_, _ = checked_model(Source("model.ebm", f'{model}check "t": {check}\n'), {})
    (one,) = verify_checks(model_, derive_model(model_), mending=False)
    return one.status


@pytest.mark.parametrize("check", STATUS)
def test_of_recognition(check: str) -> None:
    assert status(BELIEF, check) == STATUS[check]


@pytest.mark.parametrize("check", OF_MEANS)
def test_of_means(check: str) -> None:
    assert status(FIELD, check) == OF_MEANS[check]


def test_recognition_weights_of_zero_leave_q_what_it_is() -> None:
    assert status(BELIEF, "q(h1[j] = 1 | v) == sigmoid(r_h1[j]) where R1 = 0") == "proved"
    assert status(BELIEF, "entropy(q) == sum(softplus(r_h1[j]) for j) where R1 = 0") == "refuted"


def test_the_bound_is_tight_at_the_tied_start_and_nowhere_else() -> None:
    model, _ = checked_model(Source("tied.ebm", MODELS["11_complementary_prior"]), {"D": 3, "F": 2})
    rng = np.random.default_rng(3)
    small = oracle_model(model, rng)
    for tied in (True, False):
        own = small.parameters
        if tied:
            changed = {"W2": own["W1"].T, "c": own["b"], "R": own["W1"], "r_h1": own["a"]}
            for name, value in changed.items():
                small = small.with_parameter(name, value)
        else:
            small = small.with_parameter("W2", own["W2"] + 0.5)
        state = random_state(small, rng, CASES)
        bound = value_of(Name("bound"), Here(small, {**small.parameters, **state}, {}), {})
        log_p = [oracle.log_probability(small, {"v": state["v"][c : c + 1]}) for c in range(CASES)]
        assert np.allclose(bound, log_p, atol=1e-9) == tied
