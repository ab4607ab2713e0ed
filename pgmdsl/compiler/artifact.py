"""What the compiler hands to the runtime: plain data and the text of the kernels; nothing else crosses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pgmdsl.compiler.model import DataSpec, Initial, PhaseSpec


@dataclass(frozen=True, slots=True)
class ArtifactLayer:
    """A layer with its numbers.

    `dims` is the shape of one case's state, `size` their product; `states` is K for softmax[..., K], else 1.
    `support` is `finite` (the unit takes `values`), `one_hot` or `real`. `bias`, `sigma`: parameter names or None.
    """

    name: str
    role: Literal["visible", "hidden", "given"]
    unit: str
    support: Literal["finite", "one_hot", "real"]
    values: tuple[float, ...]
    dims: tuple[int, ...]
    size: int
    states: int
    bias: str | None
    sigma: str | None


@dataclass(frozen=True, slots=True)
class ArtifactEdge:
    """A pairwise edge: weight of shape (size of layers[0], size of layers[1]) once its axes are flattened."""

    layers: tuple[str, str]
    weight: str


@dataclass(frozen=True, slots=True)
class ArtifactParameter:
    """A parameter with its array's shape, whose axes these are, and how it starts."""

    name: str
    kind: Literal["weight", "bias", "sigma"]
    layers: tuple[str, ...]
    shape: tuple[int, ...]
    initial: Initial
    fixed: bool


@dataclass(frozen=True, slots=True)
class GreedyStage:
    """One restricted machine of greedy pretraining: `upper` with its lower neighbours.

    `scale` multiplies the whole input of a layer within the stage: 2 where the layer will also have input from its
    other side once composed (Salakhutdinov and Hinton 2009, eqs. 15-16), else 1.
    """

    upper: str
    lower: tuple[str, ...]
    scale: Mapping[str, float]


@dataclass(frozen=True)
class Artifact:
    """A compiled model. `kernels` is the text of the generated Python file; `hash` identifies source and options.

    `blocks` are the Gibbs blocks, in order: the layers of one block share no edge. `closed` are the visible layers
    whose free energy closes (no two hidden layers share an edge), or empty.
    """

    name: str
    source_name: str
    source: str
    hash: str
    version: str
    dtype: Literal["float32", "float64"]
    sizes: Mapping[str, int]
    layers: Mapping[str, ArtifactLayer]
    edges: tuple[ArtifactEdge, ...]
    parameters: Mapping[str, ArtifactParameter]
    blocks: tuple[tuple[str, ...], ...]
    closed: tuple[str, ...]
    greedy: tuple[GreedyStage, ...]
    data: tuple[DataSpec, ...]
    phases: tuple[PhaseSpec, ...]
    kernels: str
