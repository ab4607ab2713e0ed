"""Single changes of one token in the functions of a generated file: a sign, an operator, an index, a constant, a term.

A change puts one node of the syntax tree in the place of another; `applied` makes it for as long as it takes. What is
left alone: docstrings, annotations, decorators, assertions, and the tables of names at the end of the file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

TICK = "_tick"  # called once in every pass of a loop, where changed functions are run
_SWAPPED: Mapping[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
    ast.Mod: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.LShift: (ast.RShift,),
    ast.RShift: (ast.LShift,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.BitXor: (ast.BitOr,),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
}
_APART = frozenset({"annotation", "returns", "decorator_list", "type_comment", "ctx"})
_NAMES = {"min": "max", "max": "min", "multiply": "multiply_transposed", "multiply_transposed": "multiply"}
_SIGNS: Mapping[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.And: "and",
    ast.Or: "or",
}


@dataclass(frozen=True)
class Change:
    """One node in the place of another: at `field` of `holder`, and there at `index` where it is a list.

    `lines` are those of the statement, the head alone of one that has a body.
    """

    function: str
    line: int
    lines: range
    before: str
    after: str
    holder: ast.AST
    field: str
    index: int | None
    node: ast.AST

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the tree is changed."""
        slot: Any = getattr(self.holder, self.field)
        if self.index is None:
            setattr(self.holder, self.field, self.node)
        else:
            old, slot[self.index] = slot[self.index], self.node
        try:
            yield
        finally:
            if self.index is None:
                setattr(self.holder, self.field, slot)
            else:
                slot[self.index] = old


def changes(statement: ast.stmt, function: str, names: Sequence[Sequence[str]]) -> list[Change]:
    """Every change of a function's body, or of an assignment at the top of the file.

    Args:
        statement: it.
        function: what it defines.
        names: groups of names that stand in strings: one is put in the place of another of its group.
    """
    out: list[Change] = []
    loops = [n.target.id for n in ast.walk(statement) if isinstance(n, ast.For) and isinstance(n.target, ast.Name)]
    bound = {n.arg for n in ast.walk(statement) if isinstance(n, ast.arg)}
    bound |= {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    for within, holder, field, index, node in _slots(statement):
        placed: Any = node if hasattr(node, "lineno") else holder  # operators have no place of their own
        for new, before, after in _replacements(node, names, list(dict.fromkeys(loops)), bound, field):
            copied = ast.copy_location(new, placed)
            out.append(Change(function, placed.lineno, _head(within), before, after, holder, field, index, copied))
    return out


def _head(statement: ast.stmt) -> range:
    """The lines of a statement, less those of its body."""
    body: list[ast.stmt] = getattr(statement, "body", [])
    last = body[0].lineno - 1 if body else statement.end_lineno or statement.lineno
    return range(statement.lineno, max(last, statement.lineno) + 1)


def _slots(root: ast.stmt) -> Iterator[tuple[ast.stmt, ast.AST, str, int | None, ast.AST]]:
    """Where the nodes below a statement stand that may be changed; the innermost statement of each comes first."""
    stack: list[tuple[ast.stmt, ast.AST]] = [(root, root)]
    while stack:
        within, holder = stack.pop()
        for field, value in ast.iter_fields(holder):
            if field in _APART or (field == "args" and isinstance(holder, ast.FunctionDef)):
                continue
            many = isinstance(value, list)
            for index, node in enumerate(value if many else [value]):
                if not isinstance(node, ast.AST) or _left_alone(node):
                    continue
                inner = node if isinstance(node, ast.stmt) else within
                yield inner, holder, field, index if many else None, node
                stack.append((inner, node))


def _left_alone(node: ast.AST) -> bool:
    match node:
        case ast.Assert() | ast.Expr(value=ast.Constant()) | ast.Expr(value=ast.Call(func=ast.Name(id="_tick"))):
            return True
    return False


def _replacements(
    node: ast.AST, names: Sequence[Sequence[str]], loops: Sequence[str], bound: set[str], field: str
) -> Iterator[tuple[ast.AST, str, str]]:
    """What may stand in the place of a node, with both as text."""
    for operator in _SWAPPED.get(type(node), ()):
        yield operator(), _SIGNS[type(node)], _SIGNS[operator]
    text = ast.unparse(node) if isinstance(node, ast.expr | ast.stmt) else ""
    if isinstance(node, ast.AugAssign) or _is_effect(node):
        yield ast.Pass(), text, "nothing"
    match node:
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
            yield left, text, ast.unparse(left)
            yield right, text, ast.unparse(right)
        case ast.UnaryOp(op=ast.USub() | ast.Not(), operand=operand):
            yield operand, text, ast.unparse(operand)
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value), text, str(not value)
        case ast.Constant(value=int() | float() as value):
            changed = 0 if value == 1 and isinstance(value, int) else value + 1
            yield ast.Constant(changed), text, repr(changed)
        case ast.Constant(value=str() as value):
            for group in names:
                if value in group and len(group) > 1:
                    other = group[(group.index(value) + 1) % len(group)]
                    yield ast.Constant(other), text, repr(other)
        case ast.Name(id=name, ctx=ast.Load()):
            yield from ((ast.Name(o, ast.Load()), name, o) for o in _others(name, loops, bound, field))
        case ast.Attribute(value=value, attr="T"):
            yield value, text, ast.unparse(value)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            swapped = ast.IfExp(test, orelse, body)
            yield swapped, text, ast.unparse(swapped)
        case ast.Tuple(elts=[ast.Name() as a, ast.Name() as b], ctx=ast.Load()) if field == "slice":
            yield ast.Tuple([b, a], ast.Load()), text, ast.unparse(ast.Tuple([b, a], ast.Load()))
        case ast.Call(func=function, args=[first, second, *rest], keywords=keywords) if _differ(
            function, first, second
        ):
            swapped_call = ast.Call(function, [second, first, *rest], keywords)
            yield swapped_call, text, ast.unparse(swapped_call)


def _is_effect(node: ast.AST) -> bool:
    """Whether a statement calls something, or sets an entry of an array: it can be left out."""
    match node:
        case ast.Expr(value=ast.Call()) | ast.Assign(targets=[ast.Subscript()]):
            return True
    return False


def _differ(function: ast.expr, first: ast.expr, second: ast.expr) -> bool:
    """Whether it matters which of two arguments comes first."""
    either = isinstance(function, ast.Name) and function.id in ("min", "max")
    starred = isinstance(first, ast.Starred) or isinstance(second, ast.Starred)
    return not either and not starred and ast.dump(first) != ast.dump(second)


def _others(name: str, loops: Sequence[str], bound: set[str], field: str) -> Iterator[str]:
    """Names that may be taken for this one: its opposite, its twin with another number, another loop's index."""
    if name in _NAMES:
        yield _NAMES[name]
    twin = name[:-1] + {"0": "1", "1": "0"}.get(name[-1], "")
    if twin != name and name[-1] in "01" and twin in bound:
        yield twin
    if field in ("slice", "elts") and name in loops:
        yield from [other for other in loops if other != name][:1]
