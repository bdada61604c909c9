"""Laws of how a configuration becomes two strategies, ours or somebody's own."""

import inspect
import sys
import types

import numpy as np
import pytest
import replays

from common import config as config_lib
from common import replay
from common.replay import strategies
from common.replay.strategies import retention, sampling

OWN = '''
from common.replay import strategies


class Rewarding(strategies.Retention):
    """Episodes of little return leave first."""

    def __init__(self, seed=0, *, sign=1.0):
        super().__init__(seed)
        self._sign = sign
        self.changes = []

    def rank(self, episode):
        return self._sign * episode.reward

    def on_task_change(self, finished, next):
        self.changes.append((finished, next))


class Newest(strategies.Sampling):
    """One of the newest `count` episodes."""

    def __init__(self, seed=0, *, count):
        super().__init__(seed)
        self._count = count

    def choose(self, unfinished):
        total = len(self.held) + len(unfinished)
        return int(self.rng.integers(max(0, total - self._count), total))


class Anything(strategies.Retention):
    def __init__(self, seed, **options):
        super().__init__(seed)
        self.options = options


def function():
    pass
'''
SETTINGS = {
    "seed": 3,
    "expl_behavior": "Plan2Explore",
    "collect_during_update": False,
    "replay": {
        "retention": "fifo",
        "sampling": "uniform",
        "recent_prob": 0.25,
        "uncertainty_recalculation": 7,
        "capacity": 40,
        "minlen": 3,
        "split_recent": 0.25,
        "retention_args": "",
        "sampling_args": "",
        "coverage": {
            "filters": 3,
            "kernel_size": 4,
            "number_of_comparisons": 5,
            "normalize_lstm_state": True,
            "distance": "cosine",
        },
    },
}


