"""A model with directed edges and its parameters: a machine for each of its parts, over one set of arrays.

The joint distribution is p(core) * product over children of p(child | parents). Every child with its parents is a
machine whose parents are given, and so is every layer that recognition edges go into: what is drawn, scored and learned
of a directed edge is what those machines do. The net itself composes them: a pass down samples, a pass up recognises.

Source: Hinton, Osindero and Teh (2006), "A fast learning algorithm for deep belief nets"; Neal (1992), on Gibbs
sampling in belief nets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Artifact, Parts
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.explaining import draw_parents
from pgmdsl.runtime.kernels import Kernels, load_kernels
from pgmdsl.runtime.machine import NOTHING, Blocks, Held, Machine, State, Words
from pgmdsl.runtime.random import stream_key

Array = NDArray[Any]
Doubles = NDArray[np.float64]
SWEEPS = 10  # of Gibbs in a core of which entries are missing, given a pass up


def machine_of(
    artifact: Artifact,
    kernels: Kernels,
    parameters: Mapping[str, Array],
    *,
    colours: Mapping[str, Array] | None = None,
    lengths: Mapping[str, float] | None = None,
) -> Machine:
    """The machine of a whole model, whatever edges it has."""
    if artifact.parts is None:
        return Machine(artifact, kernels, parameters, colours=colours, lengths=lengths)
    return BeliefNet(artifact, kernels, parameters, colours=colours, lengths=lengths)


class BeliefNet(Machine):
    """A machine with directed edges.

    Attributes:
        core: the machine of the layers without parents.
        children: by child, that of p(child | parents), in the order of sampling.
        recognition: by target, that of q(target | sources), in the order of an up-pass.
    """

    def __init__(
        self,
        artifact: Artifact,
        kernels: Kernels,
        parameters: Mapping[str, Array],
        *,
        colours: Mapping[str, Array] | None = None,
        lengths: Mapping[str, float] | None = None,
        upward: Kernels | None = None,
    ) -> None:
        """Wrap the parameters without copying them; `upward` are the kernels of recognition, if they are loaded."""
        parts = artifact.parts
        assert parts is not None, "a model without directed edges is a Machine"

        def part(found: Artifact, functions: Kernels) -> Machine:
            own = {n: parameters[n] for n in found.parameters}
            return Machine(found, functions, own, colours=colours, lengths=lengths)

        self.parts: Parts = parts
        self.core = part(parts.core, kernels)
        self.children = {name: part(found, kernels) for name, found in parts.children.items()}
        apart = [found for found in parts.recognition.values() if found.kernels != artifact.kernels]
        if apart and upward is None:
            upward = load_kernels(apart[0], kernels.costs)
        self._upward = upward
        self.recognition = {n: part(found, upward or kernels) for n, found in parts.recognition.items()}
        super().__init__(artifact, kernels, parameters, colours=colours, lengths=lengths)

    def with_parameters(self, parameters: Mapping[str, Array]) -> BeliefNet:
        """The same net with other parameters."""
        return BeliefNet(
            self.artifact,
            self.kernels,
            parameters,
            colours=self.colours,
            lengths=self.lengths,
            upward=self._upward,
        )

    def with_lengths(self, lengths: Mapping[str, float]) -> BeliefNet:
        """The same net with these lengths of documents, where a state does not hold them."""
        every = {**self.lengths, **lengths}
        return BeliefNet(
            self.artifact, self.kernels, self.parameters, colours=self.colours, lengths=every, upward=self._upward
        )

    def refresh(self) -> None:
        """Compute the own fields of all parts again."""
        super().refresh()
        for machine in (self.core, *self.children.values(), *self.recognition.values()):
            machine.refresh()

    @property
    def inference(self) -> str:
        """How `infer` finds means of what is not independent, in words."""
        return "pass up"

    @property
    def undirected(self) -> Machine:
        """The machine of the undirected part, which has the log Z of the whole."""
        return self.core

    # --- structure ----------------------------------------------------------------------------------------

    def factor(self, layer: str) -> Machine:
        """The machine whose conditional a layer is drawn from: of its parents, or of the core."""
        return self.children.get(layer, self.core)

    @property
    def weights(self) -> tuple[str, ...]:
        """The weights of all its edges, each once."""
        return tuple(dict.fromkeys(edge.weight for edge in self.artifact.all_edges))

    def below(self, layer: str) -> tuple[str, ...]:
        """The children of a layer."""
        return tuple(name for name, machine in self.children.items() if layer in machine.layers and layer != name)

    def independent(self, layers: Collection[str]) -> bool:
        """Whether the units of these layers are independent given all others: no parent of a child is among them."""
        return not any(self.below(n) for n in layers) and self.core.independent(
            [n for n in layers if n in self.core.layers]
        )

    def coupling(self, layer: str, s: Mapping[str, Array], cases: int) -> Array:
        """What a layer's parents, or its neighbours in the core, send to it."""
        machine = self.factor(layer)
        return machine.coupling(layer, {n: x for n, x in s.items() if n in machine.layers}, cases)

    # --- passes -------------------------------------------------------------------------------------------

    def pass_down(
        self,
        s: State,
        seed: int | None,
        words: Words,
        clamped: Collection[str] = (),
        held: Held = NOTHING,
    ) -> None:
        """Every child given its parents, in place: drawn, or without a seed its mean."""
        for name, machine in self.children.items():
            if name not in clamped:
                self._fill(machine, name, s, seed, (*words, "down"), held.get(name))

    def pass_up(self, s: State, seed: int | None, words: Words, clamped: Collection[str] = ()) -> None:
        """Every layer with recognition edges given its sources, in place: drawn, or without a seed its mean."""
        for name, machine in self.recognition.items():
            if name not in clamped:
                self._fill(machine, name, s, seed, (*words, "up"), None)

    def _fill(
        self, machine: Machine, name: str, s: State, seed: int | None, words: Words, held: NDArray[np.bool_] | None
    ) -> None:
        given = {n: s[n] for n in machine.given}
        field = machine.coupling(name, given, len(s[name]))
        known = {**given, name: s[name]}
        if seed is None:
            machine.mean(name, field, s[name], s=known, held=held)
        else:
            machine.sample(name, field, stream_key(seed, *words, name), s[name], s=known, held=held)

    # --- inference ----------------------------------------------------------------------------------------

    def infer(self, s: State, fields: State, clamped: Collection[str], sweeps: int = 10, held: Held = NOTHING) -> None:
        """Means of what is latent, in place: by the deterministic up-pass, then the core given what that gives.

        Latent children that are not recognised follow by the means of a pass down (Salakhutdinov 2015, eqs. 26-28).
        """
        known = {n for n in self.layers if n in clamped or n in self.given}
        reached = self.recognise(s, None, (), known, held)
        seen = [n for n in self.core.layers if n in known or n in reached]
        if len(seen) < len(self.core.layers):
            here = {n: mask for n, mask in held.items() if n in self.core.layers}
            self.core.infer(self._of(self.core, s), self._of(self.core, fields), seen, sweeps, here)
        free = [n for n in self.children if n in reached and n not in held]
        self.pass_down(s, None, (), {*known, *free}, held)

    def recognise(
        self, s: State, seed: int | None, words: Words, clamped: Collection[str], held: Held = NOTHING
    ) -> list[str]:
        """A pass up from some layers, in place; returns the layers it reached: known ones and those with a source.

        What sources lack is at the means of units without parents.
        """
        reached = [n for n in self.recognition if n in {*clamped, *held}]
        for name, machine in self.recognition.items():
            if name not in reached and not {*clamped, *held, *reached}.isdisjoint(machine.given):
                reached.append(name)
        unknown = [n for n in self.layers if n not in {*clamped, *held, *self.given, *self.recognition}]
        self.fill_missing(s, {**held, **{n: np.zeros(s[n].shape, bool) for n in unknown}})
        self.pass_up(s, seed, words, {*clamped, *held, *(n for n in self.recognition if n not in reached)})
        return reached

    def mean_field(self, s: State, fields: State, sweeps: int, clamped: Collection[str], held: Held = NOTHING) -> None:
        """There is none: a child's normaliser has no mean in closed form."""
        raise Error(
            f"mean field is of undirected models, and {self.artifact.name} has directed edges: use its recognition "
            "(infer), or Gibbs sampling"
        )

    def fill_missing(self, s: State, held: Held) -> None:
        """Missing entries at the means of units without parents: where the pass up begins."""
        for name, mask in held.items():
            machine = self.factor(name)
            field = np.zeros_like(s[name])
            machine.mean(name, field, s[name], s={name: s[name]}, held=mask)

    @staticmethod
    def _of(machine: Machine, s: State) -> State:
        return {n: s[n] for n in machine.layers}

    def draw_up(
        self, s: State, fields: State, seed: int, words: Words, clamped: Collection[str], held: Held = NOTHING
    ) -> None:
        """States of all that is latent but entries of children, in place: by the pass up, then the core given these.

        Where entries of the core are missing, such as labels, it is drawn by Gibbs sweeps.
        """
        known = {n for n in self.layers if n in clamped or n in self.given}
        self.pass_up(s, seed, words, known | set(held))
        here = {n: mask for n, mask in held.items() if n in self.core.layers}
        seen = [n for n in self.core.layers if n in known or n in self.recognition]
        if len(seen) < len(self.core.layers):
            core, room = self._of(self.core, s), self._of(self.core, fields)
            self.core.bottom_up(core, room, seen, seed, (*words, "core"), here)
            if here:
                self.core.gibbs(core, room, SWEEPS, seed, (*words, "core"), seen, held=here)

    # --- sampling -----------------------------------------------------------------------------------------

    def gibbs(
        self,
        s: State,
        fields: State,
        sweeps: int,
        seed: int,
        words: Words,
        clamped: Collection[str] = (),
        order: Blocks | None = None,
        held: Held = NOTHING,
    ) -> tuple[str, ...]:
        """Sweeps over what is not clamped, in place.

        Where no child is clamped, sweeps of the core and one pass down. Else every layer is drawn given all others, the
        units of parents one by one, since children make them depend on each other (`explaining`).
        """
        del order
        fixed = {*clamped, *self.given}
        if not any(n in fixed or n in held for n in self.children):
            core = (self._of(self.core, s), self._of(self.core, fields))
            inner = [n for n in fixed if n in self.core.layers]
            here = {n: m for n, m in held.items() if n in self.core.layers}
            self.core.gibbs(*core, sweeps, seed, words, inner, held=here)
            self.pass_down(s, seed, (*words, sweeps), fixed)
            return ()
        for sweep in range(sweeps):
            for name in reversed(self.layers):
                if name not in fixed:
                    self._draw_one(name, s, fields, seed, (*words, sweep, name), held.get(name))
        return ()

    def _draw_one(
        self, name: str, s: State, fields: State, seed: int, words: Words, held: NDArray[np.bool_] | None
    ) -> None:
        """One layer given all others."""
        machine = self.factor(name)
        field = fields[name]
        field[:] = machine.coupling(
            name, {n: s[n] for n in machine.layers if n != name or name in machine.lateral}, len(field)
        )
        key = stream_key(seed, *words)
        if self.below(name):
            draw_parents(self, name, field, s, key, held)
        else:
            machine.sample(name, field, key, s[name], s=s, held=held)

    # --- energies -----------------------------------------------------------------------------------------

    def log_conditional(self, machine: Machine, name: str, s: Mapping[str, Array]) -> Doubles:
        """Log p(layer | given layers) of a part, (cases,): own s - base(s) + s field - A(own + field)."""
        here = {n: s[n] for n in machine.layers}
        cases = len(s[name])
        out: Doubles = machine.score(here, cases) + machine.constant(name)
        normaliser = np.zeros(cases)
        given = {n: x for n, x in here.items() if n != name}
        machine.add_log_partition(name, machine.coupling(name, given, cases), here, normaliser)
        return out - normaliser

    def log_children(self, s: Mapping[str, Array]) -> Doubles:
        """The sum over children of log p(child | parents), (cases,)."""
        return np.asarray(sum(self.log_conditional(machine, n, s) for n, machine in self.children.items()))

    def log_recognition(self, s: Mapping[str, Array], clamped: Collection[str] = ()) -> Doubles:
        """The sum over layers with recognition edges of log q(layer | sources), (cases,)."""
        cases = len(next(iter(s.values())))
        parts = (self.log_conditional(m, n, s) for n, m in self.recognition.items() if n not in clamped)
        return np.asarray(sum(parts, np.zeros(cases)))

    def free_energy(self, s: Mapping[str, Array]) -> Doubles:
        """Minus the log-joint of a state of all layers, up to the core's log Z, (cases,); see `Machine.free_energy`."""
        absent = [n for n in self.layers if n not in s]
        inner = [n for n in absent if n in self.core.layers and not self.below(n)]
        if len(inner) < len(absent) or not self.core.independent(inner):
            name = next((n for n in absent if n not in inner), absent[0] if absent else "")
            raise Error(
                f"the sum over {name} does not close, as directed edges join it to other layers; give its state, or "
                "use the variational bound"
            )
        core = {n: s[n] for n in self.core.layers if n in s}
        return self.core.free_energy(core) - self.log_children(s)
