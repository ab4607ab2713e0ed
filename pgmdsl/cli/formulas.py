"""`pgmc derive`, `graph`, `compile`: what follows from the text."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from pgmdsl.cli.common import FILE, JSON, NO_TABLES, SIZES, parse_sizes, write_output, writing
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.read import read_source

OUTPUT = click.option("-o", "--output", type=click.Path(path_type=Path), help="Write here instead of printing.")


@click.command("derive")
@FILE
@click.option("--latex", is_flag=True, help="LaTeX, ready to be typeset.")
@JSON
@OUTPUT
def derive_command(file: Path, latex: bool, as_json: bool, output: Path | None) -> None:
    """Print what follows from FILE: energy, conditionals, mean field, free energy, gradients; sizes stay symbols."""
    import json

    from pgmdsl.compiler.derive import derive_model
    from pgmdsl.compiler.driver import checked_model
    from pgmdsl.compiler.report import derivation_json, derivation_latex, derivation_text

    if latex and as_json:
        raise Error("--latex and --json exclude each other: the JSON holds the LaTeX of every formula")
    model, _ = checked_model(read_source(file), {})
    derivation = derive_model(model)
    if as_json:
        text = json.dumps(derivation_json(model, derivation), indent=2, ensure_ascii=False)
    else:
        text = (derivation_latex if latex else derivation_text)(model, derivation)
    write_output(output, text)


@click.command("graph")
@FILE
@SIZES
@click.option("--dot", is_flag=True, help="Print the graph in the DOT language.")
@JSON
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A .svg, .png, .pdf or .dot file.")
def graph_command(file: Path, sizes: tuple[str, ...], dot: bool, as_json: bool, output: Path | None) -> None:
    """Draw the layers and edges of FILE: directed edges as arrows, recognition edges as dashed ones."""
    import json

    from pgmdsl.compiler.driver import checked_model
    from pgmdsl.compiler.picture import model_dot, save_picture
    from pgmdsl.compiler.report import model_json

    if dot and as_json:
        raise Error("--dot and --json exclude each other: take one of them")
    model, _ = checked_model(read_source(file), parse_sizes(sizes))
    if dot or as_json:
        write_output(output, model_dot(model) if dot else json.dumps(model_json(model), indent=2, ensure_ascii=False))
        return
    path = output or Path(f"{file.stem}.svg")
    writing(path, lambda: save_picture(model, path))
    click.echo(str(path))


@click.command("compile")
@FILE
@SIZES
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True)
@click.option(
    "--emit", "stage", metavar="STAGE", help="Print one stage: syntax, model, graph, derivation, plan or kernels."
)
@NO_TABLES
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for the results; with --emit a file.")
def compile_command(
    file: Path,
    sizes: tuple[str, ...],
    dtype: Literal["float32", "float64"],
    stage: str | None,
    no_tables: bool,
    output: Path | None,
) -> None:
    """Compile FILE: a readable Numba file of kernels, and the derivation it was made from.

    Of a model with directed edges there is a file of each part: core (the layers without parents), p_v (v given its
    parents), q_h (recognition of h), and stack (all edges undirected, for greedy pretraining).
    """
    from pgmdsl.compiler.driver import compile_source, show_stage
    from pgmdsl.compiler.report import derivation_text

    compiled = compile_source(read_source(file), parse_sizes(sizes), dtype, tables=not no_tables)
    if stage is not None:
        costs = None
        if stage == "plan":
            from pgmdsl.runtime.kernels import load_kernels

            costs = load_kernels(compiled.artifact).costs
        write_output(output, show_stage(compiled, stage, costs))
        return
    artifact = compiled.artifact
    folder = output or Path(f"{file.stem}-compiled")
    derivation = derivation_text(compiled.model, compiled.derivation)
    writing(folder, lambda: folder.mkdir(parents=True, exist_ok=True))
    for name, text in (
        *((f"{file.stem}_{artifact.hash[:8]}{part}.py", kernels) for part, kernels in artifact.kernel_files.items()),
        ("derivation.txt", derivation),
        ("hash.txt", artifact.hash + "\n"),
    ):
        path = folder / name
        write_output(path, text)
        click.echo(str(path))
