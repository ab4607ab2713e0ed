"""The kernel IR: which matrix products and which unit kernels a model's generated file is made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pgmdsl.compiler.derivation import Contribution, Derivation
from pgmdsl.compiler.graph import gibbs_blocks
from pgmdsl.compiler.model import Layer, Model
from pgmdsl.compiler.plan_units import UnitPlan, plan_unit
from pgmdsl.compiler.units import Counts, Finite, OneHot, Whole
from pgmdsl.compiler.values import evaluate
from pgmdsl.grammar.format import format_expression
from pgmdsl.grammar.parse import parse_expression
from pgmdsl.version import VERSION

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{1,128}", re.ASCII)
SPARSE_STATES = 8  # of a site, from which a layer is multiplied entry by entry where it is mostly 0

# How a product is made: by BLAS; entry by entry, where most of a factor is 0; or by tables of partial sums, wherever a
# factor is found to hold states of two levels when the kernel runs.
Method = Literal["dense", "sparse", "states"]


@dataclass(frozen=True, slots=True)
class Contraction:
    """One edge's share of a field: coefficient * weight times the statistics of the layers of all axes but `axis`.

    `neighbours` are those layers, in order: another one (a pair), this one itself (lateral), or two and more others
    (multiplicative). `shape` is the weight's, one axis a layer.
    """

    weight: str
    neighbours: tuple[str, ...]
    axis: int
    coefficient: float
    shape: tuple[int, ...]
    lateral: bool = False


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """A layer's kernels: its unit type, the products that make its field, and the parameters it reads.

    `size` counts the entries of its statistic, `states` those of one site (K for one-hot and count layers, else 1).
    `parameters` gives the model's name for each of the unit type's own; `positive` are those kept above 0. `trials` is
    that of a binomial layer. The bias is multiplied by the summed lengths of the `counted` layers; `counts` says
    whether this is a count layer itself. `equation` is the conditional of one unit, in the language of model files.
    `levels` are the two values that entries of its statistic have where it holds states, if there are two only.
    """

    name: str
    role: Literal["visible", "hidden", "given"]
    unit: str
    size: int
    states: int
    bias: str | None
    parameters: Mapping[str, str]
    positive: tuple[str, ...]
    trials: int | None
    counts: bool
    counted: tuple[str, ...]
    contractions: tuple[Contraction, ...]
    equation: str
    levels: tuple[float, float] | None = None

    @property
    def sparse(self) -> bool:
        """Whether its statistics are likely to be mostly 0: one-hot sites of many states, and counts of words."""
        return self.states >= SPARSE_STATES

    @property
    def lateral(self) -> tuple[Contraction, ...]:
        """What its own units send to each other."""
        return tuple(c for c in self.contractions if c.lateral)


@dataclass(frozen=True, slots=True)
class WeightPlan:
    """A weight's statistics: the sum over `uses` (a, b, ...) of the outer product of s(a), s(b), ... over the cases.

    Each is of the weight's shape, one axis a layer. In a lateral use (a, a) the product has zeros on its diagonal, and
    within the sites of a one-hot layer.
    """

    name: str
    shape: tuple[int, ...]
    uses: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class KernelPlan:
    """All that a generated file computes. `digest` identifies source and options, `blocks` are the Gibbs blocks."""

    model: str
    version: str
    digest: str
    dtype: Literal["float32", "float64"]
    sizes: Mapping[str, int]
    units: Mapping[str, UnitPlan]
    layers: Mapping[str, LayerPlan]
    weights: Mapping[str, WeightPlan]
    blocks: tuple[tuple[str, ...], ...]


def plan_kernels(
    model: Model,
    derivation: Derivation,
    sizes: Mapping[str, int],
    dtype: Literal["float32", "float64"],
    digest: str,
    *,
    tables: bool = True,
) -> KernelPlan:
    """The kernels of a model whose sizes have these values; without `tables`, no product is made by these.

    Raises `Error` for a unit type that no kernel serves, ValueError for a name or digest that is not safe to print.
    """
    numbers = {name: _flat_size(layer, sizes) for name, layer in model.layers.items()}
    return KernelPlan(
        model=identifier(model.name),
        version=VERSION,
        digest=_hexadecimal(digest),
        dtype=dtype,
        sizes={identifier(name): int(value) for name, value in sizes.items()},
        units={identifier(unit.name): plan_unit(unit) for unit in (layer.unit for layer in model.layers.values())},
        layers={name: _layer(layer, derivation, numbers, sizes, tables=tables) for name, layer in model.layers.items()},
        weights={weight.name: weight for weight in _weights(model, numbers)},
        blocks=gibbs_blocks(model),
    )


def identifier(name: str) -> str:
    """The name, if it is an identifier of the language. Raises ValueError: nothing else reaches generated source."""
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError(f"not an identifier: {name!r}")
    return name


def product_method(contraction: Contraction, layers: Mapping[str, LayerPlan]) -> Method:
    """How an edge's share of a field is made."""
    if len(contraction.neighbours) > 1:
        return "dense"
    neighbour = layers[contraction.neighbours[0]]
    transposed = contraction.axis == 0 and not contraction.lateral
    if neighbour.sparse and not transposed:  # of a transpose rows are far apart, which entry by entry is slow
        return "sparse"
    return "dense" if neighbour.levels is None else "states"


