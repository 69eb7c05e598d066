"""`vcmaug.prepare`: images and label maps in any layout become cases on one grid."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vcmaug.config import parse_settings
from vcmaug.data.cases import Cases
from vcmaug.data.geometry import Grid
from vcmaug.data.prepare import prepare as prepare_cases
from vcmaug.data.source import DataSettings
from vcmaug.face.folders import folder_for
from vcmaug.progress import Report, silent

__all__ = ["prepare"]


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
