from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny import AFFINE, label_map_of

from vcmaug.data.nifti import write_image, write_label_map
from vcmaug.data.volume import Volume

PERTURB = {"name": "perturb", "max_displacement_mm": 2, "smoothness_mm": 8}

POOL = {
    "data": {"source": "partly", "require_labels": False},
    "prior": {
        "spec": {"autoencoder": {"shortcut": True}},
        "training": {"texture": True, "diffusion": {"deformed_copies": 1}},
    },
    "conditions": {
        "n": 6,
        "chains": [
            {"steps": [{"name": "perturb"}]},
            {"steps": [{"name": "shape_model"}]},
        ],
    },
    "study": {
        "num_labelled": [3],
        "seeds": [0],
        "arms": [
            "real",
            "real+synthetic",
            "real+synthetic+pool",
            "real+deformed",
            "self-training",
            "all-real",
        ],
    },
    "gates": {
        "num_labelled": 4,
        "num_samples": 24,
        "sampler": {"steps": 3},
        "realism": {"channels": [4], "updates": 2},
    },
}
"""Every arm, both builders, the shortcut, the texture, and the gates, on partly labelled data."""


def write_source(folder: Path, *, num: int = 12, unlabelled: int = 0) -> Path:
    """Write a plain folder of balls of several sizes, labelled ones (b) and others (a)."""
    for number in range(num + unlabelled):
        name = f"{'b' if number < num else 'a'}{number:02d}.nii.gz"
        label = label_map_of(radius=4.5 + 0.15 * number, core=2.2 + 0.05 * number)
        noise = np.random.default_rng(number).random(label.shape) * 0.2
        image = (0.35 * label.array + noise).astype(np.float32)
        write_image(folder / "images" / name, Volume(image, AFFINE))
        if number < num:
            write_label_map(folder / "labels" / name, label)
    return folder


def tiny_recipe(source: Path) -> dict[str, object]:
    """Return a recipe whose every stage takes seconds."""
    grid = {"shape": [16, 16, 16], "spacing_mm": [2, 2, 2]}
    updates = {"updates": 6, "batch_size": 2}
    return {
        "name": "tiny",
        "title": "Tiny balls",
        "data_note": "made by the tests",
        "data": {"source": str(source), "scheme": {"shell": 1, "core": 2}, "grid": grid},
        "splits": {"num_test": 3, "num_validation": 2},
        "prior": {
            "licence": "CC0-1.0",
            "spec": {
                "name": "tiny",
                "grid": grid,
                "autoencoder": {"channels": [4, 8], "latent_channels": 2, "norm_num_groups": 4},
                "diffusion": {
                    "channels": [8, 16],
                    "num_res_blocks": 1,
                    "num_head_channels": 8,
                    "norm_num_groups": 4,
                },
                "scalars": [{"name": "core", "low": 0, "high": 4000, "structures": ["core"]}],
            },
            "training": {"autoencoder": updates, "diffusion": {**updates, "deformed_copies": 0}},
        },
        "control": {
            "network": {
                "name": "vcm",
                "encoder_channels": [4, 8],
                "channels": [8, 16],
                "num_res_blocks": 1,
                "num_head_channels": 8,
                "hidden_channels": 8,
                "norm_num_groups": 4,
            },
            "training": {**updates, "deformed_copies": 1},
        },
        "conditions": {"n": 4, "chains": [{"steps": [PERTURB]}]},
        "generate": {"n": 5, "sampler": {"steps": 3}, "micro_batch_size": 2},
        "evaluator": {"updates": 4},
        "study": {
            "num_labelled": [2],
            "seeds": [0, 1],
            "segmenter": {"name": "unet", "channels": [8, 16], "num_res_units": 0},
            "augment": {"versions": 2},
            "fit": {"updates": 4, "batch_size": 2},
        },
        "profiles": {"smaller": {"study": {"seeds": [0]}}, "pool": POOL},
    }


@pytest.fixture(scope="session")
def recipe_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe file beside its data."""
    folder = tmp_path_factory.mktemp("recipe")
    content = tiny_recipe(write_source(folder / "source"))
    write_source(folder / "partly", unlabelled=20)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
