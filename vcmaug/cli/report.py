"""`vcmaug report`: one HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from vcmaug.cli.console import say
from vcmaug.cli.options import DryRun

__all__ = ["report_command"]


def report_command(
    work: Annotated[Path, typer.Argument(metavar="WORK", help="Work folder of a recipe.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The HTML file. Default: WORK/report.html.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the random cases shown.")] = 0,
    dry_run: DryRun = False,
) -> None:
    """Write one HTML file that opens offline; what is missing in WORK is said to be missing.

    Example: vcmaug report work/hippocampus
    """
    from vcmaug.data.work_layout import WorkLayout

    layout = WorkLayout(work)
    layout.about()
    target = out or layout.report
    if dry_run:
        say(f"would write {target}")
        return
    from vcmaug.report.document import write_report

    say(f"The report is {write_report(work, target, seed=seed)}.")
