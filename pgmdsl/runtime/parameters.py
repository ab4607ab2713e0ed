"""Parameters: how they start, and how they are kept in safetensors files."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Artifact, ArtifactLayer, ArtifactParameter
from pgmdsl.grammar.diagnostics import Error, suggest
from pgmdsl.runtime.belief import machine_of
from pgmdsl.runtime.data import Data
from pgmdsl.runtime.kernels import Kernels
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.masks import Mask, prepared, verify_entries
from pgmdsl.runtime.random import normals, stream_key
from pgmdsl.runtime.readers import read_array
from pgmdsl.runtime.scales import measured_sigma
from pgmdsl.runtime.tensors import read_tensors

Array = NDArray[Any]
Parameters = dict[str, Array]
Vectors = dict[str, NDArray[np.float64]]
Masks = Mapping[str, Mask]

MARGIN = 0.002  # share of the support's range that means are kept from its ends
LEAST_MEAN = 0.02  # above its lower end, of a unit on a half line: its field is then some -50


def initial_parameters(
    artifact: Artifact,
    kernels: Kernels,
    seed: int,
    *,
    data: Data | None = None,
    base: Path = Path(),
    masks: Masks | None = None,
) -> Parameters:
    """Parameters as the model file says they start, arrays of their declared shapes.

    Weights are N(0, sd^2), sd 0.01 unless stated, and 0 outside their masks; symmetric ones are so from the start, and
    those that may not be above 0 are minus the sizes of what is drawn.
    Offsets mu are the data's means for visible layers and the means of units without input for hidden ones; a visible
    bias starts where its layer, with the others at their offsets, has the data's mean, and a hidden bias that starts at
    0 does so in centred coordinates: own = -sum W mu. Both are per word of the count layers that multiply them.

    Args:
        artifact: the compiled model.
        kernels: its kernels.
        seed: of the weights.
        data: the training cases. Without it, biases and sigmas that come from data start at 0 and 1.
        base: the folder to which the model file's paths are relative.
        masks: by weight, those of `masks.prepared`, if they have been read already.

    Raises:
        Error: a file of parameters is missing or of the wrong shape, or a sigma in it is not positive; a mask does not
            fit; data of which no unit varies, where sigma is to be measured on it.
    """
    masks = prepared(artifact, base)[0] if masks is None else masks
    out = {p.name: _start(p, artifact, seed, base, masks.get(p.name)) for p in artifact.parameters.values()}
    if data is None:
        return out
    for parameter in artifact.parameters.values():
        if parameter.kind == "unit" and parameter.initial.kind == "data":
            layer = artifact.layers[parameter.layers[0]]
            sd, least = measured_sigma(parameter, layer, *data.moments(layer.name))
            out[parameter.name][...] = np.maximum(sd, least).reshape(parameter.shape)
    machine = machine_of(artifact, kernels, out)
    means = mean_statistics(machine, data_statistics(machine, data))
    set_centred_biases(
        machine, means, {n for n in artifact.parameters if _starts_centred(artifact.parameters[n], artifact)}
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


def data_statistics(machine: Machine, data: Data) -> Vectors:
    """The mean statistics (size,) of the machine's layers that are in the data."""
    return {n: data.mean_statistic(n, partial(_statistic, machine, n)) for n in machine.layers if n in data.columns}


def _statistic(machine: Machine, name: str, states: Array) -> Array:
    return np.asarray(machine.kernels.statistic[name](machine.p, np.ascontiguousarray(states, machine.dtype)))


def mean_statistics(machine: Machine, known: Mapping[str, Array]) -> Vectors:
    """Mean statistics (size,) of all layers: those known, else of units without any field (of given layers 0)."""
    means: Vectors = {}
    for name in machine.layers:
        size = machine.artifact.layers[name].size
        if name in known or name in machine.given:
            means[name] = np.asarray(known.get(name, np.zeros(size)), np.float64).reshape(size)
            continue
        counts = machine.artifact.layers[name].support == "counts"
        trials = np.array([machine.lengths.get(name, 1.0)]) if counts else None
        out, zero = np.zeros((1, size), machine.dtype), np.zeros((1, size), machine.dtype)
        machine.kernels.mean[name](machine.p, zero, zero[0], 1.0, out, trials)
        means[name] = out[0].astype(np.float64)
    return means


def set_centred_biases(machine: Machine, means: Mapping[str, Array], names: set[str]) -> None:
    """Set these biases so that each unit has its mean when all others are at theirs: own = f(mean) - scale W mu.

    Over the mean length of the count layers that multiply the bias. A bias that several layers share gets the average
    of what they would have.
    """
    rows = {n: np.ascontiguousarray(means[n][None], machine.dtype) for n in machine.layers}
    shares: dict[str, list[Array]] = {}
    for name in machine.layers:
        layer = machine.artifact.layers[name]
        if layer.bias in names and layer.bias is not None:
            mean = inside(machine.artifact.layers[name], means[name]).astype(machine.dtype)
            field = machine.kernels.field_of_mean[name](machine.p, mean).astype(np.float64)
            if layer.support == "counts":  # fields of documents are shifted freely: words of equal probability have 0
                field = field - np.log(mean.sum(dtype=np.float64) / layer.states)
            own = field - machine.scale[name] * machine.coupling(name, rows, 1)[0]
            exposure = machine.exposure(name, rows)
            factor = machine.kernels.own_factor[name](machine.p) * (1.0 if exposure is None else exposure)
            shares.setdefault(layer.bias, []).append(own / factor)
    for bias, values in shares.items():
        machine.p[bias][:] = np.mean(values, axis=0)
    machine.refresh()


