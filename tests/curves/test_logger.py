"""Laws of records, buffers, timers and outputs."""

import io
import json
import logging
import os
import pathlib
import re
import struct
import sys
import textwrap
import time

import numpy as np
import pytest
from PIL import Image

from common.config import plugins
from common.records import dashboards, logger, outputs, timing


class Clock:
    """A clock that moves when told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Tape:
    """An output that keeps what it is given, or fails."""

    def __init__(self, error=None):
        self.records, self.error, self.tries, self.closed = [], error, 0, False

    def write(self, record):
        self.tries += 1
        if self.error:
            raise self.error
        self.records.append(record)

    def close(self):
        self.closed = True


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def record(step, **scalars):
    return logger.make_record(step, scalars)


# Records.


def test_values_are_sorted_by_rank_and_named_with_the_prefix():
    tape = Tape()
    logger.Logger([tape]).write(
        np.int64(7),
        {
            "loss": np.float32(0.5),
            "count": 3,
            "flag": True,
            "image": np.zeros((4, 5, 3), np.uint8),
            "video": np.full((2, 4, 5, 1), 0.5),
        },
        prefix="train_",
    )
    (kept,) = tape.records
    assert kept.step == 7
    assert kept.scalars == {"train_loss": 0.5, "train_count": 3, "train_flag": 1}
    assert [type(x) for x in kept.scalars.values()] == [float, int, int]
    assert kept.images["train_image"].shape == (4, 5, 3)
    assert kept.videos["train_video"].dtype == np.uint8


def test_floating_pixels_are_scaled_clipped_and_rounded():
    image = np.array([-1, 0, 0.5, 0.999, 2, np.nan]).reshape(1, 6, 1)
    pixels = logger.make_record(0, {"x": image}).images["x"]
    assert pixels.ravel().tolist() == [0, 0, 128, 255, 255, 0]


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 12])
def test_pictures_of_any_number_of_channels_are_shown(channels):
    image = np.arange(3 * 5 * channels, dtype=np.uint8).reshape(3, 5, channels)
    record = logger.make_record(0, {"image": image, "video": np.stack([image] * 2)})
    (shown,) = record.images.values()
    if channels in (1, 3):
        np.testing.assert_array_equal(shown, image)
    else:
        assert shown.shape == (3, 5 * min(channels, 8), 1)
        for channel in range(min(channels, 8)):
            panel = shown[:, 5 * channel : 5 * channel + 5, 0]
            np.testing.assert_array_equal(panel, image[..., channel])
    np.testing.assert_array_equal(record.videos["video"], np.stack([shown] * 2))


def test_a_value_that_is_no_metric_is_refused_by_name():
    values = [np.zeros(3), "text", None, np.zeros((4, 4)), np.zeros((4, 4, 0))]
    values += [np.zeros((4, 4, 3), np.int32), np.zeros((0, 4, 4, 3))]
    for value in values:
        with pytest.raises(ValueError, match="strange"):
            logger.Logger([]).write(0, {"strange": value})


def test_a_failing_output_is_reported_once_and_stops_nothing(caplog):
    good, bad = Tape(), Tape(OSError(28, "No space left on device"))
    with logger.Logger([bad, good]) as log:
        for step in range(3):
            log.write(step, {"a": 1})
    assert [kept.step for kept in good.records] == [0, 1, 2]
    assert bad.tries == 3
    assert good.closed and bad.closed
    assert len(caplog.messages) == 1
    assert "No space left" in caplog.text and "Tape" in caplog.text


def test_the_example_of_an_own_output_does_what_it_says(tmp_path):
    example = textwrap.dedent(logger.Output.__doc__.partition("mine.py:\n\n")[2])
    (tmp_path / "mine.py").write_text(example)
    kind = plugins.choose("outputs", f"{tmp_path / 'mine.py'}:Csv", {})
    with logger.Logger(logger.make_own([kind], tmp_path, {})) as log:
        log.write(3, {"return": 0.5, "image": np.zeros((2, 2, 3))})
        log.write(4, {"loss": 1.0})
        log.write(9, {"return": 2})
    del sys.modules["mine"]
    assert (tmp_path / "returns.csv").read_text() == "3,0.5\n9,2\n"


def test_own_outputs_that_fail_are_reported_once_and_the_others_go_on(tmp_path, caplog):
    def broken(folder, config):
        raise ConnectionError("no service")

    made = []

    def good(folder, config):
        made.append((folder, config))
        return Tape()

    kinds = [broken, good, lambda folder, config: Tape(OSError("full"))]
    own = logger.make_own(kinds, tmp_path, "the configuration")
    assert made == [(tmp_path, "the configuration")] and len(own) == 2
    with logger.Logger(own) as log:
        log.rewind(3)  # which a tape does not know
        log.write(4, {"a": 1})
        log.write(5, {"a": 1})
    assert [kept.step for kept in own[0].records] == [4, 5]
    assert own[0].closed and own[1].tries == 2
    assert len(caplog.messages) == 2
    assert "broken" in caplog.text and "no service" in caplog.text


@pytest.mark.tf
def test_an_own_output_of_the_configuration_has_all_records_of_a_run(tmp_path, agents):
    import dummies

    from dreamerv2.run import loop, phases, tasks

    (tmp_path / "witness.py").write_text(WITNESS)
    for steps in (20, 40):  # the second run goes on from the snapshot of the first
        own = [f"{tmp_path / 'witness.py'}:Witness"]
        config = dummies.configure(tmp_path / "run", prefill=10, outputs=own)
        made = tasks.TaskList(dummies.Tapes().tasks)
        loop.train(made, config, schedule=phases.Schedule([steps]))
    calls = sys.modules.pop("witness").CALLS
    assert calls[0] == ("made", tmp_path / "run", 40)
    assert calls.count(("closed",)) == 2 and calls[-1] == ("closed",)
    second = calls[calls.index(("closed",)) + 1 :]
    assert [call[0] for call in second[:3]] == ["made", "rewound", "record"]
    assert second[1] == ("rewound", 20)
    written = [(line["step"], line) for line in lines(tmp_path / "run/metrics.jsonl")]
    seen = [call[1:] for call in calls if call[0] == "record" and call[2]]
    assert [step for step, _ in seen] == [step for step, _ in written]
    assert [set(scalars) for _, scalars in seen] == [
        set(line) - {"step", "time_wall"} for _, line in written
    ]


WITNESS = """
CALLS = []


