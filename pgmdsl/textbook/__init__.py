"""The textbook: the formulas of layered energy-based models as checks, one model file for each system.

A chapter holds formulas that are proved for all sizes; its variants hold formulas that look like them and are refuted.
The title of each check says where the formula stands: see README.md beside this file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).parent
_TITLE = re.compile(r"(?P<source>[^(:]+?)(?: \((?P<equation>[^()]+)\))?(?:, transcribed)?: (?P<words>.+)")


class Reference(NamedTuple):
    """Where a formula stands: the source, its equation or place there (may be empty), and what the formula says."""

    source: str
    equation: str
    words: str


def files() -> list[Path]:
    """The chapters, in order: model files of which every check is proved."""
    return sorted(_FOLDER.glob("*.ebm"))


def variants() -> list[Path]:
    """The variants, a file a chapter, of its name: in each, a formula is followed by variants marked `refuted`."""
    return sorted((_FOLDER / "variants").glob("*.ebm"))


def reference(title: str) -> Reference:
    """What the title of a check says: `SOURCE (EQUATION): WORDS` or `SOURCE: WORDS`.

    A variant's `, transcribed` before the colon is left out. Raises `ValueError` for a title of another form.
    """
    match = _TITLE.fullmatch(title)
    if match is None:
        raise ValueError(f"a title reads SOURCE (EQUATION): WORDS, or SOURCE: WORDS; this one does not: {title}")
    return Reference(match["source"], match["equation"] or "", match["words"])
