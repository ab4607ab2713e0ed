"""Text to syntax tree: each statement and each entry of a block parsed by itself, every mistake reported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgmdsl.grammar.complaints import Failure, complaint, unknown_statement
from pgmdsl.grammar.diagnostics import Diagnostic, Diagnostics
from pgmdsl.grammar.source import Source, Span
from pgmdsl.grammar.split import Piece, edge_tokens, split
from pgmdsl.grammar.syntax import (
    DataBlock,
    EdgeDeclaration,
    Expression,
    File,
    Identifier,
    Option,
    Phase,
    Statement,
    TrainBlock,
    UnitDeclaration,
)
from pgmdsl.grammar.tokens import Token, tokenize
from pgmdsl.grammar.wellformed import (
    bound_problem,
    check_expression,
    check_statement,
    edge_problem,
    missing_block,
    repeated_unit_entry,
    reserved_layer,
    unknown_block,
    unknown_unit_entry,
)
from pgmdsl.grammar.words import HEADS, PHASES, UNIT_ENTRIES

if TYPE_CHECKING:
    from lark import Lark, UnexpectedToken

_BLOCKS = ("unit", "data", "train")
_RULE_OF_HEAD = {"visible": "layer", "hidden": "layer", "given": "layer", "ebm": "version"}
_EDGE_BEGINNINGS = frozenset({"-", "<", "*", "~>", "->"})
_STARTS = (
    *("version", "model", "layer", "edge", "check", "unit", "data", "train"),
    *("phase", "entry", "param", "support", "unit_energy", "statistic", "expr"),
)


@cache
def _parser() -> Lark:
    """The parser's tables, made once in a process from ebm.lark."""
    from lark import Lark, Transformer
    from lark import Token as LarkToken
    from lark.lexer import Lexer

    from pgmdsl.grammar.build import reductions

    class Feed(Lexer):
        """Hands over our own tokens under the names that lark gave to the literals of the grammar."""

        def __init__(self, conf: Any) -> None:
            self.names = {t.pattern.value: t.name for t in conf.terminals}
            self.names |= {"name": "NAME", "number": "NUMBER", "text": "TEXT"}

        def lex(self, data: Any) -> Iterator[LarkToken]:  # type: ignore[override]
            for token in data:
                kind = self.names.get(token.kind, token.kind)
                yield LarkToken(kind, token.text, token.span.start, end_pos=token.span.end)

    class Callbacks(Transformer[Any, Any]):
        """The rules' reductions."""

    for name, method in reductions().items():
        setattr(Callbacks, name, staticmethod(lambda children, method=method: method(*children)))
    text = (Path(__file__).parent / "ebm.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", lexer=Feed, start=list(_STARTS), transformer=Callbacks())


def parse_expression(text: str) -> Expression:
    """One expression. Raises `ModelError` (whose source is called `<expression>`) if it is none."""
    source = Source("<expression>", text)
    diagnostics = Diagnostics(source)
    tokens = tokenize(source, diagnostics)
    whole = Piece(list(tokens.tokens), broken=bool(diagnostics.found))
    found: Expression | None = _Parser(diagnostics).rule("expr", whole, tokens.tokens)
    if found is not None:
        check_expression(found, diagnostics)
    diagnostics.raise_errors()
    assert found is not None
    return found


def parse_file(source: Source, diagnostics: Diagnostics) -> File:
    """The syntax tree of a source. What is amiss is added to `diagnostics`, and left out of the tree.

    A file of an unknown version of the language is not looked at further.
    """
    tokens = tokenize(source, diagnostics)
    pieces = split(tokens, diagnostics)
    whole = Span(0, len(source.text))
    if (other := _other_version(pieces)) is not None:
        diagnostics.found.clear()
        diagnostics.add("E015", other.span, f"this file is of version {other.text} of the language; this is version 1",
                        "a newer pgmdsl may read it; for version 1 write ebm 1, or nothing")  # fmt: skip
        return File((), tokens.comments, span=whole)
    parser = _Parser(diagnostics)
    statements = tuple(s for s in map(parser.statement, pieces) if s is not None)
    return File(statements, tokens.comments, span=whole)


def _other_version(pieces: Sequence[Piece]) -> Token | None:
    """The number after `ebm`, where it is not 1."""
    for piece in pieces:
        match piece.tokens:
            case [Token("name", "ebm"), Token("number", text) as number] if text != "1":
                return number
    return None


