"""Write the pictures of docs/conditions.md: each builder on real label maps.

VCMAUG_DATA=FOLDER python docs/make_conditions.py

Reads ixi_t1w_2mm (hosts), ms_lesions_lit and soop_lesion_masks (atlases) in that folder.
"""

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vcmaug.compute import resolve_compute
from vcmaug.conditions.build import build_conditions
from vcmaug.conditions.chain import ConditionSettings
from vcmaug.data.cases import Case
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import read_image, write_image
from vcmaug.data.volume import Volume
from vcmaug.report.conditions import write_gallery

DATA = Path(os.environ["VCMAUG_DATA"])
OUT = Path(__file__).parent / "conditions"
SCHEME = LabelScheme.from_mapping(
    {
        "csf": 1,
        "grey_matter": 2,
        "white_matter": 3,
        "ventricles": 4,
        "deep_grey": 5,
        "hippocampus": 6,
        "cerebellum": 7,
        "brainstem": 8,
        "lesion": 9,
    }
)
SCHEME = LabelScheme((*SCHEME.structures[:-1], replace(SCHEME.structures[-1], colour="#ff2222")))
TISSUE = ["white_matter", "grey_matter", "deep_grey"]
MS = {
    "source": DATA / "ms_lesions_lit" / "masks",
    "template": DATA / "ms_lesions_lit" / "images" / "patient07_t1.nii.gz",
    "smallest_mm3": 40,
}
STROKE = {"source": DATA / "soop_lesion_masks" / "masks", "smallest_mm3": 2000}
PICTURES: dict[str, list[dict[str, Any]]] = {
    "perturb": [{"name": "perturb", "min_displacement_mm": 4, "max_displacement_mm": 6}],
    "resize": [
        {
            "name": "perturb",
            "max_displacement_mm": 0,
            "resize": {"ventricles": {"change": 0.8, "side": "left"}},
        }
    ],
    "grow": [{"name": "grow", "structures": [{"structure": "ventricles", "each_ml": [90]}]}],
    "shape_model": [
        {"name": "shape_model", "structures": ["ventricles", "deep_grey", "hippocampus"]}
    ],
    "lesions_registered": [
        {
            "name": "lesions",
            "atlas": MS,
            "placement": "registered",
            "inside": TISSUE[:1],
            "off": ["ventricles"],
            "least_inside": 0.5,
        }
    ],
    "lesions_sampled": [
        {
            "name": "lesions",
            "atlas": STROKE,
            "count": [1, 1],
            "inside": TISSUE,
            "mass_effect": 0.3,
        }
    ],
    "partial": [
        {"name": "perturb", "max_displacement_mm": 3},
        {
            "name": "modalities",
            "channels": ["label_map", "image"],
            "partial": {"image": {"remove": ["ventricles", "deep_grey", "hippocampus"]}},
        },
    ],
    "lowres": [{"name": "lowres", "spacing_mm": 8, "axis": "z", "back": "nearest"}],
}


def cases(scratch: Path) -> list[Case]:
    """Return the first twelve subjects, their images scaled to [0, 1] in a scratch folder."""
    folder = DATA / "ixi_t1w_2mm"
    maps = sorted((folder / "tissue8").glob("*.nii.gz"))[:12]
    found = []
    for path in maps:
        subject = path.name.split("_")[0].removesuffix(".nii.gz")
        image = read_image(next((folder / "t1").glob(f"{subject}*")), case_id=subject)
        bright = float(np.percentile(image.array, 99.9))
        scaled = scratch / f"{subject}.nii.gz"
        write_image(scaled, Volume(image.array / bright, image.affine))
        found.append(Case(subject, subject, {"image": scaled}, path))
    return found


def main() -> None:
    """Read the hosts and draw the pictures."""
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        draw(cases(Path(scratch)))


def draw(hosts: list[Case]) -> None:
    """Build and draw."""
    for name, steps in PICTURES.items():
        with tempfile.TemporaryDirectory() as folder:
            build_conditions(
                ConditionSettings(chains=[{"steps": steps}]),
                hosts if name == "shape_model" else hosts[:2],
                folder=Path(folder),
                scheme=SCHEME,
                n=2,
                seed=1,
                roles={},
                compute=resolve_compute(gpus=None, workers=0, scheduler=None),
            )
            shutil.copyfile(write_gallery(Path(folder)), OUT / f"{name}.png")
            print(f"{name}: done", flush=True)


if __name__ == "__main__":
    main()
