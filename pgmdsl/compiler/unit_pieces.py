"""Real units whose energy is quadratic on each of some intervals: the pieces, and the integrals over them.

On a piece from l to u the energy is c x^2/2 + d x + e, so that with z(x) = (f - d - c x)/sqrt(c)

    integral of exp(f x - energy) = sqrt(2 pi) exp(L),    L = (f - d)^2/(2 c) - e + M - log(c)/2,

M being the log probability of the piece under the normal distribution of mean (f - d)/c and variance 1/c; and, as
the derivative of exp(f x - energy) by x is (f - d - c x) times itself, the mean of x on the piece is

    (f - d)/c + (exp(-z(l)^2/2 - M) - exp(-z(u)^2/2 - M))/sqrt(2 pi c),

a term being 0 where there is no bound. Sums of exponentials of several L are written with softplus and sigmoid, so
that no exponential overflows. Units of two pieces: Tubiana, Cocco and Monasson (2019), eLife 8:e39397.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from itertools import pairwise

from pgmdsl.compiler.check_names import MistakeError
from pgmdsl.compiler.rewrite import walk
from pgmdsl.compiler.unit_branches import UnreadableBranchError, between, thresholds
from pgmdsl.compiler.unit_formula import (
    Linear,
    NotQuadraticError,
    exact,
    formula,
    is_positive,
    polynomial,
    rational,
    scaled,
    written,
)
from pgmdsl.compiler.unit_read import Declared, energy_mistake
from pgmdsl.compiler.units import Piece, Real
from pgmdsl.grammar.formula import format_expression
from pgmdsl.grammar.syntax import Compare, Expression

MOST_PIECES = 8


@dataclass(frozen=True, slots=True)
class _Quadratic:
    """The energy c x^2/2 + d x + e from `lower` to `upper`."""

    lower: Fraction | None
    upper: Fraction | None
    c: Expression
    d: Expression
    e: Expression

    def filled(self, text: str, **parts: Expression) -> Expression:
        """A formula in c, d, e, l and u."""
        bounds = {n: exact(v) for n, v in (("l", self.lower), ("u", self.upper)) if v is not None}
        return formula(text, {"c": self.c, "d": self.d, "e": self.e, **bounds, **parts})

    @property
    def piece(self) -> Piece:
        """As the row of the table has it."""
        return Piece(self.lower, self.upper, *(format_expression(part) for part in (self.c, self.d, self.e)))


def integrate_pieces(declared: Declared) -> tuple[tuple[Piece, ...], Expression, Expression]:
    """The pieces of a real unit's energy, its log-partition function and its mean.

    Raises `MistakeError` where the energy is not quadratic on each of some intervals, or may not grow.
    """
    quadratics = _quadratics(declared)
    pairs = [_integral(q) for q in quadratics]
    logs = [log for log, _ in pairs]
    means = [mean for _, mean in pairs]
    if len(pairs) > 1:
        others = [_log_sum(logs[:k] + logs[k + 1 :]) for k in range(len(logs))]
        parts = [{"L": log, "R": rest, "a": mean} for (log, mean), rest in zip(pairs, others, strict=True)]
        means = [formula("sigmoid(L - R)*a", part) for part in parts]
    log_partition = formula("L + log(2*pi)/2", {"L": _log_sum(logs)})
    mean = reduce(lambda a, b: formula("a + b", {"a": a, "b": b}), means)
    return tuple(q.piece for q in quadratics), log_partition, mean


def _integral(q: _Quadratic) -> tuple[Expression, Expression]:
    """L, and the mean on the piece."""
    at = {n: q.filled(f"(f - d - c*{n})/sqrt(c)") for n, v in (("l", q.lower), ("u", q.upper)) if v is not None}
    match sorted(at):
        case ["l", "u"]:
            mass = q.filled("log(exp(log_normal_cdf(y)) - exp(log_normal_cdf(z)))", y=at["l"], z=at["u"])
        case ["l"]:
            mass = q.filled("log_normal_cdf(z)", z=at["l"])
        case ["u"]:
            mass = q.filled("log_normal_cdf(-z)", z=at["u"])
        case _:
            mass = q.filled("0")
    log = q.filled("(f - d)^2/(2*c) - e + M - log(c)/2", M=mass)
    mean = q.filled("(f - d)/c")
    for bound, sign in (("l", "+"), ("u", "-")):
        if bound in at:
            mean = q.filled(f"m {sign} exp(-z^2/2 - M)/sqrt(2*pi*c)", m=mean, M=mass, z=at[bound])
    return log, mean


def _log_sum(logs: Sequence[Expression]) -> Expression:
    """The log of a sum of exponentials of these."""
    first, *others = logs
    return formula("L + softplus(R - L)", {"L": first, "R": _log_sum(others)}) if others else first


# --- the pieces ---


def _quadratics(declared: Declared) -> list[_Quadratic]:
    """The pieces in order, each with curvature above 0; neighbours with one formula are one piece."""
    assert isinstance(declared.support, Real)
    start = declared.support.lower
    _verify_inequalities(declared)
    try:
        changes = [t for t in thresholds(declared.energy) if start is None or t > start]
    except UnreadableBranchError as problem:
        reason = problem.reason(declared.shown(problem.node), declared.variable)
        raise _open(declared, problem.node, reason) from None
    edges: list[Fraction | None] = [start, *changes, None]
    found: list[tuple[Fraction | None, Fraction | None, list[Linear]]] = []
    for lower, upper in pairwise(edges):
        parts = _coefficients(declared, between(declared.energy, _inside(lower, upper)))
        if found and found[-1][2] == parts:
            found[-1] = (found[-1][0], upper, parts)
        else:
            found.append((lower, upper, parts))
    if len(found) > MOST_PIECES:
        message = f"the energy of {declared.name.name} has {len(found)} pieces, and may have {MOST_PIECES}"
        raise energy_mistake("E096", declared, None, message, "write fewer branches")
    for lower, upper, parts in found:
        _verify_growth(declared, lower, upper, parts[2])
    return [_Quadratic(lower, upper, *(written(terms) for terms in reversed(parts))) for lower, upper, parts in found]


def _coefficients(declared: Declared, branch: Expression) -> list[Linear]:
    """e, d and c of a branch."""
    try:
        powers = polynomial(branch)
    except NotQuadraticError as problem:
        raise _open(
            declared, problem.node, f"{declared.shown(problem.node)} is not quadratic in {declared.variable}"
        ) from None
    return [powers.get(0, {}), powers.get(1, {}), scaled(powers.get(2, {}), Fraction(2))]


def _inside(lower: Fraction | None, upper: Fraction | None) -> Fraction:
    """A point between two bounds."""
    if lower is None:
        return Fraction(0) if upper is None else upper - 1
    return lower + 1 if upper is None else (lower + upper) / 2


def _verify_inequalities(declared: Declared) -> None:
    """A branch at single points would be seen by the energy and by no integral."""
    for node in walk(declared.energy):
        if isinstance(node, Compare) and node.op in ("==", "!="):
            raise _open(declared, node, "a real state is never equal to a number")


def _verify_growth(declared: Declared, lower: Fraction | None, upper: Fraction | None, curvature: Linear) -> None:
    if is_positive(curvature, declared.positive):
        return
    unit, x, text = declared.name.name, declared.variable, format_expression(written(curvature))
    ends = [format_expression(exact(v)) if v is not None else "" for v in (lower, upper)]
    where = (f"{ends[0]} < {x} < {ends[1]}" if ends[1] else f"{x} > {ends[0]}") if ends[0] else f"{x} < {ends[1]}"
    where = f"where {where}" if ends != ["", ""] else "everywhere"
    needs = "and needs one above 0" if rational(written(curvature)) is not None else "which may be 0 or less"
    message = f"the energy of {unit} has the second derivative {text} {where}, {needs}"
    help = f"give it a term such as {x}^2/2, or g*{x}^2/2 with param g > 0"
    if None in (lower, upper):
        message += f": the integral of exp(f*{x} - energy) then diverges for some field f"
        raise energy_mistake("E097", declared, None, message, help)
    message += f": the integral of exp(f*{x} - energy) closes only where it is above 0"
    raise energy_mistake("E096", declared, None, message, help)


def _open(declared: Declared, node: Expression, reason: str) -> MistakeError:
    x = declared.variable
    message = f"the integral of exp(f*{x} - energy) over the states of {declared.name.name} does not close: {reason}"
    help = f"write an energy that is quadratic in {x}, or on each of some intervals: {x}^2/2 if {x} > 0 else {x}^2"
    return energy_mistake("E096", declared, node, message, help)
