"""Canonical names for the bound indices of a monomial, and renaming.

The bound indices of a product form a coloured hypergraph: colours are ranges, edges the atoms. Colours are refined
by what each index meets until they tell all indices apart; ties are broken by trying one index after the other and
keeping the smallest result, unless swapping two indices changes nothing. The number of tries is bounded: beyond it
equal formulas may get different names, so that a proof is missed, never a false one found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import assert_never

from pgmdsl.compiler.model import Size
from pgmdsl.compiler.normal_terms import (
    Atom,
    Delta,
    Exp,
    Frozen,
    Function,
    Monomial,
    Ref,
    height_of,
    product_key,
)

MOST_TRIES = 64

Factors = tuple[tuple[Atom, Fraction], ...]
Bound = tuple[tuple[str, Size], ...]


def closed(bound: Bound, factors: Iterable[tuple[Atom, Fraction]]) -> Monomial:
    """The canonical monomial `sum over bound of the product of factors`; factors are distinct atoms."""
    product = tuple(factors)
    if not bound:
        return Monomial((), _sorted(product))
    ranges = dict(bound)
    height = height_of(product) + 1
    order = _canonical_order(ranges, product)
    names = {index: f"#{height}.{k}" for k, index in enumerate(order)}
    return Monomial(tuple((names[i], ranges[i]) for i in order), _sorted(renamed_factors(product, names)))


def renamed_monomial(monomial: Monomial, names: Mapping[str, str]) -> Monomial:
    """The monomial with its free indices renamed."""
    if monomial.free.isdisjoint(names):
        return monomial
    return closed(monomial.bound, renamed_factors(monomial.factors, names))


def renamed_atom(atom: Atom, names: Mapping[str, str]) -> Atom:
    """The atom with its free indices renamed."""
    if atom.free.isdisjoint(names):
        return atom
    match atom:
        case Ref(name, indices, symmetric):
            return Ref(name, tuple(names.get(i, i) for i in indices), symmetric)
        case Delta(left, right):
            return Delta(names.get(left, left), names.get(right, right))
        case Exp(exponent):
            return Exp(renamed_monomial(exponent, names))
        case Function(name, argument):
            return Function(name, _renamed_poly(argument, names))
        case _:
            assert_never(atom)


def renamed_factors(factors: Iterable[tuple[Atom, Fraction]], names: Mapping[str, str]) -> Factors:
    """The factors with their free indices renamed, in the order given."""
    return tuple((renamed_atom(atom, names), power) for atom, power in factors)


def _renamed_poly(terms: Frozen, names: Mapping[str, str]) -> Frozen:
    renamed = ((renamed_monomial(monomial, names), coefficient) for monomial, coefficient in terms)
    return tuple(sorted(renamed, key=lambda term: (term[0].key, term[1])))


def _sorted(factors: Factors) -> Factors:
    return tuple(sorted(factors, key=lambda factor: (factor[0].key, factor[1])))


def _canonical_order(ranges: Mapping[str, Size], factors: Factors) -> tuple[str, ...]:
    """The bound indices in an order that does not depend on their names (or, past the bound on tries, some order)."""
    if len(ranges) == 1:
        return tuple(ranges)
    colours = _ranked({index: str(size) for index, size in ranges.items()})
    tries = [MOST_TRIES]
    return min(_orders(colours, factors, tries), key=lambda order: _order_key(order, factors))


def _orders(colours: Mapping[str, int], factors: Factors, tries: list[int]) -> list[tuple[str, ...]]:
    """Candidate orders: one from each way of breaking ties that is not known to be like another."""
    colours = _refined(colours, factors)
    tied = _first_tie(colours)
    if not tied:
        return [tuple(sorted(colours, key=lambda index: colours[index]))]
    orders: list[tuple[str, ...]] = []
    for chosen in _unlike(tied, factors):
        if tries[0] <= 0 and orders:
            break
        tries[0] -= 1
        orders += _orders({i: 2 * c - (i == chosen) for i, c in colours.items()}, factors, tries)
    return orders


def _refined(colours: Mapping[str, int], factors: Factors) -> Mapping[str, int]:
    """The coarsest colours that tell apart indices whose atoms differ, given the colours of what else they hold."""
    while len(set(colours.values())) < len(colours):
        names = {index: f"@{colour}" for index, colour in colours.items()}
        signs: dict[str, str] = {}
        for index, colour in colours.items():
            seen = names | {index: "@"}
            met = sorted(f"{renamed_atom(a, seen).key}^{p}" for a, p in factors if index in a.free)
            signs[index] = f"{colour:06}|" + ";".join(met)
        finer = _ranked(signs)
        if len(set(finer.values())) == len(set(colours.values())):
            return finer
        colours = finer
    return colours


def _ranked(signs: Mapping[str, str]) -> dict[str, int]:
    ranks = {sign: rank for rank, sign in enumerate(sorted(set(signs.values())))}
    return {index: ranks[sign] for index, sign in signs.items()}


def _first_tie(colours: Mapping[str, int]) -> list[str]:
    classes: dict[int, list[str]] = {}
    for index, colour in colours.items():
        classes.setdefault(colour, []).append(index)
    return next((members for _, members in sorted(classes.items()) if len(members) > 1), [])


def _unlike(tied: list[str], factors: Factors) -> list[str]:
    """Representatives of tied indices: one whose exchange with an earlier one changes nothing is left out."""
    kept: list[str] = []
    whole = product_key(_sorted(factors))
    for index in tied:
        if not any(product_key(_sorted(renamed_factors(factors, {index: k, k: index}))) == whole for k in kept):
            kept.append(index)
    return kept


def _order_key(order: tuple[str, ...], factors: Factors) -> str:
    names = {index: f"#{k:03}" for k, index in enumerate(order)}
    return product_key(_sorted(renamed_factors(factors, names)))
