"""The settings of training phases: one table of legal keys, with their forms, defaults and meanings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pgmdsl.compiler.check_values import (
    Form,
    Method,
    choice,
    constant,
    either,
    method,
    schedule,
    verify_layers,
    verify_parameters,
    verify_whole,
)
from pgmdsl.compiler.graph import closed_visible
from pgmdsl.compiler.model import Model
from pgmdsl.compiler.units import Counts, Naturals, Real
from pgmdsl.grammar.syntax import Call, Expression, Name, Number

PHASES = ("greedy", "fit", "wake_sleep")
WHOLE = ("fit", "wake_sleep")  # phases of the whole model
NETWORKS = ("classify", "autoencode")  # `finetune classify(y)`, `finetune autoencode`
EVERY_PHASE = (*PHASES, *NETWORKS)
ADAPTIVE = ("adam", "rmsprop")
PERSISTENT = ("pcd", "tempering")
SEARCHES = ("cg", "lbfgs")

Settings = Mapping[str, Expression]


@dataclass(frozen=True, slots=True)
class Case:
    """Models, or phases with other settings, in which a setting has another default; `text` says which."""

    text: str
    holds: Callable[[Model, Settings], bool]


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a phase.

    `form` is what may stand after the `=`. `default` holds without the key; with None the key then has no effect.
    `otherwise` are the cases in which another default holds, of which the first counts.
    """

    name: str
    phases: tuple[str, ...]
    form: str
    meaning: str
    verify: Form
    default: Expression | None = None
    otherwise: tuple[tuple[Case, Expression], ...] = ()

    def default_in(self, model: Model, stated: Settings) -> Expression | None:
        """The default for a model and a phase in which these settings are stated."""
        return next((value for case, value in self.otherwise if case.holds(model, stated)), self.default)


def method_name(node: Expression | None) -> str | None:
    """The name of a method: `pcd` of `pcd(5, chains = 100)`, `adam` of `adam`."""
    return node.name if isinstance(node, Name) else node.function if isinstance(node, Call) else None


def _has(model: Model, *supports: type) -> bool:
    return any(isinstance(layer.unit.support, supports) for layer in model.layers.values())


_JOINED = Case("where hidden layers are joined", lambda model, _: not closed_visible(model))
_PARENTS = Case("with hidden parents", lambda model, _: has_hidden_parents(model))
_GIVEN = Case("with given layers", lambda model, _: any(x.role == "given" for x in model.layers.values()))
_ADAPTIVE = Case("with adam or rmsprop", lambda _, stated: method_name(stated.get("optimiser")) in ADAPTIVE)
_SEARCHES = Case("with cg or lbfgs", lambda _, stated: method_name(stated.get("optimiser")) in SEARCHES)
_PLAIN = Case("with sgd", lambda _, stated: method_name(stated.get("optimiser")) == "sgd")
_UNBOUNDED = Case("with a layer of real units or counts", lambda model, _: _has(model, Real, Naturals, Counts))
_LARGE_BATCH = ((_SEARCHES, Number("1000")),)


def has_hidden_parents(model: Model) -> bool:
    """Whether hidden layers have directed edges to others."""
    return any(model.layers[edge.tail].role == "hidden" for edge in model.directed)


def _call(function: str, number: str) -> Call:
    return Call(function, (Number(number),))


_INFINITY = float("inf")
_SHARE = constant(0, 1, "a share is at least 0 and less than 1")
_POSITIVE_NUMBER = constant(0, _INFINITY, "this is a number greater than 0", above=True)

