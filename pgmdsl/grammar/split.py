"""Tokens to statements and entries, by bracket and keyword alone, so that one mistake does not hide the others."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from pgmdsl.grammar.diagnostics import Diagnostics
from pgmdsl.grammar.source import Span
from pgmdsl.grammar.tokens import EDGE_OPERATORS, Token, Tokens, line_continues
from pgmdsl.grammar.words import HEADS, UNIT_ENTRIES

MAX_NESTING = 200
_WITHOUT_BLOCK = frozenset(HEADS) - {"unit", "data", "train"}
_CLOSER = {"(": ")", "[": "]", "{": "}"}


@dataclass
class Piece:
    """A statement, or an entry of a block: its tokens and, if it has a block, the pieces between its braces.

    `broken`: a mistake was found in it already, so that what the parser finds amiss may only follow from that.
    `deep`: its brackets are nested too deep to look into it.
    """

    tokens: list[Token] = field(default_factory=list)
    opening: Token | None = None
    body: list[Piece] = field(default_factory=list)
    closing: Token | None = None
    broken: bool = False
    deep: bool = False

    @property
    def span(self) -> Span:
        """From its first token to its last."""
        ends = [(self.tokens[-1] if self.opening is None else self.opening).span.end]
        last: Piece | None = self
        while last is not None:
            ends.append((last.closing or last.opening or last.tokens[-1]).span.end)
            last = last.body[-1] if last.body else None
        return Span(self.tokens[0].span.start, max(ends))


def split(tokens: Tokens, diagnostics: Diagnostics) -> list[Piece]:
    """The statements of a file; brackets that do not match are reported (E007, E008, E018)."""
    return _Splitter(tokens, diagnostics).run()


class _Splitter:
    """One pass over the tokens: `blocks` are the open blocks, `brackets` the open brackets of the present piece."""

    def __init__(self, tokens: Tokens, diagnostics: Diagnostics) -> None:
        self.tokens = tokens.tokens
        self.bad_places = sorted(tokens.broken)
        self.diagnostics = diagnostics
        self.statements: list[Piece] = []
        self.blocks: list[Piece] = []
        self.brackets: list[Token] = []
        self.piece = Piece()
        self.closed_before = False

    def run(self) -> list[Piece]:
        """Split all tokens."""
        for i, token in enumerate(self.tokens):
            if token.first:
                self.begin_line(i)
            elif self.closed_before and token.kind not in {",", "}"}:
                message = f"found {token.text} after a block's closing brace"
                self.diagnostics.add("E010", token.span, message, "begin a new line here")
            self.closed_before = False
            if token.kind in _CLOSER:
                self.open(token)
            elif token.kind in ")]}":
                self.close(token)
            elif token.kind == "," and self.blocks and not self.brackets and self.ends_entry(i):
                self.finish()
            else:
                self.append(token)
        self.close_all()
        return self.statements

    def append(self, token: Token) -> None:
        """Add a token to the present piece."""
        self.piece.tokens.append(token)

    def begin_line(self, i: int) -> None:
        """End the present piece if this newline does, or if a bracket was clearly left open."""
        token = self.tokens[i]
        if begins_statement(self.tokens, i, inside=bool(self.brackets or self.blocks)):
            self.close_all()
        elif self.brackets and self.blocks and self.begins_entry(i):
            self.unclosed(self.brackets[-1])
            self.finish()
        elif not self.brackets and self.piece.tokens and not line_continues(self.piece.tokens[-1], token):
            self.finish()
        elif not self.piece.tokens:
            self.piece = Piece()

    def begins_entry(self, i: int) -> bool:
        """Whether a line inside brackets looks like the next entry of the block, and not like an argument."""
        before, token = self.tokens[i - 1], self.tokens[i]
        if line_continues(before, token) or before.kind in _CLOSER or token.kind != "name":
            return False
        return i + 1 < len(self.tokens) and self.tokens[i + 1].kind == "="

    def finish(self) -> None:
        """The present piece is complete."""
        if self.piece.tokens:
            self.note_broken(self.piece)
            self.container().append(self.piece)
        self.piece = Piece()
        self.brackets = []

    def note_broken(self, piece: Piece) -> None:
        """Carry over what the tokenizer found amiss between the piece's first and last token."""
        start, end = piece.tokens[0].span.start, piece.tokens[-1].span.end
        at = bisect_left(self.bad_places, start)
        piece.broken = piece.broken or (at < len(self.bad_places) and self.bad_places[at] <= end)

    def container(self) -> list[Piece]:
        """Where a complete piece belongs."""
        return self.blocks[-1].body if self.blocks else self.statements

    def open(self, token: Token) -> None:
        """An opening bracket: of an expression, of a set, or of a block."""
        if len(self.brackets) + len(self.blocks) >= MAX_NESTING and not self.piece.deep:
            self.report(
                "E008", token, f"brackets are nested more than {MAX_NESTING} deep", "remove those that change nothing"
            )
            self.piece.deep = True
        is_block = token.kind == "{" and not self.brackets and self.may_have_block()
        header = self.header_of(token) if is_block and not self.piece.deep else None
        if header is None:
            self.brackets.append(token)
            self.append(token)
            return
        header.opening = token
        self.container().append(header)
        self.blocks.append(header)
        self.piece = Piece()

    def may_have_block(self) -> bool:
        """Whether a brace opens the block of the present piece, and not a set in a formula."""
        tokens = self.piece.tokens
        if any(t.kind in {"=", "==", "in", ":"} for t in tokens):
            return False
        return bool(self.blocks) or not tokens or tokens[0].text not in _WITHOUT_BLOCK

    def header_of(self, brace: Token) -> Piece | None:
        """The piece whose block this brace opens, or None after reporting that there is none."""
        if self.piece.tokens:
            self.note_broken(self.piece)
            return self.piece
        before = self.container()
        if brace.first and before and before[-1].opening is None and _wants_block(before[-1], bool(self.blocks)):
            self.report("E018", brace, "a block's opening brace stands on the line of its header",
                        f"write {_shown(before[-1])} {{")  # fmt: skip
            return before.pop()
        help = "blocks are unit NAME { }, data LAYER { }, train { } and its phases"
        self.report("E007", brace, "this brace belongs to no block", help)
        return None

    def close(self, token: Token) -> None:
        """A closing bracket."""
        if self.brackets:
            opened = self.brackets[-1]
            if _CLOSER[opened.kind] == token.kind:
                self.brackets.pop()
                self.append(token)
                return
            if token.kind != "}":
                self.mismatch(token, opened)
                return
            self.unclosed(opened)
        if token.kind != "}":
            self.stray(token)
            return
        if not self.blocks:
            self.brackets = []
            self.stray(token)
            return
        self.finish()
        block = self.blocks.pop()
        block.closing = token
        self.piece = Piece()
        self.closed_before = True

    def report(self, code: str, token: Token, message: str, help: str | None) -> None:
        """Report a mistake with brackets, the first of its piece."""
        if not self.piece.broken:
            self.diagnostics.add(code, token.span, message, help)
        self.piece.broken = True

    def mismatch(self, token: Token, opened: Token) -> None:
        """A bracket closed by one of another kind."""
        message = f"`{opened.kind}` is closed by `{token.kind}` here"
        self.report("E007", token, message, f"close it with {_CLOSER[opened.kind]}")
        self.brackets.pop()
        self.append(token)

    def stray(self, token: Token) -> None:
        """A closing bracket where nothing is open."""
        self.report("E007", token, f"`{token.kind}` closes nothing that is open", "remove it")

    def unclosed(self, opened: Token) -> None:
        """An opening bracket without its closing one."""
        self.report("E007", opened, f"this `{opened.kind}` is not closed", f"add {_CLOSER[opened.kind]} where it ends")

    def close_all(self) -> None:
        """Report what is open, and end every piece."""
        if self.brackets:
            self.unclosed(self.brackets[-1])
        self.finish()
        if self.blocks:
            opened = self.blocks[-1].opening
            assert opened is not None
            self.unclosed(opened)
            self.piece = Piece()
        self.blocks = []

    def ends_entry(self, i: int) -> bool:
        """Whether the comma at i separates two entries, and not two values of one entry."""
        following = self.tokens[i + 1 : i + 3]
        if not following or following[0].kind == "}" or not self.piece.tokens:
            return True
        head = self.blocks[-1].tokens[0].text
        if head == "unit":
            return following[0].text in UNIT_ENTRIES
        if following[0].kind != "name" or len(following) < 2:
            return False
        after = following[1]
        return after.kind in {"=", "{"} or (after.kind in {"name", "number"} and not after.first)


