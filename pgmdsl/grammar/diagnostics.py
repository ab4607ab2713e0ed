"""Diagnostics: what is wrong in a model file, where, and what would mend it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal

from pgmdsl.grammar.source import Source, Span

MAX_SHOWN = 100


class Error(Exception):
    """The base class of every mistake of a user's that pgmdsl reports. `str(error)` is the whole message."""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem of a model file.

    `code` is stable (`E013`), `message` one sentence in the file's own names, `help` what would mend it.
    """

    code: str
    message: str
    span: Span
    help: str | None = None
    severity: Literal["error", "warning"] = "error"


@dataclass
class Diagnostics:
    """The problems found so far in one source, in the order found; passed along the stages of one compilation."""

    source: Source
    found: list[Diagnostic] = field(default_factory=list)

    def add(self, code: str, span: Span, message: str, help: str | None = None) -> None:
        """Record an error."""
        self.found.append(Diagnostic(code, message, span, help))

    def warn(self, code: str, span: Span, message: str, help: str | None = None) -> None:
        """Record a warning: the file still compiles."""
        self.found.append(Diagnostic(code, message, span, help, "warning"))

    @property
    def errors(self) -> list[Diagnostic]:
        """The errors among the problems found."""
        return [d for d in self.found if d.severity == "error"]

    def raise_errors(self) -> None:
        """Raise `ModelError` with everything found, if an error is among it."""
        if self.errors:
            raise ModelError(self.source, tuple(self.sorted()))

    def sorted(self) -> list[Diagnostic]:
        """The problems by place in the file."""
        return sorted(self.found, key=lambda d: (d.span.start, d.span.end, d.code))


class ModelError(Error):
    """A model file with mistakes; `diagnostics` holds all of them, `str()` shows the first 100 with carets."""

    def __init__(self, source: Source, diagnostics: tuple[Diagnostic, ...]) -> None:
        """Keep the source, so that the message can show its lines."""
        self.source = source
        self.diagnostics = diagnostics
        shown = [render(source, d) for d in diagnostics[:MAX_SHOWN]]
        if len(diagnostics) > MAX_SHOWN:
            shown.append(f"and {len(diagnostics) - MAX_SHOWN} more")
        super().__init__("\n\n".join(shown))


def suggest(word: str, known: list[str]) -> str | None:
    """`did you mean ...?` for the known word closest to this one, or None."""
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else None


def render(source: Source, diagnostic: Diagnostic) -> str:
    """The diagnostic as text: code, message, place, the source line with its first bad place underlined, help.

    Of a source without text (a file that cannot be read) there is no line to show.
    """
    if not source.text:
        head = f"{diagnostic.severity}[{diagnostic.code}]: {diagnostic.message}"
        return f"{head}\n  = help: {diagnostic.help}" if diagnostic.help else head
    line, column = source.line_column(diagnostic.span.start)
    text = source.line_text(line)
    width = max(1, min(diagnostic.span.end - diagnostic.span.start, len(text) - column + 1))
    gutter = " " * (len(str(line)) + 1)
    shown, shift = _window(text, column)
    out = [
        f"{diagnostic.severity}[{diagnostic.code}]: {diagnostic.message}",
        f"{gutter}--> {source.name}:{line}:{column}",
        f"{gutter} |",
        f" {line} | {shown}".rstrip(),
        f"{gutter} | {' ' * (column - 1 - shift)}{'^' * max(1, min(width, len(shown) + shift - column + 1))}",
    ]
    if diagnostic.help:
        out.append(f"{gutter} = help: {diagnostic.help}")
    return "\n".join(out)


def as_json(source: Source, diagnostics: Sequence[Diagnostic]) -> list[dict[str, str | int | None]]:
    """The diagnostics as plain data: lines and columns are 1-based, the end is the first place after the span."""
    out: list[dict[str, str | int | None]] = []
    for diagnostic in diagnostics:
        line, column = source.line_column(diagnostic.span.start)
        end_line, end_column = source.line_column(diagnostic.span.end)
        out.append(
            {
                "code": diagnostic.code,
                "severity": diagnostic.severity,
                "message": diagnostic.message,
                "help": diagnostic.help,
                "file": source.name,
                "line": line,
                "column": column,
                "end_line": end_line,
                "end_column": end_column,
            }
        )
    return out


def _window(text: str, column: int, width: int = 120) -> tuple[str, int]:
    """At most `width` characters of a line around a column, with control characters blanked, and how many were cut."""
    start = 0 if column <= width - 20 else column - width // 2
    clean = "".join(c if c.isprintable() else " " for c in text[start : start + width])
    return clean, start