class Agent:
    """What strategies may ask for; `asked` is what they wanted to be embedded."""

    def __init__(self):
        image = types.SimpleNamespace(shape=(2, 2, 1), dtype=np.dtype("uint8"))
        self.obs_specs = {"count": np.zeros((), np.int32), "image": image}
        self.asked = []

    def disagreement(self, episodes):
        return replays.score(episodes)

    def embedding(self, key, **options):
        self.asked.append((key, options))
        return replays.embed


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The name of a module with somebody's own strategies."""
    (tmp_path / "own_strategies.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_strategies"
    sys.modules.pop("own_strategies", None)


def configure(**settings):
    """A configuration with these keys changed, `__` for a dot."""
    return config_lib.Config(SETTINGS).update(
        {key.replace("__", "."): value for key, value in settings.items()}
    )


def test_every_name_gives_its_class_with_what_it_needs():
    agent = Agent()
    for name, kind in retention.RETENTION.items():
        made = strategies.make_retention(configure(replay__retention=name), agent)
        assert type(made) is kind
    (asked,) = agent.asked
    embedded = {"filters": 3, "kernel_size": 4, "normalize_lstm_state": True}
    assert asked == ("image", {**embedded, "seed": 3})
    for name, kind in sampling.SAMPLING.items():
        made = strategies.make_sampling(configure(replay__sampling=name), agent)
        assert type(made) is kind


def test_a_strategy_by_configuration_acts_as_one_that_is_made_by_hand():
    agent = Agent()
    pairs = [
        (
            strategies.make_sampling(configure(replay__sampling="recent"), agent),
            sampling.Recent(3, recent_prob=0.25),
        ),
        (
            strategies.make_sampling(
                configure(
                    replay__sampling="recent",
                    replay__sampling_args='{"recent_prob": 1.0}',
                ),
                agent,
            ),
            sampling.Recent(3, recent_prob=1.0),
        ),
        (
            strategies.make_sampling(configure(replay__sampling="uncertainty"), agent),
            sampling.Uncertainty(3, score=replays.score, recalculation=7),
        ),
    ]
    target = replays.make(keep="reservoir")
    replays.fill(target, [9] * 8)
    for one, other in pairs:
        for episode in replays.held(target).values():
            one.add(episode)
            other.add(episode)
        assert [one.draw().index for _ in range(50)] == [
            other.draw().index for _ in range(50)
        ]


def test_own_strategies_with_options_rule_a_replay(own, tmp_path):
    config = configure(
        replay__retention=f"{own}:Rewarding",
        replay__retention_args='{"sign": -1}',
        replay__sampling=f"{own}:Newest",
        replay__sampling_args='{"count": 2}',
    )

    def open_replay():
        target = replays.Checked(
            tmp_path / "replay",
            **{"capacity": 40, "minlen": 3, "maxlen": 20, "prioritize_ends": True},
            retention=strategies.make_retention(config, Agent()),
            sampling=strategies.make_sampling(config, Agent()),
            seed=0,
        )
        return target, target.stream(2, 5)

    target, stream = open_replay()
    collector = replays.fill(target, [9] * 12)
    held = replays.held(target)
    returns = sorted(sum(made["reward"].tolist()) for made in collector.made)
    assert sorted(e.reward for e in held.values()) == pytest.approx(returns[:4])
    drawn = np.concatenate([stream.next()["count"].ravel() for _ in range(30)])
    assert set((drawn // 10).tolist()) == {*sorted(held)[-2:]}
    target.on_task_change(0, 1)
    assert target._contents._retention.changes == [(0, 1)]
    state, stream_state = target.get_state(), stream.get_state()
    expected = [stream.next() for _ in range(5)]
    target.close()
    again, stream = open_replay()
    again.set_state(state)
    stream.set_state(stream_state)
    for batch in expected:
        replays.assert_same(stream.next(), batch)
    again.close()


def test_a_class_that_takes_any_options_gets_them(own):
    config = configure(
        replay__retention=f"{own}:Anything", replay__retention_args='{"a": [1]}'
    )
    assert strategies.make_retention(config, Agent()).options == {"a": [1]}


def test_what_cannot_be_made_is_named_with_the_way_out(own):
    for settings, message in (
        ({"retention": "fifos"}, "Unknown replay.retention 'fifos'.*reservoir"),
        ({"sampling": "rewards"}, "Unknown replay.sampling 'rewards'.*reward"),
        ({"retention": f"{own}:function"}, "a class that derives from .*Retention"),
        ({"retention": f"{own}:Newest"}, "a class that derives from .*Retention"),
        ({"retention_args": "{a: 1}"}, "retention_args is '{a: 1}'.*no JSON object"),
        ({"sampling_args": "[1]"}, "sampling_args is .*it is of type list"),
        ({"retention_args": '{"a": 1}'}, r"\['a'\], but Fifo takes no options"),
        (
            {"sampling": f"{own}:Newest", "sampling_args": '{"counts": 1}'},
            r"\['counts'\], but Newest takes only \['count'\]",
        ),
    ):
        with pytest.raises(config_lib.ConfigError, match=message):
            config = configure(**{f"replay__{key}": v for key, v in settings.items()})
            strategies.make_retention(config, Agent())
            strategies.make_sampling(config, Agent())


def test_a_strategy_refuses_a_configuration_or_an_agent_that_lacks_what_it_needs():
    blind = Agent()
    del blind.obs_specs["image"]
    with pytest.raises(ValueError, match=r"compares images.*\['count'\]"):
        strategies.make_retention(configure(replay__retention="coverage"), blind)
    for settings, message in (
        ({"expl_behavior": "greedy"}, "needs the ensemble.*'greedy'"),
        ({"collect_during_update": True}, "leave one of them out"),
    ):
        config = configure(replay__sampling="uncertainty", **settings)
        with pytest.raises(ValueError, match=message):
            strategies.make_sampling(config, Agent())


def test_the_examples_in_the_base_classes_work():
    for kind in (strategies.Retention, strategies.Sampling):
        lines = inspect.getdoc(kind).splitlines()  # indented alike by every Python
        start = next(i for i, line in enumerate(lines) if line.startswith("    class"))
        end = next(i for i, line in enumerate(lines) if "The order of calls" in line)
        space = {"strategies": strategies}
        exec("\n".join(line[4:] for line in lines[start:end]), space)
        (example,) = (v for v in space.values() if isinstance(v, type))
        own = {kind.__name__.lower(): example()}
        default = {"retention": retention.Fifo(), "sampling": sampling.Uniform()}
        lengths = {"capacity": 40, "minlen": 3, "maxlen": 20}
        target = replay.Replay(
            None, **lengths, prioritize_ends=True, seed=0, **(default | own)
        )
        replays.fill(target, [9] * 8)
        target.stream(2, 5).next()
        target.check_valid()
