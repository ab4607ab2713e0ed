"""`pgmc sample`, `infer`, `reconstruct`, `plot`: what a trained model is for."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgmdsl.cli.common import DATA, JSON, LENGTH, MASK, SEED, echo_json, parse_lengths, parse_pairs, writing
from pgmdsl.grammar.diagnostics import Error

if TYPE_CHECKING:
    from pgmdsl.networks import Autoencoder
    from pgmdsl.run import Run

RUN = click.argument("run", type=click.Path(path_type=Path))
SWEEPS = click.option(
    "--sweeps", type=click.IntRange(1), default=50, show_default=True, help="Mean-field sweeps, where these are needed."
)
SHOWN = 20  # cases of a table
ENCODER = click.option(
    "--by", type=click.Choice(["network", "model"]), help="The run's autoencoder, or its model.  [default: as it has]"
)


def output_option(default: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """`-o`, a file of arrays with this name in the run's directory unless another is given."""
    text = f"A .npz file, one array a layer.  [default: RUN/{default}]"
    return click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help=text)


@click.command("sample")
@RUN
@click.option("-n", "--chains", default=100, show_default=True, help="Independent chains.")
@click.option("--draws", default=1, show_default=True, help="States kept of each chain.")
@click.option("--burn", default=1000, show_default=True, help="Gibbs sweeps before the first state is kept.")
@click.option("--thin", default=10, show_default=True, help="Gibbs sweeps between two that are kept.")
@click.option("--clamp", multiple=True, metavar="LAYER=VALUE", help="Hold a layer at this state, label or file.")
@LENGTH
@output_option("samples.npz")
@SEED
@JSON
def sample_command(
    run: Path,
    chains: int,
    draws: int,
    burn: int,
    thin: int,
    clamp: tuple[str, ...],
    lengths: tuple[str, ...],
    output: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Draw samples of every layer by block Gibbs, with layers clamped if wished.

    --clamp y=3 holds a softmax layer in state 3; --clamp v=cases.npy gives one case, or one for each chain, of which
    what is NaN is drawn.
    """
    from pgmdsl.cli.show import note_lengths
    from pgmdsl.opening import load_run

    loaded = load_run(run)
    held = {name: _clamped(loaded, name, text) for name, text in parse_pairs(clamp, "--clamp").items()}
    stated = parse_lengths(lengths)
    note_lengths(loaded, held, stated)
    samples = loaded.sample(
        chains, draws, burn=burn, thin=thin, clamp=held, lengths=stated, seed=seed, progress=not as_json
    )
    path = output or run / "samples.npz"
    save_arrays(path, samples)
    mixing = samples.mixing()
    sheets = loaded.draw_samples_sheet(samples, path.with_suffix(".png"))
    named = {"sheet" + sheet.stem.removeprefix(path.stem): sheet for sheet in sheets}
    _report({"samples": path} | named, samples, as_json, {"mixing": {n: asdict(m) for n, m in mixing.items()}})
    for name, found in mixing.items() if not as_json else ():
        if found.known:
            size = f"effective sample size {found.effective_sample_size:.0f} of {found.draws}"
            click.echo(f"mean of {name}: R-hat {found.r_hat:.3f}, {size}")
        if found.warning:
            click.echo(f"warning: mean of {name}: {found.warning}", err=True)


@click.command("infer")
@RUN
@DATA
@MASK
@LENGTH
@SWEEPS
@ENCODER
@output_option("inferred.npz")
@JSON
def infer_command(
    run: Path,
    data: tuple[str, ...],
    masks: tuple[str, ...],
    lengths: tuple[str, ...],
    sweeps: int,
    by: str | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Write the posterior means of all that data leaves out: exact where it is independent, else by mean field.

    Any layers may be given, hidden ones too, and values of them may be missing (NaN, or 0 in a --mask): at random, it
    is assumed. Where the run has an autoencoder its codes are written instead, with -o codes.npy as one plain array.
    Without --data the run's test cases are used.
    """
    from pgmdsl.cli.show import note_lengths
    from pgmdsl.opening import load_run

    loaded, given, stated = load_run(run), parse_pairs(data, "--data") or None, parse_lengths(lengths)
    network = _autoencoder(loaded, by)
    if network is not None:
        codes, path = network.encode(given), output or run / "codes.npz"
        save_codes(path, codes)
        _report({"codes": path, "how": "autoencoder"}, codes, as_json)
        return
    if given is not None:
        note_lengths(loaded, given, stated)
    means = loaded.infer(given, sweeps, masks=parse_pairs(masks, "--mask"), lengths=stated, progress=not as_json)
    path = output or run / "inferred.npz"
    save_arrays(path, means)
    how = f"{means.how}, {sweeps} sweeps" if means.how == "mean field" else means.how
    _report({"means": path, "how": how}, means, as_json)


@click.command("reconstruct")
@RUN
@DATA
@MASK
@LENGTH
@SWEEPS
@ENCODER
@click.option("--top", type=click.IntRange(1), metavar="N", help="Print the N most probable states of each case.")
@click.option("--names", multiple=True, metavar="LAYER=FILE", help="Their names, one a line: a vocabulary.")
@output_option("reconstructed.npz")
@SEED
@JSON
def reconstruct_command(
    run: Path,
    data: tuple[str, ...],
    masks: tuple[str, ...],
    lengths: tuple[str, ...],
    sweeps: int,
    by: str | None,
    top: int | None,
    names: tuple[str, ...],
    output: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Write the means of the observed layers after one pass through the others.

    Without other layers each unit is given the rest. Where the run has an autoencoder it is what that gives back, of
    documents the probabilities of words. --names words=vocab.txt prints the words that each document's
    reconstruction makes most probable. Without --data the run's test cases are used.
    """
    from pgmdsl.opening import load_run

    loaded, vocabulary = load_run(run), _names(names)
    given, hidden, stated = parse_pairs(data, "--data") or None, parse_pairs(masks, "--mask"), parse_lengths(lengths)
    network = _autoencoder(loaded, by)
    if network is not None:
        back, path = network.reconstruct(given), output or run / "reconstructed.npz"
        save_arrays(path, back)
        _report({"means": path, "how": "autoencoder"}, back, as_json)
        return
    found = loaded.reconstruct(given, sweeps, seed, masks=hidden, lengths=stated, progress=not as_json)
    path = output or run / "reconstructed.npz"
    save_arrays(path, found.means)
    errors = found.errors
    loaded.model._arrays.known_layers(vocabulary)
    ranked = list(vocabulary) or (found.ranked if top else ())
    tables = {n: found.top(n, vocabulary.get(n), top or 10) for n in ranked}
    if as_json:
        echo_json({"means": str(path), "mean_squared_error": errors} | ({"top": tables} if tables else {}))
        return
    for name, table in tables.items():
        for case, words in enumerate(table[:SHOWN]):
            click.echo(f"{name} {case:<6} " + ", ".join(f"{word} {share:.3f}" for word, share in words))
        if len(table) > SHOWN:
            click.echo(f"{name}: the first {SHOWN} of {len(table)} cases; --json prints all")
    for name, error in errors.items():
        click.echo(f"{name:<8} mean squared error {error:.5f} a unit, over {len(found.means[name])} cases")
    click.echo(f"means    {path}")


@click.command("plot")
@RUN
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="Folder.  [default: RUN]")
def plot_command(run: Path, output: Path | None) -> None:
    """Draw a run's filters, couplings, samples and training curves."""
    from pgmdsl.opening import load_run

    for name, path in load_run(run).draw_pictures(output, progress=True).items():
        click.echo(f"{name:<8} {path}")


def _clamped(run: Run, name: str, text: str) -> Any:
    """A clamped state: a label of a softmax layer, or a file of cases."""
    import numpy as np

    (name,) = run.model._arrays.known_layers([name])
    layer = run.model.artifact.layers[name]
    if not text.lstrip("-").isdigit():
        return text
    if layer.support != "one_hot":
        raise Error(
            f"--clamp {name}={text}: a number is the state of a softmax layer; give {name} a file, {name}=cases.npy"
        )
    if not 0 <= int(text) < layer.states:
        raise Error(f"--clamp {name}={text}: the states of {name} are 0 to {layer.states - 1}")
    return np.full((1, layer.size // layer.states), int(text))


def _autoencoder(run: Run, by: str | None) -> Autoencoder | None:
    """The run's autoencoder, unless the model is asked. Raises Error where it is asked for and there is none."""
    from pgmdsl.networks import Autoencoder

    network = None if by == "model" else run.networks.get("autoencode")
    if by == "network" and network is None:
        raise Error(f"{run.directory}: this run has no autoencoder; a phase finetune autoencode makes one")
    return network if isinstance(network, Autoencoder) else None


def _names(options: tuple[str, ...]) -> dict[str, list[str]]:
    """By layer, the lines of its file of names."""
    out = {}
    for name, file in parse_pairs(options, "--names").items():
        try:
            out[name] = Path(file).read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as problem:
            why = getattr(problem, "strerror", None) or "it is not text in UTF-8"
            raise Error(f"--names {name}={file}: {why}; give a text file with one name a line") from None
        while out[name] and not out[name][-1].strip():
            out[name].pop()
        out[name] = [line.strip() for line in out[name]]
    return out


def save_codes(path: Path, codes: Mapping[str, Any]) -> None:
    """Write codes as .npz, or those of one layer as .npy, whole or not at all."""
    from pgmdsl.runtime.tensors import write_atomic

    if path.suffix != ".npy":
        save_arrays(path, codes)
        return
    if len(codes) > 1:
        raise Error(
            f"-o {path}: there are codes of {', '.join(codes)}, and a .npy file holds one array: name a .npz file"
        )
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, next(iter(codes.values())), allow_pickle=False)
    writing(path, lambda: write_atomic(path, buffer.getvalue()))


def save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write a compressed .npz file, whole or not at all."""
    from pgmdsl.runtime.tensors import write_atomic

    content = packed(arrays)
    writing(path, lambda: write_atomic(path, content))


def packed(arrays: Mapping[str, Any]) -> bytes:
    """The content of a compressed .npz file."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dict(arrays))
    return buffer.getvalue()


def _report(
    paths: Mapping[str, Path | str], arrays: Mapping[str, Any], as_json: bool, more: Mapping[str, Any] | None = None
) -> None:
    if as_json:
        shapes = {name: list(x.shape) for name, x in arrays.items()}
        echo_json({name: str(path) for name, path in paths.items()} | {"shapes": shapes} | dict(more or {}))
        return
    for name, path in paths.items():
        click.echo(f"{name:<8} {path}")
    click.echo("arrays   " + ", ".join(f"{name} {x.shape}" for name, x in arrays.items()))
