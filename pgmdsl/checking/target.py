"""A model at small sizes: its generated files, each with the comparisons of all it computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from pgmdsl.checking.comparison import Answer, Comparison, exact
from pgmdsl.checking.draws import bit_draws, layer_draws, sweep_draws
from pgmdsl.checking.fields import weight_comparison
from pgmdsl.checking.layers import layer_comparisons
from pgmdsl.checking.setting import Setting, random_parameters, settings
from pgmdsl.checking.shrink import shrunk
from pgmdsl.checking.steps import bits_comparison, step_comparisons
from pgmdsl.checking.whole import machine_comparisons, mean_field_comparison
from pgmdsl.compiler.artifact import Artifact
from pgmdsl.compiler.driver import compile_model
from pgmdsl.compiler.graph import gibbs_blocks
from pgmdsl.compiler.model import Edge, Layer, Model
from pgmdsl.compiler.parts import is_document, stack_of, upward_of
from pgmdsl.runtime.kernels import Kernels


@dataclass(frozen=True)
class Target:
    """A generated file: `label` tells it from others of the model, `artifact` has its text and loads it."""

    label: str
    artifact: Artifact
    comparisons: tuple[Comparison, ...]


def targets(
    model: Model, draws: int, seed: int = 0, *, frozen: bool = False, tables: bool = True
) -> tuple[Model, list[Target]]:
    """The model at small sizes, and its generated files: one, or stack and upward of one with directed edges.

    Args:
        model: a checked model; sizes need no values.
        draws: from each sampler.
        seed: of parameters and states.
        frozen: whether writing to what the kernels are given is an error.
        tables: whether the files have products by tables.
    """
    small = shrunk(model)
    artifact = compile_model(small, "float64", tables=tables).artifact
    sizes = artifact.sizes
    parameters = random_parameters(small, sizes, artifact.nonpositive, seed)
    if artifact.parts is None:
        every = settings(small.layers, small.edges, parameters, sizes, frozen)
        return small, [_target("", artifact, small, every, draws, machine_comparisons(every, artifact))]
    parts, apart = artifact.parts, "_upward" in artifact.kernel_files
    down, up = list[Comparison](), list[Comparison]()
    if parts.core.edges:
        core = {n: small.layers[n] for n in parts.core.layers}
        down += machine_comparisons(settings(core, small.edges, parameters, sizes, frozen), parts.core, " of the core")
    for child, part in parts.children.items():
        edges = [e for e in small.directed if e.head == child]
        layers = _given_others(small, child, edges, small.layers[child].bias, recognised=False)
        said = f" of p({child} | {', '.join(n for n in layers if n != child)})"
        down += machine_comparisons(settings(layers, edges, parameters, sizes, frozen), part, said)
    for target, part in parts.recognition.items():
        edges = [e for e in small.recognition if e.head == target]
        edges = edges or [e for e in small.directed if e.tail == target]
        bias = small.layers[target].recognition if small.recognition else small.layers[target].bias
        layers = _given_others(small, target, edges, bias, recognised=True)
        said = f" of q({target} | {', '.join(n for n in layers if n != target)})"
        up += machine_comparisons(settings(layers, edges, parameters, sizes, frozen), part, said)
    stack = stack_of(small)
    every = settings(stack.layers, stack.edges, parameters, sizes, frozen)
    out = [_target("stack", parts.stack, stack, every, draws, down if apart else down + up)]
    if apart:
        upward = upward_of(small)
        every = settings(upward.layers, upward.edges, parameters, sizes, frozen)
        out.append(_target("upward", next(iter(parts.recognition.values())), upward, every, draws, up))
    return small, out


def _target(
    label: str, artifact: Artifact, model: Model, every: list[Setting], draws: int, whole: list[Comparison]
) -> Target:
    """`model` is what the file's functions are of."""
    free = [name for name, layer in model.layers.items() if layer.role != "given"]
    weights = dict.fromkeys(edge.weight for edge in model.edges)
    blocks = gibbs_blocks(model)
    comparisons = [bits_comparison(), _blocks(every[0])]
    for name in model.layers:
        comparisons += layer_comparisons(every, name)
    comparisons += [weight_comparison(every, weight) for weight in weights]
    comparisons += whole
    comparisons.append(mean_field_comparison(every, blocks))
    comparisons += [layer_draws(every, name, draws) for name in free]
    comparisons += [sweep_draws(every, blocks, draws), bit_draws(draws), *step_comparisons()]
    return Target(label, artifact, tuple(comparisons))


def _given_others(
    model: Model, target: str, edges: Sequence[Edge], bias: str | None, *, recognised: bool
) -> dict[str, Layer]:
    """A layer with this bias and those that its edges join it to, which are given.

    In q(target | sources) the lengths of documents among the sources multiply the bias, in p(child | parents) none do.
    """
    joined = {name for edge in edges for name in edge.layers}
    layers = {n: replace(x, role="given") for n, x in model.layers.items() if n in joined | {target}}
    documents = tuple(n for n, layer in layers.items() if recognised and n != target and is_document(layer))
    layers[target] = replace(model.layers[target], bias=bias, counted=documents)
    return layers


def _blocks(t: Setting) -> Comparison:
    """The blocks of a sweep hold every layer that is not given once, and no two that share an edge together."""
    free = sorted(n for n, layer in t.declared.layers.items() if not layer.given)

    def call(k: Kernels) -> Answer:
        listed = [n for block in k.blocks for n in block]
        apart = all(b not in t.declared.neighbours(a) for block in k.blocks for a, b in combinations(block, 2))
        return [np.array([sorted(listed) == free, apart], float)]

    return exact(
        ("BLOCKS",), "the declared edges: every layer once, no two of a block joined", call, lambda: [np.ones(2)]
    )
