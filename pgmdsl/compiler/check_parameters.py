"""Parameters: every use of a weight's, bias's or sigma's name gathered, and one parameter made of each name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pgmdsl.compiler.check_names import MistakeError, Scope
from pgmdsl.compiler.model import Initial, Layer, Parameter, Size
from pgmdsl.compiler.sizes import Values, show_axes
from pgmdsl.compiler.values import evaluate
from pgmdsl.grammar.diagnostics import Error, suggest
from pgmdsl.grammar.syntax import Call, Expression, Identifier, Name, Negate, Number, Option, Text

Kind = Literal["weight", "bias", "unit"]

WEIGHT_START = Initial("normal", 0.01)
PLANNED_OPTIONS = {"weight": ("decay", "l1", "max_norm", "mask"), "bias": ("scale",), "unit": ()}
_OPTIONS = ("init", "fixed")


@dataclass(frozen=True, slots=True)
class Use:
    """One place where a parameter stands: its name, the layers whose axes it has there, its options.

    `reversed` for `W'`: the layers are then those of the unprimed weight. `where` says what needs the shape.
    """

    kind: Kind
    name: Identifier
    layers: tuple[Layer, ...]
    initial: Initial
    fixed: bool = False
    options: tuple[Option, ...] = ()
    reversed: bool = False


@dataclass
class Parameters:
    """The uses of parameters seen so far. `mentioned` are also names whose use was not understood."""

    scope: Scope
    values: Values
    uses: dict[str, list[Use]] = field(default_factory=dict)
    mentioned: set[str] = field(default_factory=set)

    def add(self, use: Use) -> None:
        """Note a use."""
        self.mentioned.add(use.name.name)
        self.uses.setdefault(use.name.name, []).append(use)

    def resolve(self) -> dict[str, Parameter]:
        """One parameter per name, weights first; every clash of kind, shape or options is reported."""
        found: dict[str, Parameter] = {}
        for uses in self.uses.values():
            with self.scope.recorded():
                parameter = self._resolve_one(uses)
                found[parameter.name] = parameter
        order = {"weight": 0, "bias": 1, "unit": 2}
        return {p.name: p for p in sorted(found.values(), key=lambda p: order[p.kind])}

    def _resolve_one(self, uses: list[Use]) -> Parameter:
        first = next((use for use in uses if not use.reversed), None)
        name = uses[0].name
        self.scope.verify_free(name.name, name.span, uses[0].kind)
        if first is None:
            lower, upper = uses[0].layers
            raise MistakeError(
                "E045",
                name.span,
                f"{name.name} stands only with a prime, so nothing says what its shape is",
                f"write this edge as {lower.name} -- {upper.name} : {name.name}, without the prime",
            )
        for use in uses:
            with self.scope.recorded():
                self._verify_same(first, use)
        stated = [use for use in uses if use.options]
        for use in stated[1:]:
            self.scope.record(
                MistakeError(
                    "E047",
                    use.options[0].span,
                    f"{name.name} has options at more than one use",
                    "a parameter is one, wherever it stands: state its options once",
                )
            )
        start = stated[0] if stated else first
        shape = tuple(dim for layer in first.layers for dim in layer.dims)
        layers = tuple(layer.name for layer in first.layers)
        return Parameter(
            name=name.name,
            kind=first.kind,
            layers=layers,
            shape=shape,
            initial=start.initial,
            fixed=start.fixed,
            span=first.name.span,
            positive=first.kind == "unit",
        )

    def _verify_same(self, first: Use, use: Use) -> None:
        name = use.name.name
        if use.kind != first.kind:
            raise MistakeError(
                "E012",
                use.name.span,
                f"{name} is the name of a {first.kind} and of a {use.kind}",
                "a name used again is one parameter, so give this one a name of its own",
            )
        if _axes(use.layers) == _axes(first.layers):
            return
        needs = "this edge needs" if use.kind == "weight" else f"{use.layers[0].name} needs"
        values = None if _show(first, self.values) == _show(use, self.values) else self.values
        what = "this edge" if use.kind == "weight" else use.layers[0].name
        noun = "weight" if use.kind == "weight" else "bias"
        raise MistakeError(
            "E013",
            use.name.span,
            f"{name} has shape {_names(first)} = {_show(first, values)}, but {needs} "
            f"{_names(use)} = {_show(use, values)}",
            self._mend(first, use) or f"give {what} a {noun} of its own, for example {self._free_name(name)}",
        )

    def _mend(self, first: Use, use: Use) -> str | None:
        if use.kind == "weight" and _axes(use.layers[::-1]) == _axes(first.layers):
            name = use.name.name
            return f"its layers are reversed here: write {name}" + ("" if use.reversed else "'")
        return None

    def _free_name(self, name: str) -> str:
        stem = name.rstrip("0123456789") or name
        numbers = (f"{stem}{n}" for n in range(2, 1000))
        return next(n for n in numbers if n not in self.mentioned and n not in self.scope.declared)


def _axes(layers: Iterable[Layer]) -> tuple[tuple[Size, ...], ...]:
    return tuple(layer.dims for layer in layers)


def _names(use: Use) -> str:
    return "(" + ", ".join(layer.name for layer in use.layers) + ")"


def _show(use: Use, values: Values | None) -> str:
    return show_axes(use.layers, values)


# --- options ----------------------------------------------------------------------------------------------


def initial_of(
    kind: Kind, options: Sequence[Option], default: Initial, from_data: bool, scope: Scope
) -> tuple[Initial, bool]:
    """How a parameter with these options starts, and whether it stays so; every mistake in them is reported.

    `from_data` where `init = data` has a meaning: the bias of a visible layer.
    """
    found = default, False
    stated = check_options(options, (*_OPTIONS, *PLANNED_OPTIONS[kind]), kind, scope)
    for key, option in stated.items():
        with scope.recorded():
            if key in PLANNED_OPTIONS[kind]:
                message = f"the {kind} option {key} is not built yet"
                raise MistakeError("E909", option.key.span, message, _planned_help(key))
            found = (_fixed(option.value), True) if key == "fixed" else (_start(kind, option.value, from_data), False)
    if stated.keys() >= set(_OPTIONS):
        help = f"leave out init, or fixed, of this {kind}"
        scope.record(MistakeError("E043", stated["init"].span, "a fixed parameter stays as it is fixed", help))
    return found


def check_options(options: Sequence[Option], known: Sequence[str], what: str, scope: Scope) -> dict[str, Option]:
    """The options by key; one that `what` does not have, or that stands twice, is reported."""
    found: dict[str, Option] = {}
    for option in options:
        key = option.key.name
        if key not in known:
            help = suggest(key, [*known]) or (
                f"it takes {', '.join(known)}" if known else "leave it out: it takes none"
            )
            scope.record(MistakeError("E042", option.key.span, f"{key} is not an option of a {what}", help))
        elif key in found:
            scope.record(MistakeError("E056", option.key.span, f"{key} is given twice", "keep one of them"))
        else:
            found[key] = option
    return found


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


def _planned_help(key: str) -> str:
    if key == "decay":
        return "decay in a train block applies to all weights"
    return "leave it out"


def _fixed(node: Expression) -> Initial:
    if isinstance(node, Text):
        return Initial("file", text=path_of(node))
    if isinstance(node, Name | Call):
        raise MistakeError("E043", node.span, "fixed takes a number or a quoted file name", "for example fixed = 0")
    return Initial("constant", constant_of(node, "fixed"))


def _start(kind: Kind, node: Expression, from_data: bool) -> Initial:
    match node:
        case Text():
            raise MistakeError(
                "E909",
                node.span,
                f"starting a {kind} from a file is not built yet",
                'fixed = "FILE" reads one and keeps it; a run can start from another run',
            )
        case Name("data") if from_data:
            return Initial("data")
        case Call("normal", (Number() | Negate() as sd,)):
            value = constant_of(sd, "the standard deviation")
            if value < 0:
                raise MistakeError("E043", sd.span, "a standard deviation is not negative", "for example normal(0.01)")
            return Initial("normal", value)
        case Name() | Call():
            forms = "a number or normal(SD)" + (", or data" if from_data else "")
            raise MistakeError("E043", node.span, f"init takes {forms}", "for example init = normal(0.01)")
        case _:
            return Initial("constant", constant_of(node, "init"))
