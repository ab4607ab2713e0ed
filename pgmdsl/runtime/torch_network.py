"""A network as a PyTorch module: the nodes' values and fields, with what gradients need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.runtime.examples import Examples
from pgmdsl.runtime.network import Network, Node, bias_name, constants_of, weight_name
from pgmdsl.runtime.torch_units import Units

Array = NDArray[Any]
Values = dict[str, Tensor]
TOGETHER = 1000  # cases that a network is used on at a time


class NetworkModule(torch.nn.Module):
    """A network over arrays whose memory it shares.

    It is called with one tensor (cases, size) or (cases, *dims) for each of `network.inputs`, states in the data's own
    units, then for each of `network.means`. A classifier gives probabilities (cases, classes); an autoencoder its codes
    and then the means of the layers it gives back, flat. Documents come back as probabilities of words.
    """

    def __init__(self, network: Network, artifact: Artifact, arrays: Mapping[str, Array]) -> None:
        """Wrap arrays of the shapes of `shapes_of`."""
        super().__init__()
        self.network = network
        constants = constants_of(network, artifact)
        for name, array in arrays.items():
            if name in constants:
                self.register_buffer(name, torch.from_numpy(array).reshape(-1))
            else:
                self.register_parameter(name, torch.nn.Parameter(torch.from_numpy(array)))
        layers = dict.fromkeys((*network.inputs, *network.means, *(node.layer for node in network.nodes)))
        self._layers = {name: artifact.layers[name] for name in layers}

    def units(self, layer: str) -> Units:
        """The unit type of a layer, with the parameters it has of its own."""
        own = self._layers[layer].parameters
        return Units(self._layers[layer], {name: self.get_buffer(named) for name, named in own.items()})

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The outputs: see the class."""
        fields, values = self.fields(*inputs)
        if self.network.kind == "classify":
            return values[self.network.outputs[0]]
        return (*(values[name] for name in self.network.codes), *self.given_back(fields))

    def encode(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The codes alone."""
        _, values = self.fields(*inputs, until=self.network.codes)
        return tuple(values[name] for name in self.network.codes)

    def decode(self, *codes: Tensor) -> tuple[Tensor, ...]:
        """What an autoencoder without given layers gives back from codes."""
        values = dict(zip(self.network.codes, codes, strict=True))
        fields: Values = {}
        for node in self.network.nodes:
            if node.name.startswith("down/"):
                self.answer(node, values, fields)
        return self.given_back(fields)

    def given_back(self, fields: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """The mean states of the layers that an autoencoder gives back, of documents the probabilities of words."""
        out = []
        for name in self.network.outputs:
            units = self.units(self.network.node(name).layer)
            out.append(units.state(units.mean(fields[name])))
        return tuple(out)

    def fields(self, *inputs: Tensor, until: tuple[str, ...] = ()) -> tuple[Values, Values]:
        """By node its total field and its value; with `until`, of the nodes before the last of these only."""
        names = (*self.network.inputs, *(f"mean/{n}" for n in self.network.means))
        values = dict(zip(names, (x.flatten(1) for x in inputs), strict=True))
        values |= {n: self.units(n).statistic(values[n]) for n in self.network.inputs}
        fields: Values = {}
        for node in self.network.nodes:
            if until and values.keys() >= set(until):
                break
            self.answer(node, values, fields)
        return fields, values

    def answer(self, node: Node, values: Values, fields: Values, factor: float = 1.0) -> None:
        """Add a node's field and value, by what `values` has of its sources, times the factor."""
        bias = self.get_parameter(bias_name(node))
        lengths = [values[n].sum(-1, keepdim=True) for n in node.counted if n in values]
        field = bias * sum(lengths) if lengths else bias
        for link in node.links:
            if link.source in values:
                field = field + factor * (values[link.source] @ self.get_parameter(weight_name(node, link)))
        fields[node.name] = field
        match node.answer:
            case "linear":
                values[node.name] = field
            case "logistic":
                values[node.name] = torch.sigmoid(field)
            case "mean":
                values[node.name] = self.units(node.layer).mean(field)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Within it PyTorch computes on one thread: sums keep their order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def tensors(arrays: list[Array], dtype: np.dtype[Any]) -> list[Tensor]:
    """Arrays as tensors of one type."""
    return [torch.from_numpy(np.ascontiguousarray(x, dtype)) for x in arrays]


def network_outputs(module: NetworkModule, examples: Examples, *, codes: bool = False) -> list[Array]:
    """What the network gives for all cases, or its codes alone, arrays (cases, size)."""
    parts = []
    with one_torch_thread(), torch.no_grad():
        for start in range(0, examples.cases, TOGETHER):
            cases = np.arange(start, min(start + TOGETHER, examples.cases))
            inputs = tensors(examples.inputs(cases), examples.machine.dtype)
            found = module.encode(*inputs) if codes else module(*inputs)
            parts.append([x.numpy() for x in ((found,) if isinstance(found, Tensor) else found)])
    return [np.concatenate(column) for column in zip(*parts, strict=True)]
