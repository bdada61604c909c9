"""The house: who may import whom, which names are taken, how large a file may be."""

import ast
import collections
import importlib.metadata
import os
import platform
import re
import subprocess
import sys

import pytest
import source

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"

# Rooms from the bottom up; a module belongs to the longest name that begins its own.
# Imports go to lower ranks, or inside of a rank in no circle.
RANKS = (
    {"gym_minigrid"},
    {
        *("common", "common.specs", "common.schedules", "common.driver"),
        *("common.config", "common.replay", "common.records", "common.curves"),
    },
    {"common.envs"},
    {"common.curves.drawing", "common.plot"},
    {"common.compute"},
    {"common.nets"},
    {"dreamerv2"},
    {"dreamerv2.algorithm"},
    {"dreamerv2.settings"},
    {"dreamerv2.run", "dreamerv2.cli"},
    {"dreamerv2.trained"},
    {
        *("dreamerv2.watch", "dreamerv2.report", "dreamerv2.success"),
        "dreamerv2.verify",
    },
    {"dreamerv2.sweep"},
    {"dreamerv2.api"},
    {"dreamerv2.train", *source.SCRIPTS},
)
BASE = 1  # rank of what knows neither TensorFlow nor an environment library
ENVS = 2

# Reached when a script starts: --help and a mistyped flag do not wait for TensorFlow.
LIGHT = (
    *("dreamerv2.cli", "dreamerv2.run.phases", "dreamerv2.run.rundir"),
    *("dreamerv2.run.tasks", "dreamerv2.report.__main__"),
)
LAZY = {"common.records.dashboards": {"tensorflow", "wandb", "PIL"}}
HEAVY = {"tensorflow", "tensorflow_probability", "tf_keras", "keras"}
SUITES = {
    *("gym", "gymnasium", "minigrid", "gym_minigrid", "minihack", "nle", "ale_py"),
    *("dm_control", "mujoco", "crafter"),
}

PERFORMANCE = re.compile(
    r"\b(GradientTape|custom_gradient|raw_ops|control_dependencies|stop_recording"
    r"|map_fn|is_integer|fuses)\b"
)

MOST_LINES = 350
MOST_ENTRIES = 12
NO_ENTRY = re.compile(r"__pycache__|\.egg-info")  # what Python writes there
LONG_FILES: dict[str, str] = {}
MAY_CHANGE_THE_PATH = {
    "dreamerv2/train.py": "runs as a script from inside of the package",
    "common/plot.py": "likewise",
    "common/envs/workers/worker.py": "takes over that of the process which starts it",
}


def rank(name: str) -> int:
    """The place of a module in RANKS; -1 if it has none."""
    places = {room: i for i, rooms in enumerate(RANKS) for room in rooms}
    above = name
    while above and above not in places:
        above = above.rpartition(".")[0]
    alone = above in source.PACKAGES and above != "gym_minigrid" and above != name
    return places[above] if above and not alone else -1


# Layers.


def test_the_walk_sees_imports_of_every_kind():
    found = source.imports("common.config.files")
    assert {"common.config.coerce", "ruamel.yaml"} <= found
    assert "dreamerv2.run.loop" in source.imports("dreamerv2.sweep.comparison")
    eager = source.imports("dreamerv2.sweep.comparison", lazy=False)
    assert "dreamerv2.run.loop" not in eager


def test_every_module_has_its_place():
    homeless = [name for name in source.MODULES if rank(name) < 0]
    assert not homeless, "give these exactly one place in RANKS"


def test_imports_go_down():
    wrong = [
        f"{name} -> {other}"
        for name in source.MODULES
        for other in source.ours(source.imports(name))
        if rank(other) > rank(name)
    ]
    assert not wrong, "an import of what lies above, see RANKS"


def test_no_imports_go_in_a_circle():
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a circle: {' -> '.join((*path, name))}"
        if name not in done:
            for other in source.ours(source.imports(name)):
                visit(other, (*path, name))
            done.add(name)

    for name in source.MODULES:
        visit(name, ())


