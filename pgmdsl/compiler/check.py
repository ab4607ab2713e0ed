"""From syntax tree to checked model: names resolved, shapes known symbolically, every mistake reported."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from pgmdsl.compiler.check_data import check_data
from pgmdsl.compiler.check_directed import check_directed, check_parents, of_kind, with_recognition
from pgmdsl.compiler.check_edges import check_edges
from pgmdsl.compiler.check_layers import check_layers, with_counted
from pgmdsl.compiler.check_limits import verify_limits
from pgmdsl.compiler.check_names import MistakeError, Scope, broken_words
from pgmdsl.compiler.check_networks import classified
from pgmdsl.compiler.check_parameters import Parameters
from pgmdsl.compiler.check_train import check_train
from pgmdsl.compiler.check_units import check_units
from pgmdsl.compiler.check_values import Context
from pgmdsl.compiler.model import Layer, Model
from pgmdsl.compiler.normalise import check_normalises
from pgmdsl.compiler.sizes import check_sizes
from pgmdsl.grammar.diagnostics import Diagnostics
from pgmdsl.grammar.source import NOWHERE, Source, Span
from pgmdsl.grammar.syntax import (
    CheckDeclaration,
    DataBlock,
    EdgeDeclaration,
    File,
    LayerDeclaration,
    ModelDeclaration,
    TrainBlock,
    UnitDeclaration,
)

S = TypeVar("S")


def check_model(source: Source, file: File, diagnostics: Diagnostics, overrides: Mapping[str, int]) -> Model | None:
    """The model that a parsed file describes, with sizes from `overrides` in place of the file's.

    Every mistake is added to `diagnostics`. None if there is one, of this stage or before it.
    """
    scope = Scope(diagnostics, broken_words(source, file) if diagnostics.errors else frozenset())
    header = _the_model_line(file, scope)
    sizes = check_sizes(header, overrides, scope)
    parameters = Parameters(scope, sizes)
    own_units = check_units(_all(file, UnitDeclaration), scope)
    declarations = _all(file, LayerDeclaration)
    _verify_roles(declarations, file, scope)
    layers = check_layers(declarations, own_units, scope, parameters)
    names = list(dict.fromkeys(declaration.name.name for declaration in declarations))
    joins = _all(file, EdgeDeclaration)
    every = check_edges(joins, names, layers, scope, parameters)
    sound = check_directed(every, joins, layers, scope)
    edges = of_kind(every, "undirected")
    layers = with_recognition(with_counted(layers, declarations, edges), every, parameters)
    found = parameters.resolve()
    check_parents(every, layers, found, scope)
    check_normalises(layers, edges, found, sizes, scope)
    verify_limits(layers, found, sizes, header.name.span if header else NOWHERE, scope)
    _warn_alone(layers.values(), joins, classified(_all(file, TrainBlock)), scope)
    draft = Model(
        name=header.name.name if header else "",
        source=source,
        file=file,
        sizes=sizes,
        layers=layers,
        edges=edges,
        parameters=found,
        checks=_check_checks(_all(file, CheckDeclaration), declarations, scope),
        data=check_data(_all(file, DataBlock), names, layers, scope),
        phases=(),
        directed=of_kind(every, "directed"),
        recognition=of_kind(every, "recognition"),
    )
    whole = len(layers) == len(declarations) and len(every) == len(joins) and sound
    context = Context(sizes, parameters.mentioned, names)
    phases = check_train(_all(file, TrainBlock), draft if whole else None, context, scope)
    return None if diagnostics.errors else replace(draft, phases=phases)


def _all(file: File, kind: type[S]) -> list[S]:
    return [statement for statement in file.statements if isinstance(statement, kind)]


def _the_model_line(file: File, scope: Scope) -> ModelDeclaration | None:
    found = _all(file, ModelDeclaration)
    for again in found[1:]:
        scope.record(MistakeError("E032", again.name.span, "this is a second model line", "a file holds one model"))
    if found:
        return found[0]
    if "model" not in scope.broken:
        message = "this file has no model line" if file.statements else "this file holds no model"
        scope.record(
            MistakeError("E031", _start(file), message, "begin with one, for example model RBM(D = 784, F = 500)")
        )
    return None


def _start(file: File) -> Span:
    return file.statements[0].span if file.statements else NOWHERE


def _verify_roles(declarations: Sequence[LayerDeclaration], file: File, scope: Scope) -> None:
    """Report a file without layers, or without a visible one."""
    if not file.statements or scope.broken & {"visible", "hidden", "given"}:
        return
    if not declarations:
        help = "for example visible v : binary[D]"
        scope.record(MistakeError("E033", _start(file), "this file declares no layer", help))
    elif all(declaration.role != "visible" for declaration in declarations):
        help = "declare the layer that the data is for as visible"
        scope.record(MistakeError("E034", declarations[0].span, "this model has no visible layer", help))


def _warn_alone(layers: Collection[Layer], joins: Sequence[EdgeDeclaration], predicted: set[str], scope: Scope) -> None:
    """Warn of layers without edges, unless a name in an edge is unknown and may be meant to be theirs.

    Layers that a classifier predicts need none: the network joins them.
    """
    joined = {layer.name for join in joins for layer in join.layers}
    if not joined <= scope.declared.keys():
        return
    joined |= scope.broken | predicted
    for layer in layers:
        if layer.name not in joined:
            message = f"{layer.name} has no edges, so it is independent of all other layers"
            other = next((other.name for other in layers if other.role != layer.role), None)
            help = f"join it to another layer, for example {layer.name} -- {other}" if other else None
            scope.diagnostics.warn("W001", layer.span, message, help)


def _check_checks(
    checks: Sequence[CheckDeclaration], declarations: Sequence[LayerDeclaration], scope: Scope
) -> tuple[CheckDeclaration, ...]:
    """The checks as they stand; their titles and the layer of `in greedy LAYER` are looked at here."""
    hidden = [d.name.name for d in declarations if d.role == "hidden"]
    for check in checks:
        if not check.title.value.strip():
            help = 'say where the formula stands, for example "Hinton (2010), eq. 7"'
            scope.record(MistakeError("E086", check.title.span, "this check has an empty title", help))
        if check.greedy is not None and check.greedy.name not in hidden:
            scope.record(MistakeError.unknown(check.greedy.name, check.greedy.span, "is not a hidden layer", hidden))
    return tuple(checks)
