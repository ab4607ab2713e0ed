"""Classes of cases: the ways in which a label can be predicted, in one table, and how often they are wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.grammar.diagnostics import Error, suggest
from pgmdsl.runtime.belief import BeliefNet
from pgmdsl.runtime.data import Data
from pgmdsl.runtime.estimators.evidence import gather
from pgmdsl.runtime.estimators.recognition import exact_sums, is_small, log_weights
from pgmdsl.runtime.examples import Examples, require_torch, verify_inputs
from pgmdsl.runtime.kernels import one_blas_thread
from pgmdsl.runtime.known import Known, known_of
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.network import Network
from pgmdsl.runtime.sampling import chunks, infer

Array = NDArray[Any]
Doubles = NDArray[np.float64]
TOGETHER = 1000  # cases of which states for all classes are held at a time
PASSES = 20  # up, whose posteriors are averaged (Hinton, Osindero and Teh 2006)


@dataclass(frozen=True)
class Question:
    """What is to be predicted: layer `target` of the cases of `data`, whose own labels, if any, are not looked at.

    `network` is the run's classifier of that layer with its numbers, if it has one.
    """

    machine: Machine
    target: str
    data: Data
    seed: int
    network: tuple[Network, Mapping[str, Array]] | None = None
    sweeps: int = 50

    @property
    def known(self) -> Known:
        """What is known of the cases besides their labels."""
        columns = {n: column for n, column in self.data.columns.items() if n != self.target}
        if not columns:
            raise Error(f"nothing is known of the cases to predict {self.target} from: give values of another layer")
        return known_of(self.machine, Data(columns, self.data.rows, None), seed=self.seed)


@dataclass(frozen=True)
class Answer:
    """Probabilities (cases, classes), and in words how they were computed."""

    probabilities: Doubles
    how: str


def _by_network(question: Question) -> Answer:
    """By the network of `finetune classify`."""
    if question.network is None:
        raise Error(
            f"the run has no network that predicts {question.target}: --by posterior asks the model itself, and a "
            f"phase finetune classify({question.target}) trains one"
        )
    require_torch("a network")
    from pgmdsl.runtime.torch_network import NetworkModule, network_outputs

    network, numbers = question.network
    examples = Examples(network, question.machine, question.data, question.seed)
    verify_inputs(network, question.data)
    module = NetworkModule(network, question.machine.artifact, numbers)
    (found,) = network_outputs(module, examples)
    return Answer(found.astype(np.float64), "network")


def _by_posterior(question: Question) -> Answer:
    """By p(label | all else that is known): exact where all that is latent sums out, else by mean field.

    In a belief net by that of the core, given the means of a deterministic pass up (Hinton, Osindero and Teh 2006);
    where a directed edge joins the label, by that of all layers.
    """
    if _is_directed(question):
        return _by_joint(question)
    known, how = recognised(question.known), ""
    if known.machine is not question.machine:
        how = ", given the deterministic pass up"
    latent = [n for n in known.latent if n != question.target]
    if set(latent).isdisjoint(known.s) and known.machine.independent(latent):
        with one_blas_thread():
            parts = [_posterior(part, question.target) for part in chunks(known, TOGETHER)]
        return Answer(np.concatenate(parts), f"exact posterior{how}")
    means = infer(known, question.sweeps)[question.target]
    return Answer(means.astype(np.float64), f"posterior by mean field, {question.sweeps} sweeps{how}")


def _by_neutral(question: Question) -> Answer:
    """By mean field from labels that begin neutral: a few sweeps of the associative memory, given a pass up."""
    _require_in_core(question, "neutral")
    means = infer(recognised(question.known), question.sweeps)[question.target]
    return Answer(means.astype(np.float64), f"mean field from neutral labels, {question.sweeps} sweeps")


def _by_passes(question: Question) -> Answer:
    """By the mean over stochastic passes up of the core's label posterior (Hinton, Osindero and Teh 2006, sec. 7)."""
    if not isinstance(question.machine, BeliefNet):
        raise Error(
            f"--by passes averages over passes up, and {question.machine.artifact.name} has no directed edges: write "
            "--by posterior"
        )
    _require_in_core(question, "passes")
    known, total = question.known, np.zeros(())
    with one_blas_thread():
        for number in range(PASSES):
            drawn = recognised(known, question.seed, number)
            total = total + np.concatenate([_posterior(part, question.target) for part in chunks(drawn, TOGETHER)])
    return Answer(total / PASSES, f"mean posterior over {PASSES} passes up")


def _is_directed(question: Question) -> bool:
    """Whether the label is a parent or a child, so that the undirected part does not say all of it."""
    net, target = question.machine, question.target
    return isinstance(net, BeliefNet) and (target in net.children or bool(net.below(target)))


def _require_in_core(question: Question, method: str) -> None:
    """Raise Error for a method that asks the undirected part alone of a label that directed edges join."""
    if _is_directed(question):
        raise Error(
            f"--by {method} asks the undirected part of {question.machine.artifact.name}, and directed edges join "
            f"{question.target} to other layers: write --by posterior"
        )


