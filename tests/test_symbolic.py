"""SymPy forms of derived formulas: built from the tree, equal in value to the formulas they come from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import sympy
from numpy.typing import NDArray

from pgmdsl.compiler.check import check_model
from pgmdsl.compiler.derivation import Derivation
from pgmdsl.compiler.derive import derive_model
from pgmdsl.compiler.model import Model, Size
from pgmdsl.compiler.symbolic import shapes_of, size_symbol, to_sympy
from pgmdsl.compiler.values import evaluate
from pgmdsl.grammar.diagnostics import Diagnostics, Error
from pgmdsl.grammar.parse import parse_expression, parse_file
from pgmdsl.grammar.source import Source
from pgmdsl.grammar.syntax import Binary, Call, Expression, Generator, Index, Name, Negate, Number

Arrays = dict[str, NDArray[np.float64]]

MODELS = {
    "dbm": """model DBM(D = 3, F = 2, G = 2)
visible v : binary[D] bias b
hidden h1 : binary[F] bias a1
hidden h2 : spin[G] bias a2
v -- h1 : W1
h1 -- h2 : W2
""",
    "mixed": """model Mixed(D = 2, F = 3, K = 3, N = 2)
visible v : gaussian[D](sigma = 2) bias b
visible y : softmax[N, K]
hidden h : binary[F] bias a
hidden t : softmax[K] bias c
v -- h : W
y -- h : U
v -- t : T
""",
    "loop": """model Loop(D = 2, F = 2)
