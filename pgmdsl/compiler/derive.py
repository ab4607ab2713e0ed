"""What follows from a model: energy, conditionals, mean field, free energy and gradients, as formulas.

Each formula is an expression of the language that a `check` can hold. Fields are proved from the energy's normal
form (see `energy`); the rest follows by the lemmas of the unit table.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from pgmdsl.compiler.derivation import Conditional, Derivation, Equation
from pgmdsl.compiler.energy import (
    FieldAt,
    Fields,
    child_fields,
    coupled,
    declared_fields,
    derive_fields,
    energy_terms,
    log_partition_of,
    statistic,
)
from pgmdsl.compiler.expressions import (
    ONE,
    ZERO,
    Term,
    bound_names,
    call,
    entry,
    filled,
    product,
    renamed,
    signed_constant,
    split_sum,
    tidied,
    total,
)
from pgmdsl.compiler.model import Layer, Model, Parameter
from pgmdsl.compiler.normal_product import add, scale, subtract
from pgmdsl.compiler.normal_read import Reader
from pgmdsl.compiler.normal_terms import Delta, NoProofError, Poly
from pgmdsl.compiler.parts import recognised, recogniser_of
from pgmdsl.compiler.rewrite import rewrite, walk
from pgmdsl.compiler.symbols import Symbols
from pgmdsl.compiler.units import Counts, Finite, Naturals, OneHot, Real
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.syntax import Binary, Call, Compare, Expression, Index, Name


def derive_model(model: Model) -> Derivation:
    """All that follows from a checked model's terms.

    Raises `Error` for a model of too many layers, and for a unit type whose statistic is no multiple of its state.
    """
    symbols = Symbols.of(model)
    for layer in model.layers.values():
        _verify_statistic(symbols, layer)
    try:
        fields = derive_fields(symbols)
    except NoProofError as problem:
        raise Error(
            f"{model.source.name}: {len(model.layers)} layers with {len(model.edges)} edges are too many to derive "
            f"({problem}); models of up to about 100 layers are served"
        ) from None
    conditionals = {
        name: derive_conditional(fields, name, model.parents(name) or model.neighbours(name))
        for name in fields.contributions
    }
    hidden = [layer.name for layer in model.layers.values() if layer.role == "hidden" and not model.directed]
    known = tuple(layer.name for layer in model.layers.values() if layer.role != "hidden")
    reason = open_edge(model, known)
    return Derivation(
        energy=Equation(Name("energy"), derive_energy(symbols)),
        conditionals=conditionals,
        contributions=fields.contributions,
        mean_field={n: _mean_field(n, conditionals[n]) for n in hidden},
        free_energy=None if reason else Equation(_free_energy_of(known), derive_free_energy(fields, known)),
        free_energy_reason=reason,
        recognition=derive_recognition(symbols),
        gradients={n: _gradient_equation(symbols, p) for n, p in model.parameters.items() if _in_energy(model, p)},
    )


def _verify_statistic(symbols: Symbols, layer: Layer) -> None:
    """Raise `Error` unless the mean of a unit's state follows from that of its statistic."""
    reader = symbols.reader()
    slope, offset = _slope(symbols, layer, reader)
    letters = symbols.letters[layer.name]
    straight = add(offset, reader.algebra.multiply(slope, reader.algebra.ref(layer.name, letters)))
    statistic = reader.read(symbols.filled(layer.unit.statistic, layer, letters))
    if not reader.algebra.is_zero(subtract(statistic, straight)):
        raise Error(
            f"{symbols.model.source.name}: unit {layer.unit.name} has the statistic {layer.unit.statistic}, and only "
            "multiples of the state are built, for else the mean of the statistic does not tell that of the state; "
            "write the statistic as the state, and the rest into the energy"
        )


def derive_energy(symbols: Symbols) -> Expression:
    """The energy, from the units' own energies and the edges."""
    return total(energy_terms(symbols, symbols.model.layers))


def derive_conditional(fields: Fields, name: str, given: tuple[str, ...]) -> Conditional:
    """The conditional of one unit of a layer given the layer's other units and its neighbours (all are in `given`)."""
    indices = fields.symbols.letters[name]
    return conditional_of(fields.symbols, name, given, lambda state: fields.field(name, (*indices[:-1], state)))


