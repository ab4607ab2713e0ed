"""What a refuted check says of the one change with which it holds."""

from __future__ import annotations

import pytest

from pgmdsl.compiler.derive import derive_model
from pgmdsl.compiler.driver import checked_model
from pgmdsl.compiler.prove import Verdict, verify_checks
from pgmdsl.grammar.source import Source

DBM = """model DBM(D = 3, F1 = 2, F2 = 4)
visible v  : binary[D]   bias b
hidden  h1 : binary[F1]  bias a1
hidden  h2 : binary[F2]  bias a2
v  -- h1 : W1
h1 -- h2 : W2
"""
GAUSSIAN = """model Gaussian(D = 2, F = 3)
visible v : gaussian[D](sigma = learned) bias b
hidden  h : binary[F]                    bias a
v -- h : W
"""
DOCUMENTS = """model Documents(K = 3, F = 2)
visible c : replicated_softmax[K] bias b
hidden  h : binary[F]             bias a
c -- h : W
"""
NET = """model Net(D = 3, F1 = 2, F2 = 4)
visible v  : binary[D]  bias b
hidden  h1 : binary[F1] bias a1
hidden  h2 : binary[F2] bias a2
h1 -> v  : W1
h1 -- h2 : W2
v  ~> h1 : R1
"""
BELOW, ABOVE = "sum(W1[i,j]*v[i] for i)", "sum(W2[j,k]*h2[k] for k)"
H1 = "p(h1[j] = 1 | v, h2) =="


def verdict(model: str, check: str) -> Verdict:
    checked, _ = checked_model(Source("m.ebm", f'{model}check "c": {check}\n'), {})
    (found,) = verify_checks(checked, derive_model(checked))
    return found


