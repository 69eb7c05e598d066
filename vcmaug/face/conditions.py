"""`vcmaug.prepare`, `vcmaug.chains` and `vcmaug.conditions`: what models learn and are asked for.

Where no folder is named, what is made lies in one that goes when the process ends.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from vcmaug.compute import resolve_compute
from vcmaug.conditions.build import build_conditions
from vcmaug.conditions.builder import Builder
from vcmaug.conditions.chain import Chain, ConditionSettings
from vcmaug.conditions.conditions import Conditions
from vcmaug.config import parse_settings
from vcmaug.data.cases import Cases
from vcmaug.data.geometry import Grid
from vcmaug.data.prepare import prepare as prepare_cases
from vcmaug.data.source import DataSettings
from vcmaug.ldm.prior import Prior
from vcmaug.progress import Report, silent

__all__ = ["chains", "conditions", "folder_for", "prepare"]

_numbers = count()


def folder_for(given: Path | str | None, *, name: str) -> Path:
    """Return the folder that is given, or a new one that lasts as long as this process.

    Args:
        given: A path, or None.
        name: What a new folder is for.
    """
    return _root() / f"{name}-{next(_numbers)}" if given is None else Path(given)


@cache
def _root() -> Path:
    """Return the temporary folder of this process."""
    root, owner = Path(tempfile.mkdtemp(prefix="vcmaug-")), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # a process that was forked leaves it
            shutil.rmtree(root, ignore_errors=True)

    atexit.register(remove)
    return root


def prepare(
    source: Path | str,
    *,
    scheme: Mapping[str, int] | Sequence[str],
    grid: Grid,
    out: Path | str | None = None,
    report: Report = silent,
    **settings: Any,
) -> Cases:
    """Read and check a data set, bring it onto one grid, and return its cases.

    Args:
        source: A folder, a CSV or TSV table, an nnU-Net or BIDS root, or a MONAI datalist.
        scheme: The structures: name -> value in your label maps; of a list of names the values are
            1, 2, 3, ... in that order.
        grid: On which all cases shall lie.
        out: Folder of the prepared cases; None: a temporary one that lasts as long as this process.
        report: Told after every case.
        **settings: Further settings of `vcmaug.data.source.DataSettings`, such as
            `format={"name": "folder", "images": "scans/{case}.nii.gz"}`.

    Raises:
        RecipeError: A setting is unknown or wrong.
        FaultyDataSet: Every fault of the data set; nothing is written.
    """
    named = scheme if isinstance(scheme, Mapping) else {n: k for k, n in enumerate(scheme, start=1)}
    content = {"source": str(source), "scheme": dict(named), "grid": grid, **settings}
    chosen = parse_settings(DataSettings, content, source="the arguments of prepare")
    return prepare_cases(chosen, folder_for(out, name="cases"), report=report)


def chains(*several: Sequence[Builder | str] | Chain, **settings: Any) -> ConditionSettings:
    """Return chains of builders that take turns.

    Args:
        *several: Lists of builders, each applied one after the other, or chains with a weight.
        **settings: Further settings of `ConditionSettings`: `inherit` and `scalars`.

    Examples:
        >>> len(chains(["perturb"], ["shape_model", "perturb"]).chains)
        2
    """
    return parse_settings(
        ConditionSettings, {"chains": several, **settings}, source="the arguments of chains"
    )


def conditions(
    cases: Cases,
    settings: ConditionSettings | Builder | str,
    *,
    n: int,
    seed: int = 0,
    prior: Prior | None = None,
    folder: Path | str | None = None,
    lazy: bool = False,
    whole: Cases | None = None,
    workers: int | None = None,
    report: Report = silent,
) -> Conditions:
    """Build conditions from labelled cases: label maps, scalars and further channels.

    Args:
        cases: Labelled training cases; their roles are those of the split that they come from.
        settings: Of `chains`, or one builder.
        n: How many; chains take turns, and each goes round the cases.
        seed: With the number of a condition it decides everything about it.
        prior: Whose ranges the scalars are kept in; None: those of the prior that draws.
        folder: Where they are kept and can be gone on with; None: a temporary folder that lasts as
            long as this process.
        lazy: Write the table alone; maps are made again when they are needed.
        whole: The same cases on a larger grid, on which builders work; None: on their own.
        workers: Processes; None or 0: this one.
        report: Told as they are made.

    Raises:
        LeakError: A subject of test or validation is among the cases or an atlas' donors.
        DataError: A case has no label map, or builders do not fit the structures or each other.
        WorkFolderError: The folder holds other conditions.
    """
    chosen = parse_settings(ConditionSettings, settings, source="the arguments of conditions")
    place = folder_for(folder, name="conditions")
    build_conditions(
        chosen,
        cases.cases,
        folder=place,
        scheme=cases.scheme,
        n=n,
        seed=seed,
        roles=cases.roles,
        scalars=prior.spec.scalars if prior is not None else (),
        lazy=lazy,
        whole=whole.cases if whole is not None else (),
        compute=resolve_compute(workers=workers),
        report=report,
    )
    return Conditions(place)
