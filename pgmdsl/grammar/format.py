"""The canonical layout of model files and of formulas.

A file keeps its tokens (but for the commas between entries of a block), its comments, and the places of both to
each other; spaces, columns and line breaks are ours. What a file means therefore cannot change.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Sequence
from itertools import groupby

from pgmdsl.grammar.diagnostics import Diagnostics
from pgmdsl.grammar.formula import format_expression
from pgmdsl.grammar.layout import WIDTH, Line, statement_lines
from pgmdsl.grammar.source import Source
from pgmdsl.grammar.split import Piece, edge_tokens, split
from pgmdsl.grammar.syntax import Comment, File
from pgmdsl.grammar.tokens import Token, tokenize
from pgmdsl.grammar.words import HEADS

__all__ = ["format_expression", "format_file"]

_COMMENT_COLUMN_LIMIT = 80


def format_file(source: Source, file: File) -> str:
    """The text of a file in canonical layout. The file must have been parsed from this source without an error.

    Formatting what it gives changes nothing, and its syntax tree is that of the file. Successive layers, edges and
    entries are aligned, blank lines collapse to one, lines are at most 100 columns where the language lets them
    break. A block stays on one line if it stood on one, fits, and holds no comments.
    """
    pieces = split(tokenize(source, Diagnostics(source)), Diagnostics(source))
    lines = _Formatter(source, file.comments).items(pieces, file.comments, "file", 0)
    return _text(lines)


class _Formatter:
    """Pieces and the comments around and inside them to lines."""

    def __init__(self, source: Source, comments: Sequence[Comment]) -> None:
        self.source = source
        self.comments = comments

    def items(self, pieces: Sequence[Piece], comments: Sequence[Comment], container: str, indent: int) -> list[Line]:
        """What stands between two braces, or in a file: statements or entries, and the comments."""
        lines: list[Line] = []
        last_row = 0
        starts = [c.span.start for c in comments]
        found: list[Piece | Comment] = [*pieces, *_outside(comments, pieces)]
        for item in sorted(found, key=lambda i: i.span.start):
            row = self.row(item.span.start)
            if isinstance(item, Comment) and not item.own_line and lines and lines[-1].comment is None:
                lines[-1].comment = item.text
                continue
            if isinstance(item, Comment):
                new = [Line(indent, [item.text])]
            else:
                inside = comments[bisect(starts, item.span.start) : bisect(starts, item.span.end)]
                new = self.piece(item, inside, container, indent)
            new[0].blank_before = bool(lines) and row > last_row + 1
            lines += new
            last_row = self.row(item.span.end)
        return lines

    def row(self, offset: int) -> int:
        """The line of an offset."""
        return self.source.line_column(offset)[0]

    def piece(self, piece: Piece, comments: Sequence[Comment], container: str, indent: int) -> list[Line]:
        """A statement or an entry, with its block if it has one."""
        form = _form(piece, container)
        tokens = edge_tokens(piece.tokens) if form == "edge" else piece.tokens
        inside: dict[int, list[Comment]] = {}
        for comment in comments:
            if comment.span.start < tokens[-1].span.start:
                inside.setdefault(sum(t.span.start < comment.span.start for t in tokens) - 1, []).append(comment)
        lines = statement_lines(tokens, form, inside, indent)
        if piece.opening is None or piece.closing is None:
            return lines
        if (inline := self.inline(piece, lines, comments, indent)) is not None:
            return [inline]
        lines[-1].cells[-1] += " {"
        body = [c for c in comments if c.span.start > piece.opening.span.start]
        first = piece.body[0].span.start if piece.body else piece.closing.span.start
        if body and not body[0].own_line and body[0].span.start < first:
            lines[-1].comment = body.pop(0).text
        inner = self.items(piece.body, body, piece.tokens[0].text, indent + 2)
        return [*lines, *inner, Line(indent, ["}"])]

    def inline(self, piece: Piece, header: list[Line], comments: Sequence[Comment], indent: int) -> Line | None:
        """A block on one line, if it stood on one and fits."""
        assert piece.opening is not None
        assert piece.closing is not None
        if comments or len(header) > 1:
            return None
        if piece.body and self.row(piece.opening.span.start) != self.row(piece.closing.span.start):
            return None
        if any(p.opening is not None for p in piece.body):
            return None
        entries = [statement_lines(p.tokens, _form(p, piece.tokens[0].text), {}, 0) for p in piece.body]
        words = ", ".join(" ".join(e[0].cells) for e in entries)
        text = f"{header[0].cells[0]} {{ {words} }}" if words else f"{header[0].cells[0]} {{ }}"
        fits = all(len(e) == 1 for e in entries) and indent + len(text) <= WIDTH
        return Line(indent, [text]) if fits else None


def _outside(comments: Sequence[Comment], pieces: Sequence[Piece]) -> Iterator[Comment]:
    """The comments that stand in none of the pieces."""
    spans = [p.span for p in pieces]
    at = 0
    for comment in comments:
        while at < len(spans) and spans[at].end <= comment.span.start:
            at += 1
        if at == len(spans) or comment.span.start < spans[at].start:
            yield comment


def _form(piece: Piece, container: str) -> str:
    """Which layout a piece has."""
    head: Token = piece.tokens[0]
    if piece.opening is not None:
        return "header"
    if container == "unit":
        return "unit entry"
    if container != "file":
        return "entry"
    if head.text in {"visible", "hidden", "given"}:
        return "layer"
    return head.text if head.text in HEADS else "edge"


# --- lines to text


def _text(lines: list[Line]) -> str:
    """Lines with their columns and comments aligned."""
    texts: list[str] = []
    for _, run in groupby(_numbered_groups(lines), key=lambda pair: pair[0]):
        texts += _aligned([line for _, line in run])
    columns = _comment_columns(lines, texts)
    out = []
    for line, text, column in zip(lines, texts, columns, strict=True):
        if line.blank_before:
            out.append("")
        out.append(text if line.comment is None else f"{text.ljust(column)}  {line.comment}")
    return "".join(f"{text}\n" for text in out)


def _numbered_groups(lines: Sequence[Line]) -> Iterator[tuple[int, Line]]:
    """Lines with the number of the run of alike lines they belong to."""
    number = 0
    before: Line | None = None
    for line in lines:
        alike = before is not None and line.group and (line.group, line.indent) == (before.group, before.indent)
        if not alike or line.blank_before:
            number += 1
        yield number, line
        before = line


def _aligned(run: Sequence[Line]) -> list[str]:
    """Lines of one group with their cells in columns, unless that makes one too long."""
    count = max(len(line.cells) for line in run)
    widths = [max((len(line.cells[i]) for line in run if i < len(line.cells) - 1), default=0) for i in range(count)]
    for padded in (True, False):
        out = []
        for line in run:
            cells = [c.ljust(w) if padded else c for c, w in zip(line.cells[:-1], widths, strict=False)]
            out.append(" " * line.indent + " ".join([*cells, line.cells[-1]]))
        if all(len(text) <= WIDTH for text in out):
            break
    return out


def _comment_columns(lines: Sequence[Line], texts: Sequence[str]) -> list[int]:
    """Where the comments of successive lines begin: in one column, if their lines are not long."""
    runs: list[list[int]] = [[]]
    for i, line in enumerate(lines):
        apart = line.blank_before or (runs[-1] and line.indent != lines[runs[-1][-1]].indent)
        if apart or line.comment is None or len(texts[i]) > _COMMENT_COLUMN_LIMIT:
            runs.append([])
        if line.comment is not None and len(texts[i]) <= _COMMENT_COLUMN_LIMIT:
            runs[-1].append(i)
    columns = [len(t) for t in texts]
    for run in runs:
        widest = max((len(texts[i]) for i in run), default=0)
        for i in run:
            columns[i] = widest
    return columns
