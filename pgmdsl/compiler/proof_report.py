"""Proofs and checks for reading: the steps as text and LaTeX, and a page of checks with formulas typeset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pgmdsl.compiler.model import Model
from pgmdsl.compiler.prove import Verdict
from pgmdsl.compiler.report import broken, wrapped
from pgmdsl.compiler.steps import Proof, Step
from pgmdsl.compiler.typeset_latex import escaped, latex
from pgmdsl.grammar.format import format_expression
from pgmdsl.grammar.syntax import CheckDeclaration

INDENT = " " * 11  # under the title of a check
SAME = "both sides have this normal form"
ZERO = "the difference of both sides, over a common denominator, is 0"


def proof_text(proof: Proof) -> str:
    """The steps of a proof, one equation after the other, each with its rule; and how both sides meet."""
    lines: list[str] = [f"{INDENT}{proof.part.strip().rstrip(',')}:"] if proof.part else []
    for heading, steps in (("left side", proof.left), ("right side", proof.right)):
        lines.append(f"{INDENT}{heading}" if steps else f"{INDENT}{heading}: in normal form as it stands")
        for step in steps:
            lines += wrapped(f"{INDENT}  ", step.left)
            lines += wrapped(f"{INDENT}    = ", step.right)
            lines.append(f"{INDENT}      ({step.rule})")
    lines.append(f"{INDENT}{SAME if proof.meets else ZERO}")
    lines += wrapped(f"{INDENT}  ", proof.normal) if proof.meets else []
    lines += [f"{INDENT}used: {law}" for law in proof.laws]
    return "\n".join(lines)


def proof_latex(proof: Proof) -> str:
    """The steps of a proof as displayed equations (amsmath), each with its rule before it."""
    out = [rf"\paragraph{{{escaped(proof.part.strip().rstrip(','))}}}"] if proof.part else []
    for heading, steps in (("Left side", proof.left), ("Right side", proof.right)):
        out.append(rf"\emph{{{heading}.}}" if steps else rf"\emph{{{heading}}}: in normal form as it stands.")
        for step in steps:
            out += [f"By {escaped(step.rule)}:", *_display(step)]
    out.append(f"{(SAME if proof.meets else ZERO).capitalize()}{':' if proof.meets else '.'}")
    out += [r"\begin{align*}", rf"& {broken(proof.normal)}", r"\end{align*}"] if proof.meets else []
    out += [f"Used: {escaped(law)}." for law in proof.laws]
    return "\n".join(out)


def _display(step: Step) -> Iterator[str]:
    yield r"\begin{align*}"
    yield rf"& {broken(step.left)} \\"
    yield rf"&\quad = {broken(step.right)}"
    yield r"\end{align*}"


def proof_json(proof: Proof) -> dict[str, Any]:
    """A proof as plain data, formulas in the language of model files."""

    def plain(steps: Sequence[Step]) -> list[dict[str, str]]:
        return [{"left": format_expression(s.left), "right": format_expression(s.right), "rule": s.rule} for s in steps]

    return {
        "part": proof.part.strip().rstrip(","),
        "left": plain(proof.left),
        "right": plain(proof.right),
        "normal": format_expression(proof.normal) if proof.meets else None,
        "laws": list(proof.laws),
    }


def checks_page(model: Model, verdicts: Iterable[Verdict]) -> str:
    """A page in Markdown: what a file says of itself, its model, and every check with its formula and how it ends."""
    text = model.source.text
    opening = text[: model.file.statements[0].span.start]
    remarks = " ".join(line.lstrip("# ").rstrip() for line in opening.splitlines() if line.startswith("#"))
    title, _, rest = remarks.partition(". ")
    first_check = min((check.span.start for check in model.checks), default=len(text))
    declared = text[len(opening) : first_check].rstrip()
    out = [f"# {title.rstrip('.') or model.name}", "", *([rest, ""] if rest else []), "```", declared, "```", ""]
    for check, verdict in zip(model.checks, verdicts, strict=True):
        out += [f"## {check.title.value}", "", "$$", _equation(check), "$$", ""]
        told = _remark(text[: check.span.start])
        out += [*([told, ""] if told else []), f"{_assumptions(text, check)}{_ending(verdict)}", ""]
    return "\n".join(out).rstrip() + "\n"


def _remark(before: str) -> str:
    """The comment right above a check."""
    lines: list[str] = []
    for line in reversed(before.rstrip(" ").removesuffix("\n").splitlines()):
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").rstrip())
    return " ".join(reversed(lines))


def _equation(check: CheckDeclaration) -> str:
    body = broken(check.right)
    if "\\\\" not in body:
        return f"{latex(check.left)} = {body}"
    return "\n".join([r"\begin{aligned}", rf"{latex(check.left)} &= {body}", r"\end{aligned}"])


def _assumptions(text: str, check: CheckDeclaration) -> str:
    """Where the check holds: a stage of greedy pretraining, what is assumed."""
    out = f"In the stage of greedy pretraining of `{check.greedy.name}`. " if check.greedy is not None else ""
    where = [" ".join(text[o.span.start : o.span.end].split()) for o in check.where]
    return out + (f"Where `{', '.join(where)}`. " if where else "")


def _ending(verdict: Verdict) -> str:
    """How a check ends, in a sentence or two."""
    if verdict.status == "proved":
        return "Proved for all sizes."
    if verdict.status == "agrees":
        return f"{verdict.outcome.capitalize()}: {verdict.detail}."
    told = [f"{verdict.mend[0].upper()}{verdict.mend[1:]}."] if verdict.mend else []
    told += [f"{d[0].upper()}{d[1:]}." for d in verdict.differences] if not verdict.mend else []
    return f"Refuted: {verdict.detail}. {' '.join(told)}".rstrip()
