"""What each diagnostic's code means, with an example and its mend."""

from __future__ import annotations

from pathlib import Path

from pgmdsl.grammar.diagnostics import Error, suggest

_FOLDER = Path(__file__).parent / "explanations"


def codes() -> list[str]:
    """Every code that has an explanation, in order."""
    return sorted(path.stem for path in _FOLDER.glob("*.md"))


def explain(code: str) -> str:
    """The explanation of a code such as `E013`, as Markdown. Raises `Error` for a code that there is not."""
    known = codes()
    wanted = code.strip().upper()
    if wanted not in known:
        near = suggest(wanted, known)
        raise Error(f"there is no diagnostic {code}; {near or f'codes run from {known[0]} to {known[-1]}'}")
    return (_FOLDER / f"{wanted}.md").read_text(encoding="utf-8")
