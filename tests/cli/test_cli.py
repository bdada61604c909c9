"""The commands that users know: every flag, what it sets, and every refusal.

No TensorFlow is loaded here: flags are checked before it.
"""

import importlib
import pathlib
import re
import shlex
import subprocess
import sys

import commands
import pytest

from common import config as config_lib
from common.config import coerce, faults
from common.envs.suites import minigrid
from dreamerv2 import cli, settings

ROOT = pathlib.Path(__file__).resolve().parents[2]

FURTHER = {
    "--env 2": {"env": 2},
    "--num_task_repeats=2": {"num_task_repeats": 2},
    "--batch_size=8": {"dataset.batch": 8},
    "--train_every 5": {"train_every": 5},
    "--unbalanced_steps 4e5 2400000": {"unbalanced_steps": (400_000, 2_400_000)},
    "--unbalanced_steps=4e5,2.4e6": {"unbalanced_steps": (400_000, 2_400_000)},
    "--expl_every=3": {"expl_every": 3},
    "--uncertainty_sampling --plan2explore --rssm_full_recon": {
        "replay.sampling": "uncertainty",
        "expl_behavior": "Plan2Explore",
        "rssm_full_recon": True,
    },
    "--reward_sampling": {"replay.sampling": "reward"},
    "--reservoir_sampling": {"replay.retention": "reservoir"},
    "--split_sampling --replay.split_recent 0.25": {
        "replay.retention": "split",
        "replay.split_recent": 0.25,
    },
    "--reservoir_sampling --recent_past_sampl_thres=0.25": {
        "replay.retention": "reservoir",
        "replay.sampling": "recent",
        "replay.recent_prob": 0.25,
    },
    "--coverage_sampling": {"replay.retention": "coverage"},
    """--coverage_sampling --coverage_sampling_args '{"filters": 5, "kernel_size": 2,
    "number_of_comparisons": 100, "normalize_lstm_state": false,
    "distance": "cosine"}'""": {
        "replay.retention": "coverage",
        "replay.coverage.filters": 5,
        "replay.coverage.kernel_size": 2,
        "replay.coverage.number_of_comparisons": 100,
        "replay.coverage.normalize_lstm_state": False,
        "replay.coverage.distance": "cosine",
    },
    "--replay_capacity=1000000": {"replay.capacity": 1_000_000},
    "--rssm_stoch=8": {"rssm.stoch": 8},
    "--rssm_discrete=16": {"rssm.discrete": 16},
    "--rssm_discrete=False": {"rssm.discrete": 0},
    "--actor_ent=1e-2": {"actor_ent": "1e-2"},
    "--actor_ent=linear(1e-2,1e-3,1e5)": {"actor_ent": "linear(1e-2,1e-3,1e5)"},
    "--discount=0.999": {"discount": 0.999},
    "--beta=0.1": {"loss_scales.kl": 0.1},
    "--wandb_group dv2": {"wandb.group": "dv2"},
    "--wandb_dir=/tmp/wandb": {"wandb.dir": "/tmp/wandb"},
    "--wandb_mode disabled": {"wandb.mode": "disabled"},
    "--eval_skills": {"eval_skills": True},
    "--rssm.deter 200": {"rssm.deter": 200},
    r"--.*\.norm layer": {
        key: "layer" for key in settings.defaults.flat if key.endswith(".norm")
    },
}


def parse(command):
    return settings.parse_flags("minigrid", "", shlex.split(command))


def changes(config):
    """What differs from the block that the script starts from."""
    base = settings.defaults.update(settings.configs["minigrid"])
    return {k: new for k, _, new in config_lib.differences(base, config)}


def test_the_commands_of_the_users_mean_what_they_meant():
    for command, expected in commands.MINIGRID.items():
        python, script, *words = shlex.split(command)
        assert (python, script) == ("python", "train_minigrid.py")
        config = settings.parse_flags("minigrid", "", words)
        assert {key: config[key] for key in expected} == expected
        assert set(changes(config)) <= set(expected)  # and nothing else changed


def test_further_flags_set_their_keys_and_no_others():
    assert {flags: changes(parse(flags)) for flags in FURTHER} == FURTHER


def test_every_script_of_the_table_starts_from_its_block():
    for module, block in settings.SCRIPTS.items():
        assert (ROOT / settings.script_file(module)).is_file()
        config = importlib.import_module(module).parse_flags([])
        assert config == settings.defaults.update(settings.configs.get(block, {}))


def test_what_a_module_of_plugins_adds_is_there_once_the_flags_are_read(tmp_path):
    path = tmp_path / "own_words.py"
    path.write_text("LOADED = True\n")
    config = config_lib.Config({**settings.defaults.flat, "plugins": [str(path)]})
    try:
        assert settings.resolve(config) == config
        assert sys.modules["own_words"].LOADED
    finally:
        sys.modules.pop("own_words", None)
    missing = config.update(plugins=["own_wrods"])
    with pytest.raises(config_lib.ConfigError, match="plugins names .* 'own_wrods'"):
        settings.resolve(missing)


