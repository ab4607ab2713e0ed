"""Checks looked at before anything is proved: names, indices, functions, and what a condition leaves known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pgmdsl.compiler.derive import open_edge
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
    Up,
    choices,
    mentions_energy,
    read_form,
    variable_indices,
)
from pgmdsl.compiler.joint import verify_sums
from pgmdsl.compiler.model import Layer, Model
from pgmdsl.compiler.posterior import Posterior, posterior_of, up_pass, with_means
from pgmdsl.compiler.scope_walk import Clash, Scope
from pgmdsl.compiler.separate import separated
from pgmdsl.compiler.symbols import Symbols
from pgmdsl.compiler.units import Finite, Naturals, OneHot, Real
from pgmdsl.compiler.where import assumed, in_stage
from pgmdsl.grammar.diagnostics import Diagnostics
from pgmdsl.grammar.format import format_expression
from pgmdsl.grammar.source import Span
from pgmdsl.grammar.syntax import Call, CheckDeclaration, Compare, Expression, Generator, Index, Name
from pgmdsl.grammar.walk import walk

CATEGORICAL = (
    "categorical(e for q), where e is the probability of state q, is that of a site of softmax states or a word"
)


@dataclass(frozen=True, slots=True)
class Examined:
    """A check without mistakes: the model it speaks of, its left side, and the first index over two sizes if any.

    Model and check are those of its assumptions (`where`), if it has some. `posterior` is q where the check speaks of
    it, `of_q` whether the left side is a probability of q, `means` whether names of hidden layers are means under q.
    `scale` says how often the inputs of layers count, in a stage of greedy pretraining.
    """

    model: Model
    check: CheckDeclaration
    form: Form
    clash: Clash | None
    posterior: Posterior | None = None
    of_q: bool = False
    means: bool = False
    scale: Mapping[str, float] = field(default_factory=dict)


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
    try:
        found = _read(model, check)
    except FormError as mistake:
        diagnostics.add(mistake.code, mistake.span, mistake.message, mistake.help)
        return None
    scope.model = found.model
    own = found.posterior.model if found.of_q and found.posterior is not None else found.model
    with scope.reported():
        verify_closed(own, found.form, found.check.left.span)
        verify_stage(found)
    _examine_sides(scope, found)
    if isinstance(found.form, Joint | Partition) and len(diagnostics.errors) == before:
        with scope.reported():
            verify_sums(own, found.form, found.check.right, found.check.left.span)
    return None if len(diagnostics.errors) > before else replace(found, clash=scope.clash)


def _read(model: Model, check: CheckDeclaration) -> Examined:
    """The check with the model it speaks of, and its form. Raises `FormError`."""
    model, check, scale = in_stage(*assumed(model, check))
    left = check.left
    of_q = isinstance(left, Call) and left.function == "q"
    phase = left.function if isinstance(left, Call) else ""
    posterior: Posterior | None = None
    own = model
    if of_q or phase in ("wake", "sleep") or speaks_of_q(left):
        model = with_means(model)
        posterior = posterior_of(Symbols.of(model), left.span)
        own = posterior.model if of_q else model
    form = read_form(own, replace(left, function="p") if of_q and isinstance(left, Call) else left)
    by_means = posterior is not None and posterior.by_means
    states = of_q and isinstance(left, Call) and not isinstance(left.arguments[0], Compare)
    return Examined(model, check, form, None, posterior, of_q, by_means and not states, scale)


def speaks_of_q(left: Expression) -> bool:
    """Whether a formula on the left is one of q."""
    named = (
        node.function if isinstance(node, Call) else node.name
        for node, _ in walk(left)
        if isinstance(node, Call | Name)
    )
    return any(name in ("bound", "entropy", "kl", "expect") for name in named)


def verify_stage(found: Examined) -> None:
    """Raise `FormError` for what a stage of greedy pretraining with a doubled input has not."""
    doubled = [name for name, times in found.scale.items() if times != 1]
    energies = (Name("energy"), Name("log_joint"), "free_energy")
    told = (node for node, _ in walk(found.check.right))
    named = [node for node in told if (node.function if isinstance(node, Call) else node) in energies]
    if doubled and (named or not isinstance(found.form, Probability | Mean | MeanField)):
        span = named[0].span if named else found.check.left.span
        message = f"the input of {doubled[0]} counts twice in this stage, which has no energy of its layers alone"
        raise FormError("E075", span, message, "say it of a conditional, p(...), mean(...) or mean_field(...)")


def verify_closed(model: Model, form: Form, span: Span) -> None:
    """Raise `FormError` where a condition leaves out layers whose states cannot be summed out in closed form."""
    if not isinstance(form, Probability | Mean):
        return
    layer, rest = model.layers[form.layer], "rest" in form.given
    part = separated(model, {layer.name}, model.layers.keys() - {layer.name} if rest else form.given)
    children = [edge for edge in part.model.directed if edge.tail == layer.name]
    alone = rest or is_one_site(layer)
    if children and alone and not isinstance(layer.unit.support, Finite | OneHot):
        message = (
            f"the conditional of a {layer.unit.name} unit given its children ({children[0].head}) has no closed form"
        )
        raise FormError("E069", span, message, "leave this check out")
    lateral = [edge.weight for edge in model.edges if edge.lateral and layer.name in edge.layers]
    lateral += [edge.weight for edge in children]
    if lateral and not alone:
        message = f"the units of {layer.name} depend on each other ({lateral[0]})"
        raise FormError("E069", span, message, "write rest after the bar, for the other units")
    missing = [name for name in part.free if name != layer.name]
    if rest or not missing:
        return
    if (
        is_one_site(layer)
        and isinstance(form, Probability)
        and open_edge(part.model, {layer.name, *form.given}) is None
    ):
        return
    near = {
        *model.neighbours(layer.name),
        *model.parents(layer.name),
        *(e.head for e in model.directed if e.tail == layer.name),
    }
    shown = [name for name in missing if name in near] or missing
    names = " and ".join(shown)
    plural = "are" if len(shown) > 1 else "is"
    raise FormError(
        "E069",
        span,
        f"{layer.name} depends on {names}, which {plural} not in the condition; the sum over {names} does not close",
        f"list {names} after the bar, or write rest",
    )


def is_one_site(layer: Layer) -> bool:
    """Whether the whole layer is one softmax site."""
    return isinstance(layer.unit.support, OneHot) and len(layer.dims) == 1


def _examine_sides(scope: Scope, found: Examined) -> None:
    """Look through both sides."""
    model, place, right = scope.model, found.check.left.span, found.check.right
    layers = model.layers
    data = frozenset(name for name, layer in layers.items() if layer.role != "hidden")
    if found.posterior is not None:
        scope.q = "means" if found.posterior.by_means else "layers"
    match found.form:
        case Probability(name, indices, _, given) | Mean(name, indices, given):
            axes = layers[name].dims
            scope.add_free(indices, axes[-len(indices) :], place)
            scope.known = frozenset(layers) if "rest" in given or found.means else frozenset(given)
            if isinstance(found.form, Probability):
                _examine_probability(scope, found.form, right)
                return
        case MeanField(name, indices):
            scope.add_free(indices, layers[name].dims, place)
            scope.known = frozenset(layers)
            scope.summing = False
        case Up(name, indices):
            scope.add_free(indices, layers[name].dims, place)
            scope.known, scope.q = data, "up"
            with scope.reported():
                up_pass(Symbols.of(model), Index(name, tuple(map(Name, indices)), span=place))
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
            scope.partition = _holds_z(expression) and not any(map(_is_derivative, (*walk(expression), *walk(right))))
            q = speaks_of_q(expression)
            scope.known = (frozenset(layers) if found.means else data) if q else frozenset(layers)
            scope.visit(expression)
            scope.known = scope.known if q else _known_in(model, expression)
    scope.visit(right)


def _holds_z(expression: Expression) -> bool:
    """Whether a formula on the left has the logarithm of Z in it."""
    words = (node.function if isinstance(node, Call) else node for node, _ in walk(expression))
    return any(word in (Name("log_joint"), Name("bound"), "kl", "expect") for word in words)


def _is_derivative(found: tuple[Expression, int]) -> bool:
    """Whether this is a derivative, in which Z as it stands would count as a constant."""
    node, _ = found
    return isinstance(node, Call) and node.function == "d"


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
        case Call("categorical", (_,), given=None, generator=Generator((_,), None, None)) if layer.unit.states_axis:
            with scope.reported():
                scope.visit_binder(replace(right, function="sum"))
        case Call("categorical"):
            with scope.reported():
                if layer.unit.states_axis:
                    raise FormError(
                        "E068", right.span, "categorical(...) has one probability for each state", CATEGORICAL
                    )
                raise FormError(
                    "E068",
                    right.span,
                    f"categorical(...) is not the distribution of a {layer.unit.name} unit",
                    CATEGORICAL,
                )
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
