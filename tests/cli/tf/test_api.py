"""The package as users import it: `import dreamerv2.api as dv2`."""

import sys
import warnings

import dummies
import gymnasium
import numpy as np
import pytest

import dreamerv2.api as dv2
from common.records import files


def test_the_interface_is_small_and_complete():
    assert dv2.defaults.rssm.deter == 1024
    assert {"atari", "dmc", "minigrid", "minihack", "debug", "reference"} <= set(
        dv2.configs
    )
    assert issubclass(dv2.ConfigError, ValueError)
    assert isinstance(dv2.defaults.update(dv2.configs["crafter"]), dv2.Config)


def test_a_users_script_takes_the_flags_of_ours():
    config = dv2.defaults.update({"steps": 7, "log_every": 5, "tag": "mine"})
    config = config.parse_flags("--configs dmc debug --log_every 3".split())
    assert (config.steps, config.log_every, config.tag) == (7, 3, "mine")
    assert (config.action_repeat, config.time_limit) == (2, 100)  # later blocks win
    with pytest.raises(dv2.ConfigError, match="block 'atrai'. Did you mean .*atari"):
        dv2.defaults.parse_flags(["--configs", "atrai"])


def test_help_in_a_users_script_says_what_keys_mean(capsys):
    with pytest.raises(SystemExit):
        dv2.defaults.parse_flags(["--help"])
    assert "steps between evaluations" in capsys.readouterr().out


def test_settings_imply_others_as_in_our_scripts(tmp_path, monkeypatch):
    configs = []
    monkeypatch.setattr(
        dv2.loop, "train", lambda tasks, config, **_: configs.append(config)
    )
    config = dummies.configure(tmp_path, expl_behavior="Plan2Explore")
    dv2.train(dummies.Walk(), config)
    dv2.cl_train_loop([dummies.Walk()], config)
    for used in configs:
        assert used.grad_heads == ("decoder",)
        assert not used.pred_discount
    with pytest.raises(dv2.ConfigError, match="exclude each other"):
        dv2.train(dummies.Walk(), config.update(state_bonus=True))


def test_an_environment_can_be_checked_before():
    dv2.check_env(dummies.Walk())
    with pytest.raises(ValueError, match="reward is nan"):
        dv2.check_env(dummies.Walk(goal=1, reward=float("nan")))


# Training on what the user has.


def test_a_single_environment_sees_training_steps_alone(tmp_path, agents):
    env = dummies.Walk()
    dv2.train(env, dummies.configure(tmp_path, eval_every=10))
    assert len(dummies.steps(env.tape)) == 40
    assert not any("eval_return_0" in line for line in dummies.read(tmp_path))
    assert dummies.count(env.tape, "close") == 0  # it is the user's


def test_a_function_is_called_for_training_and_for_evaluation(tmp_path, agents):
    made = []

    def make():
        made.append(dummies.Walk())
        return made[-1]

    dv2.train(make, dummies.configure(tmp_path, eval_every=10, envs=2))
    assert len(made) == 3
    assert [len(dummies.steps(env.tape)) for env in made[:2]] == [20, 20]
    assert all(env.tape[-1] == ("close",) for env in made)
    evaluations = [line for line in dummies.read(tmp_path) if "eval_return_0" in line]
    assert len(evaluations) == dummies.count(made[2].tape, "reset") == 3


def test_environments_are_trained_on_in_sequence(tmp_path, agents):
    envs = [dummies.Walk(0), dummies.Walk(1)]
    config = dummies.configure(tmp_path, unbalanced_steps=[30, 20], num_task_repeats=2)
    dv2.cl_train_loop(envs, config)
    assert [len(dummies.steps(env.tape)) for env in envs] == [60, 40]
    assert all(dummies.count(env.tape, "close") == 0 for env in envs)


def test_other_environments_can_be_given_for_evaluation(tmp_path, agents):
    envs, evals = ([dummies.Walk(k) for k in (0, 1)] for _ in range(2))
    dv2.cl_train_loop(envs, dummies.configure(tmp_path, eval_every=20), evals)
    assert [len(dummies.steps(env.tape)) for env in envs] == [40, 40]
    assert [dummies.count(env.tape, "reset") for env in evals] == [4, 4]
    with pytest.raises(ValueError, match="2 envs but 1 eval_envs"):
        dv2.cl_train_loop(envs, dummies.configure(tmp_path), evals[:1])
    with pytest.raises(ValueError, match="envs is 2, but only one environment"):
        dv2.cl_train_loop(
            [dummies.Walk], dummies.configure(tmp_path, envs=2), evals[:1]
        )


