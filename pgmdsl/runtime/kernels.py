"""Loads the generated kernels of a compiled model.

The text always comes from the compiler in this process. It is put into a directory of the user's own so that Numba
can cache the compiled code beside it, under a name that holds the text's hash; a file found in a run directory is
never executed. Where no such directory can be had, the text is executed in memory and compiled anew each time.
"""

from __future__ import annotations

import hashlib
import importlib.util
import linecache
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pgmdsl.compiler.artifact import Artifact

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
    `path` is the file, or None when it was executed in memory.
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


def load_kernels(artifact: Artifact) -> Kernels:
    """The kernels of a compiled model, ready to call; each compiles when first called."""
    digest = hashlib.sha256(artifact.kernels.encode()).hexdigest()[:20]
    name = f"{artifact.name}_{digest}"
    directory = _cache_directory()
    path = None if directory is None else _store(directory / f"{name}.py", artifact.kernels)
    module = _execute(name, artifact.kernels) if path is None else _import(name, path)
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
    )


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within it BLAS uses one thread: sums keep their order, so results do not depend on the number of cores."""
    import scipy.linalg.blas  # noqa: F401  the library whose threads are limited has to be loaded
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(limits=1, user_api="blas"):
        yield


def _cache_directory() -> Path | None:
    """A directory for generated files in `PGMDSL_CACHE_DIR`, or in the user's cache; None if it is not safe.

    Code is loaded from here: it has to be a real directory that belongs to this user and that nobody else can write.
    """
    given = os.environ.get("PGMDSL_CACHE_DIR")
    try:
        directory = (Path(given) if given else _user_cache() / "pgmdsl").absolute() / "kernels"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
    except (OSError, RuntimeError):  # not writable, or the user has no home
        return None
    mine = not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o022)
    return directory if mine and stat.S_ISDIR(found.st_mode) else None


def _user_cache() -> Path:
    """Where this platform keeps a user's caches."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _store(path: Path, text: str) -> Path | None:
    """The path, once it holds exactly this text; None if it cannot. Written atomically, kept if it is there."""
    wanted = text.encode()
    try:
        if not path.is_symlink() and path.is_file() and path.read_bytes() == wanted:
            return path
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
            file.write(wanted)
        os.replace(file.name, path)
    except OSError:
        return None
    return path


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
