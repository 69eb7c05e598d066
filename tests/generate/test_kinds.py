"""Cohorts of a rectified flow, and guided ones: shards, starts, the plan and the manifest."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from vcmaug.cohort.check import check_cohort
from vcmaug.cohort.manifest import read_manifest
from vcmaug.conditions.base import Target
from vcmaug.control.base import load_control, write_control
from vcmaug.control.methods.vcm import VCM
from vcmaug.errors import CohortError, ModelError
from vcmaug.generate.drawer import Drawer
from vcmaug.generate.noise import Noise
from vcmaug.generate.run import generate
from vcmaug.generate.samplers import DDIM
from vcmaug.ldm.prior import load_prior


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny world whose prior is a flow that can be guided."""
    root = tmp_path_factory.mktemp("flow")
    schedule = {"name": "flow", "shift": "by-grid"}
    return tiny.make_tiny_world(root, schedule=schedule, drop_scalars=0.1)


def drawn(out: Path, **plan: object) -> Path:
    """Draw a cohort in process; return its folder."""
    generate(tiny.tiny_plan(**plan), out=out, compute=tiny.IN_PROCESS)  # type: ignore[arg-type]
    return out


def test_a_cohort_of_a_flow_says_so_and_shards_change_nothing(flow: Path, tmp_path: Path) -> None:
    one, other = (
        drawn(tmp_path / str(count), root=flow, n=5, micro_batches_per_shard=count)
        for count in (1, 3)
    )
    assert tiny.bytes_of(one) == tiny.bytes_of(other)
    manifest = read_manifest(one)
    assert list(manifest["status"]) == ["done"] * 5
    assert set(manifest["prior_kind"]) == {"flow"}
    assert set(manifest["guidance"]) == {1.0}
    assert check_cohort(one) == []


def test_a_cohort_of_a_flow_goes_on_and_starts_within_the_schedule(
    flow: Path, tmp_path: Path
) -> None:
    """A lost image is drawn again to the same bytes, from the latents that the map lets expect."""
    root = tmp_path / "world"
    shutil.copytree(flow, root)
    prior = load_prior(root / "prior")
    settings = VCM(**tiny.LAID_OUT)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = settings.network(prior.spec, num_structures=2)
    write_control(root / "control", tiny.control_of(network, prior, method=settings))
    out = drawn(tmp_path / "out", root=root, n=4, start=0.6)
    before = tiny.bytes_of(out)
    (out / "images" / "r000002.nii.gz").unlink()
    assert tiny.bytes_of(drawn(out, root=root, n=4, start=0.6)) == before
    assert list(read_manifest(out)["timesteps"][0]) == [599, 399, 199]


def test_strength_and_interval_work_on_a_flow(flow: Path) -> None:
    prior = load_prior(flow / "prior")
    drawer = Drawer(prior, load_control(flow / "control", prior=prior), sampler=DDIM(steps=4))
    target, noise = Target(tiny.label_map_of(radius=6.0), {"age": 40.0}), Noise(0, ["a"])
    alone = replace(drawer, control=None)([target], noise)
    assert np.array_equal(replace(drawer, strength=0.0)([target], noise), alone)
    whole = drawer([target], noise)
    first = replace(drawer, interval=(0.3, 1.0))([target], noise)
    assert not np.allclose(whole, alone, atol=1e-4)
    assert not np.array_equal(first, whole)
    assert not np.array_equal(first, alone)


def test_the_kind_of_the_prior_decides_about_the_images(
    flow: Path, world: Path, tmp_path: Path
) -> None:
    """Same weights, other schedule."""
    first, second = (
        drawn(tmp_path / name, root=root, n=2) for name, root in (("f", flow), ("e", world))
    )
    assert set(read_manifest(second)["prior_kind"]) == {"epsilon"}
    assert tiny.bytes_of(first) != tiny.bytes_of(second)


def test_guidance_is_in_the_plan_and_in_the_manifest_and_changes_the_draw(
    flow: Path, tmp_path: Path
) -> None:
    plain, guided = (
        drawn(tmp_path / str(scale), root=flow, n=2, guidance=scale) for scale in (1.0, 4.0)
    )
    assert set(read_manifest(guided)["guidance"]) == {4.0}
    assert tiny.tiny_plan(flow, guidance=4.0).settings.guidance == 4.0
    assert tiny.bytes_of(plain) != tiny.bytes_of(guided)


def test_guidance_of_a_prior_that_always_saw_its_scalars_is_refused(world: Path) -> None:
    with pytest.raises(CohortError, match="guidance is 4, and prior 'tiny' always saw its scalars"):
        tiny.tiny_plan(world, guidance=4.0)
    prior = load_prior(world / "prior")
    control = load_control(world / "control", prior=prior)
    with pytest.raises(ModelError, match="guidance is 4"):
        Drawer(prior, control, guidance=4.0)
