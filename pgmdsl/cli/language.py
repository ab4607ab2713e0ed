"""`pgmc check`, `fmt`, `explain`: the text and nothing behind it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from pgmdsl.cli.common import JSON, SIZES, echo_json, parse_sizes
from pgmdsl.grammar.diagnostics import Diagnostics, Error, ModelError, render
from pgmdsl.grammar.diagnostics import as_json as json_of
from pgmdsl.grammar.read import read_source


@click.command("check")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@SIZES
@click.option("--info", is_flag=True, help="Add the memory that training will take.")
@JSON
def check_command(files: tuple[Path, ...], sizes: tuple[str, ...], info: bool, as_json: bool) -> None:
    """Report every mistake of model FILES in one run.

    Exit status 0 when they are sound (warnings allowed), 2 when one has mistakes.
    """
    answers = [_check(file, parse_sizes(sizes), as_json, info) for file in files]
    if as_json:
        echo_json(answers[0] if len(answers) == 1 else answers)
    sys.exit(0 if all(answer["ok"] for answer in answers) else 2)


def _check(file: Path, sizes: dict[str, int], quiet: bool, info: bool) -> dict[str, Any]:
    """Check one file, and say what was found; returns the same as JSON values."""
    from pgmdsl.compiler.driver import check_source
    from pgmdsl.compiler.report import model_json

    try:
        source = read_source(file)
    except ModelError as unreadable:
        if not quiet:
            click.echo(str(unreadable), err=True)
        return {"file": str(file), "ok": False, "diagnostics": json_of(unreadable.source, unreadable.diagnostics)}
    model, diagnostics = check_source(source, sizes)
    found = diagnostics.sorted()
    if not quiet:
        for diagnostic in found:
            click.echo(render(source, diagnostic) + "\n", err=True)
        if model is None:
            click.echo(f"{file}: {_count(len(diagnostics.errors), 'mistake')}", err=True)
        else:
            counts = [_count(len(model.layers), "layer"), _count(len(model.all_edges), "edge")]
            counts.append(_count(len(model.checks), "check"))
            click.echo(f"{file}: model {model.name} is sound: {', '.join(counts)}")
    answer = {"file": str(file), "ok": model is not None, "diagnostics": json_of(source, tuple(found))}
    if model is None:
        return answer
    return {**answer, **model_json(model), **(_memory(file, sizes, quiet) if info else {})}


def _memory(file: Path, sizes: dict[str, int], quiet: bool) -> dict[str, Any]:
    """The memory of each phase, said and returned; sizes that the file leaves open are those of its data, if there."""
    from pgmdsl.opening import compile_for_data
    from pgmdsl.runtime.memory import in_words, predicted_bytes

    try:
        phases = predicted_bytes(compile_for_data(file, sizes, {}).artifact)
    except Error as problem:
        click.echo(f"  the memory that training will take depends on sizes that are not known: {problem}", err=True)
        return {"memory": None}
    if not quiet:
        for name, parts in phases.items():
            click.echo(f"  {name} will hold {in_words(parts)}")
        if not phases:
            click.echo("  no phase trains it")
        click.echo("  besides the data as it is stored (a .npy file is read as needed), Python and compiled code")
    return {"memory": phases}


@click.command("fmt")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--check", "only_check", is_flag=True, help="Change nothing; exit 1 if a file would change.")
def fmt_command(files: tuple[Path, ...], only_check: bool) -> None:
    """Lay FILES out in the one canonical way; comments are kept, meaning is not touched."""
    from pgmdsl.grammar.format import format_file
    from pgmdsl.grammar.parse import parse_file

    changed = 0
    for path in files:
        source = read_source(path)
        diagnostics = Diagnostics(source)
        tree = parse_file(source, diagnostics)
        diagnostics.raise_errors()
        text = format_file(source, tree)
        if text == source.text:
            continue
        changed += 1
        if only_check:
            click.echo(f"{path}: would be laid out anew")
        else:
            from pgmdsl.runtime.tensors import write_atomic

            write_atomic(path, text.encode())
            click.echo(f"{path}: laid out anew")
    sys.exit(1 if only_check and changed else 0)


@click.command("explain")
@click.argument("code")
def explain_command(code: str) -> None:
    """Explain a diagnostic CODE, such as E013."""
    from pgmdsl.grammar.explain import explain

    click.echo(explain(code))


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")
