"""Installs gym_minigrid alone: this folder is itself the package."""

import setuptools

setuptools.setup(
    name="gym_minigrid",
    version="2.0.0",
    description="MiniGrid tasks for continual reinforcement learning",
    license="MIT",
    packages=["gym_minigrid"],
    package_dir={"gym_minigrid": "."},
    python_requires=">=3.11",
    install_requires=["gymnasium>=1.0", "minigrid>=3.0", "numpy"],
    extras_require={"gym": ["gym==0.26.2"]},
)
