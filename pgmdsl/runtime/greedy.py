"""Greedy pretraining: restricted machines, one for each hidden layer bottom up, then composed into the whole.

Within its stage a layer's input is doubled where the whole model will send it input from the other side as well. What
belongs to one layer alone, its bias, its units' own parameters and its lateral weight, each stage has for itself; on
composing, weights between layers are taken as they are, and what several stages have trained of one layer is averaged,
so that the layer hears half of what each stage told it. A bias that documents multiply by their lengths, which a stage
may not hold, is converted by their mean. Several pathways are pretrained one by one, and joined by the
stage of the layer where they meet.

Source: Salakhutdinov and Hinton (2009), section 3.1; the averaging is ours (the source does not mention biases).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Artifact, ArtifactEdge, GreedyStage
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.feed import Feed
from pgmdsl.runtime.kernels import Kernels
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.parameters import mean_statistics, set_centred_biases

Array = NDArray[Any]
Parameters = dict[str, Array]
StageOwn = dict[str, Parameters]  # by upper layer, what that stage has for itself, by name


def stages_of(artifact: Artifact, target: str | None) -> tuple[GreedyStage, ...]:
    """The stages that a greedy phase trains."""
    return tuple(s for s in artifact.greedy if target is None or s.upper == target)


def stacked(artifact: Artifact) -> Artifact:
    """The model with all its edges undirected, of which stages are parts: itself, if they are."""
    return artifact if artifact.parts is None else artifact.parts.stack


def stage_machine(
    artifact: Artifact,
    kernels: Kernels,
    parameters: Parameters,
    stage: GreedyStage,
    own: Mapping[str, Array],
    colours: Mapping[str, Array] | None = None,
) -> Machine:
    """The restricted machine of a stage: the model's weights between layers, the rest the stage's own."""
    layers, stack = (*stage.lower, stage.upper), stacked(artifact)
    every = {n: x for n, x in {**parameters, **own}.items() if n in stack.parameters}
    return Machine(stack, kernels, every, layers, stage.scale, colours=colours)


def own_parameters(
    artifact: Artifact, parameters: Parameters, stage: GreedyStage, own: StageOwn, lengths: Mapping[str, float]
) -> Parameters:
    """Copies of what belongs to one of a stage's layers alone: biases, units' own parameters, lateral weights.

    They start as the last earlier stage that has them left them, else as they are in the model; `lengths` are the mean
    lengths of documents by count layer.
    """
    layers = {*stage.lower, stage.upper}
    latest = dict(parameters)
    for upper, earlier in own.items():
        latest |= {n: value * _share_of_length(artifact, n, upper, lengths) for n, value in earlier.items()}
    return {
        name: latest[name] / _share_of_length(artifact, name, stage.upper, lengths)
        for name, p in stacked(artifact).parameters.items()
        if (p.kind != "weight" or p.symmetric) and set(p.layers) & layers
    }


def trained_in_stage(artifact: Artifact, stage: GreedyStage, trained: frozenset[str]) -> frozenset[str]:
    """Which of the trained parameters a stage trains.

    The states of its hidden lower layers are drawn by earlier stages in units of their sigma, and hold nothing from
    which it could be learned again.
    """
    layers = artifact.layers
    return trained - {layers[n].sigma or "" for n in stage.lower if layers[n].role == "hidden"}


def passes_below(
    artifact: Artifact, kernels: Kernels, parameters: Parameters, stage: GreedyStage, own: StageOwn
) -> list[tuple[Machine, str]]:
    """The upward passes through earlier stages by which a stage's hidden lower layers get their data."""
    needed, passes = {n for n in stage.lower if artifact.layers[n].role == "hidden"}, []
    for other in reversed(artifact.greedy[: artifact.greedy.index(stage)]):
        if other.upper in needed:
            machine = stage_machine(artifact, kernels, parameters, other, own.get(other.upper, {}))
            passes.append((machine, other.upper))
            needed |= {n for n in other.lower if artifact.layers[n].role == "hidden"}
    return passes[::-1]


def start_stage(machine: Machine, feed: Feed, trained: frozenset[str]) -> None:
    """Set the stage's biases so that its layers have the means of its data, in centred coordinates."""
    means = feed.means()
    everything = mean_statistics(machine, {}) | {n: m.astype(np.float64) for n, m in means.items()}
    biases = {machine.artifact.layers[n].bias for n in machine.layers}
    set_centred_biases(machine, everything, {b for b in biases if b is not None and b in trained})


