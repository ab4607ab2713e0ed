"""Mistakes that a reviewer planted and no other test noticed: in the prover's laws, in random keys, in weights."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import DBM, RBM, artifact_of, kernels_of, random_data, random_parameters, train, with_train

from pgmdsl.compiler.derive import derive_model
from pgmdsl.compiler.driver import checked_model
from pgmdsl.compiler.prove import verify_checks
from pgmdsl.grammar.source import Source
from pgmdsl.runtime import data, feed, fit, learner, machine
from pgmdsl.runtime.columns import check_column
from pgmdsl.runtime.data import open_data
from pgmdsl.runtime.estimators.scores import score_cases
from pgmdsl.runtime.evaluation import estimate_log_partition, evaluate_data, statistics_of
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.random import stream_key

UNITS = """model Units(D = 3, F = 2, N = 4, K = 5)
visible v : binary[D]      bias b
hidden  s : spin[F]        bias a
hidden  x : softmax[N, K]  bias e
v -- s : W
v -- x : T
"""


@pytest.mark.parametrize(
    ("check", "status"),
    [
        ("energy == energy + sum(log(v[i]) - log(v[i]) for i)", "refuted"),  # log 0
        ("d(energy, b[i]) == -v[i]*(v[i]/v[i])", "refuted"),  # 0/0
        ("energy == energy + sum(s[j]^2 for j) - F", "proved"),
        ("energy == energy + sum(s[j]^2 - s[j] for j)", "refuted"),
        ("energy == energy + sum(x[n,k] for n, k) - N", "proved"),
        ("energy == energy + sum(x[n,k] for n, k) - K", "refuted"),
        ("energy == energy + sum(x[n,k]*x[n,m] for n, k, m) - N", "proved"),
        ("energy == energy + sum(x[n,k]*x[m,k] for n, m, k) - N^2", "refuted"),
    ],
)
def test_laws_of_states(check: str, status: str) -> None:
    model, _ = checked_model(Source("units.ebm", f'{UNITS}check "t": {check}\n'), {})
    assert [v.status for v in verify_checks(model, derive_model(model), mending=False)] == [status]


@pytest.mark.parametrize("fixed", [False, True])
def test_rows_have_bits_of_their_own(fixed: bool) -> None:
    """No row's bits are another's, shifted by some units."""
    artifact = artifact_of("model Wide\nvisible v : binary[64]\nhidden h : binary[1]\nv -- h\n")
    column = check_column(artifact.layers["v"], np.full((3, 64), 0.5), "the test", bits="resample")
    bits = np.empty((3, 64))
    column.states(np.arange(3), bits, kernels_of(artifact).draw_bits, 7, fixed=fixed)
    for shift in range(1, 4):
        assert 16 < np.sum(bits[1][:-shift] != bits[0][shift:]) < 48


@pytest.mark.parametrize("phase", ["cd(2)", "pcd(2)", "gibbs(2)"])
def test_no_key_is_used_twice_in_training(phase: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys: Counter[tuple[Any, ...]] = Counter()

    def noted(seed: int, *words: int | str) -> np.uint64:
        keys[seed, *words] += words[:1] != ("watched",) and len(words) > 2  # not those that are the same by intent
        return stream_key(seed, *words)

    for module in (data, feed, fit, learner, machine):
        monkeypatch.setattr(module, "stream_key", noted)
    text = DBM.replace("hidden  h1", "visible w : binary[D] bias c\nhidden  h1", 1) + "w -- h1 : V\n"
    blocks = "".join(f"data {n} {{\n  bits = resample\n}}\n" for n in "vw")
    settings = f"greedy {{ epochs = 2 }}\nfit {{ epochs = 2, positive = gibbs(2), negative = {phase} }}"
    artifact = with_train(text + blocks, settings)
    levels = np.random.default_rng(0).uniform(size=(150, 4))
    train(artifact, {"v": levels, "w": levels}, out=tmp_path / "run")
    used = {key for key in keys if len(key) > 3 and "pass" not in key}
    assert len(used) > 40
    assert {key: keys[key] for key in used if keys[key] > 1} == {}


def test_figures_weigh_the_cases() -> None:
    artifact = artifact_of(RBM)
    parameters = {n: np.ascontiguousarray(p) for n, p in random_parameters(artifact, 3).items()}
    model = Machine(artifact, kernels_of(artifact), parameters)
    weights = np.linspace(0.1, 3, 12)
    splits = open_data(artifact, random_data(artifact, 12), weights=weights, base=Path())
    log_z = estimate_log_partition(model, "exact", None)
    (figure, *_) = evaluate_data(model, splits.train, log_z, seed=0)
    scores = score_cases(model, statistics_of(model, splits.train, 0), log_z).values
    assert figure.value == pytest.approx(np.average(scores, weights=weights), abs=1e-12)
    assert abs(figure.value - scores.mean()) > 1e-3