def derive_recognition(symbols: Symbols) -> dict[str, Conditional]:
    """The conditionals q(h | below) of the layers with recognition edges, in the order of an up-pass.

    Sources send their statistics, with the parameters that these have in the model: x / sigma.
    """
    found = {}
    for name in recognised(symbols.model) if symbols.model.recognition else ():
        part = recogniser_of(symbols.model, name)
        sources = tuple(n for n in part.layers if n != name)
        layers = {n: symbols.model.layers[n] for n in sources} | {name: part.layers[name]}
        own = replace(symbols, model=replace(part, layers=layers))
        conditional = derive_conditional(child_fields(own, name), name, sources)
        left = conditional.equation.left
        assert isinstance(left, Call), "the left side of a conditional is p(...)"
        found[name] = replace(conditional, equation=Equation(replace(left, function="q"), conditional.equation.right))
    return found


def conditional_of(symbols: Symbols, name: str, given: tuple[str, ...], field_at: FieldAt) -> Conditional:
    """The conditional of a unit from its total field, which `field_at` gives with the last index by this name."""
    layer = symbols.model.layers[name]
    indices = symbols.letters[name]
    field = field_at(indices[-1])
    mean = _state_mean(symbols, layer, field_at)
    deviation = _deviation(symbols, layer)
    log_partition = log_partition_of(symbols, layer, field_at)
    event: Expression = entry(name, indices)
    match layer.unit.support:
        case Finite((lower, upper)):
            event = Compare("=", event, signed_constant(upper))
            right: Expression = call("sigmoid", log_odds(symbols, layer, field, (lower, upper)))
        case OneHot():
            site = entry(name, indices[:-1]) if indices[:-1] else Name(name)
            event, right = Compare("=", site, Name(indices[-1])), mean
        case Counts():
            event = Compare("=", call("word", Name(name)), Name(indices[-1]))
            right = _mean(symbols, layer, field_at, {"length": ONE})
        case Real() if deviation is not None:
            right = call("normal", mean, deviation)
        case Naturals() if (layer.unit.base, layer.unit.statistic) == ("log(factorial(x))", "x"):
            right = call("poisson", mean)
        case _:
            right = density(symbols, layer, field, log_partition, event)
    rest = ["rest"] if any(edge.lateral and name in edge.layers for edge in symbols.model.edges) else []
    return Conditional(
        layer=name,
        family=layer.unit.name,
        indices=indices,
        given=given,
        field=field,
        mean=mean,
        deviation=deviation,
        log_partition=log_partition,
        equation=Equation(Call("p", (event,), given=tuple(map(Name, (*given, *rest))) or None), right),
    )


def density(
    symbols: Symbols, layer: Layer, field: Expression, log_partition: Expression, state: Expression
) -> Expression:
    """The probability (density) of one state of a unit: `exp(f s(x) - base(x) - A(f))`."""
    letters = symbols.letters[layer.name]
    statistic = symbols.filled(layer.unit.statistic, layer, letters, state=state)
    base = symbols.filled(layer.unit.base, layer, letters, state=state)
    weight = tidied(product([field, statistic]))
    return call("exp", total([*split_sum(weight), *split_sum(base, -1), *split_sum(log_partition, -1)]))


def log_odds(symbols: Symbols, layer: Layer, field: Expression, values: tuple[Fraction, Fraction]) -> Expression:
    """The log odds of the second of two states to the first."""
    reader, writer = symbols.reader(), symbols.writer()

    def step(text: str) -> Poly:
        first, second = (
            symbols.filled(text, layer, symbols.letters[layer.name], state=signed_constant(v)) for v in values
        )
        return subtract(reader.read(second), reader.read(first))

    terms = [(1, product([writer.write(step(layer.unit.statistic)), field]))]
    return total([*terms, *((-sign, term) for sign, term in writer.terms(step(layer.unit.base)))])


def _state_mean(symbols: Symbols, layer: Layer, field_at: FieldAt) -> Expression:
    """The mean of a unit's state, from that of its statistic."""
    mean = _mean(symbols, layer, field_at, {})
    letters = symbols.letters[layer.name]
    if statistic(symbols, layer.name, letters) == entry(layer.name, letters):
        return mean
    reader = symbols.reader()
    slope, offset = _slope(symbols, layer, reader)
    poly = reader.algebra.multiply(subtract(reader.read(mean), offset), reader.algebra.inverse(slope))
    return symbols.writer().write(poly)


