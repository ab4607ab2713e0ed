"""The syntax tree of a model file.

Every node is a frozen dataclass. Its `span`, the place in the source, is left out of equality, so that two
formulas are equal when they read the same. The expression nodes serve the whole compiler: derived formulas,
proofs, typesetting and numerical evaluation all use them, and every derived formula can be written in a model file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from pgmdsl.grammar.source import NOWHERE, Span


def _place() -> Span:
    return field(default=NOWHERE, compare=False, repr=False, kw_only=True)


# --- expressions ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Number:
    """A non-negative decimal number, exact as written: `0.5`, `1e-3`."""

    text: str
    span: Span = _place()

    @property
    def value(self) -> Fraction:
        """The exact value."""
        return Fraction(self.text)


@dataclass(frozen=True, slots=True)
class Name:
    """A bare name: a size, a scalar, an index, a layer, `energy`, `Z`, `pi`, `rest`, `epoch`, `none`."""

    name: str
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class Text:
    """A quoted string; `value` is the text between the quotes (the language has no escapes)."""

    value: str
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class Index:
    """`name[i, j]`: an entry of a parameter or of a layer's state."""

    name: str
    indices: tuple[Expression, ...]
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class Negate:
    """`-operand`."""

    operand: Expression
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class Binary:
    """`left op right`, op one of `+ - * / ^`."""

    op: str
    left: Expression
    right: Expression
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class Compare:
    """`left op right`, op one of `< <= > >= != ==`, or `=` inside `p(...)` and `q(...)`: an event such as `y = k`."""

    op: str
    left: Expression
    right: Expression
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class Conditional:
    """`value if condition else otherwise`."""

    value: Expression
    condition: Expression
    otherwise: Expression
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class Transpose:
    """`operand'`."""

    operand: Expression
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class Generator:
    """The tail of a call: `for i, j if i != j`; for softmax `for q at k`.

    `names` are the indices bound, `condition` the filter or None, `at` the chosen entry or None.
    """

    names: tuple[str, ...]
    condition: Expression | None = None
    at: Expression | None = None
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class Call:
    """`function(arguments | given generator)` and its variants.

    `sum(e for i, j)`: arguments (e,), generator. `sum(e over h)`: over ("h",). `p(h[j] = 1 | v, h2)`:
    arguments (Compare("=", ...),), given (Name v, Name h2). `expect(e under q)`: under "q".
    `counts p(words)` is Call("counts p", ...). Keyword arguments, as in `normal(0.01)` or `pcd(5, chains = 100)`, are
    Compare("=", Name("chains"), ...) among the arguments.
    """

    function: str
    arguments: tuple[Expression, ...]
    given: tuple[Expression, ...] | None = None
    generator: Generator | None = None
    over: tuple[str, ...] = ()
    under: str | None = None
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class Set:
    """`{a, b, ...}`: a finite support."""

    members: tuple[Expression, ...]
    span: Span = _place()


Expression = Number | Name | Text | Index | Negate | Binary | Compare | Conditional | Transpose | Call | Set


# --- statements -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Identifier:
    """A name at a place: what a declaration introduces or refers to."""

    name: str
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class Option:
    """`key = value`: in parentheses after a unit, bias or weight, or an entry of a block."""

    key: Identifier
    value: Expression
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class Version:
    """`ebm 1`."""

    number: Number
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class SizeDeclaration:
    """`D = 784` in the model line; `default` is None when the size comes from the data."""

    name: Identifier
    default: Expression | None
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class ModelDeclaration:
    """`model DBM(D = 784, F = 500)`."""

    name: Identifier
    sizes: tuple[SizeDeclaration, ...]
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class BiasClause:
    """`bias a(init = 0)`, or `bias none` with name None."""

    name: Identifier | None
    options: tuple[Option, ...] = ()
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class LayerDeclaration:
    """`visible v : gaussian[D](sigma = 1) bias b`."""

    role: Literal["visible", "hidden", "given"]
    name: Identifier
    unit: Identifier
    dims: tuple[Expression, ...]
    options: tuple[Option, ...] = ()
    bias: BiasClause | None = None
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class WeightClause:
    """`W1'(init = normal(0.01))` after the colon of an edge."""

    name: Identifier
    transposed: bool = False
    options: tuple[Option, ...] = ()
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class EdgeDeclaration:
    """`v -- h : W`; operator is `--`, `->`, `<-`, `~>` or `*` (three or more layers)."""

    operator: str
    layers: tuple[Identifier, ...]
    weight: WeightClause | None
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class CheckDeclaration:
    """`check "title" refuted in greedy h1 : left == right where J = 0`."""

    title: Text
    left: Expression
    right: Expression
    refuted: bool = False
    greedy: Identifier | None = None
    where: tuple[Option, ...] = ()
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class UnitParameter:
    """One name of `param gp > 0, tp`."""

    name: Identifier
    positive: bool
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class UnitDeclaration:
    """`unit trit { param ... support x in {-1, 0, 1} energy ... statistic ... }`.

    `support` is a Set, or Name("real" | "integers") with `lower` the bound in `real >= 0`.
    """

    name: Identifier
    parameters: tuple[UnitParameter, ...]
    variable: Identifier | None
    support: Expression | None
    lower: Expression | None
    energy: Expression | None
    statistic: Expression | None
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class DataBlock:
    """`data v { file = "x.npy" }`; the layer is `weights` for case weights."""

    layer: Identifier
    entries: tuple[Option, ...]
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class Phase:
    """`greedy h2 { ... }` or `finetune classify(y) { ... }` inside a train block."""

    kind: Identifier
    target: Expression | None
    entries: tuple[Option, ...]
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class TrainBlock:
    """`train { defaults; phases }`; `items` keeps the order as written."""

    items: tuple[Option | Phase, ...]
    span: Span = _place()


Statement = (
    Version
    | ModelDeclaration
    | LayerDeclaration
    | EdgeDeclaration
    | CheckDeclaration
    | UnitDeclaration
    | DataBlock
    | TrainBlock
)


@dataclass(frozen=True, slots=True)
class Comment:
    """`# text`, with `text` from the `#` to the end of the line; `own_line` when nothing stands before it."""

    text: str
    own_line: bool
    span: Span = _place()


@dataclass(frozen=True, slots=True)
class File:
    """A parsed model file: its statements in order, and every comment with its place."""

    statements: tuple[Statement, ...]
    comments: tuple[Comment, ...] = ()
    span: Span = _place()
