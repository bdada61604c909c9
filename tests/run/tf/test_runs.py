"""Whole runs with the real agent: metrics, reproducibility, graphs, resuming."""

import json
import pathlib
import subprocess
import sys

import dummies
import numpy as np
import pytest
import tensorflow as tf

from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.run import learner

# What somebody who plots a run relies on.
EPISODE = {"return", "length", "task", "success"}
REPLAY = {"total_steps", "total_episodes", "loaded_steps", "loaded_episodes"}
EVALUATION = {
    f"eval_{name}{task}"
    for name in ("return", "length", "success")
    for task in ("_0", "_1", "_2", "")
}
UPDATE = {
    *("kl_loss", "vector_loss", "reward_loss", "discount_loss", "model_loss"),
    *("actor_loss", "critic_loss"),
    *("model_grad_norm", "actor_grad_norm", "critic_grad_norm"),
    *("updates", "fps"),
    *("time_environment", "time_policy", "time_replay", "time_update"),
    *("time_total", "time_cpu"),
}


class Watch:
    """Notes how many graphs the agent has traced whenever a task is entered."""

    def __init__(self):
        self.agents = []
        self.traces = []

    def note(self):
        if self.agents:
            graphs = self.agents[-1].train_graph, self.agents[-1].policy_graph
            count = [g.experimental_get_tracing_count() for g in graphs]
            self.traces.append(count)

    def agent(self, *args):
        self.agents.append(Agent(*args))
        return self.agents[-1]


Agent = agent_lib.Agent


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three tasks with everything: its folder, lines, tapes, and the watch."""
    folder = tmp_path_factory.mktemp("run")
    watch, tapes = Watch(), dummies.Tapes(3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agent_lib, "Agent", watch.agent)
        patch.setattr(dummies.Walk, "close", lambda self: watch.note())
        lines = dummies.run(folder, tapes, eval_every=20)
    return folder, lines, tapes, watch


def test_every_line_has_a_step_and_they_never_go_back(run):
    steps = [line["step"] for line in run[1]]
    assert steps == sorted(steps)
    assert steps[-1] == 120


def test_the_lines_hold_all_that_was_promised(run):
    lines = run[1]
    for key, promised in (
        ("return", EPISODE | REPLAY),
        ("eval_return", EVALUATION),
        ("model_loss", UPDATE | REPLAY),
    ):
        chosen = [line for line in lines if key in line]
        assert chosen
        for line in chosen:
            assert promised <= set(line)
    assert {"er_task_0", "er_task_1", "er_task_2"} <= set(lines[-2])


def test_all_numbers_are_finite_and_the_clocks_run(run):
    for line in run[1]:
        assert None not in line.values()
    assert sum(line.get("time_update", 0) for line in run[1]) > 0
    assert sum(line.get("time_policy", 0) for line in run[1]) > 0
    assert [line["fps"] for line in run[1] if "fps" in line][-1] > 0


def test_no_graph_is_traced_after_the_first_task(run):
    counts = run[3].traces
    while counts[0] == [0, 0]:  # spaces are looked at before anything is traced
        counts = counts[1:]
    after_task = counts[:3]
    assert after_task == [after_task[0]] * 3
    assert after_task[0] == [1, 2]  # training; acting with and without exploration


def test_the_outputs_are_where_they_belong(run):
    folder = run[0]
    names = {path.name for path in folder.iterdir()}
    assert {"metrics.jsonl", "config.yaml", "curves.png", "train_replay"} <= names
    (events,) = (folder / "tensorboard").iterdir()
    assert events.stat().st_size > 1000
    assert "wandb" not in names


@pytest.mark.skipif(
    bool(tf.config.list_physical_devices("GPU")), reason="exact on the CPU alone"
)
def test_two_runs_of_one_seed_end_bit_by_bit_the_same(run, tmp_path):
    dummies.run(tmp_path, dummies.Tapes(3), eval_every=20)
    dummies.assert_same_end(run[0], tmp_path)
    tensors = dummies.snapshot(tmp_path)[1]
    assert len(tensors) > 100
    updates = [line["updates"] for line in run[1] if "updates" in line]
    assert tensors["model_opt/steps"] == updates[-1] == 12


def test_a_run_with_plan2explore_is_resumed_with_its_optimisers(tmp_path):
    settings = {
        "expl_behavior": "Plan2Explore",
        "replay__sampling": "uncertainty",
        "jit": False,  # the eager path, which also saves the tracing
        "checkpoint_every": 10,
        "prefill": 10,
        "steps": 20,
    }
    tapes = dummies.Tapes(2)
    tapes.options[1] = {"fails_at": 15}
    with pytest.raises(KeyError):
        dummies.run(tmp_path, tapes, **settings)
    state, tensors = dummies.snapshot(tmp_path)
    assert state["step"] == 30
    assert state["learner"]["updates"] == 4
    optimizers = ("model_opt", "actor_opt", "critic_opt", "expl/expl_opt")
    for name in optimizers:
        assert tensors[f"{name}/steps"] == 4
        moments = [v for k, v in tensors.items() if k.startswith(f"{name}/slot1")]
        assert moments and all(np.abs(moment).max() >= 0 for moment in moments)
        assert sum(np.abs(moment).sum() for moment in moments) > 0
    tapes.options[1] = {}
    lines = dummies.run(tmp_path, tapes, **settings)
    state, tensors = dummies.snapshot(tmp_path)
    assert state["step"] == 40
    assert state["learner"]["updates"] == 5
    assert all(tensors[f"{name}/steps"] == 5 for name in optimizers)
    steps = [line["step"] for line in lines]
    assert steps == sorted(steps)
    assert "expl_expl_loss" in lines[-1]


def test_a_reward_beyond_all_numbers_is_named_and_saved(tmp_path):
    tapes = dummies.Tapes(1)
    tapes.options[0] = {"reward": 1e38, "goal": 3}
    settings = {"clip_rewards": "identity", "jit": False}
    with pytest.raises(learner.NonFiniteLossError) as error:
        dummies.run(tmp_path, tapes, **settings)
    assert "model_loss = inf" in str(error.value)
    assert "at step 20" in str(error.value)
    (path,) = tmp_path.glob("bad_batch_*.npz")
    assert np.load(path)["reward"].max() == np.float32(1e38)


@pytest.mark.slow
def test_memory_and_traces_stay_flat_over_four_tasks(tmp_path):
    program = pathlib.Path(__file__).resolve().parents[2] / "steady.py"
    output = subprocess.run(
        [sys.executable, str(program), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    result = json.loads(output.splitlines()[-1])
    assert result["traces"]["train_graph"] == 1
    assert result["traces"]["policy_graph"] == 2  # collecting, evaluating
    sizes = np.array(result["sizes"])  # at every 50th update
    assert len(sizes) >= 40
    # Growth over 150 updates, most of the time: the allocator may take some at once.
    # A leak of 5 kB an update, planted, is seen; without one it is 0.7 kB.
    growth = np.median(sizes[13:] - sizes[10:-3]) / 150
    assert growth < 2500, sizes.tolist()
