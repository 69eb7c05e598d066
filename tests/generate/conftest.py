"""A tiny world and the cohort that every run of its plan must repeat."""

from pathlib import Path

import pytest
import tiny

from vcmaug.generate.run import generate


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    """Return a folder with prior, control and three conditions; nobody writes into it."""
    return tiny.make_tiny_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def reference(world, tmp_path_factory) -> Path:
    """Return the cohort of seven requests drawn in process, one micro-batch per shard."""
    out = tmp_path_factory.mktemp("reference")
    generate(tiny.tiny_plan(world, n=7), out=out, compute=tiny.IN_PROCESS)
    return out
