"""Checks under an assumption: `where J = 0`, `where W2 = W1'`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pgmdsl.compiler.forms import FormError
from pgmdsl.compiler.graph import greedy_stages
from pgmdsl.compiler.model import Edge, Initial, Model, Parameter
from pgmdsl.compiler.parts import restricted
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


def in_stage(model: Model, check: CheckDeclaration) -> tuple[Model, CheckDeclaration, Mapping[str, float]]:
    """The restricted machine of the stage that a check is said to be in, and how often inputs count that do so twice.

    Where those of all its layers do, it is a machine in which every edge stands twice, and nothing has to be scaled.
    """
    if check.greedy is None:
        return model, check, {}
    upper = check.greedy.name
    stage = next((stage for stage in greedy_stages(model) if stage.upper == upper), None)
    if stage is None:
        message = f"greedy pretraining has no stage for {upper}"
        raise FormError("E075", check.greedy.span, message, "it needs edges to layers that are declared before it")
    part = restricted(model, stage)
    free = [name for name, layer in part.layers.items() if layer.role != "given"]
    if all(stage.scale.get(name, 1.0) == 2 for name in free):
        part = replace(part, edges=tuple(edge for edge in part.edges for _ in (1, 2)))
        return part, replace(check, greedy=None), {}
    scale = {name: times for name, times in stage.scale.items() if times != 1 and name in free}
    return part, replace(check, greedy=None), scale


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
        edges=_kept(model.edges, "" if value else parameter.name),
        directed=_kept(model.directed, "" if value else parameter.name),
        recognition=_kept(model.recognition, "" if value else parameter.name),
    )


def _kept(edges: tuple[Edge, ...], without: str) -> tuple[Edge, ...]:
    """The edges, those of one weight left out."""
    return tuple(edge for edge in edges if edge.weight != without)


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
        if own.weight != name:
            return own
        return replace(own, layers=own.layers[::-1] if transposed else own.layers, weight=other)

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
            recognition=other if layer.recognition == name else layer.recognition,
            parameters={k: other if own == name else own for k, own in layer.parameters.items()},
        )
        for key, layer in model.layers.items()
    }
    parameters = {key: own for key, own in model.parameters.items() if key != name}
    groups = (tuple(map(edge, each)) for each in (model.edges, model.directed, model.recognition))
    edges, directed, recognition = groups
    changed = replace(
        model, layers=layers, edges=edges, directed=directed, recognition=recognition, parameters=parameters
    )
    return changed, replace(check, left=rewrite(check.left, change), right=rewrite(check.right, change))
