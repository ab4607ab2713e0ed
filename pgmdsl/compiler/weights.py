"""The conditional of one unit by the weights of its states: exp(-energy) at each, all that is not known summed out.

It serves where a unit is no exponential family in a field: a parent, whose children's normalisers depend on it, and a
single site whose neighbours are summed out.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from pgmdsl.compiler.derive import derive_free_energy
from pgmdsl.compiler.energy import Fields
from pgmdsl.compiler.expressions import ONE, ZERO, call, entry, fresh_index, renamed, signed_constant, total
from pgmdsl.compiler.rewrite import rewrite, walk
from pgmdsl.compiler.units import Finite
from pgmdsl.grammar.syntax import Binary, Call, Compare, Conditional, Expression, Generator, Index, Name, Negate


@dataclass(frozen=True)
class StateWeights:
    """The unit of a layer, at the layer's letters, whose energy is this formula of the layer's states."""

    fields: Fields
    name: str
    energy: Expression

    @property
    def letters(self) -> tuple[str, ...]:
        """The indices of the unit."""
        return self.fields.symbols.letters[self.name]

    def at(self, value: Fraction) -> Expression:
        """The probability of a state of a unit that has few."""
        values = self._values()
        if len(values) == 2:
            other = next(x for x in values if x != value)
            return call("sigmoid", Binary("-", self._energy_of(other), self._energy_of(value)))
        weights = [call("exp", Negate(self._energy_of(x))) for x in values]
        return Binary("/", call("exp", Negate(self._energy_of(value))), total([(1, weight) for weight in weights]))

    @property
    def probability(self) -> Expression:
        """The probability of the unit's own state, or of the state of a site that the last letter names."""
        if self._is_site():
            *site, state = self.letters
            taken = self.fields.symbols.reserved | self.fields.symbols.all_letters
            taken |= {n.name for n in walk(self.energy) if isinstance(n, Name)}
            other = fresh_index(taken)
            whole = Call("sum", (self._weight_of((*site, other)),), generator=Generator((other,)))
            return Binary("/", self._weight_of((*site, state)), whole)
        own = entry(self.name, self.letters)
        return total(
            [(1, Conditional(self.at(x), Compare("==", own, signed_constant(x)), ZERO)) for x in self._values()]
        )

    def _is_site(self) -> bool:
        return self.fields.symbols.model.layers[self.name].unit.states_axis

    def _values(self) -> tuple[Fraction, ...]:
        support = self.fields.symbols.model.layers[self.name].unit.support
        assert isinstance(support, Finite), "the check of scope sees to it"
        return support.values

    def _weight_of(self, unit: tuple[str, ...]) -> Expression:
        """The weight of the state that the last index names."""
        return call("exp", Negate(self._with_state(unit, unit[:-1], ONE)))

    def _energy_of(self, value: Fraction) -> Expression:
        return self._with_state(self.letters, self.letters, signed_constant(value))

    def _with_state(self, unit: tuple[str, ...], place: tuple[str, ...], value: Expression) -> Expression:
        """The energy with a state in the place of one unit: `1` or another value, and 0 for other states of a site."""
        own = renamed(self.energy, {}, {*unit, *place})

        def change(node: Expression) -> Expression | None:
            if not isinstance(node, Index) or node.name != self.name:
                return None
            indices = [i.name for i in node.indices if isinstance(i, Name)]
            inner: Expression = value
            if self._is_site():
                known = [Binary("*", ZERO, entry(self.name, at)) for at in (indices, unit)]  # say what the indices are
                inner = Binary("+", Conditional(value, _same(indices[-1], unit[-1]), ZERO), ZERO)
                inner = Binary("+", Binary("+", known[0], known[1]), inner)
            for index, other in zip(indices, place, strict=False):
                inner = Conditional(inner, _same(index, other), node)
            return inner

        return rewrite(own, change)


def _same(first: str, second: str) -> Compare:
    return Compare("==", Name(first), Name(second))


def state_weights(part: Fields, name: str, given: tuple[str, ...]) -> StateWeights:
    """The weights of a unit's states in the model of what it depends on."""
    model = part.symbols.model
    known = model.layers if "rest" in given else [n for n in model.layers if n == name or n in given]
    return StateWeights(part, name, derive_free_energy(part, list(known)))


def is_coupled(part: Fields, name: str, given: tuple[str, ...]) -> bool:
    """Whether what a unit's conditional depends on is more than a field: children, or states that are summed out."""
    model = part.symbols.model
    if any(edge.tail == name for edge in model.directed):
        return True
    known = {name, *given}
    return "rest" not in given and any(layer not in known for layer in model.layers)
