"""`pgmc verify` told in several ways: proofs, JSON, LaTeX, JUnit XML, pages, several files."""

from __future__ import annotations

import json
import xml.etree.ElementTree as Xml
from pathlib import Path

import pytest
from click.testing import CliRunner

from pgmdsl import textbook
from pgmdsl.cli.verdicts import textbook_text
from pgmdsl.cli.verify import verify_command
from pgmdsl.compiler.derive import derive_model
from pgmdsl.compiler.driver import checked_model
from pgmdsl.compiler.prove import verify_checks
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.read import read_source

RBM = """# A small machine. It has a right and a wrong formula.
model RBM(D = 3, F = 2)
visible v : binary[D] bias b
hidden  h : binary[F] bias a
v -- h : W
check "holds": p(h[j] = 1 | v) == 1/(1 + exp(-a[j] - sum(W[i,j]*v[i] for i)))
# The weight is turned.
check "does not": p(h[j] = 1 | v) == sigmoid(a[j] + sum(W[j,i]*v[i] for i))
"""
HOLDS = RBM[: RBM.index("# The weight")]
MEND = "it holds with W[i,j] in place of W[j,i]: W is transposed"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rbm.ebm"
    path.write_text(RBM, encoding="utf-8")
    return path


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(verify_command, [str(a) for a in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_json_has_the_mend_and_with_steps_the_proof(file: Path) -> None:
    code, out = run(file, "--json", "--steps")
    first, second = json.loads(out)["checks"]
    assert code == 1
    assert second["mend"] == MEND
    assert first["mend"] is None
    assert "proof" not in second
    (proof,) = first["proof"]
    steps = [*proof["left"], *proof["right"]]
    assert {"left": "p(h[j] = 1 | v)", "right": "sigmoid(a[j] + sum(W[i,j]*v[i] for i))"}.items() <= steps[0].items()
    assert all(step["rule"] for step in steps)
    assert proof["normal"] == steps[-1]["right"]  # where both sides end


def test_latex_is_one_document_with_every_check(file: Path) -> None:
    code, out = run(file, "--steps", "--latex")
    assert code == 1
    assert out.count(r"\begin{document}") == out.count(r"\end{document}") == 1
    assert out.count(r"\begin{align*}") == out.count(r"\end{align*}") == 4  # three steps, and where they meet
    assert r"\subsection*{holds (proved)}" in out
    assert r"\subsection*{does not (refuted)}" in out


def test_junit(file: Path, tmp_path: Path) -> None:
    code, _ = run(file, "--junit", tmp_path / "out.xml")
    assert code == 1
    (suite,) = Xml.parse(tmp_path / "out.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    passed, failed = suite
    assert list(passed) == []
    assert failed.get("name") == "does not"
    assert failed.get("line") == "8"
    assert MEND in (failed[0].text or "")


def test_a_page_of_one_file_and_a_folder_of_several(file: Path, tmp_path: Path) -> None:
    run(file, "--page", tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert page.startswith("# A small machine\n\nIt has a right and a wrong formula.\n")
    assert "## does not\n\n$$\n" in page
    assert "The weight is turned.\n\nRefuted: by shape" in page
    other = tmp_path / "inner" / "other.ebm"
    other.parent.mkdir()
    other.write_text(HOLDS, encoding="utf-8")
    code, out = run(file, other, "--page", tmp_path / "pages")
    assert code == 1
    assert (tmp_path / "pages" / "rbm.md").read_text(encoding="utf-8") == page
    assert (tmp_path / "pages" / "inner" / "other.md").exists()
    assert f"{other}: 1 proved" in out
    code, out = run(other, other.parent.parent / "inner" / "other.ebm", "--json")
    assert code == 0
    assert [one["passed"] for one in json.loads(out)["files"]] == [True, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the model files"),
        (["FILE", "--textbook"], "name the model files"),
        (["FILE", "--latex"], "--latex goes with --steps"),
        (["FILE", "--latex", "--steps", "--json"], "--latex goes with --steps"),
        (["FILE", "FILE", "--kernels"], "--kernels looks at one model file"),
        (["FILE", "--steps", "--kernels"], "--kernels looks at one model file"),
        (["FILE", "nowhere.ebm"], "there is no file nowhere.ebm"),
        (["FILE", "--junit", "nowhere/out.xml"], "there is no such folder"),
    ],
)
def test_mistakes(arguments: list[str], message: str, file: Path) -> None:
    with pytest.raises(Error, match=message):
        run(*(str(file) if a == "FILE" else a for a in arguments))


def test_the_table_of_the_textbook_tells_what_is_not_as_it_should_be() -> None:
    """Proved neighbours in a file of variants are left out; of a variant the mend is told."""
    path = next(p for p in textbook.variants() if p.stem == "18_annealing")
    model, _ = checked_model(read_source(path), {})
    verdicts = verify_checks(model, derive_model(model))
    text = textbook_text([(path, model.source, verdicts)])
    assert text.endswith("2 variants refuted, as they should be")
    assert "proved" not in text
    wrong = [
        v
        if v.status == "proved"
        else v.__class__(v.title, "agrees", "at 6 points", 6, expected_refuted=True, span=v.span)
        for v in verdicts
    ]
    assert textbook_text([(path, model.source, wrong)]).count("NOT AS IT SHOULD BE, agrees:") == 2


def test_agreement_is_not_enough_for_the_textbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A true formula that has no proof passes in a file of one's own, and fails as a chapter."""
    path = tmp_path / "chapter.ebm"
    old = "p(v, h) == sum(exp(-energy) over h)/Z*prod(sigmoid((2*h[j] - 1)*(a[j] + sum(W[i,j]*v[i] for i))) for j)"
    path.write_text(f'{RBM[: RBM.index("check")]}check "Mine (1): a step": {old}\n', encoding="utf-8")
    monkeypatch.setattr(textbook, "files", lambda: [path])
    monkeypatch.setattr(textbook, "variants", list)
    assert run(path)[0] == 0
    code, out = run("--textbook")
    assert code == 1
    assert out.endswith("1 agrees\n")
