"""Which latent layers a sum enumerates, and which close given those."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.estimators.states import Free, count_states


@dataclass(frozen=True, slots=True)
class EnumerationPlan:
    """Which free layers are enumerated (`states` joint states), and which close given those; `units` in all of them.

    Layers that close share no edge, but for those in `joint`: Gaussian ones that are integrated together.
    """

    enumerated: tuple[str, ...]
    closed: tuple[str, ...]
    joint: tuple[str, ...]
    states: int
    units: int

    def cost(self, cases: int) -> int:
        """Unit evaluations that the sum takes for so many cases."""
        return cases * self.states * self.units


def plan_enumeration(
    artifact: Artifact,
    clamped: frozenset[str] = frozenset(),
    free: Free | None = None,
    layers: Collection[str] | None = None,
) -> EnumerationPlan:
    """The cheapest discrete layers to enumerate so that the sum over the other free layers closes.

    It closes where no two units of these share an edge, or where those that do are Gaussian and share pair edges
    only. The choice is a minimum-weight vertex cover of the graph of free layers, weights being logarithms of numbers
    of states; found by branching on an edge that does not close, which is exact, and fast for the few layers that a
    model has.

    Args:
        artifact: The compiled model.
        clamped: The layers that are known as a whole.
        free: What varies of the others; everything if None.
        layers: Those that take part; all if None.

    Raises:
        Error: No enumeration closes the sum.
    """
    free = free or Free()
    names = [n for n in artifact.layers if n not in clamped and (layers is None or n in layers)]
    edges = [e.layers for e in artifact.edges if clamped.union(names).issuperset(e.layers)]
    counts = {n: count for n in names if (count := count_states(artifact.layers[n], free)) is not None}
    best: list[tuple[float, frozenset[str]]] = []

    def branch(chosen: frozenset[str], spent: float) -> None:
        if best and spent >= best[-1][0]:
            return
        unclosed = next((e for e in edges if not _closes(artifact, e, clamped | chosen)), None)
        if unclosed is None:
            best.append((spent, chosen))
            return
        for name in sorted((set(unclosed) & counts.keys()) - chosen, key=lambda n: counts[n]):
            branch(chosen | {name}, spent + math.log(counts[name]))

    branch(frozenset(), 0.0)
    if not best:
        raise Error(_no_plan(artifact, edges, clamped | counts.keys()))
    chosen = tuple(n for n in names if n in best[-1][1])
    rest = [n for n in names if n not in chosen]
    coupled = {n for e in edges if len(ends := [n for n in e if n in rest]) > 1 for n in ends}
    return EnumerationPlan(
        chosen,
        tuple(n for n in rest if n not in coupled),
        tuple(n for n in rest if n in coupled),
        math.prod(counts[n] for n in chosen),
        sum(free.units(artifact.layers[n]) for n in names),
    )


def _closes(artifact: Artifact, edge: tuple[str, ...], known: frozenset[str]) -> bool:
    """Whether the sum over the ends of one edge that are not known closes."""
    ends = [n for n in edge if n not in known]
    return len(ends) < 2 or (len(edge) == 2 and all(artifact.layers[n].quadratic for n in ends))


def _no_plan(artifact: Artifact, edges: list[tuple[str, ...]], known: frozenset[str]) -> str:
    stuck = next(e for e in edges if not _closes(artifact, e, known))
    units = " and ".join(f"{n} ({artifact.layers[n].unit})" for n in dict.fromkeys(stuck) if n not in known)
    return (
        f"{artifact.name}: the units of {units} share an edge and cannot be summed exactly: they do not have finitely "
        "many states, and the integral does not close; use annealed importance sampling (method = ais)"
    )
