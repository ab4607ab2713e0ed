"""Times one CD-1 update of a binary 784 x 500 RBM, with momentum and weight decay, against its peers.

All run in this process in turn, with one thread each, on the same bits; a figure is the median over rounds, with the
quartiles, and ratios are taken within a round. `products` is what pgmdsl would need for its matrix products alone.

    python benchmarks/bench_cd1.py [--rounds 40] [--batch 100 500]

PyTorch and scikit-learn (`pip install .[bench]`) are left out, with a line that says so, where they are not installed.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.compiler.driver import compile_source
from pgmdsl.grammar.source import Source
from pgmdsl.runtime.kernels import load_kernels, one_blas_thread
from pgmdsl.runtime.random import stream_key

Matrix = NDArray[np.float32]
Step = Callable[[Matrix], None]

VISIBLE, HIDDEN, RATE, MOMENTUM, DECAY = 784, 500, 0.05, 0.5, 0.0002
MODEL = f"""model RBM(D = {VISIBLE}, F = {HIDDEN})
visible v : binary[D] bias b
hidden  h : binary[F] bias a
v -- h : W
"""


def initial_weights() -> Matrix:
    return np.random.default_rng(0).normal(0, 0.01, (VISIBLE, HIDDEN)).astype(np.float32)


def compiled() -> Artifact:
    return compile_source(Source("rbm.ebm", MODEL), {}).artifact


def pgmdsl_step(batch: int, *, all_of_it: bool = True) -> Step:
    """CD-1 by the kernels of the compiled model, buffers made once; or its five matrix products alone."""
    k = load_kernels(compiled())
    real = np.float32
    p = {"W": initial_weights(), "b": np.zeros(VISIBLE, real), "a": np.zeros(HIDDEN, real)}
    speed, slope = ({n: np.zeros_like(x) for n, x in p.items()} for _ in range(2))
    v, field_v = (np.zeros((batch, VISIBLE), real) for _ in range(2))
    h, h_data, h_model, field_h = (np.zeros((batch, HIDDEN), real) for _ in range(4))
    share = np.full(batch, 1 / batch, real)
    count = 0

    def step(data: Matrix) -> None:
        nonlocal count
        count += 1
        k.field["h"](p, {"v": data}, field_h)
        k.mean["h"](p, field_h, p["a"], 1.0, h_data)
        k.sample["h"](p, field_h, p["a"], 1.0, stream_key(0, "h", count), h)
        k.field["v"](p, {"h": h}, field_v)
        k.sample["v"](p, field_v, p["b"], 1.0, stream_key(0, "v", count), v)
        k.field["h"](p, {"v": v}, field_h)
        k.mean["h"](p, field_h, p["a"], 1.0, h_model)
        k.weight_statistics["W"]({"v": data, "h": h_data}, 1 / batch, False, slope["W"])
        k.weight_statistics["W"]({"v": v, "h": h_model}, -1 / batch, True, slope["W"])
        np.subtract(share @ data, share @ v, out=slope["b"])
        np.subtract(share @ h_data, share @ h_model, out=slope["a"])
        k.momentum_step(p["W"], speed["W"], slope["W"], RATE, MOMENTUM, DECAY)
        for bias in ("a", "b"):
            k.momentum_step(p[bias], speed[bias], slope[bias], RATE, MOMENTUM, 0.0)

    def products(data: Matrix) -> None:
        k.field["h"](p, {"v": data}, field_h)
        k.field["v"](p, {"h": h}, field_v)
        k.field["h"](p, {"v": v}, field_h)
        k.weight_statistics["W"]({"v": data, "h": h_data}, 1 / batch, False, slope["W"])
        k.weight_statistics["W"]({"v": v, "h": h_model}, -1 / batch, True, slope["W"])

    return step if all_of_it else products


def products_step(batch: int) -> Step:
    """The five matrix products, nothing else."""
    return pgmdsl_step(batch, all_of_it=False)


def numpy_step(batch: int) -> Step:
    """NumPy in float32, in place."""
    rng = np.random.default_rng(0)
    w, real = initial_weights(), np.float32
    b, a = np.zeros(VISIBLE, real), np.zeros(HIDDEN, real)
    speed, slope, other = (np.zeros_like(w) for _ in range(3))
    speed_b, speed_a = np.zeros_like(b), np.zeros_like(a)
    v, u_v = np.empty((batch, VISIBLE), real), np.empty((batch, VISIBLE), real)
    h_data, h_model, u_h = (np.empty((batch, HIDDEN), real) for _ in range(3))

    share = np.full(batch, 1 / batch, real)

    def sigmoid(x: Matrix, bias: Matrix) -> None:
        np.add(x, bias, out=x)
        np.negative(x, out=x)
        np.exp(x, out=x)
        np.add(x, 1, out=x)
        np.reciprocal(x, out=x)

    def step(data: Matrix) -> None:
        sigmoid(np.matmul(data, w, out=h_data), a)
        rng.random(dtype=real, out=u_h)
        np.copyto(u_h, u_h < h_data)
        sigmoid(np.matmul(u_h, w.T, out=v), b)
        rng.random(dtype=real, out=u_v)
        np.copyto(v, u_v < v)
        sigmoid(np.matmul(v, w, out=h_model), a)
        np.matmul(data.T, h_data, out=slope)
        np.subtract(slope, np.matmul(v.T, h_model, out=other), out=slope)
        np.multiply(slope, RATE / batch, out=slope)
        np.multiply(speed, MOMENTUM, out=speed)
        np.add(speed, slope, out=speed)
        np.subtract(speed, np.multiply(w, RATE * DECAY, out=other), out=speed)
        np.add(w, speed, out=w)
        for bias, velocity, x, y in ((b, speed_b, data, v), (a, speed_a, h_data, h_model)):
            velocity *= MOMENTUM
            velocity += RATE * (share @ x - share @ y)
            bias += velocity

    return step


def torch_step(batch: int) -> Step:
    """PyTorch on the CPU, in place."""
    import torch

    torch.set_num_threads(1)
    w = torch.from_numpy(initial_weights())
    b, a = torch.zeros(VISIBLE), torch.zeros(HIDDEN)
    speed, slope = torch.zeros_like(w), torch.zeros_like(w)
    speed_b, speed_a = torch.zeros_like(b), torch.zeros_like(a)
    v, h = torch.empty(batch, VISIBLE), torch.empty(batch, HIDDEN)

    @torch.inference_mode()
    def step(bits: Matrix) -> None:
        data = torch.from_numpy(bits)
        h_data = torch.addmm(a, data, w).sigmoid_()
        torch.bernoulli(h_data, out=h)
        torch.bernoulli(torch.addmm(b, h, w.t()).sigmoid_(), out=v)
        h_model = torch.addmm(a, v, w).sigmoid_()
        torch.mm(data.t(), h_data, out=slope)
        slope.addmm_(v.t(), h_model, alpha=-1)
        speed.mul_(MOMENTUM).add_(slope, alpha=RATE / batch).add_(w, alpha=-RATE * DECAY)
        w.add_(speed)
        speed_b.mul_(MOMENTUM).add_(data.mean(0) - v.mean(0), alpha=RATE)
        speed_a.mul_(MOMENTUM).add_(h_data.mean(0) - h_model.mean(0), alpha=RATE)
        b.add_(speed_b)
        a.add_(speed_a)

    return step


def sklearn_step(batch: int) -> Step:
    """scikit-learn's BernoulliRBM: one persistent step per update, without momentum and decay."""
    from sklearn.neural_network import BernoulliRBM

    machine = BernoulliRBM(n_components=HIDDEN, learning_rate=RATE, batch_size=batch, random_state=0)

    def step(data: Matrix) -> None:
        machine.partial_fit(data)

    return step


