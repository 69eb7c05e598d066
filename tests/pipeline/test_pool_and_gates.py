"""Every arm through the whole way, what the pool may see, and the gates."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from making import make

from vcmaug.cohort.card import CohortCard
from vcmaug.cohort.check import check_cohort
from vcmaug.control.card import ControlCard
from vcmaug.data.nifti import read_label_map
from vcmaug.errors import DataError
from vcmaug.files import read_json, sha256_of_file
from vcmaug.ldm.card import PriorCard, read_card
from vcmaug.pipeline.graph import Graph
from vcmaug.pipeline.recipe import read_recipe
from vcmaug.pipeline.work import Work, claim_work

UNLABELLED = {f"a{number}" for number in range(12, 32)}


@pytest.fixture(scope="module")
def finished(recipe_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Work:
    folder = tmp_path_factory.mktemp("work") / "pool"
    work = claim_work(folder, read_recipe(recipe_path, profile="pool"), profile="pool")
    make(Graph(work).report)
    return work


def test_every_arm_is_trained_on_what_its_name_says(finished: Work) -> None:
    runs = {run["arm"]: run for run in read_json(finished.study / "summary.json")["runs"]}
    num_train = len(read_json(finished.splits)["train"])
    drawn, pool = finished.recipe.generate.n, num_train - 3
    assert num_train == 12 - 3 - 2 + len(UNLABELLED)
    assert {arm: (run["num_real"], run["num_synthetic"]) for arm, run in runs.items()} == {
        "real": (3, 0),
        "real+synthetic": (3, drawn),
        "real+synthetic+pool": (3, drawn),
        "real+deformed": (3, 3),  # of six conditions the three that bend
        "self-training": (3, pool),
        "all-real": (num_train - len(UNLABELLED), 0),
    }


def test_unlabelled_subjects_are_for_training_alone(finished: Work) -> None:
    splits = read_json(finished.splits)
    assert set(splits["train"]) > UNLABELLED
    assert not UNLABELLED & {*splits["test"], *splits["validation"]}
    assert set(read_card(finished.prior, PriorCard).seen.images) == set(splits["train"])
    for replicate in finished.replicates:
        assert not UNLABELLED & set(read_card(replicate.control, ControlCard).seen.labels)
    known = set(read_json(finished.evaluator / "card.json")["cases"])
    assert len(known) == 3
    assert not known & UNLABELLED
    assert "of 32 subjects, 12 with a label map" in finished.report.read_text()


def test_the_pool_is_labelled_by_the_study_s_own_arm_real(finished: Work) -> None:
    """The pseudo-labels are the n-case segmenter's, and not one is the true label map."""
    replicate = finished.replicates[0]
    seen = CohortCard.read(replicate.pseudo).seen.control
    splits = read_json(finished.splits)
    labelled = set(seen.teachers)
    assert labelled == set(read_card(replicate.control, ControlCard).seen.labels)
    assert set(seen.pseudo_labels) == set(splits["train"]) - labelled
    manifest = pd.read_parquet(replicate.pseudo / "manifest.parquet")
    assert {f"pseudo-{name}" for name in UNLABELLED} < set(manifest["case_id"])
    for row in manifest.to_dict("records"):
        if row["case_id"].removeprefix("pseudo-") in UNLABELLED:
            continue
        guessed = read_label_map(replicate.pseudo / row["label"], case_id="x").array
        true = finished.cases / "labels" / f"{row['case_id'].removeprefix('pseudo-')}.nii.gz"
        assert not np.array_equal(guessed, read_label_map(true, case_id="x").array)
    assert (finished.study / "runs" / "real-n3-s0.safetensors").exists()


def test_control_and_conditions_of_the_pool_say_whom_they_saw(finished: Work) -> None:
    replicate = finished.replicates[0].with_pool
    seen = read_card(replicate.control, ControlCard).seen
    splits = read_json(finished.splits)
    assert len(seen.labels) == 3
    assert seen.teachers == seen.labels
    assert set(seen.subjects) == {*seen.labels, *seen.pseudo_labels}
    assert not set(seen.subjects) & {*splits["test"], *splits["validation"]}
    assert check_cohort(replicate.cohort) == []
    assert check_cohort(replicate.pseudo) == []


def test_too_few_labels_are_refused_before_any_training(
    finished: Work, recipe_path: Path, tmp_path: Path
) -> None:
    content = yaml.safe_load(recipe_path.read_text())
    content["data"]["source"] = str(recipe_path.parent / "partly")
    content["data"]["require_labels"] = False
    content["study"] |= {"num_labelled": [8], "seeds": [0]}  # of 27 training subjects 7
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    work = claim_work(tmp_path / "w", read_recipe(path), profile=None)
    with pytest.raises(DataError, match=r"of 27 training subjects 7 have a label map.*asks for 8"):
        make(Graph(work).report)
    with pytest.raises(DataError, match="asks for 8"):  # again, with the splits there
        make(Graph(work).report)
    assert not work.prior.exists()
    make(Graph(work).prior)
    assert work.prior.exists()


def test_a_scalar_whose_column_no_case_has_is_refused_before_any_training(
    recipe_path: Path, tmp_path: Path
) -> None:
    content = yaml.safe_load(recipe_path.read_text())
    content["data"]["source"] = str(recipe_path.parent / "source")
    content["prior"]["spec"]["scalars"] = [{"name": "age", "low": 0, "high": 9, "column": "Age"}]
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    work = claim_work(tmp_path / "w", read_recipe(path), profile=None)
    with pytest.raises(DataError, match="scalar 'age': no case has a column 'Age'; the table has"):
        make(Graph(work).prior)
    assert not work.prior.exists()


def test_both_builders_took_their_turns(finished: Work) -> None:
    table = pd.read_parquet(finished.replicates[0].conditions / "conditions.parquet")
    assert list(table["builder"]) == ["perturb", "shape_model"] * 3


def test_a_second_run_keeps_everything(finished: Work) -> None:
    said: dict[str, bool] = {}
    before = sha256_of_file(finished.study / "scores.csv")
    make(Graph(finished).report, say=said.__setitem__)
    assert [name for name, ran in said.items() if ran] == []
    assert sha256_of_file(finished.study / "scores.csv") == before


def test_the_gates_are_measured_in_order_and_kept(finished: Work) -> None:
    said: dict[str, bool] = {}
    make(Graph(finished).gates, say=said.__setitem__)
    result = read_json(finished.gates_file)
    names = [gate["gate"] for gate in result["gates"]]
    assert names == ["1-segmenter", "2-autoencoder", "3-prior", "4-control-n4", "5-control-n3"]
    assert [name.split(":")[0] for name in said if name.startswith("gate ")] == [
        f"gate {name}" for name in names
    ]
    for gate in result["gates"]:
        assert isinstance(gate["passed"], bool)
        assert gate["limit"]
    (response,) = result["gates"][2]["scalar_response"]
    assert response["num"] == 24 - len(UNLABELLED)  # samples in turn with the scalars of cases
    told = result["gates"][2]["told_from_real"]
    assert set(told) == {"samples", "reconstructions", "other real images"}
    assert (finished.folder / "gates" / "samples.png").read_bytes().startswith(b"\x89PNG")
    quality = read_json(finished.replicate(4, 0).quality / "quality.json")
    means = {r["source"]: r["dice"] for r in quality["adherence"] if r["structure"] == "mean"}
    assert result["gates"][3]["lost"] == pytest.approx(means["real"] - means["synthetic"])
    again: dict[str, bool] = {}
    make(Graph(finished).gates, say=again.__setitem__)
    assert not any(again.values())
