"""Laws of saved weights: what is harmless, and what would be another agent."""

import pytest

from common.nets import weights

AGENT = {
    "encoder/conv0/kernel": (4, 4, 3, 8),
    "heads/reward/dense0/kernel": (8, 8),
    "actor/dense0/kernel": (8, 8),
    "actor/dense0/norm/gamma": (8,),
    "updates": (),
    "actor_opt/steps": (),
    "actor_opt/slot0/actor/dense0/kernel": (8, 8),
}


def differing(without=(), **saved):
    shapes = {name: shape for name, shape in AGENT.items() if name not in without}
    return weights.compare(AGENT, {**shapes, **saved})


def test_what_is_alike_is_not_spoken_of():
    assert differing() == ([], [])


@pytest.mark.parametrize(
    "name", ["updates", "actor_opt/steps", "actor_opt/slot0/actor/dense0/kernel"]
)
def test_counters_and_moments_that_are_missing_begin_anew(name):
    assert differing([name]) == ([], [f"begins anew: {name}"])


@pytest.mark.parametrize("name", [*AGENT][:4])
def test_a_networks_weight_that_is_missing_is_a_fault(name):
    assert differing([name]) == ([f"it lacks {name}"], [])


@pytest.mark.parametrize(
    "name",
    [
        *("target_critic/dense0/kernel", "heads/discount/dense0/kernel"),
        *("expl/ensemble/dense0/kernel", "model_opt/slot1/actor/dense0/kernel"),
    ],
)
def test_a_part_that_nobody_has_is_left_out(name):
    assert differing(**{name: (8, 8)}) == ([], [f"is not used here: {name}"])


@pytest.mark.parametrize(
    "name",
    ["actor/dense1/kernel", "heads/reward/dense0/norm/beta", "encoder/dense0/kernel"],
)
def test_a_layer_too_many_is_of_another_network(name):
    assert differing(**{name: (8, 8)}) == ([f"the agent's networks have no {name}"], [])


def test_shapes_that_differ_are_told_both_and_long_lists_are_cut():
    found = differing(**{"actor/dense0/kernel": (8, 9)})
    assert found.faults == ["other shapes have actor/dense0/kernel (8, 9), here (8, 8)"]
    many = weights.compare({}, {f"old/w{k}": (1,) for k in range(9)})
    assert many.notes[0].endswith("old/w5 and 3 more")
