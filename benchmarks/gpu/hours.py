"""Hours of a whole run, from what its parts take."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from common import config as config_lib
from dreamerv2 import settings as settings_lib

FORMULA = (
    "hours = (steps x environment + (steps - prefill) x policy + updates x update) / "
    "3600 s, updates = pretrain + (steps - prefill) / train_every x train_steps; "
    "steps, prefill, pretrain and train_every are those of the block in configs.yaml "
    "and of the command, one environment at a time; evaluations, videos and snapshots "
    "are not counted"
)


class Run(NamedTuple):
    """A run of the papers.

    Attributes:
      work: Its update, a key of `grid.WORKS`.
      policy: Whose policy is measured, likewise.
      suite: Its block in configs.yaml, and where its environments come from.
      tasks: How many it goes through.
      settings: What its command says otherwise.
    """

    work: str
    policy: str
    suite: str
    tasks: int
    settings: Mapping[str, Any]


RUNS = {
    "MiniGrid-3, 750k steps each": Run("full", "full", "minigrid", 3, {"steps": 75e4}),
    "MiniGrid-3 with Plan2Explore": Run(
        "full + P2E", "full", "minigrid", 3, {"steps": 75e4}
    ),
    "MiniHack-4, 1M steps each": Run("minihack", "full", "minihack", 4, {"steps": 1e6}),
    "MiniHack-4 with Plan2Explore": Run(
        "minihack + P2E", "full", "minihack", 4, {"steps": 1e6}
    ),
    "MiniHack-8, 1M steps each": Run("minihack", "full", "minihack", 8, {"steps": 1e6}),
    "Atari, 50M steps": Run("atari", "atari", "atari", 1, {}),
}


class Parts(NamedTuple):
    """Seconds that a run's parts take; None where nothing was measured."""

    update: float | None
    policy: float | None
    environment: float | None


def counts(run: Run) -> tuple[int, int, int]:
    """Returns a run's steps, those in which the policy acts, and its updates."""
    config = _config(run)
    steps = config.steps * run.tasks
    acting = steps - config.prefill
    updates = config.pretrain + acting // config.train_every * config.train_steps
    return steps, acting, updates


def estimate(run: Run, parts: Parts) -> float | None:
    """Returns the hours of a run, less those of parts that nobody has measured.

    Without its updates there is nothing to tell, None.
    """
    if parts.update is None:
        return None
    steps, acting, updates = counts(run)
    seconds = updates * parts.update
    seconds += acting * (parts.policy or 0.0) + steps * (parts.environment or 0.0)
    return seconds / 3600


def parts(run: Run, cells: Mapping[str, Any], precision: str, compiler: str) -> Parts:
    """Finds what the parts of a run take, in seconds, among the cells of a file."""

    def find(name: str, figure: str, unit: float) -> float | None:
        value = cells.get(name, {}).get("figures", {}).get(figure)
        return None if value is None else value * unit

    update = f"update/{run.work}/{precision}/{compiler}/loop"
    policy = f"policy/{run.policy}/{precision}"
    return Parts(
        find(update, "update, median s", 1.0),
        find(policy, "explore, batch 1, median ms", 1e-3),
        find(f"environment/{run.suite}", "ms a step", 1e-3),
    )


def _config(run: Run) -> config_lib.Config:
    return settings_lib.defaults.update(settings_lib.configs[run.suite], run.settings)
