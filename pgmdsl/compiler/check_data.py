"""Data blocks: where the values of visible layers, and the cases' weights, come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pgmdsl.compiler.check_names import MistakeError, Scope
from pgmdsl.compiler.model import DataSpec, Layer
from pgmdsl.compiler.units import UNITS
from pgmdsl.compiler.values import evaluate
from pgmdsl.grammar.diagnostics import Error, suggest
from pgmdsl.grammar.syntax import Call, DataBlock, Expression, Name, Option, Text

ENTRIES = {
    "file": 'a quoted file name, "x.npy" or "x.npz:key", relative to the model file',
    "scale": "a number that every value is multiplied by, such as 1/255",
    "bits": "resample (drawn anew at every use), sample (once, by seed), threshold(0.5), or mean (kept as they are)",
    "valid": "rows watched during training and never trained on: a fraction of the rows, or a file",
    "test": "rows for the figures at the end only: a fraction of the rows, or a file",
}
WEIGHTS = "weights"

Bits = Literal["resample", "sample", "threshold", "mean"]


def check_data(
    blocks: Sequence[DataBlock], names: Sequence[str], layers: Mapping[str, Layer], scope: Scope
) -> tuple[DataSpec, ...]:
    """The data blocks that are in order, in file order. `names` are all declared layers."""
    found: dict[str, DataSpec] = {}
    for block in blocks:
        with scope.recorded():
            layer = _layer_of(block, names, layers)
            entries = _entries_of(block)
            if block.layer.name in found:
                message = f"{block.layer.name} has a data block already"
                raise MistakeError("E083", block.layer.span, message, "one block says everything about a layer")
            spec = _spec_of(block, layer, entries)
            if block.layer.name == WEIGHTS or layer is not None:
                found[block.layer.name] = spec
                _verify_same_share(block, found)
    return tuple(found.values())


def _layer_of(block: DataBlock, names: Sequence[str], layers: Mapping[str, Layer]) -> Layer | None:
    """The block's layer; None for case weights and for a layer whose declaration is wrong."""
    name = block.layer.name
    if name == WEIGHTS:
        return None
    visible = [layer.name for layer in layers.values() if layer.role == "visible"]
    if name not in names:
        raise MistakeError.unknown(name, block.layer.span, "layer", [*visible, WEIGHTS])
    layer = layers.get(name)
    if layer is not None and layer.role != "visible":
        help = f"data is for visible layers: {', '.join(visible)}" if visible else "data is for visible layers"
        raise MistakeError("E080", block.layer.span, f"{name} is a {layer.role} layer, which takes no data", help)
    return layer


def _entries_of(block: DataBlock) -> dict[str, Option]:
    known = ["file"] if block.layer.name == WEIGHTS else list(ENTRIES)
    found: dict[str, Option] = {}
    for entry in block.entries:
        key = entry.key
        if key.name not in known:
            help = suggest(key.name, known) or f"the entries are {', '.join(known)}"
            raise MistakeError("E081", key.span, f"{key.name} is not an entry of data {block.layer.name}", help)
        if key.name in found:
            raise MistakeError("E056", key.span, f"{key.name} is given twice", "keep one of them")
        found[key.name] = entry
    return found


def _spec_of(block: DataBlock, layer: Layer | None, entries: Mapping[str, Option]) -> DataSpec:
    bits, threshold = _bits_of(entries["bits"].value, layer) if "bits" in entries else (None, 0.5)
    valid = _share_of(entries["valid"].value) if "valid" in entries else None
    test = _share_of(entries["test"].value) if "test" in entries else None
    shares = [share for share in (valid, test) if isinstance(share, float)]
    if sum(shares) >= 1:
        place = entries["test"].value.span
        raise MistakeError("E082", place, "valid and test together leave no rows to train on", "make them smaller")
    return DataSpec(
        layer=block.layer.name,
        file=_file_of(entries["file"].value) if "file" in entries else None,
        scale=_scale_of(entries["scale"].value) if "scale" in entries else 1.0,
        bits=bits,
        threshold=threshold,
        valid=valid,
        test=test,
    )


def _file_of(node: Expression) -> str:
    if not isinstance(node, Text):
        raise MistakeError("E082", node.span, "a file name stands in quotes", 'for example file = "digits.npz:images"')
    if not node.value.strip() or "\0" in node.value:
        raise MistakeError("E082", node.span, "this file name is empty or has a null character", 'for example "x.npy"')
    return node.value


def _scale_of(node: Expression) -> float:
    value = _number_of(node)
    if value == 0:
        raise MistakeError("E082", node.span, "a scale of 0 leaves nothing of the data", "for example scale = 1/255")
    return value


def _number_of(node: Expression) -> float:
    try:
        return evaluate(node, {})
    except Error as problem:
        raise MistakeError(
            "E082", node.span, f"this is not a number: {problem}", "write a number, such as 1/255"
        ) from None


def _bits_of(node: Expression, layer: Layer | None) -> tuple[Bits, float]:
    if layer is not None and layer.unit != UNITS["binary"]:
        message = f"{layer.name} is a {layer.unit.name} layer, and bits are for binary ones"
        raise MistakeError("E082", node.span, message, "leave bits out")
    match node:
        case Name("resample" | "sample" | "mean" as name):
            return name, 0.5
        case Call("threshold", (level,), None, None, (), None):
            return "threshold", _number_of(level)
        case _:
            help = "write resample, sample, threshold(0.5) or mean"
            raise MistakeError("E082", node.span, "this is no way to make bits", help)


def _share_of(node: Expression) -> float | str:
    """A fraction of the rows, or a file."""
    if isinstance(node, Text):
        return _file_of(node)
    value = _number_of(node)
    if not 0 < value < 1:
        raise MistakeError("E082", node.span, f"{value:g} is not a fraction of the rows", "for example 0.1, or a file")
    return value


def _verify_same_share(block: DataBlock, found: Mapping[str, DataSpec]) -> None:
    """Raise `MistakeError` where this block holds out other rows than another one: rows belong together."""
    this = found[block.layer.name]
    for other in found.values():
        for key, mine, theirs in (("valid", this.valid, other.valid), ("test", this.test, other.test)):
            if mine is None or theirs is None or (isinstance(mine, str) and isinstance(theirs, str)) or mine == theirs:
                continue
            place = next(entry.value.span for entry in block.entries if entry.key.name == key)
            message = f"data {other.layer} and data {this.layer} hold out different rows: {key} is {theirs} and {mine}"
            raise MistakeError("E084", place, message, "rows of several layers belong together: state one share")
