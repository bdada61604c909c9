"""Updates on one and on two devices: python two_devices.py FILE.npz.

A process of its own, because TensorFlow divides a CPU into two devices only before it
is used. The arrays are named case/devices/kind/name.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tiny_agent

from common.compute import loading, replicas
from common.nets import coders, optim
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.run import checkpoint

UPDATES, MORE, ROWS = 4, 2, 4
_NORM = {"reward_norm__momentum": 0.5, "expl_reward_norm__momentum": 0.5}
CASES = {  # observations, discrete actions, settings
    "reinforce": (
        ("image", "vector"),
        True,
        {
            **_NORM,
            "expl_behavior": "Plan2Explore",
            "expl_extr_scale": 0.5,
            "rssm__ensemble": 2,
            "slow_target_update": 2,
            "slow_target_fraction": 0.5,
            r".*_opt\.clip": 0.1,  # shorter than gradients
            "kl__free": 0.2,  # between the devices' divergences
        },
    ),
    "dynamics": (
        ("vector",),
        False,
        {**_NORM, "rssm__discrete": 0, r".*_opt\.wd": 1e-3, "l2_scale": 0.1},
    ),
    "half": (("vector",), True, {"precision": "16"}),
}


def make(case: str, devices: int) -> agent_lib.Agent:
    keys, discrete, settings = CASES[case]
    return tiny_agent.make(*keys, discrete=discrete, devices=devices, **settings)


def train(agent: agent_lib.Agent, case: str, state: Any = None, first: int = 0) -> Any:
    """Takes updates; returns the state after them and metrics by name."""
    keys, discrete, _ = CASES[case]
    lines = []
    for i in range(first, first + (MORE if first else UPDATES)):
        data = tiny_agent.batch(*keys, discrete=discrete, rows=ROWS, seed=i)
        state, metrics = agent.train(data, state, step=i)
        lines.append(metrics)
    return state, {key: np.array([line[key] for line in lines]) for key in lines[0]}


def compare(case: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What the same updates compute, and what a snapshot goes on to compute."""
    agents, states = {}, {}
    for devices in (1, 2):
        agent = agents[devices] = make(case, devices)
        yield f"{case}/{devices}/before", tiny_agent.snapshot(agent)
        for optimizer in agent.optimizers().values():
            optimizer.anchor()
        states[devices], metrics = train(agent, case)
        yield f"{case}/{devices}/metrics", metrics
        yield f"{case}/{devices}/carry", states[devices]
        data = tiny_agent.batch(*CASES[case][0], discrete=CASES[case][1], rows=3)
        data["valid"] = np.arange(12).reshape(3, 4) < 10
        yield f"{case}/{devices}/readings", agent.assess([data, data], seed=3)
        yield f"{case}/{devices}/after", tiny_agent.snapshot(agent)
    copies = {k: v.values[1].numpy() for k, v in agents[2].named_state().items()}
    yield f"{case}/2/copies", copies
    for origin in (1, 2):
        saved = tiny_agent.snapshot(agents[origin])
        for devices, agent in agents.items():
            checkpoint.assign(agent.named_state(), saved)
            agent.set_state({"train": UPDATES})
            _, metrics = train(agent, case, states[origin], first=UPDATES)
            yield f"{case} from {origin}/{devices}/metrics", metrics
        checkpoint.assign(agents[origin].named_state(), saved)


def overflow(devices: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The second row's gradient is infinite in the first step, and then is not."""
    shared = replicas.Replicas(devices)
    settings = {"opt": "sgd", "lr": 1.0, "eps": 0.0, "clip": 0.0, "wd": 0.0}
    with shared.scope():
        weights = {"w": tf.Variable(2.0)}
        scale = optim.LossScale(tf.float16)
        opt = optim.Optimizer("x", weights, loss_scale=scale, **settings)

    def step(data: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, dict]:
        return opt.minimize(lambda: (tf.reduce_mean(data * opt.weights[0]), state))

    graph = tf.function(shared.spread(step), autograph=False)
    for row in (np.inf, 3.0):
        graph(tf.constant([1.0, row]), tf.zeros([2]))
        state = {**weights, **opt.named_weights()}
        yield f"overflow {row}/{devices}/after", state


def main(path: str) -> None:
    cpus = tf.config.list_physical_devices("CPU")
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpus[0], two)
    coders._PIECE = 6  # of 16 states on one device, 8 on each of two: pieces of 4
    found = {}
    with tiny_agent.running(eagerly=False):
        for generator in (*map(compare, CASES), *map(overflow, (1, 2))):
            for place, tensors in generator:
                for name, value in tensors.items():
                    found[f"{place}/{name}"] = np.asarray(value, np.float64)
    np.savez(path, **found)


if __name__ == "__main__":
    loading.prepare_script()
    main(sys.argv[1])
