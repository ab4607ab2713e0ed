"""How much memory training takes: predicted from a compiled model, and what the process has had.

Training holds parameters, what the optimiser remembers of them, chains and a few batches, however many cases there are:
a `.npy` file is mapped and read a batch at a time, a sparse matrix kept sparse, other files kept as they are stored.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping

import numpy as np

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.compiler.model import PhaseSpec
from pgmdsl.runtime.data import Splits
from pgmdsl.runtime.monitor import WATCHED
from pgmdsl.runtime.optimise import KEPT
from pgmdsl.runtime.recipe import recipe_of
from pgmdsl.runtime.sparse import ENTRIES, SparseRows

NETWORKS = ("classify", "autoencode")


def predicted_bytes(artifact: Artifact) -> dict[str, dict[str, int]]:
    """By phase, numbered where one kind comes twice, the bytes of the arrays of training, by what they are for.

    Greedy stages train one after another: what is said of a greedy phase is of all its layers together, and is never
    passed. Networks are trained by PyTorch, of whose memory nothing is said here.
    """
    out: dict[str, dict[str, int]] = {}
    for phase in artifact.phases:
        if phase.kind not in NETWORKS:
            name = phase.kind if phase.kind not in out else f"{phase.kind} {len(out) + 1}"
            out[name] = _of_phase(artifact, phase)
    return out


def _of_phase(artifact: Artifact, phase: PhaseSpec) -> dict[str, int]:
    recipe, number = recipe_of(phase, artifact.sizes), np.dtype(artifact.dtype).itemsize
    of_parameters = number * sum(math.prod(p.shape) for p in artifact.parameters.values())
    of_weights = number * sum(math.prod(p.shape) for p in artifact.parameters.values() if p.kind == "weight")
    of_case = number * sum(layer.size for layer in artifact.layers.values())
    negative = recipe.negative
    moving = negative.states(recipe.batch)
    remembered = len(KEPT[recipe.ascent.kind]) * of_parameters
    averages = of_parameters if recipe.average else 0
    replicas = moving * (negative.temperatures if negative.kind == "tempering" else 1)
    kept = of_parameters + remembered + averages + replicas * of_case
    return {
        "parameters": of_parameters,
        "gradient": of_weights,
        "optimiser": remembered,
        "averages": averages,
        "batch": 3 * recipe.batch * of_case,  # states, fields, and means or levels
        "chains": (replicas + 2 * moving) * of_case,
        # One after another: all data read once, in float64; figures of some cases; a checkpoint in the making.
        "reading, watching, saving": max(5 * 8 * ENTRIES, 3 * WATCHED * of_case + averages, 2 * (kept + of_parameters)),
    }


def stored_bytes(splits: Splits) -> int:
    """The bytes of the values that are held in memory: not those of mapped files."""
    held: dict[int, int] = {}
    for data in (splits.train, splits.valid, splits.test):
        for column in data.columns.values() if data else ():
            values = column.values
            arrays = (values.data, values.indices, values.indptr) if isinstance(values, SparseRows) else (values,)
            held |= {id(array): array.nbytes for array in arrays if not _is_mapped(array)}
    return sum(held.values())


def _is_mapped(values: object) -> bool:
    while isinstance(values, np.ndarray):
        if isinstance(values, np.memmap):
            return True
        values = values.base
    return False


def peak_bytes() -> int | None:
    """The most memory that this process has had, in bytes; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def in_words(parts: Mapping[str, int]) -> str:
    """Such as "12.3 MB: parameters 1.6, batch 10.7": the total, then what is not nothing."""
    total = sum(parts.values())
    return f"{megabytes(total)} MB: " + ", ".join(f"{name} {megabytes(size)}" for name, size in parts.items() if size)


def megabytes(size: int) -> str:
    """A number of bytes in millions of bytes, two digits or more."""
    return f"{size / 1e6:.{2 if size < 995e3 else 1 if size < 99.5e6 else 0}f}"
