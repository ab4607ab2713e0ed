"""What a normal form is made of: polynomials over monomials of atoms, with summed indices.

    polynomial = sum of coefficient * monomial,    monomial = sum over its bound indices of a product of atom^power

Every value here is canonical, and equality is equality of keys: values with one key are the same formula up to the
names of bound indices. Indices are names: a file's own (`i`), `$3` for a bound index of a monomial that is opened
for work, `#2.0` for one of a closed monomial, where 2 is the number of nested sums at and below it. A binder's
number is greater than that of every binder inside it, so renaming a bound index never captures another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from pgmdsl.compiler.model import Size

NONE: frozenset[str] = frozenset()


class NoProofError(Exception):
    """No proof was found: a formula outside the normal form, or too much work. It does not mean false."""


@dataclass(frozen=True, slots=True)
class Ref:
    """An entry `name[indices]` of a parameter or of a layer's state, a size, `pi`, or a prime number under a root.

    Where it is `symmetric` the halves of its indices may be exchanged, and stand in order.
    """

    name: str = field(compare=False)
    indices: tuple[str, ...] = field(compare=False)
    symmetric: bool = field(default=False, compare=False)
    key: str = field(init=False)
    free: frozenset[str] = field(init=False, compare=False, repr=False)
    height: int = field(init=False, compare=False, repr=False, default=0)

    def __post_init__(self) -> None:
        """Order the halves and make the key."""
        if self.symmetric and self.halves[0] > self.halves[1]:
            object.__setattr__(self, "indices", sum(reversed(self.halves), ()))
        _set(self, f"{self.name}[{','.join(self.indices)}]", frozenset(self.indices))

    @property
    def halves(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The indices of a symmetric weight's two units."""
        middle = len(self.indices) // 2
        return self.indices[:middle], self.indices[middle:]


@dataclass(frozen=True, slots=True)
class Delta:
    """1 where the two indices are equal, else 0; `left < right`."""

    left: str = field(compare=False)
    right: str = field(compare=False)
    key: str = field(init=False)
    free: frozenset[str] = field(init=False, compare=False, repr=False)
    height: int = field(init=False, compare=False, repr=False, default=0)

    def __post_init__(self) -> None:
        """Order the indices and make the key."""
        left, right = sorted((self.left, self.right))
        object.__setattr__(self, "left", left)
        object.__setattr__(self, "right", right)
        _set(self, f"delta({left},{right})", frozenset((left, right)))


@dataclass(frozen=True, slots=True)
class Exp:
    """exp of one monomial."""

    exponent: Monomial = field(compare=False)
    key: str = field(init=False)
    free: frozenset[str] = field(init=False, compare=False, repr=False)
    height: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Make the key."""
        _set(self, f"exp({self.exponent.key})", self.exponent.free)
        object.__setattr__(self, "height", self.exponent.height)


@dataclass(frozen=True, slots=True)
class Function:
    """A function of a polynomial kept as it is: `inverse`, `log`, `abs`, ..., and the averages `data`, `model`."""

    name: str = field(compare=False)
    argument: Frozen = field(compare=False)
    key: str = field(init=False)
    free: frozenset[str] = field(init=False, compare=False, repr=False)
    height: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Make the key."""
        _set(self, f"{self.name}({poly_key(self.argument)})", NONE.union(*(m.free for m, _ in self.argument)))
        object.__setattr__(self, "height", max((m.height for m, _ in self.argument), default=0))


Atom = Ref | Delta | Exp | Function


@dataclass(frozen=True, slots=True)
class Monomial:
    """The sum over `bound` indices (each with its range) of the product of the factors (each with its power).

    Made by `normal_labels.closed` only, which names the bound indices canonically and sorts the factors.
    """

    bound: tuple[tuple[str, Size], ...] = field(compare=False)
    factors: tuple[tuple[Atom, Fraction], ...] = field(compare=False)
    key: str = field(init=False)
    free: frozenset[str] = field(init=False, compare=False, repr=False)
    height: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Make the key."""
        binders = ",".join(f"{name}:{size}" for name, size in self.bound)
        names = NONE.union(*(atom.free for atom, _ in self.factors)) - {name for name, _ in self.bound}
        _set(self, "{" + binders + "}" + product_key(self.factors), names)
        object.__setattr__(self, "height", height_of(self.factors) + bool(self.bound))


Poly = Mapping[Monomial, Fraction]
Frozen = tuple[tuple[Monomial, Fraction], ...]


def _set(node: Ref | Delta | Exp | Function | Monomial, key: str, free: frozenset[str]) -> None:
    object.__setattr__(node, "key", key)
    object.__setattr__(node, "free", free)


def height_of(factors: Iterable[tuple[Atom, Fraction]]) -> int:
    """The number of nested sums inside these factors."""
    return max((atom.height for atom, _ in factors), default=0)


def product_key(factors: Iterable[tuple[Atom, Fraction]]) -> str:
    """The key of a sorted product."""
    return "*".join(f"{atom.key}^{power}" for atom, power in factors)


def poly_key(terms: Frozen) -> str:
    """The key of a frozen polynomial."""
    return " + ".join(f"{coefficient}*{monomial.key}" for monomial, coefficient in terms)


def freeze(poly: Poly) -> Frozen:
    """The polynomial as a sorted tuple."""
    return tuple(sorted(poly.items(), key=lambda term: term[0].key))
