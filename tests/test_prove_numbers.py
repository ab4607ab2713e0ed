"""Checks decided by numbers: a proof is looked at once more, and only a stable difference refutes."""

from __future__ import annotations

import re

import pytest

from pgmdsl.compiler.derive import derive_model
from pgmdsl.compiler.driver import checked_model
from pgmdsl.compiler.prove import Verdict, verify_checks
from pgmdsl.grammar.source import Source

RBM = "model RBM(D = 4, F = 3)\nvisible v : binary[D] bias b\nhidden h : binary[F] bias a\nv -- h : W\n"
GAUSS = "model G(D = 4, F = 3)\nvisible v : gaussian[D](sigma = 2) bias b\nhidden h : binary[F] bias a\nv -- h : W\n"
MEANS = (
    "model M(D = 4, F = 3, K = 5)\nvisible v : binary[D] bias b\nhidden s : spin[F] bias a\n"
    "hidden y : softmax[K] bias c\nv -- s : W\nv -- y : U\n"
)


def verdict(model: str, check: str) -> Verdict:
    checked, _ = checked_model(Source("model.ebm", f'{model}check "t": {check}\n'), {})
    (one,) = verify_checks(checked, derive_model(checked), mending=False)
    return one


FIELD = "(a[j] + sum(W[i,j]*v[i] for i))"
ODDS = f"sigmoid({FIELD})*(1 - sigmoid({FIELD}))"
ZERO = "(factorial(D+1) - (D+1)*factorial(D))"
HIDDEN_ZERO = "(factorial(b[i]+1) - (b[i]+1)*factorial(b[i]))"
MEAN = "(b[i] + sigma_v[i]*sum(W[i,j]*h[j] for j))"
VANISHING = "(abs(sigma_v[i]) - sigma_v[i])"
GRADIENT = "gradient(b[i]) == data(v[i])/sigma_v[i]^2 - model(v[i])/sigma_v[i]^2"


# --- proofs looked at ---


@pytest.mark.parametrize(
    ("model", "check"),
    [
        (GAUSS, f"p(v[i] | h) == normal({MEAN}*{VANISHING}/{VANISHING}, sigma_v[i])"),
        (RBM, f"energy == energy*{ZERO}/{ZERO}"),
        (RBM, f"gradient(b[i]) == data(v[i])*{ZERO}/{ZERO} - model(v[i])"),
    ],
)
def test_a_side_without_a_value_is_refuted(model: str, check: str) -> None:
    assert verdict(model, check).status == "refuted"


def test_a_denominator_that_is_zero_but_for_rounding_is_no_proof() -> None:
    one = verdict(RBM, f"d(energy, b[i]) == -v[i]*{HIDDEN_ZERO}/{HIDDEN_ZERO}")
    assert one.status != "proved"
    assert not one.passed


def test_a_proof_of_a_wrong_normal_form_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgmdsl.compiler.claim.Claim._is_one_form", lambda *_: True)
    assert verdict(RBM, "d(energy, b[i]) == -v[i] + 0.001").status == "refuted"
    assert verdict(RBM, "gradient(b[i]) == data(v[i]) - 1.001*model(v[i])").status == "refuted"
    assert verdict(RBM, "gradient(b[i]) == data(v[i]) - model(v[i])").status == "proved"


# --- ranges ---


@pytest.mark.parametrize(
    ("check", "status"),
    [
        ("energy == sum(energy*abs(exp(a[i]))/exp(a[i]) for i)/D", "refuted"),
        ("energy == sum(energy*abs(exp(a[i]))/exp(a[i]) for i)/F", "agrees"),
        ("energy == sum(free_energy(v)*abs(exp(a[i]))/exp(a[i]) for i)/F - free_energy(v) + energy", "agrees"),
        ("energy == energy + sum(softmax(b[q] for q at i) for i) - 2", "refuted"),
        ("energy == energy + sum(softmax(b[q] for q at i) for i) - 1", "proved"),
        ("energy == energy + sum(abs(softmax(b[q] for q at i)) for i) - 1", "agrees"),
    ],
)
def test_an_index_runs_over_the_axis_it_stands_at(check: str, status: str) -> None:
    one = verdict(RBM, check)
    assert (one.status, one.passed) == (status, status != "refuted")


# --- what is true is not refuted ---


def test_one_hot_means_sum_to_one() -> None:
    right = "tanh(a[j] + sum(W[i,j]*v[i] for i){})"
    assert verdict(MEANS, f"mean_field(s[j]) == {right.format('*sum(y[k] for k)')}").status == "proved"
    assert verdict(MEANS, f"mean_field(s[j]) == {right.format('*abs(sum(abs(y[k]) for k))')}").status == "agrees"
    assert verdict(MEANS, f"mean_field(s[j]) == {right.format('*sum(y[k]*y[m] for k, m)')}").status == "proved"
    assert verdict(MEANS, f"mean_field(s[j]) == {right.format('/sum(y[k]^-1 for k)')}").status == "refuted"
    assert verdict(MEANS, f"mean_field(s[j]) == {right.format('*sum(y[k]^2 for k)')}").status == "refuted"


