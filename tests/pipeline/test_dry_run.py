"""A dry run prints the graph: what is there, what would be made and why, and at what cost."""

import json
from pathlib import Path

import pytest
import yaml
from making import HERE, make
from typer.testing import CliRunner

from vcmaug.cli.main import app
from vcmaug.control.methods.vcm import MCM
from vcmaug.data.geometry import Grid
from vcmaug.files import read_json
from vcmaug.pipeline.dry_run import forecast
from vcmaug.pipeline.graph import Graph
from vcmaug.pipeline.rates import Cost, Rate, Rated, machine_label, rate_of, rates_file, record_rate
from vcmaug.pipeline.recipe import read_recipe
from vcmaug.pipeline.work import Work, claim_work
from vcmaug.training.settings import ControlTraining
from vcmaug.zoo import zoo_folder

UNKNOWN = "not measured yet on this machine"


@pytest.fixture(autouse=True)
def _no_rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without any rate."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def work(recipe_path: Path, tmp_path: Path) -> Work:
    return Work(tmp_path / "w", read_recipe(recipe_path, profile="smaller"))


def lines(work: Work) -> dict[str, str]:
    told = forecast([Graph(work).report], compute=HERE).lines()
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in told if line.startswith("  ")}


def test_nothing_there(work: Work) -> None:
    told = forecast([Graph(work).report], compute=HERE)
    assert told.lines()[0] == f"tiny in {work.folder}, in this process; nothing is done now:"
    assert list(lines(work)) == [
        *("cases", "splits", "prior", "control-n2-s0", "conditions-n2-s0", "cohort-n2-s0"),
        *("evaluator", "quality-n2-s0", "study", "report"),
    ]
    assert lines(work)["cases"] == f"would be made, 24 files; {UNKNOWN}"
    assert told.lines()[-1] == f"In all: about 0 seconds; 2 of 10 by cards; 8 of 10 {UNKNOWN}."
    assert not work.folder.exists()


def test_half_there_and_stale(work: Work) -> None:
    make(Graph(work).conditions(work.replicates[0]))
    assert {name for name, line in lines(work).items() if line == "there"} == {
        *("cases", "splits", "conditions-n2-s0"),
    }
    other = work.changed(conditions={"n": 8})
    line = lines(other)["conditions-n2-s0"]
    assert line.startswith(
        "stale, would be made again (conditions.n was 4, is 8), 8 conditions; about"
    )
    before = read_json(rates_file())
    make(Graph(other).conditions(work.replicates[0]))
    assert read_json(rates_file()) != before
    back = lines(work)["conditions-n2-s0"]
    assert back.startswith("stale, an earlier result of these settings would come back")


def test_data_that_are_missing(work: Work, tmp_path: Path) -> None:
    other = work.changed(
        data={"source": str(tmp_path / "gone")},
        splits={"file": str(tmp_path / "splits.json")},
        control={"start_from": str(tmp_path / "start")},
    )
    told = forecast([Graph(other).report], compute=HERE)
    assert told.lines()[-5:-2] == [
        "It cannot be done yet:",
        f"  data.source: there is no {tmp_path / 'gone'}",
        f"  splits.file: there is no {tmp_path / 'splits.json'}",
    ]
    assert "start/control.safetensors" in told.faults[2]


def test_an_estimate_scales_what_was_measured(work: Work) -> None:
    voxels = 16**3
    gpu, cpu = machine_label(gpu=True), machine_label(gpu=False)
    record_rate(Rated("control vcm, updates", gpu, voxels), Cost(30.0, 800, 0, 24), items=3)
    record_rate(Rated("evaluator, updates", cpu, voxels), Cost(100.0, 900), items=1)
    assert lines(work)["control-n2-s0"] == (
        "would be made, 6 updates; about 60 seconds, 800 MiB of memory, 24 MiB of disk"
    )
    told = forecast([Graph(work).report], compute=HERE)
    assert told.lines()[-1] == (
        "In all: about 7.7 minutes, 900 MiB of memory, 24 MiB of disk; 1 of 10 by cards; "
        f"7 of 10 {UNKNOWN}."
    )
    found = {one["name"]: one for one in json.loads(told.as_json())["artefacts"]}
    assert found["evaluator"]["seconds"] == 400
    assert found["cohort-n2-s0"]["seconds"] is None


