"""Runs: trained models in their directories, with samples, imputations, scores, figures and pictures."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from pgmdsl.figures import Evaluation, Request, compare, evaluate_run, log_partition_of, score_known
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.model import Model
from pgmdsl.networks import WithNetworks
from pgmdsl.runtime.belief import machine_of
from pgmdsl.runtime.data import Data, Splits, open_cases
from pgmdsl.runtime.estimators.ais import Annealing, AnnealingOptions
from pgmdsl.runtime.estimators.baselines import COMPONENTS
from pgmdsl.runtime.estimators.result import Figure, LogPartition, LogPartitions
from pgmdsl.runtime.evaluation import LogMethod, Method
from pgmdsl.runtime.gauge import zero_sum
from pgmdsl.runtime.impute import Imputation, impute
from pgmdsl.runtime.impute import Method as Imputing
from pgmdsl.runtime.known import Known, Lengths, known_of, open_any, wrapped
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.masks import prepared
from pgmdsl.runtime.metrics import read_metrics
from pgmdsl.runtime.progress import progress_bar
from pgmdsl.runtime.rundir import read_info
from pgmdsl.runtime.sampling import Reconstruction, draw_samples, infer, reconstruct, to_states
from pgmdsl.runtime.train import reopen_data
from pgmdsl.samples import Gauged, Means, Samples

Array = NDArray[Any]


class Run(WithNetworks):
    """A trained model in its directory.

    Data are given by layer: arrays (cases, *dims) or paths. NaN is a missing value; so is 0 in a mask, which `masks`
    has by layer. Where documents are not observed, or lack counts, `lengths` has their lengths by layer: a number, or
    one a case; a document of which nothing is known has, if nothing is stated, the rounded mean training length.

    Attributes:
        directory: Where it is.
        model: The compiled model.
        parameters: By name, arrays of the declared shapes (the averaged ones where the phase averages).
    """

    def __init__(
        self,
        directory: Path,
        model: Model,
        parameters: dict[str, Array],
        seed: int,
        splits: Splits | None,
        networks: Mapping[str, dict[str, Array]] | None = None,
    ):
        """Open runs with `pgmdsl.load`, make them with `pgmdsl.train`."""
        self.directory, self.model, self.parameters, self.seed = directory, model, parameters, seed
        self._splits, self._numbers = splits, networks or {}

    def __repr__(self) -> str:
        """The model and the place."""
        return f"<pgmdsl run of {self.model.name} in {self.directory}>"

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """What was measured at the end of each epoch: phase, epoch, step and figures. Raises Error where damaged."""
        return read_metrics(self.directory)

    @cached_property
    def machine(self) -> Machine:
        """The kernels with the parameters, and documents of their mean lengths where these are known."""
        arrays, artifact = self.model._arrays, self.model.artifact
        try:
            _, colours = prepared(artifact, self.model.base)
        except Error:  # a mask's file is gone: sites in turn, each by itself
            colours = {}
        lengths = {n: float(length) for n, length in self.mean_lengths.items()}
        return machine_of(
            artifact, arrays.kernels, arrays.parameters(self.parameters), colours=colours, lengths=lengths
        )

    @cached_property
    def mean_lengths(self) -> dict[str, int]:
        """The rounded mean length of the training documents, by count layer; none where the data cannot be opened."""
        documents = [n for n, x in self.model.artifact.layers.items() if x.support == "counts" and x.role == "visible"]
        if not documents:
            return {}
        try:
            train = self.splits.train
        except Error:
            return {}
        return {n: max(1, round(float(train.moments(n)[0].sum()))) for n in documents}

    # --- states -------------------------------------------------------------------------------------------

    def sample(
        self,
        chains: int = 100,
        draws: int = 1,
        *,
        burn: int = 1000,
        thin: int = 10,
        clamp: Mapping[str, Any] | None = None,
        lengths: Lengths | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> Samples:
        """Samples by block Gibbs, (chains, draws, *dims) by layer.

        Args:
            chains: Independent chains.
            draws: States kept of each.
            burn: Sweeps before the first.
            thin: Sweeps between two.
            clamp: What is held fixed of any layers: one case, or one for each chain; what is NaN is drawn.
            lengths: Of documents that are drawn.
            seed: Of all draws.
            progress: Whether progress is shown on stderr, when it takes more than 2 s.
        """
        known, _ = self._known(clamp or {}, None, lengths, option="clamp", cases=chains)
        with progress_bar("sampling", progress) as tick:
            drawn = draw_samples(known, chains=chains, draws=draws, burn=burn, thin=thin, seed=seed, progress=tick)
        return Samples(drawn)

    def infer(
        self,
        data: Mapping[str, Any] | None = None,
        sweeps: int = 50,
        *,
        masks: Mapping[str, Any] | None = None,
        lengths: Lengths | None = None,
        progress: bool = False,
    ) -> Means:
        """Posterior means of what `data` leaves out, (cases, *dims): exact where independent, else by mean field.

        In a model with directed edges by the deterministic pass up, with probabilities in place of states.

        Args:
            data: States of any layers; the run's held-out cases when None.
            sweeps: Of mean field.
            masks: Of the values, 0 where one is missing.
            lengths: Of documents that are not observed.
            progress: Whether progress is shown on stderr, when it takes more than 2 s.
        """
        known, _ = self._known(data, masks, lengths)
        with progress_bar("inference", progress) as tick:
            means = Means(infer(known, sweeps, tick))
        means.exact = known.exact
        means.how = "exact" if known.exact else known.machine.inference
        return means

    def reconstruct(
        self,
        data: Mapping[str, Any] | None = None,
        sweeps: int = 50,
        seed: int = 0,
        *,
        masks: Mapping[str, Any] | None = None,
        lengths: Lengths | None = None,
        progress: bool = False,
    ) -> Reconstruction:
        """Means and samples of the observed layers after one pass through all others; arguments as for `infer`.

        Without other layers each unit is given the others. `.top("words", vocabulary, 10)` ranks a document's words.
        """
        known, _ = self._known(data, masks, lengths)
        with progress_bar("reconstruction", progress) as tick:
            return reconstruct(known, sweeps, seed, tick)

    def impute(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        masks: Mapping[str, Any] | None = None,
        lengths: Lengths | None = None,
        method: Imputing = "gibbs",
        burn: int = 100,
        sweeps: int = 100,
        samples: int = 1,
        seed: int = 0,
        progress: bool = False,
    ) -> Imputation:
        """The visible layers with missing values filled in, on the assumption that these are missing at random.

        Args:
            data: Values of any layers; visible ones that are left out are filled in as a whole. The run's held-out
                cases when None.
            masks: Of the values, 0 where one is missing.
            lengths: Of documents that lack counts.
            method: "gibbs", or "mean_field", which is faster and ignores how what is latent depends on each other.
            burn: Gibbs sweeps before any that count.
            sweeps: Those that count, or sweeps of mean field.
            samples: Independent chains of each case; the last state of each is a sample.
            seed: Of all draws.
            progress: Whether progress is shown on stderr, when it takes more than 2 s.

        Returns:
            means and samples, in which observed values are as they were; what was filled in, and how much.
        """
        known, opened = self._known(data, masks, lengths)
        with progress_bar("imputation", progress) as tick:
            return impute(
                known, opened, method=method, burn=burn, sweeps=sweeps, samples=samples, seed=seed, progress=tick
            )

    def zero_sum(self) -> Gauged:
        """The parameters in zero-sum gauge: the same distribution, and mean 0 over the states of categorical layers."""
        machine = self.machine
        try:
            masks, _ = prepared(self.model.artifact, self.model.base)
        except Error:
            masks = {}
        found, left = zero_sum(self.model.artifact, machine.kernels, machine.parameters, masks)
        gauged = Gauged(found)
        gauged.left = tuple(left)
        return gauged

    def assumed_lengths(self, observed: Collection[str], stated: Collection[str] = ()) -> dict[str, int]:
        """The mean lengths that serve for documents that are neither observed nor have their lengths stated."""
        return {n: length for n, length in self.mean_lengths.items() if n not in observed and n not in stated}

    def given_states(self, most: int) -> dict[str, Array]:
        """States of the given layers, (cases, *dims), of at most so many held-out cases; none without such layers."""
        names = [n for n, x in self.model.artifact.layers.items() if x.role == "given"]
        if not names:
            return {}
        _, data = self._held_out()
        known = known_of(self.machine, replace(data, rows=data.rows[:most], weights=None))
        return to_states(self.machine, {n: known.s[n] for n in names})

    def _known(
        self,
        given: Mapping[str, Any] | None,
        masks: Mapping[str, Any] | None,
        lengths: Lengths | None,
        option: str = "data",
        cases: int | None = None,
    ) -> tuple[Known, Data]:
        """What is known of some cases, and the values that say so: the held-out cases where nothing is given."""
        artifact = self.model.artifact
        whole = wrapped(artifact, given or {}, masks, lengths)
        data = self._held_out()[1] if given is None else open_any(artifact, whole, self.model.base, cases)
        return known_of(self.machine, data, lengths, seed=self.seed, option=option), data

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

    def _data(
        self, given: Mapping[str, Any] | None, masks: Mapping[str, Any] | None = None, lengths: Lengths | None = None
    ) -> tuple[str, Data]:
        if not given:
            return self._held_out()
        artifact = self.model.artifact
        return "given", open_cases(artifact, wrapped(artifact, given, masks, lengths), self.model.base)

    def cases(self, given: Mapping[str, Any] | None = None) -> dict[str, Array]:
        """States (cases, *dims) by layer, NaN where missing: of the layers given, or of the run's held-out cases."""
        known, _ = self._known(given or None, None, None)
        states = to_states(self.machine, known.s)
        for name, held in known.held.items():
            np.copyto(states[name], np.nan, where=~held.reshape(states[name].shape))
        return states

    def score(
        self,
        data: Mapping[str, Any],
        log_partition: LogPartition | LogPartitions | None = None,
        *,
        masks: Mapping[str, Any] | None = None,
        lengths: Lengths | None = None,
    ) -> Array:
        """Log-probability of each case, (cases,), or its variational bound where the exact sum is out of reach.

        Args:
            data: By visible layer, arrays (cases, *dims) or paths; what is left out or missing is summed out.
            log_partition: log Z, of each case where it differs between them; estimated anew when None.
            masks: Of the values, 0 where one is missing.
            lengths: Of documents that lack counts, or are summed out.
        """
        _, opened = self._data(data, masks, lengths)
        return score_known(self, known_of(self.machine, opened, lengths, seed=self.seed), log_partition)

    def log_partition(
        self,
        method: LogMethod = "auto",
        *,
        given: Mapping[str, Any] | None = None,
        lengths: Lengths | None = None,
        progress: bool = False,
        **annealing: Unpack[AnnealingOptions],
    ) -> LogPartition | LogPartitions:
        """Log Z of the trained model: exact where enumeration is cheap, else by annealed importance sampling.

        The base distribution of annealing has the means of the run's training data, where these can be opened again,
        and otherwise the model's own fields.

        Args:
            method: "auto", "exact", "ais", "reverse_ais" or "bridge": see `pgmdsl.log_partition`.
            given: States of the given layers: log Z is then of each case.
            lengths: Of documents.
            progress: Whether progress is shown on stderr, when it takes more than 2 s.
            **annealing: `chains`, `temperatures`, `error`, `starts`, `batch`, `threads`, `seed`: as there.
        """
        known, _ = self._known(given or {}, None, lengths)
        return log_partition_of(self, known.s, known.lengths, method, Annealing(**annealing), progress)

    def evaluation(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        masks: Mapping[str, Any] | None = None,
        lengths: Lengths | None = None,
        method: Method = "auto",
        most: int | None = None,
        quick: bool = False,
        block: int = 1,
        baselines: bool | Sequence[int] = False,
        against: Run | None = None,
        progress: bool = False,
        **annealing: Unpack[AnnealingOptions],
    ) -> Evaluation:
        """Log Z, and the mean log-probability (or its bound) of the held-out cases or of the data given.

        Args:
            data: As for `score`.
            masks: As for `score`.
            lengths: As for `score`; of documents that are summed out, one number a layer.
            method: Of log Z, see `pgmdsl.log_partition`; or, without log Z, "raise" (a bound of annealing, Burda et al.
                2015), "csl" (conservative, from samples, Bengio et al. 2013) or "pseudolikelihood".
            most: Cases to take at most, drawn by the run's seed; `subset` then says so.
            quick: Whether to take 50 cases and 1,000 temperatures at most where log Z is annealed for each case.
            block: How many neighbouring cases belong together, of a time series: error bars are of the block bootstrap.
            baselines: Whether to add independent units and mixtures (of 10, 100 and 500 components, or of these
                numbers), fitted to the training data.
            against: Another run, of a model with the same visible layers: differences between the two by case.
            progress: Whether progress is shown on stderr, when it takes more than 2 s.
            **annealing: As for `log_partition`; `chains` of each case where the method has such, `chains` samples of
            csl.
        """
        name, opened = self._data(data, masks, lengths)
        if baselines is True:
            components = tuple(count for count in COMPONENTS if 2 * count <= self.splits.train.cases)
        else:
            components = tuple(baselines or ())
        how = Annealing(**annealing)
        request = Request(method, how, most, quick, block, components)
        found = evaluate_run(self, name, opened, lengths, request, self.seed, progress)
        if against is None:
            return found
        known = {n: x.dims for n, x in against.model.artifact.layers.items()}
        for layer in opened.columns:
            if known.get(layer) != self.model.artifact.layers[layer].dims:
                raise Error(
                    f"{against.directory} cannot be compared with {self.directory}: it has no layer {layer} of the "
                    "same size; compare runs of models with the same visible layers"
                )
        request = replace(request, components=())
        return compare(found, evaluate_run(against, name, opened, lengths, request, self.seed, progress))

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
        from pgmdsl.pictures import draw_states

        return draw_states(self, samples, path, means=means)

    def draw_pictures(self, folder: Path | None = None, progress: bool = False) -> dict[str, Path]:
        """Samples, filters, couplings and training curves as PNG files; returns their paths by what they show."""
        from pgmdsl.pictures import draw_all

        return draw_all(self, folder or self.directory, progress)
