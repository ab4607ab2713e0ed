"""The settings of a `finetune` phase with their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pgmdsl.compiler.model import PhaseSpec
from pgmdsl.compiler.values import evaluate
from pgmdsl.grammar.syntax import Call, Expression
from pgmdsl.runtime.recipe import Ascent, Patience, Schedule, ascent_of, names_of, patience_of, whole_number


@dataclass(frozen=True)
class Search:
    """So many iterations, each with a line search, on every batch."""

    kind: Literal["cg", "lbfgs"]
    iterations: int


@dataclass(frozen=True)
class NetworkRecipe:
    """All settings of one phase; exactly one of `epochs` and `updates` is set. `labels` and `stop` may be absent."""

    epochs: int | None
    updates: int | None
    batch: int
    rate: Schedule
    momentum: Schedule
    decay: Schedule
    ascent: Ascent | Search
    freeze: frozenset[str]
    labels: float | None
    stop: Patience | None

    def total_steps(self, steps_per_epoch: int) -> int:
        """How many steps the phase has."""
        return self.updates if self.updates is not None else (self.epochs or 1) * steps_per_epoch


def network_recipe_of(phase: PhaseSpec, sizes: Mapping[str, int]) -> NetworkRecipe:
    """The settings of a checked phase, in which every setting with a default is present."""
    settings, names = phase.settings, {n: float(v) for n, v in sizes.items()}
    return NetworkRecipe(
        epochs=whole_number("epochs", settings["epochs"], names) if "epochs" in settings else None,
        updates=whole_number("updates", settings["updates"], names) if "updates" in settings else None,
        batch=whole_number("batch", settings["batch"], names),
        rate=Schedule.of("rate", settings["rate"], names),
        momentum=Schedule.of("momentum", settings["momentum"], names),
        decay=Schedule.of("decay", settings["decay"], names),
        ascent=_rule(settings["optimiser"], names),
        freeze=names_of(settings.get("freeze")),
        labels=evaluate(settings["labels"], names) if "labels" in settings else None,
        stop=patience_of(settings.get("stop"), names),
    )


def _rule(node: Expression, names: Mapping[str, float]) -> Ascent | Search:
    match node:
        case Call("cg" | "lbfgs" as kind, (iterations,)):
            return Search("cg" if kind == "cg" else "lbfgs", whole_number(kind, iterations, names))
        case _:
            return ascent_of(node, names)
