"""The part of a model on which a conditional distribution depends: what is left once conditions are known.

p(targets | known) is a ratio of sums of products of factors, in which every factor cancels that is not connected with
a target by states that are not known: first layers that are neither listed nor above a listed one drop out, since a
child's conditional sums to 1; then the rest is parted where the known layers separate it (Lauritzen 1996, section
3.2.2, for chain graphs: moralise the smallest ancestral set).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from pgmdsl.compiler.model import Model


@dataclass(frozen=True)
class Separated:
    """A model of its own for p(targets | known), and its layers that are not known, in file order."""

    model: Model
    free: tuple[str, ...]


def separated(model: Model, targets: Collection[str], known: Collection[str]) -> Separated:
    """What p(targets | known) depends on. Known layers whose own distribution does not matter are given ones there."""
    upper = _ancestral(model, {*targets, *known})
    groups = list(_factors(model, upper))
    free = set(targets)
    reached: set[str] = set()
    while reached != free:
        reached = set(free)
        free |= {name for group in groups if group & reached for name in group if name not in known}
    kept = [group for group in groups if group & free]
    names = free.union(*kept)
    directed = tuple(e for e in model.directed if e.head in upper and _family(model, e.head) & free)
    children = {edge.head for edge in directed}
    layers = {
        name: layer if name in free or name in children else replace(layer, role="given", bias=None, counted=())
        for name, layer in model.layers.items()
        if name in names
    }
    edges = tuple(e for e in model.edges if free & set(e.layers) and upper >= set(e.layers))
    part = replace(model, layers=layers, edges=edges, directed=directed, recognition=())
    return Separated(part, tuple(name for name in layers if name in free))


def _family(model: Model, child: str) -> set[str]:
    """A child and its parents."""
    return {child, *model.parents(child)}


def _ancestral(model: Model, names: set[str]) -> set[str]:
    """These layers, all above them, and what undirected edges join to those."""
    found: set[str] = set()
    more = set(names)
    while more:
        found |= more
        more = {other for name in more for other in (*model.parents(name), *model.neighbours(name))} - found
    return found


def _factors(model: Model, layers: set[str]) -> Iterator[set[str]]:
    """The layers of every factor of the joint distribution of these layers."""
    yield from ({name} for name in layers)
    yield from (set(edge.layers) for edge in model.edges if layers >= set(edge.layers))
    yield from (_family(model, name) for name in layers if model.parents(name))
