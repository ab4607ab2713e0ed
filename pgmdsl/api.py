"""The Python API: models compiled from text, their formulas, and their numbers.

States are dicts by layer of arrays (cases, *dims); parameters dicts by name of arrays of the declared shapes.
Softmax states are one-hot. Every user error is a `pgmdsl.Error`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pgmdsl.arrays import Arrays
from pgmdsl.compiler.driver import Compiled, compile_source
from pgmdsl.formula import ConditionalFormulas, Formula, all_conditionals
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.read import read_source, source_of_text
from pgmdsl.runtime.random import stream_key

if TYPE_CHECKING:
    from pgmdsl.compiler.artifact import Artifact
    from pgmdsl.compiler.derivation import Derivation
    from pgmdsl.compiler.prove import Verdict
    from pgmdsl.run import Run
    from pgmdsl.runtime.estimators.result import LogPartition

Array = NDArray[Any]
Parameters = Mapping[str, Array]
State = Mapping[str, Array]
DType = Literal["float32", "float64"]


def compile(path: str | Path, *, dtype: DType = "float32", **sizes: int) -> Model:
    """Compile a model file.

    Args:
        path: The `.ebm` file.
        dtype: The kernels' precision.
        **sizes: Sizes of the model line, by name.

    Raises:
        ModelError: The file has mistakes; the message shows every one of them with its place.
    """
    path = Path(path)
    _verify_dtype(dtype)
    return Model(compile_source(read_source(path), sizes, dtype), path.resolve().parent)


def compile_text(source: str, *, dtype: DType = "float32", **sizes: int) -> Model:
    """Compile a model from a string; paths in its data blocks are relative to the current folder."""
    _verify_dtype(dtype)
    return Model(compile_source(source_of_text(source), sizes, dtype), Path.cwd())


def _verify_dtype(dtype: str) -> None:
    if dtype not in get_args(DType):
        raise Error(f"there are no kernels for dtype {dtype!r}: use {' or '.join(get_args(DType))}")


def _at_least(least: int, **numbers: int) -> None:
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

    def __init__(self, compiled: Compiled, base: Path) -> None:
        """Wrap a compilation; `base` is the folder that paths in the file are relative to."""
        self._compiled, self.base = compiled, base

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
        """The energy of a joint state, for symbolic sizes."""
        return Formula(self.derivation.energy.right, self._compiled.model)

    @property
    def conditionals(self) -> dict[str, ConditionalFormulas]:
        """Each layer's conditional given all other layers, per unit."""
        return all_conditionals(self.derivation, self._compiled.model)

    def checks(self) -> tuple[Verdict, ...]:
        """Every check of the file, decided: proved, refuted (with numbers and differing terms), or agrees."""
        from pgmdsl.compiler.prove import verify_checks

        return verify_checks(self._compiled.model, self.derivation)

    @property
    def kernels_source(self) -> str:
        """The generated Python file."""
        return self.artifact.kernels

    def __repr__(self) -> str:
        """The layers and edges in a line each."""
        layers = ", ".join(
            f"{n}: {layer.unit}[{', '.join(map(str, layer.dims))}]" for n, layer in self.artifact.layers.items()
        )
        edges = ", ".join(f"{' -- '.join(e.layers)} : {e.weight}" for e in self.artifact.edges)
        return f"<pgmdsl model {self.name}: {layers}; {edges}>"

    def _repr_svg_(self) -> str:
        from pgmdsl.compiler.picture import model_svg

        return model_svg(self._compiled.model)

    # --- numbers ------------------------------------------------------------------------------------------

    @cached_property
    def _arrays(self) -> Arrays:
        from pgmdsl.runtime.kernels import load_kernels

        return Arrays(self.artifact, load_kernels(self.artifact))

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
        """Log of the unnormalised joint probability of each case, (cases,): minus the energy."""
        return -self.energy_of(params, state)

    def mean(self, layer: str, params: Parameters, state: State) -> Array:
        """E[layer | all other layers] of each case, (cases, *dims); `state` may hold the layer itself, unused."""
        arrays = self._arrays
        machine, field = self._field_of(layer, params, state)
        out = np.empty_like(field)
        machine.mean(layer, field, out)
        return arrays.state(layer, machine, out)

    def sample(self, layer: str, params: Parameters, state: State, seed: int = 0) -> Array:
        """One draw of a layer from its conditional given all other layers, (cases, *dims)."""
        arrays = self._arrays
        machine, field = self._field_of(layer, params, state)
        out = np.empty_like(field)
        machine.sample(layer, field, stream_key(seed, "sample", layer), out)
        return arrays.state(layer, machine, out)

    def gibbs(
        self, params: Parameters, state: State, steps: int = 1, seed: int = 0, clamp: Iterable[str] = ()
    ) -> dict[str, Array]:
        """The state after block Gibbs sweeps; layers in `clamp` keep their values, absent ones start at random."""
        _at_least(0, steps=steps, seed=seed)
        arrays = self._arrays
        machine = arrays.machine(params)
        clamp = arrays.known_layers(clamp)
        s = arrays.completed(machine, state, params, seed)
        fields = machine.new_state(arrays.cases(s))
        machine.gibbs(s, fields, steps, seed, ("gibbs",), clamp)
        return {name: arrays.state(name, machine, x) for name, x in s.items()}

    def mean_field(self, params: Parameters, state: State, iterations: int = 50) -> dict[str, Array]:
        """Mean-field means of the layers that `state` leaves out, (cases, *dims), after so many sweeps."""
        _at_least(1, iterations=iterations)
        arrays = self._arrays
        machine = arrays.machine(params)
        observed = arrays.statistics(state, params)
        count = arrays.cases(observed)
        free = [n for n in self.layers if n not in observed]
        s = {**observed, **machine.new_state(count, free)}
        machine.mean_field(s, machine.new_state(count, free), iterations, observed)
        return {name: arrays.state(name, machine, s[name]) for name in free}

    def free_energy(self, params: Parameters, state: State) -> Array:
        """-log of the sum over the layers that `state` leaves out of exp(-energy), (cases,) float64.

        Raises:
            Error: Two layers that are left out share an edge, so that the sum does not close.
        """
        arrays = self._arrays
        machine = arrays.machine(params)
        observed = arrays.statistics(state, params)
        free = [n for n in self.layers if n not in observed]
        if not machine.independent(free):
            pair = next(e.layers for e in machine.edges if set(e.layers) <= set(free))
            raise Error(
                f"the free energy of {', '.join(observed)} does not close: {pair[0]} and {pair[1]} share an edge, so "
                "that the sum over both needs enumeration; give the state of one of them, or use the variational bound"
            )
        return machine.free_energy(observed)

    def gradient(self, params: Parameters, positive: State, negative: State) -> dict[str, Array]:
        """The log-likelihood's gradient from states of both phases: E_positive[-dE/dtheta] - E_negative[-dE/dtheta].

        Args:
            params: The parameters.
            positive: States of every layer, data-dependent; means are as good as samples.
            negative: States of every layer, from the model.

        Returns:
            By name, arrays of the declared shapes, for every parameter that is not fixed.
        """
        return self._arrays.gradient(params, positive, negative)

    def _field_of(self, layer: str, params: Parameters, state: State) -> tuple[Any, Array]:
        arrays = self._arrays
        (layer,) = arrays.known_layers([layer])
        machine = arrays.machine(params)
        others = arrays.statistics({n: x for n, x in state.items() if n != layer}, params, every=True, but=layer)
        return machine, machine.coupling(layer, others, arrays.cases(others))


