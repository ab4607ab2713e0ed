"""What the compiler hands to the runtime: plain data and the text of the kernels; nothing else crosses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pgmdsl.compiler.model import DataSpec, EdgeKind, Initial, Mask, PhaseSpec


@dataclass(frozen=True, slots=True)
class ArtifactLayer:
    """A layer with its numbers.

    `dims` is the shape of one case's state, `size` their product; `states` is K for softmax[..., K] and
    replicated_softmax[K], else 1. `support` is `finite` (the unit takes `values`, 0 to trials for binomial units),
    `one_hot`, `counts`, `naturals` or `real` (from `lower` on, where that is a number). `bias` names a parameter or is
    None; `parameters` gives the model's name for each of the unit type's own; `counted` are the count layers the sum
    of whose lengths multiplies the bias. `quadratic`: a unit's energy is one quadratic on the whole line. `recognition`
    names the bias of q(layer | below), where recognition edges go into the layer.
    """

    name: str
    role: Literal["visible", "hidden", "given"]
    unit: str
    support: Literal["finite", "one_hot", "counts", "naturals", "real"]
    values: tuple[float, ...]
    dims: tuple[int, ...]
    size: int
    states: int
    bias: str | None
    parameters: Mapping[str, str]
    counted: tuple[str, ...] = ()
    lower: float | None = None
    quadratic: bool = False
    sigma: str | None = None
    recognition: str | None = None


@dataclass(frozen=True, slots=True)
class ArtifactEdge:
    """An edge: weight of shape (size of each of its layers in turn) once their axes are flattened.

    A lateral edge has one layer twice; its energy is half the sum over all pairs. The layers of a directed edge are
    (child, parent), of a recognition edge (source, target), and the other way round where it is `turned`.
    """

    layers: tuple[str, ...]
    weight: str
    kind: EdgeKind = "undirected"
    turned: bool = False

    @property
    def lateral(self) -> bool:
        """Whether it joins a layer to itself."""
        return len(set(self.layers)) < len(self.layers)


@dataclass(frozen=True, slots=True)
class ArtifactParameter:
    """A parameter with its array's shape, whose axes these are, and how it starts; the rest as `model.Parameter`."""

    name: str
    kind: Literal["weight", "bias", "unit"]
    layers: tuple[str, ...]
    shape: tuple[int, ...]
    initial: Initial
    fixed: bool
    positive: bool = False
    symmetric: bool = False
    mask: Mask | None = None
    decay: float | None = None
    l1: float | None = None
    max_norm: float | None = None


@dataclass(frozen=True, slots=True)
class GreedyStage:
    """One restricted machine of greedy pretraining: `upper` with its lower neighbours.

    `scale` multiplies the whole input of a layer within the stage: 2 where the layer will also have input from its
    other side once composed (Salakhutdinov and Hinton 2009, eqs. 15-16), else 1.
    """

    upper: str
    lower: tuple[str, ...]
    scale: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Watched:
    """Layers of unbounded units whose joint distribution normalises only under a condition on their weights.

    `layers` are modelled real or natural layers, in file order, and `edges` all that join them (one layer twice where
    it is lateral; each use of a tied weight is an edge). The conditions, of which any number may hold of one model:

    - `definite`: a connected group of real layers. D - C is positive definite, C the symmetric matrix of all their
      couplings (the sum of W over its uses, W' on the other side, L within a layer) and D the diagonal of
      `curvature_L`. Where all units are on half lines (`lower` is a number), strict copositivity does, for which it is
      enough that D - C is positive definite after the entries of C below 0 between such units are made 0.
    - `nonpositive`: two layers of which one at least is natural, the other natural or real on a half line, or one
      natural layer with lateral edges. The sum of the weights of all `edges` has no entry above 0.
    """

    condition: Literal["definite", "nonpositive"]
    layers: tuple[str, ...]
    edges: tuple[ArtifactEdge, ...]


@dataclass(frozen=True)
class Parts:
    """What a model with directed edges consists of, each an undirected model or a conditional one of its own.

    `core`: the layers without parents. `children`: p(child | parents), the parents given, in the order of sampling.
    `recognition`: q(target | sources), the sources given, in the order of an up-pass. `stack`: the whole with all its
    edges undirected, of which greedy pretraining trains restricted machines.
    """

    core: Artifact
    children: Mapping[str, Artifact]
    recognition: Mapping[str, Artifact]
    stack: Artifact


@dataclass(frozen=True)
class Artifact:
    """A compiled model. `kernels` is the text of the generated Python file; `hash` identifies source and options.

    `blocks` are the Gibbs blocks, in order: the layers of one block share no edge with each other, and given layers are
    in none. `closed` are the visible layers whose free energy closes (no two hidden layers share an edge), or empty.
    `watched` is what must hold of the weights for the model to normalise: nothing, if it always does. `edges` are the
    undirected ones. Where there are `directed` ones, `parts` are the models that the whole consists of, and `kernels`
    are those of the stack.
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
    watched: tuple[Watched, ...] = ()
    directed: tuple[ArtifactEdge, ...] = ()
    recognition: tuple[ArtifactEdge, ...] = ()
    parts: Parts | None = None

    @property
    def nonpositive(self) -> frozenset[str]:
        """The weights that training keeps from going above 0, where the model would not normalise."""
        return frozenset(e.weight for w in self.watched if w.condition == "nonpositive" for e in w.edges)
