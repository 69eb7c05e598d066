"""Parts of another pip package: the one that docs/extend.md shows, through a whole recipe.

The package is installed as the page has it, every file and every setting, in a temporary folder; no
file of vcmaug knows it.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from tiny import AFFINE, label_map_of

from vcmaug.config import merged
from vcmaug.data.nifti import read_image, write_image, write_label_map
from vcmaug.data.volume import Volume
from vcmaug.files import read_json

ROOT = Path(__file__).parents[1]
REPLICATE = "replicates/n2-s0"
PAGE = (ROOT / "docs" / "extend.md").read_text()


def blocks(language: str) -> list[str]:
    """Return the code blocks of the page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


def install(folder: Path, modules: dict[str, str], project: dict[str, Any]) -> None:
    """Write a package and its metadata as pip would have left them."""
    for name, text in modules.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    name, version = project["name"], project["version"]
    about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        line
        for group, entries in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()))
    ]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")


def vcmaug(*words: object, packages: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a Python of its own that finds the package."""
    paths = [str(packages), str(ROOT)]
    return subprocess.run(
        [sys.executable, "-m", "vcmaug.cli.main", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=280,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
    )


def write_source(folder: Path) -> Path:
    """Write balls in the layout of the page's reader."""
    for number in range(9):
        label = label_map_of(radius=4.5 + 0.2 * number, core=2.2 + 0.05 * number)
        noise = np.random.default_rng(number).random(label.shape) * 0.2
        image = (0.35 * label.array + noise).astype(np.float32)
        write_image(folder / f"b{number}.img.nii.gz", Volume(image, AFFINE))
        write_label_map(folder / f"b{number}.seg.nii.gz", label)
    return folder


def recipe(source: Path) -> dict[str, Any]:
    """Return a tiny recipe with the settings of the page laid over it."""
    grid = {"shape": [16, 16, 16], "spacing_mm": [2, 2, 2]}
    few = {"updates": 3, "batch_size": 2}
    content: dict[str, Any] = {
        "name": "extended",
        "data": {"source": str(source), "scheme": {"shell": 1, "core": 2}, "grid": grid},
        "splits": {"num_test": 2, "num_validation": 2},
        "prior": {
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
            },
            "training": {"autoencoder": few, "diffusion": {**few, "deformed_copies": 0}},
        },
        "control": {"training": {**few, "deformed_copies": 0}},
        "conditions": {"n": 3, "chains": ["perturb"]},
        "generate": {"n": 3, "micro_batch_size": 3},
        "evaluator": {"updates": 2},
        "study": {
            "num_labelled": [2],
            "seeds": [0],
            "augment": {"versions": 1},
            "fit": few,
        },
    }
    for text in blocks("yaml"):
        content = merged(content, yaml.safe_load(text))
    return content


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the package of the page is installed."""
    folder = tmp_path_factory.mktemp("packages")
    modules = {text.split("\n", 1)[0].removeprefix("# "): text for text in blocks("python")}
    install(folder, modules, tomllib.loads(blocks("toml")[0])["project"])
    return folder


@pytest.fixture(scope="module")
def work(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe of the page, run from cases to report."""
    folder = tmp_path_factory.mktemp("extended")
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe(write_source(folder / "source"))))
    ended = vcmaug("run", path, "--out", folder / "work", "--workers", 0, packages=packages)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder / "work"


def test_no_file_of_the_toolkit_knows_the_package(packages: Path) -> None:
    names = {
        name for text in blocks("python") for name in re.findall(r'name: Literal\["(.*?)"', text)
    }
    assert len(names) == 10  # one of each family
    for path in (ROOT / "vcmaug").rglob("*.py"):
        assert not any(f'"{name}"' in path.read_text() for name in names), path


def test_cases_were_read_and_conditions_built(work: Path) -> None:
    assert {
        row["case_id"] for row in pd.read_csv(work / "cases" / "cases.csv").to_dict("records")
    } == {f"b{number}" for number in range(9)}
    table = pd.read_parquet(work / REPLICATE / "conditions" / "conditions.parquet")
    assert set(table["builder"]) == {"roll+lowres+modalities"}


