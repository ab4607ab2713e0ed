"""Times pgmdsl against NumPy, PyTorch, JAX and scikit-learn, and against BLAS; writes docs/performance.md's tables.

    python benchmarks/speed.py [--rounds 15] [--only cd1 pcd ...] [--write] [--wall] [--jax PYTHON]

All of one row run in turn, one thread each, on the same data; a figure is a median over rounds with its quartiles, and
a ratio is taken within a round. Times are of the processor (`time.process_time`), which other processes disturb less;
`--wall` takes the clock's, as the rows of threads always do. JAX runs in a process of its own, on one core, by a Python
that has it (`--jax`). PyTorch and scikit-learn (`pip install .[bench]`) are left out, with a line that says so, where
they are not installed.
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
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import speed_ours as ours
import speed_peers as peers
from numpy.typing import NDArray
from speed_peers import Matrix, Step

from pgmdsl.runtime.kernels import one_blas_thread

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
SECONDS = 0.05  # that a measurement takes at least
LABELS = {
    "width": "units in each layer",
    "batch": "cases in a batch",
    "chains": "chains of annealing",
    "depth": "hidden layers",
}
Makers = dict[str, Callable[[], Step]]
Clocked = Callable[[int], float]  # the seconds of so many steps


@dataclass(frozen=True)
class Work:
    """One row: what is done, by whom, on batches of which shape."""

    group: str
    title: str
    makers: Makers
    batch: tuple[int, int]
    weights: int = 0  # and what the time is divided by, where it is of scaling
    along: int = 0  # what is varied there
    documents: bool = False  # whether a batch is of counts
    jax: tuple[str, tuple[object, ...]] | None = None  # the same for speed_jax


def rbm_work(group: str, visible: int, hidden: int, batch: int, chains: int, sweeps: int) -> Work:
    shape = (visible, hidden, batch, chains, sweeps)
    makers: Makers = {
        "pgmdsl": ours.by_name(ours.rbm, *shape),
        "without tables": ours.by_name(ours.rbm, *shape, by="BLAS"),
        "its products in BLAS": ours.by_name(ours.rbm_products, *shape),
        "NumPy": ours.by_name(peers.numpy_rbm, *shape),
        "PyTorch": ours.by_name(peers.torch_rbm, *shape),
    }
    if sweeps == 1:
        makers["scikit-learn"] = ours.by_name(peers.sklearn_rbm, *shape)
    name = f"PCD-{sweeps}, {chains} chains" if chains else f"CD-{sweeps}"
    title = f"{name}, {visible} x {hidden}, batch {batch}"
    return Work(group, title, makers, (batch, visible), jax=("rbm", shape))


def works() -> list[Work]:
    out = [rbm_work("cd1", 784, 500, batch, 0, 1) for batch in (10, 100, 500, 5000)]
    out += [rbm_work("pcd", 784, 500, batch, batch, 1) for batch in (10, 100, 500, 5000)]
    out += [rbm_work("pcd10", 784, 500, 2000, 2000, 10)]
    sizes = (784, 500, 1000)
    dbm = (sizes, 100, 100, 10, 5)
    out.append(
        Work(
            "dbm",
            "DBM 784-500-1000, 10 mean-field and 5 Gibbs sweeps, batch 100",
            {
                "pgmdsl": ours.by_name(ours.dbm, *dbm),
                "without tables": ours.by_name(ours.dbm, *dbm, by="BLAS"),
                "NumPy": ours.by_name(peers.numpy_dbm, *dbm),
                "PyTorch": ours.by_name(peers.torch_dbm, *dbm),
            },
            (100, 784),
            jax=("dbm", dbm),
        )
    )
    out.append(
        Work(
            "ais",
            "a temperature of AIS, RBM 784 x 500, 100 chains",
            {
                "pgmdsl": ours.by_name(ours.ais, 784, 500, 100),
                "without tables": ours.by_name(ours.ais, 784, 500, 100, by="BLAS"),
                "NumPy": ours.by_name(peers.numpy_ais, 784, 500, 100),
                "PyTorch": ours.by_name(peers.torch_ais, 784, 500, 100),
            },
            (1, 1),
            jax=("ais", (784, 500, 100)),
        )
    )
    shape = (784, 500, 100, 0, 1)
    out.append(
        Work(
            "other",
            "CD-1, Gaussian 784 x binary 500, batch 100",
            {
                "pgmdsl": ours.by_name(ours.gaussian, *shape),
                "NumPy": ours.by_name(peers.numpy_gaussian, *shape),
                "PyTorch": ours.by_name(peers.torch_gaussian, *shape),
            },
            (100, 784),
            jax=("rbm", (*shape, True)),
        )
    )
    title = "CD-1, replicated softmax of 2,000 words x binary 50, batch 100 (100 words a document)"
    shape = (2000, 50, 100, 1)
    makers = {
        "pgmdsl": ours.by_name(ours.documents, *shape),
        "NumPy": ours.by_name(peers.numpy_documents, *shape),
    }
    out.append(Work("other", title, makers, (100, 2000), documents=True))
    sizes = (784, 500, 500)
    makers = {
        "pgmdsl": ours.by_name(ours.belief_net, sizes, 100),
        "NumPy": ours.by_name(peers.numpy_belief_net, sizes, 100),
    }
    out.append(Work("other", "wake-sleep, belief net 784-500-500, batch 100", makers, (100, 784)))
    return [*out, *threads(), *scaling()]


def threads() -> list[Work]:
    """pgmdsl on one thread and on two."""
    rbms = [(784, 500, batch, batch, sweeps) for batch, sweeps in ((100, 1), (500, 1), (2000, 10))]
    dbm = ((784, 500, 1000), 100, 100, 10, 5)
    rows = [(f"PCD-{s[4]}, {s[3]} chains, 784 x 500, batch {s[2]}", ours.rbm, s) for s in rbms]
    rows.append(("DBM 784-500-1000, 10 mean-field and 5 Gibbs sweeps, batch 100", ours.dbm, dbm))
    out = []
    for title, maker, shape in rows:
        makers = {"pgmdsl": ours.by_name(maker, *shape, threads=2), "one thread": ours.by_name(maker, *shape)}
        out.append(Work("threads", title, makers, (shape[2] if maker is ours.rbm else 100, 784)))
    return out


def scaling() -> list[Work]:
    """pgmdsl alone: time per case and weight, which is flat where the time is linear in the work."""
    out = []
    for width in (250, 500, 1000, 2000, 4000, 8000):
        work = {"pgmdsl": ours.by_name(ours.rbm, width, width, 100, 0, 1)}
        out.append(Work("width", f"CD-1, {width} x {width}, batch 100", work, (100, width), width * width, width))
    for batch in (10, 30, 100, 300, 1000, 5000):
        work = {"pgmdsl": ours.by_name(ours.rbm, 784, 500, batch, 0, 1)}
        out.append(Work("batch", f"CD-1, 784 x 500, batch {batch}", work, (batch, 784), 784 * 500, batch))
    for chains in (10, 100, 1000, 5000):
        work = {"pgmdsl": ours.by_name(ours.ais, 784, 500, chains)}
        title = f"a temperature of AIS, 784 x 500, {chains} chains"
        out.append(Work("chains", title, work, (chains, 1), 784 * 500, chains))
    for depth in range(1, 7):
        sizes = (500,) * (depth + 1)
        work = {"pgmdsl": ours.by_name(ours.dbm, sizes, 100, 100, 10, 5)}
        title = f"{depth} hidden layers of 500, 10 mean-field and 5 Gibbs sweeps, batch 100"
        out.append(Work("depth", title, work, (100, 500), depth * 500 * 500, depth))
    return out


def measure(work: Work, rounds: int, wall: bool, jax: str | None) -> dict[str, NDArray[np.float64]]:
    """Milliseconds a step, (rounds,), by name; who cannot be imported is named and left out."""
    clock = time.perf_counter if wall or work.group == "threads" else time.process_time
    data, elsewhere = batch_of(work), None
    timed: dict[str, Clocked] = {}
    for name, make in work.makers.items():
        try:
            timed[name] = partial(_seconds, make(), data, clock)
        except ImportError as problem:
            print(f"{name}: left out ({problem})")
    if jax and work.jax:
        elsewhere = peers.Elsewhere(jax, *work.jax)
        which = int(clock is time.perf_counter)
        timed["JAX"] = lambda steps, other=elsewhere: other.seconds(steps)[which]  # type: ignore[misc]
    repeats = {name: _repeats(one) for name, one in timed.items()}
    times = {name: np.empty(rounds) for name in timed}
    for i in range(rounds):
        for name, one in timed.items():
            times[name][i] = one(repeats[name]) / repeats[name] * 1e3
    if elsewhere:
        elsewhere.close()
    return times


def batch_of(work: Work) -> Matrix:
    rows, columns = work.batch
    rng = np.random.default_rng(1)
    if work.documents:  # words as frequent as in language: in inverse proportion to their rank
        frequency = 1 / np.arange(1, columns + 1)
        return rng.multinomial(100, frequency / frequency.sum(), rows).astype(np.float32)
    return (rng.random((rows, columns)) < 0.2).astype(np.float32)


def _seconds(step: Step, data: Matrix, clock: Callable[[], float], steps: int) -> float:
    start = clock()
    for _ in range(steps):
        step(data)
    return clock() - start


def _repeats(one: Clocked) -> int:
    """How many steps take SECONDS, after one that compiles."""
    one(1)
    return max(1, round(SECONDS / max(one(2) / 2, 1e-6)))


def spread(values: NDArray[np.float64], digits: int = 2) -> str:
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def table(group: list[tuple[Work, dict[str, NDArray[np.float64]]]]) -> list[str]:
    """Markdown: how many times faster pgmdsl is than each, or its time per case and weight."""
    if group[0][0].weights:
        lines = ["| work | ms | ns per case and weight |", "| --- | --- | --- |"]
        for work, times in group:
            each = times["pgmdsl"] * 1e6 / (work.batch[0] * work.weights)
            lines.append(f"| {work.title} | {spread(times['pgmdsl'])} | {spread(each, 4)} |")
        return lines
    names = list(dict.fromkeys(name for _, times in group for name in times if name != "pgmdsl"))
    lines = [f"| work | pgmdsl, ms | {' | '.join(names)} |", "| --- " * (2 + len(names)) + "|"]
    for work, times in group:
        ratios = [spread(times[n] / times["pgmdsl"]) if n in times else "" for n in names]
        lines.append(f"| {work.title} | {spread(times['pgmdsl'])} | {' | '.join(ratios)} |")
    return lines


def environment(wall: bool, jax: str | None) -> list[str]:
    """What the figures were taken on."""
    import numba
    import scipy.linalg.blas  # noqa: F401
    from threadpoolctl import threadpool_info

    model, flags = platform.processor(), ""
    if Path("/proc/cpuinfo").exists():
        facts = dict(
            line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if line.count(":") == 1
        )
        known = {key.strip(): value.strip() for key, value in facts.items()}
        model = f"{known.get('model name')}, family {known.get('cpu family')}, model {known.get('model')}"
        flags = ", ".join(f for f in known.get("flags", "").split() if f in ("avx2", "fma", "avx512f", "avx512bw"))
    versions = [f"Python {platform.python_version()}", f"NumPy {np.__version__}", f"Numba {numba.__version__}"]
    versions += [f"{name} {sys.modules[name].__version__}" for name in ("torch", "sklearn") if name in sys.modules]
    if jax:
        told = subprocess.run([jax, "-c", "import jax; print(jax.__version__)"], capture_output=True, text=True)
        versions.append(f"jax {told.stdout.strip()}")
    blas = {f"{p['internal_api']} {p['version']} {p.get('architecture', '')}".strip() for p in threadpool_info()}
    return [
        f"- processor: {model}; {os.cpu_count()} cores; {flags}",
        f"- {', '.join(versions)}",
        f"- libraries: {', '.join(sorted(blas))}; one thread each",
        f"- OPENBLAS_CORETYPE: {os.environ.get('OPENBLAS_CORETYPE', 'not set')}",
        f"- times: {'of the clock' if wall else 'of the processor'}; load average {os.getloadavg()[0]:.1f} at the end",
    ]


def first_steps() -> str:
    """Seconds from the start of a process to the end of its first update: with an empty cache, and again."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\nimport numpy as np, speed_ours as ours\n"
        "from pgmdsl.runtime.kernels import one_blas_thread\n"
        "with one_blas_thread():\n    ours.rbm(784, 500, 100, 0, 1)(np.zeros((100, 784), np.float32))"
    )
    seconds = []
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(2):
            start = os.times()
            environment = os.environ | {"PGMDSL_CACHE_DIR": cache}
            subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent)], env=environment, check=True)
            end = os.times()
            seconds.append(end.children_user + end.children_system - start.children_user - start.children_system)
    return f"First update from the start of a process: {seconds[0]:.1f} s cold, {seconds[1]:.1f} s warm (processor)."


