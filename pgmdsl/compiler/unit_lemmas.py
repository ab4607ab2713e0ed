"""User-defined unit types: from a `unit` block to a full row of the table of units.

The block gives support, energy without the bias, and statistic. What the table states of the built-in types follows:
p(x) = exp(f s(x) - energy(x) - A(f)) with f the bias plus what neighbours send, A(f) the log of the sum or integral of
exp(f s(x) - energy(x)) over the support, and E[s] = A'(f). Finite supports are written out, real ones closed piece
by piece (`unit_pieces`), countable ones summed by SymPy (`unit_sums`).
"""

from __future__ import annotations

from functools import reduce

from pgmdsl.compiler.expressions import ZERO, signed, total
from pgmdsl.compiler.unit_formula import at_state, folded, formula
from pgmdsl.compiler.unit_pieces import integrate_pieces
from pgmdsl.compiler.unit_read import Declared, read_unit
from pgmdsl.compiler.units import Finite, Naturals, Piece, Unit
from pgmdsl.grammar.formula import format_expression
from pgmdsl.grammar.syntax import Binary, Expression, Name, Negate, UnitDeclaration


def derive_unit(declaration: UnitDeclaration) -> Unit:
    """The row of a unit type that a model file declares.

    Args:
        declaration: a block of which every entry was parsed; an entry that is None is taken for one left out.

    Raises:
        MistakeError: for the first mistake in the block (codes E011, E012 and E090 to E097): a part or name that is
            wrong, states that the statistic does not tell apart, an energy without a value or that does not grow, a
            sum or integral that does not close.
    """
    declared = read_unit(declaration)
    pieces: tuple[Piece, ...] = ()
    match declared.support:
        case Finite():
            log_partition, mean = _written_out(declared)
        case Naturals():
            from pgmdsl.compiler.unit_sums import sum_naturals  # imports SymPy

            log_partition, mean = sum_naturals(declared)
        case _:
            pieces, log_partition, mean = integrate_pieces(declared)
    share = folded(Binary("*", Name("b"), declared.statistic))
    energy = folded(Negate(share)) if declared.energy == ZERO else total([(1, declared.energy), signed(-1, share)])
    return Unit(
        name=declared.name.name,
        support=declared.support,
        energy=format_expression(energy),
        statistic=format_expression(declared.statistic),
        base=format_expression(declared.energy),
        own_field="b",
        constant="0",
        log_partition=format_expression(log_partition),
        mean=format_expression(mean),
        field_of_mean=None,
        parameters=declared.parameters,
        pieces=pieces,
    )


def _written_out(declared: Declared) -> tuple[Expression, Expression]:
    """The log of the sum of exponentials over a finite support, and the mean."""
    assert isinstance(declared.support, Finite)
    states = declared.support.values
    statistics = [folded(at_state(declared.statistic, value)) for value in states]
    energies = [folded(at_state(declared.energy, value)) for value in states]
    weights = [
        formula("exp(f*s - E)", {"s": statistic, "E": energy})
        for statistic, energy in zip(statistics, energies, strict=True)
    ]
    terms = [formula("s*w", {"s": s, "w": w}) for s, w in zip(statistics, weights, strict=True)]
    whole, first = _sum(weights), _sum(terms)
    return formula("log(Z)", {"Z": whole}), formula("a/Z", {"a": first, "Z": whole})


def _sum(terms: list[Expression]) -> Expression:
    return reduce(lambda a, b: formula("a + b", {"a": a, "b": b}), terms)
