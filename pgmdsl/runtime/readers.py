"""Arrays read from files: .npy (memory-mapped), .npz:key, SciPy's sparse .npz, idx and idx.gz, .csv.

Nothing in a file is ever executed, and no memory is taken that the file's own size does not warrant.
"""

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
from pgmdsl.runtime.sparse import SparseRows, sparse_rows

Array = NDArray[Any]

_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_FORMATS = ".npy, .npz:key, idx, idx.gz and .csv"
_MOST = 1 << 40  # bytes of one array
_DEFLATED = 1040  # bytes at most that a byte of a compressed file unpacks to
_SPARSE = {"data", "indices", "indptr", "shape", "format"}  # what scipy.sparse.save_npz writes
_SUFFIXES = (".npy", ".npz", ".gz")


def split_file(text: str) -> tuple[str, str | None]:
    """A `data` block's file as path and key: `digits.npz:images` is ("digits.npz", "images")."""
    head, colon, key = text.rpartition(":")
    return (head, key) if colon and head.lower().endswith(".npz") else (text, None)


def read_array(file: str, base: Path, what: str) -> Array:
    """The array in a file, in the type in which it is stored; arguments and errors as for `read_values`.

    Raises:
        Error: also for a sparse matrix.
    """
    values = read_values(file, base, what)
    if isinstance(values, SparseRows):
        raise Error(f"{file} ({what}): this is a sparse matrix, which only data may be; save it as an array")
    return values


def read_values(file: str, base: Path, what: str) -> Array | SparseRows:
    """The array in a file, in the type in which it is stored; a matrix in compressed sparse rows stays one.

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


def _read_npz(path: Path, key: str | None, place: str) -> Array | SparseRows:
    with np.load(path, allow_pickle=False) as archive:
        keys = list(archive.files)
        if key is None and set(keys) >= _SPARSE:
            return _read_sparse(archive, path, place)
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
        return _member(archive, key, path, place)


def _read_sparse(archive: Any, path: Path, place: str) -> SparseRows:
    """What scipy.sparse.save_npz wrote."""
    parts = {key: _member(archive, key, path, place) for key in sorted(_SPARSE)}
    kind = parts["format"].astype("S8").tobytes().rstrip(b"\0").decode("ascii", "replace")
    if kind != "csr":
        raise Error(
            f"{place}: this sparse matrix is in the format {kind}, and rows are read one by one: save it as "
            "compressed sparse rows, scipy.sparse.save_npz(name, matrix.tocsr())"
        )
    return sparse_rows(parts["data"], parts["indices"], parts["indptr"], parts["shape"], place)


def _member(archive: Any, key: str, path: Path, place: str) -> Array:
    """One array of an .npz, after its header has promised no more than the file can hold."""
    try:
        name = key if key in archive.zip.namelist() else f"{key}.npy"
        with archive.zip.open(name) as stream:
            version = np.lib.format.read_magic(stream)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = header(stream)
        size = math.prod(shape) * dtype.itemsize
        if size > min(_MOST, _DEFLATED * path.stat().st_size) and not dtype.hasobject:
            raise Error(
                f"{place}: the header of {key} asks for {size / 1e9:.3g} GB, more than the file can hold; it is "
                "damaged: fetch or write it again"
            )
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
    if expected > _MOST:
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
    """Numbers separated by commas; a first line that is not numbers is a header, and an empty cell a missing value."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            first = next(csv.reader(stream), [])
            header = any(_number(cell) is None and cell.strip() for cell in first)
            if (header or not first) and not any(line.strip() for line in stream):
                raise Error(f"{place}: there are no rows of numbers in it; name data with at least one case")
        values = _loaded(path, header, place)
    except UnicodeDecodeError:
        raise Error(f"{place}: this is not text in UTF-8; save the table as CSV in UTF-8") from None
    small = values.astype(np.uint8) if values.size and values.min() >= 0 and values.max() <= 255 else None
    return small if small is not None and np.array_equal(small, values) else values


def _loaded(path: Path, header: bool, place: str) -> Array:
    """The numbers of a table: by NumPy's fast reader, or cell by cell where some are empty."""
    try:
        return np.loadtxt(path, delimiter=",", skiprows=int(header), ndmin=2, comments=None, encoding="utf-8-sig")
    except ValueError as problem:
        bad = _first_bad_cell(path, header)
        if bad is not None:
            raise Error(f"{place}: {bad}") from None
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = [[_number(cell) for cell in row] for row in islice(csv.reader(stream), int(header), None) if row]
        if not any(cell is None for row in rows for cell in row):
            raise Error(f"{place}: {problem}") from None
        return np.array(rows, np.float64)  # None becomes NaN


def _first_bad_cell(path: Path, header: bool) -> str | None:
    """What is wrong with the first line that is not a row of numbers and empty cells, by line and column."""
    width = None
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream)
        for row in islice(reader, int(header), None):
            width = len(row) if width is None else width
            if row and len(row) != width:
                return f"line {reader.line_num} has {len(row)} values, the lines above {width}; complete the table"
            for column, cell in enumerate(row, 1):
                if _number(cell) is None and cell.strip():
                    return (
                        f"line {reader.line_num}, column {column} is {cell!r}, not a number; mend that line, or leave "
                        "the cell empty if the value is missing"
                    )
    return None


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