def compose(artifact: Artifact, parameters: Parameters, own: StageOwn, lengths: Mapping[str, float]) -> None:
    """Put what the stages have for themselves into the whole model, averaged where several have it.

    Of a layer with directed edges to those below, what its stage from below has is for its recognition.
    """
    stages = {stage.upper: stage for stage in artifact.greedy if stage.upper in own}
    for name, parameter in artifact.parameters.items():
        having = [upper for upper, mine in own.items() if name in mine]
        generating = [u for u in having if any(_generates(artifact, stages[u], n) for n in parameter.layers)]
        copies = [own[u][name] * _share_of_length(artifact, name, u, lengths) for u in generating or having]
        if copies:
            parameters[name][...] = np.mean(copies, axis=0)
    for edge in artifact.recognition:
        _start_recognition(artifact, parameters, own, edge)


def _generates(artifact: Artifact, stage: GreedyStage, layer: str) -> bool:
    """Whether a stage has an edge by which the layer is drawn in the whole model."""
    layers = {*stage.lower, stage.upper}
    return any(layer in e.layers and layers.issuperset(e.layers) for e in artifact.edges) or any(
        e.head == layer and e.tail in layers for e in artifact.directed
    )


def _start_recognition(artifact: Artifact, parameters: Parameters, own: StageOwn, edge: ArtifactEdge) -> None:
    """A recognition edge starts as what its stage has learned: the weight of the directed edge back, and the bias."""
    target = artifact.layers[edge.head]
    if edge.head not in own or target.recognition is None:
        return
    if target.bias is not None:
        parameters[target.recognition][...] = own[edge.head][target.bias]
    weight = np.zeros([artifact.layers[n].size for n in edge.layers], artifact.dtype)
    for back in artifact.directed:
        if (back.head, back.tail) == (edge.tail, edge.head):
            found = parameters[back.weight].reshape([artifact.layers[n].size for n in back.layers])
            weight += found if back.layers == edge.layers else found.T
    parameters[edge.weight][...] = weight.reshape(parameters[edge.weight].shape)


def transpose_below(artifact: Artifact, parameters: Parameters, stage: GreedyStage, own: StageOwn) -> None:
    """Start a stage as the one below it turned over: its weight transposed, its upper bias that of what is below.

    A belief net of the two is then the machine below with a layer more (Hinton, Osindero and Teh 2006, section 3).

    Raises:
        Error: the stage, or the one below, has no single weight between two layers, or the sizes do not match.
    """
    earlier = {s.upper: s for s in artifact.greedy}
    hidden = [n for n in stage.lower if n in earlier]
    if not hidden:
        return
    if len(stage.lower) != 1 or len(earlier[hidden[0]].lower) != 1:
        raise Error(
            f"greedy {stage.upper}: start = transpose needs one layer below {stage.upper} and one below that; write "
            "start = random"
        )
    middle, bottom = hidden[0], earlier[hidden[0]].lower[0]
    above, below = (_weight_between(artifact, *pair) for pair in ((middle, stage.upper), (bottom, middle)))
    layers = artifact.layers
    if layers[bottom].size != layers[stage.upper].size or layers[bottom].unit != layers[stage.upper].unit:
        raise Error(
            f"greedy {stage.upper}: start = transpose needs {stage.upper} to be like {bottom}, {layers[bottom].unit} "
            f"of {layers[bottom].size} units, and it is {layers[stage.upper].unit} of {layers[stage.upper].size}; "
            "write start = random"
        )
    found = parameters[below.weight].reshape([layers[n].size for n in below.layers])
    turned = found if (below.layers[0] == middle) == (above.layers[0] == middle) else found.T
    parameters[above.weight][...] = turned.reshape(parameters[above.weight].shape)
    upper, lower = layers[stage.upper].bias, layers[bottom].bias
    if upper is not None and lower is not None:
        own[stage.upper][upper][...] = own[middle][lower].reshape(own[stage.upper][upper].shape)


def _weight_between(artifact: Artifact, first: str, second: str) -> ArtifactEdge:
    return next(e for e in stacked(artifact).edges if set(e.layers) == {first, second})


def _share_of_length(artifact: Artifact, parameter: str, upper: str, lengths: Mapping[str, float]) -> np.floating[Any]:
    """What a bias is multiplied by on average in a stage, 1 without documents, over what it is in the whole model."""
    stage = next(s for s in artifact.greedy if s.upper == upper)
    every = stacked(artifact).layers
    layers = [every[n] for n in (*stage.lower, stage.upper) if every[n].bias == parameter]
    counted = layers[0].counted if layers else ()
    here = [n for n in counted if n in (*stage.lower, stage.upper)]
    share = sum(lengths[n] for n in here) if here else 1.0
    return np.dtype(artifact.dtype).type(share / sum(lengths[n] for n in counted) if counted else 1.0)
