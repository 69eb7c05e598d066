import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from vcmaug.cli.main import app, main

VERBS = [
    "prepare",
    "train-prior",
    "train-control",
    "build-conditions",
    "generate",
    "check",
    "evaluate",
    "downstream-eval",
    "report",
    "run",
    "info",
]


def vcmaug(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in this process and return what it said; a new one loads torch again."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["vcmaug", *words])
        for name, value in (env or {}).items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as ending:
            main()
    return subprocess.CompletedProcess(
        words, ending.value.code or 0, out.getvalue(), err.getvalue()
    )


def test_the_verbs_stand_in_the_order_of_the_flow() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100"}).output
    places = [shown.index(f" {verb} ") for verb in VERBS]
    assert places == sorted(places)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    result = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert f"Example: vcmaug {verb}" in result.output
    if verb not in {"info", "check"}:  # they read and change nothing
        assert "--dry-run" in result.output
        assert "--seed" in result.output
        assert "--out" in result.output


def test_gpus_that_are_not_there_name_workers(tmp_path: Path) -> None:
    result = vcmaug(
        "generate", "x.yaml", "--gpus", "4", env={"CUDA_VISIBLE_DEVICES": "", "PATH": str(tmp_path)}
    )
    assert result.returncode == 2
    assert "--workers" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_missing_recipe_is_one_line_and_exit_code_2() -> None:
    command = [sys.executable, "-m", "vcmaug.cli.main", "run", "nowhere.yaml"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "no such file" in result.stderr


def test_a_dry_run_prints_the_options_and_writes_nothing(tmp_path: Path) -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "demo" / "recipe.yaml"
    words = ("run", str(recipe), "--out", str(tmp_path / "w"), "--dry-run")
    result = vcmaug(*words)
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [line[0] for line in lines[1:4]] == ["cases", "splits", "prior"]
    assert "not measured yet on this machine" in result.stdout
    told = json.loads(vcmaug(*words, "--json").stdout)
    assert told["options"]["name"] == "demo"
    assert told["artefacts"][-1]["name"] == "report"
    assert not (tmp_path / "w").exists()


def test_prepare_brings_a_head_into_the_space_of_brainldm(tmp_path: Path) -> None:
    source = tmp_path / "source"
    head = np.zeros((60, 70, 50), dtype=np.float32)
    head[10:50, 10:60, 10:40] = np.random.default_rng(0).random((40, 50, 30)) * 900
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    (source / "images").mkdir(parents=True)
    nib.save(nib.Nifti1Image(head, affine), source / "images" / "a.nii.gz")
    result = vcmaug(
        "prepare", str(source), "--out", str(tmp_path / "cases"), "--grid", "brainldm",
        "--allow-unlabelled",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "Assumed for BrainLDM" in result.stdout
    made = nib.load(next((tmp_path / "cases" / "images").glob("a*")))
    assert made.shape == (160, 224, 160)
    assert nib.aff2axcodes(made.affine) == ("L", "A", "S")
    np.testing.assert_allclose(made.header.get_zooms(), 1.0)
    values = np.asarray(made.dataobj)
    assert values.min() == 0.0
    assert values.max() == pytest.approx(1.0, abs=1e-4)


def test_the_grid_of_brainldm_is_not_changed_by_other_options(tmp_path: Path) -> None:
    result = vcmaug(
        "prepare", str(tmp_path), "--out", str(tmp_path / "cases"), "--grid", "brainldm",
        "--allow-unlabelled", "--spacing", "1x1x1", "--padding", "edge",
    )  # fmt: skip
    assert result.returncode == 2
    assert "found --spacing, --padding beside it" in result.stderr
    assert not (tmp_path / "cases").exists()


def test_prepare_lists_every_fault_and_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "images").mkdir(parents=True)
    (source / "images" / "a.nii.gz").write_bytes(b"no nifti")
    (source / "images" / "b.nii.gz").write_bytes(b"\x1f\x8b\x08")
    result = vcmaug(
        "prepare", str(source), "--out", str(tmp_path / "w" / "cases"), "--structures", "x=1",
        "--grid", "8x8x8",
    )  # fmt: skip
    assert result.returncode == 2
    assert "4 faults" in result.stderr
    for case_id in ("a", "b"):
        assert f"case {case_id}, " in result.stderr
    assert not (tmp_path / "w").exists()


def _partly_labelled(source: Path) -> None:
    generator = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (source / folder).mkdir(parents=True)
    for number in range(8):
        name, shape = f"k{number}.nii.gz", (8, 8, 8)
        image = nib.Nifti1Image(generator.random(shape).astype(np.float32), np.eye(4))
        nib.save(image, source / "images" / name)
        if number < 3:
            label = nib.Nifti1Image(np.ones(shape, dtype=np.uint8), np.eye(4))
            nib.save(label, source / "labels" / name)


def test_prepare_splits_a_partly_labelled_set(tmp_path: Path) -> None:
    _partly_labelled(tmp_path / "source")
    words = ("prepare", str(tmp_path / "source"), "--structures", "x=1", "--grid", "8x8x8",
             "--allow-unlabelled", "--num-validation", "1")  # fmt: skip
    made = vcmaug(*words, "--num-test", "1", "--out", str(tmp_path / "w" / "cases"))
    assert made.returncode == 0, made.stderr
    splits = json.loads((tmp_path / "w" / "splits.json").read_text())
    assert {*splits["test"], *splits["validation"]} < {"k0", "k1", "k2"}
    assert len(splits["train"]) == 6
    refused = vcmaug(*words, "--num-test", "2", "--out", str(tmp_path / "v" / "cases"))
    assert refused.returncode == 2
    assert "splitting 8 subjects, 3 with a label map: 2 for the test and 1" in refused.stderr
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_split_that_cannot_be_is_one_of_the_faults_and_nothing_is_written(
    tmp_path: Path, more: tuple[str, ...]
) -> None:
    _partly_labelled(tmp_path / "source")
    os.link(tmp_path / "source" / "labels" / "k0.nii.gz", tmp_path / "source/labels/k9.nii.gz")
    result = vcmaug(
        "prepare", str(tmp_path / "source"), "--out", str(tmp_path / "w" / "cases"),
        "--structures", "x=1", "--grid", "8x8x8", "--allow-unlabelled", "--num-test", "3", *more,
    )  # fmt: skip
    assert result.returncode == 2
    assert "2 faults" in result.stderr
    assert "case k9, " in result.stderr
    assert "3 with a label map: 3 for the test and 0 for validation leave none" in result.stderr
    assert not (tmp_path / "w").exists()


def test_a_split_of_less_than_nobody_is_refused_first(tmp_path: Path) -> None:
    words = ("prepare", str(tmp_path), "--out", str(tmp_path / "w"), "--structures", "x=1")
    result = vcmaug(*words, "--grid", "8x8x8", "--num-test", "-1")
    assert result.returncode == 2
    assert "num_test: Input should be greater than or equal to 1 (found -1)" in result.stderr


def test_prepare_lists_the_faults_of_a_table_with_those_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"no nifti")
    table = tmp_path / "t.TSV"
    table.write_bytes("Case_ID;image;subject_id\nNA;a.nii.gz;p\nb;;\nc\n".encode("utf-16"))
    result = vcmaug(
        "prepare", str(table), "--out", str(tmp_path / "cases"), "--structures", "x=1",
        "--grid", "8x8x8", "--allow-unlabelled",
    )  # fmt: skip
    assert result.returncode == 2
    assert "4 faults" in result.stderr
    assert f"{table}, line 3: no image" in result.stderr
    assert f"{table}, line 3: no subject_id, and other cases have one" in result.stderr
    assert f"{table}, line 4: 1 cells, expected 3" in result.stderr
    assert f"case NA, {tmp_path / 'a.nii.gz'}" in result.stderr
    assert not (tmp_path / "cases").exists()


def test_a_page_in_place_of_weights_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    page = "<!DOCTYPE html><html>Virus scan warning</html>"
    (tmp_path / "autoencoder.pt").write_text(page)
    words = ("import-weights", "brainldm", "--out", str(tmp_path / "out"), "--bundle")
    result = vcmaug(*words, str(tmp_path))
    assert result.returncode == 2
    assert f"{tmp_path / 'models' / 'model.pt'}\n" in result.stderr
    (tmp_path / "model.pt").touch()
    result = vcmaug(*words, str(tmp_path))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert f"no checkpoint: it is a web page ({len(page)} bytes" in result.stderr
    assert not (tmp_path / "out").exists()


def test_info_as_json_can_be_read() -> None:
    facts = json.loads(vcmaug("info", "--json").stdout)
    assert facts["machine"]["cores"] >= 1
    assert "torch" in facts["versions"]


def test_info_counts_a_method_whose_name_has_a_hyphen() -> None:
    result = vcmaug("info", "--prior", "brainldm", "--control", "vcm-released", "--json")
    control = json.loads(result.stdout)["control"]
    assert control["name"] == "vcm_released"
    assert control["num_parameters"]["stored_in_the_release"] == 45_220_134
    ours = json.loads(vcmaug("info", "--prior", "brainldm", "--control", "vcm", "--json").stdout)
    assert list(ours["control"]["num_parameters"]) == ["used"]  # nobody released this one


def test_what_keeps_a_verb_from_its_work_is_said_first(tmp_path: Path) -> None:
    recipe, source = tmp_path / "recipe.yaml", tmp_path / "source"
    source.mkdir()
    grid = {"shape": [16, 16, 16]}
    content = {
        "name": "x",
        "data": {"source": str(source), "scheme": {"a": 1}, "grid": grid},
        "splits": {"num_test": 1},
        "prior": {"spec": {"name": "x", "grid": grid}},
    }
    recipe.write_text(yaml.safe_dump(content))
    result = vcmaug("train-prior", str(recipe), "--out", str(tmp_path / "w"))
    assert result.returncode == 2
    assert f"data.source: {source}: no case found in this folder; expected" in result.stderr
    assert not (tmp_path / "w" / "cases").exists()
