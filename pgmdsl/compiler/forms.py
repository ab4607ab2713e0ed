"""The left side of a check: which quantity it speaks of, and of which unit."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from pgmdsl.compiler.model import Layer, Model, Size
from pgmdsl.compiler.units import Finite, OneHot
from pgmdsl.grammar.diagnostics import suggest
from pgmdsl.grammar.source import Span
from pgmdsl.grammar.syntax import Call, Compare, Expression, Index, Name, Negate, Number
from pgmdsl.grammar.walk import walk


@dataclass(frozen=True, slots=True)
class Probability:
    """`p(h[j] = 1 | v, h2)`: `indices` with the state's last for a softmax; `value` of a finite unit, else None."""

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
class Gradient:
    """`gradient(W[i,j])`."""

    parameter: str
    indices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Formula:
    """`energy`, `free_energy(v)` and derivatives of them: a formula that stands for itself."""

    expression: Expression


Form = Probability | Mean | MeanField | Gradient | Formula


class FormError(Exception):
    """One mistake in a check: code, place, message, help."""

    def __init__(self, code: str, span: Span, message: str, help: str | None = None) -> None:
        """Keep what a diagnostic needs."""
        super().__init__(message)
        self.code, self.span, self.message, self.help = code, span, message, help


NOT_BUILT = {
    **dict.fromkeys(
        ("q", "up", "expect", "entropy", "kl", "wake", "sleep", "bound"), ("E071", "recognition and bounds")
    ),
    **dict.fromkeys(("Z", "log_joint"), ("E073", "the partition function and what holds it")),
    **dict.fromkeys(("counts p", "word", "length"), ("E074", "documents and counts")),
    **dict.fromkeys(("poisson", "categorical"), ("E079", "this distribution on a right side")),
}
"""Forms of the language that are not built yet: their code, and what they are called."""


def verify_built(name: str, span: Span) -> None:
    """Raise `FormError` for a form of the language that is not built yet."""
    if name in NOT_BUILT:
        code, what = NOT_BUILT[name]
        raise FormError(code, span, f"{name}: {what} are not built yet in checks", "leave this check out")


def read_form(model: Model, left: Expression) -> Form:
    """The form of a check's left side. Raises `FormError` for what is none, or is not built yet."""
    match left:
        case Name("energy"):
            return Formula(left)
        case Call("free_energy" | "d"):
            return Formula(left)
        case Name(name) | Call(name) if name in NOT_BUILT:
            verify_built(name, left.span)
        case Call("p", (event,), given=given):
            return _probability(model, left, event, _given(model, given))
        case Call("p"):
            raise _joint(left)
        case Call("mean", (Index() as unit,), given=given):
            layer, indices = _unit(model, unit)
            return _not_own(layer, left, Mean(layer.name, indices, _given(model, given)))
        case Call("mean_field", (Index() as unit,), given=None):
            layer, indices = _unit(model, unit)
            if layer.role != "hidden":
                raise FormError(
                    "E068",
                    unit.span,
                    f"{layer.name} is visible: it is clamped in mean field",
                    "name a hidden layer's unit",
                )
            return MeanField(layer.name, indices)
        case Call("gradient", (Index() as parameter,), given=None):
            return _gradient(model, parameter)
        case _:
            pass
    raise FormError(
        "E068",
        left.span,
        "the left side of a check is none of the forms that are known",
        "for example p(h[j] = 1 | v), energy, free_energy(v), mean(h[j] | v), mean_field(h[j]) or gradient(W[i,j])",
    )


def _probability(model: Model, call: Call, event: Expression, given: tuple[str, ...]) -> Form:
    value: Expression | None = None
    match event:
        case Compare("=", Index() | Name() as unit, state):
            value = state
        case Index() as unit:
            pass
        case Name(name) if name in model.layers:
            raise _joint(call)
        case _:
            raise FormError("E068", event.span, "this is not the state of one unit", "for example p(h[j] = 1 | v)")
    layer = _layer(model, unit.name, unit.span)
    found: Fraction | None
    match layer.unit.support:
        case OneHot():
            return _not_own(layer, call, _site(layer, unit, value, given))
        case Finite(values):
            choices = " or ".join(f"{layer.name}[...] = {v}" for v in reversed(values))
            if value is None or not isinstance(unit, Index):
                raise FormError(
                    "E068", event.span, f"say in which state the {layer.unit.name} unit is", f"write {choices}"
                )
            found = _number(value)
            if found not in values:
                message = f"a {layer.unit.name} unit is never in this state"
                raise FormError("E068", value.span, message, f"write {choices}")
        case _:
            found = None  # a density
            if value is not None:
                help = f"write p({layer.name}[...] | ...) == normal(mean, sd)"
                raise FormError("E068", event.span, f"a {layer.unit.name} unit has a density, not a probability", help)
    _, indices = _unit(model, unit)
    return _not_own(layer, call, Probability(layer.name, indices, found, given))


def _site(layer: Layer, unit: Index | Name, value: Expression | None, given: tuple[str, ...]) -> Probability:
    """A softmax site in a state: `y = k`, `x[i] = k`."""
    entries = unit.indices if isinstance(unit, Index) else ()
    site = f"{layer.name}[{','.join('ijlmnopq'[: len(layer.dims) - 1])}]" if len(layer.dims) > 1 else layer.name
    if not isinstance(value, Name) or len(entries) != len(layer.dims) - 1:
        message = f"the event of a softmax layer names a site of {layer.name} and an index for its state"
        raise FormError("E068", unit.span, message, f"write {site} = k")
    return Probability(layer.name, _names((*entries, value)), None, given)


def _gradient(model: Model, parameter: Index) -> Gradient:
    known = model.parameters.get(parameter.name)
    if known is None:
        raise FormError(
            "E060",
            parameter.span,
            f"{parameter.name} is not a parameter",
            suggest(parameter.name, list(model.parameters)),
        )
    _verify_count(parameter, len(known.shape))
    return Gradient(parameter.name, _names(parameter.indices))


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


def _not_own(layer: Layer, call: Expression, form: Probability | Mean) -> Probability | Mean:
    if layer.name in form.given:
        message = f"{layer.name} stands on both sides of the bar"
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


def _joint(call: Expression) -> FormError:
    return FormError(
        "E070",
        call.span,
        "probabilities of whole layers are not built yet in checks",
        "write the probability of one unit, for example p(h[j] = 1 | v), or free_energy(v) for -log p(v) - log Z",
    )


def mentions_energy(expression: Expression) -> bool:
    """Whether `energy` occurs in a formula."""
    return any(node == Name("energy") for node, _ in walk(expression))


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
