"""Text to tokens and comments, with the habits of other languages noted on the way."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from pgmdsl.grammar.diagnostics import Diagnostics
from pgmdsl.grammar.source import Source, Span
from pgmdsl.grammar.syntax import Comment
from pgmdsl.grammar.words import OPERATOR_WORDS

MAX_DIGITS = 100
MAX_EXPONENT = 300
ADDITIVE = frozenset({"+", "-"})
COMPARISONS = frozenset({"<", "<=", ">", ">=", "==", "!="})
EDGE_OPERATORS = frozenset({"--", "->", "<-", "~>"})
OPERATORS = ADDITIVE | COMPARISONS | EDGE_OPERATORS | {"*", "/", "^"}
_CONTINUES_AFTER = OPERATORS | {":", ",", "=", "|", "if", "else", "for"}
_CONTINUES_BEFORE = OPERATORS | {"if", "else", "for", "|"}


@dataclass(frozen=True, slots=True)
class Token:
    """A token. `kind` is `name`, `number`, `text`, or the symbol or word itself; `first`: it begins its line."""

    kind: str
    text: str
    span: Span
    first: bool = False


@dataclass(frozen=True, slots=True)
class Tokens:
    """All tokens and comments of a text, and the places of those tokens that were not the language's."""

    tokens: tuple[Token, ...]
    comments: tuple[Comment, ...]
    broken: frozenset[int]


def line_continues(before: Token, after: Token) -> bool:
    """Whether a newline between these two tokens ends nothing, by the tokens alone."""
    return before.kind in _CONTINUES_AFTER or after.kind in _CONTINUES_BEFORE


_TOKEN = re.compile(
    r"""
      (?P<space>   [ \t]+ )
    | (?P<newline> \n )
    | (?P<comment> \#[^\n]* )
    | (?P<number>  [0-9]+ (?:\.[0-9]+)? (?:[eE][+-]?[0-9]+)? (?![\w.]) )
    | (?P<name>    [A-Za-z][A-Za-z0-9_]* (?!\w) )
    | (?P<text>    "[^"\n]*" )
    | (?P<prime>   (?<=[A-Za-z0-9_)\]']) ' )
    | (?P<habit>   \*\* | // [^\n]* | /\*[^\n]* | ; | ~(?!>) | && | \|\| )
    | (?P<symbol>  <= | >= | == | != | -> | ~> | [-+*/^<>=:,|(){}\[\]] )
    """,
    re.VERBOSE,
)
_BAD_NUMBER = re.compile(r"\.?[0-9][\w.]*|\.[0-9]+")
_WORD = re.compile(r"\w+")
_CURLY = re.compile(r"[\u201c\u201d\u201e\u00ab][^\u201c\u201d\u00bb\"\n]*[\u201c\u201d\u00bb\"]?")

_HABITS: dict[str, tuple[str, str]] = {
    "**": ("^", "a power is written ^, as in x^2"),
    ";": ("newline", "a statement ends with its line; entries in braces are separated by newlines or commas"),
    "~": ("~>", "an undirected edge is written --, a recognition edge ~>, a layer's unit type follows a colon"),
    "&&": ("*", "conditions are single comparisons"),
    "||": ("|", "a single | separates what is given, as in p(h | v)"),
    "\u2013": ("-", "write - for minus, -- for an edge"),
    "\u2014": ("-", "write - for minus, -- for an edge"),
    "\u2010": ("-", "write - for minus, -- for an edge"),
    "\u2011": ("-", "write - for minus, -- for an edge"),
    "\u2212": ("-", "minus is the - of the keyboard"),
    "\u00d7": ("*", "a product is written *"),
    "\u00b7": ("*", "a product is written *"),
    "\u22c5": ("*", "a product is written *"),
    "\u00f7": ("/", "a quotient is written /"),
    "\u2264": ("<=", "write <="),
    "\u2265": (">=", "write >="),
    "\u2260": ("!=", "write !="),
    "\u2192": ("->", "write ->"),
    "\u2190": ("<-", "write <-"),
    "\u2032": ("'", "a transpose is written with the ' of the keyboard"),
    "\u2211": ("name", "a sum is written sum(... for i)"),
    "\u220f": ("name", "a product over an index is written prod(... for i)"),
    "\u221a": ("name", "a square root is written sqrt(...)"),
    "\u2208": ("in", "write in"),
    "\u00b2": ("", "a power is written ^2"),
    "\u00b3": ("", "a power is written ^3"),
}
_CHARACTER_HELP = {
    "\\": "a line goes on by itself inside brackets, and after or before an operator",
    "!": "the opposite of == is written !=",
    "%": "a share is written as a fraction: 0.1 for 10 %",
    ".": 'a dot stands in numbers, as in 0.5; the name of a file stands in double quotes: "data.npz"',
    "\u00a0": "this is a no-break space: put an ordinary one",
    "`": 'text stands in double quotes: "..."',
}


