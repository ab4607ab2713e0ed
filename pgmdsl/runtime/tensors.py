"""Files written whole or not at all, and arrays in safetensors files."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error

Array = NDArray[Any]
_DTYPES = {"float32": "F32", "float64": "F64"}


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file through a temporary one in its folder: afterwards it is the old one or the new one, whole.

    Raises:
        Error: the disk is full or the folder cannot be written to; the old file is as it was.
    """
    write_all(path.parent, {path.name: content})


def write_all(folder: Path, files: Mapping[str, bytes], *, resumable: bool = False) -> None:
    """Write several files of a folder, all to temporary names first, then renamed in this order.

    Args:
        folder: where.
        files: contents by name.
        resumable: see `disk_error`.

    Raises:
        Error: as `write_atomic`; then no file has changed, unless the machine fails between two renames.
    """
    temporary = {name: folder / f".{name}.{os.getpid()}.tmp" for name in files}
    try:
        for name, content in files.items():
            with temporary[name].open("wb") as stream:
                _write(stream, content)
        for name in files:
            temporary[name].replace(folder / name)
        _sync_folder(folder)
    except OSError as problem:
        for path in temporary.values():
            path.unlink(missing_ok=True)
        size = sum(map(len, files.values()))
        raise disk_error(folder, problem, size, resumable=resumable) from None


def disk_error(folder: Path, problem: OSError, size: int = 0, *, resumable: bool = False) -> Error:
    """What a failed write means, as one paragraph.

    Args:
        folder: where it was.
        problem: what the system said.
        size: how many bytes were to be written; 0 where it was none of a file.
        resumable: whether the folder is a run with a checkpoint to go on from.
    """
    then = f" and go on with `pgmc resume {folder}`" if resumable else ", or choose another place with --output"
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        lost = f": {_in_words(size)} could not be written" if size else ""
        return Error(f"{folder}: the disk is full{lost}. What was there before is intact; make room{then}")
    if problem.errno == errno.ENOENT:
        return Error(f"{folder}: there is no such folder to write to; make it, or choose another place with --output")
    if problem.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Error(f"{folder}: nothing may be written here ({problem.strerror}); allow it{then}")
    return Error(f"{folder}: writing failed ({problem.strerror or problem}); what was there before is intact")


def _in_words(size: int) -> str:
    """A number of bytes."""
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB"


def _write(stream: BinaryIO, content: bytes) -> None:
    stream.write(content)
    stream.flush()
    os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def pack_tensors(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    """Arrays (float32 or float64) and metadata in the safetensors format: the same bytes for the same content.

    The library's own writer puts metadata in an order that differs from call to call, and equal runs should have equal
    files. The format: the header's length as a little-endian uint64, the header (JSON, padded to 8 bytes), the data.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    chunks, start = [], 0
    for name, array in sorted(arrays.items()):
        content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        place = [start, start + len(content)]
        header[name] = {"dtype": _DTYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": place}
        chunks.append(content)
        start += len(content)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *chunks])


def read_tensors(path: Path, what: str) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays and metadata of a safetensors file.

    Raises:
        Error: the file is missing, cut short, or no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as stream:
            return {name: stream.get_tensor(name) for name in stream.keys()}, dict(stream.metadata() or {})  # noqa: SIM118
    except FileNotFoundError:
        raise Error(f"{path}: there is no such file of {what}; name a run directory or a .safetensors file") from None
    except (SafetensorError, OSError) as problem:
        raise Error(
            f"{path}: this is no whole file of {what}: it is cut short, damaged, or of another format ({problem}); "
            "copy it again, or start from an intact run"
        ) from None
