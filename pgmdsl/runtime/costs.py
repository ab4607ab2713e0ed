"""What products cost on this machine, by tables and by BLAS: measured once, and kept in the user's cache.

The decisions only choose between sums of two orders, so that a noisy measurement costs some time and nothing else; a
run keeps those that it began with.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, get_args

import numpy as np

from pgmdsl.compiler.emit_primitives import module_text
from pgmdsl.compiler.primitives_costs import Cost, Costs, Kind
from pgmdsl.runtime.blas import one_blas_thread
from pgmdsl.runtime.cache import cache_directory, store

SMALLEST = 32  # of the sizes of a weight, for which tables are thought of
FEWEST = 2**14  # its entries
SIZE, FEW, MANY, TINY = 512, 32, 256, 32  # of the weights, and the numbers of cases, that are measured
REPEATS = 15
# Cases from which tables are thought of. For fewer, a table of five states has more sums, 32, than the product needs
# additions, and BLAS multiplies a vector several times faster than its times of matrices say.
LEAST = 8.0
# Costs by which tables make all the products that they can: for tests.
ALWAYS: Costs = {kind: (Cost(0, 0, 0), Cost(1, 0, 0)) for kind in get_args(Kind)}


def measured_costs(module: ModuleType) -> Costs:
    """The costs of a file's products on this machine; none where all its weights are small, or nothing is compiled."""
    shapes = [weight["shape"] for weight in module.WEIGHTS.values() if len(weight["shape"]) == 2]
    if _compiler().DISABLE_JIT or not any(min(s) >= SMALLEST and math.prod(s) >= FEWEST for s in shapes):
        return {}
    with one_blas_thread():
        machine = f"{_machine()}, {module.HEADER['dtype']}"
        known = _read()
        if (found := _costs_of(known.get(machine))) is not None:
            return found
        if sys.stderr.isatty():
            print("measuring what products cost on this machine, once", file=sys.stderr)
        costs = {kind: _measure(module, kind) for kind in get_args(Kind)}
    directory = cache_directory()
    if directory is not None:
        store(directory / "costs.json", json.dumps({**known, machine: costs}, indent=1) + "\n")
    return costs


def _compiler() -> Any:
    """Numba's configuration, which has no types."""
    import numba

    return numba.config


def _machine() -> str:
    """What the times depend on, in words: how tables are made, the processor as code is made for it, the BLAS."""
    import numba
    from llvmlite import binding
    from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

    config = _compiler()
    processor = config.CPU_NAME or binding.get_host_cpu_name()
    pools = [p for p in threadpool_info() if p["user_api"] == "blas"]
    libraries = sorted(f"{p['internal_api']} {p['version']} {p.get('architecture', '')}".strip() for p in pools)
    return ", ".join(
        [
            f"tables {hashlib.sha256(module_text('primitives_tables').encode()).hexdigest()[:12]}",
            f"numba {numba.__version__}",
            f"{processor} {config.CPU_FEATURES or ''}".strip(),
            *libraries,
        ]
    )


def _read() -> dict[str, Any]:
    """What is in the cache, by machine; nothing where it is damaged."""
    directory = cache_directory()
    try:
        known = json.loads((directory / "costs.json").read_text(encoding="utf-8")) if directory else {}
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _costs_of(found: Any) -> Costs | None:
    """Costs from JSON; None where it does not hold these."""
    try:
        costs = costs_from(found)
    except (TypeError, ValueError, AttributeError):
        return None
    return costs if set(costs) == set(get_args(Kind)) else None


def costs_from(values: Mapping[str, Any]) -> Costs:
    """Costs as JSON holds them. Raises ValueError or TypeError where these are no costs."""
    costs = {}
    for kind, pair in values.items():
        table, blas = (Cost(*(float(x) for x in numbers)) for numbers in pair)
        if kind not in get_args(Kind) or not all(0 <= x < math.inf for x in (*table, *blas)):
            raise ValueError(f"no costs: {kind} {pair}")
        costs[kind] = (table, blas)
    return costs


def _measure(module: ModuleType, kind: Kind) -> tuple[Cost, Cost]:
    """The costs of one kind of product, from the shortest times of three sizes."""
    times = [_shortest(module, kind, cases, size) for cases, size in ((TINY, TINY), (FEW, SIZE), (MANY, SIZE))]
    table, blas = (_fit(*(pair[way] for pair in times)) for way in (0, 1))
    return table._replace(least=LEAST), blas


def _fit(tiny: float, few: float, many: float) -> Cost:
    """The costs by which the three products take these seconds, as near as none is below 0."""
    case = max(many - few, 0.0) / (MANY - FEW) / SIZE**2
    weight = max(few - tiny - case * (FEW * SIZE**2 - TINY**3), 0.0) / (SIZE**2 - TINY**2)
    call = max(tiny - TINY**2 * (weight + case * TINY), 0.0)
    return Cost(*(float(f"{x:.3g}") for x in (call, weight, case)))


def _shortest(module: ModuleType, kind: Kind, cases: int, size: int) -> tuple[float, float]:
    """The shortest of some times of a product by table and by BLAS, taken in turn."""
    rng, dtype = np.random.default_rng(0), module.HEADER["dtype"]
    states = (rng.random((cases, size)) < 0.5).astype(dtype)
    outer = kind.startswith("outer")
    other = rng.normal(size=(cases if outer else size, size)).astype(dtype)
    out = np.empty((size if outer else cases, size), dtype)
    ways: tuple[Callable[[], Any], ...] = (
        lambda: module.multiply_by_table(kind, states, other, out, 1.0, 0.0, (0.0, 1.0)),
        lambda: module.multiply_by_blas(kind, states, other, out, 1.0, 0.0),
    )
    best = [math.inf, math.inf]
    for repeat in range(REPEATS + 1):  # the first of which compiles
        for way, make in enumerate(ways):
            start = time.perf_counter()
            make()
            if repeat:
                best[way] = min(best[way], time.perf_counter() - start)
    return best[0], best[1]
