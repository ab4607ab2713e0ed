"""The functions of each layer, and their composition into sweeps: plain Python around the kernels."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template

from pgmdsl.compiler.emit_edges import emit_products
from pgmdsl.compiler.emit_formula import assigned, print_formula
from pgmdsl.compiler.emit_source import (
    Loop,
    expected_slope_arguments,
    has_energy,
    own_arguments,
    slope_arguments,
)
from pgmdsl.compiler.emit_units import field_of_mean_array, state_array, statistic_array
from pgmdsl.compiler.plan import Contraction, KernelPlan, LayerPlan, product_text
from pgmdsl.compiler.plan_units import Categorical, Multinomial, Slope, UnitPlan, per_unit
from pgmdsl.compiler.typeset import unicode_text
from pgmdsl.grammar.syntax import Expression

_FIELD = Template('''
def field_${layer}(p, s, out):
    """Coupling field of ${layer}: ${equation}; absent layers send nothing."""
${products}


def own_factor_${layer}(p):
    """What the bias of ${layer} is multiplied by in its field: ${factor_text}."""
    return ${factor}
''')

_SAMPLE = Template('''
def sample_${layer}(p, field, own, scale, key, out, trials=None, held=None):
    """Statistics of ${layer} drawn at the field own + scale * field, from the uint64 counter base `key`."""${before}
    with np.errstate(over="ignore"):
        ${unit}_draw(field, rows(own), float(scale), ${states}${draw}np.uint64(key), ${counted}out)${after}
''')

_MEAN = Template('''
def mean_${layer}(p, field, own, scale, out, trials=None, held=None):
    """Mean statistics of ${layer} at the field own + scale * field, each unit given all others."""${before}
    ${unit}_means(field, rows(own), float(scale), ${states}${means}${counted}out)${after}
''')

_RELAX = Template("""
relax_${layer} = mean_${layer}
""")

_IN_TURN = Template('''
def couplings_${layer}(p):
    """What multiplies the statistics of ${layer} in the field of ${layer} itself: ${couplings_text}."""
    return ${couplings}


def sample_${layer}(p, field, own, scale, key, out, trials=None, held=None):
    """Units of ${layer} drawn in turn from the state in `out`, at the field own + scale * field, which follows."""
    sites = Sites(couplings_${layer}(p), ${width}, p.get("colours ${layer}"), held)
    with np.errstate(over="ignore"):
        visit(${unit}_draw_in_turn, field, own, (float(scale), ${states}${draw}np.uint64(key)), sites, out)


def relax_${layer}(p, field, own, scale, out, trials=None, held=None):
    """Units of ${layer} set in turn to their means given the others' in `out`; own + scale * field follows."""
    sites = Sites(couplings_${layer}(p), ${width}, p.get("colours ${layer}"), held)
    visit(${unit}_means_in_turn, field, own, ${means_arguments}, sites, out)
''')

_REST = Template('''
def log_partition_${layer}(p, field, own, scale, out, trials=None):
    """out += sum over units of A(own + scale * field)."""
    ${unit}_add_log_partitions(field, rows(own), float(scale), ${states}${partition}${trials}out)


def log_partition_change_${layer}(p, field, own0, scale0, own1, scale1, out, trials=None):
    """out += sum over units of A(own1 + scale1 * field) - A(own0 + scale0 * field)."""
    ${unit}_add_changes(field, rows(own0), float(scale0), rows(own1), float(scale1), ${states}${change}${trials}out)


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

_SLOPE = Template('''
def slope_${layer}_${own}(p, s, field, out):
    """out = -d energy / d ${own} of each unit at its state and coupling field f: ${at_state}."""
    ${unit}_slopes_${own}(s, field, ${slopes}out)


def expected_slope_${layer}_${own}(p, field, own, scale, out):
    """out = the mean of slope_${layer}_${own} over each unit's conditional at the field own + scale * field."""
    ${unit}_expected_slopes_${own}(field, rows(own), float(scale), ${expected}out)
''')

