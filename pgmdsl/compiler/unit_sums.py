"""Counting units, of support 0, 1, 2, ...: sums over all states by SymPy.

With z = exp(f) > 0 the normaliser is the power series sum_x z^x exp(-energy(x)). States below the last branch of the
energy are written out; the rest is summed where successive terms have a rational ratio, for which there are
algorithms. A closed form is accepted if it can be written in the language and agrees with sums taken term by term.
The series must converge for every f: the energy's growth from one state to the next must itself grow without end.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from typing import Any

import sympy

from pgmdsl.compiler.expressions import call, product, signed, total
from pgmdsl.compiler.symbolic import to_sympy
from pgmdsl.compiler.unit_branches import UnreadableBranchError, between, thresholds
from pgmdsl.compiler.unit_formula import at_state, exact, folded
from pgmdsl.compiler.unit_read import MOST_STATES, Declared, energy_mistake
from pgmdsl.compiler.values import evaluate
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.syntax import Binary, Expression, Name

_F = sympy.Symbol("f", real=True)
_X = sympy.Dummy("x", integer=True, nonnegative=True)
_Z, _W = sympy.Dummy("z", positive=True), sympy.Dummy("w", positive=True)
_FAR = (10**3, 10**6, 10**9)  # states between which the growth of the energy is compared
_DIGITS = 40  # floating, or SymPy would multiply a factorial out
_TERMS = 500
_FIELDS = (-30.0, -1.5, 0.3, 3.0)
_TOLERANCE = 1e-9
_FUNCTIONS = {sympy.exp: "exp", sympy.log: "log"}


class _OpenError(Exception):
    """A sum that does not close, and why."""


def sum_naturals(declared: Declared) -> tuple[Expression, Expression]:
    """The log-partition function and the mean of a unit that counts.

    Raises `MistakeError` where the sum over all states diverges for some field, or does not close.
    """
    try:
        first, tail = _split(declared)
        energy = _in_sympy(declared, tail)
        _verify_growth(declared, energy)
        written_out = [folded(at_state(declared.energy, Fraction(state))) for state in range(first)]
        held: dict[Any, Any] = {_Z: sympy.exp(_F)}
        weights = [_weight(_in_sympy(declared, node), held) for node in written_out]
        head = sympy.Add(*(_Z**x * weight for x, weight in enumerate(weights)))
        growth, rest = _growth(head + _summed(energy, first, held))
        mean = sympy.expand(_Z * (sympy.diff(growth, _Z) * rest + sympy.diff(rest, _Z))) / rest
        closed = (growth + _logarithm(rest), mean)
        log_partition, average = (folded(_written(sympy.powsimp(e.subs(held)))) for e in closed)
        _confirm(declared, log_partition, average)
    except _OpenError as problem:
        x, unit = declared.variable, declared.name.name
        message = f"the sum of exp(f*{x} - energy) over the states of {unit} does not close: {problem}"
        help = f"write an energy such as log(factorial({x})) + t*{x} - log(1 + {x}), and others at the first few states"
        raise energy_mistake("E096", declared, None, message, help) from None
    return log_partition, average


def _split(declared: Declared) -> tuple[int, Expression]:
    """The state from which on the energy has one formula, and that formula."""
    try:
        changes = thresholds(declared.energy)
    except UnreadableBranchError as problem:
        raise _OpenError(problem.reason(declared.shown(problem.node), declared.variable)) from None
    last = changes[-1] if changes else Fraction(-1)
    first = max(math.floor(last) + 1, 0)
    if first > MOST_STATES:
        raise _OpenError(f"its last branch is at {first}, and at most {MOST_STATES} states can be written out")
    return first, between(declared.energy, last + 1)


def _in_sympy(declared: Declared, node: Expression) -> Any:
    """An energy, with the signs of its parameters known."""
    names: dict[Any, Any] = {sympy.Symbol("x", real=True): _X}
    for name in declared.positive:
        names[sympy.Symbol(name, real=True)] = sympy.Symbol(name, positive=True)
    return to_sympy(node).subs(names)


def _verify_growth(declared: Declared, energy: Any) -> None:
    """Raise `MistakeError` unless what the energy grows by from a state to the next grows without end."""
    for point in declared.points():
        values = {symbol: point[symbol.name] for symbol in energy.free_symbols - {_X}}
        at = [[energy.subs(values).subs(_X, sympy.Float(n + step, _DIGITS)) for step in (0, 1)] for n in _FAR]
        growth = [later - earlier for earlier, later in at]
        if not all(later > earlier + 1 for earlier, later in pairwise(growth)):
            x, unit = declared.variable, declared.name.name
            message = f"the energy of {unit} does not grow faster than every multiple of {x}: "
            message += f"the sum of exp(f*{x} - energy) then diverges for large fields f"
            raise energy_mistake("E097", declared, None, message, f"add a term such as log(factorial({x}))")


def _weight(constant: Any, held: dict[Any, Any]) -> Any:
    """The exponential of minus a constant: a number, or a symbol held for it, for SymPy is to look no further."""
    weight = sympy.exp(-constant)
    if weight.is_Rational:
        return weight
    symbol = sympy.Dummy(positive=True)
    held[symbol] = weight
    return symbol


def _summed(energy: Any, first: int, held: dict[Any, Any]) -> Any:
    """The sum of z^x exp(-energy) from a state on."""
    terms = sympy.Add.make_args(sympy.expand(energy))
    constant = sympy.Add(*(t for t in terms if not t.has(_X)))
    slope = sympy.Add(*(t / _X for t in terms if t.has(_X) and not (t / _X).has(_X)))  # it only changes z
    rest = sympy.Add(*(t for t in terms if t.has(_X) and (t / _X).has(_X)))
    term = _W**_X * sympy.exp(-rest)
    if not term.is_hypergeometric(_X):
        raise _OpenError("successive terms do not have a rational ratio")
    found = sympy.summation(term, (_X, 0, sympy.oo)) - sympy.Add(*(term.subs(_X, n) for n in range(first)))
    return _weight(constant, held) * found.subs(_W, _Z * _weight(slope, held))


def _growth(normaliser: Any) -> tuple[Any, Any]:
    """Exponent h and factor R of a sum exp(h) R, h the one that grows fastest with z: exp(h) need not be taken."""
    terms = []
    for term in sympy.Add.make_args(sympy.expand(normaliser.rewrite(sympy.exp))):
        powers = [factor for factor in sympy.Mul.make_args(term) if isinstance(factor, sympy.exp) and factor.has(_Z)]
        terms.append((sympy.Add(*(power.args[0] for power in powers)), term / sympy.Mul(*powers)))

    def size(exponent: Any) -> Any:
        return exponent.subs(dict.fromkeys(exponent.free_symbols - {_Z}, 1)).subs(_Z, _FAR[-1]).evalf()

    growth = max((exponent for exponent, _ in terms), key=size)
    rest = sympy.Add(*(factor * sympy.exp(exponent - growth) for exponent, factor in terms))
    alone = all(exponent == growth for exponent, _ in terms)  # else factors would take exp(h) out again
    return growth, sympy.factor(rest) if alone else rest


def _logarithm(normaliser: Any) -> Any:
    """The log of a positive sum, by its factors; a sign before them is taken into the first that is a sum."""
    number, rest = normaliser.as_coeff_Mul()
    factors = list(sympy.Mul.make_args(rest))
    place = next((k for k, factor in enumerate(factors) if factor.is_Add), None)
    if number < 0 and place is not None:
        number, factors[place] = -number, sympy.Add(*(-term for term in factors[place].args))
    return sympy.Add(*(sympy.expand_log(sympy.log(factor), force=True) for factor in (number, *factors)))


def _written(node: Any) -> Expression:
    """A closed form in the language."""
    if node.is_Rational:
        return exact(Fraction(int(node.p), int(node.q)))
    if node.is_Symbol:
        return Name(node.name)
    if node is sympy.pi:
        return Name("pi")
    if node is sympy.E:
        return call("exp", exact(Fraction(1)))
    if node.is_Add:
        parts = sorted(node.args, key=lambda part: part.could_extract_minus_sign())  # no partial sum is below 0
        return total([signed(1, folded(_written(part))) for part in parts])
    if node.is_Mul:
        above, below = sympy.fraction(node, exact=True)
        if below != 1:
            return Binary("/", _written(above), _written(below))
        return product([_written(part) for part in node.args])
    if node.func in _FUNCTIONS:
        return call(_FUNCTIONS[node.func], _written(node.args[0]))
    if node.is_Pow:
        base, exponent = node.args
        root = exponent == sympy.Rational(1, 2)
        return call("sqrt", _written(base)) if root else Binary("^", _written(base), _written(exponent))
    raise _OpenError(f"its value, with {node.func.__name__}, cannot be written in the language")


def _confirm(declared: Declared, log_partition: Expression, mean: Expression) -> None:
    """Compare with sums taken term by term, at several fields and values of the parameters."""
    for point in declared.points():
        energies = [evaluate(declared.energy, {"x": float(x), **point}) for x in range(_TERMS)]
        for f in _FIELDS:
            logs = [f * x - energy for x, energy in enumerate(energies)]
            highest = max(logs)
            weights = [math.exp(log - highest) for log in logs]
            whole = math.fsum(weights)
            average = math.fsum(x * w for x, w in enumerate(weights)) / whole
            for formula, wanted in ((log_partition, highest + math.log(whole)), (mean, average)):
                try:
                    found = evaluate(formula, {"f": f, **point})
                except Error:
                    found = math.nan
                if not abs(found - wanted) <= _TOLERANCE * (1 + abs(wanted)):
                    raise _OpenError(f"the form that was found is not accurate at the field {f:g}")
