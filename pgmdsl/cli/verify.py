"""`pgmc verify`: the checks of model files decided, told in several ways."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgmdsl.cli.common import JSON, echo_json, write_output, writing
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.read import read_source

if TYPE_CHECKING:
    from pgmdsl.compiler.derivation import Derivation
    from pgmdsl.compiler.model import Model
    from pgmdsl.compiler.prove import Verdict
    from pgmdsl.grammar.source import Source

STATUSES = ("proved", "agrees", "refuted", "undecided")


@dataclass(frozen=True)
class Verified:
    """A model file with the verdicts on its checks; `name` is how the file is called."""

    name: str
    model: Model
    verdicts: tuple[Verdict, ...]

    @cached_property
    def derivation(self) -> Derivation:
        """What the proofs are made from."""
        from pgmdsl.compiler.derive import derive_model

        return derive_model(self.model)

    @property
    def passed(self) -> bool:
        """Whether every check ends as the file says."""
        return all(v.passed for v in self.verdicts)


@click.command("verify")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--textbook", is_flag=True, help="The textbook that comes with pgmdsl, and its transcription variants.")
@click.option("--steps", is_flag=True, help="Print each proof, step by step, every step with its rule.")
@click.option("--latex", is_flag=True, help="With --steps: as LaTeX, ready to be typeset.")
@click.option("--kernels", is_flag=True, help="Compare the emitted kernels with the declared energy instead.")
@click.option("--mutants", is_flag=True, help="With --kernels: break them one token at a time too. Is it noticed?")
@JSON
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write JUnit XML too, for CI.")
@click.option(
    "--page",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a Markdown page with the formulas typeset too; of several files a folder of pages.",
)
def verify_command(
    files: tuple[Path, ...],
    textbook: bool,
    steps: bool,
    latex: bool,
    kernels: bool,
    mutants: bool,
    as_json: bool,
    junit: Path | None,
    page: Path | None,
) -> None:
    """Decide every check of FILES: proved for all sizes, refuted with numbers, or agrees at random points.

    A refuted check says in which terms its sides differ, and the one change with which it holds, if there is one. Exit
    status 1 if a check is refuted (or one marked `refuted` is not). With --kernels the sizes are made small, and each
    function of the generated file is compared with sums over all states of the declared energy; exit status 1 if one
    differs.
    """
    if textbook == bool(files):
        raise Error("name the model files to verify, or write --textbook in their place")
    if latex and (not steps or as_json):
        raise Error("--latex goes with --steps, and not with --json: it is the steps as LaTeX")
    if kernels or mutants:
        from pgmdsl.cli.kernels import verify_kernels

        if textbook or len(files) > 1 or steps or junit or page:
            raise Error("--kernels looks at one model file, and goes with --mutants and --json alone")
        sys.exit(0 if verify_kernels(files[0], mutants, as_json) else 1)
    found = list(_verified(_textbook_files() if textbook else files))
    if junit is not None:
        _write_junit(junit, found)
    if page is not None:
        _write_pages(page, found)
    if as_json:
        told = [_json(one, steps) for one in found]
        echo_json(told[0] if len(told) == 1 else {"passed": all(one.passed for one in found), "files": told})
    elif latex:
        click.echo(_latex(found))
    elif textbook and not steps:
        from pgmdsl.cli.verdicts import textbook_text

        click.echo(textbook_text([(Path(one.name), one.model.source, one.verdicts) for one in found]))
    else:
        for one in found:
            _print(one, steps)
    proved = not textbook or all(v.status == "proved" or v.expected_refuted for one in found for v in one.verdicts)
    sys.exit(0 if proved and all(one.passed for one in found) else 1)


def _textbook_files() -> tuple[Path, ...]:
    from pgmdsl import textbook

    return (*textbook.files(), *textbook.variants())


def _verified(files: Sequence[Path]) -> Iterator[Verified]:
    """Every file with its verdicts, several at once; where it stands is shown on a terminal."""
    from pgmdsl.compiler.driver import checked_model

    sources = [read_source(file) for file in files]
    models = [checked_model(source, {})[0] for source in sources]  # mistakes come before any work
    with _shown() as tell, _workers(len(files)) as spread:
        for number, (file, model, verdicts) in enumerate(
            zip(files, models, spread(_verdicts, sources), strict=True), 1
        ):
            tell(f"{number} of {len(files)} files")
            yield Verified(str(file), model, verdicts)


def _verdicts(source: Source) -> tuple[Verdict, ...]:
    from pgmdsl.compiler.derive import derive_model
    from pgmdsl.compiler.driver import checked_model
    from pgmdsl.compiler.prove import verify_checks

    model, _ = checked_model(source, {})
    return verify_checks(model, derive_model(model))


@contextmanager
def _workers(jobs: int) -> Iterator[Any]:
    """A `map` over as many processes as there are processors, for several jobs; the results are in order."""
    if jobs == 1:
        yield map
        return
    import signal
    from concurrent.futures import ProcessPoolExecutor

    pool = ProcessPoolExecutor(initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))
    try:
        yield pool.map
    finally:  # after Ctrl-C what has not begun is not begun
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _shown() -> Iterator[Any]:
    """A line on the terminal that says what is being done, gone at the end."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console

    with Console(stderr=True).status("verifying") as status:
        yield lambda text: status.update(f"verifying {text}")


