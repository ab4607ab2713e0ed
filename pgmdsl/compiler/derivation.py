"""What is derived from a model: formulas, as expressions of the language, with free indices named."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from pgmdsl.grammar.syntax import Expression


@dataclass(frozen=True, slots=True)
class Equation:
    """`left == right`, each an expression that a `check` could hold."""

    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Contribution:
    """One edge's share of a layer's coupling field: `coefficient * sum weight * product of statistics(neighbours)`.

    `neighbours` are the layers of the weight's other axes, in their order; `axis` is which of the weight's layers this
    one is. For a pair: axis 0, `statistic(neighbour) @ W.T`; axis 1, `statistic(neighbour) @ W`. For a lateral edge the
    neighbour is the layer itself (axis 0), and the unit's own state does not enter, as the diagonal is zero.
    """

    weight: str
    neighbours: tuple[str, ...]
    axis: int
    coefficient: Fraction


@dataclass(frozen=True, slots=True)
class Conditional:
    """The conditional of one layer given all others, factorised over its units (sites).

    `indices` name the free indices (`h1[j]`: ("j",)); `given` the layers it depends on. `field` is the total field
    of one unit (own and coupling); `mean` the mean of the *state*; `deviation` its standard deviation for a real
    layer, else None; `log_partition` the log normaliser at that field; `equation` the whole: `p(h1[j] = 1 | v, h2)
    == sigmoid(...)`, or `p(v[i] | h) == normal(mean, deviation)`.
    """

    layer: str
    family: str
    indices: tuple[str, ...]
    given: tuple[str, ...]
    field: Expression
    mean: Expression
    deviation: Expression | None
    log_partition: Expression
    equation: Equation


@dataclass(frozen=True)
class Derivation:
    """All that follows from a model's terms.

    `mean_field` has one equation per hidden layer; `free_energy` is None where it does not close, and
    `free_energy_reason` then says why in the file's names; `gradients` has one equation per parameter that is not
    fixed: `gradient(W[i,j]) == data(v[i]*h[j]) - model(v[i]*h[j])` (of the log-likelihood, ascent direction). Where
    layers have parents, their conditionals are given these; `recognition` has those of recognition edges.
    """

    energy: Equation
    conditionals: Mapping[str, Conditional]
    contributions: Mapping[str, tuple[Contribution, ...]]
    mean_field: Mapping[str, Equation]
    free_energy: Equation | None
    free_energy_reason: str | None
    gradients: Mapping[str, Equation]
    recognition: Mapping[str, Conditional] = dataclasses.field(default_factory=dict)
