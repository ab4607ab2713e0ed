"""One emitted function compared with what it stands for: what is called, and how the answer is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pgmdsl.runtime.kernels import Kernels

Answer = list[NDArray[Any]]
ERROR = 1e-9  # relative to 1 and to the value, in double precision; quadrature and differences leave 1e-12
FALSE_ALARM = 1e-6  # the probability that a right sampler fails one of its comparisons


@dataclass(frozen=True)
class Comparison:
    """What some functions of a generated file answer, against what the declared energy says.

    `call` gives their answers; `judge` measures them: the largest error, which has to be below `limit`, or the
    probability of draws as odd as these (by chi-square tests), which has to be above it.
    """

    functions: tuple[str, ...]
    against: str
    call: Callable[[Kernels], Answer]
    judge: Callable[[Answer], float]
    kind: Literal["error", "chance"] = "error"
    limit: float = ERROR

    def passes(self, value: float) -> bool:
        """Whether what `judge` said is good enough; what is not a number is not."""
        return value <= self.limit if self.kind == "error" else value >= self.limit


@dataclass(frozen=True)
class Outcome:
    """How a comparison went: `value` is the largest error, or the smallest probability."""

    functions: tuple[str, ...]
    against: str
    kind: Literal["error", "chance"]
    value: float
    limit: float
    passed: bool


def outcomes(comparisons: Sequence[Comparison], ways: Sequence[Kernels]) -> Iterator[Outcome]:
    """Every comparison in turn, by the worst of several ways in which the kernels can be told to make products."""
    for c in comparisons:
        with np.errstate(all="ignore"):
            values = [c.judge(c.call(kernels)) for kernels in ways]
        value = next((v for v in values if not c.passes(v)), max(values) if c.kind == "error" else min(values))
        yield Outcome(c.functions, c.against, c.kind, value, c.limit, c.passes(value))


def exact(
    functions: tuple[str, ...],
    against: str,
    call: Callable[[Kernels], Answer],
    wanted: Callable[[], Sequence[Any]],
    limit: float = ERROR,
) -> Comparison:
    """A comparison with values that are computed once."""
    known = cache(wanted)
    return Comparison(functions, against, call, lambda answer: largest_error(answer, known()), limit=limit)


def largest_error(answer: Sequence[Any], wanted: Sequence[Any]) -> float:
    """The largest |a - w| / (1 + |w|); infinite where a shape is wrong or a value is not a number."""
    worst = 0.0
    for a, w in zip(answer, wanted, strict=True):
        got, right = np.asarray(a, np.float64), np.asarray(w, np.float64)
        if got.shape != right.shape and right.shape != (1, *got.shape[1:]):
            return float("inf")
        if not got.size:
            continue
        error = float((np.abs(got - right) / (1 + np.abs(right))).max())
        if not error <= worst:
            worst = error if np.isfinite(error) else float("inf")
    return worst
