"""User-defined unit types: what is derived from a `unit` block, against sums and quadrature; and every mistake."""

from __future__ import annotations

import operator
import random
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from itertools import count, pairwise
from typing import Any

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgmdsl.compiler.arithmetic import Digits, Floats
from pgmdsl.compiler.check_names import MistakeError
from pgmdsl.compiler.typeset import unicode_text
from pgmdsl.compiler.typeset_latex import latex
from pgmdsl.compiler.unit_formula import folded, is_positive, linear, polynomial
from pgmdsl.compiler.unit_lemmas import derive_unit
from pgmdsl.compiler.units import UNITS, Finite, Naturals, OwnParameter, Piece, Real, Unit
from pgmdsl.compiler.values import evaluate, log_normal_cdf
from pgmdsl.grammar.diagnostics import Diagnostic, Diagnostics, Error, render
from pgmdsl.grammar.formula import format_expression
from pgmdsl.grammar.parse import parse_expression, parse_file
from pgmdsl.grammar.source import Source
from pgmdsl.grammar.syntax import (
    Binary,
    Call,
    Compare,
    Conditional,
    Expression,
    Name,
    Negate,
    Number,
    UnitDeclaration,
)


def block(support: str, energy: str, param: str = "", statistic: str = "x", name: str = "own") -> str:
    rows = [f"  support   {support}", f"  energy    {energy}", f"  statistic {statistic}"]
    return "\n".join([f"unit {name} {{", *([f"  param     {param}"] if param else []), *rows, "}\n"])


def declaration(text: str) -> tuple[Source, UnitDeclaration]:
    source = Source("model.ebm", f"model M\n{text}")
    diagnostics = Diagnostics(source)
    file = parse_file(source, diagnostics)
    assert not diagnostics.found, text
    (unit,) = (s for s in file.statements if isinstance(s, UnitDeclaration))
    return source, unit


@cache
def derived(text: str) -> Unit:
    return derive_unit(declaration(text)[1])


TRIT = block("x in {-1, 0, 1}", "0.3 * x^2", name="trit")
DRELU = block("x in real", "gp*x^2/2 + tp*x if x > 0 else gm*x^2/2 + tm*x", "gp > 0, gm > 0, tp, tm", name="drelu")
UNITS_OF_FILES = {
    "trit": TRIT,
    "trit-learned": block("x in {-1, 0, 1}", "g*x^2 + t*abs(x)", "g > 0, t"),
    "uneven": block("x in {2, -1/2, 1}", "exp(t*x)", "t", "2*x + 1"),
    "falling": block("x in {0, 1, 3}", "log(factorial(x))", statistic="-x"),
    "renamed": block("y in {0, 1}", "g if y > 0 else -g", "g", "2*y - 1"),
    "drelu": DRELU,
    "rectified": block("x in real >= 0", "x^2/2"),
    "truncated": block("x in real >= -1.5", "g*(x - t)^2/2", "g > 0, t"),
    "normal": block("x in real", "(x - t)^2/(2*w^2)", "w > 0, t"),
    "laplacian": block("x in real", "x^2/2 + g*abs(x - 1)", "g > 0"),
    "three": block("x in real", "x^2 if x < -1 else a*x^2/2 + x if x <= 2 else a*c*x^2 - 1", "a > 0, c > 0"),
    "poisson": block("x in integers >= 0", "log(factorial(x))"),
    "shifted": block("x in integers >= 0", "log(factorial(x)) + t*x", "t"),
    "weighted": block("n in integers >= 0", "log(factorial(n)) - log(1 + n)", statistic="n"),
    "inflated": block("x in integers >= 0", "log(factorial(x)) + g if x > 0 else 0", "g"),
    "first few": block("x in integers >= 0", "log(factorial(x)) if x >= 2.5 else x", ""),
    "even": block("x in integers >= 0", "log(factorial(2*x))"),
}


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "exp": mpmath.exp,
    "log": mpmath.log,
    "sqrt": mpmath.sqrt,
    "abs": abs,
    "tanh": mpmath.tanh,
    "factorial": mpmath.factorial,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log(1 + mpmath.exp(x)),
    "log_normal_cdf": lambda x: mpmath.log(mpmath.ncdf(x)),
}
OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": operator.pow,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def value(text: str, names: Mapping[str, Any], digits: int = 40) -> Any:
    """The value of a formula in mpmath, by a walk of the tests' own."""
    with mpmath.workdps(digits):
        return walk(parse_expression(text), {k: mpmath.mpf(v) for k, v in names.items()})


