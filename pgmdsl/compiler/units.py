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
class Real:
    """The unit takes any real value."""


Support = Finite | OneHot | Real


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit type. Formulas are texts in the expression language; their names are

    `x` the state of one unit, `b` its bias, `sigma` its standard deviation, `f` its total field, `m` a mean of
    its statistic; `f[k]` and `m[k]` where the support is one-hot.
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
    field_of_mean: str
    options: tuple[str, ...] = ()

    @property
    def states_axis(self) -> bool:
        """Whether the layer's last axis counts the states of one site."""
        return isinstance(self.support, OneHot)


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
            options=("sigma",),
        ),
    )
}

# Unit types of the language that the compiler does not build yet: each is a diagnostic of its own.
PLANNED_UNITS = ("replicated_softmax", "binomial", "poisson", "relu")
