"""What docs/recipes.md says can be typed: its commands parse, its blocks run."""

import sys
import types

import numpy as np
import pages
import pytest

from common import specs
from common.replay import recorded

(WRITES, CONVERTS) = pages.blocks("docs/recipes.md", "python")
COMMANDS = [w for w in pages.commands("docs/recipes.md") if w[0] == "dreamerv2"]
CART = specs.Spaces(
    {"vector": specs.ArraySpec((4,), np.dtype(np.float32))}, specs.ActionSpec(2, True)
)


def read(folder):
    return recorded.Folder(folder, CART, minlen=2, capacity=10_000)


def test_a_recipe_begins_with_a_run_that_the_page_makes_before():
    made = set()
    for words in COMMANDS:
        flags = dict(zip(words, words[1:], strict=False))
        for source_of in ("--init_from", "--offline"):
            run = flags.get(source_of, "").removesuffix("/train_replay")
            assert not run.startswith("~") or run in made, words
        made.add(f"{flags['--logdir']}/{flags['--tag']}")
    assert len(made) == len(COMMANDS)


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

    def iterate_episodes(self):
        for steps in (3, 4):
            yield types.SimpleNamespace(
                observations=np.ones((steps + 1, 4), np.float64),
                actions=np.arange(steps) % 2,
                rewards=np.arange(1.0, steps + 1),
                terminations=np.arange(steps) == steps - 1,
            )


def test_a_dataset_of_minari_is_converted_as_the_page_shows(tmp_path, monkeypatch):
    stand_in = types.SimpleNamespace(load_dataset=lambda *args, **kwargs: Dataset())
    monkeypatch.setitem(sys.modules, "minari", stand_in)
    monkeypatch.chdir(tmp_path)
    exec(CONVERTS, {})
    first, second = (e.arrays() for e in read("converted").load())
    np.testing.assert_array_equal(first["reward"], [0, 1, 2, 3])
    np.testing.assert_array_equal(first["action"][1:].argmax(1), [0, 1, 0])
    assert second["is_terminal"].tolist() == [False] * 4 + [True]
