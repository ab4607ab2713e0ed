"""`pgmc sample`, `infer`, `reconstruct`, `eval`, `plot`: what a trained model is for."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from pgmdsl.cli.common import DATA, JSON, SEED, echo_json, parse_pairs, writing
from pgmdsl.grammar.diagnostics import Error

if TYPE_CHECKING:
    from pgmdsl.run import Run

RUN = click.argument("run", type=click.Path(path_type=Path))
METHODS = ["auto", "exact", "ais", "reverse_ais"]
SWEEPS = click.option("--sweeps", default=50, show_default=True, help="Mean-field sweeps, where these are needed.")


def _output(default: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    text = f"A .npz file, one array a layer.  [default: RUN/{default}]"
    return click.option("-o", "--output", type=click.Path(path_type=Path), help=text)


@click.command("sample")
@RUN
@click.option("-n", "--chains", default=100, show_default=True, help="Independent chains.")
@click.option("--draws", default=1, show_default=True, help="States kept of each chain.")
@click.option("--burn", default=1000, show_default=True, help="Gibbs sweeps before the first state is kept.")
@click.option("--thin", default=10, show_default=True, help="Gibbs sweeps between two that are kept.")
@click.option("--clamp", multiple=True, metavar="LAYER=VALUE", help="Hold a layer at this state, label or file.")
@_output("samples.npz")
@SEED
@JSON
def sample_command(
    run: Path,
    chains: int,
    draws: int,
    burn: int,
    thin: int,
    clamp: tuple[str, ...],
    output: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Draw samples of every layer by block Gibbs, with layers clamped if wished.

    --clamp y=3 holds a softmax layer in state 3; --clamp v=cases.npy gives one case, or one for each chain.
    """
    from pgmdsl.run import load_run

    loaded = load_run(run)
    held = {name: _clamped(loaded, name, text) for name, text in parse_pairs(clamp, "--clamp").items()}
    samples = loaded.sample(chains, draws, burn=burn, thin=thin, clamp=held, seed=seed, progress=not as_json)
    path = output or run / "samples.npz"
    _save(path, samples)
    sheets = loaded.draw_samples_sheet(samples, path.with_suffix(".png"))
    named = {"sheet" + sheet.stem.removeprefix(path.stem): sheet for sheet in sheets}
    _report({"samples": path} | named, samples, as_json)


@click.command("infer")
@RUN
@DATA
@SWEEPS
@_output("inferred.npz")
@JSON
def infer_command(run: Path, data: tuple[str, ...], sweeps: int, output: Path | None, as_json: bool) -> None:
    """Write the posterior means of the hidden layers for data: exact where they factorise, else by mean field.

    Without --data the run's test cases are used.
    """
    from pgmdsl.run import load_run

    loaded = load_run(run)
    means = loaded.infer(loaded.cases(parse_pairs(data, "--data")), sweeps)
    path = output or run / "inferred.npz"
    _save(path, means)
    _report({"means": path}, means, as_json)


@click.command("reconstruct")
@RUN
@DATA
@SWEEPS
@_output("reconstructed.npz")
@SEED
@JSON
def reconstruct_command(
    run: Path, data: tuple[str, ...], sweeps: int, output: Path | None, seed: int, as_json: bool
) -> None:
    """Write the means of the visible layers after one pass through the hidden ones.

    Without --data the run's test cases are used.
    """
    import numpy as np

    from pgmdsl.run import load_run

    loaded = load_run(run)
    cases = loaded.cases(parse_pairs(data, "--data"))
    means = loaded.reconstruct(cases, sweeps, seed).means
    path = output or run / "reconstructed.npz"
    _save(path, means)
    errors = {name: float(np.mean((np.asarray(cases[name]).reshape(x.shape) - x) ** 2)) for name, x in means.items()}
    if as_json:
        echo_json({"means": str(path), "mean_squared_error": errors})
        return
    for name, error in errors.items():
        click.echo(f"{name:<8} mean squared error {error:.5f} a unit, over {len(means[name])} cases")
    click.echo(f"means    {path}")


@click.command("eval")
@RUN
@DATA
@click.option("--method", type=click.Choice(METHODS), default="auto", show_default=True, help="Of log Z.")
@click.option("--chains", type=click.IntRange(2), default=100, show_default=True, help="Of annealing.")
@click.option("--temperatures", type=click.IntRange(3), default=10_000, show_default=True, help="Of annealing.")
@SEED
@JSON
def eval_command(
    run: Path,
    data: tuple[str, ...],
    method: Literal["auto", "exact", "ais", "reverse_ais"],
    chains: int,
    temperatures: int,
    seed: int,
    as_json: bool,
) -> None:
    """Log-likelihood figures of a run on its test cases (or --data), each with its error bars.

    log Z is exact where enumeration is cheap, else by annealed importance sampling; the log-probability of a case
    is exact where the free energy closes, else the variational bound.
    """
    from pgmdsl.cli.show import print_figures
    from pgmdsl.run import load_run

    loaded = load_run(run)
    evaluation = loaded.evaluation(
        parse_pairs(data, "--data") or None,
        method=method,
        chains=chains,
        temperatures=temperatures,
        seed=seed,
        progress=not as_json,
    )
    if as_json:
        echo_json({"run": str(run)} | evaluation.as_json())
    else:
        print_figures(evaluation)


@click.command("plot")
@RUN
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="Folder.  [default: RUN]")
def plot_command(run: Path, output: Path | None) -> None:
    """Draw a run's filters, samples and training curves."""
    from pgmdsl.run import load_run

    for name, path in load_run(run).draw_pictures(output, progress=True).items():
        click.echo(f"{name:<8} {path}")


def _clamped(run: Run, name: str, text: str) -> Any:
    """A clamped state: a label of a softmax layer, or a file of cases."""
    import numpy as np

    from pgmdsl.runtime.readers import read_array

    (name,) = run.model._arrays.known_layers([name])
    layer = run.model.artifact.layers[name]
    if not text.lstrip("-").isdigit():
        return read_array(text, Path.cwd(), f"the clamped state of {name}")
    if layer.support != "one_hot":
        raise Error(
            f"--clamp {name}={text}: a number is the state of a softmax layer; give {name} a file, {name}=cases.npy"
        )
    if not 0 <= int(text) < layer.states:
        raise Error(f"--clamp {name}={text}: the states of {name} are 0 to {layer.states - 1}")
    return np.full((1, layer.size // layer.states), int(text))


def _save(path: Path, arrays: Mapping[str, Any]) -> None:

    import numpy as np

    from pgmdsl.runtime.tensors import write_atomic

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    writing(path, lambda: write_atomic(path, buffer.getvalue()))


def _report(paths: Mapping[str, Path], arrays: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        shapes = {name: list(x.shape) for name, x in arrays.items()}
        echo_json({name: str(path) for name, path in paths.items()} | {"shapes": shapes})
        return
    for name, path in paths.items():
        click.echo(f"{name:<8} {path}")
    click.echo("arrays   " + ", ".join(f"{name} {x.shape}" for name, x in arrays.items()))
