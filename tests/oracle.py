"""An oracle for small models: everything by enumeration of the declared terms, nothing derived.

A model is plain data: layers, edges and parameter arrays with all their axes. Only `energy` knows what the terms
mean; every other function evaluates it. A unit is a list of nodes with log weights: the states of a discrete unit, or
points of a quadrature rule for a real one. Gaussian layers that share no edge with a real layer are integrated by
completing the square instead, their coefficients read off the energy at three points. A document of a count layer is
a vector of counts, with the number of orders of its words as its weight.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Array = NDArray[np.float64]
State = Mapping[str, Array]  # (cases, *dims) for each layer that is given
REAL = ("gaussian", "relu", "drelu")
MOST = 45  # of the nodes of a natural unit


@dataclass(frozen=True)
class OracleLayer:
    """A layer; `bias`, `sigma` and `parameters` name parameters of shape `dims`, or are None.

    `trials` is that of a binomial layer, `counted` the layers the sum of whose lengths multiplies the bias.
    """

    name: str
    role: str
    unit: str
    dims: tuple[int, ...]
    bias: str | None
    sigma: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    trials: int = 0
    counted: tuple[str, ...] = ()


@dataclass(frozen=True)
class OracleEdge:
    """Energy -sum W[i, j, ...] s(first)[i] s(second)[j] ...; half of it where first and second are one layer."""

    first: str
    second: str
    weight: str
    more: tuple[str, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        return (self.first, self.second, *self.more)


@dataclass(frozen=True)
class OracleArrow:
    """W[i, j] s(parent)[j] is part of the field of the child in p(child | parents); `turned`, W is (parent, child)."""

    child: str
    parent: str
    weight: str
    turned: bool = False


@dataclass(frozen=True)
class OracleModel:
    """Layers that arrows point to are distributed given their parents; `recognition` has those of q, with biases."""

    layers: Mapping[str, OracleLayer]
    edges: tuple[OracleEdge, ...]
    parameters: Mapping[str, Array]
    lengths: Mapping[str, int] = field(default_factory=dict)  # of the documents of count layers that are summed out
    arrows: tuple[OracleArrow, ...] = ()
    recognition: tuple[OracleArrow, ...] = ()
    recognition_bias: Mapping[str, str] = field(default_factory=dict)

    @property
    def children(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(arrow.child for arrow in self.arrows))

    def names(self, role: str) -> tuple[str, ...]:
        return tuple(n for n, layer in self.layers.items() if layer.role == role)

    def with_parameter(self, name: str, value: Array) -> OracleModel:
        return replace(self, parameters={**self.parameters, name: value})


def statistic(model: OracleModel, layer: str, x: Array) -> Array:
    """What edges multiply: x / sigma for Gaussian units, else x."""
    sigma = model.layers[layer].sigma
    return x / model.parameters[sigma] if sigma else x


def own_terms(model: OracleModel, layer: OracleLayer, x: Array) -> list[Array]:
    """The terms of each unit's own energy without the bias, of states (cases, *dims), each of that shape."""
    own = {name: model.parameters[full] for name, full in layer.parameters.items()}
    match layer.unit:
        case "relu":
            return [x**2 / 2]
        case "poisson":
            return [gammaln(x + 1)]
        case "binomial":
            return [gammaln(x + 1), gammaln(layer.trials - x + 1), np.full(x.shape, -gammaln(layer.trials + 1))]
        case "trit":
            return [0.3 * x**2]
        case "tilted":  # a finite unit with a parameter of its own
            return [own["u"] * x**2, own["t"] * x]
        case "drelu":
            upper, lower = own["gp"] * x**2 / 2 + own["tp"] * x, own["gm"] * x**2 / 2 + own["tm"] * x
            return [np.where(x > 0, upper, lower)]
        case _:
            return []


