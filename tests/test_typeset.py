"""Formulas as people read them: every node, and parentheses that keep the meaning."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from formula_reader import Reader
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from matplotlib.mathtext import MathTextParser

from pgmdsl.compiler.typeset import unicode_name, unicode_terms, unicode_text
from pgmdsl.compiler.typeset_latex import latex, latex_name, latex_terms
from pgmdsl.grammar.parse import parse_expression
from pgmdsl.grammar.syntax import Binary, Call, Expression, Generator, Index, Name, Negate, Number, Set, Text

FORMULAS = """
p(h1[j] = 1 | v, h2) == sigmoid(a1[j] + sum(W1[i,j]*v[i] for i) + sum(W2[j,k]*h2[k] for k))
energy == sum((v[i] - b[i])^2/(2*sigma_v[i]^2) for i) - sum(W[i,j]*v[i]/sigma_v[i]*h[j] for i, j) - sum(a[j]*h[j] for j)
p(v[i] | h) == normal(b[i] + sigma_v[i]*sum(W_v_h[i,j]*h[j] for j), sigma_v[i])
p(y = k | h) == softmax(b_y[q] + sum(U[q,j]*h[j] for j) for q at k)
softmax(f[q]*f[k] for q at k)
softmax(f[q] + sum(x[k] for k) for q at k)
softmax(f[q] for q at 1)
p(h[j] = 1 | v) == 1/2 + 1/2*tanh((a[j] + sum(v[z]*W[z,j] for z))/2)
p(x[i] = k | rest) == exp(f[i,k])/sum(exp(f[i,r]) for r)
free_energy(v) == -sum(b[i]*v[i] for i) - log(prod(1 + exp(a[j] + sum(W[i,j]*v[i] for i)) for j))
free_energy(v, y) == -log(sum(exp(-energy) over h1, h2))
gradient(W1[i,j]) == data(v[i]*h1[j]) - model(v[i]*h1[j])
gradient(sigma_v[i]) == data((v[i] - b[i])^2/sigma_v[i]^3) - model(v[i]/sigma_v[i])
mean_field(h1[j]) == sigmoid(a1[j])
mean(h[j] | v) == sum(x[m] for m if m != j)
sum(x[m,n] for m, n if n > m)
sum(x[m] for m if 0 < m)
sum(b_words[k2] for k2)
sum(T[i,q] for i, q)
d(energy, W[i,j]) == -v[i]*h[j]
d(a*b + c, W[i,j])
log_joint <= bound
expect(log_joint under q) + entropy(q) - kl(q, p(h | v))
q(h1[j] = 1 | v) == up(h1[j])
wake(W1[i,j]) == sleep(R1[i,j])
counts p(words) == factorial(length(words))*p(words)
p(word(words) = k | h) == categorical(f[k])
p(n[i] | h) == poisson(exp(c[i]))
exp(1 if x > 0 else 2*y)
3*(1 if x >= 0 else 2)
sqrt(2*pi)*abs(x - y)*sqrt(x)
W1'
1e-3*x + 2.5e4
factorial(x + 1)
x^y^2 + x^(a + 1) + (x^2)^3 + 2^-1
(a + b)*(c - d) - (e - f)
a*sum(x[i] for i)*b
normal(0.01)
Z != 1
p(v, h1, rest)
omega_2[i]*alpha*theta1
p(y | hid_units2) == W_y_c[i,j]*hid_units2[j]*(b_x[i] - b_y[i])
sum(x[site,k] for site, k)
""".strip().splitlines()


OWN = ("energy", "log_joint", "bound", "rest", "pi")  # names of the language, which have signs of their own


def test_the_example_of_the_documentation() -> None:
    conditional = parse_expression(FORMULAS[0])
    assert unicode_text(conditional) == "p(h₁[j] = 1 | v, h₂) = σ(a₁[j] + Σᵢ W₁[i,j] v[i] + Σₖ W₂[j,k] h₂[k])"
    assert latex(conditional) == (
        r"p(h_{1\,j} = 1 \mid \mathbf{v}, \mathbf{h}_{2}) = "
        r"\sigma\left(a_{1\,j} + \sum_{i} W_{1\,ij} v_{i} + \sum_{k} W_{2\,jk} h_{2\,k}\right)"
    )


def test_formulas_of_every_kind(golden: Callable[[str, str], None]) -> None:
    blocks = [f"{text}\n  {unicode_text(e)}\n  {latex(e)}\n" for text in FORMULAS for e in [parse_expression(text)]]
    golden("typeset/formulas.txt", "\n".join(blocks))


@pytest.mark.parametrize(
    ("name", "plain", "mathematical"),
    [
        ("W1", "W₁", "W_{1}"),
        ("W", "W", "W"),
        ("W_y_c", "W_y_c", r"\mathrm{W\_y\_c}"),
        ("hid_units2", "hid_units₂", r"\mathrm{hid\_units}_{2}"),
        ("W_v_h12", "W_v_h₁₂", r"\mathrm{W\_v\_h}_{12}"),
        ("h_1", "h_1", r"\mathrm{h\_1}"),
        ("b_x", "b_x", r"\mathrm{b\_x}"),
        ("b_y", "b_y", r"\mathrm{b\_y}"),
        ("pi", "π", r"\pi"),
    ],
)
def test_a_name_is_the_file_s_with_its_number_as_subscript(name: str, plain: str, mathematical: str) -> None:
    assert unicode_name(name) == plain
    assert latex_name(name) == mathematical


@given(st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,8}", fullmatch=True).filter(lambda n: n not in OWN))
def test_no_two_names_look_the_same(name: str) -> None:
    digits = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
    assert unicode_name(name).translate(digits) == name
    assert re.sub(r"\\mathrm|[\\{}]", "", latex_name(name)) in (name, re.sub(r"(\d+)$", r"_\1", name))
    assert "," not in latex(Index(name, (Name("i"), Name("j")))).replace(r"\,", "")


def test_nodes_that_stand_in_no_formula() -> None:
    assert unicode_text(Set((Number("0"), Negate(Number("1"))))) == "{0, −1}"
    assert latex(Set((Number("0"), Number("1")))) == r"\{0, 1\}"
    assert unicode_text(Text("a b")) == "“a b”"
    assert latex(Text("50%_\\x")) == r"\text{``50\%\_\textbackslash{}x''}"


@pytest.mark.parametrize("text", FORMULAS)
def test_latex_is_read_by_a_parser_of_mathematics(text: str) -> None:
    shown = latex(parse_expression(text))
    if "cases" in shown:
        pytest.skip("matplotlib's parser knows no environments; the compiled document below holds this formula")
    shown = shown.replace(r"\,\|\,", r"\|")
    MathTextParser("path").parse(f"${shown}$")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path: Path) -> None:
    lines = [rf"\[ {latex(parse_expression(text))} \]" for text in FORMULAS]
    document = [r"\documentclass{article}", r"\usepackage{amsmath}", r"\begin{document}", *lines, r"\end{document}"]
    (tmp_path / "f.tex").write_text("\n".join(document), encoding="ascii")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "f.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-1500:]


# --- parentheses ------------------------------------------------------------------------------------------

SIZE = 3
EXPONENTS: list[Expression] = [Number("2"), Number("3"), Negate(Number("1"))]
VALUES = {name: [Fraction(p, q) for p, q in zip(primes, (7, 11, 13), strict=True)] for name, primes in {
    "a": (2, 3, 5), "b": (17, 19, 23), "c": (-29, 31, -37), "x": (41, -43, 47), "y": (-53, 59, 61),
}.items()}  # fmt: skip


@st.composite
def arithmetic(draw: st.DrawFn, depth: int = 4, bound: tuple[str, ...] = ()) -> Expression:
    """Random trees of numbers, names, entries at bound indices, arithmetic and sums."""
    kinds = ["number", "name"] + (["entry"] * 2 if bound else [])
    if depth:
        kinds += ["+", "-", "*", "/", "+", "-", "*", "/", "negate", "power", *(["sum"] if len(bound) < 3 else [])]
    kind = draw(st.sampled_from(kinds))

    def part(names: tuple[str, ...] = bound) -> Expression:
        return draw(arithmetic(depth=depth - 1, bound=names))

    match kind:
        case "number":
            return Number(draw(st.sampled_from(["1", "2", "3", "0.5"])))
        case "name":
            return Name(draw(st.sampled_from("abc")))
        case "entry":
            return Index(draw(st.sampled_from("xy")), (Name(draw(st.sampled_from(bound))),))
        case "negate":
            return Negate(part())
        case "power":
            exponent: Expression = draw(st.sampled_from(EXPONENTS))
            return Binary("^", part(), exponent)
        case "sum":
            name = "ijkl"[len(bound)]
            return Call("sum", (part((*bound, name)),), generator=Generator((name,)))
        case _:
            return Binary(kind, part(), part())


OPERATIONS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "^": lambda a, b: a ** int(b),
}


def evaluate(node: Expression, index: dict[str, int]) -> Fraction:
    match node:
        case Number():
            return node.value
        case Name(name):
            return VALUES[name][0]
        case Index(name, (Name(i),)):
            return VALUES[name][index[i]]
        case Negate(operand):
            return -evaluate(operand, index)
        case Call(_, (body,), generator=Generator((name,))):
            return sum((evaluate(body, index | {name: k}) for k in range(SIZE)), Fraction(0))
        case Binary(op, left, right):
            a, b = evaluate(left, index), evaluate(right, index)
            return OPERATIONS[op](a, b)
        case _:
            raise AssertionError(node)


@settings(max_examples=300, deadline=None)
@given(arithmetic())
def test_parentheses_keep_the_meaning(tree: Expression) -> None:
    try:
        value = evaluate(tree, {})
    except ZeroDivisionError:
        assume(False)
    assume(abs(value.numerator) < 10**400)
    for text in (unicode_text(tree), latex(tree)):
        assert Reader(text, VALUES, SIZE).value() == value, text


@settings(max_examples=200, deadline=None)
@given(arithmetic())
def test_terms_joined_are_the_formula(tree: Expression) -> None:
    assert " ".join(unicode_terms(tree)) == unicode_text(tree)
    assert " ".join(latex_terms(tree)) == latex(tree)


def test_no_parenthesis_that_says_nothing() -> None:
    for text in FORMULAS:
        shown = unicode_text(parse_expression(text))
        assert not re.search(r"\(\(([^()]*)\)\)", shown), shown
