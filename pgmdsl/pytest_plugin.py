"""Checks of model files as tests: `pytest rbm.ebm`, or every file of `ebm_files` in the pytest configuration.

A file with mistakes is an error of collection, with the diagnostics that `pgmc check` gives; each check is a test,
which passes where it ends as the file says.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pgmdsl.compiler.energy import Fields
    from pgmdsl.grammar.syntax import CheckDeclaration


def pytest_addoption(parser: pytest.Parser) -> None:
    """The setting `ebm_files`: patterns of model files, relative to the root folder."""
    parser.addini("ebm_files", "model files (patterns, e.g. models/*.ebm) whose checks are tests", type="args")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ModelFile | None:
    """A model file that is named on the command line, or matches `ebm_files`."""
    if file_path.suffix != ".ebm":
        return None
    root = parent.config.rootpath
    inside = file_path.is_relative_to(root)
    wanted = inside and any(file_path.relative_to(root).match(p) for p in parent.config.getini("ebm_files"))
    return ModelFile.from_parent(parent, path=file_path) if wanted or parent.session.isinitpath(file_path) else None


class ModelFile(pytest.File):
    """A model file: its checks are the tests."""

    @cached_property
    def fields(self) -> Fields:
        """What the checks are proved from."""
        from pgmdsl.compiler.derive import derive_model
        from pgmdsl.compiler.driver import checked_model
        from pgmdsl.compiler.energy import Fields
        from pgmdsl.compiler.symbols import Symbols
        from pgmdsl.grammar.read import read_source

        model, _ = checked_model(read_source(self.path), {})
        return Fields(Symbols.of(model), derive_model(model).contributions)

    def collect(self) -> Iterator[CheckItem]:
        """The checks in the order of the file. Raises CollectError for a file with mistakes."""
        from pgmdsl.grammar.diagnostics import Error

        try:
            checks = self.fields.symbols.model.checks
        except Error as problem:
            raise self.CollectError(str(problem)) from None
        for check in checks:
            yield CheckItem.from_parent(self, name=check.title.value, check=check)


class WrongEndError(Exception):
    """A check that does not end as its file says."""


class CheckItem(pytest.Item):
    """One check."""

    def __init__(self, *, check: CheckDeclaration, name: str, parent: ModelFile) -> None:
        """The check `check` of the file `parent`."""
        super().__init__(name, parent)
        self.check = check
        self.fields = parent.fields

    def runtest(self) -> None:
        """Decide the check. Raises WrongEndError where it does not end as the file says."""
        from pgmdsl.cli.verdicts import verdict_text
        from pgmdsl.compiler.prove import verify_check

        verdict = verify_check(self.fields, self.check)
        if not verdict.passed:
            raise WrongEndError(verdict_text(self.fields.symbols.model.source, verdict))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        """What `pgmc verify` says of it; for other exceptions what pytest says."""
        if isinstance(excinfo.value, WrongEndError):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[PathLike[str] | str, int, str]:
        """The place of the check."""
        line, _ = self.fields.symbols.model.source.line_column(self.check.span.start)
        return self.path, line - 1, self.name
