"""A wrong name in the configuration is answered before anything is learned."""

import re

import pytest
import tiny_agent

P2E = {"expl_behavior": "Plan2Explore"}
CASES = {  # settings, parts of the message: what was given, what there is
    "actor_grad": ({"actor_grad": "renforce"}, "'renforce'.*auto.*both.*dynamics.*rei"),
    "clip_rewards": ({"clip_rewards": "clip"}, "'clip'.*identity.*sign.*tanh"),
    "expl_behavior": (
        {"expl_behavior": "plan2explore"},
        "'plan2explore'.*ModelLoss.*Plan2Explore.*Random.*greedy",
    ),
    "disag_target": ({**P2E, "disag_target": "obs"}, "'obs'.*deter.*embed.*feat.*stoc"),
    "disag_action_align": (
        {**P2E, "disag_action_align": "both"},
        "'both'.*next.*previous",
    ),
    "expl_model_loss": (
        {"expl_behavior": "ModelLoss", "expl_model_loss": "image"},
        "'image'.*discount.*kl.*reward.*vector",
    ),
    "rssm.std_act": (
        {"rssm__std_act": "exp"},
        "'exp'.*sigmoid.*sigmoid2.*softplus",
    ),
    "grad_heads": (
        {"grad_heads": ["decoder", "value"]},
        r"\['value'\].*decoder.*discount.*reward",
    ),
    "pred_discount": ({"pred_discount": False}, r"\['discount'\].*decoder.*reward"),
    "actor.dist": ({"actor__dist": "trunc_normal"}, "'trunc_normal'.*discrete.*onehot"),
    "precision": ({"precision": "64"}, "'64'.*16.*32.*bfloat16"),
    "rssm.act": ({"rssm__act": "gelu"}, "'gelu'.*elu.*relu"),
    "critic.norm": ({"critic__norm": "batch"}, "'batch'.*layer.*none"),
    "reward_head.dist": ({"reward_head__dist": "cauchy"}, "'cauchy'.*binary.*mse"),
    "reward_head.onehot": (
        {"reward_head__dist": "onehot"},
        "reward_head.dist is 'onehot'.*binary.*mse",
    ),
    "discount_head.dist": (
        {"discount_head__dist": "mse"},
        "discount_head.dist is 'mse'.*binary",
    ),
    "critic.dist": ({"critic__dist": "onehot"}, "critic.dist is 'onehot'.*mse"),
    "model_opt.opt": ({"model_opt__opt": "lion"}, "model_opt.opt 'lion'.*adam.*sgd"),
    "expl_opt.opt": (
        {**P2E, "expl_opt__opt": "lion"},
        "expl_opt.opt 'lion'.*adam.*sgd",
    ),
    "expl_head.norm": ({**P2E, "expl_head__norm": "batch"}, "'batch'"),
    "actor_ent": ({"actor_ent": "liner(0,1,9)"}, r"liner\(0,1,9\).*linear"),
    "imag_horizon": ({"imag_horizon": 1}, "imag_horizon is 1.*at least 2"),
    "slow_target_update": ({"slow_target_update": 0}, "slow_target_update is 0"),
    "rssm.ensemble": ({"rssm__ensemble": 0}, "rssm.ensemble is 0.*one prior"),
    "disag_offset": ({**P2E, "disag_offset": 99}, "disag_offset is 99.*dataset.length"),
    "encoder.mlp_keys": ({"encoder__mlp_keys": "image"}, "'image'.*'vector'"),
}


def answer(**settings):
    """What the agent says to settings when it is built."""
    try:
        tiny_agent.make(**settings)
    except ValueError as error:
        return str(error)
    return "built without an error"


def test_a_wrong_name_is_answered_with_the_choices_when_the_agent_is_built():
    answers = {key: answer(**settings) for key, (settings, _) in CASES.items()}
    patterns = {key: f"(?s){message}" for key, (_, message) in CASES.items()}
    assert not {k: v for k, v in answers.items() if not re.search(patterns[k], v)}


def test_continuous_actions_are_only_truncated_normal():
    for dist in ("onehot", "mse", "normal"):
        with pytest.raises(ValueError, match=f"'{dist}'.*continuous.*trunc_normal"):
            tiny_agent.make(discrete=False, actor__dist=dist)


@pytest.mark.parametrize("discrete, dist", [(True, "onehot"), (False, "trunc_normal")])
def test_a_distribution_may_be_named_that_auto_would_choose(discrete, dist):
    tiny_agent.make(discrete=discrete, actor__dist=dist)
