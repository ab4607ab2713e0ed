"""An oracle for small models: everything by enumeration of the declared terms, nothing derived.

A model is plain data: layers, edges and parameter arrays with all their axes. Only `energy` knows what the terms
mean; every other function evaluates it. Discrete units are enumerated; a Gaussian unit is integrated by completing
the square, its coefficients read off the energy at three points, or by the trapezoidal rule on a fine grid.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
State = Mapping[str, Array]  # (cases, *dims) for each layer that is given


@dataclass(frozen=True)
class OracleLayer:
    """A layer; `bias` and `sigma` name parameters of shape `dims`, or are None (no bias, not Gaussian)."""

    name: str
    role: str
    unit: str
    dims: tuple[int, ...]
    bias: str | None
    sigma: str | None = None


@dataclass(frozen=True)
class OracleEdge:
    """Energy -sum W[i, j] s(first)[i] s(second)[j]; the weight's axes are those of first, then of second."""

    first: str
    second: str
    weight: str


@dataclass(frozen=True)
class OracleModel:
    layers: Mapping[str, OracleLayer]
    edges: tuple[OracleEdge, ...]
    parameters: Mapping[str, Array]

    def names(self, role: str) -> tuple[str, ...]:
        return tuple(n for n, layer in self.layers.items() if layer.role == role)

    def with_parameter(self, name: str, value: Array) -> OracleModel:
        return replace(self, parameters={**self.parameters, name: value})


def statistic(model: OracleModel, layer: str, x: Array) -> Array:
    """What edges multiply: x / sigma for Gaussian units, else x."""
    sigma = model.layers[layer].sigma
    return x / model.parameters[sigma] if sigma else x


def _terms(model: OracleModel, state: State, size: bool) -> Array:
    """The sum of the terms of the energy, (cases,); with `size` the sum of their magnitudes."""
    mag = np.abs if size else (lambda a: a)
    total = np.zeros(len(next(iter(state.values()))))
    flat = {n: x.reshape(len(x), -1) for n, x in state.items()}
    for name, layer in model.layers.items():
        x = flat[name]
        b = model.parameters[layer.bias].ravel() if layer.bias else np.zeros(x.shape[1])
        if layer.unit == "gaussian":
            assert layer.sigma
            total = total + ((x - b) ** 2 / (2 * model.parameters[layer.sigma].ravel() ** 2)).sum(1)
        else:
            total = total + mag(-b * x).sum(1)
    for edge in model.edges:
        a = statistic(model, edge.first, state[edge.first])
        b = statistic(model, edge.second, state[edge.second])
        a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
        w = model.parameters[edge.weight].reshape(a.shape[1], b.shape[1])
        total = total + np.einsum("ci,ij,cj->c", mag(-a), mag(w), mag(b))
    return total


def energy(model: OracleModel, state: State) -> Array:
    """The energy of complete states, (cases,)."""
    return _terms(model, state, size=False)


def magnitude(model: OracleModel, state: State) -> Array:
    """The sum of the magnitudes of the energy's terms, (cases,): the scale of its rounding error."""
    return _terms(model, state, size=True)


