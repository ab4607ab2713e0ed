"""Broken kernels put to the comparisons: which are noticed, and what is to be said of the others.

The text of a generated file is run as plain Python. Each function is broken by one change at a time, and the
comparisons that reach the changed statement run until one fails. A change that no comparison notices is one of three:

- `unreached`: its statement is never run at these sizes;
- `same`: all answers are as they were, but for rounding;
- `missed`: an answer differs, and passes; mostly these are other random numbers of the same distribution.
"""

from __future__ import annotations

import ast
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType, ModuleType
from typing import Any, Literal

import numpy as np

from pgmdsl.checking.comparison import Answer, Comparison
from pgmdsl.checking.mutate import TICK, Change, changes
from pgmdsl.checking.target import Target, targets
from pgmdsl.compiler.model import Model
from pgmdsl.runtime.kernels import Kernels, kernels_of

Fate = Literal["noticed", "same", "unreached", "missed"]
DRAWS, QUICK_DRAWS = 2000, 300  # of each sampler, to notice, and to find what lines run
NO_LIMIT = 10**15
ROUNDING = 1e-12  # up to which an answer is the same
PATIENCE = 20  # times as many passes of loops as the right kernels take end a trial
_TABLES = frozenset({"HEADER", "LAYERS", "WEIGHTS", "BLOCKS", "FIELD", "SAMPLE", "RELAX", "CACHE"})


@dataclass(frozen=True)
class Mutant:
    """A broken function: the line of the generated file, the change, what became of it, and what noticed it."""

    function: str
    line: int
    text: str
    before: str
    after: str
    fate: Fate
    by: str


class _EndlessError(Exception):
    """Loops went on for far longer than they should."""


class _Bench:
    """A generated file as plain Python, whose functions can be exchanged; its loops are counted."""

    def __init__(self, target: Target) -> None:
        self.text = target.artifact.kernels
        self.tree = _counted(ast.parse(self.text))
        self.file = f"<kernels {target.label}>"
        self.module = ModuleType("broken_kernels")
        self.ticks, self.limit = 0, NO_LIMIT
        self.module.__dict__[TICK] = self._tick
        exec(compile(self.tree, self.file, "exec"), self.module.__dict__)

    def _tick(self) -> None:
        self.ticks += 1
        if self.ticks > self.limit:
            raise _EndlessError

    def kernels(self) -> Kernels:
        return kernels_of(self.module)

    def readers(self, name: str) -> set[int]:
        """The lines of all functions that read a number."""
        out: set[int] = set()
        for node in self.tree.body:
            if isinstance(node, ast.FunctionDef) and any(
                isinstance(n, ast.Name) and n.id == name for n in ast.walk(node)
            ):
                out |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        return out

    @contextmanager
    def with_statement(self, statement: ast.stmt) -> Iterator[Kernels]:
        """Within it the file has this definition in the place of the one of the same name."""
        names: dict[str, Any] = {}
        code = compile(ast.fix_missing_locations(ast.Module([statement], [])), self.file, "exec")
        everything = self.module.__dict__
        space = dict(everything)
        exec(code, space, names)
        ((name, new),) = names.items()
        old = everything[name]
        if callable(new):
            new = type(new)(new.__code__, everything, new.__name__, new.__defaults__, new.__closure__)
        tables = [everything, *(value for value in everything.values() if isinstance(value, dict))]
        places = [
            (table, key) for table in tables for key, value in table.items() if value is old and key != "__builtins__"
        ]
        if not callable(new):
            places = [(everything, name)]
        for table, key in places:
            table[key] = new
        try:
            yield self.kernels()
        finally:
            for table, key in places:
                table[key] = old


