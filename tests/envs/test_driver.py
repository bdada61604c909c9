"""The driver: which calls in which order, what is told to whom."""

import json

import numpy as np
import pytest

from common import driver, specs


class TapeEnv:
    """Writes its calls on a tape; observation: [name, episode, step]."""

    obs_specs = {"vector": specs.ArraySpec((3,), np.dtype(np.float32))}
    act_spec = specs.ActionSpec(2, discrete=True)

    def __init__(self, name, lengths, tape, terminal=False):
        self.name, self.lengths, self.tape = name, lengths, tape
        self.terminal = terminal
        self.episode = -1
        self.memory = 0

    def reset(self, seed=None):
        self.episode += 1
        self.count = 0
        self.tape.append(("reset", self.name, seed))
        return self._transition(0.0, first=True)

    def step(self, action):
        self.count += 1
        self.tape.append(("step", self.name, action.tolist()))
        last = self.count == self.lengths[self.episode % len(self.lengths)]
        return self._transition(float(self.count), last=last)

    def _transition(self, reward, first=False, last=False):
        return {
            "vector": np.array([self.name, self.episode, self.count], np.float32),
            "log_double": np.float32(2 * self.count),
            "reward": np.float32(reward),
            "is_first": np.bool_(first),
            "is_last": np.bool_(last),
            "is_terminal": np.bool_(last and self.terminal),
        }

    def get_state(self):
        return {"memory": self.memory}

    def set_state(self, state):
        self.memory = state["memory"]


class AsyncTapeEnv(TapeEnv):
    """Begins at step_async and ends when the promise is called."""

    def step_async(self, action):
        self.tape.append(("begin", self.name))
        return lambda: self.step(action)


class TapePolicy:
    """Chooses action n % 2 at its n-th call; its state is the number of calls."""

    def __init__(self, tape):
        self.tape = tape
        self.seen = []

    def __call__(self, obs, state):
        calls = (state or 0) + 1
        self.tape.append(("policy", obs["is_first"].tolist()))
        self.seen.append(obs)
        actions = np.eye(2)[np.full(len(obs["reward"]), calls % 2)]
        return actions, calls


class Checked(driver.Driver):
    """A driver that is valid after each call that may change it."""

    def _step(self, policy, active):
        finished = super()._step(policy, active)
        self.check_valid()
        return finished

    def reset(self):
        super().reset()
        self.check_valid()

    def set_state(self, state):
        super().set_state(state)
        self.check_valid()


def make(*lengths, cls=TapeEnv, longest=0, **kwargs):
    tape = []
    envs = [cls(i, each, tape, **kwargs) for i, each in enumerate(lengths)]
    drv = Checked(envs, lambda env, episode: 100 * env + episode, longest)
    drv.on_step(lambda tran, i: tape.append(("tell", i, bool(tran["is_first"]))))
    drv.on_episode(lambda summary, i: tape.append(("episode", i, summary["length"])))
    return drv, tape, TapePolicy(tape)


def test_the_order_of_calls_over_two_environments_and_an_episode_end():
    drv, tape, policy = make([1], [2])
    drv.step(policy)
    drv.step(policy)
    assert tape == [
        ("reset", 0, 0),
        ("reset", 1, 100),
        ("tell", 0, True),
        ("tell", 1, True),
        ("policy", [True, True]),
        ("step", 0, [0.0, 1.0]),
        ("step", 1, [0.0, 1.0]),
        ("tell", 0, False),
        ("episode", 0, 1),
        ("tell", 1, False),
        ("reset", 0, 1),
        ("tell", 0, True),
        ("policy", [True, False]),
        ("step", 0, [1.0, 0.0]),
        ("step", 1, [1.0, 0.0]),
        ("tell", 0, False),
        ("episode", 0, 1),
        ("tell", 1, False),
        ("episode", 1, 2),
    ]
    assert drv.episodes == [2, 1]


def test_transitions_hold_the_action_that_led_to_them_and_resets_the_zero_action():
    drv, _, policy = make([2])
    told = []
    drv.on_step(lambda tran, _: told.append(tran))
    drv.run(policy, steps=3)
    actions = [tran["action"].tolist() for tran in told]
    assert actions == [[0, 0], [0, 1], [1, 0], [0, 0], [0, 1]]
    assert all(tran["action"].dtype == np.float32 for tran in told)
    assert [float(tran["reward"]) for tran in told] == [0, 1, 2, 0, 1]
    assert [bool(tran["is_first"]) for tran in told] == [1, 0, 0, 1, 0]


