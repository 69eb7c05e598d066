"""Where work runs: the wish, the run in process, and real worker processes."""

import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import work_items
from distributed import LocalCluster

from vcmaug.compute import Compute, resolve_compute, run_all
from vcmaug.compute.devices import usable_gpus
from vcmaug.compute.where import gpu_model, visible_gpus
from vcmaug.errors import ComputeError


def squares(function, folder: Path, *, compute: Compute, num: int = 5, retries: int = 2):
    """Run a function over numbers and return number -> result."""
    found = {}
    items = [(str(folder), number) for number in range(num)]
    run_all(
        function,
        items,
        compute=compute,
        threads=1,
        on_done=lambda item, result: found.update({item[1]: result}),
        retries=retries,
    )
    return found


def test_without_a_wish_work_runs_in_process():
    assert resolve_compute() == Compute("in-process")
    assert resolve_compute(workers=0) == Compute("in-process")
    assert resolve_compute(workers=3) == Compute("workers", num=3)
    assert resolve_compute(scheduler="tcp://h:1").device == "auto"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is one of glibc")
def test_a_worker_keeps_the_memory_that_it_freed(tmp_path):
    found = squares(work_items.fresh_pages, tmp_path, compute=Compute("workers", num=1), num=2)
    assert found[1] < 5 * 1024  # of 50 * 1024, had it handed all back


def test_two_wishes_are_refused():
    with pytest.raises(ComputeError, match="--gpus and --workers exclude each other"):
        resolve_compute(gpus=1, workers=2)
    with pytest.raises(ComputeError, match="cannot be negative"):
        resolve_compute(workers=-1)


