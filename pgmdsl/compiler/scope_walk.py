"""The walk over a check's formulas: which names, indices and functions are in force where, and what is amiss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, assert_never

from pgmdsl.compiler.derive import open_edge
from pgmdsl.compiler.forms import FormError, count_layer, with_indices, wrong_count
from pgmdsl.compiler.model import Model, Size
from pgmdsl.compiler.scope_q import Q_FUNCTIONS, QForms
from pgmdsl.grammar.diagnostics import Diagnostics, suggest
from pgmdsl.grammar.source import Span
from pgmdsl.grammar.syntax import (
    Binary,
    Call,
    Compare,
    Conditional,
    Expression,
    Generator,
    Index,
    Name,
    Negate,
    Number,
    Set,
    Text,
    Transpose,
)
from pgmdsl.grammar.walk import walk

SCALAR_FUNCTIONS = ("sigmoid", "softplus", "exp", "log", "tanh", "sqrt", "abs", "factorial", "log_normal_cdf")
BINDERS = ("sum", "prod", "softmax")
OTHER_FUNCTIONS = ("data", "model", "d", "free_energy", "length", "normal", "poisson", "categorical")


@dataclass(frozen=True, slots=True)
class Clash:
    """An index that runs over two sizes."""

    index: str
    first: Size
    second: Size
    span: Span

    def __str__(self) -> str:
        """In words."""
        return f"the index {self.index} runs over {self.first} and over {self.second}"


@dataclass
class Scope(QForms):
    """The names in force at a place of a check.

    `ranges` maps each index in force to its size, None until it is used; `known` are the layers whose states may be
    named, and of another one the unit `own` alone; `averaged` says whether states stand in `data(...)` or `model(...)`,
    None outside of gradients; `partition` whether Z may stand here, `summing` whether sums over states may. `q` says
    whether the check speaks of q, by the means of its units or by its layers; or of the up-pass.
    """

    model: Model
    diagnostics: Diagnostics
    ranges: dict[str, Size | None] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    own: Index | None = None
    partition: bool = False
    summing: bool = True
    averaged: bool | None = None
    q: Literal["means", "layers", "up"] | None = None
    expecting: bool = False
    clash: Clash | None = None

    @contextmanager
    def reported(self) -> Iterator[None]:
        """Report a mistake raised inside, and go on."""
        try:
            yield
        except FormError as mistake:
            self.diagnostics.add(mistake.code, mistake.span, mistake.message, mistake.help)

    def add_free(self, indices: tuple[str, ...], sizes: tuple[Size, ...], span: Span) -> None:
        """Put indices that stand on the left in force."""
        for index, size in zip(indices, sizes, strict=True):
            with self.reported():
                self.verify_new(index, span)
            self.ranges[index] = size

    def visit(self, node: Expression) -> None:
        """Report every mistake in an expression."""
        match node:
            case Number():
                return
            case Name():
                with self.reported():
                    self.visit_name(node)
            case Index(_, indices):
                with self.reported():
                    self.visit_entry(node, indices)
            case Negate(operand):
                self.visit(operand)
            case Binary(_, left, right):
                self.visit(left)
                self.visit(right)
            case Conditional(value, condition, otherwise):
                self.visit(value)
                self.visit_condition(condition)
                self.visit(otherwise)
            case Call():
                with self.reported():
                    self.visit_call(node)
            case Compare() | Transpose() | Text() | Set():
                with self.reported():
                    raise FormError("E066", node.span, "this has no value in a formula")
            case _:
                assert_never(node)

    def visit_name(self, node: Name) -> None:
        """A bare name: a size, pi, or energy."""
        name = node.name
        if name in self.model.sizes or name == "pi" or (name == "Z" and self.partition):
            return
        if name == "Z":
            help = "for example p(v) == exp(-free_energy(v))/Z"
            raise FormError(
                "E073", node.span, "Z stands in the probability of whole layers, or alone on the left", help
            )
        if name in ("energy", "log_joint"):
            self.verify_known(name, tuple(self.model.layers), node.span)
            return
        if name == "bound":
            self.verify_q(name, node.span)
            return
        if name in self.ranges:
            message = f"{name} is an index: it stands in brackets, or in a condition such as i != j"
            raise FormError("E061", node.span, message)
        if name in self.model.layers or name in self.model.parameters:
            axes = len(self.shape_of(name))
            help = f"write {with_indices(name, axes)}"
            raise FormError("E061", node.span, f"{name} needs an index for each of its axes", help)
        raise FormError("E060", node.span, f"{name} is not known here", suggest(name, self.words()))

    def visit_entry(self, node: Index, indices: tuple[Expression, ...]) -> None:
        """An entry of a parameter or of a layer's state."""
        name = node.name
        if name not in self.model.layers and name not in self.model.parameters:
            if name in self.model.sizes:
                raise FormError("E061", node.span, f"{name} is a size: it takes no index")
            raise FormError("E060", node.span, f"{name} is not known here", suggest(name, self.words()))
        shape = self.shape_of(name)
        if len(indices) != len(shape):
            axes = f"its axes are {', '.join(map(str, shape))}"
            raise FormError("E061", node.span, wrong_count(name, len(shape), len(indices)), axes)
        if name in self.model.layers and node != self.own:
            self.verify_known(f"the state {name}", (name,), node.span)
        for index, size in zip(indices, shape, strict=True):
            with self.reported():
                self.visit_index(index, size)

    def visit_index(self, node: Expression, size: Size) -> None:
        """An index of an axis of this size."""
        if not isinstance(node, Name):
            raise FormError("E061", node.span, "an index is a name", "for example i")
        if node.name not in self.ranges:
            self.ranges[node.name] = size  # said once
            message = f"the index {node.name} is neither on the left side nor summed over"
            raise FormError("E062", node.span, message, f"write sum(... for {node.name}), or use an index of the left")
        known = self.ranges[node.name]
        if known is None:
            self.ranges[node.name] = size
        elif known != size and self.clash is None:
            self.clash = Clash(node.name, known, size, node.span)

    def verify_known(self, what: str, layers: tuple[str, ...], span: Span) -> None:
        """Raise `FormError` for what depends on a state that cannot be known here."""
        if self.averaged is False:
            help = "states stand inside of averages, for example data(v[i]*h[j])"
            raise FormError("E078", span, f"{what} stands outside data(...) and model(...)", help)
        if self.averaged is None and not self.known.issuperset(layers):
            listed = ", ".join(name for name in self.model.layers if name in self.known) or "no layer"
            message = f"the right side holds {what}, and the left side lists {listed} only"
            raise FormError("E067", span, message, "sum it out, or list its layer on the left")

    def visit_condition(self, node: Expression) -> None:
        """A condition: a comparison of two indices, or of two formulas."""
        match node:
            case Compare(_, Name(left), Name(right)) if left in self.ranges and right in self.ranges:
                first, second = self.ranges[left], self.ranges[right]
                if first is not None and second is not None and first != second and self.clash is None:
                    self.clash = Clash(right, first, second, node.span)
            case Compare(op, left, right) if op != "=":
                self.visit(left)
                self.visit(right)
            case _:
                with self.reported():
                    raise FormError("E066", node.span, "this is not a condition", "for example i != j")

    def visit_call(self, node: Call) -> None:
        """A function and its arguments."""
        name = node.function
        if name in BINDERS:
            self.visit_binder(node)
        elif name in SCALAR_FUNCTIONS:
            self.verify_plain(node, 1)
            self.visit(node.arguments[0])
        elif name in ("data", "model"):
            self.visit_average(node)
        elif name == "free_energy":
            self.visit_free_energy(node)
        elif name == "length":
            self.visit_length(node)
        elif name == "d":
            self.verify_plain(node, 2)
            body, variable = node.arguments
            for inner, _ in walk(body):
                if isinstance(inner, Call) and inner.function in ("data", "model"):
                    raise FormError(
                        "E078", inner.span, "an average inside of d(...) is not built yet", "d(...) inside it"
                    )
            if not isinstance(variable, Index) or variable.name not in self.model.parameters:
                raise FormError("E066", variable.span, "d(...) is by one entry of a parameter", "d(energy, W[i,j])")
            outer, self.partition = self.partition, False  # Z as it stands is no function of parameters
            self.visit(body)
            self.partition = outer
            self.visit(variable)
        elif name in Q_FUNCTIONS or (name == "mean_field" and self.q is not None):
            self.visit_q(node)
        else:
            self.refuse_call(node)

    def refuse_call(self, node: Call) -> None:
        """A function that cannot stand here."""
        name = node.function
        if name in ("normal", "poisson", "categorical"):
            raise FormError("E066", node.span, f"{name}(...) is the whole right side of a unit's distribution")
        if name in ("p", "q", "counts p", "word", "mean", "mean_field", "gradient", "wake", "sleep"):
            raise FormError(
                "E079", node.span, f"{name}(...) inside a formula is not built yet", "it can be a left side"
            )
        if name in self.model.layers or name in self.model.parameters:
            raise FormError("E065", node.span, f"{name} is no function", f"indices stand in brackets: {name}[...]")
        functions = [*SCALAR_FUNCTIONS, *BINDERS, *Q_FUNCTIONS, *OTHER_FUNCTIONS]
        raise FormError("E065", node.span, f"{name} is not a function", suggest(name, functions))

    def verify_plain(self, node: Call, count: int) -> None:
        """Raise `FormError` unless the call has this many arguments and nothing else."""
        if node.given is not None or node.generator is not None or node.over or node.under:
            raise FormError("E066", node.span, f"{node.function}(...) takes arguments alone, and no for, over or |")
        if len(node.arguments) != count:
            plural = "argument" if count == 1 else "arguments"
            raise FormError(
                "E066", node.span, f"{node.function}(...) takes {count} {plural}, and has {len(node.arguments)}", None
            )

    def visit_average(self, node: Call) -> None:
        """`data(...)` and `model(...)`."""
        self.verify_plain(node, 1)
        if self.averaged is not False:
            message = f"{node.function}(...) stands on the right side of gradient(...), and not inside another average"
            raise FormError("E078", node.span, message)
        self.averaged = True
        self.visit(node.arguments[0])
        self.averaged = False

    def visit_length(self, node: Call) -> None:
        """`length(words)`: known wherever there are documents, other than outside of averages."""
        self.verify_plain(node, 1)
        (document,) = node.arguments
        if not isinstance(document, Name):
            raise FormError("E066", document.span, "length(...) is of a layer", "for example length(words)")
        layer = count_layer(self.model, "length", document)
        if self.averaged is False:
            self.verify_known(f"length({layer.name})", (), node.span)

    def visit_free_energy(self, node: Call) -> None:
        """`free_energy(v)`: the layers listed are known, the others are summed out."""
        self.verify_plain(node, max(1, len(node.arguments)))
        listed = []
        for item in node.arguments:
            if not isinstance(item, Name) or item.name not in self.model.layers:
                known = suggest(item.name, list(self.model.layers)) if isinstance(item, Name) else None
                raise FormError("E060", item.span, "free_energy(...) lists layers", known)
            listed.append(item.name)
        reason = open_edge(self.model, listed)
        if reason is not None:
            help = "list more layers: what free_energy(...) lists is not summed out"
            raise FormError("E076", node.span, reason, help)
        self.verify_known(f"free_energy({', '.join(listed)})", tuple(listed), node.span)

    def visit_binder(self, node: Call) -> None:
        """`sum(e for i)`, `prod(e for i)`, `softmax(e for q at k)`."""
        generator = node.generator
        if node.over:
            self.visit_states(node)
            return
        if generator is None or len(node.arguments) != 1 or node.given is not None or node.under is not None:
            forms = "softmax(e for q at k)" if node.function == "softmax" else f"{node.function}(e for i)"
            raise FormError("E066", node.span, f"{node.function}(...) needs an index", f"write {forms}")
        at = generator.at
        if (node.function == "softmax") != (at is not None) or (at is not None and len(generator.names) != 1):
            raise FormError(
                "E066", node.span, "softmax, and it alone, has one index and an entry", "write softmax(e for q at k)"
            )
        if at is not None and generator.condition is not None:
            raise FormError("E066", node.span, "softmax takes no condition")
        outer, mistakes = self.ranges, len(self.diagnostics.found)
        self.ranges = dict(outer)
        for name in generator.names:
            with self.reported():
                self.verify_new(name, generator.span)
            self.ranges[name] = None
        self.visit(node.arguments[0])
        if generator.condition is not None:
            self.visit_condition(generator.condition)
        inner = self.ranges
        self.ranges = {name: inner[name] for name in outer}
        if len(self.diagnostics.found) == mistakes:
            self.verify_used(generator, inner)
        if at is not None and (size := inner[generator.names[0]]) is not None:
            self.visit_index(at, size)

    def visit_states(self, node: Call) -> None:
        """`sum(e over h)`: all states of some layers, which are known inside."""
        if node.function != "sum" or len(node.arguments) != 1 or node.generator is not None or node.given is not None:
            raise FormError("E066", node.span, "a sum over states is written sum(e over h)")
        if not self.summing:
            raise FormError("E079", node.span, "in mean field a hidden layer's name is its mean, and has no states")
        for name in node.over:
            if name not in self.model.layers:
                raise FormError("E060", node.span, f"{name} is not a layer", suggest(name, list(self.model.layers)))
            if self.model.layers[name].role == "given":
                raise FormError("E070", node.span, f"{name} is given, and never summed over", "sum over other layers")
        outer, own = self.known, self.own
        self.known = outer | set(node.over)
        self.own = None if own is not None and own.name in node.over else own
        self.visit(node.arguments[0])
        self.known, self.own = outer, own

    def verify_used(self, generator: Generator, ranges: Mapping[str, Size | None]) -> None:
        """Raise `FormError` for an index that is bound and not used, so that its range is not known."""
        for name in generator.names:
            if ranges[name] is None:
                message = f"the index {name} is not used, so there is nothing to say what it runs over"
                raise FormError("E077", generator.span, message, f"use {name} in brackets, or leave it out")

    def verify_new(self, name: str, span: Span) -> None:
        """Raise `FormError` for an index whose name means something else here."""
        if name in self.ranges:
            raise FormError("E064", span, f"the index {name} is in use already", "give it another name")
        if name in self.model.sizes or name in self.model.layers or name in self.model.parameters:
            raise FormError("E064", span, f"{name} is a name of the model, so no index can have it", "name it apart")

    def shape_of(self, name: str) -> tuple[Size, ...]:
        """The axes of a layer or parameter."""
        layer = self.model.layers.get(name)
        return layer.dims if layer is not None else self.model.parameters[name].shape

    def words(self) -> list[str]:
        """Names that are known here."""
        return [*self.model.layers, *self.model.parameters, *self.model.sizes, *self.ranges, "pi"]
