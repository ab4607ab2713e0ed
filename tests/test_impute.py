"""Missing values filled in: by every unit type, against exact sums, and as files a user has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import random_parameters
from compiled import plain_python
from numpy.typing import NDArray

import pgmdsl
from pgmdsl.runtime.estimators.exact import exact_statistics
from pgmdsl.runtime.impute import Imputation, Method, impute
from pgmdsl.runtime.known import Known, known_of, open_any, wrapped
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.sampling import infer, to_states

Array = NDArray[Any]

EVERY = """
unit trit {
  support   x in {-1, 0, 1}
  energy    0.3 * x^2
  statistic x
}
unit drelu {
  param gp > 0, gm > 0, tp, tm
  support x in real
  energy gp*x^2/2 + tp*x if x > 0 else gm*x^2/2 + tm*x
  statistic x
}
model Every
visible b : binary[3]
visible s : spin[2]
visible k : softmax[2, 3]
visible g : gaussian[2](sigma = learned)
visible m : replicated_softmax[3]
visible n : binomial[2](trials = 3)
visible o : poisson[2]
visible r : relu[2]
visible t : trit[2]
visible u : drelu[2]
given   c : binary[2]
hidden  h : binary[3]
b -- b : L
b -- h : B
s -- h : S
k -- h : K
g -- h : G
m -- h : D
n -- h : N
o -- h : P
r -- h : R
t -- h : T
u -- h : U
c * b * h : C
"""
CASES = 4


@pytest.fixture(scope="module")
def machine() -> Machine:
    with plain_python():
        model = pgmdsl.compile_text(EVERY, dtype="float64")
        return model._arrays.machine(random_parameters(model.artifact, seed=1, sd=0.5))


@pytest.fixture(scope="module")
def data(machine: Machine) -> dict[str, Array]:
    """States of the visible layers, of each of which some values are missing."""
    rng = np.random.default_rng(3)
    x = {
        "b": rng.integers(0, 2, (CASES, 3)).astype(float),
        "s": rng.choice([-1.0, 1.0], (CASES, 2)),
        "k": np.eye(3)[rng.integers(0, 3, (CASES, 2))],
        "g": rng.normal(0, 1, (CASES, 2)),
        "m": rng.multinomial(5, [0.5, 0.3, 0.2], CASES).astype(float),
        "n": rng.integers(0, 4, (CASES, 2)).astype(float),
        "o": rng.poisson(1, (CASES, 2)).astype(float),
        "r": rng.exponential(1, (CASES, 2)),
        "t": rng.integers(-1, 2, (CASES, 2)).astype(float),
        "u": rng.normal(0, 1, (CASES, 2)),
    }
    for name, values in x.items():
        flat = values.reshape(CASES, values.shape[1], -1)
        flat[0] = np.nan  # a case of which nothing is observed
        flat[1, 0] = np.nan
        flat[2, 1] = np.nan
        assert np.isnan(x[name]).any()
    return x | {"c": rng.integers(0, 2, (CASES, 2)).astype(float)}


def known_in(machine: Machine, data: dict[str, Array]) -> tuple[Known, Any]:
    opened = open_any(machine.artifact, wrapped(machine.artifact, data, None, {"m": 5}), Path())
    return known_of(machine, opened, {"m": 5}), opened


def filled(machine: Machine, data: dict[str, Array], **options: Any) -> Imputation:
    return impute(*known_in(machine, data), **options)


@pytest.fixture(scope="module")
def by_gibbs(machine: Machine, data: dict[str, Array]) -> Imputation:
    return filled(machine, data, burn=8, sweeps=3, samples=300, seed=5)


def exact_means(machine: Machine, data: dict[str, Array]) -> dict[str, Array]:
    known, _ = known_in(machine, data)
    found = exact_statistics(machine, known.s, held=known.held, lengths=known.lengths).means
    return to_states(machine, {n: np.ascontiguousarray(x) for n, x in found.items()})


def test_means_are_those_of_exact_sums(machine: Machine, data: dict[str, Array], by_gibbs: Imputation) -> None:
    wanted = exact_means(machine, data)
    for name in wanted.keys() - {"h"}:
        missing = by_gibbs.missing[name]
        draws = by_gibbs.samples[name]
        error = draws.std(0)[missing] / np.sqrt(len(draws)) + 1e-9
        apart = np.abs(by_gibbs.means[name] - wanted[name])[missing]
        assert (apart < 4.5 * error).all(), name
        assert (np.abs(draws.mean(0) - wanted[name])[missing] < 4.5 * error).all(), name


def test_means_are_better_than_those_of_samples(machine: Machine, data: dict[str, Array], by_gibbs: Imputation) -> None:
    """Averages of conditional means over all sweeps that count have less noise than last states."""
    wanted = exact_means(machine, data)
    errors = [
        sum(float(np.square(x[n] - wanted[n])[by_gibbs.missing[n]].sum()) for n in wanted.keys() - {"h"})
        for x in (by_gibbs.means, {n: x.mean(0) for n, x in by_gibbs.samples.items()})
    ]
    assert errors[0] < 0.6 * errors[1]


@pytest.mark.parametrize("method", ["gibbs", "mean_field"])
def test_what_is_observed_is_bit_for_bit_as_it_was(machine: Machine, data: dict[str, Array], method: Method) -> None:
    found = filled(machine, data, method=method, burn=2, sweeps=2, samples=3)
    for name, x in found.means.items():
        missing = np.isnan(data[name])
        np.testing.assert_array_equal(found.missing[name], missing)
        assert x[~missing].tobytes() == data[name][~missing].tobytes()
        assert found.samples[name].shape == (3, *data[name].shape)
        assert all(draw[~missing].tobytes() == data[name][~missing].tobytes() for draw in found.samples[name])
        assert np.isfinite(x).all()
        assert np.isfinite(found.samples[name]).all()


@pytest.mark.parametrize("method", ["gibbs", "mean_field"])
def test_samples_are_states(machine: Machine, data: dict[str, Array], method: Method) -> None:
    found = filled(machine, data, method=method, burn=2, sweeps=2, samples=3).samples
    assert np.isin(found["b"], [0, 1]).all()
    assert np.isin(found["s"], [-1, 1]).all()
    assert np.isin(found["t"], [-1, 0, 1]).all()
    assert np.isin(found["n"], [0, 1, 2, 3]).all()
    assert ((found["o"] >= 0) & (found["o"] == np.floor(found["o"]))).all()
    assert (found["r"] >= 0).all()
    np.testing.assert_array_equal(found["k"].sum(-1), 1)
    np.testing.assert_array_equal(found["m"].sum(-1)[:, np.isnan(data["m"]).any(1)], 5)


def test_mean_field_is_that_of_inference(machine: Machine, data: dict[str, Array]) -> None:
    found = filled(machine, data, method="mean_field", sweeps=50)
    means = infer(known_in(machine, data)[0], 50)
    for name in found.means:
        np.testing.assert_allclose(found.means[name], means[name], atol=1e-12)
        np.testing.assert_array_equal(found.means[name][3], data[name][3])


def test_layers_that_are_left_out_are_filled_in_as_a_whole(machine: Machine, data: dict[str, Array]) -> None:
    rest = {n: data[n] for n in ("s", "c")}
    found = filled(machine, rest, burn=2, sweeps=2)
    assert found.missing["b"].all()
    assert found.fillings["b"].wholly == CASES
    assert found.fillings["k"].values == CASES * 2
    assert set(found.means) == set("bskgmnortu")
    np.testing.assert_array_equal(found.samples["m"].sum(-1), 5)


def test_equal_seeds_give_equal_bits(machine: Machine, data: dict[str, Array]) -> None:
    once, again, other = (filled(machine, data, burn=1, sweeps=1, seed=seed) for seed in (1, 1, 2))
    assert all((once.samples[n] == again.samples[n]).all() for n in once.samples)
    assert any((once.samples[n] != other.samples[n]).any() for n in once.samples)


def test_what_was_done_is_said(machine: Machine, data: dict[str, Array]) -> None:
    found = filled(machine, data, burn=0, sweeps=1)
    lines = found.lines()
    assert "k: 4 of 8 values filled in, in 3 of 4 cases, 1 of which lack all" in lines
    assert "1 case has no observed value: filled in from the model alone" in lines
    assert "missing at random" in lines[-1]
    complete = {n: np.nan_to_num(x, nan=1.0) for n, x in data.items()}
    complete["k"] = np.eye(3)[np.zeros((CASES, 2), int)]
    assert filled(machine, complete).lines() == ["nothing is missing in the 4 cases"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"burn": -1}, "burn of 0 or more, not -1"),
        ({"sweeps": 0}, "sweeps of 1 or more"),
        ({"samples": 0}, "samples of 1 or more"),
        ({"method": "em"}, "no method 'em' of imputation: the methods are gibbs, mean_field"),
    ],
)
def test_numbers_that_make_no_sense(
    machine: Machine, data: dict[str, Array], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(pgmdsl.Error, match=words):
        filled(machine, data, **options)


# --- as users have it -------------------------------------------------------------------------------------

LEVELS = """
model M
visible v : binary[2, 3]
visible y : softmax[3]
hidden  h : binary[2]
v -- h : W
y -- h : U
data v {
  scale = 1/10
  bits  = resample
}
train { fit { epochs = 1, batch = 5 } }
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pgmdsl.Run:
    rng = np.random.default_rng(0)
    with plain_python():
        model = pgmdsl.compile_text(LEVELS)
        given = {"v": rng.random((20, 2, 3)), "y": rng.integers(0, 3, 20)}
        return pgmdsl.train(model, given, out=tmp_path_factory.mktemp("impute") / "run")


