"""How parameters start, for every unit, edge and option; files of parameters; data of another scale than its units."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import RBM, artifact_of, kernels_of, random_data, random_parameters

from pgmdsl.arrays import Arrays
from pgmdsl.compiler.artifact import Artifact
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.data import Data, open_data
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.masks import prepared
from pgmdsl.runtime.parameters import (
    data_statistics,
    initial_parameters,
    load_parameters,
    mean_statistics,
    overlay_parameters,
    parameter_metadata,
)
from pgmdsl.runtime.scales import data_warnings
from pgmdsl.runtime.tensors import pack_tensors

EVERY = """
unit level {
  support x in {-1, 0, 2}
  energy 0.3 * x^2
  statistic -2*x
}
unit drelu {
  param gp > 0, gm > 0, tp, tm
  support x in real
  energy gp*x^2/2 + tp*x if x > 0 else gm*x^2/2 + tm*x
  statistic x
}
model Every
given   u : gaussian[2]
visible v : binary[2, 2]
visible s : spin[2]
visible y : softmax[2, 3]
visible g : gaussian[3](sigma = learned)
visible n : binomial[2](trials = 12)
visible z : poisson[2]
visible r : relu[2]
visible e : drelu[2]
visible w : replicated_softmax[5]
visible t : level[2]
hidden  h : binary[3]
hidden  k : spin[2] bias a(scale = 1)
u -- h
v -- h
s -- h
y -- h
g -- h
n -- h
z -- h
r -- h
e -- h
w -- h
w -- k
t -- h
y -- y : L
v -- v : J(init = normal(0.2))
v * s * k : T(init = normal(0.3))
"""


def opened(artifact: Artifact, data: Any, **options: Any) -> Data:
    return open_data(artifact, data, base=Path(), **options).train


def started(text: str, data: Any = None, base: Path = Path(), seed: int = 1) -> tuple[Artifact, Any]:
    artifact = artifact_of(text)
    cases = None if data is None else opened(artifact, data)
    return artifact, initial_parameters(artifact, kernels_of(artifact), seed, data=cases, base=base)


def test_every_unit_has_its_mean_when_the_others_are_at_theirs() -> None:
    """Documents of different lengths, lateral and multiplicative edges, users' units and a given layer included."""
    artifact = artifact_of(EVERY)
    data = opened(artifact, random_data(artifact, 50))
    machine = Machine(artifact, kernels_of(artifact), initial_parameters(artifact, kernels_of(artifact), 1, data=data))
    for weight in ("J", "T", "L"):
        assert np.abs(machine.p[weight]).max() > 0.02
    means = mean_statistics(machine, data_statistics(machine, data))
    rows = {n: np.ascontiguousarray(m[None]) for n, m in means.items()}
    for name in machine.layers:
        if name in machine.given:
            continue
        out = np.zeros_like(rows[name])
        machine.mean(name, machine.coupling(name, rows, 1), out, s=rows)
        gap = 0.002 * max(1, rows["w"].sum()) if artifact.layers[name].support in ("one_hot", "counts") else 1e-9
        np.testing.assert_allclose(out[0], means[name], atol=gap, err_msg=name)
    np.testing.assert_allclose(means["t"], -2 * data.moments("t")[0], rtol=1e-12)


def test_a_bias_is_per_word_of_its_documents() -> None:
    text = (
        "model D\nvisible w : replicated_softmax[3] bias b\nhidden h : binary[2] bias a\nw -- h : W(init = normal(1))"
    )
    counts = np.array([[1, 2, 3], [0, 0, 2], [4, 0, 0]])
    _, p = started(text, {"w": counts})
    length, mean = 4.0, counts.mean(axis=0)
    np.testing.assert_allclose(length * p["a"] + mean @ p["W"], 0, atol=1e-12)
    field = p["b"] + p["W"] @ [0.5, 0.5]
    np.testing.assert_allclose(np.exp(field) / np.exp(field).sum(), mean / mean.sum(), atol=0.002)
    np.testing.assert_allclose(np.exp(field).mean(), 1, atol=1e-12)  # no common shift


