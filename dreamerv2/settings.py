"""The configuration of a run: blocks of configs.yaml, and the flags of the scripts."""

from __future__ import annotations

import contextlib
import functools
import json
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from common import config as config_lib
from common.config import coerce, notes, plugins

# Our scripts by module, and the block of configs.yaml that each of them starts from.
SCRIPTS = {
    "train_minigrid": "minigrid",
    "train_minihack": "minihack",
    "interference": "interference",
    "dreamerv2.train": "train",
}

# Agents that come with the package, by the name that stands for a run's folder.
SHIPPED = {
    name: pathlib.Path(__file__).resolve().parent / "trained" / name
    for name in ("quickstart",)
}

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
    "split_sampling": {"replay.retention": "split"},
    "uncertainty_sampling": {"replay.sampling": "uncertainty"},
}


# A flag in a message, with the number or list of numbers behind it.
_FLAG = re.compile(r"--(?P<name>[a-z]\w*(\.\w+)*)(?:[ =](?P<value>\d(?:[\w.,]*\w)?))?")


def script_file(module: str) -> str:
    """Returns the path of a script from the folder that dreamerv2 is imported from."""
    return f"{module.replace('.', '/')}.py"


def config_path() -> pathlib.Path:
    """Returns configs.yaml: beside the package in a checkout, inside it in a wheel.

    Raises:
      FileNotFoundError: If neither place has it.
    """
    package = pathlib.Path(__file__).resolve().parent
    for path in (package.parent / "configs.yaml", package / "configs.yaml"):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"configs.yaml is neither in {package.parent} nor in {package}; "
        "install the package again with pip."
    )


@functools.cache  # a sweep reads the flags of many runs
def _notes() -> dict[str, dict[str, str]]:
    return notes.read(config_path())._asdict()


class Settings(config_lib.Config):
    """A Config whose command line knows `--configs` and tells what keys mean."""

    __slots__ = ()

    def parse_flags(
        self, argv: Sequence[str] | None = None, **options: Any
    ) -> Settings:
        """As `Config.parse_flags`, with the blocks and comments of configs.yaml."""
        ours = {"blocks": configs, **_notes()}
        return super().parse_flags(argv, **{**ours, **options})


configs: dict[str, dict[str, Any]] = config_lib.load_blocks(config_path())
defaults = Settings(configs.pop("defaults"))


def complete(saved: config_lib.Config) -> config_lib.Config:
    """Adds keys that a run's version did not have, each with the default of today."""
    return config_lib.Config({**defaults.flat, **saved.flat})


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
    base = defaults.update(configs.get(block, {}))
    config = base.parse_flags(
        argv,
        aliases=ALIASES,
        switches=SWITCHES,
        usage=usage,
    )
    return resolve(config)


@contextlib.contextmanager
def in_python() -> Iterator[None]:
    """Errors that leave the block name settings as a program sets them, not flags."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        if len(error.args) == 1 and isinstance(error.args[0], str):
            error.args = (without_flags(error.args[0]),)
        raise


def without_flags(text: str) -> str:
    """Returns a message for somebody who has no command line.

    `--resume` becomes `config.update({"resume": True})`, `--precision 32` likewise, and
    a flag of which only the name is told becomes the name of its key.
    """
    return _FLAG.sub(_in_place_of_flag, text)


def _in_place_of_flag(match: re.Match) -> str:
    name, value = match["name"], match["value"]
    key, switch = ALIASES.get(name, name), SWITCHES.get(name)
    default = defaults.flat.get(key)
    if isinstance(switch, dict):
        return f"config.update({json.dumps(switch)})"
    if default is None:
        return match[0]
    if value is not None:
        chosen = config_lib.Config({key: default}).update({key: value})[key]
        chosen = list(chosen) if isinstance(chosen, tuple) else chosen
        return f"config.update({{{json.dumps(key)}: {chosen!r}}})"
    if isinstance(default, bool):
        return f"config.update({{{json.dumps(key)}: {not default}}})"
    return key


def split_source(source: str) -> tuple[str, str]:
    """Returns folder and step of `LOGDIR[:STEP]`; the step is empty if not given."""
    folder, colon, step = source.rpartition(":")
    if not (colon and step.isdecimal()) or pathlib.Path(source).expanduser().is_dir():
        return source, ""
    return folder, step


def _resolve_source(config: config_lib.Config) -> config_lib.Config:
    """Makes the path of `init_from` absolute, and says which parts are meant."""
    source, parts = config.init_from, config.init_from_parts
    if parts not in ("", "all", "model"):
        raise coerce.ConfigError(
            f"init_from_parts is {parts!r}; choose all, or model for the world model "
            "alone."
        )
    if not source:
        if parts == "model":
            raise coerce.ConfigError(
                f"init_from_parts is {parts}, but nothing to begin with is named; give "
                "--init_from LOGDIR, or leave it out."
            )
        return config.update(init_from_parts="")
    folder, step = split_source(source)
    if folder not in SHIPPED:
        folder = str(pathlib.Path(folder).expanduser().resolve())
    whole = f"{folder}:{step}" if step else folder
    return config.update(init_from=whole, init_from_parts=parts or "all")


def resolve(config: config_lib.Config) -> config_lib.Config:
    """Imports `plugins`, and applies what one setting implies for others.

    Paths of a user's modules, of the run whose weights are taken, and of recorded
    episodes become absolute: they hold from any folder later. With these there is no
    prefill.
    Under `reference` a reservoir is what the released program took for one. With
    Plan2Explore the world model learns from observations alone, and the discount
    is constant, unless `rssm_full_recon` is given.

    Raises:
      ConfigError: If two settings exclude each other, or a plugin cannot be imported.
    """
    paths = {key: plugins.absolute(value) for key, value in config.flat.items()}
    config = config.update({k: v for k, v in paths.items() if v != config[k]})
    plugins.load(config.get("plugins", ()))
    config = _resolve_source(config)
    if config.offline:
        path = str(pathlib.Path(config.offline).expanduser().resolve())
        config = config.update(offline=path, prefill=0)
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
