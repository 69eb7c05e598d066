import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
import yaml
from made_up_study import rewrite_manifest
from making import make, prepare
from typer.testing import CliRunner

from vcmaug.cli.main import app
from vcmaug.cohort.check import check_cohort
from vcmaug.cohort.cohort import Cohort
from vcmaug.cohort.manifest import read_manifest, read_rows
from vcmaug.control.card import ControlCard
from vcmaug.data.nifti import read_image, read_label_map, write_image
from vcmaug.data.splits import labelled_subset
from vcmaug.data.volume import Volume, same_grid
from vcmaug.errors import LeakError, RecipeError, WorkFolderError
from vcmaug.files import locked, read_json, sha256_of_file, write_json
from vcmaug.ldm.card import PriorCard, read_card
from vcmaug.pipeline.artefacts.segmenters import evaluator_subjects
from vcmaug.pipeline.graph import Graph
from vcmaug.pipeline.recipe import ControlRecipe, read_recipe
from vcmaug.pipeline.work import Work, claim_work


@pytest.fixture(scope="module")
def finished(recipe_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """A work folder through all stages."""
    work = _work(recipe_path, tmp_path_factory.mktemp("work") / "tiny")
    make(Graph(work).report)
    return work


def _work(recipe_path: Path, folder: Path, profile: str | None = None) -> Work:
    return claim_work(folder, read_recipe(recipe_path, profile=profile), profile=profile)


def test_the_whole_way_leaves_a_report_and_a_study(finished: Work) -> None:
    assert (finished.folder / "report.html").read_text().startswith("<!doctype html>")
    summary = read_json(finished.study / "summary.json")
    arms = {row["arm"] for row in summary["means"]}
    assert arms == {"real", "real-again", "real+synthetic"}
    assert [run["num_synthetic"] for run in summary["runs"]] == [0, 0, 5] * 2
    assert [run["num_real"] for run in summary["runs"]] == [2] * 6
    scores = pd.read_parquet(finished.study / "scores.parquet")
    assert len(scores) == 6 * 3 * 2  # runs, test subjects, structures


def test_a_study_on_measured_scalars_says_whose_labels_it_has(finished: Work) -> None:
    seen = read_json(finished.prior / "card.json")["seen"]
    assert seen["labels"] == seen["label_scalars"] == seen["images"]
    (told,) = read_json(finished.study / "summary.json")["prior_labels"]
    assert (told["arm"], told["scalars"]) == ("real+synthetic", ["core"])
    assert told["num_subjects"] == told["num_of_study"] > 0
    assert "reads core, measured on label maps of" in (finished.folder / "report.html").read_text()


def test_label_honesty_every_label_is_the_map_that_was_asked_for(finished: Work) -> None:
    replicate = finished.replicates[0]
    assert check_cohort(replicate.cohort) == []
    manifest = pd.read_parquet(replicate.cohort / "manifest.parquet")
    for row in manifest.to_dict("records"):
        name = str(row["case_id"])
        label = read_label_map(replicate.cohort / row["label"], case_id=name)
        image = read_image(replicate.cohort / row["image"], case_id=name)
        asked_path = replicate.conditions / "maps" / f"{row['condition_id']}.nii.gz"
        asked = read_label_map(asked_path, case_id=name)
        assert np.array_equal(label.array, asked.array)
        assert same_grid(image, label)
        assert same_grid(asked, label)


def test_no_leak_test_subjects_reach_nothing(finished: Work) -> None:
    splits = read_json(finished.splits)
    held_out = set(splits["test"]) | set(splits["validation"])
    assert not held_out & set(read_card(finished.prior, PriorCard).seen.subjects)
    for replicate in finished.replicates:
        assert not held_out & Cohort.open(replicate.cohort).card.seen.subjects
        control = read_card(replicate.control, ControlCard)
        assert len(control.seen.labels) == replicate.num_labelled
    evaluator = read_json(finished.evaluator / "card.json")
    used = {s for r in finished.replicates for s in _labelled(r.control)}
    assert not (held_out | used) & {case.split("_")[0] for case in evaluator["cases"]}


def test_no_stage_hashes_a_prepared_file_again(
    finished: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    read = sha256_of_file
    prepared = {path.name for path in (folder / "cases" / "images").iterdir()}

    def refusing(path: Path) -> str:
        assert path.name not in prepared, path
        return read(path)

    for room in ("data.case", "pipeline.artefacts.cases", "conditions.build"):
        monkeypatch.setattr(f"vcmaug.{room}.sha256_of_file", refusing)
    work = Work(folder, finished.recipe)
    conditions = finished.recipe.conditions.model_copy(update={"n": 3})
    other = Work(folder, finished.recipe.model_copy(update={"conditions": conditions}))
    assert not make(Graph(work).prior)
    assert make(Graph(other).conditions(other.replicates[0]))
    work.summary.unlink()
    assert make(Graph(work).study)


def test_splits_are_written_once_and_must_fit_the_recipe(
    finished: Work, recipe_path: Path, tmp_path: Path
) -> None:
    work = _work(recipe_path, tmp_path / "w")
    assert Graph(work).splits.state().what == "missing"
    source = finished.recipe.data.source
    words = ["prepare", source, "--out", str(work.cases), "--structures", "shell=1,core=2"]
    words += ["--grid", "16x16x16", "--spacing", "2x2x2", "--num-test", "3"]
    assert CliRunner().invoke(app, words).exit_code == 0
    with pytest.raises(WorkFolderError, match=r"num_validation is 2 in the recipe and 0 in the"):
        prepare(work)
    assert CliRunner().invoke(app, [*words, "--num-validation", "2"]).exit_code == 0
    before = work.splits.read_bytes()
    assert before == finished.splits.read_bytes()
    prepare(work)
    assert Graph(work).splits.load().seed == 0
    assert work.splits.read_bytes() == before
    result = CliRunner().invoke(app, [*words, "--num-validation", "2", "--seed", "1"])
    assert result.exit_code == 0
    with pytest.raises(WorkFolderError, match=r"splits.seed is 0 in the recipe and 1 in the file"):
        prepare(work)
    work.splits.write_bytes(before)
    prepare(work)
    splits = read_json(work.splits)
    write_json(work.splits, splits | {"train": splits["train"][1:]})
    assert not prepare(work)  # it was looked at when it was new
    (work.stages / "splits.json").unlink()
    with pytest.raises(RecipeError, match=r"(?s)in no split.*written for other cases: move"):
        prepare(work)


def test_cases_are_prepared_again_where_a_file_that_is_read_changed(
    recipe_path: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(recipe_path.parent / "source", source)
    recipe = read_recipe(recipe_path)
    data = recipe.data.model_copy(update={"source": str(source)})
    work = claim_work(tmp_path / "w", recipe.model_copy(update={"data": data}), profile=None)
    assert prepare(work)
    (source / "notes.txt").write_text("nobody reads this")
    assert not prepare(work)
    (source / "labels" / "b00.nii.gz").touch()
    assert not prepare(work)  # another time, the same content
    shutil.copyfile(source / "labels" / "b01.nii.gz", source / "labels" / "b00.nii.gz")
    assert prepare(work)


@pytest.mark.parametrize("place", ["w/cases", "w", "w/replicates/x", "."])
def test_a_source_in_the_work_folder_is_refused(
    recipe_path: Path, tmp_path: Path, place: str
) -> None:
    source = tmp_path / place
    shutil.copytree(recipe_path.parent / "source", source, dirs_exist_ok=True)
    before = set(tmp_path.rglob("*"))
    recipe = read_recipe(recipe_path)
    data = recipe.data.model_copy(update={"source": str(source)})
    with pytest.raises(WorkFolderError, match=r"using work folder .*: the output .* which is read"):
        claim_work(tmp_path / "w", recipe.model_copy(update={"data": data}), profile=None)
    assert set(tmp_path.rglob("*")) == before


def test_two_runs_do_not_make_the_same_artefact(recipe_path: Path, tmp_path: Path) -> None:
    work = _work(recipe_path, tmp_path / "w")
    with (
        locked(work.stages, purpose="making cases", name=".cases.lock"),
        pytest.raises(WorkFolderError, match=r"in use by process \d+ \(making cases\)"),
    ):
        prepare(work)
    assert not work.cases.exists()
    assert prepare(work)


def test_a_named_evaluator_sees_its_own_subjects_alone(finished: Work) -> None:
    """The splits may name them; who is labelled all the same is taken from them."""
    splits = Graph(finished).splits.load()
    free = evaluator_subjects(finished, splits)
    used = sorted(set(splits.train) - set(free))
    assert evaluator_subjects(finished, replace(splits, evaluator=free[:2])) == free[:2]
    assert evaluator_subjects(finished, replace(splits, evaluator=splits.train)) == free
    named = replace(splits, evaluator=(*free, *used[1:]))
    for seed in range(3):
        assert labelled_subset(named, num_labelled=1, seed=seed) == (used[0],)


def _labelled(control: Path) -> list[str]:
    return list(read_card(control, ControlCard).seen.labels)


def test_a_second_run_keeps_every_stage(finished: Work) -> None:
    said: dict[str, bool] = {}
    before = {p: p.stat().st_mtime_ns for p in finished.folder.glob("replicates/*/cohort/*/*")}
    make(Graph(finished).report, say=said.__setitem__)
    assert [name for name, ran in said.items() if ran] == []
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_a_finished_training_begins_anew_when_asked_and_ends_alike(
    finished: Work, recipe_path: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    weights = next(folder.glob("replicates/n2-s0/control/control.safetensors"))
    before, time = weights.read_bytes(), weights.stat().st_mtime_ns
    words = ("train-control", str(recipe_path), "--out", str(folder), "--resume")
    for how, again in (("latest", False), ("never", True)):
        result = CliRunner().invoke(app, [*words, how])
        assert result.exit_code == 0, result.output
        assert (weights.stat().st_mtime_ns != time) == again
    assert weights.read_bytes() == before


def test_checkpoints_of_a_training_that_runs_are_not_deleted(
    recipe_path: Path, tmp_path: Path
) -> None:
    work = _work(recipe_path, tmp_path / "w")
    checkpoint = work.prior / ".checkpoints" / "autoencoder.pt"
    write_json(checkpoint, "half of it")
    words = ["train-prior", str(recipe_path), "--out", str(work.folder), "--resume", "never"]
    with (
        locked(work.prior, purpose="training a prior"),
        pytest.raises(WorkFolderError, match=r"in use by process \d+ \(training a prior\)"),
    ):
        CliRunner().invoke(app, words, catch_exceptions=False)
    assert checkpoint.exists()


def test_a_changed_setting_redoes_what_depends_on_it_and_loses_nothing(
    finished: Work, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    recipe = finished.recipe
    changed = recipe.generate.model_copy(update={"n": 4})
    study = recipe.study.model_copy(update={"seeds": (0,)})
    work = Work(folder, recipe.model_copy(update={"generate": changed, "study": study}))
    said: dict[str, bool] = {}
    make(Graph(work).report, say=said.__setitem__)
    redone = {name for name, ran in said.items() if ran}
    assert redone == {"cohort-n2-s0", "evaluator", "quality-n2-s0", "study", "report"}
    assert len(pd.read_parquet(work.replicates[0].cohort / "manifest.parquet")) == 4
    aside = list((folder / ".stale").glob("cohort-n2-s0-*/manifest.parquet"))
    assert [len(pd.read_parquet(path)) for path in aside] == [5]
    before = {path.name: path.stat().st_mtime_ns for path in aside[0].parent.glob("images/*")}
    work = Work(folder, recipe)
    make(Graph(work).cohort(work.replicates[0]))
    found = work.replicates[0].cohort.glob("images/*")  # what was set aside comes back
    assert {path.name: path.stat().st_mtime_ns for path in found} == before


def test_another_control_by_its_name_runs_through_generate_and_evaluate(
    finished: Work, tmp_path: Path
) -> None:
    """With pictures on the way, which change nothing of the weights."""
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    control = ControlRecipe.model_validate("t2i_adapter")
    training = finished.recipe.control.training
    replicate = Work(folder, finished.recipe).replicates[0]
    weights = set()
    for look_every in (3, 0):
        asked = control.model_copy(update={"training": training, "look_every": look_every})
        work = Work(folder, finished.recipe.model_copy(update={"control": asked}))
        assert make(Graph(work).control(replicate))
        weights.add((replicate.control / "control.safetensors").read_bytes())
        pictures = sorted(path.name for path in (replicate.control / "training").glob("*.png"))
        assert pictures == ["update-000003.png", "update-000006.png"]
        (folder / "stages" / f"control-{replicate.name}.json").unlink()
        shutil.rmtree(replicate.control / ".checkpoints")
    assert len(weights) == 1
    make(Graph(work).evaluation(replicate))
    assert read_json(replicate.control / "card.json")["name"] == "t2i_adapter"
    rows = read_json(replicate.quality / "quality.json")["adherence"]
    assert {row["source"] for row in rows} >= {"synthetic", "real"}
    assert set(read_manifest(replicate.cohort)["status"]) == {"done"}


def test_conditions_are_built_again_where_an_image_or_a_scalar_changed(
    finished: Work, recipe_path: Path, tmp_path: Path
) -> None:
    folder, source = tmp_path / "copy", tmp_path / "source"
    shutil.copytree(finished.folder, folder)
    shutil.copytree(recipe_path.parent / "source", source)
    work = Work(folder, finished.recipe).changed(data={"source": str(source)})
    replicate = work.replicates[0]
    assert not make(Graph(work).conditions(replicate))  # the same names, sizes and times
    for path in (source / "images").iterdir():
        image = read_image(path, case_id=path.name)
        write_image(path, Volume(0.5 * image.array, image.affine))
    assert make(Graph(work).conditions(replicate))
    assert not make(Graph(work).conditions(replicate))
    spec = finished.recipe.prior.spec_to_train
    other = work.changed(prior={"spec": spec.model_copy(update={"scalars": ()})})
    assert make(Graph(other).conditions(replicate))


@pytest.mark.parametrize(
    "method", [name for name in tiny.SMALL if name not in ("vcm", "t2i_adapter")]
)
def test_every_method_runs_through_generate_and_evaluate(
    finished: Work, tmp_path: Path, method: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    control = ControlRecipe.model_validate(
        {
            "network": {"name": method, **tiny.SMALL[method]},
            "training": finished.recipe.control.training,
        }
    )
    work = Work(folder, finished.recipe.model_copy(update={"control": control}))
    replicate = work.replicates[0]
    make(Graph(work).evaluation(replicate))
    assert read_json(replicate.control / "card.json")["name"] == method
    assert set(read_manifest(replicate.cohort)["status"]) == {"done"}
    rows = read_json(replicate.quality / "quality.json")["adherence"]
    assert {row["source"] for row in rows} >= {"synthetic", "real"}


@pytest.mark.parametrize("role", ["prior", "control", "conditions"])
def test_a_cohort_that_has_seen_a_test_subject_is_refused(
    finished: Work, tmp_path: Path, role: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    work = Work(folder, finished.recipe)
    shutil.rmtree(work.study)
    subject = read_json(work.splits)["test"][0]
    path = work.replicates[0].cohort / "cohort.json"
    card = read_json(path)
    card["seen"][role]["images"].append(subject)
    write_json(path, card)
    with pytest.raises(LeakError, match=f"subject {subject} of test or validation .* {role}"):
        make(Graph(work).study)
    assert not work.study.exists()


def test_a_manifest_row_made_from_a_test_subject_is_refused(finished: Work, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    work = Work(folder, finished.recipe)
    shutil.rmtree(work.study)
    cohort = work.replicates[0].cohort
    first, *others = read_rows(cohort)
    leaked = replace(first, source_subject_ids=(read_json(work.splits)["test"][0],))
    rewrite_manifest(cohort, [leaked, *others])
    with pytest.raises(LeakError, match="was seen by the conditions"):
        make(Graph(work).study)


def test_a_folder_of_another_recipe_or_profile_is_refused(
    finished: Work, recipe_path: Path, tmp_path: Path
) -> None:
    with pytest.raises(WorkFolderError, match="belongs to recipe 'tiny', profile 'none'"):
        _work(recipe_path, finished.folder, profile="smaller")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(WorkFolderError, match=r"holds thesis\.txt"):
        _work(recipe_path, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_misspelt_methods_are_answered_with_the_nearest(recipe_path: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(recipe_path.read_text())
    content["control"] = "control-net"
    content["conditions"]["chains"][0]["steps"][0]["name"] = "perturbs"
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert {
        line.split(":", 1)[1] for line in str(caught.value).splitlines() if "unknown" in line
    } == {
        " unknown control 'control-net'; did you mean 'controlnet'?",
        " unknown builder 'perturbs'; did you mean 'perturb'?",
    }


def test_all_faults_of_a_recipe_are_reported_at_once(recipe_path: Path, tmp_path: Path) -> None:
    text = recipe_path.read_text()
    path = tmp_path / "recipe.yaml"
    path.write_text(
        text.replace("num_test:", "num_tests:")
        .replace("deformed_copies:", "deformd_copies:")
        .replace("num_res_units: 0", "num_res_units: many")
    )
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    message = str(caught.value)
    assert "splits.num_tests: unknown name; did you mean 'num_test'?" in message
    assert (
        "control.training.deformd_copies: unknown name; did you mean 'deformed_copies'?" in message
    )
    assert "num_res_units" in message


def test_a_profile_is_laid_over_the_recipe(recipe_path: Path) -> None:
    assert read_recipe(recipe_path, profile="smaller").study.seeds == (0,)
    assert read_recipe(recipe_path).study.seeds == (0, 1)
    with pytest.raises(RecipeError, match="no profile 'huge'; it has pool, smaller"):
        read_recipe(recipe_path, profile="huge")
