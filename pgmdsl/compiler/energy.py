"""A model's energy from its declared terms, and the field of every layer, proved from the energy's normal form.

Where layers have parents the energy is that of the joint distribution, up to the core's log Z: a child adds

    -log p(child | parents) = sum over units of base(x) - f s(x), and over sites of A(f),

f being its field, from its bias and its parents; p(state) = exp(-energy) / Z with the Z of the layers without parents.
Source: Neal (1992), "Connectionist learning of belief networks", eqs. 2-4; Hinton, Osindero and Teh (2006).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from pgmdsl.compiler.derivation import Contribution
from pgmdsl.compiler.expressions import (
    ZERO,
    Term,
    call,
    constant,
    entry,
    filled,
    product,
    signed,
    split_sum,
    sum_over,
    tidied,
    total,
)
from pgmdsl.compiler.model import Edge, Layer
from pgmdsl.compiler.normal import Algebra
from pgmdsl.compiler.normal_atoms import mentions
from pgmdsl.compiler.normal_product import UNIT, add, number, subtract
from pgmdsl.compiler.normal_read import Reader
from pgmdsl.compiler.normal_terms import Atom, Delta, Exp, Frozen, Function, Poly, Ref
from pgmdsl.compiler.symbols import Symbols
from pgmdsl.grammar.syntax import Expression

HALF = Fraction(1, 2)

FieldAt = Callable[[str], Expression]  # the total field of a unit whose last index has this name


class DerivationError(Exception):
    """A derivation failed on a model that was checked: a mistake of ours."""


def energy_terms(symbols: Symbols, present: Container[str]) -> list[Term]:
    """The energy's terms that concern these layers alone: their units' own, and one for every edge among them.

    Of a child whose parents are not all present there is nothing.
    """
    terms: list[Term] = []
    for layer in symbols.model.layers.values():
        parents = symbols.model.parents(layer.name)
        if layer.name in present and parents:
            terms += child_terms(symbols, layer.name) if all(name in present for name in parents) else []
        elif layer.name in present and layer.role != "given":
            letters = symbols.letters[layer.name]
            own = split_sum(symbols.filled(layer.unit.energy, layer, letters))
            for sign, body in (signed(*term) for term in own):
                terms.append((sign, symbols.summed(layer.name, body, letters)))
    edges = [edge for edge in symbols.model.edges if all(name in present for name in edge.layers)]
    return [*terms, *(edge_term(symbols, edge) for edge in edges)]


def child_terms(symbols: Symbols, name: str) -> list[Term]:
    """Minus the log-probability of a layer given its parents."""
    layer, letters = symbols.model.layers[name], symbols.letters[name]
    fields = child_fields(symbols, name)
    base = [signed(*term) for term in split_sum(symbols.filled(layer.unit.base, layer, letters))]
    terms = [*base, *((-sign, body) for sign, body in coupled(fields, name))]
    out = [(sign, symbols.summed(name, body, letters)) for sign, body in terms]
    log_partition = log_partition_of(symbols, layer, lambda state: fields.field(name, (*letters[:-1], state)))
    return [*out, (1, symbols.summed(name, log_partition, letters[:-1] if layer.unit.states_axis else letters))]


def child_fields(symbols: Symbols, name: str) -> Fields:
    """The fields of one layer, as its edges define them."""
    return Fields(symbols, {name: _contributions(symbols, name)})


def coupled(fields: Fields, name: str) -> list[Term]:
    """The product of one unit's field and its statistic."""
    letters = fields.symbols.letters[name]
    return split_sum(tidied(product([fields.field(name, letters), statistic(fields.symbols, name, letters)])))


def log_partition_of(symbols: Symbols, layer: Layer, field_at: FieldAt) -> Expression:
    """The log normaliser of one unit (site), whose total field `field_at` gives with the last index by this name."""
    letters = symbols.letters[layer.name]
    state = letters[-1]
    names = symbols.constants(layer, letters)
    if layer.unit.states_axis and field_at(state) == ZERO:
        return product([*([names["length"]] if "length" in names else []), call("log", symbols.extent(layer, -1))])
    avoid = symbols.reserved | symbols.all_letters
    return filled(layer.unit.log_partition, {**names, "f": field_at(state)}, {"f": field_at}, {}, avoid - {state})


def edge_term(symbols: Symbols, edge: Edge) -> Term:
    """An edge's energy: `-sum W[i,j] s(lower)[i] s(upper)[j]`; of a lateral one half of that sum over all pairs."""
    units = symbols.unit_letters(edge.layers)
    statistics = [statistic(symbols, name, letters) for name, letters in zip(edge.layers, units, strict=True)]
    letters = tuple(letter for own in units for letter in own)
    body = product([entry(edge.weight, letters), *statistics])
    return -1, product([constant(HALF) if edge.lateral else constant(UNIT), sum_over(body, letters)])


def statistic(symbols: Symbols, name: str, indices: tuple[str, ...]) -> Expression:
    """The statistic of one unit: `v[i]`, `v[i]/sigma_v[i]`."""
    layer = symbols.model.layers[name]
    return symbols.filled(layer.unit.statistic, layer, indices)


@dataclass(frozen=True)
class Fields:
    """The fields of a model's layers: what each edge sends, in file order of its layers, proved from the energy.

    A layer with parents hears these, and nothing else; other layers hear undirected edges.
    """

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
        terms += [sent_by(self.symbols, name, part, indices, chosen) for part in sent]
        return total(terms)