def log_conditional(
    model: OracleModel, name: str, arrows: tuple[OracleArrow, ...], bias: str | None, state: State
) -> Array:
    """log p(layer | its parents) along these arrows, (cases,): each unit's states weighed, and made to sum to 1."""
    layer = model.layers[name]
    x = state[name].reshape(len(state[name]), -1)
    flat = replace(layer, dims=(x.shape[1],))
    field_ = np.zeros(x.shape)
    for arrow in arrows:
        parent = statistic(model, arrow.parent, state[arrow.parent]).reshape(len(x), -1)
        w = model.parameters[arrow.weight]
        w = w.reshape(parent.shape[1], -1).T if arrow.turned else w.reshape(-1, parent.shape[1])
        field_ = field_ + parent @ w.T
    b = model.parameters[bias].ravel() if bias else np.zeros(x.shape[1])
    if layer.unit == "gaussian":
        sd = model.parameters[layer.sigma or ""].ravel()
        away = (x - b - sd * field_) / sd
        return (-(away**2) / 2 - np.log(np.sqrt(2 * np.pi) * sd)).sum(1)
    field_ = field_ + b
    if layer.unit == "softmax":
        logits = field_.reshape(*x.shape[:1], -1, layer.dims[-1])
        return (x * field_).sum(1) - np.log(np.exp(logits).sum(-1)).sum(1)
    nodes, weights = unit_nodes(layer)
    side = replace(model, parameters={n: v.ravel() for n, v in model.parameters.items()})

    def minus(at: Array) -> Array:
        return at * field_ - sum(own_terms(side, flat, at), np.zeros(x.shape))

    every = np.array([w + minus(np.full(x.shape, node)) for node, w in zip(nodes, weights, strict=True)])
    return (minus(x) - np.logaddexp.reduce(every, 0)).sum(1)


def _terms(model: OracleModel, state: State, size: bool) -> Array:
    """The sum of the terms of the energy, (cases,); with `size` the sum of their magnitudes."""
    mag = np.abs if size else (lambda a: a)
    total = np.zeros(len(next(iter(state.values()))))
    flat = {n: x.reshape(len(x), -1) for n, x in state.items()}
    for name, layer in model.layers.items():
        x = flat[name]
        if layer.role == "given":
            continue
        if name in model.children:
            arrows = tuple(arrow for arrow in model.arrows if arrow.child == name)
            total = total + mag(-log_conditional(model, name, arrows, layer.bias, state))
            continue
        b = model.parameters[layer.bias].ravel() if layer.bias else np.zeros(x.shape[1])
        if layer.unit == "gaussian":
            assert layer.sigma
            total = total + ((x - b) ** 2 / (2 * model.parameters[layer.sigma].ravel() ** 2)).sum(1)
        else:
            exposure = sum(flat[n].sum(1) for n in layer.counted) if layer.counted else np.ones(len(x))
            total = total + exposure * mag(-b * x).sum(1)
            for term in own_terms(model, layer, state[name]):
                total = total + mag(term).reshape(len(x), -1).sum(1)
    for edge in model.edges:
        parts = [mag(statistic(model, n, state[n])).reshape(len(total), -1) for n in edge.layers]
        w = mag(model.parameters[edge.weight]).reshape([part.shape[1] for part in parts])
        letters = "ijklm"[: len(parts)]
        product = np.einsum(f"{letters},{','.join('c' + x for x in letters)}->c", w, *parts)
        total = total + (1 if size else -1) * (0.5 if edge.first == edge.second else 1.0) * product
    return total


def energy(model: OracleModel, state: State) -> Array:
    """The energy of complete states, (cases,)."""
    return _terms(model, state, size=False)


def magnitude(model: OracleModel, state: State) -> Array:
    """The sum of the magnitudes of the energy's terms, (cases,): the scale of its rounding error."""
    return _terms(model, state, size=True)


def unit_nodes(layer: OracleLayer, sd: float = 1.0) -> tuple[Array, Array]:
    """The nodes of one unit and their log weights; `sd` scales a Gaussian unit's."""
    match layer.unit:
        case "gaussian":  # trapezoidal: exact to rounding for analytic densities that fall off (step 0.4 sd)
            x = np.arange(-11.0, 11.01, 0.4) * sd
            return x, np.full(len(x), np.log(0.4 * sd))
        case "relu":
            return _panels((0.0, 2.0, 5.0, 9.0, 14.0))
        case "drelu":
            return _panels((-16.0, -9.0, -4.0, 0.0, 4.0, 9.0, 16.0))
    values = {
        "binary": (0.0, 1.0),
        "spin": (-1.0, 1.0),
        "trit": (-1.0, 0.0, 1.0),
        "tilted": (-1.0, 0.5, 2.0),
        "binomial": tuple(np.arange(layer.trials + 1.0)),
        "poisson": tuple(np.arange(float(MOST))),
    }[layer.unit]
    return np.array(values), np.zeros(len(values))


def _panels(ends: tuple[float, ...]) -> tuple[Array, Array]:
    """Gauss's rule of 14 points on each interval."""
    x, w = np.polynomial.legendre.leggauss(14)
    pairs = list(itertools.pairwise(ends))
    nodes = np.concatenate([(a + b) / 2 + (b - a) / 2 * x for a, b in pairs])
    return nodes, np.log(np.concatenate([(b - a) / 2 * w for a, b in pairs]))


