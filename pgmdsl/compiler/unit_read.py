"""Reading a `unit` block: its parts, names and support, each mistake with its place."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from pgmdsl.compiler.check_names import MistakeError
from pgmdsl.compiler.rewrite import rewrite, walk
from pgmdsl.compiler.unit_formula import X, exact, folded, numbers_only, rational
from pgmdsl.compiler.units import UNITS, Finite, Naturals, OwnParameter, Real
from pgmdsl.compiler.values import FUNCTIONS, evaluate
from pgmdsl.grammar.diagnostics import Error, suggest
from pgmdsl.grammar.formula import format_expression
from pgmdsl.grammar.source import NOWHERE, Span
from pgmdsl.grammar.syntax import (
    Binary,
    Call,
    Compare,
    Conditional,
    Expression,
    Identifier,
    Name,
    Negate,
    Number,
    Set,
    UnitDeclaration,
)

MOST_STATES = 64
_TAKEN = ("x", "b", "f", "m", "s", "trials")  # names of the formulas of every unit type
_POINTS = 8
_STATES = 40  # of countably many, at which an energy is tried


@dataclass(frozen=True, slots=True)
class Declared:
    """A unit block without mistakes of form: its support and formulas, in which the state is called x."""

    name: Identifier
    variable: str  # what the block calls the state
    parameters: tuple[OwnParameter, ...]
    support: Finite | Naturals | Real
    energy: Expression
    statistic: Expression
    places: Mapping[str, Span]  # of `support`, `energy` and `statistic`

    @property
    def positive(self) -> frozenset[str]:
        """The parameters that are above 0."""
        return frozenset(p.name for p in self.parameters if p.positive)

    def points(self) -> Iterator[dict[str, float]]:
        """Values of the parameters: those at which they start by default, then fixed arbitrary ones."""
        yield {p.name: 1.0 if p.positive else 0.0 for p in self.parameters}
        source = random.Random(self.name.name)
        for _ in range(_POINTS if self.parameters else 0):
            limits = {p.name: (0.2, 3.0) if p.positive else (-2.0, 2.0) for p in self.parameters}
            yield {name: source.uniform(*limit) for name, limit in limits.items()}

    def shown(self, node: Expression) -> str:
        """A part of the energy as the block writes it."""
        return format_expression(rewrite(node, lambda inner: Name(self.variable) if inner == X else None))


def read_unit(declaration: UnitDeclaration) -> Declared:
    """The block's parts. Raises `MistakeError` for the first mistake found."""
    name = declaration.name
    if name.name in UNITS:
        message = f"{name.name} is already a unit type of the language"
        raise MistakeError("E012", name.span, message, "choose another name")
    parts = {k: getattr(declaration, k) for k in ("support", "energy", "statistic")}
    missing = [part for part, node in parts.items() if node is None]
    if missing or declaration.variable is None:
        examples = {"support": "support x in {0, 1}", "energy": "energy 0", "statistic": "statistic x"}
        help = f"for example {', '.join(examples[part] for part in missing)}"
        raise MistakeError("E090", name.span, f"unit {name.name} lacks its {' and '.join(missing)}", help)
    variable = declaration.variable.name
    parameters = _parameters(declaration, variable)
    support = _support(declaration, parts["support"])
    for part in ("energy", "statistic"):
        _verify_formula(parts[part], part, name.name, (variable, *(p.name for p in parameters)))
    energy, statistic = (_renamed(parts[part], variable) for part in ("energy", "statistic"))
    places = {part: _place(node, name.span) for part, node in parts.items()}
    declared = Declared(name, variable, parameters, support, energy, statistic, places)
    _verify_used(declared, declaration)
    _verify_statistic(declared)
    _verify_finite(declared)
    return declared


def _renamed(node: Expression, variable: str) -> Expression:
    """The formula with the state called x."""
    return rewrite(node, lambda inner: Name("x", span=inner.span) if inner == Name(variable) else None)


def _place(node: Expression, otherwise: Span) -> Span:
    return otherwise if node.span == NOWHERE else node.span


# --- parameters and names ---


def _parameters(declaration: UnitDeclaration, variable: str) -> tuple[OwnParameter, ...]:
    seen: set[str] = set()
    for parameter in declaration.parameters:
        name, place = parameter.name.name, parameter.name.span
        if name in seen or name == variable:
            what = "declared twice" if name in seen else "already the name of the state"
            raise MistakeError("E092", place, f"{name} is {what}", "rename one of them")
        if name in _TAKEN:
            message = f"a parameter cannot be called {name}: formulas of units use this name"
            raise MistakeError("E092", place, message, f"choose another name, for example {name}_1")
        seen.add(name)
    return tuple(OwnParameter(p.name.name, p.positive) for p in declaration.parameters)


def _verify_used(declared: Declared, declaration: UnitDeclaration) -> None:
    used = {node.name for node in walk(declared.energy) if isinstance(node, Name)}
    for parameter in declaration.parameters:
        name = parameter.name.name
        if name not in used:
            message = f"the energy of {declared.name.name} does not depend on its parameter {name}"
            raise MistakeError("E092", parameter.name.span, message, f"use {name} in the energy, or remove it")


