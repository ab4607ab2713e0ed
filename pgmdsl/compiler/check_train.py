"""Train blocks: the phases with their settings, defaults merged in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import cast

from pgmdsl.compiler.check_names import MistakeError, Scope
from pgmdsl.compiler.check_networks import finetuned, network_kind, network_target, verify_network_settings
from pgmdsl.compiler.check_values import Context
from pgmdsl.compiler.graph import greedy_stages, legal_phases, untrained_by_greedy
from pgmdsl.compiler.model import Model, PhaseKind, PhaseSpec
from pgmdsl.compiler.normalise import diverging
from pgmdsl.compiler.settings import (
    ADAPTIVE,
    EVERY_PHASE,
    NETWORKS,
    PERSISTENT,
    PHASES,
    Setting,
    has_hidden_parents,
    method_name,
    settings_of,
)
from pgmdsl.grammar.diagnostics import suggest
from pgmdsl.grammar.source import Span
from pgmdsl.grammar.syntax import Expression, Name, Option, Phase, TrainBlock

_LENGTHS = ("epochs", "updates")
_LISTED = ", ".join((*PHASES, *(finetuned(kind) for kind in NETWORKS)))


def check_train(
    blocks: Sequence[TrainBlock], model: Model | None, context: Context, scope: Scope
) -> tuple[PhaseSpec, ...]:
    """The phases of the file's train block, in order; every mistake in them is reported.

    Without a model, because the layer graph is not whole, the settings are checked and nothing is returned.
    """
    for block in blocks[1:]:
        scope.record(
            MistakeError("E049", _head(block), "this is a second train block", "move its phases into the first")
        )
    if not blocks:
        return ()
    items = blocks[0].items
    options = [item for item in items if isinstance(item, Option)]
    phases = [item for item in items if isinstance(item, Phase)]
    if not phases:
        help = "add a phase, for example fit { epochs = 100 }"
        scope.record(MistakeError("E059", _head(blocks[0]), "this train block has no phase", help))
    defaults = _check_entries(options, EVERY_PHASE, context, scope)
    found: list[PhaseSpec] = []
    for phase in phases:
        with scope.recorded():
            kind = _kind_of(phase)
            stated = _check_entries(phase.entries, (kind,), context, scope)
            if model is not None:
                target = _target_of(phase, model)
                fitting = {key: value for key, value in defaults.items() if _fits(kind, key, value, context)}
                merged = _merged(kind, fitting, stated, model)
                if kind in NETWORKS:
                    verify_network_settings(kind, stated, merged, found)
                else:
                    _verify_together(merged, stated, model)
                found.append(PhaseSpec(kind, target, merged))
                _warn_unreached(phase, model, scope)
    return tuple(found)


def _head(block: TrainBlock) -> Span:
    return Span(block.span.start, min(block.span.end, block.span.start + len("train")))


def _kind_of(phase: Phase) -> PhaseKind:
    kind = phase.kind
    if kind.name == "finetune":
        return cast(PhaseKind, network_kind(phase))
    if kind.name not in PHASES:
        near = suggest(kind.name, [*PHASES, "finetune"])
        help = near or f"the phases are {_LISTED}"
        raise MistakeError("E053", kind.span, f"{kind.name} is not a phase of training", help)
    return cast(PhaseKind, kind.name)


def _target_of(phase: Phase, model: Model) -> str | None:
    """The layer that a phase names. Raises `MistakeError` for a phase or target that the model cannot have."""
    if phase.kind.name == "finetune":
        return network_target(phase, model)
    reason = legal_phases(model)[phase.kind.name]
    if reason is not None:
        raise _illegal(phase, reason, model)
    if phase.kind.name == "greedy":
        _verify_machines(phase, model)
    target = phase.target
    if target is None:
        return None
    if phase.kind.name != "greedy" or not isinstance(target, Name):
        raise MistakeError(
            "E054", target.span, f"the phase {phase.kind.name} does not take this target", "greedy takes a hidden layer"
        )
    uppers = [stage.upper for stage in greedy_stages(model)]
    if target.name not in model.layers:
        raise MistakeError.unknown(target.name, target.span, "is not a layer", uppers)
    if target.name not in uppers:
        message = (
            f"{target.name} is not a hidden layer that data reaches from below, so greedy has nothing to train there"
        )
        raise MistakeError("E054", target.span, message, f"it can train {', '.join(uppers)}")
    return target.name


def _verify_machines(phase: Phase, model: Model) -> None:
    """Raise `MistakeError` where a directed edge, taken for undirected, makes a machine that never normalises."""
    edge = diverging(model.layers, model.directed)
    if edge is None:
        return
    child, parent = (f"{name} ({model.layers[name].unit.name})" for name in (edge.head, edge.tail))
    message = (
        f"greedy pretraining trains restricted machines, and one of {parent} and {child} never normalises: only given "
        f"{edge.tail} does {edge.head} have a distribution"
    )
    raise MistakeError("E055", phase.kind.span, message, "leave greedy out: wake_sleep and fit train directed edges")


def _illegal(phase: Phase, reason: str, model: Model) -> MistakeError:
    """That the model cannot have this phase."""
    if phase.kind.name == "greedy":
        help = "declare visible layers first, then hidden ones from below to above"
        return MistakeError("E055", phase.kind.span, f"greedy pretraining has nothing to train: {reason}", help)
    help = "write fit { ... }, which trains undirected models"
    if model.directed:
        child = model.directed[0]
        help = (
            f"add some, for example {child.head} ~> {child.tail} : R_{child.tail}; or write fit, which draws hidden "
            "layers by Gibbs sampling"
        )
    return MistakeError("E055", phase.kind.span, f"wake-sleep has nothing to train: {reason}", help)


def _check_entries(
    entries: Sequence[Option], kinds: Sequence[str], context: Context, scope: Scope
) -> dict[str, Expression]:
    """The entries that are in order: each is a key of at least one of these kinds of phase, and has its form."""
    found: dict[str, Expression] = {}
    for entry in entries:
        with scope.recorded():
            _verify_entry(entry, kinds, context)
            if entry.key.name in found:
                raise MistakeError("E056", entry.key.span, f"{entry.key.name} is given twice", "keep one of them")
            found[entry.key.name] = entry.value
            if found.keys() >= set(_LENGTHS):
                raise MistakeError("E057", entry.key.span, "a phase has epochs or updates, not both", "leave one out")
    return found


def _verify_entry(entry: Option, kinds: Sequence[str], context: Context) -> None:
    key = entry.key
    tables = [settings_of(kind) for kind in kinds]
    legal = dict.fromkeys(table[key.name] for table in tables if key.name in table)
    if legal:
        _verify_form(list(legal), entry.value, context)
        return
    elsewhere = [finetuned(kind) for kind in EVERY_PHASE if key.name in settings_of(kind)]
    if elsewhere:
        message = f"{key.name} is not a setting of {finetuned(kinds[0])}"
        raise MistakeError("E051", key.span, message, f"it belongs to {', '.join(elsewhere)}")
    known = list(dict.fromkeys(name for table in tables for name in table))
    help = suggest(key.name, known) or f"the settings are {', '.join(known)}"
    raise MistakeError("E050", key.span, f"{key.name} is not a setting of training", help)


def _verify_form(legal: Sequence[Setting], value: Expression, context: Context) -> None:
    """Raise the first one's `MistakeError` for a value that has the form of none of these settings."""
    try:
        legal[0].verify(value, context)
    except MistakeError:
        for setting in legal[1:]:
            with suppress(MistakeError):
                return setting.verify(value, context)
        raise


