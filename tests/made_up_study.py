"""A made-up study for tests: prepared cases of boxes, splits, and cohorts that no model drew."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tiny import manifest_row

from vcmaug.cohort.card import CohortCard, SeenByCohort
from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import read_rows, type_of_parameters, write_rows
from vcmaug.cohort.row import ManifestRow
from vcmaug.data.cases import Case
from vcmaug.data.geometry import Grid
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import write_image, write_label_map
from vcmaug.data.seen import Seen
from vcmaug.data.splits import Splits
from vcmaug.data.volume import Volume
from vcmaug.files import sha256_of_file

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
    folder: Path,
    labelled: tuple[str, ...],
    *,
    num: int = 3,
    side: int = 12,
    subjects: Mapping[str, Sequence[str]] | None = None,
    labelled_subjects: Sequence[str] | None = None,
    pseudo_labelled_subjects: Sequence[str] = (),
    teacher_subjects: Sequence[str] = (),
    scheme: LabelScheme = BOX,
    **card: Any,
) -> Path:
    """Write a cohort whose sources and control are the labelled subjects; return its folder."""
    rows = []
    for index in range(num):
        image, label = write_box(folder, f"r{index}", seed=100 + index, side=side)
        subject = labelled[index % len(labelled)]
        label_sha256 = sha256_of_file(label)
        row = manifest_row(
            request_id=f"r{index}",
            index=index,
            case_id=f"synthetic-{index}",
            subject_id=f"synthetic-{index}",
            image=f"images/r{index}.nii.gz",
            label=f"labels/r{index}.nii.gz",
            image_sha256=sha256_of_file(image),
            label_sha256=label_sha256,
            condition_sha256=label_sha256,
            source_subject_ids=(subject,),
            source_case_ids=(subject.replace("s", "k"),),
            control_sha256="",
        )
        rows.append(row)
    rewrite_manifest(folder, rows)
    everybody = {"prior": SPLITS.train, "control": labelled, "conditions": labelled}
    subjects = everybody if subjects is None else subjects
    seen = {role: Seen(images=tuple(names)) for role, names in subjects.items()}
    if "control" in seen:
        taught = labelled if labelled_subjects is None else labelled_subjects
        seen["control"] = Seen(
            images=tuple(subjects["control"]),
            labels=tuple(taught),
            pseudo_labels=tuple(pseudo_labelled_subjects),
            teachers=tuple(teacher_subjects),
        )
    about = CohortCard(
        n=num,
        counts={"done": num},
        scheme=scheme,
        grid=Grid(shape=(side, side, side)),
        seen=SeenByCohort(**seen),
        **card,
    )
    about.write(folder)
    return folder


def rewrite_manifest(cohort: Path, rows: Sequence[ManifestRow]) -> None:
    """Write a manifest of these rows."""
    layout = CohortLayout(cohort)
    paths = layout.manifest, layout.manifest_csv
    write_rows(paths, rows, parameters=type_of_parameters([rows]))


def edit_rows(cohort: Path, **values: Any) -> None:
    """Set columns of the last row of a cohort's manifest."""
    *rows, last = read_rows(cohort)
    rewrite_manifest(cohort, [*rows, last.changed(**values)])
