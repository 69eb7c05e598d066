"""The command `vcmaug`; a verb is imported when it is called, and what it computes with later."""

import sys
import warnings
from typing import Annotated

import typer

from vcmaug.cli.console import failed, say
from vcmaug.cli.verbs import Verbs
from vcmaug.errors import VcmaugError
from vcmaug.version import __version__

__all__ = ["app", "main"]

app = typer.Typer(
    name="vcmaug",
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Labelled synthetic 3D medical volumes from a few real ones, and what they are worth.",
)


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
    """Run the command line; an error that the user can fix ends with exit code 2."""
    # libraries speak to developers of their own renamings; a user of a verb cannot act on them
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"monai\.")
    try:
        app()
    except VcmaugError as fault:
        failed(fault)
        sys.exit(2)


if __name__ == "__main__":
    main()
