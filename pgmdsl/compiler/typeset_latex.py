r"""Formulas in LaTeX, for math mode: standard commands and those of amsmath."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from pgmdsl.compiler.notation import POWER, PRODUCT, RELATION, Notation, Piece, name_parts
from pgmdsl.compiler.typeset_walk import typeset, typeset_terms
from pgmdsl.grammar.syntax import Expression

_OWN_NAMES = {
    "energy": "E",
    "log_joint": r"\log p^{*}",
    "bound": r"\mathcal{L}",
    "pi": r"\pi",
    "rest": r"\mathrm{rest}",
}
_FUNCTIONS = {
    "sigmoid": r"\sigma",
    "exp": r"\exp",
    "log": r"\log",
    "tanh": r"\tanh",
    "free_energy": "F",
    "poisson": r"\mathrm{Poisson}",
    "categorical": r"\mathrm{Categorical}",
    "entropy": "H",
    "log_normal_cdf": r"\log \Phi",
}
_ESCAPES = {
    **{c: "\\" + c for c in "#$%&_{}"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
}


def latex(expression: Expression) -> str:
    r"""The formula in LaTeX, for math mode: `\sigma\left(a_{1\,j} + \sum_{i} W_{1\,ij} v_{i}\right)`."""
    return typeset(expression, Latex())


def latex_name(name: str) -> str:
    """A name with its trailing number as a subscript: `W_{1}`."""
    return Latex().named(name)


def latex_terms(expression: Expression) -> list[str]:
    """The terms of a sum with their signs, between which a line may break."""
    return typeset_terms(expression, Latex())


def latex_pieces(formula: str) -> list[str]:
    """A formula cut before the signs at which a line may break, its brackets of a size that does not pair them."""
    pieces, depth, start = [], 0, 0
    for match in re.finditer(r"\\begin|\\end|[{}]| (?=[+-] )", formula):
        sign = match.group()
        depth += (sign in ("{", "\\begin")) - (sign in ("}", "\\end"))
        if sign == " " and not depth:
            pieces.append(formula[start : match.start()])
            start = match.start()
    pieces.append(formula[start:])
    return [re.sub(r"\\(left|right)(?=[(|)])", _fixed, piece) for piece in pieces] if len(pieces) > 1 else [formula]


def _fixed(match: re.Match[str]) -> str:
    return r"\bigl" if match.group(1) == "left" else r"\bigr"


class Latex(Notation):
    r"""A trailing number stands before the indices, other names are upright: `W_{1\,ij}`, `\mathrm{b\_y}_{k}`."""

    minus = "-"
    stacks_fractions = True
    log_likelihood = r"\log p"
    relations: ClassVar[Mapping[str, str]] = {
        "=": "=", "==": "=", "!=": r"\neq", "<": "<", "<=": r"\leq", ">": ">", ">=": r"\geq",
    }  # fmt: skip

    def number(self, text: str) -> Piece:
        """`0.5`; a power of ten for an exponent."""
        mantissa, _, exponent = text.lower().partition("e")
        if not exponent:
            return Piece(text)
        power = f"10^{{{exponent.lstrip('+')}}}"
        return Piece(power, POWER) if mantissa == "1" else Piece(rf"{mantissa} \cdot {power}", PRODUCT)

    def named(self, name: str) -> str:
        """One letter in italics, a word upright, a trailing number as a subscript."""
        return _OWN_NAMES.get(name) or _subscripted(name, [])

    def layer(self, name: str) -> str:
        """Bold, as a vector."""
        return _OWN_NAMES.get(name) or _subscripted(name, [], bold=True)

    def entry(self, name: str, indices: list[str]) -> str:
        r"""`W_{1\,ij}`."""
        return _subscripted(name, indices)

    def quoted(self, value: str) -> str:
        """As text in quotation marks."""
        return rf"\text{{``{escaped(value)}''}}"

    def parens(self, text: str) -> str:
        """In parentheses, as tall as the text."""
        return _fenced("(", text, ")")

    def braces(self, text: str) -> str:
        """In braces."""
        return rf"\{{{text}\}}"

    def bars(self, text: str) -> str:
        """Between bars."""
        return rf"\left|{text}\right|"

    def root(self, text: str) -> str:
        """Under a root sign."""
        return rf"\sqrt{{{text}}}"

    def transpose(self, text: str) -> str:
        """With a raised T."""
        return rf"{text}^{{\top}}"

    def times(self, left: str, right: str) -> str:
        """Side by side, with a dot before a number and a thin space before a parenthesis or a word."""
        if right[0].isdigit():
            return rf"{left} \cdot {right}"
        return rf"{left} \, {right}" if right.startswith(("(", r"\left(", r"\mathrm{")) else f"{left} {right}"

    def quotient(self, left: str, right: str) -> Piece:
        """A fraction."""
        return Piece(rf"\frac{{{left}}}{{{right}}}", PRODUCT)

    def power(self, base: str, exponent: Piece) -> str:
        """Raised."""
        return f"{base}^{{{exponent.text}}}"

    def cases(self, value: str, condition: str, otherwise: str) -> Piece:
        """With a brace."""
        rows = rf"{value} & \text{{if }} {condition} \\ {otherwise} & \text{{otherwise}}"
        return Piece(rf"\begin{{cases}} {rows} \end{{cases}}", RELATION)

    def apply(self, function: str, arguments: str) -> str:
        r"""`\sigma(x)`."""
        name = _FUNCTIONS.get(function) or rf"\mathrm{{{escaped(function)}}}"
        return name + _fenced("(", arguments, ")")

    def normal(self, mean: str, variance: str) -> str:
        r"""`\mathcal{N}(m, s^{2})`."""
        return r"\mathcal{N}" + _fenced("(", f"{mean}, {variance}", ")")

    def probability(self, function: str, event: str, given: str | None) -> str:
        r"""`p(h = 1 \mid v)`; with a label for the probability of counts."""
        name = r"p_{\mathrm{counts}}" if function == "counts p" else function
        return name + _fenced("(", event if given is None else rf"{event} \mid {given}", ")")

    def average(self, text: str, *, label: str = "", given: str | None = None) -> str:
        r"""`\langle v_{i} h_{j} \rangle_{\mathrm{data}}`."""
        inner = text if given is None else rf"{text} \mid {given}"
        below = rf"_{{{_word(label)}}}" if label else ""
        return _fenced(r"\langle ", inner, r" \rangle") + below

    def derivative(self, text: str, variable: str) -> Piece:
        """A fraction."""
        return Piece(rf"\frac{{\partial {text}}}{{\partial {variable}}}", PRODUCT)

    def divergence(self, left: str, right: str) -> str:
        """With a double bar."""
        return r"\mathrm{KL}" + _fenced("(", rf"{left} \,\|\, {right}", ")")

    def softmax(self, index: str, body: str, at: str | None) -> str:
        """The index, then the entry, below."""
        entry = "" if at is None else f"_{{{at}}}"
        return rf"\mathrm{{softmax}}_{{{index}}}" + _fenced("(", body, ")") + entry

    def indices_below(self, names: list[str], condition: str | None) -> str:
        """The indices, or the condition where it begins with the only one."""
        if condition is None:
            return _joined(names)
        alone = len(names) == 1 and condition.startswith(f"{names[0]} ")
        return condition if alone else rf"{_joined(names)} \,:\, {condition}"

    def states_below(self, layers: list[str]) -> str:
        """The layers, bold."""
        return ", ".join(layers)

    def big(self, kind: str, below: str, body: str) -> str:
        """A sum or product sign."""
        return rf"\{kind}_{{{below}}} {body}"


def escaped(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    return "".join(_ESCAPES.get(c, c) for c in text)


def _fenced(opening: str, text: str, closing: str) -> str:
    r"""Brackets that grow where the text is tall."""
    tall = re.search(r"\\(sum|prod|frac|left|begin)(?![A-Za-z])", text)
    return rf"\left{opening}{text}\right{closing.strip()}" if tall else f"{opening}{text}{closing}"


def _word(text: str, bold: bool = False) -> str:
    """One letter in italics, a word upright; a vector bold."""
    if bold:
        return rf"\mathbf{{{escaped(text)}}}"
    return text if len(text) == 1 else rf"\mathrm{{{escaped(text)}}}"


def _joined(items: list[str]) -> str:
    """Indices side by side, with thin spaces where one is more than a sign."""
    return ("" if all(len(item) == 1 for item in items) else r"\,").join(items)


def _subscripted(name: str, indices: list[str], bold: bool = False) -> str:
    stem, digits = name_parts(name)
    below = r"\,".join(part for part in (digits, _joined(indices)) if part)
    return _word(stem, bold) + (f"_{{{below}}}" if below else "")