class Witness:
    def __init__(self, folder, config):
        CALLS.append(("made", folder, config.steps))

    def rewind(self, step):
        CALLS.append(("rewound", step))

    def write(self, record):
        CALLS.append(("record", record.step, record.scalars))

    def close(self):
        CALLS.append(("closed",))
"""


def test_a_mean_buffer_gives_means_and_starts_anew():
    buffer = logger.MeanBuffer()
    values = np.random.default_rng(0).normal(size=200).astype(np.float32)
    for index, value in enumerate(values):
        buffer.add({"loss": value, "image": np.full((2, 2, 3), index, np.uint8)}, "m_")
    buffer.add({"rare": 4})
    means = buffer.take()
    assert means["m_loss"] == pytest.approx(values.astype(np.float64).mean())
    assert means["rare"] == 4.0
    assert means["m_image"].max() == 199
    assert buffer.take() == {}
    buffer.add({"loss": 1.0})
    assert buffer.take() == {"loss": 1.0}


@pytest.mark.tf
def test_a_mean_buffer_takes_scalar_tensors_for_scalars():
    import tensorflow as tf

    buffer = logger.MeanBuffer()
    for value in (1.0, 2.0, 6.0):
        buffer.add({"loss": tf.constant(value)})
    assert buffer.take() == {"loss": 3.0}


def test_a_restored_mean_buffer_goes_on_with_the_same_means():
    buffer, restored = logger.MeanBuffer(), logger.MeanBuffer()
    for value in (0.1, 0.2):
        buffer.add({"loss": value})
    restored.set_state(json.loads(json.dumps(buffer.get_state())))
    for either in (buffer, restored):
        either.add({"loss": 0.7})
    assert restored.take() == buffer.take() == {"loss": pytest.approx(1 / 3)}


def test_a_mean_buffer_keeps_few_values_unread():
    class Lazy(float):
        unread = 0

        def __init__(self, value):
            Lazy.unread += 1

        def __float__(self):
            Lazy.unread -= 1
            return float.__add__(self, 0.0)

    buffer, most = logger.MeanBuffer(), 0
    for value in range(1000):
        buffer.add({"loss": Lazy(value)})
        most = max(most, Lazy.unread)
    assert 2 <= most <= 64
    assert buffer.take() == {"loss": 499.5}


# Timing.


def test_a_clock_that_jumps_back_gives_no_negative_speed():
    clock = Clock()
    progress = timing.Progress(1000, clock=clock)
    for now, step in ((10.0, 0), (20.0, 100), (5.0, 200), (6.0, 300)):
        clock.now = now
        progress.update(step)
        assert progress.fps >= 0
        assert progress.left is None or progress.left >= 0


def test_a_timer_adds_up_each_section_and_resets():
    clock, cpu_clock = Clock(), Clock()
    clock.now, cpu_clock.now = 100.0, 50.0
    timer = timing.Timer(clock, cpu_clock)
    for seconds in (1, 2):
        with timer.section("outer"):
            clock.now += seconds
            with timer.section("inner"):
                clock.now += 0.5
    with pytest.raises(KeyError), timer.section("inner"):
        clock.now += 4
        raise KeyError
    clock.now += 2
    cpu_clock.now += 3
    sections = {"time_outer": 4.0, "time_inner": 5.0}
    assert timer.take() == {**sections, "time_total": 10.0, "time_cpu": 3.0}
    clock.now += 1
    nothing = dict.fromkeys([*sections, "time_cpu"], 0.0)
    assert timer.take() == {**nothing, "time_total": 1.0}


def test_progress_follows_the_recent_speed_and_gives_the_time_left():
    clock = Clock()
    progress = timing.Progress(total=10_000, window=10, clock=clock)
    assert (progress.fps, progress.left) == (0.0, None)
    for second in range(100):
        clock.now = second
        progress.update(10 * second)  # a slow start
    for second in range(100, 130):
        clock.now = second
        progress.update(1000 + 100 * (second - 100))
    assert progress.fps == pytest.approx(100)
    assert progress.left == pytest.approx((10_000 - 3900) / 100)
    progress.update(20_000)
    assert progress.left == 0


def test_durations_read_as_people_say_them():
    texts = {0.4: "0s", 59.6: "1m00s", 754: "12m34s", 7530: "2h05m"}
    texts[3 * 86400 + 4 * 3600 + 59] = "3d04h"
    assert {seconds: timing.duration(seconds) for seconds in texts} == texts


# Terminal.

SCORES = ("success", "return")


def terminal(clock, **settings):
    stream = io.StringIO()
    output = outputs.TerminalOutput(
        1000, ("Empty-5x5", "DoorKey"), stream=stream, clock=clock, **settings
    )
    return output, stream


def test_the_terminal_line_names_progress_task_speed_and_chosen_metrics():
    clock = Clock()
    output, stream = terminal(clock)
    output.write(record(0, task=1, **{"return": 0.5, "length": 10}))
    clock.now = 1.0
    output.write(record(10, task=1, model_error=12.345, kl_loss=1234.6, grad_norm=1.0))
    first, second = stream.getvalue().splitlines()
    assert "DoorKey" in first and "return 0.5  length 10  1 episode" in first
    for part in ("10/1k", "1.0%", "DoorKey", "10 fps", "1m39s left"):
        assert part in second
    assert "model_error 12.3  kl_loss 1235" in second and "grad_norm" not in second
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("width", [20, 80, 120])
def test_a_line_fits_the_terminal_and_begins_with_the_time_of_day(width):
    output, stream = terminal(Clock(), width=lambda: width)
    losses = {"model_error": 1.0, "kl_loss": 2.0, "actor_loss": 3.0, "critic_loss": 4.0}
    scores = {f"eval_return_{k}": k / 7 for k in range(8)}
    output.write(record(10, task=1, **scores, **losses))
    line = stream.getvalue().rstrip("\n")
    assert len(line) <= width and re.match(r"\[\d\d:\d\d  10/1k", line)
    assert width == 20 or "eval_return 0 0.143" in line
    assert line.endswith("…")


def test_a_pipe_has_the_whole_line_and_one_speed():
    clock = Clock()
    output, stream = terminal(clock)
    output.write(record(0, model_error=1.0))
    clock.now = 1.0
    scores = {f"eval_return_{k}": k / 7 for k in range(40)}
    output.write(record(10, **scores))
    output.write(record(10, fps=99.0, model_error=1.0))
    scored, line = stream.getvalue().splitlines()[-2:]
    assert len(scored) > 200 and scored.endswith(" 5.57")
    assert line.count("fps") == 1 and "10 fps" in line


def test_episodes_never_flood_and_none_is_forgotten():
    clock = Clock()
    output, stream = terminal(clock, pause=10)
    for step in range(1000):
        clock.now += 0.1
        output.write(record(step, length=step % 7, **{"return": float(step)}))
    output.write(record(1000, model_error=1.0))
    rows = stream.getvalue().splitlines()
    assert 9 <= len(rows) <= 12
    counts = [int(row.split(" episode")[0].split()[-1]) for row in rows]
    assert sum(counts) == 1000


def test_an_evaluation_has_a_line_of_its_own_that_80_columns_hold():
    clock = Clock()
    output, stream = terminal(clock, width=lambda: 80)
    output.write(record(0, task=1, **{"return": 0.5, "length": 10}))
    clock.now = 1.0
    output.write(record(10, task=1, **{"return": 0.5, "length": 10}))
    scores = {f"eval_{name}_{k}": 0.25 for name in SCORES for k in range(3)}
    output.write(record(20, **scores))
    output.write(record(20, task=1, model_error=1.0))
    _, scored, line = stream.getvalue().splitlines()
    assert scored.endswith("]  eval_success 0.25 0.25 0.25  eval_return 0.25 0.25 0.25")
    assert "DoorKey" in line and "return 0.5" in line


def test_what_a_run_tells_is_folded_and_a_name_is_whole(capsys):
    outputs.tell("Run: " + "/a-b/c" * 20 + ", seed 0, commit " + "and words " * 20)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  " + "/a-b/c" * 20 + ","
    assert max(map(len, lines[2:])) <= 80 and all(
        line.startswith("  ") for line in lines[1:]
    )


def test_what_was_done_is_told_with_its_seconds_and_a_failure_is_not(capsys):
    with outputs.timed("snapshot of step 5"):
        pass
    with pytest.raises(OSError, match="disk"), outputs.timed("snapshot of step 6"):
        raise OSError("disk")
    (line,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\[\d\d:\d\d\]  snapshot of step 5, 0\.\ds", line)


def test_a_run_goes_on_when_nobody_reads_what_it_tells(monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    outputs.tell_now("phase 2 of 2")


def test_a_record_without_chosen_metrics_prints_nothing():
    output, stream = terminal(Clock())
    output.write(record(1, grad_norm=2.0))
    output.write(logger.make_record(1, {"x": np.zeros((2, 2, 3))}))
    assert stream.getvalue() == ""


def test_only_a_terminal_is_given_colour(monkeypatch):
    class Tty(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Tty()
    outputs.TerminalOutput(stream=stream).write(record(1, model_error=1))
    assert "\x1b[1m" in stream.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Tty()
    outputs.TerminalOutput(stream=stream).write(record(1, model_error=1))
    assert "\x1b" not in stream.getvalue()


def test_counts_are_short():
    texts = {0: "0", 999: "999", 12_400: "12.4k", 750_000: "750k"}
    texts |= {999_499: "999k", 999_999: "1M", 2.4e6: "2.4M", 5e9: "5G"}
    assert {value: outputs.short_number(value) for value in texts} == texts


# JSON lines.


def test_a_record_with_scalars_is_a_line_at_once(tmp_path):
    path = tmp_path / "run" / "metrics.jsonl"
    output = outputs.JSONLOutput(path)
    output.write(record(5, count=2**60, loss=np.float32(0.1), bad=float("nan")))
    output.write(logger.make_record(6, {"x": np.zeros((2, 2, 3))}))
    expected = [{"step": 5, "count": 2**60, "loss": 0.1, "bad": None}]
    assert lines(path) == expected  # read before the file is closed
    output.close()


def test_reopening_mends_a_file_that_was_cut_off(tmp_path):
    path = tmp_path / "metrics.jsonl"
    tails = {b"": 2, b'{"step": 3, "a"': 2, b'{"step": 3, "a": 1}': 3}
    for tail, kept in {**tails, b"\xff\x00": 2, b"17": 2}.items():
        path.write_bytes(b'{"step": 1, "a": 1}\n{"step": 2, "a": 1}\n' + tail)
        output = outputs.JSONLOutput(path)
        output.write(record(9, a=1))
        output.close()
        assert [line["step"] for line in lines(path)] == [1, 2, 3][:kept] + [9]


def test_truncating_removes_later_steps_and_goes_on_after_them(tmp_path):
    path = tmp_path / "metrics.jsonl"
    output = outputs.JSONLOutput(path)
    for step in (0, 10, 20, 20, 30):
        output.write(record(step, a=step))
    assert output.rewind(20) == 1
    assert output.rewind(20) == 0
    output.write(record(21, a=0))
    output.write(record(5, a=0))  # as no run leaves it
    assert output.rewind(20) == 1
    output.write(record(22, a=0))
    output.close()
    assert [line["step"] for line in lines(path)] == [0, 10, 20, 20, 5, 22]
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_loses_no_line_and_leaves_no_half_line(tmp_path, caplog):
    path = tmp_path / "metrics.jsonl"
    output = outputs.JSONLOutput(path)
    log = logger.Logger([output])
    log.write(0, {"a": 0})
    disk = FullDisk(output._lines._file, room=7)
    output._lines._file = disk
    for step in (1, 2, 3):
        log.write(step, {"a": step})
    assert [line["step"] for line in lines(path)] == [0]
    assert len(caplog.messages) == 1
    assert "No space left" in caplog.text and str(path) in caplog.text
    disk.room = 10**6
    log.write(4, {"a": 4})
    assert "JSONLOutput works again, at step 4: what waited is" in caplog.messages[1]
    disk.room = 0
    log.write(5, {"a": 5})
    assert len(caplog.messages) == 3  # it is told again
    disk.room = 10**6
    log.flush()  # without a record
    log.close()
    assert [line["step"] for line in lines(path)] == [0, 1, 2, 3, 4, 5]


def test_the_gap_is_named_where_too_many_lines_have_waited(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(outputs.JSONLOutput, "_WAITING", 2)
    output = outputs.JSONLOutput(tmp_path / "metrics.jsonl")
    log = logger.Logger([output])
    disk = output._lines._file = FullDisk(output._lines._file, room=0)
    for step in range(1, 6):
        log.write(step, {"a": step})
    disk.room = 10**6
    log.write(6, {"a": 6})
    log.close()
    assert "at step 6: 4 records since step 1 are missing" in caplog.messages[-1]
    assert [line["step"] for line in lines(tmp_path / "metrics.jsonl")] == [5, 6]


def test_lines_wait_for_a_folder_that_was_renamed_to_come_back(tmp_path, caplog):
    folder, aside = tmp_path / "run", tmp_path / "aside"
    output = outputs.JSONLOutput(folder / "metrics.jsonl")
    log = logger.Logger([output])
    log.write(0, {"a": 0})
    folder.rename(aside)
    log.write(1, {"a": 1})
    folder.mkdir()  # another one
    log.write(2, {"a": 2})
    assert f"Removed or renamed: '{folder}'" in caplog.text
    assert list(folder.iterdir()) == []
    folder.rmdir()
    aside.rename(folder)
    log.write(3, {"a": 3})
    assert [line["step"] for line in lines(folder / "metrics.jsonl")] == [0, 1, 2, 3]
    (folder / "metrics.jsonl").unlink()
    log.write(4, {"a": 4})
    log.close()
    assert [line["step"] for line in lines(folder / "metrics.jsonl")] == [4]


class FullDisk:
    """A file that takes `room` more bytes and then fails."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, content):
        if self.room <= 0:
            raise OSError(28, "No space left on device")
        part = content[: self.room]
        self.room -= len(part)
        return self.file.write(part)

    def close(self):
        self.file.close()


