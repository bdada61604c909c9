"""Laws of a sweep's trials: which are started, again or never; no Ray is needed."""

import io
import os
import pathlib
import signal
import subprocess
import sys
import time

import dummy_benchmark
import pytest

from common.records import files
from dreamerv2.run import rundir
from dreamerv2.sweep import __main__ as sweep
from dreamerv2.sweep import plan as plan_lib
from dreamerv2.sweep import process as process_lib
from dreamerv2.sweep import progress as progress_lib
from dreamerv2.sweep import supervisor
from dreamerv2.sweep import table as table_lib

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOOD, BAD = "", "--state_bonus"  # which fails at step 25


@pytest.fixture
def make(write_sweep, tmp_path):
    """Makes the plan of a sweep of one seed and 60 steps in all."""

    def make(methods: dict[str, str], retries: int = 2) -> plan_lib.Plan:
        form = {"methods": methods, "retries": retries, "logdir": tmp_path / "logs"}
        return plan_lib.make(write_sweep(flags="--cl --steps=30", seeds=0, **form))

    return make


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Pool:
    """Plays attempts: what `script` says for each start of a trial, then the real run.

    A script has, by tag, a list with an entry for each attempt: a number is the step
    to which it comes before it fails, an exception is raised, None runs to the end.
    """

    def __init__(self, plan: plan_lib.Plan, script=(), length: int = 1):
        self.trials = {trial.tag: trial for trial in plan.trials}
        self.script = {tag: list(entries) for tag, entries in dict(script).items()}
        self.length = length  # polls before an attempt ends
        self.deaf = False  # attempts do not end when they are asked to
        self.started: list[str] = []
        self.stopped: list[str] = []
        self.open: list[str] = []

    def launch(self, job: process_lib.Job):
        self.started.append(job.tag)
        assert job.tag not in self.open, "two attempts at one trial at once"
        self.open.append(job.tag)
        return Attempt(self, job)


class Attempt:
    def __init__(self, pool: Pool, job: process_lib.Job):
        self.host = ""
        self._pool, self._job, self._polls = pool, job, 0

    def poll(self):
        self.host = "here"
        self._polls += 1
        if self._job.tag in self._pool.stopped and not self._pool.deaf:
            return self._end(0)
        if self._polls <= self._pool.length:
            return None
        entries = self._pool.script.get(self._job.tag)
        entry = entries.pop(0) if entries else None
        if isinstance(entry, Exception):
            self._pool.open.remove(self._job.tag)
            raise entry
        trial = self._pool.trials[self._job.tag]
        dummy_benchmark.train(trial.config, trial.total if entry is None else entry)
        return self._end(0 if entry is None else 1)

    def _end(self, code: int):
        self._pool.open.remove(self._job.tag)
        folder = pathlib.Path(self._job.folder)
        done = progress_lib.is_finished(folder, self._job.total)
        return process_lib.Outcome(code, progress_lib.saved_step(folder), done)

    def stop(self):
        self._pool.stopped.append(self._job.tag)

    def close(self):
        self._pool.open.remove(self._job.tag)


def run(plan, pool, stop=(), clock=None):
    clock = clock or Clock()
    statuses = [supervisor.examine(trial) for trial in plan.trials]
    loop = supervisor.Loop(
        plan, statuses, pool, lambda _: None, clock=clock, sleep=clock.sleep
    )
    loop.run(stop)
    assert not pool.open
    return {status.trial.tag: status for status in statuses}


# What is saved decides.


def test_a_trial_is_finished_when_its_last_snapshot_is_whole(make):
    (trial,) = make({"a": GOOD}).trials
    assert supervisor.examine(trial).state == supervisor.WAITING
    dummy_benchmark.train(trial.config, 40)
    status = supervisor.examine(trial)
    assert (status.state, status.saved) == (supervisor.WAITING, 40)
    dummy_benchmark.train(trial.config, 60)
    assert supervisor.examine(trial).state == supervisor.FINISHED
    (trial.folder / "checkpoints" / "step-000000000060" / "state.json").write_text("{}")
    assert supervisor.examine(trial).state == supervisor.WAITING


def test_progress_is_the_last_whole_line_of_the_metrics(make):
    (trial,) = make({"a": GOOD}).trials
    assert progress_lib.seen_step(trial.folder) == 0
    dummy_benchmark.train(trial.config, 33)
    assert progress_lib.seen_step(trial.folder) == 33
    with open(trial.folder / files.METRICS, "a") as file:
        file.write('{"step": 34}\n{"step": 3')
    assert progress_lib.seen_step(trial.folder) == 34
    assert progress_lib.seen_step(trial.folder, action_repeat=2) == 33  # the snapshot


