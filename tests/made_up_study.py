"""A made-up study for tests: prepared cases of boxes, splits, and cohorts that no model drew."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vcmaug.data.cases import Case
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import write_image, write_label_map
from vcmaug.data.splits import Splits
from vcmaug.data.volume import Volume
from vcmaug.files import sha256_of_file, write_bytes, write_json

BOX = LabelScheme.from_mapping({"box": 3})
SPLITS = Splits(train=("s0", "s1", "s2", "s3"), validation=("s4",), test=("s5", "s6"), seed=0)


def write_box(folder: Path, name: str, *, seed: int, side: int = 12) -> tuple[Path, Path]:
    """Write an image of a bright box and its label map; return their paths."""
    generator = np.random.default_rng(seed)
    label = np.zeros((side, side, side), dtype=np.uint16)
    label[tuple(slice(c, c + 6) for c in generator.integers(1, 5, 3))] = 3
    image = (0.7 * (label > 0) + 0.2 * generator.random(label.shape)).astype(np.float32)
    paths = folder / "images" / f"{name}.nii.gz", folder / "labels" / f"{name}.nii.gz"
    write_image(paths[0], Volume(image, np.eye(4)))
    write_label_map(paths[1], Volume(label, np.eye(4)))
    return paths


def write_box_cases(folder: Path, *, num: int = 7) -> tuple[Case, ...]:
    """Write a case k<i> per subject s<i>."""
    cases = []
    for number in range(num):
        image, label = write_box(folder, f"k{number}", seed=number)
        cases.append(Case(f"k{number}", f"s{number}", {"image": image}, label=label))
    return tuple(cases)


def write_box_cohort(
    folder: Path, labelled: tuple[str, ...], *, num: int = 3, side: int = 12, **card: Any
) -> Path:
    """Write a cohort whose sources and control are the labelled subjects; return its folder."""
    rows = []
    for index in range(num):
        files = write_box(folder, f"r{index}", seed=100 + index, side=side)
        subject = labelled[index % len(labelled)]
        rows.append(
            {
                "index": index,
                "status": "done",
                "case_id": f"synthetic-{index}",
                "image": f"images/r{index}.nii.gz",
                "label": f"labels/r{index}.nii.gz",
                "image_sha256": sha256_of_file(files[0]),
                "label_sha256": sha256_of_file(files[1]),
                "source_subject_ids": json.dumps([subject]),
                "source_case_ids": json.dumps([subject.replace("s", "k")]),
            }
        )
    write_bytes(folder / "manifest.parquet", pd.DataFrame(rows).to_parquet(index=False))
    subjects = {
        "prior": list(SPLITS.train), "control": list(labelled), "conditions": list(labelled)
    }  # fmt: skip
    about = {"scheme": BOX.to_json(), "subjects": subjects, "labelled_subjects": list(labelled)}
    write_json(folder / "cohort.json", about | card)
    return folder


def edit_rows(cohort: Path, **values: str) -> None:
    """Set columns of the last row of a cohort's manifest."""
    table = pd.read_parquet(cohort / "manifest.parquet")
    for column, value in values.items():
        table.loc[len(table) - 1, column] = value
    write_bytes(cohort / "manifest.parquet", table.to_parquet(index=False))
