"""Random models with directed edges: what checks say of them, against enumeration apart from the compiler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import oracle
import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st
from plain import CASES, differs, oracle_model, random_state
from plain_values import Here, value_of
from random_nets import Net, NetLayer, random_nets

from pgmdsl.compiler.derive import derive_model
from pgmdsl.compiler.driver import check_source, checked_model
from pgmdsl.compiler.energy import Fields, derive_fields
from pgmdsl.compiler.expand import Expander
from pgmdsl.compiler.left import sides_of
from pgmdsl.compiler.prove import verify_checks
from pgmdsl.compiler.scope import examine_check
from pgmdsl.compiler.symbols import Symbols
from pgmdsl.grammar.diagnostics import Diagnostics, ModelError
from pgmdsl.grammar.format import format_expression
from pgmdsl.grammar.source import Source
from pgmdsl.grammar.syntax import Name

RANDOM = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
UPPER = {"binary": "1", "spin": "-1"}


def event(layer: NetLayer) -> str | None:
    """The event of one unit of a layer that has few states."""
    indices = "ijkl"[: len(layer.dims)]
    if layer.unit == "softmax":
        site = f"[{','.join(indices[:-1])}]" if indices[:-1] else ""
        return f"{layer.name}{site} = {indices[-1]}"
    return f"{layer.name}[{','.join(indices)}] = {UPPER[layer.unit]}" if layer.unit in UPPER else None


def unit(name: str, axes: int) -> str:
    return f"{name}[{','.join('ijklmnop'[:axes])}]"


def lefts(net: Net) -> Iterator[tuple[str, str]]:
    """Left sides, each with a right side that says how to sum; some are mistakes for this model."""
    names = ", ".join(x.name for x in net.layers)
    hidden = [x.name for x in net.layers if x.role == "hidden"]
    data = ", ".join(x.name for x in net.layers if x.role != "hidden")
    shapes = {x.name: len(x.dims) for x in net.layers}
    yield f"p({names})", "exp(-energy)/Z"
    yield "log_joint", "-energy - log(Z)"
    yield "Z", "0"
    yield "bound", "-log(Z)"
    yield "entropy(q)", "0"
    yield f"kl(q, p({', '.join(hidden)} | {data}))", "0"
    yield f"q({', '.join(hidden)} | {data})", "0"
    for layer in net.layers:
        others = ", ".join(x.name for x in net.layers if x.name > layer.name)
        yield f"p({layer.name}{' | ' + others if others else ''})", "0"
        if (one := event(layer)) is not None:
            yield f"p({one} | rest)", "0"
            yield f"p({one} | {others or 'rest'})", "0"
            if layer.role == "hidden":
                yield f"q({one} | {', '.join(x.name for x in net.layers if x.name < layer.name)})", "0"
        if layer.role == "hidden" and all(x.unit == "binary" for x in net.layers if x.role == "hidden"):
            yield f"up({unit(layer.name, len(layer.dims))})", "0"
        yield f"gradient({unit('b_' + layer.name, shapes[layer.name])})", "data(0)"


def of_parameters(net: Net, model_weights: dict[str, int]) -> Iterator[tuple[str, str]]:
    for name, axes in model_weights.items():
        for phase in ("gradient", "wake", "sleep"):
            yield f"{phase}({unit(name, axes)})", "data(0)"


@RANDOM
@given(random_nets(), st.integers(0, 99))
def test_every_left_side_is_what_enumeration_says(net: Net, seed: int) -> None:
    model, _ = checked_model(Source("net.ebm", net.text), {})
    weights = {p.name: len(p.shape) for p in model.parameters.values() if p.kind == "weight"}
    fields = Fields(Symbols.of(model), derive_model(model).contributions)
    compared: Counter[bool] = Counter()
    for left, right in (*lefts(net), *of_parameters(net, weights)):
        found, diagnostics = check_source(Source("net.ebm", f'{net.text}check "t": {left} == {right}\n'), {})
        if diagnostics.errors or found is None:
            assert {d.code for d in diagnostics.errors} <= {"E069", "E070", "E071"}, (net.text, left)
            compared[False] += 1
            continue
        examined = examine_check(model, found.checks[0], Diagnostics(model.source))
        assert examined is not None
        own = fields if examined.model is model else derive_fields(Symbols.of(examined.model))
        expander = Expander(own, examined.check.right, examined.posterior, examined.means)
        for side in sides_of(expander, examined.form, examined.check.right, examined.of_q):
            for formula in side.lefts:
                check = replace(examined.check, right=formula)
                assert not differs(model, check, seed), (net.text, left, format_expression(formula))
        compared[True] += 1
    assert compared[True] > 5


@RANDOM
@given(random_nets(), st.integers(0, 99))
def test_derived_formulas_are_proved(net: Net, seed: int) -> None:
    """Every derived equation, pasted into a check, is proved, and holds by enumeration."""
    model, _ = checked_model(Source("net.ebm", net.text), {})
    derivation = derive_model(model)
    every = [derivation.energy, *(c.equation for c in derivation.conditionals.values())]
    every += [*(c.equation for c in derivation.recognition.values()), *derivation.gradients.values()]
    lines = [f"{format_expression(e.left)} == {format_expression(e.right)}" for e in every]
    pasted = net.text + "".join(f'check "{k}": {line}\n' for k, line in enumerate(lines))
    try:
        model, _ = checked_model(Source("net.ebm", pasted), {})
    except ModelError as refused:  # where q of the core does not factorise, no check speaks of q
        if "E071" not in str(refused):
            raise
        reject()
    for check, verdict in zip(model.checks, verify_checks(model, derivation, mending=False), strict=True):
        assert verdict.status == "proved", (pasted, verdict.title, verdict.detail)
        assert not differs(model, check, seed), (pasted, check.title)


@RANDOM
@given(random_nets(), st.integers(0, 99))
def test_children_sum_to_one_and_bounds_hold(net: Net, seed: int) -> None:
    """Z is that of the layers without parents; the bound is below log p by the divergence."""
    model, _ = checked_model(Source("net.ebm", net.text), {})
    rng = np.random.default_rng(seed)
    small = oracle_model(model, rng)
    core = {n: x for n, x in small.layers.items() if n not in net.children}
    alone = replace(small, layers=core, arrows=())
    assert oracle.log_partition(small) == pytest.approx(oracle.log_partition(alone), abs=1e-9)
    found, diagnostics = check_source(Source("net.ebm", f'{net.text}check "t": bound == -log(Z)\n'), {})
    if found is None or diagnostics.errors or any(x.unit == "gaussian" for x in net.layers if x.role == "hidden"):
        return
    state = random_state(small, rng, CASES)
    means = random_state(small, rng, CASES, small.names("hidden"))
    here = Here(small, {**small.parameters, **state}, {}, means=means)
    value = value_of(Name("bound"), here, {})
    data = [n for n in small.layers if n not in small.names("hidden")]
    log_p = [oracle.log_probability(small, {n: state[n][c : c + 1] for n in data}) for c in range(CASES)]
    assert (value <= np.array(log_p) + 1e-9).all()
