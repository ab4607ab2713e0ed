"""Options in parentheses: how a weight, a bias or a unit's own parameter starts, and what else holds of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pgmdsl.compiler.check_names import MistakeError, Scope
from pgmdsl.compiler.model import Initial, Mask
from pgmdsl.compiler.units import OwnParameter
from pgmdsl.compiler.values import evaluate
from pgmdsl.grammar.diagnostics import Error, suggest
from pgmdsl.grammar.syntax import Call, Compare, Expression, Name, Negate, Number, Option, Text

WEIGHT_OPTIONS = ("init", "fixed", "mask", "decay", "l1", "max_norm")
BIAS_OPTIONS = ("init", "fixed", "scale")
WEIGHT_START = Initial("normal", 0.01)
_PENALTIES = ("decay", "l1", "max_norm")


@dataclass(frozen=True, slots=True)
class Traits:
    """What the options at a use say of a parameter: fields as in `model.Parameter`."""

    initial: Initial
    fixed: bool = False
    mask: Mask | None = None
    decay: float | None = None
    l1: float | None = None
    max_norm: float | None = None


def check_options(
    options: Sequence[Option], known: Sequence[str], what: str, scope: Scope, elsewhere: Mapping[str, str] | None = None
) -> dict[str, Option]:
    """The options by key; one that `what` does not have, or that stands twice, is reported.

    `elsewhere` says of keys that belong to something else what that is.
    """
    found: dict[str, Option] = {}
    for option in options:
        key = option.key.name
        if key in found:
            scope.record(MistakeError("E056", option.key.span, f"{key} is given twice", "keep one of them"))
        elif key in known:
            found[key] = option
        else:
            taken = f"it takes {', '.join(known)}" if known else "leave it out: it takes none"
            help = (elsewhere or {}).get(key) or suggest(key, [*known]) or taken
            scope.record(MistakeError("E042", option.key.span, f"{key} is not an option of a {what}", help))
    return found


def weight_traits(options: Sequence[Option], scope: Scope) -> Traits:
    """What a weight's options say; every mistake in them is reported."""
    stated = check_options(options, WEIGHT_OPTIONS, "weight", scope)
    initial, fixed = _start_of(stated, "weight", WEIGHT_START, False, scope)
    mask: Mask | None = None
    penalties: dict[str, float] = {}
    if "mask" in stated:
        with scope.recorded():
            mask = _mask_of(stated["mask"].value)
    for key in _PENALTIES:
        if key in stated:
            with scope.recorded():
                penalties[key] = _penalty(key, stated[key], fixed)
    return Traits(initial, fixed, mask, **penalties)


def bias_traits(options: Sequence[Option], default: Initial, visible: bool, scope: Scope) -> Traits:
    """What a bias's options say; every mistake in them is reported. `visible` where `init = data` has a meaning."""
    stated = check_options(options, BIAS_OPTIONS, "bias", scope)
    if "scale" in stated:
        with scope.recorded():
            node = stated["scale"].value
            if constant_of(node, "scale") != 1:
                help = (
                    "scale = 1 says that the lengths of count neighbours do not multiply it; leave it out, and they do"
                )
                raise MistakeError("E043", node.span, "the scale of a bias is 1 or left out", help)
    return Traits(*_start_of(stated, "bias", default, visible, scope))


def own_traits(own: OwnParameter, option: Option | None, measurable: bool) -> Traits:
    """What a layer's option says of one of its unit type's own parameters.

    A number or a file fixes it; `learned` or `learned(START)` trains it; `data` measures a standard deviation once.

    Args:
        own: the parameter.
        option: the layer's option of its name, or None.
        measurable: whether the layer has data to measure a standard deviation on.

    Raises:
        MistakeError: for a value of another form, or one that is not positive where it must be.
    """
    usual = Initial("constant", 1.0 if own.positive else 0.0)
    match option.value if option is not None else None:
        case None:
            return Traits(usual, fixed=not own.learned)
        case Name("learned"):
            return Traits(Initial("data") if own.deviation and measurable else usual)
        case Call("learned", (start,), None, None, (), None):
            return Traits(_own_start(own, start, measurable))
        case node:
            return Traits(_own_start(own, node, measurable), fixed=True)


