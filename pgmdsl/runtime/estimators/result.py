"""What an estimator answers: a value with its error bars, how it came about, and how long it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Side = Literal["exact", "estimate", "lower bound"]


@dataclass(frozen=True, slots=True)
class LogPartition:
    """log Z: `lower` and `upper` are 95% limits, equal to `value` when exact.

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
    `side`: whether it is exact, an estimate, or a lower bound (itself estimated where log Z is). `bits`: how test
    bits were drawn, in words, or None.
    """

    name: str
    value: float
    case_error: float
    log_partition_error: float
    method: str
    side: Side
    cases: int
    bits: str | None = None

    def __str__(self) -> str:
        """One line for a terminal."""
        log_z = f", log Z +- {self.log_partition_error:.2g}" if self.log_partition_error else ""
        drawn = f"; {self.bits}" if self.bits else ""
        return (
            f"{self.name}: {self.value:.3f} (+- {self.case_error:.2g} over {self.cases} cases{log_z}; "
            f"{self.side}, {self.method}{drawn})"
        )
