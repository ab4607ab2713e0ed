"""The networks of a run: classifiers and autoencoders that `finetune` has trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.classify import Answer, ErrorRate, Question, classify, error_rate, label_layer
from pgmdsl.runtime.data import Data
from pgmdsl.runtime.examples import Examples, labels_of, require_torch, verify_inputs
from pgmdsl.runtime.known import open_any
from pgmdsl.runtime.network import Network, grown
from pgmdsl.runtime.readers import read_array
from pgmdsl.runtime.retrieval import Retrieval, lsa_codes, retrieval

if TYPE_CHECKING:
    from pgmdsl.run import Run
    from pgmdsl.runtime.torch_export import MeanFieldModule
    from pgmdsl.runtime.torch_network import NetworkModule

Array = NDArray[Any]


class TrainedNetwork:
    """A network of a run, with its numbers.

    Data are given by layer, arrays (cases, *dims) or paths; without any, the run's held-out cases.

    Attributes:
        network: its nodes and links, as plain data.
        numbers: its arrays by name: `weight/NODE/SOURCE` (source, node), `bias/NODE`, and the model's own parameters
            that its units keep.
    """

    def __init__(self, run: Run, network: Network, numbers: dict[str, Array]) -> None:
        """Networks are had from `run.network` and `run.networks`."""
        self.run, self.network, self.numbers = run, network, numbers

    def __repr__(self) -> str:
        """The kind and its nodes."""
        nodes = ", ".join(node.name for node in self.network.nodes)
        return f"<pgmdsl network of {self.run.model.name}: {self.network.kind}, nodes {nodes}>"

    def to_torch(self) -> NetworkModule | MeanFieldModule:
        """The network as a `torch.nn.Module` with arrays of its own.

        It is called with a tensor (cases, *dims) for each layer of data. A classifier gives probabilities (cases,
        classes); an autoencoder its codes, then what it gives back. Where the network hears mean-field means, the
        module computes them, by 50 sweeps.
        """
        require_torch("a network")
        from pgmdsl.runtime.torch_export import module_of_data

        return module_of_data(self.network, self.run.machine, self.numbers)

    def onnx(self) -> bytes:
        """The content of an ONNX file: `inputs` by the names of layers of data, outputs `y`, or codes and `down_v`."""
        from pgmdsl.runtime.torch_export import onnx_of

        return onnx_of(self.to_torch(), self.run.machine)

    def weights(self) -> bytes:
        """The content of a safetensors file: the `state_dict` of `to_torch()`."""
        from pgmdsl.runtime.torch_export import weights_of

        return weights_of(self.to_torch())

    def _module(self) -> NetworkModule:
        """The network that takes data and means, over these numbers."""
        require_torch("a network")
        from pgmdsl.runtime.torch_network import NetworkModule

        return NetworkModule(self.network, self.run.model.artifact, self.numbers)

    def inputs(self, data: Mapping[str, Any] | None = None) -> dict[str, Array]:
        """What the network takes of some cases, by name, (cases, size): the data, and means as `mean/h2`."""
        examples = self._examples(data)
        names = (*self.network.inputs, *(f"mean/{n}" for n in self.network.means))
        return dict(zip(names, examples.inputs(np.arange(examples.cases)), strict=True))

    def _examples(self, data: Mapping[str, Any] | None) -> Examples:
        opened = open_cases_of(self.run, data)
        verify_inputs(self.network, opened)
        return Examples(self.network, self.run.machine, opened, self.run.seed)

    def _outputs(self, data: Mapping[str, Any] | None, *, codes: bool = False) -> list[Array]:
        examples, module = self._examples(data), self._module()
        from pgmdsl.runtime.torch_network import network_outputs

        return network_outputs(module, examples, codes=codes)


class Classifier(TrainedNetwork):
    """A network that predicts a layer of labels."""

    def probabilities(self, data: Mapping[str, Any] | None = None) -> Array:
        """The probability of each class, (cases, classes)."""
        return self._outputs(data)[0]

    def predict(self, data: Mapping[str, Any] | None = None) -> NDArray[np.int64]:
        """The most probable class, (cases,)."""
        return np.asarray(self.probabilities(data).argmax(axis=1))


class Autoencoder(TrainedNetwork):
    """A network that encodes the data and gives it back."""

    def encode(self, data: Mapping[str, Any] | None = None) -> dict[str, Array]:
        """The codes, (cases, size), by code layer."""
        return dict(zip(self.network.codes, self._outputs(data, codes=True), strict=True))

    def decode(self, codes: Mapping[str, Any]) -> dict[str, Array]:
        """What comes back from codes, (cases, *dims) by visible layer: means, of documents probabilities of words."""
        module = self._module()
        import torch

        if any("/" not in link.source and link.source not in self.network.codes for link in self._downward()):
            raise Error("the network hears given layers on the way back, so codes alone do not say what it gives back")
        dtype = self.run.machine.dtype
        for name in self.network.codes:
            if name not in codes:
                raise Error(f"codes of {name} are missing: give arrays by layer, as encode() does")
        with torch.no_grad():
            found = module.decode(
                *(torch.from_numpy(np.ascontiguousarray(codes[n], dtype)) for n in self.network.codes)
            )
        return self._shaped([x.numpy() for x in found])

    def reconstruct(self, data: Mapping[str, Any] | None = None) -> dict[str, Array]:
        """What comes back of the data, (cases, *dims) by visible layer: means, of documents probabilities of words."""
        return self._shaped(self._outputs(data)[len(self.network.codes) :])

    def squared_error(self, data: Mapping[str, Any] | None = None) -> tuple[float, float, int]:
        """The mean squared error of a case (summed over units), its standard error, and the number of cases."""
        module = self._module()
        from pgmdsl.runtime.finetune import squared_errors

        errors = squared_errors(module, self._examples(data))
        return float(errors.mean()), float(errors.std(ddof=1) / np.sqrt(len(errors))), len(errors)

    def _downward(self) -> list[Any]:
        return [link for node in self.network.nodes if node.name.startswith("down/") for link in node.links]

    def _shaped(self, found: list[Array]) -> dict[str, Array]:
        layers = self.run.model.artifact.layers
        names = [self.network.node(name).layer for name in self.network.outputs]
        return {n: x.reshape(len(x), *layers[n].dims) for n, x in zip(names, found, strict=True)}


def networks_of(run: Run, numbers: Mapping[str, dict[str, Array]]) -> dict[str, Classifier | Autoencoder]:
    """A run's trained networks by kind, in the order of the phases that trained them last."""
    found: dict[str, Classifier | Autoencoder] = {}
    for number, phase in enumerate(run.model.artifact.phases):
        if phase.kind in numbers:
            network = grown(run.model.artifact, number)
            found.pop(phase.kind, None)
            made = Classifier if phase.kind == "classify" else Autoencoder
            found[phase.kind] = made(run, network, numbers[phase.kind])
    return found