def test_control_and_sampler_drew_the_cohort(work: Path) -> None:
    card = read_json((work / REPLICATE) / "control" / "card.json")
    assert "pooled-mix" in json.dumps(card)
    manifest = pd.read_parquet(work / REPLICATE / "cohort" / "manifest.parquet")
    assert list(manifest["status"]) == ["done"] * 3
    assert set(manifest["sampler"]) == {"renoise"}
    assert set(manifest["prior_kind"]) == {"quarter-circle"}


def test_images_followed_the_builder(work: Path) -> None:
    folder = (work / REPLICATE) / "deformed"
    row = pd.read_parquet(folder / "manifest.parquet").to_dict("records")[0]
    source = work / "cases" / "images" / f"{row['source_case_ids'][0]}.nii.gz"
    by = row["parameters"][0]["parameters"]["roll"]["by"]
    real, moved = (read_image(path, case_id="x").array for path in (source, folder / row["image"]))
    np.testing.assert_allclose(moved, np.roll(real, by, axis=0), atol=1e-4)


def test_the_study_trained_and_scored_as_the_parts_say(work: Path) -> None:
    summary = read_json(work / "study" / "summary.json")
    assert [run["arm"] for run in summary["runs"]] == [
        "real",
        "real+synthetic",
        "real+deformed",
        "real+darker",
    ]
    assert summary["task"] == "any-structure"
    assert {row["metric"] for row in summary["means"]} == {"iou"}
    quality = read_json((work / REPLICATE) / "quality" / "quality.json")
    assert {row["row"] for row in quality["brightness"]} == {"synthetic", "real"}
    page = (work / "report.html").read_text()
    assert "Brightness (near 0.5 is better). It sees nothing but the mean." in page
    assert "#aa3377" in page  # the arm's colour
    assert "Jaccard index" in page


def test_the_cohort_is_exported(packages: Path, work: Path, tmp_path: Path) -> None:
    words = ("export", work / REPLICATE / "cohort", "--to", "file_list", "--set", "delimiter=;")
    out = tmp_path / "list.csv"
    ended = vcmaug(*words, "--out", out, packages=packages)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = [line.split(";") for line in out.read_text().splitlines()]
    assert [len(row) for row in rows] == [3, 3, 3]
    assert all(Path(path).exists() for row in rows for path in row[1:])


def test_an_evaluation_says_what_the_metric_measured(packages: Path, work: Path) -> None:
    ended = vcmaug("evaluate", work / REPLICATE / "cohort", packages=packages)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "adherence, synthetic, any-structure: Dice" in ended.stdout
    assert "synthetic: Brightness 0." in ended.stdout


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("renoise", "renoize", "unknown sampler 'renoize'; did you mean 'renoise'?"),
        ("most:", "moost:", "moost: unknown name; did you mean 'most'?"),
    ],
)
def test_what_is_misspelt_of_the_package_is_answered_with_the_nearest(
    packages: Path, tmp_path: Path, right: str, wrong: str, said: str
) -> None:
    text = yaml.safe_dump(recipe(tmp_path))
    assert right in text
    path = tmp_path / "recipe.yaml"
    path.write_text(text.replace(right, wrong))
    ended = vcmaug("run", path, "--dry-run", packages=packages)
    assert ended.returncode == 2
    assert said in ended.stderr


def test_a_package_that_cannot_be_imported_is_one_error(tmp_path: Path) -> None:
    group = {"vcmaug.parts": {"broken": "broken_parts"}}
    project = {"name": "broken-parts", "version": "2.1", "entry-points": group}
    install(tmp_path, {"broken_parts.py": "raise OSError('no licence')\n"}, project)
    path = tmp_path / "recipe.yaml"
    path.write_text("generate: {sampler: mine}\n")
    ended = vcmaug("run", path, "--dry-run", packages=tmp_path)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "the parts of broken-parts 2.1 (entry point 'broken' in vcmaug.parts" in ended.stderr
    assert "OSError: no licence" in ended.stderr


def test_the_schema_of_recipes_lists_the_parts_of_the_package(packages: Path) -> None:
    ended = vcmaug("schema", packages=packages)
    assert ended.returncode == 0, ended.stderr
    schema = json.dumps(json.loads(ended.stdout))
    families = {"pairs", "roll", "pooled-mix", "renoise", "real+darker", "brightness", "one-layer"}
    families |= {"quarter-circle"}
    assert all(f'"const": "{name}"' in schema for name in families | {"any-structure"})