def _own_start(own: OwnParameter, node: Expression, measurable: bool) -> Initial:
    """The value of an own parameter: a number, a file, or `data` for a standard deviation."""
    match node:
        case Text():
            return Initial("file", text=path_of(node))
        case Name("data") if own.deviation:
            if not measurable:
                message = f"there is no data to measure {own.name} on: the layer is not visible"
                raise MistakeError("E043", node.span, message, "give a number or a file")
            return Initial("data")
        case Name() | Call():
            name = node.name if isinstance(node, Name) else node.function
            words = ["learned", *(["data"] if own.deviation else [])]
            forms = f"{own.name} takes a number, a quoted file name, {', '.join(words)}, or learned(START)"
            raise MistakeError("E043", node.span, forms, suggest(name, words) or f"for example {own.name} = learned")
        case _:
            number = constant_of(node, own.name)
            if own.positive and number <= 0:
                what = "a standard deviation" if own.deviation else own.name
                raise MistakeError("E043", node.span, f"{what} is greater than 0", f"for example {own.name} = 1")
            return Initial("constant", number)


def constant_of(node: Expression, what: str) -> float:
    """The value of a constant expression of numbers. Raises `MistakeError` for anything else."""
    try:
        return evaluate(node, {})
    except Error:
        raise MistakeError("E043", node.span, f"{what} is not a number", "write a number, such as 0.5") from None


def path_of(node: Text, code: str = "E043") -> str:
    """The path in a quoted file name. Raises `MistakeError`, with this code, if there is none."""
    if not node.value.strip() or "\0" in node.value:
        raise MistakeError(code, node.span, "this file name is empty or has a null character", 'for example "w.npy"')
    return node.value


# --- how a weight or bias starts --------------------------------------------------------------------------


def _start_of(
    stated: Mapping[str, Option], what: str, default: Initial, from_data: bool, scope: Scope
) -> tuple[Initial, bool]:
    """How it starts, and whether it stays so."""
    found = default, False
    if "init" in stated:
        with scope.recorded():
            found = _start(what, stated["init"].value, from_data), False
    if "fixed" in stated:
        with scope.recorded():
            found = _fixed(stated["fixed"].value), True
        if "init" in stated:
            help = f"leave out init, or fixed, of this {what}"
            scope.record(MistakeError("E043", stated["init"].span, "a fixed parameter stays as it is fixed", help))
    return found


def _fixed(node: Expression) -> Initial:
    if isinstance(node, Text):
        return Initial("file", text=path_of(node))
    if isinstance(node, Name | Call):
        raise MistakeError("E043", node.span, "fixed takes a number or a quoted file name", "for example fixed = 0")
    return Initial("constant", constant_of(node, "fixed"))


def _start(what: str, node: Expression, from_data: bool) -> Initial:
    match node:
        case Text():
            return Initial("file", text=path_of(node))
        case Name("data") if from_data:
            return Initial("data")
        case Call("normal", (Number() | Negate() as sd,)):
            value = constant_of(sd, "the standard deviation")
            if value < 0:
                raise MistakeError("E043", sd.span, "a standard deviation is not negative", "for example normal(0.01)")
            return Initial("normal", value)
        case Name() | Call():
            forms = "a number, a quoted file name or normal(SD)" + (", or data" if from_data else "")
            message = f"init of a {what} takes {forms}"
            raise MistakeError("E043", node.span, message, "for example init = normal(0.01)")
        case _:
            return Initial("constant", constant_of(node, "init"))


# --- masks and penalties ----------------------------------------------------------------------------------


def _mask_of(node: Expression) -> Mask:
    match node:
        case Text():
            return Mask("file", file=path_of(node))
        case Call("local", (Compare("=", Name("radius"), value),), None, None, (), None):
            radius = constant_of(value, "the radius")
            if radius < 0:
                raise MistakeError("E043", value.span, "a radius is not negative", "for example local(radius = 2)")
            return Mask("local", radius=radius)
        case _:
            help = 'write mask = "m.npy" or mask = local(radius = 2)'
            raise MistakeError("E043", node.span, "a mask is a quoted file name or local(radius = R)", help)


def _penalty(key: str, option: Option, fixed: bool) -> float:
    if fixed:
        message = f"a fixed weight is not trained, so {key} has nothing to do"
        raise MistakeError("E043", option.span, message, f"leave out fixed, or {key}")
    value = constant_of(option.value, key)
    if value < 0 or (key == "max_norm" and value == 0):
        bound = "greater than 0" if key == "max_norm" else "not negative"
        raise MistakeError("E043", option.value.span, f"{key} is {bound}", "for example " + _EXAMPLES[key])
    return value


_EXAMPLES = {"decay": "decay = 0.001", "l1": "l1 = 0.0001", "max_norm": "max_norm = 3"}
