"""Acceptance: what is not accepted is drawn again with other noise, and nothing is hidden."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
from pydantic import ValidationError

from vcmaug.cohort.card import CohortCard
from vcmaug.cohort.check import check_cohort
from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import read_manifest
from vcmaug.data.nifti import read_image
from vcmaug.errors import CohortError, ComputeError
from vcmaug.files import sha256_of_file, write_json
from vcmaug.generate.acceptance import Acceptance, MeasureSource, broken, verdict
from vcmaug.generate.plan import Plan
from vcmaug.generate.planning import make_plan
from vcmaug.generate.repeat import repeat
from vcmaug.generate.run import generate


def load_brightness(folder: Path):
    """Return a measure that workers find by name: the mean of an image."""
    assert (folder / "card.json").exists()
    return lambda images, maps: [{"own.mean": float(image.mean())} for image in images]


def choosy(world: Path, measure_folder: Path, *, subjects=("s0",), **acceptance: object) -> Plan:
    """Return the plan of four requests that accepts not every image."""
    write_json(measure_folder / "card.json", {"kind": "segmenter", "subjects": list(subjects)})
    plan = tiny.tiny_plan(world, n=4)
    return make_plan(
        plan.settings.model_copy(update={"acceptance": Acceptance(**acceptance)}),
        prior_folder=world / "prior",
        control_folder=world / "control",
        conditions_folder=world / "conditions",
        n=4,
        seed=7,
        measure=MeasureSource(
            loader=f"{load_brightness.__module__}:load_brightness",
            folder=str(measure_folder),
            sha256=sha256_of_file(measure_folder / "card.json"),
        ),
    )


@pytest.fixture(scope="module")
def median(reference) -> float:
    """Return a mean brightness that half of the first four images reach."""
    plan_rows = read_manifest(reference).iloc[:4]
    means = [
        read_image(reference / row["image"], case_id="k").array.mean()
        for row in plan_rows.to_dict("records")
    ]
    return float(np.median(means))


def test_what_is_not_accepted_is_drawn_again_and_stay_as_rows(world, reference, median, tmp_path):
    wish = f"own.mean >= {median:.6f}"
    plan = choosy(world, tmp_path / "m", accept=wish, max_tries=2, keep_rejects=True)
    out = tmp_path / "cohort"
    merged = generate(plan, out=out, compute=tiny.IN_PROCESS)
    manifest, rejects = read_manifest(out), pd.read_parquet(CohortLayout(out).rejects)
    assert merged.redrawn == len(rejects) > 0
    for row in manifest.to_dict("records"):
        figure = row["checks"]["own.mean"]
        assert (figure >= median) == (row["status"] == "done")
        assert row["tries"] <= 2
        if row["tries"] == 1:  # acceptance changes no draw that it takes
            first = (reference / row["image"]).read_bytes()
            assert (out / row["image"]).read_bytes() == first
    rejected = manifest[manifest["status"] == "rejected"]
    assert all(reason.startswith("own.mean is ") for reason in rejected["reason"])
    assert set(rejects["tries"]) == {1}
    assert sha256_of_file(out / rejects["image"][0]) == rejects["image_sha256"][0]
    assert check_cohort(out) == []
    assert CohortCard.read(out).num_redrawn == len(rejects)
    again = generate(plan, out=out, compute=tiny.IN_PROCESS)  # what was rejected is settled
    assert (again.counts, again.redrawn) == (merged.counts, merged.redrawn)
    assert list(read_manifest(out)["attempt"]) == [1] * 4


def test_a_case_of_several_tries_can_be_repeated(world, median, tmp_path):
    plan = choosy(world, tmp_path / "m", accept=f"own.mean >= {median:.6f}", max_tries=4)
    generate(plan, out=tmp_path / "cohort", compute=tiny.IN_PROCESS)
    manifest = read_manifest(tmp_path / "cohort")
    later = manifest[(manifest["status"] == "done") & (manifest["tries"] > 1)]
    assert len(later) > 0
    assert repeat(tmp_path / "cohort", later["request_id"].iloc[0]).same


def test_where_all_are_rejected_the_run_says_why(world, tmp_path):
    plan = choosy(world, tmp_path / "m", accept="own.mean > 5", max_tries=2)
    with pytest.raises(CohortError, match=r"every request failed, e\.g\. 'own\.mean is "):
        generate(plan, out=tmp_path / "cohort", compute=tiny.IN_PROCESS)
    assert list(read_manifest(tmp_path / "cohort")["status"]) == ["rejected"] * 4
    assert len(pd.read_parquet(tmp_path / "cohort" / "rejects.parquet")) == 4


def test_a_figure_that_nobody_measures_is_named(world, tmp_path):
    plan = choosy(world, tmp_path / "m", accept="own.meen > 5")
    with pytest.raises(ComputeError, match=r"'own.meen' is not measured. Measured are image.clip"):
        generate(plan, out=tmp_path / "cohort", compute=tiny.IN_PROCESS)


def test_a_measure_that_saw_others_leaks(world, tmp_path):
    with pytest.raises(CohortError, match=r"not among the control's labelled ones, s9 first"):
        choosy(world, tmp_path / "m", subjects=("s0", "s9"), accept="own.mean > 0")


def test_a_measure_that_changed_is_refused(world, tmp_path):
    plan = choosy(world, tmp_path / "m", accept="own.mean > 0")
    write_json(tmp_path / "m" / "card.json", {"subjects": []})
    with pytest.raises(ComputeError, match="not the one that the plan was made with"):
        generate(plan, out=tmp_path / "cohort", compute=tiny.IN_PROCESS)


@pytest.mark.parametrize("text", ["adherence.dice", "0.8 < adherence.dice", "a >= b", "a > 1 or b"])
def test_what_is_no_comparison_is_refused(text):
    with pytest.raises(ValidationError, match="is not a comparison such as"):
        Acceptance(accept=text)


def test_all_comparisons_must_hold():
    wish = "a.dice >= 0.8 and image.clipped < 0.01"
    assert verdict({"a.dice": 0.8, "image.clipped": 0.0}, wish) == ""
    assert verdict({"a.dice": 0.79, "image.clipped": 0.0}, wish) == "a.dice is 0.79, not >= 0.8"
    assert "not < 0.01" in verdict({"a.dice": 0.9, "image.clipped": 0.01}, wish)


def test_what_nobody_can_use_is_broken():
    image = np.linspace(0, 1, 8, dtype=np.float32).reshape(2, 2, 2)
    assert broken(image) == ""
    assert broken(np.full_like(image, np.nan)) == "the image holds NaN or infinity"
    assert broken(np.zeros_like(image)) == "the image is the same everywhere"
    assert broken(image * 9) == "88% of the image lies outside [0, 1]"
