"""Real worker processes: the same bytes with any number of them, killed or not."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest
import tiny

from vcmaug.cohort.manifest import read_manifest
from vcmaug.cohort.row import RUN_COLUMNS
from vcmaug.compute import Compute
from vcmaug.errors import WorkFolderError
from vcmaug.generate.run import generate


def worker_processes() -> list[psutil.Process]:
    """Return the Dask workers below this process."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def same_cohort(first, second) -> None:
    """Compare bytes of images and labels, and manifests without the run's columns."""
    assert tiny.bytes_of(first) == tiny.bytes_of(second)
    pd.testing.assert_frame_equal(
        read_manifest(first).drop(columns=list(RUN_COLUMNS)),
        read_manifest(second).drop(columns=list(RUN_COLUMNS)),
    )


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 4])
def test_workers_leave_the_bytes_of_one_process(world, reference, tmp_path, workers):
    plan = tiny.tiny_plan(world, n=7)
    generate(plan, out=tmp_path, compute=Compute("workers", num=workers))
    same_cohort(tmp_path, reference)


def test_two_workers_one_killed_leave_the_bytes_of_one_process(world, reference, tmp_path):
    killed = []

    def kill_once(progress):
        if not killed:
            killed.append(worker_processes()[0])
            killed[0].send_signal(signal.SIGKILL)

    plan = tiny.tiny_plan(world, n=7)
    generate(plan, out=tmp_path, compute=Compute("workers", num=2), report=kill_once)
    assert len(killed) == 1
    same_cohort(tmp_path, reference)


def test_a_killed_run_goes_on_with_the_same_command(world, tmp_path):
    """A run with two workers; while it runs a second is refused; then all of it is killed."""
    size = {"n": 30, "steps": 8}
    out = tmp_path / "killed"
    code = (
        f"import tiny; tiny.generate_in_workers({str(world)!r}, {str(out)!r}, workers=2, "
        f"n={size['n']}, steps={size['steps']})"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    run = subprocess.Popen([sys.executable, "-c", code], env=environment)
    try:
        deadline = time.monotonic() + 120
        while len(list(out.glob("images/*.nii.gz"))) < 2:
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(WorkFolderError, match=r"in use by process \d+ \(generating\)"):
            generate(tiny.tiny_plan(world, **size), out=out, compute=tiny.IN_PROCESS)
        family = psutil.Process(run.pid).children(recursive=True)
    finally:
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []
    num_done = len(list(out.glob("images/*.nii.gz")))
    assert 0 < num_done < size["n"]
    assert not (out / "manifest.parquet").exists()

    generate(tiny.tiny_plan(world, **size), out=out, compute=tiny.IN_PROCESS)
    generate(tiny.tiny_plan(world, **size), out=tmp_path / "whole", compute=tiny.IN_PROCESS)
    same_cohort(out, tmp_path / "whole")
