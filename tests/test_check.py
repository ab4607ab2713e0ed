"""What the semantic check makes of sound files: sizes, shapes, parameters, data, phases."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgmdsl.compiler.check import check_model
from pgmdsl.compiler.model import DataSpec, Edge, Initial, Mask, Model, Size
from pgmdsl.compiler.settings import PHASES, settings_of
from pgmdsl.compiler.sizes import size_of
from pgmdsl.grammar.diagnostics import Diagnostics
from pgmdsl.grammar.formula import format_expression
from pgmdsl.grammar.parse import parse_expression, parse_file
from pgmdsl.grammar.source import Source
from pgmdsl.grammar.syntax import Binary, Expression, Name, Negate, Number

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.ebm"))
PLAIN = "model X\nvisible v : binary[3]\nhidden h : binary[2]\nv -- h : W\n"
TIED = """
model Tied(D, F = 3, G = 2*F + 1)
visible v : gaussian[D, 2](sigma = data) bias b(init = 0.5)
hidden  h : spin[F] bias a(fixed = "a.npy")
hidden  g : spin[F] bias a
visible y : softmax[2, G] bias none
v -- h : W(init = normal(0.1))
g -- v : W'
h -- g
y -- g : U(fixed = -1)
h -- v : Q
"""


def model_of(text: str, overrides: Mapping[str, int] | None = None) -> Model:
    source = Source("model.ebm", text)
    diagnostics = Diagnostics(source)
    model = check_model(source, parse_file(source, diagnostics), diagnostics, overrides or {})
    assert not diagnostics.found
    assert model is not None
    return model


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_sound(path: Path) -> None:
    model = model_of(path.read_text(encoding="utf-8"))
    assert model.phases or model.directed


def test_sizes() -> None:
    assert model_of(TIED).sizes == {"D": None, "F": 3, "G": 7}
    assert model_of(TIED, {"D": 4, "F": 5}).sizes == {"D": 4, "F": 5, "G": 11}
    assert model_of(TIED, {"D": 4, "G": 2}).sizes == {"D": 4, "F": 3, "G": 2}


def test_layers_and_edges() -> None:
    model = model_of(TIED)
    assert list(model.layers) == ["v", "h", "g", "y"]
    v, y = model.layers["v"], model.layers["y"]
    assert (v.role, v.unit.name, v.dims, v.bias, v.sigma) == (
        "visible",
        "gaussian",
        (Size.name("D"), Size.number(2)),
        "b",
        "sigma_v",
    )
    assert (y.bias, y.sigma) == (None, None)
    edges = [(edge.layers, edge.weight) for edge in model.edges]
    # The layers of W' stand in the order of the weight's axes.
    wanted = [(("v", "h"), "W"), (("v", "g"), "W"), (("h", "g"), "W_h_g"), (("y", "g"), "U"), (("h", "v"), "Q")]
    assert edges == wanted
    assert isinstance(model.edges[0], Edge)


def test_parameters() -> None:
    model = model_of(TIED)
    D, F, G, two = Size.name("D"), Size.name("F"), Size.name("G"), Size.number(2)
    found = {p.name: (p.kind, p.layers, p.shape, p.initial, p.fixed) for p in model.parameters.values()}
    assert found == {
        "W": ("weight", ("v", "h"), (D, two, F), Initial("normal", 0.1), False),
        "W_h_g": ("weight", ("h", "g"), (F, F), Initial("normal", 0.01), False),
        "U": ("weight", ("y", "g"), (two, G, F), Initial("constant", -1.0), True),
        "Q": ("weight", ("h", "v"), (F, D, two), Initial("normal", 0.01), False),
        "b": ("bias", ("v",), (D, two), Initial("constant", 0.5), False),
        "a": ("bias", ("h",), (F,), Initial("file", text="a.npy"), True),
        "sigma_v": ("unit", ("v",), (D, two), Initial("data"), True),
    }
    assert list(model.parameters)[:4] == ["W", "W_h_g", "U", "Q"]


def test_a_primed_use_may_come_first() -> None:
    text = "model X(D = 3, F = 2)\nvisible v : binary[D]\nhidden h : binary[F]\nhidden g : binary[F]\n"
    model = model_of(text + "h -- v : W'\nv -- h : U\nv -- g : W")
    assert model.parameters["W"].layers == ("v", "g")
    assert [edge.layers for edge in model.edges] == [("v", "h"), ("v", "h"), ("v", "g")]


def test_default_biases() -> None:
    model = model_of("model X\nvisible v : binary[2]\nhidden h : gaussian[3](sigma = 1/2)\nv -- h\n")
    assert model.parameters["b_v"].initial == Initial("data")
    assert model.parameters["b_h"].initial == Initial("constant", 0.0)
    assert model.parameters["sigma_h"].initial == Initial("constant", 0.5)
    assert model.parameters["sigma_h"].fixed

    text = 'model X\nvisible v : gaussian[2](sigma = "s.npy") bias b(init = data)\nhidden h : binary[3]\nv -- h\n'
    model = model_of(text)
    assert model.parameters["b"].initial == Initial("data")
    assert model.parameters["sigma_v"].initial == Initial("file", text="s.npy")


def test_settings_in_sizes_that_come_from_data() -> None:
    text = (
        "model X(D)\nvisible v : binary[D]\nhidden h : binary[2]\nv -- h\ntrain { fit { batch = D, rate = exp(-1)/D } }"
    )
    assert format_expression(model_of(text).phases[0].settings["batch"]) == "D"


WIDE = """
model Wide(D = 4, F = 3, N = 5, K = 7)
unit drelu {
  param     gp > 0, gm > 0, tp, tm
  support   x in real
  energy    gp*x^2/2 + tp*x if x > 0 else gm*x^2/2 + tm*x
  statistic x
}
visible v : gaussian[D, 2](sigma = learned)
visible u : binomial[D](trials = 2*N)
visible w : replicated_softmax[K]
visible y : softmax[2, K]
given   x : gaussian[D]
hidden  z : drelu[F](gp = 2, gm = "gm.npy", tm = learned(0.5))
hidden  h : binary[F] bias a(init = "a.npy")
hidden  g : spin[F] bias a(scale = 1)
hidden  r : relu[F] bias none
y -- y : J
u * h * g : T(l1 = 0.1)
v -- h : W(decay = 0, l1 = 0.2, max_norm = 3, init = "w.npy")
w -- h : U(mask = "m.npy")
w * g * x : S
u -- z
u -- r : R(mask = local(radius = 1.5))
"""


def wide() -> Model:
    return model_of(WIDE)


def test_own_parameters_are_fixed_or_learned() -> None:
    found = {p.name: p for p in wide().parameters.values() if p.kind == "unit"}
    shown = {name: (p.initial, p.fixed, p.positive) for name, p in found.items()}
    assert shown == {
        "sigma_v": (Initial("data"), False, True),
        "gp_z": (Initial("constant", 2.0), True, True),
        "gm_z": (Initial("file", text="gm.npy"), True, True),
        "tp_z": (Initial("constant", 0.0), False, False),
        "tm_z": (Initial("constant", 0.5), False, False),
    }
    assert found["sigma_v"].shape == (Size.name("D"), Size.number(2))


@pytest.mark.parametrize(
    ("option", "initial", "fixed"),
    [
        ("", Initial("constant", 1.0), True),
        ("(sigma = 2)", Initial("constant", 2.0), True),
        ("(sigma = data)", Initial("data"), True),
        ('(sigma = "s.npy")', Initial("file", text="s.npy"), True),
        ("(sigma = learned)", Initial("data"), False),
        ("(sigma = learned(data))", Initial("data"), False),
        ("(sigma = learned(0.3))", Initial("constant", 0.3), False),
        ('(sigma = learned("s.npy"))', Initial("file", text="s.npy"), False),
    ],
)
def test_sigma(option: str, initial: Initial, fixed: bool) -> None:
    model = model_of(PLAIN.replace("binary[3]", f"gaussian[3]{option}"))
    assert model.layers["v"].sigma == "sigma_v"
    assert (model.parameters["sigma_v"].initial, model.parameters["sigma_v"].fixed) == (initial, fixed)


def test_a_learned_sigma_of_a_hidden_layer_starts_at_1() -> None:
    model = model_of(PLAIN.replace("binary[2]", "gaussian[2](sigma = learned)"))
    assert model.parameters["sigma_h"].initial == Initial("constant", 1.0)


def test_a_parameter_called_sigma_is_no_deviation() -> None:
    unit = "unit wide {\n  param sigma > 0\n  support x in real\n  energy x^2/(2*sigma)\n  statistic x\n}\n"
    model = model_of(unit + PLAIN.replace("binary[3]", "wide[3]"))
    assert model.layers["v"].sigma is None
    assert model.parameters["sigma_v"].initial == Initial("constant", 1.0)
    assert not model.parameters["sigma_v"].fixed


def test_lengths_multiply_the_biases_of_neighbours() -> None:
    layers = wide().layers
    counted = {name: layer.counted for name, layer in layers.items() if layer.counted}
    assert counted == {"h": ("w",)}  # g says scale = 1, x is given
    text = PLAIN.replace("binary[3]", "replicated_softmax[3]") + "visible z : replicated_softmax[4]\n"
    text += "visible y : binary[2]\ny -- h\nz -- h\nz -- v\n"
    assert {n: x.counted for n, x in model_of(text).layers.items()} == {"v": (), "h": ("v", "z"), "z": (), "y": ()}


def test_given_layers_have_nothing_of_their_own() -> None:
    model = wide()
    x = model.layers["x"]
    assert (x.role, x.bias, dict(x.parameters), x.sigma) == ("given", None, {}, None)
    assert not any("x" in p.layers and p.kind != "weight" for p in model.parameters.values())


def test_trials() -> None:
    layers = wide().layers
    assert layers["u"].trials == Size.number(2) * Size.name("N")
    assert {n for n, layer in layers.items() if layer.trials is None} == layers.keys() - {"u"}


def test_weights_of_every_kind_of_edge() -> None:
    found = {p.name: p for p in wide().parameters.values() if p.kind == "weight"}
    D, F, K, two = Size.name("D"), Size.name("F"), Size.name("K"), Size.number(2)
    shapes = {name: (p.layers, p.shape, p.symmetric) for name, p in found.items()}
    assert shapes["J"] == (("y", "y"), (two, K, two, K), True)
    assert shapes["T"] == (("u", "h", "g"), (D, F, F), False)
    assert {n for n, p in found.items() if p.symmetric} == {"J"}
    W, T, U, R = (found[name] for name in "WTUR")
    assert (W.decay, W.l1, W.max_norm, W.initial) == (0.0, 0.2, 3.0, Initial("file", text="w.npy"))
    assert (T.decay, T.l1, T.max_norm) == (None, 0.1, None)
    assert (U.mask, R.mask) == (Mask("file", file="m.npy"), Mask("local", radius=1.5))
    assert T.mask is None


def test_names_of_unnamed_weights() -> None:
    text = PLAIN + "hidden g : binary[2]\nv -- v\nv * h * g\n"
    assert [edge.weight for edge in model_of(text).edges] == ["W", "W_v_v", "W_v_h_g"]


def test_a_shared_bias_may_scale_at_one_place_and_not_at_another() -> None:
    a = wide().parameters["a"]
    assert (a.layers, a.initial) == (("h",), Initial("file", text="a.npy"))


@pytest.mark.parametrize(
    ("text", "settings", "expected"),
    [
        (PLAIN, "", {"rate": "0.05", "negative": "pcd(1)", "positive": "exact"}),
        (PLAIN, "optimiser = adam", {"rate": "0.001", "optimiser": "adam"}),
        (PLAIN, "optimiser = rmsprop(rho = 0.8), rate = 0.1", {"rate": "0.1", "optimiser": "rmsprop(rho = 0.8)"}),
        (PLAIN.replace("binary[3]", "gaussian[3]"), "", {"rate": "0.01"}),
        (PLAIN.replace("binary[2]", "relu[2]"), "", {"rate": "0.01"}),
        (PLAIN.replace("binary[3]", "poisson[3]"), "", {"rate": "0.01"}),
        (PLAIN.replace("binary[3]", "replicated_softmax[3]"), "", {"rate": "0.01"}),
        (PLAIN.replace("binary[3]", "binomial[3](trials = 4)"), "", {"rate": "0.05"}),
        (PLAIN + "given x : binary[2]\nx -- h\n", "", {"negative": "cd(1)"}),
        (PLAIN + "h -- h : J\n", "", {"positive": "mean_field(10)"}),
        (PLAIN + "v -- v : L\n", "", {"positive": "exact"}),
        (PLAIN + "hidden g : binary[2]\nv * h * g : T\n", "", {"positive": "mean_field(10)"}),
        (
            PLAIN,
            "negative = tempering(2, temperatures = 5, chains = 20), l1 = 0.1*(1 - progress), clip = 3, max_norm = 2, "
            "sparsity = sparsity(0.1, 2), centering = standardise",
            {"negative": "tempering(2, temperatures = 5, chains = 20)", "sparsity": "sparsity(0.1, 2)", "clip": "3"},
        ),
    ],
)
def test_defaults_suit_the_model(text: str, settings: str, expected: dict[str, str]) -> None:
    (phase,) = model_of(text + f"train {{ fit {{ {settings} }} }}").phases
    found = {key: format_expression(value) for key, value in phase.settings.items()}
    assert {key: found[key] for key in expected} == expected


def test_pseudolikelihood_of_a_model_without_hidden_layers() -> None:
    text = "model X\nvisible v : binary[3]\nv -- v : L\ntrain { fit { objective = pseudolikelihood } }"
    assert model_of(text).phases[0].settings["objective"] == Name("pseudolikelihood")


def test_data_of_documents_and_given_layers() -> None:
    text = "model X\nvisible w : replicated_softmax[9]\ngiven x : gaussian[2]\nhidden h : binary[2]\nw -- h\nx -- h\n"
    text += 'data w { mask = "m.npy", length = 40 }\ndata x { file = "x.npy", scale = 2 }\n'
    spec, given_spec = model_of(text).data
    assert (spec.mask, spec.length) == ("m.npy", 40.0)
    assert (given_spec.file, given_spec.scale) == ("x.npy", 2.0)
    assert model_of(text.replace("= 40", '= "l.npy"')).data[0].length == "l.npy"


def test_networkx_is_not_imported_on_the_way() -> None:
    code = (
        "import sys; from pgmdsl.grammar.source import Source; from pgmdsl.grammar.diagnostics import Diagnostics\n"
        "from pgmdsl.grammar.parse import parse_file; from pgmdsl.compiler.check import check_model\n"
        f"source = Source('x', {PLAIN!r}); found = Diagnostics(source)\n"
        "assert check_model(source, parse_file(source, found), found, {})\n"
        "assert not {'networkx', 'sympy', 'numba', 'scipy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_data() -> None:
    text = """
