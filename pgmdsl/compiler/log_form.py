"""Formulas in sums of exponentials, written so that none overflows: the logarithm of a positive formula, term by term.

log of a product is the sum of the logs, log exp(u) is u, and log(a + b) = log a + softplus(log b - log a), the term
first that grows fastest with the field; what is added and taken away is left out.
"""

from __future__ import annotations

from collections.abc import Collection

from pgmdsl.compiler.expressions import ONE, Term, call, split_sum, total
from pgmdsl.compiler.rewrite import rewrite, walk
from pgmdsl.grammar.syntax import Binary, Call, Expression, Name, Number


def without_overflow(formula: Expression, positive: Collection[str], whole: bool = False) -> Expression:
    """The formula with every logarithm in it written term by term; with `whole` as exp of its own logarithm.

    Args:
        formula: in numbers, exponentials and logarithms, sums, products, quotients and powers; other parts stay.
        positive: the names that are above 0.
        whole: whether the formula itself is above 0.
    """
    if whole:
        terms = _log_terms(formula, positive)
        return formula if terms is None else call("exp", total(_cancelled(terms)))

    def change(node: Expression) -> Expression | None:
        match node:
            case Call("log", (argument,)):
                terms = _log_terms(argument, positive)
                return None if terms is None else total(_cancelled(terms))
            case _:
                return None

    return rewrite(formula, change)


def _log_terms(formula: Expression, positive: Collection[str]) -> list[Term] | None:
    """The logarithm of a positive formula as a sum; None where a part may not be positive."""
    match formula:
        case Number() if formula.value > 0:
            return [] if formula == ONE else [(1, call("log", formula))]
        case Name(name) if name in positive or name == "pi":
            return [(1, call("log", formula))]
        case Call("exp", (argument,)):
            return split_sum(argument)
        case Binary("*" | "/" as op, left, right):
            first, second = _log_terms(left, positive), _log_terms(right, positive)
            if first is None or second is None:
                return None
            return [*first, *((sign if op == "*" else -sign, term) for sign, term in second)]
        case Binary("+" | "-"):
            return _log_of_sum(split_sum(formula), positive)
        case _:
            return None


def _log_of_sum(terms: list[Term], positive: Collection[str]) -> list[Term] | None:
    """log(sum of what is added - sum of what is taken away)."""
    added, taken = (_log_sum([t for sign, t in terms if sign == side], positive) for side in (1, -1))
    if added is None or taken is None or not any(sign > 0 for sign, _ in terms):
        return None
    if all(sign > 0 for sign, _ in terms):
        return added
    share = call("exp", Binary("-", total(taken), total(added)))
    return [*added, (1, call("log", Binary("-", ONE, share)))]


def _log_sum(terms: list[Expression], positive: Collection[str]) -> list[Term] | None:
    """The log of a sum, log a + softplus(log b - log a) and so on, the fastest-growing term first."""
    logs = [_log_terms(term, positive) for term in terms]
    known = sorted((log for log in logs if log is not None), key=_growth, reverse=True)
    if len(known) < len(logs):
        return None
    result = known.pop() if known else []
    while known:
        first = known.pop()
        below = _cancelled([*result, *((-sign, term) for sign, term in first)])
        result = [*first, (1, call("softplus", total(below)))]
    return result


def _growth(terms: list[Term]) -> tuple[int, bool]:
    """How fast exp of a sum grows with f: by the number of exponentials in it that hold f, then by f itself."""
    nodes = [node for _, term in terms for node in walk(term)]
    exponentials = sum(isinstance(n, Call) and n.function == "exp" and Name("f") in set(walk(n)) for n in nodes)
    return exponentials, Name("f") in nodes


def _cancelled(terms: list[Term]) -> list[Term]:
    """Without the terms that are both added and taken away."""
    kept: list[Term] = []
    for sign, term in terms:
        if (-sign, term) in kept:
            kept.remove((-sign, term))
        else:
            kept.append((sign, term))
    return kept
