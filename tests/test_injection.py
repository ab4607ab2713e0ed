"""Text from a model file is never evaluated, and reaches generated source only as identifiers and numbers."""

from __future__ import annotations

import ast
import builtins
from pathlib import Path

import pytest

from pgmdsl.compiler.driver import check_source, compile_source
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.source import Source

EVIL = "__import__('os').system('touch pwned')"
FRAME = """model {model}(D = {size}, F = 2)
visible {v} : binary[D] bias {b}
hidden h : binary[F]
{v} -- h : {w}{tail}
"""
GOOD = {"model": "M", "size": "3", "v": "v", "b": "b", "w": "W", "tail": ""}

ATTEMPTS = [
    {"model": f'M"""\n{EVIL}\n"""'},
    {"model": "M\\n" + EVIL},
    {"v": "v;" + EVIL},
    {"v": "v\u2028import os"},
    {"b": "b=" + EVIL},
    {"w": f'W # """\n{EVIL}'},
    {"w": "W(init = " + EVIL + ")"},
    {"size": EVIL},
    {"size": "3 if " + EVIL + " else 4"},
    {"size": "3.__class__"},
    {"tail": f'\ncheck "x": energy == {EVIL}'},
    {"tail": f'\ncheck "\\"\\"\\"{EVIL}": energy == 0'},
    {"tail": f'\ndata v {{ file = "{EVIL}" }}'},
    {"tail": f"\n# \"\"\"\n# {EVIL}\n# '''"},
    {"tail": f"\ntrain {{ fit {{ epochs = 1, rate = {EVIL} }} }}"},
    {"v": "exec"},
    {"v": "lambda"},
    {"b": "__builtins__"},
]


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=range(len(ATTEMPTS)))
def test_injection(attempt: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("eval", "exec"):
        real = getattr(builtins, name)

        def watched(code: object, *rest: object, real: object = real) -> object:
            assert "system" not in str(code), "text of the model file was evaluated"
            return real(code, *rest)  # type: ignore[operator]

        monkeypatch.setattr(builtins, name, watched)
    source = Source("evil.ebm", FRAME.format(**{**GOOD, **attempt}))
    try:
        kernels = compile_source(source, {}).artifact.kernels
    except Error:
        assert check_source(source, {})[1].errors
    else:
        tree = ast.parse(kernels)
        names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        names |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        assert not names & {"__import__", "system", "os"}
    assert not (tmp_path / "pwned").exists()


def test_the_frame_itself_compiles() -> None:
    assert "def field_h" in compile_source(Source("good.ebm", FRAME.format(**GOOD)), {}).artifact.kernels
