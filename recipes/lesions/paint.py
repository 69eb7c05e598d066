"""Paint lesions of real patients into healthy heads: a stated simulation, for the recipe beside it.

VCMAUG_DATA=FOLDER python recipes/lesions/paint.py --out FOLDER/painted_lesions

Reads ixi_t1w_2mm (hosts) and ms_lesions_lit (masks of 25 patients, T1 of two) in that folder.
Writes images/, labels/ (tissues 1 to 4, lesion 5), atlas.csv and simulation.json.

What is simulated: the place and outline of each lesion are those of a patient's lesion, put where
the atlas has lesions; its grey value is that of the host times the ratio to the tissue around
that the two patients show at the same distance from the outline, between the two at random, with a
smooth noise as strong as theirs. What is not: swelling, atrophy, partial volume other than
resampling, and everything that a T1 image of two people does not show. Patients whose masks go into
hosts of validation and test give none to training hosts or to conditions.
"""

import argparse
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from vcmaug.compute import resolve_compute
from vcmaug.conditions.build import build_conditions
from vcmaug.conditions.chain import ConditionSettings
from vcmaug.conditions.table import read_conditions
from vcmaug.data.cases import Case
from vcmaug.data.distance import signed_distance_mm
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import read_image, read_label_map, write_image, write_label_map
from vcmaug.data.volume import Volume
from vcmaug.files import write_json
from vcmaug.seeding import numpy_generator

DATA = Path(os.environ["VCMAUG_DATA"])
HERE = Path(__file__).resolve().parent
NAMES = {"csf": 1, "grey_matter": 2, "white_matter": 3, "ventricles": 4, "lesion": 5}
SCHEME = LabelScheme.from_mapping(NAMES)
PATIENTS = ("patient07", "patient19")  # those with images
EDGES_MM = (-1.0, 0.0, 1.0, 2.0, 4.0)  # between bins of the distance to a lesion's outline
MIDDLES_MM = (-1.5, -0.5, 0.5, 1.5, 3.0)  # of the bins; the last is that of the tissue around
SMALLEST_MM3, COUNT = 300.0, (2, 8)
TEXTURE_MM = 2.0


@dataclass(frozen=True)
class Profile:
    """Ratio to the tissue around, per bin of `EDGES_MM`, and the spread inside, of one patient."""

    ratios: NDArray[np.float64]
    spread: float


def profile_of(patient: str) -> Profile:
    """Measure a patient's lesions on T1."""
    folder = DATA / "ms_lesions_lit"
    t1 = read_image(folder / "images" / f"{patient}_t1.nii.gz", case_id=patient)
    mask = read_label_map(folder / "masks" / f"{patient}_lesions.nii.gz", case_id=patient)
    head = read_label_map(folder / "images" / f"{patient}_brainmask.nii.gz", case_id=patient)
    away = signed_distance_mm(mask.array > 0, t1.spacing_mm)
    inner = ndimage.binary_erosion(head.array > 0, iterations=8)
    bins = np.digitize(away, EDGES_MM)
    medians = np.array([np.median(t1.array[inner & (bins == k)]) for k in range(len(EDGES_MM))])
    inside = inner & (away < 0)
    rest = (t1.array[inside] - medians[bins[inside]]) / medians[-1]
    spread = float(np.subtract(*np.quantile(rest, [0.75, 0.25])) / 1.349)
    return Profile(medians / medians[-1], spread)


def tissues(subject: str, values: pd.DataFrame) -> Volume:
    """Return a subject's four tissues from its DLMUSE regions."""
    path = DATA / "ixi_t1w_2mm" / "labels" / f"{subject}_DLMUSE.nii.gz"
    regions = read_label_map(path, case_id=subject)
    table = np.zeros(int(max(regions.array.max(), values["value"].max())) + 1, dtype=np.uint8)
    table[values["value"]] = values["structure"].map(NAMES)
    return Volume(table[regions.array], regions.affine)


