"""What the parser found amiss, in words: what stands there, what was expected, and what would mend it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgmdsl.grammar.diagnostics import Diagnostic, suggest
from pgmdsl.grammar.source import Span
from pgmdsl.grammar.split import Piece
from pgmdsl.grammar.tokens import COMPARISONS, Token
from pgmdsl.grammar.words import HEADS, OPERATOR_WORDS

_FORMS = {
    "version": "the version is written: ebm 1",
    "model": "the model line is written: model NAME(D = 784, F = 500)",
    "layer": "a layer is written: visible v : binary[D] bias b",
    "edge": "an edge is written: v -- h : W",
    "check": 'a check is written: check "title": left == right',
    "unit": "a unit type is written: unit NAME { support ... energy ... statistic ... }",
    "data": 'a data block is written: data v { file = "images.npy" }',
    "train": "a train block is written: train { fit { epochs = 10 } }",
    "phase": "a phase is written: fit { epochs = 10 }",
    "entry": "an entry is written: key = value",
    "param": "parameters are written: param gp > 0, tp",
    "support": "a support is written: support x in {0, 1}, or in real, real >= 0, integers >= 0",
    "unit_energy": "the energy is an expression in the support's variable: energy x^2/2",
    "statistic": "the statistic is an expression in the support's variable: statistic x",
}
_HEADERS = frozenset({"unit", "data", "train", "phase"})
_NOUNS = {
    "version": "version line",
    "model": "model line",
    "layer": "layer",
    "unit": "unit type",
    "data": "data block",
    "unit_energy": "energy",
    "param": "parameter list",
    "expr": "expression",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Where the parser stopped: the rule, the token (None at the end), those before, and the literals it would take.

    `expected` has the kinds of tokens: `name`, `number`, `text`, a symbol or word itself, or `end`.
    """

    rule: str
    token: Token | None
    before: Sequence[Token]
    expected: frozenset[str]
    end: Span

    @property
    def last(self) -> Token | None:
        """The token before the place."""
        return self.before[-1] if self.before else None


def complaint(failure: Failure) -> Diagnostic:
    """The diagnostic for a place where the parser stopped."""
    token = failure.token
    form = _FORMS.get(failure.rule)
    if token is None:
        noun = _NOUNS.get(failure.rule, failure.rule)
        message = f"this {noun} ends too early: expected {expected_words(failure)}"
        return Diagnostic("E019", message, failure.end, _end_hint(failure) or form)
    if token.kind in OPERATOR_WORDS and "name" in failure.expected:
        message = f"{token.text} is a keyword of the language and cannot be a name here"
        return Diagnostic("E016", message, token.span, form)
    message = f"found {shown(token)}, expected {expected_words(failure)}"
    return Diagnostic("E010", message, token.span, _hint(failure, token) or form)


def shown(token: Token) -> str:
    """A token as a message names it."""
    match token.kind:
        case "name":
            return token.text
        case "number":
            return f"the number {token.text}"
        case "text":
            return f"the text {token.text}" if len(token.text) <= 40 else "a quoted text"
        case _:
            return f"`{token.text}`"


def expected_words(failure: Failure) -> str:
    """`a value`, or `an operator, `,` or `)``: what might have stood at the place."""
    kinds = failure.expected
    words: list[str] = []
    rest = set(kinds)
    if {"name", "number", "("} <= kinds:
        words.append("a value")
        rest -= {"name", "number", "text", "(", "-", "counts"}
    elif "+" in kinds:
        words.append("an operator")
        rest -= {"+", "-", "*", "/", "^", "'", "(", "[", "if", "for", "over", "under", "at", "|"}
        if kinds >= COMPARISONS:
            rest -= COMPARISONS
    for kind, word in (("name", "a name"), ("number", "a number"), ("text", "a title in double quotes")):
        if kind in rest:
            words.append(word)
    if failure.rule in _HEADERS:
        rest -= {"'", "(", "["}
    words += sorted(f"`{kind}`" for kind in rest - {"name", "number", "text", "end"})
    if "end" in rest:
        words.append("`{`" if failure.rule in _HEADERS else "the end of the line")
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _end_hint(failure: Failure) -> str | None:
    """Help for a statement that stopped before it was complete."""
    match failure.rule, failure.last:
        case _, Token("if" | "else" | "for" | "|" | ":" | "," | "="):
            return None
        case "check", _ if "==" in failure.expected:
            return "a check states an equation: left == right"
        case _, _ if "else" in failure.expected:
            return "a conditional has both sides: a if x > 0 else b"
        case _:
            return None


