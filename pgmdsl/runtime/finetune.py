"""Training of networks: gradients by PyTorch, steps by the optimisers of the other phases or by SciPy's line searches.

All that a step depends on is in plain arrays, whose memory the module shares: a checkpoint holds these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.data import Splits
from pgmdsl.runtime.examples import Examples, labelled, labels_of
from pgmdsl.runtime.kernels import Kernels
from pgmdsl.runtime.machine import Machine, Words
from pgmdsl.runtime.metrics import Metrics
from pgmdsl.runtime.network import constants_of, grown, masks_of, start_at_random, start_from_model, starts_random
from pgmdsl.runtime.network_recipe import NetworkRecipe, Search, network_recipe_of
from pgmdsl.runtime.optimise import Rule
from pgmdsl.runtime.random import permutation, stream_key
from pgmdsl.runtime.recipe import Ascent, Patience
from pgmdsl.runtime.steps import Steps
from pgmdsl.runtime.torch_network import TOGETHER, NetworkModule, one_torch_thread, tensors

Array = NDArray[Any]
Arrays = dict[str, Array]
WATCHED = 2000  # training cases on which figures are taken


@dataclass(frozen=True)
class NetworkFigures:
    """Means over cases: the loss, in nats, and the share of wrong classes or the squared error of a case."""

    loss: float
    error: float


class NetworkJob(Steps):
    """One network to be trained: everything a step needs.

    Attributes:
        arrays: the network's numbers by name, which steps change in place.
        examples: the training cases.
        valid: the validation cases.
        best: the best numbers so far by validation, under `stop`, else empty.
    """

    def __init__(
        self,
        name: str,
        words: Words,
        recipe: NetworkRecipe,
        arrays: Arrays,
        examples: Examples,
        valid: Examples | None,
        kernels: Kernels,
        masks: Mapping[str, Array],
    ) -> None:
        """Nothing is trained yet; `masks` say of arrays of weights which entries there are."""
        self.name, self.words, self.recipe, self.numbers = name, words, recipe, arrays
        self.examples, self.valid = examples, valid
        self.step, self.cases = 0, examples.cases
        self.steps_per_epoch = -(-self.cases // recipe.batch)
        self.steps = recipe.total_steps(self.steps_per_epoch)
        self.best: Arrays = {}
        self.best_value, self.since_best = None, 0
        artifact, network = examples.machine.artifact, examples.network
        frozen = {node.name for node in network.nodes if node.layer in recipe.freeze}
        self.trained = tuple(
            n for n in arrays if n not in constants_of(network, artifact) and _node_of(n) not in frozen
        )
        self.module = NetworkModule(network, artifact, arrays)
        self._masks = {n: m for n, m in masks.items() if n in self.trained}
        stepped = not isinstance(recipe.ascent, Search)
        ascent = recipe.ascent if isinstance(recipe.ascent, Ascent) else Ascent("sgd")
        self.rule = Rule(ascent, kernels, {n: arrays[n] for n in self.trained if stepped})

    @property
    def patience(self) -> Patience | None:
        """The job's `stop`."""
        return self.recipe.stop

    @property
    def seed(self) -> int:
        """Of the order of cases."""
        return self.examples.seed

    # --- steps --------------------------------------------------------------------------------------------

    def take_step(self, order: Array) -> None:
        """The next step, on the next cases of the epoch's order."""
        at = (self.epoch, self.step, self.step / self.steps)
        batch, decay = _Batch(self, self.batch(order)), self.recipe.decay.at(*at)
        with one_torch_thread():
            if isinstance(self.recipe.ascent, Search):
                self._search(batch, decay, self.recipe.ascent)
            else:
                _, gradients = batch.descend(decay)
                rate, momentum = self.recipe.rate.at(*at), self.recipe.momentum.at(*at)
                for name, gradient in gradients.items():
                    self.numbers[name] += self.rule.step(name, -gradient, rate, momentum, self.step + 1)
        self.step += 1

    def _search(self, batch: _Batch, decay: float, search: Search) -> None:
        """Some iterations of SciPy's conjugate gradients or L-BFGS on one batch."""
        from scipy.optimize import minimize

        def loss(x: Array) -> tuple[float, Array]:
            self._unpack(x)
            value, gradients = batch.descend(decay)
            return value, _packed(gradients)

        method = {"cg": "CG", "lbfgs": "L-BFGS-B"}[search.kind]
        start = _packed({n: self.numbers[n] for n in self.trained})
        found = minimize(loss, start, jac=True, method=method, options={"maxiter": search.iterations})
        self._unpack(found.x)

    def _unpack(self, x: Array) -> None:
        place = 0
        for name in self.trained:
            size = self.numbers[name].size
            self.numbers[name][...] = x[place : place + size].reshape(self.numbers[name].shape)
            place += size

    # --- figures ------------------------------------------------------------------------------------------

    def watch(self) -> Metrics:
        """The figures after an epoch, on up to 2,000 training cases and all validation cases."""
        network = self.examples.network
        some = np.sort(permutation(stream_key(self.seed, "watched"), self.cases)[:WATCHED])
        at = (self.step - 1) // self.steps_per_epoch, self.step - 1, (self.step - 1) / self.steps
        out: Metrics = {} if isinstance(self.recipe.ascent, Search) else {"rate": self.recipe.rate.at(*at)}
        shown = "error" if network.target else "squared_error"
        for prefix, examples, cases in (("", self.examples, some), ("valid_", self.valid, None)):
            if examples is not None:
                found = figures_of(self.module, examples, cases)
                out |= {f"{prefix}loss": _round(found.loss), f"{prefix}{shown}": _round(found.error)}
        return out

    def keep_best(self, metrics: Metrics) -> None:
        """Under `stop`, note an epoch's figures, and the numbers if they are the best so far."""
        assert self.recipe.stop is not None, "asked of phases with `stop` only"
        metric = self.recipe.stop.metric or ("error" if self.examples.network.target else "loss")
        value = -float(metrics[f"valid_{metric}"])
        if self.best_value is None or value > self.best_value:
            self.best_value, self.since_best = value, 0
            self.best = {n: self.numbers[n].copy() for n in self.trained}
        else:
            self.since_best += 1

    def finish(self) -> None:
        """Leave the network with its best numbers, where `stop` has kept them."""
        for name, value in self.best.items():
            self.numbers[name][...] = value

    def verify_finite(self) -> None:
        """Raise `Error` if training has diverged."""
        for name in self.trained:
            if not np.isfinite(self.numbers[name]).all():
                raise Error(
                    f"{self.name}: {name} is no longer finite after epoch {self.epochs_begun}: training has diverged. "
                    "Lower the rate or raise decay; the run keeps its last checkpoint"
                )

    # --- what a checkpoint holds --------------------------------------------------------------------------

    def arrays(self) -> Arrays:
        """All arrays carried from step to step."""
        kept = {f"numbers/{n}": a for n, a in self.numbers.items()} | {
            f"rule/{n}": a for n, a in self.rule.state.items()
        }
        return kept | {f"best/{n}": a for n, a in self.best.items()}

    def restore(self, arrays: Mapping[str, Array], step: int, best_value: float | None, since_best: int) -> None:
        """Go back to a checkpoint."""
        for name, array in self.arrays().items():
            array[...] = arrays[name]
        self.best = {n.removeprefix("best/"): a.copy() for n, a in arrays.items() if n.startswith("best/")}
        self.step, self.best_value, self.since_best = step, best_value, since_best


