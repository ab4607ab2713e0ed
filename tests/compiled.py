"""Random models through the whole compiler, with Numba's compilation on or off."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numba
import numpy as np
import pytest
from numpy.typing import NDArray
from random_models import RandomModel

from pgmdsl.compiler.driver import compile_source
from pgmdsl.compiler.primitives_costs import Costs
from pgmdsl.grammar.source import Source
from pgmdsl.runtime.kernels import load_kernels
from pgmdsl.runtime.machine import Machine


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    """For the many files of random models, gone at the end of the process."""
    return tempfile.TemporaryDirectory()


@contextmanager
def plain_python() -> Iterator[None]:
    """Within it kernels are loaded as plain Python: slow loops, but nothing to compile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba.config, "DISABLE_JIT", 1)
        patch.setenv("PGMDSL_CACHE_DIR", _scratch().name)
        yield


def compile_machine(
    text: str, parameters: dict[str, NDArray[np.floating]], dtype: str, jit: bool, costs: Costs | None = None
) -> Machine:
    """A model file with these parameters, (size, size) and (size,), ready to run."""
    artifact = compile_source(Source("random.ebm", text), {}, dtype).artifact
    shaped = {
        name: np.ascontiguousarray(np.reshape(parameters[name], p.shape), dtype=dtype)
        for name, p in artifact.parameters.items()
    }
    if jit:
        return Machine(artifact, load_kernels(artifact, costs), shaped)
    with plain_python():
        return Machine(artifact, load_kernels(artifact, costs), shaped)


def random_machine(model: RandomModel, dtype: str, jit: bool = False, costs: Costs | None = None) -> Machine:
    """The machine of a random model."""
    return compile_machine(model.text, model.oracle.parameters, dtype, jit, costs)