def _verify_formula(node: Expression, part: str, unit: str, known: tuple[str, ...]) -> None:
    """Raise `MistakeError` for an unknown name, and for what is not a formula of one unit."""
    match node:
        case Number():
            return
        case Name(name):
            if name not in known and name != "pi":
                problem = f"has no meaning in the {part} of {unit}, which knows its state and its parameters"
                raise MistakeError.unknown(name, node.span, problem, known)
            return
        case Negate(operand):
            inner: tuple[Expression, ...] = (operand,)
        case Binary(_, left, right):
            inner = (left, right)
        case Conditional(value, Compare(op, left, right), otherwise) if op != "=":
            inner = (value, left, right, otherwise)
        case Call(function, (argument,), None, None, (), None) if function in FUNCTIONS:
            inner = (argument,)
        case _:
            help = f"it is made of numbers, names, + - * / ^, a if x > 0 else b, and {', '.join(FUNCTIONS)}"
            if isinstance(node, Call) and node.function not in FUNCTIONS:
                help = suggest(node.function, list(FUNCTIONS)) or help
            raise MistakeError("E091", node.span, f"this cannot stand in a unit's {part}", help)
    for child in inner:
        _verify_formula(child, part, unit, known)


# --- support ---


def _support(declaration: UnitDeclaration, node: Expression) -> Finite | Naturals | Real:
    match node:
        case Set(members):
            return _finite(declaration.name.name, members, node.span)
        case Name("real"):
            return Real(None if declaration.lower is None else _constant(declaration.lower))
        case Name("integers"):
            if declaration.lower is None or _constant(declaration.lower) != 0:
                place = node.span if declaration.lower is None else declaration.lower.span
                help = "write x in integers >= 0, and x + 1 in the energy for counts from 1"
                raise MistakeError("E093", place, "counts begin at 0", help)
            return Naturals()
        case _:
            help = "write real, real >= 0, integers >= 0, or {-1, 0, 1}"
            raise MistakeError("E093", node.span, "this is not a support", help)


def _finite(unit: str, members: tuple[Expression, ...], place: Span) -> Finite:
    values: list[Fraction] = []
    for member in members:
        value = _constant(member)
        if value in values:
            message = f"{format_expression(member)} stands twice in the support"
            raise MistakeError("E093", member.span, message, "remove one of them")
        values.append(value)
    if len(values) < 2:
        raise MistakeError("E093", place, f"a unit of type {unit} is in one state only", "give at least two states")
    if len(values) > MOST_STATES:
        message = f"this support has {len(values)} states, and at most {MOST_STATES} can be written out"
        raise MistakeError("E093", place, message, "binomial[n](trials = N) counts from 0 to N")
    return Finite(tuple(sorted(values)))


def _constant(node: Expression) -> Fraction:
    value = rational(folded(node))
    if value is None:
        raise MistakeError("E093", node.span, "a support is made of constant numbers", "for example {-1, 0, 1/2}")
    return value


# --- statistic and energy ---


def _verify_statistic(declared: Declared) -> None:
    """The statistic must be linear in the state, as the mean of one tells that of the other then only.

    Where the support is unbounded it is the state itself.
    """
    unit, x, text = declared.name.name, declared.variable, declared.shown(declared.statistic)
    straight = numbers_only(declared.statistic)
    if isinstance(declared.support, Finite) and (straight is None or not straight[0]):
        message = f"the statistic of {unit} is {text}, and must be a number times {x}, plus a number"
        help = f"write statistic {x}, and as support the values that edges are to multiply"
        raise MistakeError("E094", declared.places["statistic"], message, help)
    if not isinstance(declared.support, Finite) and declared.statistic != X:
        message = f"the statistic of {unit} is {text}; on an unbounded support it is the state itself"
        help = f"write statistic {x}: the weights of the edges can take up a factor"
        raise MistakeError("E094", declared.places["statistic"], message, help)


def _verify_finite(declared: Declared) -> None:
    """The energy must be a number at every state, for parameters of any value."""
    match declared.support:
        case Finite(states):
            tried = states
        case Naturals():
            tried = tuple(Fraction(n) for n in range(_STATES))
        case Real(lower):
            start = -5 if lower is None else lower
            tried = tuple(start + Fraction(n, 4) for n in range(_STATES + 1))
    for point in declared.points():
        for state in tried:
            _verify_value(declared, state, point)


def _verify_value(declared: Declared, state: Fraction, point: Mapping[str, float]) -> None:
    try:
        evaluate(declared.energy, {"x": float(state), **point})
    except Error:
        where = ", ".join(
            [f"{declared.variable} = {_shown(state)}", *(f"{name} = {value:g}" for name, value in point.items())]
        )
        message = f"the energy of {declared.name.name} has no finite value at {where}"
        help = "it must have one at every state"
        if declared.parameters:
            help += ", for all values of the parameters; param NAME > 0 keeps one above 0"
        raise MistakeError("E095", declared.places["energy"], message, help) from None


def energy_mistake(code: str, declared: Declared, node: Expression | None, message: str, help: str) -> MistakeError:
    """A mistake in the energy, at a part of it where that has a place."""
    whole = declared.places["energy"]
    return MistakeError(code, whole if node is None else _place(node, whole), message, help)


def _shown(state: Fraction) -> str:
    return format_expression(exact(state))
