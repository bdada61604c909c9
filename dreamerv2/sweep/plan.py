"""The trials of a sweep: what each of them runs, checked by the script's own parser."""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import NamedTuple

from common import config as config_lib
from common.config import flags, kinds, plugins
from dreamerv2 import settings
from dreamerv2.run import phases, rundir
from dreamerv2.sweep import form as form_lib

# The folder that dreamerv2 is imported from; the scripts lie there too.
ROOT = pathlib.Path(__file__).resolve().parents[2]
# What the sweep gives itself, and what would undo the work of a trial.
_RESERVED = ("logdir", *kinds.NAME, "overwrite", "resume", "compare", "help")


class Trial(NamedTuple):
    """One run of the script."""

    tag: str
    words: tuple[str, ...]  # its flags
    config: config_lib.Config
    total: int  # environment steps

    @property
    def folder(self) -> pathlib.Path:
        """The folder of the run."""
        return rundir.path_of(self.config)


class Plan(NamedTuple):
    """A whole sweep."""

    script: pathlib.Path
    logdir: pathlib.Path
    trials: tuple[Trial, ...]
    resources: form_lib.Resources
    retries: int

    def command(self, trial: Trial) -> list[str]:
        """Returns the words behind `python` that run a trial."""
        return [str(self.script), *trial.words]


def make(path: str | os.PathLike, logdir: str = "") -> Plan:
    """Makes the plan of a sweep file; nothing is written and nothing started.

    Args:
      path: The file.
      logdir: In place of the file's, if not empty.

    Raises:
      SweepError: If the file, a flag or the script is not valid.
      RunDirError: If a trial's folder holds a run of another configuration.
    """
    path = pathlib.Path(path).expanduser()
    form = form_lib.read(path)
    script = _find_script(form.script, path.parent)
    folder = pathlib.Path(logdir or form.logdir).expanduser().resolve()
    trials = tuple(_trials(_load(script), form, folder))
    _check_distinct(trials)
    for trial in trials:
        _check_devices(trial, form.resources)
        rundir.check_same(trial.config)
    return Plan(script, folder, trials, form.resources, form.retries)


def _find_script(name: str, beside: pathlib.Path) -> pathlib.Path:
    """The script's file: beside the sweep file, here, or one of this package."""
    if name == "dreamerv2":  # the command, which is no file
        name = settings.script_file("dreamerv2.train")
    places = [beside, pathlib.Path.cwd(), ROOT]
    for place in places:
        path = place / pathlib.Path(name).expanduser()
        if path.is_file():
            return path.resolve()
    ours = ", ".join(map(settings.script_file, settings.SCRIPTS))
    raise form_lib.SweepError(
        f"There is no script {name!r} in {', '.join(map(str, places))}. Give a "
        f"path, or one of {ours}."
    )


def _load(script: pathlib.Path) -> ModuleType:
    """Imports a script, which does not run it."""
    try:
        module = plugins.run_file(script, f"sweep_of_{script.stem}")
    except Exception as error:  # whatever a user's script raises while it is imported
        raise form_lib.SweepError(
            f"The script {script} cannot be imported ({plugins.problem(error)}). Mend "
            "it, or give another."
        ) from error
    for name in ("parse_flags", "make_tasks"):
        if not hasattr(module, name):
            raise form_lib.SweepError(
                f"{script} has no function {name}; a sweep needs parse_flags(argv) and "
                "make_tasks(config), as train_minigrid.py has them."
            )
    return module


def _trials(
    module: ModuleType, form: form_lib.Form, logdir: pathlib.Path
) -> Iterator[Trial]:
    """All trials; a sweep that is cut short has the same seeds of every method."""
    whole: list[tuple[str, _Variant]] = []
    alone: list[tuple[str, _Variant]] = []
    for name, words in form.methods.items():
        variant = _examine(module, (*form.flags, *words), name)
        whole.append((name, variant))
        if name in form.references.methods:
            references = enumerate(_references(module, variant, name))
            alone += [(f"{name}_ref{k}", reference) for k, reference in references]
    for seed in dict.fromkeys((*form.seeds, *form.references.seeds)):
        for variants, seeds in ((whole, form.seeds), (alone, form.references.seeds)):
            for name, variant in variants if seed in seeds else ():
                yield variant.trial(f"{name}_s{seed}", seed, logdir)