def walk(node: Expression, names: Mapping[str, Any]) -> Any:
    match node:
        case Number():
            return mpmath.mpf(node.value.numerator) / node.value.denominator
        case Name("pi"):
            return +mpmath.pi
        case Name(name):
            return names[name]
        case Negate(operand):
            return -walk(operand, names)
        case Binary(op, left, right) | Compare(op, left, right):
            return OPERATIONS[op](walk(left, names), walk(right, names))
        case Conditional(yes, condition, no):
            return walk(yes if walk(condition, names) else no, names)
        case Call(function, (argument,)):
            return FUNCTIONS[function](walk(argument, names))
        case _:
            raise AssertionError(node)


def numbers(unit: Unit, source: random.Random) -> dict[str, float]:
    return {p.name: source.uniform(0.3, 2) if p.positive else source.uniform(-1.5, 1.5) for p in unit.parameters}


def brute(unit: Unit, field: float, parameters: Mapping[str, float]) -> tuple[Any, Any]:
    """Log-partition and mean of the statistic from support, energy and statistic alone; the bias is the field."""
    energy, statistic = parse_expression(unit.energy), parse_expression(unit.statistic)
    names = {**{k: mpmath.mpf(v) for k, v in parameters.items()}, "b": mpmath.mpf(field)}

    def weight(x: Any) -> Any:
        return mpmath.exp(-walk(energy, {**names, "x": mpmath.mpf(x)}))

    def first(x: Any) -> Any:
        return weight(x) * walk(statistic, {"x": mpmath.mpf(x)})

    with mpmath.workdps(25):
        match unit.support:
            case Finite(values):
                states = [mpmath.mpf(v.numerator) / v.denominator for v in values]
                whole, share = (mpmath.fsum(map(term, states)) for term in (weight, first))
            case Naturals():
                whole = share = mpmath.mpf(0)
                for x in count():
                    whole, share = whole + weight(x), share + first(x)
                    if x > 20 and weight(x) < mpmath.mpf(10) ** -25:
                        break
            case Real(lower):
                inner = [-2, -1, -0.5, 0, 0.5, 1, 2, 4]
                edges = [-mpmath.inf if lower is None else float(lower), *inner, mpmath.inf]
                edges = [e for k, e in enumerate(edges) if lower is None or k == 0 or e > float(lower)]
                whole, share = (mpmath.quad(term, edges, maxdegree=7) for term in (weight, first))
            case _:
                raise AssertionError(unit.support)
        return mpmath.log(whole), share / whole


# --- what is derived ---


@pytest.mark.parametrize("name", UNITS_OF_FILES)
def test_derived_formulas_are_sums_and_integrals(name: str) -> None:
    unit, source = derived(UNITS_OF_FILES[name]), random.Random(name)
    for field in (-2.3, 0.4, 1.7):
        parameters = numbers(unit, source)
        wanted, mean = brute(unit, field, parameters)
        at = {**parameters, "f": field}
        assert abs(value(unit.log_partition, at) - wanted) < 1e-15 * (1 + abs(wanted))
        assert abs(value(unit.mean, at) - mean) < 1e-15 * (1 + abs(mean))


@pytest.mark.parametrize("name", UNITS_OF_FILES)
def test_the_rest_of_the_row(name: str) -> None:
    unit, source = derived(UNITS_OF_FILES[name]), random.Random(name)
    assert (unit.own_field, unit.constant, unit.field_of_mean) == ("b", "0", None)
    for x in (0, 1, 2.5) if not isinstance(unit.support, Finite) else unit.support.values:
        at = {**numbers(unit, source), "x": float(x), "b": 0.7}
        energy, base, statistic = (value(text, at) for text in (unit.energy, unit.base, unit.statistic))
        assert energy == pytest.approx(base - at["b"] * statistic, abs=1e-13)
    assert bool(unit.pieces) == isinstance(unit.support, Real)


@pytest.mark.parametrize("name", [n for n, text in UNITS_OF_FILES.items() if "real" in text])
def test_pieces_are_the_energy(name: str) -> None:
    unit, source = derived(UNITS_OF_FILES[name]), random.Random(name)
    assert isinstance(unit.support, Real)
    assert unit.pieces[0].lower == unit.support.lower
    assert unit.pieces[-1].upper is None
    assert all(first.upper == second.lower is not None for first, second in pairwise(unit.pieces))
    for piece in unit.pieces:
        low = float(piece.lower) if piece.lower is not None else float(piece.upper or 0) - 3
        high = float(piece.upper) if piece.upper is not None else low + 6
        for _ in range(4):
            parameters = numbers(unit, source)
            x = source.uniform(low, high)
            c, d, e = (value(text, parameters) for text in (piece.curvature, piece.slope, piece.constant))
            assert c > 0
            assert abs(c * x * x / 2 + d * x + e - value(unit.base, {**parameters, "x": x})) < 1e-13


