"""Restricted Boltzmann machines on the small binary sets of the density-estimation literature.

    python benchmarks/density.py SOURCES RUNS [NAME ...]

SOURCES holds `load.py` with its data sets, RUNS is a folder for the runs. For each set a few recipes are trained; the
one with the best validation log-probability (by annealed importance sampling) is scored on test, once. A recipe whose
figure is warned of is not chosen: log Z of a machine with large weights may be out of reach. OCR letters come without
a training part here: it is trained on 9,000 of the 10,000 validation rows, and chosen on the other 1,000. Caltech
silhouettes have no published split here: 4,100, 2,264 and 2,307 rows are drawn by seed. Prints one line a recipe.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from prepare_data import module_of

import pgmdsl
from pgmdsl.runtime.estimators.result import Figure

MODEL = """model RBM(D = {width}, F = {hidden})
visible v : binary[D] bias b
hidden  h : binary[F] bias a
v -- h : W
train {{
  fit {{
    updates  = {updates}
    batch    = 100
    rate     = {rate} * (1 - progress)
    decay    = {decay}
    negative = pcd(1, chains = 100)
    average  = 0.999
  }}
}}
"""
RECIPES = {  # hidden units, updates, rate, decay
    "nltcs": itertools.product((32, 100), (20_000,), (0.1,), (0, 0.0003)),
    "dna": itertools.product((25, 100), (2_000, 8_000), (0.05,), (0.001, 0.003, 0.01)),
    "nips": itertools.product((10, 50), (1_000, 4_000), (0.02,), (0.003, 0.01, 0.03)),
    "ocr_letters": itertools.product((500, 1000), (40_000,), (0.1,), (0.0001, 0.001)),
    "caltech": itertools.product((500,), (20_000, 60_000), (0.05,), (0.0003, 0.001)),
}


def parts_of(load: ModuleType, name: str) -> tuple[Any, Any, Any]:
    """Training, validation and test rows."""
    if name == "caltech":
        images = load.caltech101_silhouettes()["images"].reshape(-1, 784)
        order = np.random.default_rng(0).permutation(len(images))
        return images[order[:4100]], images[order[4100:6364]], images[order[6364:]]
    found = load.binary_density(name)
    if name == "ocr_letters":
        return found["valid"][:9000], found["valid"][9000:], found["test"]
    return found["train"], found["valid"], found["test"]


def score(run: pgmdsl.Run, rows: Any) -> tuple[Figure, bool]:
    """The mean log-probability of these rows, and whether it is to be trusted: see docs/estimates.md."""
    evaluation = run.evaluation({"v": rows}, chains=100, error=0.05)
    (figure,) = evaluation.figures
    return figure, figure.warning is None and (evaluation.log_partition is None or not evaluation.log_partition.warning)


def main() -> None:
    load, runs = module_of(Path(sys.argv[1]) / "load.py"), Path(sys.argv[2])
    runs.mkdir(exist_ok=True)
    for name in sys.argv[3:] or RECIPES:
        train, valid, test = parts_of(load, name)
        found: list[tuple[float, pgmdsl.Run, str]] = []
        for hidden, updates, rate, decay in RECIPES[name]:
            text = MODEL.format(width=train.shape[1], hidden=hidden, updates=updates, rate=rate, decay=decay)
            recipe = f"{hidden} hidden units, {updates} updates, rate {rate}, decay {decay}"
            start = time.perf_counter()
            run = pgmdsl.train(pgmdsl.compile_text(text), {"v": train}, out=runs / f"{name}_{hidden}_{updates}_{decay}")
            figure, sound = score(run, valid)
            spent = time.perf_counter() - start
            doubt = "" if sound else ", not to be trusted"
            print(f"{name}: {recipe}: validation {figure.value:.2f}{doubt}, {spent:.0f} s", flush=True)
            if sound:
                found.append((figure.value, run, recipe))
        if not found:
            print(f"{name}: no recipe has a figure that is to be trusted", flush=True)
            continue
        _, run, recipe = max(found, key=lambda one: one[0])
        figure, sound = score(run, test)
        print(f"{name}: chosen {recipe}: test {figure}{'' if sound else ', not to be trusted'}", flush=True)


if __name__ == "__main__":
    main()
