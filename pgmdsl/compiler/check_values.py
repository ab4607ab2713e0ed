"""Forms of settings: value expressions, whole numbers, choices, names of parameters, methods with arguments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from pgmdsl.compiler.check_names import MistakeError
from pgmdsl.compiler.sizes import Values
from pgmdsl.compiler.values import FUNCTIONS, evaluate
from pgmdsl.grammar.diagnostics import Error, suggest
from pgmdsl.grammar.syntax import (
    Binary,
    Call,
    Compare,
    Conditional,
    Expression,
    Name,
    Negate,
    Number,
    Set,
)
from pgmdsl.grammar.walk import walk

CLOCK = ("epoch", "step", "progress")
"""Names that change while a phase runs: `epoch` and `step` from 0 in each phase, `progress` from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a setting may refer to: the sizes' values, and the names of parameters and of layers."""

    values: Values
    parameters: Collection[str]
    layers: Collection[str] = ()


Form = Callable[[Expression, Context], None]
"""Raises `MistakeError` for a value that does not have the form."""


def verify_whole(node: Expression, context: Context) -> None:
    """A whole number of at least 1, or arithmetic in sizes that gives one."""
    value = _value_at(node, context, {})
    if value is None:
        return
    if value < 1 or value != int(value) or value > 1e12:
        raise MistakeError("E052", node.span, f"this is {value:g}, where a whole number of at least 1 is needed")


def schedule(low: float, high: float, what: str) -> Form:
    """A value expression in [low, high) when a phase starts, and when it ends if that depends on progress alone."""

    def verify(node: Expression, context: Context) -> None:
        moments = [("when a phase starts", dict.fromkeys(CLOCK, 0.0))]
        if not _names_in(node) & {"epoch", "step"}:
            moments.append(("when a phase ends", {"progress": 1.0}))
        for moment, clock in moments:
            value = _value_at(node, context, clock)
            if value is not None and not low <= value < high:
                raise MistakeError("E052", node.span, f"this is {value:g} {moment}", what)

    return verify


def constant(low: float, high: float, what: str, above: bool = False) -> Form:
    """A constant in [low, high); in (low, high) where it must be above `low`."""

    def verify(node: Expression, context: Context) -> None:
        value = _value_at(node, context, {})
        if value is not None and not (low <= value < high and (value > low or not above)):
            raise MistakeError("E052", node.span, f"this is {value:g}", what)

    return verify


def choice(*words: str) -> Form:
    """One of these words."""
    listed = f"{', '.join(words[:-1])} or {words[-1]}"

    def verify(node: Expression, context: Context) -> None:
        if not isinstance(node, Name) or node.name not in words:
            near = suggest(node.name, list(words)) if isinstance(node, Name) else None
            raise MistakeError("E052", node.span, f"this is one of {listed}", near)

    return verify


def verify_parameters(node: Expression, context: Context) -> None:
    """One name of a parameter, or several."""
    _verify_members(node, "parameter", context.parameters, "for example freeze = W1, b")


def verify_layers(node: Expression, context: Context) -> None:
    """One name of a layer, or several."""
    _verify_members(node, "layer", context.layers, "for example freeze = h1, h2")


def _verify_members(node: Expression, what: str, known: Collection[str], example: str) -> None:
    for member in node.members if isinstance(node, Set) else (node,):
        if not isinstance(member, Name):
            raise MistakeError("E052", member.span, f"freeze takes names of {what}s", example)
        if member.name not in known:
            raise MistakeError.unknown(member.name, member.span, f"is not a {what}", known)


@dataclass(frozen=True, slots=True)
class Method:
    """A method: its arguments by position and by keyword, each with its form; `extra` are names allowed last."""

    positional: tuple[Form, ...] = ()
    keywords: Mapping[str, Form] = field(default_factory=dict)
    example: str = ""
    extra: tuple[str, ...] = ()


