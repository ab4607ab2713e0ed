"""Forms of settings: value expressions, whole numbers, switches, names of parameters, methods with arguments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from pgmdsl.compiler.check_names import MistakeError
from pgmdsl.compiler.sizes import Values
from pgmdsl.compiler.values import FUNCTIONS, evaluate
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
    Set,
)
from pgmdsl.grammar.walk import walk

CLOCK = ("epoch", "step", "progress")
"""Names that change while a phase runs: `epoch` and `step` from 0 in each phase, `progress` from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a setting may refer to: the sizes' values and the names of parameters."""

    values: Values
    parameters: Collection[str]


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


def constant(low: float, high: float, what: str) -> Form:
    """A constant in [low, high)."""

    def verify(node: Expression, context: Context) -> None:
        value = _value_at(node, context, {})
        if value is not None and not low <= value < high:
            raise MistakeError("E052", node.span, f"this is {value:g}", what)

    return verify


def verify_switch(node: Expression, context: Context) -> None:
    """`on` or `off`."""
    if not isinstance(node, Name) or node.name not in ("on", "off"):
        raise MistakeError("E052", node.span, "this is either on or off")


def verify_parameters(node: Expression, context: Context) -> None:
    """One name of a parameter, or several."""
    for member in node.members if isinstance(node, Set) else (node,):
        if not isinstance(member, Name):
            raise MistakeError("E052", member.span, "freeze takes names of parameters", "for example freeze = W1, b")
        if member.name not in context.parameters:
            raise MistakeError.unknown(member.name, member.span, "is not a parameter", context.parameters)


@dataclass(frozen=True, slots=True)
class Method:
    """One form of a method: its arguments by position and by keyword, all whole numbers; `extra` names allowed last."""

    positional: int
    keywords: tuple[str, ...] = ()
    example: str = ""
    extra: tuple[str, ...] = ()


def method(methods: Mapping[str, Method], planned: tuple[str, ...] = ()) -> Form:
    """A name or call among `methods`; those in `planned` are not built yet."""

    def verify(node: Expression, context: Context) -> None:
        name = node.name if isinstance(node, Name) else node.function if isinstance(node, Call) else None
        forms = ", ".join(m.example for m in methods.values())
        if name in planned:
            raise MistakeError("E912", node.span, f"{name} is not built yet", f"use one of {forms}")
        if name is None or name not in methods:
            raise MistakeError(
                "E052", node.span, "this is not one of the forms that are possible here", f"use one of {forms}"
            )
        _verify_arguments(node, methods[name], context)

    return verify


def _verify_arguments(node: Expression, method: Method, context: Context) -> None:
    arguments = node.arguments if isinstance(node, Call) else ()
    plain = [a for a in arguments if not isinstance(a, Compare)]
    named = [a for a in arguments if isinstance(a, Compare)]
    extra = plain[method.positional :]
    wrong = len(plain) < method.positional or len(extra) > bool(method.extra)
    wrong |= isinstance(node, Call) and (not arguments or node.given is not None or node.generator is not None)
    if wrong or any(not isinstance(a, Name) or a.name not in method.extra for a in extra):
        raise MistakeError("E052", node.span, "this form has other arguments", f"write it as {method.example}")
    seen: set[str] = set()
    for event in named:
        key = event.left.name if isinstance(event.left, Name) and event.op == "=" else None
        if key is None or key not in method.keywords or key in seen:
            raise MistakeError("E052", event.span, "this argument is not understood", f"write it as {method.example}")
        seen.add(key)
        verify_whole(event.right, context)
    for argument in plain[: method.positional]:
        verify_whole(argument, context)


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
