"""Normal forms: identities they prove, non-identities they must not, and random formulas against numbers."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants import changes
from oracle import OracleModel
from plain_values import Here, value_of

from pgmdsl.compiler.expressions import bound_names, renamed
from pgmdsl.compiler.model import Size
from pgmdsl.compiler.normal import Algebra
from pgmdsl.compiler.normal_labels import closed
from pgmdsl.compiler.normal_laws import Laws
from pgmdsl.compiler.normal_product import subtract
from pgmdsl.compiler.normal_read import Reader
from pgmdsl.compiler.normal_terms import NoProofError, Ref
from pgmdsl.compiler.normal_write import Writer
from pgmdsl.grammar.parse import parse_expression
from pgmdsl.grammar.syntax import Binary, Call, Expression, Generator, Index, Name, Negate, Number
from pgmdsl.grammar.walk import walk

D, F, K = (Size.name(name) for name in "DFK")
SHAPES = {"v": (D,), "h": (F,), "x": (D, K), "y": (K,), "g": (D,), "W": (D, F), "L": (D, D), "b": (D,), "a": (F,),
          "f": (D, K), "c": (K,), "s": (D,), "J": (D, D), "T": (D, K, D, K), "t": (D,), "n": (K,)}  # fmt: skip


def reader(work: int = 20_000) -> Reader:
    """v binary, h spin, t of three values, x and y one-hot, n counts, g real; s positive; J and T lateral weights."""
    laws = Laws(
        states=frozenset((*"vhtxyng", "length(n)")),
        discrete=frozenset("vhtxyn"),
        values={
            "v": (Fraction(0), Fraction(1)),
            "h": (Fraction(-1), Fraction(1)),
            "t": (Fraction(-1), Fraction(0), Fraction(2)),
        },
        one_hot=frozenset("xy"),
        totals={"x": None, "y": None, "n": "length(n)"},
        symmetric={"J": 1, "T": 1},
        signless=frozenset(("n", "length(n)")),
        positive=frozenset("sDFK"),
    )
    return Reader(Algebra(laws, work), SHAPES)


def proved(left: str | Expression, right: str | Expression) -> bool:
    """Whether both formulas have one normal form; the indices i, k and j range over D, K and F."""
    own = reader()
    own.ranges.update({"i": D, "j": F, "k": K, "m": D})
    sides = [parse_expression(side) if isinstance(side, str) else side for side in (left, right)]
    try:
        return own.algebra.is_zero(subtract(own.read(sides[0]), own.read(sides[1])))
    except NoProofError:
        return False


IDENTITIES = {
    "sigmoid(a[j] + sum(v[i]*W[i,j] for i))": "1/(1 + exp(-a[j] - sum(W[q,j]*v[q] for q)))",
    "sigmoid(a[j])": "1/2 + tanh(a[j]/2)/2",
    "1 - sigmoid(a[j])": "sigmoid(-a[j])",
    "log(1 - sigmoid(a[j]))": "-softplus(a[j])",
    "log(prod(1 + exp(a[j]) for j))": "sum(a[j] + softplus(-a[j]) for j)",
    "log(1 - tanh(a[j])^2)": "log(4) + 2*a[j] - 2*softplus(2*a[j])",
    "sigmoid(a[j])^v[i]*(1 - sigmoid(a[j]))^(1 - v[i])": "exp(a[j]*v[i])/(1 + exp(a[j]))",
    "tanh(a[j] + b[i])": "(tanh(a[j]) + tanh(b[i]))/(1 + tanh(a[j])*tanh(b[i]))",
    "(1 + exp(a[j]))^2": "1 + 2*exp(a[j]) + exp(2*a[j])",
    "v[i]^3": "v[i]",
    "h[j]^4": "1",
    "h[j]^5/h[j]^2": "h[j]",
    "sum(x[i,k] for k)": "1",
    "sum(x[i,k] for i, k)": "D",
    "sum(x[i,k]*x[i,l]*f[i,l] for l)": "x[i,k]*f[i,k]",
    "sum(f[i,k]*x[i,k] for k)^2": "sum(f[i,k]^2*x[i,k] for k)",
    "sum(b[m] for m if m != i)": "sum(b[m] for m) - b[i]",
    "sum(b[m]*b[i] for m, i if m != i)": "sum(b[m] for m)^2 - sum(b[m]^2 for m)",
    "sum(b[m] if m == i else 0 for m)": "b[i]",
    "softmax(f[i,q] + b[i] for q at k)": "exp(f[i,k])/sum(exp(f[i,r]) for r)",
    "sum(softmax(f[i,q] for q at k) for k)": "1",
    "d(sum(softplus(a[j] + sum(W[i,j]*v[i] for i)) for j), W[i,j])": "v[i]*sigmoid(a[j] + sum(W[m,j]*v[m] for m))",
    "d(log(s[i])/s[i], s[i])": "(1 - log(s[i]))/s[i]^2",
    "sqrt(s[i]^2)": "s[i]",
    "sqrt(4*s[i])": "2*sqrt(s[i])",
    "log(sqrt(2*pi)*s[i])": "log(2*pi)/2 + log(s[i])",
    "exp(2*log(s[i]) - log(1 + s[i]))*(1 + s[i])": "s[i]^2",
    "sqrt(1 + exp(a[j]))^3": "(1 + exp(a[j]))*sqrt(1 + exp(a[j]))",
    "(b[i] - g[i])/(g[i] - b[i])": "-1",
    "sum(sum(W[i,j]*v[i] for i)^3 for j)": "sum(W[i,j]*v[i]*W[m,j]*v[m]*W[l,j]*v[l] for i, m, l, j)",
    "sum(W[i,j]*W[i,l]*W[m,l]*W[m,j] for i, j, m, l)": "sum(W[i,j]*W[m,j]*W[m,l]*W[i,l] for l, m, j, i)",
    "sum(b[i]*v[i] for i)^6": "sum(b[i]*v[i] for i)^2*sum(b[i]*v[i] for i)^4",
    "data(v[i]*h[j]*b[i] + b[i])": "b[i]*data(h[j]*v[i]) + b[i]",
    "data(sum(W[i,j]*v[i] for i))": "sum(W[i,j]*data(v[i]) for i)",
    "data(g[i]*v[i]^2)": "data(v[i]*g[i])",
    "abs(b[i]*v[i] + 1)": "abs(1 + v[i]*b[i])",
    "J[i,m]": "J[m,i]",
    "sum(J[i,m] for i if i == m)": "0",
    "sum(J[i,l]*b[l] for l if l != i)": "sum(J[l,i]*b[l] for l)",
    "sum(J[i,l]*J[l,m] for l)": "sum(J[m,l]*J[i,l] for l)",
    "sum(T[i,k,i,l]*y[l] for l)": "0",
    "T[i,k,m,l]*y[l]": "y[l]*T[m,l,i,k]",
    "d(sum(J[l,r]*b[l]*b[r] for l, r), J[i,m])": "2*b[i]*b[m] if i != m else 0",
    "d(sum(J[l,r]*v[r] for r)*b[l], J[i,m])": "b[l]*(v[m] if l == i else v[i] if l == m else 0) if i != m else 0",
    "t[i]^3": "t[i]^2 + 2*t[i]",
    "exp(t[i]*a[j])": "(exp(2*a[j])*(t[i]^2 + t[i]) + 2*exp(-a[j])*(t[i]^2 - 2*t[i]) - 3*(t[i]^2 - t[i] - 2))/6",
    "1 if t[i] >= 0 else 0": "1 - (t[i]^2 - 2*t[i])/3",
    "abs(h[j])": "1",
    "exp(a[j]*v[i])": "1 + v[i]*(exp(a[j]) - 1)",
    "1/(1 + v[i])": "1 - v[i]/2",
    "log(2 - v[i])": "(1 - v[i])*log(2)",
    "sigmoid((2*v[i] - 1)*a[j])": "sigmoid(a[j])^v[i]*(1 - sigmoid(a[j]))^(1 - v[i])",
    "exp(a[j]*x[i,k])*x[i,k]": "exp(a[j])*x[i,k]",
    "sum(n[k] for k)": "length(n)",
    "sum(n[k]*(a[j] + c[k]) for k)": "a[j]*length(n) + sum(c[k]*n[k] for k)",
    "data(b[i]*sum(n[k] for k))": "b[i]*data(length(n))",
    "exp(length(n)*log(sum(exp(c[k]) for k)))": "sum(exp(c[k]) for k)^length(n)",
    "1 if b[i] > 0 else 0": "1 - (1 if b[i] <= 0 else 0)",
    "1 if 2*b[i] > g[i] else 0": "1 if g[i]/2 < b[i] else 0",
    "(b[i] if b[i] > 0 else 0)*(1 if b[i] > 0 else 0)": "b[i] if b[i] > 0 else 0",
    "log(factorial(n[k])*2)": "log(2) + log(factorial(n[k]))",
    "d(log_normal_cdf(a[j]^2), a[j])": "2*a[j]*exp(-a[j]^4/2)/exp(log_normal_cdf(a[j]^2))/sqrt(2*pi)",
    "sum(b[i]*v[m] + v[m] over v)": "(1 + b[i])*sum(v[m] over v)",
    "sum(exp(b[i]*h[j])*sum(v[i] over v) over h)": "sum(v[i] over v)*sum(exp(h[j]*b[i]) over h)",
    "sum(sum(exp(sum(W[i,j]*v[i]*h[j] for i, j)) over v)*exp(sum(a[j]*h[j] for j)) over h)":
        "sum(exp(sum(h[j]*(a[j] + sum(W[i,j]*v[i] for i)) for j)) over v, h)",
    "d(log(sum(exp(sum(a[j]*h[j] for j)) over h)), a[j])":
        "sum(h[j]*exp(sum(a[j]*h[j] for j)) over h)/sum(exp(sum(a[j]*h[j] for j)) over h)",
}  # fmt: skip

# Each differs for some values, or one side has no value there; a careless normal form would call them equal.
OTHERS = {
    "v[i]/v[i]": "1",
    "sqrt(b[i]^2)": "b[i]",
    "log(b[i]^2)": "2*log(b[i])",
    "log(b[i]*b[i])": "log(b[i]) + log(b[i])",
    "exp(log(b[i]))": "b[i]",
    "log(b[i]) - log(b[i])": "0",
    "(b[i]^2)^0.5": "b[i]",
    "sqrt(1 + 1/b[i]^2)": "sqrt(1 + b[i]^2)/b[i]",
    "(1 - v[i])/(1 - v[i])": "1",
    "sqrt(v[i])*sqrt(v[i])": "v[i]^0",
    "h[j]": "1",
    "h[j]^3": "1",
    "g[i]^2": "g[i]",
    "x[i,k]*x[m,k]": "x[i,k]",
    "x[i,k]*y[k]": "x[i,k]",
    "sum(x[i,k] for i)": "1",
    "sum(x[i,k]*c[k] for k)": "sum(c[k] for k)",
    "sum(x[i,k]*x[m,k] for k)": "1",
    "sum(b[i] for i)*sum(b[i] for i)": "sum(b[i]*b[i] for i)",
    "J[i,m]": "0",
    "J[i,m]/J[i,m]": "1",
    "J[i,m]*J[m,l]": "J[i,m]*J[i,l]",
    "T[i,k,m,l]": "T[i,l,m,k]",
    "sum(T[i,k,m,k] for k)": "0",
    "d(sum(J[l,r]*b[l]*b[r] for l, r), J[i,m])": "b[i]*b[m] if i != m else 0",
    "t[i]^2": "t[i]",
    "t[i]^3": "4*t[i]",
    "exp(t[i])": "1 + t[i]*(exp(1) - 1)",
    "1 if t[i] > 0 else 0": "1 if t[i] >= 0 else 0",
    "exp(a[j]*g[i])": "1 + g[i]*(exp(a[j]) - 1)",
    "exp(a[j]*n[k])": "1 + n[k]*(exp(a[j]) - 1)",
    "1/v[i]": "1",
    "n[k]^2": "n[k]",
    "sum(n[k]^2 for k)": "length(n)",
    "sum(n[k]*n[l] for k)": "length(n)",
    "sum(n[k]*c[k] for k)": "length(n)*sum(c[k] for k)",
    "1/n[k]*n[k]": "1",
    "1 if b[i] > 0 else 0": "1 if b[i] >= 0 else 0",
    "1 if b[i] > a[j] else 0": "1 if a[j] > b[i] else 0",
    "log(factorial(b[i])*factorial(b[i]))": "2*log(factorial(b[i]))",
    "log_normal_cdf(a[j])": "log_normal_cdf(-a[j])",
    "sum(v[i] over v)": "v[i]",
    "v[i]*sum(v[i] over v)": "sum(v[i] over v)",
    "sum(sum(v[i] over v) over v)": "sum(v[i] over v)",
    "sum(v[i]*sum(v[m] over v) over v)": "sum(v[i]*v[m] over v)",
    "sum(v[i] over v)^2": "sum(v[i]^2 over v)",
    "sum(exp(v[i]) over v)": "exp(sum(v[i] over v))",
    "sum(h[j] over h)": "sum(h[j] over v)",
    "sum(1 over v)": "1",
    "sum(sum(b[i] for i)*b[m] for m)": "sum(b[m]*b[m] for m)",
    "sum(exp(sum(L[i,m]*b[m] for m)) for i)": "sum(exp(sum(L[m,i]*b[m] for m)) for i)",
    "sum(exp(sum(L[i,m]*b[i] for i)) for m)": "sum(exp(sum(L[i,m]*b[m] for i)) for m)",
    "sum(L[i,m]*L[m,i] for i, m)": "sum(L[i,m]*L[i,m] for i, m)",
    "sum(L[i,m]*L[m,l]*L[l,i] for i, m, l)": "sum(L[i,m]*L[m,l]*L[i,l] for i, m, l)",
    "sum(W[i,j]*W[i,l]*W[m,l]*W[m,j] for i, j, m, l)": "sum(W[i,j]^2 for i, j)^2",
    "data(v[i])*data(h[j])": "data(v[i]*h[j])",
    "data(v[i])^2": "data(v[i])",
    "data(v[i])": "model(v[i])",
    "exp(a[j])^2": "exp(a[j]^2)",
    "prod(b[i] for i)^2": "prod(b[i] for i)",
    "softmax(f[i,q] for q at k)": "softmax(f[m,q] for q at k)",
    "abs(b[i])": "b[i]",
    "D": "F",
    "sum(b[i] for i if i != m)": "sum(b[i] for i)",
}


@pytest.mark.parametrize("left", IDENTITIES)
def test_identities_are_proved(left: str) -> None:
    assert proved(left, IDENTITIES[left])
    assert proved(IDENTITIES[left], left)


@pytest.mark.parametrize("left", OTHERS)
def test_others_are_not(left: str) -> None:
    assert not proved(left, OTHERS[left])


# --- random formulas ---


def entries(scope: tuple[str, ...]) -> st.SearchStrategy[Expression]:
    """Entries whose indices are in scope; all axes have one size, so that any index fits anywhere."""
    names = st.sampled_from([("b", 1), ("s", 1), ("v", 1), ("g", 1), ("L", 2)])
    return names.flatmap(
        lambda n: st.tuples(*[st.sampled_from(scope)] * n[1]).map(lambda at: Index(n[0], tuple(map(Name, at))))
    )


@st.composite
def formulas(draw: st.DrawFn, depth: int = 4, scope: tuple[str, ...] = ("i", "m")) -> Expression:
    if depth == 0 or draw(st.integers(0, 5)) == 0:
        return draw(st.one_of(entries(scope), st.sampled_from("0123").map(Number)))
    inner = formulas(depth - 1, scope)
    match draw(st.sampled_from(["+", "-", "*", "*", "neg", "sum", "sum", "exp", "softplus", "sigmoid", "square"])):
        case "neg":
            return Negate(draw(inner))
        case "sum":
            name = f"k{depth}"
            body = draw(formulas(depth - 1, (*scope, name)))
            used = Binary("*", Index("b", (Name(name),)), body)
            return Call("sum", (used,), generator=Generator((name,)))
        case "square":
            return Binary("^", draw(inner), Number("2"))
        case "exp" | "softplus" | "sigmoid" as function:
            return Call(function, (Binary("*", Number("0.1"), draw(inner)),))
        case op:
            return Binary(op, draw(inner), draw(inner))


def numbers(seed: int) -> Here:
    rng = np.random.default_rng(seed)
    arrays = {n: rng.uniform(-1, 1, 2) for n in "bg"} | {"s": rng.uniform(0.5, 1.5, 2), "L": rng.uniform(-1, 1, (2, 2))}
    return Here(OracleModel({}, (), {}), {**arrays, "v": rng.integers(2, size=2).astype(float)}, {"D": 2})


@settings(max_examples=80, deadline=None, derandomize=True)
@given(formulas(), st.integers(0, 2**32))
def test_one_normal_form_means_one_value(formula: Expression, pick: int) -> None:
    """A formula is proved equal to itself with other dummies; a changed one only if it has the same values."""
    assert proved(formula, renamed(formula, {}, bound_names(formula))) or not _readable(formula)
    axes = {name: len(SHAPES[name]) for name in ("b", "s", "v", "g", "L")}
    changed = [other for other in changes(formula, axes, ("i", "m")) if _uses_its_indices(other)]
    for other in random.Random(pick).sample(changed, min(10, len(changed))):
        assert not proved(formula, other) or all(_same(formula, other, seed) for seed in range(5))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(formulas())
def test_reading_and_writing_keep_the_value(formula: Expression) -> None:
    own = reader()
    try:
        poly = own.read(formula)
    except NoProofError:
        return
    letters = {name: ("i", "m")[: len(shape)] for name, shape in SHAPES.items()}
    written = Writer(letters, {}, frozenset(SHAPES)).write(poly)
    for seed in range(3):
        assert _same(formula, written, seed)


def _uses_its_indices(formula: Expression) -> bool:
    calls = [node for node, _ in walk(formula) if isinstance(node, Call) and node.generator]
    return all(any(item == Name(n) for item, _ in walk(c.arguments[0])) for c in calls for n in c.generator.names)  # type: ignore[union-attr]


def _readable(formula: Expression) -> bool:
    try:
        reader().read(formula)
    except NoProofError:
        return False
    return True


def _same(left: Expression, right: Expression, seed: int) -> bool:
    at = {"i": 0, "m": 1}
    values = [value_of(side, numbers(seed), dict(at)) for side in (left, right)]
    return bool(np.allclose(values[0], values[1], rtol=1e-7, atol=1e-7))


# --- labels ---


@pytest.mark.parametrize(
    "edges",
    [
        [(0, 1), (1, 2), (2, 0)],
        [(0, 1), (1, 2), (2, 3), (3, 0)],
        [(0, 1), (1, 2), (2, 3), (3, 4)],
        [(0, 1), (0, 2), (0, 3), (4, 0)],
        [(0, 1), (1, 0), (2, 3), (3, 2), (4, 4)],
    ],
)
def test_labels_do_not_depend_on_names(edges: list[tuple[int, int]]) -> None:
    count = 1 + max(max(edge) for edge in edges)
    keys = set()
    for names in permutations([f"${k}" for k in range(count)]):
        factors = dict.fromkeys((Ref("L", (names[a], names[b])) for a, b in edges), 1)
        keys.add(closed(tuple((name, D) for name in names), factors.items()).key)  # type: ignore[arg-type]
    assert len(keys) == 1


def test_many_dummies_that_cannot_be_told_apart_are_quick() -> None:
    assert proved("sum(v[i]*b[i] for i)^12", "(sum(b[i]*v[i] for i)^4)^3")


def test_work_is_bounded() -> None:
    with pytest.raises(NoProofError):
        reader(work=100).read(parse_expression("(b[i] + v[i] + a[j] + h[j])^9"))
    with pytest.raises(NoProofError):
        reader().read(parse_expression("sigmoid(" * 60 + "a[j]" + ")" * 60))
