"""Stages of the compiler as text for reading: the syntax tree, the checked model, the derivation, the layer graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.compiler.check_networks import finetuned
from pgmdsl.compiler.derivation import Contribution, Derivation
from pgmdsl.compiler.model import Initial, Mask, Model, Parameter, PhaseSpec, joined
from pgmdsl.compiler.report import derivation_text
from pgmdsl.grammar.format import format_expression


def show_tree(node: object) -> str:
    """A tree of dataclasses, one node a line under its parent, after the field that holds it; places are left out."""
    return "\n".join(_nodes(node, "", 0)) + "\n"


def show_model(model: Model) -> str:
    """The checked model in the notation of model files: sizes, layers, edges, parameters and phases in columns."""
    sizes = [[name, "=", "from the data" if value is None else str(value)] for name, value in model.sizes.items()]
    layers = [
        [
            x.role,
            x.name,
            ":",
            _shaped(x.unit.name, x.dims),
            *([] if x.role == "given" else [f"bias {x.bias or 'none'}"]),
            *([f"trials {x.trials}"] if x.trials is not None else []),
            *([f"times the length of {', '.join(x.counted)}"] if x.counted else []),
            *([f"recognition bias {x.recognition}"] if x.recognition else []),
        ]
        for x in model.layers.values()
    ]
    edges = [[joined(edge), ":", edge.weight] for edge in model.all_edges]
    parameters = [_parameter(parameter) for parameter in model.parameters.values()]
    out = [f"model {model.name}"]
    for heading, rows in (("sizes", sizes), ("layers", layers), ("edges", edges), ("parameters", parameters)):
        if rows:
            out += ["", heading, *_columns(rows)]
    for phase in model.phases:
        out += ["", *_phase(phase)]
    return "\n".join(out) + "\n"


def show_derivation(model: Model, derivation: Derivation) -> str:
    """All derived formulas, and what each neighbour sends to a layer: the products that the kernels compute."""
    rows = [[name, "+=", _contribution(c)] for name, parts in derivation.contributions.items() for c in parts]
    lines = ["", "Coupling fields", "  (what the neighbours' statistics s send to a layer)", *_columns(rows)]
    return derivation_text(model, derivation) + "\n".join(lines if rows else []) + ("\n" if rows else "")


def show_graph(artifact: Artifact) -> str:
    """The layers and edges with their numbers, the orders of sampling, and the stages of greedy training."""
    layers = [[x.role, x.name, ":", _shaped(x.unit, x.dims)] for x in artifact.layers.values()]
    edges = [
        [joined(edge), ":", _shaped(edge.weight, artifact.parameters[edge.weight].shape)] for edge in artifact.all_edges
    ]
    blocks = [[", ".join(block)] for block in artifact.blocks]
    stages = [[stage.upper, "from", ", ".join(stage.lower), _doubled(stage.scale)] for stage in artifact.greedy]
    closed = f"of {', '.join(artifact.closed)}, in closed form" if artifact.closed else "not in closed form"
    out = [f"model {artifact.name}"]
    for heading, rows in (
        ("layers", layers),
        ("edges", edges),
        ("Gibbs blocks, in order", blocks),
        ("then sampled, in order", _conditional_on(artifact.parts.children) if artifact.parts else []),
        ("recognition, in order", _conditional_on(artifact.parts.recognition) if artifact.parts else []),
        ("free energy", [] if artifact.parts else [[closed]]),
        ("greedy stages", stages),
    ):
        if rows:
            out += ["", heading, *_columns(rows)]
    return "\n".join(out) + "\n"


# --- the tree ---------------------------------------------------------------------------------------------


def _nodes(node: object, label: str, depth: int) -> Iterator[str]:
    """The lines of one node: its class and plain values, then its inner nodes one step to the right."""
    assert is_dataclass(node), "trees are made of dataclasses"
    held = [(f.name, getattr(node, f.name)) for f in fields(node) if f.name != "span"]
    inner = [(name, _inner(value)) for name, value in held]
    plain = [
        f" {name}={value!r}" for (name, value), (_, below) in zip(held, inner, strict=True) if _is_said(value, below)
    ]
    yield "  " * depth + label + type(node).__name__ + "".join(plain)
    for name, below in inner:
        for child in below:
            yield from _nodes(child, f"{name}: ", depth + 1)


def _inner(value: object) -> Sequence[object]:
    """The nodes that a field holds."""
    found = value if isinstance(value, tuple) else (value,)
    return [x for x in found if is_dataclass(x)]


def _is_said(value: object, below: Sequence[object]) -> bool:
    """Whether a field stands on its node's own line: it holds no nodes, and is not absent."""
    return not below and value not in (None, (), False)


# --- columns ----------------------------------------------------------------------------------------------


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of cells, each column as wide as its widest cell."""
    count = max(map(len, rows))
    widths = [max((len(row[k]) for row in rows if k < len(row)), default=0) for k in range(count)]
    for row in rows:
        yield "  " + " ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()


def _conditional_on(parts: Mapping[str, Artifact]) -> list[list[str]]:
    """Layers with the layers that they are drawn from."""
    return [[name, "from", ", ".join(n for n in part.layers if n != name)] for name, part in parts.items()]


def _shaped(name: str, dims: Sequence[object]) -> str:
    return f"{name}[{', '.join(map(str, dims))}]"


def _parameter(parameter: Parameter) -> list[str]:
    key = "fixed" if parameter.fixed else "init"
    kind = "parameter" if parameter.kind == "unit" else parameter.kind
    what = f"{kind} of {', '.join(dict.fromkeys(parameter.layers))}"
    what += ", symmetric" if parameter.symmetric else ""
    what += ", above 0" if parameter.positive else ""
    what += f", masked by {_mask(parameter.mask)}" if parameter.mask is not None else ""
    for option in ("decay", "l1", "max_norm"):
        value = getattr(parameter, option)
        what += f", {option} {value:g}" if value is not None else ""
    return [_shaped(parameter.name, parameter.shape), f"({key} = {_initial(parameter.initial)})", what]


def _initial(initial: Initial) -> str:
    match initial.kind:
        case "normal":
            return f"normal({initial.value:g})"
        case "constant":
            return f"{initial.value:g}"
        case "file":
            return f'"{initial.text}"'
        case "data":
            return "data"


def _mask(mask: Mask) -> str:
    return f'"{mask.file}"' if mask.kind == "file" else f"local(radius = {mask.radius:g})"


def _phase(phase: PhaseSpec) -> Iterator[str]:
    kind = finetuned(phase.kind)
    yield f"{kind}({phase.target})" if phase.kind == "classify" else f"{kind} {phase.target}" if phase.target else kind
    yield from _columns([[key, "=", format_expression(value)] for key, value in phase.settings.items()])


def _contribution(contribution: Contribution) -> str:
    """`s(h2) W2'`, after its factor where that is not 1."""
    factor = "" if contribution.coefficient == 1 else f"{contribution.coefficient} "
    sent = " ".join(f"s({name})" for name in contribution.neighbours)
    pair = len(contribution.neighbours) == 1
    return f"{factor}{sent} {contribution.weight}" + ("'" if pair and contribution.axis == 0 else "")


def _doubled(scale: Mapping[str, float]) -> str:
    twice = [name for name, factor in scale.items() if factor != 1]
    return f"(input of {', '.join(twice)} doubled)" if twice else ""
