"""Laws of the configuration: typing, names, YAML files, command-line flags."""

import copy
import json
import pathlib
import pickle
import re
import time

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from common import config as config_lib
from common.config import notes
from common.envs import registry
from common.envs.workers import parallel
from common.records import dashboards
from common.replay.strategies import retention, sampling
from dreamerv2 import settings

ROOT = pathlib.Path(__file__).resolve().parents[2]
BLOCKS = {
    "small": {"rssm": {"deter": 8}, "steps": "1e2"},
    "norm": {r".*\.norm": "layer"},
    "lists": {"tasks": ["a"], "kernels": [2]},
}


@pytest.fixture
def config() -> config_lib.Config:
    return config_lib.Config(
        {
            "steps": 100,
            "discount": 0.99,
            "precision": "32",
            "jit": True,
            "tasks": [],
            "kernels": [4, 4],
            "heads": ["reward", "discount"],
            "rssm": {"deter": 200, "norm": "none", "scale.free": 1.0},
            "head.norm": "none",
            "head.units": 400,
        }
    )


def refusal(call, *arguments, **options) -> str:
    """What a ConfigError of a call says; empty if it raises none."""
    try:
        call(*arguments, **options)
    except config_lib.ConfigError as error:
        return str(error)
    return ""


# Access.


def test_nested_and_dotted_keys_build_the_same_tree(config):
    nested = config_lib.Config({"a": {"b": {"c": 1}, "d": "x"}})
    dotted = config_lib.Config({"a.b.c": 1, "a": {"d": "x"}})
    assert nested == dotted
    assert nested.a.b.c == nested["a.b.c"] == nested["a"]["b.c"] == 1
    assert list(config) == [
        *("steps", "discount", "precision", "jit", "tasks"),
        *("kernels", "heads", "rssm", "head"),
    ]


def test_a_group_is_a_mapping_that_spreads_into_arguments(config):
    assert isinstance(config.head, config_lib.Config)
    assert dict(**config.head) == {"norm": "none", "units": 400}
    assert "rssm.scale.free" in config and "scale" in config.rssm
    assert "rssm.nothing" not in config and "steps.x" not in config
    assert config.get("nothing", 5) == 5
    assert list(config.rssm.flat) == ["deter", "norm", "scale.free"]


def test_missing_names_raise_the_error_of_their_access_and_name_the_nearest(config):
    with pytest.raises(AttributeError, match="discount"):
        _ = config.discont
    with pytest.raises(KeyError, match="rssm.deter"):
        _ = config["deter"]
    assert not hasattr(config, "discont")


def test_nothing_can_be_altered_in_place(config):
    before = config.flat
    with pytest.raises(config_lib.ConfigError, match="update"):
        config.steps = 5
    with pytest.raises(config_lib.ConfigError):
        del config.steps
    with pytest.raises(TypeError):
        config["steps"] = 5
    config.flat["steps"] = 7
    config.update(steps=8)
    assert config.flat == before
    assert isinstance(config.kernels, tuple)


def test_copies_and_pickles_are_equal_and_hash_alike(config):
    for twin in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert twin == config
        assert hash(twin) == hash(config)
    assert config != config.update(steps=1)
    assert config != config.flat


def test_settings_that_cannot_be_kept_are_refused():
    cases = [
        {"a": 1, "a.b": 2},
        {"a.b": 2, "a": 1},
        {"a.b": 1, "a": {"b": 2}},
        {"update": 1},
        {"a": {"items": 1}},
        {"a b": 1},
        {"": 1},
        {"a..b": 1},
        {"a": None},
        {"a": [None]},
        {"a": {}},
        {1: 2},
        [("a", 1)],
    ]
    assert [case for case in cases if not refusal(config_lib.Config, case)] == []


# Update.


