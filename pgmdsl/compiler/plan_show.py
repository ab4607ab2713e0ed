"""The kernel IR as text, and what decides how each of its products is made."""

from __future__ import annotations

from collections.abc import Sequence

from pgmdsl.compiler.plan import (
    Contraction,
    KernelPlan,
    LayerPlan,
    Method,
    WeightPlan,
    outer_method,
    product_method,
    product_text,
    statistics_text,
)
from pgmdsl.compiler.plan_units import Lookup, UnitPlan, sampler_text
from pgmdsl.compiler.primitives_costs import Costs, Kind, product_seconds, worth_a_table
from pgmdsl.compiler.typeset import unicode_text
from pgmdsl.grammar.syntax import Expression

MOST = 10_000  # cases for which it is asked whether tables are faster


def show_plan(plan: KernelPlan, costs: Costs | None = None, batches: Sequence[int] = ()) -> str:
    """The plan as text: one line per unit formula, product, statistic and block.

    With what products cost on a machine, each line says from how many cases on tables make it there, and what batches
    of these sizes take either way.
    """
    lines = [f"model {plan.model} ({plan.dtype}; {', '.join(f'{n} = {v}' for n, v in plan.sizes.items())})", ""]
    for unit in plan.units.values():
        lines += [*_show_unit(unit), ""]
    for layer in plan.layers.values():
        lines += [*_show_layer(layer), *(_show_product(c, plan, costs, batches) for c in layer.contractions)]
    lines.append("")
    for weight in plan.weights.values():
        lines += _show_weight(weight, plan, costs, batches)
    lines += ["", f"blocks {'; '.join(', '.join(block) for block in plan.blocks)}", ""]
    return "\n".join(lines)


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
    return lines


def _show_product(c: Contraction, plan: KernelPlan, costs: Costs | None, batches: Sequence[int]) -> str:
    kind: Kind = "field_transposed" if c.axis == 0 and not c.lateral else "field"
    shape = c.shape[::-1] if kind == "field_transposed" else c.shape
    how = _method_text(product_method(c, plan.layers), c.neighbours)
    if how.startswith("tables"):
        how += _decision(kind, shape, costs, batches)
    return f"  field += {product_text(c)}    {' x '.join(map(str, c.shape))}, {how}"


def _show_weight(weight: WeightPlan, plan: KernelPlan, costs: Costs | None, batches: Sequence[int]) -> list[str]:
    shape = " x ".join(map(str, weight.shape))
    lines = [f"weight {weight.name}: {shape}, statistics {statistics_text(weight)}"]
    for use in weight.uses:
        method = outer_method(use, plan.layers)
        held = [n for n in dict.fromkeys(use) if method != "states" or plan.layers[n].levels is not None]
        for name in held if method == "states" else ["".join(held[:1])]:
            second = name != use[0]
            kind: Kind = "outer_transposed" if second else "outer"
            how = _method_text(method, (name,))
            if method == "states":
                how += _decision(kind, weight.shape[::-1] if second else weight.shape, costs, batches)
            lines.append(f"  {' '.join(use)}: {how}")
    return lines


def _method_text(method: Method, factors: Sequence[str]) -> str:
    """How a product is made, and why."""
    match method:
        case "states":
            return f"tables where {factors[0]} holds states"
        case "sparse":
            return f"entry by entry where {factors[0]} is mostly 0"
        case _:
            return "BLAS"


def _decision(kind: Kind, shape: Sequence[int], costs: Costs | None, batches: Sequence[int]) -> str:
    """From how many cases on tables are faster, and the times of some batches."""
    if costs is None:
        return ""
    if kind not in costs:
        return ", but BLAS in a model whose weights are all small"
    faster = [cases for cases in range(1, MOST) if worth_a_table(kind, costs, cases, shape[0], shape[1])]
    text = f", from {faster[0]} cases on" if faster else f", but BLAS up to {MOST} cases"
    for cases in batches:
        times = product_seconds(kind, costs, cases, shape[0], shape[1])
        text += f"; of {cases}: {times[0] * 1e3:.3g} ms, BLAS {times[1] * 1e3:.3g} ms"
    return text
