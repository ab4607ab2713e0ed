"""Parameters: every use of a weight's, bias's or unit parameter's name gathered, and one parameter made of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from pgmdsl.compiler.check_names import MistakeError, Scope
from pgmdsl.compiler.check_options import Traits
from pgmdsl.compiler.model import Layer, Parameter, Size
from pgmdsl.compiler.sizes import Values, show_axes
from pgmdsl.grammar.syntax import Identifier, Option

Kind = Literal["weight", "bias", "unit"]
_NOUNS = {"weight": "weight", "bias": "bias", "unit": "parameter of a layer's units"}


@dataclass(frozen=True, slots=True)
class Use:
    """One place where a parameter stands: its name, the layers whose axes it has there, what its options say.

    `options` are those that belong to the parameter and not to the place. `reversed` for `W'`: the layers are then
    those of the unprimed weight. A lateral edge has its layer twice.
    """

    kind: Kind
    name: Identifier
    layers: tuple[Layer, ...]
    traits: Traits
    options: tuple[Option, ...] = ()
    reversed: bool = False
    positive: bool = False

    @property
    def lateral(self) -> bool:
        """Whether it is the use of a weight within a layer."""
        return self.kind == "weight" and len({layer.name for layer in self.layers}) < len(self.layers)


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
        self.scope.verify_free(name.name, name.span, _NOUNS[uses[0].kind])
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
        traits = stated[0].traits if stated else first.traits
        return Parameter(
            name=name.name,
            kind=first.kind,
            layers=tuple(layer.name for layer in first.layers),
            shape=tuple(dim for layer in first.layers for dim in layer.dims),
            initial=traits.initial,
            fixed=traits.fixed,
            span=first.name.span,
            positive=first.positive,
            symmetric=first.lateral,
            mask=traits.mask,
            decay=traits.decay,
            l1=traits.l1,
            max_norm=traits.max_norm,
        )

    def _verify_same(self, first: Use, use: Use) -> None:
        """Raise `MistakeError` where a name stands for two kinds of parameter, or for two shapes."""
        name = use.name.name
        if use.kind != first.kind:
            raise MistakeError(
                "E012",
                use.name.span,
                f"{name} is the name of a {_NOUNS[first.kind]} and of a {_NOUNS[use.kind]}",
                "a name used again is one parameter, so give this one a name of its own",
            )
        own = f"give this edge a weight of its own, for example {self._free_name(name)}"
        if use.lateral != first.lateral:
            inside, between = (use, first) if use.lateral else (first, use)
            message = (
                f"{name} stands within {inside.layers[0].name} and between "
                f"{' and '.join(layer.name for layer in between.layers)}: within a layer a weight is symmetric with "
                "zero diagonal, and between layers it is not"
            )
            raise MistakeError("E087", use.name.span, message, own)
        if _axes(use.layers) != _axes(first.layers):
            raise self._other_shape(first, use)
        if use.lateral and use.layers[0].unit.states_axis != first.layers[0].unit.states_axis:
            one, other = (first, use) if first.layers[0].unit.states_axis else (use, first)
            message = (
                f"{name} stands within {first.layers[0].name} and within {use.layers[0].name}: the last axis of "
                f"{one.layers[0].name} counts states and that of {other.layers[0].name} does not, so other entries are "
                "zero in each"
            )
            raise MistakeError("E087", use.name.span, message, own)

    def _other_shape(self, first: Use, use: Use) -> MistakeError:
        name = use.name.name
        needs = "this edge needs" if use.kind == "weight" else f"{use.layers[0].name} needs"
        values = None if _show(first, self.values) == _show(use, self.values) else self.values
        what = "this edge" if use.kind == "weight" else use.layers[0].name
        return MistakeError(
            "E013",
            use.name.span,
            f"{name} has shape {_names(first)} = {_show(first, values)}, but {needs} "
            f"{_names(use)} = {_show(use, values)}",
            self._mend(first, use) or f"give {what} a {use.kind} of its own, for example {self._free_name(name)}",
        )

    def _mend(self, first: Use, use: Use) -> str | None:
        pair = use.kind == "weight" and len(use.layers) == len(first.layers) == 2
        if pair and _axes(use.layers[::-1]) == _axes(first.layers):
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