def outer_method(use: tuple[str, ...], layers: Mapping[str, LayerPlan]) -> Method:
    """How the sum over the cases of an outer product of statistics is made."""
    if len(use) > 2:
        return "dense"
    if layers[use[0]].sparse:
        return "sparse"
    return "dense" if all(layers[name].levels is None for name in use) else "states"


def product_text(contraction: Contraction) -> str:
    """The product as text: `s(h2) W2'`, or `T(s(v), ., s(z))` for the weight with all axes but one multiplied."""
    factor = "" if contraction.coefficient == 1 else f"{contraction.coefficient:g} "
    parts = [f"s({name})" for name in contraction.neighbours]
    if len(parts) > 1:
        parts.insert(contraction.axis, ".")
        return f"{factor}{contraction.weight}({', '.join(parts)})"
    transposed = contraction.axis == 0 and not contraction.lateral
    return f"{factor}{parts[0]} {contraction.weight}{chr(39) if transposed else ''}"


def statistics_text(weight: WeightPlan) -> str:
    """What is summed over the cases, as text: `s(v)' s(h)`."""
    return " + ".join(_use_text(use) for use in weight.uses)


def _use_text(use: tuple[str, ...]) -> str:
    match use:
        case (a, b) if a == b:
            return f"off-diagonal s({a})' s({a})"
        case (a, b):
            return f"s({a})' s({b})"
        case _:
            return " ⊗ ".join(f"s({name})" for name in use)


def _hexadecimal(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"not a hexadecimal digest: {digest!r}")
    return digest


def _flat_size(layer: Layer, sizes: Mapping[str, int]) -> int:
    size = 1
    for dim in layer.dims:
        size *= int(dim.evaluate(sizes))
    return size


def _layer(
    layer: Layer, derivation: Derivation, numbers: Mapping[str, int], sizes: Mapping[str, int], *, tables: bool
) -> LayerPlan:
    conditional = derivation.conditionals.get(layer.name)
    equation = None if conditional is None else conditional.equation
    contributions = derivation.contributions.get(layer.name, ())
    return LayerPlan(
        name=identifier(layer.name),
        role=layer.role,
        unit=layer.unit.name,
        size=numbers[layer.name],
        states=int(layer.dims[-1].evaluate(sizes)) if layer.unit.states_axis else 1,
        bias=None if layer.bias is None else identifier(layer.bias),
        parameters={identifier(own): identifier(name) for own, name in layer.parameters.items()},
        positive=tuple(own.name for own in layer.unit.parameters if own.positive),
        trials=None if layer.trials is None else int(layer.trials.evaluate(sizes)),
        counts=isinstance(layer.unit.support, Counts),
        counted=tuple(identifier(name) for name in layer.counted),
        contractions=tuple(_contraction(layer.name, part, numbers) for part in contributions),
        equation=f"{format_expression(equation.left)} == {format_expression(equation.right)}" if equation else "",
        levels=_levels(layer, sizes) if tables else None,
    )


def _levels(layer: Layer, sizes: Mapping[str, int]) -> tuple[float, float] | None:
    """The two values of an entry of the layer's statistic, the lower one first; None if it has others."""
    match layer.unit.support:
        case OneHot():
            return (0.0, 1.0)
        case Finite(values):
            states = [float(value) for value in values]
        case Whole() if layer.trials is not None:
            states = [float(value) for value in range(int(layer.trials.evaluate(sizes)) + 1)]
        case _:
            return None
    if len(states) != 2:
        return None
    statistic = parse_expression(layer.unit.statistic)
    low, high = sorted(evaluate(statistic, {"x": value}) for value in states)
    return (low, high)


def _contraction(layer: str, part: Contribution, numbers: Mapping[str, int]) -> Contraction:
    axes = [*part.neighbours[: part.axis], layer, *part.neighbours[part.axis :]]
    return Contraction(
        weight=identifier(part.weight),
        neighbours=tuple(identifier(name) for name in part.neighbours),
        axis=part.axis,
        coefficient=float(part.coefficient),
        shape=tuple(numbers[name] for name in axes),
        lateral=layer in part.neighbours,
    )


def _weights(model: Model, numbers: Mapping[str, int]) -> Iterable[WeightPlan]:
    """One plan per weight, in the order of the edges, with all its uses."""
    for name in dict.fromkeys(edge.weight for edge in model.edges):
        uses = tuple(edge.layers for edge in model.edges if edge.weight == name)
        yield WeightPlan(identifier(name), tuple(numbers[layer] for layer in uses[0]), uses)
