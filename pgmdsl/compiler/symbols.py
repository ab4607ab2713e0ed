"""What the names of a model mean in formulas: shapes, how states reduce, what is positive, and letters for indices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from pgmdsl.compiler.expressions import ZERO, entry, filled, fresh_index, product, sum_over, without_zeros
from pgmdsl.compiler.model import Layer, Model, Parameter, Size
from pgmdsl.compiler.normal import Algebra
from pgmdsl.compiler.normal_product import Reduction
from pgmdsl.compiler.normal_read import Reader
from pgmdsl.compiler.normal_write import Writer
from pgmdsl.compiler.units import Finite, OneHot, Real
from pgmdsl.grammar.parse import parse_expression
from pgmdsl.grammar.syntax import Expression, Index, Name
from pgmdsl.grammar.walk import walk


@dataclass(frozen=True)
class Symbols:
    """A model's names in formulas.

    `letters` gives each layer's usual indices (i for the lowest layer, then j, k, ...; one for each axis), unique over
    layers; `reserved` all names that no index may have; `shapes` the axes of every parameter and layer.
    """

    model: Model
    letters: Mapping[str, tuple[str, ...]]
    shapes: Mapping[str, tuple[Size, ...]]
    reserved: frozenset[str]

    @classmethod
    def of(cls, model: Model) -> Symbols:
        """The symbols of a model."""
        reserved = frozenset((*model.layers, *model.parameters, *model.sizes))
        taken = set(reserved)
        letters: dict[str, tuple[str, ...]] = {}
        for layer in model.layers.values():
            own: list[str] = []
            for _ in layer.dims:
                own.append(fresh_index(taken))
                taken.add(own[-1])
            letters[layer.name] = tuple(own)
        shapes = {name: parameter.shape for name, parameter in model.parameters.items()}
        shapes |= {name: layer.dims for name, layer in model.layers.items()}
        return cls(model, letters, shapes, reserved)

    @property
    def all_letters(self) -> frozenset[str]:
        """The letters of all layers."""
        return frozenset(letter for letters in self.letters.values() for letter in letters)

    def parameter_letters(self, parameter: Parameter) -> tuple[str, ...]:
        """The letters of the axes of a parameter."""
        return tuple(letter for layer in parameter.layers for letter in self.letters[layer])

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

    def length(self, layer: Layer, axis: int) -> Expression:
        """The length of an axis of a layer."""
        return parse_expression(str(layer.dims[axis]))

    def summed(self, name: str, body: Expression, indices: tuple[str, ...]) -> Expression:
        """The sum over some axes of a layer; one on which the body does not depend gives its size as a factor."""
        held = {node.name for node, _ in walk(body) if isinstance(node, Name)}
        layer = self.model.layers[name]
        sizes = [self.length(layer, self.letters[name].index(i)) for i in indices if i not in held]
        return product([*sizes, sum_over(body, [i for i in indices if i in held])])

    def reader(self, means: Iterable[str] = (), fixed: Mapping[str, Fraction] | None = None) -> Reader:
        """A reader of formulas, for one proof; the names of the layers in `means` stand for means, not states.

        Parameters in `fixed` are read as these numbers.
        """
        skipped = set(means)
        layers = [layer for layer in self.model.layers.values() if layer.name not in skipped]
        reductions = {layer.name: kind for layer in layers if (kind := reduction_of(layer)) is not None}
        states = frozenset(layer.name for layer in layers)
        positive = [p.name for p in self.model.parameters.values() if p.positive]
        simplices = [name for name in skipped if reduction_of(self.model.layers[name]) == "one-hot"]
        algebra = Algebra(reductions, states, [*positive, *self.model.sizes], simplices=simplices)
        return Reader(algebra, self.shapes, fixed)

    def writer(self) -> Writer:
        """A writer of formulas."""
        parameters = sorted(self.model.parameters.values(), key=lambda p: p.kind != "weight")
        names = [*(p.name for p in parameters), *self.model.layers]
        letters = dict(self.letters)
        for parameter in parameters:
            letters[parameter.name] = self.parameter_letters(parameter)
        return Writer(letters, {name: k for k, name in enumerate(names)}, self.reserved)

    def filled(
        self, text: str, layer: Layer, indices: tuple[str, ...], *, state: Expression | None = None
    ) -> Expression:
        """A formula of the layer's unit in x, b and sigma, at these indices; without a bias, b is 0."""
        names = {
            "x": state if state is not None else entry(layer.name, indices),
            "b": entry(layer.bias, indices) if layer.bias is not None else ZERO,
            "sigma": entry(layer.sigma, indices) if layer.sigma is not None else ZERO,
        }
        return without_zeros(filled(text, names, {}, {}, ()))


def fixed_numbers(model: Model) -> dict[str, Fraction]:
    """The parameters that the file fixes at a number, such as `sigma = 0.5`."""
    return {
        p.name: _as_written(p.initial.value)
        for p in model.parameters.values()
        if p.fixed and p.initial.kind == "constant"
    }


def _as_written(value: float) -> Fraction:
    """The short fraction that a float stands for, 1/3 or 0.7, if there is one."""
    short = Fraction(value).limit_denominator(10**6)
    return short if float(short) == value else Fraction(repr(value))


def reduction_of(layer: Layer) -> Reduction | None:
    """How powers of the layer's states reduce; None where they do not."""
    match layer.unit.support:
        case OneHot():
            return "one-hot"
        case Real():
            return None
        case Finite(values):
            kinds: dict[tuple[int, ...], Reduction] = {(0, 1): "binary", (-1, 1): "spin"}
            return kinds.get(tuple(int(v) if v.denominator == 1 else 2 for v in values))
        case _:
            return None
