"""Checks evaluated the plain way, for tests: every state enumerated by the oracle, formulas walked with NumPy.

Nothing here is shared with the prover or with its numerical evaluation: the left side of a check is what its words
say (a conditional is a sum over states, a gradient an average), the right side is its tree, evaluated.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import oracle
from numpy.typing import NDArray
from oracle import OracleEdge, OracleLayer, OracleModel

from pgmdsl.compiler.model import Model, Parameter
from pgmdsl.grammar.syntax import (
    Binary,
    Call,
    CheckDeclaration,
    Compare,
    Conditional,
    Expression,
    Index,
    Name,
    Negate,
    Number,
)

CASES = 4
DATA = (0.5, 0.3, 0.2)
UFUNCS: dict[str, Any] = {
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "abs": np.abs,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
}
COMPARE: dict[str, Any] = {"==": np.equal, "!=": np.not_equal, "<": np.less, ">": np.greater}

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Here:
    """Arrays by name (layers with a first axis of cases), and sizes.

    In gradients, `averages` has the weighted states of data(...) and model(...), and `data` the visible cases.
    """

    arrays: Mapping[str, Array]
    sizes: Mapping[str, int]
    averages: Mapping[str, tuple[Array, Here]] = field(default_factory=dict)
    data: tuple[dict[str, Array], ...] = ()


def oracle_model(model: Model, rng: np.random.Generator) -> OracleModel:
    """The model with random parameters, none 0, standard deviations other than 1; what the file fixes is as it says."""
    sizes = {name: value or 0 for name, value in model.sizes.items()}

    def shape(axes: Any) -> tuple[int, ...]:
        return tuple(int(size.evaluate(sizes)) for size in axes)

    def values(p: Parameter) -> Array:
        if p.fixed and p.initial.kind == "constant":
            return np.full(shape(p.shape), p.initial.value)
        return rng.uniform(0.6, 1.8, shape(p.shape)) if p.kind == "sigma" else rng.normal(0, 0.8, shape(p.shape))

    parameters = {p.name: values(p) for p in model.parameters.values()}
    layers = {
        layer.name: OracleLayer(layer.name, layer.role, layer.unit.name, shape(layer.dims), layer.bias, layer.sigma)
        for layer in model.layers.values()
    }
    return OracleModel(layers, tuple(OracleEdge(*e.layers, e.weight) for e in model.edges), parameters)


def random_state(
    model: OracleModel, rng: np.random.Generator, cases: int, means: tuple[str, ...] = ()
) -> dict[str, Array]:
    """Random states, (cases, *dims); random means for the layers in `means`."""
    out = {}
    for name, layer in model.layers.items():
        shape = (cases, *layer.dims)
        match layer.unit, name in means:
            case "gaussian", _:
                out[name] = rng.normal(0, 1.5, shape)
            case "softmax", True:
                out[name] = rng.dirichlet(np.ones(shape[-1]), shape[:-1])
            case "softmax", False:
                out[name] = np.eye(shape[-1])[rng.integers(shape[-1], size=shape[:-1])]
            case "binary", True:
                out[name] = rng.uniform(0.1, 0.9, shape)
            case "binary", False:
                out[name] = rng.integers(2, size=shape).astype(float)
            case _, True:
                out[name] = rng.uniform(-0.9, 0.9, shape)
            case _:
                out[name] = rng.choice([-1.0, 1.0], shape)
    return out


def differs(model: Model, check: CheckDeclaration, seed: int) -> bool:
    """Whether the two sides of a check differ somewhere, at a few random points, at any value of its indices."""
    rng = np.random.default_rng(seed)
    small = oracle_model(model, rng)
    means = small.names("hidden") if _is(check.left, "mean_field") else ()
    state = random_state(small, rng, CASES, means)
    sizes = {name: value or 0 for name, value in model.sizes.items()}
    here = Here({**small.parameters, **state}, sizes)
    if _is(check.left, "gradient"):
        here = _with_averages(small, rng, here)
    indices, lefts = left_values(small, check.left, state, here)
    rights = check.right.arguments if _is(check.right, "normal") else (check.right,)
    if len(lefts) != len(rights):
        return True
    with np.errstate(all="ignore"):
        try:
            return any(_differ(left, right, indices, here) for left, right in zip(lefts, rights, strict=True))
        except (IndexError, KeyError, ValueError):
            return True  # an index beyond its axis


def _is(node: Expression, function: str) -> bool:
    return isinstance(node, Call) and node.function == function


def _differ(left: Array, right: Expression, indices: tuple[str, ...], here: Here) -> bool:
    """`left` has the axes of the indices, then cases."""
    for at in itertools.product(*(range(n) for n in left.shape[: len(indices)])):
        value = np.asarray(value_of(right, here, dict(zip(indices, at, strict=True))), dtype=float)
        value = np.broadcast_to(value, left[at].shape) if value.shape != left[at].shape else value
        if not np.allclose(value, left[at], rtol=1e-6, atol=1e-7):
            return True
    return False


def left_values(
    model: OracleModel, left: Expression, state: dict[str, Array], here: Here
) -> tuple[tuple[str, ...], tuple[Array, ...]]:
    """The free indices, and the left side's values for each value of them and each case."""
    match left:
        case Name("energy"):
            return (), (oracle.energy(model, state),)
        case Call("free_energy", layers):
            names = [layer.name for layer in layers if isinstance(layer, Name)]
            clamps = [{n: state[n][c : c + 1] for n in names} for c in range(CASES)]
            return (), (np.array([oracle.free_energy(model, clamp) for clamp in clamps]),)
        case Call("mean_field", (Index(name, at),)):
            return _names(at), (np.moveaxis(oracle.conditional_mean(model, name, state), 0, -1),)
        case Call("mean", (Index(name, at),), given=given):
            return _names(at), (_mean(model, name, given, state)[0],)
        case Call("p", (Compare("=", Index() | Name() as unit, value),), given=given):
            mean = _mean(model, unit.name, given, state)[0]
            entries = unit.indices if isinstance(unit, Index) else ()
            match model.layers[unit.name].unit, value:
                case "softmax", Name():
                    return _names((*entries, value)), (mean,)
                case "spin", Number("1"):
                    return _names(entries), ((1 + mean) / 2,)
                case "spin", _:
                    return _names(entries), ((1 - mean) / 2,)
                case _, Number("1"):
                    return _names(entries), (mean,)
                case _:
                    return _names(entries), (1 - mean,)
        case Call("p", (Index(name, at),), given=given):
            return _names(at), _mean(model, name, given, state)
        case Call("gradient", (Index(name, at),)):
            found = [oracle.gradient(model, case)[name] for case in here.data]
            return _names(at), (np.tensordot(DATA, np.array(found), 1)[..., None],)
        case Call("d", (body, Index(name, at))):
            return _names(at), (_derivative(model, body, name, state, here),)
        case _:
            raise AssertionError(left)


