"""The products over edges: what each sends to a layer's field, and the statistics of its weight."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from pgmdsl.compiler.emit_formula import assigned
from pgmdsl.compiler.plan import (
    Contraction,
    LayerPlan,
    WeightPlan,
    outer_method,
    product_method,
    statistics_text,
)


def emit_products(contractions: tuple[Contraction, ...], layers: Mapping[str, LayerPlan]) -> str:
    """The statements that add up a layer's field; the first product present overwrites what is there."""
    lines = ["    beta = 0.0"]
    for c in contractions:
        lines += [f"    if {_present(c.neighbours)}:", f"        {_product(c, layers)}", "        beta = 1.0"]
    return "\n".join([*lines, "    if beta == 0.0:", "        out[:] = 0.0"])


def emit_weight(weight: WeightPlan, layers: Mapping[str, LayerPlan]) -> str:
    """The function that sums a weight's statistics over its uses."""
    total = statistics_text(weight)
    lines = [
        f"def weight_statistics_{weight.name}(s, scale, add, out):",
        f'    """out = scale * ({total}), plus out if `add`; a use with an absent layer is left out."""',
        "    beta = 1.0 if add else 0.0",
    ]
    for use in weight.uses:
        lines += [f"    if {_present(use)}:", f"        {_outer(use, layers)}", "        beta = 1.0"]
    return "\n".join([*lines, "    if beta == 0.0:", "        out[:] = 0.0"]) + "\n"


def _product(c: Contraction, layers: Mapping[str, LayerPlan]) -> str:
    weight, last = f"p[{assigned(c.weight)}]", f"out, {c.coefficient!r}, beta)"
    if len(c.neighbours) > 1:
        return f"multiply_others({_statistics(c.neighbours)}, {weight}, {c.axis}, {last}"
    (name,) = c.neighbours
    transposed = "_transposed" if c.axis == 0 and not c.lateral else ""
    match product_method(c, layers):
        case "states":
            last = f"{last[:-1]}, {layers[name].levels})"
            return f'multiply_states("field{transposed}", s[{assigned(name)}], {weight}, {last}'
        case "sparse":
            return f"multiply_sparse(s[{assigned(name)}], {weight}, {last}"
        case _:
            return f"multiply{transposed}(s[{assigned(name)}], {weight}, {last}"


def _outer(use: tuple[str, ...], layers: Mapping[str, LayerPlan]) -> str:
    match use:
        case (a, b) if a == b:
            levels = layers[a].levels if outer_method(use, layers) == "states" else None
            return f"multiply_lateral(s[{assigned(a)}], {layers[a].states}, {levels}, out, scale, beta)"
        case (a, b):
            function = {"dense": "", "sparse": "_sparse", "states": "_states"}[method := outer_method(use, layers)]
            both = f", {layers[a].levels}, {layers[b].levels}" if method == "states" else ""
            return f"multiply_outer{function}(s[{assigned(a)}], s[{assigned(b)}], out, scale, beta{both})"
        case _:
            cut = _cut([layers[name].size for name in use])
            return f"multiply_all({_statistics(use[:cut])}, {_statistics(use[cut:])}, out, scale, beta)"


def _cut(sizes: list[int]) -> int:
    """After how many axes to divide them so that the Khatri-Rao products of both sides are smallest together."""
    return min(range(1, len(sizes)), key=lambda cut: math.prod(sizes[:cut]) + math.prod(sizes[cut:]))


def _present(names: Iterable[str]) -> str:
    return " and ".join(f"{assigned(name)} in s" for name in dict.fromkeys(names))


def _statistics(names: tuple[str, ...]) -> str:
    """The statistics of these layers, as a tuple."""
    return f"({''.join(f's[{assigned(name)}], ' for name in names)[: -1 if len(names) == 1 else -2]})"
