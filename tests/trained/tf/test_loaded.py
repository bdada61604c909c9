"""Laws of a loaded agent: it does what the run does, in the environment's own form."""

import json
import shutil

import dummies
import folders
import gymnasium
import numpy as np
import pytest

import dreamerv2.api as dv2
from dreamerv2.run import checkpoint
from dreamerv2.trained import snapshot as snapshot_lib

SETTINGS = {
    "seed": 1,
    "jit": False,  # few updates: tracing them would take longer
    "steps": 40,
    "eval_state_mean": True,
    "sep_exp_eval_policies": True,
}
BOX = gymnasium.spaces.Box


class Odd(gymnasium.Env):
    """Observations and actions that are not written as the agent reads them."""

    observation_space = gymnasium.spaces.Dict(
        {
            "image": BOX(0, 255, (20, 31, 3), np.uint8),
            "count": gymnasium.spaces.Discrete(9, start=-1),
            "matrix": BOX(-1, 1, (2, 2), np.float64),
            "unread": BOX(-1, 1, (4,), np.float32),
        }
    )

    def __init__(self, discrete=True):
        self.action_space = gymnasium.spaces.Discrete(3, start=5)
        if not discrete:
            low, high = np.array([[-3.0, 0.0]]), np.array([[1.0, 10.0]])
            self.action_space = BOX(low, high, dtype=np.float64)
        self.actions = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._time = -1
        return self._observe(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.actions.append(np.array(action))
        self._time += 1
        reward = float(np.mean(action)) + self.np_random.normal()
        return self._observe(), reward, False, self._time >= 6, {}

    def _observe(self):
        matrix = self.np_random.uniform(-1, 1, (2, 2))
        image = self.np_random.integers(0, 256, (20, 31, 3), np.uint8)
        unread = np.zeros(4, np.float32)
        return dict(image=image, count=self._time, matrix=matrix, unread=unread)


def train(folder, discrete, **settings):
    config = dummies.configure(
        folder, **SETTINGS, encoder__mlp_keys="count|matrix", **settings
    )
    dv2.train(lambda: Odd(discrete), config)
    return folder


@pytest.fixture(scope="module")
def discrete(tmp_path_factory):
    """A run with discrete actions, latents of categoricals."""
    return train(tmp_path_factory.mktemp("discrete"), True, eval_every=0)


@pytest.fixture(scope="module")
def continuous(tmp_path_factory):
    """A run of Plan2Explore with a Box of actions, latents of Gaussians."""
    settings = {"expl_behavior": "Plan2Explore", "rssm__discrete": 0}
    return train(tmp_path_factory.mktemp("continuous"), False, **settings)


@pytest.fixture(params=["discrete", "continuous"])
def folder(request):
    return request.getfixturevalue(request.param)


def make(agent):
    return Odd(agent.spaces.act_spec.discrete)


def play(agent, mode, episodes=2):
    """Plays with a loop of one's own; returns, actions, observations, states."""
    env, returns, observed, states = make(agent), [], [], []
    for seed in agent.seeds(episodes):
        (obs, _), state, over, score = env.reset(seed=seed), None, False, 0.0
        while not over:
            observed.append(obs)
            action, state = agent.act(obs, state, mode)
            states.append(state)
            obs, reward, terminated, truncated, _ = env.step(action)
            score, over = score + np.float32(reward), terminated or truncated
        returns.append(score)
    return returns, env.actions, observed, states


def stacked(dicts):
    return {key: np.stack([d[key] for d in dicts]) for key in dicts[0]}


# Acting.


@pytest.mark.parametrize("mode", ["run", "mode", "sample"])
def test_a_loop_of_ones_own_gets_the_returns_of_an_evaluation(folder, mode):
    agent = dv2.load(folder)
    made = []

    def env():
        made.append(make(agent))
        return made[-1]

    (result,) = dv2.evaluate(folder, env, 2, policy=mode)
    returns, actions, _, _ = play(agent, mode)
    np.testing.assert_array_equal(actions, made[-1].actions)
    np.testing.assert_allclose(returns, result.returns, rtol=1e-6)
    assert result.lengths == [7, 7] and result.success == []
    assert result.means == {"return": np.mean(result.returns), "length": 7.0}
    assert len(np.unique(actions, axis=0)) > 1 or mode != "sample"


def test_a_seed_decides_all_that_is_drawn_and_reset_begins_anew(continuous):
    agent, other = dv2.load(continuous), dv2.load(continuous, seed=9)
    before = play(agent, "explore")[1]
    agent.reset()
    np.testing.assert_array_equal(play(agent, "explore")[1], before)
    np.testing.assert_array_equal(play(dv2.load(continuous), "explore")[1], before)
    assert (np.array(play(agent, "explore")[1]) != before).any()
    assert agent.seeds(2) != other.seeds(2)


def test_a_batch_is_so_many_agents_side_by_side(folder):
    agent = dv2.load(folder)
    _, actions, observed, states = play(agent, "mode")
    pairs = [stacked([observed[t], observed[7 + t]]) for t in range(7)]
    state = None
    for t, pair in enumerate(pairs):
        action, state = agent.act(pair, state)
        np.testing.assert_allclose(action, [actions[t], actions[7 + t]], rtol=1e-4)
        np.testing.assert_allclose(state["deter"][1], states[7 + t]["deter"], atol=1e-5)
    assert state["deter"].shape == (2, 8)


def test_an_episode_that_begins_in_a_row_forgets_the_one_before(discrete):
    agent = dv2.load(discrete)
    _, _, observed, states = play(agent, "mode")
    state = {k: np.stack([v, v]) for k, v in states[5].items()}
    obs = stacked([observed[7], observed[7]])
    _, after = agent.act(obs, state, is_first=[True, False])
    np.testing.assert_allclose(after["deter"][0], states[7]["deter"], atol=1e-6)
    assert np.abs(after["deter"][0] - after["deter"][1]).max() > 1e-4
    _, same = agent.act({**obs, "is_first": np.array([True, False])}, state)
    np.testing.assert_array_equal(same["deter"], after["deter"])


def test_raw_observations_and_those_of_the_replay_are_read_alike(discrete):
    agent, env = dv2.load(discrete), Odd()
    raw, _ = env.reset(seed=4)
    ours = dv2.wrap(Odd(), agent.config).reset(seed=4)
    one, two = (agent.act(obs)[1]["deter"] for obs in (raw, ours))
    np.testing.assert_array_equal(one, two)
    many = agent.act({key: np.asarray(value)[None] for key, value in raw.items()})
    assert many[0].shape == (1,) and isinstance(agent.act(raw)[0], int)


def test_states_are_single_precision_whatever_the_agent_computes_in(tmp_path):
    config = dummies.configure(tmp_path, jit=False, precision="bfloat16", steps=30)
    dv2.train(dummies.Walk, config)
    agent, (obs, _) = dv2.load(tmp_path), dummies.Walk().reset(seed=0)
    _, state = agent.act(obs)
    action, state = agent.act(obs, state)
    assert action in (0, 1)
    for found in (state, agent.imagine(state, [0, 1])):
        kinds = {found[key].dtype for key in ("deter", "stoch")}
        assert kinds == {np.dtype(np.float32)}


def test_what_an_agent_was_is_told(discrete):
    agent = dv2.load(discrete)
    assert (agent.step, agent.task_names) == (40, ("task",))
    assert agent.config.rssm.deter == 8
    assert agent.spaces.act_spec.native.start == 5
    assert set(agent.spaces.obs_specs) == {"image", "count", "matrix", "unread"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"matrix": None}, "lacks matrix, which this agent reads; it has image, count"),
        (
            {"matrix": np.zeros(3)},
            r"matrix: float64 \[3\], but one is float64 \[2, 2\]",
        ),
        ({"image": np.zeros((20, 31, 3))}, r"image: float64 .* uint8 \[20, 31, 3\]"),
        (
            {"count": np.int64(3), "matrix": np.zeros((5, 2, 2))},
            "do not fit, with 0 or",
        ),
    ],
)
def test_observations_that_do_not_fit_are_named(discrete, change, message):
    obs, _ = Odd().reset(seed=0)
    obs = {k: v for k, v in {**obs, **change}.items() if v is not None}
    with pytest.raises(ValueError, match=message):
        dv2.load(discrete).act(obs)


