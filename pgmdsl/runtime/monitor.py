"""Figures to watch while a model trains, cheap enough to be taken often; all are functions of the parameters alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import ArtifactLayer
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.belief import BeliefNet
from pgmdsl.runtime.estimators.ais import Annealing, Sources
from pgmdsl.runtime.estimators.bound import mean_field_bound
from pgmdsl.runtime.estimators.pseudolikelihood import allows_pseudolikelihood, one_site
from pgmdsl.runtime.estimators.scores import score_cases
from pgmdsl.runtime.evaluation import conditions_of, is_enumerable, log_partition_of_cases
from pgmdsl.runtime.feed import Feed
from pgmdsl.runtime.fit import Job, incomplete_layers
from pgmdsl.runtime.machine import Held, Machine, State
from pgmdsl.runtime.metrics import Metrics
from pgmdsl.runtime.objectives import log_pseudolikelihood
from pgmdsl.runtime.pace import principal
from pgmdsl.runtime.steps import Steps
from pgmdsl.runtime.tracking import likelihoods

Array = NDArray[Any]

WATCHED = 500  # cases on which figures are taken
TIMES = 100  # figures a phase at most, evenly spread
DEAD_ZONE = 0.02  # of a unit's range: a mean nearer to its ends counts as saturated
MOST_STUCK = 0.5  # of a layer's units may be saturated without a warning
LARGE_SINGULAR = 40.0  # 6 to 11 is healthy in a DBM on MNIST, 57 was a collapse
STOP_TEMPERATURES = 2000  # of annealing log Z at each epoch, where early stopping needs it


def is_watched(job: Steps) -> bool:
    """Whether figures are taken after the epoch that has just ended."""
    return job.step >= job.steps or job.epochs_begun % watched_every(job) == 0 or job.patience is not None


def watched_every(job: Steps) -> int:
    """How many epochs there are between figures, if every one need not be scored for stopping."""
    return 1 if job.patience is not None else max(1, job.epochs // TIMES)


def watch(job: Job) -> Metrics:
    """The figures after an epoch, on up to 500 training and validation cases.

    `rate`: the learning rate of the last step. `reconstruction`: mean squared difference of the observed statistics
    from their means given all else, hidden units at their means. `active`, `saturated`: by hidden layer, mean activity,
    and of units with finitely many values the share that hardly vary over the cases. `singular`: by weight, its largest
    singular value, of the matrix of its first axis against the others. `size`: by weight, the root mean square of its
    entries. `own`: by parameter that units have of their own, its least, median and largest value. `exchange`: with
    tempering, the share of exchanges made for each pair of temperatures. Likelihoods: see `tracking`.
    `free_energy_gap`: mean over validation less over training, a sign of overfitting as it grows. `warnings`: signs of
    collapse, in words.
    """
    machine = job.averaged()
    taken = take_cases(job.feed, machine)
    s, weight = taken.s, taken.weight
    out: Metrics = {"rate": job.rates(job.step - 1).rate}
    out["reconstruction"] = reconstruction_error(machine, taken, job.feed.layers)
    hidden = [n for n in machine.layers if n not in job.feed.layers]
    out["active"] = {n: _round(float((weight @ s[n]).mean() / weight.sum())) for n in hidden}
    out["saturated"] = {
        n: _round(saturated_share(machine.artifact.layers[n], s[n]))
        for n in hidden
        if machine.artifact.layers[n].values
    }
    weights = machine.weights
    out["singular"] = {w: _round(largest_singular_value(machine.p[w].reshape(len(machine.p[w]), -1))) for w in weights}
    out["size"] = {w: _round(float(np.sqrt(np.mean(np.square(machine.p[w], dtype=np.float64))))) for w in weights}
    own = dict.fromkeys(p for n in machine.layers for p in machine.artifact.layers[n].parameters.values())
    if own:
        out["own"] = {p: [_round(float(f(machine.p[p]))) for f in (np.min, np.median, np.max)] for p in own}
    if job.learner.tempering is not None:
        out["exchange"] = [_round(rate) for rate in job.learner.tempering.take_rates()]
    sets = {"": taken}
    if job.valid is not None:
        sets["valid_"] = valid = take_cases(job.valid, machine)
        out["valid_reconstruction"] = reconstruction_error(machine, valid, job.feed.layers)
        complete = not taken.held and not valid.held
        if complete and machine.artifact.closed and machine.layers == tuple(machine.artifact.layers):
            means = [
                np.average(machine.free_energy({n: x.s[n] for n in job.feed.layers}), weights=x.weight)
                for x in (valid, taken)
            ]
            out["free_energy_gap"] = _round(float(means[0] - means[1]))
    out |= likelihoods(job, machine, sets, watched_every(job))
    out["warnings"] = [sign.words for sign in signs_of_collapse(out)]
    return out


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign of collapse in some figures: what it is about, how bad it is, and both in words."""

    about: str
    severity: float
    words: str


