"""What all tests share: hypothesis without deadlines, and the real volumes where they are."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:  # the cores are taken by the processes
    os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("vcmaug", deadline=None, max_examples=50)
settings.load_profile("vcmaug")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured here is not the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def _real(name: str) -> Path:
    """Return a folder of real volumes, or skip and say so."""
    root = os.environ.get("VCMAUG_DATA")
    if root is None or not (Path(root) / name).is_dir():
        pytest.skip(f"real volumes: VCMAUG_DATA names no folder that holds {name}")
    return Path(root) / name


@pytest.fixture
def task04() -> Path:
    """Hippocampi of the Medical Segmentation Decathlon."""
    return _real("task04_hippocampus")


@pytest.fixture
def ixi() -> Path:
    """Brains of IXI with DLMUSE label maps."""
    return _real("ixi_t1w_2mm")
