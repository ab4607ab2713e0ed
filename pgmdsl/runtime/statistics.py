"""Mean statistics of the phases of learning: what the gradient of the mean log-likelihood is made of.

    gradient of a weight:              E_data[s_a s_b'] - E_model[s_a s_b'],  of a lateral one of its shared entries
    gradient of a layer's own field:   E_data[m s] - E_model[m s],  m what its bias is multiplied by (1, or lengths)
    gradient of an own parameter T:    E_data[-dE/dT] - E_model[-dE/dT],  the states held

A layer that is shown by its conditional means given the rest enters with these, which leaves the expectation as it is
and lessens the noise (Rao and Blackwell); its own parameters by the mean of their slope at the same fields.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.runtime.machine import Held, Machine, State

if TYPE_CHECKING:
    from pgmdsl.runtime.estimators.exact import ExactStatistics

Array = NDArray[Any]
SAME = 1e-6  # relative difference of mean lengths that is rounding


@dataclass(frozen=True)
class Shown:
    """States whose mean statistics are taken.

    Attributes:
        s: by layer, statistics (cases, size): states, or conditional means.
        share: (cases,) of each case in the mean; they sum to 1.
        weighted: whether the shares differ.
        fields: for each layer that is shown by conditional means, the coupling field that these are at.
        held: the entries of such layers that are states all the same.
    """

    s: State
    share: Array
    weighted: bool
    fields: State = field(default_factory=dict)
    held: Held = field(default_factory=dict)


class Statistics:
    """The gradient of a machine's trained parameters, gathered from its phases.

    Attributes:
        gradient: by trained weight, of the kernels' shape.
        delta: by layer, of the own field (size,).
        slope: by trained own parameter (size,).
        own: for each trained own parameter, its layers with the name that the unit type has for it.
        information: by trained own parameter (size,), how much a case of the first phase says of it: see `measure`.
        documents: the machine's count layers.
    """

    def __init__(self, machine: Machine, trained: Collection[str]) -> None:
        """All at 0."""
        self.machine = machine
        layers = {n: machine.artifact.layers[n] for n in machine.layers}
        weights = dict.fromkeys(e.weight for e in machine.edges if e.weight in trained)
        self.own: dict[str, list[tuple[str, str]]] = {}
        for name, layer in layers.items():
            for key, parameter in layer.parameters.items():
                if parameter in trained and name not in machine.given:
                    self.own.setdefault(parameter, []).append((name, key))
        self.gradient = {w: np.zeros_like(machine.p[w]) for w in weights}
        self.delta = {n: np.zeros(layer.size, machine.dtype) for n, layer in layers.items()}
        self.slope = {p: np.zeros(machine.p[p].size, machine.dtype) for p in self.own}
        self.information = {p: np.ones(machine.p[p].size) for p in self.own}
        self.documents = tuple(n for n, layer in layers.items() if layer.support == "counts")
        self._lengths: dict[tuple[str, ...], float] = {}
        self._scaled: dict[tuple[int, str], Array] = {}

    def add(self, shown: Shown, factor: float, *, first: bool, products: bool = True) -> dict[str, Array]:
        """Add factor * the mean statistics of some states, or begin with them; returns the layers' means (size,).

        Without `products` those of the weights are left to the caller.
        """
        means = {n: shown.share @ x for n, x in shown.s.items()}
        for name, mean in means.items():
            exposure = self.machine.exposure(name, shown.s)
            if exposure is not None:
                mean = (shown.share * exposure).astype(mean.dtype) @ shown.s[name]
            _add(self.delta[name], factor * mean, first)
        if products:
            self.add_products(shown.s, shown.share, shown.weighted, factor, first=first)
        for parameter, uses in self.own.items():
            total = sum(shown.share @ slopes_of(self.machine, name, key, shown) for name, key in uses)
            _add(self.slope[parameter], np.asarray(factor * total), first)
        if first:
            self.measure(shown.s, shown.share)
        self._note_lengths(shown.s, shown.share, factor, first)
        return means

    def add_products(self, s: State, share: Array, weighted: bool, factor: float, *, first: bool) -> None:
        """Add factor * the mean over cases of the products of each weight.

        That mean is taken of equal shares as a plain product; of others as that of statistics times the roots of the
        shares, as many as the weight has axes.
        """
        scaled = {0: s}
        for weight, out in self.gradient.items():
            axes, scale = (out.ndim, factor) if weighted else (0, factor / len(share))
            if axes not in scaled:
                root = (share ** (1 / axes))[:, None].astype(self.machine.dtype)
                scaled[axes] = {n: np.multiply(x, root, out=self._room(axes, n, x)) for n, x in s.items()}
            self.machine.kernels.weight_statistics[weight](scaled[axes], scale, not first, out)

    def _room(self, axes: int, name: str, like: Array) -> Array:
        if len(self._scaled.get((axes, name), ())) < len(like):
            self._scaled[axes, name] = np.empty_like(like)
        return self._scaled[axes, name][: len(like)]

    def add_exact(self, clamped: State, exact: ExactStatistics, share: Array, factor: float, *, first: bool) -> State:
        """The same of exact expectations given the clamped layers; returns the layers' means (size,)."""
        every = {**clamped, **exact.means}
        for name, x in every.items():
            exposure = self.machine.exposure(name, every)
            weight = share if exposure is None else share * exposure
            _add(self.delta[name], np.asarray(factor * (weight @ x)), first)
        for weight_name, out in self.gradient.items():
            _add(out, factor * exact.products[weight_name], first)
        for parameter, out in self.slope.items():
            _add(out, factor * exact.slopes[parameter], first)
        self._note_lengths(every, share, factor, first)
        if first and self.own:
            self.measure({n: np.ascontiguousarray(x, self.machine.dtype) for n, x in every.items()}, share)
        return {n: (share @ x).astype(self.machine.dtype) for n, x in every.items()}

    def measure(self, s: State, share: Array) -> None:
        """Take the Fisher information of own parameters, of positive ones in their logarithm, from states or means.

        Of a standard deviation it is 2 + the variance of the field: with x = b + sigma (f + e), and the mean field
        taken up by the bias, d log p(x | rest) / d log sigma is e^2 - 1 + e (f - mean f). Of other parameters, the
        slope's variance over the cases is added to what is taken for that of a unit given all others: 2 if positive,
        else 1.
        """
        for parameter, uses in self.own.items():
            positive = self.machine.artifact.parameters[parameter].positive
            total = np.full(self.information[parameter].shape, 2.0 if positive else 1.0)
            for name, key in uses:
                field_ = self.machine.coupling(name, s, len(share)) * self.machine.dtype.type(self.machine.scale[name])
                value = field_
                if self.machine.artifact.layers[name].sigma != parameter:
                    value = np.empty_like(field_)
                    self.machine.kernels.slope[name][key](self.machine.p, s[name], field_, value)
                    value *= self.machine.p[parameter] if positive else 1
                total += share @ np.square(value - share @ value, dtype=np.float64) / len(uses)
            self.information[parameter][:] = total

    # --- documents of different lengths -------------------------------------------------------------------

    def _note_lengths(self, s: State, share: Array, factor: float, first: bool) -> None:
        """Keep the difference between the phases of the mean products of lengths that the statistics scale with."""
        if not self.documents:
            return
        length = {n: s[n].sum(axis=1, dtype=np.float64) for n in self.documents}
        wanted = {(n,) for n in self.documents} | {self._counted(e.layers) for e in self.machine.edges}
        for names in wanted - {()}:
            mean = float(share @ reduce(np.multiply, [length[n] for n in names]))
            self._lengths[names] = factor * mean + (0.0 if first else self._lengths[names])
            if first:
                self._lengths[("", *names)] = abs(mean)  # its size, by which a difference is judged

    def _counted(self, layers: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(n for n in layers if n in self.documents)

    def settle_lengths(self, means: Mapping[str, Array]) -> None:
        """Take out what the phases differ by because their documents have other lengths.

        Lengths are not modelled, so that the mean of any function of them is the same in both phases; chains that keep
        theirs have a mean of their own. With pi the mean frequencies of words, mu the means of other layers and M the
        length: E[M pi] is taken off E[n], E[M mu_h] off E[M h], E[M pi mu_h'] off E[n h'].
        """
        base = {n: m / m.sum() if n in self.documents else m for n, m in means.items()}
        for name in self.documents:
            self.delta[name] -= self._excess((name,)) * base[name]
        for name in self.machine.layers:
            counted = [n for n in self.machine.artifact.layers[name].counted if n in self.documents]
            self.delta[name] -= sum(self._excess((n,)) for n in counted) * base[name]
        for edge in self.machine.edges:
            excess = self._excess(self._counted(edge.layers)) if self._counted(edge.layers) else 0.0
            if edge.weight in self.gradient and excess:
                self.gradient[edge.weight] -= excess * reduce(np.multiply.outer, [base[n] for n in edge.layers])

    def _excess(self, names: tuple[str, ...]) -> float:
        change = self._lengths[names]
        return change if abs(change) > SAME * self._lengths[("", *names)] else 0.0


def slopes_of(machine: Machine, name: str, key: str, shown: Shown) -> Array:
    """-dE/dT of each unit of a layer in the states shown, (cases, size): at its state, or averaged over its own."""
    kernels, x = machine.kernels, shown.s[name]
    out = np.empty_like(x)
    if name not in shown.fields:
        coupling = machine.coupling(name, shown.s, len(x)) * machine.dtype.type(machine.scale[name])
        kernels.slope[name][key](machine.p, x, coupling, out)
        return out
    field_ = shown.fields[name]
    own = machine.own_in(name, shown.s)
    kernels.expected_slope[name][key](machine.p, field_, own, machine.scale[name], out)
    if name in shown.held:
        at_state = np.empty_like(x)
        kernels.slope[name][key](machine.p, x, field_ * machine.dtype.type(machine.scale[name]), at_state)
        np.copyto(out, at_state, where=shown.held[name])
    return out


def _add(out: Array, value: Array, first: bool) -> None:
    if first:
        out[...] = value
    else:
        out += value.astype(out.dtype, copy=False)