def test_tasks_are_named_by_a_mapping(tmp_path, agents):
    envs = {"slow": dummies.Walk(0), "fast": dummies.Walk(1)}
    evals = {"fast": dummies.Walk(1), "slow": dummies.Walk(0)}  # in any order
    config = dummies.configure(tmp_path, eval_every=20, log_every_video=0)
    dv2.cl_train_loop(envs, config, evals)
    assert files.read_tasks(tmp_path).names == ("slow", "fast")
    for name, env in evals.items():
        assert dummies.count(env.tape, "reset") == 4, name
    assert [len(dummies.steps(env.tape)) for env in envs.values()] == [40, 40]
    with pytest.raises(ValueError, match="slow, fast, but .* for fast, slwo"):
        dv2.cl_train_loop(envs, config, {"fast": evals["fast"], "slwo": envs["slow"]})
    with pytest.raises(ValueError, match="3 is no name of a task"):
        dv2.cl_train_loop({3: envs["slow"]}, config)


@pytest.mark.parametrize("count", [1, 2])
def test_a_single_environment_is_evaluated_on_one_episode_after_the_other(
    tmp_path, agents, count
):
    evals = [dummies.Walk(k) for k in range(count)]
    settings = {"eval_every": 10**6, "eval_eps": 3, "eval_envs": 3}
    config = dummies.configure(tmp_path, **settings)
    dv2.cl_train_loop([dummies.Walk] * count, config, eval_envs=evals)
    for env in evals:
        names = [call[0] for call in env.tape]
        evaluations = count + 1  # at the first update and at the end of each task
        assert names.count("reset") == 3 * evaluations
        assert ("reset", "reset") not in zip(names, names[1:], strict=False)


def test_one_environment_is_not_evaluated_on_as_two_tasks(tmp_path, agents):
    env, config = dummies.Walk(), dummies.configure(tmp_path)
    with pytest.raises(ValueError, match="holds one environment twice"):
        dv2.cl_train_loop([dummies.Walk] * 2, config, eval_envs=[env, env])


