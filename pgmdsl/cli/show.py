"""Figures and notes for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Collection

    from pgmdsl.figures import Evaluation
    from pgmdsl.run import Run
    from pgmdsl.runtime.estimators.result import Figure, LogPartition, LogPartitions

NAME = 30  # width of a figure's name at least
TOLD = 0.5  # seconds from which on wall time is told


def print_figures(evaluation: Evaluation) -> None:
    """Log Z and every figure, each with its two standard errors, then what makes them doubtful."""
    z, figures = evaluation.log_partition, evaluation.figures
    shown = [*figures, *evaluation.baselines, *evaluation.differences]
    width = max(NAME, *(len(f.name) for f in shown))
    if z is not None:
        for name, line in _log_z(z):
            click.echo(f"{name:<{width}} {line}")
    for f in shown:
        click.echo(f"{f.name:<{width}} {_figure(f)}")
    if evaluation.subset:
        click.echo(f"These are of {evaluation.subset}.")
    drawn = f" {evaluation.bits[0].upper()}{evaluation.bits[1:]}." if evaluation.bits else ""
    click.echo("Errors are two standard errors." + drawn)
    for warning in dict.fromkeys((z.warning if z else None, *(f.warning for f in shown))):
        if warning:
            click.echo(f"warning: {warning}", err=True)


def _figure(f: Figure) -> str:
    """A figure's value, its errors, and what it is."""
    errors = f"+- {2 * f.case_error:.3f} over {f.cases} cases"
    if f.log_partition_error:
        errors += f", +- {2 * f.log_partition_error:.3f} of log Z"
    unit = f" {f.unit}" if f.unit else ""
    size = "" if f.effective_sample_size is None else f", effective sample size {f.effective_sample_size:.1f}"
    took = f", {f.seconds:.1f} s" if f.seconds >= TOLD else ""
    return f"{f.value:10.3f}{unit}  {errors}  ({f.side}: {f.method}{size}{took})"


def _log_z(z: LogPartition | LogPartitions) -> list[tuple[str, str]]:
    """Lines for log Z: its value, or the range of its values, and the check on it from the other direction."""
    from pgmdsl.runtime.estimators.result import LogPartitions

    if not isinstance(z, LogPartitions):
        lines = [("log Z", _one_log_z(z))]
        if z.reverse is not None and z.gap is not None:
            lines.append(("log Z, going back", f"{_one_log_z(z.reverse)}; gap {z.gap:+.3f}"))
        return lines
    how, each = _how(z.runs[0]), z.runs
    sizes = [run.effective_sample_size for run in each if run.effective_sample_size is not None]
    least = f", effective sample size of at least {min(sizes):.0f}" if sizes else ""
    most = "" if z.method == "exact" else f", each +- {2 * max(run.standard_error for run in each):.3f} at most"
    values, seconds = [run.value for run in each], sum(run.seconds for run in each)
    note = f"{len(each)} values, as it differs between cases; {how}{least}, {seconds:.1f} s"
    return [("log Z", f"{min(values):10.3f} to {max(values):.3f}{most}  ({note})")]


def _one_log_z(z: LogPartition) -> str:
    if z.method == "exact":
        return f"{z.value:10.3f}  (exact, {z.seconds:.1f} s)"
    size = "" if z.effective_sample_size is None else f", effective sample size {z.effective_sample_size:.0f}"
    limits = f"95% {z.lower:.3f} to {z.upper:.3f}"
    return f"{z.value:10.3f} +- {2 * z.standard_error:.3f}  ({limits}; {_how(z)}{size}, {z.seconds:.1f} s; {z.bounds})"


def _how(z: LogPartition) -> str:
    if z.method == "exact":
        return "exact"
    start = f" from {z.start}" if z.start else ""
    return f"{z.method.replace('_', ' ').upper()}{start}, {z.chains} chains, {z.temperatures} temperatures"


def note_lengths(run: Run, observed: Collection[str], stated: Collection[str]) -> None:
    """Say on stderr which length is taken for documents that are neither observed nor have theirs stated."""
    for name, length in run.assumed_lengths(observed, stated).items():
        click.echo(
            f"documents of {name} are given the rounded mean length of those trained on, {length} words; "
            f"--length {name}=N states another",
            err=True,
        )
