"""Tiny models compiled for the tests of training, in double precision and without a JIT compiler."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from compiled import plain_python
from oracle import OracleEdge, OracleLayer, OracleModel

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.compiler.driver import compile_source
from pgmdsl.grammar.source import Source
from pgmdsl.runtime import train as training
from pgmdsl.runtime.kernels import Kernels, load_kernels

RBM = """
model Tiny(D = 4, F = 3)
visible v : binary[D] bias b
hidden  h : binary[F] bias a
v -- h : W
"""

DBM = """
model Deep(D = 4, F1 = 3, F2 = 2)
visible v  : binary[D]  bias b
hidden  h1 : binary[F1] bias a1
hidden  h2 : binary[F2] bias a2
v  -- h1 : W1
h1 -- h2 : W2
"""

MIXED = """
model Mixed(F = 2)
visible v : gaussian[2](sigma = 0.7) bias b
visible y : softmax[3]               bias c
hidden  h : spin[F]                  bias a
hidden  z : binary[F]                bias none
v -- h : W
v -- z : V
y -- h : U
h -- z : J
"""

TIED = """
model Tied(F = 2)
visible v : binary[F] bias b
visible w : binary[F] bias b
hidden  h : binary[F] bias a
v -- h : W
w -- h : W
"""


@cache
def artifact_of(text: str, dtype: Any = "float64", name: str = "tiny.ebm") -> Artifact:
    return compile_source(Source(name, text), {}, dtype).artifact


def kernels_of(artifact: Artifact) -> Kernels:
    with plain_python():
        return load_kernels(artifact)


def with_train(text: str, train: str) -> Artifact:
    return artifact_of(f"{text}\ntrain {{ {train} }}\n")


def train(artifact: Artifact, *args: Any, **kwargs: Any) -> training.TrainedRun:
    with plain_python():
        return training.train(artifact, *args, display=False, **kwargs)


def resume(directory: Path, artifact: Artifact, *args: Any, **kwargs: Any) -> training.TrainedRun:
    with plain_python():
        return training.resume(directory, artifact, *args, display=False, **kwargs)


def oracle_of(artifact: Artifact, parameters: dict[str, Any]) -> OracleModel:
    """The oracle's model of an artifact: declared terms only."""
    layers = {}
    for n, x in artifact.layers.items():
        trials = len(x.values) - 1 if x.unit == "binomial" else 0
        layers[n] = OracleLayer(n, x.role, x.unit, x.dims, x.bias, x.sigma, dict(x.parameters), trials, x.counted)
    edges = tuple(OracleEdge(e.layers[0], e.layers[1], e.weight, e.layers[2:]) for e in artifact.edges)
    return OracleModel(layers, edges, {n: np.asarray(p, np.float64) for n, p in parameters.items()})


def random_parameters(artifact: Artifact, seed: int = 0, sd: float = 0.6) -> dict[str, Any]:
    """Drawn anew, but for what units have of their own and do not learn; lateral weights as they have to be."""
    rng = np.random.default_rng(seed)
    out = {}
    for p in artifact.parameters.values():
        drawn = rng.normal(0, sd, p.shape)
        if p.kind == "unit":
            drawn = np.full(p.shape, p.initial.value or 0.7) if p.fixed else drawn
            drawn = np.exp(0.5 * drawn) if p.positive and not p.fixed else drawn
        if p.symmetric:
            layer = artifact.layers[p.layers[0]]
            sites = np.arange(layer.size) // layer.states
            flat = drawn.reshape(layer.size, layer.size)
            drawn = ((flat + flat.T) / 2 * (sites[:, None] != sites)).reshape(p.shape)
        out[p.name] = drawn
    return out


def random_data(artifact: Artifact, cases: int, seed: int = 0) -> dict[str, Any]:
    """States of the visible and given layers; documents of different lengths."""
    rng = np.random.default_rng(seed)
    out = {}
    for name, layer in artifact.layers.items():
        if layer.role == "hidden":
            continue
        shape = (cases, *layer.dims)
        match layer.support:
            case "real":
                x = rng.normal(0.3, 1, shape)
                out[name] = x if layer.lower is None else layer.lower + np.abs(x)
            case "one_hot":
                out[name] = np.eye(layer.states)[rng.integers(0, layer.states, (cases, *layer.dims[:-1]))]
            case "finite":
                share = np.arange(1.0, len(layer.values) + 1)
                p = [0.3, 0.7] if len(layer.values) == 2 else share / share.sum()
                out[name] = rng.choice(layer.values, shape, p=p)
            case "counts":
                out[name] = np.array(
                    [rng.multinomial(1 + i % 4, rng.dirichlet(np.ones(layer.states))) for i in range(cases)], float
                )
            case "naturals":
                out[name] = rng.poisson(1.5, shape).astype(float)
    return out