def _hint(failure: Failure, token: Token) -> str | None:
    """Help for an unexpected token, where it looks like a known habit or slip."""
    return _habit_hint(failure, token) or _statement_hint(failure, token)


def _habit_hint(failure: Failure, token: Token) -> str | None:
    """Slips in expressions."""
    last = failure.last.kind if failure.last else ""
    match last, token.kind:
        case _, "=" if "==" in failure.expected:
            return "equality is written ==; a single = stands in options, and in events inside p(...)"
        case _, "==" if "=" in failure.expected:
            return "a value is given with a single ="
        case (("<" | "<=" | ">" | ">=" | "==" | "!="), _) if token.kind in COMPARISONS:
            return "this is not a comparison of the language: < <= > >= == !="
        case _, "if" if "==" in failure.expected:
            return "on the left of ==, put a conditional in parentheses"
        case _, "==" if failure.rule == "check" and "where" in failure.expected:
            return "a check has one ==: write a check for each equation"
        case _, kind if kind in COMPARISONS and "+" in failure.expected and "name" not in failure.expected:
            return "compare two values at a time, inside a condition"
        case _, "+" if "-" in failure.expected and "name" in failure.expected:
            return "a number has no + before it"
        case "'", "[":
            return "swap the indices instead of transposing an entry: W[j,i] is W'[i,j]"
        case (("name" | "number" | ")" | "]"), ("name" | "number" | "(")) if "+" in failure.expected:
            return _adjacent_hint(token)
        case "=", "{" if failure.rule == "entry":
            return "several values stand between commas: freeze = W1, b"
        case _, "{":
            return "a set in braces stands after support x in; blocks are unit NAME { }, data LAYER { } and train { }"
        case _:
            return None


def _adjacent_hint(token: Token) -> str:
    """Two values side by side."""
    match token.text:
        case "and" | "or" | "not":
            return "conditions are single comparisons"
        case "mod" | "div":
            return "the operators are + - * / ^"
        case _:
            return "a product is written with *"


def _statement_hint(failure: Failure, token: Token) -> str | None:
    """Slips in the form of statements."""
    match failure.rule, token.kind:
        case "layer", "(" if "[" in failure.expected:
            return "sizes stand in square brackets: binary[D]"
        case "layer", "(" | "=" if failure.last and failure.last.kind == "name":
            return "a layer's unit type follows a colon: visible v : binary[D]"
        case "entry", ":" if "=" in failure.expected:
            return "an entry is written with =, as in rate = 0.05"
        case _, "name" if token.text in HEADS and "end" in failure.expected:
            return "begin a new line for the next statement"
        case _, "name" if "end" in failure.expected and token.first is False and failure.rule in {"edge", "layer"}:
            near = suggest(token.text, ["bias"]) if "bias" in failure.expected else None
            return near or "begin a new line for the next statement"
        case _:
            return None


def unknown_statement(piece: Piece) -> Diagnostic:
    """The diagnostic for a line that begins like no statement."""
    head = piece.tokens[0]
    second = piece.tokens[1] if len(piece.tokens) > 1 else None
    if head.kind == "name" and (near := suggest(head.text, list(HEADS))):
        return Diagnostic("E014", f"unknown statement {head.text}", head.span, near)
    if head.kind == "where":
        help = "where stands on the line where the equation ends; break the line after a comma or an operator"
    elif any(t.kind == "==" for t in piece.tokens):
        help = 'an equation stands in a check: check "title": left == right'
    elif second is not None and second.kind == "=":
        help = f"{head.text} = ... is an entry of a block: data LAYER {{ }} or train {{ }}"
    elif second is not None and second.kind == ":":
        help = f"say what {head.text} is: visible {head.text} : binary[D], or hidden"
    else:
        help = f"a statement begins with {', '.join(HEADS[:-1])} or {HEADS[-1]}, or is an edge such as v -- h : W"
    found = f"unknown statement {head.text}" if head.kind == "name" else f"a statement cannot begin with {shown(head)}"
    return Diagnostic("E014", found, head.span, help)
