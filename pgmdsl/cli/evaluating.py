"""`pgmc eval`: what a trained model's log-likelihood is, how sure that is, and what it is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from pgmdsl.cli.common import DATA, JSON, LENGTH, MASK, SEED, THREADS, echo_json, parse_lengths, parse_pairs
from pgmdsl.cli.using import RUN

if TYPE_CHECKING:
    from pgmdsl.runtime.estimators.ais import AnnealingOptions
    from pgmdsl.runtime.evaluation import Method

METHODS = ["auto", "exact", "ais", "reverse_ais", "bridge", "raise", "csl", "pseudolikelihood"]


@click.command("eval")
@RUN
@DATA
@MASK
@LENGTH
@click.option(
    "--method", type=click.Choice(METHODS), default="auto", show_default=True, help="Of log Z, or one without it."
)
@click.option("--chains", type=click.IntRange(2), help="Of annealing.  [default: 100, of each case in raise 10]")
@click.option("--temperatures", type=click.IntRange(3), help="Of annealing.  [default: as many as --error needs]")
@click.option(
    "--error", type=click.FloatRange(0, min_open=True), default=0.1, show_default=True, help="Standard error of log Z."
)
@click.option("--starts", type=click.Choice(["exact", "data", "tempering"]), help="Of chains that go back.")
@click.option("--batch", type=click.IntRange(1), default=100, show_default=True, help="Chains run together, in memory.")
@THREADS
@click.option(
    "--block", type=click.IntRange(1), default=1, help="Neighbouring cases of a time series that go together."
)
@click.option("--baselines", is_flag=True, help="Add independent units and mixtures, fitted to the training data.")
@click.option("--components", type=int, multiple=True, metavar="N", help="Of the mixtures.  [default: 10, 100, 500]")
@click.option("--against", type=click.Path(path_type=Path), metavar="RUN", help="Add the differences from another run.")
@click.option(
    "--retrieval", "labels", metavar="PATH|LAYER", help="The curve of retrieval by codes, with these classes."
)
@click.option("--baseline", type=click.Choice(["lsa"]), help="Of retrieval: latent semantic analysis, drawn beside it.")
@click.option("--cases", "most", type=click.IntRange(1), metavar="N", help="Take N cases at most, drawn by seed.")
@SEED
@JSON
def eval_command(
    run: Path,
    data: tuple[str, ...],
    masks: tuple[str, ...],
    lengths: tuple[str, ...],
    method: Method,
    block: int,
    baselines: bool,
    components: tuple[int, ...],
    against: Path | None,
    labels: str | None,
    baseline: str | None,
    most: int | None,
    as_json: bool,
    **annealing: Unpack[AnnealingOptions],
) -> None:
    """Log-likelihood figures of a run on its test cases (or --data), each with its error bars.

    log Z is exact where enumeration is cheap, else by annealed importance sampling, once for each length of documents
    and each state of given layers, and checked by chains that go back; the log-probability of a case is exact where the
    sum over all that is latent or missing is affordable, else the variational bound, and that by importance weighting.
    Methods raise, csl and pseudolikelihood need no log Z. docs/estimates.md says what each bounds.

    --against RUN adds how much higher each figure is than that of another run, case by case. --retrieval gives another
    figure instead: every case is a query over the others, ranked by the cosine of their codes (of the autoencoder, else
    the means of the topmost hidden layer), and what is retrieved should be of its class.
    """
    from pgmdsl.cli.show import note_lengths, print_figures
    from pgmdsl.opening import load_run

    loaded, given, stated = load_run(run), parse_pairs(data, "--data") or None, parse_lengths(lengths)
    if labels is not None:
        from pgmdsl.cli.networks import report_retrieval

        report_retrieval(loaded, given, labels, baseline, as_json)
        return
    if given is not None:
        note_lengths(loaded, given, stated)
    evaluation = loaded.evaluation(
        given,
        masks=parse_pairs(masks, "--mask"),
        lengths=stated,
        method=method,
        most=most,
        block=block,
        baselines=components or baselines,
        against=load_run(against) if against else None,
        progress=not as_json,
        **annealing,
    )
    if as_json:
        echo_json({"run": str(run)} | evaluation.as_json())
    else:
        print_figures(evaluation)
