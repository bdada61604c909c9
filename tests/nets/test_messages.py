"""TensorFlow is loaded without noise, and nothing else that it writes is lost."""

import os
import re
import subprocess
import sys

import pytest

from common.compute import messages

NOISE = """\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:17.4  99 port.cc:153] oneDNN custom operations are on. You may see slightly
I0000 00:00:17.4  99 cpu_feature_guard.cc:227] This TensorFlow binary is optimized \
to use available CPU instructions in performance-critical operations.
To enable the following instructions: AVX2 FMA, in other operations, rebuild \
TensorFlow with the appropriate compiler flags.
E0000 00:00:17.4  99 cuda_dnn.cc:8] Unable to register cuDNN factory: Attempting to \
register factory for plugin cuDNN when one has already been registered
W0000 00:00:17.4  99 computation_placer.cc:177] computation placer already registered.
"""
NO_DRIVER = (
    "I0000 9 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU\n"
)
KNOWN = (
    "E0000 9 cuda_platform.cc:51] failed call to cuInit: CUDA_ERROR_UNKNOWN\nunended"
)


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv(messages.LEVEL, raising=False)


def program(text, **env):
    """Runs a program; returns its exit code and what it has written to stderr."""
    env = {k: v for k, v in os.environ.items() if k != messages.LEVEL} | env
    done = subprocess.run(
        [sys.executable, "-c", text], env=env, stderr=subprocess.PIPE, timeout=120
    )
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("driver", [True, False])
def test_noise_is_filtered_and_a_driver_is_missed_where_there_is_one(
    capfd, monkeypatch, driver
):
    monkeypatch.setattr(messages, "has_driver", lambda: driver)
    with messages.filtered():
        os.write(2, (NOISE + NO_DRIVER + KNOWN).encode())
    assert capfd.readouterr().err == NO_DRIVER * driver + KNOWN
    os.write(2, NOISE.encode())
    assert capfd.readouterr().err == NOISE


def test_all_is_written_where_the_user_asks_for_it(capfd, monkeypatch):
    monkeypatch.setenv(messages.LEVEL, "0")
    with messages.filtered():
        os.write(2, NOISE.encode())
    assert capfd.readouterr().err == NOISE


def test_all_is_written_where_no_process_can_be_started(capfd, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/none")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with messages.filtered():
        os.write(2, NOISE.encode())
    assert capfd.readouterr().err == NOISE
    assert not before or len(os.listdir("/proc/self/fd")) == before


def test_what_is_written_before_a_crash_is_not_lost():
    code, written = program(
        "import os; from common.compute import messages\n"
        "with messages.filtered():\n"
        f"    os.write(2, {KNOWN.encode()!r})\n"
        "    os.abort()\n"
    )
    assert code < 0 and written.startswith(KNOWN)


def test_an_error_while_loading_is_raised_and_the_output_is_as_before(capfd):
    with pytest.raises(ImportError, match="broken"), messages.filtered():
        raise ImportError("broken")
    os.write(2, NOISE.encode())
    assert capfd.readouterr().err == NOISE


@pytest.mark.parametrize("script", [True, False])
def test_tensorflow_is_loaded_without_a_word(script):
    ready = "from common.compute import loading; loading.prepare_script(); " * script
    first = "; tensorflow.zeros(3) + 1" * script  # looks for a GPU
    code, written = program(f"{ready}import dreamerv2, tensorflow{first}")
    assert code == 0
    assert not re.search("oneDNN|absl::InitializeLog|optimized to use", written)
    assert messages.has_driver() or written == ""


def test_tensorflow_says_all_where_the_user_asks_for_it():
    _, written = program("import dreamerv2, tensorflow", TF_CPP_MIN_LOG_LEVEL="0")
    assert written
