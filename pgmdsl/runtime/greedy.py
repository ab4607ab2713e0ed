"""Greedy pretraining: restricted machines, one for each hidden layer bottom up, then composed into the whole.

Within its stage a layer's input is doubled where the whole model will send it input from the other side as well. The
stages have biases of their own; on composing, weights are taken as they are and the biases of a layer that belongs to
two stages are averaged, so that the layer hears half of what each stage told it.

Source: Salakhutdinov and Hinton (2009), section 3.1; the averaging is ours (the source does not mention biases).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Artifact, GreedyStage
from pgmdsl.runtime.feed import Feed
from pgmdsl.runtime.kernels import Kernels
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.parameters import mean_statistics, set_centred_biases

Array = NDArray[Any]
Parameters = dict[str, Array]
StageBiases = dict[str, Parameters]  # by upper layer, that stage's own biases by name


def stages_of(artifact: Artifact, target: str | None) -> tuple[GreedyStage, ...]:
    """The stages that a greedy phase trains."""
    return tuple(s for s in artifact.greedy if target is None or s.upper == target)


def stage_machine(
    artifact: Artifact, kernels: Kernels, parameters: Parameters, stage: GreedyStage, biases: Mapping[str, Array]
) -> Machine:
    """The restricted machine of a stage: the model's weights, the stage's biases."""
    return Machine(artifact, kernels, {**parameters, **biases}, (*stage.lower, stage.upper), stage.scale)


def own_biases(artifact: Artifact, parameters: Parameters, stage: GreedyStage) -> Parameters:
    """Copies of the biases of a stage's layers."""
    names = {artifact.layers[n].bias for n in (*stage.lower, stage.upper)}
    return {n: parameters[n].copy() for n in artifact.parameters if n in names}


def passes_below(
    artifact: Artifact, kernels: Kernels, parameters: Parameters, stage: GreedyStage, biases: StageBiases
) -> list[tuple[Machine, str]]:
    """The upward passes through earlier stages by which a stage's hidden lower layers get their data."""
    needed, passes = {n for n in stage.lower if artifact.layers[n].role == "hidden"}, []
    for other in reversed(artifact.greedy[: artifact.greedy.index(stage)]):
        if other.upper in needed:
            machine = stage_machine(artifact, kernels, parameters, other, biases.get(other.upper, {}))
            passes.append((machine, other.upper))
            needed |= {n for n in other.lower if artifact.layers[n].role == "hidden"}
    return passes[::-1]


def start_stage(machine: Machine, feed: Feed, trained: frozenset[str]) -> None:
    """Set the stage's biases so that its layers have the means of its data, in centred coordinates."""
    means = feed.means()
    everything = mean_statistics(machine, {}) | {n: m.astype(np.float64) for n, m in means.items()}
    biases = {machine.artifact.layers[n].bias for n in machine.layers}
    set_centred_biases(machine, everything, {b for b in biases if b is not None and b in trained})


def compose(artifact: Artifact, parameters: Parameters, biases: StageBiases) -> None:
    """Put the stages' biases into the whole model, averaged where a bias has been trained in several."""
    for name in artifact.parameters:
        copies = [stage[name] for stage in biases.values() if name in stage]
        if copies:
            parameters[name][...] = np.mean(copies, axis=0)
