"""The benchmark of growth: memory, copied runs, processes, flags."""

import os
import subprocess
import sys

import fake_runs
import pytest

from benchmarks.growth import __main__ as growth
from benchmarks.growth import memory as memory_lib
from benchmarks.growth import parts
from common import config as config_lib

HOLDER = "x = b'x' * 100_000_000; print('held', flush=True); input()"


@pytest.mark.slow
def test_each_size_has_a_process_of_its_own():
    part = parts.Part("processes", other_process, ())
    found = dict(growth.rows(part, (1, 2)))
    assert found[1]["id"] != found[2]["id"]
    assert os.getpid() not in {row["id"] for row in found.values()}


def other_process(size):
    return {"id": os.getpid()}


def test_copied_runs_differ_in_method_and_seed(tmp_path, monkeypatch):
    def train(folder, names, settings):
        fake_runs.write(folder.parent, folder.name, tasks=names)

    monkeypatch.setattr(parts, "train", train)
    parts.copy_runs(10, tmp_path)
    found = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert found == sorted(f"{m}_seed{s}" for m in parts.METHODS for s in (0, 1))
    config = config_lib.Config.read(tmp_path / "runs/split_seed1/config.yaml")
    assert (config.replay.retention, config.seed) == ("split", 1)


def test_memory_is_that_of_all_descendants():
    """A child of a child holds it, and gives it back when it ends."""
    command = f"import subprocess as s; s.run([{sys.executable!r}, '-c', {HOLDER!r}])"
    words = [sys.executable, "-c", command]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, text=True, **pipes) as child:
        assert child.stdout.readline() == "held\n"
        family = memory_lib.family(os.getpid())
        assert len(family) >= 3 and child.pid in family
        with memory_lib.Memory() as memory:
            pass
        child.communicate("\n")
    assert memory.most > 100_000_000 + memory_lib.resident(os.getpid()) / 2
    assert child.pid not in memory_lib.family(os.getpid())


@pytest.mark.parametrize(
    "words, message",
    [
        (["replays"], "there is no part 'replays'; there are replay, runs"),
        (["runs", "plan", "--sizes", "10"], "--sizes needs one PART"),
        (["--sizes", "10"], "--sizes needs one PART"),
        (["runs", "--sizes", "-1"], "--sizes has -1; a size is a whole number from 1"),
        (["plan", "--sizes", "1.5"], "--sizes has 1.5; a size is a whole number"),
    ],
)
def test_bad_flags_are_refused(words, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["growth", *words])
    with pytest.raises(SystemExit):
        growth.main()
    assert message in " ".join(capsys.readouterr().err.split())
