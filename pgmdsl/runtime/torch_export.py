"""Networks for use elsewhere: modules that take data alone, ONNX files, and weights in safetensors files."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.network import Network, mean_field_network, start_from_model
from pgmdsl.runtime.tensors import pack_tensors
from pgmdsl.runtime.torch_network import NetworkModule

Array = NDArray[Any]
SWEEPS = 50  # of mean field


class MeanFieldModule(torch.nn.Module):
    """A network that takes data alone: the means it needs come from sweeps of mean field of its own.

    It is called with one tensor for each of `inputs`, layers of data.
    """

    def __init__(self, module: NetworkModule, means: NetworkModule, sweeps: int = SWEEPS) -> None:
        """`means` has the nodes of `mean_field_network`."""
        super().__init__()
        self.module, self.means, self.sweeps = module, means, sweeps
        self.inputs = tuple(dict.fromkeys((*module.network.inputs, *means.network.inputs)))

    def forward(self, *data: Tensor) -> Any:
        """What the network gives."""
        given = dict(zip(self.inputs, (x.flatten(1) for x in data), strict=True))
        inner = self.means
        values = {n: inner.units(n).statistic(given[n]) for n in inner.network.inputs}
        for node in inner.network.nodes:  # bottom up, twice where some of what it hears is not there yet
            inner.answer(node, values, {}, 2.0 if any(link.source not in values for link in node.links) else 1.0)
        for _ in range(self.sweeps):
            for node in inner.network.nodes:
                inner.answer(node, values, {})
        means = (values[f"mean/{n}"] for n in self.module.network.means)
        return self.module(*(given[n] for n in self.module.network.inputs), *means)


def module_of_data(network: Network, machine: Machine, numbers: Mapping[str, Array]) -> NetworkModule | MeanFieldModule:
    """A module that takes data alone, over arrays of its own.

    Raises:
        Error: means are needed of layers with lateral edges, whose units are set in turn.
    """
    module = NetworkModule(network, machine.artifact, {n: a.copy() for n, a in numbers.items()})
    if not network.means:
        return module
    if machine.lateral:
        raise Error(
            f"units of {machine.lateral[0]} are joined to each other, and their means found one after the other: a "
            "network that hears them cannot leave pgmdsl"
        )
    means = mean_field_network(machine.artifact, network.target)
    return MeanFieldModule(module, NetworkModule(means, machine.artifact, start_from_model(means, machine, {})))


def onnx_of(module: NetworkModule | MeanFieldModule, machine: Machine) -> bytes:
    """The content of an ONNX file: an input (cases, size) for each layer of data, by name, and the outputs.

    Outputs are called by their layers: `y` the probabilities, codes by their layers, `down_v` what comes back.

    Raises:
        Error: ONNX has no operator for what a unit type computes.
    """
    inner = module if isinstance(module, NetworkModule) else module.module
    inputs = list(inner.network.inputs if isinstance(module, NetworkModule) else module.inputs)
    outputs = [name.replace("/", "_") for name in (*inner.network.codes, *inner.network.outputs)]
    some = tuple(torch.zeros(2, machine.artifact.layers[n].size, dtype=_dtype(machine)) for n in inputs)
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            path = Path(folder) / "network.onnx"
            warnings.simplefilter("ignore")  # the exporter's own: it is the one that needs no further package
            torch.onnx.export(
                module.eval(),
                some,
                path,
                dynamo=False,
                input_names=inputs,
                output_names=outputs,
                dynamic_axes={name: {0: "cases"} for name in (*inputs, *outputs)},
            )
            return path.read_bytes()
    except torch.onnx.errors.OnnxExporterError as problem:
        raise Error(f"the network cannot be written as ONNX: {str(problem).splitlines()[0]}") from None


def weights_of(module: NetworkModule | MeanFieldModule) -> bytes:
    """The content of a safetensors file with the module's `state_dict`."""
    arrays = {name: value.detach().numpy() for name, value in module.state_dict().items()}
    inner = module if isinstance(module, NetworkModule) else module.module
    return pack_tensors(arrays, {"format": "pgmdsl network", "kind": inner.network.kind})


def _dtype(machine: Machine) -> torch.dtype:
    return torch.float64 if machine.artifact.dtype == "float64" else torch.float32
