"""Every diagnostic of the semantic check: its message with carets, and the explanation's two examples."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pgmdsl.compiler
from pgmdsl.compiler.check import check_model
from pgmdsl.compiler.check_data import ENTRIES
from pgmdsl.compiler.settings import SETTINGS
from pgmdsl.grammar.diagnostics import Diagnostics, render
from pgmdsl.grammar.formula import format_expression
from pgmdsl.grammar.parse import parse_file
from pgmdsl.grammar.source import Source

EXPLANATIONS = Path(pgmdsl.compiler.__file__).parent.parent / "grammar" / "explanations"
CODES = re.compile(r'"(E(?:01[1-3]|0[34589]\d|11\d|9[0-4]\d)|W00\d)"')

NETWORK = "model X\nvisible v : binary[3]\nvisible y : softmax[2]\nhidden h : binary[2]\nv -- h\n"
RBM = "model RBM(D = 784, F = 500)\nvisible v : binary[D]\nhidden h : binary[F]\nv -- h : W\n"
LAYERS = "model X(D = 6, F = 4)\nvisible v : binary[D]\nhidden h : binary[F]\nhidden g : binary[F]\n"

UNIT = (
    "model X(D = 6)\nunit trit {\n  support x in {-1, 0, 1}\n  energy 0.3*x^2\n  statistic x\n}\n"
    "visible v : trit[D]\nhidden h : binary[2]\nv -- h\n"
)
REAL = (
    "model X\nunit bent {\n  param g > 0\n  support x in real\n  energy g*x^2/2 if x > 0 else x^2/2\n  statistic x\n}\n"
    "visible v : bent[3]\n"
)
X = "model X\n"
VISIBLE = "model X\nvisible v : binary[3]\nv -- v : L\n"

# One file per further message of a code, beyond the example of its explanation.
MORE = {
    "E011-size": "model X(Dim = 6)\nvisible v : binary[Dimm]\n",
    "E011-later-size": "model X(F = 2*D, D = 6)\nvisible v : binary[D]\nhidden h : binary[F]\nv -- h\n",
    "E011-two": LAYERS + "x -- y : W\n",
    "E011-data": RBM + 'data vv { file = "x.npy" }\n',
    "E011-freeze": RBM + "train { fit { freeze = W, bv } }\n",
    "E011-greedy": RBM + "train { greedy hh { epochs = 1 } }\n",
    "E011-check": RBM + 'check "t" in greedy v : energy == 0\n',
    "E011-setting": RBM + "train { fit { rate = 0.1 * (1 - progres) } }\n",
    "E011-setting-sum": RBM + "train { fit { batch = epoch } }\n",
    "E012-kinds": LAYERS + "v -- h : W\nh -- g : b_v\n",
    "E012-layer-size": "model X(D = 6)\nvisible D : binary[D]\n",
    "E012-layer-weight": LAYERS + "v -- h : g\n",
    "E013-bias": "model X(D = 6, F = 4)\nvisible v : binary[D] bias b\nhidden h : binary[F] bias b\nv -- h\n",
    "E013-reversed": LAYERS + "v -- h : W\nh -- v : W\n",
    "E013-reversed-prime": LAYERS + "v -- h : W\nv -- g : W'\n",
    "E013-same-values": "model X(D = 4, F = 4)\nvisible v : binary[D]\nhidden h : binary[F]\nhidden g : binary[F]\n"
    "v -- h : W\nh -- g : W\n",
    "E013-axes": "model X(F = 4)\nvisible v : binary[2, 3]\nhidden h : binary[F]\nvisible w : binary[6]\n"
    "v -- h : W\nw -- h : W\n",
    "E013-no-values": "model X(D, F = 4)\nvisible v : binary[D]\nhidden h : binary[F]\n"
    "hidden g : binary[F]\nv -- h : W\nh -- g : W\n",
    "E031-empty": "",
    "E035-text": 'model X(D = "six")\nvisible v : binary[D]\n',
    "E035-power": "model X(D = 6, F = 2)\nvisible v : binary[D^F]\n",
    "E035-power-number": "model X(D = 6)\nvisible v : binary[D^(1/2)]\n",
    "E035-zero": "model X(D = 6)\nvisible v : binary[D/0]\n",
    "E036-number": "model X\nvisible v : binary[2.5]\n",
    "E036-default": "model X(D = 7, F = D/2)\nvisible v : binary[D]\nhidden h : binary[F]\nv -- h\n",
    "E037-negative": "model X(D = -3)\nvisible v : binary[D]\n",
    "E037-sum": "model X(D = 3)\nvisible v : binary[D - 3]\n",
    "E038-layer": "model X\nvisible v : binary[100000, 100000]\n",
    "E038-total": "model X\nvisible v : binary[50000]\n"
    + "".join(f"hidden h{i} : binary[40000]\nv -- h{i}\n" for i in range(9)),
    "E038-number": "model X\nvisible v : binary[1e200]\n",
    "E038-power": "model X(D = 784)\nvisible v : binary[D^8]\n",
    "E038-terms": "model X(A = 1, B = 1, C = 1, D = 1)\nvisible v : binary[(A + B + C + D)^8]\n",
    "E040-case": "model X\nvisible v : Binary[3]\n",
    "E042-unit": "model X\nvisible v : gaussian[3](sigmas = 1)\n",
    "E042-none": "model X\nvisible v : binary[3](sigma = 1)\n",
    "E042-data": RBM + 'data v { fil = "x.npy" }\n',
    "E042-weights": RBM + 'data weights { file = "w.npy", scale = 2 }\n',
    "E043-sigma-data": "model X\nvisible v : binary[3]\nhidden h : gaussian[2](sigma = data)\nv -- h\n",
    "E043-init": RBM.replace("W", "W(init = uniform(1))"),
    "E043-init-data": RBM.replace("[D]", "[D] bias b(init = fresh)"),
    "E043-sd": RBM.replace("W", "W(init = normal(-1))"),
    "E043-fixed": RBM.replace("W", "W(fixed = on)"),
    "E043-both": RBM.replace("W", "W(fixed = 0, init = 1)"),
    "E043-number": RBM.replace("W", "W(init = 1/0)"),
    "E043-path": RBM.replace("W", 'W(fixed = "")'),
    "E051-elsewhere": RBM + "train { greedy { positive = exact } }\n",
    "E052-whole": RBM + "train { fit { epochs = 2.5, batch = 0 } }\n",
    "E052-limits": RBM + "train { fit { rate = -1, momentum = 1, decay = progress - 1, average = 1 } }\n",
    "E052-end": RBM + "train { fit { rate = 0.5 - progress } }\n",
    "E052-switch": RBM + "train { fit { centering = yes } }\n",
    "E052-freeze": RBM + "train { fit { freeze = 3 } }\n",
    "E052-method": RBM + "train { fit { negative = cdd(1), positive = 3 } }\n",
    "E052-arguments": RBM + "train { fit { negative = cd, positive = mean_field(1, 2), stop = patience(2, 3) } }\n",
    "E052-exact": RBM + "train { fit { positive = exact(3) } }\n",
    "E052-keyword": RBM + "train { fit { negative = pcd(1, chans = 3) } }\n",
    "E052-keyword-twice": RBM + "train { fit { negative = pcd(1, chains = 3, chains = 4) } }\n",
    "E052-value": RBM + 'train { fit { rate = "fast", momentum = sin(1) } }\n',
    "E054-fit": RBM + "train { fit h { epochs = 10 } }\n",
    "E054-call": RBM + "train { greedy classify(h) { epochs = 10 } }\n",
    "E055-diverging": "model X\nvisible v : poisson[3]\nhidden h : gaussian[2]\nh -> v\nv ~> h\n"
    "train { greedy { epochs = 10 } }\n",
    "E055-wake-sleep": "model X\nvisible v : binary[3]\nhidden h : binary[2]\nh -> v\n"
    "train { wake_sleep { epochs = 10 }, fit { positive = exact } }\n",
    "E055-no-hidden": "model X\nvisible v : binary[3]\ntrain { greedy { epochs = 10 } }\n",
    "E056-data": RBM + 'data v { file = "x.npy", file = "y.npy" }\n',
    "E082-values": RBM + 'data v { file = "", scale = 0, bits = drawn, valid = 2, test = -0.1 }\n',
    "E082-number": RBM + "data v { scale = 1/0 }\n",
    "E082-rows": RBM + "data v { valid = 0.5, test = 0.5 }\n",
    "E082-bits": "model X\nvisible v : softmax[3]\nhidden h : binary[2]\nv -- h\ndata v { bits = sample }\n",
    "E084-file": "model X\nvisible v : binary[3]\nvisible w : binary[2]\nhidden h : binary[2]\nv -- h\nw -- h\n"
    'data v { test = "t.npy" }\ndata w { test = 0.2 }\n',
    "E012-units": UNIT + "unit trit { support x in {0, 1}, energy 0, statistic x }\n",
    "E012-own": "model X\nvisible v : gaussian[3] bias sigma_v\nhidden h : binary[2]\nv -- h\n",
    "E013-lateral": "model X(D = 6, F = 4)\n"
    "visible v : binary[D]\nvisible w : binary[F]\nv -- v : L\nw -- w : L\nv -- w\n",
    "E013-multiplicative": LAYERS + "v * h * g : T\nh * v * g : T\n",
    "E036-trials": "model X(N = 5)\nvisible v : binomial[3](trials = N/2)\nhidden h : binary[2]\nv -- h\n",
    "E037-trials": "model X\nvisible v : binomial[3](trials = 0)\nhidden h : binary[2]\nv -- h\n",
    "E040-slip": "model X\nvisible v : poison[3]\n",
    "E041-counts": "model X\nvisible v : replicated_softmax[3, 4]\n",
    "E042-trials": "model X\nvisible v : binary[3](trials = 2)\n",
    "E042-slip": "model X\nvisible v : binomial[3](trails = 2)\n",
    "E042-own": UNIT.replace("trit[D]", "trit[D](s = 1)"),
    "E042-bias": RBM.replace("[D]", "[D] bias b(decay = 1)"),
    "E042-no-bias": RBM.replace("[D]", "[D] bias none").replace("[F]", "[F] bias a(int = 1)"),
    "E043-own": X + "unit u {\n  param g > 0, t\n  support x in {-1, 0, 1}\n  energy g*x^2 + t*x\n  statistic x\n}\n"
    "visible v : u[3](g = -1, t = data)\nvisible w : u[3](g = lerned, t = learned(slow))\n"
    "hidden h : binary[2]\nv -- h\nw -- h\n",
    "E043-scale": RBM.replace("[F]", "[F] bias a(scale = 2)"),
    "E043-mask": RBM.replace("W", "W(mask = locl(radius = 2))") + "v -- h : U(mask = local(2))\n",
    "E043-radius": RBM.replace("W", "W(mask = local(radius = -1))"),
    "E043-penalties": RBM.replace("W", "W(decay = -1, l1 = big, max_norm = 0)"),
    "E043-fixed-penalty": RBM.replace("W", 'W(fixed = "w.npy", decay = 0.1)'),
    "E043-bias-data": RBM.replace("[F]", "[F] bias a(init = data)"),
    "E044-many": "model X\nvisible v : binomial[3](trials = 10^6)\nhidden h : binary[2]\nv -- h\n",
    "E047-own-scale": X
    + "visible v : binary[3] bias b(init = 0)\nvisible w : binary[3] bias b(init = 1)\nhidden h : binary[2]\n"
    "v -- h\nw -- h\n",
    "E048-lateral": LAYERS.replace("visible", "given") + "visible w : binary[3]\nv -- v : L\nw -- h\n",
    "E058-tempering": LAYERS + "given x : gaussian[3]\nx -- h\nv -- h\nh -- g\n"
    "train { negative = tempering(2), greedy { }, fit { } }\n",
    "E058-objective": RBM + "train { fit { objective = pseudolikelihood } }\n",
    "E058-phases": VISIBLE + "train { fit { objective = pseudolikelihood, negative = pcd(1) } }\n",
    "E058-sparsity": VISIBLE + "train { fit { sparsity = 0.1 } }\n",
    "E058-momentum": RBM + "train { optimiser = adam, fit { momentum = 0.9 } }\n",
    "E080-given": LAYERS
    + 'given x : binary[3]\nv -- h\nx -- g\nh -- g\ndata x { file = "x.npy" }\ndata g { file = "g.npy" }\n',
    "E081-multiplicative": LAYERS + "v * h * g : T'\n",
    "E082-mask": LAYERS
    + 'given x : binary[3]\nv -- h\nx -- g\nh -- g\ndata x { mask = "m.npy" }\ndata v { mask = 3, length = 4 }\n',
    "E082-length": X + "visible w : replicated_softmax[9]\nhidden h : binary[2]\nw -- h\ndata w { length = 2.5 }\n",
    "E087-later": "model X(D = 6)\nvisible v : binary[D]\nvisible w : binary[D]\nv -- w : L\nv -- v : L\n",
    "E087-states": "model X\nvisible v : binary[2, 3]\nvisible y : softmax[2, 3]\nv -- v : L\ny -- y : L\nv -- y\n",
    "E088-lateral": "model X\nvisible w : replicated_softmax[9]\nhidden h : binary[2]\nw -- h\nw -- w : L\n",
    "E088-multiplicative": X
    + "visible w : replicated_softmax[9]\nhidden h : binary[2]\nhidden z : relu[2]\nw -- h\nw * h * z : T\n",
    "E089-multiplicative": X + "visible v : gaussian[3]\nhidden h : binary[2]\nhidden z : relu[2]\nv * h * z : T\n",
    "E089-fixed": X + "visible v : poisson[3]\nhidden z : relu[2]\nv -- z : W(fixed = 0.5)\nv -- v : L(init = 1)\n",
    "E098-states": "model X(D = 4)\n"
    "visible v : binary[D]\nvisible y : softmax[3]\nv -- y : W(mask = local(radius = 1))\n",
    "E098-multiplicative": LAYERS + "v * h * g : T(mask = local(radius = 1))\n",
    "E012-recognition": LAYERS.replace("[F]", "[F] bias r_g") + "h -> v : r_h\ng -> h\nv ~> h\nh ~> g\n",
    "E012-recognised-layer": LAYERS.replace("hidden h", "hidden r_g") + "r_g -> v\ng -> r_g\nr_g ~> g\nv ~> r_g\n",
    "E110-lateral": LAYERS + "h -> v\ng -> h\nv -- v : L\n",
    "E110-multiplicative": LAYERS + "h -> v\ng -> v\nv * h * g : T\n",
    "E110-both": LAYERS + "v -- h\nh -> v\ng -> h\n",
    "E111-self": LAYERS + "h -> h\nh -> v\ng -> h\nv ~> v\n",
    "E112-recognition": LAYERS + "h -> v\ng -> h\nv ~> h\ng ~> h\nh ~> g\n",
    "E112-long": LAYERS + "h -> v\ng -> h\nv -> g\n",
    "E113-visible": LAYERS + "h -> v\ng -> v\nh ~> v\nv ~> g\n",
    "E113-given": LAYERS + "given x : binary[2]\nh -> v\ng -> h\nx -> h\nv ~> h\nh ~> g\nh ~> x\n",
    "E113-source": LAYERS + "h -> v\ng -- h\ng ~> h\n",
    "E113-top": LAYERS + "h -> v\ng -- h\nv ~> h\nh ~> g\n",
    "E115-undirected": "model X(D = 6)\nvisible v : binary[D]\nhidden h : binary[D]\nhidden g : binary[D]\n"
    "h -> v\nh -- g : W\nv ~> h : W\n",
    "E116-chain": LAYERS + "v -> h\nh -> g\n",
    "E116-hidden-parent": LAYERS + "h -> v\nh -> g\n",
    "E117-own": X + "unit u {\n  param g > 0\n  support x in {0, 1}\n  energy g*x^2\n  statistic g*x\n}\n"
    "visible v : binary[3]\nvisible w : binary[3]\nhidden h : u[2]\nhidden z : gaussian[2](sigma = learned)\n"
    "h -> v\nh -> w\nz -> v\n",
    "W002-directed": LAYERS + "h -> v : W\nv <- h : W\ng -> h\nv ~> h : R\nv ~> h : R\nh ~> g\n",
    "E089-relu": "model X(F)\nvisible v : relu[3]\nhidden h : relu[F]\nhidden z : gaussian[4]\n"
    "v -- h : W(fixed = 0.6)\nh -- z : U(fixed = -0.51)\nz -- z : L(fixed = 0.5)\n",
    "E011-layer": NETWORK + "train { finetune classify(y) { freeze = h2 }, finetune classify(z) { } }\n",
    "E051-networks": NETWORK + "train { finetune autoencode { labels = 3, negative = cd(1) } }\n",
    "E052-networks": NETWORK
    + "train { finetune classify(y) { labels = 2.5, optimiser = newton(3), code = linear } }\n",
    "E054-networks": NETWORK
    + "train { finetune classify(v) { }, finetune classify(h) { }, finetune generate { }, finetune { } }\n",
    "E054-no-labels": RBM + "train { finetune classify(v) { } }\n",
    "E055-networks": NETWORK.replace("v -- h", "v -- v : L")
    + "train { finetune autoencode { }, finetune classify(y) { } }\n",
    "E055-three": LAYERS + "v * h * g : T\ntrain { finetune autoencode { } }\n",
    "E055-no-data": "model X\nvisible y : softmax[3]\nhidden h : binary[2]\ny -- h\n"
    "train { finetune classify(y) { } }\n",
    "E058-networks": NETWORK
    + "train { finetune autoencode { optimiser = cg(3), rate = 0.1, stop = patience(3, error) } }\n",
    "E058-code": NETWORK + "train { finetune autoencode { }, finetune autoencode { code = linear } }\n",
    "W004-lateral": "model X\nvisible v : gaussian[3]\nv -- v : L\n",
    "W004-group": "model X\nvisible v : gaussian[3]\nhidden h : gaussian[2]\nv -- v : L\nv -- h : W\n",
    "W004-half": "model X\nvisible v : relu[3]\nhidden h : relu[2]\nv -- h : W\n",
    "W004-mixed": "model X\nvisible v : relu[3]\nhidden h : gaussian[2]\nv -- h : W\n",
    "W004-own": REAL + "v -- v : L\n",
    "W004-natural": X + "visible v : poisson[3]\nvisible w : poisson[3]\nhidden h : relu[2]\nv -- h : W\nw -- w : L\n",
    "W002-reversed": LAYERS + "v -- h : W\nh -- v : W'\nh -- g\n",
    "many": """\