def test_frequencies_that_are_0_have_finite_biases() -> None:
    artifact = artifact_of(EVERY)
    data = {n: np.zeros((9, *layer.dims)) for n, layer in artifact.layers.items() if layer.role != "hidden"}
    data |= {"s": -np.ones((9, 2)), "w": np.tile([3, 0, 0, 0, 0], (9, 1)), "y": np.zeros((9, 2), int)}
    data["g"] = np.random.default_rng(0).normal(0, 1, (9, 3))
    p = initial_parameters(artifact, kernels_of(artifact), 1, data=opened(artifact, data))
    for name, value in p.items():
        assert np.isfinite(value).all(), name
        assert np.abs(value).max() < 100, name


def test_users_units_start_as_the_language_says() -> None:
    _, p = started(EVERY)
    for name, value in {"gp_e": 1, "gm_e": 1, "tp_e": 0, "tm_e": 0, "sigma_g": 1}.items():
        np.testing.assert_array_equal(p[name], value)


def test_symmetric_weights_start_so() -> None:
    text = "model L\nvisible v : binary[20]\nvisible x : softmax[4, 3]\nhidden h : binary[1]\nv -- h\nx -- h\n"
    text += "v -- v : L(init = normal(0.5))\nx -- x : J(init = 0.25)\n"
    _, p = started(text)
    np.testing.assert_array_equal(p["L"], p["L"].T)
    assert not np.diag(p["L"]).any()
    drawn = p["L"][np.triu_indices(20, 1)]
    assert abs(drawn.std() - 0.5) < 4 * 0.5 / (2 * len(drawn)) ** 0.5
    np.testing.assert_array_equal(p["J"].reshape(12, 12), 0.25 * np.kron(1 - np.eye(4), np.ones((3, 3))))
    assert not np.array_equal(p["L"], started(text, seed=2)[1]["L"])


def test_weights_start_inside_their_masks(tmp_path: Path) -> None:
    text = RBM.replace("v -- h : W", 'v -- h : W(mask = "m.npy", init = normal(1))')
    mask = np.random.default_rng(0).random((4, 3)) < 0.5
    np.save(tmp_path / "m.npy", mask)
    _, p = started(text, base=tmp_path)
    np.testing.assert_array_equal(p["W"] != 0, mask)
    _, p = started(text.replace("normal(1)", "0.5"), base=tmp_path)
    np.testing.assert_array_equal(p["W"], 0.5 * mask)


# --- files ------------------------------------------------------------------------------------------------

FILES = """
model Files
visible g : gaussian[2](sigma = learned("s.npy")) bias b(init = "b.npy")
hidden  h : binary[3] bias a
g -- h : W(init = "w.npy")
g -- g : L(init = "l.npy")
"""


def write(folder: Path, **changes: Any) -> None:
    good = {"s": np.array([0.5, 2]), "b": np.array([1.0, 2]), "w": np.eye(2, 3), "l": np.array([[0, 0.2], [0.2, 0]])}
    for name, value in (good | changes).items():
        np.save(folder / f"{name}.npy", value)


def test_weights_that_may_not_be_positive_do_not_start_so(tmp_path: Path) -> None:
    """Training would set them to 0 at its first step, without a word."""
    text = 'model N\nvisible v : poisson[2]\nhidden z : relu[2]\nv -- z : W(init = "w.npy")\n'
    np.save(tmp_path / "w.npy", np.array([[-0.5, 0.25], [0.0, -1.0]]))
    with pytest.raises(Error, match=r"W has entries above 0, the largest 0\.25"):
        started(text, base=tmp_path)
    artifact = artifact_of(text)
    with pytest.raises(Error, match="entries above 0"):
        overlay_parameters({"W": np.zeros((2, 2))}, {"W": np.ones((2, 2))}, artifact, "start")
    np.save(tmp_path / "w.npy", -np.ones((2, 2)))
    assert (started(text, base=tmp_path)[1]["W"] == -1).all()