class _Tokenizer:
    """One pass over a text. A mistake is reported, replaced by what was probably meant, and noted in `broken`."""

    def __init__(self, source: Source, diagnostics: Diagnostics) -> None:
        self.text = source.text
        self.diagnostics = diagnostics
        self.tokens: list[Token] = []
        self.comments: list[Comment] = []
        self.broken: set[int] = set()
        self.first = True

    def run(self) -> Tokens:
        """All tokens."""
        position = 0
        while position < len(self.text):
            match = _TOKEN.match(self.text, position)
            position = self.mend(position) if match is None else self.take(match)
        return Tokens(tuple(self.tokens), tuple(self.comments), frozenset(self.broken))

    def take(self, match: re.Match[str]) -> int:
        """Record one well-formed token, and return where it ends."""
        kind, text, span = match.lastgroup, match.group(), Span(*match.span())
        match kind:
            case "newline":
                self.first = True
            case "comment":
                self.comments.append(
                    Comment(text.rstrip(), self.first, span=Span(span.start, span.start + len(text.rstrip())))
                )
            case "name":
                self.add(text if text in OPERATOR_WORDS else "name", text, span)
            case "number":
                self.number(text, span)
            case "text":
                self.add("text", text, span)
            case "symbol" | "prime":
                self.add(text, text, span)
            case "habit":
                return self.habit(text, span)
            case _:
                pass
        return span.end

    def add(self, kind: str, text: str, span: Span) -> None:
        """Append a token."""
        self.tokens.append(Token(kind, text, span, self.first))
        self.first = False

    def bad(self, code: str, span: Span, message: str, help: str | None, kind: str, text: str) -> int:
        """Report a mistake and put a token in its place (none if `kind` is empty)."""
        self.diagnostics.add(code, span, message, help)
        self.broken.add(span.start)
        if kind:
            self.add(kind, text, span)
        return span.end

    def number(self, text: str, span: Span) -> None:
        """Record a number, if its value can be one of a double-precision number's."""
        mantissa, _, exponent = text.lower().partition("e")
        if len(mantissa) > MAX_DIGITS or len(exponent) > 8 or (exponent and abs(int(exponent)) > MAX_EXPONENT):
            help = f"at most {MAX_DIGITS} digits, and an exponent between -{MAX_EXPONENT} and {MAX_EXPONENT}"
            self.bad("E009", span, "this number is too long or too large", help, "number", "1")
        else:
            self.add("number", text, span)

    def habit(self, text: str, span: Span) -> int:
        """Report an operator of another language."""
        if text.startswith(("//", "/*")):
            return self.bad("E017", Span(span.start, span.start + 2), f"`{text[:2]}` begins no comment here",
                            "a comment begins with #", "", "") + len(text) - 2  # fmt: skip
        replacement, help = _HABITS[text]
        if replacement == "newline":
            self.bad("E017", span, f"`{text}` is not part of the language", help, "", "")
            self.first = True
            return span.end
        return self.bad("E017", span, f"`{text}` is not part of the language", help, replacement, replacement)

    def mend(self, at: int) -> int:
        """Report what is no token of the language, and return where to go on."""
        character = self.text[at]
        if match := _BAD_NUMBER.match(self.text, at):
            return self.bad_number(match.group(), Span(*match.span()))
        if character in "\"'":
            return self.quote(at)
        if match := _CURLY.match(self.text, at):
            inner = match.group().strip(_QUOTES)
            return self.bad("E006", Span(*match.span()), "text stands between straight double quotes",
                            f'write "{inner}"', "text", f'"{inner}"')  # fmt: skip
        if character in _HABITS:
            return self.habit(character, Span(at, at + 1))
        if match := _WORD.match(self.text, at):
            return self.bad_name(match.group(), Span(*match.span()))
        shown = f"`{character}`" if character.isprintable() and character != "`" else f"U+{ord(character):04X}"
        return self.bad("E005", Span(at, at + 1), f"the character {shown} is not part of the language",
                        _CHARACTER_HELP.get(character), "", "")  # fmt: skip

    def bad_number(self, text: str, span: Span) -> int:
        """Report `.5`, `5.`, `2x`, `1.2.3`."""
        if re.fullmatch(r"\.[0-9]+(?:[eE][0-9]+)?", text):
            return self.bad(
                "E009", span, f"a number begins with a digit: {text}", f"write 0{text}", "number", f"0{text}"
            )
        if re.fullmatch(r"[0-9]+\.", text):
            return self.bad("E009", span, f"a number ends with a digit: {text}", f"write {text}0 or {text[:-1]}",
                            "number", text[:-1])  # fmt: skip
        if match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]\w*)", text):
            help = f"a product is written {match[1]}*{match[2]}; a name begins with a letter"
        else:
            help = "write it as in 12, 0.5 or 1e-3"
        return self.bad("E009", span, f"this is no number: {text}", help, "number", "1")

    def quote(self, at: int) -> int:
        """Report text in single quotes, or text without its closing quote."""
        mark = self.text[at]
        line = self.text[at:].split("\n", 1)[0]
        end = line.find(mark, 1)
        if mark == "'" and end > 0:
            inner = line[1:end]
            return self.bad("E006", Span(at, at + end + 1), "text stands between double quotes",
                            f'write "{inner}"', "text", f'"{inner}"')  # fmt: skip
        if mark == "'":
            help = "a transpose follows its name directly, as in W1'; text stands in double quotes"
            return self.bad("E006", Span(at, at + 1), "a single quote stands alone here", help, "", "")
        content = line[1:].rstrip()
        self.bad("E006", Span(at, at + len(content) + 1), "this text is not closed",
                 'close it with " on the same line', "text", f'"{content}"')  # fmt: skip
        return at + len(line)

    def bad_name(self, text: str, span: Span) -> int:
        """Report a name with other letters than those of ASCII, or that begins with `_`."""
        if text.isascii():
            help = f"write {text.strip('_')}" if text.strip("_") else "names begin with a letter"
            return self.bad("E020", span, f"a name begins with a letter: {text}", help, "name", "x" + text)
        if match := re.fullmatch(r"([A-Za-z]\w*)([²³])", text):
            help = f"a power is written {match[1]}^{unicodedata.digit(match[2])}"
            return self.bad("E017", span, f"`{match[2]}` is not part of the language", help, "name", match[1])
        spelled = "".join(c if c.isascii() else _spell(c) for c in text)
        help = "names have the letters a-z and A-Z, digits and _"
        if spelled.isascii() and spelled[:1].isalpha():
            help += f", for example {spelled}"
        return self.bad("E020", span, f"the name {text} has a letter that is not ASCII", help, "name", spelled)


_QUOTES = '\u201c\u201d\u201e\u00ab\u00bb"'


def _spell(character: str) -> str:
    """`beta` for a Greek letter, the plain letter for one with an accent."""
    if match := re.fullmatch(r"GREEK (SMALL|CAPITAL) (?:LETTER )?(\w+)", unicodedata.name(character, "")):
        return match[2].lower() if match[1] == "SMALL" else match[2].capitalize()
    plain = unicodedata.normalize("NFKD", character)[0]
    return plain if plain.isascii() else character


def tokenize(source: Source, diagnostics: Diagnostics) -> Tokens:
    """The tokens and comments of a source; what is not of the language is reported (E005, E006, E009, E017, E020)."""
    return _Tokenizer(source, diagnostics).run()
