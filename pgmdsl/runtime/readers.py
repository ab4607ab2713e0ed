"""Arrays read from files: .npy (memory-mapped), .npz:key, idx and idx.gz, .csv. Nothing in a file is ever executed."""

from __future__ import annotations

import csv
import gzip
import math
import struct
import zipfile
import zlib
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error, suggest

Array = NDArray[Any]

_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_FORMATS = ".npy, .npz:key, idx, idx.gz and .csv"
_SUFFIXES = (".npy", ".npz", ".gz")


def split_file(text: str) -> tuple[str, str | None]:
    """A `data` block's file as path and key: `digits.npz:images` is ("digits.npz", "images")."""
    head, colon, key = text.rpartition(":")
    return (head, key) if colon and head.lower().endswith(".npz") else (text, None)


def read_array(file: str, base: Path, what: str) -> Array:
    """The array in a file, in the type in which it is stored.

    Args:
        file: the path, with `:key` for an .npz; relative to `base`.
        base: the folder of the model file.
        what: whose values these are, for messages: `data for layer v`.

    Raises:
        Error: the file is missing, cut short, pickled, or in no known format; a key that the .npz lacks.
    """
    name, key = split_file(file)
    path = base / Path(name).expanduser()
    place = f"{path} ({what})"
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
        if magic.startswith(b"\x93NUM"):
            return _read_npy(path, place)
        if magic.startswith(b"PK"):
            return _read_npz(path, key, place)
        if magic.startswith(b"\x1f\x8b"):
            with gzip.open(path, "rb") as packed:
                return _read_idx(packed, place)
        if len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in _IDX_TYPES:
            with path.open("rb") as stream:
                return _read_idx(stream, place)
        if path.suffix.lower() == ".csv":
            return _read_csv(path, place)
    except FileNotFoundError:
        raise Error(f"{place}: there is no such file; {_near(path)}check its path, or name another file") from None
    except IsADirectoryError:
        raise Error(f"{place}: this is a folder; name a file in it") from None
    except PermissionError:
        raise Error(f"{place}: this file may not be read; change its permissions") from None
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, struct.error) as problem:
        raise Error(f"{place}: the file is damaged or cut short ({problem}); fetch or write it again") from None
    if not magic:
        raise Error(f"{place}: the file is empty; fetch or write it again")
    named = f", whatever its name says; a {path.suffix} file begins otherwise" if path.suffix in _SUFFIXES else ""
    raise Error(
        f"{place}: this is none of the formats that can be read, {_FORMATS}{named}; convert it, for example with "
        "numpy.save"
    )


def _near(path: Path) -> str:
    siblings = [p.name for p in islice(path.parent.iterdir(), 10_000)] if path.parent.is_dir() else []
    hint = suggest(path.name, siblings)
    return f"{hint} Or " if hint else ""


def _read_npy(path: Path, place: str) -> Array:
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as problem:
        raise _numpy_error(problem, place) from None
    return array


def _read_npz(path: Path, key: str | None, place: str) -> Array:
    with np.load(path, allow_pickle=False) as archive:
        keys = list(archive.files)
        if key is None and len(keys) == 1:
            key = keys[0]
        if key is None:
            raise Error(
                f"{place}: the file holds several arrays: {_listed(keys)}; name one, as in "
                f"{path.name}:{(keys or ['key'])[0]}"
            )
        if key not in keys:
            hint = suggest(key, keys)
            raise Error(
                f"{place}: there is no array {key!r} in it, but {_listed(keys)}" + (f"; {hint}" if hint else "")
            )
        try:
            array: Array = archive[key]
        except ValueError as problem:
            raise _numpy_error(problem, place) from None
    return array


def _numpy_error(problem: ValueError, place: str) -> Error:
    if any(sign in str(problem) for sign in ("allow_pickle", "Object arrays", "Python objects")):
        return Error(
            f"{place}: this array holds Python objects (a pickle), which can run code when read and is refused; "
            "save it as numbers, for example numpy.save(name, array.astype('float32'))"
        )
    return Error(f"{place}: the file is damaged or cut short ({problem}); fetch or write it again")


def _listed(keys: list[str]) -> str:
    shown = ", ".join(keys[:12]) + (", ..." if len(keys) > 12 else "")
    return shown or "no arrays at all"


def _read_idx(stream: BinaryIO | gzip.GzipFile, place: str) -> Array:
    """LeCun's format: two zero bytes, type, number of axes, the axes as big-endian uint32, then the values."""
    zero, kind, axes = struct.unpack(">HBB", stream.read(4))
    if zero != 0 or kind not in _IDX_TYPES or axes == 0:
        raise Error(
            f"{place}: inside the .gz is no idx file; only idx files are read compressed: unpack this one first"
        )
    shape = struct.unpack(f">{axes}I", stream.read(4 * axes))
    stored = np.dtype(_IDX_TYPES[kind])
    expected = math.prod(shape) * stored.itemsize
    if expected > 1 << 40:
        raise Error(f"{place}: the header asks for {expected / 1e9:.0f} GB; the file is damaged: fetch it again")
    chunks, left = [], expected
    while left and (chunk := stream.read(min(left, 1 << 24))):
        chunks.append(chunk)
        left -= len(chunk)
    if left:
        raise Error(
            f"{place}: the file is cut short: its header promises {expected} bytes of values and it holds "
            f"{expected - left}; fetch it again"
        )
    array = np.frombuffer(b"".join(chunks), stored).reshape(shape)
    return array.astype(stored.newbyteorder("="), copy=False)


def _read_csv(path: Path, place: str) -> Array:
    """Numbers separated by commas; a first line that is not numbers is a header."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            first = next(csv.reader(stream), [])
            header = any(_number(cell) is None and cell.strip() for cell in first)
            if (header or not first) and not any(line.strip() for line in stream):
                raise Error(f"{place}: there are no rows of numbers in it; name data with at least one case")
        values = np.loadtxt(path, delimiter=",", skiprows=int(header), ndmin=2, comments=None, encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise Error(f"{place}: this is not text in UTF-8; save the table as CSV in UTF-8") from None
    except ValueError as problem:
        raise Error(f"{place}: {_first_bad_cell(path, header) or problem}") from None
    small = values.astype(np.uint8) if values.size and values.min() >= 0 and values.max() <= 255 else None
    return small if small is not None and np.array_equal(small, values) else values


def _first_bad_cell(path: Path, header: bool) -> str | None:
    """What is wrong with the first line that is not a row of numbers, by line and column."""
    width = None
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream)
        for row in islice(reader, int(header), None):
            width = len(row) if width is None else width
            if row and len(row) != width:
                return f"line {reader.line_num} has {len(row)} values, the lines above {width}; complete the table"
            for column, cell in enumerate(row, 1):
                if _number(cell) is None:
                    seen = repr(cell) if cell.strip() else "an empty cell (missing values are not built yet)"
                    return (
                        f"line {reader.line_num}, column {column} is {seen}, not a number; mend or leave out that line"
                    )
    return None


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
