"""`vcmaug export`: a cohort in the layout of another tool."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vcmaug.cli.console import progress, say

if TYPE_CHECKING:
    from vcmaug.cohort.exporter import Exporter

__all__ = ["export_command"]


def export_command(
    cohort: Annotated[Path, typer.Argument(metavar="COHORT", help="Folder of a cohort.")],
    to: Annotated[str, typer.Option("--to", help="The layout, such as monai-datalist.")],
    out: Annotated[Path, typer.Option("--out", help="The file or folder to write.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of the layout; repeatable."),
    ] = None,
    splits: Annotated[
        Path | None,
        typer.Option("--splits", help="splits.json of the study; by default the work folder's."),
    ] = None,
) -> None:
    """Write a finished cohort in the layout of another tool.

    A cohort that held-out subjects had a part in is refused.

    Example: vcmaug export work/replicates/n10-s0/cohort --to monai-datalist --out drawn.json
    """
    from vcmaug.cohort.cohort import Cohort
    from vcmaug.data.splits import read_splits

    exporter = _exporter(to, settings or [])
    opened = Cohort.open(cohort)
    roles = None if splits is None else read_splits(splits)
    with progress() as report:
        written = exporter.export(opened, out, splits=roles, report=report)
    say(f"{len(opened)} cases of {cohort} are listed in {written}.")


def _exporter(name: str, settings: list[str]) -> "Exporter":
    """Return the exporter of a name with settings such as native=true."""
    import yaml

    from vcmaug.cohort.exporter import Exporter
    from vcmaug.config import Settings, parse_settings

    class Options(Settings):
        """The options of the verb."""

        to: Exporter

    given = dict(text.partition("=")[::2] for text in settings)
    content = {key: yaml.safe_load(value) for key, value in given.items()}
    asked = {"to": {"name": name, **content}}
    return parse_settings(Options, asked, source="the options of export").to
