"""Which entries of a weight there are, and which sites of a lateral layer may be drawn together."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Artifact, ArtifactLayer, ArtifactParameter
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.readers import read_array

Array = NDArray[Any]
Mask = NDArray[np.bool_]
Colours = NDArray[np.int32]
_ROUNDING = 1e-9  # of distances on grids
_UNEVEN = 1e-4  # by which mirrored entries of a symmetric weight may differ, relative to its largest


def prepared(artifact: Artifact, base: Path) -> tuple[dict[str, Mask], dict[str, Colours]]:
    """The masks of all weights that have one, and the colours of lateral layers' sites where they help.

    Args:
        artifact: the model.
        base: the folder of the model file.

    Returns:
        By weight, of its declared shape, True where there is an entry; by layer (sites,), sites of one colour sharing
        no lateral edge.

    Raises:
        Error: a mask that cannot be read or does not fit.
    """
    masks = {
        name: mask
        for name, parameter in artifact.parameters.items()
        if (mask := weight_mask(parameter, artifact, base)) is not None
    }
    found = {}
    for name, layer in artifact.layers.items():
        weights = {e.weight for e in artifact.edges if e.lateral and e.layers[0] == name}
        if weights and all(artifact.parameters[w].mask is not None for w in weights):
            sites = layer.size // layer.states
            joined = np.logical_or.reduce([masks[w].reshape(sites, layer.states, sites, -1) for w in weights])
            tried = colours(joined.any(axis=(1, 3)))
            if tried.max() + 1 < sites:
                found[name] = tried
    return masks, found


def weight_mask(parameter: ArtifactParameter, artifact: Artifact, base: Path) -> Mask | None:
    """Where a weight has entries, of its declared shape, or None where it has all.

    A symmetric weight has none on its diagonal, nor between the states of one one-hot site.

    Raises:
        Error: a mask file that cannot be read, of another shape, of other values than 0 and 1, not symmetric where the
            weight is; a mask that leaves nothing.
    """
    layers = [artifact.layers[name] for name in parameter.layers]
    mask: Mask | None = None
    if parameter.mask is not None:
        local = parameter.mask.kind == "local"
        mask = _local(parameter.mask.radius, layers) if local else _from_file(parameter, layers, base)
    if parameter.symmetric:
        between = ~same_site(layers[0])
        mask = between if mask is None else mask & between
    if mask is None:
        return None
    if not mask.any() and parameter.mask is not None:
        stated = f"local(radius = {parameter.mask.radius:g})" if parameter.mask.kind == "local" else parameter.mask.file
        raise Error(
            f"the mask of {parameter.name}, {stated}, leaves no entry: no units of "
            f"{' and '.join(parameter.layers)} are joined; widen it"
        )
    return mask.reshape(parameter.shape)


def same_site(layer: ArtifactLayer) -> Mask:
    """Which two entries of a layer belong to the same site, (size, size): the entries where a lateral weight is 0."""
    site = np.arange(layer.size) // layer.states
    return np.asarray(site[:, None] == site)


def mask_digests(artifact: Artifact, base: Path) -> dict[str, str]:
    """SHA-256 of the masks that come from files, by place: a resumed run knows them again by these."""
    out = {}
    for parameter in artifact.parameters.values():
        if parameter.mask is not None and parameter.mask.kind == "file":
            mask = weight_mask(parameter, artifact, base)
            assert mask is not None, "a mask was stated"
            out[f"{parameter.mask.file} (mask of {parameter.name})"] = hashlib.sha256(mask.tobytes()).hexdigest()
    return out


def verify_entries(
    parameter: ArtifactParameter, artifact: Artifact, values: Array, mask: Mask | None, place: str
) -> None:
    """Raise `Error` where a weight has an entry that its mask, its symmetry or its units do not let it have.

    Args:
        parameter: the weight, or another parameter, which passes.
        artifact: the model.
        values: of the declared shape.
        mask: see `weight_mask`.
        place: where the values are from.
    """
    if parameter.name in artifact.nonpositive and not parameter.fixed and (np.asarray(values) > 0).any():
        raise Error(
            f"{place}: {parameter.name} has entries above 0, the largest {np.max(values):g}, with which the model has "
            "no log Z, and which training would set to 0; give it no entry above 0"
        )
    if parameter.symmetric:
        size = artifact.layers[parameter.layers[0]].size
        flat = np.asarray(values, np.float64).reshape(size, size)
        apart = np.abs(flat - flat.T)
        if apart.max() > _UNEVEN * np.abs(flat).max():
            row, column = (int(i) for i in np.unravel_index(int(apart.argmax()), apart.shape))
            raise Error(
                f"{place}: {parameter.name} joins {parameter.layers[0]} to itself and is symmetric, but its "
                f"entries ({row}, {column}) and ({column}, {row}), with the layer's axes flattened, are "
                f"{flat[row, column]:g} and {flat[column, row]:g}; mend them, for example (L + L.T)/2"
            )
        inside = (flat != 0) & same_site(artifact.layers[parameter.layers[0]])
        if inside.any():
            row, column = (int(i) for i in np.unravel_index(int(inside.argmax()), inside.shape))
            where = "diagonal is" if row == column else "blocks of one site are"
            raise Error(
                f"{place}: {parameter.name} joins {parameter.layers[0]} to itself, so its {where} 0, but its entry "
                f"({row}, {column}) is {flat[row, column]:g}; set it to 0: what it stands for belongs into the bias"
            )
    if mask is not None:
        outside = (np.asarray(values) != 0) & ~mask
        if outside.any():
            at = tuple(int(i) for i in np.unravel_index(int(outside.argmax()), outside.shape))
            raise Error(
                f"{place}: {parameter.name} has {int(outside.sum())} entries other than 0 outside its mask, the "
                f"first at {list(at)}; set them to 0, or change the mask"
            )


def colours(joined: Mask) -> Colours:
    """Colours from 0 for the sites of a layer such that no two of one colour are joined: greedy, most joined first.

    Args:
        joined: (sites, sites), symmetric, whether two sites share an edge.

    Source: Welsh and Powell (1967): at most one colour more than the largest degree.
    """
    out = np.full(len(joined), -1, np.int32)
    for site in np.argsort(-joined.sum(axis=1), kind="stable"):
        taken = set(out[joined[site]].tolist())
        out[site] = next(c for c in range(len(joined)) if c not in taken)
    return out


def _from_file(parameter: ArtifactParameter, layers: list[ArtifactLayer], base: Path) -> Mask:
    assert parameter.mask is not None, "the caller has looked"
    what = f"mask of {parameter.name}"
    place = f"{parameter.mask.file} ({what})"
    values = read_array(parameter.mask.file, base, what)
    flat = tuple(layer.size for layer in layers)
    if values.shape not in (parameter.shape, flat):
        raise Error(
            f"{place}: the mask has shape {values.shape}, but {parameter.name} has {parameter.shape}, the axes of "
            f"{' and '.join(parameter.layers)}; give the mask that shape"
        )
    if values.dtype.kind not in "biuf" or not ((values == 0) | (values == 1)).all():
        raise Error(
            f"{place}: the mask holds other values than 0 (no entry) and 1; make it of them, for example "
            "numpy.save(name, array != 0)"
        )
    mask: Mask = np.asarray(values != 0).reshape(flat)
    if parameter.symmetric and not np.array_equal(mask, mask.T):
        row, column = (int(i) for i in np.argwhere(mask != mask.T)[0])
        raise Error(
            f"{place}: {parameter.name} joins {layers[0].name} to itself and is symmetric, but the mask has only "
            f"one of the entries ({row}, {column}) and ({column}, {row}), with the layer's axes flattened; "
            "make it symmetric, for example mask | mask.T"
        )
    return mask


def _local(radius: float, layers: list[ArtifactLayer]) -> Mask:
    """Entries of units of two layers within the radius of each other in every axis, the smaller grid stretched.

    Unit i of n on an axis on which the larger layer has m stands at (i + 1/2) m/n - 1/2. The states of one site are at
    one place. Which layers have such grids the compiler has seen to.
    """
    categorical = ("one_hot", "counts")
    first, second = (layer.dims[:-1] if layer.support in categorical else layer.dims for layer in layers)
    mask = np.ones((1, 1), bool)
    for n, m in zip(first, second, strict=True):
        one, other = ((np.arange(k) + 0.5) * max(n, m) / k for k in (n, m))
        mask = np.kron(mask, np.abs(one[:, None] - other) <= radius + _ROUNDING)
    for axis, layer in enumerate(layers):
        mask = np.repeat(mask, layer.states, axis=axis)
    return mask
