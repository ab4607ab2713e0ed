"""Sizes: arithmetic of the model line and of layers' axes as canonical polynomials; shapes as text; memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

from pgmdsl.compiler.check_names import MistakeError, Scope
from pgmdsl.compiler.model import Layer, Size
from pgmdsl.grammar.source import Span
from pgmdsl.grammar.syntax import Binary, Expression, ModelDeclaration, Name, Negate, Number, SizeDeclaration

Values = Mapping[str, int | None]

_LARGEST = 10**15  # beyond any size of a model; bounds the arithmetic
_MOST_TERMS = 100
_HIGHEST_POWER = 8


def size_of(node: Expression, known: Iterable[str], problem: str = "is not a size of the model line") -> Size:
    """The expression as a polynomial in the sizes `known`; `problem` is what is said of another name.

    Raises `MistakeError` for a name that is no size, and for what is not arithmetic that stays a polynomial.
    """
    known = tuple(known)
    match node:
        case Number():
            return Size.number(_exact(node))
        case Name(name) if name in known:
            return Size.name(name)
        case Name(name):
            raise MistakeError.unknown(name, node.span, problem, known)
        case Negate(operand):
            return _bounded(size_of(operand, known, problem) * Size.number(-1), node.span)
        case Binary(op, left, right):
            a, b = size_of(left, known, problem), size_of(right, known, problem)
            return _bounded(_arithmetic(op, a, b, right.span), node.span)
        case _:
            raise MistakeError(
                "E035",
                node.span,
                "this is not a size",
                "a size is made of whole numbers, sizes of the model line and + - * / ^",
            )


def _arithmetic(op: str, a: Size, b: Size, place: Span) -> Size:
    if op == "+":
        return a + b
    if op == "-":
        return a + b * Size.number(-1)
    if op == "*":
        return a * b
    if b.names():
        what = "divided by" if op == "/" else "raised to"
        raise MistakeError("E035", place, f"a size can be {what} a number only, not {b}", "add a size for the result")
    number = b.evaluate({})
    if op == "/":
        if number == 0:
            raise MistakeError("E035", place, "this size is divided by 0")
        return a * Size.number(1 / number)
    if number.denominator != 1 or not 0 <= number <= _HIGHEST_POWER:
        raise MistakeError("E035", place, f"a size can be raised to a whole number from 0 to {_HIGHEST_POWER} only")
    power = Size.number(1)
    for _ in range(int(number)):
        power = _bounded(power * a, place)
    return power


def _exact(node: Number) -> Fraction:
    """The number's value, refused before exact arithmetic with `1e300` grows without bound."""
    value = node.value
    if value > _LARGEST or value.denominator > _LARGEST:
        raise MistakeError("E038", node.span, f"{node.text} is no possible size", f"a size is at most {_LARGEST:.0e}")
    return value


def _bounded(size: Size, place: Span) -> Size:
    large = len(size.terms) > _MOST_TERMS
    for powers, coefficient in size.terms:
        large |= abs(coefficient.numerator) > _LARGEST or coefficient.denominator > _LARGEST
        large |= sum(power for _, power in powers) > _HIGHEST_POWER
    if large:
        raise MistakeError("E038", place, "this size is far too large or too involved", "write a smaller one")
    return size


def value_of(size: Size, values: Values) -> Fraction | None:
    """The value of a size, or None while one of its names has none."""
    known = {name: value for name, value in values.items() if value is not None}
    return size.evaluate(known) if size.names() <= known.keys() else None


def verify_positive(size: Size, values: Values, place: Span, what: str) -> None:
    """Raise `MistakeError` if the size has a value that is not a whole number of at least 1."""
    value = value_of(size, values)
    if value is None:
        return
    shown = str(size) if not size.names() else f"{size} = {show_number(value)}"
    if value.denominator != 1:
        raise MistakeError("E036", place, f"{what} is {shown}, which is not a whole number", "sizes count units")
    if value < 1:
        raise MistakeError("E037", place, f"{what} is {shown}", "a size is at least 1")


def show_number(value: Fraction) -> str:
    """A number for a message: whole numbers in full, others to six figures."""
    return str(value) if value.denominator == 1 else f"{float(value):g}"


def check_sizes(
    declaration: ModelDeclaration | None, overrides: Mapping[str, int], scope: Scope
) -> dict[str, int | None]:
    """The value of every size of the model line: a caller's, else the file's, else None (it comes from data).

    A default may use the sizes before it.
    """
    values: dict[str, int | None] = {}
    sizes = declaration.sizes if declaration else ()
    for size in sizes:
        if not scope.declare(size.name, "size"):
            continue
        with scope.recorded():
            values[size.name.name] = None
            values[size.name.name] = _declared_value(size, values, overrides)
    if declaration is not None:
        for name in overrides:
            if name not in {size.name.name for size in sizes}:
                scope.record(
                    MistakeError.unknown(
                        name, declaration.name.span, f"is not a size of model {declaration.name.name}", values
                    )
                )
    return values


def _declared_value(size: SizeDeclaration, values: Values, overrides: Mapping[str, int]) -> int | None:
    name = size.name.name
    earlier = [other for other in values if other != name]
    default = (
        size_of(size.default, earlier, f"is not a size that stands before {name}") if size.default is not None else None
    )
    if name in overrides:
        given = overrides[name]
        if isinstance(given, bool) or not isinstance(given, int):
            raise MistakeError("E036", size.name.span, f"{name} is given as {given!r}, which is not a whole number")
        if given < 1:
            raise MistakeError("E037", size.name.span, f"{name} is given as {given}", "a size is at least 1")
        return given
    if default is None or size.default is None:
        return None
    verify_positive(default, values, size.default.span, name)
    value = value_of(default, values)
    return None if value is None else int(value)


# --- shapes and memory in messages ------------------------------------------------------------------------


def show_axes(layers: Iterable[Layer], values: Values | None) -> str:
    """The axes of these layers, flattened one per layer: `(784, 500)`, with symbols where a value is missing or
    `values` is None; several axes of a layer as `28 x 28`.
    """
    return "(" + ", ".join(" x ".join(_show_axis(dim, values) for dim in layer.dims) for layer in layers) + ")"


def _show_axis(dim: Size, values: Values | None) -> str:
    value = value_of(dim, values) if values is not None else None
    return str(dim) if value is None else show_number(value)


def count_of(dims: Iterable[Size], values: Values) -> int | None:
    """The number of elements of an array with these axes, or None while a size has no value."""
    total = 1
    for dim in dims:
        value = value_of(dim, values)
        if value is None:
            return None
        total *= int(value)
    return total


def show_memory(numbers: int) -> str:
    """The memory of so many float32 numbers, in human units."""
    amount, unit = float(numbers * 4), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.3g} {unit}"
