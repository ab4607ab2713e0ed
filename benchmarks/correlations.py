"""Connected pair correlations of a trained model of sequences against the data's, on chains equilibrated afresh.

    python benchmarks/correlations.py RUN LAYER DATA.npz [--picture FILE] [--sweeps 300] [--chains 10000] [--draws 1]

DATA.npz is that of `prepare_data.py`: `msa` with `weights`, and its halves `train` and `test`; `baselines.py` says how
these agree with each other. Prints the Pearson correlation of f_ij(a, b) - f_i(a) f_j(b) over all pairs of sites and
states, and the slope of the model's on the data's, twice: after half of the sweeps, and of so many draws together in
the second half, the last one at the end. The chains have come far enough if both slopes are alike.

With --picture draws the contact map: Frobenius norms of the couplings of each two sites in zero-sum gauge, less what
the average product correction takes off (Dunn, Wahl and Gloor 2008). A restricted machine's couplings are the effective
ones to second order in its weights W: the sum over hidden units of W W' times the unit's variance.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from baselines import connected
from numpy.typing import NDArray

import pgmdsl

TOGETHER = 500  # chains
PARTS = {"msa": "weights", "train": "train_weights", "test": "test_weights"}


def main() -> None:
    """Measure, and draw."""
    parser = argparse.ArgumentParser()
    for name in ("run", "layer", "data"):
        parser.add_argument(name)
    parser.add_argument("--picture", type=Path)
    for name, number in (("sweeps", 300), ("chains", 10_000), ("draws", 1)):
        parser.add_argument(f"--{name}", type=int, default=number)
    asked = parser.parse_args()
    run, data = pgmdsl.load(asked.run), np.load(asked.data)
    wanted = {p: connected(data[p], data[w].astype(np.float64)) for p, w in PARTS.items()}
    half = asked.sweeps // 2
    times = {"draws": asked.draws + 1, "burn": half, "thin": half // asked.draws}
    parts = [run.sample(TOGETHER, seed=k, **times)[asked.layer] for k in range(asked.chains // TOGETHER)]
    sampled = np.concatenate([part.argmax(axis=-1) for part in parts])
    for when, some in (("half-way", sampled[:, :1]), ("at the end", sampled[:, 1:])):
        states = some.reshape(-1, sampled.shape[-1])
        model = connected(states, np.ones(len(states)))
        for part, found in wanted.items():
            pearson, slope = np.corrcoef(model, found)[0, 1], np.polyfit(found, model, 1)[0]
            print(f"{when}, {len(states)} against {part}: Pearson {pearson:.4f}, slope {slope:.3f}", flush=True)
    if asked.picture:
        contact_map(run, asked.layer, asked.picture)


def couplings_of(run: pgmdsl.Run, layer: str) -> tuple[str, NDArray[np.float64]]:
    """The name and the couplings (sites, states, sites, states) between a layer's own sites."""
    edges, parameters = run.model.artifact.edges, run.zero_sum()
    own = next((e.weight for e in edges if e.layers == (layer, layer)), None)
    if own is not None:
        return own, parameters[own].astype(np.float64)
    edge = next(e for e in edges if e.layers[0] == layer)
    w, hidden = parameters[edge.weight].astype(np.float64), run.sample(1000, burn=300)[edge.layers[1]]
    effective = np.einsum("iah,h,jbh->iajb", w, hidden.reshape(-1, w.shape[2]).var(axis=0), w, optimize=True)
    return f"{edge.weight}, effective", effective


def contact_map(run: pgmdsl.Run, layer: str, path: Path) -> None:
    """The picture of which sites are coupled."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    name, couplings = couplings_of(run, layer)
    norm = np.sqrt((couplings**2).sum(axis=(1, 3)))
    sites = len(norm)
    np.fill_diagonal(norm, 0)
    mean = norm.sum(axis=1) / (sites - 1)
    score = norm - np.outer(mean, mean) / (norm.sum() / (sites * (sites - 1)))
    np.fill_diagonal(score, 0)
    figure, axes = plt.subplots(figsize=(5, 4.4), layout="constrained")
    shown = axes.imshow(score, cmap="Greys", vmin=0, extent=(0.5, sites + 0.5, sites + 0.5, 0.5))
    axes.set(title=f"Corrected coupling strengths of {name}", xlabel="site", ylabel="site")
    figure.colorbar(shown)
    figure.savefig(path, dpi=120)
    far = [(score[i, j], i, j) for i in range(sites) for j in range(i + 5, sites)]
    print("strongest, at least 5 sites apart: " + ", ".join(f"{i + 1}-{j + 1}" for _, i, j in sorted(far)[::-1][:10]))


if __name__ == "__main__":
    main()
