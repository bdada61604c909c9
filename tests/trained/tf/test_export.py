"""Laws of what is exported: it is the agent, and it needs nothing of this package."""

import json
import os
import pathlib
import subprocess
import sys

import dummies
import gymnasium
import numpy as np
import pytest
import safetensors.numpy
import source

import dreamerv2.api as dv2
import gym_minigrid
from common.envs import gym_spaces
from dreamerv2.run import checkpoint
from dreamerv2.trained import command, export, policy
from dreamerv2.trained import snapshot as snapshot_lib

ALONE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("dreamerv2", "common", "gym_minigrid"):
            raise ImportError(name)

sys.meta_path.insert(0, Refuse())
import numpy as np
import safetensors.numpy
import tensorflow as tf

folder, recorded, out = sys.argv[1:]
graphs = tf.saved_model.load(f"{folder}/policy").signatures
given = np.load(recorded)
state, found = graphs["initial"](), {}
for t in range(len(given["is_first"])):
    inputs = {key: tf.constant(given[key][t : t + 1]) for key in given.files}
    result = graphs["mode"](**inputs, **state)
    for key, value in result.items():
        found.setdefault(key, []).append(value.numpy())
    state = {key: result[key] for key in state}
weights = safetensors.numpy.load_file(f"{folder}/weights.safetensors")
np.savez(out, weights=len(weights), **{k: np.stack(v) for k, v in found.items()})
"""


class Mixed(gymnasium.Env):
    """A vector and a choice, and a Box of actions that is not [-1, 1]."""

    observation_space = gymnasium.spaces.Dict(
        {
            "count": gymnasium.spaces.Discrete(9, start=-1),
            "matrix": gymnasium.spaces.Box(-1, 1, (2, 2), np.float64),
        }
    )
    action_space = gymnasium.spaces.Box(
        np.array([[-3.0, 0.0]]), np.array([[1.0, 10.0]]), dtype=np.float64
    )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._time = -1
        return self._observe(), {}

    def step(self, action):
        self._time += 1
        return self._observe(), float(np.mean(action)), False, self._time >= 6, {}

    def _observe(self):
        matrix = self.np_random.uniform(-1, 1, (2, 2))
        return {"count": np.int64(self._time), "matrix": matrix}


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """The export of the agent that comes with the package."""
    folder = tmp_path_factory.mktemp("quick") / "exported"
    command.main(["quickstart", "--out", str(folder)])
    return folder


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A run that explores in a Box of actions, and its export of two rows."""
    folder = tmp_path_factory.mktemp("mixed")
    config = dummies.configure(folder, jit=False, expl_behavior="Plan2Explore", seed=1)
    dv2.train(Mixed, config.update({r"(en|de)coder\.mlp_keys": "count|matrix"}))
    snapshot = snapshot_lib.load(folder)
    return folder, export.export(snapshot, folder / "exported", batch=2)


def record(steps):
    """Raw observations of a plain environment, seen by random actions."""
    env = gymnasium.make("MiniGrid-Empty-Random-6x6-v0", max_steps=30)
    env = gym_minigrid.wrappers.RGBImgPartialObsWrapper(env)
    rng, over, images, begins = np.random.default_rng(0), True, [], []
    for _ in range(steps):
        begins.append(over)
        if over:
            obs, over = env.reset(seed=int(rng.integers(1000)))[0], False
        else:
            obs, _, terminated, truncated, _ = env.step(int(rng.integers(3)))
            over = terminated or truncated
        images.append(obs["image"])
    return np.stack(images), np.array(begins)


def test_the_policy_alone_acts_as_the_agent_bit_by_bit(quickstart, tmp_path):
    images, begins = record(100)
    np.savez(tmp_path / "recorded.npz", obs_image=images, is_first=begins)
    words = [str(quickstart), str(tmp_path / "recorded.npz"), str(tmp_path / "out.npz")]
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *words],
        env=env,  # with the kernels of this process, TF_ENABLE_ONEDNN_OPTS
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "out.npz")
    agent, state = dv2.load("quickstart"), None
    for t, (image, first) in enumerate(zip(images, begins, strict=True)):
        action, state = agent.act({"image": image}, state, is_first=first)
        assert found["action"][t, 0] == action, t
        for key in ("deter", "stoch", "chosen"):
            np.testing.assert_array_equal(found[f"state_{key}"][t, 0], state[key])
    assert len(set(found["action"].ravel())) > 1
    assert begins.sum() > 2 and found["state_count"][-1] == 100
    assert found["weights"] == len(agent._agent.named_weights())


@pytest.mark.parametrize("mode", ["mode", "sample", "explore"])
def test_every_mode_reads_and_writes_what_the_environment_does(mixed, mode):
    import tensorflow as tf

    folder, exported = mixed
    graphs = tf.saved_model.load(str(exported / "policy")).signatures
    agent, env = dv2.load(folder), Mixed()
    after, state = graphs["initial"](), None
    first, (obs, _) = True, env.reset(seed=0)
    for _ in range(5):
        rows = {key: np.stack([value, value]) for key, value in obs.items()}
        inputs = {policy.OBS + k: tf.constant(v) for k, v in rows.items()}
        result = graphs[mode](**inputs, is_first=tf.constant([first] * 2), **after)
        after = {key: result[key] for key in after}
        actions, state = agent.act(rows, state, mode)
        np.testing.assert_allclose(result["action"], actions, rtol=1e-4)
        assert result["action"].dtype == tf.float64
        assert env.action_space.contains(result["action"][0].numpy())
        first, (obs, *_) = False, env.step(actions[0])
    assert set(graphs) == {"mode", "sample", "explore", "initial"}