def test_the_base_knows_neither_tensorflow_nor_environments():
    foreign = HEAVY | SUITES | {"wandb"}
    base = [name for name in source.MODULES if rank(name) == BASE]
    assert len(base) > 20
    at_once = {n: foreign & source.loads(n, lazy=False) for n in base}
    later = {
        n: foreign & source.tops(source.imports(n)) - LAZY.get(n, set()) for n in base
    }
    assert not {name: found for name, found in at_once.items() if found}
    assert not {name: found for name, found in later.items() if found}


def test_environments_and_flags_do_not_know_tensorflow():
    light = [name for name in source.MODULES if rank(name) == ENVS or name in LIGHT]
    assert len(light) > len(LIGHT)
    found = {name: source.loads(name) & (HEAVY | {"wandb"}) for name in light}
    assert not {name: heavy for name, heavy in found.items() if heavy}


def test_figures_need_matplotlib_and_the_base_alone():
    loaded = {
        module
        for name in source.closure("common.plot")
        for module in source.imports(name)
    }
    assert source.tops(loaded) <= {"matplotlib", "numpy", "ruamel", "common"} | set(
        sys.stdlib_module_names
    )
    assert {rank(name) for name in source.ours(loaded)} <= {BASE, rank("common.plot")}
    drawing = {
        name
        for name in source.MODULES
        if "matplotlib" in source.tops(source.imports(name))
    }
    assert drawing == {
        *("common.curves.drawing", "dreamerv2.report.figures", "dreamerv2.success")
    }


def test_loading_the_replay_or_the_flags_loads_no_tensorflow():
    base = [n for n in source.MODULES if rank(n) == BASE]
    program = (
        f"import importlib, sys\nfor n in {[*base, *LIGHT]!r}: "
        "importlib.import_module(n)\n"
        "print([n for n in ('tensorflow', 'gymnasium', 'wandb') if n in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=source.ROOT, capture_output=True, text=True
    )
    assert result.stdout == "[]\n", result.stderr


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="oneDNN is chosen on x86"
)
@pytest.mark.parametrize(("given", "expected"), [(None, "1"), ("0", "0")])
def test_the_package_turns_onednn_on_unless_somebody_has_chosen(given, expected):
    env = {k: v for k, v in os.environ.items() if k != ONEDNN}
    env |= {} if given is None else {ONEDNN: given}
    program = f"import os, dreamerv2\nprint(os.environ[{ONEDNN!r}])"
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=source.ROOT,
        env=env,
        capture_output=True,
        text=True,
    )
    assert result.stdout == f"{expected}\n", result.stderr


def test_the_algorithm_leaves_performance_to_the_rooms_below():
    found = [
        f"{name}: {word}"
        for name in source.MODULES
        if name.startswith("dreamerv2.algorithm.")
        for word in PERFORMANCE.findall(source.MODULES[name].read_text())
    ]
    assert not found, "say it in common.compute or common.nets"


# Names.


def test_no_module_bears_a_name_that_is_taken():
    installed = {
        top
        for top, owners in importlib.metadata.packages_distributions().items()
        if set(owners) - {"dreamerv2", "gym_minigrid"}
    }
    taken = set(sys.stdlib_module_names) | installed
    hiding = [
        name
        for name in source.MODULES
        for package, _, stem in [name.rpartition(".")]
        if package in source.PACKAGES and stem in taken
    ]
    assert not hiding, "these hide another module where their folder's scripts run"


def test_no_folder_of_the_tests_hides_a_package():
    folders = {path.name for path in (source.ROOT / "tests").iterdir() if path.is_dir()}
    assert not folders & {"common", "dreamerv2", "gym_minigrid"}
    assert not (source.ROOT / "gym_minigrid" / "gym_minigrid").exists()


def changes_the_path(tree: ast.AST) -> bool:
    for node in ast.walk(tree):
        targets = []
        if isinstance(node, ast.Assign | ast.Delete):
            targets = node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            targets = [node.func.value]
        if any("sys.path" in ast.unparse(target) for target in targets):
            return True
    return False