_CURVATURE = Template('''
def curvature_${layer}(p):
    """The least curvature of a unit's base as a function of s where |s| is large: ${text}."""
    return ${curvature}
''')

_SWEEPS = '''
def exposed(layer, own, s):
    """The own field of a layer, times the summed lengths of those of its `counted` layers that are in `s`."""
    lengths = [s[name].sum(axis=1, dtype=np.float64) for name in LAYERS[layer]["counted"] if name in s]
    return (sum(lengths)[:, None] * own).astype(own.dtype) if lengths else own


def trials_of(layer, s):
    """The lengths of a count layer's documents, (cases,); None for other layers."""
    return s[layer].sum(axis=1, dtype=np.float64) if LAYERS[layer]["counts"] else None


def gibbs_sweep(p, s, own, scale, keys, fields, clamped, blocks=BLOCKS, held=None):
    """Draw every layer that is present and not clamped given the others, block by block, into the arrays of `s`.

    `own`, `scale`, `keys`, `fields` and `held` are dicts by layer; `fields` are overwritten.
    """
    kept = {} if held is None else held
    for layer in (layer for block in blocks for layer in block if layer in s and layer not in clamped):
        FIELD[layer](p, s, fields[layer])
        levels, trials = exposed(layer, own[layer], s), trials_of(layer, s)
        SAMPLE[layer](p, fields[layer], levels, scale[layer], keys[layer], s[layer], trials, kept.get(layer))


def mean_field_sweep(p, s, own, scale, fields, clamped, held=None):
    """Set every layer that is present and not clamped to its mean given the others' means, block by block."""
    kept = {} if held is None else held
    for layer in (layer for block in BLOCKS for layer in block if layer in s and layer not in clamped):
        FIELD[layer](p, s, fields[layer])
        levels, trials = exposed(layer, own[layer], s), trials_of(layer, s)
        RELAX[layer](p, fields[layer], levels, scale[layer], s[layer], trials, kept.get(layer))
'''


def emit_layer(layer: LayerPlan, unit: UnitPlan, layers: Mapping[str, LayerPlan]) -> str:
    """The functions of one layer; `layers` are those of the model."""
    pieces = {"products": emit_products(layer.contractions, layers), **_pieces(layer, unit)}
    templates = [_FIELD, _MEAN, _IN_TURN, _REST] if layer.lateral else [_FIELD, _SAMPLE, _MEAN, _RELAX, _REST]
    functions = [template.substitute(pieces) for template in templates]
    functions += [_slope(layer, unit, slope) for slope in unit.slopes if slope.parameter in layer.parameters]
    functions += [] if unit.curvature is None else [_curvature(layer, unit, unit.curvature)]
    return "\n".join(functions)


def emit_sweeps(plan: KernelPlan) -> str:
    """The tables of functions by layer, and the sweeps over the blocks."""
    tables = []
    for table, verb in (("FIELD", "field"), ("SAMPLE", "sample"), ("RELAX", "relax")):
        entries = "".join(f"\n    {assigned(name)}: {verb}_{name}," for name in plan.layers)
        tables.append(f"{table} = {{{entries}\n}}\n")
    return "".join(tables) + "\n" + _SWEEPS