# Pictures and dashboards.


def test_a_png_holds_the_image():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    png = Image.open(io.BytesIO(dashboards.encode_png(image)))
    assert np.array_equal(np.asarray(png), image)


def test_tensorboard_groups_metrics_and_calls_no_two_the_same():
    """`metrics.jsonl` keeps the flat names."""
    for name, expected in {
        "return": "train/return",
        "model_loss": "train/model_loss",
        "eval_return_0": "eval/return_0",
        "eval_model_image_1": "eval/model_image_1",
        "cl_forgetting": "eval/cl_forgetting",
        "er_task_0": "replay/er_task_0",
        "replay_ratio": "replay/ratio",
        "drawn_bin_3": "replay/drawn_bin_3",
        "time_update": "time/update",
        "fps": "time/fps",
    }.items():
        assert dashboards.tag(name) == expected
    names = ["eval_x", "x", "time_x", "replay_x", "total_steps", "eval_total_steps"]
    assert len({dashboards.tag(name) for name in names}) == len(names)


@pytest.mark.tf
def test_tensorboard_files_hold_scalars_images_and_videos(tmp_path):
    from tensorboard.backend.event_processing import event_accumulator

    video = np.random.default_rng(0).integers(0, 256, (3, 8, 6, 3), np.uint8)
    output = dashboards.TensorBoardOutput(tmp_path)
    output.write(record(10, loss=0.5, bad=float("nan")))
    output.write(logger.make_record(2**40, {"v": video, "i": video[0], "loss": 2}))
    output.close()
    events = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [
        (10, 0.5),
        (2**40, 2),
    ]
    assert np.isnan(events.Scalars("train/bad")[0].value)
    assert events.Images("train/v")[0].encoded_image_string.startswith(b"GIF89a")
    assert events.Images("train/i")[0].encoded_image_string.startswith(b"\x89PNG")
    assert (events.Images("train/v")[0].width, events.Images("train/v")[0].height) == (
        6,
        8,
    )