def network_job(
    number: int,
    machine: Machine,
    splits: Splits,
    networks: Mapping[str, Arrays],
    masks: Mapping[str, Array],
    seed: int,
    earlier: NetworkJob | None = None,
) -> NetworkJob:
    """The job of one phase, not begun.

    Args:
        number: of the phase.
        machine: the model as it is by now, with documents of their mean lengths.
        splits: the data.
        networks: the numbers of networks that earlier phases have trained, by kind.
        masks: by weight of the model, which entries there are.
        seed: of the run.
        earlier: a job of the same model, whose cases serve again where they are the same, with their means.
    """
    artifact = machine.artifact
    phase = artifact.phases[number]
    network, recipe = grown(artifact, number), network_recipe_of(phase, artifact.sizes)
    if phase.kind in networks and "start" not in phase.settings:
        numbers = {n: a.copy() for n, a in networks[phase.kind].items()}
    elif starts_random(phase):
        numbers = start_at_random(network, machine, seed)
    else:
        numbers = start_from_model(network, machine, machine.lengths)
    there = masks_of(network, artifact, masks)
    for name, mask in there.items():
        numbers[name] *= mask
    if earlier is not None and earlier.examples.network == network and earlier.recipe.labels == recipe.labels:
        examples, valid = earlier.examples, earlier.valid
    else:
        examples = Examples(network, machine, splits.train, seed)
        if network.target is not None:
            examples = examples.take(labelled(labels_of(splits.train, network.target), recipe.labels, seed))
        valid = Examples(network, machine, splits.valid, seed) if splits.valid else None
    name = f"finetune {phase.kind}"
    return NetworkJob(name, (number, 0), recipe, numbers, examples, valid, machine.kernels, there)


