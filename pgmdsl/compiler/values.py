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


def softplus(x: float) -> float:
    """log(1 + exp(x))."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def log_normal_cdf(x: float) -> float:
    """The log of the standard normal distribution function, to double precision however small it is.

    Far below 0, where the function is less than any double, by the continued fraction of Mills's ratio (Abramowitz
    and Stegun 1964, 26.2.14), of which a few steps are exact to rounding there.
    """
    if x > 0:
        return math.log1p(-math.erfc(x / math.sqrt(2)) / 2)
    if x > -30:
        return math.log(math.erfc(-x / math.sqrt(2)) / 2)
    denominator = -x
    for k in range(8, 0, -1):
        denominator = -x + k / denominator
    return -x * x / 2 - math.log(denominator) - math.log(2 * math.pi) / 2


FUNCTIONS: dict[str, Callable[[float], float]] = {
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "abs": abs,
    "tanh": math.tanh,
    "sigmoid": lambda x: math.exp(-softplus(-x)),
    "softplus": softplus,
    "factorial": lambda x: math.gamma(x + 1),
    "log_normal_cdf": log_normal_cdf,
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
        case Call("log", (Call("factorial", (argument,)),)) if (state := _walk(argument, names)) > -1:
            return math.lgamma(state + 1)  # the factorial alone overflows at 171
        case Call(function, (argument,)) if function in FUNCTIONS:
            return FUNCTIONS[function](_walk(argument, names))
        case _:
            raise Error("this is not a value of a setting")
