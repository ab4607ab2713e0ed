"""The spread of data of real units: measured where a model asks for it, and compared with the units' own scale."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Artifact, ArtifactLayer, ArtifactParameter
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.data import Data
from pgmdsl.runtime.missing import describe_missing
from pgmdsl.runtime.supports import unit_at

Array = NDArray[Any]

CONSTANT = 1e-9  # of a unit's mean: a standard deviation below it is rounding
LEAST_SIGMA = 0.01  # of a unit's standard deviation measured on data, relative to the layer's largest
FAR = 10.0  # times the scale of a unit, or a part of it, from which its data count as far from it
OFF = 100.0  # standard deviations from 0 at which data count as far off


def data_warnings(artifact: Artifact, data: Data) -> list[str]:
    """What a user should know of the training data, a sentence each: gaps, units that hardly vary, odd scales."""
    return [*describe_missing(data), *raised_sigmas(artifact, data), *odd_scales(artifact, data)]


def measured_sigma(
    parameter: ArtifactParameter, layer: ArtifactLayer, mean: Array, variance: Array
) -> tuple[Array, float]:
    """The standard deviations of a layer's units in the data, (size,), and the least that is taken for sigma.

    Raises:
        Error: every unit is constant.
    """
    sd = np.sqrt(variance)
    if (sd <= CONSTANT * np.abs(mean)).all():
        first = ", ".join("0" * len(layer.dims))
        raise Error(
            f"the layer {layer.name} has sigma = {'data' if parameter.fixed else 'learned'}, but every unit of it is "
            f"constant in the training data (unit [{first}] is {mean[0]:g} throughout): give sigma a number, for "
            "example sigma = 1, or leave out such columns"
        )
    return sd, LEAST_SIGMA * float(sd.max())


def raised_sigmas(artifact: Artifact, data: Data) -> list[str]:
    """Warnings, one for each layer with sigma from the data of which some units hardly vary there."""
    out = []
    for parameter in artifact.parameters.values():
        if parameter.kind == "unit" and parameter.initial.kind == "data":
            layer = artifact.layers[parameter.layers[0]]
            sd, least = measured_sigma(parameter, layer, *data.moments(layer.name))
            count = int((sd < least).sum())
            if count:
                starts = "is set to" if parameter.fixed else "starts at"
                out.append(
                    f"{count} of the {layer.size} units of {layer.name} hardly vary in the training data; their sigma "
                    f"{starts} {least:.3g}, {LEAST_SIGMA:g} of the largest: cases in which they differ will count as "
                    "very improbable"
                )
    return out


def odd_scales(artifact: Artifact, data: Data) -> list[str]:
    """Warnings, one for each layer of real units whose data are far from the units' scale, or far off 0.

    A unit's scale is its sigma where a number fixes it, and 1 where it has no parameters of its own.
    """
    out = []
    for name, column in data.columns.items():
        layer = column.layer
        if layer.support != "real" or layer.role == "given":
            continue
        mean, variance = data.moments(name)
        sd = np.sqrt(variance)
        varies = sd > CONSTANT * np.abs(mean)
        if not varies.any():
            continue
        typical, scale = float(np.median(sd[varies])), _fixed_scale(artifact, layer)
        if scale is not None and not 1 / FAR <= typical / scale <= FAR:
            out.append(_of_another_scale(layer, typical, scale, float(np.median(mean))))
        off = np.where(varies, np.abs(mean) / np.where(varies, sd, 1), 0)
        if off.max() > OFF:
            unit = int(off.argmax())
            where = unit_at(layer.dims, unit).strip(", ")
            out.append(
                f"the data of {name} are far off 0 for their spread: the mean of {where} is {mean[unit]:.4g} and its "
                f"standard deviation {sd[unit]:.3g}; subtract the means from the data, which are otherwise lost in "
                "rounding"
            )
    return out


def _fixed_scale(artifact: Artifact, layer: ArtifactLayer) -> float | None:
    """The scale of a layer's units where the file fixes it, else None."""
    if not layer.parameters:
        return 1.0
    sigma = artifact.parameters[layer.sigma] if layer.sigma is not None else None
    fixed = sigma is not None and sigma.fixed and sigma.initial.kind == "constant"
    return sigma.initial.value if sigma is not None and fixed else None


def _of_another_scale(layer: ArtifactLayer, typical: float, scale: float, mean: float) -> str:
    factor = f"{scale / typical:.3g}"
    if layer.sigma is None:
        unit, mend = f"the scale of {layer.unit} units is {scale:g}", f"write scale = {factor} in its data block"
    else:
        unit = f"its sigma is fixed at {scale:g}"
        mend = (
            f"write {layer.unit}[...](sigma = data) or (sigma = learned) in its declaration, or scale = {factor} in "
            "its data block"
        )
    return (
        f"the data of {layer.name} have standard deviations of about {typical:.3g} (the median over its {layer.size} "
        f"units; the median of the means is {mean:.3g}), and {unit}: learning will be slow or diverge; {mend}"
    )
