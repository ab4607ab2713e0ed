"""All comparisons of a layer's functions but those that draw."""

from __future__ import annotations

from collections.abc import Sequence

from pgmdsl.checking.comparison import Comparison
from pgmdsl.checking.conditionals import (
    field_of_mean_comparison,
    log_partition_change_comparison,
    log_partition_comparison,
    mean_comparison,
    relax_comparison,
)
from pgmdsl.checking.fields import (
    base_energy_comparison,
    conversions_comparison,
    factor_comparison,
    field_comparison,
)
from pgmdsl.checking.setting import Setting
from pgmdsl.checking.slopes import curvature_comparison, expected_slope_comparison, slope_comparison
from pgmdsl.compiler.units import Real


def layer_comparisons(settings: Sequence[Setting], name: str) -> list[Comparison]:
    """All that the kernels of a layer compute without drawing; of a given one what turns states into statistics."""
    layer = settings[0].layer(name)
    functions = [conversions_comparison]
    if not layer.given:
        functions += [field_comparison, factor_comparison, base_energy_comparison, mean_comparison]
        functions += [log_partition_comparison, log_partition_change_comparison, field_of_mean_comparison]
        functions += [relax_comparison] if settings[0].declared.lateral(name) else []
        functions += [curvature_comparison] if isinstance(layer.unit.support, Real) else []
    out = [function(settings, name) for function in functions]
    for own in () if layer.given else layer.own:
        out += [slope_comparison(settings, name, own), expected_slope_comparison(settings, name, own)]
    return out
