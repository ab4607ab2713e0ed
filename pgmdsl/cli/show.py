"""Figures for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pgmdsl.run import Evaluation


def print_figures(evaluation: Evaluation) -> None:
    """Log Z and every figure, each with its two standard errors, then what makes them doubtful."""
    z = evaluation.log_partition
    how = "exact" if z.method == "exact" else f"{z.method.replace('_', ' ').upper()}, {z.chains} chains"
    if z.effective_sample_size is not None:
        how += f", effective sample size {z.effective_sample_size:.0f}, {z.temperatures} temperatures"
    error = "" if z.method == "exact" else f" +- {2 * z.standard_error:.3f}"
    click.echo(f"log Z                          {z.value:10.3f}{error}  ({how}, {z.seconds:.1f} s)")
    for f in evaluation.figures:
        errors = f"+- {2 * f.case_error:.3f} over {f.cases} cases"
        if f.log_partition_error:
            errors += f", +- {2 * f.log_partition_error:.3f} of log Z"
        click.echo(f"{f.name:<30} {f.value:10.3f} {f.unit}  {errors}  ({f.side}: {f.method})")
    drawn = f" {evaluation.bits[0].upper()}{evaluation.bits[1:]}." if evaluation.bits else ""
    click.echo("Errors are two standard errors." + drawn)
    for warning in (z.warning, *(f.warning for f in evaluation.figures)):
        if warning:
            click.echo(f"warning: {warning}", err=True)
