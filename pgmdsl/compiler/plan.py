"""The kernel IR: which matrix products and which unit kernels a model's generated file is made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pgmdsl.compiler.derivation import Contribution, Derivation
from pgmdsl.compiler.graph import gibbs_blocks
from pgmdsl.compiler.model import Layer, Model
from pgmdsl.compiler.plan_units import Lookup, UnitPlan, plan_unit, sampler_text
from pgmdsl.compiler.typeset import unicode_text
from pgmdsl.compiler.units import Counts
from pgmdsl.grammar.format import format_expression
from pgmdsl.grammar.syntax import Expression
from pgmdsl.version import VERSION

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{1,128}", re.ASCII)
SPARSE_STATES = 8  # of a site, from which a layer is multiplied entry by entry where it is mostly 0


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
        lines += [*_show_unit(unit), ""]
    for layer in plan.layers.values():
        lines += _show_layer(layer)
    lines.append("")
    for weight in plan.weights.values():
        shape = " x ".join(map(str, weight.shape))
        lines.append(f"weight {weight.name}: {shape}, statistics {statistics_text(weight)}")
    lines += ["", f"blocks {'; '.join(', '.join(block) for block in plan.blocks)}", ""]
    return "\n".join(lines)


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


def _show_unit(unit: UnitPlan) -> list[str]:
    formulas = {
        "statistic": unit.statistic,
        "state": unit.state,
        "energy": unit.energy,
        "own_factor": unit.own_factor,
        "log_partition": unit.log_partition,
        "mean": unit.mean,
        "field_of_mean": unit.field_of_mean,
        **{f"slope {slope.parameter}": slope.at_state for slope in unit.slopes},
        **({} if unit.curvature is None else {"curvature": unit.curvature}),
    }
    lines = [f"unit {unit.name}", f"  {'sampler':<14} {sampler_text(unit.sampler)}"]
    return lines + [f"  {label:<14} {_formula_text(formula)}" for label, formula in formulas.items()]


def _formula_text(formula: Expression | Lookup | None) -> str:
    match formula:
        case None:
            return "solved for"
        case Lookup(statistics, values):
            return ", ".join(f"{x:g} where s = {s:g}" for s, x in zip(statistics, values, strict=True))
        case _:
            return unicode_text(formula)


def _show_layer(layer: LayerPlan) -> list[str]:
    facts = [layer.unit, f"size {layer.size}"]
    facts += [f"{layer.states} states"] if layer.states > 1 else []
    facts += [f"{layer.trials} trials"] if layer.trials is not None else []
    facts += [f"bias {layer.bias}"] if layer.bias is not None else []
    facts += [f"times the length of {' + '.join(layer.counted)}"] if layer.counted else []
    facts += [f"{own} {name}" for own, name in layer.parameters.items()]
    facts += ["given"] if layer.role == "given" else []
    facts += ["units in turn"] if layer.lateral else []
    lines = [f"layer {layer.name}: {', '.join(facts)}"]
    lines += [f"  {layer.equation}"] if layer.equation else []
    return lines + [f"  field += {product_text(c)}    {' x '.join(map(str, c.shape))}" for c in layer.contractions]


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
    )


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
