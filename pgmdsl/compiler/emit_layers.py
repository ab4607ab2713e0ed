"""The functions of each layer and weight, and their composition into sweeps: plain Python around the kernels."""

from __future__ import annotations

from string import Template

from pgmdsl.compiler.emit_formula import assigned, print_formula
from pgmdsl.compiler.emit_units import has_energy, per_unit, state_parameters
from pgmdsl.compiler.plan import Contraction, KernelPlan, LayerPlan, WeightPlan, product_text
from pgmdsl.compiler.plan_units import Categorical, UnitPlan
from pgmdsl.compiler.typeset import unicode_text
from pgmdsl.grammar.syntax import Expression

_LAYER = Template('''
def field_${layer}(p, s, out):
    """Coupling field of ${layer}: ${equation}; absent layers send nothing."""
${products}


def own_factor_${layer}(p):
    """What the bias of ${layer} is multiplied by in its field: ${factor_text}."""
    return ${factor}


def sample_${layer}(p, field, own, scale, key, out):
    """Statistics of ${layer} drawn at the field own + scale * field, from the uint64 counter base `key`."""
    with np.errstate(over="ignore"):
        ${unit}_draw(field, own, float(scale), ${states}np.uint64(key), out)


def mean_${layer}(p, field, own, scale, out):
    """Mean statistics of ${layer} at the field own + scale * field."""
    ${unit}_means(field, own, float(scale), ${states}out)


def log_partition_${layer}(p, field, own, scale, out):
    """out += sum over units of A(own + scale * field)."""
    ${unit}_add_log_partitions(field, own, float(scale), ${states}${partition}out)


def log_partition_change_${layer}(p, field, own0, scale0, own1, scale1, out):
    """out += sum over units of A(own1 + scale1 * field) - A(own0 + scale0 * field)."""
    ${unit}_add_changes(field, own0, float(scale0), own1, float(scale1), ${states}${partition}out)


def base_energy_${layer}(p, s, out):
    """out += sum over units of ${energy_text}, the energy besides the field's."""${energy}


def field_of_mean_${layer}(p, m):
    """The field at which a unit of ${layer} has mean statistic m."""
    return ${inverse}


def statistic_${layer}(p, x):
    """States of ${layer} to statistics."""
    return ${statistic}


def state_${layer}(p, s):
    """Statistics of ${layer} to states."""
    return ${state}
''')

_SWEEPS = '''
def gibbs_sweep(p, s, own, scale, keys, fields, clamped, blocks=BLOCKS):
    """Draw every layer that is present and not clamped given the others, block by block, into the arrays of `s`.

    `own`, `scale`, `keys` and `fields` are dicts by layer; `fields` are overwritten.
    """
    for block in blocks:
        for layer in block:
            if layer in s and layer not in clamped:
                FIELD[layer](p, s, fields[layer])
                SAMPLE[layer](p, fields[layer], own[layer], scale[layer], keys[layer], s[layer])


def mean_field_sweep(p, s, own, scale, fields, clamped):
    """Set every layer that is present and not clamped to its mean given the others' means, block by block."""
    for block in BLOCKS:
        for layer in block:
            if layer in s and layer not in clamped:
                FIELD[layer](p, s, fields[layer])
                MEAN[layer](p, fields[layer], own[layer], scale[layer], s[layer])
'''


def emit_layer(layer: LayerPlan, unit: UnitPlan) -> str:
    """The functions of one layer."""
    one_hot = isinstance(unit.sampler, Categorical)
    extra = () if one_hot else per_unit(unit.log_partition)
    return _LAYER.substitute(
        layer=layer.name,
        unit=unit.name,
        states=f"{layer.states}, " if one_hot else "",
        equation=" + ".join(product_text(c) for c in layer.contractions) or "0",
        products=_products(layer.contractions),
        factor_text=unicode_text(unit.own_factor),
        factor=_own_factor(layer, unit.own_factor),
        partition=_parameters(layer, extra),
        energy_text=unicode_text(unit.energy),
        energy=_energy(layer, unit),
        inverse=_array(layer, unit.field_of_mean, "m"),
        statistic=_array(layer, unit.statistic, "x"),
        state=_array(layer, unit.state, "s"),
    )


def emit_weight(weight: WeightPlan) -> str:
    """The function that sums a weight's statistics over its uses."""
    total = " + ".join(f"s({a})' s({b})" for a, b in weight.uses)
    lines = [
        f"def weight_statistics_{weight.name}(s, scale, add, out):",
        f'    """out = scale * ({total}), plus out if `add`; uses with an absent layer are left out."""',
        "    beta = 1.0 if add else 0.0",
    ]
    for a, b in weight.uses:
        first, second = assigned(a), assigned(b)
        lines += [
            f"    if {first} in s and {second} in s:",
            f"        multiply_outer(s[{first}], s[{second}], out, scale, beta)",
            "        beta = 1.0",
        ]
    return "\n".join([*lines, "    if beta == 0.0:", "        out[:] = 0.0"])


def emit_sweeps(plan: KernelPlan) -> str:
    """The tables of functions by layer, and the sweeps over the blocks."""
    tables = []
    for table, verb in (("FIELD", "field"), ("SAMPLE", "sample"), ("MEAN", "mean")):
        entries = "".join(f"\n    {assigned(name)}: {verb}_{name}," for name in plan.layers)
        tables.append(f"{table} = {{{entries}\n}}\n")
    return "".join(tables) + "\n" + _SWEEPS


def _products(contractions: tuple[Contraction, ...]) -> str:
    """The statements that add up a layer's field; the first product present overwrites what is there."""
    lines = ["    beta = 0.0"]
    for c in contractions:
        neighbour = assigned(c.neighbour)
        function = "multiply_transposed" if c.transposed else "multiply"
        lines += [
            f"    if {neighbour} in s:",
            f"        {function}(s[{neighbour}], p[{assigned(c.weight)}], out, {c.coefficient!r}, beta)",
            "        beta = 1.0",
        ]
    return "\n".join([*lines, "    if beta == 0.0:", "        out[:] = 0.0"])


def _parameter(layer: LayerPlan, name: str) -> str:
    """The source of a per-unit array: the bias (zeros without one) or the deviation (ones without one)."""
    match name, layer.bias, layer.sigma:
        case "b", str(bias), _:
            return f"p[{assigned(bias)}]"
        case "sigma", _, str(sigma):
            return f"p[{assigned(sigma)}]"
        case "b", _, _:
            return f"np.zeros({layer.size}, Real)"
        case _:
            return f"np.ones({layer.size}, Real)"


def _parameters(layer: LayerPlan, names: tuple[str, ...]) -> str:
    return "".join(f"{_parameter(layer, name)}, " for name in names)


def _array(layer: LayerPlan, formula: Expression, argument: str) -> str:
    names = {name: _parameter(layer, name) for name in per_unit(formula)}
    return print_formula(formula, names | {argument: argument}, "array")


def _own_factor(layer: LayerPlan, formula: Expression) -> str:
    names = {name: _parameter(layer, name) for name in per_unit(formula)}
    text = print_formula(formula, names, "array")
    return text if names else f"np.full({layer.size}, {text}, Real)"


def _energy(layer: LayerPlan, unit: UnitPlan) -> str:
    if not has_energy(unit):
        return ""
    return f"\n    {unit.name}_add_energies(s, {_parameters(layer, state_parameters(unit))}out)"
