"""Scalar formulas as Python source, for a kernel's loop or for whole NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pgmdsl.compiler.plan import identifier
from pgmdsl.grammar.syntax import Binary, Call, Expression, Index, Name, Negate, Number

Style = Literal["kernel", "array"]

_KERNEL_FUNCTIONS = frozenset({"exp", "log", "sigmoid", "softplus", "sqrt", "tanh"})
_ARRAY_FUNCTIONS = frozenset({"exp", "log", "sqrt", "tanh"})
_ATOM, _SIGN, _PRODUCT, _SUM = 3, 2, 1, 0
_STRENGTH = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT}


def print_formula(formula: Expression, names: Mapping[str, str], style: Style) -> str:
    """Python source for a formula whose names stand for these pieces of source.

    `kernel`: scalars, every number of the model's type, functions of the generated file. `array`: NumPy arrays.
    Raises ValueError for anything else than numbers, those names, arithmetic, small powers and known functions.
    """
    return _print(formula, names, style)[0]


def _print(formula: Expression, names: Mapping[str, str], style: Style) -> tuple[str, int]:
    """The source and how strongly its outermost operation binds."""
    match formula:
        case Number():
            return number(float(formula.value), style), _ATOM
        case Name("pi"):
            return ("Real(np.pi)" if style == "kernel" else "np.pi"), _ATOM
        case Name(name) if name in names:
            return names[name], _ATOM
        case Index(name, (Name("k"),)) if name in names:  # an entry of a site's vector, in a formula for every entry
            return names[name], _ATOM
        case Negate(operand):
            return f"-{_at_least(operand, _SIGN, names, style)}", _SIGN
        case Binary("^", left, Number() as power) if power.value in (2, 3):
            factor = _at_least(left, _ATOM, names, style)
            return " * ".join([factor] * int(power.value)), _PRODUCT
        case Binary(op, left, right) if op in _STRENGTH:
            strength = _STRENGTH[op]
            first = _at_least(left, strength, names, style)
            second = _at_least(right, strength + 1, names, style)
            return f"{first} {op} {second}", strength
        case Call(function, (argument,), None, None, (), None) if function in _functions(style):
            prefix = "" if style == "kernel" else "np."
            return f"{prefix}{function}({_print(argument, names, style)[0]})", _ATOM
        case _:
            raise ValueError(f"no kernel code for {formula!r}")


def number(value: float, style: Style) -> str:
    """A number as source: of the model's type in kernels, where mixed types would widen the arithmetic."""
    return f"Real({float(value)!r})" if style == "kernel" else repr(float(value))


def assigned(name: str) -> str:
    """A name from the model as a Python string."""
    return f'"{identifier(name)}"'


def _functions(style: Style) -> frozenset[str]:
    return _KERNEL_FUNCTIONS if style == "kernel" else _ARRAY_FUNCTIONS


def _at_least(formula: Expression, strength: int, names: Mapping[str, str], style: Style) -> str:
    """The source, in parentheses unless it binds at least so strongly."""
    text, found = _print(formula, names, style)
    return text if found >= strength else f"({text})"
