"""What the pages say can be typed: commands parse, flags and files exist."""

import ast
import pathlib
import re
import sys
import types

import numpy as np
import pages
import pytest

from common.config import plugins
from common.envs import registry
from common.records import logger
from common.replay import strategies
from dreamerv2 import settings
from dreamerv2.run.sources import datasets
from dreamerv2.trained import command as export_command
from dreamerv2.watch import __main__ as watch

# Commands that read the configuration, and the block that each of them starts from.
SCRIPTS = {
    settings.script_file(name): block for name, block in settings.SCRIPTS.items()
}
SCRIPTS["dreamerv2"] = settings.SCRIPTS["dreamerv2.train"]
# Those with a parser of their own.
PARSERS = {
    "dreamerv2.success": "dreamerv2/success.py",
    "dreamerv2.verify": "dreamerv2/verify/__main__.py",
    "dreamerv2.watch": "dreamerv2/watch/__main__.py",
    "common/plot.py": "common/plot.py",
    "dreamerv2.report": "dreamerv2/report/__main__.py",
    "dreamerv2.sweep": "dreamerv2/sweep/__main__.py",
    "benchmarks.gpu": "benchmarks/gpu/__main__.py",
    "benchmarks.learning": "benchmarks/learning/__main__.py",
    "benchmarks.learning.batches": "benchmarks/learning/batches.py",
    "benchmarks.loop": "benchmarks/loop.py",
    "benchmarks.policy": "benchmarks/policy.py",
    "benchmarks.update": "benchmarks/update.py",
    "benchmarks.exploration": "benchmarks/exploration.py",
    "benchmarks.growth": "benchmarks/growth/__main__.py",
    "benchmarks.replay": "benchmarks/replay.py",
    "benchmarks.resets": "benchmarks/resets.py",
    "benchmarks.shares": "benchmarks/shares.py",
}


def own_flags(script):
    source = (pages.ROOT / PARSERS[script]).read_text()
    if script in ("benchmarks.policy", "benchmarks.update"):
        source += (pages.ROOT / "benchmarks/turns/cases.py").read_text()
    if script in ("common/plot.py", "dreamerv2.report", "dreamerv2.success"):
        source += (pages.ROOT / "common/curves/paper.py").read_text()
    if script == "dreamerv2.watch":  # it reads its flags as the scripts do
        return set(watch.FLAGS)
    return set(re.findall(r"add_argument\(\s*\"--(\w+)\"", source))


COMMANDS = [words for page in pages.TEXTS for words in pages.commands(page)]
COMMANDS = [list(words) for words in dict.fromkeys(map(tuple, COMMANDS))]
OWN = re.compile(r"# (own_\w+)\.py\n")  # begins what a reader copies into such a file


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Lets the examples lie, as files, in the present folder; they are forgotten."""
    for block in pages.blocks("docs/own_method.md", "python"):
        if found := OWN.match(block):
            (tmp_path / f"{found[1]}.py").write_text(block)
            monkeypatch.setitem(sys.modules, found[1], None)  # to be put back
            del sys.modules[found[1]]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "SUITES", dict(registry.SUITES))
    monkeypatch.setattr(plugins, "_FILES", {})


def config_of(part):
    """The configuration of the command that tries an own part."""
    (command,) = [words for words in COMMANDS if f"own_{part}" in words]
    return settings.parse_flags(SCRIPTS[command[0]], "", command[1:])


def test_the_readme_shows_how_to_train():
    scripts = [command[0] for command in pages.commands("README.md")]
    assert "train_minigrid.py" in scripts
    assert "dreamerv2.verify" in scripts


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: " ".join(words)[:60])
def test_every_command_of_the_pages_can_be_typed(command, own):
    script, *words = command
    if command[:2] == ["dreamerv2", "export"]:
        export_command.parse_flags(words[1:])
    elif command[:2] == ["dreamerv2", "minari"]:
        datasets.parse_flags(words[1:])
    elif script in SCRIPTS:
        settings.parse_flags(SCRIPTS[script], "", words)
    elif script in PARSERS:
        given = {word[2:].partition("=")[0] for word in words if word.startswith("--")}
        assert given <= own_flags(script)
    if script.endswith(".py"):
        assert (pages.ROOT / script).is_file() or pathlib.Path(script).is_file()
    for word in words:
        if word.startswith(("tests/", "constraints")):
            assert (pages.ROOT / word).exists()


def test_the_extras_that_are_installed_exist():
    tree = ast.parse((pages.ROOT / "setup.py").read_text())
    (extras,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "extras"
    ]
    named = [n for t in pages.TEXTS.values() for n in re.findall(r"\.\[([\w,]+)\]", t)]
    assert named
    assert {extra for group in named for extra in group.split(",")} <= set(extras)


def test_every_flag_that_the_text_names_exists():
    written = [page for page in pages.TEXTS if page != "docs/flags.md"]  # generated
    text = "\n".join(map(pages.prose, written))
    flags = set(re.findall(r"`--([\w.-]+)", text)) | set(
        re.findall(r" --([\w.-]+)", text)
    )
    known = {"configs", "help", *settings.ALIASES, *settings.SWITCHES}
    known |= set(export_command.FLAGS)
    known |= {"build-arg", "gpus", "head", "include-dashboard"}  # of docker and Ray
    known |= {"no-deps", "durations"}  # of pip and pytest
    for script in PARSERS:
        known |= own_flags(script)
    for flag in {flag.rstrip(".") for flag in flags} - known:
        settings.defaults[flag]  # KeyError names the nearest


def test_the_retention_of_the_page_keeps_what_brought_reward(own):
    strategy = strategies.make_retention(config_of("replay"), None)
    for index, reward in enumerate((1.0, 3.0, 2.0)):
        strategy.add(types.SimpleNamespace(index=index, reward=reward))
    assert [strategy.evict(), strategy.evict()] == [0, 2]


def test_the_suite_of_the_page_can_be_walked_through(own):
    config = config_of("suite")
    env = registry.constructor(config.task, config)()
    env.reset()
    right = np.array([0.0, 1.0], np.float32)
    rewards = [float(env.step(right)["reward"]) for _ in range(3)]
    assert rewards == [0.0, 0.0, 1.0]


def test_the_output_of_the_page_writes_returns(own, tmp_path):
    (name,) = config_of("output").outputs
    output = plugins.choose("outputs", name, {})(tmp_path, None)
    output.write(logger.make_record(5, {"return": 2.0}))
    output.write(logger.make_record(6, {"model_loss": 1.0}))
    output.close()
    assert (tmp_path / "returns.csv").read_text() == "5,2.0\n"


@pytest.mark.tf
def test_the_behaviour_and_the_optimiser_of_the_page_learn(own):
    import tiny_agent

    behaviour = config_of("behaviour").expl_behavior
    rule = config_of("optim").model_opt.opt
    with tiny_agent.running(eagerly=True):
        agent = tiny_agent.make(expl_behavior=behaviour, model_opt__opt=rule)
        before = {k: v.numpy() for k, v in agent.named_weights().items()}
        agent.train(tiny_agent.batch(), None, step=0)
    for part in ("rssm/", "expl/head/"):
        changed = {
            key: (value.numpy() != before[key]).any()
            for key, value in agent.named_weights().items()
            if key.startswith(part)
        }
        assert any(changed.values()), part


@pytest.mark.parametrize("page", pages.TEXTS)
def test_the_examples_in_python_are_python(page):
    if page != "docs/api.md":  # which shows signatures
        for block in pages.blocks(page, "python"):
            ast.parse(block)
