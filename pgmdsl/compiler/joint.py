"""Probabilities of whole layers, and the partition function, as formulas."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from pgmdsl.compiler.derive import counted_out, derive_free_energy, open_edge
from pgmdsl.compiler.energy import Fields, declared_fields
from pgmdsl.compiler.expressions import call, entry, product
from pgmdsl.compiler.forms import FormError, Joint, Partition
from pgmdsl.compiler.model import Model
from pgmdsl.compiler.rewrite import walk
from pgmdsl.compiler.separate import separated
from pgmdsl.compiler.symbols import length
from pgmdsl.compiler.units import Counts
from pgmdsl.grammar.source import Span
from pgmdsl.grammar.syntax import Binary, Call, Expression, Generator, Name, Negate

Z = Name("Z")


def verify_sums(model: Model, form: Joint | Partition, right: Expression, span: Span) -> None:
    """Raise `FormError` where a sum over states in a probability of whole layers does not close."""
    part = part_of(model, form, right)
    free = _free(part)
    listed = [*form.layers, *form.given] if isinstance(form, Joint) else free
    unlisted = [name for name in free if name not in listed]
    if unlisted:
        message = f"{unlisted[0]} is given, and never summed over"
        raise FormError("E070", span, message, f"list {unlisted[0]} after |")
    for known in _sums(model, form, right):
        reason = open_edge(part, known) if not list(_summed(part, known, right)) else None
        if reason is not None:
            help = "write what does not close as a sum over states, sum(exp(-energy) over h), or Z for all states"
            raise FormError("E070", span, reason, help)


def part_of(model: Model, form: Joint | Partition, right: Expression) -> Model:
    """The model of what the left side depends on: all of it where Z stands below the line."""
    if isinstance(form, Partition) or _is_over_z(model, form, right):
        return model
    return separated(model, form.layers, form.given).model


def joint_sides(fields: Fields, form: Joint | Partition, right: Expression) -> tuple[Expression, ...]:
    """The left side as formulas that are all the same: sums over states in closed form, or as the right side has them.

    Z stays as it is where the right side holds it.
    """
    model = fields.symbols.model
    part = declared_fields(replace(fields.symbols, model=part_of(model, form, right)))
    above, *below = (
        [_sum(part, known, layers) for layers in _summed(part.symbols.model, known, right)]
        for known in _sums(model, form, right)
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


def all_states(fields: Fields, known: Collection[str], right: Expression) -> Expression:
    """The sum of exp(-energy) over all states of what is not known: Z as it stands, where the right side holds it.

    What does not close is summed over as the right side does, or over everything.
    """
    model = fields.symbols.model
    if set(known) <= set(_free(model)) and holds_z(right):
        return Z
    gone = {*known, *counted_out(model, known)}
    every = tuple(name for name in model.layers if name not in gone)
    return _sum(fields, known, next(_summed(model, known, right), every))


def holds_z(right: Expression) -> bool:
    """Whether Z stands in a formula."""
    return any(node == Z for node in walk(right))


def _free(model: Model) -> tuple[str, ...]:
    return tuple(name for name, layer in model.layers.items() if layer.role == "given")


def _is_over_z(model: Model, form: Joint, right: Expression) -> bool:
    return set(form.given) <= set(_free(model)) and holds_z(right)


def _sums(model: Model, form: Joint | Partition, right: Expression) -> Iterator[tuple[str, ...]]:
    """What is known in the sum above the line, then in that below it unless that is Z as it stands."""
    if isinstance(form, Partition):
        yield _free(model)
        return
    yield (*form.layers, *form.given)
    if not _is_over_z(model, form, right):
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
