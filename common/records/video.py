"""Videos encoded in Python: mp4 with the ffmpeg that imageio-ffmpeg brings, or GIF.

    with video.Writer("video.mp4", fps=10) as writer:
        writer.add(frame)  # uint8 [H, W, C], C 1 or 3

A video stands under its name when it is complete, and not before.
"""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import subprocess
from typing import Any

import numpy as np

_QUALITY = 18  # x264's crf: 0 loses nothing, 51 is the worst; 18 looks the same
_CHANNELS = 8  # that are shown side by side, at most


class VideoError(RuntimeError):
    """A video could not be written."""


class Writer:
    """Writes one video, frame by frame; the name's ending chooses the format."""

    def __init__(self, path: str | os.PathLike, fps: float = 10):
        """Checks everything that can be checked before the first frame.

        Args:
          path: A name that ends in `.mp4` or `.gif`; a file there is replaced.
          fps: Frames a second.

        Raises:
          ValueError: If the ending is unknown, the folder cannot be written, or `fps`
            is not above 0.
          VideoError: If imageio-ffmpeg is missing and the name ends in `.mp4`.
        """
        self._path = pathlib.Path(path).expanduser().absolute()
        _check_path(self._path)
        if not fps > 0:
            raise ValueError(f"fps is {fps}; give more than 0 frames a second.")
        stem, suffix = self._path.stem, self._path.suffix
        self._partial = self._path.with_name(f".{stem}.{os.getpid()}.partial{suffix}")
        self._encoder = _ENCODERS[suffix.lower()](self._partial, fps)
        self._shape: tuple[int, ...] | None = None

    def add(self, frame: np.ndarray) -> None:
        """Appends a frame, uint8 [H, W, C] with C 1 or 3, all of one shape.

        Raises:
          ValueError: If it is of another type or shape.
          VideoError: If ffmpeg has ended.
        """
        _check_frame(frame, self._shape)
        self._shape = frame.shape
        self._encoder.add(frame)

    def close(self) -> None:
        """Ends the video and gives it its name.

        Raises:
          VideoError: If there is no frame, or the file could not be written.
        """
        try:
            if self._shape is None:
                raise VideoError(f"{self._path} would have no frame.")
            self._encoder.finish()
            with open(self._partial, "rb") as file:
                os.fsync(file.fileno())
            os.replace(self._partial, self._path)
        except OSError as error:
            raise VideoError(f"{self._path} could not be written: {error}.") from error
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Leaves no trace of a video that is not closed yet."""
        self._encoder.stop()
        with contextlib.suppress(OSError):
            self._partial.unlink()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self.close() if kind is None else self.abandon()


def encode_gif(video: np.ndarray, fps: float = 10) -> bytes:
    """Returns a uint8 video [T, H, W, C], C 1 or 3, as a GIF file that repeats."""
    stream = io.BytesIO()
    _save_gif(stream, [picture(frame) for frame in video], fps)
    return stream.getvalue()


def picture(frame: np.ndarray) -> Any:
    """Returns a uint8 image [H, W, C], C 1 or 3, as a `PIL.Image.Image`."""
    from PIL import Image

    return Image.fromarray(frame if frame.shape[-1] == 3 else frame[..., 0])


def viewable(pictures: np.ndarray) -> np.ndarray:
    """Returns pictures [..., H, W, C] of any C as such of 1 or 3 channels.

    With another number the channels stand side by side in grey, [..., H, C W, 1]: a
    stack of frames, or opacity beside the colours. Of more than eight it is the first
    eight.
    """
    if pictures.shape[-1] > _CHANNELS:
        pictures = pictures[..., :_CHANNELS]
    *lead, height, width, channels = pictures.shape
    if channels in (1, 3):
        return pictures
    return np.moveaxis(pictures, -1, -2).reshape(*lead, height, channels * width, 1)


class _Gif:
    """Keeps the frames in 256 colours each until the end."""

    def __init__(self, path: pathlib.Path, fps: float):
        self._path, self._fps = path, fps
        self._frames: list[Any] = []

    def add(self, frame: np.ndarray) -> None:
        from PIL import Image

        image = picture(frame)
        if image.mode == "RGB":
            image = image.convert("P", palette=Image.Palette.ADAPTIVE)
        self._frames.append(image)

    def finish(self) -> None:
        with open(self._path, "wb") as file:
            _save_gif(file, self._frames, self._fps)

    def stop(self) -> None:
        self._frames.clear()


class _Mp4:
    """Pipes frames to ffmpeg, with a row or column added to odd sizes."""

    def __init__(self, path: pathlib.Path, fps: float):
        self._path, self._fps = path, fps
        self._program = _find_ffmpeg()
        self._process: subprocess.Popen | None = None

    def add(self, frame: np.ndarray) -> None:
        height, width, channels = frame.shape
        # H.264 halves the resolution of colours, so that sizes have to be even.
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._process is None:
            self._process = self._start(frame)
        try:
            self._process.stdin.write(frame.tobytes())
        except OSError:  # it has ended, and says why
            self.finish()

    def finish(self) -> None:
        _, errors = self._process.communicate()
        if self._process.returncode:
            reason = errors.decode(errors="replace").strip().splitlines()
            raise VideoError(
                f"ffmpeg could not write {self._path}: "
                f"{reason[-1] if reason else f'exit code {self._process.returncode}'}."
            )

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def _start(self, frame: np.ndarray) -> subprocess.Popen:
        height, width, channels = frame.shape
        command = [self._program, "-y", "-v", "error", "-f", "rawvideo"]
        command += ["-pix_fmt", "rgb24" if channels == 3 else "gray"]
        command += ["-s", f"{width}x{height}", "-r", str(self._fps), "-i", "-"]
        command += ["-c:v", "libx264", "-crf", str(_QUALITY), "-pix_fmt", "yuv420p"]
        command += ["-movflags", "+faststart", str(self._path)]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, stdin=pipe, stdout=subprocess.DEVNULL, stderr=pipe
        )


_ENCODERS = {".mp4": _Mp4, ".gif": _Gif}


def _check_path(path: pathlib.Path) -> None:
    if path.suffix.lower() not in _ENCODERS:
        raise ValueError(
            f"{path.name!r} does not say which video it is: its name has to end in "
            f"{' or '.join(_ENCODERS)}."
        )
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the name of a file.")
    if not path.parent.is_dir():
        raise ValueError(
            f"There is no folder {path.parent} for {path.name}; make it, or choose "
            "another."
        )
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"The folder {path.parent} cannot be written to.")


def _check_frame(frame: np.ndarray, shape: tuple[int, ...] | None) -> None:
    right = frame.ndim == 3 and frame.shape[-1] in (1, 3) and frame.size
    if frame.dtype != np.uint8 or not right:
        raise ValueError(
            f"A frame is {frame.dtype} {list(frame.shape)}; give uint8 [H, W, 1] or "
            "[H, W, 3]."
        )
    if shape not in (None, frame.shape):
        raise ValueError(
            f"A frame is {list(frame.shape)}, but the first was {list(shape)}; all "
            "frames of a video have one shape."
        )


def _save_gif(file: Any, frames: list[Any], fps: float) -> None:
    first, *rest = frames
    milliseconds = round(1000 / fps)
    first.save(
        file, "GIF", save_all=True, append_images=rest, duration=milliseconds, loop=0
    )


def _find_ffmpeg() -> str:
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:  # no package, or no binary for it
        raise VideoError(
            "An mp4 needs imageio-ffmpeg: pip install -e '.[video]' -c constraints.txt "
            "(or choose a name that ends in .gif, which needs nothing)."
        ) from error
