"""The settings of training phases: one table of legal keys, with their forms, defaults and meanings."""

from __future__ import annotations

from dataclasses import dataclass

from pgmdsl.compiler.check_values import (
    Form,
    Method,
    constant,
    method,
    schedule,
    verify_parameters,
    verify_switch,
    verify_whole,
)
from pgmdsl.grammar.syntax import Call, Expression, Name, Number

PHASES = ("greedy", "fit")
PLANNED_PHASES = {"wake_sleep": "E910", "finetune": "E911"}
PLANNED_SETTINGS = ("l1", "max_norm", "clip", "sparsity", "optimiser", "objective", "pass", "start")


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a phase.

    `form` is what may stand after the `=`. `default` holds without the key; with None the key then has no effect.
    `deep` is the default of models in which hidden layers share an edge, where that is another one.
    """

    name: str
    phases: tuple[str, ...]
    form: str
    meaning: str
    verify: Form
    default: Expression | None = None
    deep: Expression | None = None


def _call(function: str, number: str) -> Call:
    return Call(function, (Number(number),))


_EXACT = Method(0, example="exact")
_POSITIVE = {
    "exact": _EXACT,
    "mean_field": Method(1, example="mean_field(10)"),
    "gibbs": Method(1, example="gibbs(10)"),
}
_NEGATIVE = {
    "cd": Method(1, example="cd(1)"),
    "pcd": Method(1, ("chains",), example="pcd(1, chains = 100)"),
    "gibbs": Method(1, example="gibbs(10)"),
    "exact": _EXACT,
}
_NEGATIVE_FORM = "cd(k) | pcd(k, chains = m) | gibbs(k) | exact"
_NEGATIVE_MEANING = (
    "states of the model: cd(k) k Gibbs sweeps from the batch; pcd(k) k sweeps of persistent chains, as many as the "
    "batch has cases unless chains says otherwise; gibbs(k) k sweeps from random states; exact enumerates all states, "
    "for small models"
)
METRICS = ("likelihood", "bound", "pseudolikelihood", "reconstruction")

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "epochs",
        PHASES,
        "whole number",
        "passes over the training data; not together with updates",
        verify_whole,
        Number("10"),
    ),
    Setting("updates", PHASES, "whole number", "steps of the phase, instead of epochs", verify_whole),
    Setting("batch", PHASES, "whole number", "cases in one step", verify_whole, Number("100")),
    Setting(
        "rate",
        PHASES,
        "value",
        "learning rate: a step adds rate times the gradient of the mean log-likelihood of the batch",
        schedule(0, float("inf"), "a rate is not negative"),
        Number("0.05"),
    ),
    Setting(
        "momentum",
        PHASES,
        "value",
        "share of the last step that the next one repeats",
        schedule(0, 1, "momentum is at least 0 and less than 1"),
        Number("0"),
    ),
    Setting(
        "decay",
        PHASES,
        "value",
        "weight decay: the gradient of each weight loses decay times the weight; biases do not decay",
        schedule(0, float("inf"), "decay is not negative"),
        Number("0"),
    ),
    Setting(
        "centering",
        PHASES,
        "on | off",
        "gradients in centred coordinates: visible layers less the data's mean, hidden layers less a running mean",
        verify_switch,
        Name("on"),
    ),
    Setting(
        "average",
        ("fit",),
        "number from 0, below 1",
        "keep an exponential average of the parameters, this share of it carried over at each step; it is what the "
        "phase ends with and what is evaluated",
        constant(0, 1, "an average carries over at least 0 and less than 1, for example 0.999"),
    ),
    Setting(
        "freeze", PHASES, "names of parameters", "parameters that this phase leaves as they are", verify_parameters
    ),
    Setting(
        "stop",
        ("fit",),
        "patience(n) | patience(n, METRIC)",
        "stop after n epochs without a better value on the validation data, and keep the best parameters; METRIC is "
        f"{', '.join(METRICS)}; without it pseudolikelihood where the model has one, else reconstruction",
        method({"patience": Method(1, example="patience(10)", extra=METRICS)}),
    ),
    Setting(
        "positive",
        ("fit",),
        "exact | mean_field(n) | gibbs(n)",
        "states of hidden layers given the data: exact where no two hidden layers share an edge, or by enumeration; "
        "mean_field(n) n sweeps of mean field; gibbs(n) n Gibbs sweeps with the data clamped",
        method(_POSITIVE),
        Name("exact"),
        _call("mean_field", "10"),
    ),
    Setting(
        "negative", ("greedy",), _NEGATIVE_FORM, _NEGATIVE_MEANING, method(_NEGATIVE, ("tempering",)), _call("cd", "1")
    ),
    Setting(
        "negative", ("fit",), _NEGATIVE_FORM, _NEGATIVE_MEANING, method(_NEGATIVE, ("tempering",)), _call("pcd", "1")
    ),
)


def settings_of(phase: str) -> dict[str, Setting]:
    """The legal keys of one kind of phase, in the table's order."""
    return {setting.name: setting for setting in SETTINGS if phase in setting.phases}
