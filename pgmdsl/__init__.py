"""pgmdsl: a small text language for energy-based layered models.

    model = pgmdsl.compile("examples/dbm.ebm", F1=200, F2=300)
    run = pgmdsl.train(model, {"v": v})

Names are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgmdsl import version as _version

if TYPE_CHECKING:
    from pgmdsl.api import Model as Model
    from pgmdsl.api import compile as compile
    from pgmdsl.api import compile_text as compile_text
    from pgmdsl.api import load as load
    from pgmdsl.api import log_partition as log_partition
    from pgmdsl.api import resume as resume
    from pgmdsl.api import train as train
    from pgmdsl.grammar.diagnostics import Error as Error
    from pgmdsl.grammar.diagnostics import ModelError as ModelError
    from pgmdsl.run import Run as Run

__version__ = _version.VERSION

_API = ("Model", "compile", "compile_text", "load", "log_partition", "resume", "train")
_ERRORS = ("Error", "ModelError")
__all__ = ["Error", "Model", "ModelError", "Run", "__version__", *_API[1:]]


def __getattr__(name: str) -> Any:
    """The public names, imported when first asked for."""
    if name in _API:
        from pgmdsl import api

        return getattr(api, name)
    if name in _ERRORS:
        from pgmdsl.grammar import diagnostics

        return getattr(diagnostics, name)
    if name == "Run":
        from pgmdsl.run import Run

        return Run
    raise AttributeError(f"module 'pgmdsl' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