model X(D = 784, F = 500, F = 3)
visible v : binary[D]
hidden h1 : binary[F/3] bias b
hidden h2 : binry[F]
given z : binary[3]
visible w : gaussian[D](sigma = learned, foo = 3)
v -- h1 : W1
v -- h22
v -> h2
h1 -- h2 : W1
train {
  epochs = 3, updates = 4
  fit { rate = 1/epoch, freeze = W1, bq }
  grdy { }
}
data v { file = 3, bits = foo }
""",
}


def check(text: str, **overrides: int) -> tuple[Diagnostics, object]:
    source = Source("model.ebm", text)
    diagnostics = Diagnostics(source)
    return diagnostics, check_model(source, parse_file(source, diagnostics), diagnostics, overrides)


def shown(text: str, **overrides: int) -> str:
    diagnostics, model = check(text, **overrides)
    assert (model is None) == bool(diagnostics.errors)
    return "\n\n".join(render(diagnostics.source, d) for d in diagnostics.sorted()) + "\n"


def examples(code: str) -> list[str]:
    text = (EXPLANATIONS / f"{code}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {code}: ")
    return re.findall(r"```ebm\n(.*?)```", text, re.DOTALL)


def codes() -> list[str]:
    """The codes that the semantic check's own modules mention."""
    folder = Path(pgmdsl.compiler.__file__).parent
    names = ("sizes", "settings", "normalise")
    files = [*folder.glob("check*.py"), *folder.glob("unit_*.py"), *(folder / f"{name}.py" for name in names)]
    return sorted({code for file in files for code in CODES.findall(file.read_text(encoding="utf-8"))})


