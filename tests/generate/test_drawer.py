"""The drawer: a pure function of objects, with the bytes that the worker writes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from vcmaug.cohort.manifest import read_manifest
from vcmaug.compute.devices import threads_of
from vcmaug.conditions.base import Target
from vcmaug.control.base import load_control
from vcmaug.data.nifti import image_bytes, read_label_map
from vcmaug.data.volume import Volume
from vcmaug.errors import ModelError
from vcmaug.files import read_json
from vcmaug.generate.drawer import Drawer
from vcmaug.generate.noise import Noise
from vcmaug.generate.samplers import DDIM, DDPM, Sampler
from vcmaug.ldm import autoencoder
from vcmaug.ldm.prior import Prior, load_prior


@pytest.fixture
def prior(world: Path) -> Prior:
    """Return the tiny prior."""
    return load_prior(Path(tiny.tiny_plan(world).prior_folder))


@pytest.fixture
def drawer(world: Path, prior: Prior) -> Drawer:
    """Return the drawer of the tiny plan, made from objects."""
    control = load_control(world / "control", prior=prior)
    return Drawer(prior, control, sampler=DDIM(steps=3, start=1))


def targets_of(cohort: Path, world: Path) -> list[Target]:
    """Return what the requests of a cohort ask for, read from its manifest alone."""
    found = []
    for row in read_manifest(cohort).to_dict("records"):
        path = world / "conditions" / "maps" / f"{row['condition_id']}.nii.gz"
        label_map = read_label_map(path, case_id=row["condition_id"])
        found.append(Target(label_map, row["scalars"]))
    return found


def test_it_draws_the_bytes_that_a_worker_writes(
    drawer: Drawer, world: Path, reference: Path
) -> None:
    """Of the micro-batches of two and of the last, a single request."""
    targets, seed = targets_of(reference, world), read_json(reference / "plan.json")["seed"]
    for first in range(0, 7, 2):
        names = [f"r{k:06d}" for k in range(first, min(first + 2, 7))]
        with threads_of(1):  # as the plan says
            images = drawer(targets[first : first + 2], Noise(seed, names))
        for name, image in zip(names, images, strict=True):
            content = image_bytes(Volume(image, tiny.AFFINE))
            assert content == (reference / "images" / f"{name}.nii.gz").read_bytes()


@pytest.mark.parametrize("sampler", [DDIM(steps=2), DDPM(steps=2)])
def test_it_is_a_pure_function(
    drawer: Drawer, world: Path, reference: Path, sampler: Sampler
) -> None:
    """Twice the same, whatever was drawn between, and in any order of the batch."""
    drawer, targets = replace(drawer, sampler=sampler), targets_of(reference, world)[:3]
    images = drawer(targets, Noise(1, ["a", "b", "c"]))
    assert not np.array_equal(images, drawer(targets, Noise(1, ["a", "b", "c"], 1)))
    torch.manual_seed(5)
    assert np.array_equal(images, drawer(targets, Noise(1, ["a", "b", "c"])))
    turned = drawer(targets[::-1], Noise(1, ["c", "b", "a"]))
    np.testing.assert_allclose(turned[::-1], images, atol=1e-5)


def test_without_a_control_the_prior_draws_for_the_scalars_alone(drawer: Drawer) -> None:
    alone = Drawer(drawer.prior, None, sampler=DDIM(steps=3, start=1))
    young, old = (Target(scalars={"age": age}) for age in (25.0, 75.0))
    first, second = alone([young, old], Noise(0, ["a", "a"]))
    assert first.shape == drawer.prior.spec.grid.shape
    assert not np.allclose(first, second, atol=1e-4)


def test_at_strength_0_a_control_draws_what_the_prior_draws(drawer: Drawer) -> None:
    target, noise = Target(tiny.label_map_of(radius=6.0), {"age": 40.0}), Noise(0, ["a"])
    without = Drawer(drawer.prior, None, sampler=drawer.sampler)([target], noise)
    np.testing.assert_array_equal(replace(drawer, strength=0.0)([target], noise), without)
    assert not np.allclose(drawer([target], noise), without, atol=1e-4)


def test_a_control_wants_a_label_map(drawer: Drawer) -> None:
    with pytest.raises(ModelError, match="a target has no label map"):
        drawer([Target()], Noise(0, ["a"]))


@pytest.mark.parametrize("textured", [False, True])
def test_large_volumes_are_decoded_in_parts(
    prior: Prior, textured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same images, never more at once than the limit, each with its own texture."""
    sizes: list[int] = []

    def decode(self: Prior, z: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        sizes.append(len(z))
        images = self.autoencoder.decode(z)
        return images if noise is None else images + noise

    monkeypatch.setattr(Prior, "decode", decode)
    generator = torch.Generator().manual_seed(0)
    z_0 = torch.randn(5, *prior.spec.latent_shape, generator=generator)
    drawer = Drawer(replace(prior, texture=prior if textured else None))  # any that is one
    noise = Noise(0, ["a", "b", "c", "d", "e"])
    with torch.no_grad():
        whole = drawer._images(z_0, noise)
        voxels = int(np.prod(prior.spec.grid.shape))
        monkeypatch.setattr(autoencoder, "_VOXELS_AT_ONCE", 2 * voxels)
        parts = drawer._images(z_0, noise)
    assert sizes == [5, 2, 2, 1]
    assert parts.shape == (5, *prior.spec.grid.shape)
    np.testing.assert_allclose(parts, whole, atol=1e-5)
