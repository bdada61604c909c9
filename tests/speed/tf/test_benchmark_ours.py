"""The adapter of our own agent: what it measures is what a run does."""

import numpy as np

from benchmarks.adapters import ours
from benchmarks.turns import cases
from dreamerv2 import settings

TINY = dict(deter=8, hidden=8, cnn_depth=2, layers=1, units=8, stoch=3, classes=4)
TINY |= dict(batch=2, length=4, horizon=3, action_size=3)


def test_the_full_size_is_the_configuration_itself():
    found = ours.settings(cases.make_case("full", True, {"seed": 3}))
    assert settings.defaults.update(found) == settings.defaults.update(seed=3)


def test_cases_decide_on_exploration_and_the_kind_of_actions():
    case = cases.make_case("small", True, {}) | TINY
    assert ours.make_agent(case).expl is None
    agent = ours.make_agent(case | {"plan2explore": True, "discrete": False})
    assert agent.expl is not None
    assert not agent.act_spec.discrete
    assert set(np.unique(ours.make_batch(case)["action"])) == {0, 1}
    assert ours.make_batch(case | {"discrete": False})["action"].min() < 0


def test_the_first_update_finds_the_graph_that_was_traced():
    case = cases.make_case("small", False, {}) | TINY
    update = ours.make_update(case)
    agent = ours.make_agent(case)
    update.trace()
    assert int(agent.named_state()["updates"]) == 0
    update()
    update()
    assert agent.train_graph.experimental_get_tracing_count() == 1
    assert int(agent.named_state()["updates"]) == 2
    assert update.info["weights"] > 1000


def test_policies_of_all_rows_and_modes_share_an_agent():
    case = cases.make_case("small", True, {}) | TINY
    for rows in (1, 2):
        for evaluate in (False, True):
            act = ours.make_policy(case | {"rows": rows, "evaluate": evaluate})
            act()
            act()
    agent = ours.make_agent(case)
    assert agent.policy_graph.experimental_get_tracing_count() == 4
    assert agent.get_state()["policy"] == agent.get_state()["evaluation"] == 4
