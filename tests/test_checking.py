"""Kernels compared with the declared energy by `pgmc verify --kernels`: the comparison itself, and that it notices."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import kernel_models
import numpy as np
import oracle
import pytest
from builders import kernels_of
from click.testing import CliRunner
from compiled import plain_python
from random_models import every_unit
from scipy import stats
from test_wide import everything

from pgmdsl.checking import draws, trial
from pgmdsl.checking import target as checking
from pgmdsl.checking.comparison import largest_error, outcomes
from pgmdsl.checking.declared import declared
from pgmdsl.checking.shrink import shrunk
from pgmdsl.checking.sites import site
from pgmdsl.checking.target import Target, targets
from pgmdsl.checking.trial import Trials
from pgmdsl.cli import kernels as cli
from pgmdsl.cli.verify import verify_command
from pgmdsl.compiler.driver import checked_model, compile_model
from pgmdsl.compiler.model import Model
from pgmdsl.grammar.source import Source

EXAMPLES = Path(__file__).parent.parent / "examples"
RBM = "model Small(D = 20, F = 9)\nvisible v : binary[D] bias b\nhidden h : binary[F] bias a\nv -- h : W\n"
DREAMS = """
model Dreams(D = 9, F = 9, K = 12)
visible w : replicated_softmax[K] bias c
visible v : gaussian[D](sigma = learned) bias b
hidden  h : spin[F]               bias a
hidden  t : binary[F]             bias e
h -> v : W
h -> w : V
h -- t : J
v ~> h : R
w ~> h : S
"""


def model_of(text: str) -> Model:
    return checked_model(Source("test.ebm", text), {})[0]


def failing(target: Target) -> list[str]:
    """The functions whose comparisons fail, the kernels being run as plain Python."""
    found = outcomes(target.comparisons, [kernels_of(target.artifact)])
    return [f"{target.label} {o.functions} {o.value}" for o in found if not o.passed]


@pytest.mark.parametrize("make", [every_unit, everything])
def test_the_declared_energy_is_that_of_the_oracle(make):
    """Two evaluations of what a file declares: by the unit table's texts, and by units known by name."""
    random = make()
    model = model_of(random.text)
    sizes = {name: size for name, size in model.sizes.items() if size is not None}
    flat = {n: [int(d.evaluate(sizes)) for d in layer.dims] for n, layer in model.layers.items()}
    parameters = {
        name: np.reshape(random.oracle.parameters[name], [int(np.prod(flat[n])) for n in p.layers])
        if p.kind == "weight"
        else np.ravel(random.oracle.parameters[name])
        for name, p in model.parameters.items()
    }
    found = declared(model.layers, model.edges, parameters, sizes)
    table = oracle.table(random.oracle, {n: np.ones((1, *flat[n])) for n in random.oracle.names("given")})
    pick = np.random.default_rng(0).integers(0, len(table.log_weight), 20)
    states = {n: x[pick] for n, x in table.state.items()}
    energy = found.energy({n: states[n].reshape(20, -1) for n in found.layers})
    np.testing.assert_allclose(energy, oracle.energy(random.oracle, states), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("text", [kernel_models.EDGES, everything().text, DREAMS], ids=["edges", "units", "directed"])
def test_kernels_agree(text):
    _, found = targets(model_of(text), 1000)
    assert [line for target in found for line in failing(target)] == []
    for target in found:
        named = {name for c in target.comparisons for name in c.functions}
        emitted = [line[4:].partition("(")[0] for line in target.artifact.kernels.splitlines() if line[:4] == "def "]
        contract = ("field_", "mean_", "relax_", "sample_", "log_partition", "base_energy_", "slope_", "weight_stat")
        given = tuple(f"_{n}" for n, x in target.artifact.layers.items() if x.role == "given")
        wanted = {n for n in emitted if n.startswith(contract) and not n.endswith((*given, "_flat"))}
        assert wanted - named - {"mean_field_sweep", "slope_of"} == set()


@cache
def broken() -> list:
    return list(Trials(model_of(RBM), 0))


def test_broken_kernels_are_noticed():
    """Nearly all; what is missed draws other random numbers of the same distribution."""
    fates = Counter(m.fate for m in broken())
    assert fates["noticed"] > 500
    assert fates["noticed"] > 0.94 * len(broken())
    assert {m.function for m in broken() if m.fate == "missed"} <= {"binary_draw_row", "binary_draw"}
    assert {(m.before, m.after) for m in broken() if m.fate == "missed"} == {("+", "-"), ("1", "0")}


@pytest.mark.parametrize(
    ("function", "before", "after"),
    [
        ("binary_mean_row", "+", "-"),  # a sign
        ("binary_draw_row", "<", ">"),  # a comparison
        ("field_h", "multiply", "multiply_transposed"),  # a transposed weight
        ("weight_statistics_W", "'v'", "'h'"),  # an index
        ("binary_add_log_partitions", "total += binary_log_partition(f)", "nothing"),  # a dropped term
        ("GAUSS", "0.28867513459481287", "1.2886751345948129"),  # a constant
    ],
)
def test_a_change_of_each_kind_is_noticed(function, before, after):
    found = [m for m in broken() if (m.function, m.before, m.after) == (function, before, after)]
    assert found
    assert {m.fate for m in found} == {"noticed"}


def test_what_is_not_run_is_told_apart():
    """The text of the file is the compiler's: a mutant's line is a line of it."""
    model = model_of(RBM)
    lines = compile_model(shrunk(model), "float64", tables=False).artifact.kernels.splitlines()
    assert all(lines[m.line - 1].strip() == m.text for m in broken())
    same = [m for m in broken() if m.fate == "same"]
    assert ("exposed", "*", "/") in {(m.function, m.before, m.after) for m in same}  # no layer of counts


def test_small_sizes():
    text = "model S(D = 100, K = 30)\nvisible v : binary[D, 2*D + 1] bias b\nvisible y : softmax[7, K]\n"
    text += "visible x : binary[D, 2*D + 1] bias b\nhidden h : binomial[50](trials = 9) bias a\nhidden z : spin[1]\n"
    text += "hidden l : binary[40]\nv -- h : W\nx -- h : W\ny -- h : U\ny -- z : V\nl -- l : L\nl -- h : M\n"
    small = compile_model(shrunk(model_of(text)), "float64").artifact
    dims = {name: layer.dims for name, layer in small.layers.items()}
    assert dims["v"] == dims["x"]
    assert dims["y"][-1] == 8  # as many as make products sparse
    assert dims["z"] == (1,)
    assert dims["l"] == (3,)
    assert small.layers["h"].values == (0, 1, 2, 3)
    assert max(n for name, shape in dims.items() for n in (shape[:-1] if name == "y" else shape)) == 3


def test_quadrature_of_real_sites():
    """Against the closed forms of a truncated normal."""
    _, found = targets(model_of("model R\nvisible v : relu[1] bias b\nhidden h : binary[2]\nv -- h : W\n"), 100)
    assert found
    layer = declared(model_of("model R\nvisible v : relu[1] bias none\n").layers, (), {}, {}).layers["v"]
    field = np.array([[-15.0], [-1.0], [0.0], [3.0], [20.0]])
    got = site(layer, np.array([0]), field, np.zeros((1, 1)))
    f = field[:, 0]
    np.testing.assert_allclose(got.log_sum, f**2 / 2 + stats.norm.logcdf(f) + np.log(2 * np.pi) / 2, rtol=1e-12)
    ratio = np.exp(stats.norm.logpdf(f) - stats.norm.logcdf(f))
    np.testing.assert_allclose(got.mean[:, 0], f + ratio, rtol=1e-9)


def test_draws_are_judged():
    """Uniform numbers pass; those that are not, or depend on each other, do not."""
    rng = np.random.default_rng(0)
    p = [draws.tested(rng.random((2000, 3))) for _ in range(200)]
    assert min(p) > 1e-4
    assert np.mean(np.array(p) < 0.05) < 0.1
    u = rng.random((2000, 3))
    assert draws.tested(u**1.3) < 1e-6
    assert draws.tested(np.stack([u[:, 0], u[:, 0], u[:, 2]], 1)) < 1e-6  # two units of one number
    assert draws.tested(np.concatenate([u[:1000], u[:1000]])) < 1e-6  # two keys of the same numbers
    assert (
        draws.tested(np.stack([u[:, 0], np.roll(u[:, 0], 1)], 1)) < 1e-6
    )  # a unit has its neighbour's of another case
    assert draws.tested(u * 2) == 0


def test_errors_are_measured():
    assert largest_error([np.array([1.0, 2.0])], [np.array([1.0, 5.0])]) == pytest.approx(0.5)
    assert largest_error([np.array([np.nan])], [np.array([1.0])]) == np.inf
    assert largest_error([np.zeros((2, 2))], [np.zeros((3, 2))]) == np.inf


def test_command(monkeypatch):
    """The answer as JSON; a difference gives exit status 1, and what differs (compiled: see the README)."""
    path = str(EXAMPLES / "neurons.ebm")
    monkeypatch.setattr(cli, "DRAWS", 500)
    with plain_python():
        done = CliRunner().invoke(verify_command, [path, "--kernels", "--json"])
    assert done.exit_code == 0
    answer = json.loads(done.output)
    assert answer["passed"]
    assert {c["kind"] for c in answer["comparisons"]} == {"error", "chance"}
    compiled = checking.compile_model

    def slipped(model, dtype, tables):
        found = compiled(model, dtype, tables=tables)
        kernels = found.artifact.kernels.replace("return sigmoid(f)", "return sigmoid(-f)")
        assert kernels != found.artifact.kernels
        return replace(found, artifact=replace(found.artifact, kernels=kernels))

    monkeypatch.setattr(checking, "compile_model", slipped)
    with plain_python():
        done = CliRunner().invoke(verify_command, [path, "--kernels", "--mutants"])
    assert done.exit_code == 1
    assert "mean_v" in next(line for line in done.output.splitlines() if line.startswith("DIFFERS"))
    assert "were not broken" in done.output


def test_command_mutants(monkeypatch, tmp_path):
    class Known(list):
        count = len(broken())

    path = tmp_path / "small.ebm"
    path.write_text(RBM)
    monkeypatch.setattr(cli, "DRAWS", 500)
    monkeypatch.setattr(trial, "Trials", lambda model, number: Known(broken()))
    with plain_python():
        texts = [CliRunner().invoke(verify_command, [str(path), "--mutants", *more]) for more in ([], ["--json"])]
    assert [t.exit_code for t in texts] == [0, 0]
    noticed = Counter(m.fate for m in broken())["noticed"]
    assert f"{noticed} of {len(broken())} changes noticed" in texts[0].output
    (answer,) = json.loads(texts[1].output)["mutants"]
    assert answer["noticed"] == noticed
    assert len(answer["unnoticed"]) == len(broken()) - noticed


def test_right_kernels_write_to_nothing_they_are_given():
    _, (frozen,) = targets(model_of(RBM), 100, frozen=True)
    assert failing(frozen) == []
