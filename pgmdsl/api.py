"""The Python API: models compiled from text, trained, and opened again. Every user error is a `pgmdsl.Error`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, get_args

from pgmdsl.compiler.driver import compile_source
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.read import read_source, source_of_text
from pgmdsl.model import Lengths, Model, Parameters, State, at_least

if TYPE_CHECKING:
    from pgmdsl.run import Run
    from pgmdsl.runtime.estimators.ais import AnnealingOptions
    from pgmdsl.runtime.estimators.result import LogPartition, LogPartitions

__all__ = ["Model", "compile", "compile_text", "load", "log_partition", "resume", "train"]

DType = Literal["float32", "float64"]


def compile(path: str | Path, *, dtype: DType = "float32", tables: bool = True, **sizes: int) -> Model:
    """Compile a model file.

    Args:
        path: The `.ebm` file.
        dtype: The kernels' precision.
        tables: Whether products of states may be made by tables of partial sums, where that is faster than BLAS.
        **sizes: Sizes of the model line, by name.

    Raises:
        ModelError: The file has mistakes; the message shows every one of them with its place.
    """
    path = Path(path)
    _verify_dtype(dtype)
    return Model(compile_source(read_source(path), sizes, dtype, tables=tables), path.resolve().parent)


def compile_text(source: str, *, dtype: DType = "float32", tables: bool = True, **sizes: int) -> Model:
    """Compile a model from a string; paths in its data blocks are relative to the current folder."""
    _verify_dtype(dtype)
    return Model(compile_source(source_of_text(source), sizes, dtype, tables=tables), Path.cwd())


def _verify_dtype(dtype: str) -> None:
    if dtype not in get_args(DType):
        raise Error(f"there are no kernels for dtype {dtype!r}: use {' or '.join(get_args(DType))}")


def log_partition(
    model: Model,
    params: Parameters,
    method: Literal["auto", "exact", "ais", "reverse_ais", "bridge"] = "exact",
    *,
    data: State | None = None,
    given: State | None = None,
    lengths: Lengths | None = None,
    **annealing: Unpack[AnnealingOptions],
) -> LogPartition | LogPartitions:
    """Log Z of a model.

    Args:
        model: The model.
        params: Its parameters.
        method: "exact" enumerates the cheapest set of layers. "ais" is annealed importance sampling from independent
            units to the model, on average too low; "reverse_ais" the same from the model to them, on average too high
            if its starts are exact; "bridge" is Bennett's estimate from both. "auto" enumerates where that takes
            seconds, and else anneals both ways: the value is the forward one, and `reverse` has the other.
        data: States of visible layers, whose means set the independent units, and from which chains may go back.
        given: States of the given layers, one a case.
        lengths: Of documents, by count layer: a number, or one a case.
        **annealing: How it is done. `chains` (100). `temperatures`: None fits their number and spacing so that the
            standard error is about `error` (0.1). `starts` of chains that go back: "exact" (drawn by enumeration),
            "data" or "tempering"; the first of these that can be had where None. `batch` (100): chains run together,
            which bounds the memory. `threads` (1): results do not depend on it. `seed`.

    Returns:
        value, standard_error, lower, upper (95% limits; equal numbers when exact), `bounds` in words. Where log Z
        differs between cases, `of_cases(n)` and `errors_of_cases(n)` of each of the n.

    Raises:
        Error: An exact sum that would take too long; the message says how long.
    """
    from pgmdsl.runtime.estimators.ais import Annealing, Sources
    from pgmdsl.runtime.evaluation import log_partition_of_cases
    from pgmdsl.runtime.known import latent_lengths, require_given

    arrays = model._arrays
    machine = arrays.machine(params)
    clamped = arrays.statistics(given, params) if given else {}
    require_given(machine, clamped)
    each = latent_lengths(machine, (), lengths)
    sources = Sources()
    if data is not None:
        states = arrays.statistics(data, params)
        sources = Sources({n: x.mean(axis=0) for n, x in states.items()}, states)
    return log_partition_of_cases(machine, method, sources, clamped or None, each, how=Annealing(**annealing))


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
    threads: int = 1,
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
        threads: What steps run on; the result does not depend on it.

    Raises:
        Error: Data that does not fit, a directory that exists, parameters that do not fit.
    """
    from pgmdsl.opening import start_run

    if data is not None and not isinstance(data, Mapping):
        raise Error("data is given by layer: pgmdsl.train(model, {'v': array})")
    at_least(0, seed=seed)
    at_least(1, threads=threads)
    return start_run(model, data, valid, test, weights, init, tuple(freeze), out, seed, callback, threads)


def load(directory: str | Path) -> Run:
    """A finished or interrupted run, from its directory; also a start for another (`init=run`)."""
    from pgmdsl.opening import load_run

    return load_run(Path(directory))


def resume(
    directory: str | Path,
    data: Mapping[str, Any] | None = None,
    *,
    valid: Any = None,
    test: Any = None,
    weights: Any = None,
    callback: Callable[[dict[str, Any]], object] | None = None,
    threads: int = 1,
) -> Run:
    """Go on with an interrupted run; the end is bit for bit that of the uninterrupted one.

    Args:
        directory: The run.
        data: The arrays, by layer, that `train` was given in memory; files are found again without it.
        valid: See `data`.
        test: See `data`.
        weights: See `data`.
        callback: As for `train`.
        threads: As for `train`; it may differ from what it was.

    Raises:
        Error: No whole checkpoint, one of another model, arrays that are not given again, or data that has changed.
    """
    from pgmdsl.opening import resume_run

    at_least(1, threads=threads)
    return resume_run(Path(directory), data, valid, test, weights, callback, threads)
