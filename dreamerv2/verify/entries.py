"""This implementation's value for every entry of `expected.npz`, by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from common.nets import coders
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.algorithm import explore, world_model
from dreamerv2.verify import case as case_lib


def compute(case: case_lib.Case) -> dict[str, np.ndarray]:
    """Returns this implementation's value for every kind of entry."""
    results: dict[str, Any] = {}
    agent = case_lib.build_agent(case)
    batch = {k: tf.convert_to_tensor(v) for k, v in case.batch.items()}
    coefficients = agent.coefficients(0)

    @tf.function(autograph=False)
    def evaluate() -> dict[str, Any]:
        data = agent.model.preprocess(batch)
        found, outputs = _world_model(agent, data)
        found.update(_behaviour(agent, data, outputs, coefficients))
        return found

    results.update(evaluate())
    results["policy/eval_action"] = _policy(agent, case.batch)
    results.update(_train_step(agent, batch, coefficients))
    return _numpy(results)


def _world_model(
    agent: agent_lib.Agent, data: Mapping[str, tf.Tensor]
) -> tuple[dict[str, Any], world_model.Outputs]:
    model = agent.model
    state = model.initial(data["action"].shape[0])
    image = coders.to_numbers(data["image"], tf.float32)
    results = {"preprocess/image": image}
    results.update({f"preprocess/{k}": data[k] for k in ("reward", "discount")})
    weights = model.named_weights()
    with tf.GradientTape() as tape:
        loss, outputs, metrics = model.loss(data, state, None)
    grads = tape.gradient(loss, list(weights.values()))
    prior_stoch = model.rssm.dist(outputs.prior).mode()
    results["encoder/embed"] = outputs.embed
    for key, value in outputs.post.items():
        results[f"rssm/post/{key}"] = value
    for key, value in {**outputs.prior, "stoch": prior_stoch}.items():
        results[f"rssm/prior/{key}"] = value
    results["rssm/feat"] = outputs.feat
    results["rssm/kl_loss"] = metrics["kl_loss"]
    results["rssm/kl_value"] = outputs.kl
    for key, dist in model.heads["decoder"](outputs.feat).items():
        results[f"heads/decoder/{key}_mean"] = dist.mode()
    results["heads/reward/mean"] = model.reward(outputs.feat)
    if "discount" in model.heads:
        results["heads/discount/logit"] = model.heads["discount"](outputs.feat).logits
    results["world_model/loss"] = loss
    results.update({f"world_model/metrics/{k}": v for k, v in metrics.items()})
    for name, grad in zip(weights, grads, strict=True):
        results[f"world_model/grad/{name}"] = grad
    return results, outputs


def _behaviour(
    agent: agent_lib.Agent,
    data: Mapping[str, tf.Tensor],
    outputs: world_model.Outputs,
    coefficients: Mapping[str, tf.Tensor],
) -> dict[str, Any]:
    task, model = agent.task, agent.model
    actor, critic = task.actor.named_weights(), task.critic.named_weights()
    with tf.GradientTape(persistent=True) as tape:
        imagined, metrics = task.imagine(
            model,
            outputs.post,
            data["is_terminal"],
            lambda trajectory: (model.reward(trajectory.feat), {}),
            None,
        )
        actor_loss, more = task.actor_loss(imagined, coefficients)
        metrics.update(more)
        critic_loss, more = task.critic_loss(imagined)
        metrics.update(more)
    trajectory = imagined.trajectory
    results = {f"imagine/{k}": v for k, v in trajectory._asdict().items()}
    results["imagine/feat"] = trajectory.feat.to_tensor()
    results["imagine/reward"] = model.reward(trajectory.feat)
    results["behaviour/target"] = imagined.target
    results["behaviour/actor_loss"] = actor_loss
    results["behaviour/critic_loss"] = critic_loss
    results.update({f"behaviour/metrics/{k}": v for k, v in metrics.items()})
    for part, weights, loss in (
        ("actor", actor, actor_loss),
        ("critic", critic, critic_loss),
    ):
        grads = tape.gradient(loss, list(weights.values()))
        for name, grad in zip(weights, grads, strict=True):
            results[f"behaviour/grad/{part}/{name}"] = grad
    if isinstance(agent.expl, explore.Plan2Explore):
        # The whole exploration reward along the exploring actor's own trajectory.
        imagined, _ = agent.expl.imagine(
            model, outputs.post, data["is_terminal"], agent.expl.reward, None
        )
        reward, _ = agent.expl.reward(imagined.trajectory)
        results["p2e/intrinsic_reward"] = reward
    return results


def _policy(agent: agent_lib.Agent, batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the evaluation actions [B, A] after the first observations."""
    first = {key: value[:, 0] for key, value in batch.items()}
    exploring = np.zeros(len(first["is_first"]), bool)
    action, _ = agent.policy(first, None, step=0, exploring=exploring, evaluate=True)
    return action


def _train_step(
    agent: agent_lib.Agent,
    batch: Mapping[str, tf.Tensor],
    coefficients: Mapping[str, tf.Tensor],
) -> dict[str, Any]:
    """Returns metrics and weights of one whole update."""
    for name, weight in agent.named_weights().items():
        if name.endswith("updates"):
            weight.assign(1)  # the slow critic is not copied in this step
    state = agent.model.initial(batch["action"].shape[0])
    _, metrics = agent.train_graph(batch, state, coefficients, None)
    results = {f"train_step/metrics/{k}": v for k, v in metrics.items()}
    for name, weight in case_lib.scatter_ensemble(agent.named_weights()).items():
        results[f"train_step/weights/{name}"] = weight
    return results


def _numpy(results: Mapping[str, Any]) -> dict[str, np.ndarray]:
    arrays = {}
    for name, value in results.items():
        if value is not None:
            array = np.asarray(value)
            wide = array.dtype not in (np.dtype(bool), np.dtype(np.uint8))
            arrays[name] = array.astype(np.float32) if wide else array
    return arrays