def sent_by(
    symbols: Symbols,
    name: str,
    part: Contribution,
    indices: tuple[str, ...],
    chosen: Mapping[str, str] | None = None,
) -> Term:
    """What an edge's other units send to the unit of this layer at these indices.

    Layers in `chosen` are a site in a known state.
    """
    states = chosen or {}
    letters = symbols.unit_letters((name, *part.neighbours))[1:]
    others = [(states[n],) if n in states else own for n, own in zip(part.neighbours, letters, strict=True)]
    axes = [*others[: part.axis], indices, *others[part.axis :]]
    weight = entry(part.weight, tuple(index for axis in axes for index in axis))
    size = constant(abs(part.coefficient))
    sign = 1 if part.coefficient > 0 else -1
    summed_over = [(n, letters) for n, letters in zip(part.neighbours, others, strict=True) if n not in states]
    body = product([size, weight, *(statistic(symbols, n, letters) for n, letters in summed_over)])
    bound = tuple(letter for _, letters in summed_over for letter in letters)
    return sign, sum_over(body, bound) if bound else body


def declared_fields(symbols: Symbols) -> Fields:
    """The fields of all layers, given ones aside, as the edges define them."""
    named = symbols.model.layers.items()
    return Fields(symbols, {n: _contributions(symbols, n) for n, x in named if x.role != "given"})


def derive_fields(symbols: Symbols) -> Fields:
    """The fields of all layers, given ones aside, each proved from the energy's normal form.

    Those of layers with parents are as the edges define them. Raises `DerivationError` if the energy of the others is
    not `base(x) - field * statistic(x)` in a unit's state x.
    """
    reader = symbols.reader()
    core = symbols.model.core
    energy = reader.read(total(energy_terms(symbols, core)))
    fields = declared_fields(symbols)
    for name in (name for name in fields.contributions if name in core):
        _verify_field(fields, reader, energy, symbols.model.layers[name])
    return fields


def _contributions(symbols: Symbols, name: str) -> tuple[Contribution, ...]:
    """What edges send to a unit of a layer, in file order: one for each place where the layer stands in an edge.

    The two places in a lateral edge send the same, and the energy has half of each.
    """
    found: dict[tuple[str, tuple[str, ...], int], Fraction] = {}
    for edge in symbols.model.directed:
        if edge.head == name:
            sent: tuple[str, tuple[str, ...], int] = edge.weight, (edge.tail,), edge.layers.index(name)
            found[sent] = found.get(sent, Fraction(0)) + UNIT
    for edge in symbols.model.edges:
        for axis, layer in enumerate(edge.layers):
            if layer == name:
                key = edge.weight, (*edge.layers[:axis], *edge.layers[axis + 1 :]), 0 if edge.lateral else axis
                found[key] = found.get(key, Fraction(0)) + (HALF if edge.lateral else UNIT)
    names = list(symbols.model.layers)
    parts = [Contribution(weight, others, axis, c) for (weight, others, axis), c in found.items()]
    return tuple(sorted(parts, key=lambda p: ([names.index(n) for n in p.neighbours], p.weight, 1 - p.axis)))


def _verify_field(fields: Fields, reader: Reader, energy: Poly, layer: Layer) -> None:
    """Raise `DerivationError` unless one unit's terms are `base - field * statistic`, its field free of its own state.

    What does not depend on the unit's state may differ, such as other units' states times what its statistic adds. For
    a one-hot site this is done for the entry of any of its states, and the field may hold no entry of the site.
    """
    symbols, algebra = fields.symbols, reader.algebra
    letters = symbols.letters[layer.name]
    own = unit_terms(algebra, energy, layer.name, letters)
    field = reader.read(fields.field(layer.name, letters))
    linear = reader.read(statistic(symbols, layer.name, letters))
    base = reader.read(symbols.filled(layer.unit.base, layer, letters))
    site = (*letters[:-1], algebra.fresh()) if layer.unit.states_axis else letters
    left = subtract(own, subtract(base, algebra.multiply(field, linear)))
    left = unit_terms(algebra, left, layer.name, letters)
    if unit_terms(algebra, field, layer.name, site) or not algebra.is_zero(left):
        raise DerivationError(f"the energy in {layer.name} is not that of a {layer.unit.name} unit in a field")


def unit_terms(algebra: Algebra, poly: Poly, name: str, at: tuple[str, ...]) -> Poly:
    """What of a formula holds one entry of a state, sums split into it and the rest.

    A product of several entries is taken apart by which of them the entry is: x - x prod(1 - [entry is at]).
    """
    terms: list[Poly] = []
    for monomial, coefficient in poly.items():
        if not any(mentions(atom, {name}) for atom, _ in monomial.factors):
            continue
        bound, factors = algebra.opened(monomial)
        elsewhere = number(1)
        for place in {place for atom, _ in factors for place in _places(atom, name)}:
            elsewhere = algebra.multiply(elsewhere, subtract(number(1), algebra.same(place, at)))
        term = algebra.product(coefficient, {}, dict(factors))
        term = algebra.multiply(term, subtract(number(1), elsewhere))
        for index, size in bound.items():
            term = algebra.bind(term, index, size)
        terms.append(term)
    return add(*terms)


def _places(atom: Atom, name: str) -> Iterator[tuple[str, ...]]:
    """The indices of the entries of a state in an atom. Raises `DerivationError` for one under a sum of its own."""
    match atom:
        case Ref(other, indices):
            if other == name:
                yield indices
        case Delta():
            return
        case Exp(exponent):
            yield from _inner_places(((exponent, UNIT),), name)
        case Function(_, argument):
            yield from _inner_places(argument, name)


def _inner_places(argument: Frozen, name: str) -> Iterator[tuple[str, ...]]:
    for monomial, _ in argument:
        bound = {index for index, _ in monomial.bound}
        for atom, _ in monomial.factors:
            for place in _places(atom, name):
                if not bound.isdisjoint(place):
                    raise DerivationError(f"the energy holds {name} under a sum inside of a function")
                yield place