# What is started.


def test_only_what_is_missing_is_run(make):
    plan = make({"a": GOOD, "b": "--discount=0.9", "c": "--discount=0.8"})
    dummy_benchmark.train(plan.trials[1].config, 60)
    dummy_benchmark.train(plan.trials[2].config, 20)
    pool = Pool(plan)
    statuses = run(plan, pool)
    assert pool.started == ["a_s0", "c_s0"]
    assert {s.state for s in statuses.values()} == {supervisor.FINISHED}
    assert run(plan, Pool(plan)) and not Pool(plan).started


def test_a_trial_fails_for_good_after_its_retries_and_the_others_go_on(make):
    plan = make({"a": GOOD, "b": "--discount=0.9"}, retries=2)
    pool = Pool(plan, {"a_s0": [0, 0, 0, None]})
    statuses = run(plan, pool)
    assert pool.started.count("a_s0") == 3
    assert statuses["a_s0"].state == supervisor.FAILED
    assert statuses["a_s0"].problem == "exit status 1 at step 0"
    assert statuses["b_s0"].state == supervisor.FINISHED


def test_a_new_snapshot_gives_new_retries(make):
    plan = make({"a": GOOD}, retries=1)
    pool = Pool(plan, {"a_s0": [0, 20, 40, 45]})
    assert run(plan, pool)["a_s0"].state == supervisor.FINISHED
    assert pool.started == ["a_s0"] * 5
    plan = make({"c": "--discount=0.8"}, retries=1)
    pool = Pool(plan, {"c_s0": [0, 20, 20, None]})
    assert run(plan, pool)["c_s0"].state == supervisor.FAILED


def test_the_loss_of_a_machine_counts_as_a_failure_too(make):
    plan = make({"a": GOOD}, retries=1)
    lost = RuntimeError("the machine is gone")
    pool = Pool(plan, {"a_s0": [lost, None]})
    assert run(plan, pool)["a_s0"].state == supervisor.FINISHED
    plan = make({"c": "--discount=0.8"}, retries=1)
    status = run(plan, Pool(plan, {"c_s0": [lost, lost, None]}))["c_s0"]
    assert (status.state, status.problem) == (supervisor.FAILED, "the machine is gone")


def test_an_attempt_that_ends_well_but_early_is_none(make):
    plan = make({"a": GOOD}, retries=0)

    class Halfway(Attempt):
        def poll(self):
            dummy_benchmark.train(plan.trials[0].config, 20)
            return self._end(0)

    pool = Pool(plan)
    pool.launch = lambda job: (pool.open.append(job.tag), Halfway(pool, job))[1]
    status = run(plan, pool)["a_s0"]
    assert (status.state, status.saved) == (supervisor.FAILED, 20)


def test_attempts_keep_a_growing_distance(make):
    plan, clock = make({"a": GOOD}, retries=8), Clock()
    starts = []
    pool = Pool(plan, {"a_s0": [0] * 9})
    launch = pool.launch
    pool.launch = lambda job: (starts.append(clock.now), launch(job))[1]
    run(plan, pool, clock=clock)
    gaps = [b - a for a, b in zip(starts[:-1], starts[1:], strict=True)]
    assert gaps == sorted(gaps) and gaps[0] < 5 and 55 < gaps[-1] < 70


def test_while_another_process_has_the_folder_nothing_is_started(make):
    plan, clock = make({"a": GOOD}), Clock()
    pool = Pool(plan)
    lock = rundir.locked(plan.trials[0].folder)
    lock.__enter__()
    assert rundir.is_locked(plan.trials[0].folder)
    sleep = clock.sleep

    def release(seconds):
        if 60 < clock.now < 62:
            assert not pool.started
            lock.__exit__(None, None, None)
        sleep(seconds)

    clock.sleep = release
    assert run(plan, pool, clock=clock)["a_s0"].state == supervisor.FINISHED
    assert 60 < clock.now < 90


# Stopping.


class Stop:
    """A signal at a moment."""

    def __init__(self, clock: Clock, moment: float):
        self._clock, self._moment = clock, moment

    def __bool__(self) -> bool:
        return self._clock.now >= self._moment


