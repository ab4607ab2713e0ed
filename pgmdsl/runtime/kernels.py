"""Loads the generated kernels of a compiled model.

The text always comes from the compiler in this process. It is put into a directory of the user's own so that Numba
can cache the compiled code beside it, under a name that holds the text's hash; a file found in a run directory is
never executed. Where no such directory can be had, the text is executed in memory and compiled anew each time.
"""

from __future__ import annotations

import hashlib
import importlib.util
import linecache
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.compiler.primitives_costs import Costs
from pgmdsl.runtime.blas import one_blas_thread
from pgmdsl.runtime.cache import cache_directory, store
from pgmdsl.runtime.costs import measured_costs

__all__ = ["Kernels", "load_kernels", "one_blas_thread"]

Function = Callable[..., Any]

_BY_LAYER = (
    "field",
    "own_factor",
    "sample",
    "mean",
    "relax",
    "log_partition",
    "log_partition_change",
    "base_energy",
    "field_of_mean",
    "statistic",
    "state",
)
_SHARED = (
    "gibbs_sweep",
    "mean_field_sweep",
    "draw_bits",
    "momentum_step",
    "centred_step",
    "average_step",
    "adam_step",
    "rmsprop_step",
)


@dataclass(frozen=True)
class Kernels:
    """The functions of a generated file (the kernels' contract in ARCHITECTURE.md).

    The first eleven are by layer, `kernels.field["h1"](p, s, out)`; `curvature` too, for real layers only. `slope` and
    `expected_slope` are by layer and own parameter, `kernels.slope["v"]["sigma"]`; `weight_statistics` is by weight.
    `path` is the file, or None when it was executed in memory; `costs` decide which products are made by tables.
    """

    field: Mapping[str, Function]
    own_factor: Mapping[str, Function]
    sample: Mapping[str, Function]
    mean: Mapping[str, Function]
    relax: Mapping[str, Function]
    log_partition: Mapping[str, Function]
    log_partition_change: Mapping[str, Function]
    base_energy: Mapping[str, Function]
    field_of_mean: Mapping[str, Function]
    statistic: Mapping[str, Function]
    state: Mapping[str, Function]
    curvature: Mapping[str, Function]
    slope: Mapping[str, Mapping[str, Function]]
    expected_slope: Mapping[str, Mapping[str, Function]]
    weight_statistics: Mapping[str, Function]
    gibbs_sweep: Function
    mean_field_sweep: Function
    draw_bits: Function
    momentum_step: Function
    centred_step: Function
    average_step: Function
    adam_step: Function
    rmsprop_step: Function
    layers: Mapping[str, Mapping[str, Any]]
    weights: Mapping[str, Mapping[str, Any]]
    blocks: tuple[tuple[str, ...], ...]
    header: Mapping[str, Any]
    path: Path | None
    costs: Costs


def load_kernels(artifact: Artifact, costs: Costs | None = None) -> Kernels:
    """The kernels of a compiled model, ready to call; each compiles when first called.

    Args:
        artifact: the compiled model.
        costs: what products cost, where they are to be those of another time or machine; none for no tables.
    """
    digest = hashlib.sha256(artifact.kernels.encode()).hexdigest()[:20]
    name = f"{artifact.name}_{digest}"
    directory = cache_directory()
    path = None if directory is None else store(directory / f"{name}.py", artifact.kernels)
    module = _execute(name, artifact.kernels) if path is None else _import(name, path)
    if hasattr(module, "COSTS"):
        module.COSTS.update(measured_costs(module) if costs is None else costs)
    return kernels_of(module, path)


def kernels_of(module: ModuleType, path: Path | None = None) -> Kernels:
    """The functions of a generated file's module by what they are; `path` is the file it was loaded from."""
    by_layer: dict[str, Any] = {
        verb: {layer: getattr(module, f"{verb}_{layer}") for layer in module.LAYERS} for verb in _BY_LAYER
    }
    by_parameter: dict[str, Any] = {
        verb: {
            layer: {own: getattr(module, f"{verb}_{layer}_{own}") for own in facts["parameters"]}
            for layer, facts in module.LAYERS.items()
        }
        for verb in ("slope", "expected_slope")
    }
    return Kernels(
        **by_layer,
        **by_parameter,
        curvature={
            layer: getattr(module, f"curvature_{layer}") for layer in module.LAYERS if module.LAYERS[layer]["real"]
        },
        **{verb: getattr(module, verb) for verb in _SHARED},
        weight_statistics={weight: getattr(module, f"weight_statistics_{weight}") for weight in module.WEIGHTS},
        layers=module.LAYERS,
        weights=module.WEIGHTS,
        blocks=module.BLOCKS,
        header=module.HEADER,
        path=path,
        costs=dict(getattr(module, "COSTS", {})),
    )


def _import(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"pgmdsl_kernels_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # Numba finds a cached function's module by its name
    spec.loader.exec_module(module)
    return module


def _execute(name: str, text: str) -> ModuleType:
    """The module made in memory; its lines are registered, so that tracebacks show them."""
    place = f"<pgmdsl kernels {name}>"
    linecache.cache[place] = (len(text), None, text.splitlines(keepends=True), place)
    module = ModuleType(f"pgmdsl_kernels_{name}")
    exec(compile(text, place, "exec"), module.__dict__)
    return module
