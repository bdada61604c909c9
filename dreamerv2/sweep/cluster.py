"""Runs trials on Ray: on this machine, or on a cluster that shares the logdir."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from types import ModuleType

from dreamerv2.sweep import form, process

_GIB = 2**30
_STORE = 100 * 2**20  # bytes; nothing but a few numbers goes through Ray


class Lost(RuntimeError):
    """The machine or the worker of a trial is gone."""


@contextlib.contextmanager
def connected(
    address: str, resources: form.Resources, cpus: int = 0, gpus: int = -1
) -> Iterator[Pool]:
    """Starts Ray on this machine, or joins a cluster; leaves no process behind.

    Args:
      address: Of the cluster, such as `auto`; empty for this machine alone.
      resources: Of each trial.
      cpus: Of this machine, how many may be used; 0 = all.
      gpus: Likewise; -1 = all.

    Raises:
      ValueError: If Ray is not installed, there is no cluster, or no machine can ever
        hold a trial.
    """
    ray = _import_ray()
    folder = tempfile.mkdtemp(prefix="dreamerv2-ray-")
    here = {
        "address": "local",  # a new one, whatever runs here already
        "num_cpus": cpus or None,
        "num_gpus": None if gpus < 0 else gpus,
        "include_dashboard": False,
        "object_store_memory": _STORE,
        "_temp_dir": folder,
    }
    try:
        options = {"address": address} if address else here
        try:
            ray.init(**options, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError) as error:
            raise ValueError(f"Ray cannot be used: {error}") from error
        _check_room(ray, resources, local=not address)
        yield Pool(ray, resources)
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _import_ray() -> ModuleType:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report them
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise ValueError(
            f"A sweep runs on Ray, which is not installed ({error}); run: "
            "pip install -e '.[sweep]' -c constraints.txt"
        ) from error
    return ray


def _check_room(ray: ModuleType, wanted: form.Resources, local: bool) -> None:
    """Raises ValueError if no machine has what a trial asks for."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for node in nodes:
        room = (node.get("CPU", 0), node.get("GPU", 0), node.get("memory", 0) / _GIB)
        if all(want <= have for want, have in zip(wanted, room, strict=True)):
            return
    machines = "this machine lends" if local else "the largest machine has"
    have = [max((n.get(key, 0) for n in nodes), default=0) for key in ("CPU", "GPU")]
    memory = max((n.get("memory", 0) for n in nodes), default=0) / _GIB
    raise ValueError(
        f"A trial asks for {wanted.cpus:g} CPUs, {wanted.gpus:g} GPUs and "
        f"{wanted.memory:g} GiB, but {machines} {have[0]:g}, {have[1]:g} and "
        f"{memory:.1f}. Change `resources` in the sweep file."
    )


class Pool:
    """Starts attempts where there is room; Ray lets the others wait."""

    def __init__(self, ray: ModuleType, resources: form.Resources):
        """Takes the module, connected."""
        self._ray = ray
        options = {
            "num_cpus": resources.cpus,
            "num_gpus": resources.gpus,
            "max_restarts": 0,  # the sweep itself tries again
        }
        if resources.memory:
            options["memory"] = int(resources.memory * _GIB)
        self._actor = ray.remote(process.Process).options(**options)

    def launch(self, job: process.Job) -> Attempt:
        """Asks for an attempt at a trial; it begins when there is room."""
        return Attempt(self._ray, self._actor.remote(job))


class Attempt:
    """An attempt at a trial, somewhere."""

    def __init__(self, ray: ModuleType, actor: object):
        """Takes the actor, which may still wait for room."""
        self._ray, self._actor = ray, actor
        self._call = actor.start.remote()
        self.host = ""  # empty until it runs

    def poll(self) -> process.Outcome | None:
        """Returns how it has ended, None while it waits or runs; does not block.

        Raises:
          Lost: If the machine or the worker is gone.
          OSError: If the trial could not be started.
        """
        ray = self._ray
        done, _ = ray.wait([self._call], timeout=0)
        if not done:
            return None
        try:
            result = ray.get(self._call)
        except ray.exceptions.ActorUnavailableError:  # it may come back
            self._call = self._actor.wait.remote(1.0)
            return None
        except ray.exceptions.RayTaskError as error:
            self.close()
            raise OSError(str(error.cause)) from error
        except ray.exceptions.RayError as error:
            # The last line says why: a machine that is gone, a module that is missing.
            raise Lost(str(error).strip().splitlines()[-1].strip("\t .")) from error
        if isinstance(result, str):
            self.host = result
        elif result is not None:
            self.close()
            return result
        self._call = self._actor.wait.remote(1.0)
        return None

    def stop(self) -> None:
        """Asks the run to save and to end; `poll` tells when it has."""
        if self.host:
            self._actor.stop.remote()
        else:
            self.close()

    def close(self) -> None:
        """Ends the actor, and with it at once what still runs."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._actor)