def test_told_actions_stay_when_the_policy_uses_its_buffer_again():
    drv, _, _ = make([9])
    buffer = np.zeros((1, 2), np.float32)
    told = []
    drv.on_step(lambda tran, _: told.append(tran["action"]))

    def policy(obs, state):
        buffer[:] = obs["vector"][0, 2]
        return buffer, state

    drv.run(policy, steps=3)
    assert [action[0] for action in told] == [0, 0, 1, 2]


def test_the_policy_sees_one_stacked_row_for_each_environment():
    for count in (1, 3):
        drv, _, policy = make(*[[5]] * count)
        drv.run(policy, steps=2 * count)
        first, second = policy.seen
        assert first["vector"].tolist() == [[i, 0, 0] for i in range(count)]
        assert second["vector"].tolist() == [[i, 0, 1] for i in range(count)]
        assert second["action"].tolist() == [[0, 1]] * count
        assert second["reward"].shape == second["is_first"].shape == (count,)


def test_log_keys_reach_neither_policy_nor_step_listener_but_the_summary():
    drv, _, policy = make([3])
    told, summaries = [], []
    drv.on_step(lambda tran, _: told.append(set(tran)))
    drv.on_episode(lambda summary, _: summaries.append(summary))
    drv.play(policy, [1])
    assert all("log_double" not in keys for keys in [*told, *map(set, policy.seen)])
    assert summaries[0]["log"]["log_double"].tolist() == [2, 4, 6]


def test_the_summary_of_an_episode():
    for terminal in (False, True):
        drv, _, policy = make([9], [2], terminal=terminal)
        summaries = []
        drv.on_episode(lambda summary, _, told=summaries: told.append(summary))
        drv.run(policy, steps=4)
        (summary,) = summaries
        assert summary.pop("log")
        assert summary == {
            "return": 3.0,
            "length": 2,
            "is_terminal": terminal,
            "reward_last": 2.0,
            "worker": 1,
        }


def test_run_stops_at_the_steps_asked_for():
    drv, tape, policy = make([4], [4])
    drv.run(policy, steps=5)  # Two environments: 6 steps.
    assert sum(event[0] == "step" for event in tape) == 6
    drv.run(policy, steps=0)
    assert sum(event[0] == "step" for event in tape) == 6


def test_play_finishes_the_episodes_of_each_environment_and_begins_no_other():
    drv, tape, policy = make([2, 1], [5], [1])
    drv.play(policy, [2, 1, 3])
    lengths = {0: [], 1: [], 2: []}
    for _, env, length in (event for event in tape if event[0] == "episode"):
        lengths[env].append(length)
    assert lengths == {0: [2, 1], 1: [5], 2: [1, 1, 1]}
    assert drv.episodes == [2, 1, 3]
    steps = [event[1] for event in tape if event[0] == "step"]
    assert steps == [0, 1, 2, 0, 1, 2, 0, 1, 2, 1, 1]
    # The policy is asked for all of them together; who has ended shows its end.
    assert len(policy.seen) == 5
    assert [obs["vector"].tolist()[2] for obs in policy.seen[3:]] == [[2, 2, 1]] * 2


def test_who_has_been_reset_can_stand_still_while_others_play():
    drv, tape, policy = make([3], [2])
    drv.run(policy, 2)
    tape.clear()
    drv.play(policy, [0, 2])
    assert [event[1] for event in tape if event[0] == "step"] == [1, 1, 1]
    assert [event[1] for event in tape if event[0] == "reset"] == [1]
    assert policy.seen[-1]["vector"].tolist()[0] == [0, 0, 1]
    with pytest.raises(ValueError, match="or none if it has been reset"):
        drv.play(policy, [-1, 1])


def test_play_needs_an_episode_for_each_environment():
    drv, tape, policy = make([2], [2])
    for episodes in ([1], [1, 0], [1, 1, 1]):
        with pytest.raises(ValueError, match="each of the 2 environments must play"):
            drv.play(policy, episodes)
    assert tape == []