def method(methods: Mapping[str, Method]) -> Form:
    """A name or call among `methods`."""

    def verify(node: Expression, context: Context) -> None:
        name = node.name if isinstance(node, Name) else node.function if isinstance(node, Call) else None
        if name is None or name not in methods:
            forms = ", ".join(m.example for m in methods.values())
            near = suggest(name, list(methods)) if name is not None else None
            message = "this is not one of the forms that are possible here"
            raise MistakeError("E052", node.span, message, near or f"use one of {forms}")
        _verify_arguments(node, methods[name], context)

    return verify


def either(value: Form, methods: Mapping[str, Method]) -> Form:
    """One of `methods` as a call, else a value of the other form."""
    called = method(methods)

    def verify(node: Expression, context: Context) -> None:
        known = isinstance(node, Call) and node.function in methods
        (called if known else value)(node, context)

    return verify


def _verify_arguments(node: Expression, method: Method, context: Context) -> None:
    arguments = node.arguments if isinstance(node, Call) else ()
    plain = [a for a in arguments if not isinstance(a, Compare)]
    named = [a for a in arguments if isinstance(a, Compare)]
    count = len(method.positional)
    extra = plain[count:]
    wrong = len(plain) < count or len(extra) > bool(method.extra)
    wrong |= isinstance(node, Call) and (not arguments or node.given is not None or node.generator is not None)
    if wrong or any(not isinstance(a, Name) or a.name not in method.extra for a in extra):
        raise MistakeError("E052", node.span, "this form has other arguments", f"write it as {method.example}")
    seen: set[str] = set()
    for event in named:
        key = event.left.name if isinstance(event.left, Name) and event.op == "=" else None
        if key is None or key not in method.keywords or key in seen:
            near = suggest(key, list(method.keywords)) if key is not None and key not in seen else None
            help = near or f"write it as {method.example}"
            raise MistakeError("E052", event.span, "this argument is not understood", help)
        seen.add(key)
        method.keywords[key](event.right, context)
    for form, argument in zip(method.positional, plain, strict=False):
        form(argument, context)


def _verify_names(node: Expression, known: tuple[str, ...]) -> None:
    """Raise `MistakeError` for a name without a value in settings, and for what is not arithmetic."""
    match node:
        case Number():
            pass
        case Name(name):
            if name not in known:
                raise MistakeError.unknown(name, node.span, "has no value here", known)
        case Negate(operand):
            _verify_names(operand, known)
        case Binary(_, left, right):
            _verify_names(left, known)
            _verify_names(right, known)
        case Compare(op, left, right) if op != "=":
            _verify_names(left, known)
            _verify_names(right, known)
        case Conditional(value, condition, otherwise):
            for part in (value, condition, otherwise):
                _verify_names(part, known)
        case Call(function, (argument,), None, None, (), None) if function in FUNCTIONS:
            _verify_names(argument, known)
        case _:
            help = f"a value is made of numbers, sizes, {', '.join(CLOCK)}, + - * / ^, if-else, {', '.join(FUNCTIONS)}"
            raise MistakeError("E052", node.span, "this is not a value", help)


def _value_at(node: Expression, context: Context, clock: Mapping[str, float]) -> float | None:
    """The value where the phase's clock shows this; None while a size in it has no value yet."""
    known = (*context.values, *clock, "pi")
    _verify_names(node, known)
    sizes = {name: float(value) for name, value in context.values.items() if value is not None}
    if _names_in(node) - sizes.keys() - clock.keys() - {"pi"}:
        return None
    try:
        return evaluate(node, {**sizes, **clock})
    except Error:
        when = f" at {', '.join(f'{k} = {v:g}' for k, v in clock.items())}" if clock else ""
        help = "for example 1/(epoch + 1) for 1/epoch"
        raise MistakeError("E052", node.span, f"this has no finite value{when}", help) from None


def _names_in(node: Expression) -> set[str]:
    return {part.name for part, _ in walk(node) if isinstance(part, Name)}
