"""The textbook that ships: every formula proved, every variant refuted, and each saying where it stands."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from plain import differs
from prover_models import SIZES

from pgmdsl import textbook
from pgmdsl.compiler.derive import derive_model
from pgmdsl.compiler.driver import checked_model
from pgmdsl.compiler.proof_report import checks_page
from pgmdsl.compiler.prove import verify_checks
from pgmdsl.grammar.diagnostics import Diagnostics, ModelError
from pgmdsl.grammar.format import format_file
from pgmdsl.grammar.parse import parse_file
from pgmdsl.grammar.read import read_source
from pgmdsl.grammar.source import Source
from pgmdsl.grammar.syntax import CheckDeclaration

SOURCES = {
    "Salakhutdinov 2015",
    "Salakhutdinov and Hinton 2009",
    "Hinton, Osindero and Teh 2006",
    "Hinton and Salakhutdinov 2006",
    "Goodfellow et al. 2016",
    "Murphy 2012",
    "Na, slides",
    "Frean, slides",
    "CMU, slides",
    "derived",
}
SLIP = "a common slip"
FILES = [*textbook.files(), *textbook.variants()]
README = Path(textbook.__file__).parent / "README.md"

# What cannot even be stated: the index summed over is in no factor, another one is free.
ILL_FORMED = {
    "16_deep_boltzmann_machine_two": "p(h2[m] = 1 | h1) == sigmoid(a2[m] + sum(W2[i,m]*h1[i] for j))",
    "02_boltzmann_machine": "q(h | v) == prod(mean_field(h[i])^h[i]*(1 - mean_field(h[i]))^(1 - h[i]) for j)",
}


def name_of(path: Path) -> str:
    return str(path.relative_to(README.parent).with_suffix(""))


def checks_of(path: Path) -> tuple[CheckDeclaration, ...]:
    model, _ = checked_model(read_source(path), {})
    return model.checks


def test_each_chapter_has_its_variants() -> None:
    assert [path.name for path in textbook.files()] == [path.name for path in textbook.variants()]
    assert len(textbook.files()) == 20


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_formula_is_proved_and_every_variant_refuted(path: Path, golden: Callable[[str, str], None]) -> None:
    """By the prover for all sizes, and by enumeration at two choices of them; the pages of docs/ say the same."""
    model, _ = checked_model(read_source(path), {})
    small = [checked_model(read_source(path), sizes)[0] for sizes in SIZES[path.stem]]
    verdicts = verify_checks(model, derive_model(model))
    golden(f"../../docs/textbook/{name_of(path)}.md", checks_page(model, verdicts))
    for k, verdict in enumerate(verdicts):
        check = model.checks[k]
        assert verdict.status == ("refuted" if check.refuted else "proved"), (check.title.value, verdict.detail)
        different = [differs(other, other.checks[k], seed=3) for other in small]
        assert any(different) == check.refuted, check.title.value


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_title_says_where_its_formula_stands(path: Path) -> None:
    titles = [check.title.value for check in checks_of(path)]
    assert len(set(titles)) == len(titles)
    for check in checks_of(path):
        source, equation, words = textbook.reference(check.title.value)
        assert source in SOURCES or (check.refuted and source == SLIP and not equation)
        assert words == words.strip()
        assert (", transcribed: " in check.title.value) == (check.refuted and source != SLIP)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_files_are_laid_out_so(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    source = read_source(path)
    assert format_file(source, parse_file(source, Diagnostics(source))) == text
    assert text.startswith("# ")


@pytest.mark.parametrize("path", textbook.files(), ids=name_of)
def test_a_chapter_holds_true_formulas_only(path: Path) -> None:
    assert not any(check.refuted for check in checks_of(path))


@pytest.mark.parametrize("path", textbook.variants(), ids=name_of)
def test_a_variant_follows_its_formula_and_is_explained(path: Path) -> None:
    chapter = README.parent / path.name
    assert model_lines(path) == model_lines(chapter)
    true = {check.title.value: (check.left, check.right, check.where) for check in checks_of(chapter)}
    correct = False
    for check in checks_of(path):
        if not check.refuted:
            assert true[check.title.value] == (check.left, check.right, check.where)
        assert correct or not check.refuted
        correct = True
    refuted = sum(check.refuted for check in checks_of(path))
    assert refuted == len(re.findall(r'(?m)^# .*\.\ncheck "[^"\n]*" refuted', path.read_text(encoding="utf-8"))) > 0


def model_lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return [line for line in text.split("\ncheck ")[0].splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize(
    ("title", "parts"),
    [
        ("Salakhutdinov 2015 (7): a unit", ("Salakhutdinov 2015", "7", "a unit")),
        ("Salakhutdinov 2015 (7), transcribed: a: b", ("Salakhutdinov 2015", "7", "a: b")),
        ("Na, slides (Algorithm 20.1), transcribed: x (y)", ("Na, slides", "Algorithm 20.1", "x (y)")),
        ("Na, slides: x", ("Na, slides", "", "x")),
        ("derived: Z (in closed form)", ("derived", "", "Z (in closed form)")),
    ],
)
def test_titles_are_split(title: str, parts: tuple[str, str, str]) -> None:
    assert textbook.reference(title) == parts


@pytest.mark.parametrize(
    "title", ["", "mine", "(7): a unit", "Salakhutdinov 2015 (7) a unit", "Na (): x", "Na (1)(2): x"]
)
def test_other_titles_are_refused(title: str) -> None:
    with pytest.raises(ValueError, match="a title reads"):
        textbook.reference(title)


@pytest.mark.parametrize("chapter", ILL_FORMED)
def test_transcriptions_that_are_no_formulas(chapter: str) -> None:
    text = (README.parent / f"{chapter}.ebm").read_text(encoding="utf-8").split("\ncheck ")[0]
    with pytest.raises(ModelError, match="E062"):
        checked_model(Source("transcribed.ebm", f'{text}\ncheck "t": {ILL_FORMED[chapter]}\n'), {})


def test_the_tests_that_the_readme_names_exist() -> None:
    tests = Path(__file__).parent
    named = re.findall(r"`(test_\w+)\.py::(test_\w+)`", README.read_text(encoding="utf-8"))
    assert len(named) > 10
    for module, function in named:
        assert f"def {function}(" in (tests / f"{module}.py").read_text(encoding="utf-8"), (module, function)


def test_the_readme_lists_the_chapters() -> None:
    text = README.read_text(encoding="utf-8")
    assert all(f"`{path.name}`" in text for path in textbook.files())