def _wants_block(piece: Piece, inside: bool) -> bool:
    """Whether a piece looks like the header of a block."""
    return inside or piece.tokens[0].text in {"train", "data", "unit"}


def _shown(piece: Piece) -> str:
    """A header, as the file has it, words apart."""
    return " ".join(t.text for t in piece.tokens)


def begins_statement(tokens: Sequence[Token], i: int, *, inside: bool) -> bool:
    """Whether a line that begins with token i can only be the beginning of a statement.

    That of an edge can also go on with an edge of the line before, but not inside brackets.
    """
    head = tokens[i]
    kinds = [t.kind for t in tokens[i + 1 : i + 3]] + ["", ""]
    match head.text:
        case "visible" | "hidden" | "given":
            return kinds[:2] == ["name", ":"]
        case "ebm":
            return kinds[0] == "number"
        case "check":
            return kinds[0] == "text"
        case "model":
            return kinds[0] == "name"
        case "unit" | "data":
            return kinds[:2] == ["name", "{"]
        case "train":
            return kinds[0] == "{"
        case _:
            return inside and head.kind == "name" and _begins_edge(tokens, i)


def _begins_edge(tokens: Sequence[Token], i: int) -> bool:
    """Whether `name OP name ... :` stands at i."""
    i += 1
    while i < len(tokens) and tokens[i].kind in {"-", "<", "*", "->", "~>"}:
        while i < len(tokens) and tokens[i].kind in {"-", "<", "*", "->", "~>"}:
            i += 1
        if i >= len(tokens) or tokens[i].kind != "name":
            return False
        i += 1
        if i < len(tokens) and tokens[i].kind == ":":
            return True
    return False


def edge_tokens(tokens: Sequence[Token]) -> list[Token]:
    """The tokens of an edge, with `--` and `<-` outside of brackets made one token each."""
    out: list[Token] = []
    depth = 0
    for token in tokens:
        depth += (token.kind in _CLOSER) - (token.kind in ")]}")
        joined = out[-1].text + token.text if out else ""
        if depth == 0 and joined in EDGE_OPERATORS and out[-1].span.end == token.span.start:
            before = out.pop()
            token = Token(joined, joined, before.span.to(token.span), before.first)
        out.append(token)
    return out
