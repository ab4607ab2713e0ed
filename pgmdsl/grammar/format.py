"""The canonical layout of model files and of formulas."""

from __future__ import annotations

from pgmdsl.grammar.formula import format_expression

__all__ = ["format_expression"]
