"""From the names and options in a configuration to the two strategies."""

import inspect
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from common import config as config_lib
from common.config import plugins
from common.replay.strategies import base, retention, sampling

Strategy = TypeVar("Strategy", base.Retention, base.Sampling)


def make_retention(config: config_lib.Config, agent: base.Agent) -> base.Retention:
    """Makes the strategy that `replay.retention` names.

    Args:
      config: The run's configuration. `replay.retention` is a key of
        `retention.RETENTION` or `module:Class`; `replay.retention_args` a JSON object
        that goes to the class as keywords.
      agent: What strategies may ask of the agent.

    Raises:
      ValueError: If there is no such strategy, or it does not take the options, or
        does not fit the configuration.
    """
    return _make("retention", retention.RETENTION, base.Retention, config, agent)


def make_sampling(config: config_lib.Config, agent: base.Agent) -> base.Sampling:
    """Makes the strategy that `replay.sampling` names; see `make_retention`."""
    return _make("sampling", sampling.SAMPLING, base.Sampling, config, agent)


def _make(
    setting: str,
    known: Mapping[str, type[Strategy]],
    kind: type[Strategy],
    config: config_lib.Config,
    agent: base.Agent,
) -> Strategy:
    key, name = f"replay.{setting}", config.replay[setting]
    chosen = plugins.choose(key, name, known)
    plugins.require(
        isinstance(chosen, type) and issubclass(chosen, kind),
        key,
        name,
        f"a class that derives from common.replay.strategies.{kind.__name__}",
    )
    key = f"{key}_args"
    options = _read_options(key, config.replay.get(f"{setting}_args", ""))
    _check_options(key, options, chosen)
    return chosen.from_config(config, agent, **options)


def _read_options(key: str, text: str) -> dict[str, Any]:
    try:
        options = json.loads(text or "{}")
        if not isinstance(options, dict):
            raise ValueError(f"it is of type {type(options).__name__}")
    except ValueError as error:
        raise config_lib.ConfigError(
            f"{key} is {text!r}, which is no JSON object ({error}); give one such as "
            """'{"power": 0.5}'."""
        ) from error
    return options


def _check_options(key: str, options: Mapping[str, Any], chosen: type) -> None:
    parameters = inspect.signature(chosen).parameters
    if any(each.kind == each.VAR_KEYWORD for each in parameters.values()):
        return
    taken = [name for name in parameters if name != "seed"]
    unknown = sorted(set(options) - set(taken))
    if unknown:
        raise config_lib.ConfigError(
            f"{key} has {unknown}, but {chosen.__name__} takes "
            f"{f'only {taken}' if taken else 'no options'}; leave out the others."
        )