visible v : spin[D + 1] bias b
hidden h : binary[F] bias a
hidden g : binary[F] bias none
v -- h : A
v -- g : B
h -- g : C
""",
}


def derived(text: str) -> tuple[Model, Derivation]:
    source = Source("test.ebm", text)
    diagnostics = Diagnostics(source)
    model = check_model(source, parse_file(source, diagnostics), diagnostics, {})
    diagnostics.raise_errors()
    assert model is not None
    return model, derive_model(model)


def random_arrays(model: Model) -> Arrays:
    """Numbers for every state and parameter; the formulas hold as algebra, so states need not be states."""
    rng = np.random.default_rng(5)
    sizes = {name: value for name, value in model.sizes.items() if value is not None}
    shapes = {n: tuple(int(d.evaluate(sizes)) for d in dims) for n, dims in shapes_of(model).items()}
    out = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return {n: np.exp(x) if n.startswith("sigma") else x for n, x in out.items()}


# --- an evaluation of formulas of its own -----------------------------------------------------------------

FUNCTIONS: dict[str, Callable[[float], float]] = {
    "exp": math.exp,
    "log": math.log,
    "tanh": math.tanh,
    "sqrt": math.sqrt,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "softplus": lambda x: math.log1p(math.exp(x)),
}


def axis(body: object, name: str, arrays: Arrays) -> int | None:
    """The length of the axis where an index is used, found by looking through the fields of every node."""
    if isinstance(body, Index) and body.name in arrays and Name(name) in body.indices:
        return int(arrays[body.name].shape[body.indices.index(Name(name))])
    if isinstance(body, tuple):
        inner: list[object] = list(body)
    else:
        inner = [getattr(body, f) for f in getattr(body, "__slots__", ()) if f != "span"]
    return next((n for part in inner if (n := axis(part, name, arrays)) is not None), None)


def value(node: Expression, arrays: Arrays, index: dict[str, int]) -> float:
    match node:
        case Number():
            return float(node.value)
        case Name("pi"):
            return math.pi
        case Name(name):
            return index[name]
        case Index(name, indices):
            return float(arrays[name][tuple(int(value(i, arrays, index)) for i in indices)])
        case Negate(operand):
            return -value(operand, arrays, index)
        case Binary(op, left, right):
            a, b = value(left, arrays, index), value(right, arrays, index)
            return float({"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else math.nan}[op] if op != "^" else a**b)
        case Call("sum", (body,), generator=Generator(names)):
            return sum(value(body, arrays, index | step) for step in steps(body, names, arrays))
        case Call("softmax", (body,), generator=Generator(names, at=at)) if at is not None:
            weights = [math.exp(value(body, arrays, index | step)) for step in steps(body, names, arrays)]
            return weights[int(value(at, arrays, index))] / sum(weights)
        case Call(function, (argument,)):
            return FUNCTIONS[function](value(argument, arrays, index))
        case _:
            raise AssertionError(node)


def steps(body: Expression, names: tuple[str, ...], arrays: Arrays) -> Iterator[dict[str, int]]:
    lengths = [axis(body, name, arrays) for name in names]
    for place in np.ndindex(*(n for n in lengths if n is not None)):
        yield dict(zip(names, place, strict=True))


# --- comparison -------------------------------------------------------------------------------------------


def sympy_value(model: Model, formula: Expression, arrays: Arrays, index: dict[str, int]) -> float:
    expression = to_sympy(formula, shapes_of(model))
    sizes = {sympy.Symbol(n, integer=True, positive=True): size for n, size in model.sizes.items()}
    places = {sympy.Symbol(n, integer=True): k for n, k in index.items()}
    written_out = expression.subs(sizes).subs(places).doit()
    numbers = {
        e: sympy.Float(arrays[e.base.name][tuple(map(int, e.indices))], 30) for e in written_out.atoms(sympy.Indexed)
    }
    result = written_out.xreplace(numbers)
    assert not result.free_symbols, result.free_symbols
    return float(result)


def formulas(derivation: Derivation) -> Iterator[tuple[str, Expression, tuple[str, ...]]]:
    yield "model: energy", derivation.energy.right, ()
    for layer, c in derivation.conditionals.items():
        yield f"{layer}: field", c.field, c.indices
        yield f"{layer}: mean", c.mean, c.indices
        yield f"{layer}: log-partition", c.log_partition, c.indices
        if c.deviation is not None:
            yield f"{layer}: deviation", c.deviation, c.indices
    for layer, equation in derivation.mean_field.items():
        yield f"{layer}: mean field", equation.right, derivation.conditionals[layer].indices
    if derivation.free_energy is not None:
        yield "model: free energy", derivation.free_energy.right, ()


@pytest.mark.parametrize("name", MODELS)
def test_sympy_form_has_the_value_of_the_formula(name: str) -> None:
    model, derivation = derived(MODELS[name])
    arrays = random_arrays(model)
    seen = set()
    for what, formula, indices in formulas(derivation):
        for last in (0, 1):
            index = dict.fromkeys(indices, last)
            wanted = value(formula, arrays, index)
            assert sympy_value(model, formula, arrays, index) == pytest.approx(wanted, rel=1e-12, abs=1e-12), what
        seen.add(what.partition(": ")[2])
    assert {"energy", "field", "mean", "log-partition"} <= seen
    assert ("free energy" in seen) == (name == "mixed")


def test_ranges_are_the_axes_where_an_index_is_used() -> None:
    shapes = {"W": (Size.name("D") + Size.number(1), Size.name("F")), "v": (Size.name("D") + Size.number(1),)}
    found = to_sympy(parse_expression("sum(W[i,j]*v[i] for i)"), shapes)
    i, j = sympy.symbols("i j", integer=True)
    d = sympy.Symbol("D", integer=True, positive=True)
    w, v = sympy.IndexedBase("W", real=True), sympy.IndexedBase("v", real=True)
    assert found == sympy.Sum(w[i, j] * v[i], (i, 0, d))
    assert size_symbol(Size.name("D") * Size.name("D") + Size.number(2)) == d**2 + 2


def test_ranges_without_sizes_are_symbols() -> None:
    found = to_sympy(parse_expression("sum(x[i] for i)"))
    assert found.limits[0][2] == sympy.Symbol("N_i", integer=True, positive=True) - 1


def test_numbers_are_exact() -> None:
    assert to_sympy(parse_expression("0.1 + 1e-3")) == sympy.Rational(101, 1000)
    assert to_sympy(parse_expression("2^-1 * pi")) == sympy.pi / 2


def test_logic_becomes_piecewise() -> None:
    x = sympy.Symbol("x", real=True)
    assert to_sympy(parse_expression("x if x > 0 else 0")) == sympy.Piecewise((x, x > 0), (0, True))
    total = to_sympy(parse_expression("sum(x[m] for m if m != j)")).subs(
        sympy.Symbol("N_m", integer=True, positive=True), 3
    )
    entries = sympy.IndexedBase("x", real=True)
    assert total.subs(sympy.Symbol("j", integer=True), 1).doit() == entries[0] + entries[2]


def test_products_and_named_functions() -> None:
    product = to_sympy(parse_expression("prod(1 + x[i] for i)"), {"x": (Size.number(2),)})
    entries = sympy.IndexedBase("x", real=True)
    assert sympy.expand(product.doit() - (1 + entries[0]) * (1 + entries[1])) == 0
    left = to_sympy(parse_expression("p(h[j] = 1 | v)"))
    assert left.func == sympy.Function("p")
    assert left.args[0] == sympy.Eq(sympy.IndexedBase("h", real=True)[sympy.Symbol("j", integer=True)], 1)
    derivative = to_sympy(parse_expression("d(W[i]*x[i], W[i])"))
    assert derivative.doit() == entries[sympy.Symbol("i", integer=True)]


@pytest.mark.parametrize("text", ["sum(exp(-energy) over h)", "softmax(f[q] for q)"])
def test_what_sympy_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(Error, match="no SymPy form"):
        to_sympy(parse_expression(text))


def test_names_are_never_evaluated() -> None:
    """A name that SymPy's own text reader would run or look up stays a plain symbol."""
    for name in ("S", "E", "I", "exit", "__import__", "lambda_"):
        assert to_sympy(Name(name)) == sympy.Symbol(name, real=True)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("log_normal_cdf(x)", 0.7),
        ("log_normal_cdf(-3*x)", 0.7),
        ("log(factorial(x + 2))", 0.7),
        ("x^2 if x > 1 else abs(x) if x > 0 else -2*x", -1.5),
        ("x^2 if x > 1 else abs(x) if x > 0 else -2*x", 0.5),
        ("x if 0 > 0 else 3", 0.5),
    ],
)
def test_functions_and_branches_have_their_values(text: str, at: float) -> None:
    formula = parse_expression(text)
    found = to_sympy(formula).subs(sympy.Symbol("x", real=True), sympy.Float(at, 30))
    assert float(found) == pytest.approx(evaluate(formula, {"x": at}), rel=1e-13)


def test_sums_leave_out_a_unit() -> None:
    """The field of a lateral layer: all units but one."""
    size = Size.name("D")
    shapes = {"L": (size, size), "v": (size,)}
    field = to_sympy(parse_expression("b[j] + sum(L[m,j]*v[m] for m if m != j)"), shapes)
    lateral, states, bias = (sympy.IndexedBase(n, real=True) for n in "Lvb")
    written_out = field.subs(sympy.Symbol("D", integer=True, positive=True), 3)
    for j in range(3):
        others = sum(lateral[m, j] * states[m] for m in range(3) if m != j)
        assert written_out.subs(sympy.Symbol("j", integer=True), j).doit() == bias[j] + others
