"""What the scripts share: which tasks of a benchmark, and errors for people."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence

from common import config as config_lib
from common.compute import loading
from common.config import coerce, faults


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

    Before it stands the traceback of what a user's own code has raised, without our
    lines. Exit codes: 2 for bad input, 1 for a run that failed, 130 for Ctrl-C.

    Args:
      main: The function.
      interrupted: What to say after Ctrl-C.
    """
    logging.basicConfig(format="%(levelname)s: %(message)s")
    loading.prepare_script()
    try:
        main()
    except BrokenPipeError:  # somebody reads `--help | head`
        os._exit(0)
    except ValueError as error:
        _die(error, 2)
    except RuntimeError as error:
        _die(error, 1)
    except Exception as error:
        if not faults.find(error):  # a fault of ours, which the whole traceback tells
            raise
        _die(error, 1)
    except KeyboardInterrupt:
        print(f"\nInterrupted. {interrupted}")
        sys.exit(130)


def program() -> str:
    """What was typed: a file, or `python -m` and a module."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is None:
        return sys.argv[0]
    return f"python -m {spec.name.removesuffix('.__main__')}"


def _die(error: Exception, code: int) -> None:
    logging.debug("Traceback:", exc_info=error)
    fault, message = faults.find(error), str(error)
    if fault:
        print(fault.text, file=sys.stderr)
        if fault.error is error:
            message = f"your own code has failed: {type(error).__name__}: {error}"
    print(f"{program()}: {message}", file=sys.stderr)
    sys.exit(code)