def test_the_script_starts_from_its_published_block():
    config = parse("")
    assert config == settings.defaults.update(settings.configs["minigrid"])
    published = {
        "train_every": 10,
        "prefill": 10_000,
        "time_limit": 100,
        "actor_ent": "0.003",
        "loss_scales.kl": 1.0,
        "discount": 0.99,
        "log_every": 1000,
        "log_every_video": 200_000,
        "eval_every": 10_000,
        "encoder.cnn_keys": "image",
        "encoder.mlp_keys": "$^",
        "replay.capacity": 2_000_000,
        "rssm.deter": 1024,
        "encoder.cnn_depth": 48,
    }
    assert {key: config[key] for key in published} == published


def test_blocks_come_before_flags_wherever_they_stand():
    for command in ("--steps 7 --configs debug", "--configs debug --steps 7"):
        config = parse(command)
        assert (config.steps, config.jit, config.log_every) == (7, False, 300)


# One setting implies others.


def test_exploring_without_full_reconstruction_learns_from_observations_alone():
    config = parse("--plan2explore")
    assert config.grad_heads == ("decoder",)
    assert config.pred_discount is False
    assert config.discount == 0.99
    full = parse("--plan2explore --rssm_full_recon")
    assert full.grad_heads == ("decoder", "reward", "discount")
    assert full.pred_discount is True


def test_without_exploring_everything_is_reconstructed():
    assert parse("").grad_heads == ("decoder", "reward", "discount")


def test_two_rewards_for_novelty_exclude_each_other():
    with pytest.raises(config_lib.ConfigError, match="state_bonus and plan2explore"):
        parse("--state_bonus --plan2explore")
    with pytest.raises(config_lib.ConfigError, match="leave one out"):
        parse("--state_bonus --expl_behavior Plan2Explore")


# Tasks.


def test_the_benchmark_is_chosen_from_the_front():
    choose = cli.choose_tasks
    assert choose(parse("--cl"), minigrid.MINIGRID_3) == list(minigrid.MINIGRID_3)
    assert choose(parse("--cl --num_tasks 2"), "abc") == ["a", "b"]
    assert choose(parse("--env 1"), "abc") == ["b"]
    assert choose(parse(""), "abc") == ["a"]
    assert choose(parse("--tasks x y"), "abc") == ["x", "y"]


@pytest.mark.parametrize("number", [4, -1])
def test_more_tasks_than_there_are_is_refused(number):
    with pytest.raises(config_lib.ConfigError) as error:
        cli.choose_tasks(parse(f"--cl --num_tasks={number}"), minigrid.MINIGRID_3)
    assert f"num_tasks is {number}" in str(error.value)
    assert "3 tasks" in str(error.value)
    assert "MiniGrid-DoorKey-9x9-v0" in str(error.value)


@pytest.mark.parametrize("number", [3, -1])
def test_a_task_number_beyond_the_benchmark_is_refused(number):
    with pytest.raises(config_lib.ConfigError, match=f"env is {number}.*0 to 2"):
        cli.choose_tasks(parse(f"--env={number}"), minigrid.MINIGRID_3)


def test_an_unknown_task_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="'MiniGrid-DoorKey-9x8-v0'.*DoorKey-9x9-v0"):
        minigrid.check_id("MiniGrid-DoorKey-9x8-v0")


# Refusals.

REFUSED = {
    "--state_bonuss": "Unknown flag --state_bonuss.*--state_bonus",
    "--nim_tasks 3": "Unknown flag --nim_tasks.*--num_tasks",
    "--sep_eval_exp_policies": "--sep_exp_eval_policies",
    "--wandb_project x": "--wandb_proj_name|--wandb.project",
    "--deter 8": "--rssm.deter",
    "--rssm 8": "group of keys.*--rssm.deter",
    "--configs minigird": "Unknown configuration block.*minigrid",
    "--steps=2.5": "steps = '2.5': not a whole number",
    "--minlen=4.5": "replay.minlen = '4.5': not a whole number",
    "--steps many": "steps = 'many': not a whole number",
    "--cl=maybe": "cl = 'maybe': not a boolean",
    "--discount=high": "discount = 'high': not a number",
    "--discount=nan": "not a number",
    "--recent_past_sampl_thres=often": "recent_prob = 'often'",
    "--recent_past_sampl_thres": "needs a value",
    "--unbalanced_steps": "needs a value",
    "--tag": "needs a value",
    "--coverage_sampling_args '{\"filters\": 3'": "coverage_sampling_args",
    "--coverage_sampling_args '[3]'": "JSON object",
    "--coverage_sampling_args '{\"filter\": 3}'": "replay.coverage.filters",
    "--seed 1 2": "Unexpected word '2'",
    "--cl --tag=a b": "Unexpected word 'b'",
    "--num_tasks -cl": "Unexpected '-cl'",
    "run": "Unexpected word 'run'",
}


