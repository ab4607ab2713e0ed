"""Training a compiled model: phases in order, checkpoints on the way, and going on from one.

The result is a function of the model file, the data and the seed: every random draw has a key made of the seed, the
phase, the step and a purpose, and BLAS runs on one thread, so that its sums have one order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.compiler.model import DataSpec
from pgmdsl.grammar.diagnostics import Error, suggest
from pgmdsl.runtime.checkpoint import load_checkpoint, split_arrays
from pgmdsl.runtime.data import Given, Splits, open_data
from pgmdsl.runtime.examples import verify_networks
from pgmdsl.runtime.kernels import load_kernels
from pgmdsl.runtime.masks import prepared
from pgmdsl.runtime.metrics import restore_metrics
from pgmdsl.runtime.parameters import initial_parameters, overlay_parameters
from pgmdsl.runtime.readers import split_file
from pgmdsl.runtime.rundir import RunInfo, discard_run, hash_source, new_run_directory, write_model
from pgmdsl.runtime.scales import data_warnings
from pgmdsl.runtime.session import Callback, Interrupted, Session, TrainedRun

__all__ = ["Interrupted", "TrainedRun", "resume", "train"]

Share = Mapping[str, Given] | float | str | Path | None


def train(
    artifact: Artifact,
    data: Mapping[str, Given] | None = None,
    *,
    valid: Share = None,
    test: Share = None,
    weights: Given | None = None,
    init: Mapping[str, Any] | None = None,
    freeze: Collection[str] = (),
    out: Path | None = None,
    seed: int = 0,
    callback: Callback | None = None,
    base: Path = Path(),
    display: bool = True,
    threads: int = 1,
) -> TrainedRun:
    """Train a model as its `train` block says, into a new run directory.

    Args:
        artifact: the compiled model.
        data: by layer, in place of the data blocks' files; see `open_data`.
        valid: validation cases in place of the blocks' `valid`.
        test: cases to hold out, in place of the blocks' `test`; they are not looked at here.
        weights: case weights (cases,).
        init: parameters to start from, by name; the others start as the file says.
        freeze: parameters that no phase changes.
        out: the directory to make, or None for `runs/<model>`, numbered.
        seed: of all random numbers.
        callback: called with the metrics of each watched epoch; what it returns is ignored.
        base: the folder to which the model file's paths are relative.
        display: whether progress is shown on stderr.
        threads: what steps run on; the result does not depend on it.

    Raises:
        Error: a mistake in data, settings or parameters; a full disk; training that diverged.
        Interrupted: Ctrl-C was pressed; the run can be resumed.
    """
    _verify_phases(artifact, freeze)
    splits = open_data(artifact, data, valid=valid, test=test, weights=weights, base=base)
    verify_networks(artifact, splits)
    kernels = load_kernels(artifact)
    masks, _ = prepared(artifact, base)
    parameters = initial_parameters(artifact, kernels, seed, data=splits.train, base=base, masks=masks)
    if init is not None:
        overlay_parameters(parameters, init, artifact, "the parameters to start from", masks)
    info = RunInfo(
        model=artifact.name,
        source_name=artifact.source_name,
        hash=artifact.hash,
        sizes=dict(artifact.sizes),
        dtype=artifact.dtype,
        seed=seed,
        versions=_versions(artifact),
        base=str(base.absolute()),
        data={k: _described(v) for k, v in (("data", data), ("valid", valid), ("test", test), ("weights", weights))},
        digest=dict(splits.digest),
        freeze=tuple(freeze),
        warm=init is not None,
        source_hash=hash_source(artifact.source),
        costs=kernels.costs,
    )
    directory = new_run_directory(artifact, out)
    session = Session(artifact, kernels, splits, directory, info, parameters, callback, display, threads)
    try:
        write_model(directory, artifact)
        session.save(None)
    except Error:
        discard_run(directory)
        raise
    for warning in data_warnings(artifact, splits.train):
        session.display.note(warning)
    return session.run()


def resume(
    directory: Path,
    artifact: Artifact,
    data: Mapping[str, Given] | None = None,
    *,
    valid: Share = None,
    test: Share = None,
    weights: Given | None = None,
    callback: Callback | None = None,
    display: bool = True,
    threads: int = 1,
) -> TrainedRun:
    """Go on with an interrupted run; its end is bit for bit that of the run that was not interrupted.

    Args:
        directory: the run.
        artifact: its model.ebm compiled again, with the sizes and dtype of its state.json.
        data: arrays that were handed over in memory must be given again; so too `valid`, `test` and `weights`.
        valid: see `data`.
        test: see `data`.
        weights: see `data`.
        callback: as for `train`.
        display: as for `train`.
        threads: as for `train`, and may differ from what it was.

    Raises:
        Error: no whole checkpoint, one of another model, data that has changed, or damaged metrics.
        Interrupted: Ctrl-C was pressed again.
    """
    info, arrays = load_checkpoint(directory, artifact)
    _verify_phases(artifact, info.freeze)
    splits = reopen_data(directory, artifact, info, data, valid=valid, test=test, weights=weights)
    _verify_same_data(directory, info.digest, splits.digest)
    verify_networks(artifact, splits)
    metrics = restore_metrics(directory, info.metrics_bytes)
    parameters = split_arrays(arrays, "parameter")
    kernels = load_kernels(artifact, dict(info.costs))
    session = Session(artifact, kernels, splits, directory, info, parameters, callback, display, threads)
    session.restore(arrays, metrics)
    return session.run()


def reopen_data(
    directory: Path,
    artifact: Artifact,
    info: RunInfo,
    data: Mapping[str, Given] | None = None,
    *,
    valid: Share = None,
    test: Share = None,
    weights: Given | None = None,
) -> Splits:
    """The data of a run, opened as it was given to `train`; what was an array in memory is given again, as there.

    Raises:
        Error: a file is gone or unreadable, or an array is not given.
    """
    stated = {"data": data, "valid": valid, "test": test, "weights": weights}
    given = {k: _reopened(k, info.data.get(k), v, directory) for k, v in stated.items()}
    return open_data(
        artifact,
        given["data"],
        valid=given["valid"],
        test=given["test"],
        weights=given["weights"],
        base=Path(info.base),
    )


def _verify_same_data(directory: Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    changed = [place for place in (*before, *now) if before.get(place) != now.get(place)]
    if changed:
        raise Error(
            f"{directory}: {changed[0]} is not what this run was trained on; restore it, or start a new run from this "
            f"one's parameters: pgmc train FILE --init {directory}"
        )


def _versions(artifact: Artifact) -> dict[str, str]:
    import numba

    return {"pgmdsl": artifact.version, "numpy": np.__version__, "numba": numba.__version__}


def _verify_phases(artifact: Artifact, freeze: Collection[str]) -> None:
    if not artifact.phases:
        raise Error(
            f"{artifact.source_name}: the file does not say how to train; add a block, for example "
            "train { fit { epochs = 100, rate = 0.05 } }"
        )
    for name in freeze:
        if name not in artifact.parameters:
            hint = suggest(name, list(artifact.parameters)) or f"its parameters are {', '.join(artifact.parameters)}"
            raise Error(f"freeze: {artifact.name} has no parameter {name}; {hint}")


def _described(given: Any) -> Any:
    """How data was given, as JSON values: arrays become the word `array`."""
    match given:
        case None | int() | float():
            return given
        case str() | Path():
            path, key = split_file(str(given))
            return str(Path(path).expanduser().absolute()) + (f":{key}" if key else "")
        case DataSpec():
            return {k: getattr(given, k) for k in DataSpec.__dataclass_fields__}
        case Mapping():
            return {name: _described(value) for name, value in given.items()}
        case _:
            return "array"


def _reopened(what: str, described: Any, given: Any, directory: Path) -> Any:
    """Data as it was given, arrays from the caller."""
    if described == "array":
        if given is None:
            raise Error(
                f"{directory}: this run was trained on arrays in memory ({what}); give the same ones again, in Python: "
                "pgmdsl.resume(directory, data={...})"
            )
        return given
    if isinstance(described, dict) and "layer" in described and "file" in described:
        return DataSpec(**described)
    if isinstance(described, dict):
        inner = given if isinstance(given, Mapping) else {}
        return {n: _reopened(f"{what} of {n}", d, inner.get(n), directory) for n, d in described.items()}
    return described
