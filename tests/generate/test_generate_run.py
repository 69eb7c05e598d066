"""A run in process: what it leaves, what it repeats, what it refuses, what it survives."""

import shutil

import numpy as np
import pandas as pd
import pytest
import tiny

from vcmaug.cohort.card import CohortCard
from vcmaug.cohort.check import check_cohort
from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import read_manifest
from vcmaug.cohort.row import RUN_COLUMNS
from vcmaug.control.base import load_control, write_control
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.seen import Seen
from vcmaug.data.volume import same_grid
from vcmaug.errors import CohortError, ComputeError, ModelError, WorkFolderError
from vcmaug.files import locked
from vcmaug.generate.run import generate
from vcmaug.ldm.prior import load_prior


def draw(plan, out, report=lambda progress: None):
    """Draw a cohort in process."""
    generate(plan, out=out, compute=tiny.IN_PROCESS, report=report)
    return read_manifest(out)


def same_but_for_the_run(first: pd.DataFrame, second: pd.DataFrame) -> None:
    """Compare two manifests without the columns that describe the run."""
    pd.testing.assert_frame_equal(
        first.drop(columns=list(RUN_COLUMNS)), second.drop(columns=list(RUN_COLUMNS))
    )


def stamps(cohort):
    """Return when each image and label was last written."""
    paths = [*cohort.glob("images/*"), *cohort.glob("labels/*")]
    return {path.name + path.parent.name: path.stat().st_mtime_ns for path in paths}


def test_a_cohort_is_whole_and_honest(world, reference):
    manifest = read_manifest(reference)
    assert list(manifest["status"]) == ["done"] * 7
    assert check_cohort(reference) == []
    for row in manifest.to_dict("records"):
        image = read_image(reference / row["image"], case_id=row["case_id"])
        label = read_label_map(reference / row["label"], case_id=row["case_id"])
        asked = world / "conditions" / "maps" / f"{row['condition_id']}.nii.gz"
        assert (reference / row["label"]).read_bytes() == asked.read_bytes()
        assert same_grid(image, label)
        assert 0 <= image.array.min() < image.array.max() <= 1
    assert list(manifest["condition_id"]) == [f"c{k % 3:06d}" for k in range(7)]
    assert list(manifest["role"]) == ["train"] * 7
    assert list(manifest["timesteps"][0]) == [999, 666, 332]
    assert manifest["scalars"][0]["age"] == 30.0
    assert pd.read_csv(reference / "manifest.csv").shape == manifest.shape


def test_the_card_names_all_subjects(reference):
    card = CohortCard.read(reference)
    assert card.seen.prior == Seen(images=("p1", "p2"))
    assert card.seen.control == Seen(images=("s0", "s1"), labels=("s0", "s1"))
    assert card.seen.conditions == Seen(labels=("s0", "s1"))
    assert (card.counts, card.grid, card.scheme) == ({"done": 7}, tiny.GRID, tiny.SCHEME)


def test_draws_differ_by_noise_and_by_condition(reference):
    images = {
        path.name: read_image(path, case_id="x").array for path in reference.glob("images/*.gz")
    }
    arrays = np.stack([images[name].ravel() for name in sorted(images)])
    assert len(np.unique(arrays, axis=0)) == 7


@pytest.mark.parametrize("micro_batches_per_shard", [2, 4])
def test_shards_change_nothing(world, reference, tmp_path, micro_batches_per_shard):
    plan = tiny.tiny_plan(world, n=7, micro_batches_per_shard=micro_batches_per_shard)
    manifest = draw(plan, tmp_path)
    assert tiny.bytes_of(tmp_path) == tiny.bytes_of(reference)
    same_but_for_the_run(manifest, read_manifest(reference))


def test_the_seed_changes_images_and_no_label(world, reference, tmp_path):
    draw(tiny.tiny_plan(world, n=7, seed=8), tmp_path)
    other, this = tiny.bytes_of(tmp_path), tiny.bytes_of(reference)
    assert all((other[name] == this[name]) == name.startswith("labels") for name in this)


def test_low_precision_changes_images_a_little(world, reference, tmp_path):
    plan = tiny.tiny_plan(world, n=7)
    settings = plan.settings.model_copy(update={"precision": "bfloat16"})
    draw(plan.model_copy(update={"settings": settings}), tmp_path)
    assert tiny.bytes_of(tmp_path) != tiny.bytes_of(reference)
    tiny.assert_images_close(tmp_path, reference, atol=0.05)


