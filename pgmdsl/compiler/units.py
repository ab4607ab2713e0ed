"""The table of unit types: each row an exponential family, and the lemmas that follow from it.

One unit with state x, statistic s(x) and total field f (its bias's share plus what its neighbours send) has

    p(x) = exp(f s(x) - base(x) - A(f)),        E[s(x)] = A'(f).

A row gives the support, the energy of one unit and its statistic; `log_partition` (A), `mean` (A') and
`field_of_mean` (the inverse of A') are lemmas, written in the language of model files. The symbolic module derives
them again from support, energy and statistic alone, and a test compares. A softmax site has one entry per state
k in its statistic (the one-hot vector), its field, and its mean.

Source: Welling, Rosen-Zvi and Hinton (2005), "Exponential family harmoniums", eqs. 3-6.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Finite:
    """The unit takes one of these values, in increasing order."""

    values: tuple[Fraction, ...]


@dataclass(frozen=True, slots=True)
class OneHot:
    """The site is in one of K states, K being its layer's last axis; its state is a one-hot vector."""


@dataclass(frozen=True, slots=True)
class Whole:
    """The unit takes a whole number from 0 to its layer's `trials`."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The site is a document: how often each of K states occurs among `length` draws, K being its layer's last axis.

    Probabilities are of the ordered draws; the length varies from case to case.
    """


@dataclass(frozen=True, slots=True)
class Naturals:
    """The unit takes a whole number from 0 on."""


@dataclass(frozen=True, slots=True)
class Real:
    """The unit takes any real value, or any from `lower` on."""

    lower: Fraction | None = None


Support = Finite | OneHot | Whole | Counts | Naturals | Real


@dataclass(frozen=True, slots=True)
class Piece:
    """On lower <= s <= upper (None: no bound) a real unit's base is curvature s^2/2 + slope s + constant.

    The three are formulas in the unit's parameters; s is the statistic, which is x where a unit has pieces.
    """

    lower: Fraction | None
    upper: Fraction | None
    curvature: str
    slope: str
    constant: str


@dataclass(frozen=True, slots=True)
class OwnParameter:
    """A parameter that each unit has besides its bias: its name in the formulas, and whether it is kept above 0.

    `learned` says whether a layer learns it unless its options fix it; `deviation` whether it is the standard deviation
    of the state, so that data measure it.
    """

    name: str
    positive: bool
    learned: bool = True
    deviation: bool = False


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit type. Formulas are texts in the expression language; their names are

    `x` the state of one unit, `b` its bias, the names of its own `parameters` (a Gaussian unit's `sigma`), `f` its
    total field, `m` a mean of its statistic; `f[k]` and `m[k]` where the last axis counts states. `trials` is the
    layer's number of trials, `length` the number of draws of a document. `field_of_mean` is None where the inverse
    of the mean has no closed form: kernels then solve for it.
    """

    name: str
    support: Support
    energy: str
    statistic: str
    base: str  # the part of the energy without the bias, as a function of x: p(x) ~ exp(f s(x) - base(x))
    own_field: str  # the bias's share of the field
    constant: str  # what is left of the energy: energy = base - own_field * statistic + constant
    log_partition: str
    mean: str  # of the statistic
    field_of_mean: str | None
    parameters: tuple[OwnParameter, ...] = ()
    pieces: tuple[Piece, ...] = ()

    @property
    def states_axis(self) -> bool:
        """Whether the layer's last axis counts the states of one site."""
        return isinstance(self.support, OneHot | Counts)

    @property
    def options(self) -> tuple[str, ...]:
        """What a layer of this type may state in parentheses."""
        trials = ("trials",) if isinstance(self.support, Whole) else ()
        return (*(parameter.name for parameter in self.parameters), *trials)


_0, _1 = Fraction(0), Fraction(1)

UNITS: dict[str, Unit] = {
    unit.name: unit
    for unit in (
        Unit(
            name="binary",
            support=Finite((_0, _1)),
            energy="-b*x",
            statistic="x",
            base="0",
            own_field="b",
            constant="0",
            log_partition="softplus(f)",
            mean="sigmoid(f)",
            field_of_mean="log(m) - log(1 - m)",
        ),
        Unit(
            name="spin",
            support=Finite((-_1, _1)),
            energy="-b*x",
            statistic="x",
            base="0",
            own_field="b",
            constant="0",
            log_partition="softplus(2*f) - f",
            mean="tanh(f)",
            field_of_mean="(log(1 + m) - log(1 - m))/2",
        ),
        Unit(
            name="softmax",
            support=OneHot(),
            energy="-b*x",
            statistic="x",
            base="0",
            own_field="b",
            constant="0",
            log_partition="log(sum(exp(f[k]) for k))",
            mean="softmax(f[q] for q at k)",
            field_of_mean="log(m[k])",
        ),
        Unit(
            name="gaussian",
            support=Real(),
            energy="(x - b)^2/(2*sigma^2)",
            statistic="x/sigma",
            base="x^2/(2*sigma^2)",
            own_field="b/sigma",
            constant="b^2/(2*sigma^2)",
            log_partition="f^2/2 + log(sigma) + log(2*pi)/2",
            mean="f",
            field_of_mean="m",
            parameters=(OwnParameter("sigma", positive=True, learned=False, deviation=True),),
        ),
        Unit(
            name="replicated_softmax",
            support=Counts(),
            energy="-b*x",
            statistic="x",
            base="0",
            own_field="b",
            constant="0",
            log_partition="length*log(sum(exp(f[k]) for k))",
            mean="length*softmax(f[q] for q at k)",
            field_of_mean="log(m[k])",
        ),
        Unit(
            name="binomial",
            support=Whole(),
            energy="-b*x + log(factorial(x)) + log(factorial(trials - x)) - log(factorial(trials))",
            statistic="x",
            base="log(factorial(x)) + log(factorial(trials - x)) - log(factorial(trials))",
            own_field="b",
            constant="0",
            log_partition="trials*softplus(f)",
            mean="trials*sigmoid(f)",
            field_of_mean="log(m) - log(trials - m)",
        ),
        Unit(
            name="poisson",
            support=Naturals(),
            energy="-b*x + log(factorial(x))",
            statistic="x",
            base="log(factorial(x))",
            own_field="b",
            constant="0",
            log_partition="exp(f)",
            mean="exp(f)",
            field_of_mean="log(m)",
        ),
        Unit(  # the rectified Gaussian of Tubiana and Monasson (2017)
            name="relu",
            support=Real(Fraction(0)),
            energy="x^2/2 - b*x",
            statistic="x",
            base="x^2/2",
            own_field="b",
            constant="0",
            log_partition="f^2/2 + log_normal_cdf(f) + log(2*pi)/2",
            mean="f + exp(-f^2/2 - log_normal_cdf(f))/sqrt(2*pi)",
            field_of_mean=None,
            pieces=(Piece(Fraction(0), None, curvature="1", slope="0", constant="0"),),
        ),
    )
}
