"""The products over edges: what each sends to a layer's field, and the statistics of its weight."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from pgmdsl.compiler.emit_formula import assigned
from pgmdsl.compiler.plan import Contraction, LayerPlan, WeightPlan, statistics_text


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
    function = "multiply_sparse" if layers[name].sparse else "multiply"
    if c.axis == 0 and not c.lateral:
        function = "multiply_transposed"  # of a matrix whose columns are far apart, which entry by entry is slow
    return f"{function}(s[{assigned(name)}], {weight}, {last}"


def _outer(use: tuple[str, ...], layers: Mapping[str, LayerPlan]) -> str:
    match use:
        case (a, b) if a == b:
            return f"multiply_lateral(s[{assigned(a)}], {layers[a].states}, out, scale, beta)"
        case (a, b):
            function = "multiply_outer_sparse" if layers[a].sparse else "multiply_outer"
            return f"{function}(s[{assigned(a)}], s[{assigned(b)}], out, scale, beta)"
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
