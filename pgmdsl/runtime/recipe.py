"""A phase's settings with their values: what the checked expressions of a `train` block say to the runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pgmdsl.compiler.model import PhaseSpec
from pgmdsl.compiler.values import evaluate
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.syntax import (
    Binary,
    Call,
    Compare,
    Conditional,
    Expression,
    Name,
    Negate,
    Set,
)

CLOCK = frozenset({"epoch", "step", "progress"})
TEMPERATURES = 10  # of tempering


@dataclass(frozen=True)
class Schedule:
    """A value that may change while a phase runs."""

    name: str
    expression: Expression
    sizes: Mapping[str, float]
    constant: float | None

    @classmethod
    def of(cls, name: str, expression: Expression, sizes: Mapping[str, float]) -> Schedule:
        """The schedule of an expression, evaluated once if it is constant."""
        fixed = None if CLOCK & _names(expression) else evaluate(expression, sizes)
        return cls(name, expression, sizes, fixed)

    def at(self, epoch: int, step: int, progress: float) -> float:
        """The value at a step. Raises `Error` where it is not finite, or negative."""
        if self.constant is not None:
            return self.constant
        try:
            value = evaluate(self.expression, {**self.sizes, "epoch": epoch, "step": step, "progress": progress})
        except Error as problem:
            raise Error(f"{self.name} at epoch {epoch}, step {step}: {problem}; mend it in the train block") from None
        if value < 0:
            raise Error(
                f"{self.name} is {value:g} at epoch {epoch}, step {step}, and may not be negative; mend it in the "
                "train block"
            )
        return value


@dataclass(frozen=True)
class Positive:
    """How hidden states follow from data: `exact`, `mean_field` or `gibbs` with its number of sweeps."""

    kind: Literal["exact", "mean_field", "gibbs"]
    sweeps: int = 0


@dataclass(frozen=True)
class Negative:
    """Where the model's own states come from: `cd`, `pcd`, `gibbs`, `tempering` with sweeps, or `exact`.

    `conditional` is exact at no cost where no two units share an edge once given layers are known: their means.

    `chains` is of pcd and tempering, `temperatures` how many of tempering.
    """

    kind: Literal["cd", "pcd", "gibbs", "tempering", "exact", "conditional"]
    sweeps: int = 0
    chains: int = 0
    temperatures: int = TEMPERATURES

    def states(self, batch: int) -> int:
        """How many states of the model there are, with batches of so many cases; of tempering, at each temperature."""
        return {"exact": 0, "pcd": self.chains, "tempering": self.chains}.get(self.kind, batch)


@dataclass(frozen=True)
class Ascent:
    """How a gradient becomes a step: `sgd`, with momentum, or `adam` or `rmsprop` with what they keep of moments."""

    kind: Literal["sgd", "adam", "rmsprop"]
    keep_first: float = 0.0
    keep_second: float = 0.0
    tiny: float = 0.0


@dataclass(frozen=True)
class Sparsity:
    """The mean statistic that each hidden unit is drawn to, and how strongly."""

    target: float
    strength: float = 1.0


@dataclass(frozen=True)
class Patience:
    """Stop after so many epochs without a better value of a metric (None: the model's usual one)."""

    epochs: int
    metric: str | None


@dataclass(frozen=True)
class Recipe:
    """All settings of one phase; exactly one of `epochs` and `updates` is set."""

    epochs: int | None
    updates: int | None
    batch: int
    rate: Schedule
    momentum: Schedule
    decay: Schedule
    l1: Schedule | None
    max_norm: Schedule | None
    clip: Schedule | None
    ascent: Ascent
    centering: Literal["on", "off", "standardise"]
    sparsity: Sparsity | None
    average: float
    freeze: frozenset[str]
    stop: Patience | None
    objective: Literal["likelihood", "pseudolikelihood"]
    positive: Positive
    negative: Negative
    passing: Literal["sample", "factorised", "mean"] = "sample"
    transpose: bool = False

    def total_steps(self, steps_per_epoch: int) -> int:
        """How many steps the phase has."""
        return self.updates if self.updates is not None else (self.epochs or 1) * steps_per_epoch


def recipe_of(phase: PhaseSpec, sizes: Mapping[str, int]) -> Recipe:
    """The settings of a checked phase, in which every setting with a default is present."""
    settings, names = phase.settings, {n: float(v) for n, v in sizes.items()}

    def schedule(name: str) -> Schedule:
        return Schedule.of(name, settings[name], names)

    def stated(name: str) -> Schedule | None:
        return schedule(name) if name in settings else None

    batch = whole_number("batch", settings["batch"], names)
    average = evaluate(settings["average"], names) if "average" in settings else 0.0
    return Recipe(
        epochs=whole_number("epochs", settings["epochs"], names) if "epochs" in settings else None,
        updates=whole_number("updates", settings["updates"], names) if "updates" in settings else None,
        batch=batch,
        rate=schedule("rate"),
        momentum=schedule("momentum"),
        decay=schedule("decay"),
        l1=stated("l1"),
        max_norm=stated("max_norm"),
        clip=stated("clip"),
        ascent=ascent_of(settings.get("optimiser", Name("sgd")), names),
        centering=_centering(_word(settings, "centering", "on")),
        sparsity=_sparsity(settings.get("sparsity"), names),
        average=average,
        freeze=names_of(settings.get("freeze")),
        stop=patience_of(settings.get("stop"), names),
        objective=_objective(_word(settings, "objective", "likelihood")),
        positive=_positive(settings.get("positive", Name("exact")), names),
        negative=_negative(settings["negative"], batch, names),
        passing=_passing(_word(settings, "pass", "sample")),
        transpose=_word(settings, "start", "random") == "transpose",
    )


def _names(node: Expression) -> set[str]:
    match node:
        case Name(name):
            return {name}
        case Negate(operand):
            return _names(operand)
        case Binary(_, left, right) | Compare(_, left, right):
            return _names(left) | _names(right)
        case Conditional(value, condition, otherwise):
            return _names(value) | _names(condition) | _names(otherwise)
        case Call(_, arguments):
            return {name for argument in arguments for name in _names(argument)}
        case _:
            return set()


def whole_number(what: str, node: Expression, names: Mapping[str, float]) -> int:
    """A setting that is a whole number of at least 1. Raises `Error` where it is not."""
    value = evaluate(node, names)
    if value < 1 or value != int(value):
        raise Error(f"{what} is {value:g}, where a whole number of at least 1 is needed; mend it in the train block")
    return int(value)


def _word(settings: Mapping[str, Expression], key: str, default: str) -> str:
    """The one word that a setting is."""
    node = settings.get(key, Name(default))
    if not isinstance(node, Name):
        raise AssertionError(f"the checker let {key} = {node} pass")
    return node.name


def ascent_of(node: Expression, names: Mapping[str, float]) -> Ascent:
    """`adam`, or with numbers of its own `adam(beta1 = 0.5)`."""
    name = node.name if isinstance(node, Name) else node.function if isinstance(node, Call) else ""
    stated = {
        a.left.name: evaluate(a.right, names)
        for a in (node.arguments if isinstance(node, Call) else ())
        if isinstance(a, Compare) and isinstance(a.left, Name)
    }
    match name:
        case "sgd":
            return Ascent("sgd")
        case "adam":
            keep = stated.get("beta1", 0.9), stated.get("beta2", 0.999)
        case "rmsprop":
            keep = 0.0, stated.get("rho", 0.9)
        case _:
            raise AssertionError(f"the checker let optimiser = {node} pass")
    return Ascent(name, *keep, stated.get("epsilon", 1e-8))


def _centering(word: str) -> Literal["on", "off", "standardise"]:
    match word:
        case "on" | "off" | "standardise":
            return word
        case _:
            raise AssertionError(f"the checker let centering = {word} pass")


def _passing(word: str) -> Literal["sample", "factorised", "mean"]:
    match word:
        case "sample" | "factorised" | "mean":
            return word
        case _:
            raise AssertionError(f"the checker let pass = {word} pass")


def _objective(word: str) -> Literal["likelihood", "pseudolikelihood"]:
    match word:
        case "likelihood" | "pseudolikelihood":
            return word
        case _:
            raise AssertionError(f"the checker let objective = {word} pass")


def _sparsity(node: Expression | None, names: Mapping[str, float]) -> Sparsity | None:
    match node:
        case None:
            return None
        case Call("sparsity", arguments):
            return Sparsity(*(evaluate(argument, names) for argument in arguments))
        case _:
            return Sparsity(evaluate(node, names))


def names_of(node: Expression | None) -> frozenset[str]:
    """The names that a setting lists."""
    members = node.members if isinstance(node, Set) else () if node is None else (node,)
    return frozenset(m.name for m in members if isinstance(m, Name))


def patience_of(node: Expression | None, names: Mapping[str, float]) -> Patience | None:
    """`patience(n)` or `patience(n, METRIC)`."""
    match node:
        case Call("patience", (epochs,)):
            return Patience(whole_number("patience", epochs, names), None)
        case Call("patience", (epochs, Name(metric))):
            return Patience(whole_number("patience", epochs, names), metric)
        case _:
            return None


def _sweeps(node: Expression, names: Mapping[str, float]) -> tuple[str, int, dict[str, int]]:
    """A method's name, its number of sweeps (0 without one), and its keyword arguments."""
    if isinstance(node, Name):
        return node.name, 0, {}
    if not isinstance(node, Call):
        raise AssertionError(f"the checker let {node} pass as a method")
    sweeps, keywords = 0, {}
    for argument in node.arguments:
        match argument:
            case Compare("=", Name(key), value):
                keywords[key] = whole_number(key, value, names)
            case _:
                sweeps = whole_number(node.function, argument, names)
    return node.function, sweeps, keywords


def _positive(node: Expression, names: Mapping[str, float]) -> Positive:
    kind, sweeps, _ = _sweeps(node, names)
    match kind:
        case "exact" | "mean_field" | "gibbs":
            return Positive(kind, sweeps)
        case _:
            raise AssertionError(f"the checker let positive = {kind} pass")


def _negative(node: Expression, batch: int, names: Mapping[str, float]) -> Negative:
    kind, sweeps, keywords = _sweeps(node, names)
    match kind:
        case "cd" | "pcd" | "gibbs" | "tempering" | "exact":
            chains, temperatures = keywords.get("chains", batch), keywords.get("temperatures", TEMPERATURES)
            return Negative(kind, sweeps, chains, temperatures)
        case _:
            raise AssertionError(f"the checker let negative = {kind} pass")
