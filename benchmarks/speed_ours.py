"""The same work by pgmdsl: the learner that `pgmc train` runs, from model text, and the matrix products alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from speed_peers import DECAY, MOMENTUM, RATE, Matrix, Step, weights

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.compiler.driver import compile_source
from pgmdsl.compiler.primitives_costs import Costs
from pgmdsl.grammar.source import Source
from pgmdsl.runtime.belief import BeliefNet, machine_of
from pgmdsl.runtime.belief_learner import BeliefLearner
from pgmdsl.runtime.estimators.annealing import Path as AnnealingPath
from pgmdsl.runtime.estimators.annealing import base_fields
from pgmdsl.runtime.estimators.evidence import gather
from pgmdsl.runtime.kernels import load_kernels
from pgmdsl.runtime.learner import Learner
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.optimise import Rates
from pgmdsl.runtime.parameters import initial_parameters
from pgmdsl.runtime.recipe import recipe_of
from pgmdsl.runtime.threads import Threads

COSTS: dict[str, Costs | None] = {"tables": None, "BLAS": {}}


def chain_text(sizes: tuple[int, ...], unit: str = "binary") -> str:
    """The model file of layers in a chain, all binary but the visible one, which is of `unit`."""
    lines = ["model Chain", f"visible v : {unit} bias b"]
    names = ["v", *(f"h{i}" for i in range(1, len(sizes)))]
    lines += [f"hidden {name} : binary[{n}] bias a_{name}" for name, n in zip(names[1:], sizes[1:], strict=True)]
    lines += [f"{a} -- {b} : W_{b}" for a, b in pairwise(names)]
    return "\n".join(lines) + "\n"


def compiled(text: str, phase: str = "") -> Artifact:
    kind = "wake_sleep" if "~>" in text else "fit"
    source = f"{text}train {{ {kind} {{ updates = 1, {phase} }} }}\n" if phase else text
    return compile_source(Source("bench.ebm", source), {}).artifact


def learner_step(text: str, phase: str, batch: int, by: str = "tables", threads: int = 1) -> Step:
    """One update of the learner; phases as a `fit` block says, with the peers' rate, momentum and decay."""
    artifact = compiled(text, f"batch = {batch}, {phase}")
    kernels = load_kernels(artifact, COSTS[by])
    machine = machine_of(artifact, kernels, initial_parameters(artifact, kernels, 0))
    trained, recipe = (
        [n for n, p in artifact.parameters.items() if not p.fixed],
        recipe_of(artifact.phases[0], artifact.sizes),
    )
    (observed,) = (n for n, layer in artifact.layers.items() if layer.role == "visible")
    learner: Any
    if isinstance(machine, BeliefNet):
        learner = BeliefLearner(machine, (observed,), recipe, trained, 0, sleeps=True, threads=Threads(threads))
        for part in learner.parts.values():
            part.start({n: np.full(artifact.layers[n].size, 0.2, np.float32) for n in part.observed}, (0,))
    else:
        learner = Learner(machine, (observed,), recipe, trained, 0, threads=Threads(threads))
        learner.start({observed: np.full(artifact.layers[observed].size, 0.2, np.float32)}, (0,))
    rates, count = Rates(RATE, MOMENTUM, DECAY), [0]

    def step(data: Matrix) -> None:
        learner.states[observed][: len(data)] = data
        learner.step(len(data), None, 1.0, rates, (count[0], False), (0, count[0]))
        count[0] += 1

    return step


def rbm_phase(chains: int, sweeps: int) -> str:
    return f"negative = pcd({sweeps}, chains = {chains})" if chains else f"negative = cd({sweeps})"


def rbm(visible: int, hidden: int, batch: int, chains: int, sweeps: int, by: str = "tables", threads: int = 1) -> Step:
    text = chain_text((visible, hidden), f"binary[{visible}]")
    return learner_step(text, rbm_phase(chains, sweeps), batch, by, threads)


def gaussian(visible: int, hidden: int, batch: int, chains: int, sweeps: int) -> Step:
    text = chain_text((visible, hidden), f"gaussian[{visible}](sigma = 1)")
    return learner_step(text, rbm_phase(chains, sweeps), batch)


def documents(words: int, hidden: int, batch: int, sweeps: int) -> Step:
    """Replicated softmax by CD."""
    return learner_step(chain_text((words, hidden), f"replicated_softmax[{words}]"), rbm_phase(0, sweeps), batch)


def belief_net(sizes: tuple[int, ...], batch: int) -> Step:
    """Wake-sleep for a sigmoid belief net of layers in a chain, with recognition edges."""
    names = ["v", *(f"h{i}" for i in range(1, len(sizes)))]
    lines = ["model Net", f"visible v : binary[{sizes[0]}] bias b"]
    lines += [f"hidden {name} : binary[{n}] bias a_{name}" for name, n in zip(names[1:], sizes[1:], strict=True)]
    lines += [line for a, b in pairwise(names) for line in (f"{b} -> {a} : W_{a}", f"{a} ~> {b} : R_{b}")]
    return learner_step("\n".join(lines) + "\n", "momentum = 0", batch)


def dbm(
    sizes: tuple[int, ...],
    batch: int,
    chains: int,
    mean_field: int,
    sweeps: int,
    by: str = "tables",
    threads: int = 1,
) -> Step:
    text = chain_text(sizes, f"binary[{sizes[0]}]")
    phase = f"positive = mean_field({mean_field}), {rbm_phase(chains, sweeps)}"
    return learner_step(text, phase, batch, by, threads)


def rbm_products(visible: int, hidden: int, batch: int, chains: int, sweeps: int) -> Step:
    """The matrix products of an update of `rbm` by BLAS, as the kernels call it, and nothing else."""
    kernels = load_kernels(compiled(chain_text((visible, hidden), f"binary[{visible}]")), {})
    p, rows = {"W_h1": weights(visible, hidden)[0]}, chains or batch
    data, model = ({"v": bits(n, visible), "h1": bits(n, hidden)} for n in (batch, rows))
    out = {n: np.empty_like(x) for n, x in model.items()}
    h_data, slope = np.empty((batch, hidden), np.float32), np.empty_like(p["W_h1"])

    def step(_: Matrix) -> None:
        kernels.field["h1"](p, {"v": data["v"]}, h_data)
        for _sweep in range(sweeps):
            kernels.field["v"](p, {"h1": model["h1"]}, out["v"])
            kernels.field["h1"](p, {"v": model["v"]}, out["h1"])
        kernels.weight_statistics["W_h1"](data, 1 / batch, False, slope)
        kernels.weight_statistics["W_h1"](model, -1 / rows, True, slope)

    return step


def ais(visible: int, hidden: int, chains: int, by: str = "tables") -> Step:
    """One temperature of annealed importance sampling, as `pgmc eval` goes along it."""
    artifact = compiled(chain_text((visible, hidden), f"binary[{visible}]"))
    kernels = load_kernels(artifact, COSTS[by])
    machine = Machine(artifact, kernels, initial_parameters(artifact, kernels, 0))
    evidence = gather(machine, None)
    betas = np.linspace(0, 1, 100_000)
    path, count = AnnealingPath(evidence, base_fields(machine, None, evidence), betas, chains, 0, ("ais",)), [50_000]

    def step(_: Matrix) -> None:
        path.advance(count[0])
        count[0] += 1

    return step


def bits(rows: int, columns: int) -> Matrix:
    return (np.random.default_rng(1).random((rows, columns)) < 0.2).astype(np.float32)


def by_name(maker: Callable[..., Step], *arguments: object, **named: object) -> Callable[[], Step]:
    return lambda: maker(*arguments, **named)