def _print(one: Verified, steps: bool) -> None:
    from pgmdsl.cli.verdicts import verdict_text
    from pgmdsl.compiler.proof_report import proof_text

    for number, verdict in enumerate(one.verdicts):
        click.echo(verdict_text(one.model.source, verdict))
        if steps and verdict.status == "proved":
            for proof in _proofs(one, number):
                click.echo(proof_text(proof))
    if not one.verdicts:
        click.echo(f'{one.name} has no checks: write one, for example\n  check "mine": energy == ...')
        return
    counts = ", ".join(f"{n} {s}" for s in STATUSES if (n := sum(v.outcome == s for v in one.verdicts)))
    wrong = sum(not v.passed for v in one.verdicts)
    noun = "1 check does" if wrong == 1 else f"{wrong} checks do"
    click.echo(f"{one.name}: {counts}" + (f"; {noun} not end as the file says" if wrong else ""))


def _proofs(one: Verified, number: int) -> Any:
    from pgmdsl.compiler.prove import check_proofs

    return check_proofs(one.model, one.derivation, one.model.checks[number])


def _json(one: Verified, steps: bool) -> dict[str, Any]:
    from pgmdsl.cli.verdicts import verdict_json
    from pgmdsl.compiler.proof_report import proof_json

    checks = [verdict_json(one.model.source, v) for v in one.verdicts]
    if steps:
        for number, (told, verdict) in enumerate(zip(checks, one.verdicts, strict=True)):
            if verdict.status == "proved":
                told["proof"] = [proof_json(proof) for proof in _proofs(one, number)]
    return {"file": one.name, "passed": one.passed, "checks": checks}


def _latex(found: Sequence[Verified]) -> str:
    """A LaTeX document with every proof."""
    from pgmdsl.compiler.proof_report import proof_latex
    from pgmdsl.compiler.report import LATEX_HEAD, LATEX_TAIL
    from pgmdsl.compiler.typeset_latex import escaped

    out = [LATEX_HEAD]
    for one in found:
        out.append(rf"\section*{{{escaped(Path(one.name).name)}}}")
        for number, verdict in enumerate(one.verdicts):
            out.append(rf"\subsection*{{{escaped(verdict.title)} ({verdict.outcome})}}")
            if verdict.status == "proved":
                out += [proof_latex(proof) for proof in _proofs(one, number)]
            else:
                out.append(escaped(verdict.detail) + ".")
    return "\n".join([*out, LATEX_TAIL])


def _write_junit(path: Path, found: Sequence[Verified]) -> None:
    """JUnit XML: a test suite for each file, a test case for each check."""
    import xml.etree.ElementTree as Xml

    from pgmdsl.cli.verdicts import verdict_text

    whole = Xml.Element("testsuites", name="pgmc verify")
    for one in found:
        failed = sum(not v.passed for v in one.verdicts)
        suite = Xml.SubElement(
            whole, "testsuite", name=one.name, tests=str(len(one.verdicts)), failures=str(failed), errors="0"
        )
        for verdict in one.verdicts:
            line, _ = one.model.source.line_column(verdict.span.start)
            case = Xml.SubElement(
                suite, "testcase", classname=Path(one.name).stem, name=verdict.title, file=one.name, line=str(line)
            )
            if not verdict.passed:
                failure = Xml.SubElement(case, "failure", message=verdict.detail, type=verdict.outcome)
                failure.text = verdict_text(one.model.source, verdict)
    Xml.indent(whole)
    text = Xml.tostring(whole, encoding="unicode", xml_declaration=False)
    writing(path, lambda: write_output(path, f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'))


def _write_pages(path: Path, found: Sequence[Verified]) -> None:
    """A page of one file, or a folder with a page for each of several, in folders as the files are."""
    from pgmdsl.compiler.proof_report import checks_page

    if len(found) == 1:
        writing(path, lambda: write_output(path, checks_page(found[0].model, found[0].verdicts)))
        return
    files = [Path(one.name) for one in found]
    shared = Path(*_common([file.resolve().parent.parts for file in files]))
    for one, file in zip(found, files, strict=True):
        target = path / file.resolve().relative_to(shared).with_suffix(".md")
        writing(target, lambda target=target: target.parent.mkdir(parents=True, exist_ok=True))  # type: ignore[misc]
        text = checks_page(one.model, one.verdicts)
        writing(target, lambda target=target, text=text: write_output(target, text))  # type: ignore[misc]


def _common(folders: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The parts that all folders begin with."""
    shared: list[str] = []
    for parts in zip(*folders, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return tuple(shared)
