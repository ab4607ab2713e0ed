"""Probabilities of whole layers, and the partition function, as formulas."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pgmdsl.compiler.derive import derive_free_energy, open_edge
from pgmdsl.compiler.energy import Fields
from pgmdsl.compiler.expressions import call, entry, product
from pgmdsl.compiler.forms import FormError, Joint, Partition
from pgmdsl.compiler.model import Model
from pgmdsl.compiler.rewrite import walk
from pgmdsl.compiler.symbols import length
from pgmdsl.compiler.units import Counts
from pgmdsl.grammar.source import Span
from pgmdsl.grammar.syntax import Binary, Call, Expression, Generator, Name, Negate

Z = Name("Z")


def verify_sums(model: Model, form: Joint | Partition, right: Expression, span: Span) -> None:
    """Raise `FormError` where a sum over states in a probability of whole layers does not close."""
    free = [name for name, layer in model.layers.items() if layer.role == "given"]
    listed = [*form.layers, *form.given] if isinstance(form, Joint) else free
    unlisted = [name for name in free if name not in listed]
    if unlisted:
        message = f"{unlisted[0]} is given, and never summed over"
        raise FormError("E070", span, message, f"list {unlisted[0]} after |")
    for known in _sums(model, form, right):
        reason = open_edge(model, known) if not list(_summed(model, known, right)) else None
        if reason is not None:
            help = "write what does not close as a sum over states, sum(exp(-energy) over h), or Z for all states"
            raise FormError("E070", span, reason, help)


def joint_sides(fields: Fields, form: Joint | Partition, right: Expression) -> tuple[Expression, ...]:
    """The left side as formulas that are all the same: sums over states in closed form, or as the right side has them.

    Z stays as it is where the right side holds it.
    """
    model = fields.symbols.model
    above, *below = (
        [_sum(fields, known, layers) for layers in _summed(model, known, right)] for known in _sums(model, form, right)
    )
    if isinstance(form, Partition):
        return tuple(above)
    bottoms = below[0] if below else [Z]
    return tuple(_counted(fields, form, Binary("/", top, bottom)) for top in above for bottom in bottoms)


def free_energies(fields: Fields, known: Collection[str], right: Expression) -> tuple[Expression, ...]:
    """The free energy of some layers as formulas that are all the same: in closed form, and as the right side sums."""
    written = [layers for layers in _summed(fields.symbols.model, known, right) if layers]
    sums = [Negate(call("log", _sum(fields, known, layers))) for layers in written]
    return (call("free_energy", *map(Name, known)), *sums)


def _sums(model: Model, form: Joint | Partition, right: Expression) -> Iterator[tuple[str, ...]]:
    """What is known in the sum above the line, then in that below it unless that is Z as it stands."""
    free = tuple(name for name, layer in model.layers.items() if layer.role == "given")
    if isinstance(form, Partition):
        yield free
        return
    yield (*form.layers, *form.given)
    if not (set(form.given) <= set(free) and any(node == Z for node in walk(right))):
        yield form.given


def _summed(model: Model, known: Collection[str], right: Expression) -> Iterator[tuple[str, ...]]:
    """Which layers to sum over as the right side does, so that the others close: those it sums over, or none."""
    over = {name for node in walk(right) if isinstance(node, Call) for name in node.over}
    layers = tuple(name for name in model.layers if name in over and name not in known)
    for chosen in dict.fromkeys((layers, ())):
        if open_edge(model, {*known, *chosen}) is None:
            yield chosen


def _sum(fields: Fields, known: Collection[str], layers: tuple[str, ...]) -> Expression:
    """The sum of exp(-energy) over all states of what is not known, those of these layers written out."""
    names = [name for name in fields.symbols.model.layers if name in known or name in layers]
    inner = call("exp", Negate(derive_free_energy(fields, names)))
    return Call("sum", (inner,), over=layers) if layers else inner


def _counted(fields: Fields, form: Joint, formula: Expression) -> Expression:
    """The probability of counts: as many times that of a document as there are orders of its words."""
    symbols = fields.symbols
    documents = [n for n in form.layers if form.counts and isinstance(symbols.model.layers[n].unit.support, Counts)]
    for name in documents:
        letters = symbols.letters[name]
        repeats = Call("prod", (call("factorial", entry(name, letters)),), generator=Generator(letters))
        formula = product([formula, call("factorial", length(name))], [repeats])
    return formula
