"""Compiled models: their formulas, and functions of parameters and states.

States are dicts by layer of arrays (cases, *dims); parameters dicts by name of arrays of the declared shapes.
Softmax states are one-hot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.arrays import Arrays
from pgmdsl.compiler.driver import Compiled
from pgmdsl.compiler.model import joined
from pgmdsl.formula import ConditionalFormulas, Formula, formulas_by_layer
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.known import latent_lengths, require_given
from pgmdsl.runtime.random import stream_key

if TYPE_CHECKING:
    from pgmdsl.compiler.artifact import Artifact
    from pgmdsl.compiler.derivation import Derivation
    from pgmdsl.compiler.primitives_costs import Costs
    from pgmdsl.compiler.prove import Verdict
    from pgmdsl.runtime.machine import Machine

Array = NDArray[Any]
Parameters = Mapping[str, Array]
State = Mapping[str, Array]
Lengths = Mapping[str, Any]


def at_least(least: int, **numbers: int) -> None:
    """Raise Error for a number that is too small."""
    for name, number in numbers.items():
        if number < least:
            raise Error(f"{name} is {number}: give {least} or more")


class Model:
    """A compiled model: its formulas, and functions of parameters and states.

    Attributes:
        name: The model's name.
        sizes: Its sizes by name.
        layers: Its layers' names, in file order.
    """

    def __init__(self, compiled: Compiled, base: Path, costs: Costs | None = None) -> None:
        """Wrap a compilation; `base` is the folder that paths in the file are relative to.

        `costs` decide which products tables make; without them they are this machine's.
        """
        self._compiled, self.base, self.costs = compiled, base, costs

    # --- formulas -----------------------------------------------------------------------------------------

    @property
    def artifact(self) -> Artifact:
        """What the runtime works on: layers, parameters, blocks and the kernels' text."""
        return self._compiled.artifact

    @property
    def derivation(self) -> Derivation:
        """All derived formulas, as expressions of the language."""
        return self._compiled.derivation

    @property
    def name(self) -> str:
        """The model's name."""
        return self.artifact.name

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes of the model line, by name."""
        return dict(self.artifact.sizes)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers' names, in file order."""
        return tuple(self.artifact.layers)

    @property
    def energy(self) -> Formula:
        """The energy of a joint state, for symbolic sizes: minus its log-joint, up to log Z."""
        return Formula(self.derivation.energy.right, self._compiled.model)

    @property
    def conditionals(self) -> dict[str, ConditionalFormulas]:
        """Each layer's conditional, per unit: given its parents, or where it has none the others that have none."""
        return formulas_by_layer(self.derivation.conditionals, self._compiled.model)

    @property
    def recognition(self) -> dict[str, ConditionalFormulas]:
        """q(layer | below) of each layer with recognition edges, per unit, in the order of drawing them."""
        return formulas_by_layer(self.derivation.recognition, self._compiled.model)

    def checks(self) -> tuple[Verdict, ...]:
        """Every check of the file, decided: proved, refuted (with numbers and differing terms), or agrees."""
        from pgmdsl.compiler.prove import verify_checks

        return verify_checks(self._compiled.model, self.derivation)

    @property
    def kernels_source(self) -> str:
        """The generated Python file, or the files of the parts of a model with directed edges, one after another."""
        return "\n\n".join(self.artifact.kernel_files.values())

    def __repr__(self) -> str:
        """The layers and edges in a line each."""
        layers = ", ".join(
            f"{n}: {layer.unit}[{', '.join(map(str, layer.dims))}]" for n, layer in self.artifact.layers.items()
        )
        edges = ", ".join(f"{joined(e)} : {e.weight}" for e in self.artifact.all_edges)
        return f"<pgmdsl model {self.name}: {layers}; {edges}>"

    def _repr_svg_(self) -> str:
        from pgmdsl.compiler.picture import model_svg

        return model_svg(self._compiled.model)

    # --- numbers ------------------------------------------------------------------------------------------

    @cached_property
    def _arrays(self) -> Arrays:
        from pgmdsl.runtime.kernels import load_kernels

        return Arrays(self.artifact, load_kernels(self.artifact, self.costs))

    def init(self, seed: int = 0, data: State | None = None) -> dict[str, Array]:
        """Parameters to start from: small random weights; biases from the data's means where data is given.

        Returns:
            By name, arrays of the declared shapes: {"W1": (784, 200), "b": (784,), ...}.
        """
        return self._arrays.initial(seed, data, self.base)

    def energy_of(self, params: Parameters, state: State) -> Array:
        """The energy of each case, (cases,) float64; `state` holds every layer."""
        arrays = self._arrays
        machine, s = arrays.machine(params), arrays.statistics(state, params, every=True)
        return machine.free_energy(s)

    def log_joint(self, params: Parameters, state: State) -> Array:
        """Log of the joint probability of each case up to log Z, (cases,): minus the energy.

        That of the undirected part, and log p(child | parents) of each child.
        """
        return -self.energy_of(params, state)

    def mean(self, layer: str, params: Parameters, state: State, lengths: Lengths | None = None) -> Array:
        """The mean of each unit given all others, (cases, *dims); of layers with directed edges, given their parents.

        Args:
            layer: The layer.
            params: The parameters.
            state: Of every other layer; and of the layer itself where it has lateral edges, or is a document whose
                length `lengths` does not have.
            lengths: Of documents, by count layer: {"words": 10}.
        """
        machine, s, field = self._field_of(layer, params, state, lengths)
        out = np.empty_like(field)
        machine.mean(layer, field, out, s=s)
        return self._arrays.state(layer, machine, out)

    def sample(
        self, layer: str, params: Parameters, state: State, seed: int = 0, lengths: Lengths | None = None
    ) -> Array:
        """One draw of a layer given all other layers, (cases, *dims); arguments as for `mean`.

        Units that share a lateral edge are drawn in turn: one sequential sweep from the layer's own state.
        """
        machine, s, field = self._field_of(layer, params, state, lengths)
        out = s[layer].copy() if layer in machine.lateral else np.empty_like(field)
        machine.sample(layer, field, stream_key(seed, "sample", layer), out, s=s)
        return self._arrays.state(layer, machine, out)

    def gibbs(
        self,
        params: Parameters,
        state: State,
        steps: int = 1,
        seed: int = 0,
        clamp: Iterable[str] = (),
        lengths: Lengths | None = None,
    ) -> dict[str, Array]:
        """The state after block Gibbs sweeps.

        Args:
            params: The parameters.
            state: Where the chains start, by layer; layers that are left out, and values that are NaN, start at random.
            steps: Sweeps.
            seed: Of all draws.
            clamp: Layers whose values stay, but for those that are NaN: these are drawn.
            lengths: Of documents that are left out, or lack counts, by count layer: a number, or one a case.
        """
        at_least(0, steps=steps, seed=seed)
        arrays = self._arrays
        clamp = arrays.known_layers(clamp)
        known = arrays.known(state, params, lengths)
        machine, s = known.machine, known.start(seed)
        held = {n: mask for n, mask in known.held.items() if n in clamp}
        machine.gibbs(
            s, machine.new_state(known.cases), steps, seed, ("gibbs",), [n for n in clamp if n not in held], held=held
        )
        return {name: arrays.state(name, machine, x) for name, x in s.items()}

    def mean_field(
        self, params: Parameters, state: State, iterations: int = 50, lengths: Lengths | None = None
    ) -> dict[str, Array]:
        """Mean-field means of the layers that `state` leaves out or of which values are NaN, (cases, *dims).

        Args:
            params: The parameters.
            state: What is observed.
            iterations: Sweeps.
            lengths: As for `gibbs`.
        """
        at_least(1, iterations=iterations)
        arrays = self._arrays
        known = arrays.known(state, params, lengths)
        machine, s = known.machine, known.empty()
        machine.mean_field(s, machine.new_state(known.cases), iterations, known.clamped, held=known.held)
        return {name: arrays.state(name, machine, s[name]) for name in known.latent}

    def free_energy(self, params: Parameters, state: State, lengths: Lengths | None = None) -> Array:
        """-log of the sum over the layers that `state` leaves out of exp(-energy), (cases,) float64.

        Args:
            params: The parameters.
            state: Of the other layers.
            lengths: Of documents that are summed out, by count layer: a number.

        Raises:
            Error: Two units that are left out share an edge, so that the sum does not close.
        """
        arrays = self._arrays
        observed = arrays.statistics(state, params)
        machine = self._with_lengths(params, lengths)
        require_given(machine, observed)
        free = [n for n in self.layers if n not in observed]
        if not self.artifact.directed and not machine.independent(free):
            edge = next(e for e in machine.edges if sum(n in free for n in e.layers) > 1)
            pair = list(dict.fromkeys(n for n in edge.layers if n in free))
            these = f"{pair[0]} and {pair[1]} share an edge" if len(pair) > 1 else f"units of {pair[0]} share edges"
            one = "one of them" if len(pair) > 1 else pair[0]
            raise Error(
                f"the free energy of {', '.join(observed)} does not close: {these}, so that the sum over them needs "
                f"enumeration; give the state of {one}, or use the variational bound"
            )
        return machine.free_energy(observed)

    def gradient(self, params: Parameters, positive: State, negative: State) -> dict[str, Array]:
        """The log-likelihood's gradient from states of both phases: E_positive[-dE/dtheta] - E_negative[-dE/dtheta].

        Of a layer with parents the second term is the mean over its conditional given these in the positive states (the
        delta rule), and `negative` is not looked at.

        Args:
            params: The parameters.
            positive: States of every layer, data-dependent; means are as good as samples.
            negative: States of every layer, from the model.

        Returns:
            By name, arrays of the declared shapes, for every parameter of the model that is not fixed; recognition's
            are not the likelihood's.
        """
        return self._arrays.gradient(params, positive, negative)

    def _field_of(
        self, layer: str, params: Parameters, state: State, lengths: Lengths | None
    ) -> tuple[Machine, dict[str, Array], Array]:
        """The machine, the state's statistics, and the layer's coupling field."""
        arrays = self._arrays
        (layer,) = arrays.known_layers([layer])
        machine = self._with_lengths(params, lengths)
        if layer in machine.given:
            raise Error(
                f"{layer} is given: everything else is conditional on it, and it has no distribution of its own"
            )
        if layer in machine.lateral and layer not in state:
            raise Error(f"{layer} has lateral edges, and each unit is given all others: give the state of {layer} too")
        s = arrays.statistics(state, params, every=True, but=layer)
        senders = {n: x for n, x in s.items() if n != layer or layer in machine.lateral}
        return machine, s, machine.coupling(layer, senders, arrays.cases(s))

    def _with_lengths(self, params: Parameters, lengths: Lengths | None) -> Machine:
        """The machine whose documents, where a state does not hold them, have these lengths."""
        machine = self._arrays.machine(params)
        if not lengths:
            return machine
        stated = latent_lengths(machine, [n for n in self.layers if n not in lengths], lengths)
        for name, values in stated.items():
            if len(values) > 1:
                raise Error(f"{len(values)} lengths are given for {name}, and here one is needed")
        return machine.with_lengths({n: float(x[0]) for n, x in stated.items()})