def test_a_value_takes_the_type_of_the_one_it_replaces(config):
    cases = [
        ("steps", 5e3, 5000),
        ("steps", "5e3", 5000),
        ("steps", "64_000_000", 64_000_000),
        ("steps", "12345678901234567891", 12345678901234567891),
        ("steps", False, 0),
        ("steps", "False", 0),
        ("discount", 1, 1.0),
        ("discount", "1e-4", 1e-4),
        ("precision", 16, "16"),
        ("precision", 3e-3, "0.003"),
        ("jit", "false", False),
        ("jit", "TRUE", True),
        ("jit", 0, False),
        ("jit", "1", True),
        ("kernels", "5,6", (5, 6)),
        ("kernels", "[5, 6]", (5, 6)),
        ("kernels", [5.0, "6"], (5, 6)),
        ("kernels", 5, (5,)),
        ("kernels", [], ()),
        ("heads", [1, "x"], ("1", "x")),
        ("tasks", "a,2,1e5,0.5", ("a", 2, 100_000, 0.5)),
        ("tasks", [4e5, True], (400_000, True)),
    ]
    for key, value, expected in cases:
        changed = config.update({key: value})[key]
        assert changed == expected, (key, value)
        assert type(changed) is type(expected), (key, value)
        if isinstance(expected, tuple):
            assert [type(x) for x in changed] == [type(x) for x in expected]


def test_a_value_that_does_not_fit_is_refused_and_named(config):
    cases = [
        ("steps", 2.5),
        ("steps", "2.5"),
        ("steps", True),
        ("steps", "many"),
        ("steps", "inf"),
        ("steps", None),
        ("steps", [1]),
        ("discount", "high"),
        ("discount", float("nan")),
        ("discount", True),
        ("precision", True),
        ("precision", ["16"]),
        ("jit", "yes"),
        ("jit", 2),
        ("jit", ""),
        ("kernels", "5,x"),
        ("kernels", [5, 2.5]),
        ("tasks", [None]),
        ("tasks", [["a"]]),
    ]
    for key, value in cases:
        assert key in refusal(config.update, {key: value}), (key, value)


def test_later_mappings_win_and_nested_keywords_work(config):
    changed = config.update({"steps": 1}, {"steps": 2, "rssm": {"deter": 3}}, jit=False)
    assert (changed.steps, changed.rssm.deter, changed.jit) == (2, 3, False)
    assert config.update(rssm=config_lib.Config({"deter": 4})).rssm.deter == 4
    assert list(changed.flat) == list(config.flat)


def test_numpy_numbers_count_as_python_numbers(config):
    changed = config.update(
        steps=np.int64(3), discount=np.float64(0.5), kernels=np.array([1, 2])
    )
    assert changed == config.update(steps=3, discount=0.5, kernels=[1, 2])
    assert [type(x) for x in (changed.steps, *changed.kernels)] == [int, int, int]
    assert type(changed.discount) is float


def test_a_pattern_sets_every_key_that_it_matches_in_full(config):
    changed = config.update({r".*\.norm": "layer"})
    assert [key for key, *_ in config_lib.differences(config, changed)] == [
        "rssm.norm",
        "head.norm",
    ]
    assert config.update({"(steps|disc)": 1}) == config.update(steps=1)
    with pytest.raises(config_lib.ConfigError, match="matches no"):
        config.update({"nor.*": "layer"})
    with pytest.raises(config_lib.ConfigError, match="regular expression"):
        config.update({"(": "layer"})


def test_the_dots_of_a_plain_key_are_literal():
    config = config_lib.Config({"a": {"b": 1}, "aXb": 2})
    assert config.update({"a.b": 5}).flat == {"a.b": 5, "aXb": 2}


def test_an_unknown_key_is_refused_with_the_nearest_name(config):
    nearest = {
        "deter": "rssm.deter",
        "discont": "discount",
        "rssm.detre": "rssm.deter",
        "detre": "rssm.deter",
        "nrm": "head.norm",
        "head.deter": "rssm.deter",
    }
    for key, near in nearest.items():
        told = refusal(config.update, {key: 1})
        assert repr(key) in told and near in told, key