def log_partition(
    model: Model,
    params: Parameters,
    method: Literal["auto", "exact", "ais", "reverse_ais"] = "exact",
    *,
    chains: int = 100,
    temperatures: int = 10_000,
    seed: int = 0,
    data: State | None = None,
) -> LogPartition:
    """Log Z of a model.

    Args:
        model: The model.
        params: Its parameters.
        method: "exact" enumerates the cheapest set of layers; "ais" is annealed importance sampling, "reverse_ais" the
            same from the model to the base; "auto" enumerates where that takes seconds and anneals otherwise.
        chains: Of annealed importance sampling.
        temperatures: Of annealed importance sampling.
        seed: Of annealed importance sampling.
        data: States whose means set the base distribution of annealed importance sampling; helps for visible layers.

    Returns:
        value, standard_error, lower, upper (95% limits; equal numbers when exact).

    Raises:
        Error: An exact sum that would take too long; the message says how long.
    """
    from pgmdsl.runtime.evaluation import estimate_log_partition

    arrays = model._arrays
    machine = arrays.machine(params)
    means = None
    if data is not None:
        means = {n: x.mean(axis=0) for n, x in arrays.statistics(data, params).items()}
    return estimate_log_partition(machine, method, means, chains=chains, temperatures=temperatures, seed=seed)


def train(
    model: Model,
    data: Mapping[str, Any] | None = None,
    *,
    valid: Any = None,
    test: Any = None,
    weights: Any = None,
    init: Run | Parameters | None = None,
    freeze: Iterable[str] = (),
    out: str | Path | None = None,
    seed: int = 0,
    callback: Callable[[dict[str, Any]], object] | None = None,
) -> Run:
    """Train as the model file's train block says.

    Args:
        model: The model; it must have a train block.
        data: By visible layer an array (cases, *dims) or a path; what is left out comes from the data blocks.
        valid: Held out and watched: a share of the rows, or by layer as `data`.
        test: Held out for the figures: the same.
        weights: Case weights (cases,).
        init: A run, or parameters, to start from.
        freeze: Parameters that keep their start.
        out: The run's directory, which must not exist; by default a new one under `runs/`.
        seed: Of every random draw. The result is a function of model file, data and seed.
        callback: Called with each epoch's metrics.

    Raises:
        Error: Data that does not fit, a directory that exists, parameters that do not fit.
    """
    from pgmdsl.run import start_run

    if data is not None and not isinstance(data, Mapping):
        raise Error("data is given by layer: pgmdsl.train(model, {'v': array})")
    _at_least(0, seed=seed)
    return start_run(model, data, valid, test, weights, init, tuple(freeze), out, seed, callback)


def load(directory: str | Path) -> Run:
    """A finished or interrupted run, from its directory; also a start for another (`init=run`)."""
    from pgmdsl.run import load_run

    return load_run(Path(directory))


def resume(
    directory: str | Path,
    data: Mapping[str, Any] | None = None,
    *,
    valid: Any = None,
    test: Any = None,
    weights: Any = None,
    callback: Callable[[dict[str, Any]], object] | None = None,
) -> Run:
    """Go on with an interrupted run; the end is bit for bit that of the uninterrupted one.

    Args:
        directory: The run.
        data: The arrays, by layer, that `train` was given in memory; files are found again without it.
        valid: See `data`.
        test: See `data`.
        weights: See `data`.
        callback: As for `train`.

    Raises:
        Error: No whole checkpoint, one of another model, arrays that are not given again, or data that has changed.
    """
    from pgmdsl.run import resume_run

    return resume_run(Path(directory), data, valid, test, weights, callback)
