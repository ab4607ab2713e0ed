"""One statement's tokens to lines: which stand apart, what is aligned with its neighbours, where a long line breaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pgmdsl.grammar.syntax import Comment
from pgmdsl.grammar.tokens import ADDITIVE, COMPARISONS, EDGE_OPERATORS, OPERATORS, Token, line_continues
from pgmdsl.grammar.words import OPERATOR_WORDS

WIDTH = 100
_UNARY_AFTER = OPERATORS | OPERATOR_WORDS | {"(", "[", "{", ",", "=", ":", "|"}
_FORMULA_HEADS = ("energy", "statistic")


@dataclass
class Line:
    """A line of output. Lines in succession with one `group` have their `cells` aligned; `comment` follows."""

    indent: int
    cells: list[str]
    group: str = ""
    comment: str | None = None
    blank_before: bool = False


@dataclass(frozen=True, slots=True)
class _Word:
    """A token as printed: its text, whether a space stands before it, and what it costs to begin a line with it."""

    text: str
    spaced: bool
    cost: int | None


def statement_lines(
    tokens: Sequence[Token], form: str, comments: Mapping[int, Sequence[Comment]], indent: int
) -> list[Line]:
    """The lines of a statement.

    Args:
        tokens: Its tokens, those of a block left out.
        form: `layer`, `edge`, `check`, `entry`, `unit entry`, or something else that is not aligned.
        comments: The comments that stand after the token of this number, and before the statement's last token.
        indent: The columns before it.
    """
    words = _words(tokens, form)
    if not comments and _width(words) <= WIDTH - indent:
        starts = _cell_starts(tokens, form)
        cells = [
            (" " if words[a].text == "bias" else "") + _join(words[a:b])
            for a, b in zip(starts, [*starts[1:], len(words)], strict=True)
        ]
        return [Line(indent, cells, f"{form} {len(starts) if form == 'edge' else ''}" if len(starts) > 1 else "")]
    return _wrapped(words, form, comments, indent)


# --- spaces


def _words(tokens: Sequence[Token], form: str) -> list[_Word]:
    """The tokens with the spaces between them."""
    open_products = form in {"entry", "unit entry"} and not _has_sum(tokens)
    out: list[_Word] = []
    stack: list[str] = []
    unary = False  # whether the token before is a sign
    for i, token in enumerate(tokens):
        if token.kind in {")", "]", "}"} and stack:
            stack.pop()
        before = tokens[i - 1] if i else None
        signs = token.kind == "-" and _is_sign(tokens, i)
        spaced = before is not None and not unary
        if spaced and before is not None:
            depth = len(stack)
            tight = _tight_pair(before, token, form, stack)
            operators = {before.kind, token.kind} & {"*", "/", "^"}
            if operators and not signs:
                products = operators == {"*"} and depth == 0 and (open_products or form == "edge")
                tight = not products
            spaced = not tight
        out.append(_Word(token.text, spaced, _cost(before, token, signs, stack)))
        unary = signs
        if token.kind in {"(", "[", "{"}:
            stack.append(token.kind)
    return out


def _is_sign(tokens: Sequence[Token], i: int) -> bool:
    """Whether the minus at i is a sign and not a difference."""
    return i == 0 or tokens[i - 1].kind in _UNARY_AFTER or (i == 1 and tokens[0].text in _FORMULA_HEADS)


def _has_sum(tokens: Sequence[Token]) -> bool:
    """Whether a sum or difference stands outside of all brackets."""
    depth = 0
    for i, token in enumerate(tokens):
        depth += (token.kind in {"(", "[", "{"}) - (token.kind in {")", "]", "}"})
        if depth == 0 and token.kind in ADDITIVE and not _is_sign(tokens, i):
            return True
    return False


def _tight_pair(before: Token, token: Token, form: str, stack: Sequence[str]) -> bool:
    """Whether two tokens, none of them a product's operator, stand without a space between them."""
    if before.kind in {"(", "[", "{"} or token.kind in {")", "]", "}", ",", "'"}:
        return True
    if token.kind in {"(", "["}:
        return before.kind in {"name", "'", "]"}
    if before.kind == ",":
        return bool(stack) and stack[-1] == "[" and form != "layer"
    return token.kind == ":" and form == "check"


