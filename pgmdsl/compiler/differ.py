"""The terms in which the two sides of a refuted check differ, in words."""

from __future__ import annotations

from pgmdsl.compiler.expressions import renamed
from pgmdsl.compiler.model import Model
from pgmdsl.compiler.normal import Algebra
from pgmdsl.compiler.normal_product import subtract
from pgmdsl.compiler.normal_read import Reader
from pgmdsl.compiler.normal_terms import Exp, Function, Monomial, NoProofError, Poly
from pgmdsl.compiler.normal_write import Writer
from pgmdsl.compiler.slips import role
from pgmdsl.grammar.format import format_expression
from pgmdsl.grammar.syntax import Call, Expression, Generator

MOST_TERMS = 6
ACTIVATIONS = ("sigmoid", "tanh", "exp", "softplus")


def differing_terms(
    model: Model, reader: Reader, writer: Writer, left: Expression, right: Expression
) -> tuple[str, ...]:
    """What the right side lacks, has too much, or has with another factor.

    Compared inside of a common activation; products of exponentials by their logarithms. Empty where the sides have no
    normal form.
    """
    left, right = _inside(left, right)
    try:
        first, second = reader.read(left), reader.read(right)
    except NoProofError:
        return ()
    fields = _log_odds(reader.algebra, first), _log_odds(reader.algebra, second)
    if fields[0] is not None and fields[1] is not None:
        first, second = fields[0], fields[1]
    how = ""
    logarithms = _logarithm(reader.algebra, first), _logarithm(reader.algebra, second)
    if logarithms[0] is not None and logarithms[1] is not None:
        how, first, second = "as logarithms, ", logarithms[0], logarithms[1]
    difference = subtract(first, second)
    if any(isinstance(atom, Function) and atom.name == "inverse" for m in difference for atom, _ in m.factors):
        return (f"the left side is {format_expression(writer.write(first))}",)
    terms = sorted(difference, key=lambda m: (len(m.bound), m.key))
    lines = [how + _line(model, writer, monomial, first, second) for monomial in terms[:MOST_TERMS]]
    if len(terms) > MOST_TERMS:
        lines.append(f"and {len(terms) - MOST_TERMS} more terms differ")
    return tuple(lines)


def _line(model: Model, writer: Writer, monomial: Monomial, left: Poly, right: Poly) -> str:
    """How one term differs."""

    def shown(poly: Poly) -> str:
        return role(model, writer.write({monomial: poly[monomial]}))

    if monomial not in right:
        return f"the right side lacks {shown(left)}"
    if monomial not in left:
        return f"the right side has the extra term {shown(right)}"
    if left[monomial] == -right[monomial]:
        return f"the right side has the sign of {shown(right if right[monomial] > 0 else left)} reversed"
    return f"the right side has {shown(right)} for {shown(left)}"


def _logarithm(algebra: Algebra, poly: Poly) -> Poly | None:
    """The logarithm of one product that holds an exponential; None for other formulas."""
    if len(poly) != 1 or not any(isinstance(atom, Exp) for monomial in poly for atom, _ in monomial.factors):
        return None
    try:
        return algebra.log(poly)
    except NoProofError:
        return None


def _inside(left: Expression, right: Expression) -> tuple[Expression, Expression]:
    """The arguments of a function that both sides apply."""
    match left, right:
        case Call(f, (inner,), generator=None), Call(g, (other,), generator=None) if f == g and f in ACTIVATIONS:
            return _inside(inner, other)
        case (
            Call("softmax", (inner,), generator=Generator((q,), at=at)),
            Call("softmax", (other,), generator=Generator((r,), at=same)),
        ) if at == same:
            return inner, renamed(other, {r: q}, ())
        case _:
            return left, right


def _log_odds(algebra: Algebra, poly: Poly) -> Poly | None:
    """x, where the formula is 1 / (1 + exp(-x))."""
    if len(poly) != 1:
        return None
    ((monomial, coefficient),) = poly.items()
    inverses = [(a, p) for a, p in monomial.factors if isinstance(a, Function) and a.name == "inverse"]
    if coefficient != 1 or monomial.bound or len(inverses) != 1 or inverses[0][1] != 1:
        return None
    terms = [{m: c} for m, c in inverses[0][0].argument]
    if len(terms) != 2:
        return None
    try:
        own = algebra.log(algebra.product(coefficient, {}, {a: p for a, p in monomial.factors if a != inverses[0][0]}))
        logs = [algebra.log(term) for term in terms]
    except NoProofError:
        return None
    for this, other in ((logs[0], logs[1]), (logs[1], logs[0])):
        if own == this:
            return subtract(this, other)
    return None