def test_a_rerun_writes_nothing_anew(world, reference, tmp_path):
    out = shutil.copytree(reference, tmp_path / "cohort")
    before = stamps(out)
    parts = {path.name: path.read_bytes() for path in out.glob("parts/*")}
    draw(tiny.tiny_plan(world, n=7), out)
    assert stamps(out) == before
    assert {path.name: path.read_bytes() for path in out.glob("parts/*")} == parts


def test_a_rerun_writes_what_is_damaged_or_lost_and_nothing_else(world, reference, tmp_path):
    out = shutil.copytree(reference, tmp_path / "cohort")
    layout = CohortLayout(out)
    before = stamps(out)
    layout.image("r000000").write_bytes(b"damaged")
    layout.label("r000003").unlink()
    layout.part(2).write_bytes(layout.part(2).read_bytes()[:-20])  # a cut last line: r000005
    layout.manifest.unlink()
    manifest = draw(tiny.tiny_plan(world, n=7), out)
    assert tiny.bytes_of(out) == tiny.bytes_of(reference)
    changed = {name for name, stamp in stamps(out).items() if before.get(name) != stamp}
    assert {name.split(".")[0] for name in changed} == {"r000000", "r000003", "r000005"}
    assert list(manifest["attempt"]) == [2, 1, 1, 2, 1, 1, 1]
    same_but_for_the_run(manifest, read_manifest(reference))


def test_a_folder_begun_with_other_shards_goes_on(world, reference, tmp_path):
    out = shutil.copytree(reference, tmp_path / "cohort")
    before = stamps(out)
    draw(tiny.tiny_plan(world, n=7, micro_batches_per_shard=4), out)
    assert stamps(out) == before
    assert len(list(out.glob("parts/*"))) == 4


def test_the_model_is_loaded_once(world, tmp_path):
    root = shutil.copytree(world, tmp_path / "world")
    weights = [root / "prior" / "prior.safetensors", root / "control" / "control.safetensors"]

    def lose_the_weights(progress):
        for path in weights:
            path.unlink(missing_ok=True)

    draw(tiny.tiny_plan(root, seed=11), tmp_path / "cohort", report=lose_the_weights)
    assert check_cohort(tmp_path / "cohort") == []


def test_nan_makes_a_failed_row_and_the_rest_goes_on(world, tmp_path):
    """Weights of the core's channels overflow: a condition with a core gives NaN, others do not."""
    root = shutil.copytree(world, tmp_path / "world")
    shutil.rmtree(root / "conditions")
    tiny.make_tiny_conditions(root / "conditions", n=2, cores=(2.5, 0.0))
    prior = load_prior(root / "prior")
    control = load_control(root / "control", prior=prior)
    control.network.encoder.layers[0].weight[:, 8:] = 3e38  # channels of the second structure
    overflowing = tiny.control_of(control.network, prior, method=control.card.settings)
    write_control(root / "control", overflowing)
    manifest = draw(tiny.tiny_plan(root, n=4), tmp_path / "cohort")
    assert list(manifest["status"]) == ["failed", "done", "failed", "done"]
    assert manifest["reason"][0] == "the image holds NaN or infinity"
    assert len(tiny.bytes_of(tmp_path / "cohort")) == 4  # two images, two labels
    assert check_cohort(tmp_path / "cohort") == []
    again = draw(tiny.tiny_plan(root, n=4), tmp_path / "cohort")
    assert list(again["attempt"]) == [2, 1, 2, 1]


def test_a_shard_that_cannot_write_stops_no_other(world, reference, tmp_path):
    obstacle = CohortLayout(tmp_path).image("r000002")
    obstacle.mkdir(parents=True)
    with pytest.raises(ComputeError, match="1 fault") as caught:
        draw(tiny.tiny_plan(world, n=7), tmp_path)
    assert "shard 1 (requests r000002 to r000003): writing" in str(caught.value)
    assert not CohortLayout(tmp_path).manifest.exists()
    done = stamps(tmp_path)
    obstacle.rmdir()
    draw(tiny.tiny_plan(world, n=7), tmp_path)
    assert tiny.bytes_of(tmp_path) == tiny.bytes_of(reference)
    after = stamps(tmp_path)
    for name in ("r000000.nii.gzimages", "r000005.nii.gzlabels", "r000006.nii.gzimages"):
        assert after[name] == done[name]


