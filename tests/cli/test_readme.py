"""What the README says can be typed: its commands parse, its flags and files exist."""

import ast
import pathlib
import re
import shlex
import sys
import types

import numpy as np
import pytest

from common.config import plugins
from common.envs import registry
from common.records import logger
from common.replay import strategies
from dreamerv2 import settings
from dreamerv2.trained import command as export_command
from dreamerv2.watch import __main__ as watch

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
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
    "benchmarks.loop": "benchmarks/loop.py",
    "benchmarks.policy": "benchmarks/policy.py",
    "benchmarks.update": "benchmarks/update.py",
    "benchmarks.exploration": "benchmarks/exploration.py",
    "benchmarks.replay": "benchmarks/replay.py",
    "benchmarks.resets": "benchmarks/resets.py",
    "benchmarks.shares": "benchmarks/shares.py",
}


def blocks(language):
    return [text for name, text in FENCE.findall(README) if name == language]


def commands():
    """The words of each command of the shell blocks, without the interpreter."""
    found = []
    for block in blocks("sh"):
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"^for \w+ in .*?; do (.*); done$", r"\1", line)
            line = line.replace("--seed $s", "--seed 1")
            words = shlex.split(line, comments=True)
            while words:
                end = words.index("&&") if "&&" in words else len(words)
                command, words = words[:end], words[end + 1 :]
                if re.fullmatch(r"(.*/)?python3?", command[0]):
                    command = command[2:] if command[1] == "-m" else command[1:]
                found.append(command)
    return found


def own_flags(script):
    source = (ROOT / PARSERS[script]).read_text()
    if script in ("benchmarks.policy", "benchmarks.update"):
        source += (ROOT / "benchmarks/cases.py").read_text()
    if script in ("common/plot.py", "dreamerv2.report", "dreamerv2.success"):
        source += (ROOT / "common/curves/paper.py").read_text()
    if script == "dreamerv2.watch":  # it reads its flags as the scripts do
        return set(watch.FLAGS)
    return set(re.findall(r"add_argument\(\s*\"--(\w+)\"", source))


COMMANDS = commands()
OWN = re.compile(r"# (own_\w+)\.py\n")  # begins what a reader copies into such a file


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Lets the examples lie, as files, in the present folder; they are forgotten."""
    for block in blocks("python"):
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
    scripts = [command[0] for command in COMMANDS]
    assert "train_minigrid.py" in scripts
    assert "dreamerv2.verify" in scripts


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: " ".join(words)[:60])
def test_every_command_of_the_readme_can_be_typed(command, own):
    script, *words = command
    if command[:2] == ["dreamerv2", "export"]:
        export_command.parse_flags(words[1:])
    elif script in SCRIPTS:
        settings.parse_flags(SCRIPTS[script], "", words)
    elif script in PARSERS:
        given = {word[2:].partition("=")[0] for word in words if word.startswith("--")}
        assert given <= own_flags(script)
    if script.endswith(".py"):
        assert (ROOT / script).is_file() or pathlib.Path(script).is_file()
    for word in words:
        if word.startswith(("tests/", "constraints")):
            assert (ROOT / word).exists()


def test_the_extras_that_are_installed_exist():
    tree = ast.parse((ROOT / "setup.py").read_text())
    (extras,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "extras"
    ]
    named = re.findall(r"\.\[([\w,]+)\]", README)
    assert named
    assert {extra for group in named for extra in group.split(",")} <= set(extras)


def test_every_flag_that_the_text_names_exists():
    text = FENCE.sub("", README)
    flags = set(re.findall(r"`--([\w.-]+)", text)) | set(
        re.findall(r" --([\w.-]+)", text)
    )
    known = {"configs", "help", *settings.ALIASES, *settings.SWITCHES}
    known |= set(export_command.FLAGS)
    known |= {"build-arg", "gpus", "head", "include-dashboard"}  # of docker and Ray
    known |= {"no-deps"}  # of pip
    for script in PARSERS:
        known |= own_flags(script)
    for flag in {flag.rstrip(".") for flag in flags} - known:
        settings.defaults[flag]  # KeyError names the nearest


def test_the_retention_of_the_readme_keeps_what_brought_reward(own):
    strategy = strategies.make_retention(config_of("replay"), None)
    for index, reward in enumerate((1.0, 3.0, 2.0)):
        strategy.add(types.SimpleNamespace(index=index, reward=reward))
    assert [strategy.evict(), strategy.evict()] == [0, 2]


def test_the_suite_of_the_readme_can_be_walked_through(own):
    config = config_of("suite")
    env = registry.constructor(config.task, config)()
    env.reset()
    right = np.array([0.0, 1.0], np.float32)
    rewards = [float(env.step(right)["reward"]) for _ in range(3)]
    assert rewards == [0.0, 0.0, 1.0]


def test_the_output_of_the_readme_writes_returns(own, tmp_path):
    (name,) = config_of("output").outputs
    output = plugins.choose("outputs", name, {})(tmp_path, None)
    output.write(logger.make_record(5, {"return": 2.0}))
    output.write(logger.make_record(6, {"model_loss": 1.0}))
    output.close()
    assert (tmp_path / "returns.csv").read_text() == "5,2.0\n"


@pytest.mark.tf
def test_the_behaviour_and_the_optimiser_of_the_readme_learn(own):
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


def test_the_examples_in_python_are_python():
    assert blocks("python")
    for block in blocks("python"):
        ast.parse(block)
