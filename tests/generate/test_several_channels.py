"""Draws for conditions of several channels: any subset, written or lazy, the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from vcmaug.cohort.manifest import read_manifest
from vcmaug.conditions.build import build_conditions
from vcmaug.conditions.chain import ConditionSettings
from vcmaug.control.base import write_control
from vcmaug.control.method import control_method
from vcmaug.control.shown import ChannelSettings
from vcmaug.data.nifti import write_image
from vcmaug.data.seen import Seen
from vcmaug.data.volume import Volume
from vcmaug.generate.run import generate
from vcmaug.ldm.prior import load_prior

NAMES = ["label_map", "image"]
STEPS = [
    {"name": "perturb", "max_displacement_mm": 2, "smoothness_mm": 6},
    {"name": "modalities", "channels": NAMES, "subsets": "each"},
]


def conditions(root: Path, folder: Path, *, lazy: bool) -> Path:
    """Build four conditions of two cases: map, map, image, image."""
    sources = []
    for number, case in enumerate(tiny.make_tiny_cases(root / "sources")):
        noise = np.random.default_rng(number).random(tiny.GRID.shape).astype(np.float32)
        path = root / "sources" / f"image{number}.nii.gz"
        write_image(path, Volume(noise, tiny.AFFINE))
        sources.append(replace(case, images={"image": path}))
    build_conditions(
        ConditionSettings(chains=[{"steps": STEPS}]),
        sources,
        folder=folder,
        scheme=tiny.SCHEME,
        n=4,
        seed=5,
        roles={},
        lazy=lazy,
        compute=tiny.IN_PROCESS,
    )
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny world with a control that sees label map and image."""
    root = tmp_path_factory.mktemp("world")
    prior = load_prior(tiny.make_tiny_prior(root / "prior"))
    settings = control_method(tiny.VCM)
    torch.manual_seed(0)
    network = settings.network(prior.spec, num_structures=2, names=NAMES)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    shown = ChannelSettings(steps=(STEPS[1],))
    control = tiny.control_of(
        network, prior, method=settings, seen=Seen(labels=("s0",)), shown=shown
    )
    write_control(root / "control", control)
    conditions(root, root / "conditions", lazy=False)
    return root


def test_written_and_lazy_conditions_give_the_same_cohort(world: Path, tmp_path: Path) -> None:
    generate(tiny.tiny_plan(world, n=4), out=tmp_path / "a", compute=tiny.IN_PROCESS)
    other = tmp_path / "world"
    other.mkdir()
    for name in ("prior", "control"):
        (other / name).symlink_to(world / name)
    conditions(other, other / "conditions", lazy=True)
    assert not (other / "conditions" / "maps").exists()
    generate(tiny.tiny_plan(other, n=4), out=tmp_path / "b", compute=tiny.IN_PROCESS)
    assert list(read_manifest(tmp_path / "a")["status"]) == ["done"] * 4
    assert tiny.bytes_of(tmp_path / "a") == tiny.bytes_of(tmp_path / "b")


def test_a_changed_channel_fails_its_request(world: Path, tmp_path: Path) -> None:
    other = tmp_path / "world"
    other.mkdir()
    for name in ("prior", "control"):
        (other / name).symlink_to(world / name)
    conditions(other, other / "conditions", lazy=False)
    plan = tiny.tiny_plan(other, n=4)
    changed = other / "conditions" / "channels-image" / "c000002.nii.gz"
    write_image(changed, Volume(np.zeros(tiny.GRID.shape, dtype=np.float32), tiny.AFFINE))
    generate(plan, out=tmp_path / "a", compute=tiny.IN_PROCESS)
    rows = read_manifest(tmp_path / "a").set_index("condition_id")
    assert list(rows["status"]) == ["done", "done", "failed", "done"]
    assert "c000002.nii.gz: not the file of its table" in rows["reason"]["c000002"]
