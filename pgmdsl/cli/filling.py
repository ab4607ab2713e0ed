"""`pgmc impute` and `export`: missing values filled in; parameters and networks written."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from pgmdsl.cli.common import DATA, JSON, LENGTH, MASK, SEED, echo_json, parse_lengths, parse_pairs, writing
from pgmdsl.cli.using import RUN, output_option, packed, save_arrays
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.tensors import write_atomic

if TYPE_CHECKING:
    from pgmdsl.networks import TrainedNetwork
    from pgmdsl.run import Run


@click.command("impute")
@RUN
@DATA
@MASK
@LENGTH
@click.option("--method", type=click.Choice(["gibbs", "mean_field"]), default="gibbs", show_default=True)
@click.option("--burn", default=100, show_default=True, help="Gibbs sweeps before any that count.")
@click.option("--sweeps", default=100, show_default=True, help="Sweeps that count, of Gibbs or of mean field.")
@click.option("--samples", default=1, show_default=True, help="Independent chains, and samples, of each case.")
@output_option("imputed.npz")
@SEED
@JSON
def impute_command(
    run: Path,
    data: tuple[str, ...],
    masks: tuple[str, ...],
    lengths: tuple[str, ...],
    method: Literal["gibbs", "mean_field"],
    burn: int,
    sweeps: int,
    samples: int,
    output: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Fill in missing values: NaN, 0 in a --mask, and visible layers that are left out as a whole.

    Writes, by layer, the data with posterior means in place of what is missing (v), with samples (v_samples), and where
    it was missing (v_missing). What is observed is not changed. Values are assumed to be missing at random: whether one
    is missing may depend on what is observed of its case, not on the value itself. Without --data the run's test cases
    are used.
    """
    from pgmdsl.cli.show import note_lengths
    from pgmdsl.opening import load_run
    from pgmdsl.pictures import draw_imputation

    loaded, given, stated = load_run(run), parse_pairs(data, "--data") or None, parse_lengths(lengths)
    if given is not None:
        note_lengths(loaded, given, stated)
    found = loaded.impute(
        given,
        masks=parse_pairs(masks, "--mask"),
        lengths=stated,
        method=method,
        burn=burn,
        sweeps=sweeps,
        samples=samples,
        seed=seed,
        progress=not as_json,
    )
    path = output or run / "imputed.npz"
    save_arrays(
        path,
        found.means
        | {f"{n}_samples": x for n, x in found.samples.items()}
        | {f"{n}_missing": x for n, x in found.missing.items()},
    )
    sheets = draw_imputation(loaded, found, path.with_suffix(".png"))
    if as_json:
        from dataclasses import asdict

        echo_json(
            {
                "imputed": str(path),
                "sheets": [str(sheet) for sheet in sheets],
                "method": found.method,
                "cases": found.cases,
                "nothing_observed": found.nothing,
                "filled": {n: asdict(x) for n, x in found.fillings.items()},
                "assumption": "missing at random",
            }
        )
        return
    for line in found.lines():
        click.echo(line)
    click.echo(f"imputed  {path}")
    for sheet in sheets:
        click.echo(f"sheet    {sheet}")


@click.command("export")
@RUN
@click.option("--gauge", type=click.Choice(["zero_sum"]), help="Mean 0 over the states of categorical layers.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Parameters: a .safetensors or .npz file."
)
@click.option("--onnx", type=click.Path(path_type=Path, dir_okay=False), help="The network: an .onnx file.")
@click.option(
    "--torch", type=click.Path(path_type=Path, dir_okay=False), help="The network's state_dict: a .safetensors file."
)
@click.option("--network", "kind", type=click.Choice(["classify", "autoencode"]), help="Which, where a run has both.")
@JSON
def export_command(
    run: Path,
    gauge: str | None,
    output: Path | None,
    onnx: Path | None,
    torch: Path | None,
    kind: str | None,
    as_json: bool,
) -> None:
    """Write the parameters of a RUN, arrays by name, or the network that `finetune` has trained.

    The gauge changes numbers, but no probability. The network takes data alone, one input a layer (cases, size): where
    it hears mean-field means it computes them. --torch writes what `run.network.to_torch().load_state_dict` takes.
    """
    from pgmdsl.opening import load_run

    if output is None and onnx is None and torch is None:
        raise Error("say what is to be written: -o parameters.safetensors, --onnx net.onnx or --torch net.safetensors")
    loaded, written = load_run(run), {}
    for what, path, suffix in (("onnx", onnx, ".onnx"), ("torch", torch, ".safetensors")):
        if path is not None:
            _verify_suffix(what, path, suffix)
            network = _network(loaded, kind)
            content = network.onnx() if what == "onnx" else network.weights()
            writing(path, partial(write_atomic, path, content))
            written[what] = str(path)
    answer: dict[str, Any] = dict(written)
    if output is not None:
        answer |= _write_parameters(loaded, gauge, output, as_json)
    if as_json:
        echo_json(answer)
        return
    for what, place in written.items():
        click.echo(f"{what:<10} {place}")


def _verify_suffix(option: str, path: Path, suffix: str) -> None:
    if path.suffix != suffix:
        raise Error(f"--{option} {path}: this is written as {suffix}: give the file that ending")


def _network(run: Run, kind: str | None) -> TrainedNetwork:
    """The network of a kind, or the one trained last. Raises Error where the run does not have it."""
    if kind is None:
        found: TrainedNetwork = run.network
        return found
    if kind not in run.networks:
        raise Error(f"{run.directory}: this run has no network of finetune {kind}; it has {', '.join(run.networks)}")
    return run.networks[kind]


def _write_parameters(run: Run, gauge: str | None, output: Path, as_json: bool) -> dict[str, Any]:
    from pgmdsl.runtime.parameters import parameter_metadata
    from pgmdsl.runtime.tensors import pack_tensors

    gauged = run.zero_sum() if gauge else None
    parameters = run.parameters if gauged is None else gauged
    if output.suffix == ".safetensors":
        content = pack_tensors(parameters, parameter_metadata(run.model.artifact))
    elif output.suffix == ".npz":
        content = packed(parameters)
    else:
        raise Error(f"-o {output}: parameters are written as .safetensors or .npz: give the file one of these endings")
    writing(output, lambda: write_atomic(output, content))
    left = list(gauged.left) if gauged else []
    if not as_json:
        for text in left:
            click.echo(f"warning: {text}", err=True)
        click.echo(f"parameters {output}: " + ", ".join(f"{name} {x.shape}" for name, x in parameters.items()))
    return {"parameters": str(output), "shapes": {n: list(x.shape) for n, x in parameters.items()}, "left": left}
