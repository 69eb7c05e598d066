"""Cohorts of a rectified flow, and guided ones: shards, starts, the plan and the manifest."""

from pathlib import Path

import pytest
import tiny

from vcmaug.cohort.check import check_cohort
from vcmaug.cohort.manifest import read_manifest
from vcmaug.control.base import load_control
from vcmaug.errors import CohortError, ModelError
from vcmaug.generate.drawer import Drawer
from vcmaug.generate.run import generate
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
