"""How the verdicts of checks are shown."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgmdsl.compiler.prove import Verdict
    from pgmdsl.grammar.source import Source

LONG = 200  # of a line that nobody would read; `--json` has it


def verdict_text(source: Source, verdict: Verdict) -> str:
    """The status, title and place of a check in one line; below it what refutes it, or why it is not proved.

    A check marked `refuted` that is not begins with NOT REFUTED.
    """
    line, column = source.line_column(verdict.span.start)
    status = verdict.outcome
    if verdict.expected_refuted:
        status = "refuted (as it should be)" if verdict.passed else f"NOT REFUTED, but {verdict.outcome}:"
    lines = [f"{status:<10} {verdict.title}  ({source.name}:{line}:{column})"]
    if verdict.status != "proved":
        lines.append(f"           {verdict.detail}")
    if verdict.mend:
        lines.append(f"           {verdict.mend}")
    lines.extend(f"           {difference}" for difference in verdict.differences if len(difference) <= LONG)
    if verdict.expected_refuted and not verdict.passed:
        lines.append("           the file says that this is refuted: mend the formula, or leave out the word")
    return "\n".join(lines)


def verdict_json(source: Source, verdict: Verdict) -> dict[str, Any]:
    """A verdict as JSON values."""
    line, column = source.line_column(verdict.span.start)
    counterexample = None
    if verdict.counterexample is not None:
        counterexample = {k: _plain(v) for k, v in asdict(verdict.counterexample).items()}
    return {
        "title": verdict.title,
        "status": verdict.outcome,
        "passed": verdict.passed,
        "expected_refuted": verdict.expected_refuted,
        "detail": verdict.detail,
        "points": verdict.points,
        "counterexample": counterexample,
        "differences": list(verdict.differences),
        "mend": verdict.mend or None,
        "line": line,
        "column": column,
    }


def _plain(value: Any) -> Any:
    """Numbers of any kind as floats, the rest as it is."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return float(value)