def test_a_group_takes_no_value_and_a_value_no_group(config):
    with pytest.raises(config_lib.ConfigError, match="group"):
        config.update(rssm=5)
    with pytest.raises(config_lib.ConfigError, match="not a group"):
        config.update(steps={"a": 5})


# Files.

_names = st.from_regex(r"[a-z][a-z0-9_-]{3,8}", fullmatch=True)
_scalars = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
    st.sampled_from(["1e-4", "5", "True", "null", "~", "", "a: b", "- x", "$^", ".*"]),
)


@hypothesis.given(
    st.dictionaries(
        _names.filter(lambda name: not hasattr(config_lib.Config, name)),
        st.recursive(
            _scalars | st.lists(_scalars, max_size=3),
            lambda inner: st.dictionaries(
                _names.filter(lambda name: not hasattr(config_lib.Config, name)),
                inner,
                min_size=1,
                max_size=3,
            ),
            max_leaves=5,
        ),
        max_size=4,
    )
)
@hypothesis.settings(max_examples=25)
def test_saving_and_reading_gives_the_same_values_types_and_order(
    tmp_path_factory, settings
):
    config = config_lib.Config(settings)
    path = tmp_path_factory.getbasetemp() / "round_trip.yaml"
    config.save(path)
    again = config_lib.Config.read(path)
    assert again == config
    assert repr(again) == repr(config)
    assert list(again.flat) == list(config.flat)
    assert [*map(type, again.flat.values())] == [*map(type, config.flat.values())]


def test_saving_makes_the_folder_and_leaves_only_the_file(config, tmp_path):
    config.save(tmp_path / "new" / "config.yaml")
    config.update(steps=1).save(tmp_path / "new" / "config.yaml")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["config.yaml"]
    assert config_lib.Config.read(tmp_path / "new" / "config.yaml").steps == 1


@pytest.mark.parametrize("call", ["os.fsync", "os.replace"])
def test_a_failed_save_keeps_the_former_file(config, tmp_path, monkeypatch, call):
    path = tmp_path / "config.yaml"
    config.save(path)

    def full_disk(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(call, full_disk)
    with pytest.raises(OSError):
        config.update(steps=1).save(path)
    assert config_lib.Config.read(path) == config
    assert list(tmp_path.iterdir()) == [path]


def test_blocks_follow_yaml_1_2_with_anchors_and_merge_keys(tmp_path):
    path = tmp_path / "blocks.yaml"
    path.write_text(
        "one: &one\n  lr: 1e-4\n  size: 64_000_000\n  off: off\n  jit: False\n"
        "  .*\\.norm: layer\ntwo: *one\nthree:\n  <<: *one\n  lr: 2e-4\n"
    )
    blocks = config_lib.load_blocks(path)
    one = blocks["one"]
    assert one["lr"] == 1e-4 and isinstance(one["lr"], float)
    assert one["size"] == 64_000_000 and isinstance(one["size"], int)
    assert one["off"] == "off" and one["jit"] is False
    assert one[r".*\.norm"] == "layer"
    assert blocks["two"] == one
    assert blocks["three"] == {**one, "lr": 2e-4}


def test_a_bad_file_of_blocks_is_refused_by_name(tmp_path):
    path = tmp_path / "bad.yaml"
    for text in ("a: [1", "- 1\n- 2\n", "a: 1\n", "a: {b: 1, b: 2}\n"):
        path.write_text(text)
        assert "bad.yaml" in refusal(config_lib.load_blocks, path), text
    assert "missing.yaml" in refusal(config_lib.load, tmp_path / "missing.yaml")


def laughs(form: str) -> str:
    """Eleven lines, each of which stands eight times in the next."""
    rows = ["a0: &a0 {x: 1}"]
    for i in range(1, 12):
        eight = form.format(*[f"*a{i - 1}"] * 8)
        rows.append(f"a{i}: &a{i} {eight}")
    return "\n".join(rows) + "\n"


ENDLESS = {
    "mappings": laughs("{{b: {}, c: {}, d: {}, e: {}, f: {}, g: {}, h: {}, i: {}}}"),
    "lists": laughs("[{}, {}, {}, {}, {}, {}, {}, {}]"),
    "merged": laughs("{{<<: [{}, {}, {}, {}, {}, {}, {}, {}]}}"),
    "a cycle": "a: &a {b: *a}\n",
    "a cycle of two": "a: &a [1, {b: *a}]\n",
    "a cycle that merges": "a: &a\n  <<: *a\n",
    "a thousand brackets": f"a: {'[' * 1000}{']' * 1000}\n",
    "a thousand aliases": "a0: &a0 [1]\n"
    + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 1000)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDLESS)