def _pieces(layer: LayerPlan, unit: UnitPlan) -> dict[str, str]:
    """What the templates of a layer are filled with."""
    names = _names(layer, unit)
    states = f"{layer.states}, " if _has_states(unit) else ""
    means = _arguments(layer, unit, "means")
    energies = f"\n    {unit.name}_add_energies(s, {_arguments(layer, unit, 'add_energies')}out)"
    return {
        "layer": layer.name,
        "unit": unit.name,
        "equation": " + ".join(product_text(c) for c in layer.contractions) or "0",
        "factor_text": unicode_text(unit.own_factor),
        "factor": _per_unit(layer, unit, unit.own_factor),
        "states": states,
        "width": str(layer.states),
        "trials": "trials, " if layer.counts else "",
        "counted": "trials, mask(held), " if layer.counts else "",
        "before": "" if layer.counts else "\n    earlier = before(out, held)",
        "after": "" if layer.counts else "\n    put_back(out, earlier, held)",
        "couplings": _couplings(layer.lateral),
        "couplings_text": " + ".join(_coupling_text(c) for c in layer.lateral),
        "draw": _arguments(layer, unit, "draw"),
        "means": means,
        "means_arguments": f"(float(scale), {states}{means}".rstrip(" " if not states + means else ", ") + ")",
        "partition": _arguments(layer, unit, "add_log_partitions"),
        "change": _arguments(layer, unit, "add_changes"),
        "energy_text": unicode_text(unit.energy),
        "energy": energies if has_energy(unit) else "",
        "inverse": field_of_mean_array(unit, names, "m"),
        "statistic": statistic_array(unit, names, "x"),
        "state": state_array(unit, names, "s"),
    }


def _slope(layer: LayerPlan, unit: UnitPlan, slope: Slope) -> str:
    return _SLOPE.substitute(
        layer=layer.name,
        unit=unit.name,
        own=slope.parameter,
        at_state=unicode_text(slope.at_state),
        slopes=_sources(layer, unit, slope_arguments(unit, slope)),
        expected=_sources(layer, unit, expected_slope_arguments(unit, slope)),
    )


def _curvature(layer: LayerPlan, unit: UnitPlan, formula: Expression) -> str:
    return _CURVATURE.substitute(
        layer=layer.name, text=unicode_text(formula), curvature=_per_unit(layer, unit, formula)
    )


def _couplings(lateral: tuple[Contraction, ...]) -> str:
    """The sum of a layer's lateral weights, as one matrix."""
    factors = ["" if c.coefficient == 1 else f"Real({c.coefficient!r}) * " for c in lateral]
    return " + ".join(f"{factor}p[{assigned(c.weight)}]" for factor, c in zip(factors, lateral, strict=True))


def _coupling_text(c: Contraction) -> str:
    return c.weight if c.coefficient == 1 else f"{c.coefficient:g} {c.weight}"


def _has_states(unit: UnitPlan) -> bool:
    """Whether the unit type's loops are over sites of several entries."""
    return isinstance(unit.sampler, Categorical | Multinomial)


def _names(layer: LayerPlan, unit: UnitPlan) -> dict[str, str]:
    """The source of the array with one number per unit for each name of the unit type's formulas.

    A layer without a bias has zeros; one without own parameters, a given layer, ones where these are positive, so that
    the statistic of a given Gaussian layer is its state.
    """
    names = {"b": f"np.zeros({layer.size}, Real)" if layer.bias is None else f"p[{assigned(layer.bias)}]"}
    if layer.trials is not None:
        names["trials"] = f"np.full({layer.size}, {float(layer.trials)!r}, Real)"
    for slope in unit.slopes:
        own = slope.parameter
        missing = f"np.{'ones' if own in layer.positive else 'zeros'}({layer.size}, Real)"
        names[own] = f"p[{assigned(layer.parameters[own])}]" if own in layer.parameters else missing
    return names


def _arguments(layer: LayerPlan, unit: UnitPlan, loop: Loop) -> str:
    """The arrays that a loop of the unit type takes, each followed by a comma; none where it is over sites."""
    return "" if _has_states(unit) else _sources(layer, unit, own_arguments(unit, loop))


def _sources(layer: LayerPlan, unit: UnitPlan, names: tuple[str, ...]) -> str:
    found = _names(layer, unit)
    return "".join(f"{found[name]}, " for name in names)


def _per_unit(layer: LayerPlan, unit: UnitPlan, formula: Expression) -> str:
    """The source of a formula's values, (size,)."""
    text = print_formula(formula, _names(layer, unit), "array")
    return text if per_unit(formula) else f"np.full({layer.size}, {text}, Real)"