def test_what_cannot_be_done_is_said(discrete):
    agent, (obs, _) = dv2.load(discrete), Odd().reset(seed=0)
    _, state = agent.act(obs)
    batch = {key: np.asarray(value)[None] for key, value in obs.items()}
    states = agent.imagine(state, horizon=2)
    wrong = {
        "'best'; choose from run, mode": lambda: agent.act(obs, mode="best"),
        "expl_behavior is greedy": lambda: agent.act(obs, mode="explore"),
        "of the axes": lambda: agent.act(batch, state),
        "state is .*must be": lambda: agent.act(obs, {"deter": state["deter"]}),
        "is_first has the shape": lambda: agent.act(batch, is_first=[True, True]),
        "one array, but this agent reads": lambda: agent.act(obs["image"]),
        "horizon is 0": lambda: agent.imagine(state, horizon=0),
        "actions are float64": lambda: agent.imagine(state, np.zeros((3, 7))),
        "imagine takes states with 0 or 1": lambda: agent.imagine(
            {key: value[None, None] for key, value in state.items()}
        ),
        "with Plan2Explore, but its expl_behavior": lambda: agent.disagreement(states),
        "only that can make them": agent.make_env,
        "no task '3'": lambda: agent.seeds(2, 3),
        "seed is -1": lambda: dv2.load(discrete, seed=-1),
        "no snapshot of step 7": lambda: dv2.load(discrete, 7),
    }
    for message, call in wrong.items():
        with pytest.raises(ValueError, match=message):
            call()