def _counted(tree: ast.Module) -> ast.Module:
    """The tree with a count of every pass of a loop, and without decorators: nothing is compiled."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
        if isinstance(node, ast.For | ast.While):
            call = ast.Expr(ast.Call(ast.Name(TICK, ast.Load()), [], []))
            node.body.insert(0, ast.fix_missing_locations(ast.copy_location(call, node.body[0])))
    return tree


@dataclass
class _Known:
    """A comparison, and how it goes with the right kernels: its answer, loops, seconds, and the lines it runs."""

    comparison: Comparison
    answer: Answer
    ticks: int
    seconds: float
    lines: set[int]


def _writes_instructions(statement: ast.stmt) -> bool:
    """Whether a function writes instructions for compiled code, or chooses them by type: plain Python runs neither."""
    return isinstance(statement, ast.FunctionDef) and (
        statement.name.startswith("typed_")
        or any(isinstance(inner, ast.FunctionDef) and inner.name == "generate" for inner in statement.body)
    )


class Trials:
    """The changes of a generated file, and the comparisons that are to notice them.

    Attributes:
        count: how many changes there are.
    """

    def __init__(self, model: Model, number: int) -> None:
        """Make everything of the generated file with this number (see `targets`) ready."""
        target, quick = (targets(model, draws, frozen=True, tables=False)[1][number] for draws in (DRAWS, QUICK_DRAWS))
        self._bench = _Bench(target)
        self._known = _known(self._bench, target, quick)
        groups = _names(self._bench.module)
        self._changes = [
            (statement, change)
            for statement in self._bench.tree.body
            if (name := _defined(statement)) is not None and not _writes_instructions(statement)
            for change in changes(statement, name, groups)
        ]
        self.count = len(self._changes)

    def __iter__(self) -> Iterator[Mutant]:
        """Every broken function, put to the comparisons."""
        lines = self._bench.text.splitlines()
        for statement, change in self._changes:
            fate, by = self._fate(statement, change)
            text = lines[change.line - 1].strip()
            yield Mutant(change.function, change.line, text, change.before, change.after, fate, by)

    def _fate(self, statement: ast.stmt, change: Change) -> tuple[Fate, str]:
        """What becomes of a change, and the function whose comparison notices it, or the exception."""
        readers = change.lines if isinstance(statement, ast.FunctionDef) else self._bench.readers(change.function)
        here = [k for k in self._known if not k.lines.isdisjoint(readers)]
        if not here:
            return "unreached", ""
        same = True
        with change.applied():
            try:
                with self._bench.with_statement(statement) as kernels:
                    for k in here:
                        answer, value = self._put(k.comparison, kernels, k.ticks)
                        if not k.comparison.passes(value):
                            return "noticed", k.comparison.functions[0]
                        same = same and _same(answer, k.answer)
            except Exception as problem:  # whatever a broken function raises
                return "noticed", type(problem).__name__
        return ("same" if same else "missed"), ""

    def _put(self, comparison: Comparison, kernels: Kernels, ticks: int) -> tuple[Answer, float]:
        """The answer of broken kernels and what is said of it, given up if their loops do not end."""
        self._bench.ticks, self._bench.limit = 0, PATIENCE * ticks + 10_000
        try:
            with np.errstate(all="ignore"):
                answer = comparison.call(kernels)
                return answer, comparison.judge(answer)
        finally:
            self._bench.limit = NO_LIMIT


def _defined(statement: ast.stmt) -> str | None:
    """The function or the number that a statement defines, if it may be broken."""
    match statement:
        case ast.FunctionDef(name=name):
            return name
        case ast.Assign(targets=[ast.Name(id=name)]) if name.isupper() and name not in _TABLES:
            return name
    return None


def _names(module: ModuleType) -> list[list[str]]:
    """Names in strings that may be taken for one another: layers, weights, and other parameters."""
    own = [name for layer in module.LAYERS.values() for name in (layer["bias"], *layer["parameters"].values()) if name]
    return [list(module.LAYERS), list(module.WEIGHTS), list(dict.fromkeys(own))]


def _known(bench: _Bench, target: Target, quick: Target) -> list[_Known]:
    """Every comparison with the right kernels, the quick ones first."""
    kernels, out = bench.kernels(), []
    for comparison, fast in zip(target.comparisons, quick.comparisons, strict=True):
        with _traced(bench.file) as lines, np.errstate(all="ignore"):
            fast.call(kernels)
        bench.ticks, start = 0, time.perf_counter()
        with np.errstate(all="ignore"):
            answer = comparison.call(kernels)
            value = comparison.judge(answer)
        assert comparison.passes(value), f"{comparison.functions} fails as it is"
        out.append(_Known(comparison, answer, bench.ticks, time.perf_counter() - start, lines))
    return sorted(out, key=lambda k: k.seconds)


@contextmanager
def _traced(file: str) -> Iterator[set[int]]:
    """The lines of a file that are run within it."""
    lines: set[int] = set()

    def local(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            lines.add(frame.f_lineno)
        return local

    def enter(frame: FrameType, event: str, _: Any) -> Any:
        return local if frame.f_code.co_filename == file else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield lines
    finally:
        sys.settrace(before)


def _same(answer: Answer, known: Answer) -> bool:
    """Whether answers are equal but for rounding."""
    return len(answer) == len(known) and all(
        np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=ROUNDING, atol=ROUNDING, equal_nan=True)
        for a, b in zip(answer, known, strict=True)
    )