def main() -> None:
    parser = argparse.ArgumentParser(description="Time pgmdsl against its peers.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", nargs="+", default=[], help="groups: cd1, pcd, pcd10, dbm, ais, width, ...")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    parser.add_argument("--wall", action="store_true", help="take times of the clock")
    parser.add_argument("--jax", metavar="PYTHON", help="a Python interpreter that has JAX")
    options = parser.parse_args()
    chosen = [work for work in works() if not options.only or work.group in options.only]
    groups: dict[str, list[tuple[Work, dict[str, NDArray[np.float64]]]]] = {}
    with one_blas_thread():
        for work in chosen:
            times = measure(work, options.rounds, options.wall, options.jax)
            groups.setdefault(work.group, []).append((work, times))
            print(work.title, {name: spread(x) for name, x in times.items()}, flush=True)
    text = {name: table(group) for name, group in groups.items()}
    text["environment"] = environment(options.wall, options.jax)
    if not options.only:
        text["start"] = [first_steps()]
    for name, lines in text.items():
        print(f"\n{name}\n" + "\n".join(lines))
    if options.write:
        write(text)
        draw({name: group for name, group in groups.items() if group[0][0].weights})


def draw(groups: dict[str, list[tuple[Work, dict[str, NDArray[np.float64]]]]]) -> None:
    """Time per case and weight against what is varied: flat where the time is linear in the work."""
    import matplotlib.pyplot as plt

    if not groups:
        return
    figure, panels = plt.subplots(1, len(groups), figsize=(3.2 * len(groups), 2.8), squeeze=False)
    for panel, (name, group) in zip(panels[0], groups.items(), strict=True):
        each = [t["pgmdsl"] * 1e6 / (work.batch[0] * work.weights) for work, t in group]
        low, middle, high = np.quantile(each, (0.25, 0.5, 0.75), axis=1)
        along = [work.along for work, _ in group]
        panel.errorbar(along, middle, [middle - low, high - middle], marker="o")
        panel.set(xlabel=LABELS[name], xscale="linear" if name == "depth" else "log", ylim=(0, None))
        panel.set_xticks(along, [f"{x:g}" for x in along], fontsize="small")
        panel.minorticks_off()
    panels[0][0].set_ylabel("ns per case and weight")
    figure.tight_layout()
    figure.savefig(PAGE.parent / "pictures" / "speed_scaling.png", dpi=120)


def write(text: dict[str, list[str]]) -> None:
    """Put each table between its markers."""
    page = PAGE.read_text(encoding="utf-8")
    for name, lines in text.items():
        start, end = f"<!-- {name} -->\n", f"<!-- end {name} -->\n"
        before, found, rest = page.partition(start)
        if not found:
            raise SystemExit(f"{PAGE}: no place for {name}")
        page = before + start + "\n" + "\n".join(lines) + "\n\n" + end + rest.partition(end)[2]
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