def test_a_stop_lets_what_runs_save_and_starts_nothing_more(make):
    plan = make({"a": GOOD, "b": "--discount=0.9"}, retries=3)
    clock = Clock()
    pool = Pool(plan, {"b_s0": [0]}, length=3)
    dummy_benchmark.train(plan.trials[0].config, 20)
    pool.length = 5
    statuses = run(plan, pool, Stop(clock, 3.0), clock)
    assert pool.stopped == ["a_s0", "b_s0"] == pool.started
    assert {s.state for s in statuses.values()} == {supervisor.STOPPED}
    assert statuses["a_s0"].saved == 20
    statuses = run(plan, Pool(plan))
    assert {s.state for s in statuses.values()} == {supervisor.FINISHED}


def test_a_second_signal_ends_everything_at_once(make):
    plan, clock = make({"a": GOOD}), Clock()
    pool = Pool(plan, length=10**6)
    pool.deaf = True

    def sleep(seconds):
        clock.now += seconds
        if clock.now > 5:
            raise KeyboardInterrupt

    clock.sleep = sleep
    with pytest.raises(KeyboardInterrupt):
        run(plan, pool, Stop(clock, 3.0), clock)
    assert not pool.open


# The process of a trial.


def job(trial: plan_lib.Trial, plan: plan_lib.Plan, **changes) -> process_lib.Job:
    made = process_lib.Job(
        tag=trial.tag,
        command=tuple(plan.command(trial)),
        folder=str(trial.folder),
        total=trial.total,
        root=str(ROOT),
        cpus=1.0,
        gpus=0.0,
    )
    return made._replace(**changes)


@pytest.mark.slow
def test_a_process_prints_to_the_log_of_its_trial_and_tells_how_it_ended(make):
    plan = make({"a": GOOD, "b": BAD})
    for trial in plan.trials:
        process = process_lib.Process(job(trial, plan))
        process.start()
        outcome = process.wait(60)
        log = (trial.folder / process_lib.LOG).read_text()
        assert log.startswith("=== ") and f"--tag={trial.tag}" in log
        if trial.tag == "a_s0":
            assert outcome == (0, 60, True)
            assert "At step 60 of 60." in log
        else:
            assert outcome == (1, 20, False)
            end = progress_lib.log_end(trial.folder / process_lib.LOG)
            assert end.splitlines()[-1].endswith("the power has failed")


@pytest.mark.slow
def test_a_process_hears_signals_and_saves_when_it_is_stopped(make, monkeypatch):
    monkeypatch.setenv("DUMMY_PAUSE", "0.05")
    plan = make({"a": GOOD})
    process = process_lib.Process(job(plan.trials[0], plan))
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # as Ray does
    process.start()
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    while progress_lib.seen_step(plan.trials[0].folder) < 5:
        assert process.wait(0.05) is None
    pid = (plan.trials[0].folder / files.LOCK).read_text()
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    assert int(status.partition("SigBlk:")[2].split()[0], 16) == 0
    process.stop()
    outcome = process.wait(60)
    assert outcome.code == 0 and 5 <= outcome.saved < 60 and not outcome.finished


@pytest.mark.slow
def test_a_trial_dies_with_the_process_that_started_it(make, tmp_path):
    plan = make({"a": GOOD})
    folder = plan.trials[0].folder
    program = (
        "import sys, time\nfrom dreamerv2.sweep import process as p\n"
        f"process = p.Process(p.Job{tuple(job(plan.trials[0], plan))!r})\n"
        "process.start()\ntime.sleep(60)"
    )
    environment = {**os.environ, "DUMMY_PAUSE": "0.05"}
    worker = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, env=environment
    )
    while progress_lib.seen_step(folder) < 5:
        time.sleep(0.05)
    pid = int((folder / files.LOCK).read_text())
    os.kill(pid, 0)
    worker.kill()
    worker.wait()
    for _ in range(100):
        if not rundir.is_locked(folder):
            break
        time.sleep(0.05)
    assert not rundir.is_locked(folder)
    assert progress_lib.seen_step(folder) < 60


def test_a_trial_has_as_many_threads_as_processors_and_no_gpu_that_is_not_its_own(
    make, monkeypatch
):
    plan = make({"a": GOOD})
    one = process_lib.environment(job(plan.trials[0], plan))
    assert one["TF_NUM_INTRAOP_THREADS"] == one["OMP_NUM_THREADS"] == "1"
    assert one["CUDA_VISIBLE_DEVICES"] == "-1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    two = process_lib.environment(job(plan.trials[0], plan, cpus=1.5, gpus=0.25))
    assert two["TF_NUM_INTEROP_THREADS"] == "2"
    assert two["CUDA_VISIBLE_DEVICES"] == "3"
    assert two["PYTHONPATH"].split(os.pathsep)[0] == str(ROOT)


# What is shown.


