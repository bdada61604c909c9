"""What docs/recipes.md says can be typed: its commands parse, its blocks run."""

import sys
import types

import gymnasium
import numpy as np
import pages
import pytest

from common import specs
from common.replay import recorded
from dreamerv2.run.sources import datasets

(WRITES,) = pages.blocks("docs/recipes.md", "python")
COMMANDS = [w for w in pages.commands("docs/recipes.md") if w[0] == "dreamerv2"]
CART = specs.Spaces(
    {"vector": specs.ArraySpec((4,), np.dtype(np.float32))}, specs.ActionSpec(2, True)
)


def read(folder):
    return recorded.Folder(folder, CART, minlen=2, capacity=10_000)


def test_a_recipe_begins_with_a_run_that_the_page_makes_before():
    made = set()
    trained = [words for words in COMMANDS if "--logdir" in words]
    for words in trained:
        flags = dict(zip(words, words[1:], strict=False))
        for source_of in ("--init_from", "--offline"):
            run = flags.get(source_of, "").removesuffix("/train_replay")
            assert not run.startswith("~") or run in made, words
        made.add(f"{flags['--logdir']}/{flags['--tag']}")
    assert len(made) == len(trained)


def test_the_episodes_that_the_page_writes_can_be_learned_from(tmp_path, monkeypatch):
    pytest.importorskip("gymnasium")
    monkeypatch.chdir(tmp_path)
    exec(WRITES, {})
    folder = read("episodes")
    assert len(folder.load()) == 100
    assert not folder.unread
    assert f"{folder.steps:,} steps" in pages.TEXTS["docs/recipes.md"]


class Dataset:
    """Stands in for one of Minari, with two episodes of three and four steps."""

    observation_space = gymnasium.spaces.Box(-9, 9, (4,), np.float64)
    action_space = gymnasium.spaces.Discrete(2, start=5)

    def iterate_episodes(self):
        for steps in (3, 4):
            yield types.SimpleNamespace(
                observations=np.ones((steps + 1, 4), np.float64),
                actions=5 + np.arange(steps) % 2,
                rewards=np.arange(1.0, steps + 1),
                terminations=np.arange(steps) == steps - 1,
            )


class Pictures(Dataset):
    """The same with a dictionary that has images, and actions that are numbers."""

    observation_space = gymnasium.spaces.Dict(
        camera=gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8),
        joints=gymnasium.spaces.Box(-1, 1, (2,), np.float32),
    )
    action_space = gymnasium.spaces.Box(0, 10, (1,), np.float32)

    def iterate_episodes(self):
        yield types.SimpleNamespace(
            observations={
                "camera": np.full((3, 8, 8, 3), 7, np.uint8),
                "joints": np.zeros((3, 2), np.float32),
            },
            actions=np.array([[0], [10]], np.float32),
            rewards=np.zeros(2),
            terminations=np.zeros(2, bool),
        )


@pytest.fixture
def minari(monkeypatch):
    """A library that has one dataset, here or to be downloaded."""
    stand_in = types.SimpleNamespace(
        load_dataset=lambda name, download: {
            "own/vectors-v0": Dataset,
            "own/pictures-v0": Pictures,
        }[name]()
    )
    monkeypatch.setitem(sys.modules, "minari", stand_in)


def test_a_dataset_of_minari_becomes_episodes(tmp_path, minari, capsys):
    datasets.main(["own/vectors-v0", "--out", str(tmp_path / "out")])
    assert capsys.readouterr().out.startswith("2 episodes of 7 steps are in ")
    first, second = (e.arrays() for e in read(tmp_path / "out").load())
    np.testing.assert_array_equal(first["reward"], [0, 1, 2, 3])
    np.testing.assert_array_equal(first["action"][1:].argmax(1), [0, 1, 0])
    assert second["is_terminal"].tolist() == [False] * 4 + [True]


def test_images_are_resized_and_numbers_lie_between_their_bounds(tmp_path, minari):
    words = ["--out", str(tmp_path / "out"), "--render_size", "16,16"]
    datasets.main(["own/pictures-v0", *words])
    with np.load(tmp_path / "out" / "000000.npz") as episode:
        assert episode["camera"].shape == (3, 16, 16, 3)
        np.testing.assert_array_equal(episode["action"], [[0], [-1], [1]])
        assert not episode["is_terminal"].any()


def test_a_folder_that_holds_something_is_left_alone(tmp_path, minari):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="give a new --out"):
        datasets.main(["own/vectors-v0", "--out", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_what_minari_does_not_have_is_named(tmp_path, minari):
    with pytest.raises(ValueError, match="no dataset 'own/other-v0'"):
        datasets.main(["own/other-v0", "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
