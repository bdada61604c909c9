"""Laws of acting: modes, exploration by row, noise."""

import numpy as np
import pytest
import tensorflow as tf
import tiny_agent
from scipy import stats

ROWS = 1500
PREFERRED = 1  # the action of a biased actor

pytestmark = pytest.mark.usefixtures("eagerly")


def observe(rows=2, is_first=True, seed=0):
    vector = np.random.default_rng(seed).normal(size=(rows, 5)).astype(np.float32)
    return {"vector": vector, "is_first": np.full(rows, is_first)}


def act(agent, obs=None, state=None, *, exploring=False, evaluate=False, step=0):
    obs = obs or observe()
    exploring = np.broadcast_to(exploring, obs["is_first"].shape)
    return agent.policy(obs, state, step=step, exploring=exploring, evaluate=evaluate)


def bias(behaviour, discrete=True):
    """Makes an actor take one action almost surely: PREFERRED, or 0.5 everywhere."""
    weights = behaviour.actor.named_weights()
    for weight in weights.values():
        weight.assign(tf.zeros_like(weight))
    if discrete:
        weights["out/out/bias"].assign(100.0 * np.eye(tiny_agent.ACTIONS)[PREFERRED])
    else:
        location = np.full(tiny_agent.ACTIONS, np.arctanh(0.5))
        weights["out/out/bias"].assign(location)
        weights["out/std/bias"].assign(tf.fill([tiny_agent.ACTIONS], -100.0))


def biased(discrete=True, **settings):
    agent = tiny_agent.make(discrete=discrete, actor__min_std=1e-3, **settings)
    bias(agent.task, discrete)
    return agent


def assert_uniform(action):
    """Chi-square test of one-hot actions [N, A]."""
    counts = action.sum(0)
    assert counts.sum() == len(action)
    assert stats.chisquare(counts).pvalue > 0.001


def test_discrete_actions_are_one_hot():
    action, (latent, last) = act(tiny_agent.make(), observe(50))
    assert action.shape == (50, tiny_agent.ACTIONS)
    assert action.dtype == np.float32
    np.testing.assert_allclose(np.sort(action), [[0, 0, 1]] * 50, atol=1e-6)
    np.testing.assert_array_equal(last, action)
    assert latent["deter"].shape == (50, 8)


def test_continuous_actions_are_inside_the_interval():
    action, _ = act(tiny_agent.make(discrete=False), observe(50))
    assert action.shape == (50, tiny_agent.ACTIONS)
    assert (np.abs(action) < 1).all()
    assert len(np.unique(action)) == action.size


@pytest.mark.parametrize("precision", ["16", "bfloat16"])
def test_half_precision_acts_in_single(precision):
    agent = tiny_agent.make(precision=precision)
    action, state = act(agent)
    action, state = act(agent, observe(is_first=False), state)
    assert action.dtype == np.float32
    assert state[0]["deter"].dtype == agent.model.initial(1)["deter"].dtype


def test_collecting_samples_actions_anew_at_every_call():
    agent = tiny_agent.make(discrete=False)
    assert (act(agent)[0] != act(agent)[0]).all()


def test_equal_counters_give_equal_actions():
    one, two = tiny_agent.make(discrete=False), tiny_agent.make(discrete=False)
    act(one)
    two.set_state(one.get_state())
    np.testing.assert_array_equal(act(one)[0], act(two)[0])


@pytest.mark.parametrize("discrete", [True, False])
def test_evaluation_takes_modes_of_latents_and_actions(discrete):
    agent = tiny_agent.make(discrete=discrete, eval_state_mean=True)
    results = [act(agent, evaluate=True) for _ in range(2)]
    np.testing.assert_array_equal(results[0][0], results[1][0])
    action, (latent, _) = results[0]
    expected = agent.task.actor(agent.model.rssm.feat(latent)).mode()
    np.testing.assert_array_equal(action, expected)
    data = agent.model.preprocess({k: tf.constant(v) for k, v in observe().items()})
    posterior = agent.model.rssm.obs_step(
        agent.model.initial(2),
        tf.zeros_like(action),
        agent.model.encoder(data),
        data["is_first"],
        tf.constant([1, 2]),  # a sample, unlike its mode
    )
    np.testing.assert_allclose(
        latent["stoch"], agent.model.rssm.dist(posterior).mode(), atol=1e-6
    )
    assert (latent["stoch"] != posterior["stoch"]).numpy().any()