def test_parameters_from_files(tmp_path: Path) -> None:
    write(tmp_path)
    data = opened(artifact_of(FILES), {"g": np.random.default_rng(0).normal(0, 1, (9, 2))})
    artifact = artifact_of(FILES)
    p = initial_parameters(artifact, kernels_of(artifact), 0, data=data, base=tmp_path)
    np.testing.assert_array_equal(p["sigma_g"], [0.5, 2])
    np.testing.assert_array_equal(p["b"], [1, 2])
    np.testing.assert_array_equal(p["W"], np.eye(2, 3))
    np.testing.assert_array_equal(p["L"], [[0, 0.2], [0.2, 0]])
    assert not any(artifact.parameters[n].fixed for n in p)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"w": np.eye(3, 2)}, "w.npy (values of the weight W): the array has shape (3, 2), but W has (2, 3); give it"),
        ({"w": np.full((2, 3), np.nan)}, "not every value is finite"),
        ({"s": np.array([1.0, 0])}, "s.npy (values of the parameter sigma_g): not every value is finite and greater"),
        ({"b": np.array(["a", "b"])}, "not numbers"),
        (
            {"l": np.array([[0, 0.2], [0.3, 0]])},
            "its entries (0, 1) and (1, 0), with the layer's axes flattened, are 0.2",
        ),
        ({"l": np.array([[0.1, 0.2], [0.2, 0]])}, "its diagonal is 0, but its entry (0, 0) is 0.1; set it to 0"),
    ],
)
def test_files_of_parameters_that_do_not_fit(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path, **change)
    with pytest.raises(Error) as caught:
        started(FILES, base=tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


MASKED = """
model Masked
visible x : softmax[4, 2]
hidden  h : binary[4]
x -- h : W(mask = local(radius = 1))
x -- x : L
"""


@pytest.mark.parametrize(
    ("name", "at", "message"),
    [
        ("W", (3, 1, 0), "W has 1 entries other than 0 outside its mask, the first at [3, 1, 0]; set them to 0, or"),
        ("L", (0, 0, 1, 1), "L joins x to itself and is symmetric, but its entries (0, 3) and (3, 0)"),
        ("L", (1, 1, 1, 1), "its diagonal is 0, but its entry (3, 3) is 7"),
    ],
)
def test_loaded_weights_keep_to_mask_and_symmetry(name: str, at: Any, message: str, tmp_path: Path) -> None:
    artifact, p = started(MASKED)
    masks, _ = prepared(artifact, Path())
    path = tmp_path / "p.safetensors"
    path.write_bytes(pack_tensors(p, parameter_metadata(artifact)))
    for key, value in load_parameters(path, artifact, masks).items():
        np.testing.assert_array_equal(value, p[key])
    wrong = {name: p[name].copy()}
    wrong[name][at] = 7
    path.write_bytes(pack_tensors(p | wrong, parameter_metadata(artifact)))
    for act in (
        lambda: load_parameters(path, artifact, masks),
        lambda: overlay_parameters(dict(p), wrong, artifact, "there", masks),
    ):
        with pytest.raises(Error) as caught:
            act()
        assert message in str(caught.value)


@pytest.mark.parametrize("value", [np.zeros(3), np.array([1.0, -1, 1]), np.full(3, np.nan)])
def test_loaded_deviations_are_positive(value: Any) -> None:
    artifact, p = started(EVERY)
    with pytest.raises(Error, match=r"there: sigma_g holds values that are (not greater than 0|not finite)"):
        overlay_parameters(p, {"sigma_g": value}, artifact, "there")


def test_the_api_refuses_lateral_weights_that_are_not_symmetric() -> None:
    artifact = artifact_of(MASKED)
    arrays, p = Arrays(artifact, kernels_of(artifact)), random_parameters(artifact)
    p["L"][0, 0, 1, 0] += 1
    with pytest.raises(Error, match="the parameters given: L joins x to itself and is symmetric"):
        arrays.machine(p)


# --- the scale of real data -------------------------------------------------------------------------------

REAL = "model R\nvisible g : gaussian[4]({sigma})\nhidden h : binary[2]\ng -- h\n"


def normal(mean: float, sd: float) -> Any:
    return np.random.default_rng(0).normal(mean, sd, (200, 4))


def said(text: str, g: Any) -> list[str]:
    artifact = artifact_of(text)
    return data_warnings(artifact, opened(artifact, {"g": g}))


@pytest.mark.parametrize(
    ("sigma", "mean", "sd", "words"),
    [
        (
            "sigma = 1",
            110,
            65,
            r"about 6\d(\.\d)? \(.* over its 4 units; .* 1[01]\d\), and its sigma is fixed at 1: .* data",
        ),
        ("sigma = 1", 0, 0.01, r"or scale = 1\d\d(\.\d)? in its data block"),
        ("sigma = 50", 0, 1, "its sigma is fixed at 50"),
        ("sigma = data", 5000, 1, r"far off 0 for their spread: the mean of unit \[\d\] is 500\d"),
        ("sigma = 1", 0, 1, None),
        ("sigma = 1", 3, 0.3, None),
        ("sigma = 50", 0, 60, None),
        ("sigma = data", 110, 65, None),
        ("sigma = learned", 110, 65, None),
    ],
)
def test_data_of_another_scale_is_warned_of(sigma: str, mean: float, sd: float, words: str | None) -> None:
    found = said(REAL.format(sigma=sigma), normal(mean, sd))
    if words is None:
        assert found == []
    else:
        assert len(found) == 1
        assert re.search(words, found[0]), found
        assert "of g" in found[0]


def test_units_without_a_sigma_have_the_scale_1() -> None:
    (line,) = said("model R\nvisible g : relu[4]\nhidden h : binary[2]\ng -- h\n", np.abs(normal(0, 90)))
    assert "the scale of relu units is 1" in line
    assert "write scale = 0.01" in line


def test_sigma_starts_at_the_deviation_of_the_data() -> None:
    g = normal(5, 20) * np.array([1, 2, 0, 0.5])
    for sigma in ("learned", "data"):
        artifact = artifact_of(REAL.format(sigma=f"sigma = {sigma}"))
        data = opened(artifact, {"g": g})
        p = initial_parameters(artifact, kernels_of(artifact), 0, data=data)
        sd = g.std(axis=0)
        np.testing.assert_allclose(p["sigma_g"], np.maximum(sd, 0.01 * sd.max()), rtol=1e-12)
        (line,) = data_warnings(artifact, data)
        assert ("starts at" if sigma == "learned" else "is set to") in line
        with pytest.raises(Error, match=f"layer g has sigma = {sigma}, but every unit of it is constant"):
            started(REAL.format(sigma=f"sigma = {sigma}"), {"g": np.ones((5, 4))})


def test_sigma_is_measured_on_what_is_observed() -> None:
    g = normal(5, 20)
    g[::2, 1] = np.nan
    g[:, 3] = np.nan
    artifact = artifact_of(REAL.format(sigma="sigma = learned"))
    data = opened(artifact, {"g": g})
    p = initial_parameters(artifact, kernels_of(artifact), 0, data=data)
    variance = np.nanvar(g[:, :3], axis=0)
    np.testing.assert_allclose(p["sigma_g"], np.sqrt([*variance, variance.mean()]), rtol=1e-12)
    assert "1 of the 4 units of g are never observed" in " ".join(data_warnings(artifact, data))
