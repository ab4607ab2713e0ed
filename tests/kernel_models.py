"""Small models for the tests of the kernels: text in, loaded kernels out."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Literal, cast

import numpy as np

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.compiler.check import check_model
from pgmdsl.compiler.derive import derive_model
from pgmdsl.compiler.emit import emit_kernels
from pgmdsl.compiler.model import Model
from pgmdsl.compiler.plan import KernelPlan, plan_kernels
from pgmdsl.compiler.primitives_costs import Costs
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

# Every kind of edge: lateral ones (two on v), edges of three and four layers, one of them tied, a document whose
# length multiplies the biases of its neighbours but one, given layers.
EDGES = """
model Edges(F = 3)

visible v : binary[4]             bias b
visible y : softmax[2, 3]         bias c
visible w : replicated_softmax[4] bias e
given   u : gaussian[2]
hidden  h : spin[F]               bias a
hidden  k : spin[F]               bias none
hidden  z : binary[2]             bias o(scale = 1)

v -- v : L
v -- v : M
y -- y : N
v -- h : W
w -- h : U
w -- z : V
v * h * y : T
v * k * y : T
u * h * z * v : Q
"""

# Every unit type whose units are set in turn.
LATERAL = """
model Lateral
unit drelu {
  param gp > 0, gm > 0, tp, tm
  support x in real
  energy gp*x^2/2 + tp*x if x > 0 else gm*x^2/2 + tm*x
  statistic x
}
unit trit {
  support x in {-1, 0, 1}
  energy 0.3 * x^2
  statistic x
}
visible a : binary[4]
visible b : softmax[3, 3]
visible c : gaussian[3](sigma = learned)
hidden  k : trit[3]
hidden  e : relu[2]
hidden  f : drelu[2]
hidden  g : binomial[3](trials = 4)
hidden  i : poisson[2]
a -- a : A
b -- b : B
c -- c : C
k -- k : K
e -- e : E
f -- f : F
g -- g : G
i -- i : I
a -- b : AB
"""

Dtype = Literal["float32", "float64"]


def checked(text: str) -> Model:
    source = Source("test.ebm", text)
    diagnostics = Diagnostics(source)
    model = check_model(source, parse_file(source, diagnostics), diagnostics, {})
    diagnostics.raise_errors()
    assert model is not None
    return model


def planned(text: str, dtype: Dtype = "float32", *, tables: bool = True) -> KernelPlan:
    model = checked(text)
    sizes = {name: value for name, value in model.sizes.items() if value is not None}
    return plan_kernels(model, derive_model(model), sizes, dtype, "0123abcd", tables=tables)


def loaded(text: str, dtype: Dtype = "float32", costs: Costs | None = None) -> Kernels:
    plan = planned(text, dtype)
    return load_kernels(cast(Artifact, SimpleNamespace(name=plan.model, kernels=emit_kernels(plan))), costs)


def random_case(kernels: Kernels, cases: int, seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters (own ones per unit, not 1) and statistics of every layer, of the kernels' type."""
    rng = np.random.default_rng(seed)
    real = np.dtype(kernels.header["dtype"])
    p: dict[str, Any] = {}
    for name, weight in kernels.weights.items():
        w = rng.normal(size=weight["shape"])
        for layer in (kernels.layers[use[0]] for use in weight["uses"] if use[0] == use[1]):
            w = lateral(w, layer["states"]) if layer["unit"] in FINITE else -0.3 * np.abs(lateral(w, layer["states"]))
        p[name] = w.astype(real)
    for layer in kernels.layers.values():
        if layer["bias"]:
            p[layer["bias"]] = rng.normal(size=layer["size"]).astype(real)
        for own, name in layer["parameters"].items():
            positive = own in ("sigma", "gp", "gm")
            p[name] = (rng.uniform(0.5, 2, layer["size"]) if positive else rng.normal(size=layer["size"])).astype(real)
    return p, {name: random_state(rng, layer, cases).astype(real) for name, layer in kernels.layers.items()}


FINITE = ("binary", "spin", "softmax", "trit", "binomial")


def lateral(w: Any, states: int) -> Any:
    """The nearest symmetric weight with zero blocks of so many states on its diagonal."""
    blocks = np.kron(np.eye(len(w) // states), np.ones((states, states)))
    return (w + w.T) / 2 * (1 - blocks)


def random_state(rng: np.random.Generator, layer: Mapping[str, Any], cases: int) -> Any:
    """Statistics (cases, size) that units of this layer can have."""
    shape, states = (cases, layer["size"]), layer["states"]
    match layer["unit"]:
        case "gaussian" | "drelu":
            return rng.normal(size=shape)
        case "relu":
            return np.abs(rng.normal(size=shape))
        case "poisson" | "binomial":
            return rng.integers(0, 4, size=shape).astype(float)
        case "replicated_softmax":
            return np.stack([rng.multinomial(n, np.full(states, 1 / states)) for n in rng.integers(1, 9, cases)]) * 1.0
        case "softmax":
            return np.eye(states)[rng.integers(0, states, size=(cases, layer["size"] // states))].reshape(shape)
        case "spin":
            return rng.choice([-1.0, 1.0], size=shape)
        case "trit":
            return rng.choice([-1.0, 0.0, 1.0], size=shape)
        case _:
            return rng.choice([0.0, 1.0], size=shape)
