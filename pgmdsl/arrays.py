"""Users' arrays at the border: checked, flattened, turned into statistics, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Artifact, ArtifactLayer
from pgmdsl.grammar.diagnostics import Error, suggest
from pgmdsl.runtime.base_energy import any_state
from pgmdsl.runtime.belief import BeliefNet, machine_of
from pgmdsl.runtime.kernels import Kernels
from pgmdsl.runtime.known import Known, latent_lengths, require_given
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.masks import verify_entries
from pgmdsl.runtime.missing import spread_words
from pgmdsl.runtime.sampling import to_states

Array = NDArray[Any]


class Arrays:
    """The border between users' arrays, of declared shapes, and the runtime's flat statistics."""

    def __init__(self, artifact: Artifact, kernels: Kernels) -> None:
        """A model's shapes, and the kernels that convert."""
        self.artifact, self.kernels = artifact, kernels
        self.dtype = np.dtype(artifact.dtype)

    def known_layers(self, names: Iterable[str]) -> tuple[str, ...]:
        """The names, all of them layers of the model. Raises Error with a hint otherwise."""
        names = tuple(names)
        for name in names:
            if name not in self.artifact.layers:
                known = list(self.artifact.layers)
                hint = suggest(name, known) or f"the layers are {', '.join(known)}"
                raise Error(f"{self.artifact.name} has no layer {name!r}: {hint}")
        return names

    def parameters(self, params: Mapping[str, Array]) -> dict[str, Array]:
        """Parameters of the declared shapes in the model's dtype.

        Raises Error for a missing, odd or misshapen one, or a lateral weight that is not symmetric with zero diagonal.
        """
        wanted = self.artifact.parameters
        if not isinstance(params, Mapping):
            raise Error("parameters are given by name, as model.init() returns them: {'W': array, ...}")
        for name in params:
            if name not in wanted:
                hint = suggest(name, list(wanted)) or f"the parameters are {', '.join(wanted)}"
                raise Error(f"{self.artifact.name} has no parameter {name!r}: {hint}")
        out = {}
        for name, parameter in wanted.items():
            if name not in params:
                raise Error(f"the parameter {name} of {self.artifact.name} is missing: give an array {parameter.shape}")
            value = np.ascontiguousarray(params[name], self.dtype)
            if value.shape != parameter.shape:
                raise Error(f"the parameter {name} has shape {value.shape}, but {parameter.shape} is declared")
            verify_entries(parameter, self.artifact, value, None, "the parameters given")
            out[name] = value
        return out

    def machine(self, params: Mapping[str, Array]) -> Machine:
        """The model with these parameters."""
        return machine_of(self.artifact, self.kernels, self.parameters(params))

    def statistics(
        self, state: Mapping[str, Array], params: Mapping[str, Array], *, every: bool = False, but: str | None = None
    ) -> dict[str, Array]:
        """Statistics (cases, size) of the layers of a state, in file order.

        Args:
            state: By layer, arrays (cases, *dims); (cases, size) is accepted too.
            params: The parameters, for layers whose statistic depends on them.
            every: Whether every layer must be there,
            but: except for this one.

        Raises:
            Error: An unknown layer, a missing one, a wrong shape, NaN, or layers with different numbers of cases.
        """
        self.known_layers(state)
        if every:
            missing = [n for n in self.artifact.layers if n not in state and n != but]
            if missing:
                raise Error(f"the state of layer {missing[0]} is missing: give the state of every layer")
        if not state:
            raise Error("the state is empty: give at least one layer's")
        p = self.machine(params).p
        out: dict[str, Array] = {}
        for name, layer in self.artifact.layers.items():
            if name not in state:
                continue
            x = np.asarray(state[name])
            if x.dtype.kind not in "biuf":
                raise Error(f"the state of {name} has values of type {x.dtype}: give numbers")
            if x.shape[1:] not in (layer.dims, (layer.size,)) or x.ndim < 2:
                raise Error(
                    f"the state of {name} has shape {x.shape}: (cases, {', '.join(map(str, layer.dims))}) is needed"
                )
            flat = np.ascontiguousarray(x.reshape(len(x), layer.size), self.dtype)
            if not np.isfinite(flat).all():
                raise Error(
                    f"the state of {name} holds NaN or infinity: give complete states here; model.gibbs and "
                    "model.mean_field fill in what is missing"
                )
            out[name] = np.ascontiguousarray(self.kernels.statistic[name](p, flat), self.dtype)
        counts = {name: len(x) for name, x in out.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name} has {n}" for name, n in counts.items())
            raise Error(f"the layers have different numbers of cases: {listed}")
        return out

    @staticmethod
    def cases(s: Mapping[str, Array]) -> int:
        """How many cases statistics hold."""
        return len(next(iter(s.values())))

    def state(self, layer: str, machine: Machine, statistics: Array) -> Array:
        """A layer's statistics (or their means) as states (cases, *dims)."""
        return to_states(machine, {layer: statistics})[layer]

    def known(
        self, state: Mapping[str, Array], params: Mapping[str, Array], lengths: Mapping[str, Any] | None = None
    ) -> Known:
        """What a state says: NaN is missing, of a one-hot site as a whole.

        Args:
            state: As for `statistics`.
            params: The parameters.
            lengths: Of documents that are missing, or lack counts: a number, or one a case.

        Raises:
            Error: as `statistics`; a given layer that the state lacks, or a count layer whose length nothing says.
        """
        self.known_layers([*state, *(lengths or {})])
        values = {n: np.asarray(x) for n, x in state.items()}
        absent = {n: np.isnan(x) for n, x in values.items() if x.dtype.kind == "f" and np.isnan(x).any()}
        s = self.statistics({n: np.where(absent[n], 0, x) if n in absent else x for n, x in values.items()}, params)
        machine = self.machine(params)
        require_given(machine, [n for n in s if n not in absent])
        count, held = self.cases(s), {}
        for name, missing in absent.items():
            layer = self.artifact.layers[name]
            each = layer.states if layer.support == "one_hot" else 1
            sites = missing.reshape(count, -1, each).any(axis=-1, keepdims=True)
            held[name] = np.repeat(~sites, each, axis=-1).reshape(count, layer.size)
            if layer.support == "counts":
                length = latent_lengths(machine, [n for n in self.artifact.layers if n != name], lengths)[name]
                spread_words(s[name], held[name], np.broadcast_to(length, count), np.ones(layer.size))
            else:
                s[name] = np.where(held[name], s[name], any_state(layer)).astype(self.dtype)
        rest = latent_lengths(machine, s, lengths)
        return Known(machine, count, s, held, {n: np.broadcast_to(x, count) for n, x in rest.items()})

    def initial(self, seed: int, data: Mapping[str, Array] | None, base: Path) -> dict[str, Array]:
        """Parameters to start from, with biases from the data's means where data is given."""
        from pgmdsl.runtime.data import open_data
        from pgmdsl.runtime.parameters import initial_parameters

        cases = None if data is None else open_data(self.artifact, data, valid=0.0, test=0.0, base=base).train
        return initial_parameters(self.artifact, self.kernels, seed, data=cases, base=base)

    def gradient(
        self, params: Mapping[str, Array], positive: Mapping[str, Array], negative: Mapping[str, Array]
    ) -> dict[str, Array]:
        """E_positive[-dE/dtheta] - E_negative[-dE/dtheta], by parameter that is not fixed.

        States may be means where the energy is linear in them; for units' own parameters they have to be states.
        """
        machine = self.machine(params)
        s, t = self.statistics(positive, params, every=True), self.statistics(negative, params, every=True)
        out: dict[str, Array] = {}
        for part, data, model, fields in _phases(machine, s, t):
            for name, parameter in part.artifact.parameters.items():
                if not parameter.fixed:
                    total = out.setdefault(name, np.zeros_like(machine.p[name]))
                    for sign, side, at in ((1, data, {}), (-1, model, fields)):
                        total += sign * self._mean_slope(part, name, side, at)
        return {name: total.reshape(self.artifact.parameters[name].shape) for name, total in out.items()}

    def _mean_slope(self, part: Machine, name: str, s: Mapping[str, Array], fields: Mapping[str, Array]) -> Array:
        """The mean over cases of -dE/d of a parameter, at states, or at the means that layers have at these fields."""
        if part.artifact.parameters[name].kind == "weight":
            total = np.zeros_like(part.p[name])
            part.kernels.weight_statistics[name](s, 1.0 / self.cases(s), False, total)
            return total
        total = np.zeros(part.p[name].shape, self.dtype)
        for layer in part.artifact.layers.values():
            slope = self._slope(part, layer, name, s, fields.get(layer.name))
            if slope is not None:
                total += slope.mean(axis=0, dtype=np.float64).astype(self.dtype)
        return total

    def _slope(
        self,
        machine: Machine,
        layer: ArtifactLayer,
        parameter: str,
        s: Mapping[str, Array],
        at: Array | None,
    ) -> Array | None:
        """-dE/d of each unit of a layer by its bias or one of its own parameters, (cases, size); None for others."""
        x = s[layer.name]
        if layer.role == "given":
            return None
        if layer.bias == parameter:
            exposure = machine.exposure(layer.name, s)
            slope = self.kernels.own_factor[layer.name](machine.p) * x
            return np.asarray(slope if exposure is None else slope * exposure[:, None])
        for own, name in layer.parameters.items():
            if name == parameter:
                out = np.zeros_like(x)
                if at is not None:
                    own_field = machine.own_in(layer.name, s)
                    self.kernels.expected_slope[layer.name][own](machine.p, at, own_field, 1.0, out)
                    return out
                field = machine.coupling(layer.name, s, len(x))
                self.kernels.slope[layer.name][own](machine.p, x, field, out)
                return out
        return None


def _phases(
    machine: Machine, s: Mapping[str, Array], t: Mapping[str, Array]
) -> Iterator[tuple[Machine, dict[str, Array], dict[str, Array], dict[str, Array]]]:
    """The parts that the likelihood consists of, each with the states of both its phases.

    That of the undirected part has the states given; of a child with its parents the second has the child's means given
    these, at the fields that come last.
    """
    core = machine.undirected
    yield core, {n: s[n] for n in core.layers}, {n: t[n] for n in core.layers}, {}
    for name, part in machine.children.items() if isinstance(machine, BeliefNet) else ():
        here = {n: s[n] for n in part.layers}
        field = part.coupling(name, {n: s[n] for n in part.given}, len(s[name]))
        mean = np.empty_like(s[name])
        part.mean(name, field, mean, s=here)
        yield part, here, {**here, name: mean}, {name: field}
