"""Training curves of a run: one file, in the format of its path's suffix."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pgmdsl.runtime.sheets import DPI, INK, figure_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHADE = "#eef2f6"
# Okabe and Ito (2008): apart for every kind of colour vision.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_STYLES = ("-", "--", "-.", ":")
_FEW = 9  # points of a line that are marked one by one, if there are fewer
_LINE = 11.0  # height of a row of phases' names, in points
_NAME = 0.024  # width of a character of these, of a panel's
_LOG_RANGE = 100.0  # a positive family that spans more is drawn on a logarithmic axis
_LISTS = ("own", "exchange")  # families whose values are lists
_OWN = ("least", "median", "largest")  # of a unit type's own parameter, over the units
_TITLES = {
    "likelihood": "log-likelihood of a case, in nats",
    "bound": "bound on the log-likelihood of a case, in nats",
    "pseudolikelihood": "log-pseudolikelihood of a case, in nats",
    "annealed": "effective share of annealed chains",
    "reconstruction": "reconstruction error (mean square)",
    "active": "mean activity",
    "saturated": "share of saturated units",
    "singular": "largest singular value",
    "rate": "learning rate",
    "free_energy_gap": "free-energy gap, validation − training",
    "size": "root mean square of a weight",
    "own": "units' own parameters",
    "exchange": "share of exchanges between temperatures",
    "margin": "margin to where the model diverges",
    "loss": "loss of a network, in nats a case (a word)",
    "error": "share of wrong classes",
    "squared_error": "squared error of a case",
}


def curves(metrics: Sequence[Mapping[str, Any]], path: Path, skip: Collection[tuple[str, str]] = ()) -> None:
    """Training curves: a panel for each family of figures, over the epochs of all phases, which are shaded in turn.

    A family is a field, its `valid_` twin, and the entries of a field that is a mapping (one figure a layer or weight).

    Args:
        metrics: records with `phase`, `epoch` (from the phase's start) and numeric fields; others are left out.
        path: the file to write.
        skip: lines that say nothing, such as ("active", "y"), by family and label.
    """
    families, phases = _families(metrics, skip)
    columns = 2 if len(families) > 1 else 1
    rows = max(1, math.ceil(len(families) / columns))
    figure = figure_of(4.6 * columns + 0.3, 2.35 * rows + 0.45)
    for k, (name, family) in enumerate(families.items()):
        axes = figure.add_subplot(rows, columns, k + 1)
        _draw_family(axes, family)
        _shade(axes, phases)
        named = k < columns and len(phases) > 1
        pad = 10 + _LINE * (1 + max(_name_rows(phases))) if named else 7
        if named:
            _name_phases(axes, phases)
        title = _TITLES.get(name, name.replace("_", " "))
        axes.set_title(title, fontsize=10, color=INK, loc="left", pad=pad)
        if k >= len(families) - columns:
            axes.set_xlabel("epoch", fontsize=9, color=INK)
    figure.tight_layout(h_pad=1.4, w_pad=1.6)
    figure.savefig(path, dpi=DPI)


# --- curves -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Series:
    """One line: epochs since the run's start, and values."""

    epochs: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


_Family = dict[str, _Series]
_Phase = tuple[str, float, float]  # name, first and last epoch since the run's start


def _families(
    metrics: Sequence[Mapping[str, Any]], skip: Collection[tuple[str, str]] = ()
) -> tuple[dict[str, _Family], list[_Phase]]:
    """All lines by family and label but those to skip, and the phases."""
    families: dict[str, _Family] = {}
    phases: list[_Phase] = []
    start = 0.0
    for name, records in _phases(metrics):
        for record in records:
            for family, label, value in _figures(record):
                if (family, label) in skip:
                    continue
                series = families.setdefault(family, {}).setdefault(label, _Series())
                series.epochs.append(start + float(record["epoch"]))
                series.values.append(value)
        for lines in families.values():  # a gap in each line where a phase ends
            for series in lines.values():
                series.epochs.append(math.nan)
                series.values.append(math.nan)
        end = start + max(float(record["epoch"]) for record in records)
        phases.append((name, start, end))
        start = end
    return families, phases


def _phases(metrics: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """The records of each phase: another begins with another name, or where the epochs begin anew."""
    records: list[Mapping[str, Any]] = []
    for record in metrics:
        if records and (record["phase"] != records[-1]["phase"] or record["epoch"] <= records[-1]["epoch"]):
            yield str(records[-1]["phase"]), records
            records = []
        records.append(record)
    if records:
        yield str(records[-1]["phase"]), records


def _figures(record: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """The numbers of one record: family, label, value."""
    for key, value in record.items():
        if key in ("phase", "epoch", "step"):
            continue
        family = key.removeprefix("valid_")
        label = "training" if family == key else "validation"
        entries = value if isinstance(value, Mapping) else {label: value}
        if family in _LISTS:
            entries = _spelled_out(family, value)
        for inner, number in entries.items():
            if isinstance(number, int | float) and not isinstance(number, bool):
                yield family, str(inner), float(number)


def _spelled_out(family: str, value: Any) -> dict[str, Any]:
    """The entries of a field whose values are lists, by label."""
    if family == "exchange":
        return {f"{k + 1} and {k + 2}": number for k, number in enumerate(value)}
    return {f"{how} {name}": x for name, numbers in value.items() for how, x in zip(_OWN, numbers, strict=True)}


def _draw_family(axes: Axes, family: _Family) -> None:
    for k, (label, series) in enumerate(sorted(family.items())):
        marked = _marked(series.values)
        axes.plot(
            series.epochs,
            series.values,
            label=label,
            color=COLOURS[k % len(COLOURS)],
            linestyle=_STYLES[k // len(COLOURS) % len(_STYLES)],
            linewidth=1.5,
            marker="o" if marked else None,
            markevery=marked,
            markersize=3.5,
            clip_on=False,
        )
    values = np.array([v for series in family.values() for v in series.values])
    finite = values[np.isfinite(values)]
    if finite.size and finite.min() > 0 and finite.max() > _LOG_RANGE * finite.min():
        _make_logarithmic(axes)
    else:  # values as they are: a mean activity of 0.5001 is not 0.0001 and an offset in small print
        axes.ticklabel_format(axis="y", useOffset=False)
    if finite.size and finite.min() == finite.max() >= 0:
        axes.set_ylim(0, 1.25 * finite.max() or 1)
    axes.tick_params(labelsize=8.5, colors=INK, length=3)
    axes.grid(axis="y", color="#d5dce3", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if set(family) != {"training"}:
        style: dict[str, Any] = {"fontsize": 8.5, "frameon": False, "labelcolor": INK, "handlelength": 1.6}
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.04), ncols=math.ceil(len(family) / 10), **style)


def _make_logarithmic(axes: Axes) -> None:
    """A logarithmic axis whose numbers are plain text, for which no fonts of mathematics are looked up."""
    from matplotlib.ticker import LogFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(1, 0.4)))


def _marked(values: Sequence[float]) -> list[int]:
    """The points that get a mark: all of a short line, else those with no neighbour, which no stroke would show."""
    known = [False, *np.isfinite(values).tolist(), False]
    few = len(values) < _FEW
    return [k for k in range(len(values)) if known[k + 1] and (few or not (known[k] or known[k + 2]))]


def _shade(axes: Axes, phases: list[_Phase]) -> None:
    """Every other phase on a tinted ground."""
    from matplotlib.ticker import MaxNLocator

    for _, start, end in phases[::2] if len(phases) > 1 else ():
        axes.axvspan(start, end, color=_SHADE, zorder=-1, linewidth=0)
    axes.set_xlim(0, max(1.0, phases[-1][2] if phases else 0.0))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))


def _name_phases(axes: Axes, phases: list[_Phase]) -> None:
    """The phases' names above the panel, where each begins."""
    for (name, start, _), row in zip(phases, _name_rows(phases), strict=True):
        axes.annotate(
            name,
            xy=(start, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(1, 3 + _LINE * row),
            textcoords="offset points",
            fontsize=8,
            color="#5b6b7b",
        )


def _name_rows(phases: list[_Phase]) -> list[int]:
    """The row of each phase's name, from below: the first in which it does not run into another."""
    whole = max(1.0, phases[-1][2])
    ends: list[float] = []
    rows = []
    for name, start, _ in phases:
        row = next((k for k, end in enumerate(ends) if end <= start / whole), len(ends))
        ends[row : row + 1] = [start / whole + _NAME * (len(name) + 1)]
        rows.append(row)
    return rows