def open_cases_of(run: Run, data: Mapping[str, Any] | None) -> Data:
    """Cases as they are given, or the run's held-out ones."""
    if data is None:
        return run._held_out()[1]
    return open_any(run.model.artifact, data, run.model.base)


@dataclass(frozen=True)
class Classification:
    """The classes of some cases: `probabilities` (cases, classes) by the method that `how` names.

    `labels` are those known, -1 where there is none, or None; `error` compares with them.
    """

    layer: str
    answer: Answer
    labels: Array | None
    error: ErrorRate | None

    @property
    def classes(self) -> NDArray[np.int64]:
        """The most probable class of each case."""
        return np.asarray(self.answer.probabilities.argmax(axis=1))


def classify_run(
    run: Run, data: Mapping[str, Any] | None, labels: Any, by: str | None, layer: str | None, sweeps: int
) -> Classification:
    """Classes of cases by a run; see `Run.classify`."""
    classifier = run.networks.get("classify")
    usual = classifier.network.target if classifier is not None else None
    target = label_layer(run.model.artifact, layer, usual)
    given = None if data is None else {n: x for n, x in data.items() if n != target}
    if labels is None and data is not None:
        labels = data.get(target)
    opened = open_cases_of(run, given)
    known = _labels(run, target, labels, opened, given is None)
    network = (classifier.network, classifier.numbers) if classifier is not None and usual == target else None
    answer = classify(Question(run.machine, target, opened, run.seed, network, sweeps), by)
    error = None
    if known is not None and (known >= 0).any():
        classes = run.model.artifact.layers[target].states
        error = error_rate(known, answer.probabilities.argmax(axis=1), classes)
    return Classification(target, answer, known, error)


