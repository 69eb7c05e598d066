from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vcmaug.data.cases import Case
from vcmaug.data.geometry import reorient
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import write_image, write_label_map
from vcmaug.data.volume import Volume
from vcmaug.data.volumes import LabelledVolumes
from vcmaug.downstream.augment import Bank
from vcmaug.downstream.evaluator import train_evaluator
from vcmaug.downstream.fit import _num_synthetic, fit
from vcmaug.downstream.segmenters.unet import UNet
from vcmaug.downstream.settings import AugmentSettings, FitSettings, StudySettings
from vcmaug.downstream.tasks.segmentation import Segmentation
from vcmaug.errors import DataError, ModelError

TINY = UNet(channels=(8, 16), num_res_units=0)
TASK = Segmentation()
STUDY = StudySettings(segmenter=TINY, augment=AugmentSettings(versions=2))


def _volumes(num: int = 3, *, first: int = 0) -> LabelledVolumes:
    generator = np.random.default_rng(first)
    labels = np.zeros((num, 16, 16, 16), dtype=np.uint8)
    for number in range(num):
        corner = generator.integers(2, 6, 3)
        labels[(number, *[slice(c, c + 8) for c in corner])] = 1
    images = 0.7 * labels + 0.15 * generator.random(labels.shape)
    return LabelledVolumes(
        names=tuple(f"k{first + number}" for number in range(num)),
        images=images.astype(np.float32),
        labels=labels.astype(np.uint16),
        spacing_mm=(1.0, 1.0, 1.0),
        orientation="RAS",
        scheme=LabelScheme.from_mapping({"box": 1}),
    )


def _fit(
    synthetic: LabelledVolumes | None = None, **more: object
) -> tuple[torch.nn.Module, object]:
    settings = FitSettings.model_validate({"updates": 8, "batch_size": 2, **more})
    study = STUDY.model_copy(update={"fit": settings})
    return fit(_volumes(), synthetic, study=study, seed=0)


def _weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().ravel() for p in network.parameters()])


def test_the_segmenter_learns_a_bright_box() -> None:
    network, record = _fit(updates=150, learning_rate=0.01)
    test = _volumes(2, first=50)
    found = TASK.predict(network, test.tensors()[0])
    overlap = 2 * np.sum(found * test.labels) / (found.sum() + test.labels.sum())
    assert overlap > 0.85
    assert record.augmentation_seconds < record.seconds  # type: ignore[attr-defined]


def test_a_training_is_the_same_twice_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, _ = _fit(_volumes(first=9))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    second, _ = _fit(_volumes(first=9))
    assert torch.equal(_weights(first), _weights(second))


def test_a_cohort_that_has_no_share_of_the_batches_changes_nothing() -> None:
    alone, _ = _fit()
    beside, _ = _fit(_volumes(first=9), synthetic_share=0.0)
    mixed, _ = _fit(_volumes(first=9), synthetic_share=0.5)
    assert torch.equal(_weights(alone), _weights(beside))
    assert not torch.equal(_weights(alone), _weights(mixed))


def test_a_version_depends_on_seed_case_and_number_alone() -> None:
    def version(name: str, number: int, seed: int = 0) -> torch.Tensor:
        volumes = replace(_volumes(1), names=(name,))
        return Bank(volumes, AugmentSettings(), versions=1, seed=seed).version(0, number)[0]

    assert torch.equal(version("a", 1), version("a", 1))
    for other in (version("a", 2), version("b", 1), version("a", 1, seed=1)):
        assert not torch.equal(version("a", 1), other)


def _draws(seed: int, *, fresh: float = 0.5, steps: int = 6) -> tuple[Bank, list[torch.Tensor]]:
    bank = Bank(_volumes(), AugmentSettings(fresh=fresh), versions=3, seed=seed)
    return bank, [bank.draw(4, step=step, purpose="x")[0] for step in range(steps)]


def test_augmentation_invents_no_label() -> None:
    bank, _ = _draws(0)
    assert set(bank.labels.unique().tolist()) <= {0, 1}


STILL = AugmentSettings(
    fresh=1,
    scale=0,
    degrees=0,
    translation_mm=0,
    elastic_probability=0,
    log_gamma=0,
    noise=0,
    bias=0,
    flip=True,
)


