"""A wheel, installed elsewhere on the disk, needs nothing of the checkout."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from dreamerv2 import settings

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = ("dreamerv2", "common", "gym_minigrid")
FILES = ("setup.py", "pyproject.toml", "configs.yaml", "README.md", "LICENSE")
SCRIPTS = [f"{name}.py" for name in settings.SCRIPTS if "." not in name]

# What users of the original package write: an environment, not a function.
EXAMPLE = """
import gymnasium as gym
import gym_minigrid
import dreamerv2.api as dv2

config = dv2.defaults.update(
    {
        "logdir": "~/logdir/minigrid",
        "log_every": 1e3,
        "train_every": 10,
        "prefill": 1e5,
        "actor_ent": 3e-3,
        "loss_scales.kl": 1.0,
        "discount": 0.99,
    }
).parse_flags()

env = gym.make("MiniGrid-DoorKey-6x6-v0")
env = gym_minigrid.wrappers.RGBImgPartialObsWrapper(env)
dv2.train(env, config)
print("used:", dv2.__file__, gym_minigrid.__file__)
"""
SHORT = r"""
--steps 30 --prefill 20 --log_every 10 --time_limit 10 --replay.minlen 2
--replay.maxlen 4 --wandb.mode disabled --rssm.deter 8 --rssm.hidden 8 --rssm.stoch 2
--rssm.discrete 2 --.*\.cnn_depth 1 --.*\.mlp_layers 8 --.*\.units 8 --.*\.layers 1
--dataset.batch 2 --dataset.length 4 --imag_horizon 2 --jit False
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder that a wheel of this checkout is installed into."""
    folder = tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package,
            folder / "source" / package,
            ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"),
            dirs_exist_ok=True,
        )
    for name in (*FILES, *SCRIPTS):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder / "source")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*pip, *build, str(folder / "source")], check=True)
    (wheel,) = folder.glob("*.whl")
    target = folder / "target"
    install = ["install", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*pip, *install, str(wheel)], check=True)
    shutil.rmtree(folder / "source")
    return target


def run(installed, tmp_path, *words):
    """Runs Python elsewhere, with the wheel's packages before all others."""
    env = {**os.environ, "PYTHONPATH": str(installed), "HOME": str(tmp_path)}
    command = [sys.executable, *words]
    return subprocess.run(
        command, env=env, cwd=tmp_path, capture_output=True, text=True
    )


def contents(folder):
    """The files of a package, without what Python and setuptools write there."""
    found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    written = re.compile(r"__pycache__|.*\.egg-info")
    return {p for p in found if not any(map(written.fullmatch, p.parts))}


def test_a_wheel_holds_every_module_the_published_curves_and_the_configuration(
    installed,
):
    for package in PACKAGES:
        expected, found = contents(ROOT / package), contents(installed / package)
        found -= {pathlib.Path("configs.yaml")}
        # gym_minigrid can also be installed alone.
        expected -= {pathlib.Path("setup.py"), pathlib.Path("pyproject.toml")}
        assert found == expected, package
    published = list((installed / "common/curves/published").glob("*.json.gz"))
    assert published
    scripts = {name for name in SCRIPTS if (ROOT / name).exists()}
    assert {path.name for path in installed.glob("*.py")} == scripts
    assert (installed / "dreamerv2" / "configs.yaml").read_bytes() == (
        ROOT / "configs.yaml"
    ).read_bytes()


def test_an_installed_script_answers(installed, tmp_path):
    for words in (["-m", "train_minigrid"], [str(installed / "bin" / "dreamerv2")]):
        done = run(installed, tmp_path, *words, "--help")
        assert done.returncode == 0, done.stderr
        assert "--rssm.deter" in done.stdout


def test_an_installed_package_trains(installed, tmp_path):
    (tmp_path / "example.py").write_text(EXAMPLE)
    done = run(installed, tmp_path, "example.py", *SHORT.split())
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(str(installed)) == 2
    lines = (
        (tmp_path / "logdir" / "minigrid" / "metrics.jsonl").read_text().splitlines()
    )
    assert json.loads(lines[-1])["step"] == 30
    assert any("image_loss" in line for line in lines)