# Looking inside.


def test_filtering_an_episode_finds_the_states_that_acting_went_through(folder):
    agent = dv2.load(folder)
    _, actions, observed, states = play(agent, "mode")
    obs, chosen = stacked(observed), np.stack([actions[0], *actions[:-1]])
    begins = np.arange(14) % 7 == 0
    found = agent.observe(obs, chosen, is_first=begins, sample=False)
    assert found["deter"].shape == (14, 8)
    np.testing.assert_allclose(found["deter"], stacked(states)["deter"], atol=1e-5)
    np.testing.assert_allclose(found["action"], chosen, rtol=1e-5)
    halves = {key: value.reshape(2, 7, *value.shape[1:]) for key, value in obs.items()}
    both = agent.observe(halves, chosen.reshape(2, 7, *chosen.shape[1:]), sample=False)
    np.testing.assert_allclose(both["deter"][1], found["deter"][7:], atol=1e-6)
    rest = {key: value[3:7] for key, value in obs.items()}
    before = {key: value[2] for key, value in found.items()}
    later = agent.observe(rest, chosen[3:7], before, sample=False)
    np.testing.assert_allclose(later["deter"], found["deter"][3:7], atol=1e-6)


def test_imagining_goes_on_where_it_stopped_and_does_what_the_policy_does(folder):
    agent = dv2.load(folder)
    _, _, _, states = play(agent, "mode")
    ahead = agent.imagine(states[3], horizon=5, sample=False)
    assert ahead["deter"].shape == (5, 8)
    again = agent.imagine(states[3], ahead["action"], sample=False)
    np.testing.assert_allclose(again["deter"], ahead["deter"], atol=1e-6)
    middle = {key: value[1] for key, value in ahead.items()}
    rest = agent.imagine(middle, ahead["action"][2:], sample=False)
    np.testing.assert_allclose(rest["deter"], ahead["deter"][2:], atol=1e-6)
    many = agent.imagine(stacked(states), horizon=5, sample=False)
    np.testing.assert_allclose(many["deter"][3], ahead["deter"], atol=1e-6)
    space = make(agent).action_space
    for mode in ("mode", "sample"):
        drawn = agent.imagine(states[3], horizon=3, mode=mode)["action"]
        assert all(space.contains(action) for action in drawn)


