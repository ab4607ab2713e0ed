"""Data blocks: where the values of visible and given layers, and the cases' weights, come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Literal

from pgmdsl.compiler.check_names import MistakeError, Scope
from pgmdsl.compiler.check_options import check_options, path_of
from pgmdsl.compiler.model import DataSpec, Layer
from pgmdsl.compiler.units import Counts, Finite
from pgmdsl.compiler.values import evaluate
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.syntax import Call, DataBlock, Expression, Name, Text

ENTRIES = {
    "file": 'a quoted file name, "x.npy" or "x.npz:key", relative to the model file',
    "scale": "a number that every value is multiplied by, such as 1/255",
    "mask": "a file of the data's shape, 0 where a value is missing; NaN is missing too",
    "length": "of documents of which counts are missing: a number, or a file with one a case",
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
            name = block.layer.name
            layer = _layer_of(block, names, layers)
            if name in found:
                help = "one block says everything about a layer"
                raise MistakeError("E083", block.layer.span, f"{name} has a data block already", help)
            found[name] = _spec_of(block, layer, scope)
            _verify_shares(block, found)
    return tuple(found.values())


def _layer_of(block: DataBlock, names: Sequence[str], layers: Mapping[str, Layer]) -> Layer | None:
    """The block's layer; None for case weights and for a layer whose declaration is wrong."""
    name = block.layer.name
    if name == WEIGHTS:
        return None
    observed = [layer.name for layer in layers.values() if layer.role != "hidden"]
    if name not in names:
        raise MistakeError.unknown(name, block.layer.span, "is not a layer", [*observed, WEIGHTS])
    layer = layers.get(name)
    if layer is not None and layer.role == "hidden":
        help = "data is for visible and given layers" + (f": {', '.join(observed)}" if observed else "")
        raise MistakeError("E080", block.layer.span, f"{name} is a {layer.role} layer, which takes no data", help)
    return layer


def _spec_of(block: DataBlock, layer: Layer | None, scope: Scope) -> DataSpec:
    """The block's entries; every mistake in them is reported."""
    known = ["file"] if block.layer.name == WEIGHTS else list(ENTRIES)
    spec = DataSpec(block.layer.name, None)
    for key, entry in check_options(block.entries, known, f"data {block.layer.name} block", scope).items():
        with scope.recorded():
            spec = _with_entry(spec, key, entry.value, layer)
    return spec


def _with_entry(spec: DataSpec, key: str, value: Expression, layer: Layer | None) -> DataSpec:
    match key:
        case "file":
            return replace(spec, file=_file_of(value))
        case "scale":
            return replace(spec, scale=_scale_of(value))
        case "bits":
            bits, threshold = _bits_of(value, layer)
            return replace(spec, bits=bits, threshold=threshold)
        case "mask":
            return replace(spec, mask=_mask_of(value, layer))
        case "length":
            return replace(spec, length=_length_of(value, layer))
        case "valid":
            return replace(spec, valid=_share_of(value))
        case _:
            return replace(spec, test=_share_of(value))


def _file_of(node: Expression) -> str:
    if not isinstance(node, Text):
        raise MistakeError("E082", node.span, "a file name stands in quotes", 'for example file = "digits.npz:images"')
    return path_of(node, "E082")


def _scale_of(node: Expression) -> float:
    value = _number_of(node)
    if value == 0:
        raise MistakeError("E082", node.span, "a scale of 0 leaves nothing of the data", "for example scale = 1/255")
    return value


def _number_of(node: Expression) -> float:
    try:
        return evaluate(node, {})
    except Error:
        raise MistakeError("E082", node.span, "this is not a number", "write a number, such as 1/255") from None


def _mask_of(node: Expression, layer: Layer | None) -> str:
    if layer is not None and layer.role == "given":
        message = f"{layer.name} is given: it has no distribution to draw missing values from"
        raise MistakeError("E082", node.span, message, f"give all values of {layer.name}, or make it visible")
    return _file_of(node)


def _length_of(node: Expression, layer: Layer | None) -> float | str:
    if layer is not None and (layer.role == "given" or not isinstance(layer.unit.support, Counts)):
        message = f"{layer.name} is a {layer.unit.name} layer, and documents of counts have a length"
        if layer.role == "given":
            message = f"{layer.name} is given with all its counts, whose sum is its length"
        raise MistakeError("E082", node.span, message, "leave length out")
    if isinstance(node, Text):
        return _file_of(node)
    value = _number_of(node)
    if value < 1 or value != int(value):
        raise MistakeError("E082", node.span, f"{value:g} is no number of words", "for example length = 100, or a file")
    return value


def _bits_of(node: Expression, layer: Layer | None) -> tuple[Bits, float]:
    if layer is not None and layer.unit.support != Finite((Fraction(0), Fraction(1))):
        message = f"{layer.name} is a {layer.unit.name} layer, and bits are of layers of 0 and 1"
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


def _verify_shares(block: DataBlock, found: Mapping[str, DataSpec]) -> None:
    """Raise `MistakeError` where this block leaves nothing to train on, or holds out other rows than another one."""
    this = found[block.layer.name]
    place = {entry.key.name: entry.value.span for entry in block.entries}
    shares = [share for share in (this.valid, this.test) if isinstance(share, float)]
    if sum(shares) >= 1:
        message = "valid and test together leave no rows to train on"
        raise MistakeError("E082", place["test"], message, "make them smaller")
    for other in found.values():
        for key, mine, theirs in (("valid", this.valid, other.valid), ("test", this.test, other.test)):
            both = mine is not None and theirs is not None
            if both and mine != theirs and not (isinstance(mine, str) and isinstance(theirs, str)):
                message = (
                    f"data {other.layer} and data {this.layer} hold out different rows as {key}: {theirs} and {mine}"
                )
                raise MistakeError(
                    "E084", place[key], message, "rows belong together by position: state the same twice"
                )