@pytest.mark.parametrize(
    ("model", "check", "mend"),
    [
        (
            DBM,
            f"{H1} sigmoid(sum(W1[j,i]*v[i] for i) + {ABOVE} + a1[j])",
            "with W1[i,j] in place of W1[j,i]: W1 is transposed",
        ),
        (
            DBM,
            f"{H1} sigmoid({BELOW} + {ABOVE} + a2[j])",
            "with the bias a1[j] in place of the bias a2[j]",
        ),
        (
            DBM,
            f"{H1} sigmoid({BELOW} + sum(W2[j,k]*a2[k] for k) + a1[j])",
            "with the hidden unit h2[k] in place of the bias a2[k]",
        ),
        (
            DBM,
            f"{H1} sigmoid({BELOW} - {ABOVE} + a1[j])",
            f"with the sign of {ABOVE} reversed",
        ),
        (
            DBM,
            f"{H1} sigmoid({BELOW} + 2*{ABOVE} + a1[j])",
            f"without the factor 2 in 2*{ABOVE}",
        ),
        (
            DBM,
            "p(v[i] = 1 | h1) == 1/(1 + exp(b[i] + sum(W1[i,j]*h1[j] for j)))",
            "with the sign of b[i] + sum(W1[i,j]*h1[j] for j) reversed",
        ),
        (
            DBM,
            "p(v, h1, h2) == exp(-energy)*Z",
            "with exp(-energy)/Z in place of exp(-energy)*Z: Z divides and does not multiply",
        ),
        (
            DBM,
            "gradient(W1[i,j]) == data(v[i]*h1[j]) - data(v[i]*h1[j])",
            "with model(v[i]*h1[j]) in place of data(v[i]*h1[j])",
        ),
        (
            DBM,
            "gradient(W1[i,j]) == data(v[i]*h1[j])/2 - model(v[i]*h1[j])/2",
            "with 2 times the whole right side",
        ),
        (
            DBM,
            "bound == expect(log_joint under q) + sum(h1[j]*log(h1[j]) + (1 - h1[j])*log(1 - h1[j]) for j)"
            " - sum(h2[k]*log(h2[k]) + (1 - h2[k])*log(1 - h2[k]) for k)",
            "with the sign of sum(h1[j]*log(h1[j]) + (1 - h1[j])*log(1 - h1[j]) for j) reversed",
        ),
        (DBM, "bound == expect(log_joint under q) - entropy(q)", "with the sign of the entropy of q reversed"),
        (
            GAUSSIAN,
            "p(v[i] | h) == normal(b[i] + sum(W[i,j]*h[j] for j), sigma_v[i])",
            "with sigma_v[i]*sum(W[i,j]*h[j] for j) in place of sum(W[i,j]*h[j] for j):"
            " the standard deviation sigma_v[i] is missing",
        ),
        (
            GAUSSIAN,
            "p(h[j] = 1 | v) == sigmoid(a[j] + sum(W[i,j]*v[i]/sigma_v[i]^2 for i))",
            "with sigma_v[i] in place of sigma_v[i]^2",
        ),
        (
            DOCUMENTS,
            "p(h[j] = 1 | c) == sigmoid(a[j] + sum(c[k]*W[k,j] for k))",
            "with length(c)*a[j] in place of a[j]: the document length, length(c), is missing",
        ),
        (
            DOCUMENTS,
            "gradient(a[j]) == data(h[j]) - model(h[j])",
            "with length(c)*h[j] in place of h[j]: the document length, length(c), is missing (2 times)",
        ),
        (
            DBM,
            "gradient(W1[i,j]) == data(v[i]*h1[j]) - model(v[i])*model(h1[j])",
            "with model(v[i]*h1[j]) in place of model(v[i])*model(h1[j]): an average of products is not the product of"
            " averages",
        ),
        (
            DBM,
            "p(h2[k] = 1 | h1) == sigmoid(a2[k] + sum(W2[j,k] for j)*sum(h1[j] for j))",
            "with sum(W2[j,k]*h1[j] for j) in place of sum(W2[j,k] for j)*sum(h1[j] for j): a sum of products is not"
            " the product of sums",
        ),
        (
            DBM,
            "energy == -sum(W1[i,j]*v[i]*b[j] for i, j) - sum(W2[j,k]*h1[j]*h2[k] for j, k) - sum(b[i]*v[i] for i)"
            " - sum(a1[j]*b[j] for j) - sum(a2[k]*h2[k] for k)",
            "with the hidden unit h1[j] in place of the bias b[j] (2 times)",
        ),
        (
            NET,
            "sleep(R1[i,j]) == model(v[i]*(h1[j] - sigmoid(r_h1[j] + sum(W1[m,j]*v[m] for m))))",
            "with the weight R1[m,j] in place of the weight W1[m,j]",
        ),
        (
            NET,
            "up(h2[k]) == sigmoid(a2[k] + sum(W2[j,k]*r_h1[j] for j))",
            "with the mean up(h1[j]) in place of the bias r_h1[j]",
        ),
    ],
)
def test_one_change_with_which_the_check_holds(model: str, check: str, mend: str) -> None:
    found = verdict(model, check)
    assert found.status == "refuted"
    assert found.mend == f"it holds {mend}"


@pytest.mark.parametrize(
    ("check", "differences"),
    [
        (f"{H1} sigmoid({BELOW} + {ABOVE})", ("the right side lacks the bias a1[j]",)),
        (f"{H1} sigmoid({BELOW} + a1[j])", (f"the right side lacks {ABOVE}",)),
        (
            f"{H1} sigmoid(-{BELOW} - {ABOVE} + a1[j])",
            (
                f"the right side has the sign of {BELOW} reversed",
                f"the right side has the sign of {ABOVE} reversed",
            ),
        ),
        (
            "p(v, h1, h2) == exp(-energy + sum(b[i]*v[i] for i))/Z^2",
            (
                "as logarithms, the right side has -(2*log(Z)) for -log(Z)",
                "as logarithms, the right side has 2*sum(b[i]*v[i] for i) for sum(b[i]*v[i] for i)",
            ),
        ),
    ],
)
def test_where_no_one_change_mends_it_the_terms_that_differ_are_told(check: str, differences: tuple[str, ...]) -> None:
    found = verdict(DBM, check)
    assert found.status == "refuted"
    assert found.mend == ""
    assert found.differences == differences


def test_what_is_proved_needs_no_mend() -> None:
    assert verdict(DBM, f"{H1} sigmoid({BELOW} + {ABOVE} + a1[j])").mend == ""