def _mean(symbols: Symbols, layer: Layer, field_at: FieldAt, constants: Mapping[str, Expression]) -> Expression:
    """The mean of a unit's statistic."""
    state = symbols.letters[layer.name][-1]
    names = {**symbols.constants(layer, symbols.letters[layer.name]), **constants}
    if layer.unit.states_axis and field_at(state) == ZERO:  # no bias, no neighbour: all states are alike
        return product([names.get("length", ONE)], [symbols.extent(layer, -1)])
    avoid = symbols.reserved | symbols.all_letters
    return tidied(filled(layer.unit.mean, {**names, "f": field_at(state)}, {"f": field_at}, {"k": state}, avoid))


def _deviation(symbols: Symbols, layer: Layer) -> Expression | None:
    """The standard deviation of a real unit whose statistic has mean f, and so variance 1."""
    if not isinstance(layer.unit.support, Real) or layer.unit.mean != "f":
        return None
    reader = symbols.reader()
    return symbols.writer().write(reader.algebra.inverse(_slope(symbols, layer, reader)[0]))


def _slope(symbols: Symbols, layer: Layer, reader: Reader) -> tuple[Poly, Poly]:
    """What multiplies the state in the statistic, and the statistic at 0."""
    letters = symbols.letters[layer.name]
    at = [reader.read(symbols.filled(layer.unit.statistic, layer, letters, state=x)) for x in (ZERO, ONE)]
    return subtract(at[1], at[0]), at[0]


def counted_out(model: Model, listed: Container[str]) -> frozenset[str]:
    """The layers with parents whose sum is 1 whatever else there is: neither they nor layers below are listed."""
    out: set[str] = set()
    for name in reversed(model.children):
        below = {edge.head for edge in model.directed if edge.tail == name}
        if name not in listed and below <= out:
            out.add(name)
    return frozenset(out)


def open_edge(model: Model, listed: Container[str]) -> str | None:
    """Why the sum over the layers that are not listed does not close, in the file's names; None if it does."""
    out = counted_out(model, listed)
    for edge in model.directed:
        child, parent = edge.head, edge.tail
        name = parent if parent not in listed else child
        if child not in out and name not in listed:
            other = child if name == parent else parent
            return (
                f"{name} has a directed edge {'to' if name == parent else 'from'} {other} ({edge.weight}), so the sum "
                "over its states does not close"
            )
    for layer in model.layers.values():
        if layer.role == "given" and layer.name not in listed:
            return f"{layer.name} is given, and never summed over"
    for edge in model.edges:
        summed = [name for name in edge.layers if name not in listed]
        if len(summed) > 1 and edge.lateral:
            return f"{summed[0]} has an edge to itself ({edge.weight}), so the sum over its states does not close"
        if len(summed) > 1:
            names = f"{', '.join(summed[:-1])} and {summed[-1]}"
            return f"{names} share an edge ({edge.weight}), so the sum over their states does not close"
    return None


def derive_free_energy(fields: Fields, listed: Sequence[str]) -> Expression:
    """-log of the sum of exp(-energy) over the states of all other layers, no two of which share an edge."""
    symbols = fields.symbols
    terms = energy_terms(symbols, listed)
    out = counted_out(symbols.model, listed)
    for layer in symbols.model.layers.values():
        if layer.name not in listed and layer.name not in out:
            terms += marginal_terms(fields, layer.name)
    return total(terms)


def marginal_terms(fields: Fields, name: str, chosen: Mapping[str, str] | None = None) -> list[Term]:
    """Minus the log of a layer's sum of exp(-energy) over its states, its neighbours' states being known.

    A neighbour in `chosen` is one site, in the state that this index names.
    """
    symbols = fields.symbols
    layer = symbols.model.layers[name]
    letters = symbols.letters[name]
    log_partition = log_partition_of(
        symbols, layer, lambda state: fields.field(name, (*letters[:-1], state), chosen=chosen)
    )
    constants = split_sum(symbols.filled(layer.unit.constant, layer, letters))
    sites = letters[:-1] if layer.unit.states_axis else letters
    terms = [(sign, symbols.summed(name, body, letters)) for sign, body in constants]
    return [*terms, (-1, symbols.summed(name, log_partition, sites))]


