"""Random parameters and states of a small model, at which its kernels are compared with its declared energy."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from pgmdsl.checking.declared import Array, Declared, DeclaredLayer, declared
from pgmdsl.checking.sites import Site, site, sites
from pgmdsl.compiler.model import Edge, Layer, Model, Parameter
from pgmdsl.compiler.units import Counts, Finite, Naturals, OneHot, Real, Whole

CASES = 6
SCALES = (1.0, 0.7)  # of fields
FILLED = 7.0  # what arrays hold that a function is to overwrite
ADDED = 2.0  # what arrays hold that a function is to add to
LENGTH = 3  # of the longest document
STRENGTHS = (1.0, 4.0)  # of weights and biases: fields up to about 3, and up to about 15
MILD = (0.4, 0.8)  # where a layer of natural numbers, whose means are exponentials of fields, takes part


@dataclass(frozen=True)
class Setting:
    """A declared model with parameters and complete random states `x`, by layer (cases, size).

    In a `frozen` one no array can be written to: a broken kernel cannot spoil what the next is given.
    """

    declared: Declared
    x: Mapping[str, Array]
    frozen: bool = False

    def __post_init__(self) -> None:
        """Freeze the arrays, if they are to be."""
        if self.frozen:
            for array in (*self.declared.parameters.values(), *self.x.values()):
                array.setflags(write=False)

    @property
    def p(self) -> dict[str, Array]:
        """The parameters as kernels take them."""
        return dict(self.declared.parameters)

    @cached_property
    def s(self) -> dict[str, Array]:
        """The statistics of the states."""
        out = self.declared.statistics(self.x)
        for array in out.values():
            array.setflags(write=not self.frozen)
        return out

    def layer(self, name: str) -> DeclaredLayer:
        """A declared layer."""
        return self.declared.layers[name]

    def own(self, name: str) -> Array:
        """The layer's own field at these states, (cases or 1, size): its bias's share of the field."""
        return self.declared.bias(name, self.x) * own_factor(self.layer(name))

    def lengths(self, name: str) -> Array | None:
        """The lengths of a count layer's documents, (cases,); None for other layers."""
        return self.x[name].sum(1) if isinstance(self.layer(name).unit.support, Counts) else None

    def sites(
        self, name: str, field: Array, bias: Array, held: NDArray[np.bool_] | None = None, panels: int = 600
    ) -> list[tuple[NDArray[np.intp], list[Site]]]:
        """The entries of each site of a layer, and its states at this field (cases, size).

        There is one `Site` of all cases, or one a case for documents, whose lengths differ. `held` counts of these are
        as in `x`.
        """
        layer, lengths, out = self.layer(name), self.lengths(name), []
        bias = np.broadcast_to(bias, (len(bias), layer.size))
        for entries in sites(layer):
            if lengths is None:
                out.append((entries, [site(layer, entries, field[:, entries], bias[:, entries], panels=panels)]))
                continue
            rows = []
            for i, length in enumerate(lengths):
                known = {k: self.x[name][i, e] for k, e in enumerate(entries) if held is not None and held[i, e]}
                one = slice(min(i, len(bias) - 1), min(i, len(bias) - 1) + 1)
                rows.append(site(layer, entries, field[i : i + 1, entries], bias[one, entries], int(length), known))
            out.append((entries, rows))
        return out

    def means(self, name: str, field: Array, bias: Array, held: NDArray[np.bool_] | None = None) -> Array:
        """The mean statistics of a layer given its coupling field, (cases, size), each unit given all others."""
        out = np.zeros(field.shape)
        for entries, rows in self.sites(name, field, bias, held):
            out[:, entries] = np.concatenate([row.mean for row in rows])
        return out

    def log_sums(self, name: str, field: Array, bias: Array) -> Array:
        """The log of the sum over a layer's states of exp(-energy + field s), (cases,)."""
        found = [np.concatenate([row.log_sum for row in rows]) for _, rows in self.sites(name, field, bias)]
        return np.asarray(np.sum(found, axis=0))

    def held(self, name: str) -> NDArray[np.bool_]:
        """Entries of a layer that are held, (cases, size): one site in two, or one word in three."""
        layer = self.layer(name)
        if isinstance(layer.unit.support, Counts):
            return np.broadcast_to(np.arange(layer.size) % 3 == 1, self.x[name].shape).copy()
        chosen = (np.arange(len(self.x[name]))[:, None] + np.arange(layer.size // layer.states)) % 2 == 0
        return np.repeat(chosen, layer.states, 1)

    def tiled(self, count: int) -> Setting:
        """The same with its cases repeated, so that there are `count` of them."""
        index = np.arange(count) % CASES
        return Setting(self.declared, {name: x[index] for name, x in self.x.items()}, self.frozen)


def own_factor(layer: DeclaredLayer) -> Array:
    """What the bias is multiplied by in the field, (size,): how the units' energies fall with bias and statistic."""
    low, high = (np.full((1, layer.size), value) for value in _two_states(layer))
    one, none = np.ones((1, layer.size)), np.zeros((1, layer.size))
    fall = [layer.energy(x, none) - layer.energy(x, one) for x in (low, high)]
    return np.asarray(((fall[1] - fall[0]) / (layer.statistic(high) - layer.statistic(low)))[0])


def _two_states(layer: DeclaredLayer) -> tuple[float, float]:
    """Two states of a unit with different statistics."""
    match layer.unit.support:
        case Finite(values):
            s = layer.statistic(np.repeat(np.array([[float(v)] for v in values]), layer.size, 1))[:, 0]
            return float(values[int(s.argmin())]), float(values[int(s.argmax())])
        case Real(lower):
            start = 0.0 if lower is None else float(lower)
            return start + 0.5, start + 1.5
        case _:
            return 0.0, 1.0


def random_parameters(
    model: Model, sizes: Mapping[str, int], nonpositive: Collection[str], seed: int
) -> list[dict[str, Array]]:
    """Parameters of a model as kernels take them, at each strength; some weights may not be above 0."""
    natural = any(isinstance(layer.unit.support, Naturals) for layer in model.layers.values())
    out = []
    for number, strength in enumerate(MILD if natural else STRENGTHS):
        rng = np.random.default_rng([seed, number])
        drawn = {p.name: _drawn(p, model, sizes, strength, rng) for p in model.parameters.values()}
        out.append({name: -np.abs(value) if name in nonpositive else value for name, value in drawn.items()})
    return out


def settings(
    layers: Mapping[str, Layer],
    edges: Sequence[Edge],
    parameters: Sequence[Mapping[str, Array]],
    sizes: Mapping[str, int],
    frozen: bool = False,
) -> list[Setting]:
    """Layers and edges at each of these parameters, with random states."""
    out = []
    for number, values in enumerate(parameters):
        rng = np.random.default_rng(number)
        found = declared(layers, edges, values, sizes)
        out.append(Setting(found, {name: _state(layer, rng) for name, layer in found.layers.items()}, frozen))
    return out


def _drawn(
    parameter: Parameter, model: Model, sizes: Mapping[str, int], strength: float, rng: np.random.Generator
) -> Array:
    """Random values as kernels take them; those of lateral weights symmetric, 0 within sites."""
    shape = [int(n.evaluate(sizes)) for n in parameter.shape]
    if parameter.kind == "unit":
        drawn = rng.uniform(0.6, 1.7, shape) if parameter.positive else rng.normal(0, 0.6, shape)
        return np.asarray(drawn.reshape(-1))
    drawn = strength * rng.uniform(0.3, 1.0, shape) * rng.choice([-1.0, 1.0], shape)
    if parameter.kind == "bias":
        return np.asarray(drawn.reshape(-1))
    layers = [model.layers[name] for name in parameter.layers]
    flat = drawn.reshape([prod(int(n.evaluate(sizes)) for n in layer.dims) for layer in layers])
    if parameter.symmetric:
        states = int(layers[0].dims[-1].evaluate(sizes)) if layers[0].unit.states_axis else 1
        of = np.arange(len(flat)) // states
        flat = (flat + flat.T) / 2 * (of[:, None] != of)
    return np.asarray(flat)


def _state(layer: DeclaredLayer, rng: np.random.Generator) -> Array:
    """Random states (CASES, size)."""
    shape = (CASES, layer.size)
    match layer.unit.support:
        case Finite(values):
            return np.asarray(rng.choice([float(v) for v in values], shape))
        case Whole():
            return rng.integers(0, layer.trials + 1, shape).astype(np.float64)
        case OneHot():
            return np.eye(layer.states)[rng.integers(0, layer.states, (CASES, layer.size // layer.states))].reshape(
                shape
            )
        case Counts():
            chance = np.full(layer.states, 1 / layer.states)
            documents = [rng.multinomial(1 + i % LENGTH, chance, layer.size // layer.states) for i in range(CASES)]
            return np.array(documents, np.float64).reshape(shape)
        case Naturals():
            return rng.poisson(1.0, shape).astype(np.float64)
        case Real(lower):
            drawn = rng.normal(0.2, 1.0, shape)
            return drawn if lower is None else float(lower) + np.abs(drawn)