def _names(at: tuple[Expression, ...]) -> tuple[str, ...]:
    return tuple(i.name for i in at if isinstance(i, Name))


def _derivative(model: OracleModel, body: Expression, name: str, state: dict[str, Array], here: Here) -> Array:
    """By central differences, (*shape, cases)."""
    value = model.parameters[name]
    out = np.zeros((*value.shape, CASES))
    for at in np.ndindex(*value.shape):
        step = np.zeros_like(value)
        step[at] = 1e-5
        up, down = (left_values(model.with_parameter(name, value + s), body, state, here)[1][0] for s in (step, -step))
        out[at] = (up - down) / 2e-5
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
            every = oracle.table(model, {n: state[n][c : c + 1] for n in listed})
            rows.append(np.tensordot(every.probability, every.state[name], (0, 0)))
        mean = np.array(rows)
    mean = np.moveaxis(mean, 0, -1)
    if layer.unit != "gaussian":
        return (mean,)
    _, curvature = oracle._quadratic(model, name, state)
    return mean, np.moveaxis(1 / np.sqrt(curvature), 0, -1)


def _with_averages(model: OracleModel, rng: np.random.Generator, here: Here) -> Here:
    """Weighted states for `model`, and for `data`: three random visible cases, each with its posterior."""
    rows = random_state(model, rng, len(DATA))
    cases = tuple({n: rows[n][c : c + 1] for n in model.names("visible")} for c in range(len(DATA)))
    parts = [_weighted(model, case) for case in cases]
    weights = np.concatenate([share * w for share, (w, _) in zip(DATA, parts, strict=True)])
    states = {n: np.concatenate([state[n] for _, state in parts]) for n in model.layers}
    every, all_states = _weighted(model, {})
    averages = {
        "data": (weights, Here({**model.parameters, **states}, here.sizes)),
        "model": (every, Here({**model.parameters, **all_states}, here.sizes)),
    }
    return replace(here, averages=averages, data=cases)