def test_what_cannot_be_meant_is_refused_with_a_hint():
    said = {}
    for command in REFUSED:
        with pytest.raises(config_lib.ConfigError) as error:
            parse(command)
        said[command] = str(error.value)
    wrong = {c: text for c, text in said.items() if not re.search(REFUSED[c], text)}
    assert not wrong


# The process.


def run(*words):
    command = [sys.executable, "train_minigrid.py", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_help_lists_every_key_with_its_default_and_every_other_flag():
    result = run("--help")
    assert result.returncode == 0, result.stderr
    base = settings.defaults.update(settings.configs["minigrid"])
    lines = {
        line.split()[0]: line for line in result.stdout.splitlines() if line.strip()
    }
    for key, value in base.flat.items():
        shown = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        assert shown in lines[f"--{key}"]
    assert {f"--{flag}" for flag in (*settings.ALIASES, *settings.SWITCHES)} <= set(
        lines
    )
    assert "steps between evaluations" in lines["--eval_every"]
    assert "num_tasks=3" in result.stdout  # an example


def test_help_shows_the_values_of_the_blocks_that_are_named_beside_it(capsys):
    parse_flags = importlib.import_module("train_minigrid").parse_flags
    steps = parse_flags(["--configs=quickstart"]).steps
    assert steps != parse_flags([]).steps
    with pytest.raises(SystemExit) as stop:
        parse_flags(["--configs", "quickstart", "--help", "--nim_tasks"])
    assert stop.value.code == 0
    assert f"--steps  int, {steps} " in capsys.readouterr().out


def test_bad_input_ends_with_one_line_and_the_code_2():
    result = run("--cl", "--nim_tasks=3")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "Unknown flag --nim_tasks. Did you mean --num_tasks" in result.stderr


def test_a_module_is_named_as_it_was_typed(tmp_path):
    words = [sys.executable, "-m", "dreamerv2.sweep", str(tmp_path / "none.yaml")]
    result = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 2
    assert result.stderr.startswith("python -m dreamerv2.sweep: ")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("bad input"), 2),
        (config_lib.ConfigError("bad input"), 2),
        (RuntimeError("a run that failed"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes_tell_bad_input_from_failure(error, code, capsys):
    # As from a file of ours; a user's own code is told with its lines.
    raising = compile("raise error", faults.__file__, "exec")

    def fail():
        exec(raising, {"error": error})

    with pytest.raises(SystemExit) as end:
        cli.run(fail)
    assert end.value.code == code
    output = capsys.readouterr()
    assert str(error) in output.err
    assert "Traceback" not in output.err
    assert ("last snapshot" in output.out) == (code == 130)


def test_errors_of_the_program_keep_their_traceback():
    raising = compile('raise TypeError("our own mistake")', faults.__file__, "exec")

    def fail():
        exec(raising)

    with pytest.raises(TypeError):
        cli.run(fail)


def test_the_reference_block_takes_the_released_rule_for_a_reservoir():
    words = ["--reservoir_sampling"]
    assert settings.parse_flags("minigrid", "", words).replay.retention == "reservoir"
    words = ["--configs", "reference", *words]
    config = settings.parse_flags("minigrid", "", words)
    assert config.replay.retention == "random_replacement"
    assert config.doorkey_size == 8 and config.eval_steps == 1000
    assert config.reset_optimizer_on_task_change


def test_a_message_to_a_program_names_no_flags():
    for text, said in {
        "go on with --resume, or --overwrite.": (
            'go on with config.update({"resume": True}), or '
            'config.update({"overwrite": True}).'
        ),
        "Choose another --logdir or --tag": "Choose another logdir or tag",
        "a smaller clip, or --precision 32.": (
            "a smaller clip, or config.update({\"precision\": '32'})."
        ),
        "set --render_size 64,64, which": (
            'set config.update({"render_size": [64, 64]}), which'
        ),
        "add --plan2explore.": 'add config.update({"expl_behavior": "Plan2Explore"}).',
        "Lower --minlen.": "Lower replay.minlen.",
        "--configs small, --eval 20, a--b, --": "--configs small, --eval 20, a--b, --",
    }.items():
        assert settings.without_flags(text) == said
        with pytest.raises(ValueError) as told, settings.in_python():
            raise coerce.ConfigError(text)
        assert told.type is coerce.ConfigError and str(told.value) == said


def test_what_a_message_tells_a_program_to_do_can_be_done():
    flat = settings.defaults.flat
    flags = [f"--{key}" for key, value in flat.items() if isinstance(value, bool)]
    flags += [f"--{k}" for k, v in settings.SWITCHES.items() if isinstance(v, dict)]
    flags += ["--precision 16", "--render_size 96,96", "--minlen 7", "--devices=2"]
    for flag in flags:
        call = settings.without_flags(flag)
        changed = eval(call, {"config": settings.defaults})
        assert changed != settings.defaults, call
