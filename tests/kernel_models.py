"""Small models for the tests of the kernels: text in, loaded kernels out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Literal, cast

import numpy as np

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.compiler.check import check_model
from pgmdsl.compiler.derive import derive_model
from pgmdsl.compiler.emit import emit_kernels
from pgmdsl.compiler.model import Model
from pgmdsl.compiler.plan import KernelPlan, plan_kernels
from pgmdsl.grammar.diagnostics import Diagnostics
from pgmdsl.grammar.parse import parse_file
from pgmdsl.grammar.source import Source
from pgmdsl.runtime.kernels import Kernels, load_kernels

# Every unit type, several axes, a tied weight in both directions, a loop (v, h, z), a layer without a bias.
MIXED = """
model Mixed(D = 2, F = 4, K = 3)

visible v : gaussian[D, 3](sigma = 0.7) bias b
visible y : softmax[2, K]               bias c
hidden  h : binary[F]                   bias a
hidden  z : spin[F]                     bias none

v -- h : W
v -- z : W
h -- y : U
y -- z : U'
h -- z : J
"""

RBM = """
model RBM(D = 5, F = 3)
visible v : binary[D] bias b
hidden  h : binary[F] bias a
v -- h : W
"""

Dtype = Literal["float32", "float64"]


def checked(text: str) -> Model:
    source = Source("test.ebm", text)
    diagnostics = Diagnostics(source)
    model = check_model(source, parse_file(source, diagnostics), diagnostics, {})
    diagnostics.raise_errors()
    assert model is not None
    return model


def planned(text: str, dtype: Dtype = "float32") -> KernelPlan:
    model = checked(text)
    sizes = {name: value for name, value in model.sizes.items() if value is not None}
    return plan_kernels(model, derive_model(model), sizes, dtype, "0123abcd")


def loaded(text: str, dtype: Dtype = "float32") -> Kernels:
    plan = planned(text, dtype)
    return load_kernels(cast(Artifact, SimpleNamespace(name=plan.model, kernels=emit_kernels(plan))))


def random_case(kernels: Kernels, cases: int, seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters (sigma per unit, not 1) and statistics of every layer, of the kernels' type."""
    rng = np.random.default_rng(seed)
    real = np.dtype(kernels.header["dtype"])
    p, s = {}, {}
    for name, weight in kernels.weights.items():
        p[name] = rng.normal(size=weight["shape"]).astype(real)
    for name, layer in kernels.layers.items():
        size, states = layer["size"], layer["states"]
        if layer["bias"]:
            p[layer["bias"]] = rng.normal(size=size).astype(real)
        if "sigma" in layer["parameters"]:
            p[layer["parameters"]["sigma"]] = rng.uniform(0.5, 2, size=size).astype(real)
        match layer["unit"]:
            case "gaussian":
                x = rng.normal(size=(cases, size))
            case "softmax":
                x = np.eye(states)[rng.integers(0, states, size=(cases, size // states))].reshape(cases, size)
            case "spin":
                x = rng.choice([-1.0, 1.0], size=(cases, size))
            case _:
                x = rng.choice([0.0, 1.0], size=(cases, size))
        s[name] = np.ascontiguousarray(x, real)
    return p, s