def layer_nodes(
    model: OracleModel, name: str, observed: Array | None = None, held: Array | None = None
) -> tuple[Array, Array]:
    """All states of a layer, (N, *dims), with their log weights; held entries (dims) are as `observed` (dims)."""
    layer = model.layers[name]
    dims = layer.dims
    if layer.unit == "replicated_softmax":
        return _documents(dims, model.lengths.get(name, 0), observed, held)
    if layer.unit == "softmax":
        k = dims[-1]
        n = int(np.prod(dims)) // k
        sites = []
        for site in range(n):
            known = held is not None and observed is not None and bool(held.reshape(n, k)[site].all())
            sites.append([observed.reshape(n, k)[site]] if known and observed is not None else list(np.eye(k)))
        states = np.array(list(itertools.product(*sites))).reshape(-1, *dims)
        return states, np.zeros(len(states))
    values, weights = [], []
    for unit in np.ndindex(*dims):
        sd = float(model.parameters[layer.sigma][unit]) if layer.sigma else 1.0
        x, w = unit_nodes(layer, sd)
        if held is not None and observed is not None and held[unit]:
            x, w = np.array([observed[unit]]), np.zeros(1)
        values.append(x)
        weights.append(w)
    states = np.stack([g.ravel() for g in np.meshgrid(*values, indexing="ij")], 1).reshape(-1, *dims)
    return states, sum(g.ravel() for g in np.meshgrid(*weights, indexing="ij"))  # type: ignore[return-value]


def _documents(dims: tuple[int, ...], length: int, observed: Array | None, held: Array | None) -> tuple[Array, Array]:
    """All vectors of counts with this sum, with log of the number of orders of the words that are not held."""
    assert len(dims) == 1
    free = [k for k in range(dims[0]) if held is None or not held[k]]
    start = np.zeros(dims[0]) if held is None or observed is None else np.where(held, observed, 0.0)
    left = length - int(start.sum())
    out, weights = [], []
    for counts in itertools.product(range(left + 1), repeat=len(free)):
        if sum(counts) == left:
            document = start.copy()
            document[free] = counts
            out.append(document)
            weights.append(gammaln(left + 1) - gammaln(np.array(counts) + 1.0).sum())
    return np.array(out), np.array(weights)


def all_states(model: OracleModel, names: tuple[str, ...]) -> dict[str, Array]:
    """All joint states of these layers, (N, *dims) each; one empty state when there are none."""
    return joint_nodes(model, names)[0]


def joint_nodes(
    model: OracleModel, names: tuple[str, ...], observed: State | None = None, held: State | None = None
) -> tuple[dict[str, Array], Array]:
    """All joint nodes of these layers with log weights (N,); `observed` and `held` by layer, (dims)."""
    if not names:
        return {}, np.zeros(1)
    tables = [layer_nodes(model, n, (observed or {}).get(n), (held or {}).get(n)) for n in names]
    index = np.indices([len(weight) for _, weight in tables]).reshape(len(tables), -1)
    states = {n: t[i] for n, (t, _), i in zip(names, tables, index, strict=True)}
    return states, np.sum([w[i] for (_, w), i in zip(tables, index, strict=True)], axis=0)


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


def table(model: OracleModel, clamp: State | None = None, held: State | None = None) -> Table:
    """Sum over all that is not clamped; `clamp` holds one case, (1, *dims).

    A layer of `clamp` that is also in `held`, (*dims) bools, is observed where that is True and free elsewhere.
    """
    clamp, held = clamp or {}, held or {}
    free = tuple(n for n in model.layers if n not in clamp or n in held)
    lengths = {n: int(x.sum()) for n, x in clamp.items() if model.layers[n].unit == "replicated_softmax"}
    model = replace(model, lengths={**model.lengths, **lengths})
    closed = tuple(n for n in free if n not in held and _closes(model, n))
    observed = {n: clamp[n][0] for n in held}
    state, log_weight = joint_nodes(model, tuple(n for n in free if n not in closed), observed, held)
    cases = len(log_weight)
    for name, x in clamp.items():
        if name not in held:
            state[name] = np.broadcast_to(x, (cases, *x.shape[1:]))
    for name in closed:
        state[name] = np.zeros((cases, *model.layers[name].dims))
    log_weight = log_weight - energy(model, state)
    means = {}
    for name in closed:
        slope, curvature = _quadratic(model, name, state)
        axes = tuple(range(1, slope.ndim))
        log_weight = log_weight + (slope**2 / (2 * curvature) + np.log(2 * np.pi / curvature) / 2).sum(axes)
        means[name] = -slope / curvature
    return Table({**state, **means}, log_weight)


