"""The distribution q of hidden layers, the plain way: every hidden state weighed.

With arrows of recognition, q draws layers along them, and the others from the model's conditional given all else;
otherwise its units are independent and have the means of `Here.means`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle
from numpy.typing import NDArray
from oracle import OracleArrow, OracleModel

from pgmdsl.grammar.syntax import Call, Compare, Expression, Index, Name, Negate, Number
from pgmdsl.grammar.walk import walk

if TYPE_CHECKING:
    from plain_values import Here

Array = NDArray[np.float64]
ENDS = {"binary": (0.0, 1.0), "spin": (-1.0, 1.0)}
STEP = 1e-5


def speaks_of_q(left: Expression) -> bool:
    """Whether the left side is of q."""
    names = {node.function if isinstance(node, Call) else node for node, _ in walk(left)}
    return bool(names & {"q", "entropy", "kl", "expect", Name("bound")})


def uses_means(model: OracleModel, left: Expression) -> bool:
    """Whether names of hidden layers stand for means in a check."""
    if model.recognition_bias or not speaks_of_q(left):
        return False
    return not (isinstance(left, Call) and left.function == "q" and not isinstance(left.arguments[0], Compare))


def fields(model: OracleModel, means: dict[str, Array]) -> dict[str, Array]:
    """The fields at which hidden units have these means, under the names that derived formulas have for them."""
    out = {}
    for name in means.keys() & model.names("hidden"):
        match model.layers[name].unit:
            case "binary":
                out[f"logit({name})"] = np.log(means[name] / (1 - means[name]))
            case "spin":
                out[f"logit({name})"] = np.arctanh(means[name])
            case "softmax":
                out[f"logit({name})"] = np.log(means[name])
    return out


def log_q(here: Here) -> Array:
    """log q of the hidden layers of each case, which all have states here."""
    model, state = here.model, here.state
    total = np.zeros(len(next(iter(state.values()))))
    for name in model.names("hidden"):
        x = state[name].reshape(len(total), -1)
        if not model.recognition_bias:
            m = here.means[name].reshape(len(total), -1)
            if model.layers[name].unit in ENDS:
                low, high = ENDS[model.layers[name].unit]
                total = total + np.log(np.where(x == high, m - low, high - m) / (high - low)).sum(1)
            else:
                total = total + (x * np.log(m)).sum(1)
        elif name in model.recognition_bias:
            arrows = tuple(arrow for arrow in model.recognition if arrow.child == name)
            total = total + oracle.log_conditional(model, name, arrows, model.recognition_bias[name], state)
        else:
            every, _ = oracle.layer_nodes(model, name)
            others = {n: np.repeat(values, len(every), 0) for n, values in state.items()}
            others[name] = np.tile(every, (len(total), *([1] * (every.ndim - 1))))
            minus = -oracle.energy(model, others).reshape(len(total), len(every))
            total = total - oracle.energy(model, state) - np.logaddexp.reduce(minus, 1)
    return total


def weighted(here: Here, case: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
    """All hidden states of one case, and their probabilities under q."""
    hidden = here.model.names("hidden")
    states, _ = oracle.joint_nodes(here.model, hidden)
    count = len(states[hidden[0]])
    whole = {**{n: np.repeat(x, count, 0) for n, x in case.items()}, **states}
    means = {n: np.repeat(x[:1], count, 0) for n, x in here.means.items()}
    return np.exp(log_q(replace(here, arrays={**here.arrays, **whole}, means=means))), whole


def left_values(here: Here, left: Call) -> tuple[tuple[str, ...], tuple[Array, ...]]:
    """The free indices of `q(...)`, `up(...)`, `wake(...)` or `sleep(...)`, and its values."""
    if left.function == "q":
        return probability(here, left)
    (unit,) = left.arguments
    assert isinstance(unit, Index)
    indices = tuple(i.name for i in unit.indices if isinstance(i, Name))
    if left.function == "up":
        return indices, (np.moveaxis(up(here, unit.name), 0, -1),)
    return indices, (slope(here, unit.name, left.function)[..., None],)


def probability(here: Here, left: Any) -> tuple[tuple[str, ...], tuple[Array, ...]]:
    """`q(h[j] = 1 | v)`, `q(h1, h2 | v)`: what is listed is held, all else summed out."""
    model, state = here.model, here.state
    given = [item.name for item in left.given or ()]
    data = [n for n in model.layers if n not in model.names("hidden")]
    event = left.arguments[0]
    rows = []
    for c in range(len(next(iter(state.values())))):
        side = replace(here, means={n: x[c : c + 1] for n, x in here.means.items()})
        weight, every = weighted(side, {n: state[n][c : c + 1] for n in data})

        def held(names: Any, c: int = c, every: Any = every, count: int = len(weight)) -> Array:
            keep = np.ones(count, bool)
            for n in names:
                if n in model.names("hidden"):
                    keep &= (every[n] == state[n][c]).reshape(len(keep), -1).all(1)
            return keep

        weight = weight * held(given)
        if isinstance(event, Compare) and isinstance(event.right, Name):  # a site's state
            rows.append(np.tensordot(weight, every[event.left.name], (0, 0)) / weight.sum())
        elif isinstance(event, Compare):
            value = float(event.right.text) if isinstance(event.right, Number) else _negative(event.right)
            rows.append(np.tensordot(weight, every[event.left.name] == value, (0, 0)) / weight.sum())
        else:
            rows.append(weight @ held([item.name for item in left.arguments]) / weight.sum())
    places = () if not isinstance(event, Compare) else event.left.indices if isinstance(event.left, Index) else ()
    places = (*places, event.right) if isinstance(event, Compare) and isinstance(event.right, Name) else places
    indices = tuple(i.name for i in places if isinstance(i, Name))
    return indices, (np.moveaxis(np.array(rows), 0, -1),)


def _negative(node: Any) -> float:
    assert isinstance(node, Negate)
    assert isinstance(node.operand, Number)
    return -float(node.operand.text)


def _heard(model: OracleModel, name: str) -> list[OracleArrow]:
    """What a layer hears in the up-pass: lower layers that the pass reaches from the data."""
    if model.recognition_bias.get(name):
        return [arrow for arrow in model.recognition if arrow.child == name]
    order = list(model.layers)
    down = [OracleArrow(a.parent, a.child, a.weight, turned=not a.turned) for a in model.arrows if a.parent == name]
    down += [OracleArrow(a.child, a.parent, a.weight, turned=a.turned) for a in model.arrows if a.child == name]
    down += [OracleArrow(name, e.first, e.weight, turned=True) for e in model.edges if e.second == name]
    down += [OracleArrow(name, e.second, e.weight) for e in model.edges if e.first == name]
    lower = [arrow for arrow in down if order.index(arrow.parent) < order.index(name)]
    return [a for a in lower if model.layers[a.parent].role != "hidden" or _heard(model, a.parent)]


def up(here: Here, name: str) -> Array:
    """The up-pass's means of a layer of binary units, (cases, *dims)."""
    model = here.model
    layer = model.layers[name]
    assert layer.unit == "binary"
    arrows = _heard(model, name)
    if model.recognition_bias.get(name):
        bias, times = model.recognition_bias[name], 1
    else:
        order, near = list(model.layers), [e for e in model.edges if name in e.layers]
        above = any(order.index(n) > order.index(name) for e in near for n in e.layers)
        below = any(order.index(n) < order.index(name) for e in near for n in e.layers)
        bias, times = layer.bias, 2 if above and below else 1
    total: Any = 0.0
    for arrow in arrows:
        hidden = model.layers[arrow.parent].role == "hidden"
        lower = up(here, arrow.parent) if hidden else oracle.statistic(model, arrow.parent, here.state[arrow.parent])
        lower = lower.reshape(len(lower), -1)
        w = model.parameters[arrow.weight]
        w = w.reshape(lower.shape[1], -1) if arrow.turned else w.reshape(-1, lower.shape[1]).T
        total = total + times * lower @ w
    total = total + (model.parameters[bias].ravel() if bias else 0.0)
    return (1 / (1 + np.exp(-total))).reshape(len(total), *layer.dims)


def slope(here: Here, name: str, phase: str) -> Array:
    """The slope of what a phase of wake-sleep raises, by central differences, over the weighted states of `here`."""
    model = here.model
    weights, inner = here.averages["data" if phase == "wake" else "model"]
    value = model.parameters[name]
    out = np.zeros_like(value)
    for at in np.ndindex(*value.shape):
        step = np.zeros_like(value)
        step[at] = STEP
        ends = [model.with_parameter(name, value + s) for s in (step, -step)]
        if phase == "wake":
            sides = [-oracle.energy(m, inner.state) - oracle.table(m).log_sum for m in ends]
        else:
            sides = [log_q(replace(inner, model=m)) for m in ends]
        out[at] = np.sum(weights * (sides[0] - sides[1])) / (2 * STEP)
    return out
