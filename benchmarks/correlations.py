"""Connected pair correlations of a trained model of sequences against the data's, on chains equilibrated afresh.

    python benchmarks/correlations.py RUN LAYER DATA.npz [PICTURE.png]

DATA.npz is that of `prepare_data.py`: `msa` with `weights`, and its halves `train` and `test`; `baselines.py` says how
these agree with each other. Prints the Pearson correlation of f_ij(a, b) - f_i(a) f_j(b) over all pairs of sites and
states, and the slope of the model's on the data's, twice: the chains have come far enough if both times are alike.

With PICTURE draws the contact map: Frobenius norms of the couplings of each two sites in zero-sum gauge, less what the
average product correction takes off (Dunn, Wahl and Gloor 2008). A restricted machine's couplings are the effective
ones to second order in its weights W: the sum over hidden units of W W' times the unit's variance.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from baselines import connected
from numpy.typing import NDArray

import pgmdsl

CHAINS, TOGETHER = 10_000, 500
PARTS = {"msa": "weights", "train": "train_weights", "test": "test_weights"}
BURN = (150, 300)  # sweeps after which chains are looked at


def main() -> None:
    """Measure, and draw."""
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    run, layer, data = pgmdsl.load(sys.argv[1]), sys.argv[2], np.load(sys.argv[3])
    wanted = {p: connected(data[p], data[w].astype(np.float64)) for p, w in PARTS.items()}
    times = {"draws": len(BURN), "burn": BURN[0], "thin": BURN[1] - BURN[0]}
    parts = [run.sample(TOGETHER, seed=k, **times)[layer].argmax(axis=-1) for k in range(CHAINS // TOGETHER)]
    for sweeps, sampled in zip(BURN, np.moveaxis(np.concatenate(parts), 1, 0), strict=True):
        model = connected(sampled, np.ones(len(sampled)))
        for part, found in wanted.items():
            pearson, slope = np.corrcoef(model, found)[0, 1], np.polyfit(found, model, 1)[0]
            print(f"{sweeps} sweeps, against {part} ({len(data[part])}): Pearson {pearson:.4f}, slope {slope:.3f}")
    if len(sys.argv) == 5:
        contact_map(run, layer, Path(sys.argv[4]))


def couplings_of(run: pgmdsl.Run, layer: str) -> tuple[str, NDArray[np.float64]]:
    """The name and the couplings (sites, states, sites, states) between a layer's own sites."""
    edges, parameters = run.model.artifact.edges, run.zero_sum()
    own = next((e.weight for e in edges if e.layers == (layer, layer)), None)
    if own is not None:
        return own, parameters[own].astype(np.float64)
    edge = next(e for e in edges if e.layers[0] == layer)
    w, hidden = parameters[edge.weight].astype(np.float64), run.sample(1000, burn=BURN[0])[edge.layers[1]]
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
    shown = axes.imshow(score, cmap="Greys", vmin=0)
    axes.set(title=f"{run.model.name}: corrected coupling strengths of {name}", xlabel="site", ylabel="site")
    figure.colorbar(shown)
    figure.savefig(path, dpi=120)
    far = [(score[i, j], i, j) for i in range(sites) for j in range(i + 5, sites)]
    print("strongest, at least 5 sites apart: " + ", ".join(f"{i + 1}-{j + 1}" for _, i, j in sorted(far)[::-1][:10]))


if __name__ == "__main__":
    main()
