"""The two sides of a check as formulas: what the model's derivation says the left is, in the check's own indices."""

from __future__ import annotations

from dataclasses import dataclass

from pgmdsl.compiler.derivation import Conditional
from pgmdsl.compiler.derive import (
    conditional_of,
    density,
    derive_conditional,
    derive_energy,
    derive_free_energy,
    gradient_of,
    marginal_terms,
)
from pgmdsl.compiler.energy import Fields
from pgmdsl.compiler.expressions import Term, bound_names, call, entry, renamed, signed_constant, split_sum, total
from pgmdsl.compiler.forms import Form, Formula, Gradient, Joint, Mean, MeanField, Partition, Probability
from pgmdsl.compiler.joint import free_energies, joint_sides
from pgmdsl.compiler.rewrite import rewrite, walk
from pgmdsl.compiler.units import Finite
from pgmdsl.grammar.syntax import Binary, Call, Expression, Name, Negate, Number

TWO = Number("2")


@dataclass(frozen=True, slots=True)
class Sides:
    """What is to be equal: the left side in one or several ways to write it, and the right side.

    `part` says which part of a check this is: the mean or the standard deviation of a normal distribution.
    """

    lefts: tuple[Expression, ...]
    right: Expression
    part: str = ""


def sides_of(fields: Fields, form: Form, right: Expression) -> tuple[Sides, ...]:
    """The formulas that a check's two sides stand for: one pair, or one for each parameter of a distribution."""
    symbols = fields.symbols
    lefts: tuple[Expression, ...]
    match form:
        case Formula(Call("free_energy", layers)):
            known = [layer.name for layer in layers if isinstance(layer, Name)]
            lefts = tuple(expanded(fields, left) for left in free_energies(fields, known, right))
        case Formula(expression):
            lefts = (expanded(fields, expression),)
        case Joint() | Partition():
            lefts = tuple(expanded(fields, left) for left in joint_sides(fields, form, right))
        case Gradient(name, indices):
            parameter = symbols.model.parameters[name]
            found = gradient_of(symbols, parameter)
            lefts = (_in_indices(fields, found, symbols.parameter_letters(parameter), indices),)
        case MeanField(name, indices) | Mean(name, indices):
            mean = derive_conditional(fields, name, symbols.model.neighbours(name)).mean
            lefts = (_in_indices(fields, mean, symbols.letters[name], indices),)
        case Probability():
            return _probability(fields, form, right)
    return (Sides(lefts, expanded(fields, right)),)


def expanded(fields: Fields, expression: Expression) -> Expression:
    """A formula with `energy` and `free_energy(...)` written out, in indices that it does not have itself."""
    used = fields.symbols.reserved | bound_names(expression)
    used |= {node.name for node in walk(expression) if isinstance(node, Name)}

    def change(node: Expression) -> Expression | None:
        match node:
            case Name("energy"):
                return renamed(derive_energy(fields.symbols), {}, used)
            case Call("free_energy", layers):
                names = [layer.name for layer in layers if isinstance(layer, Name)]
                return renamed(derive_free_energy(fields, names), {}, used)
            case _:
                return None

    return rewrite(expression, change)


def _conditional(fields: Fields, name: str, given: tuple[str, ...]) -> Conditional:
    """The conditional of a unit given these layers; the neighbours of one site that are not listed are summed out."""
    model = fields.symbols.model
    neighbours = model.neighbours(name)
    missing = [] if "rest" in given else [n for n in neighbours if n not in given]
    if not missing:
        return derive_conditional(fields, name, neighbours)

    def field_at(state: str) -> Expression:
        terms: list[Term] = split_sum(fields.field(name, (state,), present=given))
        for other in missing:
            terms += [(-sign, term) for sign, term in marginal_terms(fields, other, {name: state})]
        return total(terms)

    return conditional_of(fields.symbols, name, given, field_at)


def _probability(fields: Fields, form: Probability, right: Expression) -> tuple[Sides, ...]:
    """The conditional of a unit, and a formula or a distribution."""
    symbols = fields.symbols
    layer = symbols.model.layers[form.layer]
    letters = symbols.letters[form.layer]
    found = _conditional(fields, form.layer, form.given)

    def sides(left: Expression, other: Expression, part: str = "") -> Sides:
        return Sides((_in_indices(fields, left, letters, form.indices),), expanded(fields, other), part)

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
    own = entry(form.layer, letters)
    state = own if form.value is None else signed_constant(form.value)
    left = density(symbols, layer, found.field, found.log_partition, state)
    return (sides(left, _distribution(right, entry(form.layer, form.indices))),)


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
