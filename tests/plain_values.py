"""Formulas evaluated the plain way, for tests: trees walked with NumPy, states enumerated by the oracle."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import oracle
import plain_q
from numpy.typing import NDArray
from oracle import OracleModel
from scipy.special import gamma, log_ndtr

from pgmdsl.grammar.syntax import Binary, Call, Compare, Conditional, Expression, Index, Name, Negate, Number

Array = NDArray[np.float64]
UFUNCS: dict[str, Any] = {
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "abs": np.abs,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "factorial": lambda x: gamma(x + 1),
    "log_normal_cdf": log_ndtr,
}
COMPARE: dict[str, Any] = {
    "==": np.equal, "!=": np.not_equal, "<": np.less, ">": np.greater, "<=": np.less_equal, ">=": np.greater_equal,
}  # fmt: skip


@dataclass(frozen=True)
class Here:
    """A model, arrays by name (layers with a first axis of cases), and sizes.

    In gradients, `averages` has the weighted states of data(...) and model(...), and `data` the visible cases.
    """

    model: OracleModel
    arrays: Mapping[str, Array]
    sizes: Mapping[str, int]
    averages: Mapping[str, tuple[Array, Here]] = field(default_factory=dict)
    data: tuple[dict[str, Array], ...] = ()
    means: Mapping[str, Array] = field(default_factory=dict)  # of q, where it is the mean-field distribution

    @property
    def state(self) -> dict[str, Array]:
        return {name: self.arrays[name] for name in self.model.layers}


def lengths_of(model: OracleModel, state: Mapping[str, Array], c: int) -> dict[str, int]:
    """The lengths of the documents of one case."""
    return {n: int(state[n][c].sum()) for n, x in model.layers.items() if x.unit == "replicated_softmax"}


def value_of(node: Expression, here: Here, at: dict[str, int]) -> Any:
    """The value of a formula: a number, or one for each case."""
    match node:
        case Number(text):
            return float(text)
        case Name("pi"):
            return np.pi
        case Name("energy"):
            return oracle.energy(here.model, here.state)
        case Name("Z"):
            return _partition(here)
        case Name("log_joint"):
            return -oracle.energy(here.model, here.state) - np.log(_partition(here))
        case Name("bound"):
            log_q = Call("log q", ())
            minus = Binary("-", Negate(Name("energy")), log_q)
            return value_of(Call("expect", (minus,), under="q"), here, at) - np.log(_partition(here))
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
        case Call():
            return _call_value(node, here, at)
        case _:
            raise AssertionError(node)


def _call_value(node: Call, here: Here, at: dict[str, int]) -> Any:
    match node:
        case Call("log q" | "entropy" | "kl" | "expect" | "mean_field" | "up"):
            return _q_value(node, here, at)
        case Call("d", (body, Index(name, entries))):
            return slope_of(body, name, tuple(at[e.name] for e in entries if isinstance(e, Name)), here, at)
        case Call("free_energy", items):
            names = [item.name for item in items if isinstance(item, Name)]
            cases = range(len(next(iter(here.state.values()))))
            clamps = [{n: here.state[n][c : c + 1] for n in names} for c in cases]
            sides = [replace(here.model, lengths=lengths_of(here.model, here.state, c)) for c in cases]
            return np.array([oracle.free_energy(s, clamp) for s, clamp in zip(sides, clamps, strict=True)])
        case Call("length", (Name(name),)):
            return here.arrays[name].sum(-1)
        case Call("sum", (body,), over=layers) if layers:
            return _over(body, layers, here, at)
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


def _partition(here: Here) -> Array:
    """Z of each case: given its given layers, for the lengths of its documents."""
    out = []
    for c in range(len(next(iter(here.state.values())))):
        side = replace(here.model, lengths=lengths_of(here.model, here.state, c))
        given = {n: here.state[n][c : c + 1] for n in here.model.names("given")}
        out.append(np.exp(oracle.table(side, given).log_sum))
    return np.array(out)


def _over(body: Expression, layers: tuple[str, ...], here: Here, at: dict[str, int]) -> Array:
    """The sum over all states of some layers, or the integral, for each case."""
    out = []
    for c in range(len(next(iter(here.state.values())))):
        side = replace(here.model, lengths=lengths_of(here.model, here.state, c))
        states, log_weight = oracle.joint_nodes(side, layers)
        rest = {n: np.repeat(x[c : c + 1], len(log_weight), 0) for n, x in here.state.items()}
        means = {n: np.repeat(x[c : c + 1], len(log_weight), 0) for n, x in here.means.items()}
        arrays = {**here.arrays, **rest, **states, **plain_q.fields(side, means)}
        values = value_of(body, replace(here, model=side, arrays=arrays, means=means), at)
        out.append(np.sum(np.exp(log_weight) * values))
    return np.array(out)


def _q_value(node: Call, here: Here, at: dict[str, int]) -> Any:
    """What is of q, or of the up-pass."""
    match node:
        case Call("log q", ()):
            return plain_q.log_q(here)
        case Call("entropy", _):
            return -value_of(Call("expect", (Call("log q", ()),), under="q"), here, at)
        case Call("kl", (_, Call("p", _, given=known))):
            inner = Binary("+", Call("log q", ()), Name("energy"))
            free = np.asarray(value_of(Call("free_energy", known or ()), here, at))
            return value_of(Call("expect", (inner,), under="q"), here, at) - free
        case Call("expect", (body,)):
            return _expected(body, here, at)
        case Call("mean_field", (Index(name, entries),)):
            return here.means[name][(..., *(at[e.name] for e in entries if isinstance(e, Name)))]
        case Call("up", (Index(name, entries),)):
            return plain_q.up(here, name)[(..., *(at[e.name] for e in entries if isinstance(e, Name)))]
        case _:
            raise AssertionError(node)


def slope_of(body: Expression, name: str, where: tuple[int, ...], here: Here, at: dict[str, int]) -> Any:
    """The derivative by one entry, by a central difference; both places of a lateral weight's entry move."""
    value = here.model.parameters[name]
    step = np.zeros_like(value)
    step[where] = 1e-5
    if any(e.weight == name and e.first == e.second for e in here.model.edges):
        step[where[len(where) // 2 :] + where[: len(where) // 2]] = 1e-5
    moved = [here.model.with_parameter(name, value + s) for s in (step, -step)]
    up, down = (
        value_of(body, replace(here, model=m, arrays={**here.arrays, name: m.parameters[name]}), at) for m in moved
    )
    return (up - down) / 2e-5


def _expected(body: Expression, here: Here, at: dict[str, int]) -> Array:
    """The expectation under q of each case: all hidden states, weighed."""
    out = []
    hidden = here.model.names("hidden")
    for c in range(len(next(iter(here.state.values())))):
        states, _ = oracle.joint_nodes(here.model, hidden)
        count = len(states[hidden[0]])
        rest = {n: np.repeat(x[c : c + 1], count, 0) for n, x in here.state.items() if n not in hidden}
        means = {n: np.repeat(x[c : c + 1], count, 0) for n, x in here.means.items()}
        arrays = {**here.arrays, **rest, **states, **plain_q.fields(here.model, means)}
        inner = replace(here, arrays=arrays, means=means)
        out.append(np.sum(np.exp(plain_q.log_q(inner)) * value_of(body, inner, at)))
    return np.array(out)


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
