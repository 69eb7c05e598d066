"""Shards drawn by hand: in any order, small in transit, with the plan's threads."""

import pickle

import numpy as np
import pytest
import tiny
import torch

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import read_manifest
from vcmaug.data.volume import Volume
from vcmaug.errors import CohortError, WorkFolderError
from vcmaug.files import read_json_lines
from vcmaug.generate.run import generate
from vcmaug.generate.worker import ShardTask, draw_shard


def test_any_order_of_shards_leaves_the_same_cohort(world, reference, tmp_path):
    plan = tiny.tiny_plan(world, n=7).claim(tmp_path)
    for shard in reversed(range(plan.num_shards)):
        done = draw_shard(ShardTask(str(tmp_path), shard, "cpu"))
        assert done.num_requests == done.num_drawn == (1 if shard == 3 else 2)
        assert done.num_redrawn == 0
        assert done.peak_mib > 50
    assert tiny.bytes_of(tmp_path) == tiny.bytes_of(reference)
    generate(plan, out=tmp_path, compute=tiny.IN_PROCESS)
    assert list(read_manifest(tmp_path)["attempt"]) == [1] * 7


def test_rows_follow_their_files(world, tmp_path):
    tiny.tiny_plan(world).claim(tmp_path)
    layout = CohortLayout(tmp_path)
    layout.label("r000001").mkdir(parents=True)  # the second label of the shard cannot be written
    with pytest.raises(WorkFolderError, match="r000001"):
        draw_shard(ShardTask(str(tmp_path), 0, "cpu"))
    assert layout.image("r000000").exists()
    assert read_json_lines(layout.part(0)) == [{"status": "begun"}]


def test_a_map_that_points_elsewhere_is_refused(world, tmp_path, monkeypatch):
    """Its shape and voxel size are the prior's, and its image would be a mirrored one."""
    asked = tiny.label_map_of

    def mirrored(**settings):
        volume = asked(**settings)
        return Volume(volume.array, np.diag([-1.0, 1, 1, 1]) @ volume.affine)

    monkeypatch.setattr(tiny, "label_map_of", mirrored)
    tiny.make_tiny_conditions(tmp_path / "conditions")
    for name in ("prior", "control"):
        (tmp_path / name).symlink_to(world / name)
    with pytest.raises(
        CohortError, match=r"not on the prior's grid: found .*LAS.*, expected .*RAS"
    ):
        generate(tiny.tiny_plan(tmp_path), out=tmp_path / "out", compute=tiny.IN_PROCESS)


def test_a_task_is_small_and_holds_no_tensor(tmp_path):
    assert len(pickle.dumps(ShardTask(str(tmp_path), 3, "cpu", "requests a to b"))) < 1000


def test_the_thread_count_is_given_back(world, tmp_path):
    tiny.tiny_plan(world).claim(tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        draw_shard(ShardTask(str(tmp_path), 0, "auto"))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
