"""Sweeps on Ray: a machine that dies changes nothing, Ctrl-C loses nothing."""

import importlib.util
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import dummy_benchmark
import pytest

from common import config as config_lib
from common.records import files
from dreamerv2.run import rundir
from dreamerv2.sweep import plan as plan_lib
from dreamerv2.sweep import process as process_lib
from dreamerv2.sweep import progress

MISSING = importlib.util.find_spec("ray") is None
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(MISSING, reason="needs Ray: pip install -e '.[sweep]'"),
]

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def place(monkeypatch):
    """A folder with a short name, as sockets need it, for all that Ray writes."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="ray-"))
    for key, value in {
        "TMPDIR": str(folder),
        "RAY_TMPDIR": str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        "DUMMY_PAUSE": "0.06",
    }.items():
        monkeypatch.setenv(key, value)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def cluster(place):
    """Two machines with two processors each, all of them this one."""
    from ray import cluster_utils

    options = {"num_cpus": 2, "object_store_memory": 100 * 2**20}
    cluster = cluster_utils.Cluster()
    try:
        cluster.add_node(**options, include_dashboard=False)
        cluster.add_node(**options)
        yield cluster
    finally:
        cluster.shutdown()


def start(sweep_file: pathlib.Path, logdir: pathlib.Path, *words: str):
    command = [sys.executable, "-m", "dreamerv2.sweep", str(sweep_file)]
    return subprocess.Popen(
        [*command, "--logdir", str(logdir), *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def contents(folder: pathlib.Path) -> dict:
    """What a run has left, without where it lies and what it has printed."""
    config = config_lib.Config.read(folder / files.CONFIG).update(logdir="")
    states = sorted(folder.glob("checkpoints/*/*"))
    return {
        "config": config,
        "metrics": (folder / files.METRICS).read_text(),
        **{str(path.relative_to(folder)): path.read_text() for path in states},
        "files": sorted(p.name for p in folder.iterdir() if p.name != "trial.log"),
    }


def attempts(folder: pathlib.Path) -> int:
    """How often a trial was started."""
    try:
        return (folder / process_lib.LOG).read_text().count("=== ")
    except OSError:
        return 0


def parent(pid: int) -> int:
    """The process that has started another one, 0 if that is gone."""
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text().split()[3])
    except OSError:
        return 0


def running_on(raylet: int, folders: list[pathlib.Path]) -> dict[pathlib.Path, int]:
    """The trials whose worker a machine has started, and their processes."""
    locks = {folder: folder / files.LOCK for folder in folders}
    texts = {
        folder: lock.read_text() for folder, lock in locks.items() if lock.exists()
    }
    pids = {folder: int(text) for folder, text in texts.items() if text}
    return {
        folder: pid for folder, pid in pids.items() if parent(parent(pid)) == raylet
    }


def kill_machine(raylet: int) -> None:
    """Kills Ray's processes of a machine, its workers too; not the trials."""
    pids = [int(path.name) for path in pathlib.Path("/proc").glob("[0-9]*")]
    for pid in (raylet, *(pid for pid in pids if parent(pid) == raylet)):
        os.kill(pid, signal.SIGKILL)


def wait_for(condition, process: subprocess.Popen) -> None:
    while not condition():
        time.sleep(0.05)
        assert process.poll() is None, process.communicate()[0]


def test_a_node_that_dies_midway_changes_nothing(
    cluster, write_sweep, tmp_path, monkeypatch
):
    sweep_file = write_sweep(seeds="0-2")
    (_, second) = cluster.list_all_nodes()
    raylet = second.all_processes["raylet"][0].process.pid
    logdir = tmp_path / "logs"
    plan = plan_lib.make(sweep_file, str(logdir))
    folders = [trial.folder for trial in plan.trials]
    process = start(sweep_file, logdir, "--address", cluster.address)

    def midway() -> bool:
        there = running_on(raylet, folders)
        # As many as it has processors: none is being started at this moment.
        full = len(there) == 2
        return full and any(20 <= progress.saved_step(f) <= 60 for f in there)

    wait_for(midway, process)
    lost = running_on(raylet, folders)
    kill_machine(raylet)
    wait_for(lambda: not any(map(parent, lost.values())), process)
    # The trials have died with their workers, not come to their ends.
    assert all(progress.saved_step(folder) < 120 for folder in lost)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert "6 finished" in output and "failures: 1" in output
    # Those of the second machine were started anew, and no other.
    assert {f for f in folders if attempts(f) == 2} == set(lost), output
    assert sum(map(attempts, folders)) == 6 + len(lost)
    monkeypatch.setenv("DUMMY_PAUSE", "0")
    for trial in plan.trials:
        alone = trial.config.update(logdir=str(tmp_path / "alone"))
        dummy_benchmark.train(alone, trial.total)
        assert contents(trial.folder) == contents(tmp_path / "alone" / trial.tag)
        last = json.loads((trial.folder / files.METRICS).read_text().splitlines()[-1])
        assert last["step"] == 120


def test_ctrl_c_saves_and_the_same_command_runs_what_is_missing(
    write_sweep, tmp_path, place
):
    methods = '{fifo: "", bad: --state_bonus}'
    sweep_file = write_sweep(methods=methods, seeds=0, retries=1)
    logdir = tmp_path / "logs"
    good, bad = (trial.folder for trial in plan_lib.make(sweep_file, logdir).trials)
    process = start(sweep_file, logdir, "--cpus", "2")
    wait_for(lambda: progress.seen_step(good) >= 5, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "The same command goes on." in output
    saved = progress.saved_step(good)
    assert 5 <= saved < 120 and not rundir.is_locked(good)
    assert (
        saved % dummy_benchmark.SNAPSHOTS
        or "SIGTERM" in (good / "trial.log").read_text()
    )
    process = start(sweep_file, logdir, "--cpus", "2")
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 1, output
    assert progress.is_finished(good, 120) and attempts(good) == 2
    last = progress.saved_step(bad)  # more than 20 if Ctrl-C came that late
    assert 20 <= last < 25 and attempts(bad) in (2, 3)
    assert f"bad_s0 has failed: exit status 1 at step {last}" in output
    assert "the power has failed" in output
    assert "1 failed" in output and "1 finished" in output
    assert not list(place.glob("dreamerv2-ray-*"))
