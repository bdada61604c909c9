"""Several replays on the same tasks: their runs, the table, and what is refused."""

import re

import fake_runs
import pytest

import interference
import train_minigrid
from common.records import files
from dreamerv2.run import rundir
from dreamerv2.sweep import comparison

KEPT = {"fifo": (0.0, 0.5), "split": (1.0, 0.5)}  # of both tasks at the end


def configure(folder, *words):
    flags = ["--cl", f"--logdir={folder}", "--tag=both", "--compare=fifo,split"]
    return train_minigrid.parse_flags([*flags, *words])


def write(folder, **settings):
    """Two runs that know a task when its training ends; returns their folders."""

    def value(name):
        def of(task, step):
            ends = 100 * (task + 1)
            return 0.0 if step < ends else 1.0 if step < 200 else KEPT[name][task]

        return of

    return {
        name: fake_runs.write(folder / "both", name, value=value(name), **settings)
        for name in KEPT
    }


def test_each_run_is_that_of_its_retention_alone_in_a_folder_below():
    config = configure("logs", "--seed=3")
    runs = comparison.variants(config)
    assert list(runs) == ["fifo", "split"]
    for name, run in runs.items():
        assert rundir.path_of(run) == rundir.path_of(config) / name
        flags = ["--cl", "--logdir=logs/both", f"--tag={name}", "--seed=3"]
        alone = train_minigrid.parse_flags([*flags, f"--replay.retention={name}"])
        assert run.update(logdir="") == alone.update(logdir="")


def test_a_retention_of_ones_own_gives_its_name_to_the_folder(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        "from common.replay import strategies\nclass Mine(strategies.Retention): pass\n"
    )
    config = configure(tmp_path, f"--compare={path}:Mine,fifo")
    runs = comparison.variants(config)
    assert list(runs) == ["Mine", "fifo"]
    assert runs["Mine"].replay.retention == f"{path}:Mine"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("fifo,splitt", "Unknown compare 'splitt'.*split"),
        ("fifo,split,fifo", "names fifo twice"),
    ],
)
def test_a_comparison_that_cannot_be_made_is_refused(tmp_path, names, message):
    config = configure(tmp_path, f"--compare={names}")
    with pytest.raises(ValueError, match=message):
        comparison.variants(config)
    assert not list(tmp_path.iterdir())


def test_the_table_has_each_task_at_the_end_their_mean_and_what_was_lost(tmp_path):
    names = list(fake_runs.TASKS)
    text = comparison.conclude(tmp_path, write(tmp_path), names)
    rows = [line.split() for line in text.splitlines()]
    assert ["at", "the", "end", *names, "mean", "forgotten"] in rows
    # Lost: of the first task what it was worth at step 100, the last one loses nothing.
    assert ["fifo", "0.00", "0.50", "0.25", "0.50"] in rows
    assert ["split", "1.00", "0.50", "0.75", "0.00"] in rows
    assert "with fifo it has lost 0.50" in text and "with split 0.00" in text
    assert (tmp_path / "success.png").exists()


def test_where_nothing_was_forgotten_nobody_is_said_to_have_lost_anything(tmp_path):
    kept = write(tmp_path)["split"]
    runs = {"split": kept, "another": kept}
    text = comparison.conclude(tmp_path, runs, list(fake_runs.TASKS))
    assert "Nothing was forgotten" in text and "has lost" not in text


def test_tasks_without_success_are_compared_by_their_returns(tmp_path):
    runs = write(tmp_path, success=False)
    text = comparison.conclude(tmp_path, runs, list(fake_runs.TASKS))
    rows = [line.split() for line in text.splitlines()]
    assert ["split", "0.90", "0.45", "0.68", "0.00"] in rows


def test_runs_that_were_not_evaluated_in_time_get_no_table(tmp_path):
    runs = write(tmp_path)
    log = runs["split"] / files.METRICS
    lines = log.read_text().splitlines()
    log.write_text("".join(f"{line}\n" for line in lines if '"step": 200' in line))
    text = comparison.conclude(tmp_path, runs, list(fake_runs.TASKS))
    assert text.startswith("Not every run was evaluated")


def test_the_block_forgetting_sees_catch_as_vectors_and_as_images():
    config = interference.parse_flags(["--configs=forgetting"])
    for part in (config.encoder, config.decoder):
        assert re.match(part.mlp_keys, "ball") and re.match(part.cnn_keys, "image")
