"""A made-up work folder for the report's tests: real files in the layout that a run leaves."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vcmaug.cohort.card import CohortCard, SeenByCohort
from vcmaug.cohort.row import COLUMNS
from vcmaug.data.geometry import Grid
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import write_image, write_label_map
from vcmaug.data.volume import Volume
from vcmaug.files import write_bytes, write_json, write_text

SCHEME = LabelScheme.from_mapping({"anterior": 1, "posterior": 2})
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
TRAIN, VALIDATION, TEST = ("s0", "s1", "s2"), ("s3",), ("s4", "s5")


def make_work(folder: Path, *, side: int = 12, num_labelled: tuple[int, ...] = (2,)) -> Path:
    """Write a whole work folder with volumes of side^3 voxels; return it."""
    write_recipe(folder)
    write_cases(folder / "cases", side=side)
    splits = {"train": TRAIN, "validation": VALIDATION, "test": TEST, "seed": 0}
    write_json(folder / "splits.json", splits)
    card: dict[str, Any] = {"kind": "prior", "name": "tiny", "seen": {"images": TRAIN}}
    card |= {"num_parameters": {"autoencoder": 1000, "unet": 2000}, "weights_sha256": "ab" * 32}
    write_json(
        folder / "prior" / "card.json", card | {"licence": "CC-BY-SA-4.0", "data": "made up"}
    )
    for number in num_labelled:
        write_replicate(folder / "replicates" / f"n{number}-s0", number, side=side)
    write_study(folder / "study", num_labelled)
    return folder


def write_recipe(folder: Path, *, caveat: str = "A made-up <run>.") -> None:
    """Write recipe.json."""
    recipe = {"caveat": caveat, "data_note": "made up by a test", "simulated": "all"}
    about = {
        "format": 2,
        "name": "tiny",
        "title": "A tiny study",
        "profile": "smoke",
        "recipe": recipe,
    }
    write_json(folder / "recipe.json", about)


def write_pair(folder: Path, name: str, *, side: int, seed: int) -> dict[str, str]:
    """Write an image of two balls and its label map; return their relative paths."""
    generator = np.random.default_rng(seed)
    places = np.stack(np.indices((side, side, side)), axis=-1) / side  # [X, Y, Z, 3]
    label = np.zeros((side, side, side), dtype=np.uint16)
    for value, centre in ((1, (0.5, 0.65, 0.5)), (2, (0.5, 0.38, 0.5))):
        shifted = np.array(centre) + generator.normal(scale=0.02, size=3)
        label[((places - shifted) ** 2).sum(axis=-1) < 0.03] = value
    image = 0.2 + 0.3 * label + generator.normal(scale=0.04, size=label.shape)
    paths = {"image": f"images/{name}.nii.gz", "label": f"labels/{name}.nii.gz"}
    array = np.clip(image, 0, 1).astype(np.float32)
    write_image(folder / paths["image"], Volume(array, AFFINE))
    write_label_map(folder / paths["label"], Volume(label, AFFINE))
    return paths


def write_cases(folder: Path, *, side: int) -> None:
    """Write prepared cases."""
    subjects = TRAIN + VALIDATION + TEST
    rows = [
        {"case_id": f"k{n}", "subject_id": subject} | write_pair(folder, f"k{n}", side=side, seed=n)
        for n, subject in enumerate(subjects)
    ]
    write_text(folder / "cases.csv", pd.DataFrame(rows).to_csv(index=False))
    settings = {"grid": {"shape": [side] * 3, "spacing_mm": [2, 2, 2], "orientation": "RAS"}}
    about = {"settings": settings, "scheme": SCHEME.to_json(), "num_cases": len(rows)}
    write_json(folder / "prepare.json", about)


def write_replicate(folder: Path, num_labelled: int, *, side: int, n: int = 4) -> None:
    """Write control, conditions, cohort and evaluation; the last request has failed."""
    control: dict[str, Any] = {"kind": "control", "num_parameters": 500, "licence": "CC-BY-SA-4.0"}
    control |= {"seen": {"labels": TRAIN[:num_labelled]}, "weights_sha256": "cd" * 32}
    write_json(folder / "control" / "card.json", control)
    conditions = pd.DataFrame({"condition_id": [f"c{i:06d}" for i in range(n)]})
    write_bytes(folder / "conditions" / "conditions.parquet", conditions.to_parquet())
    rows = []
    for index in range(n):
        request = f"r{index:06d}"
        paths = write_pair(folder / "cohort", request, side=side, seed=100 + index)
        rows.append(manifest_row(request, index, failed=index == n - 1) | paths)
    manifest = pd.DataFrame(rows, columns=list(COLUMNS))
    write_bytes(folder / "cohort" / "manifest.parquet", manifest.to_parquet(index=False))
    cohort_card(n, side=side).write(folder / "cohort")
    write_quality(folder / "quality", [str(row["case_id"]) for row in rows[:-1]])


def manifest_row(request: str, index: int, *, failed: bool) -> dict[str, Any]:
    """Return a row of a manifest, without its paths."""
    row: dict[str, Any] = {"request_id": request, "index": index, "case_id": f"synthetic-{request}"}
    row |= {"status": "failed" if failed else "done", "reason": "NaN" if failed else ""}
    row |= {"condition_id": f"c{index:06d}", "source_case_ids": ["k0"], "builder": "perturb"}
    row |= {"sampler": "ddim", "strength": 1.0, "seconds": 1.5, "device": "cpu"}
    return row | {"image_sha256": "" if failed else "ef" * 32}


def write_quality(folder: Path, case_ids: list[str]) -> None:
    """Write an evaluation; later cases adhere better."""
    rows = [
        {"case_id": name, "source": "synthetic", "structure": structure, "dice": 0.5 + 0.1 * place}
        for place, name in enumerate(case_ids)
        for structure in SCHEME.names
    ]
    write_bytes(folder / "adherence.parquet", pd.DataFrame(rows).to_parquet(index=False))
    adherence = [
        {"source": source, "structure": structure, "dice": dice}
        for source, dice in (("synthetic", 0.6), ("real", 0.8))
        for structure in (*SCHEME.names, "mean")
    ]
    distances: list[dict[str, Any]] = [
        {"row": "real vs real", "frechet_distance": 1.25, "mmd_squared": 0.01},
        {"row": "synthetic vs real", "frechet_distance": 3.5, "mmd_squared": 0.2},
    ]
    shared = {"num_first": 2, "num_second": 2, "mmd_p_value": 0.4}
    quality: dict[str, Any] = {"kind": "quality", "adherence": adherence, "missing": []}
    memorisation = [
        {"row": "real hold-out", "num": 2, "num_each": 2, "share_nearer_to_train": 0.5},
        {"row": "synthetic", "num": 3, "num_each": 3, "share_nearer_to_train": 0.625},
    ]
    quality |= {"memorisation": memorisation}
    quality |= {"distances": [row | shared for row in distances], "reader": {"subjects": 3}}
    write_json(folder / "quality.json", quality)


def cohort_card(n: int, *, side: int) -> CohortCard:
    """Return the card of a cohort of n requests, of which one failed."""
    return CohortCard(
        n=n,
        counts={"done": n - 1, "failed": 1},
        scheme=SCHEME,
        grid=Grid(shape=(side, side, side), spacing_mm=(2.0, 2.0, 2.0)),
        seen=SeenByCohort(),
        num_redrawn=2,
        seconds={"sample": 2.5 * n, "write": 0.25 * n},
    )


def write_study(folder: Path, num_labelled: tuple[int, ...]) -> None:
    """Write a study whose cohort adds 0.02 to a Dice of 0.7."""
    shared = {"num_subjects": len(TEST), "num_seeds": 1}
    means: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for place, n in enumerate(num_labelled):
        for metric, base, gain in (("dice", 0.7 + 0.05 * place, 0.02), ("hd95_mm", 6.0, -0.5)):
            for arm, mean in (("real", base), ("real+synthetic", base + gain)):
                interval = {"mean": mean, "low": mean * 0.97, "high": mean * 1.02}
                interval |= {"per_seed": [mean]}
                about = {"metric": metric, "arm": arm, "num_labelled": n}
                means.append(about | interval | shared)
            about = {"metric": metric, "arm": "real+synthetic", "against": "real"}
            interval = {"mean": gain, "low": gain / 4, "high": gain * 2, "per_seed": [gain]}
            differences.append(about | {"num_labelled": n} | interval | shared)
    runs = [{"arm": a, "num_labelled": n} for n in num_labelled for a in ("real", "real+synthetic")]
    facts = {"seed": 0, "num_real": 2, "num_synthetic": 0}
    summary: dict[str, Any] = {"kind": "study", "means": means, "differences": differences}
    summary |= {"structures": list(SCHEME.names), "num_test_subjects": len(TEST), "updates": 40}
    summary |= {"num_labelled": list(num_labelled), "seeds": [0], "threads": 1}
    summary |= {"runs": [run | facts for run in runs]}
    summary |= {"empty_rule": "Both empty: Dice 1.", "versions": {"python": "3.11"}}
    summary |= {"interval": "95 % interval over subjects", "notes": ["Each had 1 thread."]}
    cost = {"seconds": 12.5, "augmentation_share": 0.25, "updates_per_second": [3.2] * len(runs)}
    write_json(folder / "cost.json", cost | {"machine": {"system": "Linux", "cores": 2}})
    write_json(folder / "summary.json", summary)
    scores = pd.DataFrame(
        [
            {**run, "case_id": f"k{place}", "structure": name, "dice": 0.7, "hd95_mm": 5.0}
            for run in runs
            for place in (4, 5)
            for name in SCHEME.names
        ]
    )
    write_bytes(folder / "scores.parquet", scores.to_parquet(index=False))
