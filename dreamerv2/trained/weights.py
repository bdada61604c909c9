"""An agent with the weights of a snapshot."""

from __future__ import annotations

from common import config as config_lib
from common import specs
from common.compute import devices
from common.nets import weights
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.run import checkpoint
from dreamerv2.trained import snapshot as snapshot_lib


def config_of(
    snapshot: snapshot_lib.Snapshot, seed: int | None = None
) -> config_lib.Config:
    """Returns the configuration in which a snapshot acts, on one device.

    Args:
      snapshot: The agent.
      seed: Decides all that is random; the run's if None.

    Raises:
      ValueError: If the seed is negative.
    """
    seed = snapshot.config.seed if seed is None else seed
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be 0 or more.")
    return snapshot.config.update(seed=seed, devices=1, collect_during_update=False)


def build(
    snapshot: snapshot_lib.Snapshot, config: config_lib.Config, spaces: specs.Spaces
) -> agent_lib.Agent:
    """Builds the agent; what only training needs begins anew.

    Args:
      snapshot: Has the weights.
      config: What `config_of` returned.
      spaces: What the agent observes and does.

    Raises:
      CheckpointError: If the weights do not fit.
    """
    devices.setup(jit=config.jit, deterministic=config.deterministic)
    agent = agent_lib.Agent(config, spaces.obs_specs, spaces.act_spec)
    variables = agent.named_weights()
    training = set(agent.named_state()) - set(variables)
    saved = checkpoint.split_tensors(snapshot.tensors).agent
    acting = {
        name: array
        for name, array in saved.items()
        if name not in training and not weights.is_moment(name)
    }
    checkpoint.assign(variables, acting)
    return agent


def spaces_of(agent: agent_lib.Agent) -> specs.Spaces:
    """Returns what an agent observes and does."""
    return specs.Spaces(agent.obs_specs, agent.act_spec)