def test_a_file_without_an_end_is_refused_at_once(tmp_path, name):
    path = tmp_path / "config.yaml"
    path.write_text(ENDLESS[name])
    start = time.process_time()
    assert "config.yaml" in refusal(config_lib.Config.read, path)
    assert time.process_time() - start < 5


def test_every_block_of_the_repository_fits_its_defaults():
    blocks = config_lib.load_blocks(ROOT / "configs.yaml")
    defaults = config_lib.Config(blocks.pop("defaults"))
    changed = {name: defaults.update(block) for name, block in blocks.items()}
    assert all(config != defaults for config in changed.values())
    assert changed["crafter"].rssm.norm == changed["crafter"].actor.norm == "layer"
    assert changed["dmc_vision"] == changed["dmc"] != changed["dmc_proprio"]
    assert changed["atari"].actor_ent == "0.001"
    assert changed["atari"].steps == 50_000_000


NOTED = """\
# The file's own.

# Both lines
# count.
defaults:
  # A heading.
  steps: 5  # how long: # really,
            # to the end
  # Another, beside
  seed: 0

  # Nobody's, for the empty line.

  rssm: {deter: 5}  # sizes
  text: 'a # b'
  deep:   # all below
    er: "#"  # inside
    est: 2
other:
  seed: 1  # of another block
# Nobody's, at the end.
"""


def test_comments_beside_keys_and_above_them_are_their_help(tmp_path):
    path = tmp_path / "blocks.yaml"
    path.write_text(NOTED)
    found = notes.read(path)
    assert found.help_texts == {
        "steps": "how long: # really, to the end",
        "seed": "Another, beside",
        "rssm": "sizes",
        "deep": "all below",
        "deep.er": "inside",
    }
    assert found.headings == {"steps": "A heading."}
    assert found.block_texts == {"defaults": "Both lines count."}
    assert notes.read(path, "other").help_texts == {"seed": "of another block"}


def test_differences_name_changed_added_and_missing_keys(config):
    other = config_lib.Config({**config.update(steps=1).flat, "extra": 2})
    assert config_lib.differences(config, other) == [
        ("steps", 100, 1),
        ("extra", None, 2),
    ]
    assert config_lib.differences(config, config) == []


# Flags.


def test_flags_set_keys(config):
    lines = {
        "": {},
        "--steps 5": {"steps": 5},
        "--steps=5": {"steps": 5},
        "--steps -1": {"steps": -1},
        "--discount -.5": {"discount": -0.5},
        "--discount -1e-3 --jit False": {"discount": -1e-3, "jit": False},
        "--steps 1 --steps 2": {"steps": 2},
        "--rssm.deter 5 --precision=16": {"rssm.deter": 5, "precision": "16"},
        "--kernels 1 2 3": {"kernels": (1, 2, 3)},
        "--kernels 1,2 3": {"kernels": (1, 2, 3)},
        "--kernels=1,2": {"kernels": (1, 2)},
        "--kernels=": {"kernels": ()},
        "--tasks a b": {"tasks": ("a", "b")},
        "--jit": {"jit": True},
        r"--.*\.norm layer": {"rssm.norm": "layer", "head.norm": "layer"},
        "--precision=-x=--y": {"precision": "-x=--y"},
        "--steps 7 --configs small": {"steps": 7, "rssm.deter": 8},
        "--configs small lists --steps=7": {"steps": 7, "kernels": (2,)},
        "--configs small,norm --configs lists": {"steps": 100, "tasks": ("a",)},
    }
    for line, changes in lines.items():
        parsed = config.parse_flags(line.split(), blocks=BLOCKS)
        assert {key: parsed[key] for key in changes} == changes, line
        if "--configs" not in line:
            assert parsed == config.update(changes), line


