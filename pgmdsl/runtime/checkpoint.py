"""Checkpoints: all that the next step depends on, replaced as a whole.

`chains.safetensors` alone is what a run goes on from: parameters, momenta, averages, chains, and in its metadata the
run's state. Replacing one file is atomic, so a crash at any moment leaves a whole checkpoint. `parameters.safetensors`
(what the model is used with: averaged where the phase averages) and `state.json` are written after it, for readers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.parameters import parameter_metadata
from pgmdsl.runtime.rundir import RunInfo, parse_info
from pgmdsl.runtime.tensors import pack_tensors, read_tensors, write_all

Array = NDArray[Any]
_FILE = "chains.safetensors"


def save_checkpoint(
    directory: Path, artifact: Artifact, info: RunInfo, arrays: Mapping[str, Array], parameters: Mapping[str, Array]
) -> None:
    """Replace the checkpoint of a run.

    Args:
        directory: the run.
        artifact: its model.
        info: its state.
        arrays: all that the next step depends on.
        parameters: what the model is to be used with.

    Raises:
        Error: the disk is full or unwritable; the last checkpoint is intact.
    """
    metadata = {"format": "pgmdsl checkpoint", "state": info.as_json()}
    write_all(
        directory,
        {
            _FILE: pack_tensors(arrays, metadata),
            "parameters.safetensors": pack_tensors(parameters, parameter_metadata(artifact)),
            "state.json": info.as_json().encode(),
        },
        resumable=(directory / _FILE).exists(),
    )


def load_checkpoint(directory: Path, artifact: Artifact) -> tuple[RunInfo, dict[str, Array]]:
    """The state and arrays of a run.

    Raises:
        Error: there is no checkpoint, it is cut short, or it is of another model.
    """
    path = directory / _FILE
    if not path.exists():
        raise Error(f"{directory}: there is no checkpoint to go on from ({_FILE} is missing); train again")
    arrays, metadata = read_tensors(path, "a checkpoint")
    if metadata.get("format") != "pgmdsl checkpoint" or "state" not in metadata:
        raise Error(f"{path}: this is no checkpoint of pgmdsl; name a run directory that pgmc train has made")
    info = parse_info(metadata["state"], str(path))
    if info.hash != artifact.hash:
        raise Error(
            f"{path}: this checkpoint is of another model: of {info.model} compiled with hash {info.hash[:12]}, not of "
            f"{artifact.name} with hash {artifact.hash[:12]}. Its model.ebm has been changed, or another version of "
            f"pgmdsl compiles it; restore it, or start a new run from this one's parameters: --init {directory}"
        )
    return info, arrays


def split_arrays(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    """The arrays whose names begin with `prefix/`, without it."""
    return {
        n.removeprefix(f"{prefix}/"): np.ascontiguousarray(a) for n, a in arrays.items() if n.startswith(f"{prefix}/")
    }