def _by_joint(question: Question) -> Answer:
    """By p(label, all else that is known): exact where the hidden parents sum out, else by its bound."""
    known, classes, how = question.known, question.machine.artifact.layers[question.target].states, "exact posterior"
    scores = np.empty((known.cases, classes))
    with one_blas_thread():
        for k, label in enumerate(np.eye(classes, dtype=known.machine.dtype)):
            y = np.tile(label, (known.cases, 1))
            evidence = gather(known.machine, {**known.s, question.target: y}, known.held, known.lengths)
            if is_small(evidence):
                scores[:, k] = exact_sums(evidence)
            else:
                scores[:, k] = log_weights(evidence).mean(axis=0)
                how = "posterior by the bounds of recognition"
    return Answer(_normalised(scores), how)


def recognised(known: Known, seed: int | None = None, number: int = 0) -> Known:
    """What is known of the undirected part of a model after a pass up: its means, or with a seed a draw of it."""
    net = known.machine
    if not isinstance(net, BeliefNet):
        return known
    parts = []
    with one_blas_thread():
        for k, part in enumerate(chunks(known, TOGETHER)):
            s = part.empty()
            reached = net.recognise(s, seed, ("classify", number, k), part.clamped, part.held)
            parts.append({n: s[n] for n in net.core.layers if n in part.s or n in reached})
    s = {n: np.concatenate([part[n] for part in parts]) for n in parts[0]}
    held = {n: mask for n, mask in known.held.items() if n in net.core.layers}
    return Known(net.core, known.cases, s, held, {n: x for n, x in known.lengths.items() if n in net.core.layers})


def _posterior(known: Known, target: str) -> Doubles:
    """p(y = k | v) = exp(-F(v, y = k)) / sum over k."""
    classes = known.machine.artifact.layers[target].states
    scores = np.empty((known.cases, classes))
    for k in range(classes):
        y = np.zeros((known.cases, classes), known.machine.dtype)
        y[:, k] = 1
        scores[:, k] = -known.machine.free_energy({**known.s, target: y})
    return _normalised(scores)


def _normalised(scores: Doubles) -> Doubles:
    """Probabilities of classes from their logarithms, up to a constant of each case."""
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


METHODS: Mapping[str, Callable[[Question], Answer]] = {
    "network": _by_network,
    "posterior": _by_posterior,
    "passes": _by_passes,
    "neutral": _by_neutral,
}


def classify(question: Question, by: str | None = None) -> Answer:
    """The probabilities of each case's classes.

    Args:
        question: what is to be predicted, and from what.
        by: one of `METHODS`; None for the network where there is one, else the posterior.

    Raises:
        Error: no such method, no network, or values missing that the method needs.
    """
    by = by or ("posterior" if question.network is None else "network")
    if by not in METHODS:
        raise Error(
            f"there is no method {by!r}: " + (suggest(by, list(METHODS)) or f"it is one of {', '.join(METHODS)}")
        )
    return METHODS[by](question)


def label_layer(artifact: Artifact, named: str | None, usual: str | None) -> str:
    """The layer whose states are classes: the one named, else the usual one, else the only one there is.

    Raises:
        Error: it is none, or there are several.
    """
    layers = [
        n for n, x in artifact.layers.items() if x.role == "visible" and x.support == "one_hot" and len(x.dims) == 1
    ]
    if named is not None:
        if named not in layers:
            known = f"those are {', '.join(layers)}" if layers else "the model has none"
            raise Error(
                f"{named} is no layer of labels, which is a visible softmax[K]: {suggest(named, layers) or known}"
            )
        return named
    if usual is not None:
        return usual
    if len(layers) != 1:
        has = f"several layers of labels: {', '.join(layers)}; name one" if layers else "no layer of labels, softmax[K]"
        raise Error(f"{artifact.name} has {has}")
    return layers[0]


# --- how often it is wrong --------------------------------------------------------------------------------


@dataclass(frozen=True)
class ErrorRate:
    """The share of wrong classes, and its exact binomial 95% interval (Clopper and Pearson 1934).

    `confusion` (classes, classes): how many cases of a class (row) are taken for another (column).
    """

    wrong: int
    cases: int
    lower: float
    upper: float
    confusion: NDArray[np.int64]

    @property
    def rate(self) -> float:
        """The share that is wrong."""
        return self.wrong / self.cases


def error_rate(labels: Array, predicted: Array, classes: int) -> ErrorRate:
    """How often predicted classes are wrong, of the cases that have a label (0 or above)."""
    from scipy.stats import beta

    there = labels >= 0
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels[there], predicted[there]), 1)
    cases = int(there.sum())
    wrong = cases - int(np.trace(confusion))
    lower = float(beta.ppf(0.025, wrong, cases - wrong + 1)) if wrong else 0.0
    upper = float(beta.ppf(0.975, wrong + 1, cases - wrong)) if wrong < cases else 1.0
    return ErrorRate(wrong, cases, lower, upper, confusion)
