"""What a person reads of a model: its derivation as text, LaTeX and JSON, every stage, the verdicts on its checks."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pgmdsl.cli.verdicts import verdict_text
from pgmdsl.compiler.check import check_model
from pgmdsl.compiler.derivation import Derivation
from pgmdsl.compiler.derive import derive_model
from pgmdsl.compiler.driver import STAGES, compile_source, show_stage
from pgmdsl.compiler.energy import energy_terms
from pgmdsl.compiler.expressions import total
from pgmdsl.compiler.model import Model
from pgmdsl.compiler.normal_product import add
from pgmdsl.compiler.prove import Status, Verdict
from pgmdsl.compiler.report import WIDTH, derivation_json, derivation_latex, derivation_text
from pgmdsl.compiler.symbols import Symbols
from pgmdsl.grammar.diagnostics import Diagnostics
from pgmdsl.grammar.parse import parse_expression, parse_file
from pgmdsl.grammar.source import Source
from pgmdsl.grammar.syntax import Call, Compare, Name

MODELS = {
    "dbm": """model DBM(D = 784, F1 = 500, F2)
visible v  : binary[D]  bias b
hidden  h1 : binary[F1] bias a1
hidden  h2 : binary[F2] bias a2
v  -- h1 : W1
h1 -- h2 : W2
""",
    "mixed": """model Mixed_units(D = 4, F = 3, K = 3, N = 2, G = 2)
visible v : gaussian[D](sigma = 2) bias b
hidden  h : binary[F] bias f
visible y : softmax[N, K]
hidden  s : spin[G] bias none
hidden  t : softmax[K]
v -- h : W
y -- h : U
v -- s
v -- t
""",
    "wide": """model Wide(C = 2, D = 4, F = 3, K = 5, N = 6)
unit drelu {
  param gp > 0, gm > 0, tp, tm
  support x in real
  energy gp*x^2/2 + tp*x if x > 0 else gm*x^2/2 + tm*x
  statistic x
}
given   x : binary[C]
visible v : gaussian[D](sigma = learned) bias b
visible w : replicated_softmax[K]        bias c
visible m : binomial[C](trials = N + 1)  bias e
visible r : drelu[2]                     bias none
hidden  h : binary[F]                    bias a
hidden  z : relu[2]                      bias g
v -- h : W
w -- h : U
h -- h : J
x * m * h : T
r -- h : R
m -- z : S
""",
    "belief": """model DBN(D = 784, F1 = 500, F2 = 500, F3 = 2000, K = 10)
visible v  : binary[D]
hidden  h1 : binary[F1]
hidden  h2 : binary[F2]
visible y  : softmax[K]
hidden  h3 : binary[F3]
h1 -> v  : W1
h2 -> h1 : W2
h2 -- h3 : W3
y  -- h3 : U
v  ~> h1 : R1
h1 ~> h2 : R2
""",
    "directed": """model Directed(D = 5, K = 4, F = 3, G = 2)