def layer_states(layer: OracleLayer) -> Array:
    """All states of a discrete layer, (N, *dims)."""
    n = int(np.prod(layer.dims))
    if layer.unit == "softmax":
        k = layer.dims[-1]
        picks = itertools.product(range(k), repeat=n // k)
        return np.array([np.eye(k)[list(pick)] for pick in picks]).reshape(-1, *layer.dims)
    values = {"binary": (0.0, 1.0), "spin": (-1.0, 1.0)}[layer.unit]
    return np.array(list(itertools.product(values, repeat=n))).reshape(-1, *layer.dims)


def all_states(model: OracleModel, names: tuple[str, ...]) -> dict[str, Array]:
    """All joint states of these discrete layers, (N, *dims) each; one empty state when there are none."""
    if not names:
        return {}
    tables = [layer_states(model.layers[n]) for n in names]
    index = np.indices([len(t) for t in tables]).reshape(len(tables), -1)
    return {n: t[i] for n, t, i in zip(names, tables, index, strict=True)}


@dataclass(frozen=True)
class Table:
    """Every state of the layers that are not clamped, Gaussian ones integrated out.

    `log_weight` (N,) is log of the integral of exp(-energy) over the free Gaussian layers; `state` holds all layers,
    a free Gaussian layer by its conditional mean.
    """

    state: dict[str, Array]
    log_weight: Array

    @property
    def log_sum(self) -> float:
        return float(logsumexp(self.log_weight))

    @property
    def probability(self) -> Array:
        return np.exp(self.log_weight - self.log_sum)


def logsumexp(x: Array) -> float:
    top = x.max()
    return float(top + np.log(np.exp(x - top).sum()))


def table(model: OracleModel, clamp: State | None = None) -> Table:
    """Enumerate the layers that are not clamped; `clamp` holds one case, (1, *dims)."""
    clamp = clamp or {}
    free = tuple(n for n in model.layers if n not in clamp)
    real = tuple(n for n in free if model.layers[n].unit == "gaussian")
    state = all_states(model, tuple(n for n in free if n not in real))
    cases = len(next(iter(state.values()))) if state else 1
    for name, x in clamp.items():
        state[name] = np.broadcast_to(x, (cases, *x.shape[1:]))
    for name in real:
        state[name] = np.zeros((cases, *model.layers[name].dims))
    log_weight = -energy(model, state)
    means = {}
    for name in real:
        slope, curvature = _quadratic(model, name, state)
        axes = tuple(range(1, slope.ndim))
        log_weight = log_weight + (slope**2 / (2 * curvature) + np.log(2 * np.pi / curvature) / 2).sum(axes)
        means[name] = -slope / curvature
    return Table({**state, **means}, log_weight)


def _quadratic(model: OracleModel, name: str, state: State) -> tuple[Array, Array]:
    """The energy's slope and curvature in each unit of a Gaussian layer, at that layer's zero, (cases, *dims)."""
    zero = np.zeros_like(state[name])
    slope, curvature = zero.copy(), zero.copy()
    middle = energy(model, {**state, name: zero})
    for unit in np.ndindex(*zero.shape[1:]):
        step = zero.copy()
        step[(slice(None), *unit)] = 1.0
        up, down = energy(model, {**state, name: step}), energy(model, {**state, name: -step})
        slope[(slice(None), *unit)] = (up - down) / 2
        curvature[(slice(None), *unit)] = up + down - 2 * middle
    return slope, curvature


def log_partition(model: OracleModel) -> float:
    """log Z."""
    return table(model).log_sum


def log_partition_by_quadrature(model: OracleModel, span: float = 30.0, step: float = 0.25) -> float:
    """log Z with the Gaussian units, two at most, on a grid: step and span in standard deviations."""
    real = [n for n in model.layers if model.layers[n].unit == "gaussian"]
    axes, cell = [], 1.0
    for name in real:
        for sd in model.parameters[model.layers[name].sigma or ""].ravel():
            axes.append(np.arange(-span * sd, span * sd, step * sd))
            cell *= step * sd
    assert 1 <= len(axes) <= 2
    points = np.stack([g.ravel() for g in np.meshgrid(*axes, indexing="ij")], 1)
    discrete = all_states(model, tuple(n for n in model.layers if n not in real))
    total = []
    for i in range(len(next(iter(discrete.values())))):
        state = {n: np.broadcast_to(x[i], (len(points), *x.shape[1:])) for n, x in discrete.items()}
        start = 0
        for name in real:
            size = int(np.prod(model.layers[name].dims))
            state[name] = points[:, start : start + size].reshape(-1, *model.layers[name].dims)
            start += size
        total.append(logsumexp(-energy(model, state)))
    return logsumexp(np.array(total)) + float(np.log(cell))


def log_probability(model: OracleModel, clamp: State) -> float:
    """log p(clamped layers) of one case."""
    return table(model, clamp).log_sum - log_partition(model)


def free_energy(model: OracleModel, clamp: State) -> float:
    """-log of the sum over the other layers of exp(-energy), one case."""
    return -table(model, clamp).log_sum


def conditional_mean(model: OracleModel, name: str, state: State) -> Array:
    """The mean of each unit's state given every other unit of the complete states, (cases, *dims)."""
    layer = model.layers[name]
    out = np.zeros_like(state[name])
    sites = layer.dims[:-1] if layer.unit == "softmax" else layer.dims
    for site in np.ndindex(*sites):
        where = (slice(None), *site)
        if layer.unit == "softmax":
            values = list(np.eye(layer.dims[-1]))
        elif layer.unit == "gaussian":
            sd = float(model.parameters[layer.sigma or ""][site])
            values = list(np.arange(-40 * sd, 40 * sd, sd / 4)[:, None].ravel())
        else:
            values = {"binary": [0.0, 1.0], "spin": [-1.0, 1.0]}[layer.unit]
        minus = []
        for value in values:
            x = state[name].copy()
            x[where] = value
            minus.append(-energy(model, {**state, name: x}))
        weight = np.exp(np.array(minus) - np.max(minus, 0))
        weight /= weight.sum(0)
        out[where] = np.tensordot(weight, np.array(values), (0, 0))
    return out


@dataclass(frozen=True)
class Expectations:
    """Means of each layer's statistic, of its state, and for each weight the sum over its uses of E[s(a) s(b)']."""

    mean: dict[str, Array]
    state: dict[str, Array]
    product: dict[str, Array]


def expectations(model: OracleModel, clamp: State | None = None) -> Expectations:
    """Under the model, or with one case clamped under the posterior."""
    every = table(model, clamp)
    p = every.probability
    # Two Gaussian layers share no edge, so that a product with a conditional mean is exact.
    stat = {n: statistic(model, n, x) for n, x in every.state.items()}
    product: dict[str, Array] = {}
    for edge in model.edges:
        a, b = (stat[n].reshape(len(p), -1) for n in (edge.first, edge.second))
        term = np.einsum("c,ci,cj->ij", p, a, b).reshape(model.parameters[edge.weight].shape)
        product[edge.weight] = product.get(edge.weight, 0.0) + term
    return Expectations(
        {n: np.tensordot(p, s, (0, 0)) for n, s in stat.items()},
        {n: np.tensordot(p, x, (0, 0)) for n, x in every.state.items()},
        product,
    )


def gradient(model: OracleModel, clamp: State) -> dict[str, Array]:
    """Of log p(one case), for weights and biases, from exact expectations."""
    data, model_side = expectations(model, clamp), expectations(model)
    out = {w: data.product[w] - model_side.product[w] for w in data.product}
    for name, layer in model.layers.items():
        if layer.bias:
            change = data.state[name] - model_side.state[name]
            if layer.sigma:
                change = change / model.parameters[layer.sigma] ** 2
            out[layer.bias] = out.get(layer.bias, 0.0) + change
    return out


def finite_gradient(model: OracleModel, clamp: State, name: str, step: float = 1e-5) -> Array:
    """The same for one parameter by central differences of log p."""
    value = model.parameters[name]
    out = np.zeros_like(value)
    for index in np.ndindex(*value.shape):
        shift = np.zeros_like(value)
        shift[index] = step
        up = log_probability(model.with_parameter(name, value + shift), clamp)
        down = log_probability(model.with_parameter(name, value - shift), clamp)
        out[index] = (up - down) / (2 * step)
    return out


def posterior(model: OracleModel, clamp: State) -> Table:
    """p(the other layers | one clamped case): `state` and `probability` of the table."""
    return table(model, clamp)


def bound(model: OracleModel, clamp: State, means: State) -> float:
    """E_q[-energy] + H(q), one case; less log Z it bounds log p(clamped) from below.

    q factorises over units with these means of their *states*, (1, *dims); a Gaussian unit's q has the variance
    sigma^2 that the optimum has.
    """
    discrete = tuple(n for n in means if model.layers[n].unit != "gaussian")
    state = all_states(model, discrete)
    cases = len(next(iter(state.values()))) if state else 1
    log_q, added = np.zeros(cases), 0.0
    for name in discrete:
        x, m = state[name].reshape(cases, -1), means[name].reshape(1, -1)
        with np.errstate(divide="ignore", invalid="ignore"):
            match model.layers[name].unit:
                case "binary":
                    log_p = np.where(x == 1, np.log(m), np.log1p(-m))
                case "spin":
                    log_p = np.where(x == 1, np.log1p(m), np.log1p(-m)) - np.log(2)
                case _:
                    log_p = np.where(x == 1, np.log(m), 0.0)
        log_q = log_q + log_p.sum(1)
    for name in set(means) - set(discrete):
        sd = model.parameters[model.layers[name].sigma or ""]
        state[name] = np.broadcast_to(means[name], (cases, *means[name].shape[1:]))
        added += float((np.log(2 * np.pi * np.e * sd**2) / 2 - 0.5).sum())  # entropy, less E[(x - m)^2 / (2 sd^2)]
    for name, x in clamp.items():
        state[name] = np.broadcast_to(x, (cases, *x.shape[1:]))
    q = np.exp(log_q)
    value = np.where(q > 0, q * (-energy(model, state) - np.where(q > 0, log_q, 0.0)), 0.0)
    return float(value.sum()) + added
