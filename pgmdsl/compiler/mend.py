"""What a refuted check may have meant: the one change with which it is proved."""

from __future__ import annotations

from dataclasses import replace

from pgmdsl.compiler.claim import Claim, claim_of, free_indices
from pgmdsl.compiler.energy import Fields
from pgmdsl.compiler.expressions import call
from pgmdsl.compiler.forms import Up
from pgmdsl.compiler.model import Model
from pgmdsl.compiler.normal import Algebra
from pgmdsl.compiler.rewrite import walk
from pgmdsl.compiler.scope import Examined, examine_check
from pgmdsl.compiler.slips import Slip, Slips, role
from pgmdsl.grammar.diagnostics import Diagnostics
from pgmdsl.grammar.syntax import Call, CheckDeclaration, Name, Negate

MOST_NODES = 30_000  # of all candidates together


def mend_of(fields: Fields, check: CheckDeclaration) -> str:
    """The likeliest change of one place (or of all like it) with which a check is proved, in words; or none.

    All candidates share the work that one proof is allowed.
    """
    model = fields.symbols.model
    examined = _examined(model, check)
    if examined is None:
        return ""
    slips = Slips(model, free_indices(examined.model, examined.form), isinstance(examined.form, Up))
    algebra: Algebra | None = None
    claim: Claim | None = None
    most = MOST_NODES // sum(1 for _ in walk(check.right))
    for slip in slips.of(check.right)[:most]:
        mended = _examined(model, replace(check, right=slip.right))
        if mended is None or mended.clash is not None:
            continue
        claim = claim_of(fields, mended, claim)
        algebra = algebra or claim.reader().algebra
        if all(claim.proof(sides, algebra) is not None for sides in claim.sides):
            return f"it holds {slip.told.replace('{}', _named(fields, check, claim, slip))}"
    return ""


def _examined(model: Model, check: CheckDeclaration) -> Examined | None:
    return examine_check(model, check, Diagnostics(model.source))


def _named(fields: Fields, check: CheckDeclaration, claim: Claim, slip: Slip) -> str:
    """The term that was changed, by its name if it has one: an entry's role, the entropy of q."""
    if slip.term is None:
        return ""
    if claim.posterior is not None and isinstance(slip.term, Call):
        for side in (slip.term, Negate(slip.term)):
            entropy = replace(check, left=call("entropy", Name("q")), right=side)
            examined = _examined(fields.symbols.model, entropy)
            if examined is not None and examined.clash is None:
                claim = claim_of(fields, examined)
                if all(claim.proof(sides) is not None for sides in claim.sides):
                    return "the entropy of q"
    return role(fields.symbols.model, slip.term)
