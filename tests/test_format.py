"""The canonical layout: nothing changes its meaning or loses a comment, and doing it twice changes nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgmdsl.grammar.diagnostics import Diagnostics
from pgmdsl.grammar.format import format_expression, format_file
from pgmdsl.grammar.parse import parse_expression, parse_file
from pgmdsl.grammar.source import Source
from pgmdsl.grammar.split import Piece, edge_tokens, split
from pgmdsl.grammar.syntax import (
    Binary,
    Call,
    Compare,
    Conditional,
    Expression,
    File,
    Generator,
    Index,
    Name,
    Negate,
    Number,
    Text,
    Transpose,
)
from pgmdsl.grammar.tokens import line_continues, tokenize

FOLDER = Path(__file__).parent / "golden" / "format"
MESSY = sorted(FOLDER.glob("messy*.ebm"))


def parsed(text: str) -> tuple[Source, File]:
    source = Source("test.ebm", text)
    diagnostics = Diagnostics(source)
    file = parse_file(source, diagnostics)
    diagnostics.raise_errors()
    return source, file


def formatted(text: str) -> str:
    return format_file(*parsed(text))


def check_formatting(text: str) -> str:
    """The canonical text, after checking that it is a fixed point, and says what the text says."""
    out = formatted(text)
    assert parsed(out)[1] == parsed(text)[1]
    assert formatted(out) == out
    return out


# --- formulas

names = st.sampled_from(["a", "b", "W1", "h2", "x_1", "energy", "pi", "q", "data"])
comparisons = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
leaves: st.SearchStrategy[Expression] = st.one_of(
    st.builds(Number, st.sampled_from(["0", "1", "12", "0.5", "1e-3", "2.5E+7"])),
    st.builds(Name, names),
    st.builds(Text, st.text("ab #'{|-", max_size=4)),
)


def several(of: st.SearchStrategy[Expression], least: int = 1) -> st.SearchStrategy[tuple[Expression, ...]]:
    return st.lists(of, min_size=least, max_size=3).map(tuple)


def larger(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    optional = st.none() | inner
    index_names = st.lists(st.sampled_from(["i", "j", "q"]), min_size=1, max_size=2, unique=True).map(tuple)
    generators = st.builds(Generator, index_names, optional, optional)
    events = st.builds(Compare, st.just("="), inner, inner)
    functions = st.sampled_from(["f", "sum", "counts p"])
    arguments = several(inner | events)
    return st.one_of(
        st.builds(Index, names, several(inner)),
        st.builds(Negate, inner),
        st.builds(Transpose, inner.filter(lambda e: not isinstance(e, Text))),
        st.builds(Binary, st.sampled_from("+-*/^"), inner, inner),
        st.builds(Compare, comparisons, inner, inner),
        st.builds(Conditional, inner, inner, inner),
        st.builds(Call, functions, arguments),
        st.builds(Call, st.just("g"), st.just(())),
        st.builds(Call, st.just("f"), arguments, given=arguments),
        st.builds(Call, st.just("f"), arguments, generator=generators),
        st.builds(Call, st.just("f"), arguments, over=index_names),
        st.builds(Call, st.just("f"), arguments, under=names),
    )


def no_equality_in_p(node: Expression) -> bool:
    return "counts p" not in repr(node) or "op='=='" not in repr(node)


formulas = st.recursive(leaves, larger, max_leaves=20).filter(no_equality_in_p)


@settings(max_examples=400, deadline=None)
@given(formulas)
def test_a_formula_comes_back(formula: Expression) -> None:
    text = format_expression(formula)
    assert parse_expression(text) == formula
    assert format_expression(parse_expression(text)) == text


@settings(max_examples=150, deadline=None)
@given(formulas)
def test_a_formula_has_no_parentheses_to_spare(formula: Expression) -> None:
    text = format_expression(formula)
    for start, end in groups(text):
        without = f"{text[:start]} {text[start + 1 : end]} {text[end + 1 :]}"
        if text[start + 1] == "-" and text[:start].endswith("-"):
            continue  # -(-x), kept for the eye
        try:
            assert parse_expression(without) != formula
        except Exception as problem:
            assert type(problem).__name__ == "ModelError"  # noqa: PT017


def groups(text: str) -> list[tuple[int, int]]:
    """The places of the parentheses that group, and are not a call's."""
    source = Source("x", text)
    tokens = tokenize(source, Diagnostics(source)).tokens
    stack, out = [], []
    for i, token in enumerate(tokens):
        if token.kind == "(":
            stack.append((token.span.start, i == 0 or tokens[i - 1].kind != "name"))
        elif token.kind == ")":
            start, group = stack.pop()
            if group:
                out.append((start, token.span.start))
    return out


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("((a)+(b*c))", "a + b*c"),
        ("a-(b-c)", "a - (b - c)"),
        ("(a-b)-c", "a - b - c"),
        ("a--b", "a - -b"),
        ("-(-a)", "-(-a)"),
        ("(-a)^2", "(-a)^2"),
        ("-(a^2)", "-a^2"),
        ("(a^b)^c", "(a^b)^c"),
        ("a^(b^c)", "a^b^c"),
        ("a/(b/c)", "a/(b/c)"),
        ("sum( W [i , j]*v[i]for i if i!=j )", "sum(W[i,j]*v[i] for i if i != j)"),
        ("p(h[j]=1|v,h2)", "p(h[j] = 1 | v, h2)"),
        ("(a if b<c else d) + 1", "(a if b < c else d) + 1"),
        ("a if b<c else(d if x>0 else e)", "a if b < c else d if x > 0 else e"),
    ],
)
def test_the_layout_of_formulas(text: str, canonical: str) -> None:
    assert format_expression(parse_expression(text)) == canonical