def test_the_policy_keeps_its_state_over_steps_until_the_driver_is_reset():
    drv, tape, policy = make([3])
    states = []

    def spy(obs, state):
        states.append(state)
        return policy(obs, state)

    drv.run(spy, steps=4)
    drv.reset()
    drv.step(spy)
    assert states == [None, 1, 2, 3, None]
    assert tape[-4:-2] == [("tell", 0, True), ("policy", [True])]
    assert drv.episodes == [3]


def test_a_forgotten_episode_is_not_part_of_the_next_summary():
    drv, _, policy = make([3])
    lengths = []
    drv.on_episode(lambda summary, _: lengths.append(summary["length"]))
    drv.run(policy, steps=2)
    drv.reset()
    drv.play(policy, [1])
    assert lengths == [3]


def test_a_restored_driver_plays_the_episodes_under_way_again():
    drv, tape, policy = make([2], [3])
    drv.run(policy, steps=10)  # 5 steps each: the 3rd and the 2nd episode
    state = json.loads(json.dumps(drv.get_state()))
    state["envs"][1]["env"]["memory"] = 7
    restored, tape, policy = make([2], [3])
    heard = []
    restored.on_step(lambda tran, env: heard.append((env, bool(tran["is_first"]))))
    restored.set_state(state)
    assert [event for event in tape if event[0] == "reset"] == [
        ("reset", 0, 2),
        ("reset", 1, 101),
    ]
    assert heard == [(0, True), (0, False), (1, True), (1, False), (1, False)]
    assert restored.episodes == [3, 2]
    assert [env["env"] for env in restored.get_state()["envs"]] == [
        {"memory": 0},
        {"memory": 7},
    ]
    restored.step(policy)
    assert heard[5:] == [(0, False), (1, False)]


def test_a_restored_driver_starts_the_episode_after_those_that_have_ended():
    drv, tape, policy = make([2], [3])
    drv.run(policy, steps=12)  # the 3rd and the 2nd episode have just ended
    state = json.loads(json.dumps(drv.get_state()))
    restored, tape, policy = make([2], [3])
    restored.set_state(state)
    assert tape == []
    restored.step(policy)
    assert tape[:2] == [("reset", 0, 3), ("reset", 1, 102)]


@pytest.mark.parametrize("lengths", [[4], [4, 4, 4]])
def test_from_a_state_of_another_number_of_environments_all_begin_anew(lengths):
    drv, _, policy = make([4], [4])
    drv.run(policy, steps=12)  # in the middle of the 2nd episodes
    state = json.loads(json.dumps(drv.get_state()))
    restored, tape, policy = make(*[[length] for length in lengths])
    restored.set_state(state)
    restored.step(policy)
    resets = [call for call in tape if call[0] == "reset"]
    expected = [("reset", 0, 2), ("reset", 1, 102), ("reset", 2, 200)]
    assert resets == expected[: len(lengths)]


def test_all_asynchronous_environments_begin_before_one_is_waited_for():
    drv, tape, policy = make([5], [5], cls=AsyncTapeEnv)
    drv.step(policy)
    assert [event[:2] for event in tape[5:9]] == [
        ("begin", 0),
        ("begin", 1),
        ("step", 0),
        ("tell", 0),
    ]


def test_a_driver_without_environments_is_refused():
    with pytest.raises(ValueError, match="at least one environment"):
        driver.Driver([], lambda env, episode: 0)


# Episodes without an end.


@pytest.mark.parametrize("cls", [TapeEnv, AsyncTapeEnv])
def test_an_episode_is_cut_after_the_longest_and_is_not_terminal(cls):
    drv, tape, policy = make([4, 10**9, 5], cls=cls, terminal=True, longest=5)
    ends, summaries = [], []
    drv.on_step(lambda tran, _: ends.append(bool(tran["is_last"])))
    drv.on_episode(lambda summary, _: summaries.append(summary))
    drv.play(policy, [3])
    assert [summary["length"] for summary in summaries] == [4, 5, 5]
    assert [summary["is_terminal"] for summary in summaries] == [True, False, True]
    assert sum(ends) == 3 and len(ends) == 4 + 5 + 5 + 3  # with the resets
    assert drv.cut == [1]  # the one that ended by itself at the bound is none


def test_without_a_longest_no_episode_is_cut():
    drv, _, policy = make([10**9])
    drv.run(policy, 1000)
    assert (drv.episodes, drv.cut) == ([1], [0])
