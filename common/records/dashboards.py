"""Records for TensorBoard and for wandb; both are imported only when used."""

import io
import logging
import os
import pathlib
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np

from common.records import appending, files, logger
from common.records import sent as sent_lib
from common.records import video as video_lib

_LOG = logging.getLogger(__name__)

_FRAME = 16  # bytes of the length and the checksums around an event
_GROUPS = {  # of TensorBoard's tags: the first that fits the beginning of a name
    "eval": r"eval_|cl_",
    "replay": r"er_|drawn_|loaded_|total_|skipped_|corrupt_|unwritten_|replay_",
    "time": r"time_|fps$|updates$|env_restarts$",
    "train": "",
}
WANDB_MODES = ("auto", "online", "offline", "disabled")


def tag(name: str) -> str:
    """What TensorBoard calls a metric: `eval_return_0` is `eval/return_0`.

    A group's own word is not said twice; all that is in no other group is `train/`.
    """
    group = next(group for group, start in _GROUPS.items() if re.match(start, name))
    return f"{group}/{name.removeprefix(group + '_')}"


class TensorBoardOutput:
    """Event files: scalars, images, and videos as animated images.

    An event is written as a whole and at once. When the disk is full or gone, events
    wait in memory (the newest `_WAITING`) and are tried again with the next record.
    """

    _WAITING = 1000

    def __init__(self, directory: str | os.PathLike, fps: int = 10) -> None:
        """Takes a folder for event files; videos play `fps` frames a second."""
        import tensorflow as tf

        self._tf = tf
        self._fps = fps
        self._directory = pathlib.Path(directory).expanduser()
        self._events: appending.Appender | None = (
            None  # a new file, at the first record
        )

    @property
    def lost(self) -> int:
        """Events that waited too long and are in no file."""
        return self._events.lost if self._events else 0

    def write(self, record: logger.Record) -> None:
        """Writes one event with everything in the record.

        Raises:
          OSError: it cannot be written; it waits for the next call.
        """
        summary = self._tf.compat.v1.Summary()
        for name, value in record.scalars.items():
            summary.value.add(tag=tag(name), simple_value=float(value))
        for name, image in record.images.items():
            self._picture(summary, tag(name), image, encode_png(image))
        for name, video in record.videos.items():
            self._picture(
                summary, tag(name), video[0], video_lib.encode_gif(video, self._fps)
            )
        if self._events is None:
            self._events = self._begin()
        self._events.append(self._frame(step=record.step, summary=summary))

    def flush(self) -> None:
        """Writes the events that wait.

        Raises:
          OSError: they cannot be written.
        """
        if self._events is not None:
            self._events.flush()

    def close(self) -> None:
        """Closes the event file.

        Raises:
          OSError: waiting events could not be written; they are lost.
        """
        if self._events is not None:
            self._events.close()

    def rewind(self, step: int) -> None:
        """Removes the events of later steps, before the first record is written.

        They are the last ones of each file: a file is of one process, whose steps never
        fall. Cutting them off needs no space on the disk.
        """
        tf = self._tf
        for path in sorted(self._directory.glob("events.out.*")):
            end = 0
            try:
                for raw in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                    if tf.compat.v1.Event.FromString(raw).step > step:
                        break
                    end += len(raw) + _FRAME
            except tf.errors.DataLossError:
                _LOG.warning("%s ended in the middle of an event.", path)
            os.truncate(path, end)

    def _begin(self) -> appending.Appender:
        """A file of its own for each process, named as TensorBoard looks for it."""
        head = self._frame(file_version="brain.Event:2")
        name = f"events.out.tfevents.{time.time():.6f}.{os.uname().nodename}"
        path = self._directory / f"{name}.{os.getpid()}"
        return appending.Appender(path, self._WAITING, head)

    def _frame(self, **content: Any) -> bytes:
        """An event with its length and checksums, as TensorFlow writes it to a file."""
        event = self._tf.compat.v1.Event(wall_time=time.time(), **content)
        path = f"ram://dreamerv2/{os.getpid()}/{id(self)}"
        with self._tf.io.TFRecordWriter(path) as writer:
            writer.write(event.SerializeToString())
        with self._tf.io.gfile.GFile(path, "rb") as file:
            framed = file.read()
        self._tf.io.gfile.remove(path)
        return framed

    def _picture(
        self, summary: Any, name: str, frame: np.ndarray, encoded: bytes
    ) -> None:
        height, width, channels = frame.shape
        image = self._tf.compat.v1.Summary.Image(
            height=height,
            width=width,
            colorspace=channels,
            encoded_image_string=encoded,
        )
        summary.value.add(tag=name, image=image)


