"""Write cases.csv and splits.json of this study, and print where its crop lies.

VCMAUG_DATA=FOLDER python recipes/ageing/make_splits.py

Reads participants.csv of ixi_t1w_2mm and nichart_elderly_2mm, and of label maps those of the young
candidates alone, whose ventricles say how far the crop lies off the centre of what an image shows.
"""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.files import write_json, write_text
from vcmaug.seeding import numpy_generator

HERE = Path(__file__).parent
DATA = Path(os.environ["VCMAUG_DATA"])
IXI, OLD = "ixi_t1w_2mm", "nichart_elderly_2mm"
YOUNG, SENIOR = 45, 60
SEED = 0
BLOCK = ["candidates"] * 4 + ["validation", "test", "evaluator"]  # of young heads of one age
VENTRICLES = 4  # in tissue8


def people(folder: str) -> list[dict[str, str]]:
    """Return the participants of a data set, by age."""
    with (DATA / folder / "participants.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return sorted(rows, key=lambda row: (float(row["age"] or 0), row["id"]))


def in_blocks(
    rows: list[dict[str, str]], roles: list[str], what: str
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield a role and a person: of each block of neighbours in age as many as the roles say."""
    for first in range(0, len(rows), len(roles)):
        order = numpy_generator(SEED, what, first).permutation(len(roles))
        for place, row in zip(order, rows[first : first + len(roles)], strict=False):
            yield roles[int(place)], row


def offset_mm(candidates: list[str]) -> list[float]:
    """Return how far the middle of the ventricles lies from that of what an image shows."""
    found = []
    for name in candidates:
        image = read_image(DATA / IXI / "t1" / f"{name}_T1.nii.gz", case_id=name)
        labels = read_label_map(DATA / IXI / "tissue8" / f"{name}_tissue8.nii.gz", case_id=name)
        middles = []
        for inside in (image.array > image.array.min(), labels.array == VENTRICLES):
            (box,) = ndimage.find_objects(inside.astype(np.uint8))
            middles.append([(part.start + part.stop - 1) / 2 for part in box])
        found.append((np.array(middles[1]) - middles[0]) * image.spacing_mm)
    return [float(value) for value in np.round(np.mean(found, axis=0))]


def main() -> None:
    """Write both files."""
    ixi = people(IXI)
    young = [row for row in ixi if row["age"] and float(row["age"]) < YOUNG]
    middle = [row for row in ixi if row["age"] and YOUNG <= float(row["age"]) < SENIOR]
    senior = [row for row in ixi if row["age"] and float(row["age"]) >= SENIOR]
    chosen: dict[str, list[str]] = {name: [] for name in [*BLOCK, "train", "left_out"]}
    group: dict[str, str] = {}
    for role, row in in_blocks(young, BLOCK, "young"):
        chosen[role].append(row["id"])
        group[row["id"]] = "C" if role == "test" else ""
    for role, row in in_blocks(senior, ["test", "train", "train"], "senior"):
        chosen[role].append(row["id"])
        group[row["id"]] = "B" if role == "test" else ""
    chosen["train"] += [row["id"] for row in middle]
    chosen["left_out"] = [row["id"] for row in ixi if not row["age"]]
    others = people(OLD)
    chosen["test"] += [row["id"] for row in others]
    group |= {row["id"]: "A" for row in others}
    train = [*chosen["train"], *chosen["candidates"], *chosen["evaluator"]]
    lists = {name: sorted(chosen[name]) for name in chosen} | {"train": sorted(train)}
    write_json(HERE / "splits.json", {**lists, "seed": SEED})
    lines = ["case_id,image,label,age,sex,group"]
    for row in sorted(ixi, key=lambda row: row["id"]):
        name, about = row["id"], f"{row['age']},{row['sex']},{group.get(row['id'], '')}"
        lines.append(f"{name},{IXI}/t1/{name}_T1.nii.gz,{IXI}/labels/{name}_DLMUSE.nii.gz,{about}")
    for row in others:
        name, about = row["id"], f"{row['age']},{row['sex']},A"
        lines.append(f"{name},{OLD}/t1/{name}_t1.nii.gz,{OLD}/labels/{name}_labels.nii.gz,{about}")
    write_text(HERE / "cases.csv", "\n".join(lines) + "\n")
    print({name: len(members) for name, members in lists.items()})
    print("groups of the test:", {g: sum(v == g for v in group.values()) for g in "ABC"})
    print("offset_mm:", offset_mm(lists["candidates"]))


if __name__ == "__main__":
    main()
