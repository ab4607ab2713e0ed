"""What is derived: pinned for known models; proved, and equal to enumeration, for random ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from plain import differs
from prover_models import COUNTS, GATED, GRID, HALF_LINE, LABELS, MODELS, OWN, REAL, SITES, SPIN, SQUARE, TIED
from random_models import RandomModel, random_models
from wide_models import wide_models

from pgmdsl.compiler.derivation import Contribution, Derivation, Equation
from pgmdsl.compiler.derive import derive_model
from pgmdsl.compiler.driver import checked_model
from pgmdsl.compiler.expressions import renamed
from pgmdsl.compiler.model import Model
from pgmdsl.compiler.prove import verify_checks
from pgmdsl.grammar.format import format_expression
from pgmdsl.grammar.parse import parse_expression
from pgmdsl.grammar.source import Source

EXAMPLES = Path(__file__).parent.parent / "examples"
BARE = {
    "spin": SPIN,
    "square": SQUARE,
    "tied": TIED,
    "labels": LABELS,
    "real": REAL,
    "grid": GRID,
    "counts": COUNTS,
    "half_line": HALF_LINE,
    "own": OWN,
    "sites": SITES,
    "gated": GATED,
    "documents": MODELS["07_replicated_softmax"],
    "dbm": (EXAMPLES / "dbm.ebm").read_text(encoding="utf-8"),
    "sbn": (EXAMPLES / "sbn.ebm").read_text(encoding="utf-8"),
    "dbn": (EXAMPLES / "dbn.ebm").read_text(encoding="utf-8"),
    "potts": (EXAMPLES / "potts.ebm").read_text(encoding="utf-8"),
    "no-bias": "model N(D = 2, F = 3)\nvisible v : spin[2*D + 1] bias none\n"
    "hidden h : gaussian[F] bias none\nv -- h : W\n",
    "alone": "model A(D = 2)\nvisible v : binary[D]\nhidden h : softmax[D + 1] bias none\n",
    "both": "model B(D = 2)\nvisible v : binary[D] bias b\nhidden h : binary[D] bias a\n"
    "v -- v : L\nh -- h : L\nv -- h : W\n",
    "taken": "model T(i = 2, j = 3)\nvisible k : binary[i] bias l\nhidden m : binary[j] bias n\nk -- m : o\n",
}


def model_of(text: str) -> Model:
    model, _ = checked_model(Source("model.ebm", text), {})
    return model


def without_checks(text: str) -> str:
    return text.split("\ncheck")[0] + "\n"


def equations(derivation: Derivation) -> Iterator[tuple[str, Equation]]:
    yield "energy", derivation.energy
    for name, conditional in derivation.conditionals.items():
        yield f"conditional {name}", conditional.equation
    for name, equation in derivation.mean_field.items():
        yield f"mean field {name}", equation
    if derivation.free_energy is not None:
        yield "free energy", derivation.free_energy
    for name, conditional in derivation.recognition.items():
        yield f"recognition {name}", conditional.equation
    for name, equation in derivation.gradients.items():
        yield f"gradient {name}", equation


def line(equation: Equation) -> str:
    return f"{format_expression(equation.left)} == {format_expression(equation.right)}"


def shown(derivation: Derivation) -> str:
    out = [f"{title}: {line(equation)}" for title, equation in equations(derivation)]
    if derivation.free_energy_reason:
        out.append(f"no free energy: {derivation.free_energy_reason}")
    for name, conditional in derivation.conditionals.items():
        out += [
            f"\n{name}[{','.join(conditional.indices)}] {conditional.family} given {', '.join(conditional.given)}",
            f"  field {format_expression(conditional.field)}",
            f"  mean {format_expression(conditional.mean)}",
            f"  log-partition {format_expression(conditional.log_partition)}",
        ]
        if conditional.deviation is not None:
            out.append(f"  deviation {format_expression(conditional.deviation)}")
        for part in derivation.contributions[name]:
            prime = "'" if part.axis == 0 else ""
            out.append(f"  from {', '.join(part.neighbours)} by {part.coefficient} {part.weight}{prime}")
    return "\n".join(out) + "\n"


def with_checks(text: str, derivation: Derivation) -> str:
    """The file with every derived equation pasted into a check."""
    return text + "".join(f'check "{title}": {line(equation)}\n' for title, equation in equations(derivation))


@pytest.mark.parametrize("name", BARE)
def test_known_models(name: str, golden: Callable[[str, str], None]) -> None:
    text = without_checks(BARE[name].split("\ntrain {")[0].split("\ndata ")[0])
    derivation = derive_model(model_of(text))
    golden(f"prove/derived-{name}.txt", shown(derivation))
    pasted = model_of(with_checks(text, derivation))
    for verdict in verify_checks(pasted, derivation, mending=False):
        assert verdict.status == "proved", (verdict.title, verdict.detail)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(random_models(limit=64), st.integers(0, 99))
def test_random_models(random: RandomModel, seed: int) -> None:
    """Every derived equation, pasted into a check, is proved, and holds by enumeration."""
    real = [np.prod(layer.dims) for layer in random.oracle.layers.values() if layer.unit == "gaussian"]
    assume(sum(real) <= 4)  # averages take five nodes of a quadrature for each real unit
    derivation = derive_model(model_of(random.text))
    model = model_of(with_checks(random.text, derivation))
    for check, verdict in zip(model.checks, verify_checks(model, derivation, mending=False), strict=True):
        assert verdict.status == "proved", (random.text, verdict.title, verdict.detail)
        assert not differs(model, check, seed), (random.text, line(Equation(check.left, check.right)))


@settings(
    max_examples=15, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(wide_models(limit=600), st.integers(0, 99))
def test_wide_models(random: RandomModel, seed: int) -> None:
    """The same of every unit and edge: documents, lateral and multiplicative edges, given layers, units of a file."""
    derivation = derive_model(model_of(random.text))
    model = model_of(with_checks(random.text, derivation))
    for check, verdict in zip(model.checks, verify_checks(model, derivation, mending=False), strict=True):
        assert verdict.status == "proved", (random.text, verdict.title, verdict.detail)
        assert not differs(model, check, seed), (random.text, line(Equation(check.left, check.right)))


def test_contributions() -> None:
    derivation = derive_model(model_of(TIED))
    one = Fraction(1)
    assert derivation.contributions["v"] == (Contribution("W", ("h",), 0, one),)
    assert derivation.contributions["h"] == (Contribution("W", ("v",), 1, one), Contribution("W", ("g",), 1, one))
    assert derivation.contributions["g"] == (Contribution("W", ("h",), 0, one),)


def test_an_edge_that_stands_twice_counts_twice() -> None:
    text = "model R(D = 2, F = 3)\nvisible v : binary[D] bias b\nhidden h : binary[F] bias a\nv -- h : W\nv -- h : W\n"
    derivation = derive_model(model_of(text))
    assert derivation.contributions["h"] == (Contribution("W", ("v",), 1, Fraction(2)),)
    assert format_expression(derivation.conditionals["h"].field) == "a[j] + sum(2*W[i,j]*v[i] for i)"


def test_fixed_parameters_have_no_gradient() -> None:
    text = "model R(D = 2, F = 3)\nvisible v : gaussian[D] bias b(fixed = 0)\nhidden h : binary[F] bias a\nv -- h : W\n"
    assert list(derive_model(model_of(text)).gradients) == ["W", "a"]


@pytest.mark.parametrize(
    ("formula", "names", "result"),
    [
        ("a[j] + sum(W[i,j]*v[i] for i)", {"j": "i"}, "a[i] + sum(W[k,i]*v[k] for k)"),
        ("a[j] + sum(W[i,j]*v[i] for i)", {"i": "q"}, "a[j] + sum(W[i,j]*v[i] for i)"),
        ("sum(sum(W[i,j] for j)*b[i] for i)", {}, "sum(sum(W[i,j] for j)*b[i] for i)"),
        ("softmax(f[q,i] for q at k)", {"i": "q", "k": "i"}, "softmax(f[j,q] for j at i)"),
        ("W[i,j]", {"i": "j", "j": "i"}, "W[j,i]"),
    ],
)
def test_renaming_captures_nothing(formula: str, names: dict[str, str], result: str) -> None:
    assert format_expression(renamed(parse_expression(formula), names, ())) == result