@pytest.mark.tf
def test_a_full_disk_loses_no_event_and_leaves_the_file_readable(tmp_path, caplog):
    import tensorflow as tf

    output = dashboards.TensorBoardOutput(tmp_path / "tensorboard")
    log = logger.Logger([output])
    (tmp_path / "tensorboard").write_text("in the way")
    log.write(0, {"a": 0})  # not even the file can be begun
    (tmp_path / "tensorboard").unlink()
    log.write(1, {"a": 1})
    (path,) = (tmp_path / "tensorboard").iterdir()
    disk = FullDisk(output._events._file, room=20)
    output._events._file = disk
    for step in (2, 3):
        log.write(step, {"a": step, "image": np.zeros((8, 8, 3), np.uint8)})

    def steps():
        events = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
        return [tf.compat.v1.Event.FromString(raw).step for raw in events]

    assert steps() == [0, 0, 1]  # the first is the head of the file
    disk.room = 10**6
    log.write(4, {"a": 4})
    log.close()
    assert steps() == [0, 0, 1, 2, 3, 4]
    assert "TensorBoardOutput works again, at step 4" in caplog.messages[-1]


@pytest.mark.tf
def test_rewound_tensorboard_files_hold_each_step_once(tmp_path):
    from tensorboard.backend.event_processing import event_accumulator

    for start in (0, 4):  # the second program goes on from step 4
        output = dashboards.TensorBoardOutput(tmp_path)
        output.rewind(4)
        for step in range(start + 1, start + 7):
            output.write(record(step, loss=step))
        output.close()
    events = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    for path in tmp_path.iterdir():  # a cut file is a whole one
        path.write_bytes(path.read_bytes() + b"cut off")
    dashboards.TensorBoardOutput(tmp_path).rewind(3)
    again = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert sorted(e.step for e in again.Scalars("train/loss")) == [1, 2, 3]
    # Files of the same second may be read in either order.
    assert sorted(e.step for e in events.Scalars("train/loss")) == list(range(1, 11))


