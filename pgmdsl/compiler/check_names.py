"""Names of a model file: which are taken, and what was meant by one that is unknown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pgmdsl.grammar.diagnostics import Diagnostics, suggest
from pgmdsl.grammar.source import Source, Span
from pgmdsl.grammar.syntax import File, Identifier


class MistakeError(Exception):
    """One mistake in a file, on its way to the diagnostics: code, place, message, help."""

    def __init__(self, code: str, span: Span, message: str, help: str | None = None) -> None:
        """Keep what a diagnostic needs."""
        super().__init__(message)
        self.code, self.span, self.message, self.help = code, span, message, help
        self.name: str | None = None

    @classmethod
    def unknown(cls, name: str, span: Span, problem: str, known: Iterable[str]) -> MistakeError:
        """The mistake that `name` has this problem ("is not a layer"), with what may be meant instead."""
        names = list(known)
        listed = f"known here: {', '.join(names)}" if 0 < len(names) <= 12 else None
        mistake = cls("E011", span, f"{name} {problem}", suggest(name, names) or listed)
        mistake.name = name
        return mistake


@dataclass
class Scope:
    """The names that the statements seen so far introduce, and the diagnostics they report to.

    `broken` holds the words of statements that did not parse: a name among them is not called unknown, because its
    declaration may be what did not parse.
    """

    diagnostics: Diagnostics
    broken: frozenset[str]
    declared: dict[str, tuple[str, Span]] = field(default_factory=dict)

    def record(self, mistake: MistakeError) -> None:
        """Report a mistake, once, unless it may be the consequence of a statement that did not parse."""
        known = any(
            (d.code, d.span, d.message) == (mistake.code, mistake.span, mistake.message) for d in self.diagnostics.found
        )
        if not known and (mistake.name is None or mistake.name not in self.broken):
            self.diagnostics.add(mistake.code, mistake.span, mistake.message, mistake.help)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Report a mistake raised inside, and go on after the block."""
        try:
            yield
        except MistakeError as mistake:
            self.record(mistake)

    def declare(self, name: Identifier, what: str) -> bool:
        """Introduce a name; report one that is reserved or taken. Whether it is introduced."""
        try:
            self.verify_free(name.name, name.span, what)
        except MistakeError as mistake:
            self.record(mistake)
            return False
        self.declared[name.name] = (what, name.span)
        return True

    def verify_free(self, name: str, place: Span, what: str) -> None:
        """Raise `MistakeError` for a name that another declaration has, or that says something else in a data block.

        The parser sees to the reserved words.
        """
        if name == "weights" and what == "layer":
            message = "a layer cannot be called weights, because data weights { ... } gives the cases' weights"
            raise MistakeError("E030", place, message, "choose another name")
        if name in self.declared:
            other, first = self.declared[name]
            line, _ = self.diagnostics.source.line_column(first.start)
            again = "declared twice" if other == what else f"already the name of a {other}"
            raise MistakeError("E012", place, f"{name} is {again}", f"the first is on line {line}; rename one of them")


def broken_words(source: Source, file: File) -> frozenset[str]:
    """The words of the text that no parsed statement and no comment covers."""
    covered = sorted((node.span.start, node.span.end) for node in (*file.statements, *file.comments))
    words: set[str] = set()
    position = 0
    for start, end in [*covered, (len(source.text), len(source.text))]:
        if start > position:
            words.update(re.findall(r"[A-Za-z]\w*", source.text[position:start]))
        position = max(position, end)
    return frozenset(words)
