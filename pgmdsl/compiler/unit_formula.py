"""Formulas of one unit worked with exactly: numbers, signs, and polynomials in the state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from math import factorial, isqrt

from pgmdsl.compiler.expressions import ONE, ZERO, Term, product, signed, total
from pgmdsl.compiler.rewrite import rewrite, walk
from pgmdsl.grammar.parse import parse_expression
from pgmdsl.grammar.syntax import Binary, Call, Compare, Conditional, Expression, Name, Negate, Number

X = Name("x")
Linear = Mapping[Expression, Fraction]  # sum of number * formula; numbers alone stand with ONE
Polynomial = Mapping[int, Linear]  # by power of x

_MOST_DIGITS = 6
_MOST_POWER = 64
_ZERO, _UNIT = Fraction(0), Fraction(1)


class NotQuadraticError(Exception):
    """A formula is no polynomial of degree 2 at most in x; `node` is the part that shows it."""

    def __init__(self, node: Expression) -> None:
        """Keep the part."""
        super().__init__()
        self.node = node


def holds_state(node: Expression) -> bool:
    """Whether the formula depends on x."""
    return any(inner == X for inner in walk(node))


def at_state(node: Expression, value: Fraction) -> Expression:
    """The formula where x has this value."""
    return rewrite(node, lambda inner: exact(value) if inner == X else None)


def formula(text: str, parts: Mapping[str, Expression]) -> Expression:
    """A text with these formulas for its names, folded."""
    tree = parse_expression(text)
    return folded(rewrite(tree, lambda node: parts.get(node.name) if isinstance(node, Name) else None))


# --- numbers ---


def exact(value: Fraction) -> Expression:
    """A number: a short decimal where it is one, else a quotient."""
    for digits in range(_MOST_DIGITS + 1):
        scaled = abs(value) * 10**digits
        if scaled.denominator == 1:
            text = str(scaled.numerator).rjust(digits + 1, "0")
            number = Number(f"{text[:-digits]}.{text[-digits:]}" if digits else text)
            return Negate(number) if value < 0 else number
    return Binary("/", exact(Fraction(value.numerator)), Number(str(value.denominator)))


def rational(node: Expression) -> Fraction | None:
    """The value of a folded formula that is a number."""
    match node:
        case Number():
            return node.value
        case Negate(Number() as operand):
            return -operand.value
        case Binary("/", above, Number() as below) if below.value and (value := rational(above)) is not None:
            return value / below.value
        case _:
            return None


def folded(node: Expression) -> Expression:
    """The formula with what is written in numbers worked out, and without superfluous zeros, ones and signs."""
    match node:
        case Negate() | Binary("*" | "/"):
            return _written_product(*_factors(node))
        case Binary("+" | "-" as op, left, right):
            return _folded_sum(folded(left), 1 if op == "+" else -1, folded(right))
        case Binary(_, left, right):
            return _folded_power(folded(left), folded(right))
        case Conditional(value, Compare(op, left, right), otherwise):
            first, second = folded(left), folded(right)
            a, b = rational(first), rational(second)
            if a is not None and b is not None:
                return folded(value if compare(op, a, b) else otherwise)
            return Conditional(folded(value), Compare(op, first, second), folded(otherwise))
        case Call(function, (argument,)):
            inner = folded(argument)
            number = rational(inner)
            known = None if number is None else _known(function, number)
            return Call(function, (inner,)) if known is None else exact(known)
        case _:
            return node


def compare(op: str, left: Fraction, right: Fraction) -> bool:
    """Whether two numbers stand in a relation of the language."""
    relations = {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}
    return relations.get(op, (left == right) == (op != "!="))


def _folded_sum(left: Expression, sign: int, right: Expression) -> Expression:
    a, b = rational(left), rational(right)
    if a is not None and b is not None:
        return exact(a + sign * b)
    if b == 0:
        return left
    if a == 0:
        return right if sign > 0 else folded(Negate(right))
    sign, right = signed(sign, right)
    first, left = signed(1, left)
    if first < 0 < sign:
        return Binary("-", right, left)
    return Binary("+" if sign > 0 else "-", left if first > 0 else _negated(left), right)


def _folded_power(base: Expression, exponent: Expression) -> Expression:
    a, b = rational(base), rational(exponent)
    if b is not None and b.denominator == 1:
        if a is not None and abs(b) <= _MOST_POWER and (a != 0 or b >= 0):
            return exact(Fraction(a ** int(b)))
        if b in (0, 1):
            return base if b == 1 else ONE
    if b != 2:
        return Binary("^", base, exponent)
    number, above, below = _factors(base)
    if not any(isinstance(part, Call) and part.function == "sqrt" for part in below):
        return Binary("^", signed(1, base)[1] if number < 0 else base, exponent)
    return _written_product(number**2, [_square(part) for part in above], [_square(part) for part in below])


def _square(part: Expression) -> Expression:
    return part.arguments[0] if isinstance(part, Call) and part.function == "sqrt" else Binary("^", part, Number("2"))


def _factors(node: Expression) -> tuple[Fraction, list[Expression], list[Expression]]:
    """A number, and the folded factors above and below the line."""
    match node:
        case Negate(operand):
            number, above, below = _factors(operand)
            return -number, above, below
        case Binary("*" | "/" as op, left, right):
            first, (number, above, below) = _factors(left), _factors(right)
            if op == "*":
                return first[0] * number, first[1] + above, first[2] + below
            if number:
                return first[0] / number, first[1] + below, first[2] + above
            return first[0], first[1], [*first[2], ZERO]  # a division by 0 stays one
        case _:
            inner = folded(node)
            value = rational(inner)
            if value is not None:
                return value, [], []
            return (_UNIT, [inner], []) if inner == node else _factors(inner)


def _written_product(number: Fraction, above: list[Expression], below: list[Expression]) -> Expression:
    """The product, its number in front, or below the line where it is one over a whole number."""
    if not number and ZERO not in below:
        return ZERO
    size = abs(number)
    divisor = size.denominator if size.numerator == 1 else 1
    factor = size * divisor
    top = product(above if factor == 1 else [exact(factor), *above])
    bottom = product(below if divisor == 1 else [Number(str(divisor)), *below])
    if not above and not below:
        return exact(number)
    result = top if bottom == ONE else Binary("/", top, bottom)
    return _negated(result) if number < 0 else result


def _negated(node: Expression) -> Expression:
    """The formula with its sign before its first factor; of a difference the terms change places."""
    match node:
        case Binary("*" | "/", left, _):
            return replace(node, left=_negated(left))
        case Binary("-", left, right):
            return Binary("-", right, left)
        case _:
            return Negate(node)


def _known(function: str, value: Fraction) -> Fraction | None:
    """The value of a function where it is rational, of the cases that occur."""
    match function:
        case "abs":
            return abs(value)
        case "sqrt" if value >= 0:
            root = Fraction(isqrt(value.numerator), isqrt(value.denominator))
            return root if root * root == value else None
        case "factorial" if value.denominator == 1 and 0 <= value <= _MOST_POWER:
            return Fraction(factorial(int(value)))
        case "exp" | "log" | "tanh" if value == (1 if function == "log" else 0):
            return _UNIT if function == "exp" else _ZERO
        case _:
            return None


# --- linear combinations and polynomials ---


def linear(node: Expression) -> Linear:
    """A formula without x as a sum of numbers times formulas."""
    match node:
        case Negate(operand):
            return scaled(linear(operand), -_UNIT)
        case Binary("+" | "-" as op, left, right):
            return added(linear(left), scaled(linear(right), _UNIT if op == "+" else -_UNIT))
        case Binary("*", left, right):
            return multiplied(linear(left), linear(right))
        case Binary("/", left, right):
            return _divided(linear(left), right)
        case _:
            value = rational(folded(node))
            found: dict[Expression, Fraction] = {folded(node): _UNIT} if value is None else {ONE: value}
            return {core: number for core, number in found.items() if number}


def scaled(terms: Linear, factor: Fraction) -> Linear:
    """Each term times a number."""
    return {core: number * factor for core, number in terms.items()}


def added(*sums: Linear) -> Linear:
    """The sum, without terms that are 0."""
    out: dict[Expression, Fraction] = {}
    for terms in sums:
        for core, number in terms.items():
            out[core] = out.get(core, _ZERO) + number
    return {core: number for core, number in out.items() if number}


def multiplied(left: Linear, right: Linear) -> Linear:
    """The product, multiplied out."""
    return added(*({product([a, b]): m * n} for a, m in left.items() for b, n in right.items()))


def _divided(terms: Linear, divisor: Expression) -> Linear:
    below = linear(divisor)
    if len(below) != 1:
        return {product([core], [folded(divisor)]): number for core, number in terms.items()}
    ((other, factor),) = below.items()
    return {product([core], [] if other == ONE else [other]): number / factor for core, number in terms.items()}


def written(terms: Linear) -> Expression:
    """The sum as a formula."""
    return folded(total([_written_term(core, number) for core, number in terms.items()]))


def _written_term(core: Expression, number: Fraction) -> Term:
    sign, size = (1, number) if number > 0 else (-1, -number)
    if core == ONE:
        return sign, exact(size)
    if size.numerator == 1:
        return signed(sign, product([core], [] if size == 1 else [Number(str(size.denominator))]))
    return signed(sign, Binary("*", exact(size), core))


def polynomial(node: Expression) -> Polynomial:
    """The formula by powers of x, none above the second. Raises `NotQuadraticError`."""
    if not holds_state(node):
        return {0: linear(node)}
    match node:
        case Name():
            return {1: {ONE: _UNIT}}
        case Negate(operand):
            return {power: scaled(terms, -_UNIT) for power, terms in polynomial(operand).items()}
        case Binary("+" | "-" as op, left, right):
            first, second = polynomial(left), polynomial(right if op == "+" else Negate(right))
            powers = {*first, *second}
            return _without_zeros({power: added(first.get(power, {}), second.get(power, {})) for power in powers})
        case Binary("*", left, right):
            return _convolved(polynomial(left), polynomial(right), node)
        case Binary("/", left, right) if not holds_state(right):
            return {power: _divided(terms, right) for power, terms in polynomial(left).items()}
        case Binary("^", left, right) if rational(folded(right)) in (0, 1, 2):
            out: Polynomial = {0: {ONE: _UNIT}}
            for _ in range(int(rational(folded(right)) or 0)):
                out = _convolved(out, polynomial(left), node)
            return out
        case _:
            raise NotQuadraticError(node)


def numbers_only(node: Expression) -> tuple[Fraction, Fraction] | None:
    """Slope and offset of a formula that is linear in x, both of them numbers; else None."""
    try:
        powers = polynomial(node)
    except NotQuadraticError:
        return None
    if not powers.keys() <= {0, 1} or any(core != ONE for terms in powers.values() for core in terms):
        return None
    return powers.get(1, {}).get(ONE, _ZERO), powers.get(0, {}).get(ONE, _ZERO)


def value_at(node: Expression, point: Fraction) -> Fraction:
    """The value at x = point of a formula for which `numbers_only` has an answer."""
    found = numbers_only(node)
    assert found is not None, "the thresholds were found first"
    return found[0] * point + found[1]


def _convolved(left: Polynomial, right: Polynomial, node: Expression) -> Polynomial:
    out: dict[int, Linear] = {}
    for i, first in left.items():
        for j, second in right.items():
            out[i + j] = added(out.get(i + j, {}), multiplied(first, second))
    if max(out, default=0) > 2:
        raise NotQuadraticError(node)
    return _without_zeros(out)


def _without_zeros(powers: Polynomial) -> Polynomial:
    return {power: terms for power, terms in powers.items() if terms}


# --- signs ---


def is_positive(terms: Linear, positive: frozenset[str]) -> bool:
    """Whether the sum is shown to be above 0 where these parameters are: no term below 0, and one above."""
    signs = [_sign(core, positive) if number > 0 else None for core, number in terms.items()]
    return None not in signs and 1 in signs


def _sign(node: Expression, positive: frozenset[str]) -> int | None:
    """1 for a formula that is always positive, 0 for one that is never negative, None where that is not seen."""
    match node:
        case Number():
            return 1 if node.value else 0
        case Name(name):
            return 1 if name in positive or name == "pi" else None
        case Binary("+" | "*" | "/" as op, left, right):
            first, second = _sign(left, positive), _sign(right, positive)
            if first is None or second is None:
                return None
            return max(first, second) if op == "+" else min(first, second)
        case Binary("^", base, exponent):
            even = rational(folded(exponent)) in (2, 4)
            return 1 if _sign(base, positive) == 1 else 0 if even else None
        case Call("exp" | "sigmoid" | "softplus" | "factorial"):
            return 1
        case Call("abs"):
            return 0
        case Call("sqrt", (inner,)):
            return _sign(inner, positive)
        case _:
            return None
