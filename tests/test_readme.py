"""The README's transcripts come out again, and its Python runs."""

from __future__ import annotations

import math
import re
import shutil
import sys
from pathlib import Path

import pytest

import pgmdsl
from pgmdsl.cli import main as cli
from pgmdsl.runtime import progress

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[tuple[str, str]]:
    """The fenced blocks after a comment `<!-- kind: name -->`: name and text."""
    pattern = rf"<!-- {kind}(?:: (\S+))? -->\n```\w*\n(.*?)```"
    return re.findall(pattern, README, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the examples and the README's own model files, to run its commands in."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for name, text in blocks("file"):
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def digits_run(folder: Path) -> Path:
    """A run like that of `pgmc train examples/dbm.ebm`, but short, and the README's images with missing values."""
    path = folder / "examples" / "dbm.ebm"
    path.write_text(re.sub(r"epochs( *)= \d+", r"epochs\1= 2", path.read_text()))
    run = pgmdsl.train(pgmdsl.compile(path), out=folder / "runs" / "dbm")
    ((_, text),) = blocks("missing")
    exec(compile(text, "README.md", "exec"), {})
    return run.directory


@pytest.mark.parametrize(("run", "text"), blocks("transcript"))
def test_transcript(
    run: str,
    text: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    if run:
        assert folder / run == request.getfixturevalue("digits_run")
        capfd.readouterr()
    command, _, expected = text.partition("\n")
    assert command.startswith("$ pgmc ")
    monkeypatch.setattr(progress, "LINES", math.inf)  # how fast a machine is does not show in a transcript
    monkeypatch.setattr(sys, "argv", command.removeprefix("$ ").split())
    with pytest.raises(SystemExit):
        cli.main()
    out, err = capfd.readouterr()
    assert (err + out).rstrip() == expected.rstrip()


@pytest.mark.usefixtures("folder")
def test_python() -> None:
    ((_, text),) = blocks("python")
    exec(compile(text, "README.md", "exec"), {})


def test_the_two_commands_are_there() -> None:
    ((_, main),) = blocks("main")
    ((_, tests),) = blocks("tests")
    assert "pgmc train examples/dbm.ebm" in main
    assert "pytest" in tests


PAGES = sorted(p for part in ("*.md", "docs/**/*.md", "examples/*.md") for p in ROOT.glob(part))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_a_page_links_to_is_there(page):
    for target in re.findall(r"\]\(([\w./-]+[.]\w+)[)#]", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