def test_rows_as_text(golden: Callable[[str, str], None]) -> None:
    shown = []
    for name, text in UNITS_OF_FILES.items():
        unit = derived(text)
        rows = [f"{field} = {getattr(unit, field)}" for field in ("energy", "base", "log_partition", "mean")]
        rows += [f"piece {p.lower} {p.upper}: {p.curvature} | {p.slope} | {p.constant}" for p in unit.pieces]
        shown.append("\n".join([f"# {name}", text.rstrip(), *rows, ""]))
    golden("units/rows.txt", "\n".join(shown))


def test_the_table_is_met_again() -> None:
    """Types that the table has, written as blocks, get the table's formulas."""
    for name in ("rectified", "poisson"):
        unit, row = derived(UNITS_OF_FILES[name]), UNITS["relu" if name == "rectified" else "poisson"]
        assert (unit.log_partition, unit.mean, unit.base) == (row.log_partition, row.mean, row.base)
        assert (unit.support, unit.pieces) == (row.support, row.pieces)
    assert derived(block("x in {1, 0}", "0")).log_partition == "log(1 + exp(f))"
    assert derived(block("x in {1, 0}", "0")).energy == "-b*x"


def test_the_double_rectified_unit() -> None:
    unit = derived(DRELU)
    assert unit.parameters == tuple(OwnParameter(n, n[0] == "g") for n in ("gp", "gm", "tp", "tm"))
    assert unit.pieces == (
        Piece(None, Fraction(0), curvature="gm", slope="tm", constant="0"),
        Piece(Fraction(0), None, curvature="gp", slope="tp", constant="0"),
    )
    # with equal halves it is Gaussian
    same = {"gp": 1.3, "gm": 1.3, "tp": 0.4, "tm": 0.4, "f": 0.9}
    assert value(unit.mean, same) == pytest.approx(0.5 / 1.3, abs=1e-15)


@pytest.mark.parametrize("name", ["drelu", "laplacian", "rectified", "truncated", "normal"])
@pytest.mark.parametrize("field", [-500.0, -40.0, 40.0, 500.0])
def test_doubles_do_not_overflow(name: str, field: float) -> None:
    unit = derived(UNITS_OF_FILES[name])
    at = {**numbers(unit, random.Random(name)), "f": field}
    for text, tolerance in ((unit.log_partition, 1e-12), (unit.mean, 1e-6)):
        wanted = float(value(text, at, digits=60))
        assert evaluate(parse_expression(text), at) == pytest.approx(wanted, rel=tolerance, abs=tolerance)


def test_finite_and_real_units_need_no_sympy() -> None:
    code = f"""
import sys
from pgmdsl.compiler.unit_lemmas import derive_unit
from pgmdsl.grammar.diagnostics import Diagnostics
from pgmdsl.grammar.parse import parse_file
from pgmdsl.grammar.source import Source
for text in ({TRIT!r}, {DRELU!r}):
    source = Source("m.ebm", text)
    derive_unit(parse_file(source, Diagnostics(source)).statements[0])
sys.exit(any(name in sys.modules for name in ("sympy", "mpmath", "numba", "scipy")))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_examples_of_the_page(pytestconfig: pytest.Config) -> None:
    """Each block of the page's table is accepted, and has the log-partition function that stands beside it."""
    page = (pytestconfig.rootpath / "docs" / "units.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| (`.*support.*`) \| (.*) \|$", page.partition("## Examples")[2], re.MULTILINE)
    assert len(rows) >= 6
    for entries, log_partition in rows:
        lines = [*re.findall(r"`([^`]+)`", entries), "statistic x"]
        unit = derived("\n".join(["unit own {", *lines, "}\n"]))
        assert log_partition in (f"`{unit.log_partition}`", "of two pieces, as for drelu")
    (block_,) = re.findall(r"```ebm\n(unit .*?\n}\n)", page, re.DOTALL)
    assert derived(block_) == derived(DRELU)


# --- mistakes ---


def quadratic_pieces(number: int) -> str:
    return " else ".join([*(f"{k + 1}*x^2 if x < {k}" for k in range(1, number)), "x^2/2"])


