"""Laws of encoded videos: what is read back is what was written, or nothing is."""

import builtins
import io
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from common.records import video

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")


def blocks(length, height, width, channels):
    """A video of flat blocks whose colours change from frame to frame."""
    colours = np.random.default_rng(0).integers(0, 256, (length, 2, 2, channels))
    rows = np.arange(height) * 2 // height
    columns = np.arange(width) * 2 // width
    return colours[:, rows][:, :, columns].astype(np.uint8)


def write(path, frames, fps=10):
    with video.Writer(path, fps) as writer:
        for frame in frames:
            writer.add(frame)


def read(path):
    """The frames [T, H, W, 3] of a file, and its frames a second."""
    if path.suffix == ".gif":
        gif = Image.open(path)
        frames = []
        for index in range(gif.n_frames):
            gif.seek(index)
            frames.append(np.asarray(gif.convert("RGB")))
        return np.stack(frames), 1000 / gif.info["duration"]
    reader = imageio_ffmpeg.read_frames(str(path))
    about = next(reader)
    width, height = about["size"]
    frames = [np.frombuffer(raw, np.uint8) for raw in reader]
    return np.stack(frames).reshape(len(frames), height, width, 3), about["fps"]


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".GIF"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_holds_the_frames(tmp_path, suffix, channels):
    frames = blocks(7, 32, 48, channels)
    path = tmp_path / f"v{suffix}"
    write(path, frames, fps=5)
    found, fps = read(path.rename(path.with_suffix(suffix.lower())))
    assert fps == 5
    expected = np.broadcast_to(frames, (7, 32, 48, 3)).astype(int)
    assert found.shape == expected.shape
    # The codec blurs the borders of blocks; their middles keep their colours.
    middle = (slice(None), slice(4, None, 16), slice(6, None, 24))
    np.testing.assert_allclose(found[middle], expected[middle], atol=12)
    if suffix != ".mp4":
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("height", "width", "size"), [(31, 48, (32, 48)), (32, 47, (32, 48))]
)
def test_odd_sizes_get_a_row_or_column_more_and_are_not_scaled(
    tmp_path, height, width, size
):
    frames = np.zeros((2, height, width, 3), np.uint8)
    frames[:, -2:] = frames[:, :, -2:] = 255
    write(tmp_path / "v.mp4", frames)
    found, _ = read(tmp_path / "v.mp4")
    assert found.shape[1:3] == size
    assert found[:, -1].min() > 240 and found[:, :, -1].min() > 240
    assert found[:, : height - 6, : width - 6].max() < 16


def test_a_broken_off_video_leaves_what_was_there(tmp_path):
    path = tmp_path / "v.mp4"
    path.write_bytes(b"before")
    with pytest.raises(KeyError):
        with video.Writer(path) as writer:
            writer.add(np.zeros((32, 32, 3), np.uint8))
            raise KeyError
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == {"v.mp4"}


def test_nothing_has_the_name_before_the_video_is_complete(tmp_path):
    with video.Writer(tmp_path / "v.mp4") as writer:
        for frame in blocks(50, 64, 64, 3):
            writer.add(frame)
            assert "v.mp4" not in names(tmp_path)
    assert names(tmp_path) == {"v.mp4"}


def test_a_video_without_frames_is_refused(tmp_path):
    for name in ("v.mp4", "v.gif"):
        with pytest.raises(video.VideoError, match="no frame"):
            write(tmp_path / name, [])
        assert names(tmp_path) == set()


@pytest.mark.parametrize("frames", [1, 500])  # ffmpeg ends after, or while, it is fed
def test_what_ffmpeg_says_is_told(tmp_path, monkeypatch, frames):
    writer = video.Writer(tmp_path / "v.mp4")
    monkeypatch.setattr(video, "_QUALITY", "much")
    with pytest.raises(video.VideoError, match="could not write .*much|Error"):
        with writer:
            for _ in range(frames):
                writer.add(np.zeros((64, 64, 3), np.uint8))
    assert names(tmp_path) == set()


def test_a_missing_package_is_named_before_anything_is_encoded(tmp_path, monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("imageio"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(video.VideoError, match=r"pip install -e '\.\[video\]' -c"):
        video.Writer(tmp_path / "v.mp4")
    write(tmp_path / "v.gif", blocks(2, 8, 8, 3))
    assert names(tmp_path) == {"v.gif"}


def test_a_bad_name_is_refused_at_once(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    for name, message in {
        "v.avi": r"'v\.avi'.*\.mp4 or \.gif",
        "v": "end in",
        "none/v.mp4": "no folder .*none",
        "folder.mp4": "is a folder",
    }.items():
        with pytest.raises(ValueError, match=message):
            video.Writer(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="cannot be written"):
        video.Writer(tmp_path / "v.gif")


def test_a_frame_of_another_kind_is_refused(tmp_path):
    writer = video.Writer(tmp_path / "v.gif")
    writer.add(np.zeros((8, 8, 3), np.uint8))
    for frame, message in (
        (np.zeros((8, 8, 3), np.float32), "float32"),
        (np.zeros((8, 8), np.uint8), r"\[8, 8\]"),
        (np.zeros((8, 8, 4), np.uint8), r"\[8, 8, 4\]"),
        (np.zeros((8, 9, 3), np.uint8), r"\[8, 9, 3\].*first was \[8, 8, 3\]"),
    ):
        with pytest.raises(ValueError, match=message):
            writer.add(frame)
    writer.abandon()


def test_no_speed_at_all_is_refused(tmp_path):
    with pytest.raises(ValueError, match="fps is 0"):
        video.Writer(tmp_path / "v.gif", fps=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_gif_in_memory_is_the_gif_on_disk(tmp_path, channels):
    frames = blocks(4, 8, 6, channels)
    (tmp_path / "memory.gif").write_bytes(video.encode_gif(frames, fps=5))
    found, fps = read(tmp_path / "memory.gif")
    assert fps == 5
    assert Image.open(io.BytesIO(video.encode_gif(frames))).info["loop"] == 0
    np.testing.assert_array_equal(found, np.broadcast_to(frames, found.shape))
    write(pathlib.Path(tmp_path / "disk.gif"), frames, fps=5)
    np.testing.assert_array_equal(read(tmp_path / "disk.gif")[0], found)
