"""The plan and the source of the kernels: what is printed, and that nothing else can be."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_models import EDGES, LATERAL, MIXED, RBM, planned

from pgmdsl.compiler.emit import emit_kernels
from pgmdsl.compiler.emit_formula import print_formula
from pgmdsl.compiler.plan import identifier
from pgmdsl.compiler.plan_show import show_plan
from pgmdsl.compiler.plan_units import Categorical, Normal, TwoPoint, plan_unit
from pgmdsl.compiler.units import UNITS, Finite, Naturals, Real
from pgmdsl.compiler.values import evaluate
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.parse import parse_expression
from pgmdsl.grammar.syntax import Binary, Call, Expression, Index, Name, Negate, Number, Text

NAMES = {"f": "f", "sigma": "sigma"}


def test_the_plan_as_text(golden):
    golden("kernels/mixed_plan.txt", show_plan(planned(MIXED)))


def test_the_source_of_every_unit_type(golden):
    golden("kernels/mixed.py", emit_kernels(planned(MIXED)))


def test_the_plan_of_edges_of_every_kind(golden):
    golden("kernels/edges_plan.txt", show_plan(planned(EDGES)))


def test_the_source_of_edges_of_every_kind(golden):
    """The layers and weights, and the loops of units in turn; what comes before is as in the other files."""
    source = emit_kernels(planned(EDGES))
    loops = source[
        source.index("@njit(**KERNEL)\ndef softmax_draw_in_turn") : source.index("# --- Unit type replicated")
    ]
    golden("kernels/edges.py", loops + source[source.index("# --- Layer v") :])


def test_the_source_in_double_precision(golden):
    golden("kernels/rbm_float64.py", emit_kernels(planned(RBM, "float64")))


def test_the_source_holds_only_what_the_model_needs():
    defined = {n.name for n in ast.parse(emit_kernels(planned(RBM))).body if isinstance(n, ast.FunctionDef)}
    assert "binary_draw" in defined
    assert not defined & {"normal", "log", "squares64", "spin_draw", "softmax_draw"}


def test_every_name_in_the_source_is_defined():
    for text in (MIXED, RBM, EDGES, LATERAL):
        tree = ast.parse(emit_kernels(planned(text)))
        stored = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        stored |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
        stored |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
        stored |= {
            a.asname or a.name for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names
        }
        used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        assert used - stored - set(dir(__builtins__) if not isinstance(__builtins__, dict) else __builtins__) == set()


# --- what the units' rows become ---------------------------------------------------------------------------


def test_samplers_follow_from_the_support():
    assert plan_unit(UNITS["binary"]).sampler == TwoPoint(0, 1, slope=1, offset=0)
    assert plan_unit(UNITS["spin"]).sampler == TwoPoint(-1, 1, slope=2, offset=0)
    assert plan_unit(UNITS["softmax"]).sampler == Categorical()
    assert plan_unit(UNITS["gaussian"]).sampler == Normal()


def test_a_two_point_unit_with_a_base_and_a_statistic_of_its_own():
    unit = replace(
        UNITS["binary"],
        support=Finite((Fraction(-1), Fraction(2))),
        statistic="3*x",
        base="0.3*x^2",
        energy="0.3*x^2 - b*x",
    )
    plan = plan_unit(unit)
    assert plan.sampler == TwoPoint(-3, 6, slope=9, offset=pytest.approx(0.9))
    assert evaluate(plan.state, {"s": 6.0}) == 2


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"support": Real(), "mean": "f^3"}, "no sampler"),
        ({"support": Finite((Fraction(-1), Fraction(1))), "statistic": "x^2"}, "one value at two of its states"),
        ({"support": Naturals(), "statistic": "x^2"}, "no sampler"),
    ],
)
def test_a_unit_that_no_kernel_serves_is_refused(change, part):
    with pytest.raises(Error, match=part):
        plan_unit(replace(UNITS["binary"], **change))


# --- nothing but identifiers and numbers reaches the source --------------------------------------------------


@pytest.mark.parametrize("name", ["x; import os", 'x"', "x\n", "__import__", "", "1x", "é", "x'''", "x y"])
def test_a_name_that_is_no_identifier_is_refused(name):
    with pytest.raises(ValueError, match="not an identifier"):
        identifier(name)


def test_texts_and_comments_of_a_file_do_not_reach_the_source():
    bad = '"""\\nimport os; os.abort()'
    loud = (
        f"# {bad}\n"
        + RBM.replace("v -- h : W", "v -- h : W(init = normal(0.01))")
        + f'# {bad}\ncheck "import os; os.abort()": p(h[j] = 1 | v) == sigmoid(a[j] + sum(W[i,j]*v[i] for i))\n'
        + 'data v {\n  file = "import os; os.abort()"\n}\n'
    )
    assert emit_kernels(planned(loud)) == emit_kernels(planned(RBM))


