"""Figures and notes for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Collection

    from pgmdsl.figures import Evaluation
    from pgmdsl.run import Run
    from pgmdsl.runtime.estimators.result import LogPartition, LogPartitions

NAME = 30  # width of a figure's name at least


def print_figures(evaluation: Evaluation) -> None:
    """Log Z and every figure, each with its two standard errors, then what makes them doubtful."""
    figures = evaluation.figures
    width = max(NAME, *(len(f.name) for f in figures))
    click.echo(f"{'log Z':<{width}} {_log_z(evaluation.log_partition)}")
    for f in figures:
        errors = f"+- {2 * f.case_error:.3f} over {f.cases} cases"
        if f.log_partition_error:
            errors += f", +- {2 * f.log_partition_error:.3f} of log Z"
        unit = f" {f.unit}" if f.unit else ""
        click.echo(f"{f.name:<{width}} {f.value:10.3f}{unit}  {errors}  ({f.side}: {f.method})")
    if evaluation.subset:
        click.echo(f"These are of {evaluation.subset}.")
    drawn = f" {evaluation.bits[0].upper()}{evaluation.bits[1:]}." if evaluation.bits else ""
    click.echo("Errors are two standard errors." + drawn)
    for warning in dict.fromkeys((evaluation.log_partition.warning, *(f.warning for f in figures))):
        if warning:
            click.echo(f"warning: {warning}", err=True)


def _log_z(z: LogPartition | LogPartitions) -> str:
    """Log Z, or the range of its values, its error and how it was found."""
    from pgmdsl.runtime.estimators.result import LogPartitions

    each = z.runs if isinstance(z, LogPartitions) else (z,)
    how = "exact" if z.method == "exact" else f"{z.method.replace('_', ' ').upper()}, {each[0].chains} chains"
    sizes = [run.effective_sample_size for run in each if run.effective_sample_size is not None]
    if sizes:
        least = "" if len(each) == 1 else "of at least "
        how += f", effective sample size {least}{min(sizes):.0f}, {each[0].temperatures} temperatures"
    seconds = sum(run.seconds for run in each)
    values = [run.value for run in each]
    error = "" if z.method == "exact" else f" +- {2 * max(run.standard_error for run in each):.3f}"
    if len(each) == 1:
        return f"{values[0]:10.3f}{error}  ({how}, {seconds:.1f} s)"
    shown = f"{min(values):10.3f} to {max(values):.3f}"
    most = f", each{error} at most" if error else ""
    return f"{shown}{most}  ({len(each)} values, as it differs between cases; {how}, {seconds:.1f} s)"


def note_lengths(run: Run, observed: Collection[str], stated: Collection[str]) -> None:
    """Say on stderr which length is taken for documents that are neither observed nor have theirs stated."""
    for name, length in run.assumed_lengths(observed, stated).items():
        click.echo(
            f"documents of {name} are given the rounded mean length of those trained on, {length} words; "
            f"--length {name}=N states another",
            err=True,
        )
