"""The Dockerfile installs everything, and copies what there is."""

import ast
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")


def test_the_image_has_what_trains_and_tests():
    tree = ast.parse((ROOT / "setup.py").read_text())
    (extras,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "extras"
    ]
    (always,) = re.findall(r"extras=([\w,]+)", TEXT)
    (with_gpu,) = re.findall(r"extras=\$extras,([\w,]+)", TEXT)
    assert {*always.split(","), *with_gpu.split(",")} == {*extras} - {"docs", "minari"}


def test_what_is_copied_before_the_code_exists_and_is_not_ignored():
    first, everything = re.findall(r"^COPY (.+)$", TEXT, re.MULTILINE)
    assert everything == ". ."
    *files, _ = first.split()
    ignored = (ROOT / ".dockerignore").read_text().split()
    for name in files:
        assert (ROOT / name).is_file() and name not in ignored


def test_the_default_command_trains():
    (command,) = re.findall(r"^CMD (.+)$", TEXT, re.MULTILINE)
    _, script, *flags = ast.literal_eval(command)
    from dreamerv2 import settings

    config = settings.parse_flags("minigrid", "", flags)
    assert (ROOT / script).is_file()
    assert (config.logdir, config.tag, config.cl) == ("/logdir", "quickstart", True)
