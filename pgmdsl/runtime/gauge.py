"""Zero-sum gauge: of the parameters that give the same distribution, those whose categorical fields have mean 0.

The statistic of a one-hot site sums to 1 over its K states, that of a document to its length M. So of a weight with
such an axis, W[.., k], the mean m over k does nothing but send

    -sum W s = -sum (W - m) s - (1 or M) sum m s(other layers)

into the other layers. Where there is one other layer, m can be moved into its bias (which has to be multiplied by M
just so); where there are several, into the weight of an edge that joins just these; where all are given, it may be
dropped. A bias of a categorical layer may lose its mean over states at once. What moves changes the energy by a
function of the lengths and of given layers alone, so that no probability changes.

Source: Ekeberg and others (2013), "Improved contact prediction in proteins", section II.C, for pairwise Potts models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Artifact, ArtifactEdge, ArtifactLayer
from pgmdsl.runtime.kernels import Kernels
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.masks import Mask

Array = NDArray[Any]
Vector = NDArray[np.float64]
_ROUNDING = 1e-6  # relative to a weight's largest entry: shifts below it are rounding, and two are the same


def zero_sum(
    artifact: Artifact, kernels: Kernels, parameters: Mapping[str, Array], masks: Mapping[str, Mask] | None = None
) -> tuple[dict[str, Array], list[str]]:
    """The parameters in zero-sum gauge, and where they could not be brought into it.

    Args:
        artifact: the model.
        kernels: its kernels.
        parameters: by name, arrays of the declared shapes; they are left as they are.
        masks: by weight, those of `masks.prepared`.

    Returns:
        New arrays by name, and a sentence for each axis that was left: of a fixed or tied parameter that would change
        another use of it, or where there is no bias, or one multiplied by other lengths, to take up the shift.
    """
    copies = {name: np.array(array, artifact.dtype) for name, array in parameters.items()}
    gauge = _Gauge(artifact, kernels, copies, masks or {})
    weights = dict.fromkeys(edge.weight for edge in artifact.generative)
    for weight in sorted(weights, key=lambda w: -len(gauge.uses(w)[0].layers)):  # more axes shift into fewer
        gauge.centre_weight(weight)
    for name in dict.fromkeys(layer.bias for layer in artifact.layers.values() if layer.bias is not None):
        gauge.centre_bias(name)
    out = {name: gauge.p[name].reshape(p.shape).astype(artifact.dtype) for name, p in artifact.parameters.items()}
    return out, gauge.left


class _Gauge:
    """Parameters on their way into gauge.

    Attributes:
        p: float64, weights with one axis a layer, the rest flat.
        left: what was left as it is, a sentence each.
    """

    def __init__(
        self, artifact: Artifact, kernels: Kernels, parameters: Mapping[str, Array], masks: Mapping[str, Mask]
    ) -> None:
        self.artifact, self.left = artifact, list[str]()
        machine = Machine(artifact, kernels, parameters)
        self.p = {n: machine.p[n].astype(np.float64) for n in artifact.parameters}
        self.masks = {n: mask.reshape(self.p[n].shape) for n, mask in masks.items()}
        self.factor = {
            n: np.asarray(kernels.own_factor[n](machine.p), np.float64)
            for n, layer in artifact.layers.items()
            if layer.bias is not None
        }

    def uses(self, weight: str) -> list[ArtifactEdge]:
        """The edges that have this weight."""
        return [edge for edge in self.artifact.generative if edge.weight == weight]

    def centre_weight(self, weight: str) -> None:
        """Take the means over states off each of the weight's axes that has them, where they can be taken up."""
        axes = range(self.p[weight].ndim)
        for axis in axes if not self.artifact.parameters[weight].symmetric else axes[:1]:
            reason = self._centre_axis(weight, axis)
            if reason:
                layers = list(dict.fromkeys(edge.layers[axis] for edge in self.uses(weight)))
                self.left.append(
                    f"{weight} is not in zero-sum gauge over the states of {' and '.join(layers)}: {reason}"
                )

    def centre_bias(self, name: str) -> None:
        """Take the means over states off a bias of categorical layers."""
        layers = [layer for layer in self.artifact.layers.values() if layer.bias == name]
        states = {layer.states if _categorical(layer) else 1 for layer in layers}
        if states == {1}:
            return
        sites = self.p[name].reshape(-1, max(states))
        mean = sites.mean(axis=1, keepdims=True)
        if np.abs(mean).max() <= _ROUNDING * np.abs(sites).max():
            return
        reason = "it is fixed" if self.artifact.parameters[name].fixed else None
        reason = reason or ("layers of other units have it too" if len(states) > 1 else None)
        if reason:
            self.left.append(f"{name} is not in zero-sum gauge: {reason}")
        else:
            self.p[name] = (sites - mean).reshape(-1)

    # --- one axis of a weight -----------------------------------------------------------------------------

    def _centre_axis(self, weight: str, axis: int) -> str | None:
        """Centre it, or say why not."""
        uses, w = self.uses(weight), self.p[weight]
        there = [self.artifact.layers[edge.layers[axis]] for edge in uses]
        states = {layer.states if _categorical(layer) else 1 for layer in there}
        if states == {1}:
            return None
        if len(states) > 1:
            return "another use of the weight has units of another type there"
        sites = np.moveaxis(w, axis, -1).reshape(*np.delete(w.shape, axis), -1, states.pop())
        mean = sites.mean(axis=-1)
        if np.abs(mean).max() <= _ROUNDING * np.abs(w).max():
            return None
        if self.artifact.parameters[weight].fixed:
            return "it is fixed"
        if self.artifact.parameters[weight].mask is not None and weight not in self.masks:
            return "its mask was not given"
        if self._cuts_sites(weight, axis, sites.shape):
            return "its mask has some of the states of a site only"
        if self.artifact.parameters[weight].symmetric:
            return self._centre_symmetric(weight, uses, sites)
        # A shift over the states of a child is the same for all of them, and its normaliser takes it up.
        due = [edge for edge in uses if edge.layers[axis] != edge.head]
        reason = self._take_up([self._demand(edge, axis, mean.sum(axis=-1)) for edge in due])
        if reason is None:
            centred = (sites - mean[..., None]).reshape(*sites.shape[:-2], -1)
            self.p[weight] = np.ascontiguousarray(np.moveaxis(centred, -1, axis))
        return reason

    def _centre_symmetric(self, weight: str, uses: list[ArtifactEdge], sites: Array) -> str | None:
        """Both axes of a lateral weight at once: L -> L - mean over q - mean over k + mean over both.

        With a[s, k, t] the mean over the other site's states, -1/2 s' L s loses -sum a[s, k, t] s[s, k] and a constant.
        """
        if not all(edge.lateral for edge in uses):
            return "another use of the weight joins two layers"
        _, count, states = sites.shape
        rows = sites.mean(axis=-1)  # over the states of the other site
        both = rows.reshape(count, states, count).mean(axis=1)
        reason = self._take_up([((edge.layers[0],), None, rows.sum(axis=-1)) for edge in uses])
        if reason is None:
            means = np.repeat(rows, states, axis=1)
            constant = np.kron((both + both.T) / 2, np.ones((states, states)))
            self.p[weight] = self.p[weight] - (means + means.T) + constant
        return reason

    def _cuts_sites(self, weight: str, axis: int, shape: tuple[int, ...]) -> bool:
        if weight not in self.masks:
            return False
        mask = np.moveaxis(self.masks[weight], axis, -1).reshape(shape)
        return bool((mask.any(axis=-1) != mask.all(axis=-1)).any())

    # --- where the shift goes -----------------------------------------------------------------------------

    def _demand(self, edge: ArtifactEdge, axis: int, shift: Vector) -> _Demand:
        """Which layers a shift of this axis is sent to, what multiplies it there, and the shift itself."""
        others = tuple(n for i, n in enumerate(edge.layers) if i != axis)
        layer = self.artifact.layers[edge.layers[axis]]
        return others, layer.name if layer.support == "counts" else None, shift

    def _take_up(self, demands: list[_Demand]) -> str | None:
        """Move all shifts into biases and weights, or none of them: then why not."""
        layers = self.artifact.layers
        due = [d for d in demands if not all(layers[n].role == "given" for n in d[0])]
        to_biases: dict[str, Vector] = {}
        for names, counted, shift in due:
            if len(names) > 1:
                continue
            layer = layers[names[0]]
            if layer.bias is None:
                return f"{layer.name} has no bias to take up the shift"
            if self.artifact.parameters[layer.bias].fixed:
                return f"the bias of {layer.name}, which would take up the shift, is fixed"
            if layer.counted != (() if counted is None else (counted,)):
                length = "1" if counted is None else f"the length of {counted}"
                return f"the bias of {layer.name} is multiplied by another length than the shift, {length}"
            to_biases[layer.name] = to_biases.get(layer.name, np.zeros(layer.size)) + shift
        found = self._changes(to_biases)
        if isinstance(found, str):
            return found
        for names, counted, shift in due:
            if len(names) > 1:
                reason = self._to_weight(names, counted, shift, found)
                if reason:
                    return reason
        for name, change in found.items():
            self.p[name] = self.p[name] + change
        return None

    def _changes(self, to_biases: Mapping[str, Vector]) -> dict[str, Vector] | str:
        """The change of each bias, or why there is none: layers that share it need the same."""
        changes: dict[str, Vector] = {}
        for name, shift in to_biases.items():
            bias = self.artifact.layers[name].bias
            assert bias is not None, "looked at before"
            change = shift / self.factor[name]
            for other in self.artifact.layers.values():
                if other.bias == bias:
                    wanted = to_biases.get(other.name, np.zeros(len(shift))) / self.factor[other.name]
                    if np.abs(wanted - change).max() > _ROUNDING * np.abs(change).max():
                        return f"{bias}, which would take up the shift, is also the bias of {other.name}"
            changes[bias] = change
        return changes

    def _to_weight(
        self, names: tuple[str, ...], counted: str | None, shift: Vector, changes: dict[str, Vector]
    ) -> str | None:
        """Add the shift of an edge of three layers and more to the change of the weight that joins the rest."""
        for edge in self.artifact.edges:
            if sorted(edge.layers) != sorted(names) or counted is not None:
                continue
            weight = edge.weight
            moved = np.transpose(shift, [names.index(n) for n in edge.layers])
            outside = weight in self.masks and (moved[~self.masks[weight]] != 0).any()
            if len(self.uses(weight)) == 1 and not self.artifact.parameters[weight].fixed and not outside:
                changes[weight] = changes.get(weight, np.zeros(moved.shape)) + moved
                return None
        return f"no weight of {' and '.join(names)} alone can take up the shift"


_Demand = tuple[tuple[str, ...], str | None, Vector]


def _categorical(layer: ArtifactLayer) -> bool:
    return layer.support in ("one_hot", "counts")