_EXACT = Method(example="exact")
_CHAINS = {"chains": verify_whole}
_POSITIVE = {
    "exact": _EXACT,
    "mean_field": Method((verify_whole,), example="mean_field(10)"),
    "gibbs": Method((verify_whole,), example="gibbs(10)"),
}
_NEGATIVE = {
    "cd": Method((verify_whole,), example="cd(1)"),
    "pcd": Method((verify_whole,), _CHAINS, "pcd(1, chains = 100)"),
    "gibbs": Method((verify_whole,), example="gibbs(10)"),
    "tempering": Method(
        (verify_whole,), {**_CHAINS, "temperatures": verify_whole}, "tempering(1, chains = 100, temperatures = 10)"
    ),
    "exact": _EXACT,
}
_OPTIMISERS = {
    "sgd": Method(example="sgd"),
    "adam": Method(
        (),
        {"beta1": _SHARE, "beta2": _SHARE, "epsilon": _POSITIVE_NUMBER},
        "adam(beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8)",
    ),
    "rmsprop": Method((), {"rho": _SHARE, "epsilon": _POSITIVE_NUMBER}, "rmsprop(rho = 0.9, epsilon = 1e-8)"),
}
_NETWORK_OPTIMISERS = {
    **_OPTIMISERS,
    "cg": Method((verify_whole,), example="cg(3)"),
    "lbfgs": Method((verify_whole,), example="lbfgs(3)"),
}
_FINITE_NUMBER = constant(-_INFINITY, _INFINITY, "this is a number")
_SPARSITY = {"sparsity": Method((_FINITE_NUMBER, _POSITIVE_NUMBER), example="sparsity(0.1, 0.5)")}
_NEGATIVE_FORM = "cd(k) | pcd(k, chains = m) | gibbs(k) | tempering(k, chains = m, temperatures = t) | exact"
_NEGATIVE_MEANING = (
    "states of the model: cd(k) k Gibbs sweeps from the batch; pcd(k) k sweeps of persistent chains, as many as the "
    "batch has cases unless chains says otherwise; gibbs(k) k sweeps from random states; tempering(k) k sweeps of "
    "persistent chains, each at t temperatures (10) whose states are exchanged; exact enumerates all states, for small "
    "models. Given layers are clamped throughout, so that pcd and tempering, whose chains outlive their cases, do not "
    "serve such models"
)
NETWORK_METRICS = ("error", "loss")
METRICS = ("likelihood", "bound", "pseudolikelihood", "reconstruction")

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "epochs",
        EVERY_PHASE,
        "whole number",
        "passes over the training data; not together with updates",
        verify_whole,
        Number("10"),
    ),
    Setting("updates", EVERY_PHASE, "whole number", "steps of the phase, instead of epochs", verify_whole),
    Setting("batch", PHASES, "whole number", "cases in one step", verify_whole, Number("100")),
    Setting(
        "rate",
        PHASES,
        "value",
        "learning rate: a step adds rate times the gradient of the mean log-likelihood of the batch",
        schedule(0, _INFINITY, "a rate is not negative"),
        Number("0.05"),
        ((_ADAPTIVE, Number("0.001")), (_UNBOUNDED, Number("0.01"))),
    ),
    Setting(
        "optimiser",
        PHASES,
        "sgd | adam | adam(beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8) | rmsprop | rmsprop(rho = 0.9, epsilon = 1e-8)",
        "how a step follows from the gradient: sgd along it, with momentum; adam (Kingma and Ba 2015) and rmsprop "
        "divide each entry by the root of a running mean of its square",
        method(_OPTIMISERS),
        Name("sgd"),
    ),
    Setting(
        "momentum",
        PHASES,
        "value",
        "share of the last step that the next one repeats; of sgd only",
        schedule(0, 1, "momentum is at least 0 and less than 1"),
        Number("0"),
    ),
    Setting(
        "decay",
        PHASES,
        "value",
        "weight decay: the gradient of each weight loses decay times the weight; biases and parameters of units do not "
        "decay. A weight's own decay holds in its place",
        schedule(0, _INFINITY, "decay is not negative"),
        Number("0"),
    ),
    Setting(
        "l1",
        PHASES,
        "value",
        "the gradient of each weight loses l1 times its sign, and a step does not carry it past 0. A weight's own l1 "
        "holds in its place",
        schedule(0, _INFINITY, "l1 is not negative"),
        Number("0"),
    ),
    Setting(
        "max_norm",
        PHASES,
        "number above 0",
        "after a step, the weights of each unit of an edge's upper layer are shortened to at most this Euclidean norm. "
        "A weight's own max_norm holds in its place",
        _POSITIVE_NUMBER,
    ),
    Setting(
        "clip",
        PHASES,
        "number above 0",
        "a gradient, all parameters together, is shortened to at most this Euclidean norm",
        _POSITIVE_NUMBER,
    ),
    Setting(
        "sparsity",
        ("greedy", "fit"),
        "target | sparsity(target, strength)",
        "the field of each hidden unit is pulled by strength (1) times the target less its running mean statistic "
        "(Lee, Ekanadham and Ng 2008): for binary units, the derivative of a cross-entropy",
        either(_FINITE_NUMBER, _SPARSITY),
    ),
    Setting(
        "centering",
        PHASES,
        "on | off | standardise",
        "gradients in centred coordinates: visible layers less the data's mean, hidden layers less a running mean; "
        "standardise also divides by the standard deviations",
        choice("on", "off", "standardise"),
        Name("on"),
    ),
    Setting(
        "average",
        WHOLE,
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
        WHOLE,
        "patience(n) | patience(n, METRIC)",
        "stop after n epochs without a better value on the validation data, and keep the best parameters; METRIC is "
        f"{', '.join(METRICS)}; without it pseudolikelihood where the model has one, else reconstruction",
        method({"patience": Method((verify_whole,), example="patience(10)", extra=METRICS)}),
    ),
    Setting(
        "objective",
        ("fit",),
        "likelihood | pseudolikelihood",
        "what is maximised: the likelihood, or the pseudo-likelihood (Besag 1975), the product of each unit's "
        "conditional probability given all others, which is for models without hidden layers; it has no positive and "
        "no negative phase",
        choice("likelihood", "pseudolikelihood"),
        Name("likelihood"),
    ),
    Setting(
        "positive",
        ("fit",),
        "exact | mean_field(n) | gibbs(n)",
        "states of hidden layers given the data: exact where no two hidden layers share an edge, or by enumeration; "
        "mean_field(n) n sweeps of mean field; gibbs(n) n Gibbs sweeps with the data clamped, which is what hidden "
        "parents need: stochastic EM (Neal 1992). Missing values are "
        "latent too: where cases have some and exact cannot be had with them, gibbs takes its place",
        method(_POSITIVE),
        Name("exact"),
        ((_PARENTS, _call("gibbs", "10")), (_JOINED, _call("mean_field", "10"))),
    ),
    Setting(
        "pass",
        ("greedy",),
        "sample | factorised | mean",
        "what a stage's hidden lower layers get from the trained stages below: states drawn layer by layer "
        "(Salakhutdinov 2015, Algorithm 1), states drawn given the means of the layer below (factorised, Algorithm 2), "
        "or means",
        choice("sample", "factorised", "mean"),
        Name("sample"),
    ),
    Setting(
        "start",
        ("greedy",),
        "random | transpose",
        "how a stage's weights to a hidden layer start: as the file says, or as the transpose of the weights below "
        "that layer, where sizes match: a belief net is then as good as before (Hinton, Osindero and Teh 2006, "
        "section 3)",
        choice("random", "transpose"),
        Name("random"),
    ),
    Setting(
        "negative", ("greedy", "wake_sleep"), _NEGATIVE_FORM, _NEGATIVE_MEANING, method(_NEGATIVE), _call("cd", "1")
    ),
    Setting(
        "negative",
        ("fit",),
        _NEGATIVE_FORM,
        _NEGATIVE_MEANING,
        method(_NEGATIVE),
        _call("pcd", "1"),
        ((_GIVEN, _call("cd", "1")),),
    ),
    Setting(
        "start",
        NETWORKS,
        "model | random",
        "how the network begins: grown from the model, or, for comparison, with random weights (Glorot and Bengio "
        "2010), a twin of the same layers, which the model tells nothing. Without it the first phase of a kind grows a "
        "network, and later ones go on with it",
        choice("model", "random"),
    ),
    Setting("batch", NETWORKS, "whole number", "cases in one step", verify_whole, Number("100"), _LARGE_BATCH),
    Setting(
        "optimiser",
        NETWORKS,
        "adam | adam(beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8) | rmsprop | rmsprop(rho = 0.9, epsilon = 1e-8) | sgd "
        "| cg(n) | lbfgs(n)",
        "how a step follows from the gradient: as in other phases; cg(n) and lbfgs(n) take n iterations of conjugate "
        "gradients or of L-BFGS on each batch, each with a line search and without a rate (Hinton and Salakhutdinov "
        "2006)",
        method(_NETWORK_OPTIMISERS),
        Name("adam"),
    ),
    Setting(
        "rate",
        NETWORKS,
        "value",
        "learning rate: a step adds rate times the gradient of the mean log-likelihood of the batch's labels or data",
        schedule(0, _INFINITY, "a rate is not negative"),
        Number("0.001"),
        ((_PLAIN, Number("0.05")),),
    ),
    Setting(
        "momentum",
        NETWORKS,
        "value",
        "share of the last step that the next one repeats; of sgd only",
        schedule(0, 1, "momentum is at least 0 and less than 1"),
        Number("0"),
    ),
    Setting(
        "decay",
        NETWORKS,
        "value",
        "weight decay: the gradient of each weight loses decay times the weight; biases do not decay",
        schedule(0, _INFINITY, "decay is not negative"),
        Number("0"),
    ),
    Setting(
        "labels",
        ("classify",),
        "whole number | share below 1",
        "train on so many of the labelled cases only, or on this share of them: drawn by seed, as many of each class "
        "as there can be",
        constant(0, _INFINITY, "labels is a whole number of cases, or a share of them below 1", above=True),
    ),
    Setting(
        "code",
        ("autoencode",),
        "linear | logistic",
        "how the units of the code, the topmost hidden layers, answer to their field; without it by their unit type",
        choice("linear", "logistic"),
    ),
    Setting(
        "freeze",
        NETWORKS,
        "names of layers",
        "layers of which this phase leaves the incoming weights and the biases as they are",
        verify_layers,
    ),
    Setting(
        "stop",
        NETWORKS,
        "patience(n) | patience(n, METRIC)",
        "stop after n epochs without a better value on the validation data, and keep the best network; METRIC is "
        f"{', '.join(NETWORK_METRICS)}; without it error for classify, loss for autoencode",
        method({"patience": Method((verify_whole,), example="patience(10)", extra=NETWORK_METRICS)}),
    ),
)


def settings_of(phase: str) -> dict[str, Setting]:
    """The legal keys of one kind of phase, in the table's order."""
    return {setting.name: setting for setting in SETTINGS if phase in setting.phases}
