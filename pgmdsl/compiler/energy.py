"""A model's energy from its declared terms, and the field of every layer, proved from the energy's normal form."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations

from pgmdsl.compiler.derivation import Contribution
from pgmdsl.compiler.expressions import (
    Term,
    constant,
    entry,
    product,
    signed,
    split_sum,
    sum_over,
    summed,
    total,
)
from pgmdsl.compiler.model import Edge, Layer
from pgmdsl.compiler.normal import Algebra, mentions
from pgmdsl.compiler.normal_labels import renamed_factors
from pgmdsl.compiler.normal_product import add, scale, subtract
from pgmdsl.compiler.normal_read import Reader
from pgmdsl.compiler.normal_terms import Monomial, Poly, Ref
from pgmdsl.compiler.symbols import Symbols
from pgmdsl.grammar.syntax import Expression


class DerivationError(Exception):
    """A derivation failed on a model that was checked: a mistake of ours."""


def energy_terms(symbols: Symbols, present: Container[str]) -> list[Term]:
    """The energy's terms that concern these layers alone: their units' own, and one for every edge among them."""
    terms: list[Term] = []
    for layer in symbols.model.layers.values():
        if layer.name in present:
            letters = symbols.letters[layer.name]
            own = split_sum(symbols.filled(layer.unit.energy, layer, letters))
            terms += summed((signed(sign, body) for sign, body in own), letters)
    for edge in symbols.model.edges:
        if all(name in present for name in edge.layers):
            terms += edge_terms(symbols, edge)
    return terms


def edge_terms(symbols: Symbols, edge: Edge) -> list[Term]:
    """An edge's energy: `-sum W[i, j] s(lower)[i] s(upper)[j]`."""
    letters = tuple(letter for name in edge.layers for letter in symbols.letters[name])
    statistics = [statistic(symbols, name, symbols.letters[name]) for name in edge.layers]
    return summed([(-1, product([entry(edge.weight, letters), *statistics]))], letters)


def statistic(symbols: Symbols, name: str, indices: tuple[str, ...]) -> Expression:
    """The statistic of one unit: `v[i]`, `v[i]/sigma_v[i]`."""
    layer = symbols.model.layers[name]
    return symbols.filled(layer.unit.statistic, layer, indices)


@dataclass(frozen=True)
class Fields:
    """The fields of a model's layers: what each neighbour sends, in file order, proved from the energy."""

    symbols: Symbols
    contributions: Mapping[str, tuple[Contribution, ...]]

    def field(
        self,
        name: str,
        indices: tuple[str, ...],
        present: Container[str] | None = None,
        chosen: Mapping[str, str] | None = None,
    ) -> Expression:
        """The total field of one unit: its bias's share and what its neighbours (in `present`, if given) send.

        A neighbour in `chosen` is one site, known to be in the state that this index names.
        """
        layer = self.symbols.model.layers[name]
        terms = [signed(*term) for term in split_sum(self.symbols.filled(layer.unit.own_field, layer, indices))]
        sent = [p for p in self.contributions[name] if present is None or all(n in present for n in p.neighbours)]
        terms += [sent_by(self.symbols, part, indices, chosen) for part in sent]
        return total(terms)


def sent_by(
    symbols: Symbols, part: Contribution, indices: tuple[str, ...], chosen: Mapping[str, str] | None = None
) -> Term:
    """What an edge's other layers send to the unit at these indices; those in `chosen` are a site in a known state."""
    states = chosen or {}
    others = [(states[n],) if n in states else symbols.letters[n] for n in part.neighbours]
    axes = [*others[: part.axis], indices, *others[part.axis :]]
    weight = entry(part.weight, tuple(index for axis in axes for index in axis))
    size = constant(abs(part.coefficient))
    sign = 1 if part.coefficient > 0 else -1
    summed_over = [(n, letters) for n, letters in zip(part.neighbours, others, strict=True) if n not in states]
    body = product([size, weight, *(statistic(symbols, n, letters) for n, letters in summed_over)])
    bound = tuple(letter for _, letters in summed_over for letter in letters)
    return sign, sum_over(body, bound) if bound else body


