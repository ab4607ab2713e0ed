"""`pgmc train` and `resume`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from pgmdsl.cli.common import DATA, FILE, JSON, NO_TABLES, SEED, SIZES, THREADS, echo_json, parse_pairs, parse_sizes
from pgmdsl.grammar.diagnostics import Error

if TYPE_CHECKING:
    from pgmdsl.run import Run


@click.command("train")
@FILE
@SIZES
@DATA
@click.option("--test", "test", multiple=True, metavar="LAYER=PATH", help="Hold this file out for the final figures.")
@click.option("--valid", metavar="SHARE|PATH", help="Hold out this share of the rows, or this file, and watch it.")
@click.option("--weights", metavar="PATH", help="Case weights, one a row.")
@click.option("--init", "init", type=click.Path(path_type=Path), help="Start from the parameters of this run.")
@click.option("--freeze", multiple=True, metavar="NAME", help="Keep this parameter as it starts.")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The run's directory, which must not exist.")
@NO_TABLES
@THREADS
@click.option("--verbose", is_flag=True, help="Say how much memory it took.")
@click.option("--no-eval", is_flag=True, help="Skip the log-likelihood figures at the end.")
@SEED
@JSON
def train_command(
    file: Path,
    sizes: tuple[str, ...],
    data: tuple[str, ...],
    test: tuple[str, ...],
    valid: str | None,
    weights: str | None,
    init: Path | None,
    freeze: tuple[str, ...],
    dtype: Literal["float32", "float64"],
    output: Path | None,
    no_tables: bool,
    threads: int,
    verbose: bool,
    no_eval: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Train the model of FILE as its train block says, into a new run directory under runs/.

    Ctrl-C saves a checkpoint; `pgmc resume RUN` goes on from it, bit for bit.
    """
    from pgmdsl.opening import compile_for_data, load_run, start_run

    given = parse_pairs(data, "--data")
    model = compile_for_data(file, parse_sizes(sizes), given, dtype, tables=not no_tables)
    run = start_run(
        model,
        given or None,
        _share(valid),
        parse_pairs(test, "--test") or None,
        weights,
        load_run(init) if init else None,
        freeze,
        output,
        seed,
        None,
        threads,
    )
    finish(run, no_eval, as_json, verbose)


@click.command("resume")
@click.argument("run", type=click.Path(path_type=Path))
@THREADS
@click.option("--verbose", is_flag=True, help="Say how much memory it took.")
@click.option("--no-eval", is_flag=True, help="Skip the log-likelihood figures at the end.")
@JSON
def resume_command(run: Path, threads: int, verbose: bool, no_eval: bool, as_json: bool) -> None:
    """Go on with an interrupted RUN; the end is bit for bit that of the uninterrupted run."""
    from pgmdsl.opening import resume_run
    from pgmdsl.runtime.rundir import read_info

    if read_info(run).finished:
        click.echo(f"{run} has finished already: nothing is left to do", err=True)
    finish(resume_run(run, threads=threads), no_eval, as_json, verbose)


def finish(run: Run, no_eval: bool, as_json: bool, verbose: bool) -> None:
    """Print the figures of a finished run, and where the run, its sample sheet and its curves are."""
    try:
        _report(run, no_eval, as_json, verbose)
    except KeyboardInterrupt:
        rest = f"pgmc eval {run.directory} and pgmc plot {run.directory} do the rest"
        raise KeyboardInterrupt(f"interrupted after training, which has finished: {rest}") from None


def _report(run: Run, no_eval: bool, as_json: bool, verbose: bool) -> None:
    from pgmdsl.cli.networks import network_json, network_lines
    from pgmdsl.cli.show import print_figures

    memory = _memory(run) if verbose else {}  # before pictures and figures add theirs
    pictures = run.draw_pictures(progress=not as_json)
    evaluation, refused = None, None
    if not no_eval:
        try:
            evaluation = run.evaluation(quick=True, progress=True)
        except Error as problem:  # the run is there, and may be looked at
            refused = f"there are no figures: {problem}"
    if as_json:
        answer: dict[str, object] = {"run": str(run.directory), "pictures": {k: str(v) for k, v in pictures.items()}}
        answer |= {"networks": network_json(run)} if run.networks else {}
        answer |= {"memory": memory} if verbose else {}
        echo_json(answer | (evaluation.as_json() if evaluation else {}) | ({"warning": refused} if refused else {}))
        return
    for line in network_lines(run):
        click.echo(line)
    if evaluation:
        print_figures(evaluation)
        if evaluation.subset:
            click.echo(f"`pgmc eval {run.directory}` takes all cases, and more temperatures.")
    if refused:
        click.echo(f"warning: {refused}", err=True)
    click.echo(f"run      {run.directory}")
    for name, path in pictures.items():
        click.echo(f"{name:<8} {path}")
    if verbose:
        _echo_memory(memory)


def _memory(run: Run) -> dict[str, Any]:
    """The peak of this process so far, the data that it holds, and what training was predicted to hold, in bytes."""
    from pgmdsl.runtime.memory import peak_bytes, predicted_bytes, stored_bytes

    return {"peak": peak_bytes(), "data": stored_bytes(run.splits), "phases": predicted_bytes(run.model.artifact)}


def _echo_memory(memory: dict[str, Any]) -> None:
    from pgmdsl.runtime.memory import in_words, megabytes

    peak = "not told by this system" if memory["peak"] is None else f"{megabytes(memory['peak'])} MB at its peak"
    click.echo(
        f"memory   {peak}; data as stored {megabytes(memory['data'])} MB; predicted, besides Python and compiled"
    )
    click.echo("         code, were:")
    for name, parts in memory["phases"].items():
        click.echo(f"         {name} {in_words(parts)}")


def _share(text: str | None) -> float | str | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        if not Path(text.partition(":")[0]).exists():
            raise Error(f"--valid {text}: give a share of the rows such as 0.1, or an existing file") from None
        return text