def _weighted(model: OracleModel, clamp: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
    """All states of the layers that are not clamped, and their probabilities.

    Real units, independent given the discrete ones, are at the nodes of a quadrature that is exact to degree 9.
    """
    every = oracle.table(model, clamp)
    weight, state = every.probability, dict(every.state)
    x, w = np.polynomial.hermite_e.hermegauss(5)
    for name, layer in model.layers.items():
        if layer.unit != "gaussian" or name in clamp:
            continue
        for unit in np.ndindex(*layer.dims):
            sd = model.parameters[layer.sigma or ""][unit]
            state = {n: np.repeat(values, len(x), axis=0) for n, values in state.items()}
            state[name][(slice(None), *unit)] += sd * np.tile(x, len(weight))
            weight = np.outer(weight, w / w.sum()).ravel()
    return weight, state


def value_of(node: Expression, here: Here, at: dict[str, int]) -> Any:
    """The value of a formula: a number, or one for each case."""
    match node:
        case Number(text):
            return float(text)
        case Name("pi"):
            return np.pi
        case Name(name):
            return at[name] if name in at else here.sizes[name]
        case Index(name, entries):
            array = here.arrays[name]
            where = tuple(at[e.name] for e in entries if isinstance(e, Name))
            return array[(..., *where)] if array.ndim > len(where) else array[where]
        case Negate(operand):
            return -value_of(operand, here, at)
        case Binary(op, left, right):
            a, b = np.asarray(value_of(left, here, at), float), np.asarray(value_of(right, here, at), float)
            return {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "^": np.power}[op](a, b)
        case Conditional(value, Compare(op, left, right), otherwise):
            test = COMPARE[op](value_of(left, here, at), value_of(right, here, at))
            return np.where(test, value_of(value, here, at), value_of(otherwise, here, at))
        case Call("data" | "model" as kind, (body,)):
            weights, states = here.averages[kind]
            return float(np.sum(weights * value_of(body, states, at)))
        case Call("softmax", (body,), generator=generator) if generator and isinstance(generator.at, Name):
            values = [np.exp(value_of(body, here, case)) for case in _cases(body, generator, here, at)]
            return values[at[generator.at.name]] / sum(values)
        case Call("sum" | "prod" as function, (body,), generator=generator) if generator:
            total: Any = 0.0 if function == "sum" else 1.0
            for case in _cases(body, generator, here, at):
                value = value_of(body, here, case)
                total = total + value if function == "sum" else total * value
            return total
        case Call(function, (argument,)):
            return UFUNCS[function](value_of(argument, here, at))
        case _:
            raise AssertionError(node)


def _cases(body: Expression, generator: Any, here: Here, at: dict[str, int]) -> list[dict[str, int]]:
    lengths = [_length(body, name, here) for name in generator.names]
    cases = [{**at, **dict(zip(generator.names, v, strict=True))} for v in itertools.product(*map(range, lengths))]
    if generator.condition is None:
        return cases
    test = generator.condition
    return [c for c in cases if COMPARE[test.op](value_of(test.left, here, c), value_of(test.right, here, c))]


def _length(node: Any, index: str, here: Here) -> int:
    """The length of an axis where the index is used."""
    stack = [node]
    while stack:
        item = stack.pop()
        match item:
            case Index(name, entries):
                array = here.arrays[name]
                for k, entry in enumerate(entries):
                    if entry == Name(index):
                        return int(array.shape[array.ndim - len(entries) + k])
            case Call(_, arguments):
                stack.extend(arguments)
            case Binary(_, left, right) | Compare(_, left, right):
                stack.extend((left, right))
            case Negate(operand):
                stack.append(operand)
            case Conditional(value, condition, otherwise):
                stack.extend((value, condition, otherwise))
            case _:
                pass
    raise KeyError(index)
