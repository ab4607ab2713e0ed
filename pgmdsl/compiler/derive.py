"""What follows from a model: energy, conditionals, mean field, free energy and gradients, as formulas.

Each formula is an expression of the language that a `check` can hold. Fields are read off the energy's normal form
and proved (see `energy`); the rest follows by the lemmas of the unit table.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence

from pgmdsl.compiler.derivation import Conditional, Derivation, Equation
from pgmdsl.compiler.energy import DerivationError, Fields, derive_fields, energy_terms
from pgmdsl.compiler.expressions import ONE, ZERO, Term, call, constant, entry, filled, product, total
from pgmdsl.compiler.model import Layer, Model, Parameter
from pgmdsl.compiler.normal_product import scale
from pgmdsl.compiler.normal_read import Reader
from pgmdsl.compiler.normal_terms import NoProofError, Poly
from pgmdsl.compiler.symbols import Symbols
from pgmdsl.compiler.units import Finite, OneHot, Real
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.syntax import Binary, Call, Compare, Expression, Name, Number

FieldAt = Callable[[str], Expression]  # the total field of a unit whose last index has this name


def derive_model(model: Model) -> Derivation:
    """All that follows from a checked model's terms. Raises `Error` for a model of too many layers."""
    symbols = Symbols.of(model)
    try:
        fields = derive_fields(symbols)
    except NoProofError as problem:
        raise Error(
            f"{model.source.name}: {len(model.layers)} layers with {len(model.edges)} edges are too many to derive "
            f"({problem}); models of up to about 100 layers are served"
        ) from None
    conditionals = {name: derive_conditional(fields, name, model.neighbours(name)) for name in model.layers}
    hidden = [layer.name for layer in model.layers.values() if layer.role == "hidden"]
    visible = tuple(layer.name for layer in model.layers.values() if layer.role == "visible")
    reason = open_edge(model, visible)
    return Derivation(
        energy=Equation(Name("energy"), derive_energy(symbols)),
        conditionals=conditionals,
        contributions=fields.contributions,
        mean_field={n: _mean_field(n, conditionals[n]) for n in hidden},
        free_energy=None if reason else Equation(_free_energy_of(visible), derive_free_energy(fields, visible)),
        free_energy_reason=reason,
        gradients={p.name: _gradient_equation(symbols, p) for p in model.parameters.values() if not p.fixed},
    )


def derive_energy(symbols: Symbols) -> Expression:
    """The energy, from the units' own energies and the edges."""
    return total(energy_terms(symbols, symbols.model.layers))


def derive_conditional(fields: Fields, name: str, given: tuple[str, ...]) -> Conditional:
    """The conditional of one unit of a layer given its neighbours, all of which are in `given`."""
    indices = fields.symbols.letters[name]
    return conditional_of(fields.symbols, name, given, lambda state: fields.field(name, (*indices[:-1], state)))


def conditional_of(symbols: Symbols, name: str, given: tuple[str, ...], field_at: FieldAt) -> Conditional:
    """The conditional of a unit from its total field, which `field_at` gives with the last index by this name."""
    layer = symbols.model.layers[name]
    indices = symbols.letters[name]
    field = field_at(indices[-1])
    mean = _state_mean(symbols, layer, field_at)
    deviation = _deviation(symbols, layer)
    event: Expression = entry(name, indices)
    right: Expression = mean
    match layer.unit.support:
        case Finite((lower, upper)):
            event = Compare("=", event, constant(upper))
            right = call("sigmoid", product([constant(upper - lower), field]))
        case OneHot():
            site = entry(name, indices[:-1]) if indices[:-1] else Name(name)
            event = Compare("=", site, Name(indices[-1]))
        case Real() if deviation is not None:
            right = call("normal", mean, deviation)
        case _:
            raise DerivationError(f"no form for the conditional of {layer.unit.name} units")
    return Conditional(
        layer=name,
        family=layer.unit.name,
        indices=indices,
        given=given,
        field=field,
        mean=mean,
        deviation=deviation,
        log_partition=_log_partition(symbols, layer, field_at),
        equation=Equation(Call("p", (event,), given=tuple(map(Name, given)) or None), right),
    )


