"""What the names of a model mean in formulas: shapes, how states reduce, what is positive, and letters for indices."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from pgmdsl.compiler.expressions import (
    ONE,
    ZERO,
    call,
    entry,
    filled,
    fresh_index,
    product,
    sum_over,
    tidied,
    total,
)
from pgmdsl.compiler.model import Layer, Model, Parameter, Size
from pgmdsl.compiler.normal import Algebra
from pgmdsl.compiler.normal_laws import Laws, length_of
from pgmdsl.compiler.normal_read import Reader
from pgmdsl.compiler.normal_write import Writer
from pgmdsl.compiler.units import Counts, Finite, Naturals, OneHot, Real, Whole
from pgmdsl.grammar.parse import parse_expression
from pgmdsl.grammar.syntax import Expression, Index, Name
from pgmdsl.grammar.walk import walk


@dataclass(frozen=True)
class Symbols:
    """A model's names in formulas.

    `letters` gives each layer's usual indices (i for the lowest layer, then j, k, ...; one for each axis), unique over
    layers; `others` those of a second unit of the same layer, where a weight joins two of it; `reserved` all names that
    no index may have; `shapes` the axes of every parameter and layer.
    """

    model: Model
    letters: Mapping[str, tuple[str, ...]]
    others: Mapping[str, tuple[str, ...]]
    shapes: Mapping[str, tuple[Size, ...]]
    reserved: frozenset[str]

    @classmethod
    def of(cls, model: Model) -> Symbols:
        """The symbols of a model."""
        reserved = frozenset((*model.layers, *model.parameters, *model.sizes))
        taken = set(reserved)

        def named(layer: Layer) -> tuple[str, ...]:
            own: list[str] = []
            for _ in layer.dims:
                own.append(fresh_index(taken))
                taken.add(own[-1])
            return tuple(own)

        letters = {layer.name: named(layer) for layer in model.layers.values()}
        # A weight of which a check assumes that it is 0 has no edge left, but its axes all the same.
        joined = [e.layers for e in model.edges] + [p.layers for p in model.parameters.values()]
        twice = {name for layers in joined for name in layers if layers.count(name) > 1}
        others = {layer.name: named(layer) for layer in model.layers.values() if layer.name in twice}
        shapes = {name: parameter.shape for name, parameter in model.parameters.items()}
        shapes |= {name: layer.dims for name, layer in model.layers.items()}
        return cls(model, letters, others, shapes, reserved)

    @property
    def all_letters(self) -> frozenset[str]:
        """The letters of all layers."""
        return frozenset(i for each in (self.letters, self.others) for letters in each.values() for i in letters)

    def unit_letters(self, layers: Sequence[str]) -> list[tuple[str, ...]]:
        """The letters of one unit of each of these layers; a layer that stands there again has its other ones."""
        return [(self.others if name in layers[:k] else self.letters)[name] for k, name in enumerate(layers)]

    def parameter_letters(self, parameter: Parameter) -> tuple[str, ...]:
        """The letters of the axes of a parameter."""
        return tuple(letter for letters in self.unit_letters(parameter.layers) for letter in letters)

    def lettered(self, formulas: Iterable[Expression]) -> Symbols:
        """The symbols with the letters that these formulas use: for each axis the first that no other has."""
        own = {name: list(letters) for name, letters in self.letters.items()}
        seen: dict[tuple[str, int], str] = {}
        for formula in formulas:
            for node, _ in walk(formula):
                if isinstance(node, Index):
                    for axis, letter in zip(self._axes(node.name), node.indices, strict=False):
                        if isinstance(letter, Name) and axis not in seen and letter.name not in seen.values():
                            own[axis[0]][axis[1]] = seen[axis] = letter.name
        return replace(self, letters={name: tuple(letters) for name, letters in own.items()})

    def _axes(self, name: str) -> list[tuple[str, int]]:
        """The axes of a layer or parameter, each as a layer and the number of its axis there."""
        parameter = self.model.parameters.get(name)
        layers = parameter.layers if parameter is not None else (name,) if name in self.model.layers else ()
        return [(layer, axis) for layer in layers for axis in range(len(self.letters[layer]))]

    def extent(self, layer: Layer, axis: int) -> Expression:
        """The length of an axis of a layer."""
        return parse_expression(str(layer.dims[axis]))

    def summed(self, name: str, body: Expression, indices: tuple[str, ...]) -> Expression:
        """The sum over some axes of a layer; one on which the body does not depend gives its size as a factor."""
        held = {node.name for node, _ in walk(body) if isinstance(node, Name)}
        layer = self.model.layers[name]
        sizes = [self.extent(layer, self.letters[name].index(i)) for i in indices if i not in held]
        return product([*sizes, sum_over(body, [i for i in indices if i in held])])

    def reader(
        self,
        means: Iterable[str] = (),
        fixed: Mapping[str, Fraction] | None = None,
        algebra: Algebra | None = None,
    ) -> Reader:
        """A reader of formulas, for one proof; the names of the layers in `means` stand for means, not states.

        Parameters in `fixed` are read as these numbers. `algebra` is that of an earlier reader of the same names, so
        that the work allowed is that of both.
        """
        return Reader(algebra or Algebra(self._laws(set(means))), self.shapes, fixed)

    def _laws(self, means: Container[str]) -> Laws:
        """What is known of the names; those of the layers in `means` stand for means."""
        layers = [layer for layer in self.model.layers.values() if layer.name not in means]
        supports = {layer.name: layer.unit.support for layer in layers}
        one_hot = {n for n, layer in self.model.layers.items() if isinstance(layer.unit.support, OneHot)}
        counts = {n: length_of(n) for n, layer in self.model.layers.items() if isinstance(layer.unit.support, Counts)}
        parameters = self.model.parameters.values()
        return Laws(
            states=frozenset((*supports, *(counts[n] for n in supports if n in counts))),
            discrete=frozenset(n for n, support in supports.items() if not isinstance(support, Real)),
            values={n: support.values for n, support in supports.items() if isinstance(support, Finite)},
            one_hot=frozenset(one_hot & supports.keys()),
            totals={**dict.fromkeys(one_hot), **counts},
            symmetric={p.name: told for p in parameters if (told := diagonal(self.model, p.name)) is not None},
            positive=frozenset((*(p.name for p in parameters if p.positive), *self.model.sizes, "Z")),
            signless=frozenset(
                (
                    *(n for n, s in supports.items() if isinstance(s, Whole | Naturals | Counts)),
                    *(n for n, s in supports.items() if isinstance(s, Real) and s.lower is not None and s.lower >= 0),
                    *counts.values(),
                )
            ),
            most={layer.name: layer.trials for layer in layers if layer.trials is not None},
        )

    def writer(self) -> Writer:
        """A writer of formulas."""
        parameters = sorted(self.model.parameters.values(), key=lambda p: p.kind != "weight")
        names = [*(p.name for p in parameters), *self.model.layers]
        letters = dict(self.letters)
        for parameter in parameters:
            letters[parameter.name] = self.parameter_letters(parameter)
        lengths = {length_of(name): length(name) for name in self.model.layers}
        return Writer(letters, {name: k for k, name in enumerate(names)}, self.reserved, lengths)

    def filled(
        self, text: str, layer: Layer, indices: tuple[str, ...], *, state: Expression | None = None
    ) -> Expression:
        """A formula of the layer's unit in x, b and the unit's own parameters, at these indices.

        Without a bias b is 0; a given layer has no parameters, and its statistic none but its state.
        """
        names = {"x": state if state is not None else entry(layer.name, indices), **self.constants(layer, indices)}
        return tidied(filled(text, names, {}, {}, ()))

    def constants(self, layer: Layer, indices: tuple[str, ...]) -> dict[str, Expression]:
        """What the names in the unit's formulas stand for, other than state and field: bias, own parameters, numbers.

        The bias is multiplied by the lengths of the documents next to the layer.
        """
        names: dict[str, Expression] = {"b": ZERO}
        if layer.bias is not None:
            lengths = [total([(1, length(name)) for name in layer.counted])] if layer.counted else []
            names["b"] = product([*lengths, entry(layer.bias, indices)])
        for own in layer.unit.parameters:
            names[own.name] = entry(layer.parameters[own.name], indices) if own.name in layer.parameters else ONE
        if layer.trials is not None:
            names["trials"] = parse_expression(str(layer.trials))
        if isinstance(layer.unit.support, Counts):
            names["length"] = length(layer.name)
        return names


def length(layer: str) -> Expression:
    """`length(words)`."""
    return call("length", Name(layer))


def diagonal(model: Model, name: str) -> int | None:
    """How many indices of a half of a lateral weight tell its diagonal, those of a site; None for other names."""
    parameter = model.parameters.get(name)
    if parameter is None or not parameter.symmetric or parameter.layers[0] not in model.layers:
        return None
    layer = model.layers[parameter.layers[0]]
    return len(layer.dims) - layer.unit.states_axis


def fixed_numbers(model: Model) -> dict[str, Fraction]:
    """The parameters all of whose entries are fixed at a number, such as `sigma = 0.5`."""
    return {
        p.name: _as_written(p.initial.value)
        for p in model.parameters.values()
        if p.fixed and p.initial.kind == "constant" and not (p.symmetric and p.initial.value)
    }


def _as_written(value: float) -> Fraction:
    """The short fraction that a float stands for, 1/3 or 0.7, if there is one."""
    short = Fraction(value).limit_denominator(10**6)
    return short if float(short) == value else Fraction(repr(value))
