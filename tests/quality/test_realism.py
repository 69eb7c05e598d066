"""A classifier tells what can be told, and no more."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vcmaug.quality.realism import RealismSettings, tell_apart

SETTINGS = RealismSettings(channels=(4, 8), updates=60, batch_size=8, learning_rate=5e-3)


def images(seed: int, *, spread: float, num: int = 24) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).standard_normal((num, 8, 8, 8))
    return (0.5 + spread * noise).astype(np.float32)


def test_other_texture_is_told_and_the_same_is_not() -> None:
    real = images(0, spread=0.1)
    told = tell_apart(real, images(1, spread=0.02), settings=SETTINGS, seed=0)
    same = tell_apart(real, images(2, spread=0.1), settings=SETTINGS, seed=0)
    assert told.auc > 0.95
    assert 0.2 < same.auc < 0.8
    assert (told.num_real, told.num_made) == (24, 24)


def test_the_same_seed_gives_the_same_figure() -> None:
    real, made = images(0, spread=0.1), images(1, spread=0.08, num=12)
    first, second = (tell_apart(real, made, settings=SETTINGS, seed=3) for _ in range(2))
    assert first == second


def test_three_images_are_too_few() -> None:
    with pytest.raises(ValueError, match="needs 4 each"):
        tell_apart(images(0, spread=0.1), images(1, spread=0.1, num=3), settings=SETTINGS, seed=0)


def test_the_threads_of_the_process_do_not_matter() -> None:
    before, seen = torch.get_num_threads(), set()
    images = np.random.default_rng(0).random((12, 8, 8, 8), dtype=np.float32)
    torch.set_num_threads(2)
    try:
        tell_apart(
            images[:6],
            images[6:],
            settings=RealismSettings(updates=2, channels=(4, 8)),
            seed=0,
            report=lambda progress: seen.add(torch.get_num_threads()),
        )
    finally:
        torch.set_num_threads(before)
    assert seen == {1}
