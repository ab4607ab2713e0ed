"""Real data: digits that are shipped, and public sets that are read where they lie beside the checkout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pgmdsl
from pgmdsl.runtime.readers import read_array

EXAMPLES = Path(__file__).parent.parent / "examples"
DATA = Path(__file__).parent.parent.parent / "shared" / "data"

NLTCS = """
model NLTCS(D = 16, F = 12)
visible v : binary[D] bias b
hidden  h : binary[F] bias a
v -- h : W
train { fit { epochs = 40, rate = 0.2 * (1 - progress), negative = pcd(1, chains = 100), average = 0.999 } }
"""


def present(name: str) -> Path:
    """A file of the public sets, or a skipped test."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not beside the checkout")
    return path


def independent(train: np.ndarray, test: np.ndarray) -> float:
    """Mean test log-probability of independent bits with the training means."""
    p = (train.sum(0) + 1) / (len(train) + 2)
    return float((test * np.log(p) + (1 - test) * np.log1p(-p)).sum(1).mean())


def test_exact_likelihood_of_a_survey(tmp_path: Path) -> None:
    """Every good model reaches about -6.0 nats on NLTCS (16 bits); log Z is exact, so there is no estimate to trust."""
    with np.load(present("binary_density/nltcs.npz"), allow_pickle=False) as archive:
        train, test = (np.unpackbits(archive[name], axis=1, count=16) for name in ("train", "test"))
    run = pgmdsl.train(pgmdsl.compile_text(NLTCS), {"v": train}, out=tmp_path / "run")
    (figure,) = run.evaluate({"v": test})
    assert figure.side == "exact"
    assert independent(train, test) < -9
    assert -6.4 < figure.value < -5.9


def test_mnist_is_read_as_published() -> None:
    images = read_array(str(present("mnist/t10k-images-idx3-ubyte.gz")), Path(), "images")
    labels = read_array(str(present("mnist/t10k-labels-idx1-ubyte.gz")), Path(), "labels")
    assert (images.shape, images.dtype, labels.shape) == ((10000, 28, 28), np.uint8, (10000,))
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_digits_that_are_shipped() -> None:
    images = read_array("digits.npz:images", EXAMPLES, "images")
    assert (images.shape, images.dtype, int(images.max())) == ((1797, 8, 8), np.uint8, 16)


def test_the_shipped_model_beats_independent_pixels(tmp_path: Path) -> None:
    """A short run of the shipped deep machine: its bound on held-out digits is above that of independent bits."""
    source = (EXAMPLES / "dbm.ebm").read_text(encoding="utf-8").replace("epochs = 300", "epochs = 60")
    source = source.replace("epochs   = 600", "epochs   = 40").replace('"digits', f'"{EXAMPLES}/digits')
    run = pgmdsl.train(pgmdsl.compile_text(source), out=tmp_path / "run")
    figure, *_ = run.evaluate()
    levels = read_array("digits.npz:images", EXAMPLES, "images").reshape(-1, 64) / 16
    p = np.clip(levels.mean(0), 1e-3, 1 - 1e-3)
    floor = float((levels * np.log(p) + (1 - levels) * np.log1p(-p)).sum(1).mean())  # expected over bits, on all rows
    assert figure.side == "lower bound"
    assert figure.value - 3 * (figure.case_error + figure.log_partition_error) > floor + 1
