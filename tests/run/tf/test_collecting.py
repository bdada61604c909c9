"""Laws of collecting while an update is under way.

A recorder of calls takes the place of the agent where the test is about the loop.
"""

import threading

import dummies
import numpy as np
import pytest
import tensorflow as tf
import tiny_agent

from dreamerv2.run import learner

ASIDE = {"collect_during_update": True}


def test_the_environment_steps_while_an_update_is_under_way(tmp_path, agents):
    tapes, meeting = dummies.Tapes(1), threading.Barrier(2, timeout=60)
    step = dummies.Walk.step

    def meet_update(self, action):
        # The first update is waited for by the log, and the last has no step after it.
        if len(dummies.steps(self.tape)) in (30, 40):
            meeting.wait()
        return step(self, action)

    def meet_step(agent):
        if len(agent.batches) in (2, 3):
            meeting.wait()

    dummies.Recorder.on_train = meet_step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dummies.Walk, "step", meet_update)
        dummies.run(tmp_path, tapes, steps=50, log_every=100, pretrain=0, **ASIDE)
    assert [step for step, _ in agents[-1].batches] == [20, 30, 40, 50]
    assert not meeting.broken


def test_as_many_updates_are_made_and_logged_as_without(tmp_path, agents):
    counts = []
    for aside in (False, True):
        folder = tmp_path / str(aside)
        lines = dummies.run(
            folder,
            dummies.Tapes(2),
            train_steps=2,
            eval_every=20,
            collect_during_update=aside,
        )
        last = [line for line in lines if "updates" in line][-1]
        times = [step for step, _ in agents[-1].batches]
        counts.append((last["updates"], times))
        moments = dummies.snapshot(folder)[1]["model_opt/steps"]
        assert moments == last["updates"] == len(times)
    assert counts[0] == counts[1]


def test_the_policy_acts_with_the_weights_from_before_the_update(tmp_path, agents):
    weights = []
    policy = dummies.Recorder.policy

    def note(self, *args, **kwargs):
        weights.append((kwargs["step"], self._published))
        return policy(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dummies.Recorder, "policy", note)
        dummies.run(
            tmp_path, dummies.Tapes(1), steps=60, pretrain=0, log_every=100, **ASIDE
        )
    by_step = {step: weight for step, weight in weights}
    # The first update is waited for by the log; that of step 30 shows at step 40.
    values = [by_step[step] for step in (20, 30, 40, 50)]
    assert values[0] == values[1] and len(set(values)) == 3
    for first in (20, 30, 40, 50):
        assert len({by_step[step] for step in range(first, first + 10)}) == 1


def test_a_loss_that_is_not_finite_ends_the_run_and_is_not_saved(tmp_path, agents):
    dummies.Recorder.losses = {4: float("nan")}
    with pytest.raises(learner.NonFiniteLossError, match="at step 40 .update 4."):
        dummies.run(tmp_path, dummies.Tapes(1), checkpoint_every=10, steps=60, **ASIDE)
    assert dummies.snapshot(tmp_path)[0]["step"] == 30
    assert list(tmp_path.glob("bad_batch_*40.npz"))


@pytest.mark.parametrize("behaviour", ["greedy", "Random", "Plan2Explore"])
def test_an_agent_acts_as_before_until_what_it_learned_is_published(behaviour):
    with tiny_agent.running(eagerly=True):
        agents = [
            tiny_agent.make(expl_behavior=behaviour, collect_during_update=aside)
            for aside in (False, True)
        ]

        def act(agent):
            agent.set_state({"policy": 5})
            obs = {
                "vector": np.ones((40, 5), np.float32),
                "is_first": np.ones(40, bool),
            }
            exploring = np.arange(40) % 2 == 0
            action, (latent, _) = agent.policy(obs, None, step=0, exploring=exploring)
            return action, latent["deter"].numpy()

        before = [act(agent) for agent in agents]
        np.testing.assert_array_equal(*[action for action, _ in before])
        for agent in agents:
            for step in range(3):
                agent.train(tiny_agent.batch(), None, step=step)
        live, copied = (act(agent) for agent in agents)
        assert (live[1] != before[0][1]).any()
        np.testing.assert_array_equal(copied[1], before[1][1])
        np.testing.assert_array_equal(copied[0], before[1][0])
        agents[1].publish()
        published = act(agents[1])
        np.testing.assert_array_equal(published[0], live[0])
        np.testing.assert_array_equal(published[1], live[1])


@pytest.mark.parametrize("aside", [False, True])
def test_one_image_is_encoded_as_among_others_after_its_weights_changed_too(aside):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, *tiny_agent.SHAPES["image"]), np.uint8)
    obs = {"image": tf.constant(images), "is_first": tf.constant([False] * 3)}
    one = {key: value[:1] for key, value in obs.items()}
    with tiny_agent.running(eagerly=False):
        agent = tiny_agent.make("image", collect_during_update=aside)
        encode = tf.function(agent._policy.encode, autograph=False)
        before = encode(one)
        np.testing.assert_allclose(before, encode(obs)[:1], rtol=1e-5, atol=1e-6)
        for weight in agent.model.encoder.named_weights().values():
            weight.assign_add(tf.fill(weight.shape, 0.1))
        if aside:
            np.testing.assert_array_equal(encode(one), before)
        agent.publish()
        np.testing.assert_allclose(encode(one), encode(obs)[:1], rtol=1e-5, atol=1e-6)
        assert (abs(encode(one) - before) > 1e-3).numpy().any()


def test_copies_are_no_weights_of_the_agent():
    plain, apart = tiny_agent.make(), tiny_agent.make(**ASIDE)
    assert set(plain.named_state()) == set(apart.named_state())


def test_two_runs_of_the_agent_itself_are_equal(tmp_path):
    for name in ("one", "two"):
        dummies.run(
            tmp_path / name,
            dummies.Tapes(1),
            **{"checkpoint_every": 30, "eval_every": 20, **ASIDE},
        )
    dummies.assert_same_end(tmp_path / "one", tmp_path / "two")


def test_what_cannot_go_together_is_named():
    with pytest.raises(ValueError, match="collect_during_update copies.*devices is 2"):
        tiny_agent.make(devices=2, **ASIDE)


def test_uncertainty_is_not_asked_for_while_the_ensemble_learns(tmp_path):
    settings = {"replay__sampling": "uncertainty", "expl_behavior": "Plan2Explore"}
    with pytest.raises(ValueError, match="uncertainty asks.*collect_during_update"):
        dummies.run(tmp_path, dummies.Tapes(1), **settings, **ASIDE)