def _fits(kind: str, key: str, value: Expression, context: Context) -> bool:
    """Whether a default of the train block has the form of this setting in a phase that has it."""
    try:
        settings_of(kind)[key].verify(value, context)
    except (KeyError, MistakeError):
        return False
    return True


def _merged(
    kind: str, defaults: dict[str, Expression], stated: dict[str, Expression], model: Model
) -> dict[str, Expression]:
    """A phase's settings: its own, else the train block's, else the table's."""
    if set(_LENGTHS) & stated.keys():
        defaults = {key: value for key, value in defaults.items() if key not in _LENGTHS}
    chosen = {**defaults, **stated}
    merged: dict[str, Expression] = {}
    for name, setting in settings_of(kind).items():
        value = chosen.get(name, setting.default_in(model, chosen))
        if value is not None:
            merged[name] = value
    if "updates" in merged:
        merged.pop("epochs")
    return merged


def _verify_together(settings: Mapping[str, Expression], chosen: Mapping[str, Expression], model: Model) -> None:
    """Raise `MistakeError` for a setting that the model, or another setting, leaves nothing to do.

    `settings` are those of the phase, `chosen` those of them that the phase itself states.
    """
    negative, objective = settings["negative"], settings.get("objective")
    roles = {layer.role: layer.name for layer in reversed([*model.layers.values()])}
    if method_name(negative) in PERSISTENT and "given" in roles:
        message = (
            f"{roles['given']} is given, so the model is another one for each case, and {method_name(negative)} keeps "
            "its chains from case to case"
        )
        raise MistakeError("E058", negative.span, message, "write negative = cd(1), or gibbs(10) for fresh chains")
    positive = settings.get("positive")
    if positive is not None and has_hidden_parents(model) and method_name(positive) != "gibbs":
        parent = next(edge for edge in model.directed if model.layers[edge.tail].role == "hidden")
        message = (
            f"{parent.tail} has a directed edge to {parent.head}, so its units depend on each other given the data, "
            f"and {method_name(positive)} does not serve"
        )
        raise MistakeError("E058", positive.span, message, "write positive = gibbs(10), or a wake_sleep phase")
    if objective == Name("pseudolikelihood") and model.directed:
        message = "the pseudo-likelihood is of undirected models"
        raise MistakeError("E058", objective.span, message, "leave objective out: the default is likelihood")
    if objective == Name("pseudolikelihood"):
        if "hidden" in roles:
            message = f"{roles['hidden']} is hidden, and the pseudo-likelihood needs all layers observed"
            raise MistakeError("E058", objective.span, message, "leave objective out: the default is likelihood")
        for key in ("positive", "negative"):
            if key in chosen:
                message = f"the pseudo-likelihood has no {key} phase"
                raise MistakeError("E058", chosen[key].span, message, f"leave {key} out")
    if "sparsity" in chosen and "hidden" not in roles:
        message = "sparsity is of hidden units, and this model has none"
        raise MistakeError("E058", chosen["sparsity"].span, message, "leave it out")
    if "momentum" in chosen and method_name(settings["optimiser"]) in ADAPTIVE:
        message = f"{method_name(settings['optimiser'])} has no momentum of this kind"
        raise MistakeError("E058", chosen["momentum"].span, message, "leave momentum out, or write optimiser = sgd")


def _warn_unreached(phase: Phase, model: Model, scope: Scope) -> None:
    unreached = untrained_by_greedy(model)
    if phase.kind.name == "greedy" and phase.target is None and unreached:
        scope.diagnostics.warn(
            "W003",
            phase.kind.span,
            f"greedy pretraining does not train {', '.join(unreached)}: no stage has all layers of the edge",
            "the earlier layer in the file is the lower: declare visible layers before the hidden layers they join",
        )
