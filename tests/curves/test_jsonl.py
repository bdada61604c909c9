"""Laws of metrics.jsonl: what is written is read, and what is no record is None."""

import json
import math
import tracemalloc

import pytest

from common.records import jsonl

# Lines as crashes, full disks and people leave them.
BROKEN = (
    *(b"", b"\n", b'{"step": 3, "a"', b'{"step": 3, "a": 1}}', b"\xff\x00", b"\0" * 9),
    *(b"17", b"null", b'"step"', b'[{"step": 3}]', b"nonsense"),
)


def test_what_is_written_is_read_as_any_reader_of_json_reads_it(tmp_path):
    path = tmp_path / "metrics.jsonl"
    records = [(5, {"a": 0.5, "count": 2**60}), (6, {}), (7, {"b": math.nan})]
    path.write_bytes(b"".join(jsonl.encode(*record) for record in records))
    read = list(jsonl.read(path))
    assert read == [{"step": 5, "a": 0.5, "count": 2**60}, {"step": 6}, read[2]]
    assert read[2] == {"step": 7, "b": None}
    assert read == [json.loads(line) for line in path.read_text().splitlines()]
    assert [jsonl.step_of(record) for record in read] == [5, 6, 7]


def test_numbers_keep_what_float32_keeps_and_are_finite():
    numbers = {
        "third": 1 / 3,
        "tiny": 1e-300,
        "huge": 1e300,
        "zero": 0.0,
        "bad": -1e999,
    }
    line = jsonl.encode(0, numbers)
    assert line.startswith(b'{"step": 0, ') and line.endswith(b"}\n")
    expected = {"third": 0.33333334, "tiny": 1e-300, "huge": 1e300, "zero": 0.0}
    assert json.loads(line) == {"step": 0, **expected, "bad": None}


def test_a_line_that_is_no_object_is_no_record():
    assert [jsonl.decode(line) for line in BROKEN] == [None] * len(BROKEN)
    assert jsonl.decode(b'{"loss": 1}\r\n') == {"loss": 1}


def test_a_record_without_a_finite_step_is_beyond_all_others():
    records = [None, {}, {"step": None}, {"step": [3]}, {"step": "x"}]
    records += [{"step": math.nan}, {"step": -math.inf}]
    assert [jsonl.step_of(record) for record in records] == [math.inf] * len(records)


def test_lines_around_a_broken_one_are_read_in_their_places(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for broken in BROKEN:
        middle = broken.rstrip(b"\n")
        path.write_bytes(b'{"step": 1}\n' + middle + b'\n{"step": 2}\n' + middle)
        first, none, last, *rest = jsonl.read(path)
        assert (first, none, last) == ({"step": 1}, None, {"step": 2})
        assert rest == ([None] if middle else [])


def test_a_long_file_is_never_in_memory_as_a_whole(tmp_path):
    path = tmp_path / "metrics.jsonl"
    scalars = {f"metric_{i}": 0.5 for i in range(20)}
    path.write_bytes(b"".join(jsonl.encode(step, scalars) for step in range(4000)))
    tracemalloc.start()
    try:
        assert sum(record is not None for record in jsonl.read(path)) == 4000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size / 4


def test_the_newest_step_is_that_of_the_last_record(tmp_path):
    path = tmp_path / "metrics.jsonl"
    whole = b"".join(jsonl.encode(step, {"a": 0.1}) for step in range(1000))
    for tail in (*BROKEN, b'{"loss": 1}\n', b'{"loss": 1}\n\n{"step": null}\n'):
        path.write_bytes(whole + tail)
        assert jsonl.newest_step(path) == 999, tail
    for text in (b"", *BROKEN):
        path.write_bytes(text)
        assert jsonl.newest_step(path) is None


@pytest.mark.parametrize(
    "read", [lambda path: list(jsonl.read(path)), jsonl.newest_step]
)
def test_a_file_that_is_not_there_is_an_error(tmp_path, read):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "metrics.jsonl")