class _Variant(NamedTuple):
    """What the seeds of a method have in common."""

    words: tuple[str, ...]
    config: config_lib.Config
    names: tuple[str, ...]  # of the tasks that are trained on
    total: int  # environment steps

    def trial(self, tag: str, seed: int, logdir: pathlib.Path) -> Trial:
        """One of the seeds."""
        own = {"logdir": str(logdir), "tag": tag, "seed": seed}
        words = [f"--{key}={value}" for key, value in own.items()]
        return Trial(tag, (*self.words, *words), self.config.update(own), self.total)


def _examine(module: ModuleType, words: Sequence[str], method: str) -> _Variant:
    """Asks the script what flags mean; no environment is made."""
    try:
        for flag in flags.split(words):
            _check_flag(flag.name, method)
        config = module.parse_flags(list(words))
        names = tuple(task.name for task in module.make_tasks(config).trained)
        total = phases.of_tasks(len(names), config).total
    except form_lib.SweepError:
        raise
    except ValueError as error:
        raise form_lib.SweepError(f"The method {method}: {error}") from error
    except SystemExit as error:
        raise form_lib.SweepError(
            f"The method {method}: the script exits, with {error.code!r}, at its "
            "flags; let parse_flags raise ValueError for those that it does not take."
        ) from error
    return _Variant(tuple(words), config, names, total)


def _check_flag(flag: str, method: str) -> None:
    """A flag, or a pattern of keys, sets nothing that the sweep gives itself."""
    try:
        found = [key for key in _RESERVED if flag == key or re.fullmatch(flag, key)]
    except re.error:  # the script's parser says more
        return
    if found:
        sets = "" if flag in found else f", which sets {', '.join(found)}"
        raise form_lib.SweepError(
            f"The method {method} has the flag --{flag}{sets}, which is the sweep's "
            "business; leave it out."
        )


def _references(
    module: ModuleType, variant: _Variant, method: str
) -> Iterator[_Variant]:
    """The same for each of the tasks alone, with its number of steps."""
    steps = variant.config.unbalanced_steps
    for k, name in enumerate(variant.names):
        words = [*variant.words, f"--tasks={name}"]
        if steps:
            words.append(f"--unbalanced_steps={steps[k]}")
        if variant.config.num_task_repeats > 1:
            words.append("--num_task_repeats=1")
        alone = _examine(module, words, method)
        if alone.names != (name,):
            raise form_lib.SweepError(
                f"references: --tasks={name} should train on that task alone, but the "
                f"script takes {', '.join(alone.names)}; leave references out."
            )
        yield alone


def _check_distinct(trials: Sequence[Trial]) -> None:
    """Two trials share no folder, and are not one run under two names."""
    tags: dict[config_lib.Config, str] = {}
    for trial in trials:
        if trial.tag in tags.values():
            raise form_lib.SweepError(
                f"Two trials have the name {trial.tag}; rename one of the methods."
            )
        same = tags.setdefault(trial.config.update(tag=""), trial.tag)
        if same != trial.tag:
            raise form_lib.SweepError(
                f"The trials {same} and {trial.tag} have the same flags in effect; "
                "leave one of the methods out."
            )


def _check_devices(trial: Trial, resources: form_lib.Resources) -> None:
    """A trial that divides its batches needs as many whole GPUs."""
    devices = trial.config.devices
    if devices > max(1, resources.gpus):
        raise form_lib.SweepError(
            f"The trial {trial.tag} has --devices={devices}, but resources give it "
            f"{resources.gpus:g} GPUs; give it as many, or leave --devices out."
        )