@pytest.mark.parametrize("code", codes())
def test_explained(code: str, golden: Callable[[str, str], None]) -> None:
    wrong, mended = examples(code)
    golden(f"check/{code}.txt", shown(wrong))
    assert code in {d.code for d in check(wrong)[0].found}
    diagnostics, model = check(mended)
    assert not diagnostics.found
    assert model is not None


@pytest.mark.parametrize("name", MORE)
def test_message(name: str, golden: Callable[[str, str], None]) -> None:
    text = shown(MORE[name])
    golden(f"check/{name}.txt", text)
    if name != "many":
        assert f"[{name[:4]}]" in text


def test_no_explanation_is_left_over() -> None:
    mine = re.compile(r"(E(?:01[1-3]|0[34589]\d|11\d|9[0-4]\d)|W00\d)")
    files = {path.stem for path in EXPLANATIONS.glob("*.md") if mine.fullmatch(path.stem)}
    assert files == set(codes())


def test_codes_of_what_is_built_by_now_are_not_used_again() -> None:
    assert not {f"E90{n}" for n in range(2, 10)} & set(codes())


def test_given_sizes(golden: Callable[[str, str], None]) -> None:
    half: Any = 2.5
    texts = [shown(RBM, H=3), shown(RBM, F=0), shown(RBM, F=half), shown(RBM, F=10**9)]
    golden("check/given-sizes.txt", "\n".join(texts))