def test_a_rerun_removes_what_killed_runs_left(world, reference, tmp_path):
    out = shutil.copytree(reference, tmp_path / "cohort")
    for name in ("images/.r000001.nii.gz.7.tmp", "parts/.shard-00000.jsonl.7.tmp", ".plan.7.tmp"):
        (out / name).write_bytes(b"half")
    draw(tiny.tiny_plan(world, n=7), out)
    assert list(out.rglob("*.tmp")) == []
    assert tiny.bytes_of(out) == tiny.bytes_of(reference)


def test_another_plan_in_the_folder_is_refused(world, reference, tmp_path):
    out = shutil.copytree(reference, tmp_path / "cohort")
    with pytest.raises(WorkFolderError, match="n: 7 there, 6 now"):
        draw(tiny.tiny_plan(world, n=6), out)
    assert tiny.bytes_of(out) == tiny.bytes_of(reference)


def test_a_folder_in_use_is_refused(world, tmp_path):
    with locked(tmp_path, purpose="testing"), pytest.raises(WorkFolderError, match="in use by"):
        draw(tiny.tiny_plan(world), tmp_path)


@pytest.mark.parametrize("place", ["conditions", "prior", "control", "", "conditions-sources"])
def test_nothing_that_is_read_is_written_over(world, tmp_path, place):
    root = shutil.copytree(world, tmp_path / "world")
    plan = tiny.tiny_plan(root)
    before = set(root.rglob("*"))
    out = {"conditions-sources": world / place}.get(place, root / place)
    with pytest.raises(WorkFolderError, match=r"generating: the output .*, which is read"):
        draw(plan, out)
    assert set(root.rglob("*")) == before


@pytest.mark.parametrize("content", [None, b"no volume", b""])
def test_a_condition_that_changed_fails_its_own_requests(world, tmp_path, content):
    root = shutil.copytree(world, tmp_path / "world")
    changed = root / "conditions" / "maps" / "c000001.nii.gz"
    before = changed.read_bytes()
    changed.write_bytes(content or changed.with_name("c000000.nii.gz").read_bytes())
    plan = tiny.tiny_plan(root, n=7)
    manifest = draw(plan, tmp_path / "cohort")
    failed = manifest[manifest["status"] == "failed"]
    assert list(failed["request_id"]) == ["r000001", "r000004"]
    assert failed["reason"].str.contains("c000001.nii.gz: .*another hash", regex=True).all()
    assert (failed["condition_id"] == "c000001").all()
    assert check_cohort(tmp_path / "cohort") == []
    changed.write_bytes(before)
    assert list(draw(plan, tmp_path / "cohort")["status"]) == ["done"] * 7
    assert check_cohort(tmp_path / "cohort") == []


def test_a_prior_that_changed_after_planning_is_refused(world, tmp_path):
    root = shutil.copytree(world, tmp_path / "world")
    plan = tiny.tiny_plan(root, seed=12)
    tiny.make_tiny_prior(root / "prior", seed=5)
    tiny.make_tiny_control(root / "control", root / "prior", seed=6)
    with pytest.raises(ComputeError, match="loading what a plan needs: 2 faults"):
        draw(plan, tmp_path / "cohort")


def test_a_control_of_another_prior_is_refused(world, tmp_path):
    root = shutil.copytree(world, tmp_path / "world")
    tiny.make_tiny_prior(root / "prior", seed=5)
    with pytest.raises(ModelError, match="trained on another prior"):
        tiny.tiny_plan(root)


def test_what_does_not_fit_is_listed_before_anything_is_drawn(world, tmp_path):
    root = shutil.copytree(world, tmp_path / "world")
    identity = root / "conditions" / "spec.json"
    identity.write_text(identity.read_text().replace('"core"', '"kernel"'))
    (root / "conditions" / "maps" / "c000002.nii.gz").unlink()
    with pytest.raises(CohortError, match="3 faults") as caught:
        tiny.tiny_plan(root, n=0)
    for found in ("n = 0, expected at least 1", "kernel", "c000002.nii.gz first"):
        assert found in str(caught.value)