def test_files_and_masks_in_the_units_of_the_file(
    run: pgmdsl.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from test_cli import run_pgmc

    rng = np.random.default_rng(1)
    v, y = rng.integers(0, 11, (6, 2, 3)).astype(np.uint8), np.array([0, 1, 2, np.nan, np.nan, 1])
    mask = rng.random((6, 2, 3)) < 0.5
    mask[0] = True
    for name, x in (("v", v), ("y", y), ("mask", mask)):
        np.save(tmp_path / f"{name}.npy", x)
    command = ["impute", str(run.directory), "--data", f"v={tmp_path / 'v.npy'}", "--data", f"y={tmp_path / 'y.npy'}"]
    command += ["--mask", f"v={tmp_path / 'mask.npy'}", "--samples", "2", "--burn", "5", "--sweeps", "5"]
    with plain_python():
        code, out, err = run_pgmc(capsys, *command, "-o", str(tmp_path / "out.npz"))
        assert code == 0, err
        answer = json.loads(run_pgmc(capsys, *command, "-o", str(tmp_path / "again.npz"), "--json")[1])
    count = int((~mask).sum())
    assert f"v: {count} of 36 values filled in, in 5 of 6 cases" in out
    assert "y: 2 of 6 values filled in, in 2 of 6 cases, which lack all" in out
    assert "bits of v that were drawn once" in out
    assert "missing at random" in out
    assert answer["filled"]["v"]["values"] == count
    assert answer["assumption"] == "missing at random"
    assert [Path(sheet).exists() for sheet in answer["sheets"]] == [True]
    with np.load(tmp_path / "out.npz") as found:
        np.testing.assert_array_equal(found["v"][mask], v[mask])
        assert ((found["v"][~mask] > 0) & (found["v"][~mask] < 10)).all()
        assert np.isin(found["v_samples"][:, ~mask], [0, 10]).all()
        np.testing.assert_array_equal(found["y"][:3], np.eye(3))
        np.testing.assert_allclose(found["y"].sum(-1), 1, rtol=1e-6)
        np.testing.assert_array_equal(found["v_missing"], ~mask)


def test_a_mask_without_values(run: pgmdsl.Run) -> None:
    with pytest.raises(pgmdsl.Error, match="a mask is given for y, but no values"):
        run.impute({"v": np.ones((2, 2, 3))}, masks={"y": np.ones(2)})
    with pytest.raises(pgmdsl.Error, match="a length is given for v, which is no layer of documents of M"):
        run.impute({"v": np.ones((2, 2, 3))}, lengths={"v": 3})
    with pytest.raises(pgmdsl.Error, match=r"the mask has shape \(2, 2\)"):
        run.impute({"v": np.ones((2, 2, 3))}, masks={"v": np.ones((2, 2))})
