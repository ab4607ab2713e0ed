"""`pgmc classify`: the classes of cases, and how many are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgmdsl.cli.common import DATA, JSON, echo_json, parse_pairs
from pgmdsl.cli.using import RUN, SWEEPS, output_option, save_arrays
from pgmdsl.grammar.diagnostics import Error

if TYPE_CHECKING:
    from pgmdsl.networks import Autoencoder, Classification, Classifier
    from pgmdsl.run import Run

BY = ("network", "posterior", "passes", "neutral")


@click.command("classify")
@RUN
@DATA
@click.option("--labels", metavar="[LAYER=]PATH", help="The classes of --data, to compare with.")
@click.option("--layer", metavar="NAME", help="The layer of labels, where the model has several.")
@click.option("--by", type=click.Choice(BY), help="The network, or how the model itself is asked.")
@SWEEPS
@output_option("classified.npz")
@JSON
def classify_command(
    run: Path,
    data: tuple[str, ...],
    labels: str | None,
    layer: str | None,
    by: str | None,
    sweeps: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Predict the classes of cases; where labels are known, count how many are wrong.

    The network of `finetune classify` answers where the run has one, else the model itself: p(label | data), exact
    where all that is latent sums out, else by mean field; in a belief net given a deterministic pass up, or averaged
    over 20 stochastic ones (--by passes). --by neutral lets labels settle from a neutral start by mean field. Without
    --data the run's test cases are used. Writes `classes`, `probabilities`, and `labels` where these are known (-1
    where one is missing).
    """
    from pgmdsl.opening import load_run

    loaded, given = load_run(run), parse_pairs(data, "--data") or None
    place = None
    if labels is not None:
        name, equals, path = labels.partition("=")
        layer, place = (layer or name, path) if equals else (layer, labels)
        if given is None:
            raise Error("--labels are of the cases of --data; the run's own test cases have theirs: leave one out")
    found = loaded.classify(given, place, by=by, layer=layer, sweeps=sweeps)
    file = output or run / "classified.npz"
    known = {} if found.labels is None else {"labels": found.labels}
    save_arrays(file, {"classes": found.classes, "probabilities": found.answer.probabilities} | known)
    if as_json:
        echo_json({"classified": str(file)} | classification_json(found))
        return
    for line in classification_lines(found):
        click.echo(line)
    click.echo(f"classes  {file}")


def classification_json(found: Classification) -> dict[str, Any]:
    """A classification's figures as JSON values."""
    answer: dict[str, Any] = {"layer": found.layer, "method": found.answer.how, "cases": len(found.classes)}
    if found.error is not None:
        e = found.error
        answer |= {"labelled": e.cases, "wrong": e.wrong, "error": e.rate, "interval": [e.lower, e.upper]}
        answer["confusion"] = e.confusion.tolist()
    return answer


def classification_lines(found: Classification) -> list[str]:
    """The share of wrong classes with its interval, and the confusion counts."""
    if found.error is None:
        return [f"{found.layer}: {len(found.classes)} cases classified ({found.answer.how}); no labels to compare with"]
    counts = found.error.confusion
    width = max(len(str(counts.max())), len(str(len(counts) - 1))) + 1
    rows = [f"{k:>{width}} |" + "".join(f"{n or '.':>{width}}" for n in row) for k, row in enumerate(counts)]
    head = " " * width + " |" + "".join(f"{k:>{width}}" for k in range(len(counts)))
    return [error_line(found), "Rows are the classes, columns what they are taken for:", head, *rows]


def error_line(found: Classification) -> str:
    """The share of wrong classes, its interval, and by what."""
    e = found.error
    assert e is not None, "asked of classifications with labels"
    return (
        f"{found.layer}: {e.rate:.2%} wrong, {e.wrong} of {e.cases} cases  "
        f"(95% interval {e.lower:.2%} to {e.upper:.2%}; {found.answer.how})"
    )


def network_lines(run: Run) -> list[str]:
    """The figures of a run's networks on its held-out cases, a line each."""
    out: list[str] = []
    for network in run.networks.values():
        name, figure = run._held_out()[0], _figure(run, network)
        if isinstance(figure, tuple):
            error = f"{figure[0]:.4f} +- {2 * figure[1]:.4f}"
            out.append(f"{name} squared error of a case {error} over {figure[2]} cases  (autoencoder)")
        elif figure.error is not None:
            out.append(f"{name} error of {error_line(figure)}")
    return out


def network_json(run: Run) -> dict[str, Any]:
    """The same as JSON values."""
    out: dict[str, Any] = {}
    for kind, network in run.networks.items():
        figure = _figure(run, network)
        if isinstance(figure, tuple):
            out[kind] = dict(zip(("squared_error", "standard_error", "cases"), figure, strict=True))
        else:
            out[kind] = classification_json(figure)
    return out


def _figure(run: Run, network: Classifier | Autoencoder) -> Classification | tuple[float, float, int]:
    """How a network does on the held-out cases."""
    from pgmdsl.networks import Autoencoder

    if isinstance(network, Autoencoder):
        return network.squared_error()
    return run.classify(layer=network.network.target, by="network")


def report_retrieval(run: Run, data: dict[str, str] | None, labels: str, baseline: str | None, as_json: bool) -> None:
    """Write the curves of retrieval as JSON and as a picture, and print them."""
    from pgmdsl.cli.common import write_output
    from pgmdsl.networks import retrieve
    from pgmdsl.runtime.retrieval import draw_retrieval

    found = retrieve(run, data, labels, baseline)
    answer = {name: curve.as_json() for name, curve in found.items()}
    path = run.directory / "retrieval.json"
    write_output(path, json.dumps(answer, indent=2))
    picture = path.with_suffix(".png")
    draw_retrieval(found, picture, f"{run.model.name}: share of the query's class among what is retrieved")
    if as_json:
        echo_json({"retrieval": str(path), "picture": str(picture), **answer})
        return
    counts = next(iter(found.values())).retrieved
    width = max(map(len, ("retrieved", *found)))
    click.echo(f"{'retrieved':<{width}} " + "".join(f"{n:>7}" for n in counts))
    for name, curve in found.items():
        click.echo(f"{name:<{width}} " + "".join(f"{p:7.3f}" for p in curve.precision))
    for name, curve in found.items():
        figure = f"mean average precision {curve.average_precision:.4f}"
        click.echo(f"{name}: {figure} over {curve.cases} queries, {curve.size} numbers a case")
    click.echo(f"curves   {path}")
    click.echo(f"picture  {picture}")
