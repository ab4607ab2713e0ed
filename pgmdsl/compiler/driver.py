"""The compiler's stages, composed: source text in, a model with its derivation, kernels and artifact out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, assert_never

from pgmdsl.compiler.artifact import Artifact, ArtifactEdge, ArtifactLayer, ArtifactParameter, PartsOf
from pgmdsl.compiler.check import check_model
from pgmdsl.compiler.derivation import Derivation
from pgmdsl.compiler.derive import derive_model
from pgmdsl.compiler.emit import emit_kernels
from pgmdsl.compiler.graph import closed_visible, gibbs_blocks, greedy_stages
from pgmdsl.compiler.model import Edge, Layer, Model, Parameter
from pgmdsl.compiler.normalise import watched_groups
from pgmdsl.compiler.parts import parts_of, upward_of
from pgmdsl.compiler.plan import KernelPlan, plan_kernels
from pgmdsl.compiler.plan_show import show_plan
from pgmdsl.compiler.primitives_costs import Costs
from pgmdsl.compiler.scope import validate_checks
from pgmdsl.compiler.show import show_derivation, show_graph, show_model, show_tree
from pgmdsl.compiler.units import Counts, Finite, Naturals, OneHot, Real, Support, Whole
from pgmdsl.compiler.values import evaluate
from pgmdsl.grammar.diagnostics import Diagnostic, Diagnostics, Error
from pgmdsl.grammar.parse import parse_expression, parse_file
from pgmdsl.grammar.source import Source
from pgmdsl.version import VERSION

DType = Literal["float32", "float64"]
_FORMULAS = ("statistic", "base", "own_field", "mean", "log_partition")
STAGES = ("syntax", "model", "graph", "derivation", "plan", "kernels")


@dataclass(frozen=True)
class Compiled:
    """Every stage's value for one source, sizes and dtype; `warnings` are what the check had to say.

    `plans` are those of the generated files: one, or one a part of a model with directed edges.
    """

    model: Model
    derivation: Derivation
    plans: tuple[KernelPlan, ...]
    artifact: Artifact
    warnings: tuple[Diagnostic, ...]


def check_source(source: Source, overrides: Mapping[str, int]) -> tuple[Model | None, Diagnostics]:
    """The checked model and every problem of the file; the model is None when an error is among them."""
    diagnostics = Diagnostics(source)
    file = parse_file(source, diagnostics)
    model = check_model(source, file, diagnostics, overrides)
    if model is not None:
        validate_checks(model, diagnostics)
    return (None if diagnostics.errors else model), diagnostics


def checked_model(source: Source, overrides: Mapping[str, int]) -> tuple[Model, tuple[Diagnostic, ...]]:
    """The checked model and its warnings. Raises `ModelError` with every mistake of the file."""
    model, diagnostics = check_source(source, overrides)
    diagnostics.raise_errors()
    assert model is not None, "a file without errors has a model"
    return model, tuple(diagnostics.sorted())


def compile_source(
    source: Source, overrides: Mapping[str, int], dtype: DType = "float32", *, tables: bool = True
) -> Compiled:
    """All stages. Without `tables`, all products of states are BLAS's.

    Raises `ModelError` for mistakes in the file, `Error` for a size that has no value.
    """
    model, warnings = checked_model(source, overrides)
    return compile_model(model, dtype, warnings, tables=tables)


def compile_model(
    model: Model, dtype: DType, warnings: tuple[Diagnostic, ...] = (), *, tables: bool = True
) -> Compiled:
    """All stages after the check. Raises `Error` for a size that has no value."""
    sizes = _known_sizes(model)
    derivation, parts = derive_model(model), parts_of(model)
    if parts is None:
        plan = plan_kernels(model, derivation, sizes, dtype, _digest(model.source, sizes, dtype), tables=tables)
        return Compiled(model, derivation, (plan,), _artifact(model, sizes, dtype, emit_kernels(plan)), warnings)
    plans, artifact = _compiled_whole(model, parts, sizes, dtype, tables=tables)
    return Compiled(model, derivation, plans, artifact, warnings)


def _compiled_whole(
    model: Model, parts: PartsOf[Model], sizes: Mapping[str, int], dtype: DType, *, tables: bool
) -> tuple[tuple[KernelPlan, ...], Artifact]:
    """The artifact of a model with directed edges: two files of kernels serve all its parts.

    Layers that are absent send nothing, so that the functions of the stack serve the core and the children as well, and
    those of all recognition edges together every recognised layer. Without such edges the stack's serve these too,
    unless one has a lateral edge, which is no part of its recognition.
    """

    def planned(part: Model) -> KernelPlan:
        digest = _digest(model.source, sizes, dtype)
        return plan_kernels(part, derive_model(part), sizes, dtype, digest, tables=tables)

    apart = model.recognition or any(e.lateral and e.layers[0] in parts.recognition for e in model.edges)
    plans = (planned(parts.stack), *([planned(upward_of(model))] if apart else []))
    kernels, upward = emit_kernels(plans[0]), emit_kernels(plans[-1])
    found = parts.mapped(lambda part: _artifact(part, sizes, dtype, kernels))
    recognition = {name: replace(part, kernels=upward) for name, part in found.recognition.items()}
    stack = replace(found.stack, greedy=greedy_stages(model))
    whole = _artifact(model, sizes, dtype, kernels)
    compiled = replace(found, recognition=recognition, stack=stack)
    return plans, replace(whole, blocks=found.core.blocks, closed=(), parts=compiled)


def _artifact(model: Model, sizes: Mapping[str, int], dtype: DType, kernels: str) -> Artifact:
    """A model with its numbers, and the text of its kernels."""
    return Artifact(
        name=model.name,
        source_name=model.source.name,
        source=model.source.text,
        hash=_digest(model.source, sizes, dtype),
        version=VERSION,
        dtype=dtype,
        sizes=sizes,
        layers={layer.name: _layer(layer, sizes) for layer in model.layers.values()},
        edges=_edges(model.edges),
        parameters={p.name: _parameter(p, sizes) for p in model.parameters.values()},
        blocks=gibbs_blocks(model),
        closed=closed_visible(model),
        greedy=greedy_stages(model),
        data=model.data,
        phases=model.phases,
        kernels=kernels,
        watched=watched_groups(model.layers, model.edges),
        directed=_edges(model.directed),
        recognition=_edges(model.recognition),
    )


def _edges(edges: Sequence[Edge]) -> tuple[ArtifactEdge, ...]:
    return tuple(ArtifactEdge(edge.layers, edge.weight, edge.kind, edge.head) for edge in edges)


def show_stage(compiled: Compiled, stage: str, costs: Costs | None = None) -> str:
    """One stage's value as text; `stage` is one of `STAGES`. `costs` are of products, for the plan: see `show_plan`."""
    match stage:
        case "syntax":
            return show_tree(compiled.model.file)
        case "model":
            return show_model(compiled.model)
        case "graph":
            return show_graph(compiled.artifact)
        case "derivation":
            return show_derivation(compiled.model, compiled.derivation)
        case "plan":
            batches = _batches(compiled.artifact)
            return "\n\n".join(show_plan(plan, costs, batches) for plan in compiled.plans)
        case "kernels":
            return "\n\n".join(compiled.artifact.kernel_files.values())
        case _:
            raise Error(f"there is no stage {stage!r}: the stages are {', '.join(STAGES)}")


