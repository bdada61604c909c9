"""Laws of several devices: they compute what one would, and say what they need."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tiny_agent
import two_devices

from common.compute import devices, messages, replicas

TOLERANCES = {"reinforce": 1e-4, "dynamics": 1e-4, "half": 2e-2}


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """What the updates of `two_devices` leave behind: (case, devices, kind) -> dict."""
    script = pathlib.Path(two_devices.__file__)
    path = tmp_path_factory.mktemp("devices") / "computed.npz"
    environment = {**os.environ, "PYTHONPATH": str(script.parent.parent)}
    command = [sys.executable, str(script), str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {}
    with np.load(path) as file:
        for key in file.files:
            case, devices, kind, name = key.split("/", 3)
            found.setdefault((case, int(devices), kind), {})[name] = file[key]
    return found


def assert_close(one, two, tolerance):
    assert set(one) == set(two)
    for name, value in one.items():
        np.testing.assert_allclose(
            two[name], value, rtol=tolerance, atol=tolerance / 10, err_msg=name
        )


@pytest.mark.slow
@pytest.mark.parametrize("case, tolerance", TOLERANCES.items())
def test_two_devices_learn_what_one_learns_with_the_same_samples(
    case, tolerance, computed
):
    tiny_agent.assert_same(computed[case, 1, "before"], computed[case, 2, "before"])
    for kind in ("metrics", "carry", "readings"):
        assert_close(computed[case, 1, kind], computed[case, 2, kind], tolerance)
    before = computed[case, 1, "before"]
    one, two = computed[case, 1, "after"], computed[case, 2, "after"]
    assert set(one) == set(two)
    for name, value in one.items():
        moved = np.linalg.norm(value - before[name])
        assert np.linalg.norm(two[name] - value) <= tolerance * moved, name


@pytest.mark.slow
def test_the_cases_reach_what_is_more_than_a_mean_over_rows(computed):
    """Else the test above would pass without it."""
    case = "reinforce"
    metrics, after = computed[case, 1, "metrics"], computed[case, 1, "after"]
    settings = two_devices.CASES[case][2]
    free, clip = settings["kl__free"], settings[r".*_opt\.clip"]
    assert (metrics["model_grad_norm"] > clip).all()
    assert (metrics["model_kl"] < free).any() and (metrics["model_kl"] > free).any()
    assert after["updates"] == two_devices.UPDATES
    for name in ("reward_norm", "expl/intr_norm", "expl/extr_norm"):
        assert after[f"{name}/magnitude"] != 1
    assert (metrics["expl_actor_loss"] != metrics["actor_loss"]).all()
    assert (computed["dynamics", 1, "metrics"]["model_l2"][1:] > 0).all()
    assert "model_loss_scale" in computed["half", 1, "metrics"]


@pytest.mark.slow
@pytest.mark.parametrize("case", TOLERANCES)
def test_both_devices_hold_the_same_numbers_bit_by_bit(case, computed):
    tiny_agent.assert_same(computed[case, 2, "after"], computed[case, 2, "copies"])


@pytest.mark.slow
@pytest.mark.parametrize("origin", [1, 2])
def test_a_snapshot_goes_on_with_another_number_of_devices(origin, computed):
    for case, tolerance in TOLERANCES.items():
        one, two = (computed[f"{case} from {origin}", n, "metrics"] for n in (1, 2))
        assert_close(one, two, tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_all_devices_leave_out_a_step_when_the_gradient_of_one_overflows(
    devices, computed
):
    left_out = computed["overflow inf", devices, "after"]
    assert (left_out["w"], left_out["steps"], left_out["good"]) == (2, 0, 0)
    assert left_out["scale"] == 2**14
    taken = computed["overflow 3.0", devices, "after"]
    assert (taken["w"], taken["steps"], taken["good"]) == (0, 1, 1)  # 2 - (1 + 3) / 2


def test_one_device_needs_no_strategy():
    shared = replicas.Replicas(1)
    update = two_devices.train
    assert shared.spread(update) is update
    with shared.scope():
        assert not tf.distribute.has_strategy()
        assert not hasattr(tf.Variable(0.0), "values")


def test_outside_of_an_update_the_helpers_do_nothing():
    x = tf.constant([1.0, 2.0, 4.0])
    assert replicas.mean(x) is replicas.total(x) is replicas.share(x) is x
    assert replicas.own_rows(lambda shape: shape, (2, 3), 1) == [2, 3]
    np.testing.assert_array_equal(replicas.std(x), tf.math.reduce_std(x))


@pytest.mark.parametrize("devices", [0, -1, 3])
def test_devices_that_cannot_share_a_batch_are_named(devices):
    with pytest.raises(ValueError, match=rf"devices is {devices}.*batch 4.*\[1, 2, 4]"):
        tiny_agent.make(devices=devices, dataset__batch=4)


def test_xla_and_several_devices_exclude_each_other():
    with pytest.raises(ValueError, match="jit_compile.*devices is 2.*leave one"):
        tiny_agent.make(devices=2, jit_compile=True)


def test_missing_devices_are_counted():
    found = len(tf.config.list_logical_devices("CPU"))
    for start in (
        lambda: tiny_agent.make(devices=16),
        lambda: devices.setup(devices=16),
    ):
        with pytest.raises(ValueError, match=rf"16.*sees {found} .*--devices {found}"):
            start()
    with pytest.raises(ValueError, match="devices is 0; at least 1"):
        devices.setup(devices=0)


def test_one_line_names_the_devices_and_the_reason():
    grows = "; memory grows on demand."
    for gpus, chosen, line in (
        (1, 1, "GPU, because TensorFlow sees one" + grows),
        (4, 1, "the first of 4 GPUs, because devices is 1" + grows),
        (4, 2, "2 of 4 GPUs, because devices is 2" + grows),
        (0, 2, "2 CPU devices, because devices is 2 and TensorFlow sees no GPU."),
    ):
        assert devices._describe_device(gpus, chosen) == f"Device: {line}"


def test_without_a_gpu_the_line_says_why():
    assert devices.setup().startswith("Device: CPU, because")


@pytest.mark.parametrize(
    ("hidden", "docker", "driver", "words"),
    [
        ("-1", True, True, "CUDA_VISIBLE_DEVICES hides all"),
        (None, True, True, "docker run needs --gpus all"),
        (None, False, True, "TF_CPP_MIN_LOG_LEVEL=0 before the command"),
        (None, False, False, ""),
    ],
)
def test_a_driver_whose_gpu_is_not_seen_is_not_kept_quiet(
    monkeypatch, hidden, docker, driver, words
):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    monkeypatch.setattr(devices, "_in_docker", lambda: docker)
    monkeypatch.setattr(devices, "_gpu_files", lambda: [])
    monkeypatch.setattr(messages, "has_driver", lambda: driver)
    assert words in devices._reason() and bool(words) == bool(devices._reason())


@pytest.mark.parametrize("value, calls", [(None, [(-8, 2)]), ("7", [])])
def test_threads_share_two_heaps_unless_the_user_says_how_many(
    value, calls, monkeypatch
):
    class Library:
        def __init__(self, name):
            assert name is None  # the process itself

        def mallopt(self, *call):
            made.append(call)

    made = []
    monkeypatch.setattr(devices.ctypes, "CDLL", Library)
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    if value:
        monkeypatch.setenv("MALLOC_ARENA_MAX", value)
    devices.setup()
    assert made == calls
    del Library.mallopt  # a C library without heaps to share
    devices.setup()
