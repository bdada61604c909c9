"""One record of metrics at a time, sent to every output.

A `Logger` sorts the values of a record by rank into scalars, images and videos and
hands it to its outputs (see `common.records.outputs` and `common.records.dashboards`).
A `MeanBuffer` collects the metrics of many updates until the next record is due.
"""

import logging
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from common.records import video

_LOG = logging.getLogger(__name__)


class Record(NamedTuple):
    """The metrics of one moment.

    Attributes:
      step: environment steps since the start of the run.
      scalars: name -> int or float, possibly not finite.
      images: name -> uint8 [H, W, C], C 1 or 3.
      videos: name -> uint8 [T, H, W, C], C 1 or 3.
    """

    step: int
    scalars: dict[str, int | float]
    images: dict[str, np.ndarray]
    videos: dict[str, np.ndarray]


class Output(Protocol):
    """Takes records somewhere: to the terminal, a file, a service.

    One of your own is a class that the configuration names, `--outputs=mine.py:Csv` (a
    module or the path of a file, and a name in it). It is called in this order:

        Csv(folder, config)  when the run starts or goes on: its folder, which is there
                             (a Path), and its configuration
        rewind(step)         once, if the run goes on from a snapshot: what was recorded
                             after `step` will come again; may be left out
        write(record)        at each record, the steps never falling: episodes, losses
                             and counters, evaluations with images and videos
        flush()              before a snapshot is written: time to try again what could
                             not be written; may be left out
        close()              once, also after an error or a signal; not after a kill

    All calls come from the run's main thread, which waits for them. An error in them is
    logged once, and the run goes on. If the output has an attribute `lost`, the number
    of records that it had to let go, that is told when it works again. For example,
    mine.py:

        class Csv:
            def __init__(self, folder, config):
                self._file = open(folder / "returns.csv", "a")

            def write(self, record):
                if "return" in record.scalars:
                    row = record.step, record.scalars["return"]
                    print(*row, sep=",", file=self._file, flush=True)

            def close(self):
                self._file.close()
    """

    def write(self, record: Record) -> None:
        """Takes one record; nobody changes it later."""

    def close(self) -> None:
        """Ends the output; what was written stays."""


class Logger:
    """Sends records to outputs; a failing output never stops the run.

    Logging is worth less than the run it watches: an error of an output is reported
    once, the other outputs go on, and the failing one is tried again with each record.
    When one works again that says how many records it has `lost`, the gap is named. One
    that cannot even be made is left out, see `make_own`.
    """

    def __init__(self, outputs: Sequence[Output] = ()) -> None:
        """Takes the outputs; `close` closes them."""
        self._outputs = list(outputs)
        self._failed: dict[int, int] = {}  # step by output
        self._step = 0  # of the newest record

    def connect(self, outputs: Sequence[Output]) -> None:
        """Takes further outputs, which get what is written from now on."""
        self._outputs += outputs

    def write(self, step: int, metrics: Mapping[str, Any], prefix: str = "") -> None:
        """Writes one record at once.

        Args:
          step: environment steps since the start of the run.
          metrics: name -> number, 0-d array, image [H, W, C] or video [T, H, W, C];
            pictures are uint8, or floating-point in [0, 1]; if C is neither 1 nor 3
            the channels are shown side by side.
          prefix: put before every name.

        Raises:
          ValueError: a value of another rank or type, or an empty picture.
        """
        record = make_record(step, metrics, prefix)
        self._step = record.step
        for output in self._outputs:
            self._guard(output, "write", record)

    def rewind(self, step: int) -> None:
        """Makes the outputs that can forget the records of later steps do so."""
        for output in self._outputs:
            if hasattr(output, "rewind"):
                self._guard(output, "rewind", step)

    def flush(self) -> None:
        """Makes the outputs that keep what they could not write try it again."""
        for output in self._outputs:
            if hasattr(output, "flush"):
                self._guard(output, "flush")

    def close(self) -> None:
        """Closes every output."""
        for output in self._outputs:
            self._guard(output, "close")
        self._outputs = []

    def __enter__(self) -> "Logger":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _guard(self, output: Output, method: str, *args: object) -> None:
        try:
            getattr(output, method)(*args)
        except Exception as error:  # wandb, TensorBoard and files fail in many ways
            if id(output) not in self._failed:
                self._failed[id(output)] = self._step
                _warn(type(output).__name__, error)
        else:
            if id(output) in self._failed and hasattr(output, "lost"):
                self._name_gap(output, since=self._failed.pop(id(output)))

    def _name_gap(self, output: Output, since: int) -> None:
        gap = "what waited is written, nothing is missing"
        if output.lost:
            gap = f"{output.lost} records since step {since} are missing"
        _LOG.warning(
            "Logging to %s works again, at step %d: %s.",
            type(output).__name__,
            self._step,
            gap,
        )


