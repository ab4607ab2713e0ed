"""The left side of a check: which quantity it speaks of, and of which unit."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from pgmdsl.compiler.model import Layer, Model, Size
from pgmdsl.compiler.units import Counts, Finite, OneHot, Real
from pgmdsl.grammar.diagnostics import suggest
from pgmdsl.grammar.source import Span
from pgmdsl.grammar.syntax import Call, Compare, Expression, Index, Name, Negate, Number
from pgmdsl.grammar.walk import walk


@dataclass(frozen=True, slots=True)
class Probability:
    """`p(h[j] = 1 | v, h2)`, `p(v[i] | h)`, `p(y = k | h)`, `p(word(words) = k | h)`: the conditional of one unit.

    `value` is the state that a finite unit is said to be in; without it the state is the unit's own, or that of a site
    or word which the last of `indices` names.
    """

    layer: str
    indices: tuple[str, ...]
    value: Fraction | None
    given: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mean:
    """`mean(h[j] | v)`."""

    layer: str
    indices: tuple[str, ...]
    given: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MeanField:
    """`mean_field(h[j])`."""

    layer: str
    indices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Up:
    """`up(h[j])`: the mean in the deterministic up-pass."""

    layer: str
    indices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gradient:
    """`gradient(W[i,j])`; `wake(W[i,j])`, in which data(...) is under q; `sleep(R[i,j])`, of recognition parameters."""

    parameter: str
    indices: tuple[str, ...]
    phase: Literal["gradient", "wake", "sleep"] = "gradient"


@dataclass(frozen=True, slots=True)
class Formula:
    """`energy`, `free_energy(v)`, `bound` and the like, and derivatives: a formula that stands for itself."""

    expression: Expression


@dataclass(frozen=True, slots=True)
class Joint:
    """`p(v)`, `p(v, h)`, `p(h | v)`: whole layers; `counts` where documents are told by their counts alone."""

    layers: tuple[str, ...]
    given: tuple[str, ...]
    counts: bool


@dataclass(frozen=True, slots=True)
class Partition:
    """`Z`."""


Form = Probability | Mean | MeanField | Up | Gradient | Formula | Joint | Partition


class FormError(Exception):
    """One mistake in a check: code, place, message, help."""

    def __init__(self, code: str, span: Span, message: str, help: str | None = None) -> None:
        """Keep what a diagnostic needs."""
        super().__init__(message)
        self.code, self.span, self.message, self.help = code, span, message, help


def read_form(model: Model, left: Expression) -> Form:
    """The form of a check's left side. Raises `FormError` for what is none.

    That of `q(...)` is read as one of `p(...)` in the model of q.
    """
    match left:
        case Name("energy" | "log_joint" | "bound"):
            return Formula(left)
        case Call("free_energy" | "d" | "entropy" | "kl" | "expect"):
            return Formula(left)
        case Name("Z"):
            return Partition()
        case Call("p", (Compare() | Index() as event,), given=given):
            return _probability(model, left, event, _given(model, given))
        case Call("p" | "counts p" as function, items, given=given):
            return _joint(model, left, items, _given(model, given), function == "counts p")
        case Call("mean", (Index() as unit,), given=given):
            layer, indices = _unit(model, unit)
            return _not_own(model, left, Mean(layer.name, indices, _given(model, given)))
        case Call("mean_field", (Index() as unit,), given=None):
            layer, indices = _unit(model, unit)
            if layer.role != "hidden":
                raise FormError(
                    "E068",
                    unit.span,
                    f"{layer.name} is {layer.role}: it is clamped in mean field",
                    "name a hidden layer's unit",
                )
            return MeanField(layer.name, indices)
        case Call("up", (Index() as unit,), given=None):
            return Up(*up_unit(model, unit))
        case Call("gradient" | "wake" | "sleep" as phase, (Index() as parameter,), given=None):
            return _gradient(model, parameter, phase)
        case _:
            pass
    raise FormError(
        "E068",
        left.span,
        "the left side of a check is none of the forms that are known",
        "for example p(h[j] = 1 | v), energy, free_energy(v), mean_field(h[j]), gradient(W[i,j]), q(h | v) or bound",
    )


def _probability(model: Model, call: Call, event: Expression, given: tuple[str, ...]) -> Form:
    value: Expression | None = None
    found: Fraction | None = None
    match event:
        case Compare("=", Call("word", (Name() as document,), given=None, generator=None), state):
            return _not_own(model, call, _word(model, document, state, given))
        case Compare("=", Index() | Name() as unit, state):
            value = state
        case Index() as unit:
            pass
        case _:
            raise FormError("E068", event.span, "this is not the state of one unit", "for example p(h[j] = 1 | v)")
    layer = _layer(model, unit.name, unit.span)
    name = layer.unit.name
    match layer.unit.support:
        case OneHot():
            return _not_own(model, call, _site(layer, unit, value, given))
        case Counts():
            help = f"write p(word({layer.name}) = k | ...), or counts p({layer.name}) for all of them"
            raise FormError("E068", unit.span, f"the counts in {layer.name} are no units of their own", help)
        case Finite(values) if value is not None:
            found = _number(value)
            if found not in values:
                message = f"a {name} unit is never in this state"
                raise FormError("E068", value.span, message, f"write {choices(layer)}")
        case _:
            if value is not None:
                what = "has a density, not a probability" if isinstance(layer.unit.support, Real) else "has many states"
                help = f"write p({layer.name}[...] | ...) == ..., in which {layer.name}[...] is the unit's own state"
                raise FormError("E068", event.span, f"a {name} unit {what}", help)
    _, indices = _unit(model, unit)
    return _not_own(model, call, Probability(layer.name, indices, found, given))


def choices(layer: Layer) -> str:
    """The events of a finite unit: `h[...] = 1 or h[...] = 0`."""
    values = layer.unit.support.values if isinstance(layer.unit.support, Finite) else ()
    return " or ".join(f"{layer.name}[...] = {value}" for value in reversed(values))


def _site(layer: Layer, unit: Index | Name, value: Expression | None, given: tuple[str, ...]) -> Probability:
    """A softmax site in a state: `y = k`, `x[i] = k`."""
    entries = unit.indices if isinstance(unit, Index) else ()
    site = f"{layer.name}[{','.join('ijlmnopq'[: len(layer.dims) - 1])}]" if len(layer.dims) > 1 else layer.name
    if not isinstance(value, Name) or len(entries) != len(layer.dims) - 1:
        message = f"the event of a softmax layer names a site of {layer.name} and an index for its state"
        raise FormError("E068", unit.span, message, f"write {site} = k")
    return Probability(layer.name, _names((*entries, value)), None, given)


def _word(model: Model, document: Name, value: Expression, given: tuple[str, ...]) -> Probability:
    """One word of a document: `word(words) = k`."""
    layer = count_layer(model, "word", document)
    if not isinstance(value, Name):
        raise FormError("E068", value.span, "an index names the word", f"write word({layer.name}) = k")
    return Probability(layer.name, (value.name,), None, given)


def count_layer(model: Model, function: str, document: Name) -> Layer:
    """The layer that `word(...)` or `length(...)` speaks of. Raises `FormError` unless it is a count layer."""
    layer = _layer(model, document.name, document.span)
    if not isinstance(layer.unit.support, Counts):
        message = f"{function}(...) is of a count layer, and {layer.name} is a {layer.unit.name} layer"
        raise FormError("E074", document.span, message, "count layers are those of replicated_softmax")
    return layer


def _joint(model: Model, call: Call, items: tuple[Expression, ...], given: tuple[str, ...], counts: bool) -> Joint:
    """Whole layers: `p(v, h)`, `p(h | v)`, `counts p(words)`."""
    names: list[str] = []
    for item in items:
        if not isinstance(item, Name):
            help = "for example p(h[j] = 1 | v), or p(v, h)"
            raise FormError("E068", item.span, "p(...) is of one unit, or of whole layers", help)
        layer = _layer(model, item.name, item.span)
        if layer.role == "given":
            raise FormError("E070", item.span, f"{item.name} is given, and has no distribution", "list it after |")
        if item.name in (*names, *given):
            raise FormError("E069", item.span, f"{item.name} stands twice in p(...)", "leave one out")
        names.append(item.name)
    if "rest" in given:
        raise FormError("E068", call.span, "rest is of one unit, and these are whole layers", "list the layers")
    if counts and not any(isinstance(model.layers[name].unit.support, Counts) for name in names):
        raise FormError("E074", call.span, "counts p(...) is of documents, and none is listed", "write p(...)")
    return Joint(tuple(names), given, counts)


def up_unit(model: Model, unit: Index) -> tuple[str, tuple[str, ...]]:
    """The layer and the indices of `up(h[j])`. Raises `FormError` unless the layer is hidden."""
    layer, indices = _unit(model, unit)
    if layer.role != "hidden":
        message = f"{layer.name} is {layer.role}: the up-pass starts there"
        raise FormError("E068", unit.span, message, "name a hidden layer's unit")
    return layer.name, indices


def _gradient(model: Model, parameter: Index, phase: Literal["gradient", "wake", "sleep"]) -> Gradient:
    known = model.parameters.get(parameter.name)
    if known is None:
        raise FormError(
            "E060",
            parameter.span,
            f"{parameter.name} is not a parameter",
            suggest(parameter.name, list(model.parameters)),
        )
    _verify_count(parameter, len(known.shape))
    own = parameter.name in model.recognition_parameters
    if own != (phase == "sleep"):
        what = "is a parameter of recognition" if own else "is no parameter of recognition"
        message = f"{parameter.name} {what}, which sleep(...) is for, and gradient(...) and wake(...) for all others"
        help = f"write {'sleep' if own else 'wake'}({parameter.name}[...])" if model.recognises else None
        raise FormError("E071", parameter.span, message, help)
    if phase == "wake" and not model.recognises:
        message = "wake(...) is of models with recognition edges"
        raise FormError("E071", parameter.span, message, "write gradient(...)")
    return Gradient(parameter.name, _names(parameter.indices), phase)


def _given(model: Model, given: tuple[Expression, ...] | None) -> tuple[str, ...]:
    """The layers in a condition, `rest` as it stands."""
    names: list[str] = []
    for item in given or ():
        if not isinstance(item, Name):
            raise FormError("E068", item.span, "a condition lists whole layers", "for example p(h[j] = 1 | v)")
        if item.name != "rest":
            _layer(model, item.name, item.span)
        if item.name in names:
            raise FormError("E068", item.span, f"{item.name} stands twice in the condition", "leave one out")
        names.append(item.name)
    return tuple(names)


def _not_own(model: Model, call: Expression, form: Probability | Mean) -> Probability | Mean:
    if model.layers[form.layer].role == "given":
        raise FormError("E070", call.span, f"{form.layer} is given, and has no distribution", "list it after |")
    if form.layer in form.given:
        message = f"{form.layer} stands on both sides of the bar"
        raise FormError("E069", call.span, message, "for its other units too, write rest")
    return form


def _layer(model: Model, name: str, span: Span) -> Layer:
    if name not in model.layers:
        raise FormError("E060", span, f"{name} is not a layer", suggest(name, list(model.layers)))
    return model.layers[name]


def _unit(model: Model, unit: Index | Name) -> tuple[Layer, tuple[str, ...]]:
    layer = _layer(model, unit.name, unit.span)
    entries = unit.indices if isinstance(unit, Index) else ()
    _verify_count(unit, len(layer.dims))
    return layer, _names(entries)


def _verify_count(node: Index | Name, axes: int) -> None:
    """Raise `FormError` unless there is an index for every axis."""
    count = len(node.indices) if isinstance(node, Index) else 0
    if count != axes:
        raise FormError(
            "E061", node.span, wrong_count(node.name, axes, count), f"write {with_indices(node.name, axes)}"
        )


def wrong_count(name: str, axes: int, count: int) -> str:
    """That a name has this many axes and another number of indices, in words."""
    return (
        f"{name} has {axes} {'axis' if axes == 1 else 'axes'}, and {count} {'index' if count == 1 else 'indices'} here"
    )


def with_indices(name: str, axes: int) -> str:
    """The name with an index for every axis."""
    return f"{name}[{','.join('ijklmnopqrstuwyz'[:axes])}]"


def _names(indices: tuple[Expression, ...]) -> tuple[str, ...]:
    """Indices on the left: names, each once."""
    names: list[str] = []
    for index in indices:
        if not isinstance(index, Name):
            raise FormError("E061", index.span, "an index is a name", "for example j")
        if index.name in names:
            raise FormError("E064", index.span, f"the index {index.name} stands twice on the left", "name them apart")
        names.append(index.name)
    return tuple(names)


def _number(node: Expression) -> Fraction | None:
    match node:
        case Number():
            return node.value
        case Negate(Number() as number):
            return -number.value
        case _:
            return None


def mentions_energy(expression: Expression) -> bool:
    """Whether `energy` or `log_joint` occurs in a formula."""
    return any(node in (Name("energy"), Name("log_joint")) for node, _ in walk(expression))


def variable_indices(model: Model, expression: Expression) -> dict[str, Size]:
    """The indices of the variables of derivatives at the top of a formula: they are free on a left side."""
    found: dict[str, Size] = {}
    while isinstance(expression, Call) and expression.function == "d" and len(expression.arguments) == 2:
        expression, variable = expression.arguments
        if isinstance(variable, Index) and variable.name in model.parameters:
            shape = model.parameters[variable.name].shape
            for index, size in zip(variable.indices, shape, strict=False):
                if isinstance(index, Name):
                    found.setdefault(index.name, size)
    return found