def infer_sizes(model: Model, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Values for sizes without a default, read off the shapes of the data (per case) of the layers that use them."""
    found: dict[str, int] = {}
    for name, shape in shapes.items():
        dims = model.layers[name].dims
        if len(dims) == 1 and len(shape) > 1:  # images for a flat layer
            flat = 1
            for n in shape:
                flat *= n
            shape = (flat,)
        for dim, value in zip(dims, shape, strict=False):
            for size in dim.names():
                if model.sizes[size] is None and str(dim) == size:
                    found.setdefault(size, value)
    return found


def _known_sizes(model: Model) -> dict[str, int]:
    unknown = [name for name, value in model.sizes.items() if value is None]
    if unknown:
        name = unknown[0]
        raise Error(
            f"{model.source.name}: the size {name} has no value: give it one in the file ({name} = 100), on the "
            f"command line (--set {name}=100), or name data for the layer that has it"
        )
    return {name: value for name, value in model.sizes.items() if value is not None}


def _digest(source: Source, sizes: Mapping[str, int], dtype: str) -> str:
    identity = json.dumps([VERSION, source.text, dict(sorted(sizes.items())), dtype])
    return hashlib.sha256(identity.encode()).hexdigest()


def _layer(layer: Layer, sizes: Mapping[str, int]) -> ArtifactLayer:
    dims = tuple(int(d.evaluate(sizes)) for d in layer.dims)
    size = 1
    for n in dims:
        size *= n
    support, values = layer.unit.support, _values(layer, sizes)
    statistic = parse_expression(layer.unit.statistic)
    return ArtifactLayer(
        name=layer.name,
        role=layer.role,
        unit=layer.unit.name,
        support=_kind(support),
        values=values,
        dims=dims,
        size=size,
        states=dims[-1] if layer.unit.states_axis else 1,
        bias=layer.bias,
        parameters=layer.parameters,
        counted=layer.counted,
        lower=float(support.lower) if isinstance(support, Real) and support.lower is not None else None,
        sigma=layer.sigma,
        recognition=layer.recognition,
        formulas={name: parse_expression(getattr(layer.unit, name)) for name in _FORMULAS},
        quadratic=isinstance(support, Real) and support.lower is None and len(layer.unit.pieces) < 2,
        levels=tuple(evaluate(statistic, {"x": value}) for value in values),
    )


def _kind(support: Support) -> Literal["finite", "one_hot", "counts", "naturals", "real"]:
    match support:
        case Finite() | Whole():
            return "finite"
        case OneHot():
            return "one_hot"
        case Counts():
            return "counts"
        case Naturals():
            return "naturals"
        case Real():
            return "real"
        case _:
            assert_never(support)


def _batches(artifact: Artifact) -> list[int]:
    """The batch sizes of the phases, each once."""
    sizes = {name: float(value) for name, value in artifact.sizes.items()}
    stated = [phase.settings["batch"] for phase in artifact.phases if "batch" in phase.settings]
    return list(dict.fromkeys(int(evaluate(batch, sizes)) for batch in stated))


def _values(layer: Layer, sizes: Mapping[str, int]) -> tuple[float, ...]:
    """The states of a unit of finitely many."""
    support = layer.unit.support
    if isinstance(support, Finite):
        return tuple(float(value) for value in support.values)
    if layer.trials is not None:
        return tuple(float(value) for value in range(int(layer.trials.evaluate(sizes)) + 1))
    return ()


def _parameter(parameter: Parameter, sizes: Mapping[str, int]) -> ArtifactParameter:
    shape = tuple(int(d.evaluate(sizes)) for d in parameter.shape)
    return ArtifactParameter(
        name=parameter.name,
        kind=parameter.kind,
        layers=parameter.layers,
        shape=shape,
        initial=parameter.initial,
        fixed=parameter.fixed,
        positive=parameter.positive,
        symmetric=parameter.symmetric,
        mask=parameter.mask,
        decay=parameter.decay,
        l1=parameter.l1,
        max_norm=parameter.max_norm,
    )
