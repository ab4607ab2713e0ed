"""The compiler's stages, composed: source text in, a model with its derivation, kernels and artifact out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, assert_never

from pgmdsl.compiler.artifact import Artifact, ArtifactEdge, ArtifactLayer, ArtifactParameter
from pgmdsl.compiler.artifact import Parts as ArtifactParts
from pgmdsl.compiler.check import check_model
from pgmdsl.compiler.derivation import Derivation
from pgmdsl.compiler.derive import derive_model
from pgmdsl.compiler.emit import emit_kernels
from pgmdsl.compiler.graph import closed_visible, gibbs_blocks, greedy_stages
from pgmdsl.compiler.model import Edge, Layer, Model, Parameter
from pgmdsl.compiler.normalise import watched_groups
from pgmdsl.compiler.parts import Parts, parts_of
from pgmdsl.compiler.plan import KernelPlan, plan_kernels, show_plan
from pgmdsl.compiler.scope import validate_checks
from pgmdsl.compiler.show import show_derivation, show_graph, show_model, show_tree
from pgmdsl.compiler.units import Counts, Finite, Naturals, OneHot, Real, Support, Whole
from pgmdsl.grammar.diagnostics import Diagnostic, Diagnostics, Error
from pgmdsl.grammar.parse import parse_file
from pgmdsl.grammar.source import Source
from pgmdsl.version import VERSION

STAGES = ("syntax", "model", "graph", "derivation", "plan", "kernels")


@dataclass(frozen=True)
class Compiled:
    """Every stage's value for one source, sizes and dtype; `warnings` are what the check had to say."""

    model: Model
    derivation: Derivation
    plan: KernelPlan
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
    source: Source, overrides: Mapping[str, int], dtype: Literal["float32", "float64"] = "float32"
) -> Compiled:
    """All stages. Raises `ModelError` for mistakes in the file, `Error` for a size that has no value."""
    model, warnings = checked_model(source, overrides)
    sizes = _known_sizes(model)
    derivation = derive_model(model)
    parts = parts_of(model)
    if parts is None:
        plan, artifact = _compiled_part(model, derivation, sizes, dtype)
    else:
        plan, artifact = _compiled_whole(model, parts, sizes, dtype)
    return Compiled(model, derivation, plan, artifact, warnings)


def _compiled_whole(
    model: Model, parts: Parts, sizes: Mapping[str, int], dtype: Literal["float32", "float64"]
) -> tuple[KernelPlan, Artifact]:
    """The artifact of a model with directed edges, whose kernels are those of its parts."""

    def part(model: Model) -> Artifact:
        return _compiled_part(model, derive_model(model), sizes, dtype)[1]

    plan, stack = _compiled_part(parts.stack, derive_model(parts.stack), sizes, dtype)
    stack = replace(stack, greedy=greedy_stages(model))
    core = part(parts.core)
    compiled = ArtifactParts(
        core=core,
        children={name: part(child) for name, child in parts.children.items()},
        recognition={name: part(target) for name, target in parts.recognition.items()},
        stack=stack,
    )
    whole = replace(
        stack,
        name=model.name,
        hash=_digest(model.source, sizes, dtype),
        layers={layer.name: _layer(layer, sizes) for layer in model.layers.values()},
        edges=_edges(model.edges),
        parameters={p.name: _parameter(p, sizes) for p in model.parameters.values()},
        blocks=core.blocks,
        closed=(),
        phases=model.phases,
        watched=core.watched,
        directed=_edges(model.directed),
        recognition=_edges(model.recognition),
        parts=compiled,
    )
    return plan, whole


def _compiled_part(
    model: Model, derivation: Derivation, sizes: Mapping[str, int], dtype: Literal["float32", "float64"]
) -> tuple[KernelPlan, Artifact]:
    """The kernels and the artifact of an undirected model."""
    source, digest = model.source, _digest(model.source, sizes, dtype)
    plan = plan_kernels(model, derivation, sizes, dtype, digest)
    artifact = Artifact(
        name=model.name,
        source_name=source.name,
        source=source.text,
        hash=digest,
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
        kernels=emit_kernels(plan),
        watched=watched_groups(model.layers, model.edges),
    )
    return plan, artifact


def _edges(edges: Sequence[Edge]) -> tuple[ArtifactEdge, ...]:
    return tuple(ArtifactEdge(edge.layers, edge.weight, edge.kind, edge.turned) for edge in edges)


def show_stage(compiled: Compiled, stage: str) -> str:
    """One stage's value as text; `stage` is one of `STAGES`."""
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
            return show_plan(compiled.plan)
        case "kernels":
            return compiled.artifact.kernels
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
    support = layer.unit.support
    return ArtifactLayer(
        name=layer.name,
        role=layer.role,
        unit=layer.unit.name,
        support=_kind(support),
        values=_values(layer, sizes),
        dims=dims,
        size=size,
        states=dims[-1] if layer.unit.states_axis else 1,
        bias=layer.bias,
        parameters=layer.parameters,
        counted=layer.counted,
        lower=float(support.lower) if isinstance(support, Real) and support.lower is not None else None,
        sigma=layer.sigma,
        recognition=layer.recognition,
        quadratic=isinstance(support, Real) and support.lower is None and len(layer.unit.pieces) < 2,
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