WRONG = {
    "E011-energy": block("x in {-1, 0, 1}", "gg*x^2", "g"),
    "E011-statistic": block("x in {-1, 0, 1}", "x^2", statistic="y"),
    "E012-builtin": block("x in {0, 1}", "0", name="relu"),
    "E090-two": "unit own {\n  energy x^2\n}\n",
    "E091-sum": block("x in {-1, 0, 1}", "sum(x for i)"),
    "E091-name": block("x in {-1, 0, 1}", "sqr(x)"),
    "E091-entry": block("x in {-1, 0, 1}", "x[i]"),
    "E091-condition": block("x in {-1, 0, 1}", "1 if x else 0"),
    "E091-text": block("x in {-1, 0, 1}", '"x"'),
    "E092-twice": block("x in {-1, 0, 1}", "g*x^2", "g > 0, g"),
    "E092-taken": block("x in {-1, 0, 1}", "f*x^2", "f"),
    "E092-state": block("x in {-1, 0, 1}", "x^2", "x"),
    "E092-unused": block("x in {-1, 0, 1}", "x^2", "g"),
    "E093-twice": block("x in {1, 0, 2/2}", "0"),
    "E093-one": block("x in {1}", "0"),
    "E093-many": block(f"x in {{{', '.join(map(str, range(65)))}}}", "0"),
    "E093-open": block("x in {0, t}", "t*x", "t"),
    "E093-domain": block("x in reals", "x^2"),
    "E093-integers": block("x in integers", "log(factorial(x))"),
    "E093-from-one": block("x in integers >= 1", "log(factorial(x))"),
    "E093-bound": block("x in real >= t", "x^2 + t", "t"),
    "E094-square": block("y in {-1, 0, 1}", "0", statistic="y^2"),
    "E094-constant": block("x in {0, 1, 3}", "0", statistic="x - x"),
    "E094-parameter": block("x in {0, 1}", "g*x", "g", statistic="g*x"),
    "E094-real": block("x in real", "x^2", statistic="2*x"),
    "E095-energy": block("x in {0, 1}", "log(x)"),
    "E095-start": block("x in real", "x^2/2 + x/t", "t"),
    "E095-negative": block("x in {0, 1}", "x*log(t + 1)", "t"),
    "E096-quartic": block("y in real", "y^2 + y^4", statistic="y"),
    "E096-function": block("x in real", "x^2 + exp(x)"),
    "E096-quotient": block("x in real", "x^2/(1 + x^2)"),
    "E096-moving": block("x in real", "x^2 if x > t else 2*x^2", "t"),
    "E096-parameter": block("x in real", "x^2 if t > 0 else 2*x^2", "t"),
    "E096-curve": block("x in real", "abs(x^2 - 1)"),
    "E096-equal": block("x in real", "0 if x == 0 else x^2"),
    "E096-middle": block("x in real", "x^2 if abs(x) > 1 else 0"),
    "E096-pieces": block("x in real", quadratic_pieces(9)),
    "E096-besseli": block("x in integers >= 0", "2*log(factorial(x))"),
    "E096-theta": block("n in integers >= 0", "n^2", statistic="n"),
    "E096-power": block("x in integers >= 0", "g*log(factorial(x))", "g > 0"),
    "E096-late": block("x in integers >= 0", "log(factorial(x)) if x > 70 else 0"),
    "E097-flat": block("x in real", "0"),
    "E097-side": block("x in real", "x^2 if x > 0 else -x"),
    "E097-unknown": block("x in real", "g*x^2/2", "g"),
    "E097-difference": block("x in real", "(g - h)*x^2/2", "g > 0, h > 0"),
    "E097-ray": block("x in real >= 0", "x"),
    "E097-geometric": block("x in integers >= 0", "g*x", "g > 0"),
    "E097-slow": block("x in integers >= 0", "sqrt(x)"),
}


def shown(text: str) -> str:
    source, unit = declaration(text)
    with pytest.raises(MistakeError) as caught:
        derive_unit(unit)
    mistake = caught.value
    return render(source, Diagnostic(mistake.code, mistake.message, mistake.span, mistake.help))


def test_messages(golden: Callable[[str, str], None]) -> None:
    lines = []
    for name, text in WRONG.items():
        message = shown(text)
        assert message.startswith(f"error[{name[:4]}]"), message
        lines.append(f"## {name}\n{message}\n")
    golden("units/messages.txt", "\n".join(lines))


