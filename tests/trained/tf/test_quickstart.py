"""The agent that comes with the package, and that docs/load.md can be typed."""

import json
import re
import shlex

import numpy as np
import pages
import pytest

import dreamerv2.api as dv2
from dreamerv2 import settings
from dreamerv2.trained import command
from dreamerv2.watch import __main__ as watch

PYTHON = pages.blocks("docs/load.md", "python")
COMMANDS = [shlex.split(text) for text in pages.blocks("docs/load.md", "sh")]


def test_the_agent_is_small_and_is_read_without_a_warning(caplog):
    folder = settings.SHIPPED["quickstart"]
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    assert sum(sizes) <= 4e6
    agent = dv2.load("quickstart")
    assert (agent.step, len(agent.task_names)) == (7500, 3)
    assert not caplog.records


def test_ten_lines_get_the_return_that_the_command_prints(capsys):
    lines = PYTHON[0].strip().splitlines()
    assert sum(bool(line) for line in lines) == 10
    (words,) = [words for words in COMMANDS if "--eval" in words]
    exec(PYTHON[0], {})
    told = capsys.readouterr().out.strip()
    watch.main([*words[3:], "--json"])
    (task,) = json.loads(capsys.readouterr().out)["tasks"]
    assert len(set(task["return"]["values"])) > 1
    assert told == f"{task['return']['mean']:.4g}"
    assert f"It prints {told}," in pages.TEXTS["docs/load.md"]
    (result,) = dv2.evaluate("quickstart", 1, 20)
    assert result.returns == task["return"]["values"]
    assert np.mean(result.success) == task["success"]["mean"]


@pytest.mark.slow
def test_every_block_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (words,) = [words for words in COMMANDS if words[:2] == ["dreamerv2", "export"]]
    command.main(words[2:])
    for text in PYTHON[1:]:
        exec(text, {})
    assert "success" in capsys.readouterr().out


def test_the_readme_s_block_runs(capsys):
    (block,) = [b for b in pages.blocks("README.md", "python") if "dv2.load" in b]
    exec(block, {})
    assert "(10, 64, 64, 3)" in capsys.readouterr().out


def test_the_text_says_what_the_command_can_do():
    text = pages.prose("docs/load.md")
    flags = set(re.findall(r"--(\w+)", text))
    known = {*command.FLAGS, *watch.FLAGS, "configs"}
    for flag in flags - known:
        dv2.defaults[flag]
