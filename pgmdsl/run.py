"""Runs: trained models in their directories, with samples, scores, figures and pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from pgmdsl.api import Model
from pgmdsl.compiler.driver import checked_model, compile_source, infer_sizes
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.read import read_source
from pgmdsl.runtime.data import Data, Splits, open_cases, peek_shape
from pgmdsl.runtime.estimators.result import Figure, LogPartition, LogPartitions
from pgmdsl.runtime.estimators.scores import score_cases
from pgmdsl.runtime.evaluation import (
    Method,
    conditions_of,
    data_means,
    evaluate_data,
    held_in,
    log_partition_of_cases,
    statistics_of,
)
from pgmdsl.runtime.kernels import one_blas_thread
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.metrics import read_metrics
from pgmdsl.runtime.parameters import load_parameters
from pgmdsl.runtime.progress import progress_bar
from pgmdsl.runtime.rundir import read_info, read_model
from pgmdsl.runtime.sampling import draw_samples, infer, reconstruct, to_states
from pgmdsl.runtime.train import TrainedRun, reopen_data
from pgmdsl.runtime.train import resume as resume_training
from pgmdsl.runtime.train import train as train_artifact

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


class Samples(dict[str, Array]):
    """Samples by layer, arrays (chains, draws, *dims)."""

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with dimensions chain, draw and, of each layer, its axes (v_0, v_1, ...).

        Raises:
            Error: xarray is not installed.
        """
        try:
            import xarray
        except ImportError:
            raise Error("to_xarray needs the package xarray: pip install xarray") from None
        axes = {n: [f"{n}_{k}" for k in range(x.ndim - 2)] for n, x in self.items()}
        return xarray.Dataset({n: (["chain", "draw", *axes[n]], x) for n, x in self.items()})


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
        """What was measured at the end of each epoch: phase, epoch, step and figures. Raises Error where damaged."""
        return read_metrics(self.directory)

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
        progress: bool = False,
    ) -> Samples:
        """Samples by block Gibbs, (chains, draws, *dims) by layer.

        Args:
            chains: Independent chains.
            draws: States kept of each.
            burn: Sweeps before the first.
            thin: Sweeps between two.
            clamp: States that are held fixed: by layer one case, or one for each chain.
            seed: Of all draws.
            progress: Whether progress is shown on stderr, when it takes more than 2 s.
        """
        with progress_bar("sampling", progress) as tick:
            drawn = draw_samples(
                self.machine, chains=chains, draws=draws, burn=burn, thin=thin, clamp=clamp, seed=seed, progress=tick
            )
        return Samples(drawn)

    def infer(self, data: Mapping[str, Array], sweeps: int = 50) -> dict[str, Array]:
        """Posterior means of the layers that `data` leaves out, (cases, *dims): exact, or by mean field."""
        return infer(self.machine, data, sweeps)

    def reconstruct(self, data: Mapping[str, Array], sweeps: int = 50, seed: int = 0) -> Reconstruction:
        """Means and samples of the observed layers after one pass through the others."""
        return reconstruct(self.machine, data, sweeps, seed)

    # --- data and figures ---------------------------------------------------------------------------------

    @property
    def splits(self) -> Splits:
        """The run's data, opened again as it was given. Raises Error where the files are gone."""
        if self._splits is None:
            self._splits = reopen_data(self.directory, self.model.artifact, read_info(self.directory))
        return self._splits

    def _held_out(self) -> tuple[str, Data]:
        splits = self.splits
        for name, data in (("test", splits.test), ("validation", splits.valid)):
            if data is not None:
                return name, data
        return "training", splits.train

    def _data(self, given: Mapping[str, Any] | None) -> tuple[str, Data]:
        if not given:
            return self._held_out()
        return "given", open_cases(self.model.artifact, given, self.model.base)

    def cases(self, given: Mapping[str, Any] | None = None) -> dict[str, Array]:
        """States (cases, *dims) by visible layer: of the layers given, or of the run's held-out cases."""
        _, data = self._data(given)
        s = statistics_of(self.machine, data, self.seed)
        return to_states(self.machine, s)

    def score(self, data: Mapping[str, Any], log_partition: LogPartition | LogPartitions | None = None) -> Array:
        """Log-probability of each case, (cases,), or its variational bound where the exact sum is out of reach.

        Args:
            data: By visible layer, arrays (cases, *dims) or paths; layers that are left out are summed out.
            log_partition: log Z; estimated anew when None.
        """
        _, opened = self._data(data)
        s = statistics_of(self.machine, opened, self.seed)
        z = log_partition or self._log_partition(s)
        with one_blas_thread():
            return score_cases(self.machine, s, z, held=held_in(opened)).values

    def log_partition(
        self,
        method: Method = "auto",
        *,
        chains: int = 100,
        temperatures: int = 10_000,
        seed: int = 0,
        progress: bool = False,
    ) -> LogPartition:
        """Log Z of the trained model: exact where enumeration is cheap, else by annealed importance sampling.

        The base distribution of annealing has the means of the run's training data, where these can be opened again,
        and otherwise the model's own fields. Where log Z depends on the case, `evaluation` has its mean over cases.
        """
        found = self._log_partition({}, method, chains, temperatures, seed, progress=progress)
        return found if isinstance(found, LogPartition) else found.mean()

    def _log_partition(
        self,
        s: Mapping[str, Array],
        method: Method = "auto",
        chains: int = 100,
        temperatures: int = 10_000,
        seed: int = 0,
        *,
        progress: bool = False,
    ) -> LogPartition | LogPartitions:
        """Log Z as the cases with these statistics need it."""
        try:
            means = data_means(self.machine, self.splits.train)
        except Error:
            means = None
        with progress_bar("annealed importance sampling", progress) as tick:
            return log_partition_of_cases(
                self.machine,
                method,
                means,
                *conditions_of(self.machine, s),
                chains=chains,
                temperatures=temperatures,
                seed=seed,
                progress=tick,
            )

    def evaluation(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        method: Method = "auto",
        chains: int = 100,
        temperatures: int = 10_000,
        seed: int = 0,
        progress: bool = False,
    ) -> Evaluation:
        """Log Z, and the mean log-probability (or its bound) of the held-out cases or of the data given.

        Where log Z depends on the case, by its given layers or the lengths of its documents, the mean is shown.
        """
        name, opened = self._data(data)
        s = statistics_of(self.machine, opened, self.seed)
        z = self._log_partition(s, method, chains, temperatures, seed, progress=progress)
        figures = evaluate_data(self.machine, opened, z, self.seed, name)
        shown = z if isinstance(z, LogPartition) else z.mean(opened.weights)
        return Evaluation(shown, tuple(figures), figures[0].bits)

    def evaluate(self, data: Mapping[str, Any] | None = None) -> list[Figure]:
        """The figures of `evaluation`: each with its error over cases and that of log Z."""
        return list(self.evaluation(data).figures)

    # --- pictures -----------------------------------------------------------------------------------------

    def draw_samples_sheet(self, samples: Mapping[str, Array], path: Path, *, means: bool = False) -> list[Path]:
        """A sheet of every visible layer that can be shown as images; returns the files.

        Args:
            samples: By layer, (chains, draws, *dims) or (chains, *dims).
            path: The file; where there are several, each has its layer's name after the stem.
            means: Whether these are means given sampled states of the neighbours, not states; the title says which.
        """
        from pgmdsl.runtime.plots import grey_limits, image_dims, sample_sheet

        visible = [layer for layer in self.model.artifact.layers.values() if layer.role == "visible"]
        shown = [(layer, dims) for layer in visible if (dims := image_dims(layer))]
        out = []
        for layer, dims in shown:
            what = f"states of {layer.name}"
            if means:
                edges = [e.layers for e in self.model.artifact.edges if layer.name in e.layers]
                given = dict.fromkeys(n for layers in edges for n in layers if n != layer.name)
                what = f"means of {layer.name} given sampled {' and '.join(given)}"
            file = path if len(shown) == 1 else path.with_stem(f"{path.stem}_{layer.name}")
            x = samples[layer.name].reshape(-1, *dims)
            sample_sheet(x, dims, file, f"{self.model.name}: {what}", grey_limits(layer))
            out.append(file)
        return out

    def draw_pictures(self, folder: Path | None = None, progress: bool = False) -> dict[str, Path]:
        """Samples, filters and training curves as PNG files; returns their paths by what they show."""
        from pgmdsl.runtime.plots import curves

        folder = folder or self.directory
        folder.mkdir(parents=True, exist_ok=True)
        samples = self.sample(100, seed=self.seed, progress=progress)
        last = {name: x[:, 0] for name, x in samples.items()}
        visible = [layer.name for layer in self.model.artifact.layers.values() if layer.role == "visible"]
        means = {name: self.model.mean(name, self.parameters, last) for name in visible}
        sheets = self.draw_samples_sheet(means, folder / "samples.png", means=True)
        out = {path.stem: path for path in sheets} | self._draw_filters(folder)
        if metrics := self.metrics:
            # The mean activity of a softmax layer is 1/K whatever it has learned.
            layers = self.model.artifact.layers.values()
            curves(metrics, folder / "curves.png", {("active", x.name) for x in layers if x.support == "one_hot"})
            out["curves"] = folder / "curves.png"
        return out

    def _draw_filters(self, folder: Path) -> dict[str, Path]:
        """A sheet for every weight of a visible layer that can be shown as images, an image for each unit it joins."""
        from pgmdsl.runtime.plots import filter_sheet, image_dims

        out: dict[str, Path] = {}
        for edge in self.model.artifact.edges:
            first, second = (self.model.artifact.layers[n] for n in edge.layers)
            weight = self.parameters[edge.weight].reshape(first.size, second.size)
            for seen, other, w in ((first, second, weight), (second, first, weight.T)):
                dims = image_dims(seen)
                if seen.role == "visible" and dims and edge.weight not in out:
                    path = folder / f"filters_{edge.weight}.png"
                    units = (other.dims[0], other.dims[1]) if len(other.dims) == 2 else None
                    title = f"{self.model.name}: filters of {edge.weight}, one a unit of {other.name}"
                    filter_sheet(w, dims, path, title, units)
                    out[edge.weight] = path
        return out


