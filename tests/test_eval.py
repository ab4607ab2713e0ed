"""`pgmc eval` and `Run.evaluation`: every method on a small run, against enumeration."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import pgmdsl
from pgmdsl.cli import main as cli
from pgmdsl.run import Run

TEXT = """
model Small
visible v : binary[6] bias b
hidden  h : binary[3] bias a
v -- h : W
train { fit { epochs = 4, batch = 20, rate = 0.3, negative = pcd(1, chains = 20) } }
"""
OTHER = TEXT.replace("hidden  h : binary[3]", "hidden  h : binary[2]")
EVERY = np.array(list(np.ndindex(*[2] * 6)), np.float32)


def cases(seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random((count, 6)) < np.where(rng.random((count, 1)) < 0.5, 0.2, 0.8)).astype(np.float32)


def trained(text: str, out: Path) -> Run:
    files = {name: out.parent / f"{name}.npy" for name in ("train", "test", "valid")}
    for path, seed, count in zip(files.values(), (0, 1, 2), (200, 50, 40), strict=True):
        np.save(path, cases(seed, count))
    train, test, valid = ({"v": path} for path in files.values())
    return pgmdsl.train(pgmdsl.compile_text(text), train, valid=valid, test=test, out=out)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    folder = tmp_path_factory.mktemp("runs")
    return trained(TEXT, folder / "three"), trained(OTHER, folder / "two")


def log_p(run: Run) -> np.ndarray:
    """Log p of every state of v, by its number in binary."""
    p = run.parameters
    score = EVERY @ p["b"] + np.logaddexp(0, EVERY @ p["W"] + p["a"]).sum(axis=1)
    return np.asarray(score - np.logaddexp.reduce(score), np.float64)


def of(run: Run, x: np.ndarray) -> np.ndarray:
    return log_p(run)[(x @ 2 ** np.arange(5, -1, -1)).astype(int)]


def pgmc(*arguments: object, capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["pgmc", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
    out, err = capfd.readouterr()
    return int(stop.value.code or 0), out, err


def test_methods_agree_with_enumeration(runs: tuple[Run, Run]) -> None:
    run, exact = runs[0], float(of(runs[0], cases(1, 50)).mean())
    (figure,) = run.evaluation().figures
    assert figure.side == "exact"
    assert figure.value == pytest.approx(exact, abs=1e-4)
    for method in ("ais", "reverse_ais", "bridge"):
        found = run.evaluation(method=method, error=0.02)
        (figure,) = found.figures
        assert abs(figure.value - exact) < 4 * figure.log_partition_error + 1e-4
        assert figure.side == "estimate"
    (raised,) = run.evaluation(method="raise", chains=20, temperatures=100).figures
    assert raised.value == pytest.approx(exact, abs=0.05)
    assert raised.name.endswith("of annealing, not of the model")
    (csl,) = run.evaluation(method="csl", starts="exact").figures
    assert csl.side == "lower bound"
    assert csl.value == pytest.approx(exact, abs=0.05)


def test_pseudolikelihood_visits_all_sites_of_a_small_run(runs: tuple[Run, Run]) -> None:
    run, x = runs[0], cases(1, 50)
    (figure,) = run.evaluation(method="pseudolikelihood").figures
    wanted = np.zeros(50)
    for site in range(6):
        other = x.copy()
        other[:, site] = 1 - other[:, site]
        wanted += of(run, x) - np.logaddexp(of(run, x), of(run, other))
    assert figure.side == "exact"
    assert figure.value == pytest.approx(wanted.mean(), abs=1e-4)


def test_likelihoods_are_watched(runs: tuple[Run, Run]) -> None:
    last = runs[0].metrics[-1]
    assert last["likelihood"] == pytest.approx(of(runs[0], cases(0, 200)).mean(), abs=1e-3)
    assert last["valid_likelihood"] == pytest.approx(of(runs[0], cases(2, 40)).mean(), abs=1e-3)
    assert last["pseudolikelihood"] < 0
    assert "annealed" not in last


def test_figures_on_a_terminal(runs: tuple[Run, Run], capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = pgmc("eval", runs[0].directory, "--baselines", "--components", 2, capfd=capfd)
    assert code == 0
    assert "log Z: all 8 states of h, about 1 s" in err
    assert "(exact" in out
    assert "test log-probability, independent units" in out
    assert "test log-probability, mixture of 2" in out
    code, out, err = pgmc("eval", runs[0].directory, "--method", "bridge", "--temperatures", 50, capfd=capfd)
    assert code == 0
    assert "log Z, going back" in out
    assert "consistent, its starts being exact" in out
    code, out, err = pgmc("eval", runs[0].directory, "--baselines", "--components", 2001, capfd=capfd)
    assert (code, out) == (2, "")
    assert "give 2 to 2000" in err


def test_differences_between_runs(runs: tuple[Run, Run], capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    first, second = runs
    apart = of(first, cases(1, 50)) - of(second, cases(1, 50))
    code, out, _ = pgmc("eval", first.directory, "--against", second.directory, "--json", capfd=capfd)
    assert code == 0
    (found,) = json.loads(out)["differences"]
    assert found["value"] == pytest.approx(apart.mean(), abs=1e-4)
    assert found["case_error"] == pytest.approx(apart.std(ddof=1) / 50**0.5, abs=1e-4)
    blocks = first.evaluation(block=5, against=second)
    assert blocks.differences[0].case_error != found["case_error"]
    wider = pgmdsl.compile_text(TEXT.replace("binary[6]", "binary[7]"))
    other = pgmdsl.train(wider, {"v": np.eye(7)}, out=tmp_path / "wider")
    with pytest.raises(pgmdsl.Error, match="no layer v of the same size"):
        first.evaluation(against=other)
    with pytest.raises(pgmdsl.Error, match="at most half of the 50 cases"):
        first.evaluation(block=26)


def test_what_needs_complete_cases_says_so(runs: tuple[Run, Run]) -> None:
    gaps = cases(1, 50)
    gaps[0, 0] = np.nan
    for options in ({"method": "raise"}, {"method": "csl"}, {"baselines": True}):
        with pytest.raises(pgmdsl.Error, match="complete cases"):
            runs[0].evaluation({"v": gaps}, **options)


def test_mixing_of_samples(runs: tuple[Run, Run], capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    code, out, _ = pgmc("sample", runs[0].directory, "-n", 8, "--draws", 50, "-o", path, "--json", capfd=capfd)
    assert code == 0
    found = json.loads(out)["mixing"]
    assert found["v"]["draws"] == 400
    assert 0.9 < found["v"]["r_hat"] < 1.1