def signs_of_collapse(metrics: Metrics) -> list[Sign]:
    """What the shares of saturated units and the largest singular values say."""
    stuck = [
        Sign(
            f"units of {name}",
            share,
            f"{share:.0%} of the units of {name} are stuck at one end: lower the rate, or add decay",
        )
        for name, share in metrics.get("saturated", {}).items()
        if share > MOST_STUCK
    ]
    return stuck + [
        Sign(
            f"values of {name}",
            value,
            f"the largest singular value of {name} is {value:.0f}: a sign of collapse; lower the rate, or add decay",
        )
        for name, value in metrics.get("singular", {}).items()
        if value > LARGE_SINGULAR
    ]


@dataclass(frozen=True)
class Taken:
    """Some cases that figures are taken of: states with hidden and missing units at their means, and case weights."""

    s: State
    held: Held
    weight: Array


def take_cases(feed: Feed, machine: Machine) -> Taken:
    """Up to 500 cases, the same at every call."""
    feed = feed.watched()
    cases = feed.sample_cases(WATCHED)
    s, fields = machine.new_state(len(cases)), machine.new_state(len(cases))
    feed.fill(cases, {n: s[n] for n in feed.layers}, None)
    held = {n: mask for n, mask in feed.held(cases).items() if not mask.all()}
    machine.infer(s, fields, [n for n in feed.layers if n not in held], held=held)
    return Taken(s, held, feed.data.weight(cases))


def _round(value: float) -> float:
    return float(f"{value:.6g}")


def reconstruction_error(machine: Machine, taken: Taken, observed: tuple[str, ...]) -> float:
    """Mean over units of the squared difference between observed statistics and their means given all else."""
    total, units = 0.0, 0
    for name in observed:
        if name in machine.given:
            continue
        s = taken.s[name]
        mean = np.empty_like(s)
        machine.mean(name, machine.coupling(name, taken.s, len(mean)), mean, s=taken.s)
        known = np.broadcast_to(taken.held.get(name, np.ones((), bool)), s.shape)
        weight = taken.weight[:, None] * known
        square = (weight * np.square(s - mean)).sum(axis=0, dtype=np.float64)
        mass = weight.sum(axis=0)
        seen = mass > 0
        total += float((square[seen] / mass[seen]).sum())
        units += int(seen.sum())
    return _round(total / max(units, 1))


def saturated_share(layer: ArtifactLayer, means: Array) -> float:
    """The share of a layer's units whose mean stays within 2% of one end of the support for all cases."""
    low, high = min(layer.levels), max(layer.levels)
    edge = DEAD_ZONE * (high - low)
    return float(np.mean((means.max(axis=0) < low + edge) | (means.min(axis=0) > high - edge)))


def largest_singular_value(w: Array) -> float:
    """The largest singular value of a matrix, from below."""
    return float(np.sqrt(principal(w).sum()))


# --- values for early stopping ----------------------------------------------------------------------------


def stop_metric(job: Job) -> str:
    """The metric that decides when to stop: the stated one, else what this model allows at little cost.

    Raises:
        Error: there is no validation data, or the model does not allow the metric.
    """
    assert job.recipe.stop is not None, "asked of phases with `stop` only"
    if job.valid is None:
        raise Error(
            "stop = patience(...) watches validation data, and there is none; write valid = 0.1 in the data block"
        )
    machine = job.machine
    possible = allows_pseudolikelihood(machine, set(job.feed.layers)) and not incomplete_layers(job.valid)
    metric = job.recipe.stop.metric or ("pseudolikelihood" if possible else "reconstruction")
    if metric == "pseudolikelihood" and not possible:
        raise Error(
            "stop by pseudolikelihood needs complete rows, and either no hidden layers, or visible units with few "
            "states and hidden layers that share no edge; write patience(n, reconstruction) or patience(n, bound)"
        )
    return metric


def stop_value(job: Job, metric: str) -> float:
    """The metric's value on up to 500 validation cases with the averaged parameters; greater is better."""
    assert job.valid is not None, "stop_metric has checked it"
    machine = job.averaged()
    taken = take_cases(job.valid, machine)
    weight, observed = taken.weight, {n: taken.s[n] for n in job.feed.layers}
    match metric:
        case "reconstruction":
            return -reconstruction_error(machine, taken, job.feed.layers)
        case "pseudolikelihood" if set(observed) == set(machine.layers):
            return float(np.average(log_pseudolikelihood(machine, observed), weights=weight))
        case "pseudolikelihood":
            return float(np.average(one_site(machine, observed), weights=weight))
        case "likelihood" | "bound":
            given, lengths = conditions_of(machine, observed)
            how = Annealing(temperatures=STOP_TEMPERATURES)
            sources = Sources(job.feed.means())
            log_z = log_partition_of_cases(machine, "auto", sources, given, lengths, how=how, check=False)
            if metric == "bound" and not isinstance(machine, BeliefNet):
                bound = mean_field_bound(machine, observed, held=taken.held).log_weight
                values = bound - log_z.of_cases(len(bound))
            else:
                values = score_cases(machine, observed, log_z, held=taken.held).values
            return float(np.average(values, weights=weight))
        case _:
            raise AssertionError(f"the checker let stop by {metric} pass")


def needs_annealing(job: Job, metric: str) -> bool:
    """Whether each value of the metric costs an estimate of log Z by annealing."""
    return metric in ("likelihood", "bound") and not is_enumerable(job.machine)
