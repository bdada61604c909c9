"""Records for TensorBoard and for wandb; both are imported only when used."""

import io
import logging
import os
import pathlib
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from common.records import files, logger
from common.records import video as video_lib

_LOG = logging.getLogger(__name__)

WANDB_MODES = ("auto", "online", "offline", "disabled")


class TensorBoardOutput:
    """Event files: scalars, images, and videos as animated images."""

    def __init__(self, directory: str | os.PathLike, fps: int = 10) -> None:
        """Takes a folder for event files; videos play `fps` frames a second."""
        import tensorflow as tf

        self._tf = tf
        self._fps = fps
        self._directory = pathlib.Path(directory).expanduser()
        self._writer: Any = None  # opens a new file at the first record

    def write(self, record: logger.Record) -> None:
        """Writes one event with everything in the record."""
        summary = self._tf.compat.v1.Summary()
        for name, value in record.scalars.items():
            summary.value.add(tag=name, simple_value=float(value))
        for name, image in record.images.items():
            self._picture(summary, name, image, encode_png(image))
        for name, video in record.videos.items():
            self._picture(
                summary, name, video[0], video_lib.encode_gif(video, self._fps)
            )
        raw = summary.SerializeToString()
        if self._writer is None:
            self._writer = self._tf.summary.create_file_writer(
                str(self._directory), max_queue=1000
            )
        with self._writer.as_default():
            self._tf.summary.experimental.write_raw_pb(raw, step=record.step)
        self._writer.flush()

    def close(self) -> None:
        """Closes the event file."""
        if self._writer is not None:
            self._writer.close()

    def rewind(self, step: int) -> None:
        """Removes the events of later steps, before the first record is written."""
        tf = self._tf
        for path in sorted(self._directory.glob("events.out.*")):
            partial = path.with_name(f"partial.{os.getpid()}")
            with tf.io.TFRecordWriter(str(partial)) as writer:
                try:
                    for raw in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                        if tf.compat.v1.Event.FromString(raw).step <= step:
                            writer.write(raw)
                except tf.errors.DataLossError:
                    _LOG.warning("%s ended in the middle of an event.", path)
            os.replace(partial, path)

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


class Sent(NamedTuple):
    """What a wandb run has been sent, by all programs that have worked on it.

    Attributes:
      rows: How many; a row's number is its `_step`, in which nothing may be twice.
      step: The step of the last.
      count: How many of that step.
    """

    rows: int = 0
    step: int = -1
    count: int = 0

    def read(self, path: pathlib.Path) -> "Sent":
        """Returns what a file says; this one if it is not there or damaged."""
        try:
            return Sent(*map(int, path.read_text().split()))
        except (OSError, ValueError, TypeError):
            return self

    def write(self, path: pathlib.Path) -> None:
        """Writes the file, in one piece that has the same length each time."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            os.write(descriptor, "{:15d} {:15d} {:9d}\n".format(*self).encode())
        finally:
            os.close(descriptor)

    def plus(self, step: int) -> "Sent":
        """Returns it with one more row, of this step."""
        return Sent(self.rows + 1, step, self.count + 1 if step == self.step else 1)


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
        self._sent = Sent(reached + 1, reached, 10**9).read(self._path)
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
