"""Parameters: how they start, and how they are kept in safetensors files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Artifact, ArtifactLayer, ArtifactParameter
from pgmdsl.grammar.diagnostics import Error, suggest
from pgmdsl.runtime.data import Data
from pgmdsl.runtime.kernels import Kernels
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.random import normals, stream_key
from pgmdsl.runtime.readers import read_array
from pgmdsl.runtime.tensors import read_tensors

Array = NDArray[Any]
Parameters = dict[str, Array]
Vectors = dict[str, NDArray[np.float64]]

MARGIN = 0.002  # share of the support's range that means are kept from its ends
CONSTANT = 1e-9  # of a unit's mean: a standard deviation below it is rounding
LEAST_SIGMA = 0.01  # of a unit's standard deviation measured on data, relative to the layer's largest


def initial_parameters(
    artifact: Artifact, kernels: Kernels, seed: int, *, data: Data | None = None, base: Path = Path()
) -> Parameters:
    """Parameters as the model file says they start, arrays of their declared shapes.

    Weights are N(0, sd^2), sd 0.01 unless stated. Offsets mu are the data's means for visible layers and the means of
    units without input for hidden ones; a visible bias starts where its layer, with the others at their offsets, has
    the data's mean, and a hidden bias that starts at 0 does so in centred coordinates: own = -sum W mu.

    Args:
        artifact: the compiled model.
        kernels: its kernels.
        seed: of the weights.
        data: the training cases. Without it, biases and sigmas that come from data start at 0 and 1.
        base: the folder to which the model file's paths are relative.

    Raises:
        Error: a file of parameters is missing or of the wrong shape, or a sigma in it is not positive; data of which
            no unit varies, where sigma is to be measured on it.
    """
    out = {p.name: _start(p, artifact, seed, base) for p in artifact.parameters.values()}
    if data is None:
        return out
    moments = {name: data.moments(name) for name in data.columns}
    for parameter in artifact.parameters.values():
        if parameter.kind == "unit" and parameter.initial.kind == "data":
            sd, least = _measured_sigma(artifact.layers[parameter.layers[0]], *moments[parameter.layers[0]])
            out[parameter.name][...] = np.maximum(sd, least).reshape(parameter.shape)
    machine = Machine(artifact, kernels, out)
    means = mean_statistics(machine, {n: m[0] for n, m in moments.items()})
    set_centred_biases(
        machine, means, {n for n in artifact.parameters if _starts_centred(artifact.parameters[n], artifact)}
    )
    return out


def _measured_sigma(layer: ArtifactLayer, mean: Array, variance: Array) -> tuple[Array, float]:
    """The standard deviations of a layer's units in the data, (size,), and the least that is taken for sigma.

    Raises:
        Error: every unit is constant.
    """
    sd = np.sqrt(variance)
    if (sd <= CONSTANT * np.abs(mean)).all():
        first = ", ".join("0" * len(layer.dims))
        raise Error(
            f"the layer {layer.name} has sigma = data, but every unit of it is constant in the training data (unit "
            f"[{first}] is {mean[0]:g} throughout): give sigma a number, for example sigma = 1, or leave out such "
            "columns"
        )
    return sd, LEAST_SIGMA * float(sd.max())


def raised_sigmas(artifact: Artifact, data: Data) -> list[str]:
    """Warnings, one for each layer with `sigma = data` of which some units hardly vary in the training data."""
    out = []
    for parameter in artifact.parameters.values():
        if parameter.kind == "unit" and parameter.initial.kind == "data":
            layer = artifact.layers[parameter.layers[0]]
            sd, least = _measured_sigma(layer, *data.moments(layer.name))
            count = int((sd < least).sum())
            if count:
                out.append(
                    f"{count} of the {layer.size} units of {layer.name} hardly vary in the training data; their sigma "
                    f"is set to {least:.3g}, {LEAST_SIGMA:g} of the largest: cases in which they differ will count as "
                    "very improbable"
                )
    return out


def _starts_centred(parameter: ArtifactParameter, artifact: Artifact) -> bool:
    """Whether a bias starts at a value that refers to centred coordinates, rather than at a stated one."""
    if parameter.kind != "bias" or parameter.fixed:
        return False
    hidden = artifact.layers[parameter.layers[0]].role == "hidden"
    return parameter.initial.kind == "data" or (
        hidden and parameter.initial.kind == "constant" and not parameter.initial.value
    )


def mean_statistics(machine: Machine, mean_states: Mapping[str, Array]) -> Vectors:
    """Mean statistics (size,) of all layers: from mean states where given, else of units without any field."""
    means: Vectors = {}
    for name in machine.layers:
        size = machine.artifact.layers[name].size
        if name in mean_states:
            state = np.ascontiguousarray(mean_states[name].reshape(1, size), machine.dtype)
            means[name] = machine.kernels.statistic[name](machine.p, state).reshape(size).astype(np.float64)
        else:
            out, zero = np.zeros((1, size), machine.dtype), np.zeros((1, size), machine.dtype)
            machine.kernels.mean[name](machine.p, zero, zero[0], 1.0, out)
            means[name] = out[0].astype(np.float64)
    return means


def set_centred_biases(machine: Machine, means: Mapping[str, Array], names: set[str]) -> None:
    """Set these biases so that each unit has its mean when the other layers are at theirs: own = f(mean) - scale W mu.

    A bias that several layers share gets the average of what they would have.
    """
    shares: dict[str, list[Array]] = {}
    for name in machine.layers:
        layer = machine.artifact.layers[name]
        if layer.bias in names and layer.bias is not None:
            mean = inside(layer, means[name]).astype(machine.dtype)
            field = machine.kernels.field_of_mean[name](machine.p, mean).astype(np.float64)
            rows = {n: np.ascontiguousarray(means[n][None], machine.dtype) for n in machine.layers if n != name}
            own = field - machine.scale[name] * machine.coupling(name, rows, 1)[0]
            shares.setdefault(layer.bias, []).append(own / machine.kernels.own_factor[name](machine.p))
    for bias, values in shares.items():
        machine.p[bias][:] = np.mean(values, axis=0)
    machine.refresh()


def inside(layer: ArtifactLayer, mean: NDArray[np.float64], margin: float = MARGIN) -> NDArray[np.float64]:
    """Means moved into the interior of the support, where the field that gives them is finite."""
    match layer.support:
        case "real":
            return mean
        case "one_hot":
            return (1 - margin) * mean + margin / layer.states
        case "finite":
            low, high = min(layer.values), max(layer.values)
            return np.clip(mean, low + margin * (high - low), high - margin * (high - low))
        case _:
            raise NotImplementedError(layer.support)


def _start(parameter: ArtifactParameter, artifact: Artifact, seed: int, base: Path) -> Array:
    dtype, initial = np.dtype(artifact.dtype), parameter.initial
    match initial.kind:
        case "normal":
            drawn = normals(stream_key(seed, "initial", parameter.name), parameter.shape)
            return (initial.value * drawn).astype(dtype)
        case "constant":
            return np.full(parameter.shape, initial.value, dtype)
        case "data":
            return np.full(parameter.shape, 1.0 if parameter.positive else 0.0, dtype)
        case "file":
            return _from_file(parameter, dtype, base)


def _from_file(parameter: ArtifactParameter, dtype: np.dtype[Any], base: Path) -> Array:
    what = f"values of the {parameter.kind} {parameter.name}"
    place = f"{parameter.initial.text} ({what})"
    values = read_array(parameter.initial.text, base, what)
    if values.dtype.kind not in "biuf":
        raise Error(f"{place}: the values are of type {values.dtype}, not numbers; save them as floats")
    if values.shape != parameter.shape and values.squeeze().shape != parameter.shape:
        raise Error(
            f"{place}: the array has shape {values.shape}, but {parameter.name} has {parameter.shape}; give it that "
            "shape"
        )
    array = values.reshape(parameter.shape).astype(dtype)
    if not np.isfinite(array).all() or (parameter.positive and (array <= 0).any()):
        need = "finite and greater than 0" if parameter.positive else "finite"
        raise Error(f"{place}: not every value is {need}; mend the file")
    return array


# --- other parameters to start from -----------------------------------------------------------------------


def overlay_parameters(parameters: Parameters, given: Mapping[str, Any], artifact: Artifact, place: str) -> None:
    """Overwrite parameters by those given, in place.

    Raises:
        Error: a name that the model does not have, another shape, or values that are not finite.
    """
    for name, value in given.items():
        if name not in parameters:
            known = list(parameters)
            hint = suggest(name, known) or f"it has {', '.join(known)}"
            raise Error(f"{place}: the model has no parameter {name}; {hint}")
        array = np.asarray(value)
        if array.shape != parameters[name].shape:
            raise Error(
                f"{place}: {name} has shape {array.shape}, but this model needs {parameters[name].shape}; start from a "
                "run of the same sizes, or leave this parameter out"
            )
        if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
            raise Error(f"{place}: {name} holds values that are not finite numbers; mend them")
        if artifact.parameters[name].positive and (array <= 0).any():
            raise Error(f"{place}: {name} holds a standard deviation that is not positive; mend it")
        parameters[name][...] = array


def parameter_metadata(artifact: Artifact) -> dict[str, str]:
    """What a file of parameters says about itself."""
    return {"format": "pgmdsl parameters", "model": artifact.name, "hash": artifact.hash, "version": artifact.version}


def load_parameters(path: Path, artifact: Artifact) -> Parameters:
    """The parameters of a model from a safetensors file, in the model's dtype.

    Raises:
        Error: the file is missing, cut short or of something else, or holds other names or shapes than the model.
    """
    arrays, _ = read_tensors(path, "parameters")
    out: Parameters = {}
    for name, parameter in artifact.parameters.items():
        if name not in arrays:
            raise Error(f"{path}: the parameter {name} of {artifact.name} is not in it; is it a file of another model?")
        array = arrays[name]
        if array.shape != parameter.shape or array.dtype.kind != "f":
            raise Error(
                f"{path}: {name} is {array.dtype} of shape {array.shape}, but {artifact.name} needs {artifact.dtype} "
                f"of shape {parameter.shape}; name the parameters of this model, with the same sizes"
            )
        out[name] = np.ascontiguousarray(array, artifact.dtype)
    unknown = sorted(arrays.keys() - out.keys())
    if unknown:
        raise Error(
            f"{path}: it holds {unknown[0]}, which is no parameter of {artifact.name}; is it a file of another model?"
        )
    return out