def test_a_training_that_was_never_measured_here_is_estimated_by_a_card(work: Work) -> None:
    """The card of the nearest grid, its seconds per update scaled by voxels and updates."""
    recipe = work.recipe.model_copy(
        update={"data": work.recipe.data.model_copy(update={"grid": Grid(shape=(32, 48, 32))})}
    )
    asked = Work(work.folder, recipe).changed(control={"training": ControlTraining(updates=1000)})
    shown = lines(asked)
    card = read_json(zoo_folder("brain-mini-4mm/tissue4") / "card.json")
    seconds = card["figures"]["seconds"] / 800 * 1000 * (32 * 48 * 32) / (40 * 48 * 40)
    assert shown["control-n2-s0"] == (
        f"would be made, 1,000 updates; about {seconds / 60:.2g} minutes by the card of "
        "brain-mini-4mm/tissue4, measured on 2 CPU cores"
    )
    assert shown["prior"].endswith("by the card of hippocampus-1mm, measured on 2 CPU cores")
    method = work.recipe.control.model_copy(update={"network": MCM()})
    other = work.recipe.model_copy(update={"control": method})
    assert lines(Work(work.folder, other))["control-n2-s0"].endswith(UNKNOWN)  # no card of it


def test_workers_share_what_can_be_shared(work: Work) -> None:
    gpu = machine_label(gpu=True)
    record_rate(Rated("cohort vcm, steps of sampling", gpu, 16**3), Cost(15.0), items=1)
    shared = forecast([Graph(work).report], compute=type(HERE)("workers", num=3)).outlooks
    cost = next(one.cost for one in shared if one.name == "cohort-n2-s0")
    assert cost is not None
    assert cost.seconds == 5 * 3 * 15.0 / 3


def test_rates_move_and_a_damaged_file_is_none() -> None:
    rated = Rated("control vcm, updates", "a machine", 8)
    record_rate(rated, Cost(10.0, 500, 0, 4), items=2)
    record_rate(rated, Cost(14.0, 400, 0, 4), items=2)
    rate = rate_of(rated)
    assert rate is not None
    assert rate == Rate(6.0, 500, 0, 4, times=2)
    assert rate_of(Rated("control vcm, updates", "another machine", 8)) is None
    rates_file().write_text("{")
    assert rate_of(rated) is None
    record_rate(rated, Cost(10.0), items=0)
    assert rates_file().read_text() == "{"


def test_what_is_made_says_what_it_cost(work: Work) -> None:
    make(Graph(work).cases)
    cost = read_json(Graph(work).cases.marker)["cost"]
    assert cost["seconds"] > 0
    assert cost["memory_mib"] > 10
    assert 0 < cost["disk_mib"] < 5
    assert (cost["items"], cost["of"]) == (24, "files")


