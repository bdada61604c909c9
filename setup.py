"""Packages dreamerv2, common and gym_minigrid, and configs.yaml with them."""

import pathlib
import shutil

import setuptools
from setuptools.command import build_py

ROOT = pathlib.Path(__file__).resolve().parent


class Build(build_py.build_py):
    """Puts configs.yaml, which stands at the root, into the package dreamerv2."""

    def run(self) -> None:
        """Copies the file beside the modules of a wheel."""
        super().run()
        if not self.editable_mode:
            target = pathlib.Path(self.build_lib) / "dreamerv2" / "configs.yaml"
            shutil.copyfile(ROOT / "configs.yaml", target)

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple]:
        """Leaves out the setup.py of gym_minigrid, which is no module."""
        modules = super().find_package_modules(package, package_dir)
        return [module for module in modules if module[1] != "setup"]


extras = {
    # MiniHack imports pkg_resources, which setuptools 82 no longer has.
    "minihack": ["minihack>=1.0.2", "nle>=1.3.0", "setuptools<81"],
    "atari": ["ale-py>=0.12"],
    # dm_control asks for labmaze, which does not build on Python 3.13 and is not needed
    # here: there these are the others, and `pip install --no-deps dm_control` follows.
    "dmc": [
        "dm_control>=1.0.50; python_version < '3.13'",
        "dm-env",
        "dm-tree",
        "glfw",
        "lxml",
        "mujoco>=3.17,<4",
        "pyopengl",
        "pyparsing",
        "requests",
        "tqdm",
    ],
    "crafter": ["crafter>=1.8.3"],
    "gym": ["gym==0.26.2"],
    "minari": ["minari[hdf5,hf]>=0.5", "pillow"],
    "plot": ["matplotlib>=3.9"],
    "video": ["imageio-ffmpeg>=0.6"],
    "sweep": ["ray[default]>=2.60"],
    "docs": ["furo", "myst-nb", "sphinx>=9"],
    "gpu": ["tensorflow[and-cuda]>=2.21"],
    "test": [
        "hypothesis",
        "imageio-ffmpeg",
        "ipykernel",
        "nbclient",
        "nbformat",
        "pytest",
        "pytest-timeout",
        "pytest-xdist",
        "ruff",
    ],
}

setuptools.setup(
    name="dreamerv2",
    version="2.0.0",
    description="DreamerV2 and Continual-Dreamer in TensorFlow 2",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11,<3.14",
    packages=setuptools.find_packages(
        include=["dreamerv2*", "common*", "gym_minigrid*"], exclude=["*.published"]
    ),
    package_data={
        "common.curves": ["published/*"],
        "dreamerv2.report.pages": ["web.*"],
        "dreamerv2.trained": ["quickstart/*", "quickstart/checkpoints/*/*"],
    },
    py_modules=[path.stem for path in ROOT.glob("*.py") if path.stem != "setup"],
    install_requires=[
        "cloudpickle",
        "gymnasium>=1.2,<1.3",
        "minigrid>=3.0",
        "numpy>=2.0",
        "pillow",
        "ruamel.yaml>=0.18",
        "safetensors>=0.4",
        "scipy>=1.13",
        "tensorboard>=2.20",
        "tensorflow>=2.21",
        "tensorflow-probability>=0.25",
        "tf-keras>=2.21",
        "wandb>=0.31",
        "zstandard>=0.23",
    ],
    extras_require=extras,
    cmdclass={"build_py": Build},
    entry_points={"console_scripts": ["dreamerv2 = dreamerv2.train:main"]},
)