def inside(layer: ArtifactLayer, mean: NDArray[np.float64], margin: float = MARGIN) -> NDArray[np.float64]:
    """Mean statistics moved into the interior of their range, where the field that gives them is finite."""
    match layer.support:
        case "one_hot":
            return (1 - margin) * mean + margin / layer.states
        case "counts":
            return np.asarray((1 - margin) * mean + margin * mean.sum() / layer.states)
        case "finite":
            low, high = min(layer.levels), max(layer.levels)
            return np.asarray(np.clip(mean, low + margin * (high - low), high - margin * (high - low)))
        case "naturals":
            return np.asarray(np.maximum(mean, margin))
        case "real":
            return mean if layer.lower is None else np.asarray(np.maximum(mean, layer.lower + LEAST_MEAN))


def _start(parameter: ArtifactParameter, artifact: Artifact, seed: int, base: Path, mask: Mask | None) -> Array:
    dtype, initial = np.dtype(artifact.dtype), parameter.initial
    match initial.kind:
        case "normal":
            drawn = initial.value * normals(stream_key(seed, "initial", parameter.name), parameter.shape)
            if parameter.symmetric:
                size = artifact.layers[parameter.layers[0]].size
                upper = np.triu(drawn.reshape(size, size), 1)
                drawn = (upper + upper.T).reshape(parameter.shape)
            if parameter.name in artifact.nonpositive:
                drawn = -np.abs(drawn)
            start = drawn.astype(dtype)
        case "constant":
            start = np.full(parameter.shape, initial.value, dtype)
        case "data":
            start = np.full(parameter.shape, 1.0 if parameter.positive else 0.0, dtype)
        case "file":
            start = _from_file(parameter, dtype, base)
            verify_entries(parameter, artifact, start, mask, f"{initial.text} (values of {parameter.name})")
    return start if mask is None else np.where(mask, start, dtype.type(0))


def _from_file(parameter: ArtifactParameter, dtype: np.dtype[Any], base: Path) -> Array:
    what = f"values of the {_KINDS[parameter.kind]} {parameter.name}"
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


_KINDS = {"weight": "weight", "bias": "bias", "unit": "parameter"}


# --- other parameters to start from -----------------------------------------------------------------------


def overlay_parameters(
    parameters: Parameters, given: Mapping[str, Any], artifact: Artifact, place: str, masks: Masks | None = None
) -> None:
    """Overwrite parameters by those given, in place.

    Args:
        parameters: of the declared shapes.
        given: some of them by name.
        artifact: the model.
        place: where they are from, for messages.
        masks: by weight, those of `masks.prepared`.

    Raises:
        Error: a name that the model does not have, another shape, values that are not finite, or not positive where
            they have to be, a weight that is not symmetric where it has to be, or has entries outside its mask.
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
            raise Error(f"{place}: {name} holds values that are not greater than 0, as they have to be; mend them")
        verify_entries(artifact.parameters[name], artifact, array, (masks or {}).get(name), place)
        parameters[name][...] = array


def parameter_metadata(artifact: Artifact) -> dict[str, str]:
    """What a file of parameters says about itself."""
    return {"format": "pgmdsl parameters", "model": artifact.name, "hash": artifact.hash, "version": artifact.version}


def load_parameters(path: Path, artifact: Artifact, masks: Masks | None = None) -> Parameters:
    """The parameters of a model from a safetensors file, in the model's dtype.

    Args:
        path: the file.
        artifact: the model.
        masks: by weight, those of `masks.prepared`.

    Raises:
        Error: the file is missing, cut short or of something else, holds other names or shapes than the model, or
            values that the model cannot have: see `overlay_parameters`.
    """
    every, _ = read_tensors(path, "parameters")
    arrays = {name: array for name, array in every.items() if "/" not in name}  # others are of networks
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
        out[name] = np.empty(parameter.shape, artifact.dtype)
    unknown = sorted(arrays.keys() - out.keys())
    if unknown:
        raise Error(
            f"{path}: it holds {unknown[0]}, which is no parameter of {artifact.name}; is it a file of another model?"
        )
    overlay_parameters(out, arrays, artifact, str(path), masks)
    return out


def load_networks(path: Path) -> dict[str, Parameters]:
    """The numbers of a run's networks by kind, from its file of parameters."""
    out: dict[str, Parameters] = {}
    for name, array in read_tensors(path, "parameters")[0].items():
        kind, slash, number = name.partition("/")
        if slash:
            out.setdefault(kind, {})[number] = array
    return out