def test_without_eval_state_mean_evaluation_samples_latents_but_not_actions():
    agent = tiny_agent.make()
    states = []
    for _ in range(2):
        action, (latent, _) = act(agent, observe(20), evaluate=True)
        expected = agent.task.actor(agent.model.rssm.feat(latent)).mode()
        np.testing.assert_array_equal(action, expected)
        states.append(latent["stoch"].numpy())
    assert (states[0] != states[1]).any()


def test_a_first_observation_forgets_the_state_of_its_row():
    agent = tiny_agent.make(eval_state_mean=True)
    _, state = act(agent, evaluate=True)
    obs = observe(seed=1)
    obs["is_first"] = np.array([True, False])
    one = act(agent, obs, state, evaluate=True)[1][0]["deter"].numpy()
    two = act(agent, obs, None, evaluate=True)[1][0]["deter"].numpy()
    np.testing.assert_array_equal(one[0], two[0])
    assert (one[1] != two[1]).all()


def test_the_state_remembers_the_action_that_was_taken():
    agent = tiny_agent.make(eval_state_mean=True)
    _, (latent, action) = act(agent, evaluate=True)
    obs = observe(seed=1, is_first=False)
    one = act(agent, obs, (latent, action), evaluate=True)[1][0]["deter"].numpy()
    other = np.roll(action, 1, -1)
    two = act(agent, obs, (latent, other), evaluate=True)[1][0]["deter"].numpy()
    assert (one != two).any(-1).all()


def test_rows_that_explore_follow_the_exploration_behaviour():
    agent = biased(expl_behavior="Random")
    exploring = np.arange(2 * ROWS) % 2 == 0
    action, (_, last) = act(agent, observe(2 * ROWS), exploring=exploring)
    assert (action[~exploring].argmax(-1) == PREFERRED).all()
    assert_uniform(action[exploring])
    np.testing.assert_array_equal(last, action)


def test_evaluation_never_explores():
    agent = biased(expl_behavior="Random", expl_noise="1")
    action, _ = act(agent, observe(100), exploring=True, evaluate=True)
    assert (action.argmax(-1) == PREFERRED).all()


def test_a_greedy_agent_explores_with_its_task_behaviour():
    action, _ = act(biased(), observe(100), exploring=True)
    assert (action.argmax(-1) == PREFERRED).all()


def test_full_noise_makes_discrete_actions_uniform():
    action, (_, last) = act(biased(expl_noise="1"), observe(ROWS))
    assert_uniform(action)
    np.testing.assert_array_equal(last, action)


def test_noise_replaces_its_share_of_discrete_actions():
    action, _ = act(biased(expl_noise="0.3"), observe(ROWS))
    other = (action.argmax(-1) != PREFERRED).mean()
    assert abs(other - 0.3 * 2 / 3) < 0.04  # a third draws the preferred one


def test_noise_is_added_to_continuous_actions_within_the_interval():
    agent = biased(discrete=False, eval_noise="0.1", expl_noise="5")
    action, _ = act(agent, observe(ROWS), evaluate=True)
    assert stats.kstest(action.ravel(), stats.norm(0.5, 0.1).cdf).pvalue > 0.001
    action, (_, last) = act(agent, observe(ROWS))
    np.testing.assert_array_equal(last, action)
    assert np.abs(action).max() == 1
    assert 0.4 < (action == 1).mean() < 0.55  # five deviations, mostly beyond an end


def test_noise_follows_its_schedule():
    agent = biased(expl_noise="linear(0,1,100)")
    shares = [
        (act(agent, observe(ROWS), step=step)[0].argmax(-1) != PREFERRED).mean()
        for step in (0, 50, 100)
    ]
    np.testing.assert_allclose(shares, [0, 1 / 3, 2 / 3], atol=0.05)


def test_evaluation_does_not_change_what_is_drawn_while_collecting():
    one, two = tiny_agent.make(), tiny_agent.make()
    act(two, observe(7), evaluate=True)
    expected, (latent, _) = act(one, observe(50))
    found, (other, _) = act(two, observe(50))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(other["stoch"], latent["stoch"])
    different, _ = act(tiny_agent.make(seed=1), observe(50))
    assert (different != expected).any()
