"""`pgmc`: the commands, loaded one at a time so that `pgmc --help` imports none of them."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.version import VERSION

# verb -> (module that defines the command of this name, one line of help)
COMMANDS = {
    "check": ("language", "Report every mistake of a model file."),
    "fmt": ("language", "Lay a model file out in the one canonical way."),
    "explain": ("language", "Explain a diagnostic code, with an example and its mend."),
    "derive": ("formulas", "Print the energy, conditionals, mean field, free energy and gradients."),
    "verify": ("verify", "Prove or refute the checks of model files, or of the textbook."),
    "graph": ("formulas", "Draw the model as a picture."),
    "compile": ("formulas", "Write the generated kernels and the derivation."),
    "train": ("training", "Train a model as its file says, into a new run directory."),
    "resume": ("training", "Go on with an interrupted run, bit for bit."),
    "sample": ("using", "Draw samples from a trained model, with layers clamped if wished."),
    "infer": ("using", "Write the means of the hidden layers for given data."),
    "reconstruct": ("using", "Reconstruct data through the hidden layers."),
    "classify": ("networks", "Predict labels, and count how many are wrong."),
    "impute": ("filling", "Fill in missing values: means and samples, by Gibbs sampling or mean field."),
    "eval": ("evaluating", "Test log-likelihood figures with error bars."),
    "plot": ("using", "Draw filters, samples and training curves of a run."),
    "export": ("filling", "Write the parameters, or a network as ONNX or for PyTorch."),
}


class _Lazy(click.Group):
    """A group whose commands are imported when called; help shows the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = import_module(f"pgmdsl.cli.{COMMANDS[name][0]}")
        command = getattr(module, f"{name}_command")
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            from pgmdsl.grammar.diagnostics import suggest

            hint = suggest(args[0], list(COMMANDS))
            raise click.UsageError(f"there is no command {args[0]!r}" + (f": {hint}" if hint else "")) from None


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="pgmc")
def pgmc() -> None:
    """Energy-based layered models from a text file: checked, proved, compiled, trained."""


def main() -> None:
    """Run `pgmc`; exit 0 done, 1 the answer is no, 2 the user's mistake, 70 a bug of ours, 130 interrupted."""
    try:
        code = pgmc.main(standalone_mode=False)
    except click.ClickException as problem:
        problem.show()
        code = 2
    except (click.Abort, KeyboardInterrupt) as stop:
        click.echo(str(stop.__cause__ or stop) or "interrupted", err=True)
        code = 130
    except Error as problem:
        click.echo(str(problem), err=True)
        code = 2
    except BrokenPipeError:
        sys.stderr.close()
        code = 141
    except OSError as problem:  # what no command foresaw: a full disk, a folder that may not be written
        where = f"{problem.filename}: " if problem.filename else ""
        click.echo(f"{where}{problem.strerror or problem}; make room or choose another place with -o", err=True)
        code = 2
    except Exception:
        import traceback

        click.echo(traceback.format_exc(), err=True)
        click.echo(
            f"This is a bug in pgmdsl {VERSION}, not a mistake of yours. Please report it with the lines above and the "
            "model file.",
            err=True,
        )
        code = 70
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
