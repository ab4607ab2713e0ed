"""The kernel IR: which matrix products and which unit kernels a model's generated file is made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pgmdsl.compiler.derivation import Derivation
from pgmdsl.compiler.graph import gibbs_blocks
from pgmdsl.compiler.model import Layer, Model
from pgmdsl.compiler.plan_units import Categorical, Normal, Sampler, TwoPoint, UnitPlan, log_odds, plan_unit
from pgmdsl.compiler.typeset import unicode_text
from pgmdsl.grammar.format import format_expression
from pgmdsl.version import VERSION

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Contraction:
    """One product: field += coefficient * statistic(neighbour) @ weight, or @ weight' where `transposed`.

    `shape` is the weight's, as a matrix.
    """

    weight: str
    neighbour: str
    transposed: bool
    coefficient: float
    shape: tuple[int, int]


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """A layer's kernels: its unit type, the products that make its field, and the parameters it reads.

    `size` counts the entries of its statistic, `states` those of one site (K for one-hot layers, else 1);
    `equation` is the conditional of one unit, in the language of model files.
    """

    name: str
    role: Literal["visible", "hidden", "given"]
    unit: str
    size: int
    states: int
    bias: str | None
    sigma: str | None
    contractions: tuple[Contraction, ...]
    equation: str


@dataclass(frozen=True, slots=True)
class WeightPlan:
    """A weight's statistics: the sum over `uses` (a, b) of s(a)' s(b), each of the weight's shape."""

    name: str
    shape: tuple[int, int]
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
) -> KernelPlan:
    """The kernels of a model whose sizes have these values.

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
        layers={name: _layer(layer, derivation, numbers, sizes) for name, layer in model.layers.items()},
        weights={weight.name: weight for weight in _weights(model, numbers)},
        blocks=gibbs_blocks(model),
    )


def identifier(name: str) -> str:
    """The name, if it is an identifier of the language. Raises ValueError: nothing else reaches generated source."""
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError(f"not an identifier: {name!r}")
    return name


def show_plan(plan: KernelPlan) -> str:
    """The plan as text: one line per unit formula, product, statistic and block."""
    lines = [f"model {plan.model} ({plan.dtype}; {', '.join(f'{n} = {v}' for n, v in plan.sizes.items())})", ""]
    for unit in plan.units.values():
        lines += [f"unit {unit.name}", f"  sampler        {_sampler_text(unit.sampler)}"]
        for label in ("statistic", "state", "energy", "own_factor", "log_partition", "mean", "field_of_mean"):
            lines.append(f"  {label:<14} {unicode_text(getattr(unit, label))}")
        lines.append("")
    for layer in plan.layers.values():
        extra = [f"{key} {name}" for key, name in (("bias", layer.bias), ("sigma", layer.sigma)) if name is not None]
        lines.append(f"layer {layer.name}: {', '.join([layer.unit, f'size {layer.size}', *extra])}")
        lines.append(f"  {layer.equation}")
        lines += [f"  field += {product_text(c)}    {c.shape[0]} x {c.shape[1]}" for c in layer.contractions]
    lines.append("")
    for weight in plan.weights.values():
        uses = " + ".join(f"s({a})' s({b})" for a, b in weight.uses)
        lines.append(f"weight {weight.name}: {weight.shape[0]} x {weight.shape[1]}, statistics {uses}")
    lines += ["", f"blocks {'; '.join(', '.join(block) for block in plan.blocks)}", ""]
    return "\n".join(lines)


def product_text(contraction: Contraction) -> str:
    """The product as text: `s(h2) W2'`."""
    factor = "" if contraction.coefficient == 1 else f"{contraction.coefficient:g} "
    return f"{factor}s({contraction.neighbour}) {contraction.weight}{chr(39) if contraction.transposed else ''}"


def _sampler_text(sampler: Sampler) -> str:
    match sampler:
        case TwoPoint(low, high):
            return f"{high:g} with log odds {log_odds(sampler)}, else {low:g}"
        case Categorical():
            return "state k with weight exp(f[k])"
        case Normal():
            return "normal, mean f, variance 1"


def _hexadecimal(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"not a hexadecimal digest: {digest!r}")
    return digest


def _flat_size(layer: Layer, sizes: Mapping[str, int]) -> int:
    size = 1
    for dim in layer.dims:
        size *= int(dim.evaluate(sizes))
    return size


def _layer(layer: Layer, derivation: Derivation, numbers: Mapping[str, int], sizes: Mapping[str, int]) -> LayerPlan:
    contractions = []
    for c in derivation.contributions.get(layer.name, ()):
        (neighbour,), transposed = c.neighbours, c.axis == 0
        here, there = numbers[layer.name], numbers[neighbour]
        shape = (here, there) if transposed else (there, here)
        contractions.append(
            Contraction(identifier(c.weight), identifier(neighbour), transposed, float(c.coefficient), shape)
        )
    equation = derivation.conditionals[layer.name].equation
    return LayerPlan(
        name=identifier(layer.name),
        role=layer.role,
        unit=layer.unit.name,
        size=numbers[layer.name],
        states=int(layer.dims[-1].evaluate(sizes)) if layer.unit.states_axis else 1,
        bias=None if layer.bias is None else identifier(layer.bias),
        sigma=None if layer.sigma is None else identifier(layer.sigma),
        contractions=tuple(contractions),
        equation=f"{format_expression(equation.left)} == {format_expression(equation.right)}",
    )


def _weights(model: Model, numbers: Mapping[str, int]) -> Iterable[WeightPlan]:
    """One plan per weight, in the order of the edges, with all its uses."""
    for name in dict.fromkeys(edge.weight for edge in model.edges):
        uses = tuple(edge.layers for edge in model.edges if edge.weight == name)
        rows, columns = uses[0]
        yield WeightPlan(identifier(name), (numbers[rows], numbers[columns]), uses)
