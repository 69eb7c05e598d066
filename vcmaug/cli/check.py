"""`vcmaug check`: a cohort against its manifest."""

from pathlib import Path
from typing import Annotated

import typer

from vcmaug.cli.console import progress, say

__all__ = ["check_command"]


def check_command(
    cohort: Annotated[Path, typer.Argument(metavar="COHORT", help="Folder of a cohort.")],
) -> None:
    """List every fault of a finished cohort: lost, damaged or foreign files, rows, counts.

    Ends with code 1 if there are any.

    Example: vcmaug check work/hippocampus/replicates/n10-s0/cohort
    """
    from vcmaug.cohort.check import check_cohort

    with progress() as report:
        faults = check_cohort(cohort, report=report)
    for fault in faults:
        say(fault)
    say(f"{len(faults)} faults in {cohort}." if faults else f"{cohort} is whole.")
    if faults:
        raise typer.Exit(1)