class _Parser:
    """Pieces to statements. What has a mistake already is parsed in silence."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        self.diagnostics = diagnostics

    def statement(self, piece: Piece) -> Statement | None:
        """One statement, or None where it has a mistake."""
        head = piece.tokens[0]
        word = head.text if head.kind == "name" else ""
        if word in HEADS and len(piece.tokens) > 1 and piece.tokens[1].kind in _EDGE_BEGINNINGS:
            self.report(piece, reserved_layer(head))
            return None
        if word in _BLOCKS:
            return self.block(piece)
        if piece.opening is not None:
            self.report(piece, unknown_block(piece))
            return None
        if word in HEADS:
            rule = _RULE_OF_HEAD.get(word, word)
            found = self.rule(rule, piece, _with_head(piece.tokens))
        elif word and _looks_like_edge(piece.tokens):
            found = self.edge(piece)
        else:
            self.report(piece, unknown_statement(piece))
            return None
        return check_statement(replace(found, span=piece.span), self.diagnostics) if found else None

    def rule(self, rule: str, piece: Piece, tokens: Sequence[Token]) -> Any:
        """The node that a rule of the grammar makes of these tokens, or None after reporting why not."""
        if piece.deep:
            return None
        from lark.exceptions import UnexpectedToken

        try:
            node = _parser().parse(list(tokens), start=rule)
        except UnexpectedToken as problem:
            self.report(piece, complaint(_failure(rule, tokens, problem)))
            return None
        return node

    def report(self, piece: Piece, diagnostic: Diagnostic) -> None:
        """Report a mistake of a piece, if it is its first."""
        if not piece.broken:
            self.diagnostics.found.append(diagnostic)
        piece.broken = True

    def edge(self, piece: Piece) -> EdgeDeclaration | None:
        """An edge, whose operators fit together."""
        tokens = edge_tokens(piece.tokens)
        if problem := edge_problem(tokens):
            self.report(piece, problem)
            return None
        found: EdgeDeclaration | None = self.rule("edge", piece, tokens)
        return found

    # --- blocks

    def block(self, piece: Piece) -> Statement | None:
        """A unit, data or train block."""
        kind = piece.tokens[0].text
        header = self.rule(kind, piece, _with_head(piece.tokens))
        if piece.opening is None and not piece.broken:
            self.report(piece, missing_block(piece))
        match kind:
            case "unit":
                found: Statement = self.unit(header, piece)
            case "data":
                found = DataBlock(header, self.entries(piece.body), span=piece.span)
            case _:
                found = TrainBlock(tuple(self.train_items(piece.body)), span=piece.span)
        if header is None and kind != "train":
            return None
        return check_statement(found, self.diagnostics)

    def entries(self, pieces: Sequence[Piece]) -> tuple[Option, ...]:
        """The entries `key = value` of a block."""
        found = []
        for piece in pieces:
            if piece.opening is not None:
                self.report(piece, unknown_block(piece))
            elif (entry := self.rule("entry", piece, piece.tokens)) is not None:
                found.append(entry)
        return tuple(found)

    def train_items(self, pieces: Sequence[Piece]) -> Iterator[Option | Phase]:
        """The defaults and phases of a train block."""
        for piece in pieces:
            if piece.opening is None:
                if len(piece.tokens) == 1 and piece.tokens[0].text in PHASES:
                    self.report(piece, missing_block(piece))
                yield from self.entries([piece])
                continue
            header: Phase | None = self.rule("phase", piece, piece.tokens)
            entries = self.entries(piece.body)
            if header is not None:
                yield replace(header, entries=entries, span=piece.span)

    def unit(self, name: Identifier | None, piece: Piece) -> UnitDeclaration:
        """A unit type; each of its entries may stand once, `param` several times."""
        found: dict[str, Any] = {"param": ()}
        for entry in piece.body:
            head = entry.tokens[0]
            if head.text not in UNIT_ENTRIES or entry.opening is not None:
                self.report(entry, unknown_unit_entry(entry))
                continue
            if head.text in found and head.text != "param":
                self.report(entry, repeated_unit_entry(head, name))
                continue
            if head.text == "param" and (problem := bound_problem(entry.tokens)):
                self.report(entry, problem)
                continue
            rule = "unit_energy" if head.text == "energy" else head.text
            node = self.rule(rule, entry, _with_head(entry.tokens))
            found[head.text] = found["param"] + (node or ()) if head.text == "param" else node
        variable, support, lower = found.get("support") or (None, None, None)
        return UnitDeclaration(
            name or Identifier("?"),
            found["param"],
            variable,
            support,
            lower,
            found.get("energy"),
            found.get("statistic"),
            span=piece.span,
        )


def _looks_like_edge(tokens: Sequence[Token]) -> bool:
    """Whether an operator of edges follows the first name, and this is no equation."""
    return len(tokens) > 1 and tokens[1].kind in _EDGE_BEGINNINGS and all(t.kind != "==" for t in tokens)


def _with_head(tokens: Sequence[Token]) -> list[Token]:
    """Tokens for the grammar: the first one is a keyword, and so is `greedy` in a check's `in greedy h`."""
    head, *rest = tokens
    out = [replace(head, kind=head.text)]
    for token in rest:
        soft = head.text == "check" and token.text == "greedy" and out[-1].kind == "in"
        out.append(replace(token, kind="greedy") if soft else token)
    return out


def _failure(rule: str, tokens: Sequence[Token], problem: UnexpectedToken) -> Failure:
    """Where and why the grammar refused these tokens, and what it would have taken there."""
    at = len(tokens) if problem.token.type == "$END" else 0
    while at < len(tokens) and tokens[at].span.start != problem.token.start_pos:
        at += 1
    token = tokens[at] if at < len(tokens) else None
    state = _parser().parse_interactive(list(tokens[:at]), start=rule)
    state.exhaust_lexer()
    literals = {t.name: str(t.pattern.value) for t in _parser().terminals}
    literals |= {"NAME": "name", "NUMBER": "number", "TEXT": "text", "$END": "end"}
    expected = frozenset(literals[name] for name in state.accepts())  # type: ignore[no-untyped-call]
    end = tokens[-1].span.end if tokens else 0
    return Failure(rule, token, tokens[:at], expected, Span(end, end + 1))