def _closes(model: OracleModel, name: str) -> bool:
    """Whether a layer is Gaussian and shares no edge with a real one, itself included."""
    if model.layers[name].unit != "gaussian":
        return False
    if any(name == arrow.parent for arrow in model.arrows):
        return False
    edges = [e.layers for e in model.edges if name in e.layers]
    edges += [(arrow.parent, name) for arrow in model.arrows if arrow.child == name]
    return all(sum(model.layers[n].unit in REAL for n in layers) == 1 for layers in edges)


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


def log_probability(model: OracleModel, clamp: State, held: State | None = None) -> float:
    """log p(clamped layers, less what is not held | given layers and lengths) of one case."""
    side = replace(model, lengths={**model.lengths, **_lengths(model, clamp)})
    given = {n: clamp[n] for n in model.names("given")}
    return table(model, clamp, held).log_sum - table(side, given).log_sum


def free_energy(model: OracleModel, clamp: State) -> float:
    """-log of the sum over the other layers of exp(-energy), one case."""
    return -table(model, clamp).log_sum


def conditional_mean(model: OracleModel, name: str, state: State) -> Array:
    """The mean of each unit's state given every other unit of the complete states, (cases, *dims).

    For a count layer, of all its counts together given the length.
    """
    layer = model.layers[name]
    if layer.unit == "replicated_softmax":
        rows = [
            table(model, {n: s[i : i + 1] for n, s in state.items()}, {name: np.zeros(layer.dims, bool)})
            for i in range(len(state[name]))
        ]
        return np.array([np.tensordot(row.probability, row.state[name], (0, 0)) for row in rows])
    out = np.zeros_like(state[name])
    sites = layer.dims[:-1] if layer.unit == "softmax" else layer.dims
    for site in np.ndindex(*sites):
        where = (slice(None), *site)
        values, log_weight = _site_nodes(model, layer, site)
        minus = []
        for value, weight in zip(values, log_weight, strict=True):
            x = state[name].copy()
            x[where] = value
            minus.append(weight - energy(model, {**state, name: x}))
        weight = np.exp(np.array(minus) - np.max(minus, 0))
        weight /= weight.sum(0)
        out[where] = np.tensordot(weight, np.array(values), (0, 0))
    return out


def _site_nodes(model: OracleModel, layer: OracleLayer, site: tuple[int, ...]) -> tuple[list[Array], Array]:
    if layer.unit == "softmax":
        return list(np.eye(layer.dims[-1])), np.zeros(layer.dims[-1])
    if layer.unit == "gaussian":
        sd = float(model.parameters[layer.sigma or ""][site])
        return list(np.arange(-40 * sd, 40 * sd, sd / 4)), np.zeros(320)
    values, weights = unit_nodes(layer)
    return list(values), weights


@dataclass(frozen=True)
class Expectations:
    """Means of each layer's statistic, of its state, and for each weight the sum over its uses of E[s(a) s(b)']."""

    mean: dict[str, Array]
    state: dict[str, Array]
    product: dict[str, Array]


