"""Tiny data for the face: labelled balls in a plain folder, and a prior of random weights."""

from pathlib import Path

import numpy as np
import pytest
import tiny

import vcmaug as va
from vcmaug.conditions.conditions import Conditions
from vcmaug.data.nifti import write_image, write_label_map
from vcmaug.data.volume import Volume

NETWORK = va.VCM(**tiny.LAID_OUT)


def write_balls(folder: Path, *, num: int = 10) -> Path:
    """Write a plain folder of labelled balls, each of another size."""
    for number in range(num):
        label = tiny.label_map_of(radius=4.5 + 0.15 * number, core=2.2 + 0.05 * number)
        noise = np.random.default_rng(number).random(label.shape) * 0.2
        image = Volume((0.35 * label.array + noise).astype(np.float32), tiny.AFFINE)
        write_image(folder / "images" / f"b{number:02d}.nii.gz", image)
        write_label_map(folder / "labels" / f"b{number:02d}.nii.gz", label)
    return folder


@pytest.fixture(scope="session")
def balls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of raw data."""
    return write_balls(tmp_path_factory.mktemp("balls"))


@pytest.fixture(scope="session")
def cases(balls: Path) -> va.Cases:
    """The balls, prepared without naming a folder."""
    return va.prepare(balls, scheme=["shell", "core"], grid=tiny.GRID)


@pytest.fixture(scope="session")
def split(cases: va.Cases):
    """Three subjects for the test, two for validation."""
    return cases.split(test=3, validation=2, seed=0)


@pytest.fixture(scope="session")
def prior(tmp_path_factory: pytest.TempPathFactory) -> va.Prior:
    """A prior of random weights."""
    return va.Prior.load(tiny.make_tiny_prior(tmp_path_factory.mktemp("prior")))


@pytest.fixture(scope="session")
def control(split, prior: va.Prior) -> va.Control:
    """A control that was trained for three updates."""
    few = split.train.labelled(2, seed=0)
    return va.train(NETWORK, few, prior=prior, updates=3, batch_size=2, deformed_copies=0)


@pytest.fixture(scope="session")
def asked(split, prior: va.Prior) -> Conditions:
    """Six conditions of two subjects."""
    few = split.train.labelled(2, seed=0)
    return va.conditions(few, va.chains([tiny.PERTURB]), n=6, seed=5, prior=prior)
