"""What a statement must keep to beyond the grammar: reserved words, depth, and forms that only look right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from pgmdsl.grammar.diagnostics import Diagnostic, Diagnostics, suggest
from pgmdsl.grammar.source import Span
from pgmdsl.grammar.split import MAX_NESTING, Piece
from pgmdsl.grammar.syntax import (
    Call,
    CheckDeclaration,
    Compare,
    DataBlock,
    EdgeDeclaration,
    Expression,
    Identifier,
    LayerDeclaration,
    ModelDeclaration,
    Statement,
    TrainBlock,
    UnitDeclaration,
    Version,
)
from pgmdsl.grammar.tokens import EDGE_OPERATORS, Token
from pgmdsl.grammar.walk import expressions, walk
from pgmdsl.grammar.words import RESERVED, RESERVED_INDICES, UNIT_ENTRIES

_EVENT_CALLS = frozenset({"p", "q", "counts p"})
_EDGE_SIGNS = frozenset({"-", "<", ">", "=", "==", "~", "*", *EDGE_OPERATORS})


def check_statement(statement: Statement, diagnostics: Diagnostics) -> Statement | None:
    """The statement, after reporting reserved names in it.

    None after reporting what later stages cannot work with: `==` for an event, or nesting that is too deep.
    """
    for name in _declared(statement):
        if name.name in RESERVED:
            help = f"choose another name, for example {name.name}_1"
            diagnostics.add("E016", name.span, f"{name.name} is a reserved word of the language", help)
    if isinstance(statement, LayerDeclaration) and (bias := statement.bias) and bias.name is None and bias.options:
        diagnostics.add("E010", bias.span, "a layer without bias has no options of its bias", "remove the parentheses")
    before = len(diagnostics.found)
    for expression in expressions(statement):
        check_expression(expression, diagnostics)
    return statement if len(diagnostics.found) == before else None


def _declared(statement: Statement) -> Iterator[Identifier]:
    """The names that a statement introduces."""
    match statement:
        case ModelDeclaration(name, sizes):
            yield name
            yield from (s.name for s in sizes)
        case LayerDeclaration(name=name, bias=bias):
            yield name
            if bias is not None and bias.name is not None:
                yield bias.name
        case EdgeDeclaration(weight=weight):
            if weight is not None:
                yield weight.name
        case UnitDeclaration(name=name, parameters=parameters, variable=variable):
            yield name
            yield from (p.name for p in parameters)
            if variable is not None:
                yield variable
        case Version() | CheckDeclaration() | DataBlock() | TrainBlock():
            return


def check_expression(expression: Expression, diagnostics: Diagnostics) -> None:
    """Report what an expression must not hold."""
    for node, depth in walk(expression):
        if depth > MAX_NESTING:
            message = f"this expression is nested more than {MAX_NESTING} deep"
            help = "a chain of operators nests too: group it with parentheses, or use sum(... for i)"
            diagnostics.add("E008", expression.span, message, help)
            return
        if isinstance(node, Call):
            _check_call(node, diagnostics)


def _check_call(call: Call, diagnostics: Diagnostics) -> None:
    """Report `==` for an event, reserved indices, and `counts` before anything but p."""
    if call.function in _EVENT_CALLS:
        for item in (*call.arguments, *(call.given or ())):
            if isinstance(item, Compare) and item.op == "==":
                place = Span(item.left.span.end, item.right.span.start)
                message = f"inside {call.function}(...) a state is named with a single ="
                diagnostics.add("E021", place, message, "write = here; == stands between the two sides of a check")
    if call.function.startswith("counts ") and call.function != "counts p":
        diagnostics.add("E010", call.span, "counts stands before p(...) only", "write counts p(words)")
    if call.generator is not None:
        for name in call.generator.names:
            if name in RESERVED_INDICES:
                help = "choose another name for the index, for example i"
                diagnostics.add("E016", call.generator.span, f"{name} is a reserved word of the language", help)


def edge_problem(tokens: Sequence[Token]) -> Diagnostic | None:
    """What is wrong with the operators of an edge, which stand between the names before its colon."""
    operators: list[list[Token]] = []
    for token in tokens[1:]:
        if token.kind in _EDGE_SIGNS:
            if operators and operators[-1][-1].span.end == token.span.start:
                operators[-1].append(token)
            else:
                operators.append([token])
        elif token.kind != "name":
            break
    texts = ["".join(t.text for t in run) for run in operators]
    for run, text in zip(operators, texts, strict=True):
        if text not in EDGE_OPERATORS | {"*"}:
            help = "edges are -- (undirected), -> or <- (directed), ~> (recognition) and * (multiplicative)"
            return Diagnostic("E022", f"`{text}` joins no layers", run[0].span.to(run[-1].span), help)
    if len(set(texts)) > 1 or (len(texts) > 1 and texts[0] != "*"):
        place = operators[1][0].span
        return Diagnostic("E022", "an edge joins two layers", place, "write each edge on a line of its own")
    if texts == ["*"]:
        help = "join two layers with --; three or more with *"
        return Diagnostic("E022", "a multiplicative edge joins three or more layers", operators[0][0].span, help)
    return None


def reserved_layer(head: Token) -> Diagnostic:
    """An edge from a layer that has the name of a statement."""
    help = f"choose another name for the layer, for example {head.text}_1"
    return Diagnostic("E016", f"{head.text} is a reserved word of the language", head.span, help)


def unknown_block(piece: Piece) -> Diagnostic:
    """A block where none can stand."""
    assert piece.opening is not None
    help = "blocks are unit NAME { }, data LAYER { } and train { }; within train, phases such as fit { }"
    near = suggest(piece.tokens[0].text, ["unit", "data", "train"])
    return Diagnostic("E023", "no block can stand here", piece.opening.span, near or help)


def missing_block(piece: Piece) -> Diagnostic:
    """A header without its block."""
    header = " ".join(t.text for t in piece.tokens)
    end = piece.tokens[-1].span.end
    message = f"{piece.tokens[0].text} needs a block in braces"
    return Diagnostic("E023", message, Span(end, end + 1), f"write {header} {{ ... }}")


def unknown_unit_entry(piece: Piece) -> Diagnostic:
    """An entry that a unit block does not have."""
    head = piece.tokens[0]
    near = suggest(head.text, list(UNIT_ENTRIES))
    help = near or "a unit's entries are param, support, energy and statistic"
    return Diagnostic("E024", f"a unit has no entry {head.text}", head.span, help)


def repeated_unit_entry(head: Token, name: Identifier | None) -> Diagnostic:
    """An entry that stands twice in a unit block."""
    of = f" of unit {name.name}" if name else ""
    return Diagnostic("E024", f"the {head.text}{of} is given twice", head.span, "remove one of them")


def bound_problem(tokens: Sequence[Token]) -> Diagnostic | None:
    """A bound of `param` other than `> 0`."""
    for before, token in pairwise(tokens):
        if before.kind == ">" and token.kind == "number" and float(token.text) != 0:
            message = "a unit's parameter is real, or positive"
            return Diagnostic("E024", message, token.span, "write > 0, or no bound")
    return None
