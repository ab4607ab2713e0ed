"""`finetune` phases: whether a network can be grown from the model, and what it is to predict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pgmdsl.compiler.check_names import MistakeError
from pgmdsl.compiler.model import Layer, Model, PhaseSpec
from pgmdsl.compiler.settings import NETWORKS, SEARCHES, method_name
from pgmdsl.compiler.units import OneHot
from pgmdsl.grammar.syntax import Call, Expression, Name, Number, Phase, TrainBlock

_FORMS = "write finetune classify(y), y being the layer of labels, or finetune autoencode"


def network_kind(phase: Phase) -> str:
    """`classify` or `autoencode`, of a phase `finetune`. Raises `MistakeError` where its target is neither."""
    match phase.target:
        case Call("classify", (Name(),), None, None, (), None):
            return "classify"
        case Name("autoencode"):
            return "autoencode"
        case None:
            raise MistakeError("E054", phase.kind.span, "this finetune does not say which network to grow", _FORMS)
        case target:
            raise MistakeError("E054", target.span, "finetune grows no such network", _FORMS)


def classified(blocks: Iterable[TrainBlock]) -> set[str]:
    """The names of the layers that some `finetune classify(y)` predicts."""
    found = set()
    for item in (item for block in blocks for item in block.items):
        match item:
            case Phase(target=Call("classify", (Name(name),))):
                found.add(name)
    return found


def network_target(phase: Phase, model: Model) -> str | None:
    """The layer that a classifier predicts, None for an autoencoder.

    Raises:
        MistakeError: it is no layer of labels, or the model has nothing that such a network could be grown from.
    """
    match phase.target:
        case Call(_, (Name(name) as node,)):
            labels = [layer.name for layer in model.layers.values() if _is_label(layer)]
            if name not in model.layers:
                raise MistakeError.unknown(name, node.span, "is not a layer", labels or model.layers)
            if not _is_label(model.layers[name]):
                layer = model.layers[name]
                message = (
                    f"{name} is {layer.role} and {layer.unit.name}, and a classifier predicts a visible softmax[K]"
                )
                help = (
                    f"the layers of labels are {', '.join(labels)}"
                    if labels
                    else "declare one, for example visible y : softmax[10]"
                )
                raise MistakeError("E054", node.span, message, help)
            _verify_model(phase, model, name)
            return name
        case _:
            _verify_model(phase, model, None)
            return None


def _is_label(layer: Layer) -> bool:
    return layer.role == "visible" and isinstance(layer.unit.support, OneHot) and len(layer.dims) == 1


def _verify_model(phase: Phase, model: Model, target: str | None) -> None:
    """Raise `MistakeError` where no network can be grown: no path from the data, or edges that networks do not have."""
    network = "classifier" if target else "autoencoder"
    for edge in model.edges:
        if len(set(edge.layers)) > 2:
            message = f"the edge of {edge.weight} joins three layers or more, and a network has pairs only"
            raise MistakeError("E055", phase.kind.span, message, "leave the phase out, or the edge")
        if edge.lateral and target is None:
            message = f"{edge.weight} joins {edge.layers[0]} to itself, and an autoencoder has no such connections"
            raise MistakeError("E055", phase.kind.span, message, "leave the phase out, or the edge")
    data = {n for n, layer in model.layers.items() if layer.role == "visible" and n != target}
    if not data:
        message = f"there is no data to predict {target} from: the model has no other visible layer"
        raise MistakeError("E055", phase.kind.span, message, "declare one, for example visible v : binary[D]")
    hidden = {n for n, layer in model.layers.items() if layer.role == "hidden"}
    every = (*model.edges, *model.directed, *model.recognition)
    if not any(hidden & {*edge.layers} and data & {*edge.layers} for edge in every):
        message = f"a {network} has the model's hidden layers, and no edge joins one to the data"
        help = "declare a hidden layer and join it to the data, for example hidden h : binary[F] and v -- h"
        raise MistakeError("E055", phase.kind.span, message, help)


def verify_network_settings(
    kind: str, stated: Mapping[str, Expression], settings: Mapping[str, Expression], earlier: Sequence[PhaseSpec]
) -> None:
    """Raise `MistakeError` for settings of a `finetune` phase that do not go together.

    Args:
        kind: `classify` or `autoencode`.
        stated: the settings that the phase itself states.
        settings: all of them.
        earlier: the phases before it.
    """
    optimiser = method_name(settings["optimiser"])
    idle = {"momentum": optimiser != "sgd", "rate": optimiser in SEARCHES}
    for key in (key for key, is_idle in idle.items() if is_idle and key in stated):
        message = f"{optimiser} has no {key}" + (" of this kind" if key == "momentum" else ": it searches along lines")
        raise MistakeError("E058", stated[key].span, message, f"leave {key} out, or write optimiser = sgd")
    if "code" in stated and "start" not in stated and any(phase.kind == kind for phase in earlier):
        message = "this phase goes on with the network of an earlier one, whose code is what it is"
        raise MistakeError("E058", stated["code"].span, message, "state code in the first phase, or add start = model")
    match settings.get("labels"):
        case Number(text) as node if float(text) >= 1 and float(text) != int(float(text)):
            message = f"this is {text}: a number of cases is whole, and a share of them below 1"
            raise MistakeError("E052", node.span, message, "for example labels = 100, or labels = 0.1")
    match settings.get("stop"):
        case Call("patience", (_, Name("error") as metric)) if kind == "autoencode":
            raise MistakeError("E058", metric.span, "an autoencoder has no labels to be in error about", "write loss")


def finetuned(kind: str) -> str:
    """A phase's kind as the file writes it."""
    return f"finetune {kind}" if kind in NETWORKS else kind
