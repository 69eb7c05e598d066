"""The command `vcmaug`: the verbs, in the order of the flow.

What it is: the table of contents. Nothing heavy is imported before a verb runs.
In the flow: the top floor.
Sources: none.
"""

import sys
import warnings
from typing import Annotated

import typer

from vcmaug import __version__
from vcmaug.cli.build_conditions import build_conditions_command
from vcmaug.cli.check import check_command
from vcmaug.cli.console import failed, say
from vcmaug.cli.downstream_eval import downstream_eval_command
from vcmaug.cli.evaluate import evaluate_command
from vcmaug.cli.gates import gates_command
from vcmaug.cli.generate import generate_command
from vcmaug.cli.import_weights import import_weights_app
from vcmaug.cli.info import info_command
from vcmaug.cli.prepare import prepare_command
from vcmaug.cli.report import report_command
from vcmaug.cli.run import run_command
from vcmaug.cli.train_control import train_control_command
from vcmaug.cli.train_prior import train_prior_command
from vcmaug.errors import VcmaugError

__all__ = ["app", "main"]

app = typer.Typer(
    name="vcmaug",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Labelled synthetic 3D medical volumes from a few real ones, and what they are worth.",
)
app.command("prepare")(prepare_command)
app.command("train-prior")(train_prior_command)
app.command("train-control")(train_control_command)
app.command("build-conditions")(build_conditions_command)
app.command("generate")(generate_command)
app.command("check")(check_command)
app.command("evaluate")(evaluate_command)
app.command("gates")(gates_command)
app.command("downstream-eval")(downstream_eval_command)
app.command("report")(report_command)
app.command("run")(run_command)
app.add_typer(import_weights_app, name="import-weights")
app.command("info")(info_command)


def _version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        say(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Take the options that come before a verb."""


def main() -> None:
    """Run the command line; an error that a user can mend ends with exit code 2."""
    # libraries speak to developers of their own renamings; a user of a verb cannot act on them
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"monai\.")
    try:
        app()
    except VcmaugError as fault:
        failed(fault)
        sys.exit(2)


if __name__ == "__main__":
    main()