def _state_mean(symbols: Symbols, layer: Layer, field_at: FieldAt) -> Expression:
    """The mean of a unit's state: that of its statistic over the statistic's slope."""
    indices = symbols.letters[layer.name]
    if layer.unit.states_axis and field_at(indices[-1]) == ZERO:
        return product([ONE], [symbols.length(layer, -1)])  # no bias, no neighbour: all states are alike
    avoid = symbols.reserved | symbols.all_letters
    entries = {"f": field_at}
    mean = filled(layer.unit.mean, {"f": field_at(indices[-1])}, entries, {"k": indices[-1]}, avoid)
    if layer.unit.statistic == "x":
        return mean
    reader = symbols.reader()
    poly = reader.algebra.multiply(reader.read(mean), reader.algebra.inverse(_slope(symbols, layer, reader)))
    return symbols.writer().write(poly)


def _deviation(symbols: Symbols, layer: Layer) -> Expression | None:
    """The standard deviation of a real unit, whose statistic has mean f, and so variance 1."""
    if not isinstance(layer.unit.support, Real) or layer.unit.mean != "f":
        return None
    reader = symbols.reader()
    return symbols.writer().write(reader.algebra.inverse(_slope(symbols, layer, reader)))


def _slope(symbols: Symbols, layer: Layer, reader: Reader) -> Poly:
    """What multiplies the state in the statistic."""
    return reader.read(symbols.filled(layer.unit.statistic, layer, symbols.letters[layer.name], state=Number("1")))


def _log_partition(symbols: Symbols, layer: Layer, field_at: FieldAt) -> Expression:
    """The log normaliser of one unit (site)."""
    state = symbols.letters[layer.name][-1]
    if layer.unit.states_axis and field_at(state) == ZERO:
        return call("log", symbols.length(layer, -1))
    names = {"f": field_at(state)}
    if layer.sigma is not None:
        names["sigma"] = entry(layer.sigma, symbols.letters[layer.name])
    avoid = symbols.reserved | symbols.all_letters
    return filled(layer.unit.log_partition, names, {"f": field_at}, {}, avoid - {state})


def open_edge(model: Model, listed: Container[str]) -> str | None:
    """Why the sum over the layers that are not listed does not close, in the file's names; None if it does."""
    for edge in model.edges:
        if all(name not in listed for name in edge.layers):
            first, second = edge.layers
            return f"{first} and {second} share an edge ({edge.weight}), so the sum over their states does not close"
    return None


def derive_free_energy(fields: Fields, listed: Sequence[str]) -> Expression:
    """-log of the sum of exp(-energy) over the states of all other layers, no two of which share an edge."""
    symbols = fields.symbols
    terms = energy_terms(symbols, listed)
    for layer in symbols.model.layers.values():
        if layer.name not in listed:
            terms += marginal_terms(fields, layer.name)
    return total(terms)


def marginal_terms(fields: Fields, name: str, chosen: Mapping[str, str] | None = None) -> list[Term]:
    """Minus the log of a layer's sum of exp(-energy) over its states, its neighbours' states being known.

    A neighbour in `chosen` is one site, in the state that this index names.
    """
    symbols = fields.symbols
    layer = symbols.model.layers[name]
    letters = symbols.letters[name]
    log_partition = _log_partition(
        symbols, layer, lambda state: fields.field(name, (*letters[:-1], state), chosen=chosen)
    )
    constants = symbols.filled(layer.unit.constant, layer, letters)
    sites = letters[:-1] if layer.unit.states_axis else letters
    terms = [(1, symbols.summed(name, constants, letters))] if constants != ZERO else []
    return [*terms, (-1, symbols.summed(name, log_partition, sites))]


def _free_energy_of(listed: Sequence[str]) -> Expression:
    return call("free_energy", *map(Name, listed))


def _mean_field(name: str, conditional: Conditional) -> Equation:
    return Equation(call("mean_field", entry(name, conditional.indices)), conditional.mean)


def gradient_of(symbols: Symbols, parameter: Parameter) -> Expression:
    """`data(s) - model(s)`, with s the derivative of minus the energy by one entry of the parameter."""
    reader = symbols.reader()
    letters = symbols.parameter_letters(parameter)
    energy = reader.read(derive_energy(symbols))
    slope = scale(reader.algebra.derivative(energy, parameter.name, letters), -1)
    body = symbols.writer().write_factored(reader.algebra, slope)
    return Binary("-", call("data", body), call("model", body))


def _gradient_equation(symbols: Symbols, parameter: Parameter) -> Equation:
    left = call("gradient", entry(parameter.name, symbols.parameter_letters(parameter)))
    return Equation(left, gradient_of(symbols, parameter))