def test_wandb_is_left_alone_when_disabled_and_refuses_unknown_modes(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    path = tmp_path / "id.txt"
    output = dashboards.WandbOutput("project", id_path=path, mode="disabled")
    output.write(record(1, a=1))
    output.close()
    monkeypatch.setenv("WANDB_MODE", "disabled")
    dashboards.WandbOutput("project", id_path=path, mode="auto")
    assert not path.exists()
    with pytest.raises(ValueError, match="onlin"):
        dashboards.WandbOutput("project", id_path=path, mode="onlin")


def test_a_missing_wandb_is_reported_and_stops_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    output = dashboards.WandbOutput("project", id_path=tmp_path / "id.txt")
    output.write(record(1, a=1))
    output.close()
    assert "not installed" in caplog.text


class FakeWandb:
    """The parts of wandb that are used, with a login and a network to switch off."""

    def __init__(self, login, online=True, offline=True):
        self.works = {"online": online, "offline": offline}
        self.calls, self.rows, self.has_login = [], [], login
        self.step = 0  # where the run goes on, as the server says

    def login(self, prompt, verify):
        assert not prompt and not verify
        return self.has_login

    def Settings(self, **settings):  # noqa: N802
        return settings

    def init(self, mode, **settings):
        self.calls.append((mode, settings["id"]))
        if not self.works[mode]:
            raise ConnectionError("no network")
        return self

    def teardown(self):
        self.calls.append("teardown")

    def define_metric(self, *args, **kwargs):
        pass

    def log(self, row, step, commit):
        assert commit and step not in [known for known, _ in self.rows]
        self.rows.append((step, row))

    def finish(self):
        self.calls.append("finish")


@pytest.mark.parametrize(
    ("mode", "fake", "modes", "warnings"),
    [
        ("auto", FakeWandb(True), ["online"], 0),
        ("auto", FakeWandb(False), ["offline"], 0),
        ("online", FakeWandb(False), ["offline"], 1),
        ("offline", FakeWandb(True), ["offline"], 0),
        ("auto", FakeWandb(True, online=False), ["online", "offline"], 1),
        ("auto", FakeWandb(True, False, False), ["online", "offline"], 2),
    ],
)
def test_wandb_falls_back_without_a_prompt_and_keeps_its_id(
    tmp_path, monkeypatch, caplog, mode, fake, modes, warnings
):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "wandb", fake)
    caplog.set_level(logging.WARNING)
    path = tmp_path / "run" / "wandb_id.txt"
    identifiers = set()
    for step in range(2):
        fake.calls.clear()
        output = dashboards.WandbOutput("project", id_path=path, mode=mode)
        output.write(record(step, a=1))
        output.close()
        starts = [call for call in fake.calls if isinstance(call, tuple)]
        identifiers.add(path.read_text().strip())
        assert starts == [(m, path.read_text().strip()) for m in modes]
        failures = [call for call in starts if not fake.works[call[0]]]
        assert fake.calls.count("teardown") == len(failures)
    assert len(identifiers) == 1
    assert len(caplog.messages) == 2 * warnings
    if fake.works[modes[-1]]:
        assert fake.rows == [(k, {"step": k, "a": 1}) for k in range(2)]


