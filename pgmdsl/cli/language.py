"""`pgmc check`, `fmt`, `explain`: the text and nothing behind it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pgmdsl.cli.common import FILE, JSON, SIZES, echo_json, parse_sizes
from pgmdsl.grammar.diagnostics import Diagnostics, render
from pgmdsl.grammar.diagnostics import as_json as json_of
from pgmdsl.grammar.read import read_source


@click.command("check")
@FILE
@SIZES
@JSON
def check_command(file: Path, sizes: tuple[str, ...], as_json: bool) -> None:
    """Report every mistake of a model FILE in one run.

    Exit status 0 when the file is sound (warnings allowed), 2 when it has mistakes.
    """
    from pgmdsl.compiler.driver import check_source

    source = read_source(file)
    model, diagnostics = check_source(source, parse_sizes(sizes))
    found = diagnostics.sorted()
    if as_json:
        echo_json({"file": str(file), "ok": model is not None, "diagnostics": json_of(source, tuple(found))})
    else:
        for diagnostic in found:
            click.echo(render(source, diagnostic) + "\n", err=True)
        if model is None:
            click.echo(f"{file}: {_count(len(diagnostics.errors), 'mistake')}", err=True)
        else:
            counts = [_count(len(model.layers), "layer"), _count(len(model.edges), "edge")]
            counts.append(_count(len(model.checks), "check"))
            click.echo(f"{file}: model {model.name} is sound: {', '.join(counts)}")
    sys.exit(0 if model is not None else 2)


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
