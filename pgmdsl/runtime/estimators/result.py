"""What an estimator answers: a value with its error bars, how it came about, and how long it took."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

ABSURD = 100.0  # nats a unit: a Gaussian unit 14 standard deviations off
MOST_GAP = 1.0  # nats between forward and backward chains without a warning
LEAST_SHARE, LEAST_SIZE = 0.1, 10  # effective sample sizes below which there is one: of the chains, and a number
Side = Literal["exact", "estimate", "lower bound", "upper bound"]
LogMethod = Literal["exact", "ais", "reverse_ais", "bridge"]


@dataclass(frozen=True, slots=True)
class LogPartition:
    """log Z: `lower` and `upper` are 95% limits, equal to `value` when exact.

    Limits come from the standard error where that can be trusted, else from Markov's inequality, which leaves one side
    open. They are of the sampling error only: those of `ais` assume that the chains reach every mode that holds much
    of Z; where all of them miss one, log Z lies above `upper`, and nothing in the same chains shows it. `reverse` has
    the figure from chains that went the other way, which may.

    Attributes:
        value: Of log Z, in nats.
        standard_error: Of it.
        lower: 95% limit.
        upper: 95% limit.
        method: How it came about.
        seconds: Wall time.
        effective_sample_size: Of `chains`, over `temperatures`; None where exact.
        chains: Annealed.
        temperatures: Steps of the path.
        warning: What makes the value doubtful, in words, or None.
        start: Where backward chains started from: "exact" draws of the model, "data" or "tempering".
        reverse: The figure of backward chains, where both directions were run.
        forward: The value of forward chains alone, of a bridge.
    """

    value: float
    standard_error: float
    lower: float
    upper: float
    method: LogMethod
    seconds: float
    effective_sample_size: float | None = None
    chains: int | None = None
    temperatures: int | None = None
    warning: str | None = None
    start: Literal["exact", "data", "tempering"] | None = None
    reverse: LogPartition | None = None
    forward: float | None = None

    @property
    def side(self) -> Side:
        """Whether the value is exact or an estimate."""
        return "exact" if self.method == "exact" else "estimate"

    @property
    def bounds(self) -> str:
        """Which side of log Z the value is on, on average, in words."""
        if self.method == "exact":
            return "exact"
        if self.method == "ais":
            return "below log Z on average"
        if self.start == "exact":
            return "above log Z on average" if self.method == "reverse_ais" else "consistent, its starts being exact"
        return f"no bound, as its starts are not exact draws but from {self.start}"

    @property
    def gap(self) -> float | None:
        """How much higher chains that went back put log Z than chains that went forward; None unless both ran."""
        if self.reverse is None:
            return None
        return self.reverse.value - (self.value if self.forward is None else self.forward)

    def of_cases(self, cases: int) -> Doubles:
        """The value for each case, (cases,)."""
        return np.full(cases, self.value)

    def errors_of_cases(self, cases: int) -> Doubles:
        """The standard error for each case, (cases,): one that they have in common."""
        return np.full(cases, self.standard_error)

    def error_of_mean(self, share: Doubles) -> float:
        """The standard error of its mean over cases with these shares: they have it in common."""
        return self.standard_error


@dataclass(frozen=True)
class LogPartitions:
    """log Z of each case, where it depends on the case's given layers or on the lengths of its documents.

    `runs` are the different ones, and `which` (cases,) the place there of each case's own.
    """

    runs: tuple[LogPartition, ...]
    which: NDArray[np.int64]

    @property
    def side(self) -> Side:
        """Whether all values are exact, or some estimates."""
        return "exact" if all(run.side == "exact" for run in self.runs) else "estimate"

    @property
    def method(self) -> LogMethod:
        """How they came about."""
        return self.runs[0].method

    @property
    def warning(self) -> str | None:
        """What makes the values doubtful: the first warning, and of how many there is one."""
        found = [run.warning for run in self.runs if run.warning]
        if len(found) < 2:
            return found[0] if found else None
        return f"{len(found)} of {len(self.runs)} values of log Z are doubtful; the first: {found[0]}"

    def of_cases(self, cases: int) -> Doubles:
        """The value for each case, (cases,)."""
        assert cases == len(self.which), "log Z belongs to other cases"
        return np.array([run.value for run in self.runs])[self.which]

    def errors_of_cases(self, cases: int) -> Doubles:
        """The standard error for each case, (cases,); those of cases with the same value are one error."""
        assert cases == len(self.which), "log Z belongs to other cases"
        return np.array([run.standard_error for run in self.runs])[self.which]

    def error_of_mean(self, share: Doubles) -> float:
        """The standard error of the mean over cases with these shares; different values' errors are independent."""
        errors = np.array([run.standard_error for run in self.runs])
        return float(np.linalg.norm(np.bincount(self.which, share, len(errors)) * errors))

    def mean(self, share: Doubles | None = None) -> LogPartition:
        """The mean over the cases, with its error and limits."""
        share = np.full(len(self.which), 1 / len(self.which)) if share is None else share / share.sum()
        weight = np.bincount(self.which, share, len(self.runs))
        value = float(weight @ [run.value for run in self.runs])
        error = self.error_of_mean(share)
        sizes = [run.effective_sample_size for run in self.runs if run.effective_sample_size is not None]
        return replace(
            self.runs[0],
            value=value,
            standard_error=error,
            lower=value - 1.96 * error,
            upper=value + 1.96 * error,
            seconds=sum(run.seconds for run in self.runs),
            effective_sample_size=min(sizes, default=None),
            warning=self.warning,
        )


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over cases that is printed: `value` with both its standard errors, and what it is.

    `case_error`: of the mean, from the spread over cases. `log_partition_error`: of log Z, shared by all cases.
    `side`: whether it is exact, an estimate, or a bound (itself estimated where log Z is). `bits`: how the cases' bits
    were drawn, in words, or None. `warning`: what makes the value doubtful, in words, or None. `unit`: of the value.
    `effective_sample_size`: of the draws that each case's value is a mean of, the median over cases, or None.
    `seconds`: wall time, without that of log Z. `each`: the cases' own values, (cases,), of which it is the mean.
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
    unit: str = "nats"
    effective_sample_size: float | None = None
    seconds: float = 0.0
    each: Doubles | None = field(default=None, repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        """As JSON values, without the cases' own."""
        values = asdict(replace(self, each=None))
        del values["each"]
        return values

    def __str__(self) -> str:
        """One line for a terminal."""
        log_z = f", log Z +- {self.log_partition_error:.2g}" if self.log_partition_error else ""
        drawn = f"; {self.bits}" if self.bits else ""
        doubt = f"; warning: {self.warning}" if self.warning else ""
        return (
            f"{self.name}: {self.value:.3f} (+- {self.case_error:.2g} over {self.cases} cases{log_z}; "
            f"{self.side}, {self.method}{drawn}{doubt})"
        )


def doubt_annealing(found: LogPartition) -> str | None:
    """What is wrong with an annealed log Z, in words; None where nothing shows."""
    if found.gap is not None and abs(found.gap) > MOST_GAP:
        return (
            f"chains that went back put log Z {abs(found.gap):.2g} nats {'above' if found.gap > 0 else 'below'} where "
            f"those that went forward do: neither is to be trusted; use more than {found.temperatures} temperatures"
        )
    size, chains = found.effective_sample_size, found.chains
    if size is None or chains is None or size >= max(LEAST_SHARE * chains, min(LEAST_SIZE, chains / 2)):
        return None
    more = f"{found.temperatures} temperatures" if size < LEAST_SHARE * chains else f"{chains} chains"
    return (
        f"the effective sample size is {size:.1f} of {chains} chains, so that log Z and its limits are not to be "
        f"trusted: use more than {more}"
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