def send(path, fake, monkeypatch, steps, rewound=None, reached=-1):
    """What a program sends that goes on behind a step; None: it begins anew."""
    monkeypatch.setitem(__import__("sys").modules, "wandb", fake)
    output = dashboards.WandbOutput("p", id_path=path, mode="offline", reached=reached)
    if rewound is not None:
        output.rewind(rewound)
    for number, step in enumerate(steps):
        output.write(record(step, a=number))
    return [row for _, row in fake.rows]


@pytest.mark.parametrize("rewound", [None, 0, 10, 19, 20])
def test_wandb_is_sent_every_row_once_whenever_the_program_dies(
    tmp_path, monkeypatch, rewound
):
    whole = [5, 10, 10, 15, 20, 20, 20, 25]
    for sent in range(7 if rewound == 20 else 5, len(whole)):
        fake, path = FakeWandb(False), tmp_path / str(sent) / "wandb_id.txt"
        send(path, fake, monkeypatch, whole[:sent])
        again = [step for step in whole if rewound is None or step > rewound]
        rows = send(path, fake, monkeypatch, again, rewound)
        assert [row["step"] for row in rows] == whole
        assert [step for step, _ in fake.rows] == list(range(len(whole)))
        if rewound is not None:  # and once more, before it had caught up
            rows = send(path, fake, monkeypatch, [*again, 30], rewound)
            assert [row["step"] for row in rows] == [*whole, 30]


