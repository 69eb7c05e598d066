"""Cores: as many as this process may use, whoever says so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vcmaug.compute import resolve_compute
from vcmaug.cores import allowed_cores
from vcmaug.errors import ComputeError
from vcmaug.provenance import machine


@pytest.fixture(autouse=True)
def of_eight(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Eight cores, no control group and no Slurm."""
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr("vcmaug.cores._GROUPS", tmp_path / "groups")
    monkeypatch.setattr("vcmaug.cores._OWN_GROUPS", tmp_path / "own")


def grouped(folder: Path, own: str, files: dict[str, str]) -> None:
    """Write what the kernel says of the groups of a process, and their limits."""
    (folder / "own").write_text(own)
    for name, content in files.items():
        path = folder / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


V1 = "4:memory:/job\n3:cpuset:/\n2:cpu,cpuacct:/job/step\n1:name=systemd:/\n"


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("", {}, 8),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),  # half a core is one thread
        ("0::/job/step\n", {"job/step/cpu.max": "max 100000\n", "job/cpu.max": "300000 100000"}, 3),
        ("0::/seen/from/outside\n", {"cpu.max": "400000 100000\n"}, 4),
        (V1, {"cpu,cpuacct/job/cpu.cfs_quota_us": "-1\n"}, 8),
        (
            V1,
            {
                "cpu,cpuacct/job/step/cpu.cfs_quota_us": "600000\n",
                "cpu,cpuacct/job/step/cpu.cfs_period_us": "100000\n",
                "cpu,cpuacct/job/cpu.cfs_quota_us": "500000\n",
                "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
            },
            5,
        ),
        ("0::/\n", {"cpu.max": "what is this\n"}, 8),
    ],
)
def test_control_groups_and_those_around_them_limit_cores(
    tmp_path: Path, own: str, files: dict[str, str], expected: int
) -> None:
    grouped(tmp_path, own, files)
    assert allowed_cores() == expected


@pytest.mark.parametrize(
    ("granted", "expected"), [("3", 3), ("64", 8), ("0", 1), ("", 8), ("3(x2)", 8)]
)
def test_slurm_limits_cores(monkeypatch: pytest.MonkeyPatch, granted: str, expected: int) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", granted)
    assert allowed_cores() == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system pins no process")
def test_a_process_that_is_pinned_has_fewer_cores() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from vcmaug.cores import allowed_cores; print(allowed_cores())"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout == "1\n"


def test_all_that_counts_cores_counts_those(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 96)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert machine()["cores"] == 8
    with pytest.raises(ComputeError, match="it may use 8 cores"):
        resolve_compute(gpus=1)
    found = Path(__file__).parents[1].glob("vcmaug/**/*.py")
    assert [path.name for path in found if "cpu_count" in path.read_text()] == ["cores.py"]
