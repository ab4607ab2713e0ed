"""How often the stated 95% limits of log Z hold its exact value, on random small models of every kind.

    python benchmarks/intervals.py [MODELS] [SEED]      by default 400 models of each of two kinds, 3 settings each

The models are those of tests/random_models.py (binary, spin, softmax, Gaussian layers) and tests/wide_models.py (also
counts, binomial, Poisson, rectified and declared units, lateral and multiplicative edges), with weights multiplied by 1
to 4, so that few temperatures leave few effective chains. Backward chains start from exact draws. One table a method:
by effective sample size as a share of the chains, the number of runs, how many limits hold log Z, and how many miss it
on each side; then what Jensen's inequality says, the mean of log Z's estimate less log Z.
"""

from __future__ import annotations

import itertools
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.strategies import SearchStrategy
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from compiled import compile_machine, plain_python
from random_models import RandomModel, random_models
from wide_models import wide_models

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.estimators.annealing import base_fields, log_partition_of_base
from pgmdsl.runtime.estimators.chains import Chains, anneal
from pgmdsl.runtime.estimators.evidence import gather
from pgmdsl.runtime.estimators.exact import sums_of
from pgmdsl.runtime.estimators.limits import Estimate, bridge, log_inverse_mean, log_mean
from pgmdsl.runtime.estimators.normalise import require_normalised
from pgmdsl.runtime.estimators.schedules import schedule
from pgmdsl.runtime.estimators.starts import exact_states

Array = NDArray[np.float64]

SETTINGS = 3  # a model
SHARES = (0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 1.0)
EVEN = 1e-6  # of log weights: below it all chains agree, and there is nothing to cover


def models(kind: SearchStrategy[RandomModel], count: int, number: int) -> list[RandomModel]:
    found: list[RandomModel] = []

    @seed(number)
    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(kind)
    def collect(model: RandomModel) -> None:
        found.append(model)

    collect()
    return found


def runs(model: RandomModel, rng: np.random.Generator) -> Iterator[tuple[float, int, dict[str, Estimate]]]:
    """log Z, the number of chains and the estimates, for some numbers of chains and temperatures."""
    factor = rng.choice([1.0, 2.0, 3.0, 4.0])
    parameters = {n: x * factor if n[0] in "WLT" else x for n, x in model.oracle.parameters.items()}
    try:
        machine = compile_machine(model.text, parameters, "float64", jit=False)
        evidence = gather(machine, None, lengths={n: float(x) for n, x in model.oracle.lengths.items()})
        require_normalised(machine)
        exact = float(sums_of(evidence)[0])
    except Error:  # weights that are too large for a Gaussian or Poisson layer
        return
    for _ in range(SETTINGS):
        count, temperatures = int(rng.choice([30, 100])), int(rng.choice([3, 5, 10, 20, 40]))
        chains, betas = Chains(count, count, 1, int(rng.integers(2**30))), schedule(temperatures)
        base = base_fields(machine, None, evidence)
        log_base = float(log_partition_of_base(evidence, base)[0])
        forward = anneal(evidence, base, betas, chains, ("ais",)).log_weight[0] + log_base
        starts = exact_states(evidence, count, chains.seed, ("start",))
        backward = log_base - anneal(evidence, base, betas, chains, ("reverse",), starts=starts).log_weight[0]
        if np.ptp(forward) > EVEN:
            found = {"ais": log_mean(forward), "reverse_ais, exact starts": log_inverse_mean(-backward)}
            yield exact, count, found | {"bridge": bridge(forward, backward)}


def report(name: str, rows: Array) -> None:
    """Rows of (share, low, high, error): limits that lie above log Z, below it, and the estimate less log Z."""
    print(
        f"\n{name}\n| effective sample size | runs | hold log Z | lie above it | lie below it |\n| --- "
        + "| --- " * 4
        + "|"
    )
    for low, high in [*itertools.pairwise(SHARES), (0.1, 1.0)]:
        here = rows[(rows[:, 0] >= low) & (rows[:, 0] <= high)]
        if len(here):
            above, below = here[:, 1].mean(), here[:, 2].mean()
            title = f"{low:.0%} to {high:.0%}" if (low, high) != (0.1, 1.0) else "**10% or more**"
            print(f"| {title} | {len(here)} | {1 - above - below:.1%} | {above:.1%} | {below:.1%} |")
    error = rows[rows[:, 0] >= 0.1, 3]
    print(f"mean of log Z's estimate less log Z: {error.mean():+.4f} +- {2 * error.std() / len(error) ** 0.5:.4f} nats")


def main(count: int, number: int) -> None:
    rng, rows, begun = np.random.default_rng(number), {}, time.monotonic()
    with plain_python():
        every = models(random_models(), count, number) + models(wide_models(given=False), count, number)
        for i, model in enumerate(every):
            for exact, chains, found in runs(model, rng):
                for name, estimate in found.items():
                    total = 2 * chains if name == "bridge" else chains
                    miss = (estimate.lower > exact + 1e-9, estimate.upper < exact - 1e-9)
                    rows.setdefault(name, []).append((estimate.effective / total, *miss, estimate.value - exact))
            if i % 50 == 49:
                print(f"{i + 1} models, {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    for name, found in rows.items():
        report(name, np.array(found, float))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(*(int(x) for x in (sys.argv[1:] + ["400", "11"][len(sys.argv) - 1 :])))
