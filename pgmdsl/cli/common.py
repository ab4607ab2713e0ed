"""What the commands share: options, and the way results are printed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pgmdsl.grammar.diagnostics import Error

FILE = click.argument("file", type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
SEED = click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Random seed.")
SIZES = click.option("--set", "sizes", multiple=True, metavar="NAME=N", help="Give a size of the model line a value.")
DATA = click.option(
    "--data", "data", multiple=True, metavar="LAYER=PATH", help="Take a layer's data from this file (.npz:key too)."
)
THREADS = click.option(
    "--threads", type=click.IntRange(1), default=1, show_default=True, help="Results do not depend on it."
)
NO_TABLES = click.option("--no-tables", is_flag=True, help="Make products of states by BLAS, as of other numbers.")

MASK = click.option(
    "--mask", "masks", multiple=True, metavar="LAYER=PATH", help="0 where a value of the layer is missing; so is NaN."
)
LENGTH = click.option(
    "--length",
    "lengths",
    multiple=True,
    metavar="LAYER=N|PATH",
    help="Length of documents not (all) observed.",
)


def parse_pairs(values: tuple[str, ...], option: str) -> dict[str, str]:
    """`NAME=VALUE` texts as a dict. Raises Error naming the option for anything else."""
    pairs: dict[str, str] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise Error(f"{option} {text}: write {option} NAME=VALUE")
        pairs[name.strip()] = value.strip()
    return pairs


def parse_sizes(values: tuple[str, ...]) -> dict[str, int]:
    """`--set D=64` options as whole numbers."""
    sizes: dict[str, int] = {}
    for name, text in parse_pairs(values, "--set").items():
        try:
            sizes[name] = int(text)
        except ValueError:
            raise Error(f"--set {name}={text}: a size is a whole number, for example --set {name}=64") from None
    return sizes


def parse_lengths(values: tuple[str, ...]) -> dict[str, Any]:
    """`--length words=100` options: a whole number, or a file with one a case."""
    return {name: _length(name, text) for name, text in parse_pairs(values, "--length").items()}


def _length(name: str, text: str) -> Any:
    if text.isdecimal():
        return int(text)
    from pgmdsl.runtime.readers import read_array

    if not Path(text.partition(":")[0]).exists():
        raise Error(f"--length {name}={text}: give a whole number, or an existing file with one number a case")
    return read_array(text, Path.cwd(), f"lengths of the documents of {name}")


def echo_json(value: Any) -> None:
    """Print a value as indented JSON; numbers that are not finite, such as open limits, are null."""
    click.echo(json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(x) for x in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_output(path: Path | None, text: str) -> None:
    """Write to `-o PATH`, whole or not at all, or print where none is given."""
    if path is None:
        click.echo(text, nl=not text.endswith("\n"))
        return
    from pgmdsl.runtime.tensors import write_atomic

    write_atomic(path, (text if text.endswith("\n") else text + "\n").encode())


def writing(path: Path, action: Callable[[], object]) -> None:
    """Run an action that writes `path`; its OSError becomes an Error that names the file."""
    try:
        action()
    except OSError as problem:
        raise Error(f"cannot write {path}: {problem.strerror or problem}") from None
