"""Checks looked at before anything is proved: names, indices, functions, and what a condition leaves known."""

from __future__ import annotations

from dataclasses import dataclass

from pgmdsl.compiler.forms import (
    Form,
    FormError,
    Formula,
    Gradient,
    Joint,
    Mean,
    MeanField,
    Partition,
    Probability,
    choices,
    mentions_energy,
    read_form,
    variable_indices,
)
from pgmdsl.compiler.joint import verify_sums
from pgmdsl.compiler.model import Layer, Model
from pgmdsl.compiler.scope_walk import Clash, Scope
from pgmdsl.compiler.units import Finite, Naturals, OneHot, Real
from pgmdsl.compiler.where import assumed
from pgmdsl.grammar.diagnostics import Diagnostics
from pgmdsl.grammar.format import format_expression
from pgmdsl.grammar.source import Span
from pgmdsl.grammar.syntax import Call, CheckDeclaration, Expression, Index, Name
from pgmdsl.grammar.walk import walk


@dataclass(frozen=True, slots=True)
class Examined:
    """A check without mistakes: the model it speaks of, its left side, and the first index over two sizes if any.

    Model and check are those of its assumptions (`where`), if it has some.
    """

    model: Model
    check: CheckDeclaration
    form: Form
    clash: Clash | None


def validate_checks(model: Model, diagnostics: Diagnostics) -> None:
    """Report every mistake in the checks of a model; an index over two sizes is a warning: it refutes the check."""
    for check in model.checks:
        examined = examine_check(model, check, diagnostics)
        if examined is not None and examined.clash is not None and not check.refuted:
            clash = examined.clash
            help = "sizes are compared as the file writes them: are the indices in the weight's order?"
            diagnostics.warn("W060", clash.span, f"this check is refuted, by shape: {clash}", help)


def examine_check(model: Model, check: CheckDeclaration, diagnostics: Diagnostics) -> Examined | None:
    """The check's form, or None after reporting what is wrong with it."""
    before = len(diagnostics.errors)
    form: Form | None = None
    scope = Scope(model, diagnostics)
    with scope.reported():
        if check.greedy is not None:
            raise FormError("E075", check.greedy.span, "checks in greedy are not built yet", "leave this check out")
        model, check = assumed(model, check)
        scope.model = model
        form = read_form(model, check.left)
        verify_closed(model, form, check.left.span)
    if form is not None:
        _examine_sides(scope, form, check)
    if isinstance(form, Joint | Partition) and len(diagnostics.errors) == before:
        with scope.reported():
            verify_sums(model, form, check.right, check.left.span)
    if form is None or len(diagnostics.errors) > before:
        return None
    return Examined(model, check, form, scope.clash)


def verify_closed(model: Model, form: Form, span: Span) -> None:
    """Raise `FormError` where a condition leaves out layers whose states cannot be summed out in closed form."""
    if not isinstance(form, Probability | Mean) or "rest" in form.given:
        return
    layer = model.layers[form.layer]
    lateral = {name: edge.weight for edge in model.edges if edge.lateral for name in edge.layers}
    if layer.name in lateral:
        message = f"the units of {layer.name} depend on each other ({lateral[layer.name]})"
        raise FormError("E069", span, message, "write rest after the bar, for the other units")
    missing = [name for name in model.neighbours(layer.name) if name not in form.given]
    if not missing:
        return
    known = {layer.name, *form.given}
    outer = [n for name in missing for n in model.neighbours(name) if n not in known]
    closes = not outer and not any(name in lateral or model.layers[name].role == "given" for name in missing)
    if is_one_site(layer) and closes and isinstance(form, Probability):
        return
    names = " and ".join(missing)
    plural = "are" if len(missing) > 1 else "is"
    raise FormError(
        "E069",
        span,
        f"{layer.name} depends on {names}, which {plural} not in the condition; the sum over {names} does not close",
        f"list {names} after the bar, or write rest",
    )


def is_one_site(layer: Layer) -> bool:
    """Whether the whole layer is one softmax site."""
    return isinstance(layer.unit.support, OneHot) and len(layer.dims) == 1


def _examine_sides(scope: Scope, form: Form, check: CheckDeclaration) -> None:
    """Look through both sides."""
    model, place = scope.model, check.left.span
    layers = model.layers
    match form:
        case Probability(name, indices, _, given) | Mean(name, indices, given):
            axes = layers[name].dims
            scope.add_free(indices, axes[-len(indices) :], place)
            scope.known = frozenset(layers) if "rest" in given else frozenset(given)
            if isinstance(form, Probability):
                _examine_probability(scope, form, check.right)
                return
        case MeanField(name, indices):
            scope.add_free(indices, layers[name].dims, place)
            scope.known = frozenset(layers)
            scope.summing = False
        case Gradient(name, indices):
            scope.add_free(indices, model.parameters[name].shape, place)
            scope.averaged = False
        case Joint(names, given):
            scope.known = frozenset((*names, *given))
            scope.partition = True
        case Partition():
            scope.known = frozenset(name for name, layer in layers.items() if layer.role == "given")
        case Formula(expression):
            variables = variable_indices(model, expression)
            scope.add_free(tuple(variables), tuple(variables.values()), place)
            scope.known = frozenset(layers)
            scope.visit(expression)
            scope.known = _known_in(model, expression)
    scope.visit(check.right)


def _known_in(model: Model, expression: Expression) -> frozenset[str]:
    """The layers that a formula on the left speaks of."""
    if mentions_energy(expression):
        return frozenset(model.layers)
    calls = [node for node, _ in walk(expression) if isinstance(node, Call) and node.function == "free_energy"]
    return frozenset(item.name for call in calls for item in call.arguments if isinstance(item, Name))


def _examine_probability(scope: Scope, form: Probability, right: Expression) -> None:
    """The right side of a unit's conditional: a distribution by its name, or a formula."""
    layer = scope.model.layers[form.layer]
    support = layer.unit.support
    if form.value is None and not layer.unit.states_axis:
        scope.own = Index(layer.name, tuple(map(Name, form.indices)))
    match right:
        case Call("normal", (mean, deviation), given=None, generator=None) if isinstance(support, Real):
            scope.own = None
            scope.visit(mean)
            scope.visit(deviation)
        case Call("poisson", (rate,), given=None, generator=None) if isinstance(support, Naturals):
            scope.own = None
            scope.visit(rate)
        case Call("normal" | "poisson" as function):
            with scope.reported():
                what = "real" if function == "normal" else "0, 1, 2, ..."
                message = f"{function}(...) is not the distribution of a {layer.unit.name} unit"
                help = f"{function}({'mean, sd' if function == 'normal' else 'rate'}) is that of a unit that is {what}"
                raise FormError("E068", right.span, message, help)
        case _:
            scope.visit(right)
            with scope.reported():
                _verify_own_state(scope.own, layer, right)


def _verify_own_state(own: Index | None, layer: Layer, right: Expression) -> None:
    """Raise `FormError` where the probability of a unit's state does not depend on the state."""
    if own is None or any(node == own for node, _ in walk(right)):
        return
    shown = format_expression(own)
    if isinstance(layer.unit.support, Finite):
        message = f"this is the same for every state of {shown}"
        raise FormError("E068", right.span, message, f"say in which state it is: {choices(layer)}")
    named = "poisson(rate)" if isinstance(layer.unit.support, Naturals) else "normal(mean, sd)"
    other = f", or write {named}" if isinstance(layer.unit.support, Naturals | Real) else ""
    raise FormError("E068", right.span, f"this is the same for every {shown}", f"use {shown} in it{other}")
