"""The slips of one hand that formulas suffer: a name for another, a transposed weight, a sign, a factor, an index.

From a formula that is wrong come those that it may have been meant to be, each with the change in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from pgmdsl.compiler.expressions import call
from pgmdsl.compiler.model import Model, Size
from pgmdsl.compiler.rewrite import rewrite, walk
from pgmdsl.compiler.symbols import length
from pgmdsl.compiler.units import Counts, Finite
from pgmdsl.grammar.format import format_expression
from pgmdsl.grammar.syntax import Binary, Call, Compare, Expression, Generator, Index, Name, Negate, Number

HALF = Binary("/", Number("1"), Number("2"))
TWO = Number("2")
OPPOSITE = {"+": "-", "-": "+", "*": "/", "/": "*"}
OF_AVERAGES = "an average of products is not the product of averages"
OF_SUMS = "a sum of products is not the product of sums"
TWINS = {"data": "model", "model": "data", "sum": "prod", "prod": "sum"}

Rebuild = Callable[[Expression], Expression]


@dataclass(frozen=True, slots=True)
class Slip:
    """A formula as it may have been meant; `told` is what is changed, after "it holds ..."; `rank` its likeliness.

    `{}` in `told` stands for `term`, so that a term that has a name can be called by it.
    """

    right: Expression
    told: str
    rank: int
    term: Expression | None = None


@dataclass(frozen=True)
class Slips:
    """Slips in formulas of a model.

    `free` are the indices that stand on the left, with their ranges; `passing` says whether this is one of an up-pass.
    """

    model: Model
    free: Mapping[str, Size]
    passing: bool = False

    def of(self, right: Expression) -> list[Slip]:
        """Every formula one slip away, the likeliest first, each once."""
        found = [*self._everywhere(right), *self._whole(right), *self._within(right, lambda node: node, self.free)]
        unique: dict[Expression, Slip] = {}
        for slip in sorted(found, key=lambda slip: slip.rank):
            if slip.right != right:
                unique.setdefault(slip.right, slip)
        return list(unique.values())

    # --- changes at one place ---

    def _within(self, node: Expression, rebuild: Rebuild, ranges: Mapping[str, Size]) -> Iterator[Slip]:
        """Slips at one place inside of a formula; `rebuild` puts a node back into the whole."""
        if isinstance(node, Call) and node.generator is not None:
            ranges = {**ranges, **self._ranges(node)}
        for changed, told, rank, term in self._here(node, ranges):
            yield Slip(rebuild(changed), told, rank, term)
        for child, put in _children(node):
            yield from self._within(child, lambda inner, put=put: rebuild(put(inner)), ranges)  # type: ignore[misc]

    def _here(
        self, node: Expression, ranges: Mapping[str, Size]
    ) -> Iterator[tuple[Expression, str, int, Expression | None]]:
        match node:
            case Index(name, indices):
                for other, words, rank in self._entries(name, indices, ranges):
                    yield other, words, rank, None
                for times, words in self._factors(node, ranges):
                    yield times, words, 4, None
            case Negate(operand):
                yield operand, "with the sign of {} reversed", 0, operand
            case Binary(op, left, right):
                yield from _operator(node, op, left, right)
                for joined, words in self._joined(node):
                    yield joined, f"with {_shown(joined)} in place of {_shown(node)}{words}", 2, None
            case Call(function, arguments, generator=generator):
                if function in TWINS and not node.over:
                    other = replace(node, function=TWINS[function])
                    yield other, f"with {_shown(other)} in place of {_shown(node)}", 3, None
                if function in ("exp", "sigmoid", "softplus", "tanh"):
                    yield (
                        replace(node, arguments=(Negate(arguments[0]),)),
                        "with the sign of {} reversed",
                        1,
                        arguments[0],
                    )
                if function == "sum":
                    for times, words in self._factors(node, ranges):
                        yield times, words, 4, None
                if generator is not None and generator.condition is not None:
                    other = replace(node, generator=replace(generator, condition=None))
                    yield other, f"without the condition: {_shown(other)} in place of {_shown(node)}", 5, None
            case _:
                return

    def _entries(
        self, name: str, indices: tuple[Expression, ...], ranges: Mapping[str, Size]
    ) -> Iterator[tuple[Expression, str, int]]:
        """Another entry in the place of one: of the transpose, with another index, of another name of this shape."""
        here = Index(name, indices)
        if len(indices) == 2 and indices[0] != indices[1]:
            turned = Index(name, indices[::-1])
            yield turned, f"with {_shown(turned)} in place of {_shown(here)}: {name} is transposed", 1
        for k, size in enumerate(self._shape(name)):
            for index, extent in ranges.items():
                if extent == size and Name(index) != indices[k]:
                    other = Index(name, (*indices[:k], Name(index), *indices[k + 1 :]))
                    yield other, f"with {_shown(other)} in place of {_shown(here)}", 2
        for twin in self._twins(here, ranges):
            yield twin, self._renaming(here, twin), 1
        if len(indices) == 1:
            for layer_name in self.model.layers:
                for index, size in ranges.items():
                    if layer_name != name and Name(index) != indices[0] and self._shape(layer_name) == (size,):
                        unit = Index(layer_name, (Name(index),))
                        yield unit, self._renaming(here, unit), 3
        layer = self.model.layers.get(name)
        if layer is not None and layer.unit.support == Finite((Fraction(0), Fraction(1))):
            spin = Binary("-", Binary("*", TWO, here), Number("1"))
            yield spin, f"with {_shown(spin)}, which is -1 or 1, in place of {_shown(here)}", 4

    def _joined(self, node: Binary) -> Iterator[tuple[Expression, str]]:
        """A product of averages as the average of products, of sums as a sum of products, a factor in its sum."""
        together = _averaged_together(node)
        if together is not None:
            yield together, f": {OF_AVERAGES}"
        match node:
            case Binary("*", Call("sum", (one,), generator=Generator(names)), Call("sum", (other,), generator=others)):
                if others is not None and names == others.names:
                    yield Call("sum", (Binary("*", one, other),), generator=others), f": {OF_SUMS}"
            case Binary("*", Index(name, (Name(),)), Call("sum", (body,), generator=Generator((index,)) as generator)):
                yield Call("sum", (Binary("*", body, Index(name, (Name(index),))),), generator=generator), ""
            case _:
                return

    def _factors(self, node: Expression, ranges: Mapping[str, Size]) -> Iterator[tuple[Expression, str]]:
        """The node with a factor that may have been forgotten, or a power."""
        shown = _shown(node)
        for layer in self.model.layers.values():
            if isinstance(layer.unit.support, Counts):
                times = length(layer.name)
                for other in (Binary("*", times, node), Binary("^", node, times)):
                    words = f"the document length, {_shown(times)}, is missing"
                    yield other, f"with {_shown(other)} in place of {shown}: {words}"
        for factor in (TWO, HALF):
            other = Binary("*", factor, node)
            yield other, f"with {_shown(other)} in place of {shown}: the factor {_shown(factor)} is missing"
        for name, parameter in self.model.parameters.items():
            for index in (i for i, size in ranges.items() if parameter.kind == "unit" and parameter.shape == (size,)):
                own = Index(name, (Name(index),))
                for other in (Binary("*", own, node), Binary("/", node, own)):
                    yield other, f"with {_shown(other)} in place of {shown}: {role(self.model, own)} is missing"

    # --- changes of the whole, and of all places alike ---

    def _whole(self, right: Expression) -> Iterator[Slip]:
        yield Slip(Negate(right), "with the sign of the whole right side reversed", 0)
        for factor in (TWO, HALF):
            yield Slip(Binary("*", factor, right), f"with {_shown(factor)} times the whole right side", 3)

    def _everywhere(self, right: Expression) -> Iterator[Slip]:
        """A name for another, or a factor missing, wherever an entry stands more than once."""
        entries = [node for node in walk(right) if isinstance(node, Index)]
        ranges = dict(self.free)
        for node in walk(right):
            if isinstance(node, Call) and node.generator is not None:
                ranges |= self._ranges(node)
        for node in dict.fromkeys(entries):
            often = entries.count(node)
            if often < 2:
                continue
            for twin in self._twins(node, ranges):
                yield Slip(_replaced(right, node, twin), self._renaming(node, twin, f" ({often} times)"), 1)
            for times, words in self._factors(node, ranges):
                yield Slip(_replaced(right, node, times), f"{words} ({often} times)", 4)
        apart = [node for node in walk(right) if _averaged_together(node) is not None]
        if len(apart) > 1:
            joined = rewrite(right, _averaged_together)
            yield Slip(joined, f"with averages of products, {_shown(joined)}: {OF_AVERAGES}", 2)

    # --- names ---

    def _renaming(self, old: Expression, new: Expression, often: str = "") -> str:
        return f"with {role(self.model, new)} in place of {role(self.model, old)}{often}"

    def _shape(self, name: str) -> tuple[Size, ...]:
        if name in self.model.layers:
            return self.model.layers[name].dims
        return self.model.parameters[name].shape if name in self.model.parameters else ()

    def _twins(self, entry: Index, ranges: Mapping[str, Size]) -> Iterator[Expression]:
        """Entries of other names of this shape, or of the shape that the indices have; in an up-pass its means."""
        known = tuple(ranges[i.name] if isinstance(i, Name) and i.name in ranges else None for i in entry.indices)
        for name in (*self.model.layers, *self.model.parameters):
            if name != entry.name and self._shape(name) in (self._shape(entry.name), known):
                twin = Index(name, entry.indices)
                layer = self.model.layers.get(name)
                yield call("up", twin) if self.passing and layer is not None and layer.role == "hidden" else twin

    def _ranges(self, node: Call) -> dict[str, Size]:
        """The ranges of the indices that a sum binds, by the first entry in which each stands."""
        bound: dict[str, Size] = {}
        names: Sequence[str] = node.generator.names if isinstance(node.generator, Generator) else ()
        for inner in walk(node):
            if isinstance(inner, Index):
                for index, size in zip(inner.indices, self._shape(inner.name), strict=False):
                    if isinstance(index, Name) and index.name in names:
                        bound.setdefault(index.name, size)
        return bound


def role(model: Model, node: Expression) -> str:
    """An entry with what it is: `the bias a[j]`, `the hidden unit h[j]`; other formulas as they are."""
    shown = _shown(node)
    match node:
        case Call("up"):
            return f"the mean {shown}"
        case Index(name) if name in model.layers:
            return f"the {model.layers[name].role} unit {shown}"
        case Index(name) if name in model.parameters:
            if any(layer.sigma == name for layer in model.layers.values()):
                return f"the standard deviation {shown}"
            kind = model.parameters[name].kind
            return f"the {'parameter' if kind == 'unit' else kind} {shown}"
        case _:
            return shown


def _operator(
    node: Binary, op: str, left: Expression, right: Expression
) -> Iterator[tuple[Expression, str, int, Expression | None]]:
    """A sum, product, quotient or power as it may have been meant."""
    match op:
        case "+" | "-":
            yield replace(node, op=OPPOSITE[op]), "with the sign of {} reversed", 0, right
            if not isinstance(left, Binary | Negate):
                yield replace(node, left=Negate(left)), "with the sign of {} reversed", 0, left
            for kept, dropped in ((left, right), (right if op == "+" else Negate(right), left)):
                yield kept, "without {}", 3, dropped
        case "*" | "/":
            other = replace(node, op=OPPOSITE[op])
            how = "divides and does not multiply" if op == "*" else "multiplies and does not divide"
            yield other, f"with {_shown(other)} in place of {_shown(node)}: {_shown(right)} {how}", 3, None
            yield left, f"without the {'factor' if op == '*' else 'divisor'} {{}} in {_shown(node)}", 3, right
            if op == "*":
                yield right, f"without the factor {{}} in {_shown(node)}", 3, left
        case "^":
            yield left, f"with {_shown(left)} in place of {_shown(node)}", 3, None
        case _:
            return


def _children(node: Expression) -> Iterator[tuple[Expression, Rebuild]]:
    """The formulas inside a node that have a value, each with what puts another in its place."""
    match node:
        case Negate(operand):
            yield operand, lambda new: replace(node, operand=new)
        case Binary(_, left, right) | Compare(_, left, right):
            yield left, lambda new: replace(node, left=new)
            yield right, lambda new: replace(node, right=new)
        case Call(function, arguments) if function not in ("length", "free_energy", "p", "up", "mean_field", "kl"):
            for k, argument in enumerate(arguments):
                yield (
                    argument,
                    lambda new, k=k: replace(  # type: ignore[misc]
                        node, arguments=(*arguments[:k], new, *arguments[k + 1 :])
                    ),
                )
        case _:
            return


def _averaged_together(node: Expression) -> Expression | None:
    """`data(x*y)` for `data(x)*data(y)`; None for other formulas."""
    match node:
        case Binary("*", Call("data" | "model" as kind, (one,)), Call(same, (other,))) if same == kind:
            return call(kind, Binary("*", one, other))
        case _:
            return None


def _replaced(whole: Expression, old: Expression, new: Expression) -> Expression:
    return rewrite(whole, lambda node: new if node == old else None)


def _shown(node: Expression) -> str:
    return format_expression(node)
