"""What an estimator answers: a value with its error bars, how it came about, and how long it took."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

ABSURD = 100.0  # nats a unit: a Gaussian unit 14 standard deviations off
Side = Literal["exact", "estimate", "lower bound"]


@dataclass(frozen=True, slots=True)
class LogPartition:
    """log Z: `lower` and `upper` are 95% limits, equal to `value` when exact.

    Limits of annealed importance sampling are of its sampling error only. They assume that the chains reach every mode
    that holds much of Z: where all of them miss one, log Z lies above `upper`, and neither `standard_error` nor
    `effective_sample_size` nor `warning` shows it.

    `effective_sample_size` of `chains`, over `temperatures`, for annealed importance sampling, else None; `warning`
    says what makes the value doubtful, in words, or is None.
    """

    value: float
    standard_error: float
    lower: float
    upper: float
    method: Literal["exact", "ais", "reverse_ais"]
    seconds: float
    effective_sample_size: float | None = None
    chains: int | None = None
    temperatures: int | None = None
    warning: str | None = None

    @property
    def side(self) -> Side:
        """Whether the value is exact or an estimate."""
        return "exact" if self.method == "exact" else "estimate"


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over cases that is printed: `value` with both its standard errors, and what it is.

    `case_error`: of the mean, from the spread over cases. `log_partition_error`: of log Z, shared by all cases.
    `side`: whether it is exact, an estimate, or a lower bound (itself estimated where log Z is). `bits`: how the
    cases' bits were drawn, in words, or None. `warning`: what makes the value doubtful, in words, or None.
    """

    name: str
    value: float
    case_error: float
    log_partition_error: float
    method: str
    side: Side
    cases: int
    bits: str | None = None
    warning: str | None = None

    def __str__(self) -> str:
        """One line for a terminal."""
        log_z = f", log Z +- {self.log_partition_error:.2g}" if self.log_partition_error else ""
        drawn = f"; {self.bits}" if self.bits else ""
        doubt = f"; warning: {self.warning}" if self.warning else ""
        return (
            f"{self.name}: {self.value:.3f} (+- {self.case_error:.2g} over {self.cases} cases{log_z}; "
            f"{self.side}, {self.method}{drawn}{doubt})"
        )


def doubt_figure(name: str, value: float, units: int) -> str | None:
    """What is wrong with a log-probability of so many units, in words; None where nothing need be."""
    if not math.isfinite(value):
        return f"{name} is {value}: the parameters are too large, or the cases far from all that was trained on"
    if abs(value) > ABSURD * units:
        return (
            f"{name} is {value / units:.2g} nats a unit: look for a standard deviation near 0, for parameters "
            "that have diverged, or for cases unlike those trained on"
        )
    return None


def doubt_log_partition(value: float, resolution: float) -> str | None:
    """What is wrong with a log Z computed from numbers of this relative resolution, in words; None where nothing is."""
    if not math.isfinite(value):
        return f"log Z is {value}: the parameters are too large"
    if abs(value) * resolution > 1:
        return (
            f"log Z is so large that rounding leaves it uncertain by {abs(value) * resolution:.2g} nats: the "
            "parameters have diverged, or need float64"
        )
    return None
