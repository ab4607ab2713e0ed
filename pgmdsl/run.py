"""Runs: trained models in their directories, with samples, scores, figures and pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pgmdsl.api import Model
from pgmdsl.compiler.driver import checked_model, compile_source, infer_sizes
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.read import read_source
from pgmdsl.grammar.source import Source
from pgmdsl.runtime.data import Data, Splits, peek_shape
from pgmdsl.runtime.estimators.result import Figure, LogPartition
from pgmdsl.runtime.evaluation import Method, data_means, estimate_log_partition, evaluate_data, statistics_of
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.sampling import draw_samples, infer, reconstruct

if TYPE_CHECKING:
    from pgmdsl.runtime.sampling import Reconstruction

Array = NDArray[Any]
DType = Literal["float32", "float64"]
Callback = Callable[[dict[str, Any]], object]


def compile_for_data(file: Path, sizes: Mapping[str, int], data: Mapping[str, str], dtype: DType = "float32") -> Model:
    """Compile a model file, taking sizes that have no value from the shapes of the data.

    Args:
        file: The model file.
        sizes: Sizes given by the user.
        data: By layer, a path in place of that of its data block.
        dtype: The kernels' precision.
    """
    source = read_source(file)
    base = file.resolve().parent
    model, _ = checked_model(source, sizes)
    found = dict(sizes)
    if any(value is None for value in model.sizes.values()):
        shapes = {spec.layer: peek_shape(spec, base) for spec in model.data if spec.file and spec.layer in model.layers}
        found |= infer_sizes(model, shapes)
    return Model(compile_source(source, found, dtype), base)


@dataclass(frozen=True)
class Evaluation:
    """log Z and the figures of one data set; `bits` says how its bits were drawn, or is None."""

    log_partition: LogPartition
    figures: tuple[Figure, ...]
    bits: str | None

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"log_partition": asdict(self.log_partition), "figures": [asdict(f) for f in self.figures]}


class Run:
    """A trained model in its directory.

    Attributes:
        directory: Where it is.
        model: The compiled model.
        parameters: By name, arrays of the declared shapes (the averaged ones where the phase averages).
    """

    def __init__(self, directory: Path, model: Model, parameters: dict[str, Array], seed: int, splits: Splits | None):
        """Open runs with `pgmdsl.load`, make them with `pgmdsl.train`."""
        self.directory, self.model, self.parameters, self.seed = directory, model, parameters, seed
        self._splits = splits

    def __repr__(self) -> str:
        """The model and the place."""
        return f"<pgmdsl run of {self.model.name} in {self.directory}>"

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """What was measured at the end of each epoch: phase, epoch, step and figures."""
        path = self.directory / "metrics.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]

    @cached_property
    def machine(self) -> Machine:
        """The kernels with the parameters."""
        return self.model._arrays.machine(self.parameters)

    def sample(
        self,
        chains: int = 100,
        draws: int = 1,
        *,
        burn: int = 1000,
        thin: int = 10,
        clamp: Mapping[str, Array] | None = None,
        seed: int = 0,
    ) -> dict[str, Array]:
        """Samples by block Gibbs, (chains, draws, *dims) by layer.

        Args:
            chains: Independent chains.
            draws: States kept of each.
            burn: Sweeps before the first.
            thin: Sweeps between two.
            clamp: States that are held fixed: by layer one case, or one for each chain.
            seed: Of all draws.
        """
        return draw_samples(self.machine, chains=chains, draws=draws, burn=burn, thin=thin, clamp=clamp, seed=seed)

    def infer(self, data: Mapping[str, Array], sweeps: int = 50) -> dict[str, Array]:
        """Posterior means of the layers that `data` leaves out, (cases, *dims): exact, or by mean field."""
        return infer(self.machine, data, sweeps)

    def reconstruct(self, data: Mapping[str, Array], sweeps: int = 50, seed: int = 0) -> Reconstruction:
        """Means and samples of the observed layers after one pass through the others."""
        return reconstruct(self.machine, data, sweeps, seed)
