"""Laws of the prediction of a replay's size."""

import types

import numpy as np
import pytest

from common.replay import footprint


def spec(shape, dtype):
    return types.SimpleNamespace(shape=shape, dtype=np.dtype(dtype))


IMAGE = {"image": spec((64, 64, 3), "uint8")}
VECTOR = {"place": spec((10,), "float32")}


def test_a_million_frames_stay_within_the_promised_memory():
    size = footprint.predict(IMAGE, 7, 1_000_000)
    assert 0.15e9 < size.memory < 0.4e9
    assert size.plain == (64 * 64 * 3 + 7 * 4 + 4 + 3) * 1_000_000


def test_the_size_grows_with_capacity_and_vectors_do_not_count_as_compressed():
    one = footprint.predict(VECTOR, 3, 1000)
    ten = footprint.predict(VECTOR, 3, 10_000)
    assert ten == tuple(10 * number for number in one)
    assert one.memory >= one.plain
    assert "images" not in str(one) and "grid worlds" in str(
        footprint.predict(IMAGE, 3, 9)
    )


def test_what_cannot_fit_is_an_error_that_names_need_and_rest(tmp_path, monkeypatch):
    size = footprint.Footprint(memory=3 * 10**9, disk=5 * 10**9, plain=10**12)
    monkeypatch.setattr(footprint, "available_memory", lambda: 10**10)
    monkeypatch.setattr(footprint, "available_disk", lambda path: 10**10)
    footprint.check(size, tmp_path)
    monkeypatch.setattr(footprint, "available_disk", lambda path: 4 * 10**9)
    with pytest.raises(ValueError, match="5.00 GB on the disk.*4.00 GB.*--force"):
        footprint.check(size, tmp_path)
    monkeypatch.setattr(footprint, "available_memory", lambda: 10**9)
    with pytest.raises(ValueError, match="3.00 GB of memory.*1.00 GB"):
        footprint.check(size, tmp_path)


def test_space_is_measured_even_for_a_folder_that_is_not_there_yet(tmp_path):
    assert footprint.available_memory() > 10**6
    empty = footprint.available_disk(tmp_path / "deep" / "er")
    assert empty > 0
    (tmp_path / "a.npz").write_bytes(bytes(10**7))
    full = footprint.available_disk(tmp_path)
    assert full > empty - 10**7 / 2  # its own files are not in the way
