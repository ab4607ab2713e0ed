"""Derivatives of scalar formulas by one name, as formulas of the same language."""

from __future__ import annotations

from collections.abc import Callable

from pgmdsl.compiler.expressions import ONE, ZERO, call
from pgmdsl.compiler.rewrite import walk
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.format import format_expression
from pgmdsl.grammar.syntax import Binary, Call, Conditional, Expression, Name, Negate, Number

_TWO = Number("2")


def differentiate(formula: Expression, name: str) -> Expression:
    """The derivative of a formula by a name that it may hold; terms and factors of 0 and 1 are left out.

    A conditional is differentiated branch by branch: at the bound between the branches it has the derivative of the
    branch that holds there.

    Raises:
        Error: where the name occurs in what has no derivative in the language (`abs`, `factorial`, a sum).
    """
    if not any(node == Name(name) for node in walk(formula)):
        return ZERO
    match formula:
        case Name():
            return ONE
        case Negate(operand):
            return minus(ZERO, differentiate(operand, name))
        case Binary("+", left, right):
            return plus(differentiate(left, name), differentiate(right, name))
        case Binary("-", left, right):
            return minus(differentiate(left, name), differentiate(right, name))
        case Binary("*", left, right):
            return plus(times(differentiate(left, name), right), times(left, differentiate(right, name)))
        case Binary("/", left, right):
            return _quotient(left, right, name)
        case Binary("^", left, right):
            return _power(formula, left, right, name)
        case Conditional(value, condition, otherwise):
            return either(differentiate(value, name), condition, differentiate(otherwise, name))
        case Call(function, (argument,), None, None, (), None) if function in _CHAIN:
            return times(_CHAIN[function](argument), differentiate(argument, name))
        case _:
            raise Error(f"{format_expression(formula)} has no derivative by {name} in closed form")


def plus(left: Expression, right: Expression) -> Expression:
    """The sum, without a term that is 0."""
    match left, right:
        case (_, Number("0")):
            return left
        case (Number("0"), _):
            return right
        case (_, Negate(operand)):
            return minus(left, operand)
        case _:
            return Binary("+", left, right)


def minus(left: Expression, right: Expression) -> Expression:
    """The difference, without a term that is 0."""
    match left, right:
        case (_, Number("0")):
            return left
        case (_, Negate(operand)):
            return plus(left, operand)
        case (Number("0"), _):
            return Negate(right)
        case _:
            return Binary("-", left, right)


def times(left: Expression, right: Expression) -> Expression:
    """The product, without a factor that is 1; 0 where a factor is. Minus signs go outside."""
    match left, right:
        case (Number("0"), _) | (_, Number("0")):
            return ZERO
        case (Negate(first), _):
            return minus(ZERO, times(first, right))
        case (_, Negate(second)):
            return minus(ZERO, times(left, second))
        case (Number("1"), other) | (other, Number("1")):
            return other
        case (Number(), Number()) if (whole := left.value * right.value).denominator == 1:
            return Number(str(whole))
        case (Number(), Binary("*", Number() as factor, other)):
            return times(times(left, factor), other)
        case _:
            return Binary("*", left, right)


def over(left: Expression, right: Expression) -> Expression:
    """The quotient, without a divisor that is 1; 0 over anything is 0. Minus signs go outside."""
    match left:
        case Negate(operand):
            return minus(ZERO, over(operand, right))
        case _:
            return left if left == ZERO or right == ONE else Binary("/", left, right)


def either(value: Expression, condition: Expression, otherwise: Expression) -> Expression:
    """The conditional, or its value where both branches are the same."""
    return value if value == otherwise else Conditional(value, condition, otherwise)


def _quotient(left: Expression, right: Expression, name: str) -> Expression:
    """(u/w)' = u'/w - u w'/w^2."""
    first = over(differentiate(left, name), right)
    return minus(first, over(times(left, differentiate(right, name)), Binary("^", right, _TWO)))


def _power(power: Expression, base: Expression, exponent: Expression, name: str) -> Expression:
    """(u^w)' = w u^(w-1) u' + u^w log(u) w'."""
    lowered: Expression
    match exponent:
        case Number() if exponent.value.denominator == 1 and exponent.value >= 1:
            less = int(exponent.value) - 1
            lowered = base if less == 1 else ONE if less == 0 else Binary("^", base, Number(str(less)))
        case _:
            lowered = Binary("^", base, Binary("-", exponent, ONE))
    first = times(times(exponent, lowered), differentiate(base, name))
    change = differentiate(exponent, name)
    return first if change == ZERO else plus(first, times(times(power, call("log", base)), change))


def _hazard(argument: Expression) -> Expression:
    """exp(-u^2/2 - log_normal_cdf(u)) / sqrt(2 pi), the derivative of log_normal_cdf(u)."""
    square = Binary("/", Binary("^", argument, _TWO), _TWO)
    exponent = Binary("-", Negate(square), call("log_normal_cdf", argument))
    return over(call("exp", exponent), call("sqrt", times(_TWO, Name("pi"))))


def _logistic_slope(argument: Expression) -> Expression:
    sigmoid = call("sigmoid", argument)
    return times(sigmoid, minus(ONE, sigmoid))


# The derivative of each function by its argument.
_CHAIN: dict[str, Callable[[Expression], Expression]] = {
    "exp": lambda u: call("exp", u),
    "log": lambda u: over(ONE, u),
    "sqrt": lambda u: over(ONE, times(_TWO, call("sqrt", u))),
    "sigmoid": _logistic_slope,
    "softplus": lambda u: call("sigmoid", u),
    "tanh": lambda u: minus(ONE, Binary("^", call("tanh", u), _TWO)),
    "log_normal_cdf": _hazard,
}