def test_a_digest_that_is_not_hexadecimal_is_refused():
    from kernel_models import checked

    from pgmdsl.compiler.derive import derive_model
    from pgmdsl.compiler.plan import plan_kernels

    model = checked(RBM)
    with pytest.raises(ValueError, match="hexadecimal"):
        plan_kernels(model, derive_model(model), {"D": 5, "F": 3}, "float32", '"""\nimport os')


@pytest.mark.parametrize(
    "formula",
    [
        Text("os.abort()"),
        Name("os"),
        Name("f.__class__"),
        Call("__import__", (Name("f"),)),
        Call("exp", (Text("1"),)),
        Index("f", (Name("__class__"),)),
        Binary("+ os.abort() +", Name("f"), Number("1")),
    ],
)
def test_a_formula_outside_the_closed_set_is_refused(formula):
    for style in ("kernel", "array"):
        with pytest.raises((Error, KeyError), match=r"kernels cannot compute|\+ os\.abort"):  # no such operator
            print_formula(formula, NAMES, style)


def test_layers_whose_functions_would_share_a_name_are_refused():
    text = RBM.replace("hidden  h", "hidden  of_mean_v").replace("v -- h", "v -- of_mean_v")
    with pytest.raises(Error, match=r"field_of_mean_v, after what the model calls of_mean_v and v: rename"):
        emit_kernels(planned(text))


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("visible draw : sample[2]\nhidden h : binary[2]\ndraw -- h : W", "sample_draw", "sample and draw"),
        ("visible v : own[2]\nhidden v_a : own[2]\nv -- v_a : W", "slope_v_a_c", "v_a and v"),
        ("visible v : own[2]\nhidden factor_v : own[2]\nv -- factor_v : W", None, ""),
    ],
)
def test_names_that_functions_share_are_told_in_the_models_words(text, name, words):
    model = (
        "model M\nunit sample {\n  support x in {0, 1}\n  energy 0\n  statistic x\n}\n"
        "unit own {\n  param c, a_c\n  support x in {0, 1}\n  energy c*x + a_c*x\n  statistic x\n}\n"
    )
    if name is None:
        emit_kernels(planned(model + text))
    else:
        with pytest.raises(Error, match=f"called {name}, after what the model calls {words}: rename"):
            emit_kernels(planned(model + text))


def test_layers_named_after_python_and_the_primitives():
    source = emit_kernels(planned(re.sub(r"\bh\b", "Real", re.sub(r"\bv\b", "lambda", RBM))))
    assert "def field_lambda(" in source
    assert "def field_Real(" in source
    ast.parse(source)


# --- formulas keep their value ------------------------------------------------------------------------------

_LEAVES = st.sampled_from([Name("f"), Name("sigma"), Number("2"), Number("0.5"), Number("3")])


def _grow(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    return st.one_of(
        st.builds(Negate, inner),
        st.builds(Binary, st.sampled_from("+-*/"), inner, inner),
        st.builds(Binary, st.just("^"), inner, st.sampled_from([Number("2"), Number("3")])),
        st.builds(lambda e: Call("exp", (e,)), inner),
    )


@given(st.recursive(_LEAVES, _grow, max_leaves=8))
@settings(max_examples=200, deadline=None)
def test_printed_formulas_keep_their_value(formula):
    numbers = {"f": 0.37, "sigma": 1.7}
    try:
        wanted = evaluate(formula, numbers)
    except Error:
        return
    for style in ("kernel", "array"):
        text = print_formula(formula, NAMES, style)
        with np.errstate(all="ignore"):
            found = eval(text, {"np": np, "exp": np.exp, "Real": np.float64, **numbers})
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-300)


def test_formulas_read_back_as_they_were():
    text = "(f + 1)/(2*(sigma - f)) - -f^2"
    assert print_formula(parse_expression(text), NAMES, "array") == "(f + 1.0) / (2.0 * (sigma - f)) - -(f * f)"
