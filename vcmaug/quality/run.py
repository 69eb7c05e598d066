"""`evaluate`: adherence of a cohort's images to their labels, and distance from real images.

What it is: a table and a summary, each number beside what real images score.
In the flow: after generation; the segmenter is passed in, so this room knows no study.
Sources: none beyond `features` and `distances`.

Notes:
    The reader is an independent segmenter, trained on real subjects that the control has not seen.
    It also reads held-out real images: what it misses there is its own fault, not the cohort's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vcmaug.cohort.manifest import read_cohort_card, read_manifest
from vcmaug.data.cases import Case
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.errors import CohortError
from vcmaug.files import write_bytes, write_json, write_text
from vcmaug.progress import Progress, Report, silent
from vcmaug.provenance import versions
from vcmaug.quality.adherence import Read, adherence_rows
from vcmaug.quality.distances import frechet_distance, mmd_rbf, standardised
from vcmaug.quality.features import describe
from vcmaug.quality.memorisation import memorisation_rows
from vcmaug.seeding import numpy_generator

__all__ = ["METRICS", "evaluate_cohort"]

METRICS: dict[str, dict[str, Any]] = {
    "adherence_dice": {"better": "higher", "range": [0, 1]},
    "frechet_distance": {"better": "lower", "range": [0, None]},
    "mmd_squared": {"better": "lower", "range": [0, None]},
    "share_nearer_to_train": {"better": "near 0.5", "range": [0, 1]},
}

_PERMUTATIONS = 199
_CUTS = 100
_FEWEST_HOLD_OUT = 2


def evaluate_cohort(
    cohort: Path,
    *,
    real: Sequence[Case],
    reader: Read | None,
    about_reader: Mapping[str, Any],
    out: Path,
    trained_on: Sequence[Case] = (),
    report: Report = silent,
) -> dict[str, Any]:
    """Write adherence.parquet, adherence.csv and quality.json, and return the last.

    Args:
        cohort: A finished cohort.
        real: Held-out real cases: no test subject, none that the reader was trained on.
        reader: An independent segmenter, or None, in which case adherence is said to be missing.
        about_reader: What it was trained on.
        out: Folder of the results.
        trained_on: Real cases whose images prior and control have seen; without them memorisation
            is said to be missing.
        report: Told as cases are read.

    Raises:
        CohortError: The cohort has fewer than two finished cases, or another grid than the real
            cases, so that distances would mean nothing.
    """
    scheme = LabelScheme.from_json(read_cohort_card(cohort)["scheme"])
    drawn = _read(_cohort_files(cohort), report=report)
    held_out = _read([(c.case_id, c.image, c.label) for c in real if c.label], report=report)
    train_images = _read_images(trained_on)
    for others in (held_out.images, train_images):
        if len(others) and others.shape[1:] != drawn.images.shape[1:]:
            raise CohortError(
                f"evaluating {cohort}: its images have shape {drawn.images.shape[1:]}, the real "
                f"ones {others.shape[1:]}. Prepare the real cases on the prior's grid."
            )
    rows: list[dict[str, Any]] = []
    if reader is not None:
        rows += _adherence(drawn, reader, scheme, source="synthetic")
        rows += _adherence(held_out, reader, scheme, source="real")
    table = pd.DataFrame(rows, columns=["case_id", "source", "structure", "dice"])
    write_bytes(out / "adherence.parquet", table.to_parquet(index=False))
    write_text(out / "adherence.csv", table.to_csv(index=False))
    quality = {
        "kind": "quality",
        "num_synthetic": len(drawn.names),
        "num_real": len(held_out.names),
        "adherence": _means(table),
        "reader": dict(about_reader),
        "distances": _distances(drawn.images, held_out.images),
        "memorisation": _memorisation(drawn.images, train_images, held_out.images),
        "metrics": METRICS,
        "missing": _missing(reader, len(held_out.names), len(trained_on)),
        "versions": versions(),
    }
    write_json(out / "quality.json", quality)
    return quality


@dataclass(frozen=True)
class _Volumes:
    """Cases in memory: images and label maps [N, X, Y, Z]; [0] where there are none."""

    names: tuple[str, ...]
    images: NDArray[np.float32]
    maps: NDArray[np.uint16]


def _cohort_files(cohort: Path) -> list[tuple[str, Path, Path]]:
    """Return (case id, image, label map) of the finished cases of a cohort.

    Raises:
        CohortError: They are fewer than two.
    """
    manifest = read_manifest(cohort)
    done = manifest[manifest["status"] == "done"]
    if len(done) < 2:
        raise CohortError(f"evaluating {cohort}: {len(done)} finished cases, expected two or more.")
    return [
        (str(row["case_id"]), cohort / str(row["image"]), cohort / str(row["label"]))
        for row in done.to_dict("records")
    ]


def _read(files: Sequence[tuple[str, Path, Path]], *, report: Report) -> _Volumes:
    """Return files in memory."""
    images: list[NDArray[np.float32]] = []
    maps: list[NDArray[np.uint16]] = []
    for number, (case_id, image, label) in enumerate(files, start=1):
        images.append(read_image(image, case_id=case_id).array)
        maps.append(read_label_map(label, case_id=case_id).array)
        report(Progress("reading volumes", number, len(files)))
    if not images:
        return _Volumes((), np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.uint16))
    return _Volumes(tuple(name for name, _, _ in files), np.stack(images), np.stack(maps))


def _adherence(
    volumes: _Volumes, reader: Read, scheme: LabelScheme, *, source: str
) -> list[dict[str, Any]]:
    """Return the adherence of volumes; no row where there are none."""
    if not volumes.names:
        return []
    return adherence_rows(
        volumes.names,
        images=volumes.images,
        asked=volumes.maps,
        reader=reader,
        scheme=scheme,
        source=source,
    )


def _read_images(cases: Sequence[Case]) -> NDArray[np.float32]:
    """Return the images of cases, [N, X, Y, Z]; [0] where there are none."""
    images = [read_image(case.image, case_id=case.case_id).array for case in cases]
    return np.stack(images) if images else np.zeros(0, dtype=np.float32)


def _missing(reader: Read | None, num_real: int, num_trained_on: int) -> list[str]:
    """Return what could not be measured, and why."""
    missing = [] if reader is not None else ["adherence: no independent reader at hand"]
    if num_real // 2 < _FEWEST_HOLD_OUT:
        missing.append(f"distances: {num_real} held-out real cases, expected 4 or more")
    if not num_trained_on or num_real < _FEWEST_HOLD_OUT:
        missing.append("memorisation: no images of training and hold-out at hand")
    return missing


def _memorisation(
    synthetic: NDArray[np.float32], train: NDArray[np.float32], real: NDArray[np.float32]
) -> list[dict[str, Any]]:
    """Return the share of synthetic images nearer to training than to hold-out images."""
    if not len(train) or len(real) < _FEWEST_HOLD_OUT:
        return []
    return memorisation_rows(
        describe(synthetic),
        train=describe(train),
        hold_out=describe(real),
        num_draws=_CUTS,
        generator=numpy_generator("quality", "memorisation"),
    )


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
    half = min(len(real) // 2, len(synthetic))
    if half < _FEWEST_HOLD_OUT:
        return []
    first, second = describe(real[order[:half]]), describe(real[order[half : 2 * half]])
    chosen = numpy_generator("quality", "drawn").permutation(len(synthetic))[:half]
    drawn = describe(synthetic[chosen])
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