model X
visible v : binary[2]
visible y : softmax[3]
hidden  h : binary[2]
v -- h
y -- h
data v { file = "a.npz:x", scale = 1/16, bits = threshold(0.3), valid = 0.1, test = "t.npy" }
data y { valid = 0.1 }
data weights { file = "w.npy" }
"""
    assert model_of(text).data == (
        DataSpec("v", "a.npz:x", 1 / 16, "threshold", 0.3, valid=0.1, test="t.npy"),
        DataSpec("y", None, valid=0.1),
        DataSpec("weights", "w.npy"),
    )


def test_phases() -> None:
    text = """
model X(D = 3, F = 2)
visible v : binary[D]
hidden  h : binary[F]
hidden  g : binary[F]
v -- h : W
h -- g : U
train {
  updates = 10*F, momentum = 0.5 if epoch < 5 else 0.9, average = 0.9
  greedy g { epochs = 5, freeze = W }
  fit { batch = 2*D, freeze = W, b_v, stop = patience(3, bound), rate = 0.1/(1 + step/100), negative = gibbs(F) }
}
"""
    greedy, fit = model_of(text).phases
    assert (greedy.kind, greedy.target, fit.kind, fit.target) == ("greedy", "g", "fit", None)
    shown = [{key: format_expression(value) for key, value in phase.settings.items()} for phase in (greedy, fit)]
    assert shown[0] == {
        "epochs": "5",
        "batch": "100",
        "rate": "0.05",
        "optimiser": "sgd",
        "momentum": "0.5 if epoch < 5 else 0.9",
        "decay": "0",
        "l1": "0",
        "centering": "on",
        "freeze": "W",
        "negative": "cd(1)",
        "pass": "sample",
        "start": "random",
    }
    assert shown[1] == {
        "updates": "10*F",
        "batch": "2*D",
        "rate": "0.1/(1 + step/100)",
        "optimiser": "sgd",
        "momentum": "0.5 if epoch < 5 else 0.9",
        "decay": "0",
        "l1": "0",
        "centering": "on",
        "average": "0.9",
        "freeze": "{W, b_v}",
        "stop": "patience(3, bound)",
        "objective": "likelihood",
        "positive": "mean_field(10)",
        "negative": "gibbs(F)",
    }


def test_positive_is_exact_where_hidden_layers_are_not_joined() -> None:
    text = "model X\nvisible v : binary[3]\nhidden h : binary[2]\nv -- h\ntrain { fit { } }"
    assert model_of(text).phases[0].settings["positive"] == Name("exact")


def test_defaults_have_the_form_they_document() -> None:
    text = "model X\nvisible v : binary[3]\nvisible y : softmax[2]\nhidden h : binary[2]\nv -- h\ny -- h\ntrain { %s }"
    phases = {kind: kind for kind in PHASES} | {"classify": "finetune classify(y)", "autoencode": "finetune autoencode"}
    for kind, written in phases.items():
        defaults = {row.name: row.default for row in settings_of(kind).values()}
        if kind not in PHASES:  # momentum is of sgd, and adam is what networks have unless stated
            defaults.pop("momentum")
        stated = ", ".join(
            f"{name} = {format_expression(value)}" for name, value in defaults.items() if value is not None
        )
        file = text % f"{written} {{ {stated} }}"
        model_of(file.replace("v -- h\ny -- h", "h -> v\nh -> y\nv ~> h") if kind == "wake_sleep" else file)


def test_a_layer_that_a_network_predicts_needs_no_edge() -> None:
    text = "model X\nvisible v : binary[3]\nvisible y : softmax[2]\nhidden h : binary[2]\nv -- h\ntrain { %s }"
    assert model_of(text % "finetune classify(y) { }").phases[0].target == "y"
    with pytest.raises(AssertionError):
        model_of(text % "finetune autoencode { }")


def test_defaults_of_a_train_block_reach_the_phases_whose_form_they_have() -> None:
    text = "model X\nvisible v : binary[3]\nvisible y : softmax[2]\nhidden h : binary[2]\nv -- h : W\n"
    text += "train { optimiser = cg(3), freeze = W, labels = 5, fit { }, finetune classify(y) { } }"
    fit, network = model_of(text).phases
    assert fit.settings["optimiser"] == Name("sgd")
    assert fit.settings["freeze"] == Name("W")
    assert "labels" not in fit.settings
    assert format_expression(network.settings["optimiser"]) == "cg(3)"
    assert format_expression(network.settings["batch"]) == "1000"
    assert "freeze" not in network.settings


# --- sizes as polynomials ---------------------------------------------------------------------------------

NAMES = ("A", "B", "C")


def _expressions() -> st.SearchStrategy[Expression]:
    leaves = st.sampled_from(NAMES).map(Name) | st.integers(0, 5).map(lambda n: Number(str(n)))

    def extend(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
        return (
            st.builds(Negate, inner)
            | st.builds(Binary, st.sampled_from("+-*"), inner, inner)
            | st.builds(lambda a, n: Binary("/", a, Number(str(n))), inner, st.integers(1, 4))
        )

    return st.recursive(leaves, extend, max_leaves=7)


def _value(node: Expression, at: Mapping[str, int]) -> Fraction:
    match node:
        case Number():
            return node.value
        case Name(name):
            return Fraction(at[name])
        case Negate(operand):
            return -_value(operand, at)
        case Binary(op, left, right):
            a, b = _value(left, at), _value(right, at)
            return a + b if op == "+" else a - b if op == "-" else a * b if op == "*" else a / b
    raise AssertionError(node)


@given(_expressions(), st.fixed_dictionaries({name: st.integers(1, 50) for name in NAMES}))
def test_a_size_is_its_expression(node: Expression, at: dict[str, int]) -> None:
    size = size_of(node, NAMES)
    assert size.evaluate(at) == _value(node, at)
    assert size_of(parse_expression(str(size)), NAMES) == size


@given(_expressions(), _expressions())
def test_sizes_are_equal_when_they_are_for_all_values(one: Expression, other: Expression) -> None:
    """Polynomials of so few terms that agree on this grid of points are the same."""
    grid = [{"A": a, "B": a * 37 + 1, "C": a * a * 1009 + 3} for a in range(1, 30)]
    same = all(_value(one, at) == _value(other, at) for at in grid)
    assert (size_of(one, NAMES) == size_of(other, NAMES)) == same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("2*F", "F + F", True), ("(F + 1)^2", "F^2 + 2*F + 1", True), ("F", "D", False), ("F/2 + F/2", "F", True)],
)
def test_shapes_are_compared_symbolically(one: str, other: str, same: bool) -> None:
    source = Source(
        "model.ebm",
        f"model X(D = 4, F = 4)\nvisible v : binary[{one}]\nvisible w : binary[{other}]\nhidden h : binary[3]\n"
        "v -- h : W\nw -- h : W\n",
    )
    diagnostics = Diagnostics(source)
    check_model(source, parse_file(source, diagnostics), diagnostics, {})
    assert [d.code for d in diagnostics.found] == ([] if same else ["E013"])
