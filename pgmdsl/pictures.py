"""The pictures of a run: samples, filters, couplings, units' own parameters, training curves; PNG files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import ArtifactEdge, ArtifactLayer
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.plots import curves
from pgmdsl.runtime.sheets import filter_sheet, grey_limits, image_dims, imputation_sheet, sample_sheet, value_sheet

if TYPE_CHECKING:
    from pgmdsl.run import Run
    from pgmdsl.runtime.impute import Imputation

Array = NDArray[Any]
CHAINS = 100


def draw_all(run: Run, folder: Path, progress: bool = False) -> dict[str, Path]:
    """All pictures of a run; returns their paths by what they show."""
    folder.mkdir(parents=True, exist_ok=True)
    out = _draw_means(run, folder, progress) | _draw_weights(run, folder) | _draw_own(run, folder)
    if metrics := run.metrics:
        # The mean activity of a softmax layer is 1/K whatever it has learned.
        layers = run.model.artifact.layers.values()
        curves(metrics, folder / "curves.png", {("active", x.name) for x in layers if x.support == "one_hot"})
        out["curves"] = folder / "curves.png"
    return out


def draw_states(run: Run, samples: Mapping[str, Array], path: Path, *, means: bool = False) -> list[Path]:
    """A sheet of every visible layer that can be shown as images; see `Run.draw_samples_sheet`."""
    shown = list(_image_layers(run, "visible"))
    out = []
    for layer, dims in shown:
        what = f"states of {layer.name}"
        if means:
            what = f"means of {layer.name} given sampled {_neighbours(run, layer.name)}"
        file = path if len(shown) == 1 else path.with_stem(f"{path.stem}_{layer.name}")
        x = samples[layer.name].reshape(-1, *dims)
        sample_sheet(x, dims, file, f"{run.model.name}: {what}", grey_limits(layer))
        out.append(file)
    return out


def draw_imputation(run: Run, found: Imputation, path: Path) -> list[Path]:
    """A sheet of every image layer with missing values: cases as given, with means, and with a sample filled in."""
    shown = [(layer, dims) for layer, dims in _image_layers(run, "visible") if layer.name in found.fillings]
    out = []
    for layer, dims in shown:
        file = path if len(shown) == 1 else path.with_stem(f"{path.stem}_{layer.name}")
        missing = found.missing[layer.name].reshape(found.cases, -1)
        rows = np.flatnonzero(missing.any(axis=1))
        means = found.means[layer.name].reshape(missing.shape)[rows]
        sample = found.samples[layer.name][0].reshape(missing.shape)[rows]
        title = f"{run.model.name}: {layer.name}"
        imputation_sheet(means, means, sample, missing[rows], dims, file, title)
        out.append(file)
    return out


def _image_layers(run: Run, role: str) -> Iterator[tuple[ArtifactLayer, tuple[int, int]]]:
    for layer in run.model.artifact.layers.values():
        dims = image_dims(layer)
        if layer.role == role and dims:
            yield layer, dims


def _neighbours(run: Run, name: str) -> str:
    """The layers that a unit of this layer depends on, in words."""
    edges = [e for e in run.model.artifact.generative if name in e.layers and e.head in ("", name)]
    given = list(dict.fromkeys(n for e in edges for n in e.layers if n != name))
    if any(e.lateral for e in edges):
        given.append("other units")
    return " and ".join(given) or "nothing"


def _draw_means(run: Run, folder: Path, progress: bool) -> dict[str, Path]:
    """Means of image layers given sampled neighbours; of a conditional model with held-out cases' given layers."""
    artifact = run.model.artifact
    shown = [layer.name for layer, _ in _image_layers(run, "visible")]
    if not shown:
        return {}
    try:
        clamp = run.given_states(CHAINS)
    except Error:  # the data is gone
        return {}
    chains = len(next(iter(clamp.values()))) if clamp else CHAINS
    samples = run.sample(chains, seed=run.seed, clamp=clamp, progress=progress)
    last = {name: x[:, 0] for name, x in samples.items()}
    means = {name: run.model.mean(name, run.parameters, last) for name in artifact.layers if name in shown}
    return {path.stem: path for path in draw_states(run, means, folder / "samples.png", means=True)}


def _draw_weights(run: Run, folder: Path) -> dict[str, Path]:
    """For every weight of a visible image layer its filters; for every lateral weight its couplings."""
    out: dict[str, Path] = {}
    for edge in run.model.artifact.generative:
        if edge.weight in out:
            continue
        path = _draw_couplings(run, edge, folder) if edge.lateral else _draw_filters(run, edge, folder)
        if path is not None:
            out[edge.weight] = path
    return out


def _draw_filters(run: Run, edge: ArtifactEdge, folder: Path) -> Path | None:
    """An image of a weight's first visible image layer for each unit (or pair of units, ...) that it joins to it."""
    layers = [run.model.artifact.layers[n] for n in edge.layers]
    weight = run.parameters[edge.weight].reshape([layer.size for layer in layers])
    for axis, seen in enumerate(layers):
        dims, others = image_dims(seen), [x for x in layers if x is not seen]
        if seen.role != "visible" or not dims:
            continue
        w = np.moveaxis(weight, axis, 0).reshape(seen.size, -1)
        path = folder / f"filters_{edge.weight}.png"
        one = len(others) == 1 and len(others[0].dims) == 2
        units = (others[0].dims[0], others[0].dims[1]) if one else None
        each = "unit" if len(others) == 1 else "choice of units"
        title = f"{run.model.name}: filters of {edge.weight}, one a {each} of {' and '.join(x.name for x in others)}"
        filter_sheet(w, dims, path, title, units)
        return path
    return None


def _draw_couplings(run: Run, edge: ArtifactEdge, folder: Path) -> Path:
    """A lateral weight as a matrix; of one-hot sites the norm of each block, in zero-sum gauge where it can be."""
    layer = run.model.artifact.layers[edge.layers[0]]
    sites = layer.size // layer.states
    title = f"{run.model.name}: {edge.weight}, couplings of {layer.name}"
    parameters: Mapping[str, Array] = run.parameters
    if layer.states > 1:
        parameters = gauged = run.zero_sum()
        left = any(text.startswith(f"{edge.weight} ") for text in gauged.left)
        title += ", norm of each block" + ("" if left else " in zero-sum gauge")
    blocks = parameters[edge.weight].reshape(sites, layer.states, sites, layer.states)
    matrix = np.linalg.norm(blocks, axis=(1, 3)) if layer.states > 1 else blocks[:, 0, :, 0]
    path = folder / f"couplings_{edge.weight}.png"
    value_sheet(matrix, path, title)
    return path


def _draw_own(run: Run, folder: Path) -> dict[str, Path]:
    """The own parameters of visible image layers that differ between units, as images: of pixels, the sigmas."""
    out = {}
    for layer, dims in _image_layers(run, "visible"):
        for name in layer.parameters.values():
            values = run.parameters[name]
            if values.size == layer.size and values.min() < values.max():
                out[name] = folder / f"map_{name}.png"
                value_sheet(values.reshape(dims), out[name], f"{run.model.name}: {name} of each unit of {layer.name}")
    return out
