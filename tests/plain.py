"""Checks evaluated the plain way, for tests: every state enumerated by the oracle, formulas walked with NumPy.

Nothing here is shared with the prover or with its numerical evaluation: the left side of a check is what its words
say (a conditional is a sum over states, a gradient an average), the right side is its tree, evaluated.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import oracle
import plain_q
from numpy.typing import NDArray
from oracle import OracleArrow, OracleEdge, OracleLayer, OracleModel
from plain_values import Here, lengths_of, slope_of, value_of
from scipy.special import gamma

from pgmdsl.compiler.model import Model, Parameter
from pgmdsl.grammar.syntax import (
    Call,
    CheckDeclaration,
    Compare,
    Expression,
    Index,
    Name,
    Number,
    Transpose,
)

CASES = 4
DATA = (0.5, 0.3, 0.2)
UNBOUNDED = ("poisson", "relu", "drelu")
VALUES = {"trit": (-1.0, 0.0, 1.0), "tilted": (-1.0, 0.5, 2.0), "binary": (0.0, 1.0), "spin": (-1.0, 1.0)}

Array = NDArray[np.float64]


def oracle_model(model: Model, rng: np.random.Generator) -> OracleModel:
    """The model with random parameters, none 0, standard deviations other than 1; what the file fixes is as it says."""
    sizes = {name: value or 0 for name, value in model.sizes.items()}
    units = {name: layer.unit.name for name, layer in model.layers.items()}
    joined = any(sum(units[name] == "gaussian" for name in edge.layers) > 1 for edge in model.edges)
    spread = 0.2 if joined else 0.3 if any(unit in UNBOUNDED for unit in units.values()) else 0.8

    def shape(axes: Any) -> tuple[int, ...]:
        return tuple(int(size.evaluate(sizes)) for size in axes)

    def values(p: Parameter) -> Array:
        if p.fixed and p.initial.kind == "constant":
            return np.full(shape(p.shape), p.initial.value)
        if p.positive:
            return rng.uniform(0.6, 1.8, shape(p.shape))
        drawn = rng.normal(0, spread, shape(p.shape))
        return _lateral(drawn, model.layers[p.layers[0]].unit.states_axis) if p.symmetric else drawn

    parameters = {p.name: values(p) for p in model.parameters.values()}
    layers = {
        layer.name: OracleLayer(
            layer.name,
            layer.role,
            layer.unit.name,
            shape(layer.dims),
            layer.bias,
            layer.sigma,
            {k: v for k, v in layer.parameters.items() if k != "sigma"},
            int(layer.trials.evaluate(sizes)) if layer.trials is not None else 0,
            layer.counted,
        )
        for layer in model.layers.values()
    }
    edges = tuple(OracleEdge(e.layers[0], e.layers[1], e.weight, e.layers[2:]) for e in model.edges)
    arrows = tuple(OracleArrow(e.head, e.tail, e.weight, e.layers[1] == e.head) for e in model.directed)
    recognition = tuple(OracleArrow(e.head, e.tail, e.weight, e.layers[1] == e.head) for e in model.recognition)
    biases = {n: layer.recognition for n, layer in model.layers.items() if layer.recognition is not None}
    return OracleModel(layers, edges, parameters, arrows=arrows, recognition=recognition, recognition_bias=biases)


def _lateral(weight: Array, states: bool) -> Array:
    """A symmetric weight with zero diagonal (zero blocks of the states of a site)."""
    half = weight.ndim // 2
    size = int(np.prod(weight.shape[:half]))
    flat = weight.reshape(size, size)
    block = weight.shape[-1] if states else 1
    apart = 1 - np.kron(np.eye(size // block), np.ones((block, block)))
    return ((flat + flat.T) * apart).reshape(weight.shape)


def random_state(
    model: OracleModel, rng: np.random.Generator, cases: int, means: tuple[str, ...] = ()
) -> dict[str, Array]:
    """Random states, (cases, *dims); random means for the layers in `means`."""
    out = {}
    for name, layer in model.layers.items():
        shape = (cases, *layer.dims)
        match layer.unit, name in means:
            case "gaussian" | "drelu", _:
                out[name] = rng.normal(0, 1.5, shape)
            case "relu", _:
                out[name] = rng.uniform(0.1, 2.0, shape)
            case "softmax", True:
                out[name] = rng.dirichlet(np.ones(shape[-1]), shape[:-1])
            case "softmax", False:
                out[name] = np.eye(shape[-1])[rng.integers(shape[-1], size=shape[:-1])]
            case "replicated_softmax", _:
                words = [np.eye(shape[-1])[rng.integers(shape[-1], size=1 + c % 3)] for c in range(cases)]
                out[name] = np.array([document.sum(0) for document in words])
            case "poisson" | "binomial", True:
                out[name] = rng.uniform(0.1, layer.trials or 2.0, shape)
            case "poisson" | "binomial", False:
                out[name] = rng.integers((layer.trials or 3) + 1, size=shape).astype(float)
            case unit, True:
                out[name] = rng.uniform(VALUES[unit][0] + 0.1, VALUES[unit][-1] - 0.1, shape)
            case unit, False:
                out[name] = rng.choice(VALUES[unit], shape)
    return out


def differs(model: Model, check: CheckDeclaration, seed: int) -> bool:
    """Whether the two sides of a check differ somewhere, at a few random points, at any value of its indices."""
    rng = np.random.default_rng(seed)
    small = _assuming(oracle_model(model, rng), check)
    if check.greedy is not None:
        small = stage_of(small, check.greedy.name, check.left)
    by_means = plain_q.uses_means(small, check.left)
    means = small.names("hidden") if _is(check.left, "mean_field") or by_means else ()
    state = random_state(small, rng, CASES, means)
    sizes = {name: value or 0 for name, value in model.sizes.items()}
    here = Here(small, {**small.parameters, **state}, sizes)
    if not small.recognition_bias and plain_q.speaks_of_q(check.left):
        means_of_q = random_state(small, rng, CASES, small.names("hidden")) | (state if by_means else {})
        here = replace(here, arrays={**here.arrays, **plain_q.fields(small, means_of_q)}, means=means_of_q)
    if any(_is(check.left, phase) for phase in ("gradient", "wake", "sleep")):
        here = _with_averages(rng, here, check.left.function if isinstance(check.left, Call) else "")
    indices, lefts = left_values(check, here)
    rights = check.right.arguments if _is(check.right, "normal") or _is(check.right, "poisson") else (check.right,)
    if isinstance(check.right, Call) and check.right.function == "categorical" and check.right.generator is not None:
        indices = (*indices[:-1], check.right.generator.names[0])  # the state has this name on the right side
        rights = check.right.arguments
    if len(lefts) != len(rights):
        return True
    with np.errstate(all="ignore"):
        try:
            return any(_differ(left, right, indices, here) for left, right in zip(lefts, rights, strict=True))
        except (IndexError, KeyError, ValueError):
            return True  # an index beyond its axis


def _assuming(model: OracleModel, check: CheckDeclaration) -> OracleModel:
    """The model with the parameters that a check's `where` names as it says."""
    for option in check.where:
        name = option.key.name
        match option.value:
            case Number(text):
                value = np.full_like(model.parameters[name], float(text))
            case Name(other):
                value = model.parameters[other]
            case Transpose(Name(other)):
                value = model.parameters[other].T
            case _:
                raise AssertionError(option)
        model = model.with_parameter(name, value)
    return model


