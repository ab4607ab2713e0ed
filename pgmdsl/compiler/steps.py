"""A proof as steps to read: from each side to the normal form that both have, every step by a rule with a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pgmdsl.compiler.claim import Claim
from pgmdsl.compiler.expressions import LETTERS, bound_names, renamed
from pgmdsl.compiler.forms import Form, Formula, Gradient, Joint, Mean, MeanField, Partition, Probability, Up
from pgmdsl.compiler.left import Sides
from pgmdsl.compiler.model import Size
from pgmdsl.compiler.normal_product import subtract
from pgmdsl.compiler.normal_read import Reader, Reading
from pgmdsl.compiler.normal_terms import Poly
from pgmdsl.compiler.normal_write import Writer
from pgmdsl.grammar.syntax import Call, Expression, Name

RULES = {
    "sigmoid": "sigmoid(x) = exp(x)/(1 + exp(x))",
    "softplus": "softplus(x) = log(1 + exp(x))",
    "tanh": "tanh(x) = 2*sigmoid(2*x) - 1",
    "softmax": "softmax(x[q] for q at k) = exp(x[k])/sum(exp(x[q]) for q)",
    "prod": "a product is the exponential of the sum of its factors' logarithms",
    "exp": "exp(x + y) = exp(x)*exp(y)",
    "log": "log(x*y) = log(x) + log(y)",
    "sum": "sums are linear; what does not depend on an index is taken out",
    "data": "averages are linear; what holds no state is taken out",
    "model": "averages are linear; what holds no state is taken out",
    "expect": "expectations are linear; a layer that q draws last is averaged over first",
    "d": "the derivative, by the rules of sums, products and chains",
    "sqrt": "sqrt(x) = x^(1/2)",
}
DEFINITIONS = {
    "energy": "the energies of units and edges",
    "free_energy": "-log of exp(-energy) summed over the states of the other layers",
    "log_joint": "-energy - log(Z)",
    "bound": "the expectation under q of log_joint, and the entropy of q",
    "entropy": "the expectation under q of -log(q)",
    "kl": "the expectation under q of log(q) - log(p)",
    "expect": "the formula averaged over q",
    "d": "the formula to be derived, its names written out",
}


@dataclass(frozen=True, slots=True)
class Step:
    """`left = right` by a rule; `ranges` are those of the indices in force around it that are bound further out."""

    left: Expression
    right: Expression
    rule: str
    ranges: Mapping[str, Size]


@dataclass(frozen=True, slots=True)
class Proof:
    """The steps from each side of a part of a check to its normal form, and the laws of names that they use.

    `normal` is that of the left side, and `meets` whether that of the right is the same as it stands; else their
    difference is 0 over a common denominator.
    """

    part: str
    left: tuple[Step, ...]
    right: tuple[Step, ...]
    normal: Expression
    meets: bool
    laws: tuple[str, ...]


def proofs_of(claim: Claim) -> tuple[Proof, ...]:
    """The proof of each part of a claim that is proved."""
    return tuple(_proof(claim, sides) for sides in claim.sides)


def _proof(claim: Claim, sides: Sides) -> Proof:
    left = claim.proof(sides)
    assert left is not None, "what has steps is proved"
    written = [] if left == claim.check.left else [Step(claim.check.left, left, definition(claim), {})]
    named = [] if sides.right == claim.check.right else [Step(claim.check.right, sides.right, "names written out", {})]
    if sides.part:  # the parameters of a distribution: the check's own sides are not these
        written, named = [], []
    readers = claim.reader(), claim.reader()
    first, second = readers[0].read(left), readers[1].read(sides.right)
    laws = dict.fromkeys((*readers[0].algebra.used, *readers[1].algebra.used))
    return Proof(
        sides.part,
        (*written, *_steps(claim, readers[0], left, first)),
        (*named, *_steps(claim, readers[1], sides.right, second)),
        _writer(claim).write(first),
        not subtract(first, second),
        tuple(laws),
    )


def _writer(claim: Claim) -> Writer:
    return claim.fields.symbols.lettered((claim.check.left, claim.check.right)).writer()


def _steps(claim: Claim, reader: Reader, side: Expression, whole: Poly) -> tuple[Step, ...]:
    """What every function inside of a side is in normal form, inner ones first, and then the side itself."""
    writer = _writer(claim)
    found: dict[tuple[Expression, Expression], Step] = {}
    for reading in reader.readings:
        step = _step(reader, writer, reading)
        found.setdefault((step.left, step.right), step)
    last = Step(side, writer.write(whole), "terms collected", {})
    found.setdefault((last.left, last.right), last)
    return tuple(step for step in found.values() if _numbered(step.left) != _numbered(step.right))


def _numbered(formula: Expression) -> Expression:
    """The formula with its bound indices named in the order in which they stand."""
    return renamed(formula, {}, {*LETTERS, *bound_names(formula)})


def _step(reader: Reader, writer: Writer, reading: Reading) -> Step:
    """A call and its normal form, with the names of indices that the formula has."""
    names = {fresh: name for name, fresh in reading.bound.items()}
    poly = reader.algebra.substitute(reading.poly, names)
    ranges = {name: reader.ranges[fresh] for fresh, name in names.items() if fresh in reader.ranges}
    rule = RULES.get(reading.node.function, "terms collected")
    return Step(reading.node, writer.write(poly, reading.bound), rule, ranges)


def definition(claim: Claim) -> str:
    """Why the left side is the formula that the model's derivation gives, in words."""
    form: Form = claim.form
    match form:
        case Probability(layer) | Mean(layer) | MeanField(layer):
            unit = claim.model.layers[layer].unit.name
            what = {Probability: "conditional", Mean: "conditional mean", MeanField: "mean-field update"}[type(form)]
            return f"the {what} of a {unit} unit; its field is what multiplies its state in -energy"
        case Joint(_, given):
            below = "the same summed over what is not given" if given else "Z"
            return f"exp(-energy) summed over the states of the other layers, over {below}"
        case Partition():
            return "exp(-energy) summed over all states"
        case Gradient(_, _, "sleep"):
            return "the derivative of log q, averaged over what the model generates"
        case Gradient(name):
            return f"the derivative of log p by {name}, averaged over the data"
        case Up():
            return "the pass up, means in the place of states"
        case Formula(Call(function)) | Formula(Name(function)):
            return DEFINITIONS[function]
        case _:
            return "the model's derivation"
