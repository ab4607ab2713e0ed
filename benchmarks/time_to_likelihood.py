"""How long each takes to a test log-probability on MNIST: an RBM 784-500 by persistent contrastive divergence.

    python benchmarks/time_to_likelihood.py FOLDER [--epochs 5 10 20] [--picture FILE]

FOLDER holds the four MNIST files. Everyone trains the same machine with batches of 100, 100 chains and bits drawn anew
from grey levels, for so many epochs, with a rate that falls to 0; times are of the processor, on one thread, from the
first update to the last (pgmdsl's with compiling, figures and checkpoints on the way). pgmdsl trains as
examples/mnist_rbm.ebm says (centred gradients, averaged parameters), peers as is usual for them (momentum, decay,
visible biases that start at the data's means); scikit-learn's rate is constant. log Z of all is estimated by the same
annealing, 5,000 temperatures, 100 chains. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import speed_peers as peers
from numpy.typing import NDArray
from speed_peers import REAL, Matrix

import pgmdsl
from pgmdsl.runtime.kernels import one_blas_thread
from pgmdsl.runtime.readers import read_array

BATCH, HIDDEN, RATE = 100, 500, 0.05
EXAMPLE = Path(__file__).parent.parent / "examples" / "mnist_rbm.ebm"
Parameters = dict[str, NDArray[Any]]
Bits = Callable[[], Matrix]


def ours(levels: Matrix, epochs: int) -> tuple[float, Parameters]:
    text = re.sub(r"data v {.*?}", "data v { bits = resample }", EXAMPLE.read_text(), flags=re.DOTALL)
    model = pgmdsl.compile_text(re.sub(r"epochs   = \d+", f"epochs = {epochs}", text))
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        run = pgmdsl.train(model, {"v": levels}, out=Path(folder) / "run")
        return time.process_time() - start, dict(run.parameters)


def numpy_peer(levels: Matrix, epochs: int) -> tuple[float, Parameters]:
    net = peers.NumpyNet(levels.shape[1], HIDDEN)
    net.b[0][:] = start_bias(levels)
    spent = train(peers.numpy_rbm(levels.shape[1], HIDDEN, BATCH, BATCH, 1, net), levels, epochs)
    return spent, {"W": net.w[0], "b": net.b[0], "a": net.b[1]}


def torch_peer(levels: Matrix, epochs: int) -> tuple[float, Parameters]:
    net = peers.TorchNet(levels.shape[1], HIDDEN)
    net.b[0].numpy()[:] = start_bias(levels)
    spent = train(peers.torch_rbm(levels.shape[1], HIDDEN, BATCH, BATCH, 1, net), levels, epochs)
    return spent, {"W": net.w[0].numpy(), "b": net.b[0].numpy(), "a": net.b[1].numpy()}


def sklearn_peer(levels: Matrix, epochs: int) -> tuple[float, Parameters]:
    from sklearn.neural_network import BernoulliRBM

    machine = BernoulliRBM(n_components=HIDDEN, learning_rate=RATE, batch_size=BATCH, random_state=0)
    spent = train(machine.partial_fit, levels, epochs)
    return spent, {"W": machine.components_.T, "b": machine.intercept_visible_, "a": machine.intercept_hidden_}


def start_bias(levels: Matrix) -> Matrix:
    mean = np.clip(levels.mean(axis=0), 0.002, 0.998)
    return np.asarray(np.log(mean / (1 - mean)), REAL)


def train(step: Callable[[Matrix], object], levels: Matrix, epochs: int) -> float:
    """Seconds of the processor for these epochs, the rate falling to 0."""
    rng, updates, done = np.random.default_rng(0), epochs * (len(levels) // BATCH), 0
    start = time.process_time()
    for _ in range(epochs):
        order = rng.permutation(len(levels))
        for first in range(0, len(levels) - BATCH + 1, BATCH):
            grey = levels[order[first : first + BATCH]]
            peers.RATE = RATE * (1 - done / updates)
            step((rng.random(grey.shape, dtype=REAL) < grey).astype(REAL))
            done += 1
    return time.process_time() - start


def test_score(p: Parameters, levels: Matrix, test: Matrix) -> tuple[float, float]:
    """The mean log-probability of test bits, and two standard errors of log Z."""
    text = f"model M\nvisible v : binary[{test.shape[1]}] bias b\nhidden h : binary[{HIDDEN}] bias a\nv -- h : W\n"
    wide = {name: np.asarray(x, np.float64) for name, x in p.items()}
    z = pgmdsl.log_partition(
        pgmdsl.compile_text(text), wide, "ais", data={"v": levels[:5000].round()}, chains=100, temperatures=5000
    )
    field = test @ wide["W"] + wide["a"]
    return float(np.mean(test @ wide["b"] + np.logaddexp(0, field).sum(axis=1)) - z.value), 2 * z.standard_error


WHO = {"pgmdsl": ours, "NumPy": numpy_peer, "PyTorch": torch_peer, "scikit-learn": sklearn_peer}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time to equal test likelihood on MNIST.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    levels, images = (
        read_array(f"{part}-images-idx3-ubyte.gz", options.folder, part).reshape(-1, 784).astype(REAL) / 255
        for part in ("train", "t10k")
    )
    test = (np.random.default_rng(0).random(images.shape) < images).astype(np.float64)
    found: dict[str, list[tuple[float, float]]] = {}
    print("| who | epochs | s | test log-probability |\n| --- | --- | --- | --- |", flush=True)
    with one_blas_thread():
        for epochs in options.epochs:
            for name, who in WHO.items():
                seconds, p = who(levels, epochs)
                value, error = test_score(p, levels, test)
                found.setdefault(name, []).append((seconds, value))
                print(f"| {name} | {epochs} | {seconds:.0f} | {value:.2f} +- {error:.2f} of log Z |", flush=True)
    if options.picture:
        draw(found, options.picture)


def draw(found: dict[str, list[tuple[float, float]]], picture: Path) -> None:
    import matplotlib.pyplot as plt

    figure, panel = plt.subplots(figsize=(5, 3.2))
    for name, points in found.items():
        panel.plot(*np.array(points).T, marker="o", label=name)
    panel.set(xscale="log", xlabel="seconds of one processor", ylabel="test log-probability, nats")
    panel.legend()
    figure.tight_layout()
    figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main()
