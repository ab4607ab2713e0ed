"""Checks of model files as tests of other projects."""

from __future__ import annotations

import pytest

RBM = """model RBM(D = 3, F = 2)
visible v : binary[D] bias b
hidden  h : binary[F] bias a
v -- h : W
check "holds": p(h[j] = 1 | v) == sigmoid(a[j] + sum(W[i,j]*v[i] for i))
check "does not" refuted: p(h[j] = 1 | v) == sigmoid(sum(W[i,j]*v[i] for i))
"""
SLIP = 'check "a slip": p(h[j] = 1 | v) == sigmoid(a[j] + sum(W[j,i]*v[i] for i))\n'


def test_a_file_named_on_the_command_line(pytester: pytest.Pytester) -> None:
    pytester.path.joinpath("rbm.ebm").write_text(RBM, encoding="utf-8")
    pytester.runpytest_inprocess("rbm.ebm").assert_outcomes(passed=2)


def test_files_of_the_configuration(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nebm_files = models/*.ebm\n")
    for folder in ("models", "others"):
        pytester.mkdir(folder).joinpath("rbm.ebm").write_text(RBM, encoding="utf-8")
    pytester.runpytest_inprocess().assert_outcomes(passed=2)


def test_a_check_that_fails_says_why(pytester: pytest.Pytester) -> None:
    pytester.path.joinpath("rbm.ebm").write_text(RBM + SLIP, encoding="utf-8")
    result = pytester.runpytest_inprocess("rbm.ebm")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*it holds with W?i,j? in place of W?j,i?: W is transposed"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_file_with_mistakes_is_an_error_that_teaches(pytester: pytest.Pytester) -> None:
    pytester.path.joinpath("rbm.ebm").write_text(RBM.replace("binary[F]", "binry[F]"), encoding="utf-8")
    result = pytester.runpytest_inprocess("rbm.ebm")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*did you mean binary*"])