def _labels(run: Run, target: str, labels: Any, opened: Data, own: bool) -> Array | None:
    """The labels that are known: those given, or with the run's own cases theirs."""
    if labels is None:
        return labels_of(opened, target) if own else None
    given = open_any(run.model.artifact, {target: labels}, run.model.base)
    if given.cases != opened.cases:
        raise Error(f"{given.cases} labels of {target} are given for {opened.cases} cases: give one a case")
    return labels_of(given, target)


def retrieve(run: Run, data: Mapping[str, Any] | None, labels: Any, baseline: str | None) -> dict[str, Retrieval]:
    """The curves of retrieval by codes, and by a baseline's of the same size, of cases with these classes.

    Args:
        run: The run; its codes are its autoencoder's, else the means of the topmost hidden layer.
        data: As for `Run.infer`.
        labels: The classes: an array, a file, or the name of a layer of the run's own data.
        baseline: "lsa" for latent semantic analysis of the run's training counts, or None.
    """
    opened = open_cases_of(run, data)
    if isinstance(labels, str) and labels in opened.columns:
        classes = labels_of(opened, labels)
    else:
        classes = np.asarray(read_array(labels, Path(), "labels") if isinstance(labels, str) else labels).reshape(-1)
    autoencoder = run.networks.get("autoencode")
    if isinstance(autoencoder, Autoencoder):
        name, codes = "autoencoder", np.concatenate([*autoencoder.encode(data).values()], axis=1)
    else:
        name = [n for n, layer in run.model.artifact.layers.items() if layer.role == "hidden"][-1]
        means = run.infer(data)[name]
        codes = means.reshape(len(means), -1)
    found = {name: retrieval(codes, classes)}
    if baseline == "lsa":
        documents = [n for n, layer in run.model.artifact.layers.items() if layer.support == "counts"]
        if not documents or documents[0] not in opened.columns:
            raise Error("latent semantic analysis is of counts, and there is no layer of documents among the data")
        train, here = (part.columns[documents[0]].expected(part.rows) for part in (run.splits.train, opened))
        found["lsa"] = retrieval(lsa_codes(train, here, codes.shape[1]), classes)
    return found


class WithNetworks:
    """What runs do with their networks."""

    _numbers: Mapping[str, dict[str, Array]]

    @property
    def _run(self) -> Run:
        from pgmdsl.run import Run

        assert isinstance(self, Run), "this is a part of Run"
        return self

    @cached_property
    def networks(self) -> dict[str, Classifier | Autoencoder]:
        """The networks that `finetune` has trained, by kind: "classify", "autoencode"."""
        return networks_of(self._run, self._numbers)

    @property
    def network(self) -> Any:
        """The network trained last, a `Classifier` or an `Autoencoder`. Raises Error where the run has none."""
        if not self.networks:
            raise Error(
                f"{self._run.directory}: this run has no network; a phase finetune classify(y) or autoencode makes one"
            )
        return list(self.networks.values())[-1]

    def classify(
        self,
        data: Mapping[str, Any] | None = None,
        labels: Any = None,
        *,
        by: str | None = None,
        layer: str | None = None,
        sweeps: int = 50,
    ) -> Classification:
        """The classes of some cases with their probabilities, and how many are wrong where labels are known.

        Args:
            data: By layer, arrays (cases, *dims) or paths; the run's held-out cases, with their labels, when None.
            labels: Of the data: an array or a path.
            by: "network", or "posterior": p(label | data) of the model itself, exact where all else sums out, else by
                mean field. The network where the run has one, when None.
            layer: The layer of labels, where the model has several.
            sweeps: Of mean field.
        """
        return classify_run(self._run, data, labels, by, layer, sweeps)