def derive_fields(symbols: Symbols) -> Fields:
    """The fields of all layers, each read off the energy's normal form and proved.

    Raises `DerivationError` if the energy is not `base(x) - field * statistic(x)` in a unit's state x.
    """
    reader = symbols.reader()
    energy = reader.read(total(energy_terms(symbols, symbols.model.layers)))
    found: dict[str, tuple[Contribution, ...]] = {}
    for layer in symbols.model.layers.values():
        found[layer.name] = _contributions(symbols, reader, energy, layer)
    return Fields(symbols, found)


def _contributions(symbols: Symbols, reader: Reader, energy: Poly, layer: Layer) -> tuple[Contribution, ...]:
    """What a layer's neighbours send to one unit of it."""
    letters = symbols.letters[layer.name]
    algebra = reader.algebra
    unit = Ref(layer.name, letters)
    own = _unit_terms(algebra, energy, unit)
    linear = reader.read(symbols.filled(layer.unit.statistic, layer, letters))
    slope = _linear_part(algebra, linear, unit)
    field = scale(algebra.multiply(_linear_part(algebra, own, unit), algebra.inverse(slope)), -1)
    base = reader.read(symbols.filled(layer.unit.base, layer, letters))
    expected = subtract(base, algebra.multiply(field, linear))
    if any(mentions(atom, {layer.name}) for monomial in field for atom, _ in monomial.factors) or not algebra.is_zero(
        subtract(own, expected)
    ):
        raise DerivationError(f"the energy in {layer.name} is not that of a {layer.unit.name} unit in a field")
    coupling = subtract(field, reader.read(symbols.filled(layer.unit.own_field, layer, letters)))
    found = [_contribution(symbols, reader, layer, monomial, c) for monomial, c in coupling.items()]
    names = list(symbols.model.layers)
    return tuple(
        sorted(found, key=lambda part: ([names.index(n) for n in part.neighbours], part.weight, 1 - part.axis))
    )


def _unit_terms(algebra: Algebra, energy: Poly, unit: Ref) -> Poly:
    """The energy's terms that hold one unit's state."""
    terms: list[Poly] = []
    for monomial, coefficient in energy.items():
        if not any(mentions(atom, {unit.name}) for atom, _ in monomial.factors):
            continue
        bound, factors = algebra.opened(monomial)
        held = [atom for atom, _ in factors if mentions(atom, {unit.name})]
        match held:
            case [Ref(_, indices)] if len(set(indices)) == len(indices) and bound.keys() >= set(indices):
                names = dict(zip(indices, unit.indices, strict=True))
                left = {index: size for index, size in bound.items() if index not in names}
                terms.append(algebra.product(coefficient, left, dict(renamed_factors(factors, names))))
            case _:
                raise DerivationError(f"a term of the energy holds {unit.name} more than once")
    return add(*terms)


def _linear_part(algebra: Algebra, poly: Poly, unit: Ref) -> Poly:
    """The coefficient of a unit's state in a polynomial."""
    terms: list[Poly] = []
    for monomial, coefficient in poly.items():
        if dict(monomial.factors).get(unit) == 1:
            bound, factors = algebra.opened(monomial)
            terms.append(algebra.product(coefficient, bound, {a: p for a, p in factors if a != unit}))
    return add(*terms)


def _contribution(
    symbols: Symbols, reader: Reader, layer: Layer, monomial: Monomial, coefficient: Fraction
) -> Contribution:
    """One term of a field as what a neighbour sends, proved equal to it."""
    refs = [atom.name for atom, _ in monomial.factors if isinstance(atom, Ref)]
    weights = [name for name in refs if name in symbols.model.parameters]
    neighbours = [name for name in refs if name in symbols.model.layers]
    for weight in weights:
        for others in permutations(neighbours):
            for axis in range(len(others) + 1):
                part = Contribution(weight, others, axis, coefficient)
                axes = [*others[:axis], layer.name, *others[axis:]]
                if symbols.shapes[weight] != sum((symbols.shapes[name] for name in axes), ()):
                    continue
                sent = sent_by(symbols, part, symbols.letters[layer.name])
                if reader.read(total([sent])) == {monomial: coefficient}:
                    return part
    raise DerivationError(f"a term of the field of {layer.name} is not what one neighbour sends")