def test_wandb_goes_on_with_a_run_of_a_version_that_noted_nothing(
    tmp_path, monkeypatch
):
    fake, path = FakeWandb(True), tmp_path / "wandb_id.txt"
    path.write_text("abc\n")
    rows = send(path, fake, monkeypatch, [15, 20, 20, 25], 10, reached=20)
    assert rows == [{"step": 25, "a": 3}] and fake.rows[0][0] == 21
    (tmp_path / "wandb_sent.txt").write_text("damaged")
    fake.step = 70
    assert send(path, fake, monkeypatch, [30], 25, reached=25)[-1]["step"] == 30
    assert fake.rows[-1][0] == 70


@pytest.mark.slow
def test_wandb_keeps_an_offline_run_with_pictures(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    video = np.random.default_rng(0).integers(0, 256, (3, 8, 6, 3), np.uint8)
    output = dashboards.WandbOutput(
        "project",
        id_path=tmp_path / "id.txt",
        mode="offline",
        config={"kernels": (4, 4)},
    )
    output.write(logger.make_record(5, {"a": 1, "video": video, "i": video[0]}))
    output.write(record(3, a=2))
    output.close()
    identifier = (tmp_path / "id.txt").read_text().strip()
    (run,) = tmp_path.glob(f"wandb/offline-run-*-{identifier}")
    kinds = {path.suffix for path in run.rglob("media/**/*.*")}
    assert kinds == {".gif", ".png"}


@pytest.mark.slow
def test_the_folders_of_an_offline_run_are_one_run(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for begin in (0, 3):
        path = tmp_path / "id.txt"
        output = dashboards.WandbOutput("project", id_path=path, mode="offline")
        for step in range(begin, begin + 3):
            output.write(record(10 * step, a=step))
        output.close()
    runs = sorted(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))
    patience = time.monotonic() + 20  # its own process writes the file
    while len(wandb_rows(runs[-1])) < 3 and time.monotonic() < patience:
        time.sleep(0.1)
    assert [wandb_rows(run) for run in runs] == [
        [(0, "0"), (1, "10"), (2, "20")],
        [(3, "30"), (4, "40"), (5, "50")],
    ]


def wandb_rows(path):
    """(number, `step`) of each row in a file of wandb, a log of records in blocks."""
    from wandb.proto import wandb_internal_pb2

    data, at, record_bytes, rows = path.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + 7])
        record_bytes += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # the last piece of a record
            found = wandb_internal_pb2.Record.FromString(record_bytes)
            items = {i.key or i.nested_key[0]: i for i in found.history.item}
            if items:
                rows.append((found.history.step.num, items["step"].value_json))
            record_bytes = b""
    return rows


def test_importing_the_logger_loads_neither_tensorflow_nor_wandb():
    import subprocess
    import sys

    code = (
        "import sys; from common import config, schedules;"
        "from common.records import dashboards, logger, outputs;"
        "assert not {'tensorflow', 'wandb', 'gym', 'PIL'} & set(sys.modules)"
    )
    root = pathlib.Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