# --- runs made, opened and gone on with -------------------------------------------------------------------


def start_run(
    model: Model,
    data: Mapping[str, Any] | None,
    valid: Any,
    test: Any,
    weights: Any,
    init: Run | Mapping[str, Array] | None,
    freeze: tuple[str, ...],
    out: str | Path | None,
    seed: int,
    callback: Callback | None,
) -> Run:
    """Train into a new run directory; see `pgmdsl.train`."""
    trained = train_artifact(
        model.artifact,
        data,
        valid=valid,
        test=test,
        weights=weights,
        init=init.parameters if isinstance(init, Run) else init,
        freeze=freeze,
        out=None if out is None else Path(out),
        seed=seed,
        callback=callback,
        base=model.base,
    )
    return _opened(trained, model)


def load_run(directory: Path) -> Run:
    """A run from its directory, finished or not. Raises Error where there is none, or it is damaged."""
    model = _model_of(directory)
    parameters = load_parameters(directory / "parameters.safetensors", model.artifact)
    return Run(directory, model, parameters, read_info(directory).seed, None)


def resume_run(
    directory: Path,
    data: Mapping[str, Any] | None = None,
    valid: Any = None,
    test: Any = None,
    weights: Any = None,
    callback: Callback | None = None,
) -> Run:
    """Go on with a run; see `pgmdsl.resume`."""
    model = _model_of(directory)
    trained = resume_training(
        directory, model.artifact, data, valid=valid, test=test, weights=weights, callback=callback
    )
    return _opened(trained, model)


def _opened(trained: TrainedRun, model: Model) -> Run:
    info = read_info(trained.directory)
    return Run(trained.directory, model, trained.parameters, info.seed, trained.splits)


def _model_of(directory: Path) -> Model:
    """The model of a run, compiled again from its source: what the directory holds is never executed."""
    info = read_info(directory)
    dtype: DType = "float64" if info.dtype == "float64" else "float32"
    return Model(compile_source(read_model(directory, info), info.sizes, dtype), Path(info.base))
