"""Run directories: one for each training run, numbered, never overwritten."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.compiler.primitives_costs import Cost
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.read import read_source
from pgmdsl.grammar.source import Source
from pgmdsl.runtime.costs import costs_from
from pgmdsl.runtime.tensors import disk_error, write_all

FORMAT = 1  # of state.json and chains.safetensors
_MODEL_FILE = "model.ebm"


@dataclass(frozen=True)
class RunInfo:
    """What state.json says: which model on which data, and how far it has come.

    Attributes:
        model: the model's name.
        source_name: the model file's name.
        hash: of source, sizes and dtype.
        sizes: the sizes' values.
        dtype: `float32` or `float64`.
        seed: of all random numbers.
        versions: of pgmdsl and of what computes.
        base: the folder to which paths in the model file are relative.
        data: how data was given: by `data`, `valid`, `test` and `weights`, a path, a number, or `array` for what was
            handed over in memory, by layer where it was so.
        digest: SHA-256 of all data, by file or array.
        freeze: parameters frozen throughout.
        warm: whether the run started from given parameters.
        phase: the number of the phase (from 0).
        stage: the number of the stage of greedy pretraining.
        step: steps taken in it.
        epoch: whole epochs done in it.
        started: whether the stage has been set up; its arrays are then in the checkpoint.
        best_value: of the metric of `stop`.
        since_best: epochs since then.
        metrics_bytes: the length of metrics.jsonl at the checkpoint.
        finished: whether all phases are done.
        source_hash: SHA-256 of the model file's text; empty in runs made before it was kept.
        costs: of products, which decide what tables make; none in runs without tables.
    """

    model: str
    source_name: str
    hash: str
    sizes: Mapping[str, int]
    dtype: str
    seed: int
    versions: Mapping[str, str]
    base: str
    data: Mapping[str, Any]
    digest: Mapping[str, str]
    freeze: tuple[str, ...]
    warm: bool
    phase: int = 0
    stage: int = 0
    step: int = 0
    epoch: int = 0
    started: bool = False
    best_value: float | None = None
    since_best: int = 0
    metrics_bytes: int = 0
    finished: bool = False
    source_hash: str = ""
    costs: Mapping[str, tuple[Cost, Cost]] = field(default_factory=dict)

    def as_json(self) -> str:
        """The text of state.json."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=False) + "\n"


def parse_info(text: str, place: str) -> RunInfo:
    """The run described by a state.json. Raises `Error` where it is not one, or one of another version."""
    try:
        values = json.loads(text)
        version = values.pop("format")
        if version != FORMAT:
            raise Error(
                f"{place}: this run has format {version}, and this pgmdsl reads {FORMAT}; use the version that wrote it"
            )
        values["freeze"] = tuple(values["freeze"])
        return RunInfo(**{**values, "costs": costs_from(values.get("costs", {}))})
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise Error(
            f"{place}: this does not describe a run: it is damaged or cut short ({problem}); start from an intact one"
        ) from None


def read_info(directory: Path) -> RunInfo:
    """What a run directory says of itself. Raises `Error` where there is no run."""
    path = directory / "state.json"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        there = "there is no such directory" if not directory.exists() else "it has no readable state.json"
        raise Error(
            f"{directory}: this is no run directory: {there}; name one that pgmc train has made, such as runs/dbm"
        ) from None
    return parse_info(text, str(path))


def new_run_directory(artifact: Artifact, out: Path | None) -> Path:
    """Make the directory of a new run: `out`, or `runs/<model>`, numbered where that exists (`runs/dbm-2`).

    Raises:
        Error: `out` exists and is not empty, or cannot be made.
    """
    try:
        if out is not None:
            if out.exists() and (not out.is_dir() or any(out.iterdir())):
                raise Error(
                    f"{out}: this exists, and a run never overwrites anything; name a new directory, or remove this one"
                )
            out.mkdir(parents=True, exist_ok=True)
            return out
        parent = Path("runs")
        parent.mkdir(exist_ok=True)
        stem = Path(artifact.source_name).stem if artifact.source_name.endswith(".ebm") else artifact.name.lower()
        number = 1
        while True:
            path = parent / (stem if number == 1 else f"{stem}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                number += 1
            else:
                return path
    except OSError as problem:
        raise disk_error(out or Path("runs"), problem) from None


def hash_source(text: str) -> str:
    """By what a run knows the text of its model file again."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_model(directory: Path, info: RunInfo) -> Source:
    """The model file of a run. Raises `Error` where it is missing, damaged, or not the one that was trained."""
    path = directory / _MODEL_FILE
    try:
        text = read_source(path).text
    except Error:
        text = None
    if text is None or (info.source_hash and hash_source(text) != info.source_hash):
        what = "it is missing or damaged" if text is None else "its text is another"
        raise Error(
            f"{path} is not the file this run was trained from: {what}; put back {info.source_name} as it was when "
            "training began"
        )
    return Source(info.source_name, text)


def discard_run(directory: Path) -> None:
    """Remove what `new_run_directory` and `write_model` have made, of a run that could not begin."""
    for path in (directory / _MODEL_FILE, *directory.glob("kernels*.py")):
        path.unlink(missing_ok=True)
    with suppress(OSError):  # it stays where something else is in it
        directory.rmdir()


def write_model(directory: Path, artifact: Artifact) -> None:
    """Write the model's source and kernels into a new run. Raises `Error` where the disk does not take them."""
    kernels = {f"kernels{part}.py": text.encode() for part, text in artifact.kernel_files.items()}
    write_all(directory, {_MODEL_FILE: artifact.source.encode(), **kernels})