@pytest.mark.parametrize(("orientation", "axis"), [("RAS", 0), ("LAS", 0), ("PIR", 2)])
def test_a_mirrored_version_keeps_the_left_on_the_left(orientation: str, axis: int) -> None:
    """Of two blocks on two sides, the larger is now the one and now the other."""
    array = np.zeros((16, 16, 16), dtype=np.uint8)
    array[2:6, 2:14, 2:14], array[10:14, 6:10, 6:10] = 1, 2
    labels = reorient(Volume(array, np.eye(4)), orientation).array
    volumes = LabelledVolumes(
        names=("k0",),
        images=(0.4 * (labels[None] > 0)).astype(np.float32),
        labels=(labels[None] + 2 * (labels[None] > 0)).astype(np.uint16),
        spacing_mm=(1.0, 1.0, 1.0),
        orientation=orientation,
        scheme=LabelScheme.from_mapping({"left_block": 3, "right_block": 4}),
    )
    bank = Bank(volumes, STILL, versions=12, seed=0)
    bank.draw(12, step=0, purpose="x")
    sizes = [int((one == 1).sum()) for one in bank.labels]
    assert set(sizes) == {4 * 12 * 12, 4 * 4 * 4}
    at_start = labels.take(range(8), axis=axis).max() == 1  # the axis points to the right
    for image, one in zip(bank.images[:, 0], bank.labels, strict=True):
        left = one.movedim(axis, 0)[:8] if at_start else one.movedim(axis, 0)[8:]
        assert set(left.unique().tolist()) == {0, 1}
        assert ((image > 0.2) == (one > 0)).float().mean() > 0.98  # but for a blur


def test_versions_with_one_side_alone_are_not_mirrored() -> None:
    scheme = LabelScheme.from_mapping({"left_box": 1})
    with pytest.raises(DataError, match="'left_box' has no 'right_box' to change places with"):
        Bank(replace(_volumes(), scheme=scheme), STILL, versions=2, seed=0)


def test_batches_come_from_seed_and_step() -> None:
    first, again, other = _draws(0)[1], _draws(0)[1], _draws(1)[1]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_the_cost_of_augmentation_follows_the_samples_drawn() -> None:
    for fresh, expected in ((0.0, 0), (0.25, 6), (0.5, 12)):
        bank, _ = _draws(0, fresh=fresh)  # 6 batches of 4
        assert bank.num_fresh == expected
    _, unchanged = _draws(0, fresh=0.0)
    raw = _volumes().tensors()[0]
    assert all(any(torch.equal(x, case) for case in raw) for x in torch.cat(unchanged))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 1.0])
def test_the_synthetic_share_is_exact_over_many_steps(share: float) -> None:
    settings = FitSettings(updates=400, batch_size=4, synthetic_share=share, real_only_final=0.25)
    drawn = [_num_synthetic(settings, step) for step in range(400)]
    assert sum(drawn[:300]) == round(share * 4 * 300)
    assert sum(drawn[300:]) == 0
    assert max(drawn) - min(drawn[:300]) <= 1


def test_a_loss_that_leaves_the_numbers_is_refused() -> None:
    with pytest.raises(ModelError, match="Lower learning_rate"):
        _fit(learning_rate=1e30, updates=60)


def test_an_evaluator_reads_label_maps_of_the_scheme(tmp_path: Path) -> None:
    scheme = LabelScheme.from_mapping({"box": 7})
    volumes = _volumes(2)
    cases = []
    for name, image, labels in zip(volumes.names, volumes.images, volumes.labels, strict=True):
        paths = tmp_path / f"{name}.nii.gz", tmp_path / f"{name}_label.nii.gz"
        write_image(paths[0], Volume(image, np.eye(4)))
        write_label_map(paths[1], Volume(7 * labels, np.eye(4)))
        cases.append(Case(name, name, {"image": paths[0]}, label=paths[1]))
    settings = FitSettings(updates=60, batch_size=2, learning_rate=0.01)
    study = StudySettings(segmenter=TINY, fit=settings)
    evaluator = train_evaluator(cases, study=study, scheme=scheme, seed=0)
    found = evaluator(volumes.images[:, ::-1])  # a view with a negative stride
    assert set(np.unique(found)) == {0, 7}
    assert np.mean((found == 7) == (volumes.labels[:, ::-1] == 1)) > 0.9


@pytest.mark.parametrize("stem_factor", [1, 2])
def test_logits_have_the_shape_of_the_image(stem_factor: int) -> None:
    network = TINY.model_copy(update={"stem_factor": stem_factor}).network(num_structures=3)
    assert network(torch.zeros(2, 1, 16, 16, 16)).shape == (2, 4, 16, 16, 16)


def test_a_grid_that_the_strides_do_not_divide_is_padded_and_cut_back() -> None:
    network = UNet(stem_factor=2, channels=(8, 16, 24)).network(num_structures=2).eval()
    images = torch.rand(1, 1, 13, 16, 18)
    padded = torch.nn.functional.pad(images, (0, 6, 0, 0, 0, 3))
    assert network(images).shape == (1, 3, 13, 16, 18)
    assert torch.equal(network(images), network(padded)[..., :13, :, :18])
