"""Write the data files that the examples on real data name, from the folder with the sources.

    python benchmarks/prepare_data.py SOURCES examples/data

SOURCES holds `load.py` with its data sets; none of them is shipped with this project. Files written:

    faces.npz        train (360, 64, 64), test (40, 64, 64) float32 in [0, 1]; half: test with its right half NaN
    newsgroups/      train.npz, test.npz (SciPy CSR, without empty documents), vocab.txt
    protein.npz      msa (4914, 53) int8 with weights, and its halves train and test with theirs; alphabet
    neurons.npz      words (40000, 15) uint8
    corel5k.npz      image and tags of train and test, names of the tags
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components


def main() -> None:
    """Write everything."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    load, out = module_of(Path(sys.argv[1]) / "load.py"), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    faces(load, out)
    newsgroups(load, out / "newsgroups")
    protein(load, out)
    np.savez_compressed(out / "neurons.npz", words=load.spikes()["words"])
    corel = load.corel5k()
    keys = ("image_train", "image_test", "tags_train", "tags_test")
    np.savez_compressed(out / "corel5k.npz", names=corel["tag_names"], **{key: corel[key] for key in keys})


def module_of(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("load", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def faces(load: ModuleType, out: Path) -> None:
    """The pictures of 36 people to train on, of the last four to test; and the latter without their right halves."""
    found = load.olivetti()
    images = (found["images"] / 255).astype(np.float32)
    test = found["person"] >= 36
    half = images[test].copy()
    half[:, :, 32:] = np.nan
    np.savez_compressed(out / "faces.npz", train=images[~test], test=images[test], half=half)


def newsgroups(load: ModuleType, folder: Path) -> None:
    """Counts as SciPy CSR; documents without a word of the vocabulary left out."""
    folder.mkdir(exist_ok=True)
    found = load.newsgroups20()
    for part in ("train", "test"):
        arrays = (found[f"{part}_counts"].astype(np.int32), found[f"{part}_indices"].astype(np.int32))
        counts = sparse.csr_matrix((*arrays, found[f"{part}_indptr"]), shape=(len(found[f"{part}_labels"]), 2000))
        kept = np.asarray(counts.sum(axis=1)).ravel() > 0
        sparse.save_npz(folder / f"{part}.npz", counts[kept])
        np.save(folder / f"{part}_labels.npy", found[f"{part}_labels"][kept])
    (folder / "vocab.txt").write_text("\n".join(found["vocab"]) + "\n")


def protein(load: ModuleType, out: Path) -> None:
    """The whole, and two halves of it of near equal weight: clusters of near-duplicates, each in one half by chance.

    Sequences are near-duplicates that agree at 80 % of the sites, as in the weights; a cluster is what a chain of such
    pairs joins.
    """
    found = load.pf00014()
    msa = found["msa"]
    onehot = np.eye(len(found["alphabet"]), dtype=np.float32)[msa].reshape(len(msa), -1)
    count, cluster = connected_components(sparse.csr_matrix(onehot @ onehot.T >= 0.8 * msa.shape[1]), directed=False)
    mass = np.bincount(cluster, found["weights"])
    order = np.random.default_rng(0).permutation(count)
    first = np.isin(cluster, order[np.cumsum(mass[order]) <= mass.sum() / 2])
    train, test = np.flatnonzero(first), np.flatnonzero(~first)
    np.savez_compressed(
        out / "protein.npz",
        msa=found["msa"],
        weights=found["weights"],
        train=found["msa"][train],
        train_weights=found["weights"][train],
        test=found["msa"][test],
        test_weights=found["weights"][test],
        alphabet=found["alphabet"],
    )


if __name__ == "__main__":
    main()