def expectations(model: OracleModel, clamp: State | None = None, held: State | None = None) -> Expectations:
    """Under the model, or with one case clamped under the posterior."""
    every = table(model, clamp, held)
    p = every.probability
    # Closed Gaussian layers share no edge with each other, so that a product with a conditional mean is exact.
    stat = {n: statistic(model, n, x) for n, x in every.state.items()}
    product: dict[str, Array] = {}
    for edge in model.edges:
        parts = [stat[n].reshape(len(p), -1) for n in edge.layers]
        letters = "ijklm"[: len(parts)]
        term = np.einsum(f"c,{','.join('c' + x for x in letters)}->{letters}", p, *parts)
        if edge.first == edge.second:  # what is 0 throughout has no gradient
            layer = model.layers[edge.first]
            block = layer.dims[-1] if layer.unit == "softmax" else 1
            term = term * (1 - np.kron(np.eye(len(term) // block), np.ones((block, block))))
        term = term.reshape(model.parameters[edge.weight].shape)
        product[edge.weight] = product.get(edge.weight, 0.0) + term
    return Expectations(
        {n: np.tensordot(p, s, (0, 0)) for n, s in stat.items()},
        {n: np.tensordot(p, x, (0, 0)) for n, x in every.state.items()},
        product,
    )


def gradient(model: OracleModel, clamp: State, held: State | None = None) -> dict[str, Array]:
    """Of log p(one case), for weights and biases, exactly; a symmetric weight's is of its shared entries."""
    side = replace(model, lengths={**model.lengths, **_lengths(model, clamp)})
    given = {n: clamp[n] for n in model.names("given")}
    data, model_side = expectations(model, clamp, held), expectations(side, given)
    out = {w: data.product[w] - model_side.product[w] for w in data.product}
    for name, layer in model.layers.items():
        if layer.bias:
            change = data.state[name] - model_side.state[name]
            if layer.counted:
                change = change * sum(side.lengths[n] for n in layer.counted)
            if layer.sigma:
                change = change / model.parameters[layer.sigma] ** 2
            out[layer.bias] = out.get(layer.bias, 0.0) + change
    return out


def _lengths(model: OracleModel, clamp: State) -> dict[str, int]:
    return {n: int(x.sum()) for n, x in clamp.items() if model.layers[n].unit == "replicated_softmax"}


def finite_gradient(
    model: OracleModel, clamp: State, name: str, step: float = 1e-5, held: State | None = None
) -> Array:
    """The same for any parameter by central differences of log p; shared entries of a weight move together."""
    value = model.parameters[name]
    lateral = [e for e in model.edges if e.weight == name and e.first == e.second]
    out = np.zeros_like(value)
    for index in np.ndindex(*value.shape):
        shift = np.zeros_like(value)
        shift[index] = step
        if lateral:
            half = len(index) // 2
            shift[index[half:] + index[:half]] = step
            layer = model.layers[lateral[0].first]
            sites = -1 if layer.unit == "softmax" else None
            if index[:half][:sites] == index[half:][:sites]:
                continue  # held at 0
        up = log_probability(model.with_parameter(name, value + shift), clamp, held)
        down = log_probability(model.with_parameter(name, value - shift), clamp, held)
        out[index] = (up - down) / (2 * step)
    return out


def posterior(model: OracleModel, clamp: State) -> Table:
    """p(the other layers | one clamped case): `state` and `probability` of the table."""
    return table(model, clamp)


def bound(model: OracleModel, clamp: State, means: State, held: State | None = None) -> float:
    """E_q[-energy] + H(q), one case; less log Z it bounds log p(clamped) from below.

    q factorises over units (sites, documents) with these means of their *states*, (1, *dims), each unit's q being the
    member of its own family that has this mean. All terms of the energy but the units' own are affine in each unit's
    state, so that their expectation is their value at the means. Entries in `held` are known: their q is a point.
    """
    every = {**clamp, **means}
    value = -float(energy(model, every)[0])
    for name, mean in means.items():
        layer = model.layers[name]
        known = (held or {}).get(name, np.zeros(layer.dims, bool))
        if layer.unit in ("softmax", "replicated_softmax"):
            m = np.where(known, 0.0, mean[0]).reshape(-1, layer.dims[-1])
            total = m.sum(1, keepdims=True)
            with np.errstate(divide="ignore", invalid="ignore"):
                value -= float(np.where(m > 0, m * np.log(m / total), 0.0).sum())
            continue
        for unit in np.ndindex(*layer.dims):
            if not known[unit]:
                value += _family_entropy(model, layer, unit, float(mean[0][unit]))
    return value


def _family_entropy(model: OracleModel, layer: OracleLayer, unit: tuple[int, ...], mean: float) -> float:
    """H(q) - E_q[own energy] + own energy at the mean, of a unit with this mean; q ~ exp(g x - own energy)."""
    sd = float(model.parameters[layer.sigma][unit]) if layer.sigma else 1.0
    x, log_weight = unit_nodes(layer, sd)
    x = np.append(x + (mean if layer.unit == "gaussian" else 0.0), mean)  # the mean itself last
    states = np.zeros((len(x), *layer.dims))
    states[(slice(None), *unit)] = x
    own = sum((term[(slice(None), *unit)] for term in own_terms(model, layer, states)), np.zeros(len(x)))
    if layer.unit == "gaussian":
        own = x**2 / (2 * sd**2)
    x, own, at_mean = x[:-1], own[:-1], float(own[-1])
    low, high = -1e3, 1e3
    for _ in range(200):
        g = (low + high) / 2
        log_p = g * x - own + log_weight
        p = np.exp(log_p - logsumexp(log_p))
        low, high = (g, high) if p @ x < mean else (low, g)
    inside = p > 0
    log_density = (log_p - logsumexp(log_p) - log_weight)[inside]
    return float(-(p[inside] @ (log_density + own[inside]))) + at_mean
