"""The names of a check that stand for formulas, written out: energy, bound, entropy(q), up(h[j]) and the like."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from pgmdsl.compiler.derive import derive_energy, derive_free_energy
from pgmdsl.compiler.energy import Fields
from pgmdsl.compiler.expressions import bound_names, call, renamed
from pgmdsl.compiler.joint import all_states
from pgmdsl.compiler.posterior import Posterior, up_pass
from pgmdsl.compiler.rewrite import rewrite, walk
from pgmdsl.grammar.syntax import Binary, Call, Expression, Index, Name, Negate


@dataclass(frozen=True)
class Expander:
    """Writes a check's formulas out.

    `posterior` is q where the check speaks of it, and `means` whether a hidden layer's name stands for its mean under
    q where no sum over states or expectation is around it. `right` is the right side, which says how sums over states
    that do not close are written, and whether Z stands as it is.
    """

    fields: Fields
    right: Expression
    posterior: Posterior | None = None
    means: bool = False

    def expanded(self, expression: Expression) -> Expression:
        """A formula with all of them written out, in indices that it does not have itself."""
        used = self.fields.symbols.reserved | bound_names(expression)
        used |= {node.name for node in walk(expression) if isinstance(node, Name)}
        whole = self._written(expression, used)
        return self._with_means(whole, frozenset()) if self.posterior is not None else whole

    def _written(self, expression: Expression, used: Collection[str]) -> Expression:
        def change(node: Expression) -> Expression | None:
            match node:
                case Name("energy"):
                    return renamed(derive_energy(self.fields.symbols), {}, used)
                case Name("log_joint"):
                    return renamed(self._log_joint(), {}, used)
                case Name("bound"):
                    return renamed(self._bound(), {}, used)
                case Call("free_energy", layers):
                    return renamed(derive_free_energy(self.fields, names_of(layers)), {}, used)
                case Call("entropy"):
                    return renamed(Negate(self._expected(self._log_q())), {}, used)
                case Call("kl", (_, Call(given=known))):
                    return renamed(self._divergence(names_of(known or ())), {}, used)
                case Call("up", (Index() as unit,)):
                    return renamed(up_pass(self.fields.symbols, unit), {}, used)
                case _:
                    return None

        return rewrite(expression, change)

    def _log_q(self) -> Expression:
        assert self.posterior is not None, "q stands where the check of scope lets it"
        return self.posterior.log

    def _expected(self, body: Expression) -> Expression:
        return Call("expect", (body,), under="q")

    def _log_sum(self, known: Collection[str]) -> Expression:
        return call("log", all_states(self.fields, known, self.right))

    def _log_joint(self) -> Expression:
        """The logarithm of the probability of all layers: `-energy - log Z`."""
        free = [name for name, layer in self.fields.symbols.model.layers.items() if layer.role == "given"]
        return Binary("-", Negate(derive_energy(self.fields.symbols)), self._log_sum(free))

    def _bound(self) -> Expression:
        """E_q[log p(all layers)] + H(q): Salakhutdinov (2015), eqs. 24 and 36. Z does not depend on what q draws."""
        free = [name for name, layer in self.fields.symbols.model.layers.items() if layer.role == "given"]
        energy = self._expected(Negate(derive_energy(self.fields.symbols)))
        return Binary("-", Binary("-", energy, self._log_sum(free)), self._expected(self._log_q()))

    def _divergence(self, known: Collection[str]) -> Expression:
        """E_q[log q - log p(hidden | known)], the latter being -energy less the log of its sum over hidden states."""
        energy = self._expected(derive_energy(self.fields.symbols))
        return Binary("+", Binary("+", self._expected(self._log_q()), energy), self._log_sum(known))

    def _with_means(self, node: Expression, states: frozenset[str]) -> Expression:
        """The formula with the means of hidden units in the place of their names; `states` are layers with states."""
        assert self.posterior is not None, "means are those of q"
        layers = self.posterior.layers

        def change(inner: Expression) -> Expression | None:
            assert self.posterior is not None, "means are those of q"
            match inner:
                case Call("mean_field", (Index() as unit,)) if self.posterior.by_means:
                    return self.posterior.mean(unit)
                case Index(name) if self.means and name in layers and name not in states:
                    return self.posterior.mean(inner)
                case Call("expect", (body,), under=str()):
                    return replace(inner, arguments=(self._with_means(body, frozenset(layers)),))
                case Call(_, (body,), over=over) if over and not states.issuperset(over):
                    return replace(inner, arguments=(self._with_means(body, states | set(over)),))
                case _:
                    return None

        return rewrite(node, change)


def enumerated(expression: Expression, posterior: Posterior | None) -> Expression:
    """The formula with every expectation under q as a sum over states, for its numerical value."""
    if posterior is None:
        return expression

    def change(node: Expression) -> Expression | None:
        match node:
            case Call("expect", (body,), under=str()):
                inner = enumerated(body, posterior)
                used = {n.name for n in walk(inner) if isinstance(n, Name)} | posterior.fields.symbols.reserved
                weight = call("exp", renamed(posterior.log, {}, used))
                return Call("sum", (Binary("*", weight, inner),), over=posterior.layers)
            case _:
                return None

    return rewrite(expression, change)


def names_of(items: Iterable[Expression]) -> list[str]:
    """The names in a list of layers."""
    return [item.name for item in items if isinstance(item, Name)]
