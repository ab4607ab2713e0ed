"""Layers: unit types, axes, biases and standard deviations."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pgmdsl.compiler.check_names import MistakeError, Scope
from pgmdsl.compiler.check_parameters import Parameters, Use, check_options, constant_of, initial_of, path_of
from pgmdsl.compiler.model import Initial, Layer, Size
from pgmdsl.compiler.sizes import Values, size_of, verify_positive
from pgmdsl.compiler.units import PLANNED_UNITS, UNITS, Unit
from pgmdsl.grammar.diagnostics import suggest
from pgmdsl.grammar.syntax import Expression, Identifier, LayerDeclaration, Name, Text, UnitDeclaration

MOST_AXES = 8


def check_layers(
    declarations: Sequence[LayerDeclaration], own_units: Collection[str], scope: Scope, parameters: Parameters
) -> dict[str, Layer]:
    """The layers that are in order, by name in file order; their biases and sigmas are noted in `parameters`."""
    introduced = [d for d in declarations if scope.declare(d.name, "layer")]
    layers: dict[str, Layer] = {}
    for declaration in introduced:
        bias = _bias_name(declaration)
        if bias is not None:
            parameters.mentioned.add(bias.name)
        layer = _check_layer(declaration, bias, own_units, parameters.values, scope)
        if layer is not None:
            layers[layer.name] = layer
            _note_parameters(declaration, bias, layer, scope, parameters)
    return layers


def check_units(declarations: Sequence[UnitDeclaration], scope: Scope) -> set[str]:
    """The names of the file's own unit types, each reported as not built yet."""
    for unit in declarations:
        scope.record(
            MistakeError(
                "E906",
                unit.name.span,
                f"unit types of a file's own, such as {unit.name.name}, are not built yet",
                f"the unit types are {', '.join(name for name in UNITS if name not in PLANNED_UNITS)}",
            )
        )
    return {unit.name.name for unit in declarations}


def _check_layer(
    declaration: LayerDeclaration, bias: Identifier | None, own_units: Collection[str], values: Values, scope: Scope
) -> Layer | None:
    """The layer, or None when something is wrong with it; every mistake in it is reported."""
    name = declaration.name.name
    unit: Unit | None = None
    with scope.recorded():
        unit = _unit_of(declaration, own_units)
    dims = _check_axes(declaration, values, scope)
    if declaration.role == "given":
        place = declaration.name.span
        scope.record(MistakeError("E902", place, f"given layers, such as {name}, are not built yet", "leave it out"))
        return None
    if unit is None or dims is None:
        return None
    return Layer(
        name=name,
        role=declaration.role,
        unit=unit,
        dims=dims,
        bias=bias.name if bias else None,
        parameters={own.name: f"{own.name}_{name}" for own in unit.parameters},
        span=declaration.span,
    )


def _bias_name(declaration: LayerDeclaration) -> Identifier | None:
    if declaration.bias is None:
        return Identifier(f"b_{declaration.name.name}", span=declaration.name.span)
    return declaration.bias.name


def _unit_of(declaration: LayerDeclaration, own_units: Collection[str]) -> Unit | None:
    """The unit type; None for one of the file's own, which is reported where it stands."""
    unit = declaration.unit
    if unit.name in UNITS and unit.name not in PLANNED_UNITS:
        return UNITS[unit.name]
    if unit.name in own_units:
        return None
    known = ", ".join(name for name in UNITS if name not in PLANNED_UNITS)
    if unit.name in PLANNED_UNITS:
        raise MistakeError("E905", unit.span, f"{unit.name} units are not built yet", f"the unit types are {known}")
    near = suggest(unit.name.lower(), [*UNITS, *PLANNED_UNITS])
    raise MistakeError("E040", unit.span, f"{unit.name} is not a unit type", near or f"the unit types are {known}")


def _check_axes(declaration: LayerDeclaration, values: Values, scope: Scope) -> tuple[Size, ...] | None:
    dims: list[Size] = []
    unit = declaration.unit
    if not 1 <= len(declaration.dims) <= MOST_AXES:
        message = f"layer {declaration.name.name} has {len(declaration.dims)} axes"
        help = f"a layer has 1 to {MOST_AXES} axes, for example {unit.name}[100]"
        scope.record(MistakeError("E041", unit.span, message, help))
        return None
    for node in declaration.dims:
        with scope.recorded():
            size = size_of(node, values)
            verify_positive(size, values, node.span, f"the size of {declaration.name.name}")
            dims.append(size)
    return tuple(dims) if len(dims) == len(declaration.dims) else None


def _note_parameters(
    declaration: LayerDeclaration, bias: Identifier | None, layer: Layer, scope: Scope, parameters: Parameters
) -> None:
    """Note the uses of the layer's bias and of its sigma."""
    stated = check_options(declaration.options, layer.unit.options, f"{layer.unit.name} layer", scope)
    if layer.sigma is not None:
        with scope.recorded():
            initial = _sigma_start(stated["sigma"].value if "sigma" in stated else None, layer)
            sigma = Identifier(layer.sigma, span=declaration.name.span)
            parameters.add(Use("unit", sigma, (layer,), initial, fixed=True))
    options = declaration.bias.options if declaration.bias else ()
    if bias is None:
        check_options(options, (), "layer without bias", scope)
        return
    visible = layer.role == "visible"
    default = Initial("data") if visible else Initial("constant", 0.0)
    initial, fixed = initial_of("bias", options, default, visible, scope)
    parameters.add(Use("bias", bias, (layer,), initial, fixed, options))


def _sigma_start(value: Expression | None, layer: Layer) -> Initial:
    """The standard deviations of a Gaussian layer: 1 unless its options say otherwise. Raises `MistakeError`."""
    match value:
        case None:
            return Initial("constant", 1.0)
        case Text():
            return Initial("file", text=path_of(value))
        case Name("learned"):
            raise MistakeError(
                "E907",
                value.span,
                f"learning the standard deviations of {layer.name} is not built yet",
                "give a number or a file, or sigma = data, which measures them once",
            )
        case Name("data"):
            if layer.role != "visible":
                message = f"{layer.name} is {layer.role}, so there is no data to measure its sigma on"
                raise MistakeError("E043", value.span, message, "give a number or a file")
            return Initial("data")
        case _:
            number = constant_of(value, "sigma")
            if number <= 0:
                raise MistakeError(
                    "E043", value.span, "a standard deviation is greater than 0", "for example sigma = 1"
                )
            return Initial("constant", number)
