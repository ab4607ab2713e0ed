"""Whether a model normalises: what its edges between unbounded layers ask of their weights.

A unit is unbounded if its statistic is: real units, on the whole line or on a half line, and natural ones. Layers that
are given are not summed over, and everything else is bounded, so only edges between unbounded layers matter.

- A natural unit x with energy log x! grows more slowly than any square. Joined to a real unit on the whole line, the
  integral over that is exp(W^2 x^2 / 2 c) and the sum over x diverges for every W other than 0. Joined to a natural
  unit, or to a real one on a half line, it diverges for W > 0, along the diagonal; for W <= 0 the edge only lowers the
  density (by a factor exp(|W| |lower| x) where the half line begins below 0, which log x! bounds).
- Real units have energies that grow as c s^2 / 2, so a group of them normalises if D - C is positive definite (D the
  least c of each unit, C the couplings), and on whole lines with one c only if. Where s is bounded below, what counts
  is the cone of large s >= 0: strict copositivity, for which entries of C below 0 do no harm.
- An edge over three layers or more of which two are unbounded makes couplings that depend on states: refused.

Source: Besag (1974), "Spatial interaction and the statistical analysis of lattice systems", on auto-Poisson and
auto-normal schemes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from pgmdsl.compiler.artifact import ArtifactEdge, Watched
from pgmdsl.compiler.check_names import MistakeError, Scope
from pgmdsl.compiler.model import Edge, Layer, Parameter
from pgmdsl.compiler.units import Naturals, Real


def is_unbounded(layer: Layer) -> bool:
    """Whether the layer is modelled and its units have unbounded statistics."""
    return layer.role != "given" and isinstance(layer.unit.support, Real | Naturals)


def watched_groups(layers: Mapping[str, Layer], edges: Sequence[Edge]) -> tuple[Watched, ...]:
    """What must hold of the weights for the model to normalise; () where it always does.

    Edges for which nothing can hold, which `check_normalises` refuses, are left out.
    """
    joined = [edge for edge in edges if _is_coupling(edge, layers)]
    found = []
    real = [edge for edge in joined if all(isinstance(layers[n].unit.support, Real) for n in edge.layers)]
    for group in _connected(real):
        members = {name for edge in group for name in edge.layers}
        found.append(Watched("definite", tuple(n for n in layers if n in members), _plain(group)))
    pairs: dict[frozenset[str], list[Edge]] = {}
    for edge in joined:
        if edge not in real and not _diverges(edge, layers):
            pairs.setdefault(frozenset(edge.layers), []).append(edge)
    for names, group in pairs.items():
        found.append(Watched("nonpositive", tuple(n for n in layers if n in names), _plain(group)))
    return tuple(found)


def check_normalises(
    layers: Mapping[str, Layer],
    edges: Sequence[Edge],
    parameters: Mapping[str, Parameter],
    sizes: Mapping[str, int | None],
    scope: Scope,
) -> None:
    """Report edges with which the model never normalises, and warn of conditions on the weights of the others."""
    sound: list[Edge] = []
    for edge in edges:
        with scope.recorded():
            _verify_edge(edge, layers, parameters)
            _verify_fixed(edge, edges, layers, parameters, sizes)
            sound.append(edge)
    places = {edge.weight: edge.span for edge in reversed(sound)}
    for watched in watched_groups(layers, sound):
        if not _is_settled(watched, layers, parameters):
            message, help = _condition(watched, layers)
            scope.diagnostics.warn("W004", places[watched.edges[0].weight], message, help)


# --- groups -----------------------------------------------------------------------------------------------


def _unbounded(edge: Edge, layers: Mapping[str, Layer]) -> list[Layer]:
    return [layers[name] for name in edge.layers if name in layers and is_unbounded(layers[name])]


def _is_coupling(edge: Edge, layers: Mapping[str, Layer]) -> bool:
    """Whether an edge joins unbounded units in pairs."""
    return len(edge.layers) == len(_unbounded(edge, layers)) == 2


def _diverges(edge: Edge, layers: Mapping[str, Layer]) -> bool:
    """Whether an edge joins natural units to real ones on the whole line."""
    supports = [layer.unit.support for layer in _unbounded(edge, layers)]
    return any(isinstance(s, Naturals) for s in supports) and Real() in supports


def diverging(layers: Mapping[str, Layer], edges: Iterable[Edge]) -> Edge | None:
    """The first pair of layers with which an undirected model would never normalise, whatever the weight."""
    return next((edge for edge in edges if len(edge.layers) == 2 and _diverges(edge, layers)), None)


def _connected(edges: Iterable[Edge]) -> list[list[Edge]]:
    """The edges in groups, in order of their first: those that share a layer, directly or through others, in one."""
    groups: list[list[Edge]] = []
    for edge in edges:
        near = [group for group in groups if any(set(edge.layers) & set(other.layers) for other in group)]
        joined = [*(other for group in near for other in group), edge]
        place = groups.index(near[0]) if near else len(groups)
        groups = [*groups[:place], joined, *(group for group in groups[place:] if group not in near)]
    return groups


def _plain(edges: Iterable[Edge]) -> tuple[ArtifactEdge, ...]:
    return tuple(ArtifactEdge(edge.layers, edge.weight) for edge in edges)


# --- messages ---------------------------------------------------------------------------------------------


def _verify_edge(edge: Edge, layers: Mapping[str, Layer], parameters: Mapping[str, Parameter]) -> None:
    """Raise `MistakeError` for an edge with which the model never normalises."""
    unbounded = _unbounded(edge, layers)
    if len(unbounded) < 2:
        return
    shown = [f"{layer.name} ({layer.unit.name})" for layer in unbounded]
    if len(edge.layers) > 2:
        message = (
            f"{edge.weight} joins {' and '.join(shown)}, both unbounded, with a strength that depends on other layers: "
            "no condition on the weight says whether the model normalises"
        )
        help = "at most one layer of a multiplicative edge is unbounded: make the others binary, spin or softmax"
        raise MistakeError("E089", edge.span, message, help)
    if _diverges(edge, layers):
        real = next(layer for layer in unbounded if isinstance(layer.unit.support, Real))
        message = (
            f"{shown[0]} and {shown[1]} share an edge: the sum over all states diverges for every {edge.weight} other "
            "than 0"
        )
        help = f"make {real.name} binary, spin or softmax, or relu with a weight that is not positive"
        raise MistakeError("E089", edge.span, message, help)
    parameter = parameters.get(edge.weight)
    natural = any(isinstance(layer.unit.support, Naturals) for layer in unbounded)
    if natural and parameter is not None and parameter.initial.kind == "constant" and parameter.initial.value > 0:
        what = "is fixed at" if parameter.fixed else "starts at"
        joint = f"{shown[0]} and {shown[1]} share an edge" if not edge.lateral else f"{shown[0]} has a lateral edge"
        message = (
            f"{joint} whose weight {edge.weight} {what} {parameter.initial.value:g}: the sum over all states diverges"
        )
        raise MistakeError("E089", edge.span, message, f"no entry of {edge.weight} may be above 0")


def _verify_fixed(
    edge: Edge,
    edges: Sequence[Edge],
    layers: Mapping[str, Layer],
    parameters: Mapping[str, Parameter],
    sizes: Mapping[str, int | None],
) -> None:
    """Raise `MistakeError` for an edge of real units whose weight is fixed at a number that is too large."""
    ends, parameter = [layers[n] for n in edge.layers if n in layers], parameters.get(edge.weight)
    if not (parameter and parameter.fixed and parameter.initial.kind == "constant" and parameter.mask is None):
        return
    if not all(is_unbounded(x) and isinstance(x.unit.support, Real) and _has_unit_curvature(x) for x in ends):
        return
    others = [e for e in edges if e is not edge and set(e.layers) <= set(edge.layers)]
    if len(edge.layers) != 2 or len(ends) != 2 or any(set(e.layers) == set(edge.layers) for e in others):
        return  # where several edges join the same units, their weights add up
    value = parameter.initial.value
    most = _most(edge.lateral, ends, value, [] if others else [_units(x, sizes) for x in ends])
    lines = all(x.unit.support == Real() for x in ends)
    if abs(value) > most or (lines and abs(value) == most):
        units = [f"{x.name} ({x.unit.name})" for x in ends]
        joint = f"{units[0]} has a lateral edge" if edge.lateral else f"{units[0]} and {units[1]} share an edge"
        message = f"{joint} whose weight {edge.weight} is fixed at {value:g}: the sum over all states diverges"
        raise MistakeError(
            "E089", edge.span, message, f"with this sign, {edge.weight} may be {most:.3g} in size at most"
        )


def _most(lateral: bool, ends: Sequence[Layer], value: float, sizes: Sequence[int]) -> float:
    """How large a weight that is one number of this sign throughout may be, for units whose energy grows as s^2/2.

    Along directions in which all units are alike: n a^2/2 + m c^2/2 falls below W n m a c where W^2 n m > 1, and
    n a^2/2 below W n (n - 1) a^2/2. Without `sizes`, and where a lateral weight is below 0, along two units alone.
    """
    half = [x.unit.support != Real() for x in ends]
    if value < 0 and all(half):
        return math.inf
    if not sizes or (lateral and value < 0):
        return 1.0
    first, second = sizes
    return 1 / max(first - 1, 1) if lateral else 1 / math.sqrt(first * second)


def _units(layer: Layer, sizes: Mapping[str, int | None]) -> int:
    """How many units a layer has, an axis of unknown size counting as 1."""
    known = {name: value for name, value in sizes.items() if value is not None}
    return math.prod(int(dim.evaluate(known)) for dim in layer.dims if dim.names() <= known.keys())


def _is_settled(watched: Watched, layers: Mapping[str, Layer], parameters: Mapping[str, Parameter]) -> bool:
    """Whether the file fixes the weights at numbers that are not positive, which on half lines is enough."""
    weights = [parameters.get(edge.weight) for edge in watched.edges]
    half = all(layers[name].unit.support != Real() for name in watched.layers)
    return half and all(w and w.fixed and w.initial.kind == "constant" and w.initial.value <= 0 for w in weights)


def _condition(watched: Watched, layers: Mapping[str, Layer]) -> tuple[str, str]:
    """The condition of a warning in the file's names, and what avoids it."""
    weights = list(dict.fromkeys(edge.weight for edge in watched.edges))
    named = _listed(weights)
    members = [layers[name] for name in watched.layers]
    units = _listed([f"{layer.name} ({layer.unit.name})" for layer in members])
    one = len(watched.edges) == 1
    if len(members) > 1:
        edge = f"{units} share {'an edge' if one else 'edges'}"
    else:
        edge = f"{units} has {'a lateral edge' if one else 'lateral edges'}"
    avoid = "training watches it, and no log Z is reported where it fails; a layer of binary units needs no condition"
    if watched.condition == "nonpositive":
        entries = named if len(weights) == 1 else f"the sum of {named}"
        avoid = "training keeps them from rising above 0; a layer of binary units needs no condition"
        return f"{edge}, so the model normalises only while no entry of {entries} is above 0", avoid
    definite = _definite(watched, members, named)
    if all(layer.unit.support != Real() for layer in members):
        definite = f"no entry of {named} is above 0, or {definite}"
    whole = all(layer.unit.support == Real() and _has_unit_curvature(layer) for layer in members)
    return f"{edge}, so the model {'normalises' if whole else 'is known to normalise'} only while {definite}", avoid


def _definite(watched: Watched, members: Sequence[Layer], named: str) -> str:
    """That the joint curvature is positive definite, in the simplest words for this group."""
    if all(_has_unit_curvature(layer) for layer in members):
        if len(watched.edges) == 1:
            values = "eigenvalue" if watched.edges[0].lateral else "singular value"
            return f"every {values} of {named} is below 1"
        return f"every eigenvalue of the matrix of the couplings {named} is below 1"
    own = _listed([layer.name for layer in members])
    couplings = f"the couplings {named}" if len(watched.edges) > 1 else f"the coupling {named}"
    return (
        f"the matrix D - C is positive definite (C of {couplings}, D the second derivatives of the energies of {own} "
        "far from 0)"
    )


def _has_unit_curvature(layer: Layer) -> bool:
    """Whether the energy grows as s^2/2. A real unit without pieces is the Gaussian, whose statistic is x/sigma."""
    pieces = layer.unit.pieces
    tails = [p.curvature for p in pieces if p.upper is None or p.lower is None]
    return all(curvature == "1" for curvature in tails)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