def test_a_broken_statement_has_no_consequences() -> None:
    """What an unparsed declaration would introduce is not called unknown."""
    for text in (
        RBM.replace("hidden h :", "hidden h : :"),
        RBM.replace("F = 500", "F = = 500"),
        RBM.replace("visible v :", "visible v"),
        UNIT.replace("0.3*x^2", "0.3*"),
        UNIT.replace("unit trit", "unit 3trit"),
        RBM.replace("v -- h", "v -- -- h") + "train { fit { freeze = W } }\n",
    ):
        diagnostics, model = check(text)
        assert model is None
        assert not [d for d in diagnostics.errors if CODES.match(f'"{d.code}"')], text


def test_the_tables_stand_in_the_explanations() -> None:
    settings = (EXPLANATIONS / "E050.md").read_text(encoding="utf-8")
    for row in SETTINGS:
        default = format_expression(row.default) if row.default is not None else "-"
        for case, value in row.otherwise:
            default += f"; {format_expression(value)} {case.text}"
        cells = (row.name, ", ".join(row.phases), row.form, default, row.meaning)
        assert "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n" in settings
    entries = (EXPLANATIONS / "E082.md").read_text(encoding="utf-8")
    assert all(f"| {name} | {meaning} |\n" in entries for name, meaning in ENTRIES.items())


WORDS = re.findall(r"\w+|\n|[^\w\s]+|[^\S\n]+", MORE["many"] + RBM + MORE["E052-limits"] + MORE["E084-file"])


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_text_is_answered(data: st.DataObject) -> None:
    """Files with words exchanged never raise, and have a model exactly when they have no error."""
    base = re.findall(r"\w+|\n|[^\w\s]+|[^\S\n]+", data.draw(st.sampled_from([*MORE.values()])))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(base)))
        base[place : place + data.draw(st.integers(0, 2))] = data.draw(st.lists(st.sampled_from(WORDS), max_size=2))
    shown("".join(base))
