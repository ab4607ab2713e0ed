"""The two sides of a check as formulas: what the model's derivation says the left is, in the check's own indices."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pgmdsl.compiler.derive import conditional_of, density, derive_conditional, gradient_of
from pgmdsl.compiler.energy import Fields, declared_fields
from pgmdsl.compiler.expand import Expander, names_of
from pgmdsl.compiler.expressions import call, entry, product, renamed, signed_constant
from pgmdsl.compiler.forms import Form, Formula, Gradient, Joint, Mean, MeanField, Partition, Probability, Up
from pgmdsl.compiler.joint import free_energies, joint_sides
from pgmdsl.compiler.posterior import up_pass
from pgmdsl.compiler.rewrite import rewrite
from pgmdsl.compiler.separate import separated
from pgmdsl.compiler.units import Finite
from pgmdsl.compiler.weights import is_coupled, state_weights
from pgmdsl.grammar.syntax import Binary, Call, Expression, Generator, Name, Negate, Number

TWO = Number("2")


@dataclass(frozen=True, slots=True)
class Sides:
    """What is to be equal: the left side in one or several ways to write it, and the right side.

    `part` says which part of a check this is: the mean or the standard deviation of a normal distribution.
    """

    lefts: tuple[Expression, ...]
    right: Expression
    part: str = ""


def sides_of(expander: Expander, form: Form, right: Expression, of_q: bool = False) -> tuple[Sides, ...]:
    """The formulas that a check's two sides stand for: one pair, or one for each parameter of a distribution.

    `of_q` where the left side is one of q, not of the model.
    """
    fields, expanded = expander.fields, expander.expanded
    own = expander.posterior.fields if of_q and expander.posterior is not None else fields
    symbols = fields.symbols
    lefts: tuple[Expression, ...]
    match form:
        case Formula(Call("free_energy", layers)):
            lefts = tuple(expanded(left) for left in free_energies(fields, names_of(layers), right))
        case Formula(expression):
            lefts = (expanded(expression),)
        case Joint() | Partition():
            lefts = tuple(expanded(left) for left in joint_sides(own, form, right))
        case Gradient(name, indices, phase):
            parameter = symbols.model.parameters[name]
            asleep = expander.posterior if phase == "sleep" else None
            source = symbols if asleep is None else asleep.fields.symbols
            found = [gradient_of(source, parameter, normalised) for normalised in (True, False)]
            found = [_sleeping(gradient) for gradient in found] if asleep is not None else found
            letters = symbols.parameter_letters(parameter)
            lefts = tuple(_in_indices(fields, gradient, letters, indices) for gradient in dict.fromkeys(found))
        case MeanField(name, indices):
            mean = derive_conditional(fields, name, symbols.model.neighbours(name)).mean
            lefts = (_in_indices(fields, mean, symbols.letters[name], indices),)
        case Mean(name, indices, given):
            lefts = (_in_indices(fields, _mean(own, name, given), symbols.letters[name], indices),)
        case Up(name, indices):
            lefts = (up_pass(symbols, entry(name, indices)),)
        case Probability():
            return _probability(expander, own, form, right)
    return (Sides(lefts, expanded(right)),)


def _sleeping(gradient: Expression) -> Expression:
    """The gradient of q's log-probability, averaged over what the model generates."""

    def change(node: Expression) -> Expression | None:
        return replace(node, function="model") if isinstance(node, Call) and node.function == "data" else None

    return rewrite(gradient, change)


def part_fields(fields: Fields, name: str, given: tuple[str, ...]) -> Fields:
    """The fields of the model on which a unit's conditional depends."""
    model = fields.symbols.model
    known = [n for n in model.layers if n != name] if "rest" in given else given
    part = declared_fields(replace(fields.symbols, model=separated(model, {name}, known).model))
    # An input counts as often as it does in the whole: in stages of greedy pretraining, twice.
    often = {(p.weight, p.neighbours, p.axis): p.coefficient for p in fields.contributions[name]}
    own = tuple(replace(p, coefficient=often[p.weight, p.neighbours, p.axis]) for p in part.contributions[name])
    return replace(part, contributions={**part.contributions, name: own})


