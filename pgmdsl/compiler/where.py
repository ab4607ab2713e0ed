"""Checks under an assumption: `where J = 0`, `where W2 = W1'`."""

from __future__ import annotations

from dataclasses import replace

from pgmdsl.compiler.forms import FormError
from pgmdsl.compiler.model import Edge, Initial, Model, Parameter
from pgmdsl.compiler.rewrite import rewrite
from pgmdsl.grammar.diagnostics import suggest
from pgmdsl.grammar.syntax import (
    CheckDeclaration,
    Expression,
    Index,
    Name,
    Negate,
    Number,
    Option,
    Transpose,
)


def assumed(model: Model, check: CheckDeclaration) -> tuple[Model, CheckDeclaration]:
    """The model of which a check speaks, and the check without its assumptions. Raises `FormError`."""
    for option in check.where:
        model, check = _assume(model, check, option)
    return model, replace(check, where=())


def _assume(model: Model, check: CheckDeclaration, option: Option) -> tuple[Model, CheckDeclaration]:
    name = option.key.name
    parameter = model.parameters.get(name)
    if parameter is None:
        known = suggest(name, list(model.parameters))
        raise FormError("E060", option.key.span, f"{name} is not a parameter", known)
    match option.value:
        case Number() as number:
            return _at_number(model, parameter, float(number.value), option), check
        case Negate(Number() as number):
            return _at_number(model, parameter, -float(number.value), option), check
        case Name(other):
            return _tied(model, check, parameter, other, False, option)
        case Transpose(Name(other)):
            return _tied(model, check, parameter, other, True, option)
        case _:
            message = "an assumption says that a parameter is a number, or another one"
            raise FormError("E075", option.value.span, message, "for example where J = 0, or where W2 = W1'")


def _at_number(model: Model, parameter: Parameter, value: float, option: Option) -> Model:
    """The model with every entry of a parameter at this number; a weight of 0 is no edge."""
    if (parameter.positive and value <= 0) or (parameter.symmetric and value):
        what = "greater than 0" if parameter.positive else "0 on its diagonal"
        raise FormError("E075", option.value.span, f"{parameter.name} is {what}, and cannot be {value:g}")
    fixed = replace(parameter, fixed=True, initial=Initial("constant", value))
    return replace(
        model,
        parameters={**model.parameters, parameter.name: fixed},
        edges=tuple(edge for edge in model.edges if value or edge.weight != parameter.name),
    )


def _tied(
    model: Model, check: CheckDeclaration, parameter: Parameter, other: str, transposed: bool, option: Option
) -> tuple[Model, CheckDeclaration]:
    """The model with one parameter in the place of another of the same shape, the check in its terms."""
    name = parameter.name
    known = model.parameters.get(other)
    if known is None:
        raise FormError(
            "E060", option.value.span, f"{other} is not a parameter", suggest(other, list(model.parameters))
        )
    axes = [model.layers[layer].dims for layer in known.layers]
    shape = sum(reversed(axes), ()) if transposed else known.shape
    if known.kind != parameter.kind or shape != parameter.shape or (transposed and len(axes) != 2) or other == name:
        prime = "'" if transposed else ""
        own, its = (", ".join(map(str, s)) for s in (parameter.shape, shape))
        message = f"{name} has shape ({own}), and {other}{prime} has ({its})"
        raise FormError("E075", option.value.span, message, "name a parameter of the same kind and shape")
    first = len(axes[0])

    def edge(own: Edge) -> Edge:
        layers = own.layers[::-1] if transposed else own.layers
        return replace(own, layers=layers, weight=other) if own.weight == name else own

    def change(node: Expression) -> Expression | None:
        if not isinstance(node, Index) or node.name != name:
            return None
        second = len(node.indices) - first
        return Index(
            other, (*node.indices[second:], *node.indices[:second]) if transposed else node.indices, span=node.span
        )

    layers = {
        key: replace(
            layer,
            bias=other if layer.bias == name else layer.bias,
            parameters={k: other if own == name else own for k, own in layer.parameters.items()},
        )
        for key, layer in model.layers.items()
    }
    parameters = {key: own for key, own in model.parameters.items() if key != name}
    changed = replace(model, layers=layers, edges=tuple(map(edge, model.edges)), parameters=parameters)
    return changed, replace(check, left=rewrite(check.left, change), right=rewrite(check.right, change))