@pytest.mark.parametrize(
    ("model", "check"),
    [
        (RBM, f"d(d(free_energy(v), a[j]), a[j]) == -{ODDS}*abs(exp(a[j]))/exp(a[j])"),
        (RBM, "energy == energy + abs(exp(120)) - exp(120)"),
        (RBM, "energy == energy + abs(exp(60)*exp(60)*exp(60)) - exp(180)"),
        (RBM, "gradient(b[i]) == data(v[i]) - model(v[i]) + abs(exp(1)*exp(2)) - exp(3)"),
        (GAUSS, f"{GRADIENT} + model(exp(2*v[i])) - model(exp(2*{MEAN} + 4*sigma_v[i]^2/2))"),
    ],
)
def test_true_ones_agree(model: str, check: str) -> None:
    one = verdict(model, check)
    assert (one.status, one.passed) == ("agrees", True), one.detail


@pytest.mark.parametrize(
    ("model", "check"),
    [
        (RBM, "energy == energy + abs(exp(10000)) - exp(5000)*exp(5000)"),
        (RBM, "gradient(b[i]) == data(v[i]) - model(v[i]) + abs(exp(60)*exp(60)) - exp(120)"),
    ],
)
def test_undecided_is_said_and_does_not_pass(model: str, check: str) -> None:
    one = verdict(model, check)
    assert (one.status, one.points, one.passed) == ("agrees", 0, False)
    assert one.detail.startswith("no proof found, and ")


# --- what is false is refuted ---


@pytest.mark.parametrize(
    ("model", "check"),
    [
        (RBM, f"d(d(free_energy(v), a[j]), a[j]) == -1.000001*{ODDS}"),
        (RBM, "energy == energy + (abs(exp(200)) + 1) - exp(200)"),
        (RBM, "energy == energy + abs(exp(-200))"),
        (RBM, "energy == energy + sum(tanh(200*exp(a[j])) - 1 for j)"),
        (GAUSS, f"{GRADIENT} + model(exp(v[i]/2)) - model(exp({MEAN}/2 + sigma_v[i]^2/9))"),
    ],
)
def test_false_ones_are_refuted(model: str, check: str) -> None:
    assert verdict(model, check).status == "refuted"


@pytest.mark.parametrize(
    ("right", "told"),
    [
        ("energy + exp(2000)", r"the left side is -?[\d.]+ and the right side 3\.8811\d?e\+868"),
        ("energy*(1 + abs(10^-9))", r"the left side is (-[\d.]{8,}) and the right side (?!\1)-[\d.]{8,}"),
        ("energy + exp(-2000)", r"both sides are about -[\d.]+, and differ after 40 digits"),
        ("energy/0", r"the left side is -[\d.]+ and the right side no value"),
    ],
)
def test_the_values_told_differ(right: str, told: str) -> None:
    one = verdict(RBM, f"energy == {right}")
    assert one.status == "refuted"
    assert re.fullmatch(told + " at D = 2, F = 3", one.detail), one.detail


def test_a_value_too_large_is_not_the_models_fault() -> None:
    one = verdict(RBM, "energy == 9^9^9^9")
    assert (one.status, one.passed) == ("agrees", False)
    assert one.detail == "no proof found, and a value in the formula is too large to evaluate"


# --- how it is told ---

DEEP = (
    "model DBM(D = 4, F = 3, G = 2)\nvisible v : binary[D]\nhidden h : binary[F]\nhidden g : binary[G]\n"
    "v -- h : W\nh -- g : U\n"
)


@pytest.mark.parametrize(
    ("check", "differences"),
    [
        (
            "p(h[k] = 1 | v, g) == sigmoid(b_h[k] + sum(W[m,k]*v[m] for m) + 2*sum(U[k,q]*g[q] for q))",
            ("the right side has 2*sum(U[k,q]*g[q] for q) for sum(U[k,q]*g[q] for q)",),
        ),
        (
            "p(h[k] = 1 | v, g) == sigmoid(b_h[k] + 2*sum(W[m,k]*v[m] for m))",
            (
                "the right side has 2*sum(W[m,k]*v[m] for m) for sum(W[m,k]*v[m] for m)",
                "the right side lacks sum(U[k,i]*g[i] for i)",
            ),
        ),
        (
            "energy == -sum(b_v[m]*v[m] for m) - sum(b_h[m]*h[m] for m) - sum(W[m,n]*v[m]*h[n] for m, n)",
            (
                "the right side lacks -sum(b_g[k]*g[k] for k)",
                "the right side lacks -sum(U[n,k]*h[n]*g[k] for k, n)",
            ),
        ),
    ],
)
def test_differing_terms_keep_the_checks_own_indices(check: str, differences: tuple[str, ...]) -> None:
    assert verdict(DEEP, check).differences == differences