def _is(node: Expression, function: str) -> bool:
    return isinstance(node, Call) and node.function == function


def _differ(left: Array, right: Expression, indices: tuple[str, ...], here: Here) -> bool:
    """`left` has the axes of the indices, then cases; where it is not a number there is nothing to compare."""
    for at in itertools.product(*(range(n) for n in left.shape[: len(indices)])):
        value = np.asarray(value_of(right, here, dict(zip(indices, at, strict=True))), dtype=float)
        value = np.broadcast_to(value, left[at].shape) if value.shape != left[at].shape else value
        if not np.isnan(left[at]).any() and not np.allclose(value, left[at], rtol=1e-6, atol=1e-7):
            return True
    return False


def left_values(check: CheckDeclaration, here: Here) -> tuple[tuple[str, ...], tuple[Array, ...]]:
    """The free indices, and the left side's values for each value of them and each case."""
    model, state = here.model, here.state
    if isinstance(check.left, Call) and check.left.function in ("q", "up", "wake", "sleep"):
        return plain_q.left_values(here, check.left)
    match check.left:
        case Name("energy" | "Z" | "log_joint" | "bound") | Call("free_energy" | "entropy" | "kl" | "expect"):
            return (), (_by_case(value_of(check.left, here, {})),)
        case Call("mean_field", (Index(name, at),)):
            return _names(at), (np.moveaxis(oracle.conditional_mean(model, name, state), 0, -1),)
        case Call("mean", (Index(name, at),), given=given):
            return _names(at), (_mean(model, name, given, state)[0],)
        case Call("p", (Compare("=", Call("word", (Name(name),)), Name(k)),), given=given):
            return (k,), (_mean(model, name, given, state)[0] / state[name].sum(-1),)
        case Call("p", (Compare("=", Index() | Name() as unit, value),), given=given):
            entries = unit.indices if isinstance(unit, Index) else ()
            if model.layers[unit.name].unit == "softmax":
                return _names((*entries, value)), (_mean(model, unit.name, given, state)[0],)
            number = float(value_of(value, here, {}))
            names = [item.name for item in given or () if isinstance(item, Name)]
            if model.arrows and "rest" not in names:
                return _names(entries), (_listed(model, unit.name, number, names, state),)
            return _names(entries), (_density(model, unit.name, state, number),)
        case Call("p", (Index(name, at),), given=given):
            if _is(check.right, "normal"):
                return _names(at), _mean(model, name, given, state)
            if _is(check.right, "poisson"):
                return _names(at), _mean(model, name, given, state)[:1]
            return _names(at), (_density(model, name, state, None),)
        case Call("p" | "counts p" as function, items, given=given):
            names = tuple(item.name for item in items if isinstance(item, Name))
            return (), (_joint(here, names, tuple(g.name for g in given or () if isinstance(g, Name)), function),)
        case Call("gradient", (Index(name, at),)):
            found = [_gradient(model, case, name) for case in here.data]
            return _names(at), (_off(model, name, np.tensordot(DATA, np.array(found), 1)[..., None]),)
        case Call("d", (body, Index(name, at))):
            return _names(at), (_off(model, name, _derivative(body, name, _names(at), here)),)
        case _:
            raise AssertionError(check.left)


