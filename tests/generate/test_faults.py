"""What goes wrong at scale, in real processes where it must: memory, disk, Ctrl-C."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import tiny
import torch

from vcmaug.cohort.card import CohortCard
from vcmaug.cohort.check import check_cohort
from vcmaug.cohort.manifest import read_manifest
from vcmaug.errors import CohortError, ComputeError
from vcmaug.files import read_json_lines
from vcmaug.generate.drawer import Drawer
from vcmaug.generate.run import generate

SMALL_DISK = """
import resource, sys, tiny
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
tiny.generate_in_workers(sys.argv[1], sys.argv[2], workers=0, n=7, steps=3)
"""
INTERRUPTED = "import sys, tiny; tiny.generate_in_workers(sys.argv[1], sys.argv[2], 2, 60, 8)"


def run_of(code: str, *arguments: object) -> subprocess.Popen:
    """Start a generation in a process group of its own."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def fitting(monkeypatch, most: int, fault: Exception) -> list[int]:
    """Let no more than so many requests fit into memory; return the sizes that were tried."""
    sizes: list[int] = []
    draw = Drawer.__call__

    def draw_if_it_fits(drawer, targets, noise, **others):
        sizes.append(len(targets))
        if len(targets) > most:
            raise fault
        return draw(drawer, targets, noise, **others)

    monkeypatch.setattr(Drawer, "__call__", draw_if_it_fits)
    return sizes


@pytest.mark.parametrize(
    "fault",
    [torch.OutOfMemoryError("no"), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_what_does_not_fit_is_drawn_in_halves(world, tmp_path, monkeypatch, fault):
    plan = tiny.tiny_plan(world, n=5, micro_batch_size=5)
    generate(plan, out=tmp_path / "whole", compute=tiny.IN_PROCESS)
    sizes = fitting(monkeypatch, 2, fault)
    generate(plan, out=tmp_path / "halves", compute=tiny.IN_PROCESS)
    assert sizes == [5, 3, 2, 1, 2]
    manifest = read_manifest(tmp_path / "halves")
    assert list(manifest["drawn_together"]) == [2, 2, 1, 2, 2]
    assert check_cohort(tmp_path / "halves") == []
    whole = read_manifest(tmp_path / "whole")
    assert list(whole["label_sha256"]) == list(manifest["label_sha256"])
    tiny.assert_images_close(tmp_path / "whole", tmp_path / "halves", atol=1e-4)


def test_one_volume_that_does_not_fit_is_a_failed_row(world, tmp_path, monkeypatch):
    fitting(monkeypatch, 0, torch.OutOfMemoryError("no memory"))
    with pytest.raises(CohortError, match=r"every request failed.*out of memory \(no memory\)"):
        generate(tiny.tiny_plan(world, n=2), out=tmp_path, compute=tiny.IN_PROCESS)
    assert list(read_manifest(tmp_path)["status"]) == ["failed"] * 2
    monkeypatch.undo()
    generate(tiny.tiny_plan(world, n=2), out=tmp_path, compute=tiny.IN_PROCESS)
    assert list(read_manifest(tmp_path)["attempt"]) == [2, 2]


def test_a_damaged_part_is_drawn_again(world, reference, tmp_path):
    out = shutil.copytree(reference, tmp_path / "cohort")
    part = min(out.glob("parts/*"))
    lines = part.read_bytes().splitlines(keepends=True)
    lines[2] = b"\0" * (len(lines[2]) - 1) + b"\n"  # what a power cut leaves of a page
    part.write_bytes(b"".join(lines) + b"\xff\xfe\n")
    (out / "manifest.parquet").unlink()
    merged = generate(tiny.tiny_plan(world, n=7), out=out, compute=tiny.IN_PROCESS)
    assert merged.restarts == CohortCard.read(out).num_restarts == 1
    assert tiny.bytes_of(out) == tiny.bytes_of(reference)
    assert check_cohort(out) == []


def test_another_runtime_error_is_no_want_of_memory(world, tmp_path, monkeypatch):
    sizes = fitting(monkeypatch, 0, RuntimeError("shapes do not fit"))
    with pytest.raises(ComputeError, match="RuntimeError: shapes do not fit"):
        generate(tiny.tiny_plan(world, n=2), out=tmp_path, compute=tiny.IN_PROCESS)
    assert set(sizes) == {2}


def test_a_full_disk_leaves_nothing_half_written(world, reference, tmp_path):
    """The operating system refuses to write beyond a size that images have and rows have not."""
    largest = max(path.stat().st_size for path in reference.glob("images/*"))
    run = run_of(SMALL_DISK, world, tmp_path, largest - 1)
    _, errors = run.communicate(timeout=120)
    assert run.returncode != 0
    assert "Nothing was left half-written; free some space" in errors
    assert "Traceback" in errors  # a script has no command line that would put it into words
    there = tiny.bytes_of(tmp_path)
    whole = tiny.bytes_of(reference)
    assert len(there) < len(whole)
    assert there.items() <= whole.items()
    assert list(tmp_path.rglob("*.tmp")) == []
    generate(tiny.tiny_plan(world, n=7), out=tmp_path, compute=tiny.IN_PROCESS)
    assert tiny.bytes_of(tmp_path) == whole


def test_an_interrupted_run_drains_and_goes_on(world, tmp_path):
    out = tmp_path / "cohort"
    run = run_of(INTERRUPTED, world, out)
    deadline = time.monotonic() + 120
    while not list(out.glob("parts/*")):
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGINT)  # as Ctrl-C does: to all processes of the group
    _, errors = run.communicate(timeout=120)
    assert "not begun, since the run was interrupted" in errors
    lines = [line for part in out.glob("parts/*") for line in read_json_lines(part)]
    rows = [line for line in lines if line["status"] == "done"]
    assert 0 < len(rows) < 60
    assert len(list(out.glob("images/*.nii.gz"))) == len(rows)  # nothing without its row
    plan = tiny.tiny_plan(world, n=60, steps=8)
    generate(plan, out=out, compute=tiny.IN_PROCESS)
    assert list(read_manifest(out)["attempt"]) == [1] * 60
    assert check_cohort(out) == []
