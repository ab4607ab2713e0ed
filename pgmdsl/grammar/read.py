"""Files to sources: UTF-8 text of a bearable size, or a message that says why not."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from pgmdsl.grammar.diagnostics import Diagnostic, ModelError
from pgmdsl.grammar.source import NOWHERE, Source

MAX_BYTES = 1_000_000


def read_source(path: Path) -> Source:
    """The text of a model file, named by its path.

    A byte-order mark is dropped, and CRLF ends a line as LF does. Raises `ModelError` for a file that cannot be read
    (E001), is not UTF-8 text (E002), is larger than 1 MB (E003), or says nothing (E004).
    """
    name = str(path)
    try:
        if path.is_dir():
            _refuse(name, "E001", f"{name} is a directory", "give the path of a model file, such as dbm.ebm")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
            size = len(data) if len(data) <= MAX_BYTES else path.stat().st_size
    except FileNotFoundError:
        _refuse(name, "E001", f"there is no file {name}", _nearby(path))
    except OSError as problem:
        _refuse(name, "E001", f"cannot read {name}: {problem.strerror or problem}", None)
    except ValueError:
        _refuse(repr(name), "E001", "a file's name has no NUL character", None)
    if size > MAX_BYTES:
        help = "a model file holds the model's description only; data stand in files of their own"
        _refuse(name, "E003", f"{name} has {size / 1e6:.1f} MB, and a model file at most 1 MB", help)
    return source_of_text(_decode(name, data), name)


def source_of_text(text: str, name: str = "<text>") -> Source:
    """The same from a string. Raises `ModelError` if it is too large (E003) or says nothing (E004)."""
    if len(text) > MAX_BYTES:
        _refuse(name, "E003", f"{name} has {len(text) / 1e6:.1f} MB, and a model file at most 1 MB", None)
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    lines = [line.strip() for line in text.split("\n")]
    help = "begin with model NAME(D = 784), then layers and edges; the README has an example"
    if not any(lines):
        _refuse(name, "E004", f"{name} is empty", help)
    if all(not line or line.startswith("#") for line in lines):
        _refuse(name, "E004", f"{name} has comments only", help)
    return Source(name, text)


def _decode(name: str, data: bytes) -> str:
    """UTF-8 text without NUL characters. Raises `ModelError` with the place of the first byte that is not."""
    help = "a model file is text in UTF-8; save it so"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as problem:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            _refuse(name, "E002", f"{name} is text in UTF-16", help)
        _refuse(name, "E002", f"{name} is not UTF-8 text: {_place(data, problem.start)}", help)
    if (at := data.find(b"\0")) >= 0:
        _refuse(name, "E002", f"{name} is a binary file: {_place(data, at)}", help)
    return text


def _place(data: bytes, at: int) -> str:
    """Where in a file a byte stands."""
    return f"byte {at} (line {data.count(10, 0, at) + 1}) is 0x{data[at]:02x}"


def _nearby(path: Path) -> str:
    """Help for a path that does not exist: the model files beside it."""
    try:
        found = sorted(p.name for p in path.parent.glob("*.ebm"))
    except OSError:
        found = []
    if path.suffix != ".ebm" and f"{path.name}.ebm" in found:
        return f"did you mean {path}.ebm?"
    if found:
        return f"the model files there are {', '.join(found[:8])}"
    return f"no model file (.ebm) is in {path.parent.absolute()}"


def _refuse(name: str, code: str, message: str, help: str | None) -> NoReturn:
    """Raise a `ModelError` about the file as a whole."""
    raise ModelError(Source(name, ""), (Diagnostic(code, message, NOWHERE, help),))