class _Batch:
    """Some training cases, on which the loss and its gradients can be had for any numbers of the network."""

    def __init__(self, job: NetworkJob, cases: Array) -> None:
        self.job, self.module = job, job.module
        self.inputs = tensors(job.examples.inputs(cases), job.examples.machine.dtype)
        self.labels = torch.from_numpy(job.examples.labels(cases)) if job.module.network.target else None
        (self.weight,) = tensors([job.examples.weight(cases)], job.examples.machine.dtype)

    def descend(self, decay: float) -> tuple[float, Arrays]:
        """The mean loss with decay/2 times the squared weights, and its gradients by name."""
        self.module.zero_grad()
        each, _ = losses(self.module, self.inputs, self.labels)
        loss = (each * self.weight).mean()
        loss.backward()
        value, out = float(loss.detach()), {}
        for name in self.job.trained:
            found = self.module.get_parameter(name).grad
            numbers = self.job.numbers[name]
            gradient = np.zeros_like(numbers) if found is None else found.numpy()
            if decay and name.startswith("weight/"):
                gradient = gradient + numbers.dtype.type(decay) * numbers
                value += decay / 2 * float(np.square(numbers, dtype=np.float64).sum())
            if name in self.job._masks:
                gradient = gradient * self.job._masks[name]
            out[name] = np.ascontiguousarray(gradient)
        return value, out


def losses(module: NetworkModule, inputs: list[Tensor], labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """Of each case the loss, and whether its class is wrong or the squared error of what comes back.

    The loss is minus the log-probability of the label, or of the data by their unit types (see `Units.loss`).
    """
    fields, _ = module.fields(*inputs)
    network = module.network
    if labels is not None:
        field = fields[network.outputs[0]]
        return torch.nn.functional.cross_entropy(field, labels, reduction="none"), (field.argmax(-1) != labels).double()
    loss, error = torch.zeros(()), torch.zeros(())
    for name, back in zip(network.outputs, module.given_back(fields), strict=True):
        layer = network.node(name).layer
        x = inputs[network.inputs.index(layer)]
        loss = loss + module.units(layer).loss(fields[name], x)
        shares = x / x.sum(-1, keepdim=True) if module.units(layer).layer.support == "counts" else x
        error = error + (shares - back).square().sum(-1)
    return loss, error.detach()


def figures_of(module: NetworkModule, examples: Examples, cases: Array | None = None) -> NetworkFigures:
    """The figures of some cases, or of all that can be compared with a label."""
    target = module.network.target
    cases = np.arange(examples.cases) if cases is None else cases
    if target is not None:
        cases = cases[examples.labels(cases) >= 0]
    loss, error, mass = 0.0, 0.0, 0.0
    with one_torch_thread(), torch.no_grad():
        for start in range(0, len(cases), TOGETHER):
            part = cases[start : start + TOGETHER]
            labels = torch.from_numpy(examples.labels(part)) if target else None
            one, other = losses(module, tensors(examples.inputs(part), examples.machine.dtype), labels)
            weight = examples.weight(part)
            loss, error = loss + float(weight @ one.numpy()), error + float(weight @ other.numpy())
            mass += float(weight.sum())
    return NetworkFigures(loss / mass, error / mass)


def squared_errors(module: NetworkModule, examples: Examples) -> NDArray[np.float64]:
    """The squared error of what an autoencoder gives back of each case, (cases,)."""
    parts = []
    with one_torch_thread(), torch.no_grad():
        for start in range(0, examples.cases, TOGETHER):
            cases = np.arange(start, min(start + TOGETHER, examples.cases))
            _, errors = losses(module, tensors(examples.inputs(cases), examples.machine.dtype), None)
            parts.append(errors.numpy().astype(np.float64))
    return np.concatenate(parts)


def _node_of(name: str) -> str:
    """The node that an array belongs to."""
    kind, _, rest = name.partition("/")
    if kind == "bias":
        return rest
    return "/".join(rest.split("/")[:2]) if rest.startswith("down/") else rest.partition("/")[0]


def _packed(arrays: Mapping[str, Array]) -> NDArray[np.float64]:
    return np.concatenate([a.reshape(-1) for a in arrays.values()]).astype(np.float64)


def _round(value: float) -> float:
    return float(f"{value:.6g}")