def test_the_weights_are_all_there_with_names_and_shapes(mixed):
    folder, exported = mixed
    found = safetensors.numpy.load_file(exported / export.WEIGHTS)
    saved = snapshot_lib.load(folder).tensors
    note = json.loads((exported / export.NOTE).read_text())
    assert note["weights"] == {name: list(v.shape) for name, v in found.items()}
    assert {"encoder/dense0/kernel", "expl/ensemble/0/dense0/kernel"} & set(found)
    for name, value in found.items():
        np.testing.assert_array_equal(value, saved[name], err_msg=name)
    assert not [name for name in found if "slot" in name]
    inputs = note["policy"]["mode"]["inputs"]
    assert inputs["obs_matrix"] == {"shape": [2, 2, 2], "dtype": "float64"}


def test_an_exported_agent_is_loaded_and_not_trained_on(mixed, tmp_path):
    folder, exported = mixed
    one, two = dv2.load(folder), dv2.load(exported / export.AGENT)
    obs, _ = Mixed().reset(seed=3)
    np.testing.assert_array_equal(one.act(obs)[0], two.act(obs)[0])
    assert (two.step, two.spaces) == (one.step, one.spaces)
    assert str(folder) not in (exported / "agent" / "config.yaml").read_text()
    config = dv2.Config.read(folder / "config.yaml")
    config = config.update(logdir=str(exported / "agent"), steps=60, resume=True)
    with pytest.raises(checkpoint.CheckpointError, match="not those of a snapshot"):
        dv2.train(Mixed, dv2.defaults.update(config.flat))


# The folder.


def contents(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_that_is_not_ours_is_never_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for words in ([], ["--overwrite"]):
        with pytest.raises(ValueError, match=r"no export .*left alone.*another --out"):
            command.main(["quickstart", "--out", str(tmp_path), *words])
    assert list(contents(tmp_path)) == [tmp_path / "thesis.tex"]
    with pytest.raises(ValueError, match="no export"):
        command.main(["quickstart", "--out", str(tmp_path / "thesis.tex")])


def test_an_export_is_replaced_only_if_asked_to(mixed, tmp_path):
    snapshot = snapshot_lib.load(mixed[0])
    folder = export.export(snapshot, tmp_path / "exported")
    (folder / "mine.txt").write_text("mine")
    before = contents(folder)
    with pytest.raises(ValueError, match="holds an export; replace it with --overwr"):
        export.export(snapshot, folder)
    assert contents(folder) == before
    export.export(snapshot, folder, batch=3, overwrite=True)
    note = json.loads((folder / export.NOTE).read_text())
    assert note["policy"]["sample"]["outputs"]["action"]["shape"] == [3, 1, 2]
    assert (folder / "mine.txt").read_text() == "mine"


def test_what_cannot_be_written_leaves_the_export_before(mixed, tmp_path, monkeypatch):
    snapshot = snapshot_lib.load(mixed[0])
    folder = export.export(snapshot, tmp_path / "exported")
    before = contents(tmp_path)

    def refuse(arrays):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.numpy, "save", refuse)
    with pytest.raises(ValueError, match="exported cannot be written: No space.*--out"):
        export.export(snapshot, folder, overwrite=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "dreamerv2 export LOGDIR --out DIR"),
        (["quickstart"], "dreamerv2 export LOGDIR --out DIR"),
        (["none", "--out", "x"], "no run in .*none"),
        (["quickstart", "--out", "x", "--batch", "0"], "batch is 0"),
        (["quickstart", "--out", "x", "--checkpoint", "7"], "no snapshot of step 7"),
        (["quickstart", "--outt", "x"], "Unknown flag --outt. Did you mean --out"),
    ],
)
def test_bad_words_are_named_and_nothing_is_written(
    words, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        command.main(words)
    assert not list(tmp_path.iterdir())


def test_the_command_is_a_word_of_dreamerv2(tmp_path):
    program = "import sys; from dreamerv2 import train; train.main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "export", "quickstart", "--out", "."],
        cwd=pathlib.Path(source.ROOT),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "holds something that is no export" in done.stderr


def test_choices_at_once_are_written_as_the_environment_takes_them():
    for space in (
        gymnasium.spaces.MultiDiscrete([2, 3], start=[0, -1]),
        gymnasium.spaces.MultiBinary(3),
    ):
        spec, act = gym_spaces.action_part(space)
        ours = np.eye(spec.size, dtype=np.float32)
        written = policy.write(ours, spec).numpy()
        assert written.dtype == space.dtype
        np.testing.assert_array_equal(written, [act(row) for row in ours])
