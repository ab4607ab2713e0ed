"""Runs made, opened and gone on with; models compiled for data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from pgmdsl.compiler.driver import checked_model, compile_source, infer_sizes
from pgmdsl.grammar.read import read_source
from pgmdsl.model import Model
from pgmdsl.run import Run
from pgmdsl.runtime.data import peek_shape
from pgmdsl.runtime.parameters import load_networks, load_parameters
from pgmdsl.runtime.rundir import read_info, read_model
from pgmdsl.runtime.train import TrainedRun
from pgmdsl.runtime.train import resume as resume_training
from pgmdsl.runtime.train import train as train_artifact

Array = NDArray[Any]
DType = Literal["float32", "float64"]
Callback = Callable[[dict[str, Any]], object]


def compile_for_data(
    file: Path, sizes: Mapping[str, int], data: Mapping[str, str], dtype: DType = "float32", *, tables: bool = True
) -> Model:
    """Compile a model file, taking sizes that have no value from the shapes of the data.

    Args:
        file: The model file.
        sizes: Sizes given by the user.
        data: By layer, a path in place of that of its data block.
        dtype: The kernels' precision.
        tables: Whether products of states may be made by tables.
    """
    source = read_source(file)
    base = file.resolve().parent
    model, _ = checked_model(source, sizes)
    found = dict(sizes)
    if any(value is None for value in model.sizes.values()):
        shapes = {spec.layer: peek_shape(spec, base) for spec in model.data if spec.file and spec.layer in model.layers}
        found |= infer_sizes(model, shapes)
    return Model(compile_source(source, found, dtype, tables=tables), base)


def start_run(
    model: Model,
    data: Mapping[str, Any] | None,
    valid: Any,
    test: Any,
    weights: Any,
    init: Run | Mapping[str, Array] | None,
    freeze: tuple[str, ...],
    out: str | Path | None,
    seed: int,
    callback: Callback | None,
    threads: int,
) -> Run:
    """Train into a new run directory; see `pgmdsl.train`."""
    trained = train_artifact(
        model.artifact,
        data,
        valid=valid,
        test=test,
        weights=weights,
        init=init.parameters if isinstance(init, Run) else init,
        freeze=freeze,
        out=None if out is None else Path(out),
        seed=seed,
        callback=callback,
        base=model.base,
        threads=threads,
    )
    return _opened(trained, model)


def load_run(directory: Path) -> Run:
    """A run from its directory, finished or not. Raises Error where there is none, or it is damaged."""
    model = _model_of(directory)
    path = directory / "parameters.safetensors"
    parameters = load_parameters(path, model.artifact)
    return Run(directory, model, parameters, read_info(directory).seed, None, load_networks(path))


def resume_run(
    directory: Path,
    data: Mapping[str, Any] | None = None,
    valid: Any = None,
    test: Any = None,
    weights: Any = None,
    callback: Callback | None = None,
    threads: int = 1,
) -> Run:
    """Go on with a run; see `pgmdsl.resume`."""
    model = _model_of(directory)
    trained = resume_training(
        directory, model.artifact, data, valid=valid, test=test, weights=weights, callback=callback, threads=threads
    )
    return _opened(trained, model)


def _opened(trained: TrainedRun, model: Model) -> Run:
    info = read_info(trained.directory)
    return Run(trained.directory, model, trained.parameters, info.seed, trained.splits, trained.networks)


def _model_of(directory: Path) -> Model:
    """The model of a run, compiled again from its source: what the directory holds is never executed."""
    info = read_info(directory)
    dtype: DType = "float64" if info.dtype == "float64" else "float32"
    return Model(compile_source(read_model(directory, info), info.sizes, dtype), Path(info.base), dict(info.costs))