WORDS = re.findall(r"[\w.]+|[^\w\s]+", DRELU + UNITS_OF_FILES["three"] + TRIT)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_block_is_answered(data: st.DataObject) -> None:
    """With words exchanged, a block gives a row whose formulas can be read, or a mistake with its place."""
    lines = data.draw(st.sampled_from([TRIT, DRELU, UNITS_OF_FILES["three"], UNITS_OF_FILES["uneven"]])).splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.integers(1, len(lines) - 2))
        words = re.findall(r"[\w.]+|[^\w\s]+|\s+", lines[row])
        place = data.draw(st.integers(2, len(words)))
        words[place : place + data.draw(st.integers(0, 2))] = data.draw(st.lists(st.sampled_from(WORDS), max_size=2))
        lines[row] = "".join(words)
    source = Source("model.ebm", "\n".join(lines) + "\n")
    diagnostics = Diagnostics(source)
    for unit in parse_file(source, diagnostics).statements:
        if isinstance(unit, UnitDeclaration):
            try:
                found = derive_unit(unit)
            except MistakeError as mistake:
                render(source, Diagnostic(mistake.code, mistake.message, mistake.span, mistake.help))
                continue
            for text in (found.energy, found.base, found.log_partition, found.mean):
                parse_expression(text)


# --- formulas worked with exactly ---


ATOMS = st.sampled_from(["0", "1", "2", "0.5", "3", "a", "c", "x"]).map(parse_expression)


def wider(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    binary = st.builds(Binary, st.sampled_from("+-*/"), inner, inner)
    power = st.builds(lambda base: Binary("^", base, Number("2")), inner)
    call = st.builds(lambda name, x: Call(name, (x,)), st.sampled_from(["exp", "abs", "sqrt"]), inner)
    choice = st.builds(lambda a, b, c: Conditional(a, Compare(">", b, Number("1")), c), inner, inner, inner)
    return st.one_of(binary, binary, st.builds(Negate, inner), power, call, choice)


@given(st.recursive(ATOMS, wider, max_leaves=8))
@settings(max_examples=300, deadline=None)
def test_folding_keeps_the_value(node: Expression) -> None:
    at = {"a": 0.7, "c": -1.3, "x": 2.1}
    try:
        wanted = evaluate(node, at)
    except Error:
        return
    simple = folded(node)
    assert evaluate(simple, at) == pytest.approx(wanted, rel=1e-9, abs=1e-9)
    assert parse_expression(format_expression(simple)) == simple


@pytest.mark.parametrize(
    ("text", "positive"),
    [
        ("g", True),
        ("2*g + g*h/3", True),
        ("g + t^2", True),
        ("g*exp(t)/softplus(t)", True),
        ("sqrt(g)*pi + abs(t)", True),
        ("g^t", True),
        ("t", False),
        ("t^2", False),
        ("g - h", False),
        ("g*t", False),
        ("abs(t)", False),
        ("0", False),
        ("-g", False),
    ],
)
def test_signs(text: str, positive: bool) -> None:
    assert is_positive(linear(parse_expression(text)), frozenset("gh")) == positive


def test_polynomials() -> None:
    found = polynomial(parse_expression("(x - t)*(x + 2)/w - x*(0.5*x + 1)"))
    assert {power: len(terms) for power, terms in found.items()} == {0: 1, 1: 3, 2: 2}


# --- the log of the normal distribution function ---


@pytest.mark.parametrize("x", [-1000.0, -38.0, -30.0, -29.9, -5.0, -0.3, 0.0, 0.2, 4.0, 9.0, 30.0])
def test_log_normal_cdf(x: float) -> None:
    with mpmath.workdps(400):
        tail = mpmath.erfc(abs(mpmath.mpf(x)) / mpmath.sqrt(2)) / 2
        wanted = mpmath.log(tail) if x < 0 else mpmath.log1p(-tail)
        for digits in (Digits(), Digits(1)):
            found = digits.log_normal_cdf(digits.exact(x))
            assert abs(found / wanted - 1) < mpmath.mpf(10) ** -60
    assert log_normal_cdf(x) == pytest.approx(float(wanted), rel=1e-12)
    assert Floats().log_normal_cdf(x) == log_normal_cdf(x)


def test_log_normal_cdf_as_people_write_it() -> None:
    node = parse_expression("2*log_normal_cdf(x1)^2 + log_normal_cdf(a)*a")
    assert unicode_text(node) == "2 · (log Φ(x₁))² + (log Φ(a)) a"
    assert latex(parse_expression("log_normal_cdf(a)")) == r"\log \Phi(a)"
