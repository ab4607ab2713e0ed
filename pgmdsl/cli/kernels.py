"""`pgmc verify FILE --kernels`: the emitted kernels at small sizes against the declared energy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgmdsl.cli.common import echo_json
from pgmdsl.grammar.read import read_source

if TYPE_CHECKING:
    from pgmdsl.checking.comparison import Outcome
    from pgmdsl.checking.target import Target
    from pgmdsl.checking.trial import Mutant
    from pgmdsl.compiler.model import Model

DRAWS = 20_000  # from each sampler


@dataclass(frozen=True)
class _Fates:
    """What the broken kernels of one file came to: in JSON, and as a heading."""

    key: str
    text: str


_UNNOTICED = (
    _Fates("missed", "answer otherwise, and pass: other draws, of a distribution that {draws} draws do not tell apart"),
    _Fates("same", "answer the same: another way to write it, or a case that does not arise at these sizes"),
    _Fates("unreached", "are in statements that are not run at these sizes"),
)


def verify_kernels(file: Path, mutants: bool, as_json: bool) -> bool:
    """Compare the kernels of FILE, break them if asked, print what came of it; whether all comparisons agree."""
    from pgmdsl.checking.comparison import outcomes
    from pgmdsl.checking.target import targets
    from pgmdsl.compiler.driver import checked_model
    from pgmdsl.runtime.costs import ALWAYS
    from pgmdsl.runtime.kernels import load_kernels, one_blas_thread
    from pgmdsl.runtime.progress import progress_bar

    model, _ = checked_model(read_source(file), {})
    found: list[tuple[Target, list[Outcome]]] = []
    with one_blas_thread(), progress_bar("kernels compared", not as_json) as tick:
        small, every = targets(model, DRAWS)
        total = sum(len(target.comparisons) for target in every)
        for target in every:
            found.append((target, []))
            ways = [load_kernels(target.artifact, costs) for costs in ({}, ALWAYS)]
            for outcome in outcomes(target.comparisons, ways):
                found[-1][1].append(outcome)
                tick(sum(len(some) for _, some in found), total)
    passed = all(outcome.passed for _, some in found for outcome in some)
    if not as_json:
        click.echo(_report(file, small, found))
    broken = _broken(model, len(found), as_json) if mutants and passed else None
    if as_json:
        echo_json(_json(file, small, found, passed, broken))
    elif broken is not None:
        click.echo("\n".join(_broken_report(target, some) for (target, _), some in zip(found, broken, strict=True)))
    elif mutants:
        click.echo("kernels that do not agree as they are were not broken")
    return passed


def _report(file: Path, model: Model, found: Sequence[tuple[Target, list[Outcome]]]) -> str:
    """A line for each comparison, under what was compared, and the count."""
    lines = [
        f"{file} at small sizes: {_sizes(model)}",
        "emitted in float64 and compiled, products of states by BLAS and by tables, against the energy as declared:",
        "",
    ]
    for target, some in found:
        if target.label:
            lines += [f"{target.label}:"]
        for o in some:
            status = "agrees" if o.passed else "DIFFERS"
            measured = _error(o.value) if o.kind == "error" else f"p = {o.value:.2g}"
            lines.append(f"{status:<8} {measured:<10} {', '.join(o.functions)}: {o.against}")
    every = [o for _, some in found for o in some]
    errors, chances = ([o for o in every if o.kind == kind] for kind in ("error", "chance"))
    wrong = sum(not o.passed for o in every)
    largest, least = max(o.value for o in errors), min(o.value for o in chances)
    limit = chances[0].limit
    lines += [
        "",
        f"{file}: {len(every) - wrong} of {len(every)} comparisons agree",
        f"  {len(errors)} of values: errors {_error(largest, 'up to ')}, relative to 1 and to the value; "
        f"{_error(errors[0].limit)} is allowed",
        f"  {len(chances)} of {DRAWS} draws each, of a fixed seed: p-values from {least:.2g}; a right sampler is below "
        f"the limit, {limit:.0e}, with one seed in {1 / limit:,.0f} at most",
    ]
    return "\n".join(lines)


def _error(value: float, words: str = "") -> str:
    """An error to one figure; what rounding leaves differs from machine to machine, and is not told apart."""
    return "< 1e-12" if value < 1e-12 else f"{words}{value:.0e}"


def _sizes(model: Model) -> str:
    known = {name: value for name, value in model.sizes.items() if value is not None}
    layers = []
    for layer in model.layers.values():
        dims = ", ".join(str(dim.evaluate(known)) for dim in layer.dims)
        trials = "" if layer.trials is None else f"(trials = {layer.trials.evaluate(known)})"
        layers.append(f"{layer.name} {layer.unit.name}[{dims}]{trials}")
    return ", ".join(layers)


def _broken(model: Model, files: int, as_json: bool) -> list[list[Mutant]]:
    """Every generated file's broken kernels; after Ctrl-C those that were tried."""
    from pgmdsl.checking.trial import Trials
    from pgmdsl.runtime.kernels import one_blas_thread
    from pgmdsl.runtime.progress import progress_bar

    out: list[list[Mutant]] = [[] for _ in range(files)]
    try:
        for number, some in enumerate(out):
            with one_blas_thread(), progress_bar("kernels broken", not as_json) as tick:
                trials = Trials(model, number)
                for mutant in trials:
                    some.append(mutant)
                    tick(len(some), trials.count)
    except KeyboardInterrupt:
        click.echo("interrupted: what follows is of the changes tried so far", err=True)
    return out


def _broken_report(target: Target, mutants: Sequence[Mutant]) -> str:
    """How many changes were noticed, and the others by what is to be said of them, each with its line."""
    from pgmdsl.checking.trial import DRAWS as FEW_DRAWS

    fates = Counter(m.fate for m in mutants)
    of = f" of {target.label}" if target.label else ""
    heading = f"kernels{of}, products by BLAS alone, broken one token at a time"
    lines = ["", f"{heading}: {fates['noticed']} of {len(mutants)} changes noticed"]
    for fate in _UNNOTICED:
        some = [m for m in mutants if m.fate == fate.key]
        if some:
            lines.append(f"  {len(some)} {fate.text.format(draws=FEW_DRAWS)}:")
        for (function, line), group in groupby(some, key=lambda m: (m.function, m.line)):
            here = list(group)
            lines.append(f"    {function}, line {line}: {here[0].text}")
            lines += [f"      {m.before} -> {m.after}" for m in here]
    return "\n".join(lines)


def _json(
    file: Path,
    model: Model,
    found: Sequence[tuple[Target, list[Outcome]]],
    passed: bool,
    broken: Sequence[Sequence[Mutant]] | None,
) -> dict[str, Any]:
    out: dict[str, Any] = {
        "file": str(file),
        "layers": _sizes(model),
        "dtype": "float64",
        "draws": DRAWS,
        "passed": passed,
        "comparisons": [{"part": target.label, **asdict(o)} for target, some in found for o in some],
    }
    if broken is not None:
        out["mutants"] = [
            {
                "part": target.label,
                "changes": len(some),
                **Counter(m.fate for m in some),
                "unnoticed": [asdict(m) for m in some if m.fate != "noticed"],
            }
            for (target, _), some in zip(found, broken, strict=True)
        ]
    return out
