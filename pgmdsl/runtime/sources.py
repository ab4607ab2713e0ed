"""Where a layer's values come from: arrays and files as users name them, read and checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pgmdsl.compiler.artifact import ArtifactLayer
from pgmdsl.compiler.model import DataSpec
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.columns import Column, check_column
from pgmdsl.runtime.readers import read_array, read_values, split_file

Array = NDArray[Any]
Given = Any  # an array of states (masked or sparse too), a path (with :key), a DataSpec, or Observed


@dataclass(frozen=True)
class Observed:
    """Values with what goes with them.

    Attributes:
        values: an array of states, or a path.
        mask: 0 where a value is missing; an array or a path. NaN is missing too.
        length: of documents of which some counts are missing: a number, or an array or a file with one a case.
    """

    values: Any
    mask: Any = None
    length: Any = None


def column_of(layer: ArtifactLayer, given: Given | None, spec: DataSpec | None, base: Path) -> Column:
    """The values of a layer, missing ones allowed.

    Args:
        layer: the layer.
        given: in place of the block's file. To an array, of states or of levels, the block's `bits` apply; to a path
            its `scale` too. The block's mask, and a file of lengths, belong to the block's own file.
        spec: the layer's data block, if there is one.
        base: the folder of the model file.

    Raises:
        Error: nothing says where the values are, or they cannot be read or do not fit.
    """
    if isinstance(given, DataSpec):
        spec, given = given, None
    spec = spec or DataSpec(layer.name, None)
    if given is None:
        given = Observed(spec.file, spec.mask, spec.length)
    elif not isinstance(given, Observed):
        number = None if isinstance(spec.length, str) else spec.length
        given = Observed(Path(absolute(given)) if isinstance(given, str | Path) else given, None, number)
    if given.values is None:
        raise Error(
            f'there is no data for the {layer.role} layer {layer.name}: write data {layer.name} {{ file = "..." }} in '
            f"the model file, or give it with --data {layer.name}=PATH"
        )
    what = f"data for layer {layer.name}"
    values, scale, place = given.values, 1.0, f"the array given for layer {layer.name}"
    if isinstance(values, str | Path):
        values, scale, place = read_values(str(values), base, what), spec.scale, f"{values} ({what})"
    return check_column(
        layer,
        values,
        place,
        scale=scale,
        bits=spec.bits,
        threshold=spec.threshold,
        mask=_read(given.mask, base, f"mask of layer {layer.name}"),
        length=_read(given.length, base, f"lengths of the documents of {layer.name}"),
        missing=True,
    )


def without_rows(spec: DataSpec | None) -> DataSpec | None:
    """A data block less what belongs to the rows of its file."""
    return (
        None if spec is None else replace(spec, mask=None, length=None if isinstance(spec.length, str) else spec.length)
    )


def peek_shape(spec: DataSpec, base: Path) -> tuple[int, ...]:
    """The shape of one case of a layer's data, by which a size without a default is found.

    Raises:
        Error: the file is missing or unreadable.
    """
    if spec.file is None:
        raise Error(f"no file is named for the data of {spec.layer}; write data {spec.layer} {{ file = ... }}")
    return tuple(int(n) for n in read_values(spec.file, base, f"data for layer {spec.layer}").shape[1:])


def absolute(path: str | Path) -> str:
    """A path, with its :key if it has one, that no longer depends on the folder."""
    name, key = split_file(str(path))
    return str(Path(name).expanduser().absolute()) + (f":{key}" if key else "")


def _read(given: Any, base: Path, what: str) -> Any:
    return read_array(str(given), base, what) if isinstance(given, str | Path) else given
