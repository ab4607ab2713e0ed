"""Absurd sizes, refused with the memory that they would need."""

from __future__ import annotations

from collections.abc import Mapping

from pgmdsl.compiler.check_names import MistakeError, Scope
from pgmdsl.compiler.model import Layer, Parameter
from pgmdsl.compiler.sizes import Values, count_of, show_axes, show_memory
from pgmdsl.grammar.source import Span

MOST_NUMBERS = 2**31  # of one array
MOST_MEMORY = 2**34  # numbers: 64 GiB in float32
CASES = 100  # of an ordinary batch


def verify_limits(
    layers: Mapping[str, Layer], parameters: Mapping[str, Parameter], values: Values, place: Span, scope: Scope
) -> None:
    """Report arrays and models too large to hold: an array above 2^31 numbers, parameters or a batch above 64 GiB."""
    refused: set[str] = set()
    for layer in layers.values():
        units = count_of(layer.dims, values)
        if units is not None and units * CASES > MOST_MEMORY:
            message = (
                f"{layer.name} has {units} units: a batch of {CASES} cases would need {show_memory(CASES * units)}"
            )
            _refuse(message, layer.span, scope)
            refused.add(layer.name)
    total = 0
    for parameter in parameters.values():
        numbers = count_of(parameter.shape, values)
        if numbers is None:
            continue
        total += numbers
        if numbers > MOST_NUMBERS and parameter.layers not in {(name,) for name in refused}:
            refused.add(parameter.name)
            names = ", ".join(parameter.layers)
            shape = show_axes((layers[name] for name in parameter.layers), values)
            message = f"{parameter.name} has shape ({names}) = {shape}: it would need {show_memory(numbers)}"
            _refuse(message, parameter.span, scope)
    if total > MOST_MEMORY and not refused:
        _refuse(f"the parameters of this model would need {show_memory(total)}", place, scope)


def _refuse(message: str, place: Span, scope: Scope) -> None:
    help = f"make it smaller: an array takes at most {show_memory(MOST_NUMBERS)}, a model {show_memory(MOST_MEMORY)}"
    scope.record(MistakeError("E038", place, message, help))
