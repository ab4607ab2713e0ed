"""The forms of checks that speak of q, the distribution of hidden layers given data, and of the up-pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from pgmdsl.compiler.forms import FormError, up_unit
from pgmdsl.compiler.model import Model, Size
from pgmdsl.grammar.source import Span
from pgmdsl.grammar.syntax import Call, Expression, Index, Name

Q_FUNCTIONS = ("expect", "entropy", "kl", "up")


class QForms(ABC):
    """The part of the walk over a check's formulas that these forms need."""

    model: Model
    known: frozenset[str]
    q: Literal["means", "layers", "up"] | None
    expecting: bool

    @abstractmethod
    def visit(self, node: Expression) -> None:
        """Report every mistake in an expression."""

    @abstractmethod
    def visit_index(self, node: Expression, size: Size) -> None:
        """An index of an axis of this size."""

    @abstractmethod
    def verify_plain(self, node: Call, count: int) -> None:
        """Raise `FormError` unless the call has this many arguments and nothing else."""

    def verify_q(self, what: str, span: Span) -> None:
        """Raise `FormError` where q has no meaning: in checks that do not speak of it, and in its expectation."""
        if self.q not in ("means", "layers"):
            help = "speak of q on the left side too: q(...), bound, entropy(q), kl(q, ...) or expect(... under q)"
            raise FormError("E071", span, f"{what} stands in a check that does not speak of q", help)
        if self.expecting:
            raise FormError("E071", span, f"{what} stands inside of expect(...)", "take it out of the expectation")

    def visit_q(self, node: Call) -> None:
        """`expect(e under q)`, `entropy(q)`, `kl(q, p(h | v))`, `up(h[j])`, and a mean of q."""
        name = node.function
        if name == "up":
            self.visit_unit(node)
            return
        self.verify_q(f"{name}(...)", node.span)
        match node:
            case Call("mean_field"):
                self.visit_unit(node)
            case Call("entropy", (Name("q"),), given=None, generator=None, over=(), under=None):
                return
            case Call("kl", (Name("q"), Call("p", listed, given=tuple(known))), given=None, generator=None):
                self.verify_divergence(node, listed, known)
            case Call("expect", (body,), given=None, generator=None, over=(), under="q"):
                outer = self.known
                self.known, self.expecting = frozenset(self.model.layers), True
                self.visit(body)
                self.known, self.expecting = outer, False
            case _:
                raise FormError(
                    "E071", node.span, "this is no form of q", "entropy(q), kl(q, p(h | v)), expect(e under q)"
                )

    def visit_unit(self, node: Call) -> None:
        """A hidden unit: `up(h[j])`, or `mean_field(h[j])` in a check of q."""
        self.verify_plain(node, 1)
        (unit,) = node.arguments
        if not isinstance(unit, Index):
            raise FormError("E068", unit.span, f"{node.function}(...) is of one unit", "for example up(h[j])")
        layer, _ = up_unit(self.model, unit)
        if node.function == "mean_field" and self.q != "means":
            raise FormError(
                "E071",
                node.span,
                "q is that of recognition edges here, and not of mean field",
                "write the mean out, in what the left side lists",
            )
        if node.function == "up" and self.q is None:
            message = "up(...) stands in a check that does not speak of the up-pass"
            raise FormError("E071", node.span, message, "write up(...) on the left side too")
        for index, size in zip(unit.indices, self.model.layers[layer].dims, strict=True):
            self.visit_index(index, size)

    def verify_divergence(self, node: Call, listed: tuple[Expression, ...], known: tuple[Expression, ...]) -> None:
        """Raise `FormError` unless the two distributions are of the same layers, given the same."""
        hidden = {name for name, layer in self.model.layers.items() if layer.role == "hidden"}
        names = [{item.name for item in items if isinstance(item, Name)} for items in (listed, known)]
        if names != [hidden, self.model.layers.keys() - hidden]:
            shown = [
                ", ".join(n for n, x in self.model.layers.items() if (x.role == "hidden") == h) for h in (True, False)
            ]
            message = "q is a distribution of all hidden layers given all others, and p(...) here is not"
            raise FormError("E071", node.span, message, f"write kl(q, p({shown[0]} | {shown[1]}))")