def make_own(
    kinds: Iterable[Callable[[pathlib.Path, Any], Output]],
    folder: pathlib.Path,
    config: Any,
) -> list[Output]:
    """Makes a user's outputs, without those that fail; a warning tells of these.

    Args:
      kinds: what makes each of them, usually its class.
      folder: the run's folder.
      config: the run's configuration.
    """
    made = []
    for kind in kinds:
        try:
            made.append(kind(folder, config))
        except Exception as error:  # whatever a user's class raises
            _warn(getattr(kind, "__name__", repr(kind)), error)
    return made


def _warn(name: str, error: Exception) -> None:
    _LOG.warning(
        "Logging to %s failed, the run goes on without it: %s: %s",
        name,
        type(error).__name__,
        error,
    )


def make_record(step: int, metrics: Mapping[str, Any], prefix: str = "") -> Record:
    """Sorts metrics by rank; see `Logger.write` for arguments and errors."""
    record = Record(int(step), {}, {}, {})
    for name, value in metrics.items():
        name, value = prefix + name, np.asarray(value)
        if value.ndim == 0 and value.dtype.kind in "biuf":
            number = value.item()
            record.scalars[name] = int(number) if number is True else number
        elif value.ndim in (3, 4) and value.dtype.kind in "uf":
            target = record.images if value.ndim == 3 else record.videos
            target[name] = _picture(name, value)
        else:
            raise ValueError(
                f"Metric {name!r} has shape {value.shape} and type {value.dtype}; "
                "give a number, an image [H, W, C] or a video [T, H, W, C]."
            )
    return record


def drawable(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Returns metrics without the pictures that cannot be shown; a warning says why.

    What else is no metric stays, see `Logger.write`.
    """
    kept = dict(metrics)
    for name, value in metrics.items():
        if np.ndim(value) in (3, 4):
            try:
                make_record(0, {name: value})
            except ValueError as error:
                _LOG.warning("It is left out: %s", error)
                del kept[name]
    return kept


def _picture(name: str, value: np.ndarray) -> np.ndarray:
    """uint8 pixels of a picture [..., C]."""
    if not value.size:
        raise ValueError(f"Picture {name!r} of shape {value.shape} is empty.")
    value = video.viewable(value)
    if value.dtype.kind == "f":
        value = np.nan_to_num(value, nan=0.0, posinf=1.0, neginf=0.0)
        value = (value.clip(0, 1) * 255).round().astype(np.uint8)
    if value.dtype != np.uint8:
        raise ValueError(f"Picture {name!r} is {value.dtype}; give uint8 or floats.")
    return value


class MeanBuffer:
    """Means of metrics over many updates.

    Values may be tensors of any library: they are kept as they come and read a few at
    a time, so that an update does not wait for the accelerator.
    """

    _FOLD = 32  # values of one name that are kept unread

    def __init__(self) -> None:
        """Starts empty."""
        self._waiting: dict[str, list[Any]] = {}
        self._sums: dict[str, tuple[float, int]] = {}
        self._latest: dict[str, Any] = {}

    def add(self, metrics: Mapping[str, Any], prefix: str = "") -> None:
        """Adds one value for each name; of pictures, only the latest is kept."""
        for name, value in metrics.items():
            name = prefix + name
            if len(getattr(value, "shape", ())):
                self._latest[name] = value
                continue
            waiting = self._waiting.setdefault(name, [])
            waiting.append(value)
            if len(waiting) >= self._FOLD:
                self._fold(name)

    def take(self) -> dict[str, Any]:
        """Returns the mean of each scalar and the latest pictures, and starts anew."""
        for name in self._waiting:
            self._fold(name)
        means = {name: total / count for name, (total, count) in self._sums.items()}
        result = {**means, **self._latest}
        self._waiting, self._sums, self._latest = {}, {}, {}
        return result

    def get_state(self) -> dict[str, Any]:
        """Sums and counts of the scalars so far (JSON-able); pictures are left out."""
        for name in self._waiting:
            self._fold(name)
        return {name: list(pair) for name, pair in self._sums.items()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from where `get_state` was called."""
        self._waiting, self._latest = {}, {}
        self._sums = {name: tuple(pair) for name, pair in state.items()}

    def _fold(self, name: str) -> None:
        values = self._waiting[name]
        if values:
            total, count = self._sums.get(name, (0.0, 0))
            total += sum(float(value) for value in values)
            self._sums[name] = (total, count + len(values))
            values.clear()