# --- files

identifiers = st.sampled_from(["v", "h1", "h2", "long_name", "W", "b2"])
shown = formulas.map(format_expression)
options = st.lists(st.builds("{} = {}".format, identifiers, shown), min_size=1, max_size=3).map(", ".join)


def pieces(*parts: st.SearchStrategy[str] | str) -> st.SearchStrategy[str]:
    return st.tuples(*(st.just(p) if isinstance(p, str) else p for p in parts)).map("".join)


def maybe(*parts: st.SearchStrategy[str] | str) -> st.SearchStrategy[str]:
    return st.just("") | pieces(*parts)


sums = formulas.filter(lambda e: not isinstance(e, Compare | Conditional)).map(format_expression)
layers = pieces(
    st.sampled_from(["visible ", "hidden ", "given "]), identifiers, ":", identifiers, "[", sums, "]",
    maybe("(", options, ")"), maybe(" bias ", identifiers, maybe("(", options, ")")),
)  # fmt: skip
weights = maybe(":", identifiers, maybe("'"), maybe("(", options, ")"))
edges = pieces(identifiers, st.sampled_from(["--", "->", "<-", "~>"]), identifiers, weights)
products = pieces(identifiers, "*", identifiers, "*", identifiers, weights)
checks = pieces('check "a # title"', maybe(" refuted"), maybe(" in greedy ", identifiers), ":", sums, "==", sums,
                maybe(" where ", options))  # fmt: skip
entries = pieces(identifiers, "=", sums, maybe(", ", identifiers))


