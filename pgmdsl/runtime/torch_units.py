"""Unit types in PyTorch: their formulas evaluated on tensors, with all that is needed to train through them.

Formulas are those of the compiler's table of unit types, walked and never executed. Where one may lose its digits or
overflow at large fields, a unit of few values is summed over these, and any other computed in double precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from pgmdsl.compiler.artifact import ArtifactLayer
from pgmdsl.grammar.syntax import Binary, Call, Compare, Conditional, Expression, Name, Negate, Number
from pgmdsl.grammar.walk import walk

_PLAIN = frozenset({"sigmoid", "softplus", "tanh"})  # as they stand, for any field
_FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "abs": torch.abs,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": lambda x: torch.nn.functional.softplus(x, threshold=40.0),  # 20, its default, is too few in double
    "log_normal_cdf": torch.special.log_ndtr,
}
_ARITHMETIC: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "+": torch.add,
    "-": torch.sub,
    "*": torch.mul,
    "/": torch.div,
    "^": torch.pow,
}
_COMPARE: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "<": torch.lt,
    "<=": torch.le,
    ">": torch.gt,
    ">=": torch.ge,
    "==": torch.eq,
}


def evaluate(node: Expression, names: Mapping[str, Tensor]) -> Tensor:
    """The value of a scalar formula where its names have these values, entry by entry."""
    match node:
        case Number(text):
            return next(iter(names.values())).new_tensor(float(text))
        case Name("pi"):
            return next(iter(names.values())).new_tensor(math.pi)
        case Name(name):
            return names[name]
        case Negate(operand):
            return -evaluate(operand, names)
        case Binary(op, left, right):
            return _ARITHMETIC[op](evaluate(left, names), evaluate(right, names))
        case Compare(op, left, right):
            return _COMPARE[op](evaluate(left, names), evaluate(right, names))
        case Conditional(value, condition, otherwise):
            return torch.where(evaluate(condition, names), evaluate(value, names), evaluate(otherwise, names))
        case Call("log", (Call("factorial", (argument,)),)):
            return torch.lgamma(evaluate(argument, names) + 1)
        case Call(function, (argument,)) if function in _FUNCTIONS:
            return _FUNCTIONS[function](evaluate(argument, names))
        case _:
            raise AssertionError(f"the formulas of unit types do not hold {node}")


class Units:
    """The units of one layer: statistics and means as functions of states and fields (cases, size).

    A site of a layer of counts has its document's `length` (cases, 1); other layers do without.
    """

    def __init__(self, layer: ArtifactLayer, own: Mapping[str, Tensor]) -> None:
        """`own` are the parameters that the unit type has of its own, (size,), by their names in its formulas."""
        self.layer, self.own = layer, dict(own)
        if layer.unit == "binomial":
            self.own["trials"] = torch.tensor(layer.values[-1], dtype=torch.float64)  # a scalar widens nothing

    def statistic(self, x: Tensor) -> Tensor:
        """The statistic of states."""
        return evaluate(self.layer.formulas["statistic"], {"x": x, **self.own})

    def state(self, statistic: Tensor) -> Tensor:
        """The states with a statistic that is a multiple of the state."""
        return statistic / self.statistic(torch.ones_like(statistic))

    def mean(self, f: Tensor, length: Tensor | None = None) -> Tensor:
        """The mean statistic at a total field."""
        if self.layer.support in ("one_hot", "counts"):
            share = torch.softmax(self._sites(f), -1).flatten(1)
            return share if length is None else length * share
        if self._sums("mean"):
            logits, statistic = self._table(f)
            return (torch.softmax(logits, -1) * statistic).sum(-1)
        return self._formula("mean", f)

    def loss(self, f: Tensor, x: Tensor) -> Tensor:
        """Minus the log-probability of states at a total field, (cases,): A(f) + base(x) - f s(x) of all units.

        Of documents it is that of one word on average, so that each document counts alike, whatever its length.
        """
        s = self.statistic(x)
        if self.layer.support in ("one_hot", "counts"):
            words = s.sum(-1) if self.layer.support == "counts" else 1.0
            log_sums = torch.logsumexp(self._sites(f), -1).sum(-1)
            return log_sums - (f * s).sum(-1) / words
        if self._sums("log_partition"):
            partition = torch.logsumexp(self._table(f)[0], -1)
        else:
            partition = self._formula("log_partition", f)
        base = evaluate(self.layer.formulas["base"], {"x": x, **self.own})
        return (partition + base - f * s).sum(-1)

    def _sites(self, f: Tensor) -> Tensor:
        return f.reshape(-1, self.layer.size // self.layer.states, self.layer.states)

    def _is_plain(self, name: str) -> bool:
        """Whether a formula is right for any field as it stands: its logarithms, if any, are of constants."""
        calls = [node for node, _ in walk(self.layer.formulas[name]) if isinstance(node, Call)]
        return all(call.function in _PLAIN or Name("f") not in [node for node, _ in walk(call)] for call in calls)

    def _sums(self, name: str) -> bool:
        """Whether a unit of finitely many values is summed over these."""
        return self.layer.support == "finite" and not self._is_plain(name)

    def _formula(self, name: str, f: Tensor) -> Tensor:
        formula = self.layer.formulas[name]
        if self._is_plain(name):
            return evaluate(formula, {"f": f, **self.own})
        return evaluate(formula, {"f": f.double(), **{n: x.double() for n, x in self.own.items()}}).to(f.dtype)

    def _table(self, f: Tensor) -> tuple[Tensor, Tensor]:
        """The log weights f s(x) - base(x) and the statistics of all values x of a unit, (cases, size, values)."""
        x = f.new_tensor(self.layer.values)
        names = {"x": x, **{n: v[..., None] for n, v in self.own.items()}}
        statistic = evaluate(self.layer.formulas["statistic"], names)
        base = evaluate(self.layer.formulas["base"], names)
        return f[..., None] * statistic - base, statistic.expand(*f.shape, len(x))