def test_bad_flags_are_refused_with_a_way_out(config):
    lines = {
        "--steps_ 5": ["--steps_", "--steps"],
        "--deter 5": ["--rssm.deter"],
        "--rssm 5": ["--rssm.deter"],
        "word": ["word"],
        "--steps 5 word": ["word", "--steps"],
        "--steps=5 word": ["word", "--steps=5"],
        "--jit True word": ["word"],
        "--jit word": ["jit", "word", "True or False"],
        "--steps": ["--steps", "int"],
        "--kernels": ["--kernels", "list"],
        "--steps 2.5": ["steps", "2.5"],
        "-steps 5": ["-steps", "two dashes"],
        "--configs": ["small"],
        "--configs smal": ["smal", "small"],
        "--size many": ["--size many", "no size"],
        "--size": ["--size"],
        "--quick maybe": ["--quick", "maybe"],
        "--": ["--"],
    }
    for line, parts in lines.items():
        told = refusal(
            config.parse_flags, line.split(), blocks=BLOCKS, switches=switches()
        )
        assert told and all(part in told for part in parts), line


def switches():
    def size(word):
        if not word.isdigit():
            raise ValueError("no size")
        return {"rssm.deter": word, "head.units": word}

    return {"quick": {"steps": 1, "jit": False}, "size": size}


def test_aliases_and_switches_are_flags_of_their_own(config):
    def parse(line):
        return config.parse_flags(
            line.split(), aliases={"dim": "rssm.deter"}, switches=switches()
        )

    assert parse("--dim 5") == config.update({"rssm.deter": 5})
    assert parse("--quick") == parse("--quick=true") == config.update(steps=1, jit=0)
    assert parse("--quick false") == config
    assert parse("--quick --steps 9").steps == 9
    assert parse("--steps 9 --quick").steps == 1
    assert parse("--size 3") == config.update({"rssm.deter": 3, "head.units": 3})
    with pytest.raises(config_lib.ConfigError, match="--quick"):
        parse("--quik")


def test_an_alias_must_name_a_key_and_hide_none(config):
    for aliases in ({"dim": "rssm.dter"}, {"steps": "rssm.deter"}):
        assert refusal(config.parse_flags, [], aliases=aliases), aliases


def test_flags_default_to_the_command_line(config, monkeypatch):
    monkeypatch.setattr("sys.argv", ["prog", "--steps", "3"])
    assert config.parse_flags().steps == 3


@pytest.mark.parametrize(
    "words",
    [
        "/lib/ipykernel_launcher.py -f /root/.local/share/jupyter/kernel-1.json",
        "/lib/ipykernel_launcher.py --f=/home/me/kernel-v3.json",
        "/lib/colab_kernel_launcher.py -f /root/k.json --HistoryManager.x=:memory:",
        "/lib/ipykernel/__main__.py -f kernel.json",
    ],
)
def test_the_words_of_a_notebooks_kernel_are_no_flags(config, monkeypatch, words):
    monkeypatch.setattr("sys.argv", words.split())
    assert config.parse_flags() == config
    assert config.parse_flags(["--steps", "3"]).steps == 3