class Classic:
    """An environment of the old days: four results, a seed of its own."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-2, 2, (1,), np.float32)

    def __init__(self):
        self.tape = []

    def seed(self, seed):
        self.tape.append(("seed", seed))

    def reset(self):
        self.tape.append(("reset",))
        self.count = 0
        return np.zeros(2, np.float32)

    def step(self, action):
        self.tape.append(("step", float(action[0])))
        self.count += 1
        done = self.count >= 5
        info = {"TimeLimit.truncated": True} if done else {}
        return np.full(2, self.count / 5, np.float32), 1.0, done, info


def test_a_classic_environment_is_seeded_and_its_limit_is_no_end(tmp_path, agents):
    env = Classic()
    dv2.train(env, dummies.configure(tmp_path))
    assert dummies.count(env.tape, "step") == 40
    assert [call[0] for call in env.tape[:3]] == ["seed", "reset", "step"]
    assert len({call for call in env.tape if call[0] == "seed"}) == 8
    actions = dummies.steps(env.tape)
    assert -2 <= min(actions) < -1 < 1 < max(actions) <= 2  # in the units of the box
    for path in (tmp_path / "train_replay").iterdir():
        with np.load(path) as episode:
            assert episode["is_last"][-1]
            assert not episode["is_terminal"].any()


def test_episodes_are_cut_and_actions_held_as_configured(tmp_path, agents):
    env = dummies.Walk(limit=1000, goal=1000)
    dv2.train(env, dummies.configure(tmp_path, time_limit=4, action_repeat=3))
    assert len(dummies.steps(env.tape)) == 120
    lengths = [line["length"] for line in dummies.read(tmp_path) if "length" in line]
    assert lengths == [4] * 10


@pytest.mark.parametrize("library", ["gymnasium", "gym"])
def test_the_example_of_the_readme_trains(tmp_path, monkeypatch, library):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gym says that it is unmaintained
        gym = pytest.importorskip(library)
        import gym_minigrid

        config = dv2.defaults.update(
            {
                "logdir": str(tmp_path),
                "log_every": 1e3,
                "train_every": 10,
                "prefill": 1e5,
                "actor_ent": 3e-3,
                "loss_scales.kl": 1.0,
                "discount": 0.99,
            },
            dummies.SIZES,
        )
        words = "--steps 30 --prefill 20 --log_every 10 --time_limit 10 "
        words += "--replay.minlen 2 --replay.maxlen 4 --wandb.mode disabled"
        monkeypatch.setattr(sys, "argv", ["example.py", *words.split()])
        config = config.parse_flags()
        env = gym.make("MiniGrid-DoorKey-6x6-v0")
        env = gym_minigrid.wrappers.RGBImgPartialObsWrapper(env)
        dv2.train(env, config)
    lines = dummies.read(tmp_path)
    assert {"image_loss", "direction_loss"} <= set(lines[-1])
    assert lines[-1]["step"] == 30


def test_the_example_of_vectors_and_continuous_actions_trains(tmp_path, monkeypatch):
    words = "--steps 40 --prefill 25 --pretrain 1 --log_every 10 --replay.minlen 2 "
    words += "--replay.maxlen 4 --wandb.mode disabled --time_limit 10 --eval_every 20"
    monkeypatch.setattr(sys, "argv", ["example.py", *words.split()])
    config = dv2.defaults.update(
        dv2.configs["dmc_proprio"],
        {"logdir": str(tmp_path), "train_every": 4, "eval_eps": 1},
        dummies.SIZES,
    ).parse_flags()
    dv2.check_env(gymnasium.make("Pendulum-v1"))
    dv2.train(lambda: gymnasium.make("Pendulum-v1"), config)
    lines = dummies.read(tmp_path)
    assert any({"vector_loss", "actor_loss"} <= set(line) for line in lines)
    assert lines[-1]["step"] == 80  # frames: action_repeat is 2
    assert any("eval_return_0" in line for line in lines)


# What cannot be trained on.


def refuse(env, match, tmp_path, **settings):
    with pytest.raises(ValueError, match=match):
        dv2.train(env, dummies.configure(tmp_path, **settings))


@pytest.mark.parametrize("env", [None, 3, "MiniGrid-Empty-5x5-v0", lambda: None])
def test_what_is_no_environment_is_refused(env, tmp_path, agents):
    refuse(env, "is not an environment.*reset and step", tmp_path)


def test_one_environment_cannot_be_several(tmp_path, agents):
    refuse(dummies.Walk(), "envs is 2, but only one.*lambda", tmp_path, envs=2)


@pytest.mark.parametrize(
    "space",
    [
        gymnasium.spaces.Tuple([gymnasium.spaces.Discrete(2)]),
        gymnasium.spaces.Dict(a=gymnasium.spaces.Discrete(2)),
        gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32),
    ],
    ids=lambda space: type(space).__name__,
)
def test_actions_of_another_kind_are_refused(space, tmp_path, agents):
    env = dummies.Walk()
    env.action_space = space
    refuse(env, "Action space .*", tmp_path)


def test_an_environment_without_numbers_is_refused(tmp_path, agents):
    env = dummies.Walk()
    env.observation_space = gymnasium.spaces.Dict(
        mission=gymnasium.spaces.Text(10), other=gymnasium.spaces.Text(3)
    )
    refuse(env, "Nothing in the observation space .* is numeric", tmp_path)


def test_observations_that_change_their_shape_are_refused(tmp_path, agents):
    class Growing(dummies.Walk):
        def step(self, action):
            observation, *rest = super().step(action)
            return np.append(observation, observation[:1]), *rest

    refuse(Growing(), r"shape \(4,\), expected \(3,\)", tmp_path)


def test_numbers_that_are_none_are_refused(tmp_path, agents):
    refuse(dummies.Walk(reward=float("nan")), "reward is nan", tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("replay__retention", "lifo"),
        ("replay__sampling", "lottery"),
        ("envs_parallel", "cluster"),
        ("wandb__mode", "loud"),
    ],
)
def test_unknown_names_are_answered_with_the_known_ones(key, value, tmp_path, agents):
    refuse(dummies.Walk(), f"{value}.*choose from", tmp_path, **{key: value})