def _by_case(value: Any) -> Array:
    return np.broadcast_to(np.asarray(value, dtype=float), (CASES,))


def _joint(here: Here, names: tuple[str, ...], given: tuple[str, ...], function: str) -> Array:
    """The probability of whole layers, for each case."""
    model, state = here.model, here.state
    out = []
    for c in range(CASES):
        own = {n: state[n][c : c + 1] for n in (*names, *given)}
        some = {n: state[n][c : c + 1] for n in (*given, *model.names("given"))}
        side = replace(model, lengths=lengths_of(model, state, c))
        log_p = oracle.table(side, own).log_sum - oracle.table(side, some).log_sum
        for n in names if function == "counts p" else ():
            if model.layers[n].unit == "replicated_softmax":
                counts = state[n][c]
                log_p += np.log(gamma(counts.sum() + 1)) - np.log(gamma(counts + 1)).sum()
        out.append(np.exp(log_p))
    return np.array(out)


def _density(model: OracleModel, name: str, state: dict[str, Array], value: float | None) -> Array:
    """The probability (density) of each unit's state, or of `value`, given all other units, (*dims, cases)."""
    layer = model.layers[name]
    out = np.zeros((*layer.dims, CASES))
    for unit in np.ndindex(*layer.dims):
        where = (slice(None), *unit)
        sd = float(model.parameters[layer.sigma][unit]) if layer.sigma else 1.0
        nodes, weights = oracle.unit_nodes(layer, sd)

        def minus(x: Any, where: Any = where) -> Array:
            changed = state[name].copy()
            changed[where] = x
            return -oracle.energy(model, {**state, name: changed})

        total = np.array([w + minus(x) for x, w in zip(nodes, weights, strict=True)])
        own = minus(state[name][where] if value is None else value)
        out[unit] = np.exp(own - np.logaddexp.reduce(total, 0))
    return out


def _listed(model: OracleModel, name: str, value: float, given: list[str], state: dict[str, Array]) -> Array:
    """The probability that each unit is in a state given the layers listed, all others summed out, (*dims, cases)."""
    rows = []
    for c in range(CASES):
        every = oracle.table(model, {n: state[n][c : c + 1] for n in (*given, *model.names("given"))})
        rows.append(np.tensordot(every.probability, every.state[name] == value, (0, 0)))
    return np.moveaxis(np.array(rows), 0, -1)


def stage_of(model: OracleModel, upper: str, left: Expression) -> OracleModel:
    """The machine of a stage of greedy pretraining, for the conditional on the left.

    Every edge counts twice for a layer that has undirected edges both downward and upward in the whole model.
    """
    order = list(model.layers)
    near = {n: {o for e in model.edges if n in e.layers for o in e.layers} - {n} for n in order}
    edges = [
        *model.edges,
        *(OracleEdge(*(a.child, a.parent)[:: -1 if a.turned else 1], a.weight) for a in model.arrows),
    ]
    names = {n for e in edges if upper in e.layers for n in e.layers if order.index(n) <= order.index(upper)}

    def times(name: str) -> int:
        below = any(order.index(o) < order.index(name) for o in near[name])
        above = any(order.index(o) > order.index(name) for o in near[name])
        return 2 if below and above and model.layers[name].role == "hidden" else 1

    of = next((n.name for n in _walk(left) if isinstance(n, Index | Name) and n.name in model.layers), upper)
    kept = tuple(e for e in edges if names >= set(e.layers) for _ in range(times(of)))
    layers = {n: replace(x, role="visible" if n != upper else x.role) for n, x in model.layers.items() if n in names}
    return replace(model, layers=layers, edges=kept, arrows=(), recognition=(), recognition_bias={})


