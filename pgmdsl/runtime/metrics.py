"""metrics.jsonl: one JSON object a line for each watched epoch, only ever added to.

A checkpoint knows how long the file was, so that what a crash has left after it is cut off when the run goes on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.tensors import disk_error

Metrics = dict[str, Any]
_FILE = "metrics.jsonl"
_MEND = "put the whole file back, or remove it to go on without the figures so far: training itself does not need them"


def append_metrics(directory: Path, metrics: Metrics, length: int) -> int:
    """Add a line after the first `length` bytes of metrics.jsonl; returns its length. Raises `Error` on a full disk."""
    content = (json.dumps(metrics) + "\n").encode()
    try:
        with (directory / _FILE).open("ab") as stream:
            stream.truncate(min(length, stream.tell()))
            stream.write(content)
            return stream.tell()
    except OSError as problem:
        raise disk_error(directory, problem, len(content), resumable=True) from None


def read_metrics(directory: Path) -> list[Metrics]:
    """All whole lines of a run's metrics.jsonl; none where there is no file.

    Raises:
        Error: a line is damaged.
    """
    content = _content(directory)
    return _parsed(directory, content[: content.rfind(b"\n") + 1])


def restore_metrics(directory: Path, length: int) -> list[Metrics]:
    """Cut metrics.jsonl back to what it was at the checkpoint, and read it. A file that is gone begins anew.

    Raises:
        Error: it is damaged or cut short; the file is left as it is.
    """
    content = _content(directory)
    if content and len(content) < length:
        raise Error(
            f"{directory / _FILE}: this is cut short: the checkpoint was saved after {length} bytes of it, and "
            f"{len(content)} are left; {_MEND}"
        )
    metrics = _parsed(directory, content[:length])
    if len(content) > length:
        try:
            with (directory / _FILE).open("r+b") as stream:
                stream.truncate(length)
        except OSError as problem:
            raise disk_error(directory, problem, resumable=True) from None
    return metrics


def _content(directory: Path) -> bytes:
    try:
        return (directory / _FILE).read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as problem:
        raise Error(f"{directory / _FILE}: this cannot be read ({problem.strerror}); mend its permissions") from None


def _parsed(directory: Path, content: bytes) -> list[Metrics]:
    out = []
    for number, line in enumerate(content.splitlines(keepends=True), 1):
        try:
            metrics = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            metrics = None
        if not isinstance(metrics, dict) or not {"phase", "epoch", "step"} <= metrics.keys():
            raise Error(f"{directory / _FILE}: line {number} is damaged or cut short; {_MEND}")
        out.append(metrics)
    return out
