"""How the verdicts of checks are shown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
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


def textbook_text(found: Iterable[tuple[Path, Source, Sequence[Verdict]]]) -> str:
    """The verdicts on the textbook as a table by source and equation, and how many there are of each.

    Formulas that stand in a file of variants beside them, for comparison, are told only where they are not proved.

    Args:
        found: the file, its source and the verdicts on its checks, for each file.
    """
    from pgmdsl.textbook import reference

    by_source: dict[str, list[tuple[str, str, str, Verdict]]] = {}
    counts: Counter[str] = Counter()
    for file, source, verdicts in found:
        variants = file.parent.name == "variants"
        for verdict in verdicts:
            if variants and verdict.status == "proved" and verdict.passed:
                continue
            cited, equation, words = reference(verdict.title)
            place = f"{'variants/' if variants else ''}{file.name}:{source.line_column(verdict.span.start)[0]}"
            by_source.setdefault(cited, []).append((equation, words, place, verdict))
            refuted = verdict.expected_refuted and verdict.passed
            counts["variants refuted, as they should be" if refuted else verdict.outcome] += 1
    lines: list[str] = []
    for cited in sorted(by_source, key=str.lower):
        rows = sorted(by_source[cited], key=lambda row: _natural(row[0]))
        width = max(len(row[0]) for row in rows)
        lines += ["", cited]
        for equation, words, place, verdict in rows:
            told = verdict.outcome if verdict.passed else f"NOT AS IT SHOULD BE, {verdict.outcome}:"
            lines.append(f"  {equation:<{width}}  {told:<7}  {words}  ({place})")
            if verdict.status == "refuted":
                lines += [f"  {'':<{width}}           {line}" for line in _why(verdict)]
    summary = ", ".join(f"{number} {kind}" for kind, number in counts.most_common())
    return "\n".join([*lines[1:], "", summary])


def _why(verdict: Verdict) -> list[str]:
    """Why a check is refuted: the change with which it holds, else the terms that differ, or the numbers."""
    shown = [d for d in verdict.differences if len(d) <= LONG]
    return [verdict.mend] if verdict.mend else shown or [verdict.detail]


def _natural(equation: str) -> list[tuple[int, str]]:
    """Equations in the order in which people number them: 9 before 10, and what has no number last."""
    if not equation:
        return [(10**9, "")]
    return [(int(part), "") if part.isdigit() else (10**6, part) for part in re.findall(r"\d+|\D+", equation)]
