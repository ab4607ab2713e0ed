"""A checked model: names resolved, shapes known symbolically, nothing derived yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol

from pgmdsl.compiler.units import Unit
from pgmdsl.grammar.source import Source, Span
from pgmdsl.grammar.syntax import CheckDeclaration, Expression, File

Powers = tuple[tuple[str, int], ...]  # ((size name, power), ...), names in order, powers positive


@dataclass(frozen=True, slots=True)
class Size:
    """A whole number that may depend on the model's sizes: a polynomial `sum coefficient * product name^power`.

    Canonical (terms sorted, no zero coefficient), so that two sizes are equal exactly when they are equal for
    every value of the model's sizes. Shapes are compared so, never by value.
    """

    terms: tuple[tuple[Powers, Fraction], ...]

    @classmethod
    def of(cls, terms: Mapping[Powers, Fraction]) -> Size:
        """The canonical size with these terms."""
        return cls(tuple(sorted((p, c) for p, c in terms.items() if c)))

    @classmethod
    def number(cls, value: int | Fraction) -> Size:
        """A constant."""
        return cls.of({(): Fraction(value)})

    @classmethod
    def name(cls, name: str) -> Size:
        """A size of the model line."""
        return cls.of({((name, 1),): Fraction(1)})

    def __add__(self, other: Size) -> Size:
        """The sum."""
        out = dict(self.terms)
        for powers, coefficient in other.terms:
            out[powers] = out.get(powers, Fraction(0)) + coefficient
        return Size.of(out)

    def __mul__(self, other: Size) -> Size:
        """The product."""
        out: dict[Powers, Fraction] = {}
        for left, a in self.terms:
            for right, b in other.terms:
                powers = dict(left)
                for name, power in right:
                    powers[name] = powers.get(name, 0) + power
                key = tuple(sorted(powers.items()))
                out[key] = out.get(key, Fraction(0)) + a * b
        return Size.of(out)

    def evaluate(self, values: Mapping[str, int]) -> Fraction:
        """The value where the model's sizes have these values. Raises KeyError for a size without one."""
        total = Fraction(0)
        for powers, coefficient in self.terms:
            product = coefficient
            for name, power in powers:
                product *= values[name] ** power
            total += product
        return total

    def names(self) -> set[str]:
        """The size names it depends on."""
        return {name for powers, _ in self.terms for name, _ in powers}

    def __str__(self) -> str:
        """As a model file would write it: `2*F + 1`."""
        parts = []
        for powers, coefficient in sorted(self.terms, key=lambda t: (not t[0], t[0])):
            factors = [n if p == 1 else f"{n}^{p}" for n, p in powers]
            if coefficient.numerator != 1 or not factors:
                factors.insert(0, str(coefficient.numerator))
            divisor = f"/{coefficient.denominator}" if coefficient.denominator != 1 else ""
            parts.append("*".join(factors) + divisor)
        return " + ".join(parts).replace("+ -", "- ") or "0"


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of units of one type.

    `dims` are the axes of its state and of its bias (a softmax layer's last axis counts states). `bias` is the name
    of a parameter, or None; `parameters` gives the model's name for each of the unit type's own (sigma: sigma_v).
    `trials` is that of a binomial layer. `counted` are the count layers the sum of whose lengths multiplies the bias.
    A given layer is always clamped, and has neither bias nor parameters nor energy. `recognition` names the bias of
    q(layer | below), where recognition edges go into the layer.
    """

    name: str
    role: Literal["visible", "hidden", "given"]
    unit: Unit
    dims: tuple[Size, ...]
    bias: str | None
    parameters: Mapping[str, str]
    span: Span
    trials: Size | None = None
    counted: tuple[str, ...] = ()
    recognition: str | None = None

    @property
    def sigma(self) -> str | None:
        """The parameter that is the state's standard deviation, where the unit type has one."""
        named = (self.parameters.get(own.name) for own in self.unit.parameters if own.deviation)
        return next(named, None)


EdgeKind = Literal["undirected", "directed", "recognition"]


def joined(edge: Joining, signs: tuple[str, str, str, str] = ("--", "*", "->", "~>")) -> str:
    """An edge's layers as a file joins them; `signs` to write it in another way."""
    pair, many, directed, recognition = signs
    if edge.head:
        return f"{edge.tail} {directed if edge.kind == 'directed' else recognition} {edge.head}"
    return f" {pair if len(edge.layers) == 2 else many} ".join(edge.layers)


class Joining(Protocol):
    """What can be said of an edge."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Its layers, in the order of its weight's axes."""

    @property
    def kind(self) -> EdgeKind:
        """Its kind."""

    @property
    def head(self) -> str:
        """Where it goes, if it has a direction."""

    @property
    def tail(self) -> str:
        """Where it comes from then."""


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge; `layers` are in the order of the weight's axes (already reversed where the file says `W'`).

    `undirected`: energy `-sum W[i, j, ...] s(first)[i] s(second)[j] ...` over its layers: two different ones, three or
    more different ones (multiplicative), or one twice (lateral: the weight is then symmetric with zero diagonal, zero
    site blocks where units are one-hot, and the energy is half that sum).
    `directed`: from the `tail`, a parent, to the `head`, its child; `sum W[i, j] s(parent)[j]` is its share of the
    child's field in p(child | parents). `recognition`: likewise in q(head | below), the tail being below.
    """

    layers: tuple[str, ...]
    weight: str
    span: Span
    kind: EdgeKind = "undirected"
    head: str = ""

    @property
    def tail(self) -> str:
        """Where an edge with a direction comes from."""
        return self.layers[0] if self.layers[1] == self.head else self.layers[1]

    @property
    def lateral(self) -> bool:
        """Whether it joins a layer to itself."""
        return len(set(self.layers)) < len(self.layers)


@dataclass(frozen=True, slots=True)
class Initial:
    """How a parameter starts: `normal` (sd `value`), `constant`, `file` (path `text`) or `data` (from the data)."""

    kind: Literal["normal", "constant", "file", "data"]
    value: float = 0.0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Mask:
    """Which entries of a weight there are; the others are 0 throughout.

    `file`: an array of the weight's shape, 0 where there is none. `local`: entries of units within `radius` of each
    other on the grids of the two layers' axes, in every axis, after stretching the smaller grid to the larger.
    """

    kind: Literal["file", "local"]
    file: str = ""
    radius: float = 0.0


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the model. `shape` is that of its array; `layers` whose axes these are, in order.

    `kind` is `unit` for a unit type's own parameters. `positive` ones are trained by their logarithm. A `symmetric`
    weight is that of a lateral edge. `decay`, `l1` and `max_norm` hold in place of a phase's, where they are stated.
    """

    name: str
    kind: Literal["weight", "bias", "unit"]
    layers: tuple[str, ...]
    shape: tuple[Size, ...]
    initial: Initial
    fixed: bool
    span: Span
    positive: bool = False
    symmetric: bool = False
    mask: Mask | None = None
    decay: float | None = None
    l1: float | None = None
    max_norm: float | None = None


@dataclass(frozen=True, slots=True)
class DataSpec:
    """Where one layer's values come from (`layer` is `weights` for case weights).

    `file` a path relative to the model file, with `:key` for npz; None where the command line must give it.
    `bits`: how values in [0, 1] become states. `valid`, `test`: a fraction of the rows, or a file, or None.
    """

    layer: str
    file: str | None
    scale: float = 1.0
    bits: Literal["resample", "sample", "threshold", "mean"] | None = None
    threshold: float = 0.5
    mask: str | None = None  # a file, 0 where a value is missing; NaN is missing too
    length: str | float | None = None  # of documents whose counts are missing: a number, or a file with one a case
    valid: float | str | None = None
    test: float | str | None = None


PhaseKind = Literal["greedy", "fit", "wake_sleep", "classify", "autoencode"]


@dataclass(frozen=True, slots=True)
class PhaseSpec:
    """A training phase: `settings` are checked value expressions, defaults of the block merged in.

    `classify` and `autoencode` are the two kinds of `finetune`; `target` is the layer that the file names.
    """

    kind: PhaseKind
    target: str | None
    settings: Mapping[str, Expression]


@dataclass(frozen=True)
class Model:
    """A checked model file. `sizes` maps every size to its value, or to None while it is to come from data.

    The joint distribution is p(layers without parents) * product over `directed` children of p(child | parents);
    `edges` join the former. `recognition` edges make the distribution q of hidden layers given data.
    """

    name: str
    source: Source
    file: File
    sizes: Mapping[str, int | None]
    layers: Mapping[str, Layer]  # in file order: the earlier is the lower
    edges: tuple[Edge, ...]
    parameters: Mapping[str, Parameter]
    checks: tuple[CheckDeclaration, ...]
    data: tuple[DataSpec, ...]
    phases: tuple[PhaseSpec, ...]
    directed: tuple[Edge, ...] = ()
    recognition: tuple[Edge, ...] = ()

    @property
    def all_edges(self) -> tuple[Edge, ...]:
        """The edges of every kind, each kind in file order."""
        return (*self.edges, *self.directed, *self.recognition)

    def parents(self, layer: str) -> tuple[str, ...]:
        """The layers with a directed edge into this one, in file order, each once."""
        above = {edge.tail for edge in self.directed if edge.head == layer}
        return tuple(name for name in self.layers if name in above)

    @property
    def children(self) -> tuple[str, ...]:
        """The layers that have parents, each after those of its parents that have some: in the order of sampling."""
        left = {name: set(above) for name in self.layers if (above := self.parents(name))}
        order: list[str] = []
        while left:
            ready = [name for name, above in left.items() if not above & left.keys()]
            order += ready
            left = {name: above for name, above in left.items() if name not in ready}
        return tuple(order)

    @property
    def core(self) -> tuple[str, ...]:
        """The layers without parents: those of the undirected part. Given ones that only are parents are not in it."""
        children = {edge.head for edge in self.directed}
        joined = {name for edge in self.edges for name in edge.layers}
        return tuple(
            name
            for name, layer in self.layers.items()
            if name not in children and (layer.role != "given" or name in joined or not children)
        )

    @property
    def recognises(self) -> bool:
        """Whether recognition edges say what q is (also where a check assumes that their weights are 0)."""
        return any(layer.recognition is not None for layer in self.layers.values())

    @property
    def recognition_parameters(self) -> frozenset[str]:
        """The weights and biases of q, which are none of the joint distribution's."""
        biases = {layer.recognition for layer in self.layers.values() if layer.recognition is not None}
        return frozenset({edge.weight for edge in self.recognition} | biases)

    def neighbours(self, layer: str) -> tuple[str, ...]:
        """The other layers that share an undirected edge with this one, in file order, each once."""
        near = {o for e in self.edges if layer in e.layers for o in e.layers if o != layer}
        return tuple(name for name in self.layers if name in near)
