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
CODES = re.compile(r'"(E(?:01[1-3]|0[3458]\d|09\d|9[0-4]\d)|W00\d)"')

RBM = "model RBM(D = 784, F = 500)\nvisible v : binary[D]\nhidden h : binary[F]\nv -- h : W\n"
LAYERS = "model X(D = 6, F = 4)\nvisible v : binary[D]\nhidden h : binary[F]\nhidden g : binary[F]\n"

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
    "E055-no-hidden": "model X\nvisible v : binary[3]\ntrain { greedy { epochs = 10 } }\n",
    "E056-data": RBM + 'data v { file = "x.npy", file = "y.npy" }\n',
    "E082-values": RBM + 'data v { file = "", scale = 0, bits = drawn, valid = 2, test = -0.1 }\n',
    "E082-number": RBM + "data v { scale = 1/0 }\n",
    "E082-rows": RBM + "data v { valid = 0.5, test = 0.5 }\n",
    "E082-bits": "model X\nvisible v : softmax[3]\nhidden h : binary[2]\nv -- h\ndata v { bits = sample }\n",
    "E084-file": "model X\nvisible v : binary[3]\nvisible w : binary[2]\nhidden h : binary[2]\nv -- h\nw -- h\n"
    'data v { test = "t.npy" }\ndata w { test = 0.2 }\n',
    "E900-back": LAYERS + "v <- h : W\n",
    "E909-file": RBM.replace("W", 'W(init = "w.npy")'),
    "E909-scale": RBM.replace("[D]", "[D] bias b(scale = 1)"),
    "E909-mask": RBM.replace("W", "W(mask = local(radius = 2), l1 = 0.1, max_norm = 3)"),
    "E912-tempering": RBM + "train { fit { negative = tempering(10) } }\n",
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
    files = [*folder.glob("check*.py"), *folder.glob("unit_*.py"), folder / "sizes.py", folder / "settings.py"]
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
    mine = re.compile(r"(E(?:01[1-3]|0[3458]\d|09\d|9[0-4]\d)|W00\d)")
    files = {path.stem for path in EXPLANATIONS.glob("*.md") if mine.fullmatch(path.stem)}
    assert files == set(codes())


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
        RBM.replace("v -- h", "v -- -- h") + "train { fit { freeze = W } }\n",
    ):
        diagnostics, model = check(text)
        assert model is None
        assert not [d for d in diagnostics.errors if CODES.match(f'"{d.code}"')], text


def test_the_tables_stand_in_the_explanations() -> None:
    settings = (EXPLANATIONS / "E050.md").read_text(encoding="utf-8")
    for row in SETTINGS:
        default = format_expression(row.default) if row.default is not None else "-"
        if row.deep is not None:
            default += f"; {format_expression(row.deep)} where hidden layers are joined"
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
