"""dreamerv2/train.py: the single task, from flags to a run."""

import os
import pathlib
import subprocess
import sys

import dummies
import pytest

from common import config as config_lib
from common.compute import devices
from dreamerv2 import train
from dreamerv2.run import loop

ROOT = pathlib.Path(__file__).resolve().parents[3]
SHORT = (
    "--steps 30 --prefill 20 --log_every 10 --eval_every 20 --checkpoint_every 0 "
    "--replay.minlen 2 --replay.maxlen 4 --wandb.mode disabled --time_limit 6 "
    "--dataset.batch 2 --dataset.length 4 --eval_eps 1"
)


@pytest.fixture
def main(monkeypatch, tmp_path):
    """Trains with these flags, shortened; returns the folder."""

    def run(flags):
        words = [*flags.split(), *SHORT.split(), f"--logdir={tmp_path}"]
        monkeypatch.setattr(sys, "argv", ["train.py", *words])
        train.main()
        return tmp_path

    return run


def test_a_task_is_trained_on_and_evaluated(main, agents):
    folder = main("--task gym_CartPole-v1 --envs 2 --envs_parallel thread")
    lines = dummies.read(folder)
    assert lines[-1]["step"] == 30
    assert any("eval_return_0" in line for line in lines)
    assert len(agents) == 1 and agents[0].act_spec.size == 2
    assert [len(rows) for _, rows, evaluate in agents[0].acts if not evaluate][0] == 2


@pytest.mark.parametrize(
    ("flags", "gpus", "expected"),
    [
        ("", [], "32"),
        ("", ["a GPU"], "16"),
        ("--precision 32", ["a GPU"], "32"),
        ("--precision bfloat16", [], "bfloat16"),
    ],
)
def test_precision_is_half_on_a_gpu_unless_told(
    main, monkeypatch, flags, gpus, expected
):
    configs = []
    monkeypatch.setattr(loop, "train", lambda *a, **k: configs.append(a[1]))
    monkeypatch.setattr(devices.tf.config, "list_physical_devices", lambda kind: gpus)
    main(f"--task gym_CartPole-v1 {flags}")
    assert configs[0].precision == expected


def test_blocks_apply_in_order_and_flags_last(main, monkeypatch):
    configs = []
    monkeypatch.setattr(loop, "train", lambda *a, **k: configs.append(a[1]))
    main("--configs atari debug --task gym_CartPole-v1 --action_repeat 3")
    config = configs[0]
    assert isinstance(config, config_lib.Config)
    assert (config.rssm.deter, config.log_every) == (600, 10)
    assert (config.replay.maxlen, config.action_repeat, config.jit) == (4, 3, False)


def test_bad_input_is_one_line_and_a_code(main, capsys):
    for task, message in (("atrai_pong", "atari_pong"), ("gym_CartPol-v1", "CartPole")):
        with pytest.raises(SystemExit) as end:
            main(f"--task {task}")
        assert end.value.code == 2
        assert message in capsys.readouterr().err


def test_the_script_runs_from_anywhere_without_an_installation(tmp_path):
    script = ROOT / "dreamerv2" / "train.py"
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    for cwd, path in ((tmp_path, script), (ROOT, script.relative_to(ROOT))):
        done = subprocess.run(
            [sys.executable, str(path), "--task", "minigrid_nothing"],
            env=env,
            cwd=cwd,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2
        assert "Unknown MiniGrid task 'nothing'" in done.stderr
        assert "Traceback" not in done.stderr
