"""Expectations under q in normal forms: what is linear in a layer's states is replaced by its conditional mean.

q draws layers in turn, each layer's units independent given those before it, so that the last one can be averaged over
first: E[g(others) x] = E[g(others) E[x | others]] (the tower rule). Of two units of one layer, E[x y] is the product of
the means, unless they are one unit, or two states of one site. What is not of this kind, as the softplus of a sum over
states, is left as the expectation of a product.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from pgmdsl.compiler.normal_atoms import mentions
from pgmdsl.compiler.normal_content import Contents
from pgmdsl.compiler.normal_labels import closed
from pgmdsl.compiler.normal_laws import expected_over, power_on
from pgmdsl.compiler.normal_product import UNIT, Powers, add, number, scale, subtract
from pgmdsl.compiler.normal_terms import Function, NoProofError, Poly, Ref, freeze


@dataclass(frozen=True)
class LayerMean:
    """A layer that q draws: the mean of its unit at these indices, in the states of layers that are drawn before it."""

    name: str
    letters: tuple[str, ...]
    mean: Poly


class Expectations(Contents, ABC):
    """Polynomials, and their expectations under q."""

    posterior: Sequence[LayerMean] = ()
    """The layers that q draws, the last one first."""

    @abstractmethod
    def same(self, left: tuple[str, ...], right: tuple[str, ...]) -> Poly:
        """1 where all the indices are equal in turn, else 0."""

    def expected(self, poly: Poly) -> Poly:
        """The expectation, linear: what holds no state that q draws is taken out of it."""
        drawn = [layer.name for layer in self.posterior]
        terms = []
        for monomial, coefficient in self.divided(poly).items():
            bound, factors = self.opened(monomial)
            inside = {a: p for a, p in factors if mentions(a, drawn)}
            outside = {a: p for a, p in factors if a not in inside}
            term = self.product(coefficient, {}, outside)
            term = self.multiply(term, self._expected_product(inside)) if inside else term
            for index, size in bound.items():
                term = self.bind(term, index, size)
            terms.append(term)
        return add(*terms)

    def _expected_product(self, factors: Powers) -> Poly:
        layer = next(x for x in self.posterior if any(mentions(atom, {x.name}) for atom in factors))
        units = [atom for atom in factors if isinstance(atom, Ref) and atom.name == layer.name]
        rest = {atom: power for atom, power in factors.items() if atom not in units}
        mean = None
        if not any(mentions(atom, {layer.name}) for atom in rest) and all(factors[unit] == 1 for unit in units):
            mean = self._mean(layer, [unit.indices for unit in units])
        if mean is not None:
            return self.expected(self.multiply(mean, self.product(UNIT, {}, rest)))
        whole = Function(expected_over([x.name for x in self.posterior]), freeze({closed((), factors.items()): UNIT}))
        return self.product(UNIT, {}, {whole: UNIT})

    def _mean(self, layer: LayerMean, places: Sequence[tuple[str, ...]]) -> Poly | None:
        """The mean of the product of the states at these places; None where that is not known."""
        means = [self.substitute(layer.mean, dict(zip(layer.letters, place, strict=True))) for place in places]
        self.used.setdefault(f"units of {layer.name} are independent under q, given the layers drawn before it")
        if len(places) == 1:
            return means[0]
        if len(places) > 2:
            return None
        apart = self.multiply(*means)
        first, second = places
        if layer.name in self.laws.one_hot:
            site, together = (
                self.same(first[:-1], second[:-1]),
                self.multiply(self.same(first[-1:], second[-1:]), means[0]),
            )
        elif layer.name in self.laws.values and len(self.laws.values[layer.name]) == 2:
            constant, slope = power_on(self.laws.values[layer.name], UNIT * 2)
            site, together = self.same(first, second), add(number(constant), scale(means[0], slope))
        else:
            return None
        return add(apart, self.multiply(site, subtract(together, apart)))

    def derivative_under(self, argument: Poly, inner: Poly, name: str) -> Poly:
        """The derivative of an expectation: that of its argument, `inner`, where q does not depend on the parameter."""
        means = [argument]
        for layer in self.posterior:  # each layer's mean holds layers that come later here
            if any(mentions(atom, {layer.name}) for mean in means for m in mean for atom, _ in m.factors):
                means.append(layer.mean)
        if any(mentions(atom, {name}) for mean in means[1:] for m in mean for atom, _ in m.factors):
            raise NoProofError("q depends on this parameter")
        return self.expected(inner)
