"""What the command-line scripts share: flags, and errors that people can read."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Sequence

from common import config as config_lib
from common.config import coerce
from dreamerv2 import settings

# The users' flags, and the configuration keys that they set.
ALIASES = {
    "minlen": "replay.minlen",
    "replay_capacity": "replay.capacity",
    "batch_size": "dataset.batch",
    "rssm_stoch": "rssm.stoch",
    "rssm_discrete": "rssm.discrete",
    "beta": "loss_scales.kl",
    "wandb_proj_name": "wandb.project",
    "wandb_group": "wandb.group",
    "wandb_dir": "wandb.dir",
    "wandb_mode": "wandb.mode",
}


def _coverage_args(word: str) -> dict[str, object]:
    """Reads `--coverage_sampling_args`: a JSON object of `replay.coverage` keys."""
    arguments = json.loads(word)
    if not isinstance(arguments, dict):
        raise ValueError(
            'give a JSON object such as \'{"filters": 3, "distance": "cosine"}\'.'
        )
    return {f"replay.coverage.{key}": value for key, value in arguments.items()}


SWITCHES = {
    "coverage_sampling": {"replay.retention": "coverage"},
    "coverage_sampling_args": _coverage_args,
    "plan2explore": {"expl_behavior": "Plan2Explore"},
    "recent_past_sampl_thres": lambda word: {
        "replay.sampling": "recent",
        "replay.recent_prob": word,
    },
    "reservoir_sampling": {"replay.retention": "reservoir"},
    "reward_sampling": {"replay.sampling": "reward"},
    "uncertainty_sampling": {"replay.sampling": "uncertainty"},
}


def parse_flags(
    block: str, usage: str, argv: Sequence[str] | None = None
) -> config_lib.Config:
    """Returns the configuration of a script.

    Args:
      block: The configuration block that the script starts from.
      usage: The head of the page that `--help` prints.
      argv: Words of the command line; those of the process if None.

    Raises:
      ConfigError: If a flag, key or value is not valid.
      SystemExit: After `--help`.
    """
    base = settings.defaults.update(settings.configs.get(block, {}))
    config = base.parse_flags(
        argv,
        aliases=ALIASES,
        switches=SWITCHES,
        usage=usage,
    )
    return resolve(config)


def resolve(config: config_lib.Config) -> config_lib.Config:
    """Applies what one setting implies for others.

    Under `reference` a reservoir is what the released program took for one. With
    Plan2Explore the world model learns from observations alone, and the discount
    is constant, unless `rssm_full_recon` is given.

    Raises:
      ConfigError: If two settings exclude each other.
    """
    if config.released_reservoir and config.replay.retention == "reservoir":
        config = config.update({"replay.retention": "random_replacement"})
    if config.expl_behavior == "Plan2Explore":
        if config.state_bonus:
            raise coerce.ConfigError(
                "state_bonus and plan2explore are two exploration rewards that exclude "
                "each other; leave one out."
            )
        if not config.rssm_full_recon:
            config = config.update(pred_discount=False, grad_heads=["decoder"])
    return config


def choose_tasks(config: config_lib.Config, benchmark: Sequence[str]) -> list[str]:
    """Returns the names of the tasks to train on.

    `tasks` if given; with `cl` the first `num_tasks` of the benchmark; else the one
    with the number `env`.

    Raises:
      ConfigError: If a number is beyond the benchmark.
    """
    if config.tasks:
        return [str(name) for name in config.tasks]
    count = len(benchmark)
    if config.cl:
        number = config.num_tasks or count
        if not 1 <= number <= count:
            raise coerce.ConfigError(
                f"num_tasks is {number}, but the benchmark has {count} tasks: "
                f"{', '.join(benchmark)}. Give 1 to {count}, or other --tasks."
            )
        return list(benchmark[:number])
    if not 0 <= config.env < count:
        raise coerce.ConfigError(
            f"env is {config.env}, but the tasks are numbered 0 to {count - 1}: "
            f"{', '.join(benchmark)}."
        )
    return [benchmark[config.env]]


def run(
    main: Callable[[], None],
    interrupted: str = "The same command goes on from the last snapshot.",
) -> None:
    """Runs a script's main function; expected errors become one message and a code.

    Exit codes: 2 for bad input, 1 for a run that failed, 130 for Ctrl-C.

    Args:
      main: The function.
      interrupted: What to say after Ctrl-C.
    """
    logging.basicConfig(format="%(levelname)s: %(message)s")
    # TensorFlow's own messages at start name problems that are none, such as a missing
    # GPU; what goes wrong later it raises. Ours says which device is used.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow Probability loads tf_keras, so TensorFlow need not load Keras 3 beside
    # it: a second and 40 MB less.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    try:
        main()
    except BrokenPipeError:  # somebody reads `--help | head`
        os._exit(0)
    except ValueError as error:
        _die(error, 2)
    except RuntimeError as error:
        _die(error, 1)
    except KeyboardInterrupt:
        print(f"\nInterrupted. {interrupted}")
        sys.exit(130)


def _die(error: Exception, code: int) -> None:
    logging.debug("Traceback:", exc_info=error)
    print(f"{sys.argv[0]}: {error}", file=sys.stderr)
    sys.exit(code)
