"""Annealed log Z of one case, with the settings of a test as keywords."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pgmdsl.runtime.estimators.ais import Annealing, Direction, Sources, annealed_log_partitions
from pgmdsl.runtime.estimators.result import LogPartition
from pgmdsl.runtime.machine import Machine


def anneal_one(
    machine: Machine,
    direction: Direction,
    *,
    means: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    clamped: Mapping[str, Any] | None = None,
    lengths: Mapping[str, Any] | None = None,
    progress: Any = None,
    **how: Any,
) -> LogPartition:
    found = annealed_log_partitions(
        machine,
        direction,
        Annealing(**how),
        sources=Sources(means, data),
        clamped=clamped,
        lengths=lengths,
        progress=progress,
    )
    assert len(found.runs) == 1
    return found.runs[0]


def ais(machine: Machine, **how: Any) -> LogPartition:
    return anneal_one(machine, "ais", **how)


def reverse_ais(machine: Machine, **how: Any) -> LogPartition:
    return anneal_one(machine, "reverse_ais", **how)
