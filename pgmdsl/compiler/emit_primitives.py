"""The text of the primitives that a generated file needs, taken from the modules that hold them."""

from __future__ import annotations

import ast
from importlib import resources
from itertools import pairwise
from typing import Literal


def embed_primitives(body: str, roots: tuple[str, ...], dtype: Literal["float32", "float64"]) -> tuple[str, str]:
    """Import lines and primitives, in order, that `body` and the public functions `roots` use directly or not."""
    modules = (
        "primitives_base",
        f"primitives_{dtype}",
        "primitives_special",
        "primitives",
        "primitives_sparse",
        "primitives_edges",
        "primitives_tables",
        "primitives_costs",
        "primitives_states",
    )
    texts = [module_text(name) for name in modules]
    statements = [(text, node) for text in texts for node in ast.parse(text).body]
    imports = [node for _, node in statements if isinstance(node, ast.Import | ast.ImportFrom)]
    named = [(name, (text, node)) for text, node in statements for name in _defines(node)]
    defined = dict(named)
    assert len(defined) == len(named), "two of the embedded modules define the same name"
    needed = _reachable(_uses(ast.parse(body)) | set(roots), {name: node for name, (_, node) in defined.items()})
    pieces = [_segment(*defined[name]) for name in defined if name in needed]
    return "\n".join(_imports(imports, needed)), _join(pieces)


def module_text(module: str) -> str:
    """The source of a module of the compiler."""
    return resources.files("pgmdsl.compiler").joinpath(f"{module}.py").read_text(encoding="utf-8")


def _defines(node: ast.stmt) -> list[str]:
    """The names that a top-level statement defines."""
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)) if name != "__all__":
            return [name]
        case _:
            return []


def _uses(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _reachable(roots: set[str], defined: dict[str, ast.stmt]) -> set[str]:
    """The names used by the roots, and by what those are defined by, and so on."""
    needed, todo = set(roots), list(roots)
    while todo:
        found = _uses(defined[name]) if (name := todo.pop()) in defined else set()
        todo += found - needed
        needed |= found
    return needed


def _segment(text: str, node: ast.stmt) -> str:
    """The source lines of a statement, with its decorators and the comments just above it."""
    lines = text.split("\n")
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
    start = min([node.lineno, *(d.lineno for d in decorators)]) - 1
    while lines[start - 1].startswith("#"):
        start -= 1
    return "\n".join(lines[start : node.end_lineno])


def _join(pieces: list[str]) -> str:
    """Functions and classes apart by two blank lines, assignments that follow each other by none."""
    out = pieces[0]
    for before, piece in pairwise(pieces):
        both_short = not any(word in text for word in ("def ", "class ") for text in (before, piece))
        out += ("\n" if both_short else "\n\n\n") + piece
    return out


def _imports(nodes: list[ast.Import | ast.ImportFrom], needed: set[str]) -> list[str]:
    """The import lines, one a module, with the names that are needed; imports within the package are left out."""
    found: dict[str, set[str]] = {}
    for node in nodes:
        names = {_imported(alias) for alias in node.names if (alias.asname or alias.name) in needed}
        match node:
            case ast.ImportFrom(module=str(module)) if names and not module.startswith("pgmdsl."):
                found.setdefault(f"from {module} import ", set()).update(names)
            case ast.Import():
                found |= {f"import {name}": set() for name in names}
    return sorted((start + ", ".join(sorted(names)) for start, names in found.items()), key=_import_order)


def _imported(alias: ast.alias) -> str:
    return alias.name if alias.asname is None else f"{alias.name} as {alias.asname}"


def _import_order(line: str) -> tuple[bool, str]:
    module = line.split()[1]
    return module.split(".")[0] not in ("collections", "math", "typing"), module