# --- columns


def _cell_starts(tokens: Sequence[Token], form: str) -> list[int]:
    """The tokens with which columns begin that are aligned with those of the neighbouring lines."""
    match form:
        case "layer":
            starts = {0, 1, 2}
            depth = 0
            for i, token in enumerate(tokens):
                depth += (token.kind in {"(", "["}) - (token.kind in {")", "]"})
                if token.kind == "bias" and depth == 0:
                    starts.add(i)
            return sorted(starts)
        case "edge":
            colon = [i for i, t in enumerate(tokens) if t.kind == ":"][:1]
            ends = [1, 2] if tokens[1].kind in EDGE_OPERATORS else []
            return [0, *ends, *colon]
        case "entry" | "unit entry":
            return [0, 1] if len(tokens) > 1 else [0]
        case _:
            return [0]


# --- long lines


def _cost(before: Token | None, token: Token, sign: bool, stack: Sequence[str]) -> int | None:
    """What it costs to begin a line with this token: outer brackets are broken first. None where none may begin."""
    if before is None or (not stack and not line_continues(before, token)):
        return None
    if before.kind == "," or token.kind in COMPARISONS | {"if", "else", "for", "|"}:
        price = 0
    elif token.kind in ADDITIVE and not sign:
        price = 1
    elif token.kind in {"*", "/"} | EDGE_OPERATORS:
        price = 3
    elif before.kind in {"(", ":", "="}:
        price = 5
    else:
        return None
    return 10 * len(stack) + price


def _join(words: Sequence[_Word]) -> str:
    """Words in one line."""
    return "".join((" " if w.spaced and i else "") + w.text for i, w in enumerate(words))


def _width(words: Sequence[_Word]) -> int:
    """The columns of words in one line."""
    return sum(len(w.text) + w.spaced for w in words)


def _wrapped(words: list[_Word], form: str, comments: Mapping[int, Sequence[Comment]], indent: int) -> list[Line]:
    """A statement on several lines: broken after comments, after a check's colon, and where it is too long."""
    ends = set(comments)
    if form == "check":
        ends.add(next(i for i, w in enumerate(words) if w.text == ":"))
    lines: list[Line] = []
    start = 0
    for end in sorted({*ends, len(words) - 1}):
        body = indent + (0 if not lines else 2 if form == "check" and not _in_body(lines, indent) else 4)
        lines += _fill(words[start : end + 1], body, indent + 4)
        start = end + 1
        for comment in comments.get(end, ()):
            if comment.own_line:
                lines.append(Line(indent + 4, [comment.text]))
            else:
                lines[-1].comment = comment.text
    return lines


def _in_body(lines: Sequence[Line], indent: int) -> bool:
    """Whether a line of a check's equation is among the lines."""
    return any(line.indent == indent + 2 for line in lines)


def _fill(words: list[_Word], first: int, rest: int) -> list[Line]:
    """Words in as few lines as their breaks allow."""
    lines = []
    indent = first
    remaining = _width(words)
    start = 0
    while remaining > WIDTH - indent and (cut := _cut(words, start, WIDTH - indent)) is not None:
        lines.append(Line(indent, [_join(words[start:cut])]))
        remaining -= _width(words[start:cut])
        start, indent = cut, rest
    lines.append(Line(indent, [_join(words[start:])]))
    return lines


def _cut(words: Sequence[_Word], start: int, room: int) -> int | None:
    """Where to break words that need more than this room: the cheapest place that fits, the last of equals."""
    best: tuple[int, int] | None = None
    used = 0
    for i in range(start, len(words)):
        cost = words[i].cost
        if i > start and cost is not None and (best is None or (used <= room and cost <= best[0])):
            best = (cost, i)
        used += len(words[i].text) + words[i].spaced
        if used > room and best is not None:
            break
    return best[1] if best else None