def test_only_those_with_a_reason_change_the_import_path():
    assert changes_the_path(ast.parse("sys.path.insert(0, '.')"))
    assert changes_the_path(ast.parse("sys.path[0] = '.'"))
    changing = {n for n, tree in source.TREES.items() if changes_the_path(tree)}
    relative = {str(source.MODULES[name].relative_to(source.ROOT)) for name in changing}
    assert relative <= set(MAY_CHANGE_THE_PATH)


def leans_on_hidden_randomness(text: str) -> bool:
    """Whether TensorFlow is seeded, or draws what no seed of ours decides."""
    used = re.findall(r"tf\.random\.(\w+)", text)
    return any(not re.match("stateless_|split|fold_in", name) for name in used)


def test_nothing_leans_on_the_randomness_that_tensorflow_hides():
    """Under a global seed, all calls of a function in one graph draw the same."""
    assert leans_on_hidden_randomness("tf.random.set_seed(0)")
    assert leans_on_hidden_randomness("x = tf.random.normal([3])")
    assert not leans_on_hidden_randomness("tf.random.stateless_normal([3], seed)")
    files = [*source.MODULES.values(), *(source.ROOT / "benchmarks").rglob("*.py")]
    guilty = [path for path in files if leans_on_hidden_randomness(path.read_text())]
    assert not guilty, "draw with tf.random.stateless_... and a seed of one's own"


# Files.


def test_everything_public_has_a_docstring():
    bare = [
        f"{name}: {getattr(node, 'name', 'the module')}"
        for name, tree in source.TREES.items()
        for node in (tree, *source.public(tree))
        if not ast.get_docstring(node)
    ]
    assert not bare


def test_every_folder_of_modules_is_a_package():
    """Else `find_packages` in setup.py passes it by."""
    folders = {path.parent for path in source.MODULES.values()} - {source.ROOT}
    assert len(folders) > len(source.PACKAGES)
    assert not [str(f) for f in folders if not (f / "__init__.py").exists()]


def test_a_folder_has_at_most_twelve_entries():
    entries = collections.Counter(
        str(path.parent.relative_to(source.ROOT))
        for package in source.PACKAGES
        for path in (source.ROOT / package).rglob("*")
        if path.name != "__init__.py" and not NO_ENTRY.search(str(path))
    )
    crowded = {name: count for name, count in entries.items() if count > MOST_ENTRIES}
    assert not crowded, "look for the second subject in these folders"


def test_files_are_short_or_have_a_reason():
    sizes = {
        path: len(path.read_text().splitlines()) for path in source.MODULES.values()
    }
    long = {
        str(p.relative_to(source.ROOT))
        for p, size in sizes.items()
        if size > MOST_LINES
    }
    assert long == set(LONG_FILES), "look for the second idea in these files"


@pytest.mark.parametrize("name", sorted(RANKS[-1]))
def test_the_runs_of_a_script_can_be_watched(name):
    functions = [
        node for node in source.TREES[name].body if isinstance(node, ast.FunctionDef)
    ]
    names = {function.name for function in functions}
    assert {"parse_flags", "make_tasks"} <= names, "sweeps and watching ask for these"
    assert f"settings.SCRIPTS['{name}']" in ast.unparse(source.TREES[name])
    noted = [
        keyword.value.value
        for node in ast.walk(source.TREES[name])
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".train")
        for keyword in node.keywords
        if keyword.arg == "script"
    ]
    assert noted == [name], "train(..., script=...) gets the script's own name"


@pytest.mark.parametrize("name", sorted(RANKS[-1]))
def test_importing_a_script_does_nothing(name):
    *head, last = source.TREES[name].body
    assert ast.unparse(last).startswith("if __name__ == '__main__':")
    for node in head:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        guarded = ast.unparse(node).startswith("if __name__ == '__main__':")
        kinds = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.Assign
        assert docstring or guarded or isinstance(node, kinds), ast.unparse(node)
    assert len(source.MODULES[name].read_text().splitlines()) <= 90