def _free_energy_of(listed: Sequence[str]) -> Expression:
    return call("free_energy", *map(Name, listed))


def _mean_field(name: str, conditional: Conditional) -> Equation:
    return Equation(call("mean_field", entry(name, conditional.indices)), conditional.mean)


def roots(model: Model) -> tuple[str, ...]:
    """The layers that have neither parents nor undirected edges, in a model with directed ones: each is normalised."""
    joined = {name for edge in model.edges for name in edge.layers}
    free = (name for name in model.core if name not in joined and model.layers[name].role != "given")
    return tuple(free) if model.directed else ()


def gradient_of(symbols: Symbols, parameter: Parameter, normalised: bool = True) -> Expression:
    """`data(s) - model(s)`, with s the derivative of minus the energy by one entry of the parameter.

    That of a lateral weight is by an entry off the diagonal. Of parameters of a conditional p(child | parents), which
    is normalised by itself, there is no model phase: the gradient is that of its log, the delta rule. So it is with
    the layers at the top of a belief net, unless not `normalised`: then their phases are those of the undirected part.
    """
    own = roots(symbols.model) if normalised else ()
    core = [name for name in symbols.model.core if name not in own]

    def slope(layers: Iterable[str], alone: Iterable[str] = ()) -> Expression:
        terms = energy_terms(symbols, frozenset(layers))
        for name in alone:
            terms += [(-sign, term) for sign, term in marginal_terms(declared_fields(symbols), name)]
        return _slope_by(symbols, parameter, total(terms))

    whole, model = slope(symbols.model.layers, own), slope(core)
    errors = [_delta_rule(symbols, parameter, child) for child in (*symbols.model.children, *own)]
    readable = total([(1, share) for share in (model, *errors) if share != ZERO])
    reader = symbols.reader()
    if reader.algebra.is_zero(subtract(reader.read(whole), reader.read(readable))):
        whole = readable
    data = call("data", whole)
    return data if model == ZERO else Binary("-", data, call("model", model))


def _slope_by(symbols: Symbols, parameter: Parameter, energy: Expression) -> Expression:
    """Minus the derivative by one entry of a parameter."""
    reader = symbols.reader()
    letters = symbols.parameter_letters(parameter)
    found = scale(reader.algebra.derivative(reader.read(energy), parameter.name, letters), -1)
    if parameter.symmetric:
        found = {m: c for m, c in found.items() if not any(isinstance(atom, Delta) for atom, _ in m.factors)}
    return symbols.writer().write_factored(reader.algebra, found)


def _delta_rule(symbols: Symbols, parameter: Parameter, child: str) -> Expression:
    """The derivative of log p(child | parents): that of field times statistic, the state less its mean in its place.

    Source: Neal (1992), eq. 14; Hinton, Dayan, Frey and Neal (1995), "The wake-sleep algorithm", eq. 5.
    """
    fields, letters = child_fields(symbols, child), symbols.letters[child]
    sent = total([(-sign, symbols.summed(child, body, letters)) for sign, body in coupled(fields, child)])
    slope = _slope_by(symbols, parameter, sent)
    mean = derive_conditional(fields, child, symbols.model.parents(child)).mean
    used = {n.name for n in walk(slope) if isinstance(n, Name | Index)} | bound_names(slope)

    def error(node: Expression) -> Expression | None:
        if not isinstance(node, Index) or node.name != child:
            return None
        places = [index.name for index in node.indices if isinstance(index, Name)]
        return Binary("-", node, renamed(mean, dict(zip(letters, places, strict=True)), used | {*places}))

    return rewrite(slope, error)


def _in_energy(model: Model, parameter: Parameter) -> bool:
    """Whether a parameter is learned from the likelihood: recognition has parameters of its own, which are not."""
    return not parameter.fixed and parameter.name not in model.recognition_parameters


def _gradient_equation(symbols: Symbols, parameter: Parameter) -> Equation:
    left = call("gradient", entry(parameter.name, symbols.parameter_letters(parameter)))
    return Equation(left, gradient_of(symbols, parameter))
