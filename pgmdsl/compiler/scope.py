"""Checks looked at before anything is proved: names, indices, functions, and what a condition leaves known."""

from __future__ import annotations

from dataclasses import dataclass

from pgmdsl.compiler.forms import (
    Form,
    FormError,
    Formula,
    Gradient,
    Mean,
    MeanField,
    Probability,
    mentions_energy,
    read_form,
    variable_indices,
)
from pgmdsl.compiler.model import Layer, Model
from pgmdsl.compiler.scope_walk import Clash, Scope
from pgmdsl.compiler.units import OneHot, Real
from pgmdsl.grammar.diagnostics import Diagnostics
from pgmdsl.grammar.source import Span
from pgmdsl.grammar.syntax import Call, CheckDeclaration, Expression, Name
from pgmdsl.grammar.walk import walk


@dataclass(frozen=True, slots=True)
class Examined:
    """A check without mistakes: what its left side speaks of, and the first index over two sizes if there is one."""

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
    scope = Scope(model, diagnostics)
    form: Form | None = None
    with scope.reported():
        _verify_bare(check)
        form = read_form(model, check.left)
        verify_closed(model, form, check.left.span)
    if form is not None:
        _examine_sides(scope, form, check)
    if form is None or len(diagnostics.errors) > before:
        return None
    return Examined(form, scope.clash)


def _verify_bare(check: CheckDeclaration) -> None:
    if check.where:
        raise FormError("E075", check.where[0].span, "checks with where are not built yet", "leave this check out")
    if check.greedy is not None:
        raise FormError("E075", check.greedy.span, "checks in greedy are not built yet", "leave this check out")


def verify_closed(model: Model, form: Form, span: Span) -> None:
    """Raise `FormError` where a condition leaves out layers whose states cannot be summed out in closed form."""
    if not isinstance(form, Probability | Mean) or "rest" in form.given:
        return
    layer = model.layers[form.layer]
    missing = [name for name in model.neighbours(layer.name) if name not in form.given]
    if not missing:
        return
    known = {layer.name, *form.given}
    outer = [n for name in missing for n in model.neighbours(name) if n not in known]
    if is_one_site(layer) and not outer and isinstance(form, Probability):
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
    layers = scope.model.layers
    place = check.left.span
    match form:
        case Probability(name, indices, _, given) | Mean(name, indices, given):
            scope.add_free(indices, layers[name].dims, place)
            scope.known = frozenset(layers) if "rest" in given else frozenset(given)
            if isinstance(form, Probability) and isinstance(layers[name].unit.support, Real):
                _examine_density(scope, check.right)
                return
        case MeanField(name, indices):
            scope.add_free(indices, layers[name].dims, place)
            scope.known = frozenset(layers)
        case Gradient(name, indices):
            scope.add_free(indices, scope.model.parameters[name].shape, place)
            scope.averaged = False
        case Formula(expression):
            variables = variable_indices(scope.model, expression)
            scope.add_free(tuple(variables), tuple(variables.values()), place)
            scope.known = frozenset(layers)
            scope.visit(expression)
            scope.known = _known_in(scope.model, expression)
    scope.visit(check.right)


def _known_in(model: Model, expression: Expression) -> frozenset[str]:
    """The layers that a formula on the left speaks of."""
    if mentions_energy(expression):
        return frozenset(model.layers)
    calls = [node for node, _ in walk(expression) if isinstance(node, Call) and node.function == "free_energy"]
    return frozenset(item.name for call in calls for item in call.arguments if isinstance(item, Name))


def _examine_density(scope: Scope, right: Expression) -> None:
    """The right side of a real unit's density."""
    match right:
        case Call("normal", (mean, deviation), given=None, generator=None):
            scope.visit(mean)
            scope.visit(deviation)
        case _:
            with scope.reported():
                help = "write normal(mean, sd)"
                raise FormError("E068", right.span, "the density of a gaussian unit is compared with normal(...)", help)
