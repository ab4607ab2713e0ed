"""The language: text to tree, every mistake in one run, and messages in words."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgmdsl.grammar.diagnostics import Diagnostics, Error, ModelError, as_json, render
from pgmdsl.grammar.explain import codes, explain
from pgmdsl.grammar.format import format_file
from pgmdsl.grammar.parse import parse_expression, parse_file
from pgmdsl.grammar.read import read_source, source_of_text
from pgmdsl.grammar.source import Source
from pgmdsl.grammar.syntax import (
    BiasClause,
    Binary,
    Call,
    CheckDeclaration,
    Compare,
    Conditional,
    DataBlock,
    EdgeDeclaration,
    Expression,
    File,
    Generator,
    Identifier,
    Index,
    LayerDeclaration,
    ModelDeclaration,
    Name,
    Negate,
    Number,
    Option,
    Phase,
    Set,
    SizeDeclaration,
    Statement,
    Text,
    TrainBlock,
    Transpose,
    UnitDeclaration,
    UnitParameter,
    Version,
    WeightClause,
)

HERE = Path(__file__).parent
BAD_FILES = sorted((HERE / "golden" / "grammar").glob("*.ebm"))
OWN_CODES = [*(f"E{n:03}" for n in range(1, 11)), *(f"E{n:03}" for n in range(14, 25))]

DBM = (HERE / "golden" / "format" / "dbm.ebm").read_text(encoding="utf-8")


def parsed(text: str) -> File:
    source = Source("test.ebm", text)
    diagnostics = Diagnostics(source)
    file = parse_file(source, diagnostics)
    diagnostics.raise_errors()
    return file


def one(text: str) -> Statement:
    (statement,) = parsed(text).statements
    return statement


def problems(text: str) -> list[str]:
    source = Source("test.ebm", text)
    diagnostics = Diagnostics(source)
    parse_file(source, diagnostics)
    return [f"{d.code} {source.line_column(d.span.start)[0]}" for d in diagnostics.sorted()]


def n(name: str) -> Name:
    return Name(name)


def i(name: str) -> Identifier:
    return Identifier(name)


# --- expressions

a, b, c, d, x = (Name(letter) for letter in "abcdx")

EXPRESSIONS: dict[str, Expression] = {
    "-x^2": Negate(Binary("^", x, Number("2"))),
    "a^b^c": Binary("^", a, Binary("^", b, c)),
    "2^-x": Binary("^", Number("2"), Negate(x)),
    "a - b - c": Binary("-", Binary("-", a, b), c),
    "a/b*c": Binary("*", Binary("/", a, b), c),
    "a + b*c": Binary("+", a, Binary("*", b, c)),
    "-a*b": Binary("*", Negate(a), b),
    "a--b": Binary("-", a, Negate(b)),
    "epoch <-5": Compare("<", n("epoch"), Negate(Number("5"))),
    "1e-3": Number("1e-3"),
    "W1'": Transpose(n("W1")),
    "(a + b)'": Transpose(Binary("+", a, b)),
    "x'^2": Binary("^", Transpose(x), Number("2")),
    "W[i,j + 1]": Index("W", (n("i"), Binary("+", n("j"), Number("1")))),
    "a if b < c else d": Conditional(a, Compare("<", b, c), d),
    "a if b < c else b if c != d else x": Conditional(a, Compare("<", b, c), Conditional(b, Compare("!=", c, d), x)),
    "energy": n("energy"),
    "p(h[j] = 1 | v, h2)": Call("p", (Compare("=", Index("h", (n("j"),)), Number("1")),), given=(n("v"), n("h2"))),
    "p(v)": Call("p", (n("v"),)),
    "p(v, h)": Call("p", (n("v"), n("h"))),
    "p(y = k | h)": Call("p", (Compare("=", n("y"), n("k")),), given=(n("h"),)),
    "p(word(words) = k | h)": Call("p", (Compare("=", Call("word", (n("words"),)), n("k")),), given=(n("h"),)),
    "counts p(words)": Call("counts p", (n("words"),)),
    "sum(x for i, j)": Call("sum", (x,), generator=Generator(("i", "j"))),
    "prod(x for m if m != j)": Call("prod", (x,), generator=Generator(("m",), Compare("!=", n("m"), n("j")))),
    "sum(x over h)": Call("sum", (x,), over=("h",)),
    "softmax(x for q at k)": Call("softmax", (x,), generator=Generator(("q",), None, n("k"))),
    "expect(x under q)": Call("expect", (x,), under="q"),
    "normal(a, b)": Call("normal", (a, b)),
    "pcd(5, chains = 100)": Call("pcd", (Number("5"), Compare("=", n("chains"), Number("100")))),
    "data(x) - model(x)": Binary("-", Call("data", (x,)), Call("model", (x,))),
    "kl(q, p(h | v))": Call("kl", (n("q"), Call("p", (n("h"),), given=(n("v"),)))),
    "d(energy, W[i,j])": Call("d", (n("energy"), Index("W", (n("i"), n("j"))))),
    'f("a b")': Call("f", (Text("a b"),)),
    "length(words)": Call("length", (n("words"),)),
}


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_expression(text: str) -> None:
    assert parse_expression(text) == EXPRESSIONS[text]


def test_expression_spans_cover_their_text() -> None:
    text = "(a + b)*sum(W[i,j]*v[i] for i)"
    product = parse_expression(text)
    assert isinstance(product, Binary)
    assert text[product.left.span.start : product.left.span.end] == "(a + b)"
    assert text[product.right.span.start : product.right.span.end] == "sum(W[i,j]*v[i] for i)"


@pytest.mark.parametrize("text", ["", "a +", "a b", "a)", "(a", "2x", ".5", "5.", "a**b", "a < b < c", "+a", "{1}"])
def test_no_expression(text: str) -> None:
    with pytest.raises(ModelError, match=r"error\[E0"):
        parse_expression(text)


# --- statements

STATEMENTS: dict[str, Statement] = {
    "ebm 1": Version(Number("1")),
    "model RBM": ModelDeclaration(i("RBM"), ()),
    "model RBM(D = 784, F)": ModelDeclaration(
        i("RBM"), (SizeDeclaration(i("D"), Number("784")), SizeDeclaration(i("F"), None))
    ),
    "visible v : binary[28, 2*F + 1]": LayerDeclaration(
        "visible",
        i("v"),
        i("binary"),
        (Number("28"), Binary("+", Binary("*", Number("2"), n("F")), Number("1"))),
    ),
    'given g : gaussian[D](sigma = "s.npy") bias none': LayerDeclaration(
        "given", i("g"), i("gaussian"), (n("D"),), (Option(i("sigma"), Text("s.npy")),), BiasClause(None)
    ),
    "hidden h : binary[F] bias a(init = 0, scale = 1)": LayerDeclaration(
        "hidden",
        i("h"),
        i("binary"),
        (n("F"),),
        (),
        BiasClause(i("a"), (Option(i("init"), Number("0")), Option(i("scale"), Number("1")))),
    ),
    "v -- h : W": EdgeDeclaration("--", (i("v"), i("h")), WeightClause(i("W"))),
    "v--h": EdgeDeclaration("--", (i("v"), i("h")), None),
    "h1 -> v : W1": EdgeDeclaration("->", (i("h1"), i("v")), WeightClause(i("W1"))),
    "v <- h1 : W1": EdgeDeclaration("<-", (i("v"), i("h1")), WeightClause(i("W1"))),
    "v ~> h1 : R1": EdgeDeclaration("~>", (i("v"), i("h1")), WeightClause(i("R1"))),
    "h1 -- h2 : W1'": EdgeDeclaration("--", (i("h1"), i("h2")), WeightClause(i("W1"), True)),
    "v * h * z : T": EdgeDeclaration("*", (i("v"), i("h"), i("z")), WeightClause(i("T"))),
    "v -- h : W(init = normal(0.01), mask = local(radius = 2), l1 = 1--1)": EdgeDeclaration(
        "--",
        (i("v"), i("h")),
        WeightClause(
            i("W"),
            False,
            (
                Option(i("init"), Call("normal", (Number("0.01"),))),
                Option(i("mask"), Call("local", (Compare("=", n("radius"), Number("2")),))),
                Option(i("l1"), Binary("-", Number("1"), Negate(Number("1")))),
            ),
        ),
    ),
    'check "t": energy == -x': CheckDeclaration(Text("t"), n("energy"), Negate(x)),
    'check "t" refuted in greedy h1 : a == b if c < d else x where J = 0, W2 = W1\'': CheckDeclaration(
        Text("t"),
        a,
        Conditional(b, Compare("<", c, d), x),
        True,
        i("h1"),
        (Option(i("J"), Number("0")), Option(i("W2"), Transpose(n("W1")))),
    ),
    "unit trit {\n support x in {-1, 0, 1}\n energy 0.3 * x^2\n statistic x\n}": UnitDeclaration(
        i("trit"),
        (),
        i("x"),
        Set((Negate(Number("1")), Number("0"), Number("1"))),
        None,
        Binary("*", Number("0.3"), Binary("^", x, Number("2"))),
        x,
    ),
    "unit u { param gp > 0, tm, support x in real >= 0, energy -x, statistic x }": UnitDeclaration(
        i("u"),
        (UnitParameter(i("gp"), True), UnitParameter(i("tm"), False)),
        i("x"),
        n("real"),
        Number("0"),
        Negate(x),
        x,
    ),
    'data v { file = "x.npz:images", scale = 1/16 }': DataBlock(
        i("v"),
        (
            Option(i("file"), Text("x.npz:images")),
            Option(i("scale"), Binary("/", Number("1"), Number("16"))),
        ),
    ),
    "train {\n batch = 100\n freeze = W1, b\n greedy h2 { epochs = 1 }\n finetune classify(y) { }\n}": TrainBlock(
        (
            Option(i("batch"), Number("100")),
            Option(i("freeze"), Set((n("W1"), b))),
            Phase(i("greedy"), n("h2"), (Option(i("epochs"), Number("1")),)),
            Phase(i("finetune"), Call("classify", (n("y"),)), ()),
        )
    ),
}


@pytest.mark.parametrize("text", STATEMENTS)
def test_statement(text: str) -> None:
    assert one(text) == STATEMENTS[text]


def test_the_example_of_the_design() -> None:
    kinds = [type(s).__name__ for s in parsed(DBM).statements]
    layers, edges = ["LayerDeclaration"] * 3, ["EdgeDeclaration"] * 2
    rest = ["CheckDeclaration", "DataBlock", "TrainBlock"]
    assert kinds == ["Version", "ModelDeclaration", *layers, *edges, *rest]


# --- newlines


@pytest.mark.parametrize(
    "text",
    [
        'check "t":\n a == b',
        'check "t": a ==\n b',
        'check "t": a\n == b',
        'check "t": c +\n c == b',
        'check "t": c\n - c == b',
        'check "t": f(a\n,\n b\n) == b',
        'check "t": a == b if c < d\n else a',
        'check "t": a == b if\n c < d else\n a',
        'check "t": sum(a for\n i) == b',
        'check "t": p(a\n|\nb) == b',
        'check "t": a == b where J =\n 0,\n K = 1',
        "v\n-- h : W",
        "v --\n h :\n W",
        "visible v : binary[\n\n D # sizes\n ]",
        "train { a = 1\n\n, b = 2\n}",
        "train {\n freeze = W,\n   b }",
    ],
)
def test_a_newline_that_ends_nothing(text: str) -> None:
    one(text)


@pytest.mark.parametrize("text", ["v -- h\n : W", 'check\n "t": a == b', "visible v : binary[D]\n bias b", "W\n'"])
def test_a_newline_that_ends_the_statement(text: str) -> None:
    assert problems(text)


def test_entries_are_separated_by_newlines_and_commas() -> None:
    same = {
        parsed(f"train {{{inner}}}").statements for inner in ("a = 1, b = 2", "\na = 1\nb = 2\n", "a = 1,\n\n b = 2,")
    }
    assert len(same) == 1


def test_line_ends_and_byte_order_mark() -> None:
    plain = parsed(DBM)
    for text in (DBM.replace("\n", "\r\n"), "\ufeff" + DBM, DBM.replace("\n", "\r")):
        assert parsed(source_of_text(text).text) == plain


def test_comments_have_their_places() -> None:
    text = "# first\nmodel M  # second\n"
    first, second = parsed(text).comments
    assert (first.text, first.own_line) == ("# first", True)
    assert (second.text, second.own_line) == ("# second", False)
    assert text[second.span.start : second.span.end] == "# second"


# --- mistakes


@pytest.mark.parametrize("path", BAD_FILES, ids=lambda p: p.stem)
def test_messages(path: Path, golden) -> None:
    source = Source(path.name, path.read_text(encoding="utf-8"))
    diagnostics = Diagnostics(source)
    parse_file(source, diagnostics)
    assert diagnostics.errors
    text = "\n\n".join(render(source, d) for d in diagnostics.sorted()) + "\n"
    golden(f"grammar/{path.stem}.txt", text)
    assert not re.search(r"\b(LPAR|[RL]SQB|RBRACE|NUMBER|TEXT|MINUS|CIRCUMFLEX|PRIME|COUNTS|END|Token)\b", text)


def test_one_mistake_hides_no_other() -> None:
    lines = ["model M(D = 4", "visible v : binary[D", "hidden h : binary(3)", 'check "t: a == b', "v -- h : W", "h - v"]
    assert problems("\n".join(lines)) == ["E007 1", "E007 2", "E010 3", "E006 4", "E022 6"]


def test_an_unknown_version_is_the_only_problem() -> None:
    assert problems("ebm 7\nfuture { stuff }\n@") == ["E015 1"]


@pytest.mark.parametrize("word", ["in", "sum", "energy", "Z", "pi", "epoch", "visible", "none", "normal", "support"])
def test_reserved_words_name_nothing(word: str) -> None:
    assert problems(f"hidden {word} : binary[3]") == ["E016 1"]
    assert problems(f"model M({word} = 3)") == ["E016 1"]


def test_functions_may_name_indices() -> None:
    assert not problems('check "t": sum(a[q,d] for q, d) == b')
    assert problems('check "t": sum(a for pi) == b') == ["E016 1"]


N = 10_000


@pytest.mark.parametrize(
    "deep",
    [
        "(" * N + "a" + ")" * N,
        "(" * N,
        "f(" * N + "a" + ")" * N,
        "a[" * N + "a" + "]" * N,
        "-" * N + "a",
        "a^" * N + "a",
        "a" + "'" * N,
        "a + " * N + "a",
        "a if b < c else " * N + "a",
    ],
    ids=lambda text: text[:8],
)
def test_ten_thousand_deep_is_a_diagnostic(deep: str) -> None:
    start = time.process_time()
    assert problems(f'check "t": b == {deep}\nhidden h : binary(3)') == ["E008 1", "E010 2"]
    assert time.process_time() - start < 5


@pytest.mark.parametrize("braces", ["{" * N, "fit {" * N, "fit {\n" * N + "}\n" * N])
def test_ten_thousand_braces_are_a_few_diagnostics(braces: str) -> None:
    assert 1 <= len(problems("train {" + braces)) <= 3


def test_two_hundred_deep_is_allowed() -> None:
    one('check "t": b == ' + "(" * 200 + "a" + ")" * 200)
    one('check "t": b == ' + "f(" * 200 + "a" + ")" * 200)
    assert problems('check "t": b == ' + "(" * 201 + "a" + ")" * 201) == ["E008 1"]


WORDS = [
    *re.findall(r"\w+|[^\w\s]|\n", DBM),
    *"()[]{}'\"|~^;–#",
    "if",
    "for",
    "in",
    "unit",
    "param",
    "**",
    "\0",
    "1.",
    "é",
]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_whatever_is_written_there_is_a_tree_or_a_message(seed: int, changes: int) -> None:
    rng = random.Random(seed)
    parts = re.findall(r"\s|\w+|[^\w\s]", DBM)
    for _ in range(changes):
        at = rng.randrange(len(parts))
        parts[at : at + rng.randrange(3)] = rng.choices(WORDS, k=rng.randrange(3))
    source = Source("test.ebm", "".join(parts))
    diagnostics = Diagnostics(source)
    file = parse_file(source, diagnostics)
    for found in diagnostics.found:
        assert found.code in OWN_CODES
        assert 0 <= found.span.start <= len(source.text)
        assert found.message in render(source, found)
    if not diagnostics.found:
        assert parsed(format_file(source, file)) == file


def test_as_json() -> None:
    source = Source("test.ebm", "model M\nvisible v binary[3]")
    diagnostics = Diagnostics(source)
    parse_file(source, diagnostics)
    (found,) = as_json(source, diagnostics.sorted())
    assert found == {
        "code": "E010",
        "severity": "error",
        "message": "found binary, expected `:`",
        "help": "a layer is written: visible v : binary[D] bias b",
        "file": "test.ebm",
        "line": 2,
        "column": 11,
        "end_line": 2,
        "end_column": 17,
    }


# --- files


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_source(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"", "E004", "is empty"),
        (b"\xef\xbb\xbf \r\n\t\n", "E004", "is empty"),
        (b"# only\n  # this\n", "E004", "comments only"),
        (b"model M\nvis\0ible", "E002", r"byte 11 \(line 2\) is 0x00"),
        (b"model M\n\xff", "E002", r"byte 8 \(line 2\) is 0xff"),
        ("model M".encode("utf-16"), "E002", "UTF-16"),
        (b"# x\n" * 300_000, "E003", "1.2 MB"),
    ],
)
def test_a_file_that_is_no_model_file(tmp_path: Path, data: bytes, code: str, words: str) -> None:
    path = tmp_path / "x.ebm"
    path.write_bytes(data)
    message = refusal(path)
    assert message.startswith(f"error[{code}]: ")
    assert re.search(words, message)
    assert str(path) in message


def test_a_path_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "rbm.ebm").write_text("model M", encoding="utf-8")
    assert "E001" in refusal(tmp_path)
    assert "there is no file" in refusal(tmp_path / "dbm.ebm")
    assert "the model files there are rbm.ebm" in refusal(tmp_path / "dbm.ebm")
    assert f"did you mean {tmp_path / 'rbm.ebm'}?" in refusal(tmp_path / "rbm")
    assert "E001" in refusal(tmp_path / "rbm.ebm" / "x.ebm")
    assert "E001" in refusal(Path("a\0b.ebm"))


def test_a_file_without_rights(tmp_path: Path) -> None:
    path = tmp_path / "x.ebm"
    path.write_text("model M", encoding="utf-8")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    assert "E001" in refusal(path)


# --- explanations


def examples(code: str) -> list[str]:
    return re.findall(r"```ebm\n(.*?)\n```", explain(code), re.DOTALL)


@pytest.mark.parametrize("code", OWN_CODES)
def test_every_explanation_holds(code: str) -> None:
    assert explain(code.lower()).startswith(f"# {code}: ")
    if code <= "E004":
        return
    wrong, mended = examples(code)
    assert {p.split()[0] for p in problems(wrong)} == {code}
    assert not problems(mended)


def test_every_code_in_the_source_is_explained() -> None:
    folder = HERE.parent / "pgmdsl" / "grammar"
    used = {c for p in folder.glob("*.py") for c in re.findall(r'"(E0\d\d)"', p.read_text(encoding="utf-8"))}
    assert used == set(OWN_CODES)
    assert used <= set(codes())


def test_an_unknown_code() -> None:
    with pytest.raises(Error, match="did you mean E0"):
        explain("E0100")
    with pytest.raises(Error, match="codes run from E001"):
        explain("../../x")


def test_parsing_is_fast() -> None:
    program = (
        "import sys, time\nstart = time.process_time()\n"
        "from pgmdsl.grammar.parse import parse_file\nfrom pgmdsl.grammar.source import Source\n"
        "from pgmdsl.grammar.diagnostics import Diagnostics\nsource = Source('x', sys.stdin.read())\n"
        "file = parse_file(source, Diagnostics(source))\nassert len(file.statements) == 10\n"
        "print(time.process_time() - start)"
    )
    times = [
        float(
            subprocess.run(
                [sys.executable, "-c", program], input=DBM, capture_output=True, text=True, check=True
            ).stdout
        )
        for _ in range(3)
    ]
    assert min(times) < 0.25