def statuses_of(plan, *states):
    made = [supervisor.examine(trial) for trial in plan.trials]
    for status, (state, step) in zip(made, states, strict=True):
        status.state, status.step = state, step
    return made


def test_the_table_has_what_runs_first_and_fits_the_terminal(make):
    plan = make({name: f"--discount=0.{9 - i}" for i, name in enumerate("abcdef")})
    states = [("finished", 60), ("waiting", 0), ("running", 15), ("failed", 20)]
    statuses = statuses_of(plan, *states, ("waiting", 0), ("waiting", 0))
    lines = table_lib.table(statuses, 5)
    assert lines[0] == (
        "6 trials: 1 finished, 3 waiting, 1 running, 1 failed, 26% of 360 steps"
    )
    assert [line.split()[0] for line in lines[1:]] == ["d_s0", "c_s0", "b_s0", "..."]
    assert "and 3 more" in lines[-1] and " 25%" in lines[2]
    assert len(table_lib.table(statuses)) == 7


def test_time_left_is_what_is_missing_at_the_speed_of_those_that_run(make):
    plan, clock = make({"a": GOOD, "b": "--discount=0.9"}), Clock()
    statuses = statuses_of(plan, ("running", 20), ("waiting", 0))
    assert table_lib.left(statuses) is None
    progress = supervisor.timing.Progress(60, clock=clock)
    for step in (0, 20):
        progress.update(step)
        clock.now += 10
    statuses[0].progress = progress
    assert table_lib.left(statuses) == pytest.approx((40 + 60) / 2)
    assert statuses[0].left == pytest.approx(20)


def test_without_a_terminal_a_line_tells_what_changes_and_now_and_then_the_sum(make):
    stream, clock = io.StringIO(), Clock()
    table = table_lib.Table(stream, pause=60, clock=clock)
    statuses = statuses_of(make({"a": GOOD}), ("running", 5))
    for _ in range(65):
        table.show(statuses)
        clock.now += 1
    statuses[0].state = "failed"
    statuses[0].problem, statuses[0].failures = "exit status 1", 2
    table.show(statuses)
    first, second, third = stream.getvalue().splitlines()
    assert first.startswith("a_s0  running") and "1 trials: 1 running" in second
    assert "failed" in third and "exit status 1; failures: 2" in third


def test_what_has_failed_is_listed_with_the_end_of_its_log(make, capsys):
    plan = make({"a": GOOD, "b": BAD})
    statuses = statuses_of(plan, ("finished", 60), ("failed", 20))
    statuses[1].problem = "exit status 1 at step 20"
    plan.trials[1].folder.mkdir(parents=True)
    (plan.trials[1].folder / process_lib.LOG).write_text("one\nthe power has failed\n")
    assert sweep._conclude(statuses, "") == 1
    output = capsys.readouterr().out
    assert "b_s0 has failed: exit status 1 at step 20" in output
    assert "the power has failed" in output
    assert sweep._conclude(statuses[:1], "") == 0
    assert sweep._conclude(statuses, "SIGINT") == 130
    assert sweep._conclude(statuses, "SIGTERM") == 128 + signal.SIGTERM


def test_a_sweep_that_is_finished_needs_no_ray_and_ends_with_the_report(
    make, tmp_path, monkeypatch, capsys
):
    plan = make({"a": GOOD})
    dummy_benchmark.train(plan.trials[0].config, 60)
    calls = []

    class Report:
        @staticmethod
        def write(indirs, outdir):
            calls.append((indirs, outdir))
            return "the page"

    monkeypatch.setitem(sys.modules, "dreamerv2.report", Report)
    monkeypatch.setattr("dreamerv2.report", Report, raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert sweep.main([str(tmp_path / "sweep.yaml")]) == 0
    logs = str(tmp_path / "logs")
    assert calls == [([logs], os.path.join(logs, "report"))]
    copy = tmp_path / "logs" / "sweep.yaml"
    assert copy.read_text() == (tmp_path / "sweep.yaml").read_text()
    assert "0 of 1 trials" in (output := capsys.readouterr().out)
    assert "the page" in output


def test_without_ray_the_error_names_the_command_that_installs_it(
    make, tmp_path, monkeypatch
):
    make({"a": GOOD})
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install -e '.\[sweep\]'"):
        sweep.main([str(tmp_path / "sweep.yaml")])


def test_two_sweeps_of_one_logdir_exclude_each_other(make, tmp_path):
    make({"a": GOOD})
    with rundir.locked(tmp_path / "logs"):
        with pytest.raises(rundir.RunDirError, match="under way already"):
            sweep.main([str(tmp_path / "sweep.yaml")])
