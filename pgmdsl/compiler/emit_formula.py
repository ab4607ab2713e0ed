"""Scalar formulas as Python source, for a kernel's loop or for whole NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pgmdsl.compiler.plan import identifier
from pgmdsl.compiler.rewrite import walk
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.format import format_expression
from pgmdsl.grammar.syntax import Binary, Call, Compare, Conditional, Expression, Index, Name, Negate, Number

Style = Literal["kernel", "double", "array"]

# Source of each function in each style, {} being its argument: scalars of the model's type in functions that vectorise,
# float64 scalars, arrays.
_FUNCTIONS: Mapping[Style, Mapping[str, str]] = {
    "kernel": {name: f"{name}({{}})" for name in ("abs", "exp", "log", "sigmoid", "softplus", "sqrt", "tanh")},
    "double": {
        "abs": "abs({})",
        "exp": "exp64({})",
        "log": "math.log({})",
        "sigmoid": "sigmoid64({})",
        "softplus": "softplus64({})",
        "sqrt": "math.sqrt({})",
        "tanh": "math.tanh({})",
        "factorial": "exp64(log_factorial({}))",
        "log_normal_cdf": "log_normal_cdf({})",
    },
    "array": {
        "abs": "np.abs({})",
        "exp": "np.exp({})",
        "log": "np.log({})",
        "sigmoid": "np.exp(-np.logaddexp(0.0, -({})))",
        "softplus": "np.logaddexp(0.0, {})",
        "sqrt": "np.sqrt({})",
        "tanh": "np.tanh({})",
    },
}
_PI: Mapping[Style, str] = {"kernel": "Real(np.pi)", "double": "math.pi", "array": "np.pi"}
_ATOM, _POWER, _SIGN, _PRODUCT, _SUM = 4, 3, 2, 1, 0
_STRENGTH = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT}


def print_formula(formula: Expression, names: Mapping[str, str], style: Style) -> str:
    """Python source for a formula whose names stand for these pieces of source.

    `kernel`: scalars, every number of the model's type, functions of the generated file that vectorise. `double`:
    float64 scalars, all functions. `array`: NumPy arrays.

    Raises:
        Error: for what has no source in this style.
    """
    return _print(formula, names, style)[0]


def needs_double(formula: Expression) -> bool:
    """Whether a formula uses a function that kernels have in float64 only."""
    return any(isinstance(node, Call) and node.function not in _FUNCTIONS["kernel"] for node in walk(formula))


def number(value: float, style: Style) -> str:
    """A number as source: of the model's type in kernels, where mixed types would widen the arithmetic."""
    return f"Real({float(value)!r})" if style == "kernel" else repr(float(value))


def assigned(name: str) -> str:
    """A name from the model as a Python string."""
    return f'"{identifier(name)}"'


def _print(formula: Expression, names: Mapping[str, str], style: Style) -> tuple[str, int]:
    """The source and how strongly its outermost operation binds."""
    match formula:
        case Number():
            return number(float(formula.value), style), _ATOM
        case Name("pi"):
            return _PI[style], _ATOM
        case Name(name) if name in names:
            return names[name], _ATOM
        case Index(name, (Name("k"),)) if name in names:  # an entry of a site's vector, in a formula for every entry
            return names[name], _ATOM
        case Negate(operand):
            return f"-{_at_least(operand, _SIGN, names, style)}", _SIGN
        case Binary("^", left, right):
            return _power(left, right, names, style)
        case Binary(op, left, right) if op in _STRENGTH:
            strength = _STRENGTH[op]
            first = _at_least(left, strength, names, style)
            second = _at_least(right, strength + 1, names, style)
            return f"{first} {op} {second}", strength
        case Conditional(value, condition, otherwise):
            parts = [_print(part, names, style)[0] for part in (condition, value, otherwise)]
            shape = "np.where({0}, {1}, {2})" if style == "array" else "({1} if {0} else {2})"
            return shape.format(*parts), _ATOM
        case Compare(op, left, right) if op != "=":
            return f"{_at_least(left, _SUM, names, style)} {op} {_at_least(right, _SUM, names, style)}", _SUM - 1
        case Call("log", (Call("factorial", (argument,)),)) if style == "double":
            return f"log_factorial({_print(argument, names, style)[0]})", _ATOM
        case Call(function, (argument,), None, None, (), None) if function in _FUNCTIONS[style]:
            return _FUNCTIONS[style][function].format(_print(argument, names, style)[0]), _ATOM
        case _:
            raise Error(f"kernels cannot compute {format_expression(formula)}")


def _power(base: Expression, exponent: Expression, names: Mapping[str, str], style: Style) -> tuple[str, int]:
    """Small whole powers as products, others as powers."""
    factor = _at_least(base, _ATOM, names, style)
    if isinstance(exponent, Number) and exponent.value in (2, 3):
        return " * ".join([factor] * int(exponent.value)), _PRODUCT
    if isinstance(exponent, Number) and exponent.value.denominator == 1:
        return f"{factor} ** {int(exponent.value)}", _POWER
    return f"{factor} ** {_at_least(exponent, _ATOM, names, style)}", _POWER


def _at_least(formula: Expression, strength: int, names: Mapping[str, str], style: Style) -> str:
    """The source, in parentheses unless it binds at least so strongly."""
    text, found = _print(formula, names, style)
    return text if found >= strength else f"({text})"