PEERS: dict[str, Callable[[int], Step]] = {
    "pgmdsl": pgmdsl_step,
    "products": products_step,
    "NumPy": numpy_step,
    "PyTorch": torch_step,
    "scikit-learn": sklearn_step,
}


def measure(batch: int, rounds: int, repeats: int) -> dict[str, NDArray[np.float64]]:
    """Milliseconds an update, (rounds,), by peer; a peer that cannot be imported is named and left out."""
    steps: dict[str, Step] = {}
    for name, make in PEERS.items():
        try:
            steps[name] = make(batch)
        except ImportError as problem:
            print(f"{name}: left out ({problem})")
    data = (np.random.default_rng(1).random((repeats, batch, VISIBLE)) < 0.2).astype(np.float32)
    for step in steps.values():
        step(data[0])
    times = {name: np.empty(rounds) for name in steps}
    for i in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            for bits in data:
                step(bits)
            times[name][i] = (time.perf_counter() - start) / repeats * 1e3
    return times


def print_table(batch: int, times: dict[str, NDArray[np.float64]]) -> None:
    print(f"\nbatch {batch:<18} ms: median (quartiles)      speed of pgmdsl relative to it")
    for name, values in times.items():
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
        ratio = np.quantile(values / times["pgmdsl"], (0.25, 0.5, 0.75))
        print(
            f"  {name:<20} {middle:7.3f} ({low:.3f} - {high:.3f})    {ratio[1]:6.3f} ({ratio[0]:.3f} - {ratio[2]:.3f})"
        )


def first_steps() -> tuple[float, float]:
    """Seconds from the start of a process to the end of its first update: with an empty cache, and again."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\nimport numpy as np, bench_cd1\n"
        "with bench_cd1.one_blas_thread():\n    bench_cd1.pgmdsl_step(100)(np.zeros((100, 784), np.float32))"
    )
    seconds = []
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(2):
            start = time.perf_counter()
            environment = os.environ | {"PGMDSL_CACHE_DIR": cache}
            subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent)], env=environment, check=True)
            seconds.append(time.perf_counter() - start)
    return seconds[0], seconds[1]


def print_environment() -> None:
    import numba
    import scipy.linalg
    from threadpoolctl import threadpool_info

    model = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    print(f"processor: {model or platform.processor()}, {os.cpu_count()} cores")
    print(f"python {platform.python_version()}, numpy {np.__version__}", end=", ")
    print(f"scipy {scipy.__version__}, numba {numba.__version__}")
    print(f"OPENBLAS_CORETYPE: {os.environ.get('OPENBLAS_CORETYPE', 'not set')}")
    for pool in threadpool_info():
        kind = pool.get("architecture", "")
        print(f"  {pool['internal_api']} {pool['version']} {kind}, {pool['num_threads']} threads (1 while measuring)")


def main() -> None:
    parser = argparse.ArgumentParser(description="Time CD-1 of a 784 x 500 RBM against its peers.")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5, help="updates per round")
    parser.add_argument("--batch", type=int, nargs="+", default=[100, 500])
    options = parser.parse_args()
    cold, warm = first_steps()
    print_environment()
    print(f"first update, from the start of the process: {cold:.2f} s cold, {warm:.2f} s warm")
    for batch in options.batch:
        with one_blas_thread():
            print_table(batch, measure(batch, options.rounds, options.repeats))


if __name__ == "__main__":
    main()