class WandbOutput:
    """A wandb run that goes on under the same id when the program is started again.

    Its rows are numbered over all of its programs: those of an offline run, each of
    which leaves a folder, are one run when they are uploaded.

    Never asks for a login and never stops the run: without a key, without network or
    without the package it says so once and keeps the run on disk (`wandb sync` uploads
    it later) or leaves it out.
    """

    def __init__(
        self,
        project: str,
        *,
        id_path: str | os.PathLike,
        group: str = "",
        name: str = "",
        directory: str | os.PathLike = "",
        mode: str = "auto",
        entity: str = "",
        config: Mapping[str, Any] | None = None,
        fps: int = 10,
        reached: int = -1,
    ) -> None:
        """Starts or continues the run.

        Args:
          project: name of the project.
          id_path: file that keeps the run's id; it lies in the run's folder.
          group: runs that belong together, such as the seeds of one method.
          name: how the run is shown.
          directory: where wandb keeps its files; the folder of `id_path` if empty.
          mode: online, offline, disabled, or auto: what the variable WANDB_MODE says,
            else online if somebody is logged in, else offline.
          entity: user or team, the account's default if empty.
          config: settings to show beside the run.
          fps: frames a second of videos.
          reached: of a run that was begun by a version that did not note what it has
            sent, the step up to which it has.

        Raises:
          ValueError: the mode is not one of `WANDB_MODES`.
        """
        self._fps = fps
        self._rewound = -1  # records of later steps come, or come again
        self._again = 0  # records of the last step that was sent which came again
        self._wandb: Any = None
        self._run: Any = None
        mode = _choose_mode(mode)
        if mode == "disabled":
            return
        try:
            import wandb
        except ImportError as error:
            _LOG.warning("wandb is not installed, nothing is sent to it: %s", error)
            return
        id_path = pathlib.Path(id_path).expanduser()
        self._path = id_path.with_name(files.WANDB_SENT)
        # Every step has rows before that of an older version is reached.
        self._sent = sent_lib.Sent(reached + 1, reached, 10**9).read(self._path)
        self._before = self._sent  # by earlier programs
        directory = pathlib.Path(directory or id_path.parent).expanduser()
        directory.mkdir(parents=True, exist_ok=True)
        self._wandb = wandb
        self._run = self._start(
            _reachable_mode(wandb, mode),
            project=project,
            id=_run_id(id_path),
            group=group or None,
            name=name or None,
            dir=str(directory),
            entity=entity or None,
            config={key: _plain(value) for key, value in (config or {}).items()},
        )

    def write(self, record: logger.Record) -> None:
        """Sends everything in the record, unless it was sent before.

        What wandb has cannot be taken back: a run that goes on leaves that out.
        """
        if self._run is None or self._was_sent(record.step):
            return
        row: dict[str, Any] = {"step": record.step, **record.scalars}
        for name, image in record.images.items():
            row[name] = self._wandb.Image(
                image if image.shape[-1] > 1 else image[..., 0]
            )
        for name, video in record.videos.items():
            gif = io.BytesIO(video_lib.encode_gif(video, self._fps))
            row[name] = self._wandb.Video(gif, format="gif")
        self._run.log(row, step=self._sent.rows, commit=True)
        self._sent = self._sent.plus(record.step)
        self._sent.write(self._path)

    def rewind(self, step: int) -> None:
        """Is told that records of later steps come again."""
        self._rewound = step

    def _was_sent(self, step: int) -> bool:
        """Whether the next record of this step is one that came again."""
        if self._rewound >= self._before.step or step != self._before.step:
            return self._rewound < step < self._before.step
        self._again += 1
        return self._again <= self._before.count

    def close(self) -> None:
        """Ends the run's session; it can be continued."""
        if self._run is not None:
            self._run.finish()

    def _start(self, mode: str, **settings: Any) -> Any:
        """Starts the run in `mode`, else offline, else not at all."""
        for attempt in dict.fromkeys((mode, "offline")):
            try:
                run = self._wandb.init(
                    mode=attempt,
                    resume="allow",
                    settings=self._wandb.Settings(
                        init_timeout=30, finish_timeout=120, console="off", silent=True
                    ),
                    **settings,
                )
                # Rows that an older version sent are not noted, but wandb knows them.
                self._sent = self._sent._replace(rows=max(self._sent.rows, run.step))
                run.define_metric("step")
                run.define_metric("*", step_metric="step")
                return run
            except Exception as error:  # network, account, service, disk
                _LOG.warning(
                    "wandb could not start (%s): %s: %s",
                    attempt,
                    type(error).__name__,
                    error,
                )
                self._wandb.teardown()  # the failed attempt still holds the id
        return None


def encode_png(image: np.ndarray) -> bytes:
    """A uint8 image [H, W, C], C 1 or 3, as a PNG file."""
    stream = io.BytesIO()
    video_lib.picture(image).save(stream, "PNG")
    return stream.getvalue()


def _choose_mode(mode: str) -> str:
    """What the user chose; `auto` leaves it to the variable WANDB_MODE."""
    if mode not in WANDB_MODES:
        raise ValueError(f"Unknown wandb mode {mode!r}; choose from {WANDB_MODES}.")
    if mode == "auto":
        mode = os.environ.get("WANDB_MODE", "auto")
    return mode if mode in WANDB_MODES else "auto"


def _reachable_mode(wandb: Any, mode: str) -> str:
    """`offline` in place of `auto` or `online` where nobody is logged in."""
    if mode == "offline":
        return mode
    try:
        if wandb.login(prompt=False, verify=False):
            return "online"
        reason = "not logged in"
    except Exception as error:  # a malformed key, an older wandb
        reason = f"no login ({type(error).__name__}: {error})"
    if mode == "online":
        _LOG.warning(
            "wandb: %s, so the run is kept offline; log in with `wandb login` or "
            "WANDB_API_KEY, or upload it later with `wandb sync`.",
            reason,
        )
    return "offline"


def _run_id(path: pathlib.Path) -> str:
    """The id in the file; a new one if there is none."""
    if path.exists() and (known := path.read_text().strip()):
        return known
    path.parent.mkdir(parents=True, exist_ok=True)
    new = uuid.uuid4().hex[:12]
    path.write_text(new + "\n")
    return new


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