def _mean(fields: Fields, name: str, given: tuple[str, ...]) -> Expression:
    """The mean of a unit given these layers."""
    part = part_fields(fields, name, given)
    if not is_coupled(part, name, given):
        return derive_conditional(part, name, ()).mean
    support = fields.symbols.model.layers[name].unit.support
    weights = state_weights(part, name, given)
    if not isinstance(support, Finite):
        return weights.probability
    terms = [product([signed_constant(x), weights.at(x)]) for x in support.values]
    mean = terms[0]
    for term in terms[1:]:
        mean = Binary("+", mean, term)
    return mean


def _probability(expander: Expander, own: Fields, form: Probability, right: Expression) -> tuple[Sides, ...]:
    """The conditional of a unit, and a formula or a distribution."""
    symbols, expanded = own.symbols, expander.expanded
    layer = symbols.model.layers[form.layer]
    letters = symbols.letters[form.layer]
    part = part_fields(own, form.layer, form.given)
    right = _as_formula(right, form.indices)

    def sides(left: Expression, other: Expression, part: str = "") -> Sides:
        return Sides((expanded(_in_indices(own, left, letters, form.indices)),), expanded(other), part)

    if is_coupled(part, form.layer, form.given):
        weights = state_weights(part, form.layer, form.given)
        left = weights.probability if form.value is None else weights.at(form.value)
        return (sides(left, right),)
    found = conditional_of(part.symbols, form.layer, (), lambda state: part.field(form.layer, (*letters[:-1], state)))
    match found.equation.right, right:
        case Call("normal", (mean, deviation)), Call("normal", (other, another)):
            return sides(mean, other, "in the mean, "), sides(deviation, another, "in the standard deviation, ")
        case Call("poisson", (rate,)), Call("poisson", (other,)):
            return (sides(rate, other, "in the rate, "),)
        case Call("sigmoid", (odds,)) as upper, _ if form.value is not None and isinstance(layer.unit.support, Finite):
            chosen = form.value == layer.unit.support.values[-1]
            return (sides(upper if chosen else call("sigmoid", Negate(odds)), right),)
        case whole, _ if layer.unit.states_axis:
            return (sides(whole, right),)
    own_state = entry(form.layer, letters)
    state = own_state if form.value is None else signed_constant(form.value)
    left = density(symbols, layer, found.field, found.log_partition, state)
    return (sides(left, _distribution(right, entry(form.layer, form.indices))),)


def _as_formula(right: Expression, indices: tuple[str, ...]) -> Expression:
    """The right side, `categorical(e for q)` as its probability of the state that the last index names."""
    match right:
        case Call("categorical", (body,), generator=Generator((state,))):
            return renamed(body, {state: indices[-1]}, ())
        case _:
            return right


def _distribution(right: Expression, state: Expression) -> Expression:
    """The probability (density) of a state by a distribution's name; any other formula as it is."""
    match right:
        case Call("normal", (mean, deviation)):
            distance = Binary("/", Binary("-", state, mean), deviation)
            bell = call("exp", Negate(Binary("/", Binary("^", distance, TWO), TWO)))
            return Binary("/", bell, Binary("*", call("sqrt", Binary("*", TWO, Name("pi"))), deviation))
        case Call("poisson", (rate,)):
            weight = call("exp", Binary("-", Binary("*", state, call("log", rate)), rate))
            return Binary("/", weight, call("factorial", state))
        case _:
            return right


def _in_indices(fields: Fields, formula: Expression, letters: tuple[str, ...], indices: tuple[str, ...]) -> Expression:
    """The formula with its free letters replaced by a check's indices."""
    return renamed(formula, dict(zip(letters, indices, strict=True)), fields.symbols.reserved)
