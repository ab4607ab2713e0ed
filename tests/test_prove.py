"""Checks: what is diagnosed, proved, refuted and left open, and how it is told."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prover_models import LABELS

import pgmdsl.grammar
from pgmdsl.compiler.derive import derive_model
from pgmdsl.compiler.driver import check_source, checked_model
from pgmdsl.compiler.prove import Verdict, verify_checks
from pgmdsl.grammar.diagnostics import Diagnostics, Error, render
from pgmdsl.grammar.source import Source

EXPLANATIONS = Path(pgmdsl.grammar.__file__).parent / "explanations"
EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.ebm"))
CODES = re.compile(r'"(E06\d|E07\d|W06\d)"')

RBM = """model RBM(D = 784, F = 500)
visible v : binary[D] bias b
hidden  h : binary[F] bias a
v -- h : W
"""
DBM = """model DBM(D = 784, F1 = 500, F2 = 1000)
visible v  : binary[D]  bias b
hidden  h1 : binary[F1] bias a1
hidden  h2 : binary[F2] bias a2
v  -- h1 : W1
h1 -- h2 : W2
"""
GAUSS = """model Gaussian(D = 64, F = 32)
visible v : gaussian[D](sigma = 2) bias b
hidden  h : binary[F] bias a
v -- h : W
"""
POTTS = """model Potts(N = 5, K = 3, F = 4)
visible x : softmax[N, K] bias b
hidden  h : binary[F] bias a
x -- h : W
"""

GIVEN = """model Given(C = 2, D = 3)
given   x : binary[C]
visible v : binary[D] bias b
x -- v : A
"""
LATERAL = """model Lateral(D = 4, F = 3)
visible v : binary[D] bias b
hidden  h : binary[F] bias a
v -- h : W
v -- v : L
"""
WORDS = """model Words(K = 4, F = 3)
visible words : replicated_softmax[K] bias b
hidden  h     : binary[F] bias a
words -- h : W
"""
POISSON = """model Counts(D = 4, F = 3)
visible n : poisson[D] bias c
hidden  h : binary[F] bias a
n -- h : W
"""

BELIEF = """model DBN(D = 784, F1 = 500, F2 = 1000)
visible v  : binary[D]  bias b
hidden  h1 : binary[F1] bias a1
hidden  h2 : binary[F2] bias a2
h1 -> v  : W1
h1 -- h2 : W2
v  ~> h1 : R1
"""

# Further wrong checks of each code, beyond the example of its explanation.
WRONG = {
    "E060-layer": RBM + "check \"t\": p(hh[j] = 1 | v) == 0",
    "E060-given": RBM + "check \"t\": p(h[j] = 1 | vv) == 0",
    "E060-parameter": RBM + "check \"t\": gradient(V[i,j]) == 0",
    "E060-free-energy": RBM + "check \"t\": free_energy(w) == 0",
    "E060-size": RBM + "check \"t\": energy == Dim",
    "E061-left": RBM + "check \"t\": p(h[i,j] = 1 | v) == 0",
    "E061-number": RBM + "check \"t\": p(h[1] = 1 | v) == 0",
    "E061-right-number": RBM + "check \"t\": energy == b[0]",
    "E061-bare": RBM + "check \"t\": energy == W",
    "E061-size": RBM + "check \"t\": energy == sum(D[i]*b[i] for i)",
    "E061-index": RBM + "check \"t\": p(h[j] = 1 | v) == sigmoid(j*a[j])",
    "E064-name": RBM + "check \"t\": energy == sum(b[W] for W)",
    "E064-twice": RBM + "check \"t\": gradient(W[i,i]) == 0",
    "E064-left": RBM + "check \"t\": p(h[D] = 1 | v) == 0",
    "E065-layer": RBM + "check \"t\": energy == sum(b(i) for i)",
    "E066-sum": RBM + "check \"t\": p(h[j] = 1 | v) == sum(a[j])",
    "E066-softmax": RBM + "check \"t\": p(h[j] = 1 | v) == softmax(a[k] for k)",
    "E066-for": RBM + "check \"t\": p(h[j] = 1 | v) == exp(a[k] for k)",
    "E066-d": RBM + "check \"t\": energy == d(energy, v[i])",
    "E066-condition": RBM + "check \"t\": p(h[j] = 1 | v) == sum(b[i] for i if 3)",
    "E066-normal": RBM + "check \"t\": p(h[j] = 1 | v) == 1 - normal(0, 1)",
    "E068-not-normal": RBM + "check \"t\": p(h[j] = 1 | v) == normal(0, 1)",
    "E066-value": RBM + "check \"t\": p(h[j] = 1 | v) == (a[j] > 0)",
    "E067-energy": RBM + "check \"t\": p(h[j] = 1 | v) == exp(-energy)",
    "E067-own": RBM + "check \"t\": p(h[j] = 1 | v) == h[j]",
    "E067-free-energy": DBM + "check \"t\": free_energy(v, h2) == free_energy(h1)",
    "E068-state": RBM + "check \"t\": p(h[j] = 2 | v) == 0",
    "E068-number": RBM + "check \"t\": 1 == 1",
    "E068-softmax": POTTS + "check \"t\": p(x[i,k] = 1 | h) == 0",
    "E068-density": GAUSS + "check \"t\": p(v[i] = 1 | h) == 0",
    "E068-normal": GAUSS + "check \"t\": p(v[i] | h) == b[i]",
    "E068-visible": RBM + "check \"t\": mean_field(v[i]) == 0",
    "E068-event": RBM + "check \"t\": p(h[j] + 1 | v) == 0",
    "E068-given": RBM + "check \"t\": p(h[j] = 1 | v[i]) == 0",
    "E068-given-twice": RBM + "check \"t\": p(h[j] = 1 | v, v) == 0",
    "E069-own": RBM + "check \"t\": p(h[j] = 1 | v, h) == 0",
    "E069-nothing": RBM + "check \"t\": p(h[j] = 1) == 0",
    "E069-label": LABELS.split("check")[0] + "check \"t\": p(y = k) == 0",
    "E070-closes": DBM + "check \"t\": Z == sum(exp(sum(v[i] for i)) over v)",
    "E070-given": GIVEN + "check \"t\": p(x) == 1",
    "E070-unit": GIVEN + "check \"t\": p(x[c] = 1) == 1/2",
    "E070-summed": GIVEN + "check \"t\": p(v | x) == sum(exp(-energy) over x)/Z",
    "E070-unlisted": GIVEN + "check \"t\": p(v) == exp(sum(v[i] for i))/Z",
    "E069-lateral": LATERAL + "check \"t\": p(v[i] = 1 | h) == 1/2",
    "E069-twice": RBM + "check \"t\": p(v, h | v) == 1",
    "E068-joint": RBM + "check \"t\": p(v, h[j]) == 1",
    "E068-rest": RBM + "check \"t\": p(v | rest) == 1",
    "E068-counts": WORDS + "check \"t\": p(words[k] | h) == 1",
    "E068-word": WORDS + "check \"t\": p(word(words) = 1 | h) == 1",
    "E068-own": POISSON + "check \"t\": p(n[i] | h) == exp(c[i])",
    "E068-many": POISSON + "check \"t\": p(n[i] = 2 | h) == 1",
    "E074-counts": RBM + "check \"t\": counts p(v) == exp(-free_energy(v))/Z",
    "E078-length": WORDS + "check \"t\": gradient(a[j]) == length(words)*data(h[j]) - model(length(words)*h[j])",
    "E075-number": RBM + "check \"t\": energy == 0 where W = a + 1",
    "E075-positive": GAUSS + "check \"t\": energy == 0 where sigma_v = 0",
    "E075-lateral": LATERAL + "check \"t\": energy == 0 where L = 1",
    "E060-where": RBM + "check \"t\": energy == 0 where V = 0",
    "E060-where-right": RBM + "check \"t\": energy == 0 where W = V",
    "E060-over": RBM + "check \"t\": Z == sum(exp(-free_energy(v)) over w)",
    "E073-right": RBM + "check \"t\": energy == Z",
    "E078-outside": RBM + "check \"t\": p(h[j] = 1 | v) == data(v[i])",
    "E078-nested": RBM + "check \"t\": gradient(a[j]) == data(model(h[j]))",
    "E078-energy": RBM + "check \"t\": gradient(a[j]) == energy",
    "E078-d": RBM + "check \"t\": gradient(a[j]) == d(data(energy), a[j])",
    "E079-over": RBM + "check \"t\": mean_field(h[j]) == sum(h[j]*exp(-energy) over h)",
    "E066-over": RBM + "check \"t\": Z == prod(exp(-free_energy(v)) over v)",
    "E079-p": RBM + "check \"t\": mean(h[j] | v) == p(h[j] = 1 | v)",
    "E060-stage": RBM + "check \"t\" in greedy h: p(h[j] = 1 | y) == 1",
    "E067-q": BELIEF + "check \"t\": q(h1[j] = 1 | v) == sigmoid(a1[j] + sum(W2[j,k]*h2[k] for k))",
    "E067-bound": BELIEF + "check \"t\": bound == -energy",
    "E067-up": BELIEF + "check \"t\": up(h2[k]) == sigmoid(a2[k] + sum(W2[j,k]*h1[j] for j))",
    "E067-log-joint": RBM + "check \"t\": free_energy(v) == log_joint",
    "E068-up": BELIEF + "check \"t\": up(v[i]) == sigmoid(b[i])",
    "E068-categorical": RBM + "check \"t\": p(h[j] = 1 | v) == categorical(a[k] for k)",
    "E068-categorical-for": POTTS + "check \"t\": p(x[i] = k | h) == categorical(b[i,k])",
    "E069-parents": BELIEF + "check \"t\": p(v[i] = 1) == sigmoid(b[i])",
    "E069-child": BELIEF + "check \"t\": p(h1[j] = 1 | v, h2) == sigmoid(a1[j])",
    "E069-q": BELIEF + "check \"t\": q(h2[k] = 1 | v) == sigmoid(a2[k])",
    "E070-belief": BELIEF + "check \"t\": p(h1 | v) == prod(sigmoid((2*h1[j] - 1)*a1[j]) for j)",
    "E071-right": RBM + "check \"t\": energy == bound",
    "E071-nested": RBM + "check \"t\": bound == expect(entropy(q) under q)",
    "E071-expect": RBM + "check \"t\": bound == expect(energy)",
    "E071-kl": BELIEF + "check \"t\": kl(q, p(h1 | v)) == 0",
    "E071-wake": RBM + "check \"t\": wake(W[i,j]) == data(v[i]*h[j])",
    "E071-gradient": BELIEF + "check \"t\": gradient(R1[i,j]) == data(v[i]*h1[j])",
    "E071-mean": BELIEF + "check \"t\": q(h1 | v) == prod(mean_field(h1[j]) for j)",
    "E071-up": RBM + "check \"t\": energy == sum(up(h[j]) for j)",
    "E071-none": LATERAL.replace("hidden  h : binary[F] bias a\nv -- h : W\n", "") + "check \"t\": bound == 0",
    "E073-derivative": RBM + "check \"t\": d(bound, W[i,j]) == v[i]*h[j]*log(Z)",
    "E075-stage-right": DBM + 'check "t" in greedy h1: p(h1[j] = 1 | v) == exp(-free_energy(v))',
    "E075-stage": DBM + "check \"t\" in greedy h1: energy == 0",
    "W060-condition": RBM + "check \"t\": p(h[j] = 1 | v) == sum(b[i] for i if i != j)",
    "many": DBM
    + 'check "one": p(h1[j] = 1 | v) == sigmoid(a1[j] + sum(W11[i,j]*v[k] for i) + sum(W2[j]*h2[k] for k))\n'
    + 'check "two": mean_field(h2[k]) == sigmoid(a2[j]) + sin(W1) + sum(D for i)\n',
}  # fmt: skip


def found(text: str) -> Diagnostics:
    return check_source(Source("model.ebm", text), {})[1]


def shown(text: str) -> str:
    diagnostics = found(text)
    return "\n\n".join(render(diagnostics.source, d) for d in diagnostics.sorted()) + "\n"


def verdicts(text: str) -> tuple[Verdict, ...]:
    model, _ = checked_model(Source("model.ebm", text), {})
    return verify_checks(model, derive_model(model))


def verdict(model: str, check: str, refuted: bool = False) -> Verdict:
    (one,) = verdicts(f'{model}check "t"{" refuted" if refuted else ""}: {check}')
    return one


def codes() -> list[str]:
    folder = Path(pgmdsl.grammar.__file__).parent.parent / "compiler"
    files = [folder / "forms.py", *folder.glob("scope*.py")]
    return sorted({code for file in files for code in CODES.findall(file.read_text(encoding="utf-8"))})


# --- diagnostics ---


@pytest.mark.parametrize("code", codes())
def test_explained(code: str, golden: Callable[[str, str], None]) -> None:
    text = (EXPLANATIONS / f"{code}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {code}: ")
    wrong, mended = re.findall(r"```ebm\n(.*?)```", text, re.DOTALL)
    golden(f"prove/{code}.txt", shown(wrong))
    assert {d.code for d in found(wrong).found} == {code}
    assert not found(mended).found
    assert all(v.status == "proved" for v in verdicts(mended))


@pytest.mark.parametrize("name", WRONG)
def test_message(name: str, golden: Callable[[str, str], None]) -> None:
    text = shown(WRONG[name])
    golden(f"prove/{name}.txt", text)
    if name != "many":
        assert [d.code for d in found(WRONG[name]).found] == [name[:4]]


def test_no_explanation_is_left_over() -> None:
    assert {p.stem for p in EXPLANATIONS.glob("*.md") if CODES.match(f'"{p.stem}"')} == set(codes())


# --- examples ---


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_every_example_passes(path: Path) -> None:
    model, _ = checked_model(Source(path.name, path.read_text(encoding="utf-8")), {})
    start = time.process_time()
    for one in verify_checks(model, derive_model(model)):
        assert one.status == ("refuted" if one.expected_refuted else "proved"), (one.title, one.detail)
    assert time.process_time() - start < 5  # seconds: a refuted check looks for its mend


# --- verdicts ---

FIELD = "a1[j] + sum(W1[i,j]*v[i] for i) + sum(W2[j,k]*h2[k] for k)"
LEFT = "p(h1[j] = 1 | v, h2)"


@pytest.mark.parametrize(
    "right",
    [
        f"sigmoid({FIELD})",
        f"1/(1 + exp(-({FIELD})))",
        f"1 - sigmoid(-({FIELD}))",
        f"1/2 + tanh(({FIELD})/2)/2",
        f"exp({FIELD} - softplus({FIELD}))",
        f"sqrt(sigmoid({FIELD}))^2",
        f"d(softplus({FIELD}), a1[j])",
        "sigmoid(a1[j] + sum(W1[m,j]*v[m]^3 for m) + sum(sum(W2[j,k]*h2[l] for l if l == k) for k))",
    ],
)  # fmt: skip
def test_other_ways_to_write_it_are_proved(right: str) -> None:
    assert verdict(DBM, f"{LEFT} == {right}").status == "proved"


def test_rest_is_every_other_unit() -> None:
    assert verdict(DBM, f"p(h1[j] = 1 | rest) == sigmoid({FIELD})").status == "proved"
    assert verdict(RBM, "p(h[j] = 1 | rest) == sigmoid(a[j] + sum(W[i,j]*v[i] for i) + 0*h[j])").status == "proved"


def test_layers_further_away_do_not_matter() -> None:
    right = "sigmoid(a2[k] + sum(W2[j,k]*h1[j] for j))"
    assert verdict(DBM, f"p(h2[k] = 1 | h1) == {right}").status == "proved"
    assert verdict(DBM, f"p(h2[k] = 1 | v, h1) == {right}").status == "proved"


def test_a_mean_is_not_a_state() -> None:
    """In mean field x^2 = x does not hold of a hidden layer's name; of a clamped visible layer's it does."""
    right = "sigmoid(a1[j] + sum(W1[i,j]*v[i]{} for i) + sum(W2[j,k]*h2[k]{} for k))"
    assert verdict(DBM, f"mean_field(h1[j]) == {right.format('^2', '')}").status == "proved"
    assert verdict(DBM, f"mean_field(h1[j]) == {right.format('', '^2')}").status == "refuted"
    assert verdict(DBM, f"{LEFT} == {right.format('^2', '^2')}").status == "proved"


def test_refuted_with_numbers_and_terms() -> None:
    one = verdict(DBM, f"{LEFT} == sigmoid(a1[j] + 2*sum(W1[i,j]*v[i] for i) + sum(W1[i,j] for i))")
    assert one.status == "refuted"
    assert not one.passed
    assert one.counterexample is not None
    assert one.counterexample.left != one.counterexample.right
    assert one.differences == (
        "the right side has the extra term sum(W1[i,j] for i)",
        "the right side has 2*sum(W1[i,j]*v[i] for i) for sum(W1[i,j]*v[i] for i)",
        "the right side lacks sum(W2[j,k]*h2[k] for k)",
    )


def test_refuted_on_the_field_of_the_odds() -> None:
    one = verdict(DBM, f"{LEFT} == 1/(1 + exp(a1[j] - sum(W1[i,j]*v[i] for i) - sum(W2[j,k]*h2[k] for k)))")
    assert one.differences == ("the right side has the sign of the bias a1[j] reversed",)


def test_refuted_by_shape() -> None:
    square = DBM.replace("F1 = 500, F2 = 1000", "F1 = 500, F2 = 500")
    right = "sigmoid(a1[j] + sum(W1[i,j]*v[i] for i) + sum(W2[k,j]*h2[k] for k))"
    one = verdict(square, f"{LEFT} == {right}")
    assert (one.status, one.detail) == ("refuted", "by shape: the index j runs over F1 and over F2")
    assert verdict(square, f"{LEFT} == {right}", refuted=True).passed
    assert not found(f'{square}check "t" refuted: {LEFT} == {right}').found


def test_a_transposed_square_weight_is_refuted_by_numbers() -> None:
    square = "model S(N = 9)\nvisible v : binary[N]\nhidden h : binary[N]\nv -- h : W\n"
    assert verdict(square, "p(h[j] = 1 | v) == sigmoid(b_h[j] + sum(W[j,i]*v[i] for i))").status == "refuted"
    assert verdict(square, "p(h[j] = 1 | v) == sigmoid(b_h[j] + sum(W[i,j]*v[i] for i))").status == "proved"


def test_the_mean_and_the_deviation_are_compared() -> None:
    mean = "b[i] + sigma_v[i]*sum(W[i,j]*h[j] for j)"
    assert verdict(GAUSS, f"p(v[i] | h) == normal({mean}, sigma_v[i])").status == "proved"
    one = verdict(GAUSS, f"p(v[i] | h) == normal({mean}, sigma_v[i]^2)")
    assert one.status == "refuted"
    assert one.detail.startswith("in the standard deviation, ")
    two = verdict(GAUSS, "p(v[i] | h) == normal(b[i] + sum(W[i,j]*h[j] for j), sigma_v[i])")
    assert two.detail.startswith("in the mean, ")


def test_agreeing_is_not_proved() -> None:
    one = verdict(RBM, "p(h[j] = 1 | v) == sigmoid(a[j] + sum(abs(W[i,j])*v[i] if W[i,j] > 0 else W[i,j]*v[i] for i))")
    assert (one.status, one.points, one.passed) == ("agrees", 6, True)
    proved = verdict(RBM, "p(h[j] = 1 | v) == sigmoid(a[j] + sum(W[i,j] if v[i] > 0 else 0 for i))")
    assert proved.status == "proved"
    sums = "sum(a[j]*h[j] for j) - sum(W[i,j]*v[i]*h[j] for i, j)"
    two = verdict(RBM, f"energy == -sum(log(exp(b[i])/exp(-b[i]))*v[i]/2 for i) - {sums}")
    assert two.status == "proved"
    three = verdict(RBM, f"energy == -sum(abs(b[i]*v[i]) if b[i] > 0 else b[i]*v[i] for i) - {sums}")
    assert three.status == "agrees"


def test_one_marked_refuted_that_agrees_or_is_proved_fails() -> None:
    right = "sigmoid(a[j] + sum(W[i,j]*v[i] for i))"
    assert not verdict(RBM, f"p(h[j] = 1 | v) == {right}", refuted=True).passed
    assert verdict(RBM, f"p(h[j] = 0 | v) == {right}", refuted=True).passed


def test_no_value_on_one_side_refutes() -> None:
    one = verdict(RBM, "p(h[j] = 1 | v) == sigmoid(a[j] + sum(W[i,j]*v[i]^2/v[i] for i))")
    assert one.status == "refuted"
    assert one.counterexample is not None
    assert one.counterexample.right is None
    assert "no value" in one.detail
    assert verdict(RBM, "p(h[j] = 1 | v) == sigmoid(sqrt(a[j]^2) + sum(W[i,j]*v[i] for i))").status == "refuted"
    assert (
        verdict(RBM, "p(h[j] = 1 | v) == sigmoid(a[j]+log(a[j])-log(a[j])+sum(W[i,j]*v[i] for i))").status == "refuted"
    )


GRADIENTS = {
    "data(v[i]*h[j]) - model(v[i]*h[j])": "proved",
    "data(v[i]^2*h[j]) - model(h[j]*v[i])": "proved",
    "model(d(energy, W[i,j])) - data(d(energy, W[i,j]))": "proved",
    "data(v[i]*sigmoid(a[j] + sum(W[k,j]*v[k] for k))) - model(v[i]*h[j])": "agrees",
    "data(v[i])*data(h[j]) - model(v[i]*h[j])": "refuted",
    "model(v[i]*h[j]) - data(v[i]*h[j])": "refuted",
    "data(v[i]*h[j])": "refuted",
}


@pytest.mark.parametrize("right", GRADIENTS)
def test_gradients(right: str) -> None:
    assert verdict(RBM, f"gradient(W[i,j]) == {right}").status == GRADIENTS[right]


def test_gradients_of_real_units_by_quadrature() -> None:
    mean = "b[i] + sigma_v[i]*sum(W[i,k]*h[k] for k)"
    right = f"data(v[i]*h[j]/sigma_v[i]) - model(({mean})*h[j])/sigma_v[i]"
    assert verdict(GAUSS, f"gradient(W[i,j]) == {right}").status == "agrees"
    wrong = f"data(v[i]*h[j]/sigma_v[i]) - model(({mean})*h[j])"
    assert verdict(GAUSS, f"gradient(W[i,j]) == {wrong}").status == "refuted"


def test_a_label_given_the_rest_summed_out() -> None:
    model = LABELS.split("check")[0]
    right = "softmax(c[q] + sum(softplus(a[j] + sum(W[i,j]*v[i] for i) + U[q,j]) for j) for q at k)"
    assert verdict(model, f"p(y = k | v) == {right}").status == "proved"
    assert verdict(model, f"p(y = k | v) == {right.replace('softplus', '')}").status == "refuted"


def test_a_large_model_with_literal_sizes() -> None:
    """Nothing is enumerated, and no array is filled, for a proof; a refutation costs a second at most."""
    model = "model L\nvisible v : binary[784]\nhidden h : binary[500]\nv -- h : W\n"
    energy = "-sum(b_v[i]*v[i] for i) - sum(b_h[j]*h[j] for j) - sum(W[i,j]*v[i]*h[j] for i, j)"
    assert verdict(model, f"energy == {energy}").status == "proved"
    one = verdict(model, f"energy == {energy} + 1")
    assert one.status == "agrees"
    assert not one.passed
    assert "too large" in one.detail
    assert verdict(model, "p(h[j] = 1 | v) == sigmoid(sum(W[i,j]*v[i] for i))").status in ("refuted", "agrees")


def test_work_is_bounded() -> None:
    """A formula that would expand into millions of terms is not proved, and does not hang."""
    huge = "*".join(f"(b[{i}] + {k} + a[j])" for k, i in enumerate(["i"] * 60))
    start = time.process_time()
    one = verdict(RBM, f"p(h[j] = 1 | v) == sum({huge} for i)")
    assert one.status == "refuted"
    for function in ("sigmoid(", "(1 + ", "-(", "sum(b[i] for i) - (", "exp("):
        deep = function * 95 + "a[j]" + ")" * 95
        assert not verdict(RBM, f"p(h[j] = 1 | v) == {deep}").passed
    chain = " + ".join(["a[j]"] * 190)
    assert verdict(RBM, f"p(h[j] = 1 | v) == {chain}").status == "refuted"
    dummies = "*".join(f"W[i{k},j{k}]*W[i{(k + 1) % 7},j{k}]" for k in range(7))
    names = ", ".join(f"i{k}, j{k}" for k in range(7))
    assert verdict(RBM, f"d(energy, a[j]) == -h[j] + 0*sum({dummies} for {names})").status == "proved"
    assert time.process_time() - start < 10


def test_the_same_file_has_the_same_verdicts() -> None:
    text = f'{DBM}check "t": {LEFT} == sigmoid(a1[j])\ncheck "u": gradient(a1[j]) == data(h1[j])\n'
    assert verdicts(text) == verdicts(text)


FIXED = """model Fixed(F = 3)
visible x : gaussian[5]
visible z : gaussian[4](sigma = 1/3) bias c
hidden  h : binary[F]                bias a
x -- h : W
z -- h : U
check "one": p(x[i] | h) == normal(b_x[i] + sum(W[i,j]*h[j] for j), 1)
check "a third": p(z[i] | h) == normal(c[i] + sum(U[i,j]*h[j] for j)/3, 1/3)
check "by name": p(z[i] | h) == normal(c[i] + sigma_z[i]*sum(U[i,j]*h[j] for j), sigma_z[i])
check "both": p(h[j] = 1 | x, z) == sigmoid(a[j] + sum(W[i,j]*x[i] for i) + 3*sum(U[i,j]*z[i] for i))
check "no": p(z[i] | h) == normal(c[i] + sum(U[i,j]*h[j] for j), 1/3)
"""


def test_a_parameter_fixed_at_a_number_is_that_number():
    assert {v.title: v.status for v in verdicts(FIXED)} == {
        "one": "proved",
        "a third": "proved",
        "by name": "proved",
        "both": "proved",
        "no": "refuted",
    }


def test_too_many_layers_are_a_sentence():
    layers = "".join(f"hidden h{i} : binary[F]\n" for i in range(1, 200))
    edges = "".join(f"h{i} -- h{i + 1} : W{i}\n" for i in range(199))
    with pytest.raises(Error, match="200 layers with 199 edges are too many"):
        verdicts(f"model Chain(F = 3)\nvisible h0 : binary[F]\n{layers}{edges}")
