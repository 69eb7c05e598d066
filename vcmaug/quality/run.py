"""`evaluate`: adherence of a cohort's images to their labels, and distance from real images.

What it is: two tables and a summary, each number beside what real images score.
In the flow: after generation; the segmenter is passed in, so this room knows no study.
Sources: none beyond `features` and `distances`.

Notes:
    The reader is an independent segmenter, trained on real subjects that the control has not seen.
    It also reads held-out real images: what it misses there is its own fault, not the cohort's.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from monai.metrics import compute_dice
from numpy.typing import NDArray

from vcmaug.cohort.manifest import read_cohort_card, read_manifest
from vcmaug.data.cases import Case
from vcmaug.data.labels import LabelScheme, one_hot
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.errors import CohortError
from vcmaug.files import write_bytes, write_json, write_text
from vcmaug.progress import Progress, Report, silent
from vcmaug.provenance import versions
from vcmaug.quality.distances import frechet_distance, mmd_rbf, standardised
from vcmaug.quality.features import describe
from vcmaug.seeding import numpy_generator

__all__ = ["METRICS", "evaluate_cohort"]

Read = Callable[[NDArray[np.float32]], NDArray[np.uint16]]
"""Images [N, X, Y, Z] -> label maps [N, X, Y, Z]."""

METRICS: dict[str, dict[str, Any]] = {
    "adherence_dice": {"better": "higher", "range": [0, 1]},
    "frechet_distance": {"better": "lower", "range": [0, None]},
    "mmd_squared": {"better": "lower", "range": [0, None]},
}

_PERMUTATIONS = 199


def evaluate_cohort(
    cohort: Path,
    *,
    real: Sequence[Case],
    reader: Read | None,
    about_reader: Mapping[str, Any],
    out: Path,
    report: Report = silent,
) -> dict[str, Any]:
    """Write adherence.parquet, adherence.csv and quality.json, and return the last.

    Args:
        cohort: A finished cohort.
        real: Held-out real cases: no test subject, none that the reader was trained on.
        reader: An independent segmenter, or None, in which case adherence is said to be missing.
        about_reader: What it was trained on.
        out: Folder of the results.
        report: Told as cases are read.

    Raises:
        CohortError: The cohort has fewer than two finished cases.
    """
    scheme = LabelScheme.from_json(read_cohort_card(cohort)["scheme"])
    manifest = read_manifest(cohort)
    done = manifest[manifest["status"] == "done"]
    if len(done) < 2:
        raise CohortError(f"evaluating {cohort}: {len(done)} finished cases, expected two or more.")
    files = [
        (str(row["case_id"]), cohort / str(row["image"]), cohort / str(row["label"]))
        for row in done.to_dict("records")
    ]
    real_files = [(case.case_id, case.image, case.label) for case in real if case.label]
    synthetic_images, synthetic_maps = _read(files, report=report)
    real_images, real_maps = _read(real_files, report=report) if real_files else (None, None)
    rows: list[dict[str, Any]] = []
    if reader is not None:
        rows += _adherence(files, synthetic_images, synthetic_maps, reader, scheme, "synthetic")
        if real_images is not None and real_maps is not None:
            rows += _adherence(real_files, real_images, real_maps, reader, scheme, "real")
    table = pd.DataFrame(rows, columns=["case_id", "source", "structure", "dice"])
    write_bytes(out / "adherence.parquet", table.to_parquet(index=False))
    write_text(out / "adherence.csv", table.to_csv(index=False))
    quality = {
        "kind": "quality",
        "num_synthetic": len(files),
        "num_real": len(real_files),
        "adherence": _means(table),
        "reader": dict(about_reader),
        "distances": [] if real_images is None else _distances(synthetic_images, real_images),
        "metrics": METRICS,
        "missing": [] if reader is not None else ["adherence: no independent reader at hand"],
        "versions": versions(),
    }
    write_json(out / "quality.json", quality)
    return quality


def _read(
    files: Sequence[tuple[str, Path, Path]], *, report: Report
) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Return images and label maps, each [N, X, Y, Z]."""
    images, maps = [], []
    for number, (case_id, image, label) in enumerate(files, start=1):
        images.append(read_image(image, case_id=case_id).array)
        maps.append(read_label_map(label, case_id=case_id).array)
        report(Progress("reading volumes", number, len(files)))
    return np.stack(images), np.stack(maps)


def _adherence(
    files: Sequence[tuple[str, Path, Path]],
    images: NDArray[np.float32],
    asked: NDArray[np.uint16],
    reader: Read,
    scheme: LabelScheme,
    source: str,
) -> list[dict[str, Any]]:
    """Return Dice between what the reader finds in an image and its label map, per structure."""
    found = reader(images)
    rows = []
    for (case_id, _, _), first, second in zip(files, found, asked, strict=True):
        dice = compute_dice(
            torch.from_numpy(one_hot(first, scheme))[None],  # [1, K, X, Y, Z]
            torch.from_numpy(one_hot(second, scheme))[None],
            include_background=True,
            ignore_empty=False,
        )[0]
        rows += [
            {"case_id": case_id, "source": source, "structure": name, "dice": float(value)}
            for name, value in zip(scheme.names, dice, strict=True)
        ]
    return rows


def _means(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return mean adherence per source and structure, and over structures."""
    if table.empty:
        return []
    each = table.groupby(["source", "structure"], sort=False)["dice"].mean().reset_index()
    whole = table.groupby("source", sort=False)["dice"].mean().reset_index()
    rows = pd.concat([each, whole.assign(structure="mean")])
    return [{str(k): v for k, v in row.items()} for row in rows.to_dict("records")]


def _distances(synthetic: NDArray[np.float32], real: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Return distances of synthetic from real images, and of one half of the real from the other.

    The sets of one row are of equal size, so that the rows can be compared.
    """
    order = numpy_generator("quality", "halves").permutation(len(real))
    half = len(real) // 2
    if half < 2:
        return []
    first, second = describe(real[order[:half]]), describe(real[order[half : 2 * half]])
    drawn = describe(synthetic[:half])
    first, second, drawn = standardised(first, second, drawn)
    rows = []
    for name, other in (("real vs real", second), ("synthetic vs real", drawn)):
        mmd, p_value = mmd_rbf(
            first,
            other,
            num_permutations=_PERMUTATIONS,
            generator=numpy_generator("quality", "permutations"),
        )
        rows.append(
            {
                "row": name,
                "num_first": half,
                "num_second": len(other),
                "frechet_distance": frechet_distance(first, other),
                "mmd_squared": mmd,
                "mmd_p_value": p_value,
            }
        )
    return rows