def test_the_verbs_show_what_they_would_make(recipe_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "w"
    words = {
        "train-prior": ["cases", "splits", "prior"],
        "train-control": ["cases", "splits", "prior", "control-n2-s0"],
        "build-conditions": ["cases", "splits", "conditions-n2-s0"],
        "gates": ["cases", "splits", "gate-1-segmenter"],
        "downstream-eval": ["cases", "splits", "prior"],
    }
    for verb, first in words.items():
        asked = [verb, str(recipe_path), "--out", str(out), "--dry-run", "--json"]
        ended = CliRunner().invoke(app, asked)
        assert ended.exit_code == 0, ended.output
        names = [one["name"] for one in json.loads(ended.output)["artefacts"]]
        assert names[: len(first)] == first
    assert not out.exists()


def test_a_verb_goes_on_with_what_another_was_asked_for(recipe_path: Path, tmp_path: Path) -> None:
    """`--n` and `--lazy` of the conditions hold for `generate`; `run` goes by the recipe."""
    out = ["--out", str(tmp_path / "w")]
    build = ["build-conditions", str(recipe_path), *out, "--n", "3", "--lazy"]
    assert CliRunner().invoke(app, build).exit_code == 0
    shown = {}
    for verb in ("generate", "run"):
        told = CliRunner().invoke(app, [verb, str(recipe_path), *out, "--dry-run", "--json"])
        found = json.loads(told.output)["artefacts"]
        shown[verb] = {one["name"]: one["state"] for one in found}["conditions-n2-s0"]
    assert shown == {"generate": "there", "run": "stale"}


def test_a_dry_run_in_a_foreign_folder_is_refused_alike(recipe_path: Path, tmp_path: Path) -> None:
    recipe = read_recipe(recipe_path)
    claim_work(tmp_path / "w", recipe.model_copy(update={"name": "other"}), profile=None)
    asked = ["run", str(recipe_path), "--out", str(tmp_path / "w"), "--dry-run"]
    ended = CliRunner().invoke(app, asked)
    assert "belongs to recipe 'other'" in str(ended.exception)


@pytest.mark.parametrize("role", ["test", "validation"])
def test_a_study_that_scores_too_few_is_refused_before_anything_is_made(
    recipe_path: Path, tmp_path: Path, role: str
) -> None:
    content = yaml.safe_load(recipe_path.read_text())
    content["data"]["source"] = str(recipe_path.parent / "source")
    content["study"]["scored_on"] = role
    for number, faults in (
        (1, [f"splits.num_{role} is 1; an interval of the study needs 2"]),
        (2, []),
    ):
        content["splits"][f"num_{role}"] = number
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(content))
        assert Graph(Work(tmp_path / "w", read_recipe(path))).study.faults() == faults


def test_subjects_that_cannot_be_split_are_refused_before_anything_is_made(
    recipe_path: Path, tmp_path: Path
) -> None:
    content = yaml.safe_load(recipe_path.read_text())
    content["data"]["source"] = str(recipe_path.parent / "source")
    path, file, gone = (tmp_path / name for name in ("recipe.yaml", "splits.json", "gone.json"))
    file.write_text('{"train": ["b00"], "validation": ["b01"], "test": ["b01"]}')
    for splits, told in (
        ({"num_test": 9, "num_validation": 3}, "data.source: splitting 12 subjects: 9 for the"),
        ({"file": str(file)}, f"data.source: splits {file}: subject b01: in validation and in"),
        ({"file": str(gone)}, f"splits.file: there is no {gone}"),
    ):
        path.write_text(yaml.safe_dump(content | {"splits": splits}))
        graph = Graph(Work(tmp_path / "w", read_recipe(path)))
        faults = [*graph.cases.faults(), *graph.splits.faults()]
        assert next(fault for fault in faults if "split" in fault).startswith(told)
        assert sum(str(gone) in fault for fault in faults) == ("gone" in told)


def test_every_fault_of_tables_is_said_before_anything_is_made(
    recipe_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text("case_id;image;label\na;a.nii.gz\nb;;\n")
    (tmp_path / "v.csv").write_text("Value,Structure\n1,shell\n1,core\n2.5,core\n")
    content = yaml.safe_load(recipe_path.read_text())
    content["data"] |= {"source": "t.csv", "label_values_file": "v.csv"}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    faults = Graph(Work(tmp_path / "w", read_recipe(path))).cases.faults()
    table, values = f"data.source: {tmp_path / 't.csv'}", f"{tmp_path / 'v.csv'}"
    whole = "expected a whole number from 0 to 65535"
    assert [fault.split("; ")[0] for fault in faults] == [
        f"{table}, line 2: 2 cells, expected 3",
        f"{table}, line 3: no image, expected one in every line",
        f"data.label_values_file: {values}, line 3: value 1 stands twice, expected once",
        f"data.label_values_file: {values}, line 4: value '2.5', {whole}",
    ]
