"""Laws of how the errors of a user's own code are told."""

import sys

import numpy as np
import pytest
import source

from common import config as config_lib
from common.config import faults, plugins
from common.envs.suites import generic
from common.envs.workers import parallel
from dreamerv2 import cli
from dreamerv2.sweep import form as form_lib
from dreamerv2.sweep import plan

ENVS = """
import gymnasium as gym
import numpy as np
{head}

class Motor(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {{}}

    def step(self, action):
        {body}

gym.register("{name}-v0", entry_point=Motor)
"""
STEPS = {
    "answer": 'raise RuntimeError("motor 3 does not answer")',
    "library": "np.zeros(3) + np.zeros(4)",
    "key": '{}["speed"]',
}


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module with an environment; both are forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, body="pass", head=""):
        monkeypatch.delitem(sys.modules, name, raising=False)
        path = tmp_path / f"{name}.py"
        path.write_text(ENVS.format(name=name.title(), body=body, head=head))
        return path

    return write


def ours(name):
    """Whether a traceback has lines of this package."""
    return f"{faults._ROOT}/common" in name or f"{faults._ROOT}/dreamerv2" in name


@pytest.mark.parametrize("strategy", ["none", "thread", "process"])
@pytest.mark.parametrize("kind", STEPS)
def test_the_users_lines_are_told_and_none_of_ours(kind, strategy, module, capsys):
    path = module(f"faulty{kind}", STEPS[kind])

    def main():
        def make():
            return generic.make(f"faulty{kind}:Faulty{kind}-v0")

        env = parallel.make_parallel(make, strategy)
        try:
            env.reset(0)
            env.step(np.eye(2, dtype=np.float32)[0])
        finally:
            env.close()

    with pytest.raises(SystemExit) as end:
        cli.run(main)
    output = capsys.readouterr().err
    assert end.value.code in (1, 2)
    assert f'File "{path}", line ' in output and "in step" in output
    assert STEPS[kind] in output
    assert not ours(output)
    last = output.strip().splitlines()[-1]
    assert last.startswith(cli.program()) and "Traceback" not in last


def test_an_error_of_ours_has_no_traceback_even_in_another_process(capsys, module):
    module("wrongshape", "return np.zeros(4, np.float32), 0.0, False, False, {}")

    def main():
        def make():
            return generic.make("wrongshape:Wrongshape-v0")

        env = parallel.make_parallel(make, "process")
        try:
            env.reset(0)
            env.step(np.eye(2, dtype=np.float32)[0])
        finally:
            env.close()

    with pytest.raises(SystemExit):
        cli.run(main)
    output = capsys.readouterr().err
    assert "shape" in output and "Traceback" not in output


def test_a_message_that_the_user_means_for_people_stays_one_line(capsys):
    def main():
        raise config_lib.ConfigError("speed is -1; it must be positive.")

    with pytest.raises(SystemExit):
        cli.run(main)
    assert "Traceback" not in capsys.readouterr().err


def test_a_package_that_an_environment_lacks_is_named(module):
    module("lacking", head="import package_that_i_forgot")
    with pytest.raises(ValueError, match="needs the package package_that_i_forgot"):
        generic.make("lacking:Lacking-v0")
    with pytest.raises(ValueError, match="no module 'nowhere_at_all'.*PYTHONPATH"):
        generic.make("nowhere_at_all:Lacking-v0")
    with pytest.raises(ValueError, match="Unknown Gymnasium environment 'CartPoel-v1'"):
        generic.make("CartPoel-v1")


def test_an_environment_that_cannot_be_made_is_told_with_the_reason(module):
    module("needy", head="").write_text(
        "import gymnasium as gym\n"
        "class Needy(gym.Env):\n"
        "    def __init__(self, level): pass\n"
        'gym.register("Needy-v0", entry_point=Needy)\n'
        'gym.register("Absent-v0", entry_point="needy:Absent")\n'
    )
    with pytest.raises(ValueError, match="cannot be made .TypeError.*'level'"):
        generic.make("needy:Needy-v0")
    with pytest.raises(ValueError, match="cannot be made .AttributeError.*Absent"):
        generic.make("needy:Absent-v0")


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("import package_that_i_forgot", "needs the package package_that_i_f", 1),
        ("x = 1\n1 / 0", "ZeroDivisionError.*Mend it", 2),
        ("x = 1\nx = = 2", "SyntaxError.*Mend it", 2),
        ("import sys\nsys.exit(3)", "it exits, with 3", 2),
    ],
)
def test_a_plugin_that_fails_is_told_with_its_line(tmp_path, text, message, line):
    path = tmp_path / "own_failing.py"
    path.write_text(text)
    with pytest.raises(config_lib.ConfigError, match=message) as error:
        plugins.load([str(path)])
    assert f'File "{path}", line {line}' in faults.find(error.value).text


@pytest.mark.parametrize("text", ["raise SystemExit(0)", "1 / 0"])
def test_a_script_that_fails_while_a_sweep_imports_it_is_named(tmp_path, text):
    script = tmp_path / "own_script.py"
    script.write_text(text)
    form = tmp_path / "own.yaml"
    form.write_text("script: own_script.py\nlogdir: runs\nseeds: 1\nmethods: {a: ''}\n")
    with pytest.raises(
        form_lib.SweepError, match="own_script.py cannot be import"
    ) as e:
        plan.make(form)
    assert f'File "{script}", line 1' in faults.find(e.value).text


def test_every_script_of_ours_is_known_as_ours():
    assert {f"{name}.py" for name in source.SCRIPTS} <= set(faults.OURS)
    tops = {name.partition(".")[0] for name in source.MODULES}
    assert tops == {name.removesuffix(".py") for name in faults.OURS}