def atlas_of(out: Path) -> Path:
    """Write the table of the masks: every other patient is for training."""
    masks = sorted((DATA / "ms_lesions_lit" / "masks").glob("*.nii.gz"))
    rows = [
        {
            "mask": os.path.relpath(mask, out),
            "subject_id": mask.name.removesuffix("_lesions.nii.gz"),
            "role": ("train", "held-out")[number % 2],
        }
        for number, mask in enumerate(masks)
    ]
    pd.DataFrame(rows).to_csv(out / "atlas.csv", index=False)
    return out / "atlas.csv"


def with_lesions(hosts: list[Case], atlas: Path, role: str, folder: Path) -> dict[str, Volume]:
    """Return one label map with lesions per host, by subject."""
    step = {
        "name": "lesions",
        "atlas": {"source": atlas, "role": role, "smallest_mm3": SMALLEST_MM3},
        "count": COUNT,
        "inside": ["white_matter"],
        "least_inside": 0.4,
        "volume_mm3": [SMALLEST_MM3 / 2, 30000.0],
    }
    build_conditions(
        ConditionSettings.model_validate({"chains": [{"steps": [step]}]}),
        hosts,
        folder=folder,
        scheme=SCHEME,
        n=len(hosts),
        seed=0,
        roles={},
        compute=resolve_compute(gpus=None, workers=0, scheduler=None),
    )
    found = {}
    for row in read_conditions(folder):
        subject = row.source_case_ids[0]
        found[subject] = read_label_map(folder / row.map, case_id=subject)
    return found


def painted(
    image: Volume, label_map: Volume, profiles: tuple[Profile, Profile], subject: str
) -> NDArray[np.float32]:
    """Return a host's image with its lesions painted in."""
    generator = numpy_generator(0, subject, "paint")
    share = generator.random()
    ratios = share * profiles[0].ratios + (1 - share) * profiles[1].ratios
    spread = share * profiles[0].spread + (1 - share) * profiles[1].spread
    lesion = label_map.array == NAMES["lesion"]
    white = float(np.median(image.array[label_map.array == NAMES["white_matter"]]))
    away = signed_distance_mm(lesion, label_map.spacing_mm)
    noise = generator.standard_normal(image.shape)
    noise = ndimage.gaussian_filter(noise, TEXTURE_MM / np.array(label_map.spacing_mm))
    texture = spread * white * noise / noise.std() * lesion
    result = image.array * np.interp(away, MIDDLES_MM, ratios) + texture
    return np.clip(result, 0.0, None).astype(np.float32)


def main() -> None:
    """Paint every subject of the splits beside the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    splits = json.loads((HERE / "../brain-mini/splits.json").read_text())
    values = pd.read_csv(HERE / "../brain-mini/tissue4.csv")
    first, second = (profile_of(patient) for patient in PATIENTS)
    atlas = atlas_of(out)
    with tempfile.TemporaryDirectory() as scratch:
        for role, chosen in (("train", ["train"]), ("held-out", ["validation", "test"])):
            hosts = []
            for subject in sorted(name for one in chosen for name in splits[one]):
                path = Path(scratch) / f"{subject}.nii.gz"
                write_label_map(path, tissues(subject, values))
                image = DATA / "ixi_t1w_2mm" / "t1" / f"{subject}_T1.nii.gz"
                hosts.append(Case(subject, subject, {"image": image}, path))
            maps = with_lesions(hosts, atlas, role, Path(scratch) / role)
            for host in hosts:
                image, label_map = read_image(host.image, case_id=host.case_id), maps[host.case_id]
                array = painted(image, label_map, (first, second), host.case_id)
                scaled = Volume(array / max(1.0, float(array.max())), image.affine)
                write_image(out / "images" / f"{host.case_id}.nii.gz", scaled)
                write_label_map(out / "labels" / f"{host.case_id}.nii.gz", label_map)
            print(f"{role}: {len(hosts)} heads painted", flush=True)
    about = {
        name: {"ratios": one.ratios.round(4).tolist(), "spread": round(one.spread, 4)}
        for name, one in zip(PATIENTS, (first, second), strict=True)
    }
    write_json(out / "simulation.json", {"edges_mm": EDGES_MM, "patients": about})


if __name__ == "__main__":
    main()