def _walk(node: Any) -> Iterator[Expression]:
    yield node
    match node:
        case Call(_, arguments):
            for argument in arguments:
                yield from _walk(argument)
        case Compare(_, left, right):
            yield from _walk(left)
            yield from _walk(right)
        case _:
            pass


def _gradient(model: OracleModel, case: dict[str, Array], name: str) -> Array:
    found = {} if model.arrows else oracle.gradient(model, case)
    return found[name] if name in found else oracle.finite_gradient(model, case, name)


def _off(model: OracleModel, name: str, values: Array) -> Array:
    """The values by entries of a parameter, not a number on the diagonal of a lateral weight."""
    lateral = [e for e in model.edges if e.weight == name and e.first == e.second]
    if not lateral:
        return values
    layer = model.layers[lateral[0].first]
    half, out = len(layer.dims), values.copy()
    told = half - (layer.unit == "softmax")
    for at in np.ndindex(*values.shape[:-1]):
        if at[:told] == at[half : half + told]:
            out[at] = np.nan
    return out


def _names(at: tuple[Expression, ...]) -> tuple[str, ...]:
    return tuple(i.name for i in at if isinstance(i, Name))


def _derivative(body: Expression, name: str, entries: tuple[str, ...], here: Here) -> Array:
    """By central differences, (*shape, cases); the body may hold the indices of the entry."""
    out = np.zeros((*here.model.parameters[name].shape, CASES))
    for at in np.ndindex(*out.shape[:-1]):
        out[at] = slope_of(body, name, at, here, dict(zip(entries, at, strict=True)))
    return out


def _mean(model: OracleModel, name: str, given: Any, state: dict[str, Array]) -> tuple[Array, ...]:
    """Mean of each unit's state given the layers listed, by summing out all others, (*dims, cases); and deviations."""
    layer = model.layers[name]
    listed = [item.name for item in given or ()]
    if "rest" in listed:
        mean = oracle.conditional_mean(model, name, state)
    else:
        rows = []
        for c in range(CASES):
            side = replace(model, lengths=lengths_of(model, state, c))
            every = oracle.table(side, {n: state[n][c : c + 1] for n in (*listed, *model.names("given"))})
            rows.append(np.tensordot(every.probability, every.state[name], (0, 0)))
        mean = np.array(rows)
    mean = np.moveaxis(mean, 0, -1)
    if layer.unit != "gaussian":
        return (mean,)
    _, curvature = oracle._quadratic(model, name, state)
    return mean, np.moveaxis(1 / np.sqrt(curvature), 0, -1)


def _with_averages(rng: np.random.Generator, here: Here, phase: str) -> Here:
    """Weighted states for `data`, three random visible cases each with its posterior, and for `model` likewise.

    In the wake phase the posterior is q.

    The model's states are those given each case's given layers and lengths.
    """
    model = here.model
    rows = random_state(model, rng, len(DATA))
    seen = (*model.names("visible"), *model.names("given"))
    cases = tuple({n: rows[n][c : c + 1] for n in seen} for c in range(len(DATA)))
    sides = [replace(model, lengths=lengths_of(model, rows, c)) for c in range(len(DATA))]
    data = [plain_q.weighted(here, case) if phase == "wake" else _weighted(model, case) for case in cases]
    free = [_weighted(s, {n: x[n] for n in model.names("given")}) for s, x in zip(sides, cases, strict=True)]
    return replace(here, averages={"data": _mixed(here, data), "model": _mixed(here, free)}, data=cases)


def _mixed(here: Here, parts: list[tuple[Array, dict[str, Array]]]) -> tuple[Array, Here]:
    weights = np.concatenate([share * w for share, (w, _) in zip(DATA, parts, strict=True)])
    states = {n: np.concatenate([state[n] for _, state in parts]) for n in here.model.layers}
    return weights, replace(here, arrays={**here.model.parameters, **states})


def _weighted(model: OracleModel, clamp: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
    """All states of the layers that are not clamped, and their probabilities.

    Gaussian units, where they are independent given the others, are at the nodes of a quadrature that is exact to
    degree 9.
    """
    every = oracle.table(model, clamp)
    weight, state = every.probability, dict(every.state)
    x, w = np.polynomial.hermite_e.hermegauss(5)
    for name, layer in model.layers.items():
        if name in clamp or not oracle._closes(model, name):
            continue
        for unit in np.ndindex(*layer.dims):
            sd = model.parameters[layer.sigma or ""][unit]
            state = {n: np.repeat(values, len(x), axis=0) for n, values in state.items()}
            state[name][(slice(None), *unit)] += sd * np.tile(x, len(weight))
            weight = np.outer(weight, w / w.sum()).ravel()
    return weight, state