def test_help_lists_every_key_type_default_and_flag_then_leaves(config, capsys):
    pages = set()
    for line in ("--help", "-h", "--steps 5 --help", "-h x"):
        with pytest.raises(SystemExit) as leaving:
            config.parse_flags(
                line.split(),
                blocks=BLOCKS,
                aliases={"dim": "rssm.deter"},
                switches=switches(),
                help_texts={"steps": "how long", "rssm": "sizes", "quick": "hurry"},
                headings={"rssm": "The model."},
                block_texts={"norm": "Layer norm."},
                usage="train.py: trains",
            )
        assert leaving.value.code == 0
        pages.add(capsys.readouterr().out)
    (page,) = pages
    rows = [" ".join(row.split()) for row in page.splitlines()]
    for key in config.flat:
        assert sum(row.startswith(f"--{key} ") for row in rows) == 1
    for row in (
        "train.py: trains",
        "--steps int, 100 how long",
        "--jit bool, True",
        "--heads list, reward,discount",
        "--rssm.* sizes",
        "--dim --rssm.deter",
        "--quick steps=1 jit=False hurry",
        "--size VALUE",
        "small",
        "norm Layer norm.",
    ):
        assert row in rows
    assert rows.index("The model.") < rows.index("--rssm.* sizes")


# The repository's own configuration.


def test_every_key_group_and_block_is_explained_in_a_page_of_100_columns(capsys):
    told = notes.read(ROOT / "configs.yaml")
    flat = settings.defaults.flat
    groups = {key[:i] for key in flat for i, sign in enumerate(key) if sign == "."}
    assert set(told.help_texts) == {*flat, *groups}
    assert set(told.block_texts) == {"defaults", *settings.configs}
    assert len(told.headings) > 3
    with pytest.raises(SystemExit):
        settings.defaults.parse_flags(["--help"])
    page = capsys.readouterr().out
    words = " ".join(page.split())
    texts = [*told.help_texts.values(), *told.headings.values()]
    assert [text for text in texts if text not in words] == []
    assert [line for line in page.splitlines() if len(line) > 100] == []


@pytest.mark.tf
def test_the_help_of_a_key_names_each_of_its_choices():
    from common.compute import devices
    from common.nets import layers, optim
    from dreamerv2.algorithm import explore, losses, rssm, world_model

    choices = {
        r"task": registry.SUITES,
        r"envs_parallel": parallel.STRATEGIES,
        r"precision": {*devices.PRECISIONS, "auto"},
        r"wandb\.mode": dashboards.WANDB_MODES,
        r"replay\.retention": retention.RETENTION,
        r"replay\.sampling": sampling.SAMPLING,
        r"replay\.coverage\.distance": retention.DISTANCES,
        r"grad_heads": {"decoder", "reward", "discount"},
        r"clip_rewards": world_model.CLIP_REWARDS,
        r"rssm\.std_act": rssm.STD_ACTIVATIONS,
        r".*\.act": layers.ACTIVATIONS,
        r".*\.norm": {"none", "layer"},
        r"reward_head\.dist": {"mse", "binary"},
        r"discount_head\.dist": {"binary"},
        r"actor\.dist": {"auto", "onehot", "trunc_normal"},
        r"(critic|expl_head)\.dist": {"mse"},
        r".*_opt\.opt": optim.OPTIMIZERS,
        r"actor_grad": losses.ACTOR_GRADS,
        r"expl_behavior": explore.BEHAVIOURS,
        r"disag_target": {"stoch", "deter", "feat", "embed"},
        r"disag_action_align": {"previous", "next"},
        r"expl_model_loss": {"kl", "reward", "discount"},
    }
    told = notes.read(ROOT / "configs.yaml").help_texts
    for pattern, names in choices.items():
        keys = [key for key in settings.defaults.flat if re.fullmatch(pattern, key)]
        assert keys, f"{pattern} matches no key"
        for key in keys:
            missing = set(names) - set(re.findall(r"\w+", told[key]))
            assert not missing, f"{key} may be {missing} too"


def test_own_parts_and_their_options_are_named_on_the_command_line():
    words = "--plugins a.b c.py --outputs m:One --replay.retention m:Mine".split()
    words += ["--replay.retention_args", '{"k": 3, "name": "x"}']
    config = settings.defaults.parse_flags(words)
    assert config.plugins == ("a.b", "c.py") and config.outputs == ("m:One",)
    assert config.replay.retention == "m:Mine"
    assert json.loads(config.replay.retention_args) == {"k": 3, "name": "x"}
