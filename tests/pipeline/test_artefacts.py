"""One law of keys for all artefacts: every setting and every file counts, where it decides."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from making import make

from vcmaug.config import merged
from vcmaug.errors import WorkFolderError
from vcmaug.files import read_json, write_json
from vcmaug.pipeline.artefact import steps_to
from vcmaug.pipeline.graph import Graph
from vcmaug.pipeline.recipe import read_recipe
from vcmaug.pipeline.work import Work, claim_work, find_work

Changed = Callable[[Mapping[str, Any]], Work]

ALL = {
    *("cases", "splits", "prior", "teacher-n3-s0", "pseudo-n3-s0", "acceptance-n3-s0"),
    *("control-n3-s0", "control-n3-s0-pool", "conditions-n3-s0", "conditions-n3-s0-pool"),
    *("cohort-n3-s0", "cohort-n3-s0-pool", "deformed-n3-s0", "evaluator"),
    *("quality-n3-s0", "quality-n3-s0-pool", "study", "report"),
}
OF_POOL = {"pseudo-n3-s0", "control-n3-s0-pool", "conditions-n3-s0-pool"}
COHORTS = {"cohort-n3-s0", "cohort-n3-s0-pool"}
READ = {"quality-n3-s0", "quality-n3-s0-pool", "study", "report"}
DRAWN = COHORTS | READ
CONTROLS = {"control-n3-s0", "control-n3-s0-pool"} | DRAWN
CONDITIONS = {"conditions-n3-s0", "conditions-n3-s0-pool", "deformed-n3-s0"} | DRAWN
TAUGHT = {"teacher-n3-s0", "acceptance-n3-s0"} | OF_POOL | DRAWN
OF_EVALUATOR = {"evaluator", *READ} - {"study"}
SEGMENTING = TAUGHT | OF_EVALUATOR

REORDERED = [
    *("all-real", "real", "real+synthetic", "real+synthetic+pool", "real+deformed"),
    "self-training",
]

CHANGES: list[tuple[Mapping[str, Any], set[str]]] = [
    ({"data": {"intensity": {"upper_percentile": 98.0}}}, ALL),
    ({"data": {"grid": {"padding": "edge"}}}, ALL),
    ({"splits": {"seed": 1}}, ALL - {"cases"}),
    ({"prior": {"training": {"diffusion": {"updates": 7}}}}, {"prior"} | CONTROLS),
    ({"prior": {"seed": 4}}, {"prior"} | CONTROLS),
    ({"control": {"training": {"updates": 7}}}, CONTROLS),
    ({"control": {"network": {"hidden_channels": 16}}}, CONTROLS),
    ({"control": {"look_every": 3}}, set()),
    ({"conditions": {"n": 7}}, CONDITIONS),
    ({"conditions": {"lazy": True}}, CONDITIONS),
    ({"generate": {"strength": 2.0}}, DRAWN),
    ({"generate": {"sampler": {"steps": 4}}}, DRAWN),
    ({"generate": {"acceptance": {"max_tries": 4}}}, DRAWN),
    ({"generate": {"micro_batches_per_shard": 3}}, set()),
    ({"generate": {"n": 6}}, DRAWN | {"deformed-n3-s0"}),
    ({"evaluator": {"updates": 5}}, OF_EVALUATOR),
    ({"metrics": ["adherence"]}, READ - {"study"}),
    ({"study": {"fit": {"updates": 5}}}, TAUGHT),
    ({"study": {"augment": {"degrees": 1.0}}}, SEGMENTING),
    ({"study": {"segmenter": {"channels": [8, 24]}}}, SEGMENTING),
    ({"study": {"arms": REORDERED}}, {"study", "report"}),
    ({"gates": {"num_samples": 9}}, set()),
    ({"gates": {"num_labelled": 5}}, OF_EVALUATOR),
    ({"caveat": "Toys."}, {"report"}),
    ({"seed": 3}, {"prior"} | CONTROLS | OF_EVALUATOR),
]


@pytest.fixture(scope="module")
def source(recipe_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artefacts")
    shutil.copytree(recipe_path.parent / "source", folder / "source")
    return folder


@pytest.fixture(scope="module")
def changed(source: Path, recipe_path: Path) -> Changed:
    """The work folder of the recipe with every arm, with something else in it."""
    content = yaml.safe_load(recipe_path.read_text())
    content["generate"]["acceptance"] = {"accept": "adherence.dice >= 0"}
    content["data"]["source"] = "source"
    del content["profiles"]["pool"]["data"]

    def work(changes: Mapping[str, Any]) -> Work:
        profile = merged(content["profiles"]["pool"], changes)
        path = source / "recipe.yaml"
        path.write_text(yaml.safe_dump(content | {"profiles": {"pool": profile}}))
        return Work(source / "work", read_recipe(path, profile="pool"))

    return work


def keys(work: Work) -> dict[str, str]:
    return {step.artefact.name: step.artefact.key() for step in steps_to([Graph(work).report])}


@pytest.mark.parametrize(("change", "stale"), CHANGES, ids=[str(one) for one, _ in CHANGES])
def test_a_setting_changes_what_it_decides_and_nothing_else(
    changed: Changed, change: Mapping[str, Any], stale: set[str]
) -> None:
    before, after = keys(changed({})), keys(changed(change))
    assert set(before) == ALL
    assert {name for name in before if before[name] != after[name]} == stale


def test_a_file_of_the_source_changes_everything(changed: Changed, source: Path) -> None:
    before = keys(changed({}))
    (source / "source" / "images" / "b03.nii.gz").touch()
    after = keys(changed({}))
    assert {name for name in before if before[name] != after[name]} == ALL


def test_where_the_data_lie_decides_nothing(changed: Changed, source: Path, tmp_path: Path) -> None:
    before = keys(changed({}))
    shutil.copytree(source / "source", tmp_path / "elsewhere")
    assert keys(changed({"data": {"source": str(tmp_path / "elsewhere")}})) == before


@pytest.fixture
def made(recipe_path: Path, tmp_path: Path) -> Work:
    """A work folder with cases and conditions."""
    work = claim_work(tmp_path / "w", read_recipe(recipe_path), profile=None)
    make(Graph(work).conditions(work.replicates[0]))
    return work


def test_the_same_data_copied_again_are_the_same(made: Work, recipe_path: Path) -> None:
    """As a job finds them that copies them to its own disk: every time is another one."""
    files = sorted((recipe_path.parent / "source").glob("images/*"))
    for path in files:
        os.utime(path, ns=(10**18, 10**18))
    assert str(Graph(made).cases.state()) == "there"
    assert str(Graph(made).conditions(made.replicates[0]).state()) == "there"
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    os.utime(files[0], ns=(10**18, 10**18))
    what = Graph(made).cases.state().what
    files[0].write_bytes(whole)  # other tests read it
    assert what == "stale"


def test_a_state_says_what_differs(made: Work, recipe_path: Path) -> None:
    replicate = made.replicates[0]
    assert str(Graph(made).conditions(replicate).state()) == "there"
    assert str(Graph(made).prior.state()) == "missing"
    other = made.changed(conditions={"n": 7, "inherit": ("age",)})
    state = Graph(other).conditions(replicate).state()
    assert state.what == "stale"
    assert set(state.why) == {
        "conditions.n was 4, is 7",
        "conditions.inherit was ['age', 'sex'], is ['age']",
    }
    data = made.changed(data={"max_cases": 11})
    why = Graph(data).cases.state().why
    assert why[0] == "data.max_cases was None, is 11"
    assert str(Graph(data).splits.state()) == "stale: cases is another one"
    assert Graph(data).conditions(replicate).state().why == (
        "cases is another one",
        "splits is another one",
    )


def test_what_was_cut_off_is_unfinished_and_goes_on(made: Work) -> None:
    conditions = Graph(made).conditions(made.replicates[0])
    marker = read_json(conditions.marker)
    write_json(conditions.marker, marker | {"done": False})
    assert conditions.state().what == "unfinished"
    assert make(conditions)
    assert conditions.state().is_there


def test_only_what_is_asked_for_or_needed_is_made(made: Work) -> None:
    """A result that is there needs nothing below it, even where that is gone."""
    shutil.rmtree(made.cases)
    conditions = Graph(made).conditions(made.replicates[0])
    steps = {step.artefact.name: step for step in steps_to([conditions])}
    assert steps["cases"].state.what == "missing"
    assert not any(step.is_made for step in steps.values())
    again = steps_to([conditions], again=frozenset({conditions.name}))
    assert [step.artefact.name for step in again if step.is_made] == ["cases", conditions.name]


def test_an_older_work_folder_has_one_clear_error(made: Work, recipe_path: Path) -> None:
    said = r"an older version made .*\. Run `vcmaug run RECIPE --out FOLDER` again, in a new folder"
    marker = Graph(made).cases.marker
    kept = read_json(marker)
    write_json(marker, {"stage": "cases", "identity": "0" * 64, "done": True})
    with pytest.raises(WorkFolderError, match=said):
        Graph(made).cases.state()
    write_json(marker, kept)
    about = read_json(made.recipe_file)
    assert about["format"] == 2
    write_json(made.recipe_file, {name: one for name, one in about.items() if name != "format"})
    with pytest.raises(WorkFolderError, match=said):
        find_work(made.folder)
    with pytest.raises(WorkFolderError, match=said):
        claim_work(made.folder, made.recipe, profile=None)
