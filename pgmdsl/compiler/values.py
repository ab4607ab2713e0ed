"""Values of settings, evaluated by walking the tree: numbers, arithmetic in sizes, `epoch`, `step`, `progress`."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.syntax import (
    Binary,
    Call,
    Compare,
    Conditional,
    Expression,
    Name,
    Negate,
    Number,
)

FUNCTIONS: dict[str, Callable[[float], float]] = {
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "abs": abs,
}
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": operator.pow,
}
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def evaluate(expression: Expression, names: Mapping[str, float]) -> float:
    """The value of a setting where `names` have these values.

    Raises `Error` for a name that has no value, or arithmetic without a finite real result (1/0, log(-1)).
    """
    try:
        value = _walk(expression, names)
        finite = not isinstance(value, complex) and math.isfinite(value)
    except (ZeroDivisionError, OverflowError, ValueError) as problem:
        raise Error(f"the setting has no finite value here: {problem}") from None
    if not finite:
        raise Error(f"the setting has no finite value here: {value}")
    return value


def _walk(node: Expression, names: Mapping[str, float]) -> float:
    match node:
        case Number():
            return float(node.text)
        case Name(name):
            if name == "pi":
                return math.pi
            if name not in names:
                raise Error(f"{name} has no value in a setting")
            return names[name]
        case Negate(operand):
            return -_walk(operand, names)
        case Binary(op, left, right):
            a, b = _walk(left, names), _walk(right, names)
            if op == "^" and abs(b) > 1000:
                raise OverflowError("the exponent is too large")
            return _ARITHMETIC[op](a, b)
        case Compare(op, left, right) if op in _COMPARE:
            return float(_COMPARE[op](_walk(left, names), _walk(right, names)))
        case Conditional(value, condition, otherwise):
            return _walk(value if _walk(condition, names) else otherwise, names)
        case Call(function, (argument,)) if function in FUNCTIONS:
            return FUNCTIONS[function](_walk(argument, names))
        case _:
            raise Error("this is not a value of a setting")