def test_each_state_is_asked_for_itself(folder):
    agent = dv2.load(folder)
    states = agent.imagine(stacked(play(agent, "mode")[3]), horizon=4)  # [14, 4]
    one = {key: value[2, 3] for key, value in states.items()}
    for ask in (agent.reward, agent.value):
        assert ask(states).shape == (14, 4) and ask(one).shape == ()
        np.testing.assert_allclose(ask(states)[2, 3], ask(one), atol=1e-6)
    seen, single = agent.decode(states), agent.decode(one)
    assert seen["image"].shape == (14, 4, 64, 64, 3) and seen["image"].dtype == np.uint8
    assert np.abs(seen["image"][2, 3].astype(int) - single["image"]).max() <= 1


def test_disagreement_is_that_of_the_runs_ensemble(continuous):
    agent = dv2.load(continuous)
    paths = sorted((continuous / "train_replay").glob("*.npz"))
    with np.load(paths[-1]) as file:
        episode = {key: file[key] for key in file.files}
    act = agent._forms.to_actions(episode["action"])
    states = agent.observe(episode, act, sample=False)
    found = agent.disagreement(states)
    assert found.shape == (len(episode["reward"]),)
    (mean,) = agent._agent.disagreement([episode])
    np.testing.assert_allclose(found.mean(), mean, rtol=1e-4)
    rows = {key: value[None] for key, value in states.items()}
    np.testing.assert_allclose(agent.disagreement(rows)[0], found, rtol=1e-5)
    del states["action"]
    with pytest.raises(ValueError, match="have no action"):
        agent.disagreement(states)


# Snapshots.


def forget_spaces(folder, target):
    """A copy of a run as a version wrote it that did not note the spaces."""
    shutil.copytree(folder, target)
    snapshots = checkpoint.Checkpoints(target / "checkpoints", keep=1)
    path = snapshots.latest()
    state, tensors = checkpoint.load_state(path), checkpoint.load_tensors(path)
    assert state.pop("spaces")
    snapshots.save(state["step"], tensors, state)
    return target


def test_a_snapshot_that_does_not_know_its_spaces_takes_an_environment(
    discrete, tmp_path
):
    old = forget_spaces(discrete, tmp_path / "old")
    with pytest.raises(ValueError, match=r"dv2\.load\(logdir, env=env\)"):
        dv2.load(old)
    agent, known = dv2.load(old, env=Odd()), dv2.load(discrete)
    assert agent.spaces == known.spaces
    assert play(agent, "mode")[1] == play(known, "mode")[1]


def test_an_environment_that_is_given_must_fit(discrete):
    assert dv2.load(discrete, env=Odd).spaces.act_spec.native.start == 5
    with pytest.raises(
        ValueError, match="The task given has other spaces than the run"
    ):
        dv2.load(discrete, env=Odd(discrete=False))


def test_a_run_of_an_old_version_and_a_script_makes_its_environment():
    agent = dv2.load(folders.TESTS / "golden" / "old_run" / "stopped")
    assert agent.task_names[0] == "MiniGrid-Empty-5x5-v0"
    env = agent.make_env(0)
    obs, _ = env.reset(seed=agent.seeds(1)[0])
    action, _ = agent.act(obs)
    assert env.action_space.contains(action)


def test_a_weight_too_few_is_named_and_one_too_many_passed_over(discrete, caplog):
    snapshot = snapshot_lib.load(discrete)
    spaces, tensors = snapshot.spaces, dict(snapshot.tensors)
    tensors["heads/colour/dense0/kernel"] = np.zeros((3, 3), np.float32)
    load = lambda: dv2.Agent(snapshot._replace(tensors=tensors), spaces)  # noqa: E731
    load()
    assert "not used here: heads/colour/dense0/kernel" in caplog.text
    del tensors["actor/dense0/bias"]
    with pytest.raises(checkpoint.CheckpointError, match="lacks actor/dense0/bias"):
        load()


def test_the_state_of_a_snapshot_is_json_that_knows_the_spaces(discrete):
    (path,) = (discrete / "checkpoints").glob("step-*40")
    state = json.loads((path / "state.json").read_text())
    assert state["spaces"]["action"]["native"]["start"] == 5
    assert state["spaces"]["obs"]["image"]["native"]["shape"] == [20, 31, 3]
