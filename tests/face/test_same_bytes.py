"""One cohort by four doors: the face here and with workers, the command line, a Dask cluster."""

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tiny
import yaml
from typer.testing import CliRunner

import vcmaug as va
from vcmaug.cli.main import app

TRAINING = {"updates": 3, "batch_size": 2, "deformed_copies": 0}
DRAWING = {"micro_batch_size": 4}
RECIPE = "recipe.yaml"


def hashes(cohort: Path) -> dict[str, str]:
    """Return the SHA-256 of every image and label map, by name."""
    return {
        name: hashlib.sha256(content).hexdigest() for name, content in tiny.bytes_of(cohort).items()
    }


def prepared_for(recipe: Path) -> None:
    """Run the verbs before `generate`, in this process."""
    out = str(recipe.parent / "work" / "same")
    for verb in ("prepare", "train-prior", "train-control", "build-conditions"):
        place = f"{out}/cases" if verb == "prepare" else out
        ended = CliRunner().invoke(app, [verb, str(recipe), "--out", place])
        assert ended.exit_code == 0, ended.output


def vcmaug(*words: str, cwd: Path) -> None:
    """Run a verb as a user does."""
    command = [sys.executable, "-W", "ignore", "-m", "vcmaug.cli.main", *words]
    subprocess.run(command, check=True, cwd=cwd, capture_output=True)


def write_recipe(path: Path, *, balls: Path, prior: Path, n: int) -> None:
    """Write a recipe of the same cohort."""
    network = {**tiny.LAID_OUT, "encoder_channels": [4, 8]}
    content = {
        "name": "same",
        "data": {
            "source": str(balls),
            "scheme": {"shell": 1, "core": 2},
            "grid": tiny.GRID.model_dump(mode="json"),
        },
        "splits": {"num_test": 3, "num_validation": 2, "seed": 0},
        "prior": {"folder": str(prior)},
        "control": {"network": {**network, "channels": [8, 16]}, "training": TRAINING},
        "conditions": {"n": 6, "chains": [{"steps": [tiny.PERTURB.model_dump(mode="json")]}]},
        "generate": {"n": n, "sampler": {"steps": 2, "start": 0.65}, "strength": 1.5, **DRAWING},
        "study": {"num_labelled": [2], "seeds": [0]},
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False))


@contextmanager
def cluster() -> Iterator[str]:
    """Yield the address of a Dask scheduler with two workers, all started by hand."""
    dask = [sys.executable, "-W", "ignore", "-m"]
    start = [*dask, "distributed.cli.dask_scheduler", "--host", "127.0.0.1"]
    start += ["--port", "0", "--no-dashboard"]
    scheduler = subprocess.Popen(start, stderr=subprocess.PIPE, text=True)
    workers = []
    try:
        assert scheduler.stderr is not None
        found = (re.search(r"Scheduler at:\s+(tcp://\S+)", line) for line in scheduler.stderr)
        address = next(match.group(1) for match in found if match)
        one = [
            *dask,
            "distributed.cli.dask_worker",
            address,
            "--nthreads",
            "1",
            "--no-dashboard",
        ]
        workers = [subprocess.Popen(one, stderr=subprocess.DEVNULL) for _ in range(2)]
        yield address
    finally:
        for process in [*workers, scheduler]:
            process.terminate()
        for process in [*workers, scheduler]:
            process.wait(30)
        if scheduler.stderr is not None:
            scheduler.stderr.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("n", [6, pytest.param(100, marks=pytest.mark.slow)])
def test_every_door_leaves_the_same_bytes(
    balls: Path, prior: va.Prior, tmp_path: Path, n: int
) -> None:
    assert prior.folder is not None
    cases = va.prepare(balls, scheme=["shell", "core"], grid=tiny.GRID)
    few = cases.split(test=3, validation=2, seed=0).train.labelled(2, seed=0)
    control = va.train(va.VCM(**tiny.LAID_OUT), few, prior=prior, **TRAINING)
    asked = va.conditions(few, va.chains([tiny.PERTURB]), n=6, seed=0, prior=prior)
    draw = va.Drawer(prior, control, sampler=va.DDIM(steps=2, start=0.65), strength=1.5)
    here = va.generate(draw, asked, out=tmp_path / "here", n=n, **DRAWING)
    va.generate(draw, asked, out=tmp_path / "workers", n=n, workers=2, **DRAWING)

    write_recipe(tmp_path / RECIPE, balls=balls, prior=prior.folder, n=n)
    prepared_for(tmp_path / RECIPE)
    vcmaug("generate", RECIPE, "--workers", "2", cwd=tmp_path)
    by_verbs = tmp_path / "work" / "same" / "replicates" / "n2-s0" / "cohort"
    found = {"workers": hashes(tmp_path / "workers"), "verbs": hashes(by_verbs)}

    by_verbs.rename(tmp_path / "by_verbs")
    with cluster() as address:
        vcmaug("generate", RECIPE, "--scheduler", address, cwd=tmp_path)
    found["cluster"] = hashes(by_verbs)
    assert len(here) == n
    assert len(hashes(here.folder)) == 2 * n
    assert {door: one == hashes(here.folder) for door, one in found.items()} == dict.fromkeys(
        found, True
    )
