"""Derivatives of formulas against differences of their values."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pgmdsl.compiler.differentiate import differentiate
from pgmdsl.compiler.values import evaluate
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.format import format_expression
from pgmdsl.grammar.parse import parse_expression
from pgmdsl.grammar.syntax import Binary, Call, Compare, Conditional, Name, Negate, Number

FUNCTIONS = ("exp", "log", "sqrt", "sigmoid", "softplus", "tanh", "log_normal_cdf")
ATOMS = st.sampled_from([Name("x"), Name("y"), Number("2"), Number("0.7"), Number("1"), Number("0")])


def larger(inner):
    return st.one_of(
        st.builds(Negate, inner),
        st.builds(Binary, st.sampled_from("+-*/^"), inner, inner),
        st.builds(lambda f, e: Call(f, (e,)), st.sampled_from(FUNCTIONS), inner),
        st.builds(lambda a, b: Conditional(a, Compare(">", Name("y"), Number("1")), b), inner, inner),
    )


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.recursive(ATOMS, larger, max_leaves=8))
def test_derivatives_are_limits_of_differences(formula):
    names, h = {"x": 0.8, "y": 1.3}, 1e-5
    slope = differentiate(formula, "x")
    try:
        low, middle, high = (evaluate(formula, {**names, "x": names["x"] + d}) for d in (-h, 0, h))
        found = evaluate(slope, names)
    except Error:  # no value here
        assume(False)
    scale = max(abs(low), abs(middle), abs(high))
    bent = abs(high - 2 * middle + low)
    assume(scale < 1e6 and bent < 1e-4)
    assert abs(found - (high - low) / (2 * h)) <= 1e-5 * (1 + abs(found) + scale) + bent / h * 1e-2


@pytest.mark.parametrize(
    ("formula", "slope"),
    [
        ("b*x + 3", "0"),
        ("g*x^2/2 + t*x", "x^2/2"),
        ("-g", "-1"),
        ("g*x if x > 0 else t*x", "x if x > 0 else 0"),
        ("(x - b)^2/(2*g)", "-((x - b)^2*2/(2*g)^2)"),
        ("x - 3*g", "-3"),
        ("2*(3*g)", "6"),
        ("log_normal_cdf(g)", "exp(-(g^2/2) - log_normal_cdf(g))/sqrt(2*pi)"),
        ("factorial(x)*g", "factorial(x)"),
    ],
)
def test_derivatives_are_short(formula, slope):
    assert format_expression(differentiate(parse_expression(formula), "g")) == slope


@pytest.mark.parametrize("formula", ["abs(g)", "factorial(g)", "sum(g*x[i] for i)"])
def test_what_has_no_derivative(formula):
    with pytest.raises(Error, match="has no derivative by g"):
        differentiate(parse_expression(formula), "g")
