"""Connected pair correlations of a trained model of sequences against the data's, on chains equilibrated afresh.

    python benchmarks/correlations.py RUN LAYER DATA.npz [PICTURE.png]

DATA.npz is that of `prepare_data.py`: `msa` with `weights`, and its halves `train` and `test`. Prints the Pearson
correlation of f_ij(a, b) - f_i(a) f_j(b) over all pairs of sites and states. With PICTURE, and couplings between the
layer's own sites, draws the contact map: Frobenius norms of the couplings of each two sites in zero-sum gauge, less
what the average product correction takes off (Dunn, Wahl and Gloor 2008).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from baselines import connected

import pgmdsl

CHAINS, BURN = 10_000, 300


def main() -> None:
    """Measure, and draw."""
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    run, layer, data = pgmdsl.load(sys.argv[1]), sys.argv[2], np.load(sys.argv[3])
    parts = [run.sample(1_000, burn=BURN, seed=k)[layer][:, 0] for k in range(CHAINS // 1_000)]
    sampled = np.concatenate(parts).argmax(axis=-1)
    model = connected(sampled, np.ones(len(sampled)))
    for part, weights in (("msa", "weights"), ("train", "train_weights"), ("test", "test_weights")):
        wanted = connected(data[part], data[weights].astype(np.float64))
        print(f"against {part} ({len(data[part])} sequences): Pearson {np.corrcoef(model, wanted)[0, 1]:.4f}")
    if len(sys.argv) == 5:
        contact_map(run, layer, Path(sys.argv[4]))


def contact_map(run: pgmdsl.Run, layer: str, path: Path) -> None:
    """The picture of which sites are coupled."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    name = next(e.weight for e in run.model.artifact.edges if e.layers == (layer, layer))
    couplings = run.zero_sum()[name]
    norm = np.sqrt((couplings.astype(np.float64) ** 2).sum(axis=(1, 3)))
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
