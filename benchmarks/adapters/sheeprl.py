"""Adapter of sheeprl's DreamerV2, which is written in PyTorch.

It needs an environment of its own, with Python 3.10 to 3.13:

    python3.11 -m venv ~/venv/sheeprl && ~/venv/sheeprl/bin/pip install \
        torch==2.13.0 sheeprl==0.8.4

The package's own configuration, agent, optimisers and update are called as its training
loop calls them, with as many threads as PyTorch takes by itself and without metrics,
which costs it less; it predicts discounts, as ours does. Batches are tensors before
the clock starts. Nothing is compiled, as is its default; `sheeprl_compiled.py` beside
this file has `algo.compile.enabled`.
"""

import gymnasium as gym
import hydra
import numpy as np
import omegaconf
import torch
from lightning.fabric import Fabric
from sheeprl.algos.dreamer_v2 import agent as agent_lib
from sheeprl.algos.dreamer_v2 import dreamer_v2
from sheeprl.algos.dreamer_v2 import utils as dreamer_utils
from sheeprl.utils.utils import dotdict

NAME = "sheeprl"
COMPILE = False  # the losses and the policy, by torch.compile


def make_config(case):
    """Returns the package's configuration with the sizes of a case."""
    if case["settings"]:
        raise ValueError(f"settings {case['settings']} are ours; leave out --set")
    if case["plan2explore"]:
        raise ValueError("no Plan2Explore; leave out --plan2explore")
    model = "algo.world_model"
    values = {
        "algo.per_rank_batch_size": case["batch"],
        "algo.per_rank_sequence_length": case["length"],
        "algo.horizon": case["horizon"],
        "algo.mlp_layers": case["layers"],
        "algo.dense_units": case["units"],
        "algo.compile.enabled": COMPILE,
        f"{model}.stochastic_size": case["stoch"],
        f"{model}.discrete_size": case["classes"],
        f"{model}.use_continues": True,
        f"{model}.encoder.cnn_channels_multiplier": case["cnn_depth"],
        f"{model}.recurrent_model.recurrent_state_size": case["deter"],
        f"{model}.transition_model.hidden_size": case["hidden"],
        f"{model}.representation_model.hidden_size": case["hidden"],
        "env.num_envs": case.get("rows", 1),
        "algo.mlp_keys.encoder": "[]",
    }
    overrides = [
        "exp=dreamer_v2",
        "env=dummy",
        *(f"{k}={v}" for k, v in values.items()),
    ]
    with hydra.initialize_config_module("sheeprl.configs", version_base="1.3"):
        config = hydra.compose("config", overrides=overrides)
    # Entries that only a run on a task fills in are left as they are.
    omegaconf.OmegaConf.resolve(config.algo)
    return dotdict(omegaconf.OmegaConf.to_container(config, resolve=False))


def make_agent(case):
    """Builds the package's agent for images of 3x64x64.

    Returns:
      The configuration, the fabric that places it, and the package's five modules.
    """
    config = make_config(case)
    torch.set_float32_matmul_precision(config.float32_matmul_precision)
    checked = config.distribution.validate_args
    torch.distributions.Distribution.set_default_validate_args(checked)
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    space = gym.spaces.Dict({"rgb": gym.spaces.Box(0, 255, (3, 64, 64), np.uint8)})
    continuous = not case["discrete"]
    modules = agent_lib.build_agent(
        fabric, (case["action_size"],), continuous, config, space
    )
    return config, fabric, modules


def make_batch(case):
    """Returns noise, as tensors [T, B, ...]."""
    rng, size = np.random.default_rng(0), case["action_size"]
    shape = case["length"], case["batch"]
    action = rng.uniform(-1, 1, (*shape, size)).astype(np.float32)
    if case["discrete"]:
        action = np.eye(size, dtype=np.float32)[rng.integers(size, size=shape)]
    batch = {
        "rgb": rng.integers(0, 256, (*shape, 3, 64, 64), np.uint8),
        "actions": action,
        "rewards": rng.random((*shape, 1), np.float32),
    }
    for flag in ("is_first", "terminated", "truncated"):
        batch[flag] = np.zeros((*shape, 1), np.float32)
    return {key: torch.as_tensor(value).float() for key, value in batch.items()}


class Update:
    """Updates an agent with one batch, over and over."""

    def __init__(self, case):
        """Builds the agent and its optimisers."""
        self._config, self._fabric, (*modules, _) = make_agent(case)
        self._modules, self._batch = modules, make_batch(case)
        self._actions = (case["action_size"],)
        algo = self._config.algo
        parts = (algo.world_model, algo.actor, algo.critic)
        optimizers = [
            dreamer_utils.build_optimizer(part.optimizer, module.parameters())
            for part, module in zip(parts, modules[:3], strict=True)
        ]
        self._optimizers = self._fabric.setup_optimizers(*optimizers)
        weights = [w for module in modules for w in module.parameters()]
        self.info = {"weights": sum(w.numel() for w in weights)}

    def __call__(self):
        """Takes one gradient step of every part."""
        dreamer_v2.train(
            self._fabric,
            *self._modules,
            *self._optimizers,
            dict(self._batch),
            None,
            self._config,
            self._actions,
        )


class Policy:
    """Chooses actions for `rows` environments that show one image each."""

    def __init__(self, case):
        """Builds the agent that acts; the one of another case is another."""
        *_, modules = make_agent(case)
        self._player, self._greedy = modules[-1], case["evaluate"]
        self._player.init_states()
        pixels = make_batch(case)["rgb"].reshape(-1, 3, 64, 64)[: case["rows"]]
        self._pixels = pixels.numpy().astype(np.uint8)

    def __call__(self):
        """Acts once; the pixels become floats as in the package's loop."""
        obs = torch.as_tensor(self._pixels)[None].float() / 255 - 0.5
        with torch.inference_mode():
            actions = self._player.get_actions({"rgb": obs}, greedy=self._greedy)
            torch.cat(actions, -1).cpu().numpy()


make_update, make_policy = Update, Policy
