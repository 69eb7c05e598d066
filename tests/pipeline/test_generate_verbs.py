"""`generate` and `check` on a finished work folder: accept, repeat, verify, tell machines."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from made_up_study import rewrite_manifest
from making import make
from typer.testing import CliRunner, Result

from vcmaug.cli.main import app
from vcmaug.cohort.manifest import read_manifest, read_rows
from vcmaug.errors import CohortError, WorkFolderError
from vcmaug.files import locked, read_json
from vcmaug.pipeline.graph import Graph
from vcmaug.pipeline.recipe import read_recipe
from vcmaug.pipeline.work import Work, claim_work


@pytest.fixture(scope="module")
def drawn(recipe_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """Return a work folder whose first cohort is drawn and evaluated."""
    work = claim_work(
        tmp_path_factory.mktemp("work") / "tiny", read_recipe(recipe_path), profile=""
    )
    make(Graph(work).evaluation(work.replicates[0]))
    return work


@pytest.fixture
def work(drawn: Work, tmp_path: Path) -> Work:
    """Return a copy to change."""
    return Work(shutil.copytree(drawn.folder, tmp_path / "tiny"), drawn.recipe)


@pytest.fixture
def generate(recipe_path: Path, work: Work):
    """Return the verb on that copy."""

    def run(*words: str) -> Result:
        command = ["generate", str(recipe_path), "--out", str(work.folder), *words]
        return CliRunner().invoke(app, command, catch_exceptions=False)

    return run


def test_acceptance_reads_with_the_arms_own_segmenter(work: Work, generate) -> None:
    result = generate("--accept", "adherence.dice >= 0", "--max-tries", "2", "--keep-rejects")
    assert result.exit_code == 0
    replicate = work.replicates[0]
    card = read_json(replicate.folder / "acceptance" / "card.json")
    assert card["subjects"] == read_json(replicate.control / "card.json")["seen"]["labels"]
    for checks in read_manifest(replicate.cohort)["checks"]:
        each = [checks[f"adherence.dice.{name}"] for name in ("shell", "core")]
        assert checks["adherence.dice"] == pytest.approx(sum(each) / 2, abs=1e-4)
    acceptance = read_json(replicate.cohort / "plan.json")["settings"]["acceptance"]
    assert acceptance == {"accept": "adherence.dice >= 0", "max_tries": 2, "keep_rejects": True}


def test_a_figure_that_is_not_measured_is_named_before_anything_is_drawn(generate) -> None:
    with pytest.raises(CohortError, match=r"asks for adherence.dice.cor; measured are image.min"):
        generate("--accept", "adherence.dice.cor > 0.5")
    with pytest.raises(CohortError, match=r"asks for image.clip; measured are image.min"):
        generate("--accept", "image.clip < 0.5")


def test_a_wish_that_cannot_be_read_is_one_error(generate) -> None:
    with pytest.raises(Exception, match=r"'adherence' is not a comparison such as"):
        generate("--accept", "adherence")


def test_one_case_is_drawn_again(work: Work, generate) -> None:
    before = (work.replicates[0].cohort / "manifest.csv").read_bytes()
    result = generate("--only", "r000001")
    assert (result.exit_code, "the same bytes" in result.output) == (0, True)
    assert (work.replicates[0].cohort / "manifest.csv").read_bytes() == before
    cohort = work.replicates[0].cohort
    rewrite_manifest(cohort, [replace(row, image_sha256="0" * 64) for row in read_rows(cohort)])
    assert generate("--only", "r000001").exit_code == 1


def test_check_lists_faults_and_verify_mends_them(work: Work, generate) -> None:
    cohort = work.replicates[0].cohort
    assert "is whole" in CliRunner().invoke(app, ["check", str(cohort)]).output
    image = cohort / "images" / "r000002.nii.gz"
    whole = image.read_bytes()
    image.write_bytes(whole[:-9])
    result = CliRunner().invoke(app, ["check", str(cohort)])
    assert result.exit_code == 1
    assert "r000002.nii.gz: its hash is not the manifest's" in result.output
    assert "was already in" in generate().output  # what is done is not read again unless asked
    assert image.read_bytes() != whole
    assert generate("--verify").exit_code == 0
    assert image.read_bytes() == whole
    assert "is whole" in CliRunner().invoke(app, ["check", str(cohort)]).output


def test_verify_asks_for_what_was_asked_for(work: Work, generate) -> None:
    cohort = work.replicates[0].cohort
    assert "3 done; time spent: " in generate("--n", "3").output
    (cohort / "manifest.parquet").unlink()
    (cohort / "images" / "r000001.nii.gz").unlink()
    assert generate("--verify").exit_code == 0
    assert len(read_manifest(cohort)) == 3
    assert "is whole" in CliRunner().invoke(app, ["check", str(cohort)]).output


def test_the_same_command_mends_a_cohort_without_its_manifest(work: Work, generate) -> None:
    cohort = work.replicates[0].cohort
    (cohort / "manifest.parquet").unlink()
    assert "was already" not in generate().output
    assert "is whole" in CliRunner().invoke(app, ["check", str(cohort)]).output


def test_a_cohort_that_is_being_drawn_is_not_set_aside(work: Work, generate) -> None:
    cohort = work.replicates[0].cohort
    with (
        locked(cohort, purpose="generating"),
        pytest.raises(WorkFolderError, match=r"in use by process \d+ \(generating\)"),
    ):
        generate("--n", "3")
    assert "was already in" in generate().output


def test_progress_for_machines_and_for_nobody(generate) -> None:
    lines = generate("--verify", "--json-lines").output.splitlines()
    last = json.loads(lines[-1])
    assert last["what"] == "generating"
    assert last["done"] == last["total"] > 0
    figures = last["figures"]
    assert {"volumes_per_hour", "redrawn", "seconds_left"} < set(figures)
    assert [set(one) for one in figures["of_workers"].values()] == [
        {"volumes_per_hour", "peak_mib"}
    ]
    assert generate("--verify", "--quiet").output == ""
