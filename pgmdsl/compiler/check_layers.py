"""Layers: unit types, axes, trials, biases and the units' own parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pgmdsl.compiler.check_names import MistakeError, Scope
from pgmdsl.compiler.check_options import bias_traits, check_options, own_traits
from pgmdsl.compiler.check_parameters import Parameters, Use
from pgmdsl.compiler.check_units import OwnUnits, options_elsewhere, unit_of
from pgmdsl.compiler.model import Edge, Initial, Layer, Size
from pgmdsl.compiler.sizes import Values, size_of, value_of, verify_positive
from pgmdsl.compiler.units import Counts, Unit, Whole
from pgmdsl.grammar.syntax import Identifier, LayerDeclaration, Option

MOST_AXES = 8
MOST_TRIALS = 2**16


def check_layers(
    declarations: Sequence[LayerDeclaration], own_units: OwnUnits, scope: Scope, parameters: Parameters
) -> dict[str, Layer]:
    """The layers that are in order, by name in file order; their biases and own parameters are noted in `parameters`.

    `counted` is filled in by `with_counted`, once the edges are known.
    """
    introduced = [d for d in declarations if scope.declare(d.name, "layer")]
    layers: dict[str, Layer] = {}
    for declaration in introduced:
        bias = _bias_name(declaration)
        if bias is not None:
            parameters.mentioned.add(bias.name)
        unit: Unit | None = None
        with scope.recorded():
            unit = unit_of(declaration.unit, own_units)
        dims = _check_axes(declaration, unit, parameters.values, scope)
        if unit is None:
            continue
        stated = _layer_options(declaration, unit, own_units, scope)
        trials: Size | None = None
        with scope.recorded():
            trials = _trials_of(declaration, unit, stated, parameters.values)
        if dims is None or (trials is None and isinstance(unit.support, Whole)):
            continue
        given = declaration.role == "given"
        name = declaration.name.name
        layers[name] = layer = Layer(
            name=name,
            role=declaration.role,
            unit=unit,
            dims=dims,
            bias=bias.name if bias else None,
            parameters={} if given else {own.name: f"{own.name}_{name}" for own in unit.parameters},
            span=declaration.span,
            trials=trials,
        )
        if declaration.role == "hidden" and isinstance(unit.support, Counts):
            message = f"{name} is hidden, and the length of a document is not modelled: nothing says how long {name} is"
            help = "make it visible or given, or take softmax[n, K] for n words"
            scope.record(MistakeError("E039", declaration.unit.span, message, help))
        _note_bias(declaration, bias, layer, scope, parameters)
        _note_own(declaration, layer, stated, scope, parameters)
    return layers


def with_counted(
    layers: Mapping[str, Layer], declarations: Sequence[LayerDeclaration], edges: Sequence[Edge]
) -> dict[str, Layer]:
    """The layers with the count layers whose summed lengths multiply their bias: all that share an edge with them.

    None of a layer whose bias is stated with `scale = 1`, or that is itself a count layer: each of its words has the
    bias once.
    """
    plain = {d.name.name for d in declarations if d.bias and any(o.key.name == "scale" for o in d.bias.options)}
    out = {}
    for name, layer in layers.items():
        near = {other for edge in edges if name in edge.layers for other in edge.layers if other != name}
        counted = tuple(n for n in layers if n in near and isinstance(layers[n].unit.support, Counts))
        scaled = layer.bias is not None and name not in plain and not isinstance(layer.unit.support, Counts)
        out[name] = replace(layer, counted=counted if scaled else ())
    return out


def _bias_name(declaration: LayerDeclaration) -> Identifier | None:
    if declaration.role == "given":
        return None
    if declaration.bias is None:
        return Identifier(f"b_{declaration.name.name}", span=declaration.name.span)
    return declaration.bias.name


def _check_axes(
    declaration: LayerDeclaration, unit: Unit | None, values: Values, scope: Scope
) -> tuple[Size, ...] | None:
    dims: list[Size] = []
    name, place = declaration.name.name, declaration.unit.span
    most = 1 if unit is not None and isinstance(unit.support, Counts) else MOST_AXES
    if not 1 <= len(declaration.dims) <= most:
        kind = declaration.unit.name
        help = f"a layer has 1 to {MOST_AXES} axes, for example {kind}[100]"
        if most == 1:
            help = f"{kind}[K] is one document over K words; declare a layer for each document of a case"
        scope.record(MistakeError("E041", place, f"layer {name} has {len(declaration.dims)} axes", help))
        return None
    for node in declaration.dims:
        with scope.recorded():
            size = size_of(node, values)
            verify_positive(size, values, node.span, f"the size of {name}")
            dims.append(size)
    return tuple(dims) if len(dims) == len(declaration.dims) else None


def _layer_options(declaration: LayerDeclaration, unit: Unit, own_units: OwnUnits, scope: Scope) -> dict[str, Option]:
    """The options of the layer; those of own parameters are refused where it is given."""
    what = f"{unit.name} layer"
    stated = check_options(declaration.options, unit.options, what, scope, options_elsewhere(unit, own_units))
    if declaration.role != "given":
        return stated
    for own in unit.parameters:
        if option := stated.pop(own.name, None):
            message = f"{declaration.name.name} is given: it has no energy, and so no {own.name}"
            help = "leave it out; edges multiply the values as they are (scale in its data block multiplies them)"
            scope.record(MistakeError("E046", option.span, message, help))
    return stated


def _trials_of(declaration: LayerDeclaration, unit: Unit, stated: Mapping[str, Option], values: Values) -> Size | None:
    """The number of trials of a binomial layer; None where the unit type has none. Raises `MistakeError`."""
    if not isinstance(unit.support, Whole):
        return None
    name = declaration.name.name
    if "trials" not in stated:
        if any(option.key.name not in unit.options for option in declaration.options):
            return None  # a slip in its name, which is reported
        message = f"{name} is {unit.name}, and nothing says of how many trials"
        help = f"for example {declaration.role} {name} : {unit.name}[...](trials = 10)"
        raise MistakeError("E044", declaration.unit.span, message, help)
    node = stated["trials"].value
    trials = size_of(node, values)
    verify_positive(trials, values, node.span, f"the number of trials of {name}")
    value = value_of(trials, values)
    if value is not None and value > MOST_TRIALS:
        message = f"{name} has {value} trials, and a unit has at most {MOST_TRIALS}"
        help = f"poisson units have no upper limit: {declaration.role} {name} : poisson[...]"
        raise MistakeError("E044", node.span, message, help)
    return trials


def _note_bias(
    declaration: LayerDeclaration, bias: Identifier | None, layer: Layer, scope: Scope, parameters: Parameters
) -> None:
    """Note the use of the layer's bias."""
    clause = declaration.bias
    if layer.role == "given":
        if clause is not None and clause.name is not None:
            message = f"{layer.name} is given: its values are never drawn, so it has no bias"
            help = f"leave out bias {clause.name.name}"
            scope.record(MistakeError("E046", clause.span, message, help))
        return
    options = clause.options if clause else ()
    if bias is None:
        check_options(options, (), "layer without bias", scope)
        return
    visible = layer.role == "visible"
    default = Initial("data") if visible else Initial("constant", 0.0)
    traits = bias_traits(options, default, visible, scope)
    shared = tuple(option for option in options if option.key.name != "scale")  # the scale is the layer's own
    parameters.add(Use("bias", bias, (layer,), traits, shared))


def _note_own(
    declaration: LayerDeclaration, layer: Layer, stated: Mapping[str, Option], scope: Scope, parameters: Parameters
) -> None:
    """Note the uses of the parameters that the layer's units have of their own."""
    for own in layer.unit.parameters:
        if own.name in layer.parameters:
            with scope.recorded():
                traits = own_traits(own, stated.get(own.name), layer.role == "visible")
                name = Identifier(layer.parameters[own.name], span=declaration.name.span)
                parameters.add(Use("unit", name, (layer,), traits, positive=own.positive))