given   x : binary[2]
visible v : gaussian[D](sigma = learned)
visible w : replicated_softmax[K]
visible y : softmax[K]
hidden  h : binary[F]
hidden  g : spin[G]
h -> v : W
x -> v : C
h -> w : U
h -> y : S
g -- h : J
h -- h : L
v ~> h
w ~> h : R
""",
}


def derived(name: str) -> tuple[Model, Derivation]:
    source = Source("test.ebm", MODELS[name])
    diagnostics = Diagnostics(source)
    model = check_model(source, parse_file(source, diagnostics), diagnostics, {})
    diagnostics.raise_errors()
    assert model is not None
    return model, derive_model(model)


@pytest.mark.parametrize("name", MODELS)
def test_reports_as_written(golden: Callable[[str, str], None], name: str) -> None:
    model, derivation = derived(name)
    golden(f"report/{name}.txt", derivation_text(model, derivation))
    golden(f"report/{name}.tex", derivation_latex(model, derivation))
    golden(f"report/{name}.json", json.dumps(derivation_json(model, derivation), indent=1, ensure_ascii=False) + "\n")


@pytest.mark.parametrize("name", MODELS)
def test_text_is_aligned_and_not_too_wide(name: str) -> None:
    text = derivation_text(*derived(name))
    assert max(map(len, text.splitlines())) <= WIDTH
    for block in text.split("\n\n")[2:]:
        shown = [line for line in block.splitlines() if " = " in line and line.lstrip()[0] not in "(+−"]
        columns = [{m.start() for m in re.finditer(" = ", line)} for line in shown]
        assert not columns or set.intersection(*columns), block


def test_a_field_is_abbreviated_by_a_name_the_model_does_not_use() -> None:
    text = derivation_text(*derived("mixed"))  # f is a bias there
    assert "mean               = σ(field[j])" in text
    assert "log(Σₗ exp(field[k,l]))" in text  # at the index summed over, too


def test_a_hidden_layer_is_marked_as_a_mean_in_mean_field_only() -> None:
    model, derivation = derived("dbm")
    found = derivation_json(model, derivation)
    assert found["mean_field"]["h1"]["right"]["unicode"] == "σ(a₁[j] + Σᵢ W₁[i,j] v[i] + Σₖ W₂[j,k] ⟨h₂[k]⟩)"
    assert "mean_field" not in found["mean_field"]["h1"]["right"]["ebm"]
    assert "⟨" not in found["conditionals"]["h1"]["equation"]["unicode"]


@pytest.mark.parametrize("name", MODELS)
def test_json_formulas_are_the_derived_ones(name: str) -> None:
    model, derivation = derived(name)
    found = derivation_json(model, derivation)
    assert json.loads(json.dumps(found)) == found
    assert parse_expression(found["energy"]["right"]["ebm"]) == derivation.energy.right
    assert Name("energy") == parse_expression(found["energy"]["left"]["ebm"])
    for layer, c in derivation.conditionals.items():
        shown = found["conditionals"][layer]
        assert parse_expression(shown["mean"]["ebm"]) == c.mean
        assert parse_expression(shown["log_partition"]["ebm"]) == c.log_partition
        assert isinstance(parse_expression(shown["equation"]["ebm"]), Compare | Call)
    assert found["gradients"].keys() == derivation.gradients.keys()
    assert (found["free_energy"] is None) == (found["free_energy_reason"] is not None) == (name != "mixed")
    for layer, c in derivation.recognition.items():
        assert found["recognition"][layer]["equation"]["ebm"].startswith("q(")
        assert parse_expression(found["recognition"][layer]["mean"]["ebm"]) == c.mean
    assert [(e["kind"], tuple(e["layers"])) for e in found["edges"]] == [(e.kind, e.layers) for e in model.all_edges]


@pytest.mark.parametrize("name", ["belief", "directed"])
def test_delta_rules_are_the_slopes_of_the_energy(name: str) -> None:
    model, derivation = derived(name)
    symbols = Symbols.of(model)
    energy = total(energy_terms(symbols, model.layers))
    for child, weight in [("v", "b_v"), *((e.layers[0], e.weight) for e in model.directed)]:
        parameter = model.parameters[weight]
        reader = symbols.reader()
        slope = reader.algebra.derivative(reader.read(energy), weight, symbols.parameter_letters(parameter))
        shown = derivation.gradients[weight].right
        assert isinstance(shown, Call)
        assert reader.algebra.is_zero(add(reader.read(shown.arguments[0]), slope)), (child, weight)


def test_a_model_of_given_causes_has_no_normaliser() -> None:
    source = Source(
        "m.ebm", "model X\ngiven x : binary[2]\nvisible v : binary[3]\nhidden h : binary[2]\nx -> h\nh -> v\n"
    )
    compiled = compile_source(source, {})
    text = derivation_text(compiled.model, compiled.derivation)
    assert "(the probability of a state is exp(-E))" in text
    assert "given its parents; f is" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("name", MODELS)
def test_latex_compiles_within_its_margins(tmp_path: Path, name: str) -> None:
    (tmp_path / "d.tex").write_text(derivation_latex(*derived(name)), encoding="ascii")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "d.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-1500:]
    assert "Overfull" not in run.stdout


# --- stages -----------------------------------------------------------------------------------------------

STAGED = """# A machine with a unit of every kind.
model Staged(D = 4, F = 3, K = 3)
visible v : gaussian[D](sigma = 2) bias b(fixed = 0.5)
hidden  h : binary[2, F] bias a
hidden  s : spin[F] bias none
visible y : softmax[K]
v -- h : W(init = normal(0.1))
y -- h
h -- s : J
check "a unit": p(s[j] = 1 | h) == sigmoid(2*sum(J[i,k,j]*h[i,k] for i, k))
train {
  batch = 10
  greedy { epochs = 2 }
  fit { rate = 0.1*(1 - progress), negative = pcd(2, chains = 5) }
}
"""


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "kernels"])
def test_stages_as_printed(golden: Callable[[str, str], None], stage: str) -> None:
    text = show_stage(compile_source(Source("staged.ebm", STAGED), {}), stage)
    golden(f"report/stage_{stage}.txt", text)
    assert max(map(len, text.splitlines())) <= WIDTH or stage == "plan"  # which holds whole formulas of the language
    assert "None" not in text
    assert "Span" not in text
    assert text.endswith("\n")


@pytest.mark.parametrize("stage", ["model", "graph", "derivation", "plan"])
def test_stages_of_a_model_of_parts(golden: Callable[[str, str], None], stage: str) -> None:
    golden(
        f"report/parts_{stage}.txt", show_stage(compile_source(Source("directed.ebm", MODELS["directed"]), {}), stage)
    )


def test_two_files_of_kernels_serve_all_parts() -> None:
    compiled = compile_source(Source("belief.ebm", MODELS["belief"]), {})
    files = compiled.artifact.kernel_files
    assert list(files) == ["_stack", "_upward"]
    assert show_stage(compiled, "kernels") == "\n\n".join(files.values())
    for part, text in files.items():
        assert text.startswith(f'"""Kernels of the model DBN{part}, generated by pgmdsl ')
        compile(text, part, "exec")


# --- verdicts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "marked", "beginning"),
    [
        ("proved", False, "proved     eq. 1  (test.ebm:1:1)"),
        ("refuted", False, "refuted    eq. 1  "),
        ("refuted", True, "refuted (as it should be) eq. 1  "),
        ("proved", True, "NOT REFUTED, but proved: eq. 1  "),
        ("agrees", True, "NOT REFUTED, but agrees: eq. 1  "),
    ],
)
def test_a_check_that_is_not_refuted_stands_out(status: Status, marked: bool, beginning: str) -> None:
    text = verdict_text(Source("test.ebm", ""), Verdict("eq. 1", status, "because", 9, expected_refuted=marked))
    assert text.startswith(beginning)
    assert ("the file says that this is refuted" in text) == beginning.startswith("NOT")
