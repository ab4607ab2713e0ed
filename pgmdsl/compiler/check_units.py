"""Unit types: those of the table, and those that a file declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgmdsl.compiler.check_names import MistakeError, Scope
from pgmdsl.compiler.units import UNITS, Unit
from pgmdsl.grammar.diagnostics import suggest
from pgmdsl.grammar.syntax import Identifier, UnitDeclaration

OwnUnits = Mapping[str, Unit | None]
"""The unit types that a file declares; None for one with a mistake in it."""


def check_units(declarations: Sequence[UnitDeclaration], scope: Scope) -> OwnUnits:
    """The file's own unit types by name, with all that follows from each block; every mistake is reported."""
    found: dict[str, Unit | None] = {}
    for declaration in declarations:
        name = declaration.name
        if name.name in found:
            message = f"the unit type {name.name} is declared twice"
            scope.record(MistakeError("E012", name.span, message, "rename one of them"))
            continue
        found[name.name] = None
        if not _is_broken(declaration, scope):
            from pgmdsl.compiler.unit_lemmas import derive_unit

            with scope.recorded():
                found[name.name] = derive_unit(declaration)
    return found


def unit_of(name: Identifier, own: OwnUnits) -> Unit | None:
    """The unit type of this name; None for one of the file's own that is wrong. Raises `MistakeError` for no type."""
    if name.name in own:
        return own[name.name]
    if name.name in UNITS:
        return UNITS[name.name]
    known = [*UNITS, *own]
    help = suggest(name.name.lower(), known) or f"the unit types are {', '.join(known)}"
    mistake = MistakeError("E040", name.span, f"{name.name} is not a unit type", help)
    mistake.name = name.name  # its block may be what did not parse
    raise mistake


def options_elsewhere(unit: Unit, own: OwnUnits) -> dict[str, str]:
    """For each option that layers of other unit types take and these do not, whose it is."""
    owners: dict[str, list[str]] = {}
    for other in (*UNITS.values(), *(found for found in own.values() if found)):
        for option in other.options:
            if option not in unit.options:
                owners.setdefault(option, []).append(other.name)
    return {o: f"layers of {' and '.join(names)} units have it; leave it out here" for o, names in owners.items()}


def _is_broken(declaration: UnitDeclaration, scope: Scope) -> bool:
    """Whether a part of the block is reported already, so that what is missing is not said of it again."""
    place = declaration.span
    return any(place.start <= problem.span.start <= place.end for problem in scope.diagnostics.errors)