def block(header: str, inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    lines = st.lists(inner, max_size=4)
    inline = lines.map(lambda found: f"{header} {{ {', '.join(found)} }}")
    return inline | lines.map(lambda found: "\n".join([f"{header} {{", *found, "}"]))


def parses(text: str) -> bool:
    """Whether the parts fit: a comparison, for one, is a value in parentheses only."""
    try:
        parsed(text)
    except Exception:
        return False
    return True


phases = block("fit", entries) | block("finetune classify(y)", entries)
blocks = st.one_of(
    block("data v", entries),
    block("train", entries | phases),
    block("unit trit", pieces(st.sampled_from(["energy ", "statistic "]), sums) | st.just("param a > 0, c")),
    st.just("unit u { support x in {-1, 0, 1}, energy -x^2\nstatistic x }"),
    st.just("unit u {\nsupport x in real>=0\nparam gp>0,tm\n}"),
)
lines = st.one_of(layers, edges, products, checks).filter(parses)
statements = st.one_of(lines, blocks.filter(parses), st.just("model M(D=3,F)"), st.just("ebm 1"))
files = st.lists(statements, min_size=1, max_size=6).map("\n".join)


def scrambled(text: str, seed: int, *, comments: bool) -> str:
    """The same tokens with other spaces, and newlines and comments wherever these end nothing."""
    rng = random.Random(seed)
    source = Source("x", text)
    tokens = tokenize(source, Diagnostics(source)).tokens
    joints = {t.span.start for piece in split(tokenize(source, Diagnostics(source)), Diagnostics(source))
              for t in whole_tokens(piece)}  # fmt: skip
    out: list[str] = []
    depth = 0
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.kind in {")", "]"}:
            depth -= 1
        gap = source.text[before.span.end : token.span.start] if before else ""
        if "\n" in gap:
            filler = ["\n"]
            if comments:
                filler += ["\n\n \n", "  # after\n", "\n\n# own\n", " # a\n# b\n\n"]
        elif before is None or token.span.start not in joints or token.kind == "'":
            filler = [gap]
        else:
            space = " " if gap or (before.text[-1].isalnum() and token.text[0].isalnum()) else ""
            filler = [gap, space, gap + " ", "\t" + gap]
            if depth or line_continues(before, token):
                filler += [gap + "\n "] * 2 + ([" # inside\n", "\n  # own, inside\n\n"] if comments else [])
        out += [rng.choice(filler), token.text]
        if token.kind in {"(", "["}:
            depth += 1
    return "".join(out) + rng.choice(["", "\n", "\n\n", "  # end"] if comments else ["", "\n\n"])


def whole_tokens(piece: Piece) -> list:
    """The tokens of a piece and its block, `--` and `<-` of an edge as one."""
    inner = [t for p in piece.body for t in whole_tokens(p)]
    own = piece.tokens if piece.opening or piece.tokens[0].kind != "name" else edge_tokens(piece.tokens)
    return [*own, *inner]


@settings(max_examples=150, deadline=None)
@given(files)
def test_a_file_keeps_its_meaning(text: str) -> None:
    check_formatting(text)


@settings(max_examples=200, deadline=None)
@given(files, st.integers(0, 2**32))
def test_comments_are_kept(text: str, seed: int) -> None:
    messy = scrambled(text, seed, comments=True)
    assert parsed(messy)[1].statements == parsed(text)[1].statements
    check_formatting(messy)


@settings(max_examples=100, deadline=None)
@given(lines, st.integers(0, 2**32))
def test_spaces_and_newlines_do_not_matter(text: str, seed: int) -> None:
    assert formatted(scrambled(text, seed, comments=False)) == formatted(text)


@pytest.mark.parametrize("name", ["dbm", "dbn", "bimodal"])
def test_the_examples_are_laid_out_so(name: str) -> None:
    text = (FOLDER / f"{name}.ebm").read_text(encoding="utf-8")
    assert check_formatting(text) == text


@pytest.mark.parametrize("path", MESSY, ids=lambda p: p.stem)
def test_messy_files(path: Path, golden) -> None:
    golden(f"format/{path.stem}.txt", check_formatting(path.read_text(encoding="utf-8")))


def test_long_lines_are_broken() -> None:
    terms = " + ".join(f"sum(W{n}[i,j]*v[i] for i)" for n in range(20))
    sizes = ", ".join(f"SIZE_{n} = {n}" for n in range(30))
    out = check_formatting(f'model M({sizes})\ncheck "long": p(h[j] = 1 | v) == sigmoid({terms})\n')
    assert max(len(line) for line in out.splitlines()) <= 100
    assert len(out.splitlines()) > 8


def test_blank_lines_collapse() -> None:
    text = "\n\n\n# a\n\n\n\nmodel M\nebm 1\n\n\n\ntrain {\n\n  x = 1\n\n\n  y = 2\n\n}\n\n\n"
    assert formatted(text) == "# a\n\nmodel M\nebm 1\n\ntrain {\n  x = 1\n\n  y = 2\n}\n"
