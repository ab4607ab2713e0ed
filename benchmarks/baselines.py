"""What the examples on real data are compared with, by other means.

    python benchmarks/baselines.py FOLDER newsgroups    the unigram model, and LDA with 50 topics (scikit-learn)
    python benchmarks/baselines.py FOLDER neurons       the exact maximum-likelihood pairwise model (SciPy)
    python benchmarks/baselines.py FOLDER protein       halves against each other, a sample's noise, independent sites
    python benchmarks/baselines.py FOLDER corel5k       tags by nearest neighbours, by logistic regression, by frequency
    python benchmarks/baselines.py FOLDER mnist         images by 30 numbers: PCA, and logistic PCA

FOLDER is that of `prepare_data.py`; of mnist, that of its four files. Each prints one line a figure.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit

Array = NDArray[np.float64]
SAMPLED = 10_000  # sequences, as many as `correlations.py` draws of a model
Single = NDArray[np.float32]
FITTED, STEPS = 10_000, 300  # images that logistic PCA is fitted to, and iterations


def newsgroups(folder: Path) -> None:
    """Perplexity per word of test documents: exp(-sum of log p(ordered document) / sum of lengths)."""
    from sklearn.decomposition import LatentDirichletAllocation

    train = sparse.load_npz(folder / "newsgroups/train.npz")
    test = sparse.load_npz(folder / "newsgroups/test.npz")
    frequency = np.asarray(train.sum(axis=0)).ravel() + 1.0
    log_p = np.asarray(test.sum(axis=0)).ravel() @ np.log(frequency / frequency.sum())
    print(f"unigram, add-one smoothing: perplexity {np.exp(-log_p / test.sum()):.1f}")
    lda = LatentDirichletAllocation(50, learning_method="batch", max_iter=60, random_state=0)
    lda.fit(train)
    print(f"LDA, 50 topics: perplexity {lda.perplexity(test):.1f} (by its variational bound)")


def neurons(folder: Path) -> None:
    """Mean log-likelihood of the pairwise model with the moments of the data, by all 2^15 states."""
    words = np.load(folder / "neurons.npz")["words"].astype(np.float64)
    units = words.shape[1]
    states = ((np.arange(2**units)[:, None] >> np.arange(units)) & 1).astype(np.float64)
    above = np.triu_indices(units, 1)
    features = np.hstack([states, states[:, above[0]] * states[:, above[1]]])
    wanted = np.hstack([words, words[:, above[0]] * words[:, above[1]]]).mean(axis=0)

    def loss(theta: Array) -> tuple[float, Array]:
        score = features @ theta
        top = score.max()
        weight = np.exp(score - top)
        log_z = top + np.log(weight.sum())
        return float(log_z - wanted @ theta), (weight / weight.sum()) @ features - wanted

    found = minimize(loss, np.zeros(len(wanted)), jac=True, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 1e-15})
    mean = words.mean(axis=0)
    independent = float(mean @ np.log(mean) + (1 - mean) @ np.log1p(-mean))
    print(f"independent neurons: {independent:.6f} nats a word")
    print(f"pairwise, exact maximum likelihood: {-found.fun:.6f} nats a word (gradient {abs(found.jac).max():.1e})")


def connected(msa: NDArray[np.int8], weights: Array, states: int = 21) -> Array:
    """f_ij(a, b) - f_i(a) f_j(b) for all pairs of sites i < j, weighted."""
    onehot = np.eye(states, dtype=np.float32)[msa].reshape(len(msa), -1)
    share = (weights / weights.sum()).astype(np.float32)
    single = share @ onehot
    pairs = onehot.T @ (onehot * share[:, None]) - np.outer(single, single)
    sites = msa.shape[1]
    blocks = pairs.reshape(sites, states, sites, states).transpose(0, 2, 1, 3)
    return np.concatenate([blocks[i, j].ravel() for i in range(sites) for j in range(i + 1, sites)]).astype(np.float64)


def protein(folder: Path) -> None:
    """How well connected pair correlations agree: of one half with the other, of a sample and of independent sites."""
    data = np.load(folder / "protein.npz")
    first, second = (connected(data[p], data[f"{p}_weights"].astype(np.float64)) for p in ("train", "test"))
    print(f"half against half: Pearson {np.corrcoef(first, second)[0, 1]:.4f}")
    rng = np.random.default_rng(0)
    share = data["weights"] / data["weights"].sum()
    drawn = data["msa"][rng.choice(len(share), SAMPLED, p=share)]
    whole = connected(data["msa"], data["weights"].astype(np.float64))
    drawn_again = connected(drawn, np.ones(len(drawn)))
    print(f"{SAMPLED} sequences drawn from all, against all: Pearson {np.corrcoef(drawn_again, whole)[0, 1]:.4f}")
    columns = [data["msa"][rng.choice(len(share), SAMPLED, p=share), i] for i in range(data["msa"].shape[1])]
    alone = connected(np.stack(columns, axis=1), np.ones(SAMPLED))
    print(f"independent sites ({SAMPLED} draws) against all: Pearson {np.corrcoef(alone, whole)[0, 1]:.4f}")


def mean_average_precision(score: Array, wanted: NDArray[np.uint8]) -> float:
    """The mean over cases with a tag of the average precision of their ranking of all tags."""
    from sklearn.metrics import average_precision_score

    return float(np.mean([average_precision_score(w, s) for s, w in zip(score, wanted, strict=True) if w.any()]))


def corel5k(folder: Path) -> None:
    """Tags of test pictures ranked by what training pictures say; settings chosen on the last 500 training pictures."""
    from sklearn.linear_model import LogisticRegression

    data = np.load(folder / "corel5k.npz")
    image, tags = data["image_train"].astype(np.float64), data["tags_train"]
    fit, held = slice(0, 4000), slice(4000, 4500)
    frequency = np.broadcast_to(tags.mean(axis=0), (len(data["tags_test"]), tags.shape[1]))
    print(f"by frequency: mean average precision {mean_average_precision(frequency, data['tags_test']):.4f}")

    def neighbours(known: Array, labels: NDArray[np.uint8], new: Array, count: int) -> Array:
        near = (new @ known.T) / np.sqrt(new.sum(1)[:, None] * known.sum(1)[None])
        order = np.argsort(-near, axis=1, kind="stable")[:, :count]
        weight = np.take_along_axis(near, order, axis=1)[:, :, None]
        return (weight * labels[order]).sum(axis=1) / weight.sum(axis=1) + 1e-3 * labels.mean(axis=0)

    tried = {
        k: mean_average_precision(neighbours(image[fit], tags[fit], image[held], k), tags[held])
        for k in (10, 20, 40, 80, 160, 320)
    }
    best = max(tried, key=lambda k: tried[k])
    score = neighbours(image, tags, data["image_test"].astype(np.float64), best)
    print(f"{best} nearest neighbours by cosine: {mean_average_precision(score, data['tags_test']):.4f}")

    def regressions(known: Array, labels: NDArray[np.uint8], new: Array, strength: float) -> Array:
        out = np.tile(labels.mean(axis=0), (len(new), 1))
        for tag in np.flatnonzero((labels.sum(axis=0) > 0) & (labels.sum(axis=0) < len(labels))):
            model = LogisticRegression(C=strength, max_iter=200).fit(known, labels[:, tag])
            out[:, tag] = model.predict_proba(new)[:, 1]
        return out

    tried_c = {
        c: mean_average_precision(regressions(image[fit], tags[fit], image[held], c), tags[held])
        for c in (0.01, 0.1, 1.0)
    }
    chosen = max(tried_c, key=lambda c: tried_c[c])
    score = regressions(image, tags, data["image_test"].astype(np.float64), chosen)
    print(f"logistic regression a tag (C = {chosen}): {mean_average_precision(score, data['tags_test']):.4f}")


def mnist(folder: Path, size: int = 30) -> None:
    """The mean squared error of a test image given back from so many numbers.

    Logistic PCA here finds each image's numbers by maximum likelihood; with a linear map in their place, as in Hinton
    and Salakhutdinov (2006), it is the network of mnist_logistic_pca.ebm.
    """
    from pgmdsl.runtime.readers import read_array

    train, test = (
        read_array(f"{name}-images-idx3-ubyte.gz", folder, "images").reshape(-1, 784).astype(np.float32) / 255
        for name in ("train", "t10k")
    )
    mean = train.mean(axis=0)
    _, directions = np.linalg.eigh((train - mean).T @ (train - mean))
    best = directions[:, -size:]
    error = np.square((test - mean) @ best @ best.T - (test - mean)).sum(axis=1).mean()
    print(f"PCA, {size} numbers: squared error {error:.2f} an image")
    some = train[:FITTED]
    start = np.random.default_rng(0).normal(0, 0.1, size * (len(some) + 784) + 784)
    _, weights = _logistic(some, start, size, None)
    scores, weights = _logistic(test, np.zeros(size * len(test)), size, weights)
    error = np.square(expit(scores @ weights[:-1] + weights[-1]) - test).sum(axis=1).mean()
    print(f"logistic PCA, {size} numbers by maximum likelihood, fitted to {FITTED} images: squared error {error:.2f}")


def _logistic(x: Single, start: Array, size: int, weights: Single | None) -> tuple[Single, Single]:
    """Scores (cases, size) and weights (size + 1, pixels), the last row a bias, of p = sigmoid(scores W + b).

    By maximum likelihood with L-BFGS; the scores alone where weights are given.
    """
    cases, pixels = x.shape

    def parts(theta: Array) -> tuple[Single, Single]:
        scores, rest = np.split(theta.astype(np.float32), [cases * size])
        return scores.reshape(cases, size), rest.reshape(size + 1, pixels) if weights is None else weights

    def loss(theta: Array) -> tuple[float, Array]:
        scores, w = parts(theta)
        field = scores @ w[:-1] + w[-1]
        apart = expit(field) - x
        gradient = [(apart @ w[:-1].T).ravel()]
        if weights is None:
            gradient += [(scores.T @ apart).ravel(), apart.sum(axis=0)]
        value = np.sum(np.logaddexp(0, field) - x * field, dtype=np.float64)
        return float(value) / cases, np.concatenate(gradient).astype(np.float64) / cases

    return parts(minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x)


BASELINES = {"newsgroups": newsgroups, "neurons": neurons, "protein": protein, "corel5k": corel5k, "mnist": mnist}

if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[2] not in BASELINES:
        sys.exit(__doc__)
    BASELINES[sys.argv[2]](Path(sys.argv[1]))