@pytest.mark.parametrize("chosen", ["", "-1", "NoDevFiles", "none", "void,0"])
def test_gpus_that_are_not_there_name_the_way_out(monkeypatch, chosen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    said = rf"--gpus 1 .* CUDA sees no GPU \(CUDA_VISIBLE_DEVICES is '{chosen}'\)\. Use --workers N"
    with pytest.raises(ComputeError, match=said):
        resolve_compute(gpus=1)
    assert gpu_model() == ""


def test_more_gpus_than_cuda_sees_are_refused(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    monkeypatch.setattr("vcmaug.compute.where.usable_gpus", lambda: 2)
    with pytest.raises(ComputeError, match=r"sees 2 GPUs .* Or use --gpus 2"):
        resolve_compute(gpus=4)
    assert resolve_compute(gpus=2).device == "cuda"
    monkeypatch.setattr("vcmaug.compute.where.usable_gpus", lambda: 0)  # as with a broken driver
    with pytest.raises(ComputeError, match=r"CUDA sees no GPU"):
        resolve_compute(gpus=1)


@pytest.mark.skipif(usable_gpus() > 0, reason="there is a GPU")
def test_gpus_that_are_named_where_there_are_none_are_refused(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(ComputeError, match=r"CUDA sees no GPU \(CUDA_VISIBLE_DEVICES is '0'\)"):
        resolve_compute(gpus=1)


@pytest.mark.parametrize(
    ("chosen", "seen"),
    [
        ("0,3", "0 3"),
        ("2, 0", "2 0"),
        ("0,-1,1", "0"),
        ("GPU-8932-d7,MIG-1,x", "GPU-8932-d7 MIG-1"),
    ],
)
def test_visible_gpus_are_read_as_cuda_reads_them(monkeypatch, chosen, seen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert visible_gpus() == seen.split()


def test_in_process_everything_but_the_failed_is_done(tmp_path):
    found = {}
    items = [(str(tmp_path), number) for number in range(4)]
    with pytest.raises(ComputeError, match="2 faults") as caught:
        run_all(
            work_items.square_but_refuse,
            items,
            compute=Compute("in-process"),
            threads=1,
            on_done=lambda item, result: found.update({item[1]: result}),
            retries=2,
        )
    assert found == {0: 0, 3: 9}
    assert "number 1 is refused." in str(caught.value)
    assert "ValueError: number 2 is a bug" in str(caught.value)
    assert (tmp_path / "tries-1").read_text() == "x"  # for a user to mend: not tried again
    assert (tmp_path / "tries-2").read_text() == "xxx"  # once and two retries


def test_one_cause_is_told_once(tmp_path):
    items = [(str(tmp_path), 1)] * 5
    with pytest.raises(ComputeError, match="of which 5 failed: 1 fault") as caught:
        run_all(
            work_items.square_but_refuse,
            items,
            compute=Compute("in-process"),
            threads=1,
            on_done=lambda item, result: None,
        )
    assert "and 2 more: number 1 is refused." in str(caught.value)


def test_in_process_starts_no_process(tmp_path):
    before = psutil.Process().children()
    assert squares(work_items.square, tmp_path, compute=Compute("in-process"))[4] == 16
    assert psutil.Process().children() == before


def test_workers_do_all_and_leave_nothing_behind(tmp_path):
    before = dict(os.environ)
    found = squares(work_items.square, tmp_path, compute=Compute("workers", num=2), num=20)
    assert found == {number: number**2 for number in range(20)}
    processes = {path.name.split("-")[1] for path in tmp_path.iterdir()}
    assert str(os.getpid()) not in processes
    assert dict(os.environ) == before
    names = [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]
    assert not [name for name in names if "spawn_main" in name]


def test_thread_count_reaches_the_environment_of_a_worker(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    seen = []
    run_all(
        work_items.threads_variable,
        [("", 0)],
        compute=Compute("workers", num=1),
        threads=3,
        on_done=lambda item, result: seen.append(result),
    )
    assert seen == ["3"]


def test_each_gpu_has_one_quiet_worker(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3,5")
    found = squares(work_items.gpu_of_worker, tmp_path, compute=Compute("gpus", num=2), num=8)
    assert len(set(found.values())) == 2  # pairs of process and GPU
    assert {gpu for _, gpu in found.values()} == {"0", "3"}
    assert capfd.readouterr() == ("", "")


def test_when_no_worker_comes_back_nothing_waits(tmp_path, monkeypatch):
    """The worker is killed after its first item, and no process can be started any more."""
    monkeypatch.setattr("vcmaug.compute.clients._RESTART_SECONDS", 1)
    items = [(str(tmp_path), number) for number in range(50)]

    async def fail(nanny):
        raise RuntimeError("no more processes")

    def kill(item, result):
        monkeypatch.setattr("distributed.Nanny.instantiate", fail)
        for child in psutil.Process().children(recursive=True):
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()

    with pytest.raises(ComputeError, match=r"1 fault\n.*: no worker process is left"):
        run_all(
            work_items.square_slowly,
            items,
            compute=Compute("workers", num=1),
            threads=1,
            on_done=kill,
        )


def test_when_dask_gives_a_worker_up_new_ones_go_on(tmp_path, monkeypatch):
    """The worker is killed once, and its nanny does not start it again."""
    monkeypatch.setattr("vcmaug.compute.clients._RESTART_SECONDS", 1)
    found = {}

    async def stay_down(nanny, exitcode):
        await nanny._unregister()

    def kill_once(item, result):
        if not found:
            for child in psutil.Process().children(recursive=True):
                if "spawn_main" in " ".join(child.cmdline()):
                    child.kill()
        found[item[1]] = result

    monkeypatch.setattr("distributed.Nanny._on_worker_exit", stay_down)
    items = [(str(tmp_path), number) for number in range(20)]
    compute = Compute("workers", num=1)
    run_all(work_items.square_slowly, items, compute=compute, threads=1, on_done=kill_once)
    assert found == {number: number**2 for number in range(20)}


@pytest.mark.slow
def test_a_script_without_a_main_guard_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"import work_items\nwork_items.square_in_workers({str(tmp_path)!r}, 1)\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    run = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    last = run.stderr.splitlines()[-1]
    assert last.startswith("vcmaug.errors.ComputeError: running work in 1 local worker process")
    assert '`if __name__ == "__main__":`' in last


def test_an_item_whose_worker_was_killed_runs_again(tmp_path):
    compute = Compute("workers", num=1)
    found = squares(work_items.square_but_die_once, tmp_path, compute=compute)
    assert found == {number: number**2 for number in range(5)}


def test_a_worker_that_always_raises_fails_nothing_while_another_is_sound(tmp_path):
    compute = Compute("workers", num=2)
    found = squares(work_items.square_where_sound, tmp_path, compute=compute, num=30)
    assert found == {number: number**2 for number in range(30)}


def test_an_item_whose_other_workers_died_is_handed_out_again(tmp_path, monkeypatch):
    monkeypatch.setattr("vcmaug.compute.clients._RESTART_SECONDS", 1)
    dead = [["tcp://127.0.0.1:9"]]
    monkeypatch.setattr(
        "vcmaug.compute.run._others", lambda client, at: dead.pop() if at and dead else []
    )
    found = squares(work_items.square_but_raise_once, tmp_path, compute=Compute("workers", num=1))
    assert found == {number: number**2 for number in range(5)}
    assert dead == []


def test_an_item_that_kills_every_worker_is_given_up_alone(tmp_path):
    compute = Compute("workers", num=1)
    with pytest.raises(ComputeError, match=r"1 fault\n.*2\): its worker process died each time"):
        squares(work_items.square_but_die, tmp_path, compute=compute, retries=1)
    done = {path.name.split("-")[0] for path in tmp_path.iterdir()}
    assert done == {"0", "1", "3", "4"}


def test_a_scheduler_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("vcmaug.compute.clients._START_SECONDS", 1)
    with pytest.raises(ComputeError, match=r"reaching the Dask scheduler at tcp://127\.0\.0\.1:9"):
        squares(
            work_items.square, Path(), compute=Compute("scheduler", address="tcp://127.0.0.1:9")
        )


def test_a_cluster_that_exists_is_used(tmp_path):
    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ) as cluster:
        compute = resolve_compute(scheduler=cluster.scheduler_address)
        assert squares(work_items.square, tmp_path, compute=compute)[3] == 9


def test_a_cluster_that_goes_away_is_named(tmp_path):
    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ) as cluster:
        items = [(str(tmp_path), number) for number in range(50)]
        with pytest.raises(ComputeError, match="connection to the Dask scheduler was lost"):
            run_all(
                work_items.square_slowly,
                items,
                compute=resolve_compute(scheduler=cluster.scheduler_address),
                threads=1,
                on_done=lambda item, result: cluster.close(),
            )


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupt_lets_what_runs_end_and_begins_nothing_more(tmp_path, workers):
    """As Ctrl-C does, the signal reaches all processes of the group."""
    code = f"import work_items; work_items.square_in_workers({str(tmp_path)!r}, {workers})"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    _wait_until(lambda: len(list(tmp_path.iterdir())) > 2)
    os.killpg(parent.pid, signal.SIGINT)
    _, errors = parent.communicate(timeout=60)
    assert "not begun, since the run was interrupted" in errors
    assert "What is finished is kept" in errors
    assert "KeyboardInterrupt" not in errors
    left = int(errors.split("of which ")[1].split(" ")[0])
    num_done = len({path.name.split("-")[0] for path in tmp_path.iterdir()})
    assert 0 <= num_done - (10_000 - left) <= workers  # some begin while they are taken back


def test_workers_die_with_their_parent(tmp_path):
    code = f"import work_items; work_items.square_in_workers({str(tmp_path)!r}, 2)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment)
    try:
        _wait_until(lambda: len(list(tmp_path.iterdir())) > 2)
        family = psutil.Process(parent.pid).children(recursive=True)
        assert len([p for p in family if "spawn_main" in " ".join(p.cmdline())]) == 2
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []


def _wait_until(condition, *, seconds: float = 60.0) -> None:
    """Wait for a condition, and fail when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
