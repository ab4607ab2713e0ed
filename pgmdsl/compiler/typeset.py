"""Formulas in Unicode: one line, readable in a terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from pgmdsl.compiler.notation import ATOM, POWER, PRODUCT, RELATION, Notation, Piece, name_parts
from pgmdsl.compiler.typeset_walk import typeset, typeset_terms
from pgmdsl.grammar.syntax import Expression

_LOW = "₀₁₂₃₄₅₆₇₈₉ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ"
_SUBSCRIPTS = str.maketrans("0123456789aehijklmnoprstuvx", _LOW)
_SUPERSCRIPTS = str.maketrans("0123456789−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_OWN_NAMES = {"energy": "E", "log_joint": "log p*", "bound": "ℒ", "pi": "π"}
_FUNCTIONS = {
    "sigmoid": "σ",
    "free_energy": "F",
    "poisson": "Poisson",
    "categorical": "Categorical",
    "entropy": "H",
    "log_normal_cdf": "log Φ",
}


def unicode_text(expression: Expression) -> str:
    """The formula as one line of Unicode: `σ(a₁[j] + Σᵢ W₁[i,j] v[i])`."""
    return typeset(expression, Unicode())


def unicode_name(name: str) -> str:
    """A name as the file has it, a trailing number as its subscript: `W₁`, `b_y`."""
    return Unicode().named(name)


def unicode_terms(expression: Expression) -> list[str]:
    """The terms of a sum with their signs, between which a line may break."""
    return typeset_terms(expression, Unicode())


class Unicode(Notation):
    """Subscripts where Unicode has them, brackets for the indices of entries as in a model file."""

    minus = "−"
    stacks_fractions = False
    log_likelihood = "log p"
    relations: ClassVar[Mapping[str, str]] = {
        "=": "=", "==": "=", "!=": "≠", "<": "<", "<=": "≤", ">": ">", ">=": "≥",
    }  # fmt: skip

    def number(self, text: str) -> Piece:
        """`0.5`; a power of ten for an exponent."""
        mantissa, _, exponent = text.lower().partition("e")
        if not exponent:
            return Piece(text)
        power = "10" + exponent.lstrip("+").replace("-", self.minus).translate(_SUPERSCRIPTS)
        return Piece(power, POWER) if mantissa == "1" else Piece(f"{mantissa} · {power}", PRODUCT)

    def named(self, name: str) -> str:
        """As in the file, a trailing number as a subscript."""
        if name in _OWN_NAMES:
            return _OWN_NAMES[name]
        stem, digits = name_parts(name)
        return stem + digits.translate(_SUBSCRIPTS)

    def layer(self, name: str) -> str:
        """A layer is written by its name."""
        return self.named(name)

    def entry(self, name: str, indices: list[str]) -> str:
        """`W₁[i,j]`."""
        return f"{self.named(name)}[{','.join(indices)}]"

    def quoted(self, value: str) -> str:
        """In quotation marks."""
        return f"“{value}”"

    def parens(self, text: str) -> str:
        """In parentheses."""
        return f"({text})"

    def braces(self, text: str) -> str:
        """In braces."""
        return f"{{{text}}}"

    def bars(self, text: str) -> str:
        """Between bars."""
        return f"|{text}|"

    def root(self, text: str) -> str:
        """`√x`."""
        return f"√{text}" if text.isalnum() else f"√({text})"

    def transpose(self, text: str) -> str:
        """`Wᵀ`."""
        return f"{text}ᵀ"

    def times(self, left: str, right: str) -> str:
        """A space, or a dot where a space could be misread: before a number or a parenthesis."""
        clear = not right[0].isdigit() and (right[0] != "(" or left[-1] == ")")
        return f"{left} {right}" if clear else f"{left} · {right}"

    def quotient(self, left: str, right: str) -> Piece:
        """On one line."""
        if (left, right) == ("1", "2"):
            return Piece("½", PRODUCT)
        return Piece(f"{left}/{right}", PRODUCT, slashed=True)

    def power(self, base: str, exponent: Piece) -> str:
        """`x²`, `x^(a + b)`."""
        if re.fullmatch(r"−?[0-9]+", exponent.text):
            return base + exponent.text.translate(_SUPERSCRIPTS)
        return f"{base}^{exponent.text if exponent.level == ATOM else self.parens(exponent.text)}"

    def cases(self, value: str, condition: str, otherwise: str) -> Piece:
        """In words."""
        return Piece(f"{value} if {condition} else {otherwise}", RELATION)

    def apply(self, function: str, arguments: str) -> str:
        """`σ(x)`."""
        return f"{_FUNCTIONS.get(function, function)}({arguments})"

    def normal(self, mean: str, variance: str) -> str:
        """`𝒩(m, s²)`."""
        return f"𝒩({mean}, {variance})"

    def probability(self, function: str, event: str, given: str | None) -> str:
        """`p(h = 1 | v)`; `p_counts(words)` for the probability of counts."""
        name = "p_counts" if function == "counts p" else function
        return f"{name}({event})" if given is None else f"{name}({event} | {given})"

    def average(self, text: str, *, label: str = "", given: str | None = None) -> str:
        """`⟨v[i] h[j]⟩_data`."""
        inner = text if given is None else f"{text} | {given}"
        return f"⟨{inner}⟩" + (f"_{label}" if label else "")

    def derivative(self, text: str, variable: str) -> Piece:
        """`∂E/∂W[i,j]`."""
        return Piece(f"∂{text}/∂{variable}", PRODUCT, slashed=True)

    def divergence(self, left: str, right: str) -> str:
        """`KL(q ‖ p)`."""
        return f"KL({left} ‖ {right})"

    def softmax(self, index: str, body: str, at: str | None) -> str:
        """`softmaxₖ(a[k])` is entry k of the softmax over k."""
        return f"softmax{self.indices_below([index], None)}({body})" + ("" if at is None else f"[{at}]")

    def indices_below(self, names: list[str], condition: str | None) -> str:
        """`ᵢⱼ`, `ₖ₂`, `_{site}`, or `_{m ≠ j}`."""
        if condition is None:
            signs = all(len(n) == 1 for n in names) or (len(names) == 1 and names[0][1:].isdigit())
            return _below("".join(names)) if signs else f"_{{{','.join(names)}}}"
        alone = len(names) == 1 and condition.startswith(f"{names[0]} ")
        return f"_{{{condition}}}" if alone else f"_{{{','.join(names)}: {condition}}}"

    def states_below(self, layers: list[str]) -> str:
        """`_{h}`: braces set the states of a layer apart from an index."""
        return f"_{{{', '.join(layers)}}}"

    def big(self, kind: str, below: str, body: str) -> str:
        """`Σᵢ a[i]`."""
        return f"{'Σ' if kind == 'sum' else 'Π'}{below} {body}"


def _below(signs: str) -> str:
    """Signs as a subscript where Unicode has all of them, else after `_`, in braces where there are several."""
    low = "".join(c if c in _LOW else c.translate(_SUBSCRIPTS) for c in signs)
    if all(c in _LOW for c in low):
        return low
    return f"_{signs}" if len(signs) == 1 else f"_{{{','.join(signs)}}}"
