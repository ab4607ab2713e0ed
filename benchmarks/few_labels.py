"""Classifiers of MNIST from few labels, grown from one short deep Boltzmann machine, and their random twins.

    python benchmarks/few_labels.py FOLDER RUNS

FOLDER holds the four files of MNIST; RUNS is a folder to be made. The machine is that of
`examples/mnist_classifier.ebm` with 8 epochs in its `fit` phase; every classifier starts from it. Prints one line a
classifier.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import numpy as np

import pgmdsl

EXAMPLE = Path(__file__).parent.parent / "examples" / "mnist_classifier.ebm"
EPOCHS = 8  # of the machine
CASES = {100: (300, 3), 1000: (100, 3), 10_000: (30, 2)}  # by number of labels: epochs, and seeds


def main() -> None:
    folder, runs = (Path(argument) for argument in sys.argv[1:])
    runs.mkdir()
    train = {"v": folder / "train-images-idx3-ubyte.gz", "y": folder / "train-labels-idx1-ubyte.gz"}
    test = {"v": folder / "t10k-images-idx3-ubyte.gz"}, folder / "t10k-labels-idx1-ubyte.gz"
    text = re.sub(r"\n  (file|test) +=.*", "", EXAMPLE.read_text())
    text = re.sub(r"\ndata y \{\n\}\n", "\n", text)
    machine, networks = text.split("  finetune", 1)[0] + "}\n", text.split("train {", 1)[0]
    start = time.perf_counter()
    machine = machine.replace("epochs   = 40", f"epochs   = {EPOCHS}")
    run = pgmdsl.train(pgmdsl.compile_text(machine), train, out=runs / "machine")
    print(f"machine: {time.perf_counter() - start:.0f} s", flush=True)
    for labels, (epochs, seeds) in CASES.items():
        for seed in range(seeds):
            for way in ("model", "random"):
                settings = f"epochs = {epochs}, labels = {labels}, start = {way}, rate = 0.001 * (1 - progress)"
                model = pgmdsl.compile_text(
                    f"{networks}train {{ batch = 100, finetune classify(y) {{ {settings} }} }}\n"
                )
                start = time.perf_counter()
                net = pgmdsl.train(model, train, init=run, seed=seed, out=runs / f"{labels}_{way}_{seed}")
                found = net.classify(*test)
                wrong = 100 * float(np.mean(found.classes != found.labels))
                spent = time.perf_counter() - start
                print(f"{labels} labels, seed {seed}, {way}: {wrong:.2f} % wrong, {spent:.0f} s", flush=True)


if __name__ == "__main__":
    main()
