import numpy as np
import pytest
import torch

from vcmaug.downstream.augment import AugmentSettings, augmented
from vcmaug.downstream.data import LabelledVolumes, build_bank
from vcmaug.downstream.fit import FitSettings, fit, predict
from vcmaug.downstream.segmenter import Segmenter, SegmenterSettings

AUGMENT = AugmentSettings(versions=2, elastic_mm=1.0)
TINY = SegmenterSettings(channels=(8, 16), num_res_units=0)


def _volumes(num: int = 3, *, first: int = 0) -> LabelledVolumes:
    generator = np.random.default_rng(first)
    labels = np.zeros((num, 16, 16, 16), dtype=np.uint8)
    for number in range(num):
        corner = generator.integers(2, 6, 3)
        labels[(number, *[slice(c, c + 8) for c in corner])] = 1
    images = 0.7 * labels + 0.15 * generator.random(labels.shape)
    return LabelledVolumes(
        names=tuple(f"k{first + number}" for number in range(num)),
        images=torch.from_numpy(images.astype(np.float32))[:, None],
        labels=torch.from_numpy(labels),
        spacing_mm=(1.0, 1.0, 1.0),
    )


def _fit(synthetic: LabelledVolumes | None = None, **more: object) -> tuple[Segmenter, object]:
    return fit(
        _volumes(),
        synthetic,
        num_structures=1,
        segmenter=TINY,
        augment=AUGMENT,
        settings=FitSettings.model_validate({"updates": 8, "batch_size": 2, **more}),
        seed=0,
    )


def _weights(network: Segmenter) -> torch.Tensor:
    return torch.cat([p.detach().ravel() for p in network.parameters()])


def test_the_segmenter_learns_a_bright_box() -> None:
    network, record = _fit(updates=150, learning_rate=0.01)
    test = _volumes(2, first=50)
    found = predict(network, test.images)
    overlap = 2 * np.sum(found * test.labels.numpy()) / (found.sum() + test.labels.numpy().sum())
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
    volumes = _volumes(1)
    image, labels = volumes.images[0], volumes.labels[0]

    def version(name: str, number: int, seed: int = 0) -> torch.Tensor:
        return augmented(
            image,
            labels,
            settings=AUGMENT,
            spacing_mm=(1, 1, 1),
            name=name,
            version=number,
            seed=seed,
        )[0]

    assert torch.equal(version("a", 0), image)
    assert torch.equal(version("a", 1), version("a", 1))
    for other in (version("a", 2), version("b", 1), version("a", 1, seed=1)):
        assert not torch.equal(version("a", 1), other)


def test_augmentation_invents_no_label() -> None:
    bank = build_bank(_volumes(), AUGMENT, versions=5, seed=0)
    assert set(bank.labels.unique().tolist()) <= {0, 1}
    assert bank.images.shape == (3, 5, 1, 16, 16, 16)


def test_a_batch_comes_from_seed_and_step() -> None:
    bank = build_bank(_volumes(), AUGMENT, versions=3, seed=0)
    first = bank.draw(4, seed=0, step=7, purpose="x")
    again = bank.draw(4, seed=0, step=7, purpose="x")
    other = bank.draw(4, seed=0, step=8, purpose="x")
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("stem_factor", [1, 2])
def test_logits_have_the_shape_of_the_image(stem_factor: int) -> None:
    network = Segmenter(TINY.model_copy(update={"stem_factor": stem_factor}), num_structures=3)
    assert network(torch.zeros(2, 1, 16, 16, 16)).shape == (2, 4, 16, 16, 16)
